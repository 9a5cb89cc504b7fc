"""What the ledger of a sweep may say: anybody may have made its directory, and it starts no program, opens no
connection and reads no configs but rnnlab's unless the person at the keyboard says so (``--allow``).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override
from hydra.plugins.launcher import Launcher as HydraLauncher
from hydra.plugins.sweeper import Sweeper as HydraSweeper

from rnnlab.commands.hydra_internals import ROOT, has_group
from rnnlab.errors import InputError
from rnnlab.runs.build import is_allowed, locate, to_allow
from rnnlab.runs.schema import TARGET, annotations, is_plain
from rnnlab.store.ledger import COMMAND, Facts

PLUGINS = ("hydra_plugins.", "hydra._internal.core_plugins.")
OPTIONS = ("hydra.launcher", "hydra.sweeper")
SPACE = ("hydra.sweeper.params", "hydra.sweeper.when")
"""What a search may set: overrides of its jobs, and trusted no more than those."""
CHOICE = re.compile(r"[\w.+-]*[\w+-](/[\w.+-]*[\w+-])*")
"""The name of a config below rnnlab's own directory of configs."""


def check_configs(facts: Facts, allow: Sequence[str] | None, path: Path) -> tuple[str | None, str]:
    """From where a ledger's configs are read: the directory, beside rnnlab's own, and the name of the root.

    Raises:
        InputError: they are not rnnlab's, and nobody said that they are trusted.
    """
    directory = next(iter(facts.get("config_dirs", [])), None)
    name = facts.get("config_name", ROOT)
    if allow is not None:
        trusted = [Path(each).resolve() for each in allow]
        if directory is not None and Path(directory).resolve() not in trusted:
            raise InputError(
                f"{path / COMMAND} reads configs from {directory}, which may name any code: if you trust them, add "
                f"--allow {directory}"
            )
        if name != ROOT and name not in allow:
            raise InputError(f"{path / COMMAND} is of the config {name}: if you trust it, add --allow {name}")
    return directory, name


def check_overrides(overrides: Sequence[Override], loader: ConfigLoader, allow: Sequence[str] | None) -> None:
    """Holds the ledger's overrides against what it may choose, before anything is composed of them.

    Raises:
        InputError: a choice is a file outside of the configs, or would take the place of something of Hydra's.
    """
    for override in overrides if allow is not None else ():
        if not _is_group(override, loader):
            continue
        value, package = override.value(), override.package or ""
        names = value if isinstance(value, list) else [value]
        if package.split(".")[0] == "hydra" or not all(
            name is None or (isinstance(name, str) and CHOICE.fullmatch(name)) for name in names
        ):
            raise InputError(f"{override.input_line}: the ledger of a sweep may choose configs of rnnlab's alone")


def _is_group(override: Override, loader: ConfigLoader) -> bool:
    return not isinstance(override.value(), dict) and has_group(loader, override.key_or_group)


def check_options(overrides: Sequence[Override], config: Mapping[str, Any], allow: Sequence[str] | None) -> None:
    """Holds what the ledger says of launcher, sweeper and callbacks against what it may say.

    Args:
        overrides: of the ledger, without those that were typed again.
        config: the node ``hydra`` that was composed, plain containers.
        allow: as of :func:`rnnlab.runs.build.build`; a key is one too.

    Raises:
        InputError: an option is text that may start a program, open a file or reach another machine, or something
            would be built that may not be.
    """
    if allow is None:
        return
    for override in _powerful(overrides, config, allow):
        raise InputError(
            f"{override.input_line} stands in the sweep's ledger, and may start a program, open a file or reach "
            f"another machine: type it again, or if you trust the ledger, add --allow {override.key_or_group}"
        )
    for name, node in (config.get("callbacks") or {}).items():
        check_targets(node, f"hydra.callbacks.{name}", allow)


def _powerful(overrides: Sequence[Override], config: Mapping[str, Any], allow: Sequence[str]) -> Iterator[Override]:
    """Those that may do more than choose a number or a name."""
    for override in overrides:
        key = override.key_or_group
        part = next((part for part in OPTIONS if key.startswith(f"{part}.")), None)
        if part is None or key.startswith(SPACE) or is_allowed(key, allow) or key == f"{part}.{TARGET}":
            continue
        node = config[part.removeprefix("hydra.")]
        name = key.removeprefix(f"{part}.").split(".")[0]
        if not is_plain(override.value(), annotations(locate_option(node, part, allow)).get(name)):
            yield override


def to_resume(facts: Facts, overrides: Sequence[Override], config: Mapping[str, Any]) -> list[str]:
    """What ``--allow`` has to name when a sweep is resumed that the person at the keyboard has typed just now.

    Args:
        facts: of its ledger.
        overrides: of the ledger, those that a resume takes from it.
        config: as of :func:`check_options`.
    """
    own = [module for part in OPTIONS for module in to_allow(config[part.removeprefix("hydra.")])]
    modules = [module for module in own if f"{module}." not in {f"{plugin.split('.')[0]}." for plugin in PLUGINS}]
    name = facts.get("config_name", ROOT)
    return [
        *facts.get("config_dirs", []),
        *([name] if name != ROOT else []),
        *modules,
        *(each.key_or_group for each in _powerful(overrides, config, modules)),
    ]


def locate_option(node: Mapping[str, Any], key: str, allow: Sequence[str]) -> Any:
    """The class of a launcher or sweeper, Hydra's own and installed plugins too.

    Raises:
        InputError: it is none, or may not be built.
    """
    target = str(node.get(TARGET))
    if not target.startswith(PLUGINS):
        return locate(node, key, allow)
    found = locate(node, key, [*allow, *PLUGINS])
    kinds = (HydraLauncher, HydraSweeper)
    if not (isinstance(found, type) and issubclass(found, kinds[key == "hydra.sweeper"])):
        raise InputError(f"{key}.{TARGET}={target}: it is no {key.removeprefix('hydra.')}")
    return found


def check_targets(node: Any, key: str, allow: Sequence[str]) -> None:
    """Holds every target in a node that Hydra will build to the allow-list of :func:`rnnlab.runs.build.locate`.

    Raises:
        InputError: one may not be built.
    """
    if isinstance(node, Mapping):
        if TARGET in node:
            locate(node, key, allow)
        for name, value in node.items():
            check_targets(value, f"{key}.{name}", allow)
    elif isinstance(node, list):
        for number, value in enumerate(node):
            check_targets(value, f"{key}[{number}]", allow)
