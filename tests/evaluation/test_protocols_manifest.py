"""The project's own manifest: what is read, what is refused, and that writing loses nothing."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoofcheck.errors import OutputError, UsageError
from spoofcheck.evaluation.clips import UNKNOWN, Clip
from spoofcheck.evaluation.protocols.manifest import read_manifest, write_manifest

FULL = Clip(
    "clips/a.wav", Path("/d/audio/a.wav"), "spoof", "tts:VITS", "p225", "en", "train", "mp3", "o/r", "VCTK",
    "CC BY 4.0", 2.5, "72eb03456c359ac3c9eeb930afa247418afa5ace", 44_100, 15_999.0, "a note",
)  # fmt: skip


def written(path: Path, *rows: str) -> Path:
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def fault(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        read_manifest(path)
    return str(caught.value)


def test_reads_every_column_in_any_order(tmp_path: Path) -> None:
    path = written(
        tmp_path / "m.tsv",
        "label\tunheard_of\tpath\tlocal_path\tsystem\tspeaker\tlanguage\tsplit\trepo\tcodec\tcorpus\tlicence\tseconds"
        "\tsample_rate\tbw_hz\tsha1\tnote",
        "fake\tx\tclips/a.wav\taudio/a.wav\ttts:VITS\tp225\ten\ttrain\to/r\tmp3\tVCTK\tCC BY 4.0\t2.5\t44100\t15999"
        "\t72EB03456c359ac3c9eeb930afa247418afa5ace\ta note",
    )
    assert read_manifest(path, root=Path("/d")) == [FULL]


def test_two_columns_are_enough(tmp_path: Path) -> None:
    path = written(tmp_path / "m.tsv", "path\tlabel", "a.wav\tbonafide", "b.wav\tspoof")
    assert read_manifest(path) == [
        Clip("a.wav", tmp_path / "a.wav", "bonafide"),
        Clip("b.wav", tmp_path / "b.wav", "spoof"),
    ]


def test_keeps_the_splits_asked_for_and_checks_the_others(tmp_path: Path) -> None:
    path = written(tmp_path / "m.tsv", "path\tlabel\tsplit", "a\tspoof\ttrain", "b\tspoof\tdev", "c\tspoof\ttrain")
    assert [clip.name for clip in read_manifest(path, splits=("train",))] == ["a", "c"]
    path = written(tmp_path / "m.tsv", "path\tlabel\tsplit", "a\tspoof\ttrain", "b\tspof\tdev")
    with pytest.raises(UsageError, match="line 3: label 'spof'"):
        read_manifest(path, splits=("train",))


def test_clips_lie_in_the_folder_of_their_repository_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "me+here").mkdir()
    path = written(
        tmp_path / "m.tsv", "path\tlabel\trepo\tlocal_path", "a.wav\treal\tme/here\t-", "b.wav\treal\tme/away\t-",
        "c.wav\treal\tme/here\tx.wav", "d.wav\treal\t../me\t-",
    )  # fmt: skip
    assert [clip.path.relative_to(tmp_path).as_posix() for clip in read_manifest(path)] == [
        "me+here/a.wav",
        "b.wav",
        "x.wav",
        "d.wav",
    ]


def test_the_same_path_in_two_repositories_is_two_clips(tmp_path: Path) -> None:
    header = "path\tlabel\trepo"
    assert len(read_manifest(written(tmp_path / "m.tsv", header, "a\treal\tx", "a\treal\ty"))) == 2
    assert "line 3: 'a' again, it is already in line 2" in fault(
        written(tmp_path / "m.tsv", header, "a\treal\tx", "a\treal\tx")
    )


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ((), "is empty, expected a header line"),
        (("path,label", "a,spoof"), "line 1: missing columns: path, label; a manifest is tab-separated"),
        (("path\tsystem", "a\tx"), "line 1: missing columns: label"),
        (("path\tlabel\tpath", "a\tspoof\tb"), "line 1: columns named twice: path"),
        (("path\tlabel", "a\tspoof", "b"), "line 3: 1 fields, expected 2"),
        (("path\tlabel", "a\tspoof\tx"), "line 2: 3 fields, expected 2"),
        (("path\tlabel", "", "a\tx"), "line 3: label 'x', expected one of"),
        (("path\tlabel\tsystem", "a\treal\ttts:x"), "line 2: label 'real' contradicts system 'tts:x'"),
        (("path\tlabel\tseconds", "a\treal\tlong"), "line 2: seconds 'long' is not a number"),
        (("path\tlabel\tseconds", "a\treal\tnan"), "line 2: seconds 'nan', expected a number from 0 up"),
        (("path\tlabel\tseconds", "a\treal\t-1"), "line 2: seconds '-1', expected a number from 0 up"),
        (("path\tlabel\tsample_rate", "a\treal\t1.5"), "line 2: sample_rate '1.5', expected a whole number"),
        (("path\tlabel\tsha1", "a\treal\tabc"), "line 2: sha1 'abc', expected 40 hexadecimal digits"),
        (("path\tlabel\tlocal_path", "a\treal\t../b"), "line 2: path '../b': leaves the audio's root"),
        (("path\tlabel\tlocal_path", "a\treal\t/b"), "line 2: path '/b': is absolute"),
        (("path\tlabel", "\treal"), "line 2: path '': is empty"),
    ],
)
def test_says_which_line_makes_no_sense(tmp_path: Path, rows: tuple[str, ...], said: str) -> None:
    path = written(tmp_path / "m.tsv", *rows)
    message = fault(path)
    assert message.startswith(f"{path}: ")
    assert said in message


NAME = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/"), min_size=1, max_size=8).filter(
    lambda text: text not in (".", "..", "-") and bool(text.strip())
)
FIELD = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)
CLIPS = st.lists(
    st.builds(
        Clip,
        name=st.lists(NAME, min_size=1, max_size=3).map("/".join),
        path=st.lists(NAME, min_size=1, max_size=3).map(lambda parts: Path("/root", *parts)),
        label=st.sampled_from(["bonafide", "spoof"]),
        system=FIELD,
        speaker=FIELD,
        language=FIELD,
        split=FIELD,
        codec=FIELD,
        repo=FIELD,
        corpus=FIELD,
        licence=FIELD,
        duration_s=st.none() | st.floats(0, 1e9),
        sha1=st.none() | st.text("0123456789abcdef", min_size=40, max_size=40),
        sample_rate_hz=st.none() | st.integers(1, 10**6),
        bandwidth_hz=st.none() | st.floats(0, 1e6),
        note=FIELD,
    ).map(lambda clip: clip if clip.is_spoof else replace(clip, system=UNKNOWN)),
    max_size=4,
    unique_by=lambda clip: (clip.repo, clip.name),
)


@settings(max_examples=50, deadline=None)
@given(CLIPS)
def test_what_is_written_reads_back_as_it_was(clips: list[Clip]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.tsv")
        write_manifest(path, clips, root=Path("/root"))
        assert read_manifest(path, root=Path("/root")) == clips


def test_the_manifest_s_own_folder_is_the_default_root(tmp_path: Path) -> None:
    clip = replace(FULL, path=tmp_path / "audio/a.wav")
    write_manifest(tmp_path / "m.tsv", [clip])
    assert read_manifest(tmp_path / "m.tsv") == [clip]
    assert "\taudio/a.wav\n" in (tmp_path / "m.tsv").read_text()


@pytest.mark.parametrize(
    ("clip", "said"),
    [
        (replace(FULL, path=Path("/elsewhere/a.wav")), "lies outside"),
        (replace(FULL, speaker="a\tb"), "speaker 'a\\tb' cannot be written"),
        (replace(FULL, note="a\nspoof"), "note 'a\\nspoof' cannot be written"),
        (replace(FULL, name="\udcff.wav"), "cannot be written"),
        (replace(FULL, name="../a"), "leaves the audio's root"),
    ],
)
def test_a_clip_that_no_manifest_can_hold_is_refused(tmp_path: Path, clip: Clip, said: str) -> None:
    path = written(tmp_path / "m.tsv", "before")
    with pytest.raises(UsageError) as caught:
        write_manifest(path, [clip], root=Path("/d"))
    assert said in str(caught.value)
    assert path.read_text() == "before\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.tsv"]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written: No such file"):
        write_manifest(tmp_path / "nowhere/m.tsv", [FULL], root=Path("/d"))
