"""What stands before and behind a network, as plain values: how its inputs are made, and how its outputs are read."""

from functools import singledispatch
from typing import Any

from torch import Tensor

from rnnlab.data.labelled import LabelledFeatures
from rnnlab.data.layout import Layout
from rnnlab.data.sequence import SequenceData
from rnnlab.data.series import SeriesData
from rnnlab.data.table import Table
from rnnlab.data.text import Text
from rnnlab.data.text_classification import TextClassification
from rnnlab.spec import Scaling
from rnnlab.tasks.classification import Classification
from rnnlab.tasks.distribution import LEAST_DEVIATION, Distribution, Gaussian, Quantiles
from rnnlab.tasks.forecasting import Forecasting
from rnnlab.tasks.labelling import Labelling
from rnnlab.tasks.language_modeling import LanguageModeling
from rnnlab.tasks.multilabel import MultiLabel
from rnnlab.tasks.regression import Regression
from rnnlab.tasks.task import Task

SOFTMAX = "probabilities are the softmax of output over its last dimension; names say what each of them is of"


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


def _text(unit: str, vocabulary: tuple[str, ...], rule: str) -> dict[str, Any]:
    if unit == "byte":
        return {"kind": "text", "unit": unit, "vocabulary": None, "unknown": None, "rule": "bytes of UTF-8 as they are"}
    return {"kind": "text", "unit": unit, "vocabulary": list(vocabulary), "unknown": 0, "rule": rule}


@preprocessing.register
def _(data: LabelledFeatures) -> dict[str, Any]:
    patch = data.reader.patch
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
        rule = "(x - shift) / scale with mean and standard deviation of each channel of the sequence"
        return found | {"rule": rule + then}
    mean, deviation = data.scale
    rule = f"(x - shift) / scale of each channel{then}"
    return found | {"shift": mean.tolist(), "scale": deviation.tolist(), "rule": rule}


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
        return found | {"rule": f"{rule}{scaled} by mean and deviation of the sequence, 0 where it is not known"}
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


@singledispatch
def postprocessing(task: Task, data: SequenceData) -> dict[str, Any]:
    """How the network's output is read in the data's own units and names."""
    return {"kind": "raw", "rule": f"as the objective {type(task).__name__} reads it"}


@postprocessing.register
def _(task: Classification, data: SequenceData) -> dict[str, Any]:
    names = task.spec.target.names or tuple(map(str, range(task.spec.target.size)))
    return {"kind": "class", "names": list(names), "rule": SOFTMAX}


@postprocessing.register(LanguageModeling)
@postprocessing.register(Labelling)
def _(task: Task, data: SequenceData) -> dict[str, Any]:
    names = task.spec.target.names or tuple(map(str, range(task.spec.target.size)))
    blank = {} if task.spec.target.blank is None else {"blank": task.spec.target.blank}
    return {"kind": "tokens", "names": list(names), "rule": SOFTMAX + ", at every step"} | blank


@postprocessing.register
def _(task: MultiLabel, data: SequenceData) -> dict[str, Any]:
    rule = "each output is the log-odds of a label: its probability is 1 / (1 + exp(-output))"
    found = {"kind": "labels", "names": _names(task), "rule": rule}
    if task.spec.target.per_step:
        return found
    assert isinstance(task.thresholds, Tensor)
    return found | {"thresholds": task.thresholds.tolist(), "rule": f"{rule}; it is said where output > its threshold"}


@postprocessing.register
def _(task: Regression, data: SequenceData) -> dict[str, Any]:
    return {"kind": "value", "names": _names(task), **_units(task.spec.scaling)}


@postprocessing.register
def _(task: Forecasting, data: SequenceData) -> dict[str, Any]:
    spec = task.spec
    found = {"kind": "values", "names": _names(task), "unit": spec.unit, **_distribution(task.distribution)}
    if not isinstance(data, SeriesData):
        return found | _units(spec.scaling)
    layout, linear = data.final_layout, data.final_layout.base_map
    if linear is not None:
        found |= {"added_to": layout.base, "linear": linear.chosen or None}
        if isinstance(task.distribution, Gaussian):
            found["layout"] = "the means of all values, then their deviations, which are times scale in units"
    exponential = ", then its exponential" if spec.scaling.log else ""
    where = "of its column and series in preprocessing"
    return found | {"rule": f"value = output * scale + shift {where}{exponential}"}


def _names(task: Task) -> list[str]:
    return list(task.spec.target.names or map(str, range(task.spec.target.size)))


def _units(scaling: Scaling) -> dict[str, Any]:
    exponential = ", then its exponential" if scaling.log else ""
    return {
        "shift": list(scaling.shift),
        "scale": list(scaling.scale),
        "log": scaling.log,
        "rule": f"value = output * scale + shift{exponential}",
    }


def _distribution(distribution: Distribution) -> dict[str, Any]:
    if isinstance(distribution, Quantiles):
        return {
            "distribution": "quantiles",
            "levels": list(distribution.levels),
            "layout": "all values of the first quantile, then of the second …; sort them by size",
        }
    if isinstance(distribution, Gaussian):
        return {
            "distribution": "gaussian",
            "least_deviation": LEAST_DEVIATION,
            "layout": "the means of all values, then what softplus(x) + least_deviation makes their deviations of; "
            "a deviation is times scale in units",
        }
    return {"distribution": "point"}
