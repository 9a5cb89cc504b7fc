"""From a config to a run that can be executed: built, and held against all that it must be."""

import inspect
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import lightning
import torch
from annotated_types import Lt
from lightning import Callback

from rnnlab.data.rebuilt import rebuilt
from rnnlab.data.sequence import SequenceData
from rnnlab.errors import InputError, OtherNetwork, nearest
from rnnlab.instruments.instrument import Instrument
from rnnlab.network import Network
from rnnlab.runs.budget import Budget, plan
from rnnlab.runs.build import build, build_one, check_node, locate, with_absolute_paths
from rnnlab.runs.checkpoint import fit_weights, read_checkpoint
from rnnlab.runs.extensions import build_callbacks, check_loggers, check_tags
from rnnlab.runs.kept import Kept, how_solved, which_weights
from rnnlab.runs.schema import check_arguments, shown, unknown_keys
from rnnlab.runs.threads import one_thread
from rnnlab.runs.trainer import check_batches, check_trainer
from rnnlab.runs.transfer import Transfer, freeze, rates, read_weights, take
from rnnlab.shapes import NonNegativeFloat, NonNegativeInt, PositiveInt
from rnnlab.spec import DataSpec
from rnnlab.tasks.closed_form import FOLDS
from rnnlab.tasks.task import Task

log = logging.getLogger("rnnlab")
GIVEN_TO_TASK = ("network", "spec", "optimizer", "scheduler", "monitor")


PARTS = ("data", "model", "task", "optimizer", "scheduler", "trainer", "instruments", "callbacks", "logger")


OPTIONAL = ("scheduler", "instruments", "callbacks", "logger")
"""Parts that may be empty."""


@dataclass
class Run:
    """What a config describes, built and checked, nothing trained yet."""

    config: dict[str, Any]
    data: SequenceData
    task: Task
    instruments: list[Instrument[Any]] = field(default_factory=list)
    callbacks: list[Callback] = field(default_factory=list)
    transfer: Transfer | None = None

    @property
    def kept(self) -> Kept:
        """Which weights are kept."""
        config = self.config
        keep = config.get("keep", "best")  # which a run of before this key did
        solved = self.task.network.solver == "ridge"
        return which_weights(keep, config["monitor"], self.task.scheduler_factory, self.data.size("val"), solved)

    def kept_in_words(self, rows: Sequence[Mapping[str, float]]) -> str:
        """Why these weights are kept; of a readout that was solved also how, by its ``rows`` of ``metrics.csv``."""
        why, network = self.kept.why, self.task.network
        folds = next((int(row[FOLDS]) for row in reversed(rows) if FOLDS in row), None)
        if network.solver != "ridge" or folds is None:
            return why
        return f"{why}, {how_solved(network.penalty, folds, refitted=not self.task.spec.target.per_step)}"

    @property
    def budget(self) -> Budget:
        """How long it trains."""
        return budget_of(self.config["trainer"], self.data, self.task)

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.task.network.parameters())


def budget_of(trainer: Mapping[str, Any], data: SequenceData, task: Task) -> Budget:
    """How long a task is trained on some data; a readout in closed form in one pass, whatever the trainer says."""
    batches = data.batches_per_pass
    if task.network.solver == "ridge":
        return Budget(1, None, batches, 1.0)
    return plan(trainer, batches, whole_passes=task.spec.streamed, residual=bool(task.spec.residual))


def settings(
    seed: Annotated[NonNegativeInt, Lt(2**32)] = 0,
    monitor: str = "val/loss",
    mode: Literal["min", "max"] = "min",
    keep: Literal["auto", "best", "last"] = "best",
    early_stopping: Mapping[str, Any] | None = None,
    tags: list[str] | None = None,
    train: bool = True,
    ckpt_path: str | None = None,
    init_from: str | None = None,
    init_parts: list[str] | None = None,
    freeze: list[str] | None = None,
    lr_factors: Mapping[str, NonNegativeFloat] | None = None,
) -> None:
    """The keys at the top of a config, beside its parts."""


def early_stopping(patience: PositiveInt | None = None, min_delta: NonNegativeFloat = 0.0) -> None:
    """The keys under ``early_stopping``."""


