"""The pictures of ``results/``, from its JSON files: ``python -m benchmarks.plot``.

Each is drawn anew when its benchmark has been measured. On a white ground of
their own, they read the same on a light and on a dark page.
"""

import json
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.measurement import RESULTS
from rnnlab.instruments import style

Numbers = dict[str, Any]
TICKS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3)
"""Of an axis of ratios."""


def main() -> None:
    """Draws all that there are numbers of."""
    for name in DRAWN:
        redraw(name)
    summary()


def redraw(name: str) -> None:
    """The picture of one benchmark, where it has one and has been measured."""
    if name in DRAWN and (numbers := _read(name)):
        _save(DRAWN[name](numbers), name)


def _read(name: str) -> Numbers:
    file = RESULTS / f"{name}.json"
    found: Numbers = json.loads(file.read_text()) if file.exists() else {}
    return found


def _save(fig: Figure, name: str) -> None:
    # without the version of matplotlib in it, a picture changes with its numbers alone
    fig.savefig(RESULTS / f"{name}.png", metadata={"Software": None})
    print(f"benchmarks/results/{name}.png")


# ---- one benchmark


def _ratio_axis(ax: Axes) -> None:
    """Times against a rival's: as fast at 1, logarithmic."""
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(matplotlib.ticker.FixedLocator(TICKS))
    ax.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    ax.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    ax.axhline(1, color=style.INK, linewidth=1)


LABELS = {"hidden": "units H", "steps": "steps T", "batch": "batch"}


def scaling(numbers: Numbers) -> Figure:
    """Ratio to ``torch.nn`` and share of the peak along H, T and the batch, the others fixed."""
    cases = numbers["cases"]
    devices = list(numbers["peak"])
    fig = style.figure(
        "How training scales",
        "one layer, forward and backward, on "
        + " and ".join({"cpu": "one CPU thread", "cuda": "a GPU"}[device] for device in devices)
        + "; where a size is fixed it is 64 units, 50 steps, batch 32; min_gru and lru against nn.GRU",
        width=10,
        height=5.8 * len(devices),
    )
    axes = fig.subplots(2 * len(devices), 3, sharey="row", sharex="col", squeeze=False)
    fixed = {"hidden": 64, "steps": 50, "batch": 32}
    models = list(dict.fromkeys(case["model"] for case in cases))
    for device, (above, below) in zip(devices, zip(axes[::2], axes[1::2], strict=True), strict=True):
        for column, along in enumerate(fixed):
            rest = {"device": device, **{key: value for key, value in fixed.items() if key != along}}
            for model, colour in zip(models, style.PALETTE, strict=False):
                line = sorted(
                    (case for case in cases if {**rest, "model": model}.items() <= case.items()),
                    key=lambda case: case[along],
                )
                x = [case[along] for case in line]
                above[column].plot(x, [case["ratio"] for case in line], "o-", color=colour, markersize=4, label=model)
                below[column].plot(x, [100 * case["share"] for case in line], "o-", color=colour, markersize=4)
                below[column].plot(
                    x, [100 * case["rival share"] for case in line], "o:", color=colour, markersize=3, alpha=0.6
                )
            for ax in (above[column], below[column]):
                style.dress(ax)
                ax.set_xscale("log")
                there = sorted({case[along] for case in cases if rest.items() <= case.items()})
                ax.set_xticks(there, [style.short(value) for value in there], rotation=30 if len(there) > 4 else 0)
                ax.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
            below[column].set_xlabel(
                {"hidden": "units H", "steps": "steps T", "batch": "batch"}[along], size=style.LABEL
            )
            below[column].set_ylim(0, 105)
        _ratio_axis(above[0])
        for ax in above[1:]:
            ax.axhline(1, color=style.INK, linewidth=1)
        above[0].set_ylabel("time / torch.nn's", size=style.LABEL)
        below[0].set_ylabel("% of the matrix peak\n(dotted: torch.nn)", size=style.LABEL)
    style.legend(fig, axes[0][0])
    return fig


