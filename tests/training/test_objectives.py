"""Losses, dev figures and classes; and that two half batches are one whole batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spoofcheck.errors import UsageError
from spoofcheck.evaluation.clips import Clip
from spoofcheck.nets.config import OpenSetConfig, TracerConfig
from spoofcheck.nets.detector import Detector
from spoofcheck.training.batches import BONAFIDE, SPOOF, Batch
from spoofcheck.training.objectives import (
    UNSEEN,
    DetectionObjective,
    TracingObjective,
    class_of,
    labels_of,
    tracer_classes,
)
from spoofcheck.training.recipe import GradientTraining, Recipe
from tests.support.models import tiny_tracer_config
from tests.support.recipes import tracer_recipe
from tests.support.windows import human, spoofs

RULE = GradientTraining(epochs=1, rate=1e-3, select_by="eer", label_smoothing=0.05, pair_weight=0.1)
DEV = [*human(2), *spoofs(2, "tts:x"), *spoofs(1, "tts:y")]


class Energy(nn.Module):
    """A front-end in miniature, without batch statistics: log energy of the lower and the upper half of a spectrum."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(2))

    def forward(self, waves: Tensor) -> Tensor:
        power = torch.fft.rfft(waves).abs().square()
        half = power.shape[-1] // 2
        return self.gain * torch.stack([power[:, :half].mean(-1), power[:, half:].mean(-1)], dim=1).add(1e-6).log()


def network() -> Detector:
    torch.manual_seed(0)
    return Detector(Energy(), nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))).double()


def batch() -> Batch:
    rng = torch.Generator().manual_seed(0)
    waves = torch.randn(18, 400, generator=rng, dtype=torch.float64)
    labels = torch.tensor([BONAFIDE] * 6 + [SPOOF] * 12)
    return Batch(waves, labels, torch.tensor([-1] * 6 + list(range(6)) + [-1] * 6))


def part(whole: Batch, rank: int, world: int) -> Batch:
    pairs = whole.pairs[rank::world]
    return Batch(whole.inputs[rank::world], whole.labels[rank::world], torch.where(pairs < 0, -1, pairs // world))


@pytest.mark.parametrize("world", [2, 3])
def test_the_mean_over_processes_is_the_loss_and_the_gradient_of_the_whole_batch(world: int) -> None:
    objective = DetectionObjective(RULE, DEV)
    whole = network()
    loss = objective.loss(whole(batch().inputs), batch())
    torch.autograd.backward(loss)
    losses, gradients = [], []
    for rank in range(world):
        mine, own = network(), part(batch(), rank, world)
        one = objective.loss(mine(own.inputs), own)
        torch.autograd.backward(one)
        losses.append(one.detach())
        gradients.append([parameter.grad for parameter in mine.parameters()])
    assert torch.stack(losses).mean() == pytest.approx(loss.item(), abs=1e-6)
    for parameter, *shares in zip(whole.parameters(), *gradients, strict=True):
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 1e-3
        assert torch.allclose(torch.stack(shares).mean(0), parameter.grad, atol=1e-6, rtol=0)


def test_both_classes_weigh_the_same_whatever_their_number() -> None:
    objective = DetectionObjective(RULE.model_copy(update={"label_smoothing": 0.0, "pair_weight": 0.0}), DEV)
    logits = torch.tensor([[0.0, 2.0], [1.0, 0.0], [3.0, 0.0], [0.5, 0.0]])
    labels = torch.tensor([BONAFIDE, SPOOF, SPOOF, SPOOF])
    no_pairs = torch.full((4,), -1)
    human_loss = np.log1p(np.exp(-2.0))
    spoof_loss = np.mean([np.log1p(np.exp(-margin)) for margin in (1.0, 3.0, 0.5)])
    loss = objective.loss(logits, Batch(torch.zeros(4, 1), labels, no_pairs))
    assert loss.item() == pytest.approx((human_loss + spoof_loss) / 2, abs=1e-6)
    one_class = objective.loss(logits[1:], Batch(torch.zeros(3, 1), labels[1:], no_pairs[1:]))
    assert one_class.item() == pytest.approx(spoof_loss, abs=1e-6)


def test_the_ranking_loss_prefers_copies_above_their_sources() -> None:
    objective, alone = (
        DetectionObjective(RULE.model_copy(update={"pair_weight": weight}), DEV) for weight in (0.1, 0.0)
    )
    pairs = Batch(torch.zeros(4, 1), torch.tensor([BONAFIDE, BONAFIDE, SPOOF, SPOOF]), torch.tensor([-1, -1, 0, 1]))
    right = torch.tensor([[0.0, 1.0], [2.0, 3.0], [1.0, 0.0], [3.0, 2.0]])
    extra = [(objective.loss(x, pairs) - alone.loss(x, pairs)).item() for x in (right, right.flip(1))]
    assert extra[0] == pytest.approx(0.1 * np.log1p(np.exp(-2.0)), abs=1e-6)  # each copy 2 above its source
    assert extra[1] == pytest.approx(0.1 * np.log1p(np.exp(2.0)), abs=1e-6)


def test_dev_figures_of_a_detector_by_hand() -> None:
    """Human 0 and 4, tts:x at -1 and 2, tts:y at 5: only x's best and y lie above a human score."""
    objective = DetectionObjective(RULE, DEV)
    scores = np.array([0.0, 4.0, -1.0, 2.0, 5.0])
    figures = objective.figures(np.stack([np.zeros(5), scores], axis=1))
    # x: at a threshold of 2 one of two humans is missed and one of two x accepted; y: no threshold parts it.
    assert figures["macro_eer"] == pytest.approx((0.5 + 1.0) / 2)
    assert figures["eer"] == pytest.approx(np.mean([0.5, 2 / 3]))
    assert figures["mean_eer"] == pytest.approx((figures["eer"] + figures["macro_eer"]) / 2)
    perfect = objective.figures(np.stack([np.zeros(5), np.array([3.0, 4.0, 0.0, 1.0, 2.0])], axis=1))
    assert perfect == pytest.approx({"eer": 0.0, "macro_eer": 0.0, "mean_eer": 0.0, "cllr_min": 0.0}, abs=1e-9)


@pytest.mark.parametrize("rows", [human(3), spoofs(3)])
def test_dev_data_of_one_class_are_refused(rows: list[object]) -> None:
    with pytest.raises(UsageError, match="one class only"):
        DetectionObjective(RULE, rows)  # type: ignore[arg-type]


def test_dev_figures_of_a_tracer_by_hand() -> None:
    objective = TracingObjective(RULE, [0, 0, 1, 1, UNSEEN])
    logits = np.log([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.2, 0.7, 0.1], [0.1, 0.6, 0.3], [0.1, 0.1, 0.8]])
    figures = objective.figures(logits)
    assert figures["accuracy"] == pytest.approx(3 / 4)
    assert figures["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)  # class 2 has no dev window and does not count
    assert figures["cross_entropy"] == pytest.approx(-np.mean(np.log([0.8, 0.1, 0.7, 0.6])))
    with pytest.raises(UsageError, match="no window of any of the classes"):
        TracingObjective(RULE, [UNSEEN, UNSEEN])


def test_the_loss_of_a_tracer_is_smoothed_cross_entropy() -> None:
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0]])
    labels = torch.tensor([0, 2])
    loss = TracingObjective(RULE, [0]).loss(logits, Batch(torch.zeros(2, 1), labels, torch.full((2,), -1)))
    assert loss.item() == pytest.approx(F.cross_entropy(logits, labels, label_smoothing=0.05).item())


