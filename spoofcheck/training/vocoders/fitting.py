"""Training of one vocoder on human windows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from spoofcheck.training.progress import Steps
from spoofcheck.training.store import Wave
from spoofcheck.training.vocoders.critics import Critics, critics_loss, fooling_loss, spectral_loss
from spoofcheck.training.vocoders.kinds import KINDS, VocoderKind
from spoofcheck.training.vocoders.mel import log_mel
from spoofcheck.training.vocoders.source import noise_source, sine_source

_SEGMENT_S = 0.5
_BATCH = 6
_MEL_WEIGHT = 1.0


def fit_vocoder(
    name: str,
    waves: Sequence[Wave],
    *,
    steps: int,
    seed: int,
    watch: Steps,
    losses: list[float],
) -> nn.Module:
    """Train a vocoder of `KINDS` from fresh weights; the result depends on the arguments alone.

    Args:
        waves: human windows, float32 at 16 kHz, each 0.5 s or longer.
        steps: of batches of 6 stretches of half a second.
        watch: told of every step.
        losses: gets the spectral loss of every step.
    """
    kind = KINDS[name]
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    generator, critics = kind.build(), Critics()
    sharpen = torch.optim.AdamW(generator.parameters(), lr=8e-4, betas=(0.8, 0.99))
    judge = torch.optim.AdamW(critics.parameters(), lr=4e-4, betas=(0.8, 0.99))
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(o, steps, eta_min=1e-4) for o in (sharpen, judge)]
    samples = int(_SEGMENT_S * 16_000) // kind.hop * kind.hop
    for step in watch.over(range(steps), f"Training {name}", steps):
        real, source = _batch(kind, waves, samples, rng)
        made, extra = synthesise(generator, kind, real, source)
        if step >= kind.critics_from * steps:
            judge.zero_grad(set_to_none=True)
            critics_loss(critics(real), critics(made.detach())).backward()  # type: ignore[no-untyped-call]
            judge.step()
            for parameter in critics.parameters():
                parameter.requires_grad_(False)
            adversarial = fooling_loss(critics(real), critics(made))
            for parameter in critics.parameters():
                parameter.requires_grad_(True)
        else:
            adversarial = real.new_zeros(())
        spectral = spectral_loss(real, made)
        mel = torch.nn.functional.l1_loss(_mel(kind, made), _mel(kind, real))
        sharpen.zero_grad(set_to_none=True)
        (spectral + _MEL_WEIGHT * mel + 0.5 * adversarial + extra).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(generator.parameters(), 5.0)
        sharpen.step()
        schedules[0].step()
        if step >= kind.critics_from * steps:
            schedules[1].step()
        losses.append(float(spectral.detach()))
    return generator.eval()


def synthesise(generator: nn.Module, kind: VocoderKind, real: Tensor, source: Tensor | None) -> tuple[Tensor, Tensor]:
    """Analyse and resynthesise: `[B, N]`, N a multiple of the hop -> `[B, N]` and the codec's commitment loss."""
    if kind.source == "wave":
        made, loss = generator(real)
        return made, loss
    mel = _mel(kind, real)
    return (generator(mel) if source is None else generator(mel, source)), real.new_zeros(())


def source_of(kind: VocoderKind, wave: Wave, rng: np.random.Generator) -> Wave | None:
    """What the generator shapes, `[n]`, or None where it takes the mel spectrogram alone."""
    if kind.source == "noise":
        return noise_source(wave.size, rng)
    if kind.source == "sines":
        return sine_source(wave, rng)
    return None


def _batch(
    kind: VocoderKind, waves: Sequence[Wave], samples: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor | None]:
    cuts: list[Wave] = []
    sources: list[Wave | None] = []
    while len(cuts) < _BATCH:
        wave = waves[int(rng.integers(len(waves)))]
        begin = int(rng.integers(max(1, wave.size - samples + 1)))
        cut = wave[begin : begin + samples]
        peak = float(np.abs(cut).max(initial=0.0))
        if cut.size < samples or peak < 1e-3:
            continue
        cut = (cut * np.float32(rng.uniform(0.2, 0.95) / peak)).astype(np.float32)
        cuts.append(cut)
        sources.append(source_of(kind, cut, rng))
    made = [source for source in sources if source is not None]
    return torch.from_numpy(np.stack(cuts)), torch.from_numpy(np.stack(made)) if made else None


def _mel(kind: VocoderKind, wave: Tensor) -> Tensor:
    return log_mel(wave, kind.bands, kind.n_fft, kind.hop, kind.fmax_hz)
