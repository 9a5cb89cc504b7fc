"""Composing configs with Hydra, one or many, with mistakes said in one line."""

import json
import pickle
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import (
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
    SearchPathException,
)
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from rnnlab.commands import hydra_internals
from rnnlab.commands.hydra_internals import ROOT, Hydra
from rnnlab.commands.mixed_layers import with_cells
from rnnlab.configs import choose_first, conf_directory, flat_keys
from rnnlab.errors import InputError, UnknownKeys, nearest, nearest_key
from rnnlab.extras import missing
from rnnlab.tasks.direction import direction, of_config

if TYPE_CHECKING:  # one run needs nothing of it
    from rnnlab.runs.sweep import Job

NOT_OF_A_RUN = ("hydra", "sweep")
RECIPE = "recipe"
"""What the data proposes for other parts, which refer to it; a run has the values."""
A_FILE_OF_YOURS = "data=csv data.path=FILE for series, data=table for labelled sequences (rnnlab start FILE says which)"
ELSEWHERE = {
    "test": "a run is always tested at its end; rnnlab evaluate RUN tests it again",
    "checkpoint": "ckpt_path=FILE; a run goes on by rnnlab resume RUN, and is tested again by rnnlab evaluate RUN",
    "resume": "rnnlab resume RUN goes on from a run's last checkpoint",
    "debug": "trainer=debug runs two batches of two epochs",
    "device": "trainer=cpu, trainer=gpu, or trainer.accelerator=…",
    "gpus": "trainer=gpu, and trainer.devices=2 for two",
    "gpu": "trainer=gpu",
    "cpu": "trainer=cpu",
    "name": "a run's directory is hydra.run.dir=outputs/NAME",
    "output": "a run's directory is hydra.run.dir=outputs/NAME",
    "output_dir": "a run's directory is hydra.run.dir=outputs/NAME",
    "epochs": "trainer.max_epochs=…",
    "steps": "trainer.max_steps=…",
    "learning_rate": "optimizer.lr=…",
    "batch": "data.batch_size=…",
    "layers": "model.num_layers=…",
    "units": "model.hidden_size=…",
    "dataset": "data=…, and data=csv data.path=FILE for a file of yours (rnnlab list data)",
    "path": A_FILE_OF_YOURS,
    "file": A_FILE_OF_YOURS,
    "cell": "model=… (rnnlab list models)",
    "loss": "the loss is the task's: task=… (rnnlab list tasks)",
    "lr_scheduler": "scheduler=… (rnnlab list schedulers)",
    "launcher": "hydra/launcher=…, with -m",
    "sweeper": "hydra/sweeper=…, with -m",
}
"""Words that other programs have for what is said in another way here."""
OF_A_RUN = ("test", "checkpoint", "resume", "debug", "name", "output", "output_dir", "launcher", "sweeper")
"""Those of them that mean something else within a section of the config."""
CHOSEN_FIRST = {"scheduler": "schedulers", "callbacks": "callbacks", "logger": "loggers"}
"""Groups of which a run may have none, and how they are listed."""
MOST_SHOWN = 8
"""Keys of a section that a message names."""
EXTRAS = {"joblib": ("joblib", "hydra-joblib-launcher")}
"""Launchers of Hydra's that are an extra of this project: which, and its package."""


def search_path(config_dir: str | None) -> ConfigSearchPath:
    """Our configs, behind those of a user's own ``--config-dir``.

    Raises:
        InputError: there is no such directory.
    """
    path = hydra_internals.default_search_path()
    if config_dir is not None:
        if not Path(config_dir).is_dir():
            raise InputError(f"--config-dir {config_dir}: there is no such directory")
        path.prepend(provider="command-line", path=f"file://{Path(config_dir).resolve()}")
    return path


def create_hydra(config_dir: str | None = None, own_tasks: bool = False) -> Hydra:
    """A Hydra that knows our configs; an earlier one of this process is forgotten.

    Args:
        config_dir: a user's own.
        own_tasks: see :func:`register_resolvers`.
    """
    register_resolvers(own_tasks)
    return hydra_internals.create(search_path(config_dir))


def register_resolvers(own_tasks: bool = False) -> None:
    """The resolvers of our configs: a job's directory name in a sweep, and the direction of the monitored score.

    Args:
        own_tasks: ask a task that isn't rnnlab's for the direction of its scores, which imports its module: only for
            what the person at the keyboard composes, never for what stands in a directory.
    """
    OmegaConf.register_new_resolver("rnnlab.job_name", job_name, replace=True)
    mode = _direction_of_own if own_tasks else lambda monitor, _: direction(str(monitor))
    OmegaConf.register_new_resolver("rnnlab.mode", mode, replace=True)


