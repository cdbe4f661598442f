"""Recordings that name other files or addresses: nothing of them is opened, whatever the file is called."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoofcheck.audio.ffmpeg import ffmpeg_path
from tests.hostile.canary import Listener, hears_secret, write_secret
from tests.hostile.conftest import Scan
from tests.hostile.crafted import noise_bytes, wav_bytes, with_boxes
from tests.support.audio import encode, noise

PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{url}\n#EXT-X-ENDLIST\n",
    "hls-byte-range": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n#EXT-X-BYTERANGE:60000@0\n{url}\n#EXT-X-ENDLIST\n",
    "hls-key": '#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-KEY:METHOD=AES-128,URI="{url}"\n#EXTINF:9,\n{url}\n',
    "hls-map": '#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-MAP:URI="{url}"\n#EXTINF:9,\n{url}\n#EXT-X-ENDLIST\n',
    "hls-master": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{url}\n",
    "m3u": "#EXTM3U\n#EXTINF:9,x\n{url}\n",
    "ffconcat": "ffconcat version 1.0\nfile '{url}'\n",
    "ffconcat-options": "ffconcat version 1.0\nfile '{url}'\noption safe 0\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
    '<Representation id="1" mimeType="audio/wav"><BaseURL>{url}</BaseURL></Representation></AdaptationSet></Period>'
    "</MPD>",
    "imf": '<?xml version="1.0"?><CompositionPlaylist><Id>urn:uuid:1</Id><Path>{url}</Path></CompositionPlaylist>',
    "smil": "<smil><body><audio src='{url}'/></body></smil>",
    "xspf": '<?xml version="1.0"?><playlist version="1" xmlns="http://xspf.org/ns/0/"><trackList><track>'
    "<location>{url}</location></track></trackList></playlist>",
    "pls": "[playlist]\nFile1={url}\nNumberOfEntries=1\nVersion=2\n",
    "asx": '<asx version="3.0"><entry><ref href="{url}"/></entry></asx>',
    "asf-reference": "[Reference]\nRef1={url}\nRef2={url}\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\na=control:{url}\nm=audio {port} RTP/AVP 0\n",
    "rtsp-text": "RTSPtext\nrtsp://127.0.0.1:{port}/x\n",
    "avisynth": 'WAVSource("{url}")\n',
    "vapoursynth": "import vapoursynth\nopen('{url}')\n",
    "cue": 'FILE "{url}" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n',
    "ffmetadata": ";FFMETADATA1\nsource={url}\n",
    "webvtt": "WEBVTT\n\n00:00.000 --> 00:09.000\n{url}\n",
    "svg": '<svg xmlns="http://www.w3.org/2000/svg"><image href="{url}"/></svg>',
}
"""What players follow; `{url}` is where they would go."""

DISGUISES = ("{form}", "{form}.wav", "{form}.m3u8", "{form}.mp3")


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as listening:
        yield listening


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return write_secret(folder / "secret.wav")


def urls(secret: Path, listener: Listener) -> list[str]:
    """The secret in every way that ffmpeg knows, and an address."""
    return [
        *(str(secret), f"file:{secret}", f"file://{secret}", "../elsewhere/secret.wav", f"concat:{secret}|{secret}"),
        *(f"subfile,,start,0,end,64044,,:{secret}", f"async:file:{secret}", f"cache:file:{secret}", f"crypto:{secret}"),
        *(f"http://127.0.0.1:{listener.port}/secret.wav", f"tcp://127.0.0.1:{listener.port}"),
        *(
            f"ftp://127.0.0.1:{listener.port}/x",
            f"rtmp://127.0.0.1:{listener.port}/x",
            f"udp://127.0.0.1:{listener.port}",
        ),
    ]


def test_playlists_and_scripts_lead_nowhere(tmp_path: Path, secret: Path, listener: Listener, scan: Scan) -> None:
    """Every form with every way to the secret in turn, under names that say what it is and names that do not."""
    folder = tmp_path / "evidence"
    folder.mkdir()
    ways = urls(secret, listener)
    for number, (form, text) in enumerate(PLAYLISTS.items()):
        for shift, disguise in enumerate(DISGUISES):
            url = ways[(number + 4 * shift) % len(ways)]
            (folder / disguise.format(form=form)).write_text(text.format(url=url, port=listener.port))
    (folder / "good.wav").write_bytes(wav_bytes(noise_bytes(5)))
    found = scan(*sorted(folder.iterdir()))
    assert {name for name, findings in found.items() if findings[0].verdict != "skipped"} == {"good.wav"}
    assert {
        reason.code for name, findings in found.items() if name != "good.wav" for reason in findings[0].reasons
    } == {"not-audio"}
    assert listener.calls == 0


def test_a_playlist_that_names_itself_ends(tmp_path: Path, scan: Scan) -> None:
    (tmp_path / "a.wav").write_text(PLAYLISTS["hls"].format(url="b.wav"))
    (tmp_path / "b.wav").write_text(PLAYLISTS["ffconcat"].format(url="a.wav"))
    (tmp_path / "c.mp3").write_text(PLAYLISTS["hls-master"].format(url="c.mp3"))
    assert {findings[0].verdict for findings in scan(tmp_path).values()} == {"skipped"}


@pytest.mark.parametrize("way", ["file", "http"])
def test_a_quicktime_file_whose_sound_lies_elsewhere(
    way: str, tmp_path: Path, secret: Path, listener: Listener, scan: Scan
) -> None:
    """A data reference of kind `url ` that is not "this file" (`alis` ones: tests/audio/test_ffmpeg.py)."""
    movie = encode(tmp_path / "a.mov", noise(5 * 16_000), 16_000, "mov", "pcm_s16le")
    place = secret.as_uri() if way == "file" else f"http://127.0.0.1:{listener.port}/secret.wav"
    reference = place.encode() + b"\0"
    entry = struct.pack(">I4sI", 12 + len(reference), b"url ", 0) + reference

    def elsewhere(kind: bytes, body: bytes) -> bytes:
        return body[:8] + entry if kind == b"dref" else body

    movie.write_bytes(with_boxes(movie.read_bytes(), elsewhere))
    scan(movie)
    assert not hears_secret(movie)
    assert listener.calls == 0


def test_a_matroska_file_that_is_linked_to_others(tmp_path: Path, secret: Path, scan: Scan) -> None:
    """Ordered chapters of a segment in another file, which players look for in the folder."""
    other = tmp_path / "other.mka"
    subprocess.run(
        [str(ffmpeg_path()), "-loglevel", "error", "-i", str(secret), "-c:a", "flac", str(other)], check=True
    )
    linked = encode(tmp_path / "linked.mka", noise(5 * 16_000), 16_000, "matroska", "flac")
    uid = b"\x73\xa4\x90" + bytes(range(16))
    next_uid = b"\x3e\xb9\x23\x90" + bytes(range(16))
    data = linked.read_bytes()
    info = b"\x15\x49\xa9\x66" + bytes([0x80 | len(uid + next_uid)]) + uid + next_uid
    void = data.index(b"\xec", data.index(b"\x11\x4d\x9b\x74"))  # room that ffmpeg leaves behind its SeekHead
    width = 9 - data[void + 1].bit_length()
    room = 1 + width + (int.from_bytes(data[void + 1 : void + 1 + width]) & (1 << 7 * width) - 1)
    assert not any(data[void + 1 + width : void + room])
    rest = b"\xec\x01" + (room - len(info) - 9).to_bytes(7) + bytes(room - len(info) - 9)
    linked.write_bytes(data[:void] + info + rest + data[void + room :])
    (finding,) = scan(linked)["linked.mka"]
    assert finding.duration_s == 5
    assert hears_secret(other)
    assert not hears_secret(linked)


NAMES = [
    *(
        b"concat:a.wav|b.wav",
        b"-i.wav",
        b"--version.wav",
        b"http:x.wav",
        b"http:127.0.0.1.wav",
        b"pipe:0",
        b"pipe:1.wav",
    ),
    *(b"fd:0.wav", b"%03d.wav", b"*.wav", b"|id.wav", b"$(id).wav", b"`id`.wav", b"; id.wav", b"data:audio,x.wav"),
    *(b"subfile,,start,0,end,9,,:a.wav", b"lavfi.wav", b"file:a.wav", b"cache:a.wav", b"~.wav", b"~root.wav"),
    *(b"a\nb.wav", b"a\x1b]0;x\x07.wav", b"\xe2\x80\xaevaw.a.wav", b"\xff\xfe.wav", b"-", b"@list.wav", b"nul.wav"),
]


def test_names_that_look_like_protocols_options_or_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scan: Scan
) -> None:
    """In the current folder, as bare names behind `--`; both readers, by WAV and FLAC content."""
    monkeypatch.chdir(tmp_path)
    flac = encode(tmp_path / "a.flac", noise(5 * 16_000), 16_000, "flac", "flac")
    (tmp_path / "001.wav").write_bytes(wav_bytes(noise_bytes()))
    for number, name in enumerate(NAMES):
        if number % 2:
            shutil.copy(flac, os.fsdecode(name))
        else:
            Path(os.fsdecode(name)).write_bytes(wav_bytes(noise_bytes(5, seed=number)))
    found = scan("--", *map(os.fsdecode, NAMES))
    assert len(found) == len(NAMES)
    assert {finding.duration_s for findings in found.values() for finding in findings} == {5.0}
