"""What a report shows of an exhibit beside its verdict, made in one further reading of the recording.

Pictures, acoustic observations and the stability test hear the same stream of samples, side by side; excerpts are cut
at the recording's own rate, and take a reading of their own. What is held does not grow with the recording. One that
cannot be read a second time keeps its verdict: a reason says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from spoofcheck.detect.again import ReadAgain, heard_again
from spoofcheck.detect.budget import examined_places
from spoofcheck.detect.decision import Decision
from spoofcheck.errors import InputError
from spoofcheck.schema import FLAGGED, AcousticObservations, Excerpt, Finding, Pictures, Reason, StabilityCard
from spoofcheck.types import ChannelSummary, RecordingSummary, WindowScore, samples_to_seconds

if TYPE_CHECKING:
    from spoofcheck.audio.acoustics import StretchCollector
    from spoofcheck.detect.observations import AcousticReference
    from spoofcheck.detect.stability import Judging

_COST_OF_READING = 0.6
_COST_OF_STABILITY = 9.0
"""Processor time over that of the judgement, measured on examples/recordings; a progress bar rests on it."""

Made = TypeVar("Made")
Made_co = TypeVar("Made_co", covariant=True)


ExcerptChoice = Literal["none", "flagged", "all"]
"""Of which exhibits excerpts are kept."""


@dataclass(frozen=True, slots=True)
class EvidenceOptions:
    """What to make of every exhibit beside its verdict; nothing by default."""

    acoustics: bool = False
    pictures: bool = False
    excerpts: ExcerptChoice = "none"
    stability: bool = False

    @property
    def is_any(self) -> bool:
        """Whether there is anything to make."""
        return self.acoustics or self.pictures or self.excerpts != "none" or self.stability

    @property
    def cost(self) -> float:
        """About how much longer it takes than the judgement."""
        reading = _COST_OF_READING if self.acoustics or self.pictures or self.excerpts != "none" else 0.0
        return reading + (_COST_OF_STABILITY if self.stability else 0.0)


@dataclass(frozen=True, slots=True)
class Judged:
    """One channel of a recording as the scan judged it."""

    channel: ChannelSummary
    windows: Sequence[WindowScore]
    decision: Decision


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was made of one channel.

    Attributes:
        acoustics: None when not asked for, when it failed, and where nothing could be measured.
        pictures: None when not asked for, or when it failed.
        excerpts: empty when not asked for, when it failed, and where no window was scored.
        stability: None when not asked for, when it failed, and for a channel without a score.
        reasons: why something that was asked for is missing.
    """

    acoustics: AcousticObservations | None = None
    pictures: Pictures | None = None
    excerpts: tuple[Excerpt, ...] = ()
    stability: StabilityCard | None = None
    reasons: tuple[Reason, ...] = ()


class Gatherer:
    """Makes the evidence of recordings that a scan has judged.

    Args:
        options: what to make; something.
        judging: how the scan judged.
        read_again: opens a further reading.
        debug: raise what nobody foresaw instead of leaving out what it happened in.

    Raises:
        ModelError: the acoustic reference is missing or damaged.
        UsageError: libsndfile lacks a codec of the stability test.
    """

    def __init__(
        self, options: EvidenceOptions, judging: Judging, read_again: ReadAgain, *, debug: bool = False
    ) -> None:
        self._options = options
        self._judging = judging
        self._read_again = read_again
        self._debug = debug
        self._reference: AcousticReference | None = None
        if options.acoustics:
            # librosa and Praat take a second to load: only now.
            from spoofcheck.detect.observations import load_reference

            self._reference = load_reference()
        if options.stability:
            from spoofcheck.detect.changes import require_codecs

            require_codecs()

    @property
    def reference_sha256(self) -> str | None:
        """Of the acoustic reference; None where none is compared with."""
        return None if self._reference is None else self._reference.sha256

    def evidence(
        self, summary: RecordingSummary, judged: Sequence[Judged], heard: Callable[[float], None]
    ) -> dict[int | None, Evidence]:
        """The evidence of a recording.

        Args:
            summary: what its first reading ended with.
            judged: its channels.
            heard: told how far the further reading has come, in seconds.

        Returns:
            An entry for every channel, by its number.
        """
        listening = [(each.channel.channel, self._listeners(summary, each)) for each in judged]
        unread = self._listen(summary, dict(listening), heard)
        made = {
            number: Evidence(reasons=unread) if unread else self._finished(listeners) for number, listeners in listening
        }
        if self._options.excerpts == "none" or unread:
            return made
        excerpts, missing = self._excerpts(summary, judged)
        return {
            number: replace(each, excerpts=excerpts.get(number, ()), reasons=(*each.reasons, *missing))
            for number, each in made.items()
        }

    def _listeners(self, summary: RecordingSummary, judged: Judged) -> _Listeners:
        options, file = self._options, summary.file
        listeners = _Listeners()
        if options.pictures:
            from spoofcheck.detect.views import Painter

            painter = Painter(summary.duration_s, file.sample_rate_hz, self._judging.vad)
            listeners.pictures = _Guarded("pictures", painter, self._debug)
        if self._reference is not None:
            from spoofcheck.audio.acoustics import StretchCollector

            observer = _Observer(StretchCollector(summary.duration_s), self._reference)
            listeners.acoustics = _Guarded("acoustic observations", observer, self._debug)
        if options.stability and judged.decision.spoof_llr is not None:
            from spoofcheck.detect.stability import StabilityTest

            places = examined_places(judged.windows)
            test = StabilityTest(self._judging, file, judged.channel.quality, judged.decision, places)
            listeners.stability = _Guarded("stability test", test, self._debug)
        return listeners

    def _listen(
        self, summary: RecordingSummary, listening: Mapping[int | None, _Listeners], heard: Callable[[float], None]
    ) -> tuple[Reason, ...]:
        """Let everybody hear the recording; why it could not be heard to its end."""
        first = next(iter(listening), None)
        if not any(each for listeners in listening.values() for each in listeners.all()):
            return ()
        position = 0
        try:
            for number, samples in heard_again(summary, self._read_again):
                for listener in listening[number].all():
                    listener.push(samples)
                if number == first:
                    position += len(samples)
                    heard(samples_to_seconds(position))
        except InputError as error:
            return (_not_read(error),)
        return ()

    def _finished(self, listeners: _Listeners) -> Evidence:
        acoustics = listeners.acoustics.finish() if listeners.acoustics else None
        pictures = listeners.pictures.finish() if listeners.pictures else None
        stability = listeners.stability.finish() if listeners.stability else None
        reasons = tuple(each.reason for each in listeners.all() if each.reason is not None)
        return Evidence(acoustics=acoustics, pictures=pictures, stability=stability, reasons=reasons)

    def _excerpts(
        self, summary: RecordingSummary, judged: Sequence[Judged]
    ) -> tuple[dict[int | None, tuple[Excerpt, ...]], tuple[Reason, ...]]:
        from spoofcheck.detect.excerpts import chosen_windows, excerpts_of

        chosen = {
            each.channel.channel: chosen_windows(each.windows, each.decision.spoof_llr)
            for each in judged
            if self._options.excerpts == "all" or each.decision.verdict in FLAGGED
        }
        if not chosen:
            return {}, ()
        try:
            return excerpts_of(summary, chosen), ()
        except InputError as error:
            return {}, (_not_read(error),)
        except Exception as error:
            if self._debug:
                raise
            return {}, (_not_made("excerpts", error),)


