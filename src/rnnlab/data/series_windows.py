"""The windows of time series, cut as they are asked for: they overlap in memory."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rnnlab.data.layout import Layout
from rnnlab.data.linear_fit import BLOCKS, SHARE
from rnnlab.data.series_cuts import Origins
from rnnlab.data.series_references import References
from rnnlab.data.series_scaling import ScaledSeries
from rnnlab.data.split import CutOnDemand
from rnnlab.ridge import FITTED, SCORED, Folds
from rnnlab.spec import Batch, Origin


class Part(NamedTuple):
    """Of what is read of a window.

    rows
        of ``(before + length + horizon)``, see :class:`rnnlab.data.layout.Layout`; after the window known columns alone
        are read.
    columns
        by number.
    times
        whether it is the times, and so the calendar, too.
    """

    rows: slice
    columns: list[int]
    times: bool = False


class _Read(NamedTuple):
    """``(batch, before + length + horizon, …)`` of some windows, copied."""

    values: np.ndarray
    unknown: np.ndarray | None
    times: np.ndarray


class Windows(CutOnDemand):
    """The windows of a split.

    Args:
        scaled: the series.
        layout: what the network reads of a window, and what its forecasts are added to.
        origins: the last row of each window.
        length: steps of a window.
        number: of windows, the first of these.
        references: what forecasts are held against; ``None``: nothing, since these are trained on.
        naive_errors: ``(series, targets)`` the unit of the mean absolute scaled error.
    """

    def __init__(
        self,
        scaled: ScaledSeries,
        layout: Layout,
        origins: Origins,
        length: int,
        number: int,
        references: References | None,
        naive_errors: np.ndarray,
    ) -> None:
        super().__init__(
            scaled=scaled, layout=layout, origins=origins, length=length, number=number, references=references,
            naive_errors=naive_errors,
        )  # fmt: skip

    scaled: ScaledSeries
    layout: Layout
    origins: Origins
    length: int
    number: int
    references: References | None
    naive_errors: np.ndarray

    def __len__(self) -> int:
        return self.number

    def place(self, index: slice | Tensor) -> tuple[np.ndarray, np.ndarray]:
        """The series and the last row of windows."""
        return self.origins.place(self.numbers(index))

    def folds(self) -> Folds:
        """Blocks at the end of each series, each scored by what comes before it, as for the linear part."""
        series, origins = self.place(slice(None))
        within = np.arange(len(series)) - np.searchsorted(series, series)
        windows = np.bincount(series, minlength=len(self.origins.first))[series]
        block = np.maximum(1, (SHARE * windows).astype(np.int64))
        roles = np.zeros((len(series), BLOCKS), np.int8)
        for number in range(BLOCKS):
            end = windows - number * block
            scored = (within >= end - block) & (within < end)
            first = self.origins.first[series] + (end - block) * self.origins.stride
            roles[scored, number] = SCORED
            # nothing that is learned from lies in the steps that are forecast
            roles[origins + self.layout.said <= first, number] = FITTED
        return Folds(torch.from_numpy(roles), last=True)

    def batch(self, index: slice | Tensor) -> Batch:
        series, origins = self.place(index)
        return self.cut(origins, series)

    def cut(self, origins: np.ndarray, series: np.ndarray) -> Batch:
        """The windows that end at ``(batch,)`` rows of ``(batch,)`` series."""
        return self._cut(origins, series, self._read(origins, series))

    def exchanged(self, index: slice | Tensor, donors: slice | Tensor, part: Part) -> Batch:
        """Windows of which one part of what is read, by the network and by what its forecasts are added to, comes from
        others, as it is scaled in each series. What they are held against is their own.

        Args:
            index: of the windows.
            donors: alike, of the others.
            part: that is exchanged.
        """
        (series, origins), (of_donor, from_there) = self.place(index), self.place(donors)
        own, other = self._read(origins, series), self._read(from_there, of_donor)
        if part.times:
            own = own._replace(times=other.times)
        columns = np.array(part.columns, np.int64)
        at = np.ix_(np.arange(len(series)), np.arange(own.values.shape[1])[part.rows], columns)
        scaled = self.scaled.scaled(other.values, of_donor)
        own.values[at] = self.scaled.unscaled(scaled, series)[at]
        if own.unknown is not None and other.unknown is not None:
            own.unknown[at] = other.unknown[at]
        return self._cut(origins, series, own)

    def _rows(self, origins: np.ndarray, series: np.ndarray) -> np.ndarray:
        return self.scaled.rows(origins, series, 1 - self.length - self.layout.before, self.layout.horizon)

    def _read(self, origins: np.ndarray, series: np.ndarray) -> _Read:
        rows, panel = self._rows(origins, series), self.scaled.panel
        return _Read(panel.values[rows], None if panel.unknown is None else panel.unknown[rows], panel.times[rows])

    def _cut(self, origins: np.ndarray, series: np.ndarray, read: _Read) -> Batch:
        layout, panel, k, steps = self.layout, self.scaled.panel, self.scaled.num_targets, self.layout.horizon
        length, said = self.length, layout.said
        shift, scale = self.scaled.shift[series], self.scaled.scale[series]
        cut = layout.cut(*read, shift, scale, steps)
        rows = self._rows(origins, series)[:, layout.before :]
        truth = self.scaled.targets(rows, series)
        after = np.stack([truth[:, 1 + step : 1 + step + length] for step in range(said)], 2)
        targets = (after - cut.base[:, :, :said]) / cut.divisor[:said]
        batch = Batch(
            torch.from_numpy(cut.inputs),
            torch.from_numpy(targets.reshape(len(rows), length, -1).astype(np.float32)),
        )
        if self.references is None:
            return batch
        naive = cut.base[:, -1]
        shift, scale = shift[:, None, :k], scale[:, None, :k]
        errors = np.broadcast_to(self.naive_errors[series][:, None], naive.shape)
        references = np.stack(list(self.references.forecasts(origins, series).values()), 1)
        origin = Origin(
            actual=torch.from_numpy(panel.observed(rows)),  # in double precision, as the scales are
            scales=torch.from_numpy(
                np.stack([naive * scale + shift, np.broadcast_to(cut.divisor * scale, naive.shape), errors], 1)
            ),
            references=torch.from_numpy(((references - naive[:, None]) / cut.divisor).astype(np.float32)),
            ahead=torch.from_numpy(cut.ahead) if said == 1 and cut.inputs.shape[-1] > k else None,
        )
        return batch._replace(origin=origin)
