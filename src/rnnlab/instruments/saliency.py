"""Which steps of the input a prediction hangs on."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from rnnlab.instruments import style
from rnnlab.instruments.instrument import Instrument, Picture, Table
from rnnlab.instruments.sequence_plot import draw_input
from rnnlab.instruments.subject import Subject, at_rest, cropped
from rnnlab.network import Network
from rnnlab.spec import IGNORED, Batch

SEQUENCES = 32
SHOWN = 3
POINTS = 32
"""Of the integral; with more the sum of the shares comes closer to what it should be."""


@dataclass(frozen=True)
class Explained:
    """One prediction and what each step has to do with it.

    Attributes:
        number: of the sequence.
        inputs: ``(time, features)`` or ``(time,)``.
        what: is explained, in words.
        gradient: ``(time,)`` norm of its gradient at each step's input.
        integrated: ``(time,)`` integrated gradients, signed: they sum to ``change``.
        change: of what is explained, from an input of nothing but zeros to this one.
    """

    number: int
    inputs: Tensor
    what: str
    gradient: np.ndarray
    integrated: np.ndarray
    change: float


@dataclass(frozen=True)
class Attribution:
    """Of some chosen sequences, and over several.

    Attributes:
        chosen: one by one.
        profile: ``(time,)`` share of each step in the sum of gradient norms, over sequences of the commonest length.
        sequences: so many of them.
        what: is explained.
    """

    chosen: list[Explained]
    profile: np.ndarray
    sequences: int
    what: str


class Saliency(Instrument[Attribution]):
    """How much a prediction would change with each step of its input.

    What is explained is the logarithm of the probability of the class (or of
    the last token that is asked) that the network decides for, or the value
    that it predicts (at the last step). Of tokens the input is their embedding.

    gradient
        its norm at each step (K. Simonyan, A. Vedaldi & A. Zisserman, 2013, arXiv 1312.6034): what a small change
        would do.
    integrated gradients
        M. Sundararajan, A. Taly & Q. Yan, "Axiomatic attribution for deep networks" (2017), arXiv 1703.01365,
        equation 1, from an input of zeros: what each step has added to the prediction.
    """

    of_gradients = True
    rank = 30
    title = "Saliency: which steps the prediction hangs on"
    reading = (
        "Dark steps of the upper strip are those where a small change would change the prediction most; in the lower "
        "one red steps have raised what is explained and blue ones have lowered it, beside an input of zeros (colours "
        "go with the square root). At the bottom the mean share of each step over many sequences; dashed: all alike."
    )

    def measure(self, subject: Subject) -> Attribution:
        chosen = []
        for number in subject.sequences[:SHOWN]:
            batch = cropped(subject.one(number))
            asked, what = question(subject, batch)
            gradient = gradients(subject, batch, asked).norm(dim=-1)[0]
            integrated, change = integrated_gradients(subject, batch, asked)
            chosen.append(
                Explained(number, batch.inputs[0], what, style.array(gradient), style.array(integrated.sum(-1)), change)
            )
        full = cropped(alike(subject, SEQUENCES))
        asked, what = question(subject, full)
        norms = gradients(subject, full, asked).double().norm(dim=-1)
        shares = norms / norms.sum(1, keepdim=True).clamp_min(1e-300)
        kind = "the decision" if subject.task.spec.target.categorical else "what is predicted"
        return Attribution(chosen, style.array(shares.mean(0)), len(shares), kind)

    def draw(self, subject: Subject, measured: Attribution) -> Picture:
        rows = len(measured.chosen)
        fig = style.figure(
            "Saliency: which steps the prediction hangs on",
            f"{subject.called} sequences, and at the bottom the mean over {measured.sequences} of them",
            width=9.5,
            height=(1.25 if subject.token_names else 1.95) * rows + 2.0,
        )
        high = 0.4 if subject.token_names else 1.25
        grid = fig.subplots(3 * rows + 1, 1, height_ratios=(*[high, 0.28, 0.28] * rows, 1.6))
        longest = max(len(measured.profile), *(len(each.inputs) for each in measured.chosen))
        for row, each in enumerate(measured.chosen):
            axes = grid[3 * row : 3 * row + 3]
            draw_input(axes[0], subject, each.inputs)
            for ax in axes:
                ax.set_xlim(-0.5, longest - 0.5)
            axes[0].tick_params(labelbottom=False)
            axes[0].set_title(
                style.plain(f"sequence {subject.name_of(each.number)}: {each.what}"),
                size=style.LABEL,
                color=style.INK,
                loc="left",
            )
            _strip(axes[1], each.gradient, "gradient", "Greys")
            _strip(axes[2], each.integrated, "integrated", style.DIVERGING, signed=True)
            axes[1].tick_params(labelbottom=False)
        ax = style.dress(grid[-1], style.time_label(subject.task.spec), "mean share")
        steps = np.arange(len(measured.profile))
        ax.bar(steps, measured.profile, width=0.9, color=style.BLUE)
        ax.set_xlim(-0.5, longest - 0.5)
        ax.axhline(1 / len(steps), color=style.QUIET, linestyle="--", linewidth=1.0)
        style.whole_numbers(ax.xaxis)
        if grid[0].get_legend_handles_labels()[0]:
            style.legend(fig, grid[0])
        most = int(measured.profile.argmax())
        table = Table(
            ("sequence", "what is explained", "step of the largest gradient", "its share", "integrated, sum", "change"),
            [
                (
                    subject.name_of(each.number),
                    each.what,
                    int(each.gradient.argmax()),
                    float(each.gradient.max() / (each.gradient.sum() or 1)),
                    float(each.integrated.sum()),
                    each.change,
                )
                for each in measured.chosen
            ],
        )
        return Picture(fig, table, {"saliency": _most(measured.profile, most)})

    def compare(self, measured: Mapping[str, Attribution]) -> Picture:
        fig = style.figure(
            "Saliency: which steps the prediction hangs on",
            "share of each step in the gradient of the prediction, mean over sequences of the commonest length; "
            "dashed: all alike",
            width=9.0,
            height=4.0,
        )
        first = next(iter(measured.values()))
        ax = style.dress(fig.subplots(), "time step", "share of the gradient")
        for (name, each), colour in zip(measured.items(), style.colours(len(measured)), strict=True):
            marker = style.markers(len(each.profile))
            ax.plot(each.profile, color=colour, label=name, linewidth=2.0, marker=marker, markersize=3)
        ax.axhline(1 / len(first.profile), color=style.QUIET, linestyle="--", linewidth=1.0)
        ax.set_yscale("log")
        lowest = min(float(each.profile[each.profile > 0].min(initial=1)) for each in measured.values())
        ax.set_ylim(bottom=max(lowest / 2, 1e-9))
        style.whole_numbers(ax.xaxis)
        style.legend(fig, ax, where="outside right center")
        rows = [
            (name, int(each.profile.argmax()), float(each.profile.max()), float(each.profile[0]))
            for name, each in measured.items()
        ]
        return Picture(fig, Table(("run", "step of the largest share", "its share", "share of the first step"), rows))


Question = Callable[[Tensor], Tensor]
"""Of the network's output the ``(batch,)`` numbers that are explained."""


