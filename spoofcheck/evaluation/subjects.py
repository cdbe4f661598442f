"""Who is evaluated: a model on a protocol's clips, or a score file with its keys; and where a threshold comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spoofcheck.audio.inputs import display_path
from spoofcheck.errors import UsageError
from spoofcheck.evalschema import Caveat
from spoofcheck.evaluation.audit import check_splits
from spoofcheck.evaluation.clips import Clip
from spoofcheck.evaluation.detection import FixedThreshold, fixed_threshold
from spoofcheck.evaluation.document import Subject, Unscored
from spoofcheck.evaluation.scorefiles import Key, join, read_score_file
from spoofcheck.evaluation.shards import Team

if TYPE_CHECKING:
    from spoofcheck.detect.scorer import DeviceName
    from spoofcheck.evaluation.scoring import ClipScore, ClipScorer, WindowMode
    from spoofcheck.evaluation.workfolder import Watch
    from spoofcheck.nets.config import ModelConfig


@dataclass(frozen=True, slots=True)
class ScoringPlan:
    """How models score clips; see `scoring.ClipScorer` and `scoring.score_clips`."""

    windows: WindowMode
    device: DeviceName
    batch_windows: int | None
    workers: int | None
    work: Path | None
    team: Team


def model_subject(
    name: str,
    directory: Path,
    clips: Sequence[Clip],
    dev_clips: Sequence[Clip],
    plan: ScoringPlan,
    watch: Watch[ClipScore],
) -> tuple[Subject, FixedThreshold | None]:
    """Score a protocol's clips by a model, and fix its threshold: on dev clips where there are any, else its own.

    An uncalibrated model has none of its own.

    Errors as for `scoring.score_clips` and `fixed_threshold`.
    """
    from spoofcheck.detect.provenance import model_info
    from spoofcheck.evaluation.scoring import ClipScorer, score_clips

    scorer = ClipScorer(directory, plan.windows, plan.device, plan.batch_windows, plan.workers)
    threshold = own_threshold(scorer.bundle.config, plan.windows)
    if dev_clips:
        threshold = _dev_threshold(scorer, dev_clips, plan, watch)
    outcome = score_clips(scorer, clips, team=plan.team, work=plan.work, watch=watch)
    unscored = [Unscored(row.name, row.problem or "unscored") for row in outcome.unscored]
    return Subject(name, model_info(scorer.bundle), outcome.trials, unscored), threshold


def _dev_threshold(
    scorer: ClipScorer, dev_clips: Sequence[Clip], plan: ScoringPlan, watch: Watch[ClipScore]
) -> FixedThreshold:
    from spoofcheck.evaluation.scoring import score_clips

    dev = score_clips(scorer, dev_clips, team=plan.team, work=plan.work, watch=watch)
    return fixed_threshold(dev.trials, f"the dev set of {len(dev.trials):,} trials")


def own_threshold(config: ModelConfig, windows: WindowMode) -> FixedThreshold | None:
    """The threshold a model's own decision rule was given on its dev set, in the field's direction.

    None for an uncalibrated model.
    """
    if config.calibration is None:
        return None
    rule = config.decision
    llr = rule.spoof_threshold_llr if windows == "all" else rule.window_threshold_llr
    return FixedThreshold(-llr, f"the model's own dev set ({config.calibration.data})")


def file_subject(name: str, path: Path, keys: Mapping[str, Key] | None, keys_name: str, *, partial: bool) -> Subject:
    """The trials of a score file.

    Args:
        name: of the subject.
        path: the score file.
        keys: by trial name, or None to take them from the file's own label column.
        keys_name: where they come from, for messages.
        partial: accept keys without a score (they count as unscored), as a comparison on common trials does.

    Raises:
        UsageError: see `scorefiles.read_scores`.
    """
    file = read_score_file(path)
    known = keys if keys is not None else file.keys
    if known is None:
        raise UsageError(
            f"{display_path(path)}: has no 'cm-label' column; give the labels with --keys FILE or --protocol KIND PATH"
        )
    lacking = [name for name in known if name not in file.scores] if partial else []
    if lacking:
        known = {name: key for name, key in known.items() if name in file.scores}
    trials = join(file, known, display_path(path), keys_name)
    return Subject(name, None, trials, [Unscored(trial, "no-score") for trial in lacking])


def overlap_caveats(parts: Mapping[str, Sequence[Clip]], tested: str) -> tuple[Caveat, ...]:
    """What the tested part shares with each of the others.

    Args:
        parts: name -> clips.
        tested: the name of the part that is measured on.

    Raises:
        UsageError: the tested part shares recordings with another.
    """
    caveats = []
    for name, clips in parts.items():
        if name == tested:
            continue
        pair = {name: clips, tested: parts[tested]}
        there = {part: [clip for clip in listed if clip.path.is_file()] for part, listed in pair.items()}
        is_whole = len(there[name]) == len(clips)
        by_claims = check_splits(pair, hash_files=False)
        refused = by_claims.refused or (check_splits(there).refused if is_whole else ())
        if refused:
            raise UsageError(f"{refused[0]}: figures on recordings that were learnt from say nothing")
        caveats += [Caveat(code="shared-sources", message=f"{warning}.") for warning in by_claims.warnings]
        if not is_whole:
            message = (
                f"{len(clips) - len(there[name]):,} recordings of {name} are not on this machine: whether {tested} "
                "holds the same ones was judged by their places and recorded hashes alone."
            )
            caveats.append(Caveat(code="overlap-not-hashed", message=message))
    return tuple(caveats)


def score_file_threshold(path: Path, keys: Mapping[str, Key] | None, keys_name: str) -> FixedThreshold:
    """The threshold that a dev set's score file gives. Errors as for `file_subject`."""
    dev = file_subject("dev", path, keys, keys_name, partial=False)
    return fixed_threshold(dev.trials, f"{display_path(path)} ({len(dev.trials):,} trials)")
