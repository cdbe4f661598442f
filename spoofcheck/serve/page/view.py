"""A result document as the page shows it: words and drawings made by the report's own functions, as plain JSON. Pure.

The page places texts and draws rectangles; what is said, how a likelihood ratio is written and where a bar lies is
decided here, once, by the modules that decide it for the report. All outside text has passed `printable`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any, Final

from spoofcheck.render import measures, wording
from spoofcheck.render.drawing import Scale
from spoofcheck.render.html import Exhibit, shown_exhibits
from spoofcheck.render.paths import relative_names
from spoofcheck.render.text import MISSING, format_llr, format_percent, format_time, printable
from spoofcheck.render.verbal import SCALE
from spoofcheck.schema import Finding, ScanDocument, Verdict

_MINUS: Final = "\N{MINUS SIGN}"

Json = dict[str, Any]
"""What `json.dumps` takes: strings, numbers, booleans, None, lists and dictionaries of these."""


def page_view(document: ScanDocument) -> Json:
    """Everything the page shows of a finished scan.

    Returns:
        `exhibits`: one per examined channel, see `_exhibit`; `skipped`: names and reasons; `scale`: the axis of
        likelihood ratios with its thresholds, None for an uncalibrated model; `score`: what its scores are called;
        `model` and `tracer` (or None): which networks, and their limitations.
    """
    names = relative_names(finding.path for finding in document.findings)
    shown = {
        "exhibits": [_exhibit(exhibit, document) for exhibit in shown_exhibits(document)],
        "skipped": [
            {"name": names[finding.path], "reasons": [reason.message for reason in finding.reasons]}
            for finding in measures.skipped(document.findings)
        ],
        "score": "LLR" if measures.is_calibrated(document) else "raw score",
        "scale": _scale(document),
        "window_s": f"{document.options.window_s:g}",
        "model": _network(document.model.name, document.model.version, document.model.limitations),
        "tracer": None
        if document.tracer is None
        else _network(document.tracer.name, document.tracer.version, document.tracer.limitations),
    }
    plain: Json = _plain(shown)
    return plain


def page_words() -> Json:
    """What the page explains before anything was examined: verdicts, and the verbal scale of likelihood ratios."""
    return {
        "verdicts": [
            {"verdict": verdict.value, "word": wording.VERDICT_WORDS[verdict].capitalize(), "meaning": meaning}
            for verdict, meaning in wording.meanings(calibrated=True).items()
        ],
        "scale": [
            {
                "ratio": f"{step.low:,.0f} to {step.high:,.0f}"
                if step.high < float("inf")
                else f"over {step.low:,.0f}",
                "llr": f"{step.llr_low:.1f} to {step.llr_high:.1f}"
                if step.high < float("inf")
                else f"over {step.llr_low:.1f}",
                "phrase": step.phrase,
            }
            for step in SCALE
        ],
        "observations": wording.OBSERVATIONS_EXPLAIN,
    }


def _exhibit(exhibit: Exhibit, document: ScanDocument) -> Json:
    """One examined channel.

    `figures` are labels and values, the score first; `windows` are in order of time, with their places in seconds and
    in words.
    """
    finding = exhibit.finding
    axis = _axis(document)
    window_threshold = document.options.window_threshold_llr
    is_calibrated = measures.is_calibrated(document)
    return {
        "number": exhibit.number,
        "channel": exhibit.channel,
        "verdict": finding.verdict.value,
        "word": wording.VERDICT_WORDS[finding.verdict].capitalize(),
        "figures": _figures(exhibit, is_calibrated=is_calibrated),
        "opinion": exhibit.opinion,
        "decided": "Not decided" if finding.verdict is Verdict.UNCALIBRATED else "Decided by",
        "duration_s": finding.duration_s or max((window.end_s for window in finding.windows), default=0.0),
        "reasons": [reason.message for reason in finding.reasons],
        "marker_x": None if axis is None or finding.spoof_llr is None else axis.x(finding.spoof_llr),
        "position": "" if exhibit.position is None else exhibit.position.sentence,
        "chart": exhibit.chart,
        "window_threshold": None if window_threshold is None else _signed(format_llr(window_threshold)),
        "windows": [
            {
                "number": row.number,
                "start_s": window.start_s,
                "end_s": window.end_s,
                "span": row.span,
                "speech": row.speech,
                "score": row.llr if is_calibrated else row.raw_score,
                "note": row.note,
                "flagged": row.flagged,
            }
            for row, window in zip(exhibit.rows, finding.windows, strict=True)
        ],
        "pictures": exhibit.pictures,
        "facts": _facts(finding),
        "trace": _trace(exhibit),
        "acoustics": _acoustics(exhibit),
    }


def _figures(exhibit: Exhibit, *, is_calibrated: bool) -> list[tuple[str, str]]:
    """The numbers beside the verdict, as the report has them."""
    if not is_calibrated:
        score = format_llr(exhibit.finding.raw_score)
        return [("Mean raw score", _signed(score)), ("Likelihood ratio", "none: not calibrated")]
    figures = [("Pooled LLR", exhibit.llr)]
    if exhibit.ratios is not None:
        figures += [("LR, H1 over H2", exhibit.ratios[0]), ("LR, H2 over H1", exhibit.ratios[1])]
    return [*figures, ("Flagged time", exhibit.spoofed)]


def _axis(document: ScanDocument) -> Scale | None:
    calibration = document.model.calibration
    return None if calibration is None else Scale(-calibration.llr_bound, calibration.llr_bound)


def _scale(document: ScanDocument) -> Json | None:
    axis = _axis(document)
    low, high = document.options.bonafide_threshold_llr, document.options.spoof_threshold_llr
    if axis is None or low is None or high is None:
        return None
    return {
        "low": _signed(format_llr(axis.low, axis.high)),
        "high": format_llr(axis.high, axis.high),
        "zero_x": axis.x(0.0),
        "bonafide_x": axis.x(low),
        "spoof_x": axis.x(high),
        "middle_width": axis.width(low, high),
        "spoof_width": axis.width(high, axis.high),
        "bonafide": _signed(format_llr(low)),
        "spoof": _signed(format_llr(high)),
    }


def _facts(finding: Finding) -> list[tuple[str, str]]:
    """Identity and condition of the recording, as label and value."""
    facts = [("Duration", format_time(finding.duration_s)), ("Speech", format_time(finding.speech_s))]
    if (media := finding.media) is not None:
        rate = f"{media.sample_rate_hz:,} Hz"
        facts.append(("Format", f"{media.container}, {media.codec}, {rate}, {media.channels} ch"))
    if (quality := finding.quality) is not None:
        snr = MISSING if quality.snr_db is None else f"{quality.snr_db:.0f} dB"
        facts += [
            ("Signal to noise", snr),
            ("Bandwidth", f"{quality.bandwidth_hz:,.0f} Hz"),
            ("Clipped", format_percent(quality.clipping_share, 2)),
        ]
    facts.append(("SHA-256 of the file", finding.sha256 or "not recorded"))
    return facts


def _trace(exhibit: Exhibit) -> Json | None:
    """The open-set decision with its caveats; None for an exhibit that was not traced."""
    view, trace = exhibit.trace, exhibit.finding.trace
    if view is None or trace is None:
        return None
    return {**asdict(view), "rule": trace.rule, "windows": trace.windows, "enrolled": trace.enrolled}


def _acoustics(exhibit: Exhibit) -> Json | None:
    """The measures beside their reference; None when nothing was measured."""
    view = exhibit.acoustics
    if view is None:
        return None
    observed = view.observations
    return {
        "remarks": view.remarks,
        "rows": [asdict(row) for row in view.rows],
        "examined": format_time(observed.examined_s),
        "reference": observed.reference,
        "human_recordings": f"{observed.human_recordings:,}",
        "synthetic_recordings": f"{observed.synthetic_recordings:,}",
    }


def _network(name: str, version: str, limitations: Iterable[str]) -> Json:
    return {"name": name, "version": version, "limitations": list(limitations)}


def _signed(text: str) -> str:
    return text.replace("-", _MINUS)


def _plain(value: Any) -> Any:
    """`value` as JSON holds it, every string in it safe to print."""
    if isinstance(value, str):
        return printable(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value
