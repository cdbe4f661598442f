"""A report as a PDF, printed by an installed Chromium or Chrome; the page's own style numbers and names every sheet.

`find_chromium` is cheap: call it before a long scan, so that a missing browser is known at once.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from spoofcheck.errors import OutputError, UsageError
from spoofcheck.render.text import printable

CHROMIUM_VARIABLE: Final = "SPOOFCHECK_CHROMIUM"
"""Environment variable with the browser's name or path; it goes before the names that are looked for."""
MIN_VERSION: Final = 131
"""The first that prints what `@page` puts into the margins: the report's number and "page x of y"."""
TIMEOUT_S: Final = 600.0

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    # The page forbids every request itself; this holds for the browser around it.
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--no-pdf-header-footer",
    "--generate-pdf-document-outline",
)
_VERSION_TIMEOUT_S = 30.0
_INSTALL = (
    f"install Chromium or Chrome {MIN_VERSION} or newer (Debian, Ubuntu: apt-get install chromium), "
    f"or set {CHROMIUM_VARIABLE} to its path"
)
_VERSION = re.compile(r"\b(\d{2,4})\.\d+\.\d+")
_LOG_PREFIX = re.compile(r"^\[[^\]]*\]\s*")


def find_chromium() -> str:
    """Path of an installed Chromium or Chrome that prints page numbers.

    Raises:
        UsageError: there is none, `SPOOFCHECK_CHROMIUM` names none, or it is too old; says what to install.
    """
    named = os.environ.get(CHROMIUM_VARIABLE)
    if named:
        found = shutil.which(named)
        if found is None:
            raise UsageError(f"{CHROMIUM_VARIABLE}: '{printable(named)}' is no program that can be run")
    else:
        found = next((place for name in _NAMES if (place := shutil.which(name))), None)
        if found is None:
            raise UsageError(f"a PDF needs a browser to print it, and none was found: {_INSTALL}")
    version = _version(found)
    if version is None:
        raise UsageError(f"{printable(found)}: does not say which Chromium it is ('--version'); {_INSTALL}")
    if version < MIN_VERSION:
        raise UsageError(f"{printable(found)}: version {version} prints no page numbers; {_INSTALL}")
    return found


def html_to_pdf(html: Path, pdf: Path, report_id: str = "", timeout_s: float = TIMEOUT_S) -> None:
    """Print a report to a file that appears under its name only once it is complete.

    The browser runs without a window, with an empty profile that is thrown away, and without network. Started by root
    it runs without its own sandbox, since it refuses to run otherwise.

    Args:
        html: the report.
        pdf: where to write; an existing file is replaced.
        report_id: what the printed document's title must name; "" checks nothing.
        timeout_s: how long the browser may take.

    Raises:
        UsageError: no browser, or no such report.
        OutputError: it cannot be printed or written; nothing is left behind.
    """
    if not html.is_file():
        raise UsageError(f"{printable(str(html))}: no such file")
    browser = find_chromium()
    target = printable(str(pdf))
    if pdf.is_dir():
        raise OutputError(f"{target}: is a folder, not a file to write")
    try:
        # A folder of its own beside the target: what is made there has the user's usual rights, and can be renamed.
        with tempfile.TemporaryDirectory(prefix="spoofcheck-pdf-", dir=pdf.absolute().parent) as beside:
            made = Path(beside, "report.pdf")
            said = _print(browser, html, made, timeout_s)
            _check(made, target, report_id, said)
            with made.open("rb") as file:
                os.fsync(file.fileno())
            made.replace(pdf)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror or error})") from error


def _version(browser: str) -> int | None:
    """The major version, None where the program does not say."""
    try:
        done = subprocess.run(
            [browser, "--version"],
            capture_output=True,
            timeout=_VERSION_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(done.stdout.decode("utf-8", "replace"))
    return int(match[1]) if match else None


def _print(browser: str, html: Path, made: Path, timeout_s: float) -> str:
    """Run the browser to its end; what it said on stderr."""
    root = ("--no-sandbox",) if os.geteuid() == 0 else ()
    # Helper processes may write into the profile a moment longer than the browser runs.
    with tempfile.TemporaryDirectory(prefix="spoofcheck-browser-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [browser, *_FLAGS, *root, f"--user-data-dir={profile}", f"--print-to-pdf={made}", html.resolve().as_uri()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            _, said = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise OutputError(f"the browser did not print the report within {timeout_s:g} s: {browser}") from error
        finally:
            # Whatever happened, Ctrl-C included: nothing of it stays behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return said.decode("utf-8", "replace")


def _check(made: Path, target: str, report_id: str, said: str) -> None:
    """Chromium ends with 0 whether or not it printed: only the file tells."""
    content = made.read_bytes() if made.is_file() else b""
    if not (content.startswith(b"%PDF-") and content.rstrip().endswith(b"%%EOF")):
        raise OutputError(f"{target}: the browser printed nothing{_complaint(said)}")
    if report_id and f"/Title (Report {report_id}".encode() not in content:
        raise OutputError(f"{target}: what the browser printed is not report {printable(report_id)}")


def _complaint(said: str) -> str:
    """The browser's last words that are about the page, for the end of an error message."""
    lines = [_LOG_PREFIX.sub("", line).strip() for line in said.splitlines() if line and "dbus" not in line]
    return f" ({printable(lines[-1])[:200]})" if lines else ""
