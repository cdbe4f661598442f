"""Files published on a Hugging Face hub or a mirror of it; model directories there are `hub:OWNER/NAME[@REVISION]`.

Only asked for by name; nothing else in spoofcheck reaches the network. `HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_HOME` and
the rest of huggingface_hub's environment variables hold. What arrives is checked by whoever asked for it.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from spoofcheck.errors import ModelError, OutputError

PREFIX = "hub:"
_REFERENCE = re.compile(r"(?P<repository>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>\w[\w./-]*))?")
_FILE = re.compile(r"\w[\w .+=-]*(/\w[\w .+=-]*)*")
_LIBRARY = "spoofcheck"
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of models: `OWNER/NAME`, and a branch, tag or commit; None is its main branch."""

    name: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.name if self.revision is None else f"{self.name}@{self.revision}"


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository; size and SHA-256 only where the hub says them."""

    name: str
    size_bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a repository at one commit; without a network those of it that are in the cache."""

    repository: Repository
    files: tuple[HubFile, ...]


def parse_repository(text: str) -> Repository | None:
    """`OWNER/NAME` or `OWNER/NAME@REVISION`; None for anything else."""
    match = _REFERENCE.fullmatch(text)
    return None if match is None else Repository(match["repository"], match["revision"])


def fetch_model(reference: str, files: tuple[str, ...]) -> Path:
    """Bring a model directory to this machine, or find it in the cache.

    Args:
        reference: `hub:OWNER/NAME`, with `@` and a branch, tag or commit; a commit pins what is run.
        files: the names of the model's files.

    Raises:
        ModelError: the reference is malformed, or the hub or one of the files can't be reached.
    """
    repository = parse_repository(reference.removeprefix(PREFIX)) if reference.startswith(PREFIX) else None
    if repository is None:
        raise ModelError(f"{reference!r}: a model on the hub is written hub:OWNER/NAME or hub:OWNER/NAME@REVISION")
    places = [fetch_first(repository, (name,), reference, "; it is not a spoofcheck model") for name in files]
    return places[0].parent


def fetch_first(repository: Repository, names: tuple[str, ...], shown: str, otherwise: str = "") -> Path:
    """Bring the first of some files that a repository has to huggingface_hub's cache, or find it there.

    Args:
        names: of the files, the preferred one first.
        shown: what the repository is called in errors.
        otherwise: what it means when there is none of them.

    Raises:
        ModelError: the hub can't be reached or refuses, or has no such file.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    absent: EntryNotFoundError | None = None
    for name in names:
        try:
            return Path(
                _asked(
                    lambda name=name: hf_hub_download(  # type: ignore[misc]
                        repository.name, name, revision=repository.revision, endpoint=_endpoint(), library_name=_LIBRARY
                    ),
                    f"{shown}: {name}",
                )
            )
        except EntryNotFoundError as error:
            # Out of reach weighs more than not there: the file may be there after all.
            absent = error if absent is None or isinstance(error, LocalEntryNotFoundError) else absent
    wanted = " or ".join(names)
    if isinstance(absent, LocalEntryNotFoundError):
        raise ModelError(
            f"{shown}: {wanted} is not in the cache and the hub can't be reached; check the network, "
            "HF_ENDPOINT and HF_HUB_OFFLINE, or give a model directory"
        ) from absent
    raise ModelError(f"{shown}: holds no {wanted}{otherwise}") from absent


def list_files(repository: Repository) -> Listing:
    """The files of a repository, at the commit its revision stands for now.

    Raises:
        ModelError: the hub can't be reached or refuses, or names no commit; offline, the cache has nothing of it.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if _is_offline():
        try:
            folder = Path(snapshot_download(repository.name, revision=repository.revision, local_files_only=True))
        except (LocalEntryNotFoundError, ValueError) as error:
            raise ModelError(
                f"{repository}: not in the cache, and HF_HUB_OFFLINE forbids to ask the hub; unset it, or give a file"
            ) from error
        found = sorted(path for path in folder.rglob("*") if path.is_file())
        files = tuple(HubFile(path.relative_to(folder).as_posix(), path.stat().st_size) for path in found)
        return Listing(Repository(repository.name, folder.name), files)
    api = HfApi(endpoint=_endpoint(), library_name=_LIBRARY)
    info = _asked(
        lambda: api.model_info(repository.name, revision=repository.revision, files_metadata=True), str(repository)
    )
    if info.sha is None or not re.fullmatch(r"[0-9a-f]{40}", info.sha):
        raise ModelError(f"{repository}: the hub names no commit")
    files = tuple(
        HubFile(file.rfilename, file.size, file.lfs.sha256 if file.lfs else None) for file in info.siblings or ()
    )
    return Listing(Repository(repository.name, info.sha), files)


