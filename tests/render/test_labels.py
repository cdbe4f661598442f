"""Label tracks: each format read back by the tool's own reader, or by its rules; names that nothing can trip over."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from itertools import pairwise
from pathlib import Path

import parselmouth
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parselmouth.praat import call

from spoofcheck.render.labels import WRITERS, LabelFormat, label_files
from spoofcheck.render.labels.names import LONGEST_BYTES, safe_name, unique_names
from spoofcheck.render.labels.tracks import Label, lanes, merged
from spoofcheck.schema import Finding, Pictures, ScanDocument, SpeechStretch, Verdict
from tests.support.documents import document, finding, sample_document, skipped

HOSTILE = 'a\t"b"\n<script>\x1b[31m=cmd|\u202e/../../x y;.wav'


def spliced(path: str = "call.wav", *, speech: bool = True, hop_s: float = 4.0, channel: int | None = None) -> Finding:
    made = finding(
        path,
        Verdict.PARTIAL,
        -2.0,
        [-3.0, None, 2.0, 2.5, 0.0, -6.9],
        duration_s=5 * hop_s + 3.3,
        spans=[(2 * hop_s, 3 * hop_s + 4.0, 2.25)],
        hop_s=hop_s,
        channel=channel,
    )
    stretches = (SpeechStretch(start_s=0.5, end_s=3.0), SpeechStretch(start_s=8.0, end_s=16.0))
    pictures = Pictures(
        peaks=((0, 1),), speech=stretches, spectrogram_png_base64="", spectrogram_hz=8e3, spectrogram_db=(-70.0, 0.0)
    )
    return made.model_copy(update={"pictures": pictures}) if speech else made


def written(exhibit: Finding, fmt: LabelFormat) -> str:
    ((_, text),) = label_files(document([exhibit]), [fmt])
    return text


# --- formats ---


def test_audacity_labels() -> None:
    rows = [line.split("\t") for line in written(spliced(), LabelFormat.AUDACITY).splitlines()]
    assert all(len(row) == 3 and float(row[0]) <= float(row[1]) for row in rows)
    assert rows[0] == ["0.000000", "23.300000", "verdict partial, LLR -2.00"]
    assert rows[1] == ["8.000000", "16.000000", "flagged, mean LLR +2.25"]
    assert rows[2] == ["0.000000", "4.000000", "LLR -3.00"]
    assert rows[3] == ["4.000000", "8.000000", "not scored: no-speech"]
    assert rows[7] == ["19.300000", "23.300000", "LLR ≤ -6.9"]
    assert [row[2] for row in rows[8:]] == ["speech", "speech"]


def grid_of(text: str, tmp_path: Path) -> dict[str, list[tuple[float, float, str]]]:
    """The tiers as Praat itself reads them."""
    path = tmp_path / "a.TextGrid"
    path.write_text(text, encoding="utf-8", newline="")
    grid = parselmouth.read(str(path))
    assert isinstance(grid, parselmouth.TextGrid)
    tiers = {}
    for tier in range(1, call(grid, "Get number of tiers") + 1):
        tiers[call(grid, "Get tier name", tier)] = [
            (
                call(grid, "Get starting point", tier, i),
                call(grid, "Get end point", tier, i),
                call(grid, "Get label of interval", tier, i),
            )
            for i in range(1, call(grid, "Get number of intervals", tier) + 1)
        ]
    return tiers


def test_praat_reads_the_textgrid(tmp_path: Path) -> None:
    tiers = grid_of(written(spliced(), LabelFormat.TEXTGRID), tmp_path)
    assert list(tiers) == ["verdict", "LLR", "LLR 2", "flagged", "speech"]
    assert tiers["verdict"] == [(0.0, 23.3, "verdict partial, LLR -2.00")]
    assert tiers["LLR"][:2] == [(0.0, 4.0, "LLR -3.00"), (4.0, 8.0, "not scored: no-speech")]
    assert tiers["LLR 2"] == [(0.0, 19.3, ""), (19.3, 23.3, "LLR ≤ -6.9")], "the last window reaches back"
    assert tiers["flagged"] == [(0, 8, ""), (8, 16, "flagged, mean LLR +2.25"), (16, 23.3, "")]
    assert [label for _, _, label in tiers["speech"]] == ["", "speech", "", "speech", ""]
    for intervals in tiers.values():
        assert (intervals[0][0], intervals[-1][1]) == (0.0, 23.3)
        assert all(a[1] == b[0] for a, b in pairwise(intervals))


@pytest.mark.parametrize("hop_s", [0.7, 1.0, 2.5])
def test_overlapping_windows_keep_their_lengths(hop_s: float, tmp_path: Path) -> None:
    exhibit = spliced(hop_s=hop_s, speech=False)
    tiers = grid_of(written(exhibit, LabelFormat.TEXTGRID), tmp_path)
    found = sorted((a, b) for name, tier in tiers.items() if name.startswith("LLR") for a, b, text in tier if text)
    assert found == [pytest.approx((window.start_s, window.end_s)) for window in exhibit.windows]
    assert "speech" not in tiers


def test_praat_reads_quotes_and_odd_reasons(tmp_path: Path) -> None:
    exhibit = spliced()
    odd = exhibit.windows[1].model_copy(update={"not_scored": 'no "speech"\n\x1b[31m'})
    exhibit = exhibit.model_copy(update={"windows": (exhibit.windows[0], odd, *exhibit.windows[2:])})
    tiers = grid_of(written(exhibit, LabelFormat.TEXTGRID), tmp_path)
    assert tiers["LLR"][1][2] == 'not scored: no "speech"\\n\\x1b[31m'
    assert len(written(exhibit, LabelFormat.AUDACITY).splitlines()) == 10


def test_rttm_is_one_line_per_stretch_of_scored_windows() -> None:
    lines = [line.split(" ") for line in written(spliced("my call.wav", channel=1), LabelFormat.RTTM).splitlines()]
    assert all(len(fields) == 10 and fields[0] == "SPEAKER" for fields in lines)
    assert {fields[1] for fields in lines} == {"my_call.wav-ch2"}
    assert {fields[2] for fields in lines} == {"2"}
    assert [(float(fields[3]), float(fields[4]), fields[7]) for fields in lines] == [
        (0.0, 4.0, "bonafide"),
        (8.0, 8.0, "spoof"),
        (16.0, 4.0, "inconclusive"),
        (19.3, 4.0, "bonafide"),
    ]


def test_csv_rows_are_safe_and_numbers_are_numbers() -> None:
    exhibit = spliced("=HYPERLINK()\n.wav")
    rows = list(csv.DictReader(io.StringIO(written(exhibit, LabelFormat.CSV))))
    assert [row["kind"] for row in rows] == ["exhibit", "flagged", *["window"] * 6, "speech", "speech"]
    assert {row["path"] for row in rows} == {"'=HYPERLINK()\\n.wav"}
    windows = [row for row in rows if row["kind"] == "window"]
    assert [float(row["spoof_llr"]) if row["spoof_llr"] else None for row in windows] == [
        window.spoof_llr for window in exhibit.windows
    ]
    assert windows[1]["text"] == "no-speech"


# --- files ---


def test_every_exhibit_has_a_file_in_every_format() -> None:
    case = sample_document()
    examined = [exhibit for exhibit in case.findings if exhibit.duration_s is not None]
    files = list(label_files(case))
    assert len(files) == len(examined) * len(LabelFormat)
    assert len({name.casefold() for name, _ in files}) == len(files)
    assert all(text.endswith("\n") for name, text in files if not name.endswith(".rttm"))
    assert list(label_files(case, [LabelFormat.CSV, LabelFormat.CSV])) == [
        file for file in files if file[0].endswith(".csv")
    ]


def test_what_was_not_examined_has_no_labels() -> None:
    assert list(label_files(document([skipped("damaged.wav")]))) == []


def test_every_format_has_a_writer() -> None:
    assert WRITERS.keys() == set(LabelFormat)
    endings = [ending for _, ending in WRITERS.values()]
    assert not [a for a in endings for b in endings if a != b and a.endswith(b)], "else two files may share a name"


def test_hostile_names_stay_names(tmp_path: Path) -> None:
    case: ScanDocument = document([spliced(HOSTILE), spliced("/"), spliced("..")])
    for name, text in label_files(case):
        assert re.fullmatch(r"[\w.-]+", name)
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert len(list(tmp_path.iterdir())) == 12


# --- names ---


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("call.wav", "call.wav"),
        ("Zeugin Müller (2).wav", "Zeugin_Müller__2_.wav"),
        ("録音.m4a", "録音.m4a"),
        ("हिन्दी.wav", "हिन्दी.wav"),
        ("CON", "_CON"),
        ("con.wav", "_con.wav"),
        ("Com1.tar.wav", "_Com1.tar.wav"),
        ("com¹.wav", "_com¹.wav"),
        ("console.wav", "console.wav"),
        (".hidden", "_hidden"),
        ("-rf.wav", "_-rf.wav"),
        ("a..b", "a.b"),
        ("a. .", "a._"),
        ("ends.", "ends"),
        ("...", "exhibit"),
        ("", "exhibit"),
        ("\u3164", "_u3164"),
    ],
)
def test_safe_names(text: str, name: str) -> None:
    assert safe_name(text) == name


@given(st.text(st.characters(), max_size=300))
def test_any_text_becomes_a_safe_name(text: str) -> None:
    name = safe_name(text)
    assert name
    assert len(name.encode()) <= LONGEST_BYTES + 1
    assert name[0] not in ".-"
    assert name[-1] not in ". "
    assert not set(name) & set("<>:\"/\\|?*\t\n\r $`'&;")
    assert all(unicodedata.category(char)[0] in "LMN" or char in "._-" for char in name)


def test_names_differ_in_more_than_case_and_accents() -> None:
    paths = ["a/call.wav", "b/call.wav", "b/CALL.wav", "call.wav-2", "c/caf\u00e9.wav", "d/cafe\u0301.wav"]
    names = unique_names([spliced(path) for path in paths])
    assert names == ["call.wav", "call.wav-2", "CALL.wav-3", "call.wav-2-2", "caf\u00e9.wav", "caf\u00e9.wav-2"]


def test_a_name_says_which_exhibit_and_channel_it_is() -> None:
    exhibit = spliced("x/" + "long" * 100 + ".wav", channel=0).model_copy(update={"exhibit": "K 1"})
    (name,) = unique_names([exhibit])
    assert name.startswith("K_1-longlong")
    assert name.endswith("-ch1")
    assert len(name) <= LONGEST_BYTES


# --- tracks ---


def test_lanes_are_as_few_as_overlaps_ask_for() -> None:
    stretches = [Label(0, 4, "a"), Label(1, 5, "b"), Label(4, 8, "c"), Label(5, 9, "d"), Label(3, 3, "empty")]
    assert [[label.text for label in lane] for lane in lanes(stretches)] == [["a", "c"], ["b", "d"]]
    assert lanes([]) == []


def test_only_labels_that_say_the_same_and_touch_are_merged() -> None:
    labels = [Label(0, 4, "x"), Label(2, 6, "x"), Label(6, 8, "y"), Label(9, 10, "y")]
    assert merged(labels) == [Label(0, 6, "x"), Label(6, 8, "y"), Label(9, 10, "y")]
