"""Anomaly scores: the distribution of errors, what they are of, and the command."""

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from conftest import TINY, compose

import rnnlab
from rnnlab.anomalies.deviations import Detector, fewest, of_history, of_sequences, of_split
from rnnlab.anomalies.errors import Errors, Normal, Usual, shrunk_covariance, total
from rnnlab.commands.predict import main as predict
from rnnlab.data.history import History
from rnnlab.errors import InputError
from rnnlab.instruments.anomaly_scores import AnomalyScores, Reconstruction
from rnnlab.instruments.subject import Subject
from rnnlab.runs.preparation import prepare
from rnnlab.tasks.distribution import Quantiles

PLAIN = ("data.linear=none", "data.log=false", "data.window_scaling=global")
SERIES = (*TINY[1:], "data=csv", "data.length=12", "instruments=none", "model.hidden_size=4", *PLAIN)


def errors(rng: np.random.Generator, n: int, entries: int = 3) -> Errors:
    mixing = np.array([[1.0, 0.8, 0], [0, 0.5, 0.2], [0, 0, 2.0]])[:entries, :entries]
    return Errors(rng.standard_normal((n, entries)) @ mixing + 0.3, np.zeros(n, np.int64))


# ---- the distribution -------------------------------------------------------------------------------


@pytest.mark.parametrize("quantile", [0.9, 0.99])
def test_of_errors_like_those_of_validation_the_nominal_share_is_above_the_threshold(quantile: float) -> None:
    shares = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        usual = Usual.of([errors(rng, 500)])
        shares.append((usual.normal.scores(errors(rng, 5000)) > usual.threshold(quantile)).mean())
    assert np.mean(shares) == pytest.approx(1 - quantile, rel=0.2)


def test_the_parts_add_up_to_the_mahalanobis_distance() -> None:
    rng = np.random.default_rng(0)
    part = errors(rng, 400)
    normal = Normal.fit([part])
    z = part.error / normal.spread[0] - normal.mean
    distance = np.einsum("ni,ij,nj->n", z, np.linalg.inv(normal.covariance), z)
    np.testing.assert_allclose(np.square(normal.scores(part)) * 3, distance, rtol=1e-9)
    np.testing.assert_allclose(total(normal.parts(part)), normal.scores(part))


def test_what_is_unknown_of_an_error_is_left_out() -> None:
    rng = np.random.default_rng(0)
    normal = Normal.fit([errors(rng, 400)])
    part = errors(rng, 5)
    part.error[1, 2], part.error[2] = np.nan, np.nan
    scores = normal.scores(part)
    z = (part.error / normal.spread[0] - normal.mean)[1, :2]
    assert scores[1] == pytest.approx(np.sqrt(z @ np.linalg.inv(normal.covariance[:2, :2]) @ z / 2))
    assert np.isnan(scores[2]) and np.isfinite(scores[[0, 1, 3, 4]]).all()


def test_an_error_is_told_by_those_at_its_own_step() -> None:
    rng = np.random.default_rng(0)
    at = np.tile(np.arange(4), 300)
    size = np.array([5.0, 1.0, 1.0, 1.0])[at]
    normal = Normal.fit([Errors((rng.standard_normal(1200) * size)[:, None], at)])
    first, later, beyond = normal.scores(Errors(np.full((3, 1), 5.0), np.array([0, 2, 9])))
    assert first < 1.5 and later > 4 and beyond == pytest.approx(later, rel=0.1)


def test_correlations_that_few_errors_cannot_tell_are_shrunk() -> None:
    rng = np.random.default_rng(0)
    few = shrunk_covariance(rng.standard_normal((8, 20)))
    assert np.linalg.eigvalsh(few).min() > 0, "of fewer errors than entries"
    assert np.abs(few[~np.eye(20, dtype=bool)]).mean() < 0.1
    many = rng.standard_normal((20000, 2)) @ np.array([[1, 0.9], [0, 0.4]])
    np.testing.assert_allclose(shrunk_covariance(many), np.cov(many.T), rtol=0.02)


def test_too_few_errors_tell_nothing() -> None:
    part = errors(np.random.default_rng(0), 19)
    with pytest.raises(InputError, match="has 19 steps with a known error, and 20 are needed"):
        Usual.of([part])
    usual = Usual.of([errors(np.random.default_rng(0), 30)])
    assert usual.rank(0.99) > 30 and usual.threshold(0.99) == usual.scores[-1]


