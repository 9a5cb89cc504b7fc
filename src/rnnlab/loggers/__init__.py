"""Loggers that a config adds to a run: ``logger=wandb``, ``'logger=[csv,mlflow]'``; ``logger`` is their contract."""
