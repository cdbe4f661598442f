"""The example recordings: attributed, of one size together, and each as `truth.tsv` says."""

from __future__ import annotations

import csv
import hashlib
import re
from pathlib import Path

import spoofcheck

EXAMPLES = Path(spoofcheck.__file__).resolve().parent.parent / "examples"
RECORDINGS = EXAMPLES / "recordings"


def _truth() -> list[dict[str, str]]:
    with (EXAMPLES / "truth.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_every_recording_is_attributed_with_its_hash() -> None:
    text = (EXAMPLES / "ATTRIBUTION.md").read_text(encoding="utf-8")
    listed = {name: digest for digest, name in re.findall(r"^([0-9a-f]{64})  (.+)$", text, re.MULTILINE)}
    real = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in RECORDINGS.iterdir()}
    assert listed == real


def test_truth_names_every_recording() -> None:
    assert {row["path"] for row in _truth()} == {path.name for path in RECORDINGS.iterdir()}


def test_truth_holds_what_a_demonstration_needs() -> None:
    labels = {row["label"] for row in _truth()}
    assert labels == {"bonafide", "spoof", "partial", "not-speech", "broken"}
    call = [(row["channel"], row["label"]) for row in _truth() if row["channel"]]
    assert call == [("0", "bonafide"), ("1", "spoof")]
    (spliced,) = [row for row in _truth() if row["label"] == "partial"]
    assert 16 <= float(spliced["spliced_end_s"]) - float(spliced["spliced_start_s"]) <= 20


def test_together_at_most_three_megabytes() -> None:
    assert sum(path.stat().st_size for path in RECORDINGS.iterdir()) <= 3_000_000
