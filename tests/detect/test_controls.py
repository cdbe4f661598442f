"""Recordings of known origin beside the exhibits: what counts as misbehaving, and that the shipped ones behave."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from examples.make_controls import CUTS, cut
from spoofcheck.detect.controls import control_results, read_controls
from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.errors import ModelError
from spoofcheck.resources import controls_dir
from spoofcheck.schema import ControlResult, Finding, Verdict
from spoofcheck.types import Skipped
from tests.support.documents import of_verdict, skipped


class Stub:
    """A scanner that gives each control the finding it is told to."""

    def __init__(self, human: Finding, synthetic: Finding) -> None:
        self._by_name = {"control-human.flac": human, "control-synthetic.flac": synthetic}

    def findings(self, inputs: Iterable[Path | Skipped], /) -> Iterator[Finding]:
        for path in inputs:
            assert isinstance(path, Path)
            finding = self._by_name[path.name]
            is_read = finding.verdict is not Verdict.SKIPPED
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest() if is_read else None
            yield finding.model_copy(update={"path": str(path), "sha256": sha256})


def results(human: Verdict, synthetic: Verdict) -> tuple[ControlResult, ...]:
    return control_results(Stub(of_verdict(human), of_verdict(synthetic)))


@pytest.mark.parametrize(
    ("human", "synthetic", "expected"),
    [
        (Verdict.BONAFIDE, Verdict.SPOOF, (True, True)),
        (Verdict.BONAFIDE, Verdict.PARTIAL, (True, True)),
        (Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE, (True, True)),
        (Verdict.SPOOF, Verdict.SPOOF, (False, True)),
        (Verdict.PARTIAL, Verdict.SPOOF, (False, True)),
        (Verdict.BONAFIDE, Verdict.BONAFIDE, (True, False)),
        (Verdict.SKIPPED, Verdict.SKIPPED, (False, False)),
    ],
)
def test_what_misbehaving_is(human: Verdict, synthetic: Verdict, expected: tuple[bool, bool]) -> None:
    found = results(human, synthetic)
    assert tuple(result.as_expected for result in found) == expected
    assert [result.truth for result in found] == ["bonafide", "spoof"]
    assert [result.verdict for result in found] == [human, synthetic]
    for result in found:
        assert ("no result of this run can be relied on" in result.message) is not result.as_expected


def test_messages_are_sentences() -> None:
    human, synthetic = results(Verdict.SPOOF, Verdict.SPOOF)
    assert human.message == "The human control is judged spoof (LLR +3.20): no result of this run can be relied on."
    assert synthetic.message == (
        "The synthetic control is judged spoof (LLR +3.20), which does not contradict what it is."
    )


def test_a_control_without_a_score_misbehaves() -> None:
    no_score = of_verdict(Verdict.INCONCLUSIVE).model_copy(update={"raw_score": None, "spoof_llr": None})
    human, _ = control_results(Stub(no_score, of_verdict(Verdict.SPOOF)))
    assert not human.as_expected
    assert "got no score (Pooled LLR lies between" in human.message
    human, _ = control_results(Stub(skipped("x"), of_verdict(Verdict.SPOOF)))
    assert "got no score (No audio stream was found in it)" in human.message
    assert human.sha256 == read_controls(controls_dir())[0].sha256


def test_a_control_that_was_exchanged_misbehaves(tmp_path: Path) -> None:
    folder = shutil.copytree(controls_dir(), tmp_path / "controls")
    with (folder / "control-human.flac").open("ab") as file:
        file.write(b"\0")
    stub = Stub(of_verdict(Verdict.BONAFIDE), of_verdict(Verdict.SPOOF))
    human, synthetic = control_results(stub, folder)
    assert (human.as_expected, synthetic.as_expected) == (False, True)
    assert "is not the recording that was shipped" in human.message


@pytest.mark.parametrize("text", ["", "[]", '{"controls": []}', '{"controls": [{"file": "../a", "truth": "spoof"}]}'])
def test_a_damaged_list_is_one_clear_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "controls.json").write_text(text)
    with pytest.raises(ModelError, match=r"controls\.json: the list of controls is missing or damaged"):
        read_controls(tmp_path)


def test_a_missing_list_and_a_missing_recording_are_too(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="install spoofcheck again"):
        read_controls(tmp_path)
    listed = [{"file": "control-human.flac", "truth": "bonafide", "sha256": "0" * 64}]
    (tmp_path / "controls.json").write_text(json.dumps({"controls": listed}))
    with pytest.raises(ModelError, match=r"control-human\.flac: a control cannot be read"):
        control_results(Stub(skipped("x"), skipped("y")), tmp_path)


def test_the_shipped_files_are_the_listed_ones_and_small() -> None:
    controls = read_controls(controls_dir())
    for control in controls:
        assert hashlib.sha256((controls_dir() / control.file).read_bytes()).hexdigest() == control.sha256
    assert sum((controls_dir() / control.file).stat().st_size for control in controls) < 250_000


@pytest.mark.parametrize(("name", "truth", "example", "start_s"), CUTS)
def test_the_shipped_files_are_cuts_of_the_examples(name: str, truth: str, example: str, start_s: int) -> None:
    assert {control.file: control.truth for control in read_controls(controls_dir())}[name] == truth
    samples, rate = soundfile.read(controls_dir() / name, dtype="float32")
    assert rate == 16_000
    assert np.abs(samples - cut(example, start_s)).max() < 2**-14, "another MP3 decoder may round otherwise"


@pytest.mark.weights
def test_the_shipped_detector_judges_both_rightly() -> None:
    human, synthetic = control_results(Scanner(None, ScanOptions(device="cpu")))
    assert (human.verdict, human.as_expected) == (Verdict.BONAFIDE, True)
    assert (synthetic.verdict, synthetic.as_expected) == (Verdict.SPOOF, True)
    assert human.spoof_llr is not None
    assert synthetic.spoof_llr is not None
    assert human.spoof_llr < -1.2
    assert synthetic.spoof_llr > 1.3
