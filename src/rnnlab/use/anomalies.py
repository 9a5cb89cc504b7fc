"""New data step by step: what came, what was expected, and whether that is out of the ordinary."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from rnnlab.anomalies.deviations import Detector, Scored
from rnnlab.errors import InputError
from rnnlab.runs.checkpoint import read_checkpoint
from rnnlab.runs.ensemble import Member
from rnnlab.runs.preparation import trained_data
from rnnlab.tasks.task import Task


def detector_of(task: Task, members: list[Member], allow: Any) -> Detector:
    """A run and what is usual of its errors on its own validation part, which is read again: the same, bit for bit, as
    when it was trained.

    Raises:
        InputError: these are several runs, the objective expects no values, or the data is not there any more.
    """
    if len(members) > 1:
        raise InputError("--anomalies is of one run, by its own validation part: name one of them")
    (member,) = members
    if task.no_anomalies:
        raise InputError(f"--anomalies: {task.no_anomalies}")
    try:
        data = trained_data(member.config, read_checkpoint(member.directory.best_checkpoint), allow)
        data.setup("validate")
    except InputError as error:
        raise InputError(f"--anomalies is told by the run's validation part, and needs its data: {error}") from error
    return Detector.of(task, data)


def table(labels: Mapping[str, Any], names: list[str], scored: Scored) -> pl.DataFrame:
    """A row a step.

    Args:
        labels: columns that say which step each is.
        names: of the columns.
        scored: the steps.

    Raises:
        InputError: a column has the name of one of the answer.
    """
    deviations = scored.deviations
    taken = [name for name in names if name in (*labels, "score", "threshold", "anomaly")]
    if taken:
        raise InputError(
            f"--anomalies: column '{taken[0]}' has the name of a column of the answer: give it another one"
        )
    columns: dict[str, Any] = dict(labels)
    for number, name in enumerate(names):
        columns[name] = _empty_where_unknown(deviations.value[:, number])
        columns[f"{name} expected"] = _empty_where_unknown(deviations.expected[:, number])
    columns["score"] = _empty_where_unknown(scored.score)
    columns["threshold"] = np.full(len(scored.score), float(f"{scored.threshold:.6g}"))
    columns["anomaly"] = np.where(scored.anomalous, "yes", "no")
    for number, name in enumerate(names if len(names) > 1 else ()):
        columns[f"{name} share"] = _empty_where_unknown(scored.shares[:, number])
    return pl.DataFrame(columns)


def _empty_where_unknown(values: np.ndarray) -> pl.Series:
    """Six digits, and nothing where there is no number."""
    return pl.Series([float(f"{value:.6g}") if np.isfinite(value) else None for value in values], dtype=pl.Float64)
