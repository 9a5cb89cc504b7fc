"""What series are made into stays what it was: the choices by rule, the windows, and the numbers of the linear part.

Sixteen made series, each with what data of its kind turns on, against ``decisions.json``. Where a rule is changed on
purpose, ``python tests/test_decisions.py`` writes the file anew, and the diff shows what the change decides otherwise.
"""

import json
import logging
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from rnnlab.data.csv import CSV
from rnnlab.data.linear_fit import candidate_orders

FILE = Path(__file__).with_name("decisions.json")
AUTO: dict[str, Any] = {"length": None, "log": None, "window_scaling": None, "linear": None, "calendar": None}
TENTHS: dict[str, Any] = {"val_fraction": 0.1, "test_fraction": 0.1}


def stamps(start: str, rows: int, step: str) -> np.ndarray:
    """Times, as text."""
    times = np.datetime64(start) + np.arange(rows) * np.timedelta64(1, step)
    return times.astype("M8[m]" if step == "h" else "M8[D]").astype(str)


def wave(rows: int, *periods: int, seed: int = 0, memory: float = 0.7) -> np.ndarray:
    """A sum of seasons, and noise that remembers."""
    random = np.random.default_rng(seed)
    noise = np.zeros(rows)
    for row in range(1, rows):
        noise[row] = memory * noise[row - 1] + random.normal()
    steps = np.arange(rows)
    return noise + sum(5 * np.sin(2 * np.pi * steps / period + period) for period in periods)


def monthly(rows: int = 200, **more: Any) -> dict[str, Any]:
    trend = 100 + 0.4 * np.arange(rows)
    return {"time": stamps("2001-03", rows, "M"), "y": trend + wave(rows, 12), **more}


def with_holes(values: np.ndarray) -> list[float | None]:
    return [None if row % 11 == 5 else float(value) for row, value in enumerate(values)]


def regimes(rows: int) -> np.ndarray:
    """A season that is all there is in the end, and a memory of a single step in the beginning."""
    first, then = wave(rows, memory=0.99), 30 * np.sin(2 * np.pi * np.arange(rows) / 12)
    return np.where(np.arange(rows) < 0.7 * rows, first, then)


def columns_beside(rows: int = 160) -> dict[str, Any]:
    random = np.random.default_rng(3)
    price, promotion = random.normal(size=rows), random.integers(0, 2, rows)
    y = 4 * np.concatenate([[0], price[:-1]]) + 6 * promotion + random.normal(size=rows)
    return {"time": stamps("2015-01-01", rows, "D"), "y": y, "price": price, "promotion": promotion}


def stores() -> dict[str, Any]:
    parts = [("north", 90, 50.0), ("south", 120, 900.0)]
    return {
        "time": np.concatenate([stamps("2010-01", rows, "M") for _, rows, _ in parts]),
        "store": [name for name, rows, _ in parts for _ in range(rows)],
        "y": np.concatenate([level + level / 20 * wave(rows, 12, seed=rows) for _, rows, level in parts]),
    }


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "months": (monthly(), {}),
    "holes": (monthly() | {"y": with_holes(monthly()["y"])}, {"missing": "mask", "horizon": 2}),
    "growth": (
        {"time": stamps("1990-01", 180, "M"), "y": np.exp(3 + 0.02 * np.arange(180) + 0.04 * wave(180, 12))},
        {},
    ),
    "level": ({"y": 3 + wave(150, memory=0.5, seed=2)}, {"time": None}),
    "short": ({"y": 10 + wave(46, memory=0.9, seed=5)}, {"time": None, "horizon": 2}),
    "hours": ({"time": stamps("2020-05-04", 24 * 28, "h"), "y": 20 + wave(24 * 28, 24, 168)}, {"horizon": 6}),
    "columns": (columns_beside(), {"past": ["price"], "known": ["promotion"]}),
    "stores": (stores(), {"series": "store"}),
    "seasonal": (monthly(), {"linear": "none", "window_scaling": "seasonal", "length": 12, "log": False}),
    "mean": (monthly(), {"linear": "none", "window_scaling": "mean", "length": 12, "scaling": "minmax"}),
    "residual": (monthly(), {"residual_of": "seasonal_naive", "linear": "none", "calendar": ["month", "year"]}),
    "recursive": (columns_beside(), {"strategy": "recursive", "known": ["promotion"], "horizon": 5, "length": 14}),
    "a block of one forecast": (monthly(70), {"horizon": 6, **TENTHS}),
    "half of it read": (monthly(60), {"residual_of": "seasonal_naive", "linear": "none", **TENTHS}),
    "fed back": (monthly(150), {"strategy": "recursive", "horizon": 5, "calendar": []}),
    "regimes": ({"time": stamps("1995-01", 180, "M"), "y": 50 + regimes(180)}, {"log": False}),
}


