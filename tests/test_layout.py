"""The layout of windows against the obvious loop over their steps."""

from itertools import product
from typing import Any

import numpy as np
import pytest

from rnnlab.data.layout import Layout, padded_front, trailing_mean
from rnnlab.data.linear import Linear, other_features
from rnnlab.files.panel import Columns

BATCH, TIME, LENGTH, SEASON, HORIZON, STEPS = 2, 4, 5, 3, 4, 6
COLUMNS: dict[str, Any] = {"target": ("y", "z"), "past": ("p",), "known": ("k", "l")}
SHIFT, SCALE = np.array([[3.0, -2, 1, 0, 5], [2, 1, 0, 4, 1]]), np.array([[2.0, 3, 1, 4, 2], [1, 5, 2, 1, 3]])
VARIANTS = [
    dict(zip(("window_scaling", "base", "direct", "missing", "season", "spread", "divisor"), each, strict=True))
    for each in [
        *product(("global", "last", "mean", "seasonal"), ("none", "persistence", "mean", "seasonal_naive"), (True,),
                 ("error",), (SEASON,), ((),), ((),)),
        ("mean", "mean", False, "mask", 1, (2.0, 0.5), (1.0, 2.0)),
        ("last", "seasonal_naive", True, "mask", SEASON, (2.0, 0.5), tuple(range(1, 1 + 2 * HORIZON))),
        ("global", "linear", False, "error", SEASON, (), ()),
    ]
]  # fmt: skip


def linear(rng: np.random.Generator) -> Linear:
    return Linear(rng.normal(size=(HORIZON, 2)), rng.normal(size=(HORIZON, 3, 2)), rng.normal(size=(HORIZON, 9, 2)),
                  covariates=True)  # fmt: skip


def made(variant: dict[str, Any]) -> Layout:
    part = linear(np.random.default_rng(1)).plain() if variant["base"] == "linear" else {}
    return Layout(COLUMNS, length=LENGTH, horizon=HORIZON, linear=part, **variant)


SCALED_BY = {"global": "none", "last": "before", "seasonal": "season before", "mean": "mean"}


def forecasts(base: str, x: np.ndarray, at: int, season: int, averaged: int) -> np.ndarray:
    """``(horizon, targets)`` what a simple rule says at a row of ``(rows, targets)`` values."""
    rows = {
        "persistence": [at] * HORIZON,
        "before": [at - 1] * HORIZON,
        "season before": [at - season] * HORIZON,
        "seasonal_naive": [at - season + 1 + ahead % season for ahead in range(HORIZON)],
    }
    if base in rows:
        return np.asarray(x[rows[base]])
    return np.tile(x[at - averaged + 1 : at + 1].mean(0) if base == "mean" else np.zeros(2), (HORIZON, 1))


def by_hand(part: Linear | None, exact: np.ndarray, at: int) -> np.ndarray:
    """``(horizon, targets)`` what a linear part says at a row of ``(rows, columns)`` values."""
    assert part is not None and part.order == 3
    z = np.concatenate([exact[at, 2:3], *(exact[at + 1 + step, 3:] for step in range(HORIZON))])
    lags = sum(part.weights[:, lag] * exact[at - lag, :2] for lag in range(3))
    return np.asarray(part.constant + lags + np.einsum("f,hft->ht", z, part.others))


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: "-".join(str(v[n]) for n in ("window_scaling", "base")))
def test_a_window_is_what_is_known_at_each_of_its_steps(variant: dict[str, Any]) -> None:
    layout, rng = made(variant), np.random.default_rng(0)
    assert layout.said == (HORIZON if layout.direct else 1)
    season = layout.season
    averaged = season if season > 1 else LENGTH
    reached = {"global": 0, "last": 1, "mean": averaged - 1, "seasonal": season}[layout.window_scaling]
    based = {"mean": averaged - 1, "seasonal_naive": season - 1, "linear": 2}.get(layout.base, 0)
    assert layout.before == max(reached, based)
    assert layout.feeds_back == (layout.base == "none" and layout.window_scaling == "global")
    rows = layout.before + TIME + max(layout.said, STEPS)
    values = rng.normal(size=(BATCH, rows, 5))
    unknown = rng.random(values.shape) < 0.2
    cut = layout.cut(values, unknown, None, SHIFT, SCALE, STEPS)
    exact = (values - SHIFT[:, None]) / SCALE[:, None]
    assert cut.inputs.shape == (BATCH, TIME, len(layout.features)) and cut.inputs.dtype == np.float32
    base_map = layout.base_map
    for row, step in np.ndindex(BATCH, TIME):
        at = layout.before + step
        x = exact[row, :, :2]
        level = forecasts(SCALED_BY[layout.window_scaling], x, at, season, averaged)[0]
        read = (x[at] - level) / (np.array(layout.spread) if layout.spread else 1)
        known = [exact[row, at + 1 + ahead, 3:] for ahead in range(layout.said)]
        mask = [unknown[row, at, :3]] if layout.missing == "mask" else []
        np.testing.assert_allclose(cut.inputs[row, step], np.concatenate([read, exact[row, at, 2:3], *known, *mask]),
                                   rtol=1e-5, atol=1e-6)  # fmt: skip
        base = forecasts(layout.base, x, at, season, averaged)
        if layout.base == "linear":
            base = by_hand(layout.ridge, exact[row], at)
        np.testing.assert_allclose(cut.base[row, step], base, rtol=1e-9, atol=1e-12)
    if base_map is not None and layout.base != "linear":
        at = np.arange(layout.before, layout.before + TIME)
        mapped = base_map.forecast(exact, at, None, Columns(**COLUMNS), HORIZON)
        np.testing.assert_allclose(mapped, cut.base, rtol=1e-9, atol=1e-12)
    else:
        assert (base_map is None) == (layout.base == "none")
    last = layout.before + TIME - 1
    beside = 3 if layout.missing == "mask" else 0
    assert cut.ahead.shape == (BATCH, STEPS - 1, 2 + 1 + beside)
    np.testing.assert_allclose(cut.ahead[..., :2], exact[:, last + 2 : last + 1 + STEPS, 3:], rtol=1e-5, atol=1e-6)
    assert not cut.ahead[..., 2:].any()
    divisor = np.reshape(layout.divisor, (-1, 2)) if layout.divisor else np.ones((1, 2))
    np.testing.assert_array_equal(cut.divisor, np.broadcast_to(divisor, (HORIZON, 2)))


