"""Sequences to sequences: the decoder, its laws, and what a run with one can do."""

import re
import signal
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import compose
from torch import Tensor
from torchmetrics.text import CharErrorRate

from rnnlab import load
from rnnlab.cells.cell import Cell
from rnnlab.cells.gru import GRU
from rnnlab.cells.lstm import LSTM
from rnnlab.commands import export as export_command
from rnnlab.commands import predict as predict_command
from rnnlab.data.number_words import NumberWords, in_words
from rnnlab.decoding import Search, beam_search, greedy
from rnnlab.errors import InputError, Interrupted
from rnnlab.network import Network
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.evaluation import evaluate
from rnnlab.runs.execution import Outcome
from rnnlab.runs.preparation import prepare
from rnnlab.spec import IGNORED, Batch, InputSpec, TargetSpec
from rnnlab.tasks.sequence_scores import Truth, edit_distance, errors
from rnnlab.tasks.translation import Translation

Train = Callable[..., Outcome]
INPUT = InputSpec(vocabulary=7)
TARGET = TargetSpec("sequence", 6, end=5, longest=5)
INPUTS = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0], [3, 0, 0, 0]])
LENGTHS = torch.tensor([4, 2, 1])
TARGETS = torch.tensor([[1, 2, 5, IGNORED], [3, 5, IGNORED, IGNORED], [4, 1, 2, 5]])
KINDS: list[dict[str, Any]] = [
    {},
    {"attention": "general", "bidirectional": True, "num_layers": 2},
    {"attention": "dot", "input_feeding": True},
    {"attention": "none", "bridge": "linear"},
    {"bridge": "none", "input_feeding": True, "num_layers": 2},
]


def network(cell: Callable[..., Cell[Any]] = GRU, **options: Any) -> Network:
    torch.manual_seed(0)
    return Network(INPUT, TARGET, cell, **{"hidden_size": 5, **options}).double().eval()


def stepwise(net: Network, inputs: Tensor, targets: Tensor, lengths: Tensor | None) -> Tensor:
    """Scores ``(batch, steps, size)`` of the true tokens, told one after the other."""
    assert net.decoder is not None
    memory, state = net.encode(inputs, lengths)
    before, scores = torch.full((len(inputs),), net.decoder.start), []
    for step in range(targets.shape[1]):
        said, state, _ = net.say(before, state, memory)
        scores.append(said)
        before = targets[:, step].clamp_min(0)
    return torch.stack(scores, 1)


@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("cell", [GRU, LSTM])
def test_teacher_forcing_and_step_by_step_decoding_agree(cell: Any, options: dict[str, Any]) -> None:
    net = network(cell, **options)
    taught, weights = net.teach(INPUTS, TARGETS, LENGTHS)
    torch.testing.assert_close(taught, stepwise(net, INPUTS, TARGETS, LENGTHS), rtol=0, atol=1e-12)
    assert (weights is None) == (options.get("attention") == "none")
    if weights is not None:
        torch.testing.assert_close(weights.sum(-1), torch.ones(3, 4, dtype=torch.float64))
        assert not weights[1, :, 2:].any() and not weights[2, :, 1:].any()


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_padding_on_either_side_changes_nothing(options: dict[str, Any]) -> None:
    net = network(**options)
    together, _ = net.teach(INPUTS, TARGETS, LENGTHS)
    said = greedy(net, INPUTS, LENGTHS, 5, 8)
    for row, length in enumerate(LENGTHS.tolist()):
        steps = int((TARGETS[row] != IGNORED).sum())
        alone, _ = net.teach(INPUTS[row : row + 1, :length], TARGETS[row : row + 1, :steps])
        torch.testing.assert_close(together[row : row + 1, :steps], alone, rtol=0, atol=1e-12)
        own = greedy(net, INPUTS[row : row + 1, :length], None, 5, 8)
        assert own.tokens[own.tokens != IGNORED].tolist() == said.tokens[row][said.tokens[row] != IGNORED].tolist()
        torch.testing.assert_close(own.score[0], said.score[row])


def test_the_gradient_reaches_every_weight() -> None:
    for options in KINDS:
        net = network(**options)
        scores, _ = net.teach(INPUTS, TARGETS, LENGTHS)
        scores[TARGETS != IGNORED].logsumexp(-1).sum().backward()
        without = [name for name, parameter in net.named_parameters() if parameter.grad is None]
        # of an encoder that hands over its states alone nobody reads what its last step puts out, and of a backward
        # direction nobody has the end
        assert not without, (options, without)
        assert sum(layer.parameters for layer in net.summary()) == sum(p.numel() for p in net.parameters())


