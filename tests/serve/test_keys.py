"""The key file, and checking keys against it."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from spoofcheck.cli import run
from spoofcheck.errors import UsageError
from spoofcheck.serve import keys
from spoofcheck.serve.keys import KeyRing, add_key, read_keys, revoke_key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "private" / "keys.json"


class TestFile:
    def test_keeps_a_hash_and_never_the_key(self, path: Path) -> None:
        key, entry = add_key(path, "lab-1", rate_per_minute=60, quota_per_day=100)
        text = path.read_text(encoding="ascii")
        assert key not in text
        assert key.split("_")[2] not in text
        assert entry == read_keys(path).keys[0]
        assert (entry.name, entry.rate_per_minute, entry.quota_per_day) == ("lab-1", 60, 100)
        assert PasswordHasher().verify(entry.hash, key)

    def test_only_its_owner_may_use_it(self, path: Path) -> None:
        add_key(path, "a")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        path.chmod(0o640)
        with pytest.raises(UsageError, match="chmod 600"):
            read_keys(path)

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"format_version": 2}', '{"format_version": 1, "keys": [{}]}'])
    def test_refuses_what_is_no_key_file(self, path: Path, text: str) -> None:
        path.parent.mkdir()
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        with pytest.raises(UsageError, match="not a file of service keys"):
            read_keys(path)

    @pytest.mark.parametrize("name", ["", "a b", "-x", "x" * 101, "../x", "a\n", "ä", "local"])
    def test_refuses_names_that_mislead(self, path: Path, name: str) -> None:
        with pytest.raises(UsageError):
            add_key(path, name)

    def test_a_name_has_one_valid_key(self, path: Path) -> None:
        add_key(path, "a")
        with pytest.raises(UsageError, match="revoke it first"):
            add_key(path, "a")
        revoke_key(path, "a")
        add_key(path, "a")
        assert [entry.is_valid for entry in read_keys(path).keys] == [False, True]
        with pytest.raises(UsageError, match="no valid key"):
            revoke_key(path, "b")

    def test_two_commands_at_once_lose_no_key(self, path: Path) -> None:
        threads = [threading.Thread(target=add_key, args=(path, f"n{number}")) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {entry.name for entry in read_keys(path).valid()} == {f"n{number}" for number in range(6)}
        assert not list(path.parent.glob(".spoofcheck-*"))


class TestRing:
    def test_knows_a_key_and_nothing_like_it(self, path: Path) -> None:
        key, entry = add_key(path, "a")
        other, _ = add_key(path, "b")
        ring = KeyRing(path)
        assert ring.check(key) == entry
        flipped = key[:-1] + ("0" if key[-1] != "0" else "1")
        mixed = key[:16] + other[16:]  # the ID of one, the secret of the other
        for wrong in (
            flipped,
            mixed,
            key.upper(),
            key + " ",
            " " + key,
            key[:-1],
            "",
            "sck__",
            "x" * 10_000,
            "ä\ud800",
        ):
            assert ring.check(wrong) is None, wrong

    def test_hashes_once_for_a_key_and_always_for_another(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        hashed: list[str] = []

        class Counting(PasswordHasher):
            def verify(self, hash: str | bytes, password: str | bytes) -> bool:
                hashed.append(str(password))
                return super().verify(hash, password)

        key, _ = add_key(path, "a")
        ring = KeyRing(path)
        monkeypatch.setattr(keys, "_HASHER", Counting(time_cost=1, memory_cost=64, parallelism=1))
        assert ring.known(key) is None
        for _ in range(3):
            assert ring.check(key) is not None
        assert ring.known(key) is not None
        assert len(hashed) == 1
        unknown = f"sck_{'0' * 12}_{'0' * 48}"
        assert ring.check(unknown) is None
        assert ring.check(unknown) is None
        assert len(hashed) == 3  # an ID that does not exist takes as long as one that does

    def test_what_it_remembers_is_not_the_key(self, path: Path) -> None:
        key, _ = add_key(path, "a")
        ring = KeyRing(path)
        ring.check(key)
        assert key not in repr(vars(ring))
        assert key.encode() not in b"".join(ring._checked.values())

    def test_notices_at_once_what_was_added_and_revoked(self, path: Path) -> None:
        first, _ = add_key(path, "a")
        ring = KeyRing(path)
        assert ring.check(first) is not None
        second, _ = add_key(path, "b")
        assert ring.check(second) is not None
        revoke_key(path, "a")
        assert ring.check(first) is None
        assert ring.known(second) is not None

    @pytest.mark.parametrize("harm", ["damaged", "gone", "open to all"])
    def test_opens_nothing_with_a_file_it_cannot_trust(self, path: Path, harm: str) -> None:
        key, _ = add_key(path, "a")
        ring = KeyRing(path)
        assert ring.check(key) is not None
        if harm == "damaged":
            path.write_text("{", encoding="ascii")
        elif harm == "gone":
            path.unlink()
        else:
            path.chmod(0o666)
        os.utime(path.parent)
        assert ring.check(key) is None
        assert not ring.has_keys()
        assert (ring.problem is None) == (harm == "gone")


class TestCommand:
    def test_add_prints_the_key_alone(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["serve", "keys", "add", "lab-1", "--rate", "60/min", "--quota", "100", "--keys", str(path)]) == 0
        said = capsys.readouterr()
        key, end = said.out.split("\n")
        assert end == ""
        assert key not in said.err
        found = KeyRing(path).check(key)
        assert found is not None
        assert (found.rate_per_minute, found.quota_per_day) == (60, 100)

    def test_list_and_revoke(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        key, entry = add_key(path, "lab-1")
        assert run(["serve", "keys", "revoke", "lab-1", "--keys", str(path)]) == 0
        capsys.readouterr()
        assert run(["serve", "keys", "list", "--keys", str(path)]) == 0
        assert run(["serve", "keys", "list", "--json", "--keys", str(path)]) == 0
        said = capsys.readouterr().out
        assert "revoked" in said
        assert json.loads(said[said.index("{") :])["keys"][0]["id"] == entry.id
        assert key not in said
        assert entry.hash not in said

    @pytest.mark.parametrize("rate", ["0/min", "-1", "1/day", "many", "1e3", "9999999999", "\u0661"])
    def test_refuses_what_is_no_rate(self, path: Path, rate: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["serve", "keys", "add", "a", "--rate", rate, "--keys", str(path)]) == 2
        assert "--rate" in capsys.readouterr().err
        assert not path.exists()
