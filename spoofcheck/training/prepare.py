"""Build the training data: windows of every clip, copies of the human ones, spectra of real backgrounds.

`python -m spoofcheck.training.prepare --recipe R --manifest M --audio-root A --engines E --out O`
"""

from __future__ import annotations

import argparse
import logging
import random
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spoofcheck.errors import UsageError
from spoofcheck.training.augment import noise_spectrum
from spoofcheck.training.copysynth import Vocoder, copy_window, vocoders
from spoofcheck.training.corpus import WindowRule, choose_clips, read_mono, windows_of
from spoofcheck.training.manifest import Clip, read_manifest
from spoofcheck.training.recipe import Recipe, read_recipe
from spoofcheck.training.store import StoredWindow, Wave, WindowStore, write_store

logger = logging.getLogger(__name__)

NATURAL = "natural"
COPIES = "copies"
NOISES = "noises.npy"


def prepare(recipe: Recipe, clips: list[Clip], engines: Path, out: Path, workers: int) -> None:
    """Write `natural.*`, `copies.*` and `noises.npy` into `out`; the result depends on recipe and clips alone."""
    out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers) as pool:
        natural = _cut(recipe, clips, pool)
        write_store(out / NATURAL, [row for row, _ in natural], [wave for _, wave in natural], _length(recipe))
        human = [clip for clip in clips if not clip.is_spoof][::7]
        spectra = [found for found in pool.map(_noise_of, human, chunksize=50) if found is not None]
        np.save(out / NOISES, np.stack(spectra))
        logger.info("%d windows, %d background spectra", len(natural), len(spectra))
    jobs = copy_jobs([row for row, _ in natural], recipe.corpus.copies, recipe.seed)
    store = WindowStore(out / NATURAL, _length(recipe))
    with ProcessPoolExecutor(
        workers, initializer=_start_copying, initargs=(tuple(recipe.corpus.copies), engines)
    ) as pool:
        waves = [store.wave(index) for index, _ in jobs]
        names = [name for _, name in jobs]
        seeds = [(recipe.seed, index) for index, _ in jobs]
        copies: list[Wave] = []
        for copy in pool.map(_copy, waves, names, seeds, chunksize=8):
            copies.append(copy)
            if len(copies) % 500 == 0:
                logger.info("%d of %d copies", len(copies), len(jobs))
    rows = [copy_row(store.rows[index], name) for index, name in jobs]
    write_store(out / COPIES, rows, copies, _length(recipe))


def copy_jobs(rows: list[StoredWindow], wanted: dict[str, int], seed: int) -> list[tuple[int, str]]:
    """Which human window is copied by which vocoder: `(row, vocoder)`, windows drawn evenly over repositories.

    A window may be copied by several vocoders, never twice by one.
    """
    by_repo: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        if not row.is_spoof and row.samples >= 8_000:
            by_repo.setdefault(row.repo, []).append(index)
    jobs = []
    for name, count in sorted(wanted.items()):
        rng = random.Random(f"{seed}/{name}")
        queues = [rng.sample(members, len(members)) for _, members in sorted(by_repo.items())]
        chosen: list[int] = []
        while queues and len(chosen) < count:
            chosen += [queue.pop() for queue in queues]
            queues = [queue for queue in queues if queue]
        jobs += [(index, name) for index in chosen[:count]]
    return sorted(jobs)


def copy_row(source: StoredWindow, vocoder: str) -> StoredWindow:
    """The description of a copy."""
    return StoredWindow(
        source.repo, source.clip, source.speaker, f"copy:{vocoder}", source.pair, source.samples, source.lossy
    )


def _cut(recipe: Recipe, clips: list[Clip], pool: ProcessPoolExecutor) -> list[tuple[StoredWindow, Wave]]:
    rule = recipe.corpus
    chosen = choose_clips(clips, rule.clip_caps, random.Random(recipe.seed))
    most = [rule.windows_per_clip.get(clip.repo, 1) for clip in chosen]
    cut = partial(_windows_of, rule=rule.window, seed=recipe.seed)
    natural: list[tuple[StoredWindow, Wave]] = []
    for found in pool.map(cut, chosen, most, chunksize=50):
        for row, wave in found:
            pair = -1 if row.is_spoof else len(natural)
            natural.append(
                (StoredWindow(row.repo, row.clip, row.speaker, row.system, pair, row.samples, row.lossy), wave)
            )
    return natural


def _windows_of(clip: Clip, most: int, rule: WindowRule, seed: int) -> list[tuple[StoredWindow, Wave]]:
    try:
        return windows_of(clip, rule, most, seed)
    except UsageError as error:
        logger.warning("left out: %s", error)
        return []


def _noise_of(clip: Clip) -> NDArray[np.float32] | None:
    return noise_spectrum(read_mono(clip))


_engines: dict[str, Vocoder] = {}


def _start_copying(names: tuple[str, ...], engines: Path) -> None:
    torch.set_num_threads(1)
    _engines.update(vocoders(names, engines))


def _copy(wave: Wave, name: str, seed: tuple[int, int]) -> Wave:
    rng = np.random.default_rng([*seed, *name.encode()])
    return copy_window(wave, _engines[name], rng)


def _length(recipe: Recipe) -> int:
    return recipe.corpus.window.window_samples


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--recipe", "--manifest", "--audio-root", "--engines", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    clips = read_manifest(options.manifest, options.audio_root, ["train"])
    prepare(read_recipe(options.recipe), clips, options.engines, options.out, options.workers)


if __name__ == "__main__":
    main()
