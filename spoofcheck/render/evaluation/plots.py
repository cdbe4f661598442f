"""The pictures of an evaluation report as inline SVG: no script, no outside file, colours from the page's style.

Each function returns one `<svg role="img">` with a title and a description in words, so that a reader who cannot see
it is told the same; text from outside passes `printable` and is escaped. Everything told apart by colour is also told
apart by dashes or by shape. Scores go the field's way: to the right is more like bona fide speech.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from spoofcheck.evalschema import Curve, DetectionPlots, EmbeddingMap, Group, Interval
from spoofcheck.render.evaluation.axes import (
    Scale,
    det_limits,
    det_ticks,
    padded,
    probit,
    rate_label,
    tick_label,
    ticks,
)
from spoofcheck.render.text import format_percent, printable

COLOURS = 9
SHAPES = 9
HEAT_STEPS = 6

_WIDTH, _HEIGHT = 420.0, 372.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 54.0, 408.0, 34.0, 322.0
_ROW = 26.0  # pixels; the style sheet gives the names the same height
_STACKED_ROW, _STACKED_MIDDLE = 46.0, 33.0
_MAP_WIDTH, _MAP_HEIGHT, _MAP_MARGIN = 640.0, 460.0, 14.0


@dataclass(frozen=True, slots=True)
class Threshold:
    """A score drawn as a line across the histograms, and what it is."""

    score: float
    label: str


@dataclass(frozen=True, slots=True)
class Series:
    """One named line of a DET plot and the EER marked on it."""

    name: str
    curve: Curve
    eer: float


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing and its heading."""

    title: str
    drawing: Markup


@dataclass(frozen=True, slots=True)
class Key:
    """One line of a legend: `mark` is a small drawing of the class's colour and shape."""

    name: str
    mark: Markup
    number: int


def _tag(name: str, *content: object, **attributes: object) -> Markup:
    """One element; attribute names with `_` for `-`, and `class_` for `class`. Everything is escaped."""
    words = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _attribute(value))
        for key, value in attributes.items()
    )
    inside = Markup("").join(_text(item) for item in content)
    return Markup("<{}{}>{}</{}>").format(name, words, inside, name)


def _attribute(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else printable(str(value))


def _text(item: object) -> Markup:
    return item if isinstance(item, Markup) else Markup.escape(printable(str(item)))


def _picture(
    name: str, title: str, description: str, *content: Markup, width: float = _WIDTH, height: float = _HEIGHT
) -> Markup:
    return _tag(
        "svg",
        _tag("title", title, id=f"{name}-title"),
        _tag("desc", description, id=f"{name}-desc"),
        *content,
        class_="graph",
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return _tag("line", class_=kind, x1=x1, y1=y1, x2=x2, y2=y2)


def _label(x: float, y: float, text: str, anchor: str = "middle", kind: str = "tick") -> Markup:
    return _tag("text", text, class_=kind, x=x, y=y, text_anchor=anchor)


def _path(points: Iterable[tuple[float, float]], kind: str) -> Markup:
    """A line through all points; two equal neighbours are one."""
    kept: list[str] = []
    for x, y in points:
        place = f"{x:.5g} {y:.5g}"
        if not kept or kept[-1] != place:
            kept.append(place)
    if len(kept) == 1:
        return _tag("path", class_=kind, d=f"M{kept[0]}h0")
    return _tag("path", class_=kind, d="M" + "L".join(kept)) if kept else Markup("")


def _axes(x: Scale, y: Scale, x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]]) -> Markup:
    """Grid, frame and tick labels."""
    parts = [_tag("rect", class_="ground", x=_LEFT, y=_TOP, width=_RIGHT - _LEFT, height=_BOTTOM - _TOP)]
    for value, text in x_ticks:
        at = x(value)
        parts += [_line(at, _TOP, at, _BOTTOM, "grid"), _label(at, _BOTTOM + 17, text)]
    for value, text in y_ticks:
        at = y(value)
        parts += [_line(_LEFT, at, _RIGHT, at, "grid"), _label(_LEFT - 7, at + 4, text, "end")]
    return Markup("").join(parts)


