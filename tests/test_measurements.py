"""What ``python -m benchmarks`` prepares for its rivals still fits the commands that it measures."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import end_to_end, fleet, measurement
from benchmarks.end_to_end import Job

JOBS = [*end_to_end.JOBS, Job("of a fleet", "forecast", fleet.OVERRIDES, (fleet.EPOCHS, fleet.EPOCHS), 0.0)]


@pytest.mark.parametrize(
    "job",
    [
        pytest.param(job, id=job.name, marks=[pytest.mark.needs("datasets")] * ("data=ucr" in job.overrides))
        for job in JOBS
    ],
)
def test_rivals_get_the_data_and_the_sizes_of_a_job(job: Job, tmp_path: Path) -> None:
    end_to_end.describe(job, quick=True, file=tmp_path / "job.npz")
    with np.load(tmp_path / "job.npz", allow_pickle=False) as described:
        assert {"train_x", "train_y", "val_x", "val_y"} <= set(described.files)
        assert all(len(described[f"{split}_x"]) == len(described[f"{split}_y"]) > 0 for split in ("train", "val"))


def test_tables_of_experiments_are_stale_by_their_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "# t\n\nMachine: CPU, 1 thread(s) a run; rnnlab {}, torch {}, commit {}, 2026-12-01. Up to 3 runs.\n"
    versions = {"rnnlab": "1", "torch": "2.0+cpu"}
    (tmp_path / "experiments").mkdir()
    tables = {
        "same": line.format("1", "2.0+cpu", "abc"),
        "moved": line.format("1", "2.0+cpu", "docs"),  # nothing that a run consists of has changed since
        "older": line.format("1", "2.0+cpu", "old"),
        "torch": line.format("1", "1.9", "abc"),
        "blank": "# t\n",
    }
    for name, text in tables.items():
        (tmp_path / "experiments" / f"{name}.md").write_text(text)
    monkeypatch.setattr(measurement, "RESULTS", tmp_path)
    monkeypatch.setattr(measurement, "_commit", lambda: "abc")
    monkeypatch.setattr(measurement, "_git_differs", lambda commit: commit == "old")
    monkeypatch.setattr(measurement, "version", versions.__getitem__)
    assert measurement.stale() == [
        "stale: experiments/blank (its last line names no commit): rnnlab benchmark blank",
        "stale: experiments/older of 2026-12-01 (commit: old, now abc): rnnlab benchmark older",
        "stale: experiments/torch of 2026-12-01 (torch: 1.9, now 2.0+cpu): rnnlab benchmark torch",
    ]
