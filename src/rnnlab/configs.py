"""Where the configs are."""

from pathlib import Path


def conf_directory() -> Path:
    """The directory of all configs: in the wheel, or in the checkout of an editable install."""
    package = Path(__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parents[1] / "conf"
