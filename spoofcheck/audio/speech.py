"""Where somebody speaks: the silero-vad network that the `silero-vad` package ships, over a stream of samples.

silero-vad's own wrapper goes chunk by chunk through TorchScript and keeps its state inside the model: 90
times real time, and one model per thread. Only the LSTM needs what came before, so `SileroNetwork` runs
everything else over many chunks at once: the same weights, the same decisions (tests compare them with the
wrapper's), over ten times as fast, and stateless, so that all threads share it.
"""

from __future__ import annotations

import threading
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController
from torch import Tensor, nn

from spoofcheck.errors import ModelError
from spoofcheck.types import samples_to_seconds

CHUNK_SAMPLES = 512
"""The network gives one probability for every 32 ms."""

SPEECH_PROBABILITY = 0.5
"""From here on a chunk is speech; silero-vad's own default."""

_CONTEXT_SAMPLES = 64
_STATE_SIZE = 128
_BATCH_CHUNKS = 64
"""Always this many chunks at once, the last ones padded: results then cannot depend on how a stream was cut."""


def speech_seconds(chunk_is_speech: NDArray[np.bool_], start_sample: int, end_sample: int) -> float:
    """Seconds of `[start_sample, end_sample)` that lie in speech chunks.

    Args:
        chunk_is_speech: bool `[chunks]`, chunk `i` being the samples `[512 i, 512 (i + 1))`.
        start_sample: first sample, at 16 kHz.
        end_sample: one past the last.
    """
    first = start_sample // CHUNK_SAMPLES
    speech = first + np.flatnonzero(chunk_is_speech[first : -(-end_sample // CHUNK_SAMPLES)])
    starts = np.maximum(speech * CHUNK_SAMPLES, start_sample)
    ends = np.minimum((speech + 1) * CHUNK_SAMPLES, end_sample)
    return samples_to_seconds(int((ends - starts).sum()))


class SileroNetwork(nn.Module):
    """silero-vad's 16 kHz network: STFT magnitudes, four convolutions, an LSTM, one probability a chunk."""

    def __init__(self) -> None:
        super().__init__()
        self.stft = nn.Conv1d(1, 258, 256, stride=128, bias=False)
        self.encoder = nn.ModuleList(
            (
                nn.Conv1d(129, 128, 3, padding=1),
                nn.Conv1d(128, 64, 3, padding=1, stride=2),
                nn.Conv1d(64, 64, 3, padding=1, stride=2),
                nn.Conv1d(64, 128, 3, padding=1),
            )
        )
        self.lstm = nn.LSTM(128, _STATE_SIZE)
        self.output = nn.Conv1d(_STATE_SIZE, 1, 1)

    def forward(self, chunks: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Speech probabilities of consecutive chunks.

        Shape:
            chunks `[n, 64 + 512]` (every chunk behind the last 64 samples of the one before), state two
            `[1, 1, 128]`; returns `[n]` in 0..1 and the state after the last chunk.
        """
        spectrum = self.stft(F.pad(chunks.unsqueeze(1), (0, 64), mode="reflect"))
        features = (spectrum[:, :129].square() + spectrum[:, 129:].square()).sqrt()
        for convolution in self.encoder:
            features = F.relu(convolution(features))
        hidden, state = self.lstm(features.movedim(2, 1), state)
        return torch.sigmoid(self.output(F.relu(hidden.movedim(1, 2)))).flatten(), state


_OPENMP = ThreadpoolController().select(user_api="openmp")
"""Limits the calling thread alone, as `torch.set_num_threads` would not: the network is too small to be worth two
threads (they took twice the time of one), and readers must not take the cores from the detector."""

_network: SileroNetwork | None = None
_network_lock = threading.Lock()


def speech_network() -> SileroNetwork:
    """The network with the installed package's weights, loaded once and shared by all threads.

    The `silero_vad` package is located but not imported: its import would set torch to one thread for the
    whole process.

    Raises:
        ModelError: the package, its weights, or the shapes we know are missing.
    """
    global _network
    with _network_lock:
        if _network is None:
            _network = _load(_weights_path())
        return _network


class SpeechMeter:
    """Speech probabilities of one channel, from samples as they come. One meter a channel and thread.

    Probabilities come in batches of 64 chunks (2 s); the last chunk is padded with zeros.
    """

    def __init__(self) -> None:
        self._network = speech_network()
        self._state = (torch.zeros(1, 1, _STATE_SIZE), torch.zeros(1, 1, _STATE_SIZE))
        self._held = np.zeros(_CONTEXT_SAMPLES, np.float32)

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The probabilities that became known.

        Shape:
            input `[n]` at 16 kHz, any n; output `[chunks]`, a multiple of 64.
        """
        self._held = np.concatenate((self._held, samples))
        batch_samples = _BATCH_CHUNKS * CHUNK_SAMPLES
        batches = []
        while len(self._held) >= _CONTEXT_SAMPLES + batch_samples:
            batches.append(self._probabilities(self._held[: _CONTEXT_SAMPLES + batch_samples]))
            self._held = self._held[batch_samples:]
        self._held = self._held.copy()
        return np.concatenate(batches) if batches else np.zeros(0, np.float32)

    def finish(self) -> NDArray[np.float32]:
        """The rest of the probabilities: one for every chunk begun."""
        n_samples = len(self._held) - _CONTEXT_SAMPLES
        if n_samples == 0:
            return np.zeros(0, np.float32)
        missing = _BATCH_CHUNKS * CHUNK_SAMPLES - n_samples
        padded = np.concatenate((self._held, np.zeros(missing, np.float32)))
        return self._probabilities(padded)[: -(-n_samples // CHUNK_SAMPLES)]

    def _probabilities(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        chunks = torch.from_numpy(samples).unfold(0, _CONTEXT_SAMPLES + CHUNK_SAMPLES, CHUNK_SAMPLES)
        with _OPENMP.limit(limits=1), torch.inference_mode():
            probabilities, self._state = self._network(chunks, self._state)
        return np.asarray(probabilities.numpy(), np.float32)


def _weights_path() -> Path:
    package = find_spec("silero_vad")
    folders = package.submodule_search_locations if package is not None else None
    if not folders:
        raise ModelError("silero-vad is not installed: pip install 'silero-vad>=6.2'")
    return Path(folders[0]) / "data" / "silero_vad.jit"


def _load(path: Path) -> SileroNetwork:
    names = {"stft.weight": "stft.forward_basis_buffer"}
    for layer in range(4):
        for part in ("weight", "bias"):
            names[f"encoder.{layer}.{part}"] = f"encoder.{layer}.reparam_conv.{part}"
    for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        names[f"lstm.{part}_l0"] = f"decoder.rnn.{part}"
    for part in ("weight", "bias"):
        names[f"output.{part}"] = f"decoder.decoder.2.{part}"
    network = SileroNetwork()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # silero-vad ships TorchScript only
            scripted = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
        shipped = scripted.state_dict()
        weights = {ours: shipped[f"_model.{theirs}"] for ours, theirs in names.items()}
        network.load_state_dict(weights, strict=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"{path}: not the silero-vad weights this version knows: {error}") from error
    return network.eval().requires_grad_(False)
