"""The laws of data: every data set in ``conf/data`` keeps them, one's own included."""

import json
import os
import pickle
from dataclasses import MISSING, fields
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from omegaconf import OmegaConf
from torch import Tensor

from rnnlab.data.batches import Batches, BatchOrder, Divided, StreamOrder
from rnnlab.data.classification import SHAPES, Classification
from rnnlab.data.random import Random
from rnnlab.data.sequence import SequenceData
from rnnlab.data.sine import Sine
from rnnlab.data.sine_notebook import NotebookSine
from rnnlab.data.split import SPLITS, Sample, Split, SplitName, stack
from rnnlab.data.tokens import Tokens
from rnnlab.errors import InputError
from rnnlab.runs.build import build
from rnnlab.spec import IGNORED, Batch, Scaling, valid_steps

CONFIGS = sorted((Path(__file__).parents[1] / "conf" / "data").glob("[!_]*.yaml"))
every_data_set = pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)


def read(config: Path) -> dict[str, Any]:
    node = OmegaConf.to_container(OmegaConf.create({"seed": 0, "data": OmegaConf.load(config)}), resolve=True)["data"]
    node.pop("defaults")
    return node


def make(config: Path, **options: Any) -> SequenceData:
    return build(read(config) | {"num_samples": 50} | options, "data")


def row(split: Split, i: int) -> list[Tensor]:
    """Sequence ``i`` as it was before padding."""
    batch = split.batch(torch.tensor([i]))
    return [part[0] for part in (batch.inputs, batch.targets, batch.future) if part is not None]


def plain_text(state: Any) -> str:
    return json.dumps(state, sort_keys=True, default=str)


def test_more_sequences_than_memory_holds_are_refused_before_they_are_drawn() -> None:
    data = make(next(config for config in CONFIGS if config.stem == "sine"), num_samples=10**12)
    with pytest.raises(InputError, match=r"data\.num_samples=10{12}: the .* of train need about .* GB"):
        data.split("train")


def draws(data: SequenceData) -> bool:
    """Whether its samples are drawn at all, and not read or computed."""
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    data.sample(rng, "train", 0)
    return rng.bit_generator.state != before


# ---- every data set -------------------------------------------------------------------------


@every_data_set
def test_what_a_trained_run_hands_in_it_hands_on(config: Path) -> None:
    """A run that goes on twice reads its data at last as at first."""
    state = make(config).state_dict()
    again = make(config, **state).state_dict()
    assert again.keys() == state.keys()
    assert plain_text(again) == plain_text(state)


@every_data_set
def test_a_sample_depends_on_nothing_but_seed_split_and_index(config: Path) -> None:
    # features of sounds are scaled by moments of the training part, which is another one here
    raw = {"scaling": "none"} if config.stem in ("dial_tones", "speech") else {}
    few, many = make(config, **raw), make(config, num_samples=90, **raw)
    for number, name in enumerate(SPLITS):
        for i in reversed(range(0, few.size(name), 4)):
            alone = stack([few.sample(np.random.default_rng((few.seed, number, i)), name, i)])
            for a, b, c in zip(row(alone, 0), row(few.split(name), i), row(many.split(name), i), strict=True):
                assert torch.equal(b, a) and torch.allclose(c, a, rtol=0, atol=1e-6)


@every_data_set
def test_global_random_states_stay_untouched(config: Path) -> None:
    def states() -> list[str]:
        numpy = str(np.random.get_state())  # noqa: NPY002 - the global state is what is guarded
        return [numpy, str(torch.get_rng_state().tolist())]

    before = states()
    data = make(config)
    data.setup()
    list(data.train_dataloader())
    assert states() == before


@every_data_set
def test_splits_and_seeds_are_other_draws(config: Path) -> None:
    data, other = make(config), make(config, seed=1)
    if not draws(data):
        assert data.spec.note, "a data set without chance says in its note what that means"
        return
    seen = [
        tuple(row(each.split(name), i)[0].flatten().tolist())
        for each in (data, other)
        for name in SPLITS
        for i in range(each.size(name))
    ]
    assert len(seen) == 100
    if not data.spec.note:  # where sequences must repeat, the note says so
        assert len(set(seen)) == 100
    assert (
        len(
            {data.split(name).inputs.numpy().tobytes() for name in SPLITS}
            | {other.split("train").inputs.numpy().tobytes()}
        )
        == 4
    )


@every_data_set
def test_padding_is_zero(config: Path) -> None:
    data = make(config)
    for name in SPLITS:
        split = data.split(name)
        padding = ~valid_steps(split.inputs, split.lengths)
        assert not split.inputs[padding].any()
        if data.spec.target.kind in ("values", "tokens"):
            assert (split.targets[padding] == (IGNORED if data.spec.target.kind == "tokens" else 0)).all()


