"""Fault injection: a scenario breaks something in a real deployment and then compares the lake with an undisturbed one.

`make fault-injection` runs all scenarios and prints a table. The tests run some of them. A deployment is what a laptop
has, in a temporary directory: the repository's dagster.yaml and workspace.yaml, the real commands, a feed and a lake.
"""
