"""The validity gate of a detector: fitted on calibration recordings, limits from their distances, and what it costs.

The channel part of the gate (sample rate, bandwidth, SNR, clipping) is `FinishRule.validated`; this is the part that
looks at the front-end's features.
"""

from __future__ import annotations

import math
import random
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.extmath import randomized_svd
from torch import nn

from spoofcheck.audio.recording import read_windows
from spoofcheck.detect.calibration import to_llr
from spoofcheck.detect.validity import shrunk_llr, validity_weight
from spoofcheck.errors import InputError, ModelError
from spoofcheck.evaluation.metrics import act_dcf, cllr, eer
from spoofcheck.nets.config import CalibrationConfig, DecisionConfig, GateConfig
from spoofcheck.nets.gate import Gate, pool_features
from spoofcheck.schema import ValidityLimits
from spoofcheck.training.conditions import ORIGINAL
from spoofcheck.training.exhibits import LONG, Exhibit, Recording, audio_of
from spoofcheck.training.progress import Steps
from spoofcheck.training.recipe import FinishRule
from spoofcheck.types import Window

Group = tuple[bool, str]
"""Whether synthetic, and the repository."""

_MOST_RECORDINGS = 1_200
_WINDOWS_EACH = 1
_AT_ONCE = 24
_BATCH_WINDOWS = 4

_SHRINKAGE = 0.1
_NO_SPREAD = 1e-12
_LEAST_SPREAD = 0.01
"""Of the median: a feature that hardly varies in the calibration data would otherwise decide alone."""

_SHRINK_SHARE, _REFUSE_SHARE = 0.05, 0.005
_LEAST_RATIO = 1.25
_TRIED_SHARES = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002)


@dataclass(frozen=True, slots=True)
class PooledWindows:
    """Pooled features of calibration windows, float32 `[n, D]`, and the group of each."""

    features: NDArray[np.float32]
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Gates:
    """What came out.

    Attributes:
        final: fitted on all calibration recordings.
        by_part: for each part of the recordings a gate that did without it, so that its distances are those of
            repositories the gate has never met; `final` where that leaves none, or the part has no dev recording.
    """

    final: Gate
    by_part: tuple[Gate, ...]


def fit_gates(
    front_end: nn.Module,
    parts: Sequence[Sequence[Recording]],
    rule: FinishRule,
    window_samples: int,
    workers: int,
    steps: Steps,
) -> Gates:
    """Pool the front-end's features over a balanced draw of the dev recordings, and fit gates on them.

    Args:
        front_end: in eval mode.
        parts: recordings that one network scores each: the folds, then what no fold holds; only dev counts.
        rule: with `gate_components`.
        workers: processes that read recordings; they never change the result.

    Raises:
        ModelError: too few windows for so many components.
    """
    assert rule.gate_components is not None
    here = [[one for one in part if one.split == "dev" and one.condition != LONG] for part in parts]
    most = math.ceil(_MOST_RECORDINGS / max(1, sum(map(bool, here))))
    chosen = [drawn(part, most) for part in here]
    waves = _windows(chosen, window_samples, rule.min_window_speech_s, workers)
    features: list[list[NDArray[np.float32]]] = [[] for _ in parts]
    groups: list[list[Group]] = [[] for _ in parts]
    for part, recording, windows in steps.over(waves, "Fitting the validity gate", sum(map(len, chosen))):
        if windows:
            features[part].append(pooled(front_end, windows))
            groups[part] += [(recording.clip.is_spoof, recording.clip.repo)] * len(windows)
    heard = [
        PooledWindows(np.concatenate(found), tuple(group)) if found else None
        for found, group in zip(features, groups, strict=True)
    ]
    final = _fit_on([part for part in heard if part is not None], rule.gate_components)
    by_part = []
    for number, own in enumerate(heard):
        others = [part for other, part in enumerate(heard) if part is not None and other != number]
        by_part.append(_fit_on(others, rule.gate_components) if own is not None and others else final)
    return Gates(final, tuple(by_part))


