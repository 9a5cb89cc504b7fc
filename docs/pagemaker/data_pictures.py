"""What a sequence of a data set looks like: lines for numbers, boxes for tokens, the target beside or below."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rnnlab.data.sequence import SequenceData
from rnnlab.instruments import style
from rnnlab.spec import IGNORED, Batch, DataSpec

EXAMPLES, MOST_TOKENS, MOST_LINES = 3, 44, 3
FILLS = ("#CFE3F3", "#FAD9C4", "#CDEBE1", "#FBE7BF", "#DCEFFB", "#F2DBE8", "#E3E3E3", "#E6DDF4")
"""Pale forms of the palette, for boxes with a letter on them."""
VISIBLE = {" ": "␣", "\n": "↵", "\t": "⇥"}


def example(data: SequenceData, title: str) -> Figure:
    """A few training sequences with their targets."""
    split = data.split("train")
    spec = data.spec
    rows = [split.batch(slice(i, i + 1)) for i in _different(split, spec)]
    if spec.input.vocabulary is not None:
        return _tokens(rows, data, title)
    return _numbers(rows, spec, title)


def _different(split: Any, spec: DataSpec) -> list[int]:
    """The first sequences, of different classes where there are any."""
    if spec.target.kind != "class":
        # far from each other: windows of one series that follow each other look alike
        return (
            [i * len(split) // EXAMPLES for i in range(EXAMPLES)] if len(split) >= EXAMPLES else list(range(len(split)))
        )
    first: dict[int, int] = {}
    for i, kind in enumerate(split.targets[:500].tolist()):
        first.setdefault(kind, i)
    return sorted(first.values())[:EXAMPLES]


def _name(spec: DataSpec, number: int) -> str:
    return spec.target.names[number] if spec.target.names else str(number)


def _valid(batch: Batch) -> int:
    return int(batch.lengths[0]) if batch.lengths is not None else batch.inputs.shape[1]


# ---- numbers ----------------------------------------------------------------------------------


def _numbers(rows: list[Batch], spec: DataSpec, title: str) -> Figure:
    says = {
        "values": "the target at each step is red", "value": "the target is one number for the whole sequence",
        "class": "the target is the class of the whole sequence", "tokens": "the target is a token at each step",
        "sequence": "the target stands on the left: it has a length of its own",
    }  # fmt: skip
    subtitle = f"Training sequences as the network sees them; {says[spec.target.kind]}."
    fig = style.figure(title, subtitle, 8.6, 0.5 + 1.5 * len(rows))
    for number, (ax, batch) in enumerate(
        zip(fig.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0], rows, strict=True)
    ):
        steps = _valid(batch)
        inputs = style.array(batch.inputs[0, :steps])
        label = ""
        if spec.target.kind == "class":
            label = f"class: {_name(spec, int(batch.targets[0]))}"
        elif spec.target.kind == "sequence":
            joint = " " if spec.target.unit == "word" else ""
            said = [int(token) for token in batch.targets[0] if int(token) not in (IGNORED, spec.target.end)]
            label = joint.join(_name(spec, token) for token in said)
        elif spec.target.kind == "value":
            label = "target: " + ", ".join(style.short(float(value)) for value in batch.targets[0])
        last = number == len(rows) - 1
        many = inputs.shape[1] > 4
        style.dress(ax, style.time_label(spec) if last else "", "feature" if many else "", label, grid=not many)
        if many:
            ax.imshow(inputs.T, aspect="auto", cmap=style.DIVERGING, interpolation="nearest",
                      vmin=-np.abs(inputs).max(), vmax=np.abs(inputs).max())  # fmt: skip
            continue
        _lines(ax, inputs)
        if spec.target.kind == "values":
            _values(ax, batch, spec, steps)
        ax.margins(x=0.01)
        if last and len(ax.get_legend_handles_labels()[1]) > 1:
            style.legend(fig, ax)
    return fig


def _lines(ax: Axes, inputs: np.ndarray) -> None:
    times = np.arange(len(inputs))
    for feature in range(inputs.shape[1]):
        values = inputs[:, feature]
        if inputs.shape[1] > 1 and set(np.unique(values)) <= {0.0, 1.0}:  # marks
            for time in times[values == 1.0]:
                ax.axvspan(time - 0.5, time + 0.5, color=style.ORANGE, alpha=0.35, linewidth=0,
                           label=f"feature {feature} is 1" if time == times[values == 1.0][0] else None)  # fmt: skip
            continue
        name = "input" if inputs.shape[1] == 1 else f"feature {feature}"
        ax.plot(times, values, color=style.PALETTE[(0, 2, 4, 5)[feature % 4]], linewidth=1.5, label=name,
                marker=style.markers(len(times)), markersize=3)  # fmt: skip


def _values(ax: Axes, batch: Batch, spec: DataSpec, steps: int) -> None:
    shift = spec.horizon or 0
    size = min(spec.target.size, MOST_LINES)
    if spec.horizon is None and spec.steps_ahead is not None:
        # all steps ahead at once: those after the window alone, since every step has its own
        ahead = style.array(batch.targets[0, steps - 1]).reshape(spec.steps_ahead, -1)
        times = steps + np.arange(len(ahead))
        ax.plot(times, ahead[:, 0], color=style.VERMILION, marker="o", markersize=3, linewidth=1.2, label="target")
        return
    targets = style.array(batch.targets[0, :steps])
    times = np.arange(len(targets)) + shift
    for value in range(size):
        label = None if value else f"target: {shift} step{'s' * (shift > 1)} later" if shift else "target"
        ax.plot(
            times, targets[:, value], color=style.VERMILION, linestyle="none", marker=".", markersize=4, label=label
        )
    if batch.future is not None and batch.future.shape[1]:
        future = style.array(batch.future[0])
        ax.plot(
            times[-1] + 1 + np.arange(len(future)), future[:, 0], color=style.FAINT, linewidth=2, label="and after that"
        )
        ax.axvline(times[-1] + 0.5, color=style.INK, linestyle="--", linewidth=0.8)


# ---- tokens ------------------------------------------------------------------------------------


def _tokens(rows: list[Batch], data: SequenceData, title: str) -> Figure:
    spec = data.spec
    letters = getattr(data, "vocabulary", None)
    names = [str(each) for each in letters] if isinstance(letters, (list, tuple)) else list(spec.input.names)
    if not names and spec.target.kind == "tokens" and spec.target.size == spec.input.vocabulary:
        names = list(spec.target.names)
    below = spec.target.kind == "tokens"
    says = "below it what is asked at each step" if below else "on the right the class of the whole"
    if spec.target.kind == "values":
        says = "the target is a number at each step"
    if spec.target.kind == "sequence":
        below, says = True, "below it what is to be said, which has a length of its own"
    height = 0.78 if below else 0.5
    shown = min(MOST_TOKENS, max(_valid(batch) for batch in rows))
    fig = style.figure(title, f"Training sequences, a box a step; {says}.", 9.6, 0.35 + height * len(rows))
    fig.set_layout_engine("none")
    whole = fig.get_figheight()
    ax = fig.add_axes((0.01, 0.0, 0.98, (0.2 + height * len(rows)) / whole))
    ax.axis("off")
    unit = max(shown, 16) + (0 if below else 9)
    ax.set_xlim(-0.2, unit + 1)
    ax.set_ylim((0.2 + height * len(rows)) * unit / 9.6 * 1.02, -0.2)
    step = height * unit / 9.6
    for row, batch in enumerate(rows):
        top = row * step
        steps = _valid(batch)
        # of a long sequence its beginning and its end, where the answers often are
        early = (shown - 1) // 2
        times = list(range(steps)) if steps <= shown else [*range(early), *range(steps - (shown - early - 1), steps)]
        for column, time in enumerate(times):
            place = column if steps <= shown or column < early else column + 1
            token = int(batch.inputs[0, time])
            _box(
                ax,
                place,
                top,
                step * (0.4 if below else 0.72),
                _letter(names, token),
                token,
                token == spec.target.blank,
            )
            if below and spec.target.kind == "tokens":
                target = int(batch.targets[0, time])
                asked = target != IGNORED and target != spec.target.blank
                own = spec.target.names or names
                _box(
                    ax,
                    place,
                    top + step * 0.44,
                    step * 0.4,
                    _letter(list(own), target) if asked else "",
                    target,
                    not asked,
                )
        if spec.target.kind == "sequence":
            for place, target in enumerate(batch.targets[0].tolist()[:shown]):
                letter = _letter(list(spec.target.names), target) if target != spec.target.end else "end"
                _box(ax, place, top + step * 0.44, step * 0.4, letter, target, target == IGNORED)
        end = min(steps, shown) + 0.4
        if steps > shown:
            ax.text(early + 0.5, top + step * 0.3, "…", size=11, ha="center", va="center", color=style.QUIET)
        if spec.target.kind == "class":
            ax.text(end, top + step * 0.36, f"→ {_name(spec, int(batch.targets[0]))}", size=style.LABEL, va="center",
                    color=style.VERMILION, weight="bold")  # fmt: skip
    return fig


def _letter(names: list[str], token: int) -> str:
    text = names[token] if 0 <= token < len(names) else str(token)
    return VISIBLE.get(text, text)[:5]


def _box(ax: Axes, x: float, y: float, height: float, text: str, number: int, quiet: bool) -> None:
    fill = "white" if quiet else FILLS[number % len(FILLS)]
    ax.add_patch(Rectangle((x + 0.04, y), 0.92, height, facecolor=fill, edgecolor=style.FAINT, linewidth=0.5))
    if not quiet:
        ax.text(
            x + 0.5,
            y + height / 2,
            style.plain(text),
            size=8.5 if len(text) < 3 else 6.5,
            ha="center",
            va="center",
            color=style.INK,
        )