def test_quantiles_say_by_how_much_they_are_exceeded() -> None:
    said = torch.tensor([[[1.5, 1.0, 2.0, 3.0, 2.5]]]).expand(4, 1, 5)  # not in order
    deviation = Quantiles([0.1, 0.2, 0.5, 0.8, 0.9]).deviation(said, torch.tensor([[2.0], [3.0], [0.0], [4.0]]))
    assert deviation[:, 0].tolist() == [0.0, 1.0, -2.0, 2.0]


# ---- what the errors are of -------------------------------------------------------------------------


def run_of(*overrides: str) -> Any:
    run = prepare(compose(*overrides))
    run.task.eval()
    return run


@pytest.mark.parametrize("horizon", [1, 3])
def test_a_forecaster_is_asked_what_it_said_of_the_step(horizon: int) -> None:
    run = run_of(*TINY, "data=sine", f"data.horizon={horizon}", "model.hidden_size=4")
    x = np.random.default_rng(0).standard_normal((9, 1)).astype(np.float32)
    short, long = of_sequences(run.task, [x[:5], x])
    assert np.isnan(long.error[:horizon]).all() and np.isfinite(long.error[horizon:]).all()
    np.testing.assert_allclose(short.error, long.error[:5], atol=1e-6)
    with torch.no_grad():
        said = run.task.network(torch.from_numpy(x[None, :-horizon]))[0][0, -1].numpy()
    np.testing.assert_allclose(long.error[-1], x[-1] - said, atol=1e-6)
    np.testing.assert_allclose(long.expected[-1], said, atol=1e-6)


def test_an_autoencoder_reads_what_is_longer_in_pieces() -> None:
    run = run_of(*TINY, "data=sine", "task=reconstruction", "data.length=8", "data.future_length=1")
    x = np.random.default_rng(0).standard_normal((19, 1)).astype(np.float32)
    found, last = of_sequences(run.task, [x, x[-8:]])
    np.testing.assert_allclose(found.error[-8:], last.error, atol=1e-6)
    np.testing.assert_allclose(found.value, x) and np.testing.assert_array_equal(found.at[:8], range(8))
    assert np.isfinite(found.error).all() and found.at.max() == 7


def history_of(run: Any, end: int) -> History:
    panel = run.data.panel
    rows = slice(0, int(panel.starts[1]))
    return History(0, end, panel.values[rows], np.zeros((end, panel.values.shape[1]), bool), panel.times[rows])


@pytest.mark.parametrize("task", ["forecasting", "reconstruction"])
def test_of_a_series_no_score_knows_what_comes_later(task: str) -> None:
    run = run_of(*SERIES, f"task={task}", "data.horizon=2")
    reader = run.data.reader
    whole, until = (of_history(run.task, reader, history_of(run, end)) for end in (60, 50))
    np.testing.assert_allclose(until.error, whole.error[:50], atol=1e-5)
    assert np.isfinite(whole.error[fewest(run.task, reader, history_of(run, 60)) - 1]).any()
    with pytest.raises(InputError, match=r"is too short: the first score needs 1\d, a window of 12 among them"):
        of_history(run.task, reader, history_of(run, 12 if task == "forecasting" else 11))


def test_of_a_series_the_errors_are_those_of_all_forecasts_of_a_step() -> None:
    run = run_of(*SERIES, "data.horizon=2")
    reader, found = run.data.reader, of_history(run.task, run.data.reader, history_of(run, 40))
    for ahead in (1, 2):
        window = reader.window(history_of(run, 30 - ahead + 1), 2)
        with torch.no_grad():
            said = run.task.network(torch.from_numpy(window.inputs[None]))[0][0, -1].numpy()
        truth = (found.value[30] - window.shift[-1, ahead - 1]) / window.scale[-1, ahead - 1]
        np.testing.assert_allclose(found.error[30, ahead - 1], (truth - said[ahead - 1])[0], atol=1e-5)


