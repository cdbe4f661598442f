"""Builds result documents as a scan would write them, for the renderers' tests: no audio, no model."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence

from spoofcheck.detect.decision import UNCALIBRATED
from spoofcheck.schema import (
    CalibrationInfo,
    Finding,
    MediaInfo,
    ModelInfo,
    OptionsInfo,
    QualityInfo,
    Reason,
    RunInfo,
    ScanDocument,
    SourceMatch,
    SourceStoreInfo,
    Span,
    ToolInfo,
    TraceInfo,
    TracerInfo,
    TracingFigure,
    UnknownGroup,
    ValidationFigure,
    ValidityInfo,
    ValidityLimits,
    Verdict,
    WindowResult,
)
from tests.support.traces import (
    ENROLLED,
    channel_test,
    prototype_tracer,
    source_store,
    with_trace,
)

BOUND_LLR = 6.9
SPOOF_LLR = 1.5
BONAFIDE_LLR = -1.5
WINDOW_LLR = 1.0
WINDOW_S = 4.0
FOLDER = "/cases/2026-114/recordings"


def sha256(text: str) -> str:
    """A hash that looks like a file's, the same for the same text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


TRACER_CLASSES = ("StyleTTS 2", "Tacotron 2", "VITS", "XTTS v2")
TRACE_THRESHOLD = 0.5
TRACE_RULE = "unknown when the largest similarity (softmax, averaged over the traced windows) is below 0.5"


VALIDITY = ValidityInfo(
    data="dev split: recordings as they are, mp3-64k, opus-16k",
    window=ValidityLimits(shrink_from=1.62, refuse_from=2.4, share_shrunk=0.05, share_refused=0.005),
    exhibit=ValidityLimits(shrink_from=1.48, refuse_from=2.1, share_shrunk=0.05, share_refused=0.004),
)


def tracer() -> TracerInfo:
    """A tracer of four sources."""
    return TracerInfo(
        name="compact-tracer",
        version="1",
        architecture="spectral-stem -> pooled-embedding, 1024 channels, 4 classes",
        weights_sha256=sha256("tracer weights"),
        config_sha256=sha256("tracer config"),
        licence="Apache-2.0",
        training_data="6,691 synthetic clips of four systems",
        classes=TRACER_CLASSES,
        rule=TRACE_RULE,
        threshold=TRACE_THRESHOLD,
        threshold_data="as published",
        limitations=("Voice conversion was not among its sources.",),
        validation=(
            TracingFigure(
                dataset="eval (unseen clips)",
                seen_trials=880,
                unseen_trials=412,
                accuracy=0.781,
                macro_f1_seen=0.842,
                unseen_precision=0.713,
                unseen_recall=0.52,
                auroc=0.874,
                fpr95=0.611,
                oscr=0.802,
            ),
            TracingFigure(dataset="dev", seen_trials=310, unseen_trials=0, accuracy=0.913, macro_f1_seen=0.902),
        ),
    )


