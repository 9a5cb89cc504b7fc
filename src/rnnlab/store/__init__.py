"""The files of runs and sweeps on the disk: how each is read, checked, written and locked."""
