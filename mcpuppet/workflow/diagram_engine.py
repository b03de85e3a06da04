"""DOT to SVG or PNG, on a machine without Graphviz too.

Owns the choice of program: the renderer that is installed with this package, so that everyone gets
the same picture, else a `dot` on the PATH. It knows nothing of workflows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Literal

from mcpuppet.errors import MCPuppetError

Format = Literal["svg", "png"]

PNG_DPI = 144
"""Dots per inch of a PNG: sharp in print and on dense screens; an SVG is drawn in points."""
_BUNDLED = "graphviz-pure"
_PATIENCE_SECONDS = 60
PNG_INCHES = 60
"""The longest side of a PNG: a larger picture is made smaller, so that it fits into memory."""
_OPTIONS = {
    "svg": ("-Tsvg",),
    "png": ("-Tpng", f"-Gdpi={PNG_DPI}", f"-Gsize={PNG_INCHES},{PNG_INCHES}"),
}


class RenderError(MCPuppetError):
    """A picture could not be drawn; the text says what to install or what the program said."""


def draw(dot: str, format: Format) -> bytes:
    """Draw DOT text and return the picture's bytes.

    The bundled renderer is used when it is installed, else the system's `dot`. Raises RenderError
    when there is neither, or when the program refuses the text.
    """
    program = find_engine()
    try:
        done = subprocess.run(  # noqa: S603 (a program we found ourselves, no shell, fixed options)
            [program, "-q", *_OPTIONS[format]],
            input=dot.encode(),
            capture_output=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RenderError(f"{program} could not draw: {error}") from error
    if done.returncode != 0 or not done.stdout:
        said = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise RenderError(f"{program} could not draw: {said}")
    return done.stdout


def find_engine() -> Path:
    """The program that draws. Raises RenderError, naming what to install, when there is none."""
    bundled = _bundled_engine()
    if bundled is not None:
        return bundled
    system = shutil.which("dot")
    if system is not None:
        return Path(system)
    raise RenderError(
        f"nothing here can draw: install the Python package {_BUNDLED!r} (pip install {_BUNDLED}) "
        "or, where it has no wheel, Graphviz itself, so that `dot` is on the PATH; "
        "the format `dot` needs neither"
    )


def _bundled_engine() -> Path | None:
    """The renderer's program file, wherever the installer put it; it need not be on the PATH."""
    name = _BUNDLED + (".exe" if sys.platform == "win32" else "")
    try:
        files = metadata.files(_BUNDLED) or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        path = Path(os.fspath(file.locate()))
        if file.name == name and path.is_file():
            return path.resolve()
    return None