def document(
    findings: Iterable[Finding],
    *,
    complete: bool = True,
    hop_s: float = WINDOW_S,
    tracer: TracerInfo | None = None,
    enrolled: SourceStoreInfo | None = None,
    unknown_groups: Sequence[UnknownGroup] = (),
) -> ScanDocument:
    """A whole result around `findings`."""
    return ScanDocument(
        tool=ToolInfo(
            version="0.1.0",
            git_commit="851f89f0c2d4",
            command_line=("spoofcheck", "scan", FOLDER, "--json", "scan.json"),
            python="3.11.2",
            platform="Linux-6.1.0-x86_64-with-glibc2.36",
            libraries={"numpy": "2.3.5", "soxr": "1.0.0", "torch": "2.11.0", "torchaudio": "2.11.0"},
        ),
        run=RunInfo(
            started_at="2026-11-21T09:14:03+00:00",
            finished_at="2026-11-21T09:14:41+00:00",
            elapsed_s=38.2,
            host="forensics-03",
            complete=complete,
        ),
        model=ModelInfo(
            name="compact-detector",
            version="1",
            architecture="spectral-stem (1024 channels) + nes2net-la",
            weights_sha256=sha256("weights"),
            config_sha256=sha256("config"),
            licence="Apache-2.0",
            training_data="21 h from openly licensed sample pages: 9,820 human and 6,691 synthetic clips, "
            "with Griffin-Lim and WORLD copies of the human clips",
            calibration=CalibrationInfo(
                method="logistic regression",
                data="dev split (other repositories, other systems)",
                bonafide_trials=1_012,
                spoof_trials=998,
                llr_bound=BOUND_LLR,
            ),
            limitations=(
                "Not validated on telephone speech below 16 kHz, on singing, or on children's voices.",
                "Generators newer than the training data may go unnoticed.",
            ),
            validation=(
                _figure("dev", "exhibit", 1_012, 998, 0.142, 0.0134),
                _figure("eval (unseen systems)", "exhibit", 2_310, 1_874, 0.208, 0.0098),
                _figure("eval (unseen systems)", "window", 5_421, 4_006, 0.241, 0.0071),
            ),
            validity=VALIDITY,
        ),
        tracer=tracer,
        enrolled=enrolled,
        unknown_groups=tuple(unknown_groups),
        options=OptionsInfo(
            window_s=WINDOW_S,
            hop_s=hop_s,
            channels="auto",
            vad=True,
            min_window_speech_s=0.5,
            min_exhibit_speech_s=3.0,
            spoof_threshold_llr=SPOOF_LLR,
            bonafide_threshold_llr=BONAFIDE_LLR,
            window_threshold_llr=WINDOW_LLR,
            partial_min_windows=2,
            partial_threshold_llr=WINDOW_LLR,
            device="cpu",
            dtype="float32",
        ),
        findings=tuple(findings),
    )


def _figure(dataset: str, level: str, bonafide: int, spoof: int, eer: float, half: float) -> ValidationFigure:
    return ValidationFigure.model_validate(
        {
            "dataset": dataset,
            "level": level,
            "bonafide_trials": bonafide,
            "spoof_trials": spoof,
            "eer": eer,
            "eer_low": eer - half,
            "eer_high": eer + half,
            "min_dcf": round(eer * 2.31, 4),
            "act_dcf": round(eer * 2.74, 4),
            "cllr": round(eer * 3.05, 4),
            "cllr_min": round(eer * 2.62, 4),
        }
    )


def windows(
    duration_s: float,
    llrs: Sequence[float | None],
    *,
    hop_s: float = WINDOW_S,
    distance: float | None = None,
) -> tuple[WindowResult, ...]:
    """Windows on the hop grid with the given LLRs (None: no speech); the last one is aligned to the end."""
    results = []
    for index, llr in enumerate(llrs):
        end_s = min(duration_s, index * hop_s + WINDOW_S)
        results.append(
            WindowResult(
                start_s=max(0.0, end_s - WINDOW_S),
                end_s=end_s,
                speech_s=0.1 if llr is None else round(min(WINDOW_S, duration_s) * 0.9, 3),
                raw_score=None if llr is None else round(llr * 1.7 + 0.4, 4),
                spoof_llr=llr,
                not_scored="no-speech" if llr is None else None,
                validity_distance=None if llr is None else distance,
            )
        )
    return tuple(results)


def wavering(mean: float, number: int, seed: int, spread: float = 0.9) -> list[float]:
    """LLRs around `mean`, bounded, the same for the same seed."""
    source = random.Random(seed)
    return [round(max(-BOUND_LLR, min(BOUND_LLR, mean + spread * (source.random() * 2 - 1))), 4) for _ in range(number)]


