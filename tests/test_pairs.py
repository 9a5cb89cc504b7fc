"""Pairs of texts of one's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnlab import load
from rnnlab.data.pairs import Pairs
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


def test_shared_tokens_have_one_number(tmp_path: Path) -> None:
    ours, theirs = pairs(tmp_path, "a.tsv", TSV, shared_vocabulary=True).encoders
    assert ours.vocabulary == theirs.vocabulary


def test_a_run_on_pairs_of_bytes_and_words(train: Train, tmp_path: Path) -> None:
    file = tmp_path / "pairs.tsv"
    file.write_text("".join(f"n{i}\tnumber {i % 5}\nn{i}\tthe {i % 5}\n" for i in range(40)))
    outcome = train("data=pairs", f"data.path={file}", "data.num_samples=null", "data.unit=byte",
                    "data.target_unit=word", "model.hidden_size=8", "instruments=none")  # fmt: skip
    assert "test/word_error_rate" in outcome.metrics
    file.unlink()  # the run knows its vocabulary
    assert len(load(outcome.directory.path).predict(["n7", "n8"])) == 2
