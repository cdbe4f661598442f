"""The recipe: every number a training run depends on, read from YAML and checked before anything is loaded.

Importing this module imports neither torch nor lightning, so that a mistake in a recipe is told at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from spoofcheck.errors import UsageError
from spoofcheck.evaluation.protocols import ProtocolKind
from spoofcheck.nets.config import (
    BackEndConfig,
    ClassName,
    FrontEndConfig,
    HeadConfig,
    SystemPattern,
    ValidatedConfig,
)
from spoofcheck.training.augment.rule import AugmentRule
from spoofcheck.training.metrics import DEV_METRICS

Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0)]


class Rule(BaseModel):
    """A part of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SourceRule(Rule):
    """One labelled set of recordings, in any protocol `spoofcheck eval` reads.

    Attributes:
        path: protocol file or folder, relative to `data.root`.
        root: folder the audio paths are relative to, likewise; None is the folder of the protocol.
        split: which of the parts it names; None takes all.
        part: only sources (speakers, or clips of unknown speakers) whose hash lies in this range of 0 to 1, so that
            one set can be divided without a speaker on both sides.
    """

    kind: ProtocolKind
    path: str
    root: str | None = None
    split: str | None = None
    part: tuple[Share, Share] = (0.0, 1.0)


class WindowRule(Rule):
    """How recordings become training windows.

    Attributes:
        to_speech: cut what precedes and follows the speech; False takes recordings as they are.
        min_speech_s: a window with less active speech is not kept.
        margin_s: up to this much of what precedes and follows the speech is kept, a random amount per clip.
        active_db: a 20 ms frame is active when its level is within this range of the clip's loudest frames.
    """

    to_speech: bool = True
    min_speech_s: Rate = 0.5
    margin_s: Rate = 0.3
    active_db: Rate = 35.0


class DataRule(Rule):
    """Where the audio comes from and how much of each source is taken.

    Attributes:
        root: folder that relative paths of the sources begin at.
        train: what is learnt from.
        dev: what chooses the checkpoint, the calibration and the thresholds.
        test: what is only measured on, once, at the end.
        store: decode every training window once into a file under OUT; False decodes each time a clip is drawn.
        clip_caps: most clips of one system (or of human speech) taken from a repository, speakers in turn.
        windows_per_clip: by repository; 1 where not named.
        dev_windows: most windows of a human and of a synthetic dev clip that the dev metric is computed on.
        copies: copies of human windows by vocoder (`training.copysynth`), added to training as spoofs.
        engines: folder that vocoders from unpacked packages are loaded from, relative to `root`.
    """

    root: str = "."
    train: tuple[SourceRule, ...] = Field(min_length=1)
    dev: tuple[SourceRule, ...] = Field(min_length=1)
    test: tuple[SourceRule, ...] = ()
    store: bool = True
    window: WindowRule = WindowRule()
    clip_caps: dict[str, PositiveInt] = {}
    windows_per_clip: dict[str, PositiveInt] = {}
    dev_windows: tuple[PositiveInt, PositiveInt] = (1, 1)
    copies: dict[str, PositiveInt] = {}
    engines: str | None = None


class ModelRule(Rule):
    """The network and what its weights begin as.

    Attributes:
        back_end: of a detector; boosting makes its own.
        head: of a tracer.
        front_end_weights: "none", "distillmos" (the stem inside the PyPI package), or for XLS-R a folder, file or hub
            name in transformers' naming.
        start_from: model directory whose weights the whole network begins with.
    """

    front_end: FrontEndConfig
    back_end: BackEndConfig | None = None
    head: HeadConfig | None = None
    window_samples: PositiveInt = 64_000
    front_end_weights: str = "none"
    start_from: str | None = None


class BalancedBatches(Rule):
    """Batches with fixed shares of human windows, copies of the same windows, and other spoofs.

    Attributes:
        copies: how many of the human windows bring one of their copies along.
        synthetic: windows of spoofing systems; systems weigh alike but for the root of their size.
        repo_weights: relative frequency of a repository among human windows; 1 where not named.
    """

    kind: Literal["balanced"] = "balanced"
    bonafide: PositiveInt
    copies: NonNegativeInt = 0
    synthetic: NonNegativeInt
    steps_per_epoch: PositiveInt
    repo_weights: dict[str, Annotated[float, Field(gt=0)]] = {}

    @property
    def size(self) -> int:
        """Windows in a batch, over all devices."""
        return self.bonafide + self.copies + self.synthetic

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.copies > self.bonafide:
            raise ValueError("batch.copies cannot exceed batch.bonafide: each copy comes with its source")
        if self.copies + self.synthetic == 0:
            raise ValueError("batch.copies and batch.synthetic are both 0: a batch needs spoofs")
        return self


