"""What a run and its data show, gathered for its verdict."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rnnlab.data.sequence import SequenceData
from rnnlab.data.series import SeriesData
from rnnlab.data.split import SPLITS
from rnnlab.runs.verdict.evidence import Evidence, drift
from rnnlab.store.config_file import flat
from rnnlab.store.status import Status
from rnnlab.tasks.task import Task


def evidence(
    config: Mapping[str, Any],
    data: SequenceData,
    task: Task,
    metrics: Mapping[str, float],
    status: Status,
    rows: Sequence[Mapping[str, float]] = (),
    budget: int = 0,
) -> Evidence:
    """What :func:`rnnlab.runs.verdict.judge` judges by, of a run that was just tested.

    Args:
        config: of the run.
        data: that it was tested on.
        task: whose last test it was.
        metrics: final scores, flat.
        status: of the run.
        rows: of ``metrics.csv``; none where its training is not to be looked at.
        budget: updates that were to be made.
    """
    spec, steps = data.spec, int(metrics.get("steps", 0))
    accumulated = int(config["trainer"].get("accumulate_grad_batches") or 1)
    # steps that neighbouring windows are judged by in common
    ahead = spec.length if spec.horizon == 0 else spec.steps_ahead or 1
    tallied = task.tallied
    by_score = {
        score: {name: (scores.numpy(), weights.numpy()) for name, (scores, weights) in of_score.items()}
        for score, of_score in {task.judged_score: task.judged, **tallied}.items()
    }
    return Evidence(
        metrics=metrics,
        score=task.verdict_score,
        baseline=task.baseline_name,
        rivals=data.rivals,
        part="ridge" if spec.residual == "ridge" else "",
        higher=task.higher_is_better,
        items=by_score.get(task.verdict_score, {}),
        others=by_score,
        linear=tuple(tallied),
        dependent=-(-ahead // getattr(data, "test_stride", 1)) if isinstance(data, SeriesData) else 1,
        ordered=isinstance(data, SeriesData) or spec.streamed,
        constant=spec.target.categorical or not spec.target.per_step or (spec.horizon is None and not spec.references),
        rows=rows,
        monitor=str(config["monitor"]),
        mode=str(config["mode"]),
        steps=steps,
        budget=budget,
        passes=steps / math.ceil(data.batches_per_pass / accumulated),
        sequences={split: data.size(split) for split in SPLITS},
        thing="window" if isinstance(data, SeriesData) else "chunk" if spec.streamed else "sequence",
        parameters=int(metrics.get("parameters", 0)),
        length=spec.length,
        period=spec.period,
        drift=_drift(data) if isinstance(data, SeriesData) else 0.0,
        base=data.base if isinstance(data, SeriesData) else "none",
        config={**flat(config), **_chosen(config, data)},
        choices=status.choices,
        overrides=status.overrides,
        config_dirs=status.config_dirs,
    )


def _chosen(config: Mapping[str, Any], data: SequenceData) -> dict[str, Any]:
    """What the data chose where its config leaves it open."""
    values = {name: getattr(data, name, None) for name, given in config["data"].items() if given in (None, "auto")}
    return {f"data.{name}": value for name, value in values.items() if isinstance(value, (int, float, str))}


def _drift(data: SeriesData) -> float:
    """Of the series whose level moves most, in the training part."""
    found = [0.0]
    for start, end in data.training_parts():
        values = data.observed(slice(start, end))
        found += [drift(np.asarray(values[:, column], float)) for column in range(values.shape[1])]
    return max(found)
