"""How well rules tell known sources from unknown ones: families of generators are left out, again and again.

A draw leaves families out of training. What is fitted on the rest then meets clips of the families it knows, which it
did not learn from, and all clips of those left out. A clip is one trial: the unit-length mean of its windows'
embeddings. Two schemes say which clips of known families are held back:

* `clips`: a share of the clips, whatever repository they are from. A family that fills a repository of its own may be
  known by the repository.
* `repositories`: whole repositories, so that a family is only known from elsewhere. Families of one repository are
  learnt, but bring no trial.

A threshold is chosen on draws in which one half of the families take turns to be left out, and the figures come from
draws in which the other half do: a family that was unknown when a threshold was measured was never unknown when it was
chosen. Seen families weigh alike in that choice, and unseen ones.

Intervals are the 2.5 and 97.5 percentiles when speakers of known sources and families of unknown ones are drawn with
replacement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from spoofcheck.detect.openset import RULES, OpenSetRule, confidences, known_of
from spoofcheck.evalschema import Tracing
from spoofcheck.evaluation.cosines import Comparisons, joined, with_each_other, with_sources
from spoofcheck.evaluation.tracing import decided_figures
from spoofcheck.nets.config import UNSEEN

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]
Names = NDArray[np.str_]

Scheme = Literal["clips", "repositories"]
SCHEMES: tuple[Scheme, ...] = ("clips", "repositories")

FEWEST_WINDOWS = 10
"""Training windows that a family needs to be known in a draw."""


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Windows of synthetic speech, each array `[N]`.

    Attributes:
        families: of the generators that made them.
        clips: what was windowed; windows of one clip and family make one trial.
        repos: where the clips are from.
        sources: speaker, or what else a bootstrap draws.
        plain: whether a window is as it was recorded; only such windows are measured on.
    """

    families: Names
    clips: Names
    repos: Names
    sources: Names
    plain: Booleans


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """Which windows are learnt from, and which are trials, `[N]` each."""

    train: Booleans
    seen: Booleans
    unseen: Booleans


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """What was fitted on the training windows of a draw.

    Attributes:
        embeddings: of ALL windows, unit rows `[N, D]`.
        prototypes: of the families, unit rows `[K, D]`, in the order they were asked for.
        scale: what a cosine is multiplied by to become a logit.
    """

    embeddings: Floats
    prototypes: Floats
    scale: float


Fit = Callable[[Booleans, Sequence[str]], Embedded]
"""Fits on the masked windows; the names are their families in the order of the prototypes."""


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """Clips of one or several draws under one rule, each array `[M]`.

    Attributes:
        confidence: higher means more surely a known source.
        families: true one.
        closest: the known family whose prototype is closest.
        is_seen: whether the true family was known.
        groups: what a bootstrap draws.
    """

    confidence: Floats
    families: Names
    closest: Names
    is_seen: Booleans
    groups: Names


def draws_of(
    windows: Windows, scheme: Scheme, among: Sequence[str], left_out: int, draws: int, held_share: float, seed: int
) -> list[Draw]:
    """Draws that leave out some of the families `among`; the same arguments give the same draws."""
    made = []
    for number in range(draws):
        rng = np.random.default_rng([seed, number])
        without = np.isin(windows.families, rng.permutation(np.unique(among))[:left_out])
        held = _held_clips(windows, held_share, rng) if scheme == "clips" else _held_repos(windows, held_share, rng)
        train = ~without & ~held
        names, counts = np.unique(windows.families[train], return_counts=True)
        known = np.isin(windows.families, names[counts >= FEWEST_WINDOWS])
        made.append(Draw(train & known, ~without & held & known & windows.plain, without & windows.plain))
    return made


def _held_clips(windows: Windows, share: float, rng: np.random.Generator) -> Booleans:
    clips = rng.permutation(np.unique(windows.clips))
    return np.isin(windows.clips, clips[: round(share * len(clips))])


def _held_repos(windows: Windows, share: float, rng: np.random.Generator) -> Booleans:
    """Whole repositories, as long as every family that has several keeps enough to be learnt from."""
    held = np.zeros(len(windows.repos), bool)
    for repo in rng.permutation(np.unique(windows.repos)):
        more = held | (windows.repos == repo)
        touched = np.unique(windows.families[windows.repos == repo])
        left = [int((~more & (windows.families == family)).sum()) for family in touched]
        if min(left) >= FEWEST_WINDOWS and more.mean() <= share:
            held = more
    return held


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """What several draws gave.

    Attributes:
        trials: of all of them, by rule.
        with_sources: every trial clip with every source known in its draw.
        with_each_other: the trial clips of unknown families, within a draw.
    """

    trials: dict[OpenSetRule, Trials]
    with_sources: Comparisons
    with_each_other: Comparisons


