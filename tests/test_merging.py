"""What may be joined, what is refused and in which words, and what a joined document says; no audio, no model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from spoofcheck import __version__
from spoofcheck.errors import UsageError
from spoofcheck.merging import TOLERANCE, Part, merge
from spoofcheck.render import Format, render
from spoofcheck.render.console import summary
from spoofcheck.schema import EngineInfo, Finding, ScanDocument, Verdict
from spoofcheck.sharding import Shard, inputs_sha256, parse_shard
from tests.support import casework, documents, evidence
from tests.support.traces import source_store

INPUTS = tuple(f"/case/{name}.wav" for name in ("a", "b", "c", "d", "e"))
COMMAND = ("spoofcheck", "merge", "1.json", "2.json")


def of_input(path: str) -> list[Finding]:
    """One finding; of every third input two, one per channel."""
    channels = (0, 1) if path.endswith(("b.wav", "e.wav")) else (None,)
    return [documents.finding(path, Verdict.BONAFIDE, -3.0, [-3.0, -2.9], channel=channel) for channel in channels]


def document(findings: Sequence[Finding], **changes: Any) -> ScanDocument:
    made = documents.document(
        findings, **{name: changes.pop(name) for name in ("enrolled", "complete") & changes.keys()}
    )
    tool = made.tool.model_copy(update={"version": __version__, **changes.pop("tool", {})})
    return made.model_copy(update={"tool": tool, **changes})


def shard(
    index: int, count: int = 2, paths: Sequence[str] = INPUTS, reached: int | None = None, **changes: Any
) -> Part:
    """A shard's result; `reached` inputs of it were examined before it was interrupted."""
    own = Shard(index, count).of(paths)[:reached]
    found = [of_input(path) for path in own]
    info = Shard(index, count).info(paths, [len(each) for each in found], changes.pop("evidence", ()))
    complete = changes.pop("complete", reached is None)
    made = document([finding for each in found for finding in each], complete=complete, **changes)
    return part(f"{index}.json", made.model_copy(update={"shard": info}))


def part(name: str, made: ScanDocument) -> Part:
    checked = ScanDocument.model_validate(made.model_dump())
    return Part(f"folder/{name}", documents.sha256(checked.model_dump_json()), checked)


def refusal(*parts: Part, allow_gaps: bool = False) -> str:
    with pytest.raises(UsageError) as refused:
        merge(parts, COMMAND, allow_gaps=allow_gaps)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7])
def test_shards_take_every_input_once_and_joined_come_in_order(count: int) -> None:
    taken = [path for index in range(1, count + 1) for path in Shard(index, count).of(INPUTS)]
    assert sorted(taken) == list(INPUTS)
    sizes = [len(Shard(index, count).of(INPUTS)) for index in range(1, count + 1)]
    assert max(sizes) - min(sizes) <= 1
    joined = merge([shard(index, count) for index in range(count, 0, -1)], COMMAND)
    assert joined.findings == tuple(finding for path in INPUTS for finding in of_input(path))
    assert joined.merged is not None
    assert [each.shard for each in joined.merged.parts] == list(range(1, count + 1))
    assert (joined.run.complete, joined.shard, joined.tool.command_line) == (True, None, COMMAND)


def test_a_shard_is_read_as_it_is_written() -> None:
    assert parse_shard("3/64") == Shard(3, 64)
    assert parse_shard("08/64") == Shard(8, 64)
    made = shard(2).document
    assert made.shard is not None
    assert (made.shard.input_numbers, made.shard.own_inputs) == ((1, 1, 3), 2)
    assert made.shard.inputs_sha256 == inputs_sha256(INPUTS)
    assert inputs_sha256(["ab", "c"]) != inputs_sha256(["a", "bc"])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input_numbers", (1, 1)),
        ("input_numbers", (1, 1, 2)),
        ("input_numbers", (3, 1, 1)),
        ("input_numbers", (1, 1, 5)),
        ("input_numbers", (1, 1, 1)),
        ("index", 1),
        ("index", 3),
        ("count", 10**18),
        ("inputs", 10**18),
    ],
)
def test_a_shard_whose_numbers_do_not_fit_is_no_valid_document(field: str, value: Any) -> None:
    data = json.loads(shard(2).document.model_dump_json())
    data["shard"][field] = value
    with pytest.raises(ValidationError):
        ScanDocument.model_validate(data)


def test_missing_repeated_and_interrupted_shards_are_refused() -> None:
    assert "no result is given of shard 2 of 2; give all" in refusal(shard(1))
    assert "no result is given of shard 2, 3 of 4" in refusal(shard(1, 4), shard(4, 4))
    assert "and 89 others of 100" in refusal(shard(7, 100))
    twice = part("again.json", shard(1).document.model_copy(update={"case": None, "note": None}))
    again = Part(twice.name, "0" * 64, twice.document)
    assert "folder/1.json and folder/again.json: both hold shard 1 of 2" in refusal(shard(1), shard(2), again)
    assert "both hold shard 1" in refusal(shard(1), again, allow_gaps=True)
    assert "folder/1.json and folder/1.json: the same result" in refusal(shard(1), shard(1))
    assert "folder/2.json: shard 2 of 2, incomplete" in refusal(shard(1), shard(2, reached=1))


