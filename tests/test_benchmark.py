"""Experiments over several seeds, beside published numbers."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import CONF, choices

from rnnlab.commands import benchmark as benchmark_command
from rnnlab.commands.benchmark import compose
from rnnlab.errors import InputError
from rnnlab.runs.benchmark import Cell, Result, collect, run_ensembles
from rnnlab.runs.benchmark_file import Benchmark, BenchmarkRun, planned_runs, read_benchmark
from rnnlab.runs.benchmark_table import table
from rnnlab.runs.ensemble import Member, evaluate_together
from rnnlab.runs.execution import Outcome

TINY = (
    "data.num_samples=40", "data.batch_size=8", "trainer.max_epochs=1", "trainer.accelerator=cpu", "instruments=none",
)  # fmt: skip


def result(mode: str = "min", **scores: list[float]) -> Result:
    """A made-up result: validation and test scores of some rows; the test is the opposite of the validation."""
    benchmark = Benchmark.model_validate(
        {
            "experiment": "adding", "score": "test/loss", "mode": mode, "rows": {row: [] for row in scores},
            "baseline": {"guess": "baseline/loss"}, "tuned": "nothing",
            "published": [{"name": "others", "value": 0.5, "source": "a paper"}], "target": {"value": 2.0},
        }
    )  # fmt: skip
    cells = tuple(
        Cell(row, None, tuple({"val/loss": v, "test/loss": 10 - v, "baseline/loss": 7.0, "seconds": 1} for v in values))
        for row, values in scores.items()
    )
    return Result(benchmark, cells, "val/loss", mode)


@pytest.mark.slow
@pytest.mark.parametrize("name", choices("benchmark"))
def test_every_benchmark_composes_and_names_scores_of_its_runs(name: str) -> None:
    benchmark = read_benchmark(CONF / "benchmark" / f"{name}.yaml")
    planned = planned_runs(benchmark, benchmark.rows, 2)
    assert len({job.place for job in planned}) == len(planned)
    configs = compose([list(job.overrides) for job in planned[: len(planned) // 2]])
    assert all(config["seed"] == 0 for config in configs)
    assert all(published.source for published in benchmark.published)
    if benchmark.target is not None and benchmark.along is not None:
        assert benchmark.target.at in (*benchmark.along.values, *["mean"] * benchmark.along.mean)


def test_the_best_is_chosen_by_validation_and_never_by_the_test() -> None:
    scored = result(a=[8.0, 8.2], b=[9.0, 9.4])
    assert scored.best_row(None) == "a"  # although b has the lower test loss
    assert scored.verdict() == "to reach: ≤ 2; a, the best on validation, has 1.9: reached"
    assert result("max", a=[8.0, 8.2], b=[9.0, 9.4]).best_row(None) == "b"


def test_the_table_has_ours_the_trivial_and_the_published() -> None:
    heading, rows = table(result(a=[8.0, 8.2]))
    assert heading[:3] == ["", "test/loss", "n"]
    assert [row[:3] for row in rows] == [["a", "1.9 ± 0.14", "2"], ["guess", "7", ""], ["others", "0.5", ""]]
    assert rows[2][-1] == "a paper"


def test_a_published_number_that_belongs_into_no_column_stands_in_none() -> None:
    benchmark = Benchmark.model_validate(
        {
            "experiment": "copy_memory", "score": "test/accuracy", "mode": "max", "rows": {"a": []}, "tuned": "nothing",
            "along": {"key": "data.length", "values": [10, 30], "label": "T"},
            "published": [{"name": "falls below", "value": 20, "at": 50, "source": "a paper"},
                          {"name": "b", "value": 4, "at": 30, "source": "a paper"}],
        }
    )  # fmt: skip
    cells = tuple(Cell("a", at, ({"test/accuracy": 5.0},)) for at in (10, 30))
    rows = table(Result(benchmark, cells, "val/loss", "min"))[1]
    assert [row[:3] for row in rows] == [["a", "5", "5"], ["falls below at T=50: 20", "", ""], ["b", "", "4"]]


@pytest.mark.slow
def test_a_benchmark_runs_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> int:
        return benchmark_command.main(["adding", "--dir", str(tmp_path), "--rows", "RNN,GRU", "--at", "50", *arguments])

    assert run("--seeds", "1", *TINY, "data.length=12") == 0
    first = capsys.readouterr().out
    assert "from before" not in first
    assert run("--seeds", "2", *TINY, "data.length=12") == 0
    said = capsys.readouterr().out
    assert said.count("from before") == 2
    assert "Bai et al. 2018" in said
    page = (tmp_path / "adding" / "table.md").read_text()
    assert "±" in page and " data.length=12 --seeds 2 --rows RNN,GRU --at 50`" in page
    assert (tmp_path / "adding" / "plot.png").stat().st_size > 10_000
    with open(tmp_path / "adding" / "scores.csv") as file:
        scores = list(csv.DictReader(file))
    assert sorted((row["row"], row["seed"]) for row in scores) == [(m, s) for m in ("GRU", "RNN") for s in ("0", "1")]
    assert "stale" not in said
    # runs of other code are shown, and said to be so: in the table, and in the list
    status = next((tmp_path / "adding").rglob("status.json"))
    kept = json.loads(status.read_text())
    kept["versions"]["torch"] = "1.0"
    status.write_text(json.dumps(kept))
    assert run("--seeds", "2", *TINY, "data.length=12") == 0
    line = "stale: 1 of 4 runs were made otherwise (torch 1.0, now "
    assert line in capsys.readouterr().out.replace("\n", " ")
    assert line in (tmp_path / "adding" / "table.md").read_text()
    assert benchmark_command.main(["--dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("stale: ") == 1
    # what was run otherwise is neither shown as the same nor run over
    assert run("--seeds", "1", *TINY, "data.length=13") == 2
    assert "data.length=12, and now it is 13" in capsys.readouterr().err


def test_a_row_whose_name_has_commas_is_chosen() -> None:
    names = ["GRU", "GRU, forwards", "LSTM, 3 × 64, equal time"]
    assert benchmark_command._chosen("LSTM, 3 × 64, equal time, GRU", names, "--rows") == [names[2], "GRU"]
    assert benchmark_command._chosen("GRU, forwards,GRU", names, "--rows") == [names[1], "GRU"]
    with pytest.raises(InputError, match=r"--rows forward: no such one"):
        benchmark_command._chosen("GRU,forward", names, "--rows")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ading"], "did you mean 'adding'?"),
        (["adding", "--rows", "GRUU"], "did you mean 'GRU'?"),
        (["adding", "--at", "51"], "no such one"),
        (["adding", "--seeds", "0"], "at least 1"),
        (["adding", "--all"], "all benchmarks, or some"),
        (["adding", "model.hiden_size=3"], "did you mean 'model.hidden_size'?"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark_command.main([*arguments, "--dir", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_benchmark_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"experiment": "adding", "score": "test/mse"}))
    with pytest.raises(InputError, match="mode: Field required"):
        read_benchmark(file)


def test_without_a_name_it_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark_command.main([]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in choices("benchmark"))


def test_a_mean_over_named_places_and_the_rank_among_all_that_others_have() -> None:
    benchmark = Benchmark.model_validate(
        {
            "always": ["data=ucr"], "score": "test/accuracy", "mode": "max", "rows": {"a": [], "b": []},
            "along": {"key": "data.name", "values": ["X", "Y"], "label": "data set", "mean": True},
            "percent": True, "tuned": "nothing",
            "tables": [{"source": "a paper", "values": {"M": {"X": 70.0, "Y": 95.0}, "N": {"Y": 10.0}}},
                       {"source": "another", "values": {"N": {"Y": 12.0}}}],
            "target": {"at": "mean", "value": 0.8},
        }
    )  # fmt: skip
    assert planned_runs(benchmark, ["a"], 1)[0].overrides == ("data=ucr", "data.name=X", "seed=0")
    scores = {("a", "X"): 0.9, ("a", "Y"): 0.9, ("b", "X"): 0.5, ("b", "Y"): 1.0}
    cells = tuple(Cell(row, at, ({"test/accuracy": value},)) for (row, at), value in scores.items())
    rivals = (Cell("R", "X", ({"test/accuracy": 0.95},)),)
    scored = Result(benchmark, cells, "val/loss", "min", rivals)
    heading, rows = table(scored)
    assert heading[:4] == ["", "data set=X", "data set=Y", "mean"]
    assert [row[:4] for row in rows] == [
        ["a", "90.0", "90.0", "90.0"], ["b", "50.0", "100.0", "75.0"], ["R", "95.0", "", ""],
        ["M", "70.0", "95.0", "82.5"], ["N", "", "10.0", ""], ["N", "", "12.0", ""],
    ]  # fmt: skip
    assert scored.verdict() == "to reach on average: ≥ 80.0; a has 90.0: reached"
    assert scored.rank() == "mean rank of a: 2.0 (X 2 of 3, Y 2 of 3)"
    assert scored.order() == ""  # nothing is known of the seeds
    drawn = Cell("R", "X", tuple({"test/accuracy": value} for value in (0.94, 0.96)))
    once = Cell("R", "Y", ({"test/accuracy": 0.5},))
    (row,) = (row for row in table(Result(benchmark, cells, "val/loss", "min", (drawn, once)))[1] if row[0] == "R")
    assert row[1:5] == ["95.0 ± 1.4", "50.0", "72.5", "1–2"]
    some = Result(benchmark, cells[:1], "val/loss", "min")
    assert some.verdict() == some.rank() == "" and "mean" not in table(some)[0]


def test_an_order_is_told_as_far_as_the_paired_test_holds_it() -> None:
    benchmark = Benchmark.model_validate(
        {"always": ["data=sine"], "score": "test/mse", "mode": "min", "rows": {row: [] for row in "abc"}, "tuned": "no"}
    )
    values = {"a": (1.0, 2.0, 3.0), "b": (1.3, 2.31, 3.29), "c": (3.1, 2.0, 1.2)}
    cells = [
        Cell(row, None, tuple({"test/mse": value} for value in scores), (0, 1, 2)) for row, scores in values.items()
    ]
    said = Result(benchmark, tuple(cells), "val/loss", "min").order()
    # 0.3 ± t(0.975, 2) × 0.01 / √3
    assert said.startswith(
        "order by the paired t test over 3 seeds, Holm's correction: a is better than b (0.3, 95 % interval 0.275"
    )
    assert said.endswith("a and c (0.1, 95 % interval -4.75 to 4.95, p=0.94) are not told apart")
    most = benchmark.model_copy(update={"mode": "max"})
    assert (
        "b is better than a (0.3, 95 % interval 0.275 to 0.325" in Result(most, tuple(cells), "val/loss", "max").order()
    )
    mixed = (*cells[:2], Cell("c", None, cells[2].metrics[:1], (0,)))
    said = Result(benchmark, mixed, "val/loss", "min").order()
    assert "over 3 seeds" in said and "a is better than b (0.3," in said
    assert said.endswith("; with c it shares one seed, which tells nothing")
    one = tuple(Cell(cell.row, None, cell.metrics[:1], (0,)) for cell in cells)
    assert Result(benchmark, one, "val/loss", "min").order() == "no order: one seed tells none"


def test_rows_predict_together_seed_by_seed_and_once(train: Callable[..., Outcome], tmp_path: Path) -> None:
    keys = ("data=classification", "model.hidden_size=6", "instruments=none")
    runs = {row: train(*keys, f"seed={seed}") for seed, row in enumerate(("a", "b"))}
    benchmark = Benchmark.model_validate(
        {
            "always": keys, "score": "test/accuracy", "mode": "max", "rows": {row: [] for row in runs},
            "ensembles": {"both": ["a", "b"]}, "tuned": "no",
        }
    )  # fmt: skip
    twice = benchmark.model_copy(update={"ensembles": {"two of a": ("a", "a")}})
    done = [(BenchmarkRun(row, None, 0, ()), outcome.directory) for row, outcome in runs.items()]
    said: list[str] = []
    (cell,) = run_ensembles(benchmark, done, tmp_path / "ensembles.json", said.append)
    together = evaluate_together([Member(directory, directory.config) for _, directory in done]).ensemble
    assert cell.metrics[0]["test/accuracy"] == together["test/accuracy"] and cell.seeds == (0,)
    assert cell.metrics[0]["parameters"] == sum(outcome.metrics["parameters"] for outcome in runs.values())
    assert len(said) == 1 and said[0].startswith("both seed 0: ")
    assert run_ensembles(benchmark, done, tmp_path / "ensembles.json", said.append) == (cell,) and len(said) == 1
    seeds = [(BenchmarkRun("a", None, seed, ()), directory) for seed, (_, directory) in enumerate(done)]
    (same,) = run_ensembles(twice, seeds, tmp_path / "twice.json", said.append)
    assert same.metrics[0]["test/accuracy"] == together["test/accuracy"] and same.seeds == (0,)
    assert run_ensembles(benchmark, done[:1], tmp_path / "ensembles.json", said.append) == ()
    assert table(collect(benchmark, done, (), (cell,)))[1][2][-1] == "ours, averaged"
