"""A look inside trained runs: what their instruments measure and draw."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
import yaml
from torch import Tensor

from rnnlab.configs import conf_directory
from rnnlab.data.given import GivenData, given_data
from rnnlab.data.reader import Reader
from rnnlab.data.split import SplitName
from rnnlab.errors import InputError
from rnnlab.files.source import Format, Source
from rnnlab.instruments.instrument import Instrument, Picture, Table
from rnnlab.instruments.subject import Subject, Weights, history_of
from rnnlab.network import Network
from rnnlab.runs.build import build_one
from rnnlab.runs.checkpoint import load_weights, read_checkpoint
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.instrument_callback import InstrumentCallback, render, validation_batches
from rnnlab.runs.preparation import build_network, prepare
from rnnlab.runs.threads import use_threads
from rnnlab.runs.trainer import find_device, quiet_lightning
from rnnlab.use.trained import open_trained

log = logging.getLogger("rnnlab")

SHOWN = 3
"""Sequences that are shown one by one where nobody chose."""


@dataclass(frozen=True)
class Shown:
    """A picture that is drawn, as PNG."""

    name: str
    title: str
    reading: str
    png: bytes
    table: Table | None


@dataclass(frozen=True)
class Inspection:
    """All that there is to see.

    Attributes:
        title: what was looked at.
        about: pairs for the top of the page.
        shown: the pictures, in their order.
        left_out: title and reason of those that say nothing here.
        facts: names and values of the most telling numbers.
    """

    title: str
    about: list[tuple[str, str]]
    shown: list[Shown] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Inspected:
    """A run to look into, and the config under which its data is made."""

    name: str
    directory: RunDirectory
    config: dict[str, Any]


class OwnFile:
    """A file in place of the run's data, or ``-`` for the standard input, which is read once."""

    def __init__(self, place: str, format: Format | None = None) -> None:
        self.place, self.format = place, format
        self._source: Source | None = None

    def open(self, reader: Reader) -> Source:
        """The file as a run reads it.

        Raises:
            InputError: as :meth:`rnnlab.data.reader.Reader.open`.
        """
        if self._source is None or self._source.path is not None:
            self._source = reader.open(self.place, self.format)
        return self._source


@dataclass(frozen=True)
class Question:
    """What is asked of each run.

    Attributes:
        split: of the run's data.
        sequences: that are shown one by one; ``None`` for the first few.
        allow: see :func:`rnnlab.runs.build.build`.
        device: on which the network runs.
        file: in place of the run's data.
    """

    split: SplitName = "test"
    sequences: Sequence[int] | None = None
    allow: Sequence[str] = ()
    device: str = "cpu"
    file: OwnFile | None = None


# ---- subjects --------------------------------------------------------------------------------------


def open_subject(inspected: Inspected, question: Question) -> Subject:
    """A run with its kept weights, its first ones and its last ones.

    Raises:
        InputError: a checkpoint is damaged or does not fit, the file is not what the run reads, or there is no such
            sequence or device.
    """
    quiet_lightning()
    place = find_device(question.device)
    directory = inspected.directory
    opened = _on_own_data if question.file is None else _on_a_file
    subject, first = opened(inspected, question)
    subject.task.to(place).eval()
    subject.metrics, subject.verdict = directory.metrics, directory.status.verdict
    use_threads("auto", subject.data.batch_size, subject.network)
    last = read_checkpoint(directory.last_checkpoint) if directory.last_checkpoint.exists() else {}
    subject.stages = {"before training": first, **_last_stage(last, subject.network)}
    baseline: Mapping[str, float] = {}
    if not subject.of_a_file:
        subject.observed = last.get("callbacks", {}).get(InstrumentCallback.state_key, {})
        if inspected.config["data"] == directory.config["data"]:
            flow = subject.observed.get("gradient_flow", {})
            subject.recorded = {int(epoch): norms for epoch, norms in flow.items()}
        baseline = subject.task.measure_baseline(validation_batches(subject.task, subject.data))
    subject.history = history_of(directory.epochs, baseline, subject.metrics.get("best_epoch"))
    subject.sequences = chosen(question.sequences, subject.size, "file" if subject.of_a_file else subject.split)
    return subject


def _on_own_data(inspected: Inspected, question: Question) -> tuple[Subject, Weights]:
    """On the run's own data, and the weights that the run began with."""
    best = inspected.directory.best_checkpoint
    run = prepare(inspected.config, question.allow, trained=read_checkpoint(best), machine=False)
    # seeded as the run was, what was just built is what the run began with
    first = {name: value.clone() for name, value in run.task.network.state_dict().items()}
    load_weights(run.task, best)
    return Subject(inspected.name, run.task, run.data, question.split), first


