"""Where a second thread pays: a layer's forward and backward pass on one thread and on all cores, in turn."""

import os
import sys
import time
from itertools import product
from statistics import median

from benchmarks.measurement import Result, cores

PAYS = 1.1
"""Below this gain a second core is better left to a second run."""
STEPS = 20


def measure(quick: bool = False) -> Result:
    """All sizes; each time the fastest of some passes, since a neighbour on the other core can only slow one down."""
    os.environ.pop("OMP_NUM_THREADS", None)
    import torch

    from rnnlab.runs.trainer import WORTH_MORE_THREADS

    many = cores()
    cells = ("gru",) if quick else ("rnn", "lstm", "gru")
    hidden_sizes = (16, 64, 256) if quick else (16, 32, 64, 128, 256, 512, 1024)
    batch_sizes = (8, 64) if quick else (8, 32, 128, 256)
    found = []
    for cell, hidden, batch in product(cells, hidden_sizes, batch_sizes):
        one, more = _seconds(torch, cell, hidden, batch, many, rounds=3 if quick else 7)
        weights = {"rnn": 1, "lstm": 4, "gru": 3}[cell] * hidden * hidden
        found.append({"cell": cell, "hidden": hidden, "batch": batch, "one": one, "more": more, "work": batch * weights})
    rows = [
        [cell, str(hidden), *(f"{_at(found, cell, hidden, batch)['one'] / _at(found, cell, hidden, batch)['more']:.2f}" for batch in batch_sizes)]
        for cell, hidden in product(cells, hidden_sizes)
    ]
    bounds = [2**power for power in range(10, 31)]
    costs = {bound: sum(_cost(each, bound) for each in found) / len(found) for bound in bounds}
    best = min(costs, key=costs.get)  # type: ignore[arg-type]
    return Result(
        "threads",
        f"How much faster is a layer on {many} threads than on one? Forward and backward over {STEPS} steps, the fastest "
        "pass of each, by cell, hidden size and batch size.",
        ["cell", "hidden", *(f"batch {batch}" for batch in batch_sizes)],
        rows,
        notes=[
            "The rule in `runs/trainer.py` takes all cores from batch × largest weight matrix = "
            f"2^{WORTH_MORE_THREADS.bit_length() - 1} on; it costs {costs.get(WORTH_MORE_THREADS, float('nan')):.3f}× the time of "
            f"the better choice in each of these cases (geometric mean of nothing: a plain mean of ratios). The best such "
            f"bound here is 2^{best.bit_length() - 1}, at {costs[best]:.3f}×. Always one thread: {costs[bounds[-1]]:.3f}×; "
            f"always {many}: {costs[bounds[0]]:.3f}×.",
        ],
        numbers={"threads": many, "passes": found, "mean ratio to the better choice, by bound": costs},
    )


def _cost(case: dict[str, float], bound: int) -> float:
    """The time that the rule takes here, over that of the better choice."""
    return (case["more"] if case["work"] >= bound else case["one"]) / min(case["one"], case["more"])


def _at(found: list[dict], cell: str, hidden: int, batch: int) -> dict:
    return next(each for each in found if (each["cell"], each["hidden"], each["batch"]) == (cell, hidden, batch))


if __name__ == "__main__":
    from benchmarks.__main__ import main

    main(["threads", *sys.argv[1:]])
