"""How many actors of each kind a scan gets from what the cluster has. Plain numbers and one rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from spoofcheck.errors import UsageError

_JUDGE_SHARE: Final = 0.2
"""Of a GPU: tracing and evidence run the network now and then, the first hearing all the time."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What a cluster has."""

    cpus: float
    gpus: float
    nodes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Actors of each kind, and what share of a core or GPU Ray is to count for each.

    Attributes:
        readers: fetch and decode.
        networks: run the detector over windows.
        judges: decide, trace and gather evidence.
        reader_cpus: Ray counts for a reader.
        network_cpus: Ray counts for a network; 0 where it has a GPU.
        judge_cpus: Ray counts for a judge, likewise.
        network_gpus: share of a GPU that a network has; 0 on CPUs.
        judge_gpus: share that a judge has.
    """

    readers: int
    networks: int
    judges: int
    reader_cpus: float
    network_cpus: float
    judge_cpus: float
    network_gpus: float
    judge_gpus: float

    @property
    def device(self) -> str:
        """Where networks compute."""
        return "cuda" if self.network_gpus else "cpu"


def planned(
    resources: Resources, readers: int | None = None, networks: int | None = None, device: str = "auto"
) -> Plan:
    """The plan for a cluster.

    With GPUs: a network and a judge on each, readers on all cores. Without: half the cores run networks, a quarter
    each read and judge, at least one of each kind.

    Args:
        resources: of the cluster.
        readers: None for the rule above.
        networks: None for the rule above.
        device: `"auto"` takes GPUs where there are any.

    Raises:
        UsageError: a GPU is asked for and there is none, or a device that an actor cannot be given.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {device}: --engine ray gives every actor its own device; say auto, cpu or cuda")
    cores, gpus = max(1, int(resources.cpus)), int(resources.gpus)
    if device == "cuda" and not gpus:
        raise UsageError("--device cuda: the Ray cluster has no GPU")
    if gpus and device != "cpu":
        n_networks = networks or gpus
        # As many to a GPU as it takes for all to be there; judges fit into what is left of each.
        per_gpu = -(-n_networks // gpus)
        n_readers = readers or cores
        return Plan(
            readers=n_readers,
            networks=n_networks,
            judges=gpus,
            reader_cpus=_share(cores, n_readers),
            network_cpus=0.0,
            judge_cpus=0.0,
            network_gpus=_floored((1 - _JUDGE_SHARE) / per_gpu),
            judge_gpus=_JUDGE_SHARE,
        )
    n_readers, judges = readers or max(1, cores // 4), max(1, cores // 4)
    n_networks = networks or max(1, cores - n_readers - judges)
    share = _share(cores, n_readers + n_networks + judges)
    return Plan(n_readers, n_networks, judges, share, share, share, 0.0, 0.0)


def _share(cores: int, actors: int) -> float:
    return min(1.0, _floored(cores / actors))


def _floored(share: float) -> float:
    """In hundredths, downwards: shares must not add up to more than there is."""
    return max(0.01, int(share * 100) / 100)
