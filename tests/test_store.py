"""The directory of a run as others may find or leave it: killed at any moment, locked, full of links."""

import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import TINY, compose
from processes import PATIENCE, ended, somebody_else, start, wait_until

from rnnlab.commands import evaluate as evaluate_command
from rnnlab.commands import export as export_command
from rnnlab.commands import inspect as inspect_command
from rnnlab.commands import resume as resume_command
from rnnlab.errors import InputError
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import Outcome, execute
from rnnlab.runs.sweep import Job, SweepDirectory, is_sweep
from rnnlab.store import files, lock, open_directory
from rnnlab.store.files import Damaged, LogFile, append, read_bytes, replace

Train = Callable[..., Outcome]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is done: to be copied, not changed."""
    directory = RunDirectory.claim(tmp_path_factory.mktemp("trained") / "run")
    execute(directory, compose(*TINY, "model.hidden_size=4", "instruments=none"), quiet=True)
    return directory.path


@pytest.fixture
def stopped(trained: Path, tmp_path: Path) -> RunDirectory:
    """A run that was stopped."""
    directory = RunDirectory(shutil.copytree(trained, tmp_path / "run"))
    directory.update_status("interrupted")
    return directory


CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.truncate", "os.chmod", "shutil.rmtree"}


def killed_before_change(number: int, work: Callable[[], Any]) -> bool:
    """Whether a process was killed (SIGKILL) right before its ``number``-th change of the disk; else it ended well."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        return os.WIFSIGNALED(status)
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in CHANGES:
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(hook)
        work()
        os._exit(0)
    finally:  # whatever happens, the child is not a second pytest
        os._exit(1)


def test_a_claim_that_is_killed_anywhere_can_be_made_again_or_is_a_run(tmp_path: Path) -> None:
    config, facts = {"seed": 7}, {"command": ["rnnlab", "train"], "overrides": ["seed=7"]}
    runs = again = 0
    for number in range(1, 100):
        path = tmp_path / f"run{number}"
        killed = killed_before_change(number, lambda path=path: RunDirectory.claim(path, config, **facts))
        if (path / "status.json").exists():
            runs += 1
            directory = RunDirectory.open(path)
            assert directory.config == config
            assert directory.status.overrides == ("seed=7",) and directory.status.command == ("rnnlab", "train")
            with directory.locked():
                pass
        else:
            again += 1
            claimed = RunDirectory.claim(path, config)
            assert claimed.config == config
            assert sorted(entry.name for entry in path.iterdir()) == ["config.yaml", "run.lock", "status.json"]
            claimed.remove_if_untrained()
            assert not path.exists() or not list(path.iterdir())
        if not killed:
            break
    assert again > 5 and runs > 1, "it was killed before and after the run appeared"


def test_a_sweep_that_is_killed_anywhere_while_it_begins_can_begin_again_or_be_gone_on_with(tmp_path: Path) -> None:
    facts = {"command": ["rnnlab", "train", "-m"], "overrides": ["seed=0,1"], "varied": ["seed"]}
    jobs = [Job(number, f"{number}", (f"seed={number}",), {"seed": number}) for number in (0, 1)]

    def begin(path: Path) -> None:
        SweepDirectory.claim(path, facts, chosen=True).add(jobs, facts["command"])

    gone_on = again = 0
    for number in range(1, 100):
        path = tmp_path / f"sweep{number}"
        killed = killed_before_change(number, lambda path=path: begin(path))  # type: ignore[misc]
        if is_sweep(path):
            gone_on += 1
            directory = SweepDirectory.open(path)
            assert directory.facts["overrides"] == ["seed=0,1"]
            with directory.lead():
                if not directory.plan:  # killed before the plan of its jobs: resume begins with that
                    directory.add(jobs, facts["command"])
                directory.mend(jobs, facts["command"])
        else:
            again += 1
            begin(path)
        found = {str(entry.relative_to(path)) for entry in path.rglob("*")} - {"sweep.lock"}
        runs = {f"{run}{file}" for run in "01" for file in ("", "/config.yaml", "/status.json")}
        assert found == {"jobs.json", "sweep.json", *runs}
        assert [SweepDirectory.open(path).run(each).status.state for each in "01"] == ["queued", "queued"]
        if not killed:
            break
    assert again > 2 and gone_on > 5, "it was killed before and after the sweep appeared"