def finding(
    path: str,
    verdict: Verdict,
    llr: float | None,
    llrs: Sequence[float | None],
    *,
    duration_s: float | None = None,
    channel: int | None = None,
    channels: int = 1,
    reasons: Sequence[tuple[str, str]] = (),
    spans: Sequence[tuple[float, float, float]] = (),
    sources: Sequence[tuple[str, float]] = (),
    container: str = "WAV",
    codec: str = "PCM_16",
    sample_rate_hz: int = 48_000,
    bit_depth: int | None = 16,
    snr_db: float | None = 31.4,
    bandwidth_hz: float = 8_000.0,
    hop_s: float = WINDOW_S,
    distance: float | None = None,
) -> Finding:
    """One examined exhibit."""
    length_s = duration_s if duration_s is not None else (len(llrs) - 1) * hop_s + WINDOW_S
    scored = windows(length_s, llrs, hop_s=hop_s, distance=distance)
    speech_s = round(sum(w.speech_s or 0 for w in scored if w.spoof_llr is not None) * hop_s / WINDOW_S, 3)
    raw = [w.raw_score for w in scored if w.raw_score is not None]
    return Finding(
        path=path,
        channel=channel,
        sha256=sha256(path),
        duration_s=length_s,
        speech_s=min(length_s, speech_s),
        verdict=verdict,
        spoof_llr=llr,
        raw_score=round(sum(raw) / len(raw), 4) if raw else None,
        reasons=tuple(Reason(code=code, message=message) for code, message in reasons or _DEFAULT[verdict]),
        spans=tuple(
            Span(start_s=start, end_s=end, spoof_llr=mean, windows=max(1, round((end - start) / hop_s)))
            for start, end, mean in spans
        ),
        windows=scored,
        sources=tuple(SourceMatch(name=name, similarity=similarity) for name, similarity in sources),
        trace=_trace(sources, sum(w.spoof_llr is not None and w.spoof_llr >= WINDOW_LLR for w in scored)),
        media=MediaInfo(
            size_bytes=int(length_s * 96_000) + 44,
            modified_at="2026-11-03T16:20:11+00:00",
            container=container,
            codec=codec,
            sample_rate_hz=sample_rate_hz,
            channels=channels,
            bit_depth=bit_depth,
            decoder="soundfile" if bit_depth else "ffmpeg",
            pcm_sha256=sha256(path + "#pcm"),
        ),
        quality=QualityInfo(
            silence_share=0.124,
            snr_db=snr_db,
            clipping_share=0.0003,
            bandwidth_hz=bandwidth_hz,
            peak_dbfs=-1.2,
            rms_dbfs=-21.7,
        ),
        validity_distance=distance,
    )


def _trace(sources: Sequence[tuple[str, float]], windows: int) -> TraceInfo | None:
    if not sources:
        return None
    name, similarity = sources[0]
    return TraceInfo(
        decision=name if similarity >= TRACE_THRESHOLD else "unknown",
        rule=TRACE_RULE,
        threshold=TRACE_THRESHOLD,
        windows=max(1, windows),
        enrolled=len(TRACER_CLASSES),
    )


_DEFAULT: dict[Verdict, list[tuple[str, str]]] = {
    Verdict.BONAFIDE: [("below-bonafide-threshold", "Pooled LLR is at or below the bona fide threshold -1.50.")],
    Verdict.SPOOF: [("above-spoof-threshold", "Pooled LLR is at or above the spoof threshold +1.50.")],
    Verdict.PARTIAL: [("spoofed-passage", "One passage stands out as synthetic.")],
    Verdict.INCONCLUSIVE: [("undecided", "Pooled LLR lies between the thresholds -1.50 and +1.50.")],
    Verdict.UNCALIBRATED: [(UNCALIBRATED.code, UNCALIBRATED.message)],
    Verdict.SKIPPED: [("not-audio", "Not a recording in any format that can be decoded.")],
}


def skipped(path: str, code: str = "not-audio", message: str = "No audio stream was found in it.") -> Finding:
    """One input that could not be examined."""
    return Finding.skipped(path, code, message)


def of_verdict(verdict: Verdict) -> Finding:
    """A plain finding of each kind."""
    if verdict is Verdict.SKIPPED:
        return skipped("damaged.wav")
    llr = {Verdict.SPOOF: 3.2, Verdict.BONAFIDE: -3.2}.get(verdict, 0.4)
    return finding(f"{verdict}.wav", verdict, llr, wavering(llr, 5, seed=1))


def document_of(verdict: Verdict) -> ScanDocument:
    """A result with one plain finding of that kind."""
    if verdict is not Verdict.UNCALIBRATED:
        return document([of_verdict(verdict)])
    scored = of_verdict(Verdict.INCONCLUSIVE)
    return uncalibrated(document([scored.model_copy(update={"path": of_verdict(verdict).path})]))