class ShuffledBatches(Rule):
    """Every window once an epoch, in a new order each; the rest that fills no batch is left out."""

    kind: Literal["shuffled"] = "shuffled"
    size: PositiveInt


class ClassBatches(Rule):
    """Classes drawn evenly, then a window of the class."""

    kind: Literal["classes"] = "classes"
    size: PositiveInt
    steps_per_epoch: PositiveInt


BatchRule = Annotated[BalancedBatches | ShuffledBatches | ClassBatches, Field(discriminator="kind")]


class EarlyStopping(Rule):
    """Stop when the dev metric has not bettered itself by `min_delta` for `patience` epochs."""

    patience: PositiveInt
    min_delta: Rate = 0.0


class GradientTraining(Rule):
    """The optimiser's settings; rates are peaks of the schedule.

    Attributes:
        front_end_rate: of the front-end's last layer; None is `rate`.
        layer_decay: each layer below has its rate multiplied by this once more.
        frozen_epochs: the front-end learns nothing for so many epochs; "all" never.
        frozen_layers: so many of the front-end's lowest layers never learn.
        cached_batches: with a front-end frozen for good, its features of so many batches are computed once and met
            again in a new order every epoch; None computes them anew.
        schedule: after the warm-up, at the peak ("constant") or down to `final_share` of it ("cosine").
        ema_decay: of the exponential moving average of the weights that is evaluated and kept; None keeps the weights.
        accumulate: batches per optimiser step.
        checkpoint_activations: keep only the inputs of XLS-R's layers, and compute the rest again going backwards.
        pair_weight: of the loss that ranks a copy above its source as spoof.
        select_by: dev metric that chooses the checkpoint; its direction belongs to the metric.
    """

    kind: Literal["gradient"] = "gradient"
    epochs: PositiveInt
    optimiser: Literal["adam", "adamw"] = "adamw"
    rate: Annotated[float, Field(gt=0)]
    front_end_rate: Rate | None = None
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    weight_decay: Rate = 0.0
    frozen_epochs: NonNegativeInt | Literal["all"] = 0
    frozen_layers: NonNegativeInt = 0
    cached_batches: PositiveInt | None = None
    warmup_steps: NonNegativeInt = 0
    schedule: Literal["constant", "cosine"] = "cosine"
    final_share: Share = 0.02
    gradient_clip: Annotated[float, Field(gt=0)] | None = None
    accumulate: PositiveInt = 1
    checkpoint_activations: bool = False
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    pair_weight: Rate = 0.0
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    select_by: str
    early_stopping: EarlyStopping | None = None
    workers: NonNegativeInt = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.cached_batches is not None and self.frozen_epochs != "all":
            raise ValueError("training.cached_batches needs training.frozen_epochs: all")
        return self


class BoostingTraining(Rule):
    """Gradient-boosted trees on fixed features (scikit-learn's HistGradientBoosting)."""

    kind: Literal["boosting"] = "boosting"
    batches: PositiveInt
    iterations: PositiveInt = 200
    learning_rate: Annotated[float, Field(gt=0)] = 0.1
    leaves: Annotated[int, Field(ge=2)] = 31
    l2: Rate = 0.0


