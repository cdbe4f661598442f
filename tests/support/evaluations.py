"""Evaluation documents as `eval` would write them, of invented data: no model, no recording, every name made up."""

from __future__ import annotations

import random
from functools import cache

import numpy as np
from numpy.typing import NDArray

from spoofcheck.evalschema import (
    Caveat,
    ClassRow,
    Comparison,
    Curve,
    DataInfo,
    Detection,
    DetectionPlots,
    Difference,
    EmbeddingMap,
    EvaluationDocument,
    Group,
    Interval,
    MetricSet,
    OpenSet,
    Rates,
    Tracing,
    Transfer,
)
from spoofcheck.evaluation import metrics
from spoofcheck.schema import ToolInfo
from tests.support.documents import HOSTILE_NAMES, document, sha256
from tests.support.evidence import with_figures

Floats = NDArray[np.float64]

THRESHOLD = -0.3127
FIXED_ON = "invented-dev (412 speakers, 6 systems)"
BONAFIDE_TRIALS = 1_840
SYSTEMS = {  # name: (trials, mean LLR, training knew it)
    "T01 concatenative": (420, -5.1, True),
    "T02 statistical": (420, -4.6, True),
    "T03 sequence-to-sequence": (420, -3.4, True),
    "T04 flow": (420, -3.9, True),
    "T05 diffusion": (420, -1.7, False),
    "T06 codec language model": (420, -0.9, False),
    "T07 voice conversion": (420, -2.6, False),
    "T08 hosted service": (360, -0.2, False),
}
LANGUAGES = {"English": 0.6, "Finnish": -0.4, "Polish": 0.1}
CODECS = {"none": 0.4, "Opus 16 kbit/s": -0.3, "G.711": -1.1}


def tool() -> ToolInfo:
    """The program that made an invented document."""
    return ToolInfo(
        version="0.2.0",
        git_commit="851f89f0c2d4",
        command_line=(
            "spoofcheck",
            "eval",
            "models/demo",
            "--protocol",
            "asvspoof5",
            "keys/invented.tsv",
        ),
        python="3.11.2",
        platform="Linux-6.1.0-x86_64-with-glibc2.36",
        libraries={"numpy": "2.3.5", "torch": "2.11.0"},
    )


def data_info(name: str = "invented-eval (made up for tests)") -> DataInfo:
    """An invented data set."""
    return DataInfo(
        name=name,
        protocol="asvspoof5",
        files={"keys/invented.tsv": sha256("keys"), "keys/invented-codecs.tsv": sha256("codecs")},
        windows="all",
        unscored=7,
    )


def rates(scores: Floats, bonafide: NDArray[np.bool_], *, llrs: bool = True, interval: bool = True) -> Rates:
    """True figures of the scores; the interval is the binomial one, close enough to a bootstrap for a picture."""
    eer = metrics.eer(scores, bonafide)
    spoofs = int((~bonafide).sum())
    half = 1.96 * float(np.sqrt(eer * (1 - eer) / min(spoofs, int(bonafide.sum()))))
    return Rates(
        bonafide_trials=int(bonafide.sum()),
        spoof_trials=spoofs,
        eer=eer,
        eer_interval=Interval(low=max(0.0, eer - half), high=min(1.0, eer + half)) if interval else None,
        min_dcf=metrics.min_dcf(scores, bonafide),
        act_dcf=metrics.act_dcf(scores, bonafide) if llrs else None,
        cllr=metrics.cllr(scores, bonafide) if llrs else None,
        cllr_min=metrics.cllr_min(scores, bonafide) if llrs else None,
    )


def transfer(scores: Floats, bonafide: NDArray[np.bool_], threshold: float = THRESHOLD) -> Transfer:
    """True errors of the scores at a threshold."""
    miss, accepted = metrics.error_rates(scores, bonafide, threshold)
    return Transfer(threshold=threshold, fixed_on=FIXED_ON, fpr=miss, fnr=accepted, hter=(miss + accepted) / 2)


