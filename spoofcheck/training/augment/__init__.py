"""What happens to a window before training, alike for human and synthetic speech.

Every step exists to take a shortcut away: codec, bandwidth, noise floor, level, room, silence, duration. No step sees
the label. Every function maps float32 `[n]` at 16 kHz to float32 `[n]`.
"""

from spoofcheck.training.augment.chain import augment, check_rule
from spoofcheck.training.augment.codecs import check_codecs
from spoofcheck.training.augment.noise import noise_spectrum
from spoofcheck.training.augment.rule import AugmentRule, RawBoostRule
from spoofcheck.training.augment.timing import crop_or_repeat

__all__ = ["AugmentRule", "RawBoostRule", "augment", "check_codecs", "check_rule", "crop_or_repeat", "noise_spectrum"]
