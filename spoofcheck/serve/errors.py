"""The one error that a handler raises to end a request, and the body that every error has."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ApiError(Exception):
    """A request that cannot be answered as it was asked.

    Args:
        status: HTTP status, 400 and above.
        message: one sentence for the caller: what is wrong, and what to do.
        retry_after_s: when it may be tried again, for the `Retry-After` header.
    """

    def __init__(self, status: int, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after_s = retry_after_s


class ErrorBody(BaseModel):
    """What every error answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: str = Field(default="error", pattern="^error$", description="always 'error'")
    message: str = Field(description="one sentence: what is wrong, and what to do")
