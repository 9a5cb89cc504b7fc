"""New data through trained runs: files, pipes, streams, and Python."""

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from conftest import TINY, compose

import rnnlab
from rnnlab.commands import predict as predict_command
from rnnlab.data.csv import CSV, make_up
from rnnlab.errors import InputError
from rnnlab.runs.checkpoint import read_checkpoint, write_checkpoint
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import execute
from rnnlab.runs.preparation import prepare
from rnnlab.use.prediction import predictions
from rnnlab.use.predictor import TrainedRun

Runs = Callable[..., Path]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The directory of a tiny run, trained once for all tests."""
    made: dict[tuple[str, ...], Path] = {}

    def run(*overrides: str) -> Path:
        if overrides not in made:
            config = compose(*TINY, "model.hidden_size=8", "instruments=none", *overrides)
            directory = RunDirectory.claim(tmp_path_factory.mktemp("runs") / "run")
            execute(directory, config, quiet=True)
            made[overrides] = directory.path
        return made[overrides]

    return run


def said(*arguments: Any, text: str | None = None, monkeypatch: pytest.MonkeyPatch | None = None) -> int:
    if text is not None:
        assert monkeypatch is not None
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    return predict_command.main([str(argument) for argument in arguments])


def test_table(path: Path) -> tuple[pl.DataFrame, Any]:
    """What a run says of its own test data, and that data."""
    directory = RunDirectory.open(path)
    run = prepare(directory.config, trained=read_checkpoint(directory.best_checkpoint))
    run.task.load_state_dict(read_checkpoint(directory.best_checkpoint)["state_dict"])
    return pl.concat(predictions(run)), run.data


test_table.__test__ = False  # type: ignore[attr-defined]


def sequences(data: Any) -> list[np.ndarray]:
    split = data.split("test")
    lengths = [len(split.inputs[0])] * len(split) if split.lengths is None else split.lengths.tolist()
    return [x[:length].numpy() for x, length in zip(split.inputs, lengths, strict=True)]


def alike(one: pl.DataFrame, other: pl.DataFrame, columns: list[str], rel: float = 1e-4) -> None:
    assert columns
    assert len(one) == len(other)
    for name in columns:
        if one[name].dtype.is_float():
            assert one[name].to_list() == pytest.approx(other[name].to_list(), rel=rel, abs=1e-5, nan_ok=True), name
        else:
            assert one[name].to_list() == other[name].to_list(), name


# ---- what is said of new data is what is said of the same data in the test ---------------------------


@pytest.mark.parametrize("data", ["classification", "tokens", "parity", "adding", "random"])
def test_new_sequences_are_read_as_the_test_is(data: str, runs: Runs, tmp_path: Path) -> None:
    path = runs(f"data={data}")
    expected, its_data = test_table(path)
    file = tmp_path / "new.jsonl"
    file.write_text("".join(json.dumps({"inputs": x.tolist()}) + "\n" for x in sequences(its_data)))
    assert said(path, "--input", file, "--output", tmp_path / "said.parquet") == 0
    found = pl.read_parquet(tmp_path / "said.parquet")
    alike(found, expected, [name for name in found.columns if name in expected.columns])


@pytest.mark.parametrize("data", ["sine", "reverse_string"])
def test_predictions_at_each_step_are_those_of_the_test(data: str, runs: Runs) -> None:
    path = runs(f"data={data}")
    expected, its_data = test_table(path)
    found = rnnlab.load(path).predict(sequences(its_data), steps=True)
    # a row for every step, also those at which the test asks nothing
    expected = expected.join(found, on=["sequence", "step"], how="left", suffix=" new", maintain_order="left")
    name = "wave predicted" if data == "sine" else "prediction"
    alike(expected.with_columns(pl.col(f"{name} new").alias(name)), expected, [name])


def test_a_rollout_is_that_of_the_test(runs: Runs) -> None:
    path = runs("data=sine", "data.horizon=3")
    run = prepare(RunDirectory.open(path).config)
    run.task.load_state_dict(read_checkpoint(path / "checkpoints/best.ckpt")["state_dict"])
    waves = run.data.split("test").inputs
    expected = run.task.rollout(waves, 7)  # type: ignore[operator]
    found = rnnlab.load(path).predict(waves.numpy(), horizon=10)
    assert found["ahead"].to_list() == list(range(1, 11)) * len(waves)
    later = found.filter(pl.col("ahead") > 3)["wave predicted"].to_numpy().reshape(len(waves), 7)
    np.testing.assert_allclose(later, expected[..., 0].numpy(), rtol=1e-4, atol=1e-5)
    short = rnnlab.load(path).predict(waves.numpy(), horizon=2)["wave predicted"].to_numpy().reshape(-1, 2)
    np.testing.assert_allclose(short, found["wave predicted"].to_numpy().reshape(-1, 10)[:, :2], rtol=1e-5)


def test_texts_are_read_as_in_training(runs: Runs, tmp_path: Path) -> None:
    path = runs("data=text_classification")
    expected, its_data = test_table(path)
    texts = ["".join(its_data.encoder.vocabulary[k] for k in x) for x in sequences(its_data)]
    names = expected["truth"].to_list()
    (tmp_path / "new.txt").write_text("\n".join(texts))
    pl.DataFrame({"text": texts, "label": names}).write_csv(tmp_path / "new.csv")
    with_truth, without = (rnnlab.load(path).predict(tmp_path / f"new.{end}") for end in ("csv", "txt"))
    alike(with_truth, expected, expected.columns)
    alike(without, expected, without.columns)


@pytest.mark.needs("datasets")
@pytest.mark.parametrize("scaling", ["standard", "per_sequence"])
def test_units_of_an_archive_are_scaled_as_in_training(scaling: str, runs: Runs) -> None:
    path = runs("data=ucr", f"data.scaling={scaling}")
    expected, its_data = test_table(path)
    file, members = its_data.parts["test"]
    found = rnnlab.load(path).predict([file.sequences[i] for i in members[: len(expected)]])
    alike(found, expected, found.columns)


FORECASTS = {
    "direct": ["data.horizon=3", "data.calendar=[weekday,month]", "task.distribution=quantiles"],
    "recursive": ["data.horizon=3", "data.strategy=recursive", "data.calendar=[weekday]"],
    "difference": ["data.horizon=2", "data.residual_of=seasonal_naive", "task.distribution=gaussian"],
    "logarithm": ["data.log=true", "data.missing=mask", "data.scaling=minmax"],
}


@pytest.mark.parametrize("kind", FORECASTS)
@pytest.mark.few("recursive")
def test_a_forecast_at_the_end_of_new_series_is_that_of_the_test(kind: str, runs: Runs) -> None:
    path = runs("data=csv", "data.length=14", *FORECASTS[kind])
    expected, data = test_table(path)
    assert isinstance(data, CSV)
    series, origins = data.split("test").place(slice(None))  # type: ignore[attr-defined]
    table = make_up().with_columns(pl.int_range(pl.len()).alias("row"))
    model = rnnlab.load(path)
    for number in (0, len(origins) - 1):
        name, steps = data.panel.names[series[number]], data.horizon
        rows = table.filter((pl.col("shop") == name) & (pl.col("row") <= origins[number] + steps))
        sales = pl.when(pl.col("row") <= origins[number]).then(pl.col("sales"))
        found = model.predict(rows.with_columns(sales.alias("sales")))
        same = expected.filter(pl.col("sequence") == number)
        alike(found, same, [column for column in same.columns if column not in ("sequence", "sales")])
        assert found["date"].to_list() == rows["date"].to_list()[-steps:]
        assert set(found["shop"]) == {name}


def test_a_folder_is_its_files_each_under_its_name(runs: Runs, tmp_path: Path) -> None:
    folder, lines = tmp_path / "weeks", [0.1 * step for step in range(40)]
    (folder / "north").mkdir(parents=True)
    pl.DataFrame({"wave": lines}).write_csv(folder / "b.csv")
    pl.DataFrame({"wave": lines[5:]}).write_csv(folder / "north" / "a.csv")
    (folder / ".hidden").write_text("no table")
    model = rnnlab.load(runs("data=sine"))
    whole = model.predict(folder)
    assert whole["file"].unique(maintain_order=True).to_list() == ["b.csv", "north/a.csv"]
    for name, rows in whole.partition_by("file", as_dict=True).items():
        assert rows.drop("file").equals(model.predict(folder / str(name[0])))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no file in this folder"):
        model.predict(tmp_path / "empty")


def test_files_of_a_folder_that_cannot_be_read_are_all_named_before_any_is_predicted(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "weeks", tmp_path / "out.csv"
    folder.mkdir()
    for name, text in {
        "a.csv": "wave\n0\n1\n",
        "b.csv": "wave\n0\nx\n",
        "c.csv": "wave\n1\n",
        "d.csv": "wav\n0\n",
    }.items():
        (folder / name).write_text(text)
    assert said(runs("data=sine", "data.horizon=2"), "--input", folder, "--output", out) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "3 of 4 files cannot be read, and none is predicted: b.csv, row 2, column 'wave'" in line
    assert "c.csv: a sequence of 1 steps is too short" in line and "d.csv has no column 'wave'" in line
    assert not out.exists()


def test_what_lies_beside_the_files_of_a_folder_is_passed_over(
    runs: Runs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, model = tmp_path / "weeks", rnnlab.load(runs("data=sine"))
    (folder / "__MACOSX").mkdir(parents=True)
    for name in ("a.csv", "b.csv"):
        pl.DataFrame({"wave": [0.1 * step for step in range(20)]}).write_csv(folder / name)
    hidden = (".DS_Store", "Thumbs.db", "desktop.ini", "~$a.csv", "._b.csv", "__MACOSX/a.csv")
    for name in hidden:
        (folder / name).write_bytes(b"\0\1")
    alone = model.predict(folder)
    assert alone["file"].unique(maintain_order=True).to_list() == ["a.csv", "b.csv"] and not caplog.messages
    for name in ("README.md", "LICENSE", "plot.png", "notes.txt"):
        (folder / name).write_text("A week of waves")
    assert model.predict(folder).equals(alone)
    assert caplog.messages == [f"{folder}: LICENSE, README.md, notes.txt, plot.png are passed over, by name or by kind"]
    (folder / "c.csv").write_text("wav\n1\n")  # of the kind that is read, and wrong
    with pytest.raises(InputError, match="1 of 3 files cannot be read"):
        model.predict(folder)


def test_files_of_a_folder_have_the_columns_of_all_of_them(runs: Runs, tmp_path: Path) -> None:
    folder, out = tmp_path / "weeks", tmp_path / "out.csv"
    folder.mkdir()
    path = runs("data=classification")
    reader = rnnlab.load(path).reader
    steps = pl.DataFrame({name: [0.1, 0.2, 0.3] for name in reader.features})
    steps.write_csv(folder / "a.csv")
    told = steps.with_columns(pl.lit(reader.classes[0]).alias("class"), pl.lit("x").alias("sequence"))  # type: ignore[attr-defined]
    told.write_csv(folder / "b.csv")
    for each in (out, tmp_path / "out.parquet"):
        assert said(path, "--input", folder, "--output", each) == 0
    found = pl.read_csv(out)
    assert found["truth"].to_list() == [None, reader.classes[0]]  # type: ignore[attr-defined]
    assert found["sequence"].to_list() == ["0", "x"]
    assert found.columns == pl.read_parquet(tmp_path / "out.parquet").columns
    assert rnnlab.load(path).predict(folder)["truth"].to_list() == found["truth"].to_list()


def test_anomalies_of_a_folder_are_those_of_its_files(runs: Runs, tmp_path: Path) -> None:
    model, table = rnnlab.load(runs("data=csv", "data.length=14")), make_up(200)
    for name in ("a", "b"):
        table.write_csv(tmp_path / f"{name}.csv")
    found = model.anomalies(tmp_path)
    assert found["file"].unique(maintain_order=True).to_list() == ["a.csv", "b.csv"]
    assert found.filter(file="b.csv").drop("file").equals(model.anomalies(tmp_path / "b.csv"))


def test_a_series_shorter_than_what_is_read_is_said(runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    model, table = rnnlab.load(runs("data=csv", "data.length=14")), make_up()

    def cut(steps: int) -> pl.DataFrame:
        number = pl.int_range(pl.len()).over("shop")
        sales = pl.when(number < steps).then(pl.col("sales"))
        return table.with_columns(sales.alias("sales")).filter(number <= steps)

    with caplog.at_level("WARNING", "rnnlab"):
        model.predict(cut(40))
        assert not caplog.text
        model.predict(cut(10))
    assert "shorter than the" in caplog.text


def test_sequences_far_from_the_lengths_of_training_are_said(
    runs: Runs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, rng = rnnlab.load(runs("data=classification", "data.length=20")), np.random.default_rng(0)

    def notes(*lengths: int, model: TrainedRun = model, **options: Any) -> list[str]:
        caplog.clear()
        with caplog.at_level("WARNING", "rnnlab"):
            model.predict([rng.normal(size=(length, len(model.reader.features))) for length in lengths], **options)
        return caplog.messages

    assert notes(10, 20, 40) == []
    assert notes(9, 20, 3, 41) == [
        "2 of 4 sequences (2: 3 steps) are far shorter than any that the run was trained on, the shortest of which has "
        "20 steps: its scores say nothing of such",
        "1 of 4 sequences (3: 41 steps) is far longer than any that the run was trained on, the longest of which has "
        "20 steps: its scores say nothing of such",
    ]
    assert "far longer" in "".join(notes(41, steps=True)) and notes(5, steps=True) == []

    def of_files(steps: dict[str, int]) -> list[str]:
        for name, number in steps.items():
            pl.DataFrame({each: [0.0] * number for each in model.reader.features}).write_csv(tmp_path / f"{name}.csv")
        caplog.clear()
        model.predict(tmp_path)
        return [message.partition(" far ")[0] for message in caplog.messages]

    assert of_files({"a": 3}) == ["the sequence in a.csv (3 steps) is"]
    assert of_files({"b": 20}) == ["1 of 2 sequences (0 of a.csv: 3 steps) is"]
    # one note of all files, which names the first
    assert of_files(dict.fromkeys("bcdefg", 4)) == [
        "7 of 7 sequences (0 of a.csv: 3 steps; in 7 files: a.csv, b.csv, c.csv, d.csv, e.csv and 2 more) are"
    ]
    # waves are forecast at each step, of which the first have seen little in training, too
    waves = rnnlab.load(runs("data=sine", "data.length=20"))
    assert notes(3, model=waves) == [] and "far longer" in "".join(notes(50, model=waves))


def test_a_run_that_knows_only_its_longest_sequence_says_what_is_longer(
    copied: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = read_checkpoint(copied / "checkpoints/best.ckpt")
    del checkpoint["data"]["lengths"]
    write_checkpoint(checkpoint, copied / "checkpoints/best.ckpt")
    model = rnnlab.load(copied)
    length, size = model.spec.length, len(model.reader.features)
    model.predict([np.zeros((1, size)), np.zeros((2 * length, size))])
    assert not caplog.messages
    model.predict([np.zeros((1, size)), np.zeros((2 * length + 1, size))])
    assert "far longer" in caplog.text


def test_forecasts_of_the_test_say_of_which_series_and_time_they_are(runs: Runs) -> None:
    said, _ = test_table(runs("data=csv", "data.length=14", "data.horizon=2"))
    truth = make_up().select("shop", "date", pl.col("sales").alias("truth"))
    beside = said.join(truth, on=["shop", "date"], how="left")
    assert len(beside) == len(said) and set(said["ahead"]) == {1, 2}
    np.testing.assert_allclose(beside["sales"], beside["truth"])


# ---- streams and steps ------------------------------------------------------------------------------


def stream(model: TrainedRun, lines: list[str]) -> pl.DataFrame:
    return pl.DataFrame(list(model.stream(iter(lines))))


@pytest.mark.parametrize(
    "overrides",
    [
        ("model=lstm", "model.num_layers=2", "data=classification"),
        ("model=gru", "model.readout=mean", "data=classification"),
        ("model=rnn", "model.readout=max", "data=classification"),
        ("model=lru", "model.embedding_size=4", "data=adding"),
        ("model=gru", "data=tokens", "model.initial_state=learned"),
        ("model=qrnn", "data=sine"),
        ("model=lstm", "data=reverse_string", "model.cell.backend=reference"),
    ],
)
def test_a_stream_says_what_the_batch_says(overrides: tuple[str, ...], runs: Runs) -> None:
    model = rnnlab.load(runs(*overrides))
    rng = np.random.default_rng(0)
    tokens = model.spec.input.vocabulary
    size = (13,) if tokens else (13, model.spec.input.features)
    some = [rng.integers(tokens, size=size) if tokens else rng.normal(size=size).round(3) for _ in range(2)]
    batch = model.predict(some, steps=True)
    lines = [
        line for x in some for line in [*(json.dumps(step.tolist() if not tokens else [int(step)]) for step in x), ""]
    ]
    alike(stream(model, lines), batch.drop("sequence"), [c for c in batch.columns if c != "sequence"])
    state, rows = None, []
    for step in some[1]:
        row, state = model.step(step, state)
        rows.append(row)
    alike(pl.DataFrame(rows), batch.filter(pl.col("sequence") == 1), list(rows[0]))
    if not model.spec.target.per_step:  # the last step is the whole
        last = batch.group_by("sequence", maintain_order=True).last().drop("step")
        alike(model.predict(some), last, last.columns)


def test_a_stream_of_csv_starts_afresh_with_each_sequence(runs: Runs) -> None:
    model = rnnlab.load(runs("data=classification"))
    x = np.random.default_rng(1).normal(size=(3, 5, 1)).round(3)
    rows = [f"{'abc'[k]},{value}" for k, sequence in enumerate(x) for value in sequence[:, 0]]
    found = stream(model, ["sequence,f0", *rows])
    batch = model.predict(x, steps=True)
    alike(found, batch, [name for name in batch.columns if name != "sequence"])
    assert found["sequence"].to_list() == [name for name in "abc" for _ in range(5)]
    bare = stream(model, [str(value) for value in x[0, :, 0]])  # numbers alone need no header
    alike(bare, batch[:5], bare.columns)


def test_a_stream_cannot_know_what_is_known_in_advance(runs: Runs) -> None:
    model = rnnlab.load(runs("data=csv"))
    with pytest.raises(InputError, match="promotion"):
        stream(model, ["date,shop,sales,promotion,temperature"])


def test_a_stream_of_series_is_each_step_of_the_batch(tmp_path: Path, runs: Runs) -> None:
    table = make_up(60).select("date", "shop", "sales", "temperature")
    table.write_csv(tmp_path / "sales.csv")
    path = runs(
        "data=csv", f"data.path={tmp_path / 'sales.csv'}", "data.target=sales", "data.time=date", "data.series=shop",
        "data.past=[temperature]", "data.length=8", "data.horizon=2", "data.calendar=[weekday]",
        "data.residual_of=seasonal_naive", "task.distribution=gaussian", "data.num_samples=null",
    )  # fmt: skip
    (tmp_path / "sales.csv").unlink()  # the run directory is all that is needed
    model = rnnlab.load(path)
    some = table.filter(pl.col("date") < pl.date(2023, 2, 10))
    batch = model.predict(some, steps=True)
    found = stream(model, some.sort("date", maintain_order=True).write_csv().splitlines())
    found = found.sort("shop", "date").with_columns(pl.col("date").str.to_date())
    batch = batch.sort("shop", "date")
    alike(found, batch, [name for name in batch.columns if name != "step"])
    assert {"sales +1 predicted", "sales +2 low80", "shop", "date"} < set(batch.columns)


def test_running_text_has_the_likelihood_that_its_stream_adds_up_to(runs: Runs, tmp_path: Path) -> None:
    model = rnnlab.load(runs("data=text", "model=lstm"))
    text = "The first line.\nAnd another one,\n\nwith a gap.\n"
    (tmp_path / "new.txt").write_text(text)
    whole, each = model.predict(tmp_path / "new.txt"), model.predict(text, steps=True)
    lines = stream(model, text.splitlines(keepends=True))
    total = whole["log_probability"].item()
    assert lines["log_probability"].sum() == pytest.approx(total, rel=1e-5)
    assert each["p(token)"].drop_nulls().log().sum() == pytest.approx(total, rel=1e-5)
    assert "".join(each["token"]) == text
    assert lines["prediction"][-1] == whole["prediction"][0] == each["prediction"][-1]
    alike(lines[-1:], each[-1:], ["p(prediction)"])
    # texts side by side, of different length
    both = model.predict([text, "One."])
    assert both["log_probability"][0] == pytest.approx(total, rel=1e-5)
    assert both["characters"].to_list() == [len(text), 4]


def test_a_text_longer_than_a_chunk_is_read_in_one_state(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    model = rnnlab.load(runs("data=text", "model=lstm"))
    text = "of the text that is read here " * 4
    expected = model.predict([text, "short"])
    monkeypatch.setattr("rnnlab.use.sequences.CHUNK", 7)
    alike(model.predict([text, "short"]), expected, expected.columns)


def test_a_stream_needs_one_direction(runs: Runs, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = runs("data=classification", "model.bidirectional=true")
    (tmp_path / "x.jsonl").write_text("[[0.1], [0.2]]\n")
    for how in ("--stream", "--steps"):
        assert said(path, how, "--input", tmp_path / "x.jsonl") == 2
        error = capsys.readouterr().err
        assert "bidirectional" in error
        assert error.count("\n") == 1
    assert said(path, "--input", tmp_path / "x.jsonl") == 0


# ---- forms of the same data ----------------------------------------------------------------------------


@pytest.mark.needs("datasets")
def test_a_table_of_pandas_is_read_as_one_of_polars(runs: Runs) -> None:
    import pandas  # which aeon and statsmodels bring

    table = pl.DataFrame({"sequence": [0, 0, 1], "f0": [0.5, 1.0, -2.0]})
    model = rnnlab.load(str(runs("data=classification")))
    expected = model.predict(table)
    alike(model.predict(pandas.DataFrame(table.to_dict(as_series=False))), expected, expected.columns)


def test_every_form_of_the_same_data_says_the_same(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = runs("data=classification")
    rng = np.random.default_rng(3)
    some = [rng.normal(size=(length, 1)).round(3) for length in (9, 4, 30, 4, 17)]
    table = pl.DataFrame(
        {"sequence": [k for k, x in enumerate(some) for _ in x], "f0": np.concatenate(some)[:, 0].tolist()}
    )
    table.write_csv(tmp_path / "x.csv")
    table.write_csv(tmp_path / "x.tsv", separator="\t")
    table.write_parquet(tmp_path / "x.parquet")
    (tmp_path / "x.jsonl").write_text("\n".join(json.dumps(x.tolist()) for x in some))
    model = rnnlab.load(str(path))
    expected = model.predict(some)
    assert expected["sequence"].to_list() == list(range(5))
    for end in ("csv", "tsv", "parquet", "jsonl"):
        found = model.predict(tmp_path / f"x.{end}")
        alike(found.drop("sequence"), expected.drop("sequence"), expected.columns[1:])
    alike(model.predict(table), expected, expected.columns)
    alike(model.predict(some, batch_size=2), expected, expected.columns)
    alone = [model.predict(x) for x in some]
    alike(pl.concat(alone).drop("sequence"), expected.drop("sequence"), expected.columns[1:])
    for text in ((tmp_path / "x.csv").read_text(), (tmp_path / "x.jsonl").read_text()):
        assert said(path, "--input", "-", text=text, monkeypatch=monkeypatch) == 0
        found = pl.read_csv(capsys.readouterr().out.encode())
        alike(found.drop("sequence"), expected.drop("sequence"), expected.columns[1:])


def test_the_truth_stands_beside_the_prediction_where_it_is_known(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = runs("data=classification")
    file = tmp_path / "x.jsonl"
    file.write_text('{"inputs": [[0.1]], "class": "sine→square", "sequence": "mine"}\n')
    found = rnnlab.load(path).predict(file)
    assert found.select("sequence", "truth").row(0) == ("mine", "sine→square")
    file.write_text('{"inputs": [[0.1]], "class": "sine→sqare"}\n')
    assert said(path, "--input", file) == 2
    assert "line 1: class 'sine→sqare' is none of this run's; did you mean 'sine→square'?" in capsys.readouterr().err


def test_several_runs_predict_new_data_together(runs: Runs) -> None:
    one, other = (runs("data=adding", f"seed={seed}", "data.seed=0") for seed in (1, 2))
    x = np.random.default_rng(0).random((3, 20, 2))
    alone = [rnnlab.load(each).predict(x)["sum predicted"] for each in (one, other)]
    model = rnnlab.load([one, other])
    assert model.predict(x)["sum predicted"].to_list() == pytest.approx(((alone[0] + alone[1]) / 2).to_list(), rel=1e-5)
    steps = model.predict(x, steps=True)
    lines = [line for each in x for line in [*map(json.dumps, each.tolist()), ""]]
    alike(stream(model, lines), steps, ["step", "sum predicted"])


# ---- the program -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_stream_answers_before_the_next_line_comes(runs: Runs) -> None:
    path = runs("data=classification")
    command = [sys.executable, "-m", "rnnlab", "predict", str(path), "--stream"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        process.stdin.write("f0\n0.5\n")
        process.stdin.flush()
        assert process.stdout.readline().startswith("step,prediction,")
        assert process.stdout.readline().startswith("0,")
        process.stdin.write('0.25\n"no\n')
        process.stdin.flush()
        assert process.stdout.readline().startswith("1,")
        assert process.wait(20) == 2
        assert process.stderr.read().startswith("rnnlab: standard input, line 4: ")


@pytest.mark.slow
def test_a_reader_that_leaves_is_no_error(runs: Runs, tmp_path: Path) -> None:
    path = runs("data=sine")
    (tmp_path / "x.csv").write_text("wave\n" + "0.1\n" * 20_000)
    python = f"{sys.executable} -m rnnlab predict {path} --input {tmp_path / 'x.csv'} --steps"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(f"{python} | head -n 2", shell=True, capture_output=True, text=True, env=environment)
    assert done.stdout.count("\n") == 2
    # what there is to note of the input is no error
    assert all(line.startswith("the sequence (20,000 steps) is far longer") for line in done.stderr.splitlines())


@pytest.mark.slow
def test_loading_knows_no_hydra_and_disturbs_nobody(runs: Runs) -> None:
    path = runs("data=sine")
    code = (
        "import sys, rnnlab\n"
        "assert 'torch' not in sys.modules\n"
        "from rnnlab import load\n"
        f"model = load({str(path)!r})\n"
        "print(model.predict([0.1, 0.2, 0.3]))\n"
        "assert not {'hydra', 'omegaconf'} & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "wave predicted" in done.stdout
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    rnnlab.load(path)
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("data", ["sine", "classification", "parity", "text", "text_classification", "csv"])
def test_a_run_says_what_it_reads(data: str, runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(runs(f"data={data}"), "--describe") == 0
    described = capsys.readouterr().out
    assert described.startswith("reads ")
    assert "\nsays  " in described


# ---- what cannot work ----------------------------------------------------------------------------------


BAD = [
    ("data=sine", "x.csv", "time,value\n0,1\n", ["no column 'wave'", "time, value"]),
    ("data=sine", "x.csv", "wave\n0.1\nten\n", ["row 2, column 'wave': 'ten' is no number"]),
    ("data=sine", "x.csv", "wave\n0.1\n\n0.2,0.3\n", ["2 cells, and the header has 1"]),
    ("data=sine", "x.csv", "wave\n0.1\ninf\n", ["row 2", "no finite number"]),
    ("data=sine", "x.csv", 'wave\n0.1\n""\n0.3\n', ["no finite number"]),
    ("data=sine", "x.csv", "", ["x.csv is empty"]),
    ("data=sine", "x.csv", "wave\n", ["a header and no rows"]),
    ("data=sine", "x.jsonl", "[[0.1], [0.2, 0.3]]\n", ["line 1", "1 number (wave)"]),
    ("data=sine", "x.jsonl", "[[0.1, 0.2]]\n", ["line 1", "2 a step", "1 number (wave)"]),
    ("data=sine", "x.jsonl", "[[0.1]\n", ["line 1 is no JSON"]),
    ("data=sine", "x.jsonl", '{"input": [[0.1]]}\n', ["no key 'inputs'"]),
    ("data=sine", "x.txt", "hello\n", ["does not read text", "csv"]),
    ("data=sine", "x.parquet", "PAR1 not really", ["cannot be read as Parquet"]),
    ("data=parity", "x.txt", "0 1 2\n", ["step 2: 2 is no token", "from 0 to 1"]),
    ("data=parity", "x.txt", "0 1\na b\n", ["line 2: 'a' is no token"]),
    ("data=text_classification", "x.csv", "word,label\na,b\n", ["no column 'text'", "word, label"]),
    ("data=text_classification", "x.csv", "text,label\nabc,nobody\n", ["row 1: class 'nobody' is none"]),
    ("data=text_classification", "x.jsonl", '{"text": 3}\n', ["line 1: a text is a string"]),
    ("data=csv", "x.csv", "date,shop,sales\n2024-01-01,north,1\n", ["no column 'temperature'"]),
    ("data=csv", "x.csv", "date,shop,sales,temperature,promotion\n2024-01-01,east,1,1,0\n", ["series 'east' is none"]),
    (
        "data=csv",
        "x.csv",
        "date,shop,sales,temperature,promotion\n2024-01-01,north,1,1,0\n2024-01-02,north,1,1,0\n",
        ["'promotion' must be known 1 step ahead, and has no value at step 1 after the last one of"],
    ),
    (
        "data=csv",
        "x.csv",
        "date,shop,sales,temperature,promotion\n2024-01-02,north,1,1,0\n2024-01-01,north,1,1,0\n",
        ["2024-01-01 comes after 2024-01-02"],
    ),
    (
        "data=csv",
        "x.csv",
        "date,shop,sales,temperature,promotion\n3,north,1,1,0\n4,north,1,1,0\n",
        ["column 'date'", "these are numbers, and the run was trained on dates"],
    ),
]


@pytest.mark.parametrize(("data", "name", "content", "parts"), BAD)
def test_bad_input_is_one_line_and_nothing_is_written(
    data: str, name: str, content: str, parts: list[str], runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(content)
    assert said(runs(data), "--input", tmp_path / name, "--output", tmp_path / "out.csv") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for part in parts:
        assert part in error
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--input", "nowhere.csv"], "there is no such file"),
        (["--input", "x.csv", "--horizon", "0"], "--horizon 0"),
        (["--input", "x.csv", "--batch-size", "0"], "--batch-size 0"),
        (["--input", "x.csv", "--horizon", "3", "--steps"], "--horizon and --steps"),
        (["--input", "x.csv", "data.noise=3"], "data.noise=3"),
        (["--horizon", "3"], "give --input"),
        (["--stream", "--steps"], "--steps and --stream"),
        (["--input", "x.csv", "--device", "cuda:99"], "cuda:99"),
        (["--input", "x.csv", "--output", "there.csv"], "exists"),
    ],
)
def test_bad_options_are_one_line(
    options: list[str],
    part: str,
    runs: Runs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.csv").write_text("wave\n0.1\n0.2\n")
    Path("there.csv").write_text("mine")
    assert said(runs("data=sine"), *options) == 2
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1
    assert Path("there.csv").read_text() == "mine"


def test_a_direct_forecast_goes_no_further_than_it_was_trained(runs: Runs) -> None:
    history = make_up(30)
    model = rnnlab.load(runs("data=csv", "data.length=14", "data.horizon=3"))
    with pytest.raises(InputError, match="strategy=recursive"):
        model.predict(history, horizon=4)
    model = rnnlab.load(runs("data=classification"))
    with pytest.raises(InputError, match="forecasts nothing"):
        model.predict([[0.1]], horizon=4)


# ---- runs that are not to be trusted -------------------------------------------------------------------


class Payload:
    """What a pickle runs when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.fixture
