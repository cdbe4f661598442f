"""Case files: what an examiner says of a case, in TOML, for the cover and the custody section of a report.

    number = "2026-114"
    question = "Is the speech in these recordings synthetic?"

    [[exhibits]]
    file = "recordings/call.wav"
    reference = "EX-1"

All of it is the user's word: it names and describes, and changes no score. The content is outside text: escape it
before printing (`render.text.printable`).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from spoofcheck.errors import OutputError, UsageError, brief
from spoofcheck.render.text import printable
from spoofcheck.schema import CaseExhibit, CaseInfo, HandOver

MAX_FILE_BYTES: Final = 1 << 20
MAX_NAME_CHARS: Final = 200
MAX_PATH_CHARS: Final = 4_096
MAX_TEXT_CHARS: Final = 4_000
MAX_EXHIBITS: Final = 10_000
MAX_HAND_OVERS: Final = 1_000

TEMPLATE: Final = """\
# A case file for spoofcheck: `spoofcheck scan --case THIS-FILE ...` puts it into the report.
# Only `number` is required. All of it is your word: it names and describes, and changes no score.
# `spoofcheck case check THIS-FILE` says whether it can be used.

number = "CASE-NUMBER"

# Who asked, who examines, and where (up to 200 characters each).
client = ""
examiner = ""
lab = ""

# The question that was asked, in the client's words (up to 4,000 characters).
question = ""

# One block for each recording. `file` is a path relative to the folder of this case file, or a name alone, which then
# means the only scanned recording of that name. No two blocks may have the same file or the same reference.
#
# [[exhibits]]
# file = "recordings/call.wav"
# reference = "EX-1"
# description = "Call of 30 October, as handed over on a USB stick"

# One block for each step of the chain of custody before the examination, the earliest first.
#
# [[hand_over]]
# date = "2026-11-03"
# from = "Police station, property office"
# to = "A. Examiner"
# note = "Sealed bag 4711"
"""
"""What `spoofcheck case new` writes; it is a valid case file."""

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_REFUSED_CHARS = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029{_BIDI}]")
_LINE_BREAKS = re.compile(r"[ \t]*\r?\n[ \t]*")


def _safe(text: str) -> str:
    """Refuse what could act on a terminal or reorder a page; nobody needs it in a case file."""
    found = _REFUSED_CHARS.search(text)
    if found:
        raise ValueError(f"holds the control character {printable(found[0])}; remove it")
    return text


def _folded(value: object) -> object:
    """A text of several lines as one: TOML's three-quote strings hold the line breaks of the file."""
    return _LINE_BREAKS.sub(" ", value.strip()) if isinstance(value, str) else value


def _date_text(value: object) -> object:
    """A date without quotes, which TOML reads as a date, as it is written in ISO 8601."""
    return value.isoformat() if isinstance(value, dt.date | dt.datetime) else value


