"""``logger=wandb``: a run of Weights & Biases'."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from lightning.pytorch.loggers import WandbLogger

from rnnlab.extras import need
from rnnlab.loggers.logger import MadeForRun, OfRun
from rnnlab.ranges import Name, OnNetwork

log = logging.getLogger("rnnlab")
SECONDS = 30
"""So long a server may take to answer."""


class WeightsAndBiases(MadeForRun, WandbLogger):
    """Config, scores, and, at the end, the final scores as the summary and the figures as images.

    Offline, it writes ``wandb/`` in the run directory, for ``wandb sync``. A resumed run goes on under the same id.

    Args:
        project: that it is listed in.
        entity: a team; ``None``: yourself.
        group: of runs.
        online: ``auto``: where an account is at hand (``wandb login``, ``WANDB_API_KEY``) and ``WANDB_MODE`` says
            nothing else.

    Raises:
        InputError: wandb isn't installed.
    """

    def __init__(
        self,
        run: OfRun,
        project: Name = "rnnlab",
        entity: Name | None = None,
        group: Name | None = None,
        online: Annotated[bool | Literal["auto"], OnNetwork()] = "auto",
    ) -> None:
        need("wandb", "wandb", "logger=wandb")
        import wandb

        there = _has_account()
        if online is True and not there:
            log.warning("logger.wandb.online=true: nobody is logged in (wandb login, WANDB_API_KEY): it logs offline")
        offline = not (online and there)

        def settings() -> Any:
            return wandb.Settings(silent=True, console="off", init_timeout=SECONDS, x_disable_stats=True)

        arguments: dict[str, Any] = {
            "name": run.name, "save_dir": run.directory, "id": run.id, "project": project, "entity": entity,
            "group": group, "tags": list(run.tags), "resume": "allow",
        }  # fmt: skip
        super().__init__(offline=offline, settings=settings(), **arguments)
        try:
            _ = self.experiment
        except (wandb.errors.Error, OSError) as error:
            if offline:
                raise
            log.warning("logger=wandb: no connection (%s): it logs offline", " ".join(str(error).split())[:200])
            super().__init__(offline=True, settings=settings(), **arguments)
            _ = self.experiment
        if self._offline:
            log.info("logger=wandb: offline; wandb sync %s sends it", run.directory / "wandb")

    def finish(self, metrics: Mapping[str, Any], figures: Sequence[Path], config: Path) -> None:
        """See :class:`rnnlab.loggers.logger.RunLogger`."""
        self.experiment.summary.update(dict(metrics))
        for path in figures:
            self.log_image(path.stem, [str(path)])
        self.experiment.save(str(config), base_path=str(config.parent), policy="now")
        self.experiment.finish()


def _has_account() -> bool:
    """Whether there is a key, found out without asking a server."""
    if os.environ.get("WANDB_MODE", "online") not in ("online", "shared"):
        return False
    if os.environ.get("WANDB_API_KEY"):
        return True
    netrc = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    return netrc.is_file() and "wandb" in netrc.read_text(errors="ignore")
