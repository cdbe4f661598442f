"""Published weights, renamed to the modules of this package. Nothing is downloaded here."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from spoofcheck.errors import ModelError

_DISTILLMOS_PREFIX = "cnn."


def distillmos_stem_state(path: Path) -> dict[str, Tensor]:
    """The stem's weights out of DistillMOS's `distill_mos_v7.pt`, named as `SpectralStem` names them.

    The checkpoint comes with the PyPI package `distillmos` (MIT). `load_state_dict(..., strict=True)` accepts
    the result.

    Raises:
        ModelError: when the file cannot be read or holds no such stem.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(f"{path}: not a readable checkpoint ({type(error).__name__})") from error
    model = checkpoint.get("model") if isinstance(checkpoint, dict) else None
    if not isinstance(model, dict):
        raise ModelError(f"{path}: no entry 'model', so not a DistillMOS checkpoint")
    state = {
        key.removeprefix(_DISTILLMOS_PREFIX): value
        for key, value in model.items()
        if key.startswith(_DISTILLMOS_PREFIX)
    }
    if not state:
        raise ModelError(f"{path}: no keys '{_DISTILLMOS_PREFIX}*', so not a DistillMOS checkpoint")
    return state
