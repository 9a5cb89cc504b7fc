"""The notebooks as pages with their outputs: of an execution of the same cells that was kept, or else of a new one."""

import datetime
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs"
EXECUTED = ROOT / "build"
"""Where executions are kept, since each takes a minute or two."""


def files() -> Iterator[tuple[str, str | bytes]]:
    """The pages and their pictures."""
    for source in sorted(FOLDER.glob("*.ipynb")):
        yield from page(source)


def page(source: Path) -> Iterator[tuple[str, str | bytes]]:
    """One page and its pictures."""
    notebook = kept(source)
    if notebook is None:
        print(f"executing docs/{source.name}, a minute or two; its outputs are kept in build/", flush=True)
        notebook = execute(source)
    exported = {"unique_key": source.stem, "output_files_dir": source.stem}
    text, resources = MarkdownExporter().from_notebook_node(notebook, resources=exported)
    title, _, rest = text.partition("\n")
    when = notebook.metadata["executed"]
    told = f"*Executed on {when}; `docs/{source.name}` is the notebook, without outputs, and `make notebook` opens it.*"
    yield f"{source.stem}.md", f"{title}\n\n{told}\n{rest}"
    yield from (resources.get("outputs") or {}).items()


def kept(source: Path) -> nbformat.NotebookNode | None:
    """The last execution with the text of now, if it was of the cells of now."""
    file = EXECUTED / source.name
    if not file.is_file():
        return None
    executed, now = (nbformat.read(each, as_version=4) for each in (file, source))
    if "executed" not in executed.metadata or [c.source for c in _code(executed)] != [c.source for c in _code(now)]:
        return None
    for cell, done in zip(_code(now), _code(executed), strict=True):
        cell.outputs = done.outputs
    now.metadata["executed"] = executed.metadata["executed"]
    return now


def execute(source: Path) -> nbformat.NotebookNode:
    """Runs a notebook by this Python and keeps it with its outputs.

    Raises:
        CellExecutionError: a cell fails.
    """
    # the rnnlab and the Python of this environment, whether it is activated or not
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    notebook = nbformat.read(source, as_version=4)
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", coalesce_streams=True)
    client.execute(env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"})
    notebook.metadata["executed"] = datetime.date.today().isoformat()
    EXECUTED.mkdir(exist_ok=True)
    nbformat.write(notebook, EXECUTED / source.name)
    return notebook


def _code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]
