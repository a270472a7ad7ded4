"""`trio_chat.cli.settings`: flag before file before default; `serve --check`, `--print-config`."""

from __future__ import annotations

import argparse
import subprocess
import tomllib
from pathlib import Path

import attrs
import pytest

from tests.daemon import PROGRAM
from tests.people import People
from trio_chat.cli import serve
from trio_chat.cli.settings import settle
from trio_chat.errors import ConfigError
from trio_chat.limits import Limits
from trio_chat.server import SETTINGS, ServerConfig

WHOLE = """
ca = "lab/ca.crt"
cert = "/etc/server.crt"
key = "lab/server.key"
passphrase_file = "-"
db = "lab/chat.db"
host = "0.0.0.0"
port = 9000
public_names = ["chat.example.org"]
rooms = ["ops", "lobby"]
mode = "plain"
registration = "open"
durability = "process"
verbose = true
[limits]
text_size = 100
"""


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    return parser.parse_args(words)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "server.toml"
    path.write_text(WHOLE)
    return path


def test_every_option_can_come_from_the_file(file: Path) -> None:
    assert {*tomllib.loads(WHOLE)} == {*(setting.name for setting in SETTINGS), "limits"}
    found = settle(options("--config", str(file)))
    assert set(found.origins.values()) == {"file"}
    config = found.config(b"sesame")
    assert config == ServerConfig(
        ca=file.parent / "lab/ca.crt",
        cert=Path("/etc/server.crt"),
        key=file.parent / "lab/server.key",
        db=file.parent / "lab/chat.db",
        host="0.0.0.0",
        port=9000,
        rooms=("ops", "lobby"),
        mode="plain",
        registration="open",
        durability="process",
        limits=Limits(text_size=100),
        passphrase=b"sesame",
    )
    assert found.values["passphrase_file"] == "-"


def test_every_option_of_the_command_line_can_be_in_the_file() -> None:
    mere = {"help", "config", "check", "print_config", "debug"}
    assert set(vars(options())) - mere <= {setting.name for setting in SETTINGS}
    flags = {setting.flag for setting in SETTINGS if setting.flag}
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    assert flags <= set(parser._option_string_actions)


def test_a_flag_counts_before_the_file_and_the_file_before_the_default(file: Path) -> None:
    found = settle(options("--config", str(file), "--port", "1", "--room", "a", "--ca", "x/ca.crt"))
    config = found.config(None)
    assert (config.port, config.rooms, config.ca) == (1, ("a",), Path("x/ca.crt"))
    assert {name for name, origin in found.origins.items() if origin == "flag"} == {
        *("port", "rooms", "ca")
    }
    assert config.host == "0.0.0.0"
    plain = settle(options())
    assert set(plain.origins.values()) == {"default"}
    assert plain.config(None) == ServerConfig(ca=Path("pki/ca.crt"))


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, "serve", *words], cwd=folder, capture_output=True, text=True, timeout=30
    )


def test_print_config_is_a_file_that_says_the_same(file: Path) -> None:
    done = run(file.parent, "--config", "server.toml", "--print-config", "--host", "::1")
    assert done.returncode == 0, done.stderr
    assert 'host = "::1"  # flag' in done.stdout
    assert "port = 9000  # file" in done.stdout
    assert "text_size = 100  # file" in done.stdout
    assert "retention = 2592000.0  # default" in done.stdout
    again = file.with_name("again.toml")
    again.write_text(done.stdout)
    first = settle(options("--config", str(file), "--host", "::1")).config(None)
    assert settle(options("--config", str(again))).config(None) == first
    assert sorted(path.name for path in file.parent.iterdir()) == ["again.toml", "server.toml"]


def test_print_config_shows_no_passphrase(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("sesame\n")
    done = run(tmp_path, "--print-config", "--passphrase-file", "secret")
    assert 'passphrase_file = "secret"  # flag' in done.stdout
    assert "sesame" not in done.stdout + done.stderr
    config = attrs.asdict(settle(options()).config(b"sesame"), recurse=False)
    assert config["passphrase"] == b"sesame"


def test_check_starts_and_makes_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, "--check", "--room", "ops")
    assert (done.returncode, "is made on first start" in done.stderr) == (0, True)
    assert not list(tmp_path.iterdir())


def test_check_looks_at_the_files(own_people: People, tmp_path: Path) -> None:
    where = ("--ca", str(own_people.ca), "--check")
    done = run(tmp_path, *where)
    assert done.returncode == 0, done.stderr
    (own_people.folder / "server.key").chmod(0o644)
    done = run(tmp_path, *where)
    assert done.returncode == 78
    assert "others can read" in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("registratoin = 'open'", "did you mean `registration`?"),
        ("[limits]\ntext_sise = 1", "did you mean `text_size`?"),
        ("rooms = ['a b']", "a name has"),
        ("public_names = ['a:1']", "a:1"),
        ("port = 70000", "`port` is a number from 0 to 65535"),
        ("[limits]\nretention = -1", "`retention` is a number above zero"),
    ],
)
def test_check_tells_what_is_wrong_in_the_file(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "server.toml").write_text(text)
    done = run(tmp_path, "--config", "server.toml", "--check")
    assert (done.returncode, said in done.stderr) == (78, True), done.stderr


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        settle(options("--config", str(tmp_path / "none.toml")))
