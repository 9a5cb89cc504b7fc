"""Times that are numbers, and the form in which forecasts have theirs."""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from rnnlab.data.csv import CSV
from rnnlab.errors import InputError
from rnnlab.files.dialect import Dialect
from rnnlab.files.panel import Columns, Table
from rnnlab.files.table import tabulate
from rnnlab.start.columns import profile
from rnnlab.use.prediction import write
from rnnlab.use.series import shown_times

NEW_YEAR = 1_704_067_200
"""2024-01-01, in seconds since 1970."""
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
HOURS = [datetime.datetime(2024, 1, 13) + datetime.timedelta(hours=hour) for hour in range(60)]
DAYS = [datetime.date(2024, 1, 1) + datetime.timedelta(days=day) for day in range(40)]
MONTHS = [datetime.date(2023 + month // 12, 1 + month % 12, 1) for month in range(30)]


def table(times: Sequence[Any], clock: Sequence[str] | None = None, **dialect: Any) -> tuple[Table, Columns]:
    """A table of times and numbers."""
    beside = {} if clock is None else {"clock": clock}
    frame = pl.DataFrame({"time": times, **beside, "y": range(len(times))})
    columns = Columns(["y"], time="time", clock=None if clock is None else "clock")
    return tabulate(frame.lazy(), columns, "here", Dialect(**dialect).check()), columns


def times_of(cells: Sequence[Any], **dialect: Any) -> np.ndarray:
    found = table(cells, **dialect)[0].times
    assert found is not None
    return found


# ---- counts since 1970 ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [int, str, float])
@pytest.mark.parametrize("unit", PER_SECOND)
def test_counts_since_1970_are_dates(unit: str, kind: type) -> None:
    counts = [kind((NEW_YEAR + 3600 * hour) * PER_SECOND[unit]) for hour in range(48)]
    expected = np.datetime64("2024-01-01T00") + np.arange(48)
    assert (times_of(counts) == expected).all()
    assert (times_of(counts, time_format=unit) == expected).all()
    assert times_of(counts, time_format="number").tolist() == [int(count) for count in counts]


def test_seconds_may_have_decimals() -> None:
    found = times_of([NEW_YEAR + step / 4 for step in range(20)])
    assert (np.diff(found) == np.timedelta64(250, "ms")).all()


@pytest.mark.parametrize(
    "numbers",
    [
        range(1, 40),
        range(1700, 2101),
        range(0, 10**10, 10**7),  # runs through all that could be seconds
        range(NEW_YEAR, 2 * 10**10, 10**8),
        [20_000_000 + step for step in range(50)],
        [10**15 * step for step in range(1, 9)],
        [-NEW_YEAR + step for step in range(9)],
    ],
)
def test_plain_counts_are_no_dates(numbers: Sequence[int]) -> None:
    assert times_of(list(numbers)).tolist() == list(numbers)


@pytest.mark.parametrize(("digits", "step"), [("%Y%m%d%H", "h"), ("%Y%m%d%H%M", "m"), ("%Y%m%d%H%M%S", "s")])
def test_digits_of_a_date_are_no_count(digits: str, step: str) -> None:
    """Ten of them could be the seconds of 2034."""
    expected = np.datetime64("2024-01-31T22:58:57").astype(f"M8[{step}]") + np.arange(40)
    cells = [moment.strftime(digits) for moment in expected.astype("M8[s]").tolist()]
    assert (times_of(cells) == expected).all()


@pytest.mark.parametrize("at", [0, 7, 39])
@pytest.mark.parametrize(
    ("cells", "slip"),
    [
        ([str((NEW_YEAR + 60 * step) * 1000) for step in range(40)], "0"),
        ([str(NEW_YEAR + 60 * step) for step in range(40)], "17040672000"),
        ([f"{1949 + month / 12:.4f}" for month in range(40)], "1950.0410"),
        ([f"{day:%Y%m%d}" for day in DAYS], "20240230"),
    ],
)
def test_one_slip_makes_no_plain_numbers_of_dates(cells: list[str], slip: str, at: int) -> None:
    wrong = [*cells[:at], slip, *cells[at + 1 :]]
    for fractions in (False, True):
        with pytest.raises(InputError, match=rf"row {at + 1}, column 'time': '{slip}' is no .* as others are") as error:
            times_of(wrong, fractions=fractions)
        assert "data.time_format=number" in str(error.value)
    number = float(slip) if "." in slip else int(slip)
    assert times_of(wrong, time_format="number", fractions=True)[at] == number


def test_what_the_key_says_holds_for_any_count() -> None:
    assert times_of(["0", "1500", "3000"], time_format="ms").astype("M8[ms]").astype(int).tolist() == [0, 1500, 3000]
    with pytest.raises(InputError, match=r"row 2, .*'soon' is no number of seconds since 1970"):
        times_of(["0", "soon"], time_format="s")
    with pytest.raises(InputError, match=r"data.time_format=MS must be a format.*did you mean 'ms'"):
        Dialect(time_format="MS").check()


def test_runs_of_before_go_on_taking_counts_for_numbers() -> None:
    before = {name: value for name, value in Dialect().plain().items() if name != "long_numbers"}
    frame = pl.DataFrame({"time": [NEW_YEAR * 1000, NEW_YEAR * 1000 + 1], "y": [1, 2]})
    for written, kind in ((before, "i"), (Dialect().plain(), "M")):
        found = tabulate(frame.lazy(), Columns(["y"], time="time"), "here", Dialect.from_plain(written))
        assert found.times is not None and found.times.dtype.kind == kind


def test_counts_are_times_of_utc_and_have_a_calendar(tmp_path: Path) -> None:
    path = tmp_path / "hours.parquet"
    counts = [(NEW_YEAR + 3600 * hour) * 1000 for hour in range(400)]
    pl.DataFrame({"time": counts, "y": np.arange(400) % 24}).write_parquet(path)
    data = CSV(path=str(path), target="y", time="time")
    assert (data.panel.zone, data.panel.frequency.name) == ("UTC", "hour")
    assert data.layout.calendar
    assert CSV(path=str(path), target="y", time="time", time_format="number").panel.zone is None


@pytest.mark.parametrize(
    ("name", "numbers", "dated"),
    [
        ("ts", [NEW_YEAR + 7 * step * step for step in range(60)], True),
        ("event_timestamp", [NEW_YEAR * 1000 + 7 * step * step for step in range(60)], True),
        ("seconds", [NEW_YEAR + 60 * step for step in range(60)], True),
        ("revenue", [NEW_YEAR + 7 * step * step for step in range(60)], False),
        ("order_id", [NEW_YEAR + step for step in range(60)], False),
        ("time", list(range(60)), False),
        ("year", list(range(1960, 2020)), False),
    ],
)
def test_start_takes_no_column_of_large_numbers_for_dates(name: str, numbers: list[int], dated: bool) -> None:
    found = profile(pl.DataFrame({name: numbers, "y": range(60)}))
    assert (name in found.dates) == dated
    assert (name in found.units) == dated


# ---- the form in which times are written ---------------------------------------------------------------


def following(cells: Sequence[Any], step: Any, clock: Sequence[str] | None = None, **dialect: Any) -> list[list[Any]]:
    """The next two times after those of a table, and the fourteenth, in their form."""
    read, columns = table(cells, clock, **dialect)
    assert read.times is not None
    last = read.times[-1].astype("M8[M]") if np.datetime_data(step)[0] == "M" else read.times[-1]
    coming = (last + np.array([1, 2, 14]) * step).astype("M8[us]")
    return [column.to_list() for column in shown_times(coming, columns, read.zone, read.written).values()]


@pytest.mark.parametrize(
    ("form", "moments"),
    [
        *((form, DAYS) for form in ("%Y-%m-%d", "%d.%m.%Y", "%-d.%-m.%Y", "%m/%d/%Y", "%-m/%-d/%y", "%d %b %Y")),
        *((form, DAYS) for form in ("%B %d, %Y", "%Y%m%d", "%d-%b-%y", "%Y-%m-%dT00:00:00Z", "%Y-%m-%d 00:00+02:00")),
        *((form, HOURS) for form in ("%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H")),
        *((form, HOURS) for form in ("%Y-%m-%d %H:%M:%S UTC", "%d.%m.%Y %H:%M:%S+02:00", "%Y-%m-%dT%H:%M:%S.000Z")),
        *((form, HOURS) for form in ("%-m/%-d/%Y %-I:%M %p", "%m/%d/%Y %I:%M%p", "%Y%m%d%H", "%Y%m%d%H%M")),
        *((form, HOURS) for form in ("%Y-%m-%d %H:%M:%S.%f", "%Y%m%dT%H%M", "%s", "%s000", "%s000000000")),
        *((form, MONTHS) for form in ("%Y-%m", "%m/%Y", "%b %Y", "%B-%Y")),
    ],
)
def test_times_go_on_as_they_are_written(form: str, moments: list[Any]) -> None:
    steps = {id(DAYS): np.timedelta64(1, "D"), id(HOURS): np.timedelta64(1, "h"), id(MONTHS): np.timedelta64(1, "M")}
    cells = pl.Series(moments).dt.strftime(form).to_list()
    assert following(cells[:-14], steps[id(moments)]) == [[cells[-14], cells[-13], cells[-1]]]


@pytest.mark.parametrize("form", ["{:.4f}", "{:.2f}", "{:.7g}", "{}"])
def test_years_with_a_fraction_keep_their_decimals(form: str) -> None:
    cells = [form.format(2000 + month / 12) for month in range(40)]
    assert following(cells[:-14], np.timedelta64(1, "M")) == [[cells[-14], cells[-13], cells[-1]]]


@pytest.mark.parametrize("between", ["Q", "-Q", " q"])
def test_quarters_go_on_as_they_are_written(between: str) -> None:
    cells = [f"{2020 + quarter // 4}{between}{1 + quarter % 4}" for quarter in range(20)]
    read, columns = table(cells)
    assert read.times is not None
    assert shown_times(read.times, columns, read.zone, read.written)["time"].to_list() == cells


def test_numbers_stay_numbers_and_two_columns_two() -> None:
    counts = [(NEW_YEAR + 3600 * hour) * 1000 for hour in range(40)]
    assert following(counts[:-14], np.timedelta64(1, "h")) == [[counts[-14], counts[-13], counts[-1]]]
    years = [2000 + month / 12 for month in range(40)]
    assert following(years[:-14], np.timedelta64(1, "M")) == [pytest.approx([years[-14], years[-13], years[-1]])]
    for day, clock in (("%d.%m.%Y", "%H:%M"), ("%d %b %Y", "%-I:%M %p"), ("%Y-%m-%d", "%H"), ("%Y-%m-%d", "%H:%MZ")):
        cells = [pl.Series(HOURS).dt.strftime(form).to_list() for form in (day, clock)]
        found = following(cells[0][:-14], np.timedelta64(1, "h"), cells[1][:-14])
        assert found == [[column[-14], column[-13], column[-1]] for column in cells]


def test_what_a_form_cannot_say_is_a_date_of_iso() -> None:
    whole_hours = [f"2024-01-05 {hour:02}" for hour in range(20)]
    assert following(whole_hours, np.timedelta64(30, "m"))[0][0] == datetime.datetime(2024, 1, 5, 19, 30)
    several = [f"2024-03-31T{hour:02}:00+0{1 + (hour > 2)}:00" for hour in (0, 1, 3, 4, 5)]
    assert str(following(several, np.timedelta64(1, "h"))[0][0]) == "2024-03-31 04:00:00+00:00"


def test_times_that_were_no_text_are_written_without_needless_zeros(tmp_path: Path) -> None:
    moments = pl.Series([datetime.datetime(2024, 1, 5, 13), datetime.datetime(2024, 1, 5, 13, 0, 0, 500_000)])
    there = moments.dt.replace_time_zone("Europe/Berlin")
    frame = pl.DataFrame({"a": moments, "b": there, "c": moments.dt.time(), "d": moments.dt.date()})
    write(iter([frame]), tmp_path / "said.csv")
    assert (tmp_path / "said.csv").read_text().splitlines()[1:] == [
        "2024-01-05T13:00:00,2024-01-05T13:00:00+01:00,13:00:00,2024-01-05",
        "2024-01-05T13:00:00.500,2024-01-05T13:00:00.500+01:00,13:00:00.500,2024-01-05",
    ]