@every_data_set
def test_the_spec_is_what_the_tensors_are(config: Path) -> None:
    data = make(config)
    spec = data.spec
    sizes = [data.size(name) for name in SPLITS]
    assert sum(sizes) == data.num_samples and min(sizes) > 0
    for name, size in zip(SPLITS, sizes, strict=True):
        split = data.split(name)
        assert len(split) == size
        assert split.inputs.shape[1] <= spec.length
        assert split.lengths is None or (split.lengths.min() > 0 and split.lengths.max() == split.inputs.shape[1])
        if spec.input.vocabulary is None:
            assert split.inputs.dtype == torch.float32 and split.inputs.shape[2] == spec.input.features
        else:
            assert split.inputs.dtype == torch.int64 and split.inputs.dim() == 2
            assert split.inputs.min() >= 0 and split.inputs.max() < spec.input.vocabulary
        assert len(spec.target.names) in (0, spec.target.size)
        if spec.target.kind == "values":
            assert split.targets.dtype == torch.float32
            assert split.targets.shape == (*split.inputs.shape[:2], spec.target.size)
        elif spec.target.kind == "value":
            assert split.targets.dtype == torch.float32
            assert split.targets.shape == (size, spec.target.size)
        elif spec.target.kind == "sequence":
            assert split.targets.dtype == torch.int64 and split.targets.shape[0] == size
            assert ((split.targets == spec.target.end).sum(1) == 1).all()
            last = split.targets.gather(1, split.target_lengths[:, None] - 1)[:, 0]
            assert (last == spec.target.end).all()
            assert ((split.targets != IGNORED).sum(1) == split.target_lengths).all()
        else:
            assert split.targets.dtype == torch.int64
            assert split.targets.shape == split.inputs.shape[: 1 if spec.target.kind == "class" else 2]
            asked = split.targets[split.targets != IGNORED]
            assert asked.min() >= 0 and asked.max() < spec.target.size
        if spec.horizon is not None:
            ahead = split.inputs[:, spec.horizon :, : spec.target.size]
            assert ahead.numel() and torch.equal(split.targets[:, : -spec.horizon], ahead)
        if split.future is not None:
            assert split.future.shape[0] == size and split.future.shape[2] == spec.target.size


@every_data_set
def test_class_frequencies_are_those_of_the_training_labels(config: Path) -> None:
    data = make(config)
    spec = data.spec
    if spec.target.kind != "class":
        assert spec.class_frequencies == ()
        return
    labels = data.split("train").targets.tolist()
    expected = [labels.count(k) / len(labels) for k in range(spec.target.size)]
    assert spec.class_frequencies == pytest.approx(expected)


@every_data_set
def test_it_is_a_lightning_data_module_that_hashes_prints_and_pickles(config: Path) -> None:
    data = make(config)
    assert hash(data) == hash(data) and type(data).__name__ in str(data) and data.trainer is None
    copy = pickle.loads(pickle.dumps(data))
    assert torch.equal(copy.split("val").inputs, data.split("val").inputs)


@every_data_set
def test_setup_loads_what_its_stage_needs(config: Path) -> None:
    for stage, names in {"fit": {"train", "val"}, "validate": {"val"}, "test": {"test"}, None: set(SPLITS)}.items():
        data = make(config)
        data.setup(stage)
        assert set(data.loaded) == names


@every_data_set
def test_its_yaml_says_what_it_is_and_agrees_with_the_code(config: Path) -> None:
    lines = config.read_text().splitlines()
    assert lines[0].startswith("# "), "one line, which `rnnlab list data` prints"
    assert lines[1].startswith("# Needs: ") or not lines[1].startswith("#"), "and an extra that it needs"
    data, node = make(config), read(config)
    frames = data.spec.target.frame is not None
    tasks = {
        "values": ["multilabel"] if data.spec.target.binary else ["next_frames" if frames else "forecasting"],
        "value": ["regression"],
        "class": ["classification"],
        "tokens": ["labelling", "language_modeling"],
        "sequence": ["translation", "transcription"] if data.spec.input.frame is None else ["captioning"],
    }[data.spec.target.kind]
    overrides = [entry for entry in OmegaConf.load(config)["defaults"] if "override /task@_global_.task" in entry]
    assert overrides in [[{"override /task@_global_.task": task}] for task in tasks]
    if node["_target_"].split(".")[-2] != config.stem:
        return  # a preset of a data set that has its own yaml
    defaults = {field.name: field.default for field in fields(data) if field.default is not MISSING}
    assert set(defaults) - set(node) <= {"bucket", "augmentation"}
    data_alone = OmegaConf.load(config)
    for name, default in defaults.items():
        if OmegaConf.is_interpolation(data_alone, name) and name != "shuffle_seed":
            continue  # it goes by the choices of other groups
        expected = list(default) if isinstance(default, tuple) else default
        assert node.get(name, expected) == expected, name


