"""A tracer at work on recordings that were judged: one pass or two, channels, files that change, bad output."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from spoofcheck.audio.recording import read_windows
from spoofcheck.detect.exhibittracer import ExhibitTracer, Heard, RunningMean, shipped_twin
from spoofcheck.detect.gallery import unit
from spoofcheck.detect.scorer import TracerScorer, WindowScorer, fitted
from spoofcheck.detect.tracing import Trace, judge_source
from spoofcheck.errors import InputError
from spoofcheck.nets.bundle import Bundle, TracerBundle, load_bundle, load_tracer
from spoofcheck.nets.index import write_index
from spoofcheck.nets.sharing import shares_front_end
from spoofcheck.types import AudioFile, RecordingSummary, Window
from tests.support.enrolling import RATE_HZ, embedding_tracer, twin_detector


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracer with prototypes, and a detector with its front-end."""
    folder = tmp_path_factory.mktemp("models")
    embedding_tracer(folder / "tracer")
    twin_detector(folder / "detector", folder / "tracer")
    return folder


@pytest.fixture
def detector(folder: Path) -> Bundle:
    return load_bundle(folder / "detector")


@pytest.fixture
def tracer(folder: Path) -> TracerBundle:
    return load_tracer(folder / "tracer")


class Recording:
    """A recording of noise on disk and how it is read."""

    def __init__(self, path: Path, seconds: float = 6.0, channels: int = 1) -> None:
        rng = np.random.default_rng(1)
        frames = round(seconds * RATE_HZ)
        levels = np.repeat(np.geomspace(0.01, 0.3, 7), frames // 7 + 1)[:frames]
        samples = rng.normal(size=(frames, channels)) * levels[:, None]
        soundfile.write(path, samples, RATE_HZ, subtype="FLOAT")
        self.path = path
        self.opened = 0

    def items(self, *_: RecordingSummary) -> Generator[AudioFile | Window | RecordingSummary]:
        self.opened += 1
        yield from read_windows(
            self.path, window_samples=RATE_HZ, hop_samples=RATE_HZ // 2, channels="each", vad=False,
            min_window_speech_s=0,
        )  # fmt: skip

    def read(self) -> tuple[list[Window], RecordingSummary]:
        items = list(self.items())
        self.opened = 0
        summary = items[-1]
        assert isinstance(summary, RecordingSummary)
        return [item for item in items if isinstance(item, Window)], summary


def heard_by(scorer: WindowScorer, windows: list[Window]) -> Heard:
    channels = sorted({window.channel for window in windows}, key=lambda channel: channel or 0)
    return {c: list(scorer.score([w.samples for w in windows if w.channel == c])) for c in channels}  # type: ignore[misc]


def test_one_pass_and_two_give_the_same_trace(
    detector: Bundle, tracer: TracerBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ExhibitTracer, "_tested", lambda _, trace, *__: trace)
    recording = Recording(tmp_path / "a.wav", channels=2)
    windows, summary = recording.read()
    wanted = {0: frozenset({0, 2, 5}), 1: frozenset({1})}
    shared = ExhibitTracer(detector, tracer, device="cpu")
    assert shared.shared_head is not None
    heard = heard_by(WindowScorer(detector, "cpu", None, shared.shared_head), windows)
    one_pass = shared.traces(summary, wanted, heard, recording.items)
    assert recording.opened == 0

    other = load_tracer(tracer.directory)
    stranger = replace(detector, config=detector.config.model_copy(update={"window_samples": 64_000}))
    apart = ExhibitTracer(stranger, other, device="cpu", batch_windows=2)
    assert apart.shared_head is None
    two_passes = apart.traces(summary, wanted, {}, recording.items)
    assert recording.opened == 1
    assert two_passes == one_pass
    assert one_pass[0] != one_pass[1]
    embedded = TracerScorer(other, "cpu").trace([w.samples for w in windows if w.channel == 0 and w.index in {0, 2, 5}])
    expected = unit(np.mean([row.embedding for row in embedded], axis=0, dtype=np.float64))
    assert one_pass[0].info.embedding == pytest.approx(expected, abs=1e-6)
    assert one_pass[0].info.windows == 3


def test_a_front_end_is_shared_only_when_every_bit_is(detector: Bundle, tracer: TracerBundle) -> None:
    assert shares_front_end(detector, tracer)
    longer = tracer.config.model_copy(update={"window_samples": RATE_HZ + 1})
    assert not shares_front_end(detector, replace(tracer, config=longer))
    with torch.no_grad():
        bias = dict(detector.network.front_end.named_parameters())["cnn.0.bias"]
        bias[0] = torch.nextafter(bias[0], torch.tensor(10.0))
    assert not shares_front_end(detector, tracer)


def test_the_shipped_tracer_serves_detectors_with_its_front_end_alone(
    detector: Bundle, folder: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_index(folder)
    monkeypatch.setattr("spoofcheck.nets.index.models_dir", lambda: folder)
    twin = shipped_twin(detector)
    assert twin is not None
    assert twin.config.name == "tracer"
    assert shipped_twin(load_bundle(tiny_model)) is None
    other = load_bundle(twin_detector(tmp_path / "other", embedding_tracer(tmp_path / "tracer", seed=1)))
    assert shipped_twin(other) is None, "the same configuration with other weights"


@pytest.mark.parametrize(("length", "wanted"), [(5, [0, 1, 2, 3, 4]), (3, [0, 1, 2]), (8, [0, 1, 2, 3, 4, 0, 1, 2])])
def test_windows_of_another_length_are_cut_or_repeated(length: int, wanted: list[int]) -> None:
    assert fitted(np.arange(5, dtype=np.float32), length).tolist() == wanted


@pytest.fixture
def published(detector: Bundle, tiny_tracer_model: Path) -> ExhibitTracer:
    """A tracer without prototypes, with windows of four seconds."""
    return ExhibitTracer(detector, load_tracer(tiny_tracer_model), device="cpu", batch_windows=3)


def test_without_prototypes_the_mean_softmax_decides(published: ExhibitTracer, tmp_path: Path) -> None:
    recording = Recording(tmp_path / "a.wav", channels=2)
    windows, summary = recording.read()
    wanted = {0: frozenset({0, 2, 5}), 1: frozenset({1}), 2: frozenset[int]()}
    traces = published.traces(summary, wanted, {}, recording.items)
    assert set(traces) == {0, 1}
    assert recording.opened == 1
    scorer = TracerScorer(published.bundle, "cpu")
    for channel in (0, 1):
        chosen = [w.samples for w in windows if w.channel == channel and w.index in wanted[channel]]
        traced = scorer.trace([fitted(samples, 64_000) for samples in chosen if samples is not None])
        similarities = np.mean([row.probabilities for row in traced], axis=0)
        expected = judge_source(similarities.tolist(), len(chosen), published.bundle.config)
        assert traces[channel].info == expected.info
        assert [s.similarity for s in traces[channel].sources] == pytest.approx(
            [s.similarity for s in expected.sources], abs=1e-12
        )
        assert {s.llr for s in traces[channel].sources} == {None}
    assert traces[0] != traces[1]


def test_a_file_that_is_another_by_now_is_not_traced(published: ExhibitTracer, tmp_path: Path) -> None:
    recording = Recording(tmp_path / "a.wav")
    _, summary = recording.read()
    Recording(tmp_path / "a.wav", seconds=7)
    with pytest.raises(InputError) as caught:
        published.traces(summary, {0: {0}}, {}, recording.items)
    assert caught.value.code == "changed-while-reading"


def test_output_that_is_not_finite_is_not_pooled(
    published: ExhibitTracer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = Recording(tmp_path / "a.wav")
    _, summary = recording.read()
    network = published.bundle.network
    monkeypatch.setattr(network, "classify", lambda embedding: torch.full((len(embedding), 3), torch.nan))
    with pytest.raises(InputError) as caught:
        published.traces(summary, {0: {0}}, {}, recording.items)
    assert caught.value.code == "score-not-finite"


def test_a_known_source_is_tested_for_the_channel_and_an_unknown_one_is_not(
    detector: Bundle, tracer: TracerBundle, tmp_path: Path
) -> None:
    recording = Recording(tmp_path / "a.wav")
    windows, summary = recording.read()

    def traced(threshold: float) -> Trace:
        open_set = tracer.config.open_set.model_copy(update={"threshold": threshold})
        config = tracer.config.model_copy(update={"open_set": open_set})
        exhibits = ExhibitTracer(detector, replace(tracer, config=config), device="cpu")
        heard = heard_by(WindowScorer(detector, "cpu", None, exhibits.shared_head), windows)
        (trace,) = exhibits.traces(summary, {windows[0].channel: {0, 1, 2}}, heard, recording.items).values()
        return trace

    assert traced(1.0).info.decision == "unknown"
    assert traced(1.0).info.channel_test is None
    assert recording.opened == 0
    known = traced(-1.0)
    assert recording.opened == 1
    assert known.info.channel_test is not None
    # Noise is no speech: all of it is residue, and with this threshold some source is always close enough.
    assert known.info.channel_test.residue_decision is not None
    is_failed = bool(known.info.channel_test.failed)
    assert all((source.llr is None) == is_failed for source in known.sources)


def test_a_mean_is_that_of_its_rows_or_nothing() -> None:
    pool = RunningMean()
    assert pool.mean() is None
    pool.add(np.array([1.0, 2.0], np.float32))
    pool.add(np.array([3.0, 6.0], np.float32))
    mean = pool.mean()
    assert mean is not None
    assert mean.tolist() == [2.0, 4.0]
    pool.add(np.array([np.nan, 0.0], np.float32))
    assert pool.mean() is None
