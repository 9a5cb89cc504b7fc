"""An export from a trained run to the two files."""

import hashlib
import platform
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rnnlab import __version__
from rnnlab.errors import InputError, RunFailed
from rnnlab.network import Network
from rnnlab.pooling import POOLED
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.preparation import Run
from rnnlab.store import json_text
from rnnlab.store.clock import now
from rnnlab.store.files import replace_all
from rnnlab.use.export import decoding
from rnnlab.use.export.base import history_of
from rnnlab.use.export.check import Steps, Verdict, check
from rnnlab.use.export.formats import OPSET, convert, input_names, output_names, serve
from rnnlab.use.export.int8 import compress, quantize
from rnnlab.use.export.portable import Portable
from rnnlab.use.export.processing import postprocessing, preprocessing
from rnnlab.use.export.target import PACKAGES, Target

EXAMPLE = (3, 5)
"""Sequences and steps by which a network is traced: neither is 1, and they differ."""


def export(run: Run, directory: RunDirectory, target: Target) -> Verdict:
    """Converts a run's network, holds the file against the run, and only then writes it.

    Args:
        run: built and with its weights.
        directory: where it comes from.
        target: where it goes.

    Returns:
        What was tried, and what came out.

    Raises:
        RunFailed: the network cannot be converted, or the file does not say what the run says; nothing is written.
        InputError: the network reads sequences up to one length alone, or has no matrix that 8 bits are worth.
    """
    network = run.task.network.cpu().eval()
    if network.decoder is not None:
        return _export_decoder(run, directory, target, network)
    if network.transposed:
        raise InputError(
            f"model.transpose=true reads all steps at once, {network.longest} at most, and an exported file is for "
            "sequences of any length: use rnnlab predict"
        )
    steps = Steps.of(run.data)
    # zeros, since a pt2 file keeps its example, and the data may be nobody else's business
    history = history_of(run.task, run.data)
    base = None if history is None else history.base
    loss = quantize(run.task, run.data) if target.int8 else None
    portable, content = convert(network, torch.zeros_like(steps.cut(*EXAMPLE)), target.format, base)
    before = len(content)
    if loss is not None:
        content = compress(content)
    verdict = check(serve(content, target.format), network, steps, run.data.spec.length, history)
    if not verdict.holds:
        raise RunFailed(
            f"the exported file is not the run: it differs by {verdict.relative:.1e} of the largest value, where "
            f"{verdict.limit:.1e} is rounding; nothing is written"
        )
    described = describe(run, directory, target, portable, content, verdict)
    if loss is not None:
        described["int8"] = {**loss.plain(), "bytes": {"float32": before, "int8": len(content)}}
    text = json_text.dump(described, indent=1, ascii_only=False) + "\n"
    # what the run directory holds may lead elsewhere; a place that the user names may do so
    inside = directory.path if target.path.parent == directory.path / "export" else None
    replace_all({target.path: content, target.description: text}, inside=inside)
    return replace(verdict, loss=None if loss is None else f"{loss}; {before:,} bytes before, {len(content):,} now")


def _export_decoder(run: Run, directory: RunDirectory, target: Target, network: Network) -> Verdict:
    """The same of a network that answers by sequences of their own length, as two files.

    Raises:
        InputError: the network reads no tokens, or 8 bits are asked for.
        RunFailed: as :func:`export`.
    """
    if target.int8:
        raise InputError(f"--int8: {directory.path} answers by sequences, and its two files hold 32 bits: leave it out")
    if network.convolutions is not None or run.data.spec.input.vocabulary is None:
        raise InputError(
            f"{directory.path}: a decoder is exported with an encoder of tokens alone (model.encoder=none): use rnnlab "
            "predict"
        )
    contents = decoding.converted(network, target.format)
    read = decoding.served(contents[0], target.format, network, step=False)
    say = decoding.served(contents[1], target.format, network, step=True)
    verdict = decoding.compared(network, read, say, Steps.of(run.data))
    if not verdict.holds:
        raise RunFailed(
            f"the exported files are not the run: they differ by {verdict.relative:.1e} of the largest value, where "
            f"{verdict.limit:.1e} is rounding; nothing is written"
        )
    memories, states = decoding.names(network)
    said = ["log_probabilities", "attention", *(f"next_{name}" for name in states)]
    described = {
        **origin(run, directory, target),
        "encoder": {
            "file": target.path.name,
            "sha256": hashlib.sha256(contents[0]).hexdigest(),
            "inputs": ["inputs (batch, time) int64: numbers of tokens", "lengths (batch,) int64: valid tokens of each"],
            "outputs": [*memories, *states],
        },
        "decoder": {
            "file": target.decoder.name,
            "sha256": hashlib.sha256(contents[1]).hexdigest(),
            "inputs": ["tokens (batch,) int64: what was said last, start at first", *memories, *states],
            "outputs": said,
        },
        "preprocessing": preprocessing(run.data),
        "postprocessing": postprocessing(run.task, run.data),
        "checked": checked(verdict),
    }
    text = json_text.dump(described, indent=1, ascii_only=False) + "\n"
    inside = directory.path if target.path.parent == directory.path / "export" else None
    files: dict[Path, str | bytes] = {target.path: contents[0], target.decoder: contents[1], target.description: text}
    replace_all(files, inside=inside)
    return verdict


