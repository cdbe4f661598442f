"""`spoofcheck sources`: which sources tracing knows, and how one is added from a few clips."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spoofcheck.cli.hearing import hear, load_named_tracer, why_not
from spoofcheck.cli.options import device_option
from spoofcheck.cli.output import check_outputs, write_output
from spoofcheck.cli.status import ExitStatus
from spoofcheck.errors import ModelError, OutputError, UsageError

if TYPE_CHECKING:
    from spoofcheck.detect.sourcestore import SourceStore, StoredClip, StoredSource, StoreTracer
    from spoofcheck.nets.bundle import TracerBundle

app = typer.Typer(
    name="sources",
    help="The sources that a tracer compares recordings with: list, enroll, remove, evaluate.",
    no_args_is_help=True,
)

Tracer = Annotated[
    str | None,
    typer.Option(
        "--tracer", metavar="NAME|DIR|hub:OWNER/NAME", help="The tracer.", show_default="the shipped one, if any"
    ),
]
Store = Annotated[
    Path | None,
    typer.Option(
        "--store",
        metavar="FILE",
        help="Where enrolled sources are kept, e.g. a case's own file.",
        show_default="sources.json in the user's data directory",
    ),
]
On = Annotated[str, device_option(None, "--device")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output instead of tables.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]


@app.command("list")
def list_(tracer: Tracer = None, store: Store = None, json: Json = False) -> int:
    """List the sources that a tracer ships with and those that were enrolled with it."""
    from rich.console import Console

    from spoofcheck.cli.sources_tables import list_json, list_table
    from spoofcheck.detect.sourcestore import read_store
    from spoofcheck.nets.config import read_tracer_config
    from spoofcheck.nets.index import find_model, shipped_tracer

    path = _place(store)
    name = tracer or shipped_tracer()
    directory = None if name is None else find_model(name)
    identity = None if directory is None else _identity_of(directory)
    kept = read_store(path, None if tracer is None else identity) if store is not None or path.exists() else None
    # A store may belong to another tracer than the shipped one: what that ships is no part of its gallery.
    is_theirs = kept is None or kept.tracer == identity
    shipped = read_tracer_config(directory).classes if directory is not None and is_theirs else ()
    if json:
        typer.echo(list_json(path, kept, shipped), nl=False)
        return ExitStatus.CLEAR
    Console().print(list_table(kept, shipped))
    if kept is None:
        _say(f"no sources are enrolled ({path} does not exist)")
    return ExitStatus.CLEAR


@app.command("enroll")
def enroll(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the source is called in results.")],
    clips: Annotated[
        list[Path],
        typer.Argument(
            metavar="CLIPS...",
            help="Recordings known to be made by it, at least 5, best 5 to 20; folders are searched.",
        ),
    ],
    tracer: Tracer = None,
    store: Store = None,
    note: Annotated[
        str, typer.Option(metavar="TEXT", help="Where the clips are from; shown with results.", show_default=False)
    ] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Enrol the source anew from these clips alone.")] = False,
    device: On = "auto",
    quiet: Quiet = False,
) -> int:
    """Add a source from a few of its recordings; nothing is trained, and no audio is kept.

    Exits with 0 when done, 2 when nothing was enrolled, 3 when some clips were left out. Example: spoofcheck sources
    enroll "Narrator app" clips/narrator --tracer compact-tracer --store case-17.json
    """
    from rich.console import Console

    from spoofcheck.cli.sources_tables import enrolment_tables
    from spoofcheck.detect.enrolment import MIN_CLIPS
    from spoofcheck.detect.exhibittracer import identity_of
    from spoofcheck.detect.gallery import require_prototypes
    from spoofcheck.detect.sourcestore import (
        checked_name,
        checked_note,
        in_order,
        new_store,
        read_store,
        store_json,
        with_source,
    )

    checked_note(note)
    path = _place(store)
    bundle = load_named_tracer(tracer)
    require_prototypes(bundle)
    name = checked_name(name, bundle.config.classes)
    identity = identity_of(bundle)
    kept = read_store(path, identity) if path.exists() else new_store(identity)
    former = kept.find(name)
    if former is not None and not replace:
        raise UsageError(f"the source {former.name!r} is enrolled already; --replace enrols it anew")
    _make_folder(path, is_default=store is None)
    check_outputs([path])

    named = _Named.of(clips, kept, former)
    heard, left_out = _embedded(named.clips, bundle, device, quiet)
    left_out = [*named.left_out, *left_out]
    for line in left_out:
        _say(line)
    if len(heard) < MIN_CLIPS:
        raise UsageError(
            f"{name!r}: {_clips(len(heard))} to enrol, and at least {MIN_CLIPS} are needed; nothing was changed"
        )
    enrolled = _enrolled(bundle, kept, former, name, note, in_order(heard))
    if path.exists() and read_store(path, identity).sha256 != kept.sha256:
        raise UsageError(f"{path}: changed while the clips were heard; nothing was written, run the command again")
    write_output(path, store_json(with_source(kept, enrolled)))
    Console().print(enrolment_tables(enrolled))
    for other in enrolled.confused_with:
        _say(f"warning: {name!r} cannot be told apart from {other!r} on these clips: both are reported as one group")
    _say(f"{path}: {name!r} enrolled from {_clips(len(heard))}, revision {enrolled.revision}")
    return ExitStatus.INCOMPLETE if left_out else ExitStatus.CLEAR


@app.command("remove")
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An enrolled source.")], store: Store = None
) -> int:
    """Remove an enrolled source; those shipped with a tracer stay."""
    from spoofcheck.detect.sourcestore import read_store, store_json, without_source

    path = _place(store)
    kept = read_store(path)
    rest = without_source(kept, name)
    write_output(path, store_json(rest))
    _say(f"{path}: {name!r} removed, {len(rest.sources)} left")
    return ExitStatus.CLEAR


@app.command("evaluate")
def evaluate(tracer: Tracer = None, store: Store = None, json: Json = False) -> int:
    """Trace every enrolled clip as if it had not been enrolled: what is found again, and what is mistaken for what."""
    from rich.console import Console

    from spoofcheck.cli.sources_tables import evaluation_json, evaluation_table
    from spoofcheck.detect.enrolment import evaluate_gallery, groups
    from spoofcheck.detect.exhibittracer import identity_of
    from spoofcheck.detect.gallery import acceptance, gallery_of, require_prototypes
    from spoofcheck.detect.sourcestore import read_store

    path = _place(store)
    bundle = load_named_tracer(tracer)
    require_prototypes(bundle)
    identity = identity_of(bundle)
    kept = read_store(path, identity) if store is not None or path.exists() else None
    gallery = gallery_of(bundle, kept.enrolled() if kept is not None else ())
    found = evaluate_gallery(gallery, acceptance(bundle))
    if json:
        typer.echo(evaluation_json(identity, bundle.config.open_set, found), nl=False)
        return ExitStatus.CLEAR
    Console().print(evaluation_table(found))
    for group in groups(found):
        _say(f"warning: cannot be told apart, and are reported as one group: {', '.join(map(repr, group))}")
    return ExitStatus.CLEAR


@dataclass(frozen=True, slots=True)
class _Named:
    """The recordings the user named, by the hash of their bytes, and why others were left out."""

    clips: dict[str, Path]
    left_out: list[str]

    @classmethod
    def of(cls, named: Sequence[Path], kept: SourceStore, former: StoredSource | None) -> _Named:
        """Find and hash them; the same bytes count once, and for one source only."""
        from spoofcheck.audio.inputs import display_path, find_inputs
        from spoofcheck.nets.index import file_sha256
        from spoofcheck.types import Skipped

        owners = {clip.sha256: source.name for source in kept.sources if source is not former for clip in source.clips}
        clips: dict[str, Path] = {}
        left_out = []
        for found in find_inputs(named):
            if isinstance(found, Skipped):
                left_out.append(f"{display_path(found.path)}: left out: {found.message}")
                continue
            try:
                sha256 = file_sha256(found)
            except OSError as error:
                left_out.append(f"{display_path(found)}: left out: it cannot be read ({error.strerror})")
                continue
            if sha256 in owners:
                left_out.append(f"{display_path(found)}: left out: it is a clip of the source {owners[sha256]!r}")
            elif sha256 in clips:
                left_out.append(f"{display_path(found)}: left out: the same bytes as {display_path(clips[sha256])}")
            else:
                clips[sha256] = found
        # One order whatever the order they were named in.
        return cls(dict(sorted(clips.items())), left_out)


def _embedded(
    clips: dict[str, Path], bundle: TracerBundle, device: str, quiet: bool
) -> tuple[list[StoredClip], list[str]]:
    """The clips' embeddings, and a line for each that has none."""
    from spoofcheck.audio.inputs import display_path
    from spoofcheck.detect.sourcestore import stored_clip

    heard: list[StoredClip] = []
    left_out = []
    for path, row in hear(clips, bundle, device, quiet):
        try:
            if row.embedding is None:
                raise ValueError(why_not(row.problem))
            heard.append(stored_clip(display_path(path.name), row.name, row.windows, row.embedding))
        except ValueError as error:
            left_out.append(f"{display_path(path)}: left out: {error}")
    return heard, left_out


