"""A case with everything that a report shows beside the scores: custody, controls, pictures, sound, stability.

Sounds and pictures are written by hand, byte for byte, so that golden files hang on no encoder's version.
"""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Sequence
from functools import cache

from spoofcheck.schema import (
    CaseExhibit,
    CaseInfo,
    ConditionFigure,
    ControlResult,
    CustodyCheck,
    Excerpt,
    Finding,
    HandOver,
    ModelInfo,
    Pictures,
    ScanDocument,
    ScorePercentile,
    SpeechStretch,
    StabilityCard,
    StabilityRun,
    ValidationFigure,
    Verdict,
)
from tests.support.casework import STABILITY_RUNS, observations
from tests.support.documents import FOLDER, HOSTILE_NAMES, document, finding, sha256, skipped, wavering

CHECKED_AT = "2026-11-21T09:14:58+00:00"
PEAKS = 120
CONDITIONS = {"original": 0.142, "mp3-64k": 0.171, "opus-16k": 0.196, "8khz": 0.312, "noise-15db": 0.274}


def evidence_document(*, controls_ok: bool = True) -> ScanDocument:
    """A case of four exhibits: one that changed on disk, one that is unstable, one from a telephone, one plain."""
    plain = finding(f"{FOLDER}/witness-a.wav", Verdict.BONAFIDE, -4.0712, wavering(-4.1, 12, seed=2), distance=0.97)
    spliced = finding(
        f"{FOLDER}/address-1961.mp3",
        Verdict.PARTIAL,
        -1.6203,
        [*wavering(-3.4, 9, seed=4), *wavering(4.6, 4, seed=5, spread=1.6), None, *wavering(-3.1, 8, seed=6)],
        spans=[(36.0, 52.0, 4.5381)],
        container="MP3",
        codec="MPEG_LAYER_III",
        bit_depth=None,
    )
    unstable = finding(
        f"{FOLDER}/voicemail.ogg",
        Verdict.INCONCLUSIVE,
        2.0134,
        [2.2, 3.9, -0.7, 1.4, 2.1],
        container="OGG",
        codec="OPUS",
        bit_depth=None,
        reasons=[
            (
                "unstable",
                "Unstable: 1 of 8 changes that should not matter turn the verdict (spoof) over: through Opus at 24 "
                "kbit/s.",
            ),
            ("above-spoof-threshold", "Pooled LLR +2.01 is at or above the spoof threshold +1.50."),
        ],
    )
    telephone = finding(
        f"{FOLDER}/intercept-0017.wav",
        Verdict.SPOOF,
        6.9,
        [min(6.9, llr) for llr in wavering(6.6, 9, seed=10)],
        spans=[(0.0, 36.0, 6.52)],
        sample_rate_hz=8_000,
        bandwidth_hz=3_400.0,
        snr_db=12.2,
        codec="ALAW",
        bit_depth=8,
    )
    result = document(
        [
            examined(plain, "EX-1", stable(plain)),
            examined(spliced, "EX-2", stable(spliced), heard=True, now=sha256("another file")),
            examined(unstable, "EX-3", flipping(unstable, "opus-24k"), heard=True),
            examined(telephone, None, None),
            skipped(f"{FOLDER}/cut-off.wav", "truncated-header", "The file ends inside its header."),
        ]
    )
    return result.model_copy(
        update={
            "case": case(),
            "note": "EX-2 was played to the client on 5 November.\nThe client takes 0:36 to 0:52 for an insertion.",
            "controls": controls(controls_ok),
            "model": with_figures(result.model),
        }
    )


def examined(
    exhibit: Finding,
    reference: str | None,
    stability: StabilityCard | None,
    *,
    heard: bool = False,
    now: str | None = None,
) -> Finding:
    """The finding as a full scan leaves it; `now`: the file's hash after the run, where it is another one."""
    return exhibit.model_copy(
        update={
            "exhibit": reference,
            "custody": CustodyCheck(checked_at=CHECKED_AT, sha256=now or exhibit.sha256, unchanged=now is None),
            "acoustics": observations(len(exhibit.windows)),
            "stability": stability,
            "excerpts": excerpts(exhibit) if heard else (),
            "pictures": pictures(exhibit.duration_s or 0.0),
        }
    )


