"""What `spoofcheck verify` checks, one function per question; each answers with `Check`s and prints nothing.

The file to verify is hostile: its page is read as text and never run, the names in it lead to no file, and no model
that it names is downloaded. Only what the user gives (a folder, a model, a ledger) is opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Literal

from spoofcheck import __version__
from spoofcheck.audio.files import open_recording, sha256_of
from spoofcheck.audio.inputs import display_path
from spoofcheck.document import parse_document
from spoofcheck.errors import InputError, ModelError, UsageError
from spoofcheck.nets.config import CONFIG_FILE
from spoofcheck.nets.index import WEIGHTS_FILE, file_sha256, find_model, list_models, read_index
from spoofcheck.render.canonical import MAX_PAGE_CHARS, document_sha256, extract, report_id_of
from spoofcheck.render.paths import relative_names
from spoofcheck.render.templating import policy_hash
from spoofcheck.render.text import count, printable
from spoofcheck.resources import models_dir
from spoofcheck.schema import Finding, ModelInfo, ScanDocument, TracerInfo

if TYPE_CHECKING:
    from spoofcheck.ledger import Entry

MAX_FILES: Final = 500_000
"""Of a folder that is searched for exhibits."""
TOLERANCE: Final = 1e-6
"""Scores computed on the same kind of machine with the same libraries differ by less."""
OTHER_MACHINE_TOLERANCE: Final = 1e-3
"""Scores computed elsewhere differ by less: sums of float32 in another order. Below what a report prints as LLR."""
BF16_TOLERANCE: Final = 0.02
"""Scores in bfloat16 of processors of the same kind differ by less: one generation rounds otherwise than the next."""
OTHER_BF16_TOLERANCE: Final = 0.1
"""Scores in bfloat16 differ by less from those in float32, or of a GPU (docs/speed.md)."""

_PLACES: Final = 3
_AROUND: Final = 40
_SECTION = re.compile(r'<(?:section|article|header|nav)\b[^>]*?\bid="([^"]{1,80})"')


class Outcome(StrEnum):
    """What became of one check."""

    OK = "ok"
    DIFFERS = "differs"
    CANNOT = "cannot be checked"
    NOT_ASKED = "not asked for"


@dataclass(frozen=True, slots=True)
class Check:
    """One question and its answer; both may hold outside text, so escape them before printing.

    Attributes:
        what: was checked.
        outcome: of the check.
        message: what was found, and where.
    """

    what: str
    outcome: Outcome
    message: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """A file to verify, as it was read.

    Attributes:
        name: of the file, printable.
        sha256: of the whole file.
        page: the report, or None when the file is a result document.
        document: the result document's bytes, as the file holds them.
        document_sha256: of these bytes in a report; of the canonical JSON of a result document.
        claimed_sha256: what the page says it is; None without a page.
    """

    name: str
    sha256: str
    page: str | None
    document: bytes
    document_sha256: str
    claimed_sha256: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure that came out otherwise than recorded; None: there is none."""

    exhibit: str
    what: str
    recorded: float | str | None
    found: float | str | None

    @property
    def size(self) -> float:
        """How far apart two numbers are; infinite for anything else."""
        if isinstance(self.recorded, float) and isinstance(self.found, float):
            return abs(self.recorded - self.found)
        return float("inf")


def worst(checks: Iterable[Check]) -> Literal[0, 1, 2]:
    """The exit code: 1 when something differs, else 2 when something could not be checked, else 0."""
    outcomes = {check.outcome for check in checks}
    return 1 if Outcome.DIFFERS in outcomes else 2 if Outcome.CANNOT in outcomes else 0