def cached_file(repository: Repository, name: str) -> Path | None:
    """A file of a commit where huggingface_hub's cache already has it."""
    from huggingface_hub import try_to_load_from_cache

    place = try_to_load_from_cache(repository.name, name, revision=repository.revision)
    return Path(place) if isinstance(place, str) else None


def download_file(repository: Repository, name: str, folder: Path) -> Path:
    """Download a file of a commit into a folder; what an earlier try left there is gone on with.

    huggingface_hub's own download begins anew after a program has ended, which is a lot for a gigabyte.

    Args:
        repository: with a commit as its revision: its files never change.
        name: of the file.
        folder: made when missing; the file lies there under a name of its own, `.incomplete` at its end until it is
            complete.

    Raises:
        ModelError: the hub can't be reached or refuses, or the download stopped; the message says how to go on.
        OutputError: the file cannot be written.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    if not _FILE.fullmatch(name):
        raise ModelError(f"{repository}: {name!r} is no plain file name")
    if _is_offline():
        raise ModelError(
            f"{repository}: {name} is not in the cache, and HF_HUB_OFFLINE forbids to download it; unset it, or give "
            "the file with --from"
        )
    url = hf_hub_url(repository.name, name, revision=repository.revision, endpoint=_endpoint())
    try:
        facts = _asked(lambda: get_hf_file_metadata(url, library_name=_LIBRARY), f"{repository}: {name}")
    except EntryNotFoundError as error:
        raise ModelError(f"{repository}: holds no {name}") from error
    headers = build_hf_headers(library_name=_LIBRARY)
    if urlsplit(facts.location).netloc != urlsplit(url).netloc:
        headers.pop("authorization", None)  # a user's token is for the hub alone, not for where it stores files
    done = folder / f"{repository.revision}-{name.replace('/', '-')}"
    partial = done.with_name(f"{done.name}.incomplete")
    size_bytes = facts.size
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial.open("ab") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OutputError(f"{partial}: another spoofcheck is downloading it") from error
            if size_bytes is not None and stream.tell() > size_bytes:
                stream.truncate(0)
            here = stream.seek(0, os.SEEK_END)
            _asked(
                lambda: http_get(
                    facts.location,
                    stream,
                    resume_size=here,
                    headers=headers,
                    expected_size=size_bytes,
                    displayed_filename=name,
                ),
                f"{repository}: {name}: the download stopped; the same command goes on from there",
            )
            partial.replace(done)
    except OSError as error:
        raise OutputError(f"{partial}: cannot be written ({error.strerror})") from error
    return done


def _asked(ask: Callable[[], _Answer], what: str) -> _Answer:
    """An answer of the hub, or one line that says why there is none; of a missing file the caller says it."""
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError
    from huggingface_hub.utils import logging

    # Its retries are reported on standard error otherwise; the one line below says what matters.
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        return ask()
    except EntryNotFoundError:
        raise
    except (HfHubHTTPError, HFValidationError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise ModelError(f"{what}: the hub refused ({first_line})") from error
    except OSError as error:
        if error.errno is not None:  # of a file here
            raise
        raise ModelError(f"{what} ({_first_line(error)})") from error
    except Exception as error:
        # A network out of reach: huggingface_hub lets its HTTP client's errors through, and changes the client.
        if type(error).__module__.partition(".")[0] not in ("httpx", "httpx2", "httpcore", "requests", "urllib3"):
            raise
        remedy = "check the network, HF_ENDPOINT and HF_HUB_OFFLINE"
        raise ModelError(f"{what}: the hub can't be reached; {remedy} ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT")


def _is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)
