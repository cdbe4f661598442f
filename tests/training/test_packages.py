from __future__ import annotations

import hashlib
import io
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spoofcheck.audio.ffmpeg import ffmpeg_path
from spoofcheck.cli import run
from spoofcheck.errors import UsageError
from spoofcheck.evaluation.protocols.manifest import read_manifest
from spoofcheck.training import packages as module
from spoofcheck.training.corpus import is_lossy
from spoofcheck.training.packages import COLUMNS, Taken, download, member_problem, pieces, read_packages, take_packages

RATE = 16_000


def speech(seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(round(seconds * rate))).astype(np.float32)


def wav(seconds: float, rate: int = RATE, kind: str = "WAV", subtype: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, speech(seconds, rate), rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def tar(files: Mapping[str, bytes], mode: str = "w:gz", links: Mapping[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as bundle:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            bundle.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            bundle.addfile(info)
    return buffer.getvalue()


def deb(files: Mapping[str, bytes], data: str = "data.tar.xz") -> bytes:
    parts = {"debian-binary": b"2.0\n", "control.tar.gz": tar({"./control": b"odd"}), data: tar(files, "w:xz")}
    packed = b"!<arch>\n"
    for name, content in parts.items():
        packed += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content
        packed += b"\n" * (len(content) % 2)
    return packed


def wheel(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for name, data in files.items():
            bundle.writestr(name, data)
    return buffer.getvalue()


Row = dict[str, str]


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Put archives below `archives` and write a table with a row for each change to the first archive's."""

    def write(archive: str, data: bytes, *changes: Row) -> Path:
        (tmp_path / "archives").mkdir(exist_ok=True)
        (tmp_path / "archives" / archive).write_bytes(data)
        base = {
            "repo": "debian/talk", "kind": "deb", "package": "talk", "version": "1:2-3", "archive": archive,
            "sha256": hashlib.sha256(data).hexdigest(), "licence": "GPL-2", "split": "train", "language": "cs",
            "speaker": "ada", "members": r"sound/.*\.(?:wav|ogg|g722)", "coding": "-", "most": "-", "what": "dialogue",
            "human": "the copyright names the actor",
        }  # fmt: skip
        rows = [{**base, **change} for change in changes or ({},)]
        path = tmp_path / "packages.tsv"
        lines = ["\t".join(COLUMNS), *("\t".join(row[column] for column in COLUMNS) for row in rows)]
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return write


def take(table: Path, tmp_path: Path) -> Taken:
    (taken,) = take_packages(read_packages(table), tmp_path / "archives", tmp_path / "out")
    return taken


@pytest.mark.parametrize(
    ("archive", "pack"), [("t.deb", deb), ("t.whl", wheel), ("t.tar.gz", tar), ("t.tgz", tar), ("t.zip", wheel)]
)
def test_recordings_of_every_kind_of_archive_become_clips(
    archive: str, pack: Callable[[Mapping[str, bytes]], bytes], table: Callable[..., Path], tmp_path: Path
) -> None:
    files = {"sound/a.wav": wav(2.0, 44_100), "sound/b.ogg": wav(2.5, 22_050, "OGG", "VORBIS"), "other/c.wav": b"no"}
    taken = take(table(archive, pack(files)), tmp_path)
    assert not taken.failed
    a, b = taken.clips
    assert (a.name, a.codec, a.repo, a.corpus) == ("sound/a.wav.flac", "wav/pcm_16", "debian/talk", "talk 1:2-3")
    assert (b.name, b.codec, is_lossy(b), is_lossy(a)) == ("sound/b.ogg.flac", "ogg/vorbis", 1, 0)
    assert (a.label, a.system, a.speaker, a.language, a.split, a.licence, a.note) == (
        "bonafide", "-", "ada", "cs", "train", "GPL-2", "dialogue",
    )  # fmt: skip
    for clip, seconds in ((a, 2.0), (b, 2.5)):
        info = soundfile.info(clip.path)
        assert (info.samplerate, info.channels, info.format) == (RATE, 1, "FLAC")
        assert clip.duration_s == pytest.approx(seconds, abs=0.01)
        assert clip.sha1 == hashlib.sha1(clip.path.read_bytes()).hexdigest()
    assert a.path == tmp_path / "out" / "debian+talk" / "sound" / "a.wav.flac"


def test_raw_g722_is_decoded_and_counts_as_lossy(table: Callable[..., Path], tmp_path: Path) -> None:
    command = [str(ffmpeg_path()), "-v", "error", "-f", "s16le", "-ar", "16000", "-i", "-", "-f", "g722", "-"]
    tone = 0.5 * np.sin(2 * np.pi * 400 * np.arange(2 * RATE) / RATE)
    raw = subprocess.run(command, input=(tone * 32767).astype("<i2").tobytes(), capture_output=True, check=True).stdout
    files = {"sound/a.g722": raw, "sound/short.g722": raw[:4000]}
    taken = take(table("t.deb", deb(files), {"coding": "g722"}), tmp_path)
    (clip,) = taken.clips
    assert (clip.codec, is_lossy(clip), taken.passed_over) == ("g722", 1, 1)
    decoded, _ = soundfile.read(clip.path)
    assert clip.duration_s == pytest.approx(2.0, abs=0.01)
    assert np.argmax(np.abs(np.fft.rfft(decoded[:RATE]))) == 400


def test_low_rates_and_little_speech_are_passed_over(table: Callable[..., Path], tmp_path: Path) -> None:
    quiet = np.concatenate((speech(1.0), np.zeros(3 * RATE, np.float32)))
    buffer = io.BytesIO()
    soundfile.write(buffer, quiet, RATE, format="WAV")
    files = {
        "sound/narrow.wav": wav(3.0, 8000),
        "sound/narrow.ogg": wav(3.0, 8000, "OGG", "VORBIS"),
        "sound/brief.ogg": wav(1.0, RATE, "OGG", "VORBIS"),
        "sound/pauses.wav": buffer.getvalue(),
        "sound/good.wav": wav(1.6),
        "sound/broken.wav": b"RIFF nothing",
    }
    taken = take(table("t.deb", deb(files)), tmp_path)
    assert [clip.name for clip in taken.clips] == ["sound/good.wav.flac"]
    assert taken.passed_over == 4
    assert [failed.name for failed in taken.failed] == ["sound/broken.wav"]


def test_most_takes_the_largest_of_each_speaker_and_paths_name_speakers(
    table: Callable[..., Path], tmp_path: Path
) -> None:
    files = {f"sound/{who}-{i}.wav": wav(1.6 + 0.1 * i) for who in "xy" for i in range(4)}
    change = {"members": r"sound/(?P<who>[xy])-\d\.wav", "speaker": r"talk-\g<who>", "language": r"\1", "most": "2"}
    taken = take(table("t.deb", deb(files), change), tmp_path)
    assert [(clip.name, clip.speaker, clip.language) for clip in taken.clips] == [
        (f"sound/{who}-{i}.wav.flac", f"talk-{who}", who) for who in "xy" for i in (2, 3)
    ]


def test_rules_take_from_what_earlier_ones_left(table: Callable[..., Path], tmp_path: Path) -> None:
    files = {"sound/a.wav": wav(2.0), "sound/b.wav": wav(2.0)}
    rules: list[Row] = [{"members": "sound/a.wav", "speaker": "ada"}, {"speaker": "ben", "split": "dev"}]
    taken = take(table("t.deb", deb(files), *rules, {"members": "nowhere"}), tmp_path)
    assert [(clip.speaker, clip.split) for clip in taken.clips] == [("ada", "train"), ("ben", "dev")]
    assert [failed.reason for failed in taken.failed] == ["no recording matches nowhere"]


def test_long_recordings_are_cut_at_pauses_and_a_second_run_keeps_everything(
    table: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wave = speech(45.0)
    wave[17 * RATE : 17 * RATE + 3200] = 0
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, RATE, format="WAV")
    path = table("t.deb", deb({"sound/a.wav": buffer.getvalue()}))
    first = take(path, tmp_path)
    assert [clip.name for clip in first.clips] == ["sound/a.wav.flac", "sound/a.wav.2.flac", "sound/a.wav.3.flac"]
    assert 17.0 < (first.clips[0].duration_s or 0) < 17.2
    assert sum(clip.duration_s or 0 for clip in first.clips) == pytest.approx(45.0)
    assert all((clip.duration_s or 0) <= 20 for clip in first.clips)
    first.clips[1].path.unlink()
    assert take(path, tmp_path).kept == 0
    with monkeypatch.context() as patched:
        patched.setattr(module, "_decoded", None)
        again = take(path, tmp_path)
    assert (again.clips, again.kept) == (first.clips, 3)


def test_pieces_lose_nothing() -> None:
    wave = speech(10.0)
    cut = pieces(wave, 3 * RATE, RATE)
    assert np.array_equal(np.concatenate(cut), wave)
    assert all(2 * RATE <= piece.size <= 3 * RATE for piece in cut[:-1])
    assert [piece.size for piece in pieces(wave, wave.size, RATE)] == [wave.size]


@pytest.mark.parametrize(
    "name", ["sound/../../a.wav", "sound//a.wav", "sound/./a.wav", "sound/a\n.wav", "sound\\a.wav"]
)
def test_paths_that_lead_out_are_refused(name: str, table: Callable[..., Path], tmp_path: Path) -> None:
    assert member_problem(name) is not None
    change = {"members": r"(?s)sound.*\.wav"}
    taken = take(table("t.tar.gz", tar({name: wav(2.0), "sound/b.wav": wav(2.0)}), change), tmp_path)
    assert [failed.name for failed in taken.failed] == [name]
    assert {path.name for path in tmp_path.rglob("*.flac")} == {"b.wav.flac"}


def test_absolute_paths_and_links_are_no_recordings(table: Callable[..., Path], tmp_path: Path) -> None:
    data = tar({"/sound/a.wav": wav(2.0)}, links={"sound/link.wav": "/etc/hostname"})
    taken = take(table("t.tar.gz", data, {"members": r"/?sound/.*"}), tmp_path)
    assert not taken.clips
    assert [failed.name for failed in taken.failed] == ["/sound/a.wav", "debian/talk"]
    assert not list(tmp_path.rglob("*.flac"))


def test_another_archive_than_the_table_s_is_not_opened(table: Callable[..., Path], tmp_path: Path) -> None:
    path = table("t.deb", deb({"sound/a.wav": wav(2.0)}))
    (tmp_path / "archives" / "t.deb").write_bytes(deb({"sound/a.wav": wav(2.1)}))
    taken = take(path, tmp_path)
    assert not taken.clips
    assert "its SHA-256 is" in taken.failed[0].reason
    (tmp_path / "archives" / "t.deb").unlink()
    assert "t.deb is not in" in take(path, tmp_path).failed[0].reason


@pytest.mark.parametrize(
    ("archive", "data", "reason"),
    [
        ("t.deb", b"no", "no Debian package"),
        ("t.deb", b"!<arch>\n", "without files"),
        ("t.deb", deb({}, "data.tar.zst"), "zstd"),
        ("t.tar.gz", b"no", "cannot be read"),
        ("t.whl", b"no", "cannot be read"),
        ("t.deb", deb({"sound/a.wav": wav(2.0)})[:-2000], "cannot be read"),
    ],
)
def test_broken_archives_are_one_line(
    archive: str, data: bytes, reason: str, table: Callable[..., Path], tmp_path: Path
) -> None:
    taken = take(table(archive, data), tmp_path)
    assert not taken.clips
    assert reason in taken.failed[0].reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "rpm"}, "kind 'rpm', expected deb, pypi, npm"),
        ({"sha256": "abc"}, "expected 64 hexadecimal digits"),
        ({"package": "--help"}, "package '--help'"),
        ({"version": "-1"}, "version '-1'"),
        ({"archive": "../t.deb"}, "archive '../t.deb', expected a file name"),
        ({"repo": "../x"}, "repo '../x', expected OWNER/NAME"),
        ({"human": "-"}, "how it is known that people speak"),
        ({"members": "("}, "members '('"),
        ({"speaker": r"\2"}, "with its language and speaker"),
        ({"coding": "mp9"}, "expected - or g722"),
        ({"most": "0"}, "a number from 1 up"),
    ],
)
def test_mistakes_in_the_table_name_line_and_value(
    change: Row, message: str, table: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"packages\.tsv: line 2: ") as caught:
        read_packages(table("t.deb", b"", change))
    assert message in str(caught.value)


