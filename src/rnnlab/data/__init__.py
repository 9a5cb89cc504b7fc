"""Data sets, one a file; ``sequence`` is their contract."""
