"""The training of an objective: the steps, epochs and optimizer that follow from what it says."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import torch
from lightning import LightningModule
from torch import Tensor
from torch.optim import Optimizer

from rnnlab.errors import InputError, RunFailed
from rnnlab.network import Network
from rnnlab.ngrams import NGramRegression
from rnnlab.spec import Batch, DataSpec
from rnnlab.tasks.closed_form import FOLDS, solve
from rnnlab.tasks.direction import NEITHER_IS_BETTER, Direction, direction
from rnnlab.tasks.ngram_fit import fit_ngrams
from rnnlab.tasks.optimization import OptimizerFactory, SchedulerFactory, build_optimizer, build_schedule, total_steps
from rnnlab.tasks.scored import Scored, data_of
from rnnlab.tasks.step import TrainingTotals, clip, has_failed, is_logged, is_looked_at, training_loss


def task_of(module: LightningModule | None) -> "Task":
    """What a trainer trains, for callbacks, which Lightning hands a module of any kind.

    Raises:
        TypeError: it is no task.
    """
    if not isinstance(module, Task):
        raise TypeError(f"{type(module).__name__} is no rnnlab.tasks.task.Task")
    return module


class Task(Scored):
    """An objective for a network on a data set, as Lightning trains it.

    A subclass says what :class:`rnnlab.tasks.objective.Objective` leaves open.
    Everything else (steps, logging, optimizer, clipping, baselines) is here, once.

    Args:
        network: built for ``spec``.
        spec: what the data says of itself.
        optimizer: called with the parameters.
        scheduler: called with the optimizer, and with ``total_steps`` where
            its signature has it; it then moves at every step, otherwise at
            every epoch.
        monitor: the score that a scheduler like ``ReduceLROnPlateau`` watches.

    Raises:
        InputError: the data's targets are of another kind.
    """

    no_fleet: ClassVar[str] = ""
    """Why a fleet does not train it with others; empty where it may."""

    def __init__(
        self,
        network: Network,
        spec: DataSpec,
        optimizer: OptimizerFactory = torch.optim.Adam,
        scheduler: SchedulerFactory | None = None,
        monitor: str = "val/loss",
    ) -> None:
        super().__init__(network, spec)
        self.optimizer_factory = optimizer
        self.scheduler_factory = scheduler
        self.monitor = monitor
        self.on_solved: Callable[[int, int, int], None] | None = None
        """Told, while something is found in closed form, the pass, how many of its batches are done, of how many."""
        # factors of the learning rate, and the parameters that each is for
        self.rate_factors: list[tuple[float, list[str]]] = []
        self.totals = TrainingTotals(("loss", *self.training_scores))
        if network.solver == "ridge":
            self._check_closed_form()
            self.automatic_optimization = False

    def _check_closed_form(self) -> None:
        """Refuses what a least-squares readout cannot be.

        Raises:
            InputError: naming the key.
        """
        if self.network.readout.out_features != self.spec.target.size:
            raise InputError(
                "model.solver=ridge predicts values and classes, not the parameters of a distribution: use "
                "task.distribution=point, or model.solver=gradient"
            )

    @property
    def monitored(self) -> str:
        return self.monitor.partition("/")[2]

    # ---- steps --------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes here which hook runs, fifty times a step; a module would first look for what it must register
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def on_train_epoch_start(self) -> None:
        if self.network.solver == "ridge":
            self.log_scores(self._solve("train"))
        beside = self.network.beside
        if isinstance(beside, NGramRegression) and not beside.fitted:
            self.log_scores(self._fit_ngrams(beside))

    def _fit_ngrams(self, beside: NGramRegression) -> dict[str, float]:
        """Fits what the recurrence learns beside; its scores on the folds left out."""
        found = fit_ngrams(beside, self._batches("train"))
        scores = {"penalty": found.penalty, "left_out_loss": found.loss, "left_out_accuracy": found.accuracy}
        return {f"ngrams/{name}": value for name, value in scores.items()}

    def _solve(self, *splits: str) -> dict[str, float]:
        """Finds the readout in closed form, on some splits of the data; the scores of the regression."""
        training = self.network.training
        data = data_of(self.trainer)
        folds = data.split("train").folds() if data is not None and splits == ("train",) else None
        ridge = solve(self.network, self.spec.target, self._batches(*splits), folds)
        self.network.train(training)
        return {"ridge/penalty": ridge.penalty, "ridge/left_out_error": min(ridge.errors), FOLDS: ridge.folds}

    def _batches(self, *splits: str) -> Callable[[], Iterable[Batch]]:
        """Gives the batches of some splits of the data, in its order, at each call."""
        data = data_of(self.trainer)
        loaders: list[Any] = (
            [self.trainer.train_dataloader] if data is None else [data.in_order(split) for split in splits]
        )
        # a loader of somebody's own may not know
        total = sum(len(loader) for loader in loaders) if data is not None else 0
        passes = itertools.count(1)

        def one_pass() -> Iterator[Batch]:
            number = next(passes)
            for done, batch in enumerate(batch for loader in loaders for batch in loader):
                yield self.transfer(batch)
                if self.on_solved is not None:
                    self.on_solved(number, done + 1, total)

        return one_pass

    def transfer(self, batch: Batch) -> Batch:
        return batch.map(lambda part: part.to(self.device))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        with torch.set_grad_enabled(self.automatic_optimization):
            loss, means = training_loss(self, batch)
        with torch.no_grad():
            self.totals.add(means, self.weight(batch))
        if is_looked_at(batch_idx, loss.device):
            value = loss.item()
            if has_failed(value):
                self.fail(value)
            if is_logged(batch_idx) and self.logger is not None:
                self.logger.log_metrics({"step/loss": value}, self.global_step)
        return loss

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """What the network puts out, as :meth:`forward`; :meth:`predictions` makes a table of it."""
        output: Tensor = self(batch)
        return output

    def fail(self, loss: float) -> None:
        """Raises RunFailed: the loss is no finite number."""
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        raise RunFailed(
            f"the loss became {loss} at step {self.global_step} with learning rate {rate:.3g}; the largest gradient "
            f"norm until then was {self.totals.largest_norm:.3g}: try a smaller optimizer.lr or "
            "trainer.gradient_clip_val"
        )

    # ---- epochs -------------------------------------------------------------------------------

    def on_train_epoch_end(self) -> None:
        if not self.totals.weight:
            raise RunFailed("no target of the training split is known in this epoch: there is nothing to learn from")
        means = self.totals.means()
        if self.trainer.world_size > 1:
            of_this_process = torch.tensor(list(means.values()), device=self.device)
            of_all = self.trainer.strategy.reduce(of_this_process, reduce_op="mean").tolist()
            means = dict(zip(means, of_all, strict=True))
        self.log_scores(
            {
                **{f"train/{name}": value for name, value in means.items()},
                **{f"gradient/{name}": value for name, value in self.totals.gradients().items()},
                "lr": self.trainer.optimizers[0].param_groups[0]["lr"],
            }
        )
        self.totals.reset()
        if self.network.solver == "ridge" and not self.spec.target.per_step:
            # validation has been measured without its sequences, chooses nothing, and may now be learned from; that of
            # a forecast still tells how far to trust it
            self._solve("train", "val")

    def monitorable(self) -> list[str]:
        """Every score that an epoch of training logs: what ``monitor`` may name."""
        trained = ["loss", *self.training_scores]
        return [f"val/{name}" for name in self.score_names] + [f"train/{name}" for name in trained]

    def direction(self, monitor: str) -> Direction | None:
        """Whether the lowest or the highest of a monitored score is the best; ``None`` where it has no better end."""
        name = monitor.partition("/")[2]
        if name.startswith(NEITHER_IS_BETTER):
            return None
        scores = self.scores["val"]
        metric = scores.metrics[name] if monitor.startswith("val/") and name in scores.metrics else None
        higher = getattr(metric, "higher_is_better", None)
        if higher is not None:  # what torchmetrics say of themselves
            return "max" if higher else "min"
        return direction(monitor, self.higher_is_better)

    # ---- optimization -------------------------------------------------------------------------

    def build_optimizer(self) -> Optimizer:
        """The optimizer of the network's parameters; those of :attr:`rate_factors` are groups of their own.

        Raises:
            ValueError: it takes no groups, or has no learning rate.
        """
        return build_optimizer(self.network, self.optimizer_factory, self.rate_factors)

    def configure_optimizers(self) -> Any:
        optimizer = self.build_optimizer()
        if self.scheduler_factory is None or self.network.solver == "ridge":
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": self.build_schedule(optimizer, total_steps(self.trainer))}

    def build_schedule(self, optimizer: Optimizer, total_steps: int) -> dict[str, Any]:
        """The scheduler as Lightning wants it: how often it moves, and what it watches."""
        assert self.scheduler_factory is not None
        return build_schedule(self.scheduler_factory, optimizer, total_steps, self.monitor, self.attached)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips as Lightning would, and keeps the norm that the gradient had before."""
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        bound = gradient_clip_val or math.inf
        self.totals.add_gradient(clip(parameters, bound, gradient_clip_algorithm == "value"), bound)

    # ---- resuming in the middle of an epoch ----------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["training_totals"] = self.totals.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if "training_totals" in checkpoint:
            self.totals.restore(checkpoint["training_totals"])
