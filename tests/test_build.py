"""A config is held against signatures, and builds nothing that it may not."""

import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import compose

from rnnlab.errors import InputError, nearest, nearest_key
from rnnlab.runs.build import build, to_allow
from rnnlab.runs.preparation import prepare
from rnnlab.runs.schema import check_value
from rnnlab.runs.trainer import build_trainer
from rnnlab.shapes import Fraction, PositiveInt


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["model.hidden_size=-3"], ["model.hidden_size=-3", "greater than 0"]),
        (["model.hidden_size=0"], ["model.hidden_size=0", "greater than 0"]),
        (["model.hidden_size=abc"], ["model.hidden_size=abc", "integer"]),
        (["model.num_layers=1.5"], ["model.num_layers=1.5"]),
        (["model.dropout=1.0"], ["model.dropout=1.0", "less than 1"]),
        (["model.cell.backend=refrence"], ["model.cell.backend=refrence", "'reference'", "did you mean 'reference'"]),
        (["model.bidirectional=yes_please"], ["model.bidirectional=yes_please", "true or false"]),
        (["model.readout=last"], ["model.readout=last", "model.readout=auto"]),
        (["data.batch_size=0"], ["data.batch_size=0", "greater than 0"]),
        (["data.noise=-1"], ["data.noise=-1"]),
        (["+data.nois=1"], ["data.nois=1", "did you mean 'noise'"]),
        (["data.num_samples=2"], ["data.num_samples=2"]),
        (["optimizer.lr=-1"], ["optimizer.lr=-1: Invalid learning rate"]),
        (["optimizer.lr=fast"], ["optimizer.lr=fast"]),
        (["optimizer.lr=0"], ["optimizer.lr=0", "train=false"]),
        (["optimizer=sgd", "optimizer.nesterov=true", "optimizer.momentum=0"], ["optimizer", "omentum"]),
        (["scheduler=cosine", "scheduler.warmup=2"], ["scheduler.warmup=2", "less than 1"]),
        (["trainer.max_epochs=0"], ["trainer.max_epochs=0"]),
        (["+trainer.limit_train_batchs=1"], ["limit_train_batchs", "did you mean 'limit_train_batches'"]),
        (["trainer.precision=17"], ["trainer.precision=17"]),
        (["monitor=val/los"], ["monitor=val/los", "did you mean 'val/loss'"]),
        (["mode=up"], ["mode=up", "'min' or 'max'"]),
        (["seed=-1"], ["seed=-1"]),
        (["early_stopping.patience=0"], ["early_stopping.patience=0"]),
        (["task=classification"], ["Classification", "values"]),
        (["data=classification", "task.class_weights=[1,2]"], ["task.class_weights=[1, 2]", "16 classes"]),
        (["data=classification", "task.label_smoothing=1.5"], ["task.label_smoothing=1.5"]),
        # a mapping is held against the annotation as any other value
        (["data.noise={a:1}"], ["data.noise={a: 1}", "number"]),
        (["trainer.num_threads={}"], ["trainer.num_threads={}", "'auto'"]),
        (["task.distribution={}"], ["task.distribution={}", "'gaussian'"]),
        (["early_stopping=true"], ["early_stopping=true: it has keys of its own"]),
        (["data=csv", "data.past=sales"], ["data.past=sales: must be a list, such as [sales]"]),
        (["seed={}"], ["seed={}"]),
        (["optimizer._partial_=1e9"], ["optimizer._partial_", "true or false"]),
        (["+data._partial_=true"], ["data._target_", "leave _partial_ out"]),
        (["+instruments.a=3"], ["instruments.a=3"]),
        (["+instruments.a._target_=os.getcwd"], ["an Instrument is needed"]),
        (["data.noise=nan"], ["data.noise=nan", "finite"]),
        (["model.hidden_size=1000000000000"], ["model", "memory"]),
        (["model.hidden_size=10000000000000000000000"], ["model.hidden_size=1000", "2**63"]),
        (["model.num_layers=100000000"], ["model.num_layers=100000000", "1000"]),
        (["~optimizer"], ["optimizer=null"]),
        (["~monitor"], ["'monitor' not found"]),
        # what rnnlab gives Lightning itself
        (["+trainer.callbacks=[]"], ["trainer.callbacks=[]", "callbacks=ema"]),
        (["+trainer.logger=true"], ["trainer.logger=true", "TensorBoard"]),
        (["+trainer.enable_progress_bar=true"], ["trainer.progress=bar"]),
        (["+trainer.default_root_dir=x"], ["hydra.run.dir=DIR"]),
        (["+trainer.enable_checkpointing=false"], ["checkpoint"]),
        (["+trainer.directory=x"], ["hydra.run.dir=DIR"]),
        (["trainer.strategy=nope"], ["trainer.strategy=nope", "ddp"]),
        (["trainer.accelerator=cpu", "trainer.devices=[0,0]"], ["trainer.devices=[0, 0]"]),
        (["trainer.num_nodes=2"], ["trainer.num_nodes=2", "slurm"]),
        (["+trainer.limit_train_batches=abc"], ["trainer.limit_train_batches=abc"]),
        (["+trainer.limit_train_batches=1.5"], ["trainer.limit_train_batches=1.5"]),
        (["+trainer.benchmark=3"], ["trainer.benchmark=3"]),
        (["+trainer.max_time=abc"], ["trainer", "DD:HH:MM:SS"]),
        (["+trainer.limit_val_batches=0"], ["trainer.limit_val_batches=0", "monitor=train/loss"]),
        (["+trainer.check_val_every_n_epoch=50", "trainer.max_epochs=30"], ["check_val_every_n_epoch=50", "30 epochs"]),
        (["data.num_samples=40", "+trainer.overfit_batches=0.5"], ["trainer.overfit_batches=0.5", "1 batch"]),
    ],
)
def test_a_mistake_is_one_line_that_names_its_key(overrides: list[str], parts: list[str]) -> None:
    with pytest.raises(InputError) as error:
        prepare_all(compose(*overrides))
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def prepare_all(config: dict[str, Any]) -> None:
    """All that is built before training; what only the trainer knows is said when it is built."""
    prepare(config)
    options = {name: value for name, value in config["trainer"].items() if name != "_target_"}
    build_trainer(Path(), [], [], **options)


