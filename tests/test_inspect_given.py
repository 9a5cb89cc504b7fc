"""Looking inside with a file of one's own: it is read as the training data was, and what needs the truth says so."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rnnlab.commands.inspect import main
from rnnlab.data.classification import Classification
from rnnlab.data.csv import CSV
from rnnlab.data.given import GivenData, GivenSeries, given_data
from rnnlab.data.sine import Sine
from rnnlab.data.text import Text
from rnnlab.errors import InputError
from rnnlab.runs.trainer import find_device
from rnnlab.spec import IGNORED
from rnnlab.use import inspection
from rnnlab.use.inspection import Inspected, OwnFile, Question, catalogue, open_subject

Train = Callable[..., Any]


def read(data: Any, place: Path) -> GivenData:
    return given_data(data.reader, data.reader.open(str(place)), data.spec)


# ---- what a file becomes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strategy": "recursive", "known": ["promo"], "horizon": 4},
        {"horizon": 3, "past": ["temp"], "known": ["promo"], "calendar": ["weekday"]},
        {"horizon": 2, "residual_of": "seasonal_naive", "period": 5, "log": True},
        {"horizon": 2, "missing": "mask"},
    ],
    ids=["plain", "recursive", "covariates", "differences of logarithms", "gaps"],
)
def test_the_windows_of_a_series_are_those_of_the_training_data(options: dict[str, Any], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = ["day,store,sales,temp,promo"]
    for store in ("a", "b"):
        for day in range(60):
            sales = "" if options.get("missing") and day % 11 == 5 else f"{5 + rng.random() * (1 + day % 5):.3f}"
            rows.append(f"{np.datetime64('2024-01-01') + day},{store},{sales},{rng.random():.3f},{day % 3}")
    file = tmp_path / "sales.csv"
    file.write_text("\n".join(rows) + "\n")
    data = CSV(path=str(file), target="sales", time="day", series="store", length=12, **options)
    given = read(data, file)
    assert isinstance(given, GivenSeries)
    owners, origins = given.given.place(slice(None))  # type: ignore[attr-defined]
    assert len(given.given) == 2 * (60 - 12 - data.horizon + 1 - (4 if "period" in options else 0))
    # to rounding: the one works in double precision here and there, the other in single
    expected, found = data.cut(origins, owners, "test"), given.given.batch(slice(None))
    assert expected.origin is not None and found.origin is not None
    near: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5, "equal_nan": True}
    torch.testing.assert_close(found.inputs, expected.inputs, **near)
    torch.testing.assert_close(found.targets, expected.targets, **near)
    torch.testing.assert_close(found.origin.actual, expected.origin.actual, **near)
    torch.testing.assert_close(found.origin.scales[:, :2], expected.origin.scales[:, :2], **near)
    torch.testing.assert_close(found.origin.references[:, 0], expected.origin.references[:, 0], **near)
    if expected.origin.ahead is not None:
        assert found.origin.ahead is not None
        torch.testing.assert_close(found.origin.ahead, expected.origin.ahead, **near)


def test_what_comes_next_is_the_truth_of_a_wave_and_of_a_text(tmp_path: Path) -> None:
    waves = tmp_path / "waves.jsonl"
    waves.write_text("[[0.1], [0.2], [0.3], [0.4]]\n[[1], [2], [3]]\n")
    batch = read(Sine(num_samples=30, length=20), waves).given.batch(slice(None))
    assert batch.lengths is not None and batch.lengths.tolist() == [3, 2]
    np.testing.assert_allclose(batch.targets[0, :, 0], [0.2, 0.3, 0.4])
    np.testing.assert_allclose(batch.targets[1, :2, 0], [2, 3])

    corpus = Text(length=8, num_samples=600)
    text = tmp_path / "text.txt"
    text.write_text("The quick brown fox\n" * 20)
    given = read(corpus, text)
    assert given.spec.streamed
    tokens = torch.from_numpy(corpus.reader.numbers(text.read_text(), "the text"))
    whole = given.given.batch(slice(None))
    asked = whole.targets != IGNORED
    assert torch.equal(whole.targets[asked], tokens[1:])
    assert torch.equal(whole.inputs[asked], tokens[:-1])
    several = tmp_path / "texts.jsonl"
    several.write_text('"one text"\n"another"\n')
    given = read(corpus, several)
    assert not given.spec.streamed  # a text knows nothing of the one before
    assert given.given.lengths is not None and given.given.lengths.tolist() == [7, 6]


def test_classes_are_numbered_as_in_training_and_some_without_are_none(tmp_path: Path) -> None:
    data = Classification(num_samples=60, min_length=3, length=6)
    names = data.spec.target.names
    file = tmp_path / "some.jsonl"
    lines = [json.dumps({"inputs": [[0.1 * k]] * 3, "class": names[k], "sequence": f"s{k}"}) for k in (2, 0)]
    file.write_text("\n".join(lines) + "\n")
    given = read(data, file)
    assert not given.unanswered and given.names == ["s2", "s0"]
    assert given.given.targets.tolist() == [2, 0]
    file.write_text("\n".join(lines) + "\n[[0.5], [0.5]]\n")
    assert "tells no class of 1 of its 3 sequences" in read(data, file).unanswered


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "is empty"), ("[[0.1]]\n", "nothing is left to hold a forecast against"), ("[[0.1, 0.2]]\n", "2 a step")],
)
def test_a_file_that_cannot_be_asked_about_is_one_line(content: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "waves.jsonl"
    file.write_text(content)
    with pytest.raises(InputError, match=said):
        read(Sine(num_samples=30, length=20), file)


# ---- the command ---------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pictures in place of all."""
    nodes = {name: node for name, node in catalogue().items() if name in ("gradient_by_lag", "lyapunov")}
    monkeypatch.setattr(inspection, "catalogue", lambda: dict(nodes))


