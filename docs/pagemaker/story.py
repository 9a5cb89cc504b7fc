"""The notebook as a page: with the outputs of its last execution, where that was of the same cells."""

from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "docs" / "story.ipynb"
EXECUTED = ROOT / "build" / "story.ipynb"
"""Where ``tests/test_notebook.py`` leaves it."""


def files() -> Iterator[tuple[str, str | bytes]]:
    """The page and its pictures."""
    notebook = nbformat.read(SOURCE, as_version=4)
    executed = _code(nbformat.read(EXECUTED, as_version=4)) if EXECUTED.is_file() else []
    current = [cell.source for cell in executed] == [cell.source for cell in _code(notebook)]
    if current:
        for cell, done in zip(_code(notebook), executed, strict=True):
            cell.outputs = done.outputs
    text, resources = MarkdownExporter().from_notebook_node(notebook)
    title, _, rest = text.partition("\n")
    hint = 'Shown without its outputs; `make test-all ARGS="-k notebook"` executes it, and `make docs` shows them then.'
    yield "story.md", title + ("" if current else f"\n\n*{hint}*\n") + f"\n{rest}"
    yield from (resources.get("outputs") or {}).items()


def _code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]
