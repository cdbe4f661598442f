"""Ends a command that runs until it is told to stop: at Ctrl-C or SIGTERM, but never in the middle of a record."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class StopAtSignal:
    """Raises KeyboardInterrupt in the main thread at the first signal; a context manager that then restores handlers.

    Later signals are heard and change nothing: cleaning up is not interrupted. Outside the main thread, where no
    handler can be set, it does nothing.
    """

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}
        self._is_held = False
        self._is_told = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._tell) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    @contextmanager
    def held(self) -> Iterator[None]:
        """What is done inside is done whole: a signal is heard at its end.

        Raises:
            KeyboardInterrupt: at the end, when there was a signal.
        """
        told_before = self._is_told
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
        if self._is_told and not told_before:
            raise KeyboardInterrupt

    def _tell(self, _number: int, _frame: FrameType | None) -> None:
        first, self._is_told = not self._is_told, True
        if first and not self._is_held:
            raise KeyboardInterrupt
