"""One Ray for all tests here: it takes long to start."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from spoofcheck.cli import run
from spoofcheck.detect.progress import NoProgress
from spoofcheck.detect.reading import WindowReading
from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.schema import Finding
from tests.cluster.poison import NAME, Poisonous
from tests.support.audio import noise, write_wav

pytest.importorskip("ray")
pytest.importorskip("pyarrow")
pytestmark = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")

from spoofcheck.cluster.engine import RayEngine, Work  # noqa: E402
from spoofcheck.cluster.places import Remote  # noqa: E402
from spoofcheck.cluster.plan import Resources, planned  # noqa: E402
from spoofcheck.cluster.session import ray_session  # noqa: E402
from spoofcheck.cluster.setup import asking_options, setup_for  # noqa: E402

OPTIONS = ScanOptions(vad=False)
CPUS = 4
"""That Ray counts; there may be fewer."""


@pytest.fixture(scope="module")
def resources() -> Iterator[Resources]:
    with ray_session(None, CPUS) as resources:
        yield resources


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for n, seconds in enumerate((40, 1, 20, 7)):
        write_wav(folder / f"mono-{n}.wav", noise(16_000 * seconds, seed=n), 16_000)
    write_wav(folder / "stereo.wav", np.hstack([noise(300_000, seed=8), noise(300_000, seed=9)]), 16_000)
    (folder / "damaged.wav").write_bytes((folder / "mono-0.wav").read_bytes()[:50])
    (folder / "empty.wav").write_bytes(b"")
    return folder


def scanned(model: Path, inputs: list[Path]) -> list[tuple[Path, tuple[Finding, ...]]]:
    return list(Scanner(model, OPTIONS).examined_inputs(inputs))


def processes_of(part: str) -> list[int]:
    """Of Ray's actors that run a stage."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                title = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if title.startswith(b"ray::MapWorker") and part.encode() in title:
                found.append(int(entry.name))
    return found


class Killer(NoProgress):
    """Kills one actor of each stage in the middle of a scan, once."""

    def __init__(self) -> None:
        self.killed: list[str] = []

    def heard(self, path: Path, position_s: float) -> None:
        if self.killed:
            return
        for part in ("RecordingReader", "ChunkScorer"):
            for pid in processes_of(part)[:1]:
                os.kill(pid, signal.SIGKILL)
                self.killed.append(part)


def test_every_input_has_its_one_result_whatever_dies(resources: Resources, folder: Path, tiny_model: Path) -> None:
    poison = folder / NAME
    write_wav(poison, noise(20_000, seed=5), 16_000)
    inputs = sorted(folder.iterdir())
    asking = Scanner(tiny_model, asking_options(OPTIONS))
    plan = planned(resources, readers=2, networks=2)
    reading = asking.first_reading()
    assert isinstance(reading, WindowReading)
    setup = setup_for(asking, tiny_model, OPTIONS, plan.device)
    engine = RayEngine(Work(setup, Poisonous(reading), plan, chunk_windows=2, retries=0))
    killer = Killer()
    found = list(engine.examined_inputs(inputs, killer))
    engine.close()
    poison.unlink()
    assert "ChunkScorer" in killer.killed
    assert [place for place, _ in found] == inputs
    (lost,) = dict(found)[poison]
    assert (lost.path, [reason.code for reason in lost.reasons]) == (str(poison), ["worker-lost"])
    good = [(place, findings) for place, findings in found if place != poison]
    assert good == scanned(tiny_model, [path for path in inputs if path != poison])


def test_the_command_finds_over_ray_what_it_finds_alone(
    resources: Resources, folder: Path, tiny_model: Path, tmp_path: Path
) -> None:
    def scan(*options: str) -> list[dict[str, object]]:
        target = tmp_path / f"result-{len(engines)}.json"
        status = run(["scan", "--model", str(tiny_model), "--no-vad", "--quiet", "--json", str(target), *options])
        assert status == 2, "the controls take a model of random weights for what it is"
        document = json.loads(target.read_text())
        engines.append(document["run"]["engine"])
        controls.append(document["controls"])
        from_store.append(document["run"]["from_store"])
        shaping.append({key: document[key] for key in ("options", "model", "tracer")})
        for finding in document["findings"]:
            finding.pop("custody")
            assert Remote(finding["path"]).uri.startswith(("file://", "/"))
            finding["path"] = finding["path"].removeprefix("file://")
        findings: list[dict[str, object]] = document["findings"]
        return findings

    engines: list[dict[str, object] | None] = []
    controls: list[object] = []
    from_store: list[int] = []
    shaping: list[object] = []
    store = ["--store", str(tmp_path / "store")]
    over_ray = scan(f"file://{folder}", "--engine", "ray", "--workers", "1", "--networks", "1", *store)
    alone = scan(str(folder), *store)
    assert over_ray == alone
    assert controls[0] == controls[1]
    assert shaping[0] == shaping[1]
    told = engines[0]
    assert told is not None
    assert (told["name"], told["readers"], told["networks"]) == ("ray", 1, 1)
    assert engines[1] is None
    # What Ray found is what the store knows: all but nothing of it was heard again.
    kept = Counter(str(finding["path"]) for finding in alone)
    assert from_store == [0, len(kept)]
