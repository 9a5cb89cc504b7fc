"""Searches: spaces from Hydra's notation and yaml, random search, Optuna in one process and several."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import yaml
from conftest import CONF, choices, create_hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from processes import PATIENCE, ended, start, wait_until

from rnnlab.commands import engine as engine_module
from rnnlab.commands import list as list_command
from rnnlab.commands import report as report_command
from rnnlab.commands import resume as resume_command
from rnnlab.commands import search as search_module
from rnnlab.commands import train as train_command
from rnnlab.commands.report import print_leaderboard
from rnnlab.commands.search_plan import plan
from rnnlab.errors import InputError, RunFailed
from rnnlab.launch import job as job_module
from rnnlab.launch.fleet import Fleets, Stacks
from rnnlab.launch.job import execute_job
from rnnlab.launch.launcher import Basic, Findings, LaunchedJob, Settings, Stop
from rnnlab.launch.local import Local
from rnnlab.launch.watch import Watch
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import Outcome
from rnnlab.runs.records import read_run
from rnnlab.search.random_search import RandomSearch
from rnnlab.search.searcher import Objective
from rnnlab.search.space import Choice, Interval, Parameter, Range, Space

TINY = ("data.num_samples=40", "data.batch_size=8", "trainer.max_epochs=1", "trainer.accelerator=cpu",
        "instruments=none", "model.hidden_size=4")  # fmt: skip
LR = "optimizer.lr=interval(1e-4,1e-1)"


def train(path: Path, *overrides: str) -> int:
    return train_command.main(["-m", *TINY, *overrides, f"hydra.sweep.dir={path}"])


STORAGE = ("--allow", "hydra.sweeper.storage")
"""Elsewhere than in the sweep's directory: a ledger alone opens none."""


