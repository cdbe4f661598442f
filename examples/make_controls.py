"""Make the two control recordings that every scan can score: `python examples/make_controls.py`, from the checkout.

Both are 8 s of an example recording, as 16 kHz FLAC with 16 bits. They are 6 dB quieter than the examples, which no
score minds and which saves a bit of every sample. Writes reports/controls/*.flac and their list, controls.json.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from spoofcheck.audio.decode import decode_blocks
from spoofcheck.audio.probe import probe
from spoofcheck.types import SAMPLE_RATE_HZ

ROOT = Path(__file__).resolve().parent.parent
RECORDINGS = ROOT / "examples" / "recordings"
CONTROLS = ROOT / "reports" / "controls"
LENGTH_S = 8
GAIN = 0.5
CUTS = (
    ("control-human.flac", "bonafide", "address-1961.wav", 0),
    ("control-synthetic.flac", "spoof", "voicemail-accounts.mp3", 4),
)
"""Control, truth, example, and the second of it that the control starts at."""


def cut(example: str, start_s: int) -> NDArray[np.float32]:
    """The samples of a control, `[n]` at 16 kHz."""
    file = probe(RECORDINGS / example)
    samples = np.concatenate(list(decode_blocks(file)))[:, 0]
    if file.sample_rate_hz != SAMPLE_RATE_HZ:
        samples = soxr.resample(samples, file.sample_rate_hz, SAMPLE_RATE_HZ)
    taken = samples[start_s * SAMPLE_RATE_HZ : (start_s + LENGTH_S) * SAMPLE_RATE_HZ]
    return np.asarray(GAIN * taken, np.float32)


def main() -> None:
    CONTROLS.mkdir(parents=True, exist_ok=True)
    listed = []
    for name, truth, example, start_s in CUTS:
        path = CONTROLS / name
        soundfile.write(path, cut(example, start_s), SAMPLE_RATE_HZ, subtype="PCM_16", compression_level=1.0)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        listed.append({"file": name, "truth": truth, "sha256": digest})
    text = json.dumps({"controls": listed}, indent=2) + "\n"
    (CONTROLS / "controls.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
