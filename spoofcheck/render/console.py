"""The result for a terminal: a row and a timeline strip per exhibit, and a summary in a few lines.

Under each exhibit's row stand its timeline, a mark per window, and the flagged stretches with their times.
Colour only repeats what shape and words already say, so that a pipe, a log or a colour-blind reader
loses nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO

from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from spoofcheck.render import measures
from spoofcheck.render.division import merged_words, notices
from spoofcheck.render.paths import common_folder, relative_names, shortened
from spoofcheck.render.text import (
    MISSING,
    count,
    format_llr,
    format_similarity,
    format_span,
    format_time,
    isolated,
    printable,
)
from spoofcheck.render.timeline import Level, strip
from spoofcheck.render.tracing import (
    NO_SUPPORT,
    decision_words,
    either,
    follows_channel,
    is_known,
    similar_briefly,
)
from spoofcheck.render.wording import VERDICT_ORDER, VERDICT_WORDS, examined_part
from spoofcheck.schema import FLAGGED, Finding, OptionsInfo, ScanDocument, TracerInfo, Verdict

_VERDICT_STYLES = {
    Verdict.BONAFIDE: "green",
    Verdict.SPOOF: "bold red",
    Verdict.PARTIAL: "bold magenta",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.UNCALIBRATED: "yellow",
    Verdict.SKIPPED: "dim",
}
_LEVEL_STYLES = {
    Level.NOT_SCORED: "dim",
    Level.OVER_BUDGET: "dim",
    Level.RAW: "",
    Level.HUMAN: "green",
    Level.UNDECIDED: "yellow",
    Level.SYNTHETIC: "red",
}
_UNICODE_MARKS = {
    Level.NOT_SCORED: "·",
    Level.OVER_BUDGET: "\N{BOX DRAWINGS LIGHT DIAGONAL UPPER RIGHT TO LOWER LEFT}",
    Level.RAW: "░",
    Level.HUMAN: "▁",
    Level.UNDECIDED: "▄",
    Level.SYNTHETIC: "█",
}
_ASCII_MARKS = {
    Level.NOT_SCORED: ".",
    Level.OVER_BUDGET: "/",
    Level.RAW: "~",
    Level.HUMAN: "_",
    Level.UNDECIDED: "=",
    Level.SYNTHETIC: "#",
}
_ASCII_SIGNS = str.maketrans({"≥": ">=", "≤": "<=", MISSING: "-", "±": "+-"})

_OWN_LICENCE = "Apache-2.0"
"""What the licences of spoofcheck and of all it ships begin with: a model under another is told of in every result."""
_UNCALIBRATED = "not calibrated: raw scores only, no likelihood ratio, no verdict"

_GAP = 2
_INDENT = 2
_MIN_NAME_CELLS = 16
_MIN_WIDTH_WITH_FLAGS = 110
_MAX_FLAGS_CELLS = 28
_MIN_WIDTH_WITH_SOURCE = 110
_MAX_SOURCE_CELLS = 28
_SPANS_SHOWN = 8
_FLAGGED_SHOWN = 10
_DECISIONS_SHOWN = 10
_TEXT_WIDTH = 100


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    cells: int
    right: bool = False


class ScanTable:
    """A rich renderable that fits whatever width it is printed at."""

    def __init__(self, document: ScanDocument) -> None:
        self.document = document

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the document out for the console's width and encoding."""
        layout = _Layout(self.document, options.max_width, ascii_only=options.ascii_only)
        yield Group(*layout.parts())


