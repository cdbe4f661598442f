"""The head that places recordings on a sphere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from spoofcheck.errors import ModelError
from spoofcheck.nets.bundle import load_tracer, save_bundle
from spoofcheck.nets.config import OpenSetConfig, SpectralStemConfig, StatisticsEmbeddingConfig, TracerConfig
from spoofcheck.nets.embedding import StatisticsEmbedding
from spoofcheck.nets.frontends import build_front_end
from spoofcheck.nets.tracer import Tracer, build_tracer

FRONT_END = SpectralStemConfig(channels=(2, 4))
CONFIG = TracerConfig(
    name="tiny", version="1", front_end=FRONT_END, window_samples=4000,
    head=StatisticsEmbeddingConfig(channels=build_front_end(FRONT_END).out_channels, embedding=6, scale=8),
    classes=("a", "b", "c"),
    open_set=OpenSetConfig(threshold=0.5, data="a test"), licence="none", training_data="none",
)  # fmt: skip


def head() -> StatisticsEmbedding:
    torch.manual_seed(0)
    return StatisticsEmbedding(4, 3, scale=8, classes=5).eval()


def tracer() -> Tracer:
    torch.manual_seed(0)
    return build_tracer(CONFIG.front_end, CONFIG.head, len(CONFIG.classes)).eval()


def test_an_embedding_has_unit_length_and_logits_are_scaled_cosines() -> None:
    part, features = head(), torch.randn(7, 4, 11)
    embedding = part.embed(features)
    assert embedding.shape == (7, 3)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(7))
    cosine = torch.nn.functional.cosine_similarity(embedding[:, None], part.prototypes[None], dim=2)
    torch.testing.assert_close(part(features), 8 * cosine)


def test_statistics_are_pooled_over_time() -> None:
    part, features = head(), torch.randn(2, 4, 11)
    torch.testing.assert_close(part.embed(features), part.embed(features.flip(2)))
    assert not torch.allclose(part.embed(features), part.embed(features + torch.tensor([1.0, 0, 0, 0])[:, None]))


def test_standardising_is_undone_by_other_statistics() -> None:
    part, features = head(), torch.randn(2, 4, 50)
    before = part.embed(features)
    part.mean.copy_(torch.cat((torch.full((4,), 3.0), torch.zeros(4))))
    torch.testing.assert_close(part.embed(features + 3), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 4), (2, 5, 7)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected \\[B, 4, T\\]"):
        head().embed(torch.zeros(shape))


@pytest.mark.parametrize("spread", [0.0, -1.0, float("nan"), float("inf")])
def test_a_spread_that_divides_badly_is_refused(spread: float) -> None:
    part = head()
    part.check()
    part.spread[2] = spread
    with pytest.raises(ValueError, match="spread must be positive"):
        part.check()


def test_a_prototype_off_the_sphere_is_refused() -> None:
    part = head()
    part.prototypes[1] *= 1.1
    with pytest.raises(ValueError, match="unit length"):
        part.check()


def test_a_bundle_is_checked_when_it_is_written_and_keeps_its_answers(tmp_path: Path) -> None:
    network = tracer()
    save_bundle(tmp_path / "model", CONFIG, network, "")
    loaded = load_tracer(tmp_path / "model")
    wave = torch.randn(2, 4000)
    torch.testing.assert_close(loaded.network(wave), network(wave))
    assert "statistics-embedding" in loaded.config.architecture
    network.head.prototypes[0] = 0
    with pytest.raises(ModelError, match="prototypes must have unit length"):
        save_bundle(tmp_path / "broken", CONFIG, network, "")


def test_a_cosine_may_be_negative_and_a_softmax_may_not() -> None:
    rule = OpenSetConfig(method="prototype-cosine", threshold=-0.2, data="a test")
    assert rule.words == "unknown when the largest similarity (cosine) is below -0.2"
    with pytest.raises(ValidationError, match="softmax cannot be negative"):
        OpenSetConfig(threshold=-0.2, data="a test")


def test_a_rule_on_prototypes_needs_a_head_that_has_them() -> None:
    content = CONFIG.model_dump() | {"open_set": {"method": "prototype-cosine", "threshold": 0.4, "data": "a test"}}
    assert TracerConfig.model_validate(content).open_set.threshold == 0.4
    with pytest.raises(ValidationError, match="needs a head with prototypes, not 'pooled-embedding'"):
        TracerConfig.model_validate(content | {"head": {"kind": "pooled-embedding"}})
