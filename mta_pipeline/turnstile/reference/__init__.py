"""The reference data that comes with the project: booths with their station complexes, and the complexes' coordinates.

tools/compile_reference.py generates the CSV files, and mta_pipeline.turnstile.complexes reads them. Do not edit them
by hand. This package holds no code.
"""
