"""What a run is said to be worth: on made curves for each case, and in every place where a person reads it."""

import csv
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from conftest import choices, compose
from torch.nn.functional import one_hot
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from rnnlab.commands.evaluate import main as evaluate_main
from rnnlab.commands.outcome import forecast_lines
from rnnlab.commands.printed_verdict import print_verdict
from rnnlab.commands.report import print_leaderboard
from rnnlab.errors import Interrupted
from rnnlab.runs.execution import Outcome, execute
from rnnlab.runs.preparation import prepare
from rnnlab.runs.verdict import command, judge, unfinished
from rnnlab.runs.verdict.commands import again
from rnnlab.runs.verdict.evidence import Evidence, drift
from rnnlab.runs.verdict.gain import blocks, paired_proportions, proportions, ratio_interval
from rnnlab.runs.verdict.gathering import evidence
from rnnlab.spec import Batch
from rnnlab.store.status import Status
from rnnlab.store.verdict import Advice, Judgement, Verdict
from rnnlab.tasks.ranking import Ranking
from rnnlab.tasks.sequence_scores import Answer, Bleu, ChrF, Truth
from rnnlab.tasks.tally import MOST_PIECES, Tally
from rnnlab.tasks.writing import Writer

N = 200
CONFIG = {
    "optimizer.lr": 0.003,
    "optimizer.weight_decay": 0.0,
    "model.hidden_size": 64,
    "model.num_layers": 1,
    "model.dropout": 0.0,
    "data.num_samples": 2000,
    "early_stopping.patience": 20,
    "trainer.max_epochs": None,
}


def falling(start: float, end: float, epochs: int = 40) -> list[float]:
    """A curve that flattens out on its way from ``start`` to ``end``."""
    return [end + (start - end) * math.exp(-0.3 * epoch) for epoch in range(epochs)]


def steadily(start: float, end: float, epochs: int = 40) -> list[float]:
    return [start + (end - start) * epoch / (epochs - 1) for epoch in range(epochs)]


def rows(train: Sequence[float], val: Sequence[float], **more: Sequence[float]) -> list[dict[str, float]]:
    columns = {"train/loss": train, "val/loss": val, **{name.replace("_", "/", 1): v for name, v in more.items()}}
    return [{"epoch": k + 1, **{name: each[k] for name, each in columns.items()}} for k in range(len(train))]


def classified(right: float, chance: float = 0.125, n: int = N, **changed: Any) -> Evidence:
    """A classification: the network is right on a share of the sequences, the majority class on another."""
    ours = (np.arange(n) < round(right * n)).astype(float)
    theirs = (np.arange(n)[::-1] < round(chance * n)).astype(float)
    ones = np.ones(n)
    made: dict[str, Any] = {
        "metrics": {
            "test/loss": 2.0, "baseline/loss": 2.08, "test/accuracy": ours.mean(), "baseline/accuracy": theirs.mean(),
        },
        "score": "accuracy",
        "baseline": "majority class",
        "items": {"network": (ours, ones), "majority class": (theirs, ones)},
        "constant": True,
        "rows": rows(falling(2.1, 0.05), falling(2.1, 0.1)),
        "steps": 2000,
        "budget": 2000,
        "sequences": {"train": 1600, "val": 200, "test": n},
        "config": CONFIG,
        "choices": {"model": "gru", "data": "remember_first"},
        "overrides": ("data=remember_first", "seed=3"),
    }  # fmt: skip
    return Evidence(**{**made, **changed})


def forecast(
    network: float,
    persistence: float = 2.0,
    linear_ar: float = 1.0,
    n: int = N,
    horizon: int = 1,
    noise: float = 0.3,
    **changed: Any,
) -> Evidence:
    """A forecast of a series: mean absolute errors around three levels."""
    rng = np.random.default_rng(0)

    def errors(mean: float) -> np.ndarray:
        drawn = np.abs(mean * (1 + noise * rng.standard_normal(n)))
        return drawn * mean / drawn.mean()

    ones = np.ones(n)
    made: dict[str, Any] = {
        "metrics": {
            "test/loss": network**2, "baseline/loss": persistence**2, "baseline/linear_ar/loss": linear_ar**2,
            "test/mae": network, "baseline/mae": persistence, "baseline/linear_ar/mae": linear_ar,
        },
        "score": "mae",
        "baseline": "persistence",
        "items": {
            name: (errors(mean), ones)
            for name, mean in (("network", network), ("persistence", persistence), ("linear_ar", linear_ar))
        },
        "dependent": horizon,
        "ordered": True,
        "thing": "window",
        "rows": rows(falling(1.0, 0.1), falling(1.0, 0.12)),
        "steps": 2000,
        "budget": 2000,
        "sequences": {"train": 500, "val": 100, "test": n},
        "length": 24,
        "config": {**CONFIG, "data.num_samples": None, "data.length": 24, "data.path": "x.csv"},
        "choices": {"model": "gru", "data": "csv"},
        "overrides": ("data=csv", "data.path=x.csv"),
    }  # fmt: skip
    return Evidence(**{**made, **changed})


def said(verdict: Verdict) -> str:
    return " | ".join(" ".join(advice.words) for advice in verdict.next)


# ---- the judgement ---------------------------------------------------------------------------------


def test_better_says_by_how_much_and_how_sure() -> None:
    verdict = judge(classified(0.97))
    assert verdict.state is Judgement.BETTER
    assert verdict.gain == pytest.approx(0.845)
    assert verdict.low is not None and verdict.high is not None
    assert 0.75 < verdict.low < 0.845 < verdict.high < 0.92
    assert verdict.text.startswith(
        "better than majority class: accuracy 0.97 beside 0.125, 84.5 points higher (95 % interval "
    )
    assert verdict.text.endswith(" points, 200 test sequences)")
    assert verdict.next == ()


def test_the_best_of_several_baselines_counts() -> None:
    verdict = judge(forecast(0.8))
    assert (verdict.state, verdict.baseline, verdict.beside) == (Judgement.BETTER, "linear_ar", 1.0)
    assert "better than linear-ar, its best baseline: mae 0.8 beside 1, 20 % lower (95 % interval " in verdict.text
    worse = judge(forecast(1.5))
    assert (worse.state, worse.baseline) == (Judgement.NOT_BETTER, "linear_ar")
    assert "worse than linear-ar, its best baseline: mae 1.5 beside 1, 50 % higher (95 % interval " in worse.text
    far = judge(forecast(11.0)).text
    assert far.startswith(
        "worse than linear-ar, its best baseline: mae 11 beside 1, 11 times as large (95 % interval 1"
    )
    assert " times, 200 test windows)" in far


def test_an_interval_that_holds_zero_is_not_surely_better() -> None:
    verdict = judge(forecast(0.98))
    assert verdict.state is Judgement.UNCERTAIN
    assert verdict.low is not None and verdict.high is not None
    assert verdict.low < 0 < verdict.gain < verdict.high  # type: ignore[operator]
    assert "-m data=csv data.path=x.csv seed=1,2,3,4" in said(verdict)


def test_overlapping_windows_count_for_fewer() -> None:
    alone, overlapping = judge(forecast(0.9, n=120)), judge(forecast(0.9, n=120, horizon=24))
    assert alone.low is not None and overlapping.low is not None
    assert overlapping.high - overlapping.low > alone.high - alone.low  # type: ignore[operator]
    few = judge(forecast(0.5, n=20, horizon=6))
    assert few.state is Judgement.UNCERTAIN and few.low is None
    assert "(too few for an interval: 20 windows, of which 6 in a row overlap)" in few.text


def test_without_errors_of_each_sequence_the_text_says_so() -> None:
    verdict = judge(forecast(0.5, items={}))
    assert verdict.state is Judgement.UNCERTAIN and verdict.low is None
    assert verdict.text == (
        "not clearly better than linear-ar, its best baseline: mae 0.5 beside 1, 50 % lower "
        "(no interval: only the mean mae of linear-ar is known)"
    )
    worse = judge(forecast(1.2, items={}))
    assert worse.state is Judgement.NOT_BETTER and worse.text.startswith("worse than linear-ar, its best baseline: ")


def known_by_mean(network: float, ets: float, **changed: Any) -> Evidence:
    """A forecast beside exponential smoothing, of which only the mean error is known."""
    made = forecast(network, **changed)
    return replace(made, metrics={**made.metrics, "baseline/ets/mae": ets})


def test_a_baseline_of_which_only_the_mean_is_known_counts_as_any_other() -> None:
    """It may be the best, and better than the network; an interval that takes the worst of what it might be tells."""
    worse = judge(known_by_mean(0.8, 0.6))
    assert (worse.state, worse.baseline, worse.beside) == (Judgement.NOT_BETTER, "ets", 0.6)
    assert worse.text.startswith("worse than ets, its best baseline: mae 0.8 beside 0.6, 33 % higher (95 % interval ")
    assert "; only the mean mae of ets is known, which makes the interval wider)" in worse.text
    better = judge(known_by_mean(0.3, 0.6))
    assert (better.state, better.baseline) == (Judgement.BETTER, "ets")
    unsure = judge(known_by_mean(0.57, 0.6))
    assert unsure.state is Judgement.UNCERTAIN and unsure.text.startswith("not clearly better than ets")
    # it is wider than where the errors of both are known, and is not there where they are of another score
    known = judge(forecast(0.3, linear_ar=0.6))
    assert better.low < known.low < known.high < better.high  # type: ignore[operator]


def texts(right: float, beside: float, **changed: Any) -> Evidence:
    """A classification with a further classifier, of which only the accuracy is known."""
    made = classified(right, **changed)
    return replace(made, metrics={**made.metrics, "baseline/ngram_regression/accuracy": beside})


