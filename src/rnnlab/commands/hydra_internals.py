"""All contact with Hydra's internals: what its public interface does not offer, each with its reason.

Nothing else imports from ``hydra._internal``; ``tests/test_hydra_internals.py`` holds that, and fails where another
Hydra has others. What is public (``hydra.core``, ``hydra.types``, ``hydra.errors``) is imported where it is used. Two
methods of Hydra's are replaced in :mod:`rnnlab.monkeypatches`.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from hydra import version
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.hydra import Hydra
from hydra._internal.utils import _run_hydra, create_automatic_config_search_path, get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, run_job
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf

from rnnlab import monkeypatches
from rnnlab.configs import conf_directory

__all__ = ["Callbacks", "Hydra"]

ROOT = "train"
BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


# ---- composing ------------------------------------------------------------------------------------------


def default_search_path() -> ConfigSearchPath:
    """Our configs and Hydra's own; public are only search paths of an application that ``hydra.main`` wraps."""
    return create_automatic_config_search_path(None, None, str(conf_directory()))


def create(search_path: ConfigSearchPath) -> Hydra:
    """A Hydra with these configs, without ``hydra.main`` around it; an earlier one of this process is forgotten."""
    GlobalHydra.instance().clear()
    return Hydra.create_main_hydra2(task_name=ROOT, config_search_path=search_path)


def current_loader() -> ConfigLoader:
    """Of the Hydra that :func:`create` made last."""
    return GlobalHydra.instance().config_loader()


def parse(hydra: Hydra, overrides: Sequence[str]) -> list[Override]:
    """Overrides in Hydra's grammar, parsed."""
    return OverridesParser.create(hydra.config_loader).parse_overrides(list(overrides))


def _implementation(loader: ConfigLoader) -> ConfigLoaderImpl:
    """Hydra's only loader of configs, whose repository its public side does not show."""
    if not isinstance(loader, ConfigLoaderImpl):
        raise TypeError(f"{type(loader).__name__} is no ConfigLoaderImpl")
    return loader


def has_group(loader: ConfigLoader, name: str) -> bool:
    """Whether configs are chosen under a name, which the loader's public side does not say of nested ones."""
    return bool(_implementation(loader).repository.group_exists(name))


def group_options(loader: ConfigLoader, name: str, kind: ObjectType | None = ObjectType.CONFIG) -> list[str]:
    """The choices of a group; the loader itself would copy all configs for each question.

    What choices share, whose name begins with an underscore, is no choice; benchmarks are not composed.
    """
    if name.startswith("benchmark"):
        return []
    return [
        option
        for option in _implementation(loader).repository.get_group_options(name, kind)
        if not option.startswith("_")
    ]


def set_keys(config: DictConfig, overrides: Sequence[Override]) -> None:
    """Sets single keys of a composed config as Hydra would have while it composed it.

    Jobs of a sweep that choose the same configs differ in these alone, and to compose each anew takes a tenth of a
    second.

    Raises:
        HydraException: there is no such key.
    """
    ConfigLoaderImpl._apply_overrides_to_config(list(overrides), config)


def check_legal(overrides: Sequence[Override]) -> None:
    """Refuses overrides that stand for several values, or that only a command line may have.

    Raises:
        HydraException: naming the override.
    """
    ConfigLoaderImpl.validate_sweep_overrides_legal(list(overrides), RunMode.RUN, from_shell=True)


def dirname(overrides: Sequence[Override], separators: Any) -> str:
    """``hydra.job.override_dirname`` of a job, which Hydra computes while it composes one."""
    return str(
        get_overrides_dirname(
            overrides=list(overrides),
            kv_sep=separators.kv_sep,
            item_sep=separators.item_sep,
            exclude_keys=separators.exclude_keys,
        )
    )


def make_current(config: DictConfig) -> None:
    """Makes ``${hydra:…}`` mean this config; the public ``set_config`` would copy it for each job."""
    HydraConfig.instance().cfg = config  # type: ignore[assignment]  # set_config, too, keeps a DictConfig there


# ---- the command line -----------------------------------------------------------------------------------


def arguments() -> argparse.ArgumentParser:
    """The arguments of ``hydra.main``, to be taken over by a parser of ours."""
    version.setbase("1.3")
    return get_args_parser()


def show(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """What ``hydra.main`` does with ``--cfg``, ``--info``, ``--hydra-help`` and the completion of a shell."""
    GlobalHydra.instance().clear()
    _run_hydra(args, parser, lambda _: None, str(conf_directory()), ROOT)


class _LoaderOfHelp(ConfigLoaderImpl):
    """Lists the choices of :func:`group_options`."""

    def get_group_options(
        self, group_name: str, results_filter: ObjectType | None = ObjectType.CONFIG, *_: Any, **__: Any
    ) -> list[str]:
        return group_options(self, group_name, results_filter)


def show_help(hydra: Hydra, parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """The help of ``hydra.main``."""
    loader = _LoaderOfHelp(_implementation(hydra.config_loader).config_search_path)
    Hydra(ROOT, loader).app_help(config_name=args.config_name or ROOT, args_parser=parser, args=args)


# ---- running --------------------------------------------------------------------------------------------


def callbacks(config: DictConfig) -> Callbacks:
    """What ``hydra.callbacks`` of a config names, which only ``hydra.main`` would make."""
    return Callbacks(config)


def run_one(hydra: Hydra, config: DictConfig, task: TaskFunction, around: Callbacks) -> JobReturn:
    """Executes a task as ``hydra.main`` would: in its directory, logged."""
    context = HydraContext(config_loader=hydra.config_loader, callbacks=around)
    return run_job(task, config, "hydra.run.dir", None, context)


def make_launcher(hydra: Hydra, config: DictConfig, task: TaskFunction, around: Callbacks) -> Launcher:
    """The launcher plugin that a config names, set up."""
    context = HydraContext(config_loader=hydra.config_loader, callbacks=around)
    return Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)


def make_sweeper(
    hydra: Hydra, config: DictConfig, task: TaskFunction, launcher: Launcher, around: Callbacks
) -> Sweeper:
    """The sweeper plugin that a config names, set up; it hands its jobs to a launcher of ours."""
    context = HydraContext(config_loader=hydra.config_loader, callbacks=around)
    with monkeypatches.instantiate_launcher(Plugins.instance(), launcher):
        sweeper = Plugins.instance().instantiate_sweeper(config=config, hydra_context=context, task_function=task)
    monkeypatches.validate_batch_is_legal(sweeper)
    return sweeper


def without_interpolation(node: DictConfig) -> dict[str, Any]:
    """A node of Hydra's as plain containers, nothing in it resolved."""
    return mapping(node, resolve=False)


def mapping(node: Any, **options: Any) -> dict[str, Any]:
    """A mapping of omegaconf's as a plain one, by default with all that it refers to in its place."""
    container: Any = OmegaConf.to_container(node, **{"resolve": True, **options})
    return {str(name): value for name, value in container.items()}
