"""Several trained runs that predict together."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rnnlab.data.sequence import SequenceData
from rnnlab.errors import InputError
from rnnlab.network import Network, NetworkState
from rnnlab.runs.checkpoint import fit_weights, read_checkpoint
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.evaluation import test
from rnnlab.runs.preparation import Run, prepare
from rnnlab.shapes import Inputs, Lengths

OWN_TO_A_MEMBER = ("shuffle_seed", "batch_size", "num_workers", "bucket", "augmentation", "patch")
"""Options of the data in which members may differ: they change how a run meets its training data, and not its test, or
how many of its steps are read at once.
"""


class Ensemble(nn.Module):
    """Networks in the place of one: each carries its own state, and their outputs become one.

    Args:
        members: networks for the same data.
        combine: ``(members, …)`` outputs to the ``(…)`` output of them all; see :meth:`rnnlab.tasks.task.Task.combine`.
        patches: steps that each member reads at once, of single steps; none: inputs are as all read them.
    """

    def __init__(
        self, members: Sequence[Network], combine: Callable[[Tensor], Tensor], patches: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.combine = combine
        self.patches = patches or [1] * len(members)
        self.bidirectional = any(member.bidirectional for member in members)
        self.streams = all(member.streams for member in members) and set(self.patches) == {1}

    @property
    def _networks(self) -> list[Network]:
        return [member for member in self.members if isinstance(member, Network)]

    def read_lengths(self, lengths: Lengths | None) -> Lengths | None:
        """As :meth:`rnnlab.network.Network.read_lengths`, of members that make as many steps."""
        return self._networks[0].read_lengths(lengths)

    def forward(
        self, inputs: Inputs, state: NetworkState | None = None, lengths: Lengths | None = None
    ) -> tuple[Tensor, NetworkState]:
        """As :meth:`rnnlab.network.Network.forward`; the state is that of all members, one after the other."""
        read = {patch: in_patches(inputs, lengths, patch) for patch in self.patches}
        patches = iter(self.patches)

        def predict(member: Network, own: Any) -> tuple[Tensor, NetworkState]:
            x, valid = read[next(patches)]
            return member(x, own, valid)

        return self._of_all(predict, state)

    def step(self, inputs: Inputs, state: NetworkState) -> tuple[Tensor, NetworkState]:
        """As :meth:`rnnlab.network.Network.step`."""
        return self._of_all(lambda member, own: member.step(inputs, own), state)

    def _of_all(
        self, predict: Callable[[Network, Any], tuple[Tensor, NetworkState]], state: NetworkState | None
    ) -> tuple[Tensor, NetworkState]:
        outputs: list[Tensor] = []
        after: list[Any] = []
        for member in self._networks:
            own = None
            if state is not None and self.streams:
                own, state = state[: member.state_parts], state[member.state_parts :]
            output, final = predict(member, own)
            outputs.append(output)
            after += final
        return self.combine(torch.stack(outputs)), tuple(after)


class AllOf(NamedTuple):
    """What each member has read, or the state of each decoder."""

    parts: tuple[Any, ...]

    @property
    def hidden(self) -> Tensor:
        """That of the first one's memory."""
        hidden: Tensor = self.parts[0].hidden
        return hidden

    def select(self, rows: Tensor) -> "AllOf":
        """Of these sequences alone, some perhaps several times."""
        return AllOf(tuple(part.select(rows) for part in self.parts))


