"""What the speaking programs of this folder share: which sentences, in which files, and how a clip is written.

A program loads its engine once and speaks a plan. It runs in the engine's own virtual environment, so nothing here
needs more than NumPy and soundfile.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

Speak = Callable[["Utterance"], "tuple[object, int]"]
"""Speaks one utterance: float32 samples `[n]`, full scale 1, and their rate in Hz."""

SHORTEST_S = 0.3
SILENCE = 1e-3


@dataclass(frozen=True, slots=True)
class Text:
    """A sentence: its language and its words."""

    language: str
    words: str


@dataclass(frozen=True, slots=True)
class Utterance:
    """A sentence to be spoken.

    Attributes:
        place: the FLAC file, `<out>/<speaker>/<language>-<index>.flac`.
        seed: of whatever the engine draws for it; depends on the run's seed and the utterance, not on its neighbours.
        tag: kept in the file, so that a later run knows what lies there.
    """

    text: Text
    speaker: str
    place: Path
    seed: int
    tag: str


@dataclass(frozen=True, slots=True)
class Program:
    """A speaking program.

    Attributes:
        engine: its name and version, part of the tags.
        language: of the sentences it can speak.
        speaker: the speaker of the utterance with this index.
        load: loads the engine, given the run's seed; called once, and only where something is to be spoken.
    """

    engine: str
    language: str
    speaker: Callable[[int], str]
    load: Callable[[int], Speak]


def read_texts(path: Path) -> list[Text]:
    """Sentences of a table: `language<tab>sentence`, lines that begin with # are none.

    Raises:
        ValueError: a line that does not read so, with its number, or no sentence at all.
        OSError: it cannot be read.
    """
    texts = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        language, tab, words = line.partition("\t")
        if not tab or not language.strip() or not words.strip():
            raise ValueError(f"{path}, line {number}: expected language<tab>sentence")
        texts.append(Text(language.strip(), words.strip()))
    if not texts:
        raise ValueError(f"{path}: no sentence in it")
    return texts


def digest(*parts: object) -> str:
    """SHA-256 of the parts as text, in hexadecimal digits."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def plan(program: Program, texts: Sequence[Text], out: Path, *, count: int, seed: int) -> list[Utterance]:
    """Which sentences are spoken by whom: `count` different ones of the program's language, drawn by their words.

    A longer plan begins with the shorter one of the same table and seed.

    Raises:
        ValueError: the table has fewer.
    """
    fitting = list(dict.fromkeys(text for text in texts if text.language == program.language))
    if count > len(fitting):
        raise ValueError(f"--count {count}: the table has {len(fitting)} sentences in {program.language!r}")
    drawn = sorted(fitting, key=lambda text: digest(seed, text.words))[:count]
    return [
        Utterance(
            text=text,
            speaker=program.speaker(index),
            place=out / program.speaker(index) / f"{text.language}-{index:04d}.flac",
            seed=int(digest(seed, program.engine, index, text.words)[:8], 16),
            tag=f"{program.engine} {digest(program.engine, seed, program.speaker(index), text.words)[:16]}",
        )
        for index, text in enumerate(drawn)
    ]


def missing(utterances: Sequence[Utterance]) -> Iterator[Utterance]:
    """Those that no earlier run has spoken."""
    import soundfile

    for utterance in utterances:
        try:
            with soundfile.SoundFile(utterance.place) as sound:
                if sound.comment == utterance.tag and sound.frames > 0:
                    continue
        except (OSError, soundfile.LibsndfileError):
            pass
        yield utterance


def write(utterance: Utterance, samples: object, sample_rate_hz: int) -> float:
    """Write mono 16-bit FLAC, whole or not at all; what is beyond full scale is turned down as a whole.

    Returns:
        Its seconds.

    Raises:
        ValueError: silence, or less than 0.3 s.
    """
    import numpy as np
    import soundfile

    wave = np.asarray(samples, dtype=np.float32).ravel()
    peak = float(np.abs(wave).max(initial=0.0))
    if peak < SILENCE or wave.size < SHORTEST_S * sample_rate_hz:
        raise ValueError(f"silence, or less than {SHORTEST_S} s")
    utterance.place.parent.mkdir(parents=True, exist_ok=True)
    beside = utterance.place.with_name(f".{utterance.place.name}.part")
    with soundfile.SoundFile(beside, "w", sample_rate_hz, 1, subtype="PCM_16", format="FLAC") as sound:
        sound.comment = utterance.tag
        sound.write(wave / max(1.0, peak))
    beside.replace(utterance.place)
    return wave.size / sample_rate_hz


def run(program: Program, texts: Path, out: Path, *, count: int, seed: int) -> int:
    """Speak what is missing of the plan; complaints and a summary go to standard error.

    Returns:
        An exit status: 0 done, 2 nothing could be planned, 3 done but for some.
    """
    try:
        utterances = plan(program, read_texts(texts), out, count=count, seed=seed)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    todo = list(missing(utterances))
    speak = program.load(seed) if todo else None
    failed, seconds = 0, 0.0
    for utterance in todo:
        assert speak is not None
        try:
            seconds += write(utterance, *speak(utterance))
        # An engine may fail on a sentence in any way; the others are spoken all the same.
        except Exception as error:
            failed += 1
            print(f"{utterance.place}: {type(error).__name__}: {error}", file=sys.stderr)
    made = len(todo) - failed
    kept = len(utterances) - len(todo)
    print(f"{program.engine}: {made} made ({seconds:.0f} s), {kept} kept, {failed} failed", file=sys.stderr)
    return 3 if failed else 0


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that all speaking programs have."""
    parser = argparse.ArgumentParser(
        description=(description or "").partition("\n")[0],
        epilog="What an earlier run has spoken is kept. Exit status: 0 done, 2 no plan, 3 done but for some sentences.",
    )
    parser.add_argument("--texts", type=Path, required=True, metavar="TSV", help="language<tab>sentence, one a line")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the clips")
    parser.add_argument("--count", type=_positive, required=True, metavar="N", help="how many sentences")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all that is drawn (default 0)")
    return parser


def main(program: Program, description: str | None) -> None:
    """Read the command line and run a program that has no option of its own."""
    options = arguments(description).parse_args()
    sys.exit(run(program, options.texts, options.out, count=options.count, seed=options.seed))


def one_thread() -> None:
    """Have numerical libraries that are loaded later use one thread: sums come out the same on every machine."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = "1"


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}, expected 1 or more")
    return number
