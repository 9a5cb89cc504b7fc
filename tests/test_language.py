"""A language model reads a text from its start to its end, and says how well against what is no network."""

import json
import math
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import compose
from torch import Tensor, nn

from rnnlab.cells.lstm import LSTM
from rnnlab.commands.outcome import score_table
from rnnlab.data import corpus, documentation
from rnnlab.data.batches import StreamOrder
from rnnlab.data.corpus import read, read_bytes, read_text
from rnnlab.data.entropy import bigram_nats, compressed_nats, compressors, unigram
from rnnlab.data.split import SPLITS
from rnnlab.data.text import Text
from rnnlab.data.words import words
from rnnlab.errors import InputError, Interrupted
from rnnlab.network import Network
from rnnlab.runs.checkpoint import read_checkpoint
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.evaluation import evaluate
from rnnlab.runs.execution import Outcome
from rnnlab.spec import IGNORED, Batch, InputSpec, TargetSpec
from rnnlab.tasks.language_modeling import LanguageModeling, clip_adaptively

Train = Callable[..., Outcome]
PROSE = "the cat sat on the mat, and the dog sat on the cat.\n" * 40
MIXED = "Ein Bär — 熊 🐻 — trinkt Ψ\r\n" * 9


def text(tmp_path: Path, content: str | bytes = PROSE, **options: Any) -> Text:
    path = tmp_path / "text.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Text(**{"path": str(path), "batch_size": 4, "length": 8} | options)


def model(data: Text, dtype: torch.dtype = torch.float32, **options: Any) -> LanguageModeling:
    torch.manual_seed(0)
    network = Network(data.spec.input, data.spec.target, LSTM, **{"hidden_size": 8} | options)
    return LanguageModeling(network.to(dtype), data.spec)


# ---- reading ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 2, 3, 7, 10_000])
@pytest.mark.parametrize("unit", ["character", "byte"])
def test_what_is_read_is_the_file_however_it_is_cut_into_blocks(
    unit: Any, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "BLOCK", block)
    content = (MIXED * 3).encode()
    (tmp_path / "a").write_bytes(content)
    blocks = read_bytes([tmp_path / "a"]) if unit == "byte" else read_text([tmp_path / "a"])
    whole = read(blocks, unit)
    assert whole.encoded(whole.ids) == content
    assert len(whole.ids) == len(content if unit == "byte" else MIXED * 3)
    assert len(whole.vocabulary) == (256 if unit == "byte" else len(set(MIXED)) + 1)


@pytest.mark.parametrize("block", [1, 5, 10_000])
def test_words_are_whole_wherever_a_block_ends(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "BLOCK", block)
    (tmp_path / "a").write_text("Don't stop,  snake_case\nStop! ")
    corpus_of_words = read(read_text([tmp_path / "a"]), "word")
    assert corpus_of_words.encoded(corpus_of_words.ids).decode() == "Don't stop , snake_case \n Stop !"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("can't “don’t” l'été 'x'", ["can't", "“", "don’t", "”", "l'été", "'", "x", "'"]),
        ("3.14 1,000, e.g. 5.x", ["3.14", "1,000", ",", "e.g", ".", "5", ".", "x"]),
        ("e\u0301te\u0301 a_b c-d a1", ["e\u0301te\u0301", "a_b", "c", "-", "d", "a1"]),
        ("日本ひカタ", ["日", "本", "ひ", "カタ"]),
        ("👩\u200d👩\u200d👧 🇩🇪🇫🇷 👍🏽!\r\n", ["👩\u200d👩\u200d👧", "🇩🇪", "🇫🇷", "👍🏽", "!", "\n"]),
    ],
)
def test_words_end_where_unicode_says(text: str, expected: list[str]) -> None:
    assert words(text) == expected
    assert "".join(words(text)).replace("\n", "") == "".join(text.split())