def checksum(values: Any) -> list[float]:
    """The size and the sum of numbers, and one that depends on where each stands; unknown ones count as 7."""
    numbers = np.nan_to_num(np.asarray(values, np.float64).ravel(), nan=7.0)
    return [float(numbers.size), float(numbers.sum()), float(numbers @ np.cos(np.arange(numbers.size)))]


def decided(name: str, folder: Path) -> dict[str, Any]:
    """All that a case is made into."""
    frame, options = CASES[name]
    pl.DataFrame(frame).write_csv(folder / "data.csv")
    given = {"path": str(folder / "data.csv"), "target": "y", "time": "time", "horizon": 3, "stride": 5}
    data = CSV(**given | AUTO | options)
    layout, spec = data.layout, data.spec
    found: dict[str, Any] = {
        "layout": [data.length, data.base, layout.log, list(layout.calendar), layout.window_scaling, layout.season],
        "features": list(layout.features),
        "before": layout.before,
        "note": spec.note,
        "references": [reference.name for reference in spec.references],
        "divisor": checksum(layout.divisor),
        "spread": checksum(layout.spread),
    }
    if layout.ridge is not None:
        ridge = layout.ridge
        found["ridge"] = [ridge.chosen, list(ridge.weights.shape), list(ridge.others.shape)]
        found["weights"] = checksum(ridge.weights)
        found["others"] = checksum(ridge.others)
        found["constant"] = checksum(ridge.constant)
    for split in ("train", "val", "test"):
        batch = data.split(split).batch(slice(None))
        found[f"{split} inputs"], found[f"{split} targets"] = checksum(batch.inputs), checksum(batch.targets)
        if batch.origin is not None:
            found[f"{split} actual"] = checksum(batch.origin.actual)
            found[f"{split} scales"] = checksum(batch.origin.scales)
            found[f"{split} predictors"] = checksum(batch.origin.references)
            found[f"{split} ahead"] = None if batch.origin.ahead is None else checksum(batch.origin.ahead)
    return found


def close(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(close, one, other))
    if isinstance(one, float) or isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-3)
    return bool(one == other)


@pytest.mark.parametrize("name", CASES)
def test_a_series_is_made_into_what_it_was(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = json.loads(FILE.read_text())[name]
    caplog.set_level(logging.INFO, "rnnlab")
    found = json.loads(json.dumps({**decided(name, tmp_path), "log": caplog.messages}))
    different = {key: (found.get(key), expected.get(key)) for key in {*found, *expected}
                 if not close(found.get(key), expected.get(key))}  # fmt: skip
    assert not different, different


@pytest.mark.parametrize(
    ("seasons", "horizon", "orders"),
    [
        ([], 3, [1, 3, 5, 9, 13, 25]),
        ([12], 6, [1, 3, 5, 9, 13, 19, 25, 37]),
        ([4], 8, [1, 3, 5, 9, 13]),
        ([24, 168], 24, [25, 169, 193]),
        ([7, 365], 14, [1, 3, 5, 8, 15, 22]),
    ],
)
def test_the_lags_that_are_tried(seasons: list[int], horizon: int, orders: list[int]) -> None:
    assert candidate_orders(seasons, horizon) == orders


if __name__ == "__main__":

    class Lines(logging.Handler):
        """Keeps what is logged."""

        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logging.getLogger("rnnlab").setLevel(logging.INFO)
    logging.getLogger("rnnlab").addHandler(Lines())
    torch.set_num_threads(1)
    made = {}
    for case in CASES:
        lines: list[str] = []
        with tempfile.TemporaryDirectory() as place:
            made[case] = {**decided(case, Path(place)), "log": lines}
        print(case, made[case]["layout"], made[case].get("ridge"), made[case]["note"], lines, file=sys.stderr)
    FILE.write_text(json.dumps(made, indent=1) + "\n")
