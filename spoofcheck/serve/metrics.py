"""What Prometheus may read: requests, queue, what was examined, what failed. No names, no content."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from spoofcheck.schema import Finding

_LATENCY_BUCKETS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The counters of one application, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter(
            "spoofcheck_http_requests", "Requests answered.", ("method", "route", "status"), registry=registry
        )
        self.latency = Histogram(
            "spoofcheck_http_request_seconds",
            "From the request's head to the head of the answer.",
            ("method", "route"),
            buckets=_LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.windows = Counter("spoofcheck_windows_scored", "Windows that got a score.", registry=registry)
        self.audio = Counter("spoofcheck_audio_seconds", "Seconds of audio examined.", registry=registry)
        self.findings = Counter("spoofcheck_findings", "Exhibits, by verdict.", ("verdict",), registry=registry)
        self.jobs = Counter("spoofcheck_jobs", "Jobs that are over.", ("state",), registry=registry)
        self.webhooks = Counter(
            "spoofcheck_webhooks", "Receivers told of a job, or given up.", ("outcome",), registry=registry
        )
        self.restarts = Counter(
            "spoofcheck_model_process_restarts", "Model processes that ended and were started again.", registry=registry
        )
        self._queued = Gauge("spoofcheck_queue_files", "Files that wait for a model process.", registry=registry)
        self._running = Gauge("spoofcheck_running_files", "Files that a model process has.", registry=registry)
        self._up = Gauge("spoofcheck_model_processes", "Model processes that have loaded the model.", registry=registry)

    def watch(self, *, queued: Callable[[], int], running: Callable[[], int], up: Callable[[], int]) -> None:
        """Read the length of the queue, and who works on it, when it is asked for."""
        self._queued.set_function(queued)
        self._running.set_function(running)
        self._up.set_function(up)

    def count(self, examined: Sequence[Sequence[Finding]]) -> None:
        """Count what was found, file by file."""
        for findings in examined:
            for finding in findings:
                self.findings.labels(finding.verdict).inc()
                self.windows.inc(sum(window.raw_score is not None for window in finding.windows))
            if findings:
                self.audio.inc(findings[0].duration_s or 0.0)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)
