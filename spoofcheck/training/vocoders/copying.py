"""A trained vocoder as copy-synthesis uses it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn import functional as F

from spoofcheck.errors import ModelError, UsageError
from spoofcheck.training.store import Wave
from spoofcheck.training.vocoders.fitting import source_of
from spoofcheck.training.vocoders.kinds import KINDS
from spoofcheck.training.vocoders.mel import log_mel

FOLDER = "neural"
"""Below the folder of engines."""


def neural_vocoder(name: str, folder: Path) -> Callable[[Wave, np.random.Generator], Wave]:
    """A vocoder of `KINDS` with the weights `corpus vocoders` wrote to `folder`.

    Half the time the mel spectrogram is blurred and shaken a little, as one that an acoustic model predicts would be;
    the codec draws how many of its codebooks it uses.

    Raises:
        UsageError: it was not trained yet.
        ModelError: the file holds something else.
    """
    kind = KINDS[name]
    place = folder / f"{name}.safetensors"
    if not place.is_file():
        raise UsageError(f"vocoder {name}: {place} is not there; train it with `spoofcheck corpus vocoders`")
    generator = kind.build()
    try:
        generator.load_state_dict(load_file(place), strict=True)
    except (RuntimeError, SafetensorError, OSError) as error:
        raise ModelError(f"{place}: holds no vocoder {name}") from error
    generator.eval()

    def resynthesise(wave: Wave, rng: np.random.Generator) -> Wave:
        peak = float(np.abs(wave).max(initial=0.0)) + 1e-9
        level = float(rng.uniform(0.3, 0.9))
        whole = -(-wave.size // kind.hop) * kind.hop
        padded = np.pad(wave * np.float32(level / peak), (0, whole - wave.size))
        real = torch.from_numpy(padded)[None]
        with torch.inference_mode():
            if kind.source == "wave":
                made = generator(real, int(rng.integers(2, 9)))[0]
            else:
                mel = log_mel(real, kind.bands, kind.n_fft, kind.hop, kind.fmax_hz)
                mel = _as_predicted(mel, rng) if rng.random() < 0.5 else mel
                source = source_of(kind, padded, rng)
                made = generator(mel) if source is None else generator(mel, torch.from_numpy(source)[None])
        return np.asarray(made[0, : wave.size].numpy(), dtype=np.float32)

    return resynthesise


def _as_predicted(mel: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    frames = int(rng.integers(2)) * 2 + 1
    if frames > 1:
        mel = F.avg_pool1d(mel, frames, 1, padding=frames // 2, count_include_pad=False)
    shake = rng.standard_normal(tuple(mel.shape), dtype=np.float32) * float(rng.uniform(0, 0.15))
    return mel + torch.from_numpy(shake)
