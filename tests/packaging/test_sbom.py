"""The bill of materials: every locked package and shipped model, by version and hash, the same bytes each time."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest

import spoofcheck
from docs.lockfile import LOCK, pins
from docs.sbom import INDEX, PROJECT, as_json, asked_for, bill

MODELS = {"models": {"m": {"version": "1.2.3", "files": {"model.safetensors": {"sha256": "ab" * 32}}}}}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    direct = asked_for(tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"])
    bom = bill(LOCK.read_text(encoding="utf-8"), json.loads(INDEX.read_text(encoding="utf-8")), direct)
    made: dict[str, Any] = json.loads(as_json(bom))
    return made


def test_every_locked_package_is_listed_with_version_and_hashes(document: dict[str, Any]) -> None:
    listed = {}
    for part in document["components"]:
        if part["type"] == "library":
            (files,) = part["externalReferences"]
            hashes = [each["content"] for each in files["hashes"]]
            listed[part["name"]] = (part["version"], part["purl"], hashes)
    locked = pins(LOCK.read_text(encoding="utf-8"))
    assert listed == {
        name: (str(version), f"pkg:pypi/{name}@{version}", sorted(hashes)) for name, (version, hashes) in locked.items()
    }


def test_every_shipped_model_is_listed_with_the_hash_of_its_weights(document: dict[str, Any]) -> None:
    index = json.loads(INDEX.read_text(encoding="utf-8"))["models"]
    listed = {part["name"]: part for part in document["components"] if part["type"] == "machine-learning-model"}
    assert listed.keys() == index.keys()
    for name, part in listed.items():
        files = {file: facts["sha256"] for file, facts in index[name]["files"].items()}
        assert part["version"] == index[name]["version"]
        assert part["hashes"] == [{"alg": "SHA-256", "content": files["model.safetensors"]}]
        assert {each["name"].rpartition(":")[2]: each["value"] for each in part["properties"]} == files


def test_it_is_of_this_version_and_says_what_spoofcheck_itself_asks_for(document: dict[str, Any]) -> None:
    root = document["metadata"]["component"]
    assert (root["name"], root["version"]) == ("spoofcheck", spoofcheck.__version__)
    (edge,) = [edge for edge in document["dependencies"] if "dependsOn" in edge]
    assert edge["ref"] == root["bom-ref"]
    needed = {ref.removeprefix("pkg:pypi/").partition("@")[0] for ref in edge["dependsOn"] if ref.startswith("pkg:")}
    assert "torch" in needed
    assert "typing-extensions" not in needed  # there for the sake of others


def test_it_has_no_time_and_no_serial_number_and_is_the_same_again() -> None:
    lock = "b==2 \\\n    --hash=sha256:" + "0" * 64 + "\na==1 \\\n    --hash=sha256:" + "1" * 64 + "\n"
    first, second = (as_json(bill(lock, MODELS, {"a"})) for _ in range(2))
    assert first == second
    made = json.loads(first)
    assert "serialNumber" not in made
    assert "timestamp" not in made["metadata"]
    assert [part["name"] for part in made["components"]] == ["a", "b", "m"]


def test_what_the_format_forbids_is_not_written() -> None:
    broken = {"models": {"m": {"version": "1", "files": {"model.safetensors": {"sha256": "no hash"}}}}}
    with pytest.raises(ValueError, match="not valid CycloneDX"):
        as_json(bill("", broken, set()))
