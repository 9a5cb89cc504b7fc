"""The proof of a guess: the data set that the command would make is made, from the same file, by the same classes."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from rnnlab.errors import InputError
from rnnlab.start.description import Description, Examples, Labelled, PlainText, Series, Unclear
from rnnlab.start.sample import WHOLE
from rnnlab.start.wording import counted, refused

ROWS_A_WINDOW = 4
"""A window of a short series is at most this part of it."""
LONG = 20_000
"""Characters of a text of which training takes any."""
FEWEST = 8
"""Steps below which what validation and test leave is nothing to train on, though training might take it."""


def tried(found: Description) -> Description:
    """The same with keys by which training begins, or with what training says against it.

    A file too large to be read whole is left as it is.
    """
    if found.extent.bytes > WHOLE:
        return found
    if isinstance(found, Series):
        return _tried_series(found)
    if isinstance(found, Labelled):
        return _tried_labelled(found)
    if isinstance(found, Examples):
        return _tried_examples(found)
    if isinstance(found, PlainText) and found.characters < LONG:
        return _tried_text(found)
    return found


def _tried_series(found: Series) -> Description:
    complaint = ""
    is_enough = found.lengths[2] >= FEWEST
    for horizon, more in _attempts(found) if is_enough else ():
        complaint_now = _complaint_about_series(found, {**found.keys, **more, "data.horizon": horizon})
        if not complaint_now:
            keys = {**found.keys, **more, "data.horizon": horizon}
            fitting = (
                n for n in (5, 3) if found.folds and not _complaint_about_series(found, {**keys, "data.folds": n})
            )
            folds = next(fitting, 0)
            return replace(found, horizon=horizon, folds=folds, keys={**found.keys, **more})
        complaint = complaint or complaint_now
    question = f"training refuses it: {complaint}"
    if not is_enough:
        question = f"too few to train on, to choose by and to test on: give {FEWEST} {found.step}s at least"
    return Unclear(
        path=found.path, form=found.form, extent=found.extent, columns=found.columns,
        seen=f"{counted(found.lengths[0], f'{found.step}s')} of {', '.join(found.target.columns[:3])}", odd=found.odd,
        questions=(question,),
    )  # fmt: skip


def _attempts(found: Series) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Horizons, and further keys: fewer steps ahead, shorter windows, short series left out."""
    horizons = dict.fromkeys((found.horizon, max(1, found.horizon // 2), 1))
    shortest, median, _ = found.lengths
    if found.number > 1 and shortest * 2 < median:
        yield found.horizon, {}
        yield found.horizon, {"data.short_series": "drop"}
    for horizon in horizons:
        yield horizon, {}
    for horizon in horizons:
        for length in dict.fromkeys((max(2, shortest // ROWS_A_WINDOW), max(2, shortest // 8))):
            yield horizon, {"data.length": length}
    if found.number > 1:
        for horizon in horizons:
            yield horizon, {"data.length": max(2, median // ROWS_A_WINDOW), "data.short_series": "drop"}


def _complaint_about_series(found: Series, keys: Mapping[str, Any]) -> str:
    from rnnlab.data.csv import CSV

    options = {key.removeprefix("data."): value for key, value in keys.items()}
    try:
        CSV(path=str(found.path), **options)
    except InputError as error:
        return str(error)
    return ""


def _tried_text(found: PlainText) -> Description:
    from rnnlab.data.text import Text

    complaint = ""
    for batch_size, length in (None, None), (8, 32), (4, 16), (2, 8):
        more = {"data.batch_size": batch_size, "data.length": length} if batch_size else {}
        keys = {**found.keys, **more}
        try:
            data = Text(path=str(found.path), **{key.removeprefix("data."): value for key, value in keys.items()})
            data.spec  # noqa: B018  shares the text out among the splits
        except InputError as error:
            complaint = complaint or refused(error)
        else:
            return replace(found, keys=keys)
    return Unclear(
        path=found.path, form=found.form, extent=found.extent, odd=found.odd,
        seen=f"{counted(found.characters, 'characters')} of text", questions=(*found.questions, complaint),
    )  # fmt: skip


def _tried_labelled(found: Labelled) -> Description:
    options = {key.removeprefix("data."): value for key, value in found.keys.items()}
    try:
        if found.data == "ucr":
            from rnnlab.data.ucr import UCR

            UCR(path=str(found.path), **options)
        elif found.data == "table":
            from rnnlab.data.table import Table

            Table(path=str(found.path), **options)
        else:
            from rnnlab.data.text_classification import TextClassification

            data = TextClassification(path=str(found.path), **options)
            data.spec  # noqa: B018  shares texts out among the splits
    except InputError as error:
        return Unclear(
            path=found.path, form=found.form, extent=found.extent, columns=found.columns, odd=found.odd,
            seen=f"{counted(sum(found.classes.values()), found.examples)} of {counted(len(found.classes), 'classes')}",
            questions=(refused(error),),
        )  # fmt: skip
    return found


def _tried_examples(found: Examples) -> Description:
    options: dict[str, Any] = {
        key.removeprefix("data."): value for key, value in found.keys.items() if key.startswith("data.")
    }
    path, forecast = str(found.path), None if found.forecast is None else tried(found.forecast)
    try:
        if found.data == "speech":
            from rnnlab.data.speech import Speech

            Speech(path=path, **options).spec  # noqa: B018  reads every sound
        elif found.data == "table":
            from rnnlab.data.table import Table

            Table(path=path, objective="value", **options)
        elif found.data == "pairs":
            from rnnlab.data.pairs import Pairs

            Pairs(path=path, **options).spec  # noqa: B018  shares texts out among the splits
        elif found.data == "captions":
            from rnnlab.data.captions import Captions

            Captions(path=path, **options).spec  # noqa: B018  reads every image
        else:
            from rnnlab.data.frames import Frames

            kind: Any = "next_frames" if found.data == "video" else "class"
            Frames(path=path, predict=kind, **options).spec  # noqa: B018  it is computed to be checked
    except InputError as error:
        if isinstance(forecast, Series):
            return forecast
        return Unclear(
            path=found.path, form=found.form, extent=found.extent, odd=found.odd, seen=found.seen,
            questions=(refused(error),),
        )  # fmt: skip
    return replace(found, forecast=forecast) if isinstance(forecast, Series) else replace(found, forecast=None)
