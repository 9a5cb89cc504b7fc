"""Time-series classification: files of one's own, the packaged archives, and digits as sequences."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import compose

from rnnlab.data.classification import Classification
from rnnlab.data.digits import Digits
from rnnlab.data.labelled import LabelledFeatures
from rnnlab.data.readers import reader_from_plain
from rnnlab.data.split import SPLITS
from rnnlab.data.strata import stratified_order
from rnnlab.data.ts_file import read_ts
from rnnlab.data.ucr import UCR
from rnnlab.errors import InputError
from rnnlab.runs.execution import Outcome
from rnnlab.runs.preparation import prepare
from rnnlab.spec import valid_steps

HEAD = "# vowels\n@problemName Vowels\n@timeStamps false\n@dimensions 2\n@classLabel true ae oe\n@data\n"


def line(rng: np.random.Generator, name: str, steps: int) -> str:
    """A sequence of two channels; the second is nearer to 5 in the class ``oe``."""
    values = rng.normal(0, 1, (2, steps)) + np.array([[0], [5 * (name == "oe")]])
    return ":".join([*(",".join(f"{value:.4f}" for value in channel) for channel in values), name])


def write(folder: Path, train: int = 40, test: int | None = 20, head: str = HEAD, name: str = "Vowels") -> Path:
    """A data set of two classes and varying length in a folder; the path of its training file."""
    rng = np.random.default_rng(0)
    for part, number in (("TRAIN", train), ("TEST", test)):
        if number is not None:
            lines = [line(rng, ("ae", "ae", "oe")[i % 3], 3 + i % 5) for i in range(number)]
            (folder / f"{name}_{part}.ts").write_text(head + "\n".join(lines) + "\n")
    return folder / f"{name}_TRAIN.ts"


def labels(data: UCR | Digits, split: Any) -> Counter[int]:
    return Counter(data.split(split).targets.tolist())


# ---- splits that show every class in its share ------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_every_stretch_of_a_stratified_order_has_each_class_in_its_share(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes = rng.choice(4, 200, p=[0.5, 0.3, 0.15, 0.05])
    order = stratified_order(classes, (seed,))
    assert sorted(order) == list(range(200))
    for start in range(0, 200, 20):
        stretch = Counter(classes[order[start : start + 20]].tolist())
        for label, number in Counter(classes.tolist()).items():
            assert abs(stretch[label] - number / 10) <= 1
    assert not np.array_equal(order, stratified_order(classes, (seed, 1)))


def test_folds_are_tested_one_after_the_other_and_the_test_file_is_not_looked_at(tmp_path: Path) -> None:
    path = write(tmp_path, train=40, test=20)
    (tmp_path / "Vowels_TEST.ts").write_text(path.read_text())  # of which no sequence would be new
    tested = []
    for fold in range(3):
        data = UCR(path=str(path), scaling="none", folds=3, fold=fold, val_fraction=0.2)
        sizes = [data.size(split) for split in SPLITS]
        assert sum(sizes) == 40 and sizes[1] == 5 and sizes[2] in (13, 14)
        parts = [{float(row.sum()) for row in data.split(split).inputs} for split in SPLITS]
        assert len(set.union(*parts)) == 40
        tested.append(parts[2])
        assert max(labels(data, "test").values()) in (8, 9)
    assert len(set.union(*tested)) == 40
    assert "part 3 of 3 of its training file" in data.spec.note


# ---- files of one's own -------------------------------------------------------------------------


def test_a_file_is_read_as_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "a.ts"
    file.write_bytes(b"\xef\xbb\xbf# one\r\n@classLabel TRUE x y\r\n@data\r\n1,2.5,-3e1:4,?,6:X\r\n\r\n7:8:y\r\n")
    found = read_ts(file)
    np.testing.assert_array_equal(found.sequences[0], [[1, 4], [2.5, np.nan], [-30, 6]])
    np.testing.assert_array_equal(found.sequences[1], [[7, 8]])
    assert (found.labels, found.lines, found.classes) == (["x", "y"], [4, 6], ("x", "y"))


@pytest.mark.parametrize("given", ["file", "folder", "test_path"])
def test_ones_own_files_have_their_own_split(given: str, tmp_path: Path) -> None:
    train = write(tmp_path)
    options = {"path": str(tmp_path if given == "folder" else train)}
    if given == "test_path":
        options["test_path"] = str((tmp_path / "Vowels_TEST.ts").rename(tmp_path / "held_out.ts"))
    data = UCR(**options, scaling="none", val_fraction=0.2)
    assert [data.size(name) for name in SPLITS] == [32, 8, 20]
    assert data.spec.target.names == ("ae", "oe") and data.spec.input.features == 2 and data.spec.length == 7
    assert labels(data, "train") == {0: 22, 1: 10} and labels(data, "val") == {0: 5, 1: 3}
    # the test is the test file, and each training sequence is in one of the other splits
    for names, file in ((("test",), "*TEST*"), (("train", "val"), "*TRAIN*")):
        path = next(iter(tmp_path.glob(file)), tmp_path / "held_out.ts")
        expected = sorted(float(values.sum()) for values in read_ts(path).sequences)
        seen = [values.sum().item() for name in names for values in data.split(name).inputs]
        assert sorted(seen) == pytest.approx(expected, abs=1e-4)


def test_without_a_test_file_the_test_is_a_share(tmp_path: Path) -> None:
    data = UCR(path=str(write(tmp_path, train=60, test=None)), val_fraction=0.2, test_fraction=0.2)
    assert [data.size(name) for name in SPLITS] == [36, 12, 12]
    assert labels(data, "test") == {0: 8, 1: 4}
    assert "its only file" in data.spec.note


def test_another_seed_validates_with_others_and_tests_with_the_same(tmp_path: Path) -> None:
    path = str(write(tmp_path))
    first, second = (UCR(path=path, scaling="none", seed=seed) for seed in (0, 1))

    def sums(data: UCR, split: Any) -> list[float]:
        return sorted(round(float(values.sum()), 3) for values in data.split(split).inputs)

    assert sums(first, "val") != sums(second, "val")
    assert sums(first, "test") == sums(second, "test")


def test_at_most_so_many_sequences_are_taken(tmp_path: Path) -> None:
    path = str(write(tmp_path))
    few, many = (UCR(path=path, num_samples=number, val_fraction=0.2) for number in (20, 10_000))
    assert [few.size(name) for name in SPLITS] == [14, 4, 2]
    assert [many.size(name) for name in SPLITS] == [32, 8, 20]
    assert labels(few, "train") == {0: 10, 1: 4}  # a stratified start
    assert torch.equal(few.split("train").inputs[3], many.split("train").inputs[3])


def test_channels_are_scaled_by_training_alone(tmp_path: Path) -> None:
    path = write(tmp_path)
    plain, data = UCR(path=str(path), scaling="none"), UCR(path=str(path))
    split, raw = data.split("train"), plain.split("train")
    valid = valid_steps(split.inputs, split.lengths)
    torch.testing.assert_close(split.inputs[valid].mean(0), torch.zeros(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(split.inputs[valid].std(0, correction=0), torch.ones(2))
    mean, deviation = raw.inputs[valid].mean(0), raw.inputs[valid].std(0, correction=0)
    test = plain.split("test").inputs
    there = valid_steps(test, plain.split("test").lengths)
    torch.testing.assert_close(data.split("test").inputs[there], ((test - mean) / deviation)[there])
    # other test values change nothing that is trained on
    text = (tmp_path / "Vowels_TEST.ts").read_text()
    (tmp_path / "Vowels_TEST.ts").write_text(text.replace("0.", "1000."))
    assert torch.equal(UCR(path=str(path)).split("train").inputs, split.inputs)


def test_each_sequence_can_be_scaled_by_itself(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text() + "2,2,2:1,2,3:oe\n")  # a channel that stands still
    data = UCR(path=str(path), scaling="per_sequence")
    for split in SPLITS:
        part = data.split(split)
        for values, length in zip(part.inputs, part.lengths.tolist(), strict=True):
            spread = values[:length].std(0, correction=0)
            assert (values[:length].mean(0).abs() < 1e-5).all()
            assert (torch.isclose(spread, torch.ones(2)) | (spread == 0)).all()


def test_missing_values_are_filled_with_the_last_one_if_asked(tmp_path: Path) -> None:
    path = write(tmp_path, test=None)
    path.write_text(path.read_text() + "?,?,1,?,?,2,?,NaN:1,2,3,4,5,6,7,8:oe\n")
    with pytest.raises(InputError, match=r"line 47, channel 1, step 1: a value is missing; data\.missing=fill"):
        UCR(path=str(path))
    data = UCR(path=str(path), missing="fill", scaling="none")
    filled = [values[:, 0].tolist() for split in SPLITS for values in data.split(split).inputs if values.shape[0] == 8]
    assert [1, 1, 1, 1, 1, 2, 2, 2] in filled
    path.write_text(path.read_text() + "?,?:1,2:oe\n")
    with pytest.raises(InputError, match="line 48, channel 1: all values are missing"):
        UCR(path=str(path), missing="fill")


def test_a_class_with_one_example_trains_and_is_said(tmp_path: Path) -> None:
    path = write(tmp_path, head=HEAD.replace("ae oe", "ae oe uh"))
    path.write_text(path.read_text() + "9,9:9,9:uh\n")
    data = UCR(path=str(path))
    assert labels(data, "train")[2] == 1 and labels(data, "val")[2] == 0
    assert "one example alone, and so never validated: class uh" in data.spec.note


def test_classes_that_differ_in_capitals_are_two(tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    path.write_text("@classLabel true walk Walk run\n@data\n1,2:walk\n2,1:Walk\n3,3:RUN\n")
    assert read_ts(path).labels == ["walk", "Walk", "run"]


def test_a_run_keeps_its_classes_and_its_scale(tmp_path: Path) -> None:
    lines = [f"{k % 5},{k % 3},1:{'ab'[k % 2]}" for k in range(20)]
    (tmp_path / "a.ts").write_text("\n".join(["@data", *lines]) + "\n")
    other = [f"{100 + k % 5},{k % 3},1:{'ba'[k % 2]}" for k in range(20)]
    (tmp_path / "b.ts").write_text("\n".join(["@classLabel true b a", "@data", *other]) + "\n")
    state = UCR(path=str(tmp_path / "a.ts")).state_dict()
    assert UCR(path=str(tmp_path / "b.ts")).class_names == ("b", "a")
    data = UCR(path=str(tmp_path / "b.ts"), **state)
    assert data.class_names == ("a", "b")
    assert data.state_dict() == state
    assert float(data.split("test").inputs[:, 0].min()) > 50
    (tmp_path / "c.ts").write_text("\n".join(["@data", *lines, "1,2,3:c"]) + "\n")
    with pytest.raises(InputError, match=r"class 'c' is none of data\.classes"):
        UCR(path=str(tmp_path / "c.ts"), **state)


def test_a_class_of_the_head_that_nothing_belongs_to_is_left_out(tmp_path: Path) -> None:
    assert UCR(path=str(write(tmp_path, head=HEAD.replace("ae oe", "oe uh ae")))).spec.target.names == ("oe", "ae")


def test_a_network_learns_ones_own_classes(tmp_path: Path, train: Callable[..., Outcome]) -> None:
    own = ("data=ucr", f"data.path={write(tmp_path, train=120, test=60)}", "data.num_samples=null")
    outcome = train(*own, "trainer.max_epochs=10", "optimizer.lr=0.03", "model.hidden_size=8", "instruments=none")
    assert (
        outcome.metrics["test/accuracy"] > 0.95 > 0.67 == pytest.approx(outcome.metrics["baseline/accuracy"], abs=0.01)
    )


DATA = "1,2:3,4:ae\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"Vowels_TRAIN\.ts is empty"),
        (b"1,2,3:a\n", r"line 1: values before a line @data"),
        (b"@classLabel true a b\n", "no line @data"),
        (HEAD, "no sequences after @data"),
        (HEAD + DATA + "1,x:3,4:oe\n", "line 8, channel 1, step 2: 'x' is no number"),
        (HEAD + DATA + "1,2:3,,4:oe\n", "line 8, channel 2, step 2: '' is no number"),
        (HEAD + DATA + "1,2:3,inf:oe\n", "line 8, channel 2, step 2: 'inf' is infinite"),
        (HEAD + DATA + "1,2:3:oe\n", "line 8: channel 2 has 1 step, channel 1 has 2"),
        (HEAD + DATA + "1,2:oe\n", "line 8: 1 channel, where there should be 2"),
        (HEAD + DATA + "1,2:3,4:eo\n", "line 8: class 'eo' is not in @classLabel; did you mean 'oe'"),
        (HEAD + DATA + "1,2:3,4:\n", "line 8: nothing behind the last ':'"),
        (HEAD + DATA + "1 2 3\n", "line 8: no class behind the values"),
        ((HEAD + DATA).encode() + b"1,2:3,4:\xe9\n", "line 8: byte 0xe9 is no UTF-8"),
        (HEAD + DATA * 5, "all sequences are of class 'ae'"),
        (HEAD.replace("Stamps false", "Stamps true") + DATA, "line 3: time stamps are not read"),
        ("@targetLabel true\n@data\n1:2\n", r"line 1: Vowels_TRAIN\.ts has real targets and no classes"),
        ("@classLabel false\n@data\n1:2\n", r"line 1: Vowels_TRAIN\.ts has no classes"),
        ("@dimensions two\n@data\n1:2\n", "line 1: @dimensions two: must be a whole number"),
    ],
)
def test_a_bad_file_is_one_line(content: str | bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "Vowels_TRAIN.ts"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as error:
        UCR(path=str(path))
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_a_test_that_training_cannot_answer_is_refused(tmp_path: Path) -> None:
    train = write(tmp_path, head=HEAD.replace("ae oe", "ae oe uh"))
    test = tmp_path / "Vowels_TEST.ts"
    text = test.read_text()
    test.write_text(text + "1,2:3,4:uh\n")
    with pytest.raises(InputError, match=r"_TEST\.ts, line 27: class 'uh' is in no training sequence \(known: ae, oe"):
        UCR(path=str(train))
    test.write_text("@data\n1,2,3:ae\n")
    with pytest.raises(InputError, match=r"sequences of 1 channel.* of 2"):
        UCR(path=str(train))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"name": "GunPoint", "folds": 3, "fold": 3},
            r"data\.folds=3 and data\.fold=3: at least 2 folds, counted from 0",
        ),
        ({"path": "{0}/nowhere.ts"}, r"data\.path=.*nowhere\.ts: no such file or folder"),
        ({"path": "{0}/Vowels_TRAIN.ts", "test_path": "{0}/no.ts"}, r"data\.test_path=.*no\.ts: no such file"),
        ({"test_path": "{0}/Vowels_TEST.ts"}, r"give data\.path too"),
        ({"path": "{0}", "name": "GunPoint"}, "give one of them"),
        ({"path": "{0}/empty"}, r"no file NAME_TRAIN\.ts in this folder"),
        ({"path": "{0}", "val_fraction": 0.01}, r"data\.val_fraction=0\.01 of the 40 sequences .* none for val"),
        ({"path": "{0}", "val_fraction": 0.95}, "leave nothing to train on"),
        ({"path": "{0}", "patch": 8}, r"data\.patch=8: the longest training sequence has 7 steps, .* at most 7"),
        ({"path": "{0}", "num_samples": 4, "val_fraction": 0.2}, r"data\.num_samples=4 .* leaves no sequence for test"),
    ],
)
def test_options_that_cannot_work_are_one_line(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "empty").mkdir()
    filled = {name: value.format(tmp_path) if isinstance(value, str) else value for name, value in options.items()}
    with pytest.raises(InputError, match=message):
        UCR(**filled)


def test_a_folder_of_several_data_sets_asks_which(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, name="Other")
    with pytest.raises(InputError, match=r"several data sets in this folder \(Other_TRAIN\.ts, Vowels_TRAIN\.ts\)"):
        UCR(path=str(tmp_path))
    write(tmp_path, name=tmp_path.name)  # the one that is called as the folder
    assert UCR(path=str(tmp_path)).files.title == tmp_path.name


# ---- named data sets ------------------------------------------------------------------------------


def test_without_aeon_the_extra_is_named_and_ones_own_files_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("rnnlab.extras", "rnnlab.data.ucr_archive"):
        monkeypatch.setattr(f"{module}.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"data\.name=JapaneseVowels .*aeon.* make install EXTRAS=datasets"):
        UCR()
    with pytest.raises(InputError, match=r"sklearn.* make install EXTRAS=datasets"):
        Digits()
    assert UCR(path=str(write(tmp_path))).size("test") == 20
    # what an earlier download left is found without it
    folder = tmp_path / "Vowels"
    folder.mkdir()
    write(folder)
    assert UCR(name="Vowels", download_path=str(tmp_path)).size("test") == 20


@pytest.mark.needs("datasets")
@pytest.mark.parametrize(
    ("name", "sizes", "channels", "lengths", "classes"),
    [
        ("JapaneseVowels", (270, 370), 12, (7, 29), 9),
        ("ItalyPowerDemand", (67, 1029), 1, (24, 24), 2),
        ("GunPoint", (50, 150), 1, (150, 150), 2),
        ("ArrowHead", (36, 175), 1, (251, 251), 3),
        ("BasicMotions", (40, 40), 6, (100, 100), 4),
    ],
)
def test_the_archives_are_as_they_were_published(
    name: str, sizes: tuple[int, int], channels: int, lengths: tuple[int, int], classes: int
) -> None:
    data = UCR(name=name)
    assert (data.size("train") + data.size("val"), data.size("test")) == sizes
    assert (data.spec.input.features, data.spec.target.size, data.spec.length) == (channels, classes, lengths[1])
    steps = [len(values) for file in data.read.values() for values in file.sequences]
    assert (min(steps), max(steps)) == lengths


@pytest.mark.needs("datasets")
@pytest.mark.slow  # importing aeon, for the names that it could download, takes seconds
def test_a_name_is_known_near_or_to_be_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import aeon.datasets

    here = {"download_path": str(tmp_path / "cache")}
    with pytest.raises(InputError, match=r"data\.name=GunPiont: no such data set; did you mean 'GunPoint'"):
        UCR(name="GunPiont", **here)
    with pytest.raises(InputError, match=r"data\.name=Wafer is not on this machine: data\.download=true gets it"):
        UCR(name="Wafer", **here)

    def load(name: str, extract_path: str) -> None:
        folder = Path(extract_path) / name
        folder.mkdir()
        write(folder, name=name)

    def fail(name: str, extract_path: str) -> None:
        (Path(extract_path) / name).mkdir()
        raise OSError("no route\nto host")

    monkeypatch.setattr(aeon.datasets, "load_classification", fail)
    with pytest.raises(InputError, match=r"data\.name=Wafer could not be downloaded: no route to host"):
        UCR(name="Wafer", download=True, **here)
    assert list((tmp_path / "cache").iterdir()) == []
    monkeypatch.setattr(aeon.datasets, "load_classification", load)
    assert UCR(name="Wafer", download=True, **here).size("test") == 20
    monkeypatch.setattr(aeon.datasets, "load_classification", fail)
    assert UCR(name="Wafer", **here).size("test") == 20


# ---- digits ---------------------------------------------------------------------------------------


@pytest.mark.needs("datasets")
def test_digits_are_read_pixel_by_pixel_row_by_row_and_permuted() -> None:
    pixels, rows = Digits(), Digits(order="rows")
    assert [pixels.size(name) for name in SPLITS] == [1258, 180, 359]
    assert (pixels.spec.length, pixels.spec.input.features) == (64, 1)
    assert (rows.spec.length, rows.spec.input.features) == (8, 8)
    a, b = pixels.split("train"), rows.split("train")
    assert torch.equal(a.inputs.flatten(1), b.inputs.flatten(1)) and torch.equal(a.targets, b.targets)
    assert a.inputs.min() == 0 and a.inputs.max() == 1
    permuted, other = Digits(permute=True).split("train").inputs, Digits(permute=True, seed=1).split("train").inputs
    assert torch.equal(permuted.sort(1).values, a.inputs.sort(1).values) and not torch.equal(permuted, a.inputs)
    # one and the same permutation: the pixel that was at one place is at one place in all digits
    varied = a.inputs[..., 0].std(0) > 0
    places = [(permuted[..., 0] == a.inputs[:, k]).all(0).sum() for k in varied.nonzero().flatten().tolist()]
    assert all(place == 1 for place in places)
    assert not torch.equal(other, permuted)
    for split in SPLITS:
        counts = labels(pixels, split)
        assert max(counts.values()) - min(counts.values()) <= 0.1 * pixels.size(split) / 10 + 1


@pytest.mark.needs("datasets")
def test_a_digit_is_in_one_split_alone() -> None:
    data = Digits()
    members = np.concatenate([data._parts[split] for split in SPLITS])
    assert sorted(members) == list(range(1797))


@pytest.mark.needs("datasets")
@pytest.mark.parametrize("experiment", ["japanese_vowels", "italy_power_demand", "digits"])
def test_the_experiments_have_the_published_split(experiment: str) -> None:
    data = prepare(compose(f"experiment={experiment}")).data
    assert data.size("test") == {"japanese_vowels": 370, "italy_power_demand": 1029, "digits": 359}[experiment]


@pytest.mark.parametrize("scaling", ["none", "standard", "per_sequence"])
@pytest.mark.parametrize("name", ["ucr", "digits", "classification"])
def test_labelled_features_are_scaled_alike_in_training_and_for_new_sequences(
    name: str, scaling: Any, tmp_path: Path
) -> None:
    data: LabelledFeatures = {
        "ucr": lambda: UCR(path=str(write(tmp_path)), scaling=scaling, patch=3),
        "digits": lambda: Digits(num_samples=40, order="rows", scaling=scaling),
        "classification": lambda: Classification(num_samples=40, scaling=scaling),
    }[name]()
    raw = [
        data.unscaled(np.random.default_rng((data.seed, 0, i)), "train", i).inputs for i in range(data.size("train"))
    ]
    split, again = data.split("train"), reader_from_plain(data.reader.plain())
    for number, values in enumerate(raw):
        served = split.batch(torch.tensor([number])).inputs[0]
        torch.testing.assert_close(torch.from_numpy(again.array(values, "it")), served, rtol=1e-5, atol=1e-5)
    if scaling == "standard":
        mean, _ = data.scale
        assert np.concatenate(raw).mean(0) == pytest.approx(mean) and data.state_dict()["moments"][0] == mean.tolist()
    elif scaling == "per_sequence" and name == "classification":
        assert split.batch(torch.tensor([0])).inputs.std(1, correction=0).item() == pytest.approx(1, rel=1e-4)
