"""`spoofcheck scan` from the outside: exit codes, outputs, bad input. A tiny model stands in for the shipped one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

import spoofcheck
from spoofcheck.cli import run
from spoofcheck.schema import ScanDocument, Verdict
from tests.support.models import tiny_bundle, tiny_gate_config

ROOT = Path(__file__).resolve().parents[2]
RATE_HZ = 16_000


def write_noise(path: Path, seconds: float = 5.0, seed: int = 0, level: float = 0.1) -> Path:
    """Noise stands in for speech wherever `--no-vad` is given: the tiny model scores anything."""
    samples = np.random.default_rng(seed).normal(0, level, round(seconds * RATE_HZ)).astype(np.float32)
    soundfile.write(path, samples, RATE_HZ, format="WAV", subtype="PCM_16")
    return path


@pytest.fixture
def scan(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Runs a scan with the tiny model on the CPU; gives the exit code, the document and standard error."""

    def call(*arguments: str | Path) -> tuple[int, ScanDocument, str]:
        result = tmp_path / "result-of-scan.json"
        status = run(
            [
                "scan",
                "--no-controls",  # what a model of random weights says of them
                "--model",
                str(tiny_model),
                "--device",
                "cpu",
                "--json",
                str(result),
                *map(str, arguments),
            ]
        )
        return status, ScanDocument.model_validate_json(result.read_bytes()), capsys.readouterr().err

    return call


def test_an_exhibit_outside_validated_conditions_says_so_in_every_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_bundle(tmp_path / "strict", gate=tiny_gate_config(1e-9, 2e-9))
    recording = write_noise(tmp_path / "a.wav", seconds=9)
    outputs = {kind: tmp_path / f"result.{kind}" for kind in ("json", "jsonl", "csv")}
    written = [part for kind, path in outputs.items() for part in (f"--{kind}", str(path))]
    page = tmp_path / "result.html"
    status = run(
        [
            "scan",
            "--no-controls",
            "--model",
            str(model),
            "--device",
            "cpu",
            "--no-vad",
            *written,
            "--report",
            str(page),
            str(recording),
        ]
    )
    document = ScanDocument.model_validate_json(outputs["json"].read_bytes())
    (finding,) = document.findings
    assert status == 0
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert (finding.spoof_llr, finding.reasons[0].code) == (0.0, "outside-validated-conditions")
    assert finding.raw_score is not None
    distances = [window.validity_distance for window in finding.windows]
    assert None not in distances
    assert finding.validity_distance == pytest.approx(np.median(np.array(distances, np.float64)))
    assert {window.spoof_llr for window in finding.windows} == {0.0}
    assert document.model.validity is not None
    assert "outside-validated-conditions" in capsys.readouterr().out
    for kind in ("jsonl", "csv"):
        text = outputs[kind].read_text()
        assert "outside-validated-conditions" in text
        assert str(finding.validity_distance) in text
    html = page.read_text()
    assert "from the calibration data" in finding.reasons[0].message
    assert finding.reasons[0].message in html
    assert f'<td class="num">{finding.validity_distance:.2f}</td>' in html
    assert "A small distance does not show that the model is right" in html


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "recordings"
    path.mkdir()
    return path


