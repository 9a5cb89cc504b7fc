"""Objectives, one a file; ``task`` is their contract."""
