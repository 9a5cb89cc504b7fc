"""What a layer costs to train: against ``torch.nn``, in parallel against ``nn.GRU``, against its loop, and padding."""

import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from statistics import median
from typing import Any

from benchmarks.measurement import Result, Verdict

BATCH, FEATURES = 32, 8
OF_TORCH = {"gru": ("gru", "GRU"), "rnn": ("rnn", "RNN"), "lstm": ("lstm", "LSTM")}
LIMITS = {
    "gru": {32: 0.25, 64: 0.35, 128: 0.50, 256: 0.65},
    "rnn": {32: 0.35, 64: 0.45, 128: 0.55, 256: 0.70},
    "lstm": dict.fromkeys((32, 64, 128, 256), 1.0),
}
PARALLEL = {
    "min_gru": "MinGRU", "min_lstm": "MinLSTM", "lru": "LRU", "s5": "S5", "qrnn": "QRNN", "gilr": "GILR",
    "rg_lru": "RGLRU", "s4d": "S4D", "mlstm": "MLSTM",
}  # fmt: skip
PARALLEL_LIMITS = {64: 0.25, 256: 0.35}
PROMISED = ("min_gru", "lru")
HALVED = {"lru": 1, "s5": 2}
"""Cells of complex units, and what counts as one in their state's size: also with as many numbers as a GRU has."""
LOOPS = {
    "indrnn": "IndRNN", "layer_norm_lstm": "LayerNormLSTM", "lem": "LEM", "cornn": "CoRNN", "unicornn": "UnICORNN",
    "slstm": "SLSTM", "mogrifier_lstm": "MogrifierLSTM", "cfc": "CfC",
}  # fmt: skip
LOOP_LIMIT = 0.3
STRANGER_LIMIT = 0.35
VARYING_LIMIT = 1.1


