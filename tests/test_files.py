"""Files as people have them: one reading of separators, numbers, times and gaps, in training and in use."""

import json
import re
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from rnnlab.commands import evaluate, predict
from rnnlab.data.corpus import read_text
from rnnlab.data.csv import CSV
from rnnlab.data.feature_reader import FeatureReader
from rnnlab.data.reader import Reader
from rnnlab.data.text import Text
from rnnlab.data.text_reader import CorpusReader, TextReader
from rnnlab.data.token_reader import TokenReader
from rnnlab.data.ts_file import read_ts
from rnnlab.errors import InputError
from rnnlab.files.dialect import Dialect
from rnnlab.files.frequency import Frequency, find_frequency
from rnnlab.files.lines import decode, decode_whole, first_line
from rnnlab.files.panel import Columns, Panel, arrange
from rnnlab.files.source import open_source
from rnnlab.files.stream import stream_rows
from rnnlab.files.table import read
from rnnlab.runs.execution import Outcome
from rnnlab.use.trained import load

Train = Callable[..., Outcome]
TIMED = Columns(["y"], time="t")


def panel_of(
    content: str, folder: Path, columns: Columns = TIMED, dialect: Dialect | None = None, gaps: Any = "error"
) -> Panel:
    path = folder / "table.csv"
    path.write_text(content)
    return arrange(read(path, columns, dialect), columns, "here", gaps=gaps)


def rows(times: Any, separator: str = ",") -> str:
    return f"t{separator}y\n" + "".join(f"{time}{separator}{number}\n" for number, time in enumerate(times))


def days(start: str, number: int, step: int = 1) -> list[date]:
    return [date.fromisoformat(start) + timedelta(step * k) for k in range(number)]


BUSINESS = [day for day in days("2024-01-01", 26) if day.weekday() < 5]


