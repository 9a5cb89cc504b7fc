"""Where a second thread pays: a layer's forward and backward pass on one thread and on all cores, in turn.

The layers are rnnlab's, run as a training runs them: by a derived kernel, whose threads have rows of their own, or by
torch's own.
"""

import sys
import time
from itertools import product
from statistics import mean

from benchmarks.cells import cell as layer_of
from benchmarks.measurement import Result, Verdict, cores

OURS = {"rnn": ("rnn", "RNN"), "lstm": ("lstm", "LSTM"), "gru": ("gru", "GRU")}
STEPS = 20
PROMISED = (128, 64, 100, 0.65)
"""Units, sequences and steps of a GRU, and the share of one thread's time that two take at most."""
PATIENCE = 2.0
"""Seconds for a size at a time, once it has had its first pass."""


def measure(quick: bool = False) -> Result:
    """All sizes; of each the fastest of some passes, since a neighbour on the other core can only slow one down."""
    from rnnlab.runs.threads import WORTH_MORE_THREADS

    many = cores()
    if many < 2:
        raise RuntimeError("one core tells nothing of two threads: this process may use no more")
    cells = ("gru",) if quick else ("rnn", "lstm", "gru")
    hidden_sizes = (16, 64, 256) if quick else (16, 32, 64, 128, 256, 512, 1024)
    batch_sizes = (8, 64) if quick else (8, 32, 128, 256)
    sizes = list(product(cells, hidden_sizes, batch_sizes))
    cases: dict[tuple[str, int, int], dict[str, float]] = {}
    # all sizes again and again, since a neighbour may be busy for as long as one size takes
    for size in sizes * (1 if quick else 2):
        one, more, largest = seconds(*size, many)
        before = cases.get(size, {"one": one, "more": more})
        cases[size] = {
            "one": min(one, before["one"]),
            "more": min(more, before["more"]),
            "work": size[-1] * largest,
        }
    rows = []
    for cell, hidden in product(cells, hidden_sizes):
        gains = [cases[cell, hidden, batch]["one"] / cases[cell, hidden, batch]["more"] for batch in batch_sizes]
        rows.append([cell, str(hidden), *(f"{gain:.2f}" for gain in gains)])
    costs = {bound: mean(cost(case, 2**bound) for case in cases.values()) for bound in range(10, 33)}
    best, now = min(costs, key=lambda bound: costs[bound]), WORTH_MORE_THREADS.bit_length() - 1
    hidden, batch, length, limit = PROMISED
    verdicts, compared = [], {}
    for name, kind in (("rnnlab's", "gru"), ("torch.nn's", "nn.GRU")):
        one, two, _ = seconds(kind, hidden, batch, 2, length, passes=4 if quick else 30)
        compared[kind] = {"one": one, "two": two}
        held = f"at most {limit}" if kind == "gru" else "for comparison, no promise"
        verdicts.append(
            Verdict(
                f"{name} GRU of {hidden} units, batch {batch}, {length} steps, two threads over one: {held}",
                f"{two / one:.2f}",
                two <= limit * one or kind != "gru",
            )
        )
    return Result(
        "threads",
        f"How many times as fast is a layer on {many} threads as on one? Forward and backward over {STEPS} steps, the "
        "fastest of some passes, by cell, hidden size and batch size.",
        ["cell", "hidden", *(f"batch {batch}" for batch in batch_sizes)],
        rows,
        verdicts,
        notes=[
            "The rule of `use_threads` takes all cores from batch × largest weight matrix = "
            f"2^{now} on. Over all cases here that takes {costs[now]:.3f}× the time of the better choice (mean of the "
            f"ratios). The best such bound would be 2^{best}, at {costs[best]:.3f}×; always one thread takes "
            f"{costs[32]:.3f}×, always {many} take {costs[10]:.3f}×."
        ],
        numbers={
            "threads": many,
            "promised": compared,
            "seconds a pass": [{"cell": c, "hidden": h, "batch": b, **case} for (c, h, b), case in cases.items()],
            "mean ratio to the better choice, by log2 of the bound": costs,
        },
    )


def cost(case: dict[str, float], bound: int) -> float:
    """The time that the rule with this bound takes, over that of the better choice."""
    return (case["more"] if case["work"] >= bound else case["one"]) / min(case["one"], case["more"])


def seconds(
    cell: str, hidden: int, batch: int, many: int, steps: int = STEPS, passes: int = 3
) -> tuple[float, float, int]:
    """A training pass on one thread and on ``many``, and the elements of the largest weight matrix."""
    import torch

    layer = layer_of(*OURS[cell])(8, hidden) if cell in OURS else torch.nn.GRU(8, hidden, batch_first=True)
    x = torch.randn(batch, steps, 8)
    times: dict[int, list[float]] = {1: [], many: []}
    begun = time.perf_counter()
    for number in range(passes + 1):
        if number > 1 and time.perf_counter() - begun > PATIENCE * max(1, passes / 3):
            break
        for threads in times:
            torch.set_num_threads(threads)
            for _ in range(2):  # the first wakes the threads
                started = time.perf_counter()
                layer.zero_grad()
                layer(x)[0].square().mean().backward()
                lap = time.perf_counter() - started
            if number:  # the very first builds kernels
                times[threads].append(lap)
    return min(times[1]), min(times[many]), max(p.numel() for p in layer.parameters())


if __name__ == "__main__":
    from benchmarks.__main__ import main

    main(["threads", *sys.argv[1:]])
