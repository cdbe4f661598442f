"""The values that flow through a scan: `AudioFile -> AudioBlock -> Window -> WindowScore -> Finding`.

Frozen dataclasses, standard library only. The result document an analyst keeps (JSON) is `spoofcheck.schema`.
Times are seconds (`_s`), positions are samples at 16 kHz (`_sample`), unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
"""Every model works at this rate; `audio.decode` brings every recording to it."""

OVER_BUDGET: Final = "budget"
"""Why a window that holds speech has no score where only so much of an exhibit is examined: nobody looked at it."""


def seconds_to_samples(seconds: float) -> int:
    """Nearest sample at 16 kHz (halves round up). The one place where seconds become samples."""
    return int(seconds * SAMPLE_RATE_HZ + 0.5)


def samples_to_seconds(samples: int) -> float:
    """Seconds of a sample count or position at 16 kHz."""
    return samples / SAMPLE_RATE_HZ


def covered_s(stretches: Iterable[tuple[float, float]]) -> float:
    """Seconds that stretches `(start_s, end_s)` cover together; where they overlap, the time counts once."""
    total_s, covered_to_s = 0.0, 0.0
    for start_s, end_s in sorted(stretches):
        total_s += max(0.0, end_s - max(start_s, covered_to_s))
        covered_to_s = max(covered_to_s, end_s)
    return round(total_s, 6)


@dataclass(frozen=True, slots=True)
class AudioFile:
    """What a recording's header and file system entry say, before a sample is decoded."""

    path: Path
    size_bytes: int
    modified_at_s: float
    """POSIX time of the last change."""
    container: str
    codec: str
    sample_rate_hz: int
    channels: int
    bit_depth: int | None
    """Bits per stored sample; None for lossy codecs, which have none."""
    header_duration_s: float | None
    decoder: str
    """`"soundfile"` or `"ffmpeg"`."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Condition of one channel of a recording, measured on the 16 kHz signal unless noted."""

    speech_s: float | None
    """None when the voice activity detector did not run."""
    silence_share: float
    """Share of 20 ms frames whose RMS is below -60 dBFS, 0..1."""
    snr_db: float | None
    """Power of speech without noise over power of noise, -10..80 dB; None with under 0.3 s of either."""
    clipping_share: float
    """Share of samples in runs of at least two at the channel's own extreme >= 0.98 full scale, 0..1 (native rate)."""
    bandwidth_hz: float
    """Highest frequency whose long-term level is within 60 dB of the strongest band, at most 8,000 Hz."""
    peak_dbfs: float
    """Largest magnitude (native rate); -200 for digital silence. 0 dBFS is a magnitude of 1."""
    rms_dbfs: float
    """RMS of all samples, likewise."""


@dataclass(frozen=True, slots=True)
class Window:
    """One stretch of one channel, as the network will hear it.

    Attributes:
        start_sample: first sample, at 16 kHz, from the start of the recording.
        end_sample: one past the last sample OF THE RECORDING it covers (a short file is repeated to fill the window).
        speech_s: seconds of speech inside, by the voice activity detector; None when it did not run.
        samples: float32 `[window_samples]`, or None when the window is not to be scored.
        not_scored: why not (`"no-speech"`, `OVER_BUDGET`), else None.
    """

    channel: int | None
    index: int
    start_sample: int
    end_sample: int
    speech_s: float | None
    samples: NDArray[np.float32] | None
    not_scored: str | None = None


@dataclass(frozen=True, slots=True)
class ReadPosition:
    """How far the reading of a recording has come whose windows are not chosen before its end is known."""

    end_sample: int
    """At 16 kHz, from the start of the recording."""


@dataclass(frozen=True, slots=True)
class ChannelSummary:
    """What is known of one channel once the whole recording was read."""

    channel: int | None
    """0-based channel, or None for a mono file or the mix of all channels."""
    quality: Quality


@dataclass(frozen=True, slots=True)
class RecordingSummary:
    """What is known once the whole recording was read; closes the stream of its windows."""

    file: AudioFile
    sha256: str
    pcm_sha256: str
    """SHA-256 of the decoded PCM at the native rate: interleaved little-endian float32."""
    duration_s: float
    channel_mode: str
    """`"mono"`, `"mix"` or `"each"`."""
    channels: tuple[ChannelSummary, ...]
    warnings: tuple[tuple[str, str], ...] = ()
    """(code, message) of what was odd but did not prevent scoring, e.g. `("truncated", ...)`."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """An input that could not be scored, and why."""

    path: Path
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class WindowScore:
    """A window's result.

    Attributes:
        raw_score: spoof logit minus bona fide logit; None when the window was not scored.
        spoof_llr: calibrated natural-log likelihood ratio, positive supports synthetic; None likewise.
        not_scored: why not (`"no-speech"`, `OVER_BUDGET`), else None.
        validity_distance: of its features to the calibration data; None without a gate or score.
    """

    start_sample: int
    end_sample: int
    speech_s: float | None
    raw_score: float | None
    spoof_llr: float | None
    not_scored: str | None
    validity_distance: float | None = None
