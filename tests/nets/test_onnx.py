from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from spoofcheck.cli import run
from spoofcheck.detect import onnxexport
from spoofcheck.detect.gallery import embedding_head
from spoofcheck.detect.onnxexport import export_model
from spoofcheck.detect.programs import HearingProgram
from spoofcheck.detect.scorer import WindowScorer
from spoofcheck.errors import ModelError, UsageError
from spoofcheck.nets.bundle import load_bundle, load_tracer
from spoofcheck.nets.config import AasistConfig, XlsrConfig
from spoofcheck.nets.detector import build_detector
from spoofcheck.nets.mel import MelSpectrogram
from spoofcheck.nets.onnx import OnnxNetwork, largest_difference, onnx_graph
from spoofcheck.nets.statistics import VoiceStatistics
from spoofcheck.render import Format, render
from spoofcheck.schema import ScanDocument
from tests.support.enrolling import embedding_tracer, twin_detector

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A detector, and a tracer with its front-end."""
    folder = tmp_path_factory.mktemp("twins")
    return twin_detector(folder / "detector", embedding_tracer(folder / "tracer")), folder / "tracer"


def noise(windows: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.02 * (i + 1), 16_000).astype(np.float32) for i in range(windows)]


def test_a_scan_hears_the_same_in_onnx_runtime(twins: tuple[Path, Path]) -> None:
    detector, head = load_bundle(twins[0]), embedding_head(load_tracer(twins[1]))
    exact = WindowScorer(detector, "cpu", None, head, "float32").score(noise(3))
    scorer = WindowScorer(detector, "auto", None, head, "auto", "onnx")
    assert (scorer.device.type, scorer.dtype, scorer.runtime) == ("cpu", torch.float32, "onnx")
    found = scorer.score(noise(3))
    assert [each.raw_score for each in found] == pytest.approx([each.raw_score for each in exact], abs=1e-4)
    for ours, theirs in zip(found, exact, strict=True):
        assert ours.embedding is not None
        assert theirs.embedding is not None
        np.testing.assert_allclose(ours.embedding, theirs.embedding, atol=1e-4)
    assert [each.raw_score for each in scorer.score(noise(3)[::-1])] == [each.raw_score for each in found][::-1]


def test_a_graph_takes_any_number_of_windows_and_samples(tiny_model: Path) -> None:
    program = HearingProgram(load_bundle(tiny_model).network).eval()
    network = OnnxNetwork(onnx_graph(program))
    for shape in ((1, 64_000), (3, 8_000)):
        waves = 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            expected = program(waves)
        assert largest_difference(network(waves), expected)["logits"] < 1e-4


def test_only_the_same_outputs_are_compared() -> None:
    with pytest.raises(ValueError, match=r"outputs \['a'\] are not \['b'\]"):
        largest_difference({"a": torch.zeros(1)}, {"b": torch.zeros(1)})


@pytest.mark.parametrize(("front_end", "why"), [(VoiceStatistics, "librosa"), (MelSpectrogram, "mel spectrogram")])
def test_what_no_graph_can_hold_is_refused(
    front_end: type[torch.nn.Module], why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match=why):
        onnx_graph(torch.nn.Sequential(front_end()))
    assert capfd.readouterr() == ("", "")


class Hidden(torch.nn.Module):
    """Computes where no exporter sees it."""

    def forward(self, waveforms: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"level": torch.from_numpy(waveforms.numpy().std(axis=1)) + waveforms.mean(dim=1)}


def test_what_became_a_constant_is_found() -> None:
    with pytest.raises(ModelError, match=r"its level would differ by 0"):
        onnx_graph(Hidden())


def test_a_network_behind_xls_r_is_exported_too() -> None:
    front_end = XlsrConfig(
        hidden_size=64, layers=2, heads=4, feed_forward_size=80, conv_channels=16, position_kernel=8, position_groups=4
    )
    program = HearingProgram(build_detector(front_end, AasistConfig(channels=64))).eval()
    assert OnnxNetwork(onnx_graph(program)).names == ["logits"]


def test_a_graph_that_does_not_load_is_named() -> None:
    with pytest.raises(ModelError, match="ONNX Runtime cannot run this graph"):
        OnnxNetwork(b"no graph")


def test_a_tracer_is_exported_with_its_classes(twins: tuple[Path, Path]) -> None:
    bundle = load_tracer(twins[1])
    exported = export_model(bundle)
    assert exported.differences.keys() == {"embedding", "logits"}
    assert json.loads(metadata(exported.graph)["logits"]) == list(bundle.config.classes)


def test_the_command_writes_a_file_that_names_its_model(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "tiny.onnx"
    assert run(["models", "export", str(tiny_model), "--onnx", str(target)]) == 0
    assert "largest difference to torch on" in capsys.readouterr().out
    facts = metadata(target.read_bytes())
    bundle = load_bundle(tiny_model)
    assert (facts["model"], facts["task"], facts["opset"]) == ("tiny", "detector", "17")
    assert facts["weights_sha256"] == bundle.weights_sha256
    assert json.loads(facts["logits"]) == ["spoof", "bonafide"]
    network = OnnxNetwork(target.read_bytes())
    (heard,) = WindowScorer(bundle, "cpu", precision="float32").score(noise(1))
    logits = network(torch.from_numpy(noise(1)[0]).unsqueeze(0))["logits"][0]
    assert float(logits[0] - logits[1]) == pytest.approx(heard.raw_score, abs=1e-4)


def test_a_scan_in_onnx_runtime_says_so_and_can_be_verified(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "a.wav", noise(1)[0], 16_000)
    result = str(tmp_path / "scan.json")
    options = ["--model", str(tiny_model), "--runtime", "onnx", "--no-vad", "--no-controls", "--quiet"]
    run(["scan", str(tmp_path / "in"), *options, "--json", result])
    document = ScanDocument.model_validate_json(Path(result).read_bytes())
    assert (document.options.device, document.options.dtype, document.options.runtime) == ("cpu", "float32", "onnx")
    assert "onnxruntime" in document.tool.libraries
    assert "float32, ONNX Runtime" in render(document, Format.HTML)
    capsys.readouterr()
    run(["verify", result, "--exhibits", str(tmp_path / "in"), "--recompute", "--model", str(tiny_model), "--json"])
    (scores,) = [each for each in json.loads(capsys.readouterr().out)["checks"] if each["what"] == "scores"]
    assert scores["outcome"] == "ok"
    assert "none differs by more than 1e-06, largest difference of a score 0" in scores["message"]


def test_a_graph_that_differs_is_not_written(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(onnxexport, "MAX_DIFFERENCE", 0.0)
    assert run(["models", "export", str(tiny_model), "--onnx", str(tmp_path / "tiny.onnx")]) == 2
    assert "differs from torch in" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["models", "export", "--onnx", "-"], "name a file"),
        (["models", "export", "--onnx", "graph.onnx"], "models export needs the packages onnx and onnxruntime"),
        (["scan", "a.wav", "--runtime", "onnx"], "--runtime onnx needs the packages onnx and onnxruntime"),
    ],
)
def test_one_line_says_what_is_missing(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert run(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_onnx_runtime_computes_in_float32_on_the_cpu(tiny_model: Path) -> None:
    with pytest.raises(UsageError, match="--runtime onnx: computes in float32 only"):
        WindowScorer(load_bundle(tiny_model), "cpu", None, None, "bf16", "onnx")


def metadata(graph: bytes) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load_from_string(graph).metadata_props}
