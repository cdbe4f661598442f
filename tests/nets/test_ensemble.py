from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from spoofcheck.detect.cudarunner import Plan, fitting_plans
from spoofcheck.detect.onnxexport import export_model
from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.errors import ModelError
from spoofcheck.nets.bundle import load_bundle, save_bundle, save_ensemble
from spoofcheck.nets.config import EnsembleConfig, MemberConfig, parse_config
from spoofcheck.nets.ensemble import fused
from spoofcheck.nets.features import VoiceFeatures
from spoofcheck.nets.index import find_model
from spoofcheck.nets.placement import has_part_on_cpu
from spoofcheck.nets.precision import chosen_dtype
from tests.support.audio import EXAMPLES, write_wav
from tests.support.models import tiny_bundle, tiny_config, tiny_gate_config

NAMES = ("one", "two", "three")
WEIGHTS = (0.5, 0.25, 0.25)


def ensemble_of(folder: Path, fusion: str = "weighted-probability", bias: float = 0.0) -> Path:
    """An ensemble beside its three members."""
    members = [
        MemberConfig(
            model=name,
            weights_sha256=sha256((folder / name / "model.safetensors").read_bytes()).hexdigest(),
            weight=weight,
        )
        for name, weight in zip(NAMES, WEIGHTS, strict=True)
    ]
    back_end = EnsembleConfig(channels=64, fusion=fusion, members=tuple(members), bias=bias)  # type: ignore[arg-type]
    config = tiny_config("three-ears").model_copy(update={"back_end": back_end, "gate": tiny_gate_config()})
    save_ensemble(folder / "three-ears", config, "# Three ears\n")
    return folder / "three-ears"


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of three tiny detectors, the first with a gate."""
    folder = tmp_path_factory.mktemp("members")
    for seed, name in enumerate(NAMES):
        tiny_bundle(folder / name, seed, tiny_gate_config() if seed == 0 else None)
    return folder


@pytest.fixture
def ensemble(members: Path, tmp_path: Path) -> Path:
    shutil.copytree(members, tmp_path / "models")
    return ensemble_of(tmp_path / "models")


def waves() -> torch.Tensor:
    found = torch.randn(3, 64_000, generator=torch.Generator().manual_seed(0)) * 0.1
    found[1] = torch.sin(torch.arange(64_000) * 0.1)
    return found


def member_scores(folder: Path) -> np.ndarray:
    """Raw scores `[members, waves]` of the members alone."""
    with torch.inference_mode():
        logits = [load_bundle(folder / name).network(waves()).double().numpy() for name in NAMES]
    return np.stack([one[:, 0] - one[:, 1] for one in logits])


def changed(directory: Path, **change: object) -> None:
    """Set keys of the ensemble's back-end."""
    path = directory / "config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["back_end"] |= change
    path.write_text(json.dumps(content), encoding="utf-8")


def test_its_score_is_the_logit_of_the_weighted_mean_of_probabilities(ensemble: Path) -> None:
    network = load_bundle(ensemble).network
    with torch.inference_mode():
        heard = network.hear(waves())
        logits = network(waves())
    probability = np.array(WEIGHTS) @ (1 / (1 + np.exp(-member_scores(ensemble.parent))))
    raw = (heard.logits[:, 0] - heard.logits[:, 1]).numpy()
    np.testing.assert_allclose(1 / (1 + np.exp(-raw)), probability, rtol=1e-12)
    np.testing.assert_allclose(raw, np.log(probability / (1 - probability)), rtol=1e-9)
    assert torch.equal(heard.logits, logits)


def test_a_logistic_fusion_is_a_weighted_sum(ensemble: Path) -> None:
    network = load_bundle(ensemble_of(ensemble.parent, "logistic", bias=-0.3)).network
    with torch.inference_mode():
        logits = network(waves())
    expected = np.array(WEIGHTS) @ member_scores(ensemble.parent) - 0.3
    np.testing.assert_allclose((logits[:, 0] - logits[:, 1]).numpy(), expected, rtol=1e-12)


