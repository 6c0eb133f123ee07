"""Tests on a real Docker engine: the image, a deployment from compose.yaml, and the faults that it must survive."""
