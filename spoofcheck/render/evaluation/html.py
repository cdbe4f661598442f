"""The evaluation report and the comparison report: self-contained HTML pages that need no script to be read.

What a page says around its figures is in `reports/templates/evaluation*.j2`; this module chooses the tables, pictures
and sections. The one script sorts tables; the page's own policy admits it by its hash, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from jinja2 import Environment
from markupsafe import Markup

from spoofcheck.evalschema import (
    Comparison,
    Detection,
    Difference,
    EvaluationDocument,
    Group,
    MetricSet,
    Tracing,
)
from spoofcheck.render.evaluation import plots, tables
from spoofcheck.render.evaluation.plots import Dot, Dots, Key, Picture, Series, Threshold
from spoofcheck.render.evaluation.tables import Table
from spoofcheck.render.templating import environment

NOT_SHOWN: Mapping[str, str] = MappingProxyType(
    {
        "eer": "the same figure as detection.overall.eer",
        "min_dcf": "the same figure as detection.overall.min_dcf",
        "act_dcf": "the same figure as detection.overall.act_dcf",
        "cllr": "the same figure as detection.overall.cllr",
        "model.validation": "measured on other data; belongs to the model's card",
        "model.conditions": "measured on other data; belongs to the model's card",
        "model.percentiles": "of the calibration data; belongs to the report of a scan",
        "model.validity": "limits of the gate that the LLRs went through; belongs to the model's card",
    }
)
"""Fields of an evaluation document that its page leaves out on purpose, and why."""

# Costs of the ASVspoof 5 plan: a miss costs 1, a false accept 10, one trial in twenty is a spoof.
_BAYES_THRESHOLD = -math.log(0.95 * 1 / (0.05 * 10))
_LABELS: dict[MetricSet, str] = {
    "asvspoof5": "ASVspoof 5 definitions",
    "multiapi": "MultiAPI definitions (reproduction figures)",
}
_WINDOWS = {
    "first": "the first window of each recording, as published protocols do",
    "all": "all windows of a recording, pooled as a scan pools them",
    "given": "the scores of a score file, as they were given",
}


@dataclass(frozen=True, slots=True)
class Section:
    """A numbered part of the page."""

    number: int
    id: str
    title: str


@dataclass(frozen=True, slots=True)
class GroupPart:
    """The trials split one way: what the split is, its table, and its picture where there is one."""

    id: str
    explanation: str
    table: Table
    dots: Dots | None = None


@dataclass(frozen=True, slots=True)
class DetectionView:
    """A detector's figures, ready to be printed."""

    label: str
    pictures: tuple[Picture, ...]
    threshold: Threshold | None
    parts: tuple[GroupPart, ...]


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """One line of the confusion matrix: (count, step of darkness, right decision) per column."""

    name: str
    trials: int
    cells: tuple[tuple[int, int, bool], ...]


@dataclass(frozen=True, slots=True)
class TracingView:
    """A tracer's figures, ready to be printed."""

    summary: Table
    classes: Table
    matrix: tuple[MatrixRow, ...]
    map: tuple[Markup, tuple[Key, ...]] | None


@dataclass(frozen=True, slots=True)
class MetricPart:
    """The detectors of a comparison whose figures follow the same definitions: only those stand in one table."""

    metrics: MetricSet
    label: str
    models: Table
    thresholds: Table | None
    dots: Dots
    det: Markup
    legend: tuple[Key, ...]
    systems: Table | None


@dataclass(frozen=True, slots=True)
class DifferencePart:
    """All differences in one statistic."""

    name: str
    dots: Dots


def evaluation_page(document: EvaluationDocument) -> str:
    """The report of one evaluation as one HTML page that loads nothing."""
    detection, tracing = document.detection, document.tracing
    view = None if detection is None else _detection(detection)
    traced = None if tracing is None else _tracing(tracing)
    sections = _sections(_evaluation_sections(document, view))
    return _page(
        "evaluation.html.j2",
        document,
        "EV",
        sections,
        document=document,
        detection=detection,
        view=view,
        tracing=tracing,
        traced=traced,
        missing=_missing(document),
        metric_sets=() if detection is None else (detection.metrics,),
    )