@pytest.mark.parametrize(
    ("right", "beside", "n", "state", "start"),
    [
        (38 / 39, 1.0, 39, Judgement.UNCERTAIN, "worse than ngram-regression, its best baseline, but not surely: "),
        (0.95, 0.95, 20, Judgement.UNCERTAIN, "no better than ngram-regression, its best baseline: "),
        (38 / 39, 37 / 39, 39, Judgement.UNCERTAIN, "not clearly better than ngram-regression, its best baseline: "),
        (0.95, 0.5, 40, Judgement.BETTER, "better than ngram-regression, its best baseline: "),
        (0.5, 0.95, 40, Judgement.NOT_BETTER, "worse than ngram-regression, its best baseline: "),
    ],
)
def test_shares_of_right_answers_have_an_interval_by_their_number(
    right: float, beside: float, n: int, state: Judgement, start: str
) -> None:
    verdict = judge(texts(right, beside, n=n))
    assert (verdict.state, verdict.baseline) == (state, "ngram_regression")
    assert verdict.text.startswith(start)
    assert "95 % interval " in verdict.text and "only the mean accuracy of ngram-regression is known)" in verdict.text


def test_of_equally_good_baselines_that_counts_of_which_more_is_known() -> None:
    assert judge(texts(0.5, 0.125)).baseline == "majority class"


@pytest.mark.parametrize("learned", [True, False])
def test_at_chance_is_said_beside_the_trivial_predictor(learned: bool) -> None:
    """Another classifier that is better makes a network no worse than chance."""
    flat = [2.08] * 20
    curves = rows(falling(2.1, 0.05), falling(2.1, 1.9)) if learned else rows(flat, flat)
    verdict = judge(texts(0.13, 0.9, rows=curves))
    if learned:
        assert (verdict.state, verdict.baseline) == (Judgement.NOT_BETTER, "ngram_regression")
        return
    assert (verdict.state, verdict.baseline) == (Judgement.AT_CHANCE, "majority class")
    assert verdict.text.endswith("; ngram-regression has 0.9")
    assert judge(texts(0.5, 0.9, rows=curves)).state is Judgement.NOT_BETTER  # better than chance, whatever its curves


def with_part(network: float, part: float, linear_ar: float = 1.0, **changed: Any) -> Evidence:
    """A forecast that is added to a linear part."""
    made = forecast(network, linear_ar=linear_ar, **changed)
    return replace(made, part="ridge", metrics={**made.metrics, "baseline/ridge/mae": part})


def test_the_linear_part_is_no_baseline_of_the_network_that_has_it() -> None:
    better = judge(with_part(0.8, 0.9))
    assert (better.state, better.baseline) == (Judgement.BETTER, "linear_ar")
    assert better.text.startswith("better than linear-ar, its best baseline beside its own linear part: mae 0.8 beside")
    assert better.text.endswith("; its linear part alone has 0.9")
    spoiled = judge(with_part(0.8, 0.7)).text
    assert spoiled.endswith("; its linear part alone has 0.7: what the network adds makes it worse")
    made = with_part(0.8, 0.7)
    alone = judge(replace(made, metrics={**made.metrics, "calibration/gain": 0.0})).text
    assert alone.endswith("; its linear part alone has 0.7")  # the network adds nothing that could make it worse
    unhelpful = judge(with_part(0.8, 1.2)).text
    assert unhelpful.startswith("better than linear-ar, its best baseline: ") and "linear part" not in unhelpful
    # of a network without one it is a baseline
    assert judge(replace(with_part(0.8, 0.7), part="")).baseline == "ridge"


def test_what_is_worse_is_called_so_and_all_that_are_better_are_named() -> None:
    made = forecast(3.0, n=24, horizon=3)
    now_and_then = (12.0 * (np.arange(24) < 6), np.ones(24))
    verdict = judge(replace(made, items={**made.items, "network": now_and_then}))
    assert verdict.state is Judgement.UNCERTAIN and verdict.low < 0 < verdict.high  # type: ignore[operator]
    assert verdict.text.startswith("worse than linear-ar, its best baseline, but not surely: mae 3 beside 1, 3 times")
    assert verdict.text.endswith("; persistence has 2")
    metrics = {
        "test/mae": 3.0,
        "baseline/mae": 2.0,
        "baseline/a/mae": 2.5,
        "baseline/b/mae": 1.0,
        "baseline/c/mae": 2.8,
    }
    assert judge(forecast(3.0, metrics=metrics, items={})).text.endswith("; persistence has 2, a has 2.5 and c has 2.8")


@pytest.mark.parametrize(
    ("network", "beside", "text"),
    [
        (15.0809, 15.016, "mae 15.1 beside 15, "),
        (1.00004, 1.0, "mae 1.00004 beside 1, 0.004 % higher"),
        (2.0, 2.0 + 1e-12, "mae 2 beside 2, "),
    ],
)
def test_numbers_that_differ_are_told_apart(network: float, beside: float, text: str) -> None:
    assert text in judge(forecast(network, linear_ar=beside, persistence=60.0)).text


def test_all_numbers_of_a_sentence_are_told_apart() -> None:
    text = judge(with_part(15.0809, 14.9859, linear_ar=15.016, persistence=60.0)).text
    assert "mae 15.08 beside 15.02, " in text and "its linear part alone has 14.99: " in text


def test_a_score_of_ones_own_that_rises_is_higher_where_it_is_better() -> None:
    metrics = {"test/points": 4.0, "baseline/points": 3.0}
    verdict = judge(forecast(1.0, score="points", metrics=metrics, items={}, higher=("points",)))
    assert "points 4 beside 3, 1 higher" in verdict.text


def test_a_score_that_is_no_mean_of_its_sequences_has_no_interval() -> None:
    made = forecast(0.5)
    scores, weights = made.items["network"]
    verdict = judge(forecast(0.5, items={**made.items, "network": (scores * 2, weights)}))
    assert verdict.low is None and "mae is no mean over windows" in verdict.text


def test_a_score_that_not_every_baseline_has_gives_way_to_the_loss() -> None:
    made = classified(0.9)
    verdict = judge(classified(0.9, metrics={**made.metrics, "baseline/naive_bayes/loss": 0.5}))
    assert (verdict.score, verdict.baseline, verdict.state) == ("loss", "naive_bayes", Judgement.NOT_BETTER)


def test_the_monitored_score_decides_where_all_have_it() -> None:
    made = forecast(1.5)
    metrics = {**made.metrics, "test/mape": 4.0, "baseline/mape": 9.0, "baseline/linear_ar/mape": 5.0}
    verdict = judge(forecast(1.5, metrics=metrics, monitor="val/mape"))
    assert (verdict.score, verdict.state, verdict.baseline) == ("mape", Judgement.UNCERTAIN, "linear_ar")
    assert "(no interval: only the mean mape of linear-ar is known)" in verdict.text


@pytest.mark.parametrize(
    ("metrics", "text"),
    [
        ({}, "no verdict: there is no score on test data"),
        ({"test/mae": math.nan, "baseline/mae": 1.0}, "no verdict: test/mae is no number"),
        ({"test/mae": math.inf, "baseline/mae": 1.0}, "no verdict: test/mae is no number"),
        ({"test/mae": 3.0}, "no verdict: mae 3 on the test data, and no baseline to hold it against"),
        ({"test/mae": 3.0, "baseline/mae": math.nan}, "no verdict: mae 3 on the test data, and no baseline"),
    ],
)
def test_what_cannot_be_judged_is_not(metrics: dict[str, float], text: str) -> None:
    verdict = judge(forecast(1.0, metrics=metrics, items={}))
    assert verdict.state is Judgement.NONE
    assert verdict.text.startswith(text)


def test_a_rollout_that_is_worse_is_told_beside_the_one_step_score() -> None:
    metrics = {"test/mse": 0.5, "baseline/mse": 1.0, "rollout/mse": 3.0, "baseline/rollout/mse": 2.0}
    made = forecast(0.5, score="mse", metrics=metrics, items={})
    assert made.baselines("mse") == {"persistence": 1.0}
    assert judge(made).text.endswith("; but worse on its own predictions: mse 3 beside 2")
    worse = replace(made, metrics={**metrics, "test/mse": 1.5})
    assert judge(worse).text.endswith("; on its own predictions: mse 3 beside 2")
    elsewhere = replace(made, metrics={**metrics, "test/mse": 1.5, "rollout/mse": 1.0})
    assert judge(elsewhere).text.endswith("; but better on its own predictions: mse 1 beside 2")


def test_what_is_the_same_on_all_is_no_minus_nothing() -> None:
    made = forecast(1.0)
    same = dict.fromkeys(made.items, made.items["network"])
    assert "the same (alike on all 200 test windows)" in judge(replace(made, items=same)).text


@pytest.mark.parametrize("network", [11.0, 0.8, 1.2])
def test_the_ends_of_an_interval_are_told_apart(network: float) -> None:
    """However near they are; and where all sequences are alike there is none."""
    ones, about = np.ones(N), 1 + 0.001 * np.where(np.arange(N) % 2, 1, -1)
    made = forecast(network, persistence=100.0, ordered=False)
    for ours, text in ((network * about, "95 % interval "), (network * ones, "alike on all 200 test windows")):
        items = {"network": (ours, ones), "linear_ar": (ones, ones)}
        assert text in judge(replace(made, items=items)).text
    low, high = re.findall(r"interval (\S+) to (\S+) ", judge(replace(made, items={
        "network": (network * about, ones), "linear_ar": (ones, ones)})).text)[0]  # fmt: skip
    assert low != high and float(low) == pytest.approx(float(high), rel=0.01)


