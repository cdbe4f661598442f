"""The pool with processes that have no model (`tests.support.modelstandin`)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spoofcheck.errors import ModelError
from spoofcheck.schema import Finding
from spoofcheck.serve.messages import Setup
from spoofcheck.serve.models import JobOptions
from spoofcheck.serve.pool import MAX_ATTEMPTS, ModelPool, PoolOptions
from tests.support.modelstandin import REFUSED

WAIT_S = 60.0


class Recorder:
    """Remembers what it is told of one file."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.was_begun = threading.Event()
        self.was_heard = threading.Event()
        self.findings: tuple[Finding, ...] | None = None
        self.message: str | None = None
        self.begins = 0

    def begun(self) -> None:
        self.begins += 1
        self.was_begun.set()

    def heard(self, share: float, duration_s: float | None) -> None:
        assert (share, duration_s) == (0.5, 10.0)
        self.was_heard.set()

    def done(self, findings: tuple[Finding, ...]) -> None:
        self.findings = findings
        self.over.set()

    def gave_up(self, message: str) -> None:
        self.message = message
        self.over.set()

    def text(self) -> str:
        assert self.over.wait(WAIT_S)
        assert self.findings is not None, self.message
        return self.findings[0].reasons[0].message

    def process(self) -> str:
        assert self.findings is not None
        return self.findings[0].reasons[1].message


MakePool = Callable[..., ModelPool]


@pytest.fixture
def make_pool(tmp_path: Path) -> Iterator[MakePool]:
    pools = []

    def make(model: str | None = None, workers: int = 1, stall_s: float = WAIT_S) -> ModelPool:
        setup = Setup(models=(model,), device="cpu", threshold_llr=None, controls=False, max_duration_s=60.0)
        pool = ModelPool(
            PoolOptions(
                setup,
                workers,
                tmp_path,
                stall_s=stall_s,
                module="tests.support.modelstandin",
                restart_after_s=(0.0,),
            )
        )
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        pool.close()


def put(pool: ModelPool, folder: Path, text: str) -> tuple[int, Recorder]:
    recorder = Recorder()
    path = folder / f"file-{text}-{id(recorder)}"
    path.write_text(text)
    return pool.put(path, len(text), JobOptions(), recorder), recorder


def test_files_are_examined_in_several_processes(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(workers=2)
    assert pool.start().models[0].name == "compact-detector"
    recorders = [put(pool, tmp_path, f"text {number}")[1] for number in range(12)]
    assert [recorder.text() for recorder in recorders] == [f"text {number}" for number in range(12)]
    assert (pool.waiting, pool.running) == (0, 0)


def test_a_process_that_ends_costs_nobody_else_a_result(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool()
    pool.start()
    deadly = put(pool, tmp_path, "die")[1]
    hurt = put(pool, tmp_path, "die-once")[1]
    others = [put(pool, tmp_path, f"text {number}")[1] for number in range(4)]
    assert [other.text() for other in others] == [f"text {number}" for number in range(4)]
    assert hurt.text() == "die-once"
    assert deadly.over.wait(WAIT_S)
    assert deadly.findings is None
    assert deadly.message is not None
    assert str(MAX_ATTEMPTS) in deadly.message
    assert put(pool, tmp_path, "after")[1].text() == "after"


@pytest.mark.parametrize("text", ["hang", "strange"])
def test_a_process_that_stalls_or_babbles_is_ended(make_pool: MakePool, tmp_path: Path, text: str) -> None:
    pool = make_pool(stall_s=0.2)
    pool.start()
    recorder = put(pool, tmp_path, text)[1]
    assert recorder.over.wait(WAIT_S)
    assert recorder.findings is None


def test_a_cancelled_file_is_let_go(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool()
    pool.start()
    slow_key, slow = put(pool, tmp_path, "slow")
    assert slow.was_heard.wait(WAIT_S)
    waiting_key, waiting = put(pool, tmp_path, "never examined")
    last = put(pool, tmp_path, "last of all of them")[1]
    pool.cancel(waiting_key)
    pool.cancel(slow_key)
    assert last.text() == "last of all of them"
    assert not slow.over.is_set()
    assert not waiting.was_begun.is_set()


def test_what_shared_a_pass_with_a_cancelled_file_is_examined(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool()
    recorders = [put(pool, tmp_path, text) for text in ("slow", "the neighbour")]
    pool.start()  # both wait, and make one pass
    (key, slow), (_, neighbour) = recorders
    assert slow.was_heard.wait(WAIT_S)
    pool.cancel(key)
    assert neighbour.text() == "the neighbour"
    assert not slow.over.is_set()


def test_no_file_is_held_up_again_and_again_by_others_that_are_cancelled(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool()
    (first, slow), (second, slow_too), (_, patient) = [
        put(pool, tmp_path, text) for text in ("slow", "slow", "who waits for both")
    ]
    pool.start()  # one pass of all three
    assert slow.was_heard.wait(WAIT_S)
    pool.cancel(first)
    assert slow_too.was_heard.wait(WAIT_S)
    pool.cancel(second)
    assert patient.text() == "who waits for both"
    assert patient.begins == 2


def test_a_model_that_cannot_be_used_is_an_error(make_pool: MakePool) -> None:
    with pytest.raises(ModelError, match="the model is damaged"):
        make_pool(REFUSED).start()


def test_closing_ends_what_runs(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool()
    pool.start()
    recorder = put(pool, tmp_path, "hang")[1]
    assert recorder.was_begun.wait(WAIT_S)
    pool.close()
    assert not recorder.over.is_set()
    assert pool.up == 0
