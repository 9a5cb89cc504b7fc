"""``python -m benchmarks.predict``: predictions of a trained run, against the bare network and in a stream."""

import os
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.measurement import ONE_THREAD, RNNLAB, Result, Verdict, publish, run

BATCH, STEPS = 256, 40
LEAST = 0.9
"""Of the bare network's speed."""
GROWN = 1.02
"""A stream's memory at its end, against that after a tenth of its lines, of what still counts as flat."""
NETWORKS = (("gru", 64), ("lstm", 128))


def measure(quick: bool) -> Result:
    """Sequences a second of ``predict`` and of the network alone, and a long stream's lines and memory."""
    rounds, batches, lines = (3, 4, 20_000) if quick else (9, 16, 200_000)
    rows, ratios, numbers = [], [], {}
    with tempfile.TemporaryDirectory() as folder:
        for model, hidden in NETWORKS:
            place = train(Path(folder), model, hidden)
            bare, whole = sequences_a_second(place, rounds, batches)
            ratios.append(whole / bare)
            rows.append([f"{model} {hidden}", f"{bare:,.0f}", f"{whole:,.0f}", f"{whole / bare:.2f}"])
            numbers[f"{model} {hidden}"] = {"bare": bare, "predict": whole}
        speed, early, late = stream(Path(folder) / "gru", Path(folder), lines)
    numbers["stream"] = {"lines": lines, "lines_per_second": speed, "early_kb": early, "late_kb": late}
    return Result(
        "predict",
        f"Sequences a second of load(RUN).predict(x), {BATCH * batches:,} sequences of {STEPS} steps from an array to "
        f"a table of 16 classes with their names and probabilities, at batch {BATCH}, against the same network in a "
        "loop over the same batches, with nothing before or after it.",
        ["network", "bare loop", "predict", "ratio"],
        rows,
        [
            Verdict(f"at least {LEAST} of the bare network", f"{min(ratios):.2f}", min(ratios) >= LEAST),
            Verdict("the memory of a stream is flat", f"{late / early:.3f} of early", late <= GROWN * early),
        ],
        [
            f"`rnnlab predict RUN --stream` of {lines:,} lines of CSV (gru 64): {speed:,.0f} lines a second with its "
            f"start; {early / 1024:,.0f} MB resident after a tenth of them, {late / 1024:,.0f} MB at the end."
        ],
        numbers,
    )


def train(folder: Path, model: str, hidden: int) -> Path:
    """A run of a moment: what it learned does not matter here."""
    place = folder / model
    overrides = [f"model={model}", f"model.hidden_size={hidden}", "data=classification", "data.num_samples=40"]
    rest = ["trainer.max_epochs=1", "instruments=none", "trainer.accelerator=cpu", f"hydra.run.dir={place}"]
    run([RNNLAB, "train", *overrides, *rest])
    return place


def sequences_a_second(place: Path, rounds: int, batches: int) -> tuple[float, float]:
    """Of the network alone and of ``predict``, in turn."""
    from rnnlab import load

    model = load(place)
    torch.set_num_threads(1)
    x = np.random.default_rng(0).normal(size=(BATCH * batches, STEPS, 1)).astype(np.float32)
    network = model.networks[0]
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 1):
        started = time.perf_counter()
        with torch.inference_mode():
            for part in torch.from_numpy(x).split(BATCH):
                network(part)
        between = time.perf_counter()
        model.predict(x, batch_size=BATCH)
        seconds[0].append(between - started)
        seconds[1].append(time.perf_counter() - between)
    bare, whole = (len(x) / median(each[1:]) for each in seconds)  # the first round warms up
    return bare, whole


def stream(place: Path, folder: Path, lines: int) -> tuple[float, int, int]:
    """Lines a second, and kilobytes of memory after a tenth of the lines and at the end."""
    file = folder / "stream.csv"
    values = np.random.default_rng(0).normal(size=lines).round(3)
    file.write_text("f0\n" + "\n".join(map(str, values)) + "\n")
    started = time.perf_counter()
    command = [RNNLAB, "predict", str(place), "--stream", "--input", str(file)]
    environment = {**os.environ, **ONE_THREAD}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        early = late = 0
        for number, _ in enumerate(process.stdout):
            if number == lines // 10:
                early = resident(process.pid)
            elif number == lines - 1:
                late = resident(process.pid)
    return lines / (time.perf_counter() - started), early, late


def resident(pid: int) -> int:
    """Kilobytes that a process holds (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


if __name__ == "__main__":
    publish(measure(quick=False), quick=False)