def _enrolled(
    bundle: TracerBundle,
    kept: SourceStore,
    former: StoredSource | None,
    name: str,
    note: str,
    clips: tuple[StoredClip, ...],
) -> StoredSource:
    from spoofcheck.detect.enrolment import leave_one_out, prototype_of, separability
    from spoofcheck.detect.gallery import Source, acceptance, gallery_of
    from spoofcheck.detect.sourcestore import StoredSource, members_of, now

    others = gallery_of(bundle, [source.source() for source in kept.sources if source is not former])
    members = members_of(clips)
    try:
        source = Source(name, prototype_of(members), members, "enrolled", len(clips))
        estimate = leave_one_out(source, others, acceptance(bundle))
        pairs = separability(source, others)
    except ValueError as error:
        raise UsageError(f"{name!r}: the clips have nothing in common ({error})") from error
    return StoredSource(
        name=name,
        note=note,
        created_at=now(),
        revision=1 if former is None else former.revision + 1,
        clips=clips,
        leave_one_out=estimate,
        separability=pairs,
    )


def _place(store: Path | None) -> Path:
    from spoofcheck.detect.sourcestore import default_store

    return default_store() if store is None else store


def _make_folder(path: Path, is_default: bool) -> None:
    """The user's data directory is made when missing; a folder that the user names must be there."""
    if not is_default:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path.parent}: cannot be made ({error.strerror})") from error


def _identity_of(directory: Path) -> StoreTracer:
    """Without loading the tracer."""
    from spoofcheck.detect.sourcestore import StoreTracer
    from spoofcheck.nets.config import read_tracer_config
    from spoofcheck.nets.index import WEIGHTS_FILE, file_sha256

    config = read_tracer_config(directory)
    try:
        weights_sha256 = file_sha256(directory / WEIGHTS_FILE)
    except OSError as error:
        raise ModelError(f"{directory / WEIGHTS_FILE}: cannot be read ({error.strerror})") from error
    return StoreTracer(name=config.name, version=config.version, weights_sha256=weights_sha256)


def _clips(number: int) -> str:
    from spoofcheck.render.text import count

    return count(number, "clip")


def _say(*lines: str) -> None:
    from spoofcheck.render.text import printable

    for line in lines:
        print(f"spoofcheck: {printable(line)}", file=sys.stderr)
