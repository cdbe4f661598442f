"""Which class of a tracer stands for which system."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from spoofcheck.nets.config import OpenSetConfig, PooledEmbeddingConfig, SpectralStemConfig, TracerConfig


def config(**changes: Any) -> TracerConfig:
    return TracerConfig.model_validate(
        {
            "name": "t",
            "version": "1",
            "front_end": SpectralStemConfig(),
            "head": PooledEmbeddingConfig(),
            "classes": ("vits", "piper", "Piper-fork"),
            "open_set": OpenSetConfig(threshold=0.5, data="none"),
            "licence": "Apache-2.0",
            "training_data": "none",
            **changes,
        }
    )


def test_a_class_stands_for_the_system_of_its_name_unless_told_more() -> None:
    plain = config()
    assert plain.class_of("vits") == "vits"
    assert plain.class_of("vits2") is None
    assert plain.class_of("-") is None


def test_patterns_make_versions_one_class_and_exact_names_win() -> None:
    families = config(systems={"piper": ("[Pp]iper*", "sonata-?"), "vits": ("vits*", "sonata-*")})
    assert families.class_of("piper-1.2") == "piper"
    assert families.class_of("Piper-fork") == "Piper-fork"
    assert families.class_of("VITS2") is None, "case counts"
    assert families.class_of("sonata-1") == "vits", "the first class in the order of the logits"
    assert families.class_of("sonata-") == "vits"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"systems": {"bark": ("bark*",)}}, "'bark', which is not among the classes"),
        ({"systems": {"vits": ()}}, "at least 1 item"),
        ({"systems": {"vits": ("",)}}, "at least 1 character"),
        ({"classes": ("vits", "unknown")}, "needs another name"),
        ({"classes": ("vits", "unseen")}, "needs another name"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**changes)
