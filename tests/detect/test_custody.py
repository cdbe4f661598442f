"""The hash of a file after the run."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from spoofcheck.detect.custody import check_again, with_custody
from spoofcheck.schema import Verdict
from tests.support.documents import of_verdict


def test_an_untouched_file_is_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"evidence")
    sha256 = hashlib.sha256(b"evidence").hexdigest()
    check = check_again(path, sha256)
    assert (check.sha256, check.unchanged) == (sha256, True)
    assert abs(datetime.fromisoformat(check.checked_at) - datetime.now(UTC)) < timedelta(minutes=1)


def test_one_byte_is_a_change(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"evidencf")
    check = check_again(path, hashlib.sha256(b"evidence").hexdigest())
    assert (check.sha256, check.unchanged) == (hashlib.sha256(b"evidencf").hexdigest(), False)


def test_a_file_that_is_gone_is_a_result(tmp_path: Path) -> None:
    check = check_again(tmp_path / "gone.wav", "0" * 64)
    assert (check.sha256, check.unchanged) == (None, False)


def test_a_changed_file_is_the_last_reason_of_its_finding(tmp_path: Path) -> None:
    finding = of_verdict(Verdict.SPOOF)
    path = tmp_path / "a.wav"
    path.write_bytes(b"evidence")
    same = with_custody(finding, check_again(path, hashlib.sha256(b"evidence").hexdigest()))
    assert same.custody is not None
    assert (same.reasons, same.verdict) == (finding.reasons, finding.verdict)
    changed = with_custody(finding, check_again(path, "0" * 64))
    assert changed.reasons[:-1] == finding.reasons
    assert changed.reasons[-1].code == "changed-after-examination"
    assert hashlib.sha256(b"evidence").hexdigest() in changed.reasons[-1].message
    gone = with_custody(finding, check_again(tmp_path / "gone.wav", "0" * 64))
    assert "it cannot be read any more" in gone.reasons[-1].message