def question(subject: Subject, batch: Batch) -> tuple[Question, str]:
    """What is explained, settled by what the network says of the batch; and in words, of its first sequence."""
    task = subject.task
    with at_rest(task.network) as network, torch.no_grad():
        output = network(batch.inputs)[0]
    rows = torch.arange(len(output), device=output.device)
    names = style.names(task.spec)
    target = task.spec.target
    if target.classifies:
        decided = output.argmax(-1)
        said, truth = names[int(decided[0])], names[int(batch.targets[0])]
        probability = float(output[0].softmax(-1)[decided[0]])
        what = f"log p({said}) = log {probability:.2f}"
        if not subject.unanswered:
            what += ", right" if said == truth else f", and the truth is {truth}"
        return lambda out: out.log_softmax(-1)[rows, decided], what
    if target.categorical:
        last = _last_asked(batch.targets)
        decided = output[rows, last].argmax(-1)
        what = f"log p('{names[int(decided[0])]}') at step {int(last[0])}"
        if not subject.unanswered:
            what += f", where the truth is '{names[max(0, int(batch.targets[0, last[0]]))]}'"
        return lambda out: out[rows, last].log_softmax(-1)[rows, decided], what
    name = target.names[0] if target.names else "the value"
    if target.per_step:
        against = _against(subject, task.point(output)[0, -1, 0], batch.targets[0, -1, 0])
        return lambda out: task.point(out)[:, -1, 0], f"{name} at the last step, predicted {against}"
    return lambda out: out[:, 0], f"{name}, predicted {_against(subject, output[0, 0], batch.targets[0, 0])}"


