from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from sklearn.ensemble import HistGradientBoostingClassifier

from spoofcheck.errors import ModelError
from spoofcheck.nets.bundle import load_bundle, save_bundle
from spoofcheck.nets.config import ModelConfig, SpectralStemConfig, VoiceStatisticsConfig
from spoofcheck.nets.detector import build_detector
from spoofcheck.nets.trees import BoostedTrees, boosted_trees_state
from tests.support.models import tiny_config

Rows = NDArray[np.float32]


def random_rows(count: int, seed: int, missing: float = 0.05) -> Rows:
    random = np.random.default_rng(seed)
    rows = random.standard_normal((count, 34)).astype(np.float32) * np.logspace(-3, 4, 34, dtype=np.float32)
    rows[random.random(rows.shape) < missing] = np.nan
    return rows


def fitted(**options: object) -> HistGradientBoostingClassifier:
    rows = random_rows(600, seed=0)
    labels = (np.nan_to_num(rows[:, 0]) * 1e3 + np.nan_to_num(rows[:, 20] / rows[:, 21]) > 0.2).astype(int)
    return HistGradientBoostingClassifier(max_iter=25, random_state=0, **options).fit(rows, labels)


@pytest.fixture(scope="module")
def sklearn_model() -> HistGradientBoostingClassifier:
    return fitted()


def network_of(model: HistGradientBoostingClassifier) -> BoostedTrees:
    config, state = boosted_trees_state(model)
    network = BoostedTrees(**config.model_dump(exclude={"kind"}))
    network.load_state_dict(state, strict=True)
    return network.eval()


def log_odds(network: torch.nn.Module, rows: Rows) -> NDArray[np.float64]:
    with torch.inference_mode():
        logits = network(torch.from_numpy(rows)[:, :, None]).double().numpy()
    np.testing.assert_array_equal(logits[:, 0], -logits[:, 1])
    return np.asarray(logits[:, 0] - logits[:, 1])


def test_gives_scikit_learns_decisions(sklearn_model: HistGradientBoostingClassifier) -> None:
    rows = random_rows(5_000, seed=1)
    np.testing.assert_allclose(
        log_odds(network_of(sklearn_model), rows), sklearn_model.decision_function(rows), atol=1e-5
    )


def test_rows_on_the_thresholds_go_the_same_way(sklearn_model: HistGradientBoostingClassifier) -> None:
    network = network_of(sklearn_model)
    rows = random_rows(3_000, seed=2, missing=0.0)
    random = np.random.default_rng(3)
    for feature in range(34):
        thresholds = network.threshold[~network.is_leaf & (network.feature == feature)].numpy()
        if len(thresholds):
            picked = random.choice(thresholds, len(rows))
            towards = random.choice(np.array([-np.inf, np.inf], dtype=np.float32), len(rows))
            step = random.random(len(rows)) < 0.5
            rows[:, feature] = np.where(step, np.nextafter(picked, towards), picked)
    np.testing.assert_allclose(log_odds(network, rows), sklearn_model.decision_function(rows), atol=1e-5)


def test_a_split_on_missing_values_alone() -> None:
    """scikit-learn gives such a split an infinite threshold."""
    rows = np.zeros((200, 34), dtype=np.float32)
    rows[::2, 5] = np.nan
    labels = np.isnan(rows[:, 5]).astype(int)
    model = HistGradientBoostingClassifier(max_iter=3).fit(rows, labels)
    assert np.isinf(model._predictors[0][0].nodes["num_threshold"]).any()
    network = network_of(model)
    assert network.threshold.isfinite().all()
    np.testing.assert_allclose(log_odds(network, rows), model.decision_function(rows), atol=1e-5)


def test_the_spoof_class_may_be_either_and_have_any_name() -> None:
    rows = random_rows(300, seed=4)
    labels = np.where(np.nan_to_num(rows[:, 3]) > 0, "bonafide", "spoof")
    model = HistGradientBoostingClassifier(max_iter=5).fit(rows, labels)
    for name, sign in (("spoof", 1), ("bonafide", -1)):
        config, state = boosted_trees_state(model, spoof_class=name)
        network = BoostedTrees(**config.model_dump(exclude={"kind"}))
        network.load_state_dict(state)
        np.testing.assert_allclose(log_odds(network, rows), sign * model.decision_function(rows), atol=1e-5)
    with pytest.raises(ValueError, match="one of them 'fake'"):
        boosted_trees_state(model, spoof_class="fake")