def test_a_package_has_one_archive(table: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="line 3: debian/talk with two archives"):
        read_packages(table("t.deb", b"", {}, {"licence": "MIT"}))


def test_download_asks_the_kind_s_own_program(
    table: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("apt-get", "npm"):
        program = tools / name
        program.write_text(
            '#!/bin/sh\necho "$0 $*" > asked\n[ -n "$FAIL" ] && echo "E: no such version" >&2 && exit 1\n'
            '[ -z "$NOTHING" ] && echo data > t.deb\nexit 0\n'
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    (package,) = read_packages(table("other", b"", {"archive": "t.deb"}))
    archives = tmp_path / "new"
    monkeypatch.setenv("FAIL", "1")
    with pytest.raises(UsageError, match="debian/talk: apt-get cannot download it: E: no such version"):
        download(package, archives)
    monkeypatch.delenv("FAIL")
    monkeypatch.setenv("NOTHING", "1")
    with pytest.raises(UsageError, match=r"fetched no t\.deb"):
        download(package, archives)
    monkeypatch.delenv("NOTHING")
    download(package, archives)
    assert (archives / "asked").read_text().endswith("apt-get download talk=1:2-3\n")
    (archives / "asked").unlink()
    download(package, archives)  # it lies there now
    assert not (archives / "asked").exists()


def test_the_command_writes_a_manifest_and_says_what_it_took(
    table: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table("t.deb", deb({"sound/a.wav": wav(2.0), "sound/b.wav": wav(1.0)}))
    words = ["corpus", "packages", str(path), "--archives", str(tmp_path / "archives"), "--out", str(tmp_path / "out")]
    assert run(words) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "debian/talk: 1 clip, 1 speaker, 0.0 min; 1 recording passed over" in captured.err
    (clip,) = read_manifest(tmp_path / "out" / "manifest.tsv")
    assert clip.path.is_file()
    assert run([*words, "--repo", "debian/other"]) == 2
    assert "--repo debian/other: not in" in capsys.readouterr().err
    (tmp_path / "archives" / "t.deb").unlink()
    assert run(words) == 2
    assert "debian/talk: t.deb is not in" in capsys.readouterr().err


def test_the_table_of_this_project_is_sound() -> None:
    known = read_packages(Path(__file__).parents[2] / "train" / "packages.tsv")
    splits: dict[str, set[str]] = {}
    for package in known:
        for rule in package.rules:
            splits.setdefault(rule.speaker, set()).add(rule.split)
    assert all(len(found) == 1 for found in splits.values())
    assert {split for found in splits.values() for split in found} == {"train", "dev"}
