"""A file name for every exhibit: readable, harmless on any system, and no two that a file system could take for one.

What is left of an exhibit's own name are letters, marks and numbers of any script, dots, dashes and underscores; all
else becomes an underscore. So no name holds a separator, a blank, a quote, or what acts on a terminal, and none begins
with a dot (hidden) or a dash (an option). Devices of Windows (`CON`, `COM1`) get an underscore in front. Names that
differ in case or in the form of accents alone count as one, as they do on Windows and macOS, and are numbered.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from posixpath import basename

from spoofcheck.render.text import printable
from spoofcheck.schema import Finding

LONGEST_BYTES = 120
"""Of a name in UTF-8, before its number and ending: paths on Windows have 260 characters for everything."""

_DEVICE = re.compile(r"(con|prn|aux|nul|clock\$|conin\$|conout\$|(com|lpt)[0-9¹²³])(\.|$)", re.IGNORECASE)


def unique_names(findings: Iterable[Finding]) -> list[str]:
    """A name for each exhibit, without an ending; the same exhibits in the same order get the same names."""
    taken: set[str] = set()
    names = []
    for finding in findings:
        name = wanted = exhibit_name(finding)
        number = 1
        while _folded(name) in taken:
            number += 1
            name = f"{wanted}-{number}"
        taken.add(_folded(name))
        names.append(name)
    return names


def exhibit_name(finding: Finding) -> str:
    """An exhibit's reference in the case, its file's name and its channel (from 1), as far as there are any."""
    file = basename(finding.path.rstrip("/")) or "exhibit"
    parts = [finding.exhibit, file, None if finding.channel is None else f"ch{finding.channel + 1}"]
    # The channel comes last, and must not be what a long name loses.
    ending = "" if parts[2] is None else f"-{parts[2]}"
    return safe_name("-".join(part for part in parts[:2] if part), LONGEST_BYTES - len(ending)) + ending


def safe_name(text: str, longest_bytes: int = LONGEST_BYTES) -> str:
    """`text` as a file name by the rules above; never empty."""
    composed = unicodedata.normalize("NFC", printable(text))
    kept = "".join(char if char in "._-" or unicodedata.category(char)[0] in "LMN" else "_" for char in composed)
    kept = re.sub(r"\.{2,}", ".", kept)
    cut = kept.encode()[:longest_bytes].decode(errors="ignore").rstrip(".")
    if not cut.strip("_"):
        return "exhibit"
    may_begin = cut[0] == "_" or unicodedata.category(cut[0])[0] in "LN"
    guarded = cut if may_begin else "_" + cut.lstrip(".")
    return "_" + guarded if _DEVICE.match(guarded) else guarded


def _folded(name: str) -> str:
    """What a file system that minds neither case nor the form of accents sees."""
    return unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
