"""The runner of ONNX Runtime: the network becomes a graph when it is first needed, and runs in the CPU's threads."""

from __future__ import annotations

import torch
from torch import nn

from spoofcheck.detect.cpurunner import CpuRunner
from spoofcheck.errors import UsageError
from spoofcheck.nets.onnx import OnnxNetwork, check_extra, onnx_graph
from spoofcheck.nets.precision import Precision


class OnnxRunner(CpuRunner):
    """Runs windows through ONNX Runtime, in float32; else as `CpuRunner`.

    Args:
        graph: the network.
        threads: as for `CpuRunner`.
    """

    runtime = "onnx"

    def __init__(self, graph: bytes, threads: int | None = None) -> None:
        super().__init__(OnnxNetwork(graph), torch.float32, threads)


def onnx_runner(program: nn.Module, device: torch.device, precision: Precision) -> OnnxRunner:
    """The runner for a program, whose graph is made here and now: a second or two, and no file that could be stale.

    Args:
        program: left as it is.
        device: must be the CPU.
        precision: must allow float32.

    Raises:
        UsageError: another device or precision, or the extra is not installed.
        ModelError: no graph can be made of the program.
    """
    if device.type != "cpu":
        raise UsageError(f"--runtime onnx: on the CPU only, not on {device}; leave --device out")
    if precision == "bf16":
        raise UsageError("--runtime onnx: computes in float32 only; leave --precision out")
    check_extra("--runtime onnx")
    return OnnxRunner(onnx_graph(program.eval()))
