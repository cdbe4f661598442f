"""List what the speaking programs of this folder made: `python train/engines/listing.py MADE` writes MADE/manifest.tsv.

Unlike those programs it runs in the project's environment. `engines.tsv` says what each folder holds; speaker and
language are read off the layout, everything else off the files. Folders that are not there are not listed.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from spoofcheck.evaluation.clips import UNKNOWN, Clip
from spoofcheck.evaluation.protocols.manifest import read_manifest, write_manifest
from spoofcheck.training.listing import FolderRule, list_folder, measure_clips
from spoofcheck.training.made import Failed, clips_of

TABLE = Path(__file__).with_name("engines.tsv")
CLASSIC = "classic-"
"""What folders begin with that `spoofcheck corpus engines` filled: it lists them itself, with their languages."""

_NAME = re.compile(r"(?P<language>[a-z]{2,3})-\d+\.\w+")


@dataclass(frozen=True, slots=True)
class Source:
    """A row of `engines.tsv`: what the clips below a folder are."""

    folder: str
    system: str
    licence: str
    package: str
    technology: str

    def holds(self, name: str) -> bool:
        """Whether a clip of this name lies below the folder."""
        return name.startswith(f"{self.folder}/")


def read_sources(path: Path = TABLE) -> list[Source]:
    """The rows of the table, those with the longest folder first."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    return sorted((Source(**row) for row in rows), key=lambda source: -len(source.folder))


def labelled(clip: Clip, sources: Iterable[Source], known: Clip | None) -> Clip | None:
    """The clip with what its folder says; None where no row holds it. `known`: its row in a classic folder's list."""
    source = next((source for source in sources if source.holds(clip.name)), None)
    if source is None:
        return None
    *folders, name = clip.name.split("/")
    found = _NAME.fullmatch(name)
    language = known.language if known is not None else found["language"] if found is not None else UNKNOWN
    engine = folders[0].removeprefix(CLASSIC)
    return replace(
        clip,
        repo=f"made/{engine}",
        label="spoof",
        system=source.system,
        speaker=f"{engine}:{folders[-1]}",
        language=language,
        licence=source.licence,
        note=f"made by {source.package}",
    )


def clips_below(folder: Path, sources: Sequence[Source]) -> Iterator[Clip | Failed]:
    """Every clip below a folder of made ones, labelled and not measured yet, sorted; or why it is none."""
    classic = {
        f"{listed.parent.name}/{clip.name}": clip
        for listed in folder.glob(f"{CLASSIC}*/manifest.tsv")
        for clip in read_manifest(listed)
    }
    rule = FolderRule(label="spoof", split="train")
    for found in list_folder(folder, rule):
        if isinstance(found, Failed):
            yield found
            continue
        clip = labelled(found, sources, classic.get(found.name))
        if clip is not None:
            yield clip


def main() -> int:
    parser = argparse.ArgumentParser(description="List what the speaking programs of this folder made.")
    parser.add_argument("made", type=Path, metavar="MADE", help="folder of their folders")
    made: Path = parser.parse_args().made.absolute()
    outcomes = list(measure_clips(list(clips_below(made, read_sources()))))
    clips = clips_of(outcomes)
    write_manifest(made / "manifest.tsv", clips, root=made.parent)
    for outcome in outcomes:
        if isinstance(outcome, Failed):
            print(f"{outcome.name}: {outcome.reason}", file=sys.stderr)
    for system, number in sorted(Counter(clip.system for clip in clips).items()):
        seconds = sum(clip.duration_s or 0.0 for clip in clips if clip.system == system)
        print(f"{system}: {number} clips, {seconds:.0f} s", file=sys.stderr)
    return 3 if len(clips) < len(outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
