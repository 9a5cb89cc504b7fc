"""What optional packages are asked for by whom, in the command line and in the tests."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import OF_AN_EXTRA, compose, needed_by_choices, packages

from rnnlab.commands import list as list_command
from rnnlab.commands import train as train_command
from rnnlab.errors import InputError
from rnnlab.runs.build import build

HERE = Path(__file__).parent


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without any extra."""
    for module in ("rnnlab.extras", "rnnlab.data.ucr_archive"):
        monkeypatch.setattr(f"{module}.find_spec", lambda name: None)


@pytest.mark.parametrize(
    "name", ["airline", "digit_lines", "digits", "economic", "moving_digits", "next_digits", "sunspots", "ucr"]
)
def test_a_data_set_without_its_extra_says_what_to_install(name: str, bare: None) -> None:
    with pytest.raises(InputError, match=r"make install EXTRAS=datasets .*pip install 'rnnlab\[datasets\]'"):
        build(compose(f"data={name}")["data"], "data")


@pytest.mark.parametrize(
    "choice", ["hydra/launcher=ray", "hydra/launcher=slurm", "hydra/sweeper=optuna", "data=airline"]
)
def test_a_choice_without_its_extra_is_one_line(
    choice: str, bare: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train_command.main(["-m", choice, "optimizer.lr=0.1,0.2", "trainer=cpu"]) == 2
    error = capfd.readouterr().err
    assert f"{choice} needs the package " in error
    assert f"pip install 'rnnlab[{needed_by_choices()[choice]}]'" in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_list_marks_what_needs_an_extra(capsys: pytest.CaptureFixture[str]) -> None:
    assert list_command.main([]) == 0
    printed = capsys.readouterr().out
    marks = dict(re.findall(r"^  (\w+) .* \[needs: (\w+)", printed, re.MULTILINE))
    assert marks == {
        **dict.fromkeys(
            ["airline", "digit_lines", "digits", "economic", "moving_digits", "next_digits", "sunspots", "ucr"],
            "datasets",
        ),
        **dict.fromkeys(["place_names", "pronunciation"], "pairs"),
        **dict.fromkeys(["air_passengers", "italy_power_demand", "japanese_vowels", "series"], "datasets"),
        **dict.fromkeys(["lstm_fcn", "ucr_folds"], "datasets"),
        "mlflow": "mlflow",
        "wandb": "wandb",
        "ray": "ray",
        "slurm": "slurm",
        "optuna": "optuna",
    }
    assert set(marks.values()) <= packages().keys()


def test_packages_that_tests_need_alone_are_of_the_extra_that_is_named() -> None:
    assert {package for package, extra in OF_AN_EXTRA.items() if package in packages()[extra]} == OF_AN_EXTRA.keys()


def test_no_test_is_skipped_but_by_the_mark_needs() -> None:
    skips = re.compile(r"importorskip|skipif|pytest\.skip|mark\.skip|unittest\.skip")
    files = [file for file in HERE.rglob("*.py") if file.name not in ("conftest.py", Path(__file__).name)]
    assert [file.name for file in files if skips.search(file.read_text(encoding="utf-8"))] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("need", "may_skip", "status"), [("node", "extras,gpu", 1), ("node", "node", 0), ("soundfile", "extras,gpu", 0)]
)
def test_a_skip_that_is_not_allowed_fails_the_session(need: str, may_skip: str, status: int, tmp_path: Path) -> None:
    shutil.copy(HERE / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = needs\n", encoding="utf-8")
    (tmp_path / "test_it.py").write_text(
        "import conftest, pytest\n"
        f"conftest.WORLD.update({need}=lambda: False)\n"
        f"@pytest.mark.needs('{need}')\ndef test_needs(): pass\n"
        "def test_runs(): pass\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--may-skip={may_skip}", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == status, done.stdout
    assert done.stdout.splitlines()[-1].startswith("1 passed, 1 skipped")
    assert ("test_needs" in done.stdout) == bool(status)
