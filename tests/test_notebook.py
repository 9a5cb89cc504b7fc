"""The notebook of the documentation runs from its first cell to its last; ``make docs`` then shows its outputs."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.needs("docs")

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "docs" / "story.ipynb"


def test_it_is_committed_without_outputs() -> None:
    import nbformat

    notebook = nbformat.read(SOURCE, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert [cell.source for cell in code if cell.outputs or cell.execution_count] == []


# its kernel's sockets are closed by the collector, and asyncio's own notices are none of ours
@pytest.mark.filterwarnings("default")
@pytest.mark.slow
def test_it_runs_and_shows_what_it_speaks_of(monkeypatch: pytest.MonkeyPatch) -> None:
    import nbclient
    import nbformat

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(SOURCE, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", coalesce_streams=True).execute()

    outputs = {cell.source: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    for source, shown in outputs.items():  # a command that fails has raised
        if source.startswith("%%bash"):
            assert "".join(each.get("text", "") for each in shown).strip(), source
    pictures = [each for shown in outputs.values() for each in shown if "image/png" in each.get("data", {})]
    assert len(pictures) == 5  # the forecast, three gradients, the confusion matrix

    executed = ROOT / "build" / "story.ipynb"
    executed.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, executed)
