"""Small neural vocoders and a codec, trained on human speech so that copies of it carry what such networks leave.

They are not meant to sound well: a detector needs many kinds of synthesis beside the same human words.
"""

from spoofcheck.training.vocoders.copying import neural_vocoder
from spoofcheck.training.vocoders.fitting import fit_vocoder
from spoofcheck.training.vocoders.kinds import KINDS, VocoderKind

__all__ = ["KINDS", "VocoderKind", "fit_vocoder", "neural_vocoder"]
