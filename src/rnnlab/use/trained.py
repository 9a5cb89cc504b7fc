"""Opening a trained run to use it: ``load(RUN).predict(x)``."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from rnnlab.data.frame_reader import FrameReader
from rnnlab.data.pair_reader import PairReader
from rnnlab.data.reader import Reader
from rnnlab.data.readers import reader_from_plain
from rnnlab.data.series_reader import SeriesReader
from rnnlab.data.text_reader import CorpusReader, TextReader
from rnnlab.errors import InputError
from rnnlab.runs.build import build
from rnnlab.runs.checkpoint import fit_weights, read_checkpoint
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.ensemble import Member, check_alike, check_learned, patch_of
from rnnlab.runs.preparation import build_network, prepare
from rnnlab.runs.trainer import find_device
from rnnlab.spec import DataSpec, InputSpec
from rnnlab.tasks.task import Task
from rnnlab.tasks.transcription import Transcription
from rnnlab.use.language import LanguageRun
from rnnlab.use.members import members
from rnnlab.use.predictor import Lengths, TrainedRun
from rnnlab.use.sequences import ContinuationRun, LabelledTextRun, RebuiltRun, SequenceRun
from rnnlab.use.series import RebuiltSeriesRun, SeriesRun
from rnnlab.use.transcription import TranscriptionRun
from rnnlab.use.translation import CaptionRun, TranslationRun


def load(place: str | Path | Sequence[str | Path], allow: Sequence[str] = (), device: str = "cpu") -> TrainedRun:
    """Opens a run to use it: its directory is all that is needed.

    ::

        from rnnlab import load

        model = load("outputs/my_run")
        model.predict(x)

    Args:
        place: the directory of a run, of a sweep (the seeds of its best configuration predict together), or several.
        allow: modules of your own that the run's config may build from.
        device: ``cpu``, ``cuda``, or ``auto``: a GPU where there is one.

    Raises:
        InputError: it is no run with a checkpoint, the checkpoint is damaged, or runs cannot predict together.
    """
    places = [str(place)] if isinstance(place, str | Path) else [str(each) for each in place]
    if not places:
        raise InputError("give the directory of a run")
    return open_runs([Member(run, run.config) for run in members(places, quiet=True)], allow, device)


def open_runs(runs: Sequence[Member], allow: Sequence[str] = (), device: str = "cpu") -> TrainedRun:
    """The same for runs that were found.

    Raises:
        InputError: as :func:`load`.
    """
    for other in runs[1:]:
        check_alike(runs[0], other)
    place = find_device(device)
    tasks: list[Task] = []
    readers: list[Reader] = []
    lengths: Lengths | None = None
    for run in runs:
        # what a network's weights are before they are loaded is drawn at random, and changes no state of this process
        with torch.random.fork_rng(devices=[]):
            task, reader, its_lengths = open_trained(run.directory, run.config, allow)
        if tasks and (task.spec.target, _step_of(task, reader)) != (
            tasks[0].spec.target,
            _step_of(tasks[0], readers[0]),
        ):
            raise InputError(f"{run.directory.path} predicts other things than {runs[0].directory.path}")
        if readers:
            check_learned(readers[0].plain(), reader.plain(), runs[0], run)
        tasks.append(task.to(place).eval().requires_grad_(False))
        readers.append(reader)
        lengths = lengths or its_lengths
    kind = TranscriptionRun if isinstance(tasks[0], Transcription) else kind_of(readers[0], tasks[0].spec)
    opened = kind(tasks, readers, runs[0].config)
    opened.members, opened.allow, opened.lengths = list(runs), allow, lengths
    return opened


def _step_of(task: Task, reader: Reader) -> InputSpec:
    """What one step of the input is, however many the network reads at once."""
    spec = task.spec.input
    return spec if spec.features is None else replace(spec, features=spec.features // patch_of(reader))


def kind_of(reader: Reader, spec: DataSpec) -> type[TrainedRun]:
    """What a run does with new data, by how it reads it."""
    match reader:
        case SeriesReader():
            return RebuiltSeriesRun if spec.horizon == 0 else SeriesRun
        case CorpusReader():
            return LanguageRun
        case PairReader():
            return TranslationRun
        case FrameReader() if spec.target.of_own_length:
            return CaptionRun
        case TextReader():
            return LabelledTextRun
    if spec.target.of_own_length:
        return TranslationRun
    if spec.horizon == 0:
        return RebuiltRun
    return SequenceRun if spec.horizon is None else ContinuationRun


def open_trained(
    directory: RunDirectory, config: Mapping[str, Any], allow: Sequence[str]
) -> tuple[Task, Reader, Lengths]:
    """A task with a run's best weights, what reads new data for it, and how long the sequences were that it was trained
    on; where the checkpoint tells, without the data.

    Raises:
        InputError: the checkpoint or the config is damaged.
    """
    path = directory.best_checkpoint
    checkpoint = read_checkpoint(path)
    if "data" not in checkpoint:  # of a run of before, whose data must still be there
        run = prepare(config, allow, trained=checkpoint, machine=False)
        fit_weights(run.task, checkpoint, path)
        return run.task, run.data.reader, run.data.training_lengths
    try:
        spec = DataSpec.from_plain(checkpoint["data"]["spec"])
        reader = reader_from_plain(checkpoint["data"]["reader"])
        shortest, longest = checkpoint["data"].get("lengths", (None, spec.length))  # which older runs do not know
        lengths: Lengths = (None if shortest is None else int(shortest), int(longest))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"checkpoint {path} is damaged: what it says of the data makes no sense ({error})") from None
    for part in ("task", "model"):
        if not isinstance(config.get(part), Mapping):
            raise InputError(f"{directory.path}/config.yaml is damaged: it has no {part}")
    network = build_network(config, spec, allow)
    task: Task = build(config["task"], "task", allow, network=network, spec=spec)
    fit_weights(task, checkpoint, path)
    return task, reader, lengths
