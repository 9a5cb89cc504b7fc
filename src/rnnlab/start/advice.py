"""A description in ten lines, and the commands to begin with."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnlab.errors import few
from rnnlab.shell import shown_path
from rnnlab.start.description import Description, Examples, Labelled, PlainText, Series, Unclear
from rnnlab.start.names import is_known_ahead
from rnnlab.start.wording import WIDE, columns_in_words, counted, held_out, lengths_in_words, number, sampled

LINES = 10
"""At most so many are printed."""
PLAIN = re.compile(r"[A-Za-z_./~][A-Za-z0-9_./~-]*")
"""A value that Hydra's grammar takes for text as it stands."""
UNBALANCED = 5
"""Classes are far from balanced where the largest has so many times the examples of the smallest."""
COMPARED, WHICH_CELL = ("model=gru,lstm", "seed=0,1,2"), "which cell is better, and by more than chance?"
WORDS = {"true", "false", "null", "nan", "inf", "yes", "no", "on", "off"}
"""Words that it takes for something else."""


@dataclass(frozen=True)
class Command:
    """A command to begin with.

    Attributes:
        words: its arguments, behind ``rnnlab``.
        answers: the question that it answers.
    """

    words: tuple[str, ...]
    answers: str


def override(key: str, value: Any) -> str:
    """``key=value`` in the grammar of overrides; text that would be read as something else is quoted."""
    return f"{key}={_written(value)}"


def _written(value: Any, within: bool = False) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{','.join(_written(each, within=True) for each in value)}]"
    text = str(value)
    if not isinstance(value, str) or (PLAIN.fullmatch(text) and text.lower() not in WORDS):
        return text
    return '"' + re.sub(r'(\\*)("|$)', lambda m: m[1] * 2 + ('\\"' if m[2] else ""), text) + '"'


# ---- commands ------------------------------------------------------------------------------------------


def commands(found: Description) -> list[Command]:
    """One to three, the first one first; none where nothing can be trained as it is."""
    match found:
        case Series():
            made = _of_series(found)
        case Labelled():
            made = _of_labelled(found)
        case Examples():
            made = _of_examples(found)
        case PlainText():
            made = _of_text(found)
        case Unclear():
            made = []
            if not any(str(found.path) in question for question in found.questions):
                return made  # no answer needs the new file
    if found.original is None:
        return made
    words = ("start", shown_path(found.original), "--write", str(found.path))
    return [Command(words, f"writes it as training reads it: {found.why}"), *made[:2]]


def _train(data: str, path: Path, keys: Mapping[str, Any], *more: str, sweep: bool = False) -> tuple[str, ...]:
    chosen = [override(key, value) for key, value in keys.items()]
    return (
        "train",
        *(("-m",) if sweep else ()),
        f"data={data}",
        override("data.path", shown_path(path)),
        *chosen,
        *more,
    )


def _of_series(found: Series) -> list[Command]:
    horizon = {"data.horizon": found.horizon} if found.horizon > 1 else {}
    keys = {**found.keys, **horizon}
    ahead = f"{found.horizon} {found.step}s" if found.horizon > 1 else f"the next {found.step}"
    made = [
        Command(
            _train("csv", found.path, keys),
            f"how well does a GRU forecast {ahead} ahead, beside the last value, the last season and a linear "
            "autoregression?" if found.horizon > 1 else f"how well does a GRU forecast {ahead}, beside the last value "
            "and a linear autoregression?",
        ),
    ]  # fmt: skip
    usable = [name for name in found.others if _usable(found, name)]
    if usable:
        known = {column.name for column in found.columns if is_known_ahead(column)}
        ahead_known = [name for name in usable if name in known][:20]
        past = [name for name in usable if name not in ahead_known][:20]
        lists = {**({"data.known": ahead_known} if ahead_known else {}), **({"data.past": past} if past else {})}
        made.append(Command(_train("csv", found.path, {**keys, **lists}), _helpful(past, ahead_known)))
    if found.folds:
        folds = (f"data.folds={found.folds}", f"data.fold=range({found.folds})")
        made.append(
            Command(
                _train("csv", found.path, keys, *folds, sweep=True),
                f"does it hold over time? A backtest: {found.folds} parts of the test, trained anew before each",
            )
        )
    if len(made) < 3:
        made.append(Command(_train("csv", found.path, keys, *COMPARED, sweep=True), WHICH_CELL))
    return made


