"""`spoofcheck corpus` as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spoofcheck.cli import run
from spoofcheck.evaluation.protocols.manifest import read_manifest
from spoofcheck.training import engines
from spoofcheck.training.made import Failed, Made
from tests.support.audio import noise, tone, write_wav
from tests.training.test_gitclips import git


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve human clips of three speakers, and twelve louder spoofed ones of a system."""
    for index in range(12):
        for name, amplitude in (("real", 0.01), ("fake/vits", 0.4)):
            path = tmp_path / "clips" / name / str(index % 3) / f"{index}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_wav(path, noise(4000, amplitude * (1 + index / 50), seed=index), 16_000)
    return tmp_path / "clips"


def corpus(*words: object) -> int:
    return run(["corpus", *map(str, words)])


def test_build_verify_stats_and_check(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = tmp_path / "m.tsv"
    options = ["--layout", "folders", "--speaker-from", "parent", "--split-by-speaker", "50/50", "--language", "en"]
    assert corpus("build", folder, "--out", manifest, *options) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "24 clips" in captured.err
    clips = read_manifest(manifest)
    assert len(clips) == 24
    assert {(clip.label, clip.system) for clip in clips} == {("bonafide", "-"), ("spoof", "vits")}
    assert {clip.split for clip in clips} == {"train", "dev"}
    again = tmp_path / "again.tsv"
    corpus("build", folder, "--out", again, *options, "--workers", "3")
    assert again.read_bytes() == manifest.read_bytes()
    capsys.readouterr()

    assert corpus("verify", manifest) == 0
    assert capsys.readouterr().out == ""
    write_wav(clips[0].path, tone(1.0, 8000), 8000)
    assert corpus("verify", manifest, "--json") == 2
    document = json.loads(capsys.readouterr().out)
    assert document["clips"] == 24
    assert [item["path"] for item in document["problems"]] == [clips[0].name]

    assert corpus("stats", manifest, "--json") == 0
    totals = json.loads(capsys.readouterr().out)["totals"]
    assert sum(row["clips"] for row in totals) == 24
    assert corpus("stats", manifest, manifest) == 0
    assert "wav/pcm_16" in capsys.readouterr().out

    assert corpus("check", manifest, "--json") == 0
    captured = capsys.readouterr()
    shortcuts = {entry["feature"]: entry for entry in json.loads(captured.out)["shortcuts"]}
    assert shortcuts["level_dbfs"]["auc"] > 0.95
    assert shortcuts["level_dbfs"]["warning"]
    assert not shortcuts["codec"]["warning"]
    assert "warning: the label can be told" in captured.err
    assert corpus("check", manifest) == 0
    assert "level_dbfs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give either --label or --layout folders"),
        (["--label", "spoof", "--layout", "folders"], "give either --label or --layout folders"),
        (["--label", "bonafide", "--system", "x"], "--label bonafide has none"),
        (
            ["--label", "spoof", "--split", "a", "--split-by-speaker", "1/1"],
            "give either --split or --split-by-speaker",
        ),
        (["--label", "spoof", "--split-by-speaker", "most"], "expected shares of train/dev/eval"),
    ],
)
def test_build_refuses_options_that_contradict(
    options: list[str], message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert corpus("build", folder, "--out", tmp_path / "m.tsv", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "m.tsv").exists()


def test_build_tells_what_it_left_out_without_its_escapes(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "real" / "\x1b[2Jbroken.wav").write_bytes(b"nothing")
    assert corpus("build", folder, "--out", tmp_path / "m.tsv", "--layout", "folders") == 3
    captured = capsys.readouterr()
    assert r"\x1b[2Jbroken.wav" in captured.err
    assert "\x1b" not in captured.err
    assert "24 clips; 1 failed" in captured.err
    (tmp_path / "elsewhere").mkdir()
    assert corpus("build", folder, "--out", tmp_path / "elsewhere" / "m.tsv", "--label", "spoof") == 2


def test_extract_clones_extracts_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    git("init", "--quiet", ".", cwd=origin)
    write_wav(origin / "a.wav", tone(0.2, 16_000), 16_000)
    write_wav(origin / "b.wav", tone(0.3, 16_000), 16_000)
    git("add", "--all", cwd=origin)
    git("commit", "--quiet", "-m", "x", cwd=origin)
    commit = git("rev-parse", "HEAD", cwd=origin)
    (tmp_path / "sources.tsv").write_text(f"repo\tcommit\turl\nme/clips\t{commit}\tfile://{origin}\n")
    rows = "".join(f"{split}\tme/clips\t{path}\tbonafide\n" for split, path in (("train", "b.wav"), ("dev", "a.wav")))
    (tmp_path / "clips.tsv").write_text("split\trepo\tpath\tlabel\n" + rows + "train\tme/clips\tgone.wav\tspoof\n")
    words = ["extract", "--clips", tmp_path / "clips.tsv", "--sources", tmp_path / "sources.tsv"]
    words += ["--mirror", tmp_path / "mirror", "--out", tmp_path / "out"]
    assert corpus(*words) == 2
    assert "no copy of the repository" in capsys.readouterr().err
    assert corpus(*words, "--clone") == 3
    captured = capsys.readouterr()
    assert "gone.wav: not in the repository at this commit" in captured.err
    clips = read_manifest(tmp_path / "out" / "manifest.tsv")
    assert [clip.name for clip in clips] == ["b.wav", "a.wav"]
    assert clips[0].path.read_bytes() == (origin / "b.wav").read_bytes()
    assert corpus(*words, "--split", "dev") == 0
    assert [clip.name for clip in read_manifest(tmp_path / "out" / "manifest.tsv")] == ["a.wav"]
    assert corpus(*words, "--repo", "me/none") == 2
    assert "--repo me/none: no clip of it" in capsys.readouterr().err


def test_a_table_cannot_write_outside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sources.tsv").write_text(f"repo\tcommit\nme/clips\t{'a' * 40}\n")
    (tmp_path / "clips.tsv").write_text("repo\tpath\tlabel\nme/clips\t../../x.wav\tspoof\n")
    words = ["--clips", tmp_path / "clips.tsv", "--sources", tmp_path / "sources.tsv", "--mirror", tmp_path]
    assert corpus("extract", *words, "--out", tmp_path / "out") == 2
    assert "line 2" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips.tsv", "sources.tsv"]


def test_copies_of_a_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "human").mkdir()
    soundfile.write(tmp_path / "human" / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000)
    assert (
        corpus("build", tmp_path / "human", "--out", tmp_path / "m.tsv", "--label", "bonafide", "--split", "dev") == 0
    )
    words = ["copies", tmp_path / "m.tsv", "--out", tmp_path / "out", "--vocoder", "lpc", "--workers", "1"]
    assert corpus(*words, "--with-sources") == 0
    clips = read_manifest(tmp_path / "out" / "manifest.tsv")
    assert [(clip.label, clip.split) for clip in clips] == [("bonafide", "dev"), ("spoof", "dev")]
    assert corpus(*words, "--with-sources") == 0
    assert "2 of them from an earlier run" in capsys.readouterr().err
    assert corpus("copies", tmp_path / "m.tsv", "--out", tmp_path / "out", "--vocoder", "nope") == 2
    assert "unknown vocoders: nope" in capsys.readouterr().err
    assert corpus(*words, "--split", "train") == 2
    assert "no bona fide clip to copy" in capsys.readouterr().err


