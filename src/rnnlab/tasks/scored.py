"""The scores of an objective: on validation and on the test, beside those of its baselines."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric, MetricCollection

from rnnlab.errors import InputError
from rnnlab.network import Network
from rnnlab.spec import Batch, DataSpec
from rnnlab.tasks.mean_by_length import MeanByLength
from rnnlab.tasks.objective import Objective
from rnnlab.tasks.tally import Tally


def data_of(trainer: Any) -> Any:
    """A trainer's data; ``None`` where it got loaders alone. (Lightning attaches it, and annotates it nowhere.)"""
    return trainer.datamodule


class Scores(nn.Module):
    """The mean loss and some metrics of one predictor on one split."""

    def __init__(self, metrics: dict[str, Metric]) -> None:
        super().__init__()
        self.loss = MeanMetric()
        # a group would be one for good of metrics whose states happen to be equal after the first batch
        self.metrics = MetricCollection(dict(metrics), compute_groups=False)

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


class NamedScores(nn.ModuleDict):
    """Scores of several predictors or splits, by name."""

    def __init__(self, scores: Mapping[str, Scores]) -> None:
        super().__init__(dict(scores))

    def __getitem__(self, name: str) -> Scores:
        scores = super().__getitem__(name)
        if not isinstance(scores, Scores):
            raise TypeError(f"{name} is a {type(scores).__name__}, and no Scores")
        return scores


class Scored(Objective):
    """An objective whose predictions are scored on the splits of a data set.

    Args:
        network: built for ``spec``.
        spec: what the data says of itself.

    Attributes:
        scores: of the splits and of the trivial predictor.
        score_names: of the loss and of all :meth:`metrics`.

    Raises:
        InputError: the data's targets are of another kind.
    """

    scores: NamedScores

    def __init__(self, network: Network, spec: DataSpec) -> None:
        super().__init__()
        if not self.fits(spec.target):
            raise InputError(
                f"task {self.title} is for targets of kind '{self.target_kind}', "
                f"and this data's targets are of kind '{spec.target.kind}': leave task= to the data"
            )
        self.network = network
        self.spec = spec
        metrics = {name: self.metrics() for name in ("val", "test", "baseline")}
        self.score_names = ("loss", *metrics["val"])
        self.scores = NamedScores({name: Scores(own) for name, own in metrics.items()})
        self.score_by_length = MeanByLength(self.sequence_score_name)
        self._judged: dict[str, list[tuple[Tensor, Tensor]]] = {}
        self._tallies: dict[str, Tally] = {}

    @property
    def monitored(self) -> str:
        """The score that chooses the weights, without the name of its split; empty where none does."""
        return ""

    @property
    def tallied(self) -> dict[str, dict[str, tuple[Tensor, Tensor]]]:
        """Of scores that a run may be held against its baselines by, and of which :meth:`judge` says nothing, what each
        piece of the last test counts for: see :meth:`rnnlab.tasks.tally.Tally.items`. Empty as :attr:`judged` is.
        """
        if self.attached is not None and self.attached.world_size > 1:
            return {}
        return {score: tally.items() for score, tally in self._tallies.items()}

    @property
    def judged(self) -> dict[str, tuple[Tensor, Tensor]]:
        """What :meth:`judge` gave in the last test, ``(sequences,)`` each, of ``network`` and of each baseline by name.

        Empty before the first test, and where several processes share the sequences of a test.
        """
        if self.attached is not None and self.attached.world_size > 1:
            return {}
        return {
            name: (torch.cat([score for score, _ in parts]).cpu(), torch.cat([weight for _, weight in parts]).cpu())
            for name, parts in self._judged.items()
        }

    @property
    def attached(self) -> Trainer | None:
        """The trainer; ``None`` before one has it, where Lightning's own ``trainer`` raises."""
        return self._trainer

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._score(self.scores["val"], self.answer(batch), batch)

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
        for tally in self._tallies.values():
            batches = sum(self.trainer.num_test_batches)  # infinitely many where a loader does not know
            sequences = len(batch.inputs) * int(batches if math.isfinite(batches) else 1)
            tally.add(name, output, batch, self.compared, sequences)

    def on_validation_epoch_end(self) -> None:
        self._log_scores("val", "val")

    def on_test_epoch_start(self) -> None:
        self._judged, metrics = {}, self.metrics()
        asked = {self.monitored, self.verdict_score} - {self.judged_score}
        self._tallies = {score: Tally(metrics[score]) for score in sorted(asked & set(metrics))}

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
