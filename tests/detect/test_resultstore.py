"""The result store: the same findings again, never those of another file, run or moment, and never a scan's end."""

from __future__ import annotations

import ast
import os
import re
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import spoofcheck
from spoofcheck.audio.inputs import find_inputs
from spoofcheck.detect import resultdatabase
from spoofcheck.detect.evidence import EvidenceOptions
from spoofcheck.detect.keeping import GAPS_OF_THE_MOMENT, SKIPS_OF_THE_CONTENT, SKIPS_OF_THE_MOMENT, may_be_kept
from spoofcheck.detect.resultdatabase import DATABASE_NAME, Key, ResultDatabase, UnusableStoreError
from spoofcheck.detect.resultstore import ResultStore
from spoofcheck.detect.runidentity import (
    EVIDENCE_LIBRARIES,
    LIBRARIES,
    LIBRARIES_WITHOUT_EFFECT,
    STATED_OTHERWISE,
    WITHOUT_EFFECT,
    RunIdentity,
    identity_of,
    run_facts,
    run_identity,
    source_sha256,
)
from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.schema import Finding, Reason
from tests.support.enrolling import clips_of, embedding_tracer, twin_detector
from tests.test_architecture import sources

RATE_HZ = 16_000
PACKAGE = Path(spoofcheck.__file__).resolve().parent


