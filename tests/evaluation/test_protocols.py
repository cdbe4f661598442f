"""Every layout on a tiny data set of its own, and what none of them may accept."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoofcheck.errors import UsageError
from spoofcheck.evaluation.clips import Clip
from spoofcheck.evaluation.protocols import ProtocolKind, read_protocol
from spoofcheck.evaluation.protocols.lines import LABELS, Line, parse_label

LIST_KINDS = {
    ProtocolKind.MULTIAPI: "{} A0 spoof\n",
    ProtocolKind.LABELS: "{} spoof\n",
    ProtocolKind.IN_THE_WILD: "{},Someone,spoof\n",
    ProtocolKind.MLAAD: "{}|x\n",
    ProtocolKind.MANIFEST: "{}\tspoof\n",
}
"""A line of each kind that names its audio by path."""
HEADERS = {
    ProtocolKind.IN_THE_WILD: "file,speaker,label\n",
    ProtocolKind.MLAAD: "path|transcript\n",
    ProtocolKind.MANIFEST: "path\tlabel\n",
}
ID_KINDS = {
    ProtocolKind.ASVSPOOF2019_LA: "LA_0079 {} - A01 {}\n",
    ProtocolKind.ASVSPOOF2021_LA: "LA_0009 {} alaw ita_tx A07 {} notrim eval\n",
    ProtocolKind.ASVSPOOF2021_DF: "LA_0043 {} mp3m4a asvspoof A09 {} notrim eval traditional_vocoder - - - -\n",
    ProtocolKind.ASVSPOOF5: "E_0001 {} F C05 3 7 AC2 A17 {} -\n",
}
"""A line of each kind that names its audio by utterance id."""


def written(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def touched(root: Path, *names: str) -> Path:
    for name in names:
        written(root / name, b"")
    return root


def fault(kind: str, path: Path, root: Path | None = None, split: str | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        read_protocol(kind, path, root=root, split=split)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_kind_it_does_not_know_is_answered_with_those_it_knows(tmp_path: Path) -> None:
    message = fault("asvspoof2015", tmp_path)
    assert "'asvspoof2015'" in message
    assert all(kind in message for kind in ProtocolKind)


# --- lists


def test_multiapi(tmp_path: Path) -> None:
    path = written(tmp_path / "MultiAPI_dev.txt", "a/1.mp3 A0 spoofed\n2.mp3 - bonafide\n3.mp3 A12 spoof\n")
    spoof, human, other = read_protocol("multiapi", path)
    assert spoof == Clip("a/1.mp3", tmp_path / "a/1.mp3", "spoof", system="A0", repo="MultiAPI Spoof", split="dev")
    assert (human.name, human.label, human.system) == ("2.mp3", "bonafide", "-")
    assert other.system == "A12"


def test_multiapi_without_apis_and_with_blanks_in_names(tmp_path: Path) -> None:
    path = written(tmp_path / "list.txt", "my file.mp3\tspoof\r\nother.mp3 bonafide\r\n")
    assert [(clip.name, clip.label, clip.system, clip.split) for clip in read_protocol("multiapi", path)] == [
        ("my file.mp3", "spoof", "-", "-"),
        ("other.mp3", "bonafide", "-", "-"),
    ]


def test_human_speech_by_an_api_is_a_contradiction(tmp_path: Path) -> None:
    path = written(tmp_path / "list.txt", "1.mp3 - bonafide\n2.mp3 A3 bonafide\n")
    assert "line 2: label 'bonafide' contradicts system 'A3'" in fault("multiapi", path)


@pytest.mark.parametrize(
    "text",
    [
        "a.wav bonafide\nb.wav spoof melgan\n",
        "a.wav\tbonafide\nb.wav\tspoof\tmelgan\n",
        "a.wav,bonafide\nb.wav,spoof,melgan\n",
        "a.wav, bonafide\nb.wav, spoof, melgan\n",
        '"a.wav",bonafide\n"b.wav","spoof","melgan"\n',
        "path label\na.wav bonafide\nb.wav spoof melgan\n",
        "file,label,system\na.wav,bonafide,-\nb.wav,spoof,melgan\n",
        "\ufeffa.wav Bona-Fide\r\n\r\n   \r\nb.wav FAKE melgan\r\n",
        "a.wav bonafide human\nb.wav spoof melgan",
    ],
)
def test_labels_in_any_dress(tmp_path: Path, text: str) -> None:
    human, spoof = read_protocol("labels", written(tmp_path / "l.txt", text))
    assert human == Clip("a.wav", tmp_path / "a.wav", "bonafide")
    assert spoof == Clip("b.wav", tmp_path / "b.wav", "spoof", system="melgan")


def test_labels_keep_blanks_and_commas_that_do_not_separate(tmp_path: Path) -> None:
    tabs = read_protocol("labels", written(tmp_path / "t", "a b, c.wav\treal\n"))
    commas = read_protocol("labels", written(tmp_path / "c", '"a b, c.wav",real\n'))
    blanks = read_protocol("labels", written(tmp_path / "b", "ab,c.wav real\n"))
    assert [clips[0].name for clips in (tabs, commas, blanks)] == ["a b, c.wav", "a b, c.wav", "ab,c.wav"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a.wav bonafide\nb.wav spof\n", "line 2: label 'spof', expected one of bonafide, "),
        ("a.wav bonafide\nb.wav\n", "line 2: 1 fields, expected `path label [system]`"),
        ("a.wav bonafide\nmy long name.wav spoof\n", "line 2: 4 fields, expected `path label [system]`; separate"),
        ('a.wav,bonafide\n"b.wav,spoof\n', "line 2: not comma-separated values"),
        ("a.wav bonafide\n\nb.wav spoof\n\na.wav bonafide\n", "line 5: 'a.wav' again, it is already in line 1"),
    ],
)
def test_labels_name_the_line_that_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path / "l.txt", text)
    assert f"{path}: {said}" in fault("labels", path)


# --- ASVspoof


def test_asvspoof_2019_la(tmp_path: Path) -> None:
    touched(tmp_path, "LA_train/flac/LA_T_1138215.flac", "LA_dev/wav/LA_D_1.wav", "LA_dev/wav/LA_D_1.txt")
    path = written(
        tmp_path / "protocols/ASVspoof2019.LA.cm.all.txt",
        "LA_0079 LA_T_1138215 - - bonafide\nLA_0080 LA_D_1 - A01 spoof\nLA_0081 LA_E_7 - A19 spoof\n",
    )
    train, dev, evaluation = read_protocol("asvspoof2019-la", path, root=tmp_path)
    assert train == Clip(
        "LA_T_1138215", tmp_path / "LA_train/flac/LA_T_1138215.flac", "bonafide", speaker="LA_0079", split="train",
        repo="ASVspoof 2019 LA",
    )  # fmt: skip
    assert (dev.path, dev.system, dev.split) == (tmp_path / "LA_dev/wav/LA_D_1.wav", "A01", "dev")
    assert (evaluation.path, evaluation.split) == (tmp_path / "LA_E_7.flac", "eval")  # not there: the audit says so


def test_asvspoof_2021_la(tmp_path: Path) -> None:
    path = written(
        touched(tmp_path, "flac/LA_E_9332881.flac") / "trial_metadata.txt",
        "LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval\n"
        "LA_0020 LA_E_1 none - bonafide bonafide notrim progress\n",
    )
    spoof, human = read_protocol("asvspoof2021-la", path)
    assert spoof == Clip(
        "LA_E_9332881", tmp_path / "flac/LA_E_9332881.flac", "spoof", system="A07", speaker="LA_0009", split="eval",
        codec="alaw", repo="ASVspoof 2021 LA",
    )  # fmt: skip
    assert (human.system, human.codec, human.split) == ("-", "none", "progress")


def test_asvspoof_2021_df(tmp_path: Path) -> None:
    path = written(
        tmp_path / "trial_metadata.txt",
        "LA_0023 DF_E_2000011 nocodec asvspoof A14 spoof notrim progress traditional_vocoder - - - -\n"
        "TEF2 DF_E_2000013 low_m4a vcc2020 Task1-team20 spoof notrim eval neural_vocoder Task1 team20 FF E\n"
        "LA_0043 DF_E_2000026 mp3m4a asvspoof - bonafide notrim eval bonafide - - - -\n",
    )
    first, second, human = read_protocol("asvspoof2021-df", path)
    assert (first.system, first.codec, first.corpus, first.split) == ("A14", "nocodec", "asvspoof", "progress")
    assert (second.system, second.corpus, second.speaker) == ("Task1-team20", "vcc2020", "TEF2")
    assert (human.label, human.system) == ("bonafide", "-")


def test_asvspoof5(tmp_path: Path) -> None:
    path = written(
        tmp_path / "ASVspoof5.eval.track_1.tsv",
        "T_4850 T_0000000000 F - - - AC3 A05 spoof -\n"
        "D_0106\tD_0000000022\tM\t-\t-\t-\t-\tbonafide\tbonafide\t-\n"
        "E_0906 E_0005148411 M C05 3 7 AC2 A17 spoof -\n",
    )
    train, dev, evaluation = read_protocol("asvspoof5", path)
    assert (train.system, train.split, train.codec, train.speaker) == ("A05", "train", "-", "T_4850")
    assert (dev.label, dev.system, dev.split) == ("bonafide", "-", "dev")
    assert (evaluation.system, evaluation.split, evaluation.codec) == ("A17", "eval", "C05")


@pytest.mark.parametrize(("kind", "line"), ID_KINDS.items())
def test_asvspoof_lines_that_make_no_sense(tmp_path: Path, kind: ProtocolKind, line: str) -> None:
    good = line.format("E_1", "spoof")
    for bad, said in (
        (line.format("E_2", "genuin"), "line 2: label 'genuin', expected one of"),
        (line.format("E_1", "spoof"), "line 2: 'E_1' again, it is already in line 1"),
        (line.format("../E_2", "spoof"), "line 2: utterance '../E_2'"),
        (line.format("..", "spoof"), "line 2: path '..': leaves"),
        (line.format("E_2", "bonafide"), "line 2: label 'bonafide' contradicts system 'A"),
        ("E_2 spoof\n", "line 2: 2 fields, expected `speaker utterance"),
    ):
        assert said in fault(kind, written(tmp_path / "keys.txt", good + bad))


def test_an_attack_cannot_be_human(tmp_path: Path) -> None:
    path = written(tmp_path / "keys.txt", "S E_1 - bonafide spoof\n")
    assert "line 1: label 'spoof' contradicts attack 'bonafide'" in fault("asvspoof2019-la", path)


def test_an_utterance_in_two_formats_is_the_published_one(tmp_path: Path) -> None:
    touched(tmp_path, "a/E_1.wav", "b/E_1.flac", "c/E_1.mp3")
    (clip,) = read_protocol("asvspoof2019-la", written(tmp_path / "k.txt", "S E_1 - A01 spoof\n"))
    assert clip.path == tmp_path / "b/E_1.flac"


def test_an_utterance_that_is_there_twice_is_ambiguous(tmp_path: Path) -> None:
    touched(tmp_path, "a/E_1.flac", "b/E_1.flac")
    path = written(tmp_path / "k.txt", "S E_1 - A01 spoof\n")
    assert "line 1: utterance 'E_1' is there 2 times: 'a/E_1.flac' and 'b/E_1.flac'" in fault("asvspoof2019-la", path)


def test_an_id_with_a_dot_is_not_cut(tmp_path: Path) -> None:
    touched(tmp_path, "E_1.5.flac", "E_1.flac")
    (clip,) = read_protocol("asvspoof2019-la", written(tmp_path / "k.txt", "S E_1.5 - A01 spoof\n"))
    assert clip.path == tmp_path / "E_1.5.flac"


def test_linked_audio_is_found_and_circles_end(tmp_path: Path) -> None:
    elsewhere = touched(tmp_path / "disk2", "E_1.flac")
    root = touched(tmp_path / "set", "readme.txt")
    (root / "flac").symlink_to(elsewhere, target_is_directory=True)
    (root / "again").symlink_to(root, target_is_directory=True)
    (root / "self").symlink_to("self")
    (clip,) = read_protocol("asvspoof2019-la", written(tmp_path / "k.txt", "S E_1 - A01 spoof\n"), root=root)
    assert clip.path == root / "flac/E_1.flac"


def test_a_root_that_is_not_there_is_said(tmp_path: Path) -> None:
    path = written(tmp_path / "k.txt", "S E_1 - A01 spoof\n")
    assert "nowhere: cannot be read as a folder" in fault("asvspoof2019-la", path, root=tmp_path / "nowhere")


# --- tables


def test_in_the_wild(tmp_path: Path) -> None:
    written(tmp_path / "meta.csv", 'file,speaker,label\n0.wav,Alec Guinness,spoof\n1.wav,"King, Jr.",bona-fide\n')
    for path in (tmp_path / "meta.csv", tmp_path):
        spoof, human = read_protocol("in-the-wild", path)
        assert spoof == Clip("0.wav", tmp_path / "0.wav", "spoof", speaker="Alec Guinness", repo="In-the-Wild")
        assert (human.label, human.speaker) == ("bonafide", "King, Jr.")


def test_in_the_wild_columns_come_in_any_order_but_all(tmp_path: Path) -> None:
    path = written(tmp_path / "meta.csv", "label,file,extra,speaker\nspoof,0.wav,x,A\n")
    assert read_protocol("in-the-wild", path)[0].speaker == "A"
    path = written(tmp_path / "meta.csv", "file,label\n0.wav,spoof\n")
    assert "line 1: missing columns: speaker; found file, label" in fault("in-the-wild", path)
    path = written(tmp_path / "meta.csv", "file,speaker,label\n0.wav,Martin, Jr.,spoof\n")
    assert "line 2: 4 fields, expected 3" in fault("in-the-wild", path)


MLAAD_HEADER = (
    "path|original_file|language|is_original_language|duration|training_data|model_name|architecture|transcript\n"
)


def mlaad(root: Path) -> Path:
    written(
        root / "fake/de/vits_thorsten/meta.csv",
        MLAAD_HEADER
        + "./fake/de/vits_thorsten/a.wav|de_DE/x.wav|de|True|3.1|thorsten|tts_models/de/vits|vits|Ja|nein\n",
    )
    written(
        root / "fake/en/bark/meta.csv", MLAAD_HEADER + './fake/en/bark/a.wav|en_UK/x.wav|en|True|3|-|suno/bark|-|"Yes\n'
    )
    return root


def test_mlaad(tmp_path: Path) -> None:
    german, english = read_protocol("mlaad", mlaad(tmp_path))
    assert german == Clip(
        "fake/de/vits_thorsten/a.wav", tmp_path / "fake/de/vits_thorsten/a.wav", "spoof", "tts_models/de/vits",
        language="de", repo="MLAAD",
    )  # fmt: skip
    assert english.system == "suno/bark"
    for start in (tmp_path / "fake", tmp_path / "fake/en/bark", tmp_path / "fake/en/bark/meta.csv"):
        assert read_protocol("mlaad", start)[-1] == english


def test_mlaad_with_its_human_counterpart(tmp_path: Path) -> None:
    mlaad(tmp_path)
    touched(
        tmp_path, "M-AILABS/de_DE/by_book/female/eva_k/haus/wavs/1.wav", "M-AILABS/en_UK/by_book/mix/x/wavs/1.wav",
        "M-AILABS/de_DE/info.txt",
    )  # fmt: skip
    human = [clip for clip in read_protocol("mlaad", tmp_path) if not clip.is_spoof]
    assert [(clip.speaker, clip.language, clip.repo) for clip in human] == [
        ("eva_k", "de", "M-AILABS"),
        ("-", "en", "M-AILABS"),
    ]
    assert all(clip.path.is_file() for clip in human)


def test_mlaad_without_a_column_for_the_model(tmp_path: Path) -> None:
    path = written(tmp_path / "meta.csv", "path|language\nfake/pl/griffin_lim/a.wav|pl\n")
    assert read_protocol("mlaad", path)[0].system == "griffin_lim"


def test_mlaad_faults(tmp_path: Path) -> None:
    assert "no meta.csv" in fault("mlaad", touched(tmp_path / "empty", "a.wav"))
    written(tmp_path / "1/meta.csv", "path|language\nfake/a.wav|pl\n")
    second = written(tmp_path / "2/meta.csv", "path|language\nfake/b.wav|pl\nfake/a.wav|pl\n")
    message = fault("mlaad", tmp_path, root=tmp_path)
    assert f"{second}: line 3: 'fake/a.wav' again, it is already in {tmp_path / '1/meta.csv'}, line 2" in message
    assert "line 2: 1 fields" in fault("mlaad", written(tmp_path / "meta.csv", "path|language\nfake/b.wav\n"))


# --- folders


def test_for(tmp_path: Path) -> None:
    touched(tmp_path, "training/real/1.wav", "training/fake/1.wav", "validation/fake/2.wav", "testing/real/3.mp3")
    touched(tmp_path, "training/fake/.hidden.wav", "README.txt")
    clips = {clip.name: clip for clip in read_protocol("for", tmp_path)}
    assert clips.keys() == {"training/real/1.wav", "training/fake/1.wav", "validation/fake/2.wav", "testing/real/3.mp3"}
    assert clips["training/fake/1.wav"] == Clip(
        "training/fake/1.wav", tmp_path / "training/fake/1.wav", "spoof", split="train", repo="FoR"
    )
    assert [clips[name].split for name in ("validation/fake/2.wav", "testing/real/3.mp3")] == ["dev", "eval"]
    assert "in no folder named training, validation or testing" in fault("for", touched(tmp_path, "real/9.wav"))


def test_wavefake(tmp_path: Path) -> None:
    touched(
        tmp_path, "generated_audio/ljspeech_full_band_melgan/LJ001-0001_gen.wav",
        "generated_audio/jsut_parallel_wavegan/a.wav", "LJSpeech-1.1/wavs/LJ001-0001.wav",
        "generated_audio/common_voices_prompts_from_conformer_fastspeech2_pwg_ljspeech/g.wav",
        "jsut_ver1.1/basic5000/wav/b.wav", "real/c.wav", "ljspeech_melgan/d.wav",
    )  # fmt: skip
    clips = {Path(clip.name).stem: clip for clip in read_protocol("wavefake", tmp_path)}
    found = {stem: (clip.label, clip.system, clip.speaker, clip.language) for stem, clip in clips.items()}
    assert found == {
        "LJ001-0001_gen": ("spoof", "full_band_melgan", "LJ", "en"),
        "a": ("spoof", "parallel_wavegan", "JSUT", "ja"),
        "LJ001-0001": ("bonafide", "-", "LJ", "en"),
        "g": ("spoof", "common_voices_prompts_from_conformer_fastspeech2_pwg_ljspeech", "-", "-"),
        "b": ("bonafide", "-", "JSUT", "ja"),
        "c": ("bonafide", "-", "-", "-"),
        "d": ("spoof", "melgan", "LJ", "en"),
    }
    assert "stray.wav: in no folder" in fault("wavefake", touched(tmp_path, "stray.wav"))


def test_folders(tmp_path: Path) -> None:
    touched(
        tmp_path, "Human/a.wav", "Deepfake/b.wav", "Deepfake/melgan/take1/c.flac", "set1/TEST/fake/vits/d.ogg",
        "set1/TEST/real/mike/e.wav", "notes.md",
    )  # fmt: skip
    found = {Path(clip.name).stem: (clip.label, clip.system, clip.split) for clip in read_protocol("folders", tmp_path)}
    assert found == {
        "a": ("bonafide", "-", "-"),
        "b": ("spoof", "-", "-"),
        "c": ("spoof", "melgan", "-"),
        "d": ("spoof", "vits", "eval"),
        "e": ("bonafide", "-", "eval"),
    }


def test_folders_must_say_the_class(tmp_path: Path) -> None:
    assert "other/a.wav: in no folder named after a class" in fault("folders", touched(tmp_path, "other/a.wav"))


def test_folders_deeper_than_the_stack(tmp_path: Path) -> None:
    folders = Path(*["d"] * 200)
    touched(tmp_path / "fake" / folders, "a.wav")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 150)
    try:
        (clip,) = read_protocol("folders", tmp_path)
    finally:
        sys.setrecursionlimit(limit)
    assert clip.system == "d"


@pytest.mark.parametrize("kind", ["for", "wavefake", "folders"])
def test_folder_kinds_want_a_folder_and_no_root(tmp_path: Path, kind: str) -> None:
    assert "cannot be read as a folder: Not a directory" in fault(kind, written(tmp_path / "x.txt", "a.wav spoof\n"))
    assert "a root does not apply" in fault(kind, tmp_path, root=tmp_path)
    assert "names no clips" in fault(kind, touched(tmp_path / "e", "a.txt"))


# --- what holds for all


def test_a_split_can_be_chosen_and_a_wrong_one_is_answered_with_those_there_are(tmp_path: Path) -> None:
    path = written(tmp_path / "k.txt", "S T_1 - A01 spoof\nS T_2 - - bonafide\nS D_1 - - bonafide\n")
    assert [clip.name for clip in read_protocol("asvspoof2019-la", path, split="dev")] == ["D_1"]
    message = fault("asvspoof2019-la", path, split="test")
    assert message == f"{path}: no clips in split 'test', the splits are dev (1), train (2)"
    path = written(tmp_path / "l.txt", "a.wav spoof\n")
    assert fault("labels", path, split="dev").endswith("this protocol names no splits")


@pytest.mark.parametrize("kind", [*LIST_KINDS, *ID_KINDS])
def test_an_empty_protocol_names_no_clips(tmp_path: Path, kind: ProtocolKind) -> None:
    path = written(tmp_path / "p", HEADERS.get(kind, "") + "\n \r\n")
    assert fault(kind, path) == f"{path}: names no clips"


@pytest.mark.parametrize("kind", [*LIST_KINDS, *ID_KINDS])
def test_a_protocol_that_is_no_text_is_said_with_its_line(tmp_path: Path, kind: ProtocolKind) -> None:
    line = {**LIST_KINDS, **ID_KINDS}[kind].format("E_1", "spoof")
    before = HEADERS.get(kind, "") + line
    number = before.count("\n") + 1
    for bad, said in ((b"E\0_2\n", "holds a NUL byte"), (b"ab\xff\n", "byte 0xff at column 3 is not UTF-8")):
        assert f"line {number}: {said}" in fault(kind, written(tmp_path / "p", before.encode() + bad))
    assert "No such file" in fault(kind, tmp_path / "nowhere")


@pytest.mark.parametrize(("kind", "line"), LIST_KINDS.items())
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../up.wav", "leaves the audio's root"),
        ("a/../../up.wav", "leaves the audio's root"),
        ("a/..", "leaves the audio's root"),
        ("/etc/passwd", "is absolute"),
        (".", "is empty"),
        ("./", "is empty"),
    ],
)
def test_a_path_that_leaves_the_root_is_refused(
    tmp_path: Path, kind: ProtocolKind, line: str, name: str, why: str
) -> None:
    text = HEADERS.get(kind, "") + line.format("fine..name/a.wav") + line.format(name)
    number = text.count("\n")
    assert f"line {number}: path {name!r}: {why}" in fault(kind, written(tmp_path / "p", text), root=tmp_path)


@pytest.mark.parametrize(("kind", "line"), LIST_KINDS.items())
def test_a_name_cannot_write_on_the_terminal_or_fill_it(tmp_path: Path, kind: ProtocolKind, line: str) -> None:
    name = "../\x1b[2J\u202e" + "x" * 10_000
    message = fault(kind, written(tmp_path / "p", HEADERS.get(kind, "") + line.format(name)), root=tmp_path)
    assert "\x1b" not in message
    assert "\u202e" not in message
    assert len(message) < len(str(tmp_path)) + 250


@pytest.mark.parametrize(("kind", "line"), LIST_KINDS.items())
def test_byte_order_mark_and_windows_line_ends(tmp_path: Path, kind: ProtocolKind, line: str) -> None:
    text = "\ufeff" + (HEADERS.get(kind, "") + line.format("a.wav") + "\n" + line.format("b.wav")).replace("\n", "\r\n")
    clips = read_protocol(kind, written(tmp_path / "p", text))
    assert [(clip.name, clip.label, clip.path) for clip in clips] == [
        ("a.wav", "spoof", tmp_path / "a.wav"),
        ("b.wav", "spoof", tmp_path / "b.wav"),
    ]


@pytest.mark.parametrize("kind", [ProtocolKind.LABELS, ProtocolKind.MULTIAPI, ProtocolKind.MANIFEST])
def test_unicode_line_breaks_do_not_break_lines(tmp_path: Path, kind: ProtocolKind) -> None:
    name = "a\u2028b\x85c\x0bd.wav"
    text = HEADERS.get(kind, "") + f"{name}\tspoof\n"
    assert read_protocol(kind, written(tmp_path / "p", text))[0].name == name


@pytest.mark.parametrize("kind", [ProtocolKind.LABELS, ProtocolKind.MULTIAPI, ProtocolKind.MANIFEST])
def test_paths_written_from_one_level_up(tmp_path: Path, kind: ProtocolKind) -> None:
    text = HEADERS.get(kind, "") + "corpus/a.wav\tspoof\n"
    path = written(tmp_path / "corpus/sub/p", text)
    assert read_protocol(kind, path)[0].path == tmp_path / "corpus/a.wav"
    assert read_protocol(kind, path, root=tmp_path / "x")[0].path == tmp_path / "x/corpus/a.wav"
    (tmp_path / "corpus/sub/corpus").mkdir()
    assert read_protocol(kind, path)[0].path == tmp_path / "corpus/sub/corpus/a.wav"


@given(st.sampled_from(sorted(LABELS)), st.data())
def test_label_words_mean_their_class_in_any_case(word: str, data: st.DataObject) -> None:
    dressed = "".join(data.draw(st.sampled_from((c.lower(), c.upper()))) for c in word)
    pad = data.draw(st.text(" \t", max_size=2))
    assert parse_label(f"{pad}{dressed}{pad}") == LABELS[word]


@given(st.text(max_size=20).filter(lambda text: text.strip().casefold() not in LABELS))
def test_any_other_word_is_an_error(word: str) -> None:
    assert parse_label(word) is None
    with pytest.raises(UsageError, match=r"^keys: line 7: label .*, expected one of bonafide, .*, spoof, .*deepfake$"):
        Line(Path("keys"), 7, "").label(word)


def test_both_classes_have_words() -> None:
    assert set(LABELS.values()) == {"bonafide", "spoof"}
    for word in ("bona-fide", "bonafide", "bona_fide", "genuine", "real", "human", "live"):
        assert parse_label(word) == "bonafide"
    for word in ("spoof", "spoofed", "fake", "synthetic", "deepfake"):
        assert parse_label(word) == "spoof"
