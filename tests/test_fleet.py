"""Fleets: runs trained as one network have the numbers, the files and the end that each would have alone."""

import itertools
import json
import math
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import compose
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from rnnlab.commands import inspect as inspect_command
from rnnlab.commands import resume as resume_command
from rnnlab.commands import train as train_command
from rnnlab.data.sine import Sine
from rnnlab.errors import Interrupted, RunFailed
from rnnlab.launch.fleet import divided
from rnnlab.launch.job import execute_job
from rnnlab.launch.launcher import LaunchedJob
from rnnlab.network import Network
from rnnlab.runs import fleet as fleet_module
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.evaluation import evaluate
from rnnlab.runs.execution import draw, execute
from rnnlab.runs.fleet import Fleet, FleetRun
from rnnlab.runs.preparation import prepare
from rnnlab.runs.recorder import Recorder, StopSignals
from rnnlab.runs.stacking import hindrance, signature, try_together

TINY = ("data.num_samples=60", "data.length=12", "data.future_length=4", "data.batch_size=8", "model.hidden_size=5",
        "trainer.max_epochs=3", "trainer.accelerator=cpu", "instruments=none", "trainer.progress=none")  # fmt: skip
DOUBLE = "trainer.precision=64-true"
CLASSES = tuple(override for override in TINY if "future" not in override)


def alone(path: Path, overrides: Sequence[str], resume: bool = False) -> RunDirectory:
    directory = RunDirectory.open(path) if resume else RunDirectory.claim(path)
    execute(directory, compose(*overrides), quiet=True, resume=resume)
    return directory


def together(
    path: Path, members: Sequence[Sequence[str]], stop: StopSignals | None = None, resume: bool = False
) -> tuple[list[RunDirectory], list[BaseException | None], list[str]]:
    """Runs trained as one, what each of them raised, and what could not be done together."""
    configs = [compose(*overrides) for overrides in members]
    directories = [RunDirectory.open(path / str(k)) if resume else RunDirectory.claim(path / str(k))
                   for k in range(len(members))]  # fmt: skip
    raised: list[BaseException | None] = [None] * len(members)
    said: list[str] = []

    def job(fleet_run: FleetRun) -> None:
        try:
            execute(
                directories[fleet_run.number], configs[fleet_run.number], quiet=True, fleet_run=fleet_run, resume=resume
            )
        except (Interrupted, RunFailed) as error:
            raised[fleet_run.number] = error

    Fleet(stop or StopSignals(), lambda fleet_run, reason: said.append(reason)).run([job] * len(members))
    return directories, raised, said


def assert_same_rows(one: RunDirectory, other: RunDirectory, tolerance: float) -> None:
    assert len(one.epochs) == len(other.epochs) > 0
    for mine, its in zip(one.epochs, other.epochs, strict=True):
        assert list(mine) == list(its)
        for name in mine:
            assert mine[name] == pytest.approx(its[name], rel=tolerance, abs=tolerance), name


def assert_same_run(one: RunDirectory, other: RunDirectory, tolerance: float) -> None:
    assert_same_rows(one, other, tolerance)
    timeless = [{k: v for k, v in d.metrics.items() if not k.startswith("seconds")} for d in (one, other)]
    assert timeless[0] == pytest.approx(timeless[1], rel=tolerance, abs=tolerance)
    assert one.status.state == other.status.state


# ---- the numbers of each alone ---------------------------------------------------------------------------


SLOWER = [pytest.param(name, marks=pytest.mark.slow) for name in ("lstm", "lru", "rnn", "min_gru", "indrnn")]