def test_greedy_says_the_most_probable_token_until_the_end() -> None:
    net = network()
    said = greedy(net, INPUTS, LENGTHS, 5, 6)
    for row in range(3):
        tokens = said.tokens[row][said.tokens[row] != IGNORED]
        ended = len(tokens) < 6
        told = torch.cat([tokens, torch.tensor([5])])[None]
        scores = net.teach(INPUTS[row : row + 1, : LENGTHS[row]], told)[0][0].log_softmax(-1)
        steps = len(tokens) + ended
        assert scores.argmax(-1)[:steps].tolist() == told[0, :steps].tolist()
        if ended:
            torch.testing.assert_close(said.score[row], scores.gather(1, told[0][:, None]).sum())


def test_a_decoder_that_is_told_nothing_true_hears_itself() -> None:
    net = network()
    said = greedy(net, INPUTS, LENGTHS, 5, 4)
    free, _ = net.teach(INPUTS, TARGETS, LENGTHS, forced=0.0)
    for row in range(3):
        own = said.tokens[row][said.tokens[row] != IGNORED]
        assert free[row].argmax(-1)[: len(own)].tolist() == own.tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": "dot", "bidirectional": True}, "model.attention=dot multiplies"),
        ({"attention": "none", "bridge": "none"}, "model.attention=none and model.bridge=none"),
        ({"solver": "ridge"}, "model.solver=ridge: the target of this data"),
        ({"readout": "mean"}, "model.readout=mean: the target of this data"),
        ({"tie_embeddings": True}, "model.tie_embeddings=true: the target of this data"),
    ],
)
def test_what_no_decoder_can_be_is_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        network(**options)


def test_options_of_a_decoder_where_there_is_none_are_one_line() -> None:
    with pytest.raises(InputError, match=r"model\.input_feeding=true is of a decoder"):
        Network(INPUT, TargetSpec("class", 3), GRU, input_feeding=True)


def test_a_decoder_of_another_cell_gets_a_linear_bridge() -> None:
    net = network(decoder_cell=partial(LSTM))
    assert net.bridge.kind == "linear"
    torch.testing.assert_close(
        net.teach(INPUTS, TARGETS, LENGTHS)[0], stepwise(net, INPUTS, TARGETS, LENGTHS), rtol=0, atol=1e-12
    )


# ---- searches ----------------------------------------------------------------------------------------


def brute_force(net: Network, inputs: Tensor, longest: int, search: Search) -> list[tuple[list[int], float]]:
    """Every sequence of at most so many tokens, the end left out, with the logarithm of its probability."""
    found = []
    for length in range(longest + 1):
        told = torch.tensor([[*tokens, 5] for tokens in product(range(5), repeat=length)])
        logs = net.teach(inputs.expand(len(told), -1), told)[0].log_softmax(-1)
        scores = logs.gather(2, told[..., None]).sum((1, 2)).tolist()
        found += zip(told[:, :-1].tolist(), scores, strict=True)
    return sorted(found, key=lambda each: -search.ranked(each[1], len(each[0]) + 1))


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize("options", KINDS[:3], ids=str)
def test_a_beam_as_broad_as_there_are_sequences_finds_what_brute_force_finds(
    options: dict[str, Any], penalty: float
) -> None:
    net = network(**options)
    search = Search(31, 5, penalty)  # 1 + 5 + 25 sequences
    found = beam_search(net, INPUTS, LENGTHS, 5, 2, search)
    for row, length in enumerate(LENGTHS.tolist()):
        best = brute_force(net, INPUTS[row : row + 1, :length], 2, search)[:5]
        assert [each.tokens for each in found[row]] == [tokens for tokens, _ in best]
        assert [each.score for each in found[row]] == pytest.approx([score for _, score in best])


@pytest.mark.parametrize("penalty", [0.0, 2.0])
@pytest.mark.parametrize("options", KINDS, ids=str)
def test_a_beam_of_1_is_greedy(options: dict[str, Any], penalty: float) -> None:
    net = network(**options)
    said = greedy(net, INPUTS, LENGTHS, 5, 6)
    for row, own in enumerate(beam_search(net, INPUTS, LENGTHS, 5, 6, Search(1, 1, penalty))):
        (only,) = own
        tokens = said.tokens[row][said.tokens[row] != IGNORED].tolist()
        assert only.tokens == tokens
        assert only.score == pytest.approx(float(said.score[row]))
        assert only.alignment == ([] if said.weights is None else said.weights[row].argmax(-1)[: len(tokens)].tolist())


