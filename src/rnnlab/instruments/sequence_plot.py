"""One sequence drawn: lines of few features, a heat map of many, or tokens written into squares."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from torch import Tensor

from rnnlab.data.corpus import UNKNOWN
from rnnlab.instruments import style
from rnnlab.instruments.instrument import some
from rnnlab.instruments.montage import images, shades
from rnnlab.instruments.subject import Subject

LINES_UP_TO = 6
"""More features than this are a heat map."""
FRAMES = 10
"""Of a sequence of frames that are drawn, at most."""
LONGEST_TOKEN = 8
SIDEWAYS = 15
"""Characters of a name along an inch of an axis."""
SIGNS = {" ": "␣", "\n": "↵", "\t": "⇥", "\r": "↵"}
LETTER, LINE = 0.62, 1.15
"""Width of a written character, and height of a line, by its size."""
SMALLEST, READABLE = 5.0, 8.0
"""Points that can still be read, and that are read at ease."""


def draw_input(ax: Axes, subject: Subject, inputs: Tensor, width: float = 8.5, height: float = 1.2) -> AxesImage | None:
    """What the network reads, over time.

    Args:
        inputs: ``(time, features)``, or ``(time,)`` tokens.
        width: of the plot, in inches: tokens are written where they can be read.
        height: of the plot, in inches, for the names of features.

    Lines of several features have labels, for a legend.

    Returns:
        The picture of many features, for a scale of its colours.
    """
    times, values = np.arange(len(inputs)), style.array(inputs)
    names = subject.token_names
    if names:
        style.dress(ax, grid=False)
        if not write(ax, [shown(names[int(token)]) for token in values], width):
            style.dress(ax, y="token")
            ax.plot(times, values, "|" if len(names) > 60 else "o", color=style.BLUE, markersize=4)
            name_rows(ax, [shown(name) for name in names], height)
        return None
    frame = subject.task.spec.input.frame
    if frame is not None and values.shape[1] == prod(frame):
        _frames(ax, inputs, frame, width, height)
        return None
    features = subject.feature_names
    if values.shape[1] > LINES_UP_TO:
        style.dress(ax, y="" if features else "feature", grid=False)
        bound = float(np.abs(values).max()) or 1.0
        look: dict[str, Any] = {
            "cmap": style.DIVERGING,
            "vmin": -bound,
            "vmax": bound,
            "interpolation": "nearest",
            "aspect": "auto",
        }
        image = ax.imshow(values.T, **look)
        name_rows(ax, style.ticks(features) or list(map(str, range(values.shape[1]))), height)
        return image
    alone = len(features) == 1 and features[0] != "f0"
    style.dress(ax, y=style.cut(features[0], round(SIDEWAYS * height)) if alone else "value")
    for column, label, colour in zip(values.T, input_labels(subject) or [""], style.PALETTE, strict=False):
        ax.plot(times, column, color=colour, linewidth=1.3, label=label or None)
    return None


def input_labels(subject: Subject) -> list[str]:
    """Of the lines that :func:`draw_input` draws; none where there is one, or something else is drawn."""
    spec = subject.task.spec.input
    if subject.token_names or spec.frame is not None or not 1 < (spec.features or 0) <= LINES_UP_TO:
        return []
    names = subject.feature_names or [f"feature {number}" for number in range(spec.features or 0)]
    return list(map(style.label, names))


def _frames(ax: Axes, inputs: Tensor, frame: Sequence[int], width: float, height: float) -> None:
    """Frames at their times, as large as there is room; of many some."""
    time, numbers = len(inputs), some(len(inputs), FRAMES)
    style.dress(ax, grid=False)
    shape = frame[2] / frame[1]
    wide = min(0.95 * width / len(numbers), height * shape)  # inches
    half_wide, half_tall = wide * time / width / 2, wide / shape / height / 2
    for number, image in zip(numbers, images(inputs[numbers], frame, shades(inputs)), strict=True):
        place = (number - half_wide, number + half_wide, 0.5 - half_tall, 0.5 + half_tall)
        ax.imshow(image, extent=place, aspect="auto", interpolation="nearest")
    ax.set_xlim(-0.5, time - 0.5)
    ax.set_ylim(0, 1)
    ax.set_yticks([])


def write(ax: Axes, symbols: Sequence[str], width: float) -> bool:
    """Writes tokens side by side, each above its step: upright where they are long, in so many inches.

    Returns:
        Whether they can be read at that width; nothing is written where they can't.
    """
    room = 72 * width / len(symbols)
    size = min(style.LABEL, room / (LETTER * max(map(len, symbols))))
    upright = size < READABLE and room / LINE > size
    size = min(READABLE, room / LINE) if upright else size
    if size < SMALLEST:
        return False
    look: dict[str, Any] = {"va": "center", "size": size, "color": style.INK, "family": "monospace"}
    for time, symbol in enumerate(symbols):
        ax.text(time, 0, symbol, ha="center", rotation=90 if upright else 0, clip_on=True, **look)
    ax.set(xlim=(-0.5, len(symbols) - 0.5), ylim=(-0.5, 0.5), yticks=[])
    ax.spines["left"].set_visible(False)
    return True


def name_rows(ax: Axes, names: Sequence[str], height: float) -> None:
    """Names rows 0, 1, 2 …: every one where so many inches have room for it, else every second, third …"""
    every = -(-len(names) // max(1, int(72 * height / (READABLE * LINE))))
    ax.set_yticks(range(0, len(names), every), names[::every], size=style.TICK - 2)


def shown(symbol: str) -> str:
    """A token as a reader sees it: white space and control signs are signs, and what is long is cut."""
    symbol = (
        "�" if symbol == UNKNOWN else "".join(SIGNS.get(sign, sign if sign.isprintable() else "·") for sign in symbol)
    )
    return style.plain(style.cut(symbol, LONGEST_TOKEN))


def text_of(names: Sequence[str], inputs: Tensor, most: int = 100) -> str:
    """Tokens ``(time,)`` as one line of text, at most so many, the last ones.

    Args:
        names: of all tokens.
    """
    names = [names[int(token)] for token in inputs]
    symbols = ["".join(SIGNS.get(sign, sign if sign.isprintable() else "·") for sign in name) for name in names]
    letters = all(len(name) == 1 for name in names)
    cut = "… " if len(symbols) > most else ""
    return cut + ("" if letters else " ").join(symbols[-most:])
