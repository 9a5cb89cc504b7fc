"""Folders and tables of sounds."""

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rnnlab.data.speech import Speech
from rnnlab.errors import InputError
from rnnlab.files.folders import visible
from rnnlab.files.sound import SUFFIXES, measure
from rnnlab.files.transcripts import LJSPEECH, Utterance, read_utterances
from rnnlab.start.description import Examples, Extent, Unclear
from rnnlab.start.sample import mentions
from rnnlab.start.wording import counted, refused

TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
MEASURED = 5000
"""Files of which the header is read."""
FEW_WORDS, OFTEN = 60, 5
"""Transcripts of so few different words, each so often on average, are learned word by word."""
SHOWN = 60


def is_sound(file: Path) -> bool:
    """Whether a file is one, by its name."""
    return file.suffix.lower() in SUFFIXES


def look_at_sounds(path: Path, files: Sequence[Path]) -> Examples | Unclear | None:
    """Sounds and what is said in them; ``None`` where there are none.

    Args:
        path: as the person gave it: a folder, a table, or transcripts beside sounds.
        files: below a folder, by name.

    Raises:
        InputError: it is one sound by itself, or soundfile is not installed.
    """
    if not path.is_dir():
        if is_sound(path):
            raise InputError(
                f"{path} is one sound: a trained run takes it (rnnlab predict RUN --input {path}); training takes a "
                "folder of sounds and what is said in them: docs/pages/transcription.md"
            )
        place = _place_of(path)
        return None if place is None else _described(place, _sounds_beside(path))
    sounds = [file for file in files if is_sound(file)]
    texts = [file for file in files if file.suffix.lower() == ".txt" and not file.name.endswith(".trans.txt")]
    if len(sounds) < 2 or len(sounds) < len(files) / 2 - len(texts):
        return None
    return _described(path, sounds)


def _place_of(file: Path) -> Path | None:
    """What ``data.path`` is, where a file lists sounds; ``None`` where it does not."""
    if file.name.endswith(".trans.txt") or (file.name == LJSPEECH and (file.parent / "wavs").is_dir()):
        return file.parent
    return file if file.suffix.lower() in TABLES and mentions(file, SUFFIXES) else None


def _sounds_beside(file: Path) -> list[Path]:
    return [each for each in visible(file.parent) if is_sound(each)]


def _described(path: Path, sounds: Sequence[Path]) -> Examples | Unclear:
    about: dict[str, Any] = {
        "path": path, "form": "a folder" if path.is_dir() else f"listed in {path.name}",
        "extent": Extent(sum(file.stat().st_size for file in sounds), len(sounds), unit="files"),
    }  # fmt: skip
    classes = _classes(path, sounds)
    try:
        found = read_utterances(path, f"data.path={path}")
    except InputError as error:
        if classes:
            return Unclear(**about, seen=f"sounds in {len(classes)} folders ({_listed(classes)})", questions=(
                "are the folders classes? No data set reads a class of a sound, but one word can be what is said in "
                f"it: a table of path,text beside them, and data=speech data.unit=word ({_as_table(path)})",
                "or is something said in them? A table of path,text in this folder tells what",
            ))  # fmt: skip
        return Unclear(**about, seen="sounds", questions=(refused(error, "them"),))
    return _of_utterances(path, found, sounds, about)


def _as_table(folder: Path) -> str:
    """A command that lists the sounds of folders that are classes."""
    return (
        f"""cd {shlex.quote(str(folder))}; (echo path,text; for f in */*; do echo "$f,${{f%%/*}}"; done) > table.csv"""
    )


def _classes(path: Path, sounds: Sequence[Path]) -> list[str]:
    """Names of the folders in which all sounds lie, several in each."""
    if not path.is_dir() or any(len(file.relative_to(path).parts) != 2 for file in sounds):
        return []
    counts = Counter(file.relative_to(path).parts[0] for file in sounds)
    return list(counts) if len(counts) > 1 and min(counts.values()) > 1 else []