def copied(runs: Runs, tmp_path: Path) -> Path:
    """A run that a test may damage."""
    source = runs("data=sine")
    target = tmp_path / "run"
    (target / "checkpoints").mkdir(parents=True)
    for name in ("config.yaml", "status.json", "checkpoints/best.ckpt"):
        (target / name).write_bytes((source / name).read_bytes())
    (tmp_path / "x.csv").write_text("wave\n0.1\n0.2\n")
    return target


@pytest.mark.parametrize("form", ["archive", "legacy", "plain"])
def test_a_checkpoint_that_carries_code_runs_none(
    form: str, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = copied / "checkpoints" / "best.ckpt"
    good = read_checkpoint(file)
    evil = {**good, "data": Payload(tmp_path / "owned")}
    if form == "plain":
        file.write_bytes(pickle.dumps(evil["data"]))
    else:
        torch.save(evil, file, _use_new_zipfile_serialization=form == "archive")
    assert said(copied, "--input", tmp_path / "x.csv") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "best.ckpt" in error
    assert not (tmp_path / "owned").exists()
    pickle.loads(pickle.dumps(evil["data"]))  # it would have
    assert (tmp_path / "owned").exists()


@pytest.mark.parametrize("key", ["model", "model.cell", "task", "data"])
def test_a_config_that_names_code_runs_none(
    key: str, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = yaml.safe_load((copied / "config.yaml").read_text())
    node = config
    *parents, last = key.split(".")
    for parent in parents:
        node = node[parent]
    node[last] = {"_target_": "os.mkdir", "path": str(tmp_path / "owned")}
    (copied / "config.yaml").write_text(yaml.safe_dump(config))
    status = said(copied, "--input", tmp_path / "x.csv")
    error = capsys.readouterr().err
    assert not (tmp_path / "owned").exists()
    if key == "data":  # is not even looked at: the checkpoint says how new data is read
        assert status == 0
    else:
        assert status == 2
        assert "os.mkdir is not what a run directory may build" in error
        assert error.count("\n") == 1


def test_a_config_with_a_python_object_is_not_read(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied / "config.yaml").write_text(f"model: !!python/object/apply:os.mkdir ['{tmp_path / 'owned'}']\n")
    assert said(copied, "--input", tmp_path / "x.csv") == 2
    assert "config.yaml is damaged" in capsys.readouterr().err
    assert not (tmp_path / "owned").exists()


def test_flipped_bytes_are_noticed_or_change_nothing(copied: Path) -> None:
    """Wherever a byte of the checkpoint is flipped: one clear error, or the very same content."""
    file = copied / "checkpoints" / "best.ckpt"
    content, good = file.read_bytes(), read_checkpoint(file)
    refused = 0
    for place in np.random.default_rng(0).integers(len(content), size=150):
        broken = bytearray(content)
        broken[place] ^= 0xFF
        file.write_bytes(bytes(broken))
        try:
            found = read_checkpoint(file)
        except InputError:
            refused += 1
        else:  # a byte of padding, or of a date that nobody reads
            assert _same(found, good), place
    assert refused > 50
    # weights in particular
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        info = max((each for each in archive.infolist() if "/data/" in each.filename), key=lambda each: each.file_size)
    broken = bytearray(content)
    start = (
        info.header_offset + 30 + int.from_bytes(content[info.header_offset + 26 : info.header_offset + 28], "little")
    )
    start += int.from_bytes(content[info.header_offset + 28 : info.header_offset + 30], "little")
    broken[start + info.file_size // 2] ^= 1
    file.write_bytes(bytes(broken))
    with pytest.raises(InputError, match="is damaged"):
        read_checkpoint(file)


def test_each_flipped_byte_of_a_checkpoints_table_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    file, good = tmp_path / "run.ckpt", {"state_dict": {"weight": torch.ones(3), "bias": torch.zeros(1)}}
    torch.save(good, file)
    content = file.read_bytes()
    with zipfile.ZipFile(file) as archive:
        table = archive.start_dir
    for place in range(table, len(content)):
        file.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        with suppress(InputError):
            assert _same(read_checkpoint(file), good), place


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other


def test_a_run_without_weights_is_one_line(copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RunDirectory(copied).update_status("interrupted")
    assert said(copied, "--input", tmp_path / "x.csv") == 0
    assert "is interrupted: its best weights so far predict" in capsys.readouterr().err
    (copied / "checkpoints" / "best.ckpt").unlink()
    assert said(copied, "--input", tmp_path / "x.csv") == 2
    error = capsys.readouterr().err
    assert "has no checkpoint yet (it is interrupted)" in error
    assert error.count("\n") == 1


def test_a_run_of_before_still_reads(copied: Path, tmp_path: Path) -> None:
    """A checkpoint that does not say how data is read: the config builds it."""
    file = copied / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(file, weights_only=True)
    expected = rnnlab.load(copied).predict(tmp_path / "x.csv")
    del checkpoint["data"]
    torch.save(checkpoint, file)
    alike(rnnlab.load(copied).predict(tmp_path / "x.csv"), expected, expected.columns)
