"""A page for each model: its equations, what it remembers, what it costs, what it scored."""

import inspect
import re
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from pagemaker import cell_pictures, choices, prose, scores
from pagemaker.cell_pictures import FEATURES, UNITS
from rnnlab.cells.cell import Cell
from rnnlab.runs.build import build

WORDS = Path(__file__).resolve().parents[1] / "cells"
"""What somebody wrote for the beginning of a page: when to use the cell, and when another one."""
SIZES = ((1, 8), (2, 8), (3, 8), (1, 12), (4, 16), (5, 20))


def when_to_use(name: str) -> str:
    """What somebody wrote about it in docs/cells; else what its class says of itself."""
    file = WORDS / f"{name}.md"
    if file.is_file():
        return file.read_text(encoding="utf-8").strip()
    path, _, class_name = choices.target("model", name).rpartition(".")
    return prose.read(inspect.getdoc(getattr(import_module(path), class_name)) or "").prose


@cache
def factory(name: str) -> Any:
    """What makes a cell of this model, called with the features of a step and the units."""
    return build(choices.composed(f"model={name}", "data=tokens")["model"]["cell"], "model.cell")


@cache
def make(name: str) -> Cell:
    """A cell as it starts, drawn from seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return factory(name)(FEATURES, UNITS).eval()


def equations(name: str) -> tuple[list[prose.Equation], str]:
    """Those at the top of the cell's file, and what stands there beside them."""
    module = import_module(choices.target("model", name).rpartition(".")[0])
    return prose.equations(inspect.getdoc(module) or "")


def parameters(name: str, features: int, units: int) -> int:
    """Of one layer."""
    with torch.random.fork_rng(devices=[]):
        return sum(parameter.numel() for parameter in factory(name)(features, units).parameters())


def formula(name: str) -> str:
    """The parameters of one layer in F features and H units, found from counts; empty where it is no such sum."""
    try:
        counts = [parameters(name, *size) for size in SIZES]
    except (ValueError, RuntimeError):  # a cell that takes some sizes only
        return ""
    terms = torch.tensor([[f * h, h * h, h, f, f * f, 1] for f, h in SIZES], dtype=torch.float64)
    found = torch.linalg.solve(terms, torch.tensor(counts, dtype=torch.float64)).round().long().tolist()
    # sizes that the coefficients were not found from
    for features, units in ((7, 24), (11, 40)):
        powers = (features * units, units * units, units, features, features**2, 1)
        if sum(c * p for c, p in zip(found, powers, strict=True)) != parameters(name, features, units):
            return ""
    letters = ("FH", "H²", "H", "F", "F²", "")
    written = [
        f"{'' if abs(c) == 1 and letter else abs(c)}{letter}" for c, letter in zip(found, letters, strict=True) if c
    ]
    signs = ["−" if c < 0 else "+" for c in found if c]
    return " ".join(f"{sign} {term}" for sign, term in zip(signs, written, strict=True)).removeprefix("+ ")


def is_parallel(name: str) -> bool:
    """Whether it trains in parallel over time: its file takes a parallel form from our own."""
    module = import_module(choices.target("model", name).rpartition(".")[0])
    return "diagonal_recurrence" in (inspect.getsource(module))


def measured(name: str) -> str:
    """Its rows in the tables of the benchmarks, beside the trivial predictor's."""
    rows = []
    for benchmark, table in scores.results().items():
        for row in table.rows:
            if row[-1] != "ours" or choices.model_of_row(benchmark, row[0]) != name:
                continue
            about = ("n", "parameters", "seconds a run", "source")
            places = [column for column in table.columns[1:] if column not in about]
            cells = table.cells(row)
            trivial = next((table.cells(each) for each in table.rows if each[-1] == "trivial"), {})
            at = places[-1] if len(places) > 1 else ""
            score = choices.benchmarks()[benchmark]["score"].removeprefix("test/").replace("@{at}", "")
            unit = " %" if choices.benchmarks()[benchmark].get("percent") else ""
            rows.append([
                f"[{benchmark}](../benchmarks.md)", row[0], f"{score}{f', {at}' if at else ''}",
                f"**{cells[places[-1]]}**{unit}", f"{trivial.get(places[-1], '')}{unit if trivial else ''}",
                cells["n"], cells["parameters"], cells["seconds a run"],
            ])  # fmt: skip
    if not rows:
        return (
            f"No benchmark has a row of `{name}` yet. `rnnlab train -m model={name},lstm,gru data=adding seed=0,1,2` "
            "compares it on a problem of your choice."
        )
    columns = ["benchmark", "row", "score on the test", "ours", "trivial", "seeds", "parameters", "seconds a run"]
    return scores.markdown(columns, rows)


