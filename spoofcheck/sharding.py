"""Division of one scan among machines that do not talk to each other.

Of the inputs, as found and in order, shard I of N takes those whose number from 0, modulo N, is I - 1. Neighbours in a
folder are often alike in length, so shards are balanced. All shards must be given the same inputs: each result holds a
hash of the whole list, and `merging` compares them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from spoofcheck.errors import UsageError
from spoofcheck.render.text import printable
from spoofcheck.schema import MAX_SHARDS, EvidenceKind, ShardInfo

_Item = TypeVar("_Item")

_FORM = re.compile(r"([0-9]{1,9})/([0-9]{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` parts of a scan; `index` counts from 1."""

    index: int
    count: int

    def of(self, inputs: Sequence[_Item]) -> list[_Item]:
        """The inputs that this shard takes, in their order."""
        return list(inputs[self.index - 1 :: self.count])

    def info(self, paths: Sequence[str], findings: Iterable[int], evidence: Iterable[EvidenceKind]) -> ShardInfo:
        """What the shard's document says of it.

        Args:
            paths: of all inputs, those of the other shards included, as they are displayed.
            findings: how many each of this shard's inputs got, in their order, as far as it was examined.
            evidence: that was asked for.
        """
        numbers = range(self.index - 1, len(paths), self.count)
        return ShardInfo(
            index=self.index,
            count=self.count,
            inputs=len(paths),
            inputs_sha256=inputs_sha256(paths),
            input_numbers=tuple(number for number, given in zip(numbers, findings, strict=False) for _ in range(given)),
            evidence=tuple(evidence),
        )


def parse_shard(text: str) -> Shard:
    """The shard that `I/N` names.

    Raises:
        UsageError: another form, I is not from 1 to N, or N is beyond a million.
    """
    match = _FORM.fullmatch(text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]) <= MAX_SHARDS:
        raise UsageError(
            f"--shard {printable(text[:40])!r}: give I/N with I from 1 to N, such as 1/4; where a scheduler counts "
            "from 0, add 1"
        )
    return Shard(int(match[1]), int(match[2]))


def inputs_sha256(paths: Iterable[str]) -> str:
    """SHA-256 of a list of inputs: each path as it is displayed, in UTF-8, with a NUL after it."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.encode("utf-8", "backslashreplace") + b"\0")
    return digest.hexdigest()