def test_a_broader_beam_finds_nothing_worse_here_and_blocks_what_comes_again() -> None:
    net = network()
    narrow, broad = (beam_search(net, INPUTS, LENGTHS, 5, 6, Search(beam)) for beam in (1, 50))
    assert all(b[0].score >= a[0].score - 1e-9 for a, b in zip(narrow, broad, strict=True))
    for own in beam_search(net, INPUTS, LENGTHS, 5, 8, Search(20, 20, no_repeat=2)):
        for each in own:
            pairs = list(zip(each.tokens, each.tokens[1:], strict=False))
            assert len(pairs) == len(set(pairs))
    for own in beam_search(net, INPUTS, LENGTHS, 5, 4, Search(5, 5, no_repeat=1)):
        assert all(len(each.tokens) == len(set(each.tokens)) for each in own)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"beam": 0}, "beam=0"), ({"beam": 2, "nbest": 3}, "nbest=3 is more"), ({"length_penalty": -1.0}, "-1.0")],
)
def test_a_search_that_cannot_be_is_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Search(**options)


# ---- scores ------------------------------------------------------------------------------------------


def rows(*texts: str) -> Tensor:
    longest = max(1, *map(len, texts))
    return torch.tensor([[ord(letter) for letter in text] + [IGNORED] * (longest - len(text)) for text in texts])


def test_the_error_rate_is_that_of_torchmetrics() -> None:
    said = ["kitten", "", "abc", "flaw", "same", "aaaa"]
    true = ["sitting", "xy", "b", "lawn", "same", "aa"]
    wrong, asked = errors(rows(*said), Truth(rows(*true), rows(*true)[:, None]))
    assert wrong.tolist() == [3, 2, 2, 2, 0, 2]
    assert float(wrong.sum() / asked.sum()) == pytest.approx(float(CharErrorRate()(said, true)))


def test_the_edit_distance_is_symmetric_and_that_of_an_obvious_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        m, n = torch.randint(0, 7, (2,), generator=generator).tolist()
        a, b = (torch.randint(0, 3, (k,), generator=generator) for k in (m, n))
        table = [[i + j if i * j == 0 else 0 for j in range(n + 1)] for i in range(m + 1)]
        for i in range(1, m + 1):
            for j in range(1, n + 1):
                change = table[i - 1][j - 1] + int(a[i - 1] != b[j - 1])
                table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, change)
        pad = torch.tensor([IGNORED])
        x, y = torch.cat([a, pad])[None], torch.cat([b, pad])[None]
        assert edit_distance(x, y).tolist() == edit_distance(y, x).tolist() == [table[m][n]]


def test_each_of_several_right_answers_counts() -> None:
    truth = Truth(rows("ab"), torch.stack([rows("ab "), rows("xyz")], 1))
    assert errors(rows("xyz"), truth)[0].tolist() == [0]
    assert [int(part) for part in errors(rows("xyw"), truth)] == [1, 3]


# ---- data --------------------------------------------------------------------------------------------


def test_numbers_in_words() -> None:
    said = {0: "zero", 13: "thirteen", 40: "forty", 312: "three hundred twelve", 9005: "nine thousand five"}
    said |= {210_034: "two hundred ten thousand thirty four", 7_000_001: "seven million one"}
    for number, words in said.items():
        assert " ".join(in_words(number)) == words


def test_no_two_splits_share_a_text() -> None:
    data = NumberWords(num_samples=300, digits=3)
    texts = [{tuple(row) for row in data.split(split).inputs.tolist()} for split in ("train", "val", "test")]  # type: ignore[arg-type]
    assert not texts[0] & texts[1] and not texts[0] & texts[2] and not texts[1] & texts[2]


def test_a_rule_with_too_few_texts_says_so() -> None:
    class Same(NumberWords):
        def pair(self, rng: np.random.Generator) -> tuple[str, str]:
            return "one", "1"

    with pytest.raises(InputError, match=r"so few different texts that (train|val|test) has none of its own"):
        Same(num_samples=20).setup()


# ---- a run -------------------------------------------------------------------------------------------


