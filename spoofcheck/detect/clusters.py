"""Which unknown exhibits are alike: groups that get a name, and keep it over the scans of a case.

Exhibits are grouped by average linkage: two groups become one as long as the mean cosine over all pairs across them
is at or above the cosine at which the link calibration's LLR is 0. That a group has a name says that its exhibits are
alike, not that one system made them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

from spoofcheck.detect.caseunknowns import (
    CaseExhibit,
    CaseUnknowns,
    ExhibitKey,
    exhibit_key,
    group_name,
    group_number,
    new_case,
)
from spoofcheck.detect.hashedfile import kept_embedding
from spoofcheck.nets.config import UNKNOWN_SOURCE, CosineCalibration
from spoofcheck.schema import Finding, UnknownGroup

LEAST_LLR = math.log(2)
"""Natural-log LR of the mean cosine that joins two groups; below it the verbal scale says "no or negligible"."""

_DECIMALS = 9
"""Of a distance: what differs less is a tie, which the order of the keys breaks."""


def group_unknowns(
    findings: Sequence[Finding], calibration: CosineCalibration, case: CaseUnknowns | None = None
) -> tuple[tuple[Finding, ...], tuple[UnknownGroup, ...], CaseUnknowns | None]:
    """Group the exhibits whose source is unknown, together with those of the same case from earlier scans.

    The same bytes and channel are one exhibit, and the newest scan of it counts: one that has got a known source since
    leaves the case. Groups have two exhibits or more, earlier ones included. A group keeps the name that most of its
    members had; one name stays with one group, that with most of its members. New groups take numbers in the order of
    their size and then of their smallest key; a number is never given twice in a case. The order of the findings
    changes nothing.

    Args:
        findings: of one document. Those without a trace, with a known source or without an embedding stay as they are.
        calibration: of the cosine of two exhibits.
        case: what earlier scans found; None for numbers of this document alone.

    Returns:
        The findings in their order, with `trace.unknown_group` set; the groups with a finding among them, in the order
        of their numbers; and the case after this scan (None without a case). Memory grows with the square of the
        exhibits' number: 0.8 GB for 10,000.

    Raises:
        ValueError: embeddings that differ in size, or have no direction.
    """
    exhibits, seen = _exhibits(findings, case)
    clusters = alike(exhibits, calibration)
    numbers, next_number = _numbered(clusters, exhibits, 1 if case is None else case.next_number)
    names = {key: group_name(number) for number, cluster in numbers.items() for key in cluster}
    shown = {key: names[key] for number, cluster in numbers.items() if len(cluster) > 1 for key in cluster}
    named = tuple(_named(finding, shown) for finding in findings)
    counts = Counter(finding.trace.unknown_group for finding in named if finding.trace is not None)
    rows = tuple(
        UnknownGroup(name=group_name(number), exhibits=counts[group_name(number)], earlier=len(set(cluster) - seen))
        for number, cluster in sorted(numbers.items())
        if counts[group_name(number)]
    )
    if case is None:
        return named, rows, None
    kept = [exhibit.model_copy(update={"group": names.get(key)}) for key, exhibit in exhibits.items()]
    return named, rows, new_case(case.tracer, kept, next_number)


def alike(exhibits: Mapping[ExhibitKey, CaseExhibit], calibration: CosineCalibration) -> list[tuple[ExhibitKey, ...]]:
    """All exhibits in groups of one or more, whose members are in the order of their keys.

    Average linkage on `1 - cosine`, cut where the calibration's LLR is `LEAST_LLR`.
    """
    keys = sorted(exhibits)
    if len(keys) < 2:
        return [(key,) for key in keys]
    # Pair by pair, not by a matrix product, which may round differently for another number of rows.
    distances = np.round(pdist(np.array([exhibits[key].embedding for key in keys]), "cosine"), _DECIMALS)
    cut = 1 - (LEAST_LLR - calibration.intercept) / calibration.slope
    labels = fcluster(linkage(distances, "average"), cut, "distance")
    clusters: dict[int, list[ExhibitKey]] = {}
    for label, key in zip(labels.tolist(), keys, strict=True):
        clusters.setdefault(label, []).append(key)
    return [tuple(cluster) for cluster in clusters.values()]


def _exhibits(
    findings: Sequence[Finding], case: CaseUnknowns | None
) -> tuple[dict[ExhibitKey, CaseExhibit], set[ExhibitKey]]:
    """All exhibits to group, with the group that each was in last, and the keys of those among the findings."""
    earlier = {} if case is None else {exhibit.key: exhibit for exhibit in case.exhibits}
    former = {key: exhibit.group for key, exhibit in earlier.items()}
    found: dict[ExhibitKey, CaseExhibit] = {}
    for finding in findings:
        if finding.trace is None or finding.sha256 is None:
            continue
        key = exhibit_key(finding.sha256, finding.channel)
        embedding = _embedding_of(finding)
        if embedding is None:
            earlier.pop(key, None)
            continue
        exhibit = CaseExhibit(
            sha256=finding.sha256,
            channel=finding.channel,
            embedding=kept_embedding(embedding),
            group=former.get(key),
        )
        # One channel of a file has one embedding; should two differ after all, the order decides nothing.
        found[key] = min(exhibit, found.get(key, exhibit), key=lambda each: each.embedding)
    return earlier | found, set(found)


def _embedding_of(finding: Finding) -> tuple[float, ...] | None:
    """Of an exhibit to be grouped; None for every other finding."""
    if finding.trace is None or finding.sha256 is None or finding.trace.decision != UNKNOWN_SOURCE:
        return None
    return finding.trace.embedding


def _numbered(
    clusters: Sequence[tuple[ExhibitKey, ...]], exhibits: Mapping[ExhibitKey, CaseExhibit], next_number: int
) -> tuple[dict[int, tuple[ExhibitKey, ...]], int]:
    """The groups by number, and the number of the next new one.

    An exhibit that is left alone keeps its old number when no group claims it, so that the name comes back with the
    others; a new number is for two exhibits or more.
    """
    claims = []
    for cluster in clusters:
        votes = Counter(group_number(group) for group in (exhibits[key].group for key in cluster) if group is not None)
        claims += [(-members, number, -len(cluster), cluster) for number, members in votes.items()]
    numbers: dict[int, tuple[ExhibitKey, ...]] = {}
    settled: set[tuple[ExhibitKey, ...]] = set()
    for claim in sorted(claims):
        number, cluster = claim[1], claim[3]
        if number not in numbers and cluster not in settled:
            numbers[number] = cluster
            settled.add(cluster)
    fresh = [cluster for cluster in clusters if len(cluster) > 1 and cluster not in settled]
    for cluster in sorted(fresh, key=lambda each: (-len(each), each)):
        numbers[next_number] = cluster
        next_number += 1
    return numbers, next_number


def _named(finding: Finding, names: Mapping[ExhibitKey, str]) -> Finding:
    if finding.trace is None or finding.sha256 is None or _embedding_of(finding) is None:
        return finding
    name = names.get(exhibit_key(finding.sha256, finding.channel))
    return finding.model_copy(update={"trace": finding.trace.model_copy(update={"unknown_group": name})})
