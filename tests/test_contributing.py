"""CONTRIBUTING.md means what it says: its files, added to a copy of the project, train and obey the laws."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', TEXT, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with the files of the examples, and nothing else touched."""
    place = tmp_path_factory.mktemp("copy")
    for folder in ("src", "conf", "tests"):
        shutil.copytree(ROOT / folder, place / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", place)
    for path, text in FILES.items():
        assert not (place / path).exists(), f"{path} is in the project already: the example needs another"
        (place / path).write_text(text, encoding="utf-8")
    return place


def python(copy: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_each_example_is_two_files() -> None:
    for kind, group in (("cells", "model"), ("data", "data"), ("tasks", "task")):
        (code,) = (path for path in FILES if path.startswith(f"src/rnnlab/{kind}/"))
        (config,) = (path for path in FILES if path.startswith(f"conf/{group}/"))
        assert Path(code).stem == Path(config).stem
    assert len(FILES) == 6


def test_the_examples_learn_by_the_command_that_is_given(copy: Path) -> None:
    (command,) = re.findall(r"^rnnlab (train .*task=.*)$", TEXT, re.MULTILINE)
    small = ["data.num_samples=300", "trainer.max_epochs=8", "optimizer.lr=0.02", "trainer=cpu", "instruments=none"]
    done = python(copy, "-m", "rnnlab", *command.split(), *small, "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert json.loads((copy / "run" / "status.json").read_text())["state"] == "done"
    scores = json.loads((copy / "run" / "metrics.json").read_text())
    # a network that cannot remember is no better than the baseline
    assert scores["test/loss"] < 0.5 * scores["baseline/loss"]


@pytest.mark.slow
def test_the_examples_obey_the_laws_of_their_kind(copy: Path) -> None:
    tests = ["tests/test_cells.py", "tests/test_network.py", "tests/test_data.py"]
    done = python(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "minimal_gated_unit or echo", *tests)
    assert done.returncode == 0, done.stdout[-3000:]


def test_the_examples_are_as_clean_as_the_project(copy: Path) -> None:
    code = [path for path in FILES if path.endswith(".py")]
    for arguments in (["ruff", "check"], ["ruff", "format", "--check"]):
        done = python(copy, "-m", *arguments, *code)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_examples_are_typed(copy: Path) -> None:
    done = python(copy, "-m", "mypy", *(path for path in FILES if path.endswith(".py")), "--follow-imports=silent")
    assert done.returncode == 0, done.stdout
