"""Mutants of the files that spoofcheck's own code reads in its own process: results, ledgers, stores, models, keys.

    python -m tests.fuzz.documents --inputs 20000

Whatever such a file holds, its reader gives an answer or raises one of our errors with a short message; anything else
is a bug.
"""

from __future__ import annotations

import argparse
import json
import random
import struct
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spoofcheck.audio.inputs import display_path, find_inputs, read_file_list
from spoofcheck.audio.signatures import HEAD_BYTES, container_of
from spoofcheck.casefile import TEMPLATE, read_case
from spoofcheck.detect.hashedfile import canonical_sha256
from spoofcheck.detect.sourcestore import read_store
from spoofcheck.document import load_document
from spoofcheck.errors import SpoofcheckError
from spoofcheck.evaluation.protocols import ProtocolKind, read_protocol
from spoofcheck.evaluation.scorefiles import read_keys, read_scores
from spoofcheck.ledger import Kind, Subjects, append_entry, read_ledger
from spoofcheck.ledger import canonical_sha256 as entry_sha256
from spoofcheck.nets.bundle import load_bundle
from spoofcheck.nets.checkpoints import read_checkpoint
from spoofcheck.nets.config import CONFIG_FILE, parse_any_config
from spoofcheck.nets.index import WEIGHTS_FILE
from spoofcheck.render.text import printable
from spoofcheck.resources import models_dir
from spoofcheck.types import Skipped
from tests.fuzz.stores import sealed_store
from tests.support.models import tiny_bundle

LONGEST_MESSAGE = 2_000
"""Characters that an error may have: what is quoted in it from a file is bounded."""
_LARGEST_BYTES = 1 << 18
_EVERY_LINE_MUTATES_BYTES = 0.3

