"""Text that a trained language model writes."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, compose

import rnnlab
from rnnlab.commands import generate as generate_command
from rnnlab.data.text_reader import CorpusReader
from rnnlab.errors import InputError
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import execute
from rnnlab.use.generation import Writer, shares
from rnnlab.use.predictor import TrainedRun

Runs = Callable[..., Path]
TEXT = "The cat sat on the mat, and the dog (a small one) sat beside it.\nWho sat? They did; all of them: two!\n" * 6


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The directory of a tiny run, trained once for all tests."""
    made: dict[tuple[str, ...], Path] = {}
    file = tmp_path_factory.mktemp("text") / "text.txt"
    file.write_text(TEXT)

    def run(*overrides: str) -> Path:
        if overrides not in made:
            options = (*TINY[1:], f"data.path={file}", "data.batch_size=4", "data.length=16", "model.hidden_size=16")
            if not any(each.startswith("data=") for each in overrides):
                overrides = (*overrides, "data=text")
            options = options if "data=text" in overrides else TINY
            directory = RunDirectory.claim(tmp_path_factory.mktemp("runs") / "run")
            execute(directory, compose(*overrides, *options, "optimizer.lr=0.01", "instruments=none"), quiet=True)
            made[overrides] = directory.path
        return made[overrides]

    return run


def greedy(model: TrainedRun, prompt: str, length: int) -> str:
    """The reference: the whole text through the network again for each token."""
    reader = model.reader
    assert isinstance(reader, CorpusReader)
    numbers = reader.encoder.numbers(prompt).tolist()
    for _ in range(length):
        with torch.no_grad():
            output = model.task.network(torch.tensor([numbers]))[0][0, -1]
        if reader.unit != "byte":
            output[0] = -torch.inf  # <unk>
        numbers.append(int(output.argmax()))
    return Writer(reader).write(numbers)


@pytest.mark.parametrize(
    ("model", "unit"), [("lstm", "character"), ("gru", "byte"), ("min_gru", "word"), ("rnn", "character")]
)
def test_the_most_probable_text_is_that_of_a_pass_over_the_whole(model: str, unit: str, runs: Runs) -> None:
    loaded = rnnlab.load(runs(f"model={model}", f"data.unit={unit}", "model.num_layers=2"))
    (text,) = loaded.generate("The cat", 30, temperature=0)
    assert "The cat" + text == greedy(loaded, "The cat", 30)


def test_several_runs_write_together(runs: Runs) -> None:
    loaded = rnnlab.load([runs("model=lstm", "seed=1"), runs("model=gru", "seed=2")])
    (text,) = loaded.generate("The cat", 30, temperature=0)
    assert "The cat" + text == greedy(loaded, "The cat", 30)


def test_the_same_seed_says_the_same_and_another_one_something_else(runs: Runs) -> None:
    model = rnnlab.load(runs("model=lstm"))
    first = model.generate("The", 80, seed=3, samples=3)
    assert first == model.generate("The", 80, seed=3, samples=3)
    assert len(set(first)) == 3
    assert set(first).isdisjoint(model.generate("The", 80, seed=4, samples=3))
    assert model.generate("The", 80, seed=3) == first[:1]
    assert [len(text) for text in first] == [80] * 3
    state = torch.get_rng_state()
    model.generate("The", 5)
    assert torch.equal(torch.get_rng_state(), state)


def test_tokens_are_said_as_often_as_they_are_probable(runs: Runs) -> None:
    """The second token after a prompt, drawn often, against the product of the model's own probabilities."""
    model = rnnlab.load(runs("model=lstm"))
    reader = model.reader
    assert isinstance(reader, CorpusReader)
    number = 4000
    texts = model.generate("The", 2, samples=number, temperature=0.8)
    ids = torch.from_numpy(reader.encoder.numbers("The"))[None]
    with torch.no_grad():
        output, state = model.task.network(ids)
        first = _probabilities(output[0, -1])
        # each of the tokens that may come, side by side
        states = tuple(tuple(part.expand(len(first), -1) for part in layer) for layer in state)
        after, _ = model.task.network(torch.arange(len(first))[:, None], states)
    expected = torch.stack([p * _probabilities(o) for p, o in zip(first, after[:, -1], strict=True)]).sum(0)
    counts = np.bincount([int(reader.encoder.numbers(text)[1]) for text in texts], minlength=len(first))
    error = np.sqrt(expected.numpy() / number) + 1e-3
    assert (np.abs(counts / number - expected.numpy()) < 5 * error).all()
    assert counts[0] == 0


def _probabilities(logits: torch.Tensor) -> torch.Tensor:
    logits = logits.double() / 0.8
    logits[0] = -torch.inf
    return logits.softmax(-1)


