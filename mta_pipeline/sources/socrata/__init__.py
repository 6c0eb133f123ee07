"""Data sets of an open-data portal that speaks SODA 2: declared, asked for page by page, landed and typed.

Plain functions and frames; what a data set means, and Dagster, are not known here.
"""
