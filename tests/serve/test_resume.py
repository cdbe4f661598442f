"""The end of the server, by order and by force, while it examines; each with a real process."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from spoofcheck.errors import UsageError
from spoofcheck.serve.datafolder import DataFolder
from spoofcheck.serve.jobs import JobStore
from spoofcheck.serve.models import JobOptions, JobState
from spoofcheck.serve.settings import Settings
from tests.support.audio import human_speech, write_wav
from tests.support.models import tiny_bundle
from tests.support.server import is_alive, server, wait_for

LONG_S = 120
"""Seconds of audio that no machine examines before it is interrupted."""

WAIT_S = 60.0


@pytest.fixture(scope="module")
def long_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    speech = human_speech()
    repeated = np.resize(speech, LONG_S * 16_000)
    return write_wav(tmp_path_factory.mktemp("long") / "long.wav", repeated, 16_000)


def test_a_killed_server_goes_on_where_it_was(tiny_model: Path, tmp_path: Path, long_recording: Path) -> None:
    data_dir = tmp_path / "data"
    with server(data_dir, tiny_model) as first, first.client() as client:
        sent = client.post("/v1/scans", files=[("files", ("long.wav", long_recording.read_bytes()))])
        assert sent.status_code == 202, sent.text
        job_id = sent.json()["id"]
        wait_for(client, job_id, "running")
        with pytest.raises(UsageError, match="another server"), DataFolder(Settings(data_dir=data_dir)):
            pass
        started = first.descendants()
        assert started
        first.kill()
    end_s = time.monotonic() + WAIT_S
    while any(is_alive(pid) for pid in started):
        assert time.monotonic() < end_s, "a model process outlived its server"
        time.sleep(0.05)
    assert not [path for path in data_dir.rglob("*") if path.stat().st_mode & 0o077], "others may look at it"
    (data_dir / "incoming" / "half-an-upload").touch()
    (data_dir / "jobs" / "nobodys").mkdir()
    store = JobStore(data_dir / "jobs.sqlite")
    without_model = store.create("local", JobOptions(model="gone"), []).id
    store.close()

    other_model = tiny_bundle(tmp_path / "other", seed=1)
    with (
        server(data_dir, tiny_model, "--model", str(other_model), "--grace", "0") as second,
        second.client() as client,
    ):
        assert [path.name for path in (data_dir / "jobs").iterdir()] == [job_id]
        assert not list((data_dir / "incoming").iterdir())
        status = wait_for(client, job_id, "done")
        assert status["attempts"] == 2
        assert "without the model gone" in wait_for(client, without_model, "failed")["error"]
        result = client.get(status["result_url"]).json()
        assert [(finding["path"], finding["duration_s"]) for finding in result["findings"]] == [("long.wav", LONG_S)]
        assert [path.name for path in (data_dir / "jobs" / job_id).iterdir()] == ["result.json"]

        assert result["model"]["name"] == "tiny"

        short = write_wav(tmp_path / "short.wav", human_speech()[: 4 * 16_000], 16_000).read_bytes()
        chosen = client.post("/v1/scans", files=[("files", ("short.wav", short))], data={"model": "other"}).json()
        status = wait_for(client, chosen["id"], "done")
        assert client.get(status["result_url"]).json()["model"]["name"] == "other"

        again = client.post("/v1/scans", files=[("files", ("long.wav", long_recording.read_bytes()))]).json()["id"]
        wait_for(client, again, "running")
        started = second.descendants()
        assert second.stop() == 0
    assert any("goes on after the next start" in line for line in second.log)
    assert not any(is_alive(pid) for pid in started)
    store = JobStore(data_dir / "jobs.sqlite")
    kept = store.get(again)
    store.close()
    assert kept is not None
    # Told to stop, the server gave the job back: that was no failed attempt.
    assert (kept.state, kept.attempts) == (JobState.QUEUED, 0)
    assert kept.files[0].path.stat().st_size == long_recording.stat().st_size
