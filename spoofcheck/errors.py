"""The errors spoofcheck raises on purpose.

Anything else that escapes is a bug. `InputError` belongs to ONE input and never stops a scan: the pipeline turns it
into a `skipped` finding. The others end the command with exit code 2 and one line.
"""

from __future__ import annotations


def brief(text: str, longest: int = 300) -> str:
    """Text from outside, or that quotes it, as a message may hold it: cut behind `longest` characters."""
    return text if len(text) <= longest else f"{text[:longest]}..."


class SpoofcheckError(Exception):
    """Base class: the message is one line that says what is wrong, with which file, and what to do."""


class InputError(SpoofcheckError):
    """One input that cannot be scored.

    Args:
        code: stable, kebab-case reason, e.g. `"empty-file"`, `"not-audio"`, `"permission-denied"`.
        message: one sentence for the analyst, without the path (the finding carries it).
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class ModelError(SpoofcheckError):
    """A model directory that is missing, damaged, tampered with or of another version."""


class UsageError(SpoofcheckError):
    """Options that contradict each other or name something that is not there."""


class OutputError(SpoofcheckError):
    """A result that cannot be written."""
