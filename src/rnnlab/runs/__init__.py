"""A run: its directory, how it is built from its config, executed, resumed and compared."""
