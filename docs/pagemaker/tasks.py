"""A page for each task: its loss, its scores, its baseline, its options, and the picture that it leaves."""

import inspect
from importlib import import_module

from pagemaker import choices, data, prose, scores

FIGURES = {
    "forecasting": ("forecast.png", "What `make train` leaves: a GRU's forecasts of waves that it has not seen."),
    "classification": ("benchmark_japanese_vowels.png", "Accuracy on JapaneseVowels, published numbers beside ours."),
    "labelling": ("benchmark_copy_memory.png", "Accuracy of the answers after a silence of T steps."),
    "regression": ("benchmark_adding.png", "Squared error of the sum of two numbers among T."),
}
"""A committed picture of what networks reach at a task, where there is one."""


def page(name: str) -> str:
    """The page as Markdown."""
    path, _, class_name = choices.target("task", name).rpartition(".")
    cls = getattr(import_module(path), class_name)
    doc = prose.read(inspect.getdoc(cls) or "")
    asked = [each for each in choices.choices("data") if data.task_of(each) == name]
    parts = [f"# {name}", f"{choices.description('task', name)}."]
    parts.append(f"It is for targets of the kind *{cls.target_kind}*: {data.KINDS[cls.target_kind]}.")
    if name in FIGURES:
        file, says = FIGURES[name]
        parts += [f"![{says.replace('`', '')}](../images/{file})", f"*{says}*"]
    parts += ["## Loss, scores and baseline", doc.prose]
    parts.append(
        "Every score is kept for validation (`val/…`), the test (`test/…`) and the trivial predictor (`baseline/…`); "
        "`monitor=` names the one that decides."
    )
    rows = []
    for key, default, comment in choices.keys("task", name):
        rows.append([f"`task.{key}`", f"`{default}`", doc.fields.get(key) or prose.inline(comment)])
    if rows:
        parts += ["## Its options", scores.markdown(["key", "default", "what it is"], rows)]
    lines = [f"- [{each}](../data/{each}.md): {prose.inline(choices.description('data', each))}" for each in asked]
    parts += [
        "## Data that asks for it",
        "\n".join(lines) or f"None does: `task={name}` chooses it for data with targets of this kind.",
    ]
    source = f"src/{path.replace('.', '/')}.py"
    parts.append(
        f"The code is `{source}`, class `{class_name}`; [Contributing](../contributing.md) has a task of one's own."
    )
    return "\n\n".join(parts) + "\n"
