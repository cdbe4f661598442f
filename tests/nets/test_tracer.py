from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from spoofcheck.errors import ModelError
from spoofcheck.nets.bundle import load_bundle, load_tracer, save_bundle
from spoofcheck.nets.config import (
    LayerAttentionConfig,
    PooledEmbeddingConfig,
    SpectralStemConfig,
    TracerConfig,
    XlsrConfig,
)
from spoofcheck.nets.tracer import LayerAttention, PooledEmbedding, Tracer, build_tracer
from tests.support.models import tiny_bundle, tiny_tracer, tiny_tracer_config

STEM = SpectralStemConfig(channels=(4, 4, 8, 8, 8, 16))
HEADS = [LayerAttentionConfig(channels=64, hidden=8), PooledEmbeddingConfig(channels=64, bottleneck=8, embedding=8)]


def noise(samples: int = 16_000, batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, samples, generator=torch.Generator().manual_seed(0))


def tiny(head: LayerAttentionConfig | PooledEmbeddingConfig) -> Tracer:
    torch.manual_seed(0)
    return build_tracer(STEM, head, classes=5).eval()


def test_published_geometry() -> None:
    with torch.device("meta"):
        tracer = build_tracer(XlsrConfig(output="all-layers"), LayerAttentionConfig(), classes=21)
        waves = torch.empty(2, 64_000)
        assert tracer.front_end(waves).shape == (2, 1024, 24 * 199)
        assert tracer(waves).shape == (2, 21)
        assert tracer.embed(waves).shape == (2, 128)
    head = sum(p.numel() for p in tracer.head.parameters())
    attention, hidden, classes = 4 * 1024 * 1024 + 4 * 1024, 1024 * 128 + 128, 128 * 21 + 21
    assert head == attention + hidden + classes
    # All of XLS-R but the normalisation after its last layer.
    assert sum(p.numel() for p in tracer.parameters()) == 315_437_696 - 2 * 1024 + head
    assert tracer.head.attention.num_heads == 4


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.kind)
def test_logits_are_the_last_layer_on_the_embedding(head: LayerAttentionConfig | PooledEmbeddingConfig) -> None:
    tracer = tiny(head)
    with torch.inference_mode():
        embedding, logits = tracer.embed(noise()), tracer(noise())
        assert embedding.shape == (3, 8)
        assert logits.shape == (3, 5)
        plain = F.linear(embedding, tracer.head.fc.weight, tracer.head.fc.bias)
        torch.testing.assert_close(logits, F.selu(plain) if head.kind == "layer-attention" else plain)
        assert torch.equal(logits, tracer.classify(embedding))
        assert torch.equal(logits, tracer.head(tracer.front_end(noise())))


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.kind)
def test_one_clip_alone_as_in_a_batch(head: LayerAttentionConfig | PooledEmbeddingConfig) -> None:
    tracer = tiny(head)
    with torch.inference_mode():
        together = tracer(noise())
        alone = torch.cat([tracer(wave[None]) for wave in noise()])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-5


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.kind)
def test_gradient_reaches_every_parameter(head: LayerAttentionConfig | PooledEmbeddingConfig) -> None:
    tracer = tiny(head).train()
    F.cross_entropy(tracer(noise()), torch.tensor([0, 1, 4])).backward()
    without = [name for name, p in tracer.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_layer_attention_is_plain_attention_and_a_mean() -> None:
    torch.manual_seed(1)
    head = LayerAttention(channels=8, heads=2, hidden=3, classes=4).eval()
    features = torch.randn(2, 8, 7)
    with torch.inference_mode():
        x = features.transpose(1, 2)
        q, k, v = F.linear(x, head.attention.in_proj_weight, head.attention.in_proj_bias).chunk(3, dim=-1)
        mixed = []
        for part in (slice(0, 4), slice(4, 8)):
            weights = (q[..., part] @ k[..., part].transpose(1, 2) / 2.0).softmax(dim=-1)
            mixed.append(weights @ v[..., part])
        attended = head.attention.out_proj(torch.cat(mixed, dim=-1))
        expected = F.selu(head.hidden(attended.mean(dim=1)))
        torch.testing.assert_close(head.embed(features), expected)


def test_pooled_embedding_takes_a_single_frame_and_drops_out_after_the_embedding() -> None:
    head = PooledEmbedding(channels=6, bottleneck=2, embedding=4, dropout=0.5, classes=2).train()
    features = torch.randn(2, 6, 1)
    assert torch.equal(head.embed(features), head.embed(features))
    assert head(features).shape == (2, 2)


def test_refuses_parts_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="gives 64 channels, the head takes 1024"):
        build_tracer(STEM, PooledEmbeddingConfig(), classes=2)
    with pytest.raises(ValueError, match="64 channels do not divide among 5"):
        build_tracer(STEM, LayerAttentionConfig(channels=64, heads=5), classes=2)


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.kind)
def test_gives_back_what_was_saved(tmp_path: Path, head: LayerAttentionConfig | PooledEmbeddingConfig) -> None:
    config = tiny_tracer_config("mine", classes=("A0", "A1", "Größe", "許諾", "x")).model_copy(update={"head": head})
    tracer = tiny(head)
    save_bundle(tmp_path / "mine", config, tracer, "# Mine\n")
    bundle = load_tracer(tmp_path / "mine")
    assert bundle.config == config
    assert bundle.config.architecture == f"spectral-stem -> {head.kind}, 64 channels, 5 classes"
    assert not bundle.network.training
    assert not any(p.requires_grad for p in bundle.network.parameters())
    with torch.inference_mode():
        assert torch.equal(bundle.network(noise()), tracer(noise()))
    assert load_tracer(tmp_path / "mine", expected_sha256=bundle.weights_sha256).config_sha256 == bundle.config_sha256
    with pytest.raises(ModelError, match="SHA-256"):
        load_tracer(tmp_path / "mine", expected_sha256="0" * 64)


def test_a_tracer_is_no_detector_and_the_other_way_round(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json: describes a tracer.*given with --tracer"):
        load_bundle(tiny_tracer(tmp_path / "tracer"))
    with pytest.raises(ModelError, match=r"config\.json: describes a detector, not a tracer.*--tracer"):
        load_tracer(tiny_bundle(tmp_path / "detector"))


def test_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    directory = tiny_tracer(tmp_path / "tracer")
    document = json.loads((directory / "config.json").read_text())
    document["classes"].append("A3")
    (directory / "config.json").write_text(json.dumps(document))
    with pytest.raises(ModelError, match=r"'head\.fc\.weight' has shape \[3, 8\], config\.json asks for \[4, 8\]"):
        load_tracer(directory)
    detector = tiny(HEADS[1])
    with pytest.raises(ModelError, match=r"'head\.fc\.weight' has shape"):
        save_bundle(directory, TracerConfig.model_validate(document), detector, "# Other\n")


def test_same_seed_same_tiny_tracer(tmp_path: Path) -> None:
    first, again, other = (
        load_tracer(tiny_tracer(tmp_path / name, seed)).weights_sha256 for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again != other
