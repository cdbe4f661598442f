"""Speak English sentences with hibari's voice "heart", a small network distilled from Kokoro-82M.

Package: hibari-tts 0.2.1 (Apache-2.0). The network (ONNX, int8) gives spectral envelopes and pitch, signal processing
makes the waveform of them. Its noise has a seed of its own for each sentence, so a resumed run gives the same clips.
The rate of speech is drawn for each sentence.
"""

from __future__ import annotations

import random

import speaking


def load(_seed: int) -> speaking.Speak:
    from hibari import Hibari

    engine = Hibari()

    def speak(utterance: speaking.Utterance) -> tuple[object, int]:
        speed = random.Random(utterance.seed).uniform(0.85, 1.2)
        return engine(utterance.text.words, speed=speed, seed=utterance.seed), engine.sample_rate

    return speak


if __name__ == "__main__":
    speaking.one_thread()
    speaking.main(speaking.Program("hibari-tts 0.2.1 heart", "en", lambda _: "heart", load), __doc__)
