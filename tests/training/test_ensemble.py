"""A recipe that fuses detectors: what its models say is what a scan says, and its numbers are what others compute."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from sklearn.linear_model import LogisticRegression

from spoofcheck.cli import run
from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.errors import ModelError, UsageError
from spoofcheck.evaluation.clips import Clip
from spoofcheck.nets.bundle import load_bundle, save_bundle
from spoofcheck.nets.config import EnsembleConfig, MelCnnConfig, MelSpectrogramConfig, StatisticsReadoutConfig
from spoofcheck.nets.detector import build_detector
from spoofcheck.schema import Verdict
from spoofcheck.training.ensemble import run_ensemble
from spoofcheck.training.ensemblerecipe import read_ensemble_recipe
from spoofcheck.training.exhibits import Exhibit
from spoofcheck.training.fusion import fit_fusion, fit_logistic_fusion, fuse_exhibits
from spoofcheck.training.progress import NoSteps
from spoofcheck.training.record import read_record
from spoofcheck.training.run import RunOptions
from spoofcheck.training.trainer import Machine
from tests.support.corpus import write_corpus
from tests.support.models import tiny_config
from tests.support.recipes import detector_recipe

CPU = RunOptions(Machine("cpu"), workers=1)
NAMES = ("ear", "eye", "nose")
WEIGHTS = (0.5, 0.25, 0.25)
STAND_IN = {"model": "a", "weight": 0.5, "refit_batches": 1, "scores": "x"}


def recipe_file(folder: Path, **changes: Any) -> Path:
    """A recipe of two fusions, beside that of its base."""
    base = detector_recipe(folder)
    base["model"]["back_end"] = {"kind": "statistics-readout", "channels": 64}
    base["training"] = {
        "kind": "folds", "batches": 4, "inverse_penalty": 1.0, "families": {"buzz": ["tts:buzzer"]},
        "folds": [{"name": "a", "repos": ["made/here"]}, {"name": "b", "repos": ["made/there"]}],
    }  # fmt: skip
    (folder / "base.yaml").write_text(yaml.safe_dump(base), encoding="utf-8")
    content: dict[str, Any] = {
        "task": "ensemble", "version": "1", "base": "base.yaml", "root": str(folder), "licence": "none",
        "training_data": "sounds of the tests", "threshold": 0.55, "finish": base["finish"],
        "members": [
            {"model": str(folder / name), "weight": weight} for name, weight in zip(NAMES, WEIGHTS, strict=True)
        ],
        "models": {
            "mean": {"fusion": "weighted-probability", "purpose": "A test."},
            "sum": {"fusion": "logistic", "purpose": "A test."},
        },
    }  # fmt: skip
    content["members"][0]["refit_batches"] = 4
    (folder / "ensemble.yaml").write_text(yaml.safe_dump(content | changes), encoding="utf-8")
    return folder / "ensemble.yaml"


def make(folder: Path, out: Path, **changes: Any) -> tuple[Path, ...]:
    return run_ensemble(*read_ensemble_recipe(recipe_file(folder, **changes)), out, CPU, NoSteps())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, and three detectors that know nothing: the first answers 0 until it is refitted."""
    folder = tmp_path_factory.mktemp("ensemble")
    write_corpus(folder, {"train": 12, "dev": 8, "eval": 6}, ("tts:buzzer", "vocoder:ringer"))
    front_end = MelSpectrogramConfig(bands=64, fft_samples=512, hop_samples=160)
    for seed, name in enumerate(NAMES):
        back_end = StatisticsReadoutConfig(channels=64) if seed == 0 else MelCnnConfig(channels=64, widths=(4, 8))
        tiny = tiny_config(name)
        decision = tiny.decision.model_copy(update={"min_window_speech_s": 0.0})
        config = tiny.model_copy(
            update={"front_end": front_end, "back_end": back_end, "window_samples": 16_000, "decision": decision}
        )
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            save_bundle(folder / name, config, build_detector(front_end, back_end), "")
    return folder


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    models = make(folder, tmp_path_factory.mktemp("out") / "run")
    for name in NAMES:
        shutil.copytree(folder / name, models[0].parent / name)
    return models


