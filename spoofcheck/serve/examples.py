"""Answers as the API's description shows them: shortened, and whole enough to be read by the models they are of."""

from __future__ import annotations

from typing import Any, Final

from spoofcheck.schema import SCHEMA_VERSION

_MODEL: Final = {
    "name": "compact-detector",
    "version": "2.0.0",
    "architecture": "spectral-stem + statistics-readout",
    "weights_sha256": "d0fee927458fec2e915fdf9835eb424fa369ccf10a975b524b35324cc6aaf136",
    "config_sha256": "d614399d05f8cb3ae8d8c818e1657db2a5ecf365d17d7207a519e2171b3e76fc",
    "licence": "Apache-2.0",
    "training_data": "Human speech and synthetic speech, named in the model card.",
    "calibration": {
        "method": "logistic",
        "data": "dev split",
        "bonafide_trials": 987,
        "spoof_trials": 604,
        "llr_bound": 6.41,
    },
    "limitations": ["Validated on recordings with an SNR of 15 dB and more."],
}

SCAN_DOCUMENT: Final[dict[str, Any]] = {
    "schema_version": SCHEMA_VERSION,
    "tool": {
        "name": "spoofcheck",
        "version": "0.1.0",
        "git_commit": None,
        "command_line": [],
        "python": "3.11.7",
        "platform": "Linux-6.18.44-x86_64-with-glibc2.36",
        "libraries": {"torch": "2.11.0"},
    },
    "run": {
        "started_at": "2026-11-21T20:40:03+00:00",
        "finished_at": "2026-11-21T20:40:04+00:00",
        "elapsed_s": 1.2,
        "host": "lab",
        "complete": True,
    },
    "model": _MODEL,
    "options": {
        "window_s": 4.0,
        "hop_s": 4.0,
        "channels": "auto",
        "vad": True,
        "min_window_speech_s": 0.5,
        "min_exhibit_speech_s": 2.0,
        "spoof_threshold_llr": 0.9,
        "bonafide_threshold_llr": -0.65,
        "window_threshold_llr": 0.85,
        "partial_min_windows": 2,
        "partial_threshold_llr": 1.15,
        "device": "cpu",
        "dtype": "bfloat16",
    },
    "findings": [
        {
            "path": "voicemail.mp3",
            "channel": None,
            "sha256": "d5899525b0d369261e0a879d2b583fb25241dd65a6305371174f0ce20b9c6cb8",
            "duration_s": 20.25,
            "speech_s": 16.096,
            "verdict": "spoof",
            "spoof_llr": 1.65,
            "raw_score": 2.86,
            "reasons": [
                {
                    "code": "above-spoof-threshold",
                    "message": "Pooled LLR +1.65 is at or above the spoof threshold +0.90.",
                }
            ],
        }
    ],
}

MODEL_LIST: Final[dict[str, Any]] = {
    "models": [{"name": _MODEL["name"], "version": _MODEL["version"], "default": True, "info": _MODEL}]
}

_TOLD: Final = {
    "classification": "AI_GENERATED",
    "confidenceScore": 0.8391,
    "explanation": "The network's log-likelihood ratio is +1.65, weak support for synthetic speech (H1) rather than "
    "live human speech (H2): the findings are about 5.2 times more probable under the first.",
    "verdict": "spoof",
    "inconclusive": False,
    "spoofLlr": 1.65,
    "priorSynthetic": 0.5,
    "caution": "The score weighs two propositions by the signal alone; it is no statement of origin.",
    "durationS": 20.25,
    "speechS": 16.096,
    "windows": {
        "count": 6,
        "scored": 6,
        "flagged": 4,
        "strongest": {"startS": 12.0, "endS": 20.25, "spoofLlr": 1.84},
        "stretches": [{"startS": 12.0, "endS": 20.25, "spoofLlr": 1.84}],
    },
    "features": [
        {
            "name": "jitter",
            "label": "Jitter",
            "value": 1.98,
            "unit": "%",
            "humanPercentile": 37.0,
            "syntheticPercentile": 49.0,
        }
    ],
    "model": "compact-detector 2.0.0",
}

VOICE_DETECTION: Final[dict[str, Any]] = {"status": "success", "language": "English", **_TOLD}

PREDICTION: Final[dict[str, Any]] = {
    "status": "success",
    "text": "\N{LARGE RED CIRCLE} Deepfake detected!\nConfidence: 83.91%",
    **_TOLD,
    "scan": SCAN_DOCUMENT,
}
