"""An evaluation, or a comparison, for a terminal: the tables of the report in plain words, worst systems first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import StringIO

from markupsafe import Markup
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from spoofcheck.evalschema import (
    Caveat,
    Comparison,
    DataInfo,
    Detection,
    Difference,
    EvaluationDocument,
    Rates,
    Tracing,
    Transfer,
)
from spoofcheck.evalschema import Group as RatesGroup
from spoofcheck.render.evaluation import tables
from spoofcheck.render.text import MISSING, count, isolated, printable

MOST_ROWS = 20
"""Of a table of groups; the best ones beyond are in the JSON and the HTML report."""

_METRICS = {
    "asvspoof5": "ASVspoof 5 definitions",
    "multiapi": "MultiAPI paper's definitions: costs are not normalised",
}
_WINDOWS = {
    "first": "first window of each recording",
    "all": "all windows, as scan pools them",
    "given": "scores given",
}
_TEXT_WIDTH = 120
_GAP = 2
_NAME_CELLS = 24
_DROPPED_FIRST = ("Cllr", "minDCF", "HTER %", "Synthetic", "Human")


class EvaluationTables:
    """A rich renderable of an evaluation document or a comparison; fits whatever width it is printed at."""

    def __init__(self, document: EvaluationDocument | Comparison) -> None:
        self.document = document

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the document out."""
        document = self.document
        yield Group(*(_comparison(document) if isinstance(document, Comparison) else _evaluation(document)))


