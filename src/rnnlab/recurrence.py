"""Stacked, perhaps bidirectional, recurrent layers behind what stands in front of them."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rnnlab.blocks import Block, Kind, Merge, merged
from rnnlab.cells.cell import Cell, map_state, reverse_valid
from rnnlab.cells.recurrent_dropout import RecurrentDropout
from rnnlab.cells.short_convolution import Convolved
from rnnlab.cells.zoneout import Zoneout, with_masks
from rnnlab.dropout import LayerDropout, drops
from rnnlab.elapsed import declares, informed, to_the_next
from rnnlab.errors import InputError
from rnnlab.front import Front
from rnnlab.shapes import Inputs, Lengths, State

CellFactory = Callable[[int, int], Cell[Any]]
NetworkState = tuple[State, ...]
"""One cell state a layer and, where n-grams are read, the tokens before; only a network of one direction hands it in
and out.
"""
Run = Callable[..., tuple[Tensor, State]]
"""``run(cell, x, start, lengths)`` takes one direction of one layer over time."""


class Recurrence(Front):
    """The second part of a :class:`rnnlab.network.Network`, whose arguments these are.

    Args:
        front: arguments of :class:`rnnlab.front.Front`.
        cells: of each layer, called with ``(input_size, hidden_size)`` for each direction.
        sizes: units of each layer, for each direction.
        bidirectional: each layer also reads the sequence from its own end.
        merge: how the outputs of both directions become one.
        block: what stands around the recurrence of a layer (:mod:`rnnlab.blocks`).
        short_conv: steps that a convolution in front of each cell sees (:mod:`rnnlab.cells.short_convolution`).
        dropout: share of the units dropped between layers, or within blocks.
        recurrent_dropout: share of the units that no recurrent product reads.
        zoneout: share of the units that keep what they held one step before.
        initial_state: ``zero``, or ``learned`` with the weights.
    """

    def __init__(
        self,
        front: dict[str, Any],
        cells: Sequence[CellFactory],
        sizes: Sequence[int],
        bidirectional: bool,
        merge: Merge,
        block: Kind,
        short_conv: int | None,
        dropout: float,
        recurrent_dropout: float,
        zoneout: float,
        initial_state: Literal["zero", "learned"],
    ) -> None:
        super().__init__(**front)
        self.decodes, self.rebuilds = False, False
        self.sizes, self.num_layers, self.bidirectional = tuple(sizes), len(sizes), bidirectional
        self.merge, self.block = merge, block
        self.hidden_size = sizes[-1]
        """Units of the last layer, for each direction."""
        directions = 2 if bidirectional else 1
        self.short_conv = short_conv
        self.widths = widths = [size * (directions if merge == "concat" else 1) for size in sizes]
        """Of what each layer puts out."""
        self.units = widths[-1]
        """Of each step of the hidden sequence."""

        def build(factory: CellFactory, given: int, size: int, masks: Sequence[Sequence[int]]) -> Cell[Any]:
            factory, more = informed(factory, self.elapsed is not None and not self.transposed, masks)
            cell = factory(given + more, size)
            if short_conv is not None:
                cell = Convolved(cell, short_conv)
            return Zoneout(cell, zoneout) if zoneout else cell

        given = [self.width, *widths[:-1]]
        read = given if block == "plain" else widths  # by the cells, which a block's own layer is in front of
        # nothing but a plain stack hands the first layer the features of the data as they are
        masks = self.masks if block == "plain" and short_conv is None else ()
        self.hides_masks = bool(front["input"].masks) and not masks and declares(cells[0], "uses_masks")
        """Whether the first layer could use what says that a value is missing, and can't tell where that is."""
        self.layers = nn.ModuleList(
            nn.ModuleList(build(factory, inside, size, () if number else masks) for _ in range(directions))
            for number, (factory, inside, size) in enumerate(zip(cells, read, sizes, strict=True))
        )
        self.blocks = nn.ModuleList(
            Block(block, before, width) for before, width in zip(given, widths, strict=True) if block != "plain"
        )
        self.dropout = LayerDropout(dropout)
        self.recurrent_dropout = LayerDropout(recurrent_dropout) if recurrent_dropout else None
        self.zoneout = LayerDropout(zoneout) if zoneout else None
        self._dropping = [RecurrentDropout(each, recurrent_dropout) for each in self.cells() if recurrent_dropout]
        # no modules of their own: they have the cells of those whose masks are their mean
        self._drawn = [
            Zoneout(each.cell, zoneout, drawn=True) for each in self.cells() if isinstance(each, Zoneout)
        ]  # fmt: skip
        self.initial = nn.ParameterList()
        if initial_state == "learned":
            for each in self.cells():
                state = each.initial_state(1)
                for part in state if isinstance(state, tuple) else (state,):
                    self.initial.append(nn.Parameter(part.detach().clone()))

    @property
    def apart(self) -> bool:
        """Whether the units of both directions stand side by side in the hidden sequence."""
        return self.merge == "concat" and self.block == "plain"

    @property
    def streams(self) -> bool:
        """Whether a state can be carried from one chunk of a sequence to the next."""
        return not self.bidirectional and self.whole is None and not (self.decodes or self.rebuilds)

    @property
    def state_parts(self) -> int:
        """Parts of the state that is carried."""
        return self.num_layers + (self.ngrams is not None)

    def cells(self) -> list[Cell[Any]]:
        """All cells: layer by layer, the forward direction before the backward one."""
        layers: Any = self.layers  # lists of cells, of which torch knows that they are modules
        return [cell for layer in layers for cell in layer]

    def initial_state(self, batch_size: int) -> list[State]:
        """The state of each cell of :meth:`cells` before the first step, zero or learned; then the tokens before."""
        states = [cell.initial_state(batch_size) for cell in self.cells()]
        if self.initial:
            learned = iter(self.initial)
            states = [map_state(lambda zero: next(learned).expand_as(zero), state) for state in states]
        if self.ngrams is not None:
            states.append(self.ngrams.start(batch_size))
        return states

    def check_state(self, state: Any, batch_size: int, tracing: bool) -> None:
        """Holds what a caller hands in, whatever its annotation says, against :data:`NetworkState`.

        Raises:
            InputError: it is none.
        """
        if not isinstance(state, tuple | list) or len(state) != self.state_parts:
            has = f"{len(state)} parts" if isinstance(state, tuple | list) else f"a {type(state).__name__}"
            raise InputError(
                f"the state of a network is a tuple of one cell state a layer, {self.num_layers} of them"
                f"{', and the tokens before' if self.ngrams is not None else ''}; it has {has}"
            )
        if self.ngrams is not None and not tracing:
            self.ngrams.check(state[-1], batch_size)

    def run_layers(
        self,
        run: Run,
        inputs: Inputs,
        starts: Sequence[State],
        lengths: Lengths | None = None,
        maps: Tensor | None = None,
    ) -> tuple[Tensor, NetworkState]:
        """From the input to the hidden sequence, and the state in which each layer leaves each sequence, reading
        forwards.

        Args:
            run: see :data:`Run`.
            inputs: as :meth:`rnnlab.network.Network.forward`.
            starts: as :meth:`initial_state` gives them.
            lengths: ``(batch,)`` valid steps of each sequence.
            maps: of an image encoder, where they are there already.
        """
        cells = enumerate(zip(self.cells(), starts, strict=self.ngrams is None))
        before: Any = None if self.ngrams is None else starts[-1]
        x, beside, inside, elapsed = self.read_in(inputs, before, lengths, maps)
        final: list[State] = []
        for layer in range(self.num_layers):
            block: Any = self.blocks[layer] if self.blocks else None
            if block is not None:
                past, x = block.before(x, inside)
            elif layer:
                x = self.dropout(x)
            number, (cell, start) = next(cells)
            read = x if elapsed is None or not cell.elapsed else torch.cat([x, elapsed], -1)
            output, last = self._regularized(run, number, cell, read, start, inside)
            final.append(last)
            if self.bidirectional:
                number, (cell, start) = next(cells)
                read = x if elapsed is None or not cell.elapsed else torch.cat([x, to_the_next(elapsed, inside)], -1)
                behind, _ = self._regularized(run, number, cell, reverse_valid(read, inside), start, inside)
                output = merged(self.merge, output, reverse_valid(behind, inside))
            x = output if block is None else block.after(past, output, self.dropout, inside)
        if beside is not None:
            x = torch.cat([x, beside[:, None].expand(-1, x.shape[1], -1)], -1)
        if self.ngrams is not None and self.streams:
            final.append(self.ngrams.after(inputs, before, lengths))
        return x, tuple(final)

    def _regularized(
        self, run: Run, number: int, cell: Cell[Any], x: Tensor, start: State, lengths: Lengths | None
    ) -> tuple[Tensor, State]:
        """Cell ``number`` over time; in training with what recurrent dropout and zoneout draw for it."""
        if self.zoneout is not None and drops(self.zoneout):
            zoned = self._drawn[number]
            x = with_masks(x, self.zoneout(x.new_ones(*x.shape[:2], zoned.width)).sign())
            cell = zoned
        if self.recurrent_dropout is not None and drops(self.recurrent_dropout):
            kept = self.recurrent_dropout(next(cell.parameters()).new_ones(cell.hidden_size))
            return self._dropping[number](run, cell, kept, x, start, lengths)
        return run(cell, x, start, lengths)


def each_layer(
    cell: CellFactory,
    cells: Sequence[CellFactory] | None,
    names: Sequence[str] | None,
    hidden_size: int | Sequence[int],
    num_layers: int,
) -> tuple[list[CellFactory], list[int]]:
    """The cell and the units of each layer, of the options of a network, in which a list counts the layers.

    Raises:
        InputError: lists of several lengths, or names that nobody has made cells of.
    """
    if cells is None and names:
        raise InputError(
            f"model.layers=[{', '.join(names)}] names configs, which a command reads: in Python give cells=[...]"
        )
    counts = {f"model.num_layers={num_layers}": num_layers} if num_layers > 1 else {}
    if cells is not None:
        counts[f"model.layers=[{', '.join(names or ())}]"] = len(cells)
    if not isinstance(hidden_size, int):
        counts[f"model.hidden_size={list(hidden_size)}"] = len(hidden_size)
    if len(set(counts.values())) > 1:
        raise InputError(f"{' and '.join(counts)} are of different numbers of layers: give as many of each")
    number = next(iter(counts.values()), num_layers)
    sizes = [hidden_size] * number if isinstance(hidden_size, int) else list(hidden_size)
    return list(cells) if cells is not None else [cell] * number, sizes