def test_what_somebody_else_put_there_is_not_taken_for_a_killed_claim(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("mine: true")
    with pytest.raises(InputError, match=r"not empty \(it holds config\.yaml\)"):
        RunDirectory.claim(tmp_path, {"seed": 0})
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.yaml"]


def test_a_full_disk_leaves_nothing_of_a_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(InputError, match="cannot be written: No space left on device"):
            RunDirectory.claim(tmp_path / "a" / "run", {"seed": 0})
        with pytest.raises(InputError, match="cannot be written: No space left on device"):
            SweepDirectory.claim(tmp_path / "b" / "sweep", {}, chosen=True)
    assert not list(tmp_path.iterdir())


def test_a_run_that_has_only_its_claim_is_resumed_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "y.csv").write_text("y\n" + "".join(f"{i % 7}\n" for i in range(80)))
    monkeypatch.chdir(tmp_path / "project")
    config = compose("data=csv", "data.path=y.csv", "data.target=y", "data.length=4", "trainer.max_epochs=1",
                     "trainer.accelerator=cpu", "model.hidden_size=4", "instruments=none")  # fmt: skip
    directory = RunDirectory.claim(tmp_path / "run", config)
    lock.release(directory.path / "run.lock")  # as its process had ended
    monkeypatch.chdir(tmp_path)
    assert resume_command.main(["run"]) == 0, capfd.readouterr().err
    assert directory.status.state == "done"
    assert directory.config["data"]["path"] == str(tmp_path / "project" / "y.csv")


def test_epochs_after_the_checkpoint_are_not_there_twice(train: Train) -> None:
    options = ("instruments=none", "model.hidden_size=4")
    whole = train("trainer.max_epochs=4", *options).directory
    cut = train("trainer.max_epochs=2", *options).directory
    # killed in its fourth epoch, with the last checkpoint at the end of its second
    for row in whole.epochs[2:]:
        cut.append_epoch(row)
    (cut.path / "metrics.json").unlink()
    cut.write_config({**cut.config, "trainer": {**cut.config["trainer"], "max_epochs": 4}})
    cut.update_status("running")
    assert resume_command.main([str(cut.path)]) == 0
    assert [row["epoch"] for row in cut.epochs] == [1, 2, 3, 4]
    assert cut.epochs == whole.epochs


SMALL = (*TINY, "model.hidden_size=4", "instruments=none", "trainer.max_epochs=4", "trainer.checkpoint_seconds=0.0")


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["directory", "status.json", "train.log", "torch", "metrics.csv"])
def test_a_run_that_is_killed_at_any_moment_loses_nothing(moment: str, train: Train, tmp_path: Path) -> None:
    whole = train(*SMALL).directory
    cut = tmp_path / "cut"
    process = start("train", *SMALL, f"hydra.run.dir={cut}")
    wait_until(lambda: cut.exists() if moment == "directory" else (cut / moment.replace("torch", "train.log")).exists())
    if moment == "torch":
        time.sleep(0.5)
    process.kill()
    process.communicate(timeout=PATIENCE)
    if (cut / "status.json").exists():
        assert resume_command.main([str(cut)]) == 0
    else:
        assert moment == "directory"
        ended(start("train", *SMALL, f"hydra.run.dir={cut}"))
    assert (cut / "metrics.csv").read_text() == (whole.path / "metrics.csv").read_text()
    assert RunDirectory(cut).status.state == "done"


# ---- one process at a time -----------------------------------------------------------------------


def test_the_second_of_two_resumes_is_refused_in_one_line(
    stopped: RunDirectory, capfd: pytest.CaptureFixture[str]
) -> None:
    directory = stopped
    before = {file: file.read_bytes() for file in directory.path.rglob("*") if file.is_file()}
    with somebody_else(directory.path / "run.lock") as pid:
        capfd.readouterr()
        assert resume_command.main([str(directory.path)]) == 2
        said = capfd.readouterr().err
        assert said.count("\n") == 1 and f"is being worked on by process {pid}" in said and "Traceback" not in said
        with pytest.raises(InputError, match="already holds a run"):
            RunDirectory.claim(directory.path, {})
    assert {file: file.read_bytes() for file in before if file.name != "run.lock"} == {
        file: content for file, content in before.items() if file.name != "run.lock"
    }
    assert resume_command.main([str(directory.path)]) == 0
    assert directory.status.state == "done"


def test_a_job_that_somebody_works_at_is_left_alone(stopped: RunDirectory) -> None:
    from rnnlab.launch.job import execute_job

    directory = stopped
    before = directory.status.facts
    with somebody_else(directory.path / "run.lock"):
        execute_job(directory)
    assert directory.status.facts == before


def another_process_gets(path: Path) -> bool:
    code = f"from pathlib import Path; from rnnlab.store import lock; lock.hold(Path({str(path)!r}))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_a_lock_is_the_processs_and_no_childs(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with lock.locked(path):
        child = os.fork()
        if not child:  # it would keep the lock of a parent that is killed
            try:
                lock.hold(path)
                os._exit(1)
            except lock.Busy:
                os._exit(0 if not lock._mine.held else 2)
        assert os.waitpid(child, 0)[1] == 0
        with lock.locked(path):
            pass
        assert not another_process_gets(path)
    assert another_process_gets(path)


