"""Documents with everything a report can hold: case, controls, custody, pictures, excerpts, observations, stability.

The figures are made up; the pictures and sounds are of a made-up chirp unless a caller has better ones.
"""

from __future__ import annotations

import base64
import io
import random
from collections.abc import Sequence
from functools import cache

import numpy as np
import soundfile
from PIL import Image

from spoofcheck.audio.acoustics.catalogue import MEASURES
from spoofcheck.schema import (
    AcousticMeasure,
    AcousticObservations,
    CaseExhibit,
    CaseInfo,
    ControlResult,
    CustodyCheck,
    Excerpt,
    Finding,
    HandOver,
    Pictures,
    ScanDocument,
    SpeechStretch,
    StabilityCard,
    StabilityRun,
    Verdict,
)
from tests.support.documents import sha256

CHECKED_AT = "2026-11-21T09:14:58+00:00"
STABILITY_RUNS = (
    ("phase+1s", "windows start 1 s later"),
    ("phase-1s", "windows start 1 s earlier"),
    ("gain+6db", "1.2 dB louder (no more without clipping)"),
    ("gain-6db", "6 dB quieter"),
    ("8khz", "brought to 8 kHz and back"),
    ("mp3-64k", "through MP3 at 64 kbit/s"),
    ("opus-24k", "through Opus at 24 kbit/s"),
    ("resample", "brought to 22.05 kHz and back"),
)


def filled(document: ScanDocument, pictures: Sequence[Pictures] = (), excerpts: bool = False) -> ScanDocument:
    """The document as a scan of a case leaves it.

    Args:
        pictures: given to the exhibits in turn; made up when there are none.
        excerpts: whether the first exhibits can be heard.
    """
    drawn = pictures or [made_up_pictures()]
    findings: list[Finding] = []
    named: list[CaseExhibit] = []
    for index, finding in enumerate(document.findings):
        if finding.verdict is Verdict.SKIPPED:
            findings.append(finding)
            continue
        named.append(CaseExhibit(file=finding.path, reference=f"EX-{index + 1}", description="as received"))
        findings.append(
            finding.model_copy(
                update={
                    "exhibit": f"EX-{index + 1}",
                    "custody": CustodyCheck(checked_at=CHECKED_AT, sha256=finding.sha256, unchanged=True),
                    "acoustics": observations(index),
                    "stability": stability(finding),
                    "pictures": drawn[index % len(drawn)],
                    "excerpts": listening(finding) if excerpts and index < 3 else (),
                }
            )
        )
    return document.model_copy(
        update={"findings": tuple(findings), "case": case(named), "note": "Made up, for tests.", "controls": controls()}
    )


def with_long_references(document: ScanDocument) -> ScanDocument:
    """The document with references as long as a case file may have them, without a place to break them."""
    findings = tuple(
        finding if finding.exhibit is None else finding.model_copy(update={"exhibit": finding.exhibit + "X" * 190})
        for finding in document.findings
    )
    return document.model_copy(update={"findings": findings})


def case(exhibits: Sequence[CaseExhibit]) -> CaseInfo:
    return CaseInfo(
        number="2026-114",
        client="Police station 7",
        examiner="A. Examiner",
        lab="Laboratory 3",
        question="Is the speech in these recordings synthetic?",
        exhibits=tuple(exhibits),
        hand_over=(HandOver(date="2026-11-03", given_by="Property office", received_by="A. Examiner", note="Bag 1"),),
        sha256=sha256("case.toml"),
    )


def controls() -> tuple[ControlResult, ...]:
    return tuple(
        ControlResult(
            name=f"{truth}.flac",
            truth=truth,
            sha256=sha256(truth),
            verdict=Verdict(truth),
            raw_score=llr,
            spoof_llr=llr,
            as_expected=True,
            message=f"{truth}.flac is judged as it should be.",
        )
        for truth, llr in (("bonafide", -4.2), ("spoof", 5.1))
    )


def observations(seed: int) -> AcousticObservations:
    rng = random.Random(seed)
    return AcousticObservations(
        examined_s=60.0,
        reference="human and synthetic speech of the training data",
        reference_sha256=sha256("reference"),
        human_recordings=400,
        synthetic_recordings=400,
        measures=tuple(
            AcousticMeasure(
                name=measure.name,
                label=measure.label,
                unit=measure.unit,
                value=round(rng.uniform(0, 100), 4),
                human_percentile=round(rng.uniform(0, 100), 1),
                synthetic_percentile=round(rng.uniform(0, 100), 1),
                remark="Unusually low for human speech." if rng.random() < 0.03 else None,
            )
            for measure in MEASURES
        ),
    )


def stability(finding: Finding) -> StabilityCard:
    llr = finding.spoof_llr
    runs = tuple(
        StabilityRun(
            name=name,
            label=label,
            spoof_llr=None if llr is None else round(llr + 0.1 * (index - 3), 4),
            verdict=finding.verdict,
        )
        for index, (name, label) in enumerate(STABILITY_RUNS)
    )
    llrs = [run.spoof_llr for run in runs if run.spoof_llr is not None]
    return StabilityCard(runs=runs, lowest_llr=min(llrs, default=None), highest_llr=max(llrs, default=None), flips=0)


def listening(finding: Finding) -> tuple[Excerpt, ...]:
    """One excerpt for the exhibit's direction as FLAC, one against it as Opus."""
    scored = [window for window in finding.windows if window.spoof_llr is not None]
    return tuple(
        Excerpt(
            direction=direction,
            start_s=window.start_s,
            end_s=window.start_s + 1,
            spoof_llr=window.spoof_llr,
            media_type=media_type,
            data_base64=sound(media_type),
        )
        for direction, media_type, window in zip(
            ("for", "against"), ("audio/flac", "audio/ogg"), (scored[:1] + scored[-1:]), strict=False
        )
    )


@cache
def sound(media_type: str) -> str:
    """One second of a rising tone, encoded, in base64."""
    kind, subtype = ("FLAC", "PCM_16") if media_type == "audio/flac" else ("OGG", "OPUS")
    file = io.BytesIO()
    soundfile.write(file, _chirp(), 16_000, format=kind, subtype=subtype)
    return base64.b64encode(file.getvalue()).decode("ascii")


@cache
def made_up_pictures() -> Pictures:
    rng = np.random.default_rng(0)
    loud = (100 * np.abs(np.sin(np.linspace(0, 30, 800))) * rng.uniform(0.5, 1, 800)).astype(int)
    levels = rng.integers(0, 20, (96, 480)).astype(np.uint8) * 12
    png = io.BytesIO()
    Image.fromarray(levels, mode="L").save(png, "PNG", optimize=True)
    return Pictures(
        peaks=tuple((-int(peak), int(peak)) for peak in loud),
        speech=(SpeechStretch(start_s=1.0, end_s=6.0), SpeechStretch(start_s=8.0, end_s=14.0)),
        spectrogram_png_base64=base64.b64encode(png.getvalue()).decode("ascii"),
        spectrogram_hz=8_000.0,
        spectrogram_db=(-70.0, 0.0),
    )


def _chirp() -> np.ndarray:
    time_s = np.arange(16_000) / 16_000
    return (0.3 * np.sin(2 * np.pi * (300 + 400 * time_s) * time_s)).astype(np.float32)