def test_half_of_a_surrogate_pair_has_no_bytes(tmp_path: Path) -> None:
    data = text(tmp_path, unit="byte")
    with pytest.raises(InputError, match=r"character 3 is ..udce9., half of a surrogate pair"):
        list(data.reader.take("ab\udce9"))


def test_seldom_words_are_unknown() -> None:
    found = read(["a b a c a b d"], "word", min_count=2)
    assert found.vocabulary == ("<unk>", "a", "b")
    assert found.ids.tolist() == [1, 2, 1, 0, 1, 2, 0]


def test_the_vocabulary_is_that_of_the_first_part_alone() -> None:
    characters = read(["aab", "bxx"], "character", share=0.5)
    assert characters.vocabulary == ("<unk>", "a", "b")
    assert characters.ids.tolist() == [1, 1, 2, 2, 0, 0]


@pytest.mark.parametrize(("size", "dtype"), [(255, torch.uint8), (256, torch.int16), (40_000, torch.int32)])
def test_a_number_takes_no_more_bytes_than_it_needs(size: int, dtype: torch.dtype) -> None:
    many = read(["".join(map(chr, range(0x10000, 0x10000 + size)))], "character")
    assert many.ids.dtype == dtype
    assert many.ids.tolist() == list(range(1, size + 1))


def test_a_folder_is_read_by_name_without_what_is_hidden(tmp_path: Path) -> None:
    for name, content in {"b.txt": "second", "a.txt": "\ufefffirst ", ".hidden.txt": "no", "c.bin": "no"}.items():
        (tmp_path / name).write_text(content, "utf-8")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "e.txt").write_text(" third" * 30)
    data = Text(path=str(tmp_path), pattern="*.txt", batch_size=1, length=2)
    assert data.corpus.encoded(data.corpus.ids[:18]) == b"first second third"


def test_what_is_no_text_is_left_out_of_a_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.txt", "b.md", "README.md", "LICENSE"):
        (tmp_path / name).write_text(name[0] * 60)
    for name in ("Thumbs.db", "plan.png", "scan.pdf"):
        (tmp_path / name).write_bytes(b"\0\1\2" * 20)
    read = "".join(corpus.read_text(corpus.find_files(tmp_path, "*")))
    assert read == "a" * 60 + "b" * 60
    (said,) = caplog.messages
    assert "LICENSE, README.md, plan.png, scan.pdf are passed over, by name or by kind (data.pattern=?* takes" in said
    assert len(corpus.find_files(tmp_path, "?*")) == 6
    (tmp_path / "c.txt").write_bytes(b"\0\1\2" * 20)  # no other kind, but damaged
    with pytest.raises(InputError, match=r"c\.txt is no text"):
        list(corpus.read_text(corpus.find_files(tmp_path, "*")))


def test_what_every_python_carries_is_english() -> None:
    assert len(documentation.reference()) > 200_000
    assert documentation.reference().count(" the ") > 3000


# ---- streams ----------------------------------------------------------------------------------------


def test_the_parts_of_a_text_are_next_to_each_other_and_do_not_overlap(tmp_path: Path) -> None:
    data = text(tmp_path)
    parts = [data.part(split) for split in SPLITS]
    assert torch.equal(torch.cat(parts), data.corpus.ids)
    assert [len(part) for part in parts] == [1664, 208, 208]
    few = text(tmp_path, num_samples=100)
    for split, size in zip(SPLITS, (80, 10, 10), strict=True):
        assert torch.equal(few.part(split), data.part(split)[: 8 * size + 1])


def loader(data: Text, split: str) -> Any:
    return {"train": data.train_dataloader, "val": data.val_dataloader, "test": data.test_dataloader}[split]()


