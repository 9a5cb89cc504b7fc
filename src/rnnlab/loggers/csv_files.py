"""``logger=csv``: Lightning's CSV files."""

from lightning.pytorch.loggers import CSVLogger

from rnnlab.loggers.logger import MadeForRun, OfRun
from rnnlab.shapes import PositiveInt


class CSVFiles(MadeForRun, CSVLogger):
    """``csv/version_0/metrics.csv`` of the run directory, a row for each call of ``log``, and ``hparams.yaml``.

    A resumed run goes on in ``version_1``.
    """

    def __init__(self, run: OfRun, flush_logs_every_n_steps: PositiveInt = 100) -> None:
        super().__init__(run.directory, name="csv", flush_logs_every_n_steps=flush_logs_every_n_steps)
