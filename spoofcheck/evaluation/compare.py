"""Several detectors on the same trials, and how sure their differences are.

Every resampled set is drawn once and all are measured on it: what makes a set of speakers hard for one model makes it
hard for the others too, and drops out of the difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from spoofcheck.errors import UsageError
from spoofcheck.evalschema import Comparison, Difference
from spoofcheck.evaluation import resampling
from spoofcheck.evaluation.detection import DetectionOptions
from spoofcheck.evaluation.document import Circumstances, Subject, detection_document
from spoofcheck.evaluation.resampling import RankedTrials, Statistic
from spoofcheck.evaluation.scorefiles import ScoredTrial, require_both_classes


def compare(
    subjects: Sequence[Subject], options: Sequence[DetectionOptions], circumstances: Circumstances
) -> Comparison:
    """Measure every subject on the trials that all of them scored, and every pair's differences.

    Args:
        subjects: two or more, of distinct names.
        options: of each; metrics, draws and seed are the first one's.
        circumstances: of the run.

    Raises:
        UsageError: fewer than two subjects, a name twice, no common trial of each class, or labels that contradict
            each other.
    """
    names = [subject.name for subject in subjects]
    if len(names) < 2:
        raise UsageError("a comparison needs two models or score files")
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise UsageError(f"--compare {twice[0]}: named twice")
    common = common_trials(subjects)
    left_out = len({trial.name for subject in subjects for trial in subject.trials}) - len(common[0])
    reduced = [replace(subject, trials=trials) for subject, trials in zip(subjects, common, strict=True)]
    documents = [
        detection_document(subject, option, circumstances) for subject, option in zip(reduced, options, strict=True)
    ]
    everywhere_unscored = {trial.name for subject in subjects for trial in subject.unscored}
    return Comparison(
        tool=circumstances.tool_info(),
        made_at=circumstances.made_at_text(),
        data=circumstances.data_info(max(left_out, len(everywhere_unscored))),
        names=tuple(names),
        documents=tuple(documents),
        differences=differences(names, common, options),
    )


def common_trials(subjects: Sequence[Subject]) -> list[list[ScoredTrial]]:
    """The trials that all subjects scored, by subject, all in the first one's order.

    Raises:
        UsageError: no such trial of each class, or one that is bona fide to one subject and a spoof to another.
    """
    by_name = [{trial.name: trial for trial in subject.trials} for subject in subjects]
    shared = [name for name in by_name[0] if all(name in trials for trials in by_name[1:])]
    for name in shared:
        if len({trials[name].bonafide for trials in by_name}) > 1:
            raise UsageError(f"trial {name!r}: is bona fide to one of the compared and a spoof to another")
    common = [[trials[name] for name in shared] for trials in by_name]
    require_both_classes(common[0], "the trials that all have scored")
    return common


def differences(
    names: Sequence[str], common: Sequence[Sequence[ScoredTrial]], options: Sequence[DetectionOptions]
) -> tuple[Difference, ...]:
    """Every pair's differences (second minus first) of EER, minimum DCF and, between LLRs, Cllr.

    Args:
        names: of the subjects.
        common: their scores of the same trials in the same order.
        options: of each.
    """
    bonafide = np.asarray([trial.bonafide for trial in common[0]], np.bool_)
    sources = [trial.source for trial in common[0]]
    ranked = [RankedTrials(np.asarray([trial.score for trial in trials], np.float64), bonafide) for trials in common]
    draws, seed = options[0].draws, options[0].seed
    enough = draws > 0 and resampling.has_enough_sources(sources, bonafide)
    sets = list(resampling.drawn_weights(sources, bonafide, draws, seed)) if enough else []
    every_trial_once = np.ones(len(bonafide), np.int64)
    found = []
    for statistic, measure in _statistics(options).items():
        point = [measure(trials, every_trial_once) for trials in ranked]
        drawn = [np.asarray([measure(trials, weights) for weights in sets]) for trials in ranked]
        for first, second in combinations(range(len(names)), 2):
            found.append(
                Difference(
                    first=names[first],
                    second=names[second],
                    statistic=statistic,
                    difference=point[second] - point[first],
                    interval=resampling.interval_of(drawn[second] - drawn[first]) if enough else None,
                )
            )
    return tuple(found)


def _statistics(options: Sequence[DetectionOptions]) -> dict[str, Statistic]:
    is_multiapi = options[0].metrics == "multiapi"
    statistics: dict[str, Statistic] = {
        "eer": resampling.eer,
        "min_dcf": resampling.min_dcf_multiapi if is_multiapi else resampling.min_dcf,
    }
    if all(option.scores_are_llrs for option in options):
        statistics["cllr"] = resampling.cllr
    return statistics