def write_noise(path: Path, seconds: float = 5.0, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE_HZ)).astype(np.float32)
    soundfile.write(path, samples, RATE_HZ, format="WAV", subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def scanner(tiny_model: Path) -> Scanner:
    return Scanner(tiny_model, ScanOptions(device="cpu", vad=False, workers=2))


@pytest.fixture(scope="module")
def identity(scanner: Scanner) -> RunIdentity:
    return run_identity(scanner)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    for n in range(3):
        write_noise(folder / f"{n}.wav", seconds=3.0 + 4 * n, seed=n)
    (folder / "letter.wav").write_text("no recording\n" * 20)
    (folder / "empty.wav").touch()
    return folder


class Scans:
    """Scans of the tiny model with a store."""

    def __init__(self, scanner: Scanner, identity: RunIdentity, folder: Path) -> None:
        self.scanner, self.identity, self.folder = scanner, identity, folder
        self.warnings: list[str] = []
        self.from_store = 0

    def store(self, *, fresh: bool = False) -> ResultStore:
        return ResultStore.opened(self.folder, self.identity, fresh=fresh, warn=self.warnings.append)

    def __call__(self, *paths: Path, fresh: bool = False) -> list[tuple[Finding, ...]]:
        with self.store(fresh=fresh) as store:
            found = [findings for _, findings in self.scanner.examined_inputs(find_inputs(paths), store=store)]
            self.from_store = store.from_store
        return found


@pytest.fixture
def scans(scanner: Scanner, identity: RunIdentity, tmp_path: Path) -> Scans:
    return Scans(scanner, identity, tmp_path / "store")


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From when it is called, no recording may be read."""

    def forbid() -> None:
        def read(*_: object) -> None:
            raise AssertionError("a recording was read")

        monkeypatch.setattr(Scanner, "_read", read)

    return forbid


def entries(folder: Path) -> int:
    with ResultDatabase(folder) as database:
        return sum(run.entries for run in database.runs())


def test_a_second_scan_reads_nothing_and_finds_the_same(
    scans: Scans, recordings: Path, unread: Callable[[], None]
) -> None:
    first = scans(recordings)
    assert scans.from_store == 0
    assert [finding.reasons[0].code for (finding,) in first][3:] == ["empty-file", "not-audio"]
    unread()
    assert scans(recordings) == first
    assert (scans.from_store, scans.warnings, entries(scans.folder)) == (5, [], 5)


def test_only_what_is_new_is_scored(scans: Scans, recordings: Path) -> None:
    first = scans(recordings)
    write_noise(recordings / "9.wav", seed=9)
    write_noise(recordings / "0.wav", seed=10)
    again = scans(recordings)
    assert (len(again), scans.from_store) == (6, 4)
    assert again[1:3] == first[1:3]
    assert again[0][0].sha256 != first[0][0].sha256


def test_what_is_taken_bears_name_and_time_of_the_file_at_hand(scans: Scans, tmp_path: Path) -> None:
    first = write_noise(tmp_path / "cellar" / "witness-7.wav")
    ((before,),) = scans(first)
    second = tmp_path / "copy.WAV"
    shutil.copy(first, second)
    os.utime(second, (86_400, 86_400))
    ((after,),) = scans(second)
    assert scans.from_store == 1
    assert after.path == str(second)
    assert after.media is not None
    assert after.media.modified_at == "1970-01-02T00:00:00+00:00"
    assert before.media is not None
    same = {"path": before.path, "media": before.media}
    assert after.model_copy(update=same) == before
    stored = b"".join(path.read_bytes() for path in scans.folder.iterdir())
    with ResultDatabase(scans.folder) as database:
        payload = database.payload(Key(scans.identity.sha256, before.sha256 or "", "wav"))
    assert payload is not None
    for text in (stored, resultdatabase.json.dumps(payload.hex()).encode(), scans.identity.facts.encode()):
        assert b"witness" not in text
        assert b"cellar" not in text


def test_another_extension_is_another_file(scans: Scans, tmp_path: Path) -> None:
    scans(write_noise(tmp_path / "a.wav"))
    shutil.copy(tmp_path / "a.wav", tmp_path / "a.raw")
    scans(tmp_path / "a.raw")
    assert (scans.from_store, entries(scans.folder)) == (0, 2)


def test_another_run_takes_nothing(scans: Scans, recordings: Path) -> None:
    scans(recordings)
    other = Scans(scans.scanner, identity_of({"another": "run"}), scans.folder)
    other(recordings)
    assert (other.from_store, entries(scans.folder)) == (0, 10)


def test_fresh_takes_nothing_and_replaces_what_is_kept(scans: Scans, recordings: Path) -> None:
    first = scans(recordings)
    _spoil(scans.folder)
    assert scans(recordings, fresh=True) == first
    assert scans.from_store == 0
    assert scans(recordings) == first
    assert (scans.from_store, entries(scans.folder)) == (5, 5)


# ------------------------------------------------------------------------------------------------- what may be kept

_CODES = {"InputError": 0, "Skipped": 1}


def _codes() -> Iterator[str]:
    """Codes of inputs that are not examined, in the parts that read and judge."""
    for path in sources():
        if path.relative_to(PACKAGE).parts[0] not in ("audio", "cluster", "detect"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _CODES:
                for value in node.args[_CODES[node.func.id] :][:1]:
                    if isinstance(value, ast.Constant) and isinstance(value.value, str):
                        yield value.value


def test_every_code_is_of_the_content_or_of_the_moment() -> None:
    assert not SKIPS_OF_THE_CONTENT & SKIPS_OF_THE_MOMENT.keys()
    undecided = set(_codes()) - SKIPS_OF_THE_CONTENT - SKIPS_OF_THE_MOMENT.keys()
    assert undecided == set(), "say in detect/keeping.py whether a result store may keep it"
    assert set(_codes()) >= SKIPS_OF_THE_CONTENT


@pytest.mark.parametrize("code", sorted([*SKIPS_OF_THE_CONTENT, *SKIPS_OF_THE_MOMENT, "of-a-later-version"]))
def test_skipped_inputs_are_kept_for_what_they_hold_alone(code: str) -> None:
    assert may_be_kept([Finding.skipped("a", code, "Why.")], "0" * 64) is (code in SKIPS_OF_THE_CONTENT)


def test_what_a_machine_lacked_is_no_property_of_a_file() -> None:
    short = Finding.skipped("a", "decode-failed", "It cannot be decoded (Cannot allocate memory).")
    assert not may_be_kept([short], "0" * 64)


def test_findings_that_belong_to_other_bytes_or_lack_something_are_not_kept(scans: Scans, tmp_path: Path) -> None:
    path = write_noise(tmp_path / "a.wav")
    ((finding,),) = scans(path)
    assert finding.sha256 is not None
    assert may_be_kept([finding], finding.sha256)
    assert not may_be_kept([finding], "0" * 64)
    assert not may_be_kept([], finding.sha256)
    for code in GAPS_OF_THE_MOMENT:
        poorer = finding.model_copy(update={"reasons": (*finding.reasons, Reason(code=code, message="Once."))})
        assert not may_be_kept([finding, poorer], finding.sha256)


@pytest.mark.parametrize("is_skipped", [False, True])
def test_a_file_that_changed_meanwhile_leaves_nothing(
    scans: Scans, scanner: Scanner, tmp_path: Path, is_skipped: bool
) -> None:
    path = write_noise(tmp_path / "a.wav")
    with scans.store() as store:
        assert store.find(path, lambda: False) is None
        path.write_text("no recording\n" * 20) if is_skipped else write_noise(path, seed=5)
        (finding,) = scanner.findings([path])
        store.keep(path, (finding,))
    assert entries(scans.folder) == 0


def test_a_cancelled_scan_is_not_made_to_wait(scans: Scans, tmp_path: Path) -> None:
    path = write_noise(tmp_path / "a.wav", seconds=120)
    asked = []

    def cancelled() -> bool:
        asked.append(None)
        return len(asked) > 1

    with scans.store() as store:
        assert store.find(path, cancelled) is None
        assert 1 < len(asked) <= 3
        assert store.find(tmp_path / "gone.wav", lambda: False) is None


# ------------------------------------------------------------------------------------------------------ the fingerprint


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracer, a detector with its front-end, and enrolled sources."""
    from spoofcheck.cli import run

    folder = tmp_path_factory.mktemp("twins")
    embedding_tracer(folder / "tracer")
    embedding_tracer(folder / "tracer-2", seed=1)
    twin_detector(folder / "detector", folder / "tracer")
    clips_of(folder / "dull", "dull")
    command = ["sources", "enroll", "Dull box", str(folder / "dull"), "--tracer", str(folder / "tracer"), "--quiet"]
    assert run([*command, "--store", str(folder / "sources.json"), "--device", "cpu"]) == 0
    return folder


CHANGED: dict[str, Callable[[Path], dict[str, Any]]] = {
    "hop_s": lambda _: {"hop_s": 0.5},
    "channels": lambda _: {"channels": "mix"},
    "vad": lambda _: {"vad": False},
    "budget_s": lambda _: {"budget_s": 8.0},
    "threshold_llr": lambda _: {"threshold_llr": 2.0},
    "precision": lambda _: {"precision": "float32"},
    "trace": lambda _: {"trace": False, "tracer": None, "sources": None},
    "tracer": lambda twins: {"tracer": twins / "tracer-2", "sources": None},
    "trace_all": lambda _: {"trace_all": True},
    "sources": lambda _: {"sources": None},
    "use_sources": lambda _: {"use_sources": False, "sources": None},
    "evidence": lambda _: {"evidence": EvidenceOptions(pictures=True)},
}
"""A change of every option that shapes a finding; where it is to be seen is in `runidentity`."""
WITHOUT_A_SECOND_KIND = {"device": "only a CPU is everywhere", "runtime": "ONNX is an extra"}
EVIDENCE_CHANGED = {"acoustics": True, "pictures": True, "excerpts": "flagged", "stability": True}
UNCHANGED: dict[str, Any] = {
    "batch_windows": 7, "debug": True, "isolation": "processes", "workers": 3,
    "limits": replace(ScanOptions().limits, base_s=1.0),
}  # fmt: skip


def of(twins: Path, **changes: object) -> str:
    options = ScanOptions(device="cpu", tracer=twins / "tracer", sources=twins / "sources.json")
    return run_identity(Scanner(twins / "detector", replace(options, **changes))).sha256


def test_every_option_is_in_the_fingerprint_or_known_to_change_nothing(twins: Path) -> None:
    names = {field.name for field in fields(ScanOptions)}
    assert names == CHANGED.keys() | WITHOUT_A_SECOND_KIND.keys() | WITHOUT_EFFECT.keys(), (
        "give CHANGED a change of the new option, or name it in runidentity.WITHOUT_EFFECT with the reason"
    )
    assert names >= STATED_OTHERWISE.keys()
    assert WITHOUT_EFFECT.keys() == UNCHANGED.keys()
    assert EVIDENCE_CHANGED.keys() == {field.name for field in fields(EvidenceOptions)}
    facts = run_facts(Scanner(twins / "detector", ScanOptions(device="cpu")))
    assert facts["options"].keys() >= {"device", "runtime", "dtype"}


def test_the_fingerprint_changes_with_every_option_that_shapes_findings(twins: Path) -> None:
    plain = of(twins)
    assert of(twins, hop_s=1.0) == plain, "what became of an option counts, not how it was written"
    seen = {name: of(twins, **change(twins)) for name, change in CHANGED.items()}
    assert plain not in {fingerprint for name, fingerprint in seen.items() if name != "precision"}
    # What `auto` chose is one of the two; which one it was is in the fingerprint as well.
    assert len(set(seen.values())) >= len(seen) - 1
    evidence = [of(twins, evidence=EvidenceOptions(**{name: on})) for name, on in EVIDENCE_CHANGED.items()]
    assert len({plain, *evidence}) == 1 + len(EVIDENCE_CHANGED)


def test_the_fingerprint_is_the_same_whatever_changes_no_finding(twins: Path) -> None:
    assert {of(twins, **{name: value}) for name, value in UNCHANGED.items()} == {of(twins)}


def test_the_fingerprint_is_of_model_program_and_machine(
    scanner: Scanner, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = run_facts(scanner)
    moved = tmp_path / "elsewhere" / tiny_model.name
    shutil.copytree(tiny_model, moved)
    assert run_facts(Scanner(moved, scanner.options)) == facts
    config = moved / "config.json"
    config.write_text(config.read_text().replace('"slope": 1.0', '"slope": 1.5'))
    assert run_facts(Scanner(moved, scanner.options))["model"]["config_sha256"] != facts["model"]["config_sha256"]
    for place, name in (("spoofcheck.__version__", "program"), ("platform.machine", "machine")):
        with monkeypatch.context() as patch:
            patch.setattr(place, (lambda: "vax") if name == "machine" else "99.0")
            assert run_facts(scanner)[name] != facts[name]
    cpus = tmp_path / "cpuinfo"
    monkeypatch.setattr("spoofcheck.detect.runidentity._CPU_FACTS", cpus)
    kinds = []
    for vendor, flags in (("A", "fma avx512_bf16"), ("A", "fma avx512_bf16 amx_bf16"), ("B", "fma avx512_bf16")):
        cpus.write_text("".join(f"processor\t: {n}\nvendor_id\t: {vendor}\nflags\t: fpu {flags}\n\n" for n in (0, 1)))
        kinds.append(run_facts(scanner)["machine"]["processor"])
    assert kinds == ["A avx512_bf16 fma", "A amx_bf16 avx512_bf16 fma", "B avx512_bf16 fma"]
    package = tmp_path / "package"
    package.mkdir()
    (package / "a.py").write_text("x = 1\n")
    before = source_sha256(package)
    (package / "a.py").write_text("x = 2\n")
    assert len({before, source_sha256(package), facts["program"]["source_sha256"]}) == 3


def test_every_library_that_reads_or_computes_is_in_the_fingerprint() -> None:
    from tests.packaging.test_dependencies import _imported_distributions

    paths = [path for path in sources() if path.relative_to(PACKAGE).parts[0] in ("audio", "detect", "nets")]
    known = {*LIBRARIES, *EVIDENCE_LIBRARIES, *LIBRARIES_WITHOUT_EFFECT, "onnx", "onnxruntime"}
    assert _imported_distributions(paths) <= known, "name it in detect/runidentity.py"


# --------------------------------------------------------------------------------------------------- damage and trouble


def _spoil(folder: Path, what: str = "payload = zeroblob(length(payload))") -> None:
    with sqlite3.connect(folder / DATABASE_NAME) as connection:
        connection.execute(f"UPDATE results SET {what}")
    connection.close()


@pytest.mark.parametrize(
    "what", ["payload = zeroblob(length(payload))", "payload = 'text'", "checksum = ''", "payload = x''"]
)
def test_a_damaged_row_is_scored_anew(scans: Scans, recordings: Path, what: str) -> None:
    first = scans(recordings)
    _spoil(scans.folder, what)
    assert scans(recordings) == first
    assert scans.from_store == 0
    assert scans(recordings) == first
    assert (scans.from_store, scans.warnings) == (5, [])


def test_a_row_under_another_key_is_not_taken(scans: Scans, tmp_path: Path) -> None:
    first, second = write_noise(tmp_path / "a.wav", seed=1), write_noise(tmp_path / "b.wav", seed=2)
    scans(first)
    ((other,),) = scans(second)
    with sqlite3.connect(scans.folder / DATABASE_NAME) as connection:
        connection.execute("DELETE FROM results WHERE content_sha256 = ?", (other.sha256,))
        connection.execute("UPDATE results SET content_sha256 = ?", (other.sha256,))
    connection.close()
    assert scans(second) == [(other,)]
    assert scans.from_store == 0


@pytest.mark.parametrize("damage", ["head", "middle", "all"])
def test_a_damaged_database_is_set_aside_and_a_new_one_begun(scans: Scans, recordings: Path, damage: str) -> None:
    first = scans(recordings)
    path = scans.folder / DATABASE_NAME
    data = bytearray(path.read_bytes())
    start, end = {"head": (0, 100), "middle": (4096, len(data)), "all": (0, len(data))}[damage]
    data[start:end] = bytes(range(255, -1, -1)) * ((end - start) // 256 + 1)
    path.write_bytes(data)
    assert scans(recordings) == first
    (warning,) = scans.warnings
    assert "is damaged" in warning
    (aside,) = scans.folder.glob(f"{DATABASE_NAME}.damaged-*")
    assert aside.name in warning
    assert aside.read_bytes()[4096:8192] == bytes(data)[4096:8192]
    assert scans(recordings) == first
    assert (scans.from_store, len(scans.warnings)) == (5, 1)


def test_a_full_disk_costs_the_store_and_no_finding(scans: Scans, scanner: Scanner, recordings: Path) -> None:
    expected = [findings for _, findings in scanner.examined_inputs(find_inputs([recordings]))]
    with scans.store() as store:
        assert store._database is not None
        store._database._connection.execute("PRAGMA max_page_count = 1")  # whatever it needs more, it does not get
        assert store._database._connection.execute("PRAGMA max_page_count").fetchone()[0] <= 8
        filler = b"x" * 100_000
        with pytest.raises(UnusableStoreError, match="disk is full"):
            store._database.put(Key("0", "0", ""), filler, "{}")
        for path in (recordings / "0.wav", recordings / "1.wav"):
            assert store.find(path, lambda: False) is None
        store._database.put = lambda *_: (_ for _ in ()).throw(UnusableStoreError("disk is full"))  # type: ignore[method-assign]
        found = [findings for _, findings in scanner.examined_inputs(find_inputs([recordings]), store=store)]
    assert found == expected
    assert scans.warnings == ["disk is full; the scan goes on without it"]


def test_a_folder_that_cannot_be_made_costs_the_store_alone(scans: Scans, recordings: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    scans.folder = tmp_path / "file" / "store"
    assert len(scans(recordings)) == 5
    (warning,) = scans.warnings
    assert "goes on without" in warning


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("others may write", "others may write to it"),
        ("another owner", "belongs to another user"),
        ("another database", "is a database, but no result store"),
        ("another version", "made by another version of spoofcheck (format 99)"),
        ("a pipe", "is no regular file"),
        ("a planted log", "others may write to it"),
    ],
)
def test_a_store_that_is_not_ours_alone_is_neither_believed_nor_changed(
    scans: Scans, recordings: Path, monkeypatch: pytest.MonkeyPatch, trouble: str, said: str
) -> None:
    first = scans(recordings)
    path = scans.folder / DATABASE_NAME
    if trouble == "others may write":
        path.chmod(0o622)
    elif trouble == "another owner":
        owner = os.geteuid()
        monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    elif trouble == "a pipe":
        path.unlink()
        os.mkfifo(path)
    elif trouble == "a planted log":
        Path(f"{path}-wal").touch()
        Path(f"{path}-wal").chmod(0o666)
    else:
        pragma = "application_id = 5" if trouble == "another database" else "user_version = 99"
        connection = sqlite3.connect(path)
        connection.execute(f"PRAGMA {pragma}")
        connection.close()
    before = None if trouble == "a pipe" else path.read_bytes()
    assert scans(recordings) == first
    assert scans.from_store == 0
    (warning,) = scans.warnings
    assert said in warning
    assert before is None or path.read_bytes() == before


def test_a_store_is_for_its_owner_alone(scans: Scans, recordings: Path) -> None:
    scans.folder = scans.folder / "deeper"
    scans(recordings)
    assert scans.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in scans.folder.iterdir()} == {0o600}


def test_what_is_kept_is_on_the_disk_at_once(scans: Scans, recordings: Path) -> None:
    with scans.store() as store:
        assert store._database is not None
        execute = store._database._connection.execute
        assert execute("PRAGMA synchronous").fetchone() == (2,)
        assert execute("PRAGMA journal_mode").fetchone()[0] in ("wal", "delete")
        path = recordings / "0.wav"
        store.find(path, lambda: False)
        store.keep(path, tuple(scans.scanner.findings([path])))
        assert entries(scans.folder) == 1


def test_several_scans_share_a_store(scans: Scans, scanner: Scanner, recordings: Path) -> None:
    expected = [findings for _, findings in scanner.examined_inputs(find_inputs([recordings]))]
    known = {findings[0].path: findings for findings in expected}
    stores = [scans.store() for _ in range(4)]

    def work(store: ResultStore) -> None:
        for path in sorted(recordings.iterdir()):
            found = store.find(path, lambda: False)
            assert found in (None, known[str(path)])
            store.keep(path, known[str(path)])

    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    assert (entries(scans.folder), scans.warnings) == (5, [])
    assert scans(recordings) == expected
    assert scans.from_store == 5


def test_a_network_folder_has_no_write_ahead_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    shared = tmp_path / "shared files"
    shared.mkdir()
    name = str(shared).replace(" ", "\\040")
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/x {name} nfs4 rw 0 0\ntmpfs {name}/local tmpfs rw 0 0\n")
    monkeypatch.setattr(resultdatabase, "_MOUNTS", mounts)
    for folder, mode in ((shared / "store", "delete"), (shared / "local" / "store", "wal")):
        with ResultDatabase(folder) as database:
            assert database._connection.execute("PRAGMA journal_mode").fetchone() == (mode,)


# ------------------------------------------------------------------------------------------------------- what it holds


def _filled(folder: Path) -> ResultDatabase:
    database = ResultDatabase(folder)
    for model, n in (("one", 3), ("two", 2)):
        identity = identity_of({"model": {"name": model, "version": "1"}})
        for number in range(n):
            database.put(Key(identity.sha256, f"{number}", "wav"), b"x" * 50_000, identity.facts)
    return database


def test_runs_are_listed_with_their_models_dates_and_sizes(tmp_path: Path) -> None:
    with _filled(tmp_path) as database:
        runs = {run.model: run for run in database.runs()}
        assert {name: run.entries for name, run in runs.items()} == {"one": 3, "two": 2}
        assert runs["one"].payload_bytes == 150_000
        assert runs["one"].model_version == "1"
        now = datetime.now(UTC)
        assert all(now - timedelta(minutes=10) < run.first_at <= run.last_at <= now for run in runs.values())
        database._connection.execute("UPDATE runs SET facts = '{}'")
        assert {run.model for run in database.runs()} == {"?"}


def test_pruning_removes_what_was_chosen_and_gives_its_space_back(tmp_path: Path) -> None:
    with _filled(tmp_path) as database:
        assert database.remove(model="three").entries == 0
        assert database.remove(kept_before=datetime.now(UTC) - timedelta(days=1)).entries == 0
        database._connection.execute("UPDATE results SET kept_at = kept_at - 200000 WHERE content_sha256 = '0'")
        pruned = database.remove(model="one", kept_before=datetime.now(UTC) - timedelta(days=1))
        assert pruned.entries == 1
        assert pruned.freed_bytes > 40_000
        assert {run.model: run.entries for run in database.runs()} == {"one": 2, "two": 2}
        assert database.remove().entries == 4
        assert database.runs() == []
        assert database.size_bytes() < 100_000
        assert database._connection.execute("SELECT count(*) FROM runs").fetchone() == (0,)
    assert not re.search(rb"x{64}", (tmp_path / DATABASE_NAME).read_bytes())
