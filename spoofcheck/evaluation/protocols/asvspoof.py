"""The protocol and key files of the ASVspoof challenges; fields are separated by blanks or tabs.

The audio of an utterance is looked up by its id, with .flac or .wav, anywhere below the root.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from spoofcheck.evaluation.clips import UNKNOWN, Clip
from spoofcheck.evaluation.protocols.lines import Line, Names, or_unknown, parse_label, quoted, read_lines
from spoofcheck.evaluation.protocols.walk import AudioIndex

_SPLIT_OF_LETTER = MappingProxyType({"T": "train", "D": "dev", "E": "eval"})


@dataclass(frozen=True)
class _Layout:
    """Which field of a line holds what, by its 0-based position."""

    repo: str
    fields: str
    """The line's fields in the words of the error message."""
    min_count: int
    max_count: int
    attack: int
    label: int
    codec: int | None = None
    corpus: int | None = None
    subset: int | None = None
    """The split; where there is no such field the utterance id says it."""

    def field(self, fields: list[str], at: int | None) -> str:
        """The field at a position, `-` where this layout has none such."""
        return UNKNOWN if at is None else or_unknown(fields[at])


_LA_2019 = _Layout("ASVspoof 2019 LA", "speaker utterance - attack label", 5, 5, attack=3, label=4)
_LA_2021 = _Layout(
    "ASVspoof 2021 LA", "speaker utterance codec transmission attack label trim subset", 8, 8, attack=4, label=5,
    codec=2, subset=7,
)  # fmt: skip
_DF_2021 = _Layout(
    "ASVspoof 2021 DF", "speaker utterance codec source attack label trim subset vocoder ...", 9, 13, attack=4, label=5,
    codec=2, corpus=3, subset=7,
)  # fmt: skip
_FIVE = _Layout(
    "ASVspoof 5", "speaker utterance gender codec codec_q codec_seed attack_tag attack label tmp", 10, 10, attack=7,
    label=8, codec=3,
)  # fmt: skip


def read_2019_la(path: Path, root: Path | None = None) -> list[Clip]:
    """Read a countermeasure protocol of ASVspoof 2019 LA, e.g. `LA_0079 LA_T_1138215 - A01 spoof`.

    Raises:
        UsageError: see `protocols.read_protocol`.
    """
    return _read(path, root, _LA_2019)


def read_2021_la(path: Path, root: Path | None = None) -> list[Clip]:
    """Read the keys (`trial_metadata.txt`) of ASVspoof 2021 LA; the split is the subset: progress, eval, hidden.

    Raises:
        UsageError: see `protocols.read_protocol`.
    """
    return _read(path, root, _LA_2021)


def read_2021_df(path: Path, root: Path | None = None) -> list[Clip]:
    """Read the keys (`trial_metadata.txt`) of ASVspoof 2021 DF; the corpus is the source, e.g. `vcc2020`.

    Raises:
        UsageError: see `protocols.read_protocol`.
    """
    return _read(path, root, _DF_2021)


def read_asvspoof5(path: Path, root: Path | None = None) -> list[Clip]:
    """Read a track 1 protocol of ASVspoof 5 (its .tsv files are separated by blanks).

    Raises:
        UsageError: see `protocols.read_protocol`.
    """
    return _read(path, root, _FIVE)


def _read(path: Path, root: Path | None, layout: _Layout) -> list[Clip]:
    index = AudioIndex(path.parent if root is None else root)
    names = Names()
    clips = []
    for line in read_lines(path):
        fields = line.text.split()
        if not layout.min_count <= len(fields) <= layout.max_count:
            raise line.fault(f"{len(fields)} fields, expected `{layout.fields}`")
        clips.append(_clip(line, fields, layout, index))
        names.add(line, clips[-1].name)
    return clips


def _clip(line: Line, fields: list[str], layout: _Layout, index: AudioIndex) -> Clip:
    speaker, utterance = fields[:2]
    label = line.label(fields[layout.label])
    system = _system(line, fields[layout.attack], label)
    return Clip(
        name=utterance,
        path=index.find(line, utterance),
        label=label,
        system=system,
        speaker=or_unknown(speaker),
        split=layout.field(fields, layout.subset) if layout.subset is not None else _split_of(utterance),
        codec=layout.field(fields, layout.codec),
        repo=layout.repo,
        corpus=layout.field(fields, layout.corpus),
    )


def _system(line: Line, attack: str, label: str) -> str:
    """The attack; human speech has `-` or its label in that field, depending on the year."""
    named_label = parse_label(attack)
    if label == "bonafide":
        if named_label != "bonafide" and or_unknown(attack) != UNKNOWN:
            raise line.contradiction(label, attack)
        return UNKNOWN
    if named_label == "bonafide":
        raise line.fault(f"label 'spoof' contradicts attack {quoted(attack)}")
    return or_unknown(attack)


def _split_of(utterance: str) -> str:
    """`train` for `LA_T_1138215` and `T_0000000000`: the letter before the number names the part."""
    parts = utterance.split("_")
    return _SPLIT_OF_LETTER.get(parts[-2], UNKNOWN) if len(parts) > 1 else UNKNOWN
