from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from trio_chat.cli.passphrase import new_passphrase, read_passphrase
from trio_chat.errors import ConfigError
from trio_chat.files import create_private
from trio_chat.pki.keys import dump_key, generate_key


@pytest.fixture
def key(tmp_path: Path) -> Path:
    create_private(tmp_path / "a.key", dump_key(generate_key(), b"correct horse"))
    return tmp_path / "a.key"


_ASK = """
import sys
from pathlib import Path
from trio_chat.cli.passphrase import new_passphrase, read_passphrase
from trio_chat.errors import ConfigError
try:
    ask = {"read": read_passphrase, "new": new_passphrase}[sys.argv[1]]
    print(repr(ask(Path(sys.argv[2]), None)))
except ConfigError as error:
    print(f"{error}; {error.hint}")
"""


def test_a_plain_key_needs_none_and_asks_nothing(tmp_path: Path) -> None:
    create_private(tmp_path / "b.key", dump_key(generate_key()))
    assert read_passphrase(tmp_path / "b.key", None) is None
    assert read_passphrase(tmp_path / "b.key", str(tmp_path / "absent")) is None


@pytest.mark.parametrize("content", [b"correct horse", b"correct horse\n", b"correct horse\r\nx\n"])
def test_it_is_the_first_line_of_the_file(key: Path, tmp_path: Path, content: bytes) -> None:
    create_private(tmp_path / "phrase", content)
    assert read_passphrase(key, str(tmp_path / "phrase")) == b"correct horse"


def test_a_dash_is_standard_input(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b"correct horse\nrest"))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert read_passphrase(key, "-") == b"correct horse"


def test_a_file_that_others_can_read_is_refused(key: Path, tmp_path: Path) -> None:
    create_private(tmp_path / "phrase", b"correct horse")
    (tmp_path / "phrase").chmod(0o644)
    with pytest.raises(ConfigError, match="others can read"):
        read_passphrase(key, str(tmp_path / "phrase"))


def test_an_empty_one_is_refused(key: Path, tmp_path: Path) -> None:
    create_private(tmp_path / "phrase", b"\n")
    with pytest.raises(ConfigError, match="is empty"):
        new_passphrase(key, str(tmp_path / "phrase"))


def test_one_that_openssl_would_not_take_is_refused(key: Path, tmp_path: Path) -> None:
    create_private(tmp_path / "phrase", b"x" * 1023)
    dump_key(generate_key(), new_passphrase(key, str(tmp_path / "phrase")))
    create_private(tmp_path / "longer", b"x" * 1024)
    with pytest.raises(ConfigError, match="longer than 1023 bytes"):
        new_passphrase(key, str(tmp_path / "longer"))


def test_without_a_terminal_it_says_what_to_do(key: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ASK, "read", str(key)],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,  # no /dev/tty either
    )
    assert "there is no terminal to ask on; --passphrase-file FILE" in done.stdout
    assert done.stderr == ""


def test_the_terminal_asks_and_does_not_echo(key: Path) -> None:
    child = pexpect.spawn(sys.executable, ["-c", _ASK, "read", str(key)], encoding="utf-8")
    child.expect_exact(f"Passphrase of {key}: ")
    child.sendline("hush")
    child.expect(pexpect.EOF)
    assert child.before.split() == ["b'hush'"]


@pytest.mark.parametrize(
    ("second", "answer"), [("hush", "b'hush'"), ("hash", "the two passphrases differ")]
)
def test_a_new_one_is_asked_for_twice(tmp_path: Path, second: str, answer: str) -> None:
    arguments = ["-c", _ASK, "new", str(tmp_path / "new.key")]
    child = pexpect.spawn(sys.executable, arguments, encoding="utf-8")
    child.expect_exact("New passphrase for")
    child.sendline("hush")
    child.expect_exact("The same again: ")
    child.sendline(second)
    child.expect(pexpect.EOF)
    assert answer in child.before