@pytest.mark.parametrize("model", ["gru", *SLOWER])
@pytest.mark.slow
def test_every_epoch_is_that_of_each_alone_in_double_precision(model: str, tmp_path: Path) -> None:
    shared = (*TINY, DOUBLE, f"model={model}", "model.num_layers=2", "trainer.max_epochs=2")
    varied = ("seed=0 optimizer.lr=0.01 model.dropout=0.3", "seed=1 optimizer.lr=0.001 model.dropout=0.0",
              "seed=2 optimizer.weight_decay=0.1 model.dropout=0.5 trainer.gradient_clip_val=0.05")  # fmt: skip
    members = [(*shared, *each.split()) for each in varied]
    directories, raised, said = together(tmp_path / "fleet", members)
    assert said == [] and raised == [None] * 3
    for k, overrides in enumerate(members):
        assert_same_run(directories[k], alone(tmp_path / f"alone{k}", overrides), 1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        "optimizer=adamw scheduler=cosine",
        "optimizer=sgd optimizer.nesterov=true scheduler=plateau",
        "optimizer=rmsprop optimizer.momentum=0.5 trainer.gradient_clip_algorithm=value trainer.gradient_clip_val=0.01",
        "scheduler=one_cycle trainer.gradient_clip_val=null",
        "task.distribution=gaussian model.initial_state=learned model.bidirectional=true",
        "data.augmentation.jitter=0.1",
        "model.embedding_dropout=0.2 model.readout_dropout=0.3",
        "model.recurrent_dropout=0.3 model.zoneout=0.1",
    ],
)
def test_whatever_moves_the_weights_moves_them_as_alone(overrides: str, tmp_path: Path) -> None:
    members = [(*TINY, DOUBLE, *overrides.split(), f"seed={k}", f"optimizer.lr={rate}")
               for k, rate in enumerate((0.01, 0.003))]  # fmt: skip
    directories, _, said = together(tmp_path / "fleet", members)
    assert said == []
    for k, member in enumerate(members):
        assert_same_run(directories[k], alone(tmp_path / f"alone{k}", member), 1e-10)


