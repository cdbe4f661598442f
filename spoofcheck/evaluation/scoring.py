"""Scores of a protocol's clips by a detector: deterministic, resumable, shared out over processes.

`all` is what `scan` does (speech gate, every window, mean raw score, exhibit calibration), so that what is measured is
what users get. `first` is the published protocols' way: the first window of each clip from its first sample,
repeated when short, no speech gate, window calibration.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spoofcheck.audio.recording import read_windows
from spoofcheck.detect.calibration import to_llr
from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.detect.scorer import DeviceName
from spoofcheck.errors import InputError, OutputError, UsageError
from spoofcheck.evaluation.clips import Clip
from spoofcheck.evaluation.scorefiles import ScoredTrial, keys_of, scored, trial_names
from spoofcheck.evaluation.shards import Team
from spoofcheck.nets.bundle import Bundle
from spoofcheck.nets.config import read_config
from spoofcheck.nets.index import find_model
from spoofcheck.schema import Finding
from spoofcheck.types import Window, samples_to_seconds

WindowMode = Literal["first", "all"]
OnScored = Callable[[], None]

_FORM = 1
"""Of a row in a work folder; raised whenever the way a score comes about changes."""


@dataclass(frozen=True, slots=True)
class ClipScore:
    """What a detector says of one clip.

    Attributes:
        name: of the trial.
        raw_score: spoof logit minus bona fide logit, of the window or as mean over the windows; None when unscored.
        spoof_llr: calibrated natural-log LLR, positive supports synthetic; None likewise.
        problem: why there is no score, e.g. `"no-speech"` or `"not-found"`; None when there is one.
    """

    name: str
    raw_score: float | None
    spoof_llr: float | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ScoredClips:
    """All clips of a protocol after scoring, in its order: trials (higher means bona fide), and why others are not."""

    trials: tuple[ScoredTrial, ...]
    unscored: tuple[ClipScore, ...]


class ClipScorer:
    """A detector ready to score clips.

    Args:
        model: name or directory of a model, as for `Scanner`.
        windows: which windows make a score.
        device: where the network runs.
        batch_windows: windows per forward pass; None for the device's default. Changes no score.
        workers: threads that read ahead; None by cores. Changes no score.

    Raises:
        ModelError: the model cannot be loaded.
        UsageError: the device is not there.
    """

    def __init__(
        self,
        model: str | Path | None,
        windows: WindowMode,
        device: DeviceName = "auto",
        batch_windows: int | None = None,
        workers: int | None = None,
    ) -> None:
        directory = find_model(model)
        window_s = samples_to_seconds(read_config(directory).window_samples)
        options = ScanOptions(
            hop_s=min(ScanOptions().hop_s, window_s), device=device, batch_windows=batch_windows, workers=workers
        )
        self._scanner = Scanner(directory, options)
        self._workers = workers or max(1, min(8, (os.cpu_count() or 1) - 1))
        self.windows: WindowMode = windows

    @property
    def bundle(self) -> Bundle:
        """The model."""
        return self._scanner.bundle

    @property
    def identity(self) -> str:
        """Hash of all that a score depends on but the clip: weights, configuration, windows, precision."""
        parts = (_FORM, self.bundle.weights_sha256, self.bundle.config_sha256, self.windows, self._scanner.scorer.dtype)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def score(self, names: Sequence[str], clips: Sequence[Clip]) -> Generator[ClipScore]:
        """Score clips one by one, lazily and in order; closing the iterator stops the readers."""
        paths = [clip.path for clip in clips]
        outcomes = self._as_scan_does(paths) if self.windows == "all" else self._first_windows(paths)
        with closing(outcomes):
            for name, outcome in zip(names, outcomes, strict=True):
                if isinstance(outcome, str):
                    yield ClipScore(name, None, None, outcome)
                    continue
                raw_score, spoof_llr = outcome
                yield ClipScore(name, raw_score, spoof_llr)

    def _as_scan_does(self, paths: Sequence[Path]) -> Generator[tuple[float, float] | str]:
        for exhibits in _by_recording(self._scanner.findings(paths)):
            yield self._pooled(exhibits)

    def _pooled(self, exhibits: Sequence[Finding]) -> tuple[float, float] | str:
        """The exhibit's score; channels that `scan` judges apart are one trial here, whose windows are pooled."""
        if len(exhibits) == 1 and exhibits[0].raw_score is not None and exhibits[0].spoof_llr is not None:
            return exhibits[0].raw_score, exhibits[0].spoof_llr
        scores = [w.raw_score for exhibit in exhibits for w in exhibit.windows if w.raw_score is not None]
        if not scores:
            return exhibits[0].reasons[0].code
        calibration = self.bundle.config.calibration
        raw_score = sum(scores) / len(scores)
        return raw_score, to_llr(raw_score, calibration.exhibit, calibration.llr_bound)

    def _first_windows(self, paths: Sequence[Path]) -> Generator[tuple[float, float] | str]:
        calibration = self.bundle.config.calibration
        scorer = self._scanner.scorer
        with ThreadPoolExecutor(self._workers) as pool:
            waiting = iter(paths)
            ahead = self._submit(pool, waiting)
            while ahead:
                heard = [future.result() for future in ahead]
                ahead = self._submit(pool, waiting)
                raw_scores = iter(scorer.score([samples for samples in heard if not isinstance(samples, str)]))
                for samples in heard:
                    if isinstance(samples, str):
                        yield samples
                        continue
                    raw_score = next(raw_scores)
                    if not math.isfinite(raw_score):
                        yield "score-not-finite"
                        continue
                    yield raw_score, to_llr(raw_score, calibration.window, calibration.llr_bound)

    def _submit(self, pool: ThreadPoolExecutor, paths: Iterator[Path]) -> list[Future[NDArray[np.float32] | str]]:
        size = max(self._scanner.scorer.batch_windows, self._workers)
        window_samples = self.bundle.config.window_samples
        return [pool.submit(_first_window, path, window_samples) for path in islice(paths, size)]


