"""Data sets declared in YAML: one folder with a defs.yaml each. `dg scaffold defs` creates one."""
