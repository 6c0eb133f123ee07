"""Tests on a real Docker engine: the image, a deployment as compose.yaml has it, and what can break in it."""
