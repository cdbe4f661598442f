"""Where the shipped data lie: inside an installed wheel, or at the root of a checkout."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_BUNDLED = _PACKAGE / "_data"
_ROOT = _PACKAGE.parent


def models_dir() -> Path:
    """Directory with `index.json` and one folder per shipped model."""
    return _BUNDLED / "models" if _BUNDLED.is_dir() else _ROOT / "models"


def user_data_dir() -> Path:
    """Where a user's own sources, models and the like are kept.

    That is `spoofcheck` in `$XDG_DATA_HOME` where it is an absolute path, and in `~/.local/share` else (XDG Base
    Directory 0.8).
    """
    return _user_dir("XDG_DATA_HOME", ".local/share")


def user_cache_dir() -> Path:
    """Where is kept what could be made again: `spoofcheck` in `$XDG_CACHE_HOME`, else in `~/.cache`."""
    return _user_dir("XDG_CACHE_HOME", ".cache")


def _user_dir(variable: str, otherwise: str) -> Path:
    named = os.environ.get(variable, "")
    # The specification has relative paths ignored.
    folder = Path(named) if Path(named).is_absolute() else Path.home() / otherwise
    return folder / "spoofcheck"


def user_models_dir() -> Path:
    """Directory with one folder per model that the user pulled or imported; it need not exist."""
    return user_data_dir() / "models"


def templates_dir() -> Path:
    """Directory with the report's `*.html.j2` templates."""
    return _BUNDLED / "templates" if _BUNDLED.is_dir() else _ROOT / "reports" / "templates"


def acoustic_reference() -> Path:
    """File with the acoustic measures of human and of synthetic reference recordings."""
    folder = _BUNDLED / "reference" if _BUNDLED.is_dir() else _ROOT / "reports" / "reference"
    return folder / "acoustics.json"


def controls_dir() -> Path:
    """Directory with the control recordings and their list, `controls.json`."""
    return _BUNDLED / "controls" if _BUNDLED.is_dir() else _ROOT / "reports" / "controls"


def checkout_dir() -> Path | None:
    """Root of the checkout the program runs from, or None when it runs from an installed wheel."""
    return None if _BUNDLED.is_dir() or not (_ROOT / ".git").exists() else _ROOT
