"""Figures of a training record: used where the record is the model's own, and nowhere else."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spoofcheck.detect.modelfigures import recorded_figures
from spoofcheck.errors import ModelError
from spoofcheck.nets.bundle import Bundle, load_bundle
from spoofcheck.nets.index import RECORD_FILE, find_model, write_index
from spoofcheck.schema import ValidationFigure
from tests.support.models import tiny_bundle

MEASURED = {
    "bonafide_trials": 90, "spoof_trials": 60, "eer": 0.1, "eer_low": 0.05, "eer_high": 0.2,
    "min_dcf": 0.4, "act_dcf": 0.5, "cllr": 0.3, "cllr_min": 0.2,
}  # fmt: skip
ROWS = [{"percent": percent, "bonafide": percent / 50 - 3, "spoof": percent / 50} for percent in (0, 50, 100)]


def record(**changes: Any) -> dict[str, Any]:
    """The part of a training record that is read; of a model whose dev figures are `MEASURED`."""
    dev: dict[str, Any] = {
        "exhibit": {**MEASURED, "macro_eer": 0.1},
        "conditions": {"8khz": {**MEASURED, "eer": 0.15, "macro_eer": 0.1}},
        "calibration_plot": {"exhibit": {"reliability": [], "percentiles": ROWS}},
    }
    return {"recipe": {}, "figures": {"dev": {**dev, **changes}}}


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A model with dev figures of windows and of exhibits."""
    plain = load_bundle(tiny_bundle(tmp_path / "model"))
    figures = (
        ValidationFigure(dataset="dev", level="window", **{**MEASURED, "eer": 0.3, "eer_high": 0.4}),
        ValidationFigure(dataset="dev", level="exhibit", **MEASURED),
        ValidationFigure(dataset="test", level="exhibit", **{**MEASURED, "cllr": 0.9}),
    )
    return replace(plain, config=plain.config.model_copy(update={"validation": figures}))


def test_a_record_of_the_model_gives_conditions_and_percentiles(bundle: Bundle) -> None:
    (bundle.directory / RECORD_FILE).write_text(json.dumps(record()))
    conditions, percentiles = recorded_figures(bundle)
    assert [(each.condition, each.dataset, each.level, each.eer) for each in conditions] == [
        ("original", "dev", "exhibit", 0.1),
        ("8khz", "dev", "exhibit", 0.15),
    ]
    assert [(each.percent, each.bonafide_llr, each.spoof_llr) for each in percentiles] == [
        (0, -3, 0),
        (50, -2, 1),
        (100, -1, 2),
    ]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "[]",
        '{"figures": {}}',
        json.dumps(record(exhibit={**MEASURED, "cllr": 0.31})),
        json.dumps(record(conditions={"8khz": {**MEASURED, "eer": 3}})),
        json.dumps(record(conditions={"8khz": {}})),
    ],
    ids=["none", "empty", "list", "no-dev", "of-another-model", "no-rate", "no-figures"],
)
def test_another_record_gives_nothing(bundle: Bundle, text: str | None) -> None:
    if text is not None:
        (bundle.directory / RECORD_FILE).write_text(text)
    assert recorded_figures(bundle) == ((), ())


def test_a_changed_record_of_a_shipped_model_is_refused(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    shutil.copytree(bundle.directory, models / "model")
    monkeypatch.setattr("spoofcheck.nets.index.models_dir", lambda: models)
    shipped = replace(bundle, directory=models / "model")
    write_index(models)
    (models / "model" / RECORD_FILE).write_text(json.dumps(record()))
    assert recorded_figures(shipped) == ((), ()), "it is not listed"
    write_index(models)
    assert len(recorded_figures(shipped)[0]) == 2
    (models / "model" / RECORD_FILE).write_text(json.dumps(record()) + " ")
    with pytest.raises(ModelError, match=r"training\.json: SHA-256 differs"):
        recorded_figures(shipped)
    (models / "model" / RECORD_FILE).unlink()
    with pytest.raises(ModelError, match=r"training\.json: cannot be read"):
        recorded_figures(shipped)


@pytest.mark.weights
def test_the_shipped_detector_has_both() -> None:
    conditions, percentiles = recorded_figures(load_bundle(find_model()))
    assert conditions[0].condition == "original"
    assert len(conditions) > 2
    assert [each.percent for each in percentiles] == sorted(each.percent for each in percentiles)
    assert percentiles[len(percentiles) // 2].bonafide_llr < percentiles[len(percentiles) // 2].spoof_llr
