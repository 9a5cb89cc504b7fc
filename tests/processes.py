"""Commands in processes of their own, and their jobs held still in the middle of the training.

How fast a machine is must not decide what a test tests. A job of theirs trains for a second or two: on an idle machine
it may be over before what is to befall it comes, on a busy one it has not begun. So it is stopped (SIGSTOP) where it is
known to be at work, and goes on (SIGCONT) when what was done to it has reached it.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 300
"""Seconds after which what was waited for never comes, however busy the machine."""


def start(*arguments: str) -> "subprocess.Popen[str]":
    """``rnnlab ARGUMENTS``, in a group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "rnnlab", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def ended(process: "subprocess.Popen[str]", status: int = 0) -> str:
    """What a command has printed that ended with this status."""
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == status, output
    assert "Traceback" not in output
    return output


def wait_until(holds: Callable[[], bool], process: "subprocess.Popen[str] | None" = None) -> None:
    """Waits, but not for a command that is over."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if process is not None and process.poll() is not None and not holds():
            pytest.fail(f"it ended before: {process.communicate()[0]}")
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def status(path: Path) -> list[dict[str, Any]]:
    """Of each job of a sweep, in the order of their names."""
    return [json.loads(file.read_text()) for file in sorted(path.glob("*/status.json"))]


def states(path: Path) -> dict[str, str]:
    """By the job's name."""
    return {file.parent.name: json.loads(file.read_text())["state"] for file in sorted(path.glob("*/status.json"))}


def scores(path: Path) -> dict[str, dict[str, float]]:
    """All final metrics but times, by the job's name."""
    return {
        file.parent.name: {k: v for k, v in json.loads(file.read_text()).items() if not k.startswith("seconds")}
        for file in sorted(path.glob("*/metrics.json"))
    }


@contextmanager
def held(path: Path, process: "subprocess.Popen[str] | None" = None, jobs: int = 1) -> Iterator[list[int]]:
    """Processes of so many jobs of a sweep, each stopped when it has two epochs behind it, until the block ends.

    Args:
        path: of the sweep, or of a run.
        process: that leads it, where it is to be waited for no longer than it lives.
        jobs: how many are to be held; others run on.
    """
    found: dict[Path, int] = {}

    def enough() -> bool:
        for rows in sorted([*path.glob("metrics.csv"), *path.glob("*/metrics.csv")]):
            said = json.loads((rows.parent / "status.json").read_text())
            trains = said["state"] == "running" and rows.read_text().count("\n") > 2
            if trains and rows.parent not in found and len(found) < jobs:
                os.kill(said["pid"], signal.SIGSTOP)
                found[rows.parent] = said["pid"]
        return len(found) == jobs

    try:
        wait_until(enough, process)
        for run in found:
            assert json.loads((run / "status.json").read_text())["state"] == "running", f"{run.name} was too fast"
        yield list(found.values())
    finally:
        for pid in found.values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def is_told(pid: int, number: signal.Signals) -> bool:
    """Whether a signal waits for a process that is held, or has ended it."""
    with suppress(FileNotFoundError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        facts = dict(line.split(":\t") for line in lines if ":\t" in line)
        waits = int(facts["SigPnd"], 16) | int(facts["ShdPnd"], 16)
        return facts["State"][0] in "ZX" or bool(waits >> (number - 1) & 1)
    return True


@contextmanager
def somebody_else(path: Path) -> Iterator[int]:
    """Another process that holds a lock until the block ends; its number."""
    code = f"from pathlib import Path; from rnnlab.store import lock; lock.hold(Path({str(path)!r})); print(); input()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"\n"
    try:
        yield process.pid
    finally:
        process.communicate(b"\n")