def test_what_is_told_more_than_the_network_is_shown_and_decides_nothing() -> None:
    metrics = {"test/mse": 2.2, "baseline/mse": 4.5, "baseline/last_value/mse": 1.9}
    verdict = judge(forecast(0.5, score="mse", baseline="mean", metrics=metrics, items={}, rivals=("last_value",)))
    assert verdict.baseline == "mean"
    assert verdict.text.endswith("; last-value has 1.9")


def test_a_compressor_counts_and_what_is_reached_by_learning_on_is_told() -> None:
    metrics = {"test/bits": 2.2, "baseline/bits": 4.5, "baseline/bigram/bits": 3.5, "baseline/xz/bits": 1.9}
    made = forecast(0.5, score="bits", baseline="unigram", metrics={**metrics, "baseline/gzip/bits": 2.1}, items={})
    verdict = judge(replace(made, metrics={**made.metrics, "test/dynamic/bits": 1.8}))
    assert (verdict.state, verdict.baseline) == (Judgement.NOT_BETTER, "xz")
    assert verdict.text.startswith("worse than xz, its best baseline: bits 2.2 beside 1.9")
    assert verdict.text.endswith("; 1.8 where it learns on from the test's text; gzip has 2.1")


@pytest.mark.parametrize("known", [True, False])
def test_a_perplexity_is_judged_by_its_logarithm(known: bool) -> None:
    made = forecast(1.0, persistence=2.0, linear_ar=1.5)
    items = {name: (np.exp(scores), weights) for name, (scores, weights) in made.items.items()}
    metrics = {
        "test/perplexity": math.e,
        "baseline/perplexity": math.exp(2),
        "baseline/linear_ar/perplexity": math.e**1.5,
    }
    if not known:
        del items["linear_ar"]
    verdict = judge(forecast(1.0, score="perplexity", metrics=metrics, items=items))
    assert (verdict.state, verdict.baseline) == (Judgement.BETTER, "linear_ar")
    assert verdict.gain == pytest.approx(1 - math.exp(-0.5)) and verdict.low < verdict.gain < verdict.high  # type: ignore[operator]
    assert "perplexity 2.72 beside 4.48, 39 % lower (95 % interval " in verdict.text


def test_a_perfect_baseline_cannot_be_beaten() -> None:
    verdict = judge(forecast(0.1, metrics={"test/mae": 0.1, "baseline/mae": 0.0}, items={}))
    assert verdict.state is Judgement.NOT_BETTER and verdict.absolute
    assert "mae 0.1 beside 0, 0.1 higher" in verdict.text


def test_beside_a_baseline_that_makes_nearly_no_error_the_factor_is_told_in_words() -> None:
    verdict = judge(forecast(0.1, persistence=1e-9, linear_ar=1.0))
    assert verdict.state is Judgement.NOT_BETTER
    assert "mae 0.1 beside 1e-09, over 1,000 times as large (95 % interval over 1,000 times" in verdict.text
    rng = np.random.default_rng(0)
    ours, theirs = np.abs(rng.standard_normal(N)) * np.where(np.arange(N) < 5, 1e6, 0), np.ones(N)
    items = {"network": (ours, np.ones(N)), "persistence": (theirs, np.ones(N))}
    metrics = {"test/mae": float(ours.mean()), "baseline/mae": 1.0}
    text = judge(forecast(1.0, items=items, metrics=metrics, ordered=False)).text
    assert re.search(r"interval -?[\d,.e+]{1,7} to over 1,000 times", text) and not re.search(r"\d{6}", text), text


def test_a_negative_loss_has_no_ratio() -> None:
    verdict = judge(forecast(0.1, score="loss", metrics={"test/loss": -1.5, "baseline/loss": -0.5}, items={}))
    assert verdict.absolute and verdict.gain == pytest.approx(1.0)
    assert "loss -1.5 beside -0.5, 1 lower" in verdict.text


# ---- what is seen, and what to try -----------------------------------------------------------------


def test_at_chance_in_training_too() -> None:
    flat = [2.09, 2.085, 2.08] * 14
    verdict = judge(classified(0.13, rows=rows(flat, flat), config={**CONFIG, "data.length": 50}))
    assert verdict.state is Judgement.AT_CHANCE
    assert verdict.text.startswith("at chance, not better than majority class: accuracy 0.13 beside 0.125")
    assert verdict.seen == ("on the training data, too, it is at chance",)
    assert said(verdict) == (
        "train -m data=remember_first seed=3 optimizer.lr=0.0003,0.001,0.009 | "
        "train data=remember_first seed=3 data.length=12 | resume trainer.max_steps=10000"
    )


def test_at_chance_is_said_once() -> None:
    flat = [2.09, 2.085, 2.08] * 14
    verdict = judge(replace(classified(0.13, rows=rows(flat, flat)), baseline="chance"))
    assert verdict.text.startswith("at chance: accuracy 0.13 beside 0.125")


def test_no_two_commands_try_the_same_rate() -> None:
    clipped = [{"gradient/clipped": 1.0}] * 4
    flat = [2.08] * 4
    made = classified(0.2, rows=[{**row, **more} for row, more in zip(rows(flat, flat), clipped, strict=True)])
    verdict = judge(replace(made, models=()))
    rates = [word for advice in verdict.next for word in advice.words if word.startswith("optimizer.lr=")]
    assert len(rates) == 1, said(verdict)


def test_a_run_that_was_told_to_be_short_may_be_longer_however_good_it_is() -> None:
    """A schedule that has come down says nothing of what more updates would have done."""
    fell = rows([2.0], [1.9])
    made = classified(0.5, rows=fell, steps=60, budget=60, passes=1.2)
    schedule = {**made.config, "scheduler._target_": "rnnlab.tasks.schedules.one_cycle"}
    for config in (made.config, schedule):
        verdict = judge(replace(made, config=config))
        assert verdict.state is Judgement.BETTER
        assert verdict.seen == ("it was trained for 60 updates alone; 2,000 are usual",)
        assert "trainer.max_steps=300" in said(verdict)
    assert judge(replace(made, steps=2000, budget=2000)).seen == ()


def test_no_line_ends_between_a_number_and_its_per_cent(capsys: pytest.CaptureFixture[str]) -> None:
    for words in range(40):
        print_verdict(Verdict(state=Judgement.BETTER, text="better " * words + "by 95 % or 57 %, surely"), Path())
    assert not [line for line in capsys.readouterr().out.splitlines() if line.lstrip().startswith("%")]


def test_a_plateau_that_was_left_early_is_given_time() -> None:
    flat = [2.08] * 21
    verdict = judge(classified(0.13, rows=rows(flat, flat), steps=1050))
    assert verdict.state is Judgement.AT_CHANCE
    assert said(verdict).startswith("train data=remember_first seed=3 early_stopping.patience=null | ")


def test_what_was_learned_by_heart_is_not_at_chance() -> None:
    train, val = falling(2.1, 0.05), steadily(2.08, 3.6)
    verdict = judge(classified(0.13, rows=rows(train, val), config={**CONFIG, "data.length": 50}))
    assert verdict.state is Judgement.UNCERTAIN
    assert verdict.seen == ("training went on getting better (loss 0.05), and validation was best in epoch 1 of 40",)
    assert said(verdict) == (
        "train data=remember_first seed=3 data.num_samples=20000 | "
        "train data=remember_first seed=3 data.length=12 | "
        "train data=remember_first seed=3 model.hidden_size=16"
    )


def test_learned_by_heart_from_a_file_with_several_layers() -> None:
    config = {**CONFIG, "data.path": "x.ts", "model.num_layers": 2}
    verdict = judge(classified(0.13, rows=rows(falling(2.1, 0.05), falling(2.1, 1.9)), config=config))
    assert "stayed behind (loss 1.9)" in verdict.seen[0]
    assert said(verdict).startswith("train data=remember_first seed=3 model.dropout=0.3 | ")
    assert "num_samples" not in said(verdict)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "resume trainer.max_steps=6000"),
        ({"trainer.max_epochs": 10}, "resume trainer.max_epochs=30"),
        # its rate has come down: going on is another course than from the start
        ({"scheduler._target_": "rnnlab.tasks.schedules.one_cycle"}, "train data=csv data.path=x.csv"),
    ],
)
def test_still_falling_asks_for_more_updates(config: dict[str, Any], words: str) -> None:
    curve = steadily(1.0, 0.2)
    made = forecast(1.4, rows=rows(curve, curve))
    verdict = judge(forecast(1.4, rows=rows(curve, curve), config={**made.config, **config}))
    assert verdict.seen == ("val/loss was still falling when the updates were used up",)
    assert said(verdict).startswith(words)
    better = judge(forecast(0.5, rows=rows(curve, curve)))
    assert better.state is Judgement.BETTER and len(better.next) == 1


@pytest.mark.parametrize(
    ("curve", "passes", "seen"),
    [
        ([0.2075, 0.15, 0.1035], 3.0, "val/loss was still falling when the updates were used up"),
        ([0.2, 0.1], 2.0, "val/loss was still falling when the updates were used up"),
        ([0.2, 0.1, 0.0995], 3.0, None),
        ([0.2, 0.1, 0.15], 3.0, None),
        ([0.2], 0.4, "only 0.4 of one pass over the training data was made"),
        ([0.2], 1.0, "the training data were seen only once"),
        ([0.2], 30.0, None),
    ],
)
def test_few_validations_show_what_they_can(curve: list[float], passes: float, seen: str | None) -> None:
    verdict = judge(forecast(1.4, rows=rows(curve, curve), passes=passes))
    assert verdict.seen == (() if seen is None else (seen,))
    assert said(verdict).startswith("resume trainer.max_steps=") == (seen is not None)