def _direction_of_own(monitor: Any, target: Any) -> str:
    def load(path: str) -> ModuleType:
        from rnnlab.runs.build import import_named  # here, since --help and --cfg need nothing of it

        return import_named(path, own=True)

    return of_config(monitor, target, load)


def job_name(number: Any, overrides: str) -> str:
    """Such as ``3_model=gru,lr=0.01``: unique by its number, readable, short enough for any disk."""
    readable = re.sub(r"[^\w.=,+-]+", "-", str(overrides))
    readable = re.sub(r"(^|,)(\w+[./])+", r"\1", readable)
    return f"{number}_{readable}"[:120].rstrip("_,.-") if readable else str(number)


def plain(config: DictConfig, model: str | None = None) -> dict[str, Any]:
    """What a run is: resolved, without what is Hydra's or the sweep's around it, plain containers only.

    Args:
        config: as it was composed.
        model: the choice of that name; by default as Hydra's part of the config has it.

    Raises:
        InputError: an interpolation leads nowhere or a mandatory value is missing.
    """
    if model is None:
        model = OmegaConf.select(config, "hydra.runtime.choices.model")
    try:
        if any(name in config for name in NOT_OF_A_RUN):
            config = OmegaConf.masked_copy(config, [str(name) for name in config if name not in NOT_OF_A_RUN])
        container = hydra_internals.mapping(config, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise InputError(_resolution(error)) from None
    return with_cells({str(name): value for name, value in container.items() if name != RECIPE}, model)


class Composer:
    """Composes job after job.

    Hydra reads and merges some twenty files for each job, a tenth of a second.
    Jobs that choose the same configs share this; the keys that are set one by
    one are then set on a copy, by Hydra's own function.

    Args:
        loader: of the configs.
        master: the sweep's own config, whose Hydra overrides go for every job.
        varied: keys in which jobs differ: a job's name says these.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig, varied: Collection[str]) -> None:
        self.loader, self.master, self.varied = loader, master, varied
        self.hydra_overrides = [str(override) for override in master.hydra.overrides.hydra]
        self._parsed: dict[str, Override] = {}
        self._bases: dict[str, tuple[DictConfig, bytes]] = {}
        self._groups: dict[str, bool] = {}

    def compose(self, number: int, overrides: Sequence[str]) -> "Job":
        """Composes one job.

        Args:
            number: of the job.
            overrides: each ``key=value``; Hydra's own stand in the sweep's config.

        Raises:
            HydraException: an override does not fit the config.
            InputError: an interpolation leads nowhere, or a mandatory value is missing.
        """
        from rnnlab.runs.sweep import Job

        parsed = [override for override in map(self.parse, overrides) if not override.is_hydra_override()]
        hydra_internals.check_legal(parsed)
        base, pickled = self._base([override for override in parsed if self._is_group(override)])
        config = pickle.loads(pickled)
        OmegaConf.copy_cache(from_config=self.master, to_config=config)
        hydra_internals.set_keys(config, [override for override in parsed if not self._is_group(override)])
        name = self._name(base, number, parsed)
        choices = {
            str(group): choice for group, choice in base.hydra.runtime.choices.items() if not group.startswith("hydra/")
        }
        own = tuple(str(override.input_line) for override in parsed)
        return Job(number, name, own, plain(config, choices.get("model")), choices)

    def parse(self, override: str) -> Override:
        """Parses an override, once."""
        if override not in self._parsed:
            self._parsed[override] = OverridesParser.create(self.loader).parse_override(override)
        return self._parsed[override]

    def _is_group(self, override: Override) -> bool:
        """Whether Hydra's defaults list takes it, as the choice of a config, rather than the composed config."""
        if override.key_or_group not in self._groups:
            self._groups[override.key_or_group] = hydra_internals.has_group(self.loader, override.key_or_group)
        return self._groups[override.key_or_group] and not isinstance(override.value(), dict)

    def _base(self, groups: Sequence[Override]) -> tuple[DictConfig, bytes]:
        """What jobs of the same choices share: the config with Hydra's node, and a run's part of it to be copied."""
        overrides = [*self.hydra_overrides, *(str(override.input_line) for override in groups)]
        key = json.dumps(overrides)
        if key not in self._bases:
            base = self.loader.load_configuration(str(self.master.hydra.job.config_name), overrides, RunMode.RUN)
            config = OmegaConf.masked_copy(base, [str(name) for name in base if name not in NOT_OF_A_RUN])
            OmegaConf.set_struct(config, True)
            self._bases[key] = (base, pickle.dumps(config))  # six times as fast as OmegaConf's own copy
        return self._bases[key]

    def _name(self, base: DictConfig, number: int, parsed: Sequence[Override]) -> str:
        """The directory's name, as Hydra would resolve it for this job; ``${hydra:…}`` then means this job."""
        from rnnlab.store.ledger import check_name

        separators = base.hydra.job.config.override_dirname
        hydra_internals.make_current(base)
        OmegaConf.copy_cache(from_config=self.master, to_config=base)
        with read_write(base), open_dict(base):
            base.hydra.job.num = number
            base.hydra.job.id = str(number)
            base.hydra.overrides.task = [str(override.input_line) for override in parsed]
            base.hydra.job.override_dirname = hydra_internals.dirname(
                [override for override in parsed if override.get_key_element() in self.varied], separators
            )
        try:
            name = str(OmegaConf.select(base, "hydra.sweep.subdir", throw_on_missing=True))
        except OmegaConfBaseException as error:
            raise InputError(f"hydra.sweep.subdir: {one_line(error)}") from None
        check_name(name, "hydra.sweep.subdir")
        return name


def explain(error: Exception, hydra: Hydra | None, overrides: Iterable[str] = ()) -> InputError:
    """One line for what Hydra says in many: the key, the value, what is allowed, the nearest name."""
    if not str(error) and error.__cause__ is not None:  # Hydra's own words for what OmegaConf has said
        return InputError(_resolution(error.__cause__))
    text = str(error)
    if "--multirun" in text and (several := re.search(r"'([^']+)'", text)):
        return InputError(f"{several[1]}: several values make a sweep: rnnlab train -m {shlex.quote(several[1])}")
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _no_such_choice(error)
    if isinstance(error, OverrideParseException):
        return InputError(f"'{error.override}' is no override: write key=value{_after_colon(text)}")
    if isinstance(error, InstantiationException):  # its last line names a key of Hydra's, which there is
        return InputError(re.sub(r" full_key: (\S+)", r" (\1)", one_line(error)))
    key = re.search(r"Could not override '([^']+)'", text)
    if key is not None:
        return _no_such_key(key[1], hydra, list(overrides))
    if text.startswith("Error merging override") and error.__cause__ is not None:
        return InputError(f"{text.removeprefix('Error merging override ')}: {_resolution(error.__cause__)}")
    return InputError(_resolution(error))


def _resolution(error: BaseException) -> str:
    """What OmegaConf says in three lines, in one."""
    text = re.sub(r" object_type=\S+", "", one_line(error))
    text = re.sub(r" reference_type=\S+", "", text)
    return re.sub(r" full_key: (\S+)", r" (in \1)", text)


def _no_such_key(key: str, hydra: Hydra | None, overrides: list[str]) -> InputError:
    wrong = key.split("@")[0].replace("/", ".")
    wrong = wrong.removesuffix(".") or wrong
    # what the chosen groups have, as far as there is one choice each
    chosen = [
        override
        for override in overrides
        if re.fullmatch(r"[\w/]+=[\w/]+", override) and not override.startswith(f"{key}=")
    ]
    known = _known_keys(hydra, chosen) or _known_keys(hydra, [])
    given = next((o for o in overrides if o.lstrip("+~").startswith(f"{key}=")), key)
    if wrong in known:  # one of Hydra's own, which can't be set
        return InputError(f"{given}: this key cannot be set")
    if "." in wrong:
        meant = hint(wrong, known)
        return InputError(f"{given}: unknown key{meant}" + (f" (+{given} adds a new one)" if meant[:1] != ":" else ""))
    return InputError(f"{given}: unknown key or group{hint(wrong, known)}")


def hint(wrong: str, known: Iterable[str]) -> str:
    """What may have been meant by a key that there is not, after a colon or semicolon; empty where nothing is near."""
    known = list(known)
    section, _, last = wrong.rpartition(".")
    if section and last in known:  # at the top, such as monitor
        return f"; did you mean '{last}'?"
    group = wrong.partition(".")[0]
    if section and group in CHOSEN_FIRST and not any(name.startswith(f"{group}.") for name in known):
        return f": {choose_first(group, wrong.partition('.')[2])} (rnnlab list {CHOSEN_FIRST[group]})"
    if section:
        within = [name for name in known if name.startswith(NOT_OF_A_RUN) == wrong.startswith(NOT_OF_A_RUN)]
        if near := nearest_key(wrong, within):
            return near
        return f": {ELSEWHERE[last]}" if last in ELSEWHERE and last not in OF_A_RUN else _those_there(wrong, known)
    if wrong in ELSEWHERE:
        return f": {ELSEWHERE[wrong]}"
    ours = [name for name in known if not name.startswith((*NOT_OF_A_RUN, RECIPE))]
    deeper = [name for name in ours if name.rpartition(".")[2] == wrong]
    if deeper:
        return f"; did you mean '{deeper[0]}'?"
    return nearest(wrong, [name for name in ours if "." not in name]) or nearest_key(wrong, ours)


def _those_there(wrong: str, known: Iterable[str]) -> str:
    """The keys of a section, where they are few."""
    section = f"{wrong.rpartition('.')[0]}."
    there = [name for name in known if name.startswith(section) and not name.rpartition(".")[2].startswith("_")]
    return f" (there are {', '.join(there)})" if 0 < len(there) <= MOST_SHOWN else ""


def _no_such_choice(error: MissingConfigException) -> InputError:
    group, _, choice = str(error.missing_cfg_file).rpartition("/")
    options = [option for option in error.options or [] if not option.startswith("_")]
    if group == "hydra/launcher" and choice in EXTRAS:
        return missing(*EXTRAS[choice], f"{group}={choice}")
    if not group:
        return InputError(f"--config-name {choice}: there is no such config")
    if not options:
        return InputError(f"{group}={choice}: there is no such config")
    if group == "data" and (Path(choice).suffix or Path(choice).exists()):
        return InputError(f"data={choice}: no such data: {A_FILE_OF_YOURS.replace('FILE', choice)}")
    meant = "; did you mean 'gpu'?" if (group, choice) == ("trainer", "cuda") else nearest(choice, options)
    return InputError(f"{group}={choice}: no such {group}{meant} (there are {', '.join(options)})")


def _known_keys(hydra: Hydra | None, choices: list[str]) -> list[str]:
    if hydra is None:
        return []
    try:
        config = hydra.config_loader.load_configuration(config_name=ROOT, overrides=choices, run_mode=run_mode())
        return list(flat_keys(OmegaConf.to_container(config, resolve=False)))
    except (HydraException, OmegaConfBaseException):
        return []


def run_mode() -> RunMode:
    """The mode of composing a single run."""
    return RunMode.RUN


NOT_THERE = re.compile(r"data\.\w*path=.*: there is no such (file|folder)")
"""The complaint about data that does not exist."""
PASSED_ON = re.compile(r"\$\{(?:oc\.select:)?\s*(\.?[\w.]+)\s*(?:,[^{}]*)?\}")
"""A value that is another key's: ``${seed}``, ``${.hidden_size}`` or ``${oc.select:model.linear,null}``."""


def as_typed(error: InputError, config: DictConfig, overrides: Iterable[str]) -> InputError:
    """The same complaint under the key that was typed, where a value was passed on to another key, or came from one.

    Args:
        error: whose message may have ``key=value``.
        config: as it was composed, interpolations in it.
        overrides: as they were typed.
    """
    typed = {line.partition("=")[0].lstrip("+") for line in overrides}
    text = str(error)
    for key, source in _passed_on(OmegaConf.to_container(config, resolve=False)):
        wrong, right = (key, source) if source in typed else (source, key)
        if right in typed and wrong not in typed:
            text = re.sub(rf"(?<![\w.]){re.escape(wrong)}=", f"{right}=", text)
    if isinstance(error, UnknownKeys) and f"{error.place}._target_" in typed:
        left = [f"{error.place}.{name}" for name in error.names]
        if not typed.intersection(left):  # of the class that another took the place of
            text += f"; what the class before took is left out by {' '.join(f'~{key}' for key in left)}"
    return InputError(text + _where_data_is_from(text, config))


def _where_data_is_from(complaint: str, config: DictConfig) -> str:
    """Of an experiment whose data is not there, which file tells how to get it; else empty."""
    name = OmegaConf.select(config, "hydra.runtime.choices.experiment", default=None)
    file = conf_directory() / "experiment" / f"{name}.yaml"
    if NOT_THERE.match(complaint) is None or not isinstance(name, str) or not file.is_file():
        return ""
    return f"; how to get the data of experiment={name} stands at the top of {file}"


def _passed_on(node: Any, prefix: str = "") -> Iterable[tuple[str, str]]:
    """Of a config that is not resolved each key whose value is another's, and that other key."""
    if not isinstance(node, Mapping):
        return
    for name, value in node.items():
        key = f"{prefix}.{name}" if prefix else str(name)
        reference = PASSED_ON.fullmatch(value) if isinstance(value, str) else None
        if reference is not None:
            yield key, f"{prefix}{reference[1]}" if reference[1].startswith(".") else reference[1]
        yield from _passed_on(value, key)


def _after_colon(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return f" ({' '.join(lines[0].split())})" if lines else ""


def one_line(error: BaseException) -> str:
    """The message of any error on one line."""
    return " ".join(str(error).split()) or type(error).__name__


COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException, SearchPathException)
