"""What the recorder keeps of a training, by itself: rows, checkpoints, seeds, signals, the directory they stand in."""

import math
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning import LightningModule, Trainer
from torch import nn

from rnnlab.errors import InputError, Interrupted, RunFailed
from rnnlab.runs import directory as directory_module
from rnnlab.runs import provenance as provenance_module
from rnnlab.runs import recorder as recorder_module
from rnnlab.runs.checkpoint import fit_weights, is_plain, read_checkpoint, snapshot, write_checkpoint
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.recorder import (
    Recorder,
    StopSignals,
    next_checkpoint,
    random_state,
    restore_random_state,
    seed_generators,
)
from rnnlab.store import files
from rnnlab.store.files import remove_unfinished


class FakeTrainer(Trainer):
    """As much of Lightning's as the recorder asks for."""

    is_global_zero: Any = True
    world_size: Any = 1
    num_training_batches: Any = 4
    global_step: Any = 0
    current_epoch: Any = 0
    callback_metrics: Any = None
    strategy: Any = None
    callbacks: Any = ()

    def __init__(self) -> None:
        self.weights = torch.zeros(2)
        self.saved: list[Path] = []
        plain = SimpleNamespace(plain=lambda: {"of": "data"})
        self.datamodule = SimpleNamespace(spec=plain, reader=plain, training_lengths=(2, 5))
        self.strategy = SimpleNamespace(broadcast=bool)
        self._checkpoint_connector = SimpleNamespace(
            dump_checkpoint=lambda weights_only: {"state_dict": {"w": self.weights}, "weights_only": weights_only}
        )

    def save_checkpoint(self, path: Path, *_: Any) -> None:  # type: ignore[override]
        self.saved.append(path)
        write_checkpoint({"state_dict": {"w": self.weights.clone()}, "epoch": self.current_epoch}, path)

    def epoch(self, recorder: Recorder, **scores: float) -> None:
        """Ends an epoch with these scores."""
        self.callback_metrics = {f"val/{name}": torch.tensor(score) for name, score in scores.items()}
        self.global_step += self.num_training_batches
        recorder.on_train_epoch_end(self, TASK)
        self.current_epoch += 1


TASK = LightningModule()


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory.claim(tmp_path / "run")


def recorder_of(directory: RunDirectory, mode: Any = "min", **options: Any) -> Recorder:
    return Recorder(directory, "val/loss", mode, 3, **{"checkpoint_seconds": 1e9, **options})


@pytest.mark.parametrize(("mode", "best"), [("min", 2), ("max", 3)])
def test_the_weights_of_the_first_best_epoch_are_kept_with_what_they_are(
    mode: Any, best: int, directory: RunDirectory
) -> None:
    recorder, trainer = recorder_of(directory, mode), FakeTrainer()
    scores = [0.5, 0.25, 0.75, 0.25, 0.75]
    for epoch, score in enumerate(scores, 1):
        trainer.weights.fill_(epoch)
        trainer.epoch(recorder, loss=score, mae=0.1)
    assert not directory.best_checkpoint.exists()  # it waits in memory
    trainer.weights.fill_(99)
    recorder.on_train_end(trainer, TASK)
    kept = read_checkpoint(directory.best_checkpoint)
    assert kept["state_dict"]["w"].tolist() == [best, best] and kept["weights_only"] is True
    assert (kept["epoch"], kept["monitor"], kept["score"]) == (best, "val/loss", scores[best - 1])
    assert kept["data"] == {"spec": {"of": "data"}, "reader": {"of": "data"}, "lengths": [2, 5]}
    assert (recorder.best_epoch, recorder.best_score) == (best, scores[best - 1])
    assert (
        directory.epochs
        == recorder.rows
        == [{"epoch": k, "step": 4 * k, "val/loss": score, "val/mae": 0.1} for k, score in enumerate(scores, 1)]
    )  # the shortest decimals
    assert trainer.saved == [directory.last_checkpoint]


