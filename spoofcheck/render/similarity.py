"""Similarities to the closest sources as bars on one axis, with the threshold of the open-set rule. Pure.

Positions are fractions of the drawing's width, 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from spoofcheck.schema import Finding, TraceInfo

_AXES = {"cosine": (-1.0, 1.0), "softmax": (0.0, 1.0)}


@dataclass(frozen=True, slots=True)
class Axis:
    """Where values lie: the ends of the axis, and the threshold on it, None where the rule is on something else."""

    low: float
    high: float
    threshold: float | None

    def at(self, value: float) -> float:
        """The position of a value, never beyond the ends."""
        return (min(self.high, max(self.low, value)) - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True)
class SimilarityBar:
    """A bar from zero to the similarity."""

    start: float
    end: float
    accepted: bool


def axis(trace: TraceInfo) -> Axis:
    """The whole range of the trace's measure.

    A tracer of prototypes can have a rule on the softmax; its threshold is then no cosine and must not be drawn as one.
    """
    low, high = _AXES[trace.measure]
    return Axis(low, high, trace.threshold if trace.measure in trace.rule else None)


def similarity_bars(finding: Finding, along: Axis) -> tuple[SimilarityBar, ...]:
    """A bar per listed source, in their order; accepted: at or above the threshold."""
    return tuple(
        SimilarityBar(
            start=along.at(min(0.0, source.similarity)),
            end=along.at(max(0.0, source.similarity)),
            accepted=along.threshold is not None and source.similarity >= along.threshold,
        )
        for source in finding.sources
    )
