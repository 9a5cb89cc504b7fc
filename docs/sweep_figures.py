"""Draws the figures of search.md from the leaderboards of the ready sweeps.

::

    for name in architectures learning_rate depth memory_length; do
      rnnlab train -m sweep=$name hydra.sweep.dir=outputs/$name
    done
    python docs/sweep_figures.py outputs
"""

import csv
import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from rnnlab.instruments.style import BLUE, DPI, LABEL, PALETTE, SEQUENTIAL, TITLE, VERMILION

IMAGES = Path(__file__).parent / "images"
Rows = list[dict[str, str]]


def architectures(axes: Axes, rows: Rows) -> None:
    """Mean and 95 % interval of each cell, beside the trivial predictor."""
    rows = rows[::-1]
    mean = np.array([float(row["mean"]) for row in rows])
    ends = np.array([[float(row["ci_low"]), float(row["ci_high"])] for row in rows]).T
    axes.errorbar(mean, range(len(rows)), xerr=abs(ends - mean), fmt="o", color=BLUE, capsize=4)
    axes.set_yticks(range(len(rows)), [row["model"] if "model" in row else row["group"] for row in rows])
    axes.axvline(float(rows[0]["baseline"]), color=VERMILION, linestyle="--", label="persistence")
    axes.set_xscale("log")
    axes.set_xlabel("val/loss (mean and 95 % interval of three seeds)", fontsize=LABEL)
    axes.legend()
    axes.set_title("Noisy sine waves: which cell forecasts best?", fontsize=TITLE)


def learning_rate(axes: Axes, rows: Rows) -> None:
    """Every trial where it was drawn, its score as a colour."""
    lr, size, score = (
        np.array([float(row[key]) for row in rows]) for key in ("optimizer.lr", "model.hidden_size", "mean")
    )
    order = np.argsort(-score)  # the best on top
    drawn = axes.scatter(
        lr[order], size[order], c=score[order], s=90, cmap=f"{SEQUENTIAL}_r", norm=LogNorm(), edgecolor="white"
    )
    best = score.argmin()
    axes.scatter(lr[best], size[best], s=260, facecolor="none", edgecolor=VERMILION, linewidth=2, label="best")
    axes.set(xscale="log", yscale="log")
    axes.set_yticks([4, 8, 16, 32, 64, 128], ["4", "8", "16", "32", "64", "128"])
    axes.set_xlabel("optimizer.lr", fontsize=LABEL)
    axes.set_ylabel("model.hidden_size", fontsize=LABEL)
    axes.figure.colorbar(drawn, ax=axes, label="val/loss")
    axes.legend(loc="upper right")
    axes.set_title("A GRU on sine waves: 30 random trials", fontsize=TITLE)


def depth(axes: Axes, rows: Rows) -> None:
    """Accuracy over the number of layers, a line a direction."""
    for colour, both, name in ((BLUE, "false", "forwards"), (VERMILION, "true", "both ways")):
        chosen = sorted(
            (row for row in rows if row["model.bidirectional"] == both), key=lambda row: row["model.num_layers"]
        )
        layers = [int(row["model.num_layers"]) for row in chosen]
        mean, std = (np.array([float(row[key]) for row in chosen]) for key in ("mean", "std"))
        axes.errorbar(layers, mean, yerr=std, fmt="o-", color=colour, capsize=4, label=name)
    axes.set_xticks([1, 2, 3])
    axes.set_xlabel("layers of 32 GRU units", fontsize=LABEL)
    axes.set_ylabel("val/accuracy (mean ± std of three seeds)", fontsize=LABEL)
    axes.legend()
    axes.set_title("Naming a pair of waveforms: depth and direction", fontsize=TITLE)


def memory_length(axes: Axes, rows: Rows) -> None:
    """Accuracy over the length, a line a cell."""
    models = sorted({row["model"] for row in rows})
    for colour, model in zip(PALETTE, models, strict=False):
        chosen = sorted((row for row in rows if row["model"] == model), key=lambda row: float(row["data.length"]))
        lengths = [float(row["data.length"]) for row in chosen]
        axes.plot(lengths, [float(row["mean"]) for row in chosen], "o-", color=colour, label=model)
    axes.axhline(1 / 8, color="grey", linestyle="--", label="chance")
    axes.set_xscale("log")
    axes.set_xticks(lengths, [f"{length:g}" for length in lengths])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("tokens after which the first is asked for", fontsize=LABEL)
    axes.set_ylabel("val/accuracy (mean of two seeds)", fontsize=LABEL)
    axes.legend()
    axes.set_title("Who still knows the first token?", fontsize=TITLE)


def main(directory: Path) -> None:
    """Draws the figure of each sweep that is there."""
    for draw in (architectures, learning_rate, depth, memory_length):
        table = directory / draw.__name__ / "leaderboard.csv"
        if not table.exists():
            print(f"{table} is not there: left out")
            continue
        with open(table, encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["rank"]]
        figure = Figure(figsize=(7.5, 4.2), dpi=DPI, layout="constrained")
        axes = figure.add_subplot()
        axes.grid(alpha=0.3)
        draw(axes, rows)
        figure.savefig(IMAGES / f"sweep_{draw.__name__}.png")
        print(f"docs/images/sweep_{draw.__name__}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