def test_gaps_that_are_allowed_are_told() -> None:
    joined = merge([shard(1, 3), shard(3, 3, reached=0)], COMMAND, allow_gaps=True)
    assert joined.merged is not None
    assert not joined.run.complete
    assert (joined.merged.missing_shards, joined.merged.missing_inputs) == ((2,), 3)
    assert [finding.path for finding in joined.findings] == [INPUTS[0], INPUTS[3]]
    words = "no result was given of shard 2 of 3; shard 3 came to no end; 3 of all 5 inputs have no finding"
    assert f"INCOMPLETE: {words}." in summary(joined)
    assert words in render(joined, Format.HTML)
    late = merge([shard(1), shard(2, complete=False)], COMMAND, allow_gaps=True)
    assert "INCOMPLETE: shard 2 came to no end; 0 of all 5 inputs have no finding." in summary(late)
    broken = merge([part("x.json", document(of_input("x"), complete=False))], COMMAND, allow_gaps=True)
    assert "INCOMPLETE: 1 result came to no end." in summary(broken)
    assert "came to no end" in render(broken, Format.HTML)


def test_shards_of_another_division_are_refused() -> None:
    assert "differ in shard.count (2 and 3)" in refusal(shard(1), shard(2, 3))
    assert "differ in shard.inputs (5 and 4)" in refusal(shard(1), shard(2, paths=INPUTS[:4]))
    other = (*INPUTS[:4], "/case/z.wav")
    assert "folder/1.json and folder/2.json: they differ in shard.inputs_sha256" in refusal(
        shard(1), shard(2, paths=other)
    )
    assert "differ in shard.evidence" in refusal(shard(1), shard(2, evidence=("stability",)))
    whole = part("whole.json", document(of_input("x")))
    assert "folder/1.json is a shard, folder/whole.json is not" in refusal(whole, shard(1))


def test_findings_of_other_inputs_than_were_divided_are_refused() -> None:
    changed = shard(2).document
    findings = [
        finding.model_copy(update={"path": finding.path.replace("d.wav", "x.wav")}) for finding in changed.findings
    ]
    edited = part("2.json", changed.model_copy(update={"findings": tuple(findings)}))
    assert "not those of the list that the shards were divided from" in refusal(shard(1), edited)
    findings[0] = findings[0].model_copy(update={"path": "/case/y.wav"})
    edited = part("2.json", changed.model_copy(update={"findings": tuple(findings)}))
    assert "an input has findings with different paths" in refusal(shard(1), edited)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"model": {"weights_sha256": "0" * 64}}, "model.weights_sha256"),
        ({"model": {"config_sha256": "0" * 64}}, "model.config_sha256"),
        ({"options": {"hop_s": 2.0}}, "options.hop_s (4.0 and 2.0)"),
        ({"options": {"device": "cuda:0"}}, "options.device (cpu and cuda:0)"),
        ({"options": {"spoof_threshold_llr": 2.5}}, "options.spoof_threshold_llr"),
        ({"tool": {"git_commit": "abc"}}, "tool.git_commit (851f89f0c2d4 and abc)"),
        ({"tracer": documents.tracer()}, "tracer (none and some)"),
        ({"enrolled": source_store()}, "enrolled (none and some)"),
        ({"case": evidence.case()}, "case (none and some)"),
        ({"note": "seen"}, "note (none and seen)"),
        ({"controls": casework.controls()}, "controls (none and some)"),
    ],
)
def test_what_was_not_made_in_one_way_is_refused(changes: dict[str, Any], where: str) -> None:
    base = document(())
    full = {
        name: getattr(base, name).model_copy(update=value) if isinstance(value, dict) and name != "tool" else value
        for name, value in changes.items()
    }
    said = refusal(shard(1), shard(2, **full))
    assert f"folder/1.json and folder/2.json: they differ in {where}" in said
    assert "differ in" in refusal(part("x", document(of_input("x"))), part("y", document(of_input("y"), **full)))


def test_results_of_another_version_are_refused() -> None:
    assert "folder/1.json: written by spoofcheck 0.0.1" in refusal(shard(1, tool={"version": "0.0.1"}), shard(2))


def test_machines_may_differ_and_are_recorded() -> None:
    libraries = {**document(()).tool.libraries, "torch": "2.12.0"}
    elsewhere = {"platform": "Linux-other", "libraries": libraries, "command_line": ("spoofcheck", "scan", "-q")}
    second = shard(2, tool=elsewhere)
    ray = EngineInfo(version="2.50.0", readers=2, networks=1, judges=1, nodes=1)
    changes = {"host": "node-2", "finished_at": "2026-11-21T10:00:00+00:00", "from_store": 2, "engine": ray}
    run = second.document.run.model_copy(update=changes)
    second = part("2.json", second.document.model_copy(update={"run": run}))
    joined = merge([shard(1), second], COMMAND)
    assert joined.merged is not None
    one, two = joined.merged.parts
    assert (one.platform, one.libraries, one.python) == (None, None, None)
    assert (two.platform, two.libraries, two.python) == ("Linux-other", libraries, None)
    assert two.command_line == ("spoofcheck", "scan", "-q")
    assert (one.run.host, two.run.host, joined.run.host) == ("forensics-03", "node-2", "")
    assert (joined.run.started_at, joined.run.finished_at) == ("2026-11-21T09:14:03+00:00", "2026-11-21T10:00:00+00:00")
    assert joined.run.elapsed_s == 2757.0
    assert (joined.run.from_store, joined.run.engine, two.run.engine) == (2, None, ray)
    page = render(joined, Format.HTML)
    assert "torch 2.12.0" in page
    assert "numpy 2.3.5, numpy" not in page
    assert "see the runs below" in page
    assert two.sha256.upper()[:8] in page.upper()