def test_features_and_distances_are_the_first_members(ensemble: Path) -> None:
    first = load_bundle(ensemble.parent / "one").network
    with torch.inference_mode():
        heard, alone = load_bundle(ensemble).network.hear(waves()), first.hear(waves())
    assert torch.equal(heard.features, alone.features)
    assert heard.distances is not None
    assert alone.distances is not None
    assert torch.equal(heard.distances, alone.distances)


@pytest.mark.parametrize("scores", [(0.0, 0.0, 0.0), (800.0, 800.0, 800.0), (-900.0, -900.0, 900.0), (1e4, -1e4, 0.0)])
def test_sure_members_give_finite_scores(scores: Sequence[float], ensemble: Path) -> None:
    config = load_bundle(ensemble).config.back_end
    assert isinstance(config, EnsembleConfig)
    raw = fused(torch.tensor([scores], dtype=torch.float64), config)
    assert raw.isfinite().all()
    if min(scores) > 0 or max(scores) < 0:
        assert abs(float(raw)) == pytest.approx(800)
    if scores[0] == -900.0:  # a quarter says yes for certain, the rest no for certain
        assert float(raw) == pytest.approx(np.log(0.25 / 0.75))


def test_its_hash_stands_for_the_weights_of_its_members(ensemble: Path) -> None:
    before = load_bundle(ensemble)
    digests = load_file(ensemble / "model.safetensors")["members"]
    shown = [load_bundle(ensemble.parent / name).weights_sha256 for name in NAMES]
    assert [bytes(row.tolist()).hex() for row in digests] == shown
    tiny_bundle(ensemble.parent / "two", seed=9)
    after = load_bundle(ensemble_of(ensemble.parent))
    assert after.weights_sha256 != before.weights_sha256
    assert after.config_sha256 != before.config_sha256


def test_another_member_is_refused(ensemble: Path) -> None:
    tiny_bundle(ensemble.parent / "two", seed=9)
    with pytest.raises(ModelError, match=r"three-ears: member two: .*model.safetensors: SHA-256 is .*, expected "):
        load_bundle(ensemble)


def test_a_member_that_is_not_there_is_named(ensemble: Path) -> None:
    shutil.rmtree(ensemble.parent / "three")
    with pytest.raises(ModelError, match="three-ears: member three: no directory of this name lies beside"):
        load_bundle(ensemble)


def test_a_member_of_another_window_is_refused(ensemble: Path) -> None:
    folder = ensemble.parent / "two"
    bundle = load_bundle(folder)
    save_bundle(folder, bundle.config.model_copy(update={"window_samples": 32_000}), bundle.network, "")
    with pytest.raises(ModelError, match="member two: windows of 32000 samples, the ensemble's are of 64000"):
        load_bundle(ensemble)


def test_an_ensemble_is_no_member(ensemble: Path) -> None:
    shutil.rmtree(ensemble.parent / "two")
    shutil.copytree(ensemble, ensemble.parent / "two")
    with pytest.raises(ModelError, match=r"member two: .*two: is an ensemble itself"):
        load_bundle(ensemble)


def test_the_first_member_lends_front_end_and_gate(ensemble: Path) -> None:
    path = ensemble / "config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["gate"] = None
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ModelError, match="front_end and gate are not those of the first member, one"):
        load_bundle(ensemble)


def test_a_weights_file_of_other_members_is_refused(ensemble: Path) -> None:
    save_file({"members": torch.zeros(3, 32, dtype=torch.uint8)}, ensemble / "model.safetensors")
    with pytest.raises(ModelError, match=r"does not fit config\.json: it must hold the members' hashes"):
        load_bundle(ensemble)


def test_only_an_ensemble_is_saved_as_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nes2net-la has no members"):
        save_ensemble(tmp_path / "tiny", tiny_config(), "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bias": 0.5}, "a mean of probabilities has no bias"),
        ({"fusion": "vote"}, "Input should be 'weighted-probability' or 'logistic'"),
        ({"members": []}, "at least 2 items"),
    ],
)
def test_a_faulty_fusion_is_refused(ensemble: Path, change: dict[str, object], message: str) -> None:
    changed(ensemble, **change)
    with pytest.raises(ModelError, match=message):
        parse_config((ensemble / "config.json").read_bytes(), ensemble)