def detection_plots(scores: Floats, bonafide: NDArray[np.bool_], *, llrs: bool = True) -> DetectionPlots:
    """What the pictures of these scores are drawn from."""
    det = metrics.det_curve(scores, bonafide)
    kept = np.unique(np.linspace(0, len(det.miss) - 1, 300).astype(int))
    edges = np.histogram_bin_edges(scores, 40)
    grid = np.linspace(scores.min(), scores.max(), 150)

    def above(part: Floats) -> Curve:
        return Curve(x=tuple(grid.tolist()), y=tuple(float(np.mean(part > value)) for value in grid))

    posterior = 1 / (1 + np.exp(-scores))
    weights = np.where(bonafide, 0.5 / bonafide.sum(), 0.5 / (~bonafide).sum())
    bins = np.array_split(np.argsort(posterior, kind="stable"), 12)
    predicted = [float(np.average(posterior[part], weights=weights[part])) for part in bins]
    observed = [float(np.average(bonafide[part], weights=weights[part])) for part in bins]
    return DetectionPlots(
        det=Curve(x=tuple(det.false_accept[kept].tolist()), y=tuple(det.miss[kept].tolist())),
        histogram_edges=tuple(edges.tolist()),
        histogram_bonafide=tuple(np.histogram(scores[bonafide], edges)[0].tolist()),
        histogram_spoof=tuple(np.histogram(scores[~bonafide], edges)[0].tolist()),
        tippett_bonafide=above(scores[bonafide]) if llrs else None,
        tippett_spoof=above(scores[~bonafide]) if llrs else None,
        reliability=Curve(x=tuple(predicted), y=tuple(observed)) if llrs else None,
    )


def detection(
    *, shift: float = 0.0, metric_set: MetricSet = "asvspoof5", llrs: bool = True, full: bool = True
) -> Detection:
    """A detector's figures; with `full` off, only what every evaluation has."""
    source = np.random.default_rng(20261121)
    human = source.normal(3.1 + shift, 1.9, BONAFIDE_TRIALS)
    spoofs = {name: source.normal(mean - shift, 2.1, number) for name, (number, mean, _) in SYSTEMS.items()}

    def part(names: list[str]) -> tuple[Floats, NDArray[np.bool_]]:
        scores = np.concatenate([human, *(spoofs[name] for name in names)])
        return scores, np.arange(len(scores)) < len(human)

    def group(name: str, names: list[str]) -> Group:
        scores, labels = part(names)
        fixed = transfer(scores, labels) if full else None
        return Group(name=name, rates=rates(scores, labels, llrs=llrs), transfer=fixed)

    everything = list(SYSTEMS)
    scores, labels = part(everything)
    tags = source.integers(0, 3, len(scores))

    def tagged(shifts: dict[str, float]) -> tuple[Group, ...]:
        groups = []
        for index, (name, moved) in enumerate(shifts.items()):
            own = tags == index
            values = scores[own] + np.where(labels[own], moved, -moved)
            own_rates = rates(values, labels[own], llrs=llrs, interval=index != 2)
            groups.append(Group(name=name, rates=own_rates, transfer=transfer(values, labels[own])))
        return tuple(groups)

    return Detection(
        metrics=metric_set,
        scores_are_llrs=llrs,
        overall=rates(scores, labels, llrs=llrs),
        transfer=transfer(scores, labels) if full else None,
        by_system=tuple(group(name, [name]) for name in everything) if full else (),
        without_system=tuple(group(name, [n for n in everything if n != name]) for name in everything) if full else (),
        by_seen=(
            group("seen in training", [name for name in everything if SYSTEMS[name][2]]),
            group("unseen", [name for name in everything if not SYSTEMS[name][2]]),
        )
        if full
        else (),
        by_language=tagged(LANGUAGES) if full else (),
        by_codec=tagged(CODECS) if full else (),
        plots=detection_plots(scores, labels, llrs=llrs),
    )


def evaluation(
    detector: Detection | None = None, traced: Tracing | None = None, **changes: object
) -> EvaluationDocument:
    """A whole document around figures."""
    overall = detector.overall if detector else None
    model = with_figures(document([]).model)
    made = EvaluationDocument(
        tool=tool(),
        made_at="2026-11-21T09:14:03+00:00",
        model=model,
        data=data_info(),
        warnings=(
            Caveat(code="invented-data", message="Every figure of this report is invented for tests."),
            Caveat(code="shared-speakers", message="12 of 412 speakers are in the training data too."),
        ),
        eer=overall.eer if overall else None,
        min_dcf=overall.min_dcf if overall else None,
        act_dcf=overall.act_dcf if overall else None,
        cllr=overall.cllr if overall else None,
        detection=detector,
        tracing=traced,
    )
    return EvaluationDocument.model_validate(made.model_dump() | changes)


@cache
def sample_detection() -> EvaluationDocument:
    """A detector on eight systems, three languages and three codecs."""
    return evaluation(detection())


