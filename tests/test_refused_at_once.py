"""What can be known of a run or a place without loading anything is said before anything is loaded."""

import os
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import pytest

from rnnlab.runs.directory import RunDirectory

USES = {
    "evaluate": (), "inspect": (), "export": ("--format", "pt2"), "predict": ("--output", "o.csv"), "generate": (),
}  # fmt: skip
"""Verbs that use a trained run, with what makes each of them write."""


class LoadedError(Exception):
    """Torch, lightning and all behind them would be imported now, which takes seconds."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """A run that looks trained as long as nobody loads it."""

    def load() -> NoReturn:
        raise LoadedError

    for verb in (*USES, "resume"):
        monkeypatch.setattr(f"rnnlab.commands.{verb}.load_execution", load)
    monkeypatch.chdir(tmp_path)
    directory = RunDirectory.claim(tmp_path / "r", {"seed": 0, "monitor": "val/loss", "mode": "min"})
    directory.update_status("done")
    directory.best_checkpoint.parent.mkdir()
    with zipfile.ZipFile(directory.best_checkpoint, "w") as archive:
        archive.writestr("weights", "many")
    return directory


def use(verb: str, *arguments: str) -> int:
    status = import_module(f"rnnlab.commands.{verb}").main(["r", *USES.get(verb, ()), *arguments])
    assert isinstance(status, int)
    return status


DAMAGES: dict[str, Callable[[Path], object]] = {
    "status.json": lambda path: path.write_text('{"state": 5}'),
    "config.yaml": lambda path: path.write_text("a: ["),
    "checkpoints/best.ckpt": lambda path: path.write_bytes(path.read_bytes()[:-30]),
}


@pytest.mark.parametrize("verb", USES)
@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_named(verb: str, name: str, run: RunDirectory, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LoadedError):
        use(verb)
    DAMAGES[name](run.path / name)
    assert use(verb) == 2
    assert f"{run.path / name} is damaged: " in capfd.readouterr().err


def test_a_run_goes_on_from_a_sound_config_alone(run: RunDirectory, capfd: pytest.CaptureFixture[str]) -> None:
    run.update_status("interrupted")
    with pytest.raises(LoadedError):
        use("resume")
    DAMAGES["config.yaml"](run.path / "config.yaml")
    assert use("resume") == 2
    assert f"{run.path / 'config.yaml'} is damaged: " in capfd.readouterr().err


@pytest.mark.parametrize("name", ["metrics.json", "metrics.csv"])
def test_what_is_inside_is_drawn_beside_the_history(
    name: str, run: RunDirectory, capfd: pytest.CaptureFixture[str]
) -> None:
    (run.path / name).write_text("no\nnumbers")
    assert use("inspect") == 2
    assert f"{run.path / name} is damaged: " in capfd.readouterr().err


@pytest.mark.parametrize(
    ("verb", "arguments", "named"),
    [
        ("inspect", (), "r/inspect cannot be written: "),
        ("inspect", ("--output", "seen"), "seen cannot be written: "),
        ("export", (), "r/export/model.pt2 cannot be written: "),
        ("export", ("--output", "m.pt2"), "m.pt2 cannot be written: "),
        ("predict", (), "--output o.csv cannot be written: "),
    ],
)
def test_a_place_that_takes_nothing_is_named(
    verb: str,
    arguments: tuple[str, ...],
    named: str,
    run: RunDirectory,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(os, "access", lambda place, mode: not mode & os.W_OK)  # who tests may be root
    assert use(verb, *arguments) == 2
    said = capfd.readouterr().err
    assert named in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("verb", "arguments", "message"),
    [
        ("predict", ("--input", "none.csv"), "--input none.csv: there is no such file"),
        ("predict", ("--input", ".", "--horizon", "0"), "--horizon 0 must be at least 1"),
        ("predict", ("--batch-size", "-1"), "--batch-size -1 must be at least 1"),
        ("inspect", ("--input", "none.csv"), "--input none.csv: there is no such file"),
        ("generate", ("--temperature", "-1"), "--temperature -1.0 must be at least 0"),
        ("generate", ("--samples", "0"), "--samples 0 must be at least 1"),
        ("predict", ("--input", ".", "--device", "gpu"), "--device gpu: no such device; did you mean 'cuda'?"),
        ("inspect", ("--device", "cpuu"), "--device cpuu: no such device; did you mean 'cpu'?"),
        ("generate", ("--device", "cuda:"), "--device cuda:: no such device; did you mean 'cuda'?"),
    ],
)
def test_options_are_looked_at_first(
    verb: str, arguments: tuple[str, ...], message: str, run: RunDirectory, capfd: pytest.CaptureFixture[str]
) -> None:
    assert use(verb, *arguments) == 2
    assert message in capfd.readouterr().err


def test_another_task_writes_no_text(run: RunDirectory, capfd: pytest.CaptureFixture[str]) -> None:
    run.write_config(run.config | {"task": {"_target_": "rnnlab.tasks.language_modeling.LanguageModeling"}})
    with pytest.raises(LoadedError):
        use("generate")
    run.write_config(run.config | {"task": {"_target_": "rnnlab.tasks.forecasting.Forecasting"}})
    assert use("generate") == 2
    assert "r is no language model (its task is forecasting): " in capfd.readouterr().err


def test_a_report_that_could_not_be_written_is_refused_before_its_table(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("file").touch()
    assert use("report", "--output", "file") == 2
    said = capfd.readouterr()
    assert "file is a file: choose another place with --output DIR" in said.err and not said.out
    (run.path / "report.html").mkdir()
    assert use("report") == 2
    said = capfd.readouterr()
    assert "r/report.html is a directory: choose another place with --output DIR" in said.err and not said.out
    monkeypatch.setattr(os, "access", lambda place, mode: not mode & os.W_OK)  # who tests may be root
    assert use("report") == 2
    said = capfd.readouterr()
    assert "r cannot be written: " in said.err and not said.out
