"""rnnlab: experiments with recurrent neural networks."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnnlab.runs.trained import load as load

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # ``from rnnlab import load`` imports torch; ``import rnnlab``, and so ``rnnlab --help``, does not
    if name == "load":
        from rnnlab.runs.trained import load

        return load
    raise AttributeError(f"module 'rnnlab' has no attribute '{name}'")
