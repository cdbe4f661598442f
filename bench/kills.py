"""Nothing is lost when a scan is killed: it is killed at random moments and begun again until its folder is done.

Each kill is SIGKILL, half of them of the program alone and half of its reader processes as well. Afterwards the result
is compared with that of a scan that nobody disturbed. `python -m bench.kills --times 50` prints the figures;
`python -m bench.all kills` puts them into the results.

What a kill costs is what the scan had judged and its result store does not hold: a wrapper around the store writes a
line when findings are handed to it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import soundfile

from bench import ENVIRONMENT
from bench.measure import FINE, Measurement, parser, show
from bench.speech import EXAMPLES

TIMES = 50
FILES = 36
PIECE_S = 4.0
MOST_RUNS_A_KILL = 4
_GONE_S = 60.0
"""Time for what a killed program had started to end; a busy machine needs some."""
_POLL_S = 0.02
_MARK = "SPOOFCHECK_KILLS"
"""In the environment of a scan and of all that it starts."""
_JUDGED = "SPOOFCHECK_KILLS_JUDGED"

# The program as it is, but for a line in a file whenever new findings are handed to the store.
_PROGRAM = """
import os, sys
from spoofcheck.cli import main
from spoofcheck.detect.resultstore import ResultStore

log = os.open(os.environ["SPOOFCHECK_KILLS_JUDGED"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
keep = ResultStore.keep

def told(store, path, findings):
    if not store._seen[path].is_known:
        os.write(log, os.fsencode(path.name) + b"\\n")
    keep(store, path, findings)

ResultStore.keep = told
sys.argv[0] = "spoofcheck"
main()
"""


@dataclass(slots=True)
class Outcome:
    """What came of all kills.

    Attributes:
        kills: scans that were killed.
        rounds: folders that were scanned to the end.
        runs: scans that were begun.
        most_lost: files that a kill cost at most: judged, and to be judged again.
        lost: files that all kills cost.
        differing: findings of a finished folder that are not those of the undisturbed scan.
        exit_codes: other exit codes than that of the undisturbed scan.
        leaked: processes that outlived their program.
        left_over: files beside the store and the result that a scan left behind.
        damaged: stores that were set aside.
        moments_s: when each kill came, after the start.
    """

    kills: int = 0
    rounds: int = 0
    runs: int = 0
    most_lost: int = 0
    lost: int = 0
    differing: int = 0
    exit_codes: int = 0
    leaked: int = 0
    left_over: int = 0
    damaged: int = 0
    moments_s: list[float] = field(default_factory=list)


def measure(model: str | None = None, times: int = TIMES, files: int = FILES) -> list[Measurement]:
    """Kill scans of the shipped model so many times."""
    with tempfile.TemporaryDirectory(prefix="spoofcheck-bench-") as name:
        work = Path(name)
        write_pieces(work / "recordings", files)
        chosen = () if model is None else ("--model", model)
        outcome = torment(work, ("--device", "cpu", "--no-controls", "--isolate", *chosen), times, random.Random(0))
    kills = f"{outcome.kills} kills, {outcome.runs} runs, {outcome.rounds} folders of {files} files scanned to the end"
    when = f"between {min(outcome.moments_s):.1f} and {max(outcome.moments_s):.1f} s after the start"
    return [
        Measurement("scans killed", outcome.kills, "times", float(times), "at least", when),
        Measurement("findings that differ from an undisturbed scan's", outcome.differing, "findings", 0.0, note=kills),
        Measurement("other exit codes", outcome.exit_codes, "scans", 0.0),
        Measurement("judged files that one kill lost", outcome.most_lost, "files", 1.0, note=f"{outcome.lost} in all"),
        Measurement("processes that outlived their program", outcome.leaked, "processes", 0.0),
        Measurement("temporary files left behind", outcome.left_over, "files", 0.0),
        Measurement("result stores damaged", outcome.damaged, "stores", 0.0),
    ]


def write_pieces(folder: Path, files: int) -> None:
    """Short pieces of the example recordings, WAV and FLAC in turn, and three inputs that are no recordings."""
    folder.mkdir()
    sources = sorted(path for path in (EXAMPLES / "recordings").iterdir() if _is_long(path))
    for number in range(files - 3):
        path = sources[number % len(sources)]
        with soundfile.SoundFile(path) as sound:
            wanted = round(PIECE_S * sound.samplerate)
            sound.seek((number // len(sources)) * wanted // 2 % (sound.frames - wanted))
            samples = sound.read(wanted, dtype="int16", always_2d=True)
            form = ("wav", "flac")[number % 2]
            soundfile.write(folder / f"piece-{number:03d}.{form}", samples, sound.samplerate, subtype="PCM_16")
    (folder / "empty.wav").touch()
    (folder / "letter.wav").write_text("No recording at all.\n" * 20, encoding="utf-8")
    whole = (folder / "piece-001.flac").read_bytes()
    (folder / "cut.flac").write_bytes(whole[: len(whole) // 2])


def torment(work: Path, options: Sequence[str], times: int, chance: random.Random, *, warm: bool = True) -> Outcome:
    """Scan `work/recordings` undisturbed, and then with kills until there were enough.

    Args:
        work: a folder for all that is written.
        options: of the scan.
        times: kills.
        chance: says when, and who.
        warm: time a second undisturbed scan, as the first one may find nothing in memory.

    Raises:
        RuntimeError: a scan failed by itself, or the kills come too late to hit anything.
    """
    expected, code, whole_s = _undisturbed(work, options, ("cold", "calm") if warm else ("calm",))
    outcome = Outcome()
    while outcome.kills < times:
        _round(work, options, expected, code, whole_s, times, chance, outcome)
        if outcome.runs > MOST_RUNS_A_KILL * times + 2 * outcome.rounds:
            raise RuntimeError(f"{outcome.runs} scans, and only {outcome.kills} of them could be killed")
    return outcome


def _undisturbed(work: Path, options: Sequence[str], names: Sequence[str]) -> tuple[list[Any], int, float]:
    """Findings and exit code of the last of some scans that nobody kills, and how long it takes."""
    for name in names:
        place = work / name
        place.mkdir()
        began_s = time.monotonic()
        scan = _Scan(work, place, options)
        code = scan.wait()
        whole_s = time.monotonic() - began_s
        if code not in FINE:
            raise RuntimeError(f"the undisturbed scan ended with {code}: {scan.said()}")
    return _findings(place), code, whole_s


def _round(
    work: Path,
    options: Sequence[str],
    expected: list[Any],
    code: int,
    whole_s: float,
    times: int,
    chance: random.Random,
    outcome: Outcome,
) -> None:
    """One folder, from an empty store until a scan of it came to its end."""
    place = work / "round"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    while True:
        outcome.runs += 1
        entries = _entries(place)
        scan = _Scan(work, place, options)
        moment_s = chance.uniform(0.0, whole_s) if outcome.kills < times else None
        ended = scan.wait(moment_s)
        if ended is None:
            scan.kill(with_readers=chance.random() < 0.5)
            outcome.kills += 1
            outcome.moments_s.append(moment_s or 0.0)
            outcome.leaked += scan.survivors()
            lost = entries + len(scan.judged()) - _entries(place)
            outcome.most_lost = max(outcome.most_lost, lost)
            outcome.lost += lost
            continue
        outcome.leaked += scan.survivors()
        outcome.exit_codes += ended != code
        if ended not in FINE:
            raise RuntimeError(f"a scan that was not killed ended with {ended}: {scan.said()}")
        break
    outcome.rounds += 1
    found = _findings(place)
    outcome.differing += sum(ours != theirs for ours, theirs in zip(found, expected, strict=False))
    outcome.differing += abs(len(found) - len(expected))
    outcome.left_over += len(_left_over(place))
    outcome.damaged += len(list((place / "store").glob("*.damaged-*")))


class _Scan:
    """A scan that runs."""

    def __init__(self, work: Path, place: Path, options: Sequence[str]) -> None:
        self._place = place
        self._mark = f"{os.getpid()}-{time.monotonic_ns()}"
        (place / "tmp").mkdir(exist_ok=True)
        (place / "judged").unlink(missing_ok=True)
        with (place / "said").open("wb") as said:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-c", _PROGRAM, "scan", str(work / "recordings"), "--quiet"),
                    *("--store", str(place / "store"), "--json", str(place / "scan.json"), *options),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env={
                    **ENVIRONMENT,
                    _MARK: self._mark,
                    _JUDGED: str(place / "judged"),
                    "TMPDIR": str(place / "tmp"),
                },
            )

    def wait(self, at_most_s: float | None = None) -> int | None:
        """The exit code; None when it runs on."""
        try:
            return self._process.wait(at_most_s)
        except subprocess.TimeoutExpired:
            return None

    def kill(self, *, with_readers: bool) -> None:
        """SIGKILL, so that nothing can be put in order."""
        others = self._others() if with_readers else []
        self._process.kill()
        for pid in others:
            _kill(pid)
        self._process.wait()

    def survivors(self) -> int:
        """How many of the processes that it started are still there after a while; they are ended then."""
        until_s = time.monotonic() + _GONE_S
        while (left := self._others()) and time.monotonic() < until_s:
            time.sleep(_POLL_S)
        for pid in left:
            _kill(pid)
        return len(left)

    def judged(self) -> list[str]:
        """Names of the files whose findings were handed to the store."""
        try:
            return (self._place / "judged").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    def said(self) -> str:
        """The end of its standard error."""
        return (self._place / "said").read_text(encoding="utf-8", errors="replace")[-2_000:]

    def _others(self) -> list[int]:
        """Processes with its mark in their environment, itself left out."""
        wanted = f"{_MARK}={self._mark}".encode()
        found = []
        for folder in Path("/proc").iterdir():
            if not folder.name.isdecimal() or int(folder.name) == self._process.pid:
                continue
            try:
                marked = wanted in (folder / "environ").read_bytes().split(b"\0")
                state = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
            except (OSError, IndexError):
                continue
            if marked and state not in "ZX":
                found.append(int(folder.name))
        return found


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _entries(place: Path) -> int:
    from spoofcheck.detect.resultdatabase import ResultDatabase, exists

    if not exists(place / "store"):
        return 0
    with ResultDatabase(place / "store") as database:
        return sum(run.entries for run in database.runs())


def _findings(place: Path) -> list[Any]:
    """Without the time of the last look at a file, which differs between any two scans."""
    findings: list[Any] = json.loads((place / "scan.json").read_text(encoding="utf-8"))["findings"]
    for finding in findings:
        if finding["custody"] is not None:
            finding["custody"]["checked_at"] = ""
    return findings


def _left_over(place: Path) -> list[Path]:
    known = {place / name for name in ("judged", "said", "scan.json")}
    known |= {place / "store" / name for name in ("results.lock", "results.sqlite3")}
    return [path for path in place.rglob("*") if path.is_file() and path not in known]


def _is_long(path: Path) -> bool:
    if path.suffix == ".mp3":  # libsndfile's decoder of MP3 talks on standard error
        return False
    try:
        return soundfile.info(path).duration > 4 * PIECE_S
    except soundfile.LibsndfileError:
        return False


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--times", type=int, default=TIMES, help=f"how many kills (default: {TIMES})")
    options.add_argument("--files", type=int, default=FILES, help=f"how many files (default: {FILES})")
    chosen = options.parse_args()
    show(measure(chosen.model, chosen.times, chosen.files))


if __name__ == "__main__":
    main()