# ---- sine -----------------------------------------------------------------------------------


def clean(**options: Any) -> Sine:
    return Sine(**{"num_samples": 20, "noise": 0.0} | options)


def test_a_clean_wave_is_one_sinusoid_of_the_stated_frequency() -> None:
    x = clean(frequency=(0.05, 0.05)).split("train").inputs[..., 0]
    # sin(a + b) + sin(a - b) = 2 cos(b) sin(a)
    torch.testing.assert_close(x[:, 2:] + x[:, :-2], 2 * np.cos(2 * np.pi * 0.05) * x[:, 1:-1], rtol=0, atol=1e-5)


def test_frequencies_and_amplitudes_keep_their_range() -> None:
    x = clean(num_samples=200, frequency=(0.1, 0.2), amplitude=(0.5, 2.0), length=200).split("train").inputs[..., 0]
    spectrum = torch.fft.rfft(x).abs()
    strongest = torch.fft.rfftfreq(200)[spectrum.argmax(1)]
    assert 0.095 <= strongest.min() < 0.11 and 0.19 < strongest.max() <= 0.205
    power = (2 * x.square().mean(1)).sqrt()
    assert 0.45 < power.min() < 0.6 and 1.9 < power.max() < 2.1


def test_the_phase_is_in_radians() -> None:
    x = clean(phase=(np.pi / 2, np.pi / 2), amplitude=(1.0, 1.0)).split("train").inputs
    torch.testing.assert_close(x[:, 0], torch.ones_like(x[:, 0]))


@pytest.mark.parametrize("horizon", [1, 7])
def test_the_future_goes_on_where_the_targets_end(horizon: int) -> None:
    options: dict[str, Any] = {"damping": 0.01, "chirp": 0.0005, "components": 3}
    short = clean(length=20, horizon=horizon, future_length=10, **options).split("train")
    whole = clean(length=30 + horizon, **options).split("train").inputs
    seen = torch.cat([short.inputs[:, :horizon], short.targets], 1)
    torch.testing.assert_close(torch.cat([seen, short.future], 1), whole)


def test_noise_is_on_inputs_and_targets_and_not_on_the_future() -> None:
    noisy, wave = clean(num_samples=400, noise=0.3).split("train"), clean(num_samples=400).split("train")
    assert torch.equal(noisy.future, wave.future)
    for observed, true in ((noisy.inputs, wave.inputs), (noisy.targets, wave.targets)):
        difference = observed - true
        assert difference.mean().abs() < 0.01 and difference.std() == pytest.approx(0.3, rel=0.03)


def test_a_mixture_has_the_power_of_one_wave() -> None:
    one, five = (clean(num_samples=1000, components=n).split("train").inputs.square().mean() for n in (1, 5))
    assert five == pytest.approx(float(one), rel=0.1)


def test_damping_and_chirp_are_rates_per_step() -> None:
    plain, damped = clean().split("train").inputs, clean(damping=0.02).split("train").inputs
    torch.testing.assert_close(damped, plain * torch.exp(-0.02 * torch.arange(50.0))[:, None])
    # from 0.1 cycles per step at the first step to 0.3 at the last: sign changes come three times as fast
    x = clean(length=400, frequency=(0.1, 0.1), chirp=0.2 / 400, future_length=0).split("train").inputs[..., 0]
    changes = (x[:, 1:].sign() != x[:, :-1].sign()).float()
    assert changes[:, :50].mean() == pytest.approx(2 * 0.1125, abs=0.02)
    assert changes[:, -50:].mean() == pytest.approx(2 * 0.2875, abs=0.02)


def test_a_period_is_stated_where_there_is_one() -> None:
    assert clean().spec.period is None
    assert clean(frequency=(0.04, 0.04)).spec.period == 25
    assert clean(frequency=(0.03, 0.03)).spec.period is None
    assert clean(frequency=(0.04, 0.04), components=2).spec.period == 25
    assert clean(frequency=(0.04, 0.04), chirp=0.0001).spec.period is None


