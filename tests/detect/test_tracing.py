"""The open-set decision on an exhibit, by prototypes and by softmax, and what to beware of in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spoofcheck.detect.enrolment import LeaveOneOut, Separability
from spoofcheck.detect.gallery import Gallery, Source
from spoofcheck.detect.sourcestore import StoredSource, now, stored_clip
from spoofcheck.detect.tracing import (
    KnownSources,
    judge_embedding,
    judge_source,
    known_sources,
    rule_words,
    trace_reasons,
    windows_to_trace,
    with_channel_test,
)
from spoofcheck.nets.bundle import TracerBundle, load_tracer
from spoofcheck.nets.config import (
    CosineCalibration,
    OpenSetConfig,
    SpectralStemConfig,
    StatisticsEmbeddingConfig,
    TracerConfig,
)
from spoofcheck.schema import ChannelTest
from spoofcheck.types import WindowScore
from tests.support.enrolling import STAND_IN_CALIBRATION, embedding_tracer
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


DIRECTIONS = np.eye(4)[:3]


def known(
    *, enrolled: dict[str, np.ndarray] | None = None, groups: tuple[tuple[str, ...], ...] = (),
    calibration: CosineCalibration | None = STAND_IN_CALIBRATION, threshold: float = 0.7,
) -> KnownSources:  # fmt: skip
    """Sources A0, A1 and A2 in the directions of the first three axes of four, and enrolled ones."""
    config = TracerConfig(
        name="t", version="1", front_end=SpectralStemConfig(channels=(4, 4, 8, 8, 8, 16)),
        head=StatisticsEmbeddingConfig(channels=64, embedding=4), classes=("A0", "A1", "A2"),
        open_set=OpenSetConfig(method="prototype-cosine", threshold=threshold, data="none"),
        source_calibration=calibration, licence="", training_data="",
    )  # fmt: skip
    sources = [Source(f"A{i}", row, np.empty((0, 4)), "shipped", 0) for i, row in enumerate(DIRECTIONS)]
    sources += [Source(name, row, np.stack([row] * 5), "enrolled", 5) for name, row in (enrolled or {}).items()]
    return KnownSources(
        config, Gallery(sources), lambda row: bool(row.max() >= threshold), groups, config.open_set.words
    )


def test_an_exhibit_is_compared_with_every_prototype_at_unit_length() -> None:
    trace = judge_embedding(np.array([0.0, 3.0, 4.0, 0.0]), 7, known())
    assert [(s.name, round(s.similarity, 12), s.origin) for s in trace.sources] == [
        ("A2", 0.8, "shipped"), ("A1", 0.6, "shipped"), ("A0", 0.0, "shipped"),
    ]  # fmt: skip
    info = trace.info
    assert (info.decision, info.measure, info.threshold, info.windows, info.enrolled) == ("A2", "cosine", 0.7, 7, 3)
    assert info.rule == "unknown when the largest similarity (cosine) is below 0.7"
    assert info.embedding == (0.0, 0.6, 0.8, 0.0)
    assert info.group == ()
    assert judge_embedding(np.array([1.0, 1.0, 1.0, 1.0]), 1, known()).info.decision == "unknown"


def test_llrs_come_from_the_calibration_and_stay_within_its_bound() -> None:
    trace = judge_embedding(np.array([0.6, 0.8, 0.0, 0.0]), 1, known())
    assert [source.llr for source in trace.sources] == pytest.approx([2.4, 0.8, -3.0])  # 8 * cosine - 4, bound 3
    assert judge_embedding(DIRECTIONS[0], 1, known()).sources[0].llr == 3.0
    assert {source.llr for source in judge_embedding(DIRECTIONS[0], 1, known(calibration=None)).sources} == {None}


def test_enrolled_sources_compete_and_at_most_three_are_listed() -> None:
    box = np.array([0.0, 0.0, 0.0, 1.0])
    trace = judge_embedding(np.array([0.1, 0.2, 0.3, 1.0]), 1, known(enrolled={"Box": box}))
    assert [(source.name, source.origin) for source in trace.sources] == [
        ("Box", "enrolled"), ("A2", "shipped"), ("A1", "shipped"),
    ]  # fmt: skip
    assert (trace.info.decision, trace.info.enrolled) == ("Box", 4)


def test_equal_cosines_stand_in_the_order_of_the_gallery() -> None:
    trace = judge_embedding(np.array([0.0, 1.0, 1.0, 0.0]), 1, known())
    assert [source.name for source in trace.sources] == ["A1", "A2", "A0"]
    assert trace.info.decision == "A1"


def test_a_mean_without_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="without a direction"):
        judge_embedding(np.zeros(4), 2, known())


def test_sources_that_cannot_be_told_apart_are_one_group_with_a_warning() -> None:
    sources = known(groups=(("A0", "A2"),))
    grouped = judge_embedding(DIRECTIONS[2], 1, sources)
    assert grouped.info.group == ("A0", "A2")
    (reason,) = trace_reasons(grouped)
    assert reason.code == "sources-not-separable"
    assert "A0, A2" in reason.message
    alone = judge_embedding(DIRECTIONS[1], 1, sources)
    assert alone.info.group == ()
    assert trace_reasons(alone) == ()
    assert judge_embedding(np.ones(4), 1, sources).info.group == (), "what is unknown has no group"


def channel_test_of(*failed: str) -> ChannelTest:
    return ChannelTest(
        residue_s=2.0, residue_decision="A1", residue_similarity=0.9, codec="a codec", codec_decision="A2",
        codec_closest="A2",
        codec_similarity=0.1, failed=failed,
    )  # fmt: skip


def test_a_trace_that_follows_the_channel_supports_nothing() -> None:
    trace = judge_embedding(DIRECTIONS[1], 1, known())
    passed = with_channel_test(trace, channel_test_of())
    assert passed.sources == trace.sources
    assert passed.info.channel_test == channel_test_of()
    assert trace_reasons(passed) == ()
    for failed in (("residue",), ("codec",), ("residue", "codec")):
        tested = with_channel_test(trace, channel_test_of(*failed))
        assert [source.llr for source in tested.sources] == [None] * 3
        assert [source.similarity for source in tested.sources] == [source.similarity for source in trace.sources]
        (reason,) = trace_reasons(tested)
        assert reason.code == "trace-follows-channel"
        assert ("not speech is traced to it" in reason.message) == ("residue" in failed)
        assert ("closest to another source" in reason.message) == ("codec" in failed)


def test_groups_join_shipped_and_enrolled_sources_in_both_directions(tmp_path: Path) -> None:
    bundle = load_tracer(embedding_tracer(tmp_path / "tracer"))
    config = bundle.config.model_copy(update={"groups": (("A0", "A2"),)})
    sources = known_sources(
        TracerBundle(config, bundle.network, "0" * 64, "0" * 64, tmp_path),
        [stored("Box", 1, confused="A2"), stored("Gone", 2, confused="Removed since"), stored("Cone", 3)],
    )
    assert sources.gallery.names == ("A0", "A1", "A2", "Box", "Gone", "Cone")
    assert sources.groups == (("A0", "A2", "Box"),)
    assert sources.group_of("Box") == sources.group_of("A0") == ("A0", "A2", "Box")
    assert sources.group_of("Gone") == sources.group_of("unknown") == ()


def stored(name: str, seed: int, confused: str | None = None) -> StoredSource:
    """An enrolled source of five invented clips near one axis."""
    rng = np.random.default_rng(seed)
    rows = np.eye(8)[seed] + rng.normal(0, 0.05, (5, 8))
    clips = tuple(stored_clip(f"{i}.wav", f"{seed:032x}{i:032x}", 3, row) for i, row in enumerate(rows))
    pair = Separability(
        source=confused or "A0", prototype_similarity=0.9, smallest_gap=0.0, mean_gap=0.1,
        d_prime=1.0 if confused else 9.0, closer_to_other=0, clips=5,
    )  # fmt: skip
    estimate = LeaveOneOut(clips=5, closest=5, accepted=5, unknown=0, smallest_similarity=0.9, mean_similarity=0.95)
    return StoredSource(
        name=name, created_at=now(), revision=1, clips=clips, leave_one_out=estimate, separability=(pair,)
    )


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("prototype-cosine", "unknown when the largest similarity (cosine) is below 0.3"),
        ("max-softmax", "unknown when the largest softmax of the scaled similarities is below 0.3"),
    ],
)
def test_the_rule_is_said_as_it_is_applied(tmp_path: Path, method: str, words: str) -> None:
    bundle = load_tracer(embedding_tracer(tmp_path / "tracer"))
    open_set = bundle.config.open_set.model_copy(update={"method": method})
    config = bundle.config.model_copy(update={"open_set": open_set})
    assert rule_words(TracerBundle(config, bundle.network, "0" * 64, "0" * 64, tmp_path)) == words


def test_of_an_unknown_exhibit_no_source_has_a_likelihood_ratio() -> None:
    far = judge_embedding(np.ones(len(DIRECTIONS[0])) - 3 * sum(DIRECTIONS[:3]), 1, known())
    near = judge_embedding(DIRECTIONS[1], 1, known())
    assert (far.info.decision, near.info.decision) == ("unknown", "A1")
    assert [source.llr for source in far.sources] == [None] * 3
    assert all(source.llr is not None for source in near.sources)
