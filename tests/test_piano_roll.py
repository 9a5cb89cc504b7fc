"""Several labels a step: what is read from files of music, what is scored, and beside what."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from conftest import compose

from rnnlab.cells.gru import GRU
from rnnlab.data.piano_roll import PianoRoll, made
from rnnlab.data.readers import reader_from_plain
from rnnlab.data.split import SPLITS
from rnnlab.errors import InputError
from rnnlab.files.rolls import KEYS, LOWEST, NAMES, read
from rnnlab.files.source import Source
from rnnlab.network import Network
from rnnlab.runs.build import build
from rnnlab.spec import Batch
from rnnlab.tasks.multilabel import MultiLabel

A4, C4 = 69, 60


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def keys(roll: np.ndarray, step: int) -> set[str]:
    return {NAMES[key] for key in np.flatnonzero(roll[step])}


def test_the_keys_have_their_names() -> None:
    assert (NAMES[0], NAMES[C4 - LOWEST], NAMES[A4 - LOWEST], NAMES[-1], len(NAMES)) == ("A0", "C4", "A4", "C8", 88)


def test_a_table_has_a_row_for_each_key_that_is_down(tmp_path: Path) -> None:
    rows = ["one,0,60,train", "one,0,64,train", "one,2,69,train", "two,1,60,valid", "three,1,21,test"]
    file = written(tmp_path / "music.csv", "\n".join(["sequence,step,note,split", *rows]))
    rolls = read(file, 2)
    (one,), (two,), (three,) = rolls["train"], rolls["val"], rolls["test"]
    assert [keys(one, step) for step in range(3)] == [{"C4", "E4"}, set(), {"A4"}]
    assert one.shape == (3, KEYS) and keys(two, 1) == {"C4"} and keys(three, 1) == {"A0"}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "sequence,step,note\na,0,60\na,1,20\n", r"row 2, column 'note': 20 is not between 21 and 108"),
        ("a.csv", "sequence,step,note\na,-1,60\n", r"row 1, column 'step': -1 is not counted from 0"),
        ("a.csv", "sequence,step,note\na,0.5,60\n", r"row 1, column 'step': a whole number is needed"),
        ("a.csv", "sequence,step,key\na,0,60\n", r"has no column 'note'"),
        ("a.csv", "sequence,step,note\na,0,60\n", r"1 of its pieces have fewer than two steps"),
        ("a.csv", "sequence,step,note,split\na,0,60,dev\na,1,60,dev\n", r"'dev' is not train, val or test"),
        ("a.mp3", "", r"a \.mat, \.csv or \.mid file, or a folder of \.mid files"),
    ],
)
def test_what_is_no_music_is_one_line(name: str, text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read(written(tmp_path / name, text), 2)
    assert str(caught.value).startswith(f"data.path={tmp_path / name}") and "\n" not in str(caught.value)


def test_a_folder_without_midi_and_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file of this folder is named \*\.mid"):
        read(tmp_path, 2)
    with pytest.raises(InputError, match=r"there is no such file or folder"):
        read(tmp_path / "none", 2)


@pytest.mark.needs("scipy")
def test_the_published_form_is_read_and_training_cut(tmp_path: Path) -> None:
    from scipy.io import savemat

    def pieces(*lengths: int) -> np.ndarray:
        found = np.empty((1, len(lengths)), object)
        found[0, :] = [np.eye(length, KEYS, dtype=np.uint8) for length in lengths]
        return found

    file = tmp_path / "music.mat"
    savemat(file, {"traindata": pieces(10, 5), "validdata": pieces(9, 8), "testdata": pieces(12, 7, 6)})
    data = PianoRoll(path=str(file), length=4)
    assert [data.size(split) for split in ("train", "val", "test")] == [4, 2, 3]  # 9 = 4 + 4 + 1 steps, and 4
    assert data.spec.length == 11
    batch = data.split("train").batch(slice(0, 3))
    assert batch.lengths.tolist() == [4, 4, 1]
    assert batch.inputs[1].argmax(-1).tolist() == [4, 5, 6, 7] and batch.targets[1].argmax(-1).tolist() == [5, 6, 7, 8]
    savemat(file, {"traindata": pieces(10, 5)})
    with pytest.raises(InputError, match="has no validdata and no testdata"):
        read(file, 2)
    file.write_bytes(b"no matlab")
    with pytest.raises(InputError, match="cannot be read"):
        read(file, 2)


@pytest.mark.needs("mido")
def test_notes_of_midi_fall_on_the_grid(tmp_path: Path) -> None:
    import mido

    file = mido.MidiFile(ticks_per_beat=480)
    # so many ticks after the message before: a beat of C4, and A4 struck and let go of just before the third step
    pitches = [("note_on", C4, 0), ("note_off", C4, 480), ("note_on", A4, 230), ("note_off", A4, 5)]
    drums = [("note_on", 40, 0), ("note_on", 40, 960)]
    for channel, messages in ((0, pitches), (9, drums)):
        track = mido.MidiTrack()
        track.extend(mido.Message(kind, note=note, time=time, channel=channel) for kind, note, time in messages)
        file.tracks.append(track)
    file.save(tmp_path / "a.mid")
    (roll,) = read(tmp_path, 2)[None]
    assert [keys(roll, step) for step in range(len(roll))] == [{"C4"}, {"C4"}, set(), {"A4"}]
    (tmp_path / "b.mid").write_bytes(b"no midi")
    with pytest.raises(InputError, match=r"b\.mid cannot be read as MIDI"):
        read(tmp_path, 2)
    assert np.array_equal(read(tmp_path / "a.mid", 2)[None], [roll])


def test_of_one_piece_the_end_is_the_test(tmp_path: Path) -> None:
    rows = [f"one,{step},{40 + step}" for step in range(40)]
    path = written(tmp_path / "one.csv", "\n".join(["sequence,step,note", *rows, ""]))
    data = PianoRoll(path=str(path), length=16, val_fraction=0.1, test_fraction=0.2)
    heard = {
        split: [data.sample(np.random.default_rng(0), split, i) for i in range(data.size(split))] for split in SPLITS
    }
    down = {split: [sample.inputs.argmax(1) + LOWEST - 40 for sample in heard[split]] for split in SPLITS}
    assert [part.tolist() for part in down["train"]] == [list(range(16)), list(range(16, 27))]
    assert [part.tolist() for part in down["val"]] == [[28, 29, 30]]
    assert [part.tolist() for part in down["test"]] == [list(range(32, 39))]
    short = written(tmp_path / "short.csv", "\n".join(["sequence,step,note", *rows[:12], ""]))
    with pytest.raises(InputError, match="leaves no piece for val"):
        _ = PianoRoll(path=str(short), val_fraction=0.1).spec


def test_made_music_is_chords_of_one_key() -> None:
    roll = made(np.random.default_rng(0), 65)
    assert (roll.sum(1) == 5).all()
    for start in range(0, 64, 4):  # bass and triad are held for a chord
        assert len({tuple(roll[step, : 72 - LOWEST]) for step in range(start, start + 4)}) == 1
    pitches = {(key + LOWEST) % 12 for key in np.flatnonzero(roll.any(0))}
    assert len(pitches) <= 7


def task(**options: Any) -> tuple[MultiLabel, PianoRoll]:
    data = PianoRoll(num_samples=30, length=6, **options)
    torch.manual_seed(0)
    return MultiLabel(Network(data.spec.input, data.spec.target, GRU, hidden_size=4), data.spec), data


def test_the_loss_is_in_nats_a_step_summed_over_the_labels() -> None:
    objective, data = task()
    batch = data.split("train").batch(slice(0, 2))
    even = torch.zeros_like(batch.targets)
    assert float(objective.loss(even, batch)) == pytest.approx(KEYS * math.log(2))
    short = Batch(batch.inputs, batch.targets, torch.tensor([6, 2]))
    output = torch.randn_like(even)
    alone = [objective.loss(output[k : k + 1, :n], Batch(batch.inputs[k : k + 1, :n], batch.targets[k : k + 1, :n]))
             for k, n in enumerate((6, 2))]  # fmt: skip
    assert float(objective.loss(output, short)) == pytest.approx(float((6 * alone[0] + 2 * alone[1]) / 8), rel=1e-5)
    nats, steps = objective.judge(output, short)
    assert torch.allclose(nats, torch.stack(alone)) and steps.tolist() == [6, 2]


def test_the_baselines_are_shares_of_the_training_part() -> None:
    objective, data = task()
    train, test = data.split("train"), data.split("test")
    share = (train.inputs[:, 0].sum(0) + train.targets.sum((0, 1)) + 1) / (24 * 7 + 2)
    everything = test.batch(slice(None))
    assert torch.allclose(objective.baseline(everything)[0, 0].sigmoid(), share, atol=1e-5)
    down, steps = torch.zeros(2, KEYS), torch.zeros(2, KEYS)
    for before in (0, 1):
        there = train.inputs == before
        down[before], steps[before] = (train.targets * there).sum((0, 1)), there.sum((0, 1))
    p = (down + 1) / (steps + 2)
    said = torch.where(test.inputs == 1, p[1], p[0])
    repeat = torch.nn.functional.binary_cross_entropy(said, test.targets, reduction="none").sum(-1).mean()
    assert data.baselines()["repeat"] == pytest.approx(float(repeat), rel=1e-5)


def test_an_ensemble_says_the_mean_probability_and_a_table_has_names() -> None:
    objective, data = task()
    outputs = torch.randn(3, 2, 6, KEYS)
    assert torch.allclose(objective.combine(outputs).sigmoid(), outputs.sigmoid().mean(0), atol=1e-6)
    batch = data.split("test").batch(slice(0, 2))
    rows, columns = objective.predictions(batch)
    assert rows.tolist() == [0] * 6 + [1] * 6 and len(columns["p(C4)"]) == 12
    assert set(columns["truth"][0].split()) == {NAMES[key] for key in batch.targets[0, 0].nonzero()[:, 0].tolist()}


def test_other_numbers_than_zero_and_one_are_refused() -> None:
    data = build(compose("data=sine")["data"], "data")
    with pytest.raises(InputError, match=r"task=multilabel is for targets that are 0 or 1"):
        MultiLabel(Network(data.spec.input, data.spec.target, GRU), data.spec)


# ---- new music ------------------------------------------------------------------------------------------


NOTES = "sequence,step,note\none,0,60\none,0,64\none,2,69\ntwo,1,62\n"


def read_by_a_run(place: Path, **options: Any) -> dict[str, list[set[str]]]:
    """The keys that are down at each step of each piece, as a run's reader finds them in a file."""
    reader = reader_from_plain(PianoRoll(num_samples=30, **options).reader.plain())
    return {
        str(given.name): [keys(given.inputs, step) for step in range(len(given.inputs))]
        for given in reader.read(reader.open(place))
    }


