"""One look for every figure: the object-oriented API of matplotlib, colours that everybody can tell apart.

pyplot is never imported: it keeps global state, so it is not safe with
threads, it may open windows, and it costs 0.4 s at start.
"""

import re
import textwrap
from collections import defaultdict
from collections.abc import Sequence
from os.path import commonprefix
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import Colormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogFormatterSciNotation, MaxNLocator
from torch import Tensor

from rnnlab.spec import DataSpec

# Okabe & Ito (2008), "Color Universal Design": distinct under every common colour blindness and in grey.
BLUE, VERMILION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, BLACK = "#56B4E9", "#CC79A7", "#000000"
# Their eighth, a yellow, is too pale for a line on white.
PALETTE = (BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE, BLACK)
INK, QUIET, FAINT = "#222222", "#6B6B6B", "#BDBDBD"
"""Text; what stands back (baselines, subtitles); what is hardly there (grids, reference lines)."""

SEQUENTIAL = "viridis"
"""For amounts and for time: lightness grows evenly, so that it reads in grey too."""
SHARES = "Blues"
"""For shares from 0 to 1 with numbers written on them: one hue, nothing is white."""
DIVERGING = "RdBu_r"
"""For signed numbers around 0, which is white."""

DPI = 120
TITLE, LABEL, TICK = 14, 11, 10
"""Font sizes in points: legible in a README at half size."""
MARKERS_UP_TO = 30
"""Lines of at most as many points show each of them."""

LETTER_WIDTH, KEY_WIDTH, LINE_HEIGHT = 0.082, 0.72, 0.2
"""In inches: of a letter of a legend, of its line with the space around, and of a row."""
BESIDE = 36
"""Characters of a line of a legend beside the plots."""
LONGEST_LABEL, LONGEST_TICK = 72, 28
"""Characters of a name in a legend, and on an axis; of a longer one the middle is left out."""

LegendPlace = Literal["outside lower center", "outside right center"]


def figure(title: str, subtitle: str = "", width: float = 8.0, height: float = 4.5) -> Figure:
    """An empty figure with a headline.

    Args:
        title: what is seen, in bold.
        subtitle: what it says, in numbers; wrapped to the width.
        width: in inches.
        height: in inches, without the headline.
    """
    lines = textwrap.wrap(plain(subtitle), int(width * 13.6))
    header = 0.5 + 0.21 * len(lines)
    whole = height + header
    fig = Figure(figsize=(width, whole), dpi=DPI, facecolor="white")
    fig.set_layout_engine(ConstrainedLayoutEngine(rect=(0, 0, 1, height / whole), w_pad=0.08, h_pad=0.06))
    left = 0.14 / width
    fig.text(left, 1 - 0.14 / whole, plain(title), size=TITLE, weight="bold", color=INK, va="top")
    fig.text(left, 1 - 0.43 / whole, "\n".join(lines), size=TICK, color=QUIET, va="top", linespacing=1.25)
    return fig


def dress(ax: Axes, x: str = "", y: str = "", title: str = "", grid: bool = True) -> Axes:
    """Gives one plot its labels, a light grid and no more frame than it needs."""
    ax.set_xlabel(plain(x), size=LABEL, color=INK)
    ax.set_ylabel(plain(y), size=LABEL, color=INK)
    if title:
        ax.set_title(plain(title), size=LABEL, color=INK, loc="left")
    ax.tick_params(labelsize=TICK, color=FAINT, labelcolor=INK)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(FAINT)
    if grid:
        ax.grid(True, color=FAINT, linewidth=0.6, alpha=0.5)
    ax.set_axisbelow(True)
    return ax


def whole_numbers(axis: Axis) -> None:
    """Ticks at whole numbers alone: epochs, steps."""
    axis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))


def legend(
    fig: Figure | SubFigure, *axes: Axes, where: LegendPlace = "outside lower center", reverse: bool = False
) -> None:
    """The legend of some plots for the whole figure, beside the plots: it covers no line, and leaves no edge.

    What has the same label in several plots is named once.
    """
    there = [pair for ax in axes for pair in zip(*ax.get_legend_handles_labels(), strict=True)]
    named = {label: handle for handle, label in reversed(there)}
    of_each = list(dict.fromkeys(label for _, label in there))
    labels, columns, _ = arranged(of_each, fig.bbox.width / DPI - 0.3 if "lower" in where else None)
    handles = [named[label] for label in of_each]
    fig.legend(handles, labels, loc=where, ncols=columns, reverse=reverse, fontsize=TICK, frameon=False)


