"""What a run and a sweep leave, to look at and to go on with in Python."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from rnnlab.errors import InputError, nearest
from rnnlab.runs.comparison import Board, compare
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.records import find_runs
from rnnlab.runs.report import rows
from rnnlab.store.status import Status

if TYPE_CHECKING:  # they import torch
    from torch import nn

    from rnnlab.use.predictor import TrainedRun


class Run:
    """A run by its directory: whatever :func:`rnnlab.train` or the command line left there.

    Args:
        path: of the directory.

    Raises:
        InputError: it is no run.
    """

    def __init__(self, path: str | Path) -> None:
        self._directory = RunDirectory.open(path)

    @property
    def path(self) -> Path:
        return self._directory.path

    @property
    def config(self) -> dict[str, Any]:
        """The resolved config."""
        return self._directory.config

    @property
    def status(self) -> Status:
        """State, reason, times, versions, device, command."""
        return self._directory.status

    @property
    def state(self) -> str:
        """``done``, ``failed``, ``interrupted`` …"""
        return str(self.status.state)

    @property
    def metrics(self) -> dict[str, float]:
        """The final scores, as ``metrics.json`` has them: ``"test/loss"``, ``"baseline/loss"``, ``"seconds"`` …"""
        return self._directory.metrics

    @property
    def verdict(self) -> str:
        """Whether it is better than its trivial predictors, and how sure that is; empty as long as it is not done."""
        verdict = self.status.verdict
        return verdict.text if verdict is not None else ""

    @property
    def history(self) -> pl.DataFrame:
        """A row an epoch, as ``metrics.csv`` has them."""
        return pl.DataFrame(self._directory.epochs, infer_schema_length=None)

    @property
    def figures(self) -> "Figures":
        """The pictures that the run drew."""
        return Figures(sorted(self._directory.figures.glob("*.png")))

    def plot(self, *names: str) -> "Figures":
        """Its pictures, all or those named, shown inline by a notebook.

        Raises:
            InputError: it drew none, or none of that name.
        """
        figures = self.figures
        if not figures:
            why = "instruments=none" if not self.config.get("instruments") else f"it is {self.state}"
            raise InputError(f"{self.path} has no figures ({why})")
        return figures.named(names) if names else figures

    @cached_property
    def trained(self) -> "TrainedRun":
        """The run with its best weights, as :func:`rnnlab.load` opens it."""
        from rnnlab.use.trained import load

        return load(self.path)

    @property
    def model(self) -> "nn.Module":
        """The network with the best weights, in evaluation mode."""
        return self.trained.task.network

    def predict(self, x: Any, **options: Any) -> pl.DataFrame:
        """What the run says of new data; see :meth:`rnnlab.use.predictor.TrainedRun.predict`."""
        return self.trained.predict(x, **options)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.state})"

    def __str__(self) -> str:
        lines = [f"{self.path}: {self.state}{f' ({self.status.reason})' if self.status.reason else ''}"]
        lines += [f"{name:20} {network:>10} {baseline:>10}" for name, network, baseline in self._scores(header=True)]
        lines += [self.verdict] if self.verdict else []
        return "\n".join(lines)

    def _scores(self, header: bool = False) -> Iterator[tuple[str, str, str]]:
        """Name, score and baseline of each test score."""
        metrics = self.metrics
        if not metrics:
            return
        if header:
            yield "test", "network", self.status.baseline or "baseline"
        for name, value in metrics.items():
            if name.startswith(("test/", "rollout/")):
                plain = name.removeprefix("test/")
                baseline = metrics.get(f"baseline/{plain}")
                yield plain, f"{value:.4g}", "" if baseline is None else f"{baseline:.4g}"

    def _repr_html_(self) -> str:
        head = f"<b>{escape(str(self.path))}</b>: {escape(self.state)}"
        if self.status.reason:
            head += f" ({escape(self.status.reason)})"
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in self._scores())
        baseline = escape(self.status.baseline or "baseline")
        table = f"<table><tr><th>test</th><th>network</th><th>{baseline}</th></tr>{body}</table>" if body else ""
        verdict = f"<p>{escape(self.verdict)}</p>" if self.verdict else ""
        return f"<div>{head}{table}{verdict}</div>"


class Figures(Sequence[Path]):
    """Pictures of a run: their paths, and what a notebook shows."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, place: Any) -> Any:
        return Figures(self._paths[place]) if isinstance(place, slice) else self._paths[place]

    def named(self, names: Sequence[str]) -> "Figures":
        """Those of some names, in their order.

        Raises:
            InputError: there is none of a name.
        """
        by_name: Mapping[str, Path] = {path.stem: path for path in self._paths}
        for name in names:
            if name not in by_name:
                there = ", ".join(by_name) or "none"
                raise InputError(f"{name}: no such figure{nearest(name, by_name)} (there are {there})")
        return Figures([by_name[name] for name in names])

    def __repr__(self) -> str:
        return f"Figures({', '.join(path.stem for path in self._paths)})"

    def _repr_html_(self) -> str:
        shown = []
        for path in self._paths:
            data = base64.b64encode(path.read_bytes()).decode()
            shown.append(f'<img alt="{escape(path.stem)}" style="max-width:100%" src="data:image/png;base64,{data}">')
        return "".join(shown)

    def _ipython_display_(self) -> None:
        from IPython.display import Image, display

        for path in self._paths:
            display(Image(filename=path, width=800, alt=path.stem))


class Sweep:
    """A sweep by its directory: its runs, and how they compare.

    Args:
        path: of the directory.

    Raises:
        InputError: there are no runs.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self.runs = [Run(record.path) for record in find_runs([self.path]).records]

    @property
    def leaderboard(self) -> pl.DataFrame:
        """A row a configuration, the best first; see ``leaderboard.csv``."""
        return leaderboard([self.path])

    @property
    def best(self) -> Run:
        """The best run of the best configuration.

        Raises:
            InputError: none is done.
        """
        for board in compare(find_runs([self.path]).records):
            if board.ranked and board.ranked[0].best_run is not None:
                return Run(board.ranked[0].best_run.path)
        raise InputError(f"{self.path}: no run is done yet")

    @property
    def failed(self) -> list[Run]:
        return [run for run in self.runs if run.state == "failed"]

    @cached_property
    def trained(self) -> "TrainedRun":
        """The seeds of the best configuration, which predict together."""
        from rnnlab.use.trained import load

        return load(self.path)

    def predict(self, x: Any, **options: Any) -> pl.DataFrame:
        """What the seeds of the best configuration say together of new data."""
        return self.trained.predict(x, **options)

    def __repr__(self) -> str:
        return f"Sweep({str(self.path)!r}, {len(self.runs)} runs)"

    def _repr_html_(self) -> str:
        table = self.leaderboard
        brief = [name for name in ("rank", "group", "n", "mean", "std", "test", "baseline") if name in table.columns]
        return f"<div><b>{escape(str(self.path))}</b>{table.select(brief)._repr_html_()}</div>"


def leaderboard(places: Sequence[str | Path]) -> pl.DataFrame:
    """The leaderboards of all runs below some directories, one below the other.

    Raises:
        InputError: there are none.
    """
    boards: Sequence[Board] = compare(find_runs([str(place) for place in places]).records)
    table = [{name: None if value == "" else value for name, value in row.items()} for b in boards for row in rows(b)]
    return pl.DataFrame(table, infer_schema_length=None, strict=False)
