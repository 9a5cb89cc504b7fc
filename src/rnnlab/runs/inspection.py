"""A look inside trained runs: their views measured, drawn, and written as PNGs and one page."""

import logging
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replace_field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rnnlab.data.given import GivenData, given_data
from rnnlab.data.reader import Reader
from rnnlab.data.sequence import SplitName
from rnnlab.errors import InputError
from rnnlab.files.source import Format, Source
from rnnlab.instruments.confusion import ConfusionMatrix
from rnnlab.instruments.forecast import Forecast
from rnnlab.instruments.gradient_flow import GradientFlow
from rnnlab.instruments.hidden_states import HiddenStates
from rnnlab.instruments.inspection.calibration import Calibration
from rnnlab.instruments.inspection.dynamics import Lyapunov
from rnnlab.instruments.inspection.embeddings import EmbeddingNeighbours
from rnnlab.instruments.inspection.examples import WorstExamples
from rnnlab.instruments.inspection.gates import GateSaturation, GatesOverTime
from rnnlab.instruments.inspection.memory import GradientByLag
from rnnlab.instruments.inspection.ordinary import HiddenPaths, LossByEpoch, Ordinary, ScoreByLengths
from rnnlab.instruments.inspection.saliency import Saliency
from rnnlab.instruments.inspection.subject import Subject
from rnnlab.instruments.inspection.view import Table, View
from rnnlab.instruments.instrument import Instrument, history_of, predict, take
from rnnlab.instruments.learning_curves import AccuracyCurves, LossCurves
from rnnlab.instruments.score_by_length import ScoreByLength
from rnnlab.instruments.spectrum import Spectrum
from rnnlab.network import Network
from rnnlab.runs.checkpoint import load_weights, read_checkpoint
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import Run, build_network, prepare
from rnnlab.runs.gallery import render, validation_batches
from rnnlab.runs.trained import open_trained
from rnnlab.runs.trainer import choose_threads, find_device, quiet_lightning
from rnnlab.store import json_text
from rnnlab.store.files import remove, replace
from rnnlab.tasks.forecasting import Forecasting

log = logging.getLogger("rnnlab")

INSIDE: tuple[Callable[[], View[Any]], ...] = (
    GradientByLag, Lyapunov, Saliency, GatesOverTime, GateSaturation, EmbeddingNeighbours, WorstExamples, Calibration,
)  # fmt: skip
COMPARED: tuple[Callable[[], View[Any]], ...] = (
    GradientByLag, Lyapunov, Saliency, GateSaturation, HiddenPaths, Calibration, ScoreByLengths, LossByEpoch,
)  # fmt: skip
OF_A_FILE: tuple[Callable[[], View[Any]], ...] = (*INSIDE, ScoreByLengths)
INSTRUMENTS_OF_A_FILE = (Forecast, ConfusionMatrix, HiddenStates)
"""What else says something of a file of one's own; the others tell of the training."""
ORDINARY: tuple[Callable[[], Instrument], ...] = (
    LossCurves, AccuracyCurves, Forecast, ScoreByLength, ConfusionMatrix, HiddenStates, Spectrum,
)  # fmt: skip
"""What a run that was trained without instruments is drawn with."""
SHOWN = 3
"""Sequences that are shown one by one where nobody chose."""
PAGE, NUMBERS = "index.html", "inspect.json"
NUMBERS_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Shown:
    """A picture that is drawn, ready to be hung."""

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
    shown: list[Shown]
    left_out: list[tuple[str, str]]
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


