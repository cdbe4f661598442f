"""Scores of a protocol's clips by a detector: deterministic, resumable, shared out over processes.

`all` is what `scan` does (speech gate, every window, mean raw score, exhibit calibration), so that what is measured is
what users get. `first` is the published protocols' way: the first window of each clip from its first sample,
repeated when short, no speech gate, window calibration.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.detect.scorer import DeviceName
from spoofcheck.detect.validity import exhibit_distance, exhibit_llr, window_llr
from spoofcheck.evaluation.clips import Clip
from spoofcheck.evaluation.firstwindows import first_windows
from spoofcheck.evaluation.scorefiles import ScoredTrial, keys_of, scored, trial_names
from spoofcheck.evaluation.shards import Team
from spoofcheck.evaluation.workfolder import Job, Watch, rows_of
from spoofcheck.nets.bundle import Bundle
from spoofcheck.nets.index import find_model
from spoofcheck.schema import Finding

WindowMode = Literal["first", "all"]

_FORM = 2
"""Of a row in a work folder; raised whenever the way a score comes about changes."""


_Scores = tuple[float, float | None]
"""Raw score and LLR."""


@dataclass(frozen=True, slots=True)
class ClipScore:
    """What a detector says of one clip.

    Attributes:
        name: of the trial.
        raw_score: spoof logit minus bona fide logit, of the window or as mean over the windows; None when unscored.
        spoof_llr: calibrated natural-log LLR, positive supports synthetic; None likewise, and by an uncalibrated model.
        problem: why there is no score, e.g. `"no-speech"` or `"not-found"`; None when there is one.
    """

    name: str
    raw_score: float | None
    spoof_llr: float | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ScoredClips:
    """All clips of a protocol after scoring, in its order: trials (higher means bona fide), and why others are not.

    Scores are LLRs, or raw scores where the model is uncalibrated.
    """

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
        options = ScanOptions(device=device, batch_windows=batch_windows, workers=workers, trace=False)
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

    def job(self) -> Job[ClipScore]:
        """The scoring as `rows_of` runs it."""
        name = "".join(char if char.isalnum() else "-" for char in self.bundle.config.name)
        folder = f"{name}-{self.windows}-{self.identity[:12]}"
        return Job(folder, self.score, lambda fields: ClipScore(**fields))

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

    def recordings(self, paths: Sequence[Path]) -> Iterator[list[Finding]]:
        """What a scan says of recordings, lazily and in order: one exhibit each, or one per channel judged apart."""
        return _by_recording(self._scanner.findings(paths))

    def _as_scan_does(self, paths: Sequence[Path]) -> Generator[_Scores | str]:
        for exhibits in self.recordings(paths):
            yield self._pooled(exhibits)

    def _pooled(self, exhibits: Sequence[Finding]) -> _Scores | str:
        """The exhibit's score; channels that `scan` judges apart are one trial here, whose windows are pooled."""
        if len(exhibits) == 1 and exhibits[0].raw_score is not None:
            return exhibits[0].raw_score, exhibits[0].spoof_llr
        scores = [w.raw_score for exhibit in exhibits for w in exhibit.windows if w.raw_score is not None]
        if not scores:
            return exhibits[0].reasons[0].code
        raw_score = sum(scores) / len(scores)
        distance = exhibit_distance(w.validity_distance for exhibit in exhibits for w in exhibit.windows)
        return raw_score, exhibit_llr(raw_score, distance, self.bundle.config)

    def _first_windows(self, paths: Sequence[Path]) -> Generator[_Scores | str]:
        config = self.bundle.config
        scorer = self._scanner.scorer
        at_once = max(scorer.batch_windows, self._workers)
        with closing(first_windows(paths, config.window_samples, self._workers, at_once)) as lists:
            for heard in lists:
                scored_windows = iter(scorer.score([samples for samples in heard if not isinstance(samples, str)]))
                for samples in heard:
                    if isinstance(samples, str):
                        yield samples
                        continue
                    window = next(scored_windows)
                    if not math.isfinite(window.raw_score) or not math.isfinite(window.validity_distance or 0.0):
                        yield "score-not-finite"
                        continue
                    yield window.raw_score, window_llr(window.raw_score, window.validity_distance, config)


def score_clips(
    scorer: ClipScorer,
    clips: Sequence[Clip],
    *,
    team: Team,
    work: Path | None = None,
    watch: Watch[ClipScore] | None = None,
) -> ScoredClips:
    """Score all clips, this process those that fall to it, and put the shares of all processes together.

    Rank r of w takes every w-th clip from r on. With a work folder, every score is kept there the moment it is known,
    and clips whose score is there already (same model, windows and precision; same name, size and time of change) are
    not scored again, so that a killed run goes on where it was, with any number of processes. Broken or not, shared out
    or not, the scores are the same: bit for bit at one window a pass and as many threads, else but for rounding (some
    1e-6 of a raw score).

    Args:
        scorer: the detector.
        clips: of a protocol.
        team: the processes of this run.
        work: a folder that all processes see, or None to keep nothing.
        watch: sees the scores of this process's share as they come.

    Raises:
        UsageError: two clips of one name, or a work folder that not all processes see.
        OutputError: the work folder cannot be written.
    """
    names = trial_names(clips)
    rows = rows_of(scorer.job(), names, clips, team=team, work=work, watch=watch)
    trials = []
    unscored = []
    for name, key in keys_of(clips).items():
        row = rows[name]
        score = row.raw_score if row.spoof_llr is None else row.spoof_llr
        if score is None:
            unscored.append(row)
        else:
            trials.append(scored(key, -score))
    return ScoredClips(tuple(trials), tuple(unscored))


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
