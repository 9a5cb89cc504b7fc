"""Measured scores, as the tables of ``benchmarks/results`` have them."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "experiments"


@dataclass(frozen=True)
class Table:
    """A table of Markdown: its title, the names of its columns, its rows by their first cell."""

    title: str
    columns: list[str]
    rows: list[list[str]]

    def cells(self, row: list[str]) -> dict[str, str]:
        """A row by the names of its columns."""
        return dict(zip(self.columns, row, strict=True))


@cache
def tables(file: Path) -> list[Table]:
    """The tables of a file, each under the heading before it."""
    found: list[Table] = []
    title, lines = "", []
    for line in [*file.read_text(encoding="utf-8").splitlines(), ""]:
        if line.startswith("#"):
            title = line.lstrip("# ")
        if line.startswith("|"):
            lines.append([cell.strip() for cell in line.strip("|").split("|")])
        elif lines:
            found.append(Table(title, lines[0], [row for row in lines[2:] if len(row) == len(lines[0])]))
            lines = []
    return found


@cache
def results() -> dict[str, Table]:
    """The measured table of each benchmark that was run, by name."""
    return {file.stem: tables(file)[0] for file in sorted(RESULTS.glob("*.md")) if tables(file)}


@cache
def numbers(benchmark: str) -> dict[str, Any]:
    """What ``python -m benchmarks NAME`` kept; empty where it was never run."""
    file = RESULTS.parent / f"{benchmark}.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return found


def markdown(columns: list[str], rows: list[list[str]]) -> str:
    """A table of Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
