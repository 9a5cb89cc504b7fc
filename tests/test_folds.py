"""Cross-validation: each sequence is tested once, and predicted by a run that has not seen it."""

from pathlib import Path

import polars as pl
import pytest
from conftest import TINY

from rnnlab.commands import predict as predict_command
from rnnlab.commands import train as train_command
from rnnlab.data.digits import Digits
from rnnlab.data.table import make_up


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
    make_up(12).write_csv("stays.csv")
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
    assert predict_command.main(["sweep", "--out-of-fold", "--input", "stays.csv"]) == 2
    assert "leave --input" in capsys.readouterr().err