def measure(quick: bool = False) -> Result:
    """Medians of passes, five in turn, so that what disturbs one disturbs the other."""
    import torch

    from benchmarks.strangers import STRANGERS
    from rnnlab.kernels.memory import keep_memory

    torch.set_num_threads(1)
    keep_memory()  # as every training does, and to torch.nn's advantage too
    torch.manual_seed(0)
    # computing of this thread, in which all of a pass runs: a neighbour on the core takes none of it
    timed = partial(seconds, budget=0.5 if quick else 0.8, clock=time.thread_time)
    rows: list[list[str]] = []
    verdicts: list[Verdict] = []
    numbers: list[dict[str, Any]] = []

    def record(name: str, rival: str, hidden: int, steps: int, both: list[float], limit: float | None) -> None:
        ours, theirs = both
        ratio = ours / theirs
        rows.append(
            [name, rival, str(hidden), str(steps), f"{1000 * ours:.2f}", f"{1000 * theirs:.2f}", f"{ratio:.2f}"]
        )
        numbers.append(
            {"name": name, "rival": rival, "hidden": hidden, "steps": steps, "ours": ours, "rival's": theirs}
        )
        if limit is not None:
            verdicts.append(
                Verdict(
                    f"{name}, {hidden} units, {steps} steps: at most {limit} of {rival}",
                    f"{ratio:.2f}",
                    ratio <= limit,
                )
            )

    for (name, (module, kind)), hidden in ((b, h) for b in OF_TORCH.items() for h in (32, 64, 128, 256)):
        for steps in (50,) if quick else (50, 200, 1000):
            x = torch.randn(BATCH, steps, FEATURES)
            ours = cell(module, kind)(FEATURES, hidden)
            rival = getattr(torch.nn, kind)(FEATURES, hidden, batch_first=True)
            record(
                name, f"nn.{kind}", hidden, steps, timed(training(ours, x), training(rival, x)), LIMITS[name][hidden]
            )
    for name, hidden in ((n, h) for n in PARALLEL for h in PARALLEL_LIMITS):
        steps = 200
        x = torch.randn(BATCH, steps, hidden, requires_grad=True)
        ours, rival = cell(name, PARALLEL[name])(hidden, hidden), torch.nn.GRU(hidden, hidden, batch_first=True)
        limit = PARALLEL_LIMITS[hidden] if name in PROMISED else None
        record(name, "nn.GRU", hidden, steps, timed(training(ours, x), training(rival, x)), limit)
        if name in HALVED:
            ours = cell(name, PARALLEL[name])(hidden, hidden, HALVED[name] * hidden // 2)
            both = timed(training(ours, x), training(rival, x))
            record(f"{name}, state of {hidden} numbers", "nn.GRU", hidden, steps, both, limit)
    for (name, kind), steps in ((pair, steps) for pair in LOOPS.items() for steps in (50, 200)):
        x = torch.randn(BATCH, steps, FEATURES)
        ours, loop = (cell(name, kind)(FEATURES, 64, backend=backend) for backend in ("auto", "reference"))
        record(name, "its loop", 64, steps, timed(training(ours, x), training(loop, x)), LOOP_LIMIT)
    for stranger, steps in ((stranger, steps) for stranger in STRANGERS for steps in (50, 200)):
        x = torch.randn(BATCH, steps, FEATURES)
        ours, loop = (stranger(FEATURES, 64, backend=backend) for backend in ("auto", "reference"))
        record(stranger.__name__, "its loop", 64, steps, timed(training(ours, x), training(loop, x)), STRANGER_LIMIT)
    for name, hidden in ((n, h) for n in ("gru", "rnn", "lstm") for h in (64, 256)):
        # as many valid steps in as many shorter sequences, and in fewer as long
        ours = cell(*OF_TORCH[name])(FEATURES, hidden)
        lengths = torch.linspace(10, 200, BATCH).round().long()[torch.randperm(BATCH)]
        valid = int(lengths.sum())
        shapes = (BATCH, 200), (BATCH, valid // BATCH), (valid // 200, 200)
        varying, short, few = (torch.randn(*shape, FEATURES) for shape in shapes)
        taken, in_short, in_few = timed(fed(ours, varying, lengths), fed(ours, short), fed(ours, few))
        what = f"{name}, {BATCH} of 10 to 200 steps"
        record(what, f"{BATCH} of {valid // BATCH}", hidden, 200, [taken, in_short], VARYING_LIMIT)
        record(what, f"{valid // 200} of 200", hidden, 200, [taken, in_few], VARYING_LIMIT)
    for name, hidden in ((n, h) for n in ("gru", "rnn") for h in (32, 256)):
        for what, ours, theirs in errors(cell(*OF_TORCH[name]), getattr(torch.nn, OF_TORCH[name][1]), hidden):
            promise = f"{name}, {hidden} units, 200 steps: float32's error of the {what} at most 2 × that of torch.nn"
            verdicts.append(Verdict(promise, f"{ours / theirs:.2f} ×", ours <= 2 * theirs))
    return Result(
        "cells",
        f"What does a layer cost to train? Forward and backward, batch {BATCH}, one thread, milliseconds of computing.",
        ["layer", "against", "hidden", "steps", "ms", "its ms", "ratio"],
        rows,
        verdicts,
        [
            f"The input has {FEATURES} features; for layers that are parallel over time it is as wide as the layer and "
            "wants a gradient, as inside a stack. The loss is the mean square of all outputs."
        ],
        {"cases": numbers},
    )


def cell(module: str, kind: str) -> Any:
    """A cell's class."""
    return getattr(import_module(f"rnnlab.cells.{module}"), kind)


def training(layer: Any, x: Any) -> Callable[[], None]:
    """A pass forward and back."""

    def run() -> None:
        layer.zero_grad()
        layer(x)[0].square().mean().backward()

    return run


def fed(layer: Any, x: Any, lengths: Any = None) -> Callable[[], None]:
    """As ``training``, but handed the gradient of its output: a loss over padding is no matter of the layer's."""
    gradient = x.new_ones(*x.shape[:2], layer.hidden_size)

    def run() -> None:
        layer.zero_grad()
        layer(x, None, lengths)[0].backward(gradient)

    return run


def seconds(
    *passes: Callable[[], None], budget: float = 1.5, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """The median of each by ``clock``, five passes in turn, within ``budget`` seconds but at least 5 times.

    Five, since a training too makes the same pass again and again, and finds in the caches what the one before left.
    """
    times: list[list[float]] = [[] for _ in passes]
    for run in passes:
        run()
    begun = clock()
    while not times[0] or (clock() - begun < budget and len(times[0]) < 50):
        for run, taken in zip(passes, times, strict=True):
            for _ in range(5):
                started = clock()
                run()
                taken.append(clock() - started)
    return [median(taken) for taken in times]


def errors(ours: Any, theirs: Any, hidden: int) -> list[tuple[str, float, float]]:
    """Of single precision against the loop in double precision: by hand, and of ``torch.nn``; root mean squares of the
    output and of the gradient, over some seeds.
    """
    import torch

    found: list[tuple[float, ...]] = []
    for seed in range(5):
        torch.manual_seed(seed)
        exact = ours(FEATURES, hidden, backend="reference").double()
        x = torch.randn(BATCH, 200, FEATURES)
        hand, rival = ours(FEATURES, hidden), theirs(FEATURES, hidden, batch_first=True)
        hand.load_state_dict(exact.state_dict())
        rival.load_state_dict({f"{name}_l0": weight for name, weight in exact.state_dict().items()})

        def results(layer: Any, x: Any) -> tuple[Any, Any]:
            output = layer(x)[0]
            parts = torch.autograd.grad(output.square().mean(), list(layer.parameters()))
            return output.detach(), torch.cat([part.flatten() for part in parts])

        truth = results(exact, x.double())
        both = (results(layer, x) for layer in (hand, rival))
        found.append(
            tuple(float((f.double() - t).square().mean()) for each in both for f, t in zip(each, truth, strict=True))
        )
    output, gradient, rivals_output, rivals_gradient = (sum(each) ** 0.5 for each in zip(*found, strict=True))
    return [("output", output, rivals_output), ("gradient", gradient, rivals_gradient)]


if __name__ == "__main__":
    from benchmarks.__main__ import main

    main(["cells", *sys.argv[1:]])
