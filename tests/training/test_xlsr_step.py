"""One optimisation step of every XLS-R recipe, on networks of its shape but shallow and narrow."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

from spoofcheck.errors import UsageError
from spoofcheck.nets.config import AasistConfig, LayerAttentionConfig, Nes2NetLaConfig, Nes2NetXConfig, XlsrConfig
from spoofcheck.nets.detector import Detector
from spoofcheck.nets.tracer import Tracer
from spoofcheck.training.datamodule import TrainingData
from spoofcheck.training.initial import initial_network
from spoofcheck.training.module import TrainingModule
from spoofcheck.training.objectives import DetectionObjective, Objective, TracingObjective, labels_of
from spoofcheck.training.progress import NoSteps
from spoofcheck.training.recipe import GradientTraining, Recipe, read_recipe
from spoofcheck.training.trainer import Machine, Trained, fit
from tests.support.windows import human, prepared, spoofs

TRAIN = Path(__file__).parents[2] / "train"
DETECTORS = {
    "xlsr-nes2net-la": Nes2NetLaConfig(),
    "xlsr-nes2net-x": Nes2NetXConfig(),
    "xlsr-aasist": AasistConfig(),
}
RECIPES = (*DETECTORS, "xlsr-tracer")
SAMPLES = 4_000
NARROW = (
    "model.front_end_weights=none", "model.front_end.hidden_size=64", "model.front_end.layers=2",
    "model.front_end.heads=4", "model.front_end.feed_forward_size=64", "model.front_end.conv_channels=16",
    "model.front_end.position_kernel=8", "model.front_end.position_groups=4", f"model.window_samples={SAMPLES}",
    "training.epochs=1", "training.workers=0", "batch.size=4",
)  # fmt: skip


def narrow(name: str, *more: str) -> Recipe:
    part = "head" if name == "xlsr-tracer" else "back_end"
    return read_recipe(TRAIN / name, [*NARROW, f"model.{part}.channels=64", *more])


class Step:
    """What the optimiser held right after its last step: gradients as it met them, and its groups."""

    def __init__(self, network: Detector | Tracer) -> None:
        self.network = network
        self.count = 0
        self.gradients: dict[str, Tensor] = {}
        self.rates: dict[str, float] = {}
        self.kind: type[Optimizer] | None = None

    def __call__(self, optimiser: Optimizer, args: Any, kwargs: Any) -> None:
        self.count += 1
        self.kind = type(optimiser)
        self.rates = {group["name"]: group["lr"] for group in optimiser.param_groups}
        self.gradients = {
            name: parameter.grad.clone()
            for name, parameter in self.network.named_parameters()
            if parameter.grad is not None
        }

    def norm(self) -> float:
        return math.sqrt(sum(float(gradient.double().square().sum()) for gradient in self.gradients.values()))


@contextmanager
def watched(network: Detector | Tracer) -> Iterator[Step]:
    step = Step(network)
    hook = register_optimizer_step_post_hook(step)
    try:
        yield step
    finally:
        hook.remove()


def one_step(recipe: Recipe, folder: Path) -> tuple[Detector | Tracer, Step, Trained]:
    """An epoch of one optimiser step on four windows, as `spoofcheck train` goes about it."""
    rule = recipe.training
    assert isinstance(rule, GradientTraining)
    objective: Objective
    if recipe.task == "tracer":
        train = [row for number in range(4) for row in spoofs(1, f"A{number}", SAMPLES)]
        dev = train[:2]
        labels = labels_of(train, dict(recipe.classes))
        objective = TracingObjective(rule, labels_of(dev, dict(recipe.classes)))
    else:
        train, dev = [*human(2, samples=SAMPLES), *spoofs(2, samples=SAMPLES)], [*human(1), *spoofs(1)]
        labels = labels_of(train, None)
        objective = DetectionObjective(rule, dev)
    network = initial_network(recipe, len(recipe.classes))
    data = TrainingData(recipe, rule, prepared(train, dev), labels, network, workers=0, steps=NoSteps())
    with watched(network) as step:
        trained = fit(
            recipe, rule, network, objective, data, folder, Machine("cpu"), NoSteps(), resume=False, bar=False
        )  # fmt: skip
    assert step.count == 1
    return network, step, trained


def losses(folder: Path) -> list[float]:
    (file,) = folder.glob("logs/*/metrics.csv")
    header, *rows = [line.split(",") for line in file.read_text(encoding="utf-8").splitlines()]
    return [float(row[header.index("loss")]) for row in rows if row[header.index("loss")]]


@pytest.mark.parametrize("name", RECIPES)
def test_a_step_moves_front_end_and_head(name: str, tmp_path: Path) -> None:
    recipe = narrow(name)
    before = initial_network(recipe, len(recipe.classes)).state_dict()  # the same seed, the same weights
    network, step, trained = one_step(recipe, tmp_path)
    (loss,) = losses(tmp_path)
    assert math.isfinite(loss)
    assert 0.3 < loss / math.log(len(recipe.classes) or 2) < 3  # of a network that knows nothing
    assert all(bool(gradient.isfinite().all()) for gradient in step.gradients.values())
    assert step.gradients.keys() == {parameter for parameter, _ in network.named_parameters()}
    for parameter, gradient in step.gradients.items():
        if gradient.abs().max() > 1e-6:
            assert not torch.equal(trained.weights[parameter], before[parameter]), parameter
    moved = [
        parameter for parameter in step.gradients if not torch.equal(trained.weights[parameter], before[parameter])
    ]
    for part in ("front_end.model.feature_extractor.", "front_end.model.encoder.layers.0.",
                 "front_end.model.encoder.layers.1.", "head." if recipe.task == "tracer" else "back_end."):  # fmt: skip
        assert any(parameter.startswith(part) for parameter in moved), part


@pytest.mark.parametrize("name", RECIPES)
def test_rates_are_as_asked(name: str, tmp_path: Path) -> None:
    rate = 1e-5 if name == "xlsr-tracer" else 5e-6
    plain = narrow(name).training
    assert isinstance(plain, GradientTraining)
    assert (plain.rate, plain.front_end_rate, plain.layer_decay, plain.weight_decay) == (rate, None, 1.0, 1e-4)
    _, step, _ = one_step(narrow(name, "training.front_end_rate=1e-4", "training.layer_decay=0.5"), tmp_path)
    assert step.kind is torch.optim.Adam
    assert step.rates == {"head": rate, "front_end_2": 1e-4, "front_end_1": 0.5e-4, "front_end_0": 0.25e-4}


def test_two_half_batches_accumulated_are_one_batch(tmp_path: Path) -> None:
    """On the tracer, which has no batch statistics; in full precision, where the sums can be compared."""
    exact = ("training.precision=32-true", "training.rate=1e-3")
    _, whole, at_once = one_step(narrow("xlsr-tracer", *exact), tmp_path / "whole")
    halves = narrow("xlsr-tracer", *exact, "batch.size=2", "training.accumulate=2")
    _, summed, in_parts = one_step(halves, tmp_path / "halves")
    compared = 0
    for name, gradient in whole.gradients.items():
        torch.testing.assert_close(summed.gradients[name], gradient, atol=1e-6, rtol=0)
        # Adam's first step is as long for a gradient that is rounding noise as for any other: those say nothing.
        clear = gradient.abs() > 1e-3
        compared += int(clear.sum())
        torch.testing.assert_close(in_parts.weights[name][clear], at_once.weights[name][clear], atol=1e-6, rtol=0)
    assert compared > 1_000


def test_activations_computed_again_give_the_same_gradients(tmp_path: Path) -> None:
    exact = ("training.precision=32-true", "model.front_end.dropout=0.1")
    network, kept, _ = one_step(narrow("xlsr-nes2net-la", *exact), tmp_path / "kept")
    again, recomputed, _ = one_step(
        narrow("xlsr-nes2net-la", *exact, "training.checkpoint_activations=true"), tmp_path / "again"
    )
    checkpointed = [part.front_end.model.encoder.layers[0].gradient_checkpointing for part in (network, again)]  # type: ignore[union-attr]
    assert checkpointed == [False, True]
    assert recomputed.gradients.keys() == kept.gradients.keys()
    for name, gradient in kept.gradients.items():
        torch.testing.assert_close(recomputed.gradients[name], gradient, atol=1e-7, rtol=1e-5)
    compact = read_recipe(Path(__file__).parents[2] / "docs/recipes/tiny-detector.yaml")
    assert isinstance(compact.training, GradientTraining)
    rule = compact.training.model_copy(update={"checkpoint_activations": True})
    with pytest.raises(UsageError, match=r"training\.checkpoint_activations"):
        TrainingModule(
            initial_network(compact, 0),
            DetectionObjective(rule, [*human(1), *spoofs(1)]),
            rule,
            1,
            0,
            on_features=False,
        )


def test_bf16_computes_in_bf16_and_keeps_weights_in_float32(tmp_path: Path) -> None:
    seen: dict[str, torch.dtype] = {}

    def note(module: Any, inputs: Any, output: Tensor) -> None:
        seen[recipe.training.precision] = output.dtype  # type: ignore[union-attr]

    for precision in ("bf16-mixed", "32-true"):
        recipe = narrow("xlsr-nes2net-la", f"training.precision={precision}")
        hook = torch.nn.modules.module.register_module_forward_hook(
            lambda module, inputs, output: note(module, inputs, output) if isinstance(module, torch.nn.Linear) else None
        )
        try:
            _, step, trained = one_step(recipe, tmp_path / precision)
        finally:
            hook.remove()
        assert {weight.dtype for weight in trained.weights.values()} - {torch.int64} == {torch.float32}
        assert {gradient.dtype for gradient in step.gradients.values()} == {torch.float32}
    assert seen == {"bf16-mixed": torch.bfloat16, "32-true": torch.float32}


def test_gradients_are_clipped_to_the_norm_asked_for(tmp_path: Path) -> None:
    _, free, _ = one_step(narrow("xlsr-nes2net-la"), tmp_path / "free")
    _, clipped, _ = one_step(narrow("xlsr-nes2net-la", "training.gradient_clip=0.01"), tmp_path / "clipped")
    assert free.norm() > 0.1
    assert clipped.norm() == pytest.approx(0.01, rel=1e-3)
    share = 0.01 / free.norm()
    for name, gradient in free.gradients.items():
        torch.testing.assert_close(clipped.gradients[name], gradient * share, atol=1e-6, rtol=1e-3)


def test_the_recipes_have_the_published_geometry() -> None:
    """They take the networks' defaults, whose parameters `tests/nets` counts against the published ones."""
    for name in RECIPES:
        recipe = read_recipe(TRAIN / name)
        assert (recipe.model.window_samples, recipe.batch.kind) == (64_000, "shuffled")
        if name == "xlsr-tracer":
            assert recipe.model.front_end == XlsrConfig(output="all-layers")
            assert (recipe.model.head, len(recipe.classes)) == (LayerAttentionConfig(), 21)
        else:
            assert (recipe.model.front_end, recipe.model.back_end) == (XlsrConfig(), DETECTORS[name])