def test_a_readout_in_closed_form_sees_its_data_once() -> None:
    made = forecast(1.4, rows=rows([0.2], [0.2]), passes=1.0)
    assert not judge(replace(made, config={**made.config, "model.solver": "ridge"})).seen


def test_what_is_perfect_or_was_annealed_is_not_still_falling() -> None:
    curves = rows(steadily(2.0, 0.01), steadily(2.0, 0.01))
    assert judge(classified(0.9, rows=curves)).seen and not judge(classified(0.995, rows=curves)).seen
    config = {**CONFIG, "scheduler._target_": "rnnlab.tasks.schedules.one_cycle"}
    assert not judge(classified(0.9, rows=curves, config=config)).seen


def test_a_score_that_rises_is_still_rising() -> None:
    curve = steadily(0.2, 0.6)
    made = classified(0.6, rows=rows(falling(2.1, 1.0), falling(2.1, 1.0), val_accuracy=curve))
    verdict = judge(classified(0.6, rows=made.rows, monitor="val/accuracy", mode="max"))
    assert verdict.seen == ("val/accuracy was still rising when the updates were used up",)


def test_a_run_that_was_stopped_early_is_not_still_falling() -> None:
    curve = steadily(1.0, 0.2)
    assert not judge(forecast(0.5, rows=rows(curve, curve), steps=1000)).seen


def of_a_season(network: float, seasonal: float, persistence: float = 2.0, **changed: Any) -> Evidence:
    """A daily series, whose season is the week, by a network that learns its values."""
    made = forecast(network, persistence, linear_ar=seasonal)
    metrics = {name.replace("linear_ar", "seasonal_naive"): value for name, value in made.metrics.items()}
    items = {name.replace("linear_ar", "seasonal_naive"): values for name, values in made.items.items()}
    config = {**made.config, "data.residual_of": "none", "data.strategy": "direct"}
    config |= {"data.window_scaling": "global"}
    return replace(made, **{"metrics": metrics, "items": items, "config": config, "period": 7, **changed})


@pytest.mark.parametrize("base", ["none", "seasonal_naive"])
def test_the_difference_from_the_season_is_advised_to_those_who_do_not_learn_it(base: str) -> None:
    verdict = judge(of_a_season(1.5, 1.2, base=base))
    assert ("data.residual_of=seasonal_naive" in said(verdict)) == (base == "none")


@pytest.mark.parametrize(
    ("seasonal", "persistence", "known", "season"),
    [(3.9, 2.36, True, False), (3.9, 2.36, False, False), (2.0, 3.9, True, True), (2.0, 3.9, False, True),
     (3.88, 3.9, True, False)],
)  # fmt: skip
def test_a_season_is_seen_where_it_says_more_than_the_last_value(
    seasonal: float, persistence: float, known: bool, season: bool
) -> None:
    """A trend alone has no season, and the value of a week ago is further from today than the last one."""
    made = of_a_season(9.0, seasonal, persistence, drift=5.0)
    verdict = judge(made if known else replace(made, items={}))
    assert verdict.seen[0].startswith("the season of 7 steps" if season else "the series has a trend")
    assert ("data.residual_of=seasonal_naive" in said(verdict)) == season


@pytest.mark.parametrize(("network", "season"), [(1.19, False), (1.21, True)])
def test_a_season_that_is_worse_than_the_network_does_not_say_more(network: float, season: bool) -> None:
    """Where there is no interval, the best baseline may be behind a network that is not called better."""
    verdict = judge(of_a_season(network, 1.2, items={}))
    assert verdict.state is not Judgement.BETTER
    assert any("says more than the network found" in seen for seen in verdict.seen) == season
    assert ("data.residual_of=seasonal_naive" in said(verdict)) == season


@pytest.mark.parametrize(("network", "ahead"), [(0.99, False), (1.01, True)])
def test_a_linear_forecast_that_is_worse_is_not_called_better(network: float, ahead: bool) -> None:
    made = forecast(network)
    metrics = {**made.metrics, "baseline/linear_ar/mae": 1.0}
    verdict = judge(replace(made, metrics=metrics, items={}, config={**made.config, "model.linear": "none"}))
    assert ("a linear forecast is better" in verdict.seen) == ahead


def without_memory(network: float, linear_ar: float = 0.99, mean: float = 1.0, **changed: Any) -> Evidence:
    """A forecast of noise: its mean says as much as anything."""
    made = forecast(network, persistence=1.4, linear_ar=linear_ar)
    other = forecast(network, persistence=mean)
    metrics = {**made.metrics, "baseline/training_mean/mae": mean}
    items = {**made.items, "training_mean": other.items["persistence"]}
    config = {**made.config, "model.linear": "ridge", "data.known": [], "model.readout_dropout": 0}
    return replace(made, **{"metrics": metrics, "items": items, "config": config, **changed})


@pytest.mark.parametrize("network", [0.98, 1.01])
def test_that_nothing_foretells_what_follows_is_said(network: float) -> None:
    verdict = judge(without_memory(network, sequences={"train": 150, "val": 100, "test": N}))
    assert verdict.state is not Judgement.BETTER
    assert verdict.seen == (
        "nothing was found in these windows that foretells what follows: the mean of the training part does as well "
        "(mae 1), so that more training will hardly help; other columns might (data.known, data.past)",
    )
    assert verdict.next == ()  # the series is too short for windows of 96
    longer = judge(without_memory(network, sequences={"train": 2000, "val": 100, "test": N}))
    assert said(longer) == "train data=csv data.path=x.csv data.length=96"
    walk = replace(without_memory(network), metrics={"test/mae": network, "baseline/mae": 1.0,
                   "baseline/linear_ar/mae": 0.99}, items={})  # fmt: skip
    assert "the last value does as well (mae 1)" in judge(walk).seen[0]


@pytest.mark.parametrize(
    "made",
    [
        without_memory(0.8, linear_ar=0.7),  # a linear forecast finds something
        without_memory(0.94, linear_ar=0.93),
        without_memory(1.01, rows=rows(steadily(2.0, 1.0), steadily(2.0, 1.0))),  # it was still learning
        replace(
            without_memory(1.01), metrics={**without_memory(1.01).metrics, "baseline/ridge/mae": 0.9}, part="ridge"
        ),
    ],
)
def test_what_something_foretells_is_not_called_noise(made: Evidence) -> None:
    assert not any("nothing was found" in line for line in judge(made).seen)


def test_a_network_that_is_worse_than_the_mean_of_noise_is_told_why_besides() -> None:
    verdict = judge(without_memory(1.6, rows=rows(falling(1.0, 0.1), steadily(1.0, 2.0))))
    assert verdict.seen[0].startswith("nothing was found") and len(verdict.seen) > 1


def test_what_was_thrown_away_is_not_made_smaller() -> None:
    """Dropout, a rate or a seed changes nothing of a linear part that stands alone."""
    curves = rows(falling(1.0, 0.1), steadily(1.0, 2.0))
    made = with_part(1.2, 1.2, rows=curves)
    config = {**made.config, "model.readout_dropout": 0}
    assert "model.readout_dropout=0.3" in said(judge(replace(made, config=config)))
    metrics = {**made.metrics, "calibration/gain": 0.0}
    verdict = judge(replace(made, config=config, metrics=metrics))
    assert "model.linear=none" in said(verdict)
    assert not re.search("dropout|hidden_size|weight_decay|optimizer|seed", said(verdict)), said(verdict)


@pytest.mark.parametrize(
    ("exact", "line"),
    [
        ("persistence", "each value is the one before it again: the series is constant"),
        ("seasonal_naive", "the series repeats itself exactly, every 7 steps"),
        ("linear_ar", "simple rules make no error"),
    ],
)
def test_a_series_without_errors_is_called_so(exact: str, line: str) -> None:
    """By all, or by a rule but for rounding; an interval of nothing is none."""
    scores = {
        "persistence": 2.0,
        "seasonal_naive": 2.0,
        "linear_ar": 2.0,
        exact: 0.0 if exact == "persistence" else 1e-9,
    }
    metrics = {f"baseline/{name}/mae": value for name, value in scores.items() if name != "persistence"}
    ones = np.ones(N)
    items = {name: (value * ones, ones) for name, value in {**scores, "network": 0.0}.items()}
    made = forecast(1.0, metrics={"test/mae": 0.0, "baseline/mae": scores["persistence"], **metrics}, items=items)
    verdict = judge(replace(made, period=7))
    assert verdict.state is Judgement.UNCERTAIN and not verdict.next
    assert verdict.text.endswith(", the same (neither makes an error)")
    assert verdict.seen == (f"in the test part {line}, and nothing is left to learn",)
    worse = judge(replace(made, metrics={**made.metrics, "test/mae": 0.01}, items={}))
    assert worse.state is Judgement.NOT_BETTER and not any("left to learn" in line for line in worse.seen)


def test_errors_of_one_are_no_right_answers() -> None:
    """Shares have intervals of shares, and errors never, though they may all be 0 and 1."""
    ones = np.ones(N)
    ours, theirs = (np.arange(N) < 20).astype(float), np.zeros(N)
    items = {"network": (ours, ones), "persistence": (theirs, ones)}
    verdict = judge(forecast(0.1, items=items, metrics={"test/mae": 0.1, "baseline/mae": 0.0}, ordered=False))
    assert (verdict.low, verdict.high) == pytest.approx(tuple(-each for each in ratio_interval(ours, ones, N)[::-1]))


