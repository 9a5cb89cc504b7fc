"""Weights that a training begins with, parts that stay as they are, and rates of their own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, compose
from torch import nn

import rnnlab
from rnnlab.errors import InputError
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import execute
from rnnlab.runs.preparation import prepare
from rnnlab.runs.stacking import hindrance

SMALL = (*TINY, "instruments=none", "model=lstm", "model.hidden_size=4", "data=classification", "recipe=general")


def train(home: Path, *overrides: str, resume: bool = False) -> RunDirectory:
    directory = RunDirectory.open(home) if resume else RunDirectory.claim(home)
    execute(directory, directory.config if resume else compose(*SMALL, *overrides), resume=resume, quiet=True)
    return directory


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("source") / "run").path


def begun(*overrides: str) -> Any:
    return prepare(compose(*SMALL, *overrides))


def state_of(run: Path) -> dict[str, torch.Tensor]:
    return rnnlab.load(run).networks[0].state_dict()


def test_a_run_begins_with_the_weights_of_another(source: Path) -> None:
    run = begun(f"init_from={source}", "seed=5")
    own, other = run.task.network.state_dict(), state_of(source)
    assert all(torch.equal(own[name], other[name]) for name in own)
    assert not run.transfer.new
    # another number of classes: a new readout
    run = begun(f"init_from={source}", "data.segments=1")
    assert set(run.transfer.new) == {"readout.weight", "readout.bias"}
    assert torch.equal(run.task.network.state_dict()["layers.0.0.weight_hh"], other["layers.0.0.weight_hh"])
    assert "no token or class is in both" in run.transfer.new["readout.weight"]
    run = begun(f"init_from={source}", "init_parts=[readout]")
    assert run.transfer.taken == ("readout.weight", "readout.bias")


@pytest.mark.parametrize(
    "around", [["model.zoneout=0.1"], ["model.short_conv=2"], ["model.zoneout=0.1", "model.short_conv=2"]]
)
def test_what_is_wrapped_around_a_cell_hides_no_weight(around: list[str], source: Path) -> None:
    other = state_of(source)
    run = begun(f"init_from={source}", *around)
    weights = {name: weight for name, weight in run.task.network.state_dict().items() if name.endswith("weight_hh")}
    assert weights and all(torch.equal(weight, other["layers.0.0.weight_hh"]) for weight in weights.values())
    assert all(name.rpartition(".")[2] in ("kernel", "kernel_bias") for name in run.transfer.new)


def test_classes_and_tokens_are_taken_by_name(source: Path) -> None:
    shapes = "data.shapes=[square,sine]"
    run = begun(f"init_from={source}", shapes)
    other = state_of(source)["readout.weight"]
    names = rnnlab.load(source).spec.target.names
    for number, name in enumerate(run.task.spec.target.names):
        assert torch.equal(run.task.network.readout.weight[number], other[names.index(name)])
    assert run.transfer.rows["readout.weight"].startswith("4 of 4 rows")


def test_a_vocabulary_is_extended_by_token(tmp_path: Path) -> None:
    def texts(name: str, letters: str) -> list[str]:
        for label in ("x", "y"):
            (tmp_path / name).mkdir(exist_ok=True)
            words = [f"{a}{b}{label}" for a in letters for b in letters]
            (tmp_path / name / f"{label}.txt").write_text("\n".join(words) + "\n")
        return [*SMALL, "data=text_classification", f"data.path={tmp_path / name}"]

    first = RunDirectory.claim(tmp_path / "first")
    execute(first, compose(*texts("a", "abcdef")), quiet=True)
    run = prepare(compose(*texts("b", "defghi"), f"init_from={first.path}"))
    was, now = rnnlab.load(first.path), run.task.network
    assert run.transfer is not None and "encoder.weight" in run.transfer.rows
    before, after = was.reader.vocabulary, run.data.reader.vocabulary  # type: ignore[attr-defined]
    for token in "defxy":
        mine, other = now.state_dict()["encoder.weight"], state_of(first.path)["encoder.weight"]
        assert torch.equal(mine[after.index(token)], other[before.index(token)])


def test_weights_of_torch_go_in_and_out(source: Path, tmp_path: Path) -> None:
    theirs = nn.Sequential()
    theirs.lstm = nn.LSTM(1, 4, batch_first=True)
    theirs.fc = nn.Linear(4, 16)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pt")
    run = begun(f"init_from={tmp_path / 'theirs.pt'}")
    x = torch.randn(3, 7, 1)
    torch.testing.assert_close(run.task.network(x)[0], theirs.fc(theirs.lstm(x)[0][:, -1]))
    torch.save({"state_dict": {f"model.{k}": v for k, v in theirs.lstm.state_dict().items()}}, tmp_path / "w.pt")
    run = begun(f"init_from={tmp_path / 'w.pt'}")
    assert set(run.transfer.new) == {"readout.weight", "readout.bias"}
    layer = nn.LSTM(1, 4, batch_first=True)
    layer.load_state_dict(rnnlab.load(source).torch_weights())
    network = rnnlab.load(source).networks[0]
    torch.testing.assert_close(network.readout(layer(x)[0][:, -1]), network(x)[0])


def test_frozen_parts_stay_and_resume_is_exact(source: Path, tmp_path: Path) -> None:
    options = (f"init_from={source}", "freeze=[layers.0]", "lr_factors={readout: 0.5}", "optimizer.lr=0.1",
               "trainer.max_epochs=2", "seed=3", "trainer.checkpoint_seconds=0")  # fmt: skip
    whole = train(tmp_path / "whole", *options)
    before, after = state_of(source), state_of(whole.path)
    for name in before:
        assert torch.equal(before[name], after[name]) == name.startswith("layers.0"), name
    status = whole.status
    assert status.init["from"].startswith(str(source))
    assert "layers.0.0.weight_ih" in status.init["taken"]
    task = prepare(whole.config).task
    assert [group["lr"] for group in task.build_optimizer().param_groups] == [0.1, 0.05]
    assert hindrance(prepare(whole.config)) == "freeze: the steps of all parameters of a fleet are alike"

    # stopped in the second epoch, and resumed
    class Stop(Exception): ...

    def stop(epoch: int, score: float) -> bool:
        if epoch == 2:
            raise Stop
        return False

    directory = RunDirectory.claim(tmp_path / "half")
    with pytest.raises(Stop):
        execute(directory, compose(*SMALL, *options), quiet=True, prune=stop)
    assert directory.last_checkpoint.exists()
    again = train(tmp_path / "half", resume=True)
    ours, theirs = ([{k: v for k, v in row.items() if "second" not in k} for row in each.epochs]
                    for each in (whole, again))  # fmt: skip
    assert ours == theirs
    assert again.status.init == directory.status.init


BAD: dict[str, tuple[Callable[[Path], str], str]] = {
    "nothing there": (lambda run: "init_from=nowhere", r"init_from=.*nowhere: there is no such run or file"),
    "no run": (lambda run: f"init_from={run.parent}", r"this directory is no run"),
    "another size": (
        lambda run: f"init_from={run} model.hidden_size=8",
        r"none of its weights fits: layers.0.0.weight_ih is \(32, 1\) here and \(16, 1\) there",
    ),
    "another cell": (lambda run: f"init_from={run} model=gru", r"none of its weights fits: .*\(12, 1\) here and \(16"),
    "no such part": (lambda run: "freeze=[layer]", r"freeze=layer: this network has no such part.*layers.0"),
    "encoder that is none": (lambda run: "freeze=[encoder]", r"freeze=encoder: this network has no such part"),
    "all of it": (lambda run: "freeze=[layers,readout]", r"nothing is left that could learn"),
    "rate of nothing": (lambda run: "lr_factors={reedout:0.1}", r"lr_factors=reedout: .* did you mean 'readout'"),
    "two rates": (lambda run: "lr_factors={layers:0.1,layers.0:0.2}", r"has that of lr_factors.layers already"),
    "negative": (lambda run: "lr_factors={layers:-1}", r"lr_factors"),
    "parts of nothing": (lambda run: "init_parts=[layers]", r"init_parts=\[layers\] is of init_from=RUN"),
    "both": (lambda run: f"init_from={run} ckpt_path={run}", r"give one of them"),
    "no groups": (lambda run: "lr_factors={readout:0.1} optimizer=lbfgs", r"optimizer: "),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_one_line(name: str, source: Path) -> None:
    make, message = BAD[name]
    with pytest.raises(InputError, match=message) as error:
        begun(*make(source).split())
    assert "\n" not in str(error.value)


def test_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    torch.save(nn.LSTM(1, 4), tmp_path / "module.pt")
    with pytest.raises(InputError, match=r"more than tensors and plain values, and is not loaded"):
        begun(f"init_from={tmp_path / 'module.pt'}")
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(InputError, match=r"init_from="):
        begun(f"init_from={tmp_path / 'text.pt'}")
