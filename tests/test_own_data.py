"""What the documentation says of one's own data holds: its class and config, written where they say, train."""

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "pages" / "own_data.md").read_text(encoding="utf-8")
FEW = ["trainer.max_epochs=1", "trainer=cpu", "instruments=none", "hydra.run.dir=run"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with the files of the page, and small data for its commands."""
    for path, text in re.findall(r'^```(?:python|yaml) title="([^"]+)"\n(.*?)^```$', TEXT, re.MULTILINE | re.DOTALL):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    rng = np.random.default_rng(0)
    for folder in ("recordings", "notes", "names", "steps"):
        (tmp_path / folder).mkdir()
    for number in range(12):
        for sensor, size in (("hip", 0.1), ("wrist", 1.0)):
            np.save(tmp_path / "recordings" / f"{sensor}-{number}.npy", size * rng.standard_normal((60, 3)))
    days = [f"2024-{month:02}-{day:02}" for month in range(1, 7) for day in range(1, 29)]
    lines = ["day,shop,sales", *(f"{day},north,{100 + 10 * (i % 7)}" for i, day in enumerate(days))]
    (tmp_path / "sales.csv").write_text("\n".join(lines) + "\n")
    words = "the cat sat on the mat and the dog sat on the rug\n" * 400
    (tmp_path / "book.txt").write_text(words)
    (tmp_path / "notes" / "a.md").write_text(words)
    for name, endings in (("Italian", ("ini", "etti", "ossi")), ("Polish", ("ski", "wicz", "czyk"))):
        rows = [f"{a}{b}{end}" for a in "BCDFGKLMNPRST" for b in ("a", "o", "al", "or") for end in endings]
        (tmp_path / "names" / f"{name}.txt").write_text("\n".join(rows) + "\n")
    reviews = [f"it was {'good' if i % 2 else 'bad'} number {i},{'yes' if i % 2 else 'no'}" for i in range(60)]
    (tmp_path / "reviews.csv").write_text("text,label\n" + "\n".join(reviews) + "\n")
    notes = [f"tune{i},{step},{60 + (step + i) % 7}" for i in range(20) for step in range(12)]
    (tmp_path / "tunes.csv").write_text("sequence,step,note\n" + "\n".join(notes) + "\n")
    ((path, head),) = re.findall(r'^```text title="([^"]+\.ts)"\n(.*?@data\n)', TEXT, re.MULTILINE | re.DOTALL)
    rows = [f"0.{i},0.4,0.2:1.0,0.9,1.{i}:{'walk' if i % 2 else 'run'}" for i in range(40)]
    (tmp_path / path).write_text(head + "\n".join(rows) + "\n")
    for block in re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL):
        if "stays.csv" in block or "moves.csv" in block:
            with contextlib.chdir(tmp_path):
                exec(block, {})
    return tmp_path


COMMANDS = re.findall(r"^rnnlab (train .*)$", TEXT, re.MULTILINE)


# several processes, each of which imports torch
@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: re.sub(r"\W+", "_", command)[6:40])
def test_every_command_of_the_page_trains(place: Path, command: str) -> None:
    # the days of the example have gaps, since each of its months has 28
    gaps = ["data.gaps=ignore"] if "sales.csv" in command else []
    # a readout in closed form has no budget, and refuses one
    few = [each for each in FEW if not (each.startswith("trainer.max_") and "model=esn" in command)]
    done = subprocess.run(
        [sys.executable, "-m", "rnnlab", *shlex.split(command, comments=True), *gaps, *few],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((place / "run" / "status.json").read_text())["state"] == "done"


def test_the_page_has_a_command_for_each_kind() -> None:
    named = set(re.findall(r"data=(\w+)", " ".join(COMMANDS)))
    assert named == {"csv", "table", "text", "text_classification", "ucr", "motion", "piano_roll"}
