"""Clocks that are changed for daylight saving: the times of forecasts, and times of a zone that is told."""

import logging
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import TINY, compose

import rnnlab
from rnnlab.data.csv import CSV
from rnnlab.data.history import History
from rnnlab.data.layout import Layout
from rnnlab.data.series_reader import SeriesReader
from rnnlab.files.clocks import CLOCKS
from rnnlab.files.frequency import Frequency
from rnnlab.files.panel import Columns, Panel, arrange, keep_series
from rnnlab.files.table import tabulate
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import execute

MINUTES = "%Y-%m-%d %H:%M"


def hours(zone: str, first: str, last: str, every: str = "1h") -> pl.DataFrame:
    """What a meter in a zone writes from one time of UTC to another."""
    ends = (datetime.fromisoformat(each) for each in (first, last))
    times = pl.datetime_range(*ends, every, time_zone="UTC", eager=True).dt.convert_time_zone(zone)
    return pl.DataFrame({"time": times, "load": 3 + np.sin(np.arange(len(times)) * np.pi / 12)})


def local(frame: pl.DataFrame, form: str = MINUTES) -> pl.DataFrame:
    return frame.with_columns(pl.col("time").dt.strftime(form))


def arranged(frame: pl.DataFrame) -> Panel:
    columns = Columns(["load"], time="time")
    return arrange(tabulate(frame.lazy(), columns, "here"), columns, "here")


def ahead(trained: Panel, frame: pl.DataFrame, steps: int = 3) -> tuple[list[str], bool]:
    """The times of the steps after some, by what is known of the clocks of those and of the training data."""
    panel = arranged(frame)
    history = History(0, len(panel.times), panel.values, np.isnan(panel.values), panel.times, panel.zone, panel.clocks)
    layout = Layout({"target": ["load"], "time": "time"}, length=8, horizon=1, direct=False)
    reader = SeriesReader(layout, ("",), ((0.0,),), ((1.0,),), True, trained.frequency.plain(), clocks=trained.clocks)
    times, is_sure = reader.later(history, steps)
    assert times is not None
    return [str(time)[11:16] for time in times[-steps:]], is_sure


YEAR = ("2023-01-01", "2024-02-10")


@pytest.mark.parametrize(
    ("zone", "last", "expected"),
    [
        ("Europe/Berlin", "2024-03-31T00:00", ["03:00", "04:00", "05:00"]),
        ("Europe/Berlin", "2024-10-26T23:00", ["02:00", "02:00", "03:00"]),
        ("Europe/Berlin", "2024-10-27T00:00", ["02:00", "03:00", "04:00"]),  # ends with the first of two hours
        ("Europe/Berlin", "2024-10-27T01:00", ["03:00", "04:00", "05:00"]),  # ends with the second one
        ("Europe/London", "2024-03-31T00:00", ["02:00", "03:00", "04:00"]),
        ("America/Chicago", "2024-11-03T05:00", ["01:00", "01:00", "02:00"]),
        ("Australia/Melbourne", "2024-10-05T15:00", ["03:00", "04:00", "05:00"]),
        ("Africa/Nairobi", "2024-03-30T23:00", ["03:00", "04:00", "05:00"]),
    ],
)
def test_forecasts_have_the_times_that_the_clock_of_the_series_will_show(
    zone: str, last: str, expected: list[str]
) -> None:
    trained = arranged(local(hours(zone, *YEAR)))
    first = str(np.datetime64(last, "h") - 60)
    assert ahead(trained, local(hours(zone, first, last))) == (expected, True)


def test_quarters_of_an_hour_go_through_the_hour_that_comes_twice() -> None:
    frame = local(hours("Europe/Berlin", "2024-03-01", "2024-10-26T23:30", "15m"))
    found, is_sure = ahead(arranged(frame), frame, 10)
    twice = [f"02:{minute}" for minute in ("00", "15", "30", "45")]
    assert (found, is_sure) == (["01:45", *twice, *twice, "03:00"], True)


BERLIN, CHICAGO = "Europe/Berlin", "America/Chicago"
SPRING, AUTUMN = "2024-03-31T", "2024-10-27T"
WEEKEND = [f"2024-10-{day}T{hour:02}:00" for day in (26, 27) for hour in range(24)]


