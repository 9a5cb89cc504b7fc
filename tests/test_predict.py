"""Predictions of trained runs as tables."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from rnnlab.commands import predict as predict_command
from rnnlab.runs.execution import Outcome

Train = Callable[..., Outcome]


def table(outcome: Outcome, tmp_path: Path, *arguments: str) -> pl.DataFrame:
    path = tmp_path / "predictions.parquet"
    assert predict_command.main([str(outcome.directory.path), "--output", str(path), "--force", *arguments]) == 0
    return pl.read_parquet(path)


def test_classes_have_their_names_and_the_accuracy_of_the_test(train: Train, tmp_path: Path) -> None:
    outcome = train("data=classification", "instruments=none")
    rows = table(outcome, tmp_path)
    assert rows["sequence"].to_list() == list(range(4))
    right = (rows["truth"] == rows["prediction"]).mean()
    assert right == pytest.approx(outcome.metrics["test/accuracy"])
    shares = rows.select(pl.col(r"^p\(.*\)$"))
    assert "p(sine→square)" in shares.columns
    assert shares.sum_horizontal().to_list() == pytest.approx([1.0] * 4, abs=1e-5)


@pytest.mark.parametrize("data", ["sine", "adding", "csv", "airline"])
def test_values_are_in_units_and_have_the_error_of_the_test(data: str, train: Train, tmp_path: Path) -> None:
    outcome = train(f"data={data}", "instruments=none")
    rows = table(outcome, tmp_path)
    (name,) = [column.removesuffix(" predicted") for column in rows.columns if column.endswith(" predicted")]
    error = (rows[name] - rows[f"{name} predicted"]).cast(pl.Float64)
    assert (error**2).mean() == pytest.approx(outcome.metrics["test/mse"], rel=1e-4)


def test_intervals_stand_beside_the_forecast(train: Train, tmp_path: Path) -> None:
    outcome = train("data=csv", "task.distribution=quantiles", "instruments=none")
    rows = table(outcome, tmp_path)
    low, high = (next(c for c in rows.columns if end in c) for end in (" low80", " high80"))
    name = low.removesuffix(" low80")
    inside = rows[name].is_between(rows[low], rows[high]).mean()
    assert inside == pytest.approx(outcome.metrics["test/coverage@80"], abs=1e-3)


def test_tokens_are_those_of_the_text_in_its_order(train: Train, tmp_path: Path) -> None:
    outcome = train("data=text", "instruments=none", "model.hidden_size=8")
    rows = table(outcome, tmp_path)
    loss = -rows["p(truth)"].cast(pl.Float64).log().mean()
    assert loss == pytest.approx(outcome.metrics["test/loss"], rel=1e-4)


def test_several_runs_predict_together(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [train("data=adding", f"seed={seed}", "instruments=none") for seed in (0, 1)]
    alone = [table(run, tmp_path)["sum predicted"] for run in runs]
    path = tmp_path / "together.csv"
    places = [str(run.directory.path) for run in runs]
    assert predict_command.main([*places, "--output", str(path)]) == 0
    together = pl.read_csv(path)["sum predicted"]
    assert together.to_list() == pytest.approx(((alone[0] + alone[1]) / 2).to_list(), abs=1e-5)
    capsys.readouterr()
    assert predict_command.main([places[0]]) == 0
    assert capsys.readouterr().out.startswith("sequence,sum,sum predicted\n0,")


@pytest.mark.parametrize(
    ("output", "said"), [("there.csv", "exists"), ("a.cvs", "did you mean '.csv'?"), ("no/where/a.csv", "no directory")]
)
def test_bad_output_is_one_line(
    output: str, said: str, train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = train("instruments=none")
    (tmp_path / "there.csv").write_text("mine")
    assert predict_command.main([str(outcome.directory.path), "--output", str(tmp_path / output)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert (tmp_path / "there.csv").read_text() == "mine"