def case() -> CaseInfo:
    """A case file's content; its last exhibit was not among the recordings."""
    return CaseInfo(
        number="2026-114",
        client="Police station 7",
        examiner="A. Examiner",
        lab="Laboratory 3",
        question="Is the speech in these recordings synthetic, and if so, where?",
        exhibits=(
            CaseExhibit(file="witness-a.wav", reference="EX-1", description="Statement of witness A, as recorded"),
            CaseExhibit(file="address-1961.mp3", reference="EX-2", description="As sent by the client"),
            CaseExhibit(file="voicemail.ogg", reference="EX-3"),
            CaseExhibit(file="second-voicemail.ogg", reference="EX-4", description="Announced, not received"),
        ),
        hand_over=(
            HandOver(date="2026-11-03", given_by="Property office", received_by="A. Examiner", note="Bag 4711, sealed"),
            HandOver(date="2026-11-04", given_by="A. Examiner", received_by="Laboratory 3"),
        ),
        sha256=sha256("case.toml"),
    )


def controls(ok: bool) -> tuple[ControlResult, ...]:
    """Two controls, of which the synthetic one fails unless `ok`."""
    return (
        ControlResult(
            name="control-human.flac",
            truth="bonafide",
            sha256=sha256("control-human"),
            verdict=Verdict.BONAFIDE,
            raw_score=-6.1,
            spoof_llr=-4.2,
            as_expected=True,
            message="The human control is judged bona fide.",
        ),
        ControlResult(
            name="control-synthetic.flac",
            truth="spoof",
            sha256=sha256("control-synthetic"),
            verdict=Verdict.SPOOF if ok else Verdict.BONAFIDE,
            raw_score=8.4 if ok else -3.3,
            spoof_llr=5.1 if ok else -2.8,
            as_expected=ok,
            message=f"The synthetic control is judged {'spoof' if ok else 'bona fide'}.",
        ),
    )


def stable(exhibit: Finding) -> StabilityCard:
    """A card without a flip."""
    return _card(exhibit, {})


def flipping(exhibit: Finding, name: str) -> StabilityCard:
    """A card on which one change turns spoof into bona fide."""
    return _card(exhibit, {name: (-1.74, Verdict.BONAFIDE)}, otherwise=Verdict.SPOOF)


def _card(exhibit: Finding, other: dict[str, tuple[float, Verdict]], otherwise: Verdict | None = None) -> StabilityCard:
    runs = []
    for index, (name, label) in enumerate(STABILITY_RUNS):
        llr, verdict = other.get(
            name, (round((exhibit.spoof_llr or 0.0) + 0.12 * (index - 4), 4), otherwise or exhibit.verdict)
        )
        runs.append(StabilityRun(name=name, label=label, spoof_llr=llr, verdict=verdict, flipped=name in other))
    llrs = [llr for llr in (exhibit.spoof_llr, *(run.spoof_llr for run in runs)) if llr is not None]
    return StabilityCard(runs=tuple(runs), lowest_llr=min(llrs), highest_llr=max(llrs), flips=len(other))


def with_figures(model: ModelInfo) -> ModelInfo:
    """The model with figures per condition, and with percentiles of its calibration data."""
    first = model.validation[0]
    return model.model_copy(
        update={
            "conditions": tuple(_condition(first, name, eer) for name, eer in CONDITIONS.items()),
            "percentiles": tuple(
                ScorePercentile(
                    percent=percent, bonafide_llr=-3.1 + 1.3 * spread, spoof_llr=round(min(6.9, 3.9 + 1.9 * spread), 3)
                )
                for percent, spread in ((1, -2.3), (5, -1.6), (25, -0.7), (50, 0.0), (75, 0.7), (95, 1.6), (99, 2.3))
            ),
        }
    )


def _condition(like: ValidationFigure, name: str, eer: float) -> ConditionFigure:
    changed = {"condition": name, "eer": eer, "eer_low": eer - 0.01, "eer_high": eer + 0.01}
    return ConditionFigure.model_validate(like.model_dump() | changed)


def excerpts(exhibit: Finding) -> tuple[Excerpt, ...]:
    """The highest and the lowest window, in the order of the pooled direction."""
    scored = sorted(
        (window for window in exhibit.windows if window.spoof_llr is not None), key=lambda window: window.spoof_llr or 0
    )
    ends = [scored[-1], scored[0]] if (exhibit.spoof_llr or 0.0) >= 0 else [scored[0], scored[-1]]
    return tuple(
        Excerpt(
            direction="for" if index == 0 else "against",
            start_s=window.start_s,
            end_s=window.end_s,
            spoof_llr=window.spoof_llr or 0.0,
            media_type="audio/flac",
            data_base64=base64.b64encode(tiny_flac()).decode("ascii"),
        )
        for index, window in enumerate(ends)
    )


