"""Sequences to sequences: the decoder, its laws, and what a run with one can do."""

import json
import re
import signal
from collections.abc import Callable
from copy import deepcopy
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
from rnnlab.data.addition import Addition
from rnnlab.data.number_words import NumberWords, in_words
from rnnlab.data.split import SPLITS
from rnnlab.decoding import Search, beam_search, greedy
from rnnlab.errors import InputError, Interrupted
from rnnlab.network import Network
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.ensemble import Member, Speakers, evaluate_together
from rnnlab.runs.evaluation import evaluate
from rnnlab.runs.execution import Outcome
from rnnlab.runs.preparation import prepare
from rnnlab.runs.verdict.causes import causes_of
from rnnlab.runs.verdict.evidence import Evidence
from rnnlab.spec import IGNORED, Batch, InputSpec, TargetSpec
from rnnlab.store.verdict import Judgement
from rnnlab.tasks.objective import mean_probability
from rnnlab.tasks.scored import Scores
from rnnlab.tasks.sequence_scores import Answer, Bleu, ChrF, ExactMatch, Truth, Unfinished, edit_distance, errors
from rnnlab.tasks.translation import Translation
from rnnlab.tasks.writing import Writer
from rnnlab.use.export import decoding
from rnnlab.use.export.check import Steps

