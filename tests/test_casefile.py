"""Case files: what is read, what is refused and how, and which exhibit a recording is."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from spoofcheck.casefile import (
    MAX_EXHIBITS,
    MAX_FILE_BYTES,
    MAX_NAME_CHARS,
    MAX_TEXT_CHARS,
    TEMPLATE,
    exhibit_of,
    exhibits_of,
    not_found,
    read_case,
    write_template,
)
from spoofcheck.errors import OutputError, UsageError
from spoofcheck.schema import CaseInfo

WHOLE = """
number = "2026-114"
client = "Amtsgericht Köln"
examiner = "A. Examiner"
lab = "Lab 3"
question = \"\"\"
Is the speech
  in these recordings synthetic?\"\"\"

[[exhibits]]
file = "audio/call.wav"
reference = "EX-1"
description = "the call"

[[exhibits]]
file = "memo.wav"
reference = "EX-2"

[[hand_over]]
date = 2026-11-03
from = "Police"
to = "Lab 3"
note = "bag 4711"
"""


def case(folder: Path, text: str | bytes = WHOLE) -> Path:
    path = folder / "case.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(folder: Path, text: str | bytes) -> str:
    with pytest.raises(UsageError) as caught:
        read_case(case(folder, text))
    message = str(caught.value)
    assert message.startswith(f"{folder / 'case.toml'}: ")
    assert message.isprintable()
    return message


def test_everything_is_read(tmp_path: Path) -> None:
    path = case(tmp_path)
    read = read_case(path)
    assert (read.number, read.client, read.examiner, read.lab) == (
        "2026-114",
        "Amtsgericht Köln",
        "A. Examiner",
        "Lab 3",
    )
    assert read.question == "Is the speech in these recordings synthetic?"
    assert [(e.file, e.reference, e.description) for e in read.exhibits] == [
        ("audio/call.wav", "EX-1", "the call"),
        ("memo.wav", "EX-2", ""),
    ]
    (step,) = read.hand_over
    assert (step.date, step.given_by, step.received_by, step.note) == ("2026-11-03", "Police", "Lab 3", "bag 4711")
    assert read.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_windows_line_ends_and_a_byte_order_mark_change_nothing_but_the_hash(tmp_path: Path) -> None:
    plain = read_case(case(tmp_path))
    other = read_case(case(tmp_path, b"\xef\xbb\xbf" + WHOLE.replace("\n", "\r\n").encode()))
    assert other.model_copy(update={"sha256": plain.sha256}) == plain
    assert other.sha256 != plain.sha256


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["key 'number'", "missing"]),
        ("number = 7", ["key 'number'", "text in quotes"]),
        ('number = ""', ["key 'number'", "empty"]),
        ('number = "1"\ncolour = "red"', ["key 'colour'", "unknown", "number, client, examiner, lab, question"]),
        ('number = "1"\n[[exhibits]]\nfile = "a.wav"', ["[[exhibits]] number 1, key 'reference'", "missing"]),
        (
            'number = "1"\n[[exhibits]]\nfile = "a.wav"\nreference = "1"\n[[exhibits]]\npath = "b.wav"',
            ["[[exhibits]] number 2, key 'file'", "missing"],
        ),
        (
            'number = "1"\n[[hand_over]]\ndate = "x"\nfrom = "a"\nto = "b"\nby = "c"',
            ["[[hand_over]] number 1, key 'by'", "unknown", "allowed are date, from, to, note"],
        ),
        ('number = "1"\nexhibits = "a.wav"', ["key 'exhibits'", "blocks that begin with [[exhibits]]"]),
        ('number = "1"\nexhibits = ["a.wav"]', ["[[exhibits]] number 1", "block that begins with [[exhibits]]"]),
        ('number = "1"\nnumber = "2"\nlab = "x"', ["not TOML", "line 2"]),
        ("number = \"1\nclient = ''", ["not TOML", "line 1"]),
        (b'number = "\xff"', ["not UTF-8"]),
        (f'number = "{"x" * (MAX_NAME_CHARS + 1)}"', ["key 'number'", "at most 200 characters"]),
        (f'number = "1"\nquestion = "{"x" * (MAX_TEXT_CHARS + 1)}"', ["key 'question'", "at most 4,000 characters"]),
        ('number = "1"\nlab = "a\\u001b[31mb"', ["key 'lab'", r"control character \x1b"]),
        ('number = "1"\nclient = "a\\u202eb"', ["key 'client'", r"control character \u202e"]),
        ('number = "1"\nquestion = "a\\u0000b"', ["key 'question'", r"control character \x00"]),
        ('number = "1"\n"num\\u001bber" = "1"', [r"num\x1bber"]),
        ("a = " + "[" * 5_000, ["not TOML"]),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str | bytes, words: list[str]) -> None:
    message = refusal(tmp_path, text)
    for word in words:
        assert word in message


def test_the_longest_texts_are_taken(tmp_path: Path) -> None:
    text = f'number = "{"x" * MAX_NAME_CHARS}"\nquestion = "{"y" * MAX_TEXT_CHARS}"'
    assert len(read_case(case(tmp_path, text)).question) == MAX_TEXT_CHARS


@pytest.mark.parametrize(
    ("first", "second", "key"),
    [
        (("a.wav", "EX-1"), ("b.wav", "ex-1 "), "reference"),
        (("x/a.wav", "EX-1"), ("x/./a.wav", "EX-2"), "file"),
    ],
)
def test_no_two_exhibits_share_a_reference_or_a_file(
    tmp_path: Path, first: tuple[str, str], second: tuple[str, str], key: str
) -> None:
    blocks = "".join(f'[[exhibits]]\nfile = "{file}"\nreference = "{name}"\n' for file, name in (first, second))
    message = refusal(tmp_path, f'number = "1"\n{blocks}')
    assert f"exhibits number 1 and 2 have the same {key}" in message


def test_sizes_are_bounded(tmp_path: Path) -> None:
    assert "larger than" in refusal(tmp_path, b"#" * (MAX_FILE_BYTES + 1))
    many = "".join(f'{{file="{i}",reference="{i}"}},' for i in range(MAX_EXHIBITS + 1))
    assert "at most 10,000" in refusal(tmp_path, f'number = "1"\nexhibits = [{many}]')


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be read .*case new"):
        read_case(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="not a regular file"):
        read_case(tmp_path)


def test_the_template_is_a_case_file_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "case.toml"
    write_template(path)
    assert read_case(path).number == "CASE-NUMBER"
    uncommented = "\n".join(
        line.removeprefix("# ")
        for line in TEMPLATE.splitlines()
        if not line.startswith("#") or " = " in line or "[[" in line
    )
    assert len(read_case(case(tmp_path, uncommented)).exhibits) == 1
    before = path.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        write_template(path)
    assert path.read_bytes() == before


@pytest.fixture
def info(tmp_path: Path) -> CaseInfo:
    return read_case(case(tmp_path))


def recording(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_an_exhibit_is_found_by_its_place(info: CaseInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call = recording(tmp_path / "audio/call.wav")
    named = exhibit_of(info, call, tmp_path)
    assert named is not None
    assert named.reference == "EX-1"
    monkeypatch.chdir(tmp_path / "audio")
    assert exhibit_of(info, Path("call.wav"), Path("..")) == named
    # A name with a folder means that place alone: a namesake elsewhere may be another recording.
    assert exhibit_of(info, recording(tmp_path / "other/call.wav"), tmp_path) is None


def test_an_exhibit_named_alone_is_found_anywhere(info: CaseInfo, tmp_path: Path) -> None:
    named = exhibit_of(info, recording(tmp_path / "usb/memo.wav"), tmp_path)
    assert named is not None
    assert named.reference == "EX-2"
    assert exhibit_of(info, tmp_path / "usb/MEMO2.wav", tmp_path) is None


def test_two_recordings_never_share_a_reference(info: CaseInfo, tmp_path: Path) -> None:
    first, second = recording(tmp_path / "a/memo.wav"), recording(tmp_path / "b/memo.wav")
    call = recording(tmp_path / "audio/call.wav")
    references = {path: each.reference for path, each in exhibits_of(info, [first, call, second], tmp_path).items()}
    assert references == {call: "EX-1"}
    assert {e.reference for e in exhibits_of(info, [first, call], tmp_path).values()} == {"EX-1", "EX-2"}
    own = recording(tmp_path / "memo.wav")
    assert {path: e.reference for path, e in exhibits_of(info, [first, own], tmp_path).items()} == {own: "EX-2"}


def test_exhibits_that_are_not_there_are_told(info: CaseInfo, tmp_path: Path) -> None:
    recording(tmp_path / "audio/call.wav")
    assert [exhibit.reference for exhibit in not_found(info, tmp_path)] == ["EX-2"]
