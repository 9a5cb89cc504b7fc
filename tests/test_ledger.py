"""The ledger of a sweep, by itself: what is written is what is read, and what is lost is made anew."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

import rnnlab
from rnnlab.commands.resumption import differing
from rnnlab.errors import InputError
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.provenance import code_digests
from rnnlab.runs.sweep import Job, SweepDirectory, is_sweep
from rnnlab.store import files
from rnnlab.store.files import Damaged
from rnnlab.store.ledger import check_name

FACTS: dict[str, Any] = {
    "command": ["rnnlab", "train", "-m", "seed=0,1"],
    "overrides": ["seed=0,1"],
    "varied": ["seed"],
}


def job(number: int, name: str = "", **more: Any) -> Job:
    config = {"seed": number, "model": {"hidden_size": 4}}
    return Job(number, name or f"{number}_seed={number}", (f"seed={number}",), config, {"model": "gru"}, **more)


@pytest.fixture
def sweep(tmp_path: Path) -> SweepDirectory:
    return SweepDirectory.claim(tmp_path / "s", FACTS, chosen=True)


def names(directory: SweepDirectory) -> list[str]:
    return sorted(entry.name for entry in directory.path.iterdir())


def test_a_sweep_says_what_it_was_told(sweep: SweepDirectory) -> None:
    assert names(sweep) == ["sweep.json"] and is_sweep(sweep.path)
    told: Any = SweepDirectory.open(str(sweep.path)).facts
    assert {key: told[key] for key in FACTS} == FACTS
    assert told["code"] == code_digests() and told["versions"]["torch"]
    facts = json.loads((sweep.path / "sweep.json").read_text())
    assert facts["created"] and facts["host"] and facts["platform"] and set(told) < set(facts)
    sweep.update_facts(search={"trials": 3}, varied=["seed", "model"])
    text = (sweep.path / "sweep.json").read_text()
    assert json.loads(text) == facts | {"search": {"trials": 3}, "varied": ["seed", "model"]}
    assert len(text.splitlines()) > len(facts) and text.endswith("}\n")  # for people to read
    assert names(sweep) == ["sweep.json"]


def test_the_code_that_decides_about_scores_is_known_by_its_digests() -> None:
    digests = code_digests()
    assert {"cells/gru.py", "data/sequence.py", "network.py", "spec.py", "runs/recorder.py"} <= set(digests)
    # whatever a network is made of
    parts = ["network"]
    for part in parts:
        file = Path(rnnlab.__file__).with_name(part) / "__init__.py"
        text = (file if file.exists() else file.parent.with_suffix(".py")).read_text()
        parts += [
            name for name in re.findall(r"^from rnnlab\.(\w+)", text, re.MULTILINE) if name not in (*parts, "errors")
        ]
    assert len(parts) > 15 and not [part for part in parts if not any(file.startswith(part) for file in digests)]
    assert not any(file.startswith(("commands", "launch", "store")) for file in digests)
    assert len(set(digests.values())) > len(digests) // 2 and all(len(digest) == 12 for digest in digests.values())


def test_a_directory_that_holds_something_is_no_place_for_a_sweep(sweep: SweepDirectory, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"s is not empty, and nothing is overwritten or mixed into it: choose another "
                       r"hydra.sweep.dir, or go on with it: rnnlab resume .*s$"):  # fmt: skip
        SweepDirectory.claim(sweep.path, FACTS, chosen=True)
    # a default name gets a number
    others = [SweepDirectory.claim(sweep.path, FACTS, chosen=False).path.name for _ in range(2)]
    assert others == ["s-2", "s-3"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("")
    with pytest.raises(InputError, match=r"mine is not empty.* choose another hydra.sweep.dir$"):
        SweepDirectory.claim(tmp_path / "mine", FACTS, chosen=True)
    with pytest.raises(InputError, match=r"file is not empty"):
        SweepDirectory.claim(tmp_path / "mine" / "file", FACTS, chosen=True)
    with pytest.raises(InputError, match=r"below cannot be written: Not a directory"):
        SweepDirectory.claim(tmp_path / "mine" / "file" / "below", FACTS, chosen=True)
    with pytest.raises(InputError, match=r"mine is no sweep: it has no sweep.json"):
        SweepDirectory.open(tmp_path / "mine")
    assert not is_sweep(tmp_path / "mine")


def test_where_a_file_system_has_no_links_a_sweep_is_claimed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    sweep = SweepDirectory.claim(tmp_path / "s", FACTS, chosen=True)
    assert sweep.facts["overrides"] == ["seed=0,1"] and names(sweep) == ["sweep.json"]


def test_jobs_are_written_down_with_their_directories(sweep: SweepDirectory) -> None:
    trial: Any = {"number": 4, "settings": {"optimizer.lr": "0.1"}, "seed": "7"}
    jobs = [job(0), job(1, "a/b", trial=trial)]
    assert sweep.plan == []
    sweep.add(jobs, ["rnnlab", "train"], ["/conf"])
    assert sweep.plan == [
        {"number": 0, "directory": "0_seed=0", "overrides": ["seed=0"], "digest": jobs[0].digest},
        {"number": 1, "directory": "a/b", "overrides": ["seed=1"], "digest": jobs[1].digest, "trial": trial},
    ]
    lines = (sweep.path / "jobs.json").read_text().splitlines()
    assert [lines[0], len(lines), lines[-1]] == ["[", 4, "]"]  # a job a line
    for each in jobs:
        run = RunDirectory.open(sweep.path / each.name)
        assert run.config == each.config
        told = run.status
        assert (told.state, told.number, told.overrides) == ("queued", each.number, each.overrides)
        assert (told.command, told.config_dirs, told.choices) == (("rnnlab", "train"), ("/conf",), {"model": "gru"})
        assert (told.directory, dict(told.trial)) == (os.getcwd(), trial if each.trial else {})
        assert told.created
    sweep.add([job(2)], ["rnnlab"])
    assert [entry["number"] for entry in sweep.plan] == [0, 1, 2]
    sweep.write_plan([])
    assert sweep.plan == [] and (sweep.path / "jobs.json").read_text() == "[]\n"


def test_a_digest_tells_configs_apart_whatever_the_order_of_their_keys() -> None:
    one = Job(0, "a", (), {"x": 1, "y": {"a": 1, "b": 2}})
    assert one.digest == Job(1, "b", ("x=1",), {"y": {"b": 2, "a": 1}, "x": 1}).digest
    assert one.digest != Job(0, "a", (), {"x": 1, "y": {"a": 1, "b": 3}}).digest
    assert len(one.digest) == 16


def test_two_jobs_of_one_directory_are_refused_before_anything_is_made(sweep: SweepDirectory) -> None:
    with pytest.raises(InputError, match=r"hydra.sweep.subdir gives jobs 0 and 1 the same directory, same: let it "
                       r"name all that they differ in"):  # fmt: skip
        sweep.add([job(0, "same"), job(1, "same")], [])
    assert names(sweep) == ["sweep.json"]
    sweep.add([job(0, "same")], [])
    with pytest.raises(InputError, match="gives jobs 0 and 1 the same directory"):
        sweep.add([job(1, "same")], [])
    assert [entry["number"] for entry in sweep.plan] == [0]


def test_a_full_disk_takes_back_the_jobs_that_it_had_no_room_for(
    sweep: SweepDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep.add([job(0)], [])
    before = (sweep.path / "jobs.json").read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(InputError, match=r"s cannot be written: No space left on device"):
            sweep.add([job(0), job(1)], [])
    assert (sweep.path / "jobs.json").read_bytes() == before
    assert names(sweep) == ["0_seed=0", "jobs.json", "sweep.json"]  # what was there before stays


def test_what_is_written_can_be_read_again(sweep: SweepDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep.add([job(0)], ["rnnlab"])
    sweep.update_facts(note="ä" * 100)
    before = {name: (sweep.path / name).read_bytes() for name in ("sweep.json", "jobs.json")}
    for name, write, read in (
        ("jobs.json", lambda: sweep.write_plan(sweep.plan), lambda: sweep.plan),
        ("sweep.json", lambda: sweep.update_facts(note="ä" * 100), lambda: sweep.facts),
    ):
        monkeypatch.setattr("rnnlab.store.ledger.BYTES", len(before[name]))
        write()
        assert read()
        monkeypatch.setattr("rnnlab.store.ledger.BYTES", len(before[name]) - 1)
        with pytest.raises(InputError, match=r"json (would have|is damaged: it has) more than .* bytes"):
            write()
    monkeypatch.setattr("rnnlab.store.ledger.BYTES", len(before["jobs.json"]) + 20)
    with pytest.raises(InputError, match=r"jobs.json would have more than [0-9,]* bytes: take fewer jobs, or shorter"):
        sweep.add([job(1, "1_ä")], ["rnnlab"])
    assert {name: (sweep.path / name).read_bytes() for name in before} == before
    assert names(sweep) == ["0_seed=0", "jobs.json", "sweep.json"], "no directory is made of a job that cannot be noted"
    with pytest.raises(InputError, match=r"sweep.json would have more than"):
        SweepDirectory.claim(sweep.path.with_name("t"), FACTS, chosen=True)
    assert not sweep.path.with_name("t").exists()


def test_what_was_lost_is_made_anew_and_what_is_whole_stays(sweep: SweepDirectory) -> None:
    jobs = [job(number) for number in range(4)]
    sweep.add(jobs, ["first"])
    whole, cut, gone, half = (sweep.path / each.name for each in jobs)
    RunDirectory(whole).update_status("done", reason="as it was")
    (whole / ".status.json.abcd1234").write_text("{")
    (cut / "status.json").write_text('{"state": "que')
    (gone / "status.json").unlink()
    (gone / "config.yaml").unlink()
    gone.rmdir()
    (half / "config.yaml").write_text("")
    sweep.mend(jobs, ["second"], ["/conf"])
    assert RunDirectory(whole).status.reason == "as it was"
    assert sorted(entry.name for entry in whole.iterdir()) == ["config.yaml", "status.json"]
    for path, each in ((cut, jobs[1]), (gone, jobs[2]), (half, jobs[3])):
        run = RunDirectory.open(path)
        assert run.config == each.config
        assert (run.status.state, run.status.command, run.status.config_dirs) == ("queued", ("second",), ("/conf",))
    assert [entry["number"] for entry in sweep.plan] == [0, 1, 2, 3]


def test_only_what_nobody_has_used_is_taken_away(sweep: SweepDirectory) -> None:
    other = SweepDirectory.claim(sweep.path.parent / "deep" / "down" / "t", FACTS, chosen=True)
    with other.lead():
        (other.path / "multirun.yaml").write_text("")
    other.remove_if_unused()
    assert not (sweep.path.parent / "deep").exists()  # with the parents that it had made
    sweep.add([job(0)], [])
    sweep.remove_if_unused()
    assert names(sweep) == ["0_seed=0", "jobs.json", "sweep.json"]
    mine = SweepDirectory.claim(sweep.path.parent / "u", FACTS, chosen=True)
    (mine.path / "notes").write_text("")
    mine.remove_if_unused()
    assert names(mine) == ["notes"]


def test_one_leads_and_clears_away_what_a_killed_one_left(sweep: SweepDirectory) -> None:
    left = [f".{name}.abcd_123" for name in ("sweep.json", "jobs.json", "leaderboard.csv", "report.html")]
    for name in [*left, ".other.abcd_123"]:
        (sweep.path / name).write_text("half")
    with sweep.lead():
        assert names(sweep) == [".other.abcd_123", "sweep.json", "sweep.lock"]
        assert (sweep.path / "sweep.lock").read_text().startswith(f"process {os.getpid()} on ")
    assert (sweep.path / "sweep.lock").read_text() == ""  # given back


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("sweep.json", "{}", "it has no overrides"),
        ("sweep.json", '{"overrides": []}', "it has no varied"),
        ("sweep.json", '{"overrides": [5], "varied": []}', "overrides.0: Input should be a valid string"),
        ("sweep.json", "[]", "Input should be a valid dictionary"),
        ("sweep.json", "{", "Expecting property name"),
        ("jobs.json", "{}", "Input should be a valid list"),
        ("jobs.json", "[{}]", "a job has no number"),
        ("jobs.json", '[{"number": 0, "directory": "a", "overrides": []}]', "a job has no digest"),
        ("jobs.json", '[{"number": "0"}]', "0.number: Input should be a valid integer"),
        ("jobs.json", "[A, A]", "job 0 is there twice, or no job"),
        ("jobs.json", '[A, {"number": 1, "directory": "a", "overrides": [], "digest": "x"}]', "job 1 is there twice"),
        ("jobs.json", '[A, {"number": 0, "directory": "b", "overrides": [], "digest": "x"}]', "job 0 is there twice"),
        ("jobs.json", '[{"number": -1, "directory": "b", "overrides": [], "digest": "x"}]', "job -1 is there"),
    ],
)
def test_a_ledger_that_is_none(name: str, content: str, message: str, sweep: SweepDirectory) -> None:
    entry = '{"number": 0, "directory": "a", "overrides": [], "digest": "x"}'
    (sweep.path / name).write_text(content.replace("A", entry))
    with pytest.raises(InputError) as error:
        _ = sweep.plan if name == "jobs.json" else sweep.facts
    assert str(error.value).startswith(f"{sweep.path / name} is damaged: {message}"), error.value


def test_a_ledger_that_is_not_there_or_unreadable(sweep: SweepDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    (sweep.path / "sweep.json").unlink()
    with pytest.raises(Damaged, match="it is not there"):
        _ = sweep.facts

    def refused(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.os, "open", refused)
    with pytest.raises(InputError, match=r"sweep.json cannot be read: Permission denied"):
        _ = sweep.facts


@pytest.mark.parametrize("name", ["", ".", "/", " . /", "/etc", "..", "a/../../b", "../b", "a/..", "a\0b"])
def test_a_job_lies_below_its_sweep(name: str, sweep: SweepDirectory) -> None:
    with pytest.raises(InputError, match=r"^key=.*: must be a directory below the sweep's own"):
        check_name(name, "key")
    plan = [{"number": 0, "directory": name, "overrides": [], "digest": "x"}]
    (sweep.path / "jobs.json").write_text(json.dumps(plan))
    with pytest.raises(InputError, match="must be a directory below the sweep's own"):
        _ = sweep.plan


def test_names_below_are_fine_and_links_out_are_not(sweep: SweepDirectory, tmp_path: Path) -> None:
    for name in ("a", "a/b", "0_x=..y", "...a", ".a"):
        check_name(name, "key")
    (sweep.path / "out").symlink_to(tmp_path)
    with pytest.raises(InputError, match=r"out is a link that leads out of .*s: nothing is written there"):
        sweep.run("out")
    assert sweep.run("in").path == sweep.path / "in"


def test_what_differs_is_named() -> None:
    old = {"a": 1, "b": {"c": 1, "d": {"e": 2}}, "f": 3, "g": {"h": 1}, "i": 4}
    new = {"a": 1, "b": {"c": 5, "d": {"e": 3}}, "g": 7, "j": 8, "i": 4}
    assert differing(old, new) == [
        "b.c was 1 and is 5", "b.d.e was 2 and is 3", "f was 3 and is gone", "g was {'h': 1} and is 7",
        "j was not there and is 8",
    ]  # fmt: skip
    assert differing(new, new) == []
