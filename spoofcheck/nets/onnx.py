"""Networks as ONNX graphs, and ONNX graphs at work. Needs the extra `onnx`.

A graph takes `waveform`, float32 `[windows, samples]` at 16 kHz, and gives what the network gives, by the same names.
The convolutional stem's spectrum becomes a convolution with the transform's own rows: ONNX Runtime's transform is slow,
and the rest of the graph is the network as it is.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spoofcheck.errors import ModelError, UsageError
from spoofcheck.nets.precision import with_stems
from spoofcheck.nets.stem import SpectralStem, peak_normalise, scaled_spectrum

OPSET = 17
INPUT = "waveform"
MAX_DIFFERENCE = 1e-3
"""Between ONNX Runtime and torch in any output; as scores computed on another machine may differ."""
_NOISE_LEVELS = (1e-4, 1e-2, 0.3)
_NO_GRAPH = {
    "Ensemble": "it is an ensemble; its members can be taken one by one, where they have a graph",
    "VoiceStatistics": "librosa computes its voice statistics",
    "VoiceFeatures": "librosa and Praat compute its voice features",
    "MelSpectrogram": "ONNX has no transform for its mel spectrogram",
    "WhisperFeatures": "ONNX has no transform for its mel spectrogram",
}
"""Networks and front-ends by the names of their classes: that of Whisper takes seconds to import."""
_EXAMPLE_SAMPLES = 64_000
_MISSING = "needs the packages onnx and onnxruntime: pip install 'spoofcheck[onnx]'"


def check_extra(what: str) -> None:
    """Find out before the work whether the extra is installed.

    Args:
        what: needs it, as the user would call it.

    Raises:
        UsageError: it is not.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise UsageError(f"{what} {_MISSING}") from error


def onnx_graph(program: nn.Module, metadata: Mapping[str, str] | None = None) -> bytes:
    """A network as an ONNX file.

    Any number of windows and samples may be given to it; parity is to be looked at with the model's own window.

    Args:
        program: waveforms `[B, N]` to tensors by name, in eval mode; left as it is.
        metadata: kept in the file.

    Raises:
        UsageError: the extra is not installed.
        ModelError: no graph can be made of it, or one that differs from it on noise by more than `MAX_DIFFERENCE`.
    """
    check_extra("an ONNX graph")
    import onnx

    for module in program.modules():
        what = _NO_GRAPH.get(type(module).__name__)
        if what is not None:
            raise ModelError(f"no ONNX graph can be made of this model: {what}")
    named = _Named(with_stems(program, _ConvolvedStem)).eval()
    example = torch.zeros(1, _EXAMPLE_SAMPLES)
    with torch.inference_mode():
        names = list(named.program(example))
    buffer = io.BytesIO()
    try:
        # torch's newer exporter takes ten times as long and a package more; it gives the same graph.
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                named, (example,), cast(Any, buffer), dynamo=False, opset_version=OPSET, input_names=[INPUT],
                output_names=names,
                dynamic_axes={INPUT: {0: "windows", 1: "samples"}, **{name: {0: "windows"} for name in names}},
            )  # fmt: skip
    except Exception as error:
        # Whatever the exporter raises, it is about what this network is made of.
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise ModelError(f"no ONNX graph can be made of this model: {reason}") from error
    graph = onnx.load_from_string(buffer.getvalue())
    onnx.helper.set_model_props(graph, dict(metadata or {}))
    data = bytes(graph.SerializeToString())
    _check(data, program)
    return data


def _check(graph: bytes, program: nn.Module) -> None:
    """Whether a graph computes what the program does: an exporter takes what it cannot see for a constant."""
    network = OnnxNetwork(graph)
    random = torch.Generator().manual_seed(0)
    for level in _NOISE_LEVELS:
        waveform = level * torch.randn(1, _EXAMPLE_SAMPLES, generator=random)
        with torch.inference_mode():
            expected: dict[str, Tensor] = program(waveform)
        for name, value in largest_difference(network(waveform), expected).items():
            if not value <= MAX_DIFFERENCE:
                raise ModelError(f"no ONNX graph can be made of this model: its {name} would differ by {value:.2g}")


class OnnxNetwork:
    """An ONNX graph in ONNX Runtime on one thread of the CPU; several threads may call it at once.

    Args:
        graph: the file's bytes.

    Raises:
        UsageError: the extra is not installed.
        ModelError: ONNX Runtime cannot run it.
    """

    def __init__(self, graph: bytes) -> None:
        check_extra("an ONNX graph")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no public base
            raise ModelError(f"ONNX Runtime cannot run this graph: {str(error).strip()[:200]}") from error
        self.names = [output.name for output in self._session.get_outputs()]

    def __call__(self, waveforms: Tensor) -> dict[str, Tensor]:
        """Shape: float32 `[B, N]` -> what the network gives, by name."""
        values = self._session.run(self.names, {INPUT: waveforms.numpy()})
        return {name: torch.from_numpy(value) for name, value in zip(self.names, values, strict=True)}


def largest_difference(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, float]:
    """The largest absolute difference of two sets of outputs, by name.

    Raises:
        ValueError: they are not the same outputs.
    """
    if ours.keys() != theirs.keys():
        raise ValueError(f"outputs {sorted(ours)} are not {sorted(theirs)}")
    return {name: float((value.double() - theirs[name].double()).abs().max()) for name, value in ours.items()}


class _Named(nn.Module):
    """The program's tensors in their order: a graph's outputs have names of their own."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, waveforms: Tensor) -> tuple[Tensor, ...]:
        outputs: dict[str, Tensor] = self.program(waveforms)
        return tuple(outputs.values())


class _ConvolvedStem(nn.Module):
    """`SpectralStem` with its transform as a convolution. Shape: as `SpectralStem`."""

    rows: Tensor

    def __init__(self, stem: SpectralStem) -> None:
        super().__init__()
        self.cnn = stem.cnn
        self.hop_samples = stem.hop_samples
        self.compression = stem.compression
        self.pad = (stem.fft_samples - stem.hop_samples) // 2
        samples = torch.arange(stem.fft_samples, dtype=torch.float64)
        phase = samples[: stem.fft_samples // 2 + 1, None] * samples * (2 * torch.pi / stem.fft_samples)
        rows = torch.cat((phase.cos(), -phase.sin())) * stem.window.double().cpu()
        self.register_buffer("rows", rows.float().unsqueeze(1))

    def forward(self, waveform: Tensor) -> Tensor:
        padded = F.pad(peak_normalise(waveform).unsqueeze(1), (self.pad, self.pad), mode="reflect")
        spectrum = F.conv1d(padded, self.rows, stride=self.hop_samples)
        parts = spectrum.reshape(spectrum.shape[0], 2, -1, spectrum.shape[2])
        return cast(Tensor, self.cnn(scaled_spectrum(parts, self.compression)).flatten(1, 2))