_Name = Annotated[str, Field(max_length=MAX_NAME_CHARS), AfterValidator(_safe)]
_RequiredName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS), AfterValidator(_safe)]
_Path = Annotated[str, Field(min_length=1, max_length=MAX_PATH_CHARS), AfterValidator(_safe)]
_Text = Annotated[str, Field(max_length=MAX_TEXT_CHARS), AfterValidator(_safe), BeforeValidator(_folded)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Exhibit(_Model):
    file: _Path
    reference: _RequiredName
    description: _Text = ""


class _HandOver(_Model):
    date: Annotated[_RequiredName, BeforeValidator(_date_text)]
    given_by: _RequiredName = Field(alias="from")
    received_by: _RequiredName = Field(alias="to")
    note: _Text = ""


class _CaseFile(_Model):
    number: _RequiredName
    client: _Name = ""
    examiner: _Name = ""
    lab: _Name = ""
    question: _Text = ""
    exhibits: list[_Exhibit] = Field(default=[], max_length=MAX_EXHIBITS)
    hand_over: list[_HandOver] = Field(default=[], max_length=MAX_HAND_OVERS)

    @model_validator(mode="after")
    def _exhibits_differ(self) -> Self:
        for key, values in (
            ("reference", [_folded_name(exhibit.reference) for exhibit in self.exhibits]),
            ("file", [os.path.normpath(exhibit.file) for exhibit in self.exhibits]),
        ):
            for value, number in Counter(values).items():
                if number > 1:
                    first, second = [place for place, each in enumerate(values, start=1) if each == value][:2]
                    raise ValueError(
                        f"exhibits number {first} and {second} have the same {key}, {value!r}; each needs its own"
                    )
        return self


_TABLES: Final[dict[str, type[_Model]]] = {"": _CaseFile, "exhibits": _Exhibit, "hand_over": _HandOver}


def read_case(path: Path) -> CaseInfo:
    """Read and check a case file.

    Args:
        path: TOML in UTF-8, at most 1 MiB. Paths of exhibits are relative to its folder (see `exhibit_of`).

    Raises:
        UsageError: it cannot be read, or a key is missing, unknown, too long, of the wrong type, holds a control
        character, or names one exhibit twice; the message names file and key, and what is allowed.
    """
    name = printable(str(path))
    data = _content(path, name)
    try:
        fields = tomllib.loads(data.decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: not a case file (not UTF-8 text)") from error
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        reason = printable(str(error)) if isinstance(error, ValueError) else "nested too deeply"
        raise UsageError(f"{name}: not TOML: {reason}") from error
    try:
        case = _CaseFile.model_validate(fields)
    except ValidationError as error:
        raise UsageError(f"{name}: {_first_problem(error)}") from error
    return CaseInfo(
        number=case.number,
        client=case.client,
        examiner=case.examiner,
        lab=case.lab,
        question=case.question,
        exhibits=tuple(
            CaseExhibit(file=exhibit.file, reference=exhibit.reference, description=exhibit.description)
            for exhibit in case.exhibits
        ),
        hand_over=tuple(
            HandOver(date=step.date, given_by=step.given_by, received_by=step.received_by, note=step.note)
            for step in case.hand_over
        ),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def exhibit_of(case: CaseInfo, path: Path, folder: Path) -> CaseExhibit | None:
    """What the case file calls a recording, or None.

    An exhibit is meant by its place, `file` relative to `folder`; one whose `file` is a name alone is also meant by
    that name, wherever the recording lies. For several recordings use `exhibits_of`, which gives no exhibit twice.

    Args:
        case: of `read_case`.
        path: of the recording, absolute or relative to the working directory.
        folder: of the case file.
    """
    real_path = os.path.realpath(path)
    named = None
    for exhibit in case.exhibits:
        if os.path.realpath(folder / exhibit.file) == real_path:
            return exhibit
        if exhibit.file == path.name:
            named = exhibit
    return named


def exhibits_of(case: CaseInfo, paths: Iterable[Path], folder: Path) -> dict[Path, CaseExhibit]:
    """What the case file calls each of these recordings; those that it does not name are left out.

    As `exhibit_of`, but a name alone stands for a recording only where no other of `paths` has that name and none lies
    at the place itself: two recordings never share a reference.
    """
    distinct = list(dict.fromkeys(paths))
    places: dict[str, CaseExhibit] = {os.path.realpath(folder / each.file): each for each in case.exhibits}
    given = {path: places[real] for path in distinct if (real := os.path.realpath(path)) in places}
    taken = {exhibit.reference for exhibit in given.values()}
    by_name = {exhibit.file: exhibit for exhibit in case.exhibits if exhibit.reference not in taken}
    names = Counter(path.name for path in distinct)
    for path in distinct:
        if path not in given and names[path.name] == 1 and path.name in by_name:
            given[path] = by_name[path.name]
    return {path: given[path] for path in distinct if path in given}


def not_found(case: CaseInfo, folder: Path) -> Sequence[CaseExhibit]:
    """The exhibits for which there is no file at the place that the case file names."""
    return tuple(exhibit for exhibit in case.exhibits if not (folder / exhibit.file).is_file())


def write_template(path: Path) -> None:
    """Write a case file to be filled in.

    Raises:
        OutputError: there is a file of this name (it is never overwritten), or none can be written.
    """
    try:
        with open(path, "x", encoding="utf-8", newline="\n") as file:
            file.write(TEMPLATE)
    except FileExistsError as error:
        raise OutputError(f"{path}: exists already; it is left as it is") from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error


def _content(path: Path, name: str) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{name}: not a regular file; give a case file")
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{name}: cannot be read ({reason}); 'spoofcheck case new FILE' writes a template") from error
    if len(data) > MAX_FILE_BYTES:
        raise UsageError(f"{name}: larger than a case file may be ({MAX_FILE_BYTES >> 20} MiB)")
    return data


def _folded_name(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().strip()


def _first_problem(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_input=False)
    first = problems[0]
    where = _where(first["loc"])
    more = f" (and {len(problems) - 1:,} more)" if len(problems) > 1 else ""
    return f"{where}{_what(first, first['loc'])}{more}"


def _where(loc: tuple[int | str, ...]) -> str:
    """`"key 'number': "`, or `"[[exhibits]] number 2, key 'file': "`; empty for the whole file."""
    if not loc:
        return ""
    if len(loc) == 1:
        return f"key '{printable(brief(str(loc[0])))}': "
    key = f", key '{printable(brief(str(loc[2])))}'" if len(loc) > 2 else ""
    number = f" number {loc[1] + 1}" if isinstance(loc[1], int) else ""
    return f"[[{printable(brief(str(loc[0])))}]]{number}{key}: "


def _what(problem: Any, loc: tuple[int | str, ...]) -> str:
    context = problem.get("ctx", {})
    match problem["type"]:
        case "missing":
            return "missing; it is required"
        case "extra_forbidden":
            form = _TABLES.get(str(loc[0]), _CaseFile) if len(loc) > 1 else _CaseFile
            keys = (info.alias or field for field, info in form.model_fields.items())
            return f"unknown; allowed are {', '.join(keys)}"
        case "string_type":
            return 'must be text in quotes, such as "..."'
        case "string_too_short":
            return "empty; give at least one character"
        case "string_too_long":
            return f"too long; at most {context['max_length']:,} characters"
        case "list_type":
            return f"must be blocks that begin with [[{printable(str(loc[0]))}]]"
        case "model_type" | "model_attributes_type":
            return f"must be a block that begins with [[{printable(str(loc[0]))}]]"
        case "too_long":
            return f"too many; at most {context['max_length']:,}"
        case _:
            return printable(str(problem["msg"]).removeprefix("Value error, "))
