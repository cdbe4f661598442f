"""The order of the steps, and which random numbers each gets."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from spoofcheck.training.augment.channel import band_limit, clip_peaks, cut_edge, equalise, reverberate
from spoofcheck.training.augment.codecs import check_codecs, random_codec, site_mp3
from spoofcheck.training.augment.noise import add_noise, coloured_noise, noise_files, recorded_noise
from spoofcheck.training.augment.rawboost import rawboost
from spoofcheck.training.augment.rule import AugmentRule
from spoofcheck.training.augment.signal import unit_peak
from spoofcheck.training.augment.timing import mask, time_mask, trim_silence
from spoofcheck.training.store import Wave

# The order in which the first recipe's steps drew. Shipped models are rebuilt from these draws: add no name here.
_FIRST_CHANCES = ("lossless_mp3", "clean")
_CHANCES = ("reverb", "equaliser", "noise", "band_limit", "clip", "codec", "mask", "edge")
_STREAMS = (
    "lossless_mp3", "reverb", "equaliser", "noise", "band_limit", "floor", "clip", "codec", "mask", "edge",
)  # fmt: skip

_HISS = 2e-5
"""RMS of a least significant bit of noise: rounding to 16 bits leaves exact zeros, recordings have none."""


def augment(wave: Wave, lossy: bool, rule: AugmentRule, noises: NDArray[np.float32], seed: int) -> Wave:
    """One augmented version of a window: same length, finite, peak at most 1; without any step the window itself.

    Args:
        wave: float32 `[n]`, n at least 1, peak at most 1.
        lossy: whether the window's source was already lossy.
        noises: magnitude spectra `[k, 257]` of real background noise, from `noise_spectrum`.
        seed: draws everything, 0 or more; the copies of a window get their source's seed, so pairs differ in synthesis
            alone. A step that is left out does not change what the others draw.

    Raises:
        UsageError: a codec or a noise recording is missing that `check_rule` would have missed.
    """
    if rule.is_off:
        return wave
    draws = _Draws(seed)
    spared = draws.happens("clean", rule.clean)
    heard = wave
    if draws.happens("silence_trim", rule.silence_trim):
        heard = trim_silence(heard, rule.silence_db, draws.stream("silence_trim"))
    if not spared and draws.happens("rawboost", rule.rawboost):
        heard = rawboost(heard, rule.rawboost_rule, draws.stream("rawboost"))
    out = start = unit_peak(heard)
    if not lossy and draws.happens("lossless_mp3", rule.lossless_mp3):
        out = site_mp3(out, draws.stream("lossless_mp3"))
    if draws.happens("edge", rule.edge):
        out = cut_edge(out, draws.stream("edge"))
    if not spared:
        out = _before_the_floor(out, rule, noises, draws)
    if rule.level_db is None:
        out = out if spared else _after_the_floor(out, rule, draws)
        return np.clip(heard if out is start else unit_peak(out) * np.abs(heard).max(initial=0.0), -1, 1)
    floor_draws = draws.stream("floor")
    floor = 10 ** (floor_draws.uniform(*(rule.floor_db or (0, 0))) / 20)
    # Drawn even where it is not added, so that the level does not depend on it.
    background = coloured_noise(wave.size, noises, floor_draws)
    if rule.floor_db is not None:
        out = unit_peak(out) + floor * background
    if not spared:
        out = _after_the_floor(out, rule, draws)
    out = unit_peak(out) * np.float32(10 ** (floor_draws.uniform(*rule.level_db) / 20))
    if rule.floor_db is not None:
        out = (out + floor_draws.normal(0, _HISS, wave.size)).astype(np.float32)
    return np.clip(out, -1, 1)


def check_rule(rule: AugmentRule) -> None:
    """What a rule needs from this machine; to be called before training starts.

    Raises:
        UsageError: a codec that cannot be encoded here, or noise recordings that cannot be read.
    """
    check_codecs(rule)
    if rule.noise_folder is not None:
        noise_files(rule.noise_folder)


def _before_the_floor(wave: Wave, rule: AugmentRule, noises: NDArray[np.float32], draws: _Draws) -> Wave:
    """Room, microphone, background and line."""
    out = wave
    if draws.happens("reverb", rule.reverb):
        out = reverberate(out, draws.stream("reverb"))
    if draws.happens("equaliser", rule.equaliser):
        out = equalise(out, draws.stream("equaliser"))
    if draws.happens("noise", rule.noise):
        recorded = None
        if rule.noise_folder is not None and draws.happens("noise_recorded", rule.noise_recorded):
            recorded = recorded_noise(out.size, rule.noise_folder, draws.stream("noise_recorded"))
        out = add_noise(out, noises, rule.noise_snr_db, draws.stream("noise"), recorded)
    if draws.happens("band_limit", rule.band_limit):
        out = band_limit(out, rule.lowest_band_hz, draws.stream("band_limit"))
    return out


def _after_the_floor(wave: Wave, rule: AugmentRule, draws: _Draws) -> Wave:
    """Overload, coder and loss."""
    out = wave
    if draws.happens("clip", rule.clip):
        out = clip_peaks(out, draws.stream("clip"))
    if draws.happens("codec", rule.codec):
        out = random_codec(unit_peak(out), rule.codecs, draws.stream("codec"))
    if draws.happens("mask", rule.mask):
        out = mask(out, draws.stream("mask"))
    if draws.happens("time_mask", rule.time_mask):
        out = time_mask(out, rule.time_mask_s, draws.stream("time_mask"))
    return out


class _Draws:
    """The random numbers of one window: for every step a chance and a stream of its own."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        rng = np.random.default_rng(seed)
        self._chances = {name: rng.random() for name in _FIRST_CHANCES}
        self._chances |= dict(zip(_CHANCES, rng.random(len(_CHANCES)).tolist(), strict=True))
        self._seeds = dict(zip(_STREAMS, rng.integers(0, 2**63, len(_STREAMS)).tolist(), strict=True))

    def happens(self, step: str, share: float) -> bool:
        """Whether the window is among the `share` that a step changes."""
        chance = self._chances.get(step)
        return (self._own(step, 0).random() if chance is None else chance) < share

    def stream(self, step: str) -> np.random.Generator:
        """A fresh generator with a step's random numbers."""
        seed = self._seeds.get(step)
        return self._own(step, 1) if seed is None else np.random.default_rng(seed)

    def _own(self, step: str, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, zlib.crc32(step.encode()), purpose])
