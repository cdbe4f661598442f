"""The OpenAPI document, and whether the server does what it says: schemathesis sends what fits, and what does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from tests.serve.conftest import Whole

EXAMPLES = 25
"""Of each operation and kind."""

OPERATIONS = (
    ("/api/predict", "post"),
    ("/api/voice-detection", "post"),
    ("/healthz", "get"),
    ("/metrics", "get"),
    ("/readyz", "get"),
    ("/v1/models", "get"),
    ("/v1/scans", "get"),
    ("/v1/scans", "post"),
    ("/v1/scans/{scan_id}", "delete"),
    ("/v1/scans/{scan_id}", "get"),
    ("/v1/scans/{scan_id}/events", "get"),
    ("/v1/scans/{scan_id}/report.html", "get"),
    ("/v1/scans/{scan_id}/status", "get"),
)


@pytest.fixture(scope="module")
def described(whole: Whole) -> Iterator[Any]:
    """The schema as the server gives it; what was sent is removed at the end."""
    yield schemathesis.openapi.from_url(f"{whole.process.url}/openapi.json")
    whole.forget_scans()
    assert not whole.leftovers()


def test_every_operation_is_tested(described: Any) -> None:
    ours = [operation.ok() for operation in described.get_all_operations()]
    found = {(operation.path, operation.method) for operation in ours if not operation.path.startswith("/page")}
    assert found - {("/", "get")} == set(OPERATIONS)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fits", "does not fit"])
@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=lambda value: value)
def test_does_what_its_description_says(
    described: Any, whole: Whole, path: str, method: str, mode: GenerationMode
) -> None:
    operation = described[path][method]
    if mode is GenerationMode.NEGATIVE and not (operation.path_parameters or operation.body or operation.query):
        return  # nothing about it can be wrong

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    def send(case: schemathesis.Case) -> None:
        # A schema cannot say what is a recording: text that fits it may be refused for what it holds. And who shows no
        # key gets 429 soon; that every operation asks for one is tested below.
        left_out = [positive_data_acceptance, ignored_auth]
        case.call_and_validate(headers={"x-api-key": whole.key}, excluded_checks=left_out, timeout=240)

    send()


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=lambda value: value)
def test_asks_for_a_key_where_it_says_so(described: Any, whole: Whole, path: str, method: str) -> None:
    says_so = bool(described[path][method].definition.raw.get("security"))
    assert says_so is not path.endswith("z")
    url = whole.process.url + path.replace("{scan_id}", "A" * 22)
    for headers in ({}, {"x-api-key": "sck_wrong"}):
        status = httpx.request(method, url, headers=headers, verify=False, trust_env=False).status_code
        # 429: other tests showed no key before
        assert status in (401, 403, 429) if says_so else status == 200
