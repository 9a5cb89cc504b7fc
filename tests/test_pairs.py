"""Pairs of texts of one's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnlab import load
from rnnlab.data.pairs import Pairs
from rnnlab.data.place_names import PlaceNames
from rnnlab.data.pronunciation import Pronunciation
from rnnlab.errors import InputError
from rnnlab.runs.execution import Outcome
from rnnlab.spec import IGNORED

Train = Callable[..., Outcome]
TSV = "".join(f"word{i}\tdrow{i}\n" for i in range(30))


def pairs(folder: Path, name: str, text: str, **options: Any) -> Pairs:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return Pairs(path=str(file), **options)


def told(data: Pairs, split: Any = "train") -> set[tuple[str, str]]:
    """The pairs of a split, from its numbers."""
    ours, theirs = data.encoders
    found = set()
    for sample in (data.sample(np.random.default_rng(i), split, i) for i in range(data.size(split))):
        assert not isinstance(sample.target, int)
        said = [theirs.vocabulary[k] for k in sample.target.tolist() if k < len(theirs.vocabulary)]
        found.add(("".join(ours.vocabulary[k] for k in sample.inputs.tolist()), "".join(said)))
    return found


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("a.tsv", TSV, {}),
        ("a.txt", TSV.replace("\n", "\tCC-BY 2.0 (France)\n"), {}),
        ("a.csv", "source,target\n" + TSV.replace("\t", ","), {}),
        ("b.csv", "fra;x;eng\n" + "".join(f"drow{i};9;word{i}\n" for i in range(30)),
         {"source_column": "eng", "target_column": "fra"}),
        ("a.jsonl", "".join(f'{{"q": "word{i}", "a": "drow{i}"}}\n' for i in range(30)), {}),
        ("blank.tsv", "\n" + TSV + "\n\n", {}),
    ],
)  # fmt: skip
def test_every_form_of_a_file_holds_the_same_pairs(
    tmp_path: Path, name: str, text: str, options: dict[str, Any]
) -> None:
    data = pairs(tmp_path, name, text, **options)
    every = told(data) | told(data, "val") | told(data, "test")
    assert len(every) == 30
    assert {source.replace("word", "drow") for source, _ in told(data)} == {target for _, target in told(data)}


def test_two_files_beside_each_other(tmp_path: Path) -> None:
    other = tmp_path / "b.fr"
    other.write_text("".join(f"drow{i}\n" for i in range(30)))
    data = pairs(tmp_path, "a.en", "".join(f"word{i}\n" for i in range(30)), target_path=str(other))
    assert len(told(data)) == 24
    other.write_text("drow\n")
    with pytest.raises(InputError, match=r"a\.en has 30 lines, and data\.target_path=.*b\.fr has 1"):
        told(pairs(tmp_path, "a.en", "".join(f"word{i}\n" for i in range(30)), target_path=str(other)))


def test_several_answers_are_all_right_and_stay_together(tmp_path: Path) -> None:
    text = "".join(f"w{i}\tone{i}\nw{i}\tuno{i}\n" for i in range(20))
    data = pairs(tmp_path, "a.tsv", text)
    assert [data.size(split) for split in ("train", "val", "test")] == [32, 2, 2]  # type: ignore[arg-type]
    test = data.split("test")
    assert test.others is not None and test.others.shape[:2] == (2, 1)
    _, theirs = data.encoders
    for first, second in zip(test.targets.tolist(), test.others[:, 0].tolist(), strict=True):
        one, uno = (
            "".join(theirs.vocabulary[k] for k in row if k != IGNORED and k < len(theirs.vocabulary))
            for row in (first, second)
        )
        assert one[3:] == uno[3:]
    sources = [{source for source, _ in told(data, split)} for split in ("train", "val", "test")]
    assert len(set.union(*sources)) == sum(map(len, sources)) == 20
    assert "20 texts have several right answers" in data.note


@pytest.mark.parametrize(
    ("name", "text", "options", "message"),
    [
        ("a.txt", TSV + "one side\n", {}, r"a\.txt, line 31: 1 column \('one side'\), and a pair has two sides"),
        ("a.tsv", TSV + "x\t \n", {}, r"a\.tsv, line 31: the second side of this pair is empty"),
        ("a.tsv", "\ty\n" + TSV, {}, r"a\.tsv, line 1: the first side of this pair is empty"),
        ("a.csv", "eng,fra\n" + TSV.replace("\t", ","), {"source_column": "en"}, r"data\.source_column=en.*'eng'"),
        ("a.tsv", TSV, {"source_column": "eng", "header": "no"}, r"data\.header=no"),
        ("a.tsv", "a\tb\n", {}, "has 1 different text to read"),
        ("a.tsv", "", {}, "this file is empty"),
        ("a.tsv", TSV, {"max_length": 3}, r"data\.max_length=3"),
        ("a.tsv", TSV, {"shared_vocabulary": True, "unit": "byte"}, r"data\.shared_vocabulary=true"),
        ("a.jsonl", '{"q": "a"}\n', {}, r"has one column \(q\)"),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, name: str, text: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        told(pairs(tmp_path, name, text, **options))
    assert "\n" not in str(error.value)


PO = (
    """msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\\nPlural-Forms: nplurals=2; plural=(n != 1);\\n"

"""
    + "".join(f'msgid "word{i}"\nmsgstr "drow{i}"\n\n' for i in range(28))
    + """msgid "one file"
