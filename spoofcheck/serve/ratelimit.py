"""How often a caller may ask: token buckets in memory, a daily quota on disk."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

MOST_BUCKETS = 4_096
"""Callers remembered at a time; the one heard of least recently is forgotten, and starts anew with a full bucket."""

KEEP_DAYS = 31
"""Counts of older days are removed."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_s: float


class TokenBuckets:
    """A bucket for each caller: it holds `per_minute` tokens at most, and as many flow in every minute.

    Args:
        clock: seconds that never run backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, who: str, per_minute: int) -> float:
        """Take a token.

        Returns:
            0 when there was one; otherwise the seconds until there will be, and nothing was taken.
        """
        with self._lock:
            bucket = self._filled(who, per_minute)
            if bucket.tokens >= 1:
                bucket.tokens -= 1
                return 0.0
            return (1 - bucket.tokens) * 60 / per_minute

    def wait_s(self, who: str, per_minute: int) -> float:
        """What `take` would return, without taking."""
        with self._lock:
            tokens = self._filled(who, per_minute).tokens
            return 0.0 if tokens >= 1 else (1 - tokens) * 60 / per_minute

    def _filled(self, who: str, per_minute: int) -> _Bucket:
        now_s = self._clock()
        bucket = self._buckets.get(who)
        if bucket is None:
            bucket = self._buckets[who] = _Bucket(float(per_minute), now_s)
            if len(self._buckets) > MOST_BUCKETS:
                self._buckets.popitem(last=False)
        bucket.tokens = min(float(per_minute), bucket.tokens + (now_s - bucket.at_s) * per_minute / 60)
        bucket.at_s = now_s
        self._buckets.move_to_end(who)
        return bucket


class Quota:
    """What each key handed in on each day (UTC), in an SQLite file that outlives the server.

    Args:
        path: of the file; made when it is not there.
        now: the time, aware.
    """

    def __init__(self, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._path = path
        self._now = now
        with closing(self._connect()) as connection, connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS daily_use (key_id TEXT NOT NULL, day TEXT NOT NULL,"
                " recordings INTEGER NOT NULL, size_bytes INTEGER NOT NULL, PRIMARY KEY (key_id, day))"
            )

    def take(
        self, key_id: str, recordings: int, size_bytes: int, most_recordings: int | None, most_bytes: int | None
    ) -> float:
        """Count recordings against a key.

        Args:
            key_id: of the caller.
            recordings: how many.
            size_bytes: of all of them together.
            most_recordings: a day; None counts without a limit.
            most_bytes: a day, likewise.

        Returns:
            0 when they were counted; otherwise the seconds until midnight UTC, and nothing was counted.
        """
        now = self._now().astimezone(UTC)
        day = now.date().isoformat()
        with closing(self._connect()) as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            used_recordings, used_bytes = self._used(connection, key_id, day)
            if _is_over(used_recordings + recordings, most_recordings) or _is_over(used_bytes + size_bytes, most_bytes):
                midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
                return (midnight - now).total_seconds()
            oldest = (now - timedelta(days=KEEP_DAYS)).date().isoformat()
            connection.execute("DELETE FROM daily_use WHERE day < ?", (oldest,))
            connection.execute(
                "INSERT INTO daily_use VALUES (?, ?, ?, ?) ON CONFLICT (key_id, day) DO UPDATE SET"
                " recordings = recordings + excluded.recordings, size_bytes = size_bytes + excluded.size_bytes",
                (key_id, day, recordings, size_bytes),
            )
        return 0.0

    def used(self, key_id: str) -> tuple[int, int]:
        """Recordings counted today, and their bytes."""
        with closing(self._connect()) as connection:
            return self._used(connection, key_id, self._now().astimezone(UTC).date().isoformat())

    @staticmethod
    def _used(connection: sqlite3.Connection, key_id: str, day: str) -> tuple[int, int]:
        row = connection.execute(
            "SELECT recordings, size_bytes FROM daily_use WHERE key_id = ? AND day = ?", (key_id, day)
        ).fetchone()
        return (int(row[0]), int(row[1])) if row else (0, 0)

    def _connect(self) -> sqlite3.Connection:
        # A connection of its own for each call: any thread may ask.
        return sqlite3.connect(self._path, timeout=5.0)


def _is_over(value: int, most: int | None) -> bool:
    return most is not None and value > most