def costs(numbers: Numbers) -> Figure:
    """A bar a cell."""
    cells = sorted(numbers["cells"].items(), key=lambda item: item[1]["ratio"])
    fig = style.figure(
        "What each cell costs to train",
        f"{numbers['hidden']} units, batch {numbers['batch']}, {numbers['steps']} steps, forward and backward on one "
        "CPU thread; nn.GRU = 1",
        height=0.27 * len(cells) + 0.6,
    )
    ax = style.dress(fig.subplots(), "time / nn.GRU's")
    ax.barh([name for name, _ in cells], [each["ratio"] for _, each in cells], color=style.BLUE, height=0.65)
    for place, (_, each) in enumerate(cells):
        ax.text(each["ratio"], place, f" {each['ratio']:.2f}", va="center", size=style.TICK, color=style.INK)
    ax.axvline(1, color=style.INK, linewidth=1)
    ax.invert_yaxis()
    ax.margins(y=0.01)
    return fig


def memory_scores(numbers: Numbers) -> Figure:
    """Cells × diagnostics: from the trivial score, 0, to a perfect one, 1."""
    tests, cells = list(numbers["columns"]), list(numbers["scores"])
    trivial = numbers["trivial"]

    def share(cell: str, test: str) -> float:
        values = numbers["scores"][cell][test]
        if not values:
            return float("nan")
        score = sum(values) / len(values)
        # an error falls to 0, an accuracy rises to 1
        reached = 1 - score / trivial[test] if test == "adding" else (score - trivial[test]) / (1 - trivial[test])
        return min(max(reached, 0.0), 1.0)

    cells.sort(key=lambda cell: -sum(share(cell, test) for test in tests))
    shares = [[share(cell, test) for test in tests] for cell in cells]
    fig = style.figure(
        "What each cell remembers",
        f"test scores after {numbers['updates']:,} updates, one layer of 64 units; white: no better than the trivial "
        "predictor, blue: the rule is learned",
        width=9,
        height=0.29 * len(cells) + 1.0,
    )
    ax = fig.subplots()
    ax.imshow(shares, cmap=style.SHARES, vmin=0, vmax=1, aspect="auto")
    for row, cell in enumerate(cells):
        for column, test in enumerate(tests):
            colour = "white" if shares[row][column] > 0.6 else style.INK
            text = numbers["shown"][cell][test]
            ax.text(column, row, text, ha="center", va="center", size=style.TICK, color=colour)
    ax.set_yticks(range(len(cells)), cells, size=style.TICK)
    titles = [numbers["columns"][test].replace(", ", "\n", 1) for test in tests]
    ax.set_xticks(range(len(tests)), titles, size=style.TICK - 1)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return fig


def memory(numbers: Numbers) -> Figure:
    """Two bars a layer."""
    layers = {name: each for name, each in numbers.items() if isinstance(each, dict) and "kept" in each}
    fig = style.figure(
        "Memory of a long sequence", "10,000 steps, 64 units, batch 32, forward and backward", height=2.6
    )
    ax = style.dress(fig.subplots(), "MB")
    for number, (side, label, colour) in enumerate(
        (("kept", "all states kept", style.VERMILION), ("recomputed", "model.recompute=true", style.BLUE))
    ):
        values = [each[side]["memory"] / 1e6 for each in layers.values()]
        places = [place + 0.36 * number for place in range(len(layers))]
        ax.barh(places, values, height=0.34, color=colour, label=label)
        for place, value in zip(places, values, strict=True):
            ax.text(value, place, f" {value:,.0f}", va="center", size=style.TICK, color=style.INK)
    ax.set_yticks([place + 0.18 for place in range(len(layers))], list(layers))
    ax.invert_yaxis()
    style.legend(fig, ax)
    return fig


def threads(numbers: Numbers) -> Figure:
    """The gain of all cores over one thread, along the work of a step."""
    fig = style.figure(
        f"When {numbers['threads']} threads pay", "one dot a cell, hidden size and batch size", height=3.6
    )
    ax = style.dress(fig.subplots(), "batch × elements of the largest weight matrix", "times as fast as one thread")
    cases = numbers["seconds a pass"]
    for cell, colour in zip(dict.fromkeys(case["cell"] for case in cases), style.PALETTE, strict=False):
        own = [case for case in cases if case["cell"] == cell]
        ax.plot(
            [case["work"] for case in own], [case["one"] / case["more"] for case in own],
            linestyle="", marker="o", markersize=5, alpha=0.8, color=colour, label=cell,
        )  # fmt: skip
    ax.set_xscale("log", base=2)
    ax.axhline(1, color=style.INK, linewidth=1)
    style.legend(fig, ax)
    return fig


