"""Texts are read, shared out and numbered; invented words are told apart by their order alone."""

import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from rnnlab.data import corpus, word_lists
from rnnlab.data.invented_languages import ALPHABET, BACK, FRONT, LANGUAGES
from rnnlab.data.naive_bayes import naive_bayes
from rnnlab.data.ngram_regression import ngram_regression
from rnnlab.data.packed import Packed
from rnnlab.data.split import SPLITS, Sample, stack
from rnnlab.data.strata import balanced, quotas
from rnnlab.data.text_classification import TextClassification
from rnnlab.data.text_encoder import TextEncoder, build_vocabulary, normalize
from rnnlab.errors import InputError
from rnnlab.runs.build import with_absolute_paths
from rnnlab.runs.checkpoint import read_checkpoint
from rnnlab.runs.evaluation import evaluate
from rnnlab.runs.execution import Outcome
from rnnlab.runs.preparation import numbered_as

Train = Callable[..., Outcome]
NAMES = {
    "English": [f"{a}{b}son" for a in ("John", "Robin", "Ander", "Wat", "Thomp") for b in ("", "e", "y", "s")],
    "Polish": [f"{a}{b}ński" for a in ("Jasi", "Kowal", "Ziele", "Dąbrow", "Łuczy") for b in ("", "e", "o", "u", "i")],
    "Italian": [f"{a}{b}" for a in ("Ross", "Bianch", "Verd") for b in ("i", "o", "a", "etti", "ini")],
}


