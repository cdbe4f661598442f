"""Excerpts in a real browser: they load from the page alone, and play."""

from __future__ import annotations

from tests.page.browser import Page
from tests.page.conftest import Save
from tests.page.marks import PAGE
from tests.support.casework import filled
from tests.support.documents import sample_document

pytestmark = PAGE

HAVE_CURRENT_DATA = 2


def test_every_excerpt_plays(page: Page, save: Save) -> None:
    example = filled(sample_document(), excerpts=True)
    wanted = [excerpt for finding in example.findings for excerpt in finding.excerpts]
    path = save(example)
    page.view(1280)
    page.open(path)
    answers = page.evaluate(
        "Promise.all([...document.querySelectorAll('audio')].map(async audio => {"
        "audio.preload = 'auto'; audio.load();"
        "await new Promise((done, failed) => { audio.oncanplay = done; audio.onerror = failed;"
        "setTimeout(() => failed(new Error('nothing within 10 s')), 10000) });"
        "audio.muted = true; await audio.play();"
        "await new Promise(done => { audio.ontimeupdate = () => audio.currentTime > 0 && done() });"
        "audio.pause();"
        "const type = (audio.currentSrc.match(/^data:([^;,]+)/) || [])[1];"
        "return {type, can: audio.canPlayType(type), state: audio.readyState, duration_s: audio.duration,"
        " named: Boolean(audio.getAttribute('aria-label') || audio.getAttribute('aria-labelledby'))}; }))",
        gesture=True,
    )
    assert len(answers) == len(wanted) > 0
    assert sorted(answer["type"] for answer in answers) == sorted(excerpt.media_type for excerpt in wanted)
    assert all(answer["can"] in ("maybe", "probably") for answer in answers)
    assert all(answer["state"] >= HAVE_CURRENT_DATA for answer in answers)
    assert all(0.9 < answer["duration_s"] < 1.1 for answer in answers)
    assert all(answer["named"] for answer in answers)
    assert page.complaints() == []
    assert [url for url in page.requests() if not url.startswith("data:")] == [path.as_uri()]


def test_controls_are_there_for_hand_and_keyboard(page: Page, save: Save) -> None:
    page.view(1280)
    page.open(save(filled(sample_document(), excerpts=True)))
    controls = page.evaluate("[...document.querySelectorAll('audio')].map(audio => audio.controls && !audio.autoplay)")
    assert controls
    assert all(controls)
