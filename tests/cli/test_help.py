"""Help fits on a screen of 80 by 24 and ends with examples, and takes no time."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trio_chat.cli.main import SUBCOMMANDS, main

PKI = ("init", "issue", "request", "sign", "renew", "revoke", "crl", "list", "show")
ADMIN = (
    *("status", "tree", "rooms", "users", "kick", "announce", "drain", "reload", "revoke"),
    *("backup", "check", "audit"),
)
COMMANDS = [
    [],
    *([name] for name in SUBCOMMANDS),
    *(["pki", name] for name in PKI),
    *(["admin", name] for name in ADMIN),
]
HEAVY = ("trio", "cryptography", "apsw", "prompt_toolkit", "msgspec", "asyncio")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_fits_on_a_screen_and_ends_with_examples(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert ended.value.code == 0
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert "examples:" in lines[-10:]


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from trio_chat.cli.main import build_parser\n"
        "build_parser()\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert told.stdout.strip() == "[]"


def test_the_module_is_the_program() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "trio_chat", "--version"], capture_output=True, text=True
    )
    assert told.stdout.startswith("trio-chat ")
    assert told.returncode == 0
