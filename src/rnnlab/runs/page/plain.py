"""The report as plain tables: what the page shows where its script may not run, such as in a mail's preview."""

import html
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rnnlab.runs.comparison import Board
from rnnlab.runs.report import rows

MOST_ROWS = 500
"""Of a table; ``leaderboard.csv`` has all."""


def tables(boards: Sequence[Board], failures: Sequence[dict[str, Any]], href: Callable[[Path], str]) -> str:
    """The leaderboard of each board and the failures, as HTML; every text of a run is escaped.

    Args:
        boards: what is compared.
        failures: as the page's script gets them.
        href: where the page finds the directory of a run.
    """
    parts = [
        "<p class=card>These are the page's tables. Its curves and pictures, and a table that can be sorted, take the "
        "script that it brings along.</p>",
        *(_board(board, href) for board in boards),
    ]
    if failures:
        cells = [[each["path"], each["state"], each["reason"], each["log"]] for each in failures]
        parts.append(_card("Failed or stopped", "", _table(["run", "state", "reason", "log"], cells)))
    return "".join(parts)


def _board(board: Board, href: Callable[[Path], str]) -> str:
    baseline = f"baseline ({board.baseline_name})" if board.baseline_name else "baseline"
    names = ["#", "configuration", "n", f"{board.monitor} ± std", "95 % interval", "test", baseline, "verdict",
             "parameters", "seconds"]  # fmt: skip
    cells, links = [], []
    for row, group in zip(rows(board)[:MOST_ROWS], board.groups, strict=False):
        several = group.n > 1
        mean = _number(row["mean"])
        cells.append([
            str(row["rank"]),
            str(row["group"]),
            str(row["n"]) + (f", {row['failed']} failed" if row["failed"] else ""),
            f"{mean} ± {_number(row['std'], 2)}" if several else mean,
            f"{_number(row['ci_low'])} – {_number(row['ci_high'])}" if several else "one seed" * bool(group.n),
            _number(row["test"]),
            _number(row["baseline"]),
            str(row["verdict"] or ""),
            f"{row['parameters']:,}" if row["parameters"] != "" else "",
            _number(row["seconds"]),
        ])  # fmt: skip
        links.append(href(group.best_run.path) if group.best_run is not None else "")
    told = board.groups[0].best_run.status.verdict if board.groups and board.groups[0].best_run else None
    lines = [board.warning, f"The best of it is {told.text}" if told is not None else ""]
    if len(board.groups) > MOST_ROWS:
        lines.append(f"… and {len(board.groups) - MOST_ROWS} more, which are in leaderboard.csv")
    title = f"{board.data}, {board.task}: by {board.monitor} on validation"
    return _card(title, " ".join(filter(None, lines)), _table(names, cells, links))


def _card(title: str, text: str, table: str) -> str:
    said = f"<p>{html.escape(text)}</p>" if text else ""
    return f"<section class=card><h2>{html.escape(title)}</h2>{said}<div class=scroll>{table}</div></section>"


def _table(names: Sequence[str], cells: Sequence[Sequence[str]], links: Sequence[str] = ()) -> str:
    """A table whose second column leads to where a row's link does."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = []
    for number, row in enumerate(cells):
        shown = [html.escape(cell) for cell in row]
        if number < len(links) and links[number]:
            shown[1] = f'<a href="{html.escape(links[number], quote=True)}">{shown[1]}</a>'
        wide = " class=wrap"
        tags = (f"<td{wide if column == 1 else ''}>{cell}</td>" for column, cell in enumerate(shown))
        body.append(f"<tr>{''.join(tags)}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _number(value: Any, digits: int = 4) -> str:
    return f"{value:.{digits}g}" if isinstance(value, (int, float)) and math.isfinite(value) else ""
