"""Figures of a tracer: which enrolled source a clip is most similar to, and whether it is one of them at all.

A trial is one clip. The tracer gives it a probability per enrolled class (softmax, averaged over its windows); its
confidence is the largest of them. It is decided for that class when the confidence is at or above the threshold,
and `"unseen"` below (the published rule: 0.5). Where two classes tie, the first enrolled one counts.

* Per class, and for `"unseen"`: precision, recall and F1 over ALL trials; a ratio of nothing to nothing is 0.
* Seen: the mean over the enrolled classes, over the trials of seen sources ALONE, as the MultiAPI paper's code counts:
  a rejected seen clip is a miss. (That code also averages a class of recall 0 in as soon as one clip is rejected; it
  is not taken over.)
* Overall: the mean over the enrolled classes and `"unseen"`, over all trials.
* A class that is neither any trial's truth nor any trial's decision takes no part in a mean, as in scikit-learn.

The open-set figures ask no threshold. Trials that tie are never split:

* AUROC: the share of (seen, unseen) pairs in which the seen trial is the more confident one; a tie is half a pair.
* FPR95: the share of unseen trials at or above the highest observed confidence that still accepts at least 95 % of the
  seen ones. Nothing is interpolated, so that the figure is reached by a threshold that exists.
* OSCR (Dhamija et al. 2018): the area under the correct classification rate (seen trials with the right class at or
  above a threshold) over the false acceptance rate of unseen trials, straight lines between distinct thresholds. It is
  AUROC with only rightly classified seen trials counted, so it never exceeds AUROC.

Nothing is printed; scikit-learn and UMAP are imported by `embedding_map` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spoofcheck.errors import UsageError
from spoofcheck.evalschema import ClassRow, EmbeddingMap, Interval, OpenSet, Tracing
from spoofcheck.nets.config import UNSEEN

MapMethod = Literal["t-sne", "umap"]

MIN_MAP_POINTS = 5
"""Fewer points than this make no map."""
MAX_MAP_POINTS = 2_000
MIN_INTERVAL_GROUPS = 2

_SEEN_RECALL_PERCENT = 95
_PERPLEXITY = 30.0
_SUM_TOLERANCE = 1e-4

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]


def tracing_figures(
    truths: Sequence[str],
    probabilities: ArrayLike,
    classes: Sequence[str],
    threshold: float,
    groups: Sequence[str] | None = None,
    *,
    rule: str | None = None,
    draws: int = 1_000,
    seed: int = 0,
    embedding_map: EmbeddingMap | None = None,
) -> Tracing:
    """All figures of a tracer on one set of trials.

    Args:
        truths: `[N]`, the class of each trial; whatever is not among `classes` is unseen.
        probabilities: `[N, K]`, each row non-negative and of sum 1.
        classes: `[K]` names of the enrolled classes.
        threshold: a confidence below it means unseen.
        groups: `[N]`, what the bootstrap of the accuracy draws (speakers, sources); None, or fewer than two of them,
            gives no interval.
        rule: how a decision is reached, in words; None for the plain rule of this module.
        draws: resampled sets of the bootstrap.
        seed: of the draws.
        embedding_map: passed on into the result.

    Raises:
        ValueError: no trial, lengths that differ, classes that repeat or are called "unseen", a probability that is
            none (the trial is named).
    """
    values = check_probabilities(probabilities, classes)
    if len(truths) != len(values):
        raise ValueError(f"{len(truths)} truths, but probabilities of {len(values)} trials")
    return decided_figures(
        truths, values.argmax(axis=1), values.max(axis=1), classes, threshold, groups,
        rule=rule or rule_words(threshold), draws=draws, seed=seed, embedding_map=embedding_map,
    )  # fmt: skip


def decided_figures(
    truths: Sequence[str],
    closed_set: Integers,
    confidence: Floats,
    classes: Sequence[str],
    threshold: float,
    groups: Sequence[str] | None = None,
    *,
    rule: str,
    draws: int = 1_000,
    seed: int = 0,
    embedding_map: EmbeddingMap | None = None,
) -> Tracing:
    """All figures of trials that any rule gave a class and a confidence.

    Args:
        truths: `[N]`, the class of each trial; whatever is not among `classes` is unseen.
        closed_set: `[N]`, number of the class each trial is given to when it is not unseen.
        confidence: `[N]`, higher means more surely seen; below the threshold a trial is unseen.
        classes: `[K]` names of the enrolled classes.
        threshold: of the confidence.
        rule: how a decision is reached, in words.

    The others as for `tracing_figures`.
    """
    names = [*classes, UNSEEN]
    number = {name: i for i, name in enumerate(names)}
    truth = np.array([number.get(name, len(classes)) for name in truths], np.int64)
    decision = np.where(confidence < threshold, len(classes), closed_set)

    is_seen = truth < len(classes)
    confusion = confusion_matrix(truth, decision, len(names))
    rows = tuple(_rows(confusion, names))
    seen_rows = list(_rows(confusion_matrix(truth[is_seen], decision[is_seen], len(names)), names))[:-1]
    correct = truth == decision
    return Tracing(
        rule=rule,
        seen=_macro("seen", seen_rows, int(is_seen.sum()), _occurring(truth[is_seen], decision[is_seen], len(names))),
        unseen=rows[-1],
        overall=_macro("all", rows, len(truth), _occurring(truth, decision, len(names))),
        accuracy=float(correct.mean()),
        accuracy_interval=_share_interval(correct, groups, draws, seed),
        classes=rows,
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        open_set=open_set_figures(confidence, is_seen, closed_set == truth),
        embedding_map=embedding_map,
    )


def rule_words(threshold: float) -> str:
    """The open-set rule in words."""
    return f"unseen when the largest softmax probability is below {threshold:g}"


def check_probabilities(probabilities: ArrayLike, classes: Sequence[str]) -> Floats:
    """`[N, K]` as float64, once it is known to be what it should be. Raises ValueError as `tracing_figures` does."""
    if not classes or len({*classes, UNSEEN}) != len(classes) + 1:
        raise ValueError(f"classes must be there, differ, and not be called {UNSEEN!r}: {', '.join(classes)}")
    values = np.asarray(probabilities, np.float64)
    if values.ndim != 2 or values.shape[1] != len(classes) or not len(values):
        raise ValueError(f"probabilities of shape {list(values.shape)}, expected [N, {len(classes)}] with N above 0")
    with np.errstate(invalid="ignore"):
        good = (values >= 0).all(axis=1) & (np.abs(values.sum(axis=1) - 1) <= _SUM_TOLERANCE)
    if not good.all():
        trial = int(np.argmin(good))
        raise ValueError(f"trial {trial}: {values[trial]} are no probabilities")
    return values


def confusion_matrix(truth: Integers, decision: Integers, classes: int) -> Integers:
    """`[classes, classes]`: how many trials of the row's class were decided for the column's."""
    return np.bincount(truth * classes + decision, minlength=classes * classes).reshape(classes, classes)


def open_set_figures(confidence: ArrayLike, is_seen: ArrayLike, is_right: ArrayLike) -> OpenSet | None:
    """AUROC, FPR95 and OSCR as defined at the top of this module; None without seen or without unseen trials.

    Args:
        confidence: `[N]`, higher means more surely seen.
        is_seen: `[N]`, whether the trial's source is enrolled.
        is_right: `[N]`, whether the most probable class is the true one (read for seen trials only).
    """
    values, seen_mask, right_mask = np.asarray(confidence, np.float64), np.asarray(is_seen), np.asarray(is_right)
    seen, unseen = values[seen_mask], np.sort(values[~seen_mask])
    if not len(seen) or not len(unseen):
        return None
    below = np.searchsorted(unseen, seen, side="left")
    not_above = np.searchsorted(unseen, seen, side="right")
    share_beaten = (below + not_above) / (2 * len(unseen))
    accepted = -(-len(seen) * _SEEN_RECALL_PERCENT // 100)
    threshold = np.sort(seen)[len(seen) - accepted]
    return OpenSet(
        auroc=float(share_beaten.mean()),
        fpr95=float(np.mean(unseen >= threshold)),
        oscr=float(np.where(right_mask[seen_mask], share_beaten, 0.0).mean()),
    )


def embedding_map(
    embeddings: ArrayLike, classes: Sequence[str], method: MapMethod = "t-sne", seed: int = 0
) -> EmbeddingMap:
    """The embeddings laid out in two dimensions; the same input and seed give the same picture.

    Of more than 2,000 points, 2,000 are drawn, as evenly per class as the classes allow. One thread is used, because
    sums over threads come out in no fixed order.

    Args:
        embeddings: `[N, D]`, finite, at least five of them in two dimensions.
        classes: `[N]`, true class of each.
        method: `"umap"` needs the umap-learn package.
        seed: of the drawing and of the layout.

    Raises:
        UsageError: UMAP is asked for and not installed.
        ValueError: shapes or values that make no map.
    """
    values = np.asarray(embeddings, np.float64)
    if values.ndim != 2 or len(values) != len(classes) or len(values) < MIN_MAP_POINTS or values.shape[1] < 2:
        raise ValueError(
            f"embeddings of shape {list(values.shape)} and {len(classes)} classes make no map: [N, D] with N of at "
            f"least {MIN_MAP_POINTS} and D of at least 2 do"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"embedding {int(np.argmin(np.isfinite(values).all(axis=1)))} is not finite")
    drawn = draw_evenly(classes, MAX_MAP_POINTS, seed)
    values = values[drawn]
    points = np.zeros((len(values), 2)) if np.ptp(values, axis=0).max() == 0 else _layout(values, method, seed)
    return EmbeddingMap(
        method=method,
        x=tuple(float(x) for x in points[:, 0]),
        y=tuple(float(y) for y in points[:, 1]),
        classes=tuple(classes[i] for i in drawn),
    )


def draw_evenly(classes: Sequence[str], limit: int, seed: int) -> list[int]:
    """Rising indices of at most `limit` trials: all of the rare classes, equally many (to one) of the others."""
    if len(classes) <= limit:
        return list(range(len(classes)))
    generator = np.random.default_rng(seed)
    members: dict[str, list[int]] = {}
    for index in generator.permutation(len(classes)).tolist():
        members.setdefault(classes[index], []).append(index)
    drawn: list[int] = []
    by_size = sorted(members, key=lambda name: (len(members[name]), name))
    for left, name in zip(range(len(by_size), 0, -1), by_size, strict=True):
        drawn += members[name][: (limit - len(drawn)) // left]
    return sorted(drawn)


def _layout(values: Floats, method: MapMethod, seed: int) -> Floats:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        if method == "umap":
            try:
                umap = import_module("umap")
            except ImportError as error:
                raise UsageError(
                    "an embedding map by UMAP needs the package umap-learn (t-SNE needs nothing more)"
                ) from error
            neighbours = min(15, len(values) - 1)
            # The usual spectral start fails on very few points.
            layout = umap.UMAP(n_neighbors=neighbours, init="pca", random_state=seed, n_jobs=1)
            return np.asarray(layout.fit_transform(values), np.float64)
        from sklearn.manifold import TSNE

        perplexity = min(_PERPLEXITY, (len(values) - 1) / 3)
        layout = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
        return np.asarray(layout.fit_transform(values), np.float64)


def _rows(confusion: Integers, names: Sequence[str]) -> list[ClassRow]:
    hits, trials, decisions = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    return [
        ClassRow(
            name=name,
            trials=int(n_trials),
            precision=_ratio(hit, n_decisions),
            recall=_ratio(hit, n_trials),
            f1=_ratio(2 * hit, n_trials + n_decisions),
        )
        for name, hit, n_trials, n_decisions in zip(
            names, hits.tolist(), trials.tolist(), decisions.tolist(), strict=True
        )
    ]


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _occurring(truth: Integers, decision: Integers, classes: int) -> Booleans:
    counted = np.bincount(truth, minlength=classes) + np.bincount(decision, minlength=classes)
    return np.asarray(counted > 0)


def _macro(name: str, rows: Sequence[ClassRow], trials: int, occurring: Booleans) -> ClassRow:
    chosen = [row for row, there in zip(rows, occurring, strict=False) if there]

    def mean(values: list[float]) -> float:
        return float(np.mean(values)) if values else 0.0

    return ClassRow(
        name=name,
        trials=trials,
        precision=mean([row.precision for row in chosen]),
        recall=mean([row.recall for row in chosen]),
        f1=mean([row.f1 for row in chosen]),
    )


def _share_interval(hits: Booleans, groups: Sequence[str] | None, draws: int, seed: int) -> Interval | None:
    """95 % percentile interval of a share when whole groups are drawn with replacement."""
    if groups is None:
        return None
    if len(groups) != len(hits):
        raise ValueError(f"{len(groups)} groups, but {len(hits)} trials")
    _, numbers = np.unique(np.asarray(groups), return_inverse=True)
    sizes = np.bincount(numbers)
    if len(sizes) < MIN_INTERVAL_GROUPS:
        return None
    hits_of = np.bincount(numbers, weights=hits)
    generator = np.random.default_rng(seed)
    shares = []
    for _ in range(draws):
        drawn = generator.integers(len(sizes), size=len(sizes))
        shares.append(hits_of[drawn].sum() / sizes[drawn].sum())
    low, high = np.quantile(shares, [0.025, 0.975])
    return Interval(low=float(low), high=float(high))
