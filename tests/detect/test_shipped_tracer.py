"""The shipped tracer on clips of engines: families that it knows, one engine that it never met, and its enrolment.

From the outside: `scan` and `sources enroll` with the shipped models. The clips and their licences are in
tests/assets/engines; copies by two vocoders are made here from the bundled human speech.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from spoofcheck.cli import run
from spoofcheck.detect.channeltest import LEAST_KEPT
from spoofcheck.nets.config import UNKNOWN_SOURCE, TracerConfig, read_tracer_config
from spoofcheck.nets.index import find_model
from tests.support.engineclips import COPIES, FAMILIES, NEVER_TRAINED, engine_clips, vocoder_copies

TRACER = "compact-tracer"
ENROLLED = "Tube model"
ENROLLED_CLIPS = (1, 2, 3, 5, 6)
"""Numbers of the clips that are enrolled, of both voices; the others (4, 7, 8) are to be recognised."""

Trace = dict[str, Any]
"""A finding's `trace` of the JSON document, with its `sources` beside it."""


def scanned(out: Path, clips: Sequence[Path], *options: str | Path) -> dict[str, Trace]:
    """`scan --trace-all` of the clips with the shipped models: each clip's trace, by its file's name."""
    arguments = ["scan", "--no-store", "--trace-all", "--device", "cpu", "--quiet", "--json", out, *options, *clips]
    assert run([str(argument) for argument in arguments]) in (0, 1)
    found = {}
    for finding in json.loads(out.read_text(encoding="utf-8"))["findings"]:
        assert finding["trace"] is not None, finding["path"]
        found[Path(finding["path"]).name] = finding["trace"] | {"sources": finding["sources"]}
    return found


def alike(trace: Trace) -> set[str]:
    """The sources that a decision stands for."""
    return {trace["decision"], *trace["group"]}


@pytest.fixture(scope="module")
def config() -> TracerConfig:
    return read_tracer_config(find_model(TRACER))


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Clips by the family that made them: three engines, two vocoders."""
    folder = tmp_path_factory.mktemp("copies")
    clips = {family: engine_clips(engine) for engine, family in FAMILIES.items()}
    return clips | {family: vocoder_copies(folder, family) for family in COPIES}


@pytest.fixture(scope="module")
def never_trained() -> list[Path]:
    return engine_clips(NEVER_TRAINED)


@pytest.fixture(scope="module")
def clips(known: dict[str, list[Path]], never_trained: list[Path]) -> list[Path]:
    return [*(clip for made in known.values() for clip in made), *never_trained]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, clips: list[Path]) -> dict[str, Trace]:
    """What the shipped models say of all clips, with nothing enrolled."""
    return scanned(tmp_path_factory.mktemp("first") / "scan.json", clips, "--no-sources")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, never_trained: list[Path]) -> Path:
    """A store with the engine that was never trained on, enrolled from five of its clips."""
    path = tmp_path_factory.mktemp("store") / "sources.json"
    chosen = [str(never_trained[number - 1]) for number in ENROLLED_CLIPS]
    command = ["sources", "enroll", ENROLLED, *chosen, "--store", str(path), "--device", "cpu", "--quiet"]
    assert run(command) == 0
    return path


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory, clips: list[Path], store: Path) -> dict[str, Trace]:
    """What they say once the engine is enrolled."""
    return scanned(tmp_path_factory.mktemp("second") / "scan.json", clips, "--sources", store)


def test_the_families_of_the_clips_are_classes_and_the_engine_is_in_none(config: TracerConfig) -> None:
    assert {*FAMILIES.values(), *COPIES} <= set(config.classes)
    assert config.class_of("tts:gnuspeech (articulatory)") is None


@pytest.mark.parametrize("family", FAMILIES.values())
def test_an_engine_of_a_known_family_is_given_to_it(
    family: str, known: dict[str, list[Path]], first: dict[str, Trace]
) -> None:
    decisions = {clip.name: first[clip.name]["decision"] for clip in known[family]}
    assert all(family in alike(first[name]) for name in decisions), decisions


@pytest.mark.parametrize("family", COPIES)
def test_a_copy_by_a_known_vocoder_is_given_to_it_or_to_nobody(
    family: str, known: dict[str, list[Path]], first: dict[str, Trace]
) -> None:
    traces = [first[clip.name] for clip in known[family]]
    assert all(trace["decision"] == UNKNOWN_SOURCE or family in alike(trace) for trace in traces), traces
    assert any(family in alike(trace) for trace in traces), "one of the two, whose settings differ"
    assert all(family == trace["sources"][0]["name"] for trace in traces), "it is the closest in any case"


def test_an_engine_that_was_never_trained_on_is_unknown(never_trained: list[Path], first: dict[str, Trace]) -> None:
    decisions = {clip.name: first[clip.name]["decision"] for clip in never_trained}
    assert set(decisions.values()) == {UNKNOWN_SOURCE}, decisions
    assert {first[clip.name]["unknown_group"] for clip in never_trained} == {"Unknown-1"}, "alike, in both voices"


def test_once_enrolled_its_other_clips_are_recognised(never_trained: list[Path], second: dict[str, Trace]) -> None:
    others = [clip for number, clip in enumerate(never_trained, 1) if number not in ENROLLED_CLIPS]
    assert len(others) == 3
    for clip in others:
        trace = second[clip.name]
        assert trace["decision"] == ENROLLED, (clip.name, trace["sources"])
        assert (trace["sources"][0]["name"], trace["sources"][0]["origin"]) == (ENROLLED, "enrolled")


def test_enrolling_one_source_moves_no_other(
    known: dict[str, list[Path]], first: dict[str, Trace], second: dict[str, Trace]
) -> None:
    for clip in (clip for made in known.values() for clip in made):
        before, after = first[clip.name], second[clip.name]
        assert after["decision"] == before["decision"]
        assert after["enrolled"] == before["enrolled"] + 1
        assert after["embedding"] == before["embedding"]


def test_a_named_source_is_tested_for_its_channel_and_an_unknown_one_is_not(first: dict[str, Trace]) -> None:
    for name, trace in first.items():
        if trace["decision"] == UNKNOWN_SOURCE:
            assert trace["channel_test"] is None, name
            continue
        test, source = trace["channel_test"], trace["sources"][0]
        is_lost = test["codec_closest"] not in alike(trace)
        is_weaker = test["codec_similarity"] < LEAST_KEPT * source["similarity"]
        assert ("codec" in test["failed"]) == (is_lost or is_weaker), name
        assert ("residue" in test["failed"]) == (test["residue_decision"] in alike(trace)), name
        assert (source["llr"] is None) == bool(test["failed"]), name


@pytest.mark.parametrize("family", FAMILIES.values())
def test_what_is_known_of_an_engine_rests_on_its_speech(
    family: str, known: dict[str, list[Path]], first: dict[str, Trace]
) -> None:
    assert [first[clip.name]["channel_test"]["failed"] for clip in known[family]] == [[], []]


def test_order_batches_and_workers_change_nothing(clips: list[Path], first: dict[str, Trace], tmp_path: Path) -> None:
    some = clips[::3]
    options = ("--no-sources", "--batch-size", "3", "--workers", "1")
    again = scanned(tmp_path / "again.json", some[::-1], *options)
    assert len(again) == len(some)
    for name, trace in again.items():
        expected = {**first[name], "unknown_group": None}
        assert {**trace, "unknown_group": None} == expected, name