def test_a_run_says_answers_to_new_texts(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = train("data=number_words", "model.hidden_size=8", "data.digits=3")
    path = outcome.directory.path
    figures = {file.stem for file in (path / "figures").glob("*.png")}
    assert {"attention_maps", "said_examples", "loss_curves", "accuracy_curves"} <= figures
    metrics = outcome.metrics
    assert {"test/exact_match", "test/character_error_rate", "test/accuracy", "baseline/exact_match"} <= set(metrics)
    model = load(path)
    table = model.predict(["three hundred twelve", "forty"])
    assert table.columns == ["sequence", "prediction", "score", "alignment"] and len(table) == 2
    best = model.predict(["three hundred twelve", "forty"], beam=4, nbest=3)  # type: ignore[call-arg]
    assert best["rank"].to_list() == [1, 2, 3] * 2 and best["sequence"].to_list() == [0] * 3 + [1] * 3
    assert best["score"].to_list()[:3] == sorted(best["score"].to_list()[:3], reverse=True)
    file, out = tmp_path / "new.txt", tmp_path / "said.csv"
    file.write_text("three hundred twelve\nforty\n")
    searched = ["--beam", "4", "--nbest", "3", "--length-penalty", "0.5"]
    assert predict_command.main([str(path), "--input", str(file), "--output", str(out), *searched]) == 0
    assert out.read_text().splitlines()[0] == "sequence,rank,prediction,score,alignment"
    assert len(out.read_text().splitlines()) == 7
    assert predict_command.main([str(path), "--input", str(file), "--nbest", "3", "--beam", "2"]) == 2
    assert re.fullmatch(r"[\d<>unk]*", table["prediction"][0])
    rows = list(model.stream(["three hundred twelve\n", "forty\n"]))
    assert [row["prediction"] for row in rows] == table["prediction"].to_list()
    assert "prediction" in model.describe()
    again = evaluate(outcome.directory.config, outcome.directory)
    assert {name: again[name] for name in again} == pytest.approx({name: metrics[name] for name in again})
    capsys.readouterr()
    assert export_command.main([str(path), "--format", "pt2"]) == 2
    assert "an answer of its own length is written step by step" in capsys.readouterr().err


def test_a_run_stopped_in_the_middle_of_an_epoch_ends_as_one_never_stopped(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = ("data=number_words", "model.hidden_size=6", "data.digits=3", "instruments=none", "model.dropout=0.2",
                 "model.num_layers=2", "task.teacher_forcing=0.9", "task.teacher_forcing_schedule=linear",
                 "task.teacher_forcing_end=0.5", "trainer.max_epochs=3")  # fmt: skip

    def scores(directory: RunDirectory) -> dict[str, float]:
        return {name: value for name, value in directory.metrics.items() if not name.startswith("seconds")}

    whole = train(*overrides).directory
    step, reached = Translation.training_step, []

    def stop(self: Translation, batch: Batch, batch_idx: int) -> Tensor:
        if (self.current_epoch, batch_idx) == (1, 2) and not reached:
            reached.append(True)
            signal.raise_signal(signal.SIGINT)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Translation, "training_step", stop)
    with pytest.raises(Interrupted):
        train(*overrides)
    directory = RunDirectory.open(tmp_path / "run1")
    assert directory.status.state == "interrupted"
    train(*overrides, resume=directory)
    assert scores(directory) == scores(whole)


def test_the_schedule_of_teacher_forcing() -> None:
    run = prepare(compose("data=number_words", "data.num_samples=40", "task.teacher_forcing_schedule=exponential",
                          "task.teacher_forcing_end=0.25", "trainer.accelerator=cpu"))  # fmt: skip
    task = run.task
    assert isinstance(task, Translation)
    assert task.forced == 1.0  # before there is a trainer
    for wrong in ("task.teacher_forcing_end=0.5", "task.teacher_forcing_schedule=linear"):
        with pytest.raises(InputError, match=r"task\.teacher_forcing_schedule"):
            prepare(compose("data=number_words", "data.num_samples=40", wrong))


def test_a_token_without_a_number_is_never_right() -> None:
    run = prepare(compose("data=number_words", "data.num_samples=40", "trainer.accelerator=cpu"))
    assert isinstance(run.task, Translation)
    truth = run.task.truth(Batch(INPUTS, torch.tensor([[0, 11]])))
    assert errors(torch.tensor([[0]]), truth)[0].tolist() == [1]
