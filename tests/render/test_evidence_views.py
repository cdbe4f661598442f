"""What the report derives for its evidence: sections, conditions, custody, pictures, score position, stability."""

from __future__ import annotations

import re

import pytest

from spoofcheck.render import custody
from spoofcheck.render.acousticview import acoustic_view, three_digits
from spoofcheck.render.conditions import closest_conditions, condition_rows, condition_words, number_ranges
from spoofcheck.render.measures import examined
from spoofcheck.render.paths import relative_names
from spoofcheck.render.pictureview import WAVE_COLUMNS, merged, pictures_view, speech_path, wave_path
from spoofcheck.render.scoreview import score_position, stability_view
from spoofcheck.render.sections import sections
from spoofcheck.schema import CustodyCheck, Finding, ScanDocument, ScorePercentile, SpeechStretch, Verdict
from tests.support.documents import BOUND_LLR, document, finding, of_verdict, sha256, tracer
from tests.support.evidence import CONDITIONS, evidence_document, pictures, stable

KNOWN = tuple(CONDITIONS)


def plain(**changes: object) -> Finding:
    return finding("a.wav", Verdict.SPOOF, 3.0, [3.0, 2.0], **changes)  # type: ignore[arg-type]


def numbered(example: ScanDocument) -> dict[int, Finding]:
    return dict(enumerate(examined(example.findings), start=1))


def files(example: ScanDocument) -> list[custody.Recording]:
    names = relative_names(each.path for each in example.findings)
    return custody.recordings(numbered(example), names, example)


def test_sections_with_nothing_to_show_are_left_out_and_numbers_close_up() -> None:
    bare, full = sections(document([])), sections(evidence_document())
    assert not {"controls", "tracing", "note"} & bare.keys()
    assert {"controls", "note"} <= full.keys()
    assert "tracing" in sections(document([], tracer=tracer()))
    for each in (bare, full):
        numbers = [section.number for section in each.values()]
        body = [number for number in numbers if number.isdigit()]
        assert body == [str(number) for number in range(1, len(body) + 1)]
        assert numbers[len(body) :] == ["A", "B", "C"]
    assert [name for name in full if full[name].appendix] == ["windows", "manifest", "verification"]


@pytest.mark.parametrize(
    ("exhibit", "closest"),
    [
        (plain(), ("original",)),
        (plain(sample_rate_hz=8_000), ("8khz",)),
        (plain(bandwidth_hz=3_400.0), ("8khz",)),
        (plain(codec="MPEG_LAYER_III", bit_depth=None), ("mp3-64k",)),
        (plain(codec="OPUS", bit_depth=None), ("opus-16k",)),
        (plain(codec="AAC", bit_depth=None), ("mp3-64k",)),
        (plain(codec="amr_nb", bit_depth=None, sample_rate_hz=8_000), ("8khz", "opus-16k")),
        (plain(snr_db=12.0), ("noise-15db",)),
        (plain(snr_db=None), ("original",)),
        (plain(bandwidth_hz=0.0), ("original",)),
    ],
)
def test_the_closest_condition_follows_rate_codec_and_noise(exhibit: Finding, closest: tuple[str, ...]) -> None:
    assert closest_conditions(exhibit, KNOWN) == closest


def test_a_condition_that_was_not_measured_is_not_named() -> None:
    assert closest_conditions(plain(sample_rate_hz=8_000), ("original", "mp3-64k")) == ("original",)
    assert closest_conditions(plain(), ()) == ()


def test_figures_close_to_an_exhibit_come_first() -> None:
    example = evidence_document()
    exhibits = {7: plain(sample_rate_hz=8_000), 9: plain(codec="OPUS", bit_depth=None)}
    rows = condition_rows(example.model.conditions, exhibits)
    assert [(row.figure.condition, row.exhibits) for row in rows] == [
        ("opus-16k", "9"),
        ("8khz", "7"),
        ("original", ""),
        ("mp3-64k", ""),
        ("noise-15db", ""),
    ]
    assert condition_rows((), exhibits) == ()


def test_conditions_in_words() -> None:
    assert condition_words("mp3-64k") == "through MP3 at 64 kbit/s"
    assert condition_words("opus-16k") == "through Opus at 16 kbit/s"
    assert condition_words("8khz") == "brought to 8 kHz and back"
    assert condition_words("played-back") == "played-back"


