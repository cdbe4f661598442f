"""Score files and key files in ASVspoof 5's form, and the trials that come of joining them.

A score file has the columns `filename cm-score` (higher means bona fide), separated by tabs or blanks, with a header;
a `cm-label` column makes it its own key file. A key file has `filename cm-label` and, where known, `system`, `speaker`,
`codec` and `language`. Two bare columns are also read without a header, as ASVspoof 2021 wrote them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spoofcheck.audio.inputs import display_path
from spoofcheck.errors import OutputError, UsageError
from spoofcheck.evaluation.clips import UNKNOWN, Clip
from spoofcheck.evaluation.protocols.lines import Line, or_unknown, quoted, read_lines

NAME, SCORE, LABEL = "filename", "cm-score", "cm-label"
_SYNONYMS = {
    "file": NAME, "name": NAME, "path": NAME, "utterance": NAME, "score": SCORE, "cm_score": SCORE, "label": LABEL,
    "key": LABEL, "cm_label": LABEL, "attack": "system", "speaker_id": "speaker",
}  # fmt: skip
_DETAILS = ("system", "speaker", "language", "codec")
_KNOWN = (NAME, SCORE, LABEL, *_DETAILS)
_LISTED = 3


@dataclass(frozen=True, slots=True)
class Key:
    """What is true of a trial. What is not known is `"-"`; `source` is the unit that a bootstrap draws."""

    name: str
    bonafide: bool
    system: str = UNKNOWN
    speaker: str = UNKNOWN
    language: str = UNKNOWN
    codec: str = UNKNOWN
    source: str = UNKNOWN


@dataclass(frozen=True, slots=True)
class ScoredTrial:
    """A trial with its score: HIGHER MEANS BONA FIDE. The rest as in `Key`."""

    name: str
    bonafide: bool
    score: float
    system: str = UNKNOWN
    speaker: str = UNKNOWN
    language: str = UNKNOWN
    codec: str = UNKNOWN
    source: str = UNKNOWN


@dataclass(frozen=True, slots=True)
class ScoreFile:
    """Scores by trial name in the order of the file, and the keys that stood beside them, if any."""

    scores: Mapping[str, float]
    keys: Mapping[str, Key] | None


def read_scores(path: Path, keys: Path | None = None) -> list[ScoredTrial]:
    """The trials of a score file, in its order; the keys come from `keys`, or from the file's own label column.

    Raises:
        UsageError: a file that cannot be read or understood, a score that is no finite number (file and line are
            named), a trial twice, a trial without a key, a key without a score, labels that contradict each other,
            or trials of one class only.
    """
    file = read_score_file(path)
    if keys is None and file.keys is None:
        raise UsageError(
            f"{display_path(path)}: has no '{LABEL}' column; give the labels with --keys FILE or --protocol KIND PATH"
        )
    known = read_keys(keys) if keys is not None else file.keys or {}
    trials = join(file, known, display_path(path), display_path(keys or path))
    require_both_classes(trials, display_path(path))
    return trials


def read_score_file(path: Path) -> ScoreFile:
    """Scores of a file, and its keys where it has a label column. Errors as for `read_scores`."""
    scores: dict[str, float] = {}
    keys: dict[str, Key] = {}
    names: list[str] = []
    for line, row in _rows(path, (NAME, SCORE)):
        names.append(row[NAME])
        scores[row[NAME]] = _score(row[SCORE], line)
        if LABEL in row:
            keys[row[NAME]] = _key(row, line)
    _refuse_duplicates(names, path)
    return ScoreFile(scores, keys or None)


def read_keys(path: Path) -> dict[str, Key]:
    """The keys of a key file, by trial name. Errors as for `read_scores`."""
    keys: dict[str, Key] = {}
    names: list[str] = []
    for line, row in _rows(path, (NAME, LABEL)):
        names.append(row[NAME])
        keys[row[NAME]] = _key(row, line)
    _refuse_duplicates(names, path)
    return keys


def keys_of(clips: Sequence[Clip]) -> dict[str, Key]:
    """The keys that a protocol's clips are, by trial name (`trial_names`), in their order."""
    return {
        name: Key(name, not clip.is_spoof, clip.system, clip.speaker, clip.language, clip.codec, clip.source)
        for name, clip in zip(trial_names(clips), clips, strict=True)
    }


def trial_names(clips: Sequence[Clip]) -> list[str]:
    """A name of its own for every clip: the protocol's, or behind its repository's where two share one.

    Raises:
        UsageError: two clips share repository and name.
    """
    taken = Counter(clip.name for clip in clips)
    names = [clip.name if taken[clip.name] == 1 else f"{clip.repo}/{clip.name}" for clip in clips]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise UsageError(f"the protocol names {_some(twice, 'clip')} more than once")
    return names


