"""Drills: something breaks in a real deployment, and afterwards the lake must be as if nothing had.

`make drills` runs all of them and prints a table; the tests run a short form. A deployment here is what a laptop has,
in a temporary place: the repository's dagster.yaml and workspace.yaml, processes of the real commands, feed and lake.
"""
