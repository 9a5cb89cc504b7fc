"""`rnnlab start` on sounds, pairs of texts and images: what it sees, and that what it prints trains."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rnnlab.commands import train as train_command
from rnnlab.errors import InputError
from rnnlab.start.advice import LINES, commands, lines
from rnnlab.start.description import Examples, Labelled, PlainText, Unclear
from rnnlab.start.look import look

ENGLISH, SPANISH = "one two three four five six seven".split(), "uno dos tres cuatro cinco seis siete".split()


def sentences(number: int = 60) -> list[tuple[str, str]]:
    rng = np.random.default_rng(0)
    every = [rng.integers(7, size=int(rng.integers(2, 6))) for _ in range(number)]
    return [(" ".join(ENGLISH[k] for k in part), " ".join(SPANISH[k] for k in part)) for part in every]


def rows(path: Path, *header: str, separator: str = "\t", third: str = "") -> Path:
    more = f"{separator}{third}" if third else ""
    path.write_text("".join(f"{line}\n" for line in [*header, *(separator.join(pair) + more for pair in sentences())]))
    return path


def parallel(folder: Path) -> Path:
    for side, name in enumerate(("train.en", "train.es")):
        (folder / name).write_text("".join(f"{pair[side]}\n" for pair in sentences()))
    return folder


def catalogue(path: Path) -> Path:
    entries = "".join(f'msgid "{a} {k}"\nmsgstr "{b} {k}"\n\n' for k, (a, b) in enumerate(sentences()))
    path.write_text(f'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n{entries}')
    return path


def sounds(folder: Path, number: int = 15, rates: Sequence[int] = (8000,)) -> list[Path]:
    import soundfile

    paths = [folder / f"{k}.wav" for k in range(number)]
    folder.mkdir(parents=True, exist_ok=True)
    for k, path in enumerate(paths):
        soundfile.write(path, 0.1 * np.random.default_rng(k).standard_normal(4000), rates[k % len(rates)])
    return paths


def spoken(folder: Path, header: str = "path,text,speaker", **options: Any) -> Path:
    names = [path.name for path in sounds(folder, **options)]
    (folder / "table.csv").write_text(
        "\n".join([header, *(f"{name},{ENGLISH[k % 3]},s{k % 4}" for k, name in enumerate(names))])
    )
    return folder


def lj(folder: Path) -> Path:
    names = [path.stem for path in sounds(folder / "wavs")]
    (folder / "metadata.csv").write_text("".join(f"{name}|Raw|{ENGLISH[k % 3]}\n" for k, name in enumerate(names)))
    return folder / "metadata.csv"


def commands_of_one_word(folder: Path) -> Path:
    for name in ("yes", "no"):
        sounds(folder / name, 3)
    return folder


def images(folder: Path, names: Sequence[str], mode: str = "L", grows: int = 0) -> Path:
    for k, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        size = (12 + grows * k, 12)
        Image.effect_noise(size, 50).convert(mode).save(folder / name)
    return folder


def captions(folder: Path, header: str = "image,caption") -> Path:
    names = [f"{k}.png" for k in range(20)]
    images(folder, names, "RGB")
    (folder / "said.csv").write_text(
        "\n".join([header, *(f"{name},a {ENGLISH[k % 4]}" for k, name in enumerate(names))])
    )
    return folder


@dataclass(frozen=True)
class Case:
    """What is written into a folder, the data set that it is taken for, overrides beside its path, and what is said."""

    make: Callable[[Path], Path]
    data: str
    keys: dict[str, Any] = field(default_factory=dict)
    said: tuple[str, ...] = ()


WORDS = {"data.unit": "word", "data.target_unit": "word"}
SOUND = pytest.mark.needs("soundfile")
CASES = {
    "tabs": Case(lambda folder: rows(folder / "a.tsv"), "pairs", WORDS, ("60 pairs", "word by word: 2 to 5, 7")),
    "sentence_pairs": Case(lambda folder: rows(folder / "spa.txt", third="CC-BY 2.0 tatoeba.org"), "pairs", WORDS),
    "known_header": Case(lambda folder: rows(folder / "a.csv", "source,target", separator=","), "pairs", WORDS),
    "header": Case(
        lambda folder: rows(folder / "a.csv", "english,spanish", separator=","), "pairs",
        {"data.source_column": "english", "data.target_column": "spanish", **WORDS},
    ),
    "parallel": Case(parallel, "pairs", WORDS, ("two files, a text a line",)),
    "one_of_two": Case(lambda folder: parallel(folder) / "train.en", "pairs", WORDS, ("60 pairs",)),
    "catalogue": Case(lambda folder: catalogue(folder / "es.po"), "pairs", WORDS, ("a catalogue",)),
    "table_of_sounds": Case(
        spoken, "speech", {"data.unit": "word"}, ("15 sounds", "8,000 samples a second", "4: s0, s1, s2, s3")
    ),
    "lj": Case(lj, "speech", {"data.unit": "word"}, ("15 sounds", "0.5 to 0.5 seconds")),
    "classes": Case(
        lambda folder: images(folder, [f"{'ab'[k % 2]}/{k}.png" for k in range(20)]), "frames", {},
        ("20 images with a class", "12 x 12 pixels, grey"),
    ),
    "sizes": Case(
        lambda folder: images(folder, [f"{'ab'[k % 2]}/{k}.png" for k in range(20)], "RGB", grows=1), "frames",
        {"data.frame_size": 32, "data.color": True}, ("20 sizes",),
    ),
    "clips_of_classes": Case(
        lambda folder: images(folder, [f"{'ab'[k % 2]}/{k}/{n}.png" for k in range(10) for n in range(4)]), "frames",
        {}, ("10 clips with a class", "4 to 4 a clip"),
    ),
    "clips": Case(
        lambda folder: images(folder, [f"clip{k}/{n}.png" for k in range(10) for n in range(4)]), "video", {},
        ("10 clips of frames",),
    ),
    "captions": Case(captions, "captions", {}, ("20 images and what is to be said", "5 different")),
    "other_captions": Case(
        lambda folder: captions(folder, "file,words") / "said.csv", "captions",
        {"data.image_column": "file", "data.caption_column": "words"},
    ),
}  # fmt: skip
NEEDS = {"table_of_sounds": SOUND, "lj": SOUND, "catalogue": pytest.mark.needs("pairs")}


def marked(*names: str) -> list[Any]:
    return [pytest.param(name, marks=NEEDS.get(name, ())) for name in names]


@pytest.mark.parametrize("name", marked(*CASES))
def test_what_it_takes_them_for(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    found = look(case.make(tmp_path))
    assert isinstance(found, Examples), lines(found)
    keys = {
        **case.keys,
        **({"data.target_path": str(tmp_path / "train.es")} if (tmp_path / "train.es").exists() else {}),
    }
    assert (found.data, dict(found.keys)) == (case.data, keys)
    text = "\n".join(line for _, line in lines(found))
    assert all(words in text for words in case.said), text
    assert len(lines(found)) <= LINES
    assert commands(found)[0].words[:2] == ("train", f"data={case.data}")


@pytest.mark.slow
@pytest.mark.parametrize("name", marked("header", "one_of_two", "lj", "sizes", "clips", "other_captions"))
def test_the_first_command_trains(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = commands(look(CASES[name].make(tmp_path)))[0].words[1:]
    small = ("trainer.max_steps=2", "trainer.accelerator=cpu", "instruments=none", "model.hidden_size=4")
    assert train_command.main([*words, *small, f"hydra.run.dir={tmp_path}_run"]) == 0, capsys.readouterr().err


def half_a_pair(folder: Path) -> Path:
    file = rows(folder / "a.tsv")
    file.write_text(f"{file.read_text()}six\t\n")
    return file


def missing_sound(folder: Path) -> Path:
    (spoken(folder) / "3.wav").unlink()
    return folder


def broken_image(folder: Path) -> Path:
    (images(folder, [f"{'ab'[k % 2]}/{k}.png" for k in range(20)]) / "a/2.png").write_text("none")
    return folder


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (half_a_pair, "line 61: the second side of this pair is empty"),
        pytest.param(missing_sound, "row 4: there is no file", marks=SOUND),
        pytest.param(lambda folder: sounds(folder)[0].parent, "no transcripts: a folder has a", marks=SOUND),
        pytest.param(lambda folder: spoken(folder, rates=(8000, 16000)), "8 of 8,000 Hz, 7 of 16,000 Hz", marks=SOUND),
        pytest.param(commands_of_one_word, "sounds in 2 folders (no, yes)", marks=SOUND),
        (broken_image, "2.png is no image"),
        (lambda folder: images(folder, ["a.png", "b.png", "c.png"]), "images without a class or a caption"),
    ],
)
def test_what_cannot_be_trained_is_said(make: Callable[[Path], Path], said: str, tmp_path: Path) -> None:
    found = look(make(tmp_path))
    assert isinstance(found, Unclear) and not commands(found)
    assert said in "\n".join(line for _, line in lines(found))


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.png"])
def test_one_by_itself_is_no_data_to_train_on(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=r"rnnlab predict RUN --input"):
        look(tmp_path / name)


def test_what_only_looks_like_pairs_is_not_taken_for_them(tmp_path: Path) -> None:
    labelled = tmp_path / "labelled.tsv"
    labelled.write_text("text\tlabel\n" + "".join(f"it is film {k}\t{'ab'[k % 2]}\n" for k in range(60)))
    assert isinstance(look(labelled), Labelled)
    opposites = tmp_path / "opposites"
    opposites.mkdir()
    for name in ("pos", "neg"):
        (opposites / f"{name}.txt").write_text("".join(f"film {name} {k}.\n" for k in range(20)))
    assert isinstance(look(opposites), Labelled)
    (tmp_path / "book.txt").write_text("".join(f"{text}.\n" for text, _ in sentences()))
    (tmp_path / "book.md").write_text("one line\n")
    assert isinstance(look(tmp_path / "book.txt"), PlainText)
