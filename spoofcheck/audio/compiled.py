"""librosa's compiled functions, whose first use must not happen in two processes at once.

numba compiles them when they are first used and keeps the machine code beside librosa. Processes that do so at the same
time can load each other's half of it and then jump to nowhere: of three that began together without that code, one in
seven ended by a segmentation fault (numba 0.68). So every process makes its first call while no other one of ours does.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_one_thread = threading.Lock()


def first_call_alone(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """A function that imports librosa and calls it, with its first call in this process alone on this machine.

    Its first call must use all compiled functions that later ones do, with the same types.
    """
    is_compiled = False

    @wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        nonlocal is_compiled
        if is_compiled:
            return function(*args, **kwargs)
        with _one_thread, _one_process():
            result = function(*args, **kwargs)
        is_compiled = True
        return result

    return call


@contextmanager
def _one_process() -> Iterator[None]:
    """Hold a lock on librosa itself: all who share its cache share that file, and nothing needs to be written."""
    found = importlib.util.find_spec("librosa")
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    if found is None or found.origin is None:
        yield
        return
    with open(found.origin, "rb") as file:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