def comparison_page(comparison: Comparison) -> str:
    """The report of a comparison as one HTML page that loads nothing."""
    named = list(zip(comparison.names, comparison.documents, strict=True))
    parts = _metric_parts(named)
    tracers = [(name, document.tracing) for name, document in named if document.tracing is not None]
    wanted = [("data", "What was compared")]
    wanted += [("models", "The models side by side")] if parts else []
    wanted += [("differences", "Differences")]
    wanted += [("systems", "Per spoofing system")] if any(part.systems for part in parts) else []
    wanted += [("tracing", "Source tracing")] if tracers else []
    wanted += [("definitions", "What the figures mean"), ("provenance", "Provenance")]
    return _page(
        "evaluation_comparison.html.j2",
        comparison,
        "CM",
        _sections(wanted),
        comparison=comparison,
        named=named,
        parts=parts,
        tracers=tables.tracers_table("Overall figures of each tracer.", *_unzip(tracers)) if tracers else None,
        caveats=_shared_caveats(named),
        summary=tables.summary(comparison),
        differences=tables.differences_table(
            "Each interval is a 95 % bootstrap interval of that one difference, with trials resampled alike for both. "
            "Among many differences a few intervals leave out zero by chance.",
            comparison.differences,
        ),
        difference_parts=_difference_parts(comparison.differences),
        metric_sets=tuple(part.metrics for part in parts),
        has_tracing=bool(tracers),
    )


def _unzip(pairs: Sequence[tuple[str, Tracing | None]]) -> tuple[list[str], list[Tracing]]:
    kept = [(name, one) for name, one in pairs if one is not None]
    return [name for name, _ in kept], [one for _, one in kept]


def _page(
    template: str,
    source: EvaluationDocument | Comparison,
    prefix: str,
    sections: Sequence[Section],
    **context: object,
) -> str:
    digest = hashlib.sha256(source.model_dump_json().encode()).hexdigest()
    script, script_hash = _script()
    page = (
        _environment()
        .get_template(template)
        .render(
            report_id=_report_id(prefix, digest),
            sections=sections,
            section={section.id: section for section in sections},
            script=script,
            script_hash=script_hash,
            bayes_threshold=_BAYES_THRESHOLD,
            windows_words=_WINDOWS,
            command_line=shlex.join(source.tool.command_line),
            **context,
        )
    )
    return page + "\n"


def _report_id(prefix: str, digest: str) -> str:
    """`EV-0123-4567-89AB`: the first 48 bits of a SHA-256 over the document's contents."""
    digits = digest[:12].upper()
    return "-".join([prefix, *(digits[i : i + 4] for i in range(0, 12, 4))])


@cache
def _environment() -> Environment:
    made = environment()
    made.filters |= {
        "bracket": tables.bracket,
        "eer": lambda rates: _together(tables.eer(rates)),
        "figure": tables.figure,
        "rate": lambda share: _together(tables.percent(share)),
        "signed": tables.signed,
    }
    made.globals["heat_steps"] = plots.HEAT_STEPS
    return made


def _together(text: str) -> Markup:
    """A figure that no line break parts from its unit or its interval."""
    return Markup('<span class="nowrap">{}</span>').format(text)


@cache
def _script() -> tuple[Markup, str]:
    """The sorting script, and the hash by which the page's policy lets it run."""
    text = _environment().get_template("evaluation_sort.js.j2").render()
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup(text), f"sha256-{digest}"


def _sections(wanted: Sequence[tuple[str, str]]) -> list[Section]:
    return [Section(number, each, title) for number, (each, title) in enumerate(wanted, start=1)]


_PART_TITLES = {
    "systems": "Per spoofing system",
    "without": "Leaving one system out",
    "seen": "Seen and unseen systems",
    "languages": "Per language",
    "codecs": "Per codec",
}


