"""What is about to be trained, on what, printed before it starts."""

from pathlib import Path

from rich.table import Table

from rnnlab.data.sequence import SequenceData
from rnnlab.instruments.console import console
from rnnlab.tasks.task import Task


def print_summary(task: Task, data: SequenceData, device: str, threads: int, directory: Path) -> None:
    """Prints the network as Keras users know it (layer, output shape, parameters), the data and the device."""
    out = console()
    spec = data.spec
    table = Table(title="Network", title_justify="left", title_style="bold", show_edge=False, pad_edge=False)
    table.add_column("Layer")
    table.add_column("Output shape")
    table.add_column("Parameters", justify="right")
    rows = task.network.summary(spec.length)
    for row in rows:
        table.add_row(row.name, str(row.shape), f"{row.parameters:,}")
    table.add_section()
    table.add_row("Total", "", f"{sum(row.parameters for row in rows):,}", style="bold")
    out.print(table)
    sizes = " / ".join(str(data.size(split)) for split in ("train", "val", "test"))
    kind = _count(spec.input.features, "feature") if spec.input.features else f"one of {spec.input.vocabulary} tokens"
    size = spec.target.size
    wanted = {
        "values": f"{_count(size, 'value')} a step",
        "value": _count(size, "value"),
        "class": f"one of {size} classes",
        "tokens": f"one of {size} tokens a step",
    }[spec.target.kind]
    out.print(
        f"[bold]Data[/]   {type(data).__name__}: {sizes} sequences (train / val / test), up to {spec.length} steps of "
        f"{kind} → {wanted}"
    )
    if spec.note:
        out.print(f"       [yellow]{spec.note}[/]")
    out.print(f"[bold]Device[/] {device}, {threads} thread{'s' if threads > 1 else ''}")
    out.print(f"[bold]Run[/]    {directory}\n", markup=True)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' if number != 1 else ''}"
