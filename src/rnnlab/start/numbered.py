"""A table of sequences that have a number each, a row a step."""

import numpy as np

from rnnlab.errors import few
from rnnlab.start.description import Column, Description, Examples, Series
from rnnlab.start.labelled import spread
from rnnlab.start.names import PLACES, TARGETS, is_id, lower, rank
from rnnlab.start.seen import Seen
from rnnlab.start.sequences import (
    CALENDAR,
    GROUPS,
    SEQUENCES,
    Sequences,
    missing_in,
    read_by_steps,
    sequence_columns,
    step_and_features,
    written_as,
)
from rnnlab.start.table import look_at_table
from rnnlab.start.wording import columns_in_words, counted, held_out, lengths_in_words, missing_values, number, sampled

OUTCOMES = (
    "target", "y", "label", "rul", "outcome", "result", "score", "hours_left", "days_left", "time_to_failure",
    "remaining", "left", "lifetime", "life", "output", "response",
)  # fmt: skip
"""Names of a number that is predicted of a whole sequence, the likeliest first."""
FEWEST = 3
"""Different numbers, of which fewer are rather classes."""


def numbered_sequences(table: Seen) -> Description | None:
    """What a table holds of which ``data=table`` predicts a number a sequence; ``None`` where it has none such."""
    if not table.sample.separator and table.form != "Parquet":
        return None
    found = steps_with_a_number(table)
    if found is None:
        return None
    sequences, others = found
    groups = sequences.groups(table)
    sequences, keys, odd = read_by_steps(table, sequences, groups)
    name, features = sequences.label, sequences.features
    missing = missing_in(table, features)
    if missing:
        keys["data.missing"] = "forward"
        odd.append(missing_values(missing, "the last known one is carried on (data.missing=forward)"))
    values = table.numbers(name)
    without = sum(bool(np.isnan(values[rows]).all()) for rows in groups)
    if without:
        keys["data.unlabelled"] = "drop"
        odd.append(f"{counted(without, 'sequences')} without a number: left out (data.unlabelled=drop)")
    column = table.column(name)
    facts = [
        ("columns", columns_in_words(table.profile.columns)),
        ("number", f"{name}: {sequences.described}; {number(column.low)} to {number(column.high)}"),
        (
            "length",
            lengths_in_words(spread([len(rows) for rows in groups]), "steps", len(features))
            + sampled(table.sample.extent, len(groups), "sequences"),
        ),
        ("test", held_out(keys)),
    ]
    asks = f"how well does a GRU tell {name} of each {sequences.sequence}, beside the mean?"
    rows = counted(table.sample.extent.rows, "rows")
    series = look_at_table(table)
    forecast = series if isinstance(series, Series) else None
    questions = [f"is {name} what is predicted? There are also {few(others)}: data.target=COLUMN"] if others else []
    return Examples(
        path=table.path, form=f"{rows}, {table.form}", extent=table.sample.extent, data="table",
        seen=f"{counted(len(groups) - without, 'sequences')} with a number each", facts=tuple(facts), asks=asks,
        odd=tuple(odd), questions=tuple(questions), keys={"task": "regression", **keys, **written_as(table)},
        forecast=forecast,
    )  # fmt: skip


def steps_with_a_number(table: Seen) -> tuple[Sequences, list[str]] | None:
    """A row a step, its sequence and the sequence's number in columns; and other such numbers.

    Rows with dates, with steps of a calendar or with a column that has the name of what is forecast are series whose
    own numbers (the size of a shop) stand beside it: of these a number is predicted only where its name says so.
    """
    files = any(lower(column.name) == "file" for column in table.profile.columns)
    dated = bool(table.profile.dates) and not files
    for column in sequence_columns(table, "", dated=files and bool(table.profile.dates)):
        if column.kind == "whole" and rank(column.name, SEQUENCES) >= len(SEQUENCES):
            continue
        own = [other for other in table.profile.columns if _may_be_own(table, other, column)]
        step, features = step_and_features(table, "", column.name)
        moving = [name for name in features if not table.same_within(name, column.name)]
        series = dated or lower(step or "") in CALENDAR or any(rank(name, TARGETS) < len(TARGETS) for name in moving)
        if series:
            own = [other for other in own if rank(other.name, OUTCOMES) < len(OUTCOMES)]
        if not own or not moving:
            continue
        # the last one of those that are alike: what is predicted mostly stands at the end
        label = min(reversed(own), key=lambda other: rank(other.name, OUTCOMES)).name
        why = f"one number in all rows of each '{column.name}'"
        found = Sequences(label, tuple(name for name in features if name != label), why, column.name, step)
        return found, [other.name for other in own if other.name != label]
    return None


def _may_be_own(table: Seen, column: Column, sequence: Column) -> bool:
    """Whether a column of numbers is one of whole sequences, and no name of them."""
    return (
        column.kind in ("number", "whole")
        and column is not sequence
        and column.distinct >= FEWEST
        and lower(column.name) not in (*GROUPS, *PLACES)
        and not (
            column.kind == "whole"
            and (is_id(column) or column.distinct == sequence.distinct == column.high - column.low + 1)
        )
        and table.same_within(column.name, sequence.name)
    )
