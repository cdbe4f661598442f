"""The one place that starts ffmpeg on evidence: for containers libsndfile cannot read, or not to their end.

Evidence is hostile until decoded, so ffmpeg never sees a shell, an option made from a name, the network, or a
format that names other files (playlists, concat scripts, SDP, image sequences): such a file is refused. Where the
system can limit it (Linux), it has 2 GiB of memory and may write no file.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import struct
import subprocess
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, Self

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from spoofcheck.errors import InputError

with warnings.catch_warnings():
    # pydub warns on import when no ffmpeg is on the PATH; `ffmpeg_path` deals with that.
    warnings.simplefilter("ignore")
    from pydub.utils import get_extra_info

_FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dss,flac,flv,matroska,mov,mp3,mpeg,mpegts,nistsphere,ogg,tta,voc,w64,wav,wv"
)
"""ffmpeg's demuxers that hold their sound themselves and are known by their content."""

_FIRST_AUDIO_STREAM = [
    "-map",
    "0:a:0",
    "-map_metadata",
    "-1",
    "-map_chapters",
    "-1",
    "-threads",
    "1",
    "-filter_threads",
    "1",
]
_PROBE_TIMEOUT_S = 60.0
_STALL_S = 60.0
"""Longest wait for the next samples."""
_MEMORY_BYTES = 2 << 30
"""Of address space, far more than any recording takes."""
_REPORT_HEAD_BYTES = 1 << 18
_REPORT_TAIL_BYTES = 1 << 14
_MESSAGE_CHARACTERS = 160
_AU_HEADER = struct.Struct(">4s5I")
_LOSSLESS = frozenset({"alac", "ape", "flac", "tta", "wavpack"})


