"""A trained run with some of its config changed: what no longer can be is one line that names the key."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from rnnlab.commands.changed import MAY_CHANGE, STAYS, override
from rnnlab.errors import InputError
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import Outcome

Train = Callable[..., Outcome]


def refused(verb: str, run: Path, capsys: pytest.CaptureFixture[str], *overrides: str) -> str:
    assert import_module(f"rnnlab.commands.{verb}").main([str(run), *overrides]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("rnnlab: "), said
    return said.removeprefix("rnnlab: ").rstrip("\n")


@pytest.mark.parametrize("verb", ["evaluate", "predict", "inspect"])
def test_what_leaves_the_weights_without_their_network_is_named(
    verb: str, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    path = train("data=tokens", "data.num_samples=60", "model.hidden_size=4", "instruments=none").directory.path
    network = "its network stays as it was trained"
    said = refused(verb, path, capsys, "model.hidden_size=64")
    assert said == f"model.hidden_size=64: this run has model.hidden_size=4, and {network}; {MAY_CHANGE}"
    # what the data or the objective makes of the network is known once it is built
    said = refused(verb, path, capsys, "data.num_classes=3")
    assert said.startswith("data.num_classes=3: that makes another network than the weights are of (network.")
    assert said.endswith(f"; this run has data.num_classes=5; {MAY_CHANGE}")
    said = refused(verb, path, capsys, "data=sine")
    assert said.startswith(
        "data=sine: this data (1 feature → 1 value a step) is of another kind than that of the run (one of 50 tokens → "
        "one of 5 classes); this run has data=Tokens; "
    )


RUN = {
    "model": {"hidden_size": 8, "dropout": 0.0, "cell": {"_target_": "rnnlab.cells.gru.GRU", "backend": "auto"}},
    "data": {"_target_": "rnnlab.data.sine.Sine", "noise": 0.1, "seed": 0, "augmentation": {"noise": 0.0}},
    "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.003},
    "trainer": {"max_steps": "auto", "precision": "32-true"},
    "instruments": {"spectrum": None},
    "seed": 0,
    "keep": "auto",
    "tags": [],
    "monitor": "val/loss",
}


@pytest.mark.parametrize(
    ("typed", "had"),
    [
        ("model.dropout=0.4", "model.dropout=0.0, and its network stays as it was trained"),
        ("model=lstm", "model=gru, and its network stays as it was trained"),
        ("+model.coverage=true", "no model.coverage, and its network stays as it was trained"),
        ("optimizer.lr=1", "optimizer.lr=0.003, and its training is over"),
        ("optimizer=sgd", "optimizer=adam, and its training is over"),
        ("trainer.max_steps=9", "trainer.max_steps=auto, and its training is over"),
        ("data.augmentation.noise=1", "data.augmentation.noise=0.0, and its training is over"),
        ("seed=3", "seed=0, and its training is over; data.seed=… draws other data, where data is drawn"),
        ("keep=last", "keep=auto, and its training is over"),
        ("tags=[a]", "tags=[], and its training is over"),
        ("instruments.spectrum=false", "no instruments.spectrum, and nothing is drawn here (rnnlab inspect draws)"),
    ],
)
def test_what_would_be_without_an_effect_is_refused(typed: str, had: str, tmp_path: Path) -> None:
    run = RunDirectory.claim(tmp_path / "r", RUN, choices={"model": "gru", "optimizer": "adam"})
    with pytest.raises(InputError) as error:
        override(RUN, [typed], run)
    assert str(error.value) == f"{typed}: this run has {had}; {MAY_CHANGE}"


@pytest.mark.parametrize(
    "typed",
    ["data.noise=0.5", "data.seed=4", "trainer.precision=64-true", "monitor=val/mae", "model.cell.backend=reference",
     "model.hidden_size=8", "trainer=cpu"],
)  # fmt: skip
def test_what_may_be_changed_and_what_is_as_it_was_is_taken(typed: str) -> None:
    override(RUN, [typed])


def test_the_choice_that_a_run_was_made_with_leaves_its_keys_as_they_are(tmp_path: Path) -> None:
    run = RunDirectory.claim(tmp_path / "r", RUN, choices={"model": "gru", "optimizer": "adam"})
    changed = override(RUN, ["model=gru", "optimizer=adam"], run)
    assert (changed["model"], changed["optimizer"]) == (RUN["model"], RUN["optimizer"])


def test_what_an_instrument_is_belongs_to_those_who_draw() -> None:
    assert override(RUN, ["instruments.spectrum=true"], also=("instruments",))["instruments"]["spectrum"] is True


def test_what_stays_are_keys_that_there_are() -> None:
    from conftest import compose

    from rnnlab.configs import flat_keys

    assert set(STAYS) <= set(flat_keys(compose("data=sine")))


def test_a_key_that_there_is_not_is_told_the_nearest() -> None:
    with pytest.raises(InputError, match=r"backend=loop: unknown key; did you mean 'model\.cell\.backend'"):
        override(RUN, ["backend=loop"])


@pytest.mark.parametrize("verb", ["export", "generate", "report"])
def test_verbs_that_take_no_overrides_say_so(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDirectory.claim(tmp_path / "r", {"seed": 0})
    try:
        status = import_module(f"rnnlab.commands.{verb}").main([str(run.path), "model.hidden_size=64"])
    except SystemExit as end:
        status = int(end.code or 0)
    said = capsys.readouterr().err
    assert status == 2 and said.count("\n") == 1
    assert f"model.hidden_size=64: rnnlab {verb} takes no key=value" in said
