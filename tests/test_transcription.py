"""CTC: its loss and searches against brute force, its laws, its data, and what a run with it can do."""

import importlib.util
import io
import math
import signal
import sys
from collections import defaultdict
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from conftest import compose
from torch import Tensor

from rnnlab import ctc, load
from rnnlab.cells.gru import GRU
from rnnlab.commands import predict as predict_command
from rnnlab.data.augmentation import Augmentation
from rnnlab.data.dial_tones import HIGH, KEYS, LOW, RATE, DialTones
from rnnlab.data.feature_reader import Moments
from rnnlab.data.log_mel import LogMel
from rnnlab.data.speech import Speech
from rnnlab.data.split import SPLITS
from rnnlab.errors import InputError, Interrupted
from rnnlab.network import Network
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.evaluation import evaluate
from rnnlab.runs.execution import Outcome
from rnnlab.runs.preparation import prepare
from rnnlab.runs.verdict.causes import causes_of
from rnnlab.runs.verdict.evidence import Evidence
from rnnlab.spec import IGNORED, Batch, DataSpec, InputSpec, TargetSpec
from rnnlab.store.verdict import Judgement
from rnnlab.tasks.sequence_scores import Truth, word_errors
from rnnlab.tasks.transcription import Transcription
from rnnlab.use.language import LanguageRun
from rnnlab.use.transcription import TranscriptionRun

Train = Callable[..., Outcome]
ROOT = Path(__file__).parents[1]
BLANK = 2
SPEC = DataSpec(
    InputSpec(features=3), TargetSpec("sequence", 4, ("a", "b", " ", "<end>"), end=3, unit="character"), 9,
    token_frequencies=(0.3, 0.2, 0.2, 0.3), common_target=(0, 1),
)  # fmt: skip


def task(**options: Any) -> Transcription:
    torch.manual_seed(0)
    network = Network(SPEC.input, Transcription.output(SPEC), GRU, **{"hidden_size": 5, **options})
    return Transcription(network, SPEC).double().eval()


def sequences_of(log_probs: Tensor) -> dict[tuple[int, ...], float]:
    """The logarithm of the probability of every sequence, path by path."""
    found: dict[tuple[int, ...], float] = defaultdict(float)
    for path in product(range(log_probs.shape[1]), repeat=len(log_probs)):
        said = [token for k, token in enumerate(path) if token != BLANK and (not k or path[k - 1] != token)]
        found[tuple(said)] += math.exp(sum(float(log_probs[k, token]) for k, token in enumerate(path)))
    return {said: math.log(probability) for said, probability in found.items()}