def streams(batches: list[Batch], rows: int) -> Iterator[tuple[list[int], list[int]]]:
    """What each row read and was asked, from the first batch to the last."""
    for row in range(rows):
        inputs, targets = [], []
        for batch in batches:
            if row < len(batch.inputs):
                steps = batch.inputs.shape[1] if batch.lengths is None else int(batch.lengths[row])
                inputs += batch.inputs[row, :steps].tolist()
                targets += batch.targets[row, :steps].tolist()
                assert (batch.targets[row, steps:] == IGNORED).all()
        yield inputs, targets


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("length", [1, 7, 8, 50])
@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_the_streams_side_by_side_are_the_text(batch_size: int, length: int, split: Any, tmp_path: Path) -> None:
    data = text(tmp_path, batch_size=batch_size, length=length)
    batches = list(loader(data, split))
    assert len(batches) == len(loader(data, split))
    read = list(streams(batches, len(batches[0].inputs)))
    ids = data.part(split).tolist()
    assert list(chain(*(inputs for inputs, _ in read))) == ids[:-1]
    assert list(chain(*(targets for _, targets in read))) == ids[1:]


@pytest.mark.parametrize("size", range(6, 20))
@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_the_streams(size: int, world: int) -> None:
    shares = [[row for rows in StreamOrder(size, 2, rank, world) for row in rows.tolist()] for rank in range(world)]
    assert sorted(chain(*shares)) == list(range(size))
    alike = [StreamOrder(size, 2, rank, world, alike=True) for rank in range(world)]
    assert len({len(order) for order in alike}) == 1
    seen = [row for order in alike for rows in order for row in rows.tolist()]
    assert len(seen) == len(set(seen)) > size - 2 * world


# ---- the state that is carried ------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 7, 50])
def test_a_text_in_pieces_is_scored_like_the_text_in_one(length: int, tmp_path: Path) -> None:
    data = text(tmp_path, length=length, batch_size=3)
    task = model(data, torch.float64, num_layers=2, initial_state="learned").eval()
    batches = list(data.test_dataloader())
    with torch.no_grad():
        for number, batch in enumerate(batches):
            task.validation_step(batch, number)
        losses = []
        for inputs, targets in streams(batches, len(batches[0].inputs)):
            output, _ = task.network(torch.tensor([inputs]))
            losses.append(F.cross_entropy(output[0], torch.tensor(targets), reduction="none"))
    scores = task.scores["val"].compute()
    assert float(scores["loss"]) == pytest.approx(float(torch.cat(losses).mean()), rel=1e-6)
    assert float(scores["bits_per_character"]) == pytest.approx(float(torch.cat(losses).mean()) / math.log(2), rel=1e-6)


def test_the_gradient_ends_where_the_sequence_begins(tmp_path: Path) -> None:
    data = text(tmp_path)
    task = model(data, torch.float64)
    first, second = list(data.train_dataloader())[:2]
    task.training_step(first, 0)
    task.training_step(second, 1).backward()
    gradients = [p.grad for p in task.network.parameters()]
    _, state = task.network(first.inputs)
    fixed = tuple(tuple(part.detach().clone() for part in layer) for layer in state)
    loss = task.loss(task.network(second.inputs, fixed)[0], second)
    torch.testing.assert_close(gradients, list(torch.autograd.grad(loss, list(task.network.parameters()))))


def test_a_state_starts_afresh_with_the_epoch_and_is_not_disturbed_by_validation(tmp_path: Path) -> None:
    data = text(tmp_path)
    task = model(data)
    first, second = list(data.train_dataloader())[:2]

    def losses(validate: bool) -> list[float]:
        found = [task.training_step(first, 0).item()]
        if validate:
            task.eval()
            task.validation_step(next(iter(data.val_dataloader())), 0)
            task.train()
        return [*found, task.training_step(second, 1).item()]

    once = losses(validate=False)
    assert losses(validate=True) == once == losses(validate=False)
    task._training_state = None
    assert task.training_step(second, 1).item() != once[1]


def test_without_streams_nothing_is_carried(tmp_path: Path) -> None:
    from dataclasses import replace

    data = text(tmp_path)
    task = model(data)
    task.spec = replace(data.spec, streamed=False)
    first, second = list(data.train_dataloader())[:2]
    task.training_step(first, 0)
    expected = task.loss(task.network(second.inputs)[0], second)
    assert torch.equal(task.training_step(second, 1), expected)