def fleet(numbers: Numbers) -> Figure:
    """Seconds over jobs, a curve a way; what was extrapolated is hollow."""
    labels = {"fleet": "fleet", "own": "one by one", "torch": "one by one, torch's GRU", "raw": "raw loop"}
    kinds = list(dict.fromkeys(case["kind"] for case in numbers["cases"]))
    fig = style.figure("A sweep as one network", "whole processes; hollow: not measured but extrapolated", height=3.8)
    axes = fig.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for ax, kind in zip(axes, kinds, strict=True):
        style.dress(ax, "jobs", "seconds" if ax is axes[0] else "", kind)
        own = [case for case in numbers["cases"] if case["kind"] == kind]
        for (way, label), colour in zip(labels.items(), style.PALETTE, strict=False):
            there = [case for case in own if way in case["seconds"]]
            ax.plot(
                [case["jobs"] for case in there], [case["seconds"][way] for case in there], color=colour, label=label
            )
            for case in there:
                hollow = way in case["extrapolated"]
                ax.plot(
                    case["jobs"], case["seconds"][way], "o", color=colour, markersize=6,
                    markerfacecolor="white" if hollow else colour,
                )  # fmt: skip
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%d"))
    style.legend(fig, axes[-1])
    return fig


def end_to_end(numbers: Numbers) -> Figure:
    """Validation loss over seconds of training, a panel a job."""
    jobs = {name: rounds for name, rounds in numbers.items() if isinstance(rounds, list) and name != "verdicts"}
    what = "validation loss over seconds of training, all rounds; dashed: the stated loss"
    fig = style.figure("Time to a loss", what, width=10, height=3.6)
    axes = fig.subplots(1, len(jobs), squeeze=False)[0]
    for ax, (name, rounds) in zip(axes, jobs.items(), strict=True):
        style.dress(ax, "seconds", "validation loss" if ax is axes[0] else "", name)
        for who, colour in zip(rounds[0], style.PALETTE, strict=False):
            for number, each in enumerate(rounds):
                seconds, losses = zip(*each[who]["curve"], strict=True)
                ax.plot(seconds, losses, color=colour, alpha=0.8, linewidth=1.4, marker=style.markers(len(losses)),
                        markersize=3, label=who if not number else None)  # fmt: skip
        stated = numbers.get("stated", {}).get(name)
        if stated is not None:
            ax.axhline(stated, color=style.INK, linestyle="--", linewidth=1)
        ax.set_yscale("log")
    style.legend(fig, axes[0])
    return fig


DRAWN: dict[str, Callable[[Numbers], Figure]] = {
    "scaling": scaling,
    "costs": costs,
    "memory": memory,
    "memory_scores": memory_scores,
    "threads": threads,
    "fleet": fleet,
    "end_to_end": end_to_end,
}

# ---- all together


class Line(NamedTuple):
    """A line of the summary: times of rnnlab over a rival's, and what was promised."""

    group: str
    label: str
    ratios: list[float]
    promised: float | None = None


def summary() -> None:
    """Every ratio to a rival that has been measured, in one picture."""
    lines = list(_lines())
    if lines:
        _save(_summary(lines), "summary")


