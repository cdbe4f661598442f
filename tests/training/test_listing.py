from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path

import pytest

from spoofcheck.errors import UsageError
from spoofcheck.evaluation.clips import Clip
from spoofcheck.training.facts import band_of, measure, read_16k
from spoofcheck.training.listing import FolderRule, list_folder, measure_clips, parse_shares, split_by_speaker
from spoofcheck.training.made import Failed, Made
from spoofcheck.training.summary import by_dimension, totals
from spoofcheck.training.verify import check_clips, repeated, speakers_across
from tests.support.audio import encode, noise, tone, write_wav


def sound(path: Path, seconds: float = 0.2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_wav(path, tone(seconds, 16_000), 16_000)


def test_layout_names_class_and_system(tmp_path: Path) -> None:
    for name in ("Real/ann/1.wav", "fake/vits/bob/2.wav", "fake/3.wav", "other/4.wav", "real/x/fake/5.wav"):
        sound(tmp_path / name)
    listed = list(list_folder(tmp_path, FolderRule(None, speaker_from="parent", language="en")))
    clips = {item.name: item for item in listed if isinstance(item, Clip)}
    assert [failed.name for failed in listed if isinstance(failed, Failed)] == ["other/4.wav", "real/x/fake/5.wav"]
    assert (clips["Real/ann/1.wav"].label, clips["Real/ann/1.wav"].system) == ("bonafide", "-")
    assert (clips["fake/vits/bob/2.wav"].system, clips["fake/vits/bob/2.wav"].speaker) == ("vits", "bob")
    assert clips["fake/3.wav"].system == "unknown"
    assert {clip.language for clip in clips.values()} == {"en"}


def test_names_no_manifest_can_hold_are_left_out(tmp_path: Path) -> None:
    sound(tmp_path / "a\tb.wav")
    os.rename(sound(tmp_path / "x.wav"), os.fsencode(tmp_path) + b"/\xff.wav")  # noqa: PTH104
    (tmp_path / "out.wav").symlink_to("/etc/hostname")
    listed = list(list_folder(tmp_path, FolderRule("bonafide")))
    assert all(isinstance(item, Failed) for item in listed)
    assert len(listed) == 3
    with pytest.raises(UsageError, match="no such folder"):
        list(list_folder(tmp_path / "none", FolderRule("bonafide")))


def test_facts_are_measured(tmp_path: Path) -> None:
    narrow = encode(tmp_path / "a.mp3", noise(32_000), 16_000, "mp3", "libmp3lame")
    path = write_wav(tmp_path / "b.wav", tone(1.0, 44_100, hz=3000), 44_100)
    facts = measure(path)
    assert (facts.codec, facts.sample_rate_hz, facts.duration_s) == ("wav/pcm_16", 44_100, 1.0)
    assert facts.bandwidth_hz == pytest.approx(3000, abs=250)  # the window smears a steady tone
    assert facts.sha1 == hashlib.sha1(path.read_bytes()).hexdigest()
    assert measure(narrow).codec == "mp3"
    assert measure(write_wav(tmp_path / "c.wav", noise(9000), 48_000, "FLOAT")).codec == "wav/float"
    assert measure(write_wav(tmp_path / "d.wav", noise(9000), 48_000)).bandwidth_hz == pytest.approx(24_000, abs=100)
    assert measure(write_wav(tmp_path / "e.wav", 0 * noise(9000), 48_000)).bandwidth_hz == 0
    assert read_16k(path).size == 16_000
    assert read_16k(path, 0.25).size == 4_000


@pytest.mark.parametrize(
    ("bandwidth_hz", "band"),
    [
        (None, "-"),
        (4000.0, "narrow (to 4 kHz)"),
        (4300.0, "wide (to 8 kHz)"),
        (8000.0, "wide (to 8 kHz)"),
        (16_000.0, "super-wide (to 16 kHz)"),
        (22_050.0, "full (above)"),
    ],
)
def test_bands(bandwidth_hz: float | None, band: str) -> None:
    assert band_of(bandwidth_hz) == band


def test_measuring_keeps_the_order_and_tells_what_is_broken(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav")
    (tmp_path / "b.wav").write_bytes(b"no sound")
    sound(tmp_path / "c.wav")
    listed = list(list_folder(tmp_path, FolderRule("bonafide")))
    outcomes = list(measure_clips(listed, workers=3))
    assert [type(outcome) for outcome in outcomes] == [Made, Failed, Made]
    assert isinstance(outcomes[2], Made)
    assert (outcomes[2].clip.name, outcomes[2].clip.duration_s) == ("c.wav", 0.2)


def crowd() -> list[Clip]:
    """Speakers of 1 to 30 clips, some of both classes, and 10 clips without a speaker."""
    clips = []
    for speaker in range(40):
        for index in range(1 + speaker * 7 % 30):
            spoof = speaker % 3 == 0 or (speaker % 3 == 1 and index % 2 == 0)
            label = "spoof" if spoof else "bonafide"
            clips.append(Clip(f"{speaker}/{index}", Path("x"), label, speaker=str(speaker), repo="r"))  # type: ignore[arg-type]
    return clips + [Clip(f"n{index}", Path("x"), "bonafide", repo="r") for index in range(10)]


def test_splits_part_no_speaker_and_keep_the_shares_of_both_classes() -> None:
    clips = crowd()
    divided = split_by_speaker(clips, parse_shares("80/10/10"), 3)
    assert [clip.name for clip in divided] == [clip.name for clip in clips]
    homes: dict[str, set[str]] = {}
    for clip in divided:
        homes.setdefault(clip.source, set()).add(clip.split)
    assert all(len(splits) == 1 for splits in homes.values())
    for label in ("bonafide", "spoof"):
        counts = Counter(clip.split for clip in divided if clip.label == label)
        assert counts["train"] / counts.total() == pytest.approx(0.8, abs=0.06)
        assert min(counts["dev"], counts["eval"]) / counts.total() > 0.04


def test_splits_depend_on_the_seed_and_not_on_the_order() -> None:
    clips, shares = crowd(), parse_shares("70/30")

    def homes(clips: list[Clip], seed: int) -> dict[str, str]:
        return {clip.name: clip.split for clip in split_by_speaker(clips, shares, seed)}

    assert homes(clips, 0) == homes(clips[::-1], 0)
    assert homes(clips, 0) != homes(clips, 1)
    assert set(homes(clips, 0).values()) == {"train", "dev"}


def test_every_split_gets_a_speaker_when_there_are_just_enough() -> None:
    clips = [Clip(str(index), Path("x"), "bonafide", speaker=str(index)) for index in range(3)]
    assert {clip.split for clip in split_by_speaker(clips, parse_shares("80/10/10"), 0)} == {"train", "dev", "eval"}
    with pytest.raises(UsageError, match="2 speakers cannot be divided into 3 splits"):
        split_by_speaker(clips[:2], parse_shares("80/10/10"), 0)


@pytest.mark.parametrize("text", ["80", "80/x", "0/0", "-1/2", "1/2/3/4", "nan/1", "inf/1"])
def test_shares_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected shares of train/dev/eval"):
        parse_shares(text)


def test_verification_finds_what_changed(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        sound(tmp_path / f"{name}.wav")
    listed = list(list_folder(tmp_path, FolderRule("bonafide", split="train")))
    clips = [made.clip for made in measure_clips(listed) if isinstance(made, Made)]
    assert [checked.problems for checked in check_clips(clips)] == [()] * 4
    write_wav(clips[0].path, tone(0.5, 8_000), 8_000)
    clips[1].path.unlink()
    clips[2].path.write_bytes(b"RIFF")
    checked = list(check_clips(clips, workers=2))
    assert [problem.split()[0] for problem in checked[0].problems] == ["SHA-1", "8000", "0.50"]
    assert checked[1].problems == ("There is no such file.",)
    assert len(checked[2].problems) == 1
    assert checked[3].problems == ()


def test_files_and_speakers_in_two_splits_are_found(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.wav")
    clips = [
        Clip("a", path, "bonafide", split="train", speaker="ann", repo="r"),
        Clip("b", path, "bonafide", split="eval", speaker="ann", repo="r"),
        Clip("c", path, "bonafide", split="train", speaker="bob", repo="r"),
    ]
    found = repeated(list(check_clips(clips)))
    assert [(item.clip.name, item.problems) for item in found] == [
        ("b", ("the same file as r/a, bonafide in train; here bonafide in eval",))
    ]
    assert speakers_across(clips) == {"r/ann": ["eval", "train"]}


def test_tallies_count_what_is_there() -> None:
    clips = [
        Clip("a", Path("a"), "bonafide", split="train", speaker="ann", repo="r", duration_s=1800.0, codec="mp3"),
        Clip("b", Path("b"), "bonafide", split="train", speaker="ann", repo="r", duration_s=1800.0, codec="wav"),
        Clip("c", Path("c"), "bonafide", split="train", repo="r", codec="wav", bandwidth_hz=4000.0),
        Clip("d", Path("d"), "spoof", split="dev", system="vits", repo="r", duration_s=36.0),
    ]
    train, dev = totals(clips)
    assert (train.split, train.label, train.tally.clips, train.tally.hours) == ("train", "bonafide", 3, 1.0)
    assert (train.tally.speakers, train.tally.nameless, train.tally.unmeasured, train.tally.systems) == (1, 1, 1, 0)
    assert (dev.tally.hours, dev.tally.systems) == (0.01, 1)
    assert [(row.value, row.tally.clips) for row in by_dimension(clips, "codec")] == [("wav", 2), ("mp3", 1), ("-", 1)]
    assert [row.value for row in by_dimension(clips, "system")] == ["vits"]
    assert {row.value for row in by_dimension(clips, "bandwidth")} == {"-", "narrow (to 4 kHz)"}
