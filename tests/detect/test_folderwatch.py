"""Watched folders with real files and real events; nothing is scored here."""

from __future__ import annotations

import errno
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from watchdog.observers.api import BaseObserver

from spoofcheck.audio.files import sha256_of
from spoofcheck.detect import folderevents, folderwatch
from spoofcheck.detect.folderevents import FolderEvents, Mark
from spoofcheck.detect.folderwatch import FolderWatch, WatchOptions, check_roots
from spoofcheck.errors import UsageError
from spoofcheck.schema import Finding, Verdict
from spoofcheck.types import Skipped

CEILING_S = 60.0
"""No test waits this long unless it fails."""
SETTLE_S = 0.05
NEVER_S = 10_000.0


def finding(path: Path) -> Finding:
    return Finding.skipped(str(path), "not-audio", "Made up.").model_copy(
        update={"verdict": Verdict.BONAFIDE, "sha256": sha256_of(path), "reasons": ()}
    )


@dataclass
class Watched:
    """A watch, what it said, and what came of it by path below the folder."""

    watch: FolderWatch
    root: Path
    notices: list[str] = field(default_factory=list)

    def next(self) -> list[Path | Skipped]:
        """What is ready next; the wait runs beside, so that a test that fails does not hang."""
        answer: queue.Queue[list[Path | Skipped]] = queue.Queue()
        threading.Thread(target=lambda: answer.put(self.watch.wait()), daemon=True).start()
        return answer.get(timeout=CEILING_S)

    def arrived(self, count: int) -> list[str]:
        """The next `count` files, sorted; every one is done."""
        found: list[str] = []
        while len(found) < count:
            for entry in self.next():
                path = entry.path if isinstance(entry, Skipped) else entry
                name = path.relative_to(self.root).as_posix()
                if isinstance(entry, Skipped):
                    findings = [Finding.skipped(str(path), entry.code, entry.message)]
                    found.append(f"{name}: {entry.code}")
                else:
                    findings = [finding(path)]
                    found.append(name)
                assert self.watch.done(path, findings)
        return sorted(found)

    def settled(self) -> None:
        """Until nothing waits any more; what is ready must be nothing."""
        until = threading.Event()
        for _ in range(round(CEILING_S / 0.01)):
            self.watch.notice()
            if not self.watch.unexamined:
                return
            until.wait(0.01)
        raise AssertionError("something still waits")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.mkdir()
    return path


@contextmanager
def watched(root: Path, own: list[Path] | None = None, **options: object) -> Iterator[Watched]:
    chosen = WatchOptions(**{"settle_s": SETTLE_S, "rescan_s": NEVER_S, **options})  # type: ignore[arg-type]
    notices: list[str] = []
    with FolderWatch([root], chosen, own or [], notices.append) as watch:
        yield Watched(watch, root, notices)


def put(path: Path, data: bytes = b"RIFF") -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("poll", [False, True])
def test_what_is_there_comes_first_and_then_what_arrives(
    root: Path, poll: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(folderwatch, "POLL_S", 0.05)
    put(root / "there.wav")
    with watched(root, poll=poll) as at:
        assert at.arrived(1) == ["there.wav"]
        put(root / "new.wav")
        assert at.arrived(1) == ["new.wav"]
        put(root / "download.wav.part")
        (root / "download.wav.part").rename(root / "download.wav")
        assert at.arrived(1) == ["download.wav"]
        put(tmp_path / "outside.wav").rename(root / "moved-in.wav")
        assert at.arrived(1) == ["moved-in.wav"]
        (tmp_path / "folder" / "inner").mkdir(parents=True)
        put(tmp_path / "folder" / "x.wav")
        put(tmp_path / "folder" / "inner" / "y.wav")
        (tmp_path / "folder").rename(root / "folder")
        assert at.arrived(2) == ["folder/inner/y.wav", "folder/x.wav"]
        put(root / "folder" / "inner" / "later.wav")
        assert at.arrived(1) == ["folder/inner/later.wav"]
        put(root / "there.wav", b"other bytes")
        assert at.arrived(1) == ["there.wav"]
        (root / "folder").rename(root / "renamed")
        assert at.arrived(3) == ["renamed/inner/later.wav", "renamed/inner/y.wav", "renamed/x.wav"]


def test_the_same_rules_say_what_may_be_a_recording_as_in_a_scan(root: Path, tmp_path: Path) -> None:
    put(root / "notes.txt", b"text")
    put(root / "by-content", b"RIFF\x24\x00\x00\x00WAVEfmt ")
    put(root / ".hidden.wav")
    (root / ".dots").mkdir()
    put(root / ".dots" / "a.wav")
    put(root / "unfinished.wav.crdownload")
    put(root / "unfinished.WAV.PART")
    (root / "unfinished.tmp").mkdir()
    put(root / "unfinished.tmp" / "a.wav")
    os.mkfifo(root / "pipe.wav")
    (root / "out.wav").symlink_to(put(tmp_path / "outside.wav"))
    put(root / "real.wav")
    (root / "again.wav").symlink_to(root / "real.wav")
    (root / "shown.wav").symlink_to(root / ".hidden.wav")
    (root / "loop").symlink_to(root)
    expected = ["by-content", "out.wav: symlink-outside", "pipe.wav: not-a-file", "real.wav", "shown.wav"]
    with watched(root) as at:
        assert at.arrived(5) == expected
        at.settled()
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, symlinks=True, ignore=shutil.ignore_patterns("pipe.wav"))
    with watched(root, new_only=True) as at:
        copy.rename(root / "moved")
        # The links still lead into the folder, one of them to what is not found anywhere else.
        assert at.arrived(4) == [f"moved/{name}" for name in expected if "pipe" not in name]
        at.settled()


