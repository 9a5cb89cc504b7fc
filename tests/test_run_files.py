"""The files of a run: what each of them may say, and in which words something else is refused."""

import csv
import errno
import json
import logging
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from rnnlab.errors import InputError
from rnnlab.runs.checkpoint import AtomicCheckpointIO
from rnnlab.runs.directory import RunDirectory
from rnnlab.spec import InputSpec
from rnnlab.store import config_file, files, json_text, lock, metrics_files, open_directory, status
from rnnlab.store.files import Damaged, replace
from rnnlab.store.status import State, Status


def refused(read: Callable[[Path], Any], path: Path, content: str | bytes) -> str:
    """What is said of a file with this content, in a line that names the file."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(Damaged) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path} is damaged: ") and "\n" not in message
    return message.removeprefix(f"{path} is damaged: ")


# ---- status.json ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ([], "it is no mapping"),
        ({}, "it names no state"),
        ({"state": "doen"}, "state must be one of created, queued, running, done, failed, interrupted; did you mean "
                            "'done'?, and is 'doen'"),
        ({"reason": 5}, "reason must be a text, and is '5'"),
        ({"directory": ["/"]}, "directory must be a text, and is \"['/']\""),
        ({"command": "rnnlab train"}, "command must be a list of texts, and is 'rnnlab train'"),
        ({"overrides": ["seed=1", 2]}, "overrides must be a list of texts, and is \"['seed=1', 2]\""),
        ({"choices": ["gru"]}, "choices must be a mapping, and is \"['gru']\""),
        ({"choices": {"model": 5}}, "choices must be a mapping of texts, and is \"{'model': 5}\""),
        ({"choices": {"model": ["gru", 5]}}, "choices must be a mapping of texts, and is \"{'model': ['gru', 5]}\""),
        ({"versions": {"torch": 2}}, "versions must be a mapping of texts, and is \"{'torch': 2}\""),
        ({"git": "abc"}, "git must be a mapping, and is 'abc'"),
        ({"pid": -1}, "pid must be a whole number, and is '-1'"),
        ({"pid": 1.5}, "pid must be a whole number, and is '1.5'"),
        ({"threads": True}, "threads must be a whole number, and is 'True'"),
        ({"number": 2**63}, "number must be a whole number, and is '9223372036854775808'"),
        ({"process_started": -2}, "process_started must be a whole number, and is '-2'"),
        ({"seconds": "3"}, "seconds must be a number, and is '3'"),
        ({"seconds": True}, "seconds must be a number, and is 'True'"),
        ({"wall_seconds": math.inf}, "wall_seconds must be a number, and is 'inf'"),
        ({"retriable": 1}, "retriable must be true or false, and is '1'"),
        ({"figures": "a.png"}, "figures must be a list of texts, and is 'a.png'"),
        ({"figures": ["/etc/a.png"]}, "figures must be a list of paths below the run, and is \"['/etc/a.png']\""),
        ({"figures": ["a/../../b.png"]}, "figures must be a list of paths below the run, and is"),
        ({"slurm": {"name": 5}}, "slurm must be a text, and is"),
        ({"slurm": {"name": "x", "index": "1"}}, "slurm must be a whole number, and is"),
        ({"reason": ["x" * 500]}, "reason must be a text, and is \"['" + "x" * 58 + '"'),
    ],
)  # fmt: skip
def test_a_status_that_is_none(facts: Any, message: str, tmp_path: Path) -> None:
    if isinstance(facts, dict) and facts and "state" not in facts:
        facts = {"state": "done", **facts}
    assert refused(status.read, tmp_path / "status.json", json.dumps(facts)).startswith(message)


def test_a_status_says_what_was_put_into_it(tmp_path: Path) -> None:
    facts = {
        "state": "interrupted", "reason": "two\nlines", "created": "2026-01-02T03:04:05Z", "pid": 2**63 - 1,
        "process_started": -1, "command": ["rnnlab", "train"], "overrides": [], "directory": "/a\nb",
        "choices": {"model": "gru", "callbacks": ["a", "b"], "early_stopping": None}, "versions": {"torch": "2.6"},
        "git": {"commit": "abc", "dirty": False}, "seconds": 3, "wall_seconds": 4.5, "figures": ["figures/a.png"],
        "number": 0, "retriable": True, "slurm": {}, "host": None, "own": {"what": "ever"},
    }  # fmt: skip
    told = Status.of(facts)
    (tmp_path / "status.json").write_text(status.dump(told))
    assert status.read(tmp_path / "status.json") == told
    assert told.state is State.INTERRUPTED and told.state.is_over and str(told.state) == "interrupted"
    assert told.reason == "two lines" and told.directory == "/a\nb"  # a path stays as it is
    assert (told.pid, told.process_started, told.number, told.seconds) == (2**63 - 1, -1, 0, 3)
    assert told.choices == {"model": "gru", "callbacks": "a,b"}
    assert told.command == ("rnnlab", "train") and told.overrides == ()
    assert told.host is None and told.retriable is True and told.anew is False and told.attempts == 0
    assert told.facts == facts
    changed = told.with_facts(state="done", attempts=2)
    assert (changed.state, changed.attempts, changed.seconds, changed.facts["own"]) == (State.DONE, 2, 3, facts["own"])
    assert [state.value for state in State if state.is_over] == ["done", "failed", "interrupted"]


def test_what_is_deep_behind_much_that_is_flat_is_refused_before_it_is_built(tmp_path: Path) -> None:
    text = f"data: [{'[], ' * 600}{'[' * 5000}{']' * 5000}]"
    assert refused(config_file.read, tmp_path / "config.yaml", text) == "it is nested more than 40 deep"


def test_lightnings_own_way_of_taking_a_checkpoint_away_stays_in_the_run(tmp_path: Path) -> None:
    path = tmp_path / "run" / "checkpoints" / "old.ckpt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    AtomicCheckpointIO().remove_checkpoint(str(path))
    assert not path.exists()


# ---- config.yaml ------------------------------------------------------------------------------------

NO_MAPPING_OF_DATA = "data must be a mapping, and is 5"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", "it is no mapping"),
        ("5", "it is no mapping"),
        ("5: 1", "its key 5 is no name"),
        ("data: 5", NO_MAPPING_OF_DATA),
        *((f"{part}: [1]", f"{part} must be a mapping, and is [1]") for part in config_file.PARTS),
        ("seed: abc", "seed must be a whole number, and is 'abc'"),
        ("seed: -1", "seed must be a whole number, and is -1"),
        ("seed: true", "seed must be a whole number, and is True"),
        ("seed: 1.0", "seed must be a whole number, and is 1.0"),
        ("seed: null", "seed must be a whole number, and is None"),
        ("monitor: 5", "monitor must be the name of a score, and is 5"),
        ("monitor: " + "x" * 501, "monitor must be the name of a score, and is 'xxx"),
        ("mode: maximum", "mode must be min or max, and is 'maximum'"),
        ("data: {fold: x}", "data.fold must be a number, and is 'x'"),
        ("data: {folds: .inf}", "data.folds must be a number, and is inf"),
        ("data: {folds: true}", "data.folds must be a number, and is True"),
        ("a: " + "[" * 40 + "]" * 40, "it is nested more than 40 deep"),
        ("b: [" + "[]," * 501 + "]\na: " + "[" * 40 + "]" * 40, "it is nested more than 40 deep"),
        ("a: " + "[" * 501 + "]" * 501, "it is nested more than 40 deep"),
        ("{a: " * 501 + "1" + "}" * 501, "it is nested more than 40 deep"),
        ("a: &a [*a]", "it is nested more than 40 deep, or holds itself"),
        ("a: &a {b: *a}", "it is nested more than 40 deep, or holds itself"),
        ("a: &a [" + "1," * 1000 + "]\nb: [" + "*a," * 100 + "]", "it has more than 100,000 values"),
        ("a: 18446744073709551616", "it has a whole number of more than 64 bits"),
        ("a: -9223372036854775809", "it has a whole number of more than 64 bits"),
        ("a: 2020-01-01", "it has a date, and may have numbers, texts, true, false and null"),
        ("a: {null: 1}", "a key is None"),
        ("a: {[1]: 1}", "while constructing a mapping"),
        ("a: &a {b: 1}\nc: {<<: *a}", "it merges mappings (<<)"),
        ("a: !!python/name:os.system", "could not determine a constructor"),
        ("a: [1", "while parsing a flow sequence"),
        (b"a: \xff", "it is no UTF-8 at byte 3"),
        (b"a: 1\n" + b"#" * (4 * 2**20), "it has more than 4,194,304 bytes"),
    ],
)
def test_a_config_that_is_none(text: str | bytes, message: str, tmp_path: Path) -> None:
    said = refused(config_file.read, tmp_path / "config.yaml", text)
    assert said.startswith(message), said
    assert len(said) < 400


def test_a_config_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    config: dict[str, Any] = {
        "seed": 3, "monitor": "x" * 500, "mode": "max", "data": {"fold": 1, "folds": 2.0, "names": ["ö", "漢", "a: b"]},
        "task": None, "big": [2**64 - 1, -(2**63)], "empty": {}, "text": "a\nb: c\n- d", "off": "off", "n": 1e-5,
    }  # fmt: skip
    path.write_text(config_file.dump(config), encoding="utf-8")
    assert config_file.read(path) == config
    assert list(config_file.read(path)) == list(config)
    config_file.read(path)["data"]["fold"] = 7  # what is read may be changed
    assert config_file.read(path) == config
    assert config_file.read_flat(path)["data.names"] == config["data"]["names"]
    assert config_file.flat({"a": {"b": {"c": 1}, "d": 2}, "e": 3}) == {"a.b.c": 1, "a.d": 2, "e": 3}


@pytest.mark.parametrize(
    ("text", "config"),
    [
        ("", {}),
        ("# nothing\n", {}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("a: {b: 1,\nc: 2}", {"a": {"b": 1, "c": 2}}),  # no section by itself
        ("a:\n- 1\n- 2\nb: 3", {"a": [1, 2], "b": 3}),
        ("a: " + "[" * 39 + "]" * 39, None),  # as deep as it may be
        ("b: [" + "[]," * 501 + "]\na: " + "[" * 39 + "]" * 39, None),
        ("a: [" + ", ".join(["{b: [1]}"] * 600) + "]", {"a": [{"b": [1]}] * 600}),  # many brackets, not one in another
        ("a: '" + "[" * 600 + "'", {"a": "[" * 600}),
    ],
)
def test_a_config_written_by_hand_is_read_as_yaml_means_it(text: str, config: Any, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    read = config_file.read(tmp_path / "config.yaml")
    assert config is None or read == config


@pytest.mark.parametrize("text", ['a: "\\ud800"', '"\\udc80": 1', 'b: ["\\udfff"]'])
def test_half_a_character_is_refused_whichever_parser_there_is(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(config_file.read, tmp_path / "config.yaml", text)
    monkeypatch.setattr(config_file, "_Loader", yaml.SafeLoader)  # where PyYAML was built without libyaml
    said = refused(config_file.read, tmp_path / "config.yaml", text)
    assert said == "it has half a character (a surrogate)" or said.startswith("a key is '")


# ---- metrics.json and metrics.csv --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "it is no mapping"),
        ('{"a": true}', "a must be a number, and is 'True'"),
        ('{"a": "1"}', "a must be a number, and is '1'"),
        ('{"a": [' + "1, " * 100 + "1]}", "a must be a number, and is '[1, 1, 1"),
        ("{", "Expecting property name"),
        ("[" * 61 + "]" * 61, "it is nested more than 60 deep"),
        ('{"a":' * 61 + "1" + "}" * 61, "it is nested more than 60 deep"),
        ('{"a": 1' + "0" * 30 + "}", "a number of 31 digits"),
    ],
)
def test_metrics_that_are_none(text: str, message: str, tmp_path: Path) -> None:
    said = refused(metrics_files.read_metrics, tmp_path / "metrics.json", text)
    assert said.startswith(message) and len(said) < 200


def test_a_score_that_is_no_number_or_beyond_all_is_not_a_number(tmp_path: Path) -> None:
    (tmp_path / "m").write_text('{"a": null, "b": 1e100, "c": -1e101, "d": 1e999, "e": -0.5, "f": 3, "g": -1e100}')
    read = metrics_files.read_metrics(tmp_path / "m")
    assert [name for name, value in read.items() if math.isnan(value)] == ["a", "c", "d"]
    assert (read["b"], read["e"], read["f"], read["g"]) == (1e100, -0.5, 3, -1e100)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch,a,a\n", "its first line does not name its columns, epoch among them, each once"),
        ("a,b\n", "its first line does not name its columns, epoch among them, each once"),
        (",".join(["epoch", *map(str, range(10_000))]) + "\n", "its first line does not name its columns"),
        ("epoch,a\n1,2\n2,3,4\n", "line 3 has 3 cells, and the first line 2"),
        ("epoch,a\n1,2\n\n", "line 3 has 0 cells, and the first line 2"),
        ("epoch,a\n1,2\n2,x\n", "line 3: could not convert string to float: 'x'"),
        ("epoch,a\n" + "1," + "x" * 500 + "\n", "line 2: could not convert string to float"),
        ("a,epoch\n2,\n", "line 2: None is no number of an epoch"),
        ("a,epoch\n2,1.5\n", "line 2: 1.5 is no number of an epoch"),
        ("a,epoch\n2,-1\n", "line 2: -1 is no number of an epoch"),
        ("a,epoch\n2,9007199254740992\n", "line 2: 9007199254740992 is no number of an epoch"),
        ("a,epoch\n2,nan\n", "line 2: nan is no number of an epoch"),
        (b"epoch,\xff\n", "'utf-8' codec can't decode byte 0xff"),
        ("epoch," + "x" * (csv.field_size_limit() + 1) + "\n", "field larger than field limit"),
    ],
)
def test_epochs_that_are_none(text: str | bytes, message: str, tmp_path: Path) -> None:
    said = refused(metrics_files.read_epochs, tmp_path / "metrics.csv", text)
    assert said.startswith(message) and len(said) < 150, said


def test_epochs_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    rows = [
        {"epoch": 1, "a": 0.1, "b,c": -1e-30},
        {"epoch": 2, "b,c": 12345678901234567890.0},
        {"epoch": 2**53 - 1, "a": math.inf},
    ]
    path.write_text(metrics_files.table(["epoch", "a", "b,c"], rows))
    read = metrics_files.read_epochs(path)
    assert read.names == ("epoch", "a", "b,c") and read.rows == rows
    assert read.cells[0] == (1, 0.1, -1e-30) and read.cells[1] == (2, None, 12345678901234567890.0)
    assert [type(row["epoch"]) for row in read.rows] == [int, int, int]
    columns = read.columns
    np.testing.assert_array_equal(columns["a"], [0.1, math.nan, math.inf])
    assert columns["epoch"].dtype == float
    assert metrics_files.table(["epoch"], [{"epoch": 5}], header=False) == "5\n"
    with pytest.raises(ValueError, match="fields not in fieldnames"):
        metrics_files.table(["epoch"], [{"epoch": 5, "a": 1}])


@pytest.mark.parametrize("text", ["", "epo", "\n", "epoch,a"])
def test_killed_before_the_first_epoch_there_are_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(text)
    read = metrics_files.read_epochs(tmp_path / "metrics.csv")
    assert read.rows == [] and read.columns == {} and read.names == ()


def test_rows_are_appended_to_the_columns_that_there_are(tmp_path: Path) -> None:
    directory = RunDirectory.claim(tmp_path / "run")
    path = directory.path / "metrics.csv"
    directory.append_epoch({"epoch": 1, "b": 2.0, "a": 1.0})
    inode = path.stat().st_ino
    directory.append_epoch({"a": 3.0, "epoch": 2})
    assert path.read_text() == "epoch,b,a\n1,2.0,1.0\n2,,3.0\n" and path.stat().st_ino == inode
    directory.append_epoch({"epoch": 3, "c": 4.0})
    assert path.read_text() == "epoch,b,a,c\n1,2.0,1.0,\n2,,3.0,\n3,,,4.0\n"
    directory.write_epochs([])
    assert path.read_text() == "" and directory.epochs == []


# ---- JSON ------------------------------------------------------------------------------------------


def test_json_is_what_its_standard_says() -> None:
    nothing = {"a": [math.nan, (math.inf, {"b": -math.inf})], "c": 1.5, "d": "ö"}
    assert json_text.dump(nothing) == '{"a": [null, [null, {"b": null}]], "c": 1.5, "d": "\\u00f6"}'
    assert json_text.dump({"d": "ö"}, ascii_only=False) == '{"d": "ö"}'
    assert json_text.dump({"a": [1]}, indent=2) == '{\n  "a": [\n    1\n  ]\n}'


def test_json_of_anybodys(tmp_path: Path) -> None:
    path = tmp_path / "file.json"

    def read(text: str) -> Any:
        path.write_text(text, encoding="utf-8")
        return json_text.read(path, 10_000)

    assert read('{"a": 12345678901234567890123456789, "b": [1.5, null, true]}') == {
        "a": 12345678901234567890123456789, "b": [1.5, None, True],
    }  # fmt: skip
    assert read('{"\\ud800": ["\\udfff", "\\ud83d\\ude00", 1]}') == {"?": ["?", "😀", 1]}
    assert read("[" * 60 + "]" * 60) is not None  # as deep as it may be
    # one behind the other is not one in the other, and what stands in a text is none
    assert read("[" + ", ".join(["[]"] * 100) + "]") == [[]] * 100
    assert read('["' + "[{" * 100 + '\\"[", "' + "[" * 50 + '"]')[1] == "[" * 50
    path.write_text(" " * 10_001)
    with pytest.raises(Damaged, match="more than 10,000 bytes"):
        json_text.read(path, 10_000)
    with pytest.raises(FileNotFoundError):
        json_text.read(tmp_path / "none", 1)


# ---- files -----------------------------------------------------------------------------------------


def test_a_file_that_is_replaced_has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        replace(tmp_path / "file", "ö")
        replace(tmp_path / "quick", memoryview(b"1"), durable=False)
    finally:
        assert os.umask(before) == 0o027
    assert (tmp_path / "file").read_bytes() == "ö".encode()
    assert [oct((tmp_path / name).stat().st_mode & 0o777) for name in ("file", "quick")] == ["0o640"] * 2
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "quick"]


def test_what_must_be_durable_is_on_the_disk_before_it_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    sync, move = os.fsync, os.replace
    monkeypatch.setattr(files.os, "fsync", lambda *given: (events.append("sync"), sync(*given)))
    monkeypatch.setattr(files.os, "replace", lambda *given, **at: (events.append("move"), move(*given, **at)))
    replace(tmp_path / "a", "1")
    assert events[0] == "sync" and events.count("move") == 1 and events[-1] == "move"
    events.clear()
    replace(tmp_path / "a", "2", durable=False)
    assert events == ["move"]
    assert (tmp_path / "a").read_text() == "2"


def test_what_the_system_refuses_is_told_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: Any, *rest: Any, **more: Any) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(name))

    opened = os.open
    for call in ("open", "mkdir", "replace", "unlink"):
        with monkeypatch.context() as patched:
            if call == "open":  # of files; directories are opened, too
                patched.setattr(os, "open", lambda name, flags, *rest, **more: (
                    refuse(name) if flags & os.O_CREAT else opened(name, flags, *rest, **more)))  # fmt: skip
            else:
                patched.setattr(os, call, refuse)
            patched.setattr(open_directory, "DESCRIPTORS", True)
            with pytest.raises(PermissionError) as caught:
                if call == "unlink":
                    (tmp_path / "f").touch()
                    files.remove(tmp_path / "f")
                else:
                    replace(tmp_path / "a" / "f" if call == "mkdir" else tmp_path / "f", "text", inside=tmp_path)
            assert caught.value.filename == str(tmp_path / "a" if call == "mkdir" else tmp_path / "f"), call


def test_appending_goes_on_where_a_disk_took_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Short:
        """A file that takes three bytes at a time."""

        def __init__(self, descriptor: int, *_: Any, **__: Any) -> None:
            self.descriptor = descriptor

        def __enter__(self) -> "Short":
            return self

        def __exit__(self, *_: object) -> None:
            os.close(self.descriptor)

        def write(self, content: bytes) -> int:
            return os.write(self.descriptor, content[:3])

    monkeypatch.setattr(files, "open", Short, raising=False)
    files.append(tmp_path / "a", b"12345")
    assert (tmp_path / "a").read_bytes() == b"12345"


def test_links_are_refused_by_name_wherever_they_are(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "folder" / "plain").write_text("")
    files.refuse_links(tmp_path, ["file", "not there"], ["folder", "not there"])
    (tmp_path / "link").symlink_to("nowhere")
    for names, folders, message in (
        (["file", "link"], [], "link is a link, and nothing is written through it: move it away"),
        (["folder"], [], "folder is a directory, and nothing is written through it: move it away"),
        ([], ["folder", "link"], "link is a link, and must be a directory: move it away"),
        ([], ["file"], "file is a file, and must be a directory: move it away"),
    ):
        with pytest.raises(InputError) as caught:
            files.refuse_links(tmp_path, names, folders)
        assert str(caught.value) == f"{tmp_path}/{message}"
    (tmp_path / "folder" / "z").symlink_to(tmp_path / "file")
    with pytest.raises(InputError, match=r"folder/z is a link, and nothing is written through it: move it away"):
        files.refuse_links(tmp_path, [], ["folder"])


def test_a_holder_that_cannot_be_read_is_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.lock"
    monkeypatch.setattr(lock, "take", lambda _: False)  # somebody has it
    with pytest.raises(lock.Busy, match="is being worked on by another process: wait for it or stop it"):
        lock.hold(path)
    path.write_text("process 1 on a\nmachine since ever")
    with pytest.raises(lock.Busy, match="worked on by process 1 on a machine since ever: wait"):
        lock.hold(path)

    def unreadable(_: Path) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(lock, "open_regular", unreadable)
    with pytest.raises(lock.Busy, match="worked on by another process: wait"):
        lock.hold(path)


def test_a_lock_says_who_holds_it_as_long_as_it_is_held(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with lock.locked(path), lock.locked(path):
        assert path.read_text().startswith(f"process {os.getpid()} on ")
    assert path.read_text() == ""
    lock.release(path)  # nothing to give back


def test_a_full_disk_keeps_nobody_from_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "run.lock"
    with monkeypatch.context() as patch:
        patch.setattr(lock.os, "write", full)
        lock.hold(path)  # who it is stays unsaid
    try:
        assert path.read_text() == "" and str(path.resolve()) in lock._mine.held
    finally:
        lock.release(path)


def test_a_status_is_on_the_disk_unless_it_need_not_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = RunDirectory.claim(tmp_path / "run", {})
    synced: list[int] = []
    monkeypatch.setattr(files.os, "fsync", synced.append)
    directory.update_status("running", durable=False)
    assert not synced
    directory.update_status("done")
    assert synced and directory.status.state == "done"


def test_only_what_nobody_writes_any_more_is_cleared_away(tmp_path: Path) -> None:
    left, held, other, fifo, link = (
        tmp_path / name for name in (".f.00000000", ".f.11111111", ".g.22222222", ".f.33333333", ".f.44444444")
    )
    for path in (left, held, other):
        path.touch()
    os.mkfifo(fifo)
    link.symlink_to(other)
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    with open(held) as writing:
        assert files.take(writing.fileno())
        files.remove_unfinished(tmp_path, ["f"])
        assert {entry.name for entry in tmp_path.iterdir()} == {path.name for path in (held, other, fifo, link)}
    files.remove_unfinished(tmp_path, ["f"])
    assert not held.exists() and fifo.exists() and link.is_symlink() and other.exists()
    if descriptors is not None:
        assert len(os.listdir("/proc/self/fd")) == descriptors


@pytest.mark.parametrize(("encoding", "written"), [(None, "ö\\udc80\n".encode()), ("latin-1", b"\xf6\\udc80\n")])
def test_a_log_has_its_encoding_and_what_it_cannot_say_is_escaped(
    encoding: str | None, written: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(b"before\n")
    log = files.LogFile(path) if encoding is None else files.LogFile(path, encoding)
    log.emit(logging.LogRecord("rnnlab", logging.INFO, "", 0, "ö\udc80", None, None))
    log.close()
    assert path.read_bytes() == b"before\n" + written


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "another process"), (b"process 7 on \xff\n", "process 7 on \ufffd"), (b"x" * 999, "x" * 200)],
)
def test_a_holder_may_have_written_anything(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "run.lock").write_bytes(content)
    assert lock._holder(tmp_path / "run.lock") == said


def test_a_config_that_is_written_can_be_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"seed": 0, "data": {"path": "w.csv", "past": [f"c{number}" for number in range(20)]}}
    values = 1 + 2 + 2 + 20  # the config, what stands at its top, what stands in data, and the list
    path = tmp_path / "config.yaml"
    for name, most in (("VALUES", values), ("BYTES", len(config_file.dump(config)))):
        with monkeypatch.context() as patched:
            patched.setattr(config_file, name, most)
            config_file._section.cache_clear()
            path.write_text(config_file.dump(config))
            assert config_file.read(path) == config
            patched.setattr(config_file, name, most - 1)
            with pytest.raises(InputError, match=r"^data\.past has 20 values, and a config at most 24 in all$"
                               if name == "VALUES" else "^the config has more than"):  # fmt: skip
                config_file.dump(config)
                with pytest.raises(InputError, match=r"^(data\.past has|the config has more)"):
                    RunDirectory.claim(tmp_path / "r", config)
                assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("said", [5, "better", ["better"]])
def test_a_verdict_that_is_no_mapping_is_damage(said: Any, tmp_path: Path) -> None:
    content = json.dumps({"state": "done", "verdict": said})
    assert refused(status.read, tmp_path / "status.json", content).startswith("verdict must be a mapping, and is ")


def test_only_a_directory_is_opened_as_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    for name in ("pipe", "file"):  # opening the pipe would wait for whoever writes into it
        with pytest.raises(NotADirectoryError):
            open_directory._directory(tmp_path / name)


def test_what_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Damaged) as caught:
        _ = RunDirectory(tmp_path).config
    assert str(caught.value) == f"{tmp_path / 'config.yaml'} is damaged: it is not there"
    with pytest.raises(ValueError, match=r"^an input has either features or a vocabulary$"):
        InputSpec()
