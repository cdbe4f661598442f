"""What some clips of a source say about it: its prototype, how well they find it again, what it may be confused with.

Pure functions of unit embeddings. Every clip is compared with the prototype of the other clips of its source, never
with one that it helped to make; what is measured is still measured on the clips that the user chose, and holds for
recordings like them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from spoofcheck.detect.gallery import Accepts, Floats, Gallery, Source, unit

MIN_CLIPS = 5
"""Clips of a source below which leave-one-out says too little. More than 20 are allowed; they rarely move it."""

MIN_D_PRIME = 2.0
"""Sources closer than this are confused: between two normal distributions at this d', one trial in thirteen errs."""

MAX_CLOSER_SHARE = 0.1
"""Sources are also confused when more of a source's clips than this are closer to the other prototype."""

_D_PRIME_LIMIT = 100.0
"""Clips that are all alike have no spread; a d' is cut here rather than infinite."""


class _Estimate(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Taken(_Estimate):
    """Clips that were closer to another source than to their own."""

    source: str
    clips: int = Field(ge=1)


class LeaveOneOut(_Estimate):
    """How a source's clips fared, each against the prototype of the others and against all other sources."""

    clips: int = Field(ge=2)
    closest: int = Field(ge=0, description="clips that were closest to their own source")
    accepted: int = Field(ge=0, description="of these, clips that the open-set rule gives to it")
    unknown: int = Field(ge=0, description="clips that the open-set rule calls unknown, whatever they are closest to")
    smallest_similarity: float = Field(description="smallest cosine of a clip to the prototype of the others")
    mean_similarity: float
    taken: tuple[Taken, ...] = Field(default=(), description="the sources that the other clips were closest to")

    @property
    def closest_share(self) -> float:
        """Share of the clips that were closest to their own source."""
        return self.closest / self.clips

    @property
    def accepted_share(self) -> float:
        """Share of the clips that the open-set rule gives to their own source."""
        return self.accepted / self.clips


class Separability(_Estimate):
    """How far a source's clips keep from one other source. Gaps are cosine to own minus cosine to the other."""

    source: str = Field(description="the other source")
    prototype_similarity: float = Field(description="cosine between both prototypes")
    smallest_gap: float
    mean_gap: float
    d_prime: float = Field(
        ge=-_D_PRIME_LIMIT,
        le=_D_PRIME_LIMIT,
        description="mean gap in units of the pooled deviation of both similarities",
    )
    closer_to_other: int = Field(ge=0, description="clips, of both sources where both have some, on the wrong side")
    clips: int = Field(ge=1, description="clips compared")

    @property
    def is_confused(self) -> bool:
        """Whether the two cannot be told apart on these clips, and count as one group."""
        return self.d_prime < MIN_D_PRIME or self.closer_to_other > MAX_CLOSER_SHARE * self.clips


def prototype_of(members: Floats) -> Floats:
    """The unit mean of unit embeddings `[n, D]`: float64 `[D]`, exactly the same in whatever order they come.

    Raises:
        ValueError: no members, or members that cancel each other out.
    """
    if members.ndim != 2 or not len(members):
        raise ValueError(f"expected members [n, D], got {list(members.shape)}")
    return unit([math.fsum(column) / len(members) for column in members.T.tolist()])


def left_out(members: Floats) -> Floats:
    """For each of `[n, D]` the prototype of the other members, `[n, D]`.

    Raises:
        ValueError: fewer than two members, or others that cancel each other out.
    """
    if len(members) < 2:
        raise ValueError("leaving one out takes two members")
    return np.stack([prototype_of(np.delete(members, i, axis=0)) for i in range(len(members))])


def own_similarities(members: Floats) -> Floats:
    """Cosine of each of `[n, D]` to the prototype of the others, `[n]`."""
    similarities: Floats = (members * left_out(members)).sum(axis=1)
    return similarities


def leave_one_out(source: Source, others: Gallery, accepts: Accepts) -> LeaveOneOut:
    """Trace each clip of a source as if it had not been enrolled.

    A clip as close to another source as to its own counts as closest to the other.

    Args:
        source: with two clips or more.
        others: all other sources of the gallery.
        accepts: the open-set rule.
    """
    own = own_similarities(source.members)
    closest = accepted = unknown = 0
    taken: Counter[str] = Counter()
    for member, similarity in zip(source.members, own, strict=True):
        rivals = others.similarities(member)
        is_accepted = accepts(np.append(rivals, similarity))
        unknown += not is_accepted
        if len(rivals) and rivals.max() >= similarity:
            taken[others.names[int(rivals.argmax())]] += 1
        else:
            closest += 1
            accepted += is_accepted
    return LeaveOneOut(
        clips=len(own),
        closest=closest,
        accepted=accepted,
        unknown=unknown,
        smallest_similarity=float(own.min()),
        mean_similarity=float(own.mean()),
        taken=tuple(Taken(source=name, clips=clips) for name, clips in sorted(taken.items(), key=_most_first)),
    )


def separability(source: Source, others: Gallery) -> tuple[Separability, ...]:
    """How far a source keeps from each other one, the closest first.

    Where the other source has clips too, they count as well: the figures are those of the worse side, and the clips on
    the wrong side are those of both.
    """
    pairs = [_pair(source, other) for other in others.sources]
    return tuple(sorted(pairs, key=lambda pair: (pair.d_prime, pair.source)))


def confused_with(pairs: Sequence[Separability]) -> tuple[str, ...]:
    """Names of the sources that cannot be told apart from the one the pairs are about."""
    return tuple(pair.source for pair in pairs if pair.is_confused)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One source among the others of its gallery.

    Attributes:
        source: shipped or enrolled.
        nearest: the other source with the most similar prototype; None when there is no other.
        nearest_similarity: cosine between both prototypes.
        leave_one_out: of the enrolled clips; None for a source without.
        confused_with: sources that cannot be told apart from it on the clips there are.
    """

    source: Source
    nearest: str | None
    nearest_similarity: float | None
    leave_one_out: LeaveOneOut | None
    confused_with: tuple[str, ...]


def evaluate_gallery(gallery: Gallery, accepts: Accepts) -> tuple[Evaluated, ...]:
    """Every source of a gallery, in its order, as far as clips and prototypes tell."""
    pairs = {
        source.name: confused_with(separability(source, without(gallery, source.name)))
        for source in gallery.sources
        if len(source.members)
    }
    rows = []
    for source in gallery.sources:
        others = without(gallery, source.name)
        similarities = others.similarities(source.prototype)
        confused = {*pairs.get(source.name, ()), *(name for name in pairs if source.name in pairs[name])}
        rows.append(
            Evaluated(
                source=source,
                nearest=others.names[int(similarities.argmax())] if len(others) else None,
                nearest_similarity=float(similarities.max()) if len(others) else None,
                leave_one_out=leave_one_out(source, others, accepts) if len(source.members) else None,
                confused_with=tuple(name for name in gallery.names if name in confused),
            )
        )
    return tuple(rows)


def groups(rows: Sequence[Evaluated]) -> tuple[tuple[str, ...], ...]:
    """Sources that must be reported as one: linked by confusion, directly or through others.

    Groups of one are left out. Names stand in the order of the rows.
    """
    return linked(
        [row.source.name for row in rows], [(row.source.name, name) for row in rows for name in row.confused_with]
    )


def linked(names: Sequence[str], links: Iterable[tuple[str, str]]) -> tuple[tuple[str, ...], ...]:
    """Names that are linked, directly or through others; groups of one are left out.

    Args:
        names: all of them; groups and their members stand in this order.
        links: in either direction; one to a name that is not there says nothing.
    """
    group = {name: {name} for name in names}
    for one, other in links:
        if one in group and other in group:
            joined = group[one] | group[other]
            group.update(dict.fromkeys(joined, joined))
    found = [tuple(name for name in names if name in group[first]) for first in names]
    return tuple(dict.fromkeys(members for members in found if len(members) > 1))


def without(gallery: Gallery, name: str) -> Gallery:
    """The gallery less one source."""
    return Gallery([source for source in gallery.sources if source.name != name])


def _pair(source: Source, other: Source) -> Separability:
    sides = [_side(source, other)]
    if len(other.members) > 1:
        sides.append(_side(other, source))
    return Separability(
        source=other.name,
        prototype_similarity=float((source.prototype * other.prototype).sum()),
        smallest_gap=min(float((own - rival).min()) for own, rival in sides),
        mean_gap=min(float((own - rival).mean()) for own, rival in sides),
        d_prime=min(_d_prime(own, rival) for own, rival in sides),
        closer_to_other=sum(int((own <= rival).sum()) for own, rival in sides),
        clips=sum(len(own) for own, _ in sides),
    )


def _side(source: Source, other: Source) -> tuple[Floats, Floats]:
    """A source's clips: similarities to their own prototype without them, and to the other's."""
    return own_similarities(source.members), (source.members * other.prototype).sum(axis=1)


def _d_prime(own: Floats, other: Floats) -> float:
    gap = float(own.mean() - other.mean())
    spread = math.sqrt((float(own.var(ddof=1)) + float(other.var(ddof=1))) / 2)
    if abs(gap) >= _D_PRIME_LIMIT * spread:
        return math.copysign(_D_PRIME_LIMIT, gap) if gap else 0.0
    return gap / spread


def _most_first(item: tuple[str, int]) -> tuple[int, str]:
    name, clips = item
    return -clips, name