def test_files_that_were_deleted_before_they_were_read_are_one_line(root: Path) -> None:
    with watched(root, settle_s=1.0) as at:
        at.settled()
        path = put(root / "short.wav")
        at.watch.notice()
        while not at.watch.unexamined:
            at.watch.notice()
        path.unlink()
        at.settled()
        assert at.notices == [f"{path}: deleted before it was read"]
        assert at.watch.vanished == 1
    put(root / "late.wav")
    with watched(root) as at:
        (entry,) = at.next()
        assert isinstance(entry, Path)
        entry.unlink()
        assert not at.watch.done(entry, [Finding.skipped(str(entry), "not-found", "There is no such file.")])
        assert at.notices == [f"{entry}: deleted before it was read"]
        assert at.watch.unexamined == 0


def test_a_file_that_changed_while_it_was_read_comes_again(root: Path) -> None:
    path = put(root / "a.wav")
    with watched(root) as at:
        assert at.next() == [path]
        changed = Finding.skipped(str(path), "changed-while-reading", "The file changed.")
        assert not at.watch.done(path, [changed])
        assert at.watch.unexamined == 1
        assert at.arrived(1) == ["a.wav"]
        assert len(at.notices) == 1


def test_what_holds_the_same_as_before_is_not_examined_again(root: Path) -> None:
    path = put(root / "a.wav")
    with watched(root) as at:
        assert at.arrived(1) == ["a.wav"]
        path.touch()
        path.chmod(0o600)
        put(path)
        put(root / "b.wav")
        assert at.arrived(1) == ["b.wav"]
        at.settled()


def test_new_only_leaves_out_what_is_there_until_it_changes(root: Path) -> None:
    put(root / "old.wav")
    with watched(root, new_only=True) as at:
        put(root / "new.wav")
        assert at.arrived(1) == ["new.wav"]
        put(root / "old.wav", b"new bytes")
        assert at.arrived(1) == ["old.wav"]


def test_what_the_caller_writes_is_never_looked_at(root: Path) -> None:
    own = [root / "findings.wav", root / "reports"]
    own[1].mkdir()
    put(own[0])
    put(own[1] / "a.wav")
    with watched(root, own) as at:
        put(own[0], b"appended")
        put(own[1] / "b.wav")
        put(root / "a.wav")
        assert at.arrived(1) == ["a.wav"]
        at.settled()


def test_lost_events_lose_no_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FolderEvents, "drain", lambda _: {})
    monkeypatch.setattr(folderwatch, "_RESCAN_SHARE", 1.0)
    with watched(root, rescan_s=0.05) as at:
        put(root / "a.wav")
        assert at.arrived(1) == ["a.wav"]
        put(root / "a.wav", b"other")
        assert at.arrived(1) == ["a.wav"]


def test_too_many_marks_make_a_new_list(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folderevents, "_MOST_MARKS", 3)
    names = [f"{n}.wav" for n in range(9)]
    with watched(root) as at:
        at.settled()
        for name in names:
            put(root / name)
        assert at.arrived(9) == names