def test_remembering_clearly_beats_persistence() -> None:
    """Least squares on the last twenty values halves, at the least, the error of who repeats the last one."""
    data = Sine(num_samples=300)

    def windows(split: Split) -> tuple[Tensor, Tensor]:
        x = split.inputs[..., 0].unfold(1, 20, 1)
        return x.reshape(-1, 20), split.targets[:, 19:, 0].reshape(-1)

    x, y = windows(data.split("train"))
    weights = torch.linalg.lstsq(x, y[:, None]).solution
    x, y = windows(data.split("test"))
    remembering, persistence = (y - (x @ weights)[:, 0]).square().mean(), (y - x[:, -1]).square().mean()
    assert data.noise**2 < remembering < persistence / 2


def test_the_notebook_waves_are_the_notebooks_and_all_the_same() -> None:
    data = NotebookSine()
    waves = []
    for number, name in enumerate(SPLITS):
        for i in range(data.size(name)):
            sample = data.sample(np.random.default_rng((0, number, i)), name, i)
            waves.append(np.concatenate([sample.inputs[:1], sample.target])[:, 0])
            np.testing.assert_array_equal(sample.inputs[1:], sample.target[:-1])
    assert len(waves) == 1000
    for i, wave in enumerate(waves):
        np.testing.assert_array_equal(wave, np.sin(np.linspace(i * 2 * np.pi, (i + 1) * 2 * np.pi, 51)))
    assert np.ptp(np.stack(waves), 0).max() < 1e-9
    assert "one and the same" in data.spec.note
    split = data.split("test")
    torch.testing.assert_close(split.future, split.targets, rtol=0, atol=1e-5)  # one more period


# ---- classification -------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_has_period_one_and_goes_from_minus_one_to_one(shape: str) -> None:
    cycles = np.arange(0, 2, 1 / 64)
    y = SHAPES[shape](cycles)
    np.testing.assert_allclose(y[:64], y[64:], atol=1e-12)
    assert y.min() == pytest.approx(-1) and y.max() == pytest.approx(1, abs=0.05) and abs(y.mean()) < 0.05


@pytest.mark.parametrize("segments", [1, 2, 3])
def test_the_class_is_the_order_of_the_shapes(segments: int) -> None:
    data = Classification(shapes=("square", "triangle"), noise=0.0, segments=segments, num_samples=200)
    names = data.spec.target.names
    assert len(names) == len(set(names)) == 2**segments
    for i in range(data.size("train")):
        sample = data.sample(np.random.default_rng((0, 0, i)), "train", i)
        # a square wave is never between its two values
        seen = [
            "square" if (np.abs(part) == 1).all() else "triangle"
            for part in np.array_split(sample.inputs[:, 0], segments)
        ]
        assert names[sample.target] == "→".join(seen)
    assert set(data.split("train").targets.tolist()) == set(range(2**segments))


def test_lengths_reach_from_the_shortest_to_the_longest() -> None:
    for data in (
        Classification(num_samples=500, min_length=5, length=9),
        Tokens(num_samples=500, min_length=5, length=9),
    ):
        assert set(data.split("train").lengths.tolist()) == {5, 6, 7, 8, 9}
    assert Classification(min_length=8, length=8).split("val").lengths is None


# ---- tokens ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"vocabulary": 1000, "num_classes": 10},
        {"vocabulary": 7, "num_classes": 3, "share": 0.0},
        {"vocabulary": 2, "num_classes": 2, "min_length": 1, "length": 6, "share": 0.0},
        {"vocabulary": 9, "num_classes": 9, "min_length": 1, "length": 30, "share": 0.9},
    ],
    ids=str,
)
def test_the_class_is_the_topic_that_occurs_most_and_there_are_no_ties(options: dict[str, Any]) -> None:
    data = Tokens(num_samples=600, **options)
    split = data.split("train")
    lengths = split.lengths.tolist()
    for tokens, label, length in zip(split.inputs.numpy(), split.targets.tolist(), lengths, strict=True):
        counts = np.bincount(tokens[:length] % data.num_classes, minlength=data.num_classes)
        first, second = np.sort(counts)[::-1][:2]
        assert counts[label] == first > second and first >= round(data.share * length)
    assert max(data.spec.class_frequencies) < 2.2 / data.num_classes
    if data.vocabulary < 100:
        assert len(set(split.inputs.flatten().tolist())) == data.vocabulary


def test_no_position_gives_the_class_away() -> None:
    data = Tokens(num_samples=2000)
    split = data.split("train")
    topics = split.inputs % data.num_classes
    for position in (0, 5, -1):
        at = (split.lengths - 1) if position == -1 else torch.full_like(split.lengths, position)
        right = (topics[torch.arange(len(split)), at] == split.targets).float().mean()
        assert right == pytest.approx(data.share, abs=0.07)


# ---- random ---------------------------------------------------------------------------------


