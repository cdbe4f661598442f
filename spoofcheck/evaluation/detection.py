"""From scored trials to the figures of a detector: overall, at a fixed threshold, per system, seen and unseen, ..."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from spoofcheck.errors import UsageError
from spoofcheck.evalschema import Caveat, Detection, Group, MetricSet, Rates, Transfer
from spoofcheck.evaluation import metrics
from spoofcheck.evaluation.clips import UNKNOWN
from spoofcheck.evaluation.curves import detection_plots
from spoofcheck.evaluation.metrics import Booleans, Floats
from spoofcheck.evaluation.resampling import LEAST_SOURCES, eer_interval, has_enough_sources
from spoofcheck.evaluation.scorefiles import ScoredTrial, require_both_classes

_LISTED = 5


@dataclass(frozen=True, slots=True)
class FixedThreshold:
    """A threshold from elsewhere: a trial at or above `score` is accepted as bona fide; `origin` says where from."""

    score: float
    origin: str


@dataclass(frozen=True, slots=True)
class DetectionOptions:
    """How trials are measured.

    Attributes:
        metrics: which definitions of the costs.
        scores_are_llrs: whether scores are calibrated natural-log LLRs; else `act_dcf` and Cllr mean nothing.
        threshold: fixed on other data, or None.
        seen_systems: what training knew, or None when that is not known.
        draws: resampled sets per interval; 0 gives none.
        seed: of the draws.
    """

    metrics: MetricSet = "asvspoof5"
    scores_are_llrs: bool = True
    threshold: FixedThreshold | None = None
    seen_systems: frozenset[str] | None = None
    draws: int = 1_000
    seed: int = 0


def measure_detection(trials: Sequence[ScoredTrial], options: DetectionOptions) -> tuple[Detection, tuple[Caveat, ...]]:
    """The figures of a detector, and what a reader of them must know.

    Raises:
        UsageError: a class without a trial.
    """
    require_both_classes(trials, "the trials")
    measurer = _Measurer(_Table(trials), options)
    return measurer.detection(), tuple(measurer.caveats())


def fixed_threshold(dev_trials: Sequence[ScoredTrial], origin: str) -> FixedThreshold:
    """The EER threshold of the dev set, which is what "the threshold fixed on dev" means.

    Raises:
        UsageError: a class without a trial.
    """
    require_both_classes(dev_trials, origin)
    table = _Table(dev_trials)
    _, threshold = metrics.eer_and_threshold(table.scores, table.bonafide)
    return FixedThreshold(threshold, origin)


class _Table:
    """Trials by column."""

    def __init__(self, trials: Sequence[ScoredTrial]) -> None:
        self.scores: Floats = np.asarray([trial.score for trial in trials], np.float64)
        self.bonafide: Booleans = np.asarray([trial.bonafide for trial in trials], np.bool_)
        self.system = np.asarray([trial.system for trial in trials], object)
        self.language = np.asarray([trial.language for trial in trials], object)
        self.codec = np.asarray([trial.codec for trial in trials], object)
        self.source = np.asarray([trial.source for trial in trials], object)
        self.is_by_source = any(trial.source != trial.name for trial in trials)


class _Measurer:
    def __init__(self, table: _Table, options: DetectionOptions) -> None:
        self._table = table
        self._options = options
        self._all = np.ones(len(table.scores), np.bool_)
        self._one_class: list[str] = []
        self._without_interval: list[str] = []

    def detection(self) -> Detection:
        table, options = self._table, self._options
        return Detection(
            metrics=options.metrics,
            scores_are_llrs=options.scores_are_llrs,
            overall=self._rates(self._all, "all trials"),
            transfer=self._transfer(self._all),
            by_system=tuple(self._by_system()),
            without_system=tuple(self._without_system()),
            by_seen=tuple(self._by_seen()),
            by_language=tuple(self._by(table.language, "language")),
            by_codec=tuple(self._by(table.codec, "codec")),
            plots=detection_plots(table.scores, table.bonafide, options.scores_are_llrs),
        )

    def caveats(self) -> Iterator[Caveat]:
        """What `detection`, called before, came across."""
        options = self._options
        if options.metrics == "multiapi":
            yield Caveat(
                code="multiapi-metrics",
                message="Costs as the MultiAPI paper's code counts them: not normalised, and 'actual' at this very "
                "set's EER threshold. Never compare them with ASVspoof 5 figures.",
            )
        if not options.scores_are_llrs:
            yield Caveat(
                code="scores-are-no-llrs", message="The scores are no calibrated LLRs: no actual cost and no Cllr."
            )
        if options.threshold is None:
            yield Caveat(
                code="no-fixed-threshold",
                message="No threshold was fixed on a dev set: the EER chooses its threshold on the very trials it is "
                "measured on.",
            )
        if options.draws and not self._table.is_by_source:
            yield Caveat(
                code="sources-unknown",
                message="No speakers or sources are known: intervals resample single trials, and are too narrow where "
                "trials of one speaker resemble each other.",
            )
        if options.draws and self._without_interval:
            yield Caveat(
                code="too-few-sources",
                message=f"No interval where a class comes from fewer than {LEAST_SOURCES} speakers or sources: "
                f"{_some(self._without_interval)}.",
            )
        if self._one_class:
            yield Caveat(code="one-class-parts", message=f"Left out, for want of a class: {_some(self._one_class)}.")

    def _by_system(self) -> Iterator[Group]:
        for system in self._systems():
            yield self._group(system, self._table.bonafide | (self._table.system == system))

    def _without_system(self) -> Iterator[Group]:
        systems = self._systems()
        if len(systems) < 2:
            return
        for system in systems:
            yield self._group(system, self._table.bonafide | (self._table.system != system))

    def _by_seen(self) -> Iterator[Group]:
        seen = self._options.seen_systems
        systems = self._systems()
        if seen is None or not systems:
            return
        for name, chosen in (("seen", seen), ("unseen", frozenset(systems) - seen)):
            is_chosen = np.asarray([system in chosen for system in self._table.system], np.bool_)
            spoofs = is_chosen & ~self._table.bonafide
            if spoofs.any():
                yield self._group(name, self._table.bonafide | spoofs)

    def _by(self, column: object, what: str) -> Iterator[Group]:
        values = np.asarray(column, object)
        names = sorted(set(values) - {UNKNOWN})
        if len(names) < 2 and not (values == UNKNOWN).any():
            return
        for name in names:
            part = values == name
            if self._table.bonafide[part].all() or not self._table.bonafide[part].any():
                self._one_class.append(f"{what} {name}")
                continue
            yield self._group(name, part)

    def _systems(self) -> list[str]:
        return sorted(set(self._table.system[~self._table.bonafide]) - {UNKNOWN})

    def _group(self, name: str, part: Booleans) -> Group:
        return Group(name=name, rates=self._rates(part, name), transfer=self._transfer(part))

    def _rates(self, part: Booleans, name: str) -> Rates:
        options = self._options
        scores, bonafide, sources = self._table.scores[part], self._table.bonafide[part], self._table.source[part]
        if not has_enough_sources(sources, bonafide):
            self._without_interval.append(name)
        is_multiapi = options.metrics == "multiapi"
        llrs = options.scores_are_llrs
        actual: Callable[[Floats, Booleans], float] | None = metrics.act_dcf_multiapi if is_multiapi else None
        if actual is None and llrs:
            actual = metrics.act_dcf
        return Rates(
            bonafide_trials=int(bonafide.sum()),
            spoof_trials=int((~bonafide).sum()),
            eer=metrics.eer(scores, bonafide),
            eer_interval=eer_interval(scores, bonafide, sources, options.draws, options.seed),
            min_dcf=(metrics.min_dcf_multiapi if is_multiapi else metrics.min_dcf)(scores, bonafide),
            act_dcf=None if actual is None else actual(scores, bonafide),
            cllr=metrics.cllr(scores, bonafide) if llrs else None,
            cllr_min=metrics.cllr_min(scores, bonafide),
        )

    def _transfer(self, part: Booleans) -> Transfer | None:
        threshold = self._options.threshold
        if threshold is None:
            return None
        miss, false_accept = metrics.error_rates(self._table.scores[part], self._table.bonafide[part], threshold.score)
        return Transfer(
            threshold=threshold.score,
            fixed_on=threshold.origin,
            fpr=miss,
            fnr=false_accept,
            hter=(miss + false_accept) / 2,
        )


def check_options(options: DetectionOptions) -> None:
    """Refuse options that make no figures.

    Raises:
        UsageError: a threshold that is no finite number, or a negative number of draws.
    """
    if options.threshold is not None and not np.isfinite(options.threshold.score):
        raise UsageError(f"--threshold {options.threshold.score}: not a finite number")
    if options.draws < 0:
        raise UsageError(f"--bootstrap {options.draws}: a number of draws is 0 or more")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