def test_ranges_of_numbers() -> None:
    assert number_ranges([]) == ""
    assert number_ranges([3]) == "3"
    assert number_ranges([5, 1, 3, 4, 9, 8]) == "1, 3 to 5, 8, 9"


def test_channels_of_one_file_are_one_recording_and_one_changed_channel_is_a_changed_file() -> None:
    left, right = (plain(channel=channel, channels=2) for channel in (0, 1))
    now = CustodyCheck(checked_at="", sha256=left.sha256, unchanged=True)
    gone = CustodyCheck(checked_at="", sha256=None, unchanged=False)
    example = document(
        [
            left.model_copy(update={"custody": now}),
            right.model_copy(update={"custody": gone}),
            of_verdict(Verdict.SPOOF),
        ]
    )
    both, other = files(example)
    assert (both.numbers, both.first, both.outcome) == ("1, 2", 1, "not readable any more")
    assert (other.numbers, other.outcome) == ("3", "not checked")


def test_alarms_name_what_is_wrong() -> None:
    good = evidence_document()
    assert [headline for headline, _ in custody.alarms(files(good), good)] == [
        "A file is not what it was when it was examined."
    ]
    bad = evidence_document(controls_ok=False)
    (headline, sentence), (_, changed) = custody.alarms(files(bad), bad)
    assert headline == "A control is not as expected."
    assert "control-synthetic.flac" in sentence
    assert "control-human.flac" not in sentence
    assert "address-1961.mp3 (changed)" in changed
    assert custody.alarms([], document([])) == []


def test_a_case_s_exhibit_without_a_recording_is_told() -> None:
    example = evidence_document()
    assert [named.reference for named in custody.missing_exhibits(numbered(example), example)] == ["EX-4"]


def test_the_manifest_holds_every_hash() -> None:
    example = evidence_document().model_copy(update={"tracer": tracer()})
    held = {row.sha256 for row in custody.manifest(files(example), example)}
    assert example.tracer is not None
    wanted = {example.model.weights_sha256, example.model.config_sha256, example.tracer.weights_sha256}
    wanted |= {sha256("case.toml"), sha256("control-human"), sha256("control-synthetic"), sha256("reference")}
    for exhibit in examined(example.findings):
        assert exhibit.media is not None
        wanted |= {exhibit.sha256 or "", exhibit.media.pcm_sha256}
    assert wanted <= held


def test_a_waveform_goes_along_its_tops_and_back_along_its_bottoms() -> None:
    assert wave_path([(-10, 20), (-127, 127), (0, 0)]) == "M.5 107l0 0 1-107 1 127 0 0-1 127-1-117z"
    assert wave_path([]) == ""


def test_columns_are_merged_by_their_extremes() -> None:
    peaks = [(-index % 50, index % 90) for index in range(1_000)]
    fewer = merged(peaks, WAVE_COLUMNS)
    assert len(fewer) == WAVE_COLUMNS
    assert min(low for low, _ in fewer) == min(low for low, _ in peaks)
    assert max(high for _, high in fewer) == max(high for _, high in peaks)
    assert merged(peaks[:7], WAVE_COLUMNS) == peaks[:7]


def test_speech_lies_where_it_is_and_never_beyond_the_recording() -> None:
    path = speech_path([SpeechStretch(start_s=2, end_s=5), SpeechStretch(start_s=9, end_s=30)], 10)
    assert re.findall(r"M([\d.]+) 0h([\d.]+)v1", path) == [("200", "300"), ("900", "100")]


def test_pictures_say_their_scale() -> None:
    view = pictures_view(pictures(10.0), 10.0, vad=True)
    assert view is not None
    assert (view.top, view.half, view.range_db) == ("8 kHz", "4 kHz", "70 dB")
    assert view.spectrogram.startswith("data:image/png;base64,iVBOR")
    unheard = pictures_view(pictures(10.0), 10.0, vad=False)
    assert unheard is not None
    assert unheard.speech is None
    assert pictures_view(None, 10.0, vad=True) is None


TABLE = tuple(
    ScorePercentile(percent=percent, bonafide_llr=human, spoof_llr=synthetic)
    for percent, human, synthetic in (
        (1, -6.9, -2.0),
        (25, -6.9, 1.0),
        (50, -4.0, 3.0),
        (75, -2.0, 6.9),
        (99, 1.0, 6.9),
    )
)


