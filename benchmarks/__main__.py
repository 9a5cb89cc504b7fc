"""``python -m benchmarks [NAME …] [--quick]``: all benchmarks, or some."""

import argparse
import importlib

from benchmarks.measurement import publish

NAMES = (
    "startup",
    "step",
    "whole",
    "threads",
    "cells",
    "scaling",
    "costs",
    "memory",
    "batches",
    "text",
    "tables",
    "sweeps",
    "fleet",
    "report",
    "predict",
    "generate",
    "export",
    "end_to_end",
    "memory_scores",
)


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints; a full measurement is kept in ``benchmarks/results/``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What rnnlab costs, measured.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="a rough look in two minutes, not kept in results/")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in NAMES:
            parser.error(f"there is no benchmark '{name}' (there are {', '.join(NAMES)})")
    for name in options.names or NAMES:
        publish(importlib.import_module(f"benchmarks.{name}").measure(options.quick), options.quick)


if __name__ == "__main__":
    main()