@pytest.mark.parametrize(
    ("weights", "message"),
    [((0.5, 0.25, 0.2), "sum to 1"), ((1.25, -0.5, 0.25), "above 0"), ((0.5, 0.5, 0.0), "above 0")],
)
def test_weights_of_probabilities_are_shares(ensemble: Path, weights: tuple[float, ...], message: str) -> None:
    content = json.loads((ensemble / "config.json").read_text(encoding="utf-8"))["back_end"]["members"]
    changed(ensemble, members=[one | {"weight": weight} for one, weight in zip(content, weights, strict=True)])
    with pytest.raises(ModelError, match=message):
        load_bundle(ensemble)


def test_a_scan_hears_with_all_of_them_and_names_them(ensemble: Path, tmp_path: Path) -> None:
    from spoofcheck.detect.provenance import model_info

    rng = np.random.default_rng(1)
    file = write_wav(tmp_path / "noise.wav", (0.1 * rng.standard_normal(5 * 16_000)).astype(np.float32), 16_000)
    options = ScanOptions(device="cpu", vad=False, trace=False)
    [finding] = Scanner(ensemble, options).findings([file])
    alone = [next(iter(Scanner(ensemble.parent / n, options).findings([file]))) for n in NAMES]
    for number, window in enumerate(finding.windows):
        raws = np.array([one.windows[number].raw_score for one in alone], dtype=np.float64)
        probability = np.array(WEIGHTS) @ (1 / (1 + np.exp(-raws)))
        assert window.raw_score == pytest.approx(np.log(probability / (1 - probability)), rel=1e-6)
        assert window.validity_distance == alone[0].windows[number].validity_distance
    [again] = Scanner(ensemble, options).findings([file])
    assert again == finding
    info = model_info(Scanner(ensemble, options).bundle)
    assert info.architecture.startswith("weighted probability ensemble of one 0.5 (")
    assert info.weights_sha256 == load_bundle(ensemble).weights_sha256


def test_on_cuda_it_is_computed_in_float32_and_not_recorded(ensemble: Path) -> None:
    network = load_bundle(ensemble).network
    assert has_part_on_cpu(network)
    assert set(fitting_plans(network)) == {Plan(compiled=False, graph=False)}
    cuda = torch.device("cuda")
    assert chosen_dtype("auto", cuda, network) == torch.float32
    assert chosen_dtype("bf16", cuda, network) == torch.bfloat16
    alone = network.front_end
    assert not has_part_on_cpu(alone)
    assert fitting_plans(alone) == [Plan(compiled=False, graph=True), Plan(compiled=False, graph=False)]
    assert fitting_plans(VoiceFeatures()) == [Plan(compiled=False, graph=False)]


def test_no_onnx_graph_is_made_of_it(ensemble: Path) -> None:
    pytest.importorskip("onnx")
    with pytest.raises(ModelError, match="no ONNX graph can be made of this model: it is an ensemble"):
        export_model(load_bundle(ensemble))
    with pytest.raises(ModelError, match="it is an ensemble"):
        Scanner(ensemble, ScanOptions(runtime="onnx", device="cpu", trace=False))


@pytest.mark.weights
@pytest.mark.parametrize("name", ["ensemble", "ensemble-fused"])
def test_the_shipped_ensembles_say_what_their_members_said(name: str) -> None:
    recording = EXAMPLES / "call-bank-security.flac"
    config = load_bundle(find_model(name)).config
    assert isinstance(config.back_end, EnsembleConfig)
    heard = []
    for model in (name, *(member.model for member in config.back_end.members)):
        options = ScanOptions(channels="mix", device="cpu", precision="float32", trace=False)
        (finding,) = Scanner(find_model(model), options).findings([recording])
        heard.append(np.array([window.raw_score for window in finding.windows if window.raw_score is not None]))
    found, *members = heard
    weights = np.array([member.weight for member in config.back_end.members])
    if name == "ensemble":
        assert weights.tolist() == [0.5, 0.25, 0.25]
        probability = weights @ (1 / (1 + np.exp(-np.array(members))))
        expected = np.log(probability / (1 - probability))
    else:
        expected = weights @ np.array(members) + config.back_end.bias
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
