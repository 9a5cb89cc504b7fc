"""The layout of the windows of a time series, and what is said of them."""

from dataclasses import replace

import numpy as np

from rnnlab.data.layout import Layout
from rnnlab.data.series_learned import LearnedSeries
from rnnlab.data.series_suggestions import WINDOW
from rnnlab.files.frequency import time_in_words
from rnnlab.files.panel import show


def build_layout(data: LearnedSeries) -> Layout:
    """What the network reads of a window, and what its forecasts are added to."""
    columns, trained = data.panel.columns, data.trained or {}
    divisor = data.reference_errors.get({"linear": "ridge"}.get(data.base, data.base))
    layout = Layout(
        columns={
            "target": list(columns.target), "past": list(columns.past), "known": list(columns.known),
            "time": columns.time, "series": columns.series, "clock": columns.clock,
        },
        length=data.length or WINDOW,
        horizon=data.horizon,
        direct=data.strategy == "direct",
        log=bool(data.log),
        calendar=tuple(data.calendar or ()),
        missing=data.missing,
        season=data.season or 1,
        base=data.base,
        divisor=() if divisor is None else tuple(divisor.ravel().tolist()),
        window_scaling=data.window_scaling or "global",
        reach=data.reach,
        elapsed=data.usual_step if data.tells_elapsed else None,
        linear=data.ridge.plain() if data.base == "linear" and data.ridge is not None else {},
    )  # fmt: skip
    if layout.window_scaling == "global":
        return layout
    spread = trained.get("spread") or _spread(data, layout).tolist()
    return replace(layout, spread=tuple(spread))


def _spread(data: LearnedSeries, layout: Layout) -> np.ndarray:
    """``(targets,)`` standard deviation, in the training part, of what is read of each target."""
    scaled, k = data.training.scaled(layout.log), data.num_targets
    read = []
    for start, end in data.training_parts():
        x = scaled[None, start:end, :k]
        first = max(layout.averaged, layout.season)
        if end - start > first + 1:
            read.append(layout.read(x, np.arange(first, end - start))[0])
    if not read:
        return np.ones(k)
    found = np.concatenate(read).astype(np.float64).std(0)
    return np.where(found > 1e-9, found, 1.0)


def series_note(data: LearnedSeries, length: int) -> str:
    """What was done with the series, as far as anything was, for windows of so many steps."""
    panel = data.panel
    rows = [int(np.maximum(0, data.ends[:, 0] - panel.starts[:-1]).sum())]
    rows += np.diff(data.ends, axis=1).sum(0).tolist()
    cuts = f"validation from {show(data.cuts[0])}, test from {show(data.cuts[1])}"
    many = f"{len(panel.names)} series, " if len(panel.names) > 1 else ""
    note = f"{many}{' / '.join(f'{n:,}' for n in rows)} rows in the order of time, nothing drawn: {cuts}"
    if data.unknown is not None:
        note += f"; {int(data.unknown.sum()):,} missing values carried forward"
    if data.tells_elapsed:
        usual = time_in_words(data.usual_step, panel.times.dtype.kind == "M")
        note += f"; each row with the time since the one before, 1 = {usual}: windows, lags and the horizon count rows"
    reached = int((data.ends[:, 2] > data.ends[:, 1]).sum())
    if reached < len(panel.names) / 2:
        note += f"; all series are cut at one time, and {reached} of {len(panel.names)} reach into the test part"
    beyond = [season for season in data.seasons if season > length]
    if beyond:
        note += f"; a season of {beyond[-1]:,} steps is longer than the window (data.length={length})"
    if data.base == "linear" and data.ridge is not None:
        note += f"; linear part: {data.ridge.chosen}"
    elif data.wants_linear and data.base != "none":
        why = "is worse on the validation part" if data.ridge is not None else "has too little to be fitted to"
        note += f"; the linear part {why}: differences from {data.base.replace('_', '-')} are learned"
    elif data.base == "none" and data.ridge is not None:
        note += "; the most frequent value forecasts the validation part better: values are learned as they are"
    return "; ".join(filter(None, (note, panel.note)))
