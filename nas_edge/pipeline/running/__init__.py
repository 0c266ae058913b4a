"""Runs: their directories, and YAML pipelines of flows."""
