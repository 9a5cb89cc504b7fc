"""Pages made of what is true anyway: configs, docstrings, measured scores, and the cells and data themselves."""
