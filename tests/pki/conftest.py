"""A CA in a temporary folder, and the programs that judge it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trio_chat.pki import Authority


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    return tmp_path / "pki" / "ca.crt"


@pytest.fixture
def authority(ca: Path, now: datetime) -> Authority:
    return Authority.create(ca, now=now)


@pytest.fixture
def openssl() -> Callable[..., str]:
    """Run `openssl` and return all that it says; fail if it fails."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")

    def run(*words: str | Path) -> str:
        done = subprocess.run(
            ["openssl", *map(str, words)],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run
