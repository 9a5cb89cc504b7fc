"""Runs compared: what is one group, what ranks, what the numbers are, and that nothing is lost or let through."""

import csv
import json
import math
import os
import re
import socket
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from rnnlab.commands.report import main, print_leaderboard
from rnnlab.errors import InputError
from rnnlab.runs.comparison import Board, command, compare, seed_keys
from rnnlab.runs.estimates import estimate, holm, paired
from rnnlab.runs.page import render
from rnnlab.runs.records import find_runs, is_sweep
from rnnlab.store import files
from rnnlab.student import incomplete_beta, t_quantile, t_two_sided
from rnnlab.use.members import best_seeds

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes the files of one run below ``tmp_path``, as a sweep over model, rate and seed would."""

    def run(
        name: str = "",
        model: str = "gru",
        lr: float = 0.01,
        seed: int = 0,
        val: float | None = 0.5,
        state: str = "done",
        curve: tuple[float, ...] = (),
        settings: dict[str, Any] | None = None,
        overrides: tuple[str, ...] = (),
        **status: Any,
    ) -> Path:
        path = tmp_path / (name or f"sweep/{model},{lr},{seed}")
        path.mkdir(parents=True)
        config = {
            "seed": seed,
            "monitor": "val/loss",
            "mode": "min",
            "model": {"_target_": f"rnnlab.network.{model}"},
            "data": {"_target_": "rnnlab.data.sine.Sine", "seed": 0, "shuffle_seed": seed, "frequency": [0.02, 0.1]},
            "task": {"_target_": "rnnlab.tasks.forecasting.Forecasting"},
            "optimizer": {"lr": lr},
            **(settings or {}),
        }
        (path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        told = {
            "state": state,
            "overrides": [f"model={model}", f"optimizer.lr={lr}", f"seed={seed}", *overrides],
            "choices": {"model": model, "data": "sine", "task": "forecasting"},
            "host": "elsewhere",
            **status,
        }
        (path / "status.json").write_text(json.dumps(told))
        epochs = [f"{number},{value},{value}" for number, value in enumerate(curve, 1)]
        (path / "metrics.csv").write_text("\n".join(["epoch,val/loss,train/loss", *epochs, ""]))
        if state == "done" and val is not None:
            metrics = {"val/loss": val, "test/loss": val + 0.1, "baseline/loss": 0.9, "parameters": 97, "seconds": 2.0}
            (path / "metrics.json").write_text(json.dumps(metrics))
        return path

    return run


def board(place: Path) -> Board:
    (only,) = compare(find_runs([place]).records)
    return only


# ---- statistics ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    # scipy.stats.t.ppf(0.975, freedom), SciPy 1.17.1
    ("freedom", "quantile"),
    [
        (1, 12.706204736174694),
        (2, 4.302652729749462),
        (4, 2.7764451051977934),
        (9, 2.262157162798205),
        (29, 2.045229642132703),
        (100, 1.9839715185235518),
        (1e6, 1.959966356814107),
    ],
)
def test_t_quantile(freedom: float, quantile: float) -> None:
    assert t_quantile(freedom) == pytest.approx(quantile, rel=1e-9 if freedom > 1000 else 1e-12)
    assert t_two_sided(t_quantile(freedom), freedom) == pytest.approx(0.05, rel=1e-9)


def test_the_t_distribution_agrees_with_closed_forms() -> None:
    for t in (0.0, 1e-3, 0.7, 3.0, 50.0):
        # one degree of freedom is Cauchy's distribution; two have an elementary integral
        assert t_two_sided(t, 1) == pytest.approx(1 - 2 * math.atan(t) / math.pi, rel=1e-10, abs=1e-14)
        assert t_two_sided(math.inf, 1 + t) == 0
        assert t_two_sided(-t, 2) == pytest.approx(1 - t / math.sqrt(2 + t * t), rel=1e-9, abs=1e-14)


@pytest.mark.needs("datasets")
def test_the_incomplete_beta_function_agrees_with_scipy() -> None:
    from scipy import special  # scikit-learn's

    for a in (0.5, 2.0, 7.5, 300.0):
        for b in (0.5, 1.0, 40.0):
            for x in (0.0, 1e-8, 0.1, 0.5, 0.93, 1 - 1e-9, 1.0):
                assert incomplete_beta(x, a, b) == pytest.approx(special.betainc(a, b, x), rel=1e-10, abs=1e-300)


def test_an_interval_is_as_wide_as_student_says() -> None:
    # by hand: mean 2, deviation 1, half width 4.3026527 / √3
    found = estimate([1.0, 2.0, 3.0])
    assert (found.n, found.mean, found.std) == (3, 2.0, 1.0)
    assert found.high - 2 == pytest.approx(2.4841377, rel=1e-7)
    assert 2 - found.low == pytest.approx(2.4841377, rel=1e-7)
    alone = estimate([5.0])
    assert (alone.n, alone.mean) == (1, 5.0)
    assert all(math.isnan(value) for value in (alone.std, alone.low, alone.high))
    none = estimate([])
    assert none.n == 0
    assert all(math.isnan(value) for value in (none.mean, none.std, none.low, none.high))


def test_paired_by_seed() -> None:
    # by hand: differences 1, 2, 3 on the seeds in common; t = 2√3, 1 - t/√(2+t²) = 0.0741799
    found = paired({0: 1.0, 1: 5.0, 2: 2.0, 7: 0.0}, {0: 2.0, 1: 7.0, 2: 5.0, 8: 0.0}, "min")
    assert (found.n, found.difference, found.wins) == (3, 2.0, 3)
    assert (found.low, found.high) == pytest.approx((2 - 2.4841377, 2 + 2.4841377), rel=1e-7)
    assert found.p == pytest.approx(0.0741799, abs=1e-7)
    assert paired({0: 1.0, 1: 5.0, 2: 3.0}, {0: 2.0, 1: 4.0, 2: 3.0}, "max").wins == 1  # a tie is no win
    one = paired({0: 1.0}, {0: 2.0}, "min")
    assert (one.n, one.difference, one.wins) == (1, 1.0, 1)
    assert all(math.isnan(value) for value in (one.low, one.high, one.p))
    constant = paired({0: 1.0, 1: 2.0}, {0: 2.0, 1: 3.0}, "min")  # no spread is no certainty
    assert (constant.difference, constant.low, constant.high) == (1.0, 1.0, 1.0)
    assert math.isnan(constant.p)


def test_holm() -> None:
    # by hand: 4 × 0.005, 3 × 0.01, 2 × 0.03, and 0.04, which may not come below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    adjusted = holm([math.nan, 0.01])  # what can't be tested costs nothing
    assert math.isnan(adjusted[0])
    assert adjusted[1] == 0.01


# ---- groups and their ranking ------------------------------------------------------------------


def test_seeds_are_one_group_and_everything_else_tells_apart(make: Make, tmp_path: Path) -> None:
    for model, lr, base in (("gru", 0.01, 0.3), ("gru", 0.1, 0.2), ("lstm", 0.01, 0.4)):
        for seed in (0, 1, 2):
            make(model=model, lr=lr, seed=seed, val=base + 0.01 * seed)
    found = board(tmp_path)
    assert [group.name for group in found.groups] == [
        "model=gru, optimizer.lr=0.1", "model=gru, optimizer.lr=0.01", "model=lstm, optimizer.lr=0.01",
    ]  # fmt: skip
    assert [group.rank for group in found.groups] == [1, 2, 3]
    assert [group.n for group in found.groups] == [3, 3, 3]
    assert found.groups[0].score.mean == pytest.approx(0.21)
    assert found.groups[0].score.std == pytest.approx(0.01)
    assert found.groups[0].estimate(found.test).mean == pytest.approx(0.31)


def test_the_test_score_ranks_nothing(make: Make, tmp_path: Path) -> None:
    for model, val, test in (("gru", 0.2, 0.9), ("lstm", 0.3, 0.1)):
        path = make(model=model, val=val)
        (path / "metrics.json").write_text(json.dumps({"val/loss": val, "test/loss": test}))
    assert [group.runs[0].choices["model"] for group in board(tmp_path).groups] == ["gru", "lstm"]


def test_the_highest_is_best_where_mode_says_so(make: Make, tmp_path: Path) -> None:
    for model, val in (("gru", 0.2), ("lstm", 0.3)):
        make(model=model, val=val, settings={"mode": "max"})
    found = board(tmp_path)
    assert [group.runs[0].choices["model"] for group in found.groups] == ["lstm", "gru"]
    assert found.comparisons[0].wins == 1


def test_one_value_written_in_two_ways_is_one_group(make: Make, tmp_path: Path) -> None:
    make("a", seed=0, lr=1)
    make("b", seed=1, lr=1.0)
    (group,) = board(tmp_path).groups
    assert group.n == 2


def test_a_seed_that_was_run_twice_counts_once(make: Make, tmp_path: Path) -> None:
    make("old", val=0.9, finished="2026-01-01")
    make("new", val=0.1, finished="2026-01-02")
    (group,) = board(tmp_path).groups
    assert (group.n, group.repeats, group.score.mean) == (1, 1, 0.1)


def test_a_run_that_is_below_two_places_counts_once(make: Make, tmp_path: Path) -> None:
    path = make()
    assert len(find_runs([tmp_path, path, tmp_path / "sweep"]).records) == 1


def test_folds_repeat_a_setting_as_seeds_do(make: Make, tmp_path: Path) -> None:
    for model, worse in (("gru", 0.0), ("lstm", 0.1)):
        for fold in range(3):
            for seed in (0, 1):
                data = {"_target_": "rnnlab.data.csv.Csv", "folds": 3, "fold": fold, "shuffle_seed": seed}
                make(
                    model=model,
                    seed=seed,
                    val=fold + worse * (1 + fold),
                    name=f"sweep/{model},{fold},{seed}",
                    settings={"data": data},
                    overrides=("data.folds=3", f"data.fold={fold}"),
                )
    found = board(tmp_path / "sweep")
    assert [(group.name, group.n, group.score.mean) for group in found.groups] == [
        ("model=gru", 6, pytest.approx(1.0)),
        ("model=lstm", 6, pytest.approx(1.2)),
    ]
    assert (found.comparisons[0].n, found.comparisons[0].wins) == (6, 6)  # fold by fold, though folds differ far more
    best = found.groups[0]
    assert best.best_run is not None
    assert command(best.best_run, folds=best.folds).endswith("data.folds=3 data.fold=0,1,2 seed=0")
    # each fold's network knows a part of the past; the last one knows all of it
    assert [run.path.name for run in best_seeds(str(tmp_path / "sweep"))] == ["gru,2,0", "gru,2,1"]


def test_the_datas_own_seed_is_no_seed_unless_it_follows(make: Make, tmp_path: Path) -> None:
    data = {"_target_": "rnnlab.data.sine.Sine"}
    for seed in (0, 1):
        make(f"a{seed}", seed=seed, settings={"data": {**data, "seed": 5}}, overrides=("data.seed=5",))
        make(f"b{seed}", seed=seed, settings={"data": {**data, "seed": 6}}, overrides=("data.seed=6",))
        make(f"c/{seed}", seed=seed, settings={"data": {**data, "seed": seed}}, overrides=("data.seed=${seed}",))
    assert [group.n for group in compare(find_runs([tmp_path / "c"]).records)[0].groups] == [2]
    found = board(tmp_path)
    assert sorted(group.n for group in found.groups) == [2, 2, 2]
    assert seed_keys([run for run in found.records if run.path.name.startswith("a")]) == {"seed"}


def test_two_versions_of_a_default_are_two_groups_that_say_why(make: Make, tmp_path: Path) -> None:
    make("a", settings={"early_stopping": {"patience": 20}})
    make("b", settings={"early_stopping": {"patience": 5}})
    assert sorted(group.name for group in board(tmp_path).groups) == [
        "early_stopping.patience=20", "early_stopping.patience=5",
    ]  # fmt: skip


def test_other_data_or_another_score_is_another_board(make: Make, tmp_path: Path) -> None:
    make("a")
    make("b", settings={"monitor": "val/mae"})
    path = make("c")
    status = json.loads((path / "status.json").read_text())
    (path / "status.json").write_text(json.dumps({**status, "choices": {**status["choices"], "data": "tokens"}}))
    boards = compare(find_runs([tmp_path]).records)
    assert {(each.data, each.monitor) for each in boards} == {
        ("sine", "val/loss"), ("sine", "val/mae"), ("tokens", "val/loss"),
    }  # fmt: skip


def test_another_file_or_horizon_is_another_board_and_a_path_is_one_however_it_is_written(
    make: Make, tmp_path: Path
) -> None:
    def run(name: str, path: str, horizon: int, model: str = "gru") -> None:
        data = {"_target_": "rnnlab.data.csv.CSV", "path": path, "horizon": horizon}
        where, key = str(tmp_path / "home"), f"data.path={path}"
        status = {"directory": where, "choices": {"model": model, "data": "csv", "task": "forecasting"}}
        make(name, settings={"data": data}, overrides=(key,), model=model, **status)

    run("a", "sales.csv", 3)
    run("b", str(tmp_path / "home" / "sales.csv"), 3, model="lstm")
    run("c", "./sales.csv", 6)
    run("d", "../other.csv", 3)
    boards = {each.data: each for each in compare(find_runs([tmp_path]).records)}
    assert set(boards) == {
        "csv (path=sales.csv, horizon=3)", "csv (path=sales.csv, horizon=6)", "csv (path=other.csv, horizon=3)",
    }  # fmt: skip
    # one file, written in two ways, tells no configurations apart
    two = boards["csv (path=sales.csv, horizon=3)"].groups
    assert sorted(group.name for group in two) == ["model=gru", "model=lstm"]


def test_a_failure_stands_with_its_group(make: Make, tmp_path: Path) -> None:
    make(seed=0)
    make(seed=1, state="failed", reason="the loss became inf")
    refused = make(seed=2, state="failed", reason="no such thing")
    (refused / "config.yaml").unlink()  # refused before there was a config
    (group,) = board(tmp_path).groups
    assert (group.n, group.states["failed"], len(group.runs)) == (1, 2, 3)


def test_the_best_command_is_the_run(make: Make, tmp_path: Path) -> None:
    path = make(
        seed=3, overrides=("data.test_length=[41,500]", "hydra.launcher=x", "+note=it's"), config_dirs=["/my dir"]
    )
    (record,) = find_runs([path]).records
    assert command(record) == (
        "rnnlab train --config-dir '/my dir' model=gru optimizer.lr=0.01 'data.test_length=[41,500]' "
        "'+note=it'\"'\"'s' seed=3"
    )
    assert command(record, [0, 1]).startswith("rnnlab train -m ")


# ---- running, dead and damaged -----------------------------------------------------------------


def test_a_running_run_is_shown_and_not_ranked(make: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make(seed=0, val=0.3)
    make(seed=1, state="running", curve=(0.5, 0.125, 0.4))
    make(model="lstm", state="running", curve=(0.5, 0.25, 0.3))
    found = board(tmp_path)
    assert [(group.rank, group.n) for group in found.groups] == [(1, 1), (None, 0)]
    assert main([str(tmp_path)]) == 0
    said = capfd.readouterr().out
    assert re.search(r"running model=lstm: 1 of 1 runs, val/loss so far 0.25", said)
    assert re.search(r"running model=gru: 1 of 2 runs, val/loss so far 0.125", said)
    assert "1 done, 2 running" in said


def test_a_run_whose_process_is_gone_is_interrupted_and_one_elsewhere_is_believed(make: Make, tmp_path: Path) -> None:
    make("here", state="running", host=socket.gethostname(), pid=2**22 + 1, process_started=1)
    make("there", state="running", host="elsewhere", pid=2**22 + 1, process_started=1)
    assert [record.state for record in find_runs([tmp_path]).records] == ["interrupted", "running"]


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("status.json", '{"state": ', "is damaged"),
        ("status.json", "[]", "no mapping"),
        ("status.json", "{}", "names no state"),
        ("metrics.json", '{"val/loss": 0.', "is damaged"),
        ("metrics.json", '{"val/loss": NaN}', "no finite val/loss"),
        ("metrics.csv", "epoch,val/loss\n1,0.5\n2\n", "line 3 has 1 cells"),
        ("metrics.csv", "epoch,val/loss\n1,abc\n", "abc"),
        ("config.yaml", "model: [", "is damaged"),
        ("config.yaml", "\x00", "is damaged"),
    ],
)
def test_one_damaged_file_is_named_and_the_others_are_reported(
    make: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str], file: str, content: str, said: str
) -> None:
    make(model="gru", val=0.25)
    make(model="rnn", val=0.75)
    bad = make("bad", model="lstm") / file
    bad.write_text(content)
    assert main([str(tmp_path)]) == 0
    printed = capfd.readouterr()
    (line,) = [line for line in printed.out.splitlines() if "left out" in line]
    assert str(bad) in line or os.path.relpath(bad) in line
    assert said in line
    assert "0.25" in printed.out
    assert "0.75" in printed.out
    assert str(bad) in json.dumps(payload(tmp_path / "report.html")["damage"])


def test_all_damaged_is_bad_input(make: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (make() / "status.json").write_text("")
    assert main([str(tmp_path)]) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("place", ["nowhere", "file", "empty"])
def test_a_place_without_runs_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str], place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / place)]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert place in line


def test_a_directory_that_cannot_be_written_costs_no_table(
    make: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(val=0.125)

    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(files, "_replacing", refuse)
        assert main([str(tmp_path)]) == 2
    printed = capfd.readouterr()
    assert "0.125" in printed.out
    (line,) = printed.err.splitlines()
    assert "Permission denied" in line
    assert "--output" in line
    assert main([str(tmp_path), "--output", str(tmp_path / "new" / "place")]) == 0
    assert (tmp_path / "new" / "place" / "report.html").exists()
    assert not (tmp_path / "report.html").exists()


def test_every_failure_is_listed_with_its_log(make: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make(seed=0)
    for seed in range(1, 31):
        make(seed=seed, state="failed", reason=f"reason\nnumber {seed} [red]")
    assert print_leaderboard([tmp_path]) == 1
    printed = capfd.readouterr().out
    for seed in range(1, 31):
        assert re.search(rf"gru,0\.01,{seed}: reason number {seed} \[red\] \(log: \S+/train\.log\)", printed)
    assert {each["reason"] for each in payload(tmp_path / "report.html")["failures"]} == {
        f"reason number {seed} [red]" for seed in range(1, 31)
    }


# ---- files -------------------------------------------------------------------------------------


def payload(page: Path) -> dict[str, Any]:
    """The data in a page, as a browser finds it: from the block's start to the first end tag of a script."""
    text = page.read_text(encoding="utf-8")
    return json.loads(text.split('<script type="application/json" id="data">')[1].split("</script>")[0])