# ---- nothing is written elsewhere ------------------------------------------------------------------


WRITTEN = ("train.log", "config.yaml", "status.json", "metrics.json", "metrics.csv", "run.lock")


@pytest.mark.parametrize("name", [*WRITTEN, "checkpoints", "figures", "checkpoints/last.ckpt", "events.out.tfevents.1"])
def test_a_resume_writes_through_no_link(
    name: str, stopped: RunDirectory, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    directory = stopped
    elsewhere = tmp_path / "mine"
    place = directory.path / name
    if name in ("checkpoints", "figures"):
        place.rename(elsewhere) if place.exists() else elsewhere.mkdir()
    else:
        elsewhere.write_bytes(place.read_bytes() if place.exists() else b"years of work")
        place.unlink(missing_ok=True)
    place.symlink_to(elsewhere)
    before = {file: file.read_bytes() for file in [elsewhere, *elsewhere.rglob("*")] if file.is_file()}
    capfd.readouterr()
    assert resume_command.main([str(directory.path)]) == 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and name.split("/")[-1] in said and "a link" in said
    assert {file: file.read_bytes() for file in [elsewhere, *elsewhere.rglob("*")] if file.is_file()} == before


@pytest.mark.parametrize(
    ("verb", "name", "arguments"),
    [(evaluate_command, "evaluations", ()), (inspect_command, "inspect", ("--force",)),
     (export_command, "export", ("--format", "pt2", "--force"))],
)  # fmt: skip
def test_no_other_verb_writes_through_a_link(
    verb: Any, name: str, arguments: tuple[str, ...], trained: Path, tmp_path: Path,
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("rnnlab.use.export.artifact.convert", lambda *_: (None, b"a file"))
    monkeypatch.setattr("rnnlab.use.export.artifact.serve", lambda *_: None)
    monkeypatch.setattr("rnnlab.use.export.artifact.check", lambda *_: SimpleNamespace(holds=True))
    monkeypatch.setattr("rnnlab.use.export.artifact.describe", lambda *_: {})
    run = shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "mine").mkdir()
    (run / name).symlink_to(tmp_path / "mine")
    # an evaluation scores all the same, and says that it isn't kept
    assert verb.main([str(run), *arguments]) == (0 if verb is evaluate_command else 2)
    assert f"{name} is a link" in capfd.readouterr().err
    assert not list((tmp_path / "mine").iterdir())


def test_files_are_opened_for_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "fifo")
    assert read_bytes(tmp_path / "file", 5) == b"12345"
    with pytest.raises(Damaged, match="more than 4 bytes"):
        read_bytes(tmp_path / "file", 4)
    for name, what in (("link", "a link"), ("fifo", "a FIFO"), (".", "a directory")):
        with pytest.raises(Damaged, match=f"it is {what}"):
            read_bytes(tmp_path / name, 10)
        with pytest.raises(InputError, match=f"is {what}"):
            append(tmp_path / name, b"6")
    with pytest.raises(Damaged, match="a device"):
        read_bytes(Path("/dev/zero"), 10)
    append(tmp_path / "file", b"6")
    append(tmp_path / "new", b"7")
    replace(tmp_path / "link", "8")  # takes the link's place
    assert [(tmp_path / name).read_bytes() for name in ("file", "new", "link")] == [b"123456", b"7", b"8"]
    with pytest.raises(InputError, match="must be a directory"):
        open_directory.folder(tmp_path, "file")
    handler = LogFile(tmp_path / "log")
    handler.stream.write("half a character: \udc80\n")
    handler.close()
    assert (tmp_path / "log").read_text() == "half a character: \\udc80\n"


def test_a_log_that_is_closed_stays_closed(tmp_path: Path) -> None:
    handler = LogFile(tmp_path / "log")
    record = logging.LogRecord("rnnlab", logging.INFO, __file__, 1, "one", None, None)
    handler.emit(record)
    handler.close()
    handler.emit(record)
    assert handler.stream is None
    assert (tmp_path / "log").read_text() == "one\n"


