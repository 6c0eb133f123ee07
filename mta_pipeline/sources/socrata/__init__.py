"""Data sets of a portal that speaks SODA 2: their declaration, requests page by page, and typed rows.

Plain functions and frames. The package does not know what a data set means, and does not depend on Dagster.
"""
