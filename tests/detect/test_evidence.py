"""What is made of an exhibit beside its verdict: in one further reading, and never at the cost of the verdict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spoofcheck.audio.acoustics import StretchCollector, stretches_of
from spoofcheck.cli.scan import _excerpt_choice
from spoofcheck.detect.evidence import Evidence, EvidenceOptions, with_evidence
from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.detect.stability import card_of
from spoofcheck.errors import InputError
from spoofcheck.schema import FLAGGED, Finding, Reason, StabilityRun, Verdict
from tests.support.audio import human_speech, noise, write_wav
from tests.support.documents import of_verdict

RATE = 16_000
ALL = EvidenceOptions(acoustics=True, pictures=True, excerpts="all", stability=True)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 s of speech."""
    return write_wav(tmp_path_factory.mktemp("recordings") / "speech.wav", human_speech()[: 6 * RATE], RATE)


def scanned(model: Path, path: Path, evidence: EvidenceOptions, **options: object) -> list[Finding]:
    return list(Scanner(model, ScanOptions(device="cpu", evidence=evidence, **options)).findings([path]))  # type: ignore[arg-type]


def test_nothing_is_made_that_was_not_asked_for(tiny_model: Path, recording: Path, no_second_reading: None) -> None:
    (finding,) = scanned(tiny_model, recording, EvidenceOptions())
    assert (finding.acoustics, finding.pictures, finding.excerpts, finding.stability) == (None, None, (), None)


@pytest.fixture
def no_second_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scanner, "_read_again", lambda *_: pytest.fail("read a second time"))


