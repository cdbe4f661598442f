"""Did one source make two recordings, or two sources? The tracer's link calibration on the cosine of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from spoofcheck.audio.inputs import display_path
from spoofcheck.detect.calibration import to_llr
from spoofcheck.detect.exhibittracer import EnrolledSources
from spoofcheck.detect.gallery import Floats, require_prototypes, unit
from spoofcheck.detect.provenance import enrolled_info, tracer_info
from spoofcheck.detect.toolinfo import run_info, tool_info
from spoofcheck.detect.tracing import Trace, judge_embedding, known_sources
from spoofcheck.errors import UsageError
from spoofcheck.linkschema import LinkDocument, LinkedRecording
from spoofcheck.nets.bundle import TracerBundle
from spoofcheck.nets.config import UNKNOWN_SOURCE, CosineCalibration
from spoofcheck.schema import Reason

_ALWAYS = (
    Reason(
        code="not-a-detection",
        message="Both recordings are taken to be synthetic; whether they are is not examined here: run 'spoofcheck "
        "scan' on both.",
    ),
    Reason(
        code="other-likeness",
        message="The same voice, text, codec, sample rate or sound processing can raise the ratio, and different ones "
        "can lower it; copies of one recording are always alike.",
    ),
)
_AGREE = Reason(
    code="link-without-decision",
    message="Both are most similar to one known source, and yet the ratio is in favour of two sources.",
)
_DIFFER = Reason(
    code="link-against-decisions",
    message="They are most similar to different known sources, and yet the ratio is in favour of one source.",
)


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """A recording as a tracer with prototypes hears it.

    Attributes:
        path: as named.
        sha256: of the file.
        windows: how many were heard.
        mean: float64 `[D]`, of their embeddings.
    """

    path: str
    sha256: str
    windows: int
    mean: Floats


def require_link_calibration(bundle: TracerBundle) -> CosineCalibration:
    """How the tracer's cosine of two recordings becomes a likelihood ratio.

    Raises:
        UsageError: the tracer has no prototypes, or no such calibration.
    """
    require_prototypes(bundle)
    calibration = bundle.config.link_calibration
    if calibration is None:
        raise UsageError(
            f"the tracer {bundle.config.name} {bundle.config.version} has no link_calibration: the similarity of two "
            "recordings cannot be given as a likelihood ratio"
        )
    return calibration


def require_two(hashes: tuple[str, str], paths: tuple[Path | str, Path | str]) -> None:
    """See that two files are not one recording.

    Raises:
        UsageError: they hold the same bytes.
    """
    if hashes[0] == hashes[1]:
        one, other = (display_path(path) for path in paths)
        raise UsageError(
            f"{one} and {other} hold the same bytes (SHA-256 {hashes[0][:12]}...): one recording, nothing to compare"
        )


def cosine_of(one: Sequence[float] | Floats, other: Sequence[float] | Floats) -> float:
    """Of two vectors `[D]`, -1 to 1; the same in either order.

    Raises:
        ValueError: one of them is zero or not finite, and so has no direction.
    """
    # A product may end a rounding error beyond 1.
    return min(1.0, max(-1.0, float((unit(one) * unit(other)).sum())))


def link(
    bundle: TracerBundle,
    heard: tuple[Heard, Heard],
    enrolled: EnrolledSources | None = None,
    *,
    started_at: datetime,
    command_line: Sequence[str],
) -> LinkDocument:
    """Compare two recordings.

    Args:
        bundle: the tracer that heard them.
        heard: both.
        enrolled: sources of the user's own; they change what is named as closest, never the ratio.
        started_at: when the work began, with time zone.
        command_line: as typed, or empty when called from Python.

    Raises:
        UsageError: the tracer cannot compare recordings, or both are one recording.
        ModelError: an enrolled source does not fit the tracer.
        ValueError: an embedding without a direction.
    """
    calibration = require_link_calibration(bundle)
    one, other = heard
    require_two((one.sha256, other.sha256), (one.path, other.path))
    known = known_sources(bundle, () if enrolled is None else enrolled.store.sources)
    first, second = (judge_embedding(each.mean, each.windows, known) for each in heard)
    cosine = cosine_of(one.mean, other.mean)
    llr = to_llr(cosine, calibration, calibration.llr_bound)
    return LinkDocument(
        tool=tool_info(command_line),
        run=run_info(started_at, complete=True),
        tracer=tracer_info(bundle),
        enrolled=None if enrolled is None else enrolled_info(enrolled),
        recordings=(_recording(one, first), _recording(other, second)),
        cosine=cosine,
        llr=llr,
        warnings=(*_ALWAYS, *_contradictions(llr, first, second)),
    )


def _recording(heard: Heard, trace: Trace) -> LinkedRecording:
    # An LLR of a source stands only after a channel test, which a link does not make.
    sources = tuple(match.model_copy(update={"llr": None}) for match in trace.sources)
    return LinkedRecording(path=display_path(heard.path), sha256=heard.sha256, sources=sources, trace=trace.info)


def _contradictions(llr: float, first: Trace, second: Trace) -> tuple[Reason, ...]:
    """A warning where the decisions on the two recordings and the ratio point in opposite directions."""
    one, other = first.info.decision, second.info.decision
    if UNKNOWN_SOURCE in (one, other):
        return ()
    # Sources that cannot be told apart speak neither for one source nor for two.
    if one == other:
        return (_AGREE,) if llr < 0 else ()
    return (_DIFFER,) if llr > 0 and other not in first.info.group else ()