def clips(*systems: str) -> list[Clip]:
    return [
        Clip(f"{i}", Path(f"{i}.wav"), "bonafide" if system == "-" else "spoof", system=system)
        for i, system in enumerate(systems)
    ]


def recipe(classes: dict[str, list[str]]) -> Recipe:
    return Recipe.model_validate(tracer_recipe(Path("/corpus")) | {"classes": classes})


def test_classes_take_systems_by_patterns() -> None:
    classes = {"piper": ("tts:piper*",), "any-tts": ("tts:*",), "tts:flite": ("never",), "two": ("a", "b?")}
    assert class_of("tts:piper-1.2", classes) == 0  # the first pattern that fits
    assert class_of("tts:other", classes) == 1
    assert class_of("tts:flite", classes) == 2  # its own name goes before patterns
    assert (class_of("a", classes), class_of("b1", classes)) == (3, 3)
    assert class_of("b", classes) == class_of("TTS:x", classes) == UNSEEN
    config = tiny_tracer_config(classes=tuple(classes)).model_copy(update={"systems": classes})
    for system in ("tts:piper-1.2", "tts:other", "tts:flite", "a", "b1", "b", "TTS:x", "-"):
        number = class_of(system, classes)
        assert config.class_of(system) == (None if number == UNSEEN else list(classes)[number]), system


def test_without_a_rule_every_system_of_the_training_data_is_a_class() -> None:
    classes = tracer_classes(recipe({}), clips("tts:b", "-", "tts:a", "tts:b"))
    assert classes == {"tts:a": ("tts:a",), "tts:b": ("tts:b",)}
    rows = [*spoofs(1, "tts:b"), *spoofs(1, "tts:c"), *human(1), *spoofs(1, "tts:a")]
    assert labels_of(rows, classes) == [1, UNSEEN, UNSEEN, 0]
    assert labels_of(rows, None) == [SPOOF, SPOOF, BONAFIDE, SPOOF]


@pytest.mark.parametrize(
    ("classes", "systems", "said"),
    [
        ({"a": ["tts:a*"], "b": ["x"], "c": ["y"]}, ["tts:a1", "tts:b"], "no training clip is of b, c"),
        ({"a": ["tts:*"]}, ["tts:a"], "at least two classes"),
        ({}, ["tts:a"], "at least two classes"),
        ({"unseen": ["tts:a"], "b": ["tts:b"]}, ["tts:a", "tts:b"], "'unseen' is what the open-set rule answers"),
        ({}, ["tts:a", "unknown"], "'unknown' is what the open-set rule answers"),
    ],
)
def test_classes_that_cannot_be_learnt_are_named(classes: dict[str, list[str]], systems: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        tracer_classes(recipe(classes), clips(*systems))


def test_training_cannot_end_in_a_config_that_is_refused() -> None:
    """What `tracer_classes` lets through, the config of a tracer takes."""
    classes = tracer_classes(recipe({"a": ["tts:a*", "x"], "b": ["tts:b"]}), clips("tts:a1", "tts:b"))
    base = tiny_tracer_config().model_dump() | {"classes": tuple(classes), "systems": classes}
    config = TracerConfig.model_validate(base | {"open_set": OpenSetConfig(threshold=0.5, data="-")})
    assert config.class_of("x") == "a"
