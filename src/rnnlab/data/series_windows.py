"""The windows of a split of time series, cut as they are asked for."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rnnlab.data.series_cuts import place
from rnnlab.data.split import CutOnDemand, SplitName
from rnnlab.spec import Batch, Origin

if TYPE_CHECKING:
    from rnnlab.data.series import SeriesData


def cut_windows(data: "SeriesData", origins: np.ndarray, series: np.ndarray, split: SplitName) -> Batch:
    """The windows of a split that end at ``(batch,)`` rows of ``(batch,)`` series.

    Args:
        origins: the last row of each window.
        series: which each belongs to.
        split: whose linear part forecasts; all but the training part have what they are held against.
    """
    layout, k, steps = data.layout if split != "test" else data.final_layout, data.num_targets, data.horizon
    length, said = layout.length, layout.said
    rows = origins[:, None] + np.arange(-layout.before - length + 1, steps + 1)
    rows = np.maximum(rows, data.panel.starts[series][:, None])
    unknown = None if data.unknown is None else data.unknown[rows]
    shift, scale = (each[series] for each in data.moments)
    cut = layout.cut(data.panel.values[rows], unknown, data.panel.times[rows], shift, scale, steps)
    rows = rows[:, layout.before :]
    truth = data.exact(rows, series)[..., :k]
    if data.unknown is not None and data.unknown[rows, :k].any():
        truth = np.where(data.unknown[rows, :k], np.nan, truth)
    after = np.stack([truth[:, 1 + step : 1 + step + length] for step in range(said)], 2)
    targets = (after - cut.base[:, :, :said]) / cut.divisor[:said]
    batch = Batch(
        torch.from_numpy(cut.inputs),
        torch.from_numpy(targets.reshape(len(rows), length, -1).astype(np.float32)),
    )
    if split == "train":
        return batch
    naive = cut.base[:, -1]
    shift, scale = shift[:, None, :k], scale[:, None, :k]
    errors = np.broadcast_to(data.naive_errors[series][:, None], naive.shape)
    references = np.stack(list(data.references(origins, series, split).values()), 1)
    origin = Origin(
        actual=torch.from_numpy(data.observed(rows)),  # in double precision, as the scales are
        scales=torch.from_numpy(
            np.stack([naive * scale + shift, np.broadcast_to(cut.divisor * scale, naive.shape), errors], 1)
        ),
        references=torch.from_numpy(((references - naive[:, None]) / cut.divisor).astype(np.float32)),
        ahead=torch.from_numpy(cut.ahead) if said == 1 and cut.inputs.shape[-1] > k else None,
    )
    return batch._replace(origin=origin)


class Windows(CutOnDemand):
    """The windows of a split, cut from the series as they are asked for: they overlap in memory."""

    def __init__(self, data: "SeriesData", split: SplitName) -> None:
        super().__init__(data=data, name=split, origins=data.origins_of(split), number=data.size(split))

    data: "SeriesData"
    name: SplitName
    origins: tuple[np.ndarray, np.ndarray, int]
    number: int

    def __len__(self) -> int:
        return self.number

    def place(self, index: slice | Tensor) -> tuple[np.ndarray, np.ndarray]:
        """The series and the last row of windows."""
        return place(self.numbers(index), *self.origins)

    def batch(self, index: slice | Tensor) -> Batch:
        series, origins = self.place(index)
        return self.data.cut(origins, series, self.name)