def _axis_names(below: str, beside: str) -> Markup:
    middle = (_TOP + _BOTTOM) / 2
    upright = _tag(
        "text",
        beside,
        class_="axis",
        x=14.0,
        y=middle,
        text_anchor="middle",
        transform=f"rotate(-90 14 {middle:g})",
    )
    return _label((_LEFT + _RIGHT) / 2, _BOTTOM + 38, below, kind="axis") + upright


def _keys(*keys: tuple[str, str]) -> Markup:
    """A row of swatches above the frame: (kind of line, its name), half of the width each."""
    parts = []
    for index, (kind, name) in enumerate(keys):
        left = _LEFT + index * (_RIGHT - _LEFT) / 2
        parts += [_line(left, 17.0, left + 26, 17.0, kind), _label(left + 33, 21.0, name, "start", "key")]
    return Markup("").join(parts)


_CLASS_KEYS = (("line bonafide", "bona fide (human)"), ("line spoof", "spoof (synthetic)"))


def det(name: str, series: Sequence[Series]) -> Markup:
    """False accepts against misses, both on probit axes, with every EER marked on the diagonal.

    Args:
        name: for the identifiers inside the picture; unique on the page.
        series: at least one; a single one needs no key on the drawing.
    """
    low, high = det_limits(one.eer for one in series)
    x, y = Scale(low, high, _LEFT, _RIGHT, probit), Scale(low, high, _BOTTOM, _TOP, probit)
    rates = [(rate, rate_label(rate)) for rate in det_ticks(low, high)]
    drawn = [_line(_LEFT, _BOTTOM, _RIGHT, _TOP, "guide")]
    for index, one in enumerate(series):
        style = f"s{index % COLOURS}" if len(series) > 1 else "only"
        drawn.append(_path(((x(a), y(b)) for a, b in _inside(one.curve, low, high)), f"line {style}"))
        at_x, at_y = x(one.eer), y(one.eer)
        drawn.append(_tag("circle", class_=f"point {style}", cx=at_x, cy=at_y, r=4.5))
        if len(series) == 1:
            # Towards the middle of the drawing, off the curve: it falls from upper left to lower right.
            aside, above, anchor = (-9, 19, "end") if at_x > (_LEFT + _RIGHT) / 2 else (9, -9, "start")
            drawn.append(_label(at_x + aside, at_y + above, f"EER {format_percent(one.eer, 2)}", anchor, "mark"))
    words = "; ".join(f"{one.name}: EER {format_percent(one.eer, 2)}" for one in series)
    return _picture(
        name,
        "DET curve" if len(series) == 1 else "DET curves",
        "Share of spoofs accepted (across) against share of bona fide trials missed (upwards), both in percent on "
        f"normal deviate axes. The dashed diagonal holds equal rates. {words}.",
        _axes(x, y, rates, rates),
        *drawn,
        _axis_names("spoofs accepted, %", "bona fide missed, %"),
    )


def _inside(curve: Curve, low: float, high: float) -> list[tuple[float, float]]:
    """The points of a DET curve from the last before the drawing's edge to the first behind it.

    The rest runs along or outside the frame, and drawn on its edge would look like measured rates.
    """
    points = list(zip(curve.x, curve.y, strict=True))
    within = [i for i, point in enumerate(points) if all(low <= rate <= high for rate in point)]
    return points[max(0, within[0] - 1) : within[-1] + 2] if within else []


