"""The training of an objective: the steps, epochs and optimizer that follow from what it says."""

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, ClassVar

import torch
from lightning import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim import Optimizer

from rnnlab.errors import InputError, RunFailed
from rnnlab.network import Network
from rnnlab.ngrams import NGramRegression
from rnnlab.spec import Batch, DataSpec
from rnnlab.tasks.closed_form import solve
from rnnlab.tasks.direction import NEITHER_IS_BETTER, Direction, direction
from rnnlab.tasks.ngram_fit import fit_ngrams
from rnnlab.tasks.objective import Objective
from rnnlab.tasks.optimization import OptimizerFactory, SchedulerFactory, build_optimizer, build_schedule, total_steps
from rnnlab.tasks.score_by_length import ScoreByLength
from rnnlab.tasks.totals import Scores, TrainingTotals

LOSS_EVERY_N_STEPS = 50
"""How often the loss of a single step goes to the logger; every epoch's mean does anyway."""


def task_of(module: LightningModule | None) -> "Task":
    """What a trainer trains, for callbacks, which Lightning hands a module of any kind.

    Raises:
        TypeError: it is no task.
    """
    if not isinstance(module, Task):
        raise TypeError(f"{type(module).__name__} is no rnnlab.tasks.task.Task")
    return module


def data_of(trainer: Any) -> Any:
    """A trainer's data; ``None`` where it got loaders alone. (Lightning attaches it, and annotates it nowhere.)"""
    return trainer.datamodule


