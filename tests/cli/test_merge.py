"""`scan --shard` and `spoofcheck merge`: parts, joined, are one undivided scan. Tiny models stand in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from spoofcheck.cli import run
from spoofcheck.detect.scan import Scanner
from spoofcheck.ledger import read_ledger
from spoofcheck.nets.bundle import load_tracer, save_bundle
from spoofcheck.nets.index import write_index
from spoofcheck.render import Format, render
from spoofcheck.render.canonical import document_sha256, reproducible
from spoofcheck.render.console import summary
from spoofcheck.schema import ScanDocument, Verdict
from tests.support import casework
from tests.support.audio import human_speech, write_wav
from tests.support.enrolling import clips_of, embedding_tracer, twin_detector
from tests.test_merging import shard

SHARDS = 3
MODELS_DIRS = ("spoofcheck.nets.index.models_dir", "spoofcheck.cli.verifying.models_dir")
CASE = """number = "7"
[[exhibits]]
file = "call.wav"
reference = "EX-1"
[[exhibits]]
file = "dull-0.wav"
reference = "EX-2"
"""


@dataclass(frozen=True)
class Scans:
    """A folder of recordings, scanned whole and in shards with the same options."""

    folder: Path
    models: Path
    options: tuple[str, ...]
    exits: dict[str, int]

    def document(self, name: str) -> ScanDocument:
        return ScanDocument.model_validate_json((self.folder / f"{name}.json").read_bytes())

    @property
    def shards(self) -> list[str]:
        return [str(self.folder / f"{index}.json") for index in range(1, SHARDS + 1)]


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scans]:
    """Clips that no source is close to, a call whose channels are scored apart, a text file, and a namesake."""
    folder = tmp_path_factory.mktemp("case")
    recordings, models = folder / "recordings", folder / "models"
    for source, count in (("plain", 2), ("dull", 1)):
        clips_of(recordings, source, count)
    speech = human_speech()[56_000:104_000]
    write_wav(recordings / "call.wav", np.stack([speech, np.roll(speech[::-1], 9_000)], axis=1), 16_000)
    (recordings / "broken.wav").write_text("no audio")
    clips_of(recordings / "earlier", "dull", 1, first_s=5.2)  # a second dull-0.wav, in another shard than the first
    (folder / "case.toml").write_text(CASE)
    embedding_tracer(models / "tracer")
    tracer = load_tracer(models / "tracer")
    open_set = tracer.config.open_set.model_copy(update={"threshold": 1.0})  # nothing is as close as that
    config = tracer.config.model_copy(update={"open_set": open_set})
    save_bundle(models / "tracer", config, tracer.network, "# Strict\n")
    twin_detector(models / "detector", models / "tracer")
    write_index(models)
    options = ("--no-controls", "--no-vad", "--device", "cpu", "--precision", "float32", "--threshold", "-100", "-q")
    exits = {}
    with pytest.MonkeyPatch.context() as patch:
        for place in MODELS_DIRS:
            patch.setattr(place, lambda: models)
        # Nobody commits or edits in the middle of a divided scan; while tests run, somebody may.
        patch.setattr("spoofcheck.detect.toolinfo.git_commit", lambda: None)
        for name in ("whole", *map(str, range(1, SHARDS + 1))):
            shard = [] if name == "whole" else ["--shard", f"{name}/{SHARDS}"]
            wanted = ["--case", folder / "case.toml", "--ledger", folder / "ledger.jsonl", "--pictures"]
            written = ["--json", folder / f"{name}.json", "--csv", folder / f"{name}.csv"]
            exits[name] = run(["scan", *map(str, [*options, *shard, *wanted, *written, recordings])])
        yield Scans(folder, models, options, exits)


@pytest.fixture
def merge(scans: Scans, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Joins results; gives the exit code and standard error."""

    def call(*arguments: str | Path) -> tuple[int, str]:
        capsys.readouterr()
        status = run(["merge", *map(str, arguments)])
        return status, capsys.readouterr().err

    return call


def plain(document: ScanDocument) -> ScanDocument:
    """The document without what says when, where and by which commands it was made."""
    bare = reproducible(document)
    tool = bare.tool.model_copy(update={"command_line": ()})
    return bare.model_copy(update={"merged": None, "tool": tool})


