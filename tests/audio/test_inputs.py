from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from spoofcheck.audio.inputs import display_path, find_inputs, read_file_list
from spoofcheck.errors import UsageError
from spoofcheck.types import Skipped
from tests.support.audio import tone, write_wav


def wav(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_wav(path, tone(0.1, 8_000), 8_000)


def found(*paths: Path | str, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> list[Path]:
    entries = list(find_inputs(paths, include=include, exclude=exclude))
    assert all(isinstance(entry, Path) for entry in entries), entries
    return [entry for entry in entries if isinstance(entry, Path)]


def skipped(*paths: Path | str) -> list[tuple[str, str]]:
    return [(entry.path.name, entry.code) for entry in find_inputs(paths) if isinstance(entry, Skipped)]


def test_folder_is_searched_in_sorted_order(tmp_path: Path) -> None:
    names = ["b.wav", "a/z.WAV", "a/b/c.wav", "Z.wav"]
    for name in names:
        wav(tmp_path / name)
    assert [str(path.relative_to(tmp_path)) for path in found(tmp_path)] == [
        "Z.wav",
        "a/b/c.wav",
        "a/z.WAV",
        "b.wav",
    ]


def test_named_files_come_in_the_order_named_and_once(tmp_path: Path) -> None:
    a, b = wav(tmp_path / "a.wav"), wav(tmp_path / "b.wav")
    assert found(b, tmp_path, a, str(b), tmp_path / "." / "a.wav") == [b, a]


def test_two_files_with_one_name_in_two_folders_are_two(tmp_path: Path) -> None:
    wav(tmp_path / "x/same.wav")
    wav(tmp_path / "y/same.wav")
    assert len(found(tmp_path)) == 2


def test_inside_folders_only_what_may_be_audio(tmp_path: Path) -> None:
    wav(tmp_path / "recording")
    (tmp_path / "notes.txt").write_text("RIFF is a word, too")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (tmp_path / "text.wav").write_text("no audio, but it says so")
    (tmp_path / "headerless.ul").write_bytes(bytes(100))
    assert [path.name for path in found(tmp_path)] == ["headerless.ul", "recording", "text.wav"]


def test_a_named_file_is_taken_whatever_it_looks_like(tmp_path: Path) -> None:
    note = tmp_path / ".notes.txt"
    note.write_text("named is named")
    assert found(note, exclude=("*.txt",)) == [note]


def test_hidden_entries_are_left_out(tmp_path: Path) -> None:
    wav(tmp_path / ".hidden.wav")
    wav(tmp_path / ".folder/inside.wav")
    seen = wav(tmp_path / "seen.wav")
    assert found(tmp_path) == [seen]


@pytest.mark.parametrize(
    ("include", "exclude", "names"),
    [
        (("*.WAV",), (), ["a.wav", "sub/b.wav"]),
        (("sub/*",), (), ["sub/b.wav", "sub/c.dat"]),
        (("*.dat",), (), ["sub/c.dat"]),
        ((), ("b.*",), ["a.wav"]),
        ((), ("sub",), ["a.wav"]),
        ((), ("sub/*.wav",), ["a.wav"]),
        (("*.wav",), ("a*",), ["sub/b.wav"]),
    ],
)
def test_include_and_exclude(
    tmp_path: Path, include: tuple[str, ...], exclude: tuple[str, ...], names: list[str]
) -> None:
    wav(tmp_path / "a.wav")
    wav(tmp_path / "sub/b.wav")
    (tmp_path / "sub/c.dat").write_bytes(b"no audio to see here")
    entries = found(tmp_path, include=include, exclude=exclude)
    assert [str(path.relative_to(tmp_path)) for path in entries] == names


def test_symbolic_links(tmp_path: Path) -> None:
    outside = wav(tmp_path / "outside/o.wav")
    root = tmp_path / "root"
    wav(root / "sub/a.wav")
    (root / "link.wav").symlink_to(root / "sub/a.wav")
    (root / "loop").symlink_to(root, target_is_directory=True)
    (root / "self.wav").symlink_to(root / "self.wav")
    (root / "gone.wav").symlink_to(root / "nothing.wav")
    (root / "out.wav").symlink_to(outside)
    (root / "outdir").symlink_to(outside.parent, target_is_directory=True)

    entries = list(find_inputs([root]))

    assert [entry for entry in entries if isinstance(entry, Path)] == [root / "link.wav"]
    assert {entry.path.name: entry.code for entry in entries if isinstance(entry, Skipped)} == {
        "self.wav": "not-found",
        "gone.wav": "not-found",
        "out.wav": "symlink-outside",
        "outdir": "symlink-outside",
    }


def test_a_named_link_is_followed(tmp_path: Path) -> None:
    inside = wav(tmp_path / "real/a.wav")
    (tmp_path / "folder").symlink_to(inside.parent, target_is_directory=True)
    assert found(tmp_path / "folder") == [tmp_path / "folder/a.wav"]


def test_missing_and_impossible_names(tmp_path: Path) -> None:
    assert skipped(tmp_path / "missing.wav", "bad\0name", "n" * 300) == [
        ("missing.wav", "not-found"),
        ("bad\0name", "not-found"),
        ("n" * 300, "not-found"),
    ]


def test_directory_named_like_a_recording_is_a_directory(tmp_path: Path) -> None:
    inside = wav(tmp_path / "x.wav/y.wav")
    assert found(tmp_path / "x.wav") == [inside]
    assert found(tmp_path) == [inside]


def test_pipes_sockets_and_devices_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.wav")
        # A pipe without a writer blocks whoever opens it, so that this test would hang.
        assert skipped(tmp_path, tmp_path / "pipe.wav", "/dev/zero") == [
            ("pipe.wav", "not-a-file"),
            ("s.wav", "not-a-file"),
            ("pipe.wav", "not-a-file"),
            ("zero", "not-a-file"),
        ]


def test_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wav(tmp_path / "closed/a.wav")
    kept = wav(tmp_path / "open.wav")
    real_scandir = os.scandir

    def scandir(path: Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return real_scandir(path)

    monkeypatch.setattr(os, "scandir", scandir)  # root, who runs CI, may read every folder
    assert list(find_inputs([tmp_path])) == [
        Skipped(tmp_path / "closed", "permission-denied", "The folder may not be read with the rights of this user."),
        kept,
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_folder_for_real(tmp_path: Path) -> None:
    folder = wav(tmp_path / "closed/a.wav").parent
    folder.chmod(0)
    try:
        assert skipped(tmp_path) == [("closed", "permission-denied")]
    finally:
        folder.chmod(0o700)


def test_hostile_names_come_through(tmp_path: Path) -> None:
    names = [b"new\nline.wav", b"esc\x1b[31m.wav", b"\"<script>'.wav", b"latin-\xe9.wav", b"-i.wav", b"concat:a.wav"]
    for name in names:
        wav(tmp_path / "plain.wav").rename(tmp_path / os.fsdecode(name))
    assert sorted(os.fsencode(path.name) for path in found(tmp_path)) == sorted(names)


def test_display_path() -> None:
    assert display_path(Path(os.fsdecode(b"d/latin-\xe9\n\x1b.wav"))) == "d/latin-\\xe9\n\x1b.wav"
    assert display_path("grüße/音声.wav") == "grüße/音声.wav"
    assert display_path("lone\ud800.wav") == "lone\\ud800.wav"


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"a.wav\nb c.wav\n\n", [b"a.wav", b"b c.wav"]),
        (b"a.wav", [b"a.wav"]),
        (b"new\nline.wav\0b.wav\0", [b"new\nline.wav", b"b.wav"]),
        (b"\xef\xbb\xbfa.wav\r\nb.wav\r\n", [b"a.wav", b"b.wav"]),
        (b"cr\r\nb.wav\n", [b"cr\r", b"b.wav"]),
        (b"latin-\xe9.wav\n", [b"latin-\xe9.wav"]),
        (b"", []),
    ],
)
def test_file_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, names: list[bytes]) -> None:
    listing = tmp_path / "list"
    listing.write_bytes(data)
    assert [os.fsencode(path) for path in read_file_list(listing)] == names
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert [os.fsencode(path) for path in read_file_list("-")] == names


def test_file_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_file_list(tmp_path / "missing")


@pytest.mark.parametrize("call", ["stat", "readlink"])
def test_a_folder_that_may_be_listed_but_not_entered_ends_no_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """As `/proc/1/cwd` answers everybody, and a folder of mode 444 its own user (found by fuzzing)."""
    shut, fine = tmp_path / "a.wav", tmp_path / "b.wav"
    fine.write_bytes(b"")
    shut.symlink_to(fine)
    real = getattr(os, call)

    def refuse(path: object, *arguments: object, **options: object) -> object:
        if os.fspath(path) == str(shut):
            raise PermissionError(13, "Permission denied", str(shut))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, call, refuse)
    skipped, found = find_inputs([tmp_path])
    assert isinstance(skipped, Skipped)
    assert (skipped.path, skipped.code) == (shut, "permission-denied")
    assert found == fine


def test_finding_inputs_needs_no_audio_library() -> None:
    code = (
        "import sys, spoofcheck.audio.inputs;"
        "heavy = {'torch', 'numpy', 'soundfile', 'pydub', 'soxr', 'silero_vad'} & set(sys.modules);"
        "print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
