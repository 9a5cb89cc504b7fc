"""Optional packages: checked before use, with one message that names the extra which installs them."""

from importlib.util import find_spec

from rnnlab.errors import InputError


def need(extra: str, package: str, what: str, otherwise: str = "") -> None:
    """Checks that a package of an extra of this project is installed.

    Args:
        extra: as in ``pyproject.toml``.
        package: the name under which it is imported.
        what: what the user asked for, such as ``data=airline``.
        otherwise: what works without it.

    Raises:
        InputError: the package is not installed.
    """
    if find_spec(package) is None:
        raise missing(extra, package, what, otherwise)


def missing(extra: str, package: str, what: str, otherwise: str = "") -> InputError:
    """The error that :func:`need` raises."""
    return InputError(
        f"{what} needs the package {package}: make install EXTRAS={extra} in a checkout, else "
        f"pip install 'rnnlab[{extra}]'{otherwise and f'; {otherwise}'}"
    )
