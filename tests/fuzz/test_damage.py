"""Damaged run directories: every command says what is wrong in a line, and one run hides no other.

``make fuzz N=5000 SEED=1`` tries more of them, and other ones.
"""

import contextlib
import os
import shutil
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import TINY, compose
from damage import CHECKPOINTS, FILES, Damage, damaged, damages

from rnnlab.commands import evaluate, export, generate, inspect, predict, report, resume
from rnnlab.errors import RunFailed
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import execute
from rnnlab.runs.records import find_runs

NUMBER = int(os.environ.get("RNNLAB_FUZZ_CASES", "0")) or 400
SEED = int(os.environ.get("RNNLAB_FUZZ_SEED", "0"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run that forecasts and one that writes."""
    made = {}
    for data in ("sine", "text"):
        directory = RunDirectory.claim(tmp_path_factory.mktemp("runs") / data, choices={"model": "gru", "data": data})
        execute(directory, compose(*TINY, f"data={data}", "model.hidden_size=4", "instruments=none"), quiet=True)
        made[data] = directory.path
    return made


@pytest.fixture
def bare(runs: dict[str, Path], tmp_path: Path) -> Path:
    """The four files of a run alone."""
    place = tmp_path / "bare"
    place.mkdir()
    for name in FILES:
        shutil.copy(runs["sine"] / name, place / name)
    return place


@pytest.mark.slow
def test_a_report_of_hundreds_of_damaged_runs_shows_the_others(
    bare: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "all"
    place.mkdir()
    shutil.copytree(bare, place / "healthy")
    done: dict[Path, Damage] = {}
    for number, damage in enumerate(damages(SEED, NUMBER)):
        done[damaged(bare, place / f"bad{number}", damage)] = damage
    try:
        status = report.main([str(place)])
    except BaseException:
        for path, damage in done.items():  # which one it was
            with contextlib.suppress(SystemExit):
                try:
                    report.main([str(path)])
                except Exception:  # noqa: BLE001
                    pytest.fail(f"{damage}\n{traceback.format_exc()}")
        raise
    said = capfd.readouterr().out
    assert status in (0, 1)
    found = find_runs([place])
    (healthy,) = [record for record in found.records if record.path.name == "healthy"]
    assert healthy.state == "done" and healthy.score is not None and not healthy.damage
    assert said.count("left out") >= NUMBER // 4
    assert not set(said) & {chr(code) for code in range(32) if chr(code) not in "\n\t"}
    # who is neither read nor left out has no status at all, and is no run
    named = {record.path.name for record in found.records}
    for path, damage in done.items():
        assert path.name in named or any(f"{path}/" in line for line in found.left_out) or damage.what == "gone", damage


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """In which what waits for a FIFO, or for a device to end, is a failure and no hang."""
    import signal

    def late(*_: object) -> None:
        raise TimeoutError("it waits for a file that never ends")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(120)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def refuse(*_: object) -> None:
    raise RunFailed("so far, so good")


VERBS: dict[str, Callable[[Path], list[str]]] = {
    "resume": lambda run: [str(run)],
    "evaluate": lambda run: [str(run)],
    "predict": lambda run: [str(run), "--output", str(run.parent / "out.csv"), "--force"],
    "generate": lambda run: [str(run), "--length", "3"],
    "export": lambda run: [str(run), "--output", str(run.parent / "model.pt2"), "--force"],
    "inspect": lambda run: [str(run)],
}
MODULES = {"resume": resume, "evaluate": evaluate, "predict": predict, "generate": generate, "export": export,
           "inspect": inspect}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.few("predict", "generate")
def test_every_verb_says_in_a_line_what_is_damaged(
    verb: str, runs: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # what these do with a run that can be read takes long, and is tested elsewhere
    monkeypatch.setattr("rnnlab.use.export.artifact.export", refuse)
    monkeypatch.setattr("rnnlab.use.inspection._measure", lambda *_: ("left out", None))
    source = runs["text" if verb == "generate" else "sine"]
    if verb == "resume":
        source = Path(shutil.copytree(source, tmp_path / "stopped"))  # other tests use the same run
        RunDirectory(source).update_status("interrupted")
    for number, damage in enumerate(damages(SEED + 1, max(12, NUMBER // 33), (*FILES, *CHECKPOINTS))):
        run = damaged(source, tmp_path / f"{number}", damage)
        capfd.readouterr()
        with limited():
            try:
                status = MODULES[verb].main(VERBS[verb](run))
            except SystemExit as end:
                status = end.code
            except Exception:  # noqa: BLE001
                pytest.fail(f"rnnlab {verb} with {damage}\n{traceback.format_exc()}")
        said = capfd.readouterr().err
        assert "Traceback" not in said, damage
        if status != 0:
            assert status in (1, 2), damage
            *_, line = said.splitlines()
            assert line.startswith("rnnlab: ") and len(line) < 1000, damage
        shutil.rmtree(run)
