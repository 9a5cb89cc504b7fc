"""One sequence drawn: lines of few features, a heat map of many, or tokens written into squares."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from rnnlab.instruments import style
from rnnlab.instruments.inspection.subject import Subject

LINES_UP_TO = 6
"""More features than this are a heat map."""
WRITTEN = 80
"""Tokens that can be written side by side; of a longer sequence they are dots."""
LONGEST_TOKEN = 8
SIGNS = {" ": "␣", "\n": "↵", "\t": "⇥", "\r": "↵"}
SQUARE = 0.155
"""Inches that a written character takes."""


def draw_input(ax: Axes, subject: Subject, inputs: Tensor) -> None:
    """What the network reads, ``(time, features)`` or ``(time,)``, over time."""
    times, values = np.arange(len(inputs)), style.array(inputs)
    if subject.task.spec.input.vocabulary is not None:
        names = subject.token_names
        if len(inputs) <= WRITTEN and max(len(names[int(token)]) for token in values) <= 2:
            style.dress(ax, grid=False)
            write(ax, [names[int(token)] for token in values])
        else:
            style.dress(ax, y="token")
            ax.plot(times, values, "|" if len(names) > 60 else "o", color=style.BLUE, markersize=4)
    elif values.shape[1] > LINES_UP_TO:
        style.dress(ax, y="feature", grid=False)
        bound = float(np.abs(values).max()) or 1.0
        ax.imshow(values.T, aspect="auto", cmap=style.DIVERGING, vmin=-bound, vmax=bound, interpolation="nearest")
    else:
        style.dress(ax, y="input")
        for column, colour in zip(values.T, style.PALETTE, strict=False):
            ax.plot(times, column, color=colour, linewidth=1.3)


def write(ax: Axes, symbols: Sequence[str], row: float = 0.0, size: float = style.TICK) -> None:
    """Writes tokens side by side, each above its step."""
    for time, symbol in enumerate(symbols):
        ax.text(time, row, shown(symbol), ha="center", va="center", size=size, color=style.INK, family="monospace")
    ax.set(xlim=(-0.5, len(symbols) - 0.5), ylim=(row - 0.5, row + 0.5), yticks=[])


def shown(symbol: str) -> str:
    """A token as a reader sees it: white space and control signs are signs, and what is long is cut."""
    symbol = "".join(SIGNS.get(sign, sign if sign.isprintable() else "·") for sign in symbol)
    symbol = symbol if len(symbol) <= LONGEST_TOKEN else symbol[: LONGEST_TOKEN - 1] + "…"
    return style.plain(symbol)


def text_of(subject: Subject, inputs: Tensor, most: int = 100) -> str:
    """Tokens ``(time,)`` as one line of text, at most so many, the last ones."""
    names = [subject.token_names[int(token)] for token in inputs]
    symbols = ["".join(SIGNS.get(sign, sign if sign.isprintable() else "·") for sign in name) for name in names]
    letters = all(len(name) == 1 for name in names)
    cut = "… " if len(symbols) > most else ""
    return cut + ("" if letters else " ").join(symbols[-most:])
