"""What the comparison of two recordings says in words."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from spoofcheck.linkschema import LinkDocument, LinkedRecording
from spoofcheck.render.linking import calibration_words, link_json, link_opinion, link_view
from spoofcheck.schema import CosineCalibrationInfo, Reason, SourceMatch, TraceInfo
from tests.support.documents import sample_document, tracer

BOUND = 4.0
CALIBRATION = CosineCalibrationInfo(
    data="clips of 12 generators left out",
    target_trials=1200,
    other_trials=3400,
    llr_bound=BOUND,
    eer=0.125,
    cllr=0.512,
)


def recording(path: str, decision: str = "VITS") -> LinkedRecording:
    return LinkedRecording(
        path=path,
        sha256="ab" * 32,
        sources=(SourceMatch(name="VITS", similarity=0.713),),
        trace=TraceInfo(
            decision=decision,
            rule="none",
            measure="cosine",
            threshold=0.5,
            windows=12,
            enrolled=4,
            embedding=(1.0, 0.0),
        ),
    )


def document(llr: float = 2.5, first: str = "a.wav", second: str = "b.wav", message: str = "Beware.") -> LinkDocument:
    return LinkDocument(
        tool=sample_document().tool,
        run=sample_document().run,
        tracer=tracer().model_copy(update={"link_calibration": CALIBRATION}),
        recordings=(recording(first), recording(second, "unknown")),
        cosine=0.8125,
        llr=llr,
        warnings=(Reason(code="x", message=message),),
    )


def shown(one: LinkDocument, width: int = 120) -> str:
    console = Console(width=width, force_terminal=False, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(link_view(one))
    return capture.get()


ONE = "if one source made both than if two sources did"
TWO = "if two sources made them than if one source did"


@pytest.mark.parametrize(
    ("llr", "support", "probable"),
    [
        (2.5, "Moderate support for H1 rather than H2", f"about 12 times more probable {ONE}"),
        (-2.5, "Moderate support for H2 rather than H1", f"about 12 times more probable {TWO}"),
        (0.2, "No or negligible support for either proposition", f"about as probable {ONE.replace('than', 'as')}"),
        (BOUND, "Moderate support for H1 rather than H2", f"at least 54 times more probable {ONE}"),
        (-99.0, "Moderate support for H2 rather than H1", f"at least 54 times more probable {TWO}"),
    ],
)
def test_the_ratio_in_words(llr: float, support: str, probable: str) -> None:
    assert link_opinion(llr, BOUND) == f"{support}: the similarity is {probable}."


def test_all_of_it_is_shown() -> None:
    text = " ".join(shown(document()).split())
    for part in (
        "a.wav", "b.wav", "12 windows", "most similar to VITS (0.71)", "unknown; closest known VITS (0.71)",
        "one source made both recordings", "two sources made them", "0.812", "+2.50", "H1 over H2 12, H2 over H1 1/12",
        "Moderate support for H1", "1,200 comparisons within a source and 3,400 between two", "EER 12.5 %", "! Beware.",
    ):  # fmt: skip
        assert part in text, part


def test_the_bound_is_said() -> None:
    assert "H1 over H2 ≥ 54, H2 over H1 ≤ 1/54" in shown(document(BOUND))
    assert "no LLR beyond ±4.0" in calibration_words(CALIBRATION)


@pytest.mark.parametrize("word", ["made by", "authentic", "genuine", "probability that", "certain"])
def test_no_word_claims_too_much(word: str) -> None:
    for llr in (-99.0, 0.0, 99.0):
        assert word not in shown(document(llr)).lower()


HOSTILE = "\x1b[31m[red]<b>\u202egnp.exe\n\u200b.wav"


def test_hostile_names_are_written_out() -> None:
    text = shown(document(first=HOSTILE, message=HOSTILE), 400)
    for char in "\x1b\u202e\u200b":
        assert char not in text
    assert r"\x1b[31m[red]<b>\u202egnp.exe\n\u200b.wav" in text
    written = link_json(document(first=HOSTILE))
    for char in "\x1b\u202e\u200b":
        assert char not in written
    assert json.loads(written)["recordings"][0]["path"] == HOSTILE


def test_a_document_is_read_back() -> None:
    one = document(first="na\udce9ve.wav")
    assert LinkDocument.model_validate_json(link_json(one)) == one
    assert one.recordings[0].path == r"na\xe9ve.wav"
    with pytest.raises(ValueError, match="no link_calibration"):
        LinkDocument.model_validate(
            {**one.model_dump(), "tracer": tracer().model_copy(update={"link_calibration": None}).model_dump()}
        )
