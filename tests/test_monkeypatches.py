"""Methods of other packages are replaced in one file, at most four of them, and only as long as they need to be."""

import ast
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from lightning import Callback
from lightning.fabric.utilities import registry

import rnnlab
from rnnlab import monkeypatches

PACKAGE = Path(rnnlab.__file__).parent
SETTINGS = {"HydraConfig.instance().cfg", "os.environ", "tempfile.tempdir"}
"""Values, not methods, of other packages that are set where they are needed."""


def replaced(path: Path) -> Iterator[str]:
    """Attributes of what a file imports from elsewhere that it assigns to."""
    tree = ast.parse(path.read_text())
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {(name.asname or name.name).partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("rnnlab"):
            names |= {name.asname or name.name for name in node.names}
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign) else []:
            owner = target
            while isinstance(owner, ast.Attribute | ast.Call | ast.Subscript):
                owner = owner.func if isinstance(owner, ast.Call) else owner.value
            if isinstance(target, ast.Attribute) and isinstance(owner, ast.Name) and owner.id in names:
                yield ast.unparse(target)


def test_nothing_is_replaced_elsewhere() -> None:
    files = [path for path in PACKAGE.rglob("*.py") if path != Path(monkeypatches.__file__)]
    assert {name for path in files for name in replaced(path)} <= SETTINGS
    assert not [path for path in files if "ignore[method-assign]" in path.read_text()]


def test_they_are_four() -> None:
    tree = ast.parse(Path(monkeypatches.__file__).read_text())
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name != "_replace"]
    assert len(functions) <= 4


def test_what_is_replaced_is_there() -> None:
    assert callable(Plugins.instantiate_launcher) and callable(Sweeper.validate_batch_is_legal)
    assert callable(registry.entry_points)


def test_a_sweeper_gets_the_launcher_within_the_block_alone() -> None:
    plugins, launcher = Plugins.instance(), object()
    own = plugins.instantiate_launcher
    with monkeypatches.instantiate_launcher(plugins, launcher):
        assert plugins.instantiate_launcher(None, None, None) is launcher
    assert plugins.instantiate_launcher == own


def test_installed_packages_are_looked_up_once() -> None:
    asked: list[str] = []
    module = ModuleType("registry")
    vars(module)["entry_points"] = lambda group: asked.append(group) or importlib.metadata.entry_points(group=group)
    monkeypatches.entry_points(module)
    assert module.entry_points(group="a") is module.entry_points(group="a") and asked == ["a"]


def test_a_hook_is_wrapped_of_one_callback_alone() -> None:
    class Says(Callback):
        def setup(self, trainer: str, pl_module: str, stage: str) -> str:  # type: ignore[override]
            return f"{trainer} {stage}"

    wrapped, other = Says(), Says()
    monkeypatches.wrap_hook(wrapped, "setup", lambda hook, *arguments: f"<{hook(*arguments)}>")
    assert wrapped.setup("a", "b", "fit") == "<a fit>" and other.setup("a", "b", "fit") == "a fit"
