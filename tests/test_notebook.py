"""The notebooks of the documentation run from end to end; ``make docs`` then shows their outputs."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.needs("docs")

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "docs").glob("*.ipynb"))

PICTURES = {"story": 6, "own_series": 1, "own_sequences": 1, "own_cell_notebook": 0}
"""How many each shows; the story's are the forecast, three gradients, the confusion matrix and the
attention."""


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_it_is_committed_without_outputs(source: Path) -> None:
    import nbformat

    notebook = nbformat.read(source, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert [cell.source for cell in code if cell.outputs or cell.execution_count] == []


@pytest.fixture
def notebooks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    return importlib.import_module("pagemaker.notebooks")


def test_the_page_shows_the_outputs_that_are_kept_as_long_as_they_are_of_these_cells(
    notebooks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

    source = tmp_path / "story.ipynb"
    monkeypatch.setattr(notebooks, "FOLDER", tmp_path)
    monkeypatch.setattr(notebooks, "EXECUTED", tmp_path / "build")
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Story"), new_code_cell("print(6 * 7)")]), source)
    runs = []

    def execute(client: Any, **_: Any) -> None:
        runs.append(client)
        client.nb.cells[1].outputs = [new_output("stream", text="42\n")]

    monkeypatch.setattr(notebooks.NotebookClient, "execute", execute)
    for _ in range(2):
        ((name, text),) = notebooks.files()
        assert name == "story.md"
        assert "42" in text
        assert "*Executed on 20" in text
    assert len(runs) == 1
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Story"), new_code_cell("print(42)")]), source)
    list(notebooks.files())
    assert len(runs) == 2


# its kernel's sockets are closed by the collector, and asyncio's own notices are none of ours
@pytest.mark.filterwarnings("default")
@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "count"), PICTURES.items())
def test_it_runs_and_shows_what_it_speaks_of(name: str, count: int, notebooks: ModuleType) -> None:
    notebook = notebooks.execute(ROOT / "docs" / f"{name}.ipynb")
    outputs = {cell.source: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    for source, shown in outputs.items():  # a training that fails has raised
        if "rnnlab.train(" in source or "rnnlab.sweep(" in source:
            assert shown, source
    pictures = [each for shown in outputs.values() for each in shown if "image/png" in each.get("data", {})]
    assert len(pictures) == count
