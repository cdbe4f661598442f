"""Our own API over real HTTP, with a tiny model."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from spoofcheck.cli import run
from spoofcheck.document import parse_document
from spoofcheck.schema import ScanDocument, Verdict
from spoofcheck.serve.contracts import Prediction, VoiceDetection
from spoofcheck.serve.examples import MODEL_LIST, PREDICTION, SCAN_DOCUMENT, VOICE_DETECTION
from spoofcheck.serve.jobs import JobStore
from spoofcheck.serve.models import JobOptions, Upload
from spoofcheck.serve.v1 import ModelList
from tests.serve.conftest import Whole
from tests.support.audio import human_speech, write_wav
from tests.support.server import wait_for

HOSTILE = "../<img src=x onerror=alert(1)>\u202e.wav"


@pytest.fixture(scope="module")
def client(whole: Whole) -> Iterator[httpx.Client]:
    with whole.client() as client:
        yield client


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two that can be scored, one in stereo with different channels, and one that is no recording."""
    folder = tmp_path_factory.mktemp("recordings")
    speech = human_speech()
    legs = speech[: 2 * (len(speech) // 2)].reshape(2, -1).T
    text = folder / "notes.wav"
    text.write_text("no recording")
    return [write_wav(folder / "speech.wav", speech, 16_000), write_wav(folder / "legs.wav", legs, 16_000), text]


def sent(client: httpx.Client, paths: list[Path], **fields: str) -> dict[str, Any]:
    answer = client.post("/v1/scans", files=[("files", (path.name, path.read_bytes())) for path in paths], data=fields)
    assert answer.status_code == 202, answer.text
    status: dict[str, Any] = answer.json()
    assert answer.headers["location"] == status["result_url"] == f"/v1/scans/{status['id']}"
    return status


@pytest.fixture(scope="module")
def done(client: httpx.Client, recordings: list[Path]) -> dict[str, Any]:
    """A scan of all recordings that is over."""
    return wait_for(client, sent(client, recordings)["id"], "done")


def test_findings_are_those_of_the_command_line(
    client: httpx.Client, done: dict[str, Any], recordings: list[Path], tiny_model: Path, tmp_path: Path
) -> None:
    result = tmp_path / "scan.json"
    options = ["--model", str(tiny_model), "--no-controls", "--acoustics", "--pictures", "--quiet"]
    run(["scan", *map(str, recordings), *options, "--json", str(result)])
    expected = ScanDocument.model_validate_json(result.read_bytes())
    answer = client.get(done["result_url"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    found = ScanDocument.model_validate_json(answer.content)
    assert [finding.path for finding in found.findings] == ["speech.wav", "legs.wav", "legs.wav", "notes.wav"]
    for ours, theirs in zip(found.findings, expected.findings, strict=True):
        assert _comparable(ours) == _comparable(theirs)
        assert Path(theirs.path).name == ours.path
    assert (found.model, found.options, found.tracer) == (expected.model, expected.options, expected.tracer)


def _comparable(finding: Any) -> Any:
    """Without what is of the file's place and time."""
    fields = finding.model_dump(exclude={"path", "custody"})
    if fields["media"] is not None:
        del fields["media"]["modified_at"]
    return fields


def test_status_says_where_a_scan_is(client: httpx.Client, done: dict[str, Any], recordings: list[Path]) -> None:
    assert client.get(done["status_url"]).json() == done
    assert (done["state"], done["progress"], done["attempts"], done["error"]) == ("done", 1.0, 1, None)
    assert [(file["name"], file["size_bytes"], file["done"]) for file in done["files"]] == [
        (path.name, path.stat().st_size, True) for path in recordings
    ]
    listed = client.get("/v1/scans").json()["scans"]
    assert done in listed
    assert listed == sorted(listed, key=lambda scan: scan["created_at"], reverse=True)


def test_uploads_go_when_a_scan_is_done(whole: Whole, done: dict[str, Any]) -> None:
    assert [path.name for path in (whole.settings.jobs_dir / done["id"]).iterdir()] == ["result.json"]


def test_the_report_is_served_apart_from_the_page(client: httpx.Client, done: dict[str, Any]) -> None:
    answer = client.get(done["report_url"])
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"].startswith("sandbox")
    assert "speech.wav" in answer.text


def test_base64_and_options(client: httpx.Client, recordings: list[Path]) -> None:
    files = [{"name": HOSTILE, "base64": base64.b64encode(recordings[1].read_bytes()).decode()}]
    wanted = {"files": files, "channels": "mix", "pictures": False, "acoustics": False, "excerpts": True}
    answer = client.post("/v1/scans", json=wanted)
    assert answer.status_code == 202, answer.text
    status = wait_for(client, answer.json()["id"], "done")
    result = client.get(status["result_url"])
    assert HOSTILE.encode() not in result.content
    document = ScanDocument.model_validate_json(result.content)
    (finding,) = document.findings
    assert document.options.channels == "mix"
    assert (finding.channel, finding.pictures, finding.acoustics) == (None, None, None)
    assert finding.excerpts
    assert "/" not in finding.path
    assert "\u202e" not in finding.path
    assert "<img" not in client.get(status["report_url"]).text


def test_a_scan_can_be_deleted_while_it_runs(
    client: httpx.Client, whole: Whole, recordings: list[Path], tmp_path: Path
) -> None:
    long = write_wav(tmp_path / "long.wav", np.resize(human_speech(), 16_000 * 300), 16_000)
    status = sent(client, [long])
    seen: list[str] = []
    begun = threading.Event()

    def follow() -> None:
        with whole.client() as other, other.stream("GET", status["events_url"]) as answer:
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    seen.append(json.loads(line.removeprefix("data:"))["state"])
                    if seen[-1] == "running":
                        begun.set()

    follower = threading.Thread(target=follow)
    follower.start()
    assert begun.wait(120)
    assert client.get(status["result_url"]).status_code == 202
    assert client.get(status["report_url"]).status_code == 409
    assert client.delete(status["result_url"]).status_code == 204
    follower.join(120)
    assert seen[-1] == "cancelled"
    assert not (whole.settings.jobs_dir / status["id"]).exists()
    for path in (status["result_url"], status["status_url"], status["report_url"], status["events_url"]):
        assert client.get(path).status_code == 404
    assert client.delete(status["result_url"]).status_code == 404


def test_a_scan_is_its_owners(client: httpx.Client, whole: Whole, tmp_path: Path) -> None:
    store = JobStore(whole.settings.data_dir / "jobs.sqlite")
    upload = Upload(path=tmp_path / "x", display_name="x", size_bytes=1, sha256="0" * 64)
    other = store.create("somebody else", JobOptions(), [upload])
    store.cancel(other.id)
    store.close()
    path = f"/v1/scans/{other.id}"
    for answer in (client.get(path), client.get(f"{path}/status"), client.get(f"{path}/events"), client.delete(path)):
        assert answer.status_code == 404
        assert answer.json() == {"status": "error", "message": "There is no such scan."}
    assert other.id not in client.get("/v1/scans").text


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"channels": "both"}, 422, "channels"),
        ({"model": "gpt"}, 422, "tiny"),
        ({"surprise": "1"}, 422, "surprise"),
        ({"webhook": "https://hooks.example.org/", "webhook_secret": "x" * 16}, 403, "listed"),
        ({"webhook": "file:///etc/passwd"}, 400, "URL"),
    ],
)
def test_options_that_cannot_be_honoured(
    client: httpx.Client, whole: Whole, recordings: list[Path], fields: dict[str, str], status: int, words: str
) -> None:
    before = whole.leftovers()
    answer = client.post("/v1/scans", files=[("files", ("x.wav", recordings[0].read_bytes()))], data=fields)
    assert answer.status_code == status
    assert words in answer.json()["message"]
    assert whole.leftovers() == before


