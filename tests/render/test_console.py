from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from spoofcheck.render import console
from spoofcheck.schema import ScanDocument, Verdict
from tests.support.documents import (
    document,
    finding,
    hostile_document,
    large_document,
    sample_document,
    skipped,
    traced_document,
    tracer,
    wavering,
)

WIDTHS = (60, 80, 100, 120, 200)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "example", [sample_document(), traced_document(), hostile_document(), large_document(exhibits=40)]
)
def test_no_line_is_wider_than_the_terminal(example: ScanDocument, width: int) -> None:
    for line in console.render(example, width=width).splitlines():
        assert cell_len(line) <= width


def test_columns_line_up_whatever_the_script_of_the_name() -> None:
    names = ("plain.wav", "会議.wav", "é́.wav", "🎧.wav", "שיחה.wav")
    example = document(finding(name, Verdict.BONAFIDE, -3.0, [-3.0]) for name in names)
    rows = [line for line in console.render(example, width=80).splitlines() if "bona fide  " in line]
    assert len(rows) == len(names)
    assert len({cell_len(row.split("bona fide")[0]) for row in rows}) == 1


def test_a_pipe_gets_neither_colour_nor_control_characters() -> None:
    buffer = io.StringIO()
    Console(file=buffer, width=80).print(console.ScanTable(hostile_document()))
    text = buffer.getvalue()
    assert "\x1b" not in text
    # A left-to-right mark closes the one name that holds right-to-left letters.
    assert {char for char in text if not char.isprintable()} <= {"\n", "\u200e"}


def test_a_terminal_without_unicode_gets_ascii_only() -> None:
    raw = io.BytesIO()
    out = Console(file=io.TextIOWrapper(raw, encoding="ascii"), width=80)
    out.print(console.ScanTable(sample_document()))
    out.file.flush()
    text = raw.getvalue().decode("ascii")
    assert "\n  ##=##\n" in text
    assert ">= +6.9" in text
    assert r"\u9332" in text


def test_colour_adds_nothing_to_the_words() -> None:
    plain, coloured = io.StringIO(), io.StringIO()
    Console(file=plain, width=100).print(console.ScanTable(sample_document()))
    terminal = Console(file=coloured, width=100, force_terminal=True, color_system="truecolor")
    terminal.print(console.ScanTable(sample_document()))
    from rich.text import Text

    assert "\x1b[1;31mspoof" in coloured.getvalue()
    assert Text.from_ansi(coloured.getvalue()).plain.split() == plain.getvalue().split()


def test_markup_in_a_name_is_only_text() -> None:
    example = document([finding("[bold red]x[red].wav", Verdict.SPOOF, 3.0, [3.0])])
    assert "[bold red]x[red].wav" in console.render(example)
    assert "Flagged: [bold red]x[red].wav" in console.summary(example)


def test_two_exhibits_never_look_the_same() -> None:
    example = large_document()
    lines = console.render(example, width=80).splitlines()
    names = [line[:28] for line in lines if "4:00.0" in line]
    assert len(names) == 500
    assert len(set(names)) == 500


def test_flags_stand_in_a_column_or_on_a_line_of_their_own() -> None:
    example = sample_document()
    narrow, wide = console.render(example, width=80), console.render(example, width=130)
    assert "Flags" not in narrow
    assert "  flags: low-level\n" in narrow
    assert "Flags" in wide
    assert "flags:" not in wide
    assert "above-spoof-threshold" not in wide  # the verdict and the LLR say it already


def test_channels_are_named_as_in_a_player() -> None:
    text = console.render(sample_document(), width=140)
    assert "bank-security.flac  L " in text
    assert "bank-security.flac  R " in text
    mono = console.render(document([finding("a.wav", Verdict.SPOOF, 3.0, [3.0])]))
    assert " Ch " not in mono


def test_only_a_few_spans_are_listed() -> None:
    spans = [(8.0 * i, 8.0 * i + 4, 3.0) for i in range(12)]
    example = document([finding("a", Verdict.PARTIAL, 0.0, wavering(0, 24, seed=1), spans=spans)])
    text = console.render(example, width=80)
    assert "0:56.0-1:00.0 (LLR +3.00), and 4 more" in " ".join(text.split())
    assert "1:04.0" not in text


def test_the_summary_counts_and_points() -> None:
    assert console.summary(sample_document()) == (
        "Examined 8 recordings (9 exhibits), 12:47.2 of audio in 0:38.2 (20 x real time)\n"
        "Verdicts: 2 spoof, 1 partial, 3 inconclusive, 3 bona fide, 2 not examined\n"
        "Flagged: calls/2026-10-30 bank-security.flac [R], voicemail-accounts.mp3, address-1961.wav\n"
        "Traced: 3 exhibits (1 most similar to XTTS v2, 1 to StyleTTS 2, 1 unknown)\n"
        "Not scored: 13 of 214 windows\n"
        "Not examined: 2 inputs (truncated-header, not-audio)\n"
    )


