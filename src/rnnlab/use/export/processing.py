"""What stands before and behind a network, as plain values: how its inputs are made, and how its outputs are read."""

from dataclasses import asdict
from functools import singledispatch
from typing import Any

from rnnlab.data.dial_tones import DialTones
from rnnlab.data.labelled import LabelledFeatures
from rnnlab.data.labelled_frames import LabelledFrames
from rnnlab.data.layout import Layout
from rnnlab.data.pair_data import PairData
from rnnlab.data.sequence import SequenceData
from rnnlab.data.series import SeriesData
from rnnlab.data.speech import Speech
from rnnlab.data.table import Table
from rnnlab.data.text import Text
from rnnlab.data.text_classification import TextClassification
from rnnlab.tasks.distribution import Gaussian
from rnnlab.tasks.task import Task


@singledispatch
def preprocessing(data: SequenceData) -> dict[str, Any]:
    """How an input in the data's own units becomes the network's."""
    spec = data.spec.input
    if spec.vocabulary is None:
        return {"kind": "features", "features": spec.features, "rule": "numbers as the data set has them"}
    return {
        "kind": "tokens",
        "size": spec.vocabulary,
        "unknown": spec.unknown,
        "rule": "numbers of tokens as the data set has them, from 0",
    }


@preprocessing.register
def _(data: Text) -> dict[str, Any]:
    return _text(data.unit, data.corpus.vocabulary, "each token of the text is its place in vocabulary")


@preprocessing.register
def _(data: TextClassification) -> dict[str, Any]:
    encoder = data.encoder
    rule = "the text is normalized, stripped of spaces around it, cut after max_length tokens; each is its place in "
    return _text(encoder.unit, encoder.vocabulary, rule + "vocabulary") | {
        "normalization": encoder.normalization,
        "lower": encoder.lower,
        "max_length": encoder.max_length,
    }


@preprocessing.register
def _(data: PairData) -> dict[str, Any]:
    encoder, _ = data.encoders
    rule = "the text is normalized and stripped of spaces around it; each token of it is its place in vocabulary"
    return _text(encoder.unit, encoder.vocabulary, rule) | {
        "normalization": encoder.normalization,
        "lower": encoder.lower,
    }


def _text(unit: str, vocabulary: tuple[str, ...], rule: str) -> dict[str, Any]:
    if unit == "byte":
        return {"kind": "text", "unit": unit, "vocabulary": None, "unknown": None, "rule": "bytes of UTF-8 as they are"}
    return {"kind": "text", "unit": unit, "vocabulary": list(vocabulary), "unknown": 0, "rule": rule}


@preprocessing.register(DialTones)
@preprocessing.register(Speech)
def _sound(data: DialTones | Speech) -> dict[str, Any]:
    rule = (
        "frames of window seconds (Hann), the energy in bands of the mel scale, log(energy + 1e-6), then (x - shift) / "
    )
    rule += "scale of each band; with own_moments by the mean and the standard deviation of the sound itself"
    return {"kind": "sound", **asdict(data.reader), "rule": rule}


@preprocessing.register
def _(data: LabelledFeatures) -> dict[str, Any]:
    patch = data.feature_reader.patch
    found: dict[str, Any] = {"kind": "features", "features": data.spec.input.features, "patch": patch}
    then = (
        ""
        if patch == 1
        else (
            "; then so many steps as patch says stand side by side as the features of one, the last one repeated where "
            "they don't come out even"
        )
    )
    if data.scaling == "none":
        return found | {"rule": f"numbers as they are{then}"}
    if data.scaling == "per_sequence":
        rule = "(x - shift) / scale with mean and standard deviation of each channel of the sequence, 1 for one that "
        rule += "stands still"
        if data.unscaled_features:
            found["unscaled"] = list(data.unscaled_features)
            rule += "; the features of unscaled, counted from 0, stay as they are"
        return found | {"own_moments": True, "rule": rule + then}
    mean, deviation = data.scale
    rule = f"(x - shift) / scale of each channel{then}"
    return found | {"shift": mean.tolist(), "scale": deviation.tolist(), "rule": rule}


@preprocessing.register
def _(data: LabelledFrames) -> dict[str, Any]:
    frame = data.frame_shape
    found: dict[str, Any] = {"kind": "features", "features": data.spec.input.features, "frame": list(frame)}
    rule = "pixels between 0 and 1, row by row and channel after channel"
    if data.scaling == "none":
        return found | {"rule": rule}
    rule += "; then (x - shift) / scale of each channel"
    if data.scaling == "per_sequence":
        rule += ", its mean and standard deviation over all pixels and frames of the sequence, 1 for one that is even"
        return found | {"own_moments": True, "rule": rule}
    scaling = data.reader.input_scaling  # of each pixel, as of features of other data
    return found | {"shift": list(scaling.shift), "scale": list(scaling.scale), "rule": rule}


