"""The notebook as a page with its outputs: of an execution of the same cells that was kept, or else of a new one."""

import datetime
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "docs" / "story.ipynb"
EXECUTED = ROOT / "build" / "story.ipynb"
"""Where an execution is kept, since it takes a minute or two."""


def files() -> Iterator[tuple[str, str | bytes]]:
    """The page and its pictures."""
    notebook = kept()
    if notebook is None:
        print("executing docs/story.ipynb, a minute or two; its outputs are kept in build/", flush=True)
        notebook = execute()
    text, resources = MarkdownExporter().from_notebook_node(notebook)
    title, _, rest = text.partition("\n")
    when = notebook.metadata["executed"]
    yield "story.md", f"{title}\n\n*Executed on {when}; `docs/story.ipynb` is the notebook, without outputs.*\n{rest}"
    yield from (resources.get("outputs") or {}).items()


def kept() -> nbformat.NotebookNode | None:
    """The last execution with the text of now, if it was of the cells of now."""
    if not EXECUTED.is_file():
        return None
    executed, now = (nbformat.read(file, as_version=4) for file in (EXECUTED, SOURCE))
    if "executed" not in executed.metadata or [c.source for c in _code(executed)] != [c.source for c in _code(now)]:
        return None
    for cell, done in zip(_code(now), _code(executed), strict=True):
        cell.outputs = done.outputs
    now.metadata["executed"] = executed.metadata["executed"]
    return now


def execute() -> nbformat.NotebookNode:
    """Runs the notebook by this Python and keeps it with its outputs.

    Raises:
        CellExecutionError: a cell fails.
    """
    # the rnnlab and the Python of this environment, whether it is activated or not
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    notebook = nbformat.read(SOURCE, as_version=4)
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", coalesce_streams=True)
    client.execute(env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"})
    notebook.metadata["executed"] = datetime.date.today().isoformat()
    EXECUTED.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, EXECUTED)
    return notebook


def _code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]
