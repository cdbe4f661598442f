"""The page in a real browser, against a running server."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from spoofcheck.render.guard import problems
from spoofcheck.render.text import format_llr
from spoofcheck.render.wording import VERDICT_WORDS, opinion
from spoofcheck.schema import ScanDocument
from spoofcheck.serve import page as served_files
from spoofcheck.serve.page.view import page_words
from spoofcheck.serve.settings import Settings
from tests.page.browser import Page, chromium, find_chromium
from tests.page.marks import PAGE
from tests.page.test_accessibility import violations
from tests.support.audio import EXAMPLES, human_speech
from tests.support.servedpage import Faults, Reader, served
from tests.support.voice import RATE

pytestmark = PAGE

STATIC = Path(served_files.__file__).parent / "static"
RECORDING = EXAMPLES / "voicemail-accounts.mp3"
HOSTILE = "<img src=x onerror='hacked=1'>\u202egnp.wav"
SHOWN_HOSTILE = "<img src=x onerror='hacked=1'>\\u202egnp.wav"


@pytest.fixture(scope="module")
def server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Faults]]:
    data = tmp_path_factory.mktemp("served") / "data"
    with served(Settings(model=tiny_model, data_dir=data, workers=1, controls=False, device="cpu")) as running:
        yield running


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seconds of speech."""
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    soundfile.write(path, human_speech()[: 5 * RATE], RATE)
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, speech: Path) -> Iterator[Page]:
    executable = find_chromium()
    if executable is None:
        pytest.fail("CI must have a chromium: install it, for example with `apt-get install chromium`")
    microphone = (
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={speech}",
    )
    with chromium(executable, tmp_path_factory.mktemp("browser") / "profile", *microphone) as page:
        yield page


@pytest.fixture
def reader(browser: Page, server: tuple[str, Faults]) -> Iterator[Reader]:
    """Somebody who has just opened the page; whatever they do, nothing leaves the server's own origin."""
    browser.events.clear()
    browser.view(1280)
    reader = Reader(browser, server[0])
    reader.arrive()
    yield reader
    assert reader.foreign_requests() == []


@pytest.fixture
def faults(server: tuple[str, Faults]) -> Iterator[Faults]:
    yield server[1]
    server[1].planned.clear()
    server[1].key = None


def result_of(reader: Reader) -> ScanDocument:
    """What the API says of the newest scan."""
    newest = httpx.get(f"{reader.address}/v1/scans").json()["scans"][0]
    return ScanDocument.model_validate_json(httpx.get(reader.address + newest["result_url"]).content)


def test_a_recording_is_examined_and_shown_in_the_words_of_the_report(reader: Reader) -> None:
    reader.see(
        "globalThis.states = []; new MutationObserver(() => states.push(document.querySelector('.state')?.textContent))"
        ".observe(document.getElementById('cards'), {subtree: true, childList: true, characterData: true}); 0"
    )
    reader.choose(RECORDING)
    reader.results(1)
    document = result_of(reader)
    (finding,) = document.findings
    bound = document.model.calibration.llr_bound
    box = reader.see("document.querySelector('.result').innerText")
    assert reader.see("document.querySelector('.result .badge').textContent").lower() == VERDICT_WORDS[finding.verdict]
    assert opinion(finding, bound) in box
    assert format_llr(finding.spoof_llr, bound).replace("-", "\N{MINUS SIGN}") in box
    assert finding.reasons[0].message in box
    assert reader.see("document.querySelectorAll('.chart .bars rect').length") == len(finding.windows)
    assert reader.see("document.querySelectorAll('.wave path, .spectrogram image').length") == 2
    assert finding.acoustics is not None
    assert reader.see("document.querySelectorAll('.measure-list tbody tr').length") == len(finding.acoustics.measures)
    states = " ".join(reader.see("states"))
    assert "Sending" in states
    assert "Examining" in states
    assert VERDICT_WORDS[finding.verdict] in reader.see("document.getElementById('announcer').textContent").lower()
    assert reader.page.complaints() == []


def test_the_timeline_is_a_slider_that_seeks(reader: Reader) -> None:
    reader.choose(RECORDING)
    reader.results(1)
    windows = result_of(reader).findings[0].windows
    reader.until("document.querySelector('audio').readyState >= 1")
    reader.click(".layer", 0.999)
    assert reader.until("document.querySelector('audio').currentTime") == pytest.approx(windows[-1].start_s, abs=0.05)
    assert f"Window {len(windows)} of {len(windows)}" in reader.see("document.querySelector('.chosen').textContent")
    reader.page.press("ArrowLeft", "ArrowLeft")
    before = windows[-2].start_s
    assert reader.see("document.querySelector('audio').currentTime") == pytest.approx(before, abs=0.05)
    assert reader.see("document.querySelector('.layer').ariaValueNow") == str(len(windows) - 1)
    reader.see("document.querySelector('audio').muted = true; 0")
    reader.page.press("Enter", "Enter")
    reader.until(f"!document.querySelector('audio').paused && document.querySelector('audio').currentTime > {before}")
    assert reader.see("document.querySelector('.playhead').style.left") != ""
    reader.press("Remove")
    assert reader.page.complaints() == []


