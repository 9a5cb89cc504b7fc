"""The contract of an objective.

In one file: what an objective says, and the steps, epochs and optimizer that follow from it.
"""

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from lightning import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import MeanMetric, Metric, MetricCollection

from rnnlab.errors import InputError, RunFailed
from rnnlab.network import Network
from rnnlab.ngrams import NGramRegression
from rnnlab.spec import IGNORED, Batch, DataSpec, TargetSpec
from rnnlab.tasks.closed_form import solve
from rnnlab.tasks.direction import NEITHER_IS_BETTER, Direction, direction
from rnnlab.tasks.distribution import Distribution
from rnnlab.tasks.forecast_scores import Cases
from rnnlab.tasks.ngram_fit import fit_ngrams
from rnnlab.tasks.score_by_length import ScoreByLength

OptimizerFactory = Callable[..., Optimizer]
SchedulerFactory = Callable[..., Any]

SOFTMAX = "probabilities are the softmax of output over its last dimension; names say what each of them is of"
LOSS_EVERY_N_STEPS = 50
"""How often the loss of a single step goes to the logger; every epoch's mean does anyway."""


def mean_probability(logits: Tensor) -> Tensor:
    """``(members, …, classes)`` scores to the ``(…, classes)`` logarithm of the members' mean probability."""
    return logits.log_softmax(-1).logsumexp(0) - math.log(len(logits))