def test_refuses_models_it_cannot_hold() -> None:
    with pytest.raises(ValueError, match="fitted on two classes"):
        boosted_trees_state(HistGradientBoostingClassifier())
    rows = np.random.default_rng(0).integers(0, 4, (300, 3)).astype(np.float32)
    three = HistGradientBoostingClassifier(max_iter=2).fit(rows, rows[:, 0].clip(0, 2))
    with pytest.raises(ValueError, match="fitted on two classes"):
        boosted_trees_state(three)
    categories = HistGradientBoostingClassifier(max_iter=2, categorical_features=[0]).fit(rows, rows[:, 0] % 2)
    with pytest.raises(ValueError, match="categories"):
        boosted_trees_state(categories)


def test_one_row_alone_scores_as_in_a_batch(sklearn_model: HistGradientBoostingClassifier) -> None:
    network = network_of(sklearn_model)
    rows = random_rows(50, seed=5)
    np.testing.assert_array_equal(
        log_odds(network, rows), np.concatenate([log_odds(network, row[None]) for row in rows])
    )
    assert log_odds(network, rows).std() > 0.1


def test_refuses_more_than_one_frame() -> None:
    with pytest.raises(ValueError, match=r"expected \[B, 34, 1\], got \[2, 34, 7\]"):
        BoostedTrees(trees=1, nodes=1)(torch.zeros(2, 34, 7))


@pytest.fixture
def bundle(sklearn_model: HistGradientBoostingClassifier, tmp_path: Path) -> Path:
    back_end, state = boosted_trees_state(sklearn_model)
    config = tiny_config("features-gbm").model_copy(update={"front_end": VoiceStatisticsConfig(), "back_end": back_end})
    network = build_detector(config.front_end, config.back_end)
    network.back_end.load_state_dict(state)
    save_bundle(tmp_path / "features-gbm", config, network, "# Trees\n")
    return tmp_path / "features-gbm"


def test_decisions_survive_saving_and_loading(bundle: Path, sklearn_model: HistGradientBoostingClassifier) -> None:
    loaded = load_bundle(bundle)
    rows = random_rows(2_000, seed=6)
    np.testing.assert_allclose(
        log_odds(loaded.network.back_end, rows), sklearn_model.decision_function(rows), atol=1e-5
    )
    assert loaded.config.architecture == "voice-statistics -> boosted-trees, 34 channels"
    assert load_file(bundle / "model.safetensors")["back_end.is_leaf"].dtype == torch.bool


@pytest.mark.parametrize(
    ("buffer", "value", "complaint"),
    [
        ("left", 0, "not behind it"),
        ("right", 0, "not behind it"),
        ("left", -1, "not behind it"),
        ("right", 10_000, "not behind it"),
        ("feature", 34, "beyond the 34"),
        ("feature", -1, "beyond the 34"),
        ("threshold", float("nan"), "not finite"),
    ],
)
def test_damaged_trees_are_refused(bundle: Path, buffer: str, value: float, complaint: str) -> None:
    state = load_file(bundle / "model.safetensors")
    assert not state["back_end.is_leaf"][3, 0]
    state[f"back_end.{buffer}"][3, 0] = value
    save_file(state, bundle / "model.safetensors")
    with pytest.raises(ModelError, match=rf"model\.safetensors: .*{complaint}"):
        load_bundle(bundle)


def test_features_of_leaves_are_checked_as_well(bundle: Path) -> None:
    state = load_file(bundle / "model.safetensors")
    tree, node = state["back_end.is_leaf"].nonzero()[0].tolist()
    state["back_end.feature"][tree, node] = 34
    save_file(state, bundle / "model.safetensors")
    with pytest.raises(ModelError, match="beyond the 34"):
        load_bundle(bundle)


def test_damaged_trees_are_not_saved(bundle: Path, tmp_path: Path) -> None:
    loaded = load_bundle(bundle)
    loaded.network.back_end.left.zero_()
    with pytest.raises(ModelError, match="not behind it"):
        save_bundle(tmp_path / "other", loaded.config, loaded.network, "# Other\n")
    assert not (tmp_path / "other").exists()


def test_trees_judge_voice_statistics_only(bundle: Path) -> None:
    config: ModelConfig = load_bundle(bundle).config
    with pytest.raises(ValueError, match="not the frames of spectral-stem"):
        build_detector(SpectralStemConfig(), config.back_end)