msgid_plural "many files"
msgstr[0] "une"
msgstr[1] "plusieurs"

#, fuzzy
msgid "guessed"
msgstr "unchecked"

msgid "open"
msgstr ""
"""
)


@pytest.mark.needs("pairs")
def test_catalogues_hold_what_is_translated(tmp_path: Path) -> None:
    data = pairs(tmp_path, "fr.po", PO)
    assert len(data._answers) == 30
    assert data._answers["one file"] == ["une"] and data._answers["many files"] == ["plusieurs"]
    import polib

    polib.pofile(str(tmp_path / "fr.po")).save_as_mofile(str(tmp_path / "fr.mo"))
    assert Pairs(path=str(tmp_path / "fr.mo"))._answers == data._answers
    for name, content in (
        ("a.po", b"msgid\nno\n"),
        ("a.mo", b"not one"),
        ("b.mo", bytes.fromhex("de120495") + b"x" * 40),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name} (is no catalogue of gettext|: there is no pair)"):
            told(Pairs(path=str(tmp_path / name)))
    with pytest.raises(InputError, match=r"data\.source_column=eng: the catalogue"):
        told(Pairs(path=str(tmp_path / "fr.po"), source_column="eng"))


def test_more_pairs_leave_those_of_fewer_where_they_are(tmp_path: Path) -> None:
    few, many = (pairs(tmp_path, "a.tsv", TSV, num_samples=number) for number in (15, 28))
    for split in ("train", "val", "test"):
        assert told(few, split) <= told(many, split)
    assert sum(many.size(split) for split in ("train", "val", "test")) == 28  # type: ignore[arg-type]


def test_a_batch_is_padded_to_its_own_longest_on_both_sides(tmp_path: Path) -> None:
    lines = "".join(f"{'a' * (i + 1)}\t{'b' * (40 - i)}\n" for i in range(40))
    split = pairs(tmp_path, "a.tsv", lines).split("train")
    assert split.lengths is not None and split.target_lengths is not None and split.others is None
    index = split.lengths.argsort()[:3]
    batch = split.batch(index)
    assert batch.lengths is not None and batch.inputs.shape == (3, int(batch.lengths.max()))
    assert batch.targets.shape == (3, int(split.target_lengths[index].max()))
    assert ((batch.targets == IGNORED).sum(1) == batch.targets.shape[1] - split.target_lengths[index]).all()


def test_the_dictionary_says_what_most_often_stands_at_the_place_of_a_token(tmp_path: Path) -> None:
    text = "".join(f"one two {k}\tuno dos\n" for k in range(20)) + "".join(f"two {k}\tdos\n" for k in range(20))
    data = pairs(tmp_path, "a.tsv", text, unit="word", target_unit="word")
    spec = data.spec
    meant = {spec.input.names[k]: spec.target.names[v] for k, v in enumerate(spec.dictionary) if v >= 0}
    assert meant["one"] == "uno" and meant["two"] == "dos"
    assert spec.dictionary[0] == -1  # nobody reads <unk> in training


@pytest.mark.needs("pairs")
def test_words_and_names_of_the_packages() -> None:
    spoken = Pronunciation(num_samples=300)
    assert spoken.spec.target.unit == "phoneme" and "AA" in spoken.spec.target.names
    assert not any(name[-1].isdigit() for name in spoken.spec.target.names)
    assert any(name[-1].isdigit() for name in Pronunciation(num_samples=300, stress=True).spec.target.names)
    with pytest.raises(InputError, match=r"data\.language=ukk: pycountry has no such language; did you mean '"):
        PlaceNames(language="ukk")
    assert "Гібралтар" in str(PlaceNames(language="uk")._answers["Gibraltar"])


def test_a_dictionary_of_ones_own_and_a_line_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "words.dict"
    file.write_text(
        ";;; by me\n" + "".join(f"w{'a' * k}  W AH{k % 3}  # a word\n" for k in range(1, 30)) + "WA(2) W EY1\n"
    )
    data = Pronunciation(path=str(file))
    assert sum(data.size(split) for split in ("train", "val", "test")) in (29, 30)  # type: ignore[arg-type]
    assert "1 texts have several right answers" in data.note
    file.write_text("word w er d\n")
    with pytest.raises(InputError, match=r"words\.dict, line 1: 'word w er d' is no word with its phonemes"):
        told(Pronunciation(path=str(file)))


def test_shared_tokens_have_one_number(tmp_path: Path) -> None:
    ours, theirs = pairs(tmp_path, "a.tsv", TSV, shared_vocabulary=True).encoders
    assert ours.vocabulary == theirs.vocabulary


def test_a_run_on_pairs_of_bytes_and_words(train: Train, tmp_path: Path) -> None:
    file = tmp_path / "pairs.tsv"
    file.write_text("".join(f"n{i}\tnumber {i % 5}\nn{i}\tthe {i % 5}\n" for i in range(40)))
    outcome = train("data=pairs", f"data.path={file}", "data.num_samples=null", "data.unit=byte",
                    "data.target_unit=word", "model.hidden_size=8", "instruments=none")  # fmt: skip
    names = {"test/word_error_rate", "test/bleu", "test/chrf", "baseline/dictionary/bleu", "baseline/dictionary/chrf"}
    assert names <= set(outcome.metrics)
    file.unlink()  # the run knows its vocabulary
    assert len(load(outcome.directory.path).predict(["n7", "n8"])) == 2