@pytest.mark.slow
def test_in_single_precision_it_is_the_same_within_rounding(tmp_path: Path) -> None:
    members = [(*TINY, f"seed={k}") for k in range(3)]
    directories, _, said = together(tmp_path / "fleet", members)
    assert said == []
    for k, member in enumerate(members):
        assert_same_run(directories[k], alone(tmp_path / f"alone{k}", member), 2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("data", ["classification", "adding", "parity", "moving_shapes", "next_shapes"])
def test_classes_values_and_tokens_of_sequences_of_any_length(data: str, tmp_path: Path) -> None:
    shorter = ["data.min_length=5"] if data == "classification" else []
    members = [(*CLASSES, DOUBLE, f"data={data}", *shorter, f"seed={k}") for k in range(2)]
    directories, _, said = together(tmp_path / "fleet", members)
    assert said == []
    for k, member in enumerate(members):
        assert_same_run(directories[k], alone(tmp_path / f"alone{k}", member), 1e-9)


@pytest.mark.slow
@pytest.mark.slow
def test_a_linear_part_goes_with_every_member_and_through_a_resume(tmp_path: Path) -> None:
    shared = ("data=csv", "data.horizon=3", "model.hidden_size=4", "trainer.accelerator=cpu", "instruments=none",
              "trainer.progress=none", "trainer.steps_per_epoch=30", DOUBLE)  # fmt: skip
    members = [(*shared, "trainer.max_steps=90", f"seed={seed}") for seed in (0, 1)]
    directories, raised, said = together(tmp_path / "fleet", members)
    assert said == [] and raised == [None, None]
    for k, overrides in enumerate(members):
        own = alone(tmp_path / f"alone{k}", overrides)
        assert "baseline/ridge/mae" in own.metrics
        assert_same_run(directories[k], own, 1e-9)
    # what was corrected after 60 steps does not stay in the weights that train on
    shorter = alone(tmp_path / "shorter", (*shared, "trainer.max_steps=60", "seed=0"))
    execute(shorter, shorter.config, quiet=True, resume=True, longer={"trainer.max_steps": 90})
    assert_same_run(RunDirectory.open(shorter.path), RunDirectory.open(tmp_path / "alone0"), 1e-7)
    assert inspect_command.main([str(shorter.path)]) == 0


def test_members_may_have_data_of_their_own(tmp_path: Path) -> None:
    members = [(*TINY, DOUBLE, f"data.seed={k}", f"data.noise={0.1 * k}") for k in range(2)]
    directories, _, said = together(tmp_path / "fleet", members)
    assert said == []
    for k, member in enumerate(members):
        assert_same_run(directories[k], alone(tmp_path / f"alone{k}", member), 1e-10)


def test_members_of_one_data_set_keep_it_in_memory_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    load = Sine.load
    monkeypatch.setattr(Sine, "load", lambda self, split: loaded.append(split) or load(self, split))
    together(tmp_path, [(*TINY, f"seed={k}") for k in range(4)])
    assert sorted(loaded) == ["test", "train", "val"]


# ---- each its own end -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_each_stops_early_by_its_own_score(tmp_path: Path) -> None:
    members = [(*TINY, DOUBLE, f"optimizer.lr={rate}", "trainer.max_epochs=8", "early_stopping.patience=1")
               for rate in (0.003, 0.3, 1.0)]  # fmt: skip
    directories, _, _ = together(tmp_path / "fleet", members)
    for k, member in enumerate(members):
        assert_same_run(directories[k], alone(tmp_path / f"alone{k}", member), 1e-8)
    lengths = {len(directory.epochs) for directory in directories}
    assert len(lengths) > 1 and min(lengths) < 8


def test_a_member_that_blows_up_fails_alone(tmp_path: Path) -> None:
    def member(rate: float, seed: int) -> tuple[str, ...]:
        return (*TINY, DOUBLE, "model.dropout=0.4", "model.num_layers=2", "model=rnn_relu", f"optimizer.lr={rate}",
                "optimizer=sgd", "trainer.gradient_clip_val=null", f"seed={seed}")  # fmt: skip

    members = [member(0.01, 0), member(1e6, 1), member(0.02, 2)]
    directories, raised, _ = together(tmp_path / "fleet", members)
    assert [directory.status.state for directory in directories] == ["done", "failed", "done"]
    for k in (0, 2):
        assert_same_run(directories[k], alone(tmp_path / f"alone{k}", members[k]), 1e-9)
    with pytest.raises(RunFailed) as failure:
        alone(tmp_path / "alone1", members[1])
    assert str(raised[1]) == str(failure.value) and "learning rate 1e+06" in str(raised[1])


@pytest.mark.slow
def test_stopped_within_an_epoch_and_resumed_together_or_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = [(*TINY, DOUBLE, f"seed={k}", "model.dropout=0.4", "model.num_layers=2") for k in range(3)]
    stop = StopSignals()
    steps = itertools.count()
    stepped = fleet_module._FleetsLoop._stepped

    def counted(self: Any, loader: Any) -> None:
        stepped(self, loader)
        if next(steps) == 3 * 8:  # 6 steps an epoch: within the second
            stop.received = signal.SIGTERM

    monkeypatch.setattr(fleet_module._FleetsLoop, "_stepped", counted)
    directories, raised, _ = together(tmp_path / "fleet", members, stop)
    assert all(isinstance(error, Interrupted) for error in raised)
    assert [directory.status.state for directory in directories] == ["interrupted"] * 3
    assert [len(directory.epochs) for directory in directories] == [1] * 3
    monkeypatch.undo()
    alone(directories[0].path, members[0], resume=True)
    configs = [compose(*member) for member in members]

    def job(fleet_run: FleetRun) -> None:
        execute(
            directories[fleet_run.number + 1],
            configs[fleet_run.number + 1],
            quiet=True,
            fleet_run=fleet_run,
            resume=True,
        )

    Fleet(StopSignals(), lambda *_: pytest.fail("not together")).run([job, job])
    for k, member in enumerate(members):
        # R2 of a resumed run comes from sums in single precision, alone too
        assert_same_run(directories[k], alone(tmp_path / f"alone{k}", member), 1e-7)


class Killed(BaseException):
    """As if the process had ended here."""


KILLS = ["while the checkpoints are written", "while they are let count"]


@pytest.mark.parametrize("at", [pytest.param(KILLS[0], marks=pytest.mark.slow), KILLS[1]])
def test_a_killed_fleet_goes_on_from_one_moment_bit_for_bit(
    at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In single precision, where the last digit hangs on who stands in the stack, and where; one ends early."""
    shorter = [each for each in TINY if "max_epochs" not in each]
    members = [
        (*shorter, f"trainer.max_epochs={3 if k == 1 else 5}", "trainer.checkpoint_seconds=0.0", f"seed={k}")
        for k in range(3)
    ]
    whole, _, _ = together(tmp_path / "whole", members)
    calls = itertools.count()
    wanted = 4  # the second of the second epoch

    killed: list[int] = []

    def counted(name: str, before: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, *arguments: Any) -> Any:
            if killed or (name == at and next(calls) == wanted):
                killed.append(wanted)
                raise Killed
            return before(self, *arguments)

        return call

    settle = Fleet._settle

    def settled(fleet: Fleet, fleet_runs: Sequence[FleetRun]) -> bool:
        if killed:  # in a run's own thread
            raise Killed
        return settle(fleet, fleet_runs)

    monkeypatch.setattr(Recorder, "_save", counted(KILLS[0], Recorder._save))
    monkeypatch.setattr(FleetRun, "settle", counted(KILLS[1], FleetRun.settle))
    monkeypatch.setattr(Fleet, "_settle", settled)
    with pytest.raises(Killed):
        together(tmp_path / "cut", members)
    monkeypatch.undo()
    directories = [RunDirectory.open(tmp_path / "cut" / str(k)) for k in range(len(members))]
    epochs = [torch.load(each.last_checkpoint, weights_only=True)["epoch"] for each in directories]
    assert (len(set(epochs)) > 1) == (at == KILLS[1])
    assert fleet_module.settle(directories) == (2 if at == KILLS[1] else 1)
    epochs = [torch.load(each.last_checkpoint, weights_only=True)["epoch"] for each in directories]
    assert len(set(epochs)) == 1
    resumed, _, _ = together(tmp_path / "cut", members, resume=True)
    for one, other in zip(whole, resumed, strict=True):
        assert_same_run(one, other, 0.0)
        states = [torch.load(each.best_checkpoint, weights_only=True)["state_dict"] for each in (one, other)]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_checkpoint_of_a_run_that_ends_early_waits_for_the_others(tmp_path: Path) -> None:
    """Else a kill in the next epoch would leave its companions without it."""
    shorter = [each for each in TINY if "max_epochs" not in each]
    members = [(*shorter, f"trainer.max_epochs={k}", "trainer.checkpoint_seconds=1000", f"seed={k}") for k in (1, 3)]
    directories, _, _ = together(tmp_path, members)
    callbacks = [torch.load(each.last_checkpoint, weights_only=True)["callbacks"] for each in directories]
    moments = [next(state["moment"] for state in each.values() if "moment" in state) for each in callbacks]
    assert moments == [1, 2]
    assert [each.status.state for each in directories] == ["done", "done"]


@pytest.mark.slow
def test_who_stopped_alone_goes_on_in_a_fleet(tmp_path: Path) -> None:
    members = [(*TINY, DOUBLE, f"seed={k}") for k in range(2)]
    for k, member in enumerate(members):
        shorter = [each for each in member if "max_epochs" not in each]
        alone(tmp_path / "fleet" / str(k), (*shorter, f"trainer.max_epochs={k + 1}"))
    directories, _, said = together(tmp_path / "fleet", members, resume=True)
    assert said == []
    for k, member in enumerate(members):
        assert_same_rows(directories[k], alone(tmp_path / f"alone{k}", member), 1e-7)


# ---- what is left behind ----------------------------------------------------------------------------------


def keys(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: keys(value) for name, value in node.items()}
    if isinstance(node, list):
        return [keys(value) for value in node]
    return (tuple(node.shape), node.dtype) if isinstance(node, Tensor) else type(node)


def test_a_member_leaves_what_a_run_alone_leaves(tmp_path: Path) -> None:
    members = [(*TINY, "scheduler=cosine", f"seed={k}") for k in range(2)]
    (directory, _), _, _ = together(tmp_path / "fleet", members)
    other = alone(tmp_path / "alone", members[0])
    names = [sorted(str(f.relative_to(d.path)) for f in d.path.rglob("*") if "tfevents" not in f.name)
             for d in (directory, other)]  # fmt: skip
    assert names[0] == names[1]
    for name in ("best.ckpt", "last.ckpt"):
        mine, its = (torch.load(d.path / "checkpoints" / name, weights_only=True) for d in (directory, other))
        if name == "last.ckpt":
            del mine["callbacks"]["Recorder"]["moment"]  # of the fleet, which all its checkpoints are of
        assert keys(mine) == keys(its)
        assert mine["loops"] == its["loops"]
    scalars = []
    for path in (directory.path, other.path):
        events = EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
        assert events.Tags()["graph"]
        scalars.append({tag: [(each.step, each.value) for each in events.Scalars(tag)]
                        for tag in events.Tags()["scalars"]})  # fmt: skip
    assert scalars[0].keys() == scalars[1].keys()
    for tag, values in scalars[0].items():
        assert [step for step, _ in values] == [step for step, _ in scalars[1][tag]], tag
        assert [v for _, v in values] == pytest.approx([v for _, v in scalars[1][tag]], rel=1e-4, abs=1e-6), tag
    assert evaluate(directory.config, directory)["test/loss"] == pytest.approx(directory.metrics["test/loss"])


@pytest.mark.slow
def test_the_figures_can_be_drawn_afterwards(tmp_path: Path) -> None:
    overrides = [each for each in TINY if each != "instruments=none"]
    config = compose(*overrides, "trainer.max_epochs=1")
    directory = RunDirectory.claim(tmp_path / "run")
    execute(directory, config, quiet=True, figures=False)
    assert directory.status.figures == ()
    drawn = draw(directory)
    assert "figures/loss_curves.png" in drawn and all((directory.path / name).exists() for name in drawn)
    assert list(directory.status.figures) == drawn and directory.status.state == "done"


# ---- what cannot be stacked -----------------------------------------------------------------------------


def against(*overrides: str) -> str | None:
    run = prepare(compose(*TINY, *overrides))
    return hindrance(run) or try_together(run)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["optimizer=lbfgs"], "LBFGS looks at all numbers"),
        (["trainer.accumulate_grad_batches=2"], "trainer.accumulate_grad_batches=2"),
        (["trainer.precision=bf16-mixed"], "trainer.precision=bf16-mixed"),
        (["+trainer.limit_train_batches=2"], "trainer.limit_train_batches=2"),
        (["model.cell.backend=torch"], "model.cell.backend=torch"),
    ],
)
def test_what_cannot_be_stacked_is_known_before(overrides: list[str], reason: str) -> None:
    assert reason in (against(*overrides) or "")


def test_what_can_be_stacked_is_known_too() -> None:
    assert against() is None
    assert against("model=layer_norm_lstm", "model.dropout=0.2", "model.num_layers=2") is None


@pytest.mark.slow
def test_runs_are_grouped_by_everything_but_numbers() -> None:
    def sign(*overrides: str) -> str:
        return signature(prepare(compose(*TINY, *overrides)))

    base = sign()
    for same in ("seed=3", "optimizer.lr=1", "optimizer.weight_decay=0.3", "model.dropout=0.5", "data.seed=8",
                 "data.noise=0.7", "model.cell.init=torch", "trainer.max_epochs=9", "early_stopping.patience=2",
                 "monitor=val/mse", "trainer.gradient_clip_val=3", "scheduler=cosine"):  # fmt: skip
        assert sign(same) == base, same
    for other in ("model.hidden_size=6", "model=lstm", "model.num_layers=2", "model.bidirectional=true",
                  "data.length=13", "data.batch_size=9", "data.num_samples=80", "optimizer=sgd",
                  "trainer.precision=64-true", "task.loss=mae", "model=rnn_relu"):  # fmt: skip
        assert sign(other) != base, other
    assert sign("model=rnn") != sign("model=rnn_relu")
    assert sign("task.distribution=gaussian") != base


def test_who_cannot_after_all_makes_the_steps_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = Network.forward

    def looks_at_numbers(self: Network, inputs: Tensor, *others: Any, **named: Any) -> Any:
        assert inputs.sum().item() < 1e9  # which no value that stands for those of all members can say
        return forward(self, inputs, *others, **named)

    monkeypatch.setattr(Network, "forward", looks_at_numbers)
    members = [(*TINY, f"seed={k}") for k in range(2)]
    directories, _, said = together(tmp_path / "fleet", members)
    assert len(said) == 2 and "torch.func.vmap cannot run it" in said[0]
    for k, member in enumerate(members):
        assert_same_run(directories[k], alone(tmp_path / f"alone{k}", member), 0)


def test_a_stack_that_computes_something_else_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rnnlab import kernels

    run_stacked = kernels.run_stacked

    def wrong(*arguments: Any, **options: Any) -> tuple[Tensor, ...]:
        output, *last = run_stacked(*arguments, **options)
        return output * 1.01, *last

    monkeypatch.setattr(kernels, "run_stacked", wrong)
    members = [(*TINY, f"seed={k}") for k in range(2)]
    directories, _, said = together(tmp_path / "fleet", members)
    assert len(said) == 2 and "together its loss is" in said[0]
    assert_same_run(directories[0], alone(tmp_path / "alone", members[0]), 0)


# ---- the launcher ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("jobs", "most", "slots", "sizes"),
    [(64, 16, 2, [16] * 4), (16, 16, 2, [8, 8]), (40, 16, 2, [10] * 4), (3, 16, 2, [3]), (4, 16, 2, [2, 2]),
     (5, 2, 1, [2, 2, 1]), (1, 16, 8, [1]), (17, 16, 1, [9, 8])],
)  # fmt: skip
def test_a_group_is_divided_evenly(jobs: int, most: int, slots: int, sizes: list[int]) -> None:
    job = LaunchedJob(RunDirectory("nowhere"), "job", {})
    parts = divided([job] * jobs, most, slots)
    assert [len(part) for part in parts] == sizes


@pytest.mark.slow
def test_a_sweep_is_stacked_says_how_and_resumes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sweep"
    code = train_command.main(
        ["-m", *TINY, "model=gru,lstm", "optimizer=adam", "seed=0,1,2", "hydra/launcher=fleet",
         "hydra.launcher.members=2", "hydra.launcher.n_jobs=1", f"hydra.sweep.dir={path}"]
    )  # fmt: skip
    said = capfd.readouterr().out
    assert code == 0
    assert "fleet: 2 jobs (GRU on Sine) in stacks: 1 of 2" in said and "fleet: 2 jobs (LSTM on Sine)" in said
    assert "fleet: 2 jobs alone (2_model=gru,seed=2, 5_model=lstm,seed=2): left over, stacks are full" in said
    states = [json.loads(file.read_text()) for file in path.glob("*/status.json")]
    assert [status["state"] for status in states] == ["done"] * 6
    assert sorted(status.get("fleet", 1) for status in states) == [1, 1, 2, 2, 2, 2]
    assert resume_command.main([str(path), "seed=0,1,2,3"]) == 0
    assert len(list(path.glob("*/metrics.json"))) == 8


def test_a_job_in_a_fleet_is_logged_and_counted(tmp_path: Path) -> None:
    directory = RunDirectory.claim(tmp_path / "job")
    directory.write_config(compose(*TINY, "trainer.max_epochs=1"))
    Fleet(StopSignals(), lambda *_: None).run(
        [lambda fleet_run: execute_job(directory, log=False, fleet_run=fleet_run)]
    )
    assert directory.status.attempts == 1 and directory.status.state == "done"
    assert math.isfinite(directory.metrics["val/loss"])


def test_a_tie_is_no_new_best_epoch_alone_and_in_a_fleet(tmp_path: Path) -> None:
    """Weights that no step moves have the same score after each epoch: the first of them is kept."""
    still = (*TINY, "optimizer=sgd", "optimizer.lr=1e-30", "model.dropout=0")
    run = alone(tmp_path / "alone", still)
    members, _, _ = together(tmp_path / "fleet", [still, (*still, "seed=1")])
    for directory in (run, *members):
        assert len({row["val/loss"] for row in directory.epochs}) == 1 and len(directory.epochs) == 3
        assert directory.metrics["best_epoch"] == 1
        assert torch.load(directory.best_checkpoint, weights_only=True)["epoch"] == 1
