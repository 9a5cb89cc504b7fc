"""Images and frames: what networks make of them, where they come from, and what is refused."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from rnnlab.cells.conv_lstm import ConvLSTM
from rnnlab.cells.gru import GRU
from rnnlab.data.captions import Captions
from rnnlab.data.frame_reader import FrameReader
from rnnlab.data.frames import Frames
from rnnlab.data.moving import put
from rnnlab.data.moving_shapes import MovingShapes
from rnnlab.decoding import Search, beam_search, greedy
from rnnlab.errors import InputError, Interrupted
from rnnlab.files.images import Clip, Look, read_clip
from rnnlab.image_encoder import ImageEncoder
from rnnlab.network import Network
from rnnlab.places import PlaceReadout
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import Outcome
from rnnlab.spec import Batch, InputSpec, TargetSpec
from rnnlab.tasks.task import Task

FRAME = (2, 6, 5)
INPUT = InputSpec(features=60, frame=FRAME)
CLASS, VALUES = TargetSpec("class", 3), TargetSpec("values", 60, frame=FRAME)
SENTENCE = TargetSpec("sequence", 5, end=4, unit="word")
LENGTHS = torch.tensor([4, 1, 3])


def frames(steps: int = 4) -> Tensor:
    return torch.rand(3, steps, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def build(target: TargetSpec, kind: str, **options: Any) -> Network:
    torch.manual_seed(0)
    cell = {"conv2d": GRU, "conv_lstm": ConvLSTM}[kind]
    return Network(INPUT, target, cell, 8, encoder="conv2d" if kind == "conv2d" else "none", **options).double()


both = pytest.mark.parametrize("kind", ["conv2d", "conv_lstm"])

# ---- networks ---------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("target", [CLASS, VALUES], ids=["class", "values"])
def test_padding_changes_nothing_whatever_stands_there(kind: str, target: TargetSpec) -> None:
    network, x = build(target, kind), frames()
    x[torch.arange(4) >= LENGTHS[:, None]] = torch.nan
    together = network(x, lengths=LENGTHS)[0]
    for row, out, length in zip(x, together, LENGTHS.tolist(), strict=True):
        alone = network(row[None, :length])[0][0]
        torch.testing.assert_close(out[:length] if target is VALUES else out, alone)
    valid = torch.arange(4) < LENGTHS[:, None]
    (together[valid] if target is VALUES else together).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


@both
def test_step_by_step_it_says_what_it_says_at_once(kind: str) -> None:
    network, x = build(VALUES, kind).eval(), frames()
    whole, _ = network(x)
    state = tuple(network.initial_state(3))
    for step in range(4):
        output, state = network.step(x[:, step : step + 1], state)
        torch.testing.assert_close(output[:, 0], whole[:, step])


def test_a_frame_is_encoded_by_itself_wherever_it_stands() -> None:
    torch.manual_seed(0)
    encoder, x = ImageEncoder(FRAME, 7).double(), frames()
    torch.testing.assert_close(encoder(x)[:, 2], encoder(x[:, 2:3])[:, 0])
    assert encoder(x).shape == (3, 4, 7) and ImageEncoder((3, 64, 48), 7).places == (4, 3)


def test_a_convolutional_lstm_at_one_place_is_an_lstm() -> None:
    torch.manual_seed(0)
    cell, layer = ConvLSTM(3, 4, peepholes=False).double(), nn.LSTM(3, 4, batch_first=True).double()
    weights = {"weight_ih_l0": cell.weight_ih[..., 1, 1], "weight_hh_l0": cell.weight_hh[..., 1, 1]}
    layer.load_state_dict({**weights, "bias_ih_l0": cell.bias, "bias_hh_l0": torch.zeros_like(cell.bias)})
    x = torch.rand(2, 5, 3, dtype=torch.float64)
    torch.testing.assert_close(cell(x)[0], layer(x)[0])


def test_what_a_place_sees_grows_by_the_kernel_with_each_step() -> None:
    torch.manual_seed(0)
    cell = ConvLSTM(49, 2 * 49, places=(7, 7)).double()
    x = torch.rand(1, 2, 49, dtype=torch.float64, requires_grad=True)
    cell(x)[0][0, 1].view(2, 7, 7)[:, 3, 3].sum().backward()
    assert x.grad is not None
    first, second = (x.grad[0, step].view(7, 7) != 0 for step in (0, 1))
    assert second[2:5, 2:5].all() and second.sum() == 9
    assert first[1:6, 1:6].all() and first.sum() == 25


def test_a_pixel_is_read_out_of_its_own_place() -> None:
    network = build(VALUES, "conv_lstm")
    assert isinstance(network.readout, PlaceReadout) and network.readout.weight.shape == (2, 8)
    hidden = torch.rand(1, 1, 8 * 30, dtype=torch.float64)
    expected = nn.functional.conv2d(
        hidden.view(1, 8, 6, 5), network.readout.weight[..., None, None], network.readout.bias
    )
    torch.testing.assert_close(network.readout(hidden).view(1, 2, 6, 5), expected)
    assert sum(layer.parameters for layer in network.summary()) == sum(p.numel() for p in network.parameters())


def test_a_decoder_attends_to_the_places_of_all_valid_frames() -> None:
    network, x = build(SENTENCE, "conv2d").eval(), frames()
    assert isinstance(network.encoder, ImageEncoder)
    said = greedy(network, x, LENGTHS, 4, 6)
    rows, columns = network.encoder.places
    assert said.weights is not None and said.weights.shape[2] == 4 * rows * columns
    torch.testing.assert_close(said.weights.sum(-1), torch.ones_like(said.weights[..., 0]))
    assert not said.weights[1, :, rows * columns :].any()
    best = beam_search(network, x, LENGTHS, 4, 6, Search(1))
    assert [own[0].tokens for own in best] == [[t for t in row if t >= 0] for row in said.tokens.tolist()]
    targets = torch.tensor([[1, 2, 4], [0, 4, -100], [3, 3, 4]])
    together, _ = network.teach(x, targets, LENGTHS)
    torch.testing.assert_close(together[1], network.teach(x[1:2, :1], targets[1:2])[0][0])


def test_wrong_uses_of_networks_are_refused_in_a_line() -> None:
    with pytest.raises(InputError, match=r"model\.encoder=conv2d is for images and frames"):
        Network(InputSpec(features=3), CLASS, GRU, encoder="conv2d")
    with pytest.raises(InputError, match=r"is tokens: use model\.encoder=none or conv"):
        Network(InputSpec(vocabulary=3), CLASS, GRU, encoder="conv2d")
    with pytest.raises(InputError, match=r"must have the shape \(batch, time, 60\)"):
        build(CLASS, "conv2d")(frames()[..., :59])
    with pytest.raises(InputError, match="kernel_size=2 has no middle: give 1 or 3"):
        ConvLSTM(3, 4, kernel_size=2)
    with pytest.raises(InputError, match=r"places=\[2,2\]"):
        ConvLSTM(3, 4, places=(2, 2))


# ---- frames that are drawn ----------------------------------------------------------------------------


def test_a_sprite_is_put_between_pixels_and_over_the_edge() -> None:
    frame, sprite = np.zeros((4, 4)), np.ones((1, 1))
    put(frame, sprite, np.array([3.0, 1.25]))
    assert frame[3].tolist() == [0, 0.75, 0.25, 0] and frame.sum() == 1
    put(frame, sprite, np.array([3.5, 3.0]))
    assert frame[3, 3] == frame[0, 3] == 0.5


def test_directions_are_what_they_are_called() -> None:
    data = MovingShapes(num_samples=60, noise=0.0, speed=(1.0, 1.0))
    split, names = data.split("train"), data.spec.target.names
    for clip, label in zip(split.inputs, split.targets.tolist(), strict=True):
        kind, direction = names[label].split()
        shift = {"right": (0, 1), "left": (0, -1), "down": (1, 0), "up": (-1, 0)}[direction]
        pixels = clip.view(10, 16, 16)
        torch.testing.assert_close(pixels[3].roll(shift, (0, 1)), pixels[4], rtol=0, atol=1e-6)
        assert kind in ("square", "disc", "cross", "triangle")


def test_what_cannot_be_drawn_is_refused() -> None:
    for options, message in (
        ({"frame_size": 8}, "data.frame_size=8: what moves is 7 pixels wide: give 9 or more"),
        ({"objects": 2}, "data.objects=2: what moves where is asked of one object"),
        ({"speed": (1.0, 9.0)}, r"data.speed=\[1.0, 9.0\] must be from 0 to below 8 pixels"),
    ):
        with pytest.raises(InputError, match=message):
            MovingShapes(**options)


# ---- files ----------------------------------------------------------------------------------------------


def picture(path: Path, value: int = 0, size: tuple[int, int] = (6, 5), mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value, 0, 0)).save(path)


def labelled(folder: Path, count: int = 6) -> Path:
    for number in range(count):
        picture(folder / "dark" / f"{number}.png", number)
        picture(folder / "light" / f"{number}.png", 200 + number)
    return folder


def clips(folder: Path, count: int = 4, length: int = 12) -> Path:
    for number in range(count):
        for step in range(length):
            picture(folder / f"clip{number}" / f"{step}.png", 10 * step + number)
    return folder


def test_a_folder_of_images_by_class(tmp_path: Path) -> None:
    data = Frames(path=str(labelled(tmp_path)), val_fraction=0.2, test_fraction=0.2)
    assert data.spec.target.names == ("dark", "light") and data.spec.input.frame == (1, 5, 6)
    assert sum(map(data.size, ("train", "val", "test"))) == 12 and data.spec.length == 1
    split = data.split("test")
    assert ((split.inputs[:, 0, 0] > 0.5) == split.targets.bool()).all()
    (given, *_) = data.reader.read(data.reader.open(tmp_path / "light"))
    assert given.truth == "light" and given.inputs.shape == (1, 30)
    again = Frames(path=str(tmp_path), val_fraction=0.2, test_fraction=0.2, **data.state_dict())
    assert torch.equal(again.split("train").inputs, data.split("train").inputs)


def test_numbered_frames_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    data = Frames(path=str(clips(tmp_path, length=11)), predict="next_frames", length=5)
    inputs, targets = data.split("train").inputs, data.split("train").targets
    assert torch.equal(inputs[0, 1:], targets[0, :-1]) and (targets[..., 0] > inputs[..., 0]).all()
    assert {data.spec.length, inputs.shape[1]} == {5} and data.spec.horizon == 1
    lone = Frames(path=str(tmp_path / "clip0"), predict="next_frames", length=2)
    assert "whose end is the test" in lone.spec.note
    assert lone.split("train").inputs.max() < lone.split("test").inputs.max()


def test_colours_sizes_and_depths(tmp_path: Path) -> None:
    picture(tmp_path / "red.png", 255, mode="RGB")
    red = read_clip(Clip("red", (tmp_path / "red.png",)), Look(color=True, size=(2, 3)))
    assert red.shape == (1, 3, 2, 3) and red[0, :, 0, 0].tolist() == [255, 0, 0]
    Image.fromarray(np.full((4, 4), 32768, np.uint16)).save(tmp_path / "deep.png")
    assert read_clip(Clip("deep", (tmp_path / "deep.png",)), Look()).max() == 127
    Image.new("RGBA", (4, 4), (255, 255, 255, 0)).save(tmp_path / "clear.png")
    assert not read_clip(Clip("clear", (tmp_path / "clear.png",)), Look()).any()


@pytest.mark.needs("av")
def test_a_video_is_a_clip(tmp_path: Path) -> None:
    import av

    for number in range(3):
        with av.open(str(tmp_path / f"{number}.mp4"), "w") as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
            for step in range(8):
                image = np.full((16, 32, 3), 30 * step, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
    data = Frames(path=str(tmp_path), predict="next_frames", length=4, every=2)
    assert data.spec.input.frame == (1, 16, 32) and data.spec.length == 3
    brightness = data.split("train").inputs.mean(-1)
    torch.testing.assert_close(brightness[0], torch.tensor([0, 60, 120]) / 255, rtol=0, atol=0.03)
    (tmp_path / "0.mp4").write_bytes(b"no video at all")
    with pytest.raises(InputError, match=r"0\.mp4 is broken, or no video"):
        Frames(path=str(tmp_path), predict="next_frames")


def broken(folder: Path) -> None:
    content = (labelled(folder) / "dark" / "0.png").read_bytes()
    (folder / "dark" / "0.png").write_bytes(content[:-20])


WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no folder": (lambda folder: None, {"path": "missing"}, "there is no such folder"),
    "empty": (lambda folder: None, {}, "0 folders in it, and a folder for each class is needed"),
    "empty, next frames": (lambda folder: None, {"predict": "next_frames"}, "there is no image in it"),
    "an empty class": (lambda folder: (labelled(folder) / "none").mkdir(), {}, "the folder none has no image in it"),
    "another size": (
        lambda folder: picture(labelled(folder) / "light" / "9.png", 1, (7, 5)),
        {},
        r"9\.png is 7 x 5 pixels, and the others are 6 x 5",
    ),
    "broken": (broken, {}, r"0\.png is broken"),
    "no image": (lambda folder: (labelled(folder) / "dark" / "0.png").write_text("text"), {}, "is no image"),
    "one frame": (lambda folder: clips(folder, 4, 1), {"predict": "next_frames"}, "has one frame, and none"),
    "too few": (lambda folder: clips(folder, 1, 4), {"predict": "next_frames"}, "give more, or a smaller data.length"),
    "images beside clips": (
        lambda folder: clips(labelled(folder) / "dark"),
        {},
        "dark has images beside dark/clip0: give either",
    ),
    "sizes": (labelled, {"frame_size": [1, 2, 3]}, "give the height and the width"),
    "unknown class": (labelled, {"classes": ["dark"]}, "light is none of the classes"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_folder_is_said_in_a_line(case: str, tmp_path: Path) -> None:
    prepare, options, message = WRONG[case]
    prepare(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        Frames(**{"path": str(tmp_path)} | options).setup()
    assert "\n" not in str(error.value)


def test_new_images_must_be_as_the_runs_own(tmp_path: Path) -> None:
    reader = FrameReader((1, 5, 6), fewest=2)
    picture(tmp_path / "a.png", 1, (9, 9))
    with pytest.raises(InputError, match=r"a\.png is 9 x 9 pixels, and the others are 6 x 5"):
        list(reader.read(reader.open(tmp_path)))
    picture(tmp_path / "a.png")
    with pytest.raises(InputError, match="has 1 frame, and this run needs 2 or more"):
        list(reader.read(reader.open(tmp_path)))
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="this run reads images and videos"):
        reader.open(tmp_path / "table.csv")
    for x, message in (
        (np.zeros((4, 5, 5)), "has the shape"),
        (np.full((4, 5, 6), 7.0), "pixels are numbers between 0 and 1"),
        ("text", "not"),
    ):
        with pytest.raises(InputError, match=message):
            list(reader.take(x))
    assert [each.inputs.shape for each in reader.take(np.zeros((3, 2, 5, 6)))] == [(2, 30)] * 3
    assert [each.inputs.shape for each in reader.take([np.zeros((2, 1, 5, 6)), np.zeros((4, 30))])] == [
        (2, 30),
        (4, 30),
    ]


# ---- captions -------------------------------------------------------------------------------------------


def captioned(folder: Path, rows: str = "") -> Path:
    for number in range(10):
        picture(folder / "images" / f"{number}.png", 20 * number)
    lines = [f"images/{n}.png,a grey of {n}\nimages/{n}.png,grey number {n}" for n in range(10)]
    (folder / "captions.csv").write_text("image,caption\n" + "\n".join(lines) + "\n" + rows)
    return folder


def test_an_image_may_have_several_captions(tmp_path: Path) -> None:
    data = Captions(path=str(captioned(tmp_path)), frame_size=8)
    assert data.size("train") == 16 and data.size("val") == data.size("test") == 1
    assert data.split("train").others is None and data.split("test").others is not None
    target = data.spec.target
    assert target.kind == "sequence" and target.unit == "word" and data.spec.input.frame == (3, 8, 8)
    assert "of 1 test images 0 have a caption whose words were all in training" in data.spec.note


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("images/99.png,a grey\n", r"names the image images/99\.png, and there is none"),
        ("../away.png,a grey\n", r"names the image \.\./away\.png, and there is none"),
        ("images/1.png,\n", "row 21: it has no caption"),
        (",a grey\n", "row 21: it has no image"),
    ],
)
def test_a_table_of_captions_that_is_wrong_is_refused(rows: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        Captions(path=str(captioned(tmp_path, rows)), frame_size=8)


def test_which_table_has_the_captions(tmp_path: Path) -> None:
    (captioned(tmp_path) / "other.csv").write_text("image,caption\n")
    with pytest.raises(InputError, match=r"there is 2: captions\.csv, other\.csv: give data\.table=NAME"):
        Captions(path=str(tmp_path))
    with pytest.raises(InputError, match="has no column 'text'"):
        Captions(path=str(tmp_path), table="captions.csv", caption_column="text")


# ---- runs -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("data=moving_shapes", "model.dropout=0.2", "model.num_layers=2"),
        ("data=next_shapes", "model=conv_lstm", "model.hidden_size=2"),
        ("data=glyph_captions", "model.readout_dropout=0.2"),
    ],
    ids=["motion", "next frames", "captions"],
)
def test_a_run_that_was_stopped_goes_on_as_one_never_stopped(
    overrides: tuple[str, ...], train: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scores(directory: RunDirectory) -> dict[str, float]:
        return {name: value for name, value in directory.metrics.items() if not name.startswith("seconds")}

    options = ("model.hidden_size=6", *overrides, "instruments=none", "trainer.max_epochs=2")
    whole = train(*options).directory
    step, reached = Task.training_step, []

    def stop(self: Task, batch: Batch, batch_idx: int) -> Any:
        if (self.current_epoch, batch_idx) == (1, 1) and not reached:
            reached.append(True)
            signal.raise_signal(signal.SIGINT)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Task, "training_step", stop)
    with pytest.raises(Interrupted):
        train(*options)
    directory = RunDirectory.open(tmp_path / "run1")
    train(*options, resume=directory)
    assert scores(directory) == scores(whole)