@pytest.mark.parametrize("seed", range(4))
def test_loss_and_search_are_those_of_all_paths_one_by_one(seed: int) -> None:
    scores = 2 * torch.randn(1, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    lengths = torch.tensor([5])
    log_probs = ctc.log_probabilities(scores, lengths)[0]
    every = sequences_of(log_probs)
    for said, expected in every.items():
        target = torch.tensor([[*said, IGNORED]])
        loss = ctc.negative_log_likelihood(scores, lengths, target, BLANK)
        assert float(-loss) == pytest.approx(expected, abs=1e-9)
    ranked = sorted(every, key=lambda said: -every[said])
    assert ctc.prefix_beam_search(log_probs.tolist(), BLANK, 1000) == ranked
    assert ctc.prefix_beam_search(log_probs.tolist(), BLANK, 20)[0] == ranked[0]
    path = ctc.best_path(scores, lengths, BLANK).tokens[0]
    best = log_probs.argmax(-1).tolist()
    said = [token for k, token in enumerate(best) if token != BLANK and (not k or best[k - 1] != token)]
    assert path[path != IGNORED].tolist() == said


def test_a_beam_of_one_is_greedy_where_the_network_is_sure() -> None:
    """Else it need not be: a search adds the paths of a prefix up, and greedy looks at one path."""
    path = [0, 0, 2, 0, 1, 1, 2, 2, 1]
    scores = 50 * torch.nn.functional.one_hot(torch.tensor([path]), 3).double()
    lengths = torch.tensor([len(path)])
    (found,) = ctc.prefix_beam_search(ctc.log_probabilities(scores, lengths)[0].tolist(), BLANK, 1)
    assert list(found) == ctc.best_path(scores, lengths, BLANK).tokens[0].tolist() == [0, 0, 1, 1]
    # two paths that say a are together more probable than the one that says nothing
    unsure = torch.tensor([[[0.4, 0.0, 0.6], [0.4, 0.0, 0.6]]]).double().log()
    assert ctc.best_path(unsure, torch.tensor([2]), BLANK).tokens.tolist() == [[IGNORED]]
    assert ctc.prefix_beam_search(unsure[0].tolist(), BLANK, 3)[0] == (0,)


def test_a_stream_says_what_the_best_path_says_and_where() -> None:
    scores = torch.randn(3, 40, 4, generator=torch.Generator().manual_seed(1))
    path = ctc.best_path(scores, torch.tensor([40, 40, 40]), BLANK)
    for row in range(3):
        greedy = ctc.Greedy(BLANK)
        said = [(step, token) for step, best in enumerate(scores[row].argmax(-1).tolist())
                if (token := greedy(best)) is not None]  # fmt: skip
        kept = path.tokens[row] != IGNORED
        assert said == list(zip(path.steps[row][kept].tolist(), path.tokens[row][kept].tolist(), strict=True))


def test_how_many_steps_a_target_needs() -> None:
    targets = torch.tensor([[0, 0, 1, IGNORED], [0, 1, 0, 1], [IGNORED] * 4, [1, 1, 1, 1]])
    assert ctc.steps_needed(targets).tolist() == [4, 4, 0, 7]


@pytest.mark.parametrize(
    "options", [{}, {"bidirectional": True, "num_layers": 2}, {"encoder": "conv", "encoder_stride": 2}]
)
def test_padding_on_either_side_changes_nothing(options: dict[str, Any]) -> None:
    made = task(**options)
    generator = torch.Generator().manual_seed(2)
    one, two = (torch.randn(1, n, 3, generator=generator, dtype=torch.float64) for n in (9, 6))
    targets = torch.tensor([[0, 1, 0, 3], [1, 3, IGNORED, IGNORED]])
    padded = torch.full((2, 11, 3), math.nan, dtype=torch.float64)
    padded[0, :9], padded[1, :6] = one[0], two[0]
    wide = torch.cat([targets, torch.full((2, 3), IGNORED)], 1)
    together = Batch(padded, wide, torch.tensor([9, 6]))
    alone = [Batch(one, targets[:1]), Batch(two, targets[1:, :2])]
    answers, whole = [made.answer(batch) for batch in alone], made.answer(together)
    losses = [made.loss(answer, batch) * made.weight(batch) for answer, batch in zip(answers, alone, strict=True)]
    torch.testing.assert_close(made.loss(whole, together) * made.weight(together), sum(losses))
    for row, answer in enumerate(answers):
        said = whole.tokens[row]
        assert said[said != IGNORED].tolist() == answer.tokens[0][answer.tokens[0] != IGNORED].tolist()
    gradients = []
    for batches in (alone, [together]):
        made.zero_grad()
        sum(made.loss(made(batch), batch) * made.weight(batch) for batch in batches).backward()  # type: ignore[union-attr]
        gradients.append([p.grad.clone() for p in made.network.parameters() if p.grad is not None])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_baseline_knows_how_frequent_each_token_is() -> None:
    frequencies = task().frequencies(torch.tensor([9, 1]))
    torch.testing.assert_close(frequencies.sum(1), torch.ones(2))
    torch.testing.assert_close(frequencies[0, :3], torch.tensor([0.3, 0.2, 0.2]) / 0.3 / 9)
    assert float(frequencies[1, 3]) == pytest.approx(0.1)


def test_words_are_counted_between_spaces() -> None:
    truth = torch.tensor([[0, 1, 2, 1, 2, 0], [0, 2, 1, IGNORED, IGNORED, IGNORED]])
    said = torch.tensor([[0, 1, 2, 2, 0, IGNORED], [0, 2, 1, 2, IGNORED, IGNORED]])
    wrong, asked = word_errors(said, Truth(truth, truth[:, None]), 2)
    assert wrong.tolist() == [1, 0] and asked.tolist() == [3, 2]


def test_a_readout_in_closed_form_knows_no_ctc() -> None:
    with pytest.raises(InputError, match=r"model.solver=ridge solves a readout by least squares"):
        task(solver="ridge")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=number_words", "task=transcription"], r"sequence \d+ of train has \d+ steps of the network"),
        (["data=dial_tones", "data.hop=0.0001"], r"data.hop=0.0001: from one frame to the next there are 1 samples"),
        (["data=dial_tones", "data.hop=0.1"], r"data.hop=0.1: .* at most the 256 of data.window=0.032"),
        (["data=dial_tones", "data.bands=400"], r"data.bands=400: \d+ of the bands lie between two frequencies"),
        (["data=dial_tones", "data.tone=[0.2,0.1]"], r"data.tone=\[0.2, 0.1\]: the low end comes first"),
        (["data=dial_tones", "data.min_keys=9"], r"data.min_keys=9 may not be above data.keys=7"),
        (["data=dial_tones", "model=esn", "model.solver=ridge"], r"model.solver=ridge solves a readout"),
        (["data=dial_tones", "model.encoder=conv", "model.encoder_stride=60"], r"so have [\d,]+ of 32: give longer"),
    ],
)  # fmt: skip
def test_wrong_settings_are_named_before_training(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepare(compose(*overrides, "data.num_samples=40", "trainer.accelerator=cpu"))


def test_only_blanks_are_named_with_what_helps() -> None:
    evidence = Evidence(
        metrics={"test/blank_share": 1.0}, config={"optimizer.lr": 0.001, "model.encoder": "none"}, steps=10, budget=10
    )
    causes = causes_of(evidence, Judgement.NOT_BETTER, "character_error_rate", 1.0, "most frequent output")
    (cause,) = (cause for cause in causes if "the blank collapse of CTC" in cause.seen)
    words = [word for advice in cause.advice if advice for word in advice.words]
    assert "optimizer.lr=0.003" in words and "model.encoder=conv" in words


# ---- sounds ------------------------------------------------------------------------------------------


def test_bands_are_where_the_tone_is_and_frames_know_no_later_ones() -> None:
    ear = LogMel(RATE, 40, 0.032)
    time = np.arange(RATE) / RATE
    features = ear(np.sin(2 * np.pi * 1000 * time))
    assert features.shape == (ear.frames(RATE), 40)
    centre = ear.filters[:, int(features.mean(0).argmax())].argmax() * RATE / 2 / (ear.points // 2)
    assert abs(float(centre) - 1000) < 100
    noise = np.random.default_rng(0).standard_normal(RATE)
    np.testing.assert_allclose(ear(noise[:4000]), ear(noise)[: ear.frames(4000)])
    assert len(ear(noise[:10])) == 1


def test_a_key_is_the_sum_of_its_two_tones() -> None:
    data = DialTones(num_samples=30, snr=(60, 60), keys=1, min_keys=1, tone=(0.2, 0.2), pause=(0.05, 0.05))
    for number in range(5):
        wave, (key,) = data.sound(np.random.default_rng(number))
        spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 8 * RATE))
        row, column = divmod(key, 3)
        low, high = (np.argmax(spectrum[8 * start : 8 * end]) / 8 + start for start, end in ((600, 1050), (1100, 1700)))
        assert abs(low - LOW[row]) < 3 and abs(high - HIGH[column]) < 3 and KEYS[key] in "0123456789*#"


