"""The yearly sunspot numbers."""

from dataclasses import dataclass

import numpy as np

from rnnlab.data.series import SeriesData
from rnnlab.extras import need
from rnnlab.files.panel import Columns, Panel
from rnnlab.files.times import Moment
from rnnlab.shapes import PositiveInt


@dataclass(kw_only=True, eq=False)
class Sunspots(SeriesData):
    """Wolf's sunspot number of each year from 1700 to 2008, in cycles of about eleven years.

    The parts are those of A. S. Weigend, B. A. Huberman & D. E. Rumelhart,
    "Predicting the future: a connectionist approach", International Journal of
    Neural Systems 1 (1990): nothing after 1920 is seen in training, and 1921 to
    1955 are the test. statsmodels carries the series.

    Attributes:
        length: years of a window.
        end: the last year that is used.
        ar_order: lags of the autoregression beside; 12 is the classic (Tong and Lim 1980).

    Raises:
        InputError: statsmodels is not installed; and as :class:`SeriesData`.
    """

    length: PositiveInt | None = 24
    val_start: Moment | None = 1881
    test_start: Moment | None = 1921
    end: Moment | None = 1955
    ar_order: PositiveInt | None = 12

    def read(self) -> Panel:
        need("datasets", "statsmodels", "data=sunspots")
        from statsmodels.datasets import sunspots

        data = sunspots.load_pandas().data
        values = data["SUNACTIVITY"].to_numpy(np.float64)[:, None]
        years = data["YEAR"].to_numpy().astype(np.int64)
        columns = Columns(["sunspots"], time="year")
        return Panel(values, years, np.array([0, len(values)]), ("",), columns, unit="year")
