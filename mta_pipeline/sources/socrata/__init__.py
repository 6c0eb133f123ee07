"""Data sets of a portal that speaks SODA 2: their declaration, requests page by page, and typed rows.

The package does not interpret the data: `hourly_ridership` does. It does not depend on Dagster.
"""
