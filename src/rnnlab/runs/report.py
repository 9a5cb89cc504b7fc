"""The leaderboard as a table of numbers: ``leaderboard.csv``, and what a terminal shows of it."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rnnlab.errors import visible
from rnnlab.runs.comparison import Board, command, shown
from rnnlab.store.files import replace

BEFORE = ("data", "task", "rank", "group")
AFTER = (
    "n", "failed", "monitor", "mean", "std", "ci_low", "ci_high", "test", "test_std", "baseline", "baseline_name",
    "verdict", "p_holm", "parameters", "seconds", "best_run", "command",
)  # fmt: skip


def rows(board: Board) -> list[dict[str, Any]]:
    """A row a group, the best first; groups without a finished run come last and have no rank.

    ``p_holm`` is of the difference from the best group, and empty for that group itself.
    """
    table = []
    p = dict(zip(range(2, len(board.adjusted) + 2), board.adjusted, strict=True))
    for group in board.groups:
        best = group.best_run
        test = group.estimate(board.test)
        table.append(
            {
                "data": board.data,
                "task": board.task,
                "rank": group.rank or "",
                "group": group.name,
                **{key: shown(value) for key, value in group.parameters.items()},
                "n": group.score.n,
                "failed": group.states["failed"],
                "monitor": board.monitor,
                "mean": group.score.mean,
                "std": group.score.std,
                "ci_low": group.score.low,
                "ci_high": group.score.high,
                "test": test.mean,
                "test_std": test.std,
                "baseline": group.estimate(board.baseline).mean,
                "baseline_name": board.baseline_name,
                "verdict": group.verdict,
                "p_holm": p.get(group.rank or 0, math.nan),
                "parameters": int(best.metrics["parameters"]) if best and "parameters" in best.metrics else "",
                "seconds": group.estimate("seconds").mean,
                "best_run": str(best.path) if best else "",
                "command": command(best) if best else "",
            }
        )
    return table


def write_leaderboard(path: Path, boards: Iterable[Board]) -> None:
    """Writes ``leaderboard.csv`` whole; a number that there is none of is an empty cell."""
    tables = [rows(board) for board in boards]
    keys: Sequence[str] = list(
        dict.fromkeys(key for table in tables for row in table for key in row if key not in (*BEFORE, *AFTER))
    )
    text = io.StringIO()
    writer = csv.DictWriter(text, [*BEFORE, *keys, *AFTER], restval="", lineterminator="\n")
    writer.writerow({key: _cell(key) for key in (*BEFORE, *keys, *AFTER)})
    for table in tables:
        for row in table:
            writer.writerow({key: _cell(value) for key, value in row.items()})
    replace(path, text.getvalue())


def _cell(value: Any) -> Any:
    """A cell that a spreadsheet shows and doesn't compute: a text that it would take for a formula gets a ``'``."""
    if isinstance(value, float) and math.isnan(value):
        return ""
    if isinstance(value, str):
        value = visible(value)
    if isinstance(value, str) and value.lstrip()[:1] in ("=", "+", "-", "@"):
        try:
            float(value)
        except ValueError:
            return f"'{value}"
    return value