def test_an_interruption_keeps_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts.txt").write_text("One sentence.\nAnother sentence.\nA third.\n")
    script = tmp_path / "say.py"
    script.write_text(
        "import sys, shutil\nshutil.copy(sys.argv[1], sys.argv[1] + '.bak')\n"
        f"shutil.copy({str(write_wav(tmp_path / 'x.wav', tone(0.3, 16_000), 16_000))!r}, sys.argv[2])\n"
    )
    whole = engines.speak_all

    def interrupted(*arguments: object) -> Iterator[Made | Failed]:
        outcomes = whole(*arguments)  # type: ignore[arg-type]
        yield next(outcomes)
        yield next(outcomes)
        raise KeyboardInterrupt

    words = ["engines", "--command", f"say={sys.executable} {script} {{text_file}} {{wav}}"]
    words += ["--texts", str(tmp_path / "texts.txt"), "--out", str(tmp_path / "out"), "--split", "train"]
    with monkeypatch.context() as patch:
        patch.setattr(engines, "speak_all", interrupted)
        assert corpus(*words) == 130
    assert len(read_manifest(tmp_path / "out" / "manifest.tsv")) == 2
    capsys.readouterr()
    assert corpus(*words) == 0
    assert "3 clips, " in capsys.readouterr().err
    assert len(read_manifest(tmp_path / "out" / "manifest.tsv")) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give --engine or --command"),
        (["--engine", "say"], "engine 'say', expected one of"),
        (["--command", "x=nothing-here {text_file} {wav}"], "nothing-here is not a program"),
        (["--command", "x=python3 {text_file} {wav}", "--voices", "y=a"], "--voices 'y=a', expected ENGINE=VOICE"),
    ],
)
def test_engines_refuses_what_it_cannot_run(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert corpus("engines", "--out", tmp_path / "out", *words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_help_leaves_heavy_libraries_alone() -> None:
    code = (
        "import sys; from spoofcheck.cli import run; run(['corpus', 'copies', '--help']);"
        "print(*sys.modules.keys() & {'torch', 'librosa', 'sklearn', 'soundfile'}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.split() == []


def test_copies_without_the_extra_say_what_to_install(tmp_path: Path) -> None:
    words = ["corpus", "copies", str(tmp_path / "m.tsv"), "--out", str(tmp_path), "--vocoder", "lpc"]
    code = f"import sys; sys.modules['pyworld'] = None; from spoofcheck.cli import run; sys.exit(run({words!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip() == "spoofcheck: copies need pyworld: pip install 'spoofcheck[train]'"