def test_exit_codes_follow_the_findings(scan, folder: Path) -> None:
    write_noise(folder / "a.wav")
    assert scan("--no-vad", "--threshold", "-100", folder)[0] == 1
    assert scan("--threshold", "nan", folder)[0] == 2
    assert scan("--no-vad", "--threshold", "100", folder)[0] == 0
    assert scan("--threshold", "100", folder)[0] == 3, "noise has no speech: nothing was scored"
    (folder / "b.wav").write_text("no audio")
    assert scan("--no-vad", "--threshold", "100", folder)[0] == 3
    assert scan("--no-vad", "--threshold", "-100", folder)[0] == 1
    assert scan(folder / "b.wav")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scan"], "name at least one recording or folder"),
        (["scan", "{empty}"], "no recordings found"),
        (["scan", "{empty}", "--json", "{empty}/missing/x.json"], "cannot be written"),
        (["scan", "{empty}", "--json", "-", "--csv", "-"], "two outputs name the same place"),
        (["scan", "{empty}", "--batch-size", "0"], "neither 'auto' nor a number"),
        (["scan", "{noise}", "--model", "no-such-model"], "no-such-model"),
        (["scan", "{noise}", "--model", "{tiny}", "--hop", "5"], "speech would go unheard"),
        (["scan", "{noise}", "--model", "{tiny}", "--hop", "0"], "speech would go unheard"),
        (["scan", "{noise}", "--model", "{tiny}", "--device", "cuda"], "not available"),
        (["scan", "{noise}", "--channels", "left"], "left"),
        (["scan", "{noise}", "--model", "{tiny}", "--trace-all"], "name one with --tracer"),
        (["scan", "{noise}", "--model", "{tiny}", "--tracer", "{tiny}"], "only a tracer can be given with --tracer"),
        (["scan", "{noise}", "--model", "{tiny}", "--tracer", "no-such-tracer"], "no-such-tracer"),
        (["scan", "{noise}", "--model", "{tiny}", "--sources", "{noise}"], "name one with --tracer"),
        (["scan", "{noise}", "--model", "{tiny}", "--unknowns", "{empty}/case.json"], "name one with --tracer"),
        (["scan", "{noise}", "--no-trace", "--trace-all"], "--no-trace contradicts --trace-all"),
        (["scan", "{noise}", "--no-trace", "--tracer", "x"], "--no-trace contradicts --tracer"),
        (["scan", "{noise}", "--no-trace", "--sources", "x"], "--no-trace contradicts --sources"),
        (["scan", "{noise}", "--no-trace", "--unknowns", "x"], "--no-trace contradicts --unknowns"),
        (["scan", "{noise}", "--no-sources", "--sources", "x"], "--no-sources contradicts --sources"),
        (["scan", "{noise}", "--unknowns", "-"], "the names are kept in a file"),
        (["scan", "{noise}", "--json", "{empty}/x", "--unknowns", "{empty}/x"], "two outputs name the same place"),
        (["scan", "--nonsense"], "nonsense"),
        (["report", "{noise}"], "noise.wav"),
        (["report", "{empty}/missing.json"], "missing.json"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    places = {"empty": empty, "noise": write_noise(tmp_path / "noise.wav"), "tiny": tiny_model}
    assert run([argument.format(**places) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_bad_inputs_cost_nobody_else_anything(scan, folder: Path) -> None:
    bad = {
        "empty.wav": b"",
        "text.wav": b"this is no audio\n" * 20,
        "header-only.wav": write_noise(folder / "x.wav").read_bytes()[:44],
        "zero-length.wav": _wav_bytes(folder, np.zeros(0, np.float32)),
        "nan.wav": _wav_bytes(folder, np.full(RATE_HZ, np.nan, np.float32), "FLOAT"),
    }
    for name, data in bad.items():
        (folder / name).write_bytes(data)
    (folder / "x.wav").unlink()
    (folder / "folder.wav").mkdir()
    (folder / "pipe.wav").unlink(missing_ok=True)
    os.mkfifo(folder / "pipe.wav")
    good = {
        "good.wav": write_noise(folder / "good.wav").read_bytes(),
        "one-sample.wav": _wav_bytes(folder, np.full(1, 0.5, np.float32)),
        "wrong-extension.mp3": write_noise(folder / "y.wav", seed=1).read_bytes(),
    }
    (folder / "y.wav").unlink()
    for name, data in good.items():
        (folder / name).write_bytes(data)

    status, document, err = scan("--no-vad", "--threshold", "100", folder)

    verdicts = {Path(finding.path).name: finding for finding in document.findings}
    skipped = {name for name, finding in verdicts.items() if finding.verdict == "skipped"}
    assert skipped == {*bad, "pipe.wav"}
    assert {name for name, f in verdicts.items() if f.raw_score is not None} == set(good)
    assert all(len(f.reasons[0].message) > 10 and "\n" not in f.reasons[0].message for f in document.findings)
    assert "Traceback" not in err
    assert status == 3


def _wav_bytes(folder: Path, samples: np.ndarray, subtype: str = "PCM_16") -> bytes:
    path = folder / "scratch.wav"
    soundfile.write(path, samples, RATE_HZ, format="WAV", subtype=subtype)
    data = path.read_bytes()
    path.unlink()
    return data


HOSTILE = [
    b"new\nline.wav",
    b"esc\x1b[31mred.wav",
    b"quote\"'.wav",
    b"<script>alert(1)<.wav",
    b"not-utf8-\xff.wav",
    b"-dash.wav",
    "right-to-left\u202egnp.wav".encode(),
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_are_scored_and_never_printed_raw(
    name: bytes, folder: Path, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_noise(tmp_path / "source.wav")
    (folder / os.fsdecode(name)).write_bytes(source.read_bytes())
    outputs = {option: tmp_path / f"out{option}" for option in ("--json", "--jsonl", "--csv", "--report")}
    arguments = ["scan", str(folder), "--no-controls", "--model", str(tiny_model), "--no-vad", "--device", "cpu"]
    for option, target in outputs.items():
        arguments += [option, str(target)]
    assert run(arguments) in (0, 1)
    out, err = capsys.readouterr()
    for text in (out, err):
        assert "\x1b[31m" not in text
        assert "\u202e" not in text
    page = outputs["--report"].read_text(encoding="utf-8")
    assert "<script>alert" not in page
    document = ScanDocument.model_validate_json(outputs["--json"].read_bytes())
    assert document.findings[0].raw_score is not None
    assert document.findings[0].path.endswith(name.decode("utf-8", "backslashreplace"))


def test_two_files_of_one_name_stay_two_findings(scan, folder: Path) -> None:
    (folder / "x").mkdir()
    write_noise(folder / "a.wav", seed=1)
    write_noise(folder / "x" / "a.wav", seed=2)
    document = scan("--no-vad", folder)[1]
    assert [Path(f.path).relative_to(folder).as_posix() for f in document.findings] == ["a.wav", "x/a.wav"]
    assert len({f.sha256 for f in document.findings}) == 2


def test_unreadable_files_are_named(scan, folder: Path) -> None:
    locked = write_noise(folder / "locked.wav")
    locked.chmod(0)
    if os.access(locked, os.R_OK):
        pytest.skip("this user may read anything")
    assert scan(locked)[1].findings[0].reasons[0].code == "permission-denied"


def test_numbers_do_not_depend_on_batch_order_or_workers(scan, folder: Path) -> None:
    for seed in range(5):
        write_noise(folder / f"{seed}.wav", seconds=3 + 4 * seed, seed=seed, level=0.02 * (seed + 1))
    files = sorted(folder.iterdir())

    def llrs(*arguments: str | Path) -> dict[str, list[float]]:
        document = scan("--no-vad", "--no-store", *arguments)[1]
        return {f.path: [f.spoof_llr, *(w.spoof_llr for w in f.windows)] for f in document.findings}

    reference = llrs("--batch-size", "1", "--workers", "1", *files)
    assert len({tuple(values) for values in reference.values()}) == len(files), "files must differ to be told apart"
    for arguments in (("--batch-size", "3"), ("--batch-size", "64", "--workers", "4")):
        for order in (files, files[::-1], files[2:3]):
            for path, values in llrs(*arguments, *order).items():
                assert values == reference[path]


def test_findings_come_in_input_order_with_absolute_window_times(scan, folder: Path) -> None:
    long, short = write_noise(folder / "b.wav", 10.5), write_noise(folder / "a.wav", 1.0)
    document = scan("--no-vad", "--hop", "4", long, short)[1]
    assert [Path(f.path).name for f in document.findings] == ["b.wav", "a.wav"]
    assert [(w.start_s, w.end_s) for w in document.findings[0].windows] == [(0, 4), (4, 8), (6.5, 10.5)]
    assert [(w.start_s, w.end_s) for w in document.findings[1].windows] == [(0, 1)]


def test_stereo_legs_are_scored_apart_and_a_copy_is_mixed(scan, folder: Path) -> None:
    left, right = (np.random.default_rng(seed).normal(0, 0.1, 5 * RATE_HZ) for seed in (1, 2))
    soundfile.write(folder / "call.wav", np.stack([left, right], axis=1), RATE_HZ)
    soundfile.write(folder / "same.wav", np.stack([left, left], axis=1), RATE_HZ)

    def channels(mode: str) -> list[tuple[str, int | None]]:
        return [(Path(f.path).stem, f.channel) for f in scan("--no-vad", "--channels", mode, folder)[1].findings]

    assert channels("auto") == [("call", 0), ("call", 1), ("same", None)]
    assert channels("mix") == [("call", None), ("same", None)]
    assert channels("each") == [("call", 0), ("call", 1), ("same", 0), ("same", 1)]


def test_globs_and_file_lists_choose_the_inputs(scan, folder: Path, tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav", "c.flac.wav"):
        write_noise(folder / name, 1.0)
    listing = tmp_path / "list.txt"
    listing.write_text(f"{folder / 'b.wav'}\n{folder / 'missing.wav'}\n")

    def names(*arguments: str | Path) -> list[str]:
        return [Path(f.path).name for f in scan("--no-vad", *arguments)[1].findings]

    assert names(folder, "--include", "a*", "--include", "b*") == ["a.wav", "b.wav"]
    assert names(folder, "--exclude", "*.flac.wav") == ["a.wav", "b.wav"]
    assert names("--files-from", listing) == ["b.wav", "missing.wav"]


def test_flagged_exhibits_are_traced_and_no_others_unless_asked(scan, folder: Path, tiny_tracer_model: Path) -> None:
    for seed in range(6):
        write_noise(folder / f"{seed}.wav", seconds=4 + 2 * seed, seed=seed, level=0.01 * 3**seed)
    llrs = sorted(f.spoof_llr for f in scan("--no-vad", folder)[1].findings)
    threshold = str((llrs[2] + llrs[3]) / 2)
    common = ("--no-vad", "--threshold", threshold, "--tracer", tiny_tracer_model)
    document = scan(*common, folder)[1]
    assert document.tracer is not None
    assert document.tracer.classes == ("A0", "A1", "A2")
    assert document.tracer.weights_sha256 != document.model.weights_sha256
    assert document.options.trace_all is False
    assert {f.verdict in ("spoof", "partial") for f in document.findings} == {True, False}
    for finding in document.findings:
        assert (finding.trace is not None) == (finding.verdict in ("spoof", "partial"))
        if finding.trace is None:
            assert finding.sources == ()
            continue
        assert sum(source.similarity for source in finding.sources) == pytest.approx(1)
        flagged = sum(w.spoof_llr >= document.options.window_threshold_llr for w in finding.windows)
        assert finding.trace.windows == (flagged or len(finding.windows))
        is_known = finding.sources[0].similarity >= 0.5
        assert finding.trace.decision == (finding.sources[0].name if is_known else "unknown")
    everything = scan(*common, "--trace-all", folder)[1]
    assert everything.options.trace_all is True
    assert all(finding.trace is not None for finding in everything.findings)
    for some, every in zip(document.findings, everything.findings, strict=True):
        assert some.trace is None or (some.trace, some.sources) == (every.trace, every.sources)
    assert [f.spoof_llr for f in everything.findings] == [f.spoof_llr for f in document.findings]


def test_traces_do_not_depend_on_batch_order_or_workers(scan, folder: Path, tiny_tracer_model: Path) -> None:
    for seed in range(3):
        write_noise(folder / f"{seed}.wav", seconds=5 + 6 * seed, seed=seed, level=0.01 * 5**seed)
    files = sorted(folder.iterdir())
    common = ("--no-vad", "--no-store", "--threshold", "-100", "--tracer", tiny_tracer_model)

    def traces(*arguments: str | Path) -> dict[str, list[object]]:
        findings = scan(*common, *arguments)[1].findings
        return {f.path: [f.trace.decision, *((s.name, s.similarity) for s in f.sources)] for f in findings}

    reference = traces("--batch-size", "1", "--workers", "1", *files)
    similarities = {path: [s for _, s in values[1:]] for path, values in reference.items()}
    assert len({tuple(values) for values in similarities.values()}) == len(files), "files must differ"
    for arguments in (("--batch-size", "3", *files[::-1]), ("--batch-size", "64", "--workers", "3", *files)):
        for path, values in traces(*arguments).items():
            assert values == reference[path]


def test_each_leg_of_a_call_is_traced_by_itself(scan, folder: Path, tiny_tracer_model: Path) -> None:
    rng = np.random.default_rng(0)
    left, right = rng.normal(0, 0.01, 9 * RATE_HZ), rng.normal(0, 0.2, 9 * RATE_HZ)
    soundfile.write(folder / "call.wav", np.stack([left, right], axis=1), RATE_HZ, subtype="FLOAT")
    soundfile.write(folder / "left.wav", left, RATE_HZ, subtype="FLOAT")
    document = scan("--no-vad", "--threshold", "-100", "--trace-all", "--tracer", tiny_tracer_model, folder)[1]
    first, second, alone = document.findings
    assert [f.channel for f in document.findings] == [0, 1, None]
    assert first.sources[0].similarity != second.sources[0].similarity
    assert first.sources == alone.sources


def test_a_file_that_vanishes_before_it_is_traced_keeps_its_verdict(
    scan, folder: Path, tiny_tracer_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spoofcheck.detect.scan import Scanner

    path = write_noise(folder / "a.wav")
    read_again = Scanner._read_again

    def vanished(scanner: Scanner, summary: object) -> object:
        path.unlink()
        return read_again(scanner, summary)

    monkeypatch.setattr(Scanner, "_read_again", vanished)
    status, document, _ = scan("--no-vad", "--threshold", "-100", "--tracer", tiny_tracer_model, folder)
    (finding,) = document.findings
    assert status == 1
    assert finding.verdict == "spoof"
    assert finding.trace is None
    assert [reason.code for reason in finding.reasons[-2:]] == ["not-traced", "changed-after-examination"]


def test_every_output_speaks_of_likeness(
    folder: Path, tmp_path: Path, tiny_model: Path, tiny_tracer_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_noise(folder / "a.wav")
    outputs = {option: tmp_path / f"out{option}" for option in ("--json", "--jsonl", "--csv", "--report")}
    arguments = [
        "scan",
        str(folder),
        "--no-controls",
        "--model",
        str(tiny_model),
        "--no-vad",
        "--device",
        "cpu",
        "--threshold",
        "-100",
    ]
    for option, target in outputs.items():
        arguments += [option, str(target)]
    assert run([*arguments, "--tracer", str(tiny_tracer_model)]) == 1
    out, err = capsys.readouterr()
    assert "of 3 known sources" in out
    assert "Traced: 1 exhibit (" in err
    assert "of 3 known sources" in outputs["--csv"].read_text()
    assert "of 3 known sources" in outputs["--report"].read_text()
    assert json.loads(outputs["--jsonl"].read_text())["trace"]["enrolled"] == 3
    document = ScanDocument.model_validate_json(outputs["--json"].read_bytes())
    assert document.findings[0].trace is not None


def test_the_document_says_what_is_needed_to_repeat_the_scan(scan, folder: Path, tiny_model: Path) -> None:
    import hashlib

    path = write_noise(folder / "a.wav")
    document = scan("--no-vad", "--hop", "2", path)[1]
    weights = (tiny_model / "model.safetensors").read_bytes()
    assert document.model.weights_sha256 == hashlib.sha256(weights).hexdigest()
    assert document.findings[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert document.tool.version == spoofcheck.__version__
    assert document.options.hop_s == 2
    assert document.options.vad is False
    assert document.options.device == "cpu"
    assert document.run.complete is True
    assert document.findings[0].media is not None
    assert document.findings[0].media.size_bytes == path.stat().st_size


def test_a_saved_result_renders_again_without_torch(scan, folder: Path, tmp_path: Path) -> None:
    write_noise(folder / "a.wav")
    first = tmp_path / "first.html"
    scan("--no-vad", folder, "--report", first)
    again = tmp_path / "again.html"
    code = (
        "import sys; from spoofcheck.cli import run\n"
        f"status = run(['report', {str(tmp_path / 'result-of-scan.json')!r}, '--html', {str(again)!r}])\n"
        "print(status, sorted({'torch', 'numpy', 'transformers', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "0 []\n"
    assert again.read_bytes() == first.read_bytes()


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from spoofcheck.cli import run; run(['scan', '--help'])\n"
        "print(sorted({'torch', 'numpy', 'scipy', 'jinja2', 'soundfile'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.rstrip().endswith("[]")
    assert "--threshold" in done.stdout


def test_standard_output_holds_the_document_only(
    folder: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_noise(folder / "a.wav")
    run(["scan", str(folder), "--no-controls", "--model", str(tiny_model), "--no-vad", "--json", "-"])
    out, err = capsys.readouterr()
    assert len(ScanDocument.model_validate_json(out).findings) == 1
    assert "1" in err
    run(["scan", str(folder), "--no-controls", "--model", str(tiny_model), "--no-vad", "--quiet", "--jsonl", "-"])
    out, err = capsys.readouterr()
    assert len([json.loads(line) for line in out.splitlines()]) == 1
    assert err == ""


_MANY = 400


def _is_reading(pid: int, name: str) -> bool:
    """Whether a process has a file of this name open; by Linux's own account."""
    for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            if descriptor.readlink().name == name:
                return True
        except OSError:  # closed meanwhile
            continue
    return False


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="asks Linux what a process is reading")
def test_ctrl_c_keeps_what_is_done(folder: Path, tiny_model: Path, tmp_path: Path) -> None:
    for n in range(3):
        write_noise(folder / f"{n:03}.wav", 2.0, seed=n)
    write_noise(folder / "003.wav", 300.0, seed=3)
    for n in range(4, _MANY):  # far more than can be read before the interrupt
        (folder / f"{n:03}.wav").hardlink_to(folder / "003.wav")
    result = tmp_path / "result.jsonl"
    command = [
        sys.executable,
        "-m",
        "spoofcheck",
        "scan",
        str(folder),
        "--no-controls",
        "--model",
        str(tiny_model),
        "--no-vad",
    ]
    process = subprocess.Popen(
        [*command, "--no-store", "--jsonl", str(result), "--batch-size", "1"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        # A test run in the background ignores interrupts, and its children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    until = time.monotonic() + 120
    while time.monotonic() < until and not _is_reading(process.pid, "003.wav"):
        time.sleep(0.02)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert 1 <= len(result.read_text().splitlines()) < _MANY
    assert "Traceback" not in err
    assert re.search(r"interrupted|stopped|not complete|incomplete", err, re.IGNORECASE)


def test_the_schema_command_prints_a_schema_that_fits(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert {"schema_version", "findings", "model", "tool"} <= set(schema["properties"])


def test_the_python_api_yields_findings_lazily(folder: Path, tiny_model: Path) -> None:
    from spoofcheck.detect.scan import ScanOptions

    for seed in range(3):
        write_noise(folder / f"{seed}.wav", seed=seed)
    findings = spoofcheck.scan([folder], model=tiny_model, options=ScanOptions(vad=False, device="cpu"))
    first = next(findings)
    assert Path(first.path).name == "0.wav"
    assert first.raw_score is not None
    findings.close()
