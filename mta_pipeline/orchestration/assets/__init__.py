"""Thin Dagster assets: each calls into turnstile/ or marts/ and says what the catalogue shows."""
