"""Cross-validation: each sequence is tested once, and predicted by a run that has not seen it."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from conftest import TINY

from rnnlab.commands import evaluate as evaluate_command
from rnnlab.commands import predict as predict_command
from rnnlab.commands import train as train_command
from rnnlab.data.digits import Digits
from rnnlab.data.hospital import hospital_stays
from rnnlab.data.piano_roll import PianoRoll
from rnnlab.data.text_classification import TextClassification
from rnnlab.errors import InputError


@pytest.mark.needs("datasets")
def test_each_digit_is_tested_once() -> None:
    tested = [Digits(folds=4, fold=fold) for fold in range(4)]
    assert sorted(place for data in tested for place in data.numbers_in_whole("test").tolist()) == list(range(1797))
    for data in tested:
        counts = [data.split("test").targets.tolist().count(digit) for digit in range(10)]
        assert max(counts) - min(counts) <= 4


def test_out_of_fold_predictions_are_of_all_sequences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hospital_stays(12).write_csv("stays.csv")
    options = [word for word in TINY if "num_samples" not in word]
    assert train_command.main([
        "-m", "data=table", "data.path=stays.csv", "data.target=outcome", "data.sequence=stay", "data.group=patient",
        "data.features=[pulse,temperature]", "data.folds=2", "data.fold=0,1", "model.hidden_size=4", "instruments=none",
        "hydra.sweep.dir=sweep", *options,
    ]) == 0, capsys.readouterr().err  # fmt: skip
    assert predict_command.main(["sweep", "--out-of-fold", "--output", "oof.csv"]) == 0, capsys.readouterr().err
    table, file = pl.read_csv("oof.csv"), pl.read_csv("stays.csv")
    truth = file.unique("stay", maintain_order=True)
    assert sorted(table["sequence"]) == list(range(truth.height))
    assert set(table["fold"]) == {0, 1}
    assert truth["outcome"].gather(table["sequence"]).to_list() == table["truth"].to_list()
    patients = truth["patient"].gather(table["sequence"])
    by_fold = [set(patients.filter(table["fold"] == fold)) for fold in (0, 1)]
    assert not by_fold[0] & by_fold[1]
    capsys.readouterr()
    assert evaluate_command.main(["sweep"]) == 0
    said = capsys.readouterr().out
    assert "Test of 2 folds of sweep, each by a run that has not seen it" in " ".join(said.split())
    kept = json.loads(next(Path("sweep/evaluations").iterdir()).read_text())["folds"]
    runs = {yaml.safe_load((path / "config.yaml").read_text())["data"]["fold"]: path for path in Path("sweep").iterdir()
            if (path / "metrics.json").exists()}  # fmt: skip
    for fold, scores in kept.items():
        metrics = json.loads((runs[int(fold)] / "metrics.json").read_text())
        assert scores["test/accuracy"] == pytest.approx(metrics["test/accuracy"])
    assert predict_command.main(["sweep", "--out-of-fold", "--input", "stays.csv"]) == 2
    assert "--input and --out-of-fold" in capsys.readouterr().err


def test_each_text_is_tested_once_and_is_in_one_fold_with_all_its_classes(tmp_path: Path) -> None:
    for name, word in (("one", "aab"), ("two", "bba")):
        (tmp_path / f"{name}.txt").write_text("\n".join(["both", *(f"{word}{n:02}" for n in range(19))]))
    folds = [TextClassification(path=str(tmp_path), folds=4, fold=fold) for fold in range(4)]
    tested = [data.numbers_in_whole("test") for data in folds]
    assert sorted(np.concatenate(tested).tolist()) == list(range(40))
    for data in folds:
        test = data._parts["test"]
        assert abs(int(test.labels.sum()) * 2 - len(test.texts)) <= 2
        assert not set(test.texts) & {*data._parts["train"].texts, *data._parts["val"].texts}
    for wrong, line in (
        ({"folds": 4, "fold": 4}, "data.folds=4 and data.fold=4: at least 2 folds, counted from 0"),
        ({"folds": 4, "num_samples": 30}, "leave data.num_samples=30 out"),
    ):
        with pytest.raises(InputError, match=line):
            TextClassification(path=str(tmp_path), **wrong)
    with pytest.raises(InputError, match="drawn by rule"):
        TextClassification(folds=2)


def test_each_piece_of_music_is_tested_once(tmp_path: Path) -> None:
    rows = [f"p{piece},{step},{60 + piece}" for piece in range(9) for step in range(5)]
    (tmp_path / "music.csv").write_text("\n".join(["sequence,step,note", *rows]))
    folds = [PianoRoll(path=str(tmp_path / "music.csv"), folds=3, fold=fold) for fold in range(3)]
    places = [data.numbers_in_whole("test") for data in folds]
    assert sorted(np.concatenate([each for each in places if each is not None]).tolist()) == list(range(9))
    assert [data.size("test") for data in folds] == [3, 3, 3]
    (tmp_path / "parts.csv").write_text("\n".join(
        ["sequence,step,note,split", *(f"{row},{('train', 'val', 'test')[int(row[1]) % 3]}" for row in rows)]
    ))  # fmt: skip
    with pytest.raises(InputError, match="has its own train, validation and test parts"):
        PianoRoll(path=str(tmp_path / "parts.csv"), folds=3)
    with pytest.raises(InputError, match="this music is made"):
        PianoRoll(folds=3)