def test_names_say_what_is_read() -> None:
    layout = Layout(
        COLUMNS, length=5, horizon=2, direct=True, calendar=("weekday",), missing="mask", window_scaling="mean"
    )
    assert layout.features == (
        "y less its mean", "z less its mean", "p", "k +1", "l +1", "k +2", "l +2", "weekday sin", "weekday cos",
        "y missing", "z missing", "p missing",
    )  # fmt: skip
    names = {scaling: Layout(COLUMNS, length=5, horizon=2, direct=False, window_scaling=scaling).features
             for scaling in ("global", "last", "seasonal")}  # fmt: skip
    assert {scaling: each[0] for scaling, each in names.items()} == {
        "global": "y", "last": "y less the last", "seasonal": "y less a season before",
    }  # fmt: skip
    assert names["last"][2:] == ("p", "k +1", "l +1")
    assert layout.needs_times and not made(VARIANTS[0]).needs_times


def test_a_logarithm_is_taken_of_targets_alone_and_leaves_the_values() -> None:
    layout = Layout(COLUMNS, length=5, horizon=1, direct=True, log=True)
    values = np.random.default_rng(0).uniform(1, 9, (2, 6, 5))
    kept = values.copy()
    cut = layout.cut(values, None, None, np.zeros((2, 5)), np.ones((2, 5)), 1)
    np.testing.assert_array_equal(values, kept)
    np.testing.assert_allclose(cut.inputs[..., :2], np.log(values[:, :5, :2]), rtol=1e-6)
    np.testing.assert_allclose(cut.inputs[..., 2:], values[:, :5, 2:3].tolist() and
                               np.concatenate([values[:, :5, 2:3], values[:, 1:6, 3:]], -1), rtol=1e-6)  # fmt: skip


def test_unknown_values_are_read_as_their_mean() -> None:
    layout = Layout({"target": ("y",)}, length=3, horizon=1, direct=True, missing="mask")
    values = np.array([[[1.0], [np.nan], [3.0], [4.0]]])
    cut = layout.cut(values, np.isnan(values), None, np.full((1, 1), 2.0), np.full((1, 1), 2.0), 1)
    assert cut.inputs.tolist() == [[[-0.5, 0], [0, 1], [0.5, 0]]]
    assert layout.cut(values, None, None, np.zeros((1, 1)), np.ones((1, 1)), 1).inputs[..., 1].tolist() == [[0, 0, 0]]


def test_means_trail_and_fronts_are_padded() -> None:
    x = np.arange(12.0).reshape(1, 6, 2) ** 2
    at = np.array([2, 5])
    np.testing.assert_allclose(trailing_mean(x, at, 3)[0], [x[0, 0:3].mean(0), x[0, 3:6].mean(0)])
    assert padded_front([3, 4], 2).tolist() == [3, 3, 3, 4]
    assert padded_front([3, 4], 1).tolist() == [3, 3, 4]
    assert [padded_front([3, 4], none).tolist() for none in (0, -1)] == [[3, 4]] * 2


def test_a_linear_part_is_the_same_after_plain_values() -> None:
    part = Linear(*(np.random.default_rng(0).normal(size=size) for size in ((2, 1), (2, 3, 1), (2, 0, 1))),
                  calendar=("weekday",), covariates=True, chosen="by hand")  # fmt: skip
    again = Linear.from_plain(part.plain())
    assert (again.calendar, again.covariates, again.chosen) == (("weekday",), True, "by hand")
    for name in ("constant", "weights", "others"):
        np.testing.assert_array_equal(getattr(again, name), getattr(part, name))
        assert getattr(again, name).dtype == np.float64


def test_what_is_read_beside_the_lags_has_an_order() -> None:
    exact = np.random.default_rng(0).normal(size=(1, 8, 5))
    at = np.array([2, 3])
    columns = Columns(**COLUMNS)
    found = other_features(exact, at, None, columns, 2, (), True)
    assert found.shape == (1, 2, 1 + 2 * 2)
    for step, place in enumerate(at):
        np.testing.assert_array_equal(
            found[0, step], [exact[0, place, 2], *exact[0, place + 1, 3:], *exact[0, place + 2, 3:]]
        )
    assert other_features(exact, at, None, columns, 2, (), False).shape == (1, 2, 0)
    alone = Columns(target=("y", "z"), past=("p", "k", "l"))
    assert other_features(exact, at, None, alone, 2, (), True).shape == (1, 2, 3)
