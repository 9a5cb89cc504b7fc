"""Runs found and read, whatever state they are in."""

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from rnnlab.errors import InputError
from rnnlab.runs import records
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.records import _walk, find_runs, read_run
from rnnlab.store.status import STATUS

CONFIG: dict[str, Any] = {"seed": 4, "monitor": "val/mae", "mode": "max", "optimizer": {"lr": 0.1}, "data": {}}


def run(path: Path, config: Any = None, **facts: Any) -> Path:
    path.mkdir(parents=True)
    if config is not None:
        RunDirectory(path).write_config(config)
    (path / "status.json").write_text(json.dumps({"state": "done", **facts}))
    return path


def test_a_record_is_what_the_files_say(tmp_path: Path) -> None:
    path = run(tmp_path / "run", CONFIG, reason="why", overrides=["seed=4"], choices={"model": "gru"})
    directory = RunDirectory(path)
    directory.write_metrics({"val/mae": 0.5, "val/r2": None, "epochs": 2})
    directory.write_epochs([{"epoch": 1, "val/mae": 0.25}, {"epoch": 2, "val/mae": 0.5}])
    record = read_run(path)
    assert (record.path, record.state, record.reason) == (path, "done", "why")
    assert (record.overrides, record.choices, record.config["optimizer.lr"]) == (("seed=4",), {"model": "gru"}, 0.1)
    assert (record.monitor, record.mode, record.seed, record.fold, record.replicate) == (
        "val/mae",
        "max",
        4,
        None,
        (0, 4),
    )
    assert record.metrics == {"val/mae": 0.5, "epochs": 2}  # what is no number is none
    assert (record.score, record.so_far, record.damage) == (0.5, 0.5, [])
    assert record.epochs["val/mae"].tolist() == [0.25, 0.5]


@pytest.mark.parametrize(("mode", "best"), [("min", 0.25), ("max", 0.75)])
def test_the_best_so_far_is_of_the_epochs_that_have_a_number(mode: str, best: float, tmp_path: Path) -> None:
    path = run(tmp_path / "run", CONFIG | {"mode": mode}, state="interrupted")
    assert read_run(path).so_far is None
    scores = (0.5, float("inf"), 0.25, None, 0.75, float("nan"))
    rows = [{"epoch": k} | ({"val/mae": score} if score is not None else {}) for k, score in enumerate(scores, 1)]
    RunDirectory(path).write_epochs(rows)
    record = read_run(path)
    assert record.so_far == best and record.score is None  # which is of a run that is done


def test_folds_repeat_a_setting(tmp_path: Path) -> None:
    path = run(tmp_path / "run", {"seed": 2, "data": {"fold": 3, "folds": 5}})
    record = read_run(path)
    assert (record.fold, record.replicate, record.monitor, record.mode) == (3, (3, 2), "val/loss", "min")
    assert read_run(run(tmp_path / "none", {"data": {"folds": None, "fold": 1}})).fold is None


HERE = socket.gethostname()


@pytest.mark.parametrize(
    ("facts", "alive", "state"),
    [
        ({"state": "running", "host": HERE, "pid": 7}, True, "running"),
        ({"state": "running", "host": HERE, "pid": 7}, False, "interrupted"),
        ({"state": "created", "host": HERE, "pid": 7}, False, "interrupted"),
        ({"state": "created", "host": HERE, "pid": 7}, True, "created"),
        ({"state": "queued", "host": HERE, "pid": 7}, False, "queued"),
        ({"state": "running", "host": HERE}, False, "running"),
        ({"state": "running", "host": "elsewhere", "pid": 7}, False, "running"),
        ({"state": "failed", "host": HERE, "pid": 7}, False, "failed"),
        ({"state": "done", "pruned": 3}, False, "pruned"),
        ({"state": "running", "pruned": 3}, False, "running"),
    ],
)
def test_a_run_whose_process_is_gone_is_interrupted(
    facts: dict[str, Any], alive: bool, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunDirectory, "is_alive", property(lambda _: alive))
    assert read_run(run(tmp_path / "run", **facts)).state == state


def test_a_cluster_says_how_a_job_is_that_was_handed_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def seen(directory: RunDirectory, told: Any) -> Any:
        asked.append(directory.path)
        return told.with_facts(state="failed", reason="out of time")

    monkeypatch.setattr(records, "seen", seen)
    submitted = {"slurm": {"name": "sweep", "index": 0}, "host": HERE, "pid": 2**22 + 1}
    for state, found in (("queued", "failed"), ("running", "failed"), ("interrupted", "failed"), ("done", "done")):
        record = read_run(run(tmp_path / state, state=state, **submitted))
        assert record.state == found and record.reason == ("out of time" if found == "failed" else "")
    assert asked == [tmp_path / state for state in ("queued", "running", "interrupted")]


