"""Storage: where files are, how they are written, and what the lake holds."""
