"""What each cell scores on the diagnostics of memory, after the same few updates."""

import json
import math
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.measurement import RNNLAB, Result, publish, run

RUNS = Path(__file__).parents[1] / "build" / "memory_scores"
"""Where the runs are kept until all are done: a measurement that was stopped goes on by the same command."""
SEEDS: tuple[int, ...] = (0,)
"""More of them make the means surer, and take as many times as long."""


@dataclass(frozen=True)
class Test:
    """A diagnostic: its data, what is scored, and how the score is shown.

    Attributes:
        title: of its column.
        overrides: what makes its data.
        score: a name in ``metrics.json``, behind ``test/`` and ``baseline/``.
        scale: of the number shown: 100 for a percentage.
    """

    title: str
    overrides: tuple[str, ...]
    score: str = "accuracy"
    scale: float = 100.0


TESTS = {
    "remember_first": Test("first of 30 tokens, %", ("data=remember_first", "data.length=30")),
    "parity": Test("parity, ≤ 16 → 17 to 64 bits, %", ("data=parity", "data.length=16", "data.test_length=[17,64]")),
    "copy_memory": Test(
        "copy 5 over 10 steps, %", ("data=copy_memory", "data.length=10", "data.copied=5", "data.symbols=8")
    ),
    "associative_recall": Test(
        "recall of 3 pairs, 24 steps, %",
        ("data=associative_recall", "data.length=24", "data.pairs=3", "data.num_keys=8", "data.num_values=8"),
    ),
    "adding": Test("adding, 40 steps, MSE ×1000", ("data=adding", "data.length=40"), "mse", 1000.0),
}
SAME = (
    "data.num_samples=8000", "data.batch_size=32", "model.hidden_size=64", "model.num_layers=1", "optimizer=adam",
    "optimizer.lr=0.01", "scheduler=one_cycle", "early_stopping.patience=null", "instruments=none",
    "trainer.accelerator=cpu", "trainer.num_threads=1", "trainer.progress=none", "hydra/launcher=basic",
)  # fmt: skip
EPOCHS, UPDATES = 5, 1000


def measure(quick: bool = False) -> Result:
    """A sweep a diagnostic, over all cells and seeds."""
    if quick:
        with tempfile.TemporaryDirectory() as folder:
            return _measured(Path(folder), ["gru", "lru", "min_gru"], ["remember_first"], epochs=1)
    result = _measured(RUNS, models(), list(TESTS), EPOCHS)
    shutil.rmtree(RUNS)
    return result


def so_far() -> Result:
    """What a measurement that goes on later has of whole diagnostics.

    Raises:
        RuntimeError: none is whole yet.
    """
    every = len(models()) * len(SEEDS)
    found = {test: runs for test in TESTS if len(runs := collect(RUNS / test)) == every}
    if not found:
        raise RuntimeError(f"build/{RUNS.name} holds no diagnostic that all cells have been through")
    result = tabulate(found, EPOCHS)
    missing = [TESTS[test].title for test in TESTS if test not in found]
    if missing:
        result.notes.append(f"Not measured yet: {'; '.join(missing)}. The command adds them.")
    return result


def models() -> list[str]:
    """All that ``conf/model`` has."""
    folder = Path(__file__).parents[1] / "conf" / "model"
    return sorted(file.stem for file in folder.glob("[!_]*.yaml"))


def _measured(folder: Path, cells: Sequence[str], tests: Sequence[str], epochs: int) -> Result:
    found = {}
    for test in tests:
        sweep = folder / test
        _execute(sweep, [f"model={','.join(cells)}", *TESTS[test].overrides, *SAME, f"trainer.max_epochs={epochs}",
                         f"seed={','.join(map(str, SEEDS))}"])  # fmt: skip
        found[test] = collect(sweep)
    return tabulate(found, epochs)


def _execute(sweep: Path, arguments: Sequence[str]) -> None:
    """Runs a sweep, or what is left of it.

    Raises:
        RuntimeError: the one that is there is another.
    """
    stamp = sweep.with_suffix(".arguments")
    wanted = "\n".join(arguments)
    if stamp.exists() and stamp.read_text() != wanted:
        raise RuntimeError(f"build/{RUNS.name} holds runs of other settings: remove it to measure anew")
    begun = stamp.exists()
    sweep.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(wanted)
    command = (
        [RNNLAB, "resume", str(sweep)]
        if begun and sweep.exists()
        else [RNNLAB, "train", "-m", *arguments, f"hydra.sweep.dir={sweep}"]
    )
    try:
        run(command)
    except RuntimeError:
        # a job that fails has no score in the table; a sweep without any run is a fault of ours
        if not any(sweep.glob("*/metrics.json")):
            raise


def collect(sweep: Path) -> list[dict[str, Any]]:
    """The model, seed and scores of each run of a sweep that is done."""
    found = []
    for file in sorted(sweep.glob("*/status.json")):
        status = json.loads(file.read_text())
        if status["state"] == "done":
            model = next(each.removeprefix("model=") for each in status["overrides"] if each.startswith("model="))
            found.append({"model": model, **json.loads(file.with_name("metrics.json").read_text())})
    return found


def tabulate(found: dict[str, list[dict[str, Any]]], epochs: int) -> Result:
    """The table: a row a cell, a column a diagnostic."""
    cells = sorted({each["model"] for runs in found.values() for each in runs})
    scores = {
        cell: {
            test: [each[f"test/{TESTS[test].score}"] for each in runs if each["model"] == cell]
            for test, runs in found.items()
        }
        for cell in cells
    }
    trivial = {
        test: fmean(each[f"baseline/{TESTS[test].score}"] for each in runs) for test, runs in found.items() if runs
    }
    rows = [[cell, *(shown(test, scores[cell][test]) for test in found)] for cell in cells]
    rows.append(["(trivial)", *(shown(test, [trivial[test]]) for test in found)])
    updates = epochs * UPDATES // EPOCHS
    return Result(
        "memory_scores",
        f"What does each cell remember after {updates:,} updates? One layer of 64 units, scores on the test, "
        + (f"the mean of {len(SEEDS)} seeds." if len(SEEDS) > 1 else f"seed {SEEDS[0]}."),
        ["model", *(TESTS[test].title for test in found)],
        rows,
        notes=[
            f"Each run: {updates:,} updates of Adam on 6,400 sequences, 32 a batch, a learning rate that rises to 0.01 "
            "and falls again (one_cycle), the weights of the epoch with the best loss on validation. Nothing was tuned "
            "for any cell, and a thousand updates are few: a cell that is at the trivial score here may learn the rule "
            "with more of them or another rate, and cells that are parallel over time are meant to be stacked two or "
            "three deep. Single seeds differ, so that small differences say nothing.",
            "The trivial predictor knows what is asked when, and says the most frequent answer (accuracy), or the mean "
            "(MSE).",
        ],
        numbers={"updates": updates, "columns": {test: TESTS[test].title for test in found}, "scores": scores,
                 "trivial": trivial, "shown": {row[0]: dict(zip(found, row[1:], strict=True)) for row in rows}},
    )  # fmt: skip


def shown(test: str, values: Sequence[float]) -> str:
    """The mean of a score, as the table has it."""
    if not values:
        return "failed"
    value = TESTS[test].scale * fmean(values)
    return f"{value:.1f}" if math.isfinite(value) else "not finite"


if __name__ == "__main__":
    from benchmarks.__main__ import main

    if sys.argv[1:] == ["--so-far"]:
        publish(so_far(), quick=False)
    else:
        main(["memory_scores", *sys.argv[1:]])
