"""The meaning of turnstile data: parsing, readings, traffic, complexes and the contract of each table.

The functions are pure: Polars frames in, Polars frames out. They do not depend on Dagster, storage or settings.
"""
