"""`spoofcheck eval` from the outside: documents, exit codes, bad options, two processes, Ctrl-C."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spoofcheck.cli import run
from spoofcheck.evalschema import Comparison, EvaluationDocument
from spoofcheck.evaluation import metrics
from spoofcheck.evaluation.audit import manifest_sha256
from spoofcheck.evaluation.protocols.manifest import read_manifest
from spoofcheck.evaluation.scorefiles import read_score_file
from spoofcheck.training.record import RECORD_FILE, DataRecord, RunRecord, TrainingRecord
from tests.support.audio import human_speech, write_wav

ROOT = Path(__file__).resolve().parents[2]


def write_trials(folder: Path, name: str, count: int, offset: int) -> Path:
    """A folder `name` of `count` stretches of speech and its manifest: both classes, two systems, three speakers."""
    audio = folder / name
    audio.mkdir()
    lines = ["path\tlabel\tsystem\tspeaker\tlanguage\tsplit"]
    for i in range(count):
        start = offset + 10_000 * i
        write_wav(audio / f"{i}.wav", human_speech()[start : start + 56_000], 16_000)
        label, system = ("spoof", f"tts:{'AB'[i // 2 % 2]}") if i % 2 else ("bonafide", "-")
        lines.append(f"{i}.wav\t{label}\t{system}\t{name}{i % 3}\ten\teval")
    path = audio / "trials.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_trials(tmp_path_factory.mktemp("eval"), "test", 12, 0)


@pytest.fixture(scope="module")
def other_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_trials(tmp_path_factory.mktemp("dev"), "dev", 6, 3_000)


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scores") / "a.tsv"
    rows = [
        f"t{i}\t{(i * 37 % 20) / 10 - 1 + (0.8 if i % 2 else 0)}\t{'bonafide' if i % 2 else 'spoof'}" for i in range(40)
    ]
    path.write_text("\n".join(["filename\tcm-score\tcm-label", *rows]) + "\n")
    return path


@pytest.fixture
def evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Runs eval on the CPU with few draws; gives the exit code, the JSON document and standard error."""

    def call(*arguments: str | Path) -> tuple[int, dict, str]:
        result = tmp_path / "eval.json"
        status = run(["eval", *map(str, arguments), "--bootstrap", "20", "--device", "cpu", "--json", str(result)])
        return status, json.loads(result.read_bytes()) if result.exists() else {}, capsys.readouterr().err

    return call


