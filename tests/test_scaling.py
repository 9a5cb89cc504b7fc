"""Labelled features of every kind are scaled by one key, in training, for new sequences, and in what is exported."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import polars
import polars.selectors
import pytest
import torch
import yaml
from conftest import CONF, TINY, choices, compose
from matplotlib.figure import Figure
from PIL import Image

import rnnlab
from rnnlab.commands import export as export_command
from rnnlab.commands.train import main as train_command
from rnnlab.data.frame_reader import FrameReader
from rnnlab.data.labelled import LabelledFeatures
from rnnlab.data.readers import reader_from_plain
from rnnlab.errors import InputError
from rnnlab.instruments.montage import images, shades
from rnnlab.instruments.sequence_plot import draw_input
from rnnlab.runs.build import build
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import execute
from rnnlab.use.export.processing import preprocessing
from rnnlab.use.inspection import Inspected, Question, open_subject
from rnnlab.use.predictor import TrainedRun

LABELLED = (
    "classification", "digits", "frames", "glyph_captions", "irregular_sine", "moving_digits", "moving_shapes",
    "random", "ucr",
)  # fmt: skip
every_kind = pytest.mark.parametrize("name", LABELLED)


def make(name: str, tmp_path: Path, **options: Any) -> LabelledFeatures:
    """A small data set, frames in colours from a folder."""
    if name == "frames":
        options |= {"path": str(pictures(tmp_path)), "color": True}
    if name == "glyph_captions":
        options |= {"fonts": 1, "frame_size": 8}
    config = compose(f"data={name}", *TINY)["data"]
    data = build(config | options, "data")
    assert isinstance(data, LabelledFeatures)
    return data


def pictures(folder: Path) -> Path:
    """Twelve of each of two classes, whose channels differ in brightness and contrast."""
    rng = np.random.default_rng(0)
    for kind in ("cat", "dog"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for number in range(12):
            pixels = rng.random((16, 16, 3)) * (200, 90, 40) + (5, 60, 200)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / kind / f"{number}.png")
    return folder


def raw(data: LabelledFeatures, index: int = 0) -> np.ndarray:
    """A training sequence in the data's own units."""
    rng = np.random.default_rng((data.seed, 0, index))
    return np.asarray(data.unscaled(rng, "train", index).inputs, np.float64)


def read(data: LabelledFeatures, sequence: np.ndarray) -> np.ndarray:
    """A new sequence as a run reads it, which has its reader from a checkpoint."""
    reader = reader_from_plain(data.reader.plain())
    (given,) = reader.take([sequence] if isinstance(reader, FrameReader) else sequence[None])
    return given.inputs


def changed(data: LabelledFeatures, sequence: np.ndarray) -> np.ndarray:
    """The same in other units: half as large, a quarter higher; so that pixels stay pixels, and times what they are."""
    other = 0.5 * sequence + 0.25
    other[:, list(data.unscaled_features)] = sequence[:, list(data.unscaled_features)]
    return other


# ---- data ------------------------------------------------------------------------------------------


def test_all_labelled_features_have_the_key() -> None:
    tasks = {"classification", "captioning", "transcription"}
    found = set()
    for name in choices("data"):
        keys = yaml.safe_load((CONF / "data" / f"{name}.yaml").read_text(encoding="utf-8"))
        if not tasks & {task for default in keys["defaults"] if isinstance(default, dict) for task in default.values()}:
            continue
        module, _, kind = keys["_target_"].rpartition(".")
        if issubclass(getattr(import_module(module), kind), LabelledFeatures):
            assert {"scaling", "moments"} <= keys.keys(), name
            found.add(name)
        else:
            data = build(compose(f"data={name}", *TINY)["data"], "data")
            assert data.spec.input.features is None, f"{name} is of labelled features"
    assert found == {*LABELLED, "table", "speech", "dial_tones", "digit_lines", "captions"}


@every_kind
@pytest.mark.parametrize("scaling", ["none", "standard", "per_sequence"])
def test_new_sequences_are_scaled_as_those_of_training(name: str, scaling: str, tmp_path: Path) -> None:
    data = make(name, tmp_path, scaling=scaling)
    split = data.split("train")
    for index in range(3):
        batch = split.batch(torch.tensor([index]))
        served = batch.inputs[0] if batch.lengths is None else batch.inputs[0, : batch.lengths[0]]
        torch.testing.assert_close(torch.from_numpy(read(data, raw(data, index))), served, rtol=1e-5, atol=1e-5)


