"""The lake: where its files are, how they are written and read, and which weeks are complete, due or available."""
