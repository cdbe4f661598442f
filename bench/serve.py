"""How many requests a server answers, and how long they take: short clips, 1, 8 and 64 clients at once.

`python -m bench.serve` starts real servers on this machine and prints the figures; `python -m bench.all serve` puts
them into the results. A client sends a clip to `/api/predict`, waits for the answer, and sends the next one. The whole
takes three to four minutes on two cores. Where the gain of many clients comes from is in the rows on one model process:
there it is what reading the next clips while the network hears the present ones gives; the rest is the cores.
"""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import soundfile
from numpy.typing import NDArray

from bench import ENVIRONMENT
from bench.measure import SPOOFCHECK, Measurement, parser, show
from bench.speech import SAMPLE_RATE_HZ, human_pool

CLIENTS = (1, 8, 64)
CLIP_S = 4.0
CLIPS = 32
SECONDS = 20.0
MIN_GAIN = 2.0
"""Of many clients over one at a time."""

_START_S = 300.0


@dataclass(frozen=True, slots=True)
class Load:
    """What a number of clients got.

    Attributes:
        latencies_s: of every answered request, sorted.
        wall_s: from the first request to the last answer.
    """

    clients: int
    latencies_s: tuple[float, ...]
    wall_s: float

    @property
    def per_second(self) -> float:
        """Requests answered in a second."""
        return len(self.latencies_s) / self.wall_s

    def percentile(self, percent: float) -> float:
        """Seconds within which so many percent were answered."""
        return float(np.percentile(self.latencies_s, percent))


def measure(model: str | None = None, seconds: float = SECONDS) -> list[Measurement]:
    """One server as it runs by default, and one with a single model process."""
    clips = _clips()
    cores = len(os.sched_getaffinity(0))
    with _server(model, cores) as url:
        loads = [asyncio.run(_loaded(url, clips, clients, seconds)) for clients in CLIENTS]
    with _server(model, 1) as url:
        alone, crowded = (asyncio.run(_loaded(url, clips, clients, seconds)) for clients in (1, max(CLIENTS)))
    rows = [row for load in loads for row in _rows(load, "")]
    one, many = loads[0], loads[-1]
    rows.append(
        Measurement(
            f"serve, {many.clients} clients over 1",
            many.per_second / one.per_second,
            "x",
            MIN_GAIN,
            "at least",
            "requests/s; the model processes of all cores work, and read ahead",
        )
    )
    rows += [*_rows(alone, ", one model process"), *_rows(crowded, ", one model process")]
    rows.append(
        Measurement(
            f"serve, {crowded.clients} clients over 1, one model process",
            crowded.per_second / alone.per_second,
            "x",
            note="requests/s; what examining together gives by itself",
        )
    )
    return rows


def _rows(load: Load, where: str) -> list[Measurement]:
    clients = f"{load.clients} client{'s' if load.clients > 1 else ''}{where}"
    note = f"{len(load.latencies_s)} clips of {CLIP_S:g} s in {load.wall_s:.0f} s"
    return [
        Measurement(f"serve, {clients}", load.per_second, "requests/s", note=note),
        *(
            Measurement(f"serve, {clients}, p{percent}", load.percentile(percent), "s", note="until answered")
            for percent in (50, 95, 99)
        ),
    ]


def _clips() -> list[bytes]:
    """WAV files of human speech, no two alike."""
    pool = human_pool()
    clip_samples = round(CLIP_S * SAMPLE_RATE_HZ)
    starts = np.linspace(0, pool.size - clip_samples, CLIPS).astype(int)
    return [_wav(pool[start : start + clip_samples]) for start in starts]


def _wav(samples: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
    return file.getvalue()


async def _loaded(url: str, clips: Sequence[bytes], clients: int, seconds: float) -> Load:
    """Let clients send for a while, and wait for their last answers."""
    latencies_s: list[float] = []
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=url, timeout=_START_S, limits=limits, trust_env=False) as client:
        began_s = time.perf_counter()

        async def one(number: int) -> None:
            sent = number
            while time.perf_counter() - began_s < seconds:
                sent_s = time.perf_counter()
                answer = await client.post("/api/predict", files={"audio": ("clip.wav", clips[sent % len(clips)])})
                answer.raise_for_status()
                latencies_s.append(time.perf_counter() - sent_s)
                sent += clients

        await asyncio.gather(*(one(number) for number in range(clients)))
        return Load(clients, tuple(sorted(latencies_s)), time.perf_counter() - began_s)


@contextmanager
def _server(model: str | None, workers: int) -> Iterator[str]:
    """Address of a server that runs meanwhile.

    Raises:
        RuntimeError: it did not start.
    """
    with tempfile.TemporaryDirectory(prefix="spoofcheck-bench-") as folder:
        chosen = () if model is None else ("--model", model)
        data = ("--data-dir", str(Path(folder) / "data"), "--keys", str(Path(folder) / "keys.json"))
        command = [*SPOOFCHECK, "serve", "--port", "0", "--device", "cpu", "--workers", str(workers), *data, *chosen]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
            try:
                address = _address(process)
                # Those after the first are loaded while the server answers.
                while f"spoofcheck_model_processes {workers}.0" not in httpx.get(f"{address}/metrics").text:
                    time.sleep(0.2)
                yield address
            finally:
                process.terminate()


def _address(process: subprocess.Popen[str]) -> str:
    """Where a server answers; all that it writes afterwards is read and dropped."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("spoofcheck: serving at "):
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return line.split()[3]
    raise RuntimeError(f"the server did not start: {''.join(lines)}")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=SECONDS, help=f"of each load (default: {SECONDS:g})")
    chosen = options.parse_args()
    show(measure(chosen.model, chosen.seconds))


if __name__ == "__main__":
    main()