def _usable(found: Series, name: str) -> bool:
    column = next(column for column in found.columns if column.name == name)
    told = any(line.startswith(f"{name} ") and "give" in line for line in found.odd)
    return not told and (column.missing == 0 or "data.missing" in found.keys)


def _helpful(past: Sequence[str], ahead: Sequence[str]) -> str:
    parts = [f"knowing {few(past, WIDE)} up to now"] if past else []
    parts += [f"knowing {few(ahead, WIDE)} in advance"] if ahead else []
    return f"does {' and '.join(parts)} help?"


def _of_labelled(found: Labelled) -> list[Command]:
    more = ("recipe=texts", "scheduler=one_cycle") if found.examples == "texts" else ()
    train = _train(found.data, found.path, found.keys, *more)
    simple = "the most frequent class" + (" and naive Bayes" if found.examples == "texts" else "")
    number = len(found.classes)
    made = [
        Command(
            train, f"how many {found.examples} does a GRU put into the right one of {number} classes, beside {simple}?"
        )
    ]
    largest, smallest = max(found.classes.values()), min(found.classes.values())
    if largest >= UNBALANCED * smallest:
        counts = f"{counted(smallest, found.examples)} beside {largest:,}"
        made.append(
            Command(
                (*train, "task.class_weights=balanced"), f"does it learn the rare classes ({counts}) with equal weight?"
            )
        )
    sweep = _train(found.data, found.path, found.keys, *more, *COMPARED, sweep=True)
    return [*made, Command(sweep, WHICH_CELL)][:3]


def _of_examples(found: Examples) -> list[Command]:
    further = [Command(_train(found.data, found.path, {**found.keys, **more}), asks) for more, asks in found.more[:2]]
    made = [Command(_train(found.data, found.path, found.keys), found.asks), *further]
    if found.forecast is not None:
        other = _of_series(found.forecast)[0]
        made.append(Command(other.words, f"or are these series to be forecast: {other.answers}"))
    if found.data == "table":
        made.append(Command(_train(found.data, found.path, found.keys, *COMPARED, sweep=True), WHICH_CELL))
    return made[:3]


def _of_text(found: PlainText) -> list[Command]:
    home = f"outputs/{re.sub(r'[^A-Za-z0-9_-]+', '-', found.path.resolve().stem).strip('-') or 'text'}"
    made = [
        Command(
            _train("text", found.path, found.keys, override("hydra.run.dir", home)),
            "how well does a GRU foretell the next character, beside pairs of characters, gzip and xz?",
        ),
        Command(("generate", home), "what does it write? After the first command"),
    ]
    if found.words >= 20_000:
        made.append(
            Command(
                _train("text", found.path, {**found.keys, "data.unit": "word", "data.min_count": 3}), "and by words?"
            )
        )
    return made


# ---- lines ---------------------------------------------------------------------------------------------


def lines(found: Description) -> list[tuple[str, str]]:
    """What is seen, as labels and texts: at most ten, of which ``odd`` and ``asks`` may be several."""
    about: dict[type, Callable[[Any], Iterable[tuple[str, str]]]] = {
        Series: _about_series, Labelled: _about_labelled, Examples: _about_examples, PlainText: _about_text,
        Unclear: _about_unclear,
    }  # fmt: skip
    made = list(about[type(found)](found))
    if found.original is not None:
        made.insert(1, ("form", found.why))
    extra = [("odd", line) for line in found.odd] + [("asks", line) for line in found.questions]
    room = LINES - len(made)
    if len(extra) > room:
        asked = [line for line in extra if line[0] == "asks"][: max(1, room - 1)]
        extra = [line for line in extra if line[0] == "odd"][: room - len(asked)] + asked
    return [*made, *extra]


