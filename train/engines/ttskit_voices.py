"""Speak Mandarin sentences with ttskit's networks: Mellotron (a Tacotron 2 of many speakers) and MelGAN.

Package: ttskit 0.3.8 (MIT; what it was trained on is not stated), unpacked with `pip install --no-deps --target`;
besides it torch and phkit 0.2.11 (MIT) for the reading of characters. A speaker's embedding is the MD5 of the
name; the 24 speakers of the training data take turns (other names give overdriven voices and sentences without an end).
The package itself is never imported, it would download; the weights are full pickles of torch and of the package's own
classes, so load no others than the package's. Tacotron's dropout stays on when it speaks; it is seeded for each
utterance, so a resumed run gives the same clips.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import speaking

MOST_S_PER_CHARACTER = 0.45
SPEAKERS = (
    "Aibao", "Aicheng", "Aida", "Aijia", "Aijing", "Aimei", "Aina", "Aiqi", "Aitong", "Aiwei", "Aixia", "Aiya", "Aiyu",
    "Aiyue", "Siyue", "Xiaobei", "Xiaogang", "Xiaomei", "Xiaomeng", "Xiaowei", "Xiaoxue", "Xiaoyun", "Yina", "biaobei",
)  # fmt: skip


class _Anything:
    def __getattr__(self, name: str) -> _Anything:
        return self

    def __call__(self, *_arguments: object, **_named: object) -> _Anything:
        return self

    def __iter__(self) -> Iterator[object]:
        return iter(())


class _Absent(ModuleType):
    """Stands for a module that the pickled classes' own modules import and never use to speak."""

    __path__: list[str]

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__ = []

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything()


def loader(package: Path) -> speaking.Speak:
    sys.path.insert(0, str(package))
    for part in ("", "audio_spectrogram", "audio_griffinlim", "audio_io", "audio_normalizer", "audio_tuner",
                 "audio_editor", "audio_noise_remover", "audio_player"):  # fmt: skip
        name = f"aukit.{part}".rstrip(".")
        sys.modules[name] = _Absent(name)
    import numpy as np
    import torch
    from phkit.chinese import text_to_sequence

    torch.set_num_threads(1)
    models = package / "resource" / "model"
    acoustic, vocoder = (
        torch.load(models / name, map_location="cpu", weights_only=False)
        for name in ("mellotron.kuangdd-mspk.pt", "melgan.kuangdd.pt")
    )
    acoustic.eval()
    vocoder.eval()
    for module in acoustic.modules():
        # Pickled before torch's LSTM had projections.
        if isinstance(module, torch.nn.LSTM) and not hasattr(module, "proj_size"):
            module.proj_size = 0
    rate_hz, hop = 22050, 256

    def speak(utterance: speaking.Utterance) -> tuple[object, int]:
        torch.manual_seed(utterance.seed)
        digits = [int(digit, 16) for digit in hashlib.md5(utterance.speaker.encode()).hexdigest()]
        voice = torch.tensor([[(digit - 7) / 10 for digit in digits]])
        ids = torch.tensor([text_to_sequence(utterance.text.words, cleaner_names="hanzi")])
        with torch.no_grad():
            _, mel, gate, _ = acoustic.inference((ids, 0, voice, None))
            stops = (torch.sigmoid(gate).flatten() > 0.8).nonzero()
            end = int(stops[0]) if len(stops) else mel.shape[2]
            most_s = 1.0 + MOST_S_PER_CHARACTER * len(utterance.text.words)
            if not 0 < end * hop <= most_s * rate_hz:
                raise ValueError(f"found no end within {most_s:.1f} s")
            wave = vocoder.inference(mel[:, :, :end]).numpy()
        return np.asarray(wave, dtype=np.float32) / 32768, rate_hz

    return speak


def main() -> None:
    parser = speaking.arguments(__doc__)
    parser.add_argument("--package", type=Path, required=True, metavar="DIR", help="the unpacked ttskit folder")
    options = parser.parse_args()
    program = speaking.Program(
        "ttskit 0.3.8", "zh", lambda index: SPEAKERS[index % len(SPEAKERS)], lambda _: loader(options.package)
    )
    sys.exit(speaking.run(program, options.texts, options.out, count=options.count, seed=options.seed))


if __name__ == "__main__":
    speaking.one_thread()
    main()
