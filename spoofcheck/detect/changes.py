"""Changes of a recording that should not matter, as streams: samples at 16 kHz in, as many samples out.

None holds more than a minute of samples. What goes through a codec goes in blocks of a minute, each with half a second
of what comes before and after it, so that a block's edges are not those of a recording.

Opus at 24 kbit/s and MP3 at 64 kbit/s are written and read by libsndfile in memory; the delay of both is in their
headers, and copies come back aligned to the sample (tests measure it).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Protocol

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from spoofcheck.errors import UsageError
from spoofcheck.types import SAMPLE_RATE_HZ

Wave = NDArray[np.float32]

CODED_BLOCK_SAMPLES = 60 * SAMPLE_RATE_HZ
CONTEXT_SAMPLES = SAMPLE_RATE_HZ // 2

_OPUS_24K_LEVEL = (256_000 - 24_000) / 250_000
"""libsndfile goes from 256 kbit/s a channel at level 0 to 6 kbit/s at level 1."""
_MP3_64K_LEVEL = (160_000 - 64_000) / 152_000
"""Of MPEG-2, which 16 kHz needs, libsndfile offers 160 kbit/s at level 0 to 8 kbit/s at level 1."""


class Change(Protocol):
    """One change, applied to the samples of one channel as they come."""

    def push(self, samples: Wave) -> Wave:
        """What becomes known of the changed recording. Shape: `[n]`, any n; the output may come later."""

    def finish(self) -> Wave:
        """The rest: all outputs together are as long as all inputs."""


class Unchanged:
    """Samples as they are."""

    def push(self, samples: Wave) -> Wave:
        """The same samples."""
        return samples

    def finish(self) -> Wave:
        """Nothing."""
        return np.zeros(0, np.float32)


class Gain(Unchanged):
    """Samples at another level.

    Args:
        gain_db: may be negative.
    """

    def __init__(self, gain_db: float) -> None:
        self._factor = np.float32(10 ** (gain_db / 20))

    def push(self, samples: Wave) -> Wave:
        """The samples times the gain; nothing is clipped."""
        return samples * self._factor


class Resampled:
    """Samples brought to another rate and back, by soxr HQ.

    Args:
        sample_rate_hz: the rate in between.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self._there, self._back = (
            soxr.ResampleStream(source, target, 1, dtype="float32", quality="HQ")
            for source, target in ((SAMPLE_RATE_HZ, sample_rate_hz), (sample_rate_hz, SAMPLE_RATE_HZ))
        )
        self._in = 0
        self._out = 0

    def push(self, samples: Wave) -> Wave:
        """What the resamplers give out so far."""
        self._in += len(samples)
        return self._counted(self._back.resample_chunk(self._there.resample_chunk(samples)))

    def finish(self) -> Wave:
        """What they still hold; two rates that do not divide may leave a sample too much or too little."""
        rest = self._there.resample_chunk(np.zeros(0, np.float32), last=True)
        rest = self._counted(self._back.resample_chunk(rest, last=True))
        missing = self._in - self._out
        return np.pad(rest, (0, missing)) if missing >= 0 else rest[:missing]

    def _counted(self, samples: Wave) -> Wave:
        self._out += len(samples)
        return np.asarray(samples, np.float32)


class Coded:
    """Samples that went through a lossy codec.

    Args:
        code: takes `[n]` to its decoded copy, `[n]`, aligned.
    """

    def __init__(self, code: Callable[[Wave], Wave]) -> None:
        self._code = code
        self._held = np.zeros(0, np.float32)
        self._known = 0  # samples at the begin of `_held` that are out already and stand there as context

    def push(self, samples: Wave) -> Wave:
        """The blocks that became whole."""
        self._held = np.concatenate((self._held, samples))
        done = [np.zeros(0, np.float32)]
        while len(self._held) >= (end := self._known + CODED_BLOCK_SAMPLES) + CONTEXT_SAMPLES:
            done.append(self._code(self._held[: end + CONTEXT_SAMPLES])[self._known : end])
            self._held = self._held[end - CONTEXT_SAMPLES :].copy()
            self._known = CONTEXT_SAMPLES
        return np.concatenate(done)

    def finish(self) -> Wave:
        """The last block."""
        return self._code(self._held)[self._known :] if len(self._held) > self._known else np.zeros(0, np.float32)


def through_opus(samples: Wave) -> Wave:
    """Samples `[n]` through Opus at 24 kbit/s, `[n]`; peaks are held to full scale."""
    return _through(samples, format="OGG", subtype="OPUS", compression_level=_OPUS_24K_LEVEL)


def through_mp3(samples: Wave) -> Wave:
    """Samples `[n]` through MP3 at 64 kbit/s, `[n]`; peaks are held to full scale."""
    return _through(
        samples, format="MP3", subtype="MPEG_LAYER_III", compression_level=_MP3_64K_LEVEL, bitrate_mode="CONSTANT"
    )


def require_codecs() -> None:
    """Make sure that both codecs can be written.

    Raises:
        UsageError: libsndfile is too old for them.
    """
    for container, subtype in (("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")):
        if not soundfile.check_format(container, subtype):
            raise UsageError(
                f"--stability needs a libsndfile that writes {container} ({subtype}), 1.1.0 or newer; this is "
                f"{soundfile.__libsndfile_version__}"
            )


def _through(samples: Wave, **form: str | float) -> Wave:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(samples, -1, 1), SAMPLE_RATE_HZ, **form)
    buffer.seek(0)
    decoded, _ = soundfile.read(buffer, dtype="float32")
    missing = len(samples) - len(decoded)
    return np.asarray(np.pad(decoded, (0, missing)) if missing > 0 else decoded[: len(samples)], np.float32)