def open_run(
    inspected: Inspected,
    split: SplitName,
    sequences: Sequence[int] | None = None,
    allow: Sequence[str] = (),
    device: str = "cpu",
) -> tuple[Subject, Run]:
    """A run with its kept weights, its first ones and its last ones.

    Raises:
        InputError: a checkpoint is damaged or does not fit, or there is no such sequence or device.
    """
    quiet_lightning()
    place = find_device(device)
    directory = inspected.directory
    best = directory.best_checkpoint
    run = prepare(inspected.config, allow, trained=read_checkpoint(best), machine=False)
    task, network = run.task, run.task.network
    sizes = [parameter.numel() for parameter in network.parameters()]
    torch.set_num_threads(choose_threads("auto", run.data.batch_size, sizes))
    # seeded as the run was, what was just built is what the run began with
    stages: dict[str, Mapping[str, Tensor]] = {
        "before training": {name: value.clone() for name, value in network.state_dict().items()}
    }
    load_weights(task, best)
    last = read_checkpoint(directory.last_checkpoint) if directory.last_checkpoint.exists() else {}
    stages |= _last_stage(last, network)
    task.to(place).eval()
    recorded: dict[int, Tensor] = {}
    observed = last.get("callbacks", {}).get("Gallery", {})
    same_data = inspected.config["data"] == directory.config["data"]
    if same_data:
        recorded = {int(epoch): norms for epoch, norms in observed.get("gradient_flow", {}).items()}
    for instrument in run.instruments:
        instrument.restore(observed.get(instrument.name, {}))
    subject = Subject(
        inspected.name, task, run.data, split, (), stages, recorded, _history(directory), directory.metrics,
    )  # fmt: skip
    subject.sequences = chosen(sequences, subject.size, split)
    return subject, run


def open_given(
    inspected: Inspected,
    file: OwnFile,
    sequences: Sequence[int] | None = None,
    allow: Sequence[str] = (),
    device: str = "cpu",
) -> Subject:
    """The same on a file of one's own. The run's own data is not needed, and may be gone.

    Raises:
        InputError: as :func:`open_run`, or the file is not what the run reads.
    """
    quiet_lightning()
    place = find_device(device)
    directory, config = inspected.directory, inspected.config
    with torch.random.fork_rng(devices=[]):
        task, reader = open_trained(directory, config, allow)
        data = given_data(reader, file.open(reader), task.spec)
        # seeded as the run was, this is what it began with
        torch.manual_seed(config["seed"])
        first = build_network(config, task.spec, allow).state_dict()
    network = task.network
    sizes = [parameter.numel() for parameter in network.parameters()]
    torch.set_num_threads(choose_threads("auto", data.batch_size, sizes))
    last = read_checkpoint(directory.last_checkpoint) if directory.last_checkpoint.exists() else {}
    stages = {"before training": first, **_last_stage(last, network)}
    task.spec = data.spec
    task.to(place).eval()
    if data.unanswered and data.spec.target.kind == "class":
        # so that pictures can tell classes apart
        batches = torch.arange(len(data.given)).split(data.batch_size)
        decided = [predict(task, take(task, data, "test", index)).argmax(-1).cpu() for index in batches]
        data.given = replace_field(data.given, targets=torch.cat(decided))
        data.note = "; ".join(filter(None, (data.note, "pictures colour each sequence by the class that is decided")))
    subject = Subject(
        inspected.name, task, data, "test", (), stages, {}, _history(directory), directory.metrics, data.unanswered,
        data.names,
    )  # fmt: skip
    subject.sequences = chosen(sequences, subject.size, "file")
    return subject


def _history(directory: RunDirectory) -> list[dict[str, float]]:
    return history_of(directory.epochs, {}, directory.metrics.get("best_epoch"))


def _last_stage(checkpoint: Mapping[str, Any], network: Network) -> dict[str, Mapping[str, Tensor]]:
    """The weights of the last epoch by name, where they are others than the kept ones."""
    weights, own = _network_weights(checkpoint), network.state_dict()
    differ = weights.keys() == own.keys() and any(not own[name].equal(weights[name]) for name in own)
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


def look(
    inspected: Inspected,
    split: SplitName,
    sequences: Sequence[int] | None,
    allow: Sequence[str],
    device: str = "cpu",
    file: OwnFile | None = None,
) -> Inspection:
    """All views of one run, on a split of its data or on a file.

    Raises:
        InputError: as :func:`open_run` and :func:`open_given`.
    """
    if file is not None:
        subject = open_given(inspected, file, sequences, allow, device)
        ordinary = [Ordinary(make()) for make in INSTRUMENTS_OF_A_FILE]
        return _hung(inspected, subject, [*(make() for make in OF_A_FILE), *ordinary])
    subject, run = open_run(inspected, split, sequences, allow, device)
    baseline = subject.task.measure_baseline(validation_batches(subject.task, subject.data))
    subject.history = history_of(subject.history, baseline, subject.metrics.get("best_epoch"))
    instruments = run.instruments or [make() for make in ORDINARY]
    # the gradient by lag is the same measurement, told as what it means
    ordinary = [Ordinary(each) for each in instruments if not isinstance(each, GradientFlow)]
    return _hung(inspected, subject, [*(make() for make in INSIDE), *ordinary])


