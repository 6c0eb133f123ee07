"""What working code calls to tell what it does: spans and progress. Nothing is read back here."""
