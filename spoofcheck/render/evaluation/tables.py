"""The tables of an evaluation report, as text: what stands in which cell, and what a column is sorted by. Pure.

An EER never stands without its interval, or the words that there is none. Nothing here is escaped: templates do it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from spoofcheck.evalschema import ClassRow, Comparison, Difference, Group, Interval, Rates, Tracing, Transfer
from spoofcheck.render.text import MISSING, count, format_percent

_MINUS = "\N{MINUS SIGN}"
NO_INTERVAL = "no interval"
NO_DIFFERENCE = "no difference shown"


@dataclass(frozen=True, slots=True)
class Column:
    """One column's heading; numbers stand at the right."""

    title: str | Markup
    number: bool = True


@dataclass(frozen=True, slots=True)
class Cell:
    """What a cell says, what it is sorted by where that is not its text, and a remark below it."""

    text: str
    sort: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose first column heads its rows; `falling` is the column it is sorted by from the start."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    falling: int | None = None


def percent(share: float | None) -> str:
    """A rate (0 to 1) in percent with two decimals."""
    return format_percent(share, 2)


def figure(value: float | None) -> str:
    """A cost with four decimals."""
    return MISSING if value is None else f"{value:.4f}".replace("-", _MINUS)


def signed(value: float, digits: int = 4) -> str:
    """A score or difference with its sign; what rounds to zero has none."""
    text = f"{value:+.{digits}f}"
    return (text if float(text) else text[1:]).replace("-", _MINUS)


def bracket(interval: Interval | None) -> str:
    """`11.90 to 12.80`, in percent, or the words that there is no interval."""
    return NO_INTERVAL if interval is None else f"{100 * interval.low:.2f} to {100 * interval.high:.2f}"


def eer(rates: Rates) -> str:
    """`12.34 % (11.90 to 12.80)`."""
    return f"{percent(rates.eer)} ({bracket(rates.eer_interval)})"


_EER = Column("EER (95 % interval)")
_CLLR_MIN = Column(Markup("Cllr<sub>min</sub>"))
_BONAFIDE, _SPOOFS = Column("Trials, bona fide"), Column("Trials, spoof")

_COSTS: tuple[tuple[Column, Callable[[Rates], float | None]], ...] = (
    (Column("minDCF"), lambda rates: rates.min_dcf),
    (Column("actDCF"), lambda rates: rates.act_dcf),
    (Column("Cllr"), lambda rates: rates.cllr),
    (_CLLR_MIN, lambda rates: rates.cllr_min),
)
_ERRORS: tuple[tuple[Column, Callable[[Transfer], float]], ...] = (
    (Column("HTER"), lambda transfer: transfer.hter),
    (Column("FPR"), lambda transfer: transfer.fpr),
    (Column("FNR"), lambda transfer: transfer.fnr),
)


def rates_table(
    caption: str,
    first: str,
    groups: Iterable[Group],
    usual: Transfer | None = None,
    *,
    rank: bool,
    same_threshold: bool = True,
) -> Table:
    """One line per group; columns that no group has a figure for are left out.

    Args:
        caption: says which definitions the figures follow.
        first: heading of the first column.
        groups: in the order of the document.
        usual: the threshold that the page states; a group with another one says so in its line.
        rank: highest EER first.
        same_threshold: whether a group's own threshold is a surprise; False where another table lists them.
    """
    kept = list(groups)
    if rank:
        kept.sort(key=lambda group: (-group.rates.eer, group.name))
    costs = [(column, get) for column, get in _COSTS if any(get(group.rates) is not None for group in kept)]
    errors = _ERRORS if any(group.transfer is not None for group in kept) else ()
    return Table(
        caption=caption,
        columns=(
            Column(first, number=False),
            _BONAFIDE,
            _SPOOFS,
            _EER,
            *(c for c, _ in costs),
            *(c for c, _ in errors),
        ),
        rows=tuple(
            (
                Cell(group.name, note=_other_threshold(group.transfer, usual) if same_threshold else ""),
                _count(group.rates.bonafide_trials),
                _count(group.rates.spoof_trials),
                Cell(eer(group.rates), group.rates.eer),
                *(Cell(figure(get(group.rates)), get(group.rates)) for _, get in costs),
                *(_share(get(group.transfer) if group.transfer else None) for _, get in errors),
            )
            for group in kept
        ),
        falling=3 if rank else None,
    )


def _count(number: int) -> Cell:
    return Cell(f"{number:,}", number)


def _share(value: float | None) -> Cell:
    return Cell(percent(value), value)


def _other_threshold(transfer: Transfer | None, usual: Transfer | None) -> str:
    if transfer is None or (usual and (transfer.threshold, transfer.fixed_on) == (usual.threshold, usual.fixed_on)):
        return ""
    return f"threshold {signed(transfer.threshold)}, fixed on {transfer.fixed_on}"


def classes_table(caption: str, rows: Iterable[ClassRow], *, first: str = "Class") -> Table:
    """Precision, recall and F1 per class, in the order given."""
    return Table(
        caption=caption,
        columns=(Column(first, number=False), *(Column(name) for name in ("Trials", "Precision", "Recall", "F1"))),
        rows=tuple(
            (Cell(row.name), _count(row.trials), _share(row.precision), _share(row.recall), _share(row.f1))
            for row in rows
        ),
    )


def thresholds_table(groups: Iterable[Group]) -> Table:
    """The threshold at which each model's HTER, FPR and FNR were taken, and what it was fixed on."""
    return Table(
        caption="Thresholds behind HTER, FPR and FNR. Each was fixed on other data.",
        columns=(Column("Model", number=False), Column("Threshold"), Column("Fixed on", number=False)),
        rows=tuple(
            (Cell(group.name), Cell(signed(group.transfer.threshold)), Cell(group.transfer.fixed_on))
            for group in groups
            if group.transfer is not None
        ),
    )


