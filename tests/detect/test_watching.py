"""When files are ready: a clock and a file system of our own, so that no test waits."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoofcheck.detect.watching import CLOSED_SETTLES_S, Arrivals, Stamp, look_at

SETTLE_S = 2.0
A, B = Path("/in/a.wav"), Path("/in/b.wav")


@dataclass
class Disk:
    """Files with their bytes; every change of one changes its stamp."""

    files: dict[Path, tuple[bytes, int]] = field(default_factory=dict)
    changes: int = 0

    def write(self, path: Path, data: bytes) -> None:
        self.changes += 1
        self.files[path] = (data, self.changes)

    def look(self, path: Path) -> Stamp | None:
        if path not in self.files:
            return None
        data, change = self.files[path]
        return Stamp(len(data), 0, change)

    def sha256(self, path: Path) -> str:
        return hashlib.sha256(self.files[path][0]).hexdigest()


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def arrivals(disk: Disk) -> Arrivals:
    return Arrivals(SETTLE_S, disk.look)


def examine(arrivals: Arrivals, disk: Disk) -> list[Path]:
    """Examine all that is ready, as a watch does; gives what was not the same as before."""
    examined = []
    for path in arrivals.take(1_000):
        if path not in disk.files:
            arrivals.dropped(path)
        elif arrivals.is_unchanged(path, disk.sha256):
            arrivals.done_as_before(path)
        else:
            examined.append(path)
            arrivals.done(path, disk.sha256(path))
    return examined


def test_a_file_is_ready_when_it_stayed_the_same_for_long_enough(arrivals: Arrivals, disk: Disk) -> None:
    disk.write(A, b"half")
    arrivals.touched(A, 0.0)
    assert arrivals.next_due_s() == SETTLE_S
    assert arrivals.settle(SETTLE_S - 0.01) == []
    assert not arrivals.has_ready()
    disk.write(A, b"half and half")  # and no event
    assert arrivals.settle(SETTLE_S) == []
    assert not arrivals.has_ready()
    assert arrivals.next_due_s() == 2 * SETTLE_S
    arrivals.settle(2 * SETTLE_S)
    assert arrivals.next_due_s() is None
    assert arrivals.unexamined() == 1
    assert arrivals.take(9) == [A]
    assert arrivals.unexamined() == 1
    arrivals.done(A, disk.sha256(A))
    assert arrivals.unexamined() == 0


def test_every_event_of_a_change_begins_the_wait_anew(arrivals: Arrivals, disk: Disk) -> None:
    for second in range(10):
        disk.write(A, bytes(second))
        arrivals.touched(A, float(second))
        arrivals.settle(second + 0.99)
        assert not arrivals.has_ready()
    arrivals.settle(9 + SETTLE_S)
    assert arrivals.take(9) == [A]


def test_events_that_changed_nothing_do_not_prolong_the_wait(arrivals: Arrivals, disk: Disk) -> None:
    disk.write(A, b"all")
    for second in (0.0, 0.5, 1.0, 1.5):
        arrivals.touched(A, second)
    arrivals.settle(SETTLE_S)
    assert arrivals.take(9) == [A]


def test_a_closed_file_waits_a_moment_only_until_it_is_written_again(arrivals: Arrivals, disk: Disk) -> None:
    disk.write(A, b"all")
    arrivals.touched(A, 0.0, closed=True)
    assert arrivals.next_due_s() == CLOSED_SETTLES_S
    disk.write(A, b"and more")
    arrivals.touched(A, 0.1)
    arrivals.settle(0.1 + CLOSED_SETTLES_S)
    assert not arrivals.has_ready()
    arrivals.settle(0.1 + SETTLE_S)
    assert arrivals.take(9) == [A]


def test_a_file_that_changes_while_it_is_ready_waits_again(arrivals: Arrivals, disk: Disk) -> None:
    disk.write(A, b"all")
    arrivals.touched(A, 0.0)
    arrivals.settle(SETTLE_S)
    disk.write(A, b"more")
    arrivals.touched(A, 3.0)
    assert arrivals.take(9) == []
    arrivals.settle(3.0 + SETTLE_S)
    assert arrivals.take(9) == [A]


def test_a_file_that_changes_while_it_is_examined_is_examined_again(arrivals: Arrivals, disk: Disk) -> None:
    disk.write(A, b"all")
    arrivals.touched(A, 0.0)
    arrivals.settle(SETTLE_S)
    (path,) = arrivals.take(9)
    disk.write(A, b"more")
    arrivals.touched(A, 3.0)
    arrivals.done(path, hashlib.sha256(b"all").hexdigest())
    arrivals.settle(3.0 + SETTLE_S)
    assert examine(arrivals, disk) == [A]


def test_the_same_content_is_not_examined_again(arrivals: Arrivals, disk: Disk) -> None:
    disk.write(A, b"all")
    arrivals.touched(A, 0.0)
    arrivals.settle(2.0)
    assert examine(arrivals, disk) == [A]
    arrivals.touched(A, 3.0)
    assert arrivals.next_due_s() is None, "its stamp is the same"
    disk.write(A, b"all")
    arrivals.touched(A, 3.0)
    arrivals.settle(5.0)
    assert examine(arrivals, disk) == []
    disk.write(A, b"other")
    arrivals.listed([A], 6.0)
    arrivals.settle(8.0)
    assert examine(arrivals, disk) == [A]


def test_what_vanishes_while_it_is_waited_for_is_told(arrivals: Arrivals, disk: Disk) -> None:
    disk.write(A, b"all")
    arrivals.touched(A, 0.0)
    del disk.files[A]
    arrivals.touched(A, 1.0)
    assert arrivals.settle(2.0) == [A]
    assert arrivals.settle(9.0) == []
    assert arrivals.unexamined() == 0


def test_a_renamed_file_is_ready_under_its_new_name_only(arrivals: Arrivals, disk: Disk) -> None:
    disk.write(A, b"all")
    arrivals.touched(A, 0.0)
    disk.files[B] = disk.files.pop(A)
    arrivals.moved(A)
    arrivals.touched(B, 1.0, closed=True)
    assert arrivals.settle(9.0) == []
    assert arrivals.take(9) == [B]


def test_lists_find_what_no_event_told_of_and_forget_what_is_gone(arrivals: Arrivals, disk: Disk) -> None:
    disk.write(A, b"a")
    disk.write(B, b"b")
    arrivals.listed([A, B], 0.0)
    arrivals.listed([A, B], 1.9)
    arrivals.settle(2.0)
    assert examine(arrivals, disk) == [A, B]
    arrivals.listed([A, B], 60.0)
    assert arrivals.next_due_s() is None
    entry = disk.files.pop(A)
    arrivals.listed([B], 120.0, complete=False)
    disk.files[A] = entry
    arrivals.touched(A, 121.0)
    assert arrivals.next_due_s() is None, "a list that is not complete forgets nothing"
    del disk.files[A]
    arrivals.listed([B], 180.0)
    disk.files[A] = entry
    arrivals.touched(A, 181.0)
    assert arrivals.next_due_s() == 183.0


def test_what_is_ignored_is_examined_once_it_changes(arrivals: Arrivals, disk: Disk) -> None:
    disk.write(A, b"old")
    arrivals.ignored(A)
    arrivals.ignored(B)  # gone meanwhile
    arrivals.listed([A], 0.0)
    arrivals.settle(9.0)
    assert examine(arrivals, disk) == []
    disk.write(A, b"new")
    arrivals.listed([A], 60.0)
    arrivals.settle(62.0)
    assert examine(arrivals, disk) == [A]


def test_files_come_in_the_order_in_which_they_got_ready_and_no_more_than_asked_for(
    arrivals: Arrivals, disk: Disk
) -> None:
    paths = [Path(f"/in/{n}.wav") for n in (3, 1, 2)]
    for path in paths:
        disk.write(path, b"all")
        arrivals.touched(path, 0.0)
    arrivals.settle(2.0)
    assert arrivals.take(2) == paths[:2]
    assert arrivals.take(2) == paths[2:]


def test_a_stamp_changes_with_the_bytes_whatever_the_times_say(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"one")
    os.utime(path, (1, 1))
    before = look_at(path)
    path.write_bytes(b"two")
    os.utime(path, (1, 1))
    after = look_at(path)
    assert before is not None
    assert after is not None
    assert (before.size_bytes, before.modified_ns) == (after.size_bytes, after.modified_ns)
    assert before != after
    (tmp_path / "nowhere.wav").symlink_to(tmp_path / "missing")
    assert look_at(tmp_path / "nowhere.wav") is not None
    assert look_at(tmp_path / "missing") is None


WRITE, TELL, CLOSE, DELETE, PASS, LIST, EXAMINE = "write", "tell", "close", "delete", "pass", "list", "examine"
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just(WRITE), st.sampled_from([A, B]), st.sampled_from([b"1", b"2", b"33"])),
        st.tuples(st.sampled_from([TELL, CLOSE, DELETE]), st.sampled_from([A, B])),
        st.tuples(st.just(PASS), st.sampled_from([0.1, 0.3, 1.0, 2.5])),
        st.tuples(st.sampled_from([LIST, EXAMINE])),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_whatever_happens_nothing_is_lost_twice_or_too_early(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    """Events are late, doubled or missing; a list at the end makes good for them."""
    disk, now_s = Disk(), 0.0
    arrivals = Arrivals(SETTLE_S, disk.look)
    seen: dict[Path, bytes] = {}
    """What was last examined there, since the file was last forgotten."""
    stamp_since: dict[Path, float] = {}

    def examine_all() -> None:
        for path in arrivals.take(1_000):
            if path not in disk.files:
                arrivals.dropped(path)
                seen.pop(path, None)
                continue
            assert now_s - stamp_since[path] >= CLOSED_SETTLES_S - 1e-9 or path in unnoticed, "too early"
            if arrivals.is_unchanged(path, disk.sha256):
                arrivals.done_as_before(path)
                continue
            data = disk.files[path][0]
            assert seen.get(path) != data, "twice"
            seen[path] = data
            arrivals.done(path, disk.sha256(path))

    unnoticed: set[Path] = set()
    """Changed after they got ready, and nobody was told."""
    for step in steps:
        match step:
            case ("write", path, data):
                disk.write(path, data)
                stamp_since[path] = now_s
                unnoticed.add(path)
            case ("delete", path):
                disk.files.pop(path, None)
            case ("tell", path):
                arrivals.touched(path, now_s)
                unnoticed.discard(path)
            case ("close", path):
                arrivals.touched(path, now_s, closed=True)
                unnoticed.discard(path)
            case ("pass", step_s):
                now_s += step_s
                arrivals.settle(now_s)
            case ("list",):
                arrivals.listed(list(disk.files), now_s)
                seen = {path: data for path, data in seen.items() if path in disk.files}
                unnoticed.clear()
            case ("examine",):
                examine_all()
    for _ in range(2):  # what changed after it got ready waits once more
        arrivals.listed(list(disk.files), now_s)
        unnoticed.clear()
        seen = {path: data for path, data in seen.items() if path in disk.files}
        now_s += 2 * SETTLE_S
        arrivals.settle(now_s)
        now_s += 2 * SETTLE_S
        arrivals.settle(now_s)
        examine_all()
    assert seen == {path: data for path, (data, _) in disk.files.items()}
    assert arrivals.unexamined() == 0
    assert arrivals.next_due_s() is None
