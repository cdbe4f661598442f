"""Words on results that hold a part of a scan, or were joined from several. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from spoofcheck.render.conditions import number_ranges
from spoofcheck.render.text import count
from spoofcheck.schema import MergeInfo, ScanDocument, ShardInfo

INTERRUPTED: Final = "inputs that had not been reached are missing from this result."
"""What an interrupted scan lacks."""


def shard_words(shard: ShardInfo) -> str:
    """`shard 2 of 4, 10 of all 40 inputs`."""
    return f"shard {shard.index:,} of {shard.count:,}, {shard.own_inputs:,} of all {count(shard.inputs, 'input')}"


def merged_words(merged: MergeInfo) -> str:
    """`joined from 4 results, shards 1-4 of 4`."""
    joined = f"joined from {count(len(merged.parts), 'result')}"
    if merged.shards is None:
        return joined
    given = [part.shard for part in merged.parts if part.shard is not None]
    return f"{joined}, {'shard' if len(given) == 1 else 'shards'} {number_ranges(given)} of {merged.shards:,}"


def gap_words(merged: MergeInfo) -> str:
    """What a joined result lacks, as a sentence without its full stop: shards, interrupted parts, inputs."""
    lacking = list(_lacking(merged))
    if merged.inputs is not None:
        lacking.append(f"{merged.missing_inputs:,} of all {count(merged.inputs, 'input')} have no finding")
    return "; ".join(lacking)


@dataclass(frozen=True, slots=True)
class Division:
    """What a report says of parts; empty where there is nothing to say."""

    shard: str
    merged: str
    gaps: str


def division(document: ScanDocument) -> Division:
    """The words that a report's templates put where they belong."""
    merged = document.merged
    return Division(
        shard="" if document.shard is None else shard_words(document.shard),
        merged="" if merged is None else merged_words(merged),
        gaps="" if merged is None or document.run.complete else gap_words(merged),
    )


def _lacking(merged: MergeInfo) -> Iterator[str]:
    if merged.missing_shards:
        shards = "shard" if len(merged.missing_shards) == 1 else "shards"
        yield f"no result was given of {shards} {number_ranges(merged.missing_shards)} of {merged.shards:,}"
    broken = [part.shard for part in merged.parts if not part.run.complete]
    numbers = [index for index in broken if index is not None]
    if numbers:
        yield f"{'shard' if len(numbers) == 1 else 'shards'} {number_ranges(numbers)} came to no end"
    elif broken:
        yield f"{count(len(broken), 'result')} came to no end"


def notices(document: ScanDocument) -> Iterator[str]:
    """What a reader must know before taking a result for a whole examination; a sentence each."""
    if document.shard is not None:
        groups = "" if document.tracer is None else " Unknown exhibits are not grouped before that."
        yield f"A PART ONLY: {shard_words(document.shard)}; 'spoofcheck merge' joins the results of all.{groups}"
    if document.run.complete:
        return
    yield f"INTERRUPTED: {INTERRUPTED}" if document.merged is None else f"INCOMPLETE: {gap_words(document.merged)}."
