"""The pages of the documentation that are made: of every cell, data set and task, and true to what they are made of."""

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from conftest import choices

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pagemaker() -> ModuleType:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import pagemaker.cells  # type: ignore[import-not-found]
        import pagemaker.data
        import pagemaker.recurrence
        import pagemaker.tasks
    finally:
        sys.path.remove(str(ROOT / "docs"))
    return pagemaker


@pytest.mark.parametrize("file", sorted((ROOT / "docs" / "cells").glob("*.md")), ids=lambda file: file.stem)
def test_what_somebody_wrote_about_a_cell_says_when_to_use_it(pagemaker: ModuleType, file: Path) -> None:
    assert file.stem in choices("model")
    assert len(pagemaker.cells.when_to_use(file.stem)) > 100
    assert pagemaker.cells.when_to_use(file.stem) in pagemaker.cells.page(file.stem)


def test_a_cell_of_which_nobody_wrote_says_what_it_is(
    pagemaker: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pagemaker.cells, "WORDS", tmp_path)
    assert "the gates stacked in the order" in pagemaker.cells.when_to_use("gru")


@pytest.mark.parametrize("name", choices("model"))
def test_each_cell_has_a_page_with_its_equations_and_a_count_that_holds(pagemaker: ModuleType, name: str) -> None:
    found, _ = pagemaker.cells.equations(name)
    # papers write frames in capitals
    assert any(re.search(r"\b[xX](_|\^|\b)", each.right) for each in found), "the input acts on nothing"
    text = pagemaker.cells.page(name)
    assert '<table class="equations">' in text
    formula = pagemaker.cells.formula(name)
    if formula:
        python = formula.replace("−", "-").replace("²", "**2").replace("FH", "F*H")
        python = re.sub(r"(\d)([FH])", r"\1*\2", python)
        count = pagemaker.cells.parameters(name, 13, 28)
        assert eval(python, {"F": 13, "H": 28}) == count, formula


def test_the_formula_of_known_cells(pagemaker: ModuleType) -> None:
    assert pagemaker.cells.formula("gru") == "3FH + 3H² + 6H"
    assert pagemaker.cells.formula("min_gru") == "2FH + 2H"


def test_the_picture_of_a_step_follows_the_equations(pagemaker: ModuleType) -> None:
    from pagemaker import cell_pictures

    nodes = cell_pictures.graph(pagemaker.cells.equations("lstm")[0])
    assert {name: sorted(node.sources) for name, node in nodes.items() if node.sources} == {
        **{name: ["h-", "x"] for name in "ifgo"},
        "c": ["c-", "f", "g", "i"],
        "h": ["c", "o"],
    }
    assert [nodes[name].kind for name in "ifgoch"] == ["gate", "gate", "squashed", "gate", "sum", "sum"]


def test_there_is_no_picture_where_the_equations_leave_something_out(pagemaker: ModuleType) -> None:
    from pagemaker import cell_pictures, prose

    whole = [prose.Equation("f_t", "σ(W x_t)"), prose.Equation("c_t", "f_t ⊙ c_{t-1}")]
    assert cell_pictures.graph(whole)
    assert not cell_pictures.graph(whole[1:])  # where f is from
    assert not cell_pictures.graph([prose.Equation("f_t", "σ(W a)"), *whole[1:]])  # what a is
    assert cell_pictures.flow(whole[1:]) is None


def test_a_page_has_the_measured_scores_and_the_row_they_are_from(pagemaker: ModuleType) -> None:
    table = pagemaker.scores.results()["copy_memory"]
    (lru,) = (table.cells(row) for row in table.rows if row[0] == "LRU")
    (line,) = (line for line in pagemaker.cells.page("lru").splitlines() if "[copy_memory]" in line)
    assert f"**{lru['T=200']}** %" in line
    assert lru["parameters"] in line
    assert "copy_memory" not in pagemaker.cells.measured("s5")