def render(document: ScanDocument, width: int = _TEXT_WIDTH) -> str:
    """The table as plain text, `width` cells wide."""
    console = Console(file=StringIO(), width=width, force_terminal=False, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(ScanTable(document))
    return "".join(line.rstrip() + "\n" for line in capture.get().splitlines())


def summary(document: ScanDocument, store: str = "") -> str:
    """What a scan ends with on stderr: how much was heard, counts by verdict, what was flagged.

    Args:
        document: the result.
        store: where findings were kept; told where some were taken from there.
    """
    exhibits, skipped = measures.examined(document.findings), measures.skipped(document.findings)
    lines = [_examined(document, exhibits)]
    if document.run.from_store:
        recordings = count(len({finding.path for finding in document.findings}), "recording")
        place = f" ({printable(store)})" if store else ""
        lines.append(f"{document.run.from_store:,} of {recordings} were judged before and taken from the store{place}")
    if document.findings:
        counts = measures.verdict_counts(document.findings)
        shown = [f"{counts[verdict]:,} {VERDICT_WORDS[verdict]}" for verdict in VERDICT_ORDER if counts[verdict]]
        lines.append(f"Verdicts: {', '.join(shown)}")
    flagged = [finding for finding in exhibits if finding.verdict in FLAGGED]
    if flagged:
        names = relative_names(finding.path for finding in document.findings)
        listed = [_with_channel(names[finding.path], finding) for finding in flagged[:_FLAGGED_SHOWN]]
        rest = f", and {len(flagged) - _FLAGGED_SHOWN:,} more" if len(flagged) > _FLAGGED_SHOWN else ""
        lines.append(f"Flagged: {', '.join(listed)}{rest}")
    lines += _traced(document, exhibits)
    unscored = sum(map(measures.windows_not_scored, exhibits))
    if unscored:
        windows = sum(len(finding.windows) for finding in exhibits)
        lines.append(f"Not scored: {unscored:,} of {count(windows, 'window')}")
    lines += _in_part(document, exhibits)
    if skipped:
        codes = dict.fromkeys(printable(reason.code) for finding in skipped for reason in finding.reasons)
        lines.append(f"Not examined: {count(len(skipped), 'input')} ({', '.join(codes)})")
    if not measures.is_calibrated(document):
        lines.append(f"The model {printable(document.model.name)} is {_UNCALIBRATED}")
    lines += _licences(document)
    if document.merged is not None:
        lines.append(f"{merged_words(document.merged).capitalize()}")
    lines += notices(document)
    return "\n".join(lines) + "\n"


def _in_part(document: ScanDocument, exhibits: Sequence[Finding]) -> Iterator[str]:
    """How many exhibits were examined in part, for a budget, and how much of them was not looked at."""
    cut = [finding for finding in exhibits if measures.windows_over_budget(finding)]
    if cut:
        left_out = count(sum(map(measures.windows_over_budget, cut)), "window")
        speech = " with speech" if document.options.vad else ""
        yield f"Examined in part: {count(len(cut), 'exhibit')}, over the budget; nothing is said of {left_out}{speech}"


def _licences(document: ScanDocument) -> Iterator[str]:
    """A line for every model under a licence other than spoofcheck's own."""
    for model in (document.model, document.tracer):
        if model is not None and not model.licence.startswith(_OWN_LICENCE):
            yield f"Licence of {printable(model.name)}: {printable(model.licence)}"


def _examined(document: ScanDocument, exhibits: Sequence[Finding]) -> str:
    if not exhibits:
        return "No input could be examined." if document.findings else "Nothing to examine."
    recordings = len({finding.path for finding in exhibits})
    audio_s, elapsed_s = measures.duration_s(exhibits), document.run.elapsed_s
    # From the first part's beginning to the last one's end says little of a joined result: parts may have waited.
    is_timed = elapsed_s > 0 and document.merged is None and not document.run.from_store
    speed = f" in {format_time(elapsed_s)} ({audio_s / elapsed_s:.0f} x real time)" if is_timed else ""
    return (
        f"Examined {count(recordings, 'recording')} ({count(len(exhibits), 'exhibit')}), "
        f"{format_time(audio_s)} of audio{speed}"
    )


def _traced(document: ScanDocument, exhibits: Sequence[Finding]) -> Iterator[str]:
    """How many exhibits were traced, with which decisions, and the groups of those that stay unknown."""
    traced = [finding for finding in exhibits if finding.trace is not None]
    if not traced:
        return
    known = Counter(decision_words(finding) for finding in traced if is_known(finding))
    shown = [
        f"{number:,} {'to' if index else 'most similar to'} {printable(name)}"
        for index, (name, number) in enumerate(known.most_common(_DECISIONS_SHOWN))
    ]
    if rest := known.total() - sum(number for _, number in known.most_common(_DECISIONS_SHOWN)):
        shown.append(f"{rest:,} to others")
    if unknown := len(traced) - known.total():
        shown.append(f"{unknown:,} unknown")
    yield f"Traced: {count(len(traced), 'exhibit')} ({', '.join(shown)})"
    if document.unknown_groups:
        yield f"Alike among the unknown: {', '.join(_unknown_groups(document))}"
    if failed := sum(map(follows_channel, traced)):
        yield f"Channel test: failed for {count(failed, 'exhibit')}, whose similarity is no support"


def _unknown_groups(document: ScanDocument) -> Iterator[str]:
    """`Unknown-1 (14 files, 3 exhibits earlier)`, and how many groups are left out."""
    for group in document.unknown_groups[:_DECISIONS_SHOWN]:
        files = len({finding.path for finding in document.findings if measures.unknown_group(finding) == group.name})
        earlier = f", {count(group.earlier, 'exhibit')} earlier" if group.earlier else ""
        yield f"{printable(group.name)} ({count(files, 'file')}{earlier})"
    if len(document.unknown_groups) > _DECISIONS_SHOWN:
        yield f"and {len(document.unknown_groups) - _DECISIONS_SHOWN:,} more groups"


class _Layout:
    def __init__(self, document: ScanDocument, width: int, *, ascii_only: bool) -> None:
        self._options: OptionsInfo = document.options
        self._bound = measures.llr_bound(document)
        self._tracer = document.tracer
        self._enrolled = document.enrolled
        self._notices = list(notices(document))
        self._width = width
        self._ascii = ascii_only
        self._exhibits = measures.examined(document.findings)
        self._skipped = measures.skipped(document.findings)
        self._folder = common_folder(finding.path for finding in document.findings)
        names = relative_names(finding.path for finding in document.findings)
        self._names = {path: self._safe(name) for path, name in names.items()}
        self._columns = self._make_columns()
        self._labels = shortened(
            list(dict.fromkeys(self._names.values())), self._columns[0].cells, "..." if ascii_only else "…"
        )

    def parts(self) -> Iterator[Text | Table | Padding]:
        """Everything from the folder's name to the legend, with an empty line between the blocks."""
        blocks: list[list[Text | Table | Padding]] = []
        if self._exhibits:
            blocks += [list(self._table()), list(self._legend())]
        if self._skipped:
            title = Text(f"Not examined: {count(len(self._skipped), 'input')}", "bold")
            blocks.append([title, Padding(self._skipped_table(), (0, 0, 0, _INDENT))])
        if not blocks:
            blocks.append([Text("Nothing to examine.")])
        if self._notices:
            blocks.append([self._line(notice, "bold") for notice in self._notices])
        if self._folder:
            blocks[0].insert(0, self._line(f"Folder {self._safe(self._folder)}", "dim"))
        for index, block in enumerate(blocks):
            if index:
                yield Text()
            yield from block

    def _table(self) -> Iterator[Text]:
        yield self._row([Text(column.title, "bold") for column in self._columns])
        rule = sum(column.cells + _GAP for column in self._columns) - _GAP
        yield Text(("-" if self._ascii else "─") * rule, "dim", no_wrap=True)
        for finding in self._exhibits:
            yield from self._exhibit(finding)

    def _make_columns(self) -> list[_Column]:
        columns = [
            _Column("Duration", 8, right=True),
            _Column("Speech", 8, right=True),
            _Column("Verdict", 12),
            *self._score_columns(),
        ]
        if any(finding.channel is not None for finding in self._exhibits):
            columns.insert(0, _Column("Ch", 2))
        if self._tracer is not None and self._width >= _MIN_WIDTH_WITH_SOURCE:
            widest = max((cell_len(self._source(finding)) for finding in self._exhibits), default=0)
            columns.append(_Column("Similar to", max(len("Similar to"), min(widest, _MAX_SOURCE_CELLS))))
        widest = max((cell_len(flags) for flags in map(self._flags, self._exhibits)), default=0)
        taken = sum(column.cells + _GAP for column in columns)
        room = self._width - taken - _MIN_NAME_CELLS - 2 * _GAP
        if widest and self._width >= _MIN_WIDTH_WITH_FLAGS and room >= len("Flags"):
            columns.append(_Column("Flags", max(len("Flags"), min(widest, room, _MAX_FLAGS_CELLS))))
        rest = sum(column.cells + _GAP for column in columns)
        longest = max((cell_len(name) for name in self._names.values()), default=0)
        name_cells = max(_MIN_NAME_CELLS, min(longest, self._width - rest))
        return [_Column("File", name_cells), *columns]

    def _score_columns(self) -> list[_Column]:
        if self._bound is None:
            return [_Column("Raw score", 9, right=True)]
        return [_Column("LLR", 7, right=True), _Column("Spoofed", 8, right=True)]

    def _exhibit(self, finding: Finding) -> Iterator[Text]:
        label = self._labels[self._names[finding.path]]
        first, *more = chop_cells(label, self._columns[0].cells) or [""]
        flags, source = self._flags(finding), self._source(finding)
        flags_fit, source_fits = self._fits("Flags", flags), self._fits("Similar to", source)
        cells = {
            "File": Text(isolated(first)),
            "Ch": Text(_channel_mark(finding)),
            "Duration": Text(format_time(finding.duration_s)),
            "Speech": Text(format_time(finding.speech_s)),
            "Verdict": Text(VERDICT_WORDS[finding.verdict], _VERDICT_STYLES[finding.verdict]),
            "LLR": Text(format_llr(finding.spoof_llr, self._bound)),
            "Raw score": Text(format_llr(finding.raw_score)),
            "Spoofed": Text(format_time(measures.spoofed_s(finding)) if finding.spans else MISSING),
            "Similar to": Text(source if source_fits else ""),
            "Flags": Text(flags if flags_fit else ""),
        }
        yield self._row([cells[column.title] for column in self._columns])
        for part in more:
            yield Text(isolated(part), no_wrap=True)
        yield from self._strip(finding)
        if part := examined_part(finding):
            yield self._line(f"examined: {part}", "yellow", _INDENT)
        if finding.spans:
            yield self._spans(finding)
        if source and not source_fits:
            yield self._line(self._safe(similar_briefly(finding)), "", _INDENT)
        if flags and not flags_fit:
            yield self._line(f"flags: {flags}", "yellow", _INDENT)

    def _fits(self, title: str, text: str) -> bool:
        return any(column.title == title and cell_len(text) <= column.cells for column in self._columns)

    def _source(self, finding: Finding) -> str:
        """The trace as a cell: the most similar source and how similar it is, or `unknown`, or the unknown's group."""
        if finding.trace is None:
            return ""
        similarity = f" ({format_similarity(finding.sources[0].similarity)})" if is_known(finding) else ""
        mark = " *" if follows_channel(finding) else ""
        return isolated(self._safe(decision_words(finding))) + similarity + mark

    def _flags(self, finding: Finding) -> str:
        return self._safe(", ".join(measures.flags(finding)))

    def _strip(self, finding: Finding) -> Iterator[Text]:
        if not finding.windows:
            return
        marks = _ASCII_MARKS if self._ascii else _UNICODE_MARKS
        line = Text(" " * _INDENT, no_wrap=True)
        for level in strip(finding, self._options, self._width - _INDENT):
            line.append(marks[level], _LEVEL_STYLES[level])
        yield line

    def _spans(self, finding: Finding) -> Text:
        shown = [
            f"{format_span(span.start_s, span.end_s)} (LLR {format_llr(span.spoof_llr, self._bound)})"
            for span in finding.spans[:_SPANS_SHOWN]
        ]
        more = len(finding.spans) - len(shown)
        text = "at " + ", ".join(shown) + (f", and {more} more" if more else "")
        return self._line(text, "red", _INDENT)

    def _legend(self) -> Iterator[Text]:
        options, marks = self._options, _ASCII_MARKS if self._ascii else _UNICODE_MARKS
        low, high = format_llr(options.bonafide_threshold_llr), format_llr(options.window_threshold_llr)
        words = {
            Level.HUMAN: f"bona fide (≤ {low})",
            Level.UNDECIDED: "in between",
            Level.SYNTHETIC: f"synthetic (≥ {high})",
        }
        if self._bound is None:
            words = {Level.RAW: "scored"}
        words[Level.NOT_SCORED] = "not scored"
        window = f"{options.window_s:g} s window (hop {options.hop_s:g} s)"
        yield self._line(f"Timeline: a mark per {window}; in long recordings per group", "dim")
        key = Text(" " * _INDENT)
        for level, word in words.items():
            key.append(marks[level], _LEVEL_STYLES[level]).append(f" {self._signs(word)}   ", "dim")
        key.rstrip()
        yield key
        if any(map(measures.windows_over_budget, self._exhibits)):
            yield self._line(f"{marks[Level.OVER_BUDGET]} not looked at, over the budget", "dim", _INDENT)
        if self._bound is None:
            yield self._line(f"Raw score: spoof logit minus bona fide logit. The model is {_UNCALIBRATED}", "dim")
        else:
            yield self._line(
                f"LLR: natural-log likelihood ratio, + supports synthetic, bound ±{self._bound:.1f}", "dim"
            )
        if self._tracer is not None and any(finding.trace is not None for finding in self._exhibits):
            yield from self._tracing_legend(self._tracer)

    def _tracing_legend(self, tracer: TracerInfo) -> Iterator[Text]:
        enrolled = len(self._enrolled.sources) if self._enrolled is not None else 0
        known = count(len(tracer.classes) + enrolled, "known source")
        own = f" ({enrolled:,} enrolled)" if enrolled else ""
        yield self._line(f"Similar to: closest of {known}{own}, by {self._safe(tracer.name)}", "dim")
        yield self._line("likeness, not origin", "dim", _INDENT)
        yield self._line(self._safe(tracer.rule), "dim", _INDENT)
        groups = dict.fromkeys(
            finding.trace.group for finding in self._exhibits if finding.trace and finding.trace.group
        )
        for group in groups:
            yield self._line(self._safe(f"not told apart: {either(group)}"), "dim", _INDENT)
        in_column = any(column.title == "Similar to" for column in self._columns)
        if in_column and any(map(follows_channel, self._exhibits)):
            yield self._line(f"* {NO_SUPPORT}", "dim", _INDENT)

    def _skipped_table(self) -> Table:
        table = Table.grid(padding=(0, _GAP), pad_edge=False)
        table.add_column(max_width=self._width // 2, overflow="fold")
        table.add_column(overflow="fold")
        for finding in self._skipped:
            reasons = " ".join(f"{self._safe(reason.message)}" for reason in finding.reasons)
            table.add_row(Text(isolated(self._names[finding.path])), Text(reasons))
        return table

    def _row(self, cells: Sequence[Text]) -> Text:
        line = Text(no_wrap=True)
        for column, cell in zip(self._columns, cells, strict=True):
            cell.plain = self._signs(cell.plain)
            room = " " * max(0, column.cells - cell_len(cell.plain))
            if column.right:
                line.append(room)
            if cell_len(cell.plain) > column.cells:
                cell.truncate(column.cells, overflow="crop" if self._ascii else "ellipsis")
            line.append_text(cell)
            line.append((room if not column.right else "") + " " * _GAP)
        line.rstrip()
        return line

    def _line(self, text: str, style: str, indent: int = 0) -> Text:
        return Text(" " * indent + self._signs(text), style, overflow="fold")

    def _safe(self, text: str) -> str:
        shown = printable(text)
        return shown.encode("ascii", "backslashreplace").decode() if self._ascii else shown

    def _signs(self, text: str) -> str:
        return text.translate(_ASCII_SIGNS) if self._ascii else text


def _channel_mark(finding: Finding) -> str:
    """`L` and `R` of two channels, else the channel counted from 1."""
    if finding.channel is None:
        return ""
    if finding.media is not None and finding.media.channels == 2:
        return "LR"[finding.channel]
    return str(finding.channel + 1)


def _with_channel(name: str, finding: Finding) -> str:
    mark = _channel_mark(finding)
    return f"{name} [{mark}]" if mark else name