@every_kind
def test_units_of_a_sequence_make_no_difference_where_it_is_scaled_by_itself(name: str, tmp_path: Path) -> None:
    data = make(name, tmp_path, scaling="per_sequence")
    for index in range(3):
        sequence = raw(data, index)
        np.testing.assert_allclose(read(data, changed(data, sequence)), read(data, sequence), rtol=1e-4, atol=1e-4)
    plain = make(name, tmp_path, scaling="none")
    assert not np.allclose(read(plain, changed(plain, sequence)), read(plain, sequence), atol=0.01)


@every_kind
def test_a_trained_run_hands_in_what_it_has_measured(name: str, tmp_path: Path) -> None:
    data = make(name, tmp_path, scaling="standard")
    again = make(name, tmp_path, **{**data.state_dict(), "seed": 1})
    np.testing.assert_array_equal(again.scale, data.scale)
    assert again.reader.plain() == data.reader.plain()


@pytest.mark.parametrize("scaling", ["standard", "per_sequence"])
def test_times_since_the_step_before_stay_what_they_are(scaling: str, tmp_path: Path) -> None:
    data, plain = (make("irregular_sine", tmp_path, scaling=each) for each in (scaling, "none"))
    scaled, given = (each.split("train").inputs for each in (data, plain))
    assert torch.equal(scaled[..., 1], given[..., 1]) and not torch.allclose(scaled[..., 0], given[..., 0], atol=0.01)
    mean, deviation = (scaled[..., 0].mean(1), scaled[..., 0].std(1, correction=0))
    if scaling == "standard":
        mean, deviation = mean.mean(), scaled[..., 0].std(correction=0)
    torch.testing.assert_close(
        (mean, deviation), (torch.zeros_like(mean), torch.ones_like(deviation)), atol=1e-4, rtol=0
    )
    assert data.spec.input.elapsed == 1
    alone = make("irregular_sine", tmp_path, scaling=scaling, elapsed=False)
    assert alone.unscaled_features == () and alone.split("train").inputs.shape[2] == 1


@pytest.mark.parametrize("scaling", ["standard", "per_sequence"])
def test_a_channel_of_an_image_is_scaled_over_all_its_pixels(scaling: str, tmp_path: Path) -> None:
    data, plain = (make("frames", tmp_path, scaling=each) for each in (scaling, "none"))
    pixels, before = (each.split("train").inputs.double().unflatten(2, (3, -1)) for each in (data, plain))
    over = (0, 1, 3) if scaling == "standard" else (1, 3)
    mean, deviation = pixels.mean(over), pixels.std(over, correction=0)
    torch.testing.assert_close(
        (mean, deviation), (torch.zeros_like(mean), torch.ones_like(deviation)), atol=1e-5, rtol=0
    )
    # which keeps the picture: pixels of a channel stand to each other as they did
    first, second = before[0, 0, 0], pixels[0, 0, 0]
    assert torch.corrcoef(torch.stack([first, second]))[0, 1] == pytest.approx(1, abs=1e-6)
    assert len(data.plain_scale[0]) == (3 if scaling == "standard" else 0)


def test_an_image_of_one_colour_is_0() -> None:
    reader = FrameReader((1, 2, 2), own_moments=True)
    (given,) = reader.take(np.full((3, 1, 2, 2), 0.3))
    np.testing.assert_allclose(given.inputs, np.zeros((3, 4)), atol=1e-7)


# ---- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "instead"), [("next_shapes", "motion"), ("next_digits", "motion"), ("video", "class")]
)
@pytest.mark.parametrize("scaling", ["standard", "per_sequence"])
def test_next_frames_are_not_scaled(data: str, instead: str, scaling: str) -> None:
    with pytest.raises(InputError, match=rf"^data.scaling={scaling} is for .*scaling=none, or data.predict={instead}$"):
        build(compose(f"data={data}", f"data.scaling={scaling}")["data"], "data")


