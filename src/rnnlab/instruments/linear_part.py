"""What the linear part of a forecast reads: its coefficients by lag."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnlab.data.linear import HARMONICS, Linear
from rnnlab.data.series_windows import Windows
from rnnlab.instruments import style
from rnnlab.instruments.instrument import Entry, Instrument, Picture, Table
from rnnlab.instruments.subject import Subject

TARGETS = 4
"""That are drawn, at most."""
NAMED = 3
"""Lags, or other features, that a fact names."""
OTHERS = 24
"""Features beside the lags whose names are written beside a picture, at most."""
AHEAD = 12
"""Steps ahead in a table, at most."""


@dataclass(frozen=True)
class Coefficients:
    """Of a linear part, each for what is scaled: a lag, or a feature, of unit variance in the training part.

    Attributes:
        targets: their names.
        lags: ``(targets, horizon, lags)``, that of now first.
        others: ``(targets, horizon, features)``.
        names: of these features.
        chosen: in words, what the linear part is made of.
        gain: share of what the network adds that is added; ``None`` where it was not measured.
    """

    targets: tuple[str, ...]
    lags: np.ndarray
    others: np.ndarray
    names: tuple[str, ...]
    chosen: str
    gain: float | None

    @property
    def weights(self) -> dict[str, float]:
        """Of each lag and feature its share in the sum of the absolute coefficients, the largest first."""
        size = np.abs(np.concatenate([self.lags, self.others], -1)).sum((0, 1))
        names = [*(lag_name(lag) for lag in range(self.lags.shape[-1])), *self.names]
        share = dict(zip(names, (size / (size.sum() or 1)).tolist(), strict=True))
        return dict(sorted(share.items(), key=lambda pair: -pair[1]))


class LinearPart(Instrument[Coefficients]):
    """Coefficients of the linear part, which forecasts what the network adds to: see :mod:`rnnlab.data.linear`.

    They are those of scaled values, so that they can be compared; a lag of 0 is the value of now.
    """

    rank = 9
    title = "The linear part: which lags the forecast is made of"
    reading = (
        "Each row is a step ahead, each column a lag: how much the forecast rises with the value so many steps before "
        "now (red) or falls with it (blue), both as they are scaled. A forecast that repeats the last value has 1 at "
        "lag 0 and 0 elsewhere."
    )

    def missing(self, subject: Subject) -> str | None:
        split = subject.data.split(subject.split)
        if not isinstance(split, Windows):
            return "there is no linear part"
        if split.layout.base == "linear" and split.layout.ridge is not None:
            return None
        base = split.layout.base.replace("_", "-")
        return (
            f"there is no linear part: the network's forecast is {'itself' if base == 'none' else f'added to {base}'}"
        )

    def measure(self, subject: Subject) -> Coefficients:
        layout = subject.data.split(subject.split).layout  # type: ignore[attr-defined]  # of Windows: see missing
        linear: Linear = layout.ridge
        columns = layout.of
        names = [
            f"{name} {wave}{'' if multiple == 1 else f' × {multiple}'}"
            for name in linear.calendar
            for multiple in range(1, HARMONICS + 1)
            for wave in ("sin", "cos")
        ]
        if linear.covariates:
            names += columns.past
            names += [f"{name} +{step}" for step in range(1, layout.horizon + 1) for name in columns.known]
        by_target = (2, 0, 1)
        return Coefficients(
            tuple(columns.target),
            linear.weights.transpose(by_target),
            linear.others.transpose(by_target),
            tuple(names),
            linear.chosen,
            subject.metrics.get("calibration/gain"),
        )

    def draw(self, subject: Subject, measured: Coefficients) -> Picture:
        shown = min(TARGETS, len(measured.targets))
        horizon, beside = measured.lags.shape[1], bool(measured.names)
        fig = style.figure(
            "The linear part: which lags the forecast is made of",
            f"{measured.chosen}; coefficients of scaled values, for {_ahead(horizon)}",
            width=10.0,
            height=shown * max(2.4, min(4.0, 0.9 + 0.22 * horizon)) + (0.5 if beside else 0.0),
        )
        widths = [max(3.0, measured.lags.shape[-1] / 8), *([max(1.0, len(measured.names) / 8)] if beside else [])]
        grid = fig.subplots(shown, len(widths), squeeze=False, width_ratios=widths)
        for target in range(shown):
            parts = [measured.lags[target], *([measured.others[target]] if beside else [])]
            most = max(float(np.abs(np.concatenate(parts, -1)).max()), 1e-12)
            title = measured.targets[target] if len(measured.targets) > 1 else ""
            self._panel(fig, grid[target, 0], parts[0], most, title, "lag (steps before now)", bar=not beside)
            if beside:
                ax = grid[target, 1]
                self._panel(fig, ax, parts[1], most, "", "", bar=True)
                ax.set_ylabel("")
                if len(measured.names) <= OTHERS:
                    ax.set_xticks(range(len(measured.names)), style.ticks(measured.names), rotation=90)
        return Picture(fig, _table(measured), {"linear part": _fact(measured)})

    def _panel(
        self, fig: Figure, ax: Axes, weights: np.ndarray, most: float, title: str, label: str, bar: bool
    ) -> None:
        horizon, lags = weights.shape
        if horizon == 1:
            style.dress(ax, label, "coefficient", title)
            ax.bar(np.arange(lags), weights[0], color=np.where(weights[0] > 0, style.VERMILION, style.BLUE), width=0.8)
            ax.axhline(0, color=style.QUIET, linewidth=1.0)
            ax.set_ylim(min(0.0, -1.05 * most if (weights < 0).any() else 0.0), 1.05 * most)
        else:
            style.dress(ax, label, "steps ahead", title, grid=False)
            image = ax.imshow(
                weights, cmap=style.DIVERGING, vmin=-most, vmax=most, aspect="auto", interpolation="nearest",
                extent=(-0.5, lags - 0.5, horizon + 0.5, 0.5),
            )  # fmt: skip
            style.whole_numbers(ax.yaxis)
            if bar:
                style.colour_bar(fig, image, ax, "coefficient")
        style.whole_numbers(ax.xaxis)

    def compare(self, measured: Mapping[str, Coefficients]) -> Picture:
        fig = style.figure(
            "The linear part: which lags the forecast is made of",
            "mean absolute coefficient over the steps ahead, of scaled values",
            width=9.0,
            height=4.0,
        )
        ax = style.dress(fig.subplots(), "lag (steps before now)", "mean absolute coefficient")
        rows: list[tuple[Entry, ...]] = []
        for (name, each), colour in zip(measured.items(), style.colours(len(measured)), strict=True):
            size = np.abs(each.lags).mean((0, 1))
            ax.plot(size, color=colour, label=name, linewidth=2.0, marker=style.markers(len(size)), markersize=3)
            rows.append((name, each.lags.shape[-1], _fact(each)))
        style.whole_numbers(ax.xaxis)
        style.legend(fig, ax, where="outside right center")
        return Picture(fig, Table(("run", "lags", "what has most of the weight"), rows))


def lag_name(lag: int) -> str:
    """A lag in words."""
    return f"lag {lag}"


def _ahead(horizon: int) -> str:
    return "one step ahead" if horizon == 1 else f"each of {horizon} steps ahead"


def _table(measured: Coefficients) -> Table:
    """A row a lag and feature of each target."""
    horizon = measured.lags.shape[1]
    steps = (
        range(horizon) if horizon <= AHEAD else sorted({round(k * (horizon - 1) / (AHEAD - 1)) for k in range(AHEAD)})
    )
    several = len(measured.targets) > 1
    names = [*(lag_name(lag) for lag in range(measured.lags.shape[-1])), *measured.names]
    rows: list[tuple[Entry, ...]] = []
    for target, lags, others in zip(measured.targets, measured.lags, measured.others, strict=True):
        for name, weights in zip(names, np.concatenate([lags, others], -1).T, strict=True):
            rows.append((*([target] if several else []), name, *(float(weights[step]) for step in steps)))
    return Table((*(["target"] if several else []), "what is read", *(f"+{step + 1}" for step in steps)), rows)


def _fact(measured: Coefficients) -> str:
    weights = list(measured.weights.items())
    (first, most), *others = weights[:NAMED]
    told = ", ".join([f"{first} has {most:.0%}", *(f"{name} {share:.0%}" for name, share in others)])
    number, beside = measured.lags.shape[-1], len(measured.names)
    many = f"{number} lag{'s' * (number != 1)}"
    many += f" and {beside} other feature{'s' * (beside != 1)}" if beside else ""
    fact = f"{told} of the size of its coefficients ({many})"
    if measured.gain is None:
        return fact
    if measured.gain == 0:
        return f"it stands alone, the network adds nothing; {fact}"
    return f"{fact}; {measured.gain:.0%} of what the network says is added"
