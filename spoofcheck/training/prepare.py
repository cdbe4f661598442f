"""From clips to what training reads: windows cut once into stores, copies of human windows, spectra of backgrounds.

Everything here depends on the recipe and the clips alone, not on the number of workers. A folder is complete when
`prepared.json` is there, which names what it was made from.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spoofcheck.errors import UsageError
from spoofcheck.evaluation.audit import manifest_sha256
from spoofcheck.evaluation.clips import Clip
from spoofcheck.training.augment import noise_spectrum
from spoofcheck.training.copysynth import Vocoder, copy_window, vocoders
from spoofcheck.training.corpus import choose_clips, describe, read_mono, windows_of
from spoofcheck.training.progress import Steps
from spoofcheck.training.recipe import Recipe
from spoofcheck.training.store import StoredWindow, Wave, WaveSource, WindowStore, write_store

DONE = "prepared.json"
_TRAIN, _COPIES, _DEV, _NOISES = "train", "copies", "dev", "noises.npy"
_MOST_NOISES = 1_500
_POLL_S = 2.0


class Prepared:
    """What a prepared folder holds.

    Attributes:
        train: windows that are learnt from.
        copies: copies of its human windows, or None.
        dev: windows the dev metric is computed on.
        noises: magnitude spectra of real backgrounds, float32 `[k, 257]`, k may be 0.

    Args:
        without: clips whose windows, and copies of them, are left out.
    """

    def __init__(self, recipe: Recipe, train_clips: Sequence[Clip], folder: Path, without: Sequence[Clip] = ()) -> None:
        length = recipe.model.window_samples
        self.train: WaveSource = (
            WindowStore(folder / _TRAIN, length) if recipe.data.store else _DecodedClips(recipe, train_clips)
        )
        self.copies: WaveSource | None = WindowStore(folder / _COPIES, length) if recipe.data.copies else None
        if without:
            names = {(clip.repo, clip.name) for clip in without}
            self.train = _Without(self.train, names)
            self.copies = None if self.copies is None else _Without(self.copies, names)
        self.dev = WindowStore(folder / _DEV, length)
        self.noises: NDArray[np.float32] = np.load(folder / _NOISES)


def prepare(
    recipe: Recipe,
    train: Sequence[Clip],
    dev: Sequence[Clip],
    folder: Path,
    workers: int,
    steps: Steps,
    hash_cache: Path | None = None,
) -> Prepared:
    """Fill a folder, or take it as it is when it was made from the same recipe and clips.

    A folder whose windows were cut from `train` and `dev` together (folds and prototypes learn from both) serves
    `train` alone too: the windows of dev clips are left out. Where a cap bites, it holds other clips than a folder made
    from `train`; its backgrounds are of both.

    Args:
        workers: processes; they never change the result.
        steps: told how far it is.
        hash_cache: where the hashes of the clips are kept.

    Raises:
        UsageError: no usable window, an unknown vocoder, or a folder made from something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    identity = _identity(recipe, train, dev, hash_cache)
    found = _made_from(folder)
    if found is not None and found != identity:
        if recipe.data.store and found == _identity(recipe, [*train, *dev], dev, hash_cache):
            return Prepared(recipe, train, folder, without=dev)
        raise UsageError(f"{folder}: prepared from another recipe or other clips; remove it or choose another --out")
    if found is None:
        _fill(recipe, train, dev, folder, workers, steps)
        beside = folder / (DONE + ".tmp")
        beside.write_text(json.dumps({"made_from": identity}) + "\n", encoding="utf-8")
        beside.replace(folder / DONE)
    return Prepared(recipe, train, folder)


def wait_until_prepared(
    recipe: Recipe, train: Sequence[Clip], dev: Sequence[Clip], folder: Path, hash_cache: Path | None = None
) -> Prepared:
    """What another process of the same run prepares, once it has."""
    identity = _identity(recipe, train, dev, hash_cache)
    while _made_from(folder) != identity:
        time.sleep(_POLL_S)
    return Prepared(recipe, train, folder)


def copy_jobs(rows: Sequence[StoredWindow], wanted: dict[str, int], seed: int) -> list[tuple[int, str]]:
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
        source.repo, source.clip, source.speaker, f"copy:{vocoder}", 1, source.pair, source.samples, source.lossy
    )


