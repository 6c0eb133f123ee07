"""Asset checks: what must hold of a table, per week."""
