"""A law: with no key but its name, a run on any data set is better than the best trivial predictor of that data."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import choices, compose

from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import execute
from rnnlab.runs.verdict import judge
from rnnlab.store.verdict import Judgement

LIKE_OTHERS = ("addition", "dates", "string_pairs", "digit_lines", "moving_digits", "next_digits", "pronunciation")
"""Data whose objective and whose way to be learned others have, that are quicker: these are left to make test-all."""
EXCEPT = {
    "random": "there is nothing to learn",
    "csv": "it needs a path",
    "pairs": "without a path it is dates",
    "captions": "without a path it is glyph_captions",
    "frames": "without a path it is moving_shapes",
    "video": "without a path it is next_shapes",
    "speech": "without a path it is dial_tones",
}

FEW = ("airline", "economic", "sunspots")
"""Data whose test part has some 30 to 60 windows: too few to tell what is a few per cent better than a linear
autoregression, which is no trivial predictor, from one that is as good. It must not be worse, and be better than the
naive ones."""
NOT_TRIVIAL = ("ets", "gzip", "ngram_regression", "ridge", "xz")
"""Baselines that ask for more than a network with no key but its data, and by which the law does not judge it."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(name, marks=pytest.mark.exhaustive if name in LIKE_OTHERS else ())
        for name in choices("data")
        if name not in EXCEPT
    ],
)
def test_a_run_with_no_other_key_beats_the_best_trivial_predictor(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "rnnlab.runs.execution.judge", lambda told: judge(replace(told, rivals=(*told.rivals, *NOT_TRIVIAL)))
    )
    config = compose(f"data={data}", "instruments=none", "trainer.num_threads=1", "trainer.accelerator=cpu")
    outcome = execute(RunDirectory.claim(tmp_path / data, config), config, quiet=True)
    verdict = outcome.directory.status.verdict
    assert verdict is not None
    if data not in FEW:
        assert verdict.state is Judgement.BETTER, verdict.text
        return
    assert verdict.state in (Judgement.BETTER, Judgement.UNCERTAIN), verdict.text
    metrics = outcome.metrics
    naive = (metrics.get(f"baseline/{name}mae", math.inf) for name in ("", "seasonal_naive/"))
    assert metrics["test/mae"] < min(naive), verdict.text
