"""Rewrite the README's measured parts: `python -m docs.readme`.

Runs `spoofcheck scan examples/recordings` in a terminal of 100 columns and puts what it prints between two marks, takes
the figures from the records of the shipped models, and photographs the report in headless Chromium
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
from typing import Any

from spoofcheck.nets.config import read_config
from spoofcheck.nets.index import find_model, shipped_tracer
from spoofcheck.training.record import read_record

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


def tracing() -> str:
    """The shipped tracer's figures as a table: its rule on families that were left out, and on the test split."""
    record = read_record(find_model(shipped_tracer()))
    assert record is not None
    open_set = record.figures["open_set"]
    rows = [
        "| trials | seen / unseen | macro F1 of seen sources % | unseen told as unknown % | AUROC % | FPR95 % |",
        "|---|---|---|---|---|---|",
    ]
    for scheme in open_set["schemes"]:
        applied = next(row for row in scheme["rules"] if row["rule"] == open_set["method"])
        title = {"clips": "families left out; seen clips from the same repositories",
                 "repositories": "families left out; seen clips from other repositories"}[scheme["scheme"]]  # fmt: skip
        rows.append(_tracing_row(title, applied, applied["intervals"]))
    rows.append(_tracing_row("test split: other implementations of the same families", record.figures["test"], {}))
    return "\n".join(rows)


def _tracing_row(title: str, row: dict[str, Any], intervals: dict[str, list[float]]) -> str:
    def cell(name: str, value: float) -> str:
        low_high = "-".join(f"{100 * edge:.1f}" for edge in intervals.get(name, ()))
        return f"{100 * value:.1f}" + (f" ({low_high})" if low_high else "")

    seen, unseen, found = row["seen"], row["unseen"], row["open_set"]
    cells = [cell("seen_f1", seen["f1"]), cell("unseen_recall", unseen["recall"])]
    cells += [cell(name, found[name]) for name in ("auroc", "fpr95")]
    return f"| {title} | {seen['trials']:,} / {unseen['trials']:,} | {' | '.join(cells)} |"


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
        os.environ["XDG_CACHE_HOME"] = folder  # what an earlier scan kept would be taken, and shown as such
        command = [sys.executable, "-m", "spoofcheck", "scan", "examples/recordings", "--report", str(report)]
        capture = terminal_capture(command)
        photograph(report)
    page = README.read_text(encoding="utf-8")
    page = with_part(page, "capture", f"```console\n$ spoofcheck scan examples/recordings\n{capture}\n```")
    page = with_part(page, "figures", figures())
    README.write_text(with_part(page, "tracing", tracing()), encoding="utf-8")


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
