"""The picture of a benchmark: ours with their spread, others', and the trivial predictor."""

import math
import statistics
import textwrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnlab.instruments import style
from rnnlab.runs.benchmark import Result

MANY_TIMES = 30
"""Scores that differ by so many times are drawn on a logarithmic axis."""
FAR = 15
"""Times the median distance from the median: what others have further away is named and not drawn."""


def draw(result: Result, description: str) -> Figure:
    """A curve for each row over ``along``, or a line of dots for each row."""
    named = any(isinstance(place, str) for place in result.places)
    curve = result.benchmark.along is not None and len(result.places) > 1 and not named
    others = result.benchmark.others
    height = (
        4.5
        if curve
        else 1.2
        + 0.42 * (len(result.rows) + len({(o.name, o.source) for o in others}) + len(result.benchmark.baseline))
    )
    seeds = max(len(cell.metrics) for cell in result.cells)
    title, _, what = description.partition(": ")
    several = "mean and standard deviation over" if curve else "each dot a seed, the bar their mean, of"
    if named and result.benchmark.along is not None:
        several = f"each dot a {result.benchmark.along.label}, the bar the mean where there are all; "
    spread = f"{several} {seeds} seeds" if seeds > 1 else "one seed"
    what = what or f"{result.benchmark.score} on the test split"
    fig = style.figure(title, f"{what}; {spread}", height=height)
    ax = fig.subplots()
    (_named if named else _curves if curve else _dots)(ax, result)
    if curve:
        style.legend(fig, ax, where="outside right center")
    return fig


def _scale(result: Result) -> float:
    return 100.0 if result.benchmark.percent else 1.0


def _label(result: Result) -> str:
    return f"{result.benchmark.score.removesuffix('@{at}')}{' (%)' if result.benchmark.percent else ''}"


def _logarithmic(result: Result) -> bool:
    values = [value for cell in result.cells for value in cell.values(result.benchmark.scores(cell.at))]
    values += [published.value for published in result.benchmark.others]
    return result.benchmark.mode == "min" and min(values) > 0 and max(values) / min(values) > MANY_TIMES


def _curves(ax: Axes, result: Result) -> None:
    benchmark, scale = result.benchmark, _scale(result)
    assert benchmark.along is not None
    style.dress(ax, benchmark.along.label, _label(result))
    for row, colour in zip(result.rows, style.PALETTE * len(result.rows), strict=False):
        cells = sorted((cell for cell in result.cells if cell.row == row), key=lambda cell: cell.at or 0)
        x = [float(cell.at or 0) for cell in cells]
        mean = [scale * cell.mean(benchmark.scores(cell.at)) for cell in cells]
        spread = [0.0 if (d := cell.deviation(benchmark.scores(cell.at))) != d else scale * d for cell in cells]
        ax.errorbar(x, mean, yerr=spread, color=colour, marker="o", markersize=4, capsize=3, label=row)
    for name in benchmark.baseline:
        pairs = [(place, result.baselines(place).get(name)) for place in result.places]
        known = sorted((float(place or 0), scale * value) for place, value in pairs if value is not None)
        if known:
            ax.plot(*zip(*known, strict=True), color=style.QUIET, linestyle="--", label=name)
    for number, published in enumerate(benchmark.others):
        if published.at is not None:
            ax.plot(
                published.at, scale * published.value, linestyle="", marker="DsX^v<>"[number % 7], markersize=7,
                markerfacecolor="none", markeredgecolor=style.INK, label=f"{published.name}, published",
            )  # fmt: skip
    if _logarithmic(result):
        style.log_scale(ax)
    places = [float(place or 0) for place in result.places]
    if min(places) > 0 and max(places) / min(places) > MANY_TIMES:
        ax.set_xscale("log")


def _named(ax: Axes, result: Result) -> None:
    """A line for each row and for each of others, with a dot for each place that has a name."""
    benchmark, scale = result.benchmark, _scale(result)
    style.dress(ax, _label(result))
    lines: list[tuple[str, dict[Any, float], str]] = []
    for cells, colour, who in ((result.cells, style.BLUE, ""), (result.rivals, style.VERMILION, ", run here")):
        for row in dict.fromkeys(cell.row for cell in cells):
            of_row = {cell.at: cell.mean(benchmark.scores(cell.at)) for cell in cells if cell.row == row}
            lines.append((f"{row}{who}", dict(of_row), colour))
    for key in dict.fromkeys((published.name, published.source) for published in benchmark.others):
        of_other = {other.at: other.value for other in benchmark.others if (other.name, other.source) == key}
        lines.append(
            (f"{key[0]}, published", {at: of_other[at] for at in of_other if at in result.places}, style.QUIET)
        )
    lines = [line for line in lines if line[1]]
    for y, (_, values, colour) in enumerate(lines):
        x = [scale * value for value in values.values()]
        ax.plot(x, [y] * len(x), linestyle="", marker="o", color=colour, alpha=0.4, markersize=5)
        if set(values) == set(result.places):
            ax.plot(sum(x) / len(x), y, marker="|", markersize=14, markeredgewidth=2.5, color=colour)
    ax.set_yticks(range(len(lines)), [textwrap.fill(style.plain(name), 40) for name, _, _ in lines])
    ax.set_ylim(len(lines) - 0.4, -0.6)


def _dots(ax: Axes, result: Result) -> None:
    benchmark, scale = result.benchmark, _scale(result)
    style.dress(ax, _label(result))
    names: list[str] = []
    for row in result.rows:
        cell = next(cell for cell in result.cells if cell.row == row)
        values, y = [scale * value for value in cell.values(benchmark.score)], len(names)
        ax.plot(values, [y] * len(values), linestyle="", marker="o", color=style.BLUE, alpha=0.35, markersize=6)
        ax.plot(scale * cell.mean(benchmark.score), y, marker="|", markersize=18, markeredgewidth=2.5, color=style.BLUE)
        names.append(row)
    others = [(each.name, "published", each.value, "D", style.VERMILION) for each in benchmark.others]
    trivial = result.baselines(result.places[0]).items()
    others += [(name, "trivial", value, "s", style.QUIET) for name, value in trivial]
    own = [cell.mean(benchmark.score) for cell in result.cells]
    every = [*own, *(value for _, _, value, _, _ in others)]
    middle = statistics.median(every)
    usual = statistics.median(abs(value - middle) for value in every)
    most = math.inf if _logarithmic(result) else max(FAR * usual, max(own) - min(own))
    outside = []
    for name, kind, value, marker, colour in others:
        if abs(value - middle) > most:
            outside.append(f"{name} {benchmark.shown(value)}")  # drawn, it would press all others together
            continue
        ax.plot(scale * value, len(names), marker=marker, markersize=7, markerfacecolor="none", color=colour)
        names.append(f"{name}, {kind}")
    if outside:
        away = textwrap.fill(f"(far outside: {style.plain(', '.join(outside))})", 70)
        ax.set_xlabel(f"{ax.get_xlabel()}\n{away}")
    ax.set_yticks(range(len(names)), [textwrap.fill(style.plain(name), 30) for name in names])
    ax.set_ylim(len(names) - 0.4, -0.6)
    if _logarithmic(result):
        ax.set_xscale("log")