def origin(run: Run, directory: RunDirectory, target: Target) -> dict[str, Any]:
    """What is exported, whence and with what."""
    return {
        "format": target.format,
        "created": now(),
        "run": {
            "name": directory.path.name,
            "state": str(directory.status.state),
            "config_sha256": _digest(directory.path / "config.yaml"),
            "checkpoint_sha256": _digest(directory.best_checkpoint),
            "cell": run.task.network.cells()[0].title,
            "task": run.task.title,
            "data": type(run.data).__name__,
        },
        "versions": versions(target.format),
    }


def checked(verdict: Verdict) -> dict[str, Any]:
    """At which sizes a file was held against its run, and how far it was from it."""
    return {
        "sizes": [[case.batch, case.time] for case in verdict.cases],
        "largest_error": verdict.absolute,
        "largest_relative_error": verdict.relative,
    }


def describe(
    run: Run, directory: RunDirectory, target: Target, portable: Portable, content: bytes, verdict: Verdict
) -> dict[str, Any]:
    """All that a server needs to know, as plain values."""
    return {
        "file": target.path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        **origin(run, directory, target),
        "inputs": _inputs(run, portable),
        "outputs": _outputs(run, portable),
        "streaming": portable.streams,
        "preprocessing": preprocessing(run.data),
        "postprocessing": postprocessing(run.task, run.data),
        "checked": checked(verdict),
    }


def versions(format: str) -> dict[str, Any]:
    """With what a file was made."""
    names = ("torch", *(PACKAGES if format == "onnx" else ()))
    found = {"rnnlab": __version__, "python": platform.python_version(), **{name: version(name) for name in names}}
    return found | ({"opset": OPSET} if format == "onnx" else {})


def _inputs(run: Run, portable: Portable) -> list[dict[str, Any]]:
    spec = run.data.spec.input
    tokens = spec.vocabulary is not None
    first, second, *others = input_names(portable)
    states, of_base = others[: len(portable.starts)], others[len(portable.starts) :]
    described: list[dict[str, Any]] = [
        {
            "name": first,
            "dtype": "int64" if tokens else "float32",
            "shape": ["batch", "time"] if tokens else ["batch", "time", spec.features],
            "meaning": "numbers of tokens" if tokens else "features of every step",
        },
        {
            "name": second,
            "dtype": "int64",
            "shape": ["batch"],
            "meaning": "valid steps of each sequence, at least 1; time where it is full",
        },
    ]
    for name, start, meaning, after in zip(
        states, portable.starts, portable.meanings, output_names(portable)[1:], strict=True
    ):
        described.append(
            {
                "name": name,
                "dtype": _dtype(start),
                "shape": ["batch", *start.shape],
                "meaning": f"{meaning} before the first step",
                "initial": start.tolist() if start.any() else 0,
                "next": after,
            }
        )
    base = portable.base
    for name in of_base:
        assert base is not None
        before = base.linear.order - 1
        of_values = name == "values"
        meaning = f"the scaled targets of these steps and of the {before} before" if of_values else "see preprocessing"
        time = (f"time + {before}" if before else "time") if of_values else "time"
        size = base.linear.weights.shape[2] if of_values else len(base.others)
        described.append({"name": name, "dtype": "float32", "shape": ["batch", time, size], "meaning": meaning})
    return described


def _outputs(run: Run, portable: Portable) -> list[dict[str, Any]]:
    network = run.task.network
    every = network.readout_kind == "every"
    size = network.readout.out_features
    read = " and ".join(POOLED.get(network.readout_kind, (network.readout_kind,)))
    first, *states = output_names(portable)
    added = "" if portable.base is None else ", what they are added to included: whole forecasts of scaled values"
    described: list[dict[str, Any]] = [
        {
            "name": first,
            "dtype": "float32",
            "shape": ["batch", "time", size] if every else ["batch", size],
            "meaning": f"of every step{added}" if every else f"of the sequence ({read} of its valid steps)",
        }
    ]
    for name, start, meaning in zip(states, portable.starts, portable.meanings, strict=True):
        after = f"{meaning} after each sequence's last valid step"
        described.append({"name": name, "dtype": _dtype(start), "shape": ["batch", *start.shape], "meaning": after})
    return described


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
