"""`spoofcheck models calibrate` from the outside: from raw scores to verdicts, and every refusal."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spoofcheck.cli import run
from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.errors import ModelError
from spoofcheck.evaluation import metrics
from spoofcheck.evaluation.calibrationrecord import CALIBRATION_FILE, CalibrationRecord, read_calibration_record
from spoofcheck.evaluation.crossfit import CrossFit, Shares
from spoofcheck.evaluation.protocols.manifest import read_manifest
from spoofcheck.evaluation.usercalibration import MIN_TRIALS, Calibrated, card_of
from spoofcheck.nets.config import ModelConfig, read_config
from spoofcheck.schema import Verdict
from tests.support.audio import human_speech, write_wav
from tests.support.models import tiny_uncalibrated

CLIPS = 48
"""Above twice the fewest, for some have no speech."""

OPTIONS = ("--device", "cpu", "--quiet")


@pytest.fixture(scope="module")
def raw_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_uncalibrated(tmp_path_factory.mktemp("models") / "raw")


@pytest.fixture(scope="module")
def scores(raw_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Path, float]:
    """Raw scores of stretches of speech with more or less noise on them, by their paths."""
    folder = tmp_path_factory.mktemp("audio")
    speech, rng = human_speech(), np.random.default_rng(0)
    for i in range(CLIPS):
        start = i * 7_919 % (len(speech) - 36_000)
        clip = speech[start : start + 36_000] * rng.uniform(0.4, 1.0)
        noise = rng.standard_normal(len(clip)) * 10 ** (-rng.uniform(25, 60) / 20) * np.abs(clip).max()
        write_wav(folder / f"{i:02d}.wav", (clip + noise).astype(np.float32), 16_000)
    scanner = Scanner(raw_model, ScanOptions(device="cpu", trace=False))
    paths = sorted(folder.glob("*.wav"))
    found = zip(paths, scanner.findings(paths), strict=True)
    return {path: finding.raw_score for path, finding in found if finding.raw_score is not None}


def write_labels(scores: dict[Path, float], name: str, *, swap: int | None = 6, flipped: bool = False) -> Path:
    """A manifest that calls the higher half synthetic, but for every `swap`-th of either half."""
    ranked = sorted(scores, key=lambda path: scores[path])
    half = len(ranked) // 2
    labels = {path: "bonafide" if (i < half) is not flipped else "spoof" for i, path in enumerate(ranked)}
    for i in range(3, half if swap else 0, swap or 1):
        labels[ranked[i]], labels[ranked[-i - 1]] = labels[ranked[-i - 1]], labels[ranked[i]]
    lines = ["path\tlabel\tsystem\tspeaker\tlanguage\tsplit"]
    for i, (path, label) in enumerate(sorted(labels.items())):
        system = "-" if label == "bonafide" else f"tts:{'AB'[i // 2 % 2]}"
        lines.append(f"{path.name}\t{label}\t{system}\tspeaker{i % 12}\ten\tdev")
    target = next(iter(scores)).parent / name
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return target


@pytest.fixture(scope="module")
def labels(scores: dict[Path, float]) -> Path:
    return write_labels(scores, "mine.tsv")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Scores that one test made are not made again by the others."""
    return "--work", str(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def calibrated(raw_model: Path, labels: Path, work: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "mine"
    arguments = ["models", "calibrate", str(raw_model), "--protocol", "manifest", str(labels), "--split", "dev"]
    assert run([*arguments, "--out", str(out), "--name", "mine", *work, *OPTIONS]) == 0
    return out


def scan(model: Path, recordings: list[Path], folder: Path, *more: str) -> tuple[int, dict[str, Any]]:
    target = folder / "scan.json"
    paths = [str(path) for path in recordings]
    status = run(["scan", *paths, "--model", str(model), "--no-trace", "--json", str(target), *OPTIONS, *more])
    return status, json.loads(target.read_text(encoding="utf-8"))


def test_before_there_are_raw_scores_and_exit_code_3(
    raw_model: Path, scores: dict[Path, float], tmp_path: Path
) -> None:
    recordings = list(scores)[:3]
    status, document = scan(raw_model, recordings, tmp_path)
    assert status == 3
    assert document["model"]["calibration"] is None
    assert {control["as_expected"] for control in document["controls"]} == {None}
    for path, finding in zip(recordings, document["findings"], strict=True):
        assert finding["verdict"] == "uncalibrated"
        assert finding["spoof_llr"] is None
        assert finding["raw_score"] == pytest.approx(scores[path], abs=1e-5)


def test_afterwards_there_are_bounded_llrs_and_verdicts(
    calibrated: Path, scores: dict[Path, float], tmp_path: Path
) -> None:
    _, document = scan(calibrated, list(scores), tmp_path, "--no-controls")
    config = read_config(calibrated)
    assert config.calibration is not None
    bound = config.calibration.llr_bound
    assert document["model"]["name"] == "mine"
    assert document["model"]["licence"] == "CC BY-NC 4.0"
    assert [figure["level"] for figure in document["model"]["validation"]] == ["exhibit", "window"]
    for finding in document["findings"]:
        expected = config.calibration.exhibit.slope * finding["raw_score"] + config.calibration.exhibit.intercept
        assert finding["spoof_llr"] == pytest.approx(max(-bound, min(bound, expected)), abs=1e-5)
        assert all(abs(window["spoof_llr"]) <= bound for window in finding["windows"])
    verdicts = {finding["verdict"] for finding in document["findings"]}
    assert Verdict.UNCALIBRATED not in verdicts
    codes = {reason["code"] for finding in document["findings"] for reason in finding["reasons"]}
    assert codes & {"above-spoof-threshold", "below-bonafide-threshold", "undecided"}


def test_the_figures_are_those_of_the_scores(calibrated: Path, labels: Path, scores: dict[Path, float]) -> None:
    clips = [clip for clip in read_manifest(labels) if clip.path in scores]
    raw = -np.array([scores[clip.path] for clip in clips])
    bonafide = np.array([not clip.is_spoof for clip in clips])
    record = CalibrationRecord.model_validate_json((calibrated / CALIBRATION_FILE).read_bytes())
    figure = record.figures["levels"][0]
    assert figure["eer"] == pytest.approx(metrics.eer(raw, bonafide))
    assert figure["min_dcf"] == pytest.approx(metrics.min_dcf(raw, bonafide))
    assert (figure["bonafide_trials"], figure["spoof_trials"]) == (bonafide.sum(), (~bonafide).sum())
    config = read_config(calibrated)
    assert config.calibration is not None
    assert config.calibration.llr_bound == pytest.approx(math.log(min(bonafide.sum(), (~bonafide).sum()) + 1))
    assert config.validation[0].model_dump(mode="json") == figure
    assert record.figures["by_source"] is True
    assert sum(record.systems.values()) == (~bonafide).sum()
    assert not record.is_separable


def test_card_weights_and_limits(calibrated: Path, raw_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "show", str(calibrated)]) == 0
    card = capsys.readouterr().out
    assert "CC BY-NC 4.0" in card
    assert "mine.tsv (dev)" in card
    assert "# The card before this calibration" in card
    assert "Random weights, for tests." in card
    assert (calibrated / "model.safetensors").read_bytes() == (raw_model / "model.safetensors").read_bytes()
    assert any("mine.tsv (dev)" in each for each in read_config(calibrated).limitations)
    # The model it was made from is as it was.
    assert read_config(raw_model).calibration is None


def test_eval_measures_raw_scores_and_warns_of_the_calibration_data(
    raw_model: Path, calibrated: Path, labels: Path, tmp_path: Path
) -> None:
    target = tmp_path / "eval.json"
    common = ["--protocol", "manifest", str(labels), "--bootstrap", "0", "--json", str(target), *OPTIONS]
    report = tmp_path / "eval.html"
    assert run(["eval", str(raw_model), *common, "--report", str(report)]) == 0
    document = json.loads(target.read_text())
    assert (document["act_dcf"], document["cllr"]) == (None, None)
    assert document["eer"] > 0
    assert document["detection"]["scores_are_llrs"] is False
    assert "scores-are-no-llrs" in {warning["code"] for warning in document["warnings"]}
    assert "scores are raw scores" in report.read_text()
    assert "CC BY-NC 4.0" in report.read_text()
    assert run(["eval", str(calibrated), *common]) == 0
    document = json.loads(target.read_text())
    assert document["cllr"] is not None
    assert "measured-on-calibration-data" in {warning["code"] for warning in document["warnings"]}


def test_verify_computes_raw_scores_again(
    raw_model: Path, scores: dict[Path, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = next(iter(scores))
    folder = tmp_path / "recordings"
    folder.mkdir()
    (folder / recording.name).write_bytes(recording.read_bytes())
    scan(raw_model, [folder / recording.name], tmp_path, "--no-controls")
    arguments = ["--exhibits", str(folder), "--recompute", "--model", str(raw_model), "--quiet"]
    assert run(["verify", str(tmp_path / "scan.json"), *arguments]) == 0
    saved = (tmp_path / "scan.json").read_text()
    score = json.loads(saved)["findings"][0]["raw_score"]
    (tmp_path / "scan.json").write_text(saved.replace(json.dumps(score), json.dumps(score + 1)))
    capsys.readouterr()
    assert run(["verify", str(tmp_path / "scan.json"), *arguments]) == 1
    assert "raw score" in capsys.readouterr().out


def test_a_calibrated_model_can_be_calibrated_anew(calibrated: Path, labels: Path, tmp_path: Path) -> None:
    arguments = ["models", "calibrate", str(calibrated), "--protocol", "manifest", str(labels), *OPTIONS]
    assert run(arguments) == 2
    assert run([*arguments, "--out", str(tmp_path / "again")]) == 0
    again, before = read_config(tmp_path / "again"), read_config(calibrated)
    assert again.name == "mine-calibrated"
    assert again.calibration is not None
    assert before.calibration is not None
    assert again.calibration.exhibit == before.calibration.exhibit
    assert sum("Calibrated by its user" in each for each in again.limitations) == 1


def test_scores_of_a_work_folder_are_not_made_again(
    raw_model: Path, calibrated: Path, labels: Path, work: tuple[str, str], tmp_path: Path
) -> None:
    def rows() -> list[str]:
        return [line for path in Path(work[1]).rglob("rank-0.jsonl") for line in path.read_text().splitlines()]

    before = rows()
    assert len(before) >= 2 * MIN_TRIALS
    arguments = ["models", "calibrate", str(raw_model), "--protocol", "manifest", str(labels), *work, *OPTIONS]
    assert run([*arguments, "--out", str(tmp_path / "again")]) == 0
    assert rows() == before
    assert read_config(tmp_path / "again").validation[0].eer == read_config(calibrated).validation[0].eer


def test_data_without_any_error_are_told_of(
    raw_model: Path,
    scores: dict[Path, float],
    work: tuple[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write_labels(scores, "clean.tsv", swap=None)
    arguments = ["models", "calibrate", str(raw_model), "--protocol", "manifest", str(path), "--device", "cpu"]
    assert run([*arguments, *work, "--out", str(tmp_path / "clean")]) == 0
    shown = capsys.readouterr()
    assert "they do not say where errors begin" in shown.err
    assert "0.0%" in shown.out
    config = read_config(tmp_path / "clean")
    assert config.calibration is not None
    assert config.calibration.llr_bound < 4
    assert any("separate without error" in each for each in config.limitations)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["models", "calibrate", *arguments, *OPTIONS]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    return error


def test_every_refusal_is_one_clear_line(
    raw_model: Path,
    calibrated: Path,
    labels: Path,
    scores: dict[Path, float],
    work: tuple[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, out = str(raw_model), str(tmp_path / "out")

    def attempt(protocol: Path, *more: str) -> str:
        return refused(capsys, model, "--protocol", "manifest", str(protocol), *work, *(more or ("--out", out)))

    wrong = attempt(write_labels(scores, "flipped.tsv", flipped=True))
    assert "higher scores do not mean spoof" in wrong
    assert "check the labels" in wrong
    text = labels.read_text().splitlines()
    few = labels.with_name("few.tsv")
    few.write_text("\n".join(text[:20]) + "\n")
    assert f"at least {MIN_TRIALS} of each" in attempt(few)
    human = labels.with_name("human.tsv")
    human.write_text("\n".join(line for line in text if "\tspoof\t" not in line) + "\n")
    assert "0 synthetic recordings" in attempt(human)
    absent = labels.with_name("absent.tsv")
    absent.write_text("\n".join([text[0], *(line.replace(".wav", "-gone.wav") for line in text[1:])]) + "\n")
    gone = attempt(absent)
    assert "0 human and 0 synthetic recordings" in gone
    assert "without a score" in gone
    assert "is there already" in attempt(labels, "--out", str(calibrated))
    assert "--name Ü" in attempt(labels, "--out", out, "--name", "Ü")
    shipped = Path(__file__).resolve().parents[2] / "models" / "new"
    assert "never changed" in attempt(labels, "--out", str(shipped))
    assert "no such model directory" in refused(
        capsys, str(tmp_path / "none"), "--protocol", "manifest", str(labels), "--out", out
    )
    assert not Path(out).exists()
    assert not shipped.exists()


def test_a_damaged_record_is_told_of(calibrated: Path, tmp_path: Path) -> None:
    assert read_calibration_record(tmp_path) is None
    (tmp_path / CALIBRATION_FILE).write_text((calibrated / CALIBRATION_FILE).read_text()[:-9])
    with pytest.raises(ModelError, match="not a readable record of a calibration"):
        read_calibration_record(tmp_path)


def test_outside_text_cannot_break_the_card(calibrated: Path) -> None:
    record = CalibrationRecord.model_validate_json((calibrated / CALIBRATION_FILE).read_bytes())
    hostile = record.model_copy(update={"data": "a|b\n# Owned <script>`x`</script>"})
    config: ModelConfig = read_config(calibrated)
    shares = Shares(0.0, 0.0, 1.0)
    card = card_of(Calibrated(config, hostile, CrossFit(5, True, config.validation, shares, shares)), "")
    assert "\n# Owned" not in card
    assert "<script" not in card.replace("\\<script", "")


def test_the_default_place_is_among_ones_own_models(
    raw_model: Path, labels: Path, work: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert run(["models", "calibrate", str(raw_model), "--protocol", "manifest", str(labels), *work, *OPTIONS]) == 0
    assert (tmp_path / "spoofcheck" / "models" / "raw-calibrated" / "config.json").is_file()


def test_the_name_of_a_tracer_is_refused(
    tiny_tracer_model: Path, labels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "describes a tracer" in refused(capsys, str(tiny_tracer_model), "--protocol", "manifest", str(labels))