def cost(name: str) -> str:
    """Its rows in the table of costs, where it has been measured."""
    page = Path(__file__).resolve().parents[1] / "pages" / "cells.md"
    for table in scores.tables(page):
        rows = [row for row in table.rows if row[0].partition(",")[0].strip("`") == name]
        if table.columns[1] == "against" and rows:
            return scores.markdown(["forward and backward", *table.columns[1:]], rows)
    return ""


def time_of(name: str) -> str:
    """Of a pass forward and back, as a multiple of ``nn.GRU``'s; a dash where nobody measured it."""
    measured_there = scores.numbers("costs").get("cells", {})
    return f"{measured_there[name]['ratio']:.2f}" if name in measured_there else "–"


def memory_of(name: str) -> list[str]:
    """Its scores on the diagnostics of memory, a dash each where nobody measured them."""
    found = scores.numbers("memory_scores")
    return [found["shown"].get(name, {}).get(test, "–") for test in found.get("columns", {})]


def overview(text: str) -> str:
    """The page of all cells, with the measured columns in its first table, whose first cells name the models."""
    kept = scores.numbers("memory_scores")
    titles = list(kept.get("columns", {}).values())
    before, table, after = re.split(r"((?:^\|.*\n)+)", text, maxsplit=1, flags=re.MULTILINE)
    heading, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    listed = {row[0].strip("`") for row in rows}
    for name in choices.choices("model"):
        if name not in listed:  # nobody wrote a row for it
            parallel = "yes" if is_parallel(name) else "no"
            rows.append([f"`{name}`", choices.description("model", name), parallel, formula(name) or "–", "–"])
    columns = [*heading, "at F = H = 64", "time / `nn.GRU`", *titles]
    whole = []
    for row in rows:
        name = row[0].strip("`")
        whole.append(
            [f"[`{name}`](cells/{name}.md)", *row[1:], f"{parameters(name, 64, 64):,}", time_of(name), *memory_of(name)]
        )
    if titles:
        whole.append(["trivial predictor", *[""] * (len(heading) + 1), *memory_of("(trivial)")])
    return (
        before + scores.markdown(columns, whole) + "\n" + "".join(f"\n{part}\n" for part in _how_measured(kept)) + after
    )


def _how_measured(kept: dict[str, Any]) -> list[str]:
    costs = scores.numbers("costs")
    parts = []
    if costs:
        parts.append(
            f"Time: one layer of {costs['hidden']} units on as many features, {costs['batch']} sequences of "
            f"{costs['steps']} steps, forward and backward on one CPU thread (`{costs['command']}`, {costs['date']})."
        )
    if kept:
        parts.append(
            f"Scores: {kept['updates']:,} updates, one layer of 64 units, the same settings for all and nothing tuned "
            f"(`{kept['command']}`, {kept['date']}): what is trivial here may be learned with more of them."
        )
        parts.append("![Cells by diagnostics: white is trivial, blue is learned](measured/memory_scores.png)")
    return parts


def options(name: str) -> str:
    """The keys of its cell, with defaults and what they mean."""
    module_path, _, class_name = choices.target("model", name).rpartition(".")
    doc = inspect.getdoc(getattr(import_module(module_path), class_name)) or ""
    described = prose.read(doc).fields
    rows = []
    for key, default, comment in choices.keys("model", name):
        short = key.rpartition(".")[2]
        rows.append([f"`model.{key}`", f"`{default}`", described.get(short) or comment])
    return scores.markdown(["key", "default", "what it is"], rows)


