"""``rnnlab train``: a Hydra app; one run, or with ``-m`` a sweep."""

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from hydra import version
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import _run_hydra, get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import run_job
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from rnnlab.commands.arguments import load_execution, refused_by_the_disk
from rnnlab.commands.composition import (
    COMPOSITION_ERRORS,
    ROOT,
    as_typed,
    create_hydra,
    explain,
    one_line,
    plain,
    register_resolvers,
)
from rnnlab.commands.overrides import compose, read, refuse_what_changes_nothing
from rnnlab.commands.sweep_settings import checked, refuse_in_a_run
from rnnlab.configs import conf_directory
from rnnlab.errors import InputError, Interrupted, RunFailed, visible
from rnnlab.runs.directory import RunDirectory, is_first_process
from rnnlab.shell import allowing, command_line, pasted
from rnnlab.store.status import State
from rnnlab.store.times import now

if TYPE_CHECKING:  # it imports torch
    from rnnlab.runs.execution import Outcome


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    version.setbase("1.3")
    parser = get_args_parser()
    parser.prog = "rnnlab train"
    parser.error = _refuse  # type: ignore[method-assign]
    # Hydra would print its errors over many lines and exit by itself; with this it raises them
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        # intermixed: flags may stand anywhere among the overrides
        args = parser.parse_intermixed_args(arguments)
        if args.help:
            show_help(create_hydra(args.config_dir), parser, args)
            return 0
        if args.hydra_help or args.cfg or args.info or args.shell_completion:
            register_resolvers()
            GlobalHydra.instance().clear()
            _run_hydra(args, parser, _never, str(conf_directory()), ROOT)
            return 0
        command = Command.compose(args.overrides, args.config_dir, args.config_name, args.multirun)
        return command.sweep() if command.is_sweep else command.print_run()
    except COMPOSITION_ERRORS as error:
        return _say(explain(error, None))
    except InputError as error:
        return _say(error)
    except RunFailed as error:  # what a sweep needs did not start
        return _say(error, 1)
    except Interrupted as error:
        print("stopped", file=sys.stderr)
        return 128 + error.signal_number
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except OSError as error:
        return refused_by_the_disk(error)
    finally:
        os.environ.pop("HYDRA_FULL_ERROR", None)


def _say(error: Exception, status: int = 2) -> int:
    print(f"rnnlab: {visible(str(error))}", file=sys.stderr)
    return status


def _refuse(message: str) -> NoReturn:
    raise InputError(f"{message} ({pasted('train', '--help')})")


def _never(_: DictConfig) -> None:
    """What Hydra would run, were it not only asked to show something."""