def test_the_validation_errors_of_a_series_are_those_of_its_windows(tmp_path: Path) -> None:
    pl.DataFrame({"x": np.random.default_rng(0).standard_normal(200).cumsum()}).write_csv(tmp_path / "x.csv")
    run = run_of(*TINY[1:], "data=csv", "data.length=12", "model.hidden_size=4", "data.horizon=2", "data.log=false",
                 f"data.path={tmp_path}/x.csv", "data.target=x")  # fmt: skip
    with torch.no_grad():
        batch = run.data.split("val").batch(slice(0, 5))
        run.task.network.readout.weight.normal_()  # which begins with zeros
        forecast = run.task.forecast(batch)
        truth = batch.targets[:, -1].unflatten(1, (2, -1))
        windows = (truth - forecast[..., 0])[:, 0]
    first = of_split(run.task, run.data, "val")[0].error.reshape(-1, 2, windows.shape[-1])[:5, 0]
    np.testing.assert_allclose(first, windows.numpy(), atol=1e-4)


# ---- in use -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from rnnlab.runs.directory import RunDirectory
    from rnnlab.runs.execution import execute

    found = {}
    made = {
        "forecaster": ("data=sine", "data.length=12", "data.future_length=1"),
        "autoencoder": ("data=sine", "data.length=12", "data.future_length=1", "task=reconstruction"),
        "classifier": ("data=classification", "recipe=general"),
    }
    for name, overrides in made.items():
        directory = RunDirectory.claim(tmp_path_factory.mktemp("runs") / name)
        execute(directory, compose(*TINY, "instruments=none", "model.hidden_size=4", *overrides), quiet=True)
        found[name] = directory.path
    return found


@pytest.mark.parametrize("kind", ["forecaster", "autoencoder"])
def test_the_command_writes_what_python_says(kind: str, runs: dict[str, Path], tmp_path: Path, capsys: Any) -> None:
    x = np.random.default_rng(0).standard_normal(30)
    pl.DataFrame({"wave": x}).write_csv(tmp_path / "new.csv")
    out = tmp_path / "out.csv"
    command = [str(runs[kind]), "--input", str(tmp_path / "new.csv"), "--output", str(out), "--anomalies"]
    assert predict([*command, "--quantile", "0.9"]) == 0
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [*rows[0]] == ["sequence", "step", "wave", "wave expected", "score", "threshold", "anomaly"]
    assert len(rows) == 30 and {row["anomaly"] for row in rows} == {"yes", "no"}
    for row in rows:
        assert (row["anomaly"] == "yes") == (row["score"] != "" and float(row["score"]) > float(row["threshold"]))
    said = rnnlab.load(runs[kind]).anomalies(x[:, None], quantile=0.9)
    np.testing.assert_allclose(said["score"].fill_null(-1), [float(row["score"] or -1) for row in rows], rtol=1e-4)
    assert (rows[0]["score"] == "") == (kind == "forecaster"), "nothing is expected of the first step"


