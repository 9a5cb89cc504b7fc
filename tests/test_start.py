"""`rnnlab start`: what it sees in files with quirks of their own, and that what it prints trains."""

import datetime
import importlib
import json
import math
import os
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import polars as pl
import pytest
from conftest import compose

from rnnlab.__main__ import main as program
from rnnlab.commands import start as start_command
from rnnlab.commands import train as train_command
from rnnlab.data.ts_file import read_ts
from rnnlab.data.ucr_archive import _packaged
from rnnlab.errors import InputError
from rnnlab.start.advice import LINES, Command, commands, lines, override
from rnnlab.start.description import Description, Examples, Labelled, PlainText, Series, Unclear
from rnnlab.start.look import look
from rnnlab.start.wording import counted

DAYS = [datetime.date(2023, 1, 1) + datetime.timedelta(n) for n in range(400)]


def noise(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=size)


def weekly(rows: int = 400, level: float = 100.0, seed: int = 0) -> np.ndarray:
    """Numbers with a week and a trend."""
    at = np.arange(rows)
    return (level * (1 + 0.001 * at + 0.3 * np.sin(2 * np.pi * at / 7)) + noise(rows, seed)).round(2)


def csv(path: Path, header: str, rows: Iterable[Sequence[Any]], separator: str = ",") -> Path:
    lines = [header, *(separator.join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


# ---- twenty files and more, each with a quirk ---------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A file, and what is to be seen in it.

    Attributes:
        make: writes it into a folder, and says where.
        keys: overrides that the first command has, beside data, its path and the horizon.
        facts: attributes of the description.
        said: what stands in its lines.
    """

    make: Callable[[Path], Path]
    keys: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    said: tuple[str, ...] = ()
    kind: type = Series


CASES: dict[str, Case] = {}


def case(
    kind: type = Series, said: str | tuple[str, ...] = (), keys: dict[str, Any] | None = None, **facts: Any
) -> Any:
    """Registers the file that a function makes."""

    def register(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
        said_ = (said,) if isinstance(said, str) else said
        CASES[make.__name__] = Case(make, keys or {}, facts, said_, kind)
        return make

    return register


@case(
    keys={"data.target": "sales", "data.time": "day"},
    horizon=7,
    step="day",
    number=1,
    gaps=0,
    said=("season of 7 days", "trend up"),
)
def one_series(folder: Path) -> Path:
    return csv(folder / "sales.csv", "day,sales", zip(DAYS, weekly(), strict=True))


@case(
    keys={"data.target": "Wert", "data.time": "Datum", "data.decimal": ","}, step="day",
    said=("separated by ';'", "decimal comma"),
)  # fmt: skip
def decimal_comma(folder: Path) -> Path:
    rows = ((f"{day:%d.%m.%Y}", f"{value:.2f}".replace(".", ",")) for day, value in zip(DAYS, weekly(), strict=True))
    return csv(folder / "german.csv", "Datum;Wert", rows, ";")


@case(
    keys={"data.target": "Umsatz (EUR)", "data.time": "Tag", "data.decimal": ",", "data.thousands": "."},
    said="thousands",
)
def groups_of_digits(folder: Path) -> Path:
    def german(value: float) -> str:
        return f"{value:,.2f}".translate(str.maketrans(",.", ".,"))

    rows = ((day, german(value)) for day, value in zip(DAYS, weekly(level=5000), strict=True))
    return csv(folder / "umsatz.csv", "Tag\tUmsatz (EUR)", rows, "\t")


@case(
    keys={"data.target": "sales", "data.time": "date", "data.series": "shop"},
    number=3,
    lengths=(400, 400, 400),
    horizon=7,
)
def long_form(folder: Path) -> Path:
    rows = [
        (day, shop, weekly(level=level)[n])
        for n, day in enumerate(DAYS)
        for shop, level in (("north", 100), ("south", 50), ("west", 70))
    ]
    return csv(folder / "shops.csv", "date,shop,sales", rows)


def towns(folder: Path, first: int) -> Path:
    """Two series below each other, the second of which begins at that day."""
    rows = [(DAYS[n], "Bern", weekly()[n]) for n in range(200)]
    rows += [(DAYS[first + n], "Graz", weekly(level=900)[n]) for n in range(400 - first)[:200]]
    return csv(folder / "towns.csv", "day,town,load", rows)


@case(keys={"data.target": "load", "data.time": "day", "data.series": "town"}, number=2, lengths=(200, 200, 200))
def series_that_overlap_little(folder: Path) -> Path:
    return towns(folder, 195)


@case(keys={"data.target": "load", "data.time": "day", "data.series": "town"}, number=2)
def series_of_which_the_later_one_comes_first(folder: Path) -> Path:
    header, *rows = towns(folder, 200).read_text(encoding="utf-8").splitlines()
    return csv(folder / "towns.csv", header, ([row] for row in rows[200:] + rows[:200]))


@case(
    keys={"data.target": "load", "data.time": "day", "data.repeated": "last"}, number=1,
    said="5 rows are of a time that is there already",
)  # fmt: skip
def rows_that_were_revised(folder: Path) -> Path:
    rows = [(day, "first", weekly()[n]) for n, day in enumerate(DAYS)]
    for n in (350, 280, 210, 140, 70):
        rows.insert(n, (DAYS[n - 1], "revised", weekly()[n - 1] + 1))
    return csv(folder / "revised.csv", "day,status,load", rows)


@case(keys={"data.target": "sales", "data.time": "day"}, said="1 row has no time in 'day' but 'Total': left out")
def a_line_of_totals(folder: Path) -> Path:
    return csv(folder / "totals.csv", "day,sales", [*zip(DAYS, weekly(), strict=True), ("Total", 40000)])


@case(keys={"data.target": "sales", "data.time": "day"}, number=1, said="2 rows have no time in 'day' but 'day'")
def a_header_that_comes_again(folder: Path) -> Path:
    rows: list[Any] = list(zip(DAYS, weekly(), strict=True))
    return csv(folder / "again.csv", "day,sales", [("day", "sales"), *rows[:200], ("day", "sales"), *rows[200:]])


@case(keys={"data.target": "sales", "data.period": 7}, said="'day' holds dates, and '2023-02-30' among them: not read")
def a_date_that_is_none(folder: Path) -> Path:
    days = [str(day) for day in DAYS]
    return csv(folder / "slip.csv", "day,sales", zip([*days[:59], "2023-02-30", *days[60:]], weekly(), strict=True))


@case(Unclear, said=("what is to be forecast?", "sales: always the same value", "shop: words"))
def nothing_that_changes(folder: Path) -> Path:
    return csv(folder / "constant.csv", "day,shop,sales", ((day, f"s{n % 2}", 5) for n, day in enumerate(DAYS)))


@case(PlainText, said="is it a table of 2 columns with blanks between? tr -s ' ' ,")
def a_table_with_blanks_between(folder: Path) -> Path:
    return csv(folder / "blanks.txt", "day  sales", zip(DAYS, weekly(), strict=True), "  ")


@case(Unclear, said=("9 characters of text", "training refuses it: data.path=", "make one of them smaller"))
def a_text_too_short(folder: Path) -> Path:
    (folder / "note.txt").write_text("The rain.")
    return folder / "note.txt"


@case(PlainText, keys={"data.batch_size": 8, "data.length": 32}, files=4)
def a_folder_of_one_class(folder: Path) -> Path:
    (folder / "texts" / "pos").mkdir(parents=True)
    for n in range(4):
        (folder / "texts" / "pos" / f"{n}.txt").write_text("a good film\nwell made\nI laughed\n" * 5)
    return folder / "texts"


@case(keys={"data.target": "y", "data.time": "ds", "data.series": "unique_id"}, number=2, step="month", horizon=12)
def ids_that_are_numbers(folder: Path) -> Path:
    months = [datetime.date(2000 + n // 12, n % 12 + 1, 28) for n in range(200)]
    rows = [
        (k, month, round(50 * k + 10 * math.sin(n / 12 * 2 * math.pi) + noise(200, k)[n], 3))
        for k in (1, 2)
        for n, month in enumerate(months)
    ]
    return csv(folder / "ids.csv", "unique_id,ds,y", rows)


@case(keys={"data.target": ["store_1", "store_2", "store_3"], "data.time": "date"}, said="forecast together")
def wide_panel(folder: Path) -> Path:
    rows = zip(DAYS, weekly(level=100), weekly(level=120, seed=1), weekly(level=90, seed=2), strict=True)
    return csv(folder / "wide.csv", "date,store_1,store_2,store_3", rows)


@case(keys={"data.target": "value", "data.period": 12}, said=("a row a step", "season of 12 steps"))
def no_time_stamps(folder: Path) -> Path:
    at = np.arange(300)
    return csv(folder / "plain.csv", "value", [[x] for x in (10 + np.sin(at * np.pi / 6) + 0.1 * noise(300)).round(3)])


@case(keys={"data.target": "load"}, step="hour", horizon=24, said="season of 24 hours")
def hours_in_utc(folder: Path) -> Path:
    start = datetime.datetime(2023, 1, 1)
    at = np.arange(1200)
    load = (100 + 20 * np.sin(at * np.pi / 12) + noise(1200)).round(2)
    rows = [(f"{start + datetime.timedelta(hours=n):%Y-%m-%dT%H:%M:%S}Z", load[n]) for n in range(1200)]
    return csv(folder / "hours.csv", "timestamp,load", rows)


CASES["hours_in_utc"].keys.update({"data.time": "timestamp"})


@case(
    keys={"data.target": "load", "data.time": "local time"},
    step="hour",
    horizon=24,
    gaps=0,
    said=("season of 24 hours", "daylight saving"),
)
def hours_of_daylight_saving(folder: Path) -> Path:
    from zoneinfo import ZoneInfo

    start, zone = datetime.datetime(2023, 2, 1, tzinfo=datetime.timezone.utc), ZoneInfo("Europe/Berlin")
    rows = []
    for n in range(24 * 300):
        local = (start + datetime.timedelta(hours=n)).astimezone(zone)
        rows.append(
            (f"{local:%Y-%m-%d %H:%M}", round(100 + 20 * math.sin(local.hour / 24 * 2 * math.pi) + noise(7200)[n], 2))
        )
    return csv(folder / "berlin.csv", "local time,load", rows)


@case(keys={"data.target": "visits", "data.time": "date"}, said="created_at: not read")
def two_columns_of_dates(folder: Path) -> Path:
    rows = [(DAYS[0] + datetime.timedelta(n // 30 * 30), day, weekly()[n]) for n, day in enumerate(DAYS)]
    return csv(folder / "two.csv", "created_at,date,visits", rows)


@case(
    keys={"data.target": "power", "data.time": ["Date", "Time"]},
    step_size="30 minutes",
    said="a date and a time of the day",
)
def date_and_clock(folder: Path) -> Path:
    start = datetime.datetime(2023, 1, 1)
    moments = [start + datetime.timedelta(minutes=30 * n) for n in range(960)]
    values = (5 + 2 * np.sin(np.arange(960) * np.pi / 24) + 0.1 * noise(960)).round(3)
    return csv(
        folder / "clock.csv",
        "Date,Time,power",
        [(f"{t:%d/%m/%Y}", f"{t:%H:%M:%S}", v) for t, v in zip(moments, values, strict=True)],
    )


@case(keys={"data.target": "cnt", "data.time": ["dteday", "hr"]}, step="hour", said="a date and a time of the day")
def a_date_and_an_hour(folder: Path) -> Path:
    rows = [
        (n, DAYS[n // 24], n % 24, round(100 + 20 * math.sin(n / 12 * math.pi) + noise(1200)[n]) + 50)
        for n in range(1200)
    ]
    return csv(folder / "bikes.csv", "instant,dteday,hr,cnt", rows)


@case(keys={"data.target": "pm2.5", "data.period": 24, "data.missing": "forward"}, said="parts of one")
def parts_of_a_date(folder: Path) -> Path:
    start = datetime.datetime(2010, 1, 1)
    moments = [start + datetime.timedelta(hours=n) for n in range(1200)]
    rows = [
        (
            n + 1,
            t.year,
            t.month,
            t.day,
            t.hour,
            "NA" if n < 24 else round(100 + 20 * math.sin(n / 12 * math.pi) + noise(1200)[n], 1),
        )
        for n, t in enumerate(moments)
    ]
    return csv(folder / "beijing.csv", "No,year,month,day,hour,pm2.5", rows)


@case(keys={"data.target": "value", "data.time": "ts"}, step_size="5 minutes", said="it counts seconds since 1970")
def seconds_since_1970(folder: Path) -> Path:
    return csv(folder / "epoch.csv", "ts,value", [(1_600_000_000 + 300 * n, x) for n, x in enumerate(weekly())])


CASES["seconds_since_1970"].keys.update({"data.period": 7})


@case(keys={"data.target": "mV", "data.period": 133}, said="counts in fractions")
def times_in_fractions(folder: Path) -> Path:
    rows = [
        (n / 250, round(math.sin(n / 30 * math.sqrt(2)) + 0.1 * noise(800)[n], 3), int(n > 700)) for n in range(800)
    ]
    return csv(folder / "ecg.csv", "time,mV,label", rows)


@case(keys={"data.target": "price", "data.time": "week"}, step="week", horizon=4)
def weeks(folder: Path) -> Path:
    rows = [
        (
            datetime.date(2015, 1, 5) + datetime.timedelta(7 * n),
            round(10 + 3 * math.sin(n / 52 * 2 * math.pi) + 0.2 * noise(400)[n], 3),
        )
        for n in range(400)
    ]
    return csv(folder / "weeks.csv", "week,price", rows)


@case(keys={"data.target": "gdp", "data.time": "quarter"}, step="quarter", horizon=4)
def quarters(folder: Path) -> Path:
    rows = [(f"{1980 + n // 4}Q{n % 4 + 1}", round(1000 * 1.01**n + noise(160)[n], 1)) for n in range(160)]
    return csv(folder / "gdp.csv", "quarter,gdp", rows)


@case(keys={"data.target": "passengers", "data.time": "time"}, step="month", horizon=12, said="season of 12 months")
def years_with_fractions(folder: Path) -> Path:
    """As R writes its series, with the numbers of the rows in front."""
    rows = [
        (n + 1, f"{1949 + n / 12:.15g}", 100 + n + round(20 * math.sin(n / 6 * math.pi) + noise(144)[n]))
        for n in range(144)
    ]
    return csv(folder / "AirPassengers.csv", ",time,passengers", rows)


@case(keys={"data.target": "realgdp", "data.period": 4}, said="parts of one")
def year_and_quarter(folder: Path) -> Path:
    season = np.array([3.0, -1.0, 2.0, -4.0])
    rows = [
        (1959.0 + n // 4, float(n % 4 + 1), round(2700 + 8 * n + 10 * season[n % 4], 2), round(28 + n / 10, 2))
        for n in range(200)
    ]
    return csv(folder / "macro.csv", "year,quarter,realgdp,cpi", rows)


@case(
    keys={"data.target": "sales", "data.time": "day", "data.gaps": "fill", "data.missing": "forward"},
    gaps=10,
    said="10 steps are left out",
)
def gaps(folder: Path) -> Path:
    rows = [row for n, row in enumerate(zip(DAYS, weekly(), strict=True)) if n % 40 != 7]
    return csv(folder / "gaps.csv", "day,sales", rows)


@case(keys={"data.target": "level", "data.time": "when", "data.gaps": "elapsed"}, said="irregular: each row is a step")
def irregular(folder: Path) -> Path:
    times = np.datetime64("2024-01-01") + np.cumsum(np.random.default_rng(0).integers(1, 9000, 400)).astype("m8[s]")
    rows = [(str(time).replace("T", " "), value) for time, value in zip(times, noise(400).round(2), strict=True)]
    return csv(folder / "sensor.csv", "when,level", rows)


@case(keys={"data.target": "Close", "data.time": "Date", "data.gaps": "ignore"}, said="business day")
def trading_days(folder: Path) -> Path:
    days = [day for day in DAYS if day.weekday() < 5 and day.day != 25]
    walk = 100 + np.cumsum(noise(400)).round(2)
    rows = [(day, *(round(walk[n] + d, 2) for d in (-0.3, 1.1, -1.2, 0)), 1000 + n) for n, day in enumerate(days)]
    return csv(folder / "stock.csv", "Date,Open,High,Low,Close,Volume", rows)


@case(
    keys={"data.target": "pm25", "data.time": "date", "data.missing_values": [-999], "data.missing": "forward"},
    said="-999 occurs 8 times",
)
def numbers_for_none(folder: Path) -> Path:
    values = weekly()
    values[::50] = -999
    return csv(folder / "air.csv", "date,pm25", zip(DAYS, values, strict=True))


@case(
    keys={"data.target": "flow", "data.time": "date", "data.missing_values": ["-"], "data.missing": "forward"},
    said="8 values are missing",
)
def words_for_none(folder: Path) -> Path:
    values = [f"{value}" for value in weekly()]
    values[::50] = ["-"] * 8
    return csv(folder / "flow.csv", "date,flow", zip(DAYS, values, strict=True))


@case(keys={"data.target": "sales", "data.time": "date", "data.time_format": "%m/%d/%Y"}, step="month")
def the_month_comes_first(folder: Path) -> Path:
    rows = [
        (f"{n % 12 + 1:02}/01/{2005 + n // 12}", round(50 + 10 * math.sin(n / 6 * math.pi) + noise(150)[n], 2))
        for n in range(150)
    ]
    return csv(folder / "us.csv", "date,sales", rows)


@case(keys={"data.target": "sales", "data.time": "day", "data.sort": True}, said="not in the order of time")
def rows_upside_down(folder: Path) -> Path:
    return csv(folder / "down.csv", "day,sales", reversed(list(zip(DAYS, weekly(), strict=True))))


@case(keys={"data.target": "value"}, said=("copy says the same as value", "always the same value"))
def an_index_a_copy_and_a_constant(folder: Path) -> Path:
    values = weekly()
    return csv(
        folder / "pandas.csv", ",value,copy,unit", [(n, x, round(2 * x + 1, 2), "kg") for n, x in enumerate(values)]
    )


CASES["an_index_a_copy_and_a_constant"].keys.update({"data.period": 7})


@case(keys={"data.target": "sales", "data.time": "day"}, said="Parquet")
def parquet(folder: Path) -> Path:
    pl.DataFrame({"day": DAYS, "sales": weekly(), "promo": (np.arange(400) % 5 == 0)}).write_parquet(
        folder / "sales.parquet"
    )
    return folder / "sales.parquet"


@case(Labelled, data="ucr", channels=2, tested=6, classes={"walk": 15, "run": 15}, said="6 sequences in a test file")
def recordings(folder: Path) -> Path:
    folder = folder / "steps"
    folder.mkdir()
    for name, number in (("TRAIN", 30), ("TEST", 6)):
        rows = []
        for n in range(number):
            channels = [",".join(f"{x:.2f}" for x in noise(5 + n % 4, 10 * n + k) + n % 2) for k in range(2)]
            rows.append(":".join([*channels, ("walk", "run")[n % 2]]))
        (folder / f"steps_{name}.ts").write_text(
            "@problemName steps\n@classLabel true walk run\n@data\n" + "\n".join(rows) + "\n"
        )
    return folder


@case(PlainText, files=1, said="characters")
def a_text(folder: Path) -> Path:
    (folder / "book.txt").write_text("The rain in Spain stays mainly in the plain.\n" * 400)
    return folder / "book.txt"


@case(Labelled, data="text_classification", classes={"Italian": 60, "Polish": 60}, said="a file a class")
def folder_of_word_lists(folder: Path) -> Path:
    (folder / "names").mkdir()
    for language, ending in (("Italian", "ini"), ("Polish", "ski")):
        words = [f"{a}{b}{ending}" for a in "abcdefghijkl" for b in "aeiou"]
        (folder / "names" / f"{language}.txt").write_text("\n".join(words) + "\n")
    return folder / "names"


@case(Labelled, data="text_classification", keys={"data.unit": "word"}, said="a folder a class")
def folders_of_texts(folder: Path) -> Path:
    for label, word in (("neg", "dull"), ("pos", "fine")):
        (folder / "reviews" / label).mkdir(parents=True)
        for n in range(10):
            (folder / "reviews" / label / f"{n}.txt").write_text(
                f"This film number {n} is {word} as can be, said the man.\n"
            )
    return folder / "reviews"


@case(PlainText, files=3, keys={"data.pattern": "*.md"}, said="3 files")
def folder_of_notes(folder: Path) -> Path:
    (folder / "notes").mkdir()
    for n in range(3):
        text = (
            "# Notes\n\n"
            + f"This is a paragraph of notes {n}, which goes on\nover several lines, and never\nends with one.\n\n" * 60
        )
        (folder / "notes" / f"{n}.md").write_text(text)
    (folder / "notes" / "picture.png").write_bytes(b"\x89PNG\0\0\0\1")
    return folder / "notes"


@case(
    Labelled, data="text_classification", keys={"data.unit": "word"}, classes={"neg": 60, "pos": 60}, said="JSON lines"
)
def json_lines_of_labelled_texts(folder: Path) -> Path:
    rows = [
        {
            "text": f"this is number {n} and it is {('good', 'bad')[n % 2]} as far as I see",
            "label": ("pos", "neg")[n % 2],
        }
        for n in range(120)
    ]
    (folder / "reviews.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder / "reviews.jsonl"


@case(
    Labelled,
    data="text_classification",
    keys={"data.text_column": "utterance", "data.label_column": "intent"},
    said="repeat another: each counts once",
)
def labelled_texts_of_other_names(folder: Path) -> Path:
    rows = [(n, f'"turn {("on", "off")[n % 2]} light {n // 3}, please"', ("start", "stop")[n % 2]) for n in range(200)]
    return csv(folder / "intents.csv", "id,utterance,intent", rows)


REPEATED = [("works well", "good"), ("was never sent", "bad"), ("came late, and broken", "bad"), ("I love it", "good")]


@case(
    Labelled,
    data="text_classification",
    classes={"bad": 24, "good": 24},
    keys={"data.text_column": "message", "data.label_column": "topic"},
    said=("texts with a class each", "message: the only column of text"),
)
def texts_that_are_repeated(folder: Path) -> Path:
    rows = [
        (n, f"{('hello', 'hi')[n // 4 % 2]} {n // 8 % 6} {text}", topic)
        for n, (text, topic) in enumerate(REPEATED * 30)
    ]
    return csv(folder / "messages.csv", "id,message,topic", ((n, f'"{text}"', topic) for n, text, topic in rows))


@case(keys={"data.target": "sold", "data.series": "title", "data.period": 7}, number=2)
def titles_are_names_of_series(folder: Path) -> Path:
    rows = [(name, kind, v) for name, kind in (("a long song", "pop"), ("a short one", "rock")) for v in weekly(60)]
    return csv(folder / "songs.csv", "title,genre,sold", rows)


@case(Unclear, said=("no column that tells their order", "no sequences"))
def rows_without_order(folder: Path) -> Path:
    x = np.random.default_rng(0).normal(size=(150, 4)).round(2)
    return csv(
        folder / "iris.csv",
        "sepal length,sepal width,petal length,petal width,species",
        [(*row, "abc"[n // 50]) for n, row in enumerate(x)],
    )


@case(Unclear, said="no column tells series apart")
def events_at_any_time(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = sorted(
        (DAYS[day], round(price, 2))
        for day, price in zip(rng.integers(0, 50, 500), rng.normal(20, 5, 500), strict=True)
    )
    return csv(folder / "orders.csv", "date,price", rows)


@case(
    keys={"data.target": "sales", "data.time": "date", "data.series": "series"}, number=4,
    said="'store' and 'item' together tell the series apart",
)  # fmt: skip
def two_columns_name_a_series(folder: Path) -> Path:
    rows = [
        (day, store, item, round(10 * store + n % 7 + ord(item) % 5, 1))
        for n, day in enumerate(DAYS[:100])
        for store in (1, 2)
        for item in "ab"
    ]
    return csv(folder / "stores.csv", "date,store,item,sales", rows)


@case(keys={"data.target": "value", "data.time": "date"}, step="day", said="no header")
def no_header(folder: Path) -> Path:
    rows = list(zip(DAYS, weekly(), strict=True))
    return csv(folder / "bare.csv", f"{rows[0][0]},{rows[0][1]}", rows[1:])


@case(
    keys={"data.target": "value", "data.time": "date"}, step="month", lengths=(480, 480, 480), said="columns are months"
)
def months_in_columns(folder: Path) -> Path:
    months = np.sin(np.arange(12) * np.pi / 6)
    rows = [(1950 + year, *(20 + 3 * months + 0.3 * noise(12, year)).round(2)) for year in range(40)]
    return csv(folder / "elnino.csv", "YEAR,JAN,FEB,MAR,APR,MAY,JUN,JUL,AUG,SEP,OCT,NOV,DEC", rows)


@case(keys={"data.target": "value", "data.time": "time", "data.series": "series"}, number=30, said="its times")
def years_in_columns(folder: Path) -> Path:
    rows = [(f"country {k}", "people", *(k + np.cumsum(noise(60, k))).round(2)) for k in range(30)]
    return csv(folder / "people.csv", "country,unit," + ",".join(map(str, range(1960, 2020))), rows)


@case(
    Labelled,
    data="ucr",
    classes={"1": 15, "2": 15},
    lengths=(40, 40, 40),
    channels=1,
    said=("no header", "as a .ts file"),
)
def sequences_in_rows_without_a_header(folder: Path) -> Path:
    rows = [(n % 2 + 1, *(noise(40, n) + n % 2).round(3)) for n in range(30)]
    return csv(folder / "waves_TRAIN.tsv", "\t".join(map(str, rows[0])), rows[1:], "\t")


@case(
    Labelled,
    keys={"data.target": "result", "data.sequence": "visit", "data.time": "day", "data.group": "patient"},
    data="table",
    classes={"sick": 20, "well": 20},
    lengths=(5, 5, 5),
    said="no patient torn apart",
)
def visits_of_patients(folder: Path) -> Path:
    rows = [
        (f"p{visit // 2}", f"v{visit}", day, round(70 + value, 1), "AB"[day % 2], ("well", "sick")[visit % 2])
        for visit in range(40)
        for day, value in enumerate(noise(5, visit))
    ]
    return csv(folder / "visits.csv", "patient,visit,day,pulse,ward,result", rows)


@case(
    Labelled,
    keys={"data.target": "activity", "data.sequence": "recording", "data.time": "step"},
    data="table",
    classes={"run": 12, "walk": 12},
    channels=2,
    lengths=(10, 12, 14),
    said="its channels",
)
def sequences_below_each_other(folder: Path) -> Path:
    rows = [
        (k, step, round(float(x), 3), round(float(x) ** 2, 3), ("walk", "run")[k % 2])
        for k in range(24)
        for step, x in enumerate(noise(10 + k % 5, k) + k % 2)
    ]
    return csv(folder / "steps.csv", "recording,step,x,y,activity", rows)


def machines(folder: Path, header: str) -> Path:
    """Vibrations of 24 machines, with a number that is one of each machine at the end."""
    rows = [
        (f"m{k}", step, round(float(x), 3), 10.5 + k) for k in range(24) for step, x in enumerate(noise(10 + k % 5, k))
    ]
    return csv(folder / "machines.csv", header, rows)


NUMBERED = {"task": "regression", "data.sequence": "machine"}


@case(
    Examples,
    keys={**NUMBERED, "data.target": "hours_left", "data.time": "minute"},
    data="table",
    said=("24 sequences with a number each", "10 to 14 steps, 12 in the middle, 1 channel", "10.5 to 33.5"),
)
def a_number_of_each_sequence(folder: Path) -> Path:
    return machines(folder, "machine,minute,vibration,hours_left")


@case(
    Labelled,
    keys={"data.target": "class", "data.sequence": "file", "data.time": "time_s", "data.elapsed": True},
    data="table",
    said="1 channel",
)
def seconds_of_recordings_whose_name_has_a_unit(folder: Path) -> Path:
    rows = [
        (f"{k}.csv", step / 50, round(float(x), 3), ("walk", "run")[k % 2])
        for k in range(24)
        for step, x in enumerate(noise(10 + k % 5, k))
    ]
    return csv(folder / "seconds.csv", "file,time_s,x,class", rows)


@case(
    Labelled,
    keys={"data.text_column": "body"},
    data="text_classification",
    classes={"praise": 40, "blame": 30},
    said="90 texts repeat another: each counts once",
)
def texts_that_are_there_again_count_once(folder: Path) -> Path:
    rows = [(f"thank you for item {n}", "praise") for n in range(40)]
    rows += [(f"where on earth is {n}", "blame") for n in range(30)] * 4
    return csv(folder / "again.csv", "body,label", rows)


@case(Examples, keys={**NUMBERED, "data.target": "target", "data.time": "cycle"})
def a_counter_is_the_time_of_a_sequence(folder: Path) -> Path:
    return machines(folder, "machine,cycle,vibration,target")


@case(
    Examples,
    keys={**NUMBERED, "data.target": "target", "data.time": "when"},
    said="target: one number in all rows of each 'machine'",
)
def a_number_named_target_beside_dates(folder: Path) -> Path:
    file = machines(folder, "machine,when,vibration,target")
    lines = [line.split(",") for line in file.read_text().splitlines()]
    return csv(file, ",".join(lines[0]), ([m, f"2024-01-{int(n) + 1:02}", *rest] for m, n, *rest in lines[1:]))


def rows_of_steps(folder: Path, header: str, row: Callable[[int, str, list[float]], list[Any]]) -> Path:
    """Ninety sequences of thirty steps in a row each, of three classes."""
    rows = [row(k, "abc"[k % 3], (noise(30, k) + k % 3).round(3).tolist()) for k in range(90)]
    steps = ",".join(f"t{step}" for step in range(30))
    return csv(folder / "rows.csv", header.replace("STEPS", steps), rows)


@case(
    Labelled, keys={"data.target": "label", "data.features": ["t[0-9]*"]}, classes={"a": 30, "b": 30, "c": 30},
    lengths=(30, 30, 30), said="id: tells the sequences apart, and is not read",
)  # fmt: skip
def a_row_a_sequence_behind_its_number(folder: Path) -> Path:
    return rows_of_steps(folder, "id,label,STEPS", lambda k, label, steps: [k, label, *steps])


@case(Labelled, keys={"data.target": "type", "data.features": ["t[0-9]*"]}, classes={"a": 30, "b": 30, "c": 30})
def a_row_a_sequence_behind_its_name(folder: Path) -> Path:
    return rows_of_steps(folder, "name,STEPS,type", lambda k, label, steps: [f"n{k}", *steps, label])


@case(
    Labelled, keys={"data.target": "y", "data.group": "patient", "data.features": ["t[0-9]*"]},
    classes={"0": 30, "1": 30, "2": 30},
)  # fmt: skip
def a_row_a_sequence_of_a_patient(folder: Path) -> Path:
    return rows_of_steps(
        folder, "sample,patient,y,STEPS", lambda k, label, steps: [k + 1, f"p{k // 6}", "abc".index(label), *steps]
    )


@case(
    keys={"data.target": "value", "data.time": "time", "data.series": "series"},
    said="written below each other, without region",
)
def shops_in_rows_with_their_region(folder: Path) -> Path:
    return rows_of_steps(folder, "store,region,STEPS", lambda k, region, steps: [f"s{k}", region, *steps])


def with_one_value_each(folder: Path, header: str, values: tuple[str, str]) -> Path:
    lines = [line.split(",") for line in machines(folder, header).read_text().splitlines()]
    rows = [[*cells, values[int(name[1:]) % 2]] for name, *cells, _ in lines[1:] for cells in [[name, *cells]]]
    return csv(folder / "machines.csv", header, rows)


@case(
    Labelled,
    keys={"data.target": "failed", "data.sequence": "machine", "data.time": "time"},
    classes={"False": 12, "True": 12},
)
def a_class_by_its_name(folder: Path) -> Path:
    return with_one_value_each(folder, "machine,time,vibration,failed", ("False", "True"))


@case(
    Labelled,
    keys={"data.target": "colour", "data.sequence": "machine", "data.time": "time"},
    said="colour: one of 2 values in all rows of each 'machine'",
)
def a_class_by_its_values(folder: Path) -> Path:
    return with_one_value_each(folder, "machine,time,vibration,colour", ("red", "blue"))


@case(
    keys={"data.target": "sales", "data.time": "week", "data.series": "machine"},
    said="is failed, the same in all rows of each machine, what is to be told? data=table data.target=failed",
)
def a_class_beside_what_is_forecast(folder: Path) -> Path:
    rows = [
        (f"m{k}", f"2024-01-{step + 1:02}", round(float(x), 3), k % 2)
        for k in range(24)
        for step, x in enumerate(noise(20, k))
    ]
    return csv(folder / "sold.csv", "machine,week,sales,failed", rows)


@case(keys={"data.target": "sales", "data.time": "day", "data.series": "shop"}, others=("holiday",))
def the_size_of_a_shop_is_not_forecast(folder: Path) -> Path:
    rows = [
        (day, f"s{k}", 80.5 + k, number % 3, value)
        for k in range(8)
        for number, (day, value) in enumerate(zip(DAYS, weekly(60, seed=k).tolist(), strict=False))
    ]
    return csv(folder / "shops.csv", "day,shop,size,holiday,sales", rows)


@case(keys={"data.target": "speed", "data.time": "cycle", "data.series": "car", "data.period": 7}, number=3, others=())
def a_counter_is_no_target(folder: Path) -> Path:
    rows = [(f"c{k}", step, v) for k in range(3) for step, v in enumerate(weekly(80, seed=k).tolist())]
    return csv(folder / "cars.csv", "car,cycle,speed", rows)


@case(
    keys={"data.target": "vibration", "data.time": "hour", "data.series": "machine"}, number=40, others=("wear",),
)  # fmt: skip
def machines_by_number_are_series_and_no_target(folder: Path) -> Path:
    """Their numbers rise from the first row to the last, and so does what wears off."""
    rows = [
        (k, hour, round(float(x), 3), round(0.02 * hour + 0.001 * k, 3))
        for k in range(40)
        for hour, x in enumerate(noise(30, k))
    ]
    return csv(folder / "wear.csv", "machine,hour,vibration,wear", rows)


def timed(folder: Path, separator: str, point: str) -> Path:
    """Recordings with times in seconds."""
    rows = [
        [k, *(f"{x:.3f}".replace(".", point) for x in (0.04 * step, value)), ("walk", "run")[k % 2]]
        for k in range(24)
        for step, value in enumerate(noise(10 + k % 5, k) + k % 2)
    ]
    return csv(folder / "seconds.csv", separator.join(("recording", "t", "x", "activity")), rows, separator)


@case(
    Labelled,
    keys={"data.target": "activity", "data.sequence": "recording", "data.time": "t", "data.elapsed": True},
    classes={"run": 12, "walk": 12},
    channels=1,
    said="24 sequences with a class each",
)
def seconds_with_decimals(folder: Path) -> Path:
    return timed(folder, ",", ".")


@case(
    Labelled,
    keys={"data.target": "activity", "data.sequence": "recording", "data.features": ["x"], "data.decimal": ","},
    channels=1,
    said="t is not read: the rows of a sequence are taken in their order",
)
def seconds_with_a_decimal_comma(folder: Path) -> Path:
    return timed(folder, ";", ",")


@case(Unclear, said=("24 sequences of 2 classes", "training refuses it"))
def seconds_with_a_decimal_comma_out_of_order(folder: Path) -> Path:
    file = timed(folder, ";", ",")
    header, *rows = file.read_text().splitlines()
    file.write_text("\n".join([header, *rows[::-1]]) + "\n")
    return file


@case(keys={"data.target": "sales", "data.time": "day"}, said=("are read from CSV", "rows, JSON lines"))
def json_lines_of_a_series(folder: Path) -> Path:
    rows = [{"day": str(day), "sales": value} for day, value in zip(DAYS, weekly().tolist(), strict=True)]
    (folder / "sales.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder / "sales.jsonl"


@case(keys={"data.target": "price", "data.time": "day", "data.thousands": ","}, said="'$'")
def money(folder: Path) -> Path:
    rows = ((day, f'"${value:,.2f}"') for day, value in zip(DAYS, weekly(level=2000), strict=True))
    return csv(folder / "money.csv", "day,price", rows)


@case(keys={"data.target": "sales", "data.time": "day"}, said="20 rows are there twice")
def rows_twice(folder: Path) -> Path:
    rows = [row for n, row in enumerate(zip(DAYS, weekly(), strict=True)) for _ in range(1 + (n % 20 == 0))]
    return csv(folder / "twice.csv", "day,sales", rows)


@case(
    keys={"data.target": "sales", "data.time": "day", "data.repeated": "last"},
    said="1 row is of a time that is there already",
)
def a_time_twice(folder: Path) -> Path:
    days, values = [*DAYS[:41], *DAYS[40:]], [*weekly()[:40], 1.5, *weekly()[40:]]
    return csv(folder / "again.csv", "day,sales", zip(days, values, strict=True))


@case(keys={"data.target": "sales", "data.time": "day", "data.series": "file"}, number=2, said="2 tables")
def a_folder_of_tables(folder: Path) -> Path:
    (folder / "shops").mkdir()
    for k, name in enumerate(("north", "south")):
        csv(folder / "shops" / f"{name}.csv", "day,sales", zip(DAYS, weekly(seed=k), strict=True))
    return folder / "shops"


def recordings_in_folders(folder: Path, stamps: Callable[[int], Any]) -> Path:
    """Two kinds of movement in a folder each, with files of the same names."""
    top = folder / "movements"
    for number, kind in enumerate(("run", "walk")):
        (top / kind).mkdir(parents=True)
        for one in range(4):
            values = noise(2 * (20 + one), seed=10 * number + one).round(3).reshape(-1, 2)
            rows = [(stamps(at), *row) for at, row in enumerate(values)]
            csv(top / kind / f"{one}.csv", "time,ax,ay", rows)
    return top


@case(
    Labelled,
    keys={"data.target": "class", "data.sequence": "file", "data.time": "time"},
    classes={"run": 4, "walk": 4},
    lengths=(20, 21, 23),
    channels=2,
    data="table",
    said=("8 tables", "its folder's as the class"),
)
def a_folder_for_each_class(folder: Path) -> Path:
    return recordings_in_folders(folder, lambda at: at)


@case(
    Labelled,
    keys={"data.target": "class", "data.sequence": "file", "data.time": "time", "data.elapsed": True},
    classes={"run": 4, "walk": 4},
    channels=2,
)
def a_folder_for_each_class_with_seconds(folder: Path) -> Path:
    return recordings_in_folders(folder, lambda at: at / 8)


@case(
    Labelled,
    keys={"data.target": "class", "data.sequence": "file", "data.time": "time"},
    classes={"run": 4, "walk": 4},
    channels=2,
    data="table",
)
def a_folder_for_each_class_with_dates(folder: Path) -> Path:
    return recordings_in_folders(folder, lambda at: f"2024-01-01 08:00:{at:02}")


@case(
    Labelled, data="text_classification", classes={"ham": 60, "spam": 60}, keys={"data.unit": "word"}, said="no header"
)
def messages_without_a_header(folder: Path) -> Path:
    rows = [
        (("ham", "spam")[n % 2], f"this is message {n} and you {('see', 'win')[n % 2]} it right now")
        for n in range(120)
    ]
    return csv(folder / "messages.tsv", "\t".join(rows[0]), rows[1:], "\t")


@case(Unclear, said="give 8 days at least")
def five_rows(folder: Path) -> Path:
    return csv(folder / "five.csv", "day,sales", list(zip(DAYS, weekly(), strict=True))[:5])


# ---- the files that packages carry, written out as CSV ------------------------------------------------


SERIES_OF_STATSMODELS: dict[str, dict[str, Any]] = {
    "co2": {"data.target": "co2", "data.time": "column 1", "data.missing": "forward"},
    "copper": {"data.target": "WORLDCONSUMPTION", "data.time": "TIME"},
    "danish_data": {"data.target": "lrm", "data.time": "period"},
    "elec_equip": {"data.target": "STS.M.I7.W.TOVT.NS0016.4.000", "data.time": "DATE"},
    "elnino": {"data.target": "value", "data.time": "date"},
    "fertility": {"data.target": "value", "data.time": "time", "data.series": "series"},
    "grunfeld": {"data.target": "value", "data.time": "year", "data.series": "firm"},
    "interest_inflation": {"data.target": "Dp"},
    "longley": {"data.target": "TOTEMP", "data.time": "YEAR"},
    "macrodata": {"data.target": "realgdp"},
    "nile": {"data.target": "volume", "data.time": "year"},
    "sunspots": {"data.target": "SUNACTIVITY", "data.time": "YEAR"},
}
UNORDERED_OF_STATSMODELS = (
    "anes96", "ccard", "china_smoking", "committee", "cpunish", "engel", "fair", "heart", "modechoice", "scotland",
    "spector", "star98", "statecrime",
)  # fmt: skip
SORTED_OF_STATSMODELS = ("cancer", "randhie", "stackloss", "strikes")
"""Whose rows are sorted, so that nobody can tell from the numbers that they are no series: it asks."""


@pytest.mark.slow
@pytest.mark.needs("datasets")
def test_what_statsmodels_carries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    import pandas

    for name in (*SERIES_OF_STATSMODELS, *UNORDERED_OF_STATSMODELS, *SORTED_OF_STATSMODELS):
        table = importlib.import_module(f"statsmodels.datasets.{name}").load_pandas().data
        file = tmp_path / f"{name}.csv"
        table.to_csv(file, index=not isinstance(table.index, pandas.RangeIndex))
        found = look(file)
        if name in SERIES_OF_STATSMODELS:
            assert isinstance(found, Series), name
            columns = ("data.target", "data.time", "data.series", "data.missing")
            keys = {key: value for key, value in found.keys.items() if key in columns}
            assert keys.items() >= SERIES_OF_STATSMODELS[name].items(), name
            assert keys.get("data.time") == SERIES_OF_STATSMODELS[name].get("data.time"), name
        elif name in UNORDERED_OF_STATSMODELS:
            assert isinstance(found, Unclear), name
            assert "are the rows steps in time?" in found.questions[-1]
        else:
            assert any("in the order of time" in question for question in found.questions), name


@pytest.mark.slow
@pytest.mark.needs("datasets")
def test_what_scikit_learn_carries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    from sklearn import datasets

    for name in ("iris", "wine", "breast_cancer", "diabetes", "linnerud", "digits"):
        file = tmp_path / f"{name}.csv"
        getattr(datasets, f"load_{name}")(as_frame=True).frame.to_csv(file, index=False)
        found = look(file)
        if name == "digits":  # rows of 64 pixels: sequences, and data=digits has them as such
            assert isinstance(found, Labelled)
            assert (len(found.classes), found.lengths) == (10, (64, 64, 64))
        else:
            assert isinstance(found, Unclear), name


@pytest.mark.slow
@pytest.mark.needs("datasets")
def test_what_aeon_carries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    carried = _packaged()
    assert len(carried) >= 8
    for name, files in carried.items():
        assert files.test is not None
        train, test = read_ts(files.train), read_ts(files.test)
        known = Counter(train.labels)
        found = look(files.train.parent)
        assert isinstance(found, Labelled), name
        assert (found.data, dict(found.classes), found.tested) == ("ucr", dict(known), len(test.labels)), name
        channels, length = train.sequences[0].shape[1], len(train.sequences[0])
        if length > 300:  # another one of the same kind, and slow to write
            continue
        # rows below each other, and where there is one channel of one length a row a sequence, as UCR's own .tsv
        rows = [
            (number, step, *values[step], label)
            for number, (values, label) in enumerate(zip(train.sequences, train.labels, strict=True))
            for step in range(len(values))
        ]
        header = ",".join(["sequence", "step", *(f"f{k}" for k in range(channels)), "class"])
        written = [csv(tmp_path / f"{name}_long.csv", header, rows)]
        if channels == 1 and all(len(values) == length for values in train.sequences):
            wide = [(label, *values[:, 0]) for values, label in zip(train.sequences, train.labels, strict=True)]
            header = ",".join(["class", *(f"t{k}" for k in range(length))])
            written.append(csv(tmp_path / f"{name}_wide.csv", header, wide))
            written.append(csv(tmp_path / f"{name}.tsv", "\t".join(map(str, wide[0])), wide[1:], "\t"))
        for file in written:
            found = look(file)
            assert isinstance(found, Labelled), file.name
            assert dict(found.classes) == dict(known), file.name
            assert found.channels == channels, file.name


# ---- what it sees -------------------------------------------------------------------------------------


def training(found: Description) -> list[Command]:
    """The commands that train."""
    return [command for command in commands(found) if command.words[0] == "train"]


def first_overrides(found: Description) -> dict[str, str]:
    words = training(found)[0].words[1:]
    return dict(word.split("=", 1) for word in words if "=" in word)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.few(
    "one_series", "decimal_comma", "long_form", "wide_panel", "groups_of_digits", "series_that_overlap_little",
    "rows_that_were_revised", "a_line_of_totals", "a_date_that_is_none", "nothing_that_changes",
    "a_table_with_blanks_between", "a_folder_of_one_class",
)  # fmt: skip
def test_a_file_with_a_quirk(name: str, tmp_path: Path) -> None:
    given = CASES[name]
    found = look(given.make(tmp_path))
    assert isinstance(found, given.kind), lines(found)
    assert dict(found.keys) == given.keys
    assert {key: getattr(found, key) for key in given.facts} == given.facts
    text = "\n".join(f"{label} {line}" for label, line in lines(found))
    for words in given.said:
        assert words in text
    assert len(lines(found)) <= LINES
    chosen = commands(found)
    assert (1 <= len(chosen) <= 3) if given.kind is not Unclear else not chosen
    if found.original is not None:
        assert chosen[0].words == ("start", str(found.original), "--write", str(found.path))
    if isinstance(found, Series):
        assert {key for key in first_overrides(found) if key.startswith("data.")} == {"data.path", *given.keys} | (
            {"data.horizon"} if found.horizon > 1 else set()  # type: ignore[union-attr]
        )


# ---- the commands train -------------------------------------------------------------------------------


SMALL = ("trainer.max_steps=2", "trainer.accelerator=cpu", "instruments=none", "model.hidden_size=4")


def train_small(words: Sequence[str], folder: Path, home: str) -> int:
    """Runs a command of :func:`commands`, on a small network and for two updates."""
    where = f"hydra.sweep.dir={folder / home}" if "-m" in words else f"hydra.run.dir={folder / home}"
    kept = [word for word in words[1:] if not word.startswith("hydra.run.dir=")]
    return train_command.main([*kept, *SMALL, where])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, given in CASES.items() if given.kind is not Unclear])
def test_the_first_command_trains(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    found = look(CASES[name].make(tmp_path))
    if found.original is not None:
        assert start_command.main(list(commands(found)[0].words[1:])) == 0
    assert train_small(training(found)[0].words, tmp_path, "run") == 0, capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["trading_days", "weeks", "recordings", "json_lines_of_labelled_texts"])
def test_the_other_commands_train(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = look(CASES[name].make(tmp_path))
    for number, command in enumerate(training(found)[1:]):
        narrowed = [word.replace("seed=0,1,2", "seed=0").replace("range(5)", "0,4") for word in command.words]
        assert train_small(narrowed, tmp_path, f"sweep{number}") == 0, capsys.readouterr().err


# ---- what the person reads ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["a table", "a folder of texts"])
def test_what_is_printed_can_be_pasted(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my data").mkdir()
    if kind == "a table":
        given = csv(tmp_path / "my data" / "a=b.csv", '"T (degC)",day', zip(weekly(), DAYS, strict=True))
        name = "my data/a=b.csv"
    else:
        given, name = CASES["folders_of_texts"].make(tmp_path / "my data"), "my data/reviews"
    assert start_command.main([str(given)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{name}\n")
    pasted = [shlex.split(line) for line in printed.splitlines() if line.startswith("  rnnlab ")]
    assert 1 <= len(pasted) <= 3
    assert all(words[0] == "rnnlab" for words in pasted)
    assert train_small(pasted[0][1:], tmp_path, "run") == 0


@pytest.mark.parametrize(
    "value",
    [
        "sales",
        "T (degC)",
        "p, mbar",
        "112",
        "true",
        "1e3",
        "a=b",
        "größe",
        'say "x"',
        "a\\b\\",
        "[x]",
        "{x}",
        "null",
    ],
)
def test_any_name_survives_the_grammar_of_overrides(value: str) -> None:
    config = compose("data=csv", override("data.target", value), override("data.known", [value, "b"]))
    assert config["data"]["target"] == value
    assert config["data"]["known"] == [value, "b"]


@pytest.mark.parametrize(("kind", "known"), [("prices", ()), ("flags", ("open",))])
def test_what_opens_is_known_in_advance_where_it_is_a_flag(kind: str, known: tuple[str, ...], tmp_path: Path) -> None:
    rows = [
        (day, value + 0.5 if kind == "prices" else n % 2, value + 1, value)
        for n, (day, value) in enumerate(zip(DAYS, weekly().tolist(), strict=True))
    ]
    words = [word for command in commands(look(csv(tmp_path / "days.csv", "day,open,high,close", rows)))
             for word in command.words if word.startswith("data.known=")]  # fmt: skip
    assert words == [override("data.known", list(known))] * bool(known)


@pytest.mark.parametrize("again", [0, 3])
def test_rows_of_a_time_that_is_there_already_are_told_once(again: int, tmp_path: Path) -> None:
    rows = list(zip(DAYS, weekly().tolist(), strict=True))
    rows[9:9] = [(rows[8][0], rows[8][1] + again)]
    found = look(csv(tmp_path / "days.csv", "day,value", rows))
    assert [line for line in found.odd if "there" in line] == [
        "1 row is of a time that is there already: the last is kept (data.repeated=last)"
    ]


def test_one_of_several_tables_that_cannot_be_read_is_told_among_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.csv", "b.csv"):
        csv(tmp_path / name, "day,value", zip(DAYS, weekly(), strict=True))
    (tmp_path / "binary.csv").write_bytes(b"\0\1\2" * 100)
    assert start_command.main([str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "holds 3 tables (a.csv, b.csv, binary.csv), and one of them cannot be read" in said
    assert "binary.csv is no text" in said


def test_a_header_may_start_with_a_number_sign(tmp_path: Path) -> None:
    found = look(csv(tmp_path / "days.csv", "#day,value", zip(DAYS, weekly(), strict=True)))
    assert found.keys == {"data.target": "value", "data.time": "#day"}


def test_numbers_of_sequences_may_be_series_instead(tmp_path: Path) -> None:
    commanded = training(look(CASES["a_number_of_each_sequence"].make(tmp_path)))
    assert [next(word for word in command.words if word.startswith("data=")) for command in commanded] == [
        "data=table",
        "data=csv",
        "data=table",
    ]
    assert "data.target=vibration" in commanded[1].words
    assert not any("hours_left" in word for word in commanded[1].words)
    assert train_small(commanded[0].words, tmp_path, "run") == 0


def test_run_runs_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran: list[list[str]] = []
    monkeypatch.setattr(train_command, "main", lambda arguments: ran.append(arguments) or 0)
    file = CASES["one_series"].make(tmp_path)
    assert start_command.main([str(file), "--run"]) == 0
    assert ran == [["data=csv", "data.path=sales.csv", "data.target=sales", "data.time=day", "data.horizon=7"]]
    nothing = CASES["rows_without_order"].make(tmp_path)
    assert start_command.main([str(nothing), "--run"]) == 2
    assert len(ran) == 1


def test_another_form_is_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = CASES["months_in_columns"].make(tmp_path)
    assert start_command.main([str(file), "--write", "long.csv"]) == 0
    printed = capsys.readouterr().out
    assert "--write" not in printed
    assert "data.path=long.csv" in printed
    written = pl.read_csv("long.csv")
    assert written.columns == ["date", "value"]
    assert written.height == 480
    first = pl.read_csv(file).row(0)
    assert written["value"][:12].to_list() == list(first[1:])
    for arguments, said in (
        ([str(file), "--write", "long.csv"], "nothing is overwritten"),
        ([str(file), "--write", "long.txt"], "ends in .csv"),
        (["long.csv", "--write", "again.csv"], "needs no other form"),
    ):
        assert start_command.main(arguments) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "again.csv").exists()


def test_a_refusal_says_how_the_file_that_it_names_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts").mkdir()
    for number in range(2):
        csv(tmp_path / "parts" / f"{number}.csv", "a,b", noise(80, number).round(3).reshape(-1, 2))
    assert start_command.main([str(tmp_path / "parts")]) == 0
    printed = capsys.readouterr().out
    assert "rnnlab train data=csv data.path=parts_for_rnnlab.csv data.target=a" in printed
    assert "rnnlab start parts --write parts_for_rnnlab.csv" in printed


def test_sequences_are_written_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # a file of an archive, whose test file lies beside it
    file = CASES["sequences_below_each_other"].make(tmp_path).rename(tmp_path / "steps_TRAIN.csv")
    assert start_command.main([str(file), "--write", "new.ts"]) == 0
    table, written = pl.read_csv(file), read_ts(Path("new.ts"))
    for k, (values, label) in enumerate(zip(written.sequences, written.labels, strict=True)):
        rows = table.filter(pl.col("recording") == k)
        np.testing.assert_allclose(values, rows.select("x", "y").to_numpy())
        assert {label} == set(rows["activity"])


# ---- what cannot be read ------------------------------------------------------------------------------


def a_run(folder: Path) -> Path:
    (folder / "run").mkdir()
    (folder / "run" / "status.json").write_text("{}")
    return folder / "run"


def a_folder_of_tables_one_of_them_empty(folder: Path) -> Path:
    for number in range(3):
        (folder / f"{number}.csv").write_bytes(number * b"a,b\n1,2\n")
    return folder


def a_sweep(folder: Path) -> Path:
    return a_run(folder).parent


def file_of(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def classes_in(last: bytes) -> Callable[[Path], Path]:
    """A folder with a file for each class, the last line of one of which is that."""

    def make(folder: Path) -> Path:
        for name, word in (("neg", "bad"), ("pos", "good")):
            lines = "".join(f"a {word} film {n}\n" for n in range(30)).encode()
            (folder / f"{name}.txt").write_bytes(lines + (last if name == "pos" else b""))
        return folder

    return make


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: CASES["one_series"].make(folder).with_name("sale.csv"), "did you mean 'sales.csv'?"),
        (file_of("empty.csv", b" \n"), "is empty"),
        (file_of("header.csv", b"a,b\n"), "has a header and no rows"),
        (file_of("picture.csv", b"\x89PNG\r\n\x1a\n\0\0"), "is no text"),
        (file_of("thing", b"\0\1\2" * 100), "rnnlab reads CSV"),
        (file_of("latin.csv", "day,größe\n1,2\n".encode("latin-1")), "iconv -f cp1252 -t utf-8 FILE > NEW"),
        (file_of("euro.csv", "day,€\n1,2\n".encode("cp1252")), "iconv -f cp1252 -t utf-8 FILE > NEW"),
        (file_of("dos.csv", "day,für\n1,2\n".encode("cp437")), "iconv -f ENCODING"),
        (file_of("wide.csv", "day,x\n1,2\n".encode("utf-16")), "iconv -f utf-16 -t utf-8 FILE > NEW"),
        (file_of("wide.txt", "what is said".encode("utf-16")), "iconv -f utf-16 -t utf-8 FILE > NEW"),
        (file_of("unmarked.csv", "day,größe\n1,2\n".encode("utf-16-le")), "iconv -f utf-16le -t utf-8 FILE > NEW"),
        (file_of("unmarked.txt", "what is said".encode("utf-16-be")), "iconv -f utf-16be -t utf-8 FILE > NEW"),
        (file_of("text.txt", b"abc\n\xff\xfe\xfa\n"), "line 2: byte 0xff is no UTF-8"),
        (
            file_of("pairs.tsv", "".join(f"good {n}\tschön {n}\n" for n in range(9)).encode("cp1252")),
            "line 1: byte 0xf6 is no UTF-8 (invalid start byte), but probably cp1252: convert it, such as by iconv",
        ),
        (file_of("pairs.txt", "a b\tä ö\n".encode("utf-16") * 9), "is no UTF-8 but utf-16: convert it, such as by"),
        (file_of("long.csv", b"day,town\n" + b"1,Bonn\n" * 300 + b"2,K\xf6ln\n"), "line 302: byte 0xf6 is no UTF-8"),
        (file_of("cyrillic.txt", bytes(range(0xE0, 0x100)) + b"\n"), "iconv -f ENCODING"),
        (classes_in("größer\n".encode("cp1252")), "pos.txt, line 31: byte 0xf6 is no UTF-8"),
        (file_of("title.csv", b"Sales of the shop\n\nday,y\n1,2\n"), "such as by tail -n +3 FILE > NEW"),
        (a_folder_of_tables_one_of_them_empty, "0.csv is empty"),
        (file_of("two.csv", b"# a\n# b\nday,x\n1,2\n"), "its first 2 lines start with # above the header"),
        (file_of("one.csv", b"# a, b\nday,x\n1,2\n"), "its first line starts with # above the header: leave out"),
        (file_of("lists.jsonl", b'{"signal": [1, 2], "label": "a"}\n'), "is a list, and a number or a text is needed"),
        (file_of("ragged.csv", b"a,b\n1,2\n3,4,5\n"), "line 3: 3 cells, and the header has 2"),
        (file_of("bad.jsonl", b'{"text": "a"}\n{"text\n'), "line 2 is no JSON"),
        (file_of("bad.parquet", b"PAR1 and no more"), "cannot be read"),
        (file_of("bad.ts", b"@data\n1,x:a\n"), "line 2"),
        (file_of("table.xlsx", b"PK\3\4"), "save the sheet as CSV"),
        (file_of("rows.json", b"[1]"), "jq -c"),
        (file_of("my rows.csv.gz", b"\x1f\x8b"), "gunzip -k"),
        (lambda folder: folder, "no file in this folder"),
        (a_run, "is a run, and no data"),
        (a_sweep, "rnnlab report"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    make: Callable[[Path], Path], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start_command.main([str(make(tmp_path))]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("rnnlab: ")
    assert said in printed.err
    assert not printed.out


def test_what_lies_beside_a_table_in_a_folder_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    CASES["one_series"].make(tmp_path)
    for name in ("README.md", "LICENSE", "notes.txt", "Thumbs.db"):
        (tmp_path / name).write_text("what we sold\n")
    assert look(tmp_path).path == tmp_path / "sales.csv"
    assert caplog.messages == [f"{tmp_path}: LICENSE, README.md, notes.txt are passed over, by name or by kind"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("".join(f"{step},{step * step % 7}\n" for step in range(5)), "give 8 steps at least"),
        ("".join(f"{s},{'closed' if s == 9 else s * s % 7}\n" for s in range(60)), "'closed' stands among numbers"),
    ],
)
def test_what_is_odd_about_few_or_unusual_cells(
    rows: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.csv").write_text("step,value\n" + rows)
    assert start_command.main([str(tmp_path / "rows.csv")]) == 0
    printed = capsys.readouterr().out
    assert said in printed
    assert "None" not in printed


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [
        (1, "texts", "1 text is"),
        (2, "texts", "2 texts are"),
        (1, "classes", "1 class is"),
        (1, "series", "1 series is"),
    ],
)
def test_one_is_counted_in_the_singular(number: int, noun: str, said: str) -> None:
    assert counted(number, noun, "are") == said


def test_start_is_among_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        program(["--help"])
    assert ended.value.code == 0
    assert "\n  start " in capsys.readouterr().out


def test_what_is_no_file_is_said_in_words(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    closed = tmp_path / "closed"
    closed.mkdir()
    for path, said in (
        (tmp_path / "pipe", "this is no file but a pipe: save what it gives in a file"),
        (Path(os.devnull), "this is no file but a device: save what it gives in a file"),
        (tmp_path / "link", "is a link to nowhere, and there is no such file or folder"),
        (closed, "no file in this folder"),
    ):
        assert start_command.main([str(path)]) == 2
        assert said in capfd.readouterr().err


def test_a_folder_that_may_not_be_read_is_not_taken_for_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Any) -> NoReturn:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("rnnlab.start.look.os.listdir", refuse)  # who tests may be root, who may read all
    assert start_command.main([str(tmp_path)]) == 2
    assert f"{tmp_path} cannot be read: Permission denied" in capfd.readouterr().err


# ---- folders of several kinds, objects within objects, samples ------------------------------------------


def kinds_in(folder: Path, texts: int = 0, tables: int = 0, images: int = 0) -> Path:
    """A folder with texts, tables of different columns, and what is called an image."""
    for number in range(texts):
        (folder / f"text{number}.txt").write_text(f"The rain in Spain stays mainly in the plain {number}. " * 60)
    for number in range(tables):
        csv(folder / f"table{number}.csv", f"day,y{number}", zip(DAYS[:60], weekly(60), strict=True))
    for number in range(images):
        (folder / f"image{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def test_what_a_folder_of_texts_has_beside_them_is_counted(tmp_path: Path) -> None:
    found = look(kinds_in(tmp_path, texts=5, tables=2, images=1))
    assert isinstance(found, PlainText) and found.files == 5
    assert any("passed over: 2 tables, 1 image" in line for line in found.odd)


def test_texts_are_not_passed_over_for_one_table(tmp_path: Path) -> None:
    found = look(kinds_in(tmp_path, texts=5, tables=1))
    assert isinstance(found, PlainText)
    assert any("passed over: 1 table " in line for line in found.odd)


@pytest.mark.parametrize(("texts", "tables", "images"), [(2, 2, 2), (3, 3, 0), (2, 3, 1)])
def test_a_folder_in_which_no_kind_prevails_is_asked_about(
    texts: int, tables: int, images: int, tmp_path: Path
) -> None:
    found = look(kinds_in(tmp_path, texts, tables, images))
    assert isinstance(found, Unclear)
    assert counted(tables, "tables") in found.seen and counted(texts, "texts") in found.seen
    assert "data=text" in found.questions[0] and "data.pattern" in found.questions[0]
    assert "rnnlab start " in found.questions[0] and "table0.csv" in found.questions[0]
    assert ("images need a folder of their own" in found.questions[0]) == bool(images)
    assert not commands(found)


def test_what_images_have_beside_them_is_counted(tmp_path: Path) -> None:
    found = look(kinds_in(tmp_path, texts=1, tables=2, images=5))
    assert "passed over: 2 tables, 1 text" in found.odd


def test_tables_prevail_where_they_are_most_of_what_is_read(tmp_path: Path) -> None:
    for number in range(2):
        csv(tmp_path / f"shop{number}.csv", "day,y", zip(DAYS[:60], weekly(60), strict=True))
    for number in range(3):
        (tmp_path / f"invoice{number}.docx").write_bytes(b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00\xdf\xa4")
    assert isinstance(look(tmp_path), Series)


def test_objects_within_objects_have_both_names(tmp_path: Path) -> None:
    rows = [
        {"time": f"{day}", "sensor": {"temp": float(value), "at": {"floor": n % 3}}}
        for n, (day, value) in enumerate(zip(DAYS, weekly(), strict=True))
    ]
    path = tmp_path / "nested.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    found = look(path)
    assert isinstance(found, Series)
    assert [column.name for column in found.columns] == ["time", "sensor.temp", "sensor.at.floor"]
    assert "sensor.temp" in found.why
    assert found.target.columns == ("sensor.temp",)


def test_two_values_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "nested.jsonl"
    path.write_text('{"a": {"b": 1}, "a.b": 2}\n' * 20)
    with pytest.raises(InputError, match=r"line 1: two values are called 'a\.b'"):
        look(path)


def test_what_is_told_of_a_part_of_a_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        (sequence, step, round(math.sin(step + sequence), 4), "run" if sequence % 2 else "walk")
        for sequence in range(200)
        for step in range(40)
    ]
    path = csv(tmp_path / "many.csv", "sequence,step,x,label", rows)
    whole = lines(look(path))
    assert "200 sequences with a class each" in dict(whole)["data"]
    assert not any("sample" in text for _, text in whole)
    for name, size in (("WHOLE", 50_000), ("HEAD", 40_000), ("PART", 8_000)):
        monkeypatch.setattr(importlib.import_module("rnnlab.start.sample"), name, size)
    monkeypatch.setattr(importlib.import_module("rnnlab.start.trial"), "WHOLE", 50_000)
    said = dict(lines(look(path)))
    assert "200" not in said["data"].split(":")[0]
    number = re.search(r"; of a sample of (\d+) sequences$", said["length"])
    assert number is not None and 10 < int(number[1]) < 200
    assert said["classes"].endswith(number[0])


def test_rows_with_classes_and_no_order_may_have_a_column_of_times(tmp_path: Path) -> None:
    values = noise(300).reshape(100, 3)
    path = csv(
        tmp_path / "flowers.csv", "a,b,c,species", [(*row.round(3), f"s{n % 3}") for n, row in enumerate(values)]
    )
    found = look(path)
    assert isinstance(found, Unclear)
    assert any("data.target=a (and data.time=COLUMN" in question for question in found.questions)
