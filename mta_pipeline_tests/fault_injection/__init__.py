"""Fault injection: something breaks in a real deployment, and afterwards the lake must be as if nothing had.

`make fault-injection` runs all scenarios and prints a table; the tests run some of them. A deployment is what a laptop
has, in a temporary place: the repository's dagster.yaml and workspace.yaml, processes of the real commands, feed, lake.
"""
