"""What the pipeline costs, measured. See README.md."""
