"""Puts what was measured and decided into the result document's words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from spoofcheck.audio.inputs import display_path
from spoofcheck.detect.decision import Decision
from spoofcheck.detect.tracing import Trace, trace_reasons
from spoofcheck.schema import Finding, MediaInfo, QualityInfo, Reason, WindowResult
from spoofcheck.types import ChannelSummary, RecordingSummary, Skipped, WindowScore, samples_to_seconds


def skipped_finding(skipped: Skipped) -> Finding:
    """The finding of an input that could not be examined."""
    return Finding.skipped(display_path(skipped.path), skipped.code, skipped.message)


def recording_finding(
    summary: RecordingSummary,
    channel: ChannelSummary,
    windows: Sequence[WindowScore],
    decision: Decision,
    trace: Trace | None = None,
    warnings: Sequence[Reason] = (),
) -> Finding:
    """The finding of one channel of a recording that was read to its end.

    Reasons are those of the decision, of the recording, the `warnings`, and last what to beware of in the trace.
    """
    quality = channel.quality
    noticed = (Reason(code=code, message=text) for code, text in summary.warnings)
    about_trace = () if trace is None else trace_reasons(trace)
    return Finding(
        path=display_path(summary.file.path),
        channel=channel.channel,
        sha256=summary.sha256,
        duration_s=summary.duration_s,
        speech_s=quality.speech_s,
        verdict=decision.verdict,
        spoof_llr=decision.spoof_llr,
        raw_score=decision.raw_score,
        reasons=(*decision.reasons, *noticed, *warnings, *about_trace),
        spans=decision.spans,
        windows=tuple(_window_result(window) for window in windows),
        sources=trace.sources if trace is not None else (),
        trace=trace.info if trace is not None else None,
        media=_media_info(summary),
        quality=QualityInfo(
            silence_share=quality.silence_share,
            snr_db=quality.snr_db,
            clipping_share=quality.clipping_share,
            bandwidth_hz=quality.bandwidth_hz,
            peak_dbfs=quality.peak_dbfs,
            rms_dbfs=quality.rms_dbfs,
        ),
        validity_distance=decision.validity_distance,
    )


def _window_result(window: WindowScore) -> WindowResult:
    return WindowResult(
        start_s=samples_to_seconds(window.start_sample),
        end_s=samples_to_seconds(window.end_sample),
        speech_s=window.speech_s,
        raw_score=window.raw_score,
        spoof_llr=window.spoof_llr,
        not_scored=window.not_scored,
        validity_distance=window.validity_distance,
    )


def _media_info(summary: RecordingSummary) -> MediaInfo:
    file = summary.file
    return MediaInfo(
        size_bytes=file.size_bytes,
        modified_at=datetime.fromtimestamp(file.modified_at_s, UTC).isoformat(timespec="seconds"),
        container=file.container,
        codec=file.codec,
        sample_rate_hz=file.sample_rate_hz,
        channels=file.channels,
        bit_depth=file.bit_depth,
        decoder=file.decoder,
        pcm_sha256=summary.pcm_sha256,
    )