# ---- times, in whole units ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "unit", "following"),
    [
        (days("2009-02-02", 30, 7), "week", ["2009-08-31", "2009-09-07"]),
        ([f"{day} 05:37:11" for day in days("2024-02-02", 30)], "day", ["2024-03-03T05:37:11", "2024-03-04T05:37:11"]),
        ([f"{year}-12-31" for year in range(2000, 2024)], "year", ["2024-12-31", "2025-12-31"]),
        (["2019-02-28", "2020-02-29", "2021-02-28", "2022-02-28"], "year", ["2023-02-28", "2024-02-29"]),
        (["2023-03-31", "2023-06-30", "2023-09-30", "2023-12-31"], "quarter", ["2024-03-31", "2024-06-30"]),
        (["2023Q3", "2023Q4", "2024Q1"], "quarter", ["2024-04-01", "2024-07-01"]),
        ([f"{1949 + month / 12:.12g}" for month in range(30)], "month", ["1951-07-01", "1951-08-01"]),
        ([f"{1945 + quarter / 4:.2f}" for quarter in range(9)], "quarter", ["1947-04-01", "1947-07-01"]),
        (["1999.83", "1999.92", "2000"], "month", ["2000-02-01", "2000-03-01"]),
        (["2015-01-30", "2015-02-28", "2015-03-30", "2015-04-30"], "month", ["2015-05-30", "2015-06-30"]),
        (BUSINESS, "business day", ["2024-01-29", "2024-01-30"]),
        ([f"{day}.12.23" for day in range(10, 29)], "day", ["2023-12-29", "2023-12-30"]),
        ([f"202401{day}" for day in range(10, 29)], "day", ["2024-01-29", "2024-01-30"]),
        ([f"{day} 00:00:00 UTC  " for day in days("2024-02-02", 9)], "day", ["2024-02-11", "2024-02-12"]),
        ([f"01/{day}/2024 11:30 PM" for day in range(10, 29)], "day", ["2024-01-29T23:30", "2024-01-30T23:30"]),
        (range(7, 100, 3), "step", [100, 103]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_regular_series_is_counted_without_rest(times: Any, unit: str, following: list[Any], tmp_path: Path) -> None:
    panel = panel_of(rows(times), tmp_path)
    assert panel.step_unit == unit
    steps, whole = panel.frequency.between(panel.times)
    assert (steps == 1).all()
    assert whole.all()
    after = panel.frequency.after(panel.times[-1], np.array([1, 2])).astype(panel.times.dtype)
    assert after.tolist() == np.array(following, panel.times.dtype).tolist()


@pytest.mark.parametrize("prices", [[1950.25, 1951.75, 1951.5, 1948.0], [1949.5, 1950, 1950.5], [1949.01, 1949.02]])
def test_numbers_that_are_no_years(prices: list[float], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is neither a whole number nor a date"):
        panel_of(rows(prices), tmp_path)


def test_years_are_sorted_and_the_one_that_is_none_is_named(tmp_path: Path) -> None:
    years = [f"{1949 + month / 12:.5f}" for month in range(30)]
    path = tmp_path / "table.csv"
    path.write_text(rows([*years[20:], *years[:20]]))
    panel = arrange(read(path, TIMED, None), TIMED, "here", sort=True)
    assert panel.step_unit == "month" and str(panel.times[0])[:7] == "1949-01"
    for slip in ("1950.60000", "1950-58333", "soon"):
        with pytest.raises(InputError, match=f"row 20, .*'{slip}' is no year with a fraction"):
            panel_of(rows([*years[:19], slip, *years[20:]]), tmp_path)


@pytest.mark.parametrize(
    ("months", "quarters"), [(range(40), range(40)), ([n + n // 2 for n in range(40)], [n + n // 8 for n in range(40)])]
)
def test_years_with_a_fraction_are_dates_where_plain_numbers_may_have_one_too(
    months: Sequence[int], quarters: Sequence[int], tmp_path: Path
) -> None:
    """Also where some are left out; what is no year of ours is a plain number, and one among years a slip."""

    def read_as(times: list[str]) -> np.ndarray:
        path = tmp_path / "table.csv"
        path.write_text(rows(times))
        table = read(path, TIMED, Dialect(fractions=True))
        assert table.times is not None
        return table.times

    expected = np.datetime64("1949-01") + np.array(months)
    assert (read_as([f"{1949 + month / 12:.4f}" for month in months]).astype("M8[M]") == expected).all()
    expected = np.datetime64("1949-01") + 3 * np.array(quarters)
    assert (read_as([f"{1949 + quarter / 4:.2f}" for quarter in quarters]).astype("M8[M]") == expected).all()
    slip = [1949 + month / 12 + 0.04 * (month == 19) for month in months]
    with pytest.raises(InputError, match=f"row {slip.index(max(slip, key=lambda year: year * 12 % 1)) + 1}, "):
        read_as([f"{year:.4f}" for year in slip])
    for numbers in (
        [1000 + quarter / 4 for quarter in quarters],
        [2500 + month / 12 for month in months],
        [1949 + month / 10 for month in months],
    ):
        assert read_as([f"{number:.4f}" for number in numbers]).tolist() == [round(each, 4) for each in numbers]


@pytest.mark.parametrize("size", [1, 3, 7, 10**6, 7 * 86_400 * 10**6])
def test_steps_are_whole_however_large_the_numbers_are(size: int) -> None:
    start = 1_234_567_890_123_457
    times = start + size * np.arange(50)
    frequency = find_frequency(times, np.array([0, 50]))
    assert frequency == Frequency("number", size)
    assert (frequency.between(times)[0] == 1).all()
    assert not frequency.between(np.array([start, start + size + 1]))[1].all() or size == 1


def test_what_is_filled_in_has_the_dates_of_its_calendar(tmp_path: Path) -> None:
    ends = ["2015-01-31", "2015-04-30", "2015-05-31", "2015-06-30"]
    panel = panel_of(rows(ends), tmp_path, gaps="fill")
    assert panel.times[1:3].astype("M8[D]").astype(str).tolist() == ["2015-02-28", "2015-03-31"]
    assert np.isnan(panel.values[1:3, 0]).all()
    open_days = [day for day in BUSINESS if day != date(2024, 1, 10)]
    panel = panel_of(rows(open_days), tmp_path, gaps="fill")
    assert panel.times.astype("M8[D]").astype(str).tolist() == [str(day) for day in BUSINESS]


@pytest.mark.parametrize(("repeated", "values", "kept"), [("first", [0, 1, 3, 5, 6], [1, 2, 4, 6, 7]),
                                                         ("last", [0, 2, 4, 5, 6], [1, 3, 5, 6, 7])])  # fmt: skip
def test_of_rows_at_one_time_the_first_or_the_last_is_kept(
    repeated: Any, values: list[float], kept: list[int], tmp_path: Path
) -> None:
    path = tmp_path / "table.csv"
    path.write_text("t,y,s\n1,0,a\n2,1,a\n2,2,a\n3,3,a\n3,4,a\n1,5,b\n2,6,b\n")
    columns = Columns(["y"], time="t", series="s")
    panel = arrange(read(path, columns), columns, "here", repeated=repeated)
    assert panel.values[:, 0].tolist() == values and panel.times.tolist() == [1, 2, 3, 1, 2]
    assert panel.starts.tolist() == [0, 3, 5] and [panel.row(number) for number in range(5)] == kept
    assert panel.note == "2 rows of a time that is there already left out"
    with pytest.raises(
        InputError, match=r"row 3 of series 'a': t 2 is there already in row 2; data.repeated=last keeps"
    ):
        arrange(read(path, columns), columns, "here")


@pytest.mark.parametrize("gaps", ["error", "fill"])
def test_several_series_under_one_name_are_said_to_be_several(gaps: Any, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    days = [f"2024-01-{day:02d},{shop}" for day in range(1, 20) for shop in range(3)]  # the commonest step is none
    path.write_text("\n".join(["t,y", *days, ""]))
    columns = Columns(["y"], time="t")
    with pytest.raises(
        InputError, match=r"row 2: t 2024-01-01 is there already in row 1; .*several series: .*data.series"
    ):
        arrange(read(path, columns), columns, "here", gaps=gaps)


def test_an_hour_that_a_clock_shows_twice_is_no_repetition(tmp_path: Path) -> None:
    hours = [f"2024-10-27 {hour:02}:00" for hour in (0, 1, 2, 2, 3, 4, 5, 5, 6)]
    path = tmp_path / "table.csv"
    path.write_text(rows(hours))
    panel = arrange(read(path, TIMED), TIMED, "here", repeated="first")
    assert panel.values[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 8]


@pytest.mark.parametrize("gaps", ["error", "fill"])
def test_a_date_far_off_is_one_line(gaps: Any, tmp_path: Path) -> None:
    seconds = [f"2024-01-01 00:00:{second}" for second in range(10, 40)]
    seconds[-1] = seconds[-1].replace("2024", "2924")
    with pytest.raises(InputError, match=r"row 30: 2924-01-01 00:00:39 comes 28,\d+,\d+,\d+ steps after .* right\?"):
        panel_of(rows(seconds), tmp_path, gaps=gaps)


# ---- cells ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_separator_is_recognised(separator: str, tmp_path: Path) -> None:
    panel = panel_of(rows(range(5), separator), tmp_path)
    assert panel.values[:, 0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["\\t", "tab", "\t"])
def test_a_tabulator_may_be_named(name: str) -> None:
    assert Dialect(name).check().separator == "\t"


@pytest.mark.parametrize(
    ("options", "cells"),
    [
        ({"decimal": ","}, {"1,5": 1.5, " -2 ": -2, "1e3": 1000, "3.5": np.inf}),
        ({"decimal": ",", "thousands": "."}, {"1.234,5": 1234.5, "1.234.567": 1234567, "1.5": np.inf, "12": 12}),
        ({"thousands": ","}, {"1,234.5": 1234.5, "12,34,567": 1234567, "1,5": np.inf}),
        ({"thousands": " "}, {"1 234": 1234, "1\u00a0234": 1234, "1\u202f234": 1234}),
        ({"missing_values": ["-", -999]}, {"-": None, "-999": None, "-999.0": None, "NA": None, "-1": -1}),
        ({}, {"1_000": np.inf, "": None, "NaN": None, "?": None, "abc": np.inf, "inf": np.inf}),
    ],
    ids=str,
)
def test_numbers_are_read_as_they_are_written(options: dict[str, Any], cells: dict[str, float | None]) -> None:
    assert dict(zip(cells, Dialect(**options).check().number(list(cells)), strict=True)) == cells


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"separator": "ab"}, "data.separator='ab' must be one character"),
        ({"decimal": ";"}, "data.decimal=';' must be"),
        ({"thousands": "x"}, "data.thousands='x' must be one of"),
        ({"decimal": ",", "thousands": ","}, "is data.decimal too"),
        ({"decimal": ",", "separator": ","}, "is data.separator too"),
    ],
    ids=str,
)
def test_a_form_that_cannot_be_is_one_line(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        CSV(target="sales", **options)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("abc", "row 21, column 'y': 'abc' is no number; .*data.missing_values=\\['abc'\\]"),
        ('"1,5"', "row 21, column 'y': '1,5' is no number: data.decimal=',' reads it"),
        ('"1.234,5"', "data.thousands='.' data.decimal=',' reads it"),
    ],
)
def test_what_comes_late_in_a_column_is_named_with_what_would_read_it(cell: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        panel_of(rows(range(20)) + f"20,{cell}\n", tmp_path)


def test_names_are_names(tmp_path: Path) -> None:
    columns = Columns(["y"], time="t", series="s")
    names = ("NA", "null", "None", "nan", "a", "A")
    content = "t,s,y\n" + "".join(f"{time},{name},{time}\n" for name in names for time in range(3))
    assert panel_of(content, tmp_path, columns).names == names


def test_an_empty_line_is_a_step_where_rows_are_steps(tmp_path: Path) -> None:
    path = text(tmp_path, "y,z\n" + "".join(f"{k},{k}\n" if k not in (5, 30, 31) else ",\n" for k in range(32)))
    data = CSV(path=path, target="y", past=["z"], length=4, missing="forward")
    assert data.panel.values[4:7, 0].tolist() == [4, 4, 6]
    assert len(data.panel.values) == 30
    assert "2 empty lines left out" in data.spec.note


def test_a_column_without_a_name_is_called_by_its_place(tmp_path: Path) -> None:
    content = ",,y\n" + "".join(f"{time},x,{time}\n" for time in range(5))
    assert panel_of(content, tmp_path, Columns(["y"], time="column 1")).times.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match=r"data\.target=z: .* \(it has column 1, column 2, y\)"):
        panel_of(content, tmp_path, Columns(["z"]))


def test_date_and_time_may_stand_in_two_columns(tmp_path: Path) -> None:
    content = "day;clock;y\n" + "".join(f"0{k // 24 + 1}.01.2024;{k % 24}:30;{k}\n" for k in range(40))
    data = CSV(path=text(tmp_path, content), target="y", time=["day", "clock"], length=4)
    assert data.panel.step_unit == "hour"
    assert str(data.panel.times[-1]).startswith("2024-01-02T15:30")


def text(folder: Path, content: str, name: str = "data.csv") -> str:
    (folder / name).write_text(content)
    return str(folder / name)


def walk(rows: int = 60, seed: int = 0, level: float = 50.0) -> np.ndarray:
    return np.round(level + np.cumsum(np.random.default_rng(seed).normal(size=rows)), 3)


def test_a_large_level_rounds_nothing_away(tmp_path: Path) -> None:
    values = 1234567.10 + 0.05 * np.arange(200)
    data = CSV(path=text(tmp_path, "y\n" + "".join(f"{value:.2f}\n" for value in values)), target="y", length=4)
    batch = data.split("test").batch(slice(None))
    assert batch.origin is not None
    shift, scale, _ = batch.origin.scales.unbind(1)
    persistence = batch.origin.references[:, 0] * scale + shift
    squares = (persistence - batch.origin.actual[:, -1:]).square()
    assert float(squares.mean()) == pytest.approx(0.0025, rel=1e-3)


def test_series_that_are_too_short_are_left_out_if_asked(tmp_path: Path) -> None:
    content = "t,s,y\n" + "".join(f"{k},{s},{k + 1}\n" for s, n in (("a", 40), ("b", 3), ("c", 40)) for k in range(n))
    options: dict[str, Any] = {"path": text(tmp_path, content), "target": "y", "time": "t", "series": "s", "length": 4}
    with pytest.raises(InputError, match="series 'b' has 3 rows"):
        CSV(**options)
    data = CSV(**options, short_series="drop")
    assert data.panel.names == ("a", "c")
    assert "1 series of fewer than 5 rows left out" in data.spec.note


def test_series_that_are_too_short_are_left_out_of_predictions_too(
    train: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lengths = {"a": 40, "b": 3, "c": 40}
    content = "t,s,y\n" + "".join(f"{k},{s},{k + 1}\n" for s, n in lengths.items() for k in range(n))
    options = ("data.target=y", "data.time=t", "data.series=s", "data.length=4")
    path = text(tmp_path, content)
    run = train("data=csv", f"data.path={path}", *options, "data.period=4", "data.residual_of=seasonal_naive",
                "data.short_series=drop", "model.hidden_size=4", "instruments=none").directory.path  # fmt: skip
    model = load(run)
    assert model.predict(Path(path))["s"].to_list() == ["a", "c"]
    assert "1 series left out, on which this run was not trained, so that their scale is unknown: b" in caplog.text

    def table(**lengths: int) -> Path:
        content = "t,s,y\n" + "".join(f"{k},{name},{k}\n" for name, rows in lengths.items() for k in range(rows))
        return Path(text(tmp_path, content, "new.csv"))

    assert model.predict(table(a=2, c=9))["s"].to_list() == ["c"]
    assert "1 series are too short and left out: a" in caplog.text
    with pytest.raises(InputError, match="all series are too short"):
        model.predict(table(a=2, c=2))
    with pytest.raises(InputError, match="series 'x' is none that this run was trained on"):
        model.predict(table(x=9, z=9))


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\0\0", b"\0\1\rIHDR\0\r", bytes(range(256)) * 4])
def test_what_is_no_text_is_called_that(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "picture.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"picture\.csv is no text: rnnlab reads CSV, Parquet"):
        CSV(path=str(tmp_path / "picture.csv"), target="y", length=4)


@pytest.mark.parametrize("content", [b"y\r1\r2\r3\r", b"t,y\r1,2\r2,3\r", b"y\r1"])
def test_lines_that_end_with_cr_alone_are_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"old\.csv: its lines end with CR alone: convert it"):
        CSV(path=str(tmp_path / "old.csv"), target="y", length=4)


def test_a_target_without_a_file_is_none_of_the_made_up_table() -> None:
    with pytest.raises(
        InputError, match=r"data\.target=y: without data\.path=FILE the made-up table has no such column"
    ):
        CSV(target="y")


# ---- what a run has learned is its own ---------------------------------------------------------------


def shops(*names: str) -> str:
    numbers = {name: walk(level=50 + 30 * ord(name[0])) for name in names}
    return "t,s,y\n" + "".join(f"{k},{name},{numbers[name][k]}\n" for name in names for k in range(60))


def scores(run: Path, *overrides: str) -> dict[str, float]:
    assert evaluate.main([str(run), *overrides]) == 0
    newest = max((run / "evaluations").glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
    return dict(json.loads(newest.read_text())["metrics"])


def test_other_data_is_scored_by_what_the_run_has_learned(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = text(tmp_path, shops("a", "b"))
    columns = ("data=csv", f"data.path={path}", "data.target=y", "data.time=t", "data.series=s", "data.length=4")
    run = train(*columns, "data.num_samples=null", "model.hidden_size=4").directory.path
    before = scores(run)
    # the same windows are scored the same, wherever training ends
    assert scores(run, "data.val_fraction=0.5") == before
    # a series that the run never saw is left out, and said
    others = text(tmp_path, shops("b", "c"), "others.csv")
    of_b = scores(run, f"data.path={others}")
    assert "1 series left out (c)" in caplog.text
    only_b = text(tmp_path, shops("b"), "b.csv")
    assert scores(run, f"data.path={only_b}")["test/mse"] == pytest.approx(of_b["test/mse"])
    # what is 100 higher is far off, as predict says too
    shifted = text(tmp_path, shops("a", "b").replace(".", "9."), "shifted.csv")
    assert scores(run, f"data.path={shifted}")["test/mse"] > 100 * before["test/mse"]
    unknown = text(tmp_path, shops("x"), "x.csv")
    assert evaluate.main([str(run), f"data.path={unknown}"]) == 2
    assert evaluate.main([str(run), "data.scaling=minmax"]) == 2
    said = capsys.readouterr().err
    assert "series x: this run was not trained on it" in said
    assert "trained with data.scaling=standard" in said


# ---- the same in use ---------------------------------------------------------------------------------


def test_a_forecast_without_times_is_used_in_every_form(train: Train, tmp_path: Path) -> None:
    path = text(tmp_path, "y\n" + "".join(f"{number}\n" for number in range(1, 41)))
    run = train("data=csv", f"data.path={path}", "data.target=y", "data.length=4", "data.num_samples=null").directory
    model, values = load(run.path), list(map(float, range(1, 41)))
    forms: list[Any] = [
        Path(path), values, np.array(values), pl.Series(values), {"y": values},
        pl.DataFrame({"y": values}), pl.DataFrame({"y": values}).lazy(),
        pl.DataFrame({"y": list(map(str, values))}),
    ]  # fmt: skip
    found = [model.predict(form).to_dicts() for form in forms]
    assert all(each == found[0] for each in found)
    steps = model.predict(values, steps=True)
    streamed = list(model.stream(["y\n", *(f"{value}\n" for value in values)]))
    assert [row["y predicted"] for row in streamed] == pytest.approx(steps["y predicted"].to_list(), rel=1e-4)
    for wrong in ([1.0, None, 2.0], {"z": [1]}, {"y": [1], "z": [1, 2]}, "abc", 3):
        with pytest.raises(InputError) as error:
            model.predict(wrong)
        assert "\n" not in str(error.value)


@pytest.mark.needs("datasets")
def test_pandas_has_several_names_for_nothing(train: Train, tmp_path: Path) -> None:
    import pandas  # which the extra brings

    path = text(tmp_path, "y\n" + "".join(f"{number}\n" for number in range(1, 41)))
    options = ("data.missing=forward", "data.length=4", "data.num_samples=null")
    model = load(train("data=csv", f"data.path={path}", "data.target=y", *options).directory.path)
    expected = model.predict([1.0, 2.0, None, 4.0]).to_dicts()
    for nothing in (pandas.NA, pandas.NaT, float("nan")):
        for form in (
            pandas.DataFrame({"y": [1, 2, nothing, 4]}),
            pandas.Series([1, 2, nothing, 4]),
            [1, 2, nothing, 4],
        ):
            assert model.predict(form).to_dicts() == expected


def test_a_dialect_is_that_of_predictions_and_streams_too(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        f"{day:%d.%m.%y};{hour}:00;1.23{hour % 10},{hour}\n" for day in days("2024-01-01", 2) for hour in range(24)
    ]
    header = "day;hour;y\n"
    path = text(tmp_path, header + "".join(lines))
    form = ("data.decimal=','", "data.thousands=.", "data.missing_values=[-]", "data.gaps=fill", "data.missing=forward")
    columns = ("data=csv", f"data.path={path}", "data.target=y", "data.time=[day,hour]", "data.length=4")
    run = train(*columns, *form, "data.num_samples=null", "model.hidden_size=4").directory.path
    model = load(run)
    forecast = model.predict(Path(path)).to_dicts()[0]
    assert (forecast["day"], forecast["hour"]) == ("03.01.24", "0:00")
    # a step that is left out, and one without a value
    gapped = [header, *lines[:10], *lines[12:30], lines[30].replace("1.236,6", "-"), *lines[31:]]
    file = text(tmp_path, "".join(gapped), "gapped.csv")
    steps = model.predict(Path(file), steps=True)
    assert predict.main([str(run), "--input", file, "--stream"]) == 0
    streamed = pl.read_csv(capsys.readouterr().out.encode())
    assert steps.height == 48
    assert streamed["step"].to_list() == [step for step in range(48) if step not in (10, 11)]
    said = steps.filter(~pl.col("step").is_in([10, 11]))["y predicted"].to_list()
    assert streamed["y predicted"].to_list() == pytest.approx(said, rel=1e-5)


def test_years_with_a_fraction_are_those_of_predictions_and_streams_too(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{1949 + month / 12:.12g},{month % 12}\n" for month in range(48)]
    path = text(tmp_path, "time,y\n" + "".join(lines))
    columns = ("data=csv", f"data.path={path}", "data.target=y", "data.time=time", "data.length=4")
    run = train(*columns, "data.num_samples=null", "model.hidden_size=4").directory.path
    whole = load(run).predict(Path(path)).to_dicts()[0]
    assert whole["time"] == "1953"
    # a row whose time is a whole year is no number there, and tells nothing of the decimals of a month
    january = text(tmp_path, "time,y\n1953,1\n", "january.csv")
    assert str(load(run).predict(Path(january)).to_dicts()[0]["time"]) == "1953-02-01"
    assert predict.main([str(run), "--input", path, "--stream"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 48


def test_a_series_that_repeats_itself_is_evaluated_as_any_other(train: Train, tmp_path: Path) -> None:
    """Its seasonal-naive forecast is right, so that its mean absolute scaled error has no unit."""
    path = text(tmp_path, "day,y\n" + "".join(f"{day},{n % 7}\n" for n, day in enumerate(days("2024-01-01", 120))))
    run = train("data=csv", f"data.path={path}", "data.target=y", "data.time=day", "data.num_samples=null")
    assert evaluate.main([str(run.directory.path), "trainer=cpu"]) == 0


READERS = [
    FeatureReader(("wave",)),
    FeatureReader(("a", "b"), fill=True),
    TokenReader(vocabulary=5),
    TextReader(("<unk>", "a"), classes=("x",)),
    CorpusReader(tuple(map(chr, range(256))), "byte"),
]
ODD: list[Any] = [
    None, 3, "", "\udce9", b"abc", object(), {}, {"a": 1}, {"wave": [[1, 2], [3]]}, {"text": [None]}, [],
    [None], [[None]], [1, None], ["\udce9"], [object()], [{"a": 1}], [[1, 2], [3]], {1, 2}, iter([1, "a"]),
    np.array(["a"]), np.datetime64("2020"), [np.datetime64("2020")], pl.DataFrame({"wave": [date(2020, 1, 1)]}),
    pl.DataFrame({"token": ["x"]}).lazy(), float("inf"), [float("nan")],
]  # fmt: skip


def refusal(use: Callable[[Any], Any], x: Any) -> str:
    """What is said against something; empty where it is read."""
    try:
        use(x)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: type(reader).__name__)
def test_whatever_is_handed_in_is_read_or_refused_in_one_line(reader: Reader) -> None:
    for use in (lambda x: list(reader.take(x)), reader.step):
        said = [refusal(use, odd) for odd in ODD]
        assert any(said)
        assert not [line for line in said if "\n" in line or len(line) > 400]


def test_a_training_part_without_a_target_teaches_nothing(tmp_path: Path) -> None:
    content = "t,y\n" + "".join(f"{k},{k if k >= 36 else ''}\n" for k in range(40))
    with pytest.raises(InputError, match=r"column 'y': the training part, up to .* has no known value of it"):
        CSV(path=text(tmp_path, content), target="y", time="t", length=4, missing="forward")


@pytest.mark.parametrize(
    ("header", "said"),
    [("z\n", "no column 'y'"), ("y\r1\r2\r", "lines end with CR alone")],
)
def test_the_header_of_a_stream_is_looked_at_before_its_rows(header: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        list(stream_rows(iter([header]), "there", Dialect(), ["y"]))


@pytest.mark.parametrize("rows", [3, 300])
def test_a_quotation_mark_that_stays_open_is_named_with_its_line(rows: int, tmp_path: Path) -> None:
    (tmp_path / "open.csv").write_text("y\n" + "1\n" * rows + '"2\n' + "3\n" * rows)
    with pytest.raises(InputError) as caught:
        CSV(path=str(tmp_path / "open.csv"), target="y", length=2)
    assert str(caught.value).endswith(f", line {rows + 2}: a quotation mark is opened here and never closed")


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("latin-1", "cp1252"),
        ("cp1252", "cp1252"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16le"),
        ("utf-32", "utf-32"),
    ],
)
def test_the_encoding_of_a_table_or_a_text_is_told(encoding: str, said: str, tmp_path: Path) -> None:
    euro = "" if encoding == "latin-1" else "€"
    content = f"t,y\n1,größe{euro}\n".encode(encoding)
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(InputError, match=f"iconv -f {said} -t utf-8"):
        read(tmp_path / "table.csv", TIMED)
    if encoding != "utf-16-le":  # zeros are characters of UTF-8
        with pytest.raises(InputError, match=f"iconv -f {said} -t utf-8"):
            decode_whole(content, "text.txt")


ENCODED: tuple[Callable[[Path], Any], ...] = (
    lambda path: list(read_text([path])),
    lambda path: first_line(path, str(path)),
    lambda path: open_source(path).frame(),
)


def test_an_encoding_of_two_bytes_is_told_in_the_same_words_with_its_mark_and_without(tmp_path: Path) -> None:
    said = set()
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        (tmp_path / "text.txt").write_bytes("what is said\n".encode(encoding))
        for reads in (
            lambda path: list(read_text([path])),
            lambda path: first_line(path, str(path)),
            lambda path: open_source(path).frame(),
        ):
            with pytest.raises(InputError) as caught:
                reads(tmp_path / "text.txt")
            said.add(re.sub("utf-16[lb]?e?", "utf-16", str(caught.value).removeprefix("--input ")))
    assert said == {
        f"{tmp_path}/text.txt is no UTF-8 but utf-16: convert it, such as by iconv -f utf-16 -t utf-8 FILE > NEW"
    }


def test_a_pattern_is_only_a_remedy_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"gr\xfc\xdfe")
    for path, helps in ((tmp_path, True), (tmp_path / "a.txt", False)):
        with pytest.raises(InputError, match="iconv") as caught:
            Text(path=str(path), length=2, batch_size=1)
        assert ("data.pattern" in str(caught.value)) is helps


# ---- texts ------------------------------------------------------------------------------------------

TEXTS: dict[str, Callable[[Path], Any]] = {
    "a corpus": lambda path: list(read_text([path])),
    "a text to predict": lambda path: open_source(path, "text").text(),
    "JSON lines to predict": lambda path: list(open_source(path, "jsonl").objects()),
    "a stream": lambda path: [decode(line, f"{path}, line 1") for line in path.read_bytes().splitlines(keepends=True)],
    "an archive": read_ts,
    "a table": lambda path: read(path, Columns(["y"])),
}


@pytest.mark.parametrize("reads", TEXTS)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "binary"])
def test_what_is_no_text_is_read_as_none(reads: str, encoding: str, tmp_path: Path) -> None:
    """Each byte of it is UTF-8, so that it was learned as characters with zeros between them."""
    path, text = tmp_path / "text.txt", "the quick brown fox\n" * 30
    path.write_bytes(bytes(range(128)) * 20 if encoding == "binary" else text.encode(encoding))
    wide = encoding.replace("-le", "le").replace("-be", "be")
    what = "is no text" if encoding == "binary" else f"is no UTF-8 but {wide}: .*iconv -f {wide} -t utf-8"
    with pytest.raises(InputError, match=f"text.txt.* {what}"):
        TEXTS[reads](path)


def test_a_log_with_colours_is_a_text(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("\x1b[32mINFO\x1b[0m well\n" * 50)
    assert "".join(read_text([path])) == path.read_text()


def test_a_run_of_bytes_predicts_any_file(tmp_path: Path) -> None:
    content = "häuser\0".encode("utf-16")
    (tmp_path / "new.txt").write_bytes(content)
    reader = CorpusReader(vocabulary=tuple(map(chr, range(256))), unit="byte")
    (given,) = reader.read(reader.open(tmp_path / "new.txt"))
    assert bytes(given.inputs.tolist()) == content
