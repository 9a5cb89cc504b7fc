"""An export from a trained run to the two files."""

import hashlib
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rnnlab import __version__
from rnnlab.errors import InputError, RunFailed
from rnnlab.pooling import POOLED
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.preparation import Run
from rnnlab.store import json_text
from rnnlab.store.files import replace_all
from rnnlab.store.times import now
from rnnlab.use.export.base import History, base_of
from rnnlab.use.export.check import Steps, Verdict, check
from rnnlab.use.export.formats import OPSET, convert, input_names, output_names, serve
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
        InputError: the network reads sequences up to one length alone, or answers by sequences of their own length.
    """
    network = run.task.network.cpu().eval()
    if network.decoder is not None:
        raise InputError(
            f"{directory.path}: an answer of its own length is written step by step, and an exported file makes one "
            "pass: use rnnlab predict, or rnnlab.load(RUN).predict"
        )
    if network.transposed:
        raise InputError(
            f"model.transpose=true reads all steps at once, {network.longest} at most, and an exported file is for "
            "sequences of any length: use rnnlab predict"
        )
    steps = Steps.of(run.data)
    # zeros, since a pt2 file keeps its example, and the data may be nobody else's business
    base = base_of(run.task, run.data)
    portable, content = convert(network, torch.zeros_like(steps.cut(*EXAMPLE)), target.format, base)
    history = None if base is None else History.of(base, run.data)
    verdict = check(serve(content, target.format), network, steps, run.data.spec.length, history)
    if not verdict.holds:
        raise RunFailed(
            f"the exported file is not the run: it differs by {verdict.relative:.1e} of the largest value, where "
            f"{verdict.limit:.1e} is rounding; nothing is written"
        )
    described = describe(run, directory, target, portable, content, verdict)
    text = json_text.dump(described, indent=1, ascii_only=False) + "\n"
    # what the run directory holds may lead elsewhere; a place that the user names may do so
    inside = directory.path if target.path.parent == directory.path / "export" else None
    replace_all({target.path: content, target.description: text}, inside=inside)
    return verdict


def describe(
    run: Run, directory: RunDirectory, target: Target, portable: Portable, content: bytes, verdict: Verdict
) -> dict[str, Any]:
    """All that a server needs to know, as plain values."""
    return {
        "file": target.path.name,
        "format": target.format,
        "sha256": hashlib.sha256(content).hexdigest(),
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
        "inputs": _inputs(run, portable),
        "outputs": _outputs(run, portable),
        "streaming": portable.streams,
        "preprocessing": preprocessing(run.data),
        "postprocessing": postprocessing(run.task, run.data),
        "checked": {
            "sizes": [[case.batch, case.time] for case in verdict.cases],
            "largest_error": verdict.absolute,
            "largest_relative_error": verdict.relative,
        },
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
