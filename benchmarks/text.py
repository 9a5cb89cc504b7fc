"""What it costs to read a large text: seconds until the first batch, and memory against the size of the file."""

import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.measurement import ONE_THREAD, Result, Verdict

SIZE, QUICK = 200_000_000, 20_000_000
SECONDS, MEMORY = 20.0, 3.0
BATCHES = 300
CASES = {
    "English, by character": ("english", "character"),
    "English, by byte": ("english", "byte"),
    "English, by word": ("english", "word"),
    "English and an emoji a line, by character": ("emoji", "character"),
}


def measure(quick: bool = False) -> Result:
    """Each case in a process of its own, since the highest mark of a process's memory never falls."""
    size = QUICK if quick else SIZE
    rows, verdicts, numbers = [], [], {}
    with tempfile.TemporaryDirectory() as folder:
        for content in ("english", "emoji"):
            write(Path(folder) / content, content, size)
        for name, (content, unit) in CASES.items():
            found = numbers[name] = _child(str(Path(folder) / content), unit)
            ratio = found["memory"] / found["size"]
            rows.append(
                [
                    name,
                    f"{found['size'] / 1e6:.0f}",
                    f"{found['tokens'] / 1e6:.1f}",
                    f"{found['vocabulary']:,}",
                    f"{found['reading']:.1f}",
                    f"{found['ready']:.1f}",
                    f"{found['cpu']:.1f}",
                    f"{ratio:.2f}",
                    f"{1000 * found['batch']:.2f}",
                ]
            )
            verdicts += [
                Verdict(f"{name}: at most {MEMORY:g}× the file in memory", f"{ratio:.2f}×", ratio <= MEMORY),
                Verdict(
                    f"{name}: the first batch within {SECONDS:g} s",
                    f"{found['ready']:.1f} s",
                    found["ready"] <= SECONDS,
                ),
            ]
    return Result(
        "text",
        "What does it cost to read a text? One process each, one thread.",
        [
            "text",
            "MB",
            "million tokens",
            "vocabulary",
            "seconds to read",
            "to the first batch",
            "of computing",
            "memory / file",
            "ms a batch",
        ],
        rows,
        verdicts,
        [
            "To the first batch: seconds from the start of the process, with the imports of torch and lightning, and "
            "of these how many were spent computing. Memory: the highest mark of the process, less what it had before "
            "it read. A batch: 32 sequences of 64 steps. The texts are the language reference again and again, with "
            "numbers that make new words."
        ],
        numbers,
    )


def write(path: Path, content: str, size: int) -> None:
    """A text of about ``size`` bytes."""
    from rnnlab.data.documentation import reference

    lines = reference().splitlines()
    with open(path, "w") as file:
        number = 0
        while file.tell() < size:
            file.writelines(f"{line} {number}{' 🐻' if content == 'emoji' else ''}\n" for line in lines)
            number += 1


def _child(path: str, unit: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.text", "--child", path, unit, str(time.time())]
    ended = subprocess.run(command, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, check=True)
    return json.loads(ended.stdout)


def child(path: str, unit: Any, started: float) -> dict[str, float]:
    """Inside the measured process."""
    from resource import RUSAGE_SELF, getrusage

    from rnnlab.data.text import Text

    def highest() -> int:
        return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    before, begun = highest(), time.perf_counter()
    data = Text(path=path, unit=unit)
    spec = data.spec
    reading = time.perf_counter() - begun
    batches = iter(data.train_dataloader())
    next(batches)
    ready, cpu, begun = time.time() - started, time.process_time(), time.perf_counter()
    cut = sum(1 for _ in islice(batches, BATCHES))
    return {
        "size": Path(path).stat().st_size,
        "tokens": len(data.corpus.ids),
        "vocabulary": spec.target.size,
        "reading": reading,
        "ready": ready,
        "cpu": cpu,
        "memory": highest() - before,
        "batch": (time.perf_counter() - begun) / cut,
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(sys.argv[2], sys.argv[3], float(sys.argv[4]))))
    else:
        from benchmarks.__main__ import main

        main(["text", *sys.argv[1:]])