def show_help(hydra: Hydra, parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Hydra's help, without the copy of all configs that it would make for each group that it lists."""
    loader = hydra.config_loader
    assert isinstance(loader, ConfigLoaderImpl)

    def group_options(
        group_name: str, results_filter: ObjectType | None = ObjectType.CONFIG, *_: Any, **__: Any
    ) -> list[str]:
        options = loader.repository.get_group_options(group_name, results_filter)
        if group_name.startswith("benchmark"):  # not composed: rnnlab benchmark reads them
            return []
        return [option for option in options if not option.startswith("_")]  # what choices share is no choice

    loader.get_group_options = group_options  # type: ignore[method-assign]
    hydra.app_help(config_name=args.config_name or ROOT, args_parser=parser, args=args)


@dataclass(frozen=True)
class Command:
    """What was asked for, composed and checked: one run, or a sweep.

    Attributes:
        hydra: that composed it.
        config: with Hydra's own part.
        overrides: in Hydra's grammar.
    """

    hydra: Hydra
    config: DictConfig
    overrides: list[str]

    @classmethod
    def compose(
        cls,
        overrides: Sequence[str],
        config_dir: str | None = None,
        config_name: str | None = None,
        multirun: bool = False,
    ) -> "Command":
        """Composes overrides as they were typed.

        Args:
            overrides: ``key=value`` each.
            config_dir: of a user's own configs.
            config_name: the root config, ours by default.
            multirun: a sweep; one of the overrides may say so, too (``hydra.mode=MULTIRUN``).

        Raises:
            InputError: in one line, naming the key.
        """
        hydra = create_hydra(config_dir, own_tasks=True)
        name = config_name or ROOT
        mode = RunMode.MULTIRUN if multirun else RunMode.RUN
        lines = list(overrides)
        try:
            lines = read(hydra, lines)
            config, lines = compose(hydra, name, lines, mode)
            if config.hydra.mode == RunMode.MULTIRUN and mode == RunMode.RUN:
                mode = RunMode.MULTIRUN
                config = hydra.compose_config(name, lines, mode, with_log_configuration=True)
            refuse_what_changes_nothing(config, OverridesParser.create(hydra.config_loader), lines)
        except COMPOSITION_ERRORS as error:
            if mode == RunMode.RUN and not any(line.startswith("hydra.mode=") for line in lines):
                refuse_in_a_run(lines)  # a launcher's key is unknown where no launcher was chosen
            raise explain(error, hydra, lines) from None
        checked(config)
        if mode == RunMode.RUN:
            refuse_in_a_run(lines)
        ready = config.hydra.runtime.choices.get("sweep")
        if mode == RunMode.RUN and ready is not None:
            print(f"sweep={ready}: this is one run with its settings; the sweep itself takes -m", file=sys.stderr)
        with read_write(config), open_dict(config):
            config.hydra.mode = mode
        HydraConfig.instance().set_config(config)  # what ${hydra:…} in a directory's name reads
        return cls(hydra, config, lines)

    @property
    def is_sweep(self) -> bool:
        return bool(self.config.hydra.mode == RunMode.MULTIRUN)

    def sweep(self) -> int:
        """Executes a sweep; returns the exit status.

        Raises:
            InputError: as :func:`rnnlab.commands.sweep.sweep`.
        """
        from rnnlab.commands.sweep import sweep

        try:
            return sweep(self.hydra, self.config, self.overrides, job)
        except InputError as error:
            raise as_typed(error, self.config, self.overrides) from None
        except COMPOSITION_ERRORS as error:
            raise explain(error, self.hydra, self.overrides) from None

    def print_run(self) -> int:
        """Executes a run and prints its outcome, or in one line what it ended of; returns the exit status."""
        try:
            outcome = self.run()
        except InputError as error:
            return _say(error)
        except RunFailed as error:
            return _say(error, 1)
        except Interrupted as error:  # it has said so
            return 128 + error.signal_number
        if is_first_process():
            from rnnlab.commands.outcome import print_outcome

            print_outcome(outcome)
        return 0

    def run(self) -> "Outcome":
        """Executes one run, in a directory of its own.

        Raises:
            InputError: it cannot work; nothing was trained and nothing is left of it.
            RunFailed: it could not go on; the message says how it is resumed.
            Interrupted: a signal asked to stop; a checkpoint is on the disk.
        """
        config, claimed = self.config, None
        callbacks = Callbacks(config)
        if is_first_process():
            chosen = any(line.startswith("hydra.run.dir=") for line in self.overrides)
            claimed = _claim(config, "hydra.run.dir", chosen)
        try:
            callbacks.on_run_start(config=config, config_name=ROOT)
            result = run_job(
                hydra_context=HydraContext(config_loader=self.hydra.config_loader, callbacks=callbacks),
                task_function=job,
                config=config,
                job_dir_key="hydra.run.dir",
                job_subdir_key=None,
            )
        except KeyboardInterrupt:
            if claimed is not None and claimed.status.state == State.CREATED:  # while torch was imported
                claimed.update_status(State.INTERRUPTED, reason="stopped by a signal", finished=now())
                print(f"\nGo on with: {_resume(claimed)}", file=sys.stderr)
            raise
        except (HydraException, OSError, ValueError, TypeError, AttributeError, LookupError) as error:
            # of Hydra's own work around the job, such as its loggers: what the job raises stands in the result
            if claimed is not None:
                claimed.remove_if_untrained()
                claimed.remove_made_parents()
            raise InputError(f"hydra: {one_line(error)}") from error
        callbacks.on_run_end(config=config, config_name=ROOT, job_return=result)
        if claimed is not None and not claimed.path.exists():  # refused
            claimed.remove_made_parents()
        if isinstance(result.return_value, InputError):
            raise as_typed(result.return_value, config, self.overrides)
        if isinstance(result.return_value, Exception):
            raise result.return_value
        outcome: Outcome = result.return_value
        return outcome


def _claim(config: DictConfig, key: str, chosen: bool) -> RunDirectory:
    """Makes the run's directory, with all that a resume needs; a default name that is taken gets a number."""
    wanted = str(OmegaConf.select(config, key))
    values = plain(config)
    about = OmegaConf.to_container(OmegaConf.create({"choices": config.hydra.runtime.choices}))
    assert isinstance(about, dict)
    facts = {
        "command": command_line(),
        "overrides": list(config.hydra.overrides.task),
        "choices": {group: choice for group, choice in about["choices"].items() if not group.startswith("hydra/")},
        "config_dirs": [
            source.path for source in config.hydra.runtime.config_sources if source.provider == "command-line"
        ],
    }
    for attempt in range(1, 1000):
        path = wanted if attempt == 1 else f"{wanted}-{attempt}"
        try:
            claimed = RunDirectory.claim(path, values, **facts)
        except InputError:
            if chosen or not os.path.exists(path):
                raise
            continue
        with read_write(config.hydra):
            OmegaConf.update(config, key, path)
        return claimed
    raise InputError(f"{wanted}: a thousand runs have taken this name: choose another {key}")


def job(config: DictConfig, allow: Sequence[str] | None = None) -> Any:
    """What Hydra runs: a single run, or a job of a sweep under a launcher that is Hydra's.

    Args:
        config: that Hydra composed.
        allow: of a job of a sweep, see :func:`rnnlab.runs.build.build`.

    Returns:
        For a single run its outcome, or the error that ended it on purpose
        (Hydra would print one that is raised); for a job of a sweep the
        monitored score, for sweepers that optimize it (not a number where the
        job failed).
    """
    settings = HydraConfig.get()
    directory = RunDirectory(settings.runtime.output_dir)
    if not OmegaConf.is_missing(settings.job, "num"):
        return _job_of_sweep(directory, allow)
    execution = load_execution()
    log = logging.getLogger("rnnlab")
    try:
        log.info("overrides: %s", " ".join(settings.overrides.task) or "none")
        outcome = execution.execute(directory, plain(config))
        log.info("done: %s", outcome.metrics)
        return outcome
    except InputError as error:
        directory.remove_if_untrained()
        return error
    except RunFailed as error:
        log.error("%s", error)
        said, again = f"failed: {error}", _resume(directory)
        return RunFailed(said if again in said else f"{said} ({again})")
    except Interrupted as error:
        log.warning("stopped by signal %s", error.signal_number)
        print(f"\nstopped. Go on with: {_resume(directory)}", file=sys.stderr)
        return error
    except Exception:
        log.exception("a bug, or a file that cannot be used")
        raise


def _resume(directory: RunDirectory) -> str:
    """The command that goes on with a run whose config was typed just now, own modules in it included."""
    from rnnlab.runs.build import to_allow

    trusted: list[str] = []
    with contextlib.suppress(InputError):
        trusted = to_allow(directory.config)
    return pasted("resume", directory.path, *allowing(trusted))


def _job_of_sweep(directory: RunDirectory, allow: Sequence[str] | None) -> float:
    """A job that was planned: its config is in its directory, and how it goes stands there."""
    load_execution()
    from rnnlab.launch.job import execute_job, score

    try:
        execute_job(directory, allow, log=False)  # Hydra does
    except Interrupted:
        raise KeyboardInterrupt from None  # the jobs after it must not start
    status = directory.status
    value = score(directory, directory.config["monitor"])
    how = f"failed: {status.reason}" if status.state == "failed" else f"{value:.4g}"
    print(visible(f"{directory.path.name}  {how}"))
    return value
