"""Synthetic speech from the engines of this machine: espeak-ng, flite, festival, and any program of the user's.

No shell is involved: an engine is a list of words in which `{text_file}`, `{wav}` and `{voice}` are replaced. Each
utterance is made in a folder of its own and within a time limit; what an engine leaves behind goes with it.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spoofcheck.audio.decode import decode_blocks
from spoofcheck.audio.probe import probe
from spoofcheck.errors import InputError, UsageError
from spoofcheck.evaluation.clips import UNKNOWN, Clip
from spoofcheck.evaluation.protocols.lines import read_lines
from spoofcheck.training.made import Failed, Made, described, is_made, is_silent, write_flac
from spoofcheck.training.store import Wave

SYSTEM_PREFIX = "tts:"
MOST_CHARACTERS = 1000
MOST_S = 120.0

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_VOICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")
_LANGUAGE = re.compile(r"[a-z]{2,3}")


@dataclass(frozen=True, slots=True)
class Text:
    """A sentence to be spoken: its 1-based number in the file, its language (`"-"` when not said) and its words."""

    number: int
    language: str
    words: str


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice of an engine.

    Attributes:
        name: as the engine calls it.
        language: of the texts it may be given, `"-"` for all.
        encoding: of the text file it reads.
    """

    name: str
    language: str = UNKNOWN
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True)
class Engine:
    """A program that speaks.

    Attributes:
        command: its words, with `{text_file}`, `{wav}` and, where it has voices, `{voice}`.
    """

    name: str
    command: tuple[str, ...]
    voices: tuple[Voice, ...]


@dataclass(frozen=True, slots=True)
class Utterance:
    """One text to be spoken by one voice; `place` is the FLAC file, `name` its path below the output folder."""

    engine: Engine
    voice: Voice
    text: Text
    name: str
    place: Path
    split: str
    licence: str

    @property
    def tag(self) -> str:
        """Tells whether a file that lies there is the one this would write."""
        words = "\0".join((*self.engine.command, self.voice.name, self.text.words))
        return f"spoofcheck {self.engine.name} {self.voice.name} {hashlib.sha256(words.encode()).hexdigest()[:16]}"


_ESPEAK_LANGUAGES = {"en": "en-us", "zh": "cmn", "fr": "fr-fr", "no": "nb"}
_ESPEAK_VARIANTS = ("", "+f3", "+m3", "+klatt2")
_FLITE_VOICES = ("slt", "awb", "rms", "kal16")
_FESTIVAL_FOLDER = Path("/usr/share/festival/voices")
_FESTIVAL_VOICES = (
    Voice("kal_diphone", "en"),
    Voice("ked_diphone", "en"),
    Voice("cmu_us_slt_arctic_hts", "en"),
    Voice("lp_diphone", "it", "iso-8859-1"),
    Voice("pc_diphone", "it", "iso-8859-1"),
    Voice("suo_fi_lj_diphone", "fi", "iso-8859-1"),
    Voice("hy_fi_mv_diphone", "fi", "iso-8859-1"),
    Voice("czech_ph", "cs", "iso-8859-2"),
    Voice("upc_ca_ona_hts", "ca", "iso-8859-15"),
    Voice("msu_ru_nsh_clunits", "ru"),
)

KNOWN = ("espeak-ng", "flite", "festival")
"""Engines that are known by name."""


def known_engine(name: str, languages: Sequence[str]) -> Engine:
    """One of `KNOWN` with the voices it has for some languages.

    Raises:
        UsageError: an unknown name, or the program is not installed (with Debian's name of its package).
    """
    if name not in KNOWN:
        raise UsageError(f"engine {name!r}, expected one of {', '.join(KNOWN)} (or --command 'NAME=program ...')")
    program, package = {"festival": ("text2wave", "festival festvox-kallpc16k")}.get(name, (name, name))
    if shutil.which(program) is None:
        raise UsageError(f"{name}: {program} is not installed; apt install {package}")
    if name == "espeak-ng":
        voices = [
            Voice(_ESPEAK_LANGUAGES.get(language, language) + variant, language)
            for language in languages
            for variant in _ESPEAK_VARIANTS
        ]
        return Engine(name, (program, "-b", "1", "-v", "{voice}", "-w", "{wav}", "-f", "{text_file}"), tuple(voices))
    if name == "flite":
        command = (program, "-voice", "{voice}", "-f", "{text_file}", "-o", "{wav}")
        return Engine(name, command, tuple(Voice(voice, "en") for voice in _FLITE_VOICES))
    installed = {folder.name for folder in _FESTIVAL_FOLDER.glob("*/*")}
    return Engine(
        name,
        (program, "-eval", "(voice_{voice})", "{text_file}", "-o", "{wav}"),
        tuple(voice for voice in _FESTIVAL_VOICES if voice.name in installed),
    )