def test_a_distribution_is_cut_as_it_should_be() -> None:
    p = np.array([[0.1, 0.4, 0.2, 0.3], [0.25, 0.25, 0.25, 0.25]])

    def cut(**options: float | int) -> np.ndarray:
        found = shares(torch.from_numpy(p).log(), **options)  # type: ignore[arg-type]
        return found / found.sum(1, keepdims=True)

    np.testing.assert_allclose(cut(), p)
    np.testing.assert_allclose(cut(temperature=0.5), p**2 / (p**2).sum(1, keepdims=True))
    np.testing.assert_allclose(cut(temperature=0), [[0, 1, 0, 0], [1, 0, 0, 0]])
    np.testing.assert_allclose(cut(top_k=2)[0], [0, 4 / 7, 0, 3 / 7])
    assert (cut(top_k=1) > 0).sum(1).tolist() == [1, 1]
    np.testing.assert_allclose(cut(top_k=9), p)
    # the smallest set that reaches the share
    np.testing.assert_allclose(cut(top_p=0.7)[0], [0, 4 / 7, 0, 3 / 7], rtol=1e-6)
    assert (cut(top_p=0.71)[0] > 0).tolist() == [False, True, True, True]
    assert (cut(top_p=1e-9) > 0).sum(1).tolist() == [1, 1]
    np.testing.assert_allclose(cut(top_p=1.0), p)
    np.testing.assert_allclose(cut(never=1)[0], [1 / 6, 0, 1 / 3, 1 / 2])
    assert cut(never=1, temperature=0).argmax(1).tolist() == [3, 0]
    assert (cut(top_k=3, top_p=0.5)[0] > 0).tolist() == [False, True, False, True]


def test_words_are_written_as_people_write_them() -> None:
    reader = CorpusReader(("<unk>", "The", "dog", "(", "a", "small", ")", ",", "sat", ".", "\n", "It"), "word")
    numbers = reader.encoder.numbers("The dog (a small dog), sat.\nIt sat.")
    assert Writer(reader).write(numbers.tolist()) == "The dog (a small dog), sat.\nIt sat."


def test_bytes_appear_as_whole_characters() -> None:
    writer = Writer(CorpusReader(tuple(map(chr, range(256))), "byte"))
    assert [writer.write([byte]) for byte in "é!".encode()] == ["", "é", "!"]
    assert writer.write([0xC3]) + writer.end() == "\ufffd"


def test_an_empty_prompt_begins_a_line(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    path = runs("model=lstm")
    model = rnnlab.load(path)
    assert model.generate("", 20, seed=1) == model.generate("\n", 20, seed=1)
    assert generate_command.main([str(path), "--length", "20", "--seed", "1"]) == 0
    assert capsys.readouterr().out == model.generate("", 20, seed=1)[0] + "\n"


def test_samples_are_printed_one_after_the_other(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    path = runs("model=lstm")
    assert generate_command.main([str(path), "--prompt", "The", "--length", "9", "--samples", "2"]) == 0
    one, two = rnnlab.load(path).generate("The", 9, samples=2)
    assert capsys.readouterr().out == f"The{one}\n\n── 2 ──\nThe{two}\n"


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--prompt", "The ßat €"], "had no 'ß', '€'"),
        (["--temperature", "-1"], "--temperature -1.0 must be at least 0"),
        (["--top-p", "0"], "--top-p 0.0 must be above 0"),
        (["--top-k", "0"], "--top-k 0 must be at least 1"),
        (["--length", "0"], "--length 0"),
        (["--samples", "0"], "--samples 0"),
        (["--seed", "-1"], "--seed -1"),
    ],
)
def test_bad_options_are_one_line(
    options: list[str], part: str, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate_command.main([str(runs("model=lstm")), *options]) == 2
    said = capsys.readouterr()
    assert part in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


@pytest.mark.parametrize(("data", "hint"), [("sine", "--horizon N"), ("classification", "predicts classes")])
def test_other_runs_do_not_write(data: str, hint: str, runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate_command.main([str(runs(f"data={data}"))]) == 2
    assert "is no language model (its task is " in capsys.readouterr().err
    with pytest.raises(InputError, match=f"is no language model.*{hint}"):
        rnnlab.load(runs(f"data={data}")).generate()


@pytest.mark.slow
def test_it_is_printed_as_it_comes_and_a_reader_may_leave(runs: Runs) -> None:
    command = [sys.executable, "-m", "rnnlab", "generate", str(runs("model=lstm")), "--length", "100000000"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None and process.stderr is not None
        assert len(process.stdout.read(50)) == 50  # of a text that would take hours
        process.stdout.close()
        assert process.wait(20) == 1
        assert process.stderr.read() == b""
