"""Whatever is typed and whatever a file holds: it works, or it is refused in one line, and nothing is left behind.

``make fuzz N=5000 SEED=1`` tries more of each kind, and other ones.
"""

import contextlib
import os
import random
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bad_files import CLASSES, CSV, LINES, TS, WORDS, spoilt
from conftest import compose
from wrong_configs import wrong_config, wrong_override

from rnnlab.commands import train as train_command
from rnnlab.commands.changed import override
from rnnlab.configs import flat_keys
from rnnlab.errors import InputError, RunFailed
from rnnlab.runs import execution
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.trainer import build_trainer

CASES = int(os.environ.get("RNNLAB_FUZZ_CASES", "0"))
"""Of each kind; 0 for as many as take a few seconds."""
SEED = int(os.environ.get("RNNLAB_FUZZ_SEED", "0"))
SMALL = ("data.num_samples=40", "data.batch_size=8", "trainer.max_epochs=1", "trainer.accelerator=cpu")
SMALL += ("model.hidden_size=4", "trainer.progress=none")


def rngs(kind: str, few: int) -> Iterator[random.Random]:
    """A generator for each case, which its number tells, so that a case that fails can be tried alone."""
    for number in range(CASES or few):
        yield random.Random(f"{SEED}/{kind}/{number}")


def check(config: dict[str, Any]) -> None:
    """All that happens to a config before a run trains."""
    run = execution.prepare(config)
    options = {name: value for name, value in run.config["trainer"].items() if name != "_target_"}
    build_trainer(Path(), [], [], **options)


@contextlib.contextmanager
def refused_in_a_line(case: str, failures: list[str]) -> Iterator[None]:
    """Lets pass what works, and what is refused as it should be; notes everything else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (InputError, RunFailed) as error:
        message = str(error)
        if not message.strip() or "\n" in message or len(message) > 3000:
            failures.append(f"{case}: {type(error).__name__}, not in a line: {message[:300]!r}")
    except Exception as error:  # noqa: BLE001 whatever it is, it is none of the two
        failures.append(f"{case}: {type(error).__name__}: {str(error)[:300]}")


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test works in an empty directory, with an empty one for temporary files, which stay empty."""
    work, temporary = tmp_path / "work", tmp_path / "tmp"
    work.mkdir()
    temporary.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield
    assert [path.name for place in (work, temporary) for path in place.rglob("*")] == []


@pytest.mark.parametrize(
    "choices",
    [("data=sine",), ("data=classification", "model=lstm", "scheduler=cosine"), ("data=parity", "model=min_gru")],
    ids=lambda choices: choices[0].removeprefix("data="),
)
def test_wrong_configs(choices: tuple[str, ...]) -> None:
    right = compose(*SMALL, *choices)
    check(right)
    failures: list[str] = []
    for rng in rngs(f"config {choices}", 60):
        config, changes = wrong_config(right, rng)
        with refused_in_a_line(changes, failures):
            check(config)
    assert not failures, "\n".join(failures)


def test_wrong_overrides(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    keys = list(flat_keys(compose(*SMALL)))
    failures: list[str] = []

    def pretend(directory: RunDirectory, config: dict[str, Any], **_: Any) -> None:
        check(config)
        raise InputError("fine, and nothing is trained")

    monkeypatch.setattr(execution, "execute", pretend)
    for rng in rngs("override", 25):
        overrides = [wrong_override(keys, rng) for _ in range(rng.choice((1, 1, 2)))]
        with refused_in_a_line(str(overrides)[:200], failures):
            try:
                status = train_command.main([*SMALL, "instruments=none", *overrides])
            except SystemExit as end:
                status = int(end.code or 0)
            said = capsys.readouterr().err
            if status != 2 or said.count("\n") != 1:
                failures.append(f"{str(overrides)[:200]}: status {status}, said {said[:300]!r}")
    assert not failures, "\n".join(failures)


def test_wrong_overrides_of_a_run_that_is_there() -> None:
    right = compose(*SMALL)
    keys = list(flat_keys(right))
    failures: list[str] = []
    for rng in rngs("evaluate", 40):
        wrong = wrong_override(keys, rng)
        with refused_in_a_line(wrong[:200], failures):
            override(right, [wrong])
    assert not failures, "\n".join(failures)


FILES = {
    "csv": (CSV, "a.csv", ("data=csv", "data.target=y", "data.time=time", "data.length=4", "data.num_samples=null")),
    "csv without times": (CSV, "a.csv", ("data=csv", "data.target=[y,x]", "data.length=4", "data.num_samples=null")),
    "text": (WORDS, "a.txt", ("data=text", "data.length=8", "data.num_samples=null")),
    "words": (WORDS, "a.txt", ("data=text", "data.unit=word", "data.length=8", "data.num_samples=null")),
    "classes": (CLASSES, "a.csv", ("data=text_classification", "data.num_samples=null")),
    "ts": (TS, "a.ts", ("data=ucr", "data.num_samples=null")),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.few("text", "words")
def test_bad_training_files(kind: str, tmp_path: Path) -> None:
    content, name, choices = FILES[kind]
    file = tmp_path / name
    config = compose(*SMALL, *choices, f"data.path={file}", "instruments=none")
    failures: list[str] = []
    for number, rng in enumerate(rngs(f"file {kind}", 40)):
        file.write_bytes(content if not number else spoilt(content, rng))
        with refused_in_a_line(f"case {number} of {kind}, {file.read_bytes()[:120]!r}", failures):
            run = execution.prepare(config)
            run.data.setup("fit")
    assert not failures, "\n".join(failures)


def reader(*choices: str) -> Any:
    return execution.prepare(compose(*SMALL, *choices, "instruments=none")).data.reader


@pytest.mark.parametrize(
    ("choices", "content", "format"),
    [
        (("data=sine",), LINES, "jsonl"),
        (("data=sine",), b"f0\n1\n2\n3\n", "csv"),
        (("data=tokens",), b"1 2 3\n4 5\n", "text"),
        (("data=csv",), CSV.replace(b"time,y,x", b"date,sales,promotion"), "csv"),
        (("data=text_classification",), b'{"text": "abc"}\n{"text": "d"}\n', "jsonl"),
    ],
    ids=["features", "csv", "tokens", "series", "texts"],
)
def test_bad_new_data(choices: tuple[str, ...], content: bytes, format: Any, tmp_path: Path) -> None:
    reads = reader(*choices)
    file = tmp_path / "new"
    failures: list[str] = []
    for number, rng in enumerate(rngs(f"new {choices} {format}", 40)):
        file.write_bytes(spoilt(content, rng))
        with refused_in_a_line(f"case {number}, {file.read_bytes()[:120]!r}", failures):
            source = reads.open(file, format)
            if hasattr(reads, "histories"):
                reads.histories(source)
            else:
                list(reads.read(source))
    assert not failures, "\n".join(failures)
