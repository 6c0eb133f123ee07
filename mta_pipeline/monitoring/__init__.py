"""How the pipeline is doing, read from the records and the lake. Nothing is written here."""
