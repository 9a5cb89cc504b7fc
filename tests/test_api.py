"""``rnnlab.train`` and its kin are the command line, called from Python."""

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import polars as pl
import pytest
import yaml

import rnnlab
from rnnlab.api import as_overrides
from rnnlab.commands import train as train_command
from rnnlab.errors import InputError

SMALL: dict[str, Any] = {
    "data.num_samples": 40, "data.length": 8, "model.hidden_size": 4, "trainer.max_epochs": 2, "instruments": "none",
}  # fmt: skip
TYPED = [f"{key}={value}" for key, value in SMALL.items()]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_it_trains_what_the_command_line_trains(tmp_path: Path) -> None:
    run = rnnlab.train("model=lstm", seed=3, trainer="cpu", **SMALL, **{"hydra.run.dir": "python"})
    assert train_command.main(["model=lstm", "seed=3", "trainer=cpu", *TYPED, "hydra.run.dir=shell"]) == 0
    assert yaml.safe_load((tmp_path / "shell/config.yaml").read_text()) == run.config
    typed = rnnlab.Run("shell")
    assert {name: value for name, value in run.metrics.items() if "seconds" not in name} == {
        name: value for name, value in typed.metrics.items() if "seconds" not in name
    }
    assert run.history.equals(typed.history)
    assert {path.name for path in run.path.iterdir() if "tfevents" not in path.name} == {
        path.name for path in typed.path.iterdir() if "tfevents" not in path.name
    }
    command = list(run.status.command or ())
    assert command[:3] == ["rnnlab", "train", "model=lstm"]
    assert rnnlab.compose(*command[2:]) == run.config


def test_a_run_is_to_look_at_and_to_use() -> None:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    run = rnnlab.train(**SMALL)
    assert (root.handlers, root.level) == (handlers, level)
    assert run.state == "done"
    assert isinstance(run.history, pl.DataFrame)
    assert run.history["epoch"].to_list() == [1, 2]
    assert run.metrics["test/mse"] > 0
    assert run.predict(np.zeros((8, 1))).height == 1
    assert not run.model.training
    assert f"{run.metrics['test/mse']:.4g}" in run._repr_html_()
    assert f"{run.metrics['test/mse']:.4g}" in str(run)
    assert run.verdict
    assert run.verdict in str(run)
    with pytest.raises(InputError, match=r"no figures \(instruments=none\)"):
        run.plot()
    again = rnnlab.resume(run, **{"trainer.max_epochs": 3})
    assert isinstance(again, rnnlab.Run)
    assert again.history["epoch"].to_list() == [1, 2, 3]


@pytest.mark.slow
def test_its_pictures_are_shown_inline() -> None:
    run = rnnlab.train(**{**SMALL, "instruments": "default"})
    html = run.plot("loss_curves")._repr_html_()
    assert html.count("data:image/png;base64,") == 1
    assert len(run.plot()) == len(list(run.path.glob("figures/*.png"))) > 1
    with pytest.raises(InputError, match="loss_curvs: no such figure; did you mean 'loss_curves'"):
        run.plot("loss_curvs")


@pytest.mark.slow
def test_a_sweep_goes_over_lists() -> None:
    sweep = rnnlab.sweep(model=["rnn", "gru"], seed=range(2), **SMALL)
    assert [run.state for run in sweep.runs] == ["done"] * 4
    assert sweep.failed == []
    board = sweep.leaderboard
    assert board["rank"].to_list() == [1, 2]
    assert board["n"].to_list() == [2, 2]
    assert str(sweep.best.path) == board["best_run"][0]
    assert "model=gru" in sweep._repr_html_()
    more = rnnlab.resume(sweep, seed=[2])
    assert isinstance(more, rnnlab.Sweep)
    assert len(more.runs) == 6
    assert rnnlab.report(sweep.path).equals(more.leaderboard)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["local", "fleet"])
