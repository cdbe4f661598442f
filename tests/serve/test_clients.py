"""What docs/serve.md tells receivers of webhooks to do accepts what the server sends, and nothing else."""

from __future__ import annotations

import runpy
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from spoofcheck.serve.webhooks import signature

CLIENT = runpy.run_path(str(Path(__file__).resolve().parents[2] / "docs" / "clients" / "webhook.py"))
CHECKED: Callable[[Mapping[str, str], bytes], dict[str, Any]] = CLIENT["checked"]
SECRET = CLIENT["SECRET"].decode()
BODY = b'{"id": "mR8oYw1tQ2m0U100lD4s8g", "state": "done"}'


def headers(sent_at: float, body: bytes = BODY, secret: str = SECRET) -> dict[str, str]:
    stamp = str(int(sent_at))
    return {"x-spoofcheck-timestamp": stamp, "x-spoofcheck-signature": signature(secret, stamp, body)}


def test_a_signed_message_is_believed() -> None:
    assert CHECKED(headers(time.time()), BODY)["state"] == "done"


@pytest.mark.parametrize(
    ("shown", "body", "why"),
    [
        (headers(time.time()), BODY.replace(b"done", b"failed"), "not signed"),
        (headers(time.time(), secret="the secret of somebody else"), BODY, "not signed"),
        (headers(time.time() - 3_600), BODY, "too old"),
    ],
    ids=["changed", "another secret", "sent again"],
)
def test_another_is_not(shown: dict[str, str], body: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        CHECKED(shown, body)