def test_seed_zero_is_a_seed() -> None:
    first, second, other = (prepare(compose(f"seed={seed}")) for seed in (0, 0, 1))
    weights = [next(run.task.network.parameters()) for run in (first, second, other)]
    assert weights[0].equal(weights[1])
    assert not weights[0].equal(weights[2])


MALICIOUS = [
    "os.system",
    "subprocess.run",
    "builtins.eval",
    "rnnlab.runs.directory.os.system",
    "rnnlab.data.sequence.np.load",
    "torch.load",
    "torch.optim.os.system",
    "lightning.fabric.utilities.cloud_io._load",
    "rnnlab.runs.build.importlib.import_module",
    "torch.utils.data.DataLoader",
]


@pytest.mark.parametrize("target", MALICIOUS)
def test_a_config_from_a_run_directory_builds_nothing_but_what_it_may(target: str, tmp_path: Path) -> None:
    node = {"_target_": target, "command": f"touch {tmp_path / 'owned'}"}
    with pytest.raises(InputError, match=re.escape(f"data._target_={target}")):
        build(node, "data", allow=[])
    assert not (tmp_path / "owned").exists()


def test_a_nested_target_is_held_to_the_same_list() -> None:
    node = {"_target_": "rnnlab.cells.gru.GRU", "input_size": {"_target_": "os.getpid"}, "hidden_size": 3}
    with pytest.raises(InputError, match=r"os\.getpid"):
        build(node, "model.cell", allow=[])