def check_settings(config: Mapping[str, Any]) -> None:
    """Checks the keys at the top of a config.

    Raises:
        InputError: in one line, naming the key.
    """
    unknown_keys(config, (*PARTS, *inspect.signature(settings).parameters))
    for name in ("seed", "monitor", "mode"):
        if name not in config:
            raise InputError(f"{name} is missing: give {name}=…")
    for part in PARTS:
        if config.get(part) or part not in OPTIONAL:
            check_node(config.get(part), part)
    stopping = config.get("early_stopping")
    if not isinstance(stopping, Mapping | None):
        raise InputError(
            f"early_stopping={shown(stopping)}: it has keys of its own: early_stopping.patience=20 stops after 20 "
            "epochs without a better score, early_stopping.patience=null never"
        )
    check_arguments(settings, {name: value for name, value in config.items() if name not in PARTS}, "")
    check_arguments(early_stopping, config.get("early_stopping") or {}, "early_stopping")
    check_tags(config.get("tags"))
    if config.get("init_from") and config.get("ckpt_path"):
        raise InputError(
            f"init_from={config['init_from']} and ckpt_path={config['ckpt_path']}: the first begins a training with "
            "weights, the second goes on with one: give one of them"
        )
    if config.get("init_parts") is not None and not config.get("init_from"):
        raise InputError(f"init_parts={shown(config['init_parts'])} is of init_from=RUN, which is not given")


def prepare(
    config: Mapping[str, Any],
    allow: Iterable[str] | None = None,
    trained: Mapping[str, Any] | None = None,
    base: str | None = None,
    machine: bool = True,
) -> Run:
    """Builds a run's data, network and task, and checks all that can be checked before training.

    Args:
        config: the resolved config, plain containers.
        allow: see :func:`rnnlab.runs.build.build`.
        trained: the checkpoint whose weights will be used, by which the data numbers its tokens and classes.
        base: the directory from which relative paths lead; ``None`` is the current one.
        machine: whether it is to be trained here, and so on the devices of this machine.

    Raises:
        InputError: in one line, naming the key.
    """
    config = dict(config)
    check_settings(config)
    check_trainer(config["trainer"], allow, machine)
    lightning.seed_everything(config["seed"], verbose=False)
    config["data"] = with_absolute_paths(config["data"], "data", allow, base)
    if config.get("ckpt_path"):
        given = config["ckpt_path"]
        config["ckpt_path"] = str((Path(base or "") / Path(config["ckpt_path"]).expanduser()).absolute())
        if not trained and not Path(config["ckpt_path"]).is_file():
            raise InputError(f"ckpt_path={given}: there is no checkpoint {config['ckpt_path']}")
    origin = trained or (read_checkpoint(Path(config["ckpt_path"])) if config.get("ckpt_path") else {})
    data = data_of(config, origin, allow)
    if origin:
        check_kind(data.spec, origin)
        say_what_is_learned_anew(data, origin)
    spec = as_learned(data.spec, origin)
    if config["model"].get("linear") == "ridge" and not hasattr(data, "ridge"):
        raise InputError("model.linear=ridge is for time series (data=csv, airline, sunspots): use model.linear=null")
    if not trained:
        _check_linear(config)
    if data.augmentation is not None:
        data.augmentation.check(spec)
    network = build_network(config, spec, allow)
    optimizer = build(config["optimizer"], "optimizer", allow)
    scheduler = build(config["scheduler"], "scheduler", allow) if config.get("scheduler") else None
    monitor = config["monitor"]
    task: Task = build_one(
        Task,
        config["task"],
        "task",
        allow,
        network=network,
        spec=spec,
        optimizer=optimizer,
        scheduler=scheduler,
        monitor=monitor,
    )
    task.check_data(data)
    transfer = _begin_with(config, task, data, trained, base)
    if monitor not in task.monitorable():
        known = task.monitorable()
        # weights are never chosen by the test
        near = [name for name in known if name.rpartition("/")[2] == str(monitor).rpartition("/")[2]]
        hint = nearest(near[0], near) if near else nearest(monitor, known)
        raise InputError(f"monitor={monitor}: no such score{hint} (there are {', '.join(known)})")
    if not trained:
        check_mode(config["mode"], monitor, task)
        budget = budget_of(config["trainer"], data, task)
        batches = {"train": budget.batches or data.batches_per_pass, "val": data.batches_of_validation}
        check_batches(config["trainer"], batches, budget.epochs, monitor)
        if origin:
            _check_origin(config, task, origin, budget.epochs)
    part = "optimizer"
    try:
        built = task.build_optimizer()
        part = "scheduler"
        if scheduler is not None:
            task.build_schedule(built, total_steps=1000)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        said = " ".join(str(error).split())
        # which value it is that it refuses, where its own words have it
        keys = [
            f"{part}.{name}={value}" for name, value in config[part].items()
            if isinstance(value, (int, float)) and not isinstance(value, bool) and said.endswith(f": {value}")
        ]  # fmt: skip
        raise InputError(f"{keys[0] if len(keys) == 1 else part}: {said}") from error
    if config.get("train", True) and not any(group["lr"] for group in built.param_groups):
        raise InputError(
            "optimizer.lr=0: nothing would be learned; give more, or train=false to test the network as it is"
        )
    instruments = [
        build_one(Instrument, node, f"instruments.{name}", allow)
        for name, node in (config.get("instruments") or {}).items()
        if node not in (None, False)
    ]
    check_loggers(config, allow)
    return Run(config, data, task, instruments, build_callbacks(config, allow), transfer)