@pytest.mark.parametrize("loss", ["mse", "mae"])
def test_the_median_is_advised_where_the_usual_value_is_the_better_forecast(loss: str) -> None:
    made = forecast(1.5, linear_ar=1.2)
    metrics = {name.replace("linear_ar", "most_frequent"): value for name, value in made.metrics.items()}
    items = {name.replace("linear_ar", "most_frequent"): values for name, values in made.items.items()}
    verdict = judge(replace(made, metrics=metrics, items=items, config={**made.config, "task.loss": loss}, period=7))
    assert ("task.loss=mae" in said(verdict)) == (loss == "mse")
    assert "the season" not in said(verdict)


@pytest.mark.parametrize(("gain", "lines"), [(None, 0), (0.0, 1), (0.5, 1)])
def test_what_the_linear_part_leaves_is_said_where_the_network_learns_it(gain: float | None, lines: int) -> None:
    metrics = {"test/mae": 1.0, "baseline/ridge/mae": 1.1}
    assert len(forecast_lines(metrics if gain is None else {**metrics, "calibration/gain": gain})) == lines


def test_a_season_beyond_the_window() -> None:
    verdict = judge(forecast(1.5, period=52))
    assert verdict.seen[0] == "the season of 52 steps is longer than the window of 24"
    assert said(verdict).startswith("train data=csv data.path=x.csv data.length=65 | ")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"data.window_scaling": "global", "data.strategy": "direct"}, "data.window_scaling=last"),
        ({"data.residual_of": "none", "data.strategy": "direct"}, "data.residual_of=persistence"),
    ],
)
def test_a_trend(config: dict[str, Any], words: str) -> None:
    made = forecast(1.5)
    verdict = judge(forecast(1.5, drift=3.0, config={**made.config, **config}))
    assert verdict.seen[0].startswith("the series has a trend")
    assert said(verdict).startswith(f"train data=csv data.path=x.csv {words} | ")
    # what the data does about it already is not advised again
    assert not judge(forecast(1.5, drift=3.0, config={**made.config, "data.window_scaling": "last"})).seen


def test_a_linear_forecast_that_is_better() -> None:
    made = forecast(1.5)
    verdict = judge(forecast(1.5, config={**made.config, "model.linear": "none"}))
    assert verdict.seen == ("a linear forecast is better",)
    assert said(verdict).startswith("train data=csv data.path=x.csv model.linear=ridge | ")
    assert "model.linear" not in said(judge(forecast(1.5, config={**made.config, "model.linear": None})))


def test_a_network_that_adds_nothing_to_a_linear_part_may_do_better_alone() -> None:
    for gain, seen in ((0.0, 1), (0.3, 0)):
        made = with_part(1.5, 1.5)
        verdict = judge(replace(made, metrics={**made.metrics, "calibration/gain": gain}))
        assert len([each for each in verdict.seen if "added nothing to the linear part" in each]) == seen
        assert said(verdict).count("data.path=x.csv model.linear=none") == seen
        assert said(verdict).count("model=esn model.linear=none") == seen
    # nothing that a readout in closed form would refuse is in the command
    typed = ("data=csv", "optimizer.lr=0.1", "trainer.max_steps=500", "data.linear=ridge", "data.length=20")
    made = with_part(1.5, 1.5)
    verdict = judge(replace(made, metrics={**made.metrics, "calibration/gain": 0.0}, overrides=typed))
    assert "train data=csv data.length=20 model=esn model.linear=none | " in said(verdict)
    assert "train data=csv optimizer.lr=0.1 trainer.max_steps=500 data.length=20 model.linear=none | " in said(verdict)


@pytest.mark.parametrize("residual", ["none", "seasonal_naive"])
def test_a_network_that_adds_nothing_to_a_naive_forecast_is_said_to(residual: str) -> None:
    made = forecast(1.5)
    metrics = {**made.metrics, "calibration/gain/seasonal_naive": 0.0}
    config = {**made.config, "model.readout_dropout": 0, "data.residual_of": residual}
    curves = rows(falling(1.0, 0.1), steadily(1.0, 2.0))
    verdict = judge(replace(made, metrics=metrics, base="seasonal_naive", config=config, rows=curves))
    assert "on the validation part the network added nothing to the seasonal-naive forecast" in verdict.seen
    assert ("by the seasonal-naive forecast alone" in verdict.text) != ("whose forecasts it makes" in verdict.text)
    alone = "model.linear=none" + " data.residual_of=none" * (residual != "none")
    assert f"data.path=x.csv {alone} | " in said(verdict)
    assert not re.search("dropout|hidden_size|weight_decay", said(verdict))


def test_a_run_that_was_gone_on_with_is_made_again_as_long() -> None:
    made = forecast(1.5)
    overrides = (*made.overrides, "trainer.max_steps=500")
    verdict = judge(forecast(1.5, overrides=overrides, config={**made.config, "trainer.max_steps": 6000}))
    assert "trainer.max_steps=6000" in said(verdict) and "=500" not in said(verdict)


def test_another_choice_of_a_group_keeps_the_keys_that_it_has_too() -> None:
    """Else another model would be compared with another size and another linear part, too."""
    typed = (
        "data=csv",
        "model=gru",
        "model.linear=none",
        "model.hidden_size=8",
        "model.cell.init=torch",
        "optimizer.lr=0.1",
    )
    made = forecast(1.5, overrides=typed)
    assert said(judge(made)).endswith(
        "train -m data=csv model.linear=none model.hidden_size=8 optimizer.lr=0.1 model=lstm,lru"
    )
    decay = again(made, "?", "optimizer=adamw", "optimizer.weight_decay=0.1")
    assert decay is not None and "optimizer.lr=0.1" in decay.words
    # 500 units of a reservoir are not 500 of a network
    reservoir = again(made, "?", "model=esn")
    assert reservoir is not None and "model.linear=none" in reservoir.words
    assert not any("hidden_size" in word or "cell" in word for word in reservoir.words)
    own = again(made, "?", "model=mine")
    assert own is not None and not any(word.startswith("model.") for word in own.words)


def test_few_updates_are_made_more_first() -> None:
    verdict = judge(classified(0.13, rows=rows([2.08] * 8, [2.08] * 8), steps=400, budget=400))
    assert verdict.state is Judgement.AT_CHANCE
    assert said(verdict).startswith("resume trainer.max_steps=2000 | ")


def test_a_test_on_longer_sequences() -> None:
    made = classified(0.13)
    config = {**CONFIG, "data.test_length": [41, 100]}
    verdict = judge(classified(0.13, metrics={**made.metrics, "val/accuracy": 0.99}, config=config))
    assert verdict.seen[0] == "the test is on longer sequences than were trained; on validation the accuracy is 0.99"
    assert said(verdict).startswith("train data=remember_first seed=3 data.test_length=null | ")


@pytest.mark.parametrize(
    ("own", "line"),
    [
        (14.5, "Of the error that the linear part leaves (mae 15), the network takes 3.3 %."),
        (14.9999, "Of the error that the linear part leaves (mae 15), the network takes 0.0007 %."),
        (15.0, "Of the error that the linear part leaves (mae 15), the network takes nothing."),
        (15.09, "To the error that the linear part leaves (mae 15), the network adds 0.6 % (mae 15.09)."),
        (15.0006, "To the error that the linear part leaves (mae 15), the network adds 0.004 % (mae 15.001)."),
    ],
)
def test_what_the_network_adds_to_the_error_is_said_in_numbers(own: float, line: str) -> None:
    metrics = {"test/mae": own, "baseline/ridge/mae": 15.0, "calibration/gain": 0.5}
    assert forecast_lines(metrics) == [line]
    (perfect,) = forecast_lines({**metrics, "baseline/ridge/mae": 0.0})
    assert "the network adds 1" in perfect


def test_each_thing_that_was_seen_has_its_first_advice_before_any_has_a_second() -> None:
    curves = rows(falling(2.1, 0.05), steadily(2.08, 3.6), gradient_clipped=[1.0] * 40)
    config = {**CONFIG, "data.path": "x.csv", "model.readout_dropout": 0, "task.class_weights": "none"}
    verdict = judge(classified(0.9, chance=0.9, rows=curves, config=config))
    assert len(verdict.seen) == 3
    first = "train data=remember_first seed=3 "
    assert said(verdict) == (
        f"{first}task.class_weights=balanced monitor=val/f1 | {first}model.readout_dropout=0.3 | "
        f"{first}optimizer.lr=0.0003"
    )


def test_a_class_that_has_nearly_all() -> None:
    verdict = judge(classified(0.95, chance=0.95, config={**CONFIG, "task.class_weights": "none"}))
    assert "95 % of the test sequences are of one class" in verdict.seen
    assert "task.class_weights=balanced monitor=val/f1" in said(verdict)


def test_where_all_is_right_nothing_more_is_asked_for() -> None:
    verdict = judge(classified(1.0, chance=1.0))
    assert verdict.text.startswith("no better than majority class: accuracy 1 beside 1, the same")
    assert verdict.seen == (
        "all of the test is right: nothing is left to gain, and harder or more data would tell the two apart",
    )
    assert verdict.next == ()
    assert judge(classified(0.995, chance=1.0)).next


def test_what_the_linear_part_alone_has_gained_is_said() -> None:
    made = classified(0.97)
    alone = judge(classified(0.97, metrics={**made.metrics, "calibration/gain": 0.0}))
    assert alone.text.startswith("better than majority class, by its linear part alone: ")
    some = judge(classified(0.97, metrics={**made.metrics, "calibration/gain": 0.1}))
    assert some.text == judge(made).text


def test_gradients_that_are_always_clipped() -> None:
    curves = rows(falling(2.1, 1.9), falling(2.1, 1.9), gradient_clipped=[1.0] * 40)
    verdict = judge(classified(0.13, rows=curves))
    assert "nearly every gradient was clipped" in verdict.seen
    assert "optimizer.lr=0.0003" in said(verdict)