@pytest.mark.parametrize(
    ("zone", "lost"),
    [
        (BERLIN, ["2024-06-01T00:00"]),
        (BERLIN, [f"{SPRING}00:00"]),  # the last hour before the change
        (BERLIN, [f"{SPRING}01:00"]),  # the first one behind it
        (BERLIN, [f"{SPRING}00:00", f"{SPRING}01:00", f"{SPRING}02:00"]),
        (BERLIN, [f"{AUTUMN}00:00"]),  # one of the two hours of one name
        (BERLIN, [f"{AUTUMN}01:00"]),
        (BERLIN, ["2024-10-26T23:00", f"{AUTUMN}00:00"]),
        (BERLIN, [f"{AUTUMN}00:00", f"{AUTUMN}01:00"]),  # both: an hour is left out as in spring
        (BERLIN, [f"{AUTUMN}01:00", f"{AUTUMN}02:00"]),
        (BERLIN, [f"{SPRING}01:00", *WEEKEND]),
        (CHICAGO, [f"2024-11-03T{hour:02}:00" for hour in range(3, 12)]),
    ],
)
@pytest.mark.parametrize("every", ["1h", "30m"])
def test_what_is_filled_in_is_what_the_clock_showed(zone: str, lost: list[str], every: str) -> None:
    whole = hours(zone, "2023-01-01", "2024-12-10", every)
    gone = pl.col("time").dt.convert_time_zone("UTC").dt.truncate("1h").dt.strftime("%Y-%m-%dT%H:%M").is_in(lost)
    columns = Columns(["load"], time="time")
    table = tabulate(local(whole.filter(~gone)).lazy(), columns, "here")
    panel = arrange(table, columns, "here", gaps="fill")
    assert pl.Series(panel.times).dt.strftime(MINUTES).to_list() == local(whole)["time"].to_list()
    assert np.isnan(panel.values[:, 0]).tolist() == whole.select(gone).to_series().to_list() or len(lost) == 1


def test_what_is_filled_in_goes_by_the_clock_of_the_training_data() -> None:
    whole = hours(BERLIN, "2024-10-20", "2024-10-30")
    some = local(whole)[:140].vstack(local(whole)[200:])
    columns = Columns(["load"], time="time")
    table = tabulate(some.lazy(), columns, "here")
    clocks = arranged(local(hours(BERLIN, *YEAR))).clocks
    assert len(arrange(table, columns, "here", gaps="fill", clocks=clocks).times) == len(whole)
    # of itself the file does not tell whether a clock was changed
    assert len(arrange(table, columns, "here", gaps="fill").times) == len(whole) - 1


def test_one_of_two_hours_of_one_name_is_no_gap_unless_gaps_are_filled() -> None:
    frame = local(hours(BERLIN, *YEAR)).unique("time", keep="first", maintain_order=True)
    assert len(arranged(frame).times) == len(frame)
    columns = Columns(["load"], time="time")
    filled = arrange(tabulate(frame.lazy(), columns, "here"), columns, "here", gaps="fill")
    assert len(filled.times) == len(frame) + 1 and filled.clocks == (BERLIN,)
    neither = frame.filter(pl.col("time") != "2023-10-29 02:00")
    filled = arrange(tabulate(neither.lazy(), columns, "here"), columns, "here", gaps="fill")
    assert len(filled.times) == len(frame) + 1


def test_a_history_that_has_seen_no_change_does_not_tell_the_next_one() -> None:
    summer = local(hours("Europe/Berlin", "2024-06-01", "2024-07-20"))
    trained = arranged(summer)
    assert ahead(trained, summer)[1]  # no change is near
    autumn = local(hours("Europe/Berlin", "2024-10-20", "2024-10-26T23:00"))
    assert ahead(trained, autumn) == (["02:00", "03:00", "04:00"], False)
    # of the file itself it is known, once it has been there
    both = local(hours("Europe/Berlin", "2024-10-20", "2024-10-27T00:00"))
    assert not ahead(trained, both)[1]
    assert ahead(trained, local(hours("Europe/Berlin", "2024-10-20", "2024-10-27T01:00"))) == (
        ["03:00", "04:00", "05:00"], True,
    )  # fmt: skip


def test_an_hour_that_was_there_twice_is_over(tmp_path: Path) -> None:
    trained = arranged(local(hours("Europe/Berlin", *YEAR)))
    both, first = (local(hours("Europe/Berlin", "2024-10-27", f"2024-10-27T0{hour}")) for hour in (1, 0))
    assert both["time"].to_list() == ["2024-10-27 02:00"] * 2
    layout = Layout({"target": ["load"], "time": "time"}, length=8, horizon=1, direct=False)
    reader = SeriesReader(layout, ("",), ((0.0,),), ((1.0,),), True, trained.frequency.plain(), clocks=trained.clocks)
    for frame, sure in ((both, True), (first, False)):
        (history,), _ = reader.histories(frame)
        times, is_sure = reader.later(history, 1)
        assert times is not None and (str(times[-1])[11:16], is_sure) == ("03:00", sure)


