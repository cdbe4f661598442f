from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from spoofcheck.errors import ModelError
from spoofcheck.nets.pretrained import distillmos_stem_state
from spoofcheck.nets.stem import SpectralStem, compressed_spectrum, peak_normalise

_SMALL = (4, 4, 8, 8, 8, 16)


def test_default_geometry_is_the_published_one() -> None:
    stem = SpectralStem()
    assert stem.out_channels == 1024
    assert sum(p.numel() for p in stem.parameters()) == 1_587_328
    strides = [layer.stride for layer in stem.cnn if isinstance(layer, torch.nn.Conv2d)]
    assert strides == [(1, 1), (2, 1), (2, 1), (2, 1), (2, 1), (2, 2)]
    assert set(stem.state_dict()) == {f"cnn.{i}.{k}" for i in (0, 2, 4, 6, 8, 10) for k in ("weight", "bias")}


@pytest.mark.parametrize(("samples", "frames"), [(63_999, 200), (64_000, 200), (64_600, 202), (1_600, 5)])
def test_one_frame_per_20_ms(samples: int, frames: int) -> None:
    assert SpectralStem(_SMALL)(torch.randn(2, samples)).shape == (2, 64, frames)


def test_spectrum_is_the_definition_of_a_fourier_transform() -> None:
    rng = np.random.default_rng(0)
    wave = rng.normal(size=800)
    padded = np.concatenate([wave[80:0:-1], wave, wave[-2:-82:-1]])
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(320) / 320)
    expected = np.zeros((2, 161, 5))
    for frame in range(5):
        spectrum = np.fft.rfft(padded[160 * frame : 160 * frame + 320] * hann)
        compressed = np.abs(spectrum) ** 0.3 * np.exp(1j * np.angle(spectrum))
        expected[:, :, frame] = compressed.real, compressed.imag
    actual = compressed_spectrum(
        torch.from_numpy(wave).float()[None], torch.hann_window(320), hop_samples=160, compression=0.3
    )
    np.testing.assert_allclose(actual[0].numpy(), expected, atol=2e-4)


def test_level_does_not_matter_and_silence_is_harmless() -> None:
    stem = SpectralStem(_SMALL).eval()
    wave = torch.randn(1, 6_400, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(stem(wave), stem(wave * 0.01), atol=1e-3, rtol=1e-3)
    assert torch.equal(peak_normalise(torch.zeros(1, 10)), torch.zeros(1, 10))
    assert stem(torch.zeros(2, 6_400)).isfinite().all()


def test_gradients_stay_finite_where_the_spectrum_is_empty() -> None:
    stem = SpectralStem(_SMALL)
    wave = torch.zeros(2, 6_400)
    wave[1, 3_000:4_000] = torch.randn(1_000, generator=torch.Generator().manual_seed(0))
    wave.requires_grad_()
    stem(wave).square().sum().backward()
    assert wave.grad is not None
    assert wave.grad.isfinite().all()
    assert wave.grad[1].abs().max() > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in stem.parameters())


def test_runs_under_bfloat16_autocast_with_a_float32_spectrum() -> None:
    stem = SpectralStem(_SMALL)
    wave = torch.randn(2, 6_400, generator=torch.Generator().manual_seed(0))
    seen: list[torch.Tensor] = []
    stem.cnn.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    exact = stem(wave)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = stem(wave)
    assert rough.dtype == torch.bfloat16
    assert [s.dtype for s in seen] == [torch.float32, torch.float32]
    assert torch.equal(seen[0], seen[1])
    assert all(s.is_contiguous(memory_format=torch.channels_last) for s in seen)
    assert (rough.float() - exact).abs().max() < 0.05 * exact.abs().max()
    rough.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in stem.parameters())


def test_weights_stay_channels_last_after_loading() -> None:
    stem = SpectralStem(_SMALL)
    stem.load_state_dict({k: v.contiguous() for k, v in SpectralStem(_SMALL).state_dict().items()})
    for layer in stem.cnn:
        if isinstance(layer, torch.nn.Conv2d):
            assert layer.weight.is_contiguous(memory_format=torch.channels_last)


def test_refuses_more_convolutions_than_frequency_rows() -> None:
    with pytest.raises(ValueError, match="convolution 5"):
        SpectralStem((4,) * 6, fft_samples=32)


def test_equals_the_published_stem() -> None:
    spec = importlib.util.find_spec("distillmos")
    if spec is None or spec.origin is None:
        pytest.skip("the package distillmos (extra 'train') is not installed")
    from distillmos.sqa import ConvTransformerSQAModel

    published = ConvTransformerSQAModel().eval().cnn
    stem = SpectralStem().eval()
    weights = Path(spec.origin).parent / "weights" / "distill_mos_v7.pt"
    stem.load_state_dict(distillmos_stem_state(weights), strict=True)
    wave = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0))
    wave[:, 4_000:6_000] = 0
    with torch.inference_mode():
        expected = published(wave / (wave.abs().max() + 1e-8))
        torch.testing.assert_close(stem(wave), expected, atol=1e-5, rtol=1e-4)


def test_refuses_files_that_are_no_distillmos_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a readable checkpoint"):
        distillmos_stem_state(tmp_path / "missing.pt")
    torch.save({"other": 1}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match="no entry 'model'"):
        distillmos_stem_state(tmp_path / "other.pt")
    torch.save({"model": {"fc.weight": torch.zeros(1)}}, tmp_path / "empty.pt")
    with pytest.raises(ModelError, match="no keys"):
        distillmos_stem_state(tmp_path / "empty.pt")