def drawn(recordings: Sequence[Recording], most: int) -> list[Recording]:
    """At most so many, in turn from every class, repository and condition; drawn with a fixed seed."""
    groups: dict[tuple[bool, str, str], list[Recording]] = defaultdict(list)
    for one in recordings:
        groups[one.clip.is_spoof, one.clip.repo, one.condition].append(one)
    rng = random.Random(0)
    queues = [rng.sample(members, len(members)) for _, members in sorted(groups.items())]
    chosen: list[Recording] = []
    while queues and len(chosen) < most:
        chosen += [queue.pop() for queue in queues]
        queues = [queue for queue in queues if queue]
    return chosen[:most]


@torch.inference_mode()
def pooled(front_end: nn.Module, windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Pooled features of windows, each float32 `[window_samples]`: float32 `[n, D]`."""
    device = next((parameter.device for parameter in front_end.parameters()), torch.device("cpu"))
    rows = []
    for start in range(0, len(windows), _BATCH_WINDOWS):
        batch = torch.from_numpy(np.stack(windows[start : start + _BATCH_WINDOWS])).to(device)
        rows.append(pool_features(front_end(batch)).cpu().numpy())
    return np.concatenate(rows)


def fit_gate(windows: PooledWindows, components: int) -> Gate:
    """Principal directions of standardised features; classes weigh alike, and so do the repositories of a class.

    Raises:
        ValueError: fewer windows than components, or features that do not vary.
    """
    rows = windows.features.astype(np.float64)
    if len(rows) <= components:
        raise ValueError(f"{len(rows)} windows are too few for {components} components")
    weights = group_weights(windows.groups)
    mean = weights @ rows
    spread = np.sqrt(weights @ np.square(rows - mean))
    if spread.max() <= _NO_SPREAD * np.abs(rows).max():
        raise ValueError("the features do not vary")
    spread = np.maximum(spread, _LEAST_SPREAD * float(np.median(spread[spread > 0])))
    standard = (rows - mean) / spread
    _, strengths, basis = randomized_svd(
        standard * np.sqrt(weights)[:, None], n_components=components, n_iter=7, random_state=0
    )
    variances = np.square(strengths)
    # Sample variances of principal directions are too unequal (Ledoit & Wolf 2004): each is drawn to their mean.
    scale = np.sqrt((1 - _SHRINKAGE) * variances + _SHRINKAGE * variances.mean())
    rest = standard - (standard @ basis.T) @ basis
    rest_scale = math.sqrt(float(weights @ np.square(rest).sum(axis=1)))
    gate = Gate(components, rows.shape[1])
    for name, value in (("mean", mean), ("spread", spread), ("basis", basis), ("scale", scale)):
        getattr(gate, name).copy_(torch.from_numpy(np.ascontiguousarray(value)))
    gate.rest_scale.fill_(max(rest_scale, float(np.finfo(np.float32).tiny)))
    return gate.eval()


def group_weights(groups: Sequence[Group]) -> NDArray[np.float64]:
    """A weight for each window, `[n]`, that sum to 1: equal for classes, within them for repositories."""
    count = {group: groups.count(group) for group in set(groups)}
    classes = {spoof for spoof, _ in count}
    repos = {spoof: sum(one == spoof for one, _ in count) for spoof in classes}
    return np.array([1 / (len(classes) * repos[group[0]] * count[group]) for group in groups])


def open_gate(gate: Gate) -> GateConfig:
    """The configuration of a gate that measures and does nothing, before its limits are known."""
    never = ValidityLimits(shrink_from=1e9, refuse_from=2e9, share_shrunk=0, share_refused=0)
    components, features = gate.basis.shape
    return GateConfig(components=components, features=features, data="none yet", window=never, exhibit=never)


def gate_config(gate: Gate, exhibits: Sequence[Exhibit], rule: FinishRule) -> GateConfig:
    """The gate with limits from the distances of dev exhibits, under all conditions, and of their windows.

    Raises:
        ModelError: no dev exhibit has a distance.
    """
    dev = [one for one in exhibits if one.split == "dev" and one.condition != LONG and one.distance is not None]
    if not dev:
        raise ModelError("no dev recording has a distance to choose the validity gate's limits on")
    conditions = ", ".join(["recordings as they are", *rule.conditions])
    unseen = "" if all(one.fold is None for one in dev) else "; limits from repositories unknown to the gate"
    return open_gate(gate).model_copy(
        update={
            "data": f"dev split: {conditions}{unseen}",
            "window": choose_limits([distance for one in dev for distance in one.window_distances]),
            "exhibit": choose_limits([one.distance for one in dev if one.distance is not None]),
        }
    )


def choose_limits(distances: Sequence[float]) -> ValidityLimits:
    """Shrink beyond 95 % of the calibration data, refuse beyond 99.5 %, and no sooner than a quarter farther out."""
    every = np.asarray(distances, np.float64)
    shrink_from = _round_up(float(np.quantile(every, 1 - _SHRINK_SHARE)))
    refuse_from = _round_up(max(float(np.quantile(every, 1 - _REFUSE_SHARE)), _LEAST_RATIO * shrink_from))
    return ValidityLimits(
        shrink_from=shrink_from,
        refuse_from=refuse_from,
        share_shrunk=round(float(np.mean(every > shrink_from)), 4),
        share_refused=round(float(np.mean(every >= refuse_from)), 4),
    )


def gate_figures(
    exhibits: Sequence[Exhibit], gate: GateConfig, calibration: CalibrationConfig, decision: DecisionConfig
) -> dict[str, Any]:
    """What the gate refuses and what that does to the errors of the rest.

    Returns:
        `limits`: those of windows and exhibits. `trade_off`: a row per split and refusal limit (None: no gate), on
        recordings as they are. `conditions`: a row per split and condition at the model's own limit. `given`: a row per
        split with the error figures of raw LLRs and of those a scan gives (shrunk, or 0).
    """
    known = [one for one in exhibits if one.condition != LONG and one.distance is not None]
    splits = [split for split in ("dev", "test") if any(one.split == split for one in known)]
    dev = [one.distance or 0.0 for one in known if one.split == "dev"]
    tried = {_round_up(float(np.quantile(dev, 1 - share))) for share in _TRIED_SHARES} | {gate.exhibit.refuse_from}
    conditions = [*dict.fromkeys(one.condition for one in known)]

    def part(split: str, condition: str) -> list[Exhibit]:
        return [one for one in known if one.split == split and one.condition == condition]

    return {
        "components": gate.components,
        "data": gate.data,
        "limits": {"window": gate.window.model_dump(), "exhibit": gate.exhibit.model_dump()},
        "trade_off": [
            {"split": split, "refuse_from": limit, "chosen": limit == gate.exhibit.refuse_from}
            | _row(part(split, ORIGINAL), limit, gate.exhibit, calibration, decision)
            for split in splits
            for limit in (*sorted(tried), None)
        ],
        "conditions": [
            {"split": split, "condition": condition}
            | _row(part(split, condition), gate.exhibit.refuse_from, gate.exhibit, calibration, decision)
            for split in splits
            for condition in conditions
            if part(split, condition)
        ],
        "given": [{"split": split} | _given(part(split, ORIGINAL), gate.exhibit, calibration) for split in splits],
    }


def _row(
    exhibits: Sequence[Exhibit], limit: float | None, limits: ValidityLimits, calibration: CalibrationConfig,
    decision: DecisionConfig,
) -> dict[str, Any]:  # fmt: skip
    """Shares refused at a limit, and the error figures of the others, with the LLRs of a model without a gate."""
    row: dict[str, Any] = {}
    kept = [one for one in exhibits if limit is None or (one.distance or 0.0) < limit]
    rest = {False: _llrs(kept, calibration, spoof=False), True: _llrs(kept, calibration, spoof=True)}
    for word, spoof in (("bonafide", False), ("spoof", True)):
        own = [one for one in exhibits if one.clip.is_spoof == spoof]
        row[f"{word}_trials"] = len(own)
        row[f"{word}_refused"] = 1 - len(rest[spoof]) / max(1, len(own)) if own else None
        row[f"{word}_beyond_shrink"] = (
            float(np.mean([validity_weight(one.distance, limits) < 1 for one in own])) if own else None
        )
    both = bool(rest[False]) and bool(rest[True])
    labels = np.array([not one.clip.is_spoof for one in kept])
    row["eer"] = float(eer(np.array([-one.raw_score for one in kept]), labels)) if both else None
    row["false_alarms"] = _share([llr >= decision.spoof_threshold_llr for llr in rest[False]])
    row["misses"] = _share([llr <= decision.bonafide_threshold_llr for llr in rest[True]])
    return row


def _given(exhibits: Sequence[Exhibit], limits: ValidityLimits, calibration: CalibrationConfig) -> dict[str, Any]:
    labels = np.array([not one.clip.is_spoof for one in exhibits])
    measured: dict[str, Any] = {"trials": len(exhibits)}
    if not labels.any() or labels.all():
        return measured
    raw = [to_llr(one.raw_score, calibration.exhibit, calibration.llr_bound) for one in exhibits]
    given = [shrunk_llr(llr, one.distance, limits) for llr, one in zip(raw, exhibits, strict=True)]
    for word, llrs in (("raw", raw), ("given", given)):
        scores = -np.array(llrs)
        measured |= {
            f"eer_{word}": float(eer(scores, labels)),
            f"act_dcf_{word}": float(act_dcf(scores, labels)),
            f"cllr_{word}": float(cllr(scores, labels)),
        }
    return measured


def _llrs(exhibits: Sequence[Exhibit], calibration: CalibrationConfig, *, spoof: bool) -> list[float]:
    return [
        to_llr(one.raw_score, calibration.exhibit, calibration.llr_bound)
        for one in exhibits
        if one.clip.is_spoof == spoof
    ]


def _share(hits: Sequence[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None


def _round_up(value: float) -> float:
    return math.ceil(value * 100 - 1e-9) / 100


def _fit_on(parts: Sequence[PooledWindows], components: int) -> Gate:
    if not parts:
        raise ModelError("no dev recording has a window to fit the validity gate on")
    every = PooledWindows(
        np.concatenate([part.features for part in parts]), tuple(group for part in parts for group in part.groups)
    )
    try:
        return fit_gate(every, components)
    except ValueError as error:
        raise ModelError(f"no validity gate can be fitted on the dev recordings: {error}") from error


def _windows(
    parts: Sequence[Sequence[Recording]], window_samples: int, min_window_speech_s: float, workers: int
) -> Iterator[tuple[int, Recording, list[NDArray[np.float32]]]]:
    """Part, recording and its first windows with speech, read as a scan reads them."""
    every = [(number, recording) for number, part in enumerate(parts) for recording in part]
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(workers, initializer=_one_thread) as pool:
        read = partial(
            _first_windows, folder=Path(folder), window_samples=window_samples, min_window_speech_s=min_window_speech_s
        )
        for start in range(0, len(every), _AT_ONCE):  # no more than these wait in memory
            members = every[start : start + _AT_ONCE]
            found = pool.map(read, (one for _, one in members), range(start, start + len(members)))
            for (number, recording), windows in zip(members, found, strict=True):
                yield number, recording, windows


def _first_windows(
    recording: Recording, number: int, folder: Path, window_samples: int, min_window_speech_s: float
) -> list[NDArray[np.float32]]:
    path = audio_of(recording, number, folder)
    items = read_windows(
        path, window_samples=window_samples, hop_samples=window_samples, channels="mix", vad=True,
        min_window_speech_s=min_window_speech_s,
    )  # fmt: skip
    try:
        with closing(items):
            heard = (item.samples for item in items if isinstance(item, Window) and item.samples is not None)
            return list(islice(heard, _WINDOWS_EACH))
    except InputError:  # scoring leaves it out as well
        return []
    finally:
        if path.is_relative_to(folder):
            path.unlink()


def _one_thread() -> None:
    torch.set_num_threads(1)
