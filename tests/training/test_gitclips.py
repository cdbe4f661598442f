from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from spoofcheck.errors import UsageError
from spoofcheck.evaluation.clips import Clip
from spoofcheck.training.gitclips import Found, Source, clone, extract, find_copy, place_of, read_sources

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
FILES = {"a.wav": b"RIFF one", "deep/b c.wav": b"RIFF two", "empty.wav": b"", "lfs.wav": POINTER, "-x.wav": b"dash"}


def git(*words: str, cwd: Path) -> str:
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        **{f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        "GIT_CONFIG_GLOBAL": "/dev/null",
    }
    return subprocess.run(["git", *words], cwd=cwd, env=env, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A repository whose clips were removed and changed after the commit that counts."""
    folder = tmp_path_factory.mktemp("origin")
    git("init", "--quiet", ".", cwd=folder)
    for name, data in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "link.wav").symlink_to("/etc/hostname")
    git("add", "--all", cwd=folder)
    git("commit", "--quiet", "-m", "clips", cwd=folder)
    commit = git("rev-parse", "HEAD", cwd=folder)
    (folder / "a.wav").write_bytes(b"RIFF later")
    git("commit", "--quiet", "-am", "other clips", cwd=folder)
    return folder, commit


@pytest.fixture(scope="module")
def mirror(origin: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mirror")
    clone(Source("me/clips", origin[1], f"file://{origin[0]}"), folder)
    return folder


def clip(name: str, sha1: str | None = None, repo: str = "me/clips") -> Clip:
    return Clip(name=name, path=Path("nowhere"), label="spoof", repo=repo, sha1=sha1)


def sha1(name: str) -> str:
    return hashlib.sha1(FILES[name]).hexdigest()


def found(clips: list[Clip], commit: str, mirror: Path, out: Path) -> list[Found]:
    sources = {repo: Source(repo, commit, "https://example.org/x") for repo in ("me/clips", "me/other")}
    return [outcome.found for outcome in extract(clips, sources, mirror, out)]


def test_clips_come_from_the_commit_and_are_verified(origin: tuple[Path, str], mirror: Path, tmp_path: Path) -> None:
    clips = [clip("a.wav", sha1("a.wav")), clip("deep/b c.wav"), clip("empty.wav", sha1("empty.wav")), clip("-x.wav")]
    sources = {"me/clips": Source("me/clips", origin[1], "https://example.org/x")}
    outcomes = list(extract(clips, sources, mirror, tmp_path))
    assert [outcome.found for outcome in outcomes] == [Found.WRITTEN] * 4
    for outcome in outcomes:
        assert outcome.clip.path == tmp_path / "me+clips" / outcome.clip.name
        assert outcome.clip.path.read_bytes() == FILES[outcome.clip.name]
        assert outcome.clip.sha1 == sha1(outcome.clip.name)
    assert not list(tmp_path.rglob(".*"))


def test_what_is_not_a_clip_is_told_apart_and_not_written(
    origin: tuple[Path, str], mirror: Path, tmp_path: Path
) -> None:
    clips = [clip("lfs.wav"), clip("gone.wav"), clip("a.wav", "0" * 40), clip("deep"), clip("a.wav", repo="me/other")]
    expected = [Found.LFS_POINTER, Found.MISSING, Found.MISMATCH, Found.MISSING, Found.MISSING_COPY]
    assert found(clips, origin[1], mirror, tmp_path) == expected
    assert found([clip("a.wav")], "f" * 40, mirror, tmp_path) == [Found.MISSING_COMMIT]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_second_run_keeps_what_is_right_and_replaces_what_is_not(
    origin: tuple[Path, str], mirror: Path, tmp_path: Path
) -> None:
    clips = [clip("a.wav", sha1("a.wav")), clip("deep/b c.wav", sha1("deep/b c.wav"))]
    found(clips, origin[1], mirror, tmp_path)
    (tmp_path / "me+clips" / "a.wav").write_bytes(b"cut o")
    assert found(clips, origin[1], mirror, tmp_path) == [Found.WRITTEN, Found.KEPT]
    # What is there needs no copy of the repository any more.
    assert found(clips, origin[1], tmp_path / "nothing", tmp_path) == [Found.KEPT, Found.KEPT]


@pytest.mark.parametrize(
    "name",
    [
        "../a.wav",
        "x/../../a.wav",
        "/etc/a.wav",
        "./a.wav",
        "a//b.wav",
        "a.wav/",
        ".git/hooks/x",
        "x/.GIT/y",
        "a\nb",
        "",
    ],
)
def test_no_path_leaves_the_output_folder(name: str, origin: tuple[Path, str], mirror: Path, tmp_path: Path) -> None:
    assert place_of(clip(name), tmp_path) is None
    assert found([clip(name)], origin[1], mirror, tmp_path) == [Found.UNSAFE]


def test_no_link_in_the_output_folder_is_followed(origin: tuple[Path, str], mirror: Path, tmp_path: Path) -> None:
    out, outside = tmp_path / "out", tmp_path / "outside"
    (out / "me+clips").mkdir(parents=True)
    outside.mkdir()
    (out / "me+clips" / "deep").symlink_to(outside)
    (outside / "kept").write_bytes(b"kept")
    (out / "me+clips" / "a.wav").symlink_to(outside / "kept")
    clips = [clip("deep/b c.wav"), clip("a.wav", sha1("a.wav")), clip("link.wav")]
    assert found(clips, origin[1], mirror, out) == [Found.UNSAFE, Found.WRITTEN, Found.WRITTEN]
    assert [path.name for path in outside.iterdir()] == ["kept"]
    assert (outside / "kept").read_bytes() == b"kept"
    # A link in the repository is written as the text git keeps for it.
    assert not (out / "me+clips" / "link.wav").is_symlink()


def test_the_configuration_of_a_copy_runs_nothing(origin: tuple[Path, str], mirror: Path, tmp_path: Path) -> None:
    """A partial clone fetches what it lacks by a program that its own configuration names."""
    copy = tmp_path / "mirror" / "me+clips" / "repo"
    git("clone", "--quiet", "--bare", str(origin[0]), str(copy), cwd=tmp_path)
    witness = tmp_path / "ran"
    for key, value in {
        "remote.origin.promisor": "true",
        "remote.origin.partialclonefilter": "blob:none",
        "remote.origin.url": f"file://{origin[0]}",
        "remote.origin.uploadpack": f"touch {witness}; git-upload-pack",
        "core.fsmonitor": f"touch {witness}",
        "core.repositoryformatversion": "1",
        "extensions.partialclone": "origin",
    }.items():
        git(f"--git-dir={copy}", "config", key, value, cwd=tmp_path)
    lost = git("rev-parse", f"{origin[1]}:deep/b c.wav", cwd=origin[0])
    pack = next((copy / "objects" / "pack").glob("*.pack"), None)
    if pack is not None:
        data = pack.read_bytes()
        for file in (copy / "objects" / "pack").iterdir():
            file.unlink()
        subprocess.run(["git", f"--git-dir={copy}", "unpack-objects", "-q"], input=data, check=True)
    (copy / "objects" / lost[:2] / lost[2:]).unlink()
    assert found([clip("a.wav"), clip("deep/b c.wav")], origin[1], tmp_path / "mirror", tmp_path / "out") == [
        Found.WRITTEN,
        Found.MISSING,
    ]
    assert not witness.exists()


def test_a_clone_is_whole_or_not_there(origin: tuple[Path, str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="me/none: cannot be cloned from file:///nowhere"):
        clone(Source("me/none", origin[1], "file:///nowhere"), tmp_path)
    assert find_copy(tmp_path, "me/none") is None
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".clone")]


@pytest.mark.parametrize("url", ["ext::sh -c touch% /tmp/x", "ssh://-oProxyCommand=x/y", "http://example.org/x", "-u"])
def test_clone_uses_no_other_protocol(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be cloned"):
        clone(Source("me/clips", "0" * 40, url), tmp_path)


@pytest.mark.parametrize("layout", ["me+clips/repo", "me+clips", "me+clips.git", "me/clips.git", "me/clips/.git"])
def test_copies_are_found_in_every_layout(layout: str, tmp_path: Path) -> None:
    (tmp_path / layout / "objects").mkdir(parents=True)
    (tmp_path / layout / "HEAD").write_text("ref: refs/heads/main")
    assert find_copy(tmp_path, "me/clips") == tmp_path / layout


def test_sources_are_read_with_their_addresses(tmp_path: Path) -> None:
    table = tmp_path / "sources.tsv"
    table.write_text(f"commit\trepo\turl\n{'a' * 40}\tme/x\t-\n{'b' * 40}\tme/y\tfile:///srv/y.git\n")
    assert [source.url for source in read_sources(table).values()] == [
        "https://github.com/me/x.git",
        "file:///srv/y.git",
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f"--upload-pack=x/y\t{'a' * 40}\t-", "line 2: repo '--upload-pack=x/y', expected OWNER/NAME"),
        (f"me/..\t{'a' * 40}\t-", "line 2: repo"),
        (f"../../x\t{'a' * 40}\t-", "line 2: repo"),
        ("me/x\tHEAD\t-", "line 2: commit 'head', expected 40 hexadecimal digits"),
        (f"me/x\t{'a' * 40}\text::sh", "line 2: url 'ext::sh', expected https://host/path or file:///path"),
        (f"me/x\t{'a' * 40}\thttps://u:p@h/x", "line 2: url"),
        (f"me/x\t{'a' * 40}", "line 2: 2 fields, expected 3"),
        (f"me/x\t{'a' * 40}\t-\nme/x\t{'b' * 40}\t-", "line 3: me/x at two commits"),
    ],
)
def test_sources_that_cannot_be_are_named_by_line(row: str, message: str, tmp_path: Path) -> None:
    table = tmp_path / "sources.tsv"
    table.write_text(f"repo\tcommit\turl\n{row}\n")
    with pytest.raises(UsageError) as raised:
        read_sources(table)
    assert message in str(raised.value)


def test_a_clip_of_an_unlisted_repository_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="me/clips: not among the sources"):
        list(extract([clip("a.wav")], {}, tmp_path, tmp_path))
