"""What a training step costs in ``rnnlab train``, against the same network in a bare PyTorch loop.

The three loops run in one process, turn by turn: before each of rnnlab's
steps a rival makes its own step on its own clock, while rnnlab's clock
stands. Whatever else this machine does, it does to all of them.
"""

import copy
import functools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.measurement import Cost, Result, Verdict, medians, run

TARGET = 1.1
TINY = "a tiny net, where the framework shows most"
CONFIGS = {
    "the default job": [],
    "32 units": ["model.hidden_size=32"],
    TINY: ["model.hidden_size=16", "data.length=10"],
}
LOOPS = {
    "rnnlab train": "rnnlab",
    "the same network, raw loop": "raw",
    "nn.GRU, as in a notebook": "notebook",
}


def measure(quick: bool = False) -> Result:
    """Three processes of each config, their steps taken together."""
    rows, verdicts, numbers = [], [], {}
    notes = [
        "A step: the batch is cut, forward, backward, clipping, Adam, and all hooks until the next batch is there. The "
        "bar is drawn on a real terminal, TensorBoard is written. Not in it: start-up, the first epoch and epoch ends. "
        "With epoch ends: 25 steps and what follows them, as a step each: validation of 100 waves in all three loops; "
        "in rnnlab also metrics, the row in metrics.csv, TensorBoard, the best weights and the instruments.",
        "The raw loop has rnnlab's Network, fused Adam, clipping and batches. The notebook's has torch.nn.GRU and "
        "Linear, a DataLoader, Adam as it comes, no clipping.",
    ]
    for config, overrides in CONFIGS.items():
        epochs = 4 if quick else 30
        children = [_child([*overrides, f"trainer.max_epochs={epochs}"]) for _ in range(1 if quick else 3)]
        steps = {name: _pooled(children, key, "steps") for name, key in LOOPS.items()}
        ends = {name: _pooled(children, key, "ends") for name, key in LOOPS.items()}
        middle = {name: medians(each) for name, each in steps.items()}
        per_epoch = children[0]["steps_per_epoch"]
        whole = {
            name: Cost(*(step + end / per_epoch for step, end in zip(middle[name], medians(ends[name]), strict=True)))
            for name in LOOPS
        }
        ours = "rnnlab train"
        rows += [
            [
                config if name == ours else "",
                name,
                f"{1000 * middle[name].wall:.2f}",
                f"{1000 * middle[name].cpu:.2f}",
                f"{middle[ours].wall / middle[name].wall:.2f}",
                f"{1000 * whole[name].wall:.2f}",
                f"{whole[ours].wall / whole[name].wall:.2f}",
            ]
            for name in LOOPS
        ]
        numbers[config] = {
            "overrides": overrides,
            "seconds per step, median": {name: middle[name]._asdict() for name in LOOPS},
            "seconds per step with epoch ends, medians": {name: whole[name]._asdict() for name in LOOPS},
            "steps": {name: len(steps[name]) for name in LOOPS},
            "ratio to the raw loop in each process": [
                medians(_costs(c["rnnlab"]["steps"])).wall / medians(_costs(c["raw"]["steps"])).wall for c in children
            ],
        }
        if config != TINY:
            for name, rival in zip(("raw loop", "notebook's loop"), list(LOOPS)[1:], strict=True):
                ratio = middle[ours].wall / middle[rival].wall
                promise = f"{config}: a step takes at most {TARGET}× that of the {name}"
                verdicts.append(Verdict(promise, f"{ratio:.3f}×", ratio <= TARGET))
        same = all(child["identical"] for child in children)
        verdicts.append(
            Verdict(f"{config}: rnnlab and the raw loop end with the same weights, bit for bit", str(same), same)
        )
    return Result(
        "step",
        "What does a training step cost? Median milliseconds on the clock (and of computing), one thread.",
        ["config", "loop", "ms a step", "CPU ms", "rnnlab is", "ms with epoch ends", "rnnlab is"],
        rows,
        verdicts,
        notes,
        numbers,
    )