def _about_series(found: Series) -> Iterator[tuple[str, str]]:
    many = f"{found.number:,}{'' if found.extent.whole else ' or more'} series" if found.number > 1 else "a series"
    kind = f"{many} of numbers over time" if found.time.columns else f"{many} of numbers, a row a step"
    if len(found.target.columns) > 1:
        kind = f"{len(found.target.columns)} series side by side"
    yield "data", f"{kind}: {_extent(found)}"
    yield "columns", columns_in_words(found.columns)
    time = " and ".join(found.time.columns) or "none"
    span = f"; {found.first} to {found.last}" if found.first and found.time.columns else ""
    yield "time", f"{time}: {found.time.why}{span}"
    yield "target", f"{few(found.target.columns, WIDE)}: {found.target.why}"
    if found.series.columns:
        shortest, median, longest = found.lengths
        long = (
            f"{counted(longest, 'rows')} each"
            if shortest == longest
            else f"{shortest:,} to {longest:,} rows, {median:,} in the middle"
        )
        long = f"; {long}" if found.extent.whole else ""  # of which others are not counted whole
        yield "series", f"{found.series.columns[0]}: {found.series.why}{long}"
    if found.time.columns:
        gaps = "no gaps" if not found.gaps else f"{counted(found.gaps, 'steps', 'are')} left out"
        handled = {
            "fill": ", filled in as missing (data.gaps=fill)",
            "ignore": ": each row is a step (data.gaps=ignore)",
        }
        step = f"{found.step_size}; {gaps}{handled.get(str(found.keys.get('data.gaps')), '')}"
        if found.keys.get("data.gaps") == "elapsed":
            step = "irregular: each row is a step, with the time since the one before (data.gaps=elapsed)"
        yield "step", step
    yield "rhythm", f"{_seasons(found)}; {_trend(found)}"


def _seasons(found: Series) -> str:
    if not found.seasons:
        return "no season seen"
    parts = [f"{season.period} {found.step}s ({season.strength:.0%})" for season in found.seasons[:3]]
    return f"season of {' and of '.join(parts)}, in shares of what the trend leaves"


def _trend(found: Series) -> str:
    if found.trend is None:
        return "no trend to speak of"
    start, end = found.trend.first, found.trend.last
    return f"trend {'up' if end > start else 'down'}, from about {number(start)} to {number(end)}"


def _about_labelled(found: Labelled) -> Iterator[tuple[str, str]]:
    total = sum(found.classes.values())
    many = f"{total:,} " if found.data == "table" and found.extent.whole else ""
    sample = sampled(found.extent, total, found.examples)
    rows = "rows" if found.data == "table" else found.examples
    yield "data", f"{many}{found.examples} with a class each: {_extent(found, rows)}"
    if found.columns:
        yield "columns", columns_in_words(found.columns)
    if found.text.columns:
        yield "text", f"{found.text.columns[0]}: {found.text.why}"
    if found.label.why:
        name = found.label.columns[0] if found.label.columns else found.form.removeprefix("a folder with ")
        yield "class", f"{name}: {found.label.why}"
    yield "classes", _classes(found) + sample
    yield "length", lengths_in_words(found.lengths, found.unit, found.channels) + sample
    if found.examples == "sequences":
        yield (
            "test",
            f"{counted(found.tested, 'sequences')} in a test file of their own" if found.tested else _held_out(found),
        )


def _held_out(found: Labelled) -> str:
    if found.data != "table":
        return "no file NAME_TEST.ts: a tenth of the sequences is held out"
    return held_out(found.keys)


def _classes(found: Labelled) -> str:
    total, number = sum(found.classes.values()), len(found.classes)
    shown = ", ".join(f"{name} {count / total:.0%}" for name, count in list(found.classes.items())[:5])
    largest, smallest = max(found.classes.values()), min(found.classes.values())
    balance = (
        "about as many of each"
        if largest <= 1.5 * smallest
        else f"{largest:,} of the largest, {smallest:,} of the smallest"
    )
    return f"{number}: {shown}{', …' if number > 5 else ''}; {balance}"


def _about_examples(found: Examples) -> Iterator[tuple[str, str]]:
    yield "data", f"{found.seen}: {found.form}, {_size(found.extent.bytes)}"
    yield from found.facts


def _about_text(found: PlainText) -> Iterator[tuple[str, str]]:
    several = f" in {found.files:,} files" if found.files > 1 else ""
    yield "data", f"a text to learn to write{several}: {_size(found.extent.bytes)}"
    about = "" if found.extent.whole else "about "
    counts = ", ".join(
        counted(many, of)
        for many, of in ((found.characters, "characters"), (found.words, "words"), (found.extent.rows, "lines"))
    )
    yield "text", f"{about}{counts}; {found.distinct:,} different characters"
    yield "begins", f"“{found.sample}…”"


def _about_unclear(found: Unclear) -> Iterator[tuple[str, str]]:
    yield "data", f"{found.seen}: {_extent(found)}"
    if found.columns:
        yield "columns", columns_in_words(found.columns)


def _extent(found: Description, rows: str = "") -> str:
    about = "" if found.extent.whole else "about "
    part = "" if found.extent.whole else "; read in parts"
    number = counted(found.extent.rows, rows or found.extent.unit)
    return f"{about}{number}, {found.form}, {_size(found.extent.bytes)}{part}"


def _size(size: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