def test_bodies_that_hold_no_recording(client: httpx.Client) -> None:
    assert client.post("/v1/scans", content=b"x", headers={"content-type": "text/plain"}).status_code == 415
    assert client.post("/v1/scans", json={"files": []}).status_code == 422
    assert client.post("/v1/scans", json={"files": [{"base64": "!"}]}).status_code == 400
    no_file = {"content-type": "multipart/form-data; boundary=x"}
    part = b'--x\r\ncontent-disposition: form-data; name="channels"\r\n\r\nmix\r\n--x--\r\n'
    assert client.post("/v1/scans", content=part, headers=no_file).status_code == 400
    assert client.get("/v1/scans/not-an-id").status_code == 422


def test_models(client: httpx.Client, done: dict[str, Any]) -> None:
    (model,) = client.get("/v1/models").json()["models"]
    assert (model["name"], model["default"]) == ("tiny", True)
    assert model["info"] == client.get(done["result_url"]).json()["model"]


def test_what_an_operator_watches(client: httpx.Client, done: dict[str, Any]) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok"}
    client.get("/strange/place")
    text = client.get("/metrics").text
    for line in (
        'spoofcheck_http_requests_total{method="POST",route="/v1/scans",status="202"}',
        'spoofcheck_http_requests_total{method="GET",route="none",status="404"}',
        'spoofcheck_http_request_seconds_count{method="POST",route="/v1/scans"}',
        'spoofcheck_findings_total{verdict="skipped"}',
        'spoofcheck_jobs_total{state="done"}',
        "spoofcheck_windows_scored_total",
        "spoofcheck_audio_seconds_total",
        "spoofcheck_queue_files 0.0",
        "spoofcheck_running_files 0.0",
        "spoofcheck_model_processes 1.0",
    ):
        assert f"\n{line}" in text
    assert done["id"] not in text
    assert "strange" not in text


