"""The evaluation and comparison pages: every figure is there, nothing gets out, nothing gets in."""

from __future__ import annotations

import base64
import hashlib
import math
import os
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from markupsafe import Markup

from spoofcheck.evalschema import Comparison, Curve, Difference, EvaluationDocument, Interval, Rates
from spoofcheck.render.evaluation import axes, plots, tables
from spoofcheck.render.evaluation.html import NOT_SHOWN, comparison_page, evaluation_page
from spoofcheck.resources import templates_dir
from tests.page.browser import Page as Browser
from tests.page.browser import chromium, find_chromium
from tests.support import evaluations
from tests.support.evaluations import (
    constant_detection,
    degenerate_tracing,
    detection,
    evaluation,
    hostile_comparison,
    hostile_evaluation,
    perfect_detection,
    sample_comparison,
    sample_detection,
    sample_tracing,
    tracing,
)

PAGES: dict[str, Callable[[], str]] = {
    "detection": lambda: evaluation_page(sample_detection()),
    "tracing": lambda: evaluation_page(sample_tracing()),
    "both": lambda: evaluation_page(evaluation(detection(full=False), tracing(embedding_map=False))),
    "multiapi": lambda: evaluation_page(evaluation(detection(metric_set="multiapi", llrs=False))),
    "constant": lambda: evaluation_page(constant_detection()),
    "perfect": lambda: evaluation_page(perfect_detection()),
    "degenerate": lambda: evaluation_page(degenerate_tracing()),
    "neither": lambda: evaluation_page(evaluation()),
    "hostile": lambda: evaluation_page(hostile_evaluation()),
    "comparison": lambda: comparison_page(sample_comparison()),
    "hostile comparison": lambda: comparison_page(hostile_comparison()),
}
STRUCTURE = "html head meta link title style body main header footer nav section figure figcaption div span script"
WORDS = "h1 h2 h3 h4 p ul ol li dl dt dd strong a code bdi br sub wbr table caption thead tbody tr th td"
DRAWING = "svg desc g path line circle rect text"
ALLOWED = frozenset(f"{STRUCTURE} {WORDS} {DRAWING}".split(" "))
VOID = frozenset({"meta", "link", "br", "wbr"})


