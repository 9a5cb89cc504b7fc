"""Damage to the files of a run: seeded, and as much of it as one asks for.

A damage is a change of one file that a crash, a full disk, a careless hand or a malicious one could make.
"""

import json
import os
import random
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

FILES = ("status.json", "config.yaml", "metrics.json", "metrics.csv")
CHECKPOINTS = ("checkpoints/best.ckpt", "checkpoints/last.ckpt")
NESTED = 100_000

# what a value may be instead, as JSON has it
VALUES = [
    "null", "true", "5", "-1", "0", "2.5", "1e400", "-1e308", "1" + "0" * 400, "9" * 5000, "NaN", "-Infinity",
    '""', '"abc"', '"\\u001b[31mred\\u0007"', '"\\ud800"', '"../../../etc/passwd"', '"/dev/zero"', '"a\\nb"',
    '"=1+1"', '"[bold]"', '"\\u0000"', '"os.system"', "[]", "[[]]", "[null]", '["a", 1]', "{}", '{"a": {"b": 1}}',
    "[" * 50 + "]" * 50, '"' + "x" * 10_000 + '"', "18446744073709551616", '"2020-13-45"', '"${oc.env:HOME}"',
]  # fmt: skip
TEXTS = {
    "config.yaml": [
        "a: &a [*a]", "a: &a {b: *a}", "<<: {seed: 1}", "seed: !!python/object/apply:os.system ['true']", "- 1",
        "a: b: c",
        "? [1, 2]\n: 3", "seed: 2020-01-01", "seed: !!binary aGk=", "seed: !!set {a}", "a: *nobody", "%YAML 9.9\n---\n",
        "a: &x [1, 2]\nb: &y [*x, *x]\nc: &z [*y, *y]\nd: [*z, *z]", "\t", "a: '", "---\na: 1\n---\nb: 2",
        "\n".join(["a0: &a0 [x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))]),
        "a: " + "[" * NESTED, "a:\n  " + "- " * NESTED + "1", "a: " + "{b: " * NESTED, "12345: 6", "null: 1",
    ],
    "metrics.csv": [
        "epoch,epoch\n1,2\n", "loss\n1\n", "epoch,val/loss\n1e400,1\n", "epoch,val/loss\nnan,1\n", "epoch\n1.5\n",
        'epoch,val/loss\n1,"\n2,3\n', "epoch,val/loss\n" + "9" * 5000 + ",1\n", "epoch,val/loss\n1,2,3\n", "\n\n\n",
        "epoch,val/loss\n-1,1\n", "epoch,val/loss\r1,1\r",
        "epoch," + "," * 20_000 + "\n", "epoch\n" + "1" * 200_000 + "\n",
    ],
}  # fmt: skip
ANY_TEXT = [
    "[" * NESTED,
    '{"a":' * NESTED,
    "null",
    "5",
    '"abc"',
    "[]",
    "{}",
    "[1, 2]",
    "\ufeff{}",
    "{'a': 1}",
    '{"a": 1,}',
]


@dataclass(frozen=True)
class Damage:
    """A change of a file.

    Attributes:
        file: its path in the run directory.
        what: in a word or two, for whoever reads what failed.
        do: changes it, given its path.
    """

    file: str
    what: str
    do: Callable[[Path], None]

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


def damages(seed: int, number: int, files: tuple[str, ...] = FILES) -> Iterator[Damage]:
    """So many damages, the same for the same seed."""
    generator = random.Random(seed)
    for _ in range(number):
        file = generator.choice(files)
        kind = generator.random()
        if file not in CHECKPOINTS and kind < 0.55:
            yield _of_value(file, generator)
        elif file not in CHECKPOINTS and kind < 0.75:
            text = generator.choice([*TEXTS.get(file, []), *ANY_TEXT])
            yield Damage(file, f"text {text[:40]!r}", lambda path, text=text: _write(path, text.encode("utf-8")))
        elif file in CHECKPOINTS and kind < 0.7:
            yield _within(file, generator)
        elif kind < 0.88:
            yield _of_bytes(file, generator)
        else:
            yield _of_kind(file, generator)


def _of_value(file: str, generator: random.Random) -> Damage:
    """A value, or a key, that is another, or not there."""
    place, value = generator.random(), generator.choice(VALUES)
    action = generator.choice(["value", "value", "value", "key", "gone"])

    def do(path: Path) -> None:
        if file == "metrics.csv":
            lines = [line.split(",") for line in path.read_text().splitlines()]
            row = lines[int(place * len(lines))]
            row[int(place * 7919) % len(row)] = "" if action == "gone" else value.strip('"')
            path.write_text("\n".join(map(",".join, lines)) + "\n", errors="replace")
            return
        content = json.loads(path.read_text()) if file.endswith("json") else yaml.safe_load(path.read_text())
        inner, key = _place(content, place)
        if action == "gone":
            del inner[key]
        elif action == "key":
            inner[value[:100]] = inner.pop(key)
        else:
            inner[key] = "@@@"
        text = json.dumps(content) if file.endswith("json") else yaml.safe_dump(content, width=2**20)
        path.write_text(text.replace('"@@@"', value).replace("'@@@'", value).replace("@@@", value))

    return Damage(file, f"{action} {value[:40]} at {place:.3f}", do)


def _place(content: dict[str, Any], place: float) -> tuple[dict[str, Any], str]:
    """A mapping in nested ones and a key of it."""
    places = [(content, key) for key in content]
    for value in content.values():
        if isinstance(value, dict):
            places += [(value, key) for key in value]
    return places[int(place * len(places))]


def _within(file: str, generator: random.Random) -> Damage:
    """A part of a checkpoint that is another, in an archive that is whole."""
    turns = [generator.random() for _ in range(4)]
    value = generator.choice([None, 5, -1, "abc", [], {}, 1e308, "gone", float("nan"), torch.zeros(2), [[]], {"a": 1}])

    def do(path: Path) -> None:
        checkpoint = inner = torch.load(path, weights_only=True)
        for turn in turns:
            key = list(inner)[int(turn * len(inner))]
            if not isinstance(inner[key], dict) or not inner[key] or turn > 0.8:
                break
            inner = inner[key]
        if isinstance(value, str) and value == "gone":
            del inner[key]
        else:
            inner[key] = value
        torch.save(checkpoint, path)

    return Damage(file, f"part {value!r} at {turns}", do)


def _of_bytes(file: str, generator: random.Random) -> Damage:
    """Bytes that fell over, are missing, or are nobody's."""
    action = generator.choice(["cut", "bit", "bit", "noise", "empty", "zeros", "twice", "huge"])
    place, noise = generator.random(), generator.randbytes(64)

    def do(path: Path) -> None:
        content = path.read_bytes()
        at = int(place * len(content))
        if action == "cut":
            content = content[:at]
        elif action == "bit" and content:
            content = content[:at] + bytes([content[at] ^ (1 << noise[0] % 8)]) + content[at + 1 :]
        elif action == "noise":
            content = content[:at] + noise + content[at:]
        elif action == "twice":
            content += content
        else:
            content = b"" if action == "empty" else b"\0" * len(content) if action == "zeros" else content
        _write(path, content)
        if action == "huge":
            os.truncate(path, 2**40)  # takes no place on the disk

    return Damage(file, f"{action} at {place:.3f}", do)


def _of_kind(file: str, generator: random.Random) -> Damage:
    """Something else than a file."""
    action = generator.choice(["gone", "directory", "fifo", "link", "dangling", "loop", "device", "socket"])

    def do(path: Path) -> None:
        path.unlink()
        if action == "directory":
            path.mkdir()
        elif action == "fifo":
            os.mkfifo(path)
        elif action == "socket":
            with socket.socket(socket.AF_UNIX) as made, _in(path.parent):
                made.bind(path.name)  # a whole path may be too long
        elif action != "gone":
            path.symlink_to(
                {"link": "/etc/hostname", "dangling": "nowhere", "loop": path.name, "device": "/dev/zero"}[action]
            )

    return Damage(file, action, do)


class _in:  # noqa: N801 (contextlib.chdir is of Python 3.11)
    def __init__(self, path: Path) -> None:
        self.path, self.before = path, os.getcwd()

    def __enter__(self) -> None:
        os.chdir(self.path)

    def __exit__(self, *_: Any) -> None:
        os.chdir(self.before)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def damaged(run: Path, place: Path, damage: Damage) -> Path:
    """A copy of a run directory with a damage."""
    shutil.copytree(run, place)
    damage.do(place / damage.file)
    return place
