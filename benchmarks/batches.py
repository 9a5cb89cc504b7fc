"""What the data costs: the seconds in which a batch is cut, against those of the training step that eats it."""

import time
from statistics import median
from typing import Any

from benchmarks.measurement import Result, Verdict, composed

SHARE = 0.05
STEPS, QUICK = 60, 10
EXTRA = {
    "classification, augmented": (
        "classification", "data.augmentation.jitter=0.05", "data.augmentation.scaling=0.1",
        "data.augmentation.time_warping=0.2", "data.augmentation.window=0.9",
    ),
}  # fmt: skip


def measure(quick: bool = False) -> Result:
    """Every data set at its defaults under the default network, a batch and a step in turn, one thread."""
    import torch

    from rnnlab.configs import conf_directory
    from rnnlab.errors import InputError

    torch.set_num_threads(1)
    names = sorted(file.stem for file in (conf_directory() / "data").glob("[!_]*.yaml"))
    cases = {name: (name,) for name in names} | EXTRA
    rows, verdicts, missing = [], [], []
    numbers: dict[str, Any] = {}
    for name, (data, *overrides) in cases.items():
        try:
            found = numbers[name] = case(data, overrides, QUICK if quick else STEPS)
        except InputError as error:
            missing.append(f"{name} was left out: {error}")
            continue
        share = found["batch"] / found["step"]
        rows.append(
            [
                name, f"{found['samples']:,}", f"{found['setup']:.2f}", f"{1 / found['batch']:,.0f}",
                f"{1000 * found['batch']:.3f}", f"{1000 * found['step']:.2f}", f"{share:.1%}",
            ]
        )  # fmt: skip
        verdicts.append(
            Verdict(f"{name}: cutting a batch takes at most {SHARE:.0%} of a step", f"{share:.1%}", share <= SHARE)
        )
    return Result(
        "batches",
        "Is the data ever what a training waits for? In memory, one thread, GRU of 64 units.",
        ["data", "training sequences", "s to make or read", "batches / s", "ms a batch", "ms a step", "share"],
        rows,
        verdicts,
        [
            "A step: forward, backward, Adam, of the network alone, with nothing logged: the least that there is.",
            *missing,
        ],
        numbers,
    )


def case(data: str, overrides: list[str], steps: int) -> dict[str, float]:
    """Medians of one data set."""
    import torch

    from rnnlab.runs.preparation import prepare

    config = composed([f"data={data}", *overrides])
    begun = time.perf_counter()
    run = prepare(config)
    run.data.setup("fit")
    setup = time.perf_counter() - begun
    optimizer = torch.optim.Adam(run.task.network.parameters())
    cutting: list[float] = []
    stepping: list[float] = []
    batches = iter(run.data.train_dataloader())
    run.task.train()
    while len(cutting) < steps + 3:
        begun = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            batches = iter(run.data.train_dataloader())
            continue
        cut = time.perf_counter()
        optimizer.zero_grad()
        run.task.loss(run.task(batch), batch).backward()
        optimizer.step()
        stepping.append(time.perf_counter() - cut)
        cutting.append(cut - begun)
    # the first few meet cold memory, and the first of an epoch shuffles
    return {
        "samples": run.data.size("train"),
        "setup": setup,
        "batch": median(cutting[3:]),
        "step": median(stepping[3:]),
    }


if __name__ == "__main__":
    import sys

    from benchmarks.__main__ import main

    main(["batches", *sys.argv[1:]])
