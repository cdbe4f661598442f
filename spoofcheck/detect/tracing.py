"""Which known source an exhibit is most similar to, or that it is like none of them.

The windows at or above the window threshold are traced, and all scored windows where there are none.

* A tracer with prototypes places every window on a sphere. The exhibit is the mean of its traced windows, at unit
  length, and is compared with the prototypes of all sources, shipped and enrolled, by the cosine.
* A tracer without prototypes, as published, gives a softmax over its classes. An exhibit's similarities are their mean
  over its traced windows: one window with an extreme logit cannot decide alone, the threshold keeps its scale, and a
  single window gives the published rule.

Either way the tracer's open-set rule says whether the largest similarity is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spoofcheck.detect.calibration import to_llr
from spoofcheck.detect.enrolment import linked
from spoofcheck.detect.gallery import Accepts, Floats, Gallery, acceptance, decided, embedding_head, gallery_of, unit
from spoofcheck.detect.sourcestore import StoredSource
from spoofcheck.nets.bundle import TracerBundle
from spoofcheck.nets.config import UNKNOWN_SOURCE, TracerConfig
from spoofcheck.schema import ChannelTest, ChannelTestPart, Reason, SourceMatch, TraceInfo
from spoofcheck.types import WindowScore

SOURCES_LISTED = 3
"""How many of the most similar sources a finding names."""

_EMBEDDING_DECIMALS = 6
"""Of an exhibit's embedding in the document: a similarity made from it moves by less than 1e-5."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What tracing says of one exhibit."""

    sources: tuple[SourceMatch, ...]
    info: TraceInfo


@dataclass(frozen=True, slots=True, eq=False)
class KnownSources:
    """What a tracer with prototypes compares exhibits with, and how it decides.

    Attributes:
        config: of the tracer.
        gallery: its sources, shipped and enrolled.
        accepts: its open-set rule.
        groups: names that cannot be told apart, in the gallery's order.
        rule: the open-set rule in words.
    """

    config: TracerConfig
    gallery: Gallery
    accepts: Accepts
    groups: tuple[tuple[str, ...], ...]
    rule: str

    def group_of(self, name: str) -> tuple[str, ...]:
        """The source and those that cannot be told apart from it; empty when it stands alone."""
        return next((group for group in self.groups if name in group), ())


def known_sources(bundle: TracerBundle, enrolled: Sequence[StoredSource] = ()) -> KnownSources:
    """The sources of a tracer with prototypes and those enrolled with it.

    Raises:
        UsageError: the tracer has no prototypes.
        ModelError: an enrolled source does not fit the tracer.
    """
    gallery = gallery_of(bundle, [source.source() for source in enrolled])
    links = [(group[0], name) for group in bundle.config.groups for name in group[1:]]
    links += [(source.name, name) for source in enrolled for name in source.confused_with]
    return KnownSources(
        config=bundle.config,
        gallery=gallery,
        accepts=acceptance(bundle),
        groups=linked(gallery.names, links),
        rule=rule_words(bundle),
    )


def rule_words(bundle: TracerBundle) -> str:
    """The open-set rule as a scan with this tracer applies it."""
    open_set = bundle.config.open_set
    if embedding_head(bundle) is not None and open_set.method == "max-softmax":
        return f"{UNKNOWN_SOURCE} when the largest softmax of the scaled similarities is below {open_set.threshold:g}"
    return open_set.words


def windows_to_trace(windows: Sequence[WindowScore], window_threshold_llr: float) -> frozenset[int]:
    """Indices of the scored windows at or above the threshold, or of all scored windows where none is.

    Windows of an uncalibrated model have no LLR: then all that were scored.
    """
    scored = {i: window.spoof_llr for i, window in enumerate(windows) if window.raw_score is not None}
    flagged = frozenset(i for i, llr in scored.items() if llr is not None and llr >= window_threshold_llr)
    return flagged or frozenset(scored)


