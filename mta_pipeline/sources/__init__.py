"""Data sources: one package for each kind, and modules that all kinds share."""
