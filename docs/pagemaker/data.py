"""A page for each data set: a drawn example, what it is, its sizes, its options, who uses it."""

import inspect
from functools import cache, partial
from importlib import import_module
from typing import Any

from pagemaker import choices, data_pictures, prose, scores
from rnnlab.data.sequence import SequenceData
from rnnlab.errors import InputError
from rnnlab.runs.build import build

KINDS = {
    "values": "real numbers at every step", "value": "real numbers for the whole sequence",
    "class": "a class for the whole sequence", "tokens": "a token at the steps at which one is asked",
    "sequence": "a sequence of tokens, of its own length",
}  # fmt: skip


@cache
def built(name: str) -> SequenceData | InputError:
    """The data of ``data=NAME`` as its config has it, or why it is not to be had: an optional package is missing."""
    try:
        data = build(choices.composed(f"data={name}")["data"], "data")
        data.prepare_data()
        data.setup("fit")
        data.spec  # noqa: B018 - some data is read only here
    except InputError as error:
        return error
    return data


def documentation(name: str) -> prose.Docstring:
    """What the class says of itself, its options with those that it inherits."""
    path, _, class_name = choices.target("data", name).rpartition(".")
    cls = getattr(import_module(path), class_name)
    own = prose.read(inspect.getdoc(cls) or "")
    inherited: dict[str, str] = {}
    for base in reversed(cls.__mro__[1:]):
        if issubclass(base, SequenceData) and base.__doc__:
            inherited |= prose.read(inspect.getdoc(base) or "").fields
    return prose.Docstring(own.prose, {"Attributes": own.fields, "inherited": inherited})


def sizes(name: str) -> str:
    """A table of what the data says of itself, as its config has it."""
    data = built(name)
    task = task_of(name)
    rows = [["task", f"[{task}](../tasks/{task}.md)"]]
    if isinstance(data, SequenceData):
        spec = data.spec
        step = f"{spec.input.features} real number{'s' * (spec.input.features != 1)}" if spec.input.features else (
            f"one of {spec.input.vocabulary:,} tokens")  # fmt: skip
        target = KINDS[spec.target.kind]
        size = f", {spec.target.size:,} {'of them' if spec.target.kind in ('values', 'value') else 'different ones'}"
        rows += [
            ["a step of the input", step],
            ["the target", target + (size if spec.target.size > 1 else "")],
            ["steps of the longest sequence", f"{spec.length:,}"],
            ["sequences", ", ".join(f"{data.size(split):,} {word}" for split, word in
                                    (("train", "to train on"), ("val", "for validation"), ("test", "for the test")))],
        ]  # fmt: skip
        if spec.unit:
            rows.append(["unit of the values", spec.unit])
        if spec.step_unit != "step":
            rows.append(["a step is", f"a {spec.step_unit}"])
        if spec.note:
            rows.append(["note", prose.inline(spec.note)])
    return scores.markdown(["with its defaults", ""], rows)


def task_of(name: str) -> str:
    """The task that the data asks for."""
    path = choices.composed(f"data={name}")["task"]["_target_"]
    return next(each for each in choices.choices("task") if choices.target("task", each) == path)


def options(name: str) -> str:
    """Its keys, with defaults and what they mean."""
    documented = documentation(name)
    own, inherited = documented.fields, documented.sections["inherited"]
    rows = []
    for key, default, comment in choices.keys("data", name):
        # the class that the option is from knows most of it, the config knows it in its context
        text = own.get(key) or prose.inline(comment) or inherited.get(key, "")
        rows.append([f"`data.{key}`", f"`{default}`", text.rstrip(".")])
    return scores.markdown(["key", "default", "what it is"], rows)


def page(name: str) -> str:
    """The page as Markdown; its picture is ``NAME.png`` beside it."""
    parts = [f"# {name}", f"{prose.inline(choices.description('data', name))}.", f"```\nrnnlab train data={name}\n```"]
    data = built(name)
    if isinstance(data, SequenceData):
        parts.append(f"![Training sequences of {name}]({name}.png)")
    else:
        parts.append(f"*No picture here: {prose.inline(str(data))}.*")
    parts += ["## What it is", documentation(name).prose, "## Its sizes", sizes(name), "## Its options", options(name)]
    parts.append("`data.augmentation.*` changes training sequences at random, for every data set: [Data](../data.md).")
    ready = choices.experiments_with("data", name)
    measured = [each for each in scores.results() if choices.data_of_benchmark(each) == name]
    if ready:
        lines = [
            f"- `rnnlab train experiment={each}`: {prose.inline(choices.description('experiment', each))}"
            for each in ready
        ]
        parts += ["## Experiments with it", "\n".join(lines)]
    if measured:
        parts.append(
            "Measured, with published numbers beside: "
            + ", ".join(f"[{each}](../benchmarks.md)" for each in measured)
            + "."
        )
    return "\n\n".join(parts) + "\n"


def pictures(name: str) -> dict[str, Any]:
    """What draws the picture of the page, by file name."""
    data = built(name)
    if not isinstance(data, SequenceData):
        return {}
    return {f"{name}.png": partial(data_pictures.example, data, f"data={name}")}
