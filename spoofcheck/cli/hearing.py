"""A tracer with prototypes and the recordings that it hears one by one, for `sources` and `link`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from spoofcheck.errors import UsageError

if TYPE_CHECKING:
    from spoofcheck.evaluation.cliptracing import TracedClip
    from spoofcheck.nets.bundle import TracerBundle


def load_named_tracer(tracer: str | None) -> TracerBundle:
    """The tracer that `--tracer` names, or the shipped one.

    Raises:
        UsageError: none is named, and there is none to take.
        ModelError: not there, damaged, or no tracer.
    """
    from spoofcheck.nets.bundle import load_tracer
    from spoofcheck.nets.index import find_model, shipped_tracer

    name = tracer or shipped_tracer()
    if name is None:
        raise UsageError("--tracer is needed: there is no tracer, or more than one, among the shipped models")
    return load_tracer(find_model(name))


def hear(
    clips: Mapping[str, Path], bundle: TracerBundle, device: str, quiet: bool
) -> Iterator[tuple[Path, TracedClip]]:
    """Read recordings and embed all their windows with speech.

    Args:
        clips: by the SHA-256 of their bytes, which becomes the trial's name.
        bundle: the tracer.
        device: where the network runs.
        quiet: no progress.

    Raises:
        UsageError: the device is not there.
    """
    from rich.console import Console

    from spoofcheck.cli.steps import RichSteps
    from spoofcheck.evaluation.clips import Clip
    from spoofcheck.evaluation.cliptracing import ClipTracer

    if not clips:
        return
    # One window at a time, on a GPU too, where a forward pass may round differently beside others: what is found must
    # not depend on the company a clip came in.
    tracer = ClipTracer(bundle, "all", device, 1, embeddings=True)
    rows = tracer.trace(list(clips), [Clip(sha256, path, "spoof") for sha256, path in clips.items()])
    steps = RichSteps(Console(stderr=True), enabled=not quiet)
    yield from zip(clips.values(), steps.over(rows, "Listening", len(clips)), strict=True)


def why_not(problem: str | None) -> str:
    """Why a recording has no embedding: a reason's code in words; the others explain themselves (docs/formats.md)."""
    return "it holds no window with enough speech" if problem in (None, "no-speech") else str(problem)