def test_a_score_file_prints_its_figures(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "--scores", str(scores), "--json", "-"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    file = read_score_file(scores)
    assert file.keys is not None
    labels = [file.keys[name].bonafide for name in file.scores]
    assert document["eer"] == metrics.eer(list(file.scores.values()), labels)
    assert document["cllr"] == pytest.approx(metrics.cllr(list(file.scores.values()), labels), abs=1e-12)
    assert {"min_dcf", "act_dcf"} <= document.keys()
    assert list(document["data"]["files"]) == [str(scores)]
    assert err == ""
    EvaluationDocument.model_validate_json(out)


def test_a_score_file_needs_no_torch(scores: Path) -> None:
    command = ["eval", "-q", "--scores", str(scores)]
    code = f"import sys; from spoofcheck.cli import run; run({command!r}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["False"]


def test_keys_from_a_file_and_a_threshold_from_dev(evaluate, scores: Path, tmp_path: Path) -> None:
    bare, keys = tmp_path / "bare.tsv", tmp_path / "keys.tsv"
    rows = [line.split("\t") for line in scores.read_text().splitlines()]
    bare.write_text("".join(f"{name} {score}\n" for name, score, _ in rows))
    keys.write_text("".join(f"{name} {label}\n" for name, _, label in rows))
    status, document, _ = evaluate("--scores", bare, "--keys", keys, "--dev-scores", scores, "--scores-are", "raw")
    assert status == 0
    transfer = document["detection"]["transfer"]
    assert transfer["hter"] == pytest.approx(document["eer"])
    assert transfer["fixed_on"].startswith(str(scores))
    assert (document["act_dcf"], document["cllr"]) == (None, None)


def test_a_model_on_a_manifest(
    evaluate, tiny_model: Path, manifest: Path, other_manifest: Path, tmp_path: Path
) -> None:
    written = tmp_path / "scores.tsv"
    status, document, _ = evaluate(
        tiny_model, "--protocol", "manifest", manifest, "--split", "eval", "--name", "mine", "--write-scores", written,
        "--report", tmp_path / "report.html", "--dev-protocol", "manifest", other_manifest,
        "--train-protocol", "manifest", other_manifest,
    )  # fmt: skip
    assert status == 0
    assert document["model"]["name"] == "tiny"
    assert document["data"]["name"] == "mine"
    assert document["data"]["windows"] == "all"
    detection = document["detection"]
    assert [group["name"] for group in detection["by_system"]] == ["tts:A", "tts:B"]
    assert [group["name"] for group in detection["by_seen"]] == ["seen"]
    assert detection["transfer"]["fixed_on"].startswith("the dev set")
    assert "shared-sources" in {caveat["code"] for caveat in document["warnings"]}
    assert len(written.read_text().splitlines()) == 13
    assert (tmp_path / "report.html").read_text().startswith("<!")
    again, same, _ = evaluate("--scores", written, "--protocol", "manifest", manifest)
    assert again == 0
    assert same["eer"] == document["eer"]
    assert same["detection"]["by_system"][0]["rates"] == detection["by_system"][0]["rates"]


def test_the_models_own_threshold_is_that_of_scan(evaluate, tiny_model: Path, manifest: Path) -> None:
    _, document, _ = evaluate(tiny_model, "--protocol", "manifest", manifest)
    assert document["detection"]["transfer"]["threshold"] == -1.0
    assert "own dev set" in document["detection"]["transfer"]["fixed_on"]


def test_trials_without_a_score_are_counted_and_told(evaluate, tiny_model: Path, tmp_path: Path) -> None:
    manifest = write_trials(tmp_path, "some", 6, 0)
    (manifest.parent / "3.wav").unlink()
    status, document, _ = evaluate(tiny_model, "--protocol", "manifest", manifest, "--windows", "first")
    assert status == 3
    assert document["data"]["unscored"] == 1
    (caveat,) = [each for each in document["warnings"] if each["code"] == "unscored-trials"]
    assert "not-found: 1 (3.wav)" in caveat["message"]


def test_recordings_of_training_are_refused(evaluate, tiny_model: Path, manifest: Path, tmp_path: Path) -> None:
    copy = write_trials(tmp_path, "train", 2, 0)
    status, document, err = evaluate(
        tiny_model, "--protocol", "manifest", manifest, "--train-protocol", "manifest", copy
    )
    assert status == 2
    assert document == {}
    assert "train and test share 2 recordings" in err


def test_models_and_score_files_side_by_side(
    evaluate, tiny_model: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "first.tsv"
    evaluate(tiny_model, "--protocol", "manifest", manifest, "--windows", "first", "--write-scores", written)
    status, document, _ = evaluate("--compare", tiny_model, "--compare", written, "--protocol", "manifest", manifest)
    assert status == 0
    comparison = Comparison.model_validate(document)
    assert comparison.names == (str(tiny_model), str(written))
    assert {one.statistic for one in comparison.differences} == {"eer", "min_dcf", "cllr"}


def test_a_tracer_is_measured_as_one(evaluate, tiny_tracer_model: Path, manifest: Path, tmp_path: Path) -> None:
    report = tmp_path / "tracer.html"
    status, document, _ = evaluate(
        tiny_tracer_model,
        "--protocol",
        "manifest",
        manifest,
        "--windows",
        "first",
        "--map",
        "t-sne",
        "--report",
        report,
    )
    assert status == 0
    assert document["detection"] is None
    assert document["tracer"].startswith("tiny-tracer 1 (SHA-256 ")
    assert document["tracing"]["overall"]["trials"] == 6
    assert len(document["tracing"]["embedding_map"]["x"]) == 6
    assert report.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tiny}"], "--protocol KIND PATH"),
        (["{tiny}", "--scores", "{scores}"], "not both"),
        (["no-such-model", "--protocol", "manifest", "{manifest}"], "no-such-model"),
        (["{tiny}", "--protocol", "odd", "{manifest}"], "expected one of manifest, multiapi"),
        (["{tiny}", "--protocol", "manifest", "{manifest}", "--split", "odd"], "no clips in split 'odd'"),
        (
            ["--scores", "{scores}", "--keys", "{scores}", "--protocol", "manifest", "{manifest}"],
            "--keys and --protocol",
        ),
        (["--scores", "{scores}", "--threshold", "1", "--dev-scores", "{scores}"], "fixed in one way"),
        (["--scores", "{scores}", "--threshold", "nan"], "not a finite number"),
        (["--scores", "{scores}", "--dev-keys", "{scores}"], "--dev-keys"),
        (["--scores", "{scores}", "--map", "umap"], "--map"),
        (["--scores", "{scores}", "--split", "x"], "--split"),
        (["--compare", "{scores}"], "needs two"),
        (["--compare", "{scores}", "--compare", "{scores}"], "named twice"),
        (["{tracer}", "--protocol", "manifest", "{manifest}", "--threshold", "1"], "is a tracer"),
        (["{tracer}", "--compare", "{tiny}", "--protocol", "manifest", "{manifest}"], "one by one"),
        (["{tiny}", "--protocol", "manifest", "{manifest}", "--scores-are", "raw"], "--scores-are"),
        (["--scores", "{manifest}"], "no column"),
        (["--scores", "{scores}", "--report", "{scores}/x.html"], "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    arguments: list[str],
    message: str,
    tiny_model: Path,
    tiny_tracer_model: Path,
    manifest: Path,
    scores: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"tiny": tiny_model, "tracer": tiny_tracer_model, "manifest": manifest, "scores": scores}
    assert run(["eval", *(argument.format(**places) for argument in arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_ctrl_c_keeps_what_is_done(
    tiny_model: Path,
    manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import spoofcheck.cli.measuring as measuring

    def interrupt(self, rows, total):
        for i, row in enumerate(rows):
            yield row
            if i == 4:
                raise KeyboardInterrupt

    command = ["eval", str(tiny_model), "--protocol", "manifest", str(manifest), "--work", str(tmp_path / "work")]
    with monkeypatch.context() as patch:
        patch.setattr(measuring._Watch, "__call__", interrupt)
        assert run([*command, "--device", "cpu"]) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert "the same command goes on from there" in err
    (kept,) = (tmp_path / "work").glob("*/rank-0.jsonl")
    assert len(kept.read_bytes().splitlines()) == 5
    assert run([*command, "--device", "cpu", "-q"]) == 0
    assert len(kept.read_bytes().splitlines()) == 12


@contextmanager
def one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def test_two_processes_give_what_one_gives(tiny_model: Path, manifest: Path, tmp_path: Path) -> None:
    """gloo on the CPU, launched through the real command; each scores its half, the first writes.

    Bit for bit with one window a pass and as many threads; otherwise sums are rounded apart by some 1e-6.
    """
    pytest.importorskip("lightning")
    base = ["eval", str(tiny_model), "--protocol", "manifest", str(manifest), "--bootstrap", "20", "--device", "cpu"]
    base += ["-q", "--workers", "1", "--batch-size", "1"]
    one, two = tmp_path / "1.json", tmp_path / "2.json"
    with one_thread():
        assert run([*base, "--json", str(one)]) == 0
    command = [*base, "--devices", "2", "--work", str(tmp_path / "work"), "--json", str(two)]
    done = subprocess.run(
        [sys.executable, "-m", "spoofcheck", *command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=900,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    shares = [len(path.read_bytes().splitlines()) for path in sorted((tmp_path / "work").glob("*/rank-*.jsonl"))]
    assert shares == [6, 6]
    documents = [json.loads(path.read_bytes()) for path in (one, two)]
    for key in ("data", "detection", "warnings", "eer", "cllr"):
        assert documents[0][key] == documents[1][key], key


@pytest.fixture
def trained_model(tiny_model: Path, manifest: Path, other_manifest: Path, tmp_path: Path) -> Path:
    """A model whose directory says that it was trained on `other_manifest`, with `manifest` as its dev set."""
    directory = tmp_path / "trained"
    shutil.copytree(tiny_model, directory)
    splits = {"train": read_manifest(other_manifest), "dev": read_manifest(manifest)}
    data = DataRecord(
        sha256={name: manifest_sha256(clips) for name, clips in splits.items()},
        clips={name: dict(Counter(clip.label for clip in clips)) for name, clips in splits.items()},
        seen_systems=("tts:B",),
        seen_speakers=3,
        problems=(),
        warnings=(),
    )
    run_record = RunRecord(
        epochs=1, best_epoch=1, metric=None, value=None, devices=1, precision="32-true", parameters=1, nuisance_auc=None
    )
    record = TrainingRecord(
        recipe={}, recipe_sha256="", spoofcheck="", git_commit=None, libraries={}, python="", data=data, run=run_record,
        figures={},
    )  # fmt: skip
    (directory / RECORD_FILE).write_text(record.model_dump_json())
    return directory


def test_a_models_own_record_tells_what_it_has_seen(
    evaluate, trained_model: Path, manifest: Path, other_manifest: Path
) -> None:
    status, document, _ = evaluate(trained_model, "--protocol", "manifest", manifest)
    assert status == 0
    seen, unseen = document["detection"]["by_seen"]
    by_system = {group["name"]: group["rates"] for group in document["detection"]["by_system"]}
    assert (seen["rates"], unseen["rates"]) == (by_system["tts:B"], by_system["tts:A"])
    assert "measured-on-dev" in {caveat["code"] for caveat in document["warnings"]}
    status, _, err = evaluate(trained_model, "--protocol", "manifest", other_manifest)
    assert status == 2
    assert "was trained on these very recordings" in err
