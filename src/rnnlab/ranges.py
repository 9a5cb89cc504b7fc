"""What the arguments of a config may be, as annotations: a signature is the schema of its config. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Len, Lt

PositiveInt = Annotated[int, Gt(0)]
NonNegativeInt = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Lt(1)]
"""At least 0 and below 1: a dropout rate, a share of the data."""
Share = Annotated[float, Ge(0), Le(1)]
"""At least 0 and at most 1."""

AUTO: Any = "auto"
"""What is settled when the data is built, and typed as what it is from then on."""

if TYPE_CHECKING:
    AutoSize = int
else:
    AutoSize = PositiveInt | Literal["auto"]
"""A whole number above 0; a config may leave it to the data (``auto``), which holds the number once it is built."""


NGrams = Annotated[Sequence[Annotated[int, Ge(2), Le(16)]], Len(2, 2)]
"""The fewest and the most tokens of n-grams."""


@dataclass(frozen=True)
class OnDisk:
    """Marks an annotation: the value is a place in the file system."""


FilePath = Annotated[str, OnDisk()]
"""A file or a folder. A run keeps it as an absolute path, so that it can be resumed and evaluated from anywhere."""


@dataclass(frozen=True)
class Harmless:
    """Marks an annotation: whatever the text is, it names no file, no program and no other machine, so that the ledger
    of a sweep that anybody may have made can say it.
    """


Name = Annotated[str, Harmless()]
Names = Annotated[Sequence[Name], Len(1, 1000)]
Sizes = Annotated[Sequence[PositiveInt], Len(1, 1000)]
"""Of each of several layers."""
Window = Annotated[int, Ge(2), Le(64)]
"""Steps that a short convolution sees, the step itself among them."""


@dataclass(frozen=True)
class OnNetwork:
    """Marks an annotation: where the value is true, a connection may be opened. The config of a run directory that
    anybody may have made opens none.
    """


Download = Annotated[bool, OnNetwork()]
