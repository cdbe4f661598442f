from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from jinja2 import UndefinedError

import spoofcheck
from spoofcheck.detect.views import Painter
from spoofcheck.render import canonical, html, measures, templating
from spoofcheck.render.overview import INTERACTIVE_FROM
from spoofcheck.render.sections import sections
from spoofcheck.resources import templates_dir
from spoofcheck.schema import ScanDocument, Verdict
from spoofcheck.types import SAMPLE_RATE_HZ
from tests.support.audio import human_speech
from tests.support.casework import filled
from tests.support.documents import (
    HOSTILE_NAMES,
    document,
    document_of,
    finding,
    hostile_document,
    large_document,
    of_verdict,
    sample_document,
    sha256,
    skipped,
    traced_document,
    tracer,
    wavering,
)
from tests.support.evidence import evidence_document, hostile_evidence, with_figures

ACTIVE = {"img", "iframe", "object", "embed", "form", "base", "video", "foreignObject"}
CELLS = {"td", "th", "dt", "dd", "tr"}


class Page(HTMLParser):
    """The elements, attributes and visible text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._texts: list[str] = []
        self._in_style = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in_style = tag in ("style", "script")
        if tag in CELLS:
            self._texts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if not self._in_style:
            self._texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self._texts).split())

    def values(self, attribute: str) -> list[str]:
        return [value for _, attrs in self.elements if (value := attrs.get(attribute)) is not None]


def page(example: ScanDocument) -> Page:
    return Page(html.render(example))


VARIANTS = {
    "sample": sample_document(),
    "traced": traced_document(),
    "hostile": hostile_document(),
    "evidence": evidence_document(),
    "evidence, a control failed": evidence_document(controls_ok=False),
    "hostile evidence": hostile_evidence(),
    "empty": document([]),
    "only skipped": document([skipped("a")], complete=False),
    "overlapping": document([finding("a", Verdict.PARTIAL, -2.0, wavering(-3, 30, seed=1), hop_s=1.0)]),
    "shorter than a window": document([finding("a", Verdict.SPOOF, 2.0, [2.0], duration_s=0.4)]),
    "mixed channels": document([finding("a", Verdict.SPOOF, 2.0, [2.0], channels=2)]),
    "negligible": document([finding("a", Verdict.SPOOF, 0.3, [0.3, -0.2])]),
}


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> ScanDocument:
    return VARIANTS[request.param]


# FORENSICS.md: what a report must never say. Looked for in everything a reader sees.
NEVER = [
    r"\bauthentic",
    r"\bgenuine",
    r"\bfakes?\b",
    r"\bdeepfake",
    r"100 ?% (fake|synthetic|spoof|human)",
    r"\bprobability (that|of)\b",
    r"\bprobably\b",
    r"\blikely\b",
    r"\bconfidence\b",
    r"\bcertain(ly|ty)?\b",
    r"\bpro(of|ves?|ven)\b",
    r"\b(made|generated|created) (by|with)\b",
    r"\bunedited\b",
    r"\bnot (edited|manipulated|tampered)",
    r"\berror rate of this\b",
    r"\bspoken by\b",
    r"\bspeaker is\b",
]


@pytest.mark.parametrize("verdict", Verdict)
def test_the_report_never_says_what_it_must_not(verdict: Verdict) -> None:
    failed = evidence_document(controls_ok=False)
    for example in (sample_document(), traced_document(), failed, document_of(verdict)):
        text = page(example).text
        for phrase in NEVER:
            assert not re.search(phrase, text, re.IGNORECASE), phrase


def test_the_list_of_forbidden_phrases_finds_them() -> None:
    said = "The clip is authentic. It is 100 % fake with a confidence of 0.9 and was made by X; this proves it."
    assert sum(bool(re.search(phrase, said, re.IGNORECASE)) for phrase in NEVER) == 6


def test_the_page_loads_nothing_and_runs_nothing(variant: ScanDocument) -> None:
    text = html.render(variant)
    result = Page(text)
    assert not {tag for tag, _ in result.elements} & ACTIVE
    for tag, attrs in result.elements:
        assert not [name for name in attrs if name.startswith("on") or name in ("srcset", "style")]
        if "src" in attrs:
            assert tag == "audio"
            assert re.fullmatch(r"data:audio/(flac|ogg);base64,[A-Za-z0-9+/]+={0,2}", attrs["src"] or "")
        if "href" in attrs:
            within = r"#[a-z]+(-\d+)?"
            allowed = {
                "a": within,
                "use": within,
                "link": "data:,",
                "image": r"data:image/png;base64,[A-Za-z0-9+/]+={0,2}",
            }
            assert re.fullmatch(allowed[tag], attrs["href"] or "")
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    assert set(re.findall(r"url\([^)]*\)", style[1])) == {"url(#hatch)", "url(#cross)"}
    assert "@import" not in style[1]
    (policy,) = [attrs["content"] for _, attrs in result.elements if "http-equiv" in attrs]
    assert policy is not None
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    hashes = [_policy_hash(script) for script in scripts]
    assert len(hashes) <= 1
    allowed_script = f"script-src '{hashes[0]}'; " if hashes else ""
    assert policy == (
        f"default-src 'none'; style-src '{_policy_hash(style[1])}'; {allowed_script}img-src data:; media-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _policy_hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def test_the_page_is_well_built(variant: ScanDocument) -> None:
    result = page(variant)
    ids = result.values("id")
    assert len(ids) == len(set(ids))
    assert {href[1:] for href in result.values("href") if href.startswith("#")} <= set(ids)
    assert {name for names in result.values("aria-labelledby") for name in names.split()} <= set(ids)
    tags = [tag for tag, _ in result.elements]
    assert tags.count("h1") == tags.count("main") == 1
    assert tags.count("h2") == len(sections(variant))
    titled = [attrs["id"] for tag, attrs in result.elements if tag == "h2"]
    assert titled == [f"{name}-title" for name in sections(variant)], "the contents are in the order of the sections"
    assert tags.count("script") == (2 if len(measures.examined(variant.findings)) >= INTERACTIVE_FROM else 1)
    for tag, attrs in result.elements:
        if tag == "th":
            assert attrs.get("scope") in ("col", "row")
        if tag == "svg":
            assert attrs.get("aria-hidden") == "true" or (attrs["role"] == "img" and attrs["aria-label"])
        if tag == "html":
            assert attrs["lang"] == "en"


def test_hostile_text_is_shown_and_does_nothing() -> None:
    text = html.render(hostile_document())
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.wav" in text
    assert "&lt;img src=x onerror=alert(1)&gt;.wav" in text
    assert {tag for tag, _ in Page(text).elements} == {tag for tag, _ in page(traced_document()).elements}
    seen = Page(text).text
    assert r"esc\x1b[31mred\x1b]0;title\x07.wav" in seen
    assert r"gnp\u202evaw.exe" in seen
    assert r"line\nbreak.wav" in seen
    assert "{{ 7 * 7 }}{% raw %}.wav" in seen
    assert r"latin1-\xe9t\xe9.wav" in seen
    assert all(char.isprintable() or char in "\n\u3000" for char in text)


def test_a_template_cannot_forget_to_escape_or_print_what_is_missing() -> None:
    environment = html._environment()
    template = environment.from_string("{{ value }}")
    assert template.render(value="<b>\u202e&") == r"&lt;b&gt;\u202e&amp;"
    with pytest.raises(UndefinedError):
        template.render()
    with pytest.raises(TypeError, match="missing value"):
        template.render(value=None)


def test_every_template_is_used() -> None:
    names = {path.name for path in templates_dir().iterdir()}
    package = Path(spoofcheck.__file__).parent
    named = "".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    used = {name for name in names if f'"{name}"' in named}
    for name in names:
        source = (templates_dir() / name).read_text()
        used |= set(re.findall(r'{% (?:include|import) "([^"]+)"', source))
    assert names == used


def test_the_report_is_named_after_its_result_document() -> None:
    digest = canonical.document_sha256(sample_document())
    result = page(sample_document())
    held = canonical.extract(html.render(sample_document()))
    assert held.sha256 == held.claimed_sha256 == digest
    expected = "SC-" + "-".join(re.findall("....", digest[:12].upper()))
    assert result.text.count(f"Report {expected}") >= 2
    assert digest in result.text
    assert f'"Report {expected}"' in html.render(sample_document())  # printed on every sheet


def test_an_exhibit_holds_its_identity_condition_and_opinion() -> None:
    example = sample_document()
    text = page(example).text
    for exhibit in example.findings:
        if exhibit.verdict is not Verdict.SKIPPED and exhibit.media is not None:
            assert exhibit.path in text
            assert exhibit.sha256 in text
            assert exhibit.media.pcm_sha256 in text
            assert exhibit.reasons[0].message in text
    for expected in (
        "relates only to the items examined",
        "calls/2026-10-30 bank-security.flac channel 2 of 2 (right)",
        "Moderately strong support for H1 rather than H2: the findings are at least 990 times more probable",
        "Pooled over the whole exhibit: weak support for H2 rather than H1",
        "No conclusion is drawn; the pooled LLR is reported as a measurement only.",
        "26,716,844 bytes (26.7 MB)",
        "2026-11-03 16:20:11 UTC",
        "MP3, MPEG_LAYER_III",
        "31 dB",
        "70 2: too little speech",
        "−1.2 / −21.7",  # noqa: RUF001
        "spoofcheck scan /cases/2026-114/recordings --json scan.json",
        "spoofcheck 0.1.0, commit 851f89f0c2d4",
        "20.8 % (19.8 to 21.8)",
        "Not validated on telephone speech below 16 kHz",
        "cut-off.wav The file ends inside its header. truncated-header",
        "Most similar to StyleTTS 2 of 4 known sources.",
        "Unknown; closest known source VITS, of 4 known sources.",
        "The closest of 4 known sources, from 8 traced windows.",
        "Every exhibit judged spoof or partial was compared with 4 known sources",
        "Known sources StyleTTS 2, Tacotron 2, VITS, XTTS v2",
        "eval (unseen clips) 880 412 78.1 % 84.2 % 71.3 % 52.0 % 87.4 % 61.1 % 80.2 %",
        "Voice conversion was not among its sources.",
    ):
        assert expected in text


def test_without_a_tracer_the_page_speaks_of_none() -> None:
    text = page(document([of_verdict(Verdict.SPOOF)])).text
    for word in ("enrolled", "tracer", "similar to"):
        assert word not in text.lower()


@pytest.mark.parametrize("example", [sample_document(), traced_document()])
def test_no_source_is_called_the_maker(example: ScanDocument) -> None:
    text = page(example).text
    assert example.tracer is not None
    for phrase in ("made by", "generated by", "produced by", "created by", "synthesised by", "attributed to"):
        for name in example.tracer.classes:
            assert f"{phrase} {name}".lower() not in text.lower()


def test_a_trace_is_told_in_full() -> None:
    text = page(traced_document()).text
    for expected in (
        "Most similar to piper of 7 known sources. For piper, the similarity is at least 99 times more probable if a "
        "system of this source made the recording than if another did.",
        "Rule: unknown when the largest similarity (cosine) is below 0.55. Dashed: the threshold, 0.55; dark: at or "
        "above it. Similarities are cosines, from −1 to 1.",  # noqa: RUF001
        "piper shipped with the tracer 0.81 ≥ +4.6 ≥ 99",
        "matcha shipped with the tracer −0.08 ≤ −4.6 ≤ 1/99",  # noqa: RUF001
        "Acme Voices (trial account) enrolled from 5 clips, revision 2 0.77 +3.90 49",
        "Not told apart. The tracer cannot tell kokoro and kittentts apart.",
        "No support. The channel test failed: the same source is found where nobody speaks and a copy through a codec "
        "is not, or hardly, like it.",
        "Without speech failed The 6.2 s without speech were traced alone; decision: matcha (similarity 0.72).",
        "Through a codec failed A copy of the traced windows went through Opus at 16 kbit/s; decision: vits "
        "(similarity to matcha 0.41).",
        "Without speech not tested 0.4 s without speech: too little to be traced.",
        "It belongs to Unknown-1: 2 exhibits of this report and 3 examined earlier in the case",
        "For piper, the similarity is about 18 times more probable if a system of another source made the recording "
        "than if one of this source did.",
        "4 calls/through-a-gateway.wav matcha 0.66 failed: no support",
        "3 calls/delivery.wav kokoro or kittentts not told apart 0.71 passed codec",
        "8 anonymous/3.wav unknown closest known: piper 0.35",
        "Unknown-1 2 3 6 anonymous/1.wav, 7 anonymous/2.wav",
        "Not told apart kittentts, kokoro",
        "dev split, sources that were not trained on 2,200 8,800 ±4.60 6.1 % 0.214",
        "Acme Voices (trial account) five clips from the seized laptop 5 5 of 5 none 2026-11-18 08:30:00 UTC 2",
        "helpline bot no note 8 6 of 8 piper, Acme Voices (trial account)",
        "1,760 1,240 90.2 % 93.4 % 91.8 % 87.1 % 96.8 % 9.3 % 94.1 %",
        "What tracing cannot say",
        "was compared with 7 known sources",
        "9 Source tracing",
    ):
        assert expected in text


def test_a_similarity_that_follows_the_channel_gets_no_ratio_and_no_dark_bar() -> None:
    example = traced_document()
    failed = example.model_copy(update={"findings": example.findings[3:4]})
    result = page(failed)
    assert "No support. The channel test failed" in result.text
    for absent in ("For matcha,", "LR: how many times more probable the similarity is"):
        assert absent not in result.text
    assert "accepted" not in result.values("class")
    assert "accepted" in page(example).values("class")


def test_a_published_tracer_says_what_it_said_before() -> None:
    text = page(sample_document()).text
    assert "Similarities are relative among the known sources, all of which sum to 1." in text
    assert "No channel test was made" in text
    assert "the tracer's softmax outputs were averaged" in text
    for absent in ("cosine of the angle", "Enrolled sources", "Alike among the unknown", "Calibrations:"):
        assert absent not in text


def test_gaps_of_a_tracer_are_spelled_out() -> None:
    example = traced_document()
    assert example.tracer is not None
    assert example.enrolled is not None
    bare = example.tracer.model_copy(
        update={"validation": (), "limitations": (), "groups": (), "source_calibration": None, "link_calibration": None}
    )
    empty = example.enrolled.model_copy(update={"sources": ()})
    text = page(example.model_copy(update={"tracer": bare, "enrolled": empty, "unknown_groups": ()})).text
    assert "No validation figures of the tracer." in text
    assert "The store holds no source." in text
    assert "It belongs to Unknown-1: unknown exhibits that are alike." in text
    assert "Acme Voices (trial account) enrolled 0.77" in text
    assert "For piper, the similarity is about 99 times" in text, "no bound is known without a calibration"
    untraced = page(document([of_verdict(Verdict.SPOOF)], tracer=tracer())).text
    assert "Similar sources" not in untraced
    assert "Source tracing" in untraced


def test_every_bar_says_its_value_and_side_of_the_threshold() -> None:
    labels = page(traced_document()).values("aria-label")
    assert "Similarity 0.81, at or above the threshold" in labels
    assert "Similarity −0.08, below the threshold" in labels  # noqa: RUF001


def test_the_strongest_windows_are_shown_in_both_directions() -> None:
    example = document([finding("a", Verdict.SPOOF, 2.0, [4.0, -1.0, 5.0, None, 3.0, -2.0, 6.0, 0.0])])
    (exhibit,) = (html._exhibit(1, example.findings[0], "a", example),)
    assert [row.number for row in exhibit.supporting] == [7, 3, 1]
    assert [row.number for row in exhibit.contrary] == [6, 2]
    one_sided = document([finding("a", Verdict.SPOOF, 2.0, [4.0])])
    assert "No scored window has an LLR below zero." in page(one_sided).text


def test_an_inconclusive_exhibit_gets_no_likelihood_ratio() -> None:
    text = page(document([of_verdict(Verdict.INCONCLUSIVE)])).text
    assert "LR, H1 over H2 –" not in text  # noqa: RUF001
    assert "LR, H2 over H1 In words 1 Inconclusive – – No conclusion is drawn" in text  # noqa: RUF001
    assert "LR, H1 over H2 24 LR, H2 over H1 1/24" in page(document([of_verdict(Verdict.SPOOF)])).text


def test_every_window_is_in_the_table() -> None:
    example = document([finding("a", Verdict.SPOOF, 6.9, [7.2, None, -0.5, 1.0])])
    text = page(example).text
    for row in (
        "1 0:00.0–0:04.0 3.6 +12.64 ≥ +6.9 at or above threshold",  # noqa: RUF001
        "2 0:04.0–0:08.0 0.1 – – not scored: too little speech",  # noqa: RUF001
        "3 0:08.0–0:12.0 3.6 −0.45 −0.50",  # noqa: RUF001
        "4 0:12.0–0:16.0 3.6 +2.10 +1.00 at or above threshold",  # noqa: RUF001
    ):
        assert row in text


def test_a_chart_stays_inside_its_frame() -> None:
    long = [*wavering(-3, 900, seed=1, spread=5), None, *wavering(5, 900, seed=2, spread=5)]
    example = document([finding("a", Verdict.PARTIAL, 0.0, long, spans=[(100.0, 140.0, 3.0)])])
    chart = html._exhibit(1, example.findings[0], "a", example).chart
    assert len(chart.bars) <= 600
    assert chart.windows_per_bar == 4
    for bar in chart.bars:
        left, width = float(bar.x.rstrip("%")), float(bar.width.rstrip("%"))
        assert left >= 0
        assert left + width <= 100.01
        if bar.height != "100%":
            assert float(bar.y) >= 0
            assert float(bar.y) + float(bar.height) <= chart.height
    assert chart.bars[0].x == "0%"
    assert float(chart.threshold_y) < float(chart.zero_y) == chart.height / 2


def test_options_and_gaps_are_spelled_out() -> None:
    example = sample_document()
    options = example.options.model_copy(update={"vad": False, "channels": "mix"})
    model = example.model.model_copy(update={"validation": (), "limitations": ()})
    run = example.run.model_copy(update={"complete": False, "started_at": "", "host": ""})
    tool = example.tool.model_copy(update={"git_commit": None})
    changes = {"options": options, "model": model, "run": run, "tool": tool}
    text = page(example.model_copy(update=changes)).text
    assert "Voice activity detection was switched off" in text
    assert "music, noise and silence were scored as if they were speech" in text
    assert "all channels were mixed into one" in text
    assert "No validation figures." in text
    assert "Interrupted." in text
    assert "not recorded" in text
    assert "commit 8" not in text


def test_a_time_without_a_zone_or_shape_is_left_as_it_is() -> None:
    assert templating.format_date("2026-11-21T09:14:03+02:00") == "2026-11-21 07:14:03 UTC"
    assert templating.format_date("2026-11-21T09:14:03") == "2026-11-21 09:14:03"
    assert templating.format_date("yesterday") == "yesterday"


def test_a_case_s_evidence_is_told_in_full() -> None:
    text = page(evidence_document()).text
    for expected in (
        "Case 2026-114 Client Police station 7 Examiner A. Examiner Laboratory Laboratory 3 Question Is the speech in",
        "Exhibits EX-1, EX-2, EX-3",
        "A file is not what it was when it was examined. Its hash was taken again after the run: address-1961.mp3 "
        "(changed).",
        "2026-11-03 Property office A. Examiner Bag 4711, sealed",
        "EX-1 in this report: 1 witness-a.wav Statement of witness A, as recorded 0:48.0 (48.000 s); WAV, PCM_16, 16 "
        "bit; 48,000 Hz; 1 channel;",
        f"changed 2026-11-21 09:14:58 UTC SHA-256 now {sha256('another file')}",
        "EX-4 (second-voicemail.ogg): Announced, not received",
        "Data set: dev. One trial is one exhibit.",
        "through Opus at 16 kbit/s 3 1,012 998 19.6 % (18.6 to 20.6)",
        "brought to 8 kHz and back 4 1,012",
        "synthetic speech Spoof +5.10 +8.40 as expected The synthetic control is judged spoof.",
        "After the run the file was not what was examined: see section 3.",
        "Strongest for the pooled direction, H2 (human)",
        "Strongest against it, for H1 (synthetic)",
        "Of the human recordings that the model was calibrated on, about 24 in 100 have a lower LLR",
        "Unstable. 1 of 8 changes that should not matter turns the verdict over: the exhibit is inconclusive",
        "through Opus at 24 kbit/s −1.74 bona fide: turned over",  # noqa: RUF001
        "They explain and do not decide: no verdict and no LLR rests on them.",
        "All 32 measures of 1:00.0 of speech, with percentiles",
        "EX-1 Bona fide 1/58 58 Moderate support for H2 rather than H1",
        "The words of the examiner (A. Examiner), given with the command; not those of the program.",
        "EX-2 was played to the client on 5 November. The client takes 0:36 to 0:52 for an insertion.",
        "Reviewed by (name)",
        "Appendix A Window tables",
        f"case file case 2026-114 {sha256('case.toml')}",
        "spoofcheck verify REPORT.html --exhibits DIR",
        "spoofcheck ledger check CASE.jsonl",
    ):
        assert expected in text
    assert "A control is not as expected." not in text


def test_conditions_of_several_data_sets_name_theirs() -> None:
    example = evidence_document()
    first, *rest = example.model.conditions
    other = first.model_copy(update={"dataset": "eval"})
    text = page(
        example.model_copy(update={"model": example.model.model_copy(update={"conditions": (other, *rest)})})
    ).text
    assert "recordings as they are 1 eval, exhibit 1,012" in text
    assert "through Opus at 16 kbit/s 3 dev, exhibit 1,012" in text
    assert "One trial is one" not in text


def test_a_failed_control_is_the_first_thing_to_be_seen() -> None:
    result = page(evidence_document(controls_ok=False))
    assert result.text.index("A control is not as expected.") < result.text.index("Report SC-", 20)
    assert "not as expected The synthetic control is judged bona fide." in result.text
    assert "no opinion may rest on them" in result.text


def test_pictures_and_sounds_are_of_their_exhibit() -> None:
    text = html.render(evidence_document())
    assert text.count("<audio controls") == 4
    assert text.count("<image href=") == 4
    second = text[text.index('id="exhibit-2"') : text.index('id="exhibit-3"')]
    spectrogram = second[second.index('class="spectrogram"') :]
    (frame,) = re.findall(r'<rect class="span-frame" x="([\d.]+)%" y="1" width="([\d.]+)%"', spectrogram)
    assert [float(part) for part in frame] == pytest.approx([100 * 36 / 88, 100 * 16 / 88], abs=0.01)


def test_without_evidence_nothing_of_it_is_shown() -> None:
    result = page(document([of_verdict(Verdict.SPOOF)]))
    for absent in ("Controls", "Examiner's note", "Stability", "Excerpts", "Acoustic observations", "Hand-over"):
        assert absent not in result.text
    assert not {"audio", "image"} & {tag for tag, _ in result.elements}


def test_five_hundred_exhibits_are_light() -> None:
    text = html.render(large_document(exhibits=500, windows_each=60))
    assert len(text.encode()) < 15_000_000
    assert text.count('<article class="exhibit"') == 500
    assert text.count("<tr") > 30_000


def test_a_full_exhibit_takes_no_more_than_its_share_of_forty_megabytes() -> None:
    speech = np.resize(human_speech(), 240 * SAMPLE_RATE_HZ)
    painter = Painter(240.0)
    painter.push(speech)
    made = filled(large_document(exhibits=20, windows_each=60), [painter.finish()])
    figured = made.model_copy(update={"model": with_figures(made.model)})
    text = html.render(figured)
    fixed = len(html.render(figured.model_copy(update={"findings": ()})))
    assert (len(text.encode()) - fixed) / 20 < 80_000
    assert text.count('class="stability"') == text.count('class="acoustics"') == text.count("<image") == 20


def _palette(scheme: str) -> dict[str, str]:
    """The custom properties of the light or the dark colour scheme."""
    style = (templates_dir() / "_style.css.j2").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    block = light if scheme == "light" else light + dark
    return dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", block))


def _contrast(one: str, other: str) -> float:
    """WCAG 2.2 contrast ratio of two sRGB colours."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_contrast_formula_on_known_pairs() -> None:
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)
    assert _contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_graphics_have_the_contrast_of_wcag_aa(scheme: str) -> None:
    colours = _palette(scheme)
    text = [(ink, ground) for ink in ("--ink", "--soft", "--title", "--link") for ground in ("--paper", "--tint")]
    text += [(f"--{name}-ink", f"--{name}-ground") for name in ("spoof", "partial", "bonafide", "inconclusive")]
    text += [("--spoof-ink", "--paper"), ("--soft", "--page")]
    text += [("--alarm-ink", ground) for ground in ("--alarm-ground", "--paper", "--tint")]
    for ink, ground in text:
        assert _contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    for mark in ("--h1", "--h2", "--middle", "--title", "--wave"):
        for ground in ("--tint", "--paper"):
            assert _contrast(colours[mark], colours[ground]) >= 3, (mark, ground)
    assert _contrast(colours["--h1"], colours["--span"]) >= 3


def test_skipped_inputs_are_listed_even_when_hostile() -> None:
    text = page(document(skipped(name) for name in HOSTILE_NAMES)).text
    assert "No input could be examined." in text
    assert text.count("No audio stream was found in it. not-audio") == len(HOSTILE_NAMES)
