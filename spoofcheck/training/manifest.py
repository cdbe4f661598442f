"""The list of clips a model is made from: one tab-separated row a clip, with label, system, speaker and licence."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from spoofcheck.errors import UsageError

LABELS = ("bonafide", "spoof")
SPLITS = ("train", "dev", "eval")
COLUMNS = (
    "split", "repo", "path", "label", "system", "speaker", "language", "seconds", "sample_rate", "codec", "corpus",
    "licence", "local_path",
)  # fmt: skip
UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording of the corpus.

    Attributes:
        path: where the audio lies on this machine.
        name: its path inside `repo`, the public identity of the clip.
        label: `"bonafide"` or `"spoof"`.
        system: what made it (`tts:`, `vc:`, `vocoder:`, `codec:` + name), `"-"` for human speech.
        speaker: the speaker where the source says so, else `"-"`.
        codec: container and codec of the source file, e.g. `"wav/pcm_16"`, `"mp3"`.
    """

    split: str
    repo: str
    name: str
    path: Path
    label: str
    system: str
    speaker: str
    language: str
    duration_s: float
    codec: str
    corpus: str
    licence: str

    @property
    def is_spoof(self) -> bool:
        """Whether the clip is synthetic, converted or resynthesised speech."""
        return self.label == "spoof"

    @property
    def source(self) -> str:
        """The unit that is resampled by a bootstrap: the speaker of a repository, or the clip when none is known."""
        return f"{self.repo}/{self.speaker if self.speaker != UNKNOWN else self.name}"


def read_manifest(manifest: Path, audio_root: Path, splits: Iterable[str] = SPLITS) -> list[Clip]:
    """Read the clips of some splits, in the order of the file.

    Args:
        manifest: tab-separated file with a header line holding at least `COLUMNS`.
        audio_root: folder the column `local_path` is relative to.
        splits: which splits to keep; the lines of the others are checked all the same.

    Raises:
        UsageError: the file cannot be read, a column is missing, or a line does not make sense (with its number).
    """
    wanted = frozenset(splits)
    try:
        text = manifest.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{manifest}: cannot read the manifest: {error}") from error
    rows = csv.reader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    header = next(rows, [])
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise UsageError(f"{manifest}: line 1: missing columns: {', '.join(missing)}")
    clips = []
    for number, values in enumerate(rows, start=2):
        if len(values) != len(header):
            raise UsageError(f"{manifest}: line {number}: {len(values)} fields, expected {len(header)}")
        clip = _clip(dict(zip(header, values, strict=True)), audio_root, f"{manifest}: line {number}")
        if clip.split in wanted:
            clips.append(clip)
    return clips


def _clip(row: dict[str, str], audio_root: Path, where: str) -> Clip:
    if row["split"] not in SPLITS:
        raise UsageError(f"{where}: split {row['split']!r}, expected one of {', '.join(SPLITS)}")
    if row["label"] not in LABELS:
        raise UsageError(f"{where}: label {row['label']!r}, expected one of {', '.join(LABELS)}")
    if (row["label"] == "spoof") == (row["system"] == UNKNOWN):
        raise UsageError(f"{where}: label {row['label']!r} contradicts system {row['system']!r}")
    try:
        duration_s = float(row["seconds"])
    except ValueError:
        raise UsageError(f"{where}: seconds {row['seconds']!r} is not a number") from None
    return Clip(
        split=row["split"],
        repo=row["repo"],
        name=row["path"],
        path=audio_root / row["local_path"],
        label=row["label"],
        system=row["system"],
        speaker=row["speaker"],
        language=row["language"],
        duration_s=duration_s,
        codec=row["codec"],
        corpus=row["corpus"],
        licence=row["licence"],
    )