CLASSES = (
    "acorn-tts",
    "birch-vc",
    "cedar-lm",
    "elm-flow",
    "fir-vits",
    "hazel-diffusion",
    "maple-api",
    "rowan-clone",
    "unseen",
)


def _confusion() -> list[list[int]]:
    source = random.Random(7)
    matrix = []
    for row in range(len(CLASSES)):
        trials = 340 if row == len(CLASSES) - 1 else 110 + 10 * row
        kept = int(trials * (0.93 - 0.05 * row if row < 8 else 0.71))
        counts = [0] * len(CLASSES)
        counts[row] = kept
        for _ in range(trials - kept):
            counts[source.choice([8, 8, row - 1, (row + 1) % 9, source.randrange(9)])] += 1
        matrix.append(counts)
    return matrix


def _class_rows(matrix: list[list[int]]) -> list[ClassRow]:
    rows = []
    for index, name in enumerate(CLASSES):
        true, named = sum(matrix[index]), sum(row[index] for row in matrix)
        precision, recall = matrix[index][index] / named, matrix[index][index] / true
        f1 = 2 * precision * recall / (precision + recall)
        rows.append(ClassRow(name=name, trials=true, precision=precision, recall=recall, f1=f1))
    return rows


def _macro(name: str, rows: list[ClassRow]) -> ClassRow:
    return ClassRow(
        name=name,
        trials=sum(row.trials for row in rows),
        precision=sum(row.precision for row in rows) / len(rows),
        recall=sum(row.recall for row in rows) / len(rows),
        f1=sum(row.f1 for row in rows) / len(rows),
    )


def tracing(*, embedding_map: bool = True) -> Tracing:
    """A tracer's figures on eight known classes and one of unseen sources."""
    matrix = _confusion()
    rows = _class_rows(matrix)
    right = sum(matrix[index][index] for index in range(len(CLASSES))) / sum(map(sum, matrix))
    source = random.Random(11)
    points = []
    for index, name in enumerate(CLASSES):
        angle = 2 * np.pi * index / 8
        centre = (0.0, 0.0) if name == "unseen" else (30 * np.cos(angle), 22 * np.sin(angle))
        spread = 12.0 if name == "unseen" else 4.5
        points += [(source.gauss(centre[0], spread), source.gauss(centre[1], spread), name) for _ in range(45)]
    return Tracing(
        rule="largest softmax share; 'unseen' below 0.62, fixed on invented-dev",
        seen=_macro("seen (macro)", rows[:-1]),
        unseen=rows[-1],
        overall=_macro("overall (macro)", rows),
        accuracy=right,
        accuracy_interval=Interval(low=right - 0.0217, high=right + 0.0208),
        classes=tuple(rows),
        confusion=tuple(tuple(row) for row in matrix),
        open_set=OpenSet(auroc=0.9134, fpr95=0.3417, oscr=0.7862),
        embedding_map=EmbeddingMap(
            method="t-sne",
            x=tuple(float(x) for x, _, _ in points),
            y=tuple(float(y) for _, y, _ in points),
            classes=tuple(name for _, _, name in points),
        )
        if embedding_map
        else None,
    )


@cache
def sample_tracing() -> EvaluationDocument:
    """A tracer on nine classes."""
    return evaluation(traced=tracing(), tracer=f"demo-tracer 1 ({sha256('tracer')[:12]})")


@cache
def sample_comparison() -> Comparison:
    """Three detectors on the same trials: one difference shown, one not, one without an interval."""
    names = ("demo-large", "demo-compact", "baseline features-gbm")
    documents = tuple(evaluation(detection(shift=shift)) for shift in (0.35, 0.3, -0.7))
    overall = [one.detection.overall for one in documents if one.detection is not None]
    differences = []
    for first, second, half in ((0, 1, 0.0061), (0, 2, 0.0093), (1, 2, None)):
        for key, scale in (("eer", 1.0), ("min_dcf", 2.2), ("cllr", 2.6)):
            gap = getattr(overall[second], key) - getattr(overall[first], key)
            edge = None if half is None else Interval(low=gap - half * scale, high=gap + half * scale)
            differences.append(
                Difference(first=names[first], second=names[second], statistic=key, difference=gap, interval=edge)
            )
    return Comparison(
        tool=tool(),
        made_at="2026-11-21T09:14:03+00:00",
        data=data_info(),
        names=names,
        documents=documents,
        differences=tuple(differences),
    )


