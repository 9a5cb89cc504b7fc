"""``python -m benchmarks [NAME …] [--quick]``: all benchmarks, or some."""

import argparse
import importlib
import sys
import traceback

from benchmarks.measurement import publish, stale

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
    "doors",
    "report",
    "predict",
    "generate",
    "sequences",
    "sequence_memory",
    "blocks",
    "export",
    "end_to_end",
    "memory_scores",
    "anomalies",
    "many_series",
)


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints; a full measurement is kept in ``benchmarks/results/``.

    A benchmark that fails says why, and the others go on; the exit status is 1 then.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What rnnlab costs, measured.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="a rough look in two minutes each, not kept in results/")
    parser.add_argument("--stale", action="store_true", help="only say which results are of other code than is here")
    options = parser.parse_args(arguments)
    if options.stale:
        print("\n".join(stale()))
        return
    for name in options.names:
        if name not in NAMES:
            parser.error(f"there is no benchmark '{name}' (there are {', '.join(NAMES)})")
    failed = [name for name in options.names or NAMES if not measured(name, options.quick)]
    if not options.quick:
        from benchmarks.plot import summary

        summary()
        # whatever was not measured, or failed
        print("\n".join(stale()))
    if failed:
        sys.exit(f"failed, see above: {', '.join(failed)}")


def measured(name: str, quick: bool) -> bool:
    """Measures and publishes one; says why where that failed."""
    try:
        publish(importlib.import_module(f"benchmarks.{name}").measure(quick), quick)
    except Exception:  # noqa: BLE001 whatever it is, the others are to be measured
        print(f"\n{name} failed:", file=sys.stderr)
        traceback.print_exc()
        return False
    return True


if __name__ == "__main__":
    main()
