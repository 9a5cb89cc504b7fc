"""Sweep directories that anybody may have made: nothing in them runs code, writes elsewhere or opens a connection."""

import json
import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnlab.commands import resume as resume_command
from rnnlab.commands import train as train_command
from rnnlab.errors import InputError
from rnnlab.launch.launcher import Basic
from rnnlab.launch.local import Local
from rnnlab.launch.slurm import Slurm
from rnnlab.runs.build import build
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.page import payload
from rnnlab.runs.records import find_runs
from rnnlab.runs.schema import is_plain
from rnnlab.runs.sweep import SweepDirectory

TINY = ("data.num_samples=40", "trainer.max_epochs=1", "trainer.accelerator=cpu", "instruments=none")
Change = Callable[[Path, dict[str, Any], list[dict[str, Any]]], Sequence[str]]
"""Given the sweep, its ledger and its jobs, changes them and returns overrides that the ledger says too."""


@pytest.fixture(autouse=True)
def instant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is trained and nothing built beforehand: what is tested is what else happens."""
    monkeypatch.setattr(Basic, "run", lambda *_: None)
    monkeypatch.setattr(Basic, "check", lambda *_: None)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweeps") / "s"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Basic, "run", lambda *_: None)
        patch.setattr(Basic, "check", lambda *_: None)
        assert train_command.main(["-m", *TINY, "seed=0,1", f"hydra.sweep.dir={path}"]) == 1
    return path


def pickled(path: Path) -> Path:
    """A file of numpy's that makes another file when it is unpickled."""

    class Touch:
        def __reduce__(self) -> Any:
            return (Path.touch, (path / "owned",))

    np.save(path / "x.npy", np.array([Touch()], dtype=object), allow_pickle=True)
    return path / "x.npy"


def load(path: Path) -> str:
    return f"{{_target_:numpy.load,file:{pickled(path)},allow_pickle:true}}"


def a_config_that_hydra_builds(path: Path, *_: Any) -> list[str]:
    sweeper = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
    return [f"hydra.launcher._target_={sweeper}", f"+hydra.launcher.max_batch_size={load(path)}"]


def an_argument_that_is_built(path: Path, *_: Any) -> list[str]:
    return ["hydra/launcher=local", f"+hydra.launcher.further={load(path)}"]


def a_launcher_that_is_none(path: Path, *_: Any) -> list[str]:
    return ["hydra.launcher._target_=rnnlab.launch.job.execute_job", f"+hydra.launcher.directory={path}"]


def a_searcher_that_is_none(path: Path, facts: dict[str, Any], _: Any) -> list[str]:
    facts["search"] = {}
    return ["hydra.sweeper._target_=rnnlab.search.study.storage_at", f"+hydra.sweeper.place={path}/owned"]


def a_line_of_the_shell(path: Path, *_: Any) -> list[str]:
    return ["hydra/launcher=slurm", f"hydra.launcher.setup=['touch {path}/owned']"]


def a_parameter_of_sbatch(path: Path, *_: Any) -> list[str]:
    return ["hydra/launcher=slurm", f"hydra.launcher.additional_parameters={{wrap:'touch {path}/owned'}}"]


def another_machine(path: Path, *_: Any) -> list[str]:
    return ["hydra/launcher=ray", "hydra.launcher.address=203.0.113.7:6379"]


def a_database(path: Path, facts: dict[str, Any], _: Any) -> list[str]:
    facts["search"] = {}
    return ["hydra/sweeper=optuna", f"hydra.sweeper.storage={path.parent}/owned.db", "seed=0,1"]


def configs_of_its_own(path: Path, facts: dict[str, Any], _: Any) -> list[str]:
    (path / "conf" / "hydra" / "launcher").mkdir(parents=True)
    (path / "conf" / "hydra" / "launcher" / "local.yaml").write_text("_target_: os.abort\n")
    facts["config_dirs"] = [str(path / "conf")]
    return ["hydra/launcher=local"]


def a_root_of_its_own(path: Path, facts: dict[str, Any], _: Any) -> list[str]:
    facts["config_name"] = "elsewhere"
    return []


def a_choice_outside_of_the_configs(path: Path, *_: Any) -> list[str]:
    (path / "evil.yaml").write_text("_target_: os.abort\n")
    return [f"hydra/launcher=../../../../../../../../../..{path}/evil"]


def a_choice_in_hydras_place(path: Path, facts: dict[str, Any], _: Any) -> list[str]:
    facts["search"] = {}
    return ["optimizer@hydra.launcher=sgd", "hydra/sweeper=random"]


def a_job_elsewhere(path: Path, _: Any, jobs: list[dict[str, Any]]) -> list[str]:
    jobs[0]["directory"] = "../owned"
    return []


def a_job_anywhere(path: Path, _: Any, jobs: list[dict[str, Any]]) -> list[str]:
    jobs[0]["directory"] = str(path.parent / "owned")
    return []