@cache
def ffmpeg_path() -> Path:
    """The ffmpeg program: the first on the PATH, else the one that `imageio-ffmpeg` brings.

    (`pydub.utils.which` is not asked: it looks into the current folder first, which may be the evidence's.)

    Raises:
        InputError: `no-decoder`, there is none; what libsndfile reads can still be read.
    """
    on_path = shutil.which("ffmpeg")
    if on_path is not None:
        return Path(on_path)
    try:
        return Path(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise InputError("no-decoder", "ffmpeg not found: install it, or `pip install imageio-ffmpeg`.") from error


@dataclass(frozen=True, slots=True)
class FfmpegFacts:
    """What ffmpeg says of a file's first audio stream."""

    demuxer: str
    codec: str
    sample_rate_hz: int
    channels: int
    bit_depth: int | None
    duration_s: float | None
    """None when the header gives none for the sound alone: a guess from the bit rate, or a video's length."""


@dataclass(slots=True)
class FfmpegLog:
    """What ffmpeg complained about while decoding; filled in when the last block is out."""

    errors: int = 0
    first_error: str = ""
    truncated: bool = False


def probe_with_ffmpeg(path: Path, container: str | None) -> FfmpegFacts:
    """Decode one frame, and read off what the decoder gives and what the container says.

    Rate and channels come from the header ffmpeg writes in front of the decoded frame, the codec from its
    stream
    map: no tag in the file can forge them. Bit depth and duration are parsed from its description of the
    input.

    Args:
        path: a file, known to be a regular one.
        container: what its first bytes say it is; what looks like audio and cannot be read is damaged.

    Raises:
        InputError: `not-audio`, `no-audio-stream`, `decode-failed`, `decode-timeout`, `decode-memory` or `no-decoder`.
    """
    output = ["-frames:a", "1", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
    with _Ffmpeg([*_input("info", path), *_FIRST_AUDIO_STREAM, *output]) as process:
        timer = threading.Timer(_PROBE_TIMEOUT_S, process.give_up)
        timer.start()
        header = process.stdout.read(_AU_HEADER.size)
        while process.stdout.read(1 << 16):
            pass
        process.end()
        timer.cancel()
    if process.was_given_up:
        raise _timeout(f"it takes more than {_PROBE_TIMEOUT_S:g} s to find out what it is")
    report = process.report.replace(os.fsencode(_absolute(path)), b"").decode("utf-8", "replace")
    if "matches no streams" in report or "does not contain any stream" in report:
        raise InputError("no-audio-stream", "The file holds no audio stream.")
    codec, stream = _mapped_stream(report)
    if len(header) < _AU_HEADER.size and _NO_MEMORY in report:
        raise _no_memory()
    if not codec and container is not None:
        raise InputError("decode-failed", f"It starts like {container} audio but is damaged{_because(report)}.")
    if not codec or "misdetection possible" in report:
        raise InputError("not-audio", "The content is no audio, or of a kind that is not read.")
    if len(header) < _AU_HEADER.size:
        raise InputError("decode-failed", f"The {codec} stream cannot be decoded{_because(report)}.")
    _, _, _, _, sample_rate_hz, channels = _AU_HEADER.unpack(header)
    return FfmpegFacts(
        demuxer=_first_match(_INPUT, report),
        codec=codec,
        sample_rate_hz=sample_rate_hz,
        channels=channels,
        bit_depth=_bit_depth(codec, report, stream),
        duration_s=_duration_s(report),
    )


def decode_with_ffmpeg(path: Path, channels: int, block_frames: int, log: FfmpegLog) -> Iterator[NDArray[np.float32]]:
    """Yield the first audio stream as float32 blocks `[frames, channels]`; ffmpeg ends with the iterator.

    ffmpeg itself keeps rate and channel layout as they began when a stream changes them half-way. They are
    not asked for by number: `-ac 3` would mix a 3.0 recording into 2.1.

    Raises:
        InputError: `decode-timeout`, nothing came for a minute; `decode-memory`, too much was wanted before any sound
            came; `decode-crashed`, somebody killed it; `no-decoder`.
    """
    output = ["-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"]
    frame_bytes = 4 * channels
    with _Ffmpeg([*_input("level+warning", path), *_FIRST_AUDIO_STREAM, *output]) as process:
        nothing = True
        while data := process.read(block_frames * frame_bytes):
            nothing = False
            whole = len(data) // frame_bytes * frame_bytes
            yield np.frombuffer(data[:whole], "<f4").reshape(-1, channels)
        exit_code = process.end()
    report = process.report.replace(os.fsencode(_absolute(path)), b"").decode("utf-8", "replace")
    if nothing and _NO_MEMORY in report:
        raise _no_memory()
    if exit_code == -signal.SIGKILL:  # no recording makes ffmpeg do that: what is missing is not missing in the file
        raise InputError("decode-crashed", "Its decoder was killed, perhaps for want of memory on this machine.")
    log.first_error = _first_error(report)
    log.errors = max(len(_ERROR.findall(report)), int(exit_code != 0))
    log.truncated = _TRUNCATED.search(report) is not None


class _Ffmpeg:
    """A running ffmpeg, its output to read, its complaints bounded; it is gone when the `with` ends."""

    def __init__(self, arguments: list[str]) -> None:
        program = str(ffmpeg_path())
        try:
            self._process = subprocess.Popen(
                [program, *arguments],
                bufsize=0,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(),
                start_new_session=True,  # Ctrl-C in the terminal is for us; `__exit__` ends ffmpeg
            )
        except OSError as error:
            raise InputError("no-decoder", f"{program} cannot be started: {error.strerror}.") from error
        _limit(self._process.pid)
        if self._process.stdout is None or self._process.stderr is None:
            raise AssertionError("both were asked for as pipes")
        self.stdout: IO[bytes] = self._process.stdout
        self._stderr: IO[bytes] = self._process.stderr
        self.was_given_up = False
        self._head = b""
        self._tail = b""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def report(self) -> bytes:
        """The start and the end of what ffmpeg wrote to its standard error; whole only after `end`."""
        return self._head + self._tail

    def read(self, n_bytes: int) -> bytes:
        """The next bytes of the output, fewer only at its end.

        Raises:
            InputError: `decode-timeout`.
        """
        descriptor = self.stdout.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        pieces: list[bytes] = []
        while n_bytes:
            if not poll.poll(1_000 * _STALL_S):
                raise _timeout(f"its decoder gave nothing for {_STALL_S:g} s")
            piece = os.read(descriptor, n_bytes)
            if not piece:
                break
            pieces.append(piece)
            n_bytes -= len(piece)
        return b"".join(pieces)

    def give_up(self) -> None:
        """End ffmpeg because it takes too long."""
        self.was_given_up = True
        self._process.kill()

    def end(self) -> int:
        """Wait until ffmpeg ended by itself; its exit code."""
        self._listener.join()
        return self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self.stdout.close()
        self.end()
        self._stderr.close()

    def _listen(self) -> None:
        """Read on when nobody wants to know more: a full pipe would stop ffmpeg."""
        while chunk := self._stderr.read(_REPORT_TAIL_BYTES):
            room = _REPORT_HEAD_BYTES - len(self._head)
            self._head += chunk[:room]
            self._tail = (self._tail + chunk[room:])[-_REPORT_TAIL_BYTES:] if room < len(chunk) else self._tail


def _limit(pid: int) -> None:
    """Little memory, no file to write, no image of its memory should it crash; where the system can."""
    with suppress(ImportError, AttributeError, OSError, ValueError):
        import resource

        # Any: other systems' modules lack `prlimit`. Linux alone can limit a process that runs; before it runs, only
        # code between fork and exec could, which is not safe where there are threads.
        limit: Any = resource.prlimit
        for what, most in (
            (resource.RLIMIT_AS, _MEMORY_BYTES),
            (resource.RLIMIT_FSIZE, 0),
            (resource.RLIMIT_CORE, 0),
        ):
            limit(pid, what, (most, most))


def _timeout(why: str) -> InputError:
    return InputError("decode-timeout", f"Reading it was given up: {why}.")


def _no_memory() -> InputError:
    message = f"Reading it was given up: its decoder wants more than {_MEMORY_BYTES >> 20:,} MiB of memory."
    return InputError("decode-memory", message)


def _input(loglevel: str, path: Path) -> list[str]:
    """Options and input; `file:` and an absolute path keep a name from being an option or a protocol."""
    return [
        *("-nostdin", "-hide_banner", "-nostats", "-loglevel", loglevel),
        *("-protocol_whitelist", "file,pipe", "-format_whitelist", _FORMATS),
        *("-i", f"file:{_absolute(path)}"),
    ]


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100  symbolic links stay: the name is the analyst's


def _environment() -> dict[str, str]:
    """Ours, without what would make ffmpeg write a report file, colour its output or reserve memory for each thread."""
    kept = {name: value for name, value in os.environ.items() if name not in ("FFREPORT", "AV_LOG_FORCE_COLOR")}
    return {**kept, "AV_LOG_FORCE_NOCOLOR": "1", "LC_ALL": "C", "MALLOC_ARENA_MAX": "2"}


_STREAM_MAP = "Stream mapping:\n"
_INPUT = re.compile(r"^Input #0, ([\w,]+), from 'file:'", re.MULTILINE)
_MAP = re.compile(r"^  Stream #0:(\d+) -> #0:0 \((\S+) ", re.MULTILINE)
_STREAM = re.compile(r"^ {2,4}Stream #0:\d+.*$", re.MULTILINE)
_DURATION = re.compile(r"^  Duration: (\d+):(\d\d):(\d\d\.\d+),", re.MULTILINE)
_BITS = re.compile(r"[su](\d+)p?(?: \((\d+) bit\))?")
_PCM_BITS = re.compile(r"pcm_[suf](\d+)")
# What the raw output's muxer complains about is the joints of a chained file, not damage.
_ERROR = re.compile(r"^(?!\[f32le @)(?:\[[^\]\n]* @ 0x[0-9a-f]+\] )*\[(?:error|fatal)\] (.*)$", re.MULTILINE)
_NO_MEMORY = "Cannot allocate memory"
_CONTEXT = re.compile(r"^(?:\[[^\]\n]* @ 0x[0-9a-f]+\] )+(.+)$", re.MULTILINE)
_NO_REASONS = ("Error opening input", "Estimating duration")
_TRUNCATED = re.compile(r"partial file|ended prematurely|filesize and duration do not match|Packet corrupt")


def _first_match(pattern: re.Pattern[str], report: str) -> str:
    match = pattern.search(report)
    return match[1] if match else ""


def _mapped_stream(report: str) -> tuple[str, int]:
    """Codec and index of the stream that was decoded, `("", -1)` if none, from what follows the last tag."""
    _, found, rest = report.rpartition(_STREAM_MAP)
    match = _MAP.search(rest) if found else None
    return (match[2], int(match[1])) if match else ("", -1)


def _input_streams(report: str) -> list[str]:
    return _STREAM.findall(report.rpartition(_STREAM_MAP)[0])


def _bit_depth(codec: str, report: str, stream: int) -> int | None:
    """Bits per stored sample; pydub takes ffmpeg's description of a stream apart."""
    pcm = _PCM_BITS.match(codec)
    if pcm:
        return int(pcm[1])
    if codec in ("pcm_mulaw", "pcm_alaw"):
        return 8
    if codec not in _LOSSLESS:
        return None
    described = get_extra_info("\n".join(_input_streams(report)) + "\n")
    matches = (_BITS.match(token) for token in described.get(stream, ()))
    return next((int(match[2] or match[1]) for match in matches if match), None)


def _duration_s(report: str) -> float | None:
    has_video = any(": Video:" in line for line in _input_streams(report))
    match = _DURATION.search(report)
    if match is None or has_video or "Estimating duration" in report:
        return None
    return 3600.0 * int(match[1]) + 60.0 * int(match[2]) + float(match[3])


def _because(report: str) -> str:
    reasons = (reason for reason in _CONTEXT.findall(report) if not reason.startswith(_NO_REASONS))
    reason = next(reasons, "")
    return f" ({_printable(reason)})" if reason else ""


def _first_error(report: str) -> str:
    return _printable(_first_match(_ERROR, report))


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text).strip()[:_MESSAGE_CHARACTERS]