def legend_below(ax: Axes, width: float) -> None:
    """The legend of one plot right below it, where it has no names of its own; in so many inches."""
    handles, labels = ax.get_legend_handles_labels()
    labels, columns, _ = arranged(labels, width)
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (0.0, 0.0), "borderaxespad": 0.2}
    ax.legend(handles, labels, ncols=columns, fontsize=TICK, frameon=False, columnspacing=1.2, **place)


def arranged(labels: Sequence[str], room: float | None, longest: int = LONGEST_LABEL) -> tuple[list[str], int, float]:
    """Labels of a legend as they are written, in how many columns, and how many inches high all of it is.

    What is longer than a line goes on in the next one, and what is longer than a legend bears is cut in the middle.

    Args:
        labels: as they are.
        room: inches from left to right; ``None`` where the legend stands beside the plots, in one column.
        longest: characters of a label.
    """
    line = BESIDE if room is None else max(12, int((room - KEY_WIDTH) / LETTER_WIDTH))
    lines = [wrapped(label, line) for label in cut_apart(labels, longest)]
    columns = 1
    if room is not None and labels:
        lengths = [max(map(len, label)) for label in lines]
        # in one row of columns as wide as they need, or else in even rows of equal ones
        together = sum(lengths) * LETTER_WIDTH + len(lengths) * KEY_WIDTH
        widest = max(lengths) * LETTER_WIDTH + KEY_WIDTH
        rows = 1 if together <= room else -(-len(labels) // max(1, int(room / widest)))
        columns = -(-len(labels) // rows)
    rows = -(-len(labels) // columns)
    tall = max((sum(map(len, lines[start : start + rows])) for start in range(0, len(lines), rows or 1)), default=0)
    return ["\n".join(map(plain, label)) for label in lines], columns, tall * LINE_HEIGHT


def wrapped(text: str, line: int) -> list[str]:
    """In lines of so many characters, which end where names have joints, such as after ``_`` or ``,``."""
    lines = [""]
    for piece in re.findall(rf"[^\s,;:/_.=-]{{1,{line - 1}}}[\s,;:/_.=-]?|[\s,;:/_.=-]", text):
        if len(lines[-1]) + len(piece.rstrip()) > line:
            lines.append("")
        lines[-1] += piece
    return [each.strip() for each in lines]


def log_scale(ax: Axes) -> None:
    """A logarithmic axis of scores, upwards, with numbers as they are written elsewhere: 0.02 and not 2 × 10⁻²."""
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(_ShortLogFormatter())
    # of a range of less than two decades a power of ten alone would be too few
    ax.yaxis.set_minor_formatter(_ShortLogFormatter(minor_thresholds=(2, 0.5)))


class _ShortLogFormatter(LogFormatterSciNotation):
    """Labels the ticks that matplotlib would label."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return short(x) if super().__call__(x, pos) else ""


def legend_above(ax: Axes, **options: Any) -> None:
    """The legend of one plot above it, at the right of its title: it covers nothing that is drawn."""
    _, labels = ax.get_legend_handles_labels()
    look = {"ncols": max(1, len(labels)), "frameon": False, "borderaxespad": 0.1, "columnspacing": 1.2, **options}
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), fontsize=TICK, handlelength=1.4, **look)


def colour_bar(fig: Figure | SubFigure, mappable: Any, ax: Axes | Sequence[Axes], label: str, **options: Any) -> None:
    """The scale of a picture's colours, beside it."""
    bar = fig.colorbar(mappable, ax=ax, **{"pad": 0.015, "aspect": 28, **options})
    bar.set_label(plain(label), size=LABEL, color=INK)
    bar.ax.tick_params(labelsize=TICK, color=FAINT, labelcolor=INK)
    bar.outline.set_visible(False)


def message(fig: Figure, text: str) -> Figure:
    """A figure that says why there is nothing to see."""
    fig.text(0.5, 0.45, plain(text), size=LABEL, color=QUIET, ha="center", va="center")
    return fig


def shades(number: int) -> list[Any]:
    """As many colours along the sequential map, from early to late.

    Its darkest violets look alike in thin lines, and its palest yellow is too pale for one.
    """
    return [colour_map(SEQUENTIAL)(0.15 + 0.75 * i / max(number - 1, 1)) for i in range(number)]


def colours(number: int) -> list[str]:
    """One for each run; beyond the palette they come again."""
    return [PALETTE[i % len(PALETTE)] for i in range(number)]


BEFORE = "before training"


def stages(names: Sequence[str]) -> list[dict[str, Any]]:
    """Looks of lines for a network in the course of its training: the last is that of the kept weights.

    What it was before training is black and dashed, and stands apart from the colours of epochs, early to late.
    """
    colours = iter(shades(sum(name != BEFORE for name in names[:-1])))
    early: list[dict[str, Any]] = [
        {"color": INK, "linestyle": "--", "linewidth": 1.3}
        if name == BEFORE
        else {"color": next(colours), "linewidth": 1.5}
        for name in names[:-1]
    ]
    return [*early, {"color": VERMILION, "linewidth": 3.0}]


def colour_map(name: str) -> Colormap:
    """A colour map of matplotlib's, by name."""
    return matplotlib.colormaps[name]


def markers(points: int) -> str | None:
    """Dots on a line of few points, where a line alone would hide how few they are."""
    return "o" if points <= MARKERS_UP_TO else None


def time_label(spec: DataSpec) -> str:
    """``time step``, or ``time (month)`` where the data's steps have a unit."""
    return "time step" if spec.step_unit == "step" else f"time ({spec.step_unit})"


def value_label(spec: DataSpec, name: str = "value") -> str:
    """``value``, or ``value (m/s)`` where the data's values have a unit."""
    return f"{name} ({spec.unit})" if spec.unit else name


def names(spec: DataSpec) -> list[str]:
    """Of the predicted values, classes or tokens; numbers where the data has no names."""
    return list(spec.target.labels)


def label(name: str) -> str:
    """A name as the label of what is drawn: matplotlib leaves out of a legend what begins with ``_``."""
    return f" {name}" if name.startswith("_") else name


def cut(name: str, longest: int = LONGEST_TICK) -> str:
    """A name, as for an axis: of what is long the middle is left out, so that both ends are seen."""
    if len(name) <= longest:
        return name
    end = (longest - 1) // 2
    return f"{name[: longest - 1 - end].rstrip()}…{name[len(name) - end :].lstrip()}"


def beginning(text: str, longest: int) -> str:
    """A sentence, of which what is too long is cut at its end."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def cut_apart(names: Sequence[str], longest: int = LONGEST_TICK) -> list[str]:
    """Names by :func:`cut`, of which different ones stay different: where their ends are the same, they show the first
    place where they are not, and a number where that does not tell them apart either.
    """
    found = [cut(name, longest) for name in names]
    for alike in _alike(names, found):
        start = max(longest // 3, len(commonprefix([names[i] for i in alike])) - 1)  # noqa: RUF071 - names are no paths
        for i in alike:
            rest = names[i][start:]
            room = longest - longest // 3 - 1
            found[i] = f"{names[i][: longest // 3]}…{rest if len(rest) <= room else rest[: room - 1] + '…'}"
    still = [i for alike in _alike(names, found) for i in alike]
    numbers = {name: f" ({number})" for number, name in enumerate(dict.fromkeys(names[i] for i in still), 1)}
    for i in still:
        number = numbers[names[i]]
        found[i] = f"{found[i][: longest - len(number)]}{number}"
    return found


def _alike(names: Sequence[str], short: Sequence[str]) -> list[list[int]]:
    """Places of different names that are written alike."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, written in enumerate(short):
        places[written].append(place)
    return [found for found in places.values() if len({names[place] for place in found}) > 1]


def ticks(names: Sequence[str], longest: int = LONGEST_TICK) -> list[str]:
    """Names for the ticks of an axis."""
    return [plain(name) for name in cut_apart(names, longest)]


def plain(text: str) -> str:
    """Text as it is: matplotlib takes a pair of dollar signs for mathematics."""
    return text.replace("$", r"\$")


def array(tensor: Tensor) -> Any:
    """A NumPy array on the CPU, of any tensor (NumPy knows no bfloat16)."""
    return tensor.detach().cpu().double().numpy()


def short(number: float) -> str:
    """A number as a person writes it: three digits, an exponent only where it is needed, and without its zeros."""
    if 1000 <= abs(number) < 1e6:
        return f"{number:,.0f}"
    return re.sub(r"e([+-])0*", lambda sign: "e" + sign[1].strip("+"), f"{number:.3g}")
