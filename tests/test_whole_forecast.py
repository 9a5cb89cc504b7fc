"""Looking at forecasts whose linear part says most, or all, of them."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from rnnlab.cells.gru import GRU
from rnnlab.data.csv import CSV
from rnnlab.data.series_windows import Part
from rnnlab.instruments.gradient_by_lag import GradientByLag
from rnnlab.instruments.importance import PermutationImportance
from rnnlab.instruments.instrument import Instrument, Picture
from rnnlab.instruments.linear_part import LinearPart
from rnnlab.instruments.saliency import Saliency
from rnnlab.instruments.subject import Subject
from rnnlab.network import Network
from rnnlab.runs.build import build_one
from rnnlab.tasks.forecasting import Forecasting
from rnnlab.use.inspection import catalogue

AUTO: dict[str, Any] = {"length": None, "log": None, "window_scaling": None, "linear": None, "calendar": []}
SHOPS = ("north", "south")


def shops(tmp_path: Path, **options: Any) -> CSV:
    """Sales of two shops, at two levels, by those of the day before and by far more by the promotion of the day."""
    rng = np.random.default_rng(0)
    frames = []
    for level, shop in zip((100.0, 1000.0), SHOPS, strict=True):
        promotion, noise, carried = rng.integers(0, 2, 300), rng.normal(0, 1, 300), np.zeros(300)
        for day in range(1, 300):
            carried[day] = 0.7 * carried[day - 1] + noise[day]
        dates = (np.datetime64("2024-01-01") + np.arange(300)).astype("M8[D]")
        sales = level * (1 + 0.04 * carried + 0.2 * promotion)
        columns = {
            "day": dates,
            "shop": [shop] * 300,
            "sales": sales,
            "promotion": promotion,
            "rain": rng.normal(size=300),
        }
        frames.append(pl.DataFrame(columns))
    pl.concat(frames).write_csv(tmp_path / "shops.csv")
    given = {"target": "sales", "time": "day", "series": "shop", "known": ["promotion"], "past": ["rain"], "horizon": 2}
    return CSV(path=str(tmp_path / "shops.csv"), **{**AUTO, **given, **options})


def subject_of(data: CSV, split: Any = "test", nothing: bool = True, **options: Any) -> Subject:
    torch.manual_seed(0)
    task = Forecasting(
        Network(data.spec.input, Forecasting.output(data.spec, **options), GRU, hidden_size=4), data.spec, **options
    ).eval()
    if nothing:
        for part in task.network.readout.parameters():
            torch.nn.init.zeros_(part)
    return Subject("", task, data, split, metrics={"calibration/gain": 0.0} if nothing else {})


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("split", ["test", "train"])
def test_what_is_exchanged_reaches_all_that_is_read(tmp_path: Path, split: Any, log: bool) -> None:
    data = shops(tmp_path, log=log)
    windows = data.windows(split)
    assert windows.layout.base == "linear"
    one, other = torch.arange(5), torch.arange(len(windows) - 5, len(windows))  # another shop
    own, donor = windows.batch(one), windows.batch(other)
    every, columns = slice(None), [0, 1, 2]
    same = windows.exchanged(one, one, Part(every, columns, times=True))
    torch.testing.assert_close(same.inputs, own.inputs)
    found = windows.exchanged(one, other, Part(every, columns, times=True))
    torch.testing.assert_close(found.inputs, donor.inputs)
    if own.origin is None:  # its truth is its own, less the other's base
        assert found.origin is None and not torch.allclose(found.targets, own.targets)
        return
    assert found.origin is not None and donor.origin is not None
    torch.testing.assert_close(found.origin.actual, own.origin.actual)
    # the forecast of the other window, at the level of this shop
    (shift, scale), (of_donor, its_scale) = ((data.scaled.shift[k, 0], data.scaled.scale[k, 0]) for k in (0, 1))
    torch.testing.assert_close(
        (found.origin.scales[:, 0] - shift) / scale, (donor.origin.scales[:, 0] - of_donor) / its_scale
    )


@pytest.mark.parametrize("split", ["test", "train"])
def test_importance_is_of_the_whole_forecast(tmp_path: Path, split: Any) -> None:
    """With nothing of the network in it, it was exactly 0 for all parts."""
    subject = subject_of(shops(tmp_path, test_fraction=0.3), split)
    instrument = PermutationImportance(repeats=2)
    found = instrument.measure(subject)
    columns = dict(zip(found.columns.names, zip(found.columns.mean, found.columns.half, strict=True), strict=True))
    assert [name for name in columns if name != "calendar"] == ["sales", "rain", "promotion"]
    for name, matters in {"sales": True, "promotion": True, "rain": False}.items():
        mean, half = columns[name]
        assert (mean > half) == matters
    assert columns["promotion"][0] > columns["sales"][0] > 5 * abs(columns["rain"][0])
    *_, before, now, ahead = found.spans.mean
    assert ahead > now > before and found.spans.names[-1] == "1 to 2"
    assert instrument.draw(subject, found).facts.popitem()[1].startswith("column promotion +")


def test_what_of_the_importance_is_the_linear_parts_reaches_beyond_the_window(tmp_path: Path) -> None:
    subject = subject_of(shops(tmp_path, length=3, linear="none", residual_of="seasonal_naive", period=7))
    found = PermutationImportance(repeats=2).measure(subject)
    at = found.spans.at.tolist()
    matters = [step for step, mean in zip(at, found.spans.mean, strict=True) if abs(mean) > 1e-9]
    assert matters == [-6, -5]  # by which the next two days are forecast


@pytest.mark.parametrize("distribution", ["point", "gaussian", "quantiles"])
def test_gradients_of_a_network_that_adds_nothing_are_left_out(tmp_path: Path, distribution: Any) -> None:
    data = shops(tmp_path)
    for instrument in (Saliency(), GradientByLag()):
        why = instrument.left_out(subject_of(data, distribution=distribution))
        assert why == "the network adds nothing to the forecast, which has no gradient in it"
        assert instrument.left_out(subject_of(data, nothing=False, distribution=distribution)) is None
        # without a linear part nothing stands in the place of a network that says 0
        assert instrument.left_out(subject_of(shops(tmp_path, linear="none", window_scaling="global"))) is None


@pytest.mark.parametrize("horizon", [1, 2])
def test_the_linear_part_is_shown_by_lag(tmp_path: Path, horizon: int) -> None:
    data = shops(tmp_path, horizon=horizon)
    subject, instrument = subject_of(data), LinearPart()
    assert instrument.missing(subject) is None
    found = instrument.measure(subject)
    linear = data.final_layout.ridge
    assert linear is not None
    np.testing.assert_array_equal(found.lags[0], linear.weights[..., 0])
    waves = ("weekday sin", "weekday cos", "weekday sin × 2", "weekday cos × 2")
    assert found.names == (*waves, "rain", *(f"promotion +{step}" for step in range(1, horizon + 1)))
    assert len(found.names) == found.others.shape[-1]
    picture = instrument.draw(subject, found)
    assert picture.table is not None
    rows = {name: weights for name, *weights in picture.table.rows}
    assert rows["lag 0"] == pytest.approx(linear.weights[:, 0, 0])
    assert next(iter(found.weights)).startswith("promotion") and sum(found.weights.values()) == pytest.approx(1)
    assert picture.facts["linear part"].startswith("it stands alone, the network adds nothing; promotion +")
    assert instrument.compare({"a": found, "b": found}).table
    without = subject_of(shops(tmp_path, linear="none", residual_of="persistence"))
    assert instrument.missing(without) == "there is no linear part: the network's forecast is added to persistence"


def test_the_linear_part_of_several_targets_and_many_steps(tmp_path: Path) -> None:
    data = shops(tmp_path, target=["sales", "rain"], past=[], known=[], horizon=20, val_fraction=0.2, test_fraction=0.2)
    subject, instrument = subject_of(data), LinearPart()
    assert instrument.missing(subject) is None
    table = instrument.draw(subject, instrument.measure(subject)).table
    assert table is not None and len(table.columns) == 2 + 12 and table.columns[-1] == "+20"


def test_how_to_read_a_picture_is_said_without_markup() -> None:
    class Mine(Instrument[int]):
        """See :mod:`rnnlab.anomalies.errors` and :class:`~rnnlab.spec.Batch`, ``1 - quantile`` and `that`_."""

        def measure(self, subject: Subject) -> int:
            return 0

        def draw(self, subject: Subject, measured: int) -> Picture:
            raise NotImplementedError

    assert Mine().reading == "See rnnlab.anomalies.errors and rnnlab.spec.Batch, 1 - quantile and that."
    for name, node in catalogue().items():
        instrument: Instrument[Any] = build_one(Instrument, node, name)
        assert not set("`:") & set(instrument.reading[:1]) and "`" not in instrument.reading
