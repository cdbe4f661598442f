"""The network in int8 by ONNX Runtime, for `bench.precision` alone: no scan uses it, because of what it found."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from torch import nn

from spoofcheck.nets.onnx import INPUT, onnx_graph

PERCENTILE = 99.999
"""Of the calibration windows' activations: the best of those tried, with the extremes and 99.99."""


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, windows: Iterable[NDArray[np.float32]]) -> None:
        self._windows = iter(windows)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        window = next(self._windows, None)
        return None if window is None else {INPUT: window[None]}


def quantised_graph(program: nn.Module, calibration: Iterable[NDArray[np.float32]], layers: Iterable[int]) -> bytes:
    """The program's graph with convolutions in int8: weights per channel, activations calibrated.

    Args:
        program: as for `onnx_graph`.
        calibration: windows, float32 `[samples]`.
        layers: which of the stem's convolutions, from 0, with the activations behind them; the first convolution in
            the graph is the transform, and stays.
    """
    with tempfile.TemporaryDirectory(prefix="spoofcheck-bench-") as name, redirect_stdout(StringIO()):
        exact, reduced = Path(name) / "exact.onnx", Path(name) / "reduced.onnx"
        exact.write_bytes(onnx_graph(program))
        graph = onnx.load(exact).graph
        convolutions = [node.name for node in graph.node if node.op_type == "Conv"]
        activations = [node.name for node in graph.node if node.op_type == "LeakyRelu"]
        kept = {name for layer in layers for name in (convolutions[1 + layer], activations[layer])}
        quantize_static(
            exact, reduced, _Reader(calibration), quant_format=QuantFormat.QDQ, per_channel=True,
            op_types_to_quantize=["Conv", "LeakyRelu"], activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.Percentile,
            nodes_to_exclude=[node for node in (*convolutions, *activations) if node not in kept],
            extra_options={"CalibPercentile": PERCENTILE},
        )  # fmt: skip
        return reduced.read_bytes()