def test_a_clock_that_was_seen_not_to_be_changed_stays_so() -> None:
    # in Mexico it was changed until 2022
    assert arranged(local(hours("UTC", *YEAR))).clocks == ("UTC", "America/Mexico_City")
    assert arranged(local(hours("UTC", "2024-06-01", "2024-07-20"))).clocks == CLOCKS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on hours in which no clock was changed."""
    folder = tmp_path_factory.mktemp("run")
    local(hours("Europe/Berlin", "2024-06-01", "2024-07-01")).write_csv(folder / "train.csv")
    config = compose(
        *TINY, "model.hidden_size=4", "instruments=none", "data=csv",
        f"data.path={folder / 'train.csv'}", "data.length=8", "data.linear=none", "data.window_scaling=global",
        "data.target=load", "data.time=time", "data.horizon=5", "data.batch_size=64",
    )  # fmt: skip
    directory = RunDirectory.claim(folder / "run")
    execute(directory, config, quiet=True)
    return directory.path


def test_what_nobody_knows_is_said_in_one_note(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = rnnlab.load(run)
    with caplog.at_level(logging.WARNING, "rnnlab"):
        model.predict(local(hours("Europe/Berlin", "2024-06-20", "2024-07-03")))
        assert not caplog.text
        model.predict(local(hours("Europe/Berlin", "2024-03-20", "2024-03-30T21:00")))
    (record,) = caplog.records
    assert "daylight saving by 2024-03-31 03:00, " in record.getMessage()


@pytest.mark.parametrize("form", ["parquet", "offsets", "z"])
def test_times_of_a_zone_are_told_with_it(form: str, run: Path, caplog: pytest.LogCaptureFixture) -> None:
    frame = hours("UTC" if form == "z" else "Europe/Berlin", "2024-03-20", "2024-03-30T22:00")
    given = {"parquet": frame, "offsets": local(frame, f"{MINUTES}%:z"), "z": local(frame, f"{MINUTES}Z")}[form]
    with caplog.at_level(logging.WARNING, "rnnlab"):
        found = rnnlab.load(run).predict(given)
    # those of the run are a clock's, so that their hours are others
    (record,) = caplog.records
    assert "they are read as UTC" in record.getMessage()
    utc = [f"2024-03-{day} {hour}:00Z" for day, hour in ((30, "23"), (31, "00"), (31, "01"), (31, "02"), (31, "03"))]
    offsets = [f"2024-03-31 0{hour}:00+01:00" for hour in range(5)]  # that of the rows, whatever their place may be
    there = [f"2024-03-31 0{hour}" for hour in ("0+0100", "1+0100", "3+0200", "4+0200", "5+0200")]
    said = found["time"].dt.strftime("%Y-%m-%d %H%z") if form == "parquet" else found["time"]
    assert said.to_list() == {"parquet": there, "offsets": offsets, "z": utc}[form]


@pytest.mark.parametrize("step", ["1d", "1mo"])
@pytest.mark.parametrize("end", ["csv", "parquet"])
def test_days_of_a_place_are_those_of_its_clock(step: str, end: str, tmp_path: Path) -> None:
    first, last = (
        (datetime(2010, 3, 10), datetime(2010, 8, 1)) if step == "1d" else (datetime(2010, 1, 1), datetime(2022, 1, 1))
    )
    times = pl.datetime_range(first, last, step, time_zone="Europe/Berlin", eager=True)
    frame = pl.DataFrame({"time": times, "load": np.arange(len(times)) % 7})
    shown = local(frame, "%Y-%m-%d %H:%M:%S%:z")
    path = tmp_path / f"days.{end}"
    shown.write_csv(path) if end == "csv" else frame.write_parquet(path)
    data = CSV(path=str(path), target="load", time="time", length=7, linear="none")
    naive = times.dt.replace_time_zone(None).to_numpy()
    assert (data.panel.times == naive).all()
    assert (data.panel.frequency.unit, data.panel.zone) == ("duration" if step == "1d" else "month", None)
    lines = ["time,load", *(f"{time},{load}" for time, load in shown.rows()[:24])]
    assert len(list(data.reader.stream(iter(lines), "lines"))) >= 24 - data.reader.layout.reach


def test_hours_of_a_place_stay_moments() -> None:
    frame = hours("Europe/Berlin", "2024-03-01", "2024-04-10")
    panel = arranged(local(frame, f"{MINUTES}%:z"))
    assert (panel.times == frame["time"].dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()).all()
    assert (panel.zone, panel.note) == ("UTC", "")


def test_series_that_are_left_out_change_nothing_about_the_others() -> None:
    panel = Panel(
        np.zeros((5, 1)), np.arange(5), np.array([0, 2, 5]), ("a", "b"), Columns(["y"]),
        Frequency("duration", 3_600_000_000), unit="row", unknown=np.eye(5, 1, dtype=bool), clocks=("UTC",), zone="UTC",
    )  # fmt: skip
    kept = keep_series(panel, [1])
    assert (kept.unit, kept.seasons, kept.clocks, kept.zone) == ("row", (), ("UTC",), "UTC")
    assert kept.unknown is not None and kept.unknown.shape == (3, 1) and not kept.unknown.any()
