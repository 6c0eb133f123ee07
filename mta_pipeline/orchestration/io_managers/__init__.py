"""How tables reach storage and come back. What a table means is not known here."""