def token_loss(output: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """The mean cross entropy of ``(elements, tokens)`` scores over the ``(elements,)`` targets that are asked for.

    A batch in which none is (all are ``IGNORED``) teaches nothing: its loss is 0, and no NaN that stops a run.
    """
    total = F.cross_entropy(output, targets, ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing)
    return total / (targets != IGNORED).sum().clamp_min(1)


def data_of(trainer: Any) -> Any:
    """A trainer's data; ``None`` where it got loaders alone. (Lightning attaches it, and annotates it nowhere.)"""
    return trainer.datamodule


def named(numbers: Tensor, names: tuple[str, ...]) -> list[Any]:
    """The names of classes or tokens; their numbers where they have none."""
    return [names[number] if names else number for number in numbers.tolist()]


class Scores(nn.Module):
    """The mean loss and some metrics of one predictor on one split."""

    def __init__(self, metrics: dict[str, Metric]) -> None:
        super().__init__()
        self.loss = MeanMetric()
        self.metrics = MetricCollection(dict(metrics))

    def update(self, loss: Tensor, weight: Tensor | float, predictions: Any, targets: Any) -> None:
        self.loss.update(loss, weight)
        self.metrics.update(predictions, targets)

    def compute(self) -> dict[str, Tensor]:
        """The scores of all batches since the last call, by name."""
        scores = {"loss": self.loss.compute(), **self.metrics.compute()}
        with torch.inference_mode(False):  # or a training that follows a test would meet tensors that it can't change
            self.loss.reset()
            self.metrics.reset()
        return scores


class Task(LightningModule, ABC):
    """An objective for a network on a data set.

    A subclass says what the loss is, which scores are kept, and which trivial
    predictor stands beside them. Everything else (steps, logging, optimizer,
    clipping, baselines) is here, once.

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

    target_kind: ClassVar[str]
    """The kind of target (:class:`rnnlab.spec.TargetSpec`) that this objective is for."""
    other_kinds: ClassVar[tuple[str, ...]] = ()
    """Further kinds that it is for."""
    forecasts: ClassVar[bool] = False
    """Whether it predicts what comes next, as ``distribution`` says."""
    rebuilds: ClassVar[bool] = False
    """Whether its targets are the inputs, whatever the data asks for (:func:`rnnlab.data.rebuilt.rebuilt`)."""
    distribution: Distribution
    """What is said of each value, where ``forecasts``."""
    scores: MutableMapping[str, Scores]
    """Of the splits and of the trivial predictor."""
    training_scores: ClassVar[tuple[str, ...]] = ()
    """Names of what :meth:`score_training` gives, beside the loss."""
    higher_is_better: ClassVar[tuple[str, ...]] = ()
    """Names of scores of one's own that are better the higher they are, so that a run that monitors one keeps its
    highest. rnnlab's own are known: accuracy, f1, r2, exact_match."""
    baseline_name: str = "trivial predictor"
    """What the trivial predictor of :meth:`baseline` is called: majority class, persistence, …"""
    verdict_score: str = "loss"
    """The score by which a run is held against its baselines, and which :meth:`judge` gives of each sequence."""
    no_fleet: ClassVar[str] = ""
    """Why a fleet does not train it with others; empty where it may."""
    loss_name: str | None = None
    """The score that is the loss itself under its usual name, such as the mse of unscaled data: one number."""
    sequence_score_name: ClassVar[str] = "accuracy"
    """What :meth:`sequence_score` is: the share of a sequence's answers that are right, or an error."""

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
        self._training = TrainingTotals(("loss", *self.training_scores))
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
    def title(self) -> str:
        """What the objective is called."""
        return type(self).__name__

    # ---- what an objective says -------------------------------------------------------------

    @classmethod
    def fits(cls, target: TargetSpec) -> bool:
        """Whether it is for targets of this kind."""
        return target.kind in (cls.target_kind, *cls.other_kinds)

    @classmethod
    def output(cls, spec: DataSpec, **options: Any) -> TargetSpec:
        """What the network puts out for this data and these options of the objective: the target itself by default."""
        return spec.target

    @abstractmethod
    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """The mean loss over the valid elements of a batch: a pure function of its arguments."""

    @abstractmethod
    def metrics(self) -> dict[str, Metric]:
        """Fresh metrics, by name, that take what :meth:`compared` gives."""

    @abstractmethod
    def compared(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Predictions and targets of the valid elements, in the data's own units, for the metrics."""

    @abstractmethod
    def baseline(self, batch: Batch) -> Tensor:
        """What a trivial predictor would put out, in the shape of the network's output."""

    def check_data(self, data: Any) -> None:
        """Refuses data that it is for by its kind, and whose sequences cannot be learned from, before a training.

        Raises:
            InputError: naming the key.
        """

    def weight(self, batch: Batch) -> Tensor | int:
        """How many elements the mean of :meth:`loss` is over: what it counts for in the mean over a split."""
        target = self.spec.target
        if target.categorical and not target.classifies:
            return (batch.targets != IGNORED).sum()
        if not target.per_step:
            return len(batch.inputs)
        return int(batch.lengths.sum()) if batch.lengths is not None else batch.inputs.shape[0] * batch.inputs.shape[1]

    def sequence_score(self, output: Tensor, batch: Batch) -> Tensor | None:
        """``(batch,)`` the ``sequence_score_name`` of each sequence; ``None`` where sequences have no score each."""
        return None

    def judge(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """``(batch,)`` the ``verdict_score`` of each sequence, and ``(batch,)`` how many elements it is the mean of.

        The loss by default, of one sequence after the other.
        """
        losses, weights = [], []
        for number in range(len(batch.inputs)):
            alone = slice(number, number + 1)
            one = batch.map(lambda part, alone=alone: part[alone])  # type: ignore[misc]
            losses.append(self.loss(output[alone], one))
            weights.append(torch.as_tensor(self.weight(one), device=output.device))
        return torch.stack(losses), torch.stack(weights)

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

    def calibrate(self, batches: Iterable[Batch]) -> Mapping[str, float]:
        """Corrects what the best weights say by the validation part, once, after training: in the weights themselves,
        so that whatever uses them has it.

        Returns:
            What was corrected, by name; empty where nothing was.
        """
        return {}

    def combine(self, outputs: Tensor) -> Tensor:
        """What several networks put out together: ``(members, …)`` to ``(…)``, real values as their mean."""
        return outputs.mean(0)

    def predictions(self, batch: Batch) -> tuple[Tensor, dict[str, Any]]:
        """What is predicted for a batch, as columns of a table, the truth among them.

        Returns:
            ``(rows,)`` which sequence of the batch each row is of; and the columns by name, each ``(rows,)``, in the
            data's units and with its names.

        Raises:
            InputError: this objective has no such table.
        """
        raise InputError(f"task {self.title} does not say what it predicts (its method predictions)")

    def said(self, output: Tensor) -> dict[str, Any]:
        """What the network says, as columns of a table, in the data's units and with its names.

        Args:
            output: ``(n, size)``, of n sequences or of n steps.

        Raises:
            InputError: this objective has no such table.
        """
        raise InputError(f"task {self.title} does not say what it predicts for new data (its method said)")

    def reading(self) -> dict[str, Any]:
        """How the network's output is read in the data's own units and names, as plain values."""
        return {"kind": "raw", "rule": f"as the objective {self.title} reads it"}

    def windows(self, batch: Batch) -> Cases | None:
        """The forecasts made at the end of each window, beside what came; ``None`` where no such forecast is made."""
        return None

    def rollout(self, inputs: Tensor, steps: int, ahead: Tensor | None = None) -> Tensor:
        """``(batch, steps, size)`` values beyond the end of the inputs, from the network's own predictions.

        Raises:
            InputError: predictions are no later inputs.
        """
        raise InputError(f"task {self.title} predicts nothing that could be its next input")

    def point(self, output: Tensor) -> Tensor:
        """The numbers that stand for an output of real values, on the network's scale: itself by default."""
        return output

    @property
    def no_anomalies(self) -> str:
        """Why no step can be told to be out of the ordinary; empty where one can."""
        return (
            f"this run ({self.title}) neither forecasts nor rebuilds what it reads: train one with task=reconstruction"
        )

    def deviation(self, output: Tensor, truth: Tensor) -> Tensor:
        """``(…, values)`` how far what came is from what the network says, on its own scale and by how sure it is.

        Args:
            output: ``(…, size)`` of the network.
            truth: ``(…, values)`` on its scale.
        """
        return truth - self.point(output)

    @property
    def no_probability(self) -> str:
        """Why the output states no probabilities; empty where it does."""
        return "" if self.spec.target.categorical else "this objective claims no probability"

    def score_training(self, output: Tensor, batch: Batch) -> tuple[Tensor, ...]:
        """Cheap scores of a training batch (means over it), named by ``training_scores``."""
        return ()

    # ---- steps --------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes here which hook runs, fifty times a step; a module would first look for what it must register
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def forward(self, batch: Batch) -> Tensor:
        """The network's output for a batch, ``(batch, time, size)`` or ``(batch, size)``."""
        return self.network(batch.inputs, lengths=batch.lengths)[0]

    def apart(self, batch: Batch) -> Any:
        """What is scored of a batch that is looked at by itself: no state comes from the batch before."""
        return self.network(batch.inputs, lengths=batch.lengths)[0]

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
            self._training.add((loss, *self.score_training(output, batch)), self.weight(batch))
        # on a CPU looking at a number is free; on a GPU it would wait for every step
        if batch_idx % LOSS_EVERY_N_STEPS == 0 or loss.device.type == "cpu":
            value = loss.item()
            if value != value or value in (float("inf"), -float("inf")):
                self._fail(value)
            if batch_idx % LOSS_EVERY_N_STEPS == 0 and self.logger is not None:
                self.logger.log_metrics({"step/loss": value}, self.global_step)
        return loss

    def answer(self, batch: Batch) -> Any:
        """What is scored of a batch: the network's output by default."""
        return self(batch)

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

    def _fail(self, loss: float) -> None:
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        raise RunFailed(
            f"the loss became {loss} at step {self.global_step} with learning rate {rate:.3g}; the largest gradient "
            f"norm until then was {self._training.largest_norm:.3g}: try a smaller optimizer.lr or "
            "trainer.gradient_clip_val"
        )

    # ---- epochs -------------------------------------------------------------------------------

    def on_train_epoch_end(self) -> None:
        if not self._training.weight:
            raise RunFailed("no target of the training split is known in this epoch: there is nothing to learn from")
        means = self._training.means()
        if self.trainer.world_size > 1:
            of_this_process = torch.tensor(list(means.values()), device=self.device)
            of_all = self.trainer.strategy.reduce(of_this_process, reduce_op="mean").tolist()
            means = dict(zip(means, of_all, strict=True))
        self.log_scores(
            {
                **{f"train/{name}": value for name, value in means.items()},
                **{f"gradient/{name}": value for name, value in self._training.gradients().items()},
                "lr": self.trainer.optimizers[0].param_groups[0]["lr"],
            }
        )
        self._training.reset()
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
        if not self.rate_factors:
            return self.optimizer_factory(self.network.parameters())
        named = dict(self.network.named_parameters())
        apart = {name for _, names in self.rate_factors for name in names}
        rest = [parameter for name, parameter in named.items() if name not in apart]
        groups = [{"params": rest}] if rest else []
        groups += [{"params": [named[name] for name in names]} for _, names in self.rate_factors]
        optimizer = self.optimizer_factory(groups)
        for group, (factor, _) in zip(optimizer.param_groups[len(groups) - len(self.rate_factors) :],
                                      self.rate_factors, strict=True):  # fmt: skip
            group["lr"] = factor * group["lr"]
        return optimizer

    def configure_optimizers(self) -> Any:
        optimizer = self.build_optimizer()
        if self.scheduler_factory is None or self.network.solver == "ridge":
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": self.build_schedule(optimizer, self._total_steps())}

    def _total_steps(self) -> int:
        # Lightning's own estimate would set the loaders up before a resume has told them where they were
        trainer: Any = self.trainer
        if trainer.datamodule is None:
            return max(1, int(trainer.estimated_stepping_batches))
        batches = len(trainer.datamodule.train_dataloader())
        limit = trainer.overfit_batches or trainer.limit_train_batches
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
        steps = math.ceil(batches / trainer.accumulate_grad_batches) * (trainer.max_epochs or 1)
        return max(1, min(steps, trainer.max_steps) if trainer.max_steps > 0 else steps)

    def build_schedule(self, optimizer: Optimizer, total_steps: int) -> dict[str, Any]:
        """The scheduler as Lightning wants it: how often it moves, and what it watches."""
        assert self.scheduler_factory is not None
        if "total_steps" in inspect.signature(self.scheduler_factory).parameters:
            return {"scheduler": self.scheduler_factory(optimizer, total_steps=total_steps), "interval": "step"}
        schedule = {"scheduler": self.scheduler_factory(optimizer), "interval": "epoch", "monitor": self.monitor}
        if self._trainer is not None and self.monitor.startswith("val/"):
            # what it watches is measured in these epochs alone; None counts steps, and the last score is good enough
            every = self._trainer.check_val_every_n_epoch
            schedule |= {"frequency": every} if every is not None else {"strict": False}
        return schedule

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
        self._training.add_gradient(norm, bound)

    # ---- resuming in the middle of an epoch ----------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["training_totals"] = self._training.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if "training_totals" in checkpoint:
            self._training.restore(checkpoint["training_totals"])


class TrainingTotals:
    """Sums over an epoch's training steps, kept on the device: no step waits to log."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.reset()
        self._largest: Tensor | float = 0.0

    def reset(self) -> None:
        self._sums: Tensor | float = 0.0
        self._weight: Tensor | int = 0
        self._norms: Tensor | float = 0.0
        self._clipped: Tensor | float = 0.0
        self._steps = 0

    def add(self, means: tuple[Tensor, ...], weight: Tensor | int) -> None:
        self._sums = self._sums + torch.stack([mean.detach().float() for mean in means]).double() * weight
        self._weight = self._weight + weight

    def add_gradient(self, norm: Tensor, bound: Tensor | float) -> None:
        self._norms = self._norms + norm
        self._clipped = self._clipped + (norm > bound)
        self._largest = torch.maximum(norm, torch.as_tensor(self._largest, dtype=norm.dtype, device=norm.device))
        self._steps += 1

    def means(self) -> dict[str, float]:
        return dict(zip(self.names, (torch.as_tensor(self._sums) / max(self._weight, 1)).tolist(), strict=True))

    def gradients(self) -> dict[str, float]:
        """Mean norm before clipping, and the share of steps that were clipped."""
        steps = max(self._steps, 1)
        return {"norm": float(self._norms) / steps, "clipped": float(self._clipped) / steps}

    @property
    def weight(self) -> int:
        """Elements that the means are over."""
        return int(self._weight)

    @property
    def largest_norm(self) -> float:
        return float(self._largest)

    def state(self) -> dict[str, Any]:
        tensors = {name: torch.as_tensor(getattr(self, name)) for name in ("_sums", "_norms", "_clipped", "_largest")}
        return {**tensors, "_weight": int(self._weight), "_steps": self._steps}

    def restore(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