def test_a_script_needs_no_guard_to_sweep(launcher: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import rnnlab\n"
        f"sweep = rnnlab.sweep('hydra/launcher={launcher}', seed=range(2), **{SMALL!r})\n"
        "print('states', [run.state for run in sweep.runs])\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert done.stdout.count("states ['done', 'done']") == 1, done.stderr


def test_bad_input_is_an_error_of_one_line() -> None:
    for call, said in (
        (lambda: rnnlab.train("model=grru"), "model=grru: no such model; did you mean 'gru'"),
        (lambda: rnnlab.train(modle="gru"), "modle=gru: unknown key or group; did you mean 'model'"),
        (lambda: rnnlab.train(model="rnn,gru"), "model=rnn,gru: no such model"),
        (lambda: rnnlab.train("model=rnn,gru"), "several values make a sweep"),
        (lambda: rnnlab.train(seed=object()), "a config holds numbers, texts, lists and mappings, no object"),
        (lambda: rnnlab.train(**{"optimizer.lr": -1.0}), "optimizer"),
        (lambda: rnnlab.sweep(seed=[]), "no values to go over"),
        (lambda: rnnlab.sweep("sweep.dry_run=true", seed=[0, 1]), "sweep.dry_run"),
        (lambda: rnnlab.resume("nowhere"), "nowhere is no run"),
        (lambda: rnnlab.Run("nowhere"), "nowhere is no run"),
        (rnnlab.report, "give a run"),
        (lambda: rnnlab.compose(config_dir="nowhere"), "there is no such directory"),
    ):
        with pytest.raises(InputError) as refused:
            call()
        assert said in str(refused.value)
        assert "\n" not in str(refused.value)
    assert not Path("outputs").exists()


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, -1, 1e-4, 1e16, "lstm", "null", "true", "1e3", "a b", "a,b", "it's", 'say "no"', "back\\", "\\'",
        "größe", "", " ", "${x}", "[a]", "x=y", "#", "\t", [1, 2.5, "a,b"], {"a": [1, None], "b c": "x:y"}, [],
        np.float64(0.25), np.int64(7),
    ],
)  # fmt: skip
def test_a_value_stays_what_it_is(value: Any) -> None:
    (line,) = as_overrides([], {"+data.tried": value})
    from rnnlab.api import one_at_a_time
    from rnnlab.commands.train import Command

    with one_at_a_time:
        config = Command.compose([line]).config
    from omegaconf import OmegaConf

    composed = OmegaConf.to_container(config.data, resolve=False)
    assert isinstance(composed, dict)
    there = composed["tried"]
    assert there == value
    assert type(there) in (type(value), int, float)


def test_a_call_from_another_thread_waits_for_the_one_before() -> None:
    runs: list[rnnlab.Run] = []
    threads = [threading.Thread(target=lambda: runs.append(rnnlab.train(**SMALL))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({run.path for run in runs}) == 2
    assert runs[0].metrics["test/loss"] == runs[1].metrics["test/loss"]


def test_an_interrupt_leaves_a_run_that_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from rnnlab.runs.recorder import Recorder

    saved = Recorder.on_train_epoch_end

    def interrupted(self: Recorder, trainer: Any, module: Any) -> None:
        if trainer.current_epoch == 0:
            os.kill(os.getpid(), signal.SIGINT)
        saved(self, trainer, module)

    monkeypatch.setattr(Recorder, "on_train_epoch_end", interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        rnnlab.train(**SMALL, **{"hydra.run.dir": "stopped"})
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.setattr(Recorder, "on_train_epoch_end", saved)
    run = rnnlab.Run("stopped")
    assert run.state == "interrupted"
    whole = rnnlab.train(**SMALL, **{"hydra.run.dir": "whole"})
    resumed = rnnlab.resume(run)
    assert isinstance(resumed, rnnlab.Run)
    assert resumed.history.equals(whole.history)


def test_importing_rnnlab_is_no_work() -> None:
    code = "import sys, rnnlab; dir(rnnlab); assert not {'torch', 'hydra', 'polars'} & set(sys.modules), 1"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")  # Lightning's own
def test_every_class_of_the_configs_has_its_short_name() -> None:
    from rnnlab import GRU, LSTM, Forecasting, Network, Sine

    assert {"GRU", "LSTM", "Forecasting", "Network", "Sine", "train", "load"} <= set(dir(rnnlab))
    data = Sine(num_samples=60, length=8)
    task = Forecasting(Network(data.spec.input, data.spec.target, GRU, hidden_size=4), data.spec)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, data)
    assert "test/mse" in trainer.test(task, data, verbose=False)[0]
    assert issubclass(LSTM, rnnlab.Cell)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = rnnlab.Nothing
