"""Printing a report, with stand-ins for the browser; a real one prints in `tests/page/test_print.py`."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from spoofcheck.errors import OutputError, UsageError
from spoofcheck.pdf import CHROMIUM_VARIABLE, MIN_VERSION, find_chromium, html_to_pdf

GOOD = "printf '%%PDF-1.4\\n/Title (Report SC-0123-4567-89AB: x)\\n%%%%EOF\\n' > \"$out\""


@pytest.fixture
def browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a stand-in is looked for; `stand_in` writes it."""
    path = tmp_path / "bin" / "browser"
    path.parent.mkdir()
    monkeypatch.setenv(CHROMIUM_VARIABLE, str(path))
    return path


def stand_in(path: Path, printing: str, version: str = f"Chromium {MIN_VERSION}.0.1.2") -> None:
    path.write_text(
        "#!/bin/sh\n"
        f'[ "$1" = --version ] && {{ echo "{version}"; exit 0; }}\n'
        f'printf "%s\\n" "$@" > "{path.parent}/arguments"\n'
        'for each in "$@"; do case $each in --print-to-pdf=*) out=${each#--print-to-pdf=};; esac; done\n'
        f"{printing}\n",
        encoding="utf-8",
    )
    path.chmod(0o755)


@pytest.fixture
def html(tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text("<!DOCTYPE html><title>x</title>", encoding="utf-8")
    return path


def test_what_is_printed_appears_whole(browser: Path, html: Path, tmp_path: Path) -> None:
    stand_in(browser, GOOD)
    out = tmp_path / "out"
    out.mkdir()
    html_to_pdf(html, out / "report.pdf", "SC-0123-4567-89AB")
    assert (out / "report.pdf").read_bytes().startswith(b"%PDF-1.4")
    assert [each.name for each in out.iterdir()] == ["report.pdf"]
    arguments = (browser.parent / "arguments").read_text(encoding="utf-8").splitlines()
    assert arguments[-1] == html.as_uri()
    assert "--host-resolver-rules=MAP * ~NOTFOUND" in arguments
    profile = next(each for each in arguments if each.startswith("--user-data-dir=")).partition("=")[2]
    assert not Path(profile).exists()


@pytest.mark.parametrize(
    ("printing", "message"),
    [
        ("true", "report.pdf: the browser printed nothing"),
        (
            "echo '[1:1/2.3:ERROR:dbus/bus.cc:405] no bus' >&2; echo '[1:2/3.4:ERROR:x.cc:9] Page load failed' >&2",
            r"report.pdf: the browser printed nothing \(Page load failed\)$",
        ),
        ("printf '%%PDF-1.4 half' > \"$out\"", "report.pdf: the browser printed nothing"),
        (GOOD.replace("0123", "9999"), "report.pdf: what the browser printed is not report SC-0123-4567-89AB"),
        ("printf 'crash \\033[31m\\n' >&2; exit 1", r"\(crash \\x1b\[31m\)$"),
    ],
)
def test_a_failure_leaves_what_was_there(
    browser: Path, html: Path, tmp_path: Path, printing: str, message: str
) -> None:
    stand_in(browser, printing)
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.pdf").write_bytes(b"before")
    with pytest.raises(OutputError, match=message):
        html_to_pdf(html, out / "report.pdf", "SC-0123-4567-89AB")
    assert (out / "report.pdf").read_bytes() == b"before"
    assert [each.name for each in out.iterdir()] == ["report.pdf"]


def test_a_browser_that_hangs_is_ended(browser: Path, html: Path, tmp_path: Path) -> None:
    stand_in(browser, f"sleep 60 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(OutputError, match=r"did not print the report within 0\.5 s"):
        html_to_pdf(html, tmp_path / "report.pdf", timeout_s=0.5)
    child = (tmp_path / "child").read_text().strip()
    deadline = time.monotonic() + 10
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(child)


def _runs(process_id: str) -> bool:
    """Not gone, and not dead and waiting for whoever inherits it to notice."""
    try:
        status = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_no_browser_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(CHROMIUM_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=rf"none was found: install Chromium .* or set {CHROMIUM_VARIABLE}"):
        find_chromium()


def test_a_browser_on_the_path_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(CHROMIUM_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    stand_in(tmp_path / "google-chrome", "true", "Google Chrome 140.0.7339.80")
    assert find_chromium() == str(tmp_path / "google-chrome")


@pytest.mark.parametrize("version", [f"Chromium {MIN_VERSION - 1}.9.9.9", "Chromium 99.0.4844.51 snap"])
def test_one_without_page_numbers_is_refused(browser: Path, version: str) -> None:
    stand_in(browser, "true", version)
    with pytest.raises(UsageError, match="prints no page numbers"):
        find_chromium()


def test_a_program_that_is_no_browser_is_refused(browser: Path) -> None:
    stand_in(browser, "true", "hello")
    with pytest.raises(UsageError, match="does not say which Chromium it is"):
        find_chromium()


def test_a_variable_that_names_nothing_is_refused(browser: Path) -> None:
    with pytest.raises(UsageError, match=rf"{CHROMIUM_VARIABLE}: '{re.escape(str(browser))}' is no program"):
        find_chromium()


def test_places_that_cannot_be_written(browser: Path, html: Path, tmp_path: Path) -> None:
    stand_in(browser, GOOD)
    with pytest.raises(OutputError, match="is a folder"):
        html_to_pdf(html, tmp_path)
    with pytest.raises(OutputError, match="cannot be written"):
        html_to_pdf(html, tmp_path / "nowhere" / "report.pdf")
    with pytest.raises(UsageError, match="no such file"):
        html_to_pdf(tmp_path / "no.html", tmp_path / "report.pdf")
