"""What rnnlab costs, measured: ``python -m benchmarks``."""
