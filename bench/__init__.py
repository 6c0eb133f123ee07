"""Benchmarks of the pipeline. See README.md."""
