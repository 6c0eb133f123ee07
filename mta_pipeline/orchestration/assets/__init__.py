"""Assets. They are thin: they call functions of other packages, and add partitions, metadata and automation."""
