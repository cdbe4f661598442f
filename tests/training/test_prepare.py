"""From clips to stores: what is kept of a clip, which clips are taken, and that workers change nothing."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spoofcheck.errors import UsageError
from spoofcheck.evaluation.clips import Clip
from spoofcheck.training.corpus import active_frames, choose_clips, is_lossy, read_mono, speech_windows
from spoofcheck.training.data import RunData, read_run_data
from spoofcheck.training.prepare import DONE, Prepared, copy_jobs, copy_row, prepare, wait_until_prepared
from spoofcheck.training.progress import NoSteps
from spoofcheck.training.recipe import Recipe, WindowRule
from spoofcheck.training.store import StoredWindow, WindowStore, write_store
from tests.support.corpus import write_corpus
from tests.support.recipes import detector_recipe, tracer_recipe
from tests.support.windows import HUMAN, SPOOF, human

SPEECH = (0.2 * np.random.default_rng(0).standard_normal(32_000)).astype(np.float32)
EXACT = WindowRule(margin_s=0.0)


def test_a_store_gives_back_what_was_written(tmp_path: Path) -> None:
    rows = [replace(HUMAN, pair=3, samples=3), replace(SPOOF, clip="a\tb.wav", samples=5, lossy=1)]
    waves = [np.array(wave, np.float32) for wave in ([0.5, -1, 0], [0, 0.25, 1, 2, -2])]
    assert write_store(tmp_path / "x", zip(rows, waves, strict=True), 5) == 2
    store = WindowStore(tmp_path / "x", 5)
    assert store.rows == rows
    assert store.wave(0) == pytest.approx([0.5, -1, 0], abs=1e-4)
    assert store.wave(1) == pytest.approx([0, 0.25, 1, 1, -1], abs=1e-4)
    with pytest.raises(UsageError, match="10 samples do not make 2 windows of 4"):
        WindowStore(tmp_path / "x", 4)


def test_windows_are_cut_to_the_speech() -> None:
    wave = np.zeros(16_000 * 12, dtype=np.float32)
    wave[80_000:112_000] = SPEECH
    (only,) = speech_windows(wave, EXACT, 64_000, 3, random.Random(0))
    assert np.array_equal(only, SPEECH)
    for seed in range(5):
        (loose,) = speech_windows(wave, WindowRule(margin_s=0.3), 64_000, 3, random.Random(seed))
        assert 32_000 < loose.size <= 32_000 + 2 * 4_800
        assert np.count_nonzero(loose) == np.count_nonzero(SPEECH)
    (whole,) = speech_windows(wave, WindowRule(to_speech=False), 16_000 * 12, 3, random.Random(0))
    assert np.array_equal(whole, wave)


def test_clips_without_enough_speech_give_no_window() -> None:
    silence = np.zeros(64_000, np.float32)
    assert speech_windows(silence, EXACT, 64_000, 3, random.Random(0)) == []
    short = silence.copy()
    short[:6_400] = SPEECH[:6_400]
    assert speech_windows(short, EXACT, 64_000, 3, random.Random(0)) == []  # 0.4 s; 0.5 s are asked for
    assert len(speech_windows(short, WindowRule(min_speech_s=0.3), 64_000, 3, random.Random(0))) == 1
    assert speech_windows(silence[:100], EXACT, 64_000, 3, random.Random(0)) == []


def test_a_long_clip_gives_windows_that_overlap_only_at_its_end() -> None:
    long = np.linspace(0.2, 0.4, 100_000, dtype=np.float32)
    windows = speech_windows(long, EXACT, 32_000, 9, random.Random(0))
    assert {window.size for window in windows} == {32_000}
    starts = sorted(int(np.searchsorted(long, window[0])) for window in windows)
    assert starts == [0, 32_000, 64_000]  # 4,000 samples are left over: too few to reach back for
    assert len(speech_windows(long[:84_000], EXACT, 32_000, 9, random.Random(0))) == 3  # 20,000 are not
    assert len(speech_windows(long, EXACT, 32_000, 2, random.Random(0))) == 2


def test_one_click_does_not_hide_the_speech() -> None:
    wave = 0.01 * SPEECH
    wave[16_000] = 1.0
    assert active_frames(wave, 35.0).mean() > 0.9


def test_every_repository_is_copied_evenly() -> None:
    rows = [*human(50, "a/a", 64_000), *human(5, "b/b", 64_000), replace(SPOOF, samples=64_000), *human(1, "b/b", 100)]
    jobs = copy_jobs(rows, {"world": 10, "melgan": 20, "none": 0}, seed=1)
    assert len(jobs) == len(set(jobs)) == 30  # no window twice by one vocoder
    assert sum(name == "world" and index >= 50 for index, name in jobs) == 5
    assert all(index < 55 for index, _ in jobs)  # no spoof, nothing shorter than half a second
    assert copy_jobs(rows, {"world": 10, "melgan": 20, "none": 0}, seed=1) == jobs
    assert copy_jobs(rows, {"world": 10}, seed=1) == [job for job in jobs if job[1] == "world"]
    assert copy_jobs(rows, {"world": 10}, seed=2) != copy_jobs(rows, {"world": 10}, seed=1)
    assert len(copy_jobs(rows, {"world": 1_000}, seed=1)) == 55


def test_a_copy_is_a_spoof_that_keeps_its_sources_pair() -> None:
    row = copy_row(replace(HUMAN, pair=7, lossy=1), "world")
    assert row == replace(HUMAN, system="copy:world", spoof=1, pair=7, lossy=1)


def clip(name: str, speaker: str = "-", system: str = "-", repo: str = "r") -> Clip:
    return Clip(name, Path(name), "spoof" if system != "-" else "bonafide", system=system, speaker=speaker, repo=repo)


def test_caps_take_speakers_in_turn() -> None:
    clips = [
        clip(f"{speaker}{i}.wav", speaker) for speaker, count in (("a", 20), ("b", 2), ("c", 4)) for i in range(count)
    ]
    chosen = choose_clips(clips, {"r": 9}, random.Random(0))
    assert Counter(one.speaker for one in chosen) == {"a": 4, "b": 2, "c": 3} or Counter(
        one.speaker for one in chosen
    ) == {"a": 3, "b": 2, "c": 4}
    assert choose_clips(clips[::-1], {"r": 9}, random.Random(0)) == chosen
    folders = [clip(f"{folder}/{i}.wav") for folder in "xy" for i in range(5)]  # no speaker is known: folders stand in
    assert Counter(one.name[0] for one in choose_clips(folders, {"r": 4}, random.Random(0))) == {"x": 2, "y": 2}
    mixed = [clip(f"{i}", system=system, repo=repo) for i in range(5) for system in ("-", "s") for repo in ("r", "q")]
    kept = choose_clips(mixed, {"r": 2}, random.Random(0))
    assert Counter((one.repo, one.system) for one in kept) == {
        ("r", "-"): 2, ("r", "s"): 2, ("q", "-"): 5, ("q", "s"): 5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "codec", "lossy"),
    [
        ("a.wav", "-", 0),
        ("a.mp3", "-", 1),
        ("a.wav", "MP3/128k", 1),
        ("a.flac", "flac", 0),
        ("a.OGG", "-", 1),
        ("a.flac", "g722", 1),
    ],
)
def test_lossy_sources_are_known_by_codec_or_name(name: str, codec: str, lossy: int) -> None:
    assert is_lossy(replace(clip(name), codec=codec)) == lossy


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, {"train": 4, "dev": 2, "eval": 1}, seconds=2.2)
    return folder


def recipe(corpus: Path, **data: Any) -> Recipe:
    content = detector_recipe(corpus)
    content["data"] |= {"copies": {"griffin-lim-linear": 2, "world": 2}, "dev_windows": [2, 1]} | data
    return Recipe.model_validate(content)


@cache
def audited(root: str) -> RunData:
    """The clips, whatever else a recipe says."""
    return read_run_data(recipe(Path(root)))


def fill(content: Recipe, folder: Path, workers: int = 1, drop: int = 0) -> Prepared:
    data = audited(content.data.root)
    return prepare(content, data.train[drop:], data.dev, folder, workers, NoSteps())


@pytest.fixture(scope="module")
def filled(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Prepared]:
    folder = tmp_path_factory.mktemp("prepared")
    return folder, fill(recipe(corpus), folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_workers_do_not_change_what_is_prepared(corpus: Path, filled: tuple[Path, Prepared], tmp_path: Path) -> None:
    fill(recipe(corpus), tmp_path / "two", workers=2)
    assert contents(tmp_path / "two") == contents(filled[0])


def test_what_a_prepared_folder_holds(filled: tuple[Path, Prepared]) -> None:
    folder, held = filled
    assert sorted(path.name for path in folder.iterdir()) == [
        "copies.pcm", "copies.tsv", "dev.pcm", "dev.tsv", "noises.npy", DONE, "train.pcm", "train.tsv",
    ]  # fmt: skip
    rows = held.train.rows
    assert Counter(row.system for row in rows) == {"-": 4, "tts:buzzer": 4, "tts:hisser": 4, "vocoder:ringer": 4}
    assert [row.pair for row in rows] == [-1 if row.is_spoof else number for number, row in enumerate(rows)]
    assert Counter(row.is_spoof for row in held.dev.rows) == {False: 4, True: 6}  # two windows of each human clip
    assert {row.pair for row in held.dev.rows} == {-1}
    assert held.copies is not None
    assert Counter(row.system for row in held.copies.rows) == {"copy:griffin-lim-linear": 2, "copy:world": 2}
    for number, row in enumerate(held.copies.rows):
        assert rows[row.pair].clip == row.clip
        source, copy = held.train.wave(row.pair), held.copies.wave(number)
        assert copy.size == source.size
        assert 0.1 < np.std(copy) / np.std(source) < 10
        assert not np.array_equal(copy, source)
    assert held.noises.shape == (4, 257)
    assert (held.noises >= 0).all()


def test_a_prepared_folder_is_taken_as_it_is_only_for_what_it_was_made_from(
    corpus: Path, filled: tuple[Path, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = filled
    before = contents(folder)
    content = recipe(corpus)

    def never(*_: Any) -> None:
        raise AssertionError("prepared twice")

    monkeypatch.setattr("spoofcheck.training.prepare._fill", never)
    harmless = content.model_copy(update={"augment": content.augment.model_copy(update={"noise": 0.5})})
    for same in (content, harmless):
        fill(same, folder)
        data = audited(same.data.root)
        assert len(wait_until_prepared(same, data.train, data.dev, folder).train.rows) == 16
    changed: list[tuple[Recipe, int]] = [
        (content, 1),  # a clip fewer
        (content.model_copy(update={"seed": 9}), 0),
        (recipe(corpus, window={"min_speech_s": 0.2}), 0),
        (recipe(corpus, copies={"world": 2}), 0),
        (content.model_copy(update={"model": content.model.model_copy(update={"window_samples": 8_000})}), 0),
    ]
    for other, drop in changed:
        with pytest.raises(UsageError, match="prepared from another recipe or other clips"):
            fill(other, folder, drop=drop)
    assert contents(folder) == before


def test_windows_of_train_and_dev_serve_train_alone(corpus: Path, tmp_path: Path) -> None:
    content, data = recipe(corpus), audited(str(corpus))
    both = prepare(content, [*data.train, *data.dev], data.dev, tmp_path, 1, NoSteps())
    alone = prepare(content, data.train, data.dev, tmp_path, 1, NoSteps())
    dev = {clip.name for clip in data.dev}
    assert {row.clip for row in both.train.rows} & dev
    assert list(alone.train.rows) == [row for row in both.train.rows if row.clip not in dev]
    place = next(n for n, row in enumerate(both.train.rows) if row.clip == alone.train.rows[-1].clip)
    assert np.array_equal(alone.train.wave(len(alone.train.rows) - 1), both.train.wave(place))
    assert alone.copies is not None
    assert both.copies is not None
    assert [row.clip for row in alone.copies.rows] == [row.clip for row in both.copies.rows if row.clip not in dev]
    pairs = {row.pair for row in alone.train.rows}
    assert all(row.pair in pairs for row in alone.copies.rows)


def test_a_folder_that_was_left_half_filled_is_filled_anew(
    corpus: Path, filled: tuple[Path, Prepared], tmp_path: Path
) -> None:
    for name, content in contents(filled[0]).items():
        if name != DONE:
            (tmp_path / name).write_bytes(content[: len(content) // 2])
    fill(recipe(corpus), tmp_path)
    assert contents(tmp_path) == contents(filled[0])


def test_without_a_store_clips_are_decoded_when_they_are_drawn(corpus: Path, tmp_path: Path) -> None:
    content = recipe(corpus, store=False, copies={}, clip_caps={"made/here": 2})
    held = fill(content, tmp_path)
    assert not (tmp_path / "train.pcm").exists()
    assert held.copies is None
    assert len(held.train.rows) == 8  # two of each system and of human speech
    row, wave = held.train.rows[0], held.train.wave(0)
    assert wave.size == 35_200
    (source,) = [one for one in audited(content.data.root).train if one.name == row.clip]
    assert np.array_equal(wave, read_mono(source))


def test_data_without_speech_are_refused_with_the_key(corpus: Path, tmp_path: Path) -> None:
    content = recipe(corpus, window={"min_speech_s": 30.0})
    with pytest.raises(UsageError, match=r"training data hold no window with enough speech: see data\.window"):
        fill(content, tmp_path)
    assert not (tmp_path / DONE).exists()


def test_an_unknown_vocoder_is_named(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown vocoders: straight; known: .*world"):
        fill(recipe(corpus, copies={"straight": 2}), tmp_path)
    with pytest.raises(UsageError, match=r"unpack ttskit 0\.3\.8 there"):
        fill(recipe(corpus, copies={"melgan": 2}, engines="engines"), tmp_path)
    assert list(tmp_path.iterdir()) == []  # said before anything was cut


def systems(clips: Sequence[Clip]) -> set[str]:
    return {one.system for one in clips}


def test_a_tracer_reads_synthetic_clips_and_keeps_unseen_ones_for_dev_and_test(corpus: Path) -> None:
    content = tracer_recipe(corpus) | {"classes": {"buzzer": ["tts:buzz*"], "ringer": ["vocoder:*"]}}
    data = read_run_data(Recipe.model_validate(content))
    assert data.classes == {"buzzer": ("tts:buzz*",), "ringer": ("vocoder:*",)}
    assert systems(data.train) == {"tts:buzzer", "vocoder:ringer"}
    assert systems(data.dev) == systems(data.test) == {"tts:buzzer", "tts:hisser", "vocoder:ringer"}


def test_a_split_without_a_readable_clip_is_named(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("gone.wav bonafide\n", encoding="utf-8")
    content = detector_recipe(tmp_path)
    content["data"] |= {part: [{"kind": "labels", "path": "list.txt"}] for part in ("train", "dev")} | {"test": []}
    with pytest.raises(UsageError, match=r"key 'data\.train': no readable clip"):
        read_run_data(Recipe.model_validate(content))


def test_rows_of_a_store_are_plain_values() -> None:
    assert StoredWindow("r", "c", "s", "-", 0, 1, 2, 0).is_spoof is False
    assert SPOOF.is_spoof
