"""The same recordings give the same numbers: whatever the order, readers, batches and process to the last bit, and
whatever the CPU's instructions and the versions of libraries within stated bounds.

What bfloat16 and ONNX Runtime may change is tested in `nets/test_precision.py`, all examples through the command line
in `cli/test_examples.py`. After a wanted change of numbers: `python -m tests.test_determinism`, and read the diff.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from spoofcheck.cli.verifying import BF16_TOLERANCE, OTHER_MACHINE_TOLERANCE
from spoofcheck.nets.precision import has_native_bf16
from tests.support.determinism import NAMES, RECORDINGS, found, found_elsewhere, numbers, scanner

pytestmark = pytest.mark.weights

GOLDEN = Path(__file__).parent / "assets" / "golden-scores.json"
TOLERANCE = 1e-4
"""Of the golden numbers, which are in float32. With fewer of one machine's instructions (AVX2, SSE 4.1, or none of
torch's own vector code) no number of these recordings moved by more than 6e-6; bfloat16 moves raw scores by 0.025."""
LIBRARIES = ("torch", "numpy", "scipy", "silero-vad", "soundfile", "soxr", "imageio-ffmpeg", "safetensors")
"""Whose versions are written beside the golden numbers: what decodes, resamples, finds speech, and computes."""


@pytest.fixture(scope="module")
def reference() -> dict[str, str]:
    return found(scanner(workers=1))


@pytest.mark.parametrize(
    ("order", "options"),
    [
        ((4, 3, 2, 1, 0), {"workers": 1, "batch_windows": 1}),
        ((2, 0, 4, 1, 3), {"workers": 3, "batch_windows": 7}),
        ((0, 1, 2, 3, 4), {"workers": 2, "batch_windows": 64, "isolation": "processes"}),
    ],
    ids=["backwards, alone", "mixed, three readers, batches of 7", "reader processes, one batch"],
)
def test_neither_order_nor_readers_nor_batches_move_a_bit(
    reference: dict[str, str], order: tuple[int, ...], options: dict[str, Any]
) -> None:
    again = found(scanner(**options), [RECORDINGS[place] for place in order])
    assert list(again) == [NAMES[place] for place in order]
    assert again == reference


def test_neither_another_process_nor_more_threads_nor_hash_seeds_move_a_bit(reference: dict[str, str]) -> None:
    environment = {
        "PYTHONHASHSEED": "1",
        "OMP_NUM_THREADS": "3",
        "MKL_NUM_THREADS": "2",
        "LC_ALL": "C",
        "TZ": "Asia/Tokyo",
    }
    assert found_elsewhere({}, environment) == reference


@pytest.fixture(scope="module")
def exact() -> dict[str, str]:
    return found(scanner(precision="float32"))


def test_the_numbers_are_the_golden_ones(exact: dict[str, str]) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    faults = shifts(golden["numbers"], {name: numbers(finding) for name, finding in exact.items()})
    assert not faults, f"{faults}; {versions_told(golden['made_with'], made_with())}"


def test_a_shift_is_told_with_the_versions_that_may_have_made_it() -> None:
    golden = {"a.wav": {"LLR": 0.5, "distance": 1.0}, "b.wav": {}}
    assert shifts(golden, {"a.wav": {"LLR": 0.5 + TOLERANCE / 2, "distance": 1.0}, "b.wav": {}}) == []
    assert shifts(golden, {"a.wav": {"LLR": 0.5002, "distance": 1.0}, "b.wav": {}}) == ["a.wav: LLR 0.5 became 0.5002"]
    assert shifts(golden, {"a.wav": {"LLR": 0.5}, "b.wav": {}}) == ["a.wav: distance 1 became nothing"]
    assert shifts(golden, {"a.wav": golden["a.wav"], "b.wav": {"LLR": 1.0}}) == ["b.wav: LLR nothing became 1"]
    told = versions_told({"torch": "1.0", "numpy": "2.0"}, {"torch": "1.1", "numpy": "2.0"})
    assert "made with torch 1.0, now 1.1;" in told
    assert "made with numpy" not in told
    assert "python -m tests.test_determinism" in told


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}, NAMES[2:3]),
        ({"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"}, NAMES[:1]),
    ],
    ids=["AVX2", "SSE 4.1"],
)
def test_a_cpu_with_fewer_instructions_stays_within_what_the_golden_numbers_allow(
    exact: dict[str, str], environment: dict[str, str], names: tuple[str, ...]
) -> None:
    assert TOLERANCE <= OTHER_MACHINE_TOLERANCE
    there = found_elsewhere({"precision": "float32"}, environment, names)
    assert shifts(*({name: numbers(each[name]) for name in names} for each in (exact, there))) == []


@pytest.mark.skipif(not has_native_bf16(), reason="this CPU has no bfloat16")
def test_bfloat16_without_its_newest_instructions_stays_within_what_verify_allows(reference: dict[str, str]) -> None:
    name = NAMES[0]
    there = found_elsewhere({"precision": "bf16"}, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, [name])
    assert shifts({name: numbers(reference[name])}, {name: numbers(there[name])}, BF16_TOLERANCE) == []


def shifts(
    before: Mapping[str, Mapping[str, float]], after: Mapping[str, Mapping[str, float]], tolerance: float = TOLERANCE
) -> list[str]:
    """What moved by more than is tolerated, came or went; by recording."""
    faults = []
    for name in before.keys() | after.keys():
        old, new = before.get(name, {}), after.get(name, {})
        for what in sorted(old.keys() | new.keys()):
            if what not in old or what not in new or abs(old[what] - new[what]) > tolerance:
                told = [f"{each[what]:.7g}" if what in each else "nothing" for each in (old, new)]
                faults.append(f"{name}: {what} {told[0]} became {told[1]}")
    return faults


def made_with() -> dict[str, str]:
    """The versions that numbers depend on."""
    return {name: version(name) for name in LIBRARIES}


def versions_told(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Which versions changed, and what to do when the new numbers are wanted."""
    changed = [f"made with {name} {old}, now {now.get(name)}" for name, old in before.items() if now.get(name) != old]
    told = "; ".join(changed) or "every library has the version that the golden numbers were made with"
    return f"{told}; when the model or a library was changed on purpose: python -m tests.test_determinism"


if __name__ == "__main__":
    made = {name: numbers(finding) for name, finding in found(scanner(precision="float32")).items()}
    rounded = {name: {what: round(value, 7) for what, value in values.items()} for name, values in made.items()}
    GOLDEN.write_text(json.dumps({"made_with": made_with(), "numbers": rounded}, indent=1) + "\n", encoding="utf-8")
