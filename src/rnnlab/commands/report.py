"""``rnnlab report DIR…``: runs and sweeps compared."""

import math
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from rnnlab.commands.arguments import guarded, parser, shown_path
from rnnlab.instruments.console import console
from rnnlab.runs.report import common_overrides, find_runs, rank, rows, write_leaderboard


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    options = parser("report", "Compares runs: grouped by everything but the seed, ranked on validation.")
    options.add_argument("directories", metavar="DIR", nargs="+", help="runs, sweeps, or directories that hold them")
    given = options.parse_args(arguments)

    def action() -> int:
        print_leaderboard(given.directories)
        return 0

    return guarded(action)


def print_leaderboard(places: Sequence[str | Path]) -> int:
    """Prints the leaderboard and writes it as ``leaderboard.csv`` into the first place.

    Returns:
        1 if a run failed, else 0.
    """
    records = find_runs(places)
    out = console()
    table = rows(rank(records))
    if table:
        shown = Table(
            title=" ".join(["Leaderboard", *(f"({each})" for each in common_overrides(records) if len(table) > 1)]),
            title_justify="left",
            title_style="bold",
            show_edge=False,
            pad_edge=False,
        )
        shown.add_column("#", justify="right")
        shown.add_column("overrides")
        shown.add_column("n", justify="right")
        shown.add_column(f"{table[0]['monitor']} (mean ± std)", justify="right")
        shown.add_column("test", justify="right")
        shown.add_column("baseline", justify="right")
        shown.add_column("parameters", justify="right")
        shown.add_column("seconds", justify="right")
        for row in table:
            spread = "" if math.isnan(row["std"]) else f" ± {row['std']:.2g}"
            shown.add_row(
                str(row["rank"]),
                row["group"],
                str(row["n"]),
                f"{row['mean']:.4g}{spread}",
                f"{row['test']:.4g}",
                f"{row['baseline']:.4g}",
                f"{row['parameters']:,}",
                f"{row['seconds']:.1f}",
            )
        out.print(shown)
        path = Path(places[0]) / "leaderboard.csv"
        write_leaderboard(path, table)
        out.print(f"written to {shown_path(path)}")
    states = {
        state: sum(record.state == state for record in records) for state in dict.fromkeys(r.state for r in records)
    }
    out.print(", ".join(f"{number} {state}" for state, number in states.items()))
    for record in records:
        if record.state == "failed":
            out.print(f"[red]failed[/] {shown_path(record.path)}: {record.reason}  (log: train.log)")
    return 1 if states.get("failed") else 0
