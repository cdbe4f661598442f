"""What all page tests are marked with: skipped without a Chromium, but not in CI."""

from __future__ import annotations

import os

import pytest

from tests.page.browser import find_chromium

PAGE = [
    pytest.mark.page,
    pytest.mark.skipif(
        find_chromium() is None and os.environ.get("CI") != "true",
        reason="no chromium on this machine",
    ),
]
