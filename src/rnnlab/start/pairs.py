"""Pairs of texts: two columns, two parallel files, a catalogue of translations."""

import csv
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rnnlab.data.pair_files import CATALOGUES, HEADERS, read_pairs
from rnnlab.data.pairs import Pairs
from rnnlab.errors import InputError
from rnnlab.files.dialect import is_number
from rnnlab.files.lines import is_binary
from rnnlab.start.description import Examples, Extent, Unclear
from rnnlab.start.names import OPPOSITES
from rnnlab.start.sample import START
from rnnlab.start.wording import counted, refused

READ = 50_000
"""Pairs that are looked at."""
HEAD = 500
"""Lines by which a file is known to hold pairs."""
MOST_CLASSES = 200
"""A column of no more different cells may be a class."""
ATTRIBUTIONS = ("cc-by", "tatoeba")
"""In the third column of the well-known sentence pairs."""
SENTENCE = 2.5
"""Words from which texts are read word by word."""
FEW_TOKENS = 120
"""Different words of a side that is no sentences but signs with spaces between, such as phonemes."""
NAMES = (*HEADERS, ("from", "to"), ("original", "translation"))


def look_at_pairs(path: Path, files: Sequence[Path]) -> Examples | Unclear | None:
    """Pairs of texts in a file, or in two parallel ones; ``None`` where there are none.

    Args:
        path: as the person gave it.
        files: below a folder, by name.
    """
    if path.is_dir():
        if len(files) != 2:
            return None
        ours, theirs = _ordered(files[0], files[1])
        return described(ours, {"data.target_path": str(theirs)}) if _parallel(ours, theirs) else None
    suffix = path.suffix.lower()
    if suffix in CATALOGUES:
        return described(path, {})
    if suffix in (".jsonl", ".ndjson", ".parquet", ".ts"):
        return None  # their columns have names, and are looked at as those of any table
    with open(path, "rb") as stream:
        start = stream.read(START)
    if is_binary(start) or not start.strip():
        return None
    keys = _columns(start, suffix)
    if keys is not None:
        return described(path, keys)
    if suffix in (".csv", ".tsv", ".tab"):
        return None
    others = [file for file in sorted(path.parent.glob(f"{path.stem}.*")) if file != path and file.is_file()]
    pairs = [other for other in others if _parallel(path, other)]
    return described(path, {"data.target_path": str(pairs[0])}) if len(pairs) == 1 else None