def score_clips(
    scorer: ClipScorer,
    clips: Sequence[Clip],
    *,
    team: Team,
    work: Path | None = None,
    on_scored: OnScored = lambda: None,
) -> ScoredClips:
    """Score all clips, this process those that fall to it, and put the shares of all processes together.

    Rank r of w takes every w-th clip from r on. With a work folder, every score is kept there the moment it is known,
    and clips whose score is there already (same model, windows and precision; same name, size and time of change) are
    not scored again, so that a killed run goes on where it was, with any number of processes.

    Args:
        scorer: the detector.
        clips: of a protocol.
        team: the processes of this run.
        work: a folder that all processes see, or None to keep nothing.
        on_scored: called after each clip of this process's share.

    Raises:
        UsageError: two clips of one name, or a work folder that not all processes see.
        OutputError: the work folder cannot be written.
    """
    names = trial_names(clips)
    if work is None and team.world == 1:
        rows = {}
        for row in scorer.score(names, clips):
            rows[row.name] = row
            on_scored()
    else:
        with team.shared_folder(work) as folder:
            rows = _score_share(_Store(folder, scorer, team.rank), scorer, names, clips, team, on_scored)
            team.wait()
    trials = []
    unscored = []
    for name, key in keys_of(clips).items():
        row = rows[name]
        if row.spoof_llr is None:
            unscored.append(row)
        else:
            trials.append(scored(key, -row.spoof_llr))
    return ScoredClips(tuple(trials), tuple(unscored))