def test_every_operation_is_described_with_its_errors(client: httpx.Client) -> None:
    described = client.get("/openapi.json").json()
    body = described["paths"]["/v1/scans"]["post"]["requestBody"]["content"]
    assert set(body) == {"multipart/form-data", "application/json"}
    assert set(body["application/json"]["schema"]["properties"]) > set(JobOptions.model_fields)
    assert "$ref" not in json.dumps(body)
    for path, operations in described["paths"].items():
        for operation in operations.values():
            statuses = {int(status) for status in operation["responses"]}
            assert any(status < 300 for status in statuses), path
            if path.startswith("/v1/"):
                assert statuses >= {401, 421, 422, 429, 500}, path
                assert all(
                    "example" in answer["content"]["application/json"]
                    for status, answer in operation["responses"].items()
                    if int(status) >= 400
                ), path
            for status, answer in operation["responses"].items():
                for kind, content in answer.get("content", {}).items():
                    assert path == "/" or path.startswith("/page") or has_example(content, described), (
                        path,
                        status,
                        kind,
                    )


def has_example(content: dict[str, Any], described: dict[str, Any]) -> bool:
    schema = content.get("schema", {})
    model = described["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], {})
    if model.get("properties", {}).keys() == {"status"}:  # its one field says what it is
        return True
    return "example" in content or "examples" in model


def test_examples_are_what_they_are_examples_of() -> None:
    assert parse_document(json.dumps(SCAN_DOCUMENT).encode()).findings[0].verdict is Verdict.SPOOF
    assert ModelList.model_validate(MODEL_LIST).models[0].default
    assert VoiceDetection.model_validate(VOICE_DETECTION).model_dump(by_alias=True).keys() == VOICE_DETECTION.keys()
    assert Prediction.model_validate(PREDICTION).model_dump(by_alias=True).keys() == PREDICTION.keys()