def _evaluation_sections(document: EvaluationDocument, view: DetectionView | None) -> list[tuple[str, str]]:
    wanted = [("data", "What was measured")]
    if document.detection is not None and view is not None:
        wanted.append(("overall", "Error figures over all trials"))
        if document.detection.transfer is not None:
            wanted.append(("transfer", "At a threshold fixed on other data"))
        wanted += [(part.id, _PART_TITLES[part.id]) for part in view.parts]
    if document.tracing is not None:
        wanted += [("tracing", "Source tracing"), ("classes", "Per class"), ("confusion", "Confusion matrix")]
        if document.tracing.open_set is not None:
            wanted.append(("open-set", "Telling unseen sources from seen ones"))
        if document.tracing.embedding_map is not None:
            wanted.append(("map", "Map of the embeddings"))
    return [*wanted, ("definitions", "What the figures mean"), ("provenance", "Provenance")]


def _missing(document: EvaluationDocument) -> list[str]:
    """What a reader may look for and not find, each with the reason."""
    found: list[str] = []
    one, tracing = document.detection, document.tracing
    if one is not None:
        if one.transfer is None:
            found.append("Errors at a fixed threshold: no threshold from other data was given.")
        if not one.by_system:
            found.append("Figures per spoofing system: the protocol names no systems.")
        if not one.without_system:
            found.append("Figures without one system: this needs at least two named systems.")
        if not one.by_seen:
            found.append("Seen and unseen systems: which systems the training knew is not recorded.")
        if not one.by_language:
            found.append("Figures per language: the protocol names no languages, or only one.")
        if not one.by_codec:
            found.append("Figures per codec: the protocol names no codecs, or only one.")
        if not one.scores_are_llrs:
            found.append("Cllr, Tippett plot and reliability: the scores are not calibrated likelihood ratios.")
    if tracing is not None:
        if tracing.open_set is None:
            found.append("Open-set figures: the trials do not hold both seen and unseen sources.")
        if tracing.embedding_map is None:
            found.append("Map of the embeddings: it was not asked for.")
    if one is None and tracing is None:
        found.append("Figures of a detector or of a tracer: the document holds neither.")
    return found


def _detection(one: Detection) -> DetectionView:
    label = _LABELS[one.metrics]
    splits = (
        ("systems", "System", one.by_system, "Each system's spoofs against all bona fide trials.", True),
        ("without", "Left out", one.without_system, "All trials but the spoofs of the system named.", True),
        ("seen", "Systems", one.by_seen, "Spoofs of the systems named against all bona fide trials.", False),
        ("languages", "Language", one.by_language, "Trials of both classes in that language.", True),
        ("codecs", "Codec", one.by_codec, "Trials of both classes coded that way.", True),
    )
    parts = []
    for each, first, groups, explanation, rank in splits:
        if not groups:
            continue
        table = tables.rates_table(f"{explanation} {label}.", first, groups, one.transfer, rank=rank)
        parts.append(GroupPart(each, explanation, table, _system_dots(groups, one) if each == "systems" else None))
    threshold = _threshold(one)
    return DetectionView(
        label=label, pictures=tuple(_pictures(one, threshold)), threshold=threshold, parts=tuple(parts)
    )


def _system_dots(groups: Sequence[Group], one: Detection) -> Dots:
    overall = Dot("all systems", one.overall.eer, one.overall.eer_interval)
    return plots.dot_plot(
        "plot-systems", "EER per spoofing system, worst first", "EER, %", plots.group_dots(groups), reference=overall
    )


def _threshold(one: Detection) -> Threshold | None:
    """The line across the histograms: what was fixed beforehand, or else what calibrated LLRs imply."""
    if one.transfer is not None:
        return Threshold(one.transfer.threshold, "fixed threshold")
    if one.scores_are_llrs and one.metrics == "asvspoof5":
        return Threshold(_BAYES_THRESHOLD, "Bayes threshold")
    return None


