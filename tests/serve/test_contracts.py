"""The contracts of two older systems, with their clients' words."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoofcheck.document import parse_document
from spoofcheck.render.guard import problems
from spoofcheck.schema import FLAGGED, Finding, Verdict
from spoofcheck.serve.contracts import FORMATS, LANGUAGES, prediction_text, prefers_json
from spoofcheck.serve.explanation import NAMED_MEASURES, caution, explain, opinion, strongest_stretch
from spoofcheck.serve.keys import add_key
from spoofcheck.serve.settings import Settings
from tests.serve.conftest import Whole
from tests.support.audio import HUMAN_SPEECH, encode, human_speech
from tests.support.documents import BOUND_LLR, document_of, finding, of_verdict, sample_document, skipped
from tests.support.evidence import examined
from tests.support.guardedapp import ToldEngine, guarded_app, human, leftovers, listening, spoof, undecided

FIRST_FIELDS = ["status", "language", "classification", "confidenceScore", "explanation"]

partial = finding(
    "x.wav",
    Verdict.PARTIAL,
    -1.2,
    [-3.0, -3.0, 2.0, 4.0],
    spans=[(8.0, 16.0, 3.0)],
    reasons=[("spoofed-passage", "One.")],
)


def old_mobile_client(answer: str) -> tuple[str, float]:
    """What the mobile client of the older API makes of an answer: its two expressions, in Python."""
    match = re.search(r"Confidence: (\d+\.\d+)%", answer)
    return ("Fake" if "Deepfake detected" in answer else "Real", float(match[1]) / 100 if match else 0.0)


def old_react_client(answer: str) -> tuple[bool, float]:
    """Its web client: the first percentage counts."""
    match = re.search(r"(\d+\.\d+)%", answer)
    return ("Deepfake detected" in answer, float(match[1]) if match else 0.0)


class TestOpinion:
    @pytest.mark.parametrize(
        ("told", "word", "llr"),
        [
            (spoof(), "AI_GENERATED", 3.2),
            (human(), "HUMAN", -3.2),
            (undecided(0.4), "AI_GENERATED", 0.4),
            (undecided(-0.4), "HUMAN", -0.4),
            (undecided(0.0), "HUMAN", 0.0),
            (partial, "AI_GENERATED", 3.0),
            (finding("x", Verdict.BONAFIDE, 0.1, [0.1]), "HUMAN", 0.1),
            (finding("x", Verdict.SPOOF, -0.1, [-0.1]), "AI_GENERATED", -0.1),
        ],
    )
    def test_follows_the_verdict_and_else_the_sign(self, told: Finding, word: str, llr: float) -> None:
        made = opinion(told, 0.5)
        assert made is not None
        assert (made.classification, made.llr) == (word, llr)
        towards = llr if word == "AI_GENERATED" else -llr
        assert made.score == pytest.approx(1 / (1 + math.exp(-towards)), abs=1e-4)

    def test_without_an_llr_there_is_no_word(self) -> None:
        assert opinion(finding("x", Verdict.INCONCLUSIVE, None, [None]), 0.5) is None

    def test_a_prior_moves_the_score_and_not_the_word(self) -> None:
        rare, even = opinion(spoof(), 0.01), opinion(spoof(), 0.5)
        assert rare is not None
        assert even is not None
        assert rare.classification == even.classification == "AI_GENERATED"
        assert rare.score == pytest.approx(1 / (1 + math.exp(-3.2 + math.log(99))), abs=1e-4)

    @given(st.floats(-100, 100), st.floats(1e-9, 1 - 1e-9), st.sampled_from([Verdict.SPOOF, Verdict.INCONCLUSIVE]))
    @settings(max_examples=50, deadline=None)
    def test_a_score_is_never_0_or_1(self, llr: float, prior: float, verdict: Verdict) -> None:
        told = finding("x", verdict, llr, [llr])
        made = opinion(told, prior)
        assert made is not None
        assert 0 < made.score < 1
        assert 0 < old_mobile_client(prediction_text(told, made))[1] < 1
        assert float(f"{100 * made.score:.2f}") == old_react_client(prediction_text(told, made))[1]


class TestExplanation:
    @pytest.fixture
    def measured(self) -> Finding:
        return examined(of_verdict(Verdict.SPOOF), None, None)

    def test_names_the_measures_with_their_percentiles(self, measured: Finding) -> None:
        made = opinion(measured, 0.5)
        assert made is not None
        text = explain(measured, made, BOUND_LLR)
        assert measured.acoustics is not None
        by_name = {measure.name: measure for measure in measured.acoustics.measures}
        for name, label in NAMED_MEASURES.items():
            measure = by_name[name]
            assert measure.human_percentile is not None
            assert measure.synthetic_percentile is not None
            shown = f"({measure.human_percentile:.0f} | {measure.synthetic_percentile:.0f})"
            assert re.search(rf"{re.escape(label)} [\d.,-]+( \S+)? {re.escape(shown)}", text), name
        assert "log-likelihood ratio is +3.20, moderate support for synthetic speech (H1)" in text

    def test_claims_no_more_than_the_bound(self) -> None:
        told = finding("x", Verdict.SPOOF, BOUND_LLR, [BOUND_LLR])
        made = opinion(told, 0.5)
        assert made is not None
        assert "≥ +6.9" in explain(told, made, BOUND_LLR)
        assert "at least" in explain(told, made, BOUND_LLR)

    def test_says_nothing_a_report_must_not(self, measured: Finding) -> None:
        told = [*sample_document().findings, measured, partial, undecided(0.1), undecided(-0.0)]
        for each in told:
            for llr in (-9.0, -0.5, 0.0, 0.5, 9.0):
                moved = each.model_copy(update={"spoof_llr": llr})
                made = opinion(moved, 0.5)
                assert made is not None
                text = f"{explain(moved, made, BOUND_LLR)} {caution(moved)}"
                assert not problems(text), text

    def test_the_strongest_stretch_is_that_of_the_direction(self) -> None:
        both = finding("x", Verdict.SPOOF, 1.0, [-2.0, 4.0, None])
        assert strongest_stretch(both) == (4.0, 8.0, 4.0)
        assert strongest_stretch(both.model_copy(update={"spoof_llr": -1.0})) == (0.0, 4.0, -2.0)
        assert strongest_stretch(partial) == (8.0, 16.0, 3.0)
        assert strongest_stretch(skipped("x")) is None

    def test_says_that_a_result_is_inconclusive(self) -> None:
        told = undecided(0.4)
        made = opinion(told, 0.5)
        assert made is not None
        assert explain(told, made, BOUND_LLR).startswith("Inconclusive")
        assert told.reasons[0].message in caution(told)


class TestAccept:
    @pytest.mark.parametrize(
        ("accept", "json_first"),
        [
            ("", False),
            ("*/*", False),
            ("text/plain", False),
            ("application/json", True),
            ("application/json, text/plain, */*", False),  # axios: what the older web client sends
            ("application/json, text/plain;q=0.5", True),
            ("application/json;q=0.5, text/*", False),
            ("application/*", True),
            ("application/json;q=0", False),
            ("application/json;q=x", False),
            ("text/html, */*;q=0.1", False),
            (";;,,q=", False),
        ],
    )
    def test_a_tie_is_for_the_text(self, accept: str, json_first: bool) -> None:
        assert prefers_json(accept) is json_first


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, ToldEngine, Settings]]:
    engine = ToldEngine(human())
    own = Settings(data_dir=tmp_path_factory.mktemp("data"))
    with (
        listening(guarded_app(own, engine)) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, verify=False) as client,
    ):
        yield client, engine, own


class TestTold:
    """Behind the guards, with an engine that says what it was told to."""

    @pytest.mark.parametrize("told", [spoof(), human(), undecided(0.4), undecided(-0.4), partial])
    def test_old_clients_understand_every_result(
        self, served: tuple[httpx.Client, ToldEngine, Settings], told: Finding
    ) -> None:
        client, engine, _ = served
        engine.told = told
        made = opinion(told, 0.5)
        assert made is not None
        is_fake = made.classification == "AI_GENERATED"
        # A name with the client's own words in it changes nothing.
        files = {"audio": ("Deepfake detected! Confidence: 1.23%.wav", b"RIFF", "audio/wav")}
        text = client.post("/api/predict", files=files)
        assert text.headers["content-type"] == "text/plain; charset=utf-8"
        label, confidence, *rest = text.text.split("\n")
        assert label == ("🔴 Deepfake detected!" if is_fake else "🟢 Audio appears authentic.")
        assert re.fullmatch(r"Confidence: \d{1,2}\.\d\d%", confidence)
        assert len(rest) == (told.verdict is Verdict.INCONCLUSIVE)
        full = client.post("/api/predict", files=files, headers={"accept": "application/json"})
        assert full.json()["text"] == text.text
        for answer in (text.text, full.text):
            assert old_mobile_client(answer) == ("Fake" if is_fake else "Real", pytest.approx(made.score, abs=5e-5))
            assert old_react_client(answer)[0] is is_fake
        assert parse_document(json.dumps(full.json()["scan"]).encode()).findings[0].verdict is told.verdict

        body = {"language": "Hindi", "audioFormat": "wav", "audioBase64": "UklGRg=="}
        answer = client.post("/api/voice-detection", json=body).json()
        assert list(answer)[:5] == FIRST_FIELDS
        assert answer["classification"] == made.classification
        assert 0 < answer["confidenceScore"] < 1
        assert answer["inconclusive"] is (told.verdict is Verdict.INCONCLUSIVE)
        assert (answer["verdict"] in FLAGGED) is (told.verdict in FLAGGED)
        assert answer["windows"]["count"] == len(told.windows)
        # A text that says nothing of measures costs none.
        assert [options.acoustics for options in engine.asked[-3:]] == [False, True, True]

    @pytest.mark.parametrize(
        "told",
        [
            skipped("x.wav"),
            finding("x", Verdict.INCONCLUSIVE, None, [None]),
            document_of(Verdict.UNCALIBRATED).findings[0],
        ],
    )
    def test_without_findings_there_is_no_word(
        self, served: tuple[httpx.Client, ToldEngine, Settings], told: Finding
    ) -> None:
        client, engine, own = served
        engine.told = told
        body = {"language": "Hindi", "audioFormat": "wav", "audioBase64": "UklGRg=="}
        for answer in (
            client.post("/api/voice-detection", json=body),
            client.post("/api/predict", files={"audio": ("a", b"x")}),
        ):
            assert answer.status_code == 422
            assert answer.json() == {
                "status": "error",
                "message": f"The recording cannot be classified: {told.reasons[0].message}",
            }
        assert not leftovers(own)

    @pytest.mark.parametrize("language", [*LANGUAGES, "tamil", " TELUGU "])
    def test_takes_every_language(self, served: tuple[httpx.Client, ToldEngine, Settings], language: str) -> None:
        client, engine, _ = served
        engine.told = human()
        body = {"language": language, "audioFormat": "MP3", "audioBase64": "SUQz", "more": {"passed": "over"}}
        answer = client.post("/api/voice-detection", json=body)
        assert answer.status_code == 200
        assert answer.json()["language"] in LANGUAGES

    @pytest.mark.parametrize(
        ("change", "status"),
        [
            ({"language": "French"}, 422),
            ({"language": 3}, 422),
            ({"language": None}, 422),
            ({"audioFormat": "aiff"}, 415),
            ({"audioFormat": "flac"}, 415),  # the content is a WAV
            ({"audioFormat": ["wav"]}, 422),
            ({"audioBase64": "!"}, 400),
            ({"audioBase64": ""}, 400),
            ({"audioBase64": 7}, 422),
        ],
    )
    def test_refuses_in_its_form(
        self, served: tuple[httpx.Client, ToldEngine, Settings], change: dict[str, object], status: int
    ) -> None:
        client, engine, own = served
        engine.told = human()
        wav = base64.b64encode(HUMAN_SPEECH.read_bytes()[:100]).decode()
        body = {"language": "auto", "audioFormat": "wav", "audioBase64": wav}
        assert client.post("/api/voice-detection", json=body).status_code == 200
        answer = client.post("/api/voice-detection", json=body | change)
        assert answer.status_code == status
        assert answer.json().keys() == {"status", "message"}
        assert answer.json()["status"] == "error"
        for field in change:
            rest = {name: value for name, value in body.items() if name != field}
            assert client.post("/api/voice-detection", json=rest).status_code == 422
        assert not leftovers(own)

    def test_a_full_queue_is_told_before_the_quota_is_charged(
        self, served: tuple[httpx.Client, ToldEngine, Settings]
    ) -> None:
        client, engine, _ = served
        engine.is_full = True
        try:
            answer = client.post("/api/predict", files={"audio": ("a", b"x")})
        finally:
            engine.is_full = False
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0

    def test_a_failure_says_nothing_of_its_cause(
        self, served: tuple[httpx.Client, ToldEngine, Settings], caplog: pytest.LogCaptureFixture
    ) -> None:
        client, engine, own = served
        engine.error = RuntimeError("/srv/secret")
        try:
            answer = client.post("/api/predict", files={"audio": ("a", b"x")})
        finally:
            engine.error = None
        assert answer.status_code == 500
        assert answer.json() == {"status": "error", "message": "The server failed to answer; its log says more."}
        assert not leftovers(own)
        assert "/srv/secret" in caplog.text

    def test_predict_wants_one_recording(self, served: tuple[httpx.Client, ToldEngine, Settings]) -> None:
        client, _, own = served
        for files in ({"file": ("a", b"x")}, [("audio", ("a", b"x"))] * 2):
            assert client.post("/api/predict", files=files).status_code == 422
        assert client.post("/api/predict", data={"audio": "x"}).status_code == 415  # urlencoded
        assert not leftovers(own)


class TestWhole:
    """The running service with a tiny model: both clients' requests, word for word."""

    def test_the_first_client(self, whole: Whole, tmp_path: Path) -> None:
        recording = encode(tmp_path / "a.mp3", human_speech()[:, None], 16_000, "mp3", "libmp3lame")
        content = (
            '{\n  "language": "Tamil",\n  "audioFormat": "mp3",\n  "audioBase64": "'
            + base64.b64encode(recording.read_bytes()).decode()
            + '"\n}'
        )
        headers = {"Content-Type": "application/json", "x-api-key": whole.key}
        with whole.client() as client:
            answer = client.post("/api/voice-detection", content=content, headers=headers)
        assert answer.status_code == 200
        said = answer.json()
        assert list(said)[:5] == FIRST_FIELDS
        assert said["status"] == "success"
        assert said["language"] == "Tamil"
        assert said["classification"] in ("AI_GENERATED", "HUMAN")
        assert 0 < said["confidenceScore"] < 1
        assert [feature["name"] for feature in said["features"]] == list(NAMED_MEASURES)
        assert not problems(said["explanation"])
        assert not whole.leftovers()

    def test_the_second_client(self, whole: Whole) -> None:
        body = (
            b'--X\r\nContent-Disposition: form-data; name="audio"; filename="recorded_audio.wav"\r\n'
            b"Content-Type: audio/wav\r\n\r\n" + HUMAN_SPEECH.read_bytes() + b"\r\n--X--\r\n"
        )
        headers = {"Content-Type": "multipart/form-data; boundary=X"}
        with whole.client() as client:
            web = client.post(
                "/api/predict", content=body, headers=headers | {"Accept": "application/json, text/plain, */*"}
            )
            mobile = client.post("/api/predict", content=body, headers=headers | {"Accept": "application/json"})
        assert web.status_code == mobile.status_code == 200
        assert web.headers["content-type"].startswith("text/plain")
        label, score = old_mobile_client(mobile.text)
        assert old_react_client(web.text) == (label == "Fake", pytest.approx(100 * score))
        assert mobile.json()["scan"]["findings"][0]["path"] == "audio"
        assert not whole.leftovers()

    @pytest.mark.parametrize(
        ("audio_format", "muxer", "codec"),
        [
            ("wav", "wav", "pcm_s16le"),
            ("ogg", "ogg", "libopus"),
            ("webm", "webm", "libopus"),
            ("m4a", "ipod", "aac"),
            ("aac", "adts", "aac"),
            ("flac", "flac", "flac"),
        ],
    )
    def test_takes_every_format(self, whole: Whole, tmp_path: Path, audio_format: str, muxer: str, codec: str) -> None:
        recording = encode(tmp_path / "a", human_speech()[: 3 * 16_000, None], 16_000, muxer, codec)
        coded = base64.b64encode(recording.read_bytes()).decode()
        with whole.client() as client:
            body = {"language": "auto", "audioFormat": audio_format, "audioBase64": coded}
            answer = client.post("/api/voice-detection", json=body)
            assert answer.status_code == 200, answer.text
            others = [other for other in FORMATS if not FORMATS[other] & FORMATS[audio_format]]
            refused = client.post("/api/voice-detection", json=body | {"audioFormat": others[0]})
        assert refused.status_code == 415

    def test_long_recordings_are_examined_to_their_end(self, whole: Whole, tmp_path: Path) -> None:
        import numpy as np

        recording = encode(tmp_path / "a", np.tile(human_speech(), 4)[:, None], 16_000, "ogg", "libopus")
        with whole.client() as client:
            answer = client.post(
                "/api/predict",
                files={"audio": ("a", recording.read_bytes())},
                headers={"accept": "application/json"},
            ).json()
        assert answer["durationS"] > 40
        assert answer["windows"]["count"] > 10
        assert answer["scan"]["findings"][0]["windows"][-1]["end_s"] == pytest.approx(answer["durationS"], abs=0.1)


def test_with_keys_the_first_client_needs_its_own(tmp_path: Path) -> None:
    own = Settings(data_dir=tmp_path / "data", keys_file=tmp_path / "keys.json", prior_synthetic=0.1)
    key, _ = add_key(tmp_path / "keys.json", "old-client")
    body = {"language": "English", "audioFormat": "mp3", "audioBase64": "SUQz"}
    with (
        listening(guarded_app(replace(own, rate_per_minute=2), ToldEngine(spoof()))) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", verify=False) as client,
    ):
        answers = [
            client.post("/api/voice-detection", json=body, headers={"x-api-key": shown})
            for shown in ("x", key, key, key)
        ]
    assert [answer.status_code for answer in answers] == [403, 200, 200, 429]
    assert answers[1].json()["priorSynthetic"] == 0.1
    assert answers[0].json() == {"status": "error", "message": "The API key is not valid."}
