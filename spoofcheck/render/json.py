"""The result document as JSON: the form that is kept, and that `spoofcheck report` reads back."""

from __future__ import annotations

import re

from spoofcheck.schema import ScanDocument

# Valid inside a JSON string, yet able to steer a terminal or hide in an editor. The serialiser escapes C0.
_UNSAFE = re.compile(
    "[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


def render(document: ScanDocument) -> str:
    """Indented JSON in the model's own key order; reading it back and rendering again gives the same text."""
    return escape_unsafe(document.model_dump_json(indent=2)) + "\n"


def escape_unsafe(text: str) -> str:
    r"""The same JSON with control, bidirectional and zero-width characters written as `\uNNNN`."""
    return _UNSAFE.sub(_json_escape, text)


def _json_escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))
