"""Whatever command rnnlab prints works where it was printed."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TINY

from rnnlab.commands import report as report_command
from rnnlab.commands import resume as resume_command
from rnnlab.commands import train as train_command
from rnnlab.shell import CALLED_FROM, pasted, shown_path

BIN = Path(sys.executable).parent


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


def test_paths_are_those_of_the_persons_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown_path("outputs/a") == "outputs/a"
    assert shown_path("/elsewhere/a") == "/elsewhere/a"
    assert pasted("resume", tmp_path / "a b") == "rnnlab resume 'a b'"
    assert pasted("resume", "x", "seed=range(3)") == "rnnlab resume x 'seed=range(3)'"
    # make -C project train
    monkeypatch.setenv(CALLED_FROM, str(tmp_path.parent))
    assert pasted("resume", Path("a b")) == f"rnnlab resume '{tmp_path.name}/a b'"


def test_what_was_run_elsewhere_is_run_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my project").mkdir()
    monkeypatch.chdir(tmp_path)
    there = str(tmp_path / "my project")
    assert pasted("train", directory=there) == f"cd '{there}' && rnnlab train"
    assert pasted("train", directory=str(tmp_path)) == "rnnlab train"
    assert pasted("train", directory="/is/gone") == "rnnlab train"


@pytest.mark.parametrize("program", ["rnnlab", "tensorboard"])
def test_a_program_that_the_shell_does_not_find_has_its_path(
    program: str, bare: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = pasted("--version", program=program)
    assert shlex.split(command)[0] == str(BIN / program)
    monkeypatch.chdir(BIN.parent)
    assert pasted("--version", program=program) == f"bin/{program} --version"
    # one of another environment is not ours
    other = tmp_path / program
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pasted("--version", program=program) == f"bin/{program} --version"
    # a Python without the programs beside it
    monkeypatch.setattr(sys, "executable", "/opt/my python/bin/python3")
    monkeypatch.setenv("PATH", "")
    assert pasted("--version").startswith("'/opt/my python/bin/python3' -m rnnlab")


def printed_commands(text: str) -> list[list[str]]:
    """The commands in what was printed, as a shell splits them."""
    lines = [line.split(label, 1)[1] for line in text.splitlines() for label in LABELS if label in line]
    return [shlex.split(line.rstrip(" )")) for line in lines]


LABELS = ("TensorBoard ", "Best again ", "Go on with: ", "nothing to go on with (", "or go on with it: ")


def test_the_commands_at_the_end_of_a_run_name_what_is_there(
    bare: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "my [a] project"
    place.mkdir()
    monkeypatch.chdir(place)
    run = "hydra.run.dir='the run'"
    assert train_command.main([*TINY, "instruments=none", run]) == 0
    assert train_command.main([*TINY, "instruments=none", run]) == 2  # it holds a run already
    assert resume_command.main(["the run"]) == 0
    assert report_command.main(["."]) == 0
    monkeypatch.chdir(tmp_path)
    assert report_command.main([str(place)]) == 0
    captured = capfd.readouterr()
    tensorboard, done, best, elsewhere = printed_commands(captured.out)
    assert tensorboard == [str(BIN / "tensorboard"), "--logdir", "the run"]
    assert done == [str(BIN / "rnnlab"), "evaluate", "the run"]
    assert best[:2] == [str(BIN / "rnnlab"), "train"]
    assert elsewhere == ["cd", str(place), "&&", *best]
    ((program, *words),) = printed_commands(captured.err)
    assert (program, *words) == (str(BIN / "rnnlab"), "resume", "the run")
    assert json.loads((place / "the run" / "status.json").read_text())["directory"] == str(place)


@pytest.mark.slow
def test_the_printed_program_runs(bare: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = pasted("list", "trainers")
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "debug" in done.stdout
