"""Rewrite the examples in docs/: `python -m docs.examples`.

Makes a small corpus of voice-like sounds in a temporary folder, runs there the commands below, in this order, and puts
each of them with what it prints between the marks `<!-- example: NAME -->` and `<!-- /example -->` of its page. Nothing
is downloaded. Outputs are those of a run without a terminal (as in a log), 100 columns wide; elapsed times are blanked.

An example whose programs are not installed is left as it is. The check against the ASVspoof 5 challenge's own figures
needs two files that are not in the repository: `python -m docs.examples --asvspoof5 FOLDER` rewrites it alone, where
FOLDER holds asvspoof5-scores.tsv and asvspoof5-expected.json.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
COLUMNS = 100
SNR_DB = (15.0, 30.0)
"""Of the sounds: without noise the classes would be told apart without an error."""
CLIPS = 5
"""Of a speaker and system."""
READY_S = 300
"""How long the server may take to be ready: a model is loaded, controls are scored."""
ASVSPOOF5 = "asvspoof5"
"""The one example that needs files of its own."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command.

    Attributes:
        command: as a user types it; bash runs it in the folder of the corpus.
        status: the exit code it must end with.
        interrupt_after: once this text is printed, the command gets what Ctrl-C sends.
    """

    command: str
    status: int = 0
    interrupt_after: str | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """A block of a page: commands and their outputs.

    Attributes:
        page: its name without `.md`.
        needs: programs beside spoofcheck and the tools of every Linux.
        served: whether `spoofcheck serve` runs meanwhile, on its usual port.
    """

    page: str
    name: str
    steps: tuple[Step, ...]
    needs: tuple[str, ...] = ()
    served: bool = False


_DETECTOR, _TRACER, _TREES = (f"runs/{name}/model" for name in ("tiny-detector", "tiny-tracer", "tiny-trees"))

EXAMPLES = (
    Example("corpus", "folders", (Step("ls -d recordings/{real,fake/*}/ada later/{real,fake/*}/mia"),)),
    Example(
        "corpus",
        "build",
        (
            Step(
                "spoofcheck corpus build recordings --out corpus.tsv --layout folders \\\n"
                "    --speaker-from parent --split-by-speaker 67/33 --language en"
            ),
            Step(
                "spoofcheck corpus build later --out later.tsv --layout folders \\\n"
                "    --speaker-from parent --split eval --language en"
            ),
            Step("head -3 corpus.tsv | cut -f 1-6,8,9"),
        ),
    ),
    Example("corpus", "stats", (Step("spoofcheck corpus stats corpus.tsv later.tsv | head -24"),)),
    Example("corpus", "check", (Step("spoofcheck corpus check corpus.tsv"),)),
    Example(
        "corpus",
        "extract",
        (
            Step("cat sources.tsv clips.tsv"),
            Step("spoofcheck corpus extract --clips clips.tsv --sources sources.tsv --mirror mirror --out extracted"),
        ),
        ("git",),
    ),
    Example(
        "corpus",
        "verify",
        (
            Step("spoofcheck corpus verify extracted/manifest.tsv"),
            Step("cp extracted/lab+voices/wav/1.wav extracted/lab+voices/wav/2.wav"),
            Step('spoofcheck corpus verify extracted/manifest.tsv; echo "exit code $?"'),
            Step("spoofcheck corpus extract --clips clips.tsv --sources sources.tsv --mirror mirror --out extracted"),
        ),
        ("git",),
    ),
    Example(
        "corpus",
        "copies",
        (
            Step(
                "spoofcheck corpus copies corpus.tsv --split train --most 2 --with-sources \\\n"
                "    --vocoder griffin-lim-mel --vocoder world --out copies"
            ),
            Step("cut -f 1,3-6 copies/manifest.tsv"),
        ),
    ),
    Example(
        "corpus",
        "vocoders",
        (
            Step(
                "spoofcheck corpus vocoders corpus.tsv --out engines/neural --vocoder neural-vocos --most 20 --steps 40"
            ),
            Step(
                "spoofcheck corpus copies corpus.tsv --split train --most 1 --vocoder neural-vocos --engines engines "
                "--out neural-copies"
            ),
        ),
    ),
    Example(
        "corpus",
        "engines",
        (
            Step("printf 'en\\tThe meeting was moved to Tuesday.\\nfr\\tLe train part à midi.\\n' > sentences.txt"),
            Step(
                "spoofcheck corpus engines --engine espeak-ng --texts sentences.txt --per-voice 1 --split train \\\n"
                "    --out spoken"
            ),
            Step("cut -f 1,3-7 spoken/manifest.tsv"),
        ),
        ("espeak-ng",),
    ),
    Example("training", "recipe", (Step("cat tiny-detector.yaml"),)),
    Example("training", "dry-run", (Step("spoofcheck train tiny-detector.yaml --dry-run"),)),
    Example(
        "training",
        "mistakes",
        (
            Step("spoofcheck train tiny-detector.yaml --set training.epoch=3", status=2),
            Step("spoofcheck train tiny-detector.yaml --set training.select_by=f1", status=2),
            Step("spoofcheck train tiny-detector.yaml --set data.dev.0.split=train", status=2),
        ),
    ),
    Example("training", "train", (Step("spoofcheck train tiny-detector.yaml"),)),
    Example("training", "folder", (Step("find runs/tiny-detector -maxdepth 2 | sort"),)),
    Example(
        "training",
        "resume",
        (
            Step("spoofcheck train tiny-detector.yaml --out runs/stopped", status=130, interrupt_after="epoch 2 of 3"),
            Step("spoofcheck train tiny-detector.yaml --out runs/stopped --resume"),
            Step(
                "cmp runs/tiny-detector/model/model.safetensors runs/stopped/model/model.safetensors \\\n"
                "    && echo the same weights, bit for bit"
            ),
        ),
    ),
    Example("training", "card", (Step(f"spoofcheck models show {_DETECTOR} | head -40"),)),
    Example("training", "tracer", (Step("spoofcheck train tiny-tracer.yaml"),)),
    Example("training", "trees", (Step("spoofcheck train tiny-trees.yaml"),)),
    Example(
        "evaluation",
        "detector",
        (
            Step(
                f"spoofcheck eval {_DETECTOR} --protocol manifest later.tsv \\\n"
                "    --report eval.html --json eval.json --write-scores scores.tsv"
            ),
            Step("head -3 scores.tsv"),
        ),
    ),
    Example("evaluation", "json", (Step("jq -c '{eer, min_dcf, act_dcf, cllr}, .data.unscored' eval.json"),), ("jq",)),
    Example(
        "evaluation",
        "refused",
        (
            Step(f"spoofcheck eval {_DETECTOR} --protocol manifest corpus.tsv --split train", status=2),
            Step(f"spoofcheck eval {_DETECTOR} --protocol asvspoof5 corpus.tsv", status=2),
        ),
    ),
    Example(
        "evaluation",
        "scores",
        (
            Step(
                f"spoofcheck eval {_DETECTOR} --protocol manifest corpus.tsv --split dev --quiet \\\n"
                "    --write-scores dev-scores.tsv"
            ),
            Step("awk -F '\\t' 'NR == 1 || $1 == \"dev\"' corpus.tsv > dev-keys.tsv"),
            Step(
                "spoofcheck eval --scores scores.tsv --keys later.tsv \\\n"
                "    --dev-scores dev-scores.tsv --dev-keys dev-keys.tsv | head -12"
            ),
            Step("sed '3s/\\t.*/\\tnan/' scores.tsv > broken.tsv"),
            Step("spoofcheck eval --scores broken.tsv --keys later.tsv", status=2),
        ),
    ),
    Example(
        "evaluation",
        "compare",
        (Step(f"spoofcheck eval --compare {_TREES} --compare {_DETECTOR} \\\n    --protocol manifest later.tsv"),),
    ),
    Example(
        "evaluation",
        "tracer",
        (
            Step(
                f"spoofcheck eval {_TRACER} --protocol manifest later.tsv --windows first \\\n"
                "    --map t-sne --report tracer.html"
            ),
        ),
    ),
    Example(
        "scan",
        "scan",
        (
            Step(
                "spoofcheck scan later --include '*/mia/1.wav' --no-vad --no-controls \\\n"
                f"    --model {_DETECTOR} --tracer {_TRACER} \\\n"
                '    --json scan.json --report scan.html; echo "exit code $?"'
            ),
        ),
    ),
    Example(
        "scan",
        "report",
        (
            Step("spoofcheck report scan.json --html again.html --csv scan.csv"),
            Step("cut -d , -f 1,5-8 scan.csv | head -4"),
        ),
    ),
    Example(
        "scan",
        "models",
        (
            Step("spoofcheck models list"),
            Step("spoofcheck models verify"),
            Step("spoofcheck models show | head -3"),
        ),
    ),
    Example(
        "store",
        "scan",
        (
            Step("spoofcheck scan engines --include 'gnuspeech*' --store kept > first.txt", status=1),
            Step(
                "spoofcheck scan engines --include 'gnuspeech*' --include 'piper*' --store kept > second.txt", status=1
            ),
        ),
    ),
    Example(
        "store",
        "prune",
        (
            Step(
                "spoofcheck store stats --store kept --json | \\\n"
                "    jq -c '.runs[] | [.facts.model.name, .facts.options.hop_s, .entries]'"
            ),
            Step("spoofcheck store prune --store kept --older-than 90"),
            Step("spoofcheck store prune --store kept --model compact-detector"),
        ),
        ("jq",),
    ),
    Example(
        "sources",
        "enroll",
        (
            Step("spoofcheck scan engines/gnuspeech-[47].flac engines/piper-2.flac --trace-all", status=1),
            Step(
                "spoofcheck sources enroll 'Tube model' engines/gnuspeech-[12356].flac --store case-17.json \\\n"
                "    --note 'gnuspeech 0.3.0, two voices, made by us'"
            ),
            Step(
                "spoofcheck scan engines/gnuspeech-[47].flac engines/piper-2.flac --trace-all --sources case-17.json",
                status=1,
            ),
        ),
    ),
    Example("sources", "list", (Step("spoofcheck sources list --store case-17.json"),)),
    Example("sources", "evaluate", (Step("spoofcheck sources evaluate --store case-17.json"),)),
    Example("sources", "remove", (Step("spoofcheck sources remove 'Tube model' --store case-17.json"),)),
    Example(
        "link",
        "link",
        (
            Step("spoofcheck link engines/gnuspeech-1.flac engines/gnuspeech-7.flac"),
            Step("spoofcheck link engines/gnuspeech-1.flac engines/piper-2.flac --json | jq -c '{cosine, llr}'"),
        ),
        ("jq",),
    ),
    Example("scan", "doctor", (Step("spoofcheck doctor"),)),
    Example("scan", "schema", (Step("spoofcheck schema | jq -c '.title, .required'"),), ("jq",)),
    Example(
        "evaluation",
        ASVSPOOF5,
        (
            Step(
                "spoofcheck eval --scores asvspoof5-scores.tsv --bootstrap 0 --json - \\\n"
                "    | jq '{eer, min_dcf, act_dcf, cllr}'"
            ),
            Step("jq '{eer, min_dcf, act_dcf, cllr}' asvspoof5-expected.json"),
        ),
        ("jq",),
    ),
)

_VOICEMAIL = "examples/recordings/voicemail-accounts.mp3"
_AS_JSON = "python3 -m json.tool --no-ensure-ascii --indent 1"

EXAMPLES += (
    Example(
        "serve",
        "scan",
        (
            Step(f"curl -s -F files=@{_VOICEMAIL} http://127.0.0.1:8000/v1/scans > job.json"),
            Step(f"{_AS_JSON} job.json | grep -E 'state|name|size_bytes|_url'"),
            Step("scan=http://127.0.0.1:8000$(grep -o '/v1/scans/[^/\"]*' job.json | head -1)"),
            Step('curl -sN $scan/events | grep -o \'"state":"[a-z]*"\' | tail -1'),
            Step("curl -s $scan > result.json; curl -s $scan/report.html > report.html"),
            Step("spoofcheck report result.json | head -6"),
            Step("curl -s -X DELETE -w '%{http_code}\\n' $scan"),
        ),
        ("curl",),
        served=True,
    ),
    Example(
        "serve",
        "client",
        (Step("cat scan.py"), Step("python scan.py examples/recordings/{address-1961.wav,hold-music.ogg,novela.m4a}")),
        served=True,
    ),
    Example(
        "serve",
        "older",
        (
            Step(
                'printf \'{"language": "English", "audioFormat": "mp3", "audioBase64": "%s"}\' \\\n'
                f"    $(base64 -w 0 {_VOICEMAIL}) > request.json"
            ),
            Step(
                "curl -s -H 'content-type: application/json' -d @request.json \\\n"
                f"    http://127.0.0.1:8000/api/voice-detection | {_AS_JSON} | head -9"
            ),
            Step(f"curl -s -F audio=@{_VOICEMAIL} http://127.0.0.1:8000/api/predict"),
        ),
        ("curl",),
        served=True,
    ),
    Example("serve", "webhook", (Step("cat webhook.py"),)),
)

EXAMPLES += (
    Example(
        "shards",
        "merge",
        (
            Step(
                'spoofcheck scan examples/recordings --shard 1/2 --json part-1.json > table-1.txt; echo "exit code $?"'
            ),
            Step('spoofcheck merge part-1.json; echo "exit code $?"'),
        ),
    ),
)


def shown(command: str) -> str:
    """A command as a page has it."""
    return f"$ {command}"


def with_block(page: str, name: str, text: str) -> str:
    """A page with the block of an example replaced.

    Raises:
        SystemExit: the page has no such marks.
    """
    pattern = re.compile(rf"(<!-- example: {re.escape(name)} -->\n).*?(<!-- /example -->)", re.DOTALL)
    if not pattern.search(page):
        raise SystemExit(f"no marks for the example {name}")
    return pattern.sub(lambda marks: f"{marks[1]}\n```console\n{text}\n```\n\n{marks[2]}", page)


def run_steps(steps: Sequence[Step], folder: Path, environment: Mapping[str, str]) -> str:
    """The commands with what they print.

    Raises:
        SystemExit: one of them ends as it should not.
    """
    lines = []
    for step in steps:
        status, output = _run(step, folder, environment)
        if status != step.status:
            raise SystemExit(f"{step.command}\n{output}\nexit code {status}, expected {step.status}")
        lines += [shown(step.command), *_lasting(output)]
    return "\n".join(lines)


def _run(step: Step, folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    printed = []
    with subprocess.Popen(
        ["bash", "-c", step.command], cwd=folder, env=environment, text=True, encoding="utf-8",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            printed.append(line)
            if step.interrupt_after is not None and step.interrupt_after in line:
                time.sleep(0.1)  # not while the line itself is being written
                printed.append("^C\n")
                os.killpg(process.pid, signal.SIGINT)
    return process.returncode, "".join(printed)


def _lasting(output: str) -> list[str]:
    """Lines of an output without what differs from run to run or from machine to machine."""
    text = re.sub(r"\d+:\d\d\.\d \(\d+(\.\d+)? x real time\)", "… (… x real time)", output)
    text = re.sub(r"/\S*/site-packages/", "…/site-packages/", text)
    text = re.sub(r"/v1/scans/[\w-]{22}", "/v1/scans/…", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:]+(Z|[+]00:00)?", lambda time: "…".ljust(len(time[0])), text)
    return [line.rstrip() for line in text.strip("\n").splitlines()]


def make_recordings(folder: Path) -> None:
    """Voice-like sounds in folders that say what they are: `recordings`, and `later` with a system nobody knew."""
    import numpy as np
    import soundfile

    from spoofcheck.types import SAMPLE_RATE_HZ
    from tests.support.corpus import voice

    known = ("ada", "ben", "cleo", "dan", "eva", "finn", "gina", "hugo", "iris", "jon", "kira", "leo")
    new = ("mia", "noah", "olga", "paul", "rosa", "sam")
    kinds = {"real": "-", "fake/hisser": "tts:hisser", "fake/ringer": "vocoder:ringer"}
    kinds_later = {**kinds, "fake/buzzer": "tts:buzzer"}
    seed = 0
    for part, speakers, made in (("recordings", known, kinds), ("later", new, kinds_later)):
        for speaker in speakers:
            for kind, system in made.items():
                place = folder / part / kind / speaker
                place.mkdir(parents=True)
                for number in range(1, CLIPS + 1):
                    seed += 1
                    clean = voice(seed, system)
                    rng = np.random.default_rng(seed)
                    hiss = rng.standard_normal(clean.size) * clean.std() * 10 ** (-rng.uniform(*SNR_DB) / 20)
                    heard = (clean + hiss) / np.abs(clean + hiss).max()
                    soundfile.write(place / f"{number}.wav", 0.5 * heard, SAMPLE_RATE_HZ)


def make_repository(folder: Path) -> None:
    """A bare git copy below `mirror` with three recordings, and the tables `corpus extract` reads."""
    import hashlib

    work = folder / "lab-voices"
    (work / "wav").mkdir(parents=True)
    rows = ["repo\tpath\tlabel\tsystem\tspeaker\tsha1"]
    for number, (source, label, system, speaker) in enumerate(
        (("real/ada/1", "human", "-", "ada"), ("real/ben/1", "human", "-", "ben"),
         ("fake/ringer/ada/1", "fake", "ringer", "ada")), start=1,
    ):  # fmt: skip
        data = (folder / "recordings" / f"{source}.wav").read_bytes()
        (work / f"wav/{number}.wav").write_bytes(data)
        digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        rows.append(f"lab/voices\twav/{number}.wav\t{label}\t{system}\t{speaker}\t{digest}")
    who = ["-c", "user.name=lab", "-c", "user.email=lab@example.org", "-c", "commit.gpgsign=false"]
    when = {"GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z"}
    mirror = folder / "mirror" / "lab+voices" / "repo"
    for arguments in (["init", "-q"], ["add", "wav"], [*who, "commit", "-q", "-m", "Add voices"],
                      ["clone", "-q", "--bare", ".", str(mirror)]):  # fmt: skip
        subprocess.run(["git", *arguments], cwd=work, check=True, env={**os.environ, **when})
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=work, check=True, capture_output=True, text=True)
    (folder / "sources.tsv").write_text(f"repo\tcommit\nlab/voices\t{head.stdout.strip()}\n", encoding="utf-8")
    (folder / "clips.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")


@contextlib.contextmanager
def served(folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """`spoofcheck serve` on its usual port, ready.

    Raises:
        SystemExit: it does not start, e.g. because another server has the port.
    """
    command = [sys.executable, "-m", "spoofcheck", "serve", "--data-dir", str(folder / ".served")]
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE) as process:
        try:
            for _ in range(READY_S):
                with contextlib.suppress(OSError), urllib.request.urlopen("http://127.0.0.1:8000/readyz", timeout=5):
                    break
                if process.poll() is not None:
                    raise SystemExit("the server of the examples ended at once; is another one at port 8000?")
                time.sleep(1)
            else:
                raise SystemExit("the server of the examples did not get ready")
            yield
        finally:
            process.terminate()


def _environment(folder: Path) -> dict[str, str]:
    """One in which `spoofcheck` is this checkout's, on the CPU, and writes neither colours nor times.

    `python` is the one that runs this.
    """
    programs = folder / ".bin"
    programs.mkdir()
    for name, arguments in (("spoofcheck", "-m spoofcheck"), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n', encoding="utf-8")
        (programs / name).chmod(0o755)
    # Every command has a shell of its own: the one variable that a page's commands share is handed on.
    session = folder / ".session"
    session.write_text("[ ! -f .scan ] || . ./.scan; trap '[ -z \"$scan\" ] || echo scan=$scan > .scan' EXIT\n")
    return {
        **os.environ,
        "BASH_ENV": str(session),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": str(COLUMNS),
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "XDG_CACHE_HOME": str(folder / ".cache"),
        "XDG_DATA_HOME": str(folder / ".data"),
    }


def _write(example: Example, text: str) -> None:
    path = DOCS / f"{example.page}.md"
    path.write_text(with_block(path.read_text(encoding="utf-8"), example.name, text), encoding="utf-8")


def main() -> None:
    """Run the examples and rewrite the pages."""
    options = argparse.ArgumentParser(prog="python -m docs.examples", description=(__doc__ or "").splitlines()[0])
    options.add_argument("--asvspoof5", metavar="FOLDER", type=Path, help="rewrite the ASVspoof 5 check alone")
    options.add_argument("--page", metavar="NAME", help="one page alone; for those whose examples need no other's")
    chosen = options.parse_args()
    official: Path | None = chosen.asvspoof5
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = _environment(folder)
        if official is not None:
            for file in (official / "asvspoof5-scores.tsv", official / "asvspoof5-expected.json"):
                shutil.copy(file, folder)
        else:
            make_recordings(folder)
            shutil.copytree(ROOT / "tests" / "assets" / "engines", folder / "engines")
            if shutil.which("git"):
                make_repository(folder)
            shutil.copytree(ROOT / "examples" / "recordings", folder / "examples" / "recordings")
            for file in (*(DOCS / "recipes").glob("*.yaml"), *(DOCS / "clients").glob("*.py")):
                shutil.copy(file, folder)
        for example in EXAMPLES:
            if (example.name == ASVSPOOF5) != (official is not None) or chosen.page not in (None, example.page):
                continue
            missing = [program for program in example.needs if shutil.which(program) is None]
            if missing:
                print(f"{example.page}: {example.name} stays as it is: {', '.join(missing)} not installed")
                continue
            with served(folder, environment) if example.served else contextlib.nullcontext():
                _write(example, run_steps(example.steps, folder, environment))
            print(f"{example.page}: {example.name}")


if __name__ == "__main__":
    main()