def test_report_and_json_are_saved(reader: Reader, speech: Path, tmp_path: Path) -> None:
    reader.page.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    reader.choose(speech)
    reader.results(1)
    for words, name in (("Download report", "speech.wav.report.html"), ("Download JSON", "speech.wav.scan.json")):
        reader.press(words)
        deadline = time.monotonic() + 60
        while not (tmp_path / name).is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert (tmp_path / name).stat().st_size > 1_000
    saved = ScanDocument.model_validate_json((tmp_path / "speech.wav.scan.json").read_bytes())
    assert saved == result_of(reader)
    report = (tmp_path / "speech.wav.report.html").read_text(encoding="utf-8")
    assert report.startswith("<!DOCTYPE html>") or report.startswith("<!doctype html>")
    link = reader.see("document.querySelector('a.button').href")
    assert link.endswith("/report.html")
    reader.page.visit(link)
    assert reader.see("document.querySelectorAll('.exhibit').length") == 1
    assert reader.see("getComputedStyle(document.querySelector('h1')).fontFamily").startswith('"Source Serif')
    assert reader.page.complaints() == []


def test_several_recordings_stand_side_by_side(reader: Reader, speech: Path, tmp_path: Path) -> None:
    other = tmp_path / "noise.wav"
    rng = np.random.default_rng(0)
    soundfile.write(other, 0.1 * rng.standard_normal(2 * RATE), RATE)
    text = tmp_path / "notes.wav"
    text.write_text("this is no recording")
    reader.choose(speech, other, text)
    reader.results(2)
    reader.until("[...document.querySelectorAll('.card')].every(card => card.innerText.includes('Remove'))")
    places = (
        "[...document.querySelectorAll('.card')].map(card => card.getBoundingClientRect()).map(box => [box.x, box.y])"
    )
    first, second, _third = reader.see(places)
    assert first[1] == second[1]
    assert first[0] < second[0]
    assert reader.see("document.querySelectorAll('#overview tbody tr').length") == 2
    assert "Not examined" in reader.see("document.querySelectorAll('.card')[2].innerText")
    reader.page.view(320)
    first, second, _third = reader.see(places)
    assert first[0] == second[0]
    assert first[1] < second[1]
    reader.see("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert reader.see("document.documentElement.scrollWidth") <= 320
    hidden = "[...document.querySelectorAll('.measure-list td')].filter(each => each.offsetWidth === 0).length"
    assert reader.see(hidden) == 0
    assert reader.page.complaints() == []


def test_a_hostile_file_name_is_text(reader: Reader, speech: Path, tmp_path: Path) -> None:
    hostile = tmp_path / HOSTILE
    hostile.write_bytes(speech.read_bytes())
    reader.choose(hostile)
    reader.results(1)
    assert reader.see("document.querySelector('.card h3').textContent") == SHOWN_HOSTILE
    assert reader.see("document.querySelectorAll('img').length") == 0
    assert reader.see("typeof hacked") == "undefined"
    assert SHOWN_HOSTILE in reader.see("document.querySelector('audio').getAttribute('aria-label')")
    assert reader.page.complaints() == []


def test_the_microphone_is_recorded_examined_and_heard(reader: Reader) -> None:
    reader.press("Record from microphone")
    reader.until("!document.getElementById('recorder').hidden")
    reader.until("document.getElementById('level').value > 10")
    reader.until("document.getElementById('recorder-time').textContent >= '0:02'")
    reader.press("Stop and examine")
    reader.until("document.querySelector('.card-actions')?.innerText.includes('Remove')")
    assert re.fullmatch(r"microphone-[\d-]+T[\d-]+\.webm", reader.see("document.querySelector('.card h3').textContent"))
    (finding,) = result_of(reader).findings
    assert finding.duration_s is not None
    assert finding.duration_s > 1.5
    reader.until("document.querySelector('audio').duration < 60")
    assert reader.see("document.getElementById('recorder').hidden")
    assert reader.page.complaints() == []


def test_a_discarded_recording_is_sent_nowhere(reader: Reader) -> None:
    reader.press("Record from microphone")
    reader.until("!document.getElementById('recorder').hidden")
    reader.press("Discard")
    assert reader.see("document.getElementById('recorder').hidden && document.querySelector('.card') === null")
    assert not any(address.endswith("/v1/scans") for address in reader.page.requests())


def test_what_the_server_refuses_is_said_and_can_be_tried_again(reader: Reader, faults: Faults, speech: Path) -> None:
    faults.planned = [("POST", "/v1/scans", 500, {})]
    reader.choose(speech)
    reader.until("document.querySelector('.card .notice.warning') !== null")
    assert reader.see("document.querySelector('.card .notice').textContent") == "A planned 500."
    reader.press("Try again")
    reader.results(1)


def test_a_busy_server_is_waited_for(reader: Reader, faults: Faults, speech: Path) -> None:
    faults.planned = [
        ("POST", "/v1/scans", 429, {"retry-after": "60"}),
        ("POST", "/v1/scans", 429, {"retry-after": "1"}),
    ]
    reader.choose(speech)
    reader.until("/A planned 429. Trying again in \\d+ s/.test(document.querySelector('.state').textContent)")
    reader.press("Try now")
    reader.results(1)
    assert faults.planned == []


def test_what_is_cancelled_is_taken_back(reader: Reader, faults: Faults, speech: Path) -> None:
    before = len(httpx.get(f"{reader.address}/v1/scans").json()["scans"])
    faults.planned = [("POST", "/v1/scans", 429, {"retry-after": "60"})]
    reader.choose(speech)
    reader.until("document.querySelector('.state').textContent.includes('Trying again')")
    reader.press("Cancel")
    reader.until("document.querySelector('.card .notice')?.textContent === 'Cancelled.'")
    assert len(httpx.get(f"{reader.address}/v1/scans").json()["scans"]) == before


def test_progress_comes_by_asking_where_events_do_not(reader: Reader, faults: Faults, speech: Path) -> None:
    faults.planned = [("GET", "/v1/scans", 503, {})]
    reader.choose(speech)
    reader.results(1)
    assert any(address.endswith("/status") for address in reader.page.requests())


def test_a_key_is_asked_for_and_sent(reader: Reader, faults: Faults, speech: Path) -> None:
    faults.key = "right"
    reader.choose(speech)
    for key in ("wrong", "right"):
        reader.until("!document.getElementById('key-form').hidden")
        assert reader.see("document.activeElement.id") == "key"
        reader.page.send("Input.insertText", text=key)
        reader.page.press("Enter", "Enter", "\r")
    reader.results(1)
    assert reader.see("[sessionStorage.length, localStorage.length, document.cookie]") == [1, 0, ""]
    reader.press("Forget it")
    assert reader.see("sessionStorage.length") == 0


def test_everything_is_done_by_keyboard(reader: Reader, speech: Path) -> None:
    reader.page.send("Page.setInterceptFileChooserDialog", enabled=True)
    reader.tab_to("#files")
    assert reader.see("getComputedStyle(document.querySelector('label[for=files]')).outlineStyle") == "solid"
    reader.page.press("Enter", "Enter", "\r")
    opened = [event for event in reader.page.events if event["method"] == "Page.fileChooserOpened"]
    while not opened:
        reader.see("0")
        opened = [event for event in reader.page.events if event["method"] == "Page.fileChooserOpened"]
    reader.page.send("Page.setInterceptFileChooserDialog", enabled=False)
    node = opened[0]["params"]["backendNodeId"]
    reader.page.send("DOM.setFileInputFiles", backendNodeId=node, files=[str(speech)])
    reader.results(1)
    scan = httpx.get(f"{reader.address}/v1/scans").json()["scans"][0]
    reader.tab_to(".layer[role=slider]")
    assert reader.see("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    reader.page.press("End", "End")
    assert reader.see("document.querySelector('.mark').hidden") is False
    reader.tab_to(".card-actions button:last-child")
    reader.page.press("Enter", "Enter", "\r")
    reader.until("document.querySelector('.card') === null")
    assert httpx.get(reader.address + scan["status_url"]).status_code == 404


def test_axe_finds_nothing_and_nothing_too_much_is_said(reader: Reader, speech: Path) -> None:
    assert violations(reader.page) == []
    reader.choose(speech, speech)
    reader.results(2)
    for dark in (False, True):
        reader.page.view(1280, dark=dark)
        assert violations(reader.page) == []
    reader.page.view(320)
    assert violations(reader.page) == []
    assert problems(reader.see("document.body.innerText")) == ()


def test_no_file_of_the_page_parses_html_or_names_another_place() -> None:
    for path in STATIC.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\(", text), path
        assert not re.search(r"https?:|//[a-z]+\.", text), path
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", page)


def test_files_are_a_fixed_table(server: tuple[str, Faults]) -> None:
    address = server[0]
    fresh = httpx.get(f"{address}/page/app.js")
    assert fresh.headers["content-type"].startswith("text/javascript")
    again = httpx.get(f"{address}/page/app.js", headers={"if-none-match": fresh.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for name in ("view.py", "..%2Fview.py", "__init__.py", "static", "index.html%00"):
        assert httpx.get(f"{address}/page/{name}").status_code == 404
    assert httpx.get(f"{address}/page/scans/{'x' * 22}").status_code == 404
    words = httpx.get(f"{address}/page/words.json").json()
    assert words == page_words()
