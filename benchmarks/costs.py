"""What every cell of ``conf/model`` costs to train, against one yardstick."""

import sys

from benchmarks.measurement import Result
from benchmarks.scaling import factory, interleaved, training

HIDDEN, BATCH, STEPS = 64, 32, 200


def measure(quick: bool = False) -> Result:
    """Passes of each cell and of ``nn.GRU`` in turn."""
    import torch

    from benchmarks.memory_scores import models
    from rnnlab.kernels.memory import keep_memory

    torch.set_num_threads(1)
    keep_memory()  # as every training does, and to torch.nn's advantage too
    steps = STEPS // 4 if quick else STEPS
    numbers = {}
    for model in models():
        torch.manual_seed(0)
        layer = factory(model)(HIDDEN, HIDDEN)
        rival = torch.nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        x = torch.randn(BATCH, steps, HIDDEN, requires_grad=True)
        taken, theirs = interleaved(training(layer, x), training(rival, x), budget=0.5 if quick else 3.0, least=5)
        parameters = sum(weight.numel() for weight in layer.parameters())
        numbers[model] = {"ours": taken, "nn.GRU": theirs, "ratio": taken / theirs, "parameters": parameters}
    rows = [
        [model, f"{each['parameters']:,}", f"{1000 * each['ours']:.1f}", f"{1000 * each['nn.GRU']:.1f}",
         f"{each['ratio']:.2f}"]
        for model, each in sorted(numbers.items(), key=lambda item: item[1]["ratio"])
    ]  # fmt: skip
    return Result(
        "costs",
        f"What does each cell cost to train? One layer of {HIDDEN} units on {HIDDEN} features that want a gradient, "
        f"{BATCH} sequences of {steps} steps, forward and backward on one CPU thread, medians in "
        "milliseconds of the processor, against nn.GRU. Fastest first.",
        ["model", "parameters", "ms", "nn.GRU, ms", "ratio"],
        rows,
        numbers={"hidden": HIDDEN, "batch": BATCH, "steps": steps, "cells": numbers},
    )


if __name__ == "__main__":
    from benchmarks.__main__ import main

    main(["costs", *sys.argv[1:]])
