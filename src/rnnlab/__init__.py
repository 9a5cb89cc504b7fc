"""rnnlab: experiments with recurrent neural networks.

In Python, for notebooks and scripts::

    import rnnlab

    run = rnnlab.train("model=lstm", "data=sine")
    rnnlab.load(run.path).predict(x)

and by hand, in Lightning's own Trainer::

    from rnnlab import Forecasting, GRU, Network, Sine
"""

TYPE_CHECKING = False  # nothing is imported here: python -m rnnlab would find it in the current directory first

if TYPE_CHECKING:
    from typing import Any

    from rnnlab.api import compose as compose
    from rnnlab.api import report as report
    from rnnlab.api import resume as resume
    from rnnlab.api import sweep as sweep
    from rnnlab.api import train as train
    from rnnlab.errors import InputError as InputError
    from rnnlab.errors import RunFailed as RunFailed
    from rnnlab.network import Network as Network
    from rnnlab.results import Run as Run
    from rnnlab.results import Sweep as Sweep
    from rnnlab.use.trained import load as load
    from rnnlab.wrapped import Wrapped as Wrapped

__version__ = "0.1.0"

_NAMES = {
    **dict.fromkeys(("train", "sweep", "resume", "compose", "report"), "rnnlab.api"),
    **dict.fromkeys(("Run", "Sweep"), "rnnlab.results"),
    **dict.fromkeys(("InputError", "RunFailed"), "rnnlab.errors"),
    **dict.fromkeys(("DataSpec", "InputSpec", "TargetSpec"), "rnnlab.spec"),
    "Cell": "rnnlab.cells.cell",
    "Network": "rnnlab.network",
    "Wrapped": "rnnlab.wrapped",
    "load": "rnnlab.use.trained",
}


def __getattr__(name: str) -> "Any":
    # ``from rnnlab import load`` imports torch; ``import rnnlab``, and so ``rnnlab --help``, does not
    import importlib

    if name == "sklearn":  # rnnlab.sklearn.SequenceClassifier after `import rnnlab` alone
        return importlib.import_module("rnnlab.sklearn")
    module = _NAMES.get(name) or (_classes().get(name) if name[:1].isupper() else None)
    if module is None:
        raise AttributeError(f"module 'rnnlab' has no attribute '{name}'")
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES, *_classes()})


def _classes(classes: dict[str, str] = {}) -> dict[str, str]:  # noqa: B006  (it is kept)
    """The module of each class that conf/ names: cells, data sets, tasks and instruments."""
    if classes:
        return classes
    import re

    from rnnlab.configs import conf_directory

    for file in sorted(conf_directory().rglob("*.yaml")):
        for module, name in re.findall(r"\b(rnnlab(?:\.\w+)+)\.([A-Z]\w*)\b", file.read_text(encoding="utf-8")):
            classes.setdefault(name, module)
    return classes
