from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spoofcheck.audio import speech
from spoofcheck.audio.speech import CHUNK_SAMPLES, SpeechMeter, speech_seconds
from spoofcheck.errors import ModelError
from tests.support.audio import human_speech, noise

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's, of TorchScript


def probabilities(samples: NDArray[np.float32], cuts: tuple[int, ...] = ()) -> NDArray[np.float32]:
    meter = SpeechMeter()
    parts = [meter.push(part) for part in np.split(samples, cuts)]
    return np.concatenate([*parts, meter.finish()])


@cache
def difficult() -> NDArray[np.float32]:
    """Speech, speech in noise, faint speech, noise, silence: many probabilities lie near one half."""
    clean = human_speech()[:80_000]
    in_noise = clean + noise(len(clean), 0.05)[:, 0]
    end = clean[: CHUNK_SAMPLES + 77]
    return np.concatenate((clean, in_noise, 0.003 * clean, in_noise[:50_000] * 0.1, np.zeros(20_000, np.float32), end))


@cache
def by_silero() -> NDArray[np.float32]:
    """The probabilities of the silero-vad package's own wrapper, chunk by chunk."""
    threads = torch.get_num_threads()
    from silero_vad import load_silero_vad

    torch.set_num_threads(threads)
    model = load_silero_vad()
    samples = difficult()
    padded = torch.from_numpy(np.pad(samples, (0, -len(samples) % CHUNK_SAMPLES)))
    with torch.inference_mode():
        return np.array([model(chunk, 16_000).item() for chunk in padded.split(CHUNK_SAMPLES)], np.float32)


def test_same_decisions_as_the_package() -> None:
    ours = probabilities(difficult())
    assert len(ours) == len(by_silero())
    assert np.abs(ours - by_silero()).max() < 1e-4
    assert np.array_equal(ours >= 0.5, by_silero() >= 0.5)
    assert 50 < np.count_nonzero(ours >= 0.5) < len(ours) - 50, "a test without both kinds shows nothing"


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 120_000), max_size=6).map(sorted))
def test_blocks_do_not_matter(cuts: list[int]) -> None:
    samples = human_speech()[:120_000]
    assert np.array_equal(probabilities(samples, tuple(cuts)), probabilities(samples))


def test_threads_share_the_network_and_nothing_else() -> None:
    voices = [human_speech()[start : start + 60_000] for start in range(0, 80_000, 10_000)]
    alone = [probabilities(voice) for voice in voices]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(probabilities, voices))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("n_samples", [0, 1, 511, 512, 513, 64 * 512 - 1, 64 * 512, 64 * 512 + 1])
def test_one_probability_for_every_chunk_begun(n_samples: int) -> None:
    assert len(probabilities(human_speech()[:n_samples])) == -(-n_samples // CHUNK_SAMPLES)


def test_silence_and_noise_are_no_speech() -> None:
    assert not np.any(probabilities(np.zeros(32_000, np.float32)) >= 0.5)
    assert not np.any(probabilities(noise(32_000, 0.2)[:, 0]) >= 0.5)


def test_torch_keeps_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network takes one; whoever scores with torch beside it, or afterwards, has all the others."""
    inside = []

    def spy(self: speech.SileroNetwork, *arguments: torch.Tensor) -> object:
        inside.append(torch.get_num_threads())
        return real(self, *arguments)

    real = speech.SileroNetwork.forward
    monkeypatch.setattr(speech.SileroNetwork, "forward", spy)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        speech._load(speech._weights_path())
        probabilities(np.zeros(600, np.float32))
        assert inside == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_weights_that_are_not_ours(tmp_path: Path) -> None:
    scripted = torch.jit.script(torch.nn.Linear(2, 2))
    torch.jit.save(scripted, tmp_path / "other.jit")
    with pytest.raises(ModelError, match="silero-vad weights"):
        speech._load(tmp_path / "other.jit")


@pytest.mark.parametrize(
    ("start", "end", "seconds"),
    [
        (0, 4 * 512, 3 * 0.032),
        (0, 512, 0.032),
        (256, 512, 0.016),
        (511, 513, 1 / 16_000),
        (512, 1024, 0.0),
        (1023, 1025, 1 / 16_000),
        (1500, 1600, 100 / 16_000),
        (0, 10 * 512, 3 * 0.032),
        (100, 100, 0.0),
    ],
)
def test_speech_seconds(start: int, end: int, seconds: float) -> None:
    assert speech_seconds(np.array([True, False, True, True]), start, end) == pytest.approx(seconds, abs=1e-12)


@given(st.lists(st.booleans(), max_size=12), st.integers(0, 6_500), st.integers(0, 6_500))
def test_speech_seconds_counts_samples(is_speech: list[bool], a: int, b: int) -> None:
    start, end = sorted((a, b))
    per_sample = np.repeat(np.array(is_speech, bool), CHUNK_SAMPLES)[start:end]
    assert speech_seconds(np.array(is_speech, bool), start, end) == per_sample.sum() / 16_000