def read_evidence(path: Path) -> Evidence:
    """Read a report or a result document; which of the two is seen from its first character.

    Raises:
        UsageError: it cannot be read, or is neither.
    """
    name = printable(str(path))
    try:
        with open_recording(path) as file:
            content = b"".join(iter(lambda: file.read(1 << 20), b"")) if _size(path) <= MAX_PAGE_CHARS else None
    except InputError as error:
        raise UsageError(f"{name}: {error.message}") from error
    if content is None:
        raise UsageError(f"{name}: larger than any report ({MAX_PAGE_CHARS >> 20} MB)")
    sha256 = hashlib.sha256(content).hexdigest()
    if content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{":
        canonical = document_sha256(parse_document(content, name))
        return Evidence(name, sha256, None, content, canonical, None)
    try:
        page = content.decode("utf-8")
        held = extract(page)
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: neither a report nor a result document (not UTF-8 text)") from error
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error
    return Evidence(name, sha256, page, held.content, held.sha256, held.claimed_sha256)


def check_document(evidence: Evidence) -> tuple[Check, ScanDocument | None]:
    """Whether the result document inside a report is the one that its hash was taken of, and the document."""
    what, number = "result document", report_id_of(evidence.document_sha256)
    if evidence.claimed_sha256 is None:
        text = f"{number}, SHA-256 {evidence.document_sha256}; the file holds nothing to compare it with"
        return Check(what, Outcome.NOT_ASKED, text), parse_document(evidence.document, evidence.name)
    try:
        document = parse_document(evidence.document, evidence.name)
        unreadable = ""
    except UsageError as error:
        document, unreadable = None, f"; {error}"
    if evidence.document_sha256 != evidence.claimed_sha256:
        text = (
            f"changed: its SHA-256 is {evidence.document_sha256}, the page says {evidence.claimed_sha256}{unreadable}"
        )
        return Check(what, Outcome.DIFFERS, text), document
    if document is None:
        return Check(what, Outcome.CANNOT, unreadable.removeprefix("; ")), None
    return Check(what, Outcome.OK, f"{number}, SHA-256 {evidence.document_sha256}"), document


def check_page(evidence: Evidence, document: ScanDocument, render: Callable[[ScanDocument], str]) -> Check:
    """Whether the page is, byte for byte, what this version renders from the document in it.

    Args:
        evidence: with a page.
        document: the one in it, whether or not its hash agrees.
        render: gives the page of a document.
    """
    what = "page"
    if document.tool.version != __version__:
        text = (
            f"written by spoofcheck {document.tool.version}, this is {__version__}: only the same version renders the "
            "same page"
        )
        return Check(what, Outcome.CANNOT, text)
    page, expected = evidence.page or "", render(document)
    if page == expected:
        return Check(what, Outcome.OK, f"is what spoofcheck {__version__} renders from the document in it")
    # Where the document was changed, its number differs everywhere: that would hide the place of the change.
    expected = _with_numbers(expected, evidence.document_sha256, evidence.claimed_sha256 or "")
    places = list(_places(page.split("\n"), expected.split("\n")))
    if not places:
        return Check(what, Outcome.DIFFERS, "differs in its number and hashes only; the text agrees with the document")
    shown = "; ".join(places[:_PLACES]) + ("; ..." if len(places) > _PLACES else "")
    return Check(
        what, Outcome.DIFFERS, f"differs from what the document says in {count(len(places), 'place')}: {shown}"
    )


def check_exhibits(document: ScanDocument, folder: Path) -> tuple[list[Check], dict[str, Path]]:
    """Whether the recordings in a folder are those that were examined.

    Every recording is looked for by its SHA-256, under whatever name; if it is not there, a file of its name is a
    changed one.

    Returns:
        A check per recording, and where each was found, by its SHA-256.

    Raises:
        UsageError: no such folder, or one with too many files.
    """
    wanted: dict[str, Finding] = {}
    for finding in document.findings:
        if finding.sha256 is not None:
            wanted.setdefault(finding.sha256, finding)
    sizes = {finding.media.size_bytes if finding.media else None for finding in wanted.values()}
    names = {_last_part(finding.path) for finding in document.findings}
    labels = exhibit_labels(document)
    found: dict[str, Path] = {}
    namesakes: dict[str, list[tuple[Path, str | None]]] = {}
    for path in _files(folder):
        named = display_path(path.name)
        try:
            if named not in names and None not in sizes and _size(path) not in sizes:
                continue
            digest: str | None = sha256_of(path)
        except (OSError, InputError):
            digest = None
        if digest is not None and digest in wanted:
            found.setdefault(digest, path)
        elif named in names:
            namesakes.setdefault(named, []).append((path, digest))
    checks = [
        _exhibit_check(
            labels[finding.path],
            finding,
            digest,
            folder,
            found.get(digest),
            namesakes.get(_last_part(finding.path), []),
        )
        for digest, finding in wanted.items()
    ]
    return checks or [Check("exhibits", Outcome.CANNOT, "the document holds no hash of a recording")], found


def exhibit_labels(document: ScanDocument) -> dict[str, str]:
    """What each recording is called in messages, by its path: its reference in the case, or its name, printable."""
    names = relative_names(finding.path for finding in document.findings)
    return {each.path: printable(each.exhibit) if each.exhibit else names[each.path] for each in document.findings}


def _exhibit_check(
    label: str,
    finding: Finding,
    digest: str,
    folder: Path,
    place: Path | None,
    others: Sequence[tuple[Path, str | None]],
) -> Check:
    what = f"exhibit {label}"
    if place is not None:
        return Check(what, Outcome.OK, f"{_below(place, folder)}, SHA-256 {digest}")
    if not others:
        return Check(what, Outcome.CANNOT, f"not found: no file has the SHA-256 {digest} or this name")
    path, other = next((each for each in others if each[1] is not None), others[0])
    if other is None:
        return Check(what, Outcome.CANNOT, f"{_below(path, folder)} has its name, but cannot be read")
    recorded = finding.media.size_bytes if finding.media else None
    size = _size(path) if path.exists() else None
    how = "" if recorded is None or size is None or recorded == size else f" ({size:,} bytes, not {recorded:,})"
    text = f"changed: {_below(path, folder)} has the SHA-256 {other}, the examined file had {digest}{how}"
    return Check(what, Outcome.DIFFERS, text)


def check_model(
    info: ModelInfo | TracerInfo, what: Literal["model", "tracer"], given: str | None
) -> tuple[Check, Path | None]:
    """Whether the installed model is the one that scored, by the hashes of its weights and configuration.

    Args:
        info: what the document says.
        what: which of the two.
        given: a name or folder that the user names; None looks among the shipped models only, since the name in the
            document may be anything.

    Returns:
        The check, and the model's folder when it is the one.
    """
    try:
        directory, version = _installed(info.name, given)
    except ModelError as error:
        return Check(what, Outcome.CANNOT, str(error)), None
    if directory is None:
        text = f"{info.name} is not installed; name its folder with --{what}"
        return Check(what, Outcome.CANNOT, text), None
    differing = []
    for name, recorded in ((WEIGHTS_FILE, info.weights_sha256), (CONFIG_FILE, info.config_sha256)):
        try:
            digest = file_sha256(directory / name)
        except OSError as error:
            return Check(what, Outcome.CANNOT, f"{directory / name}: {error.strerror or error}"), None
        if digest != recorded:
            differing.append(f"{name} has the SHA-256 {digest}, the report's had {recorded}")
    if not differing:
        return Check(what, Outcome.OK, f"{info.name} {info.version}: weights and configuration agree"), directory
    text = f"{info.name} {info.version}: {'; '.join(differing)}"
    if version is not None and version != info.version:
        return Check(what, Outcome.CANNOT, f"{text}; version {version} is installed"), None
    return Check(what, Outcome.DIFFERS, text), None


def check_entries(evidence: Evidence, ledger_file: Path, head: str | None = None) -> list[Check]:
    """Whether a ledger is whole, and tells of this very file.

    Raises:
        UsageError: the ledger cannot be read.
    """
    from spoofcheck.ledger import read_ledger

    ledger = read_ledger(ledger_file, head)
    checks = [
        Check("ledger", Outcome.DIFFERS, f"line {problem.line}: {problem.message}") for problem in ledger.problems
    ]
    if not checks:
        checks.append(Check("ledger", Outcome.OK, f"whole: {count(len(ledger.entries), 'entry', 'entries')}"))
    checks.append(_entry_check("result document", ledger.entries, evidence.document_sha256, report=False))
    if evidence.page is not None:
        checks.append(_entry_check("report file", ledger.entries, evidence.sha256, report=True))
    return checks


def _entry_check(what: str, entries: Sequence[Entry], digest: str, *, report: bool) -> Check:
    """What a verification entered says nothing: it would vouch for any file that was once verified."""
    for entry in entries:
        if entry.kind in ("scan", "report") and digest == (
            entry.subjects.report if report else entry.subjects.document
        ):
            return Check(f"{what} in the ledger", Outcome.OK, f"entry {entry.index}, {entry.kind}, {entry.time}")
    return Check(f"{what} in the ledger", Outcome.DIFFERS, f"no entry tells of a file with the SHA-256 {digest}")


def differences(label: str, recorded: Sequence[Finding], found: Sequence[Finding]) -> Iterator[Difference]:
    """Every figure of the findings on one recording that is not the same; numbers differ by any amount above 0."""
    again = {finding.channel: finding for finding in found}
    for old in recorded:
        name = label + (f", channel {old.channel}" if old.channel is not None else "")
        new = again.get(old.channel)
        if new is None:
            yield Difference(name, "finding", str(old.verdict), None)
            continue
        yield from _unequal(name, "verdict", str(old.verdict), str(new.verdict))
        yield from _unequal(name, "pooled LLR", old.spoof_llr, new.spoof_llr)
        yield from _unequal(name, "mean raw score", old.raw_score, new.raw_score)
        yield from _unequal(name, "distance", old.validity_distance, new.validity_distance)
        yield from _unequal(name, "windows", str(len(old.windows)), str(len(new.windows)))
        if old.media is not None and new.media is not None:
            yield from _unequal(name, "decoded PCM", old.media.pcm_sha256, new.media.pcm_sha256)
        for number, (before, after) in enumerate(zip(old.windows, new.windows, strict=False), start=1):
            where = f"window {number}"
            yield from _unequal(name, f"{where}, start", before.start_s, after.start_s)
            yield from _unequal(name, f"{where}, raw score", before.raw_score, after.raw_score)
            yield from _unequal(name, f"{where}, LLR", before.spoof_llr, after.spoof_llr)
            yield from _unequal(name, f"{where}, distance", before.validity_distance, after.validity_distance)


def stated_differences(
    document: ScanDocument, model: ModelInfo, rule: Mapping[str, float | None]
) -> Iterator[Difference]:
    """What the document says of model and rule otherwise than they are: thresholds, validation figures, limits.

    Args:
        document: under test.
        model: what the loaded model says of itself; its hashes agree.
        rule: thresholds in force, by their names in `OptionsInfo`; None where an uncalibrated model has none.
    """
    recorded, found = (each.model_dump(mode="json") for each in (document.model, model))
    for field in found:
        yield from _unequal("model", field, _spelt(recorded[field]), _spelt(found[field]))
    for field, value in rule.items():
        stated: float | None = getattr(document.options, field)
        yield from _unequal("options", field, _as_float(stated), _as_float(value))


def _as_float(value: float | None) -> float | None:
    return None if value is None else float(value)


def _spelt(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def check_scores(found: Sequence[Difference], exhibits: int, *, same_kind: bool, dtype: str = "float32") -> Check:
    """The verdict on a recomputation.

    Args:
        found: of `differences`, over all exhibits.
        exhibits: how many recordings were scanned again.
        same_kind: whether machine, device and libraries are those of the report.
        dtype: what the report's scores were computed in.
    """
    limit = TOLERANCE if same_kind else OTHER_MACHINE_TOLERANCE
    if dtype != "float32":
        limit = BF16_TOLERANCE if same_kind else OTHER_BF16_TOLERANCE
    numbers = [each.size for each in found if each.size != float("inf")]
    largest = f"largest difference of a score {max(numbers, default=0.0):.2g}"
    where = "" if same_kind else "; computed on another kind of machine or with other libraries"
    if dtype != "float32":
        where += f"; these scores are in {dtype}, which each processor rounds in its own way"
    beyond = [each for each in found if each.size > limit]
    scanned = f"{count(exhibits, 'recording')} scanned again"
    if beyond:
        text = f"{scanned}: a difference of more than {limit:g} in {count(len(beyond), 'figure')}, {largest}{where}"
        return Check("scores", Outcome.DIFFERS, text)
    return Check("scores", Outcome.OK, f"{scanned}: none differs by more than {limit:g}, {largest}{where}")


def same_kind_of_machine(document: ScanDocument, device: str, platform: str, libraries: Mapping[str, str]) -> bool:
    """Whether scores must repeat to `TOLERANCE`: the same device, machine type and libraries that compute."""
    computes = ("numpy", "onnxruntime", "soxr", "torch", "torchaudio", "transformers")
    # Parts of a joined document say where they differ from it.
    parts = () if document.merged is None else document.merged.parts
    platforms = [document.tool.platform, *(part.platform for part in parts if part.platform is not None)]
    recorded = [document.tool.libraries, *(part.libraries for part in parts if part.libraries is not None)]
    return (
        document.options.device == device
        and all(each == platform for each in platforms)
        and all(each.get(name) == libraries.get(name) for each in recorded for name in computes)
    )


def _unequal(exhibit: str, what: str, recorded: float | str | None, found: float | str | None) -> Iterator[Difference]:
    if recorded != found:
        yield Difference(exhibit, what, recorded, found)


def _installed(name: str, given: str | None) -> tuple[Path | None, str | None]:
    """Folder of the model, and its version where it is a shipped one."""
    if given is not None:
        return find_model(given), None
    if name not in list_models():
        return None, None
    return models_dir() / name, read_index().models[name].version


def _with_numbers(page: str, own: str, claimed: str) -> str:
    """The page with the document's own hash and number replaced by those that the page under test claims."""
    style = _style(page)
    for form in (str, _grouped, report_id_of):
        page = page.replace(form(own), form(claimed))
    # The number stands in the printed head of every sheet, so the policy's hash of the style follows it.
    return page.replace(policy_hash(style), policy_hash(_style(page)))


def _style(page: str) -> str:
    return page.partition("<style>")[2].partition("</style>")[0]


def _grouped(digest: str) -> str:
    return "<wbr>".join(digest[i : i + 8] for i in range(0, len(digest), 8))


def _places(page: Sequence[str], expected: Sequence[str]) -> Iterator[str]:
    """Where lines differ. With lines put in or taken out, only the first and last place can be told."""
    section = "head of the page"
    if len(page) != len(expected):
        first = next((i for i, (a, b) in enumerate(zip(page, expected, strict=False)) if a != b), None)
        at = min(len(page), len(expected)) if first is None else first
        for line in expected[: at + 1]:
            section = _section(line, section)
        yield f"line {at + 1} ({section}) and what follows: {len(page):,} lines, not {len(expected):,}"
        return
    for number, (line, right) in enumerate(zip(page, expected, strict=True), start=1):
        section = _section(right, section)
        if line != right:
            at = next(
                (i for i, (a, b) in enumerate(zip(line, right, strict=False)) if a != b), min(len(line), len(right))
            )
            yield f"line {number} ({section}): {_around(line, at)} where {_around(right, at)} is expected"


def _section(line: str, former: str) -> str:
    found = _SECTION.findall(line)
    return found[-1] if found else former


def _around(line: str, at: int) -> str:
    begin, end = max(0, at - _AROUND // 2), at + _AROUND // 2
    return f"'{'...' if begin else ''}{printable(line[begin:end])}{'...' if end < len(line) else ''}'"


def _files(folder: Path) -> Iterator[Path]:
    """Every regular file below a folder in sorted order; links to folders are not followed."""
    if not folder.is_dir():
        raise UsageError(f"--exhibits {printable(str(folder))}: no such folder")
    number = 0
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            if not path.is_file():
                continue
            number += 1
            if number > MAX_FILES:
                raise UsageError(
                    f"--exhibits {printable(str(folder))}: more than {MAX_FILES:,} files; name a smaller one"
                )
            yield path


def _size(path: Path) -> int:
    return path.stat().st_size


def _below(path: Path, folder: Path) -> str:
    return display_path(path.relative_to(folder))


def _last_part(path: str) -> str:
    return PurePosixPath(path).name or path
