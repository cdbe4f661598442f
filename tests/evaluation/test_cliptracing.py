"""A tracer measured on clips: which windows, which truths, resuming, and what has no score."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spoofcheck.audio.recording import read_windows
from spoofcheck.detect.scorer import TracerScorer
from spoofcheck.detect.tracing import judge_embedding, known_sources
from spoofcheck.errors import UsageError
from spoofcheck.evaluation.clips import Clip
from spoofcheck.evaluation.cliptracing import ClipTracer, TracedClip, clip_figures, evaluate_tracer
from spoofcheck.evaluation.shards import Team
from spoofcheck.nets.bundle import TracerBundle, load_tracer
from spoofcheck.types import Window
from tests.support.enrolling import clips_of, embedding_tracer

ALONE = Team(0, 1, "cpu")
SPEECH = Path(__file__).resolve().parents[2] / "examples" / "recordings"
WINDOW = 64_000


@pytest.fixture(scope="module")
def bundle(tiny_tracer_model: Path) -> TracerBundle:
    return load_tracer(tiny_tracer_model)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Noises of many levels and lengths: A0 and A1 are enrolled, "new" is not, "-" is human."""
    folder = tmp_path_factory.mktemp("clips")
    clips = []
    for i in range(12):
        path = folder / f"{i}.wav"
        samples = np.random.default_rng(i).normal(0, 0.01 * 1.4**i, 30_000 + 15_000 * (i % 5))
        soundfile.write(path, samples, 16_000, subtype="FLOAT")
        system = ("A0", "A1", "new", "-")[i % 4]
        label = "bonafide" if system == "-" else "spoof"
        clips.append(Clip(path.stem, path, label, system=system, speaker=f"s{i % 3}", repo="r"))
    return clips


def test_the_first_window_is_traced_as_the_network_hears_it(bundle: TracerBundle, clips: list[Clip]) -> None:
    spoofs = [clip for clip in clips if clip.is_spoof]
    rows = list(ClipTracer(bundle, "first", "cpu", 4).trace([clip.name for clip in spoofs], spoofs))
    scorer = TracerScorer(bundle, "cpu")
    for clip, row in zip(spoofs, rows, strict=True):
        samples = soundfile.read(clip.path, dtype="float32")[0]
        (expected,) = scorer.trace([np.resize(samples, WINDOW)])
        assert row.name == clip.name
        assert row.windows == 1
        assert row.probabilities == tuple(expected.probabilities)
        assert row.embedding is None


def test_all_windows_with_speech_are_averaged(bundle: TracerBundle) -> None:
    path = sorted(SPEECH.glob("*.flac"))[0]
    (row,) = ClipTracer(bundle, "all", "cpu", 3, embeddings=True).trace(["x"], [Clip("x", path, "spoof")])
    windows = read_windows(
        path, window_samples=WINDOW, hop_samples=WINDOW, channels="auto", vad=True, min_window_speech_s=0.5
    )
    heard = [window.samples for window in windows if isinstance(window, Window) and window.samples is not None]
    traced = TracerScorer(bundle, "cpu").trace(heard)
    assert row.windows == len(heard) > 0
    assert row.probabilities == pytest.approx(np.mean([each.probabilities for each in traced], axis=0), abs=1e-12)
    assert row.embedding == pytest.approx(np.mean([each.embedding for each in traced], axis=0), abs=1e-6)


def test_figures_follow_from_systems_and_leave_out_human_speech(bundle: TracerBundle, clips: list[Clip]) -> None:
    tracer = ClipTracer(bundle, "first", "cpu")
    figures, unscored = evaluate_tracer(tracer, clips, team=ALONE, draws=50)
    assert unscored == ()
    assert [row.name for row in figures.classes] == ["A0", "A1", "A2", "unseen"]
    assert [row.trials for row in figures.classes] == [3, 3, 0, 3]
    assert figures.overall.trials == 9
    assert figures.open_set is not None
    assert figures.accuracy_interval is not None
    assert figures.embedding_map is None
    assert figures.rule == (
        "unseen when the largest softmax probability, averaged over the first window alone, is below 0.5"
    )


def test_a_family_of_systems_is_one_class(bundle: TracerBundle, clips: list[Clip]) -> None:
    config = bundle.config.model_copy(update={"systems": {"A2": ("ne*",)}})
    family = TracerBundle(config, bundle.network, "0" * 64, "0" * 64, bundle.directory)
    figures, _ = evaluate_tracer(ClipTracer(family, "first", "cpu"), clips, team=ALONE, draws=2)
    assert [row.trials for row in figures.classes] == [3, 3, 3, 0]
    assert figures.open_set is None


def test_neither_batch_nor_order_nor_workers_change_a_row(bundle: TracerBundle, clips: list[Clip]) -> None:
    def rows(listed: list[Clip], **options: int) -> dict[str, TracedClip]:
        names = [clip.name for clip in listed]
        return {row.name: row for row in ClipTracer(bundle, "first", "cpu", **options).trace(names, listed)}

    reference = rows(clips, batch_windows=1, workers=1)
    assert len({row.probabilities for row in reference.values()}) == len(clips), "clips must differ"
    for listed, options in ((clips[::-1], {"batch_windows": 5, "workers": 3}), (clips[3:5], {"batch_windows": 64})):
        for name, row in rows(listed, **options).items():
            assert row == reference[name]