def test_the_leaderboard_has_every_number(make: Make, tmp_path: Path) -> None:
    for model, base in (("gru", 0.2), ("lstm", 0.3)):
        for seed in (0, 1, 2):
            make(model=model, seed=seed, val=base + 0.01 * seed**2)
    make(model="rnn", state="failed")
    print_leaderboard([tmp_path])
    with open(tmp_path / "leaderboard.csv", newline="") as file:
        first, second, last = csv.DictReader(file)
    assert (first["rank"], first["model"], first["n"], first["failed"]) == ("1", "gru", "3", "0")
    wanted = estimate([0.2, 0.21, 0.24])
    assert [float(first[key]) for key in ("mean", "std", "ci_low", "ci_high")] == pytest.approx(
        [wanted.mean, wanted.std, wanted.low, wanted.high]
    )
    assert float(first["test"]) == pytest.approx(wanted.mean + 0.1)
    assert (first["baseline"], first["p_holm"], first["parameters"]) == ("0.9", "", "97")
    assert first["command"] == "rnnlab train model=gru optimizer.lr=0.01 seed=0"
    assert second["rank"] == "2"
    assert (last["rank"], last["mean"], last["n"], last["failed"]) == ("", "", "0", "1")


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ((0.0, 0.0), "In all of them the linear part stands alone: the network adds nothing"),
        ((0.0, 0.3), "In 1 of 2 runs the linear part stands alone"),
        ((0.1, 0.3), ""),
        ((None, None), ""),
    ],
)
def test_networks_that_add_nothing_to_a_linear_part_are_not_compared_in_silence(
    gains: tuple[float | None, float | None], said: str, make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for model, gain in zip(("gru", "lstm"), gains, strict=True):
        path = make(model=model) / "metrics.json"
        more = {} if gain is None else {"calibration/gain": gain}
        path.write_text(json.dumps(json.loads(path.read_text()) | more))
    print_leaderboard([tmp_path])
    printed = capsys.readouterr().out
    assert said in printed and ("stands alone" in printed) == bool(said)


def test_the_baseline_has_its_name(make: Make, tmp_path: Path) -> None:
    for seed in (0, 1):
        make(seed=seed, baseline="persistence")
    print_leaderboard([tmp_path])
    with open(tmp_path / "leaderboard.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["baseline"], row["baseline_name"]) == ("0.9", "persistence")
    assert payload(tmp_path / "report.html")["boards"][0]["trivial"] == "persistence"


def test_no_text_of_a_run_becomes_markup(make: Make, tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>{{script}}\u2028"
    make("javascript:alert(1)", state="failed", reason=evil, overrides=(f"+note={evil}",), figures=[evil])
    path = make("b", overrides=(f"+note={evil}",))
    found = find_runs([tmp_path])
    text = render(compare(found.records), found, tmp_path, f"{path.name} {evil}")
    assert text.count("<script") == 2
    assert text.count("</script>") == 2
    assert "<img" not in text
    assert "<!--" not in text
    assert "alert(2)" in text  # it is there, as text
    page = tmp_path / "page.html"
    page.write_text(text, encoding="utf-8")
    (failure,) = payload(page)["failures"]
    assert failure["reason"] == " ".join(evil.split())
    assert failure["href"].startswith("./javascript")


def test_without_scripts_the_page_has_its_tables(make: Make, tmp_path: Path) -> None:
    """Between ``noscript``: each group with its numbers and a link to its best run, and what failed."""
    for seed, val in enumerate((0.25, 0.75)):
        make(model="lstm", seed=seed, val=val)
    make(model="gru", val=0.6)
    make(model="rnn", state="failed", reason="a < b & c")
    print_leaderboard([tmp_path])
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    (plain,) = re.findall(r"<noscript>(.*)</noscript>", text, re.DOTALL)
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", plain) if "<td" in row]
    lstm, gru, rnn, failure = rows
    link = '<a href="./sweep/{}/">{}</a>'
    assert lstm[:3] == ["1", link.format("lstm%2C0.01%2C0", "model=lstm"), "2"]
    assert lstm[3] == "0.5 ± 0.35" and lstm[5:7] == ["0.6", "0.9"] and lstm[8:] == ["97", "2"]
    assert gru[:5] == ["2", link.format("gru%2C0.01%2C0", "model=gru"), "1", "0.6", "one seed"]
    assert rnn[:5] == ["", "model=rnn", "0, 1 failed", "", ""]
    assert failure[:3] == ["sweep/rnn,0.01,0", "failed", "a &lt; b &amp; c"]


def test_the_page_asks_no_network_and_runs_its_own_script_alone(make: Make, tmp_path: Path) -> None:
    import base64
    import hashlib

    make()
    print_leaderboard([tmp_path])
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text)
    assert re.findall(r"https?://\S+", text) == ['http://www.w3.org/2000/svg";']  # a name, no address
    for kind, pattern in (("script", r"<script>(.*)</script>"), ("style", r"<style>(.*)</style>")):
        (inside,) = re.findall(pattern, text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in text


def test_the_page_has_curves_with_their_spread(make: Make, tmp_path: Path) -> None:
    make(seed=0, curve=(1.0, 0.5, 0.25))
    make(seed=1, curve=(3.0, 1.5))  # stopped early
    print_leaderboard([tmp_path])
    (only,) = payload(tmp_path / "report.html")["boards"]
    epochs, mean, low, high, count = only["groups"][0]["curves"][only["curves"].index("val/loss")]
    assert (epochs, mean, low, high) == ([1, 2, 3], [2.0, 1.0, 0.25], [1.0, 0.5, 0.25], [3.0, 1.5, 0.25])
    assert count == [2, 2, 1]


def test_a_long_curve_keeps_its_ends_and_its_extremes(make: Make, tmp_path: Path) -> None:
    curve = [1.0] * 5000
    curve[1234] = 99.0
    make(curve=tuple(curve))
    print_leaderboard([tmp_path])
    (only,) = payload(tmp_path / "report.html")["boards"]
    epochs, _, _, high, _ = only["groups"][0]["curves"][0]
    assert len(epochs) <= 160
    assert epochs[-1] == 5000
    assert max(high) == 99.0
    assert only["averaged"] == 32


def test_a_numbers_absence_is_null_and_no_nan(make: Make, tmp_path: Path) -> None:
    make(seed=0)
    print_leaderboard([tmp_path])
    text = (tmp_path / "report.html").read_text()
    assert "NaN" not in text.split('id="data">')[1].split("</script>")[0]
    assert payload(tmp_path / "report.html")["boards"][0]["groups"][0]["score"] == [0.5, None, None, None]


def test_the_terminals_table_fits_80_columns(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from rnnlab.instruments import console

    for model in ("gru", "layer_norm_lstm"):
        for seed in (0, 1):
            make(model=model, seed=seed, lr=0.000123, val=0.012345678 * (1 + seed) + seed * len(model) / 1e4)
    monkeypatch.setattr(console, "WIDTH_WITHOUT_TERMINAL", 80)
    monkeypatch.chdir(tmp_path)
    print_leaderboard(["."])
    table = capfd.readouterr().out.split("The first")[0]
    assert "±" in table
    assert max(map(len, table.splitlines())) <= 80
    assert "\x1b" not in table


PAGE = Path(__file__).parents[1] / "src" / "rnnlab" / "runs" / "page"


def in_node(script: str) -> Any:
    """What a script says after the page's numbers, scales and ticks."""
    text = (PAGE / "scales.js").read_text(encoding="utf-8") + f"console.log(JSON.stringify({script}))"
    done = subprocess.run(["node", "-e", text], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.needs("node")
def test_the_pages_script_parses(tmp_path: Path) -> None:
    script = tmp_path / "page.js"
    script.write_text("".join((PAGE / name).read_text(encoding="utf-8") for name in ("scales.js", "page.js")))
    done = subprocess.run(["node", "--check", str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.needs("node")
def test_no_two_ticks_read_alike_or_run_into_each_other() -> None:
    ranges = [[0.0235, 0.0245], [0.02357, 0.02358], [1234567, 1234570], [-3e-7, 5e-7], [0.99, 1.01], [3, 3], [5, 4000]]
    script = """RANGES.flatMap((ends) => [false, true].map((log) => {
      const at = scale(ends, 20, 150, log && ends[0] > 0), all = labelled(ticks(at, 4), 2);
      const kept = spaced(all, at).map(([value, text]) => [at(value), text.length]);
      return { texts: all.map(([, text]) => text), wide: kept };
    }))"""
    for axis in in_node(script.replace("RANGES", json.dumps(ranges))):
        assert len(axis["texts"]) > 1
        assert len(set(axis["texts"])) == len(axis["texts"]), axis
        for (one, length), (other, longer) in pairwise(axis["wide"]):
            assert other - one > 6 * (length + longer) / 2, axis


@pytest.mark.needs("node")
def test_numbers_stand_by_their_size_or_its_logarithm() -> None:
    lists = [[1, 2, 3], [32, 64, 128], [0.001, 0.002, 0.1], [8, 100, 128], [0, 1, 10], [1, 2], [1e-4, 1e-1]]
    by_ratio = in_node(f"{json.dumps(lists)}.map(evenerByRatio)")
    assert by_ratio == [False, True, True, False, False, False, True]


def test_a_sweep_has_its_runs_not_far_below(tmp_path: Path) -> None:
    run = tmp_path / "sweep" / "model=gru" / "seed=0" / "0"
    run.mkdir(parents=True)
    assert not is_sweep(tmp_path / "sweep")
    (run / "status.json").write_text("{}")
    assert is_sweep(tmp_path / "sweep") and is_sweep(str(tmp_path / "sweep" / "model=gru"))
    assert not is_sweep(run)  # a run is none
    assert not is_sweep(tmp_path)  # four levels above: nobody's home is searched for runs
    assert not is_sweep(tmp_path / "none") and not is_sweep(run / "status.json")


def test_find_runs_refuses_by_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no runs there"):
        find_runs([tmp_path])


def test_a_spreadsheet_computes_no_cell_and_numbers_stay_numbers(make: Make, tmp_path: Path) -> None:
    texts = {"a": "=1+1", "b": "@SUM(1)", "c": "+cmd", "d": "-x", "e": "\t=1", "f": "-0.25", "g": "+3"}
    for number in (0, 1):
        values = {key: value if number else "other" for key, value in texts.items()}
        make(f"run{number}", settings={"data": {"_target_": "x.Y", **values}, "lr": -0.5 + number},
             overrides=tuple(f"+data.{key}={value}" for key, value in values.items()), val=-0.5)  # fmt: skip
    main([str(tmp_path)])
    rows = list(csv.DictReader((tmp_path / "leaderboard.csv").read_text().splitlines()))
    (row,) = [row for row in rows if row["data.f"] != "other"]
    assert [row[f"data.{key}"] for key in "abcd"] == ["'=1+1", "'@SUM(1)", "'+cmd", "'-x"]
    assert float(row["data.f"]) == -0.25 and float(row["data.g"]) == 3 and float(row["mean"]) == -0.5


def test_no_text_of_a_run_controls_the_terminal(make: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\r"
    make(f"bad{evil}", state="failed", reason=f"out of {evil}memory", overrides=(f"+note={evil}",), val=None)
    make("good", overrides=(f"+note={evil}",), settings={"note": evil})
    make("other", settings={"note": "b"}, overrides=("+note=b",))
    main([str(tmp_path)])
    main([str(tmp_path / f"no{evil}")])
    said = "".join(capfd.readouterr())
    assert "\\x1b" in said and not set(said) & {"\x1b", "\x07", "\r"}


def test_a_study_of_no_search_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "status.json").write_text('{"state": "interrupted"}')
    assert main([str(tmp_path), "--study", "nope.db"]) == 2
    assert capsys.readouterr().err == (
        "rnnlab: --study nope.db: no search that was found is kept there: there is no search\n"
    )