def a_job_behind_a_link(path: Path, _: Any, jobs: list[dict[str, Any]]) -> list[str]:
    (path.parent / "mine").mkdir()
    (path / "link").symlink_to(path.parent / "mine")
    jobs[0]["directory"] = "link"
    return []


def a_lock_that_is_a_link(path: Path, *_: Any) -> list[str]:
    (path.parent / "mine").write_text("precious")
    (path / "sweep.lock").unlink()
    (path / "sweep.lock").symlink_to(path.parent / "mine")
    return []


CHANGES: list[tuple[Change, str]] = [
    (a_config_that_hydra_builds, "it is no launcher"),
    (an_argument_that_is_built, "stands in the sweep's ledger"),
    (a_launcher_that_is_none, "is not what a run directory may build"),
    (a_searcher_that_is_none, "is not what a run directory may build"),
    (a_line_of_the_shell, "type it again, or if you trust the ledger, add --allow hydra.launcher.setup"),
    (a_parameter_of_sbatch, "add --allow hydra.launcher.additional_parameters"),
    (another_machine, "add --allow hydra.launcher.address"),
    (a_database, "add --allow hydra.sweeper.storage"),
    (configs_of_its_own, "add --allow "),
    (a_root_of_its_own, "add --allow elsewhere"),
    (a_choice_outside_of_the_configs, "may choose configs of rnnlab's alone"),
    (a_choice_in_hydras_place, "may choose configs of rnnlab's alone"),
    (a_job_elsewhere, "directory=../owned: must be a directory below the sweep's own"),
    (a_job_anywhere, "must be a directory below the sweep's own"),
    (a_job_behind_a_link, "is a link that leads out of"),
    (a_lock_that_is_a_link, "sweep.lock is a link, and nothing is written through it"),
]


