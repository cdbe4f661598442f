"""Write what an installation from `requirements.lock` consists of, as CycloneDX JSON: `make sbom`.

`python -m docs.sbom FILE` needs `cyclonedx-python-lib[json-validation]` and `packaging`, and neither spoofcheck's own
dependencies nor the network. The same lock, models and library give the same bytes: no serial number, no time.

The list has every locked package with the SHA-256 of each file that may be installed, and every shipped model with the
SHA-256 of its files. Which packages spoofcheck itself asks for is said; which of them needs which other one is not, and
neither are licences: the lock says neither.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tomllib
from collections.abc import Mapping, Set
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.contact import OrganizationalEntity
from cyclonedx.model.dependency import Dependency
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from docs.lockfile import LOCK, pins
from spoofcheck import __version__

PROJECT = LOCK.parent / "pyproject.toml"
INDEX = LOCK.parent / "models" / "index.json"
LIBRARY = "cyclonedx-python-lib"


def package(name: str, version: str, hashes: list[str]) -> Component:
    """A locked package; the hashes are of the files that `pip install --require-hashes` takes, any one of them."""
    purl = PackageURL("pypi", None, name, version)
    files = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(purl.to_string()),
        comment="the files that the lock allows; one of them is installed",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=each) for each in hashes],
    )
    return Component(
        name=name, version=version, type=ComponentType.LIBRARY, purl=purl, bom_ref=purl.to_string(),
        external_references=[files],
    )  # fmt: skip


def model(name: str, facts: Mapping[str, Any]) -> Component:
    """A shipped model: the hash is of its weights, those of its other files are properties."""
    files: dict[str, str] = {file: each["sha256"] for file, each in facts["files"].items()}
    return Component(
        name=name, version=facts["version"], type=ComponentType.MACHINE_LEARNING_MODEL, bom_ref=f"model:{name}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=files["model.safetensors"])],
        properties=[Property(name=f"spoofcheck:sha256:{file}", value=digest) for file, digest in files.items()],
    )  # fmt: skip


def asked_for(project: Mapping[str, Any]) -> set[str]:
    """Canonical names of what a project asks for: its dependencies and its extra `serve`, which the lock is made of."""
    wanted = [*project["dependencies"], *project["optional-dependencies"]["serve"]]
    return {canonicalize_name(Requirement(text).name) for text in wanted}


def bill(lock: str, index: Mapping[str, Any], direct: Set[str]) -> Bom:
    """What the text of a lock and of `models/index.json` lists, as parts of spoofcheck.

    Args:
        direct: names of the packages that spoofcheck itself asks for; others are there for their sake.
    """
    packages = {name: package(name, str(version), hashes) for name, (version, hashes) in pins(lock).items()}
    models = [model(name, facts) for name, facts in index["models"].items()]
    root = Component(
        name="spoofcheck", version=__version__, type=ComponentType.APPLICATION, bom_ref="spoofcheck",
        properties=[Property(name="spoofcheck:requirements.lock:sha256", value=_sha256(lock))],
    )  # fmt: skip
    bom = Bom(components=[*packages.values(), *models])
    bom.metadata.component = root
    bom.metadata.tools.components.add(
        Component(
            name=LIBRARY, version=installed(LIBRARY), type=ComponentType.LIBRARY,
            supplier=OrganizationalEntity(name="CycloneDX"),
        )
    )  # fmt: skip
    needed = [*(part for name, part in packages.items() if name in direct), *models]
    bom.dependencies.add(Dependency(root.bom_ref, [Dependency(part.bom_ref) for part in needed]))
    return bom


def as_json(bom: Bom) -> str:
    """CycloneDX 1.6, without what differs from run to run.

    Raises:
        ValueError: the result is not valid by the format's own schema.
    """
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    del document["serialNumber"], document["metadata"]["timestamp"]
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if fault is not None:
        raise ValueError(f"not valid CycloneDX: {fault}")
    return text


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, metavar="FILE")
    out: Path = parser.parse_args().out
    direct = asked_for(tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"])
    bom = bill(LOCK.read_text(encoding="utf-8"), json.loads(INDEX.read_text(encoding="utf-8")), direct)
    out.write_text(as_json(bom), encoding="utf-8")
    print(f"{out}: {len(bom.components)} components")


if __name__ == "__main__":
    main()