def _columns(start: bytes, suffix: str) -> dict[str, Any] | None:
    """Overrides by which the two columns of a file are read as pairs; ``None`` where they are none."""
    lines = start.decode("utf-8", "replace").removeprefix("\ufeff").split("\n")
    lines = [line.removesuffix("\r") for line in (lines[:-1] if len(lines) > 1 else lines)][:HEAD]
    lines = [line for line in lines if line.strip()]
    if len(lines) < 4:
        return None
    if suffix == ".csv":
        separator = max(",;\t", key=lines[0].count)
        rows = list(csv.reader(lines, delimiter=separator))
    else:
        rows = [line.split("\t") for line in lines]
    width = len(rows[0])
    if any(len(row) != width for row in rows) or width < 2:
        return None
    third = [row[2].lower() for row in rows if width > 2]
    if width > 2 and not all(any(word in cell for word in ATTRIBUTIONS) for cell in third):
        return None
    first, body = [cell.strip().lower() for cell in rows[0][:2]], rows[1:]
    known = tuple(first) in NAMES
    columns = [[row[k].strip() for row in body] for k in (0, 1)]
    if not known and not all(map(_are_texts, columns)):
        return None
    distinct = [len(set(column)) for column in columns]
    least = min(MOST_CLASSES, len(body) // 3)
    if min(distinct) <= least and not (known and distinct[1] > 2 and tuple(first) != ("text", "target")):
        return None
    if tuple(first) in HEADERS:
        return {}
    # a word over columns of several words is the name of the column
    named = known or all(
        " " not in name and sum(" " in cell for cell in column) > len(column) / 2
        for name, column in zip(first, columns, strict=True)
    )
    return {"data.source_column": rows[0][0].strip(), "data.target_column": rows[0][1].strip()} if named else {}


def _are_texts(cells: Sequence[str]) -> bool:
    """Whether cells have letters, and are no numbers and no dates with signs around them."""
    return sum(any(map(str.isalpha, cell)) and not is_number(cell) for cell in cells) > 0.9 * len(cells)


def _ordered(one: Path, other: Path) -> tuple[Path, Path]:
    """What is read first: ``source`` before ``target``; else by name."""
    for source, target in NAMES:
        if (other.stem.lower(), one.stem.lower()) == (source, target):
            return other, one
    return one, other


def _parallel(one: Path, other: Path) -> bool:
    """Whether two files have a text a line, and as many lines, and names that say that they belong together."""
    stems = (one.stem.lower(), other.stem.lower())
    if stems not in NAMES and not (one.stem == other.stem and one.suffix != other.suffix):
        return False
    if set(stems) in OPPOSITES or any(file.suffix.lower() in (".csv", ".tsv", ".md", ".ts") for file in (one, other)):
        return False
    counts = []
    for file in (one, other):
        with open(file, "rb") as stream:
            if is_binary(stream.read(4096)):
                return False
            stream.seek(0)
            counts.append(sum(1 for _ in stream))
    return counts[0] == counts[1] > 1


def described(path: Path, keys: dict[str, Any]) -> Examples | Unclear:
    """Pairs that are read so.

    Args:
        path: of the file, or of that which is read.
        keys: overrides beside ``data.path``.
    """
    options = {key.removeprefix("data."): value for key, value in keys.items()}
    target_path = options.get("target_path")
    size = path.stat().st_size + (Path(target_path).stat().st_size if target_path else 0)
    form = "two files, a text a line" if target_path else "a catalogue" if path.suffix in CATALOGUES else path.suffix
    about: dict[str, Any] = {"path": path, "form": form.removeprefix(".").upper() if form == path.suffix else form}
    columns = (options.get("source_column"), options.get("target_column"))
    try:
        found = list(
            islice(read_pairs(path, Path(target_path) if target_path else None, *columns, header="auto"), READ + 1)
        )
    except InputError as error:
        return Unclear(
            **about,
            extent=Extent(size, 0, unit="pairs"),
            seen="pairs of texts",
            questions=(refused(error, "them"),),
        )
    whole, found = len(found) <= READ, found[:READ]
    about["extent"] = Extent(size, len(found), whole, "pairs")
    if not found:
        return Unclear(**about, seen="a file without pairs", questions=("give a file with a pair of texts a line",))
    units = [_unit([pair[side] for pair in found]) for side in (0, 1)]
    keys = {
        **keys,
        **{
            key: unit for key, unit in zip(("data.unit", "data.target_unit"), units, strict=True) if unit != "character"
        },
    }
    facts = [
        ("reads", _side([pair[0] for pair in found], units[0])),
        ("says", _side([pair[1] for pair in found], units[1])),
    ]
    first = f"“{found[0][0][:30]}” → “{found[0][1][:30]}”"
    return Examples(
        **about, data="pairs", seen=f"{'' if whole else 'more than '}{counted(len(found), 'pairs')} of texts",
        facts=(("begins", first), *facts), keys=keys, odd=tuple(_odd(found, units)),
        asks="how many texts that it never read does an encoder and decoder with attention answer rightly?",
        more=(({"model.attention": "none"}, "what is the attention worth?"),),
    )  # fmt: skip


def _unit(texts: Sequence[str]) -> str:
    """Of a token: words of sentences, signs with spaces between, or characters."""
    counts = [len(text.split()) for text in texts]
    mean = sum(counts) / len(counts)
    words = Counter(word for text in texts for word in text.split())
    if mean >= SENTENCE and len(words) <= FEW_TOKENS and all(word.upper() == word for word in words):
        return "phoneme"
    return "word" if mean >= SENTENCE else "character"


def _side(texts: Sequence[str], unit: str) -> str:
    many = Counter(token for text in texts for token in (text if unit == "character" else text.split()))
    lengths = [len(text) if unit == "character" else len(text.split()) for text in texts]
    return f"{unit} by {unit}: {min(lengths):,} to {max(lengths):,}, {len(many):,} different ones"


def _odd(found: Sequence[tuple[str, str]], units: Sequence[str]) -> list[str]:
    odd = []
    if doubled := len(found) - len(set(found)):
        odd.append(f"{counted(doubled, 'pairs', 'repeat')} another")
    answers = Counter(source for source, _ in set(found))
    if several := sum(count > 1 for count in answers.values()):
        odd.append(f"{counted(several, 'texts', 'have')} several answers: each of them counts as right")
    if alike := sum(source == target for source, target in found):
        odd.append(f"{counted(alike, 'answers', 'are')} what is read")
    longest = Pairs.max_length
    if longest is not None:
        long = sum(
            max(len(text) if unit == "character" else len(text.split()) for text, unit in zip(pair, units, strict=True))
            > longest
            for pair in found
        )
        if long:
            odd.append(
                f"{counted(long, 'pairs', 'have')} more than {longest} tokens on a side: left out (data.max_length)"
            )
    if len(found) < 1000:
        odd.append(f"{counted(len(found), 'pairs', 'are')} few: a network will learn them by heart")
    return odd
