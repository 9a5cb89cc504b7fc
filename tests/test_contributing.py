"""What the texts say of one's own parts holds: their files, written where they say, train and obey the laws."""

import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from pydoc import locate

import pytest
import yaml

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
OUTSIDE = (ROOT / "docs" / "pages" / "own_cell.md").read_text(encoding="utf-8")
FEW = ["data.num_samples=40", "trainer.max_epochs=1", "trainer=cpu", "instruments=none", "hydra.run.dir=run"]


def blocks(text: str) -> dict[str, str]:
    """Fenced code that is labelled by the path where it belongs."""
    return dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', text, re.MULTILINE | re.DOTALL))


FILES = blocks(TEXT)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with the files of the examples, and nothing else touched."""
    place = tmp_path_factory.mktemp("copy")
    for folder in ("src", "conf", "tests", "docs", "benchmarks"):
        shutil.copytree(ROOT / folder, place / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / file, place)
    for path, text in FILES.items():
        assert not (place / path).exists(), f"{path} is in the project already: the example needs another"
        (place / path).write_text(text, encoding="utf-8")
    return place


def python(place: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs in a copy of the project with the copy's sources, elsewhere with the project's own."""
    sources = place / "src" if (place / "src").exists() else ROOT / "src"
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(sources)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_each_example_is_two_files() -> None:
    for kind, group in (("cells", "model"), ("data", "data"), ("tasks", "task"), ("instruments", "instruments")):
        (code,) = (path for path in FILES if path.startswith(f"src/rnnlab/{kind}/"))
        (config,) = (path for path in FILES if path.startswith(f"conf/{group}/"))
        assert Path(code).stem == Path(config).stem
    assert len(FILES) == 8


@pytest.mark.slow
def test_the_examples_learn_by_the_command_that_is_given(copy: Path) -> None:
    (command,) = re.findall(r"^rnnlab (train .*task=.*)$", TEXT, re.MULTILINE)
    enough = [*FEW, "data.num_samples=300", "trainer.max_epochs=8", "optimizer.lr=0.02"]
    done = python(copy, "-m", "rnnlab", *command.split(), *enough)
    assert done.returncode == 0, done.stderr
    assert json.loads((copy / "run" / "status.json").read_text())["state"] == "done"
    scores = json.loads((copy / "run" / "metrics.json").read_text())
    # a network that cannot remember is no better than the baseline
    assert scores["test/loss"] < 0.5 * scores["baseline/loss"]
    done = python(copy, "-m", "rnnlab", "inspect", "run")
    assert done.returncode == 0, done.stderr
    assert "readout_weights" in json.loads((copy / "run" / "inspect" / "inspect.json").read_text())["tables"]


@pytest.mark.exhaustive
def test_make_test_stays_green_with_the_examples(copy: Path) -> None:
    # of the fast tests those that are about the examples, or about all that there is of a kind
    names = [Path(path).stem for path in FILES if path.startswith("conf/")]
    chosen = " or ".join([*names, "test_docs.py", "test_commands.py and list"])
    ours = ["--deselect", "tests/test_contributing.py", "-m", "not slow", "-k", chosen]
    done = python(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", *ours)
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) > 100


def test_the_examples_are_as_clean_as_the_project(copy: Path) -> None:
    code = [path for path in FILES if path.endswith(".py")]
    for arguments in (["ruff", "check"], ["ruff", "format", "--check"]):
        done = python(copy, "-m", *arguments, *code)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_examples_are_typed(copy: Path) -> None:
    done = python(copy, "-m", "mypy", *(path for path in FILES if path.endswith(".py")), "--follow-imports=silent")
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_cell_of_ones_own_trains_outside_of_the_project(tmp_path: Path) -> None:
    for path, text in blocks(OUTSIDE).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    command, without_a_file = map(shlex.split, re.findall(r"^rnnlab (train .*)$", OUTSIDE, re.MULTILINE))
    done = python(tmp_path, "-m", "rnnlab", *command, *FEW)
    assert done.returncode == 0, done.stderr
    assert "leak: 0.8" in (tmp_path / "run" / "config.yaml").read_text()
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "done"
    done = python(tmp_path, "-m", "rnnlab", *without_a_file, *FEW, "hydra.run.dir=first_try")
    assert done.returncode == 0, done.stderr


def test_what_mutation_testing_passes_over_is_still_there() -> None:
    gone = []
    for entry in yaml.safe_load((ROOT / "tests" / "mutants.yaml").read_text(encoding="utf-8")):
        function = locate(entry["function"])
        if function is None or entry["old"] not in inspect.getsource(function):
            gone.append(entry)
    assert gone == []


def test_mutation_testing_changes_files_that_there_are() -> None:
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("only_mutate = [")[2].partition("]")[0]
    patterns = re.findall(r'"(.+?)"', settings)
    assert [pattern for pattern in patterns if not list(ROOT.glob(pattern))] == []
