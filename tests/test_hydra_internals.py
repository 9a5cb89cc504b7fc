"""What rnnlab takes from Hydra's internals, in one file, and that it is as Hydra 1.3.8 has it."""

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest
from conftest import create_hydra
from hydra._internal import callbacks, config_loader_impl, utils
from hydra._internal import hydra as hydra_module
from hydra.core import utils as core_utils
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from omegaconf import OmegaConf

import rnnlab
from rnnlab.commands import hydra_internals

PACKAGE = Path(rnnlab.__file__).parent
THE_FILE = Path(hydra_internals.__file__)


def test_internals_are_imported_in_one_file() -> None:
    def modules(path: Path) -> list[str]:
        tree = ast.parse(path.read_text())
        froms = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        return froms + [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]

    files = {path for path in PACKAGE.rglob("*.py") if "hydra._internal" in " ".join(modules(path))}
    assert files == {THE_FILE}


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (callbacks.Callbacks.__init__, ["self", "config"]),
        (callbacks.Callbacks.on_run_start, ["self", "config", "kwargs"]),
        (callbacks.Callbacks.on_multirun_end, ["self", "config", "kwargs"]),
        (config_loader_impl.ConfigLoaderImpl._apply_overrides_to_config, ["overrides", "cfg"]),
        (
            config_loader_impl.ConfigLoaderImpl.validate_sweep_overrides_legal,
            ["overrides", "run_mode", "from_shell"],
        ),
        (config_loader_impl.get_overrides_dirname, ["overrides", "exclude_keys", "item_sep", "kv_sep"]),
        (hydra_module.Hydra.create_main_hydra2, ["task_name", "config_search_path"]),
        (hydra_module.Hydra.app_help, ["self", "config_name", "args_parser", "args"]),
        (
            utils.create_automatic_config_search_path,
            ["calling_file", "calling_module", "config_path"],
        ),
        (
            utils._run_hydra,
            ["args", "args_parser", "task_function", "config_path", "config_name", "caller_stack_depth"],
        ),
        (utils.get_args_parser, []),
        (
            core_utils.run_job,
            ["task_function", "config", "job_dir_key", "job_subdir_key", "hydra_context", "configure_logging"],
        ),
        (Plugins.instantiate_launcher, ["self", "hydra_context", "task_function", "config"]),
        (Plugins.instantiate_sweeper, ["self", "hydra_context", "task_function", "config"]),
        (Sweeper.validate_batch_is_legal, ["self", "batch"]),
    ],
)
def test_they_are_called_as_they_were(function: Any, parameters: list[str]) -> None:
    assert list(inspect.signature(function).parameters) == parameters


def test_a_group_is_known_and_its_choices_are_those_of_the_loader() -> None:
    loader = create_hydra().config_loader
    assert hydra_internals.has_group(loader, "hydra/launcher") and not hydra_internals.has_group(loader, "model.cell")
    options = [name for name in loader.get_group_options("model") if not name.startswith("_")]
    assert hydra_internals.group_options(loader, "model") == options


def test_keys_are_set_as_while_composing() -> None:
    config = OmegaConf.create({"model": {"size": 1}})
    parse = OverridesParser.create().parse_overrides
    overrides = parse(["model.size=2", "+model.depth=3"])
    hydra_internals.set_keys(config, overrides)
    assert config == {"model": {"size": 2, "depth": 3}}
    separators = OmegaConf.create({"kv_sep": "=", "item_sep": ",", "exclude_keys": ["seed"]})
    assert hydra_internals.dirname(parse(["b=1", "a=2", "seed=3"]), separators) == "a=2,b=1"
