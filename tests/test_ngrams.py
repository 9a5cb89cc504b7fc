"""N-grams beside each token: what they read, and that every way through a network reads the same."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, compose
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

import rnnlab
from rnnlab.cells.gru import GRU
from rnnlab.errors import InputError
from rnnlab.network import Network
from rnnlab.ngrams import FOLDS, RATE, NGramClassifier, NGramRegression, TokenEmbedding
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import execute
from rnnlab.runs.fleet import Fleet, FleetRun
from rnnlab.runs.recorder import StopSignals
from rnnlab.spec import Batch, InputSpec, TargetSpec
from rnnlab.tasks.ngram_fit import Regression, fit_ngrams
from rnnlab.use.export.check import Steps, check
from rnnlab.use.export.formats import convert, serve
from rnnlab.use.stepper import Stepper

VOCABULARY, BATCH, TIME = 7, 3, 9
LENGTHS = torch.tensor([9, 1, 4])
TEXT = "The cat sat on the mat, and the dog (a small one) sat beside it.\nWho sat? They did; all of them: two!\n" * 6
every_target = pytest.mark.parametrize("target", [TargetSpec("tokens", 7), TargetSpec("class", 4)], ids=["step", "all"])


def network_of(target: TargetSpec, **options: Any) -> Network:
    """In double precision, whose rows of n-grams are not the zeros that they start from."""
    torch.manual_seed(0)
    input = InputSpec(vocabulary=VOCABULARY, ngrams=(2, 4), buckets=50)
    network = Network(input, target, **{"cell": GRU, "hidden_size": 5, "num_layers": 2} | options).double()
    assert network.ngrams is not None
    torch.nn.init.normal_(network.ngrams.hashed)  # type: ignore[arg-type]
    return network.eval()


def looped(input_size: int, hidden_size: int) -> GRU:
    return GRU(input_size, hidden_size, backend="reference")


def drawn(batch: int = BATCH, time: int = TIME) -> Tensor:
    return torch.randint(VOCABULARY, (batch, time), generator=torch.Generator().manual_seed(1))


def close(actual: Any, expected: Any, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


# ---- what is read -----------------------------------------------------------------------------------


def test_alike_are_the_n_grams_that_end_alike() -> None:
    encoder = TokenEmbedding(30, 2, ngrams=(2, 3), buckets=10**6)
    places = encoder.places(torch.tensor([[1, 2, 3], [9, 2, 3], [2, 3, 1]]), encoder.start(3))
    assert places.shape == (3, 3, 2)
    pairs, triples = places.unbind(2)
    assert pairs[0, 2] == pairs[1, 2] == pairs[2, 1]  # 2 3
    assert triples[0, 2] != triples[1, 2] != triples[2, 1] != triples[0, 2]  # 1 2 3, 9 2 3, and 2 3 at the start
    assert len(set(pairs.unique().tolist()) & set(triples.unique().tolist())) == 0
    swapped = encoder.places(torch.tensor([[2, 1]]), encoder.start(1))
    assert swapped[0, 1, 0] != pairs[0, 1]  # 2 1 is not 1 2


def test_few_of_the_n_grams_of_a_language_share_a_row() -> None:
    tokens = torch.cartesian_prod(*[torch.arange(20)] * 3)
    encoder = TokenEmbedding(20, 2, ngrams=(3, 3), buckets=2**16)
    rows = encoder.places(tokens, encoder.start(len(tokens)))[:, 2, 0].unique()
    by_chance = 2**16 * (1 - (1 - 2**-16) ** len(tokens))
    assert len(rows) > 0.98 * by_chance


def test_training_begins_as_it_does_without_n_grams() -> None:
    tokens = drawn()
    torch.manual_seed(0)
    encoder = TokenEmbedding(VOCABULARY, 4, (2, 5), 100)
    torch.manual_seed(0)
    assert torch.equal(encoder(tokens), torch.nn.Embedding(VOCABULARY, 4)(tokens))


def test_what_comes_later_changes_nothing() -> None:
    network, tokens = network_of(TargetSpec("tokens", VOCABULARY)), drawn()
    later = tokens.clone()
    later[:, 5:] = (later[:, 5:] + 1) % VOCABULARY
    close(network(later)[0][:, :5], network(tokens)[0][:, :5])
    assert not torch.allclose(network(later)[0][:, 5], network(tokens)[0][:, 5])


# ---- every way through a network ---------------------------------------------------------------------


@every_target
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_changes_nothing(target: TargetSpec, bidirectional: bool) -> None:
    network, tokens = network_of(target, bidirectional=bidirectional), drawn()
    output, state = network(tokens, lengths=LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        alone, after = network(tokens[row : row + 1, :length])
        close(output[row : row + 1, :length] if target.per_step else output[row : row + 1], alone)
        close([part[row : row + 1] for part in state], list(after))


@pytest.mark.parametrize("sizes", [[4, 5], [1, 1, 7], [2, 2, 2, 3]])
def test_pieces_with_the_state_carried_are_the_whole(sizes: list[int]) -> None:
    network, tokens = network_of(TargetSpec("tokens", VOCABULARY), initial_state="learned"), drawn()
    whole, final = network(tokens)
    outputs, state = [], None
    for piece in tokens.split(sizes, 1):
        output, state = network(piece, state)
        outputs.append(output)
    close(torch.cat(outputs, 1), whole)
    close(state, final)


@every_target
def test_step_by_step_it_says_what_it_says_at_once(target: TargetSpec) -> None:
    network, tokens = network_of(target), drawn()
    whole, final = network(tokens)
    state, streamed = tuple(network.initial_state(BATCH)), Stepper([network], lambda outputs: outputs[0])
    carried = streamed.initial(BATCH)
    for step in tokens.unbind(1):
        with torch.inference_mode():
            output, carried = streamed(step, carried)
        if target.per_step:
            said, state = network.step(step[:, None], state)
            close(said[:, 0], output, 1e-10)
    close(output, whole[:, -1] if target.per_step else whole, 1e-10)
    close(carried[0][0], list(final), 1e-10)


def test_a_fleet_of_networks_equals_each_alone() -> None:
    members = [network_of(TargetSpec("class", 4), bidirectional=True, cell=looped) for _ in range(2)]
    for parameter in members[1].parameters():
        parameter.data.mul_(0.5)
    stacked, _ = stack_module_state(members)  # type: ignore[arg-type]
    tokens = drawn()
    outputs, _ = vmap(lambda weights: functional_call(members[0], weights, (tokens, None, LENGTHS)))(stacked)
    for output, network in zip(outputs, members, strict=True):
        close(output, network(tokens, lengths=LENGTHS)[0])


@pytest.mark.parametrize(
    ("format", "bidirectional"),
    [
        pytest.param("pt2", False, marks=pytest.mark.slow),
        pytest.param("pt2", True, marks=pytest.mark.slow),
        pytest.param("onnx", False, marks=[pytest.mark.slow, pytest.mark.needs("export")]),
        pytest.param("onnx", True, marks=[pytest.mark.slow, pytest.mark.needs("export")]),
    ],
)
def test_a_file_says_what_the_network_says(format: Any, bidirectional: bool) -> None:
    target = TargetSpec("class", 4) if bidirectional else TargetSpec("tokens", VOCABULARY)
    network = network_of(target, bidirectional=bidirectional).float()
    portable, content = convert(network, torch.zeros(3, 5, dtype=torch.int64), format)
    assert check(serve(content, format), network, Steps(drawn(1, 101)[0]), 6).holds
    if not bidirectional:
        assert portable.starts[-1].tolist() == [VOCABULARY] * 3
        assert portable.meanings[-1] == "the 3 tokens that were read last,"


def test_n_grams_are_dropped_one_by_one_and_each_at_its_step() -> None:
    encoder = TokenEmbedding(VOCABULARY, 5, (2, 3), 50)
    torch.nn.init.constant_(encoder.weight, 1.0)
    torch.nn.init.constant_(encoder.hashed, 1.0)  # type: ignore[arg-type]
    network = network_of(TargetSpec("class", 4), token_dropout=0.5)
    network.encoder = encoder
    seen: list[Tensor] = []
    network.cells()[0].register_forward_pre_hook(lambda cell, given: seen.append(given[0]))
    network.float().train()(drawn(50, 20))
    # what is left is doubled: of three rows none to all
    assert seen[0].unique().tolist() == [0, 2, 4, 6] and torch.equal(seen[0][..., 0], seen[0][..., 4])


def test_the_summary_counts_the_rows_of_n_grams() -> None:
    network = network_of(TargetSpec("class", 4))
    first, *_ = rows = network.summary(TIME)
    assert first.parameters == 5 * (VOCABULARY + 50) and "n-grams" in first.name
    assert sum(row.parameters for row in rows) == sum(p.numel() for p in network.parameters())


def test_a_state_of_another_shape_is_refused() -> None:
    network = network_of(TargetSpec("tokens", VOCABULARY))
    state = tuple(network.initial_state(BATCH))
    with pytest.raises(InputError, match="and the tokens before; it has 2 parts"):
        network(drawn(), state[:-1])
    with pytest.raises(InputError, match=r"the 3 tokens before, torch.int64 of the shape \(3, 3\)"):
        network(drawn(), (*state[:-1], state[-1][:, 1:]))


# ---- beside the recurrence -----------------------------------------------------------------------------


def beside(**options: Any) -> Network:
    """Whose weights of n-grams are not the zeros that they start from."""
    torch.manual_seed(0)
    input = InputSpec(vocabulary=VOCABULARY, ngrams=(2, 4), buckets=50)
    network = Network(input, TargetSpec("class", 4), **{"cell": GRU, "hidden_size": 5, "beside": "ngrams"} | options)
    assert isinstance(network.beside, NGramClassifier)
    torch.nn.init.normal_(network.beside.weight)
    return network.double().eval()


def test_what_stands_beside_is_a_sum_over_tokens_and_n_grams_of_valid_steps() -> None:
    network, tokens = beside(), drawn()
    classifier, rows = network.beside, TokenEmbedding(VOCABULARY, 2, (2, 4), 50)
    assert isinstance(classifier, NGramClassifier)
    places = rows.places(tokens, rows.start(BATCH))
    lengths = torch.tensor([7, 1, 3])
    for row, length in enumerate(lengths.tolist()):
        total = torch.zeros(4, dtype=torch.float64)
        for step in range(length):
            total += classifier.weight[tokens[row, step]]
            for place in places[row, step]:
                total += classifier.weight[VOCABULARY + place]
        close(classifier(tokens, lengths)[row], RATE * total / (4 * length) ** 0.5)
    close(classifier(tokens), classifier(tokens, torch.tensor([TIME] * BATCH)))
    assert network.ngrams is None  # the recurrence reads tokens alone


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "readout": "mean_max"}], ids=["last", "mean_max"])
def test_beside_it_padding_changes_nothing_and_the_rest_is_what_it_would_be(options: dict[str, Any]) -> None:
    network, tokens = beside(**options), drawn()
    classifier = network.beside
    assert isinstance(classifier, NGramClassifier)
    output, state = network(tokens, lengths=LENGTHS)
    assert state == ()
    close(network.trace(tokens, lengths=LENGTHS).output, output)
    for row, length in enumerate(LENGTHS.tolist()):
        close(output[row : row + 1], network(tokens[row : row + 1, :length])[0])
    recurrence = output - classifier(tokens, LENGTHS)
    torch.nn.init.zeros_(classifier.weight)
    close(network(tokens, lengths=LENGTHS)[0], recurrence)
    assert sum(row.parameters for row in network.summary(TIME)) == sum(p.numel() for p in network.parameters())


def test_a_fleet_of_networks_beside_n_grams_equals_each_alone() -> None:
    members = [beside(cell=looped, bidirectional=True) for _ in range(2)]
    for parameter in members[1].parameters():
        parameter.data.mul_(0.5)
    stacked, _ = stack_module_state(members)  # type: ignore[arg-type]
    tokens = drawn()
    outputs, _ = vmap(lambda weights: functional_call(members[0], weights, (tokens, None, LENGTHS)))(stacked)
    for output, network in zip(outputs, members, strict=True):
        close(output, network(tokens, lengths=LENGTHS)[0])


@pytest.mark.slow
@pytest.mark.parametrize("format", ["pt2", pytest.param("onnx", marks=pytest.mark.needs("export"))])
def test_a_file_of_both_says_what_they_say(format: Any) -> None:
    network = beside(bidirectional=True, readout="mean").float()
    _, content = convert(network, torch.zeros(3, 5, dtype=torch.int64), format)
    assert check(serve(content, format), network, Steps(drawn(1, 101)[0]), 6).holds


@pytest.mark.parametrize(
    ("input", "target", "options", "said"),
    [
        (InputSpec(features=2), TargetSpec("class", 2), {}, "is for tokens"),
        (InputSpec(vocabulary=9), TargetSpec("class", 2), {}, r"which n-grams: give data\.ngrams=\[2,2\]"),
        (InputSpec(vocabulary=9, ngrams=(2, 2), buckets=5), TargetSpec("tokens", 9), {}, "a prediction at each step"),
        (InputSpec(vocabulary=9, ngrams=(2, 2), buckets=5), TargetSpec("class", 2), {"solver": "ridge"}, "learns"),
    ],
    ids=["features", "no n-grams", "each step", "ridge"],
)  # fmt: skip
def test_n_grams_beside_what_knows_none_are_one_line(
    input: InputSpec, target: TargetSpec, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=f"^model.beside=ngrams .*{said}"):
        Network(input, target, GRU, hidden_size=4, beside="ngrams", **options)


# ---- a regression that is fitted first -------------------------------------------------------------------


def texts(rows: int = 300) -> Batch:
    """Of which token 1 tells the class mostly, and nothing else does."""
    drawn = torch.Generator().manual_seed(0)
    tokens = torch.randint(2, VOCABULARY, (rows, TIME), generator=drawn)
    targets = torch.arange(rows) % 2
    told = (torch.rand(rows, generator=drawn) < 0.9) == (targets == 1)
    tokens[told, 0] = 1
    return Batch(tokens, targets, torch.randint(1, TIME + 1, (rows,), generator=drawn))


def fitted(batch: Batch, pieces: int = 1) -> tuple[NGramRegression, Regression]:
    classifier = NGramRegression(VOCABULARY, 2, (2, 3), 40).double()
    rows = torch.arange(len(batch.targets)).tensor_split(pieces)
    return classifier, fit_ngrams(
        classifier, lambda: (batch.map(partial(torch.index_select, dim=0, index=some)) for some in rows)
    )


def test_a_regression_on_n_grams_finds_what_tells_and_tells_held_out_texts() -> None:
    batch = texts()
    classifier, found = fitted(batch)
    assert classifier.fitted and 0.8 < found.accuracy < 0.95
    assert found.loss < 0.5  # of a guess 0.69
    said = classifier.eval()(batch.inputs, batch.lengths).argmax(1)
    assert (said == batch.targets).double().mean() > 0.85
    in_pieces, _ = fitted(batch, pieces=7)
    close(in_pieces.weight, classifier.weight, 1e-9)


def test_in_training_a_text_is_told_what_the_regression_without_its_fold_says() -> None:
    batch = texts()
    classifier, _ = fitted(batch)
    folds = classifier.folds(classifier.places(batch.inputs), batch.lengths)
    assert folds.bincount(minlength=FOLDS).min() > 30
    told = classifier.train()(batch.inputs, batch.lengths)
    # another class of one text changes what is said of the texts of other folds, and of its own fold nothing
    other = batch._replace(targets=batch.targets.clone())
    other.targets[5] = 1 - other.targets[5]
    changed = fitted(other)[0].train()(batch.inputs, batch.lengths)
    close(changed[folds == folds[5]], told[folds == folds[5]])
    assert not torch.allclose(changed[folds != folds[5]], told[folds != folds[5]])
    # equal texts are in one fold, whatever stands behind their end
    padded = torch.nn.functional.pad(batch.inputs, (0, 3), value=2)
    assert torch.equal(classifier.folds(classifier.places(padded), batch.lengths), folds)
    close(classifier(padded, batch.lengths), told)


def test_the_recurrence_begins_with_what_the_regression_says() -> None:
    network = beside(beside="ngram_regression")
    classifier = network.beside
    assert isinstance(classifier, NGramRegression)
    close(network(drawn(), lengths=LENGTHS)[0], classifier(drawn(), LENGTHS))
    assert not any(parameter.requires_grad for parameter in classifier.parameters())
    input = InputSpec(vocabulary=9, ngrams=(2, 2), buckets=5)
    with pytest.raises(InputError, match=r"^model.beside=ngram_regression is for one class a text"):
        Network(input, TargetSpec("value", 2), GRU, hidden_size=4, beside="ngram_regression")
    with pytest.raises(InputError, match=r"^model.beside=ngram_regression needs to know which n-grams"):
        Network(InputSpec(vocabulary=9), TargetSpec("class", 2), GRU, hidden_size=4, beside="ngram_regression")


@pytest.mark.slow
def test_a_run_beside_a_regression_goes_on_exactly(tmp_path: Path) -> None:
    overrides = ("data=text_classification", "data.num_samples=300", "data.ngrams=[2,3]", "data.ngram_buckets=512",
                 "model.beside=ngram_regression", "model.hidden_size=5", "trainer.accelerator=cpu",
                 "instruments=none", "trainer.progress=none", "scheduler=none")  # fmt: skip
    whole, cut = (RunDirectory.claim(tmp_path / name) for name in ("whole", "cut"))
    execute(whole, compose(*overrides, "trainer.max_epochs=3"), quiet=True)
    execute(cut, compose(*overrides, "trainer.max_epochs=1"), quiet=True)
    execute(cut, cut.config, resume=True, longer={"trainer.max_epochs": 3}, quiet=True)
    assert cut.metrics["test/loss"] == whole.metrics["test/loss"]
    assert whole.epochs[0]["ngrams/left_out_accuracy"] > 0
    expected = rnnlab.load(whole.path).predict("Krupla\ngriskra\n")
    assert rnnlab.load(cut.path).predict("Krupla\ngriskra\n").equals(expected)


# ---- runs --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    file = tmp_path_factory.mktemp("text") / "text.txt"
    file.write_text(TEXT)
    common = (*TINY[1:], "data=text", f"data.path={file}", "data.batch_size=4", "data.length=16", "data.ngrams=[2,4]",
              "data.ngram_buckets=64", "model.hidden_size=16", "optimizer.lr=0.01", "instruments=none")  # fmt: skip

    def train(*overrides: str) -> Path:
        directory = RunDirectory.claim(tmp_path_factory.mktemp("runs") / "run")
        execute(directory, compose(*common, *overrides), quiet=True)
        return directory.path

    return train


def test_runs_generate_and_predict_line_by_line_as_they_do_at_once(run: Callable[..., Path]) -> None:
    for places in ([run("model.num_layers=2")], [run(), run("seed=1")]):
        loaded = rnnlab.load(places)
        (text,) = loaded.generate("The cat", 20, temperature=0)
        numbers = loaded.reader.encoder.numbers("The cat" + text)  # type: ignore[attr-defined]
        output = loaded.task.network(torch.from_numpy(numbers)[None])[0][0]
        output[:, 0] = -torch.inf
        assert output[6:-1].argmax(-1).tolist() == numbers[7:].tolist()
        whole = loaded.predict("The cat\nsat on\n")["log_probability"][0]
        assert list(loaded.stream(["The cat\n", "sat on\n"]))[-1]["log_probability"] < 0
        assert whole < 0


@pytest.mark.parametrize("place", ["none", "ngrams"], ids=["at each token", "beside"])
def test_seeds_train_together_as_each_alone(place: str, tmp_path: Path) -> None:
    overrides = (f"model.beside={place}",
                 "data=text_classification", "data.num_samples=200", "data.ngrams=[2,3]", "data.ngram_buckets=64",
                 "model.token_dropout=0.2", "model.hidden_size=5", "trainer.max_epochs=2", "trainer.accelerator=cpu",
                 "instruments=none", "trainer.progress=none", "trainer.precision=64-true")  # fmt: skip
    configs = [compose(*overrides, f"seed={seed}") for seed in range(2)]
    together = [RunDirectory.claim(tmp_path / f"together{seed}") for seed in range(2)]
    said: list[str] = []

    def job(fleet_run: FleetRun) -> None:
        execute(together[fleet_run.number], configs[fleet_run.number], quiet=True, fleet_run=fleet_run)

    Fleet(StopSignals(), lambda fleet_run, reason: said.append(reason)).run([job] * 2)
    assert said == []
    for seed, config in enumerate(configs):
        alone = RunDirectory.claim(tmp_path / f"alone{seed}")
        execute(alone, config, quiet=True)
        for name in ("test/loss", "val/loss", "test/accuracy"):
            assert together[seed].metrics[name] == pytest.approx(alone.metrics[name], rel=1e-9)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("[5,2]", "data.ngrams=[5, 2]: first the fewest tokens of an n-gram, then the most"),
        ("[1,2]", "data.ngrams=[1, 2]: must be"),
        ("3", "data.ngrams=3: must be"),
    ],
)
def test_what_are_no_n_grams_is_one_line(given: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        execute(RunDirectory.claim(tmp_path / "run"), compose("data=text_classification", f"data.ngrams={given}"))
    assert str(refused.value).startswith(message)
