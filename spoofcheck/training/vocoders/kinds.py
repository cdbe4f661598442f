"""The kinds of vocoder there are, with their sizes and the steps each is trained for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import nn

from spoofcheck.training.vocoders.generators import (
    ResidualCodec,
    SourceGenerator,
    SpectralGenerator,
    TransposedGenerator,
    UpsampledSpectralGenerator,
)


@dataclass(frozen=True, slots=True)
class VocoderKind:
    """One kind.

    Attributes:
        build: makes the generator, fresh.
        source: what the generator shapes beside the mel spectrogram.
        bands, n_fft, hop, fmax_hz: of the mel spectrogram; of the codec only the hop counts.
        steps: of training, unless told otherwise.
        critics_from: share of the steps after which the discriminators join.
    """

    build: Callable[[], nn.Module]
    source: Literal["none", "noise", "sines", "wave"]
    bands: int = 80
    n_fft: int = 1024
    hop: int = 256
    fmax_hz: float = 8000.0
    steps: int = 1500
    critics_from: float = 0.3


KINDS: dict[str, VocoderKind] = {
    "neural-hifigan": VocoderKind(
        lambda: TransposedGenerator(80, (8, 8, 4), 160, (3, 7), (1, 3, 5)), "none", steps=1000
    ),
    "neural-melgan": VocoderKind(
        lambda: TransposedGenerator(80, (5, 5, 4, 2), 192, (3,), (1, 3, 9)),
        "none",
        n_fft=800,
        hop=200,
        fmax_hz=7600.0,
        steps=1600,
    ),
    "neural-vocos": VocoderKind(lambda: SpectralGenerator(100, 256, 6, 1024, 256), "none", bands=100, steps=2000),
    "neural-istftnet": VocoderKind(lambda: UpsampledSpectralGenerator(80, (8, 8), 192), "none"),
    "neural-pwg": VocoderKind(lambda: SourceGenerator(80, 256, 48, 15), "noise", steps=700),
    "neural-nsf": VocoderKind(lambda: SourceGenerator(80, 160, 48, 15), "sines", n_fft=640, hop=160, steps=700),
    "neural-codec": VocoderKind(lambda: ResidualCodec((2, 4, 5, 8), 12, 96, 8, 256), "wave", hop=320, steps=1300),
}
"""By name, as recipes and commands call them."""
