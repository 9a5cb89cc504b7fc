"""What it costs to read a large CSV: seconds until the first training batch, and memory against the file's size."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measurement import ONE_THREAD, Result, Verdict

SIZE, QUICK = 1_000_000_000, 50_000_000
SECONDS = 20.0
LABELLED = "labelled recordings, all six columns"
TABLE_SECONDS, TABLE_MEMORY = 25.0, 2.0
CASES: dict[str, dict[str, Any]] = {
    "one series, two of six columns": {"target": "a", "past": ["b"], "series": None},
    "one series, all six columns": {"target": "a", "past": ["b", "c", "d", "e", "f"], "series": None},
    "a thousand series, two of six columns": {"target": "a", "past": ["b"], "series": "id"},
    LABELLED: {"target": "label", "sequence": "id"},
}


def measure(quick: bool = False) -> Result:
    """Each case in a process of its own, since the highest mark of a process's memory never falls."""
    rows, verdicts, numbers = [], [], {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        written = write(path, QUICK if quick else SIZE)
        for name, options in CASES.items():
            if name == LABELLED:
                written = write(path, QUICK if quick else SIZE, steps=500)
            found = numbers[name] = _child(str(path), options)
            ratio = found["memory"] / found["size"]
            seconds = TABLE_SECONDS if name == LABELLED else SECONDS
            rows.append(
                [
                    name,
                    f"{found['size'] / 1e6:,.0f}",
                    f"{written / 1e6:.1f}",
                    f"{found['windows'] / 1e6:.2f}",
                    f"{found['reading']:.1f}",
                    f"{found['ready']:.1f}",
                    f"{found['memory'] / 1e6:,.0f}",
                    f"{ratio:.2f}",
                ]
            )
            verdicts.append(
                Verdict(f"{name}: the first batch within {seconds:g} s", f"{found['ready']:.1f} s",
                        found["ready"] <= seconds)
            )  # fmt: skip
            if name == LABELLED:
                verdicts.append(Verdict(f"{name}: at most {TABLE_MEMORY:g} × the file", f"{ratio:.2f}",
                                        ratio <= TABLE_MEMORY))  # fmt: skip
    return Result(
        "tables",
        "What does it cost to read a CSV and to window it? One process each, one thread.",
        [
            "what is read",
            "MB",
            "million rows",
            "million windows or sequences",
            "seconds to read",
            "to the first batch",
            "MB of memory",
            "memory / file",
        ],
        rows,
        verdicts,
        [
            "Each row has a date and time, the name of a series and six numbers; of the recordings (data=table), 500 "
            "rows each, a label, too. To read: parsing, times, order and "
            "gaps, missing values, splits, scaling, and the simple predictors. To the first batch: seconds from the "
            "start of the process, with the imports of torch and lightning and the shuffling of all windows. Memory: "
            "the highest mark of the process, less what it had before it read."
        ],
        numbers,
    )


def write(path: Path, size: int, series: int = 1000, steps: int | None = None) -> int:
    """A CSV of about ``size`` bytes, sorted by time within each of ``series`` blocks; returns its rows.

    Args:
        path: of the file.
        size: in bytes.
        series: how many blocks.
        steps: of a recording, of which a block then has several, each with a label.
    """
    import polars as pl

    rng = np.random.default_rng(0)
    rows, block = 0, max(1, size // 60 // series)
    with open(path, "wb") as file:
        for number in range(series):
            times = np.datetime64("1990-01-01", "ms") + 60_000 * (rows + np.arange(block))
            columns: dict[str, Any] = {name: rng.normal(100, 10, block).round(2) for name in "abcdef"}
            names = np.full(block, f"s{number:04}")
            if steps is not None:
                recording = number * -(-block // steps) + np.arange(block) // steps
                names, columns["label"] = recording, np.array(["left", "right", "still"])[recording % 3]
            frame = pl.DataFrame({"time": times, "id": names, **columns})
            frame.write_csv(file, include_header=number == 0)
            rows += block
    return rows


def _child(path: str, options: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.tables", "--child", path, json.dumps(options), str(time.time())]
    # polars has threads of its own
    environment = {**os.environ, **ONE_THREAD, "POLARS_MAX_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(ended.stdout)


def child(path: str, options: dict[str, Any], started: float) -> dict[str, float]:
    """Inside the measured process."""
    from resource import RUSAGE_SELF, getrusage

    from rnnlab.data.csv import CSV
    from rnnlab.data.table import Table

    def highest() -> int:
        return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    before, begun = highest(), time.perf_counter()
    data = (Table if "sequence" in options else CSV)(path=path, time="time", **options)
    assert data.spec.input.features
    reading = time.perf_counter() - begun
    next(iter(data.train_dataloader()))
    return {
        "size": Path(path).stat().st_size,
        "windows": data.size("train"),
        "reading": reading,
        "ready": time.time() - started,
        "memory": highest() - before,
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(sys.argv[2], json.loads(sys.argv[3]), float(sys.argv[4]))))
    else:
        from benchmarks.__main__ import main

        main(["tables", *sys.argv[1:]])