def test_a_folder_that_goes_and_comes_back_is_watched_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root / "a.wav")
    with watched(root) as at:
        assert at.arrived(1) == ["a.wav"]
        away = root.rename(root.with_name("away"))
        at.watch._next_rescan_s = 0.0
        at.watch.notice()
        at.watch._next_rescan_s = 0.0
        at.watch.notice()
        assert len(at.notices) == 1
        assert "cannot be listed now" in at.notices[0]
        away.rename(root)
        at.watch._next_rescan_s = 0.0
        at.watch.notice()
        assert "can be listed again" in at.notices[1]
        put(root / "b.wav")
        assert at.arrived(1) == ["b.wav"], "what was examined before is not examined again"


def test_a_folder_that_is_another_one_now_is_watched_anew(root: Path) -> None:
    number = 0
    with FolderEvents([root]) as events:
        shutil.rmtree(root)
        root.mkdir()
        marks: dict[Path, Mark] = {}
        give_up = time.monotonic() + CEILING_S
        while not any(path.suffix == ".wav" for path in marks):
            assert time.monotonic() < give_up
            # The news that the old folder is gone may come after the new one has its number.
            events.renew()
            number += 1
            put(root / f"{number}.wav")
            events.wait(0.1)
            marks |= events.drain() or {}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE])
@pytest.mark.parametrize("part", ["start", "schedule"])
def test_the_systems_limit_is_told_with_its_name(
    root: Path, number: int, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, "limit reached")

    monkeypatch.setattr(BaseObserver, part, refuse)
    before = threading.active_count()
    with pytest.raises(UsageError, match=r"sysctl fs\.inotify\.max_user_watches=.* or use --poll") as told:
        FolderEvents([root]).__enter__()
    assert str(root) in str(told.value)
    assert threading.active_count() == before


def test_a_limit_that_is_reached_later_is_told_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with watched(root) as at:
        at.settled()

        def refuse(_: FolderEvents) -> None:
            raise UsageError("the limit is reached")

        with monkeypatch.context() as patch:
            patch.setattr(FolderEvents, "check_limit", refuse)
            for _ in range(3):
                at.watch._next_rescan_s = 0.0
                at.watch.notice()
        assert len(at.notices) == 1
        assert at.notices[0].startswith("the limit is reached; until then")


def test_polling_follows_no_link_in_a_circle(root: Path) -> None:
    for name in ("x", "y"):
        (root / name).symlink_to(root)
    with FolderEvents([root], 0.05) as events:
        put(root / "a.wav")
        events.wait(CEILING_S)
        assert root / "a.wav" in (events.drain() or {})


def test_marks_are_one_a_path(root: Path) -> None:
    with FolderEvents([root]) as events:
        with open(root / "a.wav", "wb") as file:
            for _ in range(50):
                file.write(b"x")
                file.flush()
        marks: dict[Path, Mark] = {}
        while marks.get(root / "a.wav") is not Mark.CLOSED:
            events.wait(CEILING_S)
            drained = events.drain()
            assert drained
            assert len(drained) == 1
            marks |= drained


def _missing(root: Path) -> list[Path]:
    return [root / "missing"]


def _file(root: Path) -> list[Path]:
    return [put(root / "a.wav")]


def _inside(root: Path) -> list[Path]:
    (root / "inner").mkdir()
    return [root, root / "inner"]


@pytest.mark.parametrize(
    ("roots", "message"),
    [(_missing, "there is no such folder"), (_file, "is no folder"), (_inside, "is inside")],
)
def test_what_cannot_be_watched_is_refused(root: Path, roots: Callable[[Path], list[Path]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_roots(roots(root))


def test_several_folders_are_watched_at_once_and_no_thread_is_left(tmp_path: Path) -> None:
    roots = [tmp_path / name for name in ("one", "two")]
    for each in roots:
        each.mkdir()
    before = threading.active_count()
    with ExitStack() as stack:
        watch = stack.enter_context(FolderWatch(roots, WatchOptions(settle_s=SETTLE_S, rescan_s=NEVER_S)))
        at = Watched(watch, tmp_path)
        for each in roots:
            put(each / "a.wav")
        assert at.arrived(2) == ["one/a.wav", "two/a.wav"]
    assert threading.active_count() == before