def judge_embedding(mean: Floats, windows: int, known: KnownSources) -> Trace:
    """The open-set decision on an exhibit by a tracer with prototypes.

    Args:
        mean: `[D]`, of the traced windows' embeddings.
        windows: how many were traced.
        known: what it is compared with.

    Equal similarities stand in the order of the gallery.

    Raises:
        ValueError: the mean has no direction.
    """
    embedding = unit(mean)
    # The cosine of a vector with itself may end a rounding error above 1.
    similarities = known.gallery.similarities(embedding).clip(-1.0, 1.0)
    decision = decided(known.gallery, similarities, known.accepts)
    # Of an unknown exhibit no source is said to have support, and no channel test stands behind a ratio.
    calibration = None if decision == UNKNOWN_SOURCE else known.config.source_calibration
    matches = []
    for index in np.argsort(-similarities, kind="stable")[:SOURCES_LISTED].tolist():
        source, similarity = known.gallery.sources[index], float(similarities[index])
        llr = None if calibration is None else to_llr(similarity, calibration, calibration.llr_bound)
        matches.append(SourceMatch(name=source.name, similarity=similarity, origin=source.origin, llr=llr))
    return Trace(
        sources=tuple(matches),
        info=TraceInfo(
            decision=decision,
            rule=known.rule,
            measure="cosine",
            threshold=known.config.open_set.threshold,
            windows=windows,
            enrolled=len(known.gallery),
            group=known.group_of(decision),
            embedding=tuple((np.round(embedding, _EMBEDDING_DECIMALS) + 0.0).tolist()),  # no negative zeros
        ),
    )


def judge_source(similarities: Sequence[float], windows: int, config: TracerConfig) -> Trace:
    """The open-set decision on an exhibit by a tracer without prototypes.

    Args:
        similarities: one per class, the mean over the traced windows.
        windows: how many were traced.
        config: the tracer's classes and threshold.

    Equal similarities stand in the order of the classes.
    """
    ranked = sorted(zip(similarities, config.classes, strict=True), key=lambda pair: -pair[0])
    # A mean of softmax outputs may end a rounding error above 1.
    sources = tuple(SourceMatch(name=name, similarity=min(1.0, value)) for value, name in ranked[:SOURCES_LISTED])
    is_known = sources[0].similarity >= config.open_set.threshold
    return Trace(
        sources=sources,
        info=TraceInfo(
            decision=sources[0].name if is_known else UNKNOWN_SOURCE,
            rule=config.open_set.words,
            threshold=config.open_set.threshold,
            windows=windows,
            enrolled=len(config.classes),
        ),
    )


def with_channel_test(trace: Trace, test: ChannelTest) -> Trace:
    """The trace with what its channel test found; when that failed, no likelihood ratio of a source is left."""
    info = trace.info.model_copy(update={"channel_test": test})
    if not test.failed:
        return Trace(trace.sources, info)
    return Trace(tuple(source.model_copy(update={"llr": None}) for source in trace.sources), info)


_FOLLOWS_CHANNEL: dict[ChannelTestPart, str] = {
    "residue": "what is not speech is traced to it too",
    "codec": "a copy of the same speech through a codec is far less close to it, or closest to another source",
}


def trace_reasons(trace: Trace) -> tuple[Reason, ...]:
    """What to beware of in a trace, in sentences for the analyst."""
    reasons = []
    if len(trace.info.group) > 1:
        reasons.append(
            Reason(
                code="sources-not-separable",
                message=f"The tracer cannot tell these sources apart, so that none of them is closer than the others: "
                f"{', '.join(trace.info.group)}.",
            )
        )
    test = trace.info.channel_test
    if test is not None and test.failed:
        found = " and ".join(_FOLLOWS_CHANNEL[part] for part in test.failed)
        reasons.append(
            Reason(
                code="trace-follows-channel",
                message=f"The similarity to {trace.info.decision} may come from the recording's channel, not from its "
                f"speech: {found}. It does not count as support.",
            )
        )
    return tuple(reasons)