def _of_utterances(
    path: Path, found: Sequence[Utterance], sounds: Sequence[Path], about: dict[str, Any]
) -> Examples | Unclear:
    every = -(-len(found) // MEASURED)
    try:
        measured = [measure(each.path, f"{each.place}: {each.path.name}") for each in found[::every]]
    except InputError as error:
        return Unclear(**about, seen=f"{counted(len(found), 'sounds')} and what is said in them", questions=(
            refused(error, "them"),
        ))  # fmt: skip
    rates = Counter(rate for _, rate in measured)
    seconds = [samples / rate for samples, rate in measured]
    texts = [each.text.strip() for each in found]
    words = Counter(word for text in texts for word in text.lower().split())
    letters = Counter("".join(texts).lower())
    by_word = len(words) <= FEW_WORDS and sum(words.values()) >= OFTEN * len(words)
    keys: dict[str, Any] = {"data.unit": "word"} if by_word else {}
    speakers, splits = Counter(each.speaker for each in found), Counter(each.split for each in found)
    if len(rates) > 1:
        usual = rates.most_common(1)[0][0]
        other = next(each for each, (_, rate) in zip(found[::every], measured, strict=True) if rate != usual)
        return Unclear(
            **about,
            seen=f"{len(found):,} sounds of {len(rates)} rates, and what is said in them",
            questions=(
                f"training reads one rate: {', '.join(f'{n:,} of {r:,} Hz' for r, n in rates.most_common(4))}; "
                f"resample the others, such as by ffmpeg -i {other.path} -ar {usual} NEW.wav",
            ),
        )
    facts = [
        ("sounds", f"{_span(min(seconds), max(seconds))}, {_time(sum(seconds) * every)} together; "
                   f"{next(iter(rates)):,} samples a second"),
        ("texts", f"{len(words):,} different words, {len(letters):,} characters: {_characters(letters)}"),
        ("unit", "word: few words come again and again" if by_word else "character (data.unit=word: whole words)"),
    ]  # fmt: skip
    if set(speakers) != {""}:
        facts.append(("speakers", f"{len(speakers):,}: {_listed(list(speakers))}"))
    if set(splits) != {""}:
        facts.append(("splits", ", ".join(f"{n:,} {name}" for name, n in splits.items())))
    return Examples(
        **about, data="speech", seen=f"{counted(len(found), 'sounds')} and what is said in them", facts=tuple(facts),
        odd=tuple(_odd(found, sounds, seconds, letters, every)), keys=keys,
        asks="how many characters or words of sounds that it never heard does a GRU get wrong?",
        more=tuple(_more(len(speakers), splits)),
    )  # fmt: skip


def _more(speakers: int, splits: Counter[str]) -> list[tuple[dict[str, Any], str]]:
    found: list[tuple[dict[str, Any], str]] = []
    if speakers > 2 and set(splits) == {""}:
        by = {"data.split_by": "speaker", "data.scaling": "per_speaker"}
        found.append((by, "and of speakers that it never heard?"))
    masks = {"data.augmentation.feature_masking": 0.2, "data.augmentation.step_masking": 0.05}
    found.append(({**masks, "model.encoder": "conv"}, "do convolutions in front and masks over the sound help?"))
    return found


def _odd(
    found: Sequence[Utterance], sounds: Sequence[Path], seconds: Sequence[float], letters: Counter[str], every: int
) -> list[str]:
    odd = []
    longest, hop = Speech.max_seconds, Speech.hop
    assert longest is not None
    if many := sum(each > longest for each in seconds):
        odd.append(
            f"{counted(many * every, 'sounds', 'are')} longer than {longest:g} seconds: left out (data.max_seconds)"
        )
    listed = Counter(each.path.resolve() for each in found)
    if doubled := len(found) - len(listed):
        odd.append(f"{counted(doubled, 'sounds', 'are')} listed twice")
    if more := sum(file.resolve() not in listed for file in sounds):
        odd.append(f"{counted(more, 'sounds', 'have')} no transcript: not read")
    quick = sum(len(each.text) > second / hop for each, second in zip(found[::every], seconds, strict=True))
    if quick:
        odd.append(f"{counted(quick * every, 'transcripts', 'have')} more characters than sounds have steps: refused")
    rare = sorted(letter for letter, count in letters.items() if count < 3)
    if rare:
        odd.append(f"characters that come once or twice: {' '.join(rare[:12])}")
    if any(letter.isdigit() for letter in letters) and any(letter.isalpha() for letter in letters):
        odd.append("digits stand beside words: one spelling of numbers is easier to learn")
    return odd


def _span(low: float, high: float) -> str:
    return f"{low:.1f} to {high:.1f} seconds"


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"


def _characters(letters: Counter[str]) -> str:
    shown = "".join(sorted(letters))[:SHOWN]
    return f"“{shown}{'…' if len(letters) > SHOWN else ''}”"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(sorted(names)[:5]) + (", …" if len(names) > 5 else "")