def histograms(name: str, plots: DetectionPlots, threshold: Threshold | None) -> Markup:
    """Scores of both classes, each as shares of its own trials, and the threshold as an upright line."""
    edges = plots.histogram_edges
    low, high = padded(edges)
    classes = (("bonafide", plots.histogram_bonafide), ("spoof", plots.histogram_spoof))
    shares = {kind: _shares(counts) for kind, counts in classes}
    top = max((share for each in shares.values() for share in each), default=0.0) or 1.0
    x, y = Scale(low, high, _LEFT, _RIGHT), Scale(0.0, top * 1.08, _BOTTOM, _TOP)
    drawn: list[Markup] = []
    for kind, each in shares.items():
        if not any(each):
            continue
        steps = [(edge, share) for i, share in enumerate(each) for edge in edges[i : i + 2]]
        outline = [(edges[0], 0.0), *steps, (edges[-1], 0.0)]
        placed = [(x(at), y(share)) for at, share in outline]
        drawn += [_path(placed, f"area {kind}"), _path(placed, f"line {kind}")]
    words = "No threshold is drawn."
    if threshold is not None and low <= threshold.score <= high:
        at = x(threshold.score)
        end = at > (_LEFT + _RIGHT) / 2
        drawn += [
            _line(at, _TOP, at, _BOTTOM, "threshold"),
            _label(at + (-5 if end else 5), _TOP + 14, threshold.label, "end" if end else "start", "mark"),
        ]
        words = f"Line: {threshold.label}, at {threshold.score:.3g}."
    elif threshold is not None:
        words = f"The {threshold.label}, {threshold.score:.3g}, lies outside the drawing."
    return _picture(
        name,
        "Score histograms",
        f"Share of each class's own trials per score bin; scores run from {low:.3g} to {high:.3g}, and higher means "
        f"more like bona fide speech. {words}",
        _axes(
            x,
            y,
            [(at, tick_label(at)) for at in ticks(low, high)],
            [(share, rate_label(share)) for share in ticks(0.0, top * 1.08)],
        ),
        *drawn,
        _keys(*_CLASS_KEYS),
        _axis_names("score (right: more like bona fide)", "share of the class, %"),
    )


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts)
    return [count / total if total else 0.0 for count in counts]


def tippett(name: str, bonafide: Curve, spoof: Curve) -> Markup:
    """For every LLR the share of each class above it; what lies on the wrong side of 0 misleads."""
    low, high = padded([*bonafide.x, *spoof.x, 0.0])
    x, y = Scale(low, high, _LEFT, _RIGHT), Scale(0.0, 1.0, _BOTTOM, _TOP)
    return _picture(
        name,
        "Tippett plot",
        "Share of trials whose LLR is above the value below, for bona fide trials (solid) and spoofs (dashed). Bona "
        "fide trials left of 0 and spoofs right of it are misleading evidence.",
        _axes(
            x,
            y,
            [(at, tick_label(at)) for at in ticks(low, high)],
            [(share, rate_label(share)) for share in ticks(0.0, 1.0)],
        ),
        _line(x(0.0), _TOP, x(0.0), _BOTTOM, "guide"),
        _path(((x(a), y(b)) for a, b in zip(bonafide.x, bonafide.y, strict=True)), "line bonafide"),
        _path(((x(a), y(b)) for a, b in zip(spoof.x, spoof.y, strict=True)), "line spoof"),
        _keys(*_CLASS_KEYS),
        _axis_names("LLR (right: supports bona fide)", "trials above it, %"),
    )


def reliability(name: str, curve: Curve) -> Markup:
    """What the LLRs predict at a prior of one half against what was observed; on the diagonal both agree."""
    x, y = Scale(0.0, 1.0, _LEFT, _RIGHT), Scale(0.0, 1.0, _BOTTOM, _TOP)
    shares = [(share, rate_label(share)) for share in ticks(0.0, 1.0)]
    points = [(x(a), y(b)) for a, b in zip(curve.x, curve.y, strict=True)]
    return _picture(
        name,
        "Reliability diagram",
        "Share of human speech that the LLRs predict (across) against the share observed (upwards), both classes "
        "weighted alike, in bins of equal size. Points on the dashed diagonal are calibrated.",
        _axes(x, y, shares, shares),
        _line(_LEFT, _BOTTOM, _RIGHT, _TOP, "guide"),
        _path(points, "line only"),
        *(_tag("circle", class_="point only", cx=a, cy=b, r=3.5) for a, b in points),
        _axis_names("predicted human, %", "observed human, %"),
    )


@dataclass(frozen=True, slots=True)
class Dot:
    """One line of a dot plot; rates as fractions, or differences of any kind."""

    name: str
    value: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Dots:
    """A dot plot: `names` stand beside the lines of `drawing`, or, stacked, each on top of its own."""

    names: tuple[str, ...]
    drawing: Markup
    stacked: bool