def kept(made: tuple[Path, ...], name: str) -> dict[tuple[str, str], list[float]]:
    """Raw scores of the windows of every exhibit, as the run kept them."""
    lines = (made[0].parent / "scores" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[1:]
    rows = [json.loads(line) for line in lines]
    return {(row["split"], row["clip"]): [raw for _, _, raw in row["windows"]] for row in rows}


def test_a_scan_says_of_test_what_the_run_fused(made: tuple[Path, ...], folder: Path) -> None:
    heard = [kept(made, name) for name in NAMES]
    files = sorted((folder / "eval").glob("*.wav"))[:4]
    scanner = Scanner(made[0], ScanOptions(device="cpu", trace=False))
    for file, finding in zip(files, scanner.findings(files), strict=True):
        raws = np.array([one["test", f"eval/{file.name}"] for one in heard])
        probability = np.array(WEIGHTS) @ (1 / (1 + np.exp(-raws)))
        assert finding.raw_score == pytest.approx(np.log(probability / (1 - probability)).mean(), rel=1e-5, abs=1e-7)


def test_on_dev_a_stand_in_answers_that_never_met_it(made: tuple[Path, ...]) -> None:
    ear = kept(made, "ear")
    assert {raw for (split, _), raws in ear.items() if split == "test" for raw in raws} == {0.0}
    dev = [np.mean(raws) for (split, _), raws in ear.items() if split == "dev"]
    human = [np.mean(raws) for (split, clip), raws in ear.items() if split == "dev" and clip.startswith("dev/--")]
    assert len(dev) == 24
    assert len(human) == 8
    assert np.mean(human) < np.mean(dev)


def test_the_threshold_is_the_llr_of_that_probability(made: tuple[Path, ...]) -> None:
    config = load_bundle(made[0]).config
    assert config.calibration is not None
    line = config.calibration.exhibit
    expected = max(0.0, line.slope * math.log(0.55 / 0.45) + line.intercept)
    assert config.decision.spoof_threshold_llr == pytest.approx(min(expected, config.calibration.llr_bound))
    assert config.decision.bonafide_threshold_llr <= 0 <= config.decision.spoof_threshold_llr


def test_the_fused_weights_were_fitted_on_dev(made: tuple[Path, ...]) -> None:
    heard = [kept(made, name) for name in NAMES]
    names = [key for key in heard[0] if key[0] == "dev"]
    scores = np.array([[np.mean(one[key]) for one in heard] for key in names])
    spoof = np.array([not clip.startswith("dev/--") for _, clip in names])
    weights, bias = fit_logistic_fusion(scores, spoof, np.where(spoof, 12 / spoof.sum(), 12 / (~spoof).sum()))
    config = load_bundle(made[1]).config.back_end
    assert isinstance(config, EnsembleConfig)
    assert [member.weight for member in config.members] == pytest.approx(weights.tolist(), rel=0.02)
    assert config.bias == pytest.approx(bias, rel=0.02)


def test_record_and_card_tell_what_it_is(made: tuple[Path, ...]) -> None:
    for directory in made:
        record = read_record(directory)
        assert record is not None
        assert record.figures["test"]["exhibit"]["bonafide_trials"] == 6
        card = (directory / "README.md").read_text(encoding="utf-8")
        assert "| ear |" in card
        assert "a stand-in that never met dev" in card
        assert sorted(path.name for path in directory.iterdir()) == [
            "README.md", "calibration.svg", "config.json", "model.safetensors", "training.json",
        ]  # fmt: skip


def test_an_ensemble_that_dev_cannot_calibrate_is_written_without(
    made: tuple[Path, ...], folder: Path, tmp_path: Path
) -> None:
    members = yaml.safe_load(recipe_file(folder).read_text(encoding="utf-8"))["members"]
    del members[0]["refit_batches"]
    for name, member in zip(NAMES, members, strict=True):
        header, *rows = (made[0].parent / "scores" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        backwards = []
        for row in map(json.loads, rows):
            human = row["clip"].startswith(("dev/--", "eval/--"))
            backwards.append(json.dumps(row | {"windows": [[a, b, raw + 99 * human] for a, b, raw in row["windows"]]}))
        (tmp_path / f"{name}.jsonl").write_text("\n".join([header, *backwards]), encoding="utf-8")
        member["scores"] = str(tmp_path / f"{name}.jsonl")
    finish = yaml.safe_load(recipe_file(folder).read_text(encoding="utf-8"))["finish"]
    changes = {"members": members, "models": {"mean": {"fusion": "weighted-probability", "purpose": "A test."}}}
    with pytest.raises(ModelError, match="higher scores do not mean spoof"):
        make(folder, tmp_path / "refused", **changes)
    (model,) = make(folder, tmp_path / "run", **changes, finish=finish | {"uncalibrated": "allowed"})
    for name in NAMES:
        shutil.copytree(folder / name, model.parent / name)
    config = load_bundle(model).config
    assert (config.calibration, config.validation) == (None, ())
    assert config.limitations[-1].startswith("Not calibrated: on dev its higher scores did not mean synthetic speech")
    card = (model / "README.md").read_text(encoding="utf-8")
    assert "An EER of 100.0 % on dev is above 50 %" in card
    assert "likelihood ratio, bounded" not in card
    (finding,) = Scanner(model, ScanOptions(device="cpu", trace=False)).findings(
        [next((folder / "eval").glob("*.wav"))]
    )
    assert (finding.verdict, finding.spoof_llr) == (Verdict.UNCALIBRATED, None)
    assert finding.raw_score is not None


def test_a_run_goes_on_from_what_was_heard(
    made: tuple[Path, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [(directory / "config.json").read_bytes() for directory in made]

    def never(*_: Any) -> None:
        raise AssertionError("heard twice")

    monkeypatch.setattr("spoofcheck.training.ensemble.score_exhibits", never)
    assert make(folder, made[0].parent) == made
    assert not (made[0].parent / "stand-in").exists()
    assert [(directory / "config.json").read_bytes() for directory in made] == before
    with pytest.raises(UsageError, match="holds a run of another recipe"):
        make(folder, made[0].parent, threshold=0.6)


def test_scores_of_other_weights_are_refused(made: tuple[Path, ...], folder: Path, tmp_path: Path) -> None:
    scores = made[0].parent / "scores" / "eye.jsonl"
    members = yaml.safe_load(recipe_file(folder).read_text(encoding="utf-8"))["members"]
    members[2]["scores"] = str(scores)
    members[1]["scores"] = str(scores)
    shutil.copytree(made[0].parent / "scores", tmp_path / "out" / "scores")
    (tmp_path / "out" / "recipe.yaml").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="holds a run of another recipe"):
        make(folder, tmp_path / "out", members=members)
    del members[0]["refit_batches"]
    members[0]["scores"] = str(made[0].parent / "scores" / "ear.jsonl")
    with pytest.raises(UsageError, match=r"eye\.jsonl: holds the scores of other weights"):
        make(folder, tmp_path / "other", members=members)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": 1.5}, "key 'threshold'"),
        ({"models": {}}, "key 'models'"),
        ({"members": [{"model": "a", "weight": 0.5}, {"model": "b", "weight": 0.4}]}, "must sum to 1, not 0.9"),
        ({"members": [STAND_IN, {"model": "b", "weight": 0.5}]}, "with refit_batches a stand-in is heard"),
    ],
)  # fmt: skip
def test_a_faulty_recipe_is_one_line(folder: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        read_ensemble_recipe(recipe_file(folder, **changes))
    assert "\n" not in str(refused.value)


def test_the_shipped_recipe_reads() -> None:
    recipe, base = read_ensemble_recipe(Path(__file__).parents[2] / "train/ensemble", ["root=/elsewhere"])
    assert [member.weight for member in recipe.members] == [0.5, 0.25, 0.25]
    assert recipe.threshold == 0.55
    assert base.data.root == "/elsewhere"


def test_the_command_takes_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", str(recipe_file(folder)), "--dry-run"]) == 0
    assert "what would be trained on" in capsys.readouterr().err


def exhibit(number: int, system: str, raw: float, condition: str = "original") -> Exhibit:
    label = "bonafide" if system == "-" else "spoof"
    clip = Clip(f"{number}", Path("x.wav"), label, system=system, repo="r")  # type: ignore[arg-type]
    return Exhibit("dev", condition, clip, 4.0, raw, ((0.0, 4.0, raw - 1), (4.0, 8.0, raw + 1)))


def panel(seed: int = 0, many: int = 40, few: int = 8) -> list[list[Exhibit]]:
    rng = np.random.default_rng(seed)
    systems = ["-"] * 40 + ["tts:many"] * many + ["tts:few"] * few
    return [
        [
            exhibit(n, system, float(rng.normal() + sharp * (system == "tts:many") + blunt * (system == "tts:few")))
            for n, system in enumerate(systems)
        ]
        for sharp, blunt in ((1.5, 0.2), (0.1, 1.8))
    ]


def test_systems_weigh_alike_where_they_do_in_the_calibration() -> None:
    scores = panel(many=200)
    by_trial, _ = fit_fusion(scores, systems_alike=False)
    alike, _ = fit_fusion(scores, systems_alike=True)
    assert alike[1] / alike[0] > 1.5 * by_trial[1] / by_trial[0]


def test_a_fit_is_that_of_scikit_learn() -> None:
    exhibits = panel()
    scores = np.array([[one.raw_score for one in member] for member in exhibits]).T
    spoof = np.array([one.clip.is_spoof for one in exhibits[0]])
    model = LogisticRegression(C=np.inf, class_weight="balanced", tol=1e-12, max_iter=5_000).fit(scores, spoof)
    weights, bias = fit_fusion(exhibits, systems_alike=False)
    np.testing.assert_allclose(weights, model.coef_[0], rtol=1e-3)
    assert bias == pytest.approx(model.intercept_[0], rel=1e-3)


def test_a_fit_does_not_depend_on_units() -> None:
    rng = np.random.default_rng(0)
    spoof = np.arange(200) % 2 == 0
    scores = rng.normal(size=(200, 2)) + spoof[:, None]
    weights = np.ones(200)
    fitted, bias = fit_logistic_fusion(scores, spoof, weights)
    scaled, other = fit_logistic_fusion(scores * [1e3, 1e-3] + [5.0, -2.0], spoof, weights)
    np.testing.assert_allclose(
        scores @ fitted + bias, (scores * [1e3, 1e-3] + [5.0, -2.0]) @ scaled + other, rtol=1e-4, atol=1e-4
    )


def test_members_must_have_heard_the_same() -> None:
    scores = panel()
    config = EnsembleConfig.model_validate(
        {"channels": 1, "fusion": "logistic", "members": [
            {"model": name, "weights_sha256": "0" * 64, "weight": 1.0} for name in "ab"
        ]}
    )  # fmt: skip
    fused = fuse_exhibits(scores, config)
    assert [one.raw_score for one in fused] == pytest.approx(
        [a.raw_score + b.raw_score for a, b in zip(*scores, strict=True)]
    )
    for other in (scores[1][1:], [*scores[1][:-1], exhibit(99, "tts:few", 0.0)]):
        with pytest.raises(ModelError, match="not scored the same windows"):
            fuse_exhibits([scores[0], other], config)
    with pytest.raises(ModelError, match="of one class"):
        fit_fusion([one[:40] for one in scores], systems_alike=True)