def resume(path: Path, *arguments: str) -> int:
    return resume_command.main([str(path), *arguments])


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end at once, with scores that their configs decide, and nothing is drawn: what is tested is the search."""

    def run(directory: RunDirectory, config: dict[str, Any], *_: Any, **__: Any) -> Outcome:
        lr = config["optimizer"]["lr"]
        if lr > 1e10:
            directory.update_status("failed", reason="the loss became inf")
            raise RunFailed("the loss became inf")
        score = abs(math.log10(lr) + 2) + 0.1 * (config["model"]["cell"]["_target_"] == RNN) + 0.01 * config["seed"]
        metrics = {"val/loss": score, "val/mae": 2 * score, "test/loss": 100.0, "parameters": 9, "seconds": 1.0}
        directory.write_metrics(metrics)
        directory.update_status("done")
        return Outcome(directory, metrics, [])

    monkeypatch.setattr(job_module, "execute", run)
    monkeypatch.setattr(engine_module, "print_leaderboard", lambda places, **_: int("failed" in states(places[0])))
    monkeypatch.setattr(Basic, "check", lambda *_: None)


RNN = "rnnlab.cells.rnn.RNN"


def told(path: Path) -> list[dict[str, str]]:
    """The settings of each trial that stands in the ledger, in order."""
    return [each["trial"]["settings"] for each in json.loads((path / "jobs.json").read_text())]


def states(path: Path) -> list[str]:
    return [read_run(path / each["directory"]).state for each in json.loads((path / "jobs.json").read_text())]


def space(params: dict[str, Any], when: dict[str, Any] | None = None, typed: tuple[str, ...] = ()) -> Space:
    parse = OverridesParser.create(create_hydra().config_loader).parse_overrides
    return plan(parse, {"params": params, "when": when}, parse(list(typed))).space


# ---- what may be set ---------------------------------------------------------------------------------


def test_hydras_notation_says_the_space() -> None:
    found = space(
        {"model": "choice(lstm, gru)", "data": "glob(an_b*)", "model.num_layers": [1, 2], "optimizer": "adam"},
        typed=(
            LR, "model.dropout=interval(0,0.5)", "model.hidden_size=range(8,65,8)", "data.noise=range(0,0.3,0.1)",
            "early_stopping.patience=int(interval(5,20))", "data.length=tag(log,int(interval(8,64)))",
            "optimizer.weight_decay=tag(linear,interval(1e-6,1e-2))", "data.batch_size=tag(log,range(8,65))",
        ),
    )  # fmt: skip
    assert {each.key: each.values for each in found.parameters} == {
        "model": Choice(("lstm", "gru")),
        "data": Choice(("an_bn",)),
        "model.num_layers": Choice(("1", "2")),
        "optimizer.lr": Interval(1e-4, 1e-1, log=True),  # three decades
        "model.dropout": Interval(0, 0.5),
        "model.hidden_size": Range((8, 16, 24, 32, 40, 48, 56, 64)),
        "data.noise": Range((0.0, 0.1, 0.2)),
        "early_stopping.patience": Interval(5, 20, whole=True),
        "data.length": Interval(8, 64, log=True, whole=True),
        "optimizer.weight_decay": Interval(1e-6, 1e-2),
        "data.batch_size": Range(tuple(range(8, 65)), log=True),
    }
    assert found.fixed == {"optimizer": "adam"}


def test_the_command_line_replaces_what_the_yaml_says() -> None:
    found = space(
        {"model": "choice(lstm, gru)", "optimizer.lr": "interval(1e-4, 1e-1)"},
        {"model=lstm": {"model.dropout": "interval(0, 0.5)"}},
        ("optimizer.lr=1e-3", "model=lstm,rnn", "model.dropout=0.1"),
    )
    assert [(each.key, each.values) for each in found.parameters] == [("model", Choice(("lstm", "rnn")))]
    assert found.fixed == {"optimizer.lr": "0.001", "model.dropout": "0.1"}


@pytest.mark.parametrize(
    "values",
    [Interval(1e-4, 1e-1, log=True), Interval(1, 100, log=True, whole=True), Range(tuple(range(1, 101)), log=True)],
)
def test_a_logarithmic_scale_gives_each_ratio_its_share(values: Interval | Range) -> None:
    rng = random.Random(0)
    drawn = [float(values.draw(rng)) for _ in range(4000)]
    low, *_, high = (float(end) for end in values.ends())
    assert low <= min(drawn) and max(drawn) <= high
    middle = (low * high) ** 0.5
    assert sum(each < middle for each in drawn) / len(drawn) == pytest.approx(0.5, abs=0.05)
    assert len(set(drawn)) > 50


@pytest.mark.parametrize("values", [Interval(0.1, 0.3), Interval(2, 5, whole=True), Range((0, 2, 4, 6)), Range((3,))])
def test_draws_stay_within_and_reach_the_ends(values: Interval | Range) -> None:
    rng = random.Random(1)
    drawn = [values.draw(rng) for _ in range(400)]
    if not isinstance(values, Interval) or values.whole:
        assert set(drawn) == set(values.all())
    assert values.ends()[0] <= min(drawn) and max(drawn) <= values.ends()[-1]


WHEN = {
    "model=lstm,gru": {"model.num_layers": "range(1, 4)"},
    "model=lstm model.num_layers=2,3": {"model.dropout": "interval(0.1, 0.5)"},
    "model=rnn": {"optimizer.lr": "interval(1e-4, 1e-3)"},
    "model=gru": {"optimizer.lr": "interval(1e-3, 1e-1)"},
}


def test_conditional_keys_are_set_where_they_count_and_nowhere_else() -> None:
    found = space({"model": ["rnn", "lstm", "gru"]}, WHEN)
    rng = random.Random(0)
    drawn = [found.draw(rng) for _ in range(300)]
    for each in drawn:
        assert ("model.num_layers" in each) == (each["model"] != "rnn")
        assert ("model.dropout" in each) == (each["model"] == "lstm" and each["model.num_layers"] in "23")
        assert ("optimizer.lr" in each) == (each["model"] != "lstm")
        if each["model"] == "rnn":
            assert 1e-4 <= float(each["optimizer.lr"]) <= 1e-3
    assert {len(each) for each in drawn} == {2, 3}
    # what is checked before the first job meets each branch
    probes = found.probes()
    assert {each["model"] for each in probes} == {"rnn", "lstm", "gru"}
    assert {each.get("model.dropout") for each in probes} >= {"0.1", "0.5"}


def test_a_grid_of_a_conditional_space_has_each_setting_once() -> None:
    found = space({"model": ["rnn", "lstm"]}, {"model=lstm": {"model.num_layers": "range(1,4)"}})
    assert list(found.grid()) == [
        {"model": "rnn"}, *({"model": "lstm", "model.num_layers": n} for n in (1, 2, 3)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("params", "when", "said"),
    [
        ({"optimizer.lr": "interval(1, 1)"}, {}, "nothing in it"),
        ({"model.num_layers": "range(3, 3)"}, {}, "nothing in it"),
        ({"optimizer.lr": "tag(log, interval(0, 1))"}, {}, "needs ends above 0"),
        ({"optimizer.lr": "tag(lgo, interval(1, 2))"}, {}, "unknown tag 'lgo'; did you mean 'log'?"),
        ({"model": ["rnn"], "seed": "interval(0, 3)"}, {}, "no end of values"),
        ({}, {}, "needs something to search"),
        ({"model": ["rnn", "lstm"]}, {"modle=lstm": {"seed": 1}}, "seed repeats a trial"),
        ({"model": ["rnn", "lstm"]}, {"modle=lstm": {"model.dropout": 1}}, "nothing sets modle; did you mean 'model'?"),
        ({"model": ["rnn", "lstm"]}, {"model=lstn": {"model.dropout": 1}}, "is never lstn; did you mean 'lstm'?"),
        ({"model": ["rnn", "lstm"]}, {"model=lstm": 3}, "must be a mapping"),
    ],
)
def test_a_space_that_cannot_work_is_refused(params: dict[str, Any], when: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said.replace("?", r"\?")):
        space(params, when)


def test_two_conditions_that_set_one_key_are_refused() -> None:
    found = space({"model": ["rnn", "lstm"], "model.dropout": [0, 0.1]}, {"model=lstm": {"model.dropout": "0.5"}})
    with pytest.raises(InputError, match=r"sets model\.dropout, which is set already"):
        found.probes()


# ---- random search -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_random_search_needs_no_optuna(tmp_path: Path) -> None:
    """In a process of its own, which tells what it imported."""
    arguments = ["-m", *TINY, "hydra/sweeper=random", "hydra.sweeper.n_trials=2", LR, "model=gru,rnn"]
    place = f"hydra.sweep.dir={tmp_path}/a"
    code = (
        f"import sys; from rnnlab.commands import train; train.main({[*arguments, place]!r}); "
        "sys.exit('optuna' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert states(tmp_path / "a") == ["done"] * 2


def test_a_random_search_repeats(instant: None, tmp_path: Path) -> None:
    arguments = ["hydra/sweeper=random", LR, "model=gru,rnn"]
    assert train(tmp_path / "a", *arguments, "hydra.sweeper.n_trials=3") == 0
    assert train(tmp_path / "b", *arguments, "hydra.sweeper.n_trials=2") == 0
    assert told(tmp_path / "b") == told(tmp_path / "a")[:2]
    # a larger budget goes on where the smaller one ended
    assert resume(tmp_path / "b", "hydra.sweeper.n_trials=3") == 0
    assert told(tmp_path / "b") == told(tmp_path / "a")
    assert train(tmp_path / "c", *arguments, "hydra.sweeper.seed=1", "hydra.sweeper.n_trials=1") == 0
    assert told(tmp_path / "c")[0] != told(tmp_path / "a")[0]
    assert len({str(each) for each in told(tmp_path / "a")}) == 3


def test_a_small_space_ends_before_the_budget() -> None:
    found = space({"model": ["rnn", "lstm"], "model.num_layers": "range(1, 4)"})
    searcher = RandomSearch(n_trials=100)
    searcher.open(found, search_module.Objective("val/loss", "min", 1), Path(), {})
    trials = []
    while (trial := searcher.ask()) is not None:
        trials.append(trial)
    assert len({str(trial.settings) for trial in trials}) == len(trials) == 6


def test_seeds_repeat_each_trial(instant: None, tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert train(path, "hydra/sweeper=random", "hydra.sweeper.n_trials=2", LR, "seed=0,1") == 0
    assert states(path) == ["done"] * 4
    trials = told(path)
    assert trials[0] == trials[1] != trials[2] == trials[3]
    assert [RunDirectory(run).config["seed"] for run in sorted(path.glob("[0-9]_*"))] == [0, 1, 0, 1]


def test_a_dry_run_of_a_search_leaves_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "s", "hydra/sweeper=random", "hydra.sweeper.n_trials=3", LR, "sweep.dry_run=true") == 0
    printed = capfd.readouterr().out
    assert "optimizer.lr  0.0001 to 0.1, logarithmic" in printed
    assert printed.count("  trial ") == 3
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["hydra/sweeper=randon"], "no such hydra/sweeper; did you mean 'random'?"),
        (["hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials=0: must be greater than 0"),
        (["hydra.sweeper.n_trails=3"], "did you mean 'hydra.sweeper.n_trials'?"),
        (["hydra.sweeper.n_trials=null"], "without hydra.sweeper.timeout needs a number"),
        (["hydra/sweeper=optuna", "hydra.sweeper.sampler=tpee"], "did you mean 'tpe'?"),
        (["hydra/sweeper=optuna", "hydra.sweeper.pruner=hyperbond"], "did you mean 'hyperband'?"),
        (["hydra/sweeper=optuna", "hydra.sweeper.sampler=grid"], "sampler=grid: optimizer.lr=0.0001 to 0.1"),
        (["optimizer.lr=interval(1,1)"], "there is nothing in it"),
        (["model.hiden_size=interval(1,2)"], "did you mean 'model.hidden_size'?"),
        (["model.cell.mode=zoh,exact", "model=gru,rnn"], "model.cell.mode"),
        (["optimizer.lr=interval(-1,1)"], "Invalid learning rate: -1"),
        (["model.num_layers=interval(1.5,3)"], "must be a valid integer"),
        (["sweep.retries=1,2"], "has one value"),
    ],
)
def test_a_search_that_cannot_work_says_so_and_starts_nothing(
    arguments: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "s", "hydra/sweeper=random", LR, *arguments) == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.hidden_size=interval(2,6)", "model.hidden_size=interval(2,6) draws fractions: int(interval(2,6))"),
        ("model.hidden_size=interval(2.5,6)", "must be a valid integer"),
        ("optimizer.lr=interval(-2,-1)", "of the 3 settings that were checked cannot work; no job was started"),
        ("optimizer.lr=interval(0,inf)", "optimizer.lr=interval(0,inf): its ends must be finite numbers"),
        ("optimizer.lr=interval(nan,1)", "its ends must be finite numbers"),
    ],
)
def test_an_interval_that_cannot_be_drawn_from_is_refused_before_the_first_trial(
    override: str, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "s", "hydra/sweeper=random", override) == 2
    error = capfd.readouterr().err
    assert said in error and error.count("\n") == 1, error
    assert not (tmp_path / "s").exists()


def test_whole_numbers_of_an_interval_are_drawn(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    dry = ("hydra/sweeper=random", "model.hidden_size=int(interval(2,6))", "sweep.dry_run=true")
    assert train(tmp_path / "s", *dry) == 0
    assert "2 to 6, whole numbers" in capfd.readouterr().out


def test_a_key_that_only_some_jobs_have_is_told_from_one_that_none_has(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "hydra/sweeper=random",
        "model=gru,rnn",
        "model.cell.nonlinearity=tanh,relu",
        "hydra.sweeper.n_trials=2",
    ]
    assert train(tmp_path / "s", *arguments) == 2
    assert "it fits other jobs, but not model=gru" in capfd.readouterr().err
    assert not (tmp_path / "s").exists()


def test_without_optuna_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rnnlab.extras.find_spec", lambda name: None)
    assert train(tmp_path / "s", "hydra/sweeper=optuna", LR) == 2
    error = capfd.readouterr().err
    assert "make install EXTRAS=optuna" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "s").exists()


def test_a_search_that_was_stopped_goes_on_as_it_would_have(
    instant: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["hydra/sweeper=random", "hydra.sweeper.n_trials=4", LR]
    assert train(tmp_path / "whole", *arguments) == 0
    started: list[RunDirectory] = []

    def dying(directory: RunDirectory, *rest: Any, **options: Any) -> None:
        started.append(directory)
        if len(started) == 3:
            os.kill(os.getpid(), signal.SIGINT)
            return  # it never got so far
        execute_job(directory, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr("rnnlab.launch.job.execute_job", dying)
        assert train(tmp_path / "cut", *arguments) == 130
    assert states(tmp_path / "cut") == ["done", "done", "queued"]
    # the same command goes on, as rnnlab resume does
    assert train(tmp_path / "cut", *arguments) == 0
    assert told(tmp_path / "cut") == told(tmp_path / "whole")
    assert states(tmp_path / "cut") == ["done"] * 4
    assert train(tmp_path / "cut", *arguments, "optimizer=sgd") == 2  # another command is another sweep
    assert resume(tmp_path / "cut") == 0


def test_the_space_of_a_search_stays(instant: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "s", "hydra/sweeper=random", "hydra.sweeper.n_trials=1", LR) == 0
    assert resume(tmp_path / "s", "optimizer.lr=interval(1e-3,1)") == 2
    assert "goes on over the space that it began with" in capfd.readouterr().err


def test_sweepers_of_others_resume_what_they_planned(
    instant: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s"
    assert train(path, "seed=0,1") == 0
    facts = json.loads((path / "sweep.json").read_text())
    overrides = [*facts["overrides"], "hydra/sweeper=theirs", "model.dropout=interval(0,1)"]
    (path / "sweep.json").write_text(json.dumps({**facts, "sweeper": "hydra_plugins.theirs.X", "overrides": overrides}))
    RunDirectory(path / "1_seed=1").update_status("queued")
    assert resume(path) == 0
    assert set(states(path)) == {"done"}
    assert resume(path, "seed=3") == 2
    assert "hydra_plugins.theirs.X, knows further jobs" in capfd.readouterr().err


@pytest.mark.parametrize("sweeper", ["random", pytest.param("optuna", marks=pytest.mark.needs("optuna"))])
def test_a_search_trains_its_trials_in_fleets(
    sweeper: str, instant: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: list[list[int]] = []

    def ask(self: Fleets, look: Any, jobs: Sequence[LaunchedJob], settings: Settings) -> Stacks:
        return Stacks(Findings(0, 0, on_gpu=False), [("GRU", [job.name for job in jobs])], {})

    def run(self: Fleets, jobs: Sequence[LaunchedJob], settings: Settings, stop: Stop, watch: Watch) -> None:
        parts.append([len(part) for part in self.parts(jobs)])
        assert not settings.further(9)
        for job in jobs:
            watch.started(job.name, job.directory, job.config)
            execute_job(job.directory)
            watch.ended(job.name)

    for name, value in {"begin": lambda self: None, "_ask": ask}.items():
        monkeypatch.setattr(Fleets, name, value)
    monkeypatch.setattr(Local, "run", run)
    path = tmp_path / "s"
    fleet = (
        "hydra/launcher=fleet",
        "hydra.launcher.members=4",
        "hydra.launcher.n_jobs=1",
        "hydra.launcher.figures=none",
    )
    assert train(path, f"hydra/sweeper={sweeper}", "hydra.sweeper.n_trials=6", LR, *fleet) == 0
    assert parts == [[4], [2]]
    assert resume(path, "hydra.sweeper.n_trials=9") == 0
    assert parts[2:] == [[3]]
    assert len({str(each) for each in told(path)}) == 9 and set(states(path)) == {"done"}


# ---- Optuna ------------------------------------------------------------------------------------------


def study(place: Path, name: str = "rnnlab") -> Any:
    import optuna

    from rnnlab.search.study import quiet, storage_at

    with quiet():
        return optuna.load_study(study_name=name, storage=storage_at(str(place)))


def endings(place: Path) -> list[str]:
    return [trial.state.name for trial in study(place).trials]


@pytest.fixture
def optuna() -> Any:
    import optuna

    return optuna


OPTUNA = ("hydra/sweeper=optuna", "hydra.sweeper.startup_trials=2")


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "random"])
def test_optuna_is_told_the_validation_score(sampler: str, optuna: Any, instant: None, tmp_path: Path) -> None:
    path = tmp_path / "s"
    space = [LR, "model.hidden_size=range(4,9,2)"] if sampler == "cmaes" else [LR, "model=gru,rnn"]
    assert train(path, *OPTUNA, f"hydra.sweeper.sampler={sampler}", "hydra.sweeper.n_trials=3", *space) == 0
    trials = study(path / "search.db").trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 3
    for trial, entry in zip(trials, json.loads((path / "jobs.json").read_text()), strict=True):
        metrics = RunDirectory(path / entry["directory"]).metrics
        assert trial.value == metrics["val/loss"] != metrics["test/loss"]
        assert float(entry["trial"]["settings"]["optimizer.lr"]) == pytest.approx(
            trial.params["optimizer.lr"], rel=1e-4
        )
    facts = json.loads((path / "sweep.json").read_text())["search"]
    assert facts["study"] == "rnnlab"


def test_a_grid_is_each_setting_once_and_the_mean_over_seeds(optuna: Any, instant: None, tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert train(path, "hydra/sweeper=optuna", "hydra.sweeper.sampler=grid", "model=gru,rnn", "mode=max", "seed=0,1",
                 "monitor=val/mae") == 0  # fmt: skip
    found = study(path / "search.db")
    assert found.direction.name == "MAXIMIZE"
    assert [trial.params for trial in found.trials] == [{"model": "gru"}, {"model": "rnn"}]
    scores = [RunDirectory(run).metrics["val/mae"] for run in sorted(path.glob("[01]_*"))]
    assert found.trials[0].value == pytest.approx(sum(scores) / 2)


@pytest.mark.slow
def test_tpe_goes_on_as_it_would_have(optuna: Any, instant: None, tmp_path: Path) -> None:
    arguments = [*OPTUNA, LR, "model=gru,rnn"]
    assert train(tmp_path / "whole", *arguments, "hydra.sweeper.n_trials=5") == 0
    assert train(tmp_path / "cut", *arguments, "hydra.sweeper.n_trials=3") == 0
    assert resume(tmp_path / "cut", "hydra.sweeper.n_trials=5") == 0
    assert told(tmp_path / "cut") == told(tmp_path / "whole")


PRUNED = (*OPTUNA, "hydra.sweeper.pruner=median", "hydra.sweeper.startup_trials=1", "trainer.max_epochs=6",
          "hydra.sweeper.sampler=grid", "optimizer.lr=3e-3,1e-9", "model=gru")  # fmt: skip


@pytest.mark.slow
def test_a_run_that_is_not_worth_going_on_ends_early_and_counts(
    optuna: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s"
    assert train(path, *PRUNED, "seed=0,1") == 0
    printed = capfd.readouterr().out
    assert endings(path / "search.db") == ["COMPLETE", "PRUNED"]
    assert states(path) == ["done", "done", "pruned"]  # the other seed of the pruned one never ran
    good, bad = (read_run(next(path.glob(f"{n}_*"))) for n in (0, 2))
    assert len(good.epochs["epoch"]) == 6
    assert len(bad.epochs["epoch"]) == bad.status.pruned == bad.metrics["epochs"] < 6
    assert bad.reason == f"pruned after epoch {bad.status.pruned}"
    assert bad.metrics["val/loss"] > 0 and "test/loss" not in bad.metrics
    assert "2 done, 1 pruned (after " in printed
    assert printed.count("lr=1e-09") == 1  # told, not ranked
    assert resume(path) == 0
    assert states(path) == ["done", "done", "pruned"]
    # the study's drawings stand in the page, which asks no network for them
    page = (path / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 3


def test_a_run_asks_through_its_directory_alone(optuna: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a cluster, where nothing but the file system is shared; and a study that is gone ends no run."""
    path = tmp_path / "s"
    jobs: list[RunDirectory] = []
    monkeypatch.setattr(Basic, "run", lambda self, todo, *_: jobs.extend(job.directory for job in todo))
    monkeypatch.setattr(
        search_module.Search, "_take", lambda self, room, take=search_module.Search._take: take(self, 2)
    )
    with monkeypatch.context() as patch:
        patch.setattr(search_module.Search, "further", _once(search_module.Search.further))
        train(path, *PRUNED)
    assert [run.status.pruning["number"] for run in jobs] == [0, 1]
    moved = path.rename(tmp_path / "moved")
    runs = [RunDirectory(moved / run.path.name) for run in jobs]
    execute_job(runs[0])
    (moved / "search.db").rename(moved / "away.db")
    execute_job(runs[1])
    assert [run.status.state for run in runs] == ["done", "done"]
    assert runs[1].status.pruned is None
    assert "nothing is pruned" in (runs[1].path / "train.log").read_text()
    assert not (moved / "search.db").exists()