def test_random_inputs_say_nothing_of_their_labels() -> None:
    data = Random(num_samples=4000)
    split = data.split("train")
    assert split.inputs.shape[1:] == (15, 10) and data.spec.target.size == 5
    assert split.inputs.mean().abs() < 0.01 and split.inputs.std() == pytest.approx(1, abs=0.01)
    assert data.spec.class_frequencies == pytest.approx([0.2] * 5, abs=0.03)
    means = torch.stack([split.inputs[split.targets == k].mean(0) for k in range(5)])
    assert means.abs().max() < 5 / np.sqrt(640)  # five standard errors
    assert "memoris" in data.spec.note


# ---- what cannot work -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data_set", "options", "named"),
    [
        (Sine, {"frequency": (0.2, 0.1)}, ["data.frequency=[0.2, 0.1]"]),
        (Sine, {"phase": (1.0, 0.0)}, ["data.phase=[1.0, 0.0]"]),
        (Sine, {"amplitude": (1.0, 0.5)}, ["data.amplitude=[1.0, 0.5]"]),
        (Sine, {"frequency": (0.1, 0.6)}, ["data.frequency=[0.1, 0.6]", "0.5"]),
        (Sine, {"frequency": (-0.1, 0.1)}, ["data.frequency=[-0.1, 0.1]"]),
        (Sine, {"chirp": 0.01}, ["data.frequency", "data.chirp=0.01"]),
        (Sine, {"chirp": -0.01}, ["data.frequency", "data.chirp=-0.01"]),
        (Sine, {"horizon": 50}, ["data.horizon=50", "data.length=50"]),
        (Sine, {"val_fraction": 0.5, "test_fraction": 0.5}, ["data.val_fraction=0.5", "data.test_fraction=0.5"]),
        (Sine, {"num_samples": 4}, ["data.num_samples=4", "val"]),
        (Sine, {"test_fraction": 0.0}, ["data.num_samples=1000", "data.test_fraction=0.0", "for test"]),
        (Classification, {"min_length": 41}, ["data.min_length=41", "data.length=40"]),
        (Classification, {"shapes": ["sine", "sqare"]}, ["data.shapes", "sqare", "did you mean 'square'?"]),
        (Classification, {"shapes": []}, ["data.shapes=[]", "sawtooth"]),
        (Classification, {"shapes": ["sine"]}, ["data.shapes=['sine']", "two"]),
        (Classification, {"shapes": ["sine", "square", "sine"]}, ["data.shapes", "once"]),
        (Classification, {"segments": 21}, ["data.segments=21", "data.min_length=20"]),
        (Classification, {"segments": 12}, ["data.segments=12", "data.shapes", "16,777,216 classes"]),
        (Classification, {"frequency": (0.2, 0.1)}, ["data.frequency=[0.2, 0.1]"]),
        (Classification, {"frequency": (0.2, 0.7)}, ["data.frequency=[0.2, 0.7]"]),
        (Tokens, {"min_length": 50}, ["data.min_length=50", "data.length=40"]),
        (Tokens, {"vocabulary": 4}, ["data.num_classes=5", "data.vocabulary=4"]),
    ],
    ids=lambda value: "" if isinstance(value, list) else getattr(value, "__name__", str(value)),
)
def test_what_cannot_work_is_one_line_that_names_the_keys(
    data_set: type[SequenceData], options: dict[str, Any], named: list[str]
) -> None:
    with pytest.raises(InputError) as error:
        data_set(**options)
    message = str(error.value)
    assert "\n" not in message
    assert [part for part in named if part not in message] == []


