"""Percentiles and remarks, and the reference file they rest on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from spoofcheck.audio.acoustics import MEASURES, Stretch, stretches_of
from spoofcheck.detect import observations
from spoofcheck.detect.observations import (
    MOST_REMARKS,
    AcousticReference,
    Spread,
    load_reference,
    observe,
    percentile_in,
    reference_json,
    remark_on,
)
from spoofcheck.errors import ModelError
from spoofcheck.resources import acoustic_reference
from tests.support.audio import human_speech, tone

JITTER = MEASURES[0]
EVEN = tuple(float(value) for value in range(101))


@pytest.fixture(scope="module")
def reference() -> AcousticReference:
    return load_reference()


def test_quantiles_have_their_own_percentiles(reference: AcousticReference) -> None:
    for name, spreads in reference.measures.items():
        for spread in (spreads.human, spreads.synthetic):
            assert spread is not None, name
            distinct = [percent for percent, value in enumerate(spread.quantiles) if spread.quantiles.count(value) == 1]
            found = [percentile_in(spread.quantiles[percent], spread.quantiles) for percent in distinct]
            assert found == pytest.approx(distinct)


def test_percentile_between_beyond_and_at_ties() -> None:
    assert percentile_in(12.5, EVEN) == 12.5
    assert percentile_in(-3, EVEN) == 0
    assert percentile_in(300, EVEN) == 100
    tied = (0.0,) * 51 + tuple(float(value) for value in range(1, 51))
    assert percentile_in(0.0, tied) == 25
    assert percentile_in(0.5, tied) == 50.5
    assert percentile_in(7.0, (7.0,) * 101) == 50


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (0.5, "Jitter (local) of 0.500 % is lower than in 99 of 100 human reference recordings."),
        (1.9, "Jitter (local) of 1.90 % is lower than in 98 of 100 human reference recordings."),
        (2.0, None),
        (98.0, None),
        (99.5, "Jitter (local) of 99.5 % is higher than in 99 of 100 human reference recordings."),
        (100.0, "Jitter (local) of 100 % is higher than in 99 of 100 human reference recordings."),
        (2345.6, "Jitter (local) of 2,346 % is higher than in all 1,200 human reference recordings."),
        (-0.012345, "Jitter (local) of -0.0123 % is lower than in all 1,200 human reference recordings."),
    ],
)
def test_remarks_are_plain_and_only_for_the_unusual(value: float, sentence: str | None) -> None:
    assert remark_on(JITTER, value, Spread(recordings=1200, quantiles=EVEN)) == sentence


def test_human_speech_among_the_reference(reference: AcousticReference) -> None:
    stretches = stretches_of(human_speech())
    found = observe(stretches, reference)
    assert [measure.name for measure in found.measures] == [info.name for info in MEASURES]
    assert found.examined_s == pytest.approx(len(human_speech()) / 16_000)
    assert found.reference_sha256 == reference.sha256
    assert (found.human_recordings, found.synthetic_recordings) == (
        reference.human.recordings, reference.synthetic.recordings,
    )  # fmt: skip
    assert all(measure.human_percentile is not None for measure in found.measures)
    assert observe(stretches, reference) == found


def test_a_tone_is_unusual_and_the_most_extreme_are_told(reference: AcousticReference) -> None:
    samples = tone(5, 16_000, hz=500.0)[:, 0]
    found = observe([Stretch(samples, ((0, len(samples)),))], reference)
    remarks = [measure for measure in found.measures if measure.remark]
    assert len(remarks) == MOST_REMARKS
    assert not [measure.name for measure in remarks if measure.name.startswith("mfcc")]
    for measure in remarks:
        assert measure.human_percentile in (0, 100)
        assert measure.remark is not None
        assert not re.search(r"\b(synthetic|fake|genuine|authentic|real|machine|generated)\b", measure.remark)


def test_silence_has_no_percentile_and_no_remark(reference: AcousticReference) -> None:
    found = observe([Stretch(np.zeros(64_000, np.float32), ())], reference)
    for measure in found.measures:
        assert (measure.value, measure.human_percentile, measure.synthetic_percentile, measure.remark) == (None,) * 4


def test_bundled_reference_is_what_it_should_be(reference: AcousticReference) -> None:
    path = acoustic_reference()
    assert path.stat().st_size < 150_000
    assert reference_json(reference) == path.read_text(encoding="ascii")
    assert reference.split == "train"
    for population in (reference.human, reference.synthetic):
        assert sum(population.sources.values()) == population.recordings
        assert max(population.sources.values()) <= population.recordings / 3
        assert len(population.sources) >= 10


def tampered(tmp_path: Path, old: str, new: str) -> Path:
    text = acoustic_reference().read_text(encoding="ascii")
    assert old in text
    path = tmp_path / "acoustics.json"
    path.write_text(text.replace(old, new, 1), encoding="ascii")
    return path


def test_an_edited_quantile_is_refused(tmp_path: Path, reference: AcousticReference) -> None:
    spread = reference.measures["jitter"].human
    assert spread is not None
    path = tampered(tmp_path, json.dumps(spread.quantiles[50]), json.dumps(spread.quantiles[50] + 1e-6))
    with pytest.raises(ModelError, match="SHA-256 differs"):
        load_reference(path)


def test_other_damage_is_refused(tmp_path: Path) -> None:
    for old, new, match in (
        ('"split": "train"', '"split": "eval"', "SHA-256 differs"),
        ('"jitter"', '"glitter"', "differ"),
        ('"split"', '"spilt"', "split"),
        ("{", "", "damaged"),
    ):
        with pytest.raises(ModelError, match=match):
            load_reference(tampered(tmp_path, old, new))


def test_a_missing_reference_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="corpus reference"):
        load_reference(tmp_path / "none.json")
    monkeypatch.setattr(observations, "acoustic_reference", lambda: tmp_path / "none.json")
    with pytest.raises(ModelError, match="install"):
        load_reference()
