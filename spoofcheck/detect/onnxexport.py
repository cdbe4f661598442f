"""A model as an ONNX file that was compared with torch before anybody is given it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spoofcheck import __version__
from spoofcheck.audio.recording import read_windows
from spoofcheck.detect.controls import read_controls
from spoofcheck.detect.programs import HearingProgram, TracingProgram
from spoofcheck.detect.scorer import fitted
from spoofcheck.errors import ModelError
from spoofcheck.nets.bundle import Bundle, TracerBundle
from spoofcheck.nets.onnx import MAX_DIFFERENCE, OPSET, OnnxNetwork, largest_difference, onnx_graph
from spoofcheck.resources import controls_dir
from spoofcheck.types import SAMPLE_RATE_HZ, Window


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """An ONNX file and how it compares.

    Attributes:
        graph: the file's bytes.
        differences: the largest absolute difference to torch, by output; of a detector also of its raw score.
        windows: compared.
    """

    graph: bytes
    differences: dict[str, float]
    windows: int


def export_model(bundle: Bundle | TracerBundle) -> ExportedModel:
    """Make the file, and compare it with torch on the control recordings.

    Args:
        bundle: a detector, whose file gives `logits` and, with a gate, `distances`; or a tracer, whose file gives
            `embedding` and `logits`.

    Raises:
        UsageError: the extra `onnx` is not installed.
        ModelError: no graph can be made of it, or an output differs by more than `MAX_DIFFERENCE`.
    """
    program = HearingProgram(bundle.network) if isinstance(bundle, Bundle) else TracingProgram(bundle.network)
    program.eval()
    graph = onnx_graph(program, _metadata(bundle))
    network = OnnxNetwork(graph)
    differences: dict[str, float] = {}
    n_windows = 0
    for samples in _windows(bundle.config.window_samples):
        waveform = torch.tensor(samples).unsqueeze(0)
        with torch.inference_mode():
            expected = program(waveform)
        found = network(waveform)
        n_windows += 1
        of_window = largest_difference(found, expected)
        if isinstance(bundle, Bundle):
            scores = [float((each["logits"][0, 0] - each["logits"][0, 1]).double()) for each in (found, expected)]
            of_window["raw score"] = abs(scores[0] - scores[1])
        differences = {name: max(value, differences.get(name, 0.0)) for name, value in of_window.items()}
    beyond = [f"{name} by {value:.2g}" for name, value in differences.items() if not value <= MAX_DIFFERENCE]
    if beyond:
        raise ModelError(
            f"the ONNX graph of {bundle.config.name} differs from torch in {', '.join(beyond)}, more than "
            f"{MAX_DIFFERENCE:g}: nothing was written"
        )
    return ExportedModel(graph, differences, n_windows)


def _metadata(bundle: Bundle | TracerBundle) -> dict[str, str]:
    config = bundle.config
    labels = bundle.config.label_order if isinstance(bundle, Bundle) else bundle.config.classes
    return {
        "spoofcheck": __version__,
        "model": config.name,
        "version": config.version,
        "task": config.task,
        "weights_sha256": bundle.weights_sha256,
        "config_sha256": bundle.config_sha256,
        "licence": config.licence,
        "logits": json.dumps(labels),
        "opset": str(OPSET),
        "sample_rate_hz": str(SAMPLE_RATE_HZ),
        "window_samples": str(config.window_samples),
    }


def _windows(window_samples: int) -> Iterator[NDArray[np.float32]]:
    """Those of both controls; the graph was compared on noise when it was made."""
    folder: Path = controls_dir()
    for control in read_controls(folder):
        items = read_windows(
            folder / control.file,
            window_samples=window_samples,
            hop_samples=window_samples,
            channels="mix",
            vad=False,
            min_window_speech_s=0.0,
        )
        for item in items:
            if isinstance(item, Window) and item.samples is not None:
                yield fitted(item.samples, window_samples)