def _lines() -> Iterator[Line]:
    from benchmarks import fleet
    from benchmarks.cells import LIMITS, LOOP_LIMIT, LOOPS, OF_TORCH, PARALLEL_LIMITS, PROMISED, STRANGER_LIMIT
    from benchmarks.step import CONFIGS, TARGET, TINY

    cells = _read("cells").get("cases", []) or [
        {**case, "name": case["model"]}
        for case in _read("scaling").get("cases", [])
        if (case["device"], case["batch"]) == ("cpu", 32)
    ]
    for name in OF_TORCH:
        for hidden in sorted({case["hidden"] for case in cells if case["name"] == name}):
            own = [each for each in cells if (each["name"], each["hidden"]) == (name, hidden)]
            ratios = [each["ours"] / each["rival's"] for each in own if each["rival"].startswith("nn.")]
            yield Line("a layer / torch.nn's", f"{name}, {hidden} units", ratios, LIMITS[name].get(hidden))
    for name in PROMISED:
        for hidden, limit in PARALLEL_LIMITS.items():
            own = [each for each in cells if (each["name"], each["hidden"]) == (name, hidden)]
            if own:
                ratios = [each["ours"] / each["rival's"] for each in own]
                yield Line("a layer / torch.nn's", f"{name} / nn.GRU, {hidden} units", ratios, limit)
    loops = [each for each in cells if each["rival"] == "its loop"]
    for name in dict.fromkeys(each["name"] for each in loops):
        ratios = [each["ours"] / each["rival's"] for each in loops if each["name"] == name]
        limit = LOOP_LIMIT if name in LOOPS else STRANGER_LIMIT
        yield Line("derived / its loop", f"{name}, 64 units", ratios, limit)
    step = _read("step")
    for name in CONFIGS:
        if name in step:
            sides = step[name]["seconds per step, median"]
            ratio = sides["rnnlab train"]["wall"] / sides["the same network, raw loop"]["wall"]
            promised = None if name == TINY else TARGET
            yield Line("training / a raw loop", f"a step, {name.partition(',')[0]}", [ratio], promised)
    ends = _read("end_to_end")
    for job, rounds in ends.items():
        if isinstance(rounds, list) and job != "verdicts":
            for who in [who for who in rounds[0] if who != "rnnlab"]:
                ratios = [each["rnnlab"]["curve"][-1][0] / each[who]["curve"][-1][0] for each in rounds]
                promised = 1.0 if who == "plain PyTorch loop" else None
                yield Line("a whole training", f"{job.partition(',')[0]} / {who}", [median(ratios)], promised)
    if "airline" in ends:
        taken = {who: median(each["seconds"] for each in runs) for who, runs in ends["airline"].items()}
        yield Line("a whole training", "airline / darts", [taken["rnnlab"] / taken["darts"]])
    labels = {"torch": "one by one, torch's GRU", "own": "one by one", "raw": "raw loop"}
    promises: dict[str, float | None] = {**fleet.PROMISED, "raw": None}
    fleets = _read("fleet").get("cases", [])
    for case in fleets:
        if case["jobs"] == fleet.PROMISED_AT:
            for way, promised in promises.items():
                if way in case["seconds"]:
                    ratio = case["seconds"]["fleet"] / case["seconds"][way]
                    yield Line("64 runs as a fleet", f"{labels[way]}, {case['kind']}", [ratio], promised)
    for case in _read("export").get("cases", []):
        if case["cell"] in ("gru", "lstm"):
            size = f"{case['batch']} × {case['time']}"
            yield Line("an export / torch", f"{case['cell']}, {size}", [case["onnx"] / case["torch"]], 1.0)


def _summary(lines: list[Line]) -> Figure:
    fig = style.figure(
        "Time of rnnlab over a rival's",
        "one dot a measurement (lengths, rounds); the bar: what was promised, red where the worst dot is beyond it; "
        "left of 1 rnnlab is faster",
        width=8.5,
        height=0.235 * len(lines) + 0.28 * len({line.group for line in lines}) + 0.7,
    )
    ax = style.dress(fig.subplots(), "time / rival's time")
    places: list[float] = []
    place, group = 0.0, ""
    low = min(min(*line.ratios, line.promised or 1) for line in lines) * 0.9
    for line in lines:
        if line.group != group:
            group, place = line.group, place + 0.55
            ax.text(low, place, group, size=style.TICK, weight="bold", color=style.INK, va="center")
            place += 1
        places.append(place)
        ax.plot(line.ratios, [place] * len(line.ratios), "o", color=style.BLUE, markersize=5.5, alpha=0.75)
        if line.promised is not None:
            kept = max(line.ratios) <= line.promised
            ax.plot(
                line.promised, place, "|", color=style.GREEN if kept else style.VERMILION, markersize=12,
                markeredgewidth=2.6,
            )  # fmt: skip
        place += 1
    ax.set_yticks(places, [line.label for line in lines])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(place - 0.3, 0)
    ax.set_xscale("log")
    ax.set_xlim(low, None)
    ax.xaxis.set_major_locator(
        matplotlib.ticker.FixedLocator([0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3])
    )
    ax.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    ax.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    ax.axvline(1, color=style.INK, linewidth=1)
    return fig


if __name__ == "__main__":
    main()
