"""Data sets that are added without Python: a folder each, with a defs.yaml. `dg scaffold defs` makes one."""
