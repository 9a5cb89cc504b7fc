"""Our GRU against one as ``jax.lax.scan`` under ``jax.jit``: ``python -m benchmarks.against_jax [--python PATH]``.

Processes of both in turn, forward and backward, 64 units, one thread. ``--python`` names an interpreter that has jax;
otherwise the peers' environment is made.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from statistics import median

from benchmarks.measurement import ONE_THREAD

HIDDEN, BATCH, FEATURES = 64, 32, 8
LIMIT = 0.75
ROUNDS = 3


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against_jax", description=__doc__.split("\n")[0])
    parser.add_argument("--python", help="an interpreter that has jax")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        print(json.dumps(ours(options.child)))
        return
    from benchmarks.end_to_end import PEERS, peers

    python = options.python or peers()
    for steps in (50, 100, 200):
        theirs = [python, str(PEERS / "jax_gru.py"), *map(str, (steps, HIDDEN, BATCH, FEATURES))]
        own = [sys.executable, "-m", "benchmarks.against_jax", "--child", str(steps)]
        rounds = [[_child(command) for command in (own, theirs)] for _ in range(ROUNDS)]
        mine, its = ([lap for laps in part for lap in laps] for part in zip(*rounds, strict=True))
        ratio = median(mine) / median(its)
        print(
            f"{steps:4} steps: {1000 * median(mine):6.2f} ms, jax {1000 * median(its):6.2f} ms, ratio {ratio:.2f} "
            f"({'holds' if ratio <= LIMIT else 'MISSED'}: at most {LIMIT}); fastest passes {min(mine) / min(its):.2f}",
            flush=True,
        )


def ours(steps: int) -> list[float]:
    """Seconds of computing of passes of our layer."""
    import torch

    from benchmarks.cells import cell, training
    from rnnlab.kernels.memory import keep_memory

    torch.set_num_threads(1)
    keep_memory()
    run = training(cell("gru", "GRU")(FEATURES, HIDDEN), torch.randn(BATCH, steps, FEATURES))
    run()
    taken = []
    for _ in range(40):
        begun = time.process_time()
        run()
        taken.append(time.process_time() - begun)
    return taken


def _child(command: list[str]) -> list[float]:
    ended = subprocess.run(command, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, check=True)
    found: list[float] = json.loads(ended.stdout)
    return found


if __name__ == "__main__":
    main()
