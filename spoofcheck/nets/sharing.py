"""Whether a detector and a tracer hear a recording alike, so that one pass serves both."""

from __future__ import annotations

import torch

from spoofcheck.nets.bundle import Bundle, TracerBundle
from spoofcheck.nets.config import ModelConfig, TracerConfig


def may_share_front_end(detector: ModelConfig, tracer: TracerConfig) -> bool:
    """Whether both describe one front-end and windows of one length; the weights may still differ."""
    return detector.front_end == tracer.front_end and detector.window_samples == tracer.window_samples


def shares_front_end(detector: Bundle, tracer: TracerBundle) -> bool:
    """Whether both have the very same front-end, down to every bit of its weights, and windows of one length."""
    if not may_share_front_end(detector.config, tracer.config):
        return False
    ours, theirs = detector.network.front_end.state_dict(), tracer.network.front_end.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())
