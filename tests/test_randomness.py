"""Tokens from weak randomness: secrets come from the system, and from nothing that can be known."""

from __future__ import annotations

import ast
import datetime as dt
import random  # noqa: TID251 - to show that nothing depends on it
from pathlib import Path

import pytest

import trio_chat
from trio_chat.invitation import SECRET_SIZE
from trio_chat.pki import Authority, Invite, Invites
from trio_chat.server.passwords import Passwords

PACKAGE = Path(trio_chat.__file__).parent
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_no_module_makes_secrets_with_what_can_be_foreseen() -> None:
    predictable = {"random", "uuid"}
    using = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if imports(path) & predictable
    }
    assert using == set()


async def test_tokens_from_weak_randomness_are_not_made(tmp_path: Path) -> None:
    """The same seed, the same clock, the same CA: and still nothing comes twice."""
    place = Authority.create(tmp_path / "ca.crt").place
    invites, hasher = Invites(place), Passwords(2)
    secrets: list[bytes] = []
    kept: list[str] = []
    for _ in range(20):
        random.seed(0)
        secrets.append(invites.add(Invite(name="nora", expires=NOW + dt.timedelta(1)), NOW))
    for _ in range(3):
        random.seed(0)
        kept.append(await hasher.hash("correct horse"))
    assert SECRET_SIZE * 8 >= 128
    assert {len(secret) for secret in secrets} == {SECRET_SIZE}
    assert len(set(secrets)) == len(secrets)
    salts = [each.split("$")[4] for each in kept]
    assert len(set(salts)) == len(salts)
    bits = "".join(f"{byte:08b}" for secret in secrets for byte in secret)
    assert 0.44 < bits.count("1") / len(bits) < 0.56  # 7 standard deviations of a fair coin


async def test_they_come_from_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def urandom(size: int) -> bytes:
        asked.append(size)
        return bytes(size)

    invites = Invites(Authority.create(tmp_path / "ca.crt").place)
    monkeypatch.setattr("os.urandom", urandom)
    monkeypatch.setattr("random._urandom", urandom)  # where `secrets` asks
    secret = invites.add(Invite(name="nora", expires=NOW + dt.timedelta(1)), NOW)
    assert secret == bytes(SECRET_SIZE)
    assert (await Passwords(1).hash("correct horse")).split("$")[4] == "A" * 22
    assert {16, SECRET_SIZE} <= set(asked)
