"""The chain gives what it gave when compact-detector 1.1.0 was trained.

The values were taken from the implementation that model was trained with. A difference means that no model can be
rebuilt from its recipe any more: mend the code, not the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from spoofcheck.training.augment import AugmentRule, augment
from tests.support.audio import HUMAN_SPEECH

GOLDEN = json.loads((Path(__file__).parent / "augment_golden.json").read_text(encoding="utf-8"))
NOISES = np.stack([np.linspace(1, 0.1, 257), np.full(257, 0.5)]).astype(np.float32)
SHARED = {"noise_snr_db": [8.0, 35.0], "floor_db": [-75.0, -45.0], "lowest_band_hz": 3600}
RULES: dict[str, dict[str, Any]] = {
    "compact-detector": {
        "edge": 0.92, "clean": 0.6, "lossless_mp3": 0.55, "reverb": 0.2, "equaliser": 0.25, "noise": 0.4,
        "band_limit": 0.3, "codec": 0.5, "clip": 0.05, "mask": 0.25, **SHARED,
    },
    "often": {
        "edge": 0.5, "clean": 0.0, "lossless_mp3": 0.2, "reverb": 0.5, "equaliser": 0.5, "noise": 0.7,
        "band_limit": 0.5, "codec": 0.4, "clip": 0.5, "mask": 0.6, **SHARED,
    },
}  # fmt: skip
SAME_CODERS = GOLDEN["libsndfile"] == soundfile.__libsndfile_version__


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: f"{case['rule']}-{case['seed']}")
def test_the_chain_gives_what_it_gave(case: dict[str, Any]) -> None:
    if case["coded"] and not SAME_CODERS:
        pytest.skip(f"coders of libsndfile {GOLDEN['libsndfile']}, here {soundfile.__libsndfile_version__}")
    speech, _ = soundfile.read(HUMAN_SPEECH, dtype="float32")
    window = speech[case["start"] : case["start"] + 24_000]
    out = augment(window, case["lossy"], AugmentRule(**RULES[case["rule"]]), NOISES, case["seed"])
    assert out[1000::3000] == pytest.approx(case["samples"], abs=1e-6)
    block_rms = np.sqrt(np.mean(np.square(out.astype(np.float64)).reshape(12, 2000), axis=1))
    assert block_rms == pytest.approx(case["block_rms"], abs=1e-6)
