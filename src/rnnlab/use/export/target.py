"""Where an export goes, and in which format: what is known before anything is loaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rnnlab.errors import InputError, nearest
from rnnlab.extras import need
from rnnlab.store.files import refuse_unwritable

Format = Literal["onnx", "pt2"]
FORMATS: tuple[Format, ...] = ("onnx", "pt2")
PACKAGES = ("onnx", "onnxruntime", "onnxscript")
"""That ONNX needs."""


@dataclass(frozen=True)
class Target:
    """The two files of an export.

    Attributes:
        path: of the network, ``*.onnx`` or ``*.pt2``.
        format: of it.
        int8: its matrices are whole numbers of 8 bits.
    """

    path: Path
    format: Format
    int8: bool = False

    @property
    def decoder(self) -> Path:
        """Of a step of the decoder, where the network has one: the other file then holds the encoder."""
        return self.path.with_suffix(f".decoder{self.path.suffix}")

    @property
    def description(self) -> Path:
        """Of the JSON beside it, named after the whole of it: both formats may stand in one directory."""
        return self.path.with_name(f"{self.path.name}.json")


def choose_target(run: Path, format: str | None, output: str | None, force: bool, int8: bool = False) -> Target:
    """The target of a run's export, which can be written.

    Args:
        run: the run's directory, where it goes by default.
        format: ``None``: what the name of ``output`` says, or ONNX.
        output: of the network's file.
        force: whether files may be replaced.
        int8: whether matrices are to be whole numbers of 8 bits.

    Raises:
        InputError: there is no such format, its packages are not installed, the name says another one, or files exist.
    """
    suffix = Path(output).suffix.removeprefix(".") if output is not None else ""
    named = format if format is not None else suffix if output is not None else FORMATS[0]
    key = f"--format {named}" if format is not None else f"--output {output}"
    chosen = next((each for each in FORMATS if each == named), None)
    if chosen is None:
        raise InputError(f"{key}: no format '{named}'{nearest(named, FORMATS)} (there are {', '.join(FORMATS)})")
    if output is not None and suffix != chosen:
        raise InputError(f"--output {output}: a file of --format {chosen} is named *.{chosen}")
    if int8 and chosen != "onnx":
        raise InputError(f"--int8 and {key}: whole numbers of 8 bits go into an ONNX file: use --format onnx")
    for package in PACKAGES if chosen == "onnx" else ():
        need("export", package, "--format onnx", "--format pt2 needs nothing more")
    name = "model.int8.onnx" if int8 else f"model.{chosen}"
    target = Target(run / "export" / name if output is None else Path(output), chosen, int8)
    for path in (target.path, target.decoder, target.description):
        if path.exists() and not force:
            raise InputError(f"{path} exists, and nothing is overwritten: give another --output FILE, or --force")
    if output is not None and not target.path.parent.is_dir():
        raise InputError(f"--output {output}: there is no directory {target.path.parent}")
    refuse_unwritable(target.path, str(target.path), "choose another place with --output FILE")
    return target