def _check_linear(config: Mapping[str, Any]) -> None:
    """Refuses a linear part that the network is to have beside it and the data is not to fit, or the other way round.

    Raises:
        InputError: naming both keys.
    """
    network, data = config["model"].get("linear"), config["data"]
    if network is not None and "linear" in data and data["linear"] != network:
        raise InputError(
            f"model.linear={network} and data.linear={shown(data['linear'])} disagree: the data fits the linear part "
            "whose rest the network learns: give one of them"
        )


def _begin_with(
    config: dict[str, Any], task: Task, data: SequenceData, trained: Mapping[str, Any] | None, base: str | None
) -> Transfer | None:
    """Puts weights from elsewhere into a network that is not trained yet, and says which parts of it learn how.

    Raises:
        InputError: naming the key.
    """
    transfer = None
    if config.get("init_from"):
        given = config["init_from"]
        place = (Path(base or "") / Path(given).expanduser()).absolute()
        config["init_from"] = str(place)
        if not trained:
            transfer = take(task, data, read_weights(place, given), config.get("init_parts"))
    parts, factors = config.get("freeze") or [], config.get("lr_factors") or {}
    if (parts or factors) and task.network.solver == "ridge":
        raise InputError(
            f"{'freeze' if parts else 'lr_factors'}: a readout in closed form (model.solver=ridge) is all that learns"
        )
    if parts:
        freeze(task.network, parts)
    if factors:
        task.rate_factors = rates(task.network, factors)
    return transfer


def _check_origin(config: Mapping[str, Any], task: Task, origin: Mapping[str, Any], epochs: int) -> None:
    """Refuses a checkpoint to go on from whose weights don't fit, or whose training was as long as this one is to be.

    Raises:
        InputError: naming the key.
    """
    path, before = config["ckpt_path"], origin.get("epoch", 0)
    fit_weights(task, origin, Path(path))
    if config.get("train", True) and "optimizer_states" not in origin:
        raise InputError(f"ckpt_path={path}: it holds weights alone; a training goes on from a run's last.ckpt")
    if config.get("train", True) and before >= epochs:
        raise InputError(
            f"ckpt_path={path}: that training had {before} epochs, and this one is to have {epochs} in all: give "
            f"trainer.max_epochs={2 * before}, say"
        )


def data_of(config: Mapping[str, Any], checkpoint: Mapping[str, Any], allow: Iterable[str] | None) -> SequenceData:
    """The data of a config whose paths are absolute, as its objective asks for it.

    Args:
        config: plain containers.
        checkpoint: whose numbering and scaling it has; empty for its own.
        allow: see :func:`rnnlab.runs.build.build`.

    Raises:
        InputError: in one line, naming the key.
    """
    data: SequenceData = build_one(SequenceData, numbered_as(config["data"], checkpoint), "data", allow)
    return rebuilt(data) if getattr(locate(config["task"], "task", allow), "rebuilds", False) else data


def trained_data(config: Mapping[str, Any], checkpoint: Mapping[str, Any], allow: Iterable[str] | None) -> SequenceData:
    """The data of a trained run alone, as it was when its weights were found.

    Raises:
        InputError: in one line, naming the key.
    """
    return data_of({**config, "data": with_absolute_paths(config["data"], "data", allow)}, checkpoint, allow)


def build_data(config: Mapping[str, Any]) -> SequenceData:
    """The data of a config alone.

    Raises:
        InputError: in one line, naming the key.
    """
    node = with_absolute_paths(config["data"], "data")
    return build_one(SequenceData, node, "data", None)


def check_mode(mode: str, monitor: str, task: Task) -> None:
    """Refuses to keep the worst epoch.

    Raises:
        InputError: the monitored score gets better the other way.
    """
    right = task.direction(monitor)
    if right not in (None, mode):
        way = "higher" if right == "max" else "lower"
        raise InputError(f"mode={mode}: {monitor} is better the {way} it is: mode={right}")


