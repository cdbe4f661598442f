"""The card: every figure of the record is in it, and nothing that was not measured."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spoofcheck.evaluation.tracing import tracing_figures
from spoofcheck.nets.config import GateConfig
from spoofcheck.schema import ValidityLimits
from spoofcheck.training.exhibits import LONG, Exhibit
from spoofcheck.training.figures import detector_figures, rounded
from spoofcheck.training.finish import card_of
from spoofcheck.training.gate import gate_figures
from tests.support.exhibits import decision, exhibit, neutral_calibration
from tests.support.models import tiny_config, tiny_tracer_config
from tests.support.recipes import detector_recipe, tracer_recipe
from tests.support.records import record

CONDITIONS = ("8khz", "noise-15db")


def exhibits(split: Any, shift: float) -> list[Exhibit]:
    """Both classes under all conditions, of two sources and two systems, and a long recording."""
    rng = np.random.default_rng([int(10 * shift), len(split)])
    plain = [
        exhibit(
            float(rng.normal(mean + shift)), system, split=split, speech_s=float(rng.uniform(2, 12)), repo=repo,
            speaker=f"s{number % 7}", windows=rng.normal(mean + shift, 1, 3).tolist(),
        )
        for system, mean, repo in (("-", -1, "a/a"), ("-", -2, "b/b"), ("tts:x", 1, "c/c"), ("tts:y", 2, "c/c"))
        for number in range(25)
    ]  # fmt: skip
    plain = [
        replace(one, clip=replace(one.clip, language="de" if one.clip.repo == "b/b" else "en",
                                  note="children" if one.clip.repo == "a/a" else "-",
                                  codec="mp3" if number % 5 == 0 else "wav"))
        for number, one in enumerate(plain)
    ]  # fmt: skip
    degraded = [replace(one, condition=condition) for condition in CONDITIONS for one in plain[::3]]
    return [*plain, *degraded, exhibit(0.0, split=split, condition=LONG, windows=[2.0, 2.0, -1.0] * 7)]


def measured(*splits: str) -> dict[str, Any]:
    return copy.deepcopy(_measured(*splits))


@cache
def _measured(*splits: str) -> dict[str, Any]:
    scored = [one for number, split in enumerate(splits) for one in exhibits(split, 0.3 * number)]
    return detector_figures(scored, neutral_calibration(), decision(), CONDITIONS)


def detector_card(figures: dict[str, Any], recipe: dict[str, Any] | None = None, **changes: Any) -> str:
    config = tiny_config().model_copy(update={"decision": decision()})
    return card_of(config, record(figures, recipe, **changes), 1_230_000)


def rows(card: str) -> list[str]:
    return [line for line in card.splitlines() if line.startswith("|")]


def pct(share: float) -> str:
    return f"{100 * share:.1f}"


def shown_verdicts(x: dict[str, Any]) -> str:
    return " / ".join(pct(x[key]) for key in ("spoof", "inconclusive", "bonafide")) if x["trials"] else "-"


def expected_rows(split: str, figures: dict[str, Any], label: str | None = None) -> Iterator[list[str]]:
    """What must stand together in one row of the card."""
    name = label or split
    dcf = ("min_dcf", "act_dcf")
    levels = {"window": figures["window"], "exhibit": figures["exhibit"]}
    levels |= {f"{level}, lossless only": rates for level, rates in figures["lossless"].items()}
    for level, x in levels.items():
        yield [
            f"| {name}, {level} |", f"{x['bonafide_trials']} / {x['spoof_trials']}",
            f"{pct(x['eer'])} ({pct(x['eer_low'])}-{pct(x['eer_high'])})",
            pct(x["macro_eer"]) if "macro_eer" in x else "| - |",
            *(f"{x[key]:.3f}" for key in (*dcf, "cllr", "cllr_min")), f"| {x['act_dcf'] / x['min_dcf']:.2f} |",
        ]  # fmt: skip
    for human, synthetic in zip(figures["verdicts"][::2], figures["verdicts"][1::2], strict=True):
        x = figures["exhibit"] if human["condition"] == "original" else figures["conditions"][human["condition"]]
        yield [
            f"| {name} | {human['condition']} | {human['trials']} / {synthetic['trials']} |",
            f"{pct(x['eer'])} ({pct(x['eer_low'])}-{pct(x['eer_high'])})",
            f"{x['min_dcf']:.3f} / {x['act_dcf']:.3f} ({x['act_dcf'] / x['min_dcf']:.2f})",
            f"| {shown_verdicts(human)} | {shown_verdicts(synthetic)} |",
        ]  # fmt: skip
    for x in figures["calibration_plot"]["exhibit"]["reliability"]:
        yield [f"| {name} |", f"{x['bonafide_trials']} / {x['spoof_trials']}", pct(x["predicted"]), pct(x["observed"])]
    shares = ("spoof", "inconclusive", "bonafide")
    for x in figures["human_by_source"]:
        yield [f"| {name} | {x['source']} | {x['trials']} |", *(pct(x[key]) for key in shares)]
    for x in figures["human_groups"]:
        yield [f"| {name} | {x['known_by']} | {x['group']} | {x['sources']} | {x['trials']} |",
               *(pct(x[key]) for key in shares)]  # fmt: skip
    for x in figures["languages"]:
        yield [f"| {name} |", f"| {x['human']['trials']} | {shown_verdicts(x['human'])} |",
               f"| {x['synthetic']['trials']} | {shown_verdicts(x['synthetic'])} |"]  # fmt: skip
    for x in figures["by_duration"]:
        yield [f"| {name} | {x['speech_s']} |", f"{x['bonafide_trials']} / {x['spoof_trials']}", pct(x["eer"]),
               pct(x["false_alarms"])]  # fmt: skip
    for x in figures["systems"]:
        yield [f"| {x['repo']} | {x['system']} | {x['trials']} | {pct(x['eer'])} |", *(pct(x[key]) for key in shares)]
    x = figures["long_human"]
    yield [f"| {name} | {x['recordings']} | {x['minutes']:.1f} | {x['runs']} | {x['recordings_with_runs']} |"]
    for x in figures["folds"]:
        rates = [
            f"{pct(y['eer'])} ({pct(y['eer_low'])}-{pct(y['eer_high'])})" if y else "| - |"
            for y in (x["window"], x["exhibit"])
        ]
        yield [f"| {x['name']} | {x['human']['trials']} / {x['synthetic']['trials']} |", *rates,
               f"| {shown_verdicts(x['human'])} | {shown_verdicts(x['synthetic'])} |"]  # fmt: skip


@pytest.mark.parametrize("splits", [("dev", "test"), ("dev",), ("test",)])
def test_a_card_shows_every_figure(splits: tuple[str, ...]) -> None:
    figures = measured(*splits)
    card = detector_card(figures)
    lines = rows(card)
    for split in splits:
        assert figures[split]["by_duration"]
        for parts in expected_rows(split, figures[split]):
            assert any(all(part in line for part in parts) for line in lines), parts
    assert ("The test split chose nothing" in card) == ("test" in splits)
    absent = {"dev", "test"} - set(splits)
    assert not [line for line in lines if line.startswith(tuple(f"| {split}" for split in absent))]
    assert not re.search(r"None|nan|Undefined|\{\{|\}\}", card)


FOLDS = (
    {"name": "first", "repos": ["a/a", "c/c"], "families": ["x-like"], "also_without": ["copy:world"]},
    {"name": "second", "repos": ["b/b"], "families": [], "also_without": []},
)


def folded() -> dict[str, Any]:
    """Dev scored by networks of folds: human speech of one of them only, spoofs of the other."""
    scored = [replace(one, fold="second" if one.clip.repo == "b/b" else "first") for one in exhibits("dev", 0.0)]
    return detector_figures([*scored, *exhibits("test", 0.3)], neutral_calibration(), decision(), CONDITIONS, FOLDS)


def test_a_card_of_folds_says_what_was_left_out() -> None:
    figures = folded()
    card = detector_card(figures)
    lines = rows(card)
    for split, label in (("dev", "left out"), ("test", "test")):
        for parts in expected_rows(split, figures[split], label):
            assert any(all(part in line for part in parts) for line in lines), parts
    assert lines[2].startswith("| left out | 50 / 50 |")
    assert not [line for line in lines if line.startswith(("| dev,", "| folds"))]
    assert len([line for line in lines if line.startswith("| dev |")]) == 1  # of the training data
    flat = " ".join(card.split())
    assert "in 2 folds (below)" in flat
    assert "- **first**: a/a, c/c; families x-like; of other repositories and copies, copy:world." in card
    assert "- **second**: b/b." in card
    assert "The dev split chose" not in card
    assert "Leave one repository" not in detector_card(measured("dev"))
    assert not re.search(r"None|nan|Undefined|\{\{|\}\}", card)


def with_gate() -> dict[str, Any]:
    """The figures with those of a gate: every fifth recording lies far out, half of these beyond all that was met."""
    scored = [
        replace(one, distance=3.0 if number % 5 == 0 else 1.0, window_distances=(1.0,) * len(one.windows))
        for split, shift in (("dev", 0.0), ("test", 0.3))
        for number, one in enumerate(exhibits(split, shift))
    ]
    limits = ValidityLimits(shrink_from=1.5, refuse_from=2.5, share_shrunk=0.05, share_refused=0.004)
    gate = GateConfig(components=2, features=8, data="dev split: as is", window=limits, exhibit=limits)
    return measured("dev", "test") | {"gate": rounded(gate_figures(scored, gate, neutral_calibration(), decision()))}


def test_a_card_shows_what_the_gate_refuses_and_gains() -> None:
    figures = with_gate()
    gate = figures["gate"]
    card = detector_card(figures)
    lines = rows(card)
    assert {x["split"] for x in gate["trade_off"]} == {"dev", "test"}
    for x in gate["trade_off"]:
        limit = "never" if x["refuse_from"] is None else f"{x['refuse_from']:.2f}"
        told = [pct(x[key]) for key in ("bonafide_refused", "spoof_refused", "eer", "false_alarms", "misses")]
        assert f"| {x['split']} | {f'**{limit}**' if x['chosen'] else limit} | {' | '.join(told)} |" in lines
    assert [x["bonafide_refused"] for x in gate["trade_off"] if x["chosen"]] == [0.2, 0.2]
    for x in gate["conditions"]:
        assert (
            f"| {x['split']} | {x['condition']} | {x['bonafide_trials']} / {x['spoof_trials']} "
            f"| {pct(x['bonafide_refused'])} / {pct(x['spoof_refused'])} "
            f"| {pct(x['bonafide_beyond_shrink'])} / {pct(x['spoof_beyond_shrink'])} | {pct(x['eer'])} |"
        ) in lines
    for x in gate["given"]:
        assert (
            f"| {x['split']} | {x['trials']} | {pct(x['eer_raw'])} / {pct(x['eer_given'])} "
            f"| {x['act_dcf_raw']:.3f} / {x['act_dcf_given']:.3f} | {x['cllr_raw']:.3f} / {x['cllr_given']:.3f} |"
        ) in lines
    assert "from distance 1.50 on (5.0 % of" in card
    assert "Validity gate" not in detector_card(measured("dev"))
    assert not re.search(r"None|nan|Undefined|\{\{|\}\}", card)


def test_lossless_rows_stand_only_where_something_was_left_out() -> None:
    figures = measured("dev", "test")
    figures["dev"]["lossless"] = {level: figures["dev"][level] for level in ("window", "exhibit")}
    shown = [line.split("|")[1].strip() for line in rows(detector_card(figures)) if "lossless only" in line]
    assert shown == ["test, window, lossless only", "test, exhibit, lossless only"]


def test_limits_and_uses_to_avoid_stand_right_beneath_the_summary() -> None:
    card = detector_card(folded())
    titles = [line for line in card.splitlines() if line.startswith("## ")]
    assert titles[:3] == ["## Limits", "## What it must not be used for", "## What it is"]
    assert len(titles) == len(set(titles))


def test_records_of_earlier_versions_still_have_a_card() -> None:
    figures = measured("dev", "test")
    for split in figures.values():
        for key in ("lossless", "folds", "languages", "human_groups", "calibration_plot"):
            del split[key]
    card = detector_card(figures)
    assert "| dev, exhibit | 50 / 50 |" in card
    for word in ("calibration.svg", "Languages", "lossless", "By group"):
        assert word not in card
    assert not re.search(r"None|nan|Undefined|\{\{|\}\}", card)


def test_the_picture_is_shown_where_it_is_written() -> None:
    assert "](calibration.svg)" in detector_card(measured("dev"))


def test_only_the_shipped_detectors_card_points_into_the_repository() -> None:
    shipped = tiny_config().model_copy(update={"decision": decision(), "name": "compact-detector"})
    card = card_of(shipped, record(measured("dev")), 1)
    assert "(../../train/compact-detector/LOG.md#ablation)" in card
    assert "(../../bench/RESULTS.md)" in card
    assert "](../" not in detector_card(measured("dev"))


def test_a_card_says_how_the_model_was_made() -> None:
    figures = measured("dev")
    told = record(figures)
    card = detector_card(figures)
    for part in (
        "A test.", "1.23 M parameters", "4 epochs; epoch 3 was best on dev by mean_eer (0.0123)",
        "1 device, precision 32-true, seed 1", told.recipe_sha256, "commit `c0ffee`", "torch 2.0, numpy 1.0",
        "Python 3.11.7", "t" * 64, "d" * 64, "2 spoofing systems were seen", "AUC\nof 0.567", "at most 5.0 %",
    ):  # fmt: skip
        assert part in card, part
    assert "were missing or broken" not in card
    assert "Warning" not in card

    told_less = detector_card(
        figures,
        data={"problems": ("a.wav: gone",), "warnings": ("train and dev share 1 speaker",)},
        run={"epochs": None, "best_epoch": None, "metric": None, "value": None, "nuisance_auc": None, "devices": 2},
        git_commit=None,
    )
    assert "1 files were missing or broken" in told_less
    assert "- Warning: train and dev share 1 speaker." in told_less
    for word in ("epochs", "AUC", "commit", "None"):
        assert word not in told_less.replace("None were stated", "")
    assert "2 devices" in told_less


def test_a_card_of_few_clips_leaves_out_what_was_not_measured() -> None:
    few = [exhibit(float(raw), system, speech_s=1.0) for raw in (-1, 0, 2) for system in ("-", "tts:x")]
    card = detector_card(detector_figures(few, neutral_calibration(), decision(), ()))
    assert "By seconds of speech" not in card
    assert "Passages in long human recordings" not in card
    assert "8khz" not in card
    assert "| dev, exhibit | 3 / 3 |" in card


def test_a_model_without_any_figures_still_has_a_card() -> None:
    card = detector_card({})
    assert "## Error figures" in card
    assert not re.search(r"\| (dev|test)", card)


def test_caps_are_told() -> None:
    recipe = detector_recipe(Path("/none"))
    recipe["finish"] |= {"most_per_system": {"dev": 30, "test": 40}, "most_per_system_degraded": {"test": 5}}
    card = " ".join(detector_card(measured("dev"), recipe).split())
    assert "Of dev, at most 30 recordings of one system of a repository were scored, and 60 human ones." in card
    assert "Of test, at most 40 recordings of one system of a repository were scored, and 80 human ones." in card
    assert "Under each degraded condition at most 5 of test, and 10 human ones." in card
    assert "of one system of a repository" not in detector_card(measured("dev"))


def test_names_cannot_break_a_table() -> None:
    figures = measured("dev")
    figures["dev"]["systems"][0]["system"] = "x|y\n| z"
    figures["dev"]["human_by_source"][0]["source"] = "a | b"
    lines = rows(detector_card(figures))
    assert any("x\\|y \\| z" in line for line in lines)
    assert any("a \\| b" in line for line in lines)


def tracing(truths: list[str], classes: tuple[str, ...] = ("A0", "A1", "A2")) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    rows = rng.dirichlet(np.ones(len(classes)), len(truths))
    for row, truth in zip(rows, truths, strict=True):
        if truth in classes:
            row[classes.index(truth)] += 1.0
    rows /= rows.sum(axis=1, keepdims=True)
    return dict(rounded(tracing_figures(truths, rows, classes, 0.6).model_dump(mode="json")))


def tracer_card(figures: dict[str, Any], seen_acceptance: float | None = None) -> str:
    recipe = tracer_recipe(Path("/none"))
    recipe["finish"] |= {"seen_acceptance": seen_acceptance}
    config = tiny_tracer_config().model_copy(update={"systems": {"A0": ("x|*", "y")}})
    return card_of(config, record(figures, recipe), 1_000)


@pytest.mark.parametrize("splits", [("dev", "test"), ("dev",)])
def test_a_tracers_card_shows_every_figure(splits: tuple[str, ...]) -> None:
    figures = {split: tracing(["A0", "A1", "A2", "new"] * (5 + len(split))) for split in splits}
    card = tracer_card(figures)
    lines = rows(card)
    for split, f in figures.items():
        parts = [f"| {split} | {f['seen']['trials']} / {f['unseen']['trials']} | {pct(f['accuracy'])} |"]
        parts += [" / ".join(pct(f[part][key]) for key in ("precision", "recall", "f1")) for part in ("seen", "unseen")]
        parts += [pct(f["overall"]["f1"]), *(pct(f["open_set"][key]) for key in ("auroc", "fpr95", "oscr"))]
        assert any(all(part in line for part in parts) for line in lines), parts
        for row in f["classes"]:
            shown = [f"| {row['name']} | {row['trials']} |", *(pct(row[key]) for key in ("precision", "recall", "f1"))]
            assert any(all(part in line for part in shown) for line in lines), shown
    assert "| A0 | x\\|*, y |" in lines
    assert "| A1 | A1 |" in lines
    assert "chose the checkpoint, so" in " ".join(card.split())
    assert "chose the checkpoint and the threshold, so" in " ".join(tracer_card(figures, 0.95).split())


def test_a_tracer_without_unseen_or_without_seen_clips_shows_no_figures_of_them() -> None:
    seen_only, unseen_only = tracing(["A0", "A1", "A2"] * 4), tracing(["new", "newer"] * 4)
    lines = rows(tracer_card({"dev": seen_only, "test": unseen_only}))
    (dev,) = [line for line in lines if line.startswith("| dev | 12 / 0 |")]
    (test,) = [line for line in lines if line.startswith("| test | 0 / 8 |")]
    # accuracy | seen P / R / F1 | unseen P / R / F1 | overall F1 | AUROC | FPR95 | OSCR
    dev_cells, test_cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in (dev, test))
    assert dev_cells[4] == test_cells[3] == "-"
    assert dev_cells[6:] == test_cells[6:] == ["-"] * 3
    assert re.fullmatch(r"[\d.]+ / [\d.]+ / [\d.]+", dev_cells[3])
    assert re.fullmatch(r"[\d.]+ / [\d.]+ / [\d.]+", test_cells[4])
