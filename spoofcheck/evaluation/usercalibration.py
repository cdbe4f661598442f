"""Calibrates a detector on its user's own labelled recordings, and writes it as a new model directory.

The weights stay what they are; the configuration gets a calibration, thresholds and the figures of a cross-validation,
the card a section about them, and `calibration.json` a record of what they rest on.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import jinja2

from spoofcheck import __version__
from spoofcheck.detect.toolinfo import git_commit
from spoofcheck.errors import OutputError, UsageError
from spoofcheck.evaluation.audit import manifest_sha256
from spoofcheck.evaluation.calibrationrecord import CALIBRATION_FILE, CalibrationRecord, present
from spoofcheck.evaluation.clips import UNKNOWN, Clip
from spoofcheck.evaluation.crossfit import CrossFit, Fit, Recording, cross_fit, fit
from spoofcheck.evaluation.fitting import FALSE_ALARMS, MISSES, ThresholdRule
from spoofcheck.evaluation.recordingscores import RecordingScores, recording_job
from spoofcheck.evaluation.scorefiles import trial_names
from spoofcheck.evaluation.scoring import ClipScorer
from spoofcheck.evaluation.shards import Team
from spoofcheck.evaluation.workfolder import Watch, rows_of
from spoofcheck.nets.bundle import Bundle
from spoofcheck.nets.config import CONFIG_FILE, ModelConfig, config_json
from spoofcheck.nets.index import CARD_FILE, PLOT_FILE, RECORD_FILE, WEIGHTS_FILE, read_origin, write_origin
from spoofcheck.resources import models_dir, templates_dir

CARD_TEMPLATE = "calibration-card.md.j2"

MIN_TRIALS = 20
"""Recordings of each class that a calibration needs: with fewer, one recording in twenty is less than one recording."""

_OWN_LIMITATION = "Calibrated by its user on "


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A calibration that was fitted and measured, ready to be written."""

    config: ModelConfig
    record: CalibrationRecord
    crossed: CrossFit


@dataclass(frozen=True, slots=True)
class LabelledData:
    """The user's recordings.

    Attributes:
        name: what they are called.
        clips: of a protocol.
        files: SHA-256 of the protocol files, by name.
    """

    name: str
    clips: Sequence[Clip]
    files: Mapping[str, str]


def check_target(directory: Path) -> None:
    """Refuse a place where no model may be written.

    Raises:
        UsageError: something is there already, or it lies among the shipped models.
    """
    if directory.resolve().is_relative_to(models_dir().resolve()):
        raise UsageError(f"--out {directory}: lies among the shipped models, which are never changed")
    if directory.exists() or directory.is_symlink():
        raise UsageError(f"--out {directory}: is there already, and no model is ever overwritten; name another folder")


def check_enough(clips: Sequence[Clip], name: str) -> None:
    """Refuse, before anything is scored, data that no calibration can rest on.

    Raises:
        UsageError: a class has too few recordings.
    """
    _check_counts(sum(not clip.is_spoof for clip in clips), sum(clip.is_spoof for clip in clips), name, "")


def score(
    scorer: ClipScorer, clips: Sequence[Clip], team: Team, work: Path | None, watch: Watch[RecordingScores] | None
) -> list[RecordingScores]:
    """The raw scores of all recordings, in the order of the clips. Errors as for `scoring.score_clips`."""
    names = trial_names(clips)
    rows = rows_of(recording_job(scorer), names, clips, team=team, work=work, watch=watch)
    return [rows[name] for name in names]


def calibrate(bundle: Bundle, name: str, data: LabelledData, rows: Sequence[RecordingScores]) -> Calibrated:
    """Fit a calibration on scored recordings, and measure it by cross-validation.

    Args:
        bundle: the model.
        name: of the model that is to be.
        data: the recordings.
        rows: their scores, in the same order.

    Raises:
        UsageError: too few scored recordings of a class, or scores that cannot be calibrated.
    """
    pairs = [(clip, row) for clip, row in zip(data.clips, rows, strict=True) if row.raw_score is not None]
    unscored = Counter(row.problem or "unscored" for row in rows if row.raw_score is None)
    missing = f" ({', '.join(f'{problem}: {n:,}' for problem, n in sorted(unscored.items()))} without a score)"
    recordings = [_recording(clip, row) for clip, row in pairs]
    human = sum(not each.is_spoof for each in recordings)
    _check_counts(human, len(recordings) - human, data.name, missing if unscored else "")
    own = bundle.config.decision
    rule = ThresholdRule(FALSE_ALARMS, MISSES, own.min_window_speech_s, own.min_exhibit_speech_s)
    words = f"{data.name} ({len(recordings):,} recordings of the user's own)"
    try:
        fitted = fit(recordings, words, rule)
        crossed = cross_fit(recordings, f"{data.name}, cross-validated", rule, bundle.config.gate)
    except ValueError as error:
        raise UsageError(
            f"{data.name}: no calibration can be fitted on the scores of {bundle.config.name}: {error}; check the "
            "labels, or take another model: no model was written"
        ) from error
    record = _record(bundle, data, pairs, recordings, unscored, crossed)
    return Calibrated(_config(bundle.config, name, fitted, crossed, data, record), record, crossed)


