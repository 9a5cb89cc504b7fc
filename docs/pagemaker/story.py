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
    executed = nbformat.read(EXECUTED, as_version=4) if EXECUTED.is_file() else None
    current = executed is not None and _sources(executed) == _sources(notebook)
    text, resources = MarkdownExporter().from_notebook_node(executed if current else notebook)
    title, _, rest = text.partition("\n")
    hint = 'Shown without its outputs; `make test-all ARGS="-k notebook"` executes it, and `make docs` shows them then.'
    note = "" if current else f"\n*{hint}*\n"
    yield "story.md", f"{title}\n{note}{rest}"
    yield from (resources.get("outputs") or {}).items()


def _sources(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells]