def _fill(recipe: Recipe, train: Sequence[Clip], dev: Sequence[Clip], folder: Path, workers: int, steps: Steps) -> None:
    data, length = recipe.data, recipe.model.window_samples
    with ProcessPoolExecutor(workers, initializer=_one_thread) as pool:
        if data.copies:  # told before hours of cutting; a pool whose initialiser fails could not say why
            pool.submit(_check_vocoders, tuple(data.copies), _engines_root(recipe)).result()
        if data.store:
            chosen = choose_clips(train, data.clip_caps, random.Random(recipe.seed))
            most = [data.windows_per_clip.get(clip.repo, 1) for clip in chosen]
            cut = steps.over(_cut(recipe, chosen, most, pool, paired=True), "Cutting training windows", len(chosen))
            _require(write_store(folder / _TRAIN, (item for items in cut for item in items), length), "training")
        most = [data.dev_windows[clip.is_spoof] for clip in dev]
        cut = steps.over(_cut(recipe, dev, most, pool, paired=False), "Cutting dev windows", len(dev))
        _require(write_store(folder / _DEV, (item for items in cut for item in items), length), "dev")
        human = [clip for clip in train if not clip.is_spoof]
        human = human[:: max(1, len(human) // _MOST_NOISES)]
        found = steps.over(pool.map(_noise_of, human, chunksize=20), "Listening to backgrounds", len(human))
        spectra = [spectrum for spectrum in found if spectrum is not None]
        np.save(folder / _NOISES, np.stack(spectra) if spectra else np.zeros((0, 257), np.float32))
    if data.copies:
        _write_copies(recipe, folder, workers, steps)


def _write_copies(recipe: Recipe, folder: Path, workers: int, steps: Steps) -> None:
    store = WindowStore(folder / _TRAIN, recipe.model.window_samples)
    jobs = copy_jobs(store.rows, recipe.data.copies, recipe.seed)
    with ProcessPoolExecutor(
        workers, initializer=_start_copying, initargs=(tuple(recipe.data.copies), _engines_root(recipe))
    ) as pool:
        copies = pool.map(
            _copy,
            (store.wave(index) for index, _ in jobs),
            [name for _, name in jobs],
            [(recipe.seed, index) for index, _ in jobs],
            chunksize=8,
        )
        rows = (copy_row(store.rows[index], name) for index, name in jobs)
        made = zip(rows, steps.over(copies, "Making copies of human windows", len(jobs)), strict=True)
        write_store(folder / _COPIES, made, recipe.model.window_samples)


def _cut(
    recipe: Recipe, clips: Sequence[Clip], most: Sequence[int], pool: ProcessPoolExecutor, paired: bool
) -> Iterator[list[tuple[StoredWindow, Wave]]]:
    """The windows of each clip; human ones get the number they will have in the store as their pair."""
    cut = partial(windows_of, rule=recipe.data.window, window_samples=recipe.model.window_samples, seed=recipe.seed)
    count = 0
    for found in pool.map(partial(_cut_clip, cut), clips, most, chunksize=20):
        yield [
            (_paired(row, count + place) if paired and not row.is_spoof else row, wave)
            for place, (row, wave) in enumerate(found)
        ]
        count += len(found)


def _cut_clip(
    cut: Callable[..., list[tuple[StoredWindow, Wave]]], clip: Clip, most: int
) -> list[tuple[StoredWindow, Wave]]:
    return cut(clip, most=most)


def _paired(row: StoredWindow, pair: int) -> StoredWindow:
    return StoredWindow(row.repo, row.clip, row.speaker, row.system, row.spoof, pair, row.samples, row.lossy)


def _require(windows: int, part: str) -> None:
    if windows == 0:
        raise UsageError(f"the {part} data hold no window with enough speech: see data.window in the recipe")


def _noise_of(clip: Clip) -> NDArray[np.float32] | None:
    return noise_spectrum(read_mono(clip))


_engines: dict[str, Vocoder] = {}


def _one_thread() -> None:
    torch.set_num_threads(1)


def _engines_root(recipe: Recipe) -> Path:
    return Path(recipe.data.root) / (recipe.data.engines or ".")


def _check_vocoders(names: tuple[str, ...], engines: Path) -> None:
    vocoders(names, engines)


def _start_copying(names: tuple[str, ...], engines: Path) -> None:
    _one_thread()
    _engines.update(vocoders(names, engines))


def _copy(wave: Wave, name: str, seed: tuple[int, int]) -> Wave:
    rng = np.random.default_rng([*seed, *name.encode()])
    return copy_window(wave, _engines[name], rng)


class _Without:
    """A store less the windows of some clips, each `(repository, name)`."""

    def __init__(self, source: WaveSource, clips: Set[tuple[str, str]]) -> None:
        self._source = source
        self._kept = [index for index, row in enumerate(source.rows) if (row.repo, row.clip) not in clips]
        self.rows = [source.rows[index] for index in self._kept]

    def wave(self, index: int) -> Wave:
        """As `WindowStore.wave`."""
        return self._source.wave(self._kept[index])


class _DecodedClips:
    """Clips decoded each time they are drawn: no store, for corpora that would not fit on the disk twice."""

    def __init__(self, recipe: Recipe, clips: Sequence[Clip]) -> None:
        self._clips = choose_clips(clips, recipe.data.clip_caps, random.Random(recipe.seed))
        self.rows = [describe(clip, recipe.model.window_samples) for clip in self._clips]

    def wave(self, index: int) -> Wave:
        """The whole clip; a random stretch of it is cut where it is used."""
        return read_mono(self._clips[index])


def _identity(recipe: Recipe, train: Sequence[Clip], dev: Sequence[Clip], hash_cache: Path | None) -> str:
    parts = [
        recipe.data.model_dump_json(exclude={"root", "train", "dev", "test"}),
        str(recipe.model.window_samples),
        str(recipe.seed),
        manifest_sha256(train, hash_cache),
        manifest_sha256(dev, hash_cache),
    ]
    return "\n".join(parts)


def _made_from(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / DONE).read_text(encoding="utf-8"))["made_from"])
    except (OSError, ValueError, KeyError):
        return None