WRONG = {
    "classifier": (["classifier", "--input", "F", "--anomalies"], "neither forecasts nor rebuilds what it reads"),
    "quantile": (
        ["forecaster", "--input", "F", "--anomalies", "--quantile", "1"],
        "--quantile 1 must be between 0 and",
    ),
    "alone": (["forecaster", "--input", "F", "--quantile", "0.9"], "--quantile 0.9 is of --anomalies"),
    "no input": (["forecaster", "--anomalies"], "--anomalies is for new data: give --input FILE"),
    "stream": (["forecaster", "--stream", "--anomalies"], "--anomalies and --stream"),
    "horizon": (["forecaster", "--input", "F", "--anomalies", "--horizon", "3"], "--horizon and --anomalies"),
    "several": (["forecaster", "twin", "--input", "F", "--anomalies"], "is of one run"),
    "column": (["autoencoder", "--input", "G", "--anomalies"], "wave"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_told_is_one_line(case: str, runs: dict[str, Path], tmp_path: Path, capsys: Any) -> None:
    pl.DataFrame({"wave": np.ones(20)}).write_csv(tmp_path / "F")
    pl.DataFrame({"waves": np.ones(20), "f": np.ones(20)}).write_csv(tmp_path / "G")
    given, message = WRONG[case]
    if case == "several":
        shutil.copytree(runs["forecaster"], tmp_path / "twin")
    names = {name: str(path) for name, path in runs.items()} | {
        each: str(tmp_path / each) for each in ("F", "G", "twin")
    }
    assert predict([names.get(each, each) for each in given]) in (1, 2)
    said = capsys.readouterr().err
    assert message in said and len(said.strip().splitlines()) == 1


def test_data_that_is_gone_is_named(tmp_path: Path) -> None:
    from rnnlab.runs.directory import RunDirectory
    from rnnlab.runs.execution import execute

    file = tmp_path / "sales.csv"
    pl.DataFrame({"x": np.random.default_rng(0).standard_normal(300)}).write_csv(file)
    directory = RunDirectory.claim(tmp_path / "run")
    execute(directory, compose(*SERIES, f"data.path={file}", "data.target=x", "data.num_samples=null"), quiet=True)
    model = rnnlab.load(directory.path)
    assert model.anomalies(pl.DataFrame({"x": np.zeros(40)}))["score"].is_not_null().sum() == 28
    file.unlink()
    with pytest.raises(InputError, match=r"needs its data: .*sales\.csv"):
        rnnlab.load(directory.path).anomalies(pl.DataFrame({"x": np.zeros(40)}))


def test_what_a_column_adds_is_told(tmp_path: Path) -> None:
    run = run_of(*SERIES, "data.target=[sales,temperature]", "data.past=[]", "data.known=[]", "data.horizon=2")
    detector = Detector.of(run.task, run.data)
    (part, *_) = of_split(run.task, run.data, "test")
    scored = detector.score(part)
    there = np.isfinite(scored.score)
    assert scored.shares.shape[1] == 2
    np.testing.assert_allclose(scored.shares[there].sum(1), 1)


# ---- measured ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "overrides", "precision", "recall"),
    [("forecaster", (), 0.5, 0.7), ("autoencoder", ("task=reconstruction",), 0.5, 0.8)],
)
def test_spikes_shifts_and_a_sensor_that_stands_still_are_found(
    kind: str, overrides: tuple[str, ...], precision: float, recall: float, tmp_path: Path
) -> None:
    run = rnnlab.train("data=sine", "data.frequency=[0.05,0.05]", "data.num_samples=600", "trainer.max_steps=700",
                       "trainer.accelerator=cpu", "instruments=none", "logger=none", *overrides,
                       **{"hydra.run.dir": str(tmp_path / kind)})  # fmt: skip
    rng = np.random.default_rng(7)
    t = np.arange(50)
    clean = [np.sin(2 * np.pi * (t / 20 + rng.random())) * 0.8 + 0.1 * rng.standard_normal(50) for _ in range(200)]
    model = rnnlab.load(run.path)
    alarms = model.anomalies([each[:, None] for each in clean])
    assert (alarms["anomaly"] == "yes").mean() == pytest.approx(0.01, abs=0.008)
    found, right, flagged = 0, 0, 0
    for number, each in enumerate(clean[:90]):
        x, start = each.copy(), int(rng.integers(15, 30))
        end = start + (1, 12, 12)[number % 3]
        if number % 3 == 2:
            x[start:end] = x[start]
        else:
            x[start:end] += 0.6
        yes = np.flatnonzero((model.anomalies(x[:, None])["anomaly"] == "yes").to_numpy())
        inside = (yes >= start) & (yes < end + 2)
        found += inside.any()
        right, flagged = right + inside.sum(), flagged + len(yes)
    assert found / 90 >= recall and right / flagged >= precision


# ---- pictures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["forecasting", "reconstruction"])
def test_the_picture_shows_what_was_expected_and_the_score(task: str) -> None:
    run = run_of(*TINY, "data=sine", f"task={task}", "model.hidden_size=4", "data.length=12")
    subject = Subject("run", run.task, run.data)
    shown, other = AnomalyScores(), Reconstruction()
    shown, other = (other, shown) if task == "reconstruction" else (shown, other)
    assert shown.left_out(subject) is None and other.left_out(subject)
    measured = shown.measure(subject)
    picture = shown.draw(subject, measured)
    assert measured.steps == run.data.size("test") * (12 if task == "reconstruction" else 11)
    assert len(picture.figure.axes) == 4 and len(picture.table.rows) == 2
    subject.of_a_file = True
    assert "validation part of the run's own data" in str(shown.left_out(subject))
