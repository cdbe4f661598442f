"""A network in lightning's hands: what is frozen, how fast what learns, which windows its dev figures are of."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from spoofcheck.errors import ModelError, UsageError
from spoofcheck.nets.detector import Detector
from spoofcheck.nets.xlsr import Xlsr
from spoofcheck.training.datamodule import DevWindows, TrainingData
from spoofcheck.training.module import TrainingModule, optimiser_steps, share_of_peak
from spoofcheck.training.objectives import DetectionObjective, labels_of
from spoofcheck.training.progress import NoSteps
from spoofcheck.training.recipe import GradientTraining, Recipe
from spoofcheck.training.trainer import Machine, check_machine
from tests.support.recipes import detector_recipe
from tests.support.windows import Windows, human, paired, prepared, spoofs

RULE = GradientTraining(epochs=3, rate=1e-2, select_by="eer", warmup_steps=4, final_share=0.1)
TRAIN = paired([*human(8), *spoofs(8)])
DEV = [*human(18), *spoofs(17)]


class FrontEnd(nn.Module):
    """Frames of 100 samples through a layer, with what behaves otherwise in training: dropout and batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv1d(1, 8, 100, stride=100)
        self.norm = nn.BatchNorm1d(8)
        self.dropout = nn.Dropout(0.5)

    def forward(self, waves: Tensor) -> Tensor:
        features: Tensor = self.dropout(self.norm(self.layer(waves[:, None])))
        return features


class BackEnd(nn.Module):
    """The mean over time, judged."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, 2)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.fc(features.mean(-1))
        return logits


def network() -> Detector:
    torch.manual_seed(0)
    return Detector(FrontEnd(), BackEnd(8))


def recipe(**training: Any) -> Recipe:
    content = detector_recipe(Path("/none"), steps_per_epoch=3)
    content["model"]["window_samples"] = 800
    content["batch"] |= {"bonafide": 4, "synthetic": 4}
    content["training"] |= {"ema_decay": None, "epochs": 3, "rate": 1e-2, "warmup_steps": 0} | training
    return Recipe.model_validate(content)


def network_of(module: LightningModule) -> Detector:
    assert isinstance(module, TrainingModule)
    assert isinstance(module.network, Detector)
    return module.network


def kept(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


class Watch(Callback):
    """Keeps what the front-end was like in every step, and at the end of every epoch."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, bool, bool]] = []
        self.epochs: list[dict[str, Tensor]] = []
        self.updates = 0

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        net = network_of(pl_module)
        (learns,) = {parameter.grad is not None for parameter in net.front_end.parameters()}
        self.steps.append((trainer.current_epoch, net.front_end.training, learns))
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in net.back_end.parameters())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.updates = trainer.global_step
        self.epochs.append(kept(network_of(pl_module).front_end))


