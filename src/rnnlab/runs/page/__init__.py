"""``report.html``: one file that holds all it shows, its style and its script, and asks no network."""

import base64
import datetime
import hashlib
import html
import json
import math
import os
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from rnnlab import __version__
from rnnlab.errors import InputError
from rnnlab.runs.comparison import Board, Group, command, common_overrides, shown
from rnnlab.runs.page.plain import tables
from rnnlab.runs.records import Found, RunRecord
from rnnlab.shell import pasted
from rnnlab.store.ledger import Facts
from rnnlab.store.verdict import Judgement

HERE = Path(__file__).parent
NUMBERS_OF_CURVES = 300_000
"""About 2 MB of text; more epochs, groups or scores than fit are averaged or left out, and the page says so."""
FEWEST_POINTS, MOST_POINTS = 24, 160
NO_SCORE = ("epoch", "step")
ENDED = ("done", "pruned", "failed", "interrupted")


def render(boards: Sequence[Board], found: Found, home: Path, title: str, studies: Collection[str] = ()) -> str:
    """The whole page.

    Whatever a run's files say is data to the page: it stands in a JSON block
    that cannot be left by ``</script>``, reaches the document as text alone, and
    a content security policy lets only the page's own script run.

    Args:
        boards: what is compared.
        found: all runs, and what could not be read.
        home: the directory that the page will lie in; links to runs are relative to it.
        title: names what is compared.
        studies: storages of Optuna's that may be opened although they lie outside of their sweep.
    """
    scales, drawing, style = (
        (HERE / name).read_text(encoding="utf-8") for name in ("scales.js", "page.js", "page.css")
    )
    script = scales + drawing
    told = payload(boards, found, home, title, studies)
    data = json.dumps(told, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        data = data.replace(character, f"\\u{ord(character):04x}")
    policy = (
        f"default-src 'none'; script-src 'sha256-{_digest(script)}'; style-src 'sha256-{_digest(style)}'; "
        "img-src 'self' file: data:; base-uri 'none'; form-action 'none'"
    )
    page = (HERE / "page.html").read_text(encoding="utf-8")
    parts = {"title": html.escape(title), "policy": policy, "style": style, "data": data, "script": script}
    for name in ("title", "policy", "style"):
        page = page.replace(f"{{{{{name}}}}}", parts[name])
    # cut and joined, not replaced: what a run is called may look like a place in the template; for five places jinja2
    # would be a dependency to import
    before, rest = page.split("{{plain}}")
    middle, after = rest.split("{{data}}")
    plain = f"<h1>{html.escape(title)}</h1>" + tables(boards, told["failures"], lambda path: _href(path, home))
    return before + plain + middle + parts["data"] + after.replace("{{script}}", parts["script"])


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def payload(
    boards: Sequence[Board], found: Found, home: Path, title: str, studies: Collection[str] = ()
) -> dict[str, Any]:
    """What the page's script reads: plain lists and numbers, null for what there is none of."""
    shared = sum(len(board.groups) for board in boards)
    return {
        "title": title,
        "made": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "version": __version__,
        "states": dict(Counter(record.state for record in found.records)),
        "logdir": ".",
        "boards": [_board(board, home, shared) for board in boards],
        "failures": [_failure(record, home) for record in found.records if record.state in ("failed", "interrupted")],
        "pending": [_pending(record, home) for record in found.records if record.state not in ENDED],
        "damage": [*found.left_out, *(line for record in found.records for line in record.damage)],
        "searches": [each for path, told in found.sweeps if (each := _search(path, told, boards, home, studies))],
        "provenance": _provenance(found, home),
    }  # fmt: skip


def _board(board: Board, home: Path, shared: int) -> dict[str, Any]:
    records = list(board.records)
    scores, points = _curve_budget(records, board, shared)
    metrics = list(dict.fromkeys(name for record in records for name in record.metrics))
    return {
        "data": board.data,
        "task": board.task,
        "monitor": board.monitor,
        "mode": board.mode,
        "test": board.test,
        "baseline": board.baseline,
        "trivial": board.baseline_name,
        "parameters": board.parameters,
        "common": common_overrides(records),
        "metrics": metrics,
        "curves": scores,
        "groups": [_group(group, board, home, metrics, scores, points) for group in board.groups],
        "comparisons": [
            [each.n, each.wins, *map(_digits, (each.difference, each.low, each.high, each.p, adjusted))]
            for each, adjusted in zip(board.comparisons, board.adjusted, strict=True)
        ],
        "undecided": board.undecided,
        "warning": board.warning,
        "averaged": max(1, math.ceil(max((len(r.epochs.get("epoch", ())) for r in records), default=1) / points)),
        "omitted": sorted(_curve_names(records) - set(scores)),
    }


def _group(
    group: Group, board: Board, home: Path, metrics: Sequence[str], scores: Sequence[str], points: int
) -> dict[str, Any]:
    best = group.best_run
    score, test = group.score, group.estimate(board.test)
    example = best or group.runs[0]
    return {
        "name": group.name,
        "values": [value if type(value) in (int, float) else shown(value) for value in group.parameters.values()],
        "rank": group.rank,
        "n": score.n,
        "score": [_digits(each, 7) for each in (score.mean, score.std, score.low, score.high)],
        "test": [_digits(each, 7) for each in (test.mean, test.std, test.low, test.high)],
        "baseline": _digits(group.estimate(board.baseline).mean, 7),
        "verdict": group.verdict,
        "judged": _verdict(best) if best else None,
        "size": best.metrics.get("parameters") if best else None,
        "seconds": _digits(group.estimate("seconds").mean),
        "states": dict(group.states),
        "repeats": group.repeats,
        "command": command(example, folds=group.folds).rpartition("seed=")[0],
        "best": best.seed if best else None,
        "figures": [
            _href(best.path, home) + quote(figure) for figure in best.status.figures[:12]
        ] if best else [],
        "runs": [
            {"path": _name(run.path, home), "href": _href(run.path, home), "seed": run.seed, "state": run.state,
             "epoch": _last_epoch(run), "far": None if run.state == "done" else _digits(run.so_far),
             "counted": run in group.counted, "metrics": [_digits(run.metrics.get(name)) for name in metrics]}
            for run in sorted(group.runs, key=lambda run: run.seed)
        ],
        "curves": [_curve(group, name, points) for name in scores],
    }  # fmt: skip


def _verdict(run: RunRecord) -> dict[str, Any] | None:
    """What a run is worth, and the commands to try next."""
    told = run.status.verdict
    if told is None:
        return None
    commands = []
    for advice in told.next:
        verb, *arguments = advice.words
        about = [] if verb == "train" else [str(run.path)]
        commands.append([advice.answers, _line(["rnnlab", verb, *about, *arguments])])
    good = told.state in (Judgement.BETTER, Judgement.NONE)
    return {"state": told.state.words, "good": good, "text": told.text, "seen": list(told.seen), "next": commands}


# ---- learning curves -----------------------------------------------------------------------------


def _curve_names(records: Iterable[RunRecord]) -> set[str]:
    return {name for record in records for name in record.epochs if name not in NO_SCORE}


def _curve_budget(records: Sequence[RunRecord], board: Board, shared: int) -> tuple[list[str], int]:
    """Which columns of ``metrics.csv`` are drawn, the monitored first, and by how many points each."""
    first = [board.monitor, board.monitor.replace("val/", "train/", 1)]
    there = _curve_names(records)
    names = [name for name in dict.fromkeys([*first, *sorted(there)]) if name in there]
    most = max(1, NUMBERS_OF_CURVES // (4 * FEWEST_POINTS * max(1, shared)))
    names = names[:most]
    points = NUMBERS_OF_CURVES // (4 * max(1, shared) * max(1, len(names)))
    return names, min(MOST_POINTS, max(FEWEST_POINTS, points))


def _curve(group: Group, name: str, points: int) -> list[list[float | None]] | None:
    """Epochs, mean, lowest, highest and number of seeds, over the group's runs, each a list of at most ``points``."""
    runs = [run.epochs for run in group.runs if name in run.epochs and np.isfinite(run.epochs[name]).any()]
    if not runs:
        return None
    epochs = np.unique(np.concatenate([run["epoch"] for run in runs]))
    table = np.full((len(runs), len(epochs)), np.nan)
    for row, run in zip(table, runs, strict=True):
        row[np.searchsorted(epochs, run["epoch"])] = np.where(np.isfinite(run[name]), run[name], np.nan)
    there = np.isfinite(table)
    keep = there.any(0)
    table, epochs, count = table[:, keep], epochs[keep], there[:, keep].sum(0)
    mean, low, high = np.nansum(table, 0) / count, np.nanmin(table, 0), np.nanmax(table, 0)
    if len(epochs) > points:
        starts = np.unique(np.linspace(0, len(epochs), points, endpoint=False).astype(int))
        sizes = np.diff([*starts, len(epochs)])
        mean = np.add.reduceat(mean, starts) / sizes
        low, high = np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
        count, epochs = np.minimum.reduceat(count, starts), epochs[starts + sizes - 1]
    return [
        [int(epoch) for epoch in epochs],
        *([_digits(float(value), 4) for value in column] for column in (mean, low, high)),
        [] if (count == count[0]).all() else [int(each) for each in count],
    ]


# ---- searches ------------------------------------------------------------------------------------


def _search(
    path: Path, told: Facts, boards: Sequence[Board], home: Path, studies: Collection[str]
) -> dict[str, Any] | None:
    """What Optuna draws of a search's study; a line where it cannot."""
    search = told.get("search", {})
    if "study" not in search:
        return None
    from rnnlab.search.figures import draw

    place = str(search.get("storage") or path / "search.db")
    shown: dict[str, Any] = {"path": _name(path, home), "study": str(search["study"]), "trials": {}, "figures": []}
    inside = Path(place).is_absolute() and Path(place).resolve().is_relative_to(path.resolve())
    if place not in studies and not inside:
        # anybody may have written this place down, and opening it may change a file or reach another machine
        return shown | {"said": f"The study is kept elsewhere: {pasted('report', path, '--study', place)} draws it"}
    try:
        return shown | draw(place, str(search["study"]), boards[0].monitor if boards else "score")
    except InputError as error:
        return shown | {"said": str(error)}


# ---- failures and provenance ---------------------------------------------------------------------


def _failure(record: RunRecord, home: Path) -> dict[str, Any]:
    log = record.path / "train.log"
    return {
        "path": _name(record.path, home),
        "href": _href(record.path, home),
        "state": record.state,
        "reason": record.reason
        or ("no word: its process is gone" if record.state == "interrupted" else "no reason kept"),
        "log": _name(log, home),
        "epoch": _last_epoch(record),
    }


def _pending(record: RunRecord, home: Path) -> dict[str, Any]:
    return {
        "path": _name(record.path, home),
        "href": _href(record.path, home),
        "state": record.state,
        "host": record.status.host or "",
        "epoch": _last_epoch(record),
        "score": _digits(record.so_far),
    }


def _provenance(found: Found, home: Path) -> dict[str, Any]:
    def count(values: Iterable[str]) -> list[list[Any]]:
        return [[value, number] for value, number in Counter(value for value in values if value).most_common(12)]

    records = [record.status for record in found.records]
    times = sorted(status.started for status in records if status.started)
    ends = sorted(status.finished for status in records if status.finished)
    versions = [status.versions for status in records]
    # a run of a sweep tells the sweep's command, too: once is enough
    alone = [] if found.sweeps else dict.fromkeys(_line(status.command) for status in records)
    return {
        "sweeps": [
            [_name(path, home), _line(told.get("command", ())), told.get("created", "")] for path, told in found.sweeps
        ],
        "commands": [line for line in alone if line][:50],
        "commits": count(_commit(status.git) for status in records),
        "versions": {
            name: count(str(version[name]) for version in versions if name in version)
            for name in dict.fromkeys(name for version in versions for name in version)
        },
        "devices": count(status.device or "" for status in records),
        "hosts": count(status.host or "" for status in records),
        "platforms": count(status.platform or "" for status in records),
        "span": [times[0] if times else None, ends[-1] if ends else None],
        "seconds": _digits(sum(record.metrics.get("seconds_total", 0.0) for record in found.records)),
    }


def _commit(git: Any) -> str:
    if not isinstance(git, dict) or not git.get("commit"):
        return ""
    return f"{str(git['commit'])[:12]}{' with uncommitted changes' if git.get('dirty') else ''}"


def _line(words: Sequence[str]) -> str:
    return shlex.join(words)


# ---- small things --------------------------------------------------------------------------------


def _last_epoch(record: RunRecord) -> int | None:
    column = record.epochs.get("epoch")
    return int(column[-1]) if column is not None and len(column) else None


def _digits(value: float | None, digits: int = 6) -> float | None:
    """Rounded to what a reader may want, since a page of a thousand runs is mostly digits."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{digits}g}")


def _name(path: Path, home: Path) -> str:
    return os.path.relpath(path, home)


def _href(path: Path, home: Path) -> str:
    # ./ keeps a directory called "javascript:…" a directory
    return "./" + quote(os.path.relpath(path, home).replace(os.sep, "/")) + "/"
