"""What users would run instead of spoofcheck, each as a process of its own: `python -m bench.opponents KIND ...`.

`aasist CHECKOUT FOLDER`: the public repository's model, weights, data set class and batch size, run over pieces of the
length it hears, on all cores, as its evaluation does. `features FOLDER`: 34 librosa statistics of every four seconds
and scikit-learn's boosted trees, one file after the other, as such scripts do.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

WINDOW_SAMPLES = 64_000
FITTED_WINDOWS = 40
"""The trees' answers are not looked at, only their speed is."""
ITERATIONS = 300


def aasist(checkout: Path, folder: Path) -> int:
    """Score the pieces in `folder/flac` with the repository's own code; how many there are."""
    sys.path.insert(0, str(checkout))
    settings = json.loads((checkout / "config" / "AASIST.conf").read_text(encoding="utf-8"))
    model = import_module("models.AASIST").Model(settings["model_config"])
    weights = torch.load(checkout / "models" / "weights" / "AASIST.pth", map_location="cpu", weights_only=True)
    model.load_state_dict(weights)
    model.eval()
    keys = sorted(path.stem for path in (folder / "flac").iterdir())
    pieces = import_module("data_utils").Dataset_ASVspoof2019_devNeval(list_IDs=keys, base_dir=folder)
    scores: list[float] = []
    with torch.no_grad():
        for waveforms, _ in DataLoader(pieces, batch_size=settings["batch_size"]):
            _, logits = model(waveforms)
            scores += logits[:, 1].tolist()
    return len(scores)


def features(folder: Path) -> int:
    """Judge every four seconds of the files in a folder; how many there are."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    from spoofcheck.nets.statistics import voice_statistics

    paths = sorted(folder.iterdir())
    rows = np.stack([voice_statistics(window) for window in _windows(paths[0])])
    rng = np.random.default_rng(0)
    fitted = rows[rng.integers(0, len(rows), FITTED_WINDOWS)] * rng.normal(1, 0.1, (FITTED_WINDOWS, rows.shape[1]))
    trees = HistGradientBoostingClassifier(max_iter=ITERATIONS, early_stopping=False, random_state=0)
    trees.fit(fitted, np.arange(FITTED_WINDOWS) % 2)
    scores = 0
    for path in paths:
        scores += len(trees.predict_proba(np.stack([voice_statistics(window) for window in _windows(path)])))
    return scores


def _windows(path: Path) -> list[NDArray[np.float32]]:
    samples, _ = soundfile.read(path, dtype="float32")
    return [samples[start : start + WINDOW_SAMPLES] for start in range(0, len(samples), WINDOW_SAMPLES)]


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    kinds = options.add_subparsers(dest="kind", required=True)
    of_aasist = kinds.add_parser("aasist")
    of_aasist.add_argument("checkout", type=Path)
    of_aasist.add_argument("folder", type=Path)
    kinds.add_parser("features").add_argument("folder", type=Path)
    chosen = options.parse_args()
    if chosen.kind == "aasist":
        print(aasist(chosen.checkout, chosen.folder))
    else:
        print(features(chosen.folder))


if __name__ == "__main__":
    main()
