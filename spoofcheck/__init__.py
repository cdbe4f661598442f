"""spoofcheck: is this recording synthetic speech, where in it, and how far can that be trusted?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from spoofcheck.detect.scan import scan

__all__ = ["__version__", "scan"]


def __getattr__(name: str) -> Any:
    """Import the scan pipeline (and with it torch) only when it is asked for."""
    if name == "scan":
        from spoofcheck.detect.scan import scan

        return scan
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
