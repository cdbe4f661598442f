"""`spoofcheck models calibrate`: likelihood ratios for a model, fitted on its user's own labelled recordings."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spoofcheck.cli.options import batch_size_option, device_option, parse_batch_size, workers_option
from spoofcheck.cli.status import ExitStatus
from spoofcheck.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from spoofcheck.evaluation.recordingscores import RecordingScores
    from spoofcheck.evaluation.usercalibration import Calibrated, LabelledData
    from spoofcheck.nets.config import ModelConfig

_DATA = "Data"
_SCORING = "Scoring"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_SUFFIX = "-calibrated"


def calibrate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="Detector to calibrate: a name or a directory, as for scan.", show_default=False
        ),
    ],
    protocol: Annotated[
        tuple[str, Path],
        typer.Option(
            metavar="KIND PATH",
            help="Label file or folder of your recordings, of a kind that eval reads: labels, manifest, folders, ...",
            rich_help_panel=_DATA,
            show_default=False,
        ),
    ],
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of the audio.", rich_help_panel=_DATA, show_default="the protocol's own"
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only this part of the protocol.", rich_help_panel=_DATA, show_default="all"),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What the new model is called.", show_default="MODEL-calibrated"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder to write, which must not be there yet. Needed where the model is calibrated already.",
            show_default="NAME in your own models",
        ),
    ] = None,
    device: Annotated[str, device_option(_SCORING)] = "auto",
    batch_size: Annotated[str, batch_size_option(_SCORING)] = "auto",
    workers: Annotated[int | None, workers_option(_SCORING)] = None,
    work: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep every score here as it comes: a stopped run goes on where it was.",
            rich_help_panel=_SCORING,
            show_default=False,
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no tables.")] = False,
    debug: Annotated[  # noqa: ARG001  cli.run reads it from the command line
        bool, typer.Option("--debug", help="Show where an error came from.")
    ] = False,
) -> int:
    """Fit likelihood ratios on recordings of known origin, and write a new model that gives them.

    The weights stay as they are. Example: spoofcheck models calibrate xlsr-nes2net-la --protocol labels mine.csv
    """
    from rich.console import Console

    from spoofcheck.nets.config import read_config
    from spoofcheck.nets.index import find_model

    directory = find_model(model)
    config = read_config(directory)
    new_name = _name(name, config)
    target = _target(out, new_name, config)
    batch_windows = parse_batch_size(batch_size)

    # Only now are torch and scikit-learn worth their seconds.
    from spoofcheck.evaluation.scoring import ClipScorer
    from spoofcheck.evaluation.shards import Team
    from spoofcheck.evaluation.usercalibration import (
        calibrate,
        check_enough,
        check_target,
        score,
        write_calibrated,
    )

    check_target(target)
    data = _data(protocol, root, split)
    check_enough(data.clips, data.name)
    scorer = ClipScorer(directory, "all", device, batch_windows, workers)
    team = Team(0, 1, device)

    def watch(rows: Iterable[RecordingScores], total: int) -> Iterable[RecordingScores]:
        from spoofcheck.cli.steps import RichSteps

        return RichSteps(Console(stderr=True), not quiet).over(rows, "Scoring", total) if total else rows

    try:
        rows = score(scorer, data.clips, team, work, watch)
    except KeyboardInterrupt:
        kept = "nothing is kept (--work DIR makes a run that can go on)" if work is None else f"scores are in {work}"
        print(f"spoofcheck: interrupted; {kept}", file=sys.stderr)
        return ExitStatus.INTERRUPTED
    calibrated = calibrate(scorer.bundle, new_name, data, rows)
    write_calibrated(target, scorer.bundle, calibrated)
    if not quiet:
        _show(Console(), calibrated)
        _tell(Console(stderr=True), calibrated, target)
    return ExitStatus.CLEAR


def _name(given: str | None, config: ModelConfig) -> str:
    name = given if given is not None else config.name.removesuffix(_SUFFIX) + _SUFFIX
    if not _NAME.fullmatch(name):
        raise UsageError(f"--name {name}: small letters, digits, dots, dashes and underscores only")
    return name


def _target(out: Path | None, name: str, config: ModelConfig) -> Path:
    from spoofcheck.resources import user_models_dir

    if out is not None:
        return out
    if config.calibration is not None:
        raise UsageError(f"{config.name} is calibrated already; say with --out DIR where another calibration is to go")
    return user_models_dir() / name


def _data(protocol: tuple[str, Path], root: Path | None, split: str | None) -> LabelledData:
    from spoofcheck.evaluation.document import file_hashes
    from spoofcheck.evaluation.protocols import read_protocol
    from spoofcheck.evaluation.usercalibration import LabelledData

    kind, path = protocol
    clips = read_protocol(kind, path, root=root, split=split)
    name = (path.name or str(path)) + (f" ({split})" if split is not None else "")
    hashes = list(file_hashes([path]).values())  # none of a folder
    return LabelledData(name, clips, dict(zip([path.name], hashes, strict=False)))


def _show(console: Console, calibrated: Calibrated) -> None:
    """The figures of the cross-validation."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("trials", "human", "synthetic", "EER (95 %)", "minDCF", "actDCF", "Cllr", "Cllr_min"):
        table.add_column(heading, justify="left" if heading == "trials" else "right")
    for figure in calibrated.crossed.figures:
        table.add_row(
            f"{figure.level}s",
            f"{figure.bonafide_trials:,}",
            f"{figure.spoof_trials:,}",
            f"{figure.eer:.1%} ({100 * figure.eer_low:.1f}-{100 * figure.eer_high:.1f})",
            *(f"{value:.3f}" for value in (figure.min_dcf, figure.act_dcf, figure.cllr, figure.cllr_min)),
        )
    console.print(table)
    verdicts = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("recordings", "judged spoof", "inconclusive", "judged bona fide"):
        verdicts.add_column(heading, justify="left" if heading == "recordings" else "right")
    for words, shares in (("human", calibrated.crossed.human), ("synthetic", calibrated.crossed.synthetic)):
        verdicts.add_row(words, f"{shares.spoof:.1%}", f"{shares.inconclusive:.1%}", f"{shares.bonafide:.1%}")
    console.print()
    console.print(verdicts)


def _tell(console: Console, calibrated: Calibrated, target: Path) -> None:
    """What the figures are of, what to beware of, and where the model is."""
    from spoofcheck.render.text import count, printable

    record, crossed, calibration = calibrated.record, calibrated.crossed, calibrated.config.calibration
    lines = [
        f"Figures of {crossed.folds} folds, each measured with a calibration fitted on the others"
        + ("." if crossed.by_source else "; one speaker's recordings may be on both sides.")
    ]
    if calibration is not None:
        lines.append(f"LLRs are bounded at ±{calibration.llr_bound:.2f} by the number of recordings.")
    if record.unscored:
        problems = ", ".join(f"{problem}: {number:,}" for problem, number in record.unscored.items())
        lines.append(f"Left out: {count(sum(record.unscored.values()), 'recording')} without a score ({problems}).")
    if record.is_separable:
        lines.append("No errors at all on these data: they do not say where errors begin. Harder ones would.")
    licence = printable(calibrated.config.licence)
    lines.append(
        f"The model is {printable(str(target))}; its card is README.md in it. Licence of its weights: {licence}"
    )
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
