"""Where the shipped data lie: inside an installed wheel, or at the root of a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_BUNDLED = _PACKAGE / "_data"
_ROOT = _PACKAGE.parent


def models_dir() -> Path:
    """Directory with `index.json` and one folder per shipped model."""
    return _BUNDLED / "models" if _BUNDLED.is_dir() else _ROOT / "models"


def templates_dir() -> Path:
    """Directory with the report's `*.html.j2` templates."""
    return _BUNDLED / "templates" if _BUNDLED.is_dir() else _ROOT / "reports" / "templates"
