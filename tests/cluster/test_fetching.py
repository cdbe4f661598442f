from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoofcheck.cluster.fetching import Fetcher, FetchLimits, sweep
from spoofcheck.cluster.places import Remote
from spoofcheck.errors import InputError
from tests.support.webserver import Answer, web_server

pytest.importorskip("fsspec")
BODY = b"0123456789" * 20_000


def fate(fetcher: Fetcher, uri: str) -> tuple[str, str]:
    with pytest.raises(InputError) as caught, fetcher.fetched(Remote(uri)):
        pass
    return caught.value.code, caught.value.message


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def fetcher(tmp_path: Path, waits: list[float]) -> Fetcher:
    return Fetcher(FetchLimits(size_bytes=1_000_000, attempts=3), tmp_path, waits.append)


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def site(asked: list[str]) -> Iterator[str]:
    pytest.importorskip("aiohttp")

    def respond(target: str) -> Answer:
        asked.append(target)
        match target.partition("?")[0]:
            case "/a.wav":
                return 200, {}, BODY
            case "/large.wav":
                return 200, {}, BODY * 6
            case "/elsewhere.wav":
                return 302, {"Location": "/a.wav"}, b""
            case "/other-scheme.wav":
                return 302, {"Location": "https://127.0.0.1/a.wav"}, b""
            case "/file.wav":
                return 302, {"Location": "file:///etc/passwd"}, b""
            case "/denied.wav":
                return 403, {}, b""
            case "/sick.wav":
                return 503, {}, b""
            case "/recovering.wav":
                return (200, {}, BODY) if len(asked) > 4 else (503, {}, b"")
            case _:
                return 404, {}, b""

    with web_server(respond) as address:
        yield address


@pytest.mark.parametrize("name", ["a.wav", "a.wav?signature=secret", "elsewhere.wav", "recovering.wav"])
def test_a_copy_is_there_for_as_long_as_it_is_wanted(site: str, fetcher: Fetcher, tmp_path: Path, name: str) -> None:
    with fetcher.fetched(Remote(f"{site}/{name}")) as copy:
        assert copy.path.read_bytes() == BODY
        assert copy.path.suffix == ".wav"
        assert tmp_path in copy.path.parents
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "code", "tries_again"),
    [
        ("none.wav", "not-found", False),
        ("denied.wav", "permission-denied", False),
        ("large.wav", "too-large", False),
        ("other-scheme.wav", "redirected", False),
        ("file.wav", "redirected", False),
        ("sick.wav", "fetch-failed", True),
    ],
)
def test_what_cannot_be_fetched_has_a_reason_without_the_address(
    site: str, fetcher: Fetcher, tmp_path: Path, waits: list[float], name: str, code: str, tries_again: bool
) -> None:
    found, message = fate(fetcher, f"{site}/{name}?signature=secret")
    assert found == code
    assert "secret" not in message
    assert "127.0.0.1" not in message
    assert waits == ([1.0, 2.0] if tries_again else [])
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_tried_again(fetcher: Fetcher, waits: list[float]) -> None:
    pytest.importorskip("aiohttp")
    assert fate(fetcher, "http://127.0.0.1:9/a.wav")[0] == "fetch-failed"
    assert len(waits) == 2


def test_files_and_folders(fetcher: Fetcher, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("there")
    source = folder / "a.pcm"
    source.write_bytes(BODY)
    os.utime(source, (1_000_000_000, 1_000_000_000))
    with fetcher.fetched(Remote(f"file://{source}")) as copy:
        assert (copy.path.read_bytes(), copy.path.suffix, copy.modified_at_s) == (BODY, ".pcm", 1_000_000_000)
        assert copy.path.stat().st_mtime == 1_000_000_000
    assert fate(fetcher, f"file://{folder}")[0] == "is-directory"
    assert fate(fetcher, f"file://{folder}/none.wav")[0] == "not-found"
    assert fate(fetcher, "file:///dev/zero")[0] == "not-a-file"
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from spoofcheck.cluster.fetching import *;"
        f"fetched = Fetcher(FetchLimits(), Path({str(tmp_path)!r})).fetched(Remote('file://' + sys.argv[1]));"
        "fetched.__enter__(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, __file__], check=False)
    mine = tmp_path / f"spoofcheck-fetched-{os.getpid()}-x"
    mine.mkdir()
    assert len(list(tmp_path.iterdir())) == 2
    assert sweep(tmp_path) == 1
    assert list(tmp_path.iterdir()) == [mine]
