"""Everything that is worth knowing on a GPU, in one command of at most eight minutes: ``python -m benchmarks.on_gpu``.

It prints each row as it is measured, so that what is cut short leaves what it had. ``--device cpu --seconds 60``
rehearses it where there is no GPU, in small.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.cells import LOOPS, OF_TORCH, cell
from benchmarks.measurement import RNNLAB

UNTRIED = """\
Never run on a GPU before (all of it is held against the loop on a CPU, its graphs by a stand-in):
  - rnnlab.kernels.eager: a step's plan in operations of PyTorch (what trainer=gpu runs but for rnn, gru and lstm)
  - the capture of its two passes as CUDA graphs, and their replay
  - fleets (hydra/launcher=fleet) with trainer=gpu
  - that `auto` prefers cuDNN for rnn, gru and lstm, and the plan for all other cells: a choice without measurements
A row that says FAILED is a fault: the message is beside it."""
BATCH, FEATURES, STEPS = 32, 8, 100
RUNS = 16


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.on_gpu", description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--seconds", type=float, default=460.0, help="after which nothing more is begun")
    options = parser.parse_args(arguments)
    begun = time.monotonic()
    print(UNTRIED, flush=True)

    import torch

    small = options.device == "cpu"
    if not small and not torch.cuda.is_available():
        sys.exit("there is no GPU: --device cpu rehearses this")
    where = torch.cuda.get_device_name() if not small else "the CPU, a rehearsal in small"
    print(f"\ntorch {torch.__version__} on {where}; milliseconds, medians; batch {BATCH}, {STEPS} steps\n", flush=True)
    torch.manual_seed(0)

    def left() -> float:
        return options.seconds - (time.monotonic() - begun)

    for part, share in ((layers, 0.55), (training_step, 0.65), (runs, 1.0)):
        until = time.monotonic() + min(left(), share * options.seconds)
        with said(part.__name__):
            part(options.device, small, partial(_left, until))
    print(f"\n{time.monotonic() - begun:.0f} s in all", flush=True)


def _left(until: float) -> float:
    return until - time.monotonic()


@contextmanager
def said(what: str) -> Iterator[None]:
    """A fault is printed, and the rest goes on."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 (whatever it is, the others are to be measured)
        print(f"{what:32} FAILED {type(error).__name__}: {str(error).splitlines()[0][:160]}", flush=True)


# ---- layers ---------------------------------------------------------------------------------------------------------


def layers(device: str, small: bool, left: Callable[[], float]) -> None:
    """Forward and backward passes: ours, torch's kernel where it has one, and the loop."""
    print(
        f"{'layer':32} {'plan':>8} {'graphs':>8} {'torch':>8} {'loop':>8}   plan/loop  plan/torch  largest error  "
        "choose"
    )
    kinds = {**OF_TORCH, **{name: (name, kind) for name, kind in LOOPS.items()}}
    if small:
        kinds = {name: kinds[name] for name in ("gru", "lem")}
    for hidden, (name, (module, kind)) in product((8,) if small else (128, 64, 256), kinds.items()):
        if left() < 0:
            print("time is up for layers", flush=True)
            return
        with said(f"{name}, {hidden} units"):
            _layer(f"{name}, {hidden} units", cell(module, kind), name in OF_TORCH, hidden, device, small)


def _layer(name: str, kind: Any, of_torch: bool, hidden: int, device: str, small: bool) -> None:
    import torch

    from rnnlab import kernels

    x = torch.randn(BATCH, 10 if small else STEPS, FEATURES, device=device)
    loop = kind(FEATURES, hidden).to(device)
    loop.backend = "reference"

    def another(backend: str) -> Any:
        layer = kind(FEATURES, hidden).to(device)
        layer.load_state_dict(loop.state_dict())
        layer.backend = backend
        return layer

    plan = another("eager")
    planned = kernels.derived(plan, x)
    without_graphs = milliseconds(lambda: _pass(plan, x), device, small, captured=False)
    with_graphs = milliseconds(lambda: _pass(plan, x), device, small)
    captured = planned is not None and len(getattr(planned, "_graphs", ()))
    rival = another("torch")
    torchs = milliseconds(lambda: _pass(rival, x), device, small) if of_torch else None
    looped = milliseconds(lambda: _pass(loop, x), device, small)
    error = largest_error(plan, loop, x)
    choice = chosen(with_graphs, torchs, looped)
    print(
        f"{name:32} {without_graphs:8.2f} {with_graphs if captured else float('nan'):8.2f} "
        f"{float('nan') if torchs is None else torchs:8.2f} {looped:8.2f}   {with_graphs / looped:9.2f}  "
        f"{float('nan') if torchs is None else with_graphs / torchs:10.2f}  {error:13.1e}  {choice}",
        flush=True,
    )