class Page(HTMLParser):
    """The elements, attributes and visible text of a page, and whether every element was closed where it must be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.unbalanced: list[str] = []
        self._open: list[str] = []
        self._texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag in ("td", "th", "dt", "dd", "tr", "li", "p", "text", "caption"):
            self._texts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in ("style", "script"):
            self._texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self._texts).split())

    def values(self, attribute: str) -> list[str]:
        return [value for _, attrs in self.elements if (value := attrs.get(attribute)) is not None]


@pytest.fixture(scope="module", params=PAGES)
def written(request: pytest.FixtureRequest) -> str:
    return PAGES[request.param]()


# Self-contained and well built


def test_a_page_loads_nothing_and_runs_only_its_own_script(written: str) -> None:
    page = Page(written)
    assert {tag for tag, _ in page.elements} <= ALLOWED
    for tag, attrs in page.elements:
        assert not [name for name in attrs if name.startswith("on") or name in ("src", "srcset", "style", "action")]
        if "href" in attrs:
            assert re.fullmatch(r"#[a-z-]+" if tag == "a" else "data:,", attrs["href"] or "")
    (style,) = re.findall(r"<style>(.*?)</style>", written, re.DOTALL)
    assert "@import" not in style
    assert set(re.findall(r"url\([^)]*\)", style)) <= {"url(#hatch)", "url(#cross)"}
    (script,) = re.findall(r"<script>(.*?)</script>", written, re.DOTALL)
    (policy,) = [attrs["content"] for _, attrs in page.elements if "http-equiv" in attrs]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    assert not re.search(r"fetch|XMLHttp|import|eval\(|innerHTML|http", script)


def test_a_page_is_well_built(written: str) -> None:
    page = Page(written)
    assert page.unbalanced == []
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {href[1:] for href in page.values("href") if href.startswith("#")} <= set(ids)
    for attribute in ("aria-labelledby", "aria-describedby"):
        assert {each for value in page.values(attribute) for each in value.split()} <= set(ids)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("h1") == tags.count("main") == 1
    assert tags.count("caption") == tags.count("table")
    for index, (tag, attrs) in enumerate(page.elements):
        if tag == "th":
            assert attrs.get("scope") in ("col", "row")
        if tag == "svg" and attrs.get("aria-hidden") != "true":
            assert attrs["role"] == "img"
            assert [page.elements[index + 1][0], page.elements[index + 2][0]] == ["title", "desc"]
        if tag == "html":
            assert attrs["lang"] == "en"


def test_no_drawing_holds_a_number_that_is_none(written: str) -> None:
    page = Page(written)
    for name in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height", "d", "data-sort"):
        for value in page.values(name):
            assert not re.search(r"nan|inf", value), (name, value)


def test_rows_are_as_long_as_their_headings(written: str) -> None:
    for table in re.findall(r"<table.*?</table>", written, re.DOTALL):
        lengths = {len(re.findall(r"<t[hd][ >]", row)) for row in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)}
        assert len(lengths) == 1


# What a reader must find


def _figures(rates: Rates) -> list[str]:
    low, high = (rates.eer_interval.low, rates.eer_interval.high) if rates.eer_interval else (None, None)
    interval = "no interval" if low is None or high is None else f"{100 * low:.2f} to {100 * high:.2f}"
    costs = [rates.min_dcf, rates.act_dcf, rates.cllr, rates.cllr_min]
    return [
        f"{rates.bonafide_trials:,}",
        f"{rates.spoof_trials:,}",
        f"{100 * rates.eer:.2f} % ({interval})",
        *(f"{cost:.4f}" for cost in costs if cost is not None),
    ]


def test_every_figure_of_a_detector_stands_in_its_line() -> None:
    document = sample_detection()
    one = document.detection
    assert one is not None
    assert one.transfer is not None
    text = Page(evaluation_page(document)).text
    for figure in _figures(one.overall):
        assert figure in text
    for name in ("hter", "fpr", "fnr"):
        assert f"{name.upper()} {100 * getattr(one.transfer, name):.2f} %" in text
    assert "fixed on invented-dev (412 speakers, 6 systems)" in text
    for group in (*one.by_system, *one.without_system, *one.by_seen, *one.by_language, *one.by_codec):
        assert group.transfer is not None
        errors = [f"{100 * error:.2f} %" for error in (group.transfer.hter, group.transfer.fpr, group.transfer.fnr)]
        note = "" if group.transfer.threshold == one.transfer.threshold else "threshold"
        assert " ".join([group.name, *([note] if note else []), *_figures(group.rates), *errors]) in text


def test_every_figure_of_a_tracer_stands_in_its_line() -> None:
    one = tracing()
    text = Page(evaluation_page(sample_tracing())).text
    for row in (one.seen, one.unseen, one.overall, *one.classes):
        shares = " ".join(f"{100 * share:.2f} %" for share in (row.precision, row.recall, row.f1))
        assert f"{row.name} {row.trials:,} {shares}" in text
    for row, counts in zip(one.classes, one.confusion, strict=True):
        assert " ".join([row.name, *(f"{count:,}" for count in counts), f"{sum(counts):,}"]) in text
    assert one.open_set is not None
    for name in ("auroc", "fpr95", "oscr"):
        assert f"{name.upper()} {100 * getattr(one.open_set, name):.2f} %" in text
    assert one.accuracy_interval is not None
    low, high = one.accuracy_interval.low, one.accuracy_interval.high
    assert f"{100 * one.accuracy:.2f} % ({100 * low:.2f} to {100 * high:.2f})" in text
    assert one.rule in text
    assert "acorn-tts 45" in text  # the map's legend


def test_caveats_come_before_any_figure() -> None:
    for text in (PAGES["detection"](), PAGES["comparison"]()):
        seen = Page(text).text
        assert seen.index("12 of 412 speakers are in the training data too.") < seen.index("95 % interval")
    assert "raised no caveat" in Page(PAGES["constant"]()).text
    assert "raised no caveat" not in Page(PAGES["detection"]()).text


def test_what_was_measured_on_what_is_recorded() -> None:
    document = sample_detection()
    text = Page(evaluation_page(document)).text
    assert document.model is not None
    for expected in (
        *document.data.files,
        *document.data.files.values(),
        document.model.weights_sha256,
        document.model.config_sha256,
        "compact-detector, version 1",
        "all windows of a recording, pooled as a scan pools them",
        "7 (no speech, or unreadable; they are in no figure)",
        "spoofcheck eval models/demo --protocol asvspoof5 keys/invented.tsv",
        "spoofcheck 0.2.0, commit 851f89f0c2d4",
        "ASVspoof 5 definitions",
    ):
        assert expected in text
    assert "What produced them is not known to spoofcheck" in Page(PAGES["constant"]()).text


def test_an_eer_is_followed_by_its_interval_or_by_the_lack_of_one(written: str) -> None:
    page = Page(written)
    text = page.text
    for value in re.findall(r"(?:EER over (?:the same trials|all systems)(?: is|,)) ([^;.]*\.\d+ %.{12})", text):
        assert re.search(r"\(\d|\(no int", value)
    for table in re.findall(r"<table.*?</table>", written, re.DOTALL):
        rows = re.findall(r"<tr>.*?</tr>", table, re.DOTALL)
        heads = [re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<th scope=\"col\".*?</th>", rows[0])]
        for row in rows[1:]:
            cells = [re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<t[hd][ >].*?</t[hd]>", row, re.DOTALL)]
            for head, cell in zip(heads, cells, strict=True):
                if head.startswith("EER (95 % interval)"):
                    assert re.fullmatch(r"\d+\.\d\d % \((\d+\.\d\d to \d+\.\d\d|no interval)\)|–", cell)  # noqa: RUF001


NEVER = (
    r"\bauthentic",
    r"\bgenuine",
    r"\b(deep)?fakes?\b",
    r"\bconfidence\b",
    r"\bprobably\b",
    r"\bproves?\b",
    r"\b(made|generated) (by|with) ",
    r"error rate of (this|the) (case|recording)",
)


def test_a_page_never_says_what_it_must_not() -> None:
    for name in ("detection", "tracing", "comparison", "multiapi", "constant"):
        text = Page(PAGES[name]()).text
        for phrase in NEVER:
            assert not re.search(phrase, text, re.IGNORECASE), (name, phrase)
        assert "none of them is the error rate of a single case" in text.lower()
    assert re.search(NEVER[-1], "An EER of 3 % is the error rate of this case.")


def test_reproduction_figures_are_labelled_and_kept_apart() -> None:
    text = Page(PAGES["multiapi"]()).text
    assert text.index("Reproduction figures.") < text.index("minDCF")
    assert "ASVspoof 5 definitions" not in text
    assert "one trial in twenty" not in text
    assert "Bayes threshold" not in text
    compared = sample_comparison()
    other = evaluation(detection(metric_set="multiapi", llrs=False))
    mixed = compared.model_copy(update={"documents": (*compared.documents[:2], other)})
    written = comparison_page(mixed)
    tables_with = [
        {label for label in ("ASVspoof 5 definitions", "MultiAPI definitions") if label in table}
        for table in re.findall(r"<table.*?</table>", written, re.DOTALL)
    ]
    assert {"ASVspoof 5 definitions"} in tables_with
    assert {"MultiAPI definitions"} in tables_with
    assert max(map(len, tables_with)) == 1
    for table in re.findall(r"<table.*?</table>", written, re.DOTALL):
        if "MultiAPI definitions" in table:
            assert "demo-large" not in table


# Exhaustiveness: whatever field of a document changes, the page changes, or the field is listed as not shown


def _leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every value; of a list, only of its middle item: the ends of a curve may lie outside its drawing."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list | tuple) and value:
        middle = len(value) // 2
        yield from _leaves(value[middle], (*path, middle))
    else:
        yield path


def _changed(value: Any, path: tuple[str | int, ...]) -> Any:
    """A copy of `value` with another value, of the same kind, at `path`."""
    if path:
        key, rest = path[0], path[1:]
        if isinstance(value, dict):
            return {name: _changed(item, rest) if name == key else item for name, item in value.items()}
        return [_changed(item, rest) if index == key else item for index, item in enumerate(value)]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 0.83 + 0.0123
    choices = {"all": "first", "asvspoof5": "multiapi", "t-sne": "umap", "exhibit": "window"}
    return choices.get(value, f"{value} changed") if isinstance(value, str) else value


def _name(path: tuple[str | int, ...]) -> str:
    return ".".join(str(part) for part in path if not isinstance(part, int))


def _without_id(text: str) -> str:
    return re.sub(r"(EV|CM)(-[0-9A-F]{4}){3}", "", text)


FIXED = {"evaluation_version", "tool.name"}
"""Fields with one allowed value."""

FULL = evaluation(detection(), tracing(), tracer="demo-tracer 1")


@pytest.fixture(scope="module")
def full_page() -> str:
    return _without_id(evaluation_page(FULL))


@pytest.mark.parametrize("path", [pytest.param(path, id=_name(path)) for path in _leaves(FULL.model_dump())])
def test_every_field_is_shown_or_listed_as_not_shown(path: tuple[str | int, ...], full_page: str) -> None:
    name = _name(path)
    if name in FIXED:
        return
    other = EvaluationDocument.model_validate(_changed(FULL.model_dump(), path))
    assert other != FULL
    same = _without_id(evaluation_page(other)) == full_page
    hidden = any(name == each or name.startswith(f"{each}.") for each in NOT_SHOWN)
    assert same == hidden


def test_what_is_listed_as_not_shown_exists() -> None:
    known = {_name(path) for path in _leaves(FULL.model_dump())}
    for each in NOT_SHOWN:
        assert any(name == each or name.startswith(f"{each}.") for name in known)


def test_what_is_missing_is_said() -> None:
    text = Page(PAGES["constant"]()).text
    for expected in (
        "no threshold from other data was given",
        "the protocol names no systems",
        "the scores are not calibrated likelihood ratios",
        "EER (95 % interval) 50.00 % (no interval)",
        "too few speakers or sources are known",
        "1 spoof trial.",
    ):
        assert expected in text
    assert "the document holds neither" in Page(PAGES["neither"]()).text
    assert "it was not asked for" in Page(PAGES["both"]()).text
    assert "Not in this report" not in Page(PAGES["tracing"]()).text


# Hostile names


@pytest.mark.parametrize("name", ["hostile", "hostile comparison"])
def test_hostile_text_is_shown_and_does_nothing(name: str) -> None:
    text = PAGES[name]()
    assert text.count("<script") == 1
    assert "<img" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.wav" in text
    assert all(char.isprintable() or char in "\n\u3000" for char in text)
    seen = Page(text).text
    assert r"gnp\u202evaw.exe" in seen
    assert "\u202e" not in seen


def test_every_hostile_class_and_group_name_is_escaped_in_drawings_too() -> None:
    text = PAGES["hostile"]()
    drawings = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert "&lt;script&gt;" in drawings
    assert r"esc\x1b[31mred\x1b]0;title\x07.wav" in drawings
    assert "<script" not in drawings
    assert "{{ 7 * 7 }}{% raw %}.wav" in Page(text).text


# Axes, by points worked out by hand


@pytest.mark.parametrize(
    ("share", "deviate"),
    [(0.5, 0.0), (0.841344746, 1.0), (0.158655254, -1.0), (0.977249868, 2.0), (0.05, -1.644854), (0.001, -3.090232)],
)
def test_the_probit_of_known_shares(share: float, deviate: float) -> None:
    assert axes.probit(share) == pytest.approx(deviate, abs=1e-6)


def test_the_probit_of_nothing_and_of_all_is_infinite() -> None:
    assert axes.probit(0.0) == -math.inf
    assert axes.probit(1.0) == math.inf


def test_a_probit_axis_is_even_in_normal_deviates() -> None:
    # From one deviate below the mean to two above, 300 units long: the mean lies a third of the way.
    scale = axes.Scale(0.158655254, 0.977249868, 0.0, 300.0, axes.probit)
    assert scale(0.5) == pytest.approx(100.0, abs=1e-4)
    assert scale(0.841344746) == pytest.approx(200.0, abs=1e-4)
    assert scale(0.0) == 0.0
    assert scale(1.0) == 300.0


def test_an_upright_axis_runs_upwards() -> None:
    scale = axes.Scale(0.0, 1.0, 320.0, 20.0)
    assert (scale(0.0), scale(0.25), scale(1.0)) == (320.0, 245.0, 20.0)


def test_ticks_are_round_and_inside() -> None:
    assert axes.ticks(0.0, 1.0) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert axes.ticks(-13.2, 10.4) == [-10.0, -5.0, 0.0, 5.0, 10.0]
    assert axes.ticks(0.0, 0.0031) == [0.0, 0.001, 0.002, 0.003]
    assert axes.padded([2.0, 2.0]) == (1.0, 3.0)
    assert axes.padded([]) == (-0.5, 0.5)
    assert axes.padded([1.0, 4.0]) == (1.0, 4.0)


@pytest.mark.parametrize("eer", [0.0, 0.0004, 0.004, 0.03, 0.12, 0.5, 0.93, 1.0])
def test_the_limits_of_a_det_plot_leave_room_around_the_eer(eer: float) -> None:
    low, high = axes.det_limits([eer])
    assert low < high
    assert low <= max(eer * 0.6, 0.0001)
    assert high >= min(eer * 1.2, 0.9999)
    assert len(axes.det_ticks(low, high)) >= 6


# Drawings


def _attributes(drawing: str, tag: str, kind: str) -> list[dict[str, str]]:
    found = re.findall(rf"<{tag} class=\"{re.escape(kind)}\"([^>]*)>", drawing)
    return [dict(re.findall(r'([a-z0-9-]+)="([^"]*)"', attributes)) for attributes in found]


def test_the_eer_is_marked_on_the_diagonal_where_the_curve_crosses_it() -> None:
    eer = axes.probit  # normal scores one deviate either side: miss and false accept are both Phi(-1) at 0
    rates = [0.02 * step for step in range(1, 30)]
    normal = Curve(x=tuple(rates), y=tuple(0.5 * math.erfc((2 + eer(rate)) / math.sqrt(2)) for rate in rates))
    drawing = plots.det("d", [plots.Series("all", normal, 0.158655254)])
    (point,) = _attributes(drawing, "circle", "point only")
    (guide,) = _attributes(drawing, "line", "guide")
    x, y = float(point["cx"]), float(point["cy"])
    along = (x - float(guide["x1"])) / (float(guide["x2"]) - float(guide["x1"]))
    assert (float(guide["y1"]) - y) / (float(guide["y1"]) - float(guide["y2"])) == pytest.approx(along, abs=1e-3)
    (path,) = _attributes(drawing, "path", "line only")
    places = [tuple(map(float, place.split())) for place in path["d"].removeprefix("M").split("L")]
    # On probit axes the errors of normal scores are one straight line.
    steep = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(places[1:-1])]
    assert max(steep) - min(steep) < 0.05 * abs(min(steep))
    assert min(math.hypot(a - x, b - y) for a, b in places) < 12


def test_only_measured_rates_are_drawn_on_a_det_plot() -> None:
    # Rates of 0 and 1 have no place on the axes: without any point inside, only the EER is marked.
    drawing = plots.det("d", [plots.Series("all", Curve(x=(1.0, 0.0), y=(0.0, 1.0)), 0.5)])
    assert "line only" not in drawing
    assert len(_attributes(drawing, "circle", "point only")) == 1


def test_histograms_are_drawn_as_shares_of_their_own_class() -> None:
    figures = detection().plots.model_copy(
        update={"histogram_edges": (0.0, 1.0, 2.0), "histogram_bonafide": (1, 3), "histogram_spoof": (30, 10)}
    )
    drawing = plots.histograms("h", figures, plots.Threshold(0.5, "fixed threshold"))
    (bonafide,) = _attributes(drawing, "path", "line bonafide")
    (spoof,) = _attributes(drawing, "path", "line spoof")
    heights = {}
    for name, path in (("bonafide", bonafide), ("spoof", spoof)):
        places = [tuple(map(float, place.split())) for place in path["d"].removeprefix("M").split("L")]
        heights[name] = sorted({round(places[0][1] - y, 1) for _, y in places if y != places[0][1]})
    assert heights["bonafide"] == heights["spoof"]  # a quarter and three quarters, whatever the numbers of trials
    assert heights["spoof"][1] / heights["spoof"][0] == pytest.approx(3, abs=0.01)
    (line,) = _attributes(drawing, "line", "threshold")
    left, right = places[0][0], places[-1][0]
    assert (float(line["x1"]) - left) / (right - left) == pytest.approx(0.25, abs=1e-3)


def test_a_threshold_outside_the_histograms_is_told_in_words() -> None:
    drawing = plots.histograms("h", detection().plots, plots.Threshold(99.0, "fixed threshold"))
    assert "lies outside the drawing" in drawing
    assert 'class="threshold"' not in drawing
    assert "No threshold is drawn." in plots.histograms("h", detection().plots, None)


def test_dots_stand_worst_first_and_one_without_interval_is_hollow() -> None:
    one = detection()
    groups = list(one.by_language)
    dots = plots.group_dots(groups)
    assert [dot.value for dot in dots] == sorted((group.rates.eer for group in groups), reverse=True)
    drawn = plots.dot_plot("p", "t", "EER, %", dots, reference=plots.Dot("all", one.overall.eer, None))
    circles = re.findall(r'<circle class="(dot[a-z ]*)" cx="([\d.]+)%" cy="([\d.]+)"', drawn.drawing)
    assert [kind for kind, _, _ in circles].count("dot hollow") == 1
    places = [float(x) for _, x, _ in circles]
    assert places == sorted(places, reverse=True)
    assert [float(y) for _, _, y in circles] == [13.0, 39.0, 65.0]
    # Ends of whiskers: 0 stands at 1 % of the width.
    scale = (places[0] - 1) / dots[0].value
    for dot, x in zip(dots, places, strict=True):
        assert x == pytest.approx(1 + scale * dot.value, abs=1e-2)


def test_a_dot_plot_of_nothing_but_zeros_has_no_negative_rates() -> None:
    drawn = plots.dot_plot("p", "t", "EER, %", [plots.Dot("a", 0.0, Interval(low=0.0, high=0.0))])
    assert re.findall(r'class="tick"[^>]*>([^<]*)<', drawn.drawing) == ["0", "0.2", "0.4", "0.6", "0.8", "1"]


def test_classes_differ_in_colour_and_in_shape() -> None:
    styles = [plots.class_style(index) for index in range(81)]
    assert len(set(styles)) == 81
    assert len({colour for colour, _ in styles[:9]}) == len({shape for _, shape in styles[:9]}) == 9
    picture = tracing().embedding_map
    assert picture is not None
    drawing, keys = plots.embedding_map("m", picture)
    assert [key.name for key in keys] == sorted(set(picture.classes))
    assert len({re.sub(r"[\d.-]+", "", str(key.mark)) + str(index) for index, key in enumerate(keys)}) == 9
    assert sum(path["d"].count("M") for kind in range(9) for path in _marks(drawing, kind)) == len(picture.x)


def _marks(drawing: Markup, colour: int) -> list[dict[str, str]]:
    return [each for kind in ("filled", "open") for each in _attributes(drawing, "path", f"marks c{colour} {kind}")]


def test_shades_follow_the_share_of_the_row() -> None:
    assert [plots.heat_step(count, 60) for count in (0, 1, 9, 10, 30, 59, 60)] == [0, 1, 1, 2, 4, 6, 6]
    assert plots.heat_step(0, 0) == 0


# Comparison


def _difference(value: float, interval: tuple[float, float] | None, statistic: str = "eer") -> Difference:
    edges = Interval(low=interval[0], high=interval[1]) if interval else None
    return Difference(first="A", second="B", statistic=statistic, difference=value, interval=edges)


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        (_difference(-0.02, (-0.03, -0.01)), "B does better on these trials"),
        (_difference(0.02, (0.01, 0.03)), "A does better on these trials"),
        (_difference(-0.02, (-0.05, 0.01)), "no difference shown: the interval includes zero"),
        (_difference(-0.02, (-0.05, 0.0)), "no difference shown: the interval includes zero"),
        (_difference(0.0, (0.0, 0.0)), "no difference shown: the interval includes zero"),
        (_difference(-0.9, None), "no difference shown: no interval is known"),
        (_difference(0.02, (0.01, 0.03), "accuracy"), "B does better on these trials"),
        (_difference(0.02, (0.01, 0.03), "novelty"), "novelty is higher for B"),
    ],
)
def test_a_difference_is_read_by_its_interval(difference: Difference, expected: str) -> None:
    assert tables.reading(difference) == expected


def test_a_comparison_says_plainly_what_is_not_shown() -> None:
    compared = sample_comparison()
    text = Page(comparison_page(compared)).text
    assert "3 of 9 differences computed are shown by these trials." in text
    assert "EER demo-large demo-compact +0.20 points −0.41 to +0.81 no difference shown" in text  # noqa: RUF001
    for one in compared.documents:
        assert one.detection is not None
        for figure in _figures(one.detection.overall):
            assert figure in text
        for group in one.detection.by_system:
            assert _figures(group.rates)[2] in text
    alike = compared.model_copy(update={"differences": compared.differences[:3]})
    assert "None of the 3 differences computed is shown" in Page(comparison_page(alike)).text
    nothing = compared.model_copy(update={"differences": ()})
    assert "No differences were computed." in Page(comparison_page(nothing)).text


def test_compared_tracers_and_score_files_have_their_lines() -> None:
    traced = tracing()
    compared = sample_comparison()
    one = sample_tracing()
    two = sample_tracing().model_copy(
        update={"tracing": traced.model_copy(update={"open_set": None}), "model": None, "tracer": None}
    )
    text = Page(comparison_page(compared.model_copy(update={"documents": (one, two), "names": ("P", "Q")}))).text
    assert "Q 1,500" in text
    assert f"{100 * traced.overall.f1:.2f} % 91.34 % 34.17 % 78.62 %" in text
    assert f"{100 * traced.overall.f1:.2f} % – – –" in text  # noqa: RUF001
    assert "a score file" in text
    assert "not known" in text


def test_a_comparison_of_score_files_is_called_so() -> None:
    compared = sample_comparison()
    files = tuple(one.model_copy(update={"model": None}) for one in compared.documents)
    assert "3 score files on" in Page(comparison_page(compared.model_copy(update={"documents": files}))).text
    assert "3 models on" in Page(comparison_page(compared)).text


@pytest.fixture(scope="module")
def compared_page() -> str:
    return _without_id(comparison_page(sample_comparison()))


OF_COMPARISON = [
    path for path in _leaves(sample_comparison().model_dump(exclude={"documents"})) if _name(path) not in FIXED
]


@pytest.mark.parametrize("path", [pytest.param(path, id=_name(path)) for path in OF_COMPARISON])
def test_every_field_of_a_comparison_is_shown(path: tuple[str | int, ...], compared_page: str) -> None:
    other = Comparison.model_validate(_changed(sample_comparison().model_dump(), path))
    assert _without_id(comparison_page(other)) != compared_page


# Colours


def _palette(dark: bool) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in ("_style.css.j2", "evaluation_style.css.j2"):
        light, night = re.findall(r":root \{(.*?)\}", (templates_dir() / name).read_text(), re.DOTALL)
        found |= dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", light + night if dark else light))
    return found


def _contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dim, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_marks_have_the_contrast_of_wcag_aa(dark: bool) -> None:
    colours = _palette(dark)
    for index in range(plots.COLOURS):
        for ground in ("--tint", "--paper"):
            assert _contrast(colours[f"--c{index}"], colours[ground]) >= 3, (index, ground)
    for step in range(1, plots.HEAT_STEPS + 1):
        ink = "--heat-high-ink" if step > 4 else "--heat-low-ink"
        assert _contrast(colours[ink], colours[f"--heat{step}"]) >= 4.5, step
    for ink, ground in (("--soft", "--tint"), ("--link", "--paper"), ("--partial-ink", "--partial-ground")):
        assert _contrast(colours[ink], colours[ground]) >= 4.5


# In a real browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    executable = find_chromium()
    if executable is None:
        pytest.fail("CI must have a chromium: install it, for example with `apt-get install chromium`")
    with chromium(executable, tmp_path_factory.mktemp("browser") / "profile") as page:
        yield page


in_browser = [
    pytest.mark.page,
    pytest.mark.skipif(
        find_chromium() is None and os.environ.get("CI") != "true", reason="no chromium on this machine"
    ),
]


class TestInChromium:
    pytestmark = in_browser

    @pytest.mark.parametrize("name", ["detection", "tracing", "comparison", "hostile", "perfect", "degenerate"])
    def test_a_page_opens_without_a_complaint_and_fits(self, browser: Browser, name: str, tmp_path: Path) -> None:
        path = tmp_path / "page.html"
        path.write_text(PAGES[name](), encoding="utf-8")
        for width, dark in ((1280, False), (420, True)):
            browser.events.clear()
            browser.view(width, dark=dark)
            browser.open(path)
            assert browser.complaints() == []
            assert [url for url in browser.requests() if not url.startswith("data:,")] == [path.as_uri()]
            assert browser.evaluate("document.documentElement.scrollWidth") == width
            outside = browser.evaluate(
                "[...document.querySelectorAll('main *')]"
                ".filter(item => !item.closest('.scroll, .dot-names, svg'))"
                ".filter(item => item.getBoundingClientRect().right > innerWidth + 1)"
                ".map(item => item.outerHTML.slice(0, 120))"
            )
            assert outside == []

    def test_a_heading_sorts_its_table(self, browser: Browser, tmp_path: Path) -> None:
        path = tmp_path / "page.html"
        path.write_text(evaluation_page(sample_detection()), encoding="utf-8")
        browser.view(1280)
        browser.open(path)
        names = "[...document.querySelectorAll('#systems tbody th')].map(cell => cell.textContent.trim().slice(0, 3))"
        heading = "document.querySelectorAll('#systems thead th')[{}]"
        assert browser.evaluate(names)[0] == "T08"
        assert browser.evaluate(heading.format(3) + ".getAttribute('aria-sort')") == "descending"
        browser.evaluate(heading.format(3) + ".querySelector('button').click()")
        assert browser.evaluate(names)[-1] == "T08"
        assert browser.evaluate(heading.format(3) + ".getAttribute('aria-sort')") == "ascending"
        browser.evaluate(heading.format(0) + ".querySelector('button').click()")
        browser.evaluate(heading.format(0) + ".querySelector('button').click()")
        assert browser.evaluate(names) == [name[:3] for name in sorted(evaluations.SYSTEMS)]
        assert browser.evaluate("document.querySelectorAll('#systems th[aria-sort]').length") == 1

    def test_a_script_that_got_in_would_not_run(self, browser: Browser, tmp_path: Path) -> None:
        path = tmp_path / "page.html"
        injected = "<script>document.title = 'owned'</script>"
        path.write_text(evaluation_page(sample_tracing()).replace("<main>", "<main>" + injected), encoding="utf-8")
        browser.events.clear()
        browser.open(path)
        assert browser.evaluate("document.title").startswith("Report EV-")
        assert any("Content Security Policy" in complaint for complaint in browser.complaints())

    def test_a_report_prints(self, browser: Browser, tmp_path: Path) -> None:
        path = tmp_path / "page.html"
        path.write_text(evaluation_page(sample_detection()), encoding="utf-8")
        browser.view(1280)
        browser.open(path)
        assert 4 <= len(re.findall(rb"/Type\s*/Page\b", browser.pdf())) <= 10