def _hung(inspected: Inspected, subject: Subject, views: Sequence[View[Any]]) -> Inspection:
    shown: list[Shown] = []
    left_out: list[tuple[str, str]] = []
    facts: list[tuple[str, str]] = []
    for view in views:
        reason, measured = _measure(view, subject)
        if reason is None:
            reason = _hang(shown, facts, view, partial(view.draw, subject, measured))
        if reason is not None:
            left_out.append((view.title, reason))
    return Inspection(inspected.name, _about(inspected, subject), shown, left_out, facts)


def compare(
    runs: Sequence[Inspected],
    title: str,
    split: SplitName,
    sequences: Sequence[int] | None,
    allow: Sequence[str],
    device: str = "cpu",
    file: OwnFile | None = None,
) -> Inspection:
    """The views that say something side by side, of several runs.

    Raises:
        InputError: as :func:`open_run` and :func:`open_given`.
    """
    views = [make() for make in COMPARED if file is None or make is not LossByEpoch]
    measured: list[dict[str, Any]] = [{} for _ in views]
    reasons: list[dict[str, str]] = [{} for _ in views]
    about = []
    for each in runs:
        if file is None:
            subject, _ = open_run(each, split, sequences, allow, device)
        else:
            subject = open_given(each, file, sequences, allow, device)
        about += _about(each, subject, brief=True)
        for view, found, missing in zip(views, measured, reasons, strict=True):
            reason, result = _measure(view, subject)
            if reason is None:
                found[each.name] = result
            else:
                missing[each.name] = reason
    shown: list[Shown] = []
    left_out: list[tuple[str, str]] = []
    facts: list[tuple[str, str]] = []
    for view, found, missing in zip(views, measured, reasons, strict=True):
        if found:
            reason = _hang(shown, facts, view, partial(view.compare, found))
            if reason is not None:
                left_out.append((view.title, reason))
        by_reason: dict[str, list[str]] = {}
        for name, reason in missing.items():
            by_reason.setdefault(reason, []).append(name)
        left_out += [(view.title, f"{', '.join(names)}: {reason}") for reason, names in by_reason.items()]
    return Inspection(title, about, shown, left_out, facts)


def _measure(view: View[Any], subject: Subject) -> tuple[str | None, Any]:
    """Why there is nothing to measure, or what was measured."""
    try:
        at_once = view.along_time and subject.network.transposed
        reason = "the network reads all steps at once (model.transpose=true)" if at_once else view.missing(subject)
        if reason is None and view.needs_truth and subject.unanswered:
            reason = f"it needs the truth: {subject.unanswered}"
        return (reason, None) if reason else (None, view.measure(subject))
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001  perhaps of somebody's own cell: it costs none of the other pictures
        return _failed(view, error), None


def _hang(shown: list[Shown], facts: list[tuple[str, str]], view: View[Any], draw: Callable[[], Any]) -> str | None:
    """Draws a picture into ``shown``; says why where it cannot be drawn."""
    try:
        picture = draw()
        if picture is None:
            return "it says nothing side by side"
        shown.append(Shown(view.name, view.title, view.reading, render(picture.figure), picture.table))
        facts += picture.facts.items()
    except Exception as error:  # noqa: BLE001  as above
        return _failed(view, error)
    return None


def _failed(view: View[Any], error: Exception) -> str:
    log.debug("%s", view.name, exc_info=error)
    return f"it could not be drawn ({type(error).__name__}: {' '.join(str(error).split())[:200]})"


def _network_weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    weights = checkpoint.get("state_dict", {})
    return {name.removeprefix("network."): value for name, value in weights.items() if name.startswith("network.")}


