"""Rewrite the README's measured parts: `python -m docs.readme`.

Runs `spoofcheck scan examples/recordings` in a terminal of 100 columns and puts what it prints between two marks, takes
the error figures from the shipped model's config.json, and photographs the report in headless Chromium
(`docs/images/report.png`).
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from spoofcheck.nets.config import read_config
from spoofcheck.nets.index import find_model

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
IMAGE = ROOT / "docs" / "images" / "report.png"
COLUMNS = 100


def figures() -> str:
    """The shipped model's error figures as a table."""
    rows = [
        "| set | level | human / synthetic trials | EER % (95 % interval) | minDCF | actDCF | Cllr | Cllr_min |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for f in read_config(find_model()).validation:
        rows.append(
            f"| {f.dataset} | {f.level} | {f.bonafide_trials:,} / {f.spoof_trials:,} "
            f"| {f.eer:.1%} ({f.eer_low:.1%}-{f.eer_high:.1%}) | {f.min_dcf:.3f} | {f.act_dcf:.3f} "
            f"| {f.cllr:.3f} | {f.cllr_min:.3f} |".replace("%", "")
        )
    return "\n".join(rows)


def with_part(page: str, name: str, text: str) -> str:
    """The page with what stands between `<!-- name -->` and `<!-- /name -->` replaced."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(page):
        raise SystemExit(f"README.md has no marks for {name}")
    return pattern.sub(lambda marks: f"{marks[1]}\n{text}\n\n{marks[2]}", page)


def terminal_capture(command: list[str]) -> str:
    """What a command prints in a terminal of `COLUMNS` columns, without colours and what it later wiped out."""
    shown = bytearray()

    def read(descriptor: int) -> bytes:
        data = os.read(descriptor, 4096)
        shown.extend(data)
        return data

    os.environ.update(COLUMNS=str(COLUMNS), TERM="xterm-256color")
    pty.spawn(command, read)
    text = shown.decode("utf-8").replace("\r\n", "\n")
    # The progress bar draws over itself and is wiped at the end: only what follows its last wipe stays.
    text = text.rpartition("\x1b[2K")[2]
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def photograph(report: Path) -> None:
    """A picture of the report's first page."""
    IMAGE.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             f"--user-data-dir={profile}", "--window-size=1100,1900", f"--screenshot={IMAGE}", report.as_uri()],
            check=True, capture_output=True,
        )  # fmt: skip


def main() -> None:
    """Scan the examples, photograph the report, rewrite README.md."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.html"
        command = [sys.executable, "-m", "spoofcheck", "scan", "examples/recordings", "--report", str(report)]
        capture = terminal_capture(command)
        photograph(report)
    page = README.read_text(encoding="utf-8")
    page = with_part(page, "capture", f"```console\n$ spoofcheck scan examples/recordings\n{capture}\n```")
    README.write_text(with_part(page, "figures", figures()), encoding="utf-8")


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
