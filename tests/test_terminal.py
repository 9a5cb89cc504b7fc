"""What is printed, on whatever terminal, of whatever name, and where the disk refuses."""

import errno
import io
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rnnlab.__main__ import main
from rnnlab.commands import evaluate as evaluate_command
from rnnlab.commands import export as export_command
from rnnlab.commands import inspect as inspect_command
from rnnlab.commands import predict as predict_command
from rnnlab.commands import resume as resume_command
from rnnlab.commands import train as train_command
from rnnlab.instruments.console import console
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import Outcome
from rnnlab.runs.records import is_sweep
from rnnlab.shell import readable_streams, short_temporary_directory
from rnnlab.use import prediction
from rnnlab.use.members import members


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_any_encoding_takes_any_text(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, errors="strict"))
    readable_streams()
    print("1 → 2 … größe \ud800 हि")
    sys.stdout.flush()
    text = raw.getvalue().decode(encoding)
    assert text.startswith("1 → 2 … größe" if encoding == "utf-8" else "1 -> 2 ")
    assert "\\ud800" in text
    assert ("größe" in text) == (encoding != "ascii")


def test_brackets_in_a_name_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    console().say("Run", "runs/[a]/[/b]")
    console().print("outputs/[bold]x")
    assert capsys.readouterr().out == "Run runs/[a]/[/b]\noutputs/[bold]x\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["test"], "rnnlab evaluate RUN"),
        (["tensorboard"], "tensorboard --logdir"),
        (["evalaute"], "did you mean 'evaluate'?"),
        (["-sc"], "-sc takes install=SHELL"),
        (["-sc", "install=basch"], "did you mean 'bash'?"),
    ],
)
def test_commands_that_there_are_not(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("path", ["x" * 5000, "a/" * 3000, "a\0b"])
@pytest.mark.parametrize("verb", [evaluate_command, predict_command, export_command, inspect_command, resume_command])
def test_a_path_that_no_disk_has_is_one_line(verb: Any, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert verb.main([path]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_run_directory_that_no_disk_has_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert train_command.main([f"hydra.run.dir={'x' * 5000}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_runs_far_below_a_directory_are_none_of_its_own(tmp_path: Path) -> None:
    for name, expected in (("sweep/1_a", True), ("deep/a/b/c/d/1_a", False)):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "status.json").write_text("{}")
        assert is_sweep(tmp_path / name.split("/")[0]) is expected
    assert not is_sweep(tmp_path / "sweep" / "1_a")


def full_disk(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "some/file")


def test_a_full_disk_and_one_that_may_not_be_written(
    tmp_path: Path, train: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = train("instruments=none", "model.hidden_size=4").directory.path
    (path / "evaluations").write_text("in the way")
    assert evaluate_command.main([str(path)]) == 0  # it is scored all the same
    printed = capsys.readouterr()
    assert "Baseline" in printed.out
    assert printed.err.startswith("rnnlab: not kept: ")
    assert printed.err.count("\n") == 1
    output = tmp_path / "o.csv"
    monkeypatch.setattr(pl.DataFrame, "write_csv", full_disk)
    assert predict_command.main([str(path), "--output", str(output)]) == 1
    assert capsys.readouterr().err == f"rnnlab: failed: --output {output} cannot be written: No space left on device\n"
    assert [file.name for file in tmp_path.iterdir()] == ["run0"]
    monkeypatch.setattr("rnnlab.use.export.artifact.replace_all", full_disk)
    assert export_command.main([str(path), "--format", "pt2"]) == 1
    assert capsys.readouterr().err == "rnnlab: failed: some/file: No space left on device\n"
    assert members([str(path)])[0].path == path


def test_a_terminal_gets_the_head_of_the_predictions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def tables() -> Iterator[pl.DataFrame]:
        yield pl.DataFrame({"a": range(7)})
        yield pl.DataFrame({"a": range(7, 1400)})

    prediction.show(tables())
    assert capsys.readouterr().out.count("\n") == 1401  # a pipe gets all
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    prediction.show(tables())
    printed = capsys.readouterr()
    assert printed.out.split() == ["a", *map(str, range(10))]
    assert "1,390 more rows" in printed.err


@pytest.mark.slow
def test_a_run_whose_reader_leaves_goes_on(tmp_path: Path) -> None:
    overrides = "data=sine data.num_samples=60 trainer.max_epochs=2 instruments=none"
    python = f"{sys.executable} -m rnnlab train {overrides} hydra.run.dir={tmp_path / 'run'}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(f"{python} | head -n 1", shell=True, capture_output=True, text=True, env=environment)
    assert (done.stdout.count("\n"), done.stderr) == (1, "")
    assert RunDirectory.open(tmp_path / "run").status.state == "done"


def test_a_long_directory_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("t" * 120)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setattr(tempfile, "tempdir", None)
    short_temporary_directory()
    with socket.socket(socket.AF_UNIX) as listener, tempfile.TemporaryDirectory(prefix="pymp-") as place:
        listener.bind(f"{place}/listener-12345678")


@pytest.mark.parametrize("data", ["csv", "text", "text_classification", "ucr"])
def test_a_pipe_is_no_training_data(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "pipe.ts")
    target = ["data.target=y"] if data == "csv" else []
    assert train_command.main([f"data={data}", "data.path=pipe.ts", *target]) == 2
    printed = capsys.readouterr().err
    assert "no file but a pipe" in printed
    assert printed.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["pipe.ts"]
