"""A store of enrolled sources with made-up embeddings."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from spoofcheck.detect.enrolment import leave_one_out, prototype_of, separability
from spoofcheck.detect.gallery import Gallery, Source, unit
from spoofcheck.detect.sourcestore import (
    StoredSource,
    StoreTracer,
    in_order,
    members_of,
    new_store,
    store_json,
    stored_clip,
)


def sealed_store() -> bytes:
    """The file of a store of two sources."""
    tracer = StoreTracer(name="tiny", version="1", weights_sha256="ab" * 32)
    return store_json(new_store(tracer, [_source("Narrator", 0), _source("Reader", 1)])).encode("ascii")


def _source(name: str, seed: int) -> StoredSource:
    vectors = np.eye(8)[seed] + 0.1 * np.random.default_rng(seed).normal(size=(5, 8))
    clips = in_order(stored_clip(f"{i}.wav", f"{seed:02x}{i:02x}" * 16, 1 + i, row) for i, row in enumerate(vectors))
    members = members_of(clips)
    others = Gallery([Source("other", unit(np.ones(8)), np.empty((0, 8)), "shipped", 0)])
    source = Source(name, prototype_of(members), members, "enrolled", len(members))
    return StoredSource(
        name=name,
        created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        revision=1,
        clips=clips,
        leave_one_out=leave_one_out(source, others, lambda found: bool(found.max() > 0.5)),
        separability=separability(source, others),
    )
