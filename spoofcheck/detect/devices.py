"""Which devices a name means on this machine."""

from __future__ import annotations

import re

import torch

from spoofcheck.errors import UsageError

DeviceName = str
"""`"auto"`, `"cpu"`, `"mps"`, `"cuda"` (all that are visible) or `"cuda:N"` (one of them)."""

_NAME = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")


def check_device_name(name: DeviceName) -> DeviceName:
    """The name, if it can mean a device at all.

    Raises:
        UsageError: it cannot.
    """
    if _NAME.fullmatch(name) is None:
        raise UsageError(f"--device {name}: no such device; it is auto, cpu, cuda, cuda:N or mps")
    return name


def pick_devices(name: DeviceName) -> list[torch.device]:
    """The devices a name means, at least one; several only for `"cuda"`.

    Raises:
        UsageError: no such name, or the device is not on this machine.
    """
    kind, _, number = check_device_name(name).partition(":")
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind == "auto":
        kind = next(d for d in ("cuda", "mps", "cpu") if there[d])
    if not there[kind]:
        available = ", ".join(d for d, ok in there.items() if ok)
        raise UsageError(f"--device {name}: not available on this machine (available: {available})")
    if kind != "cuda":
        return [torch.device(kind)]
    visible = torch.cuda.device_count()
    if number and int(number) >= visible:
        raise UsageError(f"--device {name}: not available on this machine ({visible} CUDA devices)")
    return [torch.device("cuda", n) for n in ([int(number)] if number else range(visible))]
