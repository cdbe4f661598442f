"""Who gets in, how often, from which hosts and origins, and what every answer carries."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from spoofcheck.errors import UsageError
from spoofcheck.serve import access, ratelimit
from spoofcheck.serve.access import Access
from spoofcheck.serve.keys import add_key, revoke_key
from spoofcheck.serve.ratelimit import Quota, TokenBuckets
from spoofcheck.serve.security import PAGE_POLICY, refused
from spoofcheck.serve.settings import Settings
from tests.support.guardedapp import ToldEngine, guarded_app, human, listening

UNKNOWN_KEY = f"sck_{'0' * 12}_{'0' * 48}"
AUDIO = {"audio": ("a.wav", b"RIFF....WAVE")}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", keys_file=tmp_path / "keys.json")


class TestBuckets:
    def test_holds_a_minute_and_fills_steadily(self) -> None:
        now_s = 0.0
        buckets = TokenBuckets(lambda: now_s)
        assert [buckets.take("a", 3) for _ in range(4)] == [0, 0, 0, pytest.approx(20)]
        assert buckets.take("b", 3) == 0  # another caller's bucket
        now_s = 19.0
        assert buckets.take("a", 3) == pytest.approx(1)
        now_s = 20.0
        assert buckets.take("a", 3) == 0
        now_s = 10_000.0
        assert [buckets.take("a", 3) > 0 for _ in range(4)] == [False, False, False, True]  # no more than a minute's

    def test_forgets_who_was_not_heard_of_for_longest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ratelimit, "MOST_BUCKETS", 2)
        buckets = TokenBuckets(lambda: 0.0)
        for who in ("a", "b", "c"):
            assert buckets.take(who, 1) == 0
        assert buckets.take("c", 1) > 0
        assert buckets.take("a", 1) == 0


class TestQuota:
    def test_counts_recordings_and_bytes_of_a_day(self, tmp_path: Path) -> None:
        now = datetime(2026, 11, 21, 23, 0, tzinfo=UTC)
        quota = Quota(tmp_path / "q.sqlite", lambda: now)
        assert quota.take("a", 2, 10, 3, 100) == 0
        assert quota.take("a", 2, 10, 3, 100) == 3_600  # until midnight, and nothing was counted
        assert quota.take("a", 1, 91, 3, 100) == 3_600
        assert quota.take("a", 1, 90, 3, 100) == 0
        assert quota.take("b", 1, 1, 3, 100) == 0
        assert Quota(tmp_path / "q.sqlite", lambda: now).used("a") == (3, 100)  # after a restart
        now += timedelta(hours=1)
        assert quota.take("a", 3, 0, 3, 100) == 0
        now += timedelta(days=ratelimit.KEEP_DAYS)
        assert quota.take("b", 1, 1, None, None) == 0
        assert quota.used("b") == (1, 1)

    def test_a_time_zone_changes_no_day(self, tmp_path: Path) -> None:
        now = datetime(2026, 11, 22, 1, 0, tzinfo=UTC).astimezone()
        quota = Quota(tmp_path / "q.sqlite", lambda: now)
        assert quota.take("a", 1, 1, 1, None) == 0
        assert quota.take("a", 1, 1, 1, None) == 23 * 3_600


class TestBinding:
    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
    def test_other_machines_need_keys(self, settings: Settings, host: str) -> None:
        with pytest.raises(UsageError, match="spoofcheck serve keys add NAME"):
            Access(replace(settings, host=host))
        assert settings.keys_file is not None
        add_key(settings.keys_file, "a")
        assert not Access(replace(settings, host=host)).is_open()
        revoke_key(settings.keys_file, "a")
        with pytest.raises(UsageError):
            Access(replace(settings, host=host))

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
    def test_this_machine_does_not(self, settings: Settings, host: str) -> None:
        assert Access(replace(settings, host=host)).is_open()
        assert Access(replace(settings, host=host, keys_file=None)).is_open()

    def test_what_once_asked_for_keys_never_opens(self, settings: Settings) -> None:
        assert settings.keys_file is not None
        add_key(settings.keys_file, "a")
        gate = Access(settings)
        revoke_key(settings.keys_file, "a")
        assert not gate.is_open()
        settings.keys_file.unlink()
        assert not gate.is_open()


@pytest.fixture
def open_server(settings: Settings) -> Iterator[httpx.Client]:
    with (
        listening(guarded_app(settings, ToldEngine(human()))) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", verify=False) as client,
    ):
        yield client


class TestOpen:
    def test_needs_no_key_until_there_is_one(self, open_server: httpx.Client, settings: Settings) -> None:
        assert open_server.get("/who").json() == {"name": "local"}
        assert open_server.get("/who", headers={"x-api-key": "anything"}).json() == {"name": "local"}
        assert settings.keys_file is not None
        key, _ = add_key(settings.keys_file, "lab")
        assert open_server.get("/who").status_code == 401
        assert open_server.get("/who", headers={"x-api-key": key}).json() == {"name": "lab"}
        settings.keys_file.unlink()
        assert open_server.get("/who").status_code == 401

    @pytest.mark.parametrize(
        "headers",
        [
            {"origin": "http://evil.example"},
            {"origin": "null"},
            {"origin": "http://127.0.0.1:1"},
            {"origin": "file://"},
            {"origin": "http://[::1"},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
        ],
    )
    def test_pages_of_other_sites_change_nothing(self, open_server: httpx.Client, headers: dict[str, str]) -> None:
        answer = open_server.post("/api/predict", files=AUDIO, headers=headers)
        assert answer.status_code == 403
        assert answer.json()["status"] == "error"

    def test_our_page_and_programs_do(self, open_server: httpx.Client) -> None:
        own = {"origin": str(open_server.base_url).rstrip("/"), "sec-fetch-site": "same-origin"}
        for headers in ({}, own, {"sec-fetch-site": "none"}):
            assert open_server.post("/api/predict", files=AUDIO, headers=headers).status_code == 200

    @pytest.mark.parametrize(
        "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.", "x@localhost"]
    )
    def test_answers_to_no_other_name(self, open_server: httpx.Client, host: str) -> None:
        assert open_server.get("/who", headers={"host": host}).status_code == 421

    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9000", "127.0.0.1:1", "[::1]:8000"])
    def test_answers_to_its_own(self, open_server: httpx.Client, host: str) -> None:
        assert open_server.get("/who", headers={"host": host}).status_code == 200

    def test_allows_no_other_origin_to_read(self, open_server: httpx.Client) -> None:
        asked = {"origin": "http://evil.example", "access-control-request-method": "POST"}
        for answer in (open_server.options("/api/predict", headers=asked), open_server.get("/who", headers=asked)):
            assert not [name for name in answer.headers if name.startswith("access-control")]

    @pytest.mark.parametrize(
        ("path", "status"), [("/who", 200), ("/nothing", 404), ("/broken", 500), ("/api/predict", 405)]
    )
    def test_every_answer_has_the_headers(
        self, open_server: httpx.Client, path: str, status: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.CRITICAL, "spoofcheck.serve"):
            answer = open_server.get(path)
        assert answer.status_code == status
        assert answer.headers["content-security-policy"] == PAGE_POLICY
        assert "unsafe-inline" not in PAGE_POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert len(answer.headers["x-request-id"]) == 16
        assert "server" not in answer.headers
        assert "secret of the matter" not in answer.text


class TestKeyed:
    @pytest.fixture
    def server(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
        monkeypatch.setattr(access, "STRANGERS_PER_MINUTE", 4)
        settings = replace(settings, rate_per_minute=50, quota_bytes_per_day=30)
        assert settings.keys_file is not None
        self.key, _ = add_key(settings.keys_file, "lab")
        self.slow, _ = add_key(settings.keys_file, "slow", rate_per_minute=2, quota_per_day=1)
        self.engine = ToldEngine(human())
        self.settings = settings
        with (
            listening(guarded_app(settings, self.engine)) as port,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", verify=False) as client,
        ):
            yield client

    def test_takes_the_key_from_either_header(self, server: httpx.Client) -> None:
        assert server.get("/who", headers={"x-api-key": self.key}).json() == {"name": "lab"}
        assert server.get("/who", headers={"authorization": f"Bearer {self.key}"}).json() == {"name": "lab"}
        assert server.get("/who", headers={"authorization": f"Basic {self.key}"}).status_code == 401
        refusal = server.get("/who", headers={"x-api-key": UNKNOWN_KEY})
        assert refusal.status_code == 401
        assert refusal.headers["www-authenticate"].startswith("Bearer")

    def test_a_revoked_key_opens_nothing_from_then_on(self, server: httpx.Client) -> None:
        assert server.get("/who", headers={"x-api-key": self.key}).status_code == 200
        assert self.settings.keys_file is not None
        revoke_key(self.settings.keys_file, "lab")
        assert server.get("/who", headers={"x-api-key": self.key}).status_code == 401

    def test_strangers_are_limited_and_known_callers_are_not(self, server: httpx.Client) -> None:
        assert server.get("/who", headers={"x-api-key": self.key}).status_code == 200
        answers = [server.get("/who", headers={"x-api-key": UNKNOWN_KEY}) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert server.get("/who").status_code == 429
        assert server.get("/who", headers={"x-api-key": self.slow}).status_code == 429  # not checked yet
        assert server.get("/who", headers={"x-api-key": self.key}).status_code == 200

    def test_a_key_has_a_rate_of_its_own(self, server: httpx.Client) -> None:
        answers = [server.get("/who", headers={"x-api-key": self.slow}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 31
        assert server.get("/who", headers={"x-api-key": self.key}).status_code == 200

    def test_a_key_has_a_quota_of_recordings_and_all_have_one_of_bytes(self, server: httpx.Client) -> None:
        slow, lab = ({"x-api-key": key} for key in (self.slow, self.key))
        assert server.post("/api/predict", files=AUDIO, headers=slow).status_code == 200
        over = server.post("/api/predict", files=AUDIO, headers=slow)
        assert over.status_code == 429
        assert "midnight" in over.json()["message"]
        statuses = [server.post("/api/predict", files=AUDIO, headers=lab).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]  # 12 bytes each, 30 a day
        assert len(self.engine.seen) == 3

    def test_the_contracts_refuse_strangers_with_403(self, server: httpx.Client) -> None:
        body = {"language": "Tamil", "audioFormat": "mp3", "audioBase64": "AAAA"}
        for headers in ({}, {"x-api-key": UNKNOWN_KEY}):
            answer = server.post("/api/voice-detection", json=body, headers=headers)
            assert (answer.status_code, answer.json()["status"]) == (403, "error")

    def test_no_log_holds_a_key(self, server: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG):
            for key in (self.key, UNKNOWN_KEY, "sck_broken"):
                server.get("/who", headers={"x-api-key": key})
                server.get("/broken", headers={"authorization": f"Bearer {key}"})
        ours = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
        assert ours
        formatted = "\n".join(logging.Formatter().format(record) for record in ours)
        for key in (self.key, UNKNOWN_KEY):
            assert key not in formatted
            assert key.split("_")[2] not in formatted


class TestRefused:
    """The decision alone, for a server that others reach."""

    def test_any_name_leads_to_a_server_with_keys_unless_names_are_listed(self) -> None:
        assert refused("GET", {"host": "a.example"}, Settings(host="0.0.0.0")) is None
        named = Settings(host="0.0.0.0", allowed_hosts=("a.example",))
        assert refused("GET", {"host": "A.example:443"}, named) is None
        assert refused("GET", {"host": "b.example"}, named) is not None
        assert refused("GET", {"host": "127.0.0.1"}, named) is not None

    def test_a_proxy_may_speak_tls(self) -> None:
        settings = Settings(host="0.0.0.0")
        assert refused("POST", {"host": "a.example", "origin": "https://a.example"}, settings) is None
        assert refused("POST", {"host": "a.example", "origin": "https://a.example:8443"}, settings) is not None

    def test_listed_origins_may_post(self) -> None:
        settings = Settings(cors_origins=("https://lab.example",))
        assert refused("POST", {"host": "localhost", "origin": "https://lab.example"}, settings) is None
        assert refused("DELETE", {"host": "localhost", "origin": "https://lab.example.evil"}, settings) is not None


@pytest.mark.parametrize(
    "origin", ["*", "null", "lab.example", "https://lab.example/", "https://*.example", "https://LAB"]
)
def test_origins_are_named_one_by_one(settings: Settings, origin: str) -> None:
    with pytest.raises(UsageError, match="--cors-origin"):
        guarded_app(replace(settings, cors_origins=(origin,)), ToldEngine(human()))


def test_a_listed_origin_may_read_and_post(settings: Settings) -> None:
    lab = "https://lab.example:8443"
    with listening(guarded_app(replace(settings, cors_origins=(lab,)), ToldEngine(human()))) as port:
        url = f"http://127.0.0.1:{port}"
        asked = {"origin": lab, "access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
        allowed = httpx.options(f"{url}/api/predict", headers=asked, verify=False)
        assert allowed.headers["access-control-allow-origin"] == lab
        assert "access-control-allow-credentials" not in allowed.headers
        posted = httpx.post(f"{url}/api/predict", files=AUDIO, headers={"origin": lab}, verify=False)
        assert (posted.status_code, posted.headers["access-control-allow-origin"]) == (200, lab)
        other = httpx.post(f"{url}/api/predict", files=AUDIO, headers={"origin": "https://lab.example"}, verify=False)
        assert other.status_code == 403
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("prior", [0.0, 1.0, -1.0, 2.0])
def test_a_prior_lies_between_0_and_1(settings: Settings, prior: float) -> None:
    with pytest.raises(UsageError, match="prior"):
        guarded_app(replace(settings, prior_synthetic=prior), ToldEngine(human()))