class Task(Objective):
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

    Attributes:
        score_names: of the loss and of all :meth:`metrics`.

    Raises:
        InputError: the data's targets are of another kind.
    """

    scores: MutableMapping[str, Scores]
    """Of the splits and of the trivial predictor."""
    no_fleet: ClassVar[str] = ""
    """Why a fleet does not train it with others; empty where it may."""

    # longer than 250 lines: each hook of Lightning's is short, and none is of use without the others
    def __init__(
        self,
        network: Network,
        spec: DataSpec,
        optimizer: OptimizerFactory = torch.optim.Adam,
        scheduler: SchedulerFactory | None = None,
        monitor: str = "val/loss",
    ) -> None:
        super().__init__()
        if not self.fits(spec.target):
            raise InputError(
                f"task {self.title} is for targets of kind '{self.target_kind}', "
                f"and this data's targets are of kind '{spec.target.kind}': leave task= to the data"
            )
        self.network = network
        self.spec = spec
        self.optimizer_factory = optimizer
        self.scheduler_factory = scheduler
        self.monitor = monitor
        # factors of the learning rate, and the parameters that each is for
        self.rate_factors: list[tuple[float, list[str]]] = []
        metrics = {name: self.metrics() for name in ("val", "test", "baseline")}
        self.score_names = ("loss", *metrics["val"])
        self.scores = nn.ModuleDict({name: Scores(own) for name, own in metrics.items()})  # type: ignore[assignment]
        self.score_by_length = ScoreByLength(self.sequence_score_name)
        self.totals = TrainingTotals(("loss", *self.training_scores))
        self._judged: dict[str, list[tuple[Tensor, Tensor]]] = {}
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
    def judged(self) -> dict[str, tuple[Tensor, Tensor]]:
        """What :meth:`judge` gave in the last test, ``(sequences,)`` each, of ``network`` and of each baseline by name.

        Empty before the first test, and where several processes share the sequences of a test.
        """
        if self._trainer is not None and self._trainer.world_size > 1:
            return {}
        return {
            name: (torch.cat([score for score, _ in parts]).cpu(), torch.cat([weight for _, weight in parts]).cpu())
            for name, parts in self._judged.items()
        }

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
        ridge = solve(self.network, self.spec.target, self._batches(*splits))
        self.network.train(training)
        return {"ridge/penalty": ridge.penalty, "ridge/left_out_error": min(ridge.errors)}

    def _batches(self, *splits: str) -> Callable[[], Iterable[Batch]]:
        """Gives the batches of some splits of the data, in its order, at each call."""
        data = data_of(self.trainer)
        loaders: list[Any] = (
            [self.trainer.train_dataloader] if data is None else [data.in_order(each) for each in splits]
        )
        return lambda: (self.transfer(batch) for loader in loaders for batch in loader)

    def transfer(self, batch: Batch) -> Batch:
        return batch.map(lambda part: part.to(self.device))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        with torch.set_grad_enabled(self.automatic_optimization):
            output = self(batch)
            loss = self.loss(output, batch)
        with torch.no_grad():
            self.totals.add((loss, *self.score_training(output, batch)), self.weight(batch))
        # on a CPU looking at a number is free; on a GPU it would wait for every step
        if batch_idx % LOSS_EVERY_N_STEPS == 0 or loss.device.type == "cpu":
            value = loss.item()
            if value != value or value in (float("inf"), -float("inf")):
                self.fail(value)
            if batch_idx % LOSS_EVERY_N_STEPS == 0 and self.logger is not None:
                self.logger.log_metrics({"step/loss": value}, self.global_step)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._score(self.scores["val"], self.answer(batch), batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """What the network puts out, as :meth:`forward`; :meth:`predictions` makes a table of it."""
        output: Tensor = self(batch)
        return output

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        output = self.answer(batch)
        self._test(self.scores["test"], "network", output, batch)
        self._test(self.scores["baseline"], self.baseline_name, self.baseline(batch), batch)
        score = self.sequence_score(output, batch)
        if score is not None and batch.lengths is not None:
            self.score_by_length.update(score, batch.lengths)

    def _score(self, scores: Scores, output: Any, batch: Batch) -> None:
        scores.update(self.loss(output, batch), self.weight(batch), *self.compared(output, batch))

    def _test(self, scores: Scores, name: str, output: Any, batch: Batch) -> None:
        """Scores what a predictor says of a batch of the test, and of each of its sequences."""
        self._score(scores, output, batch)
        self._judged.setdefault(name, []).append(self.judge(output, batch))

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

    def on_validation_epoch_end(self) -> None:
        self._log_scores("val", "val")

    def on_test_epoch_start(self) -> None:
        self._judged = {}

    def on_test_epoch_end(self) -> None:
        self._log_scores("test", "test")
        self._log_scores("baseline", "baseline")
        if self.score_by_length.update_called:
            self.log_scores({f"test/{name}": value for name, value in self.score_by_length.compute().items()})
            self.score_by_length.reset()

    def other_baselines(self) -> Mapping[str, float]:
        """Test losses of the data's own predictors, by name; none where the trainer got loaders without their data."""
        data = data_of(self.trainer)
        return data.baselines() if hasattr(data, "baselines") else {}

    def other_predictors(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        """Outputs of the data's own predictors on its test split, and the targets, by name; none where the trainer got
        loaders without their data.
        """
        data = data_of(self.trainer)
        found = data.predictors() if hasattr(data, "predictors") else {}
        return {name: (output, data.split("test").targets) for name, output in found.items()}

    def _log_scores(self, name: str, prefix: str) -> None:
        scores = self.scores[name]
        self.log_scores({f"{prefix}/{key}": value for key, value in scores.compute().items()})

    def log_scores(self, scores: Mapping[str, Tensor | float]) -> None:
        """Gives scores of a whole epoch to the logger, and to all that look at the trainer's ``callback_metrics``.

        Lightning's ``log`` does so too. But it is made for values of many
        batches, of which it keeps the mean on the device, and takes a
        millisecond for each score: together as long as a small network's epoch.
        Scores of ``trainer.validate`` and ``trainer.test`` go through it, which
        then returns them.
        """
        if self.trainer.sanity_checking:
            return
        named = {name: torch.as_tensor(score).detach() for name, score in scores.items()}
        self.trainer.callback_metrics.update(
            {name: score.to(torch.promote_types(score.dtype, torch.float32)) for name, score in named.items()}
        )
        if self.trainer.state.fn != TrainerFn.FITTING:
            self.log_dict(named, sync_dist=self.trainer.world_size > 1)
        elif self.logger is not None:
            values = {name: score.item() for name, score in named.items()}
            # beside the number of the step that came last, counted from 0, as Lightning's
            self.logger.log_metrics({**values, "epoch": self.current_epoch}, max(self.global_step - 1, 0))
            self.logger.save()

    def measure_baseline(self, batches: Iterable[Batch]) -> dict[str, float]:
        """The trivial predictor's scores over some batches, by name; together with all processes of the run."""
        return self.measure((self.baseline(batch), batch) for batch in batches)

    @torch.no_grad()
    def measure(self, answers: Iterable[tuple[Any, Batch]]) -> dict[str, float]:
        """The scores of what is predicted for some batches, by name."""
        scores, training = Scores(self.metrics()).to(self.device), self.training
        self.eval()
        for output, batch in answers:
            self._score(scores, output, batch)
        self.train(training)
        return {name: float(value) for name, value in scores.compute().items()}

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
        return build_schedule(self.scheduler_factory, optimizer, total_steps, self.monitor, self._trainer)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips as Lightning would, and keeps the norm that the gradient had before."""
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in parameters])
        bound = gradient_clip_val or float("inf")
        if gradient_clip_algorithm == "value":
            nn.utils.clip_grad_value_(parameters, bound)
        elif gradient_clip_val:
            nn.utils.clip_grads_with_norm_(parameters, bound, norm)
        self.totals.add_gradient(norm, bound)

    # ---- resuming in the middle of an epoch ----------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["training_totals"] = self.totals.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if "training_totals" in checkpoint:
            self.totals.restore(checkpoint["training_totals"])