def render(document: EvaluationDocument | Comparison, width: int = _TEXT_WIDTH) -> str:
    """The tables as plain text, `width` cells wide."""
    console = Console(file=StringIO(), width=width, force_terminal=False, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(EvaluationTables(document))
    return "".join(line.rstrip() + "\n" for line in capture.get().splitlines())


def _evaluation(document: EvaluationDocument) -> Iterator[RenderableType]:
    subject = document.tracer or (f"{document.model.name} {document.model.version}" if document.model else "score file")
    yield _line(f"{subject} on {document.data.name}", "bold")
    yield _line(_data(document.data))
    if document.detection is not None:
        yield from _detection(document.detection)
    if document.tracing is not None:
        yield from _tracing(document.tracing)
    yield from _caveats(document.warnings)


def _detection(detection: Detection) -> Iterator[RenderableType]:
    yield _line(f"Overall ({_METRICS[detection.metrics]})", "bold", above=True)
    yield _figures(detection.overall, detection.transfer)
    parts = (
        ("Seen in training, and not", "Systems", detection.by_seen, False),
        ("Per system, against all human trials, worst first", "System", detection.by_system, True),
        ("All trials but those of one system, worst first", "Without", detection.without_system, True),
        ("Per language, worst first", "Language", detection.by_language, True),
        ("Per codec, worst first", "Codec", detection.by_codec, True),
    )
    for title, first, groups, rank in parts:
        if groups:
            yield _line(title, "bold", above=True)
            ranked = sorted(groups, key=lambda group: (-group.rates.eer, group.name)) if rank else groups
            yield _Rates(first, ranked)


def _figures(rates: Rates, transfer: Transfer | None) -> RenderableType:
    """The overall figures, one a line."""
    act = "" if rates.act_dcf is None else f", actDCF {tables.figure(rates.act_dcf)}"
    lines = [
        ("Trials", f"{rates.bonafide_trials:,} human, {rates.spoof_trials:,} synthetic"),
        ("EER", f"{tables.percent(rates.eer)} (95 % interval: {tables.bracket(rates.eer_interval)})"),
        ("Costs", f"minDCF {tables.figure(rates.min_dcf)}{act}"),
    ]
    if rates.cllr is not None:
        lines.append(("Cllr", f"{tables.figure(rates.cllr)} bits, {tables.figure(rates.cllr_min)} calibrated ideally"))
    if transfer is not None:
        lines += [
            ("Fixed threshold", _threshold(transfer)),
            ("Errors there", f"HTER {tables.percent(transfer.hter)}, human taken for synthetic (FPR) "
             f"{tables.percent(transfer.fpr)}, synthetic accepted (FNR) {tables.percent(transfer.fnr)}"),
        ]  # fmt: skip
    grid = RichTable.grid(padding=(0, 2))
    for name, text in lines:
        grid.add_row(Text(name, no_wrap=True), Text(printable(text)))
    return Padding(grid, (0, 0, 0, 2), expand=False)


@dataclass(frozen=True, slots=True)
class _Rates:
    """One line a group, rates in percent; what no group has, and what a narrow terminal has no room for, is left out.

    Always there: name, EER with its interval, FPR and FNR. The rest is in the JSON and the HTML report.
    """

    first: str
    groups: Sequence[RatesGroup]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        groups = self.groups[:MOST_ROWS]
        names = [isolated(printable(group.name)) for group in groups]
        columns = dict(_columns(groups))
        taken = min(max(map(cell_len, (self.first, *names))), _NAME_CELLS)
        room = options.max_width - taken
        for optional in _DROPPED_FIRST:
            if sum(max(map(cell_len, (title, *cells))) + _GAP for title, cells in columns.items()) > room:
                columns.pop(optional, None)
        drawn = _empty_table()
        drawn.add_column(self.first, overflow="fold")
        for title in columns:
            drawn.add_column(title, justify="right", no_wrap=True)
        for name, *cells in zip(names, *columns.values(), strict=True):
            drawn.add_row(Text(name), *cells)
        yield _with_rest(drawn, len(self.groups))


def _columns(groups: Sequence[RatesGroup]) -> Iterator[tuple[str, list[str]]]:
    """Titles and cells of all columns but the name's."""
    rates = [group.rates for group in groups]
    yield "Human", [f"{each.bonafide_trials:,}" for each in rates]
    yield "Synthetic", [f"{each.spoof_trials:,}" for each in rates]
    yield "EER %", [_hundredths(each.eer) for each in rates]
    yield "95 % interval", [tables.bracket(each.eer_interval) for each in rates]
    yield "minDCF", [tables.figure(each.min_dcf) for each in rates]
    if any(each.cllr is not None for each in rates):
        yield "Cllr", [tables.figure(each.cllr) for each in rates]
    transfers = [group.transfer for group in groups]
    if any(transfers):
        yield "HTER %", [_hundredths(each.hter if each else None) for each in transfers]
        yield "FPR %", [_hundredths(each.fpr if each else None) for each in transfers]
        yield "FNR %", [_hundredths(each.fnr if each else None) for each in transfers]


def _across(names: Sequence[str], models: Sequence[Sequence[RatesGroup]]) -> RenderableType:
    """The EER of every system under every model, highest mean first."""
    by_model = [{group.name: group.rates for group in groups} for groups in models]
    systems = {name: [rates[name] for rates in by_model if name in rates] for rates in by_model for name in rates}
    means = {name: sum(rates.eer for rates in found) / len(found) for name, found in systems.items()}
    drawn = _empty_table()
    drawn.add_column("System", overflow="fold")
    drawn.add_column("Synthetic", justify="right", no_wrap=True)
    for name in names:
        drawn.add_column(Text(isolated(printable(name))), justify="right", overflow="fold", vertical="bottom")
    for system in sorted(systems, key=lambda name: (-means[name], name))[:MOST_ROWS]:
        cells = [_eer(rates[system]) if system in rates else MISSING for rates in by_model]
        drawn.add_row(Text(isolated(printable(system))), f"{systems[system][0].spoof_trials:,}", *cells)
    return _with_rest(drawn, len(systems))


def _eer(rates: Rates) -> str:
    return f"{_hundredths(rates.eer)} ({tables.bracket(rates.eer_interval)})"


def _hundredths(share: float | None) -> str:
    return MISSING if share is None else f"{100 * share:.2f}"


def _tracing(tracing: Tracing) -> Iterator[RenderableType]:
    yield _line("Tracing", "bold", above=True)
    yield _line(f"Rule: {tracing.rule}.")
    share = f"{tables.percent(tracing.accuracy)} ({tables.bracket(tracing.accuracy_interval)})"
    yield _line(f"Accuracy: {share}.")
    yield _table(tables.classes_table("", (tracing.seen, tracing.unseen, tracing.overall), first="Classes"))
    if tracing.open_set is not None:
        known = tracing.open_set
        yield _line(
            f"Seen against unseen: AUROC {tables.percent(known.auroc)}, FPR95 {tables.percent(known.fpr95)}, "
            f"OSCR {tables.percent(known.oscr)}."
        )
    yield _line("Per class", "bold", above=True)
    yield _table(tables.classes_table("", tracing.classes))


def _comparison(comparison: Comparison) -> Iterator[RenderableType]:
    yield _line(f"{count(len(comparison.names), 'model')} on {comparison.data.name}", "bold")
    yield _line(_data(comparison.data))
    detections = [(n, d.detection) for n, d in zip(comparison.names, comparison.documents, strict=True) if d.detection]
    tracings = [(n, d.tracing) for n, d in zip(comparison.names, comparison.documents, strict=True) if d.tracing]
    if detections:
        yield _line(f"The common trials ({_METRICS[detections[0][1].metrics]})", "bold", above=True)
        groups = [RatesGroup(name=name, rates=one.overall, transfer=one.transfer) for name, one in detections]
        yield _Rates("Model", groups)
        for name, one in detections:
            if one.transfer is not None:
                yield _line(f"{name}: threshold {_threshold(one.transfer)}")
        systems = [detection.by_system for _, detection in detections]
        if any(systems):
            yield _line("EER % (95 % interval) per system, worst first", "bold", above=True)
            yield _across([name for name, _ in detections], systems)
    if tracings:
        yield _line("The common trials", "bold", above=True)
        yield _table(tables.tracers_table("", [name for name, _ in tracings], [tracing for _, tracing in tracings]))
    yield from _differences(comparison.differences)
    yield _line(tables.summary(comparison), above=True)
    shared = dict.fromkeys(caveat for document in comparison.documents for caveat in document.warnings)
    yield from _caveats(tuple(shared))


def _differences(differences: Sequence[Difference]) -> Iterator[RenderableType]:
    """A table a pair, whose names stand above it: in columns, two paths would leave no room for the figures."""
    for first, second in dict.fromkeys((one.first, one.second) for one in differences):
        yield _line(f"Differences: {second} minus {first}", "bold", above=True)
        of_pair = [one for one in differences if (one.first, one.second) == (first, second)]
        table = tables.differences_table("", of_pair)
        kept = [at for at, column in enumerate(table.columns) if column.title not in ("First", "Second")]
        columns = tuple(table.columns[at] for at in kept)
        yield _table(replace(table, columns=columns, rows=tuple(tuple(row[at] for at in kept) for row in table.rows)))


def _caveats(caveats: tuple[Caveat, ...]) -> Iterator[RenderableType]:
    if not caveats:
        return
    yield _line("To know before using these figures", "bold", above=True)
    for caveat in caveats:
        text = Text(f"{printable(caveat.code)}: ", "yellow")
        yield Padding(text.append(isolated(printable(caveat.message)), "default"), (0, 0, 0, 2), expand=False)


def _data(data: DataInfo) -> str:
    unscored = f"; {count(data.unscored, 'trial')} without a score" if data.unscored else ""
    return f"Protocol: {data.protocol}; {_WINDOWS[data.windows]}{unscored}."


def _threshold(transfer: Transfer) -> str:
    return f"{tables.signed(transfer.threshold)} (at or above is human), fixed on {transfer.fixed_on}"


def _table(table: tables.Table) -> RenderableType:
    drawn = _empty_table()
    for column in table.columns:
        heading = column.title.striptags() if isinstance(column.title, Markup) else column.title
        drawn.add_column(
            Text(printable(heading)), justify="right" if column.number else "left", vertical="bottom", overflow="fold"
        )
    for row in table.rows[:MOST_ROWS]:
        drawn.add_row(*(_cell(cell) for cell in row))
    return _with_rest(drawn, len(table.rows))


def _empty_table() -> RichTable:
    return RichTable(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")


def _with_rest(drawn: RichTable, rows: int) -> RenderableType:
    if rows <= MOST_ROWS:
        return drawn
    return Group(drawn, _line(f"... and {rows - MOST_ROWS:,} more (see the JSON or the HTML report)"))


def _cell(cell: tables.Cell) -> Text:
    note = f"\n{printable(cell.note)}" if cell.note else ""
    return Text(isolated(printable(cell.text)) + note)


def _line(text: str, style: str = "", *, above: bool = False) -> RenderableType:
    return Padding(Text(isolated(printable(text)), style), (1 if above else 0, 0, 0, 0), expand=False)
