"""Judges: actors that take recordings that were heard and give findings, in any order.

Plain actors, not Ray Data: it cannot put the chunks of a recording together without waiting for all recordings
(`groupby` is a barrier), so they come together where the scan was asked for, and leave from there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from spoofcheck.cluster.chunks import Case, Failure
from spoofcheck.schema import Finding

Outcome = tuple[Finding, ...] | Failure | None
"""None: every judge that took it died."""


class Court:
    """A pool of judges.

    Args:
        appoint: starts a judge.
        judges: how many; all but the first start with the first case, when the networks have found their places.
    """

    def __init__(self, appoint: Callable[[], Any], judges: int) -> None:
        self._appoint = appoint
        self._size = judges
        self._judges: list[Any] = []
        self._free: deque[Any] = deque()
        self._waiting: deque[tuple[int, Case]] = deque()
        self._pending: dict[Any, tuple[int, Any]] = {}

    @property
    def is_full(self) -> bool:
        """Whether as many cases wait as are wanted."""
        return len(self._waiting) >= 16 * self._size

    def judge(self) -> Any:
        """Any judge, for something else."""
        self._open(1)
        return self._judges[0]

    def submit(self, number: int, case: Case) -> None:
        """Take a case."""
        self._open(self._size)
        self._waiting.append((number, case))
        self._assign()

    def done(self, wait: bool) -> Iterator[tuple[int, Outcome]]:
        """Cases that are done, by number; waits for one, if that is wanted and there is one."""
        import ray
        from ray.exceptions import RayActorError, RayError, TaskUnschedulableError

        if not self._pending:
            return
        ready, _ = ray.wait(list(self._pending), num_returns=1, timeout=None if wait else 0)
        for reference in ready:
            number, judge = self._pending.pop(reference)
            self._free.append(judge)
            try:
                outcome: Outcome = ray.get(reference)
            except (RayActorError, TaskUnschedulableError):
                outcome = None
            except RayError as error:
                outcome = Failure(type(error).__name__, str(error).splitlines()[0])
            yield number, outcome
        self._assign()

    def drain(self) -> Iterator[tuple[int, Outcome]]:
        """All the others."""
        while self._pending:
            yield from self.done(wait=True)

    def close(self) -> None:
        """Send the judges away."""
        import ray

        for judge in self._judges:
            ray.kill(judge)
        self._judges = []
        self._free.clear()

    def _open(self, judges: int) -> None:
        while len(self._judges) < judges:
            judge = self._appoint()
            self._judges.append(judge)
            # Two cases each: the next one is there when one is done.
            self._free.extend([judge, judge])

    def _assign(self) -> None:
        while self._waiting and self._free:
            number, case = self._waiting.popleft()
            judge = self._free.popleft()
            self._pending[judge.judged.remote(case)] = (number, judge)
