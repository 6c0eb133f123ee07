"""The reference data we ship: which booth belongs to which station complex, and where complexes are.

The CSV files are compiled (tools/compile_reference.py) and read through mta_pipeline.turnstile.complexes; no code
belongs here, and nothing is edited by hand.
"""