def test_the_table_of_all_cells_has_what_was_measured_of_each(
    pagemaker: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {
        "costs": {"cells": {"gru": {"ratio": 0.456}}, "hidden": 64, "batch": 32, "steps": 200},
        "memory_scores": {
            "columns": {"parity": "parity, %", "adding": "adding, MSE"},
            "shown": {"gru": {"parity": "99.1", "adding": "1.2"}, "(trivial)": {"parity": "50.3", "adding": "167"}},
            "updates": 1000,
        },
    }
    stamped = {
        name: {**each, "command": f"python -m benchmarks {name}", "date": "today"} for name, each in kept.items()
    }
    monkeypatch.setattr(pagemaker.scores, "numbers", stamped.__getitem__)
    text = pagemaker.cells.overview((ROOT / "docs" / "pages" / "cells.md").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line.startswith("| [`")]
    named = [re.match(r"\| \[`(\w+)`\]", line)[1] for line in lines]  # type: ignore[index]
    assert sorted(named) == sorted(choices("model"))
    (gru,) = (line for line in lines if line.startswith("| [`gru`]"))
    assert gru.endswith(f"| {pagemaker.cells.parameters('gru', 64, 64):,} | 0.46 | 99.1 | 1.2 |")
    assert next(line for line in lines if line.startswith("| [`lru`]")).endswith("| – | – | – |")
    assert "| trivial predictor |" in text
    assert "| 50.3 | 167 |" in text
    assert "score on the test | trivial |" in pagemaker.cells.page("gru")


SOME_DATA = ("sine", "classification", "tokens", "text", "csv", "parity")
# make docs makes them all
DATA = [pytest.param(name, marks=() if name in SOME_DATA else pytest.mark.exhaustive) for name in choices("data")]


@pytest.mark.parametrize("name", DATA)
def test_each_data_set_has_a_page_and_a_picture(pagemaker: ModuleType, name: str) -> None:
    text = pagemaker.data.page(name)
    assert f"rnnlab train data={name}\n" in text
    empty = [line for line in text.splitlines() if line.startswith("| `data.") and line.endswith("|  |")]
    assert not empty, "an option that nothing describes"
    (draw,) = pagemaker.data.pictures(name).values()
    assert draw().axes


def test_a_data_set_whose_package_is_missing_has_a_page_that_says_so(
    pagemaker: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rnnlab.errors import InputError

    monkeypatch.setattr(pagemaker.data, "built", lambda name: InputError("data=ucr needs aeon"))
    assert "No picture here: data=ucr needs aeon" in pagemaker.data.page("ucr")
    assert pagemaker.data.pictures("ucr") == {}


@pytest.mark.parametrize("name", choices("task"))
def test_each_task_has_a_page_with_the_data_that_asks_for_it(pagemaker: ModuleType, name: str) -> None:
    text = pagemaker.tasks.page(name)
    asked = re.findall(r"\(\.\./data/(\w+)\.md\)", text)
    assert sorted(asked) == [each for each in choices("data") if pagemaker.data.task_of(each) == name]
    assert asked or f"`task={name}` chooses it" in text
    empty = [line for line in text.splitlines() if line.startswith("| `task.") and line.endswith("|  |")]
    assert not empty, "an option that nothing describes"


def test_no_option_of_a_cell_is_left_without_a_word(pagemaker: ModuleType) -> None:
    for name in choices("model"):
        empty = [
            line
            for line in pagemaker.cells.page(name).splitlines()
            if line.startswith("| `model.") and line.endswith("|  |")
        ]
        assert not empty, name


def test_equations_are_set_with_sub_and_superscripts(pagemaker: ModuleType) -> None:
    from pagemaker import prose

    assert prose.typeset("σ(W_ih x_{t-1})") == "σ(<i>W</i><sub>ih</sub> <i>x</i><sub><i>t</i>-1</sub>)"
    found, rest = prose.equations("A cell.\n\n    h_t = φ(x_t),    φ = tanh\n\nSomebody (2016), arXiv 1603.09420.")
    assert found == [prose.Equation("h_t", "φ(x_t)", "φ = tanh")]
    assert rest == "Somebody (2016), [arXiv 1603.09420](https://arxiv.org/abs/1603.09420)."


def test_the_picture_of_a_plan_is_that_of_the_equations(pagemaker: ModuleType) -> None:
    """A GRU reads three rows of the input a step, keeps r, z, n and a product, and hands out two gradients of three."""
    words = " ".join(text.get_text() for text in pagemaker.recurrence.plan().axes[0].texts)
    assert re.findall(r"(\d)H", words) == ["3", "6", "4"]


@pytest.mark.needs("docs")
def test_the_site_searches_from_the_disk_and_asks_no_network(pagemaker: ModuleType) -> None:
    from mkdocs.config import load_config

    config = load_config(str(ROOT / "docs" / "mkdocs.yml"))
    assert {"material/search", "material/offline"} <= set(config.plugins)
    for script in config.extra["polyfills"]:  # what the plugin would take from elsewhere, by the name it looks for
        assert "iframe-worker" in script
        assert "IFrameWorker" in (ROOT / "docs" / "pages" / script).read_text(encoding="utf-8")


@pytest.mark.needs("docs")
def test_a_wide_table_gets_the_place_of_the_table_of_contents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    hooks = importlib.import_module("hooks")
    for columns, hidden in ((3, None), (12, ["toc"])):
        page = SimpleNamespace(file=SimpleNamespace(src_uri="some.md"), meta={})
        hooks.on_page_markdown("text\n\n" + table_of(columns), page, None, None)
        assert page.meta.get("hide") == hidden


def table_of(columns: int) -> str:
    """A table of Markdown with so many columns."""
    return "\n".join("| " + " | ".join([cell] * columns) + " |" for cell in ("a", "---", "b"))
