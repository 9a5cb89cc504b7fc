"""Tables whose rows have no order: texts with a class each, and others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from rnnlab.start.columns import words_of
from rnnlab.start.description import Choice, Examples, Labelled, Unclear
from rnnlab.start.names import (
    CLASSES,
    TEXTS,
    lower,
    rank,
)
from rnnlab.start.pairs import described
from rnnlab.start.rhythm import neighbours_alike
from rnnlab.start.seen import Seen
from rnnlab.start.wording import counted

IN_ORDER = 0.5
"""The correlation of neighbours, of the middle column, from which rows are taken for steps where nothing says so."""
TIME = "and data.time=COLUMN, where a column has the times"
MOST_CLASSES = 200


def labelled_texts(table: Seen) -> Labelled | Examples | Unclear | None:
    """Texts and their classes, where a column of text stands beside one of few words."""
    texts = table.profile.named("text") or [
        name
        for name in table.profile.named("name")
        if lower(name) in TEXTS and table.column(name).distinct > MOST_CLASSES
    ]
    texts = texts or _repeated_texts(table)
    if not texts:
        return None
    text = min(texts, key=lambda name: (rank(name, TEXTS), -table.column(name).words))
    if table.profile.dates and table.column(text).words < 3 and table.profile.named("number", "whole"):
        return None  # names of many series
    labels = [
        column for column in table.profile.columns
        if column.name != text and column.kind in ("name", "whole", "flag", "text")
        and 2 <= column.distinct <= min(MOST_CLASSES, max(2, table.frame.height // 3))
    ]  # fmt: skip
    labels = [column for column in labels if column.kind != "text" or column.words < 3]
    about: dict[str, Any] = {"path": table.path, "form": table.form, "extent": table.sample.extent}
    about["columns"] = table.profile.columns
    if not labels:
        if (two := _two_texts(table, texts)) is not None:
            return two
        if not table.profile.named("number", "whole", "flag"):
            return Unclear(
                **about,
                seen=f"texts in column '{text}', and no column of few values beside it",
                questions=(
                    "which column says the class of a text? data=text_classification "
                    f"data.text_column={text} data.label_column=COLUMN",
                ),
            )
        return None
    label = min(labels, key=lambda column: (rank(column.name, CLASSES), column.kind == "whole", column.distinct))
    kept = table.frame.select(known_text(text).alias("text"), known_text(label.name).alias("label"))
    pairs = kept.filter((pl.col("text") != "") & (pl.col("label") != ""))
    counts = classes_of(pairs)
    keys = {
        key: value for key, value, usual in (
            ("data.text_column", text, "text"), ("data.label_column", label.name, "label"),
        ) if value != usual
    }  # fmt: skip
    many = words_of(pairs["text"])
    if many >= 8:
        keys["data.unit"] = "word"
    others = [name for name in texts if name != text]
    why = (
        f"the only column of text, {counted(round(many), 'words')} each"
        if not others
        else ("its name" if lower(text) in TEXTS else f"the longest texts, {counted(round(many), 'words')} each")
    )
    why_label = f"{label.distinct} different values" + (", and its name" if lower(label.name) in CLASSES else "")
    lengths = pairs["text"].str.len_chars()
    questions = []
    if lower(label.name) not in CLASSES and len(labels) > 1:
        rest = ", ".join(column.name for column in labels if column is not label)
        questions.append(f"is '{label.name}' the class? There are also {rest}: data.label_column=COLUMN")
    return Labelled(
        **about, data="text_classification", classes=counts, examples="texts", unit="characters",
        lengths=spread(lengths.to_numpy()), text=Choice((text,), why), label=Choice((label.name,), why_label),
        odd=odd_texts(pairs, table.frame.height - pairs.height), keys=keys, questions=tuple(questions),
    )  # fmt: skip


def _repeated_texts(table: Seen) -> list[str]:
    """Texts of which many are there again, so that they are few words like names: the one with the most of them.

    Only where nothing else is to be learned: no times, and no numbers but ids and classes.
    """
    columns = table.profile.columns
    names = [column for column in columns if column.kind == "name"]
    if len(names) < 2 and not any(lower(column.name) in CLASSES for column in columns if column not in names):
        return []
    for column in columns:
        is_class = column.kind == "flag" or (column.kind == "whole" and lower(column.name) in CLASSES)
        is_row = column.kind == "whole" and (column.distinct == table.frame.height or table.is_index(column.name))
        if column not in names and column.kind not in ("constant", "empty") and not is_class and not is_row:
            return []
    likely = [column for column in names if lower(column.name) in TEXTS or column.words >= 2]
    if not likely:
        return []
    text = min(likely, key=lambda column: (rank(column.name, TEXTS), -column.words))
    return [text.name] if text.distinct == max(column.distinct for column in names) else []


def _two_texts(table: Seen, texts: Sequence[str]) -> Examples | Unclear | None:
    """A pair of texts in each row, where two columns have texts and others at most numbers of the rows."""
    texts = [column.name for column in table.profile.columns if column.name in texts]  # in their order
    others = [column.name for column in table.profile.columns if column.name not in texts]
    if len(texts) != 2 or any(table.column(name).kind != "constant" and not table.is_index(name) for name in others):
        return None
    return described(table.path, {"data.source_column": texts[0], "data.target_column": texts[1]})


def unordered(table: Seen) -> Unclear | None:
    """A table whose rows are no steps, as it seems."""
    if table.profile.dates or table.parts or table.ticks or table.counted_candidates():
        return None
    values = table.profile.named("number", "whole", "flag")
    classes = [
        column for column in table.profile.columns
        if lower(column.name) in CLASSES[:9] and column.kind in ("name", "whole", "flag")
        and column.distinct <= MOST_CLASSES
    ]  # fmt: skip
    about: dict[str, Any] = {
        "path": table.path, "form": table.form, "extent": table.sample.extent, "columns": table.profile.columns,
    }  # fmt: skip
    command = f"rnnlab train data=csv data.path={table.path} data.target="
    if classes and len(values) > 2:
        label = classes[0]
        first_value = next(name for name in values if name != label.name)
        return Unclear(
            **about,
            seen=f"rows of numbers with a class each ('{label.name}', {label.distinct} different values), and no "
            "column that tells their order",
            questions=(
                "which rows make a sequence? A column that names it (sequence, step, … , class) is read by "
                "rnnlab start; rows without an order are no sequences, and need no recurrent net",
                f"are the rows steps in time? {command}{first_value} ({TIME})",
            ),
        )
    if not values:
        return Unclear(
            **about,
            seen="no column of numbers, and no texts with a class",
            questions=("which column is forecast? data=csv data.target=COLUMN needs one of numbers",),
        )
    targets = [name for name in values if not table.is_index(name)]
    if len(targets) < 2:
        return None
    alike = [neighbours_alike(values) for values in map(table.numbers, targets) if not _rises(values)]
    if alike and np.nanmedian(alike) >= IN_ORDER:
        return None
    return Unclear(
        **about,
        seen="rows of numbers; no column tells their order, nor do the numbers",
        questions=(
            f"are the rows steps in time? {command}{targets[0]} ({TIME}); rows "
            "without an order are no sequences, and need no recurrent net",
        ),
    )


def known_text(name: str) -> pl.Expr:
    """A column as text without spaces around it, empty where there is none."""
    return pl.col(name).cast(pl.String).str.strip_chars().fill_null("")


def classes_of(pairs: pl.DataFrame) -> dict[str, int]:
    """How many texts each class has, the largest first: those that are there again count once, as in training."""
    return dict(pairs.unique(maintain_order=True)["label"].value_counts(sort=True).iter_rows())


def odd_texts(pairs: pl.DataFrame, empty: int) -> tuple[str, ...]:
    """What is odd about texts and their classes: repetitions, texts of two classes, classes that stand in the text."""
    odd = []
    if empty:
        odd.append(f"{counted(empty, 'rows')} without a text or a class: left out")
    distinct = pairs.unique()
    if distinct.height < pairs.height:
        again = counted(pairs.height - distinct.height, "texts", "repeat")
        odd.append(f"{again} another: each counts once (data.duplicates)")
    contradicting = distinct.height - distinct["text"].n_unique()
    if contradicting:
        odd.append(f"{counted(contradicting, 'texts', 'have')} two classes: nobody can tell which")
    letters = pairs.filter(pl.col("label").str.len_chars() >= 3)
    if letters.height:
        told = letters.select(
            pl.col("text").str.to_lowercase().str.contains(pl.col("label").str.to_lowercase(), literal=True).mean()
        ).item()
        if told and told > 0.5:
            odd.append(f"the class stands in {told:.0%} of the texts: that gives the answer away")
    counts = pairs["label"].value_counts()["count"]
    few = int((counts < 3).sum())
    if few:
        odd.append(f"{counted(few, 'classes', 'have')} fewer than 3 texts, and training needs 3: leave them out")
    return tuple(odd)


def spread(sizes: Any) -> tuple[int, int, int]:
    """The smallest, the median and the largest."""
    values = np.asarray(sizes)
    return (int(values.min()), int(np.median(values)), int(values.max())) if len(values) else (0, 0, 0)


def _rises(values: np.ndarray) -> bool:
    """Whether rows are sorted by a column, so that neighbours are alike in it for no other reason."""
    known_values = values[np.isfinite(values)]
    return bool((np.diff(known_values) >= 0).all() or (np.diff(known_values) <= 0).all())