def uncalibrated(example: ScanDocument) -> ScanDocument:
    """The same scan by a model without calibration, under another licence."""
    model = example.model.model_dump() | {
        "name": "xlsr-nes2net-la",
        "licence": "CC BY-NC 4.0",
        "calibration": None,
        "validation": (),
        "validity": None,
        "conditions": (),
        "percentiles": (),
    }
    thresholds = dict.fromkeys(name for name in OptionsInfo.model_fields if name.endswith("_threshold_llr"))
    return ScanDocument.model_validate(
        example.model_dump()
        | {
            "model": model,
            "options": example.options.model_dump() | thresholds,
            "findings": [_without_ratios(each) for each in example.findings],
            "controls": [
                each.model_dump()
                | {"verdict": "uncalibrated", "spoof_llr": None, "as_expected": None, "message": "Nothing is decided."}
                for each in example.controls
            ],
        }
    )


def _without_ratios(exhibit: Finding) -> dict[str, object]:
    bare = exhibit.model_dump() | {"spoof_llr": None, "spans": (), "excerpts": (), "stability": None}
    bare["windows"] = [window.model_dump() | {"spoof_llr": None} for window in exhibit.windows]
    if exhibit.raw_score is not None:
        bare["verdict"] = Verdict.UNCALIBRATED
        kept = [reason for reason in exhibit.reasons if reason.code in ("too-little-speech", "clipping")]
        bare["reasons"] = [UNCALIBRATED, *kept]
    return bare


def sample_document() -> ScanDocument:
    """A realistic case: every verdict, a two-channel call, a spliced passage, lossy codecs, a tracer by softmax."""
    human = [*wavering(-4.1, 17, seed=2), None, *wavering(-4.1, 30, seed=11)]
    synthetic = wavering(5.6, 21, seed=3)
    spliced: list[float | None] = [*wavering(-3.4, 24, seed=4), *wavering(4.6, 8, seed=5, spread=1.6)]
    spliced += [None, None, *wavering(-3.1, 36, seed=6, spread=1.8)]
    return document(
        [
            finding(f"{FOLDER}/interviews/witness-a.wav", Verdict.BONAFIDE, -4.0712, human, distance=0.97),
            finding(
                f"{FOLDER}/calls/2026-10-30 bank-security.flac",
                Verdict.BONAFIDE,
                -2.9134,
                [*wavering(-3, 6, seed=7, spread=2), None, None, *wavering(-2.6, 13, seed=8, spread=2.4)],
                channel=0,
                channels=2,
                container="FLAC",
                sample_rate_hz=16_000,
                reasons=[
                    ("below-bonafide-threshold", "Pooled LLR -2.91 is at or below the threshold -1.50."),
                    ("low-level", "Speech is quiet: -38 dBFS on average."),
                ],
            ),
            finding(
                f"{FOLDER}/calls/2026-10-30 bank-security.flac",
                Verdict.SPOOF,
                BOUND_LLR,
                [min(BOUND_LLR, x + 1.2) for x in synthetic],
                channel=1,
                channels=2,
                container="FLAC",
                sample_rate_hz=16_000,
                spans=[(0.0, 84.0, 6.5218)],
                sources=[("XTTS v2", 0.52), ("StyleTTS 2", 0.46), ("VITS", 0.01)],
                reasons=[("above-spoof-threshold", "Pooled LLR +6.90 is at or above the threshold +1.50.")],
            ),
            finding(
                f"{FOLDER}/voicemail-accounts.mp3",
                Verdict.SPOOF,
                3.4821,
                [2.2, 3.9, -0.7, 4.4, 3.1],
                duration_s=18.7,
                container="MP3",
                codec="MPEG_LAYER_III",
                sample_rate_hz=22_050,
                bit_depth=None,
                sources=[("StyleTTS 2", 0.81), ("VITS", 0.11), ("Tacotron 2", 0.06)],
                spans=[(0.0, 8.0, 3.05), (12.0, 18.7, 3.75)],
                reasons=[
                    ("above-spoof-threshold", "Pooled LLR +3.48 is at or above the spoof threshold +1.50."),
                    (
                        "llr-shrunk",
                        "The pooled LLR is shrunk to 63% of its size: the exhibit's features lie 1.71 from the "
                        "calibration data (full weight up to 1.48, none from 2.10 on).",
                    ),
                ],
                distance=1.71,
            ),
            finding(
                f"{FOLDER}/address-1961.wav",
                Verdict.PARTIAL,
                -1.6203,
                spliced,
                duration_s=278.3,
                sample_rate_hz=44_100,
                spans=[(96.0, 128.0, 4.5381)],
                sources=[("VITS", 0.41), ("XTTS v2", 0.33), ("StyleTTS 2", 0.2)],
                reasons=[
                    (
                        "spoofed-passage",
                        "96.0-128.0 s stands out as synthetic; the other speech has LLR -3.19 (positions are "
                        "no finer than the window).",
                    ),
                    ("clipping", "0.4 % of the samples are clipped."),
                ],
            ),
            finding(
                f"{FOLDER}/録音/会議 第3回.wav",
                Verdict.BONAFIDE,
                -1.9921,
                wavering(-2, 30, seed=9, spread=1.6),
            ),
            finding(
                f"{FOLDER}/note.m4a",
                Verdict.INCONCLUSIVE,
                0.3127,
                [0.4, -0.9],
                duration_s=6.2,
                container="M4A",
                codec="AAC",
                bit_depth=None,
                reasons=[("undecided", "Pooled LLR +0.31 lies between the thresholds -1.50 and +1.50.")],
            ),
            finding(
                f"{FOLDER}/intercept-0017.wav",
                Verdict.INCONCLUSIVE,
                2.8406,
                wavering(2.8, 9, seed=10),
                sample_rate_hz=8_000,
                bandwidth_hz=3_400.0,
                snr_db=9.2,
                codec="ALAW",
                bit_depth=8,
                reasons=[
                    (
                        "outside-validated-conditions",
                        "Sample rate 8000 Hz is below the 16000 Hz the model was validated on.",
                    ),
                    (
                        "outside-validated-conditions",
                        "Effective bandwidth 3400 Hz is below the 5000 Hz the model was validated on.",
                    ),
                    ("above-spoof-threshold", "Pooled LLR +2.84 is at or above the spoof threshold +1.50."),
                ],
            ),
            finding(
                f"{FOLDER}/hold-music.ogg",
                Verdict.INCONCLUSIVE,
                None,
                [None] * 8,
                container="OGG",
                codec="OPUS",
                bit_depth=None,
                snr_db=None,
                reasons=[("no-speech", "No window holds enough speech to be scored.")],
            ),
            skipped(f"{FOLDER}/cut-off.wav", "truncated-header", "The file ends inside its header."),
            skipped(f"{FOLDER}/transcript.wav"),
        ],
        tracer=tracer(),
    )


