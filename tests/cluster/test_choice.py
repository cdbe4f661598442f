from __future__ import annotations

from pathlib import Path

import pytest

from spoofcheck.cli import run
from spoofcheck.cluster import session


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["https://user:secret@host/a.wav?sig=secret"], "https://host/a.wav: an address is read with --engine ray"),
        (["{wav}", "--ray-address", "auto"], "--ray-address: only with --engine ray"),
        (["{wav}", "--networks", "2"], "--networks: only with --engine ray"),
        (["{wav}", "--engine", "ray", "--no-isolate"], "--no-isolate contradicts --engine ray"),
        (["ftp://host/a.wav", "--engine", "ray"], "ftp:// is not read"),
    ],
)
def test_what_cannot_be_honoured_is_refused(
    tmp_path: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wav = tmp_path / "a.wav"
    wav.write_bytes(b"RIFF")
    assert run(["scan", *(option.format(wav=wav) for option in options)]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert "secret" not in told


def test_a_missing_extra_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wav = tmp_path / "a.wav"
    wav.write_bytes(b"RIFF")
    monkeypatch.setattr(session, "find_spec", lambda name: None)
    assert run(["scan", str(wav), "--engine", "ray"]) == 2
    assert "pip install 'spoofcheck[cluster]'" in capsys.readouterr().err