def _on_a_file(inspected: Inspected, question: Question) -> tuple[Subject, Weights]:
    """On a file of one's own. The run's own data is not needed, and may be gone."""
    config, allow = inspected.config, question.allow
    assert question.file is not None
    with torch.random.fork_rng(devices=[]):
        task, reader, _ = open_trained(inspected.directory, config, allow)
        data = given_data(reader, question.file.open(reader), task.spec)
        # seeded as the run was, this is what it began with
        torch.manual_seed(config["seed"])
        first = build_network(config, task.spec, allow).state_dict()
    task.spec = data.spec
    subject = Subject(inspected.name, task, data, unanswered=data.unanswered, names=data.names, of_a_file=True)
    if data.unanswered and data.spec.target.classifies:
        # so that pictures can tell classes apart
        decided = [output.argmax(-1).cpu() for _, output in subject.predicted()]
        data.given = replace(data.given, targets=torch.cat(decided))
        data.note = "; ".join(filter(None, (data.note, "pictures colour each sequence by the class that is decided")))
    return subject, first


def _last_stage(checkpoint: Mapping[str, Any], network: Network) -> dict[str, Weights]:
    """The weights of the last epoch by name, where they are others than the kept ones."""
    prefix = "network."
    weights = {
        name.removeprefix(prefix): value
        for name, value in checkpoint.get("state_dict", {}).items()
        if name.startswith(prefix)
    }
    own: dict[str, Tensor] = network.state_dict()
    differ = weights.keys() == own.keys() and any(not own[name].cpu().equal(weights[name]) for name in own)
    return {"last epoch": weights} if differ else {}


def chosen(sequences: Sequence[int] | None, size: int, split: str) -> tuple[int, ...]:
    """Numbers of sequences that there are: those given, or the first few.

    Raises:
        InputError: there is no such sequence.
    """
    if sequences is None:
        return tuple(range(min(SHOWN, size)))
    for number in sequences:
        if not 0 <= number < size:
            where = "file" if split == "file" else f"{split} split"
            raise InputError(f"--sequences {number}: the {where} has sequences 0 … {size - 1}")
    return tuple(dict.fromkeys(sequences))


# ---- instruments -----------------------------------------------------------------------------------


def catalogue() -> dict[str, Any]:
    """The configs of all instruments of ``conf/instruments``, by name."""
    nodes: dict[str, Any] = {}
    for file in sorted((conf_directory() / "instruments").glob("*.yaml")):
        nodes |= yaml.safe_load(file.read_text(encoding="utf-8"))
    return nodes


def instruments_for(runs: Sequence[Inspected], question: Question) -> tuple[list[Instrument[Any]], dict[str, str]]:
    """All instruments of the catalogue and of the runs' configs that are shown here, in their order.

    Returns:
        They, and why others are left out, by name.
    """
    nodes = catalogue()
    for run in reversed(runs):
        nodes |= run.config.get("instruments") or {}
    built: list[Instrument[Any]] = []
    refused: dict[str, str] = {}
    for name, node in nodes.items():
        if node in (None, False):
            continue
        try:
            built.append(build_one(Instrument, node, f"instruments.{name}", question.allow))
        except InputError as error:  # perhaps of a package that is not trusted
            refused[name] = str(error)
    shown = [each for each in built if each.in_inspect and not (each.of_training and question.file is not None)]
    return sorted(shown, key=lambda instrument: instrument.rank), refused


def look(inspected: Inspected, question: Question) -> Inspection:
    """All pictures of one run.

    Raises:
        InputError: as :func:`open_subject`.
    """
    instruments, refused = instruments_for([inspected], question)
    subject = open_subject(inspected, question)
    inspection = Inspection(inspected.name, _about(inspected, subject), left_out=list(refused.items()))
    for instrument in instruments:
        reason, measured = _measure(instrument, subject)
        reason = reason or _show(inspection, instrument, partial(instrument.draw, subject, measured))
        if reason:
            inspection.left_out.append((instrument.title, reason))
    return inspection


