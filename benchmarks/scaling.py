"""How a layer's training scales: with its size, the steps and the batch, against ``torch.nn`` and the matrix peak."""

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from statistics import median
from typing import Any, NamedTuple

from benchmarks.measurement import Result

FEATURES = 8
"""Of the input of the layers with a namesake in ``torch.nn``, which wants no gradient: a first layer."""
PEAK = {"cpu": 1024, "cuda": 8192}
"""The side of the square matrices whose product is the peak."""
RIVALS = {"gru": "GRU", "rnn": "RNN", "lstm": "LSTM", "min_gru": "GRU", "lru": "GRU"}
"""By model: the layer of ``torch.nn`` that it is held against."""
NAMESAKES = ("gru", "rnn", "lstm")


class Case(NamedTuple):
    """Sizes of one measurement."""

    device: str
    model: str
    hidden: int
    steps: int
    batch: int


def cases(device: str, quick: bool) -> list[Case]:
    """The grid over H × T × batch, then the steps to 10,000, then the batch to 512."""
    found: list[Case] = []
    if quick:
        found += [Case(device, model, *sizes) for model in RIVALS for sizes in ((64, 50, 32), (256, 50, 32))]
        return [*found, *(Case(device, "gru", *sizes) for sizes in ((64, 1000, 32), (64, 50, 256)))]
    for model in RIVALS:
        hidden = (32, 64, 128, 256) if model in NAMESAKES else (64, 256)
        found += [Case(device, model, *sizes) for sizes in product(hidden, (50, 200), (8, 32, 128))]
    found += [Case(device, model, 64, steps, 32) for model, steps in product(RIVALS, (1000, 3000, 10_000))]
    found += [Case(device, model, 64, 50, batch) for model, batch in product(RIVALS, (1, 512))]
    return found


def measure(quick: bool = False) -> Result:
    """Passes of both sides and the matrix product in turn, so that a busy neighbour disturbs all alike."""
    import torch

    from rnnlab.kernels.memory import keep_memory

    torch.set_num_threads(1)
    keep_memory()  # as every training does, and to torch.nn's advantage too
    there = torch.cuda.is_available()
    numbers = [_measured(case) for device in ("cpu", *(["cuda"] if there else [])) for case in cases(device, quick)]
    devices = {"cpu": "one thread of the processor", **({"cuda": torch.cuda.get_device_name()} if there else {})}
    peaks = {device: median(each["peak"] for each in numbers if each["device"] == device) / 1e9 for device in devices}
    return Result(
        "scaling",
        "How does the training of a layer scale? Forward and backward, against the layer of torch.nn, by batch: the "
        "ratio of the times, and in brackets our share of the peak of matrix products and torch's.",
        ["device", "layer", "against", "hidden", "steps", *(f"batch {batch}" for batch in _batches(numbers))],
        list(_rows(numbers)),
        notes=[
            "Peak: "
            + "; ".join(
                f"{devices[device]}, a product of two {PEAK[device]:,} × {PEAK[device]:,} matrices in single "
                f"precision: {peak:,.0f} GFLOP/s (the median; each case has its own, from products between its passes)"
                for device, peak in peaks.items()
            )
            + ". Times on a CPU are seconds of the processor, which neighbours lengthen less than those of the clock. "
            "What counts as work is a layer's matrix products, forward and backward, so that layers that do other "
            "things beside them show a low share.",
            f"gru, rnn and lstm read {FEATURES} features that want no gradient, as a first layer does; min_gru and "
            "lru, like the nn.GRU beside them, an input as wide as they are that wants one, as inside a stack. The "
            "loss is the mean square of all outputs.",
            *([] if there else ["CUDA: not measured, this machine has no such device."]),
        ],
        numbers={"peak": {device: peak * 1e9 for device, peak in peaks.items()}, "cases": numbers},
    )


