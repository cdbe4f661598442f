"""`spoofcheck scan` with prototypes: the shipped tracer by default, enrolled sources, stores, names of unknowns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from spoofcheck.cli import run
from spoofcheck.detect.sourcestore import new_store, read_store, store_json
from spoofcheck.nets.bundle import load_tracer, save_bundle
from spoofcheck.nets.index import write_index
from spoofcheck.schema import Finding, ScanDocument
from tests.support.enrolling import clips_of, embedding_tracer, twin_detector

Scan = Callable[..., tuple[int, ScanDocument | None, str]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of shipped models: a detector, and a tracer with its front-end."""
    folder = tmp_path_factory.mktemp("models")
    embedding_tracer(folder / "tracer")
    twin_detector(folder / "detector", folder / "tracer")
    write_index(folder)
    return folder


@pytest.fixture(scope="module")
def store(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one source, a dull box."""
    folder = tmp_path_factory.mktemp("enrolled")
    clips_of(folder / "dull", "dull")
    command = ["sources", "enroll", "Dull box", str(folder / "dull"), "--tracer", str(models / "tracer")]
    assert run([*command, "--store", str(folder / "store.json"), "--note", "bought", "--device", "cpu"]) == 0
    return folder / "store.json"


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of the dull box, and of something else, that nobody enrolled."""
    folder = tmp_path_factory.mktemp("heard")
    clips_of(folder / "dull", "dull", 1, first_s=5.2)
    clips_of(folder / "plain", "plain", 1, first_s=5.2)
    return folder


@pytest.fixture
def shipped(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """These models are the shipped ones, and the user has a data directory of their own; gives that."""
    monkeypatch.setattr("spoofcheck.nets.index.models_dir", lambda: models)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "data" / "spoofcheck").mkdir(parents=True)
    return tmp_path / "data" / "spoofcheck"


@pytest.fixture
def scan(shipped: Path, heard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Scan:
    """Runs a scan of what was heard, all of it flagged; gives the exit code, the document, if any, and stderr."""

    def call(*arguments: str | Path) -> tuple[int, ScanDocument | None, str]:
        result = tmp_path / "result.json"
        result.unlink(missing_ok=True)
        common = ["--no-vad", "--threshold", "-100", "--device", "cpu", "--json", result]
        status = run(["scan", "--no-controls", *map(str, [*common, *arguments, heard])])
        document = ScanDocument.model_validate_json(result.read_bytes()) if result.exists() else None
        return status, document, capsys.readouterr().err

    return call


def by_name(document: ScanDocument | None) -> dict[str, Finding]:
    assert document is not None
    return {Path(finding.path).stem: finding for finding in document.findings}


def untimed(findings: Iterable[Finding]) -> list[Finding]:
    """Findings without the check of their files, which says when it was made."""
    return [finding.model_copy(update={"custody": None}) for finding in findings]


def test_the_shipped_tracer_is_the_default_and_can_be_left_out(scan: Scan) -> None:
    status, document, _ = scan()
    assert status == 1
    assert document is not None
    assert document.tracer is not None
    assert (document.tracer.name, document.enrolled) == ("tracer", None)
    assert document.tracer.source_calibration is not None
    for finding in document.findings:
        assert finding.trace is not None
        assert (finding.trace.measure, finding.trace.enrolled) == ("cosine", 3)
        assert len(finding.sources) == 3
        assert {source.origin for source in finding.sources} == {"shipped"}
        assert finding.trace.embedding is not None
        assert len(finding.trace.embedding) == 8
    without = scan("--no-trace")[1]
    assert without is not None
    assert without.tracer is None
    assert [finding.spoof_llr for finding in without.findings] == [f.spoof_llr for f in document.findings]
    assert {finding.trace for finding in without.findings} == {None}


def test_an_enrolled_source_is_recognised_and_shown_with_its_provenance(scan: Scan, shipped: Path, store: Path) -> None:
    status, document, _ = scan("--sources", store)
    assert status == 1
    assert document is not None
    assert document.enrolled is not None
    kept = read_store(store)
    assert (document.enrolled.path, document.enrolled.sha256) == (str(store), kept.sha256)
    (info,) = document.enrolled.sources
    assert (info.name, info.note, info.clips, info.closest, info.revision) == ("Dull box", "bought", 5, 5, 1)
    assert info.content_sha256 == kept.sources[0].content_sha256
    dull, plain = by_name(document)["dull-0"], by_name(document)["plain-0"]
    assert dull.trace is not None
    assert (dull.trace.decision, dull.trace.enrolled) == ("Dull box", 4)
    assert (dull.sources[0].name, dull.sources[0].origin) == ("Dull box", "enrolled")
    assert dull.trace.channel_test is not None
    is_failed = bool(dull.trace.channel_test.failed)
    assert (dull.reasons[-1].code == "trace-follows-channel") == is_failed
    assert (dull.sources[0].llr is None) == is_failed
    assert plain.trace is not None
    assert plain.trace.decision != "Dull box"

    (shipped / "sources.json").write_bytes(store.read_bytes())
    own = scan()[1]
    assert own is not None
    assert untimed(own.findings) == untimed(document.findings)
    assert own.enrolled is not None
    assert own.enrolled.path == str(shipped / "sources.json")
    left_out = scan("--no-sources")[1]
    assert left_out is not None
    assert left_out.enrolled is None
    assert {finding.trace.enrolled for finding in left_out.findings if finding.trace} == {3}


def test_a_store_that_does_not_fit_stops_the_scan_with_a_remedy(
    scan: Scan, shipped: Path, store: Path, tmp_path: Path, tiny_tracer_model: Path
) -> None:
    def refused(*arguments: str | Path) -> str:
        status, document, err = scan(*arguments)
        assert (status, document, err.count("\n")) == (2, None, 1)
        return err

    assert "no such store of sources" in refused("--sources", tmp_path / "missing.json")
    other = read_store(store).tracer.model_copy(update={"name": "old", "weights_sha256": "0" * 64})
    (shipped / "sources.json").write_text(store_json(new_store(other)))
    err = refused()
    assert "sources.json: made for the tracer old 1" in err
    assert "leave its sources out with --no-sources, or name another file with --sources" in err
    damaged = tmp_path / "damaged.json"
    damaged.write_text(store.read_text().replace("Dull box", "Bull box"))
    assert "damaged.json: damaged store of sources" in refused("--sources", damaged)
    assert "has no prototypes" in refused("--tracer", tiny_tracer_model, "--sources", store)
    assert scan("--tracer", tiny_tracer_model)[0] == 1, "the user's own store is not for such a tracer"


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "[red]<b>&amp;</b>[/red]", 'quote"\\', "жук ابجد"])
def test_hostile_source_names_stay_text_in_every_output(
    shipped: Path, store: Path, heard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    kept = read_store(store)
    source = kept.sources[0].model_copy(update={"name": name, "note": "<script>alert(1)</script>"})
    (tmp_path / "hostile.json").write_text(store_json(new_store(kept.tracer, [source])))
    outputs = {option: tmp_path / f"out{option}" for option in ("--json", "--jsonl", "--csv", "--report")}
    arguments = ["--no-vad", "--threshold", "-100", "--device", "cpu", "--sources", tmp_path / "hostile.json"]
    for option, target in outputs.items():
        arguments += [option, target]
    assert run(["scan", "--no-controls", *map(str, [*arguments, heard / "dull"])]) == 1
    out, _ = capsys.readouterr()
    document = json.loads(outputs["--json"].read_text(encoding="utf-8"))
    assert document["findings"][0]["trace"]["decision"] == name
    assert document["enrolled"]["sources"][0]["name"] == name
    assert json.loads(outputs["--jsonl"].read_text(encoding="utf-8"))["sources"][0]["name"] == name
    page = outputs["--report"].read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<b>&amp;</b>" not in page
    assert not any(line.startswith(("=", '"=')) for line in outputs["--csv"].read_text(encoding="utf-8").split(","))
    assert "\x1b[31m" not in out


def test_names_of_unknowns_are_kept_over_the_scans_of_a_case(scan: Scan, models: Path, tmp_path: Path) -> None:
    strict = load_tracer(models / "tracer")
    open_set = strict.config.open_set.model_copy(update={"threshold": 1.0})
    assert strict.config.link_calibration is not None
    alike = strict.config.link_calibration.model_copy(update={"intercept": 9.0})  # any two exhibits are alike
    config = strict.config.model_copy(update={"name": "strict", "open_set": open_set, "link_calibration": alike})
    save_bundle(tmp_path / "strict", config, strict.network, "# Strict\n")
    case = tmp_path / "case.json"
    status, document, _ = scan("--tracer", tmp_path / "strict")
    assert document is not None
    assert [(group.name, group.exhibits) for group in document.unknown_groups] == [("Unknown-1", 2)]
    assert [finding.trace and finding.trace.unknown_group for finding in document.findings] == ["Unknown-1"] * 2
    assert not case.exists()
    for _ in range(2):
        status, again, _ = scan("--tracer", tmp_path / "strict", "--unknowns", case)
        assert status == 1
        assert again is not None
        assert [finding.trace for finding in again.findings] == [finding.trace for finding in document.findings]
        assert len(json.loads(case.read_text())["exhibits"]) == 2
    assert scan("--tracer", models / "tracer", "--unknowns", case)[0] == 1
    case.write_text(case.read_text().replace("Unknown-1", "Unknown-7"))
    status, document, err = scan("--tracer", tmp_path / "strict", "--unknowns", case)
    assert (status, document) == (2, None)
    assert "case.json: damaged" in err
