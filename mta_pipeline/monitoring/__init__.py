"""Health of the pipeline, read from Dagster's records and the lake. Nothing here writes."""
