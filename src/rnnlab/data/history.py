"""The past of a series, what the network reads of it, and how series are named."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rnnlab.files.written import Written


class History(NamedTuple):
    """A series up to now, and what is known of the steps after.

    number
        Of the series in the run.
    now
        Rows up to now.
    values
        ``(rows, columns)`` in the data's units; after ``now`` the known columns alone. What was missing is carried on.
    unknown
        ``(now, columns)`` true where it was missing.
    times
        ``(rows,)``; ``None`` where rows are steps.
    zone
        Of the times, which are then those of UTC, by its name in the tz database; ``None`` where none is told.
    clocks
        Of which one has shown the times, as :func:`rnnlab.files.clocks.clocks_of` says.
    written
        How the times are; ``None`` where that is not known.
    """

    number: int
    now: int
    values: np.ndarray
    unknown: np.ndarray
    times: np.ndarray | None
    zone: str | None = None
    clocks: tuple[str, ...] = ()
    written: Written | None = None


class Window(NamedTuple):
    """What the network reads of a history.

    inputs
        ``(time, features)``.
    ahead
        ``(steps - 1, features - values)`` beside the predictions that are fed back.
    shift
        ``(time, horizon, values)`` and ``scale`` alike: what brings a forecast made at each step to units.
    """

    inputs: np.ndarray
    ahead: np.ndarray
    shift: np.ndarray
    scale: np.ndarray


def shown_names(names: Sequence[str]) -> str:
    """The first of many names."""
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


def listed(names: Sequence[str]) -> str:
    """All of them."""
    return ", ".join(names)
