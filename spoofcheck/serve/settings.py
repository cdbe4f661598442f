"""What the operator of a server may choose. Everything else belongs to the model's config or to a request."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path


def default_data_dir() -> Path:
    """Where jobs are kept when the operator names no folder: `$XDG_DATA_HOME/spoofcheck/serve`."""
    named = os.environ.get("XDG_DATA_HOME", "")
    base = Path(named) if Path(named).is_absolute() else Path.home() / ".local" / "share"
    return base / "spoofcheck" / "serve"


@dataclass(frozen=True, slots=True)
class Settings:
    """How one server runs. Sizes are bytes, times seconds."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0 takes a free one."""
    model: str | Path | None = None
    """A shipped model's name, a model directory, or None for the shipped default."""
    more_models: tuple[str | Path, ...] = ()
    """Further ones that a request may choose by name."""
    device: str = "auto"
    workers: int | None = None
    """Model processes; None is one per core on a CPU, at most 8, and one on a GPU."""
    threshold_llr: float | None = None
    """Of the verdict; None is the model's own."""
    controls: bool = True
    """Score the controls when a model process starts, and refuse to start when one misbehaves."""

    prior_synthetic: float = 0.5
    """Of synthetic speech, above 0 and below 1: what `confidenceScore` of the older contracts is stated at."""

    data_dir: Path = field(default_factory=default_data_dir)
    """Of jobs, results and uploads; nothing else may lie in it."""
    keep_uploads: bool = False
    """Keep what was uploaded until its job is deleted or expires; else it goes as soon as the job is done."""
    keep_results_s: float = 24 * 3600.0

    max_upload_bytes: int = 25_000_000
    """Of one request's files together, decoded from base64 where they came so."""
    max_files: int = 32
    """Of one request."""
    max_duration_s: float = 4 * 3600.0
    """Of one recording."""
    upload_timeout_s: float = 300.0
    """How long a request's body may take to arrive."""
    request_deadline_s: float = 300.0
    """How long a request that waits for its result may take."""
    queue_limit: int = 256
    """Files that wait for a model process; more are refused with 429."""
    shutdown_grace_s: float = 20.0
    """How long running jobs have to finish when the server is told to stop."""

    keys_file: Path | None = None
    """Of API keys; None: no keys, and only a loopback address may be bound."""
    rate_per_minute: int = 120
    """Requests per key."""
    quota_bytes_per_day: int = 10_000_000_000
    """Uploads per key."""

    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call the API from a browser; none by default."""
    allowed_hosts: tuple[str, ...] = ()
    """Further names by which the server may be called (its `Host` header)."""
    webhook_hosts: tuple[str, ...] = ()
    """Who may be notified of finished jobs (`serve.webhooks`); nobody by default."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def jobs_dir(self) -> Path:
        """A folder per job, named by its id."""
        return self.data_dir / "jobs"

    @property
    def incoming_dir(self) -> Path:
        """Uploads that belong to no job (yet); emptied at start."""
        return self.data_dir / "incoming"

    @property
    def temporary_dir(self) -> Path:
        """Of the model processes; emptied at start."""
        return self.data_dir / "tmp"