@preprocessing.register
def _(data: Table) -> dict[str, Any]:
    columns = data.given.columns
    found: dict[str, Any] = {
        "kind": "features",
        "features": data.spec.input.features,
        "patch": 1,
        "names": list(columns.features),
        "numbers": list(columns.numbers),
        "categories": {name: list(levels) for name, levels in columns.categories.items()},
        "texts": list(columns.texts),
        "missing": columns.missing,
    }
    rule = (
        "the features of a step in the order of names: numbers first; 'C is missing' is 1 where column C had no value; "
        "'C=L' is 1 where column C is L; 'C #n' counts the words of column C by crc32 of their lower-case UTF-8 modulo "
        f"{columns.buckets}, each +1 where the highest bit is set and else -1, divided by the norm of the counts"
    )
    if data.scaling == "none":
        return found | {"rule": f"{rule}; a number that is not known is 0"}
    scaled = "; a number is (x - shift) / scale"
    if data.scaling == "per_sequence":
        more = " by mean and deviation of the sequence, 0 where it is not known"
        return found | {"own_moments": True, "rule": rule + scaled + more}
    mean, deviation = data.scale
    more = "; one that is missing is the last known one before it, and before there is one 0 after scaling"
    return found | {"shift": mean.tolist(), "scale": deviation.tolist(), "rule": rule + scaled + more}


@preprocessing.register
def _(data: SeriesData) -> dict[str, Any]:
    layout, columns = data.final_layout, data.layout.of
    scaling = {
        "global": "",
        "last": "; a target is its difference from the value before, divided by its spread",
        "mean": f"; a target is its difference from the mean of the last {layout.averaged}, divided by its spread",
        "seasonal": f"; a target is its difference from the value {layout.season} before, divided by its spread",
    }
    return {
        "kind": "series",
        "names": list(layout.features),
        "log": list(columns.target) if layout.log else [],
        "scaling": [
            {"series": name, "columns": columns.numbers, "shift": shift.tolist(), "scale": scale.tolist()}
            for name, shift, scale in zip(data.panel.names, *data.moments, strict=True)
        ],
        "window_scaling": layout.window_scaling,
        "spread": list(layout.spread),
        **_read_by_the_base(layout),
        "rule": "a step's features in the order of names, where +n is n steps later, and the calendar that of the "
        "next step; a column is (x - shift) / scale of its series, after the natural logarithm where it is in log; a "
        f"missing value is the one before, or 0 where there is none{scaling[layout.window_scaling]}",
    }


def _read_by_the_base(layout: Layout) -> dict[str, Any]:
    """How the inputs ``values`` and ``others`` of a file are made."""
    linear = layout.base_map
    if linear is None:
        return {}
    found = {"values": "(x - shift) / scale of each target; before a series begins its first value stands"}
    if linear.others.shape[1]:
        columns = layout.of
        known = [f"{name} +{step}" for step in range(1, 1 + layout.horizon) for name in columns.known]
        found["others"] = (
            "of the next step, for each cycle of others_calendar, sin and cos of its angle, then of twice it"
        )
        found["others"] += "; then others_columns, scaled, where +n is n steps later" * linear.covariates
        of_columns = [*columns.past, *known] if linear.covariates else []
        return found | {"others_calendar": list(linear.calendar), "others_columns": of_columns}
    return found


def postprocessing(task: Task, data: SequenceData) -> dict[str, Any]:
    """How the network's output is read in the data's own units and names."""
    reading = task.reading()
    if not (isinstance(data, SeriesData) and task.forecasts):
        return reading
    layout, linear = data.final_layout, data.final_layout.base_map
    for name in ("shift", "scale", "log"):  # each series has its own
        reading.pop(name)
    if linear is not None:
        reading |= {"added_to": layout.base, "linear": linear.chosen or None}
        if isinstance(task.distribution, Gaussian):
            reading["layout"] = "the means of all values, then their deviations, which are times scale in units"
    exponential = ", then its exponential" if task.spec.scaling.log else ""
    where = "of its column and series in preprocessing"
    return reading | {"rule": f"value = output * scale + shift {where}{exponential}"}
