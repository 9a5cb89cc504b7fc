"""Series that statistics packages carry, each with the split by which it is a benchmark."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from rnnlab.data.series import SeriesData
from rnnlab.errors import InputError
from rnnlab.extras import need
from rnnlab.files.dialect import Dialect
from rnnlab.files.frequency import Frequency
from rnnlab.files.panel import Columns, Panel, arrange
from rnnlab.files.table import read
from rnnlab.files.times import Moment
from rnnlab.shapes import FilePath, PositiveInt

Name = Literal[
    "co2", "elnino", "gdp", "unemployment", "consumption", "interest", "nile", "air_passengers", "sunspots", "load"
]
MONTH, QUARTER = Frequency("month", 1, 0), Frequency("month", 3, 0)


class Source(NamedTuple):
    """Where a series comes from, and how it is split."""

    column: str
    horizon: int
    val_start: Moment
    test_start: Moment
    end: Moment | None = None
    unit: str = ""
    test_stride: int = 1


SOURCES: dict[str, Source] = {
    "co2": Source("co2", 12, "1991-01", "1996-01", unit="ppm"),
    "elnino": Source("temperature", 12, "1999-01", "2005-01", unit="°C"),
    "gdp": Source("gdp", 4, "1992-01", "2000-01", unit="10⁹ $"),
    "unemployment": Source("unemployment", 4, "1992-01", "2000-01", unit="%"),
    "consumption": Source("consumption", 4, "1992-01", "2000-01", unit="10⁹ $"),
    "interest": Source("interest", 4, "1992-01", "2000-01", unit="%"),
    "nile": Source("volume", 3, 1940, 1950, unit="10⁸ m³"),
    "air_passengers": Source("passengers", 6, "1956-01", "1958-01", unit="thousands"),
    "sunspots": Source("sunspots", 1, 1881, 1921, 1955),
    "load": Source("load", 24, "2000-07-31", "2000-08-14", unit="MW", test_stride=6),
}


@dataclass(kw_only=True, eq=False)
class Economic(SeriesData):
    """Well-known series of statistics, each with its horizon and its test span.

    ==============  =====================================================  =======================
    name            what it is                                             step, steps ahead
    ==============  =====================================================  =======================
    co2             carbon dioxide over Mauna Loa, monthly means           month, 12
    elnino          sea surface temperature of the eastern Pacific         month, 12
    gdp             real gross domestic product of the United States       quarter, 4
    unemployment    unemployment rate of the United States                 quarter, 4
    consumption     real personal consumption of the United States         quarter, 4
    interest        three-month treasury bill rate                         quarter, 4
    nile            flow of the Nile at Aswan                              year, 3
    air_passengers  airline passengers (Box and Jenkins' series G)         month, 6
    sunspots        Wolf's sunspot numbers, as ``data=sunspots``           year, 1
    load            half-hourly load of Taylor (2003) as hourly means:     hour, 24
                    a file, ``data.path``, with columns date and load
    ==============  =====================================================  =======================

    All but the last are statsmodels' (air_passengers: aeon's).

    Attributes:
        name: of the series.
        path: of a file with columns ``date`` and the name's, in place of the package's; needed for ``load``.
        horizon: steps ahead; ``None``: as the table has it, like the spans where they are ``None``.
        test_stride: alike.

    Raises:
        InputError: the package is not installed, or the file is missing; and as :class:`SeriesData`.
    """

    name: Name = "co2"
    path: FilePath | None = None
    horizon: PositiveInt | None = None  # type: ignore[assignment]
    test_stride: PositiveInt | None = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        source = SOURCES[self.name]
        for key in ("horizon", "val_start", "test_start", "end", "test_stride"):
            if getattr(self, key) is None:
                setattr(self, key, getattr(source, key))
        self.unit = source.unit
        super().__post_init__()

    def read(self) -> Panel:
        column = SOURCES[self.name].column
        if self.path is not None:
            columns = Columns([column], time="date")
            return arrange(read(Path(self.path).expanduser(), columns, Dialect()), columns, f"data.path={self.path}")
        if self.name == "load":
            raise InputError(
                "data.name=load is in no package that rnnlab uses: give data.path=FILE, with date and load"
            )
        need("datasets", "aeon" if self.name == "air_passengers" else "statsmodels", f"data.name={self.name}")
        values, first = READERS[self.name]()
        start = np.datetime64(first, "M") if isinstance(first, str) else first
        step = 3 if SOURCES[self.name].horizon == 4 else 1
        times = start + step * np.arange(len(values))
        known = np.isfinite(values)
        values, times = values[known.argmax() :], times[known.argmax() :]
        dated = isinstance(first, str)
        return Panel(
            values[:, None],
            times.astype("M8[us]") if dated else times.astype(np.int64),
            np.array([0, len(values)]),
            ("",),
            Columns([column], time="month" if dated else "year"),
            (QUARTER if step == 3 else MONTH) if dated else Frequency(),
            unit="" if dated else "year",
        )


def _co2() -> tuple[np.ndarray, str]:
    from statsmodels.datasets import co2

    # weeks, of which some are missing: the mean of a month's, and what is missing between its neighbours
    monthly = co2.load_pandas().data["co2"].resample("MS").mean().interpolate()
    return monthly.to_numpy(np.float64), str(monthly.index[0])[:7]


def _elnino() -> tuple[np.ndarray, str]:
    from statsmodels.datasets import elnino

    table = elnino.load_pandas().data
    return table.iloc[:, 1:].to_numpy(np.float64).ravel(), f"{int(table.iloc[0, 0])}-01"


def _macro(name: str) -> Callable[[], tuple[np.ndarray, str]]:
    def load() -> tuple[np.ndarray, str]:
        from statsmodels.datasets import macrodata

        return macrodata.load_pandas().data[name].to_numpy(np.float64), "1959-01"

    return load


def _nile() -> tuple[np.ndarray, int]:
    from statsmodels.datasets import nile

    table = nile.load_pandas().data
    return table["volume"].to_numpy(np.float64), int(table["year"].iloc[0])


def _sunspots() -> tuple[np.ndarray, int]:
    from statsmodels.datasets import sunspots

    table = sunspots.load_pandas().data
    return table["SUNACTIVITY"].to_numpy(np.float64), int(table["YEAR"].iloc[0])


def _air_passengers() -> tuple[np.ndarray, str]:
    from aeon.datasets import load_airline

    return np.asarray(load_airline(), np.float64), "1949-01"


READERS: dict[str, Callable[[], tuple[np.ndarray, Any]]] = {
    "co2": _co2,
    "elnino": _elnino,
    "gdp": _macro("realgdp"),
    "unemployment": _macro("unemp"),
    "consumption": _macro("realcons"),
    "interest": _macro("tbilrate"),
    "nile": _nile,
    "sunspots": _sunspots,
    "air_passengers": _air_passengers,
}
