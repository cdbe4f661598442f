"""Front-ends: from a waveform to a feature map. The registry that turns a configuration into a module."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spoofcheck.nets.config import (
    AnyFrontEndConfig,
    ConcatConfig,
    MelSpectrogramConfig,
    SpectralStemConfig,
    VoiceFeaturesConfig,
    VoiceStatisticsConfig,
    XlsrConfig,
)
from spoofcheck.nets.features import VoiceFeatures
from spoofcheck.nets.mel import MelSpectrogram
from spoofcheck.nets.statistics import VoiceStatistics
from spoofcheck.nets.stem import SpectralStem

_TRIM_FRAMES = 2


def build_front_end(config: AnyFrontEndConfig) -> nn.Module:
    """The front-end a configuration describes, with fresh weights; nothing is downloaded.

    Every front-end maps float32 waveforms `[B, N]` at 16 kHz to features `[B, C, T]` and says `C` as
    `out_channels`.

    Raises:
        ValueError: when the arguments contradict each other.
    """
    if isinstance(config, ConcatConfig):
        return Concat((build_front_end(part) for part in config.parts), config.project_to)
    arguments = config.model_dump(exclude={"kind"})
    if isinstance(config, SpectralStemConfig):
        return SpectralStem(**arguments)
    if isinstance(config, MelSpectrogramConfig):
        return MelSpectrogram(**arguments)
    if isinstance(config, VoiceStatisticsConfig):
        return VoiceStatistics(**arguments)
    if isinstance(config, VoiceFeaturesConfig):
        return VoiceFeatures()
    # transformers is slow to import, and the shipped model does without it.
    if isinstance(config, XlsrConfig):
        from spoofcheck.nets.xlsr import Xlsr

        return Xlsr(**arguments)
    from spoofcheck.nets.whisper import WhisperFeatures

    return WhisperFeatures(**arguments)


class Concat(nn.Module):
    """Several front-ends on the same waveform, side by side on the channel axis.

    Shape: `[B, N]` -> `[B, out_channels, T]`, where `T` is the smallest of the parts' frame counts.

    Parts that are at most 2 frames longer have the same frame rate and other edges (XLS-R gives 199 frames
    where the stem gives 200): their last frames are dropped. Longer parts are interpolated linearly over the
    whole window.

    Args:
        parts: the front-ends.
        project_to: channels after a 1x1 convolution; None leaves the parts' channels as they are.
    """

    def __init__(self, parts: Iterable[nn.Module], project_to: int | None = None) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        channels = sum(cast(int, part.out_channels) for part in self.parts)
        self.projection = None if project_to is None else nn.Conv1d(channels, project_to, kernel_size=1)
        self.out_channels = channels if project_to is None else project_to

    def forward(self, waveform: Tensor) -> Tensor:
        """Shape: `[B, N]` -> `[B, out_channels, T]`."""
        features = [part(waveform) for part in self.parts]
        frames = min(feature.shape[-1] for feature in features)
        joined = torch.cat([_fit_frames(feature, frames) for feature in features], dim=1)
        return joined if self.projection is None else cast(Tensor, self.projection(joined))


def _fit_frames(feature: Tensor, frames: int) -> Tensor:
    if feature.shape[-1] <= frames + _TRIM_FRAMES:
        return feature[..., :frames]
    return F.interpolate(feature, size=frames, mode="linear", align_corners=False)
