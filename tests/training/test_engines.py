from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import soundfile

from spoofcheck.errors import UsageError
from spoofcheck.training.engines import (
    Engine,
    Text,
    Utterance,
    Voice,
    known_engine,
    plan_utterances,
    read_texts,
    speak,
    speak_all,
    user_engine,
    with_voices,
)
from spoofcheck.training.made import Failed, Made

ROOT = Path(__file__).resolve().parents[2]
SPEAKER = """
import sys, wave, struct, math, time
text = open(sys.argv[1], encoding="utf-8").read()
mode = sys.argv[3] if len(sys.argv) > 3 else ""
if mode == "slow": time.sleep(60)
if mode == "fail": sys.exit("no such voice")
if mode == "none": sys.exit(0)
level = 0 if mode == "silent" else 9000
with wave.open(sys.argv[2], "wb") as out:
    out.setparams((1, 2, 8000, 0, "NONE", ""))
    for i in range(100 * len(text)):
        out.writeframes(struct.pack("<h", int(level * math.sin(i * 0.3))))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "speaker.py").write_text(SPEAKER)
    return tmp_path / "speaker.py"


def utterance(script: Path, out: Path, mode: str = "", words: str = "hello there") -> Utterance:
    engine = user_engine(f"mock={sys.executable} {script} {{text_file}} {{wav}} {mode}")
    return plan_utterances([engine], [Text(1, "en", words)], out, split="train", licence="CC0")[0]


def test_a_command_speaks_and_its_clip_is_described(script: Path, tmp_path: Path) -> None:
    made = speak(utterance(script, tmp_path / "out"), 20)
    assert isinstance(made, Made)
    clip = made.clip
    assert (clip.label, clip.system, clip.speaker, clip.language) == ("spoof", "tts:mock", "mock/default", "en")
    assert (clip.split, clip.licence, clip.codec, clip.sample_rate_hz) == ("train", "CC0", "flac/pcm_16", 8000)
    assert clip.duration_s == pytest.approx(100 * len("hello there\n") / 8000)
    assert soundfile.info(clip.path).format == "FLAC"


def test_a_second_run_keeps_clips_and_a_changed_text_is_spoken_again(script: Path, tmp_path: Path) -> None:
    first = speak(utterance(script, tmp_path), 20)
    again = speak(utterance(script, tmp_path), 20)
    changed = speak(utterance(script, tmp_path, words="something longer"), 20)
    assert isinstance(first, Made)
    assert isinstance(again, Made)
    assert isinstance(changed, Made)
    assert again.kept
    assert again.clip == first.clip
    assert not changed.kept
    assert changed.clip.sha1 != first.clip.sha1


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("slow", "not done within 1 s"),
        ("fail", "the engine ended with 1: no such voice"),
        ("none", "the engine wrote no sound file"),
        ("silent", "silence"),
    ],
)
def test_an_engine_that_fails_says_why_and_leaves_nothing(mode: str, reason: str, script: Path, tmp_path: Path) -> None:
    failed = speak(utterance(script, tmp_path / "out", mode), 1 if mode == "slow" else 20)
    assert isinstance(failed, Failed)
    assert reason in failed.reason
    assert not list(tmp_path.rglob("*.flac"))


def test_no_shell_sees_a_text(script: Path, tmp_path: Path) -> None:
    made = speak(utterance(script, tmp_path / "out", words=f"$(touch {tmp_path}/ran) `id` ; --help"), 20)
    assert isinstance(made, Made)
    assert not (tmp_path / "ran").exists()


def test_workers_change_nothing(script: Path, tmp_path: Path) -> None:
    engine = user_engine(f"mock={sys.executable} {script} {{text_file}} {{wav}}")
    texts = [Text(number, "en", "word " * number) for number in range(2, 6)]
    hashes = []
    for workers in (1, 3):
        plan = plan_utterances([engine], texts, tmp_path / str(workers))
        made = list(speak_all(plan, 20, workers))
        hashes.append([outcome.clip.sha1 for outcome in made if isinstance(outcome, Made)])
    assert len(hashes[0]) == 4
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("mock", "expected 'NAME=program"),
        ("../x=python3 {text_file} {wav}", "expected 'NAME=program"),
        ("mock=python3 {wav}", "{text_file} is missing"),
        ("mock=python3 {text_file}", "{wav} is missing"),
        ("mock=python3 {text_file} '{wav}", "No closing quotation"),
        ("mock=no-such-program-here {text_file} {wav}", "no-such-program-here is not a program on this machine"),
    ],
)
def test_templates_that_cannot_run_are_refused(template: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        user_engine(template)
    assert message in str(raised.value)


def test_a_missing_engine_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(
        UsageError, match="festival: text2wave is not installed; apt install festival festvox-kallpc16k"
    ):
        known_engine("festival", ["en"])
    with pytest.raises(UsageError, match="engine 'say', expected one of espeak-ng, flite, festival"):
        known_engine("say", ["en"])


@pytest.mark.parametrize("voice", ['x) (system "id")', "-x", "../x", "", "en@English"])
def test_voices_are_words(voice: str) -> None:
    with pytest.raises(UsageError, match="voice"):
        with_voices(Engine("festival", ("text2wave",), ()), [voice])


def test_voices_speak_their_language(tmp_path: Path) -> None:
    texts = [Text(1, "en", "one"), Text(2, "de", "zwei"), Text(3, "zh", "san"), Text(4, "-", "four")]
    engine = with_voices(Engine("espeak-ng", ("x",), ()), ["en-us+f3", "cmn", "de", "foo@en"])
    plan = plan_utterances([engine], texts, tmp_path)
    spoken = {voice: [item.text.number for item in plan if item.voice.name == voice] for voice in ("cmn", "de", "foo")}
    assert spoken == {"cmn": [3, 4], "de": [2, 4], "foo": [1, 4]}
    assert [item.text.number for item in plan if item.voice.name == "en-us+f3"] == [1, 4]
    with pytest.raises(UsageError, match="flite: no text in the language of any of its voices: slt"):
        plan_utterances([Engine("flite", ("x",), (Voice("slt", "en"),))], [Text(1, "de", "zwei")], tmp_path)


def test_per_voice_draws_by_name_and_seed(tmp_path: Path) -> None:
    texts = [Text(number, "en", "x") for number in range(1, 21)]
    engine = Engine("mock", ("x",), (Voice("a"), Voice("b")))

    def drawn(seed: int) -> list[tuple[str, int]]:
        plan = plan_utterances([engine], texts, tmp_path, per_voice=5, seed=seed)
        return [(item.voice.name, item.text.number) for item in plan]

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)
    assert [voice for voice, _ in drawn(0)] == ["a"] * 5 + ["b"] * 5
    assert {number for voice, number in drawn(0) if voice == "a"} != {n for voice, n in drawn(0) if voice == "b"}


def test_texts_have_languages_or_not(tmp_path: Path) -> None:
    file = tmp_path / "texts.tsv"
    file.write_text("# a comment\nen\tHello.\n\nNo language here.\n", encoding="utf-8")
    assert read_texts(file) == [Text(2, "en", "Hello."), Text(4, "-", "No language here.")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("English\tHello.", "line 1: language 'English'"),
        ("en\t", "line 1: expected a sentence"),
        ("en\ta\x1b[2Jb", "line 1: expected a sentence"),
        ("# nothing", "no sentence in it"),
    ],
)
def test_texts_that_cannot_be_spoken_are_named_by_line(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "texts.tsv").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(UsageError) as raised:
        read_texts(tmp_path / "texts.tsv")
    assert message in str(raised.value)


def test_our_texts_are_forty_in_nine_languages() -> None:
    texts = read_texts(ROOT / "train" / "texts.tsv")
    assert len(texts) == 40
    assert len({text.words for text in texts}) == 40
    assert {text.language for text in texts} == {"en", "de", "fr", "es", "it", "pt", "pl", "fi", "ru"}


@pytest.mark.parametrize(
    ("name", "program"), [("espeak-ng", "espeak-ng"), ("flite", "flite"), ("festival", "text2wave")]
)
def test_real_engines_speak(name: str, program: str, tmp_path: Path) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    engine = known_engine(name, ["en"])
    if not engine.voices:
        pytest.skip(f"{name} has no voice installed")
    plan = plan_utterances([engine], [Text(1, "en", "Good morning, everyone.")], tmp_path)
    assert {item.text.language for item in plan} == {"en"}
    made = speak(plan[0], 60)
    assert isinstance(made, Made), made
    assert made.clip.duration_s is not None
    assert 0.5 < made.clip.duration_s < 5
