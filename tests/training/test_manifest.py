from __future__ import annotations

from pathlib import Path

import pytest

from spoofcheck.errors import UsageError
from spoofcheck.training.manifest import COLUMNS, read_manifest

GOOD = {
    "split": "train", "repo": "a/b", "path": "x/1.wav", "label": "bonafide", "system": "-", "speaker": "s1",
    "language": "en", "seconds": "2.5", "sample_rate": "16000", "codec": "wav/pcm_16", "corpus": "C",
    "licence": "CC0", "local_path": "corpus/1.wav",
}  # fmt: skip


def write(folder: Path, *rows: dict[str, str], header: tuple[str, ...] = COLUMNS) -> Path:
    path = folder / "clips.tsv"
    lines = ["\t".join(header), *("\t".join(row[name] for name in header) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_reads_the_clips_of_the_splits_asked_for(tmp_path: Path) -> None:
    spoof = GOOD | {"split": "dev", "label": "spoof", "system": "tts:X", "speaker": "-"}
    path = write(tmp_path, GOOD, spoof)

    (human,) = read_manifest(path, tmp_path, ["train"])
    (synthetic,) = read_manifest(path, tmp_path, ["dev"])

    assert (human.path, human.is_spoof, human.duration_s) == (tmp_path / "corpus/1.wav", False, 2.5)
    assert human.source == "a/b/s1"
    assert synthetic.is_spoof
    assert synthetic.source == "a/b/x/1.wav"  # no speaker known: the clip stands for itself


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "fake"}, "label 'fake'"),
        ({"label": "spoof"}, "contradicts system '-'"),
        ({"system": "tts:X"}, "contradicts system 'tts:X'"),
        ({"split": "test"}, "split 'test'"),
        ({"seconds": "long"}, "seconds 'long' is not a number"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, change: dict[str, str], message: str) -> None:
    path = write(tmp_path, GOOD, GOOD, GOOD | change)
    with pytest.raises(UsageError, match=r"line 4") as error:
        read_manifest(path, tmp_path, ["eval"])
    assert message in str(error.value)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD, header=tuple(name for name in COLUMNS if name != "label"))
    with pytest.raises(UsageError, match="line 1: missing columns: label"):
        read_manifest(path, tmp_path)


def test_a_short_line_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    path.write_text(path.read_text() + "train\ta/b\n")
    with pytest.raises(UsageError, match="line 3: 2 fields"):
        read_manifest(path, tmp_path)
