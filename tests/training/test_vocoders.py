"""Neural vocoders: shapes, training that lowers the loss and repeats itself, weights on disk, and the command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from spoofcheck.cli.app import app
from spoofcheck.errors import ModelError, UsageError
from spoofcheck.training.copysynth import copy_window, spectral_blend, vocoders
from spoofcheck.training.progress import NoSteps
from spoofcheck.training.vocoders import KINDS, fit_vocoder, neural_vocoder
from spoofcheck.training.vocoders.fitting import source_of, synthesise
from spoofcheck.training.vocoders.mel import log_mel
from spoofcheck.training.vocoders.source import noise_source, sine_source
from tests.support.corpus import voice, write_corpus

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_keeps_the_length(name: str) -> None:
    kind = KINDS[name]
    samples = 20 * kind.hop
    wave = voice(3)[:samples]
    source = source_of(kind, wave, RNG)
    torch.manual_seed(0)
    with torch.inference_mode():
        made, loss = synthesise(
            kind.build(), kind, torch.from_numpy(wave)[None], None if source is None else torch.from_numpy(source)[None]
        )
    assert made.shape == (1, samples)
    assert made.isfinite().all()
    assert (float(loss) > 0) == (kind.source == "wave")


def test_training_lowers_the_loss_and_repeats_itself() -> None:
    waves = [voice(number) for number in range(6)]
    losses: list[list[float]] = [[], []]
    first, second = (
        fit_vocoder("neural-vocos", waves, steps=14, seed=5, watch=NoSteps(), losses=kept) for kept in losses
    )
    assert losses[0] == losses[1]
    assert np.mean(losses[0][-4:]) < 0.7 * losses[0][0]
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_mel_frames_begin_at_multiples_of_the_hop() -> None:
    wave = torch.zeros(1, 256 * 12)
    wave[0, 256 * 5 + 128] = 1.0
    mel = log_mel(wave, 80, 1024, 256, 8000.0)
    assert mel.shape == (1, 80, 12)
    assert int(mel.sum(dim=1).argmax()) == 5


def test_sources_follow_the_pitch() -> None:
    tone = np.sin(2 * np.pi * 150 * np.arange(16_000) / 16_000).astype(np.float32) * 0.5
    tone += 0.2 * np.sin(2 * np.pi * 300 * np.arange(16_000) / 16_000).astype(np.float32)
    sines = sine_source(tone, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(sines[4000:12000] * np.hanning(8000)))
    assert abs(np.argmax(spectrum[: 2 * 150]) * 2 - 150) <= 4 or spectrum[74:77].max() > 20 * np.median(spectrum)
    noise = noise_source(1000, np.random.default_rng(0))
    assert abs(noise.std() - 1) < 0.1


def test_weights_on_disk_become_a_vocoder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="corpus vocoders"):
        vocoders(["neural-codec"], tmp_path)
    folder = tmp_path / "neural"
    folder.mkdir()
    torch.manual_seed(0)
    save_file(KINDS["neural-codec"].build().state_dict(), folder / "neural-codec.safetensors")
    made = vocoders(["neural-codec"], tmp_path)["neural-codec"]
    wave = voice(1)[:10_007]
    first, second = (copy_window(wave, made, np.random.default_rng(4)) for _ in range(2))
    assert first.shape == wave.shape
    assert np.array_equal(first, second)
    assert np.sqrt(np.mean(first**2)) == pytest.approx(np.sqrt(np.mean(wave**2)), rel=0.2)
    save_file({"a": torch.zeros(1)}, folder / "neural-vocos.safetensors")
    with pytest.raises(ModelError, match="holds no vocoder neural-vocos"):
        neural_vocoder("neural-vocos", folder)
    (folder / "neural-nsf.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="holds no vocoder neural-nsf"):
        neural_vocoder("neural-nsf", folder)


def test_a_blend_lies_near_its_source() -> None:
    wave = voice(2)
    copies = [copy_window(wave, spectral_blend, np.random.default_rng(seed)) for seed in range(6)]
    assert all(copy.shape == wave.shape and np.isfinite(copy).all() for copy in copies)
    envelopes = [np.convolve(np.abs(one), np.ones(400) / 400, "same") for one in (wave, *copies)]
    assert all(np.corrcoef(envelopes[0], one)[0, 1] > 0.9 for one in envelopes[1:])
    assert len({float(copy.sum()) for copy in copies}) == 6


def test_the_command_trains_what_is_missing(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path / "corpus", {"train": 4}, ())
    out = tmp_path / "engines" / "neural"
    arguments = ["corpus", "vocoders", str(manifest), "--out", str(out), "--vocoder", "neural-vocos", "--steps", "2"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    weights = (out / "neural-vocos.safetensors").read_bytes()
    assert vocoders(["neural-vocos"], tmp_path / "engines")
    again = CliRunner().invoke(app, [*arguments, "--seed", "9"])
    assert again.exit_code == 0
    assert (out / "neural-vocos.safetensors").read_bytes() == weights
    wrong = CliRunner().invoke(app, ["corpus", "vocoders", str(manifest), "--out", str(out), "--vocoder", "x"])
    assert isinstance(wrong.exception, UsageError)
    assert "--vocoder 'x', expected one of neural-hifigan" in str(wrong.exception)
