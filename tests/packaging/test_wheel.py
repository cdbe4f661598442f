"""The wheel, built from the sdist, holds the package, the models and the templates, and nothing else."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

import spoofcheck

ROOT = Path(spoofcheck.__file__).resolve().parent.parent

pytestmark = pytest.mark.packaging


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the sdist and the wheel built from that sdist."""
    out = tmp_path_factory.mktemp("dist")
    # With build's isolation every test run would install hatchling anew; .ci/run builds with it.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-500:]
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    (path,) = built.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_is_the_same_bytes_when_built_again_elsewhere(built: Path, tmp_path: Path) -> None:
    """From the checkout instead of the sdist, so from other folders, with other times of modification."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, umask=0o077)
    assert done.returncode == 0, (done.stdout + done.stderr)[-500:]
    (first,), (second,) = built.glob("*.whl"), tmp_path.glob("*.whl")
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_wheel_holds_every_module_of_the_package(wheel: zipfile.ZipFile) -> None:
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "spoofcheck").rglob("*.py")}
    shipped = {name for name in wheel.namelist() if name.endswith(".py")}
    assert shipped == modules
    assert "spoofcheck/py.typed" in wheel.namelist()


def test_wheel_holds_the_models_as_the_index_lists_them(wheel: zipfile.ZipFile) -> None:
    models = "spoofcheck/_data/models"
    index = json.loads(wheel.read(f"{models}/index.json"))
    assert index == json.loads((ROOT / "models/index.json").read_text(encoding="utf-8"))
    assert index["default"] in index["models"]
    for name, entry in index["models"].items():
        assert "model.safetensors" in entry["files"]
        for file, facts in entry["files"].items():
            assert wheel.getinfo(f"{models}/{name}/{file}").file_size == facts["size_bytes"]


def test_wheel_holds_every_template(wheel: zipfile.ZipFile) -> None:
    folder = ROOT / "reports/templates"
    templates = {path.relative_to(folder).as_posix() for path in folder.rglob("*.j2")}
    prefix = "spoofcheck/_data/templates/"
    shipped = {name.removeprefix(prefix) for name in wheel.namelist() if name.startswith(prefix)}
    assert templates, "no template in the checkout"
    assert templates <= shipped


def test_wheel_holds_the_acoustic_reference(wheel: zipfile.ZipFile) -> None:
    shipped = wheel.read("spoofcheck/_data/reference/acoustics.json")
    assert shipped == (ROOT / "reports/reference/acoustics.json").read_bytes()


def test_wheel_holds_the_controls_as_their_list_says(wheel: zipfile.ZipFile) -> None:
    folder = "spoofcheck/_data/controls"
    listed = json.loads(wheel.read(f"{folder}/controls.json"))["controls"]
    assert {control["truth"] for control in listed} == {"bonafide", "spoof"}
    for control in listed:
        assert hashlib.sha256(wheel.read(f"{folder}/{control['file']}")).hexdigest() == control["sha256"]
    assert f"{folder}/README.md" in wheel.namelist(), "where they come from"


def test_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {PurePosixPath(name).parts[0] for name in wheel.namelist()}
    assert tops == {"spoofcheck", f"spoofcheck-{spoofcheck.__version__}.dist-info"}
    data = [name for name in wheel.namelist() if name.startswith("spoofcheck/_data/")]
    assert not [name for name in data if name.endswith((".py", ".pyc"))]


def test_sdist_holds_no_tests_and_no_audio_but_the_controls(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        names = [PurePosixPath(*PurePosixPath(name).parts[1:]) for name in sdist.getnames()]
    assert not {"tests", "bench", "examples"} & {name.parts[0] for name in names if name.parts}
    recordings = {".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus"}
    controls = PurePosixPath("reports/controls")
    assert not [name for name in names if name.suffix in recordings and name.parent != controls]


def test_metadata_names_licence_and_entry_point(wheel: zipfile.ZipFile) -> None:
    info = f"spoofcheck-{spoofcheck.__version__}.dist-info"
    metadata = wheel.read(f"{info}/METADATA").decode()
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert f"{info}/licenses/LICENSE" in wheel.namelist()
    assert "spoofcheck = spoofcheck.cli:main" in wheel.read(f"{info}/entry_points.txt").decode()