def build_network(config: Mapping[str, Any], spec: DataSpec, allow: Iterable[str] | None = None) -> Network:
    """The network of a config, of the size that its objective needs for this data.

    Raises:
        InputError: in one line, naming the key.
    """
    objective = locate(config["task"], "task", allow)
    target = spec.target
    if isinstance(objective, type) and issubclass(objective, Task):
        options = {name: value for name, value in config["task"].items() if name != "_target_"}
        check_arguments(objective, options, "task", dict.fromkeys(GIVEN_TO_TASK))
        if objective.fits(spec.target):  # else the task itself says why they don't fit
            target = objective.output(spec, **options)
    with one_thread():
        shape = replace(spec.input, length=spec.length)
        network: Network = build_one(Network, config["model"], "model", allow, input=shape, target=target)
    if spec.residual:
        # what a fitted forecast leaves over is nothing until something is learned of it
        for parameter in network.readout.parameters():
            torch.nn.init.zeros_(parameter)
    return network


def numbered_as(node: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a data set, with what its ``state_dict`` said when the checkpoint was written.

    Raises:
        InputError: the config says something else, and so would number the network's inputs or classes differently.
    """
    name = str(node["_target_"]).rpartition(".")[2]
    state = checkpoint.get(name, {})
    if not isinstance(state, Mapping) or not all(isinstance(key, str) for key in state):
        raise InputError(f"the checkpoint is damaged: what it says of {name} is no state of a data set")
    for name, value in state.items():
        if node.get(name) not in (None, "auto", value):
            many = isinstance(value, Mapping | list)
            was = f"{len(value)} others" if many else f"data.{name}={shown(value)}"
            raise InputError(
                f"data.{name}={shown(node[name])}: this run was trained with {was}, and its weights know nothing else"
            )
    return {**node, **state}


def say_what_is_learned_anew(data: SequenceData, checkpoint: Mapping[str, Any]) -> None:
    """Warns where a checkpoint does not hold what the network's numbers stand for, as earlier ones do not: with other
    data than the run's own they would stand for something else.
    """
    state, before = checkpoint.get(type(data).__name__, {}), _spec_before(checkpoint)
    if before is not None and before.input.features != data.spec.input.features:
        return  # other data, which nothing of it was learned from
    missing = [name for name in data.state_dict() if name not in state]
    if missing:
        log.warning(
            "this checkpoint is of an earlier rnnlab and does not hold what was learned from the training part (%s): "
            "it is learned anew from this data, which is right for the run's own data alone",
            ", ".join("scaling and errors of simple predictors" if name == "trained" else name for name in missing),
        )


def check_kind(spec: DataSpec, checkpoint: Mapping[str, Any]) -> None:
    """Refuses data of another kind than that which a checkpoint's weights were trained on.

    Raises:
        OtherNetwork: one has numbers where the other has tokens, or another kind of target.
    """
    before = _spec_before(checkpoint)
    if before is None:
        return
    if (before.target.kind, before.input.features is None) == (spec.target.kind, spec.input.features is None):
        return
    now, then = (f"{each.input.in_words} → {each.target.in_words}" for each in (spec, before))
    raise OtherNetwork(
        f"this data ({now}) is of another kind than that which the checkpoint was trained on ({then})",
        f"this data ({now}) is of another kind than that of the run ({then})",
    )


def _spec_before(checkpoint: Mapping[str, Any]) -> DataSpec | None:
    """What the data said of itself that a checkpoint's weights were trained on; ``None`` of an earlier rnnlab's, and of
    one that is damaged, which shows later.
    """
    try:
        return DataSpec.from_plain(checkpoint["data"]["spec"])
    except (TypeError, ValueError, LookupError, AttributeError):
        return None


LEARNED = ("class_frequencies", "token_frequencies", "target_mean")


def as_learned(spec: DataSpec, checkpoint: Mapping[str, Any]) -> DataSpec:
    """What data says of itself, with what the training split of a trained run told: its frequencies and means are
    those of the class weights and of the baselines, whatever the weights are tested on.
    """
    data = checkpoint.get("data")
    said = data.get("spec") if isinstance(data, Mapping) else None
    if not isinstance(said, Mapping):
        return spec
    kept = {name: said.get(name) or () for name in LEARNED}
    same: dict[str, Any] = {
        name: tuple(value) for name, value in kept.items() if len(value) == len(getattr(spec, name))
    }
    return replace(spec, **same)