@pytest.mark.parametrize(
    "options",
    [{"num_samples": 0}, {"batch_size": -1}, {"noise": -0.1}, {"frequency": [0.1]}, {"frequency": 0.1}, {"length": 2.5},
     {"val_fraction": 1.0}, {"lenght": 50}],
    ids=str,
)  # fmt: skip
def test_what_annotations_forbid_is_refused_with_its_key(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(InputError, match=rf"data\.{name}="):
        make(CONFIGS[[path.stem for path in CONFIGS].index("sine")], **options)


# ---- batches --------------------------------------------------------------------------------


SIZES = [(64, 8), (65, 8), (7, 8), (8, 8), (100, 1), (1000, 8)]
some_lengths = np.random.default_rng(0).integers(1, 60, 1000)


def order(
    size: int, batch_size: int, bucket: bool = False, seed: int | None = 0, epoch: int = 0, **shard: int
) -> list[Tensor]:
    made = BatchOrder(size, batch_size, torch.tensor(some_lengths[:size]) if bucket else None, seed, **shard)
    made.set_epoch(epoch)
    batches = list(made)
    assert len(batches) == len(made)
    return batches


@pytest.mark.parametrize("bucket", [False, True])
@pytest.mark.parametrize(("size", "batch_size"), SIZES)
def test_an_epoch_meets_every_sequence_once(size: int, batch_size: int, bucket: bool) -> None:
    for epoch in range(3):
        batches = order(size, batch_size, bucket, epoch=epoch)
        assert sorted(torch.cat(batches).tolist()) == list(range(size))
        assert sorted(map(len, batches))[1:] == [batch_size] * (len(batches) - 1)


@pytest.mark.parametrize("bucket", [False, True])
def test_the_order_is_a_function_of_seed_and_epoch(bucket: bool) -> None:
    def flat(**which: int) -> list[int]:
        return torch.cat(order(300, 8, bucket, **which)).tolist()

    assert flat(epoch=3) == flat(epoch=3)
    orders = [flat(seed=seed, epoch=epoch) for seed in (0, 1) for epoch in (0, 1, 2)]
    assert len({tuple(each) for each in orders}) == 6
    # who shares a batch changes too, not only when the batch comes
    first, second = ({frozenset(batch.tolist()) for batch in order(300, 8, bucket, epoch=e)} for e in (0, 1))
    assert len(first & second) < len(first) / 10


@pytest.mark.parametrize("world", [1, 2, 3, 16])
@pytest.mark.parametrize(("size", "batch_size"), SIZES)
def test_processes_share_the_training_batches_evenly(size: int, batch_size: int, world: int) -> None:
    shards = [order(size, batch_size, rank=rank, world=world) for rank in range(world)]
    assert len({len(shard) for shard in shards}) == 1, "or an all-reduce would wait for ever"
    together = [tuple(batch.tolist()) for step in zip(*shards, strict=True) for batch in step]
    whole = [tuple(batch.tolist()) for batch in order(size, batch_size)]
    assert together[: len(whole)] == whole
    assert len(together) - len(whole) < world and set(together) == set(whole)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize(("size", "batch_size"), SIZES)
def test_processes_share_what_is_evaluated_without_repetition(size: int, batch_size: int, world: int) -> None:
    shards = [order(size, batch_size, seed=None, rank=rank, world=world) for rank in range(world)]
    assert sorted(torch.cat(list(chain(*shards))).tolist()) == list(range(size))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1 and min(map(len, shards)) > 0
    if world == 1:
        assert torch.cat(shards[0]).tolist() == list(range(size)), "in the data's own order"


@pytest.mark.parametrize("world", [1, 2, 3])
def test_the_loaders_of_several_processes_share_each_split(world: int) -> None:
    def loaders(rank: int) -> tuple[Batches, Batches]:
        data = Classification(num_samples=120, val_fraction=0.25, batch_size=4, noise=1.0)
        trainer: Any = SimpleNamespace(global_rank=rank, world_size=world, overfit_batches=0)
        data.trainer = trainer
        return data.train_dataloader(), data.val_dataloader()

    whole = Classification(num_samples=120, val_fraction=0.25, batch_size=4, noise=1.0)
    train, val = zip(*map(loaders, range(world)), strict=True)
    splits: list[tuple[Any, SplitName]] = [(train, "train"), (val, "val")]
    for parts, split in splits:
        met = [round(float(row.sum()), 4) for batches in parts for batch in batches for row in batch.inputs]
        there = [round(float(row.sum()), 4) for row in whole.split(split).inputs]
        assert set(met) == set(there) and len(set(there)) == len(there)
        repeated = len(met) - len(there)
        assert repeated == 0 if split == "val" else repeated < world * 4


def test_a_pass_is_one_epoch_where_nobody_says_otherwise() -> None:
    data = Sine(num_samples=10, batch_size=3)
    assert [data.size(split) for split in SPLITS] == [8, 1, 1]  # one sequence is enough for a split
    assert (data.batches_per_pass, data.batches_of_validation) == (3, 1)
    with pytest.raises(InputError, match=r"num_samples=4 .* leaves no sequence for val: give more$"):
        Sine(num_samples=4, batch_size=3)


class Part:
    """As much of a tensor as is asked on its way to a device."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.moved: dict[str, Any] = {}

    def float(self) -> "Part":
        return Part(torch.float32)

    def to(self, device: torch.device, non_blocking: bool) -> "Part":
        self.moved = {"device": device.type, "waits": not non_blocking}
        return self


class Parts(Batch):
    """A batch of such."""

    def map(self, function: Any) -> "Parts":
        return Parts(*(None if part is None else function(part) for part in self))


@pytest.mark.parametrize(("device", "waits"), [("cpu", True), ("mps", True), ("cuda", False)])
def test_a_batch_moves_to_its_device_as_that_needs_it(device: str, waits: bool) -> None:
    batch = Parts(*map(Part, (torch.float32, torch.float64, torch.int64)))  # type: ignore[arg-type]
    moved: Any = Sine(num_samples=10).transfer_batch_to_device(batch, torch.device(device), 0)[:3]
    assert [part.moved for part in moved] == [{"device": device, "waits": waits}] * 3
    # which has no double precision
    assert [part.dtype for part in moved] == [
        torch.float32, torch.float32 if device == "mps" else torch.float64, torch.int64,
    ]  # fmt: skip


def padding(batches: Batches) -> float:
    """Share of the steps that are padding."""
    served = list(batches)
    for batch in served:
        assert batch.lengths is not None and batch.inputs.shape[1] == batch.lengths.max(), "no longer than it needs"
    return 1 - sum(int(b.lengths.sum()) for b in served) / sum(b.inputs[..., 0].numel() for b in served)


def test_numbers_of_the_network_come_back_in_the_datas_units() -> None:
    values = torch.tensor([[1.0, 1.0], [-1.0, 0.5]], dtype=torch.float64)
    units = Scaling(shift=(1.0, 2.0), scale=(2.0, 4.0)).to_units(values)
    assert units.dtype == torch.float64 and units.tolist() == [[3.0, 6.0], [-1.0, 4.0]]
    assert torch.equal(Scaling().to_units(values), values)


def test_streams_of_one_process_are_all_streams() -> None:
    assert [rows.tolist() for rows in StreamOrder(7, 2)] == [[0, 4], [1, 5], [2, 6], [3]]
    assert len(StreamOrder(7, 2)) == 4 and len(StreamOrder(6, 2)) == 3


def test_bucketing_leaves_little_padding() -> None:
    options = {"num_samples": 1000, "min_length": 5, "length": 60}
    bucketed, mixed = (padding(Classification(**options, bucket=bucket).train_dataloader()) for bucket in (True, False))
    assert bucketed < 0.05 and mixed > 0.3


def test_evaluation_keeps_the_order_of_the_data() -> None:
    data = Classification(num_samples=100, test_fraction=0.4, batch_size=4)
    served = list(data.test_dataloader())
    assert len(served) > 1
    assert torch.equal(torch.cat([batch.targets for batch in served]), data.split("test").targets)


def fingerprint(batches: Batches) -> list[list[Any]]:
    return [[None if part is None else part.tolist() for part in batch] for batch in batches]


# Python 3.12 warns of any fork beside threads, and torch has threads
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("data_set", [Sine, Tokens])
def test_workers_serve_the_same_batches_and_leave_the_global_generator_alone(data_set: type[SequenceData]) -> None:
    alone, helped = (data_set(num_samples=40, batch_size=8, num_workers=n).train_dataloader() for n in (0, 2))
    state = torch.get_rng_state()
    assert (alone.num_workers, helped.num_workers) == (0, 2)
    assert fingerprint(helped) == fingerprint(alone)
    assert torch.equal(torch.get_rng_state(), state)


def test_who_cuts_the_batches_himself_leaves_the_state_that_serving_them_leaves() -> None:
    data = Tokens(num_samples=60, batch_size=8)
    served, counted = data.train_dataloader(), data.train_dataloader()
    iterator, rest = iter(served), counted.rest()
    for position in range(3):
        batch, own = next(iterator), counted.cut(rest[position], 0, position)
        counted.passed()
        assert torch.equal(batch.inputs, own.inputs)
        assert counted.state_dict() == served.state_dict() == {"epoch": 0, "position": position + 1}
    counted.load_state_dict(served.state_dict())
    assert [each.tolist() for each in counted.rest()] == [each.tolist() for each in rest[3:]]


class Signed(Split):
    """Whose batches say which process has cut them."""

    def batch(self, index: slice | Tensor) -> Batch:
        return Batch(torch.full_like(self.inputs[index], os.getpid()), self.targets[index])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 1])
def test_workers_cut_the_batches_where_there_are_any(workers: int) -> None:
    x = torch.zeros(4, 1, 1, dtype=torch.int64)
    cutters = {int(batch.inputs.max()) for batch in Batches(Signed(x, x), BatchOrder(4, 2, None, None), workers)}
    assert len(cutters) == 1 and (cutters == {os.getpid()}) is (workers == 0)


@pytest.mark.parametrize(
    "num_workers", [0, pytest.param(1, marks=pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"))]
)
def test_a_saved_state_goes_on_in_its_own_epoch_and_in_no_other(num_workers: int) -> None:
    data = Tokens(num_samples=60, batch_size=8, num_workers=num_workers)
    whole = {}
    for epoch in (4, 5):
        batches = data.train_dataloader()
        batches.order.set_epoch(epoch)
        whole[epoch] = fingerprint(batches)
    batches.order.set_epoch(4)
    iterator = iter(batches)
    for _ in range(2):
        next(iterator)
    state = batches.state_dict()

    resumed = data.train_dataloader()
    resumed.load_state_dict(state)
    resumed.order.set_epoch(4)
    assert fingerprint(resumed) == whole[4][2:]
    assert fingerprint(resumed) == whole[4], "the state is used once"
    resumed.load_state_dict(state)
    resumed.order.set_epoch(5)
    assert fingerprint(resumed) == whole[5]


class Watcher(LightningModule):
    """Learns next to nothing, and notes what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.shown: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.shown.append(float(batch.inputs.sum()))
        return self.weight * batch.inputs.mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/sum", batch.inputs.sum(), batch_size=len(batch.inputs))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Saver(Callback):
    """Saves after each step."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        trainer.save_checkpoint(self.path / f"{trainer.global_step}.ckpt")


def fit(path: Path, resume: int | None = None, **options: Any) -> list[float]:
    watcher = Watcher()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=3,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=[Saver(path)] if resume is None else [],
        **options,
    )
    data = Sine(num_samples=50, batch_size=10, length=8)
    trainer.fit(watcher, datamodule=data, ckpt_path=path / f"{resume}.ckpt" if resume else None)
    return watcher.shown


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*deprecated")  # Lightning's own
class TestUnderLightning:
    @pytest.mark.parametrize("options", [{}, {"limit_train_batches": 3}], ids=["whole epochs", "cut epochs"])
    def test_a_resumed_run_is_shown_what_it_would_have_been(self, tmp_path: Path, options: dict[str, Any]) -> None:
        whole = fit(tmp_path, **options)
        per_epoch = options.get("limit_train_batches", 4)
        assert len(whole) == 3 * per_epoch == len(set(whole)), "each epoch in another order"
        for step in (1, per_epoch, per_epoch + 2):  # in the middle of an epoch, at its end, in the middle of the next
            assert fit(tmp_path, resume=step, **options) == whole[step:]

    def test_overfitting_on_purpose_shows_the_same_batches_in_every_epoch(self, tmp_path: Path) -> None:
        shown = fit(tmp_path, overfit_batches=2)
        assert len(shown) == 6 and len(set(shown)) == 2

    def test_any_split_can_be_evaluated(self, tmp_path: Path) -> None:
        data = Sine(num_samples=50)
        trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path)
        for loader in (data.train_dataloader(), data.val_dataloader()):
            (scores,) = trainer.validate(Watcher(), dataloaders=loader, verbose=False)
            assert np.isfinite(scores["val/sum"])


def test_targets_of_a_value_a_step_are_padded_as_inputs_are() -> None:
    samples = [Sample(np.ones((n, 2)), np.full((n, 3), 5.0)) for n in (4, 2)]
    split = stack(samples)
    assert split.targets.shape == (2, 4, 3) and split.lengths is not None and split.lengths.tolist() == [4, 2]
    assert split.targets.sum(2).tolist() == [[15.0] * 4, [15.0, 15.0, 0.0, 0.0]]


def test_stacking_pads_at_the_end() -> None:
    split = stack([Sample(np.array([[1.0], [2.0]]), 3), Sample(np.array([[4.0]]), 0)])
    assert split.inputs[..., 0].tolist() == [[1, 2], [4, 0]]
    assert split.targets.tolist() == [3, 0] and split.lengths is not None and split.lengths.tolist() == [2, 1]
    assert split.batch(torch.tensor([1])).inputs.tolist() == [[[4]]]


def test_epochs_that_are_cut_from_passes_begin_with_the_first() -> None:
    passes = BatchOrder(10, 3, None, 1)
    order = Divided(passes, 6)
    assert (len(order), order.seed) == (6, 1)
    first = [batch.tolist() for batch in order]
    order.set_epoch(0)
    assert [batch.tolist() for batch in order] == first
    all_passes = []
    for number in range(3):
        passes.set_epoch(number)
        all_passes += [batch.tolist() for batch in passes]
    assert first == all_passes[:6]
    order.set_epoch(1)
    assert [batch.tolist() for batch in order] == all_passes[6:12]


def test_valid_steps_are_told_where_the_sequences_are() -> None:
    assert valid_steps(torch.zeros(2, 3), torch.tensor([1, 3])).tolist() == [[True, False, False], [True] * 3]
    for lengths in (None, torch.ones(2, dtype=torch.int64, device="meta")):
        valid = valid_steps(torch.zeros(2, 3, device="meta"), lengths)
        assert (valid.device.type, valid.dtype, valid.shape) == ("meta", torch.bool, (2, 3))
