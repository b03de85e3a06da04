"""Where the examples of the finding codes are: in the installed package, or in the checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).absolute().parent


def examples_folder() -> Path:
    """The folder with a folder of examples for each code.

    A wheel carries the examples inside the package; a checkout has them among the tests.
    """
    packaged = _PACKAGE / "examples"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "tests" / "workflow" / "examples"
