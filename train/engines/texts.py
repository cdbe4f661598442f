"""Gather sentences for the speaking programs: fortune files of Debian, and the tables of this repository.

`python train/engines/texts.py --out TSV`. The packages fortunes, fortunes-min, fortunes-cs, fortunes-de, fortunes-es,
fortunes-it, fortunes-pl and fortunes-ru are read where they are installed; those and the version of each decide what
comes out, so the table is made anew where it is wanted and not kept here. Only files that are neither rude nor
technical are read. A sentence has 4 to 20 words of letters alone.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

FORTUNES = Path("/usr/share/games/fortunes")
FILES = {
    "en": (".", "education food fortunes humorists kids law literature love medicine miscellaneous news people "
           "pets platitudes science songs-poems sports travel wisdom work"),
    "cs": ("cs", "chesterton citace citat guth hornicek jerome klasik-cz lodge prislovi stoa1 wikiquote wodehouse"),
    "de": ("de", "anekdoten bahnhof elefanten gedichte kuchen mathematiker murphy regeln sprichworte wusstensie "
           "zitate"),
    "es": ("es", "arte.fortunes asimov.fortunes ciencia.fortunes familia.fortunes filosofia.fortunes lao-tse.fortunes "
           "libertad.fortunes proverbios.fortunes refranes.fortunes sabiduria.fortunes vida.fortunes"),
    "it": ("it", "adams definizioni formiche italia leggi luke"),
    "pl": ("pl", "bajki haiku nauka puchatek seneka stachura"),
    "ru": ("ru", "art book education friendship future haiku knowledge life success time truth wealth work"),
}  # fmt: skip
"""The files that are read: a folder below `FORTUNES` and names in it, by language."""
TABLES = (Path(__file__).parents[1] / "texts.tsv", Path(__file__).with_name("sentences.tsv"))
FEWEST_WORDS, MOST_WORDS = 4, 20

_END = re.compile(r"(?<=[.!?])[\"')]*\s+(?=[\"'(]?[^\W\d_])")
_SENTENCE = re.compile(r"[^\W\d_](?:[^\W\d_]|[ ,;:'\u2019-])*[.!?]")


def sentences(entry: str) -> Iterator[str]:
    """The sentences of a fortune: names of authors and whatever does not read as one are left out."""
    lines = []
    for line in entry.splitlines():
        if line.strip().startswith(("--", "—", "- ", "[")):
            break
        lines.append(line.strip())
    for sentence in _END.split(" ".join(lines)):
        words = re.sub(r"\s+", " ", sentence).strip(" \"'()")
        first, last = words[:1], words[-1:]
        if FEWEST_WORDS <= len(words.split()) <= MOST_WORDS and _SENTENCE.fullmatch(words) and first.isupper() and last:
            yield words


def fortunes(path: Path) -> Iterator[str]:
    """The sentences of a fortune file."""
    for entry in re.split(r"^%.*$", path.read_text(encoding="utf-8", errors="ignore"), flags=re.MULTILINE):
        yield from sentences(entry)


def fortune_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The fortune files that are read, each with its language."""
    for language, (below, names) in FILES.items():
        for path in (folder / below / name for name in names.split()):
            if path.is_file():
                yield language, path


def gather(folder: Path) -> dict[str, list[str]]:
    """The sentences by language, none of them twice."""
    found: dict[str, dict[str, None]] = {}
    for table in TABLES:
        for line in table.read_text(encoding="utf-8").splitlines():
            language, tab, words = line.partition("\t")
            if tab and not line.startswith("#"):
                found.setdefault(language, {})[words.strip()] = None
    for language, path in fortune_files(folder):
        found.setdefault(language, {}).update(dict.fromkeys(fortunes(path)))
    return {language: list(found[language]) for language in sorted(found)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Gather sentences for the speaking programs of this folder.")
    parser.add_argument("--out", type=Path, required=True, metavar="TSV", help="table to write")
    options = parser.parse_args()
    found = gather(FORTUNES)
    lines = [f"{language}\t{words}\n" for language, group in found.items() for words in group]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("".join(lines), encoding="utf-8")
    print(", ".join(f"{language} {len(group)}" for language, group in found.items()), file=sys.stderr)


if __name__ == "__main__":
    main()