def test_checkpoints_are_written_when_their_time_has_come(directory: RunDirectory) -> None:
    trainer = FakeTrainer()
    recorder = recorder_of(directory, checkpoint_seconds=0.0)
    for number in range(1, 4):
        trainer.epoch(recorder, loss=1 / number)
        assert len(trainer.saved) == number
        assert read_checkpoint(directory.best_checkpoint)["epoch"] == number


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_ends_the_run_with_its_last_checkpoint(value: float, directory: RunDirectory) -> None:
    recorder, trainer = recorder_of(directory), FakeTrainer()
    trainer.epoch(recorder, loss=0.5)
    with pytest.raises(RunFailed, match=rf"^val/loss became {value} in epoch 2: try a smaller optimizer.lr$"):
        trainer.epoch(recorder, loss=value)
    assert trainer.saved == [directory.last_checkpoint] and [row["epoch"] for row in recorder.rows] == [1, 2]
    assert read_checkpoint(directory.best_checkpoint)["epoch"] == 1


def test_an_epoch_without_the_monitored_score_is_no_best_one(directory: RunDirectory) -> None:
    recorder, trainer = recorder_of(directory), FakeTrainer()
    trainer.epoch(recorder, mae=0.5)
    assert recorder.best_score is None and "best_score" not in recorder.state_dict()
    trainer.epoch(recorder, loss=0.5)
    assert (recorder.best_epoch, recorder.state_dict()["best_score"]) == (2, 0.5)


def test_a_resumed_recorder_goes_on_where_its_checkpoint_was(directory: RunDirectory) -> None:
    recorder, trainer = recorder_of(directory), FakeTrainer()
    for loss in (0.5, 0.25):
        trainer.epoch(recorder, loss=loss)
    state = recorder.state_dict()
    assert (state["best_epoch"], state["best_score"], state["epochs"]) == (2, 0.25, 2) and "moment" not in state
    trainer.epoch(recorder, loss=0.1)  # is lost: it comes after the checkpoint
    resumed = recorder_of(RunDirectory(directory.path))
    resumed.load_state_dict(state | {"seconds": 1000.0})
    assert (resumed.best_epoch, resumed.best_score) == (2, 0.25)
    assert 1000 <= resumed.seconds < 1100
    resumed.on_train_start(FakeTrainer(), TASK)
    assert [row["epoch"] for row in directory.epochs] == [1, 2]
    again = FakeTrainer()
    again.current_epoch, again.global_step = 2, 8
    again.epoch(resumed, loss=0.3)  # no better than before the stop
    assert resumed.best_epoch == 2 and [row["epoch"] for row in directory.epochs] == [1, 2, 3]
    unscored = recorder_of(directory)
    unscored.load_state_dict({"best_epoch": 0, "epochs": 0, "seconds": 0.0, "random": random_state()})
    assert unscored.best_score is None and unscored.rows == []


def test_the_random_state_comes_back_only_in_the_middle_of_an_epoch(directory: RunDirectory) -> None:
    torch.manual_seed(5)
    state = {"best_epoch": 0, "epochs": 0, "seconds": 0.0, "random": random_state()}
    expected = torch.rand(1)
    for number, comes_back in ((2, True), (0, False)):
        recorder = recorder_of(directory)
        recorder.load_state_dict(state)
        torch.manual_seed(6)
        recorder.on_train_batch_start(FakeTrainer(), TASK, None, number)
        assert torch.equal(torch.rand(1), expected) is comes_back
        torch.manual_seed(7)
        recorder.on_train_batch_start(FakeTrainer(), TASK, None, number + 1)
        assert torch.rand(1) == torch.rand(1, generator=torch.Generator().manual_seed(7)), "once"


