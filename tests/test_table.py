"""Labelled sequences in tables of one's own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from conftest import TINY, compose

import rnnlab
from rnnlab.data.hospital import hospital_stays
from rnnlab.data.readers import reader_from_plain
from rnnlab.data.split import SPLITS
from rnnlab.data.splitting import cut
from rnnlab.data.table import Table
from rnnlab.data.table_columns import hashed
from rnnlab.data.table_roles import unfitted_columns
from rnnlab.errors import InputError
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.evaluation import evaluate
from rnnlab.runs.execution import execute
from rnnlab.tasks.ranking import auroc, average_precision, best_threshold
from rnnlab.use.prediction import predictions

LONG = {"target": "outcome", "sequence": "stay", "time": "hour", "group": "patient",
        "features": ["pulse", "temperature", "ward", "age"]}  # fmt: skip


@pytest.fixture(scope="module")
def stays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stays") / "stays.csv"
    hospital_stays(40).write_csv(path)
    return path


def write(folder: Path, frame: pl.DataFrame | dict[str, Sequence[Any]], name: str = "t.csv") -> str:
    frame = pl.DataFrame(frame, strict=False)
    (frame.write_parquet if name.endswith("parquet") else frame.write_csv)(folder / name)
    return str(folder / name)


def rows_of(data: Table, split: Any) -> list[np.ndarray]:
    return [data.unscaled(np.random.default_rng(0), split, k).inputs for k in range(data.size(split))]


# ---- splits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folds", [None, 4])
@pytest.mark.parametrize("grouped", [False, True])
def test_parts_are_stratified_and_tear_no_group_apart(folds: int | None, grouped: bool) -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 400, p=[0.6, 0.3, 0.1])
    groups = rng.integers(0, 120, 400) if grouped else None
    groups = None if groups is None else np.unique(groups, return_inverse=True)[1]
    tested, sizes = [], set()
    for fold in range(folds or 1):
        parts = cut(400, (0.2, 0.25), (7,), labels, groups, folds, fold)
        there = np.concatenate(parts).tolist()
        assert len(set(there)) == len(there)
        # folds leave out a few, so as to train on as many as each other
        assert len(there) == 400 if folds is None else len(there) >= 390
        sizes.add((len(parts[0]), len(parts[1])))
        tested.append(parts[2])
        for part, share in zip(parts, (0.55, 0.2, 0.25) if folds is None else (0.6, 0.15, 0.25), strict=True):
            assert len(part) == pytest.approx(400 * share, abs=4 if groups is None else 12)
            if groups is None:
                assert (labels[part] == 2).mean() == pytest.approx((labels == 2).mean(), abs=0.03)
        if groups is not None:
            seen = [set(groups[part].tolist()) for part in parts]
            assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
    if folds:
        assert sorted(np.concatenate(tested)) == list(range(400))
        assert grouped or len(sizes) == 1


def test_a_column_may_say_the_split(tmp_path: Path) -> None:
    frame = hospital_stays(40).with_columns(
        pl.col("patient").replace_strict({f"p{k:03}": ("train", "test")[k % 4 == 0] for k in range(40)}).alias("part")
    )
    data = Table(path=write(tmp_path, frame), split_column="part", **LONG)
    stays = frame.unique("stay")
    assert data.size("test") == (stays["part"] == "test").sum()
    assert data.size("train") + data.size("val") == (stays["part"] == "train").sum()


# ---- what is read --------------------------------------------------------------------------------------


def test_rows_become_features(stays: Path) -> None:
    data = Table(path=str(stays), **LONG)
    assert data.spec.target.names == ("home", "ward")
    assert data.reader.features == ("pulse", "temperature", "age", "ward=A", "ward=B", "ward=C")
    frame = pl.read_csv(stays)
    found = {tuple(x[:, 0].tolist()) for split in SPLITS for x in rows_of(data, split)}
    assert found == {
        tuple(np.float32(each["pulse"]).tolist()) for (_, each) in frame.group_by("stay", maintain_order=True)
    }
    train = np.concatenate(
        [data.sample(np.random.default_rng(0), "train", k).inputs for k in range(data.size("train"))]
    )
    np.testing.assert_allclose(train[:, :3].mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(train[:, :3].std(0), 1, atol=1e-4)
    assert set(train[:, 3:].sum(1)) == {1.0}


def test_features_by_default_are_all_that_are_left(tmp_path: Path) -> None:
    frame = hospital_stays(40).drop("days", "fever", "infection", "state")
    data = Table(path=write(tmp_path, frame, "t.parquet"), **{**LONG, "features": None})
    assert set(data.reader.features) == {"pulse", "temperature", "age", "ward=A", "ward=B", "ward=C"}


@pytest.mark.parametrize("missing", ["forward", "mask"])
def test_missing_numbers_are_carried_on_and_told(tmp_path: Path, missing: Any) -> None:
    path = write(tmp_path, {
        "s": [k // 3 for k in range(60)], "y": [("b", "a")[k // 3 % 2] for k in range(60)],
        "x": [None, 5.0, None] * 20, "z": [1.0, 2.0, 3.0] * 20,
    })  # fmt: skip
    data = Table(path=path, target="y", sequence="s", missing=missing, scaling="none")
    got = data.sample(np.random.default_rng(0), "train", 0).inputs
    masks = [[1], [0], [1]] if missing == "mask" else [[], [], []]
    np.testing.assert_array_equal(got, [[0, 1, *masks[0]], [5, 2, *masks[1]], [5, 3, *masks[2]]])
    with pytest.raises(InputError, match=r"row 1, column 'x': a value is missing; data.missing=forward"):
        Table(path=path, target="y", sequence="s")


def test_static_values_may_stand_in_any_row(tmp_path: Path) -> None:
    columns = {"s": [k // 3 for k in range(60)], "y": [("a", "b")[k // 3 % 2] for k in range(60)],
               "x": [float(k) for k in range(60)], "age": [None, 40.0, None] * 20}  # fmt: skip
    data = Table(path=write(tmp_path, columns), target="y", sequence="s", static=["age"], scaling="none")
    assert set(data.sample(np.random.default_rng(0), "train", 0).inputs[:, 1]) == {40.0}
    columns["age"][2] = 41.0
    with pytest.raises(InputError, match=r"row 3: static column 'age' is '41', and '40' in row 2 of the same sequence"):
        Table(path=write(tmp_path, columns), target="y", sequence="s", static=["age"])


def test_texts_are_hashed(tmp_path: Path) -> None:
    notes = [("good sleep", "a cough, and pain")[k % 2] + f" {k}" for k in range(200)]
    columns = {"s": range(200), "y": [("a", "b")[k % 2] for k in range(200)], "x1": [1.0] * 200, "x2": [2.0] * 200,
               "note": notes}  # fmt: skip
    path = write(tmp_path, {name: column for name, column in columns.items() if name != "s"})
    data = Table(path=path, target="y", text=["note"], text_features=8)
    assert len(data.reader.features) == 9
    np.testing.assert_allclose(np.linalg.norm(hashed(notes, 8), axis=1), 1, atol=1e-6)
    with pytest.raises(InputError, match=r"column 'note' has 200 different words .* data.text=\[note\]"):
        Table(path=path, target="y")


def test_the_time_since_the_step_before_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, {
        "s": [k // 3 for k in range(60)], "y": [("a", "b")[k // 3 % 2] for k in range(60)], "x": [1.0, 2.0, 3.0] * 20,
        "t": ["2024-01-01 00:00:00", "2024-01-01 00:00:10", "2024-01-01 00:01:00"] * 20,
    })  # fmt: skip
    for scaling in ("none", "standard", "per_sequence"):
        data = Table(path=path, target="y", sequence="s", time="t", elapsed=True, scaling=scaling)
        got = data.sample(np.random.default_rng(0), "train", 0).inputs[:, 1]
        np.testing.assert_allclose(got, [1, 10 / 30, 50 / 30], rtol=1e-6)  # in medians, and 1 where nobody knows
        assert (data.spec.input.features, data.spec.input.elapsed) == (2, 1)
        assert "1 = 30 seconds" in data.spec.note
    # as a run has it that was trained before there were cells that know times: a number like others
    old = {**data.state_dict()["encoding"], "elapsed_unit": None}
    data = Table(path=path, target="y", sequence="s", time="t", elapsed=True, scaling="none", encoding=old)
    np.testing.assert_array_equal(data.sample(np.random.default_rng(0), "train", 0).inputs[:, 1], [0, 10, 50])
    assert data.spec.input.elapsed is None


def test_the_time_since_the_step_before_is_handed_to_a_step(tmp_path: Path) -> None:
    path = write(tmp_path, {
        "s": [k // 3 for k in range(60)], "y": [("a", "b")[k // 3 % 2] for k in range(60)], "x": [1.0, 2.0, 3.0] * 20,
        "t": [0, 2, 8] * 20,
    })  # fmt: skip
    reader = Table(path=path, target="y", sequence="s", time="t", elapsed=True, scaling="none").reader
    assert [reader.step({"x": 5.0, "elapsed": time})[1] for time in (None, 2, 8)] == [1, 0.5, 2]
    for wrong in (0, -1, "soon"):
        with pytest.raises(InputError, match="is no time since the step before"):
            reader.step({"x": 5.0, "elapsed": wrong})
    with pytest.raises(InputError, match="give 'elapsed' too"):
        reader.step({"x": 5.0})


def test_a_row_may_be_a_sequence(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {
        "kind": [("walk", "run")[k % 2] for k in range(40)],
        "age": [20.0 + k for k in range(40)],
    }
    columns |= {f"{c}{t}": rng.normal(size=40) for c in "ab" for t in range(1, 13)}
    columns["a12"] = [None if k % 2 else 1.0 for k in range(40)]
    columns["b12"] = [None if k % 2 else 1.0 for k in range(40)]
    path = write(tmp_path, columns)
    for steps in (None, ["a*[0-9]", "b*"]):
        data = Table(path=path, target="kind", steps=steps, static=["age"] if steps else [])
        samples = [data.sample(np.random.default_rng(0), "train", k) for k in range(data.size("train"))]
        assert {(len(sample.inputs), sample.target) for sample in samples} == {(11, 0), (12, 1)}
        assert samples[0].inputs.shape[1] == 3


# ---- runs ----------------------------------------------------------------------------------------------

TASKS = {
    "classification": {"p(home)", "prediction"},
    "regression": {"days predicted"},
    "multilabel": {"p(fever)", "p(infection)", "prediction"},
    "labelling": {"step", "prediction"},
}


@pytest.mark.parametrize("task", TASKS)
def test_a_run_predicts_its_own_test_sequences_from_the_file(task: str, stays: Path, tmp_path: Path) -> None:
    targets = {
        "classification": "outcome",
        "regression": "days",
        "multilabel": "[fever,infection]",
        "labelling": "state",
    }
    config = compose(
        "data=table", f"task={task}", f"data.path={stays}", f"data.target={targets[task]}", "data.sequence=stay",
        "data.time=hour", "data.group=patient", "data.features=[pulse,temperature,ward,age]", "instruments=none",
        "model.hidden_size=4", *(word for word in TINY if "num_samples" not in word),
    )  # fmt: skip
    directory = RunDirectory.claim(tmp_path / "run")
    metrics = execute(directory, config, quiet=True).metrics
    scores = {"classification": "accuracy", "regression": "mse", "multilabel": "auroc", "labelling": "accuracy"}
    assert np.isfinite(metrics[f"test/{scores[task]}"])
    if task == "multilabel":
        assert {"calibration/threshold/fever", "test/average_precision"} <= set(metrics)
    again = evaluate(directory.config, directory)
    assert again["test/loss"] == pytest.approx(metrics["test/loss"], abs=1e-6)
    loaded = rnnlab.load(directory.path)
    table = loaded.predict(stays)
    assert TASKS[task] <= set(table.columns)
    assert "patient" not in loaded.describe()
    from rnnlab.runs.checkpoint import load_weights, read_checkpoint
    from rnnlab.runs.preparation import prepare

    run = prepare(directory.config, trained=read_checkpoint(directory.best_checkpoint))
    load_weights(run.task, directory.best_checkpoint)
    own = pl.concat(list(predictions(run)))
    assert isinstance(run.data, Table)
    order = dict(enumerate(pl.read_csv(stays)["stay"].unique(maintain_order=True)))
    column = next(name for name in own.columns if name.startswith("p(") or name.endswith(" predicted"))
    column = "prediction" if task == "labelling" else column
    for number, member in enumerate(run.data.parts["test"][:3]):
        one = own.filter(pl.col("sequence") == number)[column]
        other = table.filter(pl.col("sequence").cast(pl.String) == str(order[member]))[column]
        if one.dtype == pl.String:
            assert one.to_list() == other.to_list()
        else:
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_reader_is_what_training_was(stays: Path) -> None:
    for more in ({}, {"missing": "mask"}, {"elapsed": True}, {"scaling": "none"}):
        data = Table(path=str(stays), **LONG, **more)  # type: ignore[arg-type]
        reader = reader_from_plain(data.reader.plain())
        frame = pl.read_csv(stays)
        number = int(data.parts["test"][0])
        stay = frame["stay"].unique(maintain_order=True)[number]
        part = frame.filter(pl.col("stay") == stay)
        sample = data.sample(np.random.default_rng(0), "test", 0)
        (taken,) = reader.take(part)
        np.testing.assert_allclose(taken.inputs, sample.inputs, atol=1e-5)
        assert taken.truth == data.spec.target.names[int(sample.target)]
        (read,) = reader.take(part.cast(pl.String))
        np.testing.assert_array_equal(read.inputs, taken.inputs)
        lines = iter(part.write_csv().splitlines())
        streamed = [arrival for arrival in reader.stream(lines, "x") if arrival is not None]
        np.testing.assert_allclose(np.stack([arrival.inputs for arrival in streamed]), sample.inputs, atol=1e-5)
        assert [arrival.restart for arrival in streamed] == [True] + [False] * (len(streamed) - 1)


def test_a_level_that_training_has_not_seen_is_none(stays: Path) -> None:
    reader = Table(path=str(stays), **LONG).reader
    (given,) = reader.take({"pulse": [80.0], "temperature": [37.0], "ward": ["Z"], "age": [50]})
    assert not given.inputs[0, 3:].any()


# ---- bad input -----------------------------------------------------------------------------------------


def small(**changes: Any) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "s": [k // 3 for k in range(60)], "t": [k % 3 for k in range(60)],
        "y": [("a", "b")[k // 3 % 2] for k in range(60)],
        "g": [f"g{k // 6}" for k in range(60)], "x": [float(k) for k in range(60)],
    }  # fmt: skip
    for name, (row, value) in changes.items():
        columns[name] = [value if number == row else cell for number, cell in enumerate(columns[name])]
    return {name: [str(cell) for cell in cells] for name, cells in columns.items()}


@pytest.mark.parametrize("between", [";", "|", ","])
def test_labels_may_be_listed_in_a_column(between: str, tmp_path: Path) -> None:
    cells = ("a", f"b{between} a", "none", f"{between}c", "-")
    columns = small() | {"y": [cells[k // 3 % 5] for k in range(60)]}
    given: dict[str, Any] = {"path": write(tmp_path, columns), "sequence": "s", "time": "t", "objective": "labels"}
    data = Table(target="y", **given)
    assert data.spec.target.names == ("a", "b", "c") and data.spec.target.binary
    order = np.concatenate([data.numbers_in_whole(split) for split in SPLITS])
    targets = torch.cat([data.split(split).targets for split in SPLITS])[np.argsort(order)]
    assert targets[:5].tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert data.state_dict()["classes"] == ["a", "b", "c"]
    with pytest.raises(InputError, match=r"row 4: label 'b' is none of data.classes .*a, c"):
        Table(target="y", classes=["a", "c"], **given).spec  # noqa: B018


BAD = {
    "no column": ({}, {"target": "yy"}, r"data.target=yy: .* has no such column; did you mean 'y'"),
    "no group": ({}, {"group": "gg"}, r"data.group=gg: .* no such column"),
    "two kinds": ({"y": (4, "7")}, {}, r"labels of two kinds: 7 in row 5 and 'a' in row 1"),
    "times": ({"t": (4, "0.5")}, {"features": ["x"]}, r"row 5"),
    "backwards": ({"t": (5, "0")}, {}, r"row 6, sequence '1': t 0 comes after 1 in row 5: .* data.sort=true"),
    "twice": ({"t": (5, "1")}, {}, r"row 6, sequence '1': t 1 is there already in row 5"),
    "two classes": (
        {"y": (4, "c")},
        {},
        r"sequence '1' has two values in column 'y': '[bac]' in row \d and '.' in row \d",
    ),
    "no number": ({"x": (55, "oops")}, {"features": ["x"], "categories": []}, r"column 'x'|row 56"),
    "no target": ({}, {"target": None}, r"data.target is missing"),
    "folds": ({}, {"folds": 3, "fold": 3}, r"data.folds=3 and data.fold=3"),
    "words for numbers": ({}, {"objective": "value"}, r"it holds words \('a' in row 1\), and task=regression"),
    "no labels": ({}, {"objective": "labels", "target": "x", "features": ["g"]}, r"'x'"),
    "one of two is words": ({}, {"objective": "labels", "target": ["x", "y"]}, r"data.target=y: it holds words"),
    "time is a feature": ({}, {"features": ["t"]}, r"column 't' is data.time, and cannot be read as a feature too"),
    "steps": ({}, {"sequence": None, "time": None, "steps": "q*"}, r"data.steps=q\*: no column of numbers"),
    "no steps": ({}, {"sequence": None, "time": None}, r"which rows or columns are the steps"),
    "target twice": ({}, {"target": ["y", "y"]}, r"column 'y' is named twice"),
    "target is a feature": ({}, {"features": ["x", "y"]}, r"would give the answer away"),
    "two targets": ({}, {"target": ["y", "g"]}, r"one column tells a class"),
    "elapsed without times": ({}, {"elapsed": True, "time": None}, r"data.elapsed=true needs .* data.time"),
    "elapsed of a row": ({}, {"elapsed": True, "sequence": None}, r"data.elapsed=true is of a table with a row a step"),
    "no file": ({}, {"path": "nothing.csv"}, r"there is no such file"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name: str, tmp_path: Path) -> None:
    changes, options, message = BAD[name]
    given = {"path": write(tmp_path, small(**changes)), "target": "y", "sequence": "s", "time": "t", **options}
    with pytest.raises(InputError, match=message) as error:
        Table(**given).split("train")
    assert "\n" not in str(error.value)


def test_a_group_in_two_splits_is_refused(tmp_path: Path) -> None:
    columns = small()
    columns["part"] = ["train" if k < 33 else "test" for k in range(60)]
    with pytest.raises(InputError, match=r"data.group=g 'g5' is in two splits: train in row 31, test in row 34"):
        Table(path=write(tmp_path, columns), target="y", sequence="s", group="g", split_column="part", features=["x"])
    columns["part"][4] = "tset"
    with pytest.raises(InputError, match=r"'tset' is no split: did you mean 'test'|has two values"):
        Table(path=write(tmp_path, columns), target="y", sequence="s", split_column="part", features=["x"])


def test_features_by_a_pattern_leave_out_what_has_another_use(tmp_path: Path) -> None:
    columns: dict[str, Sequence[Any]] = {
        "id": range(30),
        "type": ["a", "b"] * 15,
        "tone": [f"t{k // 3}" for k in range(30)],
    }
    columns |= {f"t{step}": np.arange(30.0) + step for step in range(4)}
    path = write(tmp_path, columns)
    columns_read = unfitted_columns(Table(path=path, target="type", features=["t*"], group="tone"))
    assert columns_read.steps == {"t": ["t0", "t1", "t2", "t3"]}
    assert list(columns_read.numbers) == ["t"]
    assert not columns_read.categories
    with pytest.raises(InputError, match=r"data.features=q\*: .* has no such column"):
        Table(path=path, target="type", features=["q*"]).split("train")


def test_sequences_without_a_target_may_be_left_out(tmp_path: Path) -> None:
    columns = small()
    columns["y"] = ["" if k // 3 in (4, 7) else cell for k, cell in enumerate(columns["y"])]
    options: dict[str, Any] = {"path": write(tmp_path, columns), "target": "y", "sequence": "s", "features": ["x"]}
    with pytest.raises(InputError, match=r"row 13: sequence '4' has no y \(2 of 20 have none\): data.unlabelled=drop"):
        Table(**options)
    data = Table(**options, unlabelled="drop")
    assert sum(data.size(split) for split in SPLITS) == 18
    assert "2 sequences without a target left out" in data.spec.note


# ---- scores that go by ranks -----------------------------------------------------------------------------


@pytest.mark.needs("datasets")
def test_scores_of_rankings_are_those_of_scikit_learn() -> None:
    from sklearn import metrics

    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(200, generator=generator).mul(20).round() / 20  # with ties
    there = torch.rand(200, generator=generator) < 0.3 + 0.4 * scores
    assert float(auroc(scores, there)) == pytest.approx(metrics.roc_auc_score(there, scores))
    assert float(average_precision(scores, there)) == pytest.approx(metrics.average_precision_score(there, scores))
    best = best_threshold(scores, there)
    f1 = [metrics.f1_score(there, scores > threshold) for threshold in np.linspace(-0.01, 0.99, 101)]
    assert metrics.f1_score(there, scores > best) == pytest.approx(max(f1))
