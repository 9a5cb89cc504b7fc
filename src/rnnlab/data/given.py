"""Sequences of a file of one's own as a data set, so that a trained network is asked about them as about its own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import torch

from rnnlab.data.batches import Batches, StreamOrder
from rnnlab.data.history import History
from rnnlab.data.reader import Given, Reader
from rnnlab.data.sequence import SequenceData
from rnnlab.data.series_cuts import Origins
from rnnlab.data.series_reader import SeriesReader
from rnnlab.data.series_references import References
from rnnlab.data.series_scaling import ScaledSeries
from rnnlab.data.series_windows import Windows
from rnnlab.data.split import Sample, Split, SplitName, stack
from rnnlab.data.text import Passages
from rnnlab.data.text_reader import CorpusReader, TextReader
from rnnlab.errors import InputError
from rnnlab.files.panel import Panel
from rnnlab.files.source import Source
from rnnlab.spec import DataSpec, Reference

MOST = 10_000
"""Sequences of a file that are read, its first."""
PASSAGES = 16
"""So many a stream has of a text, at least: each stream begins without knowing what was before it."""


@dataclass(kw_only=True, eq=False)
class GivenData(SequenceData):
    """What a reader makes of a file; all three splits are the same sequences.

    Attributes:
        given: the sequences.
        described: what the training data said of itself.
        names: of the sequences, where the file has any.
        unanswered: why there is no truth to hold what is predicted against; empty where there is. The targets are
            then zeros that mean nothing.
        vocabulary: what tokens are called, where the reader knows.
        features: what the features are called, where they are known.
        streamed: sequences are one text, each the one before's continuation.
        note: what a person should know of how the file was read.
    """

    given: Split
    described: DataSpec
    names: Sequence[Any] = ()
    unanswered: str = ""
    vocabulary: Sequence[str] = ()
    features: tuple[str, ...] = ()
    streamed: bool = False
    note: str = ""
    held_out: ClassVar[str] = "given"

    @property
    def spec(self) -> DataSpec:
        return replace(self.described, streamed=self.streamed)

    @property
    def feature_names(self) -> tuple[str, ...]:
        return self.features

    def size(self, split: SplitName) -> int:
        return len(self.given)

    def load(self, split: SplitName) -> Split:
        return self.given

    def split(self, split: SplitName) -> Split:
        return self.given

    def sample(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        batch = self.given.batch(torch.tensor([index]))
        return Sample(batch.inputs[0].numpy(), batch.targets[0].numpy())

    def state_dict(self) -> dict[str, Any]:
        return {"vocabulary": list(self.vocabulary)} if self.vocabulary else {}

    def _batches(self, name: SplitName, batch_size: int, shuffle: bool) -> Batches:
        if not self.streamed:
            return super()._batches(name, batch_size, shuffle)
        streams = min(self.batch_size, max(1, len(self.given) // PASSAGES))
        return Batches(self.given, StreamOrder(len(self.given), streams))


def given_data(reader: Reader, source: Source, spec: DataSpec, batch_size: int = 64) -> GivenData:
    """The sequences of a file, with the truth where the file tells it or is it.

    Of a forecast the truth is what comes next in the sequence itself, of running
    text the next token, of a class what stands beside the sequence.

    Args:
        reader: of the trained run.
        source: opened by the reader.
        spec: of the training data.
        batch_size: sequences a batch.

    Raises:
        InputError: the file is not what the run reads, or too short to say anything of.
    """
    common: dict[str, Any] = {"described": spec, "batch_size": batch_size, "features": reader.features}
    if isinstance(reader, TextReader):
        common["vocabulary"] = reader.vocabulary if reader.unit != "byte" else ()
    if isinstance(reader, SeriesReader) and spec.horizon == 0:
        return _of_rebuilt_series(reader, source, common)
    if isinstance(reader, SeriesReader):
        return _of_series(reader, source, common)
    found = list(islice(reader.read(source), MOST + 1))
    note = f"the first {MOST:,} sequences of the file" if len(found) > MOST else ""
    found = found[:MOST]
    if not found:
        raise InputError(f"{source.name}: there is no sequence in it")
    common |= {"note": note, "names": _names(found)}
    if isinstance(reader, CorpusReader):
        return _of_texts(found, source, spec, common)
    target = spec.target
    if target.classifies:
        return _of_classes(found, source, spec, common)
    if spec.horizon is not None:
        return _of_continuations(found, source, spec, spec.horizon, common)
    inputs = [each.inputs for each in found]
    targets: list[Any] = [np.zeros(target.size, np.float32)] * len(inputs)
    if target.of_own_length:
        assert target.end is not None
        targets = [np.array([target.end])] * len(inputs)
    if target.per_step:
        shapes = [(len(each),) if target.categorical else (len(each), target.size) for each in inputs]
        targets = [np.zeros(shape, np.int64 if target.categorical else np.float32) for shape in shapes]
    why = "a file tells the inputs of this run, and not what is to be said of them"
    return GivenData(given=_stacked(inputs, targets), unanswered=why, **common)


def _names(found: Sequence[Given]) -> list[Any]:
    """Of sequences that are not simply numbered in their order."""
    return [] if all(each.name == number for number, each in enumerate(found)) else [each.name for each in found]


def _stacked(inputs: Sequence[np.ndarray], targets: Sequence[Any]) -> Split:
    return stack([Sample(*each) for each in zip(inputs, targets, strict=True)])


def _of_classes(found: Sequence[Given], source: Source, spec: DataSpec, common: dict[str, Any]) -> GivenData:
    names = spec.target.labels
    missing = sum(each.truth is None for each in found)
    targets = [0 if missing else names.index(str(each.truth)) for each in found]
    why = ""
    if missing:
        why = f"{source.name} tells no classes"
        if missing < len(found):
            why = f"{source.name} tells no class of {missing:,} of its {len(found):,} sequences"
    return GivenData(given=_stacked([each.inputs for each in found], targets), unanswered=why, **common)


def _of_continuations(
    found: Sequence[Given], source: Source, spec: DataSpec, horizon: int, common: dict[str, Any]
) -> GivenData:
    """Sequences whose targets are their own later inputs."""
    short = min(found, key=lambda each: len(each.inputs))
    if len(short.inputs) <= horizon:
        raise InputError(
            f"{source.name}, sequence {short.name}: {len(short.inputs)} step{'s' * (len(short.inputs) > 1)}, and this "
            f"run forecasts {horizon} ahead: nothing is left to hold a forecast against"
        )
    inputs = [each.inputs[: len(each.inputs) - horizon] for each in found]
    targets = [each.inputs[horizon:, : spec.target.size] for each in found]
    return GivenData(given=_stacked(inputs, targets), **common)


def _of_texts(found: Sequence[Given], source: Source, spec: DataSpec, common: dict[str, Any]) -> GivenData:
    """One text in passages, or several texts each for itself; the target is the next token."""
    short = min(found, key=lambda each: len(each.inputs))
    if len(short.inputs) < 2:
        where = source.name if len(found) == 1 else f"{source.name}, text {short.name}"
        raise InputError(f"{where} has one {spec.step_unit}: nothing comes after it that could be predicted")
    if len(found) == 1:
        length = min(spec.length, len(found[0].inputs) - 1)
        passages = Passages(torch.from_numpy(found[0].inputs), length)
        common["names"] = ()
        if len(passages) > MOST:
            passages = Passages(passages.ids[: MOST * length + 1], length)
            common["note"] = f"the first {len(passages.ids):,} {spec.step_unit}s of the file"
        return GivenData(given=passages, streamed=True, **common)
    texts = [each.inputs for each in found]
    return GivenData(given=_stacked([text[:-1] for text in texts], [text[1:] for text in texts]), **common)


# ---- time series -------------------------------------------------------------------------------------


@dataclass(kw_only=True, eq=False)
class GivenSeries(GivenData):
    """Series as windows that end at their steps, and what came after each.

    Attributes:
        given: the windows, of the series up to the last known value of each.
        horizon: steps ahead.
        test_stride: steps from one window to the next.
    """

    given: Windows
    horizon: int
    test_stride: int = 1

    @property
    def panel(self) -> Panel:
        """The series one after the other."""
        return self.given.scaled.panel

    def places(self, split: SplitName) -> tuple[np.ndarray, np.ndarray]:
        """The series and the last row of each window, of which all splits have the same."""
        return self.given.place(slice(None))

    def observed(self, rows: np.ndarray) -> np.ndarray:
        """The targets in their own units, not a number where unknown."""
        return self.panel.observed(rows)


def _of_rebuilt_series(reader: SeriesReader, source: Source, common: dict[str, Any]) -> GivenData:
    """Windows of series, one after the other, that are to be rebuilt."""
    histories, _ = reader.histories(source)
    cut: list[np.ndarray] = []
    for history in histories:
        inputs = reader.window(history, reader.layout.said, whole=True).inputs
        ends = range(len(inputs), 0, -reader.length)
        cut += [inputs[max(0, end - reader.length) : end] for end in ends][::-1]
    note = f"the first {MOST:,} windows of the file" if len(cut) > MOST else ""
    inputs_of = cut[:MOST]
    split = _stacked(inputs_of, [each[:, : reader.measured] for each in inputs_of])
    return GivenData(given=split, **common | {"note": note})


def _of_series(reader: SeriesReader, source: Source, common: dict[str, Any]) -> GivenSeries:
    histories, names = reader.histories(source)
    needed = reader.layout.reach + reader.horizon
    shortest = min(history.now for history in histories)
    length = min(reader.length, shortest - needed)
    if length < 1:
        raise InputError(
            f"{source.name}: a series of {shortest} row{'s' * (shortest > 1)} is too short: this run forecasts "
            f"{reader.horizon} ahead, and needs at least {needed + 1} to hold a forecast against what came"
        )
    stride = -(-sum(history.now - needed - length + 1 for history in histories) // MOST)
    naive_errors = np.full((len(names), len(reader.of.target)), np.nan)
    for number, name in enumerate(names):
        # a series that the run never saw has none
        if reader.naive_errors and (name in reader.names or len(reader.names) == 1):
            naive_errors[number] = reader.naive_errors[histories[number].number]
    spec: DataSpec = common["described"]
    # the one simple forecast that needs no training data
    common["described"] = replace(
        spec,
        gaps=spec.gaps or any(history.unknown.any() for history in histories),
        references=(Reference("persistence", (1.0,) * reader.horizon * len(reader.of.target)),),
    )
    if stride > 1:
        common["note"] = f"a window at every {stride}th step of the file"
    shift, scale = (moments[[history.number for history in histories]] for moments in reader.moments)
    scaled = ScaledSeries(_panel(reader, histories, names, spec.step_unit), shift, scale, reader.layout.log)
    origins = _origins(scaled.panel.starts, length + reader.layout.reach - 1, reader.horizon, stride)
    references = References(scaled, reader.horizon)
    return GivenSeries(
        given=Windows(scaled, reader.layout, origins, length, origins.total, references, naive_errors),
        horizon=reader.horizon,
        test_stride=stride,
        **common,
    )


def _panel(reader: SeriesReader, histories: Sequence[History], names: Sequence[str], step_unit: str) -> Panel:
    """The histories one after the other, each up to now."""
    times = [np.arange(each.now) if each.times is None else each.times[: each.now] for each in histories]
    unknown = np.concatenate([history.unknown[: history.now] for history in histories])
    return Panel(
        np.concatenate([history.values[: history.now] for history in histories]),
        np.concatenate(times),
        np.cumsum([0, *(history.now for history in histories)]),
        tuple(names),
        reader.of,
        reader.frequency,
        unit=step_unit,
        unknown=unknown if unknown.any() else None,
    )


def _origins(starts: np.ndarray, first: int, horizon: int, stride: int) -> Origins:
    """Of windows, of which the last one of each series ends as late as its forecast's truth allows.

    Args:
        starts: ``(series + 1,)`` the first row of each series, and the number of rows.
        first: the step of a series at which its first window may end.
        horizon: steps ahead.
        stride: steps from one window to the next.
    """
    earliest, latest = starts[:-1] + first, starts[1:] - 1 - horizon
    counts = (latest - earliest) // stride + 1
    return Origins(latest - (counts - 1) * stride, counts, stride)