def user_engine(template: str) -> Engine:
    """An engine of the user's: `NAME=program {text_file} {wav}`, quoted as in a shell but run without one.

    Raises:
        UsageError: it does not read so, or the program is not there.
    """
    name, equals, command = template.partition("=")
    if not equals or _NAME.fullmatch(name) is None:
        raise UsageError(f"--command {template!r}: expected 'NAME=program {{text_file}} {{wav}}'")
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise UsageError(f"--command {name}: {error}") from error
    for field in ("{text_file}", "{wav}"):
        if not any(field in word for word in words[1:]):
            raise UsageError(f"--command {name}: {field} is missing; the program reads the one and writes the other")
    program = shutil.which(words[0])
    if program is None:
        raise UsageError(f"--command {name}: {words[0]} is not a program on this machine")
    return Engine(name, (str(Path(program).absolute()), *words[1:]), (Voice("default"),))


def with_voices(engine: Engine, names: Sequence[str]) -> Engine:
    """The engine with these voices instead of its own; `NAME@xx` says that a voice speaks texts in xx alone.

    Raises:
        UsageError: a name that is none.
    """
    known = {voice.name: voice for voice in (*engine.voices, *(_FESTIVAL_VOICES if engine.name == "festival" else ()))}
    voices = []
    for entry in names:
        name, at, language = entry.partition("@")
        if _VOICE.fullmatch(name) is None or (at and _LANGUAGE.fullmatch(language) is None):
            raise UsageError(f"voice {entry!r} of {engine.name}: expected letters, digits, _ . + -, then perhaps @xx")
        if at:
            voices.append(Voice(name, language))
        elif name in known:
            voices.append(known[name])
        elif engine.name == "espeak-ng":
            spoken = re.split(r"[-+]", name)[0]
            voices.append(Voice(name, {"cmn": "zh", "nb": "no"}.get(spoken, spoken)))
        else:
            voices.append(Voice(name, "en" if engine.name == "flite" else UNKNOWN))
    return Engine(engine.name, engine.command, tuple(voices))


def read_texts(path: Path) -> list[Text]:
    """Sentences, one a line, or `xx<tab>sentence` with a language; blank lines and those that begin with # are not.

    Raises:
        UsageError: it cannot be read, a line is too long or its language is none (with its number), or there is none.
    """
    texts = []
    for line in read_lines(path):
        if line.text.startswith("#"):
            continue
        first, tab, rest = line.text.partition("\t")
        language, words = (first.strip(), rest.strip()) if tab else (UNKNOWN, line.text.strip())
        if language != UNKNOWN and _LANGUAGE.fullmatch(language) is None:
            raise line.fault(f"language {language!r}, expected two or three small letters before the tab")
        if not words or len(words) > MOST_CHARACTERS or not words.isprintable():
            raise line.fault(f"expected a sentence of 1 to {MOST_CHARACTERS} printable characters")
        texts.append(Text(line.number, language, words))
    if not texts:
        raise UsageError(f"{path}: no sentence in it")
    return texts


def plan_utterances(
    engines: Sequence[Engine],
    texts: Sequence[Text],
    out: Path,
    *,
    per_voice: int | None = None,
    split: str = UNKNOWN,
    licence: str = UNKNOWN,
    seed: int = 0,
) -> list[Utterance]:
    """What to have spoken: for every voice the texts of its language, or `per_voice` of them, drawn by its name.

    Raises:
        UsageError: an engine none of whose voices has a text in its language.
    """
    plan: list[Utterance] = []
    for engine in engines:
        before = len(plan)
        for voice in engine.voices:
            fitting = [
                text for text in texts if UNKNOWN in (voice.language, text.language) or text.language == voice.language
            ]
            if per_voice is not None and per_voice < len(fitting):
                drawn = random.Random(f"{seed}/{engine.name}/{voice.name}").sample(fitting, per_voice)
                fitting = sorted(drawn, key=lambda text: text.number)
            for text in fitting:
                name = f"{engine.name}/{voice.name}/{text.number:04d}.flac"
                plan.append(Utterance(engine, voice, text, name, out / name, split, licence))
        if len(plan) == before:
            voices = ", ".join(f"{voice.name} ({voice.language})" for voice in engine.voices) or "none installed"
            raise UsageError(f"{engine.name}: no text in the language of any of its voices: {voices}")
    return plan


