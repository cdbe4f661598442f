"""Traces by prototypes, a tracer that makes them, and a store of enrolled sources, for the renderers' tests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from spoofcheck.schema import (
    ChannelTest,
    CosineCalibrationInfo,
    EnrolledSourceInfo,
    Finding,
    Reason,
    SourceMatch,
    SourceStoreInfo,
    TraceInfo,
    TracerInfo,
    TracingFigure,
)

SOURCE_LLR_BOUND = 4.6
COSINE_THRESHOLD = 0.55
COSINE_RULE = "unknown when the largest similarity (cosine) is below 0.55"
SHIPPED = ("kokoro", "kittentts", "matcha", "piper", "speedyspeech")
ENROLLED = "Acme Voices (trial account)"
CODEC = "Opus at 16 kbit/s"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def prototype_tracer() -> TracerInfo:
    """A tracer of prototypes with five sources, two of which it cannot tell apart."""
    return TracerInfo(
        name="compact-tracer",
        version="2.0.0",
        architecture="spectral-stem -> statistics-embedding, 192 dimensions, 5 prototypes",
        weights_sha256=_sha256("prototypes"),
        config_sha256=_sha256("prototype config"),
        licence="Apache-2.0",
        training_data="9,140 synthetic clips of five families",
        classes=SHIPPED,
        rule=COSINE_RULE,
        threshold=COSINE_THRESHOLD,
        threshold_data="dev split: families that were not trained on",
        groups=(("kittentts", "kokoro"),),
        source_calibration=_calibration(2_200, 8_800, SOURCE_LLR_BOUND, 0.061, 0.214),
        link_calibration=_calibration(5_120, 40_960, 5.1, 0.083, 0.291),
        limitations=("Voice conversion was not among its sources.",),
        validation=(
            TracingFigure(
                dataset="dev-unseen, 20 draws of left-out families",
                seen_trials=1_760,
                unseen_trials=1_240,
                accuracy=0.902,
                macro_f1_seen=0.934,
                unseen_precision=0.918,
                unseen_recall=0.871,
                auroc=0.968,
                fpr95=0.093,
                oscr=0.941,
            ),
        ),
    )


def _calibration(target: int, other: int, bound: float, eer: float, cllr: float) -> CosineCalibrationInfo:
    return CosineCalibrationInfo(
        data="dev split, sources that were not trained on",
        target_trials=target,
        other_trials=other,
        llr_bound=bound,
        eer=eer,
        cllr=cllr,
    )


def source_store(
    *, name: str = ENROLLED, note: str = "five clips from the seized laptop", path: str = ""
) -> SourceStoreInfo:
    """A store with one source that stands alone, and one that does not."""
    return SourceStoreInfo(
        path=path or "/cases/2026-114/sources.json",
        sha256=_sha256("store"),
        sources=(
            EnrolledSourceInfo(
                name=name,
                note=note,
                created_at="2026-11-18T08:30:00+00:00",
                revision=2,
                clips=5,
                content_sha256=_sha256(name),
                closest=5,
            ),
            EnrolledSourceInfo(
                name="helpline bot",
                note="",
                created_at="2026-11-19T15:02:41+00:00",
                revision=1,
                clips=8,
                content_sha256=_sha256("helpline bot"),
                closest=6,
                confused_with=("piper", name),
            ),
        ),
    )


def channel_test(
    decision: str,
    *,
    residue: tuple[str, float] | None = ("unknown", 0.18),
    copy: tuple[str, float] | None = None,
) -> ChannelTest:
    """A test of a decision: what the residue and the copy were given to, with similarities to the decision's source."""
    copy = copy or (decision, 0.64)
    failed = [
        *(["residue"] if residue is not None and residue[0] == decision else []),
        *(["codec"] if copy[0] not in (decision, "unknown") else []),
    ]
    return ChannelTest.model_validate(
        {
            "residue_s": 0.4 if residue is None else 6.2,
            "residue_decision": residue and residue[0],
            "residue_similarity": residue and residue[1],
            "codec": CODEC,
            "codec_decision": copy[0],
            "codec_closest": decision if copy[0] == "unknown" else copy[0],
            "codec_similarity": copy[1],
            "failed": failed,
        }
    )


def with_trace(
    finding: Finding,
    sources: Sequence[tuple[str, float, float | None]],
    *,
    enrolled: Sequence[str] = (ENROLLED,),
    known: int = len(SHIPPED) + 2,
    group: Sequence[str] = (),
    unknown_group: str | None = None,
    test: ChannelTest | None = None,
) -> Finding:
    """The finding with a trace by prototypes: names, cosines and LLRs, closest first; no LLR if the test failed."""
    name, similarity, _ = sources[0]
    is_known = similarity >= COSINE_THRESHOLD
    failed = test is not None and bool(test.failed)
    reasons = list(finding.reasons)
    if group:
        message = f"The tracer cannot tell these sources apart: {', '.join(group)}."
        reasons.append(Reason(code="sources-not-separable", message=message))
    if failed:
        message = f"The similarity to {name} may come from the recording's channel. It does not count as support."
        reasons.append(Reason(code="trace-follows-channel", message=message))
    return finding.model_copy(
        update={
            "reasons": tuple(reasons),
            "sources": tuple(
                SourceMatch(
                    name=source,
                    similarity=cosine,
                    origin="enrolled" if source in enrolled else "shipped",
                    llr=None if failed else llr,
                )
                for source, cosine, llr in sources
            ),
            "trace": TraceInfo(
                decision=name if is_known else "unknown",
                rule=COSINE_RULE,
                measure="cosine",
                threshold=COSINE_THRESHOLD,
                windows=sum(window.spoof_llr is not None for window in finding.windows),
                enrolled=known,
                group=tuple(group),
                unknown_group=unknown_group,
                channel_test=test,
                embedding=(0.6, -0.48, 0.64),
            ),
        }
    )