def test_a_broken_run_goes_on_where_it_was(bundle: TracerBundle, clips: list[Clip], tmp_path: Path) -> None:
    tracer = ClipTracer(bundle, "first", "cpu", batch_windows=2, workers=1, embeddings=True)
    whole = evaluate_tracer(tracer, clips, team=ALONE, draws=20, map_method="t-sne")
    totals = []

    def watch(rows: Iterable[TracedClip], total: int) -> Iterable[TracedClip]:
        totals.append(total)
        return rows

    def stop(rows: Iterable[TracedClip], total: int) -> Iterable[TracedClip]:
        for number, row in enumerate(rows):
            if number == 4:
                raise KeyboardInterrupt
            yield row

    with pytest.raises(KeyboardInterrupt):
        evaluate_tracer(tracer, clips, team=ALONE, work=tmp_path, watch=stop)
    resumed = evaluate_tracer(tracer, clips, team=ALONE, work=tmp_path, watch=watch, draws=20, map_method="t-sne")
    again = evaluate_tracer(tracer, clips, team=ALONE, work=tmp_path, watch=watch, draws=20, map_method="t-sne")
    assert resumed == whole
    assert again == whole
    assert totals == [5, 0]
    assert whole[0].embedding_map is not None
    assert len(whole[0].embedding_map.x) == 9
    other = ClipTracer(bundle, "first", "cpu")
    evaluate_tracer(other, clips, team=ALONE, work=tmp_path, watch=watch, draws=2)
    assert totals[-1] == 9, "rows without embeddings are other rows"


@pytest.mark.parametrize("method", ["prototype-cosine", "max-softmax"])
def test_a_tracer_with_prototypes_is_judged_as_a_scan_decides(tmp_path: Path, method: str) -> None:
    plain = load_tracer(embedding_tracer(tmp_path / "tracer"))
    paths = [path for source in ("plain", "dull") for path in clips_of(tmp_path / source, source, 3)]
    listed = [Clip(path.stem, path, "spoof", system=f"A{i % 4}") for i, path in enumerate(paths)]
    rows = list(ClipTracer(plain, "all", "cpu").trace([clip.name for clip in listed], listed))
    assert all(row.embedding is not None for row in rows)
    known = known_sources(plain)
    nearest = [judge_embedding(np.array(row.embedding), row.windows, known).sources[0].similarity for row in rows]
    threshold = float(np.median(nearest)) if method == "prototype-cosine" else 0.9
    open_set = plain.config.open_set.model_copy(update={"method": method, "threshold": threshold})
    bundle = replace(plain, config=plain.config.model_copy(update={"open_set": open_set}))

    figures, unscored = evaluate_tracer(ClipTracer(bundle, "all", "cpu"), listed, team=ALONE, draws=2)
    assert unscored == ()
    decided = known_sources(bundle)
    decisions = [judge_embedding(np.array(row.embedding), row.windows, decided).info.decision for row in rows]
    if method == "prototype-cosine":
        assert 0 < decisions.count("unknown") < 6, "some must be accepted, and some not"
    names = [*bundle.config.classes, "unseen"]
    expected = np.zeros((4, 4), int)
    for clip, decision in zip(listed, decisions, strict=True):
        truth = clip.system if clip.system in names else "unseen"
        expected[names.index(truth), names.index("unseen" if decision == "unknown" else decision)] += 1
    assert np.array(figures.confusion).tolist() == expected.tolist()
    measure = "largest cosine" if method == "prototype-cosine" else "largest softmax of the scaled cosines"
    assert figures.rule == (
        f"unseen when the {measure} of the mean embedding of all windows with speech to the sources is below "
        f"{threshold:g}"
    )
    assert clip_figures(bundle, list(zip(listed, rows, strict=True)), "all", draws=2) == figures


@pytest.mark.parametrize("windows", ["first", "all"])
def test_what_cannot_be_traced_is_listed_with_its_reason(
    bundle: TracerBundle, clips: list[Clip], tmp_path: Path, windows: str
) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    speech = sorted(SPEECH.glob("*.flac"))[0]
    bad = [
        Clip("missing", tmp_path / "missing.wav", "spoof"),
        Clip("text", tmp_path / "text.wav", "spoof"),
    ]
    listed = [bad[0], Clip("speech", speech, "spoof", system="A1"), bad[1], clips[0]]
    figures, unscored = evaluate_tracer(ClipTracer(bundle, windows, "cpu"), listed, team=ALONE, draws=2)
    noise = [("0", "no-speech")] if windows == "all" else []
    assert [(each.name, each.problem) for each in unscored][:2] == [("missing", "not-found"), ("text", "not-audio")]
    assert [(each.name, each.problem) for each in unscored][2:] == noise
    assert figures.overall.trials == 2 - len(noise)


def test_nothing_to_trace_is_one_clear_line(bundle: TracerBundle, clips: list[Clip], tmp_path: Path) -> None:
    tracer = ClipTracer(bundle, "first", "cpu")
    with pytest.raises(UsageError, match="names no spoofed clip"):
        evaluate_tracer(tracer, [clip for clip in clips if not clip.is_spoof], team=ALONE)
    with pytest.raises(UsageError, match="not one of 1 spoofed clips could be traced"):
        evaluate_tracer(tracer, [Clip("x", tmp_path / "x.wav", "spoof")], team=ALONE)
    with pytest.raises(UsageError, match="more than once"):
        evaluate_tracer(tracer, [clips[0], clips[0]], team=ALONE)