def _once(further: Any) -> Any:
    calls: list[int] = []

    def first(self: Any, room: int) -> Any:
        calls.append(room)
        return further(self, room) if len(calls) == 1 else []

    return first


@pytest.mark.slow
def test_a_failed_trial_is_tried_again_in_its_place(optuna: Any, instant: None, tmp_path: Path) -> None:
    path = tmp_path / "s"
    arguments = [*OPTUNA, "hydra.sweeper.sampler=grid", "optimizer.lr=1e-3,1e30"]
    assert train(path, *arguments) == 1
    assert endings(path / "search.db") == ["COMPLETE", "FAIL"]
    run = RunDirectory(next(path.glob("1_*")))
    run.write_config({**run.config, "optimizer": {**run.config["optimizer"], "lr": 0.01}})
    assert resume(path, "--force") == 0
    assert endings(path / "search.db") == ["COMPLETE", "FAIL", "COMPLETE"]
    assert study(path / "search.db").trials[2].params == {"optimizer.lr": "1e+30"}
    assert states(path) == ["done", "done"]


def test_a_trial_that_was_never_written_down_is_not_lost(
    optuna: Any, instant: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the asking and the writing, and between a run's end and its telling."""

    class Killed(BaseException):
        pass

    def killed(*_: Any) -> None:
        raise Killed

    path = tmp_path / "s"
    arguments = [*OPTUNA, "hydra.sweeper.n_trials=3", LR]
    for method in ("_write_down", "_settle"):
        with monkeypatch.context() as patch:
            patch.setattr(search_module.Search, method, killed)
            with pytest.raises(Killed):
                train(path, *arguments)  # the same command: the second time it goes on
        assert endings(path / "search.db") == ["RUNNING"]
    assert states(path) == ["done"]
    assert resume(path) == 0
    assert endings(path / "search.db") == ["COMPLETE"] * 3
    assert states(path) == ["done"] * 3


@pytest.mark.slow
@pytest.mark.parametrize("file", ["shared.db", "shared.journal"])
def test_two_sweeps_share_a_study_and_its_budget(file: str, optuna: Any, instant: None, tmp_path: Path) -> None:
    shared = [*OPTUNA, f"hydra.sweeper.storage={tmp_path / file}", "hydra.sweeper.study_name=lr", LR]
    assert train(tmp_path / "a", *shared, "hydra.sweeper.n_trials=1") == 0
    assert train(tmp_path / "b", *shared, "hydra.sweeper.n_trials=3") == 0
    assert len(states(tmp_path / "a")) == 1
    assert len(states(tmp_path / "b")) == 2
    found = study(tmp_path / file, "lr")
    assert [trial.state.name for trial in found.trials] == ["COMPLETE"] * 3
    assert [trial.user_attrs["sweep"].rpartition("/")[2] for trial in found.trials] == list("abb")


@pytest.mark.slow
def test_who_comes_when_the_shared_budget_is_spent_finds_nothing_to_do(
    optuna: Any, instant: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engine_module, "print_leaderboard", print_leaderboard)
    monkeypatch.setattr(report_command, "render", lambda *_: "what Optuna draws takes seconds")
    path, place = tmp_path / "b", tmp_path / "shared.db"
    shared = [*OPTUNA, f"hydra.sweeper.storage={place}", LR]
    assert train(tmp_path / "a", *shared, "hydra.sweeper.n_trials=2") == 0
    why = (f"no jobs: the study 'rnnlab' in {place} has its 2 trials (2 complete) and "
           "hydra.sweeper.n_trials=2; a larger hydra.sweeper.n_trials adds more")  # fmt: skip
    # new, by the same command again, and resumed: the ledger stays what it is, a sweep without jobs
    for again in (lambda: train(path, *shared, "hydra.sweeper.n_trials=2"), lambda: resume(path, *STORAGE)) * 2:
        capfd.readouterr()
        assert again() == 0
        printed, error = capfd.readouterr()
        assert printed.count(why) == 1 and error == ""
        assert states(path) == []
        assert not list(path.glob("*/")) and not (path / "report.html").exists()
    for places in ([path], [tmp_path / "a", path]):
        assert report_command.main([str(place) for place in places]) == 0
        printed, error = capfd.readouterr()
        assert printed.count(why) == 1 and error == ""
    assert not (path / "report.html").exists()
    assert resume(path, *STORAGE, "hydra.sweeper.n_trials=3") == 0
    assert states(path) == ["done"]
    capfd.readouterr()
    assert report_command.main([str(path)]) == 0
    assert "no jobs" not in capfd.readouterr().out


def test_who_asks_beyond_the_budget_takes_nothing_from_a_larger_one(optuna: Any, tmp_path: Path) -> None:
    """Two ask for the last trial at once: one gets none, and that one counts for nothing later on."""
    from rnnlab.search.optuna_search import OptunaSearch

    def searcher(name: str, n_trials: int) -> OptunaSearch:
        made = OptunaSearch(n_trials, sampler="random", storage=str(tmp_path / "shared.journal"))
        made.open(space({"optimizer.lr": "interval(1e-4, 1e-1)"}), search_module.Objective("val/loss", "min", 1),
                  tmp_path / name, {})  # fmt: skip
        made.close()  # it gives no signs of life
        return made

    late, other = searcher("a", 1), searcher("b", 1)
    ask = late.study.ask

    def after_the_other() -> Any:
        assert other.ask() is not None
        return ask()

    late.study.ask = after_the_other  # type: ignore[method-assign]
    assert late.ask() is None
    assert endings(tmp_path / "shared.journal") == ["RUNNING", "FAIL"]
    larger = searcher("c", 2)
    assert larger.ask() is not None
    assert larger.ask() is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("other", "said"),
    [
        (["optimizer.lr=interval(1e-4,1)"], "optimizer.lr is 0.0001 to 0.1, logarithmic there and 0.0001 to 1"),
        ([LR, "data.noise=0.2"], "data.noise is not set there and 0.2 here"),
        ([LR, "monitor=val/mae"], "is of another search"),
    ],
)
def test_a_study_of_another_search_is_refused(
    other: list[str], said: str, optuna: Any, instant: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shared = [*OPTUNA, f"hydra.sweeper.storage={tmp_path / 'shared.db'}", "hydra.sweeper.n_trials=1"]
    assert train(tmp_path / "a", *shared, LR) == 0
    capfd.readouterr()
    assert train(tmp_path / "b", *shared, *other) == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "b").exists()


