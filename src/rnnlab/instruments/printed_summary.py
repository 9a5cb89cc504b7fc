"""What is about to be trained, on what, printed before it starts."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from rnnlab.data.sequence import SequenceData
from rnnlab.instruments.console import console
from rnnlab.summary import elapsed_in_words
from rnnlab.tasks.task import Task


def print_summary(
    task: Task,
    data: SequenceData,
    device: str,
    threads: int,
    directory: Path,
    begun: Sequence[str] = (),
    budget: str = "",
) -> None:
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
    cells = [module for module in task.network.modules() if type(module).__name__ in ("RNN", "LSTM")]
    twice = sum(parameter.numel() for cell in cells for name, parameter in cell.named_parameters() if name == "bias_hh")
    if twice:
        out.print(f"(two biases a layer, as in torch.nn; Keras has one and so {twice:,} parameters fewer)", style="dim")
    sizes = " / ".join(str(data.size(split)) for split in ("train", "val", "test"))
    steps = _count(spec.length, "step") if data.split("train").lengths is None else f"up to {spec.length} steps"
    out.say(
        "Data  ",
        f"{type(data).__name__}: {sizes} sequences (train / val / test), {steps} of {spec.input.in_words} "
        f"→ {spec.target.in_words}",
    )
    if spec.note:
        out.print(f"       {spec.note}", style="yellow")
    if said := elapsed_in_words(task.network):
        out.say("Times ", said)
    frozen = sum(p.numel() for p in task.network.parameters() if not p.requires_grad)
    for line in begun:
        out.say("Init  ", line)
    if frozen:
        out.say("Frozen", f"{frozen:,} parameters")
    if budget:
        out.say("Budget", budget)
    out.say("Device", f"{device}, {_count(threads, 'thread')}")
    out.say("Run   ", f"{directory}\n")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' if number != 1 else ''}"
