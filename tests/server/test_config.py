"""`trio_chat.server.config`: options as values, and the TOML file they may come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from trio_chat.errors import BadName, ConfigError
from trio_chat.server import FileConfig, ServerConfig, read_config


def read(tmp_path: Path, text: str) -> FileConfig:
    path = tmp_path / "server.toml"
    path.write_text(text)
    return read_config(path)


def test_paths_left_out_lie_beside_the_authority() -> None:
    config = ServerConfig(ca=Path("pki/ca.crt"))
    assert (config.cert, config.key) == (Path("pki/server.crt"), Path("pki/server.key"))
    assert (config.db, config.crl) == (Path("pki/chat.db"), Path("pki/ca.crl"))
    assert (config.host, config.port) == ("127.0.0.1", 8443)


def test_rooms_have_names() -> None:
    with pytest.raises(BadName):
        ServerConfig(ca=Path("ca.crt"), rooms=("a b",))


def test_the_passphrase_is_not_shown() -> None:
    assert "sesame" not in repr(ServerConfig(ca=Path("ca.crt"), passphrase=b"sesame"))


def test_a_file_sets_limits_by_their_names(tmp_path: Path) -> None:
    found = read(tmp_path, 'durability = "process"\n[limits]\ntext_size = 10\ninput_rate = 2.5\n')
    assert found.options["durability"] == "process"
    assert (found.limits.text_size, found.limits.input_rate) == (10, 2.5)
    assert read(tmp_path, "") == FileConfig()


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("[limits]\ntext_sise = 1", "text_sise", "`text_size`"),
        ("limit = 1", "limit", "`limits`"),
        ("zzz = 1", "zzz", "durability, host"),
        ("[limits]\ntext_size = 0", "`text_size` is a whole number above zero", ""),
        ("[limits]\ntext_size = 1.5", "`text_size` is a whole number", ""),
        ('[limits]\ninput_rate = "5"', "`input_rate` is a number above zero", ""),
        ("limits = 5", "`limits` is a table", ""),
        ('durability = "none"', "`durability`", ""),
        ("registrations = 1", "registrations", "`registration`"),
        ("port = true", "`port` is a number from 0 to 65535", ""),
        ("port = 65536", "`port` is a number from 0 to 65535", ""),
        ('rooms = "lobby"', "`rooms` is a list of texts", ""),
        ("rooms = [1]", "`rooms` is a list of texts", ""),
        ('ca = ""', "`ca` is a path", ""),
        ('verbose = "yes"', "`verbose` is true or false", ""),
        ('registration = "all"', '`registration` is "closed", "invite" or "open"', ""),
        ("= 5", "not TOML", ""),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, text: str, said: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)
    assert "server.toml" in str(caught.value)
    assert hint in caught.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml"):
        read_config(tmp_path / "nothing.toml")