@pytest.mark.parametrize("between", [3, 4, 9])
def test_streams_begin_anew_with_each_pass_wherever_the_epochs_of_the_run_end(
    between: int, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, began = LanguageModeling.forward, []

    def noted(self: LanguageModeling, batch: Batch) -> Tensor:
        if self.training:
            began.append(self._training_state is None)
        return forward(self, batch)

    monkeypatch.setattr(LanguageModeling, "forward", noted)
    # seven batches a pass, the last of which has fewer rows than the first of the next
    options = ("data=text", "data.num_samples=66", "data.batch_size=8", "data.length=8", "model.hidden_size=4")
    train(*options, f"trainer.steps_per_epoch={between}", "trainer.max_epochs=null", "trainer.max_steps=36",
          "data.ngrams=[2,3]", "data.ngram_buckets=16", "instruments=none")  # fmt: skip
    assert began == [step % 7 == 0 for step in range(36)]


STOPPED = (
    "data=text",
    "data.num_samples=200",
    "data.length=8",
    "model=lstm",
    "model.hidden_size=8",
    "model.num_layers=2",
    "model.dropout=0.3",
    "scheduler=cosine",
    "trainer.max_epochs=3",
    "instruments=none",
)


@pytest.mark.parametrize("ngrams", ["null", pytest.param("[2,4]", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_a_run_stopped_in_the_middle_of_a_text_ends_as_one_never_stopped(
    ngrams: str, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = (*STOPPED, f"data.ngrams={ngrams}", "data.ngram_buckets=64")

    def scores(directory: RunDirectory) -> dict[str, float]:
        return {name: value for name, value in directory.metrics.items() if not name.startswith("seconds")}

    whole = train(*stopped).directory
    step, reached = LanguageModeling.training_step, []

    def stop(self: LanguageModeling, batch: Batch, batch_idx: int) -> Tensor:
        if (self.current_epoch, batch_idx) == (1, 7) and not reached:
            reached.append(True)
            signal.raise_signal(signal.SIGINT)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(LanguageModeling, "training_step", stop)
    with pytest.raises(Interrupted):
        train(*stopped)
    directory = RunDirectory.open(tmp_path / "run1")
    assert directory.status.state == "interrupted"
    checkpoint = read_checkpoint(directory.last_checkpoint)
    assert checkpoint["global_step"] == 20 + 8
    shapes = [[part.shape for part in layer] for layer in checkpoint["carried_state"][:2]]
    assert shapes == [[(8, 8), (8, 8)], [(8, 8), (8, 8)]]
    assert [tokens.shape for tokens in checkpoint["carried_state"][2:]] == ([] if ngrams == "null" else [(8, 3)])

    kept = directory.last_checkpoint.read_bytes()
    train(*stopped, resume=directory)
    assert scores(directory) == scores(whole)
    assert (directory.path / "metrics.csv").read_bytes() == (whole.path / "metrics.csv").read_bytes()

    # and this would have shown a state that was lost
    directory.last_checkpoint.write_bytes(kept)
    torch.save({**checkpoint, "carried_state": None}, directory.last_checkpoint)
    train(*stopped, resume=directory)
    assert scores(directory) != scores(whole)


def test_a_network_that_reads_backwards_is_refused() -> None:
    with pytest.raises(InputError, match=r"model\.bidirectional=true would read the very tokens") as error:
        model(Text(num_samples=400), bidirectional=True)
    assert "\n" not in str(error.value)


def test_it_learns_what_only_a_state_can_know(tmp_path: Path) -> None:
    # in pieces of one step nothing but the state says whether this a is the first or the second: blind, it is ln 2
    data = text(tmp_path, "aabb" * 500, length=1)
    task = model(data)
    optimizer = torch.optim.Adam(task.network.parameters(), 0.02)
    losses = []
    for number, batch in enumerate(data.train_dataloader()):
        optimizer.zero_grad()
        loss = task.training_step(batch, number)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-40:]) < 0.2


# ---- what is no network -------------------------------------------------------------------------------


def test_counts_know_the_entropy_of_what_they_can_see() -> None:
    rng = np.random.default_rng(0)
    # a chain that goes from token k to k + 1 or k + 2 of 5, by a coin
    chain = torch.from_numpy(np.cumsum(rng.integers(1, 3, 40_000)) % 5)
    train, test = chain[:30_000], chain[30_000:]
    assert bigram_nats(train, test, 5) == pytest.approx(math.log(2), rel=0.01)
    p = unigram(train, 6)
    assert p.sum() == pytest.approx(1)
    assert p[:5] == pytest.approx(0.2, rel=0.03)
    assert 0 < p[5] < 1e-4


def test_pairs_are_a_distribution_for_every_token_seen_or_not() -> None:
    train = torch.tensor([0, 1, 0, 2, 0, 1, 1, 2])
    for before in range(4):  # 3 was never seen, and nothing but the end came after the last 2
        total = sum(math.exp(-bigram_nats(train, torch.tensor([before, after]), 4)) for after in range(4))
        assert total == pytest.approx(1)


@pytest.mark.needs("lzma")
@pytest.mark.parametrize("name", ["gzip", "xz"])
def test_a_compressor_has_read_the_training_text(name: str) -> None:
    rng = np.random.default_rng(0)
    once, other = (rng.integers(256, size=20_000, dtype=np.uint8).tobytes() for _ in range(2))
    compress = compressors()[name]
    assert compressed_nats(once, other, 20_000, compress) / math.log(2) == pytest.approx(8, rel=0.01)
    assert compressed_nats(once, once, 20_000, compress) / math.log(2) < 0.2


@pytest.mark.needs("lzma")
def test_xz_with_a_fitting_dictionary_is_as_good_as_with_its_own() -> None:
    import lzma

    content = documentation.reference()[:100_000].encode()
    assert len(compressors()["xz"](content)) == pytest.approx(len(lzma.compress(content, preset=9)), rel=0.002)


@pytest.mark.parametrize(
    ("unit", "score", "read_loss"),
    [
        ("character", "bits_per_character", lambda nats: nats / math.log(2)),
        ("byte", "bits_per_byte", lambda nats: nats / math.log(2)),
        ("word", "perplexity", math.exp),
    ],
)
def test_every_score_has_its_baselines(
    unit: str, score: str, read_loss: Callable[[float], float], train: Train
) -> None:
    outcome = train("data=text", f"data.unit={unit}", "instruments=none", f"monitor=val/{score}")
    metrics = json.loads((outcome.directory.path / "metrics.json").read_text())
    for prefix in ("test", "val", "baseline"):
        if f"{prefix}/loss" in metrics:
            assert metrics[f"{prefix}/{score}"] == pytest.approx(read_loss(metrics[f"{prefix}/loss"]), rel=1e-4)
    data = Text(unit=unit, num_samples=40, batch_size=8)  # type: ignore[arg-type]
    targets = data.part("test")[1:].long()
    expected = -np.log(unigram(data.part("train"), len(data.corpus.vocabulary)))[targets].mean()
    assert metrics["baseline/loss"] == pytest.approx(expected, rel=1e-5)
    for name, nats in data.baselines().items():
        assert metrics[f"baseline/{name}/{score}"] == pytest.approx(read_loss(nats), rel=1e-5)
    names = list(score_table(metrics, "").columns[0].cells)
    assert {score, f"{score} of bigram", f"{score} of gzip"} <= set(names)


# ---- tied embeddings, clipping ------------------------------------------------------------------------


def test_tied_embeddings_are_one_matrix_that_both_ends_train(tmp_path: Path) -> None:
    data = text(tmp_path)
    task, free = model(data, tie_embeddings=True), model(data)
    weights = task.network.readout.weight
    assert task.network.encoder.weight is weights
    spared = len(data.corpus.vocabulary) * 8
    sizes = [sum(p.numel() for p in each.network.parameters()) for each in (task, free)]
    assert sizes[1] - sizes[0] == spared
    assert [sum(row.parameters for row in each.network.summary()) for each in (task, free)] == sizes
    batch = next(iter(data.train_dataloader()))
    (both,) = torch.autograd.grad(task.loss(task(batch), batch), [weights])
    hidden = task.network.hidden(batch.inputs)[0].detach()
    (end,) = torch.autograd.grad(task.loss(task.network.readout(hidden), batch), [weights])
    assert not torch.allclose(both, end)


def test_what_cannot_be_tied_is_refused() -> None:
    tokens, classes, cell = InputSpec(vocabulary=9), TargetSpec("class", 3), partial(LSTM)
    for wrong in (classes, TargetSpec("tokens", 8)):
        with pytest.raises(InputError, match="inputs and targets are the same tokens"):
            Network(tokens, wrong, cell, tie_embeddings=True)
    with pytest.raises(InputError, match=r"model\.embedding_size=64 in place of 32"):
        Network(tokens, TargetSpec("tokens", 9), cell, embedding_size=32, tie_embeddings=True)


def test_adaptive_clipping_bounds_each_unit_by_its_own_weights() -> None:
    weights = nn.Parameter(torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]]))
    weights.grad = torch.tensor([[0.6, 0.8], [0.6, 0.8], [0.6, 0.8]])
    bias = nn.Parameter(torch.tensor([2.0, -2.0]))
    bias.grad = torch.tensor([0.1, -5.0])
    clip_adaptively([weights, bias], 0.5)
    torch.testing.assert_close(weights.grad.norm(dim=1), torch.tensor([1.0, 0.25, 0.0005]))
    torch.testing.assert_close(F.cosine_similarity(weights.grad, torch.tensor([[0.6, 0.8]])), torch.ones(3))
    torch.testing.assert_close(bias.grad, torch.tensor([0.1, -1.0]))


