from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch

from spoofcheck.nets.mel import MelSpectrogram
from spoofcheck.nets.melcnn import MelCnn


def noise(samples: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, samples, generator=torch.Generator().manual_seed(0))


def test_log_mel_is_librosas() -> None:
    wave = noise(16_000) * 0.3
    level = (wave / wave.abs().max())[0].numpy()
    power = librosa.feature.melspectrogram(
        y=np.pad(level, 384, mode="reflect"), sr=16_000, n_fft=1024, hop_length=256, center=False, n_mels=128
    )
    actual = MelSpectrogram()(wave)[0].numpy()
    assert actual.shape == (128, 62)
    np.testing.assert_allclose(actual, np.log(power), atol=1e-3)


@pytest.mark.parametrize(("samples", "frames"), [(64_000, 250), (64_255, 250), (64_256, 251), (1_024, 4)])
def test_one_frame_per_whole_hop(samples: int, frames: int) -> None:
    assert MelSpectrogram()(noise(samples)).shape == (1, 128, frames)
    assert MelSpectrogram(bands=40, fft_samples=400, hop_samples=160)(noise(1_600)).shape == (1, 40, 10)


def test_level_does_not_matter_and_silence_is_finite() -> None:
    mel = MelSpectrogram()
    torch.testing.assert_close(mel(noise(16_000)), mel(noise(16_000) * 1e-3), atol=1e-3, rtol=0)
    assert mel(torch.zeros(1, 16_000)).unique().tolist() == pytest.approx([np.log(1e-6)])


def test_refuses_bands_without_a_frequency_bin_and_hops_beyond_the_window() -> None:
    with (
        pytest.warns(UserWarning, match="mel filterbank"),
        pytest.raises(ValueError, match="256 FFT samples are too few for 128 mel bands"),
    ):
        MelSpectrogram(bands=128, fft_samples=256, hop_samples=64)
    with pytest.raises(ValueError, match="hop of 512 samples is longer"):
        MelSpectrogram(bands=8, fft_samples=256, hop_samples=512)


def test_cnn_is_small_and_takes_any_size() -> None:
    assert 300_000 < sum(p.numel() for p in MelCnn().parameters()) < 1_000_000
    network = MelCnn(channels=20, widths=(4, 8)).eval()
    for frames in (1, 2, 3, 77):
        assert network(torch.randn(2, 20, frames)).shape == (2, 2)
    with pytest.raises(ValueError, match=r"expected \[B, 20, T\]"):
        network(torch.randn(2, 21, 7))


def test_cnn_gradient_reaches_every_parameter_and_clips_do_not_mix() -> None:
    torch.manual_seed(0)
    network = MelCnn(channels=20, widths=(4, 8), dropout=0.0)
    batch = torch.randn(3, 20, 30)
    network(batch).square().sum().backward()
    # A gain right before a convolution and a normalisation is cancelled but for the floor of the variance.
    assert all(p.grad is not None and p.grad.abs().max() > 1e-7 for p in network.parameters())
    network.eval()
    with torch.inference_mode():
        torch.testing.assert_close(network(batch), torch.cat([network(clip[None]) for clip in batch]))