Train = Callable[..., Outcome]
INPUT = InputSpec(vocabulary=7, names=("?", *"abcxyz"))
TARGET = TargetSpec("sequence", 6, ("?", *"cbay", "<end>"), end=5, longest=5, unknown=0)
INPUTS = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0], [3, 0, 0, 0]])
LENGTHS = torch.tensor([4, 2, 1])
TARGETS = torch.tensor([[1, 2, 5, IGNORED], [3, 5, IGNORED, IGNORED], [4, 1, 2, 5]])
KINDS: list[dict[str, Any]] = [
    {},
    {"attention": "general", "bidirectional": True, "num_layers": 2},
    {"attention": "dot", "input_feeding": True},
    {"attention": "none", "bridge": "linear"},
    {"bridge": "none", "input_feeding": True, "num_layers": 2},
    {"coverage": True, "pointer": True},
    {"attention": "general", "coverage": True, "input_feeding": True},
    {"attention": "dot", "pointer": True},
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


def test_a_pointer_gives_what_it_looks_at_its_probability() -> None:
    net = network(attention="dot", pointer=True)
    assert net.decoder is not None and net.decoder.gate is not None
    torch.testing.assert_close(
        net.teach(INPUTS, TARGETS, LENGTHS)[0].exp().sum(-1), torch.ones(3, 4, dtype=torch.float64)
    )
    # a, b, c and y have a number on both sides; a gate that is shut copies all that it can
    assert net.copies.tolist() == [-1, 3, 2, 1, -1, 4, -1]
    net.decoder.gate.weight.data.zero_()
    net.decoder.gate.bias.data.fill_(-40)
    scores, weights = net.teach(INPUTS, TARGETS, LENGTHS)
    assert weights is not None
    looked = weights[0]  # reads a, b, c, x; x cannot be said, and what looks at it is left to the decoder's own words
    torch.testing.assert_close(scores[0, :, [3, 2, 1]].exp() - looked[:, :3], _own(net, looked)[:, [3, 2, 1]])


def _own(net: Network, looked: Tensor) -> Tensor:
    """What is left to the decoder's own words where a pointer copies all that it can, of the first sequence."""
    net = deepcopy(net)
    assert net.decoder is not None
    net.decoder.gate = None
    scores = net.teach(INPUTS, TARGETS, LENGTHS)[0][0]
    return scores.softmax(-1) * looked[:, 3:]


def test_coverage_knows_where_the_decoder_has_looked() -> None:
    net = network(coverage=True)
    memory, state = net.encode(INPUTS, LENGTHS)
    total = torch.zeros(3, 4, dtype=torch.float64)
    before = torch.full((3,), 6)
    for _ in range(3):
        _, state, weights = net.say(before, state, memory)
        assert weights is not None and state.covered is not None
        total = total + weights
        torch.testing.assert_close(state.covered, total)
        before = torch.ones(3, dtype=torch.int64)
    blind = state._replace(covered=torch.zeros(3, 4, dtype=torch.float64))
    assert not torch.allclose(net.say(before, state, memory)[0], net.say(before, blind, memory)[0])


@pytest.mark.slow
def test_a_pointer_copies_what_the_same_decoder_without_one_still_mistakes() -> None:
    """After 150 updates on strings of 8 letters at random."""
    wrong = {}
    for pointer in (False, True):
        torch.manual_seed(0)
        net = Network(InputSpec(vocabulary=21, names=("?", *"abcdefghijklmnopqrst")),
                      TargetSpec("sequence", 21, (*"abcdefghijklmnopqrst", "<end>"), end=20), GRU, hidden_size=32,
                      bidirectional=True, pointer=pointer)  # fmt: skip
        optimizer = torch.optim.Adam(net.parameters(), 0.01)
        generator = torch.Generator().manual_seed(0)
        for _ in range(150):
            letters = torch.randint(0, 20, (32, 8), generator=generator)
            targets = torch.nn.functional.pad(letters, (0, 1), value=20)
            loss = torch.nn.functional.cross_entropy(
                net.teach(letters + 1, targets)[0].flatten(0, 1), targets.flatten()
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        letters = torch.randint(0, 20, (200, 8), generator=generator)
        said = greedy(net.eval(), letters + 1, None, 20, 8).tokens
        wrong[pointer] = float((said[:, :8] != letters[:, : said.shape[1]]).float().mean())
    assert wrong[True] < 0.005 < wrong[False], wrong


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": "none", "coverage": True}, "model.coverage=true is of an attention"),
        ({"attention": "none", "pointer": True}, "model.pointer=true is of an attention"),
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


def test_a_pointer_with_nothing_to_copy_is_one_line() -> None:
    with pytest.raises(InputError, match=r"model\.pointer=true copies tokens that were read, and none"):
        Network(InputSpec(vocabulary=3, names=("?", "q", "r")), TARGET, GRU, pointer=True)
    with pytest.raises(InputError, match=r"model\.coverage=true is of a decoder"):
        Network(INPUT, TargetSpec("class", 3), GRU, coverage=True)


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
@pytest.mark.parametrize("options", [*KINDS[:3], KINDS[5]], ids=str)
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


def test_bleu_and_chrf_count_words_and_take_any_right_answer() -> None:
    writer = Writer(("<unk>", *"abcdefgh"), "word", None)
    said = torch.tensor([[1, 2, 3, 4, 5, IGNORED], [8, 7, 6, 5, 4, 3]])
    other = said.flip(1).roll(-1, 1)
    both = Truth(said, torch.stack([other, said], 1))
    for metric in (Bleu(writer), ChrF(writer)):
        metric.update(Answer(torch.zeros(0), said), both)
        assert float(metric.compute()) == pytest.approx(1)
        metric.reset()
        metric.update(Answer(torch.zeros(0), said), Truth(other, torch.where(other > 0, -1, other)[:, None]))
        assert float(metric.compute()) == 0
    assert writer.texts([[1, -1, IGNORED]]) == ["a \ufffd"]
    assert not Writer(tuple("0123456789"), "character", None).prose


# ---- data --------------------------------------------------------------------------------------------


def test_no_sum_comes_twice_and_splits_share_none() -> None:
    data = Addition(num_samples=5000)
    names = data.encoders[0].vocabulary
    sums = []
    for split in SPLITS:
        samples = (data.sample(np.random.default_rng(i), split, i) for i in range(data.size(split)))
        sums += [tuple(sorted("".join(names[k] for k in each.inputs.tolist()).split("+"))) for each in samples]
    assert len(set(sums)) == len(sums) == 5000
    with pytest.raises(
        InputError, match=r"data\.num_samples=6000: of the 5,050 sums of data\.digits=2 train has 4,040"
    ):
        Addition(num_samples=6000)


@pytest.mark.needs("pairs")
def test_numbers_in_words_of_other_languages() -> None:
    data = NumberWords(language="de", num_samples=30)
    assert data.words(312) == "dreihundertzwölf"
    assert data.spec.target.unit == "character" and not (data.split("test").inputs == 0).all()
    with pytest.raises(InputError, match=r"data\.language=dx: num2words has no such language"):
        NumberWords(language="dx")


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
    drawn = {"attention_maps", "attention_over_training", "said_examples"}
    assert drawn | {"loss_curves", "accuracy_curves"} <= figures
    metrics = outcome.metrics
    assert {"test/exact_match", "test/character_error_rate", "test/accuracy", "baseline/exact_match"} <= set(metrics)
    assert "baseline/dictionary/character_error_rate" in metrics and "test/bleu" not in metrics
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


@pytest.mark.parametrize("search", [Search(1), Search(4, 4)])
def test_networks_say_together_what_their_mean_probability_says(search: Search) -> None:
    one, other = network(), network(LSTM, attention="dot", input_feeding=True, num_layers=2)
    alike, both = Speakers([one, one], mean_probability), Speakers([one, other], mean_probability)
    alone, twice = (beam_search(each, INPUTS, LENGTHS, 5, 3, search) for each in (one, alike))
    for ours, theirs in zip(alone, twice, strict=True):
        assert [each.tokens for each in ours] == [each.tokens for each in theirs]
        assert [each.score for each in ours] == pytest.approx([each.score for each in theirs])
    for row, length in enumerate(LENGTHS.tolist()):
        for found in beam_search(both, INPUTS, LENGTHS, 5, 3, search)[row]:
            told, inputs = torch.tensor([[*found.tokens, 5]]), INPUTS[row : row + 1, :length]
            logs = [net.teach(inputs, told)[0].log_softmax(-1) for net in (one, other)]
            mean = mean_probability(torch.stack(logs)).gather(2, told[..., None])[0, :, 0]
            assert found.score == pytest.approx(float(mean.sum().detach()))
    said = greedy(both, INPUTS, LENGTHS, 5, 3)
    assert said.weights is not None and said.weights.shape[2] == 4


@pytest.mark.slow
def test_seeds_predict_together(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [train("data=number_words", "model.hidden_size=8", "data.digits=3", f"seed={seed}", "data.seed=0",
                  "instruments=none").directory for seed in (0, 1)]  # fmt: skip
    table = load([run.path for run in runs]).predict(["forty two", "nine"], beam=3, nbest=2)  # type: ignore[call-arg]
    assert table["sequence"].to_list() == [0, 0, 1, 1]
    scores = evaluate_together([Member(run, run.config) for run in runs])
    assert 0 < scores.ensemble["test/loss"] <= scores.mean("test/loss")
    assert predict_command.main([*(str(run.path) for run in runs), "--output", str(tmp_path / "said.csv")]) == 0
    assert (tmp_path / "said.csv").read_text().startswith("sequence,truth,prediction,score,alignment\n")


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, KINDS[1], KINDS[4], KINDS[5], KINDS[3]], ids=str)
@pytest.mark.parametrize("format", ["pt2", pytest.param("onnx", marks=pytest.mark.needs("export"))])
def test_the_files_of_an_encoder_and_a_decoder_say_what_the_network_says(format: Any, options: dict[str, Any]) -> None:
    for cell in (GRU, LSTM):
        net = network(cell, **options).float()
        contents = decoding.converted(net, format)
        read, say = (
            decoding.served(part, format, net, step) for part, step in zip(contents, (False, True), strict=True)
        )
        verdict = decoding.compared(net, read, say, Steps(torch.arange(40) % 7))
        assert verdict.holds, verdict


@pytest.mark.slow
@pytest.mark.needs("export")
def test_a_run_is_exported_as_two_files(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    path = train("data=number_words", "model.hidden_size=8", "data.digits=3", "instruments=none").directory.path
    assert export_command.main([str(path)]) == 0
    names = {file.name for file in (path / "export").iterdir()}
    assert names == {"model.onnx", "model.decoder.onnx", "model.onnx.json"}
    told = json.loads((path / "export" / "model.onnx.json").read_text())
    assert told["decoder"]["file"] == "model.decoder.onnx" and told["postprocessing"]["end"] == 11
    assert told["preprocessing"]["unit"] == "word"
    assert export_command.main([str(path)]) == 2


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


def test_what_never_ends_is_counted_and_named_with_what_helps() -> None:
    unfinished = Unfinished(3)
    tokens = torch.tensor([[1, 1, 1], [1, 2, IGNORED], [IGNORED] * 3, [2, 2, 2]])
    unfinished.update(Answer(torch.zeros(4, 3, 5), tokens), Truth(tokens, tokens[:, None]))
    assert unfinished.compute() == 0.5
    config = {"model.attention": "additive", "model.coverage": False, "task.beam": 1}
    evidence = Evidence(metrics={"test/unfinished": 0.5}, config=config, steps=10, budget=10)
    causes = causes_of(evidence, Judgement.NOT_BETTER, "character_error_rate", 1.0, "dictionary")
    (cause,) = (cause for cause in causes if "50 % of what it says never comes to an end" in cause.seen)
    words = [word for advice in cause.advice if advice for word in advice.words]
    assert "model.coverage=true" in words and "task.beam=4" in words


def test_scores_that_are_equal_at_first_stay_two() -> None:
    scores = Scores({"exact_match": ExactMatch(), "unfinished": Unfinished(longest=2)})
    truth = Truth(torch.tensor([[3, 0]]), torch.tensor([[[3]]]))
    # neither right nor too long, then right, then twice too long
    for tokens in [2], [3], [1, 1], [1, 1]:
        scores.update(torch.tensor(1.0), 1, Answer(torch.zeros(1, 2, 4), torch.tensor([tokens])), truth)
    found = scores.compute()
    assert found["exact_match"] == 0.25 and found["unfinished"] == 0.5


@pytest.mark.parametrize("kind", [Bleu, ChrF])
def test_a_score_of_texts_begins_anew_at_each_epoch(kind: type[Bleu | ChrF]) -> None:
    scores = Scores({"score": kind(Writer(tuple("abcdefgh"), "word", None))})
    right = torch.tensor([[0, 1, 2, 3, 4]])
    values = []
    for tokens in right, right.flip(1), right:
        scores.update(torch.tensor(1.0), 1, Answer(torch.zeros(1, 5, 8), tokens), Truth(right, right[:, None]))
        values.append(float(scores.compute()["score"]))
    assert values[0] == values[2] > 2 * values[1]