class FoldRule(Rule):
    """What one network does without: whole repositories, and every system elsewhere of a family that they hold."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    repos: tuple[str, ...] = Field(min_length=1)


class FoldsTraining(Rule):
    """A statistics readout on a frozen front-end: one for each fold, then one on everything (`training.readout`).

    Each fold's readout scores the recordings it did without. These scores of generators, repositories and speakers
    unknown to the readout that gave them set calibration and thresholds; the last one, which is the result, learns
    from training and dev data alike.

    Attributes:
        batches: whose features are computed once; every readout learns from them, less its fold.
        inverse_penalty: of the logistic regression; less of it means smaller weights.
        human_directions: in which human sources differ most, made invisible.
        families: patterns of system names, of training data and copies (`copy:NAME`), that belong together.
        folds: what is left out; a human-only repository belongs to one of them as well.
    """

    kind: Literal["folds"] = "folds"
    batches: PositiveInt
    inverse_penalty: Annotated[float, Field(gt=0)] = 0.01
    human_directions: NonNegativeInt = 0
    families: dict[str, Annotated[tuple[SystemPattern, ...], Field(min_length=1)]]
    folds: tuple[FoldRule, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _check(self) -> Self:
        repos = [repo for fold in self.folds for repo in fold.repos]
        twice = sorted({repo for repo in repos if repos.count(repo) > 1})
        if twice:
            raise ValueError(f"training.folds: {twice[0]!r} is left out twice")
        return self


class PrototypeTraining(Rule):
    """A tracer's statistics embedding on a frozen front-end, and its open-set rule (`training.prototypes`).

    The classes of the recipe are families of generators. Rule and threshold are chosen on draws that leave families out
    of training; the result learns from training and dev data alike.

    Attributes:
        most_per_system: windows of one system of a repository that are taken.
        augmented: augmented versions of each window that are learnt from, beside it as it is.
        shrinkage: of the covariance of the discriminant analysis that the embedding begins with.
        steps: of the optimiser after it; 0 keeps the discriminant analysis.
        batch: windows a step.
        contrastive: weight of the contrastive loss beside the cross-entropy.
        temperature: of the contrastive loss.
        anchor: of what holds the projection where it began.
        feature_dropout: share of the features left out of a window of a step.
        left_out: families left out of a draw.
        draws: to choose on, and as many to measure on.
        held_share: of the clips of the others that are held back.
        resampled: resampled sets of an interval.
    """

    kind: Literal["prototypes"] = "prototypes"
    most_per_system: PositiveInt = 150
    augmented: PositiveInt = 1
    shrinkage: Annotated[float, Field(gt=0, le=1)] = 0.3
    steps: NonNegativeInt = 300
    batch: Annotated[int, Field(ge=4)] = 256
    rate: Annotated[float, Field(gt=0)] = 1e-3
    contrastive: Rate = 0.5
    temperature: Annotated[float, Field(gt=0)] = 0.1
    anchor: Rate = 0.01
    feature_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    left_out: PositiveInt
    draws: PositiveInt
    held_share: Annotated[float, Field(gt=0, lt=1)] = 0.3
    resampled: PositiveInt = 200


TrainingRule = Annotated[
    GradientTraining | BoostingTraining | FoldsTraining | PrototypeTraining, Field(discriminator="kind")
]


class FinishRule(Rule):
    """What happens after training: calibration and thresholds on dev, measuring on dev and test.

    Attributes:
        conditions: degraded versions of the dev and test clips that are scored too (`training.conditions`).
        most_per_system: clips of one system of a repository that are scored, twice as many human ones; None takes all.
            "train" counts only where folds score what they left out.
        most_per_system_degraded: likewise under each condition.
        trials_per_system: every spoofing system counts as so many trials in the calibration, by the quantiles of its
            scores, so that none dominates; None counts trials as they are.
        false_alarms: share of human dev exhibits the spoof threshold may flag.
        misses: share of dev spoofs the bona fide threshold may pass as human.
        min_exhibit_speech_s: speech an exhibit needs for a verdict.
        validated: conditions outside which a verdict is inconclusive.
        seen_acceptance: share of a tracer's seen dev clips its open-set threshold accepts; None keeps
            `open_set_threshold`.
        gate_components: principal directions of the validity gate (`training.gate`); None makes a model without one.
        uncalibrated: "allowed" writes a detector whose higher scores do not mean synthetic on dev, without calibration,
            gate or verdict, and its card says so; "refused" ends the run without a model.
        open_set_threshold: of a tracer's largest softmax; the published rule is 0.5.
    """

    conditions: tuple[Literal["mp3-64k", "opus-16k", "8khz", "noise-15db"], ...] = ()
    most_per_system: dict[Literal["train", "dev", "test"], PositiveInt] = {}
    most_per_system_degraded: dict[Literal["train", "dev", "test"], PositiveInt] = {}
    trials_per_system: PositiveInt | None = None
    false_alarms: Share = 0.05
    misses: Share = 0.10
    min_window_speech_s: Rate = 0.5
    min_exhibit_speech_s: Rate = 2.0
    validated: ValidatedConfig = ValidatedConfig(
        min_sample_rate_hz=8_000, min_bandwidth_hz=3_200, min_snr_db=15.0, max_clipping_share=0.02
    )
    seen_acceptance: Share | None = None
    open_set_threshold: Share = 0.5
    gate_components: PositiveInt | None = None
    uncalibrated: Literal["refused", "allowed"] = "refused"

    @model_serializer(mode="wrap")
    def _only_what_was_said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Recipes are known by a hash of their content, and shipped models' recipes are older than this key.
        content: dict[str, Any] = handler(self)
        if self.uncalibrated == "refused":
            content.pop("uncalibrated", None)
        return content


class Recipe(Rule):
    """One training run.

    Attributes:
        classes: of a tracer: class name to patterns of system names; systems no class takes are unseen. Without it
            every system of the training data is a class.
        purpose: what the model is for and what it must not be used for; opens the card.
        training_data: in words, for reports.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    version: str = Field(min_length=1)
    task: Literal["detector", "tracer"]
    seed: NonNegativeInt
    purpose: str
    licence: str
    training_data: str
    limitations: tuple[str, ...] = ()
    model: ModelRule
    data: DataRule
    batch: BatchRule
    augment: AugmentRule = AugmentRule()
    training: TrainingRule
    finish: FinishRule = FinishRule()
    classes: dict[ClassName, Annotated[tuple[SystemPattern, ...], Field(min_length=1)]] = {}

    @model_validator(mode="after")
    def _check(self) -> Self:
        wanted, other = ("back_end", "head") if self.task == "detector" else ("head", "back_end")
        if self.training.kind == "boosting":
            if self.task != "detector" or self.model.back_end is not None or self.model.head is not None:
                raise ValueError("training.kind: boosting makes the back-end of a detector itself: name none")
        elif getattr(self.model, wanted) is None or getattr(self.model, other) is not None:
            raise ValueError(f"a {self.task} has model.{wanted} and no model.{other}")
        if self.task == "detector" and (self.classes or self.batch.kind == "classes"):
            raise ValueError("classes belong to a tracer")
        prototypes = isinstance(self.training, PrototypeTraining)
        if self.task == "tracer" and (self.batch.kind == "balanced" or (self.data.copies and not prototypes)):
            raise ValueError("a tracer takes batch.kind: classes or shuffled, and no data.copies")
        if prototypes != (self.model.head is not None and self.model.head.kind == "statistics-embedding"):
            raise ValueError("training.kind: prototypes and model.head.kind: statistics-embedding need each other")
        if prototypes and (not self.classes or not self.data.store):
            raise ValueError("training.kind: prototypes needs classes and data.store: true")
        if self.data.copies and not self.data.store:
            raise ValueError("data.copies needs data.store: true")
        readout = self.model.back_end is not None and self.model.back_end.kind == "statistics-readout"
        if readout != isinstance(self.training, FoldsTraining):
            raise ValueError("training.kind: folds and model.back_end.kind: statistics-readout need each other")
        if readout and not self.data.store:
            raise ValueError("training.kind: folds needs data.store: true")
        if isinstance(self.training, GradientTraining):
            allowed = [name for name, metric in DEV_METRICS.items() if metric.task == self.task]
            if self.training.select_by not in allowed:
                raise ValueError(f"training.select_by {self.training.select_by!r}: one of {', '.join(allowed)}")
        return self

    def digest(self) -> str:
        """A hash of everything in the recipe but where the data lie, so that a moved corpus can be resumed on."""
        content = self.model_dump(mode="json")
        content["data"].pop("root")
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a YAML recipe.

    Args:
        path: the file, or a folder that holds `config.yaml`.
        overrides: `key.sub_key=value` each; the value is YAML, list items go by number.

    Raises:
        UsageError: unreadable, no YAML, or a key that is missing, unknown or out of range; the message names the key
            and what is allowed.
    """
    file = recipe_file(path)
    try:
        return Recipe.model_validate(read_content(file, overrides))
    except ValidationError as error:
        raise UsageError(f"{file}: {_describe(error)}") from error


def recipe_file(path: Path) -> Path:
    """The file of a recipe that is given as a file or as the folder that holds `config.yaml`."""
    return path / "config.yaml" if path.is_dir() else path


def read_content(file: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The table in a YAML file, with overrides; nothing in it is checked.

    Raises:
        UsageError: unreadable, no YAML, no table, or an override without a place.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot read the recipe: {error}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{file}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{file}: a recipe is a table of keys and values")
    for override in overrides:
        _set(content, override)
    return content


def recipe_yaml(recipe: Recipe) -> str:
    """The recipe as a run keeps it: every key spelt out."""
    return str(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110))


def _set(content: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise UsageError(f"--set {override}: write key=value, e.g. training.epochs=3")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {override}: the value is not YAML") from error
    *parents, last = key.split(".")
    place: Any = content
    for part in parents:
        if isinstance(place, list):
            place = _item(place, part, override)
        elif isinstance(place, dict):
            place = place.setdefault(part, {})
        else:
            raise UsageError(f"--set {override}: '{part}' lies inside a value")
    if isinstance(place, list):
        _item(place, last, override)
        place[int(last)] = value
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise UsageError(f"--set {override}: '{last}' lies inside a value")


def _item(items: list[Any], part: str, override: str) -> Any:
    if not part.isdecimal() or int(part) >= len(items):
        raise UsageError(f"--set {override}: {part!r} is no place in a list of {len(items)}")
    return items[int(part)]


def _describe(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_input=False)
    places = [_locate(detail["loc"]) for detail in details]
    first, (keys, here) = details[0], places[0]
    # Where a value may be of several kinds, each says for itself why it is not: together they are one problem. A list
    # with a faulty item is also called too short, which is none.
    alike = [detail for detail, (others, _) in zip(details, places, strict=True) if others == keys]
    rest = sum(detail not in alike and detail["loc"] != first["loc"][: len(detail["loc"])] for detail in details)
    message = "; or ".join(dict.fromkeys(_message(detail, here) for detail in alike))
    if first["type"].startswith("union_tag"):
        keys = [*keys, "kind"]
    elif first["type"] == "extra_forbidden":
        known = _models(_locate(first["loc"][:-1])[1])
        message = "unknown key" + (f"; known here: {', '.join(known[0].model_fields)}" if len(known) == 1 else "")
    more = f" (and {rest} more problem{'s' if rest > 1 else ''})" if rest else ""
    return (f"key '{'.'.join(keys)}': " if keys else "") + message + more


def _message(detail: Mapping[str, Any], here: Sequence[Any]) -> str:
    kinds = ", ".join(str(_kind(model)) for model in _models(here))
    match detail["type"]:
        case "union_tag_invalid":
            return f"{detail['ctx']['tag']!r}, expected one of {kinds}"
        case "union_tag_not_found":
            return f"is missing, expected one of {kinds}"
        case "model_type" | "model_attributes_type":
            return "a table of keys and values belongs here"
    return str(detail["msg"].removeprefix("Value error, "))


def _locate(location: Sequence[int | str]) -> tuple[list[str], list[Any]]:
    """The keys as a recipe spells them, and the types of what may stand there; pydantic names its alternatives too."""
    keys: list[str] = []
    here: list[Any] = [Recipe]
    for part in location:
        models = _models(here)
        tagged = [model for model in models if _kind(model) == part]
        if tagged and len(models) > 1:
            here = tagged
        elif part != "[key]" and (not here or any(map(_has_keys, here))):
            keys.append(str(part))
            here = [inner for outer in here for inner in _inside(outer, part)]
    return keys, here


def _models(types: Sequence[Any]) -> list[type[BaseModel]]:
    return [one for one in types if isinstance(one, type) and issubclass(one, BaseModel)]


def _kind(model: type[BaseModel]) -> Any:
    return model.model_fields["kind"].default if "kind" in model.model_fields else None


def _has_keys(one: Any) -> bool:
    return bool(_models([one])) or get_origin(one) in (dict, tuple)


def _inside(outer: Any, part: int | str) -> Iterator[Any]:
    """What may stand at a key of a model or a table, or at a place in a list."""
    if get_origin(outer) is dict:
        yield from _alternatives(get_args(outer)[1])
    elif get_origin(outer) is tuple:
        yield from _alternatives(get_args(outer)[0])
    elif part in getattr(outer, "model_fields", {}):
        yield from _alternatives(outer.model_fields[part].annotation)


def _alternatives(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for one in get_args(annotation):
            yield from _alternatives(one)
    else:
        yield annotation
