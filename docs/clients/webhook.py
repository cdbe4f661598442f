"""Receive the server's message that a scan is over, and believe it only if it is signed."""

import hashlib
import hmac
import json
import time
from collections.abc import Mapping

SECRET = b"the webhook_secret of the request"
MOST_AGE_S = 300


def checked(headers: Mapping[str, str], body: bytes) -> dict:
    """The status in a message of the server's; ValueError when it is not the server's, or old."""
    sent_at = headers["x-spoofcheck-timestamp"]
    due = hmac.new(SECRET, sent_at.encode() + b"." + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(f"v1={due}", headers["x-spoofcheck-signature"]):
        raise ValueError("not signed with our secret")
    if abs(time.time() - int(sent_at)) > MOST_AGE_S:
        raise ValueError("too old: it may be a message that somebody sends again")
    return json.loads(body)
