"""What a precision or runtime costs and changes on the CPU, window by window, against float32 in torch.

`python -m bench.precision --prepared DIR` takes the dev windows that `spoofcheck train` prepared there: shifts of LLRs,
of gate distances and of embeddings, of the equal error rate, and how many exhibits (clips) are judged or traced
otherwise. Without it, the windows of the example recordings, which have too few labels for an error rate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.measure import Measurement, parser, show
from bench.speech import EXAMPLES
from spoofcheck.audio.recording import read_windows
from spoofcheck.detect.cpurunner import CpuRunner
from spoofcheck.detect.exhibittracer import shipped_twin
from spoofcheck.detect.gallery import embedding_head
from spoofcheck.detect.programs import HearingProgram
from spoofcheck.detect.runner import Runner, Runtime, Tensors
from spoofcheck.detect.scorer import HeardWindow, WindowScorer, fitted
from spoofcheck.detect.tracing import KnownSources, judge_embedding, known_sources
from spoofcheck.detect.validity import exhibit_distance, exhibit_llr, window_llr
from spoofcheck.errors import UsageError
from spoofcheck.evaluation.metrics import eer
from spoofcheck.nets.bundle import Bundle, load_bundle
from spoofcheck.nets.config import ModelConfig
from spoofcheck.nets.index import find_model
from spoofcheck.nets.precision import Precision
from spoofcheck.training.store import WindowStore
from spoofcheck.types import Window

MAX_LLR_SHIFT = 0.05
MAX_EER_SHIFT_POINTS = 0.1
AT_A_TIME = 16
CALIBRATION_WINDOWS = 24
"""Of the train split, for int8."""
AUTOCAST = "bf16 by autocast"
INT8 = {"int8": range(6), "int8 in the 4th and 5th convolution": (3, 4)}
"""Which of the stem's convolutions."""
NOT_OFFERED = {AUTOCAST, *INT8}

Floats = NDArray[np.float64]
Score = Callable[[Sequence[NDArray[np.float32]]], list[HeardWindow]]


