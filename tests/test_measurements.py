"""What ``python -m benchmarks`` prepares for its rivals still fits the commands that it measures."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import end_to_end, fleet
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
