from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoofcheck.audio.inputs import find_inputs
from spoofcheck.cluster.fetching import Fetcher, FetchLimits
from spoofcheck.cluster.places import Entry, Remote, RemoteSkipped, find_places, is_address, without_secrets
from spoofcheck.cluster.stores import file_system_of
from spoofcheck.errors import UsageError
from tests.support.webserver import s3_answers, web_server

pytest.importorskip("fsspec")


@pytest.mark.parametrize(
    ("named", "shown"),
    [
        ("s3://bucket//a/b.wav", "s3://bucket//a/b.wav"),
        ("s3://KEY:SECRET@bucket/a.wav", "s3://bucket/a.wav"),
        ("https://user:word@host/a.wav?X-Amz-Signature=abc&x=1#f", "https://host/a.wav"),
        ("https://token@host/a@b.wav", "https://host/a@b.wav"),
        ("abfs://container@account.dfs.example/a.wav?sig=abc", "abfs://container@account.dfs.example/a.wav"),
        ("abfs://name:key@account.dfs.example/a.wav", "abfs://account.dfs.example/a.wav"),
        ("s3://bucket/call #1? no.wav", "s3://bucket/call #1? no.wav"),
        ("s3://bucket/a.wav?X-Amz-Signature=abc#f", "s3://bucket/a.wav"),
        ("file:///a?b=c#d.wav", "file:///a?b=c#d.wav"),
        ("./a.wav?b=c", "./a.wav?b=c"),
        ("mailto:a@b", "mailto:a@b"),
    ],
)
def test_secrets_are_not_shown(named: str, shown: str) -> None:
    assert without_secrets(named) == shown
    if is_address(named):
        assert str(Remote(named)) == shown


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "b.wav",
        "a/z.MP3",
        "a/z.txt",
        "a-b/c.wav",
        ".hidden.wav",
        ".dot/x.wav",
        "no-extension",
        "with blank/ü.flac",
        "a.b/q.wav",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"not audio")
    return tmp_path


@pytest.mark.parametrize(
    ("include", "exclude"),
    [((), ()), (("*.wav",), ()), (("*.txt", "a/*"), ()), ((), ("a",)), ((), ("a/*", "Q.*"))],
)
def test_a_prefix_is_searched_like_a_folder(folder: Path, include: tuple[str, ...], exclude: tuple[str, ...]) -> None:
    local = [str(path) for path in find_inputs([folder], include=include, exclude=exclude)]
    remote = list(find_places([f"file://{folder}"], include=include, exclude=exclude))
    assert [str(entry).removeprefix("file://") for entry in remote] == local
    assert all(isinstance(entry, Remote) for entry in remote)


def test_paths_and_addresses_come_once_and_in_order(folder: Path) -> None:
    names = [f"file://{folder}/b.wav", str(folder / "b.wav"), "https://host/x", f"file://{folder}/a", "https://host/x"]
    found: list[Entry] = list(find_places([*names, str(folder / "b.wav")]))
    assert found == [
        Remote(names[0]),
        folder / "b.wav",
        Remote("https://host/x"),
        Remote(f"file://{folder}/a/z.MP3"),
    ]


def test_what_is_not_there_is_said(folder: Path) -> None:
    (entry,) = find_places([f"file://{folder}/gone"])
    assert isinstance(entry, RemoteSkipped)
    assert (entry.place.uri, entry.code) == (f"file://{folder}/gone", "not-found")


def test_a_folder_by_its_address_hides_no_links_pipes_or_devices(folder: Path) -> None:
    (folder / "a.b" / "out.wav").symlink_to("/dev/zero")
    os.mkfifo(folder / "a.b" / "pipe.wav")
    (folder / "a.b" / os.fsdecode(b"\xff #1.wav")).write_bytes(b"not audio")
    found = list(find_places([f"file://{folder}/a.b"]))
    assert [(each.place.uri.rpartition("/")[2], each.code) for each in found if isinstance(each, RemoteSkipped)] == [
        ("out.wav", "symlink-outside"),
        ("pipe.wav", "not-a-file"),
    ]
    assert [str(each).rpartition("/")[2] for each in found if isinstance(each, Remote)] == ["q.wav", "\\xff #1.wav"]


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///a/b.wav::memory://c.wav", "/a/b.wav::memory://c.wav"),
        ("file:///a/memory::b #1.wav", "/a/memory::b #1.wav"),
        ("FILE:///a/b.wav", "/a/b.wav"),
    ],
)
def test_a_name_is_no_chain_of_stores(uri: str, path: str) -> None:
    assert file_system_of(uri)[1] == path


@pytest.mark.parametrize("name", ["ftp://host/a.wav", "memory://a", "concat://a"])
def test_other_schemes_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not read"):
        list(find_places([name]))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    pytest.importorskip("s3fs")
    objects = {"calls/b.wav": b"bbb", "calls/a/a.wav": b"a", "calls/notes.txt": b"n", "other.wav": b"o"}
    with web_server(s3_answers("bucket", objects)) as address:
        monkeypatch.setenv("FSSPEC_S3_ENDPOINT_URL", address)
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield objects


def test_objects_of_s3_are_found_and_fetched(bucket: dict[str, bytes], tmp_path: Path) -> None:
    found = list(find_places(["s3://bucket/calls", "s3://bucket/other.wav", "s3://bucket/none/"]))
    assert [str(entry.place if isinstance(entry, RemoteSkipped) else entry) for entry in found] == [
        "s3://bucket/calls/a/a.wav",
        "s3://bucket/calls/b.wav",
        "s3://bucket/other.wav",
        "s3://bucket/none/",
    ]
    assert isinstance(found[-1], RemoteSkipped)
    fetcher = Fetcher(FetchLimits(), tmp_path)
    for entry in found[:-1]:
        assert isinstance(entry, Remote)
        with fetcher.fetched(entry) as copy:
            assert copy.path.read_bytes() == bucket[entry.uri.removeprefix("s3://bucket/")]
            assert copy.path.suffix == ".wav"
            assert copy.modified_at_s == 1_793_527_200
    assert list(tmp_path.iterdir()) == []