def page(name: str) -> str:
    """The page as Markdown; its pictures lie beside it: see :func:`pictures`."""
    found, text = equations(name)
    path = choices.target("model", name)
    source = Path("src", *path.split(".")[:-1]).with_suffix(".py")
    parts = [f"# {name}", f"{choices.description('model', name)}.", f"```\nrnnlab train model={name}\n```"]
    parts += ["## When to use it", when_to_use(name)]
    parts += ["## One step", prose.table(found)]
    if flow_of(name):
        parts.append(f"![What acts on what within one step of {name}]({name}_flow.png)")
    parts += [text, f"The code reads the same: `{source.as_posix()}`, class `{path.rpartition('.')[2]}`."]
    if has_gates(name):
        parts += ["## Its gates", f"![The gates of {name} along a sequence]({name}_gates.png)"]
        parts.append("`rnnlab inspect RUN` draws the gates of a trained network along sequences of its own data.")
    parts += ["## What it remembers", f"![What {name} remembers at its initial weights]({name}_memory.png)"]
    parts.append(
        "This is where training starts, not where it ends: gates open and close, weights grow and shrink. "
        "`rnnlab train` draws the same for a trained network, `figures/gradient_flow.png`."
    )
    count = parameters(name, 64, 64)
    size = f"**{count:,} parameters** with 64 features and 64 units"
    size += f", {formula(name)} with F features and H units." if formula(name) else "."
    way = (
        "It **trains in parallel over time**: its gates do not see the past."
        if is_parallel(name)
        else "It is computed **step after step**: each needs the state of the one before."
    )
    parts += ["## What it costs", f"One layer has {size} {way}"]
    if time_of(name) != "–":
        costs = scores.numbers("costs")
        parts.append(
            f"A pass forward and back over {costs['steps']} steps takes **{time_of(name)} of `nn.GRU`'s time** with as "
            f"many units ({costs['hidden']} features and units, batch {costs['batch']}, one CPU thread; "
            f"[beside all others](../cells.md#which-there-are))."
        )
    parts.append(cost(name))
    if cost(name):
        parts.append(
            "One layer on one CPU thread, batch 32, as a share of the time of `torch.nn`'s layer of the same size: "
            "[how it was measured](../cells.md#what-they-cost)."
        )
    parts += ["## What it scored", measured(name)]
    if memory_of(name) and "–" not in memory_of(name):
        kept = scores.numbers("memory_scores")
        rows = [[title, kept["shown"][name][test], kept["shown"]["(trivial)"][test]]
                for test, title in kept["columns"].items()]  # fmt: skip
        parts.append(
            f"After {kept['updates']:,} updates on diagnostics of memory, one layer of 64 units, nothing tuned "
            "([beside all others](../cells.md#which-there-are)):"
        )
        parts.append(scores.markdown(["diagnostic", "score on the test", "trivial"], rows))
    parts += [
        "## Its options",
        options(name),
        "The keys of the network around it (`model.hidden_size`, "
        "`model.num_layers`, `model.bidirectional` …) are those of every model: [Cells](../cells.md).",
    ]
    ready = choices.experiments_with("model", name)
    if ready:
        parts.append("Experiments with it: " + ", ".join(f"`rnnlab train experiment={each}`" for each in ready) + ".")
    return "\n\n".join(filter(None, parts)) + "\n"


def has_gates(name: str) -> bool:
    """Whether the cell tells its gates."""
    cell = make(name)
    return bool(cell.gates(torch.zeros(1, FEATURES), cell.initial_state(1)))


@cache
def flow_of(name: str) -> Any:
    """The picture of one step, or nothing."""
    return cell_pictures.flow(equations(name)[0])


def pictures(name: str) -> dict[str, Any]:
    """What draws each picture of the page, by file name."""
    drawn = {f"{name}_memory.png": partial(cell_pictures.memory, name, make)}
    if has_gates(name):
        drawn[f"{name}_gates.png"] = partial(cell_pictures.gates, name, factory(name))
    return drawn | ({f"{name}_flow.png": partial(flow_of, name)} if flow_of(name) else {})
