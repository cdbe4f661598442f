"""The document of `spoofcheck link`: whether one source made two recordings, as a likelihood ratio.

All text that came from outside is stored as found, bytes that are not UTF-8 as `\\xNN`; escaping for a terminal is the
renderer's duty.
"""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from spoofcheck.schema import (
    OutsideText,
    Reason,
    RunInfo,
    SourceMatch,
    SourceStoreInfo,
    ToolInfo,
    TraceInfo,
    TracerInfo,
)

LINK_SCHEMA_VERSION: Final = "1.0"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LinkedRecording(_Model):
    """One of the two recordings, and which known source it is most similar to."""

    path: OutsideText = Field(description="as named; bytes that are not UTF-8 as \\xNN")
    sha256: str = Field(description="SHA-256 of the file")
    sources: tuple[SourceMatch, ...] = Field(
        min_length=1, description="most similar known sources, closest first; without LLRs, for no channel was tested"
    )
    trace: TraceInfo = Field(description="the open-set decision on all windows with enough speech, of all channels")


class LinkDocument(_Model):
    """Two recordings compared, with what is needed to repeat it."""

    schema_version: Literal["1.0"] = Field(default=LINK_SCHEMA_VERSION, description="of this document form")
    tool: ToolInfo = Field(description="what program made this document")
    run: RunInfo = Field(description="when, where, how long")
    tracer: TracerInfo = Field(description="what compared; its `link_calibration` gives the LLR")
    enrolled: SourceStoreInfo | None = Field(default=None, description="sources of the user's own; null without any")
    recordings: tuple[LinkedRecording, LinkedRecording] = Field(description="in the order in which they were named")
    cosine: float = Field(ge=-1, le=1, description="of the two recordings' embeddings")
    llr: float = Field(
        description="natural-log LR of the cosine, bounded: systems of one source made both recordings, against "
        "systems of two sources did; both propositions take the recordings to be synthetic"
    )
    warnings: tuple[Reason, ...] = Field(description="what to beware of")

    @model_validator(mode="after")
    def _is_calibrated(self) -> Self:
        if self.tracer.link_calibration is None:
            raise ValueError("the tracer has no link_calibration")
        return self