def speak_all(plan: Sequence[Utterance], time_limit_s: float, workers: int = 1) -> Generator[Made | Failed]:
    """Have the plan spoken; outcomes come in its order, whatever the number of workers.

    Closing the iterator (or Ctrl-C) cancels what has not begun.
    """
    pool = ThreadPoolExecutor(max(1, workers))
    try:
        yield from pool.map(lambda utterance: speak(utterance, time_limit_s), plan)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def speak(utterance: Utterance, time_limit_s: float) -> Made | Failed:
    """Have one text spoken, unless its file is there already."""
    clip = Clip(
        name=utterance.name,
        path=utterance.place,
        label="spoof",
        system=SYSTEM_PREFIX + utterance.engine.name,
        speaker=f"{utterance.engine.name}/{utterance.voice.name}",
        language=utterance.text.language if utterance.text.language != UNKNOWN else utterance.voice.language,
        split=utterance.split,
        repo=f"engine/{utterance.engine.name}",
        licence=utterance.licence,
        note=f"text {utterance.text.number}",
    )
    try:
        if is_made(utterance.place, utterance.tag):
            return Made(described(clip), kept=True)
        with tempfile.TemporaryDirectory(prefix="spoofcheck-") as folder:
            wave, sample_rate_hz = _spoken(utterance, Path(folder), time_limit_s)
        if is_silent(wave) or wave.size < sample_rate_hz // 10:
            return Failed(utterance.name, "the engine made silence, or less than 0.1 s")
        write_flac(utterance.place, wave, sample_rate_hz, utterance.tag)
        return Made(described(clip), kept=False)
    except InputError as error:
        return Failed(utterance.name, error.message)
    except (OSError, UnicodeEncodeError) as error:
        return Failed(utterance.name, str(error))


def _spoken(utterance: Utterance, folder: Path, time_limit_s: float) -> tuple[Wave, int]:
    text_file, wav = folder / "text.txt", folder / "speech.wav"
    text_file.write_text(utterance.text.words + "\n", encoding=utterance.voice.encoding)
    fields = {"text_file": str(text_file), "wav": str(wav), "voice": utterance.voice.name}
    reason = _run([_filled(word, fields) for word in utterance.engine.command], folder, time_limit_s)
    if reason:
        raise OSError(reason)
    if not wav.is_file():
        raise OSError("the engine wrote no sound file")
    file = probe(wav)
    blocks, frames = [], 0
    with closing(decode_blocks(file)) as decoded:
        for block in decoded:
            blocks.append(block.mean(axis=1, dtype=np.float32))
            frames += len(block)
            if frames > MOST_S * file.sample_rate_hz:
                raise OSError(f"the engine spoke for more than {MOST_S:.0f} s")
    wave = np.concatenate(blocks)
    peak = float(np.abs(wave).max(initial=0.0))
    return np.asarray(wave / max(1.0, peak), dtype=np.float32), file.sample_rate_hz


def _run(command: Sequence[str], folder: Path, time_limit_s: float) -> str:
    """Run an engine with everything it starts; why it failed, or nothing."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _, complaint = process.communicate(timeout=time_limit_s)
    except subprocess.TimeoutExpired:
        return f"not done within {time_limit_s:g} s"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # helpers it left running, too
        process.wait()
    if process.returncode:
        last = complaint.decode("utf-8", "replace").strip().rpartition("\n")[2][:160]
        return f"the engine ended with {process.returncode}" + (f": {last}" if last else "")
    return ""


def _filled(word: str, fields: Mapping[str, str]) -> str:
    return re.sub(r"\{(text_file|wav|voice)\}", lambda match: fields[match[1]], word)
