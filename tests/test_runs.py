"""A run's directory, its end, its resume, and what happens when files are hurt."""

import csv
import json
import math
import os
import resource
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import TINY, choices, compose
from processes import PATIENCE, held, start

from rnnlab.commands import evaluate as evaluate_command
from rnnlab.commands import resume as resume_command
from rnnlab.errors import InputError, RunFailed
from rnnlab.runs.checkpoint import read_checkpoint, write_checkpoint
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.evaluation import evaluate
from rnnlab.runs.execution import Outcome
from rnnlab.runs.preparation import prepare
from rnnlab.runs.recorder import Recorder
from rnnlab.store.files import replace, replacing

Train = Callable[..., Outcome]
FAMILIAR = ("sine", "tokens", "text")


# A model sees of its data numbers or tokens, and is asked for a value, values, classes, tokens or a sequence: of each
# kind there is one here. So each model is held against these, and each data set against two models.
KINDS = (*FAMILIAR, "adding", "classification", "number_words", "glyph_captions")
PRODUCT = [
    pytest.param(model, data, marks=() if model == "gru" or data == "sine" else pytest.mark.slow)
    for model in choices("model")
    for data in choices("data")
    if model in ("gru", "lstm") or data in KINDS
]


@pytest.mark.parametrize(("model", "data"), PRODUCT)
@pytest.mark.few(
    "classification", "lstm", "lru", "mlstm", "conv_lstm", "s6", slow=("gru", "esn", "rnn", "sine", "table")
)
def test_every_model_works_with_every_kind_of_data(model: str, data: str, train: Train) -> None:
    outcome = train(f"model={model}", f"data={data}", "model.hidden_size=8", "instruments=none")
    metrics = outcome.metrics
    # 32 of 40 sequences in batches of 8, one more of words with several pronunciations, which stay together; a readout
    # in closed form takes none
    steps = 5 if data == "pronunciation" else 4
    assert metrics["steps"] == (0 if outcome.directory.config["model"].get("solver") == "ridge" else steps)
    assert math.isfinite(metrics["test/loss"])
    assert math.isfinite(metrics["baseline/loss"])
    if model in ("gru", "lstm") or data in FAMILIAR:  # reloaded from its directory it scores what it scored
        directory = outcome.directory
        again = evaluate(directory.config, directory)
        assert {name: again[name] for name in again} == pytest.approx({name: metrics[name] for name in again}, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("data", choices("data"))
def test_no_data_is_of_another_kind(data: str) -> None:
    def kind(data: str) -> tuple[bool, str]:
        spec = prepare(compose(*TINY, f"data={data}")).data.spec
        return spec.input.features is None, spec.target.kind

    assert kind(data) in map(kind, KINDS)


LONG_EXPERIMENTS = ("character_model", "sine_rollout")
HEARD = ("spoken_digits",)
EXPERIMENTS = [
    pytest.param(
        name,
        marks=pytest.mark.slow if name in LONG_EXPERIMENTS else pytest.mark.needs("soundfile") if name in HEARD else (),
    )
    for name in choices("experiment")
]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.few("adding", "an_bn", "duplicate_string", "addition", "parity", "sine_rollout")
def test_every_experiment_runs(experiment: str, train: Train, tmp_path: Path) -> None:
    overrides = []
    if experiment == "sentiment":  # whose texts do not come with a package
        for name in ("positive", "negative"):
            file = tmp_path / "reviews" / f"{name}.txt"
            file.parent.mkdir(exist_ok=True)
            file.write_text("\n".join(f"it is {name} number {number}" for number in range(40)))
        overrides = [f"data.path={tmp_path / 'reviews'}"]
    if experiment in ("german_cases", "translation"):
        (tmp_path / "pairs.tsv").write_text("".join(f"noun{k} n\tnoun{k}s nouns{k}\n" for k in range(60)))
        overrides = [f"data.path={tmp_path / 'pairs.tsv'}"]
    if experiment in ("speakers", "covid"):
        columns = [f"c{k}" for k in range(12)] if experiment == "speakers" else ["cases"]
        keys = ("recording", "step", "speaker") if experiment == "speakers" else ("country", "day", "death_rate")
        rows = [
            f"{number},{'train' if number % 3 else 'test'},{step},{','.join([str(step)] * len(columns))},{number % 2}"
            for number in range(30) for step in range(4)
        ]  # fmt: skip
        head = ",".join([keys[0], "split", keys[1], *columns, keys[2]])
        (tmp_path / "table.csv").write_text("\n".join([head, *rows]))
        overrides = [f"data.path={tmp_path / 'table.csv'}"]
    if experiment in HEARD:
        overrides = [f"data.path={_spoken(tmp_path)}"]
    assert train(f"experiment={experiment}", "instruments=none", *overrides).metrics["steps"] > 0
    text = (Path(__file__).parents[1] / "conf" / "experiment" / f"{experiment}.yaml").read_text()
    for heading in ("Question:", "Command:", "Minutes:", "Expected:"):
        assert f"# {heading} " in text


def _spoken(folder: Path) -> Path:
    """Thirty sounds, and the table of what is said in them."""
    import soundfile

    rows = ["path,text,split"]
    for k in range(30):
        soundfile.write(folder / f"{k}.wav", 0.1 * np.random.default_rng(k).standard_normal(3000), 8000)
        rows.append(f"{k}.wav,one two,{('train', 'val', 'test')[k % 3]}")
    (folder / "spoken.csv").write_text("\n".join(rows))
    return folder / "spoken.csv"


@pytest.mark.parametrize(
    ("experiment", "parameters"),
    [
        # Keras has one bias vector where torch and cuDNN have two: its counts are 4·128, 128 and 50 less
        ("embedding_lstm", 1000 * 64 + 4 * 128 * (64 + 128 + 2) + 10 * (128 + 1)),
        ("embedding_rnn", 1000 * 64 + 128 * (64 + 128 + 2) + 10 * (128 + 1)),
        ("rnn_classes", 50 * (20 + 50 + 2) + 5 * (50 + 1)),
    ],
)
def test_the_classic_classifiers_have_their_parameters(experiment: str, parameters: int) -> None:
    run = prepare(compose(f"experiment={experiment}", "data.num_samples=40"))
    assert run.parameters == parameters
    assert sum(layer.parameters for layer in run.task.network.summary()) == parameters


# in the fast tests, each of them once
PLANS = [
    pytest.param(
        optimizer, scheduler, marks=() if "adam" in (optimizer, scheduler) or scheduler == "none" else pytest.mark.slow
    )
    for optimizer in choices("optimizer")
    for scheduler in choices("scheduler")
]


@pytest.mark.parametrize(("optimizer", "scheduler"), PLANS)
@pytest.mark.few("one_cycle", "plateau")
def test_every_optimizer_with_every_scheduler(optimizer: str, scheduler: str, train: Train) -> None:
    outcome = train(f"optimizer={optimizer}", f"scheduler={scheduler}", "model.hidden_size=4", "instruments=none")
    assert math.isfinite(outcome.metrics["train/loss"])


def test_the_directory_of_a_run(train: Train) -> None:
    outcome = train("trainer.max_epochs=2")
    path = outcome.directory.path
    assert outcome.directory.status.state == "done"
    assert {"git", "versions", "device", "host", "started", "finished"} <= set(outcome.directory.status.facts)
    rows = list(csv.DictReader((path / "metrics.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    metrics = json.loads((path / "metrics.json").read_text())
    best = min(rows, key=lambda row: float(row["val/loss"]))
    assert metrics["val/loss"] == float(best["val/loss"])
    assert metrics["best_epoch"] == int(best["epoch"])
    assert yaml.safe_load((path / "config.yaml").read_text()) == compose(
        "data.num_samples=40", "data.batch_size=8", "trainer.max_epochs=2", "trainer.accelerator=cpu"
    )
    for name in ("best.ckpt", "last.ckpt"):
        torch.load(path / "checkpoints" / name, weights_only=True)
    figures = sorted(file.stem for file in (path / "figures").glob("*.png"))
    assert figures == ["forecast", "gradient_flow", "hidden_states", "loss_curves", "spectrum"]
    assert all((path / figure).stat().st_size > 10_000 for figure in outcome.figures)


def test_a_directory_that_holds_something_is_refused(tmp_path: Path) -> None:
    RunDirectory.claim(tmp_path / "run")
    with pytest.raises(InputError, match="already holds a run"):
        RunDirectory.claim(tmp_path / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"thesis\.tex"):
        RunDirectory.claim(tmp_path / "other")
    assert (tmp_path / "other" / "thesis.tex").read_text() == "years of work"


def test_one_of_many_that_want_a_directory_gets_it(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def claim(_: int) -> bool:
        try:
            RunDirectory.claim(tmp_path / "run")
        except InputError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(claim, range(64))) == 1


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    replace(file, "old")

    def half_of_it() -> None:
        with replacing(file) as temporary:
            temporary.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half_of_it()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_row_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    directory = RunDirectory.claim(tmp_path / "run")
    directory.append_epoch({"epoch": 1, "val/loss": 0.5})
    directory.append_epoch({"epoch": 2, "val/loss": 0.25})
    with open(directory.path / "metrics.csv", "a") as file:
        file.write("3,0.12")
    assert directory.epochs == [{"epoch": 1, "val/loss": 0.5}, {"epoch": 2, "val/loss": 0.25}]
    directory.append_epoch({"epoch": 3, "val/accuracy": 1.0})  # a new column rewrites the table
    assert directory.epochs[-1] == {"epoch": 3, "val/accuracy": 1.0}
    assert len(directory.epochs) == 3


def test_a_loss_that_is_no_number_stops_the_run(train: Train, tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"the loss became inf at step 1 with learning rate 1e\+30.*gradient norm"):
        train("optimizer.lr=1e30", "instruments=none")
    status = RunDirectory(tmp_path / "run0").status
    assert status.state == "failed"
    assert "learning rate 1e+30" in status.reason


def test_compiling_is_of_the_step_and_for_the_training(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def compiled(step: Any) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            calls.append(step.__self__)
            return step(*arguments)

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    monkeypatch.setattr("rnnlab.runs.compiled.shutil.which", lambda _: "/usr/bin/g++")
    options = (
        "model=cfc",
        "model.cell.backend=reference",
        "model.num_layers=2",
        "model.hidden_size=4",
        "data=sine",
        "instruments=none",
    )
    plain = train(*options)
    assert not calls
    outcome = train(*options, "trainer.compile=true")
    assert len(set(calls)) == 2
    assert {k: v for k, v in outcome.metrics.items() if "seconds" not in k} == {
        k: v for k, v in plain.metrics.items() if "seconds" not in k
    }


def test_compiling_needs_a_compiler(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match=r"needs a C\+\+ compiler, and there is no no-such-compiler here"):
        train("trainer.compile=true", "trainer.accelerator=cpu")


def test_clipping_is_measured(train: Train) -> None:
    clipped = train("trainer.gradient_clip_val=1e-3", "instruments=none").directory.epochs[0]
    free = train("trainer.gradient_clip_val=null", "instruments=none").directory.epochs[0]
    assert clipped["gradient/clipped"] == 1
    assert free["gradient/clipped"] == 0
    assert free["gradient/norm"] > 1e-3


def test_early_stopping_stops_early(train: Train) -> None:
    outcome = train("trainer.max_epochs=50", "optimizer.lr=1e-30", "early_stopping.patience=2", "instruments=none")
    assert outcome.metrics["epochs"] == 3


def test_a_checkpoint_of_another_model_is_refused(train: Train) -> None:
    directory = train("model.hidden_size=8", "instruments=none").directory
    config = directory.config
    config["model"]["hidden_size"] = 9
    with pytest.raises(InputError, match=r"does not fit this model.*weight"):
        evaluate(config, directory)


def test_damaged_and_malicious_checkpoints_are_refused(train: Train, tmp_path: Path) -> None:
    directory = train("instruments=none").directory
    good = directory.best_checkpoint.read_bytes()
    for damaged in (b"", good[: len(good) // 2], b"not a checkpoint at all"):
        directory.best_checkpoint.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged"):
            evaluate(directory.config, directory)

    # a few bytes that stand for many: refused by the archive's own table, before anything is unpacked
    with zipfile.ZipFile(directory.best_checkpoint, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("archive/data.pkl", b"\0" * 2**20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "open", lambda *_, **__: pytest.fail("it is unpacked"))
        with pytest.raises(InputError, match="damaged: its parts are compressed"):
            read_checkpoint(directory.best_checkpoint)

    class Payload:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'owned'}",)

    torch.save({"state_dict": Payload()}, directory.best_checkpoint)
    with pytest.raises(InputError, match="not loaded"):
        read_checkpoint(directory.best_checkpoint)
    assert not (tmp_path / "owned").exists()


def test_a_checkpoint_that_does_not_hold_its_scaling_says_so(
    train: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One of an earlier version: other data than its own would be scaled otherwise."""
    (tmp_path / "y.csv").write_text("y\n" + "\n".join(str(number % 7) for number in range(60)))
    data = ("data=csv", f"data.path={tmp_path / 'y.csv'}", "data.target=y", "data.length=4")
    directory = train(*data, "instruments=none", "model.hidden_size=4").directory
    own = evaluate(directory.config, directory)
    assert "scaling" not in caplog.text
    checkpoint = read_checkpoint(directory.best_checkpoint)
    for state in (None, [1, 2]):
        write_checkpoint({**checkpoint, "CSV": state} if state else {k: v for k, v in checkpoint.items() if k != "CSV"},
                         directory.best_checkpoint)  # fmt: skip
        if state:
            with pytest.raises(InputError, match="the checkpoint is damaged: what it says of CSV"):
                evaluate(directory.config, directory)
        else:
            assert evaluate(directory.config, directory) == own
            assert "does not hold what was learned from the training part (scaling" in caplog.text


def test_evaluate_takes_overrides_and_keeps_its_scores(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    directory = train("instruments=none", "trainer.max_epochs=3").directory
    path = str(directory.path)
    assert evaluate_command.main([path]) == 0
    assert evaluate_command.main([path, "data.noise=1.0", "trainer=cpu"]) == 0
    clean, noisy = (
        json.loads(file.read_text())["metrics"]["test/loss"] for file in sorted(directory.path.glob("evaluations/*"))
    )
    assert clean == pytest.approx(directory.metrics["test/loss"])
    assert noisy > clean
    capsys.readouterr()
    assert evaluate_command.main([path, "data.nois=1"]) == 2
    assert "did you mean 'data.noise'" in capsys.readouterr().err
    assert evaluate_command.main([path, "data=no_such"]) == 2
    assert "no such data" in capsys.readouterr().err


def test_evaluate_and_resume_say_what_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (evaluate_command, resume_command):
        assert command.main([str(tmp_path / "nowhere")]) == 2
        assert "no such directory" in capsys.readouterr().err
        assert command.main([str(tmp_path)]) == 2
        assert "is no run" in capsys.readouterr().err


def test_a_tampered_config_builds_nothing(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = train("instruments=none").directory
    config = directory.config
    config["instruments"] = {"mine": {"_target_": "os.system", "command": f"touch {tmp_path / 'owned'}"}}
    directory.write_config(config)
    assert evaluate_command.main([str(directory.path)]) == 2
    assert "os.system is not what a run directory may build" in capsys.readouterr().err
    assert not (tmp_path / "owned").exists()


def test_a_finished_run_is_left_as_it_is(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    directory = train("instruments=none").directory
    before = {file: file.read_bytes() for file in directory.path.rglob("*") if file.is_file()}
    assert resume_command.main([str(directory.path)]) == 0
    assert "is done" in capsys.readouterr().out
    assert before == {file: file.read_bytes() for file in directory.path.rglob("*") if file.is_file()}


@pytest.mark.parametrize("model", ["gru", "lstm"])
def test_how_a_network_starts_goes_by_the_seed_alone(model: str) -> None:
    starts = []
    for threads in (2, 1):
        torch.set_num_threads(threads)
        network = prepare(compose(f"model={model}", "model.hidden_size=64")).task.network
        assert torch.get_num_threads() == threads
        starts.append([parameter.detach() for parameter in network.parameters()])
    assert all(map(torch.equal, *starts))


# ---- killed and resumed --------------------------------------------------------------------------

RESUMED = (
    "model=rnn",
    "model.num_layers=2",
    "model.dropout=0.3",
    "model.hidden_size=8",
    "scheduler=cosine",
    "seed=3",
    "trainer.max_epochs=8",
    "trainer.checkpoint_seconds=0.0",
    "data.num_samples=160",
    "data.batch_size=4",
    "data.length=12",
    "data.future_length=5",
    "data.augmentation.jitter=0.1",
    "instruments=none",
)


def scores(path: Path) -> dict[str, float]:
    metrics = json.loads((path / "metrics.json").read_text())
    return {name: value for name, value in metrics.items() if not name.startswith("seconds")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "state", "status"),
    [(signal.SIGKILL, "running", -9), (signal.SIGINT, "interrupted", 130), (signal.SIGTERM, "interrupted", 143)],
)
def test_a_stopped_run_ends_as_one_never_stopped(
    number: signal.Signals, state: str, status: int, train: Train, tmp_path: Path
) -> None:
    whole = train(*RESUMED).directory
    cut = tmp_path / "cut"
    overrides = ("data.num_samples=40", "data.batch_size=8", "trainer.max_epochs=1", "trainer.accelerator=cpu")
    process = start(
        "train", *(o for o in overrides if o.split("=")[0] not in str(RESUMED)), *RESUMED, f"hydra.run.dir={cut}"
    )
    with held(cut, process):
        process.send_signal(number)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == status, output
    directory = RunDirectory.open(cut)
    assert directory.status.state == state
    assert not directory.is_alive
    assert not (cut / "metrics.json").exists()
    if number == signal.SIGINT:
        assert f"rnnlab resume {cut}" in output
    assert resume_command.main([str(cut)]) == 0
    assert scores(cut) == scores(whole.path)
    assert (cut / "metrics.csv").read_text() == (whole.path / "metrics.csv").read_text()
    assert directory.status.state == "done"


@pytest.mark.slow
def test_a_full_disk_leaves_what_was_written(tmp_path: Path) -> None:
    run = tmp_path / "run"

    def small_files() -> None:  # a file that may not grow is to a program what a full disk is
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))

    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "rnnlab",
            "train",
            "model.hidden_size=256",
            "data.num_samples=40",
            f"hydra.run.dir={run}",
        ],
        preexec_fn=small_files,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") <= 2
    assert "disk refuses" in done.stderr
    directory = RunDirectory.open(run)
    assert directory.status.state == "failed"
    assert directory.config["model"]["hidden_size"] == 256
    # with room again it goes on
    assert resume_command.main([str(run)]) == 0
    assert directory.status.state == "done"


# ---- what TensorBoard reads ------------------------------------------------------------------------


def test_tensorboard_reads_the_whole_run(train: Train) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    directory = train("data=classification", "trainer.max_epochs=3", "optimizer.lr=0.01").directory
    files = list(directory.path.glob("events.out.tfevents*"))
    assert len(files) == 1
    events = EventAccumulator(str(directory.path), size_guidance={"images": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    scalars = set(tags["scalars"])
    curves = {"train/loss", "val/loss", "train/accuracy", "val/accuracy"}
    assert {*curves, "weight updates/lr", "weight updates/gradient/norm", "when done/test/loss"} <= scalars
    assert not [tag for tag in scalars if "hp_metric" in tag]
    assert [event.value for event in events.Scalars("val/loss")] == pytest.approx(
        [row["val/loss"] for row in directory.epochs]
    )
    assert events.Scalars("when done/test/accuracy")[-1].value == pytest.approx(directory.metrics["test/accuracy"])
    assert events.Scalars("when done/best/val/loss")[-1].value == pytest.approx(directory.metrics["val/loss"])
    assert {f"when done/figures/{file.stem}" for file in directory.figures.glob("*.png")} == set(tags["images"])
    assert {"config/text_summary", "custom_scalars__config__"} <= set(tags["tensors"])
    assert tags["graph"]
    content = events.summary_metadata
    start, end = (
        plugin_data_pb2.HParamsPluginData.FromString(content[f"_hparams_/{part}"].plugin_data.content)
        for part in ("session_start_info", "session_end_info")
    )
    assert start.session_start_info.hparams["optimizer.lr"].number_value == 0.01
    assert end.session_end_info.status == 1  # success


def test_a_picture_that_cannot_be_drawn_costs_no_run(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    from rnnlab.instruments.spectrum import Spectrum

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Spectrum, "draw", lambda *_: 1 / 0)
        outcome = train("instruments=default")
    assert outcome.directory.status.state == "done"
    assert "figures/spectrum.png" not in outcome.figures
    assert "figures/forecast.png" in outcome.figures
    assert "spectrum could not be drawn" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.needs("g++")
def test_a_compiled_step_learns_what_the_plain_one_does(tmp_path: Path) -> None:
    # processes of their own: what pytest has the shapes checked by cannot be compiled
    options = ("model=cfc", "model.cell.backend=reference", "model.hidden_size=4", "data.num_samples=40",
               "data.length=10", "trainer=cpu", "trainer.max_epochs=1", "instruments=none")  # fmt: skip
    found = []
    for compiled in ("true", "false"):
        process = start("train", *options, f"trainer.compile={compiled}", f"hydra.run.dir={tmp_path / compiled}")
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        found.append(scores(tmp_path / compiled))
    assert found[0] == pytest.approx(found[1], rel=1e-4)


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        (["trainer.max_steps=3"], 3),
        (["scheduler=plateau", "+trainer.check_val_every_n_epoch=2", "trainer.max_epochs=3"], 12),
    ],
)
def test_a_run_that_validates_seldom_or_ends_within_an_epoch(
    overrides: list[str], steps: int, train: Callable[..., Outcome]
) -> None:
    outcome = train(*overrides, "instruments=none")
    assert outcome.metrics["steps"] == steps
    assert math.isfinite(outcome.metrics["val/loss"])
    assert outcome.metrics["best_epoch"] <= outcome.metrics["epochs"]


def test_the_next_writer_clears_away_what_a_killed_one_left(tmp_path: Path) -> None:
    file, left, of_another = (tmp_path / name for name in ("o.parquet", ".o.parquet.abcd_123", ".p.parquet.abcd_123"))
    for each in (left, of_another):
        each.write_text("half of it")
    with replacing(file) as temporary:
        assert not left.exists() and of_another.exists()
        replace(file, b"meanwhile, by another")  # whose file is not taken for one of a process that is gone
        assert temporary.exists()
        temporary.write_text("last")
    assert file.read_text() == "last"
    assert sorted(tmp_path.iterdir()) == sorted([file, of_another])


def test_each_epoch_shuffles_and_drops_in_its_own_way(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bytes, bytes]] = []
    start = Recorder.on_train_batch_start

    def look(self: Recorder, trainer: Any, task: Any, batch: Any, number: int) -> None:
        start(self, trainer, task, batch, number)
        if number == 0:
            seen.append((torch.get_rng_state().numpy().tobytes(), batch.inputs.numpy().tobytes()))

    monkeypatch.setattr(Recorder, "on_train_batch_start", look)
    options = ("instruments=none", "model.num_layers=2", "model.dropout=0.5", "trainer.max_epochs=4")
    augmented = ("data.augmentation.jitter=0.5", "data.batch_size=40")  # one batch, so that the noise alone differs
    for overrides in ((), ("seed=1",), augmented):
        train(*options, *overrides)
    assert len(seen) == 12
    states, batches = zip(*seen, strict=True)
    assert len(set(states)) == 8  # of two seeds, four epochs each
    assert len(set(batches)) == 12
    again = len(seen)
    train(*options)
    assert seen[again:] == seen[:4]  # and the same run meets the same again
