"""Whether one source made two recordings: the cosine, its likelihood ratio, and when it must not be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from spoofcheck.detect.gallery import require_prototypes, unit
from spoofcheck.detect.linking import Heard, cosine_of, link, require_link_calibration, require_two
from spoofcheck.errors import UsageError
from spoofcheck.linkschema import LinkDocument
from spoofcheck.nets.bundle import TracerBundle, load_tracer
from tests.support.enrolling import STAND_IN_CALIBRATION, embedding_tracer

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> TracerBundle:
    return load_tracer(embedding_tracer(tmp_path_factory.mktemp("models") / "tiny-embedder"))


@pytest.fixture(scope="module")
def prototypes(bundle: TracerBundle) -> np.ndarray:
    return require_prototypes(bundle).prototypes.detach().double().numpy()


def heard(mean: Sequence[float] | np.ndarray, name: str = "a.wav", windows: int = 3) -> Heard:
    return Heard(name, f"{sum(name.encode()):08x}" * 8, windows, np.asarray(mean, dtype=np.float64))


def linked(bundle: TracerBundle, one: Heard, other: Heard) -> LinkDocument:
    return link(bundle, (one, other), started_at=AT, command_line=["spoofcheck", "link"])


def at_cosine(first: np.ndarray, cosine: float) -> np.ndarray:
    """A vector at a given cosine to another."""
    first = unit(first)
    aside = np.roll(np.eye(len(first))[0], int(np.abs(first).argmin()))
    aside = unit(aside - (aside * first).sum() * first)
    return cosine * first + np.sqrt(1 - cosine**2) * aside


@pytest.mark.parametrize(("cosine", "llr"), [(0.5, 0.0), (0.75, 2.0), (0.25, -2.0), (1.0, 3.0), (-1.0, -3.0)])
def test_the_ratio_is_calibrated_and_bounded(bundle: TracerBundle, cosine: float, llr: float) -> None:
    first = np.arange(1.0, 9.0)
    document = linked(bundle, heard(first), heard(at_cosine(first, cosine), "b.wav"))
    assert document.cosine == pytest.approx(cosine, abs=1e-9)
    assert document.llr == pytest.approx(llr, abs=1e-6)


def test_the_order_changes_only_the_order(bundle: TracerBundle, prototypes: np.ndarray) -> None:
    one, other = heard(prototypes[0] + 0.2), heard(3 * prototypes[1], "b.wav", 7)
    forth, back = linked(bundle, one, other), linked(bundle, other, one)
    assert (forth.cosine, forth.llr, forth.warnings) == (back.cosine, back.llr, back.warnings)
    assert forth.recordings == back.recordings[::-1]
    assert [each.trace.windows for each in forth.recordings] == [3, 7]


def test_a_cosine_stays_on_its_scale() -> None:
    vector = np.full(8, 0.1) + 1e-9 * np.arange(8)
    assert cosine_of(vector, 7 * vector) <= 1.0
    assert cosine_of(vector, -vector) >= -1.0
    with pytest.raises(ValueError, match="direction"):
        cosine_of(vector, np.zeros(8))


def test_each_recording_is_compared_with_the_known_sources(bundle: TracerBundle, prototypes: np.ndarray) -> None:
    document = linked(bundle, heard(prototypes[2]), heard(-prototypes.sum(axis=0), "b.wav"))
    known, unknown = document.recordings
    assert known.trace.decision == known.sources[0].name == "A2"
    assert unknown.trace.decision == "unknown"
    # No channel was tested: an LLR of a source would be support that nobody checked.
    assert all(match.llr is None for each in document.recordings for match in each.sources)


def test_what_it_does_not_say_is_said(bundle: TracerBundle) -> None:
    document = linked(bundle, heard(np.eye(8)[0]), heard(np.eye(8)[0], "b.wav"))
    assert [warning.code for warning in document.warnings][:2] == ["not-a-detection", "other-likeness"]
    assert "spoofcheck scan" in document.warnings[0].message


def test_decisions_against_the_ratio_are_warned_of(bundle: TracerBundle, prototypes: np.ndarray) -> None:
    def codes(one: np.ndarray, other: np.ndarray) -> list[str]:
        return [warning.code for warning in linked(bundle, heard(one), heard(other, "b.wav")).warnings[2:]]

    between = unit(unit(prototypes[0]) + unit(prototypes[1]))
    near_first, near_second = between + 0.01 * prototypes[0], between + 0.01 * prototypes[1]
    assert codes(near_first, near_second) == ["link-against-decisions"]
    assert codes(prototypes[0], prototypes[0]) == []
    assert codes(prototypes[0], -prototypes[0]) == []
    aside = at_cosine(prototypes[2], 0.6)
    opposite = 2 * 0.6 * unit(prototypes[2]) - aside
    assert cosine_of(aside, opposite) < 0.5
    assert codes(aside, opposite) == ["link-without-decision"]


def test_one_recording_is_not_compared_with_itself(bundle: TracerBundle) -> None:
    with pytest.raises(UsageError, match=r"a\.wav and copy\.wav hold the same bytes"):
        require_two(("ab" * 32, "ab" * 32), (Path("a.wav"), "copy.wav"))
    with pytest.raises(UsageError, match="the same bytes"):
        linked(bundle, heard(np.eye(8)[0]), heard(np.eye(8)[1]))


def test_tracers_that_cannot_compare_are_refused(bundle: TracerBundle, tiny_tracer_model: Path) -> None:
    assert require_link_calibration(bundle) == STAND_IN_CALIBRATION
    with pytest.raises(UsageError, match="has no prototypes"):
        require_link_calibration(load_tracer(tiny_tracer_model))


def test_a_tracer_without_the_calibration_is_refused(tmp_path: Path) -> None:
    directory = embedding_tracer(tmp_path / "uncalibrated")
    config = directory / "config.json"
    config.write_text(config.read_text().replace('"link_calibration": {', '"source_calibration": {'))
    with pytest.raises(UsageError, match="uncalibrated 1 has no link_calibration"):
        require_link_calibration(load_tracer(directory))
