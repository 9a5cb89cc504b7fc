"""A law: with no key but its name, a run on any data set is better than the best trivial predictor of that data."""

from pathlib import Path

import pytest
from conftest import choices, compose

from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import execute
from rnnlab.store.verdict import Judgement

EXCEPT = {
    "random": "there is nothing to learn",
    "csv": "it needs a path",
}

FEW = ("airline", "sunspots")
"""Data whose test part has some 30 windows: what is better there need not be so beyond doubt."""


@pytest.mark.slow
@pytest.mark.parametrize("data", [name for name in choices("data") if name not in EXCEPT])
def test_a_run_with_no_other_key_beats_the_best_trivial_predictor(data: str, tmp_path: Path) -> None:
    config = compose(f"data={data}", "instruments=none", "trainer.num_threads=1", "trainer.accelerator=cpu")
    outcome = execute(RunDirectory.claim(tmp_path / data, config), config, quiet=True)
    verdict = outcome.directory.status.verdict
    assert verdict is not None
    assert verdict.gain is not None and verdict.gain > 0, verdict.text
    if data not in FEW:
        assert verdict.state is Judgement.BETTER, verdict.text