def test_every_epoch_of_every_seed_has_numbers_of_its_own(directory: RunDirectory) -> None:
    drawn = set()
    for seed in (0, 1, 2, 2**62, 2**63 - 1):
        recorder = Recorder(directory, "val/loss", "min", seed)
        for epoch in range(40):
            trainer = FakeTrainer()
            trainer.current_epoch = epoch
            recorder.on_train_epoch_start(trainer, TASK)
            drawn.add(torch.initial_seed())
    assert len(drawn) == 200 and all(0 <= seed < 2**63 for seed in drawn)


def test_every_kind_of_device_in_use_is_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    seeded: dict[str, Any] = {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: seeded.update(cuda=seed))
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: torch.tensor([1, 2], dtype=torch.uint8))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state: seeded.update(state=state.tolist()))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "manual_seed", lambda seed: seeded.update(mps=seed))
    seed_generators(11)
    assert seeded == {"cuda": 11, "mps": 11} and torch.initial_seed() == 11
    state = random_state()
    first = torch.rand(3)
    restore_random_state(state)
    assert torch.equal(torch.rand(3), first) and seeded["state"] == [1, 2]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)  # asking for its state would take memory there
    assert set(random_state()) == {"cpu"}
    seeded.clear()
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    seed_generators(12)
    assert seeded == {}


# ---- companions ------------------------------------------------------------------------------------


class Others:
    """Runs that another one is trained with."""

    def __init__(self, alone: bool = False) -> None:
        self.alone, self.due, self.moment = alone, False, 7
        self.told: list[Any] = []

    def saved(self, path: Path) -> None:
        self.told.append(path)

    def wait(self) -> None:
        self.told.append("waited")


def test_a_checkpoint_waits_for_those_of_the_companions(directory: RunDirectory) -> None:
    others, trainer = Others(), FakeTrainer()
    recorder = recorder_of(directory, companions=others, checkpoint_seconds=0.0)
    trainer.epoch(recorder, loss=0.5)
    assert trainer.saved == [] and others.told == []  # all together, whatever the time
    others.due = True
    trainer.epoch(recorder, loss=0.25)
    waiting = next_checkpoint(directory)
    assert waiting == directory.path / "checkpoints" / "next.ckpt"
    assert trainer.saved == [waiting] == others.told and not directory.last_checkpoint.exists()
    assert recorder.state_dict()["moment"] == 7
    with pytest.raises(RunFailed):
        trainer.epoch(recorder, loss=math.nan)
    assert trainer.saved == [waiting]  # a member that fails writes none of a moment that the others have not
    recorder.on_train_end(trainer, TASK)
    assert others.told == [waiting, waiting, "waited"]


def test_who_goes_on_alone_has_a_checkpoint_of_its_own(directory: RunDirectory) -> None:
    others, trainer = Others(alone=True), FakeTrainer()
    recorder = recorder_of(directory, companions=others, checkpoint_seconds=0.0)
    next_checkpoint(directory).parent.mkdir()
    next_checkpoint(directory).write_bytes(b"of the fleet that it was in")
    trainer.epoch(recorder, loss=0.5)
    assert trainer.saved == [directory.last_checkpoint] and others.told == []
    assert not next_checkpoint(directory).exists()


# ---- signals ---------------------------------------------------------------------------------------


def test_a_signal_while_it_trains_asks_and_otherwise_ends(directory: RunDirectory) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    stop, trainer = StopSignals(), FakeTrainer()
    recorder = recorder_of(directory, stop=stop)
    try:
        recorder.on_train_start(trainer, TASK)
        recorder.on_train_batch_end(trainer, TASK, None, None, 0)
        os.kill(os.getpid(), signal.SIGTERM)  # nothing is raised in the middle of a step
        assert stop.received == signal.SIGTERM
        recorder.on_train_batch_end(trainer, TASK, None, None, 3)  # the epoch's row comes first
        assert trainer.saved == []
        with pytest.raises(Interrupted) as caught:
            recorder.on_train_batch_end(trainer, TASK, None, None, 1)
        assert caught.value.signal_number == signal.SIGTERM
        assert trainer.saved == [directory.last_checkpoint]
        with pytest.raises(Interrupted):
            trainer.epoch(recorder, loss=0.5)
        assert len(trainer.saved) == 2 and [row["epoch"] for row in directory.epochs] == [1]
        stop.received = None
        recorder.on_train_end(trainer, TASK)
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        stop.restore()
    assert {number: signal.getsignal(number) for number in before} == before
    stop.restore()  # there is nothing left to put back