def traced_document() -> ScanDocument:
    """A case traced by prototypes: every decision, both ways a channel test fails, enrolled sources, unknown groups."""

    def spoof(name: str, seed: int) -> Finding:
        llrs = wavering(4.2, 4 + seed % 3, seed=seed)
        spans = [(0.0, WINDOW_S * len(llrs), 4.2)]
        return finding(f"{FOLDER}/{name}", Verdict.SPOOF, 4.2, llrs, spans=spans)

    human = finding(f"{FOLDER}/witness-a.wav", Verdict.BONAFIDE, -4.1, wavering(-4.1, 6, seed=30))
    closest = ("piper", 0.35, -2.9), ("kokoro", 0.31, -3.3), ("matcha", -0.12, -4.6)
    return document(
        [
            human,
            with_trace(
                spoof("calls/bank-security.wav", 21),
                [("piper", 0.81, 4.6), ("speedyspeech", 0.42, -2.1), ("matcha", -0.08, -4.6)],
                test=channel_test("piper"),
            ),
            with_trace(
                spoof("calls/delivery.wav", 22),
                [("kokoro", 0.71, 3.1), ("kittentts", 0.69, 2.9), (ENROLLED, 0.2, -3.8)],
                group=("kittentts", "kokoro"),
                test=channel_test("kokoro", residue=None),
            ),
            with_trace(
                spoof("calls/through-a-gateway.wav", 23),
                [("matcha", 0.66, 2.4), ("piper", 0.51, 0.4), ("kokoro", 0.17, -3.9)],
                test=channel_test("matcha", residue=("matcha", 0.72), copy=("vits", 0.41)),
            ),
            with_trace(
                spoof("voicemail-accounts.wav", 24),
                [(ENROLLED, 0.77, 3.9), ("piper", 0.33, -3.0), ("matcha", 0.28, -3.4)],
                test=channel_test(ENROLLED),
            ),
            with_trace(spoof("anonymous/1.wav", 25), closest, unknown_group="Unknown-1"),
            with_trace(spoof("anonymous/2.wav", 26), closest[1:], unknown_group="Unknown-1"),
            with_trace(spoof("anonymous/3.wav", 27), closest[:1]),
            spoof("changed-meanwhile.wav", 28),
        ],
        tracer=prototype_tracer(),
        enrolled=source_store(),
        unknown_groups=[UnknownGroup(name="Unknown-1", exhibits=2, earlier=3)],
    )