@pytest.mark.slow
def test_what_a_lost_process_had_is_taken_over(
    optuna: Any, instant: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rnnlab.search import optuna_search
    from rnnlab.search import study as study_file

    monkeypatch.setattr(study_file, "HEARTBEAT", 1)
    place = tmp_path / "shared.db"
    shared = [*OPTUNA, f"hydra.sweeper.storage={place}", "hydra.sweeper.n_trials=2", LR]

    class Killed(BaseException):
        pass

    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("rnnlab.launch.job.execute_job", killed)
        with pytest.raises(Killed):
            train(tmp_path / "a", *shared)
    assert endings(place) == ["RUNNING"]
    with pytest.MonkeyPatch.context() as patch:
        # as if its last sign of life were long ago
        import optuna.storages._rdb.storage as rdb

        patch.setattr(rdb.RDBStorage, "_get_stale_trial_ids", lambda self, study_id: [1], raising=True)
        taken = optuna_search.OptunaSearch.ask

        def ask(self: Any) -> Any:
            trial = taken(self)
            patch.setattr(rdb.RDBStorage, "_get_stale_trial_ids", lambda self, study_id: [])
            return trial

        patch.setattr(optuna_search.OptunaSearch, "ask", ask)
        assert train(tmp_path / "b", *shared) == 0
    assert endings(place) == ["FAIL", "COMPLETE", "COMPLETE"]
    trials = study(place).trials
    assert trials[1].params == trials[0].params  # the budget of two is not used up by it
    # who was lost comes back: its run is finished, and the study keeps what it has
    assert resume(tmp_path / "a", *STORAGE) == 0
    assert states(tmp_path / "a") == ["done"]
    assert endings(place) == ["FAIL", "COMPLETE", "COMPLETE"]


@pytest.mark.parametrize("kind", ["file", "url"])
def test_searches_that_begin_at_once_open_one_study(kind: str, optuna: Any, tmp_path: Path) -> None:
    from rnnlab.search.optuna_search import OptunaSearch
    from rnnlab.search.study import quiet, storage_at

    file = tmp_path / "shared.db"
    place, sampler = (str(file), "grid") if kind == "file" else (f"sqlite:///{file}", "tpe")
    if kind == "file":
        with quiet():
            storage_at(place)  # that is made: all of them come to the grid at the same time
    grid = Space((Parameter("model.hidden_size", Choice(tuple(map(str, range(1, 11)))), name="model.hidden_size"),), {})
    together = Barrier(4)

    def begin(name: str) -> None:
        search = OptunaSearch(sampler=sampler, storage=place)
        search.check(grid)
        together.wait()
        search.open(grid, Objective("val/loss", "min", 1), tmp_path / name, {})
        search.close()

    with quiet(), ThreadPoolExecutor(4) as pool:  # threads share their warnings' filters
        assert list(pool.map(begin, "abcd")) == [None] * 4
    assert endings(file) == (["WAITING"] * 10 if sampler == "grid" else [])


# ---- in processes of their own -------------------------------------------------------------------------


LOCAL = ("hydra/launcher=local", "hydra.launcher.n_jobs=2")


@pytest.mark.slow
def test_a_search_killed_with_everything_ends_with_its_budget(optuna: Any, tmp_path: Path) -> None:
    path, moments = tmp_path / "s", random.Random(0)
    arguments = ["train", "-m", *TINY, *LOCAL, *OPTUNA, "trainer.max_epochs=8", "hydra.sweeper.pruner=hyperband", LR,
                 "hydra.sweeper.n_trials=8", "trainer.checkpoint_seconds=0.0", f"hydra.sweep.dir={path}"]  # fmt: skip
    for _ in range(3):
        process = start(*arguments)
        wait_until((path / "jobs.json").exists, process)
        time.sleep(moments.uniform(0, 4))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    ended(start("resume", str(path)))
    assert len(states(path)) == 8
    assert set(states(path)) <= {"done", "pruned"}
    told = endings(path / "search.db")
    assert len(told) == 8
    assert set(told) <= {"COMPLETE", "PRUNED"}


TAKES_TURNS = """
import sys, time
from pathlib import Path
from rnnlab.commands import train
from rnnlab.search.optuna_search import OptunaSearch

other, *arguments = sys.argv[1:]
takes, asked = OptunaSearch.ask, []

def ask(self):
    while asked and not Path(other, "jobs.json").exists():
        time.sleep(0.01)
    asked.append(self)
    return takes(self)

OptunaSearch.ask = ask
sys.exit(train.main(arguments))
"""
"""A search that asks for its second trial when another one has its first: neither is so fast as to have them all."""


@pytest.mark.slow
def test_two_processes_at_once_share_a_study(optuna: Any, tmp_path: Path) -> None:
    place = tmp_path / "shared.db"
    a, b = tmp_path / "a", tmp_path / "b"
    shared = ["-m", *TINY, *OPTUNA, f"hydra.sweeper.storage={place}", "hydra.sweeper.n_trials=6", LR]
    both = [
        subprocess.Popen(
            [sys.executable, "-c", TAKES_TURNS, str(other), *shared, f"hydra.sweep.dir={path}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )
        for path, other in ((a, b), (b, a))
    ]  # fmt: skip
    for process in both:
        ended(process)
    shares = [states(a), states(b)]
    assert all(shares)
    assert [*shares[0], *shares[1]] == ["done"] * 6
    assert endings(place).count("COMPLETE") == 6


# ---- the ready ones ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", choices("sweep"))
def test_every_ready_sweep_composes_and_says_what_it_asks(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = (CONF / "sweep" / f"{name}.yaml").read_text()
    for heading in ("Question:", "Command:", "Minutes:", "Expected:"):
        assert f"# {heading} " in text
    assert f"rnnlab train -m sweep={name}" in text
    path = tmp_path / "s"
    assert train_command.main(["-m", f"sweep={name}", "sweep.dry_run=true", f"hydra.sweep.dir={path}"]) == 0
    assert "checked" in capfd.readouterr().out
    assert yaml.safe_load(text)["hydra"]["sweeper"]["params"]


def test_the_ready_sweeps_are_listed(capfd: pytest.CaptureFixture[str]) -> None:
    assert list_command.main(["sweeps"]) == 0
    listed = capfd.readouterr().out
    assert all(name in listed for name in choices("sweep"))
    assert "rnnlab train -m sweep=" in listed


def test_the_best_of_a_ready_sweep_can_be_pasted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    narrowed = ["model=gru,lstm", "model.hidden_size=4", "trainer.max_epochs=1", "data.num_samples=40", "seed=0"]
    path = tmp_path / "s"
    assert train_command.main(["-m", "sweep=architectures", "hydra/launcher=basic", "instruments=none", *narrowed,
                               f"hydra.sweep.dir={path}"]) == 0  # fmt: skip
    printed = capfd.readouterr().out
    assert len(list(path.glob("*/metrics.json"))) == 2
    again = next(line for line in printed.splitlines() if line.startswith("Best again")).split()[4:]
    assert train_command.main([*again, f"hydra.run.dir={tmp_path / 'again'}"]) == 0
    best = min(RunDirectory(run.parent).metrics["val/loss"] for run in path.glob("*/metrics.json"))
    assert RunDirectory(tmp_path / "again").metrics["val/loss"] == best


def test_a_ready_sweep_without_m_is_one_run_and_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """As the command by which the leaderboard repeats the best run."""
    options = ("trainer.max_epochs=1", "trainer.accelerator=cpu", "data.num_samples=40", "model.hidden_size=4")
    assert train_command.main(["sweep=learning_rate", *options, f"hydra.run.dir={tmp_path / 'r'}"]) == 0
    said = capfd.readouterr().err
    assert "sweep=learning_rate: this is one run with its settings; the sweep itself takes -m" in said
    assert RunDirectory(tmp_path / "r").status.state == "done"
