"""A front-end's parameters by depth, for learning rates that grow from the input upwards."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import nn


@runtime_checkable
class Staged(Protocol):
    """A front-end that knows the order of its parts."""

    def stages(self) -> list[nn.Module]:
        """The parts that hold all parameters, from the input upwards."""


def parameter_depth_groups(front_end: nn.Module) -> list[list[nn.Parameter]]:
    """All parameters of a front-end, each in exactly one group, from the input upwards.

    XLS-R: all below the transformer (convolutions, projection, position embedding), then one group per layer; the
    normalisation after the last layer belongs to it. Spectral stem: one group per convolution. Any other: one group, or
    none where there is no parameter.
    """
    stages = front_end.stages() if isinstance(front_end, Staged) else [front_end]
    groups = [list(stage.parameters()) for stage in stages]
    return [group for group in groups if group]
