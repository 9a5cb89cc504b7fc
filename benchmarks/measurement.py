"""How a benchmark runs its programs, and how it says what it found."""

import json
import os
import platform
import pty
import re
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

RESULTS = Path(__file__).parent / "results"
MADE = re.compile(
    r"^Machine: .*rnnlab (?P<rnnlab>\S+), torch (?P<torch>\S+), commit (?P<commit>\w+), (?P<date>[\d-]+)", re.MULTILINE
)
"""What the last line of an experiment's table says of how it was made."""
RNNLAB = str(Path(sys.executable).with_name("rnnlab"))
"""The program that a person types, of the environment that runs the benchmark."""
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""A small net is fastest on one thread, and a neighbour on the other core then disturbs least."""
PACKAGES = ("torch", "lightning", "hydra-core", "matplotlib", "tensorboard")


class Cost(NamedTuple):
    """Seconds on the clock, and of computing on all cores together."""

    wall: float
    cpu: float


def medians(costs: Sequence[Cost]) -> Cost:
    """The median of each."""
    return Cost(median(cost.wall for cost in costs), median(cost.cpu for cost in costs))


def run(
    command: Sequence[str], terminal: bool = False, environment: Mapping[str, str] = ONE_THREAD,
    folder: Path | None = None,
) -> Cost:  # fmt: skip
    """Runs a program to its end.

    Args:
        command: the program and its arguments.
        terminal: give it a terminal to draw its progress bar on; else its output goes nowhere.
        environment: on top of this process's own.
        folder: where it runs without a terminal; ``None``: here.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    whole = {**os.environ, **environment}
    said = _in_terminal(command, whole) if terminal else _in_silence(command, whole, folder)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if said is not None:
        raise RuntimeError(f"{shown(command)} failed:\n{said}")
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _in_silence(command: Sequence[str], environment: Mapping[str, str], folder: Path | None) -> str | None:
    ended = subprocess.run(
        command, check=False, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder
    )
    return ended.stderr if ended.returncode else None


def _in_terminal(command: Sequence[str], environment: Mapping[str, str]) -> str | None:
    ours, its = pty.openpty()
    process = subprocess.Popen(command, env={**environment, "TERM": "xterm"}, stdin=its, stdout=its, stderr=its)
    os.close(its)
    said = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # how Linux says that nobody is left at the other end
            break
        if not part:
            break
        said = (said + part)[-10_000:]
    os.close(ours)
    return said.decode(errors="replace") if process.wait() else None


def shown(command: Sequence[str]) -> str:
    """A command as a person types it: no path of this machine."""
    return " ".join(Path(part).name if os.path.isabs(part) else part for part in command)


@dataclass
class Verdict:
    """A promise, what came out, and whether it holds."""

    promise: str
    value: str
    holds: bool


