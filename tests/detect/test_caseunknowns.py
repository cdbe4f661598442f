"""The file of a case's unknowns: what is kept, and that damage is noticed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoofcheck.detect.caseunknowns import (
    CaseExhibit,
    CaseUnknowns,
    case_json,
    group_name,
    group_number,
    new_case,
    read_case,
)
from spoofcheck.detect.sourcestore import StoreTracer
from spoofcheck.errors import ModelError, UsageError

TRACER = StoreTracer(name="tiny", version="1", weights_sha256="ab" * 32)
EXHIBITS = [
    CaseExhibit(sha256="02" * 32, channel=0, embedding=(0.6, 0.8), group="Unknown-2"),
    CaseExhibit(sha256="02" * 32, channel=None, embedding=(1.0, 0.0), group=None),
    CaseExhibit(sha256="01" * 32, channel=1, embedding=(0.0, -1.0), group="Unknown-2"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "case.json"
    file.write_text(case_json(new_case(TRACER, EXHIBITS, 3)))
    return file


def test_what_is_written_is_read_back(path: Path) -> None:
    case = read_case(path, TRACER)
    assert case_json(case) == path.read_text()
    assert [(each.sha256[:2], each.channel) for each in case.exhibits] == [("01", 1), ("02", None), ("02", 0)]
    assert new_case(TRACER, EXHIBITS[::-1], 3) == case
    assert path.read_bytes().isascii()


def test_a_case_begins_empty(tmp_path: Path) -> None:
    case = read_case(tmp_path / "none.json", TRACER)
    assert (case.tracer, case.next_number, case.exhibits) == (TRACER, 1, ())
    assert not (tmp_path / "none.json").exists()


def _edit(document: dict[str, Any], *keys: str | int, value: object) -> None:
    inner: Any = document
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("next_number",), 4, "SHA-256 differs"),
        (("exhibits", 0, "group"), "Unknown-1", "SHA-256 differs"),
        (("exhibits", 0, "channel"), 0, "SHA-256 differs"),
        (("exhibits",), [], "SHA-256 differs"),
        (("sha256",), "0" * 64, "SHA-256 differs"),
        (("next_number",), 0, "key 'next_number'"),
        (("format_version",), 2, "key 'format_version'"),
        (("exhibits", 0, "path"), "a.wav", "key 'exhibits.0.path'"),
        (("exhibits", 0, "channel"), -1, "key 'exhibits.0.channel'"),
        (("exhibits", 1, "embedding"), [1.0, 1.0], "unit length"),
        (("exhibits", 0, "group"), "\x1b[31mUnknown-1", "a group is called"),
        (("exhibits", 0, "group"), "Unknown-0", "a group is called"),
        (("tracer", "weights_sha256"), "short", "key 'tracer.weights_sha256'"),
    ],
)
def test_damage_is_named(path: Path, keys: tuple[str | int, ...], value: object, message: str) -> None:
    document = json.loads(path.read_text())
    _edit(document, *keys, value=value)
    path.write_text(json.dumps(document))
    with pytest.raises(ModelError, match=r"case\.json: damaged file of a case's unknowns.*restore a copy") as error:
        read_case(path, TRACER)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert "\x1b" not in str(error.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b"null", b'{"format_version": 1}'])
def test_what_is_no_case_is_named(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(ModelError, match="damaged file of a case's unknowns"):
        read_case(path, TRACER)


def test_a_case_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        read_case(tmp_path, TRACER)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_changed_byte_is_noticed_or_harmless(data: st.DataObject) -> None:
    text = case_json(new_case(TRACER, EXHIBITS, 3)).encode()
    at = data.draw(st.integers(0, len(text) - 1))
    damaged = text[:at] + bytes([data.draw(st.integers(0, 255))]) + text[at + 1 :]
    try:
        case = CaseUnknowns.model_validate_json(damaged)
    except ValueError:
        return
    assert case == new_case(TRACER, EXHIBITS, 3)


def test_another_tracers_case_is_refused(path: Path) -> None:
    other = StoreTracer(name="other", version="3", weights_sha256="cd" * 32)
    with pytest.raises(UsageError, match=r"made for the tracer tiny 1 \(weights abab.*not for other 3 .*--unknowns"):
        read_case(path, other)


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValueError, match="'next_number': 2, but there is a group 'Unknown-2'"):
        new_case(TRACER, EXHIBITS, 2)
    with pytest.raises(ValueError, match="occurs twice"):
        new_case(TRACER, [EXHIBITS[0], EXHIBITS[0]], 3)
    with pytest.raises(ValueError, match="differ in size"):
        new_case(TRACER, [*EXHIBITS, EXHIBITS[0].model_copy(update={"channel": 7, "embedding": (1.0,)})], 3)


def test_names_and_numbers() -> None:
    assert group_number(group_name(17)) == 17
    for wrong in ("Unknown-", "Unknown-01", "unknown-1", "Unknown-1\n", "Unknown-\u0661"):
        with pytest.raises(ValueError, match="a group is called"):
            group_number(wrong)