def test_new_music_is_read_from_the_table_that_training_reads_or_with_a_column_a_key(tmp_path: Path) -> None:
    expected = {"one": [{"C4", "E4"}, set(), {"A4"}], "two": [set(), {"D4"}]}
    notes = written(tmp_path / "notes.csv", NOTES)
    assert read_by_a_run(notes) == expected
    (tmp_path / "notes.tsv").write_text(NOTES.replace(",", "\t"))
    assert read_by_a_run(tmp_path / "notes.tsv") == expected
    pl.read_csv(notes).write_parquet(tmp_path / "notes.parquet")
    assert read_by_a_run(tmp_path / "notes.parquet") == expected
    wide = [",".join(["sequence", *NAMES])]
    wide += [",".join(["one", *(str(int(name in step)) for name in NAMES)]) for step in expected["one"]]
    assert read_by_a_run(written(tmp_path / "wide.csv", "\n".join(wide))) == {"one": expected["one"]}
    reader = PianoRoll(num_samples=30).reader
    assert [given.name for given in reader.take(pl.read_csv(notes))] == ["one", "two"]
    assert "a,0,60" in reader.describe() and "2 steps to a quarter note" in reader.describe()


@pytest.mark.needs("mido")
def test_new_music_is_read_from_midi_on_the_grid_of_training(tmp_path: Path) -> None:
    import mido

    file = mido.MidiFile(ticks_per_beat=480)
    track = mido.MidiTrack([mido.Message("note_on", note=C4, time=0), mido.Message("note_off", note=C4, time=480)])
    file.tracks.append(track)
    file.save(tmp_path / "tune.mid")
    assert read_by_a_run(tmp_path / "tune.mid") == {"tune": [{"C4"}] * 2}
    assert read_by_a_run(tmp_path / "tune.mid", steps_per_beat=4) == {"tune": [{"C4"}] * 4}
    mido.MidiFile(ticks_per_beat=480).save(tmp_path / "silence.mid")
    with pytest.raises(InputError, match="none of the 88 keys of a piano is down in it"):
        read_by_a_run(tmp_path / "silence.mid")
    (tmp_path / "noise.mid").write_bytes(b"no midi")
    with pytest.raises(InputError, match="cannot be read as MIDI"):
        read_by_a_run(tmp_path / "noise.mid")


@pytest.mark.needs("scipy")
def test_new_music_is_read_from_the_published_form(tmp_path: Path) -> None:
    from scipy.io import savemat

    parts = {}
    for name, steps in (("traindata", 3), ("validdata", 2), ("testdata", 4)):
        parts[name] = np.empty((1, 1), object)
        parts[name][0, 0] = np.eye(steps, KEYS, dtype=np.uint8)
    savemat(tmp_path / "music.mat", parts)
    found = read_by_a_run(tmp_path / "music.mat")
    assert {name: len(steps) for name, steps in found.items()} == {"train 0": 3, "val 0": 2, "test 0": 4}
    assert found["test 0"][2] == {"B0"}
    reader = PianoRoll(num_samples=30).reader
    with pytest.raises(InputError, match="music as mat is read from the disk"):
        next(reader.read(Source("standard input", "mat", b"x")))


def test_a_table_of_notes_that_cannot_be_read_names_its_row(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"bad\.csv, row 1, column 'note': 20 is not between 21 and 108"):
        read_by_a_run(written(tmp_path / "bad.csv", "sequence,step,note\na,0,20\n"))
