"""The recipe of an ensemble: which detectors, what they weigh, and whose clips it is calibrated and measured on.

Importing this module imports neither torch nor lightning.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, ValidationError, model_validator

from spoofcheck.errors import UsageError
from spoofcheck.training.recipe import FinishRule, Recipe, Rule, read_content, read_recipe, recipe_file

Fusion = Literal["weighted-probability", "logistic"]


class MemberRule(Rule):
    """A detector that is asked.

    Attributes:
        model: shipped model or model directory.
        weight: of its probability.
        refit_batches: the member has learnt from dev: on dev a stand-in answers for it, the same front-end with a
            readout fitted without dev on so many batches. None: the member itself answers.
        scores: `scores.jsonl` of the run that trained the member, with the same `finish`; None listens anew.
    """

    model: str
    weight: Annotated[float, Field(gt=0, le=1)]
    refit_batches: PositiveInt | None = None
    scores: str | None = None

    @model_validator(mode="after")
    def _scores_are_its_own(self) -> Self:
        if self.refit_batches is not None and self.scores is not None:
            raise ValueError("with refit_batches a stand-in is heard, of which no run has kept scores")
        return self


class FusedModelRule(Rule):
    """A model that comes out."""

    fusion: Fusion
    purpose: str


class EnsembleRecipe(Rule):
    """One ensemble, fused in one or more ways.

    Attributes:
        base: recipe, relative to this one's folder, whose splits, windows and augmentation hold here too.
        root: folder that the base recipe's data begin at.
        threshold: of the weighted mean of probabilities: from there on a recording is called synthetic.
        models: what comes out, by name.
    """

    task: Literal["ensemble"]
    version: str = Field(min_length=1)
    base: str
    root: str = "."
    licence: str
    training_data: str
    limitations: tuple[str, ...] = ()
    members: tuple[MemberRule, ...] = Field(min_length=2)
    threshold: Annotated[float, Field(gt=0, lt=1)]
    models: dict[str, FusedModelRule] = Field(min_length=1)
    finish: FinishRule = FinishRule()

    @model_validator(mode="after")
    def _weights_are_shares(self) -> Self:
        total = sum(member.weight for member in self.members)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the weights of the members must sum to 1, not {total:g}")
        return self


def is_ensemble(path: Path, overrides: Sequence[str] = ()) -> bool:
    """Whether a recipe is an ensemble's.

    Raises:
        UsageError: it cannot be read.
    """
    return read_content(recipe_file(path), overrides).get("task") == "ensemble"


def read_ensemble_recipe(path: Path, overrides: Sequence[str] = ()) -> tuple[EnsembleRecipe, Recipe]:
    """Read an ensemble's recipe and its base; arguments as for `read_recipe`.

    Raises:
        UsageError: unreadable, no YAML, a key that is missing, unknown or out of range, or a base of a tracer.
    """
    file = recipe_file(path)
    try:
        recipe = EnsembleRecipe.model_validate(read_content(file, overrides))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{file}: {f'key {key!r}: ' if key else ''}{first['msg']}") from error
    base = read_recipe(file.parent / recipe.base, [f"data.root={recipe.root}"])
    if base.task != "detector":
        raise UsageError(f"{file}: key 'base': the recipe of a {base.task}, not of a detector")
    return recipe, base
