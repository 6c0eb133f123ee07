"""Spans and progress lines that working code emits. Reading Dagster's records back belongs in `monitoring`."""