@pytest.mark.parametrize("name", ["irregular_sine", "moving_shapes", "frames", "glyph_captions", "random"])
def test_another_value_is_refused_with_those_that_there_are(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train_command([f"data={name}", "data.scaling=per_sequenc"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "data.scaling" in line and "per_sequenc" in line
    assert all(value in line for value in ("standard", "per_sequence", "none"))


# ---- runs ------------------------------------------------------------------------------------------

RUNS = {
    "irregular_sine": ["model=cfc"],
    "moving_shapes": [],
    "frames": ["data.color=true"],
}


@pytest.fixture(scope="module", params=RUNS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LabelledFeatures]:
    """A tiny run whose sequences are scaled by themselves, and its data as it is."""
    name, folder = request.param, tmp_path_factory.mktemp("runs")
    more = [f"data.path={pictures(folder / 'pictures')}"] if name == "frames" else []
    chosen = [f"data={name}", *TINY, *RUNS[name], *more]
    directory = RunDirectory.claim(folder / "run")
    config = compose(*chosen, "data.scaling=per_sequence", "model.hidden_size=8", "instruments=none")
    execute(directory, config, quiet=True)
    return directory.path, build(compose(*chosen)["data"], "data")


def odds(model: TrainedRun, sequence: np.ndarray) -> np.ndarray:
    frame = model.spec.input.frame
    x = sequence if frame is None else sequence.reshape(-1, *frame)
    found = model.predict([x])
    return found.select(polars.selectors.float()).to_numpy()[0]


def test_a_run_says_the_same_in_other_units(run: tuple[Path, LabelledFeatures]) -> None:
    path, data = run
    model = rnnlab.load(path)
    for index in range(3):
        sequence = raw(data, index)
        np.testing.assert_allclose(odds(model, changed(data, sequence)), odds(model, sequence), rtol=1e-3, atol=1e-5)


def test_a_run_goes_through_no_stream(run: tuple[Path, LabelledFeatures]) -> None:
    path, data = run
    model = rnnlab.load(path)
    with pytest.raises(InputError, match="scales each sequence by its own mean"):
        model.reader.step(raw(data)[0])
    if not isinstance(model.reader, FrameReader):
        with pytest.raises(InputError, match="scales each sequence by its own mean"):
            next(model.reader.stream(iter(["value,elapsed", "1,1"]), "it"))


@pytest.mark.few("irregular_sine")
def test_what_is_exported_says_what_the_run_says(run: tuple[Path, LabelledFeatures], tmp_path: Path) -> None:
    path, data = run
    file = tmp_path / "model.pt2"
    assert export_command.main([str(path), "--format", "pt2", "--output", str(file)]) == 0
    about = json.loads(Path(f"{file}.json").read_text())
    before = about["preprocessing"]
    assert before["own_moments"] is True and "shift" not in before
    sequence = raw(data)
    # by its rule, with nothing of rnnlab
    parts = sequence.reshape(len(sequence), -1, np.prod(before["frame"][1:]) if "frame" in before else 1)
    over = (0, 2)
    x = (parts - parts.mean(over, keepdims=True)) / parts.std(over, keepdims=True)
    x = x.reshape(sequence.shape)
    for feature in before.get("unscaled", []):
        x[:, feature] = sequence[:, feature]
    program = torch.export.load(file).module()
    states = [torch.zeros(1, *each["shape"][1:]) for each in about["inputs"][2:]]
    output = program(torch.from_numpy(x[None]).float(), torch.tensor([len(x)]), tuple(states))[0]
    np.testing.assert_allclose(output[0].softmax(-1).numpy(), odds(rnnlab.load(path), sequence), rtol=1e-3, atol=1e-5)


def test_pixels_whose_scale_is_told_are_described_one_by_one(tmp_path: Path) -> None:
    data = make("frames", tmp_path, scaling="standard")
    before, sequence = preprocessing(data), raw(data)
    by_rule = (sequence - before["shift"]) / before["scale"]
    np.testing.assert_allclose(by_rule, read(data, sequence), rtol=1e-5, atol=1e-5)
    assert "own_moments" not in before


# ---- pictures --------------------------------------------------------------------------------------


def test_a_run_is_looked_at_as_its_network_reads_and_frames_from_black_to_white(
    run: tuple[Path, LabelledFeatures],
) -> None:
    path, data = run
    directory = RunDirectory.open(path)
    subject = open_subject(Inspected("it", directory, directory.config), Question())
    if data.spec.input.frame is None:
        assert subject.one(0).inputs[0, :, 0].mean().abs() < 1e-5
        return
    inputs = subject.one(0).inputs[0]
    ax = Figure().add_subplot()
    draw_input(ax, subject, inputs)
    drawn = np.stack([np.asarray(image.get_array()) for image in ax.images])
    assert drawn.min() == 0 and drawn.max() == 1 and 0.05 < drawn.mean() < 0.95
    assert len(np.unique(drawn)) > 50


def test_what_is_drawn_black_and_white() -> None:
    pixels = torch.tensor([[0.2, 0.4, 0.6, 0.8]])
    assert shades(pixels) == (0.0, 1.0)
    np.testing.assert_allclose(images(pixels, (1, 2, 2), shades(pixels))[0, ..., 0].ravel(), pixels[0])
    scaled = 5 * pixels - 3
    found = images(scaled, (1, 2, 2), shades(scaled))[0, ..., 0].ravel()
    np.testing.assert_allclose(found, [0, 1 / 3, 2 / 3, 1], atol=1e-6)
    assert shades(torch.full((1, 4), -2.0)) == (0.0, 1.0)