@dataclass(frozen=True, slots=True)
class Windows:
    """What is heard.

    Attributes:
        samples: gives a window, float32 `[window_samples]`.
        exhibits: which recording each belongs to.
        spoof: whether it is synthetic; None where that is not known.
    """

    samples: Callable[[int], NDArray[np.float32]]
    exhibits: list[str]
    spoof: list[bool] | None

    def by_exhibit(self) -> dict[str, list[int]]:
        """Windows of each exhibit."""
        members: dict[str, list[int]] = {}
        for index, exhibit in enumerate(self.exhibits):
            members.setdefault(exhibit, []).append(index)
        return members

    def some(self, most: int) -> Windows:
        """As many of them, evenly spread."""
        chosen = np.linspace(0, len(self.exhibits) - 1, most).astype(int).tolist()
        return Windows(
            samples=lambda index: self.samples(chosen[index]),
            exhibits=[self.exhibits[i] for i in chosen],
            spoof=None if self.spoof is None else [self.spoof[i] for i in chosen],
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a variant says of all windows and exhibits."""

    cpu_s: float
    window_llrs: Floats
    distances: Floats
    embeddings: NDArray[np.float32]
    exhibit_llrs: Floats
    conclusions: list[str]
    sources: list[str]


def remark(rows: Sequence[Measurement]) -> str:
    """What was heard."""
    text = "Against float32 in torch, window by window; an exhibit is a clip."
    if any("EER" in row.name for row in rows):
        return text
    return f"{text} **Of the example recordings alone**: no prepared windows were named with `--prepared`."


def measure(model: str | None = None, prepared: Path | None = None, most: int | None = None) -> list[Measurement]:
    """All variants, the reference first."""
    bundle = load_bundle(find_model(model))
    tracer = shipped_twin(bundle)
    known = None if tracer is None else known_sources(tracer)
    head = None if tracer is None else embedding_head(tracer)
    windows = _examples(bundle.config) if prepared is None else _prepared(prepared, "dev", bundle.config.window_samples)
    if most is not None and most < len(windows.exhibits):
        windows = windows.some(most)
    chosen: list[tuple[str, Precision, Runtime]] = [
        ("float32", "float32", "torch"), ("bf16", "bf16", "torch"), ("float32 in ONNX Runtime", "float32", "onnx"),
    ]  # fmt: skip
    rows: list[Measurement] = []
    reference: Outcome | None = None
    for name, precision, runtime in chosen:
        try:
            scorer = WindowScorer(bundle, "cpu", None, head, precision, runtime)
        except UsageError as error:
            print(f"{name}: not measured: {error}")
            continue
        outcome = _outcome(scorer.score, windows, bundle, known)
        reference = reference or outcome
        rows += rows_of(name, outcome, reference, windows)
    if reference is None:
        return rows
    scorer = WindowScorer(bundle, "cpu", None, head, "float32")
    scorer.runner = _autocast(HearingProgram(bundle.network, head))
    rows += rows_of(AUTOCAST, _outcome(scorer.score, windows, bundle, known), reference, windows)
    if prepared is None or find_spec("onnxruntime") is None:
        return rows
    calibration = _prepared(prepared, "train", bundle.config.window_samples).some(CALIBRATION_WINDOWS)
    for name, layers in INT8.items():
        scorer = WindowScorer(bundle, "cpu", None, head, "float32")
        scorer.runner = _int8(HearingProgram(bundle.network, head), calibration, layers)
        rows += rows_of(name, _outcome(scorer.score, windows, bundle, known), reference, windows)
    return rows


def _autocast(program: HearingProgram) -> Runner:
    """bfloat16 as torch's autocast has it: biases and what is behind the stem are rounded as well."""
    program.eval()

    def compute(waveform: Tensor) -> Tensors:
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            outputs: Tensors = program(waveform)
        return outputs

    return CpuRunner(compute, torch.bfloat16)


def _int8(program: HearingProgram, calibration: Windows, layers: Sequence[int]) -> Runner:
    from bench.quantised import quantised_graph
    from spoofcheck.detect.onnxrunner import OnnxRunner

    graph = quantised_graph(program.eval(), map(calibration.samples, range(len(calibration.exhibits))), layers)
    return OnnxRunner(graph)


def _outcome(score: Score, windows: Windows, bundle: Bundle, known: KnownSources | None) -> Outcome:
    config = bundle.config
    score([windows.samples(0)])  # the first is slower than all others
    heard: list[HeardWindow] = []
    cpu_s = 0.0
    for first in range(0, len(windows.exhibits), AT_A_TIME):
        batch = [windows.samples(i) for i in range(first, min(first + AT_A_TIME, len(windows.exhibits)))]
        started = time.process_time()
        heard += score(batch)
        cpu_s += time.process_time() - started
    llrs, conclusions, sources = [], [], []
    for members in windows.by_exhibit().values():
        distance = exhibit_distance(heard[i].validity_distance for i in members)
        llr = exhibit_llr(float(np.mean([heard[i].raw_score for i in members])), distance, config)
        llrs.append(_number(llr))
        conclusions.append(_conclusion(_number(llr), distance, config))
        if known is not None:
            mean = np.mean([heard[i].embedding for i in members if heard[i].embedding is not None], axis=0)
            sources.append(judge_embedding(mean.astype(np.float64), len(members), known).info.decision)
    return Outcome(
        cpu_s=cpu_s / len(heard),
        window_llrs=np.array([_number(window_llr(each.raw_score, each.validity_distance, config)) for each in heard]),
        distances=np.array([each.validity_distance or 0.0 for each in heard]),
        embeddings=np.stack([np.zeros(1, np.float32) if h.embedding is None else h.embedding for h in heard]),
        exhibit_llrs=np.array(llrs),
        conclusions=conclusions,
        sources=sources,
    )


def _conclusion(llr: float, distance: float | None, config: ModelConfig) -> str:
    """What the LLR and the distance alone would decide."""
    if config.gate is not None and distance is not None and distance >= config.gate.exhibit.refuse_from:
        return "too far"
    rule = config.decision
    return "spoof" if llr >= rule.spoof_threshold_llr else "bonafide" if llr <= rule.bonafide_threshold_llr else "none"


def rows_of(name: str, found: Outcome, reference: Outcome, windows: Windows) -> Iterable[Measurement]:
    """The rows of one variant; the reference has no shift. What no scan can choose has no target to miss."""
    at_once = f"{len(found.window_llrs)} windows, {len(found.exhibit_llrs)} exhibits"
    yield Measurement(f"{name}: CPU time of a window", found.cpu_s * 1e3, "ms", note=at_once)
    if found is reference:
        return
    bounded = None if name in NOT_OFFERED else MAX_LLR_SHIFT
    for what, ours, theirs in (
        ("window", found.window_llrs, reference.window_llrs),
        ("exhibit", found.exhibit_llrs, reference.exhibit_llrs),
    ):
        shift = np.abs(ours - theirs)
        note = f"99th percentile {np.quantile(shift, 0.99):.2g}, mean {shift.mean():.2g}"
        yield Measurement(f"{name}: largest shift of a {what}'s LLR", shift.max(), "", bounded, "at most", note)
    if windows.spoof is not None:
        yield from _error_rates(name, found, reference, windows)
    distance = np.abs(found.distances - reference.distances).max()
    yield Measurement(f"{name}: largest shift of a distance", distance, "")
    cosine = (1 - (found.embeddings.astype(np.float64) * reference.embeddings).sum(axis=1)).max()
    if found.sources:
        yield Measurement(f"{name}: largest 1 - cosine to the same window's embedding", cosine, "")
        moved = sum(a != b for a, b in zip(found.sources, reference.sources, strict=True))
        yield Measurement(f"{name}: exhibits traced otherwise", moved, f"of {len(found.sources)}")
    flipped = [f"{b} to {a}" for a, b in zip(found.conclusions, reference.conclusions, strict=True) if a != b]
    note = ", ".join(sorted(set(flipped)))
    yield Measurement(f"{name}: exhibits concluded otherwise", len(flipped), f"of {len(found.conclusions)}", note=note)


def _error_rates(name: str, found: Outcome, reference: Outcome, windows: Windows) -> Iterable[Measurement]:
    assert windows.spoof is not None
    of_windows = ~np.array(windows.spoof)
    of_exhibits = np.array([of_windows[members[0]] for members in windows.by_exhibit().values()])
    for what, bonafide, ours, theirs in (
        ("windows", of_windows, found.window_llrs, reference.window_llrs),
        ("exhibits", of_exhibits, found.exhibit_llrs, reference.exhibit_llrs),
    ):
        before, after = 100 * eer(-theirs, bonafide), 100 * eer(-ours, bonafide)
        yield Measurement(
            f"{name}: shift of the EER of {what}", abs(after - before), "points",
            None if name in NOT_OFFERED else MAX_EER_SHIFT_POINTS, "at most", f"{before:.2f} % became {after:.2f} %",
        )  # fmt: skip


def _prepared(folder: Path, split: str, window_samples: int) -> Windows:
    """The windows of `spoofcheck train`'s store, repeated to a whole window where they are shorter."""
    store = WindowStore(folder / split, window_samples)
    return Windows(
        samples=lambda index: fitted(store.wave(index), window_samples),
        exhibits=[f"{row.repo}/{row.clip}" for row in store.rows],
        spoof=[row.is_spoof for row in store.rows],
    )


def _examples(config: ModelConfig) -> Windows:
    """The windows with speech of the example recordings."""
    samples: list[NDArray[np.float32]] = []
    exhibits: list[str] = []
    for path in sorted((EXAMPLES / "recordings").glob("*")):
        if path.name in ("cut-off.wav", "transcript.wav"):  # not recordings
            continue
        items = read_windows(
            path, window_samples=config.window_samples, hop_samples=config.window_samples, channels="auto", vad=True,
            min_window_speech_s=config.decision.min_window_speech_s,
        )  # fmt: skip
        for item in items:
            if isinstance(item, Window) and item.samples is not None:
                samples.append(item.samples)
                exhibits.append(f"{path.name} {item.channel}")
    return Windows(samples.__getitem__, exhibits, None)


def _number(llr: float | None) -> float:
    return 0.0 if llr is None else llr


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--prepared", type=Path, help="folder with the windows that a training run prepared")
    options.add_argument("--windows", type=int, help="no more than so many, evenly spread (default: all)")
    chosen = options.parse_args()
    show(measure(chosen.model, chosen.prepared, chosen.windows))


if __name__ == "__main__":
    main()
