"""What the doors cost: Python beside the command, callbacks and loggers a step, folds as a fleet."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measurement import RNNLAB, Cost, Result, Verdict, medians, run

STEPS, REPEATS, FOLDS = 2000, 5, 5
RUN = ("data=sine", "trainer=cpu", "trainer.progress=none", "instruments=none")
ADDED = {
    "callbacks=ema": ["callbacks=ema"],
    "callbacks=swa": ["callbacks=swa"],
    "callbacks=lr_monitor": ["callbacks=lr_monitor"],
    "callbacks=timer": ["callbacks=timer"],
    "logger=csv": ["logger=csv"],
    "logger=mlflow (SQLite)": ["logger=mlflow", "logger.mlflow.tracking_uri=sqlite:///{home}/mlflow.db"],
    "logger=wandb (offline)": ["logger=wandb", "logger.wandb.online=false"],
}
TABLE = ("data=table", "trainer=cpu", "trainer.progress=none", "instruments=none", f"data.folds={FOLDS}")
AS_MUCH, FLEET = 1.05, 1.6
"""Promised: Python beside the command, and all folds as a fleet beside one."""


def measure(quick: bool = False) -> Result:
    """Whole processes in turn; seconds of the processor, and on the clock of the folds."""
    steps, repeats = (200, 1) if quick else (STEPS, REPEATS)
    length = f"trainer.max_steps={steps}"
    costs: dict[str, list[Cost]] = {}
    with tempfile.TemporaryDirectory() as home:
        typed = [*RUN, length]
        script = "import sys, rnnlab; rnnlab.train(*sys.argv[1:])"
        commands: dict[str, Sequence[str]] = {
            "command": [RNNLAB, "train", *typed],
            "python": [sys.executable, "-c", script, *typed],
            **{name: [RNNLAB, "train", *typed, *(word.format(home=home) for word in words)]
               for name, words in ADDED.items()},
            "one fold": [RNNLAB, "train", *TABLE, length],
            "fleet": [RNNLAB, "train", "-m", *TABLE, length, f"data.fold=range({FOLDS})", "hydra/launcher=fleet"],
        }  # fmt: skip
        for repeat in range(repeats):
            for number, (name, command) in enumerate(commands.items()):
                place = Path(home) / f"{repeat}-{number}"
                where = "sweep" if name == "fleet" else "run"
                costs.setdefault(name, []).append(run([*command, f"hydra.{where}.dir={place}"], folder=Path(home)))
    found = {name: medians(each) for name, each in costs.items()}
    base = found["command"]
    rows = [["rnnlab train", f"{base.cpu:.1f}", ""]]
    rows.append(["rnnlab.train", f"{found['python'].cpu:.1f}", f"× {found['python'].cpu / base.cpu:.2f}"])
    for name in ADDED:
        more = 1000 * (found[name].cpu - base.cpu) / steps
        rows.append([name, f"{found[name].cpu:.1f}", f"{more:+.2f} ms a step, start and end included"])
    ratio = found["fleet"].wall / found["one fold"].wall
    rows.append(["one fold of a table", f"{found['one fold'].cpu:.1f}", f"{found['one fold'].wall:.1f} s on the clock"])
    rows.append([f"{FOLDS} folds, a fleet", f"{found['fleet'].cpu:.1f}",
                 f"{found['fleet'].wall:.1f} s on the clock, × {ratio:.2f}"])  # fmt: skip
    alike = found["python"].cpu / base.cpu
    return Result(
        "doors",
        f"What do Python, callbacks, loggers and folds cost? Medians of {repeats}, whole processes, seconds of the "
        f"processor; {steps:,} updates of the default GRU.",
        ["what", "seconds", "beside"],
        rows,
        [
            Verdict(f"rnnlab.train takes at most {AS_MUCH} of rnnlab train", f"{alike:.3f}", alike <= AS_MUCH),
            Verdict(f"{FOLDS} folds as a fleet take at most {FLEET} of one", f"{ratio:.2f}", ratio <= FLEET),
        ],
        numbers={name: cost._asdict() for name, cost in found.items()} | {"steps": steps, "repeats": repeats},
    )


if __name__ == "__main__":
    from benchmarks.__main__ import main

    main(["doors", *sys.argv[1:]])
