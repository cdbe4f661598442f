from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spoofcheck.serve.models import JobOptions
from spoofcheck.serve.scheduling import BYTES_PER_WAITED_S, PassLimits, Waiting, next_pass

LIMITS = PassLimits(files=4, size_bytes=1_000)
PLAIN, EACH = JobOptions(), JobOptions(channels="each")

waiting_files = st.lists(
    st.builds(
        Waiting,
        key=st.integers(0, 10_000),
        size_bytes=st.integers(0, 3_000),
        options=st.sampled_from([PLAIN, EACH]),
        since_s=st.floats(0, 100),
        alone=st.booleans(),
    ),
    max_size=12,
    unique_by=lambda each: each.key,
)


def waiting(key: int, size_bytes: int = 10, since_s: float = 0.0, alone: bool = False) -> Waiting:
    return Waiting(key, size_bytes, PLAIN, since_s, alone)


@given(waiting_files, st.integers(1, 4))
def test_a_pass_keeps_its_limits(files: list[Waiting], processes: int) -> None:
    chosen = next_pass(files, 100.0, LIMITS, processes)
    assert bool(chosen) == bool(files)
    assert set(chosen) <= set(files)
    assert len({each.key for each in chosen}) == len(chosen) <= LIMITS.files
    assert len({each.options for each in chosen}) <= 1
    if len(chosen) > 1:
        assert sum(each.size_bytes for each in chosen) <= LIMITS.size_bytes
        assert not any(each.alone for each in chosen)
    if chosen:
        assert chosen[0].urgency(100.0) == min(each.urgency(100.0) for each in files)


def test_short_files_go_first() -> None:
    files = [waiting(0, 900), waiting(1, 5), waiting(2, 50)]
    assert [each.key for each in next_pass(files, 0.0, LIMITS, 1)] == [1, 2, 0]


def test_a_long_file_is_not_passed_for_ever() -> None:
    size_bytes = 25_000_000
    old = waiting(0, size_bytes)
    patience_s = size_bytes / BYTES_PER_WAITED_S
    early, late = patience_s - 1, patience_s + 1
    assert next_pass([old, waiting(1, 0, early)], early, LIMITS, 1)[0].key == 1
    assert next_pass([old, waiting(1, 0, late)], late, LIMITS, 1)[0].key == 0


def test_processes_share_what_waits() -> None:
    files = [waiting(key) for key in range(4)]
    assert len(next_pass(files, 0.0, LIMITS, 1)) == 4
    assert len(next_pass(files, 0.0, LIMITS, 2)) == 2
    assert len(next_pass(files[:1], 0.0, LIMITS, 2)) == 1


def test_what_ended_a_process_goes_alone() -> None:
    files = [waiting(0, 1, alone=True), waiting(1), waiting(2)]
    assert [each.key for each in next_pass(files, 0.0, LIMITS, 1)] == [0]
