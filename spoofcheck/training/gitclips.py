"""Take clips out of git repositories at fixed commits, without a work tree and without trusting any name.

Repositories, commits, addresses and paths come from tables that somebody else wrote, and the repositories themselves
from anywhere: nothing in them becomes an option of git, a shell word, a protocol other than https or file, a file
outside the output folder or a symbolic link, and no configuration inside a copy makes git fetch or run anything.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import IO

from spoofcheck.errors import UsageError
from spoofcheck.evaluation.clips import Clip
from spoofcheck.evaluation.protocols.lines import Line, is_unknown, read_lines

ADDRESS = "https://github.com/{repo}.git"
"""Where a repository is cloned from when the table of sources has no column `url`."""

MOST_BYTES = 1 << 30
"""A blob beyond this is no clip."""

_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}/[A-Za-z0-9._-]{1,100}")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_URL = re.compile(r"(?:https://[^\s/:@]+(?::\d+)?|file://)/[^\s]+")
_LFS = b"version https://git-lfs"
_LFS_MOST_BYTES = 1024
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """A repository at a fixed commit, and where to clone it from."""

    repo: str
    commit: str
    url: str


class Found(StrEnum):
    """What became of one clip."""

    WRITTEN = "written"
    KEPT = "kept"
    """It lay there already, with the right hash."""
    MISSING_COPY = "no copy of the repository"
    MISSING_COMMIT = "the copy lacks the commit"
    MISSING = "not in the repository at this commit"
    LFS_POINTER = "a Git LFS pointer, not the sound"
    MISMATCH = "its SHA-1 is not the one in the table"
    TOO_LARGE = "larger than 1 GiB"
    UNSAFE = "a path that must not be written"
    UNWRITABLE = "cannot be written"

    @property
    def is_there(self) -> bool:
        """Whether the clip lies in the output folder now."""
        return self in (Found.WRITTEN, Found.KEPT)


@dataclass(frozen=True, slots=True)
class Extracted:
    """One clip of the table and what became of it; `clip.path` is the file in the output folder."""

    clip: Clip
    found: Found


def read_sources(table: Path) -> dict[str, Source]:
    """Read a table of sources: tab-separated, with the columns `repo` and `commit` and, if need be, `url`.

    Raises:
        UsageError: the table cannot be read, or a line holds a repository, commit or address that is none (with its
            number).
    """
    lines = read_lines(table)
    first = next(lines, None)
    header = first.text.split("\t") if first is not None else []
    missing = [column for column in ("repo", "commit") if column not in header]
    if missing:
        raise UsageError(f"{table}: line 1: missing columns: {', '.join(missing)}")
    sources: dict[str, Source] = {}
    for line in lines:
        values = line.text.split("\t")
        if len(values) != len(header):
            raise line.fault(f"{len(values)} fields, expected {len(header)}")
        source = _source(dict(zip(header, values, strict=True)), line)
        if sources.setdefault(source.repo, source) != source:
            raise line.fault(f"{source.repo} at two commits or addresses")
    return sources


def find_copy(mirror: Path, repo: str) -> Path | None:
    """The git directory of a repository's copy below `mirror`, or None.

    Looked for as `OWNER+NAME/repo`, `OWNER+NAME`, `OWNER+NAME.git`, `OWNER/NAME.git` and `OWNER/NAME`, bare or with a
    `.git` inside.
    """
    owner, name = repo.split("/")
    joined = mirror / f"{owner}+{name}"
    for place in (
        joined / "repo",
        joined,
        mirror / f"{joined.name}.git",
        mirror / owner / f"{name}.git",
        mirror / repo,
    ):
        for candidate in (place, place / ".git"):
            if (candidate / "HEAD").is_file() and (candidate / "objects").is_dir():
                return candidate
    return None


def clone(source: Source, mirror: Path, time_limit_s: float = 3600.0) -> Path:
    """Clone a repository, bare, to `mirror/OWNER+NAME/repo`; it appears there only once it is whole.

    Returns:
        The git directory.

    Raises:
        UsageError: git is missing, the address cannot be reached, or the time is up.
    """
    owner, name = source.repo.split("/")
    place = mirror / f"{owner}+{name}" / "repo"
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".clone-", dir=place.parent))
    command = ["clone", "--bare", "--quiet", "--template=", "--no-recurse-submodules", "--", source.url, str(beside)]
    try:
        done = subprocess.run(
            _git(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=_environment("https:file"),
            timeout=time_limit_s,
            check=False,
        )
        if done.returncode:
            reason = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise UsageError(f"{source.repo}: cannot be cloned from {source.url}: {reason}")
        beside.replace(place)
    except FileNotFoundError as error:
        raise UsageError("git: not installed; apt install git") from error
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"{source.repo}: not cloned within {time_limit_s:.0f} s") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return place


def extract(clips: Sequence[Clip], sources: Mapping[str, Source], mirror: Path, out: Path) -> Generator[Extracted]:
    """Write every clip's blob to `out/OWNER+NAME/<its path>`, one git process a repository.

    A file that lies there already with the hash of the table is kept without asking git. A written file is whole or
    not there.

    Args:
        clips: `repo` and `name` (the path inside the repository) say which blob; `sha1`, where known, is verified.
        sources: by repository.
        mirror: folder of the copies (`find_copy`).
        out: where to.

    Yields:
        One outcome a clip, in the order of the first clip of each repository, then of the table.

    Raises:
        UsageError: a clip's repository is not among the sources, or git is missing.
    """
    by_repo: dict[str, list[Clip]] = {}
    for clip in clips:
        if clip.repo not in sources:
            raise UsageError(f"{clip.repo}: not among the sources, but {clip.name} comes from there")
        by_repo.setdefault(clip.repo, []).append(clip)
    out.mkdir(parents=True, exist_ok=True)
    for repo, members in by_repo.items():
        copy = find_copy(mirror, repo)
        with _objects(copy) as batch:
            has_commit = batch is not None and batch.has(sources[repo].commit)
            for clip in members:
                place = place_of(clip, out)
                if place is None:
                    yield Extracted(clip, Found.UNSAFE)
                    continue
                placed = _moved(clip, place)
                if clip.sha1 is not None and _sha1_of(place) == clip.sha1:
                    yield Extracted(placed, Found.KEPT)
                elif batch is None:
                    yield Extracted(placed, Found.MISSING_COPY)
                elif not has_commit:
                    yield Extracted(placed, Found.MISSING_COMMIT)
                else:
                    yield _fetch(batch, sources[repo].commit, placed, out)


def place_of(clip: Clip, out: Path) -> Path | None:
    """Where a clip is written below `out`; None for a path that would leave it, or that no git tree can hold."""
    parts = clip.name.split("/")
    if (
        _REPO.fullmatch(clip.repo) is None
        or not all(parts)
        or any(part in (".", "..") or part.lower() == ".git" for part in parts)
        or any(ord(char) < 32 or ord(char) == 127 for char in clip.name)
    ):
        return None
    return out / clip.repo.replace("/", "+") / clip.name


class _Objects:
    """A running `git cat-file --batch`."""

    def __init__(self, git_dir: Path) -> None:
        try:
            self._process = subprocess.Popen(
                _git([f"--git-dir={git_dir.absolute()}", "cat-file", "--batch"]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(""),
                start_new_session=True,  # Ctrl-C in the terminal is for us
            )
        except FileNotFoundError as error:
            raise UsageError("git: not installed; apt install git") from error
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("both were asked for as pipes")
        self._ask: IO[bytes] = self._process.stdin
        self._answer: IO[bytes] = self._process.stdout

    def has(self, commit: str) -> bool:
        """Whether the copy holds a commit."""
        kind, size = self._header(commit)
        for _ in self._content(size):
            pass
        return kind == b"commit"

    def blob(self, commit: str, path: str) -> tuple[int, Iterator[bytes]] | None:
        """Size and content of a blob, None when there is none; the content must be read to its end."""
        kind, size = self._header(f"{commit}:{path}")
        if kind != b"blob":
            for _ in self._content(size):
                pass
            return None
        return size, self._content(size)

    def end(self) -> None:
        """Let git end."""
        self._process.kill()
        self._ask.close()
        self._answer.close()
        self._process.wait()

    def _header(self, name: str) -> tuple[bytes, int]:
        try:
            self._ask.write(os.fsencode(name) + b"\n")
            self._ask.flush()
        except BrokenPipeError:
            return b"missing", -1
        words = self._answer.readline().rsplit(b" ", 2)
        if len(words) == 3 and words[2].strip().isdigit():
            return words[1], int(words[2])
        return b"missing", -1

    def _content(self, size: int) -> Iterator[bytes]:
        left = size
        while left > 0:
            chunk = self._answer.read(min(left, _CHUNK))
            if not chunk:
                return
            left -= len(chunk)
            yield chunk
        if size >= 0:
            self._answer.read(1)  # the line feed after every object


@contextmanager
def _objects(git_dir: Path | None) -> Iterator[_Objects | None]:
    if git_dir is None:
        yield None
        return
    objects = _Objects(git_dir)
    try:
        yield objects
    finally:
        objects.end()


def _fetch(batch: _Objects, commit: str, clip: Clip, out: Path) -> Extracted:
    blob = batch.blob(commit, clip.name)
    if blob is None:
        return Extracted(clip, Found.MISSING)
    size, chunks = blob
    if size > MOST_BYTES:
        for _ in chunks:
            pass
        return Extracted(clip, Found.TOO_LARGE)
    found, sha1 = _write(clip, chunks, size, out)
    if found is Found.WRITTEN:
        return Extracted(_moved(clip, clip.path, sha1), found)
    return Extracted(clip, found)


def _write(clip: Clip, chunks: Iterator[bytes], size: int, out: Path) -> tuple[Found, str]:
    """Write what git sends beside its place, verify it, and only then give it its name."""
    head, digest, beside = b"", hashlib.sha1(usedforsecurity=False), None
    try:
        clip.path.parent.mkdir(parents=True, exist_ok=True)
        # A folder that is a symbolic link would lead elsewhere; what is in `out` need not be ours.
        if not clip.path.parent.resolve().is_relative_to(out.resolve()):
            return Found.UNSAFE, ""
        descriptor, name = tempfile.mkstemp(prefix=".clip-", dir=clip.path.parent)
        beside = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            for chunk in chunks:
                head = head or chunk[: len(_LFS)]
                digest.update(chunk)
                file.write(chunk)
        if beside.stat().st_size != size:
            return Found.MISSING, ""
        if head == _LFS and size < _LFS_MOST_BYTES:
            return Found.LFS_POINTER, ""
        if clip.sha1 is not None and digest.hexdigest() != clip.sha1:
            return Found.MISMATCH, ""
        beside.chmod(0o644)
        beside.replace(clip.path)  # in place of a symbolic link, not through it
        beside = None
        return Found.WRITTEN, digest.hexdigest()
    except OSError:
        return Found.UNWRITABLE, ""
    finally:
        for _ in chunks:  # git waits until it is read
            pass
        if beside is not None:
            beside.unlink(missing_ok=True)


def _moved(clip: Clip, place: Path, sha1: str | None = None) -> Clip:
    return replace(clip, path=place, sha1=sha1 or clip.sha1)


def _sha1_of(path: Path) -> str | None:
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.sha1(usedforsecurity=False)).hexdigest()


def _source(row: dict[str, str], line: Line) -> Source:
    repo, commit = row["repo"], row["commit"].lower()
    if _REPO.fullmatch(repo) is None or repo.partition("/")[2] in (".", ".."):
        raise line.fault(f"repo {repo!r}, expected OWNER/NAME")
    if _COMMIT.fullmatch(commit) is None:
        raise line.fault(f"commit {commit!r}, expected 40 hexadecimal digits")
    url = row.get("url", "")
    if is_unknown(url):
        url = ADDRESS.format(repo=repo)
    if _URL.fullmatch(url) is None or not url.isprintable():
        raise line.fault(f"url {url!r}, expected https://host/path or file:///path")
    return Source(repo, commit, url)


def _git(arguments: Sequence[str]) -> list[str]:
    """Git without hooks, file system monitors and credential programs, whatever a configuration says."""
    settings = ("core.hooksPath=/dev/null", "core.fsmonitor=false", "core.pager=cat")
    return ["git", *(word for setting in settings for word in ("-c", setting)), *arguments]


def _environment(protocols: str) -> dict[str, str]:
    """Ours without what would send git elsewhere; `protocols` are the only ones it may use, none when empty."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {
        **kept,
        "GIT_ALLOW_PROTOCOL": protocols,
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }
