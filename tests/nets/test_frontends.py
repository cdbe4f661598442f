from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import WhisperFeatureExtractor

from spoofcheck.nets.config import (
    ConcatConfig,
    Nes2NetLaConfig,
    Nes2NetXConfig,
    SpectralStemConfig,
    WhisperEncoderConfig,
    XlsrConfig,
)
from spoofcheck.nets.detector import build_detector
from spoofcheck.nets.frontends import Concat, build_front_end
from spoofcheck.nets.whisper import LogMel, WhisperFeatures

STEM = SpectralStemConfig(channels=(4, 4, 8, 8, 8, 16))
XLSR = XlsrConfig(
    hidden_size=16,
    layers=2,
    heads=2,
    feed_forward_size=32,
    conv_channels=8,
    position_kernel=8,
    position_groups=2,
)
WHISPER = WhisperEncoderConfig(width=16, heads=2, feed_forward_size=32)


def noise(samples: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, samples, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("samples", "frames"), [(64_000, 199), (64_600, 201)])
def test_xlsr_frames(samples: int, frames: int) -> None:
    front_end = build_front_end(XLSR).eval()
    with torch.inference_mode():
        features = front_end(noise(samples, batch=2))
    assert features.shape == (2, 16, frames)
    assert front_end.out_channels == 16


def test_xlsr_default_geometry_is_the_300m_model() -> None:
    with torch.device("meta"):
        front_end = build_front_end(XlsrConfig())
    # 315.4 M: the published encoder without its masking embedding and pretraining heads.
    assert sum(p.numel() for p in front_end.parameters()) == 315_437_696
    layers = front_end.model.encoder.layers
    assert (len(layers), layers[0].attention.num_heads) == (24, 16)
    convolutions = front_end.model.feature_extractor.conv_layers
    assert [c.conv.stride[0] for c in convolutions] == [5, 2, 2, 2, 2, 2, 2]
    assert all(isinstance(c.layer_norm, nn.LayerNorm) and c.conv.bias is not None for c in convolutions)
    assert type(front_end.model.encoder).__name__ == "Wav2Vec2EncoderStableLayerNorm"


def test_xlsr_with_nes2net_la_is_the_published_model() -> None:
    with torch.device("meta"):
        network = build_detector(XlsrConfig(), Nes2NetLaConfig())
    # What the published checkpoint holds beside the encoder it uses: projections and quantiser of the pretraining
    # and the masking embedding.
    quantiser = 2 * 320 * 384 + 512 * 640 + 640
    pretraining = quantiser + 768 * 768 + 768 + 1024 * 768 + 768 + 1024
    total = sum(p.numel() for p in network.parameters()) + pretraining
    assert total == pytest.approx(317.9e6, abs=0.1e6)


def test_xlsr_gives_all_layers_one_after_the_other() -> None:
    last = build_front_end(XLSR).eval()
    every = build_front_end(XLSR.model_copy(update={"output": "all-layers"})).eval()
    state = {k: v for k, v in last.state_dict().items() if not k.startswith("model.encoder.layer_norm.")}
    every.load_state_dict(state, strict=True)
    wave = noise(16_000, batch=2)
    with torch.inference_mode():
        states = every(wave)
        assert states.shape == (2, 16, 2 * 49)
        assert every.out_channels == 16
        first, second = (part.transpose(1, 2) for part in states.split(49, dim=2))
        layers = last.model.encoder.layers
        torch.testing.assert_close(layers[1](first), second)
        torch.testing.assert_close(last.model.encoder.layer_norm(second).transpose(1, 2), last(wave))


def test_xlsr_hears_the_level_and_masks_nothing() -> None:
    front_end = build_front_end(XLSR).train()
    wave = noise(6_400)
    assert torch.equal(front_end(wave), front_end(wave))
    assert not torch.allclose(front_end(wave), front_end(wave * 0.1), atol=1e-3)


def test_log_mel_is_whispers() -> None:
    wave = noise(64_000)[0] * 0.1
    wave[32_000:] *= 1e-6  # more than the 80 dB that Whisper keeps below the loudest
    # Without padding to 30 s, the extractor sees the window alone, as the module does.
    expected = WhisperFeatureExtractor()(
        wave.numpy(), sampling_rate=16_000, padding="do_not_pad", return_tensors="np"
    ).input_features[0]
    actual = LogMel(80)(wave[None])[0].numpy()
    assert actual.shape == (80, 400)
    assert np.mean(np.isclose(expected, expected.max() - 2)) > 0.4
    np.testing.assert_allclose(actual, expected, atol=2e-4)


def test_log_mel_of_one_window_ignores_the_others() -> None:
    log_mel = LogMel(80)
    loud, quiet = noise(16_000), noise(16_000) * 1e-3
    torch.testing.assert_close(log_mel(torch.cat((loud, quiet)))[1:], log_mel(quiet))
    assert log_mel(torch.zeros(1, 16_000)).isfinite().all()