def test_adaptive_clipping_is_an_option_of_the_task(train: Train) -> None:
    options = ("data=text", "instruments=none", "model.hidden_size=8")
    clipped = train(*options, "task.adaptive_clipping=1e-4").directory.epochs[0]
    free = train(*options, "task.adaptive_clipping=1e4").directory.epochs[0]
    assert clipped["gradient/clipped"] == 1
    assert free["gradient/clipped"] == 0
    assert clipped["train/loss"] != free["train/loss"]


# ---- what cannot work -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", {}, r"text\.txt: this file is empty"),
        (b"\xef\xbb\xbf", {}, "has no characters"),
        (b" \t ", {"unit": "word"}, "has no words"),
        (b"fine\nfine\nno\xff", {}, r"text\.txt, line 3: byte 0xff is no UTF-8 .*data\.unit=byte"),
        (b"fine\nends early \xc3", {}, r"line 2: byte 0xc3 is no UTF-8 \(unexpected end of data\)"),
        (b"short", {}, r"has 5 characters; data\.batch_size=4 .* data\.length=8 .* need 33 .* so 42 in all"),
        (b"a" * 50, {"val_fraction": 0.01}, "leave none to predict for val"),
        (b"a" * 200, {"num_samples": 100}, r"data\.num_samples=100 takes 80 sequences .* for train and .* has 20"),
        (b"a" * 200, {"num_samples": 4}, "leaves no sequence|leave none|leaves 4 sequences"),
        (b"a" * 200, {"val_fraction": 0.6, "test_fraction": 0.6}, "leave nothing to train on"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(
    content: bytes, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message) as error:
        text(tmp_path, content, **options)
    assert "\n" not in str(error.value)


def test_no_such_file_and_no_text_in_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        Text(path=str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"no file in this folder matches data\.pattern=\*\.txt"):
        Text(path=str(tmp_path), pattern="*.txt")
    (tmp_path / "a.txt").touch()
    with pytest.raises(InputError, match="these files are empty"):
        Text(path=str(tmp_path))


def test_the_line_is_counted_through_all_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "BLOCK", 3)
    with pytest.raises(InputError, match="line 41: byte 0x80"):
        text(tmp_path, "äö\n".encode() * 40 + b"\x80\n")