def folder(path: Path, names: dict[str, list[str]] = NAMES) -> Path:
    path.mkdir(exist_ok=True)
    for name, lines in names.items():
        (path / f"{name}.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return path


def read(path: Path, **options: Any) -> TextClassification:
    return TextClassification(**{"path": str(path), "batch_size": 4} | options)


def shown(data: TextClassification, split: Any) -> list[tuple[str, str]]:
    """The texts of a split as the network gets them, and their classes."""
    part, names = data.split(split), data.spec.target.names
    batch = part.batch(slice(None))
    assert batch.lengths is not None
    vocabulary = data.encoder.vocabulary
    texts = ["".join(vocabulary[k] for k in row[:n]) for row, n in zip(batch.inputs, batch.lengths, strict=True)]
    return [(text, names[k]) for text, k in zip(texts, batch.targets.tolist(), strict=True)]


# ---- files ------------------------------------------------------------------------------------------


def test_a_folder_has_a_file_a_class_and_a_text_a_line(tmp_path: Path) -> None:
    data = read(folder(tmp_path / "names"), min_count=1)
    examples = [example for split in SPLITS for example in shown(data, split)]
    expected = {(text, name) for name, texts in NAMES.items() for text in texts}
    known = set(data.encoder.vocabulary)
    assert Counter(name for _, name in examples) == {name: len(texts) for name, texts in NAMES.items()}
    assert {e for e in examples if "<unk>" not in e[0]} == {e for e in expected if set(e[0]) <= known}
    assert data.spec.target.names == ("English", "Italian", "Polish")


def test_a_folder_may_have_a_folder_a_class(tmp_path: Path) -> None:
    for name in ("pos", "neg"):
        (tmp_path / "texts" / name).mkdir(parents=True)
        for number in range(8):
            (tmp_path / "texts" / name / f"{number}.txt").write_text(f"{name} {number}\nand more\n")
    data = read(tmp_path / "texts", unit="byte")
    assert data.spec.target.names == ("neg", "pos")
    assert sum(data.size(split) for split in SPLITS) == 16
    assert read(tmp_path, unit="byte").spec.target.names == ("neg", "pos")


def test_a_class_without_a_text_is_named(tmp_path: Path) -> None:
    names = folder(tmp_path / "names")
    (names / "Welsh.txt").write_text("\n")
    with pytest.raises(InputError, match=r"class 'Welsh' has no text in it .*data\.pattern"):
        read(names)


def test_classes_that_differ_in_capitals_are_two(tmp_path: Path) -> None:
    names = folder(tmp_path / "names", {"us": ["a", "b", "c", "d"], "US": ["e", "f", "g", "h"]})
    assert read(names).spec.target.names == ("US", "us")


def test_a_table_is_read_whatever_parts_its_cells(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(GOOD.replace(",", ";"))
    assert read(tmp_path / "a.csv").spec.target.names == ("x", "y")


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_a_table_says_what_a_folder_says(kind: str, tmp_path: Path) -> None:
    examples = [(text, name) for name, texts in NAMES.items() for text in texts]
    lines = {
        "csv": ["n,name,language", *(f'{i},"{text}",{name}' for i, (text, name) in enumerate(examples))],
        "tsv": ["name\tlanguage", *(f"{text}\t{name}" for text, name in examples)],
        "jsonl": [json.dumps({"name": text, "language": name}) for text, name in examples],
    }[kind]
    file = tmp_path / f"names.{kind}"
    file.write_text("\n".join(lines) + "\n", "utf-8")
    table = read(file, text_column="name", label_column="language")
    names = tmp_path / "names"
    folder(names)
    files = read(names, classes=["English", "Italian", "Polish"])
    for split in SPLITS:
        assert len(shown(table, split)) == len(shown(files, split))
    union = [sorted(e for split in SPLITS for e in shown(data, split)) for data in (table, files)]
    assert Counter(name for _, name in union[0]) == Counter(name for _, name in union[1])


def test_a_class_that_is_a_number_has_a_name(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps({"text": f"text {i}", "label": i % 2}) + "\n" for i in range(20)))
    assert read(file).spec.target.names == ("0", "1")


GOOD = "text,label\n" + "".join(f"a{i},x\nb{i},y\n" for i in range(9))


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.txt", "a", {}, r"a folder with one file a class, or a table \(\.csv"),
        (
            "a.csv",
            GOOD,
            {"text_column": "txet"},
            r"data\.text_column=txet: .*a\.csv has no such column; did you mean 't",
        ),
        ("a.csv", GOOD, {"label_column": "q"}, r"data\.label_column=q: .* no such column \(there are text, label\)"),
        ("a.csv", GOOD + "p,q,r\n", {}, r"a\.csv, line 20: 3 cells, and the header has 2"),
        ("a.csv", GOOD + "lonely\n", {}, r"a\.csv, row 19 has a text and no label"),
        ("a.csv", GOOD + "rare,z\n", {}, r"class 'z' has 1 text, and train, validation and test need one each"),
        ("a.csv", "text,label\na,x\nb,x\nc,x\n", {}, "has one class, x: there is nothing to tell apart"),
        ("a.csv", "text,label\n", {}, "has a header and no rows"),
        ("a.csv", b"text,label\na,x\n\xe4,x\n", {}, r"a\.csv, line 3: byte 0xe4 is no UTF-8"),
        ("a.csv", "", {}, "this file is empty"),
        ("a.csv", "text,label\n ,x\n", {}, "has no text in it"),
        ("a.csv", "text,label\nÄ,x\nÖ,y\n", {"normalization": "ascii", "lower": True}, "class 'x' has 1 text"),
        ("a.csv", "text,label\n熊,x\n", {"normalization": "ascii"}, r"no text in it \(data\.normalization=ascii\)"),
        ("a.jsonl", '{"text": "a", "label": "x"}\n{"text": "b",}\n', {}, r"a\.jsonl, line 2 is no JSON"),
        (
            "a.jsonl",
            '{"text": "a", "label": "x"}\n\n{"text": "b"}\n',
            {},
            r"line 3 has no such column \(there",
        ),
        ("a.jsonl", '["a", "x"]\n', {}, r"line 1: give an object a line"),
        ("a.jsonl", '{"text": 3, "label": "x"}\n', {}, r"line 1: a text is a string"),
        ("a.csv", GOOD, {"num_samples": 5}, r"data\.num_samples=5 is too few: .* 2 classes, 6 in all"),
        ("a.csv", GOOD, {"val_fraction": 0.55, "test_fraction": 0.44}, "leave none for train"),
        ("a.csv", GOOD, {"val_fraction": 0.0}, r"data\.val_fraction=0 leaves no text for val"),
        ("a.csv", GOOD, {"classes": ["x", "z"]}, "class 'y' is none of data.classes"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(
    name: str, content: str | bytes, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path / name, **options)
    assert "\n" not in str(error.value)


def test_what_is_not_there_and_what_memory_cannot_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        read(tmp_path / "nowhere")
    names = folder(tmp_path / "names")
    with pytest.raises(InputError, match=r"no file in this folder matches data\.pattern=\*\.csv"):
        read(names, pattern="*.csv")
    monkeypatch.setattr(corpus, "machine_memory", lambda: 5000.0)
    with pytest.raises(InputError, match=r"is 0\.0 GB of text; reading it can take 45 times as much memory"):
        read(names)


# ---- splits -----------------------------------------------------------------------------------------


def many(path: Path, sizes: dict[str, int], again: int = 0) -> Path:
    lines = {name: [f"{name}{i}" for i in range(size)] for name, size in sizes.items()}
    return folder(path, {name: [*texts, *texts[:again]] for name, texts in lines.items()})


def counts(data: TextClassification, split: Any) -> dict[str, int]:
    names = data.spec.target.names
    return dict(Counter(names[k] for k in data.split(split).targets.tolist()))


def test_each_class_has_its_share_of_each_split(tmp_path: Path) -> None:
    data = read(many(tmp_path / "a", {"A": 200, "B": 50, "C": 3}))
    assert [counts(data, split) for split in SPLITS] == [
        {"A": 160, "B": 40, "C": 1},
        {"A": 20, "B": 5, "C": 1},
        {"A": 20, "B": 5, "C": 1},
    ]
    assert data.spec.class_frequencies == pytest.approx([160 / 201, 40 / 201, 1 / 201])


def test_the_splits_are_a_function_of_the_seed(tmp_path: Path) -> None:
    path = many(tmp_path / "a", {"A": 40, "B": 40})
    first, second, other = (read(path, seed=seed) for seed in (3, 3, 4))
    assert shown(first, "test") == shown(second, "test") != shown(other, "test")


def test_at_most_so_many_are_taken_evenly(tmp_path: Path) -> None:
    path = many(tmp_path / "a", {"A": 400, "B": 100, "C": 4})
    data = read(path, num_samples=60)
    total = Counter[str]()
    for split in SPLITS:
        total.update(counts(data, split))
    assert 57 <= sum(total.values()) <= 60
    assert total["C"] == 3
    assert total["A"] == pytest.approx(4 * total["B"], rel=0.2)
    assert data.spec.note.startswith(f"{sum(total.values())} of 504 texts")
    assert sum(map(len, map(read(path, num_samples=9999).split, SPLITS))) == 504


@pytest.mark.parametrize("stratify", [True, False])
@pytest.mark.parametrize("duplicates", ["drop", "keep"])
def test_no_text_is_in_two_splits(duplicates: Any, stratify: bool, tmp_path: Path) -> None:
    both = [f"shared {i}" for i in range(30)]
    names = {"A": [f"a{i}" for i in range(60)] + both, "B": [f"b{i}" for i in range(20)] * 3 + both}
    data = read(folder(tmp_path / "a", names), duplicates=duplicates, stratify=stratify)
    texts = [Counter(text for text, _ in shown(data, split)) for split in SPLITS]
    for i, one in enumerate(texts):
        for other in texts[i + 1 :]:
            assert not set(one) & set(other)
    everything = sum(texts, Counter[str]())
    assert everything["shared 3"] == 2
    assert everything["b3"] == (3 if duplicates == "keep" else 1)
    assert "30 in more than one class" in data.spec.note
    assert ("40 repetitions dropped" in data.spec.note) == (duplicates == "drop")


def test_what_was_done_with_the_texts_is_said(tmp_path: Path) -> None:
    names = {"A": ["", *(f"a{i}" for i in range(20)), "  "], "B": [f"b{i}" + "é" * i for i in range(20)]}
    data = read(folder(tmp_path / "a", names), max_length=10)
    assert "40 texts" in data.spec.note
    assert "2 empty lines skipped" in data.spec.note
    assert "11 cut after 10 characters" in data.spec.note  # from b9ééééééééé on
    assert data.spec.length == 10


def test_balance_changes_training_alone(tmp_path: Path) -> None:
    path = many(tmp_path / "a", {"A": 100, "B": 10})
    plain, more, fewer = (read(path, balance=balance) for balance in ("none", "oversample", "undersample"))
    assert [counts(data, "train") for data in (plain, more, fewer)] == [
        {"A": 80, "B": 8},
        {"A": 80, "B": 80},
        {"A": 8, "B": 8},
    ]
    assert set(Counter(text for text, name in shown(more, "train") if name == "B").values()) == {10}
    assert shown(more, "test") == shown(fewer, "test") == shown(plain, "test")
    # the majority that the baseline knows is the real one
    assert more.spec.class_frequencies == fewer.spec.class_frequencies == pytest.approx([10 / 11, 1 / 11])


def test_oversampling_shows_each_example_about_as_often() -> None:
    labels = np.array([0] * 10 + [1] * 3)
    chosen = Counter(balanced(labels, "oversample", np.random.default_rng(0)).tolist())
    assert sorted(chosen[i] for i in (10, 11, 12)) == [3, 3, 4]
    assert all(chosen[i] == 1 for i in range(10))


@pytest.mark.parametrize("total", [9, 10, 50, 504, 9999])
def test_quotas_are_at_most_the_total_and_at_least_some(total: int) -> None:
    found = quotas([400, 100, 4], total, 3)
    assert total - 3 < sum(found) <= total or found == [400, 100, 4]
    assert min(found) >= 3


# ---- numbers ----------------------------------------------------------------------------------------


def test_the_vocabulary_is_that_of_the_training_split(tmp_path: Path) -> None:
    names = {name: [f"{name}{chr(0x100 + 40 * k + i)}" for i in range(40)] for k, name in enumerate("AB")}
    data = read(folder(tmp_path / "a", names))
    held_out = [text for split in ("val", "test") for text, _ in shown(data, split)]
    assert len(held_out) == 16
    assert all(text in ("A<unk>", "B<unk>") for text in held_out)
    assert all("<unk>" not in text for text, _ in shown(data, "train"))
    assert "16 held-out characters are <unk>" in data.spec.note
    assert data.spec.input.vocabulary == 1 + 2 + 64


@pytest.mark.parametrize(
    ("form", "lower", "text", "expected"),
    [
        ("NFC", False, "e\u0301 ﬁ ", "é ﬁ"),
        ("NFKC", True, "É ﬁ", "é fi"),
        ("ascii", False, "Ślusàrski Łø", "Slusarski"),
        ("none", False, "e\u0301", "e\u0301"),
    ],
)
def test_unicode_is_normalized(form: Any, lower: bool, text: str, expected: str) -> None:
    assert normalize(text, form, lower) == expected


def test_any_text_is_encoded_as_in_training() -> None:
    encoder = TextEncoder(("<unk>", "a", "b"), "character", lower=True, max_length=3)
    assert encoder.encode(" aXBa ").tolist() == [1, 0, 2]
    with pytest.raises(InputError, match="' ' has no characters"):
        encoder.encode("  ")
    words = TextEncoder(build_vocabulary(["to be or", "not to be"], "word", min_count=2), "word")
    assert words.vocabulary == ("<unk>", "be", "to")
    assert words.encode("to not be").tolist() == [2, 0, 1]
    byte = TextEncoder(build_vocabulary([], "byte"), "byte")
    assert byte.encode("é").tolist() == [0xC3, 0xA9]


@pytest.mark.parametrize("unit", ["character", "byte", "word"])
def test_every_unit_is_served(unit: Any, tmp_path: Path) -> None:
    names = {name: [f"{name} is number {i}" for i in range(20)] for name in ("One", "Two")}
    data = read(folder(tmp_path / "a", names), unit=unit)
    batch = next(iter(data.train_dataloader()))
    assert batch.inputs.max() < data.spec.input.vocabulary
    assert data.spec.step_unit == unit
    for split in SPLITS:
        for i in range(data.size(split)):
            sample = data.sample(np.random.default_rng(0), split, i)
            alone = data.split(split).batch(torch.tensor([i]))
            assert sample.inputs.tolist() == alone.inputs[0].tolist()
            assert sample.target == alone.targets[0]


def test_packed_sequences_are_what_padded_ones_are() -> None:
    rng = np.random.default_rng(0)
    sequences = [rng.integers(1, 9, rng.integers(1, 12)) for _ in range(30)]
    targets = torch.arange(30)
    packed = Packed(sequences, targets)
    padded = stack([Sample(sequence, int(k)) for sequence, k in zip(sequences, targets, strict=True)])
    for index in (slice(None), slice(25, 99), torch.tensor([29, 0, 7]), torch.tensor([3])):
        for one, other in zip(packed.batch(index)[:3], padded.batch(index)[:3], strict=True):
            assert one is not None and other is not None and torch.equal(one, other)
    assert torch.equal(packed.inputs, padded.inputs)


def test_naive_bayes_counts_letters() -> None:
    train = Packed([np.array([1, 1, 2]), np.array([2]), np.array([2, 2])], torch.tensor([0, 1, 1]))
    test = Packed([np.array([1, 2])], torch.tensor([0]))
    # of class 0: 2/5 of examples (Laplace), tokens 0 1 2 with 1 3 2 of 6; of class 1: 3/5 and 1 1 4 of 6
    joint = [2 / 5 * 3 / 6 * 2 / 6, 3 / 5 * 1 / 6 * 4 / 6]
    assert naive_bayes(train, test, 2, 3).softmax(1)[0].tolist() == pytest.approx([part / sum(joint) for part in joint])


@pytest.mark.needs("datasets")
@pytest.mark.parametrize(("unit", "classes"), [("word", 2), ("character", 3)])
def test_a_regression_tells_texts_by_their_pairs(unit: Any, classes: int) -> None:
    rng = np.random.default_rng(0)
    texts = [" c ".join([("a b", "b a")[k % 2]] * rng.integers(1, 4)) for k in range(60)]
    labels = tuple(2 * (k % 2) if classes == 3 else k % 2 for k in range(60))  # of three classes one has no text
    said = ngram_regression(tuple(texts[:40]), labels[:40], tuple(texts[40:]), unit, None)
    assert said.shape == (20, classes) and said.isfinite().all()
    assert said.argmax(1).tolist() == list(labels[40:])


# ---- the numbering of a trained run ---------------------------------------------------------------------


def test_another_file_is_read_as_the_training_was(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(tmp_path / "names")
    monkeypatch.chdir(tmp_path)
    directory = train(
        "data=text_classification", "data.path=names", "instruments=none", "data.num_samples=60"
    ).directory
    config = directory.config
    assert config["data"]["path"] == str(tmp_path / "names")
    assert config["data"]["vocabulary"] is None
    monkeypatch.chdir("/")
    before = evaluate(config, directory)
    assert before["test/loss"] == pytest.approx(directory.metrics["test/loss"])
    # the same texts, and a letter and no class that would come before all others
    more = {name: [*texts, "0000"] for name, texts in NAMES.items() if name != "English"}
    folder(tmp_path / "more", more)
    state = read_checkpoint(directory.best_checkpoint)["TextClassification"]
    assert state["classes"] == ["English", "Italian", "Polish"]
    own, adopted = read(tmp_path / "more"), read(tmp_path / "more", **state)
    assert own.spec.target.names == ("Italian", "Polish")
    assert adopted.spec.target.names == ("English", "Italian", "Polish")
    rossi = [state["vocabulary"].index(c) if c in state["vocabulary"] else 0 for c in "Rossi0"]
    assert adopted.encode("Rossi0").tolist() == rossi
    assert own.encode("Rossi0").tolist() != rossi
    config["data"] |= {"path": str(tmp_path / "more"), "num_samples": None}
    assert math.isfinite(evaluate(config, directory)["test/loss"])
    folder(tmp_path / "more", {"Polnish": ["Nowak"]})
    with pytest.raises(InputError, match=r"class 'Polnish' is none of data\.classes; did you mean 'Polish'"):
        evaluate(config, directory)


def test_a_run_goes_on_with_its_numbering_though_the_file_has_changed() -> None:
    state = {"unit": "character", "vocabulary": ["<unk>", "a"], "classes": ["x", "y"]}
    node = {"_target_": "rnnlab.data.text_classification.TextClassification", "unit": "character", "classes": None}
    assert numbered_as(node, {"TextClassification": state}) == {**node, **state}
    assert numbered_as(node, {"Text": state}) == node
    with pytest.raises(InputError, match=r"data\.classes=\[x\]: this run was trained with 2 others"):
        numbered_as({**node, "classes": ["x"]}, {"TextClassification": state})


def test_files_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for target in ("text.Text", "text_classification.TextClassification"):
        node = {"_target_": f"rnnlab.data.{target}", "path": "a/b.txt", "pattern": "*", "seed": 0}
        assert with_absolute_paths(node, "data") == node | {"path": str(tmp_path / "a" / "b.txt")}
        for fixed in (None, "/a/b.txt"):
            assert with_absolute_paths(node | {"path": fixed}, "data")["path"] == fixed
        home = with_absolute_paths(node | {"path": "~/b.txt"}, "data")["path"]
        assert home == os.path.expanduser("~/b.txt")


# ---- invented languages -----------------------------------------------------------------------------------


def words(name: str, number: int = 400) -> list[str]:
    return [LANGUAGES[name].word(np.random.default_rng((7, i))) for i in range(number)]


C, V = "[ptkbdgmnlrsv]", "[aeiou]"
RULES = {
    "Patolu": f"({C}{V}){{2,4}}",
    "Ulotap": f"({V}{C}){{2,4}}",
    "Rumonal": rf"(?!.*[{FRONT}].*[{BACK}])(?!.*[{BACK}].*[{FRONT}])({C}{V}[nlr]?){{2,4}}",
    "Rumenal": rf"(?!.*[{FRONT}][^aeiou]*[{FRONT}])(?!.*[{BACK}][^aeiou]*[{BACK}])({C}{V}[nlr]?){{2,4}}",
    "Krupla": f"(([pkb]l|[kptg]r|[mns]){V}[ns]?){{2,4}}",
    "Lpurka": f"((l[pkb]|r[kptg]|[mns]){V}[ns]?){{2,4}}",
    "Padigo": f"[ptks]{V}([bdgvlr]{V}){{1,3}}",
    "Bapito": f"[bdgvlr]{V}([ptks]{V}){{1,3}}",
    "Kattoma": rf"[tkmnps]{V}([tkmnps])\1{V}([tkmnps]{V}){{0,2}}",
    "Kataama": rf"[tkmnps]{V}[tkmnps]({V})\1([tkmnps]{V}){{0,2}}",
    "Mávola": f"[mvlsdn][áéíóú]([mvlsdn]{V}){{1,3}}",
    "Lavomá": f"([mvlsdn]{V}){{1,3}}[mvlsdn][áéíóú]",
}


@pytest.mark.parametrize("name", LANGUAGES)
def test_words_keep_the_rule_of_their_language_and_so_does_its_name(name: str) -> None:
    drawn = words(name)
    assert all(re.fullmatch(RULES[name], word) for word in [*drawn, name.lower()])
    assert set("".join(drawn)) <= set(ALPHABET)
    assert len(set(drawn)) > 200
    number = list(LANGUAGES).index(name)
    partner = list(LANGUAGES)[number ^ 1]  # the other of the pair
    assert sum(bool(re.fullmatch(RULES[name], word)) for word in words(partner)) < 100


@pytest.mark.parametrize("pair", [("Patolu", "Ulotap"), ("Krupla", "Lpurka"), ("Mávola", "Lavomá")])
def test_a_pair_uses_the_same_letters_as_often(pair: tuple[str, str]) -> None:
    one, other = (Counter("".join(words(name, 2000))) for name in pair)
    for letter in ALPHABET:
        expected = (one[letter] + other[letter]) / 2
        assert abs(one[letter] - other[letter]) <= 6 * math.sqrt(2 * expected + 1), letter


def test_invented_words_are_of_one_split_whatever_is_drawn() -> None:
    seen: dict[str, str] = {}
    for seed in range(2):
        data = TextClassification(num_samples=1200, seed=seed)
        for split in SPLITS:
            for text, _ in shown(data, split):
                assert seen.setdefault(text, split) == split
    assert len(seen) > 2000


@pytest.mark.needs("datasets")
def test_order_tells_what_letters_do_not() -> None:
    from sklearn import linear_model as linear

    data = TextClassification()

    def features(split: Any, pairs: bool) -> np.ndarray:
        part, size = data.split(split), len(data.encoder.vocabulary)
        inputs = part.inputs.numpy()
        numbers = inputs[:, :-1] * size + inputs[:, 1:] if pairs else inputs
        bag = np.zeros((len(part), size**2 if pairs else size), np.float32)
        np.add.at(bag, (np.arange(len(part))[:, None], numbers), 1)
        return bag

    scores = []
    for pairs in (False, True):
        classifier = linear.LogisticRegression(max_iter=200, tol=1e-2)
        classifier.fit(features("train", pairs), data.split("train").targets.numpy())
        scores.append(classifier.score(features("test", pairs), data.split("test").targets.numpy()))
    assert 0.4 < scores[0] < 0.65 < 0.75 < scores[1] < 0.98


@pytest.mark.slow
def test_a_network_learns_them(train: Train) -> None:
    overrides = ("data.num_samples=6000", "data.batch_size=32", "optimizer.lr=0.005", "trainer.max_epochs=6")
    metrics = train("data=text_classification", *overrides, "instruments=none").metrics
    assert metrics["test/accuracy"] > 0.87
    assert metrics["test/loss"] < 0.4 < metrics["baseline/naive_bayes/loss"] < metrics["baseline/loss"]


def test_the_baseline_that_counts_letters_is_reported(train: Train) -> None:
    outcome = train("data=text_classification", "instruments=none")
    data = TextClassification(num_samples=40, batch_size=8)
    said, targets = data.predictors()["naive_bayes"], data.split("test").targets
    nats = float(torch.nn.functional.cross_entropy(said, targets))
    assert outcome.metrics["baseline/naive_bayes/loss"] == pytest.approx(nats, rel=1e-5)
    right = (said.argmax(1) == targets).double().mean()
    assert outcome.metrics["baseline/naive_bayes/accuracy"] == pytest.approx(float(right))
    checkpoint = read_checkpoint(outcome.directory.best_checkpoint)
    assert checkpoint["TextClassification"] == data.state_dict()
    assert yaml.safe_load((outcome.directory.path / "config.yaml").read_text())["data"]["vocabulary"] is None


def test_words_of_an_invented_language_are_no_vocabulary() -> None:
    with pytest.raises(InputError, match=r"data\.unit=word: the invented languages"):
        TextClassification(unit="word")


# ---- word lists ----------------------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    dictionaries, spelling = tmp_path / "dict", tmp_path / "hunspell"
    for place in (dictionaries, spelling):
        place.mkdir()
    monkeypatch.setattr(word_lists, "DICT", dictionaries)
    monkeypatch.setattr(word_lists, "HUNSPELL", (spelling,))
    return dictionaries, spelling


def test_the_word_lists_of_the_machine_are_a_class_a_language(places: tuple[Path, Path]) -> None:
    dictionaries, _ = places
    for name in ("american-english", "british-english", "ngerman", "klingon"):
        (dictionaries / name).write_text("".join(f"{name[:3]}{chr(97 + i)}\n" for i in range(20)))
    (dictionaries / "words").symlink_to(dictionaries / "ngerman")
    (dictionaries / "README.select-wordlist").write_text("no words")
    data = TextClassification(built_in="word_lists")
    assert data.spec.target.names == ("English", "German", "Klingon")
    assert data.spec.note.startswith("60 texts")
    assert {text[:3] for text, name in shown(data, "train") if name == "English"} == {"ame"}


def test_spelling_dictionaries_are_read_in_their_encoding(places: tuple[Path, Path]) -> None:
    _, spelling = places
    (spelling / "de_DE.aff").write_bytes(b"# x\nSET ISO8859-1\n")
    (spelling / "de_DE.dic").write_bytes("5\nbär/Ab\nmaß\tpo:noun\nüb/\nöl\nweg\n".encode("latin-1"))
    (spelling / "de_AT.dic").write_bytes(b"1\nheuer\n")
    (spelling / "fr.aff").write_bytes(b"SET UTF-8\n")
    (spelling / "fr.dic").write_text("5\nété/X\nmoi\ntoi\nlui\nelle\n", "utf-8")
    found = list(word_lists.read_word_lists())
    assert found[:5] == [("bär", "de"), ("maß", "de"), ("üb", "de"), ("öl", "de"), ("weg", "de")]
    assert ("été", "fr") in found and len(found) == 10
    (spelling / "fr.aff").write_bytes(b"SET ascii\n")
    with pytest.raises(InputError, match=r"fr\.dic cannot be read as ascii, which fr\.aff states"):
        list(word_lists.read_word_lists())


@pytest.mark.parametrize("lists", [[], ["ngerman"], ["american-english", "british-english"]])
def test_a_machine_without_word_lists_is_told_what_to_install(lists: list[str], places: tuple[Path, Path]) -> None:
    for name in lists:
        (places[0] / name).write_text("word\n")
    with pytest.raises(InputError, match=r"needs lists of two languages .* wamerican wdutch") as error:
        TextClassification(built_in="word_lists")
    assert ("has one" if lists else "has none") in str(error.value)
    assert "\n" not in str(error.value)
