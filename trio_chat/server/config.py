"""What a server is told: options as values, and the TOML file they may come from."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, Literal

import attrs
from attrs import validators

from trio_chat import names
from trio_chat.errors import ConfigError
from trio_chat.limits import Limits
from trio_chat.protocol.fields import Mode

__all__ = ["Durability", "FileConfig", "Registration", "ServerConfig", "read_config"]

Durability = Literal["full", "process"]
"""`full`: what is acknowledged survives a power cut; `process`: it survives kill -9."""


Registration = Literal["closed", "invite", "open"]
"""Who may have an account by password: nobody new, whoever is invited, or anybody."""


def _room_names(given: Any) -> tuple[str, ...]:
    return tuple(names.check_name(name) for name in given)


@attrs.frozen(kw_only=True)
class ServerConfig:
    """Everything `serve` needs. Paths left out lie beside the CA's certificate.

    Attributes:
        ca: The authority's certificate; `ca.crl` beside it is its revocation list.
        cert, key: The server's own; default `server.crt` and `server.key`.
        db: The database; default `chat.db`. Its key file lies beside it.
        rooms: Rooms that are made if they are not there.
        mode: What these are then: encrypted, or plain, which the server can read.
        registration: Who may register a name with a password.
        passphrase: Of the private key, if that is encrypted.
    """

    ca: Path = attrs.field(converter=Path)
    cert: Path = attrs.field(converter=Path)
    key: Path = attrs.field(converter=Path)
    db: Path = attrs.field(converter=Path)
    host: str = "127.0.0.1"
    port: int = 8443
    rooms: tuple[str, ...] = attrs.field(default=(), converter=_room_names)
    mode: Mode = attrs.field(default="encrypted", validator=validators.in_(("encrypted", "plain")))
    limits: Limits = attrs.field(factory=Limits)
    durability: Durability = "full"
    registration: Registration = attrs.field(
        default="invite", validator=validators.in_(("closed", "invite", "open"))
    )
    passphrase: bytes | None = attrs.field(default=None, repr=False)

    @cert.default
    def _beside_cert(self) -> Path:
        return self.ca.parent / "server.crt"

    @key.default
    def _beside_key(self) -> Path:
        return self.ca.parent / "server.key"

    @db.default
    def _beside_db(self) -> Path:
        return self.ca.parent / "chat.db"

    @property
    def crl(self) -> Path:
        """The revocation list."""
        return self.ca.parent / "ca.crl"


@attrs.frozen(kw_only=True)
class FileConfig:
    """What a configuration file may say."""

    limits: Limits = attrs.field(factory=Limits)
    durability: Durability = "full"


def read_config(path: Path) -> FileConfig:
    """Read a TOML file: `durability`, and a table `[limits]` with the names of `Limits`.

    Raises:
        ConfigError: it cannot be read, or has a key or value that does not belong there.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    _only(found, {field.name for field in attrs.fields(FileConfig)}, path)
    table = found.get("limits", {})
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: `limits` is a table, [limits]")
    _only(table, {field.name for field in attrs.fields(Limits)}, path)
    durability = found.get("durability", "full")
    if durability not in ("full", "process"):
        raise ConfigError(f'{path}: `durability` is "full" or "process"')
    return FileConfig(limits=_limits(table, path), durability=durability)


def _limits(table: dict[str, Any], path: Path) -> Limits:
    for name, value in table.items():
        try:
            Limits(**{name: value})
        except (TypeError, ValueError):
            kind = "whole number" if isinstance(getattr(Limits(), name), int) else "number"
            raise ConfigError(f"{path}: `{name}` is a {kind} above zero") from None
    return Limits(**table)


def _only(found: dict[str, Any], known: set[str], path: Path) -> None:
    for name in found:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = (
                f"did you mean `{near[0]}`?" if near else f"it may say: {', '.join(sorted(known))}"
            )
            raise ConfigError(f"{path} has an unknown key `{name}`", hint=hint)
