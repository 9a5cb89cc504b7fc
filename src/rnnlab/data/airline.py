"""The airline passengers of Box and Jenkins."""

from dataclasses import dataclass

import numpy as np

from rnnlab.data.series import SeriesData
from rnnlab.extras import need
from rnnlab.files.frequency import Frequency
from rnnlab.files.panel import Columns, Panel
from rnnlab.files.times import Moment
from rnnlab.shapes import PositiveInt


@dataclass(kw_only=True, eq=False)
class Airline(SeriesData):
    """International airline passengers a month, in thousands, January 1949 to December 1960.

    144 months with a trend and a season that grows with it (G. E. P. Box,
    G. M. Jenkins & G. C. Reinsel, "Time Series Analysis", 3rd edition 1994,
    series G). aeon carries them.

    Attributes:
        length: months of a window.
        horizon: months ahead.

    Raises:
        InputError: aeon is not installed; and as :class:`SeriesData`.
    """

    length: PositiveInt | None = 24
    horizon: PositiveInt = 6
    val_start: Moment | None = "1956-01"
    test_start: Moment | None = "1958-01"

    unit = "thousands"

    def read(self) -> Panel:
        need("datasets", "aeon", "data=airline")
        from aeon.datasets import load_airline

        values = np.asarray(load_airline(), np.float64)[:, None]
        months = (np.datetime64("1949-01") + np.arange(len(values))).astype("M8[us]")
        columns = Columns(["passengers"], time="month")
        return Panel(values, months, np.array([0, len(values)]), ("",), columns, Frequency("month", 1, 0))