def fit(content: Recipe, net: Detector) -> Watch:
    rule = content.training
    assert isinstance(rule, GradientTraining)
    data = TrainingData(content, rule, prepared(TRAIN, DEV), labels_of(TRAIN, None), net, 0, NoSteps())
    on_features = rule.cached_batches is not None
    module = TrainingModule(net, DetectionObjective(rule, DEV), rule, total_steps=9, seed=0, on_features=on_features)
    watch = Watch()
    trainer = Trainer(
        accelerator="cpu", max_epochs=rule.epochs, logger=False, enable_checkpointing=False, callbacks=[watch],
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, use_distributed_sampler=False,
        reload_dataloaders_every_n_epochs=1, accumulate_grad_batches=rule.accumulate,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    return watch


@pytest.mark.filterwarnings("ignore")
def test_a_front_end_frozen_for_good_learns_nothing_and_stays_in_eval_mode() -> None:
    net = network()
    start = kept(net.front_end)
    watch = fit(recipe(frozen_epochs="all", epochs=2), net)
    assert watch.steps == [(epoch, False, False) for epoch in (0, 1) for _ in range(3)]
    for name, value in net.front_end.state_dict().items():
        assert torch.equal(value, start[name]), name  # batch statistics included


@pytest.mark.filterwarnings("ignore")
def test_a_front_end_thaws_after_its_frozen_epochs() -> None:
    net = network()
    start = kept(net.front_end)
    watch = fit(recipe(frozen_epochs=1), net)
    assert watch.steps[:3] == [(0, False, False)] * 3
    assert watch.steps[3:] == [(epoch, True, True) for epoch in (1, 2) for _ in range(3)]
    for name, value in watch.epochs[0].items():
        assert torch.equal(value, start[name]), name
    for name in ("layer.weight", "norm.running_mean"):
        assert not torch.equal(watch.epochs[1][name], start[name])
        assert not torch.equal(watch.epochs[2][name], watch.epochs[1][name])


@pytest.mark.filterwarnings("ignore")
def test_training_on_cached_features_touches_no_front_end() -> None:
    net = network()
    start = kept(net.front_end)
    watch = fit(recipe(frozen_epochs="all", cached_batches=2, epochs=2), net)
    assert [gradient for _, _, gradient in watch.steps] == [False] * 6
    for name, value in net.front_end.state_dict().items():
        assert torch.equal(value, start[name]), name


@pytest.mark.filterwarnings("ignore")
def test_a_network_that_has_run_away_is_said_to_have() -> None:
    with pytest.raises(ModelError, match=r"no finite numbers after epoch 1.*training\.rate"):
        fit(recipe(rate=1e37, epochs=2, optimiser="adam"), network())


def tiny_xlsr() -> Xlsr:
    return Xlsr(
        hidden_size=16, layers=3, heads=2, feed_forward_size=16, conv_channels=8, position_kernel=4, position_groups=2
    )


def test_rates_fall_with_depth_below_the_front_ends_last_layer() -> None:
    rule = RULE.model_copy(update={"front_end_rate": 4e-3, "layer_decay": 0.5, "weight_decay": 0.01})
    xlsr = tiny_xlsr()
    net = Detector(xlsr, BackEnd(16))
    module = TrainingModule(net, DetectionObjective(rule, DEV), rule, total_steps=20, seed=0, on_features=False)
    optimiser = module.configure_optimizers()["optimizer"]
    assert isinstance(optimiser, torch.optim.AdamW)
    peaks = {group["name"]: group["initial_lr"] for group in optimiser.param_groups}
    assert peaks == {
        "head": 1e-2, "front_end_3": 4e-3, "front_end_2": 2e-3, "front_end_1": 1e-3, "front_end_0": 0.5e-3,
    }  # fmt: skip
    for group in optimiser.param_groups:
        assert group["lr"] == pytest.approx(group["initial_lr"] / 4)  # the first of four steps of warm-up
        assert group["weight_decay"] == 0.01
    grouped = [id(parameter) for group in optimiser.param_groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in net.parameters())
    last = {id(parameter) for parameter in xlsr.model.encoder.layers[-1].parameters()}
    assert last < {id(parameter) for parameter in optimiser.param_groups[1]["params"]}


def test_without_a_rate_of_its_own_the_front_end_has_the_heads() -> None:
    rule = RULE.model_copy(update={"optimiser": "adam"})
    net = Detector(tiny_xlsr(), BackEnd(16))
    module = TrainingModule(net, DetectionObjective(rule, DEV), rule, total_steps=20, seed=0, on_features=False)
    optimiser = module.configure_optimizers()["optimizer"]
    assert type(optimiser) is torch.optim.Adam
    assert {group["initial_lr"] for group in optimiser.param_groups} == {1e-2}


def test_a_front_end_frozen_for_good_is_not_in_the_optimiser() -> None:
    rule = RULE.model_copy(update={"frozen_epochs": "all"})
    net = network()
    module = TrainingModule(net, DetectionObjective(rule, DEV), rule, total_steps=20, seed=0, on_features=False)
    (group,) = module.configure_optimizers()["optimizer"].param_groups
    assert {id(parameter) for parameter in group["params"]} == {id(p) for p in net.back_end.parameters()}


@pytest.mark.filterwarnings("ignore")
def test_the_schedule_knows_how_many_steps_there_are() -> None:
    """Three batches an epoch, two to a step: the third makes a step of its own."""
    content = recipe(accumulate=2, epochs=2)
    assert isinstance(content.training, GradientTraining)
    assert fit(content, network()).updates == optimiser_steps(content.training, 3) == 4
    assert optimiser_steps(content.training.model_copy(update={"accumulate": 1}), 3) == 6


def test_the_schedule_warms_up_and_falls() -> None:
    shares = [share_of_peak(step, 4, 20, 0.1) for step in range(25)]
    assert shares[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert shares[12] == pytest.approx(0.1 + 0.9 * 0.5)  # half-way between warm-up and end
    assert shares[8] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert shares[20:] == pytest.approx([0.1] * 5)
    assert all(later < earlier for earlier, later in pairwise(shares[4:21]))
    assert [share_of_peak(step, 4, 20, 1.0) for step in (0, 3, 4, 19, 30)] == [0.25, 1.0, 1.0, 1.0, 1.0]  # constant
    assert share_of_peak(0, 0, 1, 0.1) == 1.0
    assert share_of_peak(5, 4, 3, 0.1) == pytest.approx(0.1)  # a run that ends in its warm-up


@pytest.mark.parametrize("world", [1, 2, 3])
def test_the_processes_share_the_dev_windows(world: int) -> None:
    source = Windows(DEV)
    batches = list(DevWindows(source, 1_000))
    whole = dict(
        zip([int(n) for _, ns in batches for n in ns], [wave for inputs, _ in batches for wave in inputs], strict=True)
    )
    assert sorted(whole) == list(range(35))
    assert torch.equal(whole[3], torch.from_numpy(source.wave(3)).repeat(2)[:1_000])  # filled by repetition
    shared: list[int] = []
    for rank in range(world):
        mine = DevWindows(source, 1_000, rank, world)
        assert len(mine) == len(list(mine))
        for inputs, numbers in mine:
            shared += numbers.tolist()
            for wave, number in zip(inputs, numbers.tolist(), strict=True):
                assert torch.equal(wave, whole[number])
    assert sorted(shared) == list(range(35))


def test_what_a_machine_cannot_do_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check_machine(recipe(), Machine("cpu", devices=4))
    with pytest.raises(UsageError, match=r"batch\.bonafide': 4 windows do not divide evenly over 6 devices"):
        check_machine(recipe(), Machine("cpu", devices=3, nodes=2))
    with pytest.raises(UsageError, match="4 devices asked for, 2 there"):
        check_machine(recipe(), Machine("cuda", devices=4))
    with pytest.raises(UsageError, match=r"training\.precision': 16-mixed needs CUDA"):
        check_machine(recipe(precision="16-mixed"), Machine("auto"))
    content = recipe().model_dump()
    content["training"] = {"kind": "boosting", "batches": 2}
    content["model"] |= {"back_end": None, "front_end": {"kind": "voice-statistics"}}
    with pytest.raises(UsageError, match="boosting runs on one device"):
        check_machine(Recipe.model_validate(content), Machine("cpu", devices=2))
