"""What a trained run knows of the series of data that it is given."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rnnlab.data.history import shown_names
from rnnlab.errors import InputError, nearest
from rnnlab.files.panel import Panel, keep_series

if TYPE_CHECKING:
    from rnnlab.data.series import SeriesData

log = logging.getLogger("rnnlab")


def known_series(data: "SeriesData", panel: Panel) -> Panel:
    """The series whose scale a trained run knows; the others are left out, since nobody could read them."""
    if data.trained is None:
        return panel
    columns = len(data.trained["shift"][0])
    if columns != panel.values.shape[1]:
        raise InputError(
            f"data.target, data.past and data.known name {panel.values.shape[1]} columns, and this run was trained "
            f"on {columns}"
        )
    numbers = _numbers(data, panel.names)
    kept = [number for number, known in enumerate(numbers) if known is not None]
    unknown = [name for name, known in zip(panel.names, numbers, strict=True) if known is None]
    if not unknown:
        return panel
    names = data.trained["names"]
    why = "this run was not trained on it, so that its scale is unknown (data.scale_together=true trains for any)"
    if not kept:
        raise InputError(f"series {shown_names(unknown)}{nearest(unknown[0], names)}: {why}: {shown_names(names)}")
    note = f"{len(unknown):,} series left out ({shown_names(unknown)})"
    log.warning("%s", f"{note}: {why}")
    return keep_series(panel, kept, note)


def _numbers(data: "SeriesData", names: Sequence[str]) -> list[int | None]:
    """Under which number a trained run knows each series; ``None`` where it does not."""
    assert data.trained is not None
    known = {name: number for number, name in enumerate(data.trained["names"])}
    alone = len(known) == len(names) == 1 and "" in known | dict.fromkeys(names)
    other = 0 if alone or data.scale_together or data.scaling == "none" else None
    return [known.get(name, other) for name in names]


def learned(data: "SeriesData", key: str) -> np.ndarray | None:
    """``(series, …)`` of a trained run, for the series of this data."""
    if data.trained is None:
        return None
    numbers = [number for number in _numbers(data, data.panel.names) if number is not None]
    return np.asarray(data.trained[key], np.float64)[numbers]