def _score_share(
    store: _Store,
    scorer: ClipScorer,
    names: Sequence[str],
    clips: Sequence[Clip],
    team: Team,
    on_scored: OnScored,
) -> dict[str, ClipScore]:
    stamps = {name: _stamp(clip.path) for name, clip in zip(names, clips, strict=True)}
    done = store.read(stamps)
    team.wait()  # nobody writes before everybody has read
    mine = list(zip(names, clips, strict=True))[team.rank :: team.world]
    missing = [(name, clip) for name, clip in mine if name not in done]
    for _ in range(len(mine) - len(missing)):
        on_scored()
    with closing(scorer.score([name for name, _ in missing], [clip for _, clip in missing])) as rows, store:
        for row in rows:
            store.append(row, stamps[row.name])
            on_scored()
    team.wait()
    rows_by_name = store.read(stamps)
    lacking = [name for name in names if name not in rows_by_name]
    if lacking:
        raise UsageError(f"{len(lacking)} scores of other processes are not in the work folder: give --work DIR a "
                         "folder that every node sees, and leave the recordings as they are during a run")  # fmt: skip
    return rows_by_name


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What tells that a file is the one that was scored; zeros for one that is not there."""

    size_bytes: int
    modified_ns: int


class _Store:
    """Rows of one model and kind of windows in a work folder: one JSON line a clip, one file a process."""

    def __init__(self, work: Path, scorer: ClipScorer, rank: int) -> None:
        name = "".join(char if char.isalnum() else "-" for char in scorer.bundle.config.name)
        self._folder = work / f"{name}-{scorer.windows}-{scorer.identity[:12]}"
        self._path = self._folder / f"rank-{rank}.jsonl"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self._folder}: cannot be made ({error.strerror or error})") from error

    def __enter__(self) -> _Store:
        try:
            self._file = self._path.open("a+b")
            # What a killed run left of a line must not swallow the next one.
            if self._file.tell():
                self._file.seek(-1, os.SEEK_END)
                if self._file.read(1) != b"\n":
                    self._file.write(b"\n")
        except OSError as error:
            raise self._unwritable(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, row: ClipScore, stamp: _Stamp) -> None:
        line = json.dumps({**asdict(row), **asdict(stamp)}, separators=(",", ":"))
        try:
            self._file.write(f"{line}\n".encode())
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def read(self, stamps: Mapping[str, _Stamp]) -> dict[str, ClipScore]:
        """The rows of all processes and runs that hold for these clips; lines cut short are passed over."""
        rows: dict[str, ClipScore] = {}
        for path in sorted(self._folder.glob("rank-*.jsonl")):
            for line in path.read_bytes().splitlines():
                try:
                    fields = json.loads(line)
                    stamp = _Stamp(fields.pop("size_bytes"), fields.pop("modified_ns"))
                    row = ClipScore(**fields)
                except (ValueError, KeyError, TypeError, AttributeError):
                    continue
                if stamps.get(row.name) == stamp:
                    rows[row.name] = row
        return rows

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(f"{self._path}: cannot be written ({error.strerror or error})")


def _stamp(path: Path) -> _Stamp:
    try:
        entry = path.stat()
    except (OSError, ValueError):
        return _Stamp(0, 0)
    return _Stamp(entry.st_size, entry.st_mtime_ns)


def _first_window(path: Path, window_samples: int) -> NDArray[np.float32] | str:
    """The first window of a recording `[window_samples]`, or why there is none."""
    items = read_windows(
        path,
        window_samples=window_samples,
        hop_samples=window_samples,
        channels="mix",
        vad=False,
        min_window_speech_s=0.0,
    )
    try:
        with closing(items):
            for item in items:
                if isinstance(item, Window) and item.samples is not None:
                    return item.samples
    except InputError as error:
        return error.code
    except Exception:  # as in a scan, what nobody foresaw in one file must not cost the others
        return "internal-error"
    return "zero-length"


def _by_recording(findings: Iterable[Finding]) -> Iterator[list[Finding]]:
    """Findings of one recording together: its channels, numbered from 0, come one after another."""
    exhibits: list[Finding] = []
    for finding in findings:
        if exhibits and not finding.channel:
            yield exhibits
            exhibits = []
        exhibits.append(finding)
    if exhibits:
        yield exhibits
