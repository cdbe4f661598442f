"""Published checkpoints by name: which file is meant, whether it is the right one, and where it goes.

What is pinned is a commit of the repository and the SHA-256 of the file. Pins come from `models/index.json`, from the
user, or from `published.json` in the user's models folder, which keeps what the user gave or trusted at first use: from
then on it is insisted on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spoofcheck.errors import ModelError, OutputError, UsageError
from spoofcheck.nets.config import MAX_CONFIG_BYTES
from spoofcheck.nets.hub import HubFile, Repository, cached_file, download_file, list_files
from spoofcheck.nets.index import PublishedEntry, checked_sha256, read_index, read_origin, verify_directory, write_whole
from spoofcheck.resources import user_models_dir
from spoofcheck.wholefile import read_whole

LOCK_FILE = "published.json"
_DOWNLOADS = ".downloads"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REVISION = re.compile(r"\w[\w./-]*")
_CHECKPOINTS = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")
_OTHERS = ("optimizer", "scheduler", "training_args", "rng_state", "scaler")
"""What training programs leave beside the weights in files of the same kinds."""


class Pins(BaseModel):
    """What a file must be; None is what nobody has said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    revision: str | None = Field(default=None, description="commit, or what stands for one until it is known")
    file: str | None = None
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")


class Lock(BaseModel):
    """The whole of `published.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    published: dict[str, Pins] = {}


@dataclass(frozen=True, slots=True)
class PullRequest:
    """What a user asks for.

    Attributes:
        name: of a published model.
        revision: commit; with `trust_first_use` a branch or tag does as well.
        sha256: of the file.
        trust_first_use: take what is there, and insist on it from then on.
        file: which one of the repository.
        local: a file that is here already, instead of a download.
        out: where the model directory goes; the user's models folder by default.
    """

    name: str
    revision: str | None = None
    sha256: str | None = None
    trust_first_use: bool = False
    file: str | None = None
    local: Path | None = None
    out: Path | None = None


@dataclass(frozen=True, slots=True)
class Pull:
    """A request that nothing speaks against so far.

    Attributes:
        entry: what the index says of the model.
        pins: what its file must be.
        out: where the model directory goes.
        present: that is there already, made from the pinned file and intact.
    """

    request: PullRequest
    entry: PublishedEntry
    pins: Pins
    out: Path
    present: bool


@dataclass(frozen=True, slots=True)
class Arrived:
    """A checkpoint that is here and is the pinned one, or the first of its name.

    Attributes:
        temporary: it was downloaded for this and can go when it has been used.
    """

    path: Path
    pins: Pins
    temporary: bool


def plan_pull(request: PullRequest) -> Pull:
    """Decide what is to be fetched, without a network.

    Raises:
        UsageError: an unknown name, malformed or contradicting pins, or none and no trust.
        ModelError: `published.json` or the index is damaged.
    """
    published = read_index().published
    entry = published.get(request.name)
    if entry is None:
        raise UsageError(
            f"{request.name!r}: no published model of this name is known ({', '.join(published) or 'none'})"
        )
    pins = decide_pins(request, entry, read_lock().published.get(request.name))
    out = request.out or user_models_dir() / request.name
    return Pull(request, entry, pins, out, _is_present(out, pins))


def decide_pins(request: PullRequest, entry: PublishedEntry, locked: Pins | None) -> Pins:
    """What the file must be.

    Raises:
        UsageError: see `plan_pull`.
    """
    given = Pins.model_construct(revision=request.revision, file=request.file, sha256=request.sha256)
    if given.sha256 is not None and not _SHA256.fullmatch(given.sha256):
        raise UsageError("--sha256 takes the 64 hexadecimal digits of a SHA-256, in lower case")
    if given.revision is not None and not _REVISION.fullmatch(given.revision):
        raise UsageError(f"--revision {given.revision!r} is no commit, branch or tag")
    known, where = (locked, f"{user_models_dir() / LOCK_FILE}") if locked is not None else (None, "")
    if entry.revision is not None and entry.sha256 is not None:
        known, where = Pins(revision=entry.revision, file=entry.file, sha256=entry.sha256), "models/index.json"
    if known is not None:
        for option in ("revision", "file", "sha256"):
            said, pinned = getattr(given, option), getattr(known, option)
            if said is not None and pinned is not None and said != pinned:
                raise UsageError(
                    f"--{option} {said}: {request.name} is pinned to {pinned} by {where}; leave the option out"
                    + (", or delete the entry there to pin another" if locked is known else "")
                )
        return Pins(revision=known.revision or given.revision, file=known.file or given.file, sha256=known.sha256)
    if request.trust_first_use:
        return given
    if given.sha256 is not None and request.local is not None:
        return given
    if given.sha256 is None or given.revision is None:
        raise UsageError(
            f"{request.name}: this version of spoofcheck knows no revision and no SHA-256 of {entry.repository}; give "
            "--revision COMMIT and --sha256 HASH as someone you trust states them, or --trust-first-use to take what "
            "is there and insist on it from then on"
        )
    if not _COMMIT.fullmatch(given.revision):
        raise UsageError(f"--revision {given.revision}: a pin is a commit, 40 hexadecimal digits")
    return given


def fetch(pull: Pull, note: Callable[[str], None]) -> Arrived:
    """Bring the checkpoint here and check it.

    Args:
        note: told in one line what is about to be downloaded.

    Raises:
        ModelError: it cannot be had, or is not the pinned file; what is not is deleted.
    """
    pins = pull.pins
    if pull.request.local is not None:
        local = pull.request.local
        sha256 = checked_sha256(local, pins.sha256)
        # Where it came from is what the user says, or what is pinned with this hash; its own name here says nothing.
        commit_said = pins.revision if _COMMIT.fullmatch(pins.revision or "") else None
        return Arrived(local, Pins(revision=commit_said, file=pins.file, sha256=sha256), temporary=False)
    listing = list_files(Repository(pull.entry.repository, pins.revision))
    commit = listing.repository
    if pins.revision is not None and _COMMIT.fullmatch(pins.revision) and commit.revision != pins.revision:
        raise ModelError(f"{commit.name}: asked for commit {pins.revision}, the hub answers with {commit.revision}")
    file = choose_file(listing.files, pins.file, str(commit))
    if file.sha256 is not None and pins.sha256 is not None and file.sha256 != pins.sha256:
        raise ModelError(
            f"{commit}: the hub's {file.name} has SHA-256 {file.sha256}, expected {pins.sha256}; nothing was downloaded"
        )
    size = "" if file.size_bytes is None else f", {file.size_bytes / 1e6:,.1f} MB"
    note(f"{commit.name} at {commit.revision}: {file.name}{size}")
    cached = cached_file(commit, file.name)
    if cached is not None:
        sha256 = checked_sha256(cached, None)
        if pins.sha256 in (None, sha256):
            return Arrived(cached, Pins(revision=commit.revision, file=file.name, sha256=sha256), temporary=False)
    path = download_file(commit, file.name, user_models_dir() / _DOWNLOADS)
    try:
        sha256 = checked_sha256(path, pins.sha256 or file.sha256)
    except ModelError:
        path.unlink(missing_ok=True)
        raise
    return Arrived(path, Pins(revision=commit.revision, file=file.name, sha256=sha256), temporary=True)


def choose_file(files: tuple[HubFile, ...], wanted: str | None, where: str) -> HubFile:
    """The wanted file, or the only one that can be a checkpoint.

    Raises:
        UsageError: there is none, or more than one; the message lists them.
    """
    candidates = [
        file
        for file in files
        if PurePosixPath(file.name).suffix.lower() in _CHECKPOINTS
        and not any(other in PurePosixPath(file.name).name.lower() for other in _OTHERS)
    ]
    names = ", ".join(file.name for file in candidates) or "none"
    if wanted is not None:
        chosen = next((file for file in files if file.name == wanted), None)
        if chosen is None:
            raise UsageError(f"{where}: holds no {wanted}; checkpoints there: {names}")
        return chosen
    if len(candidates) != 1:
        raise UsageError(f"{where}: which file is the checkpoint? Name one with --file; candidates: {names}")
    return candidates[0]


def read_lock() -> Lock:
    """What `published.json` pins; nothing where there is no such file.

    Raises:
        ModelError: it is damaged.
    """
    path = user_models_dir() / LOCK_FILE
    try:
        return Lock.model_validate_json(read_whole(path, MAX_CONFIG_BYTES))
    except FileNotFoundError:
        return Lock()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise ModelError(f"{path}: damaged; it pins what was pulled, so look at it before deleting it") from error


def keep_pins(name: str, pins: Pins) -> None:
    """Insist on a file from now on.

    Raises:
        OutputError: `published.json` cannot be written.
    """
    path = user_models_dir() / LOCK_FILE
    lock = Lock(published=dict(sorted({**read_lock().published, name: pins}.items())))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lock)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error


def _is_present(out: Path, pins: Pins) -> bool:
    record = read_origin(out) if pins.sha256 is not None else None
    origin = None if record is None else record.origin
    return origin is not None and origin.sha256 == pins.sha256 and not verify_directory(out)
