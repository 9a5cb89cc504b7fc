"""``rnnlab train``: a Hydra app; one run, or with ``-m`` a sweep."""

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from rnnlab.commands import hydra_internals
from rnnlab.commands.arguments import guarded, load_execution
from rnnlab.commands.composition import (
    COMPOSITION_ERRORS,
    as_typed,
    create_hydra,
    explain,
    one_line,
    plain,
    register_resolvers,
)
from rnnlab.commands.hydra_internals import ROOT, Hydra
from rnnlab.commands.overrides import (
    compose,
    read,
    refuse_descent_where_there_is_none,
    refuse_what_changes_nothing,
)
from rnnlab.commands.sweep_settings import checked, place, refuse_in_a_run, refuse_in_a_sweep
from rnnlab.errors import InputError, Interrupted, RunFailed, visible
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.provenance import is_first_process
from rnnlab.shell import allowing, command_line, pasted
from rnnlab.signals import unmasked
from rnnlab.store.clock import now
from rnnlab.store.open_directory import is_there
from rnnlab.store.status import STATUS, State

if TYPE_CHECKING:  # it imports torch
    from rnnlab.runs.execution import Outcome


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} ({pasted('train', '--help')})")


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    of_hydra = hydra_internals.arguments()
    parser = _Parser("rnnlab train", add_help=False, description=of_hydra.description, parents=[of_hydra])
    # Hydra would print its errors over many lines and exit by itself; with this it raises them
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        return guarded(lambda: _train(parser, arguments))
    finally:
        os.environ.pop("HYDRA_FULL_ERROR", None)


def _train(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    try:
        # intermixed: flags may stand anywhere among the overrides
        args = parser.parse_intermixed_args(arguments)
        if args.help:
            hydra_internals.show_help(create_hydra(args.config_dir), parser, args)
            return 0
        if args.hydra_help or args.cfg or args.info or args.shell_completion:
            register_resolvers()
            hydra_internals.show(args, parser)
            return 0
        command = Command.compose(args.overrides, args.config_dir, args.config_name, args.multirun)
        return command.sweep() if command.is_sweep else command.print_run()
    except COMPOSITION_ERRORS as error:
        raise explain(error, None) from None
    except Interrupted as error:
        print("stopped", file=sys.stderr)
        return 128 + error.signal_number


def _say(error: Exception, status: int = 2) -> int:
    print(f"rnnlab: {visible(str(error))}", file=sys.stderr)
    return status


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
        (refuse_in_a_run if mode == RunMode.RUN else refuse_in_a_sweep)(lines)
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

        self._refuse_descent()
        try:
            return sweep(self.hydra, self.config, self.overrides)
        except InputError as error:
            raise as_typed(error, self.config, self.overrides) from None
        except COMPOSITION_ERRORS as error:
            raise explain(error, self.hydra, self.overrides) from None

    def print_run(self) -> int:
        """Executes a run and prints its outcome, or in one line what it ended of; returns the exit status."""
        try:
            with unmasked():
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
        self._refuse_descent()
        config, claimed = self.config, None
        callbacks = hydra_internals.callbacks(config)
        if is_first_process():
            chosen = any(line.startswith("hydra.run.dir=") for line in self.overrides)
            claimed = _claim(config, "hydra.run.dir", chosen)
        try:
            callbacks.on_run_start(config=config, config_name=ROOT)
            result = hydra_internals.run_one(self.hydra, config, _execute, callbacks)
        except KeyboardInterrupt:
            if claimed is not None and claimed.status.state == State.CREATED:  # while torch was imported
                claimed.update_status(State.INTERRUPTED, reason="stopped by a signal", finished=now())
                print(f"\nGo on with: {_resume(claimed)}", file=sys.stderr)
            raise
        except (HydraException, OSError, ValueError, TypeError, AttributeError, LookupError) as error:
            # of Hydra's own work around the job, such as its loggers: what the job raises stands in the result
            if claimed is not None:
                claimed.remove_if_untrained()
            raise InputError(f"hydra: {one_line(error)}") from error
        callbacks.on_run_end(config=config, config_name=ROOT, job_return=result)
        if claimed is not None and not is_there(claimed.path / STATUS):  # refused
            claimed.remove_made()
        if isinstance(result.return_value, InputError):
            raise as_typed(result.return_value, config, self.overrides)
        if isinstance(result.return_value, BaseException):
            raise result.return_value
        outcome: Outcome = result.return_value
        return outcome

    def _refuse_descent(self) -> None:
        # not as soon as they are composed: an estimator of scikit-learn has a number of updates by default
        parser = OverridesParser.create(self.hydra.config_loader)
        refuse_descent_where_there_is_none(self.config, parser, self.overrides)


def _claim(config: DictConfig, key: str, chosen: bool) -> RunDirectory:
    """Makes the run's directory, with all that a resume needs; a default name that is taken gets a number."""
    wanted = place(config, key)
    values = plain(config)
    about = hydra_internals.mapping(OmegaConf.create({"choices": config.hydra.runtime.choices}), resolve=False)
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


def _execute(config: DictConfig) -> "Outcome | BaseException":
    """What Hydra runs: its outcome, or the error that ended it on purpose (Hydra would print one that is raised)."""
    settings = HydraConfig.get()
    directory = RunDirectory(settings.runtime.output_dir)
    execution = load_execution()
    # before it trains: whoever works on the code meanwhile has other files there in the end
    import rnnlab.commands.outcome  # noqa: F401

    log = logging.getLogger("rnnlab")
    try:
        log.info("overrides: %s", " ".join(settings.overrides.task) or "none")
        with execution.noted():
            outcome: Outcome = execution.execute(directory, plain(config))
        return outcome
    except InputError as error:
        directory.remove_if_untrained()
        return error
    except RunFailed as error:
        said, again = f"failed: {error}", _resume(directory)
        return RunFailed(said if again in said else f"{said} ({again})")
    except Interrupted as error:
        print(f"\nstopped. Go on with: {_resume(directory)}", file=sys.stderr)
        return error


def _resume(directory: RunDirectory) -> str:
    """The command that goes on with a run whose config was typed just now, own modules in it included."""
    from rnnlab.runs.build import to_allow

    trusted: list[str] = []
    with contextlib.suppress(InputError):
        trusted = to_allow(directory.config)
    return pasted("resume", directory.path, *allowing(trusted))