@pytest.mark.parametrize("right", [0.13, 0.5])
def test_a_readout_in_closed_form_is_not_told_to_descend_otherwise(right: float) -> None:
    config = {**CONFIG, "model.solver": "ridge", "model.cell.spectral_radius": 0.9, "task.class_weights": "none"}
    flat = [2.09]
    made = classified(right, 0.5, rows=rows(flat, flat), config=config, steps=0, budget=0)
    # as one job of a sweep over other models may have it, where alone it would be refused
    verdict = judge(replace(made, overrides=(*made.overrides, "trainer.max_steps=20", "optimizer.lr=0.1")))
    words = said(verdict)
    # other models descend
    others = [each for each in words.split(" | ") if "model=" not in each]
    assert others and not re.search(r"optimizer|scheduler|max_steps|max_epochs|early_stopping", "".join(others))
    assert "model.hidden_size=256" in words and "model.cell.spectral_radius=0.5,0.8,0.99" in words


def test_nothing_in_particular_is_seen() -> None:
    verdict = judge(forecast(1.5))
    assert verdict.seen == ()
    assert said(verdict) == (
        "train -m data=csv data.path=x.csv optimizer.lr=0.0003,0.001,0.009 | "
        "train -m data=csv data.path=x.csv model=lstm,lru"
    )


def test_a_run_that_ended_before_its_test() -> None:
    made = forecast(1.0, metrics={}, rows=rows([1.0, 0.5], [1.1, 0.7]))
    assert unfinished(made, "it was stopped").text == (
        "no verdict: it was stopped, so that it is not tested; val/loss was 0.7 at best"
    )
    assert unfinished(forecast(1.0, rows=()), "it was stopped").text.endswith("so that it is not tested")


def test_commands_can_be_pasted(tmp_path: Path) -> None:
    curve = steadily(1.0, 0.2)
    made = forecast(1.4, rows=rows(curve, curve), config_dirs=("my conf",), overrides=("data=csv", "hydra.run.dir=x"))
    words = [command(advice, tmp_path / "a run") for advice in judge(made).next]
    assert words[0].endswith(f"rnnlab resume '{tmp_path}/a run' trainer.max_steps=6000")
    assert words[1].endswith("rnnlab train -m --config-dir 'my conf' data=csv optimizer.lr=0.0003,0.001,0.009")


# ---- statistics ------------------------------------------------------------------------------------


def test_the_interval_of_a_ratio_covers_it() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        base = rng.gamma(2.0, size=60)
        low, high = ratio_interval(base * 0.3 + 0.4 * rng.standard_normal(60), base, 60)
        covered += low < 0.3 < high
    assert 0.92 <= covered / 400 <= 0.98


def test_the_interval_covers_where_neighbours_are_alike() -> None:
    rng = np.random.default_rng(2)
    covered, naive = 0, 0
    for _ in range(200):
        shocks = rng.standard_normal(410)
        gains = 1 + np.convolve(shocks, np.ones(10) / 10, "valid")  # sums of ten in a row, as ten steps ahead are
        low, high = ratio_interval(gains, np.ones(len(gains)), blocks(len(gains), 10, ordered=True))
        covered += low < 1 < high
        low, high = ratio_interval(gains, np.ones(len(gains)), len(gains))
        naive += low < 1 < high
    assert 0.88 <= covered / 200 <= 0.99
    assert naive / 200 < 0.7


def test_the_interval_of_a_difference_of_accuracies_covers_it() -> None:
    rng = np.random.default_rng(3)
    covered = sum(
        low < 0.2 < high
        for low, high in (
            paired_proportions(rng.choice([1, -1, 0], 40, p=[0.35, 0.15, 0.5]).astype(float)) for _ in range(500)
        )
    )
    assert 0.92 <= covered / 500 <= 0.98
    low, high = paired_proportions(np.ones(10))
    assert 0.4 < low < 1 and high == 1  # ten of ten is no proof of all


def test_the_interval_of_two_shares_is_that_of_the_paper() -> None:
    """Newcombe (1998), table II, examples (a) and (h), method 10: there of 70 and 80 cases, and of 10 and 10."""
    assert proportions(1.0, 0.0, 10) == pytest.approx((0.6075, 1.0), abs=1e-4)
    rng = np.random.default_rng(4)
    drawn = rng.binomial(60, (0.9, 0.7), (2000, 2)) / 60
    covered = np.mean([low < 0.2 < high for low, high in (proportions(*pair, 60) for pair in drawn)])
    assert 0.93 <= covered <= 0.98


def test_the_widest_interval_holds_what_the_errors_of_both_would_have_told() -> None:
    """Whatever the two have to do with each other, as long as the unknown ones vary no more than the known ones."""
    rng = np.random.default_rng(5)
    covered = 0
    for number in range(300):
        shared = rng.gamma(4.0, size=N)
        ours = 0.25 * (rng.gamma(4.0, size=N) if number % 2 else 8 - shared.clip(max=8))
        items = {"network": (ours, np.ones(N)), "persistence": (2 * rng.gamma(4.0, size=N), np.ones(N))}
        means = {"test/mae": ours, "baseline/mae": items["persistence"][0], "baseline/ets/mae": shared}
        metrics = {name: float(errors.mean()) for name, errors in means.items()}
        verdict = judge(forecast(1.0, metrics=metrics, items=items))
        covered += verdict.low < 0.75 < verdict.high  # type: ignore[operator]
    assert covered / 300 >= 0.95


def test_drift_tells_a_trend_from_a_season() -> None:
    time = np.arange(240)
    season, noise = np.sin(2 * np.pi * time / 12), np.random.default_rng(0).standard_normal(240)
    assert drift(season + 0.3 * noise) < 0.5
    assert drift(season + 0.02 * time) > 3
    assert drift(np.ones(240)) == 0
    assert drift(np.array([1.0, np.nan])) == 0
    assert math.isfinite(drift(np.where(time % 7 == 0, np.nan, season + 0.02 * time)))


# ---- the store -------------------------------------------------------------------------------------


def test_a_verdict_stands_in_the_status_and_comes_back() -> None:
    verdict = judge(classified(0.13, rows=rows([2.08] * 40, [2.08] * 40)))
    status = Status.of(json.loads(json.dumps({"state": "done", "verdict": verdict.plain()})))
    assert status.verdict == verdict
    assert Status.of({"state": "done"}).verdict is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "verdict must be a mapping"),
        ({"state": "better"}, "verdict has no text"),
        ({"state": "beter", "text": ""}, "did you mean 'better'?"),
        ({"state": "better", "text": "x", "gain": "0.1"}, "has a gain that must be a number"),
        ({"state": "better", "text": "x", "next": [{"words": ["rm", "-rf"], "answers": ""}]}, "one of the verbs"),
        ({"state": "better", "text": "x", "next": [{"words": "train"}]}, "must be a list of commands"),
    ],
)
def test_a_verdict_is_checked_when_it_is_read(wrong: Any, message: str) -> None:
    with pytest.raises(ValueError, match="verdict") as error:
        Status.of({"state": "done", "verdict": wrong})
    assert message in str(error.value)


def test_what_a_verdict_says_moves_no_cursor() -> None:
    facts = {"state": "better", "text": "a\nb\x1b[2J", "seen": ["c\nd"]}
    verdict = Verdict.of(facts)
    assert "\n" not in verdict.text and "\x1b" not in verdict.text and verdict.seen == ("c d",)