def _about(inspected: Inspected, subject: Subject, brief: bool = False) -> list[tuple[str, str]]:
    """What a reader should know first."""
    network, metrics, status = subject.network, subject.metrics, inspected.directory.status
    layers = f"{network.num_layers} layer{'s' if network.num_layers > 1 else ''} of {network.hidden_size}"
    cell = f"{type(network.cells()[0]).__name__}, {'bidirectional, ' if network.bidirectional else ''}{layers} units"
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
    epochs = len(subject.history)
    trained = (
        f"{epochs} epochs, the weights of epoch {metrics['best_epoch']:.0f} kept" if metrics else f"{epochs} epochs"
    )
    return [
        ("network", f"{cell}, {parameters:,} parameters"),
        ("data", _data(subject)),
        ("training", trained if state == "done" else f"{state}: {trained}"),
        ("scores" if not isinstance(subject.data, GivenData) else "scores of the training", score),
        *([("note", note)] if (note := _note(subject)) else []),
    ]


def _data(subject: Subject) -> str:
    """What the network is asked about, and how well it does there, where that is not in the run's own scores."""
    number = f"{subject.size:,} sequence{'s' * (subject.size > 1)}"
    if not isinstance(subject.data, GivenData):
        return f"{type(subject.data).__name__}, {subject.split} split, {number}"
    if subject.unanswered:
        return f"a file of your own, {number}, without the truth"
    task = subject.task
    answers = ((answer.output, answer.batch) for answer in subject.answers)
    if isinstance(task, Forecasting) and task.spec.steps_ahead is not None:
        answers = ((task.forecast(batch), batch) for _, batch in answers)
    scores = {name: value for name, value in task.measure(answers).items() if math.isfinite(value)}
    told = ", ".join(f"{name} {value:.4g}" for name, value in scores.items() if "@" not in name)
    return f"a file of your own, {number}: {told}"


def _note(subject: Subject) -> str:
    return subject.data.note if isinstance(subject.data, GivenData) else subject.task.spec.note


# ---- files ---------------------------------------------------------------------------------------


def check_folder(folder: Path, force: bool) -> None:
    """Refuses a place that cannot be written to, before anything is computed.

    Raises:
        InputError: it exists and holds something, or is a file, or its parent doesn't exist.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output {folder} is a file: name a directory")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise InputError(f"{folder} exists, and nothing is overwritten: give another --output, or --force")
    if not folder.parent.is_dir():
        raise InputError(f"--output {folder}: there is no directory {folder.parent}")


def write(inspection: Inspection, page: str, folder: Path, inside: Path | None = None) -> list[str]:
    """Writes the pictures, the numbers and the page: all together where the folder is new, else one by one.

    Of what an earlier inspection has left there it takes away pictures that this one does not have.

    Args:
        inspection: what was looked at.
        page: the HTML of it.
        folder: where they go.
        inside: see :func:`rnnlab.store.files.placed`.

    Returns:
        The names of the files.

    Raises:
        InputError: it cannot be written.
    """
    files: dict[str, bytes] = {f"{each.name}.png": each.png for each in inspection.shown}
    numbers = {
        "title": inspection.title,
        "about": dict(inspection.about),
        "facts": inspection.facts,
        "tables": {
            each.name: {"columns": each.table.columns, "rows": each.table.rows}
            for each in inspection.shown
            if each.table
        },
        "left_out": dict(inspection.left_out),
        "files": [*files, PAGE],
    }
    files[NUMBERS] = (json_text.dump(numbers, indent=1, ascii_only=False) + "\n").encode()
    files[PAGE] = page.encode()
    try:
        if folder.is_dir() and any(folder.iterdir()):
            before = _written_before(folder)
            for name, content in files.items():
                replace(folder / name, content, inside=inside)
            for name in before - set(files):
                remove(folder / name, inside)
            return list(files)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            for name, content in files.items():
                replace(temporary / name, content)
            temporary.chmod(0o755)
            temporary.replace(folder)  # an empty directory gives way
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from None
    return list(files)


def _written_before(folder: Path) -> set[str]:
    """Pictures that an earlier inspection says it wrote."""
    try:
        names = json_text.read(folder / NUMBERS, NUMBERS_BYTES)["files"]
        return {name for name in names if isinstance(name, str) and name == Path(name).name and name.endswith(".png")}
    except (OSError, InputError, KeyError, TypeError):
        return set()
