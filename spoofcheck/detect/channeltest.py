"""Does a trace rest on the speech, or on the channel that the speech came through?

A tracer may know a source by what its recordings went through: a site's encoder, a room's noise, a line's filter. Two
runs of the same tracing tell of it (after Müller et al. 2021, "Speech is silver, silence is golden": detectors were
found to live on the silence):

* the residue, all that is not speech. A source found there again is found without a word of it.
* a copy of the traced windows through one codec, Opus at 24 kbit/s, the same for all exhibits. A copy closest to
  another source, or far less close, says that the decision hung on what a messenger takes away.

Neither proves anything: a generator may leave its mark in pauses too, and a codec may hide a true mark. They say that
a similarity must not be reported as support.

Why Opus at 24 kbit/s: it is what messengers and calls put speech through, wide-band and easily understood, and yet
models the fine structure anew: 19 to 24 dB of signal over its own noise on the tests' human and neural speech, 7 to 14
on harsh articulatory speech. Its delay is in the file's header, so that the copy is aligned; MP3 in libsndfile below 40
kbit/s has no room for that and comes 69 ms late.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np
import soundfile
from numpy.typing import NDArray

from spoofcheck.audio.windows import fill_window, plan_windows
from spoofcheck.detect.gallery import Accepts, Floats, Gallery, decided, unit
from spoofcheck.detect.residue import SpeechRemover, SpreadSamples
from spoofcheck.errors import UsageError
from spoofcheck.schema import ChannelTest, ChannelTestPart
from spoofcheck.types import SAMPLE_RATE_HZ, Window

MOST_WINDOWS = 8
"""Traced windows that are coded, evenly spaced."""

LEAST_RESIDUE_S = 1.0
"""Less is too little to be judged."""

LEAST_KEPT = 0.75
"""Share of the similarity that a copy must keep: the clips of the tests kept 81 % at least, a human reading 57 %."""

CODEC = "Opus at 16 kHz, 24 kbit/s"
_OPUS_BITS_PER_S = 24_000
_COMPRESSION_LEVEL = (256_000 - _OPUS_BITS_PER_S) / 250_000
"""libsndfile goes from 256 kbit/s a channel at level 0 to 6 kbit/s at level 1."""

Embed = Callable[[Sequence[NDArray[np.float32]]], Floats]
"""Unit embeddings `[n, D]` of windows, each float32 `[window_samples]`."""


def channel_test(
    windows: Iterable[Window], traced: Collection[int], decision: str, similarity: float, gallery: Gallery,
    accepts: Accepts, group: Collection[str], embed: Embed, window_samples: int,
) -> ChannelTest:  # fmt: skip
    """Repeat a trace without the speech, and on a copy through a codec.

    Args:
        windows: of one channel, in order and without gaps, all with samples: a second reading. They are taken as they
            come; a window, 32 s of residue and eight copies are the most that is kept.
        traced: indices of the windows that the trace rests on, at least one.
        decision: the trace's, a source of the gallery.
        similarity: of the exhibit to it.
        gallery: the sources it was compared with.
        accepts: the open-set rule.
        group: sources that cannot be told apart from the decision's; may be empty.
        embed: the tracer.
        window_samples: length of the tracer's windows; the recording's may have another.

    Returns:
        What both runs say. They fail when the residue's decision is the trace's (or one of its group), and when the
        copy is closest to another source, or keeps less than `LEAST_KEPT` of the similarity. That it is less close than
        the open-set rule asks for is no failure: every codec takes something away.

    Raises:
        ValueError: a window without samples, no traced window among them, or a decision that is no source.
        UsageError: libsndfile cannot write Opus.
    """
    place = gallery.names.index(decision)
    alike = {decision, *group}
    places = [number for number, name in enumerate(gallery.names) if name in alike]
    to_code = evenly_spaced(sorted(traced), MOST_WINDOWS)
    remover, residue = SpeechRemover(), SpreadSamples()
    copies = []
    heard_until = 0
    for window in windows:
        samples = recorded(window)
        residue.push(remover.push(samples[max(0, heard_until - window.start_sample) :]))
        heard_until = max(heard_until, window.end_sample)
        if window.index in to_code:
            copies.append(fill_window(coded(samples), window_samples))
    residue.push(remover.finish())
    if not copies:
        raise ValueError("none of the traced windows is there")

    def compared(heard: Sequence[NDArray[np.float32]]) -> Floats:
        return gallery.similarities(unit(np.asarray(embed(heard), np.float64).mean(axis=0))).clip(-1, 1)

    failed: list[ChannelTestPart] = []
    joined = residue.joined()
    rest = residue_windows(joined, window_samples)
    without_speech = compared(rest) if rest else None
    residue_decision = None if without_speech is None else decided(gallery, without_speech, accepts)
    if residue_decision in alike:
        failed.append("residue")
    copied = compared(copies)
    closest = gallery.names[int(copied.argmax())]
    if closest not in alike or copied[places].max() < LEAST_KEPT * similarity:
        failed.append("codec")
    return ChannelTest(
        residue_s=len(joined) / SAMPLE_RATE_HZ if rest else 0.0,
        residue_decision=residue_decision,
        residue_similarity=None if without_speech is None else float(without_speech[place]),
        codec=CODEC,
        codec_decision=decided(gallery, copied, accepts),
        codec_closest=closest,
        codec_similarity=float(copied[place]),
        failed=tuple(failed),
    )


def evenly_spaced(indices: Sequence[int], most: int) -> frozenset[int]:
    """At most that many of the indices, the first and the last among them (the first alone where one is asked for)."""
    places = np.linspace(0, len(indices) - 1, min(most, len(indices))).round().astype(int)
    return frozenset(indices[place] for place in places)


def recorded(window: Window) -> NDArray[np.float32]:
    """The samples of a window that are in the recording, without what repeats them to fill it.

    Raises:
        ValueError: it has none.
    """
    if window.samples is None:
        raise ValueError(f"window {window.index} has no samples")
    return window.samples[: window.end_sample - window.start_sample]


def residue_windows(samples: NDArray[np.float32], window_samples: int) -> list[NDArray[np.float32]]:
    """A residue `[n]` as windows, the last one over its end; repeated to fill one, and none below a second."""
    if len(samples) < LEAST_RESIDUE_S * SAMPLE_RATE_HZ:
        return []
    spans = plan_windows(len(samples), window_samples, window_samples)
    return [fill_window(samples[start:end], window_samples) for start, end in spans]


def coded(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Samples `[n]` at 16 kHz through Opus and back, in memory: the same length, aligned, peaks held to full scale.

    Raises:
        UsageError: libsndfile cannot write Opus.
    """
    buffer = io.BytesIO()
    try:
        soundfile.write(
            buffer, np.clip(samples, -1, 1), SAMPLE_RATE_HZ, format="OGG", subtype="OPUS",
            compression_level=_COMPRESSION_LEVEL,
        )  # fmt: skip
        buffer.seek(0)
        decoded, _ = soundfile.read(buffer, dtype="float32")
    except (ValueError, soundfile.LibsndfileError) as error:
        raise UsageError(
            f"the channel test of tracing needs a libsndfile that writes Opus (1.0.29 or newer; this is "
            f"{soundfile.__libsndfile_version__}): {error}; --no-trace goes without"
        ) from error
    missing = len(samples) - len(decoded)
    return np.asarray(np.pad(decoded, (0, missing)) if missing > 0 else decoded[: len(samples)], np.float32)