def write_calibrated(directory: Path, bundle: Bundle, calibrated: Calibrated) -> None:
    """Write the model directory, all of it or nothing. The weights are linked where the disk allows it, else copied.

    Raises:
        UsageError: see `check_target`.
        OutputError: it cannot be written.
    """
    check_target(directory)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    except OSError as error:
        raise OutputError(f"{directory}: cannot be made ({error.strerror or error})") from error
    try:
        _link(bundle.directory / WEIGHTS_FILE, beside / WEIGHTS_FILE)
        for name in (RECORD_FILE, PLOT_FILE):
            if (bundle.directory / name).is_file():
                shutil.copyfile(bundle.directory / name, beside / name)
        (beside / CONFIG_FILE).write_text(config_json(calibrated.config), encoding="utf-8")
        (beside / CARD_FILE).write_text(card_of(calibrated, _former_card(bundle.directory)), encoding="utf-8")
        (beside / CALIBRATION_FILE).write_text(calibrated.record.model_dump_json(indent=1) + "\n", encoding="utf-8")
        origin = read_origin(bundle.directory)
        write_origin(beside, None if origin is None else origin.origin)
        beside.chmod(0o755)
        beside.rename(directory)
    except OSError as error:
        raise OutputError(f"{directory}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def card_of(calibrated: Calibrated, former: str) -> str:
    """The card: what the calibration rests on and is worth, and below it the card of the model as it was before."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_dir()),
        autoescape=False,  # Markdown; what comes from outside passes `cell`
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["pct"] = lambda share: f"{100 * share:.1f}"
    made.filters["cell"] = _cell
    return made.get_template(CARD_TEMPLATE).render(
        config=calibrated.config, record=calibrated.record, crossed=calibrated.crossed, former=former.strip()
    )


def _check_counts(human: int, synthetic: int, name: str, why: str) -> None:
    few = [f"{number:,} {what}" for number, what in ((human, "human"), (synthetic, "synthetic")) if number < MIN_TRIALS]
    if few:
        raise UsageError(
            f"{name}: {' and '.join(few)} recordings{why}; a calibration needs at least {MIN_TRIALS} of each, and "
            "hundreds for strong statements"
        )


def _recording(clip: Clip, row: RecordingScores) -> Recording:
    return Recording(
        is_spoof=clip.is_spoof,
        system=clip.system,
        source=clip.source,
        raw_score=0.0 if row.raw_score is None else row.raw_score,
        distance=row.distance,
        windows=row.windows,
    )


def _record(
    bundle: Bundle,
    data: LabelledData,
    pairs: Sequence[tuple[Clip, RecordingScores]],
    recordings: Sequence[Recording],
    unscored: Mapping[str, int],
    crossed: CrossFit,
) -> CalibrationRecord:
    there = present(data.clips)
    human = [each.raw_score for each in recordings if not each.is_spoof]
    synthetic = [each.raw_score for each in recordings if each.is_spoof]
    return CalibrationRecord(
        spoofcheck=__version__,
        git_commit=git_commit(),
        model={
            "name": bundle.config.name,
            "version": bundle.config.version,
            "weights_sha256": bundle.weights_sha256,
            "config_sha256": bundle.config_sha256,
        },
        data=data.name,
        files=dict(data.files),
        clips_sha256=manifest_sha256(there),
        clips=dict(sorted(Counter(clip.label for clip in there).items())),
        systems=dict(sorted(Counter(clip.system for clip, _ in pairs if clip.is_spoof).items())),
        unscored=dict(sorted(unscored.items())),
        is_separable=max(human) < min(synthetic),
        figures={
            "folds": crossed.folds,
            "by_source": crossed.by_source,
            "levels": [figure.model_dump(mode="json") for figure in crossed.figures],
            "human": asdict(crossed.human),
            "synthetic": asdict(crossed.synthetic),
        },
    )


def _config(
    former: ModelConfig, name: str, fitted: Fit, crossed: CrossFit, data: LabelledData, record: CalibrationRecord
) -> ModelConfig:
    limitations = [each for each in former.limitations if not each.startswith(_OWN_LIMITATION)]
    limitations.append(f"{_OWN_LIMITATION}{data.name}: likelihood ratios hold for recordings like those.")
    if record.is_separable:
        limitations.append(
            f"{_OWN_LIMITATION}recordings that its scores separate without error: where its errors begin is not known."
        )
    if set(record.systems) == {UNKNOWN}:
        limitations.append(f"{_OWN_LIMITATION}synthetic recordings of systems that are not known.")
    return ModelConfig.model_validate(
        former.model_dump()
        | {
            "name": name,
            "calibration": fitted.calibration.model_dump(),
            "decision": fitted.decision.model_dump(),
            "limitations": tuple(limitations),
            "validation": tuple(figure.model_dump() for figure in crossed.figures),
        }
    )


def _former_card(directory: Path) -> str:
    try:
        return (directory / CARD_FILE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _link(source: Path, target: Path) -> None:
    """A hard link, so that a large model is not stored twice; a copy where there can be none."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _cell(text: object) -> str:
    """Text from outside on one line of Markdown, where it can neither end a table's cell nor begin an element."""
    shown = "".join(char if char.isprintable() else " " for char in str(text))
    return "".join(f"\\{char}" if char in "\\|`*_[]<>#" else char for char in shown)