def pictures(duration_s: float) -> Pictures:
    """A made-up waveform with pauses, where they are, and a small spectrogram."""
    voiced = [math.sin(0.14 * column) > -0.5 for column in range(PEAKS)]
    peaks = tuple(
        (-level, level - 2) if voice else (-2, 1)
        for column, voice in enumerate(voiced)
        for level in [round(40 + 60 * abs(math.sin(2.5 * column) * math.cos(0.3 * column)))]
    )
    edges = [
        column
        for column in range(PEAKS + 1)
        if (column < PEAKS and voiced[column]) != (column > 0 and voiced[column - 1])
    ]
    times = [column * duration_s / PEAKS for column in edges]
    return Pictures(
        peaks=peaks,
        speech=tuple(
            SpeechStretch(start_s=start, end_s=end) for start, end in zip(times[::2], times[1::2], strict=True)
        ),
        spectrogram_png_base64=base64.b64encode(tiny_png()).decode("ascii"),
        spectrogram_hz=8_000.0,
        spectrogram_db=(-70.0, 0.0),
    )


@cache
def tiny_png(width: int = 40, height: int = 12) -> bytes:
    """A grey PNG, darker towards the bottom; its data is stored, not compressed."""
    rows = b"".join(
        b"\0" + bytes(min(255, 40 + (height - y) * 14 + (x * 7) % 30) for x in range(width)) for y in range(height)
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    stored = b"\x78\x01\x01" + struct.pack("<HH", len(rows), 0xFFFF ^ len(rows)) + rows
    data = stored + struct.pack(">I", zlib.adler32(rows))
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


@cache
def tiny_flac(samples: int = 192) -> bytes:
    """12 ms of a tone at 16 kHz: one frame of verbatim 8-bit samples (RFC 9639)."""
    sound = bytes(round(90 * math.sin(2 * math.pi * 500 * n / 16_000)) & 0xFF for n in range(samples))
    # Sample rate (20 bits), channels - 1 (3), bits - 1 (5), total samples (36).
    rate_and_more = (16_000 << 44 | 0 << 41 | 7 << 36 | samples).to_bytes(8, "big")
    info = struct.pack(">HH", samples, samples) + bytes(6) + rate_and_more + bytes(16)
    # Block size given in 8 bits, 16 kHz, mono, 8 bits per sample; frame number 0.
    head = bytes([0xFF, 0xF8, 0x65, 0x02, 0x00, samples - 1])
    frame = head + bytes([_crc(head, 8, 0x07)]) + b"\x02" + sound
    return b"fLaC\x80" + len(info).to_bytes(3, "big") + info + frame + _crc(frame, 16, 0x8005).to_bytes(2, "big")


def _crc(data: Sequence[int], bits: int, polynomial: int) -> int:
    value = 0
    for byte in data:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value >> (bits - 1) else 0)) & ((1 << bits) - 1)
    return value


def hostile_evidence() -> ScanDocument:
    """The same case with hostile text wherever a user, a file or a saved document can put it."""
    result = evidence_document(controls_ok=False)
    name = " ".join(HOSTILE_NAMES)
    findings = []
    for index, exhibit in enumerate(result.findings):
        hostile = HOSTILE_NAMES[index + 3]
        changes: dict[str, object] = {"path": f"{FOLDER}/{hostile}", "exhibit": hostile}
        if exhibit.stability is not None:
            runs = tuple(run.model_copy(update={"label": name, "name": name}) for run in exhibit.stability.runs)
            changes["stability"] = exhibit.stability.model_copy(update={"runs": runs})
        if exhibit.acoustics is not None:
            measures = tuple(
                measure.model_copy(update={"label": name, "unit": hostile, "remark": name, "name": name})
                for measure in exhibit.acoustics.measures[:4]
            )
            changes["acoustics"] = exhibit.acoustics.model_copy(
                update={"measures": measures, "reference": name, "reference_sha256": name}
            )
        if exhibit.custody is not None:
            changes["custody"] = CustodyCheck(checked_at=name, sha256=name, unchanged=False)
        findings.append(exhibit.model_copy(update=changes))
    step = HandOver(date=name, given_by=name, received_by=name, note=name)
    named = CaseExhibit(file=name, reference=name, description=name)
    assert result.case is not None
    about = dict.fromkeys(("number", "client", "examiner", "lab", "question", "sha256"), name)
    made = result.model_copy(
        update={
            "findings": tuple(findings),
            "case": result.case.model_copy(update={**about, "exhibits": (named,), "hand_over": (step,)}),
            "note": name,
            "controls": tuple(
                control.model_copy(update={"name": name, "message": name, "sha256": name})
                for control in result.controls
            ),
            "model": result.model.model_copy(
                update={
                    "conditions": tuple(
                        figure.model_copy(update={"condition": name, "dataset": name})
                        for figure in result.model.conditions
                    )
                }
            ),
        }
    )
    # What was copied was not checked: undecodable names are written out as a document's own fields are.
    return ScanDocument.model_validate(made.model_dump())
