"""`spoofcheck train` from the command line: what it refuses, what it shows, how it stops and goes on."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch import LightningModule, Trainer

from spoofcheck.cli import run
from spoofcheck.cli.status import ExitStatus
from spoofcheck.evaluation.protocols import read_protocol
from spoofcheck.evaluation.protocols.manifest import write_manifest
from spoofcheck.training import run as run_module
from spoofcheck.training import trainer as trainer_module
from spoofcheck.training.objectives import DetectionObjective
from spoofcheck.training.progress import Steps
from spoofcheck.training.recipe import GradientTraining, Recipe
from spoofcheck.training.record import read_record
from spoofcheck.training.run import RunOptions
from spoofcheck.training.trainer import Machine
from tests.support.corpus import write_corpus
from tests.support.recipes import detector_recipe, tracer_recipe


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, {"train": 4, "dev": 3})
    return folder


@pytest.fixture
def recipe(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe file in the working folder of the test; two epochs of two steps, no test data."""
    monkeypatch.chdir(tmp_path)
    content = detector_recipe(corpus, epochs=2, steps_per_epoch=2)
    content["data"]["test"] = []
    return written(tmp_path / "recipe.yaml", content)


def written(file: Path, content: dict[str, Any]) -> Path:
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["recipe.yaml", "--set", "training.epocks=3"], "key 'training.epocks': unknown key; known here: kind, epochs"),
        (["recipe.yaml", "--set", "training.optimiser=sgd"], "key 'training.optimiser': Input should be 'adam' or"),
        (["recipe.yaml", "--set", "training.epochs"], "--set training.epochs: write key=value"),
        (["none.yaml"], "none.yaml: cannot read the recipe"),
        (["."], "config.yaml: cannot read the recipe"),
        ([], "Missing argument 'RECIPE'"),
        (["recipe.yaml", "--precision", "8-bit"], "'bf16-mixed', '16-mixed'"),
        (["recipe.yaml", "--accelerator", "tpu"], "'auto', 'cpu', 'cuda', 'mps'"),
        (["recipe.yaml", "--devices", "0"], "--devices"),
        (["recipe.yaml", "--devices", "3"], "key 'batch.bonafide': 8 windows do not divide evenly over 3 devices"),
        (["recipe.yaml", "--accelerator", "cpu", "--precision", "16-mixed"], "16-mixed needs CUDA"),
        (["recipe.yaml", "--set", "data.root=/nowhere"], "/nowhere/manifest.tsv"),
        (["recipe.yaml", "--set", "data.dev.0.split=tset"], "no clips in split 'tset', the splits are dev (12), train"),
        (["recipe.yaml", "--dry-run", "--set", "data.dev.0.split=train"], "train and dev share 16 recordings"),
        (["recipe.yaml", "--set", "model.back_end.channels=3"], "key 'model': the front-end gives 64 channels"),
        (["recipe.yaml", "--set", "model.front_end_weights=x/y"], "'x/y'; 'none' or 'distillmos'"),
    ],
)
def test_what_cannot_be_trained_is_one_line_and_exit_2(
    recipe: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", *arguments, "--quiet"]) == ExitStatus.FAILED
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("spoofcheck: ")
    assert said in err
    assert not list(Path().rglob("*.yaml.tmp"))


def test_a_start_that_was_refused_leaves_the_folder_free(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A forgotten data.root is mended by saying it, not by another --out."""
    reached: list[Path] = []

    def stop(recipe: Recipe, train: Any, dev: Any, folder: Path, *_: Any, **__: Any) -> None:
        reached.append(folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "prepare", stop)
    for fault in ("data.root=/nowhere", "data.dev.0.split=train", "model.back_end.channels=3"):
        assert run(["train", "recipe.yaml", "--quiet", "--set", fault]) == ExitStatus.FAILED
        assert "holds" not in capsys.readouterr().err
    assert run(["train", "recipe.yaml", "--quiet"]) == ExitStatus.INTERRUPTED
    assert reached == [Path("runs/tiny/data")]
    assert run(["train", "recipe.yaml", "--quiet"]) == ExitStatus.FAILED  # now it is taken
    assert "holds a run already; go on with --resume" in capsys.readouterr().err
    (Path("runs/tiny") / run_module.RECIPE).write_text("name: old\n")
    assert run(["train", "recipe.yaml", "--quiet", "--resume"]) == ExitStatus.FAILED
    assert "runs/tiny/recipe.yaml: key 'version'" in capsys.readouterr().err


def test_a_dry_run_shows_the_plan_and_writes_nothing(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "recipe.yaml", "--dry-run"]) == ExitStatus.CLEAR
    out, err = capsys.readouterr()
    assert err == ""
    assert "tiny 0.1: what would be trained on" in out
    table = [line.replace("│", " ").split() for line in out.splitlines()]
    assert ["train", "bonafide", "-", "4"] in table
    assert ["train", "spoof", "vocoder:ringer", "4"] in table
    assert ["dev", "spoof", "tts:hisser", "3"] in table
    assert "0.02 M parameters, 0.02 M of them trained" in out
    assert "warning: train and dev share 3 systems" in " ".join(out.split())
    assert list(Path().iterdir()) == [Path("recipe.yaml")]
    assert run(["train", "recipe.yaml", "--dry-run", "--quiet"]) == ExitStatus.CLEAR
    assert capsys.readouterr().out == ""


def test_a_dry_run_names_broken_files_and_shows_hostile_names_as_text(
    recipe: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "corpus"
    write_corpus(folder, {"train": 2, "dev": 1}, systems=("tts:[red]x[/blink]", "tts:many"))
    (folder / "train/--0.wav").write_bytes(b"no audio at all")
    (folder / "train/tts-many-1.wav").unlink()
    arguments = ["--set", f"data.root={folder}", "--set", "version='1 [/red]'"]
    assert run(["train", "recipe.yaml", "--dry-run", *arguments]) == ExitStatus.CLEAR
    out = capsys.readouterr().out
    assert "tts:[red]x[/blink]" in out
    assert "tiny 1 [/red]: what" in out
    lines = [line for line in out.splitlines() if line.startswith("left out: ")]
    assert [Path(line.removeprefix("left out: ").split(": ")[0]).name for line in lines] == [
        "--0.wav",
        "tts-many-1.wav",
    ]


def test_many_systems_are_summed_up(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "corpus"
    write_corpus(folder, {"train": 1, "dev": 1}, systems=tuple(f"tts:{n}" for n in range(14)), seconds=0.6)
    assert run(["train", "recipe.yaml", "--dry-run", "--set", f"data.root={folder}"]) == ExitStatus.CLEAR
    out = capsys.readouterr().out
    assert out.count("3 more systems") == 2


def test_a_dry_run_of_a_tracer_names_its_classes(
    recipe: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = tracer_recipe(corpus) | {"classes": {"[b]uzz": ["tts:buzzer"], "ring": ["vocoder:*"]}}
    content["data"]["test"] = []
    written(recipe, content)
    assert run(["train", str(recipe), "--dry-run"]) == ExitStatus.CLEAR
    out = capsys.readouterr().out
    assert "2 classes: [b]uzz, ring" in out
    table = [line.replace("│", " ").split() for line in out.splitlines()]
    assert ["dev", "spoof", "tts:hisser", "3"] in table  # unseen ones stay in dev
    assert not any(row[:3] == ["train", "spoof", "tts:hisser"] for row in table)


def test_options_reach_the_run(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[Recipe, Path, RunOptions]] = []

    def record(recipe: Recipe, out: Path, options: RunOptions, steps: Steps) -> Path:
        asked.append((recipe, out, options))
        return out / "model"

    monkeypatch.setattr(run_module, "run", record)
    long = Path("a folder") / ("x" * 90)
    arguments = ["--devices", "2", "--nodes", "3", "--accelerator", "cpu", "--workers", "5", "--resume"]
    arguments += ["--precision", "bf16-mixed", "--set", "training.epochs=9", "--set", "seed=8", "--out", str(long)]
    assert run(["train", "recipe.yaml", *arguments]) == ExitStatus.CLEAR
    (rules, out, options) = asked[0]
    assert isinstance(rules.training, GradientTraining)
    assert (rules.training.precision, rules.training.epochs, rules.seed) == ("bf16-mixed", 9, 8)
    assert out == long
    assert (options.machine, options.workers, options.resume) == (Machine("cpu", 2, 3), 5, True)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"The model is {long / 'model'}; its card" in printed.err  # on one line, to be copied
    assert run(["train", "recipe.yaml", "--quiet"]) == ExitStatus.CLEAR
    assert asked[1][1:] == (Path("runs/tiny"), RunOptions())
    assert capsys.readouterr().err == ""


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Lightning ignores further Ctrl-C after the first."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_run_that_is_stopped_and_moved_goes_on(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first epoch is the best on dev here, and must still be after the run has gone on elsewhere."""
    keep = trainer_module._KeepLast.on_train_epoch_end
    figures = DetectionObjective.figures
    measured: list[float] = []

    def worse_each_time(self: DetectionObjective, logits: Any) -> dict[str, float]:
        measured.append(0.1 * (1 + len(measured)))
        return figures(self, logits) | {"mean_eer": measured[-1]}

    def interrupt(self: Any, trainer: Trainer, module: LightningModule) -> None:
        keep(self, trainer, module)
        raise KeyboardInterrupt

    monkeypatch.setattr(DetectionObjective, "figures", worse_each_time)
    with monkeypatch.context() as patched:
        patched.setattr(trainer_module._KeepLast, "on_train_epoch_end", interrupt)
        assert run(["train", "recipe.yaml", "--accelerator", "cpu", "--workers", "1"]) == ExitStatus.INTERRUPTED
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[-1] == (
        "Stopped. The run goes on from its last whole epoch with --resume --out runs/tiny"
    )
    assert len(measured) == 1
    assert not Path("runs/tiny/model").exists()

    Path("runs/tiny").rename("moved")
    arguments = ["--accelerator", "cpu", "--workers", "1", "--resume", "--out", "moved"]
    assert run(["train", "recipe.yaml", *arguments]) == ExitStatus.CLEAR
    assert len(measured) == 2  # one epoch was left
    assert "The model is moved/model; its card" in capsys.readouterr().err
    record = read_record(Path("moved/model"))
    assert record is not None
    assert (record.run.epochs, record.run.best_epoch, record.run.value) == (2, 1, 0.1)
    assert json.loads(Path("moved/model/config.json").read_text())["name"] == "tiny"
    assert sorted(path.name for path in Path("moved/logs").iterdir()) == ["part-1", "part-2"]


def test_ctrl_c_while_data_are_prepared_is_no_finding(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "prepare", interrupt)
    assert run(["train", "recipe.yaml"]) == 130
    assert "--resume --out runs/tiny" in capsys.readouterr().err


def test_the_corpus_of_these_tests_is_what_it_says(corpus: Path, tmp_path: Path) -> None:
    clips = read_protocol("manifest", corpus / "manifest.tsv")
    assert len(clips) == 28
    write_manifest(tmp_path / "again.tsv", clips, root=corpus)
    assert read_protocol("manifest", tmp_path / "again.tsv", root=corpus) == clips