def join(file: ScoreFile, keys: Mapping[str, Key], scores_name: str, keys_name: str) -> list[ScoredTrial]:
    """The trials of a score file whose keys are known, in the file's order.

    Raises:
        UsageError: a trial without a key, a key without a score, or other labels in the score file's own column.
    """
    keyless = [name for name in file.scores if name not in keys]
    if keyless:
        raise UsageError(f"{scores_name}: {_some(keyless, 'trial')} without a key in {keys_name}")
    scoreless = [name for name in keys if name not in file.scores]
    if scoreless:
        raise UsageError(f"{keys_name}: {_some(scoreless, 'key')} without a score in {scores_name}")
    if file.keys is not None:
        other = [name for name, key in file.keys.items() if key.bonafide != keys[name].bonafide]
        if other:
            raise UsageError(f"{scores_name}: {_some(other, 'label')} that {keys_name} contradicts")
    return [scored(keys[name], score) for name, score in file.scores.items()]


def scored(key: Key, score: float) -> ScoredTrial:
    """The trial a key and a score make; a trial without a source is one of its own."""
    source = key.name if key.source == UNKNOWN else key.source
    return ScoredTrial(key.name, key.bonafide, score, key.system, key.speaker, key.language, key.codec, source)


def require_both_classes(trials: Sequence[ScoredTrial], name: str) -> None:
    """Refuse what no error rate can be counted on.

    Raises:
        UsageError: a class without a trial.
    """
    genuine = sum(trial.bonafide for trial in trials)
    if genuine in (0, len(trials)):
        raise UsageError(f"{name}: both classes are needed, but there are {genuine} bona fide and "
                         f"{len(trials) - genuine} spoof trials with a score")  # fmt: skip


def score_text(trials: Iterable[ScoredTrial]) -> str:
    """The text of a score file: ASVspoof 5's two columns, tab-separated, every digit of every score.

    Raises:
        OutputError: a name holds a tab or a line break, which the form cannot carry.
    """
    lines = [f"{NAME}\t{SCORE}\n"]
    for trial in trials:
        if any(char in trial.name for char in "\t\n\r"):
            raise OutputError(f"{trial.name!r}: a name with a tab or line break fits no score file")
        lines.append(f"{trial.name}\t{trial.score!r}\n")
    return "".join(lines)


def write_scores(path: Path, trials: Iterable[ScoredTrial]) -> None:
    """Write a score file (`score_text`), UTF-8.

    Raises:
        OutputError: it cannot be written, or a name fits no score file.
    """
    try:
        path.write_text(score_text(trials), encoding="utf-8", newline="")
    except OSError as error:
        raise OutputError(f"{display_path(path)}: cannot be written ({error.strerror or error})") from error


def _rows(path: Path, needed: tuple[str, str]) -> Iterator[tuple[Line, dict[str, str]]]:
    """The lines of a file that are not empty, each with its fields by column."""
    lines = list(read_lines(path))
    if not lines:
        raise UsageError(f"{display_path(path)}: empty")
    separator = "\t" if "\t" in lines[0].text else None
    first = _fields(lines[0], separator)
    header = [_SYNONYMS.get(field.lower(), field.lower()) for field in first]
    if NAME in header:
        missing = [column for column in needed if column not in header]
        if missing:
            raise lines[0].fault(f"no column '{missing[0]}' (there are: {', '.join(first)})")
        twice = [column for column in _KNOWN if header.count(column) > 1]
        if twice:
            raise lines[0].fault(f"two columns mean '{twice[0]}'")
        lines = lines[1:]
    elif len(first) == len(needed):
        header = list(needed)
    else:
        raise lines[0].fault(f"no header '{' '.join(needed)}'")
    for line in lines:
        fields = _fields(line, separator)
        if len(fields) != len(header):
            raise line.fault(f"{len(fields)} fields, expected {len(header)}")
        yield line, dict(zip(header, fields, strict=True))


def _fields(line: Line, separator: str | None) -> list[str]:
    return [field.strip() for field in line.text.split(separator)]


def _score(text: str, line: Line) -> float:
    try:
        score = float(text)
    except ValueError:
        raise line.fault(f"score {quoted(text)} is no number") from None
    if not math.isfinite(score):
        raise line.fault(f"score {quoted(text)} is not finite")
    return score


def _key(row: Mapping[str, str], line: Line) -> Key:
    label = line.label(row[LABEL])
    system, speaker, language, codec = (or_unknown(row.get(column, "")) for column in _DETAILS)
    source = row[NAME] if speaker == UNKNOWN else speaker
    is_bonafide = label == "bonafide"
    return Key(row[NAME], is_bonafide, UNKNOWN if is_bonafide else system, speaker, language, codec, source)


def _refuse_duplicates(names: Sequence[str], path: Path) -> None:
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise UsageError(f"{display_path(path)}: {_some(twice, 'trial')} more than once")


def _some(names: Sequence[str], noun: str) -> str:
    """`2,001 trials (a, b, c, ...)`."""
    listed = ", ".join(quoted(name) for name in names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    return f"{len(names):,} {noun}{'' if len(names) == 1 else 's'} ({listed})"
