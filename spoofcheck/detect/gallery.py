"""The named sources that a recording's embedding is compared with: those shipped with a tracer, and those enrolled.

A source is a unit vector, its prototype; a recording is a unit vector too, and their similarity is the cosine of the
angle between them. It says which source of the gallery a recording is closest to, not how probable it is that the
source made it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spoofcheck.errors import ModelError, UsageError
from spoofcheck.nets.bundle import TracerBundle
from spoofcheck.nets.config import UNKNOWN_SOURCE
from spoofcheck.nets.embedding import StatisticsEmbedding

Floats = NDArray[np.float64]
Origin = Literal["shipped", "enrolled"]

Accepts = Callable[[Floats], bool]
"""Whether similarities `[K]` to a gallery let a recording be given to the closest source, or leave it unknown."""

_UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One source that a recording can be like. Its arrays are read-only copies of what was given.

    Attributes:
        name: shown to the analyst, compared exactly.
        prototype: float64 `[D]`, unit length.
        members: float64 `[n, D]`, the unit embeddings of the enrolled clips; `[0, D]` for a shipped source.
        origin: shipped with the tracer, or enrolled by its user.
        clips: how many were enrolled; 0 for a shipped source, whose training the model card describes.

    Raises:
        ValueError: no name, another shape, or vectors that have not unit length.
    """

    name: str
    prototype: Floats
    members: Floats
    origin: Origin
    clips: int

    def __post_init__(self) -> None:
        prototype = np.array(self.prototype, dtype=np.float64)
        members = np.array(self.members, dtype=np.float64)
        if not self.name:
            raise ValueError("a source needs a name")
        if prototype.ndim != 1 or members.ndim != 2 or members.shape[1] != prototype.shape[0]:
            raise ValueError(
                f"{self.name!r}: expected a prototype [D] and members [n, D], got {list(prototype.shape)} and "
                f"{list(members.shape)}"
            )
        lengths = np.linalg.norm(np.vstack([prototype[None], members]), axis=1)
        if not bool((np.abs(lengths - 1) < _UNIT_TOLERANCE).all()):
            raise ValueError(f"{self.name!r}: prototype and members must have unit length")
        for name, array in (("prototype", prototype), ("members", members)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)


class Gallery:
    """Sources in a fixed order.

    Args:
        sources: with different names and embeddings of one size.

    Raises:
        ValueError: two sources of one name, or sizes that differ.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = tuple(sources)
        names = self.names
        repeated = [name for i, name in enumerate(names) if name in names[:i]]
        if repeated:
            raise ValueError(f"two sources are called {repeated[0]!r}")
        if len({source.prototype.shape for source in self.sources}) > 1:
            raise ValueError("the sources' embeddings differ in size")
        self._prototypes = np.stack([source.prototype for source in self.sources]) if self.sources else None

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def names(self) -> tuple[str, ...]:
        """The sources' names, in their order."""
        return tuple(source.name for source in self.sources)

    def similarities(self, embedding: ArrayLike) -> Floats:
        """Cosines of a unit embedding `[D]` to the prototypes, float64 `[K]` in the sources' order.

        A source's similarity is the same whatever other sources there are.

        Raises:
            ValueError: an embedding of another size.
        """
        if self._prototypes is None:
            return np.zeros(0)
        vector = np.asarray(embedding, dtype=np.float64)
        if vector.shape != self._prototypes.shape[1:]:
            raise ValueError(f"expected an embedding {list(self._prototypes.shape[1:])}, got {list(vector.shape)}")
        # Row by row: a matrix product may round differently for another number of rows.
        similarities: Floats = (self._prototypes * vector).sum(axis=1)
        return similarities


def decided(gallery: Gallery, similarities: Floats, accepts: Accepts) -> str:
    """The open-set decision: the name of the closest source, or `unknown`; the first of several that are as close."""
    if not len(gallery) or not accepts(similarities):
        return UNKNOWN_SOURCE
    return gallery.names[int(similarities.argmax())]


def unit(vector: ArrayLike) -> Floats:
    """A vector `[D]` at unit length, float64.

    Raises:
        ValueError: it is zero or not finite, and so has no direction.
    """
    values = np.asarray(vector, dtype=np.float64)
    length = float(np.linalg.norm(values))
    if not np.isfinite(length) or length == 0:
        raise ValueError("a vector without a direction")
    return values / length


def embedding_head(bundle: TracerBundle) -> StatisticsEmbedding | None:
    """The tracer's head when it compares recordings with prototypes, else None."""
    head = bundle.network.head
    return head if isinstance(head, StatisticsEmbedding) else None


def require_prototypes(bundle: TracerBundle) -> StatisticsEmbedding:
    """The tracer's head, which must compare recordings with prototypes.

    Raises:
        UsageError: the tracer has a closed set of classes.
    """
    head = embedding_head(bundle)
    if head is None:
        raise UsageError(
            f"the tracer {bundle.config.name} {bundle.config.version} ({bundle.config.head.kind}) has no prototypes: "
            "no source can be enrolled with it, or compared with enrolled ones"
        )
    return head


def gallery_of(bundle: TracerBundle, enrolled: Sequence[Source] = ()) -> Gallery:
    """A tracer's shipped sources, in the order of its classes, then the enrolled ones.

    Without prototypes in the tracer the gallery is empty.

    Raises:
        UsageError: there are enrolled sources, and the tracer has no prototypes to compare them with.
        ModelError: an enrolled source does not fit the tracer: another size, or a name that is taken.
    """
    head = require_prototypes(bundle) if enrolled else embedding_head(bundle)
    if head is None:
        return Gallery(())
    prototypes = head.prototypes.detach().cpu().double().numpy()
    shipped = [
        Source(name, unit(prototype), np.empty((0, len(prototype))), "shipped", 0)
        for name, prototype in zip(bundle.config.classes, prototypes, strict=True)
    ]
    try:
        return Gallery([*shipped, *enrolled])
    except ValueError as error:
        raise ModelError(f"the enrolled sources do not fit the tracer {bundle.config.name}: {error}") from error


def acceptance(bundle: TracerBundle) -> Accepts:
    """The tracer's open-set rule, applied to a gallery: its threshold on the confidence.

    Raises:
        UsageError: the tracer has no prototypes.
    """
    confident = confidence(bundle)
    threshold = bundle.config.open_set.threshold
    return lambda similarities: confident(similarities) >= threshold


def confidence(bundle: TracerBundle) -> Callable[[Floats], float]:
    """What the tracer's open-set rule looks at in similarities `[K]`: the largest cosine, or the largest softmax.

    Raises:
        UsageError: the tracer has no prototypes.
    """
    head = require_prototypes(bundle)
    if "cosine" in bundle.config.open_set.method:
        return lambda similarities: float(similarities.max())

    def largest_softmax(similarities: Floats) -> float:
        powers = np.exp(head.scale * (similarities - similarities.max()))
        return float(1.0 / powers.sum())

    return largest_softmax