@pytest.mark.usefixtures("few")
def test_a_file_is_looked_at_with_and_without_its_truth(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = train("data=classification", "data.num_samples=60", "model.hidden_size=4", "instruments=none").directory
    names = Classification(num_samples=60).spec.target.names
    out = tmp_path / "out"
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps({"inputs": [[0.3]] * 5, "class": name}) + "\n" for name in names[:3]))
    assert main([str(directory.path), "--input", str(file), "--output", str(out)]) == 0
    assert (out / "gradient_by_lag.png").exists()
    told = json.loads((out / "inspect.json").read_text())
    assert told["about"]["data"].startswith("a file of your own, 3 sequences: loss ")
    assert "accuracy" in told["about"]["data"]

    file.write_text("[[0.3], [0.2], [0.1]]\n[[0.4], [0.1]]\n")
    assert main([str(directory.path), "--input", str(file), "--output", str(out), "--force"]) == 0
    said = capsys.readouterr().out
    assert f"left out: How far back it remembers (it needs the truth: --input {file} tells no classes)" in said
    assert not (out / "gradient_by_lag.png").exists() and (out / "lyapunov.png").exists()

    for arguments, problem in (
        (["--input", str(file), "data.noise=1"], "new data is read as the training data was"),
        (["--input", str(file), "--split", "val"], "leave one out"),
        (["--format", "csv"], "give --input FILE"),
        (["--input", str(tmp_path / "minee.jsonl")], "did you mean 'mine.jsonl'?"),
        (["--input", str(file), "--sequences", "2"], "--sequences 2: the file has sequences 0 … 1"),
        (["--input", str(file), "--device", "cuda:77"], "there is no such device here"),
        (["--device", "cuda:77"], "there is no such device here"),
    ):
        assert main([str(directory.path), "--output", str(tmp_path / "new"), *arguments]) == 2
        error = capsys.readouterr().err
        assert problem in error and error.count("\n") == 1
        assert not (tmp_path / "new").exists()


def test_the_first_weights_are_the_same_whatever_is_looked_at(train: Train, tmp_path: Path) -> None:
    directory = train("model.hidden_size=5", "data.length=8", "instruments=none", "seed=3").directory
    file = tmp_path / "waves.jsonl"
    file.write_text("[[0.1], [0.2], [0.3], [0.4]]\n")
    inspected = Inspected("it", directory, directory.config)
    own = open_subject(inspected, Question())
    given = open_subject(inspected, Question(file=OwnFile(str(file))))
    for name, value in own.stages["before training"].items():
        assert value.equal(given.stages["before training"][name])
        assert own.network.state_dict()[name].equal(given.network.state_dict()[name])


@pytest.mark.usefixtures("few")
def test_a_config_that_names_something_else_builds_nothing(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = train("model.hidden_size=3", "instruments=none").directory.path
    file = tmp_path / "waves.jsonl"
    file.write_text("[[0.1], [0.2], [0.3]]\n")
    config = (place / "config.yaml").read_text()
    (place / "config.yaml").write_text(config.replace("rnnlab.cells.gru.GRU", "os.system"))
    assert main([str(place), "--input", str(file)]) == 2
    assert "os.system" in capsys.readouterr().err
    assert not (place / "inspect").exists()


def test_a_device_is_found_or_refused_in_one_line() -> None:
    assert find_device("cpu") == torch.device("cpu")
    assert find_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(InputError, match="--device cppu: there is no such device here; did you mean 'cpu'"):
        find_device("cppu")