def test_all_of_it_comes_from_one_reading_and_leaves_the_scores_alone(
    tiny_model: Path, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = []
    read_again = Scanner._read_again

    def counted(scanner: Scanner, summary: object) -> object:
        readings.append(summary)
        return read_again(scanner, summary)  # type: ignore[arg-type]

    (plain,) = scanned(tiny_model, recording, EvidenceOptions())
    monkeypatch.setattr(Scanner, "_read_again", counted)
    (finding,) = scanned(tiny_model, recording, ALL)
    assert len(readings) == 1
    assert finding.pictures is not None
    assert finding.pictures.speech
    assert finding.acoustics is not None
    assert finding.acoustics.examined_s == pytest.approx(6.0)
    assert finding.stability is not None
    assert len(finding.stability.runs) == 8
    assert {excerpt.direction for excerpt in finding.excerpts} <= {"for", "against"}
    assert finding.excerpts
    assert (finding.spoof_llr, finding.windows) == (plain.spoof_llr, plain.windows)
    assert finding.reasons[-len(plain.reasons) :] == plain.reasons


def test_legs_of_a_call_have_each_their_own(tiny_model: Path, tmp_path: Path) -> None:
    speech = human_speech()[: 5 * RATE]
    both = np.stack([speech, noise(len(speech), 0.05)[:, 0]], axis=1)
    path = write_wav(tmp_path / "call.wav", both, RATE)
    evidence = EvidenceOptions(acoustics=True, pictures=True, stability=True)
    left, right = scanned(tiny_model, path, evidence, channels="each")
    assert left.pictures is not None
    assert right.pictures is not None
    assert left.pictures.peaks != right.pictures.peaks
    assert left.pictures.speech
    assert right.pictures.speech == ()
    assert left.acoustics is not None
    assert right.acoustics is None, "nothing can be measured in noise"
    assert left.stability is not None
    assert right.stability is None, "it has no score that could flip"
    assert [reason.code for reason in right.reasons] == ["no-speech"]


def test_what_was_skipped_has_none(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "text.wav"
    path.write_text("no audio")
    (finding,) = scanned(tiny_model, path, ALL)
    assert finding.verdict is Verdict.SKIPPED
    assert (finding.acoustics, finding.pictures, finding.excerpts, finding.stability) == (None, None, (), None)
    assert len(finding.reasons) == 1


def test_a_file_that_changed_keeps_its_verdict_and_says_what_is_missing(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_wav(tmp_path / "a.wav", human_speech()[: 5 * RATE], RATE)
    (plain,) = scanned(tiny_model, path, EvidenceOptions())
    read_again = Scanner._read_again

    def changed(scanner: Scanner, summary: object) -> object:
        write_wav(path, human_speech()[: 4 * RATE], RATE)
        return read_again(scanner, summary)  # type: ignore[arg-type]

    monkeypatch.setattr(Scanner, "_read_again", changed)
    (finding,) = scanned(tiny_model, path, ALL)
    assert (finding.verdict, finding.spoof_llr) == (plain.verdict, plain.spoof_llr)
    assert (finding.acoustics, finding.pictures, finding.excerpts, finding.stability) == (None, None, (), None)
    assert finding.reasons[:-1] == plain.reasons
    assert finding.reasons[-1].code == "not-read-again"
    assert "changed after it was judged" in finding.reasons[-1].message


class Broken:
    """A listener that fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __call__(self, *_: object) -> Broken:
        return self

    def push(self, samples: np.ndarray) -> None:
        raise self._error

    def finish(self) -> None:
        raise AssertionError("asked after it had failed")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (InputError("odd", "It is odd."), "The pictures could not be made: It is odd."),
        (ZeroDivisionError("by zero"), "The pictures could not be made: unexpected ZeroDivisionError: by zero."),
    ],
)
def test_what_fails_costs_the_others_nothing(
    tiny_model: Path, recording: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    monkeypatch.setattr("spoofcheck.detect.views.Painter", Broken(error))
    evidence = EvidenceOptions(acoustics=True, pictures=True, excerpts="all")
    (finding,) = scanned(tiny_model, recording, evidence)
    assert finding.pictures is None
    assert finding.acoustics is not None
    assert finding.excerpts
    assert finding.reasons[-1].code == "evidence-missing"
    assert words in finding.reasons[-1].message


def test_excerpts_of_flagged_exhibits_alone(tiny_model: Path, recording: Path) -> None:
    for threshold, is_flagged in ((-100.0, True), (100.0, False)):
        evidence = EvidenceOptions(excerpts="flagged")
        (finding,) = scanned(tiny_model, recording, evidence, threshold_llr=threshold)
        assert (finding.verdict in FLAGGED, bool(finding.excerpts)) == (is_flagged, is_flagged)


def test_large_scans_keep_excerpts_of_flagged_exhibits_alone() -> None:
    assert [_excerpt_choice(True, inputs) for inputs in (1, 100, 101)] == ["all", "all", "flagged"]
    assert _excerpt_choice(False, 1) == "none"


def test_debug_raises_what_nobody_foresaw(tiny_model: Path, recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoofcheck.detect.views.Painter", Broken(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        scanned(tiny_model, recording, EvidenceOptions(pictures=True), debug=True)


def test_a_flip_makes_a_traced_exhibit_inconclusive_and_leaves_its_trace() -> None:
    finding = of_verdict(Verdict.SPOOF)
    card = card_of(
        Verdict.SPOOF, 3.2, [StabilityRun(name="8khz", label="narrow", spoof_llr=-2, verdict=Verdict.BONAFIDE)]
    )
    missing = Reason(code="evidence-missing", message="The pictures could not be made.")
    result = with_evidence(finding, Evidence(stability=card, reasons=(missing,)))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert [reason.code for reason in result.reasons] == ["unstable", *(r.code for r in finding.reasons), missing.code]
    assert (result.trace, result.sources, result.spoof_llr) == (finding.trace, finding.sources, finding.spoof_llr)
    assert result.stability == card


def test_controls_are_scored_without_any(tiny_model: Path, recording: Path, no_second_reading: None) -> None:
    scanner = Scanner(tiny_model, ScanOptions(device="cpu", evidence=ALL, threshold_llr=0.5))
    bare = scanner.bare()
    assert (bare.rule, bare.scorer, bare.tracer) == (scanner.rule, scanner.scorer, None)
    (finding,) = bare.findings([recording])
    assert finding.pictures is None
    assert scanner.options.evidence == ALL


@pytest.mark.parametrize("seconds", [0.4, 3.0, 23.0, 75.0])
@pytest.mark.parametrize("block", [1_000, 70_001])
def test_stretches_from_a_stream_are_those_of_all_samples(seconds: float, block: int) -> None:
    samples = np.resize(human_speech(), round(seconds * RATE))
    collector = StretchCollector(seconds)
    for start in range(0, len(samples), block):
        collector.push(samples[start : start + block])
    expected = stretches_of(samples)
    for ours, theirs in zip(collector.finish(), expected, strict=True):
        assert (ours.start_sample, ours.speech) == (theirs.start_sample, theirs.speech)
        assert np.array_equal(ours.samples, theirs.samples)
