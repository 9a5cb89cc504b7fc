"""What a run shows in TensorBoard: scalars, figures, HParams with real metrics, a layout, the graph, the config."""

import json
import logging
import time
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from torch import Tensor, nn
from torch.utils.tensorboard._pytorch_graph import graph  # what add_graph writes
from torch.utils.tensorboard.summary import hparams

from rnnlab.network import Network
from rnnlab.spec import Batch
from rnnlab.tasks.scored import data_of
from rnnlab.tasks.task import Task, task_of

LAYOUT_STAGES = ("train", "val")
UPDATES, FINAL = "weight updates", "when done"
"""Sections of scalars. TensorBoard shows sections by the alphabet and opens the first two: train and val come first."""
_graphs: dict[str, Any] = {}
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class TensorBoard(Callback):
    """Writes what Lightning's logger does not.

    The HParams tab lists the run from its start with the metrics that it will
    have, by their own tags: no extra scalar, no stand-in value.

    Args:
        directory: of the event files. TensorBoard names a run by it, so it is the run's own.
        config: the resolved config of the run.
        choices: which config of each group, such as ``{"model": "gru"}``.
        overrides: what was said on the command line; the HParams tab shows these keys and the choices first.
    """

    def __init__(
        self,
        directory: Path,
        config: Mapping[str, Any],
        choices: Mapping[str, str | None] | None = None,
        overrides: Sequence[str] = (),
    ) -> None:
        self.logger = _Logger(directory.parent, name="", version=directory.name)
        self.config = config
        self.hyperparameters = {
            **{group: choice for group, choice in (choices or {}).items() if choice is not None},
            **flat(config),
        }
        self.baseline = "trivial predictor"
        self.first = {"model", "data", *(override.partition("=")[0].lstrip("+") for override in overrides)}

    @property
    def writer(self) -> Any:
        return self.logger.experiment

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        task = task_of(pl_module)
        self.baseline = task.baseline_name
        self.logger.loss_name = task.loss_name
        if not trainer.is_global_zero or trainer.current_epoch:
            return
        self.writer.add_text("config", f"```yaml\n{yaml.dump(dict(self.config), Dumper=DUMPER, sort_keys=False)}\n```")
        if task.spec.note:
            self.writer.add_text("note", task.spec.note)
        judged = [score for score in (task.verdict_score,) if not self.logger.repeats(f"val/{score}")]
        self.writer.add_custom_scalars(
            {
                "Learning curves": {
                    name: ["Multiline", [f"{stage}/{name}" for stage in LAYOUT_STAGES]]
                    for name in dict.fromkeys(("loss", *task.training_scores, *judged))
                },
                "Optimization": {
                    title: ["Multiline", [tag(name)]]
                    for title, name in (
                        ("gradient norm before clipping", "gradient/norm"),
                        ("share of steps clipped", "gradient/clipped"),
                        ("learning rate", "lr"),
                    )
                },
            }
        )
        experiment, start, _ = hparams(self.hyperparameters, dict.fromkeys(_final_scores(task), 0))
        self.writer.file_writer.add_summary(_described(experiment, self.first, task.loss_name))
        self.writer.file_writer.add_summary(start)
        self._add_graph(trainer, task)

    def add_image(self, name: str, png: bytes, epoch: int) -> None:
        """Shows a figure of the finished run as it is: the writer's own ``add_figure`` would draw it a second time."""
        summary = Summary()
        width, height = (int.from_bytes(png[start : start + 4], "big") for start in (16, 20))  # of the PNG's header
        image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png)
        summary.value.add(tag=f"{FINAL}/figures/{name}", image=image)
        self.writer.file_writer.add_summary(summary, epoch)

    def say(self, name: str, markdown: str) -> None:
        """Shows a text."""
        self.writer.add_text(name, markdown)

    def finish(self, metrics: Mapping[str, Any], state: str) -> None:
        """Writes the final scalars and ends the HParams session with its real status."""
        for name, value in metrics.items():
            if self.logger.repeats(name):
                continue
            if _is_final(name):
                score = name.removeprefix("baseline/")  # of the task's own; others' are baseline/NAME/score
                named = score != name and ("/" not in score or score in metrics)
                shown = f"baseline ({self.baseline})/{score}" if named else name
                self.writer.add_scalar(tag(shown), value, metrics["steps"])
            elif name.startswith("val/"):  # of the weights that were kept; the curve's last point is another epoch's
                self.writer.add_scalar(tag(f"best/{name}"), value, metrics["steps"])
        status = {"done": "SUCCESS", "failed": "FAILURE"}.get(state, "UNKNOWN")
        self.writer.file_writer.add_summary(_session_end(status))
        self.writer.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if trainer.is_global_zero:
            self.writer.file_writer.add_summary(_session_end("FAILURE"))
            self.writer.close()

    def _add_graph(self, trainer: Trainer, task: Task) -> None:
        batch: Batch = next(iter(data_of(trainer).val_dataloader()))
        # one short sequence tells the structure; a reference loop over thousands of steps would be a wall of nodes
        inputs = batch.inputs[:1, :4].to(task.device)
        network, training = task.network, task.network.training
        structure = json.dumps([self.config["model"], inputs.shape, network.readout.out_features])
        if structure in _graphs:
            self.writer.file_writer.add_graph(_graphs[structure])
            return
        with warnings.catch_warnings(), torch.no_grad(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            logging.getLogger("torch.jit").setLevel(logging.ERROR)
            network.eval()
            if inputs.is_floating_point():
                inputs = inputs.to(next(network.parameters()).dtype)
            # traced here, since the writer's function would do so twice and compare the two
            traced = graph(torch.jit.trace(_Output(network), inputs, check_trace=False), inputs)
            network.train(training)
        self.writer.file_writer.add_graph(traced)
        # the jobs of a sweep mostly share it, and tracing takes as long as a short epoch
        _graphs.clear()
        _graphs[structure] = traced


class _Logger(TensorBoardLogger):
    """Lightning's logger without its own hyperparameters, its ``hp_metric``, and the final scores, which come once."""

    loss_name: str | None = None
    """The score that is the loss under another name, which would be drawn a second time."""

    def repeats(self, name: str) -> bool:
        """Whether it is the loss once more: of the network's ``val/mse`` and ``test/mse``, and of their baseline's."""
        stage, _, score = name.partition("/")
        return score == self.loss_name and stage in ("train", "val", "test", "baseline")

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        shown = {
            tag(name): value
            for name, value in metrics.items()
            if not (_is_final(name) or name == "epoch" or self.repeats(name))
        }
        super().log_metrics(shown, step)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        return

    def log_graph(self, *args: Any, **kwargs: Any) -> None:
        return

    def finalize(self, status: str) -> None:
        # Lightning would close the file after fit and open another for the test
        self.save()

    def save(self) -> None:
        self.experiment.flush()


class _Output(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        if self.network.decodes:  # two tokens tell the structure
            return self.network.teach(inputs, inputs.new_zeros(len(inputs), 2, dtype=torch.int64))[0]
        return self.network(inputs)[0]


def tag(name: str) -> str:
    """Under which TensorBoard shows a score: ``train/loss`` as it is, ``lr`` as ``weight updates/lr``."""
    if name.startswith(("train/", "val/")):
        return name
    return f"{FINAL if _is_final(name) or name.startswith('best/') else UPDATES}/{name}"


def _is_final(name: str) -> bool:
    return name.startswith(("test/", "baseline", "rollout/"))


def flat(config: Any, prefix: str = "") -> dict[str, bool | int | float | str]:
    """A nested config as ``a.b.c`` keys with values that TensorBoard's HParams tab can sort and filter.

    The classes' paths are left out: the choices of configs say the same in a word. A seed is a name and no amount: as a
    number the tab would show it as 0.0000.
    """
    if isinstance(config, Mapping):
        items = [
            flat(value, f"{prefix}.{name}" if prefix else str(name))
            for name, value in config.items()
            if name not in ("_target_", "_partial_")
        ]
        return {name: value for item in items for name, value in item.items()}
    if prefix.endswith("seed") or not isinstance(config, bool | int | float | str):
        return {prefix: str(config)}
    return {prefix: config}


def _final_scores(task: Task) -> list[str]:
    """What the HParams tab lists: the monitored score while it moves, then the kept weights' and the test's."""
    names = [name for name in task.score_names if name != task.loss_name]
    final = (*(f"best/val/{name}" for name in names), *(f"test/{name}" for name in names))
    stage, _, monitored = task.monitor.partition("/")
    return [f"{stage}/loss" if monitored == task.loss_name else task.monitor, *map(tag, final)]


def _described(experiment: Any, first: Collection[str], loss_name: str | None) -> Any:
    """Marks the columns that TensorBoard shall show first, as if they alone differed between runs, and heads scores."""
    plugin_data = experiment.value[0].metadata.plugin_data
    content = plugin_data_pb2.HParamsPluginData.FromString(plugin_data.content)
    for info in content.experiment.hparam_infos:
        info.differs = info.name in first
    for info in content.experiment.metric_infos:
        name = info.name.tag.removeprefix(f"{FINAL}/")
        info.display_name = f"{name} ({loss_name})" if loss_name and name.endswith("/loss") else name
    plugin_data.content = content.SerializeToString()
    return experiment


def _session_end(status: str) -> Any:
    end = plugin_data_pb2.SessionEndInfo(status=api_pb2.Status.Value(f"STATUS_{status}"), end_time_secs=time.time())
    content = plugin_data_pb2.HParamsPluginData(session_end_info=end, version=metadata.PLUGIN_DATA_VERSION)
    summary = Summary()
    summary.value.add(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(content),
        tensor=metadata.NULL_TENSOR,
    )
    return summary