def test_a_users_own_module_is_built_once_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("my_lab")

    def triple(n: int) -> int:
        return 3 * n

    triple.__module__ = "my_lab"
    module.triple = triple  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_lab", module)
    with pytest.raises(InputError, match="--allow my_lab"):
        build({"_target_": "my_lab.triple", "n": 2}, "model", allow=[])
    assert build({"_target_": "my_lab.triple", "n": 2}, "model", allow=["my_lab"]) == 6
    assert build({"_target_": "my_lab.triple", "n": 2}, "model") == 6  # composed at the keyboard


def test_partial_waits_for_its_call() -> None:
    factory = build({"_target_": "rnnlab.cells.gru.GRU", "_partial_": True, "init": "torch"}, "model.cell", allow=[])
    assert factory(3, 4).weight_hh.shape == (12, 4)


@pytest.mark.parametrize(
    ("value", "annotation", "fits"),
    [
        (3, PositiveInt, True),
        (0, PositiveInt, False),
        (True, PositiveInt, False),
        (3, float, True),
        ("3", int, False),
        (0.999, Fraction, True),
        (1, Fraction, False),
        (None, PositiveInt | None, True),
        ([1, 2], tuple[float, float], True),
        ([1], tuple[float, float], False),
        ("anything", Any, True),
    ],
)
def test_values_are_held_against_annotations(value: Any, annotation: Any, fits: bool) -> None:
    if fits:
        check_value(value, annotation, "key")
    else:
        with pytest.raises(InputError, match=r"^key="):
            check_value(value, annotation, "key")


def test_the_nearest_name_is_found() -> None:
    assert nearest("grru", ["gru", "lstm"]) == "; did you mean 'gru'?"
    assert nearest("modle", ["mode", "model"]) == "; did you mean 'model'?"
    assert nearest("zzz", ["gru", "lstm"]) == ""
    assert nearest("GRU", ["rnn", "gru"]) == "; did you mean 'gru'?"
    assert nearest("bf16", ["16", "bf16-mixed", "bf16-true"]) == "; did you mean 'bf16-mixed'?"


def test_the_nearest_key_is_the_same_name_elsewhere_before_one_that_is_a_little_alike() -> None:
    known = ["monitor", "task", "task.conformal", "data", "data.length", "data.batch_size", "optimizer.lr"]
    assert nearest_key("task.monitor", known) == "; did you mean 'monitor'?"
    assert nearest_key("task.batch_size", known) == "; did you mean 'data.batch_size'?"
    assert nearest_key("data.lenght", known) == "; did you mean 'data.length'?"
    assert nearest_key("task.zzz", known) == ""
    assert nearest_key("monitor.zzz", ["monitor"]) == "", "it is no key of itself"


def test_composing_imports_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['rnnlab', 'train', '--cfg', 'job']; from rnnlab.__main__ import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'lightning', 'matplotlib', 'tensorboard'} & set(sys.modules), sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "hidden_size: 64" in done.stdout


def test_a_run_for_another_machine_asks_for_no_device_of_this_one() -> None:
    config = compose("trainer.accelerator=gpu", "trainer.devices=8")
    if torch.cuda.device_count() < 8:
        with pytest.raises(InputError, match=r"trainer\.(accelerator=gpu|devices=8): this machine has"):
            prepare(config)
    assert prepare(config, machine=False).parameters


def test_what_a_config_builds_beyond_our_own_parts_has_to_be_allowed() -> None:
    own = {"_target_": "my_cells.deep.Mine", "init": {"_target_": "torch.nn.init.zeros_"}}
    config = {
        "model": {"_target_": "rnnlab.network.Network", "cell": own},
        "optimizer": {"_target_": "torch.optim.Adam"},
        "instruments": {"a": {"_target_": "my_cells.Other"}, "b": None},
    }
    assert to_allow(config) == ["my_cells", "torch"]
    assert to_allow({"model": {"_target_": "rnnlab.network.Network"}}) == []
