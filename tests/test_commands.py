"""The command line as a person meets it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import CONF, choices
from omegaconf import OmegaConf
from processes import PATIENCE

from rnnlab.commands import list as list_command
from rnnlab.commands import report as report_command
from rnnlab.commands import train as train_command
from rnnlab.commands.composition import create_hydra, plain, run_mode
from rnnlab.commands.overrides import compose, read
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.preparation import prepare
from rnnlab.store.config_file import flat
from rnnlab.tasks.direction import direction

TINY = (
    "data.num_samples=40",
    "data.batch_size=8",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "instruments=none",
)


def rnnlab(*arguments: str, cwd: Path | None = None, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "rnnlab", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        timeout=PATIENCE,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["model=grru"], "model=grru: no such model; did you mean 'gru'?"),
        (["data=sinus"], "data=sinus: no such data; did you mean 'sine'?"),
        (["modle=gru"], "modle=gru: unknown key or group; did you mean 'model'?"),
        (["model.hiden_size=3"], "model.hiden_size=3: unknown key; did you mean 'model.hidden_size'?"),
        (["hidden=3"], "hidden=3: unknown key or group; did you mean 'model.hidden_size'?"),
        (["modle.hidden=3"], "did you mean 'model.hidden_size'?"),
        (["data=csv", "data.noise=3"], "data.noise=3: unknown key (+data.noise=3 adds a new one)"),
        (["task.monitor=val_loss"], "task.monitor=val_loss: unknown key; did you mean 'monitor'?"),
        (["callbacks=early_stopping", "callbacks.early_stopping.monitor=val_loss"], "did you mean 'monitor'?"),
        (["scheduler=plateau", "scheduler.monitor=val_loss"], "did you mean 'monitor'?"),
        (["monitor=test/loss"], "monitor=test/loss: no such score; did you mean 'val/loss'?"),
        (["monitor=val_loss"], "monitor=val_loss: no such score; did you mean 'val/loss'?"),
        (["data=tokens", "monitor=accuracy"], "monitor=accuracy: no such score; did you mean 'val/accuracy'?"),
        (["model.batch_size=3"], "did you mean 'data.batch_size'?"),
        (["optimizer.learning_rate=3"], "optimizer.learning_rate=3: unknown key: optimizer.lr=…\n"),
        (["optimizer.lr=-1"], "optimizer.lr=-1: Invalid learning rate: -1"),
        (["model=esn", "optimizer.lr=0.1"], "optimizer.lr=0.1: model.solver=ridge finds the readout in closed form"),
        (["model=esn", "trainer.max_steps=9"], "leave it out, or train by gradients with model.solver=gradient"),
        (["model=esn", "scheduler=cosine"], "scheduler=cosine: model.solver=ridge finds the readout"),
        (["-m", "model=esn", "optimizer.lr=0.1,0.2"], "optimizer.lr=0.1,0.2: model.solver=ridge finds the readout"),
        (
            ["data=airline", "model.linear=ridge", "data.linear=none"],
            "model.linear=ridge and data.linear=none disagree: ",
        ),
        (
            ["data=airline", "model.linear=none", "data.linear=null"],
            "model.linear=none and data.linear=null disagree: ",
        ),
        (["experiment=sentiment"], "how to get the data of experiment=sentiment stands at the top of "),
        (["experiment=sentiment", "data.path=nowhere"], "conf/experiment/sentiment.yaml\n"),
        (["scheduler.T_max=3"], "scheduler.T_max=3: unknown key: there is none yet; choose it first by scheduler=…"),
        (
            ["scheduler.patience=3"],
            "patience=3: unknown key: there is none yet; choose it first by scheduler=plateau",
        ),
        (
            ["+scheduler.patience=3"],
            "patience=3: unknown key: there is none yet; choose it first by scheduler=plateau",
        ),
        (
            ["+scheduler.patienc=3"],
            "mean 'scheduler.patience', of scheduler=plateau? (cosine has warmup, final;",
        ),
        (
            ["+callbacks.ema.decay=0.9"],
            "decay=0.9: unknown key: there is none yet; choose it first by callbacks=ema",
        ),
        (["+logger.wandb.projekt=a"], "did you mean 'logger.wandb.project', of logger=wandb?"),
        (["scheduler=step", "scheduler.gamma=2"], "(there are scheduler.drops, scheduler.factor)"),
        (["trainer.gpus=1"], "trainer.gpus=1: unknown key: trainer=gpu"),
        (["model=GRU"], "model=GRU: no such model; did you mean 'gru'?"),
        (["data=sales.csv"], "data=sales.csv: no such data: data=csv data.path=sales.csv for series"),
        (["data.path=sales.csv"], "data.path=sales.csv: unknown key: data=csv data.path=FILE for series"),
        (["trainer.precision=bf16"], "did you mean 'bf16-mixed'?"),
        (["early_stopping=false"], "early_stopping=false: it has keys of its own: early_stopping.patience=20"),
        (["early_stopping.patience=none"], "early_stopping.patience=none: must be a valid integer or null"),
        (["model.bidirectional=yes"], "model.bidirectional=yes: must be true or false"),
        (["trainer=cuda"], "no such trainer; did you mean 'gpu'?"),
        (["data.lenght=3"], "did you mean 'data.length'?"),
        (["experiment=embeding_lstm"], "did you mean 'embedding_lstm'?"),
        (["optimizer.lr"], "write key=value"),
        (["model.hidden_size=0"], "model.hidden_size=0: must be greater than 0"),
        (["data=csv", "model.linear=rige"], "model.linear=rige: must be 'ridge'"),
        (["data=csv", "model.linear=ridge", "data.strategy=recursive", "data.horizon=2"], "model.linear=ridge is for"),
        (["recipe.readout=lst"], "recipe.readout=lst: must be 'auto'"),
        (["monitor=val/acuracy", "data=classification"], "did you mean 'val/accuracy'?"),
        (["trainer=gpu"], "type trainer=cpu"),
        (["trainer.devices=64"], "trainer.devices=64"),
        (["task=classification"], "'class'"),
        (["--config-dir", "no/such/place"], "no such directory"),
        (["--foo"], "unrecognized arguments: --foo"),
        (["-m", "model=gru,grru"], "model=grru: no such model"),
        (["-m", "hydra/launcher=slrum"], "did you mean 'slurm'?"),
        (["model=lru", "model.cell.state_sise=32"], "did you mean 'model.cell.state_size'?"),
        # a choice that is no name
        (["instruments=null"], "instruments=null: no such instruments; did you mean 'none'?"),
        (["scheduler=true"], "scheduler=true: no such scheduler"),
        (["model=1"], "model=1: no such model"),
        (["-m", "model=1,2"], "no such model"),
        (["model=[gru,lstm]"], "rnnlab train -m model=gru,lstm"),
        (["trainer={}"], "trainer={}"),
        (["hydra.run={}"], "changes nothing"),
        (["hydra.job.num=3"], "Hydra sets hydra.job.num itself"),
        (["=3"], "write key=value"),
        (["+hydra.callbacks.a._target_=os.system"], "Target 'os.system' is blocklisted"),
        (["~seed"], "'seed' not found (in data.shuffle_seed)"),
        # what is said in another way here
        (["lr=0.1"], "did you mean 'optimizer.lr'?"),
        (["max_epoch=3"], "did you mean 'trainer.max_epochs'?"),
        (["test=False"], "rnnlab evaluate RUN"),
        (["logger=wandbb"], "did you mean 'wandb'?"),
        (["checkpoint=x"], "rnnlab resume RUN"),
        # the direction follows from the score
        (["data=classification", "monitor=val/accuracy", "mode=min"], "mode=min: val/accuracy is better the higher it"),
        # what Hydra's grammar gives a meaning is plain text in a path or a name
        (["data=csv", "data.path=a=b.csv", "data.target=y"], "a=b.csv: there is no such file"),
        (["data=csv", "data.path=größe#1.csv", "data.target=Umsatz(EUR)"], "größe#1.csv: there is no such file"),
        (["data=csv", "data.path=a,b#.csv"], """'data.path="a,b#.csv"'"""),
        (["data.frequency=[1,"], "its brackets are not closed"),
        (["hydra.run.dir=[a]/x"], """in others for the shell: 'hydra.run.dir="[a]/x"'"""),
        # what only a sweep heeds would change nothing in a run
        (["sweep.dry_run=true"], "sweep.dry_run=true: it is of a sweep, be it of one job: add -m"),
        (["hydra/launcher=local"], "add -m"),
        (["hydra.launcher.n_jobs=2"], "add -m"),
        (["hydra/sweeper=random"], "add -m"),
        (["hydra.sweep.dir=x"], "hydra.sweep.dir=x: this place (a run's is hydra.run.dir) is of a sweep"),
        (["-m", "hydra.run.dir=x"], "hydra.run.dir=x: this place is of one run, without -m"),
        (["data=csv", f"data.path={'a' * 5000}", "data.target=y"], "aaa: File name too long"),
        ([f"ckpt_path={'a' * 5000}"], "aaa: File name too long"),
        ([f"data.past=[{','.join('c' * 6000)}]"], "6,000 values, and an override has 5,000 at most"),
        (["-m", "hydra.sweeper=null"], "choose one (hydra/sweeper=random)"),
        (["-m", "hydra.launcher=null"], "choose one (hydra/launcher=local)"),
    ],
)
def test_bad_input_is_one_line_before_training(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    status = train_command.main(arguments)
    printed = capfd.readouterr()
    assert status == 2
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("rnnlab: ")
    assert said in printed.err
    assert not list(tmp_path.iterdir()), "a refused command leaves nothing behind"


@pytest.mark.parametrize("words", [["hydra.run.dir=mine/here"], ["-m", "seed=0,1", "hydra.sweep.dir=mine/here"]])
@pytest.mark.parametrize("there", ["mine/here", "mine"])
def test_a_refused_command_leaves_a_directory_that_was_there(
    words: list[str], there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(there).mkdir(parents=True)
    assert train_command.main(["data=sine", "data.num_samples=3", *words]) == 2
    assert [str(path) for path in Path().rglob("*")] == [
        str(path) for path in (Path("mine"), Path(there))[: there.count("/") + 1]
    ]


@pytest.mark.parametrize(("flags", "key"), [((), "hydra.run.dir"), (("-m",), "hydra.sweep.dir")], ids=["run", "sweep"])
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("model.hiden_size=3", "model.hiden_size=3: unknown key"),
        ("model=grru", "model=grru: no such model"),
        ("model.hidden_size=0", "nothing is overwritten"),
        ("ckpt_path=no.ckpt", "nothing is overwritten"),
    ],
)
def test_names_are_refused_before_the_place_and_the_place_before_values_and_data(
    flags: tuple[str, ...], key: str, wrong: str, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """From what is known without looking to what takes seconds, or all of the data."""
    there = tmp_path / "there"
    there.mkdir()
    (there / "status.json").write_text("{}")
    assert train_command.main([*flags, f"{key}={there}", wrong]) == 2
    printed = capfd.readouterr().err
    assert printed.count("\n") == 1 and said in printed
    assert train_command.main([*flags, f"{key}={tmp_path / 'new'}", wrong]) == 2
    assert wrong in capfd.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize(("flags", "key"), [((), "hydra.run.dir"), (("-m",), "hydra.sweep.dir")], ids=["run", "sweep"])
def test_the_directory_in_which_one_stands_is_never_taken_away(
    flags: tuple[str, ...], key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert train_command.main([*flags, f"{key}=.", "model.hidden_size=0"]) == 2
    assert "model.hidden_size=0: must be greater than 0" in capfd.readouterr().err
    assert here.is_dir() and not list(here.iterdir())
    assert train_command.main([*flags, f"{key}="]) == 2
    assert capfd.readouterr().err == f"rnnlab: {key}=: name a directory, such as {key}=outputs/NAME\n"


@pytest.mark.parametrize("mode", [(), ("-m",)], ids=["run", "sweep"])
@pytest.mark.parametrize("key", [name for name in flat(OmegaConf.to_container(OmegaConf.load(CONF / "train.yaml")))
                                 if not name.startswith(("hydra.", "defaults"))])  # fmt: skip
def test_every_key_of_the_root_is_checked_in_every_mode(
    key: str, mode: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train_command.main([*mode, *TINY, f"{key}=nonsense"]) == 2
    assert f"{key}=nonsense: " in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("separator", ["data.separator=;", "data.separator=';'", 'data.separator=";"'])
def test_a_semicolon_is_a_separator_in_any_quoting(separator: str) -> None:
    assert compose_command("data=csv", separator)["data"]["separator"] == ";"


def test_a_plus_also_sets_what_is_there() -> None:
    hydra = create_hydra()
    overrides = ["+trainer.max_steps=3", "+trainer.limit_val_batches=2", "+data.seed=4"]
    config, used = compose(hydra, "train", overrides, run_mode())
    assert (config.trainer.max_steps, config.trainer.limit_val_batches, config.data.seed) == (3, 2, 4)
    assert used == ["++trainer.max_steps=3", "+trainer.limit_val_batches=2", "++data.seed=4"]


def compose_command(*overrides: str) -> dict[str, Any]:
    """The config that a command has: with the overrides as people type them."""
    hydra = create_hydra(own_tasks=True)
    config = hydra.config_loader.load_configuration("train", read(hydra, overrides), run_mode())
    return plain(config)


def test_the_mode_follows_from_the_monitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_scores.py").write_text(
        "from rnnlab.tasks.classification import Classification\n"
        "class Mine(Classification):\n    higher_is_better = ('dice',)\n"
    )
    monkeypatch.chdir(tmp_path)  # where a user's own module is
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert compose_command()["mode"] == "min"
    for monitor in ("val/accuracy", "train/accuracy", "val/f1", "val/accuracy@20"):
        assert compose_command("data=classification", f"monitor={monitor}")["mode"] == "max"
    assert compose_command("data=classification", "monitor=val/accuracy", "mode=min")["mode"] == "min"  # refused later
    assert compose_command("scheduler=plateau", "monitor=val/r2")["scheduler"]["mode"] == "max"
    own = ("data=classification", "task._target_=my_scores.Mine", "monitor=val/dice")
    assert compose_command(*own)["mode"] == "max"
    sys.modules.pop("my_scores")
    hydra = create_hydra()  # as it is for what stands in a directory, whose modules are not imported
    config = plain(hydra.config_loader.load_configuration("train", list(own), run_mode()))
    assert config["mode"] == "min"
    assert "my_scores" not in sys.modules


@pytest.mark.parametrize("data", ["sine", "classification", "parity", "adding", "text"])  # one for each task
def test_rnnlabs_own_scores_know_their_direction(data: str) -> None:
    built = prepare(compose_command(f"data={data}", "model.hidden_size=4")).task
    for name in built.monitorable():
        assert built.direction(name) in (None, direction(name)), name


def test_a_directory_that_cannot_be_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert train_command.main([f"hydra.run.dir={tmp_path}/file/run"]) == 2
    assert "cannot be written" in capfd.readouterr().err


@pytest.mark.slow
def test_a_run_from_any_directory(tmp_path: Path) -> None:
    done = rnnlab("train", *TINY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (metrics,) = tmp_path.glob("outputs/*/*-gru-sine/metrics.json")
    for word in ("GRU", "Parameters", "Baseline", "tensorboard --logdir", str(metrics.parent.relative_to(tmp_path))):
        assert word in done.stdout
    overrides = (metrics.parent / ".hydra" / "overrides.yaml").read_text()
    assert "data.num_samples=40" in overrides
    assert "overrides" in (metrics.parent / "train.log").read_text()


@pytest.mark.slow
def test_runs_of_one_second_get_directories_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = "hydra.run.dir=same"
    assert train_command.main([*TINY, name]) == 0
    before = (tmp_path / "same" / "metrics.json").read_bytes()
    assert train_command.main([*TINY, "seed=1", name]) == 2  # a chosen directory is taken at its word
    assert (tmp_path / "same" / "metrics.json").read_bytes() == before
    conf = tmp_path / "conf"
    conf.mkdir()
    text = (CONF / "train.yaml").read_text()
    (conf / "train.yaml").write_text(
        text.replace("dir: outputs/${now:%Y-%m-%d}/${now:%H-%M-%S}-", "dir: outputs/one_second-")
    )
    for _ in range(2):
        assert train_command.main([*TINY, "--config-dir", str(conf)]) == 0
    assert sorted(path.parent.name for path in tmp_path.glob("outputs/*/metrics.json")) == [
        "one_second-gru-sine",
        "one_second-gru-sine-2",
    ]


def test_a_sweep_ends_in_a_leaderboard_and_survives_a_failure(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = [*TINY, "-m", "model=rnn,gru", "seed=0,1", "optimizer.lr=1e-3,1e30", f"hydra.sweep.dir={tmp_path}/s"]
    assert train_command.main(arguments) == 1
    states = [RunDirectory(path.parent).status.state for path in tmp_path.glob("s/*/status.json")]
    assert sorted(states) == ["done"] * 4 + ["failed"] * 4
    lines = (tmp_path / "s" / "leaderboard.csv").read_text().splitlines()
    assert len(lines) == 5  # two groups that are ranked, and the two whose runs all failed
    printed = capfd.readouterr().out
    assert printed.count("learning rate 1e+30") == 8  # when it happened, and in the list at the end
    # every number of the leaderboard is that of its runs
    import csv
    import statistics

    for row in csv.DictReader(lines[:3]):
        model = row["group"].split("model=")[1].split(",")[0]
        runs = [json.loads(file.read_text()) for file in tmp_path.glob(f"s/*model={model},*/metrics.json")]
        assert int(row["n"]) == len(runs) == 2
        assert float(row["mean"]) == pytest.approx(statistics.fmean(run["val/loss"] for run in runs))
        assert float(row["std"]) == pytest.approx(statistics.stdev(run["val/loss"] for run in runs))
    # the same directory again is refused, with everything in it as it was
    before = {file: file.read_bytes() for file in (tmp_path / "s").rglob("*") if file.is_file()}
    assert train_command.main(arguments) == 2
    assert before == {file: file.read_bytes() for file in (tmp_path / "s").rglob("*") if file.is_file()}
    capfd.readouterr()
    assert report_command.main([str(tmp_path / "s")]) == 0
    assert "4 done, 4 failed" in capfd.readouterr().out


def test_report_says_where_no_runs_are(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert report_command.main([str(tmp_path)]) == 2
    assert "no runs there" in capfd.readouterr().err


@pytest.mark.parametrize("group", ["models", "data", "tasks", "experiments", "trainers"])
def test_list_says_what_there_is(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert list_command.main([group]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    described = {line.split()[0]: line.split(maxsplit=1)[1:] for line in lines if line.strip()}
    assert sorted(described) == choices(list_command.GROUPS[group])
    assert all(text and len(text[0]) > 5 for text in described.values())


@pytest.mark.slow
def test_ones_own_cell_lives_in_ones_own_directory(tmp_path: Path) -> None:
    (tmp_path / "my_cells.py").write_text(
        "from torch import nn\n"
        "from rnnlab.cells.cell import Cell\n"
        "class Leaky(Cell):\n"
        "    def __init__(self, input_size: int, hidden_size: int, leak: float = 0.5) -> None:\n"
        "        super().__init__(input_size, hidden_size)\n"
        "        self.leak = leak\n"
        "        self.map = nn.Linear(input_size + hidden_size, hidden_size)\n"
        "    def initial_state(self, batch_size):\n"
        "        return self.map.weight.new_zeros(batch_size, self.hidden_size)\n"
        "    def step(self, x, state):\n"
        "        import torch\n"
        "        h = (1 - self.leak) * state + self.leak * self.map(torch.cat([x, state], -1)).tanh()\n"
        "        return h, h\n"
    )
    (tmp_path / "my_conf" / "model").mkdir(parents=True)
    (tmp_path / "my_conf" / "model" / "leaky.yaml").write_text(
        "# A leaky network\ndefaults:\n  - _network\n  - _self_\ncell:\n"
        "  _target_: my_cells.Leaky\n  _partial_: true\n  leak: 0.3\n"
    )
    done = rnnlab(
        "train", "--config-dir", "my_conf", "model=leaky", "data=tokens", "model.bidirectional=true", *TINY,
        "hydra.run.dir=mine", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Leaky" in done.stdout
    assert "leaky" in rnnlab("list", "models", "--config-dir", "my_conf", cwd=tmp_path).stdout
    refused = rnnlab("evaluate", "mine", cwd=tmp_path)
    assert refused.returncode == 2
    assert "--allow my_cells" in refused.stderr
    allowed = rnnlab("evaluate", "mine", "--allow", "my_cells", cwd=tmp_path)
    assert allowed.returncode == 0, allowed.stderr


def test_a_cell_that_takes_the_place_of_another_is_told_what_that_one_left(tmp_path: Path) -> None:
    (tmp_path / "my_cells.py").write_text(
        "from torch import nn\n"
        "from rnnlab.cells.cell import Cell\n"
        "class Sorted(Cell):\n"
        "    def __init__(self, input_size: int, hidden_size: int) -> None:\n"
        "        super().__init__(input_size, hidden_size)\n"
        "        self.map = nn.Linear(input_size + hidden_size, hidden_size)\n"
        "    def initial_state(self, batch_size):\n"
        "        return self.map.weight.new_zeros(batch_size, self.hidden_size)\n"
        "    def step(self, x, state):\n"
        "        import torch\n"
        "        h = self.map(torch.cat([x, state], -1)).tanh().sort(-1).values\n"
        "        return h, h\n"
    )
    typed = ("train", "data=sine", "model=gru", "model.cell._target_=my_cells.Sorted", *TINY)
    refused = rnnlab(*typed, cwd=tmp_path)
    assert refused.returncode == 2
    out = "~model.cell.init ~model.cell.backend"
    assert "model.cell.init=orthogonal: unknown key (known: input_size, hidden_size); " in refused.stderr
    assert f"what the class before took is left out by {out}" in refused.stderr
    done = rnnlab(*typed, *out.split(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    # what stands in a run's log as a warning is printed, too
    assert "Note   Sorted runs as a loop over its step" in done.stdout and "no kernel for torch.sort" in done.stdout


def test_help_version_and_unknown_commands() -> None:
    assert "rnnlab train model=lstm" in rnnlab("--help").stdout
    done = rnnlab("train", "--help")
    assert done.returncode == 0
    assert "== Groups ==" in done.stdout
    assert "layer_norm_lstm" in done.stdout
    assert rnnlab("--version").stdout.startswith("rnnlab ")
    unknown = rnnlab("trian")
    assert unknown.returncode == 2
    assert "did you mean 'train'" in unknown.stderr


def complete(line: str) -> list[str]:
    return rnnlab("-sc", "query=bash", COMP_LINE=line, COMP_POINT=str(len(line)), COMP_WORDBREAKS=" ").stdout.split()


def test_tab_completes_verbs_groups_and_keys() -> None:
    assert complete("rnnlab tr") == ["train"]
    assert set(complete("rnnlab train model=gr")) == {"model=gru", "model=gru_d"}
    assert "model.hidden_size=" in complete("rnnlab train model.hi")


@pytest.mark.slow
def test_data_parallel_on_two_processes(tmp_path: Path) -> None:
    done = rnnlab("train", "trainer=ddp", *TINY[:3], "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    directory = RunDirectory.open(tmp_path / "run")
    assert directory.status.state == "done"
    assert directory.metrics["steps"] == 2  # four batches, shared by two
    assert done.stdout.count("Baseline") == 1  # the first process tells the outcome, the second is silent
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["debug", "overfit", "profile"])
def test_every_trainer_runs(trainer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [*TINY, f"trainer={trainer}", "hydra.run.dir=run"]
    assert train_command.main([a for a in arguments if not a.startswith("trainer.")]) == 0
    if trainer == "overfit":
        assert RunDirectory("run").metrics["train/loss"] < 0.03
    if trainer == "profile":
        assert "run_training_batch" in (tmp_path / "run" / "fit-profile.txt").read_text()