def _measured(case: Case) -> dict[str, Any]:
    import torch

    torch.manual_seed(0)
    device, model, hidden, steps, batch = case
    width = FEATURES if model in NAMESAKES else hidden
    ours = factory(model)(width, hidden).to(device)
    rival = getattr(torch.nn, RIVALS[model])(width, hidden, batch_first=True).to(device)
    x = torch.randn(batch, steps, width, device=device, requires_grad=model not in NAMESAKES)
    matrix = torch.randn(PEAK[device], PEAK[device], device=device)
    passes = training(ours, x), training(rival, x), partial(torch.mm, matrix, matrix)
    taken, theirs, product_ = interleaved(*passes, device=device)
    peak = 2 * PEAK[device] ** 3 / product_
    return {
        **case._asdict(), "rival": f"nn.{RIVALS[model]}", "ours": taken, "rival's": theirs, "ratio": taken / theirs,
        "peak": peak, "share": work(ours, x) / taken / peak, "rival share": work(rival, x) / theirs / peak,
    }  # fmt: skip


def factory(model: str) -> Callable[[int, int], Any]:
    """What makes the cell of ``conf/model/MODEL.yaml``, called with the features of a step and the units."""
    from rnnlab.commands.composition import create_hydra, plain, run_mode
    from rnnlab.runs.build import build

    config = plain(create_hydra().config_loader.load_configuration("train", [f"model={model}"], run_mode()))
    made: Callable[[int, int], Any] = build(config["model"]["cell"], "model.cell")
    return made


def work(layer: Any, x: Any) -> float:
    """Floating-point operations of the matrix products of a pass forward and back.

    Each weight is used once a step: two operations forward, two for its own
    gradient, two for that of what it was multiplied with, where that is wanted.
    """
    matrices = [weight for weight in layer.parameters() if weight.dim() > 1]
    times = [
        (6 if x.requires_grad or weight.shape[-1] != x.shape[-1] else 4) * (2 if weight.is_complex() else 1)
        for weight in matrices
    ]
    return float(x.shape[0] * x.shape[1] * sum(n * w.numel() for n, w in zip(times, matrices, strict=True)))


def training(layer: Any, x: Any) -> Callable[[], None]:
    """A pass forward and back."""

    def run() -> None:
        layer.zero_grad()
        x.grad = None
        layer(x)[0].square().mean().backward()

    return run


def interleaved(*passes: Callable[[], Any], device: str = "cpu", budget: float = 0.5, least: int = 3) -> list[float]:
    """The median seconds of each, turn by turn, within ``budget`` seconds but at least ``least`` times.

    Who begins changes from round to round: what comes behind a long pass is the
    more likely to be interrupted. On a CPU its own seconds are counted, in which
    a neighbour that takes the core away has no part; on a GPU those on the clock.
    """
    import torch

    def clock() -> float:
        if device != "cuda":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    times: list[list[float]] = [[] for _ in passes]
    for run in passes:
        run()
    begun = clock()
    while (rounds := len(times[0])) < least or (clock() - begun < budget and rounds < 50):
        for place in range(len(passes)):
            turn = (place + rounds) % len(passes)
            started = clock()
            passes[turn]()
            times[turn].append(clock() - started)
    return [median(taken) for taken in times]


def _batches(numbers: list[dict[str, Any]]) -> list[int]:
    return sorted({each["batch"] for each in numbers})


def _rows(numbers: list[dict[str, Any]]) -> Iterator[list[str]]:
    keys = ("device", "model", "rival", "hidden", "steps")
    # by layer, then by size, whatever was measured first
    places = {(each["device"], list(RIVALS).index(each["model"]), each["hidden"], each["steps"]) for each in numbers}
    for device, model, hidden, steps in sorted(places):
        same = {"device": device, "model": list(RIVALS)[model], "hidden": hidden, "steps": steps}
        found = {each["batch"]: each for each in numbers if same.items() <= each.items()}
        first = next(iter(found.values()))
        yield [*(str(first[key]) for key in keys), *(_shown(found.get(batch)) for batch in _batches(numbers))]


def _shown(each: dict[str, Any] | None) -> str:
    if each is None:
        return ""
    shares = f"{100 * each['share']:.0f}, {100 * each['rival share']:.0f} %"
    return f"{each['ratio']:.2f} ({shares})"


if __name__ == "__main__":
    from benchmarks.__main__ import main

    main(["scaling", *sys.argv[1:]])