def across_table(caption: str, first: str, names: Sequence[str], models: Sequence[Sequence[Group]]) -> Table:
    """The same groups under several models: one line per group, one EER column per model; highest mean EER first."""
    found: dict[str, list[Group | None]] = {}
    for place, groups in enumerate(models):
        for group in groups:
            found.setdefault(group.name, [None] * len(models))[place] = group

    def mean(line: list[Group | None]) -> float:
        known = [group.rates.eer for group in line if group is not None]
        return sum(known) / len(known)

    def trials(line: list[Group | None]) -> tuple[Cell, Cell]:
        known = next(group.rates for group in line if group is not None)
        return _count(known.bonafide_trials), _count(known.spoof_trials)

    return Table(
        caption=caption,
        columns=(
            Column(first, number=False),
            _BONAFIDE,
            _SPOOFS,
            *(Column(f"EER (95 % interval), {n}") for n in names),
        ),
        rows=tuple(
            (
                Cell(name),
                *trials(line),
                *(Cell(eer(group.rates), group.rates.eer) if group else Cell(MISSING) for group in line),
            )
            for name, line in sorted(found.items(), key=lambda item: (-mean(item[1]), item[0]))
        ),
    )


def tracers_table(caption: str, names: Sequence[str], tracers: Sequence[Tracing]) -> Table:
    """The compared tracers' overall figures."""
    titles = (
        "Trials",
        "Accuracy (95 % interval)",
        "F1, seen",
        "F1, unseen",
        "F1, overall",
        "AUROC",
        "FPR95",
        "OSCR",
    )
    return Table(
        caption=caption,
        columns=(Column("Model", number=False), *(Column(title) for title in titles)),
        rows=tuple(
            (
                Cell(name),
                _count(one.overall.trials),
                Cell(f"{percent(one.accuracy)} ({bracket(one.accuracy_interval)})", one.accuracy),
                *(_share(row.f1) for row in (one.seen, one.unseen, one.overall)),
                *(
                    _share(getattr(one.open_set, key) if one.open_set is not None else None)
                    for key in ("auroc", "fpr95", "oscr")
                ),
            )
            for name, one in zip(names, tracers, strict=True)
        ),
    )


@dataclass(frozen=True, slots=True)
class Statistic:
    """How a compared figure is named, whether it is a share, and whether less of it is better (None: not said)."""

    name: str
    share: bool
    less_is_better: bool | None


_STATISTICS = {
    "eer": Statistic("EER", True, True),
    "min_dcf": Statistic("minDCF", False, True),
    "act_dcf": Statistic("actDCF", False, True),
    "cllr": Statistic("Cllr", False, True),
    "accuracy": Statistic("accuracy", True, False),
}


def statistic(key: str) -> Statistic:
    """What is known of a statistic; of one that is not known, only its name."""
    return _STATISTICS.get(key.lower(), Statistic(key, False, None))


def shown(difference: Difference) -> bool:
    """Whether the trials show a difference at all: its interval leaves out zero."""
    return difference.interval is not None and not difference.interval.low <= 0 <= difference.interval.high


def reading(difference: Difference) -> str:
    """What a difference says, in words: nothing, where its interval holds zero or is not known."""
    if difference.interval is None:
        return f"{NO_DIFFERENCE}: no interval is known"
    if not shown(difference):
        return f"{NO_DIFFERENCE}: the interval includes zero"
    known = statistic(difference.statistic)
    lower = difference.difference < 0
    if known.less_is_better is None:
        return f"{known.name} is {'lower' if lower else 'higher'} for {difference.second}"
    better = difference.second if lower == known.less_is_better else difference.first
    return f"{better} does better on these trials"


def differences_table(caption: str, differences: Iterable[Difference]) -> Table:
    """Every pair and statistic, with its interval and what it says."""
    titles = ("Figure", "First", "Second")
    return Table(
        caption=caption,
        columns=(
            *(Column(title, number=False) for title in titles),
            Column("Second minus first"),
            Column("95 % interval"),
            Column("What it says", number=False),
        ),
        rows=tuple(
            (
                Cell(statistic(one.statistic).name),
                Cell(one.first),
                Cell(one.second),
                Cell(_amount(one.difference, one), one.difference),
                Cell(_amounts(one), one.difference),
                Cell(reading(one)),
            )
            for one in differences
        ),
    )


def _amount(value: float, one: Difference) -> str:
    return f"{signed(100 * value, 2)} points" if statistic(one.statistic).share else signed(value)


def _amounts(one: Difference) -> str:
    if one.interval is None:
        return NO_INTERVAL
    share = statistic(one.statistic).share
    low, high = (signed(100 * edge, 2) if share else signed(edge) for edge in (one.interval.low, one.interval.high))
    return f"{low} to {high}"


def summary(comparison: Comparison) -> str:
    """How many of the differences the trials show."""
    some, total = sum(shown(one) for one in comparison.differences), len(comparison.differences)
    if total == 0:
        return "No differences were computed."
    rest = "the interval includes zero, or no interval is known."
    if some == 0:
        return f"None of the {count(total, 'difference')} computed is shown by these trials: {rest}"
    verb = "is" if some == 1 else "are"
    found = f"{some} of {count(total, 'difference')} computed {verb} shown by these trials."
    return found if some == total else f"{found} Of the rest, no difference is shown: {rest}"
