"""The open-set decision, and a tracer run over windows and recordings."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from spoofcheck.audio.recording import read_windows
from spoofcheck.detect.tracing import TracerScorer, fitted, judge_source, trace_recording, windows_to_trace
from spoofcheck.errors import InputError
from spoofcheck.nets.bundle import load_tracer
from spoofcheck.types import AudioFile, RecordingSummary, Window, WindowScore
from tests.support.models import tiny_tracer_config

WINDOW = 64_000


def scores(*llrs: float | None) -> list[WindowScore]:
    return [WindowScore(0, WINDOW, None, llr, llr, None if llr is not None else "no-speech") for llr in llrs]


def test_flagged_windows_are_traced_else_all_scored_ones() -> None:
    assert windows_to_trace(scores(0.5, None, 1.0, 3.0), 1.0) == {2, 3}
    assert windows_to_trace(scores(0.5, None, 0.9), 1.0) == {0, 2}
    assert windows_to_trace(scores(None), 1.0) == frozenset()
    assert windows_to_trace([], 1.0) == frozenset()


def test_a_source_is_named_at_the_threshold_and_unknown_below() -> None:
    config = tiny_tracer_config(classes=("a", "b", "c", "d"))
    known = judge_source([0.1, 0.5, 0.3, 0.1], 7, config)
    assert [(source.name, source.similarity) for source in known.sources] == [("b", 0.5), ("c", 0.3), ("a", 0.1)]
    assert (known.info.decision, known.info.windows, known.info.enrolled) == ("b", 7, 4)
    assert (
        known.info.rule
        == "unknown when the largest similarity (softmax, averaged over the traced windows) is below 0.5"
    )
    below = judge_source([0.1, np.nextafter(0.5, 0), 0.3, 0.1], 1, config)
    assert below.info.decision == "unknown"
    assert below.sources[0].name == "b"


def test_equal_similarities_stand_in_the_order_of_the_classes() -> None:
    trace = judge_source([0.5, 0.5], 1, tiny_tracer_config(classes=("z", "a")))
    assert [source.name for source in trace.sources] == ["z", "a"]
    assert trace.info.decision == "z"


def test_a_rounding_error_above_one_is_no_error() -> None:
    assert judge_source([1 + 1e-12, 0.0], 1, tiny_tracer_config(classes=("a", "b"))).sources[0].similarity == 1.0


@pytest.mark.parametrize(("length", "wanted"), [(5, [0, 1, 2, 3, 4]), (3, [0, 1, 2]), (8, [0, 1, 2, 3, 4, 0, 1, 2])])
def test_windows_of_another_length_are_cut_or_repeated(length: int, wanted: list[int]) -> None:
    assert fitted(np.arange(5, dtype=np.float32), length).tolist() == wanted


@pytest.fixture
def noises() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0, level, WINDOW).astype(np.float32) for level in (0.01, 0.02, 0.05, 0.1, 0.2)]


@pytest.mark.parametrize("batch_windows", [1, 2, 64])
def test_similarities_are_the_networks_softmax_whatever_the_batch(
    tiny_tracer_model: Path, noises: list[np.ndarray], batch_windows: int
) -> None:
    bundle = load_tracer(tiny_tracer_model)
    with torch.inference_mode():
        expected = bundle.network(torch.from_numpy(np.stack(noises))).softmax(dim=1).numpy()
        embeddings = bundle.network.embed(torch.from_numpy(np.stack(noises))).numpy()
    traced = TracerScorer(bundle, "cpu", batch_windows).trace(noises)
    assert np.stack([window.probabilities for window in traced]) == pytest.approx(expected, abs=1e-5)
    assert np.stack([window.embedding for window in traced]) == pytest.approx(embeddings, abs=1e-4)
    assert np.ptp(expected, axis=0).max() > 0.01, "windows must differ to be told apart"


class Recording:
    """A recording of noise on disk and how it is read."""

    def __init__(self, path: Path, seconds: float = 14.0, channels: int = 1) -> None:
        rng = np.random.default_rng(1)
        levels = np.repeat(np.geomspace(0.01, 0.3, 7), round(seconds * 16_000) // 7 + 1)[: round(seconds * 16_000)]
        samples = rng.normal(size=(len(levels), channels)) * levels[:, None]
        soundfile.write(path, samples, 16_000, subtype="FLOAT")
        self.path = path
        self.opened = 0

    def items(self, *_: RecordingSummary) -> Generator[AudioFile | Window | RecordingSummary]:
        self.opened += 1
        yield from read_windows(
            self.path, window_samples=WINDOW, hop_samples=WINDOW // 2, channels="each", vad=False, min_window_speech_s=0
        )

    def read(self) -> tuple[list[Window], RecordingSummary]:
        items = list(self.items())
        summary = items[-1]
        assert isinstance(summary, RecordingSummary)
        return [item for item in items if isinstance(item, Window)], summary


@pytest.mark.parametrize("batch_windows", [1, 3, 64])
def test_a_recording_is_traced_over_the_wanted_windows_of_each_channel(
    tiny_tracer_model: Path, tmp_path: Path, batch_windows: int
) -> None:
    recording = Recording(tmp_path / "a.wav", channels=2)
    windows, summary = recording.read()
    wanted = {0: frozenset({0, 2, 5}), 1: frozenset({1})}
    scorer = TracerScorer(load_tracer(tiny_tracer_model), "cpu", batch_windows)
    traces = trace_recording(scorer, summary, wanted, recording.items)
    for channel, indices in wanted.items():
        chosen = [w.samples for w in windows if w.channel == channel and w.index in indices]
        similarities = np.mean([traced.probabilities for traced in scorer.trace(chosen)], axis=0)
        expected = judge_source(similarities.tolist(), len(indices), scorer.bundle.config)
        assert traces[channel].info == expected.info
        assert [s.name for s in traces[channel].sources] == [s.name for s in expected.sources]
        assert [s.similarity for s in traces[channel].sources] == pytest.approx(
            [s.similarity for s in expected.sources], abs=1e-6
        )
    assert traces[0] != traces[1]


def test_channels_without_wanted_windows_are_not_traced(tiny_tracer_model: Path, tmp_path: Path) -> None:
    recording = Recording(tmp_path / "a.wav", channels=2)
    _, summary = recording.read()
    scorer = TracerScorer(load_tracer(tiny_tracer_model), "cpu")
    assert set(trace_recording(scorer, summary, {0: frozenset(), 1: frozenset({0})}, recording.items)) == {1}


def test_a_file_that_is_another_by_now_is_not_traced(tiny_tracer_model: Path, tmp_path: Path) -> None:
    recording = Recording(tmp_path / "a.wav")
    _, summary = recording.read()
    Recording(tmp_path / "a.wav", seconds=15)
    with pytest.raises(InputError) as caught:
        trace_recording(TracerScorer(load_tracer(tiny_tracer_model), "cpu"), summary, {0: {0}}, recording.items)
    assert caught.value.code == "changed-while-reading"


def test_output_that_is_not_finite_is_not_pooled(
    tiny_tracer_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = Recording(tmp_path / "a.wav")
    _, summary = recording.read()
    bundle = load_tracer(tiny_tracer_model)
    monkeypatch.setattr(bundle.network, "classify", lambda embedding: torch.full((len(embedding), 3), torch.nan))
    with pytest.raises(InputError) as caught:
        trace_recording(TracerScorer(bundle, "cpu"), summary, {0: {0}}, recording.items)
    assert caught.value.code == "score-not-finite"
