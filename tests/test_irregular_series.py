"""Series whose rows are as far apart as their times say: ``data.gaps=elapsed``."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from rnnlab.data.csv import CSV
from rnnlab.data.readers import reader_from_plain
from rnnlab.data.split import SPLITS
from rnnlab.errors import InputError

ROWS = 200


def written(folder: Path, dated: bool = False, **columns: Any) -> str:
    rng = np.random.default_rng(0)
    times: Any = np.cumsum(rng.exponential(1.0, ROWS)).round(3)
    if dated:
        times = [str(each).replace("T", " ") for each in np.datetime64("2024-01-01") + (3600 * times).astype("m8[s]")]
    frame = pl.DataFrame({"t": times, "y": rng.normal(size=ROWS).cumsum(), **columns})
    frame.write_csv(folder / "irregular.csv")
    return str(folder / "irregular.csv")


def data_of(path: str, **options: Any) -> CSV:
    given = {"target": "y", "time": "t", "gaps": "elapsed", "length": 6, "horizon": 2, "linear": "none"}
    return CSV(path=path, **(given | options))


@pytest.mark.parametrize("dated", [False, True])
def test_each_row_comes_with_the_time_since_the_one_before(dated: bool, tmp_path: Path) -> None:
    path = written(tmp_path, dated)
    data = data_of(path)
    column = pl.read_csv(path)["t"]
    times = column.str.to_datetime().dt.epoch("s").to_numpy() if dated else column.to_numpy()
    steps = np.diff(times.astype(float))
    unit = np.median(steps[: int(data.ends[0, 0]) - 1])
    assert data.layout.elapsed == pytest.approx(unit)
    at = data.spec.input.elapsed
    assert at == len(data.layout.features) - 1
    for split in SPLITS:
        _, origins = data.places(split)
        windows = data.split(split).batch(torch.arange(len(origins))).inputs[..., at].numpy()
        for origin, window in zip(origins, windows, strict=True):
            rows = np.arange(origin - 5, origin + 1)
            expected = np.where(rows > 0, steps[np.maximum(rows, 1) - 1] / unit, 1.0)  # of the first row nobody knows
            np.testing.assert_allclose(window, expected, rtol=1e-5)
    assert "windows, lags and the horizon count rows" in data.spec.note
    assert data.spec.step_unit == "row" and data.spec.period is None


def test_no_window_knows_when_the_next_row_comes(tmp_path: Path) -> None:
    path = written(tmp_path, dated=True)
    frame = pl.read_csv(path)
    frame = frame.with_columns(pl.col("t").str.to_datetime())
    later = frame.with_columns(pl.when(pl.int_range(ROWS) > 150).then(pl.col("t") + pl.duration(days=3)).otherwise("t"))
    later.write_csv(tmp_path / "later.csv", datetime_format="%Y-%m-%d %H:%M:%S")
    options = {"calendar": ["hour", "weekday"], "linear": "ridge", "val_fraction": 0.2}
    one, other = data_of(path, **options), data_of(str(tmp_path / "later.csv"), **options)
    series, origins = np.zeros(20, int), np.arange(131, 151)
    for before, after in zip(one.cut(origins, series, "val"), other.cut(origins, series, "val"), strict=True):
        if isinstance(before, torch.Tensor):
            torch.testing.assert_close(before, after)


def test_equally_far_apart_is_1(tmp_path: Path) -> None:
    pl.DataFrame({"t": range(0, 3 * ROWS, 3), "y": np.random.default_rng(0).normal(size=ROWS)}).write_csv(
        tmp_path / "regular.csv"
    )
    told, plain = (data_of(str(tmp_path / "regular.csv"), gaps=gaps) for gaps in ("elapsed", "error"))
    ours, theirs = (data.split("test").batch(slice(None)) for data in (told, plain))
    assert (ours.inputs[..., -1] == 1).all()
    torch.testing.assert_close(ours.inputs[..., :-1], theirs.inputs)
    torch.testing.assert_close(ours.targets, theirs.targets)


def test_new_rows_are_read_as_in_training(tmp_path: Path) -> None:
    path = written(tmp_path, p=np.random.default_rng(1).normal(size=ROWS))
    data = data_of(path, past=["p"], missing="mask", window_scaling="last")
    assert data.spec.input.masks == ((0, 2), (1, 3)) and data.spec.input.elapsed == 4
    reader = reader_from_plain(data.reader.plain())
    frame = pl.read_csv(path).head(40)
    (history,), _ = reader.histories(frame)
    window = reader.window(history, 2)
    batch = data.cut(np.array([39]), np.array([0]), "train")
    np.testing.assert_allclose(window.inputs, batch.inputs[0].numpy(), atol=1e-5)
    assert not reader.knows_when(history, 2)
    lines = frame.write_csv().splitlines()
    arrivals = [arrival for arrival in reader.stream(iter(lines), "x") if arrival is not None]
    whole = reader.window(history, 2, whole=True).inputs
    np.testing.assert_allclose(np.stack([arrival.inputs for arrival in arrivals]), whole, atol=1e-5)
    with pytest.raises(InputError, match=r"line 42: 3 comes after .*: times must rise"):
        list(reader.stream(iter([*lines, "3,1,1"]), "x"))
    # a run hands in what it learned, and reads other data by it
    again = data_of(path, past=["p"], missing="mask", **{**data.state_dict(), "end": 100})
    assert again.layout.elapsed == data.layout.elapsed


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no time": ({"time": None}, r"data.gaps=elapsed needs the column of the times: data.time=COLUMN"),
    "fed back": ({"strategy": "recursive"}, r"data.strategy=recursive: .* use data.strategy=direct"),
    "decimals": ({"gaps": "ignore"}, r"row 1, column 't': '\d.\d+' is neither .* \(data.gaps=elapsed"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_one_line(name: str, tmp_path: Path) -> None:
    options, message = BAD[name]
    with pytest.raises(InputError, match=message) as raised:
        data_of(written(tmp_path), **options)
    assert "\n" not in str(raised.value)


def test_times_that_run_backwards_are_refused(tmp_path: Path) -> None:
    path = Path(written(tmp_path))
    lines = path.read_text().splitlines()
    lines[50], lines[51] = lines[51], lines[50]
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"row 51: t .* comes after .* in row 50: .*data.sort=true sorts them"):
        data_of(str(path))
    assert data_of(str(path), sort=True).layout.elapsed
