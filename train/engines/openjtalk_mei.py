"""Speak Japanese sentences with Open JTalk's voice "mei", hidden Markov models (HTS).

Package: pyopenjtalk-plus 0.4.1.post10 (MIT; the voice by Nagoya Institute of Technology, its licence in the package).
Nothing in it is random. Rate and pitch are drawn for each sentence.
"""

from __future__ import annotations

import random

import speaking


def load(_seed: int) -> speaking.Speak:
    import pyopenjtalk

    def speak(utterance: speaking.Utterance) -> tuple[object, int]:
        rng = random.Random(utterance.seed)
        speed, half_tones = rng.uniform(0.85, 1.2), rng.uniform(-3.0, 3.0)
        # use_vanilla: the plain reading, which needs no dictionary beyond the package's own.
        samples, rate_hz = pyopenjtalk.tts(utterance.text.words, speed=speed, half_tone=half_tones, use_vanilla=True)
        return samples / 32768, int(rate_hz)

    return speak


if __name__ == "__main__":
    speaking.one_thread()
    speaking.main(speaking.Program("pyopenjtalk-plus 0.4.1.post10 mei", "ja", lambda _: "mei", load), __doc__)
