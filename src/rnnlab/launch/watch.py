"""How a sweep is going: one live table on a terminal, plain lines elsewhere. All is read from the run directories."""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rnnlab.errors import InputError
from rnnlab.instruments.console import console
from rnnlab.runs.directory import RunDirectory

REFRESH_SECONDS = 0.5
QUIET_SECONDS = 60.0
"""Without a terminal, when no job has ended for so long, a line says what runs."""
SHOWN = 12  # running jobs in the table


class Watch:
    """Tells what a sweep's jobs do; whoever runs them says when one starts and ends.

    Args:
        path: of the sweep.
        total: jobs that will be executed now.
        before: run directories of jobs that were done before.
        quiet: the jobs tell themselves how they went.
    """

    def __init__(self, path: Path, total: int, before: Sequence[RunDirectory] = (), quiet: bool = False) -> None:
        self.path, self.total, self.before, self.quiet = path, total, before, quiet
        self.parallel = 1
        self.states: Counter[str] = Counter()
        # scores of other data or another task are no better or worse
        self.bests: dict[tuple[str, str, str], tuple[str, float]] = {}
        self._compared_before = False
        self._running: dict[str, tuple[RunDirectory, Mapping[str, Any], float]] = {}
        self._seconds: list[float] = []
        self._said_at = self._began = time.monotonic()
        self.console = console()
        self._live: Live | None = None

    # ---- while it runs ----------------------------------------------------------------------------

    def __enter__(self) -> "Watch":
        if self.console.is_terminal and not self.quiet:
            self._live = Live(
                console=self.console, get_renderable=self._table, refresh_per_second=1 / REFRESH_SECONDS, transient=True
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, text: str) -> None:
        """A line above the table."""
        self._said_at = time.monotonic()
        self.console.print(text, markup=False)

    def started(self, name: str, directory: RunDirectory, config: Mapping[str, Any]) -> None:
        self._running[name] = (directory, config, time.monotonic())
        self.parallel = max(self.parallel, len(self._running))

    def forget(self, name: str) -> RunDirectory:
        """A job runs no more, or has not begun after all; returns its directory."""
        return self._running.pop(name)[0]

    def tried_again(self, name: str, reason: str, attempt: int) -> None:
        self._running.pop(name, None)
        self.say(f"{name}  {reason}: tried again ({attempt})")

    def ended(self, name: str) -> None:
        """Tells the end of a job, from its directory."""
        directory, config, started = self._running.pop(name)
        with contextlib.suppress(InputError):
            status = directory.status
            state = status.state
            self.states[state] += 1
            seconds = time.monotonic() - started
            if self.quiet:
                return
            if state == "done" and status.pruned:
                self._seconds.append(seconds)
                self.say(f"{self._count()}  {name}  {status.reason}")
            elif state == "done":
                self._seconds.append(seconds)
                self._done(name, directory, config, seconds)
            elif state == "failed":
                self.say(f"{self._count()}  {name}  failed: {status.reason}")
            else:
                self.say(f"{self._count()}  {name}  {state}")

    def _done(self, name: str, directory: RunDirectory, config: Mapping[str, Any], seconds: float) -> None:
        if not self._compared_before:
            self._compared_before = True
            for other in self.before:
                with contextlib.suppress(InputError):
                    self._compare(other.path.name, other, other.config)
        value = self._compare(name, directory, config)
        if self._live is None:
            kind = _kind(config)
            leads = kind in self.bests and self.bests[kind][0] == name
            best = "best so far" if leads else self._best(kind)
            more = ", ".join(
                part for part in (best, f"{self.left} left" if self.left else "", self._time_left()) if part
            )
            self.say(f"{self._count()}  {name}  {config['monitor']} {value:.4g}  {seconds:.1f} s  ({more})")

    def _compare(self, name: str, directory: RunDirectory, config: Mapping[str, Any]) -> float:
        """A job's score, which may be the best so far."""
        value = float(directory.metrics.get(config["monitor"], math.nan))
        best = self.bests.get(_kind(config))
        better = best is None or (value < best[1] if config["mode"] == "min" else value > best[1])
        if not math.isnan(value) and better:
            self.bests[_kind(config)] = (name, value)
        return value

    def tick(self) -> None:
        """Called now and then by who waits."""
        if self._live is None and self._running and time.monotonic() - self._said_at > QUIET_SECONDS:
            self.say("; ".join(f"{name} {self._epoch(*job)}" for name, job in list(self._running.items())[:SHOWN]))

    # ---- the parts --------------------------------------------------------------------------------

    @property
    def left(self) -> int:
        """Jobs that have not ended."""
        return self.total - self.states.total()

    def _count(self) -> str:
        return f"[{self.states.total() + len(self.before)}/{self.total + len(self.before)}]"

    def _best(self, kind: tuple[str, str, str]) -> str:
        if kind not in self.bests:
            return ""
        name, value = self.bests[kind]
        return f"best{f' of {kind[0]}' if len(self.bests) > 1 else ''} {value:.4g}: {name}"

    def _time_left(self) -> str:
        if not self._seconds or not self.left:
            return ""
        now, mean = time.monotonic(), sum(self._seconds) / len(self._seconds)
        running = sum(max(0.0, mean - (now - started)) for _, _, started in self._running.values())
        seconds = (running + mean * (self.left - len(self._running))) / self.parallel
        # what takes longer than the others did may take any time
        return f"about {_duration(seconds)}" if seconds >= 1 else ""

    def _epoch(self, directory: RunDirectory, config: Mapping[str, Any], started: float) -> str:
        rows = directory.epochs
        monitor = config["monitor"]
        score = f"  {monitor} {rows[-1][monitor]:.4g}" if rows and monitor in rows[-1] else ""
        epoch = int(rows[-1]["epoch"]) if rows else 0
        return f"epoch {epoch}/{config['trainer'].get('max_epochs', '?')}{score}"

    def _table(self) -> RenderableType:
        counts = Text.assemble(
            (f"{self.states['done'] + len(self.before)} done", "green"),
            f"   {len(self._running)} running   ",
            (f"{self.states['failed']} failed", "red" if self.states["failed"] else ""),
            f"   {self.left - len(self._running)} left   {_duration(time.monotonic() - self._began)}",
            f", {self._time_left()} left" if self._time_left() else "",
        )
        whole = self.total + len(self.before)
        bar = ProgressBar(total=whole, completed=self.states.total() + len(self.before), width=40)
        best = [Text(f"{kind[2]} {self._best(kind)}") for kind in list(self.bests)[:SHOWN]]
        running = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for name, (directory, config, started) in list(self._running.items())[:SHOWN]:
            with contextlib.suppress(InputError, OSError):
                seconds = f"{time.monotonic() - started:.0f} s"
                running.add_row(Text(name, "cyan"), self._epoch(directory, config, started), seconds)
        return Group(counts, bar, *best, running)


def _kind(config: Mapping[str, Any]) -> tuple[str, str, str]:
    """Data, task and monitored score: runs that share them can be compared."""
    data, task = (str(config[part]["_target_"]) for part in ("data", "task"))
    return data.rpartition(".")[0].rpartition(".")[2], task, str(config["monitor"])


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
