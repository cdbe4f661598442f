"""Two compared recordings for a terminal: what was compared, the likelihood ratio in words, and what to beware of.

The sentences keep to what a likelihood ratio can carry: no probability that one source made both, no maker.
"""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from spoofcheck.linkschema import LinkDocument
from spoofcheck.render.json import escape_unsafe
from spoofcheck.render.text import count, format_llr, format_percent, isolated, printable
from spoofcheck.render.tracing import similar_briefly
from spoofcheck.render.verbal import strength
from spoofcheck.render.wording import ONE_SOURCE, both_ratios, times_more_probable
from spoofcheck.schema import CosineCalibrationInfo

PROPOSITIONS = {"H1": "one source made both recordings", "H2": "two sources made them"}


def link_opinion(llr: float, bound: float) -> str:
    """The likelihood ratio in words, in the direction it points and capped at the calibration's bound."""
    support = strength(llr, bound)
    phrase = support.phrase[0].upper() + support.phrase[1:]
    about = "for either proposition" if support.negligible else f"for {support.favours} rather than {support.over}"
    return f"{phrase} {about}: {times_more_probable(llr, bound, ONE_SOURCE)}."


def calibration_words(calibration: CosineCalibrationInfo) -> str:
    """What the likelihood ratio rests on."""
    return (
        f"{calibration.data}; {count(calibration.target_trials, 'comparison')} within a source and "
        f"{calibration.other_trials:,} between two; EER {format_percent(calibration.eer)}, Cllr "
        f"{calibration.cllr:.2f} bits; no LLR beyond ±{calibration.llr_bound:.1f}"
    )


def link_json(document: LinkDocument) -> str:
    """Indented JSON in the model's own key order, without characters that could steer a terminal."""
    return escape_unsafe(document.model_dump_json(indent=2)) + "\n"


def link_view(document: LinkDocument) -> Group:
    """Both recordings side by side, the comparison, and the warnings."""
    parts: list[RenderableType] = [_recordings(document), "", _comparison(document), ""]
    parts += [Padding(Text(f"! {printable(warning.message)}", style="yellow"), (0, 0)) for warning in document.warnings]
    return Group(*parts)


def _recordings(document: LinkDocument) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("", "A", "B"):
        table.add_column(heading, overflow="fold")
    both = document.recordings
    table.add_row("Recording", *(Text(isolated(printable(each.path))) for each in both))
    table.add_row("SHA-256", *(each.sha256 for each in both))
    table.add_row("Heard", *(count(each.trace.windows, "window") for each in both))
    table.add_row("Known sources", *(Text(isolated(printable(similar_briefly(each)))) for each in both))
    return table


def _comparison(document: LinkDocument) -> Table:
    calibration = document.tracer.link_calibration
    assert calibration is not None  # the document is not valid without
    bound = calibration.llr_bound
    over, under = both_ratios(document.llr, bound)
    tracer = document.tracer
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in (
        *PROPOSITIONS.items(),
        ("Cosine", f"{document.cosine:.3f}"),
        ("LLR", f"{format_llr(document.llr, bound)} (natural log)"),
        ("LR", f"H1 over H2 {over}, H2 over H1 {under}"),
        ("In words", link_opinion(document.llr, bound)),
        ("Tracer", f"{tracer.name} {tracer.version}, {count(len(tracer.classes), 'shipped source')}"),
        ("Calibration", calibration_words(calibration)),
    ):
        table.add_row(label, Text(printable(value)))
    return table
