"""``python -m benchmarks.predict``: predictions of a trained run, against the bare network and in a stream."""

import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.measurement import ONE_THREAD, RNNLAB, Result, Verdict, publish, run

BATCH, STEPS = 256, 40
LEAST = 0.9
"""Of the bare network's speed."""
GROWN = 1.02
"""A stream's memory at its end, against that after a hundredth of its lines, of what still counts as flat."""
LOOKED_AT = (0.01, 0.1, 0.25, 0.5, 0.75, 1.0)
"""Shares of a stream after which its memory is read."""
NETWORKS = (("gru", 64), ("lstm", 128))


def measure(quick: bool) -> Result:
    """Sequences a second of ``predict`` and of the network alone, and a long stream's lines and memory."""
    rounds, batches, lines = (3, 4, 20_000) if quick else (15, 16, 1_000_000)
    rows, ratios = [], []
    numbers: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for model, hidden in NETWORKS:
            place = train(Path(folder), model, hidden)
            bare, whole = sequences_a_second(place, rounds, batches)
            ratios.append(whole / bare)
            rows.append([f"{model} {hidden}", f"{bare:,.0f}", f"{whole:,.0f}", f"{whole / bare:.2f}"])
            numbers[f"{model} {hidden}"] = {"bare": bare, "predict": whole}
        speed, by_cpu, memory = stream(Path(folder) / "gru", Path(folder), lines)
    (early, _), (late, _) = memory[0], memory[-1]
    numbers["stream"] = {
        "lines": lines,
        "lines_per_second": speed,
        "lines_per_cpu_second": by_cpu,
        "resident_and_peak_kb_by_share": dict(zip(map(str, LOOKED_AT), memory, strict=True)),
    }
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
            f"`rnnlab predict RUN --stream` of {lines:,} lines of CSV (gru 64, 16 probabilities a line, each line "
            f"flushed): {speed:,.0f} lines a second with its start, {by_cpu:,.0f} a second of processor time. "
            "Memory in MB, resident and at its peak so far: "
            + "; ".join(
                f"{now / 1024:,.1f} and {peak / 1024:,.1f} after {int(share * lines):,}"
                for share, (now, peak) in zip(LOOKED_AT, memory, strict=True)
            )
            + "."
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


def stream(place: Path, folder: Path, lines: int) -> tuple[float, float, list[tuple[int, int]]]:
    """Lines a second, and a second of processor time; and kilobytes of memory, now and at its peak, after each share
    of ``LOOKED_AT``.
    """
    file = folder / "stream.csv"
    values = np.random.default_rng(0).normal(size=lines).round(3)
    file.write_text("f0\n" + "\n".join(map(str, values)) + "\n")
    started, used = time.perf_counter(), processor_seconds()
    command = [RNNLAB, "predict", str(place), "--stream", "--input", str(file)]
    environment = {**os.environ, **ONE_THREAD}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        # the header is a line of its own; the last one is seen while the process still lives
        points = [max(1, int(share * lines) - 1) for share in LOOKED_AT]
        memory = [held(process.pid) for number, _ in enumerate(process.stdout) if number in points]
    return lines / (time.perf_counter() - started), lines / (processor_seconds() - used), memory


def processor_seconds() -> float:
    """Of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def held(pid: int) -> tuple[int, int]:
    """Kilobytes that a process holds, now and at its peak so far (Linux)."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]), int(status["VmHWM"].split()[0])


if __name__ == "__main__":
    publish(measure(quick=False), quick=False)
