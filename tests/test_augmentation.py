"""What augmentation does to training batches, and that it does nothing else."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import compose
from torch import Tensor

from rnnlab.data.adding import Adding
from rnnlab.data.augmentation import Augmentation, Augmenter, sliced, transposed, warp, warped
from rnnlab.data.classification import Classification
from rnnlab.data.irregular_sine import IrregularSine
from rnnlab.data.piano_roll import PianoRoll
from rnnlab.data.sequence import SequenceData
from rnnlab.data.sine import Sine
from rnnlab.data.text import Text
from rnnlab.data.tokens import Tokens
from rnnlab.errors import InputError
from rnnlab.runs.execution import Outcome
from rnnlab.runs.preparation import prepare
from rnnlab.spec import Batch, valid_steps

ON_CLASSES = Augmentation(jitter=0.2, scaling=0.1, time_warping=0.3, window=0.7)
TALK = "the cat sat on the mat and the dog sat on the log " * 40


def classes(augmentation: Augmentation | None = ON_CLASSES, **options: Any) -> Classification:
    return Classification(**{"num_samples": 200, "augmentation": augmentation} | options)


def batches(data: SequenceData, epoch: int = 0) -> list[Batch]:
    loader = data.train_dataloader()
    loader.order.epoch = epoch  # as Lightning sets it
    return list(loader)


def equal(some: list[Batch], others: list[Batch]) -> bool:
    """Whether batches are alike bit for bit."""

    def same(a: Tensor | None, b: Tensor | None) -> bool:
        return a is b if a is None or b is None else torch.equal(a, b)

    pairs = [pair for one, other in zip(some, others, strict=True) for pair in zip(one, other, strict=True)]
    return all(same(a, b) for a, b in pairs)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---- where it acts, and when ------------------------------------------------------------------


@pytest.mark.parametrize("off", [Augmentation(), Augmentation(warp_knots=9, mask_token=3)])
def test_what_is_off_changes_no_bit(off: Augmentation) -> None:
    assert equal(batches(classes(off)), batches(classes(None)))


def test_every_change_is_off_by_default_in_every_run() -> None:
    augmentation = prepare(compose("data=classification", "data.num_samples=40")).data.augmentation
    assert augmentation == Augmentation() and not augmentation.changes


def test_validation_test_and_what_is_kept_of_training_stay_as_they_are() -> None:
    data, plain = classes(), classes(None)
    assert not equal(batches(data), batches(plain))
    for split in ("val_dataloader", "test_dataloader"):
        assert equal(list(getattr(data, split)()), list(getattr(plain, split)()))
    assert torch.equal(data.split("train").inputs, plain.split("train").inputs)
    assert data.spec == plain.spec


def test_classes_stay_and_padding_is_zero() -> None:
    for batch, plain in zip(batches(classes()), batches(classes(None)), strict=True):
        assert torch.equal(batch.targets, plain.targets)
        assert batch.inputs.dtype == plain.inputs.dtype
        assert not batch.inputs[~valid_steps(batch.inputs, batch.lengths)].any()


def test_it_depends_on_seed_epoch_and_position_alone() -> None:
    first = batches(classes(), epoch=3)
    torch.manual_seed(1)  # nothing is drawn from the global state
    assert equal(first, batches(classes(), epoch=3))
    assert not equal(first, batches(classes(), epoch=4))
    one = Classification(num_samples=40, batch_size=32, bucket=False, augmentation=Augmentation(jitter=1.0))
    noise = [
        batches(replace(one, shuffle_seed=seed), epoch)[0].inputs[:, :20]
        - batches(replace(one, shuffle_seed=seed, augmentation=None), epoch)[0].inputs[:, :20]
        for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1))
    ]
    for a, b in pairwise(noise):
        assert not torch.allclose(a, b, atol=0.1)


def test_it_goes_on_in_the_middle_of_an_epoch() -> None:
    whole = batches(classes(), epoch=2)
    loader = classes().train_dataloader()
    loader.load_state_dict({"epoch": 2, "position": 3})
    loader.order.epoch = 2
    assert equal(list(loader), whole[3:])


def test_streams_are_masked_anew_in_every_epoch(tmp_path: Path) -> None:
    (tmp_path / "talk.txt").write_text(TALK)
    options: dict[str, Any] = {"path": str(tmp_path / "talk.txt"), "batch_size": 4, "length": 16}
    data = Text(**options, augmentation=Augmentation(token_masking=0.3))
    loader = data.train_dataloader()
    loader.sampler.set_epoch(1)  # where Lightning looks for it
    second = list(loader)
    assert equal(second, batches(data, 1)) and not equal(second, batches(data, 0))
    plain = batches(Text(**options))
    for batch, other in zip(second, plain, strict=True):
        assert torch.equal(batch.targets, other.targets)
        changed = batch.inputs != other.inputs
        assert not batch.inputs[changed].any()  # <unk> is token 0
        assert not changed[~valid_steps(other.inputs, other.lengths)].any()
    inputs = torch.cat([batch.inputs.flatten() for batch in second])
    assert (inputs == 0).float().mean() == pytest.approx(0.3, abs=0.04)


def test_a_run_that_overfits_on_purpose_meets_the_same_batches(train: Callable[..., Outcome]) -> None:
    overfit = ("data=classification", "trainer=overfit", "trainer.accelerator=cpu", "trainer.max_epochs=2")
    plain, augmented = (
        train(*overfit, "instruments=none", f"data.augmentation.jitter={jitter}").metrics for jitter in (0.0, 0.5)
    )
    assert plain["train/loss"] == augmented["train/loss"]


# ---- what it does -------------------------------------------------------------------------------


def test_jitter_is_in_standard_deviations_of_each_feature() -> None:
    data = Adding(num_samples=1000, length=30, batch_size=1000, augmentation=Augmentation(jitter=0.5))
    (noisy,), (plain,) = batches(data), batches(replace(data, augmentation=None))
    noise = (noisy.inputs - plain.inputs).flatten(0, 1)
    expected = 0.5 * data.split("train").inputs.flatten(0, 1).std(0)
    torch.testing.assert_close(noise.std(0), expected, rtol=0.03, atol=0)
    assert noise.mean(0).abs().max() < 0.01
    assert torch.equal(noisy.targets, plain.targets)


def test_scaling_is_one_factor_a_feature_and_sequence_around_one() -> None:
    data = classes(Augmentation(scaling=0.2), num_samples=3000, batch_size=3000, noise=1.0)
    (scaled,), (plain,) = batches(data), batches(replace(data, augmentation=None))
    valid = valid_steps(plain.inputs, plain.lengths)
    ratio = torch.where(valid, (scaled.inputs / plain.inputs)[..., 0], torch.nan)
    factor = ratio.nanmean(1)
    assert (ratio - factor[:, None])[valid].abs().max() < 1e-4
    assert factor.mean() == pytest.approx(1, abs=0.02) and factor.std() == pytest.approx(0.2, rel=0.06)


def test_targets_that_are_later_inputs_are_scaled_with_them_and_get_no_jitter() -> None:
    plain = Sine(num_samples=100, horizon=2)
    for batch in batches(replace(plain, augmentation=Augmentation(scaling=0.3))):
        torch.testing.assert_close(batch.targets[:, :-2], batch.inputs[:, 2:])
        assert batch.future is not None
    factor = [
        torch.stack([batch.future.std(1), batch.targets.std(1)])
        for batch in batches(replace(plain, augmentation=Augmentation(scaling=0.3)))
    ]
    before = [torch.stack([batch.future.std(1), batch.targets.std(1)]) for batch in batches(plain)]
    for a, b in zip(factor, before, strict=True):
        torch.testing.assert_close((a / b)[0], (a / b)[1])
    jitter, off = batches(replace(plain, augmentation=Augmentation(jitter=0.3))), batches(plain)
    assert all(torch.equal(a.targets, b.targets) for a, b in zip(jitter, off, strict=True))


@pytest.mark.parametrize("knots", [1, 4, 20])
def test_a_warp_keeps_both_ends_and_never_turns_back(knots: int) -> None:
    lengths = torch.tensor([1, 2, 3, 17, 40])
    place = warp(lengths, 40, 0.8 * torch.randn(5, knots + 2, generator=generator()))
    for row, length in zip(place, lengths.tolist(), strict=True):
        assert row[0] == 0 and (row[length - 1 :] == length - 1).all()
        assert (row[:length].diff() > 0).all()
    still = warp(lengths, 40, torch.zeros(5, knots + 2))
    torch.testing.assert_close(still, torch.arange(40.0).expand(5, -1).minimum(lengths[:, None] - 1.0))


def test_a_warp_goes_as_fast_as_its_speed_says() -> None:
    """Twice as fast at the end as at the start: the way is the integral of the speed, 2^u for the share u of time."""
    place = warp(torch.tensor([1001]), 1001, torch.tensor([[0.0, torch.log(torch.tensor(2.0))]]))[0]
    u = torch.linspace(0, 1, 1001)
    torch.testing.assert_close(place, 1000 * (2**u - 1), rtol=0, atol=0.01)


def test_a_warped_sequence_is_the_same_curve_at_another_pace() -> None:
    lengths = torch.tensor([30, 11, 1])
    ramp = torch.arange(30.0)[None, :, None] * torch.tensor([1.0, -2.0])
    inputs = ramp.expand(3, -1, -1) * valid_steps(ramp.expand(3, -1, -1), lengths)[..., None]
    read = warped(inputs, lengths, 0.5, 4, generator())
    assert read.shape == inputs.shape and not read[~valid_steps(read, lengths)].any()
    for row, before, length in zip(read, inputs, lengths.tolist(), strict=True):
        assert torch.equal(row[0], before[0]) and torch.equal(row[length - 1], before[length - 1])
        torch.testing.assert_close(row[:, 1], -2 * row[:, 0])  # all features keep one time
        assert (row[:length, 0].diff() > 0).all()
    assert (read[0, :, 0] - inputs[0, :, 0]).abs().max() > 0.5
    torch.testing.assert_close(warped(inputs, None, 0.0, 4, generator()), inputs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("tokens", [False, True])
def test_a_window_is_a_stretch_of_its_sequence_from_anywhere(tokens: bool) -> None:
    lengths = torch.tensor([1, 2, 10, 20]).repeat(200)
    inputs = torch.arange(1, 21).expand(800, -1).clone()
    inputs[~valid_steps(inputs, lengths)] = 0
    cut, kept = sliced(inputs if tokens else inputs[..., None].float(), lengths, 0.4, generator())
    assert kept is not None and torch.equal(kept, torch.tensor([1, 1, 4, 8]).repeat(200))
    cut = cut if tokens else cut[..., 0].long()
    assert cut.shape == (800, 8)
    starts: dict[int, set[int]] = {length: set() for length in (1, 2, 10, 20)}
    for row, length, steps in zip(cut, lengths.tolist(), kept.tolist(), strict=True):
        first = int(row[0])
        assert row.tolist() == [*range(first, first + steps), *[0] * (8 - steps)] and first + steps - 1 <= length
        starts[length].add(first)
    assert starts == {1: {1}, 2: {1, 2}, 10: set(range(1, 8)), 20: set(range(1, 14))}


def test_windows_of_equal_sequences_are_equally_long() -> None:
    inputs = torch.randn(4, 10, 2)
    cut, lengths = sliced(inputs, None, 0.5, generator())
    assert cut.shape == (4, 5, 2) and lengths is None


def test_the_token_that_masks_can_be_chosen() -> None:
    data = Tokens(num_samples=100, augmentation=Augmentation(token_masking=0.5, mask_token=7))
    for batch, plain in zip(batches(data), batches(replace(data, augmentation=None)), strict=True):
        changed = batch.inputs != plain.inputs
        assert changed.any() and (batch.inputs[changed] == 7).all() and torch.equal(batch.targets, plain.targets)


def test_music_moves_as_a_whole_and_what_follows_with_it() -> None:
    data = PianoRoll(num_samples=400, length=8, batch_size=400, augmentation=Augmentation(transposition=5))
    (batch,), (plain,) = batches(data), batches(replace(data, augmentation=None))
    assert torch.equal(batch.inputs[:, 1:], batch.targets[:, :-1]) and batch.inputs.shape == plain.inputs.shape
    moves = set()
    for after, before in zip(batch.inputs, plain.inputs, strict=True):
        keys, earlier = after.nonzero(), before.nonzero()
        assert torch.equal(keys[:, 0], earlier[:, 0])
        (move,) = set((keys[:, 1] - earlier[:, 1]).tolist())
        moves.add(move)
    assert moves == set(range(-5, 6))


def test_no_key_leaves_the_piano_and_every_move_that_is_left_is_as_likely() -> None:
    inputs, targets = torch.zeros(4000, 2, 88), torch.zeros(4000, 2, 88)
    inputs[:, 0, 3] = 1
    targets[:, 1, 85] = 1  # two semitones below the highest key, and this is what decides
    moved, answers = transposed(inputs, targets, 7, generator())
    move = moved[:, 0].argmax(1) - 3
    assert torch.equal(answers[:, 1].argmax(1) - 85, move)
    assert moved.sum() == answers.sum() == 4000
    shares = torch.bincount(move + 3) / 4000
    torch.testing.assert_close(shares, torch.full((6,), 1 / 6), atol=0.02, rtol=0)
    silence = torch.zeros(3, 2, 88)
    assert not transposed(silence, silence, 7, generator())[0].any()


# ---- what makes no sense --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=tokens", "data.augmentation.jitter=0.1"], r"augmentation\.jitter=0\.1 is for real features"),
        (["data=sine", "data.augmentation.token_masking=0.1"], r"token_masking=0\.1 is for tokens"),
        (["data=sine", "data.augmentation.window=0.9"], r"window=0\.9 is for one class .* every step: leave it at 1"),
        (["data=sine", "data.augmentation.time_warping=0.2"], r"time_warping=0\.2 is for one class .* leave it at 0"),
        (["data=adding", "data.augmentation.window=0.5"], r"window=0\.5 is for one class a sequence"),
        (["data=adding", "data.augmentation.scaling=0.1"], r"scaling=0\.1 would change this data's answers"),
        (["data=tokens", "data.augmentation.token_masking=0.1"], r"mask_token=0 … 49"),
        (
            ["data=tokens", "data.augmentation.token_masking=0.1", "data.augmentation.mask_token=50"],
            r"mask_token=50: there are 50 tokens, numbered 0 … 49",
        ),
        (["data=sine", "data.augmentation.transposition=2"], r"transposition=2 is for piano keys, .* leave it at 0"),
        (["data=tokens", "data.augmentation.transposition=2"], r"transposition=2 is for piano keys"),
        (["data=sine", "data.augmentation.jitter=-1"], r"data\.augmentation\.jitter=-1: must be greater than or equal"),
        (["data=sine", "data.augmentation.window=0"], r"data\.augmentation\.window=0: must be greater than 0"),
        (["data=sine", "+data.augmentation.jiter=1"], r"data\.augmentation\.jiter=1: unknown key; did you mean 'jitt"),
    ],
)
def test_what_makes_no_sense_is_one_line_before_training(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        prepare(compose("data.num_samples=40", *overrides))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "overrides",
    [
        ["data=sine", "data.augmentation.jitter=0.1", "data.augmentation.scaling=0.1"],
        [
            "data=classification",
            *(f"data.augmentation.{name}=0.5" for name in ("jitter", "scaling", "time_warping", "window")),
        ],
        ["data=tokens", "data.augmentation.window=0.5"],
        ["data=adding", "data.augmentation.jitter=0.1"],
        ["data=piano_roll", "data.augmentation.transposition=6"],
    ],
)
def test_what_makes_sense_trains(overrides: list[str], train: Callable[..., Outcome]) -> None:
    assert train(*overrides, "instruments=none").metrics["steps"] == 4


def test_times_stay_what_they_are() -> None:
    spec = IrregularSine(num_samples=40).spec
    options = Augmentation(jitter=0.5, scaling=0.5, feature_masking=0.9, step_masking=0.5)
    options.check(spec)
    batch = IrregularSine(num_samples=40).split("train").batch(slice(None))
    changed = Augmenter(options, spec, torch.ones(2), (0,))(batch, 0, 0)
    torch.testing.assert_close(changed.inputs[..., 1], batch.inputs[..., 1])
    assert (changed.inputs[..., 0] != batch.inputs[..., 0]).any()
    with pytest.raises(InputError, match=r"time_warping=0\.1 is for steps that are equally far apart"):
        Augmentation(time_warping=0.1).check(spec)
