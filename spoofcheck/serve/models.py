"""The values that flow through the service: uploads, options, jobs and what is said of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from spoofcheck.schema import OutsideText


class Value(BaseModel):
    """A frozen value. Its errors do not quote what they reject: an upload's bytes must not get into a log."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Upload(Value):
    """A file that came with a request, as it lies on disk."""

    path: Path = Field(description="by a name of the server's own")
    display_name: OutsideText = Field(description="as the client called it; hostile until escaped, never a path")
    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class JobOptions(Value):
    """What a request may choose of an examination."""

    model: str | None = Field(default=None, description="one of `GET /v1/models`; null is the server's default")
    channels: Literal["auto", "mix", "each"] = Field(
        default="auto", description="auto: mix near-identical channels, else score each, as call legs are"
    )
    acoustics: bool = Field(default=True, description="measure the voice against reference recordings")
    pictures: bool = Field(default=True, description="keep waveform, speech and spectrogram for the report")
    excerpts: bool = Field(default=False, description="keep the strongest windows, to listen to in the report")


class JobState(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


OVER = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})
"""States that a job does not leave."""


@dataclass(frozen=True, slots=True)
class FileProgress:
    """How far one file has come."""

    share: float = 0.0
    """0 to 1."""
    duration_s: float | None = None
    """As its header claims; None when it does not say."""
    done: bool = False


class Job(Value):
    """One request for an examination, as the store keeps it."""

    id: str = Field(description="128 random bits, URL-safe")
    owner: str = Field(description="name of the caller's key")
    state: JobState
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    options: JobOptions
    files: tuple[Upload, ...]
    attempts: int = Field(default=0, ge=0, description="how often it was begun")
    result_path: Path | None = None
    error: str | None = None
    webhook_url: str | None = None
    webhook_secret: str | None = Field(default=None, repr=False)
    webhook_pending: bool = False
