"""What `--budget` saves of an hour, and how often it changes what is said of long recordings.

Each recording of the second part is heard once, whole, and judged again from the windows that a budget would have
chosen: a window's score is the same either way (`tests/detect/test_budget.py`). The recordings are strung from the
example recordings, each from another place on: human speech, synthetic speech, and human speech with one synthetic
passage. They hold few voices over and over; how often a verdict changes on recordings of a case is not known from them.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from bench.measure import Measurement, parser, run, scan_command, show
from bench.speech import SAMPLE_RATE_HZ, STEP_S, human_pool, synthetic_pool
from spoofcheck.detect.budget import EvenSample, budget_windows
from spoofcheck.detect.hearing import HeardRecording, Hearing, ScoredWindow
from spoofcheck.detect.progress import NoProgress
from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.schema import Finding
from spoofcheck.types import OVER_BUDGET

BUDGET = "60s"
BUDGETS_S = (30, 60, 120, 300)
RECORDINGS = 6
MINUTES = 10
PASSAGE_S = 24.0
PASSAGE_AT_S = 57.0
"""The first recording's passage; each further one's is `STEP_S` later."""
KINDS = ("human", "synthetic", "spliced")


def measure(model: str | None = None, recordings: int = RECORDINGS, minutes: int = MINUTES) -> list[Measurement]:
    """An hour with and without, then verdicts."""
    return [*_hour(model), *_verdicts(model, recordings, minutes)]


def _hour(model: str | None) -> list[Measurement]:
    rows = []
    with tempfile.TemporaryDirectory(prefix="spoofcheck-bench-") as name:
        path, result = Path(name) / "hour.wav", Path(name) / "scan.json"
        soundfile.write(path, _strung(human_pool(), 0, 60), SAMPLE_RATE_HZ, subtype="PCM_16")
        for what, more in (("whole", ()), (f"--budget {BUDGET}", ("--budget", BUDGET))):
            done = run(scan_command([path], model, "--no-controls", "--json", str(result), *more))
            (finding,) = json.loads(result.read_text(encoding="utf-8"))["findings"]
            scored = sum(window["raw_score"] is not None for window in finding["windows"])
            note = f"{scored} of {len(finding['windows'])} windows scored, LLR {finding['spoof_llr']:+.2f}, "
            note += f"{done.wall_s:.0f} s by the clock, {done.peak_rss_bytes / 1e6:.0f} MB"
            rows.append(Measurement(f"an hour of speech, {what}", done.cpu_s, "s of CPU", note=note))
    return rows


def _verdicts(model: str | None, recordings: int, minutes: int) -> list[Measurement]:
    scanner = Scanner(model, ScanOptions(device="cpu", trace=False))
    budgets = {
        budget_s: budget_windows(budget_s, scanner.bundle.config.window_samples, scanner.bundle.config.name)
        for budget_s in BUDGETS_S
    }
    whole: dict[str, list[Finding]] = {}
    cut: dict[int, dict[str, list[Finding]]] = {budget_s: {} for budget_s in BUDGETS_S}
    with tempfile.TemporaryDirectory(prefix="spoofcheck-bench-") as name:
        for kind, paths in _write_long(Path(name), recordings, minutes).items():
            heard = _heard(scanner, paths)
            whole[kind] = [_judged(scanner, each) for each in heard]
            for budget_s, most in budgets.items():
                cut[budget_s][kind] = [_judged(scanner, thinned(each, most)) for each in heard]
    everything = Counter(f"{each.verdict} {kind}" for kind, findings in whole.items() for each in findings)
    rows = [
        Measurement(
            f"{len(KINDS) * recordings} recordings of {minutes} minutes, whole",
            sum(bool(each.spans) for findings in whole.values() for each in findings),
            "with a flagged stretch",
            note=", ".join(f"{number} {what}" for what, number in sorted(everything.items())),
        )
    ]
    rows += [_changes(budget_s, whole, findings) for budget_s, findings in cut.items()]
    return rows


def _changes(
    budget_s: int, whole: Mapping[str, Sequence[Finding]], cut: Mapping[str, Sequence[Finding]]
) -> Measurement:
    changed, stretches, largest = dict.fromkeys(KINDS, 0), 0, 0.0
    for kind in KINDS:
        for before, after in zip(whole[kind], cut[kind], strict=True):
            changed[kind] += before.verdict is not after.verdict
            stretches += bool(after.spans)
            largest = max(largest, abs((before.spoof_llr or 0.0) - (after.spoof_llr or 0.0)))
    by_kind = ", ".join(f"{changed[kind]} of {len(whole[kind])} {kind}" for kind in KINDS)
    return Measurement(
        f"--budget {budget_s}s",
        sum(changed.values()),
        "verdicts changed",
        note=f"{by_kind}; {stretches} with a flagged stretch; a pooled LLR moved by {largest:.2f} at most",
    )


def thinned(recording: HeardRecording, most_windows: int) -> HeardRecording:
    """A recording as if only so many windows of each channel had been heard."""
    return dataclasses.replace(
        recording, windows={number: _chosen(windows, most_windows) for number, windows in recording.windows.items()}
    )


def _chosen(windows: Sequence[ScoredWindow], most: int) -> list[ScoredWindow]:
    sample = EvenSample[int](most)
    left_out: set[int] = set()
    for place, window in enumerate(windows):
        if window.heard is not None:
            left_out.update(sample.add(place))
    left_out.update(sample.finish())
    return [
        dataclasses.replace(window, heard=None, not_scored=OVER_BUDGET) if place in left_out else window
        for place, window in enumerate(windows)
    ]


def _heard(scanner: Scanner, paths: Sequence[Path]) -> list[HeardRecording]:
    hearing = Hearing(scanner.scorer, scanner.first_reading(), 1, debug=True)
    with closing(hearing.recordings(list(paths), NoProgress())) as recordings:
        return list(recordings)


def _judged(scanner: Scanner, recording: HeardRecording) -> Finding:
    (finding,) = scanner.judged(recording, NoProgress())
    return finding


def _write_long(folder: Path, recordings: int, minutes: int) -> dict[str, list[Path]]:
    """So many mono WAV files of each kind."""
    human, synthetic = human_pool(), synthetic_pool()
    files: dict[str, list[Path]] = {kind: [] for kind in KINDS}
    for number in range(recordings):
        spliced = _strung(human, number, minutes)
        start = round((PASSAGE_AT_S + number * STEP_S) * SAMPLE_RATE_HZ)
        passage = _strung(synthetic, number, 1)[: round(PASSAGE_S * SAMPLE_RATE_HZ)]
        spliced[start : start + passage.size] = passage
        made = (_strung(human, number, minutes), _strung(synthetic, number, minutes), spliced)
        for kind, samples in zip(KINDS, made, strict=True):
            path = folder / f"{kind}-{number}.wav"
            soundfile.write(path, samples, SAMPLE_RATE_HZ, subtype="PCM_16")
            files[kind].append(path)
    return files


def _strung(pool: NDArray[np.float32], number: int, minutes: int) -> NDArray[np.float32]:
    """Minutes of a pool over and over, each number from another place on; `[samples]`."""
    start = round(number * STEP_S * SAMPLE_RATE_HZ) % pool.size
    return np.take(pool, np.arange(start, start + minutes * 60 * SAMPLE_RATE_HZ), mode="wrap")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--recordings", type=int, default=RECORDINGS, help="of each kind (default: %(default)s)")
    options.add_argument("--minutes", type=int, default=MINUTES, help="length of each (default: %(default)s)")
    chosen = options.parse_args()
    show(measure(chosen.model, chosen.recordings, chosen.minutes))


if __name__ == "__main__":
    main()
