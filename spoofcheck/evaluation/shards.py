"""One command on several devices and nodes: who am I, how many are we, wait for each other.

A process alone needs nothing; more of them are launched, or joined, through lightning Fabric: `--devices N` starts the
others on this machine, `--nodes N` expects the same command on every node (with Slurm, or with `MASTER_ADDR`,
`MASTER_PORT` and `NODE_RANK` set), and under torchrun the processes are there already. gloo joins CPUs, nccl GPUs.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from spoofcheck.errors import UsageError

if TYPE_CHECKING:
    from lightning.fabric import Fabric

    from spoofcheck.detect.devices import DeviceName

_PATIENCE = timedelta(days=7)
"""How long a process waits for the others; the default of minutes would end a run whose shards differ in length."""


@dataclass(frozen=True, slots=True)
class Team:
    """The processes of one run, seen from one of them: `rank` of `world`, working on `device`."""

    rank: int
    world: int
    device: DeviceName
    _fabric: Fabric | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes results."""
        return self.rank == 0

    def wait(self) -> None:
        """Return once every process has come here."""
        if self._fabric is not None:
            self._fabric.barrier()

    @contextmanager
    def shared_folder(self, given: Path | None) -> Iterator[Path]:
        """The folder that all processes see: the one given, made when missing, or a temporary one.

        Raises:
            UsageError: it cannot be made.
        """
        if given is not None:
            try:
                given.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(f"--work {given}: cannot be made ({error.strerror or error})") from error
            yield given
            return
        mine = tempfile.mkdtemp(prefix="spoofcheck-eval-") if self.is_first else ""
        folder = self._fabric.broadcast(mine) if self._fabric is not None else mine
        try:
            yield Path(folder)
            self.wait()
        finally:
            if self.is_first:
                shutil.rmtree(folder, ignore_errors=True)


def join_team(device: DeviceName, devices: int | None, nodes: int | None) -> Team:
    """Launch or join the processes of a run; returns in every one of them.

    Args:
        device: `"auto"` takes CUDA where there is one.
        devices: processes on each node, one device each; None is one, or what torchrun started.
        nodes: likewise.

    Raises:
        UsageError: lightning is missing, the device cannot be shared, or the numbers contradict torchrun's.
    """
    started = _started_by_torchrun()
    devices = started[0] if devices is None and started else devices or 1
    nodes = started[1] if nodes is None and started else nodes or 1
    if started and (devices, nodes) != started:
        raise UsageError(
            f"--devices {devices} --nodes {nodes}: torchrun started {started[0]} processes on {started[1]} nodes"
        )
    if devices * nodes == 1:
        return Team(0, 1, device)
    try:
        from lightning.fabric import Fabric
        from lightning.fabric.strategies.ddp import DDPStrategy
    except ImportError as error:
        raise UsageError("several devices need lightning: install spoofcheck[train]") from error
    if device == "mps":
        raise UsageError("--device mps: cannot be used by several processes")
    accelerator = _accelerator(device)
    for name in ("lightning.fabric", "lightning.pytorch"):  # its banner goes through either, by what was imported last
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        fabric = Fabric(
            accelerator=accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy=DDPStrategy(timeout=_PATIENCE),
        )
        fabric.launch()
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"--devices {devices} --nodes {nodes}: {str(error).splitlines()[0]}") from error
    return Team(fabric.global_rank, fabric.world_size, cast("DeviceName", accelerator), fabric)


def _accelerator(device: DeviceName) -> Literal["cpu", "cuda"]:
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: not available on this machine")
    return "cuda" if device == "cuda" else "cpu"


def _started_by_torchrun() -> tuple[int, int] | None:
    """Processes on each node and nodes, by torchrun's environment; None when it did not start this process."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    devices, world = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), int(os.environ.get("WORLD_SIZE", "1"))
    return devices, world // devices
