"""Asset checks: what must hold of the tables, week by week."""