def constant_detection() -> EvaluationDocument:
    """Scores that are all the same, of a score file: no interval, no LLR, no group, nothing to draw a span from."""
    flat = Rates(
        bonafide_trials=3,
        spoof_trials=1,
        eer=0.5,
        eer_interval=None,
        min_dcf=1.0,
        act_dcf=None,
        cllr=None,
        cllr_min=None,
    )
    figures = Detection(
        metrics="asvspoof5",
        scores_are_llrs=False,
        overall=flat,
        transfer=None,
        plots=DetectionPlots(
            det=Curve(x=(1.0, 0.0), y=(0.0, 1.0)),
            histogram_edges=(0.25, 0.25),
            histogram_bonafide=(3,),
            histogram_spoof=(1,),
            tippett_bonafide=None,
            tippett_spoof=None,
            reliability=None,
        ),
    )
    data = DataInfo(name="", protocol="scores", files={}, windows="given", unscored=0)
    bare = tool().model_copy(update={"git_commit": None, "libraries": {}})
    return evaluation(figures, model=None, data=data, warnings=(), tool=bare)


def perfect_detection() -> EvaluationDocument:
    """No error at all, and nothing drawn: every curve is empty."""
    full = detection()
    best = full.overall.model_copy(
        update={"eer": 0.0, "eer_interval": Interval(low=0.0, high=0.0), "min_dcf": 0.0, "act_dcf": 0.0, "cllr": 0.0}
    )
    empty = Curve(x=(), y=())
    nothing = DetectionPlots(
        det=empty,
        histogram_edges=(),
        histogram_bonafide=(),
        histogram_spoof=(),
        tippett_bonafide=empty,
        tippett_spoof=empty,
        reliability=empty,
    )
    groups = (Group(name="only", rates=best),)
    changes = {"overall": best, "plots": nothing, "by_system": groups, "transfer": None}
    return evaluation(full.model_copy(update=changes))


def degenerate_tracing() -> EvaluationDocument:
    """One class, no trial, no interval, nothing open-set; the map holds a single point."""
    none = ClassRow(name="only", trials=0, precision=0.0, recall=0.0, f1=0.0)
    point = EmbeddingMap(method="umap", x=(1.0,), y=(2.0,), classes=("only",))
    return evaluation(
        traced=Tracing(
            rule="none",
            seen=none,
            unseen=none,
            overall=none,
            accuracy=0.0,
            accuracy_interval=None,
            classes=(none,),
            confusion=((0,),),
            open_set=None,
            embedding_map=point,
        ),
        tracer="t",
    )


def hostile_evaluation() -> EvaluationDocument:
    """Names that try to act on the page, wherever a document holds text from outside."""
    names = list(HOSTILE_NAMES)
    figures = detection(full=False)
    named = Transfer(threshold=1.0, fixed_on=names[3], fpr=0, fnr=0, hter=0)
    groups = tuple(Group(name=name, rates=figures.overall, transfer=named) for name in names)
    splits = ("by_system", "without_system", "by_seen", "by_language", "by_codec")
    size = len(names)
    rows = tuple(ClassRow(name=name, trials=1, precision=1.0, recall=1.0, f1=1.0) for name in names)
    points = EmbeddingMap(method="umap", x=tuple(map(float, range(size))), y=(0.0,) * size, classes=tuple(names))
    confusion = tuple(tuple(int(row == column) for column in range(size)) for row in range(size))
    of_classes = {"rule": names[3], "classes": rows, "confusion": confusion, "embedding_map": points}
    libraries = {names[3]: names[4]}
    program = tool().model_dump() | {"command_line": names, "platform": names[3], "libraries": libraries}
    return evaluation(
        figures.model_copy(update={**dict.fromkeys(splits, groups), "transfer": named}),
        tracing().model_copy(update=of_classes),
        data=data_info(names[3]).model_dump() | {"files": dict.fromkeys(names, names[3]), "protocol": names[3]},
        model=document([]).model.model_dump() | {"name": names[3], "version": names[4], "training_data": names[5]},
        tracer=names[4],
        warnings=tuple(Caveat(code=names[3], message=name) for name in names),
        tool=program,
        made_at=names[3],
    )


def hostile_comparison() -> Comparison:
    """The same for a comparison."""
    one = hostile_evaluation()
    names = tuple(HOSTILE_NAMES[3:6])
    known = Interval(low=0.1, high=0.2)
    return Comparison(
        tool=one.tool,
        made_at=one.made_at,
        data=one.data,
        names=names,
        documents=(one, one, sample_tracing()),
        differences=tuple(
            Difference(first=name, second=name, statistic=name, difference=0.15, interval=known) for name in names
        ),
    )