# ---- real runs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("sine", "adding", "an_bn", "copy_memory", "text") else pytest.mark.slow)
        for name in choices("data")
        if name not in ("csv", "random")
    ],
)
def test_a_run_is_judged_by_the_mean_of_its_sequences(name: str) -> None:
    """What stands in the table is the weighted mean of what the verdict's interval is made of."""
    run = prepare(compose(f"data={name}", "data.num_samples=60", "data.batch_size=7", "instruments=none"))
    task: Any = run.task
    batch = run.data.split("test").batch(slice(0, 7))
    with torch.no_grad():
        output = task.eval().answer(batch) if batch.origin is None else task.forecast(batch)
    scores, weights = task.judge(output, batch)
    assert scores.shape == weights.shape == (len(batch.inputs),)
    mean = (scores.double() * weights).sum() / weights.sum()
    if task.verdict_score == "loss":
        expected = task.loss(output, batch)
    else:
        metric = task.metrics()[task.verdict_score]
        metric.update(*task.compared(output, batch))
        expected = metric.compute()
    torch.testing.assert_close(mean, expected.double(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["tokens", "sine", "an_bn", "airline", "piano_roll", "adding", "copy_memory", "addition", "text"]
)
def test_what_sequences_count_for_has_each_score_as_its_mean(name: str) -> None:
    """Also of scores that are no means of theirs (F1, r2), and where neighbours are counted together."""
    small = [] if name == "airline" else ["data.num_samples=60"]
    run = prepare(compose(f"data={name}", "instruments=none", *small))
    task: Any = run.task
    batch = run.data.split("test").batch(slice(0, 7))
    with torch.no_grad():
        output = task.eval().answer(batch) if batch.origin is None else task.forecast(batch)
    for score, metric in task.metrics().items():
        if any(isinstance(state, list) for state in metric.metric_state.values()) or not metric.metric_state:
            continue
        metric.update(*task.compared(output, batch))
        expected = float(metric.compute())
        for together in (1, 3):
            tally = Tally(task.metrics()[score])
            tally.add("network", output, batch, task.compared, together * MOST_PIECES)
            counted, sizes = tally.items()["network"]
            assert sizes.sum() == len(batch.inputs) and len(sizes) == -(-len(batch.inputs) // together)
            mean = float((counted * sizes).sum() / sizes.sum())
            assert mean == pytest.approx(expected, rel=1e-3, abs=1e-4, nan_ok=True), score


def test_the_share_of_right_sequences_is_made_of_zeros_and_ones() -> None:
    """So that its interval is that of shares, and has a width where all are right."""
    tally, right = Tally(MulticlassAccuracy(3, average="micro")), torch.tensor([0, 1, 1, 0, 1])
    tally.add("network", right, Batch(torch.zeros(5, 1, 1), torch.ones(5, dtype=torch.long)), lambda o, b: (o, b[1]), 5)
    assert tally.items()["network"][0].tolist() == right.tolist()


def test_the_mean_of_what_sequences_count_for_is_the_score_where_most_count_for_little() -> None:
    """Of a constant answer among many classes, as of any other."""
    truth = torch.arange(200) % 15
    found = torch.zeros(200, dtype=torch.long)
    tally = Tally(MulticlassF1Score(15, average="macro"))
    tally.add("constant", found, Batch(torch.zeros(200, 1, 1), truth), lambda o, b: (o, b[1]), 200)
    score = float(MulticlassF1Score(15, average="macro")(found, truth))
    assert float(tally.items()["constant"][0].mean()) == pytest.approx(score, rel=1e-5)


def test_the_interval_of_a_difference_of_f1_covers_it() -> None:
    """Macro-averaged F1 of two classifiers that find the same sequences hard, classes of unlike sizes."""
    rng = np.random.default_rng(0)

    def drawn(n: int) -> tuple[torch.Tensor, ...]:
        truth = rng.choice(3, n, p=[0.6, 0.3, 0.1])
        hard, other = rng.random(n), (truth + 1) % 3
        found = (np.where(hard < right, truth, np.where(rng.random(n) < 0.5, other, 0)) for right in (0.75, 0.65))
        return tuple(torch.from_numpy(each) for each in (truth, *found))

    def f1() -> MulticlassF1Score:
        return MulticlassF1Score(3, average="macro")

    def counts(found: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """``(sequences, 12)`` true positives, false positives, true negatives and false negatives of each class."""
        is_found, is_true = (one_hot(each, 3).bool() for each in (found, truth))
        states = {"tp": is_found & is_true, "fp": is_found & ~is_true, "fn": is_true & ~is_found}
        states["tn"] = ~is_found & ~is_true
        return torch.cat([states[name] for name in f1().metric_state], 1).double()

    truth, *both = drawn(400_000)
    ours, theirs = (float(f1()(found, truth)) for found in both)
    true, covered, n = ours - theirs, 0, 150
    for _ in range(100):
        tally = Tally(f1())
        truth, *both = drawn(n)
        for name, found in zip(("network", "other"), both, strict=True):
            tally.count(name, counts(found, truth), torch.ones(n))
        items = tally.items()
        low, high = ratio_interval((items["network"][0] - items["other"][0]).numpy(), np.ones(n), n)
        covered += low < true < high
    assert 89 <= covered <= 99


@pytest.mark.parametrize("score", ["auroc", "average_precision"])
@pytest.mark.parametrize("ties", [False, True])
def test_what_examples_count_for_in_a_ranking_is_the_jackknife(score: Literal["auroc"], ties: bool) -> None:
    """Of DeLong's parts, which are nearly that, the spread besides is the closed form of his paper."""
    generator = torch.Generator().manual_seed(0)
    there = torch.rand(60, generator=generator) < 0.4
    scores = torch.randn(60, generator=generator) + there
    scores = scores.round() if ties else scores
    metric = Ranking(score)
    metric.update(scores[:, None], there[:, None].int())
    counted, whole = metric.counted(), metric.rank(scores, there)
    without = [metric.rank(scores[kept], there[kept]) for kept in ~torch.eye(60, dtype=torch.bool)]
    left = torch.stack(without)
    jackknife = whole + 59 * (left.mean() - left)
    assert float(counted.mean()) == pytest.approx(float(metric.compute()))
    torch.testing.assert_close(counted, jackknife.double(), rtol=0, atol=0.01 if score == "auroc" else 1e-9)
    if score == "auroc":
        pairs = scores[there][:, None] - scores[~there]
        above = (pairs > 0).double() + (pairs == 0).double() / 2
        variance = above.mean(1).var() / len(above) + above.mean(0).var() / above.shape[1]
        assert float((counted - counted.mean()).square().sum()) / 60**2 == pytest.approx(float(variance))


@pytest.mark.parametrize("score", ["auroc", "average_precision"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_ranking_without_a_mistake_is_not_known_exactly(score: Literal["auroc"], sign: int) -> None:
    there = torch.arange(60) < 20
    ranked = Ranking(score)
    ranked.update(sign * (there.float() + torch.linspace(0, 0.5, 60))[:, None], there[:, None].int())
    counted = ranked.counted().numpy()
    assert counted.mean() == pytest.approx(float(ranked.compute()))
    low, high = ratio_interval(counted, np.ones(60), 60, even=False)
    assert 0.05 < high - low < 1


def test_a_ranking_of_few_has_no_interval() -> None:
    """Of either kind, and over all labels together."""
    generator = torch.Generator().manual_seed(0)
    for counts, known in [([9], False), ([10], True), ([91], False), ([5, 5], True), ([1, 50], False), ([0, 50], True)]:
        metric = Ranking("auroc")
        there = torch.arange(100)[:, None] < torch.tensor(counts)
        metric.update(torch.randn(there.shape, generator=generator), there.int())
        assert (len(metric.counted()) == 100) is known, counts


@pytest.mark.parametrize("kind", [Bleu, ChrF])
def test_what_sequences_count_for_in_a_score_of_texts_is_nearly_the_jackknife(kind: type[Bleu | ChrF]) -> None:
    generator, n = torch.Generator().manual_seed(0), 60
    truth = torch.randint(0, 8, (n, 9), generator=generator)
    wrong = torch.randint(0, 8, truth.shape, generator=generator)
    said = truth.where(torch.rand(truth.shape, generator=generator) < 0.8, wrong)

    def score(kept: torch.Tensor) -> float:
        metric = kind(Writer(tuple("abcdefgh"), "word", None))
        metric.update(Answer(torch.zeros(0), said[kept]), Truth(truth[kept], truth[kept][:, None]))
        return float(metric.compute())

    tally = Tally(kind(Writer(tuple("abcdefgh"), "word", None)))
    batch = Batch(torch.zeros(n, 1, 1), truth)
    answer = Answer(torch.zeros(n), said)
    tally.add("network", answer, batch, lambda o, b: (o, Truth(b.targets, b.targets[:, None])), n)
    counted = tally.items()["network"][0].numpy()
    assert counted.mean() == pytest.approx(score(torch.ones(n, dtype=torch.bool)), rel=1e-4)
    without = np.array([score(kept) for kept in ~torch.eye(n, dtype=torch.bool)])
    jackknife = (n - 1) * (without.mean() - without)
    assert np.corrcoef(counted, jackknife)[0, 1] > 0.999
    assert counted.std() == pytest.approx(jackknife.std(), rel=0.03)


def test_an_interval_is_wider_where_few_sequences_make_the_spread() -> None:
    few = np.zeros(100)
    few[:4] = 1
    many = np.arange(100) % 2 * 2 * few.std() + few.mean() - few.std()
    widths = {}
    for name, values in (("few", few), ("many", many)):
        for even in (True, False):
            low, high = ratio_interval(values, np.ones(100), 100, even=even)
            widths[name, even] = high - low
    assert widths["few", True] == pytest.approx(widths["many", True])
    assert widths["many", False] == pytest.approx(widths["many", True])
    assert widths["few", False] > 1.1 * widths["few", True]


def test_a_score_that_is_no_mean_has_an_interval_from_50_sequences_on() -> None:
    made = classified(0.9, n=40)
    items = {"f1": made.items}
    metrics = {f"{split}/f1": made.metrics[f"{split}/accuracy"] for split in ("test", "baseline")}
    few = judge(replace(made, score="f1", items=made.items, others=items, linear=("f1",), metrics=metrics))
    assert few.low is None and "(too few for an interval: 40 sequences)" in few.text
    assert judge(replace(made, score="f1", metrics=metrics)).low is not None


@pytest.mark.parametrize(
    ("keys", "score"),
    [
        (("data=tokens", "monitor=val/f1"), "f1"),
        (("data=tokens", "task.class_weights=balanced"), "f1"),
        (("data=tokens", "task.class_weights=balanced", "monitor=val/accuracy"), "accuracy"),
        (("data=sine", "monitor=val/r2"), "r2"),
    ],
)
def test_any_score_that_is_judged_by_has_an_interval(
    train: Callable[..., Outcome], keys: tuple[str, ...], score: str
) -> None:
    outcome = train(*keys, "model=rnn", *TINY, "data.num_samples=300")
    verdict = outcome.directory.status.verdict
    assert verdict is not None and verdict.score == score
    assert verdict.low is not None and verdict.high is not None and verdict.gain is not None
    assert verdict.low <= verdict.gain <= verdict.high


@pytest.mark.parametrize("score", ["auroc", "average_precision", "bleu", "chrf"])
def test_a_ranking_and_a_score_of_texts_have_an_interval(
    train: Callable[..., Outcome], score: str, tmp_path: Path
) -> None:
    file = tmp_path / "file.tsv"
    if score in ("bleu", "chrf"):
        words = ("one", "two", "three", "four")
        lines = [f"{i}\tthe number is {words[i % 4]} and {words[i % 3]}" for i in range(320)]
        keys = ["data=pairs", "data.unit=character", "data.target_unit=word", "model=rnn"]
    else:
        noise = np.random.default_rng(0).normal(size=320)
        rows = [(noise[i] + i % 2 + i % 3 // 2, -noise[i], i % 2, i % 3 // 2) for i in range(320)]
        lines = ["\t".join(map(str, row)) for row in [("t1", "t2", "fever", "pain"), *rows]]
        keys = ["data=table", "task=multilabel", "data.target=[fever,pain]", "data.steps=[t*]", "model=rnn"]
    file.write_text("\n".join(lines) + "\n")
    outcome = train(*keys, f"data.path={file}", f"monitor=val/{score}", *TINY, "data.num_samples=null")
    verdict = outcome.directory.status.verdict
    assert verdict is not None and verdict.score == score
    assert verdict.low is not None and verdict.high is not None and verdict.gain is not None
    assert verdict.low <= verdict.gain <= verdict.high


def test_a_task_of_ones_own_is_judged_by_its_loss() -> None:
    from rnnlab.tasks.task import Task

    run = prepare(compose("data=adding", "data.num_samples=40", "instruments=none"))
    batch = run.data.split("test").batch(slice(0, 4))
    output = run.task(batch)
    scores, weights = Task.judge(run.task, output, batch)
    torch.testing.assert_close((scores * weights).sum() / weights.sum(), run.task.loss(output, batch))


TINY = ("data.num_samples=80", "data.test_fraction=0.25", "trainer.max_steps=20", "instruments=none")


def test_a_run_ends_with_its_verdict(train: Callable[..., Outcome], capsys: pytest.CaptureFixture[str]) -> None:
    from rnnlab.commands.outcome import print_outcome

    outcome = train("data=sine", "model=rnn", *TINY)
    verdict = outcome.directory.status.verdict
    assert verdict is not None
    assert (verdict.score, verdict.baseline) == ("mse", "persistence")
    assert verdict.network == pytest.approx(outcome.metrics["test/mse"])
    assert verdict.low is not None
    print_outcome(outcome)
    printed = " ".join(capsys.readouterr().out.split())
    assert verdict.text in printed
    last = printed[printed.index("Verdict") :]
    assert "TensorBoard" not in last
    for advice in verdict.next:
        assert advice.answers in last


def test_the_pictures_of_a_run_know_its_verdict(train: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    from rnnlab.instruments.learning_curves import LossCurves

    seen, draw = [], LossCurves.draw

    def drawn(curves: LossCurves, subject: Any, measured: Any) -> Any:
        seen.append(subject.verdict)
        return draw(curves, subject, measured)

    monkeypatch.setattr(LossCurves, "draw", drawn)
    keys = [key for key in TINY if not key.startswith("instruments")]
    outcome = train("data=classification", "model=rnn", *keys, "instruments=default")
    assert seen == [outcome.directory.status.verdict]
    assert seen[0].baseline == "majority class"


def test_tensorboard_shows_it(train: Callable[..., Outcome]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    outcome = train("data=classification", "model=rnn", *TINY)
    events = EventAccumulator(str(outcome.directory.path), size_guidance={"tensors": 0})
    events.Reload()
    (event,) = events.Tensors("verdict/text_summary")
    text = event.tensor_proto.string_val[0].decode()
    verdict = outcome.directory.status.verdict
    assert verdict is not None and text.startswith(verdict.text)
    assert all(advice.answers in text for advice in verdict.next)


@pytest.mark.slow
def test_a_member_of_a_fleet_has_the_verdict_of_a_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import rnnlab

    monkeypatch.chdir(tmp_path)
    keys = ("data=classification", "data.num_samples=80", "trainer.max_steps=20", "instruments=none", "model=rnn")
    fleet = rnnlab.sweep(*keys, "hydra/launcher=fleet", seed=[0, 1])
    for seed, member in enumerate(fleet.runs):
        alone = rnnlab.train(*keys, seed=seed)
        ours, theirs = member.status.verdict, alone.status.verdict
        assert ours is not None and theirs is not None
        assert (ours.state, ours.text) == (theirs.state, theirs.text)


def test_evaluate_judges_the_scores_and_not_the_training(
    train: Callable[..., Outcome], capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = train("data=classification", "model=rnn", *TINY)
    capsys.readouterr()
    assert evaluate_main([str(outcome.directory.path), "data.noise=0.3"]) == 0
    printed = capsys.readouterr().out
    assert "Verdict" in printed and "majority class" in printed and "Next" not in printed
    (kept,) = (outcome.directory.path / "evaluations").iterdir()
    assert json.loads(kept.read_text())["verdict"]["baseline"] == "majority class"


def test_a_stopped_run_says_how_far_it_came_and_a_resumed_one_what_it_is_worth(
    train: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import signal

    from rnnlab.runs.directory import RunDirectory
    from rnnlab.runs.recorder import Recorder

    config = compose("data=sine", "model=rnn", *TINY, "trainer.steps_per_epoch=5")
    directory = RunDirectory.claim(tmp_path / "run", config)

    def stop(self: Recorder, trainer: Any, *args: Any) -> bool:
        return trainer.current_epoch >= 1

    with monkeypatch.context() as patched:
        patched.setattr(Recorder, "_is_stopped", stop)
        patched.setattr(Recorder, "_stop", lambda self: (_ for _ in ()).throw(Interrupted(signal.SIGTERM)))
        with pytest.raises(Interrupted):
            execute(directory, config)
    verdict = directory.status.verdict
    assert verdict is not None and verdict.state is Judgement.NONE
    assert verdict.text.startswith("no verdict: it was stopped, so that it is not tested; val/loss was ")
    assert verdict.next == (Advice(words=("resume",), answers="How good does it become?"),)
    execute(directory, directory.config, resume=True)
    after = directory.status.verdict
    assert after is not None and after.state is not Judgement.NONE


def test_evidence_knows_the_series(train: Callable[..., Outcome], tmp_path: Path) -> None:
    table = ["month,sales", *(f"{2000 + k // 12}-{1 + k % 12:02d}-01,{k + k % 12}" for k in range(120))]
    (tmp_path / "sales.csv").write_text("\n".join(table) + "\n")
    config = compose(
        "data=csv", f"data.path={tmp_path}/sales.csv", "data.target=sales", "data.time=month", "data.horizon=3",
        "data.length=6", "instruments=none",
    )  # fmt: skip
    run = prepare(config)
    made = evidence(run.config, run.data, run.task, {}, Status.of({"state": "done"}))
    assert (made.score, made.period, made.dependent, made.ordered, made.constant) == ("mae", 12, 3, True, False)
    assert made.drift > 1 and made.thing == "window"


@pytest.mark.parametrize("accumulated", [1, 2])
def test_evidence_knows_how_much_of_the_training_data_was_seen(accumulated: int) -> None:
    more = f"trainer.accumulate_grad_batches={accumulated}"
    run = prepare(compose("data=sine", "data.num_samples=1000", "data.batch_size=8", "instruments=none", more))
    made = evidence(run.config, run.data, run.task, {"steps": 20}, Status.of({"state": "done"}))
    assert made.passes == pytest.approx(20 * accumulated * 8 / run.data.size("train"))


# ---- many runs -------------------------------------------------------------------------------------


def sweep(place: Path, states: Sequence[str | None]) -> Path:
    """The files of runs with these verdicts."""
    for seed, state in enumerate(states):
        path = place / f"sweep/{seed}"
        path.mkdir(parents=True)
        (path / "config.yaml").write_text(
            f"seed: {seed}\nmonitor: val/loss\nmode: min\nmodel: {{_target_: rnnlab.network.gru}}\n"
            "data: {_target_: rnnlab.data.sine.Sine}\ntask: {_target_: rnnlab.tasks.forecasting.Forecasting}\n"
        )
        verdict = {
            "state": state, "text": f"a verdict that is {state}", "baseline": "majority class", "seen": ["a plateau"],
            "next": [{"words": ["resume", "trainer.max_steps=9000"], "answers": "More?"}],
        }  # fmt: skip
        told = {"state": "done", "host": "elsewhere", "choices": {"model": "gru"}, "overrides": [f"seed={seed}"]}
        (path / "status.json").write_text(json.dumps({**told, **({"verdict": verdict} if state else {})}))
        metrics = {"val/loss": 0.5 + seed, "test/loss": 0.6, "baseline/loss": 0.7}
        (path / "metrics.json").write_text(json.dumps(metrics))
    return place / "sweep"


def test_a_sweep_all_at_chance_says_so_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_leaderboard([sweep(tmp_path, ["at_chance"] * 3)])
    printed = capsys.readouterr().out
    assert printed.startswith("All 3 runs are at chance: none learned anything that majority class does not know.")
    assert "trainer.max_steps=9000" in printed
    page = (tmp_path / "sweep/report.html").read_text()
    assert "All 3 runs are at chance" in page and "a plateau" in page and "More?" in page
    (row,) = csv.DictReader((tmp_path / "sweep/leaderboard.csv").read_text().splitlines())
    assert row["verdict"] == "at chance"


@pytest.mark.parametrize(
    ("states", "column", "first"),
    [
        (["better", "better"], "better", ""),
        (["better", "uncertain", "not_better"], "better in 1 of 3", ""),
        (["not_better", "uncertain"], "not better in 1 of 2", "None of the 2 runs is clearly better"),
        (["none", "none"], "no verdict", ""),
        # runs from before there were verdicts are read as they were
        ([None, None], "", ""),
        (["at_chance", None], "at chance", ""),
    ],
)
def test_the_leaderboard_has_the_verdicts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], states: list[str | None], column: str, first: str
) -> None:
    print_leaderboard([sweep(tmp_path, states)])
    printed = capsys.readouterr().out
    assert printed.startswith(first or "Leaderboard")
    (row,) = csv.DictReader((tmp_path / "sweep/leaderboard.csv").read_text().splitlines())
    assert row["verdict"] == column
    assert ("verdict" in printed) == bool(column)
