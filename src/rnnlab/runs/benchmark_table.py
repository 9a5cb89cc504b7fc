"""A benchmark's results as a table of text, and as a page."""

import math
import statistics
from collections.abc import Sequence

from rnnlab.runs.benchmark import Cell, Result
from rnnlab.runs.benchmark_file import Benchmark


def table(result: Result) -> tuple[list[str], list[list[str]]]:
    """The comparison as text: a heading, and rows of ours, of trivial predictors and of others."""
    benchmark, places = result.benchmark, result.places
    unit = " (%)" if benchmark.percent else ""
    columns = [
        f"{benchmark.score}{unit}" if place is None or benchmark.along is None else f"{benchmark.along.label}={place}"
        for place in places
    ]
    along = benchmark.along
    averaged = along is not None and along.mean and set(places) == set(along.values)
    heading = ["", *columns, *(["mean"] if averaged else []), "n", "parameters", "seconds a run", "source"]
    rows = []
    for row in result.rows:
        cells = [next((c for c in result.cells if (c.row, c.at) == (row, place)), None) for place in places]
        there = [cell for cell in cells if cell is not None]
        rows.append(
            [
                row,
                *("" if cell is None else _spread(benchmark, cell) for cell in cells),
                *([_shown(benchmark, result.mean(row))] if averaged else []),
                _counts(benchmark, there),
                f"{int(there[0].metrics[0].get('parameters', 0)):,}",
                f"{statistics.fmean(cell.mean('seconds') for cell in there):.0f}",
                "ours, averaged" if row in benchmark.ensembles else "ours",
            ]
        )
    trivial = [result.baselines(place) for place in places]
    for name in benchmark.baseline:
        if any(name in each for each in trivial):
            of_places = [each.get(name) for each in trivial]
            rows += [_other(benchmark, name, of_places, averaged, "trivial")]
    for name in dict.fromkeys(cell.row for cell in result.rivals):
        there = [cell for cell in result.rivals if cell.row == name]
        found = {cell.at: cell.mean(benchmark.scores(cell.at)) for cell in there}
        drawn = [cell for cell in there if cell.deviation(benchmark.scores(cell.at)) > 0]
        # of one that draws nothing all seeds are the same
        number = _counts(benchmark, there) if drawn or len(there[0].metrics) == 1 else ""
        shown = _other(benchmark, name, [found.get(place) for place in places], averaged, "run here", number)
        for cell in there:
            if cell in drawn:
                shown[1 + places.index(cell.at)] = _spread(benchmark, cell)
        rows.append(shown)
    for published in benchmark.published:
        values: list[float | None] = [None for _ in places]
        name = published.name
        if published.at in places:
            values[places.index(published.at)] = published.value
        else:
            # it belongs into none of the columns
            where = "" if benchmark.along is None else f" at {benchmark.along.label}={published.at}"
            name = f"{name}{where}: {benchmark.shown(published.value)}"
        rows.append(_other(benchmark, name, values, averaged, published.source))
    unit_of = 100.0 if benchmark.percent else 1.0
    for published_table in benchmark.tables:
        for name, numbers in published_table.values.items():
            values = [numbers[place] / unit_of if place in numbers else None for place in places if place is not None]
            if any(value is not None for value in values):
                rows.append(_other(benchmark, name, values, averaged, published_table.source))
    return heading, rows


def _other(
    benchmark: Benchmark,
    name: str,
    values: Sequence[float | None],
    averaged: bool,
    source: str,
    number: str = "",
) -> list[str]:
    """A row of somebody else's numbers, one a place."""
    known = [value for value in values if value is not None]
    mean = statistics.fmean(known) if known and len(known) == len(values) else math.nan
    shown = ["" if value is None else benchmark.shown(value) for value in values]
    return [name, *shown, *([_shown(benchmark, mean)] if averaged else []), number, "", "", source]


def _counts(benchmark: Benchmark, cells: Sequence[Cell]) -> str:
    """How many seeds stand behind the numbers of a row: ``1–5`` where not all have as many."""
    return "–".join(str(count) for count in sorted({len(cell.values(benchmark.scores(cell.at))) for cell in cells}))


def _shown(benchmark: Benchmark, value: float) -> str:
    return "" if math.isnan(value) else benchmark.shown(value)


def _spread(benchmark: Benchmark, cell: Cell) -> str:
    score = benchmark.scores(cell.at)
    mean, deviation = cell.mean(score), cell.deviation(score)
    if math.isnan(deviation):
        return benchmark.shown(mean)
    return f"{benchmark.shown(mean)} ± {benchmark.shown(deviation) if benchmark.percent else f'{deviation:.2g}'}"


def markdown(result: Result, description: str, command: str, machine: str) -> str:
    """The table as a document that says what it is."""
    heading, rows = table(result)
    score = result.benchmark.score.replace("{at}", "…")
    lines = [
        f"# {description}",
        "",
        f"`{command}`: test score `{score}`, mean ± standard deviation over n seeds.",
        "",
        "| " + " | ".join(heading) + " |",
        "|" + " --- |" * len(heading),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
    ]
    if result.verdict():
        lines += [f"Target: {result.verdict()}.", ""]
    for line in (result.rank(), result.order()):
        lines += [f"{line[:1].upper()}{line[1:]}.", ""] if line else []
    lines += [f"Tuned: {result.benchmark.tuned}", "", machine, ""]
    return "\n".join(lines)