def trials_of(windows: Windows, draws: Sequence[Draw], fit: Fit) -> Drawn:
    """The trials of all draws under every rule, and what was compared.

    Raises:
        ValueError: no draw has a trial.
    """
    parts: dict[OpenSetRule, list[Trials]] = {rule: [] for rule in RULES}
    to_sources: list[Comparisons] = []
    to_others: list[Comparisons] = []
    for draw in draws:
        if not draw.seen.any() and not draw.unseen.any():
            continue
        classes = np.unique(windows.families[draw.train])
        fitted = fit(draw.train, classes.tolist())
        labels = np.searchsorted(classes, windows.families[draw.train])
        known = known_of(fitted.embeddings[draw.train], labels, fitted.prototypes, fitted.scale)
        chosen = np.flatnonzero(draw.seen | draw.unseen)
        embeddings, first = pooled_clips(fitted.embeddings[chosen], windows.clips[chosen], windows.families[chosen])
        rows = chosen[first]
        closest = classes[(embeddings @ fitted.prototypes.T).argmax(axis=1)]
        groups = np.where(draw.seen[rows], windows.sources[rows], windows.families[rows])
        families, unseen = windows.families[rows], draw.unseen[rows]
        to_sources.append(with_sources(embeddings, families, fitted.prototypes, classes))
        to_others.append(with_each_other(embeddings[unseen], families[unseen], windows.sources[rows][unseen]))
        for rule in RULES:
            confidence = confidences(rule, embeddings, known)
            parts[rule].append(Trials(confidence, families, closest, draw.seen[rows], groups))
    if not parts[RULES[0]]:
        raise ValueError("no draw has a trial: more families or more clips are needed")
    return Drawn({rule: joined_trials(trials) for rule, trials in parts.items()}, joined(to_sources), joined(to_others))


def pooled_clips(embeddings: Floats, clips: Names, families: Names) -> tuple[Floats, Integers]:
    """Unit means of the windows of each clip and family `[M, D]`, and the first row of each `[M]`."""
    keys = np.char.add(np.char.add(clips, "\t"), families)
    _, first, numbers = np.unique(keys, return_index=True, return_inverse=True)
    sums = np.zeros((len(first), embeddings.shape[1]))
    np.add.at(sums, numbers, embeddings)
    return sums / np.linalg.norm(sums, axis=1, keepdims=True), first.astype(np.int64)


def balanced_threshold(trials: Trials) -> tuple[float, float]:
    """The threshold at which seen trials accepted for the right family and unseen trials rejected are most, on average.

    Returns:
        The threshold, half way between two confidences, and the mean of both shares at it. Families weigh alike.

    Raises:
        ValueError: no seen or no unseen trial.
    """
    if trials.is_seen.all() or not trials.is_seen.any():
        raise ValueError("a threshold is chosen on seen and unseen trials; one of them is missing")
    weight = np.zeros(len(trials.confidence))
    for seen in (True, False):
        chosen = trials.is_seen == seen
        _, numbers, counts = np.unique(trials.families[chosen], return_inverse=True, return_counts=True)
        weight[chosen] = 1 / counts[numbers] / len(counts)
    right = trials.is_seen & (trials.closest == trials.families)
    order = np.argsort(trials.confidence, kind="stable")
    values = trials.confidence[order]
    # Rejecting the first k trials: what is lost of the seen, and won of the unseen.
    lost = np.append(0.0, np.cumsum((weight * right)[order]))
    won = np.append(0.0, np.cumsum((weight * ~trials.is_seen)[order]))
    balance = ((lost[-1] - lost) + won) / 2
    cuts = np.append(True, values[1:] > values[:-1])  # ties are never split
    best = int(np.argmax(np.where(cuts, balance[:-1], -1.0)))
    between = values[best] if best == 0 else (values[best] + values[best - 1]) / 2
    return float(between), float(balance[best])