@pytest.mark.parametrize(("change", "said"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
def test_a_ledger_starts_and_reaches_nothing_by_itself(
    change: Change, said: str, planned: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s"
    shutil.copytree(planned, path)
    facts, jobs = (json.loads((path / name).read_text()) for name in ("sweep.json", "jobs.json"))
    facts["overrides"] += change(path, facts, jobs)
    (path / "sweep.json").write_text(json.dumps(facts))
    (path / "jobs.json").write_text(json.dumps(jobs))
    assert resume_command.main([str(path)]) == 2
    error = capfd.readouterr().err
    assert said in error and error.count("\n") == 1, error
    assert not list(tmp_path.rglob("owned*"))
    assert not (tmp_path / "mine").is_dir() or not list((tmp_path / "mine").iterdir())
    assert not (tmp_path / "mine").is_file() or (tmp_path / "mine").read_text() == "precious"


@pytest.mark.needs("slurm")
def test_what_is_typed_or_allowed_is_obeyed(
    planned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s"
    shutil.copytree(planned, path)
    facts = json.loads((path / "sweep.json").read_text())
    facts["overrides"] += ["hydra/launcher=slurm", "hydra.launcher.setup=['module load a']"]
    facts["config_dirs"] = [str(tmp_path)]
    (path / "sweep.json").write_text(json.dumps(facts))
    made: list[list[str]] = []
    monkeypatch.setattr(Slurm, "check", lambda self, *_: made.append(self.setup))
    monkeypatch.setattr(Slurm, "run", lambda *_: None)
    assert resume_command.main([str(path), "--allow", "hydra.launcher.setup"]) == 2
    assert f"add --allow {tmp_path}" in capfd.readouterr().err
    assert resume_command.main([str(path), "--allow", "hydra.launcher.setup", "--allow", str(tmp_path)]) == 1
    assert resume_command.main([str(path), "hydra.launcher.setup=['module load b']", "--allow", str(tmp_path)]) == 1
    assert made == [["module load a"], ["module load b"]]


@pytest.mark.parametrize(
    ("options", "trusted"),
    [
        (["hydra/launcher=local", "hydra.launcher.n_jobs=3"], []),
        pytest.param(["hydra/launcher=slurm", "hydra.launcher.setup=['module load a']", "hydra.launcher.partition=gpu"],
                     ["hydra.launcher.setup"], marks=pytest.mark.needs("slurm")),
        pytest.param(["hydra/launcher=ray", "hydra.launcher.address=head:6379"], ["hydra.launcher.address"],
                     marks=pytest.mark.needs("ray")),
        pytest.param(["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.storage=studies.db",
                      "optimizer.lr=interval(1e-4,1e-2)"],
                     ["hydra.sweeper.storage"], marks=pytest.mark.needs("optuna")),
        (["--config-dir", "conf", "data=mine"], ["CONF", "numpy"]),
    ],
    ids=["nothing", "slurm", "ray", "study", "own configs"],
)  # fmt: skip
def test_the_printed_command_goes_on(
    options: list[str], trusted: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """With all that has to be trusted, as the person who typed the first one does."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "mine.yaml").write_text("defaults: [sine, _self_]\n_target_: numpy.MyData\n")
    for launcher in ("slurm.Slurm", "ray.Ray", "local.Local"):
        for method in ("begin", "check", "run"):
            monkeypatch.setattr(f"rnnlab.launch.{launcher}.{method}", lambda *_: None)
    path = tmp_path / "s"
    assert train_command.main(["-m", *TINY, "seed=0,1", f"hydra.sweep.dir={path}", *options]) == 1
    command = capfd.readouterr().err.splitlines()[-1].partition("Go on with: rnnlab resume s")[2]
    names = [str(tmp_path / "conf") if name == "CONF" else name for name in trusted]
    assert shlex.split(command) == [word for name in names for word in ("--allow", name)]
    assert resume_command.main([str(path), *shlex.split(command)]) == 1
    assert capfd.readouterr().err.endswith(f"Go on with: rnnlab resume s{command}\n")


def test_plain_settings_of_a_ledger_are_obeyed(planned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s"
    shutil.copytree(planned, path)
    facts = json.loads((path / "sweep.json").read_text())
    facts["overrides"] += ["hydra/launcher=local", "hydra.launcher.n_jobs=3", "hydra.launcher.gpus=auto"]
    (path / "sweep.json").write_text(json.dumps(facts))
    made = []
    monkeypatch.setattr(Local, "begin", lambda self: made.append((self.n_jobs, self.gpus)))
    monkeypatch.setattr(Local, "check", lambda *_: None)
    monkeypatch.setattr(Local, "run", lambda *_: None)
    assert resume_command.main([str(path)]) == 1
    assert made == [(3, "auto")]


def test_the_study_of_an_unknown_status_is_not_asked(planned: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    shutil.copytree(planned, path)
    run = RunDirectory(path / "0_seed=0")
    run.update_status(pruning={"storage": "mysql://203.0.113.7/x", "study": "s", "number": 0, "pruner": {}})
    assert resume_command.main([str(path)]) == 1
    assert not run.status.pruning


def test_a_page_opens_no_study_outside_of_its_sweep(
    planned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, opened = tmp_path / "s", []
    shutil.copytree(planned, path)
    monkeypatch.setattr("rnnlab.search.figures.draw", lambda place, *_: opened.append(place) or {})
    for storage in ("mysql://203.0.113.7/x", str(tmp_path / "other.db"), None):
        facts = json.loads((path / "sweep.json").read_text())
        facts["search"] = {"study": "s", "storage": storage}
        (path / "sweep.json").write_text(json.dumps(facts))
        page = payload([], find_runs([path]), path, "s")
        assert ("--study" in page["searches"][0].get("said", "")) == (storage is not None)
    assert opened == [str(path / "search.db")]
    facts["search"]["storage"] = str(tmp_path / "other.db")
    (path / "sweep.json").write_text(json.dumps(facts))
    payload([], find_runs([path]), path, "s", [str(tmp_path / "other.db")])
    assert opened[1:] == [str(tmp_path / "other.db")]


@pytest.mark.parametrize(
    "content",
    ["[", "{}", '[{"number": 0}]', '[{"number": "0", "directory": "a", "overrides": [], "digest": ""}]', "[" * 100_000],
)
def test_a_damaged_plan_is_one_line(content: str, planned: Path, tmp_path: Path) -> None:
    shutil.copytree(planned, tmp_path / "s")
    (tmp_path / "s" / "jobs.json").write_text(content)
    with pytest.raises(InputError, match=r"jobs\.json is damaged"):
        SweepDirectory.open(tmp_path / "s").plan  # noqa: B018 (it is read)


@pytest.mark.parametrize(
    "target",
    [
        "rnnlab.data.ucr_archive._download",
        "rnnlab.launch.job.execute_job",
        "rnnlab.instruments.tensorboard.TensorBoard",
    ],
)
def test_what_is_no_part_is_not_built_though_it_is_ours(target: str) -> None:
    with pytest.raises(InputError, match="is not what a run directory may build"):
        build({"_target_": target}, "data", allow=[])


def test_a_config_from_a_run_directory_opens_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def find(name: str, download: bool, folder: Path) -> Any:
        asked.append(download)
        raise InputError("it is not here")

    monkeypatch.setattr("rnnlab.data.ucr.find_named", find)
    node = {"_target_": "rnnlab.data.ucr.UCR", "name": "Wine", "download": True}
    for allow in ([], ["data.download"], None):
        with pytest.raises(InputError, match="not here"):
            build(node, "data", allow=allow)
    assert asked == [False, True, True]


def test_text_is_plain_where_its_annotation_says_so() -> None:
    from rnnlab.ranges import Name

    assert is_plain(3) and is_plain(None) and is_plain([1, 2.5])
    assert is_plain("any words", Name) and is_plain("any words", Name | None)
    assert not is_plain("word", str) and not is_plain("word") and not is_plain(["word"], list[str])
    assert not is_plain({"a": 1}) and not is_plain("word", int | None)
