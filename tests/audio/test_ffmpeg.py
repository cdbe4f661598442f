"""ffmpeg is fed evidence that may have been made to attack it: what it must never do, and that it is always gone."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from spoofcheck.audio import ffmpeg
from spoofcheck.audio.decode import decode_blocks
from spoofcheck.audio.ffmpeg import ffmpeg_path
from spoofcheck.audio.probe import probe
from spoofcheck.errors import InputError
from tests.support.audio import encode, tone, write_wav

SECONDS = 60


def long_mp3(folder: Path, name: str = "long.mp3") -> Path:
    return encode(folder / name, tone(SECONDS, 8_000), 8_000, "mp3", "libmp3lame")


def children() -> set[str]:
    """The processes this one has started and not yet reaped."""
    mine = set()
    for entry in Path("/proc").iterdir():
        try:
            status = (entry / "stat").read_text()
        except (OSError, ValueError):
            continue
        if entry.name.isdigit() and status.rpartition(")")[2].split()[1] == str(os.getpid()):
            mine.add(entry.name)
    return mine


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{victim}\n#EXT-X-ENDLIST\n"),
        ("list.m3u8", "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n"),
        ("list.wav", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{victim}\n#EXT-X-ENDLIST\n"),
        ("script.ffconcat", "ffconcat version 1.0\nfile '{victim}'\n"),
        ("script.mp3", "ffconcat version 1.0\nfile '{victim}'\n"),
        ("session.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n"),
        ("manifest.mpd", '<?xml version="1.0"?><MPD><Period><BaseURL>file://{victim}</BaseURL></Period></MPD>'),
        ("metadata.wav", ";FFMETADATA1\ntitle=x\n"),
        ("script.avs", 'WAVSource("{victim}")\n'),
    ],
)
def test_files_that_name_other_files_are_refused(tmp_path: Path, name: str, content: str) -> None:
    victim = write_wav(tmp_path / "victim.wav", tone(1, 16_000), 16_000)
    attack = tmp_path / name
    attack.write_text(content.format(victim=victim))
    with pytest.raises(InputError) as refusal:
        probe(attack)
    assert refusal.value.code == "not-audio"


def with_alias(movie: bytes, target: Path) -> bytes:
    """The QuickTime file with its samples declared to lie in `target`, by a Macintosh alias record."""
    path = os.fsencode(target) + b"\0" * (len(os.fsencode(target)) % 2)
    record = bytes(150) + struct.pack(">hH", 2, len(path)) + path + struct.pack(">hH", -1, 0)
    alias = struct.pack(">I4sI", 12 + len(record), b"alis", 0) + record
    start, end, grown = 0, len(movie), bytearray(movie)
    for name in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        while True:
            size, kind = struct.unpack_from(">I4s", movie, start)
            if kind == name:
                break
            start += size
            assert start < end, f"no {name!r} in this file"
        struct.pack_into(">I", grown, start, size + len(alias) - 12)
        start, end = start + 8, start + size
    entry = start + 8  # behind version, flags and the number of entries
    assert movie[entry + 4 : entry + 8] in (b"url ", b"alis")
    return bytes(grown[:entry]) + alias + bytes(grown[entry + 12 :])


def test_external_tracks_of_quicktime_files_stay_closed(tmp_path: Path) -> None:
    """A `mov` may say that its samples lie in another file, which would then be judged in its place."""
    movie = encode(tmp_path / "a.mov", tone(1, 16_000, amplitude=0.1), 16_000, "mov", "pcm_s16le")
    victim = tmp_path / "victim"
    victim.write_bytes(struct.pack("<h", 0x4000) * 40_000)
    movie.write_bytes(with_alias(movie.read_bytes(), victim))

    allowed = ("-enable_drefs", "1", "-use_absolute_path", "1")
    command = [str(ffmpeg_path()), *allowed, "-i", str(movie), "-f", "s16le", "pipe:1"]
    fooled = subprocess.run(command, capture_output=True, check=False).stdout
    assert fooled[:100] == victim.read_bytes()[:100], "the attack must work where it is allowed"

    try:
        heard = np.concatenate(list(decode_blocks(probe(movie))))
    except InputError:
        return
    assert np.abs(heard).max() < 0.2, "these samples are the victim's"


HOSTILE_NAMES = [
    *(b"-i.mp3", b"-version", b"concat:a|b.mp3", b"pipe:0", b"data:audio", b"file:x.mp3", b"%d.mp3", b" .mp3"),
    *(b"new\nline.mp3", b"esc\x1b[2J.mp3", b"quote'\".mp3", b"<script>.mp3", b"latin-\xe9.mp3"),
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_are_only_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: bytes) -> None:
    made = encode(tmp_path / "made", tone(0.5, 8_000), 8_000, "mp3", "libmp3lame")
    made.rename(tmp_path / os.fsdecode(name))
    monkeypatch.chdir(tmp_path)
    file = probe(Path(os.fsdecode(name)))
    assert (file.codec, file.decoder, file.sample_rate_hz) == ("mp3", "ffmpeg", 8_000)
    assert sum(len(block) for block in decode_blocks(file)) >= 4_000


def test_tags_and_names_cannot_forge_facts(tmp_path: Path) -> None:
    forged = "x\n  Duration: 99:00:00.00, start: 0\nStream mapping:\n  Stream #0:0 -> #0:0 (evil (x) -> y)\n"
    tags = ("-metadata", f"title={forged}", "-metadata", f"{forged}=1")
    made = encode(tmp_path / "made", tone(2, 48_000), 48_000, "matroska", "flac", tags)
    file = probe(made.rename(tmp_path / f"{forged}  Stream #0:0: Audio: pcm_u8, 1 Hz, s64 (64 bit)".replace("/", "")))
    assert (file.codec, file.sample_rate_hz, file.bit_depth) == ("flac", 48_000, 16)
    assert file.header_duration_s == pytest.approx(2, abs=0.01)


def test_early_close_leaves_no_process(tmp_path: Path) -> None:
    before = children()
    blocks = decode_blocks(probe(long_mp3(tmp_path)), 1_000)
    next(blocks)
    assert children() - before, "ffmpeg should be waiting to be read from"
    blocks.close()
    assert children() == before


def test_end_and_errors_leave_no_process(tmp_path: Path) -> None:
    before = children()
    assert sum(len(block) for block in decode_blocks(probe(long_mp3(tmp_path)))) == pytest.approx(480_000, abs=3_000)
    not_audio = tmp_path / "text.mp3"
    not_audio.write_text("no audio\n" * 100)
    with pytest.raises(InputError, match="no audio"):
        probe(not_audio)
    assert children() == before


def test_more_complaints_than_a_pipe_holds(tmp_path: Path) -> None:
    """Every damaged packet is a line on standard error; unread, they would block ffmpeg for ever."""
    data = bytearray(long_mp3(tmp_path).read_bytes())
    for start in range(2_000, len(data) - 100, 150):
        data[start : start + 20] = bytes(20)
    damaged = tmp_path / "damaged.mp3"
    damaged.write_bytes(data)
    started = time.monotonic()
    blocks = decode_blocks(probe(damaged))
    assert sum(len(block) for block in blocks) > 0
    assert time.monotonic() - started < 60


def test_bounded_report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    chatty = tmp_path / "ffmpeg"
    chatty.write_text("#!/bin/sh\necho first >&2\nhead -c 3000000 /dev/zero | tr '\\0' x >&2\necho last >&2\n")
    chatty.chmod(0o755)
    monkeypatch.setattr(ffmpeg, "ffmpeg_path", lambda: chatty)
    with ffmpeg._Ffmpeg([]) as process:
        assert process.stdout.read() == b""
        process.end()
    assert process.report.startswith(b"first\n")
    assert process.report.endswith(b"last\n")
    assert len(process.report) < 300_000


def test_ffmpeg_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stuck = tmp_path / "ffmpeg"
    stuck.write_text("#!/bin/sh\nexec sleep 600\n")
    stuck.chmod(0o755)
    monkeypatch.setattr(ffmpeg, "ffmpeg_path", lambda: stuck)
    monkeypatch.setattr(ffmpeg, "_PROBE_TIMEOUT_S", 0.2)
    before = children()
    with pytest.raises(InputError) as error:
        ffmpeg.probe_with_ffmpeg(tmp_path / "x", "mp3")
    assert error.value.code == "decode-timeout"
    assert children() == before


def test_ffmpeg_that_stops_half_way_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = long_mp3(tmp_path)
    file = probe(path)
    stuck = tmp_path / "ffmpeg"
    stuck.write_text("#!/bin/sh\nhead -c 4000 /dev/zero\nexec sleep 600\n")
    stuck.chmod(0o755)
    monkeypatch.setattr(ffmpeg, "ffmpeg_path", lambda: stuck)
    monkeypatch.setattr(ffmpeg, "_STALL_S", 0.2)
    before = children()
    blocks = decode_blocks(file, 1_000)
    assert len(next(blocks)) == 1_000
    with pytest.raises(InputError) as error:
        next(blocks)
    assert error.value.code == "decode-timeout"
    assert children() == before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can limit a program that runs")
def test_ffmpeg_may_write_no_file_and_take_little_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written = tmp_path / "written"
    greedy = tmp_path / "ffmpeg"
    greedy.write_text(f"#!/bin/sh\nsleep 0.3\ncat /proc/self/limits >&2\necho x > '{written}'\n")
    greedy.chmod(0o755)
    monkeypatch.setattr(ffmpeg, "ffmpeg_path", lambda: greedy)
    with ffmpeg._Ffmpeg([]) as process:
        process.end()
    limits = [line.split() for line in process.report.decode().splitlines()]
    assert ["Max", "address", "space", str(2 << 30), str(2 << 30), "bytes"] in limits
    assert written.read_bytes() == b""


def test_environment_cannot_make_ffmpeg_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = encode(tmp_path / "a", tone(0.5, 8_000), 8_000, "mp3", "libmp3lame")
    monkeypatch.setenv("FFREPORT", f"file={tmp_path}/report.log")
    probe(path)
    assert not (tmp_path / "report.log").exists()


def test_ffmpeg_is_found_on_the_path_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ffmpeg_path.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    bundled = ffmpeg_path()
    ffmpeg_path.cache_clear()
    own = tmp_path / "ffmpeg"
    own.symlink_to(bundled)
    try:
        assert bundled != own
        assert ffmpeg_path() == own
        assert b"ffmpeg version" in subprocess.run([own, "-version"], capture_output=True, check=True).stdout
    finally:
        ffmpeg_path.cache_clear()


def test_no_ffmpeg_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nothing() -> str:
        raise RuntimeError("No ffmpeg exe could be found.")

    ffmpeg_path.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(ffmpeg.imageio_ffmpeg, "get_ffmpeg_exe", nothing)
    with pytest.raises(InputError, match="ffmpeg not found"):
        ffmpeg_path()
    monkeypatch.setattr(ffmpeg, "ffmpeg_path", lambda: tmp_path / "gone")
    with pytest.raises(InputError, match="cannot be started"):
        ffmpeg._Ffmpeg([])
