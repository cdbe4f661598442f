"""A Ray of this machine for as long as a scan runs, or a cluster that is there already."""

from __future__ import annotations

import importlib
import logging
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Final

from spoofcheck.cluster.plan import Resources
from spoofcheck.errors import SpoofcheckError, UsageError

_STORE_BYTES: Final = 2 << 30
"""Most memory for what is on its way between actors of this machine; a quarter of it where that is less."""
_LEAST_STORE_BYTES: Final = 128 << 20
_QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_TQDM": "0",
}


class ClusterError(SpoofcheckError):
    """A cluster that cannot be reached, or that came to an end."""


def require_ray() -> None:
    """Find out whether Ray is installed.

    Raises:
        UsageError: it is not.
    """
    if any(find_spec(name) is None for name in ("ray", "pyarrow", "fsspec")):
        raise UsageError("--engine ray: the extra for it is not installed: pip install 'spoofcheck[cluster]'")


@contextmanager
def ray_session(address: str | None = None, cpus: int | None = None) -> Iterator[Resources]:
    """Ray, started or joined, and what it has; stopped or left when the `with` ends.

    A Ray of our own asks all who reach it for a token, has no dashboard and tells nobody that it is used. Inside a
    program that has Ray running already, that one is used, and left as it is.

    Args:
        address: of a running cluster: `"auto"` for the one of this machine, or `HOST:PORT`; None starts one.
        cpus: of a Ray of our own; None for all.

    Raises:
        UsageError: Ray is not installed, or an address that cannot be joined.
        ClusterError: there is no cluster, or none could be started.
    """
    require_ray()
    if address is not None and address.startswith("ray://"):
        raise UsageError("--ray-address ray://: start the scan on a machine of the cluster, with --ray-address auto")
    before = {name: os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_ADDRESS")}
    os.environ.update({name: value for name, value in _QUIET.items() if name not in os.environ})
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if address is None and "ray" not in sys.modules:
        # Whoever reaches a Ray without a token may run what they like. Ray looks for it when it is imported, once.
        os.environ.update({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)})
    import ray

    if ray.is_initialized():
        yield _resources()
        return
    try:
        try:
            if address is None:
                _start(cpus)
            else:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            what = "could not be started" if address is None else f"cannot be joined at {address}"
            why = next(iter(str(error).splitlines()), type(error).__name__)
            raise ClusterError(f"Ray {what} ({why})") from error
        yield _resources()
    finally:
        ray.shutdown()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _start(cpus: int | None) -> None:
    import ray

    os.environ.pop("RAY_ADDRESS", None)
    ray.init(
        address="local",
        num_cpus=cpus or os.cpu_count() or 1,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=max(_LEAST_STORE_BYTES, min(_STORE_BYTES, _free_bytes() // 4)),
    )


def _free_bytes() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # not on every system
        return _STORE_BYTES


def _resources() -> Resources:
    ray: Any = importlib.import_module("ray")  # these two have no types
    has = ray.cluster_resources()
    nodes = [node for node in ray.nodes() if node["Alive"]]
    return Resources(cpus=float(has.get("CPU", 0)), gpus=float(has.get("GPU", 0)), nodes=len(nodes))
