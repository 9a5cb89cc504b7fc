"""How a GRU's layer is run: what is computed for all steps at once, and what within the two kernels."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from rnnlab.cells.gru import GRU
from rnnlab.instruments import style
from rnnlab.kernels.layer import Derived
from rnnlab.kernels.planning import width_of

UNITS = 64
ALL, PRODUCT, WISE = ("#D3E6F4", style.BLUE), ("#FBE3C0", style.ORANGE), ("#CDEBE1", style.GREEN)
"""Fill and edge of what is computed for all steps, of a product with the state, and of what is element-wise."""
WIDTH, HEIGHT = 10.4, 6.0


def plan() -> Figure:
    """The plan of a GRU, its rows counted in the plan that is run."""
    derived = Derived(GRU(8, UNITS), torch.float32)
    read = sum(width_of(node) for node in derived.plan.inputs.values()) // UNITS
    kept = derived.plan.saved // UNITS
    handed = sum(width_of(node) for node in derived.plan.edges.values()) // UNITS
    fig = style.figure(
        "The plan of a GRU's layer",
        "Left, outside the loops: products over all steps at once. Right, step by step: what depends on the state, or "
        "on the gradient of the next step. H is the number of units.",
        WIDTH, HEIGHT,
    )  # fmt: skip
    fig.set_layout_engine("none")
    ax = fig.add_axes((0, 0, 1, HEIGHT / fig.get_figheight()))
    ax.axis("off")
    ax.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))

    _panel(ax, 3.35, 3.3, "forward kernel: from the first step to the last")
    _box(ax, 1.5, 5.2, 2.5, r"$W^\top,\ U^\top$", "once a pass", ALL)
    _box(ax, 1.5, 4.15, 2.5, r"$a_t = W x_t + b_W$", "one product for all steps", ALL)
    _box(ax, 4.55, 4.15, 1.6, r"$g_t = U h_{t-1} + b_U$", "product with the state", PRODUCT)
    _box(ax, 6.55, 4.15, 1.6, r"$r_t,\ z_t = \sigma(a_t + g_t)$", "gates", WISE)
    _box(
        ax,
        8.75,
        4.15,
        2.0,
        r"$n_t = \tanh(a_t + r_t \odot g_t)$",
        r"$h_t = (1-z_t) \odot n_t + z_t \odot h_{t-1}$",
        WISE,
    )
    _arrow(ax, (2.75, 4.15), (3.7, 4.15), f"{read}H\na step")
    _arrow(ax, (5.4, 4.15), (5.7, 4.15))
    _arrow(ax, (7.4, 4.15), (7.7, 4.15))
    _loop(ax, 8.75, 4.55, 4.55, r"$h_t$, for the next step")

    _panel(ax, 3.35, 0.3, "backward kernel: from the last step to the first")
    _box(ax, 8.75, 1.15, 2.0, r"$\partial h_t,\ \partial z_t,\ \partial n_t$", "state, gate, candidate", WISE)
    _box(ax, 6.55, 1.15, 1.6, r"$\partial r_t,\ \partial a_t,\ \partial g_t$", "of pre-activations", WISE)
    _box(ax, 4.55, 1.15, 1.6, r"$\partial g_t\, U$", "product with the weights", PRODUCT)
    _box(
        ax, 1.5, 1.15, 2.5, r"$\partial W = \partial a^\top x \quad \partial U = \partial g^\top h$",
        r"$\partial b = \sum \partial a,\ \sum \partial g \quad\ \partial x = \partial a\, W$", ALL,
    )  # fmt: skip
    _arrow(ax, (7.7, 1.15), (7.4, 1.15))
    _arrow(ax, (5.7, 1.15), (5.4, 1.15))
    _arrow(ax, (6.55, 0.75), (2.75, 0.75), bend=-0.12)
    ax.text(3.3, 0.42, rf"$\partial a,\ \partial g$: {handed}H a step", size=8, color=style.QUIET, ha="right")
    _loop(ax, 4.55, 8.75, 1.55, r"$\partial h_{t-1}$, for the step before")
    _arrow(ax, (8.75, 3.28), (8.75, 2.67), rf"kept for the way back: $r,\ z,\ n,\ (Uh)_n$, {kept}H a step", left=True)
    return fig


def _panel(ax: Axes, x: float, y: float, title: str) -> None:
    ax.add_patch(
        FancyBboxPatch(
            (x + 0.1, y), WIDTH - x - 0.35, 2.35, boxstyle="round,pad=0,rounding_size=0.15", facecolor="#F7F7F7",
            edgecolor=style.FAINT, linewidth=1.2, zorder=0,
        )
    )  # fmt: skip
    ax.text(x + 0.25, y + 2.13, title, size=style.TICK, weight="bold", color=style.INK, va="center")


def _box(ax: Axes, x: float, y: float, width: float, formula: str, words: str, look: tuple[str, str]) -> None:
    fill, edge = look
    ax.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - 0.38), width, 0.76, boxstyle="round,pad=0,rounding_size=0.1", facecolor=fill,
            edgecolor=edge, linewidth=1.2, zorder=2,
        )
    )  # fmt: skip
    ax.text(x, y + 0.14, formula, size=10, ha="center", va="center", color=style.INK, zorder=3)
    ax.text(x, y - 0.2, words, size=8, ha="center", va="center", color=style.INK, zorder=3)


def _arrow(
    ax: Axes,
    begin: tuple[float, float],
    end: tuple[float, float],
    words: str = "",
    bend: float = 0.0,
    left: bool = False,
) -> None:
    ax.add_patch(
        FancyArrowPatch(
            begin, end, arrowstyle="-|>,head_length=4,head_width=2.2", connectionstyle=f"arc3,rad={bend}",
            color=style.QUIET, linewidth=1.3, shrinkA=0, shrinkB=0, zorder=1,
        )
    )  # fmt: skip
    x, y = (begin[0] + end[0]) / 2, (begin[1] + end[1]) / 2
    place = {"ha": "right", "va": "center"} if left else {"ha": "center", "va": "bottom"}
    ax.text(x - 0.08 * left, y + 0.05 * (not left), words, size=8, color=style.QUIET, **place)


def _loop(ax: Axes, begin: float, end: float, y: float, words: str) -> None:
    """From the last box of a step to its first one, above the others."""
    top = y + 0.42
    ax.plot([begin, begin, end], [y - 0.02, top, top], color=style.QUIET, linewidth=1.3, zorder=1)
    _arrow(ax, (end, top), (end, y - 0.02))
    ax.text((begin + end) / 2, top + 0.05, words, size=8, color=style.QUIET, ha="center", va="bottom")
