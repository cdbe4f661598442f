"""Figures of parts of the recordings: folds, lossless files, languages, sources and groups of speakers, durations."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from spoofcheck.evaluation.clips import UNKNOWN, Clip
from spoofcheck.evaluation.metrics import eer
from spoofcheck.nets.config import CalibrationConfig
from spoofcheck.training.corpus import is_lossy
from spoofcheck.training.exhibits import Exhibit
from spoofcheck.training.rates import (
    Figures,
    Verdict,
    exhibit_rates,
    holds_both,
    of_humans,
    of_spoofs,
    shares,
    window_rates,
)

_FEWEST_HUMAN = 20
"""Human recordings a fold needs for error rates of its own; one of twenty flagged is the 5 % a threshold aims at."""
_NARROW_HZ = 4_200.0
"""Telephone speech ends at 3.4 kHz, and an 8 kHz file at 4 kHz."""


def by_fold(
    exhibits: Sequence[Exhibit], folds: Sequence[Mapping[str, Any]], calibration: CalibrationConfig, verdict: Verdict
) -> list[Figures]:
    """One row a fold: what the network that never met its repositories and families does on them.

    Where a fold holds fewer than 20 human recordings, the human recordings of all folds stand against its spoofs
    (`human_of` says `"all folds"`, else `"fold"`); a fold without spoofs has no error rates, only verdicts.
    """
    left_out = [exhibit for exhibit in exhibits if exhibit.fold is not None]
    table = []
    for fold in folds:
        members = [exhibit for exhibit in left_out if exhibit.fold == fold["name"]]
        human, spoofs = of_humans(members), of_spoofs(members)
        own = len(human) >= _FEWEST_HUMAN
        trials = [*(human if own else of_humans(left_out)), *spoofs]
        rated = holds_both(trials)
        table.append(
            {
                "name": fold["name"],
                "human_of": "fold" if own else "all folds",
                "window": window_rates(trials, calibration) if rated else None,
                "exhibit": exhibit_rates(trials, calibration) if rated else None,
                "human": shares(human, verdict),
                "synthetic": shares(spoofs, verdict),
            }
        )
    return table


def lossless_rates(exhibits: Sequence[Exhibit], calibration: CalibrationConfig) -> Figures:
    """Error figures of recordings whose file was never lossily coded; none where they lack a class."""
    kept = [exhibit for exhibit in exhibits if not is_lossy(exhibit.clip)]
    if not holds_both(kept):
        return {}
    return {"window": window_rates(kept, calibration), "exhibit": exhibit_rates(kept, calibration)}


def by_language(exhibits: Sequence[Exhibit], verdict: Verdict) -> list[Figures]:
    """Verdicts on human and synthetic speech of every language, those with most human recordings first."""
    languages: dict[str, list[Exhibit]] = defaultdict(list)
    for exhibit in exhibits:
        languages[exhibit.clip.language].append(exhibit)
    rows = [
        {
            "language": language,
            "human": shares(of_humans(members), verdict),
            "synthetic": shares(of_spoofs(members), verdict),
        }
        for language, members in sorted(languages.items())
    ]
    return sorted(rows, key=lambda row: (-row["human"]["trials"], -row["synthetic"]["trials"]))


def by_source(human: Sequence[Exhibit], verdict: Verdict) -> list[Figures]:
    """Verdicts on the human speech of every source."""
    sources: dict[str, list[Exhibit]] = defaultdict(list)
    for exhibit in human:
        sources[source_of(exhibit)].append(exhibit)
    return [{"source": source} | shares(members, verdict) for source, members in sorted(sources.items())]


def by_group(human: Sequence[Exhibit], verdict: Verdict) -> list[Figures]:
    """Verdicts on groups of human speech: what the corpus notes of speakers and situation, and what the files show.

    A recording counts in every group it belongs to. What a corpus does not say is no group: nobody's age or accent is
    guessed.
    """
    groups: dict[tuple[str, str], list[Exhibit]] = defaultdict(list)
    for exhibit in human:
        for group in groups_of(exhibit.clip):
            groups[group].append(exhibit)
    return [
        {"known_by": known_by, "group": group, "sources": len({source_of(exhibit) for exhibit in members})}
        | shares(members, verdict)
        for (known_by, group), members in sorted(groups.items())
    ]


def groups_of(clip: Clip) -> Iterable[tuple[str, str]]:
    """What a clip is counted under beside its source: how that is known (`"corpus"` or `"file"`), and the group."""
    if clip.note != UNKNOWN:
        yield "corpus", clip.note
    if clip.sample_rate_hz is not None and clip.sample_rate_hz <= 8_000:
        yield "file", "sampled at 8 kHz or less"
    if clip.bandwidth_hz is not None and clip.bandwidth_hz <= _NARROW_HZ:
        yield "file", f"no content above {_NARROW_HZ / 1000:g} kHz"
    if is_lossy(clip):
        yield "file", "lossily coded"


def source_of(exhibit: Exhibit) -> str:
    """Repository and data set of a clip, in words."""
    clip = exhibit.clip
    return clip.repo if clip.corpus in ("-", clip.repo) else f"{clip.repo} ({clip.corpus})"


def by_duration(exhibits: Sequence[Exhibit], verdict: Verdict) -> list[Figures]:
    """Error figures by seconds of speech, where there are ten exhibits of both classes."""
    table = []
    for low, high in ((0.5, 2.0), (2.0, 4.0), (4.0, 8.0), (8.0, math.inf)):
        members = [exhibit for exhibit in exhibits if low <= exhibit.speech_s < high]
        human = [exhibit for exhibit in members if not exhibit.clip.is_spoof]
        if min(len(human), len(members) - len(human)) < 10:
            continue
        scores = np.array([-exhibit.raw_score for exhibit in members])
        table.append(
            {
                "speech_s": f"{low:g}-{high:g}" if high < math.inf else f"over {low:g}",
                "bonafide_trials": len(human),
                "spoof_trials": len(members) - len(human),
                "eer": eer(scores, np.array([not exhibit.clip.is_spoof for exhibit in members])),
                "false_alarms": shares(human, verdict)["spoof"],
            }
        )
    return table
