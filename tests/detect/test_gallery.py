"""Named prototypes: what is a source, what is similar to what, and which tracer has any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spoofcheck.detect.gallery import Floats, Gallery, Source, acceptance, gallery_of, unit
from spoofcheck.errors import ModelError, UsageError
from spoofcheck.nets.bundle import TracerBundle, load_tracer
from spoofcheck.nets.config import OpenSetConfig
from tests.support.enrolling import embedding_tracer


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> TracerBundle:
    return load_tracer(embedding_tracer(tmp_path_factory.mktemp("models") / "tiny-embedder"))


def source(name: str, prototype: Floats) -> Source:
    return Source(name, prototype, np.empty((0, len(prototype))), "enrolled", 0)


def some(count: int, size: int = 8, seed: int = 0) -> Floats:
    return np.stack([unit(row) for row in np.random.default_rng(seed).normal(size=(count, size))])


def test_similarities_are_cosines_in_the_order_of_the_sources() -> None:
    prototypes, (heard,) = some(4), some(1, seed=1)
    gallery = Gallery([source(name, row) for name, row in zip("dacb", prototypes, strict=True)])
    assert gallery.names == ("d", "a", "c", "b")
    assert gallery.similarities(heard) == pytest.approx(prototypes @ heard)
    assert gallery.similarities(prototypes[2])[2] == pytest.approx(1)
    assert len(Gallery([])) == 0
    assert Gallery([]).similarities(heard).shape == (0,)


def test_a_similarity_does_not_depend_on_what_else_is_enrolled() -> None:
    prototypes, (heard,) = some(40, 64), some(1, 64, seed=1)
    sources = [source(f"{i}", row) for i, row in enumerate(prototypes)]
    whole = Gallery(sources).similarities(heard)
    for count in (1, 2, 3, 7, 39):
        assert np.array_equal(Gallery(sources[:count]).similarities(heard), whole[:count])


def test_sources_are_checked() -> None:
    (one,) = some(1)
    with pytest.raises(ValueError, match="needs a name"):
        source("", one)
    with pytest.raises(ValueError, match="unit length"):
        source("a", 2 * one)
    with pytest.raises(ValueError, match="unit length"):
        source("a", one * np.nan)
    with pytest.raises(ValueError, match=r"members \[n, D\]"):
        Source("a", one, some(3, 7), "enrolled", 3)
    with pytest.raises(ValueError, match="two sources are called 'a'"):
        Gallery([source("a", one), source("a", one)])
    with pytest.raises(ValueError, match="differ in size"):
        Gallery([source("a", one), source("b", some(1, 7)[0])])
    with pytest.raises(ValueError, match="expected an embedding"):
        Gallery([source("a", one)]).similarities(some(1, 7)[0])


def test_a_source_keeps_what_it_was_given() -> None:
    (one,) = some(1)
    kept = source("a", one)
    one[0] = 9
    assert np.linalg.norm(kept.prototype) == pytest.approx(1)
    with pytest.raises(ValueError, match="read-only"):
        kept.prototype[0] = 9


@pytest.mark.parametrize("vector", [[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_what_has_no_direction_is_refused(vector: list[float]) -> None:
    with pytest.raises(ValueError, match="without a direction"):
        unit(vector)


def test_a_tracer_ships_the_prototypes_of_its_head(bundle: TracerBundle) -> None:
    gallery = gallery_of(bundle, [source("new", some(1)[0])])
    assert gallery.names == ("A0", "A1", "A2", "new")
    assert [each.origin for each in gallery.sources] == ["shipped"] * 3 + ["enrolled"]
    shipped = bundle.network.head.prototypes
    assert np.stack([each.prototype for each in gallery.sources[:3]]) == pytest.approx(shipped.numpy(), abs=1e-6)


def test_what_does_not_fit_the_tracer_is_refused(bundle: TracerBundle) -> None:
    with pytest.raises(ModelError, match="do not fit the tracer tiny-embedder: two sources are called 'A1'"):
        gallery_of(bundle, [source("A1", some(1)[0])])
    with pytest.raises(ModelError, match="differ in size"):
        gallery_of(bundle, [source("new", some(1, 5)[0])])


def test_a_tracer_without_prototypes_ships_none_and_takes_none(tiny_tracer_model: Path) -> None:
    closed = load_tracer(tiny_tracer_model)
    assert len(gallery_of(closed)) == 0
    for refused in (lambda: gallery_of(closed, [source("new", some(1)[0])]), lambda: acceptance(closed)):
        with pytest.raises(UsageError, match=r"tracer tiny-tracer 1 \(pooled-embedding\) has no prototypes"):
            refused()


def test_the_open_set_rule_is_the_tracers(bundle: TracerBundle) -> None:
    def accepts(rule: OpenSetConfig, similarities: list[float]) -> bool:
        changed = replace(bundle, config=bundle.config.model_copy(update={"open_set": rule}))
        return acceptance(changed)(np.array(similarities))

    cosine = OpenSetConfig(method="prototype-cosine", threshold=0.6, data="a test")
    assert accepts(cosine, [0.1, 0.6])
    assert not accepts(cosine, [0.1, 0.59])
    scale = bundle.network.head.scale
    softmax = OpenSetConfig(method="max-softmax", threshold=0.7, data="a test")
    # Of two, the larger softmax is 0.7 where the logits differ by log(0.7 / 0.3).
    gap = float(np.log(0.7 / 0.3)) / scale
    assert accepts(softmax, [0.2, 0.2 + gap + 1e-6])
    assert not accepts(softmax, [0.2, 0.2 + gap - 1e-6])