def rule_figures(trials: Trials, threshold: float, rule: str, resampled: int, seed: int) -> dict[str, Any]:
    """Figures of one rule at a threshold, with intervals: all of `Tracing` but the map, and `intervals`.

    Args:
        resampled: resampled sets of the intervals.
    """
    tracing = _figures(trials, threshold, rule)
    figures = tracing.model_dump(mode="json", exclude={"embedding_map", "accuracy_interval", "confusion"})
    _, numbers = np.unique(np.char.add(np.where(trials.is_seen, "s", "u"), trials.groups), return_inverse=True)
    members = [np.flatnonzero(numbers == number) for number in range(numbers.max() + 1)]
    strata = [[part for part in members if trials.is_seen[part[0]] == seen] for seen in (True, False)]
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {}
    for _ in range(resampled):
        drawn = [part[i] for part in strata for i in rng.integers(len(part), size=len(part))] if all(strata) else []
        if not drawn:
            break
        again = _figures(_taken(trials, np.concatenate(drawn)), threshold, rule)
        for name, value in _headline(again).items():
            found.setdefault(name, []).append(value)
    figures["threshold"] = threshold
    figures["intervals"] = {name: np.quantile(values, [0.025, 0.975]).tolist() for name, values in found.items()}
    return figures


def confused_pairs(trials: Trials, most: int) -> list[dict[str, Any]]:
    """The seen families that are taken for another one most, as shares of their trials."""
    pairs: list[dict[str, Any]] = []
    for family in np.unique(trials.families[trials.is_seen]):
        chosen = trials.is_seen & (trials.families == family)
        others, counts = np.unique(trials.closest[chosen], return_counts=True)
        pairs += [
            {"family": str(family), "taken_for": str(other), "share": float(count / chosen.sum())}
            for other, count in zip(others, counts, strict=True)
            if other != family
        ]
    return sorted(pairs, key=lambda pair: (-pair["share"], pair["family"], pair["taken_for"]))[:most]


def inseparable(trials: Trials, least_share: float) -> list[tuple[str, ...]]:
    """Groups of families of which one is taken for the other in so large a share of its seen trials, or by others.

    Groups are in the order of their first name, names in theirs.
    """
    families = np.unique(np.concatenate([trials.families[trials.is_seen], trials.closest])).tolist()
    linked = np.zeros((len(families), len(families)), bool)
    for pair in confused_pairs(trials, len(families) ** 2):
        if pair["share"] >= least_share:
            linked[families.index(pair["family"]), families.index(pair["taken_for"])] = True
    _, numbers = connected_components(linked, directed=False)
    groups = [
        tuple(name for name, at in zip(families, numbers, strict=True) if at == k) for k in range(max(numbers) + 1)
    ]
    return sorted(group for group in groups if len(group) > 1)


def accepted_unseen(trials: Trials, threshold: float) -> list[dict[str, Any]]:
    """For each unseen family the share of its trials given to a known one, and which one takes most of them."""
    rows: list[tuple[float, dict[str, Any]]] = []
    for family in np.unique(trials.families[~trials.is_seen]):
        chosen = ~trials.is_seen & (trials.families == family)
        taken = trials.closest[chosen & (trials.confidence >= threshold)]
        names, counts = np.unique(taken, return_counts=True)
        accepted = len(taken) / int(chosen.sum())
        most = str(names[counts.argmax()]) if len(names) else None
        rows.append((accepted, {"family": str(family), "trials": int(chosen.sum()), "accepted": accepted, "as": most}))
    return [row for _, row in sorted(rows, key=lambda pair: (-pair[0], pair[1]["family"]))]


def _figures(trials: Trials, threshold: float, rule: str) -> Tracing:
    """A family that is unknown in one draw and known in another is a class of its own only where it is known."""
    classes = np.unique(np.concatenate([trials.families[trials.is_seen], trials.closest])).tolist()
    truths = np.where(trials.is_seen, trials.families, UNSEEN).tolist()
    closest = np.searchsorted(classes, trials.closest).astype(np.int64)
    return decided_figures(truths, closest, trials.confidence, classes, threshold, rule=rule)


def _headline(tracing: Tracing) -> dict[str, float]:
    assert tracing.open_set is not None
    return {
        "seen_f1": tracing.seen.f1, "unseen_recall": tracing.unseen.recall, "unseen_f1": tracing.unseen.f1,
        "overall_f1": tracing.overall.f1, "auroc": tracing.open_set.auroc, "fpr95": tracing.open_set.fpr95,
        "oscr": tracing.open_set.oscr,
    }  # fmt: skip


def _taken(trials: Trials, rows: NDArray[np.int64]) -> Trials:
    return Trials(
        trials.confidence[rows], trials.families[rows], trials.closest[rows], trials.is_seen[rows], trials.groups[rows]
    )


def joined_trials(parts: Sequence[Trials]) -> Trials:
    """All trials of several draws, under one rule."""
    return Trials(
        np.concatenate([part.confidence for part in parts]),
        np.concatenate([part.families for part in parts]),
        np.concatenate([part.closest for part in parts]),
        np.concatenate([part.is_seen for part in parts]),
        np.concatenate([part.groups for part in parts]),
    )