@dataclass
class Result:
    """What one benchmark found.

    Attributes:
        name: of the benchmark and of its files in ``results/``.
        question: in a sentence, with what is counted and what is not.
        header: of the table.
        rows: of the table, as shown.
        verdicts: promises held or missed; empty for a benchmark that only looks.
        notes: what a reader must know to read the table right.
        numbers: what the table was made from, for whoever wants to look closer.
    """

    name: str
    question: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)

    def table(self) -> str:
        """The table in Markdown, aligned for reading as it stands."""
        widths = [max(len(str(row[i])) for row in (self.header, *self.rows)) for i in range(len(self.header))]

        def line(cells: Sequence[str]) -> str:
            return "| " + " | ".join(str(c).ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"

        return "\n".join([line(self.header), line(["-" * width for width in widths]), *map(line, self.rows)])

    def text(self) -> str:
        """Everything but the circumstances, as it is printed."""
        parts = [self.question, self.table()]
        if self.verdicts:
            parts.append(
                "\n".join(f"- {'holds' if v.holds else 'MISSED'}: {v.promise}: {v.value}" for v in self.verdicts)
            )
        return "\n\n".join([*parts, *self.notes])


def publish(result: Result, quick: bool) -> None:
    """Prints a result and keeps it in ``results/``, with its picture; a quick look is printed only."""
    print(f"\n{result.name}\n\n{result.text()}\n", flush=True)
    if quick:
        return
    around = circumstances(result.name)
    facts = "\n".join(f"- {name}: {value}" for name, value in around.items())
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{result.name}.md").write_text(f"# {result.name}\n\n{result.text()}\n\n{facts}\n")
    verdicts = [vars(verdict) for verdict in result.verdicts]
    kept = {**around, "verdicts": verdicts, **result.numbers}
    (RESULTS / f"{result.name}.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    from benchmarks.plot import redraw  # matplotlib, which no process that is measured needs

    redraw(result.name)


def circumstances(name: str) -> dict[str, str]:
    """On what, with what and when: all that a figure means nothing without."""
    return {
        "command": f"python -m benchmarks {name}",
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        "commit": _commit(),
        "machine": f"{_processor()}, {cores()} cores, {platform.system()}; load average at the end {_load()}",
        "versions": ", ".join([f"Python {platform.python_version()}", *(f"{p} {version(p)}" for p in PACKAGES)]),
    }


def stale() -> list[str]:
    """The measurements and the tables of experiments that were made by other code or with other versions than are here
    now, a line each.
    """
    lines = []
    for file in sorted(RESULTS.glob("*.json")):
        kept, now = json.loads(file.read_text()), circumstances(file.stem)
        differ = _of_other_code(kept.get("commit"), now["commit"])
        differ += [f"versions: {kept.get('versions')}, now {now['versions']}"] * (
            kept.get("versions") != now["versions"]
        )
        if differ:
            lines.append(f"stale: {file.stem} of {kept.get('date')} ({'; '.join(differ)}): {now['command']}")
    commit = _commit()
    for file in sorted((RESULTS / "experiments").glob("*.md")):
        made = MADE.search(file.read_text())
        if made is None:
            lines.append(
                f"stale: experiments/{file.stem} (its last line names no commit): rnnlab benchmark {file.stem}"
            )
            continue
        differ = _of_other_code(made["commit"], commit)
        differ += [
            f"{package}: {made[package]}, now {version(package)}"
            for package in ("rnnlab", "torch") if made[package] != version(package)
        ]  # fmt: skip
        if differ:
            lines.append(
                f"stale: experiments/{file.stem} of {made['date']} ({'; '.join(differ)}): rnnlab benchmark {file.stem}"
            )
    return lines


def _of_other_code(before: str | None, now: str) -> list[str]:
    """How a commit differs from this one in what a run consists of, in words; none where it does not."""
    same = before == now or (before is not None and "changes" not in before + now and not _git_differs(before))
    return [] if same else [f"commit: {before}, now {now}"]


def _git_differs(commit: str) -> bool:
    """Whether src or conf were others at a commit, or nobody knows it."""
    command = ["git", "diff", "--quiet", commit, "HEAD", "--", "../src", "../conf"]
    return subprocess.run(command, check=False, cwd=RESULTS.parent, capture_output=True).returncode != 0


def composed(arguments: Sequence[str]) -> dict[str, Any]:
    """The config that ``rnnlab train ARGUMENTS`` runs with."""
    from rnnlab.commands.composition import create_hydra, plain, run_mode

    return plain(create_hydra().config_loader.load_configuration("train", list(arguments), run_mode()))


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return model or platform.processor() or platform.machine()


def _commit() -> str:
    def git(*arguments: str) -> str:
        ended = subprocess.run(["git", *arguments], check=False, cwd=RESULTS.parent, capture_output=True, text=True)
        return ended.stdout.strip() if ended.returncode == 0 else ""

    changed = " and uncommitted changes" if git("status", "--porcelain", "--", "../src", "../conf") else ""
    return (git("rev-parse", "--short", "HEAD") or "unknown") + changed
