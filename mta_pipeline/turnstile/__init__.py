"""What the data means: parsing, readings, traffic, complexes and the contract of every table.

Pure functions on Polars frames. Dagster, storage and settings are not known here.
"""