@pytest.mark.parametrize(("combine", "channels"), [("mean", 16), ("concat", 32)])
def test_whisper_takes_the_chosen_layers_as_they_are(combine: str, channels: int) -> None:
    config = WhisperEncoderConfig(
        width=16, heads=2, feed_forward_size=32, positions=50, use_layers=(1, 3), combine=combine
    )
    front_end = build_front_end(config).eval()
    assert isinstance(front_end, WhisperFeatures)
    wave = noise(16_000, batch=2)
    with torch.inference_mode():
        features = front_end(wave)
        encoder = front_end.encoder
        states = F.gelu(encoder.conv2(F.gelu(encoder.conv1(front_end.log_mel(wave))))).transpose(1, 2)
        states = states + encoder.embed_positions.weight
        after = []
        for layer in encoder.layers:
            states = layer(states, None)
            after.append(states)
        chosen = (after[0], after[2])
        expected = torch.cat(chosen, dim=-1) if combine == "concat" else (chosen[0] + chosen[1]) / 2
    assert len(after) == 3
    assert front_end.out_channels == channels
    torch.testing.assert_close(features, expected.transpose(1, 2))


def test_whisper_default_state_is_three_layers_of_whisper_base() -> None:
    front_end = build_front_end(WhisperEncoderConfig())
    shapes = {name: tuple(value.shape) for name, value in front_end.encoder.state_dict().items()}
    assert shapes["embed_positions.weight"] == (200, 512)
    assert shapes["conv1.weight"] == (512, 80, 3)
    assert {name.split(".")[1] for name in shapes if name.startswith("layers.")} == {"0", "1", "2"}
    assert shapes["layers.2.fc1.weight"] == (2048, 512)
    assert not any(name.startswith("layer_norm") for name in shapes)


@pytest.mark.parametrize(("samples", "fits"), [(63_999, False), (64_000, True), (64_159, True), (64_160, False)])
def test_whisper_takes_windows_of_exactly_its_positions(samples: int, fits: bool) -> None:
    front_end = build_front_end(WHISPER).eval()
    if fits:
        assert front_end(noise(samples)).shape == (1, 16, 200)
    else:
        with pytest.raises(ValueError, match="do not fill 200 positions"):
            front_end(noise(samples))


def test_whisper_refuses_repeated_layers() -> None:
    with pytest.raises(ValueError, match="repeats a layer"):
        WhisperFeatures(width=16, heads=2, feed_forward_size=32, use_layers=(1, 1))


class Frames(nn.Module):
    """Features of a fixed frame count: each frame holds its own number."""

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self.out_channels, self.frames = channels, frames

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        return torch.arange(float(self.frames)).expand(len(waveform), self.out_channels, -1)


@pytest.mark.parametrize("longer", [10, 11, 12])
def test_concat_drops_last_frames_of_equal_rates(longer: int) -> None:
    joined = Concat([Frames(2, longer), Frames(3, 10)])(torch.zeros(4, 1))
    assert torch.equal(joined, torch.arange(10.0).expand(4, 5, 10))


def test_concat_interpolates_other_rates() -> None:
    joined = Concat([Frames(1, 20), Frames(1, 10)])(torch.zeros(1, 1))
    assert joined[0, 0].tolist() == [2 * i + 0.5 for i in range(10)]
    assert joined[0, 1].tolist() == list(range(10))


def test_concat_joins_and_projects() -> None:
    parts = (STEM, XLSR, WHISPER)
    plain = build_front_end(ConcatConfig(parts=parts)).eval()
    assert plain.out_channels == 64 + 16 + 16
    wave = noise(64_000)
    with torch.inference_mode():
        joined = plain(wave)
        assert joined.shape == (1, 96, 199)
        torch.testing.assert_close(joined[:, :64], plain.parts[0](wave)[..., :199])
        torch.testing.assert_close(joined[:, 64:80], plain.parts[1](wave))
        projected = build_front_end(ConcatConfig(parts=parts, project_to=64)).eval()
        assert projected.out_channels == 64
        assert projected(wave).shape == (1, 64, 199)


@pytest.mark.parametrize("back_end", [Nes2NetLaConfig(channels=64), Nes2NetXConfig(channels=64)])
def test_detector_is_its_parts_one_after_the_other(back_end: Nes2NetLaConfig | Nes2NetXConfig) -> None:
    network = build_detector(STEM, back_end).eval()
    assert (network.back_end.local_block_attn is not None) == (back_end.kind == "nes2net-la")
    wave = noise(16_000, batch=2)
    with torch.inference_mode():
        logits = network(wave)
        assert logits.shape == (2, 2)
        assert torch.equal(logits, network.back_end(network.front_end(wave)))


def test_detector_refuses_parts_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="gives 64 channels, the back-end takes 128"):
        build_detector(STEM, Nes2NetLaConfig(channels=128))
