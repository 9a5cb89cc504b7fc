"""``logger=mlflow``: a run of MLflow's."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from lightning.pytorch.loggers import MLFlowLogger

from rnnlab.errors import InputError, one_line
from rnnlab.extras import need
from rnnlab.loggers.logger import MadeForRun, OfRun
from rnnlab.ranges import Name, OnNetwork


class MLflow(MadeForRun, MLFlowLogger):
    """Parameters, scores, and, at the end, figures and ``config.yaml`` as artifacts.

    A resumed run goes on in the same run of MLflow's, which it finds by a tag.

    Args:
        experiment: under which MLflow lists it.
        tracking_uri: a server, a database or a directory; ``None``: ``MLFLOW_TRACKING_URI``, or what MLflow takes
            without it; ``False``: nowhere.

    Raises:
        InputError: MLflow isn't installed, or the server doesn't answer.
    """

    def __init__(
        self,
        run: OfRun,
        experiment: Name = "rnnlab",
        tracking_uri: Annotated[str | Literal[False] | None, OnNetwork()] = None,
    ) -> None:
        need("mlflow", "mlflow", "logger=mlflow")
        if tracking_uri is False:
            raise InputError(
                "logger.mlflow of a run directory reaches no server or database unless you trust it: "
                "--allow logger.mlflow.tracking_uri"
            )
        # by default MLflow asks a server that is not there seven times, two minutes each
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        import mlflow

        where = tracking_uri or mlflow.get_tracking_uri()
        try:
            super().__init__(
                experiment_name=experiment,
                run_name=run.name,
                tracking_uri=where,
                tags={"rnnlab.id": run.id, **dict.fromkeys(run.tags, "true")},
            )
            before = self._earlier(experiment, run.id)
            if before is not None:
                self._run_id = before
                self._mlflow_client.set_terminated(before, status="RUNNING")
            _ = self.experiment
        except (OSError, ImportError, mlflow.exceptions.MlflowException) as error:
            raise InputError(f"logger.mlflow.tracking_uri={where}: {one_line(error)[:300]}") from error

    def _earlier(self, experiment: str, name: str) -> str | None:
        """The run of MLflow's that this run has logged to before it was stopped."""
        known = self._mlflow_client.get_experiment_by_name(experiment)
        if known is None:
            return None
        runs = self._mlflow_client.search_runs([known.experiment_id], f"tags.`rnnlab.id` = '{name}'", max_results=1)
        return str(runs[0].info.run_id) if runs else None

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        # MLflow takes no @ in a name
        super().log_metrics({name.replace("@", "_at_"): value for name, value in metrics.items()}, step)

    def finish(self, metrics: Mapping[str, Any], figures: Sequence[Path], config: Path) -> None:
        """See :class:`rnnlab.loggers.logger.RunLogger`."""
        self.log_metrics({name: value for name, value in metrics.items() if isinstance(value, int | float)})
        for path in figures:
            self.experiment.log_artifact(self.run_id, str(path), "figures")
        self.experiment.log_artifact(self.run_id, str(config))
        self.finalize("success")