_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 10**9, 2**31, 2**63, 2**64, 10**400, -(10**30), 0.5, -0.0, 1e308, 1e-320,
    float("nan"), float("inf"), float("-inf"), "", "a", " ", "\0", "\n", "x" * 5_000, "\x1b[2J", "\u202e", "\ud800",
    "\U0001f600", "../../etc", "/etc/passwd", "NaN", "0" * 64, "9" * 64, [], {}, [[]], [None], {"": None}, [0] * 2_000,
    {"a": {"b": {"c": []}}}, "2026-13-45", "2026-01-01T00:00:00+99:99", "1e400", "spoof", "model.safetensors",
)  # fmt: skip
_RAW = (
    b"[" * 100_000, b'{"a":' * 50_000, b"9" * 5_000, b"-", b"1e99999", b"NaN", b"Infinity", b'"\\ud800"', b'"\\u0000"',
    b"\xff", b"\xef\xbb\xbf", b"\0", b"\r", b"\r\n", b"\n", b"\t", b",", b"|", b";", b'"', b"'", b"#", b"=",
    b"\xe2\x80\xa8", b"\x1a", b"\x0b\x0c", b"\x85", b"\xc2\x85", b"..", b"/", b"\\", b"~", b"%s", b"[[a]]\n", b'"""',
    b"1979-05-27T07:32:00Z",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """A reader and a good file for it.

    Attributes:
        name: of the reader.
        seeds: good files.
        read: given a file with a mutant; the folder it lies in is the target's own.
        seal: puts right the hash in a changed JSON document, so that what lies behind it is reached.
    """

    name: str
    seeds: tuple[bytes, ...]
    read: Callable[[Path], object]
    seal: Callable[[Any], Any] | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A mutant that its reader did not stand."""

    target: str
    number: int
    data: bytes
    why: str


def targets(folder: Path) -> list[Target]:
    """All readers, with good files; `folder` takes what they need."""
    model = tiny_bundle(folder / "tiny")
    config, weights = (model / CONFIG_FILE).read_bytes(), (model / WEIGHTS_FILE).read_bytes()
    configs = tuple(path.read_bytes() for path in sorted(models_dir().glob(f"*/{CONFIG_FILE}")))
    golden = Path(__file__).resolve().parents[1] / "golden"
    results = tuple((golden / name).read_bytes() for name in ("sample.json", "traced.json"))
    listed = folder / "listed"
    listed.mkdir()
    (listed / "a.wav").write_bytes(b"RIFF\x24\0\0\0WAVE")
    return [
        Target(
            "signatures",
            (b"RIFF\x24\0\0\0WAVEfmt ", b"\xff\xfb\x90\x64" * 300, b"\xff\xf1\x50\x80\x04\x1f\xfc" * 99),
            _head,
        ),
        Target("file list", (b"a.wav\nb/c.wav\n", b"a.wav\0b\n.wav\0", b"a.wav\r\nb.wav\r\n"), _file_list),
        Target("result", results, load_document),
        Target("ledger", (_ledger(folder),), read_ledger, _sealed_entry),
        Target("case", (TEMPLATE.encode(), _CASE), read_case),
        Target("store", (sealed_store(),), read_store, _sealed_file),
        Target("configuration", (config, *configs), lambda path: parse_any_config(path.read_bytes(), path)),
        Target("weights", (weights,), lambda path: _bundle(path, config)),
        Target("checkpoint", (weights,), read_checkpoint),
        Target("keys", (_KEYS,), read_keys),
        Target("scores", (_SCORES,), read_scores),
        *(_protocol(kind, listed, lines) for kind, lines in _PROTOCOLS.items()),
    ]


def mutated(chance: random.Random, target: Target) -> bytes:
    """A damaged file for that reader."""
    data = chance.choice(target.seeds)
    if len(data) > _LARGEST_BYTES:
        data = data[:_LARGEST_BYTES]
    if target.name == "weights" and chance.random() < 0.7:
        return _with_header(chance, data)
    if chance.random() > _EVERY_LINE_MUTATES_BYTES:
        changed = _changed_json(chance, data, target.seal)
        if changed is not None:
            return changed
    for _ in range(chance.choice((1, 1, 2, 8))):
        data = _changed_bytes(chance, data)
    return data


def failure_of(target: Target, number: int, data: bytes, folder: Path) -> Failure | None:
    """What is wrong with how the reader takes this file; None when nothing is."""
    path = folder / f"mutant{'.safetensors' if target.name == 'checkpoint' else ''}"
    path.write_bytes(data)
    try:
        target.read(path)
    except SpoofcheckError as error:
        message = str(error)
        if not message.strip():
            return Failure(target.name, number, data, "an error without a message")
        if len(message) > LONGEST_MESSAGE:
            return Failure(target.name, number, data, f"a message of {len(message):,} characters: {message[:200]!r}")
        if "\n" in printable(message):
            return Failure(target.name, number, data, f"a message of several lines: {message!r}")
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {str(error)[:200]!r} at {where.filename}:{where.lineno}"
        return Failure(target.name, number, data, text)
    return None


def run(folder: Path, seed: int, inputs: int, names: Sequence[str] = ()) -> tuple[Counter[str], list[Failure]]:
    """Read so many mutants, the readers in turn; how many by reader, and those that failed.

    Raises:
        AssertionError: a reader refuses a good file.
    """
    chosen = [target for target in targets(folder) if not names or target.name in names]
    read: Counter[str] = Counter()
    failures = []
    for target in chosen:
        for data in target.seeds:
            path = folder / f"good{'.safetensors' if target.name == 'checkpoint' else ''}"
            path.write_bytes(data)
            target.read(path)
    for number in range(inputs):
        target = chosen[number % len(chosen)]
        data = mutated(random.Random(f"documents {seed} {number}"), target)
        failure = failure_of(target, number, data, folder)
        read[target.name] += 1
        failures += [] if failure is None else [failure]
    return read, failures


def _head(path: Path) -> None:
    container_of(path.read_bytes()[:HEAD_BYTES])


def _file_list(path: Path) -> None:
    """Read it, and look for what it names, but never outside the folder: it may well name `/`."""
    inside = [path.parent / "listed" / entry.name for entry in read_file_list(path) if entry.name != ".."]
    for found in find_inputs(inside):
        display_path(found.path if isinstance(found, Skipped) else found)


def _bundle(weights: Path, config: bytes) -> None:
    directory = weights.parent / "mutated-model"
    directory.mkdir(exist_ok=True)
    (directory / CONFIG_FILE).write_bytes(config)
    (directory / WEIGHTS_FILE).write_bytes(weights.read_bytes())
    load_bundle(directory)


def _ledger(folder: Path) -> bytes:
    path = folder / "good-ledger"
    for note in ("first", "second \u00e9", "third"):
        append_entry(path, Kind.NOTE, Subjects(document="0" * 64, exhibits=("1" * 64,)), note)
    return path.read_bytes()


def _sealed_entry(fields: Any) -> Any:
    return {**fields, "sha256": entry_sha256(fields)} if isinstance(fields, dict) else fields


def _sealed_file(fields: Any) -> Any:
    if not isinstance(fields, dict):
        return fields
    rest = {key: value for key, value in fields.items() if key != "sha256"}
    return {**rest, "sha256": canonical_sha256(rest)}


_CASE = b"""number = "2026-1"
client = "Somebody"
question = \"\"\"Of
several lines\"\"\"
[[exhibits]]
file = "a.wav"
reference = "EX-1"
description = "x"
[[exhibits]]
file = "b/c.wav"
reference = "EX-2"
[[hand_over]]
date = 2026-11-03
from = "one"
to = "another"
note = "sealed"
"""
_KEYS = b"filename cm-label system speaker codec language\na bonafide - s1 wav en\nb spoof A07 s2 mp3 de\n"
_SCORES = b"filename\tcm-score\tcm-label\na\t-1.5\tbonafide\nb\t2.25e0\tspoof\nc\t0\tspoof\n"
_PROTOCOLS = {
    ProtocolKind.MULTIAPI: b"a.wav A0 spoof\nb.wav - bonafide\n",
    ProtocolKind.LABELS: b"a.wav spoof\nb.wav bonafide\n",
    ProtocolKind.IN_THE_WILD: b'file,speaker,label\na.wav,Someone,spoof\nb.wav,"An, other",bona-fide\n',
    ProtocolKind.MLAAD: b'path|original_file|language|transcript\na.wav|x|en|a text\nb.wav|y|de|"another\n',
    ProtocolKind.MANIFEST: b"path\tlabel\tsystem\tduration_s\na.wav\tspoof\tx\t1.5\nb.wav\tbonafide\t-\t2\n",
    ProtocolKind.ASVSPOOF2019_LA: b"LA_0079 LA_T_1 - - bonafide\nLA_0080 LA_T_2 - A01 spoof\n",
    ProtocolKind.ASVSPOOF2021_LA: b"LA_0009 LA_E_1 alaw ita_tx A07 spoof notrim eval\n",
    ProtocolKind.ASVSPOOF2021_DF: b"LA_0043 DF_E_1 mp3m4a asvspoof A09 spoof notrim eval traditional_vocoder - - - -\n",
    ProtocolKind.ASVSPOOF5: b"E_0001 E_1 F C05 3 7 AC2 A17 spoof -\nE_0002 E_2 M - - - - - bonafide -\n",
}


def _protocol(kind: ProtocolKind, root: Path, lines: bytes) -> Target:
    return Target(f"protocol {kind}", (lines,), lambda path: read_protocol(kind, path, root=root))


def _changed_bytes(chance: random.Random, data: bytes) -> bytes:
    start = chance.randrange(len(data) + 1)
    end = min(len(data), start + int(2 ** chance.uniform(0, 7)))
    match chance.randrange(7):
        case 0:
            return (
                data[:start]
                + bytes(byte ^ 1 << chance.randrange(8) for byte in data[start : start + 1])
                + data[start + 1 :]
            )
        case 1:
            return data[:start] + chance.randbytes(end - start) + data[end:]
        case 2:
            return data[:start]
        case 3:
            return data[:start] + data[end:]
        case 4:
            return data[:end] + data[start:end] * chance.choice((1, 2, 100)) + data[end:]
        case 5:
            return chance.choice((b"", data[:1], bytes(100), data * 3, data[::-1]))
        case _:
            return data[:start] + chance.choice(_RAW) + data[chance.choice((start, end)) :]


def _changed_json(chance: random.Random, data: bytes, seal: Callable[[Any], Any] | None) -> bytes | None:
    """The JSON document, or a line of such lines, with some of its values changed; None for what is none."""
    try:
        document: Any = json.loads(data)
        before, after = b"", b""
    except ValueError:
        lines = data.splitlines(keepends=True)
        at = chance.randrange(len(lines)) if lines else 0
        try:
            document = json.loads(lines[at])
        except (ValueError, IndexError):
            return None
        before, after = b"".join(lines[:at]), b"\n" + b"".join(lines[at + 1 :])
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        document = _changed_value(chance, document)
    if seal is not None and chance.random() < 0.8:
        with suppress(ValueError):  # what JSON cannot hold has no canonical form
            document = seal(document)
    is_canonical = chance.random() < 0.5
    text = json.dumps(document, sort_keys=is_canonical, separators=(",", ":") if is_canonical else None)
    return before + text.encode("ascii") + after


def _changed_value(chance: random.Random, value: Any) -> Any:
    """Somewhere inside, a value replaced, dropped, repeated, or a key added."""
    is_here = chance.random() < 0.15 or not isinstance(value, dict | list) or not value
    if is_here:
        near = (value * 3 if isinstance(value, str | list) else -value if isinstance(value, int | float) else value,)
        return chance.choice((*_VALUES, *near))
    if isinstance(value, dict):
        key = chance.choice(list(value))
        match chance.randrange(8):
            case 0:
                return {name: each for name, each in value.items() if name != key}
            case 1:
                return {
                    **value,
                    chance.choice(("", "x", "\x1b[2J\n", "k" * 3_000, "\ud800", "0")): chance.choice(_VALUES),
                }
            case 2:
                other = chance.choice(list(value))
                return {**value, key: value[other], other: value[key]}
            case _:
                return {**value, key: _changed_value(chance, value[key])}
    at = chance.randrange(len(value))
    match chance.randrange(8):
        case 0:
            return value[:at] + value[at + 1 :]
        case 1:
            return value + [value[at]] * chance.choice((1, 50))
        case 2:
            return value[::-1]
        case _:
            return [*value[:at], _changed_value(chance, value[at]), *value[at + 1 :]]


def _with_header(chance: random.Random, data: bytes) -> bytes:
    """A safetensors file whose header says something else: types, shapes, offsets, its own length."""
    length = struct.unpack_from("<Q", data)[0]
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    for _ in range(chance.choice((1, 1, 2, 4))):
        name = chance.choice(list(header)) if header else "x"
        entry = header.get(name)
        match chance.randrange(8):
            case 0:
                header.pop(name, None)
            case 1:
                header["unheard of"] = entry
            case 2 if isinstance(entry, dict):
                entry["dtype"] = chance.choice(
                    ("F64", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "F4", "C64", "X", "", None)
                )
            case 3 if isinstance(entry, dict):
                entry["shape"] = chance.choice(
                    (
                        [],
                        [0],
                        [-1],
                        [2**40, 2**40],
                        [2**63],
                        [2**64],
                        [1] * 1_000,
                        [10**30],
                        None,
                        "x",
                        [1.5],
                        [0, 2**62],
                    )
                )
            case 4 if isinstance(entry, dict):
                entry["data_offsets"] = chance.choice(
                    ([0, 0], [0, 2**63], [5, 1], [0, len(body)], [-1, 4], [0], None, [2**64, 1])
                )
            case 5:
                body = chance.choice((b"", body[: len(body) // 2], body + body[:100], b"\xff" * len(body), body[::-1]))
            case _:
                header = _changed_value(chance, header) if isinstance(header, dict) else {}
                if not isinstance(header, dict):
                    header = {"x": header}
    text = json.dumps(header).encode("ascii")
    claimed = len(text) if chance.random() < 0.8 else chance.choice((0, 1, len(text) + 8, 2**31, 2**63, 2**64 - 1))
    return struct.pack("<Q", claimed) + text + body


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--inputs", type=int, default=20_000, metavar="N", help="mutants to read (20000)")
    options.add_argument("--seed", type=int, default=9, metavar="N", help="of the mutants (9)")
    options.add_argument("--readers", nargs="+", default=[], metavar="NAME", help="only these")
    options.add_argument("--keep", type=Path, metavar="DIR", help="copy mutants that a reader did not stand here")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="spoofcheck-fuzz-") as folder:
        read, failures = run(Path(folder), chosen.seed, chosen.inputs, chosen.readers)
    for name, count in read.items():
        print(f"{name}: {count:,} read")
    for failure in failures:
        print(f"{failure.target} {failure.number}: {ascii(failure.why)[1:-1]}")
        if chosen.keep is not None:
            chosen.keep.mkdir(parents=True, exist_ok=True)
            (chosen.keep / f"{failure.target.replace(' ', '-')}-{failure.number}").write_bytes(failure.data)
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