def gradients(subject: Subject, batch: Batch, asked: Question) -> Tensor:
    """``(batch, time, size)`` gradient of what is asked with respect to the input (of tokens, to their embedding)."""
    with torch.inference_mode(False), torch.enable_grad(), at_rest(subject.network) as network:
        entry = entering(network, batch.inputs).requires_grad_()
        with entered(network, entry):
            output = network(_as_input(network, batch.inputs, entry))[0]
        (gradient,) = torch.autograd.grad(asked(output).sum(), entry)
    return gradient


def integrated_gradients(subject: Subject, batch: Batch, asked: Question) -> tuple[Tensor, float]:
    """``(time, size)`` integrated gradients of a batch of one sequence; and by how much what is asked has changed.

    By the midpoint rule over ``POINTS`` inputs between zeros and the sequence.
    """
    network = subject.network
    with torch.inference_mode(False), torch.enable_grad(), at_rest(network):
        whole = entering(network, batch.inputs)
        share = (torch.arange(POINTS, device=whole.device, dtype=whole.dtype) + 0.5) / POINTS
        entry = (share[:, None, None] * whole).requires_grad_()
        total = _ask(network, batch.inputs, entry, asked).sum()
        (gradient,) = torch.autograd.grad(total, entry)
        with torch.no_grad():
            ends = _ask(network, batch.inputs, torch.cat([0 * whole, whole]), asked)
    return (gradient.mean(0) * whole[0]).detach(), float(ends[1] - ends[0])


def entering(network: Network, inputs: Tensor) -> Tensor:
    """``(batch, time, size)`` that is asked about: the inputs themselves, or the embeddings of tokens."""
    whole = network.encoder(inputs) if isinstance(network.encoder, nn.Embedding) else inputs
    return whole.detach().clone()


@contextmanager
def entered(network: Network, entry: Tensor) -> Iterator[None]:
    """Lets the network take ``entry`` for its embeddings, whatever tokens it is given."""
    if not isinstance(network.encoder, nn.Embedding):
        yield
        return
    handle = network.encoder.register_forward_hook(lambda *_: entry)
    try:
        yield
    finally:
        handle.remove()


def _as_input(network: Network, inputs: Tensor, entry: Tensor) -> Tensor:
    if isinstance(network.encoder, nn.Embedding):
        return inputs.expand(len(entry), -1)
    return entry


def _ask(network: Network, inputs: Tensor, entry: Tensor, asked: Question) -> Tensor:
    """``(points,)`` what is asked of each of several versions of one sequence."""
    with entered(network, entry):
        output = network(_as_input(network, inputs, entry))[0]
    # the question is put to batches of one sequence
    return torch.cat([asked(each[None]) for each in output])


def _against(subject: Subject, said: Tensor, truth: Tensor) -> str:
    known = not subject.unanswered and bool(truth.isfinite())
    return f"{float(said):.3g}{f' where the truth is {float(truth):.3g}' if known else ''} (as scaled)"


def alike(subject: Subject, most: int) -> Batch:
    """The first sequences of the commonest length."""
    lengths = subject.data.split(subject.split).lengths
    if lengths is None:
        return subject.take(slice(0, most))
    commonest = torch.bincount(lengths).argmax()
    return subject.take(torch.nonzero(lengths == commonest)[:most, 0])._replace(lengths=None)


def _last_asked(targets: Tensor) -> Tensor:
    """``(batch,)`` the last step at which a token is asked; the very last where none is."""
    steps = torch.arange(targets.shape[1], device=targets.device)
    last = torch.where(targets != IGNORED, steps, -1).amax(1)
    return torch.where(last < 0, targets.shape[1] - 1, last)


def _strip(ax: Axes, values: np.ndarray, label: str, colours: str, signed: bool = False) -> None:
    style.dress(ax, grid=False)
    values = np.sign(values) * np.sqrt(np.abs(values))  # or all but the largest would be white
    bound = float(values.max() if not signed else np.abs(values).max()) or 1.0
    ax.imshow(
        values[None], aspect="auto", cmap=colours, vmin=-bound if signed else 0.0, vmax=bound, interpolation="nearest"
    )
    ax.set_yticks([0], [label])
    ax.tick_params(axis="y", length=0)
    ax.spines[:].set_visible(False)
    style.whole_numbers(ax.xaxis)


def _most(profile: np.ndarray, step: int) -> str:
    return f"step {step} of {len(profile) - 1} has most of the gradient, {profile[step]:.0%}"