def compare(runs: Sequence[Inspected], title: str, question: Question) -> Inspection:
    """The pictures that say something side by side, of several runs.

    Raises:
        InputError: as :func:`open_subject`.
    """
    instruments, refused = instruments_for(runs, question)
    instruments = [instrument for instrument in instruments if instrument.compares]
    measured: list[dict[str, Any]] = [{} for _ in instruments]
    reasons: list[dict[str, list[str]]] = [{} for _ in instruments]
    inspection = Inspection(title, [], left_out=list(refused.items()))
    for run in runs:
        subject = open_subject(run, question)
        inspection.about.extend(_about(run, subject, brief=True))
        for instrument, results, without in zip(instruments, measured, reasons, strict=True):
            reason, result = _measure(instrument, subject)
            if reason is None:
                results[run.name] = result
            else:
                without.setdefault(reason, []).append(run.name)
    for instrument, results, without in zip(instruments, measured, reasons, strict=True):
        reason = _show(inspection, instrument, partial(instrument.compare, results)) if results else None
        if reason:
            inspection.left_out.append((instrument.title, reason))
        for reason, names in without.items():
            inspection.left_out.append((instrument.title, f"{', '.join(names)}: {reason}"))
    return inspection


def _measure(instrument: Instrument[Any], subject: Subject) -> tuple[str | None, Any]:
    """Why there is nothing to measure, or what was measured."""
    try:
        instrument.restore(subject.observed.get(instrument.name, {}))
        reason = instrument.left_out(subject)
        return (reason, None) if reason else (None, instrument.measure(subject))
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001  perhaps of somebody's own cell: it costs none of the other pictures
        return _failed(instrument, error), None


def _show(inspection: Inspection, instrument: Instrument[Any], draw: Callable[[], Picture]) -> str | None:
    """Draws a picture into the inspection; says why where it cannot be drawn."""
    try:
        picture = draw()
        name, title = picture.name or instrument.name, picture.title or instrument.title
        reading = picture.reading or instrument.reading
        inspection.shown.append(Shown(name, title, reading, render(picture.figure), picture.table))
        inspection.facts.extend(picture.facts.items())
    except Exception as error:  # noqa: BLE001  as above
        return _failed(instrument, error)
    return None


def _failed(instrument: Instrument[Any], error: Exception) -> str:
    log.debug("%s", instrument.name, exc_info=error)
    return f"it could not be drawn ({type(error).__name__}: {' '.join(str(error).split())[:200]})"


# ---- words -----------------------------------------------------------------------------------------


def _about(inspected: Inspected, subject: Subject, brief: bool = False) -> list[tuple[str, str]]:
    """What a reader should know first."""
    network, metrics, status = subject.network, subject.metrics, inspected.directory.status
    sizes = dict.fromkeys(network.sizes)
    layers = f"{network.num_layers} layer{'s' if network.num_layers > 1 else ''} of {', '.join(map(str, sizes))}"
    titles = " and ".join(dict.fromkeys(cell.title for cell in network.cells()))
    cell = f"{titles}, {'bidirectional, ' if network.bidirectional else ''}{layers} units"
    parameters = sum(parameter.numel() for parameter in network.parameters())
    monitor = str(inspected.config.get("monitor", "val/loss"))
    test = monitor.replace("val/", "test/", 1)
    scores = [f"{name} {metrics[name]:.4g}" for name in (monitor, test) if name in metrics]
    baseline = monitor.replace("val/", "baseline/", 1)
    if baseline in metrics:
        scores.append(f"{status.baseline or 'trivial predictor'} {metrics[baseline]:.4g}")
    score = ", ".join(scores) or "no final scores: the run is not done"
    if brief:
        return [(inspected.name, f"{cell}, {parameters:,} parameters; {score}")]
    state = str(status.state)
    note = subject.data.note if isinstance(subject.data, GivenData) else subject.task.spec.note
    trained = f"{len(subject.history)} epochs"
    if metrics:
        trained += f", the weights of epoch {metrics['best_epoch']:.0f} kept"
    return [
        ("network", f"{cell}, {parameters:,} parameters"),
        ("data", _data(subject)),
        ("training", trained if state == "done" else f"{state}: {trained}"),
        ("scores of the training" if subject.of_a_file else "scores", score),
        *([("note", note)] if note else []),
    ]


def _data(subject: Subject) -> str:
    """What the network is asked about, and how well it does there, where that is not in the run's own scores."""
    number = f"{subject.size:,} sequence{'s' * (subject.size > 1)}"
    if not subject.of_a_file:
        return f"{type(subject.data).__name__}, {subject.split} split, {number}"
    if subject.unanswered:
        return f"a file of your own, {number}, without the truth"
    answers = ((answer.scored(subject.task), answer.batch) for answer in subject.answers)
    scores = {name: value for name, value in subject.task.measure(answers).items() if math.isfinite(value)}
    told = ", ".join(f"{name} {value:.4g}" for name, value in scores.items() if "@" not in name)
    return f"a file of your own, {number}: {told}"