def group_dots(groups: Iterable[Group]) -> list[Dot]:
    """The groups' EERs, worst first; equal ones by name."""
    dots = [Dot(one.name, one.rates.eer, one.rates.eer_interval) for one in groups]
    return sorted(dots, key=lambda dot: (-dot.value, dot.name))


def dot_plot(
    name: str,
    title: str,
    axis: str,
    dots: Sequence[Dot],
    *,
    reference: Dot | None = None,
    scale: float = 100.0,
    stacked: bool = False,
) -> Dots:
    """Values with their 95 % intervals on one axis that holds 0; a hollow dot has no interval.

    Places run across in percent of the drawing's width, so that its text keeps its size on a narrow screen.

    Args:
        name: for the identifiers inside the picture; unique on the page.
        title: of the picture.
        axis: what is drawn, with its unit.
        dots: in the order to be drawn, top first.
        reference: drawn as a dashed upright line through all, where given.
        scale: from a value to the axis's unit; 100 for percent.
        stacked: leaves room for a long name above every line.
    """
    everything = [*dots, *([reference] if reference else [])]
    reach = [0.0, *(scale * edge for dot in everything for edge in _edges(dot))]
    low, high = 1.04 * min(reach), 1.04 * max(reach)
    high = high if high > low else 1.0
    x = Scale(low, high, 1.0, 99.0)
    row, middle = (_STACKED_ROW, _STACKED_MIDDLE) if stacked else (_ROW, _ROW / 2)
    height = row * len(dots)

    def percent(value: float) -> str:
        return f"{x(scale * value):.5g}%"

    parts = [_tag("rect", class_="ground", x="0", y="0", width="100%", height=f"{height:g}")]
    for value in ticks(low, high):
        at = f"{x(value):.5g}%"
        parts += [
            _tag("line", class_="zero" if value == 0 else "grid", x1=at, x2=at, y1=0.0, y2=height),
            _tag("text", tick_label(value), class_="tick", x=at, y=height + 16, text_anchor="middle"),
        ]
    if reference is not None:
        at = percent(reference.value)
        parts.append(_tag("line", class_="threshold", x1=at, x2=at, y1=0.0, y2=height))
    for index, dot in enumerate(dots):
        y = row * index + middle
        if dot.interval is not None:
            left, right = percent(dot.interval.low), percent(dot.interval.high)
            parts.append(_tag("line", class_="whisker", x1=left, x2=right, y1=y, y2=y))
            parts += [_tag("line", class_="whisker", x1=at, x2=at, y1=y - 4, y2=y + 4) for at in (left, right)]
        kind = "dot" if dot.interval is not None else "dot hollow"
        parts.append(_tag("circle", class_=kind, cx=percent(dot.value), cy=y, r=4.5))
    parts.append(_tag("text", axis, class_="axis", x="50%", y=height + 36, text_anchor="middle"))
    words = "; ".join(_dot_words(dot, scale) for dot in dots)
    across = f" Dashed line: {_dot_words(reference, scale)}." if reference is not None else ""
    drawing = _tag(
        "svg",
        _tag("title", title, id=f"{name}-title"),
        _tag("desc", f"{axis}, top to bottom: {words}.{across}", id=f"{name}-desc"),
        *parts,
        class_="graph dots",
        width="100%",
        height=f"{height + 42:g}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )
    return Dots(names=tuple(dot.name for dot in dots), drawing=drawing, stacked=stacked)


def _edges(dot: Dot) -> tuple[float, ...]:
    return (dot.value,) if dot.interval is None else (dot.interval.low, dot.value, dot.interval.high)


def _dot_words(dot: Dot, scale: float) -> str:
    value = f"{dot.name}: {scale * dot.value:.4g}"
    if dot.interval is None:
        return f"{value} (no interval)"
    return f"{value} ({scale * dot.interval.low:.4g} to {scale * dot.interval.high:.4g})"


def heat_step(count: int, row_total: int) -> int:
    """How dark a cell of the confusion matrix is: 0 for none, up to `HEAT_STEPS` for all of its row."""
    return 0 if count <= 0 else min(HEAT_STEPS, 1 + int(count / row_total * HEAT_STEPS))


def class_style(index: int) -> tuple[int, int]:
    """Colour and shape of the class with this number: no two of the first 81 share both, of the first 9 either."""
    return index % COLOURS, (index + index // COLOURS) % SHAPES


def embedding_map(name: str, picture: EmbeddingMap) -> tuple[Markup, list[Key]]:
    """The embeddings as points, one colour and shape per class, and the legend that tells them apart."""
    classes = sorted(set(picture.classes))
    (left, right), (bottom, top) = padded(picture.x), padded(picture.y)
    x = Scale(left, right, _MAP_MARGIN, _MAP_WIDTH - _MAP_MARGIN)
    y = Scale(bottom, top, _MAP_HEIGHT - _MAP_MARGIN, _MAP_MARGIN)
    places: dict[str, list[tuple[float, float]]] = {each: [] for each in classes}
    for a, b, each in zip(picture.x, picture.y, picture.classes, strict=True):
        places[each].append((x(a), y(b)))
    drawn, keys = [], []
    for index, each in enumerate(classes):
        colour, shape = class_style(index)
        kind = f"marks c{colour} {'open' if shape in _OPEN else 'filled'}"
        drawn.append(_tag("path", class_=kind, d="".join(_shape(shape, a, b, 4.0) for a, b in places[each])))
        mark = _tag(
            "svg",
            _tag("path", class_=kind, d=_shape(shape, 8.0, 8.0, 5.0)),
            class_="graph key-mark",
            width="16",
            height="16",
            aria_hidden="true",
        )
        keys.append(Key(each, mark, len(places[each])))
    drawing = _picture(
        name,
        f"Map of the embeddings ({_METHODS[picture.method]})",
        f"{len(picture.x):,} recordings of {len(classes):,} classes as points: {', '.join(classes)}. Points close to "
        "each other have similar embeddings; distances between far points mean nothing.",
        _tag("rect", class_="ground", x=0.0, y=0.0, width=_MAP_WIDTH, height=_MAP_HEIGHT),
        *drawn,
        width=_MAP_WIDTH,
        height=_MAP_HEIGHT,
    )
    return drawing, keys


_METHODS = {"t-sne": "t-SNE", "umap": "UMAP"}
_OPEN = frozenset({4, 5, 8})


def _shape(shape: int, x: float, y: float, r: float) -> str:
    """Outline of one mark around a point: disc, square, triangle, diamond, cross, plus, triangle down, star, ring."""
    if shape in (0, 8):
        return f"M{x - r:.4g} {y:.4g}a{r:.4g} {r:.4g} 0 1 0 {2 * r:.4g} 0a{r:.4g} {r:.4g} 0 1 0 {-2 * r:.4g} 0z"
    if shape == 4:
        return f"M{x - r:.4g} {y - r:.4g}l{2 * r:.4g} {2 * r:.4g}m0 {-2 * r:.4g}l{-2 * r:.4g} {2 * r:.4g}"
    if shape == 5:
        return f"M{x - r:.4g} {y:.4g}h{2 * r:.4g}m{-r:.4g} {-r:.4g}v{2 * r:.4g}"
    corners = {
        1: [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        2: [(0.0, -1.2), (1.1, 0.8), (-1.1, 0.8)],
        3: [(0.0, -1.3), (1.0, 0.0), (0.0, 1.3), (-1.0, 0.0)],
        6: [(0.0, 1.2), (1.1, -0.8), (-1.1, -0.8)],
        7: [_star(point) for point in range(10)],
    }[shape]
    return "M" + "L".join(f"{x + r * a:.4g} {y + r * b:.4g}" for a, b in corners) + "z"


def _star(point: int) -> tuple[float, float]:
    reach = 1.4 if point % 2 == 0 else 0.6
    angle = math.pi * point / 5
    return reach * math.sin(angle), -reach * math.cos(angle)


def swatch(index: int) -> Markup:
    """The line of a DET plot with several series, for its legend."""
    return _tag(
        "svg",
        _line(1.0, 8.0, 31.0, 8.0, f"line s{index % COLOURS}"),
        class_="graph key-mark",
        width="32",
        height="16",
        aria_hidden="true",
    )
