"""What `requirements.lock` pins."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import Version

LOCK = Path(__file__).resolve().parent.parent / "requirements.lock"

_PIN = re.compile(r"([A-Za-z0-9._-]+)==(\S+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def pins(text: str) -> dict[str, tuple[Version, list[str]]]:
    """Version of every locked package and the SHA-256 of every file of it that may be installed, by canonical name.

    Raises:
        ValueError: a line is neither a pin nor hashes of one.
    """
    found: dict[str, tuple[Version, list[str]]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        pin, *options = line.split()
        match, hashes = _PIN.fullmatch(pin), [_HASH.fullmatch(option) for option in options]
        if match is None or not all(hashes):
            raise ValueError(f"not a pin with hashes: {line[:80]}")
        found[canonicalize_name(match[1])] = (Version(match[2]), [one[1] for one in hashes if one is not None])
    return found
