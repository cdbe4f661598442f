"""Copy-synthesis of a corpus: which clips through which vocoders, in several processes, resumable."""

from __future__ import annotations

import hashlib
import multiprocessing
import re
import signal
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from spoofcheck.errors import InputError, UsageError
from spoofcheck.evaluation.clips import UNKNOWN, Clip
from spoofcheck.training.copysynth import Vocoder, copy_window, vocoders
from spoofcheck.training.facts import read_16k
from spoofcheck.training.made import Failed, Made, described, is_made, is_silent, write_flac
from spoofcheck.types import SAMPLE_RATE_HZ

SOURCE = "source"
"""The name of the "vocoder" that changes nothing: the human clip decoded, mixed and resampled like its copies."""

SYSTEM_PREFIX = "copy:"
_COPY_OF = "copy of "


@dataclass(frozen=True, slots=True)
class CopyJob:
    """One human clip to be resynthesised (or, as `SOURCE`, only converted).

    Attributes:
        clip: the human clip.
        place: the FLAC file to write, `name` its path below the output folder.
        seed: of the vocoder's draws.
        most_s: so much of the clip is copied.
    """

    clip: Clip
    vocoder: str
    name: str
    place: Path
    seed: int
    most_s: float

    @property
    def tag(self) -> str:
        """Tells whether a file that lies there is the one this job would write."""
        origin = hashlib.sha256(f"{self.clip.repo}/{self.clip.name}/{self.clip.sha1}".encode()).hexdigest()[:16]
        return f"spoofcheck {self.vocoder} of {origin}, seed {self.seed}, {self.most_s:g} s"


def plan_copies(
    clips: Sequence[Clip],
    names: Sequence[str],
    out: Path,
    *,
    seed: int,
    per_clip: int | None = None,
    most: int | None = None,
    most_s: float = 30.0,
    with_sources: bool = False,
) -> list[CopyJob]:
    """The copies to make, in the order of the clips; every draw depends on the clip's name and the seed alone.

    Args:
        clips: spoofed ones among them are left out.
        names: of vocoders, for `copysynth.vocoders`.
        out: output folder.
        seed: of the choice of clips and vocoders and of the vocoders' own draws.
        per_clip: so many of the vocoders for each clip; all by default.
        most: so many clips; all by default.
        most_s: so much of each clip.
        with_sources: also convert the human clip the same way, so that codec and rate tell nothing.

    Raises:
        UsageError: there is no bona fide clip.
    """
    human = [clip for clip in clips if not clip.is_spoof]
    if not human:
        raise UsageError("no bona fide clip to copy")
    if most is not None and most < len(human):
        chosen = set(sorted(range(len(human)), key=lambda index: _draw(seed, human[index]))[:most])
        human = [clip for index, clip in enumerate(human) if index in chosen]
    jobs = []
    for clip in human:
        drawn = sorted(names, key=lambda name: _draw(seed, clip, name))[:per_clip]
        for vocoder in [SOURCE] * with_sources + [name for name in names if name in drawn]:
            name = f"{vocoder}/{_slug(clip)}.flac"
            jobs.append(CopyJob(clip, vocoder, name, out / name, _draw(seed, clip, vocoder) >> 192, most_s))
    return jobs


def make_copies(jobs: Sequence[CopyJob], engines_root: Path, workers: int = 1) -> Generator[Made | Failed]:
    """Run the jobs; outcomes come in their order, whatever the number of processes.

    A file that lies there with the job's tag is kept. Closing the iterator (or Ctrl-C) cancels what has not begun.

    Raises:
        UsageError: an unknown vocoder, or one whose program or package is not there.
    """
    names = sorted({job.vocoder for job in jobs} - {SOURCE})
    _start(names, engines_root)  # complain before anything is started
    if workers <= 1:
        yield from map(_run, jobs)
        return
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),  # a fork of a process with torch's threads may hang
        initializer=_start_worker,
        initargs=(names, engines_root),
    )
    try:
        yield from pool.map(_run, jobs)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def origin_of(clip: Clip) -> str:
    """The clip a copy was made from, else the clip itself: what shares its words, level and length."""
    return clip.note.removeprefix(_COPY_OF) if clip.note.startswith(_COPY_OF) else f"{clip.repo}/{clip.name}"


def row_of(job: CopyJob) -> Clip:
    """The clip a job makes, before it is measured: speaker, language, split and licence are its source's."""
    is_copy = job.vocoder != SOURCE
    return replace(
        job.clip,
        name=job.name,
        path=job.place,
        label="spoof" if is_copy else "bonafide",
        system=f"{SYSTEM_PREFIX}{job.vocoder}" if is_copy else UNKNOWN,
        note=_COPY_OF + f"{job.clip.repo}/{job.clip.name}",
    )


_vocoders: dict[str, Vocoder] = {}
"""Of this process; a pool's workers cannot be handed functions with weights in them."""


def _start(names: Sequence[str], engines_root: Path) -> None:
    torch.set_num_threads(1)
    _vocoders.update(vocoders(names, engines_root))


def _start_worker(names: Sequence[str], engines_root: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which lets us finish the clip at hand
    _start(names, engines_root)


def _run(job: CopyJob) -> Made | Failed:
    clip = row_of(job)
    try:
        if is_made(job.place, job.tag):
            return Made(described(clip), kept=True)
        wave = read_16k(job.clip.path, job.most_s)
        if is_silent(wave) or wave.size < SAMPLE_RATE_HZ // 10:
            return Failed(job.name, f"{job.clip.name}: silent or shorter than 0.1 s")
        peak = float(np.abs(wave).max())
        wave = wave / np.float32(peak) if peak > 1 else wave
        if job.vocoder != SOURCE:
            wave = copy_window(wave, _vocoders[job.vocoder], np.random.default_rng(job.seed))
        if not np.isfinite(wave).all() or is_silent(wave):
            return Failed(job.name, f"{job.vocoder} made nothing of {job.clip.name}")
        write_flac(job.place, wave, SAMPLE_RATE_HZ, job.tag)
        return Made(described(clip), kept=False)
    except InputError as error:
        return Failed(job.name, f"{job.clip.name}: {error.message}")
    except OSError as error:
        return Failed(job.name, error.strerror or str(error))


def _draw(seed: int, clip: Clip, salt: str = "") -> int:
    """A 256-bit number of a clip's name."""
    return int.from_bytes(
        hashlib.sha256(f"{seed}/{clip.repo}/{clip.name}/{salt}".encode("utf-8", "surrogateescape")).digest()
    )


def _slug(clip: Clip) -> str:
    """A harmless file name that no other clip has."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", Path(clip.name).stem).strip("-")[:40]
    return f"{readable}-{hashlib.sha256(f'{clip.repo}/{clip.name}'.encode()).hexdigest()[:12]}"
