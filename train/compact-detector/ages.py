"""Note in a manifest which speakers of speechocean762 are children, so that a card can tell how often they are flagged.

`python train/compact-detector/ages.py MANIFEST GIT_COPY` rewrites the notes of that repository's rows. The ages are the
repository's own (`train/spk2age`, `test/spk2age` at the commit below): 122 of its 250 speakers are 6 to 15 years old,
the others 19 or more.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

REPO = "jimbozhang/speechocean762"
COMMIT = "613968e3b0b789fc33936fb5eba1973176ba7d11"
ADULT_YEARS = 18


def ages_of(git_copy: Path) -> dict[str, int]:
    """Age in years by speaker, as the manifest names them (`so762:0001`)."""
    ages = {}
    for part in ("train", "test"):
        command = ["git", "-C", str(git_copy), "show", f"{COMMIT}:{part}/spk2age"]
        for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
            speaker, years = line.split()
            ages[f"so762:{speaker:0>4}"] = int(years)
    return ages


def noted(lines: list[str], ages: dict[str, int]) -> list[str]:
    """The lines of a manifest with the notes of that repository's speakers written anew.

    Raises:
        SystemExit: one of its speakers has no age, or a column is missing.
    """
    columns = lines[0].split("\t")
    try:
        repo, speaker, note = (columns.index(name) for name in ("repo", "speaker", "note"))
    except ValueError as error:
        raise SystemExit(f"the manifest has no such column: {error}") from error
    rows = [line.split("\t") for line in lines]
    for row in rows[1:]:
        if row[repo] == REPO:
            if row[speaker] not in ages:
                raise SystemExit(f"no age is known of the speaker {row[speaker]!r}")
            who = "adults" if ages[row[speaker]] >= ADULT_YEARS else "children"
            row[note] = f"{who}; L2 English, L1 Mandarin"
    return ["\t".join(row) for row in rows]


def main() -> None:
    """Rewrite the manifest in place."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("manifest", type=Path)
    options.add_argument("git_copy", type=Path, metavar="GIT_COPY", help=f"a git copy of {REPO}, bare or not")
    chosen = options.parse_args()
    text = chosen.manifest.read_text(encoding="utf-8")
    lines = noted(text.rstrip("\n").split("\n"), ages_of(chosen.git_copy))
    beside = chosen.manifest.with_name(chosen.manifest.name + ".new")
    beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    beside.replace(chosen.manifest)
    sys.stderr.write(f"{chosen.manifest}: ages noted\n")


if __name__ == "__main__":
    main()
