"""What a trained run knows of the series of data that it is given."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rnnlab.data.history import shown_names
from rnnlab.data.series_options import SeriesOptions
from rnnlab.errors import InputError, nearest
from rnnlab.files.panel import Panel, keep_series

log = logging.getLogger("rnnlab")


def known_series(options: SeriesOptions, panel: Panel) -> Panel:
    """The series whose scale a trained run knows; the others are left out, since nobody could read them."""
    if options.trained is None:
        return panel
    columns = len(options.trained["shift"][0])
    if columns != panel.values.shape[1]:
        raise InputError(
            f"data.target, data.past and data.known name {panel.values.shape[1]} columns, and this run was trained "
            f"on {columns}"
        )
    numbers = _numbers(options, options.trained, panel.names)
    kept = [number for number, known in enumerate(numbers) if known is not None]
    unknown = [name for name, known in zip(panel.names, numbers, strict=True) if known is None]
    if not unknown:
        return panel
    names = options.trained["names"]
    why = "this run was not trained on it, so that its scale is unknown (data.scale_together=true trains for any)"
    if not kept:
        raise InputError(f"series {shown_names(unknown)}{nearest(unknown[0], names)}: {why}: {shown_names(names)}")
    note = f"{len(unknown):,} series left out ({shown_names(unknown)})"
    log.warning("%s", f"{note}: {why}")
    return keep_series(panel, kept, note)


def _numbers(options: SeriesOptions, trained: Mapping[str, Any], names: Sequence[str]) -> list[int | None]:
    """Under which number a trained run knows each series; ``None`` where it does not."""
    known = {name: number for number, name in enumerate(trained["names"])}
    alone = len(known) == len(names) == 1 and "" in known | dict.fromkeys(names)
    other = 0 if alone or options.scale_together or options.scaling == "none" else None
    return [known.get(name, other) for name in names]


def learned(options: SeriesOptions, names: Sequence[str], key: str) -> np.ndarray | None:
    """``(series, …)`` of a trained run, for the series of these names."""
    if options.trained is None:
        return None
    numbers = [number for number in _numbers(options, options.trained, names) if number is not None]
    return np.asarray(options.trained[key], np.float64)[numbers]
