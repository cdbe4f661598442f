"""Broken files are all found, overlap is refused, and hashes are not computed twice."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from spoofcheck.audio import files
from spoofcheck.errors import OutputError, UsageError
from spoofcheck.evaluation import audit
from spoofcheck.evaluation.audit import check_files, check_splits, manifest_sha256, seen_systems
from spoofcheck.evaluation.clips import Clip, Label
from tests.support.audio import EXAMPLES


def clip(
    path: Path, label: Label = "bonafide", *, system: str = "-", speaker: str = "-", repo: str = "-",
    sha1: str | None = None,
) -> Clip:  # fmt: skip
    return Clip(path.name, path, label, system, speaker, repo=repo, sha1=sha1)


def made(folder: Path, **contents: str) -> dict[str, Path]:
    folder.mkdir(exist_ok=True)
    paths = {name: folder / f"{name}.bin" for name in contents}
    for name, text in contents.items():
        paths[name].write_text(text)
    return paths


def test_files_all_problems_at_once_in_order(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.flac").write_text("this is no sound")
    (tmp_path / "cut.flac").write_bytes(b"fLaC\0\0\0\x22")
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    good = [
        EXAMPLES / name for name in ("address-1961.wav", "call-bank-security.flac", "reading.mp3", "hold-music.ogg")
    ]
    names = ("missing.wav", "empty.wav", "text.flac", "cut.flac", "folder.wav", "pipe.wav", "missing.wav")
    bad = [tmp_path / name for name in names]
    seen: list[tuple[int, int]] = []
    paths = [bad[0], *good, *bad[1:]]
    problems = check_files([clip(path) for path in paths], lambda done, total: seen.append((done, total)))
    assert [(problem.path, problem.code) for problem in problems[:2]] == [(bad[0], "not-found"), (bad[1], "empty-file")]
    assert [problem.path for problem in problems] == bad[:-1]
    assert problems[2].code == "not-audio"
    assert [problem.code for problem in problems[4:]] == ["is-directory", "not-a-file"]
    assert all(problem.message for problem in problems)
    assert seen == [(done, 10) for done in range(1, 11)]


def test_only_the_examples_made_broken_have_problems() -> None:
    problems = check_files([clip(path) for path in sorted(EXAMPLES.iterdir())])
    assert [problem.path.name for problem in problems] == ["cut-off.wav", "transcript.wav"]


def test_the_same_recording_in_two_parts_is_refused(tmp_path: Path) -> None:
    train = made(tmp_path / "t", a="one", b="two", c="xyz", d="longer")
    dev = made(tmp_path / "d", e="two", f="one", g="uvw")
    test = made(tmp_path / "e", h="something else")
    parts = {
        name: [clip(path) for path in paths.values()]
        for name, paths in (("train", train), ("dev", dev), ("test", test))
    }
    report = check_splits(parts)
    assert report.refused == (
        f"train and dev share 2 recordings: {train['a']} = {dev['f']}, {train['b']} = {dev['e']}",
    )
    assert report.warnings == ()


def test_many_shared_recordings_are_counted_and_the_first_named(tmp_path: Path) -> None:
    paths = made(tmp_path, **{f"n{number}": str(number) for number in range(6)})
    clips = [clip(path) for path in paths.values()]
    (refused,) = check_splits({"train": clips, "test": clips[::-1]}).refused
    first = ", ".join(str(paths[f"n{number}"]) for number in range(3))
    assert refused == f"train and test share 6 recordings: {first} and 3 more"


def test_without_hashes_places_and_claimed_hashes_count(tmp_path: Path) -> None:
    paths = made(tmp_path, a="one", b="one", c="three")
    (tmp_path / "link").symlink_to(paths["a"])
    same_place = {"train": [clip(paths["a"])], "dev": [clip(tmp_path / "link")]}
    same_content = {"train": [clip(paths["a"])], "dev": [clip(paths["b"])]}
    claimed = {"train": [clip(paths["a"], sha1="0" * 40)], "dev": [clip(paths["c"], sha1="0" * 40)]}
    assert len(check_splits(same_place, hash_files=False).refused) == 1
    assert check_splits(same_content, hash_files=False).refused == ()
    assert len(check_splits(same_content).refused) == 1
    assert len(check_splits(claimed, hash_files=False).refused) == 1


def test_shared_speakers_and_systems_are_warned_of(tmp_path: Path) -> None:
    paths = made(tmp_path, a="1", b="22", c="333", d="4444", e="55555", f="666666")
    train = [
        clip(paths["a"], speaker="p1", repo="x"),
        clip(paths["b"], "spoof", speaker="p2", repo="x", system="vits"),
    ]
    dev = [
        clip(paths["c"], speaker="p1", repo="y"),  # another repository's p1
        clip(paths["d"], speaker="p2", repo="x"),
        clip(paths["e"], "spoof", speaker="-", repo="x", system="vits"),
        clip(paths["f"], "spoof", system="-"),
    ]
    report = check_splits({"train": train, "dev": dev})
    assert report.refused == ()
    assert report.warnings == (
        "train and dev share 1 speaker (1 of the 4 clips in dev): p2 of x",
        "train and dev share 1 system (1 of the 4 clips in dev): vits",
    )


def test_a_file_that_cannot_be_hashed_is_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone.wav"
    for call in (lambda: check_splits({"a": [clip(gone)], "b": [clip(gone)]}), lambda: manifest_sha256([clip(gone)])):
        with pytest.raises(UsageError, match=r"gone\.wav: There is no such file"):
            call()


def test_only_files_of_a_size_that_is_in_two_parts_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = _watch_reads(monkeypatch)
    paths = made(tmp_path, a="one", b="another", c="two", d="longest of all", e="thirteen", f="thirteen")
    check_splits({"train": [clip(paths[key]) for key in "abef"], "dev": [clip(paths[key]) for key in "cd"]})
    assert sorted(read) == [paths["a"], paths["c"]]


def test_the_cache_spares_reading_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = _watch_reads(monkeypatch)
    cache = tmp_path / "hashes.json"
    paths = made(tmp_path / "files", a="one", b="two")
    clips = [clip(path) for path in paths.values()]
    first = manifest_sha256(clips, cache)
    assert sorted(read) == sorted(paths.values())
    read.clear()
    assert manifest_sha256(clips, cache) == first
    assert read == []
    paths["b"].write_text("new")
    os.utime(paths["b"], ns=(1, 1))
    assert manifest_sha256(clips, cache) != first
    assert read == [paths["b"]]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": "other", "files": {}}', '{"files": 3}'])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, damage: str) -> None:
    cache = tmp_path / "hashes.json"
    cache.write_text(damage)
    clips = [clip(path) for path in made(tmp_path / "files", a="one").values()]
    assert manifest_sha256(clips, cache) == manifest_sha256(clips)
    assert len(json.loads(cache.read_text())["files"]) == 1


def test_an_interrupted_run_keeps_the_hashes_it_has(tmp_path: Path) -> None:
    cache = tmp_path / "hashes.json"
    paths = made(tmp_path / "files", a="one", b="two")

    def breaks(path: Path) -> str:
        if path == paths["b"]:
            raise KeyboardInterrupt
        return files.sha256_of(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit, "sha256_of", breaks)
        with pytest.raises(KeyboardInterrupt):
            manifest_sha256([clip(path) for path in paths.values()], cache)
    assert list(json.loads(cache.read_text())["files"]) == [str(paths["a"])]


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    clips = [clip(path) for path in made(tmp_path / "files", a="one").values()]
    with pytest.raises(OutputError, match="cannot be written"):
        manifest_sha256(clips, tmp_path / "nowhere" / "hashes.json")


def test_the_identity_of_a_data_set(tmp_path: Path) -> None:
    paths = made(tmp_path / "here", a="one", b="two")
    clips = [clip(paths["a"], repo="x"), clip(paths["b"], "spoof", repo="x", system="vits")]
    identity = manifest_sha256(clips)
    assert len(identity) == 64
    assert manifest_sha256(clips[::-1]) == identity
    moved = shutil.copytree(tmp_path / "here", tmp_path / "there")
    assert (
        manifest_sha256([Clip(c.name, moved / c.path.name, c.label, c.system, repo=c.repo) for c in clips]) == identity
    )
    others = [
        clips[:1],
        [clips[0], clip(paths["b"], "spoof", repo="x", system="melgan")],
        [clip(paths["a"], repo="y"), clips[1]],
        [clip(paths["a"], "spoof", repo="x"), clips[1]],
        [Clip("a.bin", paths["b"], "bonafide", repo="x"), clips[1]],
    ]
    assert len({identity, *map(manifest_sha256, others)}) == 1 + len(others)


def test_systems_that_were_met(tmp_path: Path) -> None:
    path = tmp_path / "a"
    clips = [clip(path), clip(path, "spoof", system="vits"), clip(path, "spoof"), clip(path, "spoof", system="melgan")]
    assert seen_systems(clips) == {"vits", "melgan"}


def _watch_reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    read: list[Path] = []

    def watched(path: Path) -> str:
        read.append(path)
        return files.sha256_of(path)

    monkeypatch.setattr(audit, "sha256_of", watched)
    return read