class Speakers(nn.Module):
    """Networks with decoders in the place of one: at each step they say what they find probable together.

    Args:
        members: networks for the same data, which may differ in everything else.
        combine: as of :class:`Ensemble`.
    """

    streams = False

    def __init__(self, members: Sequence[Network], combine: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.members, self.combine = list(members), combine
        self.modules_of_members = nn.ModuleList(members)
        self.decoder = members[0].decoder

    def encode(self, inputs: Inputs, lengths: Lengths | None = None) -> tuple[AllOf, AllOf]:
        """As :meth:`rnnlab.network.Network.encode`."""
        memories, states = zip(*(member.encode(inputs, lengths) for member in self.members), strict=True)
        return AllOf(memories), AllOf(states)

    def say(self, tokens: Tensor, state: AllOf, memory: AllOf) -> tuple[Tensor, AllOf, Tensor | None]:
        """As :meth:`rnnlab.network.Network.say`."""
        told = [
            member.say(tokens, own, read)
            for member, own, read in zip(self.members, state.parts, memory.parts, strict=True)
        ]
        scores, after, weights = zip(*told, strict=True)
        return self.combine(torch.stack(scores)), AllOf(after), mean_attention(weights)

    def teach(
        self, inputs: Inputs, targets: Tensor, lengths: Lengths | None = None, forced: float = 1.0
    ) -> tuple[Tensor, Tensor | None]:
        """As :meth:`rnnlab.network.Network.teach`."""
        scores, weights = zip(*(member.teach(inputs, targets, lengths, forced) for member in self.members), strict=True)
        return self.combine(torch.stack(scores)), mean_attention(weights)


def mean_attention(weights: Sequence[Tensor | None]) -> Tensor | None:
    """The mean of several attentions; ``None`` where one has none, or they look at other steps."""
    kept = [weight for weight in weights if weight is not None]
    if len(kept) < len(weights) or len({each.shape for each in kept}) > 1:
        return None
    return torch.stack(kept).mean(0)


def together(
    members: Sequence[Network], combine: Callable[[Tensor], Tensor], patches: Sequence[int] = ()
) -> Ensemble | Speakers:
    """Several networks in the place of one."""
    if all(member.decodes for member in members):
        return Speakers(members, combine)
    return Ensemble(members, combine, patches)


def in_patches(inputs: Tensor, lengths: Lengths | None, patch: int) -> tuple[Tensor, Lengths | None]:
    """What :func:`rnnlab.data.feature_reader.patched` makes of each sequence, for a padded batch of them.

    Args:
        inputs: ``(batch, time, features)``.
        lengths: ``(batch,)`` valid steps.
        patch: steps side by side.

    Returns:
        ``(batch, ⌈time / patch⌉, patch * features)``, and the lengths of that.
    """
    if patch == 1:
        return inputs, lengths
    batch, time, _ = inputs.shape
    if lengths is not None:
        last = inputs[torch.arange(batch, device=inputs.device), lengths - 1]
        beyond = torch.arange(time, device=inputs.device) >= lengths[:, None]
        inputs = torch.where(beyond[..., None], last[:, None], inputs)
        lengths = torch.div(lengths + patch - 1, patch, rounding_mode="floor")
    inputs = torch.cat([inputs, inputs[:, -1:].expand(-1, -time % patch, -1)], 1)
    return inputs.unflatten(1, (-1, patch)).flatten(2), lengths


def single_steps(data: SequenceData) -> SequenceData:
    """The same data, its steps one by one where they were read several at once."""
    return replace(data, patch=1) if patch_of(data) > 1 else data  # type: ignore[call-arg]  # data of such a patch have it


def patch_of(data: Any) -> int:
    """Steps that data, or a reader of new data, puts side by side."""
    return int(getattr(data, "patch", 1))


@dataclass(frozen=True)
class Member:
    """A trained run and the config under which it predicts here."""

    directory: RunDirectory
    config: dict[str, Any]


@dataclass(frozen=True)
class Together:
    """Test scores of an ensemble and of each of its members on the same data."""

    members: list[dict[str, float]]
    ensemble: dict[str, float]

    def mean(self, score: str) -> float:
        """Of the members; not a number where one of them has no such score."""
        values = [member.get(score, float("nan")) for member in self.members]
        return sum(values) / len(values)


def load(members: Sequence[Member], allow: Sequence[str] = ()) -> list[Run]:
    """The members, built and with their best weights.

    Raises:
        InputError: one has no checkpoint, or they were trained on different data or for different objectives.
    """
    first = members[0]
    for member in members[1:]:
        check_alike(first, member)
    runs: list[Run] = []
    for member in members:
        path = member.directory.best_checkpoint
        checkpoint = read_checkpoint(path)
        run = prepare(member.config, allow, trained=checkpoint, machine=False)
        fit_weights(run.task, checkpoint, path)
        if runs and run.data.spec.target != runs[0].data.spec.target:
            raise InputError(f"{member.directory.path} predicts other things than {first.directory.path}")
        if runs:
            check_learned(runs[0].data.state_dict(), run.data.state_dict(), first, member)
        runs.append(run)
    return runs


def check_learned(ours: Mapping[str, Any], theirs: Mapping[str, Any], first: Member, other: Member) -> None:
    """Refuses members that number or scale the same data otherwise, as of a file that changed in between.

    Raises:
        InputError: naming what they learned otherwise.
    """
    for name in {**ours, **theirs}:
        if name == "patch":
            continue
        # as text, in which what is no number equals itself
        if json.dumps(ours.get(name)) != json.dumps(theirs.get(name)):
            raise InputError(
                f"{_shown(other.directory.path)} and {_shown(first.directory.path)} have learned different things from "
                f"their training data ({name}), so that they cannot predict together: train both on the same file"
            )


def check_alike(first: Member, other: Member) -> None:
    """Refuses members whose test data could be what another one was trained on.

    Raises:
        InputError: their data or task differ.
    """
    names = [_shown(each.directory.path) for each in (other, first)]
    for part in ("data", "task"):
        ours, theirs = (_flat(each.config[part]) for each in (first, other))
        for key in [*ours, *theirs]:
            if key.split(".")[0] not in OWN_TO_A_MEMBER and ours.get(key) != theirs.get(key):
                raise InputError(
                    f"{names[0]} has {part}.{key}={theirs.get(key)}, and {names[1]} {ours.get(key)}: members of an "
                    f"ensemble share their data and their task (give {part}.{key}=… to test all of them on the same)"
                )


def join(runs: Sequence[Run]) -> Run:
    """One run of several: the first one's task and data, the networks of all."""
    task = runs[0].task
    networks, patches = [run.task.network for run in runs], [patch_of(run.data) for run in runs]
    if len(set(patches)) > 1:
        runs[0].data = single_steps(runs[0].data)
    else:
        patches = []
    task.add_module("network", together(networks, task.combine, patches))
    return runs[0]


def evaluate_together(members: Sequence[Member], allow: Sequence[str] = ()) -> Together:
    """Tests each member and all of them together, on the first one's test data.

    Raises:
        InputError: as :func:`load`.
    """
    runs = load(members, allow)
    alone = []
    for run in runs:
        if patch_of(run.data) == patch_of(runs[0].data):
            run.data = runs[0].data
        alone.append(test(run, members[0].directory))
    return Together(alone, test(join(runs), members[0].directory))


def _flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in options.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _shown(path: Path) -> str:
    return path.name
