"""The dev metrics a checkpoint can be chosen by. The direction is part of the metric, never an accident of its use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class DevMetric:
    """A figure of the dev set.

    Attributes:
        direction: whether the smaller or the larger value is better.
        task: which kind of model it is a figure of.
    """

    name: str
    direction: Literal["min", "max"]
    task: Literal["detector", "tracer"]

    def is_better(self, value: float, than: float) -> bool:
        """Whether a value beats another; NaN beats nothing."""
        return value < than if self.direction == "min" else value > than


DEV_METRICS = {
    metric.name: metric
    for metric in (
        DevMetric("eer", "min", "detector"),
        DevMetric("macro_eer", "min", "detector"),
        DevMetric("mean_eer", "min", "detector"),
        DevMetric("cllr_min", "min", "detector"),
        DevMetric("macro_f1", "max", "tracer"),
        DevMetric("accuracy", "max", "tracer"),
        DevMetric("cross_entropy", "min", "tracer"),
    )
}
"""`mean_eer` is the mean of the pooled EER and of the mean over systems (`macro_eer`)."""