@pytest.mark.parametrize("swapped", ["before", "after"])
def test_a_directory_that_becomes_a_link_at_the_last_moment_is_not_followed(swapped: str, tmp_path: Path) -> None:
    run, mine = tmp_path / "run", tmp_path / "mine"
    for path in (run / "checkpoints", mine):
        path.mkdir(parents=True)
        (path / "best.ckpt").write_text("years of work")

    def swap() -> None:
        (run / "checkpoints").rename(run / "away")
        (run / "checkpoints").symlink_to(mine)

    file = run / "checkpoints" / "best.ckpt"
    if swapped == "before":  # whoever looked a moment ago has seen a directory
        swap()
        for write in (lambda: replace(file, "new", inside=run), lambda: files.remove(file, inside=run)):
            with pytest.raises(InputError, match="checkpoints is a link, and must be a directory"):
                write()
    else:
        with open_directory.placed(file, inside=run) as place:
            swap()
            os.close(place.beside("temporary").open(os.O_CREAT | os.O_WRONLY))
            place.beside("temporary").move(place)
        assert (run / "away" / "best.ckpt").read_text() == ""
    assert [path.name for path in mine.iterdir()] == ["best.ckpt"]
    assert (mine / "best.ckpt").read_text() == "years of work"
    (tmp_path / "link").symlink_to(mine)  # what the user names may be a link
    replace(tmp_path / "link" / "new", "new")
    assert (mine / "new").read_text() == "new"


def test_a_folder_is_not_left_for_files_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several files none appears before all are written."""
    sync = os.fsync

    def full(descriptor: int) -> None:
        if os.fstat(descriptor).st_size == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    folder = tmp_path / "export"
    with pytest.raises(OSError, match="No space") as refused:
        files.replace_all({folder / "model.onnx": b"net", folder / "model.onnx.json": "{}{}{"}, inside=tmp_path)
    assert refused.value.filename == str(folder / "model.onnx.json"), "which file, whoever says so"
    assert not list(tmp_path.iterdir())
    files.replace_all({folder / "model.onnx": b"net", folder / "model.onnx.json": "{}"}, inside=tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["model.onnx", "model.onnx.json"]
    files.remove(tmp_path / "nowhere" / "file", inside=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_a_folder_is_made_or_there_and_nothing_else_is_one(tmp_path: Path) -> None:
    assert [open_directory.folder(tmp_path, "a") for _ in range(2)] == [tmp_path / "a"] * 2
    assert (tmp_path / "a").is_dir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    for name, what in (("file", "a file"), ("link", "a link")):
        with pytest.raises(InputError, match=f"{name} is {what}, and must be a directory"):
            open_directory.folder(tmp_path, name)


def test_who_holds_a_lock_that_cannot_be_read_is_another_process(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("process 5 on host\n")
    (tmp_path / "link").symlink_to(tmp_path / "lock")
    names = ("lock", "link", "nothing")
    assert [lock._holder(tmp_path / name) for name in names] == ["process 5 on host", *["another process"] * 2]


def test_a_lock_on_a_full_disk_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    lock.hold(tmp_path / "lock")
    monkeypatch.setattr(os, "ftruncate", full)
    lock.release(tmp_path / "lock")
    monkeypatch.undo()
    assert lock._key(tmp_path / "lock") not in lock._mine.held and another_process_gets(tmp_path / "lock")


def test_numbers_that_are_none_are_null(tmp_path: Path) -> None:
    directory = RunDirectory.claim(tmp_path / "run", {})
    directory.write_metrics({"test/loss": float("nan"), "test/r2": float("-inf"), "epochs": 3})
    text = (directory.path / "metrics.json").read_text()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")) == {
        "test/loss": None, "test/r2": None, "epochs": 3,
    }  # fmt: skip
    metrics = directory.metrics
    assert metrics["epochs"] == 3 and metrics["test/loss"] != metrics["test/loss"]
    (directory.path / "metrics.json").write_text('{"test/loss": NaN, "test/r2": Infinity}')  # as it was once written
    assert all(value != value for value in directory.metrics.values())


@pytest.mark.slow
@pytest.mark.parametrize("variables", [{}, {"PYTHONPATH": f"{os.pathsep}."}])
def test_a_module_in_the_current_directory_is_not_run(variables: dict[str, str], trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    for name in ("msvcrt", "nt", "org", "typing", "argparse", "pathlib", "torch", "hydra", "yaml", "lightning"):
        (run / f"{name}.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w')")
    config = RunDirectory(run).config
    RunDirectory(run).write_config({**config, "instruments": {"mine": {"_target_": "org.Mine"}}})
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    said = ""
    module, script = [sys.executable, "-m", "rnnlab"], [str(Path(sys.executable).with_name("rnnlab"))]
    for command, arguments, status in (
        (module, ("--version",), 0), (script, ("report", "."), 0), (module, ("evaluate", "."), 2),
        (script, ("evaluate", ".", "--allow", "org"), 2),
    ):  # fmt: skip
        done = subprocess.run([*command, *arguments], cwd=run, env=environment,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == status, done.stderr
        said += done.stderr
    assert "org.Mine is not what a run directory may build" in said
    assert f"there is no module org (and none is taken from {run}, which is a run directory)" in said
    assert not (tmp_path / "owned").exists()