def test_damage_is_named_and_the_rest_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = run(tmp_path / "run", CONFIG)
    said = f"{path / 'metrics.json'}: the run is done, but has no finite val/mae"
    assert read_run(path).damage == [said]
    RunDirectory(path).write_metrics({"val/mae": 0.5})
    (path / "config.yaml").write_text("seed: x")
    (path / "metrics.csv").write_text("a\n")
    record = read_run(path)
    assert [line.partition(" is damaged")[0] for line in record.damage] == [
        str(path / "config.yaml"), str(path / "metrics.csv"),
    ]  # fmt: skip
    assert record.metrics == {"val/mae": 0.5} and record.config == {} and record.score is None

    def refused(_: Path) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(records, "read_metrics", refused)
    assert f"{path / 'metrics.json'}: Permission denied" in read_run(path).damage


def test_all_runs_below_are_found_once_in_their_order(tmp_path: Path) -> None:
    for name in ("10_a", "9_b", "9_a", "x", "deep/er/2"):
        run(tmp_path / "s" / name)
    for name in ("figures", "checkpoints", ".hydra", "export", "inspect", "tensorboard"):
        run(tmp_path / "s" / "x" / name)  # what a run has inside is no run of its own
    run(tmp_path / "s" / "x" / "inner")
    run(tmp_path / "s" / "figures")  # but a directory of that name elsewhere may hold some
    (tmp_path / "s" / "sweep.json").write_text('{"overrides": ["seed=1"]}')
    (tmp_path / "s" / "link").symlink_to(tmp_path / "s")
    found = find_runs([tmp_path / "s", str(tmp_path / "s" / "x"), tmp_path])
    names = [str(record.path.relative_to(tmp_path / "s")) for record in found.records]
    assert names == ["9_a", "9_b", "10_a", "deep/er/2", "figures", "x", "x/inner"]
    assert found.sweeps == [(tmp_path / "s", {"overrides": ["seed=1"]})] and found.left_out == []
    assert [len(find_runs([tmp_path], depth=depth).records) for depth in (1, 2, 3, 4)] == [0, 5, 6, 7]
    with pytest.raises(InputError):
        find_runs([tmp_path], depth=0)


@pytest.mark.parametrize("content", ["[]", "{", "5"])
def test_a_sweep_that_says_nothing_is_one_all_the_same(content: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(content)
    found = find_runs([tmp_path])
    assert found.sweeps == [(tmp_path, {})] and found.records == []


def test_places_without_runs_say_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for places, said in (
        ([tmp_path / "file"], f"{tmp_path / 'file'}: that is a file, no directory"),
        ([tmp_path / "a", tmp_path / "none"], f"{tmp_path / 'none'}: there is no such directory"),
        ([tmp_path / "a", tmp_path / "b"], f"{tmp_path / 'a'}, {tmp_path / 'b'}: no runs there (a run is a directory "
                                           "with a status.json)"),
    ):  # fmt: skip
        with pytest.raises(InputError) as caught:
            find_runs(places)
        assert str(caught.value) == said
    run(tmp_path / "a" / "one")
    bad = run(tmp_path / "a" / "two") / "status.json"
    bad.write_text("[]")
    os.mkfifo(run(tmp_path / "b" / "three") / "metrics.csv")
    found = find_runs([tmp_path])
    assert found.left_out == [f"{bad} is damaged: it is no mapping"]
    assert ["a FIFO" in line for record in found.records for line in record.damage if "csv" in line] == [True]
    with pytest.raises(InputError, match=r"two/status\.json is damaged: it is no mapping"):
        find_runs([tmp_path / "a" / "two"])

    def refused(*_: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(bad))

    monkeypatch.setattr(records.status, "read", refused)
    with pytest.raises(InputError, match=rf"^{bad}: Permission denied$"):
        find_runs([bad.parent])


def test_directories_are_walked_with_their_files(tmp_path: Path) -> None:
    run = tmp_path / "a" / "run"
    for folder in (run / "checkpoints", run / "deeper", tmp_path / "b"):
        folder.mkdir(parents=True)
    for file in (run / STATUS, run / "checkpoints" / STATUS, run / "deeper" / "x", tmp_path / "b" / "y"):
        file.touch()
    (tmp_path / "link").symlink_to(run)
    expected = {
        str(tmp_path): {"link"}, str(tmp_path / "a"): set(), str(tmp_path / "b"): {"y"}, str(run): {STATUS},
        str(run / "deeper"): {"x"},
    }  # fmt: skip
    assert dict(_walk(str(tmp_path))) == expected
    depths = {str(tmp_path): 0, str(tmp_path / "a"): 1, str(tmp_path / "b"): 1, str(run): 2, str(run / "deeper"): 3}
    for depth in range(4):
        near = {name: names for name, names in expected.items() if depths[name] <= depth}
        assert dict(_walk(str(tmp_path), depth)) == near
    assert dict(_walk(str(tmp_path / "none"))) == {}


def test_runs_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = ["2_a_b", "9_model=gru_seed=1", "10_model=gru_seed=0", "10_model=gru_seed=1", "b_1", "b_2"]
    for name in reversed(names):
        run(tmp_path / name, CONFIG)
    assert [record.path.name for record in find_runs([tmp_path]).records] == names