def with_evidence(finding: Finding, evidence: Evidence) -> Finding:
    """A finding with its evidence.

    A flip in the stability test makes the verdict inconclusive, and is then the first reason; what was traced stays.
    Reasons for what is missing come last.
    """
    complete = finding.model_copy(
        update={
            "acoustics": evidence.acoustics,
            "pictures": evidence.pictures,
            "excerpts": evidence.excerpts,
            "reasons": (*finding.reasons, *evidence.reasons),
        }
    )
    if evidence.stability is None:
        return complete
    from spoofcheck.detect.stability import with_stability

    return with_stability(complete, evidence.stability)


class Listens(Protocol[Made_co]):
    """Hears one channel and makes something of it."""

    def push(self, samples: NDArray[np.float32]) -> None:
        """Take in the next samples, `[n]` at 16 kHz."""

    def finish(self) -> Made_co:
        """What became of it."""


class _Guarded(Generic[Made]):
    """A listener that falls silent when it fails, so that the others hear on."""

    def __init__(self, what: str, listener: Listens[Made], debug: bool) -> None:
        self.reason: Reason | None = None
        self._what = what
        self._listener = listener
        self._debug = debug

    def push(self, samples: NDArray[np.float32]) -> None:
        if self.reason is not None:
            return
        try:
            self._listener.push(samples)
        except Exception as error:
            self._note(error)

    def finish(self) -> Made | None:
        if self.reason is not None:
            return None
        try:
            return self._listener.finish()
        except Exception as error:
            self._note(error)
        return None

    def _note(self, error: Exception) -> None:
        if self._debug and not isinstance(error, InputError):
            raise error
        self.reason = _not_made(self._what, error)


@dataclass(slots=True)
class _Listeners:
    """Who hears one channel."""

    pictures: _Guarded[Pictures] | None = None
    acoustics: _Guarded[AcousticObservations | None] | None = None
    stability: _Guarded[StabilityCard] | None = None

    def all(self) -> tuple[_Guarded[Pictures] | _Guarded[AcousticObservations | None] | _Guarded[StabilityCard], ...]:
        each = (self.pictures, self.acoustics, self.stability)
        return tuple(listener for listener in each if listener is not None)


class _Observer:
    """Measures a channel once all of it was heard."""

    def __init__(self, collector: StretchCollector, reference: AcousticReference) -> None:
        self._collector = collector
        self._reference = reference

    def push(self, samples: NDArray[np.float32]) -> None:
        self._collector.push(samples)

    def finish(self) -> AcousticObservations | None:
        """The observations; None where not one measure has a value."""
        from spoofcheck.detect.observations import observe

        observations = observe(self._collector.finish(), self._reference)
        return observations if any(each.value is not None for each in observations.measures) else None


def _not_made(what: str, error: Exception) -> Reason:
    if isinstance(error, InputError):
        why = error.message
    else:
        why = f"unexpected {type(error).__name__}: {error}. Please report it with the output of --debug."
    return Reason(code="evidence-missing", message=f"The {what} could not be made: {why}")


def _not_read(error: InputError) -> Reason:
    return Reason(code="not-read-again", message=f"It could not be read again for the report: {error.message}")