def test_the_summary_of_nothing_and_of_the_unfinished() -> None:
    assert console.summary(document([])) == "Nothing to examine.\n"
    only_skipped = console.summary(document([skipped("a")], complete=False))
    assert only_skipped.startswith("No input could be examined.\nVerdicts: 1 not examined\n")
    assert "INTERRUPTED" in only_skipped
    assert "INTERRUPTED" in console.render(document([skipped("a")], complete=False))
    assert console.render(document([])) == "Nothing to examine.\n"


def test_a_long_list_of_flagged_exhibits_is_cut() -> None:
    example = document(finding(f"{i:02d}.wav", Verdict.SPOOF, 3.0, [3.0]) for i in range(15))
    assert "09.wav, and 5 more\n" in console.summary(example)
    assert "10.wav" not in console.summary(example)


def test_a_run_without_its_volatile_part_has_no_speed() -> None:
    example = sample_document()
    blank = example.model_copy(update={"run": example.run.model_copy(update={"elapsed_s": 0.0})})
    assert console.summary(blank).startswith("Examined 8 recordings (9 exhibits), 12:47.2 of audio\n")


@pytest.mark.parametrize("width", [80, 120])
def test_a_trace_is_a_column_where_there_is_room_and_a_line_where_not(width: int) -> None:
    sources = [("VITS", 0.8), ("XTTS v2", 0.1)]
    example = document(
        [
            finding("a.wav", Verdict.SPOOF, 3.0, [3.0], sources=sources),
            finding("b.wav", Verdict.SPOOF, 3.0, [3.0], sources=[("VITS", 0.3)]),
            finding("c.wav", Verdict.SPOOF, 3.0, [3.0], sources=[("a source of a very long name" * 3, 0.8)]),
        ],
        tracer=tracer(),
    )
    lines = console.render(example, width=width).splitlines()
    text = " ".join(" ".join(lines).split())
    assert ("Similar to" in lines[0]) == (width == 120)
    assert ("most similar to VITS (0.80)" in text) == (width == 80)
    assert ("unknown; closest known VITS (0.30)" in text) == (width == 80)
    assert "VITS (0.80)" in text
    assert "most similar to a source of a very long name" in text, "what fits no column has its own line"
    assert "closest of 4 known sources, by compact-tracer likeness, not origin" in text
    assert "known" not in console.render(document([finding("a", Verdict.SPOOF, 3.0, [3.0])]), width=width)


def test_every_decision_of_a_trace_has_its_line() -> None:
    lines = [line.strip() for line in console.render(traced_document(), width=80).splitlines()]
    for expected in (
        "most similar to piper (0.81)",
        "most similar to kokoro or kittentts (0.71, not told apart)",
        "most similar to matcha (0.66); follows the channel: no support",
        "most similar to Acme Voices (trial account) (0.77)",
        "Unknown-1; closest known piper (0.35)",
        "unknown; closest known piper (0.35)",
        "Similar to: closest of 7 known sources (2 enrolled), by compact-tracer",
        "not told apart: kittentts or kokoro",
    ):
        assert expected in lines
    assert "* follows the channel: no support" not in lines


def test_a_column_marks_what_follows_the_channel() -> None:
    text = console.render(traced_document(), width=120)
    assert "matcha (0.66) *\n" in text
    assert "  * follows the channel: no support\n" in text
    assert "piper (0.81)\n" in text
    assert "  flags: trace-follows-channel\n" in text, "a flag that the column would cut has its own line"


def test_the_summary_counts_decisions_groups_and_failed_channel_tests() -> None:
    text = console.summary(traced_document())
    assert (
        "Traced: 7 exhibits (1 most similar to piper, 1 to kokoro or kittentts, 1 to matcha, "
        "1 to Acme Voices (trial account), 3 unknown)\n"
        "Alike among the unknown: Unknown-1 (2 files, 3 exhibits earlier)\n"
        "Channel test: failed for 1 exhibit, whose similarity is no support\n"
    ) in text


def test_a_long_list_of_decisions_is_cut() -> None:
    many = document(finding(f"{i}", Verdict.SPOOF, 3.0, [3.0], sources=[(f"S{i:02d}", 0.8)]) for i in range(13))
    assert "1 to S09, 3 to others)\n" in console.summary(many)
    assert "S10" not in console.summary(many)


def test_hostile_names_of_sources_do_nothing_in_a_summary() -> None:
    text = console.summary(hostile_document())
    assert all(char.isprintable() for char in text.replace("\n", ""))
    assert text.count("\n") == 7
