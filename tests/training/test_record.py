"""`training.json`: read back as it was written, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from spoofcheck.errors import ModelError
from spoofcheck.training.record import RECORD_FILE, read_record
from tests.support.records import record


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    written = record({"dev": {"exhibit": {"eer": 0.1234}}})
    (tmp_path / RECORD_FILE).write_text(written.model_dump_json(), encoding="utf-8")
    assert read_record(tmp_path) == written


def test_a_model_made_otherwise_has_none(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None
    assert read_record(tmp_path / "none") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"recipe": {}}', b"\xff\xfe"])
def test_a_damaged_record_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / RECORD_FILE).write_bytes(content)
    with pytest.raises(ModelError, match=r"training\.json: not a readable training record"):
        read_record(tmp_path)


def test_an_unknown_key_is_no_record(tmp_path: Path) -> None:
    text = record({}).model_dump_json()
    (tmp_path / RECORD_FILE).write_text(text[:-1] + ', "more": 1}', encoding="utf-8")
    with pytest.raises(ModelError, match="not a readable"):
        read_record(tmp_path)
    (tmp_path / RECORD_FILE).unlink()
    (tmp_path / RECORD_FILE).mkdir()
    with pytest.raises(ModelError, match="not a readable"):
        read_record(tmp_path)