def chosen(plan: float, torchs: float | None, loop: float) -> str:
    """The value of ``model.cell.backend`` that is fastest: ``auto`` where that already is what it means on a GPU."""
    if torchs is None:  # auto is the plan
        return "auto" if plan <= loop else "reference"
    ways = {"auto": torchs, "derived": plan, "reference": loop}  # auto is torch's kernel
    return min(ways, key=lambda way: ways[way])


def _pass(layer: Any, x: Any) -> None:
    layer.zero_grad()
    layer(x)[0].square().mean().backward()


def largest_error(layer: Any, loop: Any, x: Any) -> float:
    """Between two layers' outputs and gradients, relative to the largest number of each."""
    import torch

    results = []
    for one in (layer, loop):
        output = one(x)[0]
        results.append([output.detach(), *torch.autograd.grad(output.square().mean(), list(one.parameters()))])
    return max(
        float((ours - its).abs().max() / its.abs().max().clamp_min(1e-12)) for ours, its in zip(*results, strict=True)
    )


def milliseconds(run: Callable[[], Any], device: str, small: bool, captured: bool = True) -> float:
    """The median of some calls; without ``captured`` of the first ones, before graphs are."""
    import torch

    def timed() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        begun = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        return 1000 * (time.perf_counter() - begun)

    if not captured:
        run()  # what is set up once
        return median(timed() for _ in range(2))
    for _ in range(2 if small else 6):
        run()
    begun, taken = time.monotonic(), [timed()]
    while len(taken) < (3 if small else 30) and time.monotonic() - begun < 2:
        taken.append(timed())
    return median(taken)


# ---- training -------------------------------------------------------------------------------------------------------


def training_step(device: str, small: bool, left: Callable[[], float]) -> None:
    """A step of a network, with its optimizer, in a loop of our own."""
    from rnnlab.cells.gru import GRU
    from rnnlab.cells.lem import LEM

    print("\ntraining step (network, loss, backward, Adam)", flush=True)
    for kind, backend in ((GRU, "auto"), (GRU, "eager"), (LEM, "auto"), (LEM, "eager"), (LEM, "reference")):
        name = f"{kind.__name__}, backend={backend}"
        if left() < 0:
            print("time is up for training steps", flush=True)
            return
        with said(name):
            print(f"{name:32} {milliseconds(_step(kind, backend, device, small), device, small):8.2f}", flush=True)


def _step(kind: Any, backend: str, device: str, small: bool) -> Callable[[], None]:
    import torch

    from rnnlab.network import Network
    from rnnlab.spec import InputSpec, TargetSpec

    network = Network(InputSpec(features=1), TargetSpec("values", 1), kind, 8 if small else 64).to(device)
    for layer in network.cells():
        layer.backend = backend
    optimizer = torch.optim.Adam(network.parameters(), fused=device == "cuda")
    x = torch.randn(BATCH, 10 if small else STEPS, 1, device=device)

    def step() -> None:
        optimizer.zero_grad()
        (network(x)[0] - x).square().mean().backward()
        optimizer.step()

    return step


def runs(device: str, small: bool, left: Callable[[], float]) -> None:
    """Whole processes: a run with ``trainer=gpu``, and some of them as a fleet and one by one."""
    trainer = "trainer=cpu" if device == "cpu" else "trainer=gpu"
    epochs, count = (1, 2) if small else (10, RUNS)
    base = [trainer, f"trainer.max_epochs={epochs}", "early_stopping.patience=null", "instruments=none"]
    base += ["model.hidden_size=8", "data.num_samples=60"] if small else []
    print("\nwhole processes, seconds", flush=True)
    cases = {
        f"rnnlab train {trainer}, gru": [*base, "model=gru"],
        f"rnnlab train {trainer}, lem": [*base, "model=lem"],
        f"rnnlab train {trainer}, lem, the loop": [*base, "model=lem", "model.cell.backend=reference"],
        f"{count} runs as a fleet": ["-m", *base, "model=gru", f"seed=range({count})", "hydra/launcher=fleet"],
        f"{count} runs one by one": ["-m", *base, "model=gru", f"seed=range({count})"],
    }
    for name, overrides in cases.items():
        if left() < 20 and not small:
            print("time is up for whole processes", flush=True)
            return
        with said(name), tempfile.TemporaryDirectory() as folder:
            where = "hydra.sweep.dir" if "-m" in overrides else "hydra.run.dir"
            begun = time.monotonic()
            command = [RNNLAB, "train", *overrides, f"{where}={Path(folder) / 'run'}"]
            most = 300.0 if small else max(20.0, left())
            ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=most)
            if ended.returncode:
                raise RuntimeError((ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"])[-1])
            print(f"{name:48} {time.monotonic() - begun:8.1f}", flush=True)


if __name__ == "__main__":
    main()