def _child(overrides: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "clock.json"
        arguments = [*overrides, f"hydra.run.dir={folder}/run", "early_stopping.patience=null"]
        run([sys.executable, "-m", "benchmarks.step", "--child", str(out), *arguments], terminal=True)
        return json.loads(out.read_text())


def _costs(pairs: list[list[float]]) -> list[Cost]:
    return [Cost(*pair) for pair in pairs]


def _pooled(children: list[dict[str, Any]], loop: str, what: str) -> list[Cost]:
    return [cost for child in children for cost in _costs(child[loop][what])]


# ---- inside the measured process ----------------------------------------------------------------


class Clock:
    """Collects the cost of steps and of epoch ends."""

    def __init__(self) -> None:
        self.steps: list[Cost] = []
        self.ends: list[Cost] = []
        self.start()

    def start(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> Cost:
        return Cost(time.perf_counter() - self._wall, time.process_time() - self._cpu)


class Rival:
    """A loop of one's own: ``train`` gives back the control after each step."""

    def __init__(self, train: Callable[[int], Iterator[None]], validate: Callable[[], float]) -> None:
        self.clock, self.train, self.validate = Clock(), train, validate

    def begin(self, epoch: int) -> None:
        if epoch:
            self.clock.start()
            self.validate()
            self.clock.ends.append(self.clock.read())
        self._steps = self.train(epoch)

    def step(self) -> None:
        self.clock.start()
        next(self._steps)
        self.clock.steps.append(self.clock.read())


class Probe:
    """Stops rnnlab's clock at the start of each of its steps, lets the rivals make theirs, and starts it again."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.rivals: dict[str, Rival] = {}
        self.identical = True
        self.steps_per_epoch = 0

    def arrive(self, task: Any, batch_idx: int) -> None:
        passed, trainer = self.clock.read(), task.trainer
        epoch = trainer.current_epoch
        if not self.rivals:
            self.network, raw = raw_loop(task)
            self.rivals = {"raw": raw, "notebook": notebook_loop(task)}
            self.steps_per_epoch = trainer.num_training_batches
        elif epoch > 0:
            (self.clock.steps if batch_idx else self.clock.ends).append(passed)
        if batch_idx == 0:
            pairs = zip(self.network.parameters(), task.network.parameters(), strict=True)
            self.identical &= all(bool((ours == theirs).all()) for ours, theirs in pairs)
            for rival in self.rivals.values():
                rival.begin(epoch)
        # in turn, so that neither always comes first
        for name in ("raw", "notebook") if batch_idx % 2 else ("notebook", "raw"):
            self.rivals[name].step()
        self.clock.start()

    def report(self) -> dict[str, Any]:
        step = medians(self.clock.steps)
        # from the last step of an epoch to the first of the next is a step and the end of an epoch
        self.clock.ends = [Cost(end.wall - step.wall, end.cpu - step.cpu) for end in self.clock.ends]
        clocks = {"rnnlab": self.clock, **{name: rival.clock for name, rival in self.rivals.items()}}
        skipped = {name: 0 if name == "rnnlab" else self.steps_per_epoch for name in clocks}
        report = {name: {"steps": c.steps[skipped[name] :], "ends": c.ends} for name, c in clocks.items()}
        return {**report, "identical": self.identical, "steps_per_epoch": self.steps_per_epoch}


def raw_loop(task: Any) -> tuple[Any, Rival]:
    """rnnlab's network, optimizer, clipping and batches, without rnnlab's trainer."""
    import torch
    import torch.nn.functional as F

    data, trainer = task.trainer.datamodule, task.trainer
    network = copy.deepcopy(task.network)
    optimizer = task.optimizer_factory(network.parameters())
    train, val = data.split("train"), data.split("val")
    order = data.train_dataloader().order

    def steps(epoch: int) -> Iterator[None]:
        order.set_epoch(epoch)
        total = 0.0
        network.train()
        for index in order:
            output, _ = network(train.inputs[index])
            loss = F.mse_loss(output, train.targets[index])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), trainer.gradient_clip_val)
            optimizer.step()
            total += loss.item()
            yield

    @torch.no_grad()
    def validate() -> float:
        network.eval()
        return F.mse_loss(network(val.inputs)[0], val.targets).item()

    return network, Rival(steps, validate)


def notebook_loop(task: Any) -> Rival:
    """What a notebook would write for the same sizes and data."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    data = task.trainer.datamodule
    train, val = (TensorDataset(split.inputs, split.targets) for split in (data.split("train"), data.split("val")))
    generator = torch.Generator()  # of its own, since the global one belongs to rnnlab here
    loader = DataLoader(train, batch_size=data.batch_size, shuffle=True, generator=generator)
    val_loader = DataLoader(val, batch_size=data.batch_size, generator=generator)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(1, task.network.hidden_size, batch_first=True)
            self.linear = nn.Linear(task.network.hidden_size, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(self.rnn(x)[0])

    with torch.random.fork_rng(devices=[]):
        model = Model()
    optimizer, criterion = torch.optim.Adam(model.parameters(), lr=0.003), nn.MSELoss()

    def steps(epoch: int) -> Iterator[None]:
        total = 0.0
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
            yield

    @torch.no_grad()
    def validate() -> float:
        model.eval()
        return sum(criterion(model(x), y).item() for x, y in val_loader)

    return Rival(steps, validate)


def child(out: str, overrides: list[str]) -> None:
    """``rnnlab train`` itself, with the probe at the door of its training step."""
    from rnnlab.__main__ import main
    from rnnlab.tasks.task import Task

    probe, original = Probe(), Task.training_step

    @functools.wraps(original)
    def training_step(self: Task, batch: Any, batch_idx: int) -> Any:
        probe.arrive(self, batch_idx)
        return original(self, batch, batch_idx)

    Task.training_step = training_step  # type: ignore[method-assign]
    try:
        main(["train", *overrides])
    finally:
        Path(out).write_text(json.dumps(probe.report()))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
    else:
        from benchmarks.__main__ import main

        main(["step", *sys.argv[1:]])
