"""The reference data we ship: which booth belongs to which station complex, and where complexes are."""
