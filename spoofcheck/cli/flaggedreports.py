"""A self-contained report of every flagged recording, in a folder."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spoofcheck.cli.output import write_output
from spoofcheck.errors import OutputError

if TYPE_CHECKING:
    from spoofcheck.detect.scan import Scanner
    from spoofcheck.schema import Finding, ScanDocument

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")
_MOST_STEM_CHARS: Final = 60
_DIGEST_CHARS: Final = 16


def is_flagged(findings: Sequence[Finding]) -> bool:
    """Whether any channel of a recording is."""
    from spoofcheck.schema import FLAGGED

    return any(finding.verdict in FLAGGED for finding in findings)


class FlaggedReports:
    """Writes a page for each flagged recording, with acoustic observations and pictures.

    Those are made here, in a second reading of the few recordings that are flagged, so that all others cost nothing.

    Args:
        folder: made when missing.
        scanner: that judged the recordings.
        origin: the document of the run, without findings.

    Raises:
        OutputError: the folder cannot be made.
        ModelError: the acoustic reference is missing or damaged.
    """

    def __init__(self, folder: Path, scanner: Scanner, origin: ScanDocument) -> None:
        from spoofcheck.detect.evidence import EvidenceOptions

        self._folder = folder
        self._origin = origin
        self._scanner = scanner.varied(scanner.options.channels, EvidenceOptions(acoustics=True, pictures=True))
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be made ({error.strerror or error})") from error

    def write(self, path: Path, findings: Sequence[Finding]) -> Path | None:
        """Write the report of a recording, unless it is there.

        Args:
            path: of the recording.
            findings: of its channels.

        Returns:
            Where it is; None when the recording is not any more what was judged.

        Raises:
            OutputError: it cannot be written.
        """
        from spoofcheck.detect.custody import check_again, with_custody
        from spoofcheck.detect.provenance import build_document
        from spoofcheck.render import Format, render

        target = self._folder / self._name(findings[0])
        if target.exists():
            return target
        started_at = datetime.now(UTC)
        again = [finding for _, found in self._scanner.examined_inputs([path]) for finding in found]
        if {finding.sha256 for finding in again} != {finding.sha256 for finding in findings}:
            return None
        check = check_again(path, findings[0].sha256 or "")
        document = build_document(
            self._scanner,
            [with_custody(finding, check) for finding in again],
            started_at=started_at,
            complete=True,
            command_line=["spoofcheck", *sys.argv[1:]],
            model=self._origin.model,
            controls=self._origin.controls,
        )
        write_output(target, render(document, Format.HTML))
        return target

    def _name(self, finding: Finding) -> str:
        """Of its page: the recording's, made plain, and what tells it from others of this name, content or model."""
        stem = _NOT_PLAIN.sub("_", Path(finding.path).stem)[:_MOST_STEM_CHARS].lstrip(".-") or "recording"
        parts = (finding.path, finding.sha256 or "", self._origin.model.weights_sha256)
        return f"{stem}-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:_DIGEST_CHARS]}.html"
