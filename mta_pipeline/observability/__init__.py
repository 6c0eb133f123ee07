"""Seeing what the pipeline does while it does it."""
