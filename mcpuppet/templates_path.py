"""Where the shipped workflow templates are: in the installed package, or in the checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).absolute().parent


def templates_folder() -> Path:
    """The folder of the shipped templates: `templates` in the package, else `workflows` beside it.

    A wheel carries the templates inside the package; a checkout has them beside it.
    """
    packaged = _PACKAGE / "templates"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "workflows"
