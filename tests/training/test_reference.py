"""Drawing and measuring a reference population, and the command that does."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from spoofcheck.audio.acoustics import MEASURES
from spoofcheck.cli import run
from spoofcheck.detect.observations import load_reference, reference_json
from spoofcheck.errors import UsageError
from spoofcheck.evaluation.clips import Clip
from spoofcheck.evaluation.protocols.manifest import write_manifest
from spoofcheck.training import reference
from spoofcheck.training.reference import Drawn, MeasuredClip, build_reference, draw, in_turns, measure_clip
from tests.support.audio import human_speech, write_wav


def clip(repo: str, name: str, speaker: str = "-", system: str = "-", **more: object) -> Clip:
    return Clip(
        name, Path(name), "bonafide" if system == "-" else "spoof", repo=repo, speaker=speaker, system=system,
        **more,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring takes no time, and finds nothing in clips named `empty`."""

    def found(measured: Clip) -> MeasuredClip | None:
        if "empty" in measured.name:
            return None
        value = float(int(measured.name.rpartition("/")[2]))
        return MeasuredClip(measured, 3.0, {info.name: value for info in MEASURES})

    monkeypatch.setattr(reference, "measure_clip", found)


def test_sources_and_speakers_take_turns() -> None:
    clips = [clip("big", f"b/{n}", speaker=f"s{n % 3}") for n in range(30)] + [clip("small", f"s/{n}") for n in (0, 1)]
    order = in_turns(clips, seed=0)
    assert Counter(item.repo for item in order[:4]) == {"big": 2, "small": 2}
    assert Counter(item.speaker for item in order if item.repo == "big")["s0"] == 10
    big = [item.speaker for item in order if item.repo == "big"]
    assert all(len(set(big[turn : turn + 3])) == 3 for turn in range(0, 30, 3))
    assert in_turns(clips[::-1], seed=0) == order
    assert in_turns(clips, seed=1) != order


def test_synthetic_clips_are_balanced_over_systems(instant: None) -> None:
    clips = [clip("one", f"a/{n}", system="tts:a") for n in range(50)]
    clips += [clip("one", f"b/{n}", system="tts:b") for n in range(5)]
    drawn = draw(clips, most=8, per_speaker=10, seed=0)
    assert Counter(item.clip.system for item in drawn.measured) == {"tts:a": 4, "tts:b": 4}


def test_no_speaker_is_heard_too_often(instant: None) -> None:
    clips = [clip("a", f"a/{n}", speaker="ada") for n in range(50)] + [clip("b", f"b/{n}") for n in range(5)]
    drawn = draw(clips, most=50, per_speaker=3, seed=0)
    assert Counter(item.clip.repo for item in drawn.measured) == {"a": 3, "b": 5}


def test_what_cannot_be_measured_is_replaced(instant: None) -> None:
    clips = [clip("a", f"empty/{n}") for n in range(5)] + [clip("a", f"a/{n}") for n in range(9)]
    clips += [clip("a", f"a/short{n}", duration_s=2.9) for n in range(9)]
    drawn = draw(clips, most=9, per_speaker=10, seed=0)
    assert sorted(item.clip.name for item in drawn.measured) == [f"a/{n}" for n in range(9)]
    assert 0 < drawn.passed_over <= 5


def population(count: int) -> Drawn:
    items = [
        MeasuredClip(
            clip("lab/voices", f"x/{n}"), 3.0,
            {info.name: None if info.name == "tempo" and n % 2 else float(n) for info in MEASURES},
        )
        for n in range(count)
    ]  # fmt: skip
    return Drawn(tuple(items), 0)


def test_quantiles_are_those_of_the_values() -> None:
    built = build_reference(
        population(101), population(30), split="train", seed=0, manifests=[("m.tsv", "0" * 64)], note="a test"
    )
    jitter, tempo = built.measures["jitter"], built.measures["tempo"]
    assert jitter.human is not None
    assert tempo.human is not None
    assert jitter.human.quantiles == tuple(float(n) for n in range(101))
    assert (jitter.human.recordings, tempo.human.recordings) == (101, 51)
    assert tempo.synthetic is None  # 15 values are too few
    assert built.human.sources == {"lab/voices": 101}
    assert "101 human and 30 synthetic" in built.description


def test_too_few_recordings_are_refused() -> None:
    with pytest.raises(UsageError, match="19 synthetic recordings"):
        build_reference(population(20), population(19), split="train", seed=0, manifests=[], note="")


def test_a_clip_needs_speech(tmp_path: Path) -> None:
    spoken = write_wav(tmp_path / "spoken.wav", human_speech(), 16_000)
    silent = write_wav(tmp_path / "silent.wav", np.zeros(80_000, np.float32), 16_000)
    text = tmp_path / "text.wav"
    text.write_text("no audio")
    found = measure_clip(Clip("spoken", spoken, "bonafide"))
    assert found is not None
    assert found.speech_s > 5
    assert found.values["pitch-mean"] is not None
    assert measure_clip(Clip("silent", silent, "bonafide")) is None
    assert measure_clip(Clip("text", text, "bonafide")) is None


def test_the_command_writes_a_reference_that_loads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {info.name: 1.0 for info in MEASURES}
    monkeypatch.setattr(
        reference, "measure_clip", lambda item: MeasuredClip(item, 3.0, {**values, "jitter": float(item.name[2:-4])})
    )
    clips = []
    for n in range(25):
        for label, system, repo in (("bonafide", "-", "lab/a"), ("spoof", "tts:x", "lab/b")):
            for split in ("train", "dev"):
                name = f"{split[0]}{label[0]}{n}.wav"
                clips.append(
                    Clip(
                        name,
                        tmp_path / name,
                        "spoof" if label == "spoof" else "bonafide",
                        system,
                        repo=repo,
                        split=split,
                    )
                )
    clips.append(Clip("tb99.wav", tmp_path / "tb99.wav", "bonafide", repo="lab/doubtful", split="train"))
    manifest = tmp_path / "m.tsv"
    write_manifest(manifest, clips)
    out = tmp_path / "acoustics.json"
    command = ["corpus", "reference", str(manifest), "--out", str(out), "--without", "lab/doubtful"]
    assert run([*command, "--most", "100"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "25 human and 25 synthetic recordings" in captured.err
    loaded = load_reference(out)
    assert loaded.human.sources == {"lab/a": 25}
    assert loaded.synthetic.sources == {"tts:x": 25}
    assert "lab/doubtful" in loaded.note
    assert reference_json(loaded) == out.read_text(encoding="ascii")
    first = out.read_bytes()
    assert run([*command, "--most", "100"]) == 0
    assert out.read_bytes() == first
    assert run([*command, "--without", "lab/nobody"]) == 2
    assert "lab/nobody" in capsys.readouterr().err
    assert run(["corpus", "reference", str(manifest), "--out", str(out), "--split", "eval"]) == 2
    assert out.read_bytes() == first
