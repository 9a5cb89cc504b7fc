"""What the whole of ``make train`` costs on an installed tree, against a notebook's script for the same updates."""

import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measurement import RNNLAB, Cost, Result, Verdict, medians, run

TARGET = 1.15
SCRIPT = Path(__file__).with_name("notebook_sine.py")


def measure(quick: bool = False) -> Result:
    """Whole processes in turn: the run, the same run of one epoch, the script."""
    epochs = 6 if quick else 30
    rounds = [_round(epochs) for _ in range(1 if quick else 5)]
    whole = medians([each["whole"] for each in rounds])
    start = medians([each["start-up"] for each in rounds])
    script = medians([each["script"] for each in rounds])
    trained, script_trained = (median(each[key] for each in rounds) for key in ("trained", "script trained"))
    parts = {key: median(each["parts"][key] for each in rounds) for key in rounds[0]["parts"]}
    allowed = start.wall + TARGET * script_trained
    rows = [
        ["rnnlab train", f"{whole.wall:.2f}", f"{whole.cpu:.2f}", f"{trained:.2f}"],
        ["rnnlab train, start-up and end", f"{start.wall:.2f}", f"{start.cpu:.2f}", ""],
        ["the notebook's script", f"{script.wall:.2f}", f"{script.cpu:.2f}", f"{script_trained:.2f}"],
    ]
    where = "; ".join(f"{name} {seconds:.2f} s" for name, seconds in parts.items())
    return Result(
        "whole",
        f"What does a whole run of {epochs} epochs ({25 * epochs} updates, 12,929 parameters) cost? Whole processes, "
        "one thread, bar and TensorBoard on, medians, each in turn.",
        ["process", "wall seconds", "CPU-seconds", "of which training, wall"],
        rows,
        [
            Verdict(
                f"the whole takes at most start-up + {TARGET}× the training part of the notebook's script",
                f"{whole.wall:.2f} s, allowed are {start.wall:.2f} + {TARGET} × {script_trained:.2f} = {allowed:.2f} s",
                whole.wall <= allowed,
            ),
            Verdict(
                f"training itself takes at most {TARGET}× the script's",
                f"{trained / script_trained:.2f}×",
                trained / script_trained <= TARGET,
            ),
        ],
        [
            "Start-up and end: the process of a run of one epoch, less that epoch: imports, config, data, graph, test, "
            "rollout, baselines, figures, checkpoints. Training: all epochs with their validation, in rnnlab also with "
            "metrics, instruments and the record of the run.",
            f"Where the whole goes: {where}.",
        ],
        {"rounds": rounds},
    )


def _round(epochs: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        whole, metrics = _rnnlab(epochs, f"{folder}/whole")
        one, one_metrics = _rnnlab(1, f"{folder}/one")
        script, script_seconds = _script(epochs, f"{folder}/plot.png")
    before = whole.wall - metrics["seconds_total"]
    return {
        "whole": whole,
        "trained": metrics["seconds"],
        "start-up": Cost(one.wall - one_metrics["seconds"], one.cpu - one_metrics["seconds"]),
        "script": script,
        "script trained": script_seconds,
        "parts": {
            "imports and config": before,
            "training": metrics["seconds"],
            "set-up, test and figures": metrics["seconds_total"] - metrics["seconds"],
        },
    }


def _rnnlab(epochs: int, folder: str) -> tuple[Cost, dict[str, float]]:
    # no early stopping: the number of updates is the script's
    options = [f"trainer.max_epochs={epochs}", "early_stopping.patience=null", f"hydra.run.dir={folder}"]
    cost = run([RNNLAB, "train", *options], terminal=True)
    return cost, json.loads((Path(folder) / "metrics.json").read_text())


def _script(epochs: int, plot: str) -> tuple[Cost, float]:
    seconds = Path(plot).with_suffix(".txt")
    command = [sys.executable, str(SCRIPT), str(epochs), plot, str(seconds)]
    return run(command), float(seconds.read_text())


if __name__ == "__main__":
    from benchmarks.__main__ import main

    main(["whole", *sys.argv[1:]])