def test_shards_joined_are_the_undivided_scan_in_every_form(
    scans: Scans, merge: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    whole, parts = scans.document("whole"), [scans.document(str(index)) for index in range(1, SHARDS + 1)]
    assert {finding.verdict for finding in whole.findings} >= {Verdict.SPOOF, Verdict.SKIPPED}
    assert {finding.channel for finding in whole.findings} == {None, 0, 1}
    assert [finding.exhibit for finding in whole.findings if finding.exhibit] == ["EX-1", "EX-1"], "two are dull-0.wav"
    assert [len(part.findings) for part in parts] == [2, 3, 2]
    for part in parts:
        assert not part.unknown_groups
        assert not any(finding.trace and finding.trace.unknown_group for finding in part.findings)

    outputs = {form: tmp_path / f"joined.{form}" for form in ("json", "csv", "jsonl")}
    written = [each for form, path in outputs.items() for each in (f"--{form}", path)]
    status, err = merge(*reversed(scans.shards), *written, "--ledger", tmp_path / "ledger.jsonl")
    joined = ScanDocument.model_validate_json(outputs["json"].read_bytes())
    assert status == scans.exits["whole"] == 1
    for one, other in zip(joined.findings, whole.findings, strict=True):
        assert (one.path, one.channel, one.trace) == (other.path, other.channel, other.trace)
    assert plain(joined) == plain(whole)
    assert [group.exhibits for group in joined.unknown_groups] != []
    named = {
        finding.path: finding.trace.unknown_group
        for finding in joined.findings
        if finding.trace is not None and finding.trace.unknown_group == "Unknown-1"
    }
    assert len(named) > 1
    assert outputs["csv"].read_bytes() == (scans.folder / "whole.csv").read_bytes()
    for form in Format:
        assert render(plain(joined), form) == render(plain(whole), form)
    assert summary(plain(joined)) == summary(plain(whole))

    assert joined.merged is not None
    assert (joined.merged.shards, joined.merged.inputs, joined.merged.missing_inputs) == (SHARDS, 6, 0)
    for index, part in enumerate(joined.merged.parts, start=1):
        file = scans.folder / f"{index}.json"
        assert (part.shard, part.name) == (index, file.name)
        assert part.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
        assert part.run == parts[index - 1].run
        assert part.command_line == parts[index - 1].tool.command_line
    assert joined.run.started_at == min(part.run.started_at for part in parts)
    assert joined.run.finished_at == max(part.run.finished_at for part in parts)
    assert f"Joined from 3 results, shards 1 to 3 of {SHARDS}" in err
    page = render(joined, Format.HTML)
    assert "Runs that were joined" in page
    assert "joined from 3 results, shards 1 to 3 of 3" in page
    (entry,) = read_ledger(tmp_path / "ledger.jsonl").entries
    assert entry.subjects.document == document_sha256(joined)


def test_a_part_says_that_it_is_one(scans: Scans) -> None:
    part = scans.document("2")
    words = "shard 2 of 3, 2 of all 6 inputs"
    assert f"A PART ONLY: {words}" in summary(part)
    assert f"A PART ONLY: {words}" in render(part, Format.TABLE)
    page = render(part, Format.HTML)
    assert "<strong>A part of the examination.</strong>" in page
    assert words in page


def test_joined_results_are_reported_and_verified(
    scans: Scans, merge: Callable[..., tuple[int, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, ledger = tmp_path / "joined.html", tmp_path / "ledger.jsonl"
    merge(*scans.shards, "--json", tmp_path / "joined.json", "--report", page, "--ledger", ledger, "-q")
    assert run(["report", str(tmp_path / "joined.json"), "--html", str(tmp_path / "again.html")]) == 0
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()
    capsys.readouterr()
    exhibits = ["--exhibits", scans.folder / "recordings", "--ledger", ledger, "--recompute", "--json", "-q"]
    status = run(["verify", str(page), *map(str, exhibits)])
    checks = {check["what"]: check["outcome"] for check in json.loads(capsys.readouterr().out)["checks"]}
    assert status == 0, checks
    assert set(checks.values()) == {"ok"}
    assert {"page", "model", "tracer", "scores", "report file in the ledger", "exhibit EX-1"} <= checks.keys()


def test_groups_of_unknowns_need_the_tracer_of_the_scans(
    scans: Scans, merge: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "models"
    embedding_tracer(elsewhere / "tracer", seed=1)
    twin_detector(elsewhere / "detector", elsewhere / "tracer")
    write_index(elsewhere)
    with monkeypatch.context() as patch:
        for place in MODELS_DIRS:
            patch.setattr(place, lambda: elsewhere)
        joined = tmp_path / "joined.json"
        status, err = merge(*scans.shards, "--json", joined, "-q")
        assert status == 1
        assert "Unknown exhibits are not grouped: tracer 1: model.safetensors has the SHA-256" in err
        document = ScanDocument.model_validate_json(joined.read_bytes())
        assert not document.unknown_groups
        assert not any(finding.trace and finding.trace.unknown_group for finding in document.findings)
        status, err = merge(*scans.shards, "--unknowns", tmp_path / "case.json", "-q")
        assert (status, err.count("\n")) == (2, 1)
        assert "--unknowns: exhibits cannot be grouped" in err
        status, err = merge(*scans.shards, "--json", joined, "--tracer", scans.models / "tracer", "-q")
        assert (status, err) == (1, "")
    for _ in range(2):
        merge(*scans.shards, "--json", joined, "--unknowns", tmp_path / "case.json", "-q")
        document = ScanDocument.model_validate_json(joined.read_bytes())
        assert document.unknown_groups == scans.document("whole").unknown_groups
        assert json.loads((tmp_path / "case.json").read_text())["tracer"]["name"] == "tracer"


def test_an_interrupted_shard_is_recorded_and_joined_only_with_gaps(
    scans: Scans, merge: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = Scanner.judged

    def interrupting(self: Scanner, recording: object, watcher: object) -> Iterator[object]:
        if recording.path.name.startswith("plain"):  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return judged(self, recording, watcher)  # type: ignore[arg-type]

    monkeypatch.setattr(Scanner, "judged", interrupting)
    common = ["--case", scans.folder / "case.toml", "--ledger", tmp_path / "ledger.jsonl", "--pictures"]
    broken = tmp_path / "2.json"
    arguments = [*scans.options, *common, "--shard", "2/3", "--json", broken, scans.folder / "recordings"]
    assert run(["scan", *map(str, arguments)]) == 130
    document = ScanDocument.model_validate_json(broken.read_bytes())
    assert document.shard is not None
    assert (document.run.complete, document.shard.input_numbers) == (False, (1, 1))
    status, err = merge(broken, scans.shards[0], "-q")
    assert (status, err.count("\n")) == (2, 1)
    assert f"{broken}: shard 2 of 3, incomplete; " in err
    joined = tmp_path / "joined.json"
    status, err = merge(broken, scans.shards[0], "--allow-gaps", "--json", joined)
    assert status == 1
    gaps = "no result was given of shard 3 of 3; shard 2 came to no end; 3 of all 6 inputs have no finding"
    assert f"INCOMPLETE: {gaps}." in " ".join(err.split())
    document = ScanDocument.model_validate_json(joined.read_bytes())
    assert not document.run.complete
    assert gaps in render(document, Format.HTML)
    assert gaps in " ".join(render(document, Format.TABLE).split())


def test_a_shard_without_inputs_is_a_valid_result(
    scans: Scans, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, clear = tmp_path / "empty.json", tmp_path / "clear.json"
    recordings = scans.folder / "recordings"
    assert run(["scan", *scans.options, "--shard", "7/7", "--json", str(empty), str(recordings)]) == 0
    document = ScanDocument.model_validate_json(empty.read_bytes())
    assert document.shard is not None
    assert (document.findings, document.shard.own_inputs, document.run.complete) == ((), 0, True)
    for form in Format:
        render(document, form)
    # What cannot be read alone in its shard says nothing of the other inputs.
    assert run(["scan", *scans.options, "--shard", "1/6", "--json", str(clear), str(recordings)]) == 3
    capsys.readouterr()


@pytest.mark.parametrize(
    "text", ["0/4", "5/4", "1/0", "1", "1/", "/4", "1/4/2", "-1/4", "1.0/4", "a/b", "1/1000001", "\u0661/\u0664"]
)
def test_other_forms_of_a_shard_are_refused(
    scans: Scans, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["scan", f"--shard={text}", str(scans.folder / "recordings")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "give I/N with I from 1 to N" in err


def test_names_of_unknowns_wait_for_the_joining(scans: Scans, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["scan", "--shard", "1/2", "--unknowns", "case.json", str(scans.folder)]) == 2
    assert "--shard contradicts --unknowns" in capsys.readouterr().err


def test_the_exit_code_is_that_of_the_undivided_scan_and_gaps_are_never_clear(
    merge: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    files = []
    for index in (1, 2):
        files.append(tmp_path / f"{index}.json")
        files[-1].write_text(shard(index).document.model_dump_json())
    assert merge(*files, "-q")[0] == 0
    assert merge(files[0], "--allow-gaps", "-q")[0] == 3
    failed = [each.model_copy(update={"as_expected": False}) for each in casework.controls()]
    for index, file in enumerate(files, start=1):
        file.write_text(shard(index, controls=tuple(failed)).document.model_dump_json())
    status, err = merge(*files, "-q")
    assert status == 2
    assert "CONTROL FAILED" in err


def test_files_that_cannot_be_joined_are_named(
    scans: Scans, merge: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    for content, message in ((None, "cannot be read"), (b"", "empty"), (b"{}", "not a spoofcheck result")):
        other = tmp_path / "other.json"
        if content is not None:
            other.write_bytes(content)
        status, err = merge(scans.shards[0], other)
        assert (status, err.count("\n")) == (2, 1)
        assert f"{other}: {message}" in err
    status, err = merge(*scans.shards, "--json", scans.shards[1])
    assert status == 2
    assert "is an input; it would be overwritten" in err
    status, err = merge(*scans.shards[:2])
    assert status == 2
    assert "no result is given of shard 3 of 3" in err