HOSTILE_NAMES = (
    "line\nbreak.wav",
    "esc\x1b[31mred\x1b]0;title\x07.wav",
    "quote\"and'apostrophe.wav",
    "<script>alert(1)</script>.wav",
    "<img src=x onerror=alert(1)>.wav",
    "gnp\u202evaw.exe",
    "zero\u200bwidth\ufeff.wav",
    "latin1-\udce9t\udce9.wav",
    '=HYPERLINK("http://x","y").wav',
    "+1-2.wav",
    "@SUM(A1).wav",
    "a;=1+1.wav",
    "[bold red]markup[/].wav",
    "{{ 7 * 7 }}{% raw %}.wav",
    "separator\u2028next.wav",
    "c1\x9b31m\x85.wav",
    "שיחה 12.wav",
    "emoji 👩\u200d🚒 ❤️.wav",
    "録音" * 40 + ".wav",
)


def hostile_document() -> ScanDocument:
    """Every hostile name as an exhibit's path and as a reason, a codec, an argument, a source and an unknown group."""
    exhibits = []
    for index, name in enumerate(HOSTILE_NAMES):
        exhibit = finding(
            f"in/{name}" if index % 2 else name,
            Verdict.SPOOF,
            3.0,
            [3.0, 2.5],
            codec=name,
            container=name,
            reasons=[("odd-name", f"Its name is {name}.")],
        )
        next_name = HOSTILE_NAMES[(index + 1) % len(HOSTILE_NAMES)]
        known = index % 3 > 0
        exhibits.append(
            with_trace(
                exhibit,
                [(name, 0.7 if known else 0.2, 1.0), (next_name, 0.1, -2.0)],
                enrolled=HOSTILE_NAMES[::2],
                known=len(HOSTILE_NAMES),
                group=(name, next_name) if known else (),
                unknown_group=None if known else name,
                test=channel_test(name, residue=(name, 0.6), copy=(next_name, 0.3)) if known else None,
            )
        )
    tracer = prototype_tracer().model_copy(
        update={"classes": HOSTILE_NAMES, "name": HOSTILE_NAMES[1], "groups": (HOSTILE_NAMES,)}
    )
    result = document(
        [*exhibits, *(skipped(f"skip/{name}", message=name) for name in HOSTILE_NAMES)],
        tracer=tracer,
        enrolled=_hostile_store(),
        unknown_groups=[UnknownGroup(name=name, exhibits=1) for name in HOSTILE_NAMES[::3]],
    )
    tool = result.tool.model_copy(update={"command_line": ("spoofcheck", "scan", *HOSTILE_NAMES)})
    # What was copied was not checked: undecodable names are written out as a document's own fields are.
    return ScanDocument.model_validate(result.model_copy(update={"tool": tool}).model_dump())


def _hostile_store() -> SourceStoreInfo:
    source = source_store().sources[1]
    sources = [
        source.model_copy(update={"name": name, "note": f"note {name}", "confused_with": (name,)})
        for name in HOSTILE_NAMES
    ]
    return SourceStoreInfo.model_validate(
        source_store(path=HOSTILE_NAMES[3]).model_dump() | {"sources": [source.model_dump() for source in sources]}
    )


def large_document(exhibits: int = 500, windows_each: int = 60) -> ScanDocument:
    """A case of many recordings, four minutes each unless told otherwise."""
    verdicts = (Verdict.BONAFIDE, Verdict.SPOOF, Verdict.PARTIAL, Verdict.INCONCLUSIVE)
    return document(
        finding(
            f"{FOLDER}/day-{index % 30:02d}/agent-{index:04d}-leg-left-converted-to-sixteen-kilohertz.wav",
            verdicts[index % 4],
            round(-3.0 + index % 7, 2),
            wavering(-3.0 + index % 7, windows_each, seed=index, spread=2.0),
            spans=[(8.0, 24.0, 3.1)] if index % 4 in (1, 2) else (),
        )
        for index in range(exhibits)
    )