@pytest.mark.parametrize(
    ("llr", "sentence"),
    [
        (2.0, "more than 99 in 100 have a lower LLR; of the synthetic ones, about 38 in 100 have."),
        (-3.0, "about 62 in 100 have a lower LLR; of the synthetic ones, less than 1 in 100 have."),
        (6.9, "more than 99 in 100 have a lower LLR; of the synthetic ones, about 75 in 100 have."),
        (-6.9, "less than 1 in 100 have a lower LLR; of the synthetic ones, less than 1 in 100 have."),
    ],
)
def test_a_score_is_placed_among_the_calibration_recordings(llr: float, sentence: str) -> None:
    exhibit = plain().model_copy(update={"spoof_llr": llr})
    position = score_position(exhibit, TABLE, BOUND_LLR)
    assert position is not None
    assert position.sentence.endswith(sentence)


def test_a_score_without_percentiles_has_no_place() -> None:
    assert score_position(plain(), (), BOUND_LLR) is None
    assert score_position(plain(), TABLE[:1], BOUND_LLR) is None
    assert score_position(plain().model_copy(update={"spoof_llr": None}), TABLE, BOUND_LLR) is None


def test_what_is_drawn_of_a_position_is_in_order_and_inside() -> None:
    position = score_position(plain(), TABLE, BOUND_LLR)
    assert position is not None
    for spread in position.spreads:
        low, box, median, high = (
            float(x.rstrip("%")) for x in (spread.low_x, spread.box_x, spread.median_x, spread.high_x)
        )
        assert 0 <= low <= box <= median <= high <= 100
    ticks = {tick.label: float(tick.x.rstrip("%")) for tick in position.ticks}
    assert ticks["0"] == pytest.approx(float(position.zero_x.rstrip("%")))
    assert len(ticks) <= 10


def test_a_flip_is_shown_whatever_the_verdict_became() -> None:
    exhibit = evidence_document().findings[2]
    card = stability_view(exhibit, evidence_document())
    assert exhibit.stability is not None
    assert card is not None
    assert [run.name for run in exhibit.stability.runs if run.flipped] == ["opus-24k"]
    assert [row.flipped for row in card.rows] == [False, *(run.flipped for run in exhibit.stability.runs)]


def test_a_stability_card_shows_the_exhibit_first_and_its_range() -> None:
    example = evidence_document()
    view = stability_view(example.findings[2], example)
    assert view is not None
    assert (view.rows[0].label, view.rows[0].verdict) == ("as it is", None)
    assert len(view.rows) == 9
    assert [row.label for row in view.rows if row.flipped] == ["through Opus at 24 kbit/s"]
    assert view.lowest == "\N{MINUS SIGN}1.74"
    assert view.sentence.startswith("1 of 8 changes that should not matter turns the verdict over")
    steady = stability_view(example.findings[0], example)
    assert steady is not None
    assert steady.rows[0].verdict is Verdict.BONAFIDE
    assert stability_view(of_verdict(Verdict.SPOOF), example) is None


def test_a_run_without_a_score_has_no_dot() -> None:
    card = stable(plain())
    run = card.runs[0].model_copy(update={"spoof_llr": None, "verdict": Verdict.INCONCLUSIVE})
    bare = card.model_copy(update={"runs": (run,), "lowest_llr": None, "highest_llr": None})
    view = stability_view(plain().model_copy(update={"stability": bare, "spoof_llr": None}), document([]))
    assert view is not None
    assert [row.x for row in view.rows] == [None, None]
    assert view.range_x is None


def test_acoustic_values_keep_three_digits_and_ends_of_the_scale_are_not_rounded_to() -> None:
    assert [three_digits(value) for value in (0, 0.01234, 1.239, 123.4, 23456.7)] == [
        "0", "0.0123", "1.24", "123", "23,457",
    ]  # fmt: skip
    observed = evidence_document().findings[0].acoustics
    assert observed is not None
    first = observed.measures[0]
    percentiles = ((0.0, "0"), (0.4, "< 1"), (49.6, "50"), (99.6, "> 99"), (100.0, "100"), (None, "\N{EN DASH}"))
    for percentile, words in percentiles:
        one = observed.model_copy(update={"measures": (first.model_copy(update={"human_percentile": percentile}),)})
        view = acoustic_view(one)
        assert view is not None
        assert view.rows[0].human == words
        assert (view.rows[0].human_x is None) == (percentile is None)
    assert acoustic_view(None) is None
    assert acoustic_view(observed.model_copy(update={"measures": ()})) is None
