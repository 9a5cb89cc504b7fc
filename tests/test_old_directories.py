"""Directories that earlier versions wrote are read, reported and resumed.

``tests/old/NAME.tar.xz`` holds what rnnlab at commit c1ef073, before launchers shared a pool, left of a run, of a
grid and a search that were interrupted in their second job, of a fleet that was interrupted, and of a benchmark;
without what is drawn or logged beside. The scores here are those that the same version reached when it resumed them.
"""

import tarfile
from pathlib import Path

import pytest

from rnnlab.commands import benchmark as benchmark_command
from rnnlab.commands import evaluate as evaluate_command
from rnnlab.commands import report as report_command
from rnnlab.commands import resume as resume_command
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.records import find_runs
from rnnlab.runs.sweep import SweepDirectory

OLD = Path(__file__).parent / "old"
STATES = {
    "run": {"run": "done"},
    "grid": {"0_seed=0": "done", "1_seed=1": "interrupted", "2_seed=2": "queued"},
    "search": {"0_lr=0.024525": "done", "1_lr=0.042644": "interrupted"},
    "fleet": {"0_lr=0.001": "interrupted", "1_lr=0.01": "interrupted", "2_lr=0.1": "interrupted"},
    "benchmark": {"seed0": "done"},
}
RESUMED = {
    "grid": {"0_seed=0": 0.3768618405, "1_seed=1": 0.1702633351, "2_seed=2": 0.1863923818},
    "search": {"0_lr=0.024525": 0.0406233147, "1_lr=0.042644": 0.0391227566, "2_lr=0.032655": 0.0411625877},
    "fleet": {"0_lr=0.001": 0.6378635168, "1_lr=0.01": 0.0592287928, "2_lr=0.1": 0.0411727913},
}  # fmt: skip


def unpacked(name: str, place: Path) -> Path:
    with tarfile.open(OLD / f"{name}.tar.xz") as archive:
        archive.extractall(place, filter="data")
    return place / name


@pytest.mark.parametrize("name", STATES)
def test_they_are_read_and_reported(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = unpacked(name, tmp_path)
    found = find_runs([path])
    assert not found.left_out
    assert {record.path.name: record.state for record in found.records} == STATES[name]
    assert not [line for record in found.records for line in record.damage]
    if name in RESUMED:
        assert len(SweepDirectory.open(path).plan) == len(STATES[name])
    assert report_command.main([str(path)]) == 0
    assert "done" in capsys.readouterr().out or name == "fleet"


@pytest.mark.slow
@pytest.mark.parametrize("name", RESUMED)
def test_sweeps_go_on_to_the_scores_that_they_had_then(name: str, tmp_path: Path) -> None:
    path = unpacked(name, tmp_path)
    assert resume_command.main([str(path), "--force"]) == 0  # the code that trains may have changed since
    scores = {job: RunDirectory(path / job).metrics["test/loss"] for job in RESUMED[name]}
    assert scores == pytest.approx(RESUMED[name], rel=1e-3)


def test_a_run_is_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = unpacked("run", tmp_path)
    assert evaluate_command.main([str(path)]) == 0
    assert f"{RunDirectory(path).metrics['test/loss']:.4g}" in capsys.readouterr().out


def test_a_benchmark_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unpacked("benchmark", tmp_path).rename(tmp_path / "adding")
    arguments = ["adding", "--dir", str(tmp_path), "--rows", "RNN", "--at", "50", "--seeds", "1", "data.length=12",
                 "data.num_samples=40", "data.batch_size=8", "trainer.max_epochs=1", "trainer.accelerator=cpu",
                 "instruments=none", "model.hidden_size=2"]  # fmt: skip
    assert benchmark_command.main(arguments) == 0
    assert "from before" in capsys.readouterr().out
    assert (tmp_path / "adding" / "table.md").is_file()