# ---- runs --------------------------------------------------------------------------------------------

SHORT = (
    "data=dial_tones", "data.num_samples=60", "data.batch_size=16", "model.hidden_size=8", "model.bidirectional=false",
    "instruments=none",
)  # fmt: skip


@pytest.mark.slow
def test_a_run_stopped_in_the_middle_of_an_epoch_ends_as_one_never_stopped(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = (*SHORT, "trainer.max_epochs=3", "model.dropout=0.2", "model.num_layers=2")

    def scores(directory: RunDirectory) -> dict[str, float]:
        return {name: value for name, value in directory.metrics.items() if not name.startswith("seconds")}

    whole = train(*overrides).directory
    step, reached = Transcription.training_step, []

    def stop(self: Transcription, batch: Batch, batch_idx: int) -> Tensor:
        if (self.current_epoch, batch_idx) == (1, 2) and not reached:
            reached.append(True)
            signal.raise_signal(signal.SIGINT)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Transcription, "training_step", stop)
    with pytest.raises(Interrupted):
        train(*overrides)
    directory = RunDirectory.open(tmp_path / "run1")
    train(*overrides, resume=directory)
    assert scores(directory) == scores(whole)


@pytest.mark.slow
def test_a_run_predicts_its_test_data_new_data_and_a_stream_alike(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = train(*SHORT, "trainer.max_epochs=8", "optimizer.lr=0.02")
    scores = {"test/character_error_rate", "test/exact_match", "test/blank_share", "baseline/loss"}
    assert scores <= outcome.metrics.keys()
    assert evaluate(outcome.directory.config, outcome.directory)["test/loss"] == outcome.metrics["test/loss"]
    model = load(outcome.directory.path)
    assert "sounds of 8,000 samples a second" in model.describe()
    data = DialTones(num_samples=60, batch_size=16)
    sounds = [data.sound(np.random.default_rng((0, 2, i)))[0] for i in range(data.size("test"))]
    table = model.predict(sounds)
    assert table.columns == ["sequence", "prediction", "score", "alignment"]
    best = model.predict(sounds, beam=4, nbest=2)
    assert best["rank"].to_list() == [1, 2] * len(sounds)
    assert (best.filter(pl.col("rank") == 1)["score"].to_numpy() >= table["score"].to_numpy() - 1e-4).all()
    with pytest.raises(InputError, match="nbest=3 is more than the beam=2 keeps"):
        model.predict(sounds, beam=2, nbest=3)
    model.searching(beam=2)
    with pytest.raises(InputError, match="--stream with --beam or --nbest"):
        list(model.stream([]))
    with pytest.raises(InputError, match="--stream with --beam or --nbest"):
        model.stream_of("-")
    model.searching()
    raw = io.BytesIO((sounds[0] * 2**15).astype("<i2").tobytes())
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": io.BufferedReader(raw)}))  # type: ignore[arg-type]
    assert predict_command.main([str(outcome.directory.path), "--stream"]) == 0
    said = [line.split(",")[1] for line in capsys.readouterr().out.splitlines()[1:]]
    again = model.predict((sounds[0] * 2**15).astype("<i2") / 2**15)["prediction"][0]
    assert "".join(said) == again


def test_a_language_model_chooses_among_as_many_as_are_asked_for() -> None:
    language = LanguageRun.__new__(LanguageRun)
    for beam, kept in ((None, 8), (3, 3)):
        run = TranscriptionRun.__new__(TranscriptionRun)
        if beam is not None:
            run.searching(beam=beam)
        run.rescoring(language, 0.5)
        assert run.beam == kept
    run = TranscriptionRun.__new__(TranscriptionRun)
    run.searching(beam=1)
    with pytest.raises(InputError, match="--beam 1 and --language-model"):
        run.rescoring(language, 0.5)


# ---- speech of one's own -----------------------------------------------------------------------------


def sounds(folder: Path, number: int, rate: int = 8000) -> list[Path]:
    """Files with half a second or so of a key's tones."""
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"s{k}-1-{k}.wav" for k in range(number)]
    for k, path in enumerate(paths):
        time = np.arange(rate // 2 + 40 * k) / rate
        noise = 0.05 * np.random.default_rng(k).standard_normal(len(time))
        soundfile.write(path, 0.3 * np.sin(2 * np.pi * LOW[k % 4] * time) + noise, rate)
    return paths


def write_table(folder: Path, rows: list[str]) -> Path:
    table = folder / "table.csv"
    table.write_text("path,text,speaker,split\n" + "\n".join(rows) + "\n")
    return table


@pytest.mark.needs("soundfile")
def test_speech_is_read_in_the_three_usual_forms(tmp_path: Path) -> None:
    lj, libri = tmp_path / "lj", tmp_path / "libri" / "1" / "2"
    names = [path.stem for path in sounds(lj / "wavs", 12)]
    (lj / "metadata.csv").write_text("".join(f"{name}|Raw {k}|tone {k % 4}\n" for k, name in enumerate(names)))
    sounds(libri, 12)
    (libri / "1-2.trans.txt").write_text("".join(f"{name} TONE {k % 4}\n" for k, name in enumerate(names)))
    rows = [f"wavs/{name}.wav,tone {k % 4},s{k % 3}," for k, name in enumerate(names)]
    options: dict[str, Any] = {"val_fraction": 0.2, "test_fraction": 0.2}
    found = [Speech(path=str(path), **options) for path in (lj, tmp_path / "libri", write_table(lj, rows))]
    for data in found:
        assert data.spec.input.features == 40 and data.ear.rate == 8000
        assert sum(data.size(name) for name in SPLITS) == 12
        assert set(data.tokens) >= {"<unk>", " ", "t", "o", "n", "e"}
    assert torch.equal(found[0].split("test").inputs, found[1].split("test").inputs)
    by_speaker = Speech(path=str(lj / "table.csv"), split_by="speaker", scaling="per_speaker", **options)
    speakers = [{each.speaker for each in by_speaker._parts[name]} for name in SPLITS]
    assert sum(map(len, speakers)) == len(set().union(*speakers)) == 3
    means = torch.cat([row[:n] for row, n in zip(by_speaker.split("test").inputs,
                                                  by_speaker.split("test").lengths, strict=True)])  # fmt: skip
    assert means.mean(0).abs().max() < 1e-4
    fixed = write_table(
        lj, [f"wavs/{name}.wav,tone,,{('train', 'dev', 'test')[k % 3]}" for k, name in enumerate(names)]
    )
    assert [Speech(path=str(fixed)).size(name) for name in SPLITS] == [4, 4, 4]


@pytest.mark.needs("soundfile")
@pytest.mark.parametrize("scaling", ["standard", "per_speaker", "per_sequence", "none"])
def test_features_that_are_not_kept_are_the_same_again(tmp_path: Path, scaling: Any) -> None:
    names = [path.name for path in sounds(tmp_path, 9)]
    table = write_table(tmp_path, [f"{name},tone {k % 2},s{k % 2}," for k, name in enumerate(names)])
    kept, anew, some = (
        Speech(path=str(table), scaling=scaling, cache=cache, val_fraction=0.2, test_fraction=0.2)
        for cache in (1.0, 0.0, 30e-6)
    )
    for split in SPLITS:
        batch, again = (data.split(split).batch(slice(None)) for data in (kept, anew))
        assert torch.equal(batch.inputs, again.inputs) and torch.equal(batch.targets, again.targets)
        for index, row in enumerate(batch.inputs):
            one = kept.sample(np.random.default_rng(0), split, index)
            assert torch.equal(row[: len(one.inputs)], torch.from_numpy(one.inputs).float())
            assert batch.targets[index].tolist()[: len(one.target)] == one.target.tolist()  # type: ignore[arg-type]
    assert kept.spec == anew.spec == some.spec
    sizes = [sum(part.nbytes for part in data.features._kept.values()) for data in (kept, anew, some)]
    assert sizes[1] == 0 < sizes[2] <= 30_000 < sizes[0]


def test_moments_of_parts_are_those_of_the_whole() -> None:
    values = np.random.default_rng(0).normal((3, -1e4, 0), (2, 1e-1, 0), (60, 3))
    found = Moments.together([Moments.of(part) for part in np.split(values, (5, 6, 40))])
    assert found.steps == 60
    for part, whole in zip(found.scale, (values.mean(0), [values[:, 0].std(), values[:, 1].std(), 1.0]), strict=True):
        assert part == pytest.approx(whole, rel=1e-9)


ESPEAK = """#!/bin/sh
# says what the program says of itself; for a sound it notes the command
case "$1" in
--version) echo "eSpeak NG text-to-speech: 9.9  Data at: here" ;;
--voices=en) echo "ACCENTS" ;;
--voices=variant) echo "TIMBRES" ;;
*) echo "$@" > "${10}" ;;
esac
"""


def test_no_voice_of_the_synthetic_digits_is_in_two_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("spoken_digits", ROOT / "docs" / "spoken_digits.py")
    assert spec is not None and spec.loader is not None
    spoken = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(spoken)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()

    def ended(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["spoken_digits.py", *arguments])
        return int(spoken.main())

    assert ended(str(tmp_path / "a")) == 2  # there is no such program
    program = tmp_path / "bin" / "espeak-ng"
    voices = {
        what: " ".join(name for split in spoken.VOICES.values() for name in split[what])
        for what in ("accent", "timbre")
    }
    for timbres, status in ((voices["timbre"].replace("m8", "m9"), 2), (voices["timbre"], 0)):
        program.write_text(ESPEAK.replace("ACCENTS", voices["accent"]).replace("TIMBRES", timbres))
        program.chmod(0o755)
        assert ended(str(tmp_path / "a"), "--files", "40") == status
    assert ended(str(tmp_path / "a")) == 2  # it is there
    assert ended(str(tmp_path / "b"), "--files", "40") == 0
    table, again = (pl.read_csv(tmp_path / name / "manifest.csv") for name in "ab")
    assert table.equals(again)
    assert table["split"].value_counts(sort=True).rows() == [("train", 30), ("test", 6), ("val", 4)]
    assert table["text"].str.split(" ").list.len().is_between(3, 7).all()
    assert (tmp_path / "a" / table["path"][7]).read_text().split()[-1] == table["text"][7].split()[-1]
    for what in ("accent", "timbre", "rate", "pitch"):
        several = [set(split[what]) for split in spoken.VOICES.values()]
        assert sum(map(len, several)) == len(set().union(*several)), what
    for split, speaker in zip(table["split"], table["speaker"], strict=True):
        accent, timbre = speaker.split("+")
        assert accent in spoken.VOICES[split]["accent"] and timbre in spoken.VOICES[split]["timbre"]


@pytest.mark.needs("soundfile")
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["wavs/s0-1-0.wav,,a,"], r"row 1: s0-1-0.wav has no transcript"),
        (["wavs/none.wav,one,a,"], r"row 1: there is no file .*none.wav"),
        (["wavs/s0-1-0.wav,one,a,trian"], r"row 1: split 'trian' is none of train"),
        (["wavs/s0-1-0.wav,one,a,train", "wavs/s1-1-1.wav,one,a,"], r"row 2: no split, and other rows have one"),
        (["wavs/s0-1-0.wav,one,a,"], r"no sound is left for (train|val|test), of 1 sounds"),
        (["broken.wav,one,a,train", "broken.wav,a,a,val", "broken.wav,b,a,test"], r"broken.wav is no sound"),
        (["empty.wav,one,a,train", "empty.wav,a,a,val", "empty.wav,b,a,test"], r"empty.wav holds no sound"),
        (["wavs/s0-1-0.wav,a,a,train", "fast.wav,a,a,val", "fast.wav,b,a,test"], r"fast.wav has 16,000 samples"),
    ],
)  # fmt: skip
def test_wrong_sounds_are_named(tmp_path: Path, rows: list[str], message: str) -> None:
    import soundfile

    sounds(tmp_path / "wavs", 2)
    (tmp_path / "broken.wav").write_text("no sound at all")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8000)
    soundfile.write(tmp_path / "fast.wav", np.zeros(16000), 16000)
    with pytest.raises(InputError, match=message):
        _ = Speech(path=str(write_table(tmp_path, rows))).spec


def test_a_folder_without_transcripts_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no transcripts: a folder has a metadata.csv .* it has 0 tables"):
        Speech(path=str(tmp_path))
    with pytest.raises(InputError, match=r"there is no such file or folder"):
        Speech(path=str(tmp_path / "none"))


def test_masks_hide_neighbours_and_leave_lengths_alone() -> None:
    data = DialTones(num_samples=40, augmentation=Augmentation(feature_masking=0.3, step_masking=0.2), bucket=False)
    loader = data.train_dataloader()
    plain = [data.split("train").batch(index) for index in loader.rest()]
    changed = list(loader)
    before, after = plain[0], changed[0]
    hidden = (after.inputs == 0) & (before.inputs != 0)
    assert hidden.any() and torch.equal(after.inputs[~hidden], before.inputs[~hidden])
    assert before.lengths is not None and after.lengths is not None and torch.equal(before.lengths, after.lengths)
