"""The first call of compiled functions is alone among processes."""

from __future__ import annotations

import fcntl
import importlib.util
import subprocess
import sys
import threading

import pytest

from spoofcheck.audio.acoustics.spectrum import _measures_of
from spoofcheck.audio.compiled import first_call_alone
from spoofcheck.nets.features import _spectral
from spoofcheck.nets.statistics import voice_statistics


def lock_of() -> str:
    found = importlib.util.find_spec("librosa")
    assert found is not None
    assert found.origin is not None
    return found.origin


def is_locked() -> bool:
    """Whether a process of its own finds the lock taken."""
    program = "import fcntl, sys; fcntl.flock(open(sys.argv[1], 'rb'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    done = subprocess.run([sys.executable, "-c", program, lock_of()], capture_output=True, check=False)
    return b"BlockingIOError" in done.stderr


def test_only_the_first_call_is_alone() -> None:
    function = first_call_alone(is_locked)
    assert [function(), function()] == [True, False]


def test_a_first_call_that_fails_is_still_the_first() -> None:
    answers = iter([ZeroDivisionError, None, None])

    @first_call_alone
    def function() -> bool:
        if (error := next(answers)) is not None:
            raise error
        return is_locked()

    with pytest.raises(ZeroDivisionError):
        function()
    assert [function(), function()] == [True, False]


def test_the_first_call_waits_for_another_process() -> None:
    called = threading.Event()
    with open(lock_of(), "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        thread = threading.Thread(target=first_call_alone(called.set))
        thread.start()
        assert not called.wait(0.2)
    thread.join(60)
    assert called.is_set()


def test_what_librosa_compiles_is_called_so() -> None:
    assert all(hasattr(function, "__wrapped__") for function in (voice_statistics, _spectral, _measures_of))