def test_a_signal_before_the_training_is_not_forgotten(directory: RunDirectory) -> None:
    stop = StopSignals()
    stop.received = signal.SIGINT
    try:
        with pytest.raises(Interrupted):
            recorder_of(directory, stop=stop).on_train_start(FakeTrainer(), TASK)
    finally:
        stop.restore()
    # what another process of a data-parallel run was told stops this one, too
    trainer = FakeTrainer()
    trainer.world_size = 2
    trainer.strategy = SimpleNamespace(
        broadcast=bool, reduce_boolean_decision=lambda received, all: not (received or all)
    )
    for own in (None, StopSignals()):
        with pytest.raises(Interrupted) as caught:
            recorder_of(directory, stop=own).on_train_batch_end(trainer, TASK, None, None, 0)
        assert caught.value.signal_number == signal.SIGTERM


def test_only_the_main_thread_listens_to_signals() -> None:
    before, stop = signal.getsignal(signal.SIGTERM), StopSignals()
    thread = threading.Thread(target=stop.install)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) == before


# ---- checkpoints -----------------------------------------------------------------------------------


def test_weights_that_do_not_fit_are_named_with_their_sizes(tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"
    layer = nn.Linear(2, 3)
    weights = {name: torch.ones_like(tensor) for name, tensor in layer.state_dict().items()}
    for wrong, message in (
        (weights | {"weight": torch.ones(3, 4)}, r"weight is \(3, 4\) there, \(3, 2\) here"),
        ({"weight": weights["weight"]}, r"bias is nothing there, \(3,\) here"),
        (weights | {"more": torch.ones(1)}, r"more is \(1,\) there, nothing here"),
    ):
        with pytest.raises(InputError, match=rf"^checkpoint .*best\.ckpt does not fit this model: {message}$"):
            fit_weights(layer, {"state_dict": wrong}, path)
    fit_weights(layer, {"state_dict": weights}, path)
    assert layer.weight.tolist() == torch.ones(3, 2).tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "is none of rnnlab's: it has no state_dict"),
        ({"epoch": 1}, "is none of rnnlab's: it has no state_dict"),
        ({"state_dict": [1]}, "is damaged: its state_dict is a list"),
        ({"state_dict": {}, "epoch": "1"}, "is damaged: its epoch is a str"),
        ({"state_dict": {}, "callbacks": []}, "is damaged: its callbacks is a list"),
        ({"state_dict": {}, "optimizer_states": {}}, "is damaged: its optimizer_states is a dict"),
        ({"state_dict": {"w": 1}}, "is damaged: its state_dict holds more than tensors"),
    ],
)
def test_a_checkpoint_that_is_none(content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"
    torch.save(content, path)
    with pytest.raises(InputError) as caught:
        read_checkpoint(path)
    assert str(caught.value) == f"checkpoint {path} {message}"
    with pytest.raises(InputError, match=r"^there is no checkpoint .*none\.ckpt$"):
        read_checkpoint(tmp_path / "none.ckpt")


def test_a_snapshot_is_not_changed_by_what_comes_after() -> None:
    weights = nn.Parameter(torch.zeros(2))
    taken = snapshot({"state_dict": {"w": weights}, "list": [weights], "epoch": 3})
    with torch.no_grad():
        weights.fill_(1)
    assert taken["state_dict"]["w"].tolist() == taken["list"][0].tolist() == [0, 0] and taken["epoch"] == 3
    assert not taken["state_dict"]["w"].requires_grad


# ---- the directory ---------------------------------------------------------------------------------


def test_a_disk_that_fails_while_a_claim_is_taken_back_hides_no_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    def read_only(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        patch.setattr(os, "rmdir", read_only)
        with pytest.raises(InputError, match="cannot be written: No space left on device"):
            RunDirectory.claim(tmp_path / "run", {"seed": 0})
    RunDirectory.claim(tmp_path / "run", {"seed": 0})  # what is left is taken for a claim that was killed


def test_what_was_left_cannot_always_be_cleared_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".a.abcd_123").write_text("half")

    def read_only(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "unlink", read_only)
        remove_unfinished(tmp_path, ["a"])
    assert [entry.name for entry in tmp_path.iterdir()] == [".a.abcd_123"]
    remove_unfinished(tmp_path / "not there", ["a"])
    remove_unfinished(tmp_path, ["a"])
    assert not list(tmp_path.iterdir())


def test_a_process_is_told_from_a_later_one_of_its_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started = provenance_module.started
    assert started(None) is None and started(2**22 + 1) is None
    if sys.platform == "linux":
        assert started(os.getpid()) == started(os.getpid()) > 0  # type: ignore[operator]
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert started(child) is None  # it only waits for somebody to ask how it ended
        os.waitpid(child, 0)

    def told(text: str) -> int | None:
        (tmp_path / "stat").write_text(text)
        monkeypatch.setattr(provenance_module, "Path", lambda _: tmp_path / "stat")
        try:
            return started(7)
        finally:
            monkeypatch.setattr(provenance_module, "Path", Path)

    fields = " ".join(str(number) for number in range(4, 53))
    assert told(f"7 (python) S {fields}") == 22
    assert told(f"7 (a) S 1 (b)) R {fields}") == 22  # a program may be called whatever it likes
    assert told(f"7 (python) Z {fields}") is None and told(f"7 (python) X {fields}") is None
    assert told("7 (python) S 1") is None


def test_elsewhere_than_on_linux_a_process_is_there_or_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(provenance_module, "Path", lambda _: tmp_path / "no proc")
    monkeypatch.setattr(provenance_module.sys, "platform", "darwin")
    asked: list[Any] = []

    def kill(pid: int, number: int) -> None:
        asked.append((pid, number))
        if pid == 8:
            raise ProcessLookupError

    monkeypatch.setattr(provenance_module.os, "kill", kill)
    assert provenance_module.started(7) == -1 and provenance_module.started(8) is None
    assert asked == [(7, 0), (8, 0)]


def test_a_run_is_alive_where_its_process_is(directory: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not directory.is_alive  # this process knows of itself
    parent = os.getppid()
    monkeypatch.setattr(directory_module, "started", lambda pid: 5 if pid == parent else None)
    directory.update_status("running", pid=parent, process_started=5)
    assert directory.is_alive
    for other in ({"process_started": 6}, {"state": "done"}, {"host": "elsewhere"}, {"pid": parent + 1}):
        directory.update_status("running", pid=parent, process_started=5, host=directory.status.host)
        host = directory.status.host
        directory.update_status(**other)
        assert not directory.is_alive, other
        directory.update_status("running", pid=parent, process_started=5, host=host if "host" not in other else None)


def test_a_place_that_is_no_run_says_what_it_is(directory: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for name, what in (
        ("file", "that is a file, no directory"),
        ("none", "there is no such directory"),
        ("empty", "it has no config.yaml and status.json"),
        (".", "it has no config.yaml and status.json; it holds runs: "),
    ):
        with pytest.raises(InputError) as caught:
            RunDirectory.open(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name} is no run: {what}")
    assert str(caught.value).endswith(f"it holds runs: {directory.path}")
    directory.write_config({"seed": 1})
    shutil.copytree(directory.path, tmp_path / "second")
    with pytest.raises(InputError, match=r"it holds runs: .*run …$"):
        RunDirectory.open(tmp_path)
    with pytest.raises(InputError, match=r"file is a file: choose another hydra\.run\.dir"):
        RunDirectory.claim(tmp_path / "file")
    assert RunDirectory.open(directory.path).config == {"seed": 1}


def test_a_refused_run_leaves_nothing_and_a_begun_one_everything(tmp_path: Path) -> None:
    directory = RunDirectory.claim(tmp_path / "a" / "b" / "run", {"seed": 0})
    directory.log.write_text("")
    (directory.path / ".hydra").mkdir()
    directory.remove_if_untrained()
    assert not list(tmp_path.iterdir())
    for name in ("metrics.csv", "checkpoints/last.ckpt", "checkpoints/best.ckpt"):
        directory = RunDirectory.claim(tmp_path / "a" / "run", {"seed": 0})
        (directory.path / name).parent.mkdir(exist_ok=True)
        (directory.path / name).write_text("")
        directory.remove_if_untrained()
        assert RunDirectory.open(directory.path).config == {"seed": 0}
        shutil.rmtree(tmp_path / "a")
    directory = RunDirectory.claim(tmp_path / "run", {"seed": 0})
    (directory.path / "notes").write_text("mine")
    directory.remove_if_untrained()
    assert [entry.name for entry in directory.path.iterdir()] == ["notes"]
    (tmp_path / "empty").mkdir()
    RunDirectory.claim(tmp_path / "empty", {"seed": 0}).remove_if_untrained()
    assert not list((tmp_path / "empty").iterdir()), "what was there before stays"


def test_the_module_seeds_no_numbers_twice() -> None:
    seeds = {recorder_module._epoch_seed(seed, epoch) for seed in range(300) for epoch in range(100)}
    assert len(seeds) == 30_000
    # a run that an earlier version began goes on with the numbers that it would have drawn
    assert [recorder_module._epoch_seed(*each) for each in ((0, 0), (3, 5))] == [17, 3_040_981]


@pytest.mark.parametrize(
    ("state", "kept"),
    [(None, True), ([1, None], True), ({"a": (torch.ones(1), {"b"})}, True), (object(), False), ([object()], False)],
)
def test_what_a_checkpoint_keeps_of_a_callback_can_be_read_again(state: Any, kept: bool) -> None:
    assert is_plain(state) is kept


def test_no_seconds_were_trained_before_training(tmp_path: Path) -> None:
    assert Recorder(RunDirectory(tmp_path), "val/loss", "min", 0).seconds_of_training == 0


def test_weights_that_are_not_trained_are_a_checkpoint_with_what_the_data_learned() -> None:
    class Data:
        spec = reader = SimpleNamespace(plain=lambda: {"of": "data"})
        training_lengths = (2, 5)

        def state_dict(self) -> dict[str, Any]:
            return {"shift": 2.0}

    task = LightningModule()
    task.weights = nn.Parameter(torch.ones(2))
    found = Recorder.untrained(task, Data())
    assert found["Data"] == {"shift": 2.0}
    assert found["data"] == {"spec": {"of": "data"}, "reader": {"of": "data"}, "lengths": [2, 5]}
    assert (found["epoch"], found["global_step"], found["state_dict"]["weights"].tolist()) == (0, 0, [1.0, 1.0])


def test_a_directory_with_a_run_says_how_to_go_on_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    RunDirectory.claim("run", {"seed": 0})
    with pytest.raises(InputError, match=r"already holds a run, .* or go on with it: .*rnnlab resume run$"):
        RunDirectory.claim("run", {"seed": 0})


def test_of_a_run_that_was_refused_nothing_stays(tmp_path: Path) -> None:
    run = RunDirectory.claim(tmp_path / "run", {"seed": 0})
    (run.path / "events.out.tfevents.1.host").touch()
    run.remove_if_untrained()
    assert not run.path.exists()
    run = RunDirectory.claim(tmp_path / "run", {"seed": 0})
    (run.path / "notes.txt").touch()
    run.remove_if_untrained()
    assert [path.name for path in run.path.iterdir()] == ["notes.txt"], "another's file stays"
