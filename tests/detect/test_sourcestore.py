"""The store of enrolled sources: what it takes, what it refuses, and that it says when it is damaged."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoofcheck.detect.enrolment import leave_one_out, prototype_of, separability
from spoofcheck.detect.gallery import Gallery, Source, unit
from spoofcheck.detect.sourcestore import (
    SourceStore,
    StoredClip,
    StoredSource,
    StoreTracer,
    checked_name,
    checked_note,
    default_store,
    in_order,
    members_of,
    new_store,
    read_store,
    store_json,
    stored_clip,
    with_source,
    without_source,
)
from spoofcheck.errors import ModelError, UsageError

TRACER = StoreTracer(name="tiny", version="1", weights_sha256="ab" * 32)
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def clips(seed: int = 0, count: int = 5) -> list[StoredClip]:
    rng = np.random.default_rng(seed)
    vectors = np.eye(8)[seed % 8] + 0.1 * rng.normal(size=(count, 8))
    return [stored_clip(f"{i}.wav", f"{seed:02x}{i:02x}" * 16, 1 + i, row) for i, row in enumerate(vectors)]


def stored(name: str = "Narrator", seed: int = 0, revision: int = 1, note: str = "") -> StoredSource:
    ordered = in_order(clips(seed))
    members = members_of(ordered)
    source = Source(name, prototype_of(members), members, "enrolled", len(members))
    other = Source("other", unit(np.ones(8)), np.empty((0, 8)), "shipped", 0)
    return StoredSource(
        name=name,
        note=note,
        created_at=AT,
        revision=revision,
        clips=ordered,
        leave_one_out=leave_one_out(source, Gallery([other]), lambda found: bool(found.max() > 0.5)),
        separability=separability(source, Gallery([other])),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "sources.json"
    file.write_text(store_json(new_store(TRACER, [stored(), stored("Zoë 讲述者", 1, note="from the app")])))
    return file


def test_what_is_written_is_read_back(path: Path) -> None:
    store = read_store(path, TRACER)
    assert [source.name for source in store.sources] == ["Narrator", "Zoë 讲述者"]
    assert store_json(store) == path.read_text()
    assert path.read_bytes().isascii()
    (narrator, _) = store.enrolled()
    assert narrator.prototype == pytest.approx(stored().source().prototype, abs=0)
    assert (narrator.clips, narrator.members.shape, narrator.origin) == (5, (5, 8), "enrolled")


def test_the_order_of_clips_changes_nothing() -> None:
    assert in_order(reversed(clips())) == in_order(clips())
    one, two = stored(), stored().model_copy(update={"clips": in_order(clips()[::-1])})
    assert one.content_sha256 == two.content_sha256
    assert new_store(TRACER, [one]).sha256 == new_store(TRACER, [two]).sha256
    assert one.content_sha256 != stored(seed=1).content_sha256


def test_an_embedding_is_stored_at_unit_length() -> None:
    clip = stored_clip("a.wav", "0" * 64, 3, [3.0, 0.0, -4.0])
    assert clip.embedding == (0.6, 0.0, -0.8)
    assert "-0.0" not in str(stored_clip("a.wav", "0" * 64, 3, [1.0, -1e-12]).embedding)
    with pytest.raises(ValueError, match="direction"):
        stored_clip("a.wav", "0" * 64, 3, [0.0, 0.0])


def test_sources_are_found_added_replaced_and_removed() -> None:
    store = with_source(with_source(new_store(TRACER), stored("a", 0)), stored("b", 1))
    assert store.find("B") is store.sources[1]
    assert store.find("c") is None
    again = with_source(store, stored("a", 2, revision=2))
    assert [(source.name, source.revision) for source in again.sources] == [("a", 2), ("b", 1)]
    assert [source.name for source in without_source(again, "a").sources] == ["b"]
    with pytest.raises(UsageError, match=r"no source 'c' is enrolled \(enrolled: a, b\)"):
        without_source(again, "c")
    with pytest.raises(UsageError, match=r"\(enrolled: none\)"):
        without_source(new_store(TRACER), "c")


def _edit(document: dict[str, Any], *keys: str | int, value: object) -> None:
    inner: Any = document
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("sources", 0, "note"), "edited", "SHA-256 differs"),
        (("sources", 0, "revision"), 2, "SHA-256 differs"),
        (("sources", 0, "clips", 0, "windows"), 7, "SHA-256 differs"),
        (("tracer", "version"), "2", "SHA-256 differs"),
        (("sha256",), "0" * 64, "SHA-256 differs"),
        (("sources",), [], "SHA-256 differs"),
        (("format_version",), 2, "format_version"),
        (("sources", 0, "extra"), 1, "sources.0.extra"),
        (("sources", 0, "clips", 0, "embedding"), [1.0, 1.0], "unit length"),
        (("sources", 0, "clips", 0, "embedding"), [], "embedding"),
        (("sources", 0, "clips"), [], "clips"),
        (("sources", 0, "name"), "a\x1b[31m", "control characters"),
        (("sources", 0, "name"), "unknown", "open-set rule"),
        (("sources", 1, "note"), "a\nb", "line breaks"),
        (("tracer", "weights_sha256"), "short", "weights_sha256"),
    ],
)
def test_a_damaged_store_is_named(path: Path, keys: tuple[str | int, ...], value: object, message: str) -> None:
    document = json.loads(path.read_text())
    _edit(document, *keys, value=value)
    path.write_text(json.dumps(document))
    with pytest.raises(ModelError, match=r"sources\.json: damaged store of sources.*restore a copy") as error:
        read_store(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert "\x1b" not in str(error.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b"null", b'{"format_version": 1}'])
def test_what_is_no_store_is_named(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(ModelError, match="damaged store"):
        read_store(path)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_changed_byte_is_noticed_or_harmless(data: st.DataObject) -> None:
    text = store_json(new_store(TRACER, [stored()])).encode()
    at = data.draw(st.integers(0, len(text) - 1))
    damaged = text[:at] + bytes([data.draw(st.integers(0, 255))]) + text[at + 1 :]
    try:
        store = SourceStore.model_validate_json(damaged)
    except ValueError:
        return
    assert store == new_store(TRACER, [stored()])


def test_a_missing_or_unreadable_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such store of sources"):
        read_store(tmp_path / "none.json")
    with pytest.raises(ModelError, match="cannot be read"):
        read_store(tmp_path)


def test_another_tracers_store_is_refused(path: Path) -> None:
    other = StoreTracer(name="other", version="3", weights_sha256="cd" * 32)
    with pytest.raises(UsageError, match=r"made for the tracer tiny 1 \(weights abab.*not for other 3 .*--store"):
        read_store(path, other)
    renamed = TRACER.model_copy(update={"name": "renamed"})
    assert read_store(path, renamed) == read_store(path)


def test_two_sources_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two sources are called 'NARRATOR'"):
        new_store(TRACER, [stored(), stored("NARRATOR", 1)])
    with pytest.raises(ValueError, match="same recording occurs twice"):
        StoredSource.model_validate({**stored().model_dump(), "clips": (*clips(), clips()[0])})


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "1 to 100"),
        ("x" * 101, "1 to 100"),
        ("a\x1b]0;owned\x07", "control"),
        ("a\nb", "control"),
        ("abc\u202egnp.exe", "marks that do not show"),
        ("abc\u200f", "marks that do not show"),
        ("a\u200bb", "marks that do not show"),
        ("a\udc80", "control"),
        (" a", "blanks at its ends"),
        ("unknown", "open-set rule"),
        ("UNSEEN", "open-set rule"),
        ("Unknown-1", "open-set rule"),
        ("piper", "ships a source"),
        ("PIPER", "ships a source"),
        ("\uff50iper", "ships a source"),
    ],
)
def test_names_that_mislead_are_refused(name: str, problem: str) -> None:
    with pytest.raises(UsageError, match="cannot be used") as error:
        checked_name(name, ["Piper"])
    assert problem in str(error.value)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "C:\\nul", "שלום", "[red]x[/red]", "<script>", "=cmd()", "🙂", "a  b", "x" * 100]
)
def test_names_that_only_look_odd_are_taken(name: str) -> None:
    assert checked_name(name, ["Piper"]) == name


def test_a_name_is_composed() -> None:
    assert checked_name("Zoe\u0308", []) == "Zoë"
    with pytest.raises(UsageError, match="--note: it must not hold line breaks"):
        checked_note("a\nb")
    with pytest.raises(UsageError, match="at most 500"):
        checked_note("x" * 501)


def test_the_default_place_follows_the_users_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_store() == Path("/data/spoofcheck/sources.json")
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_DATA_HOME", ignored)
        assert default_store() == tmp_path / ".local/share/spoofcheck/sources.json"
