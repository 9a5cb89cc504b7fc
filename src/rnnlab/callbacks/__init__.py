"""Lightning callbacks that a config adds to a run: ``callbacks=ema``, ``'callbacks=[swa,lr_monitor]'``."""
