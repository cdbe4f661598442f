"""Coverage-guided fuzzing of how recordings are told apart, probed and decoded, by atheris (libFuzzer).

    pip install atheris
    python -m tests.fuzz.guided --seconds 600

It follows the branches of `spoofcheck.audio`; what is in libsndfile and ffmpeg it does not see. Everything runs in this
one process, so that a crash of a library is seen as one. What it finds lies in the folder that `--keep` names. Not a
part of the tests: atheris is there for few versions of Python.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.mutate import mutated
from tests.fuzz.seeds import Seed, formats, make_seeds

LARGEST_BYTES = 1 << 16


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--seconds", type=int, default=600, metavar="N", help="how long (600)")
    options.add_argument("--seed", type=int, default=9, metavar="N", help="of what chance there is (9)")
    options.add_argument("--formats", nargs="+", default=[], choices=formats(), metavar="NAME", help="only of these")
    options.add_argument("--keep", type=Path, default=Path("fuzz-found"), metavar="DIR", help="of what was found")
    chosen = options.parse_args()
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed: pip install atheris")
    with atheris.instrument_imports(include=["spoofcheck.audio"]):
        from spoofcheck.audio.recording import read_windows
        from spoofcheck.errors import InputError

    folder = Path(tempfile.mkdtemp(prefix="spoofcheck-fuzz-"))
    corpus = folder / "corpus"
    corpus.mkdir()
    seeds = [seed for seed in make_seeds(folder, chosen.formats) if len(seed.data) <= LARGEST_BYTES]
    for seed in seeds:
        (corpus / seed.name).write_bytes(seed.data)
    chosen.keep.mkdir(parents=True, exist_ok=True)
    path = folder / "input"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        try:
            for _ in read_windows(
                path, window_samples=64_000, hop_samples=64_000, channels="auto", vad=False, min_window_speech_s=0.0
            ):
                pass
        except InputError as error:
            if not error.code or not error.message.isprintable() or not error.message.strip():
                raise AssertionError(f"{error.code!r}: {error.message!r} is no line to show") from error

    limits = (f"-max_total_time={chosen.seconds}", f"-max_len={LARGEST_BYTES}", "-timeout=60", "-rss_limit_mb=4096")
    arguments = [*limits, f"-seed={chosen.seed}", f"-artifact_prefix={chosen.keep}/", str(corpus)]
    atheris.Setup(
        [sys.argv[0], *arguments], read, custom_mutator=_mutator(seeds, lambda *given: atheris.Mutate(*given))
    )
    atheris.Fuzz()


def _mutator(seeds: list[Seed], mutate: Callable[[bytes, int], bytes]) -> Callable[[bytes, int, int], bytes]:
    """Half of the mutants are libFuzzer's, half ours, which know the structure of the containers."""
    from spoofcheck.audio.signatures import HEAD_BYTES, container_of

    def custom(data: bytes, max_size: int, number: int) -> bytes:
        chance = random.Random(number)
        if chance.random() < 0.5:
            return bytes(mutate(data, max_size))
        return mutated(chance, data, container_of(data[:HEAD_BYTES]) or "", seeds)[0][:max_size]

    return custom


if __name__ == "__main__":
    main()