def _pictures(one: Detection, threshold: Threshold | None) -> list[Picture]:
    drawn = [
        Picture("DET curve", plots.det("plot-det", [Series("all trials", one.plots.det, one.overall.eer)])),
        Picture("Scores of both classes", plots.histograms("plot-scores", one.plots, threshold)),
    ]
    if one.plots.tippett_bonafide is not None and one.plots.tippett_spoof is not None:
        drawing = plots.tippett("plot-tippett", one.plots.tippett_bonafide, one.plots.tippett_spoof)
        drawn.append(Picture("Tippett plot", drawing))
    if one.plots.reliability is not None:
        drawn.append(Picture("Reliability of the LLRs", plots.reliability("plot-reliability", one.plots.reliability)))
    return drawn


def _tracing(one: Tracing) -> TracingView:
    names = [row.name for row in one.classes]
    matrix = []
    for at, (name, counts) in enumerate(zip(names, one.confusion, strict=True)):
        total = sum(counts)
        cells = tuple((count, plots.heat_step(count, total), column == at) for column, count in enumerate(counts))
        matrix.append(MatrixRow(name, total, cells))
    drawn = None
    if one.embedding_map is not None:
        drawing, keys = plots.embedding_map("plot-map", one.embedding_map)
        drawn = (drawing, tuple(keys))
    return TracingView(
        summary=tables.classes_table(
            "Macro means give every class the same weight, however many trials it has.",
            (one.seen, one.unseen, one.overall),
            first="Classes",
        ),
        classes=tables.classes_table("Every class of the trials.", one.classes),
        matrix=tuple(matrix),
        map=drawn,
    )


def _metric_parts(named: Sequence[tuple[str, EvaluationDocument]]) -> list[MetricPart]:
    by_set: dict[MetricSet, list[tuple[str, Detection]]] = {}
    for name, document in named:
        if document.detection is not None:
            by_set.setdefault(document.detection.metrics, []).append((name, document.detection))
    return [_metric_part(metrics, detectors) for metrics, detectors in by_set.items()]


def _metric_part(metrics: MetricSet, detectors: Sequence[tuple[str, Detection]]) -> MetricPart:
    label = _LABELS[metrics]
    names = [name for name, _ in detectors]
    groups = [Group(name=name, rates=one.overall, transfer=one.transfer) for name, one in detectors]
    systems = [one.by_system for _, one in detectors]
    series = [Series(name, one.plots.det, one.overall.eer) for name, one in detectors]
    return MetricPart(
        metrics=metrics,
        label=label,
        models=tables.rates_table(f"All common trials. {label}.", "Model", groups, rank=False, same_threshold=False),
        thresholds=tables.thresholds_table(groups) if any(group.transfer for group in groups) else None,
        dots=plots.dot_plot(
            f"plot-models-{metrics}",
            "EER of each model, worst first",
            "EER, %",
            plots.group_dots(groups),
            stacked=True,  # a score file is named by its path
        ),
        det=plots.det(f"plot-det-{metrics}", series),
        legend=tuple(Key(name, plots.swatch(i), 0) for i, name in enumerate(names)) if len(names) > 1 else (),
        systems=tables.across_table(
            f"Each system's spoofs against all bona fide trials. {label}.", "System", names, systems
        )
        if any(systems)
        else None,
    )


def _difference_parts(differences: Sequence[Difference]) -> list[DifferencePart]:
    keys = list(dict.fromkeys(one.statistic for one in differences))
    parts = []
    for number, key in enumerate(keys):
        known = tables.statistic(key)
        dots = [
            Dot(f"{one.second} \N{MINUS SIGN} {one.first}", one.difference, one.interval)
            for one in differences
            if one.statistic == key
        ]
        axis = f"difference in {known.name}" + (", percentage points" if known.share else "")
        title = f"Differences in {known.name}, second minus first"
        drawn = plots.dot_plot(
            f"plot-difference-{number}", title, axis, dots, scale=100.0 if known.share else 1.0, stacked=True
        )
        parts.append(DifferencePart(known.name, drawn))
    return parts


def _shared_caveats(named: Sequence[tuple[str, EvaluationDocument]]) -> list[tuple[str, str, list[str]]]:
    """Every caveat once, with the models that it is about."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, document in named:
        for caveat in document.warnings:
            found.setdefault((caveat.code, caveat.message), []).append(name)
    return [(code, message, names) for (code, message), names in found.items()]