def test_what_memory_cannot_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = text(tmp_path)  # of 2,080 characters
    monkeypatch.setattr(corpus, "machine_memory", lambda: 5000.0)
    with pytest.raises(InputError, match=r"is 0\.0 GB of text; reading it can take 3 times as much memory"):
        text(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr("rnnlab.data.text.machine_memory", lambda: 4e3)
    with pytest.raises(
        InputError, match=rf"vocabulary of {len(data.corpus.vocabulary)} characters needs .*min_count=1"
    ):
        text(tmp_path)


def test_another_text_is_read_with_the_vocabulary_of_the_training(train: Train, tmp_path: Path) -> None:
    data = text(tmp_path)
    other = tmp_path / "other.txt"
    other.write_text(PROSE.replace("c", "é") * 2)  # as many characters, and numbered by itself all were others
    directory = train("data=text", f"data.path={data.path}", "data.length=8", "instruments=none").directory
    config = directory.config
    config["data"]["path"] = str(other)
    scores = evaluate(config, directory)
    vocabulary = data.corpus.vocabulary
    same = Text(path=str(other), length=8, batch_size=8, num_samples=40, vocabulary=vocabulary)
    assert same.spec.target.names == vocabulary
    assert "are <unk>" in same.spec.note
    read = same.corpus.ids[:60].tolist()
    assert [vocabulary[k] for k in read] == ["<unk>" if c == "é" else c for c in other.read_text()[:60]]
    # how frequent a token is, is what the run has learned of its own training part
    learned = read_checkpoint(directory.best_checkpoint)["data"]["spec"]["token_frequencies"]
    same.spec = replace(same.spec, token_frequencies=learned)
    task = model(same, hidden_size=64)  # the weights are those of a GRU: only the data's own scores are compared
    for batch in same.test_dataloader():
        task._score(task.scores["baseline"], task.baseline(batch), batch)
    assert scores["baseline/loss"] == pytest.approx(float(task.scores["baseline"].compute()["loss"]), rel=1e-5)


def test_weights_for_another_vocabulary_are_refused(train: Train, tmp_path: Path) -> None:
    data = text(tmp_path)
    other = tmp_path / "other.txt"
    other.write_text(PROSE.replace("t", "T").replace("e", "E"))
    directory = train("data=text", f"data.path={data.path}", "data.length=8", "instruments=none").directory
    evaluate(directory.config, directory)
    for options, message in (
        ({"unit": "word"}, r"data\.unit=word: this run was trained with data\.unit=character"),
        ({"vocabulary": ["<unk>", "a"]}, r"this run was trained with \d+ others"),
    ):
        config = directory.config
        config["data"] |= options
        with pytest.raises(InputError, match=message):
            evaluate(config, directory)
    # a checkpoint that does not say what its numbers stand for
    checkpoint = read_checkpoint(directory.best_checkpoint)
    assert checkpoint.pop("Text")["vocabulary"] == list(data.corpus.vocabulary)
    torch.save(checkpoint, directory.best_checkpoint)
    for path, message in ((str(other), "another vocabulary"), (None, "does not fit this model")):
        config = compose("data=text", "data.length=8", "data.num_samples=40", "data.batch_size=8")
        config["data"]["path"] = path
        with pytest.raises(InputError, match=message):
            evaluate(config, directory)


@pytest.mark.parametrize(
    ("unit", "vocabulary"),
    [("character", []), ("character", ["a", "b"]), ("word", ["<unk>", "a", "a"]), ("byte", ["<unk>", "a"])],
)
def test_what_can_be_no_vocabulary_is_refused(unit: Any, vocabulary: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.vocabulary"):
        text(tmp_path, unit=unit, vocabulary=vocabulary)