def test_times_that_are_left_out_stay_out() -> None:
    blank = shard(1).document.run.model_copy(update={"started_at": "", "finished_at": "", "elapsed_s": 0.0})
    joined = merge([part("1.json", shard(1).document.model_copy(update={"run": blank})), shard(2)], COMMAND)
    assert (joined.run.started_at, joined.run.finished_at, joined.run.elapsed_s) == ("", "", 0.0)


def test_controls_may_differ_by_rounding_alone() -> None:
    controls = casework.controls()
    assert controls[1].raw_score is not None

    def shifted(shift: float) -> Part:
        moved = controls[1].model_copy(update={"raw_score": controls[1].raw_score + shift})  # type: ignore[operator]
        return shard(2, controls=(controls[0], moved))

    joined = merge([shard(1, controls=controls), shifted(TOLERANCE / 2)], COMMAND)
    assert joined.controls == controls
    assert joined.merged is not None
    kept = joined.merged.parts[1].controls
    assert kept is not None
    assert kept[1].raw_score == pytest.approx(controls[1].raw_score + TOLERANCE / 2)
    assert joined.merged.parts[0].controls is None
    assert "raw_score of" in refusal(shard(1, controls=controls), shifted(TOLERANCE * 2))
    failed = (controls[0], controls[1].model_copy(update={"as_expected": False}))
    assert "controls[1].as_expected (true and false)" in refusal(shard(1, controls=controls), shard(2, controls=failed))


def test_where_the_enrolled_store_lies_is_the_machines_own_business() -> None:
    stores = [source_store().model_copy(update={"path": path}) for path in ("/a/sources.json", "/b/sources.json")]
    joined = merge([shard(number, enrolled=store) for number, store in enumerate(stores, start=1)], COMMAND)
    assert joined.enrolled == stores[0]


def test_other_results_are_joined_in_the_order_given() -> None:
    one, two = part("one.json", document(of_input("/case/b.wav"))), part("two.json", document(of_input("/case/a.wav")))
    joined = merge([one, two], COMMAND)
    assert [finding.path for finding in joined.findings] == ["/case/b.wav", "/case/b.wav", "/case/a.wav"]
    assert joined.merged is not None
    assert (joined.merged.shards, joined.merged.inputs) == (None, None)
    assert "Joined from 2 results\n" in summary(joined)
    again = part("again.json", document([*of_input("/case/c.wav"), *of_input("/case/a.wav")]))
    said = refusal(one, two, again)
    assert "folder/two.json and folder/again.json: both hold findings of /case/a.wav" in said
    three = merge([part("joined.json", joined), part("c.json", document(of_input("/case/c.wav")))], COMMAND)
    assert three.merged is not None
    assert [(each.name, each.parts, each.findings) for each in three.merged.parts] == [
        ("joined.json", 2, 3),
        ("c.json", 0, 1),
    ]


def test_two_recordings_are_never_one_exhibit() -> None:
    first, second = (
        document([finding.model_copy(update={"exhibit": "EX-1"}) for finding in of_input(f"/{folder}/b.wav")])
        for folder in ("one", "two")
    )
    assert len(merge([part("one.json", first)], COMMAND).findings) == 2
    said = refusal(part("one.json", first), part("two.json", second))
    assert "folder/one.json and folder/two.json: both /one/b.wav and /two/b.wav are exhibit EX-1" in said


def test_hostile_names_and_values_stay_text() -> None:
    note = "\x1b[31m<b>" + "x" * 500
    name = "\x1b[2J\n<script>alert(1)</script>.json"
    made = [part(name, document(of_input("x"), note=note)), part("y.json", document(of_input("y")))]
    said = refusal(*made)
    assert "\x1b" not in said
    assert len(said) < 400
    joined = merge([made[0]], COMMAND)
    for form in (Format.HTML, Format.TABLE):
        page = render(joined, form)
        assert "<script>alert" not in page
        assert "\x1b" not in page


def test_every_part_of_the_document_survives_writing_and_reading() -> None:
    joined = merge([shard(1), shard(2)], COMMAND)
    assert ScanDocument.model_validate_json(joined.model_dump_json()) == joined
    with pytest.raises(ValidationError, match="not joined"):
        ScanDocument.model_validate({**shard(1).document.model_dump(), "merged": joined.merged})
