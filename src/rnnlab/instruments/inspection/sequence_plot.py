"""One sequence drawn: lines of few features, a heat map of many, or tokens written into squares."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from rnnlab.data.corpus import UNKNOWN
from rnnlab.instruments import style
from rnnlab.instruments.inspection.subject import Subject

LINES_UP_TO = 6
"""More features than this are a heat map."""
LONGEST_TOKEN = 8
SIGNS = {" ": "␣", "\n": "↵", "\t": "⇥", "\r": "↵"}
LETTER = 0.62
"""Width of a written character by its size."""
SMALLEST = 5.0
"""Points that can still be read."""


def draw_input(ax: Axes, subject: Subject, inputs: Tensor, width: float = 8.5) -> None:
    """What the network reads, ``(time, features)`` or ``(time,)``, over time, in so many inches."""
    times, values = np.arange(len(inputs)), style.array(inputs)
    if subject.task.spec.input.vocabulary is not None:
        names = subject.token_names
        symbols = [shown(names[int(token)]) for token in values]
        size = 72 * width / (len(symbols) * LETTER * max(map(len, symbols)))
        if size >= SMALLEST:
            style.dress(ax, grid=False)
            write(ax, symbols, min(style.LABEL, size))
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


def write(ax: Axes, symbols: Sequence[str], size: float) -> None:
    """Writes tokens side by side, each above its step."""
    for time, symbol in enumerate(symbols):
        ax.text(time, 0, symbol, ha="center", va="center", size=size, color=style.INK, family="monospace")
    ax.set(xlim=(-0.5, len(symbols) - 0.5), ylim=(-0.5, 0.5), yticks=[])
    ax.spines["left"].set_visible(False)


def shown(symbol: str) -> str:
    """A token as a reader sees it: white space and control signs are signs, and what is long is cut."""
    symbol = (
        "�" if symbol == UNKNOWN else "".join(SIGNS.get(sign, sign if sign.isprintable() else "·") for sign in symbol)
    )
    symbol = symbol if len(symbol) <= LONGEST_TOKEN else symbol[: LONGEST_TOKEN - 1] + "…"
    return style.plain(symbol)


def text_of(subject: Subject, inputs: Tensor, most: int = 100) -> str:
    """Tokens ``(time,)`` as one line of text, at most so many, the last ones."""
    names = [subject.token_names[int(token)] for token in inputs]
    symbols = ["".join(SIGNS.get(sign, sign if sign.isprintable() else "·") for sign in name) for name in names]
    letters = all(len(name) == 1 for name in names)
    cut = "… " if len(symbols) > most else ""
    return cut + ("" if letters else " ").join(symbols[-most:])
