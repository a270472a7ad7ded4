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

__all__ = [
    "SETTINGS",
    "Durability",
    "FileConfig",
    "Registration",
    "ServerConfig",
    "Setting",
    "read_config",
]

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
class Setting:
    """An option of `serve`, as a configuration file has it.

    Attributes:
        name: Its key in the file.
        flag: The same on the command line; empty where there is none.
        kind: What its value is.
        default: What counts where nothing is said; None is what `meaning` says.
        choices: The values it may have, if they are few.
    """

    name: str
    flag: str
    kind: Literal["path", "text", "texts", "port", "choice", "switch"]
    default: Any = None
    choices: tuple[str, ...] = ()
    meaning: str

    def read(self, value: Any, folder: Path) -> Any:
        """Return a value that a file in `folder` gives.

        Raises:
            ValueError: it is none of that kind; the text says which it is.
        """
        match self.kind, value:
            case "path", str() if value:
                return value if value == "-" else folder / value
            case ("text", str()) | ("switch", bool()):
                return value
            case "texts", list() if all(isinstance(each, str) for each in value):
                return list(value)
            case "port", int() if not isinstance(value, bool) and 0 <= value < 65536:
                return value
            case "choice", str() if value in self.choices:
                return value
        raise ValueError(self.wanted)

    @property
    def wanted(self) -> str:
        """What its value is, in words."""
        words = {
            "path": "a path",
            "text": "a text",
            "texts": "a list of texts",
            "port": "a number from 0 to 65535",
            "switch": "true or false",
        }
        if self.kind in words:
            return words[self.kind]
        *others, last = (f'"{each}"' for each in self.choices)
        return f"{', '.join(others)} or {last}"


SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="ca",
        flag="--ca",
        kind="path",
        default=Path("pki/ca.crt"),
        meaning="the CA's certificate; what is not named lies beside it",
    ),
    Setting(
        name="cert",
        flag="--cert",
        kind="path",
        meaning="the server's certificate; `server.crt` beside the CA",
    ),
    Setting(
        name="key", flag="--key", kind="path", meaning="its private key; `server.key` beside the CA"
    ),
    Setting(
        name="passphrase_file",
        flag="--passphrase-file",
        kind="path",
        meaning="has the key's passphrase in its first line; `-` is standard input. Without "
        "it, the terminal is asked where one is needed",
    ),
    Setting(name="db", flag="--db", kind="path", meaning="the database; `chat.db` beside the CA"),
    Setting(
        name="host",
        flag="--host",
        kind="text",
        default="127.0.0.1",
        meaning="the address to listen on",
    ),
    Setting(
        name="port",
        flag="--port",
        kind="port",
        default=8443,
        meaning="the port to listen on; 0 is any",
    ),
    Setting(
        name="public_names",
        flag="--public-name",
        kind="texts",
        default=[],
        meaning="what people call this machine, for the certificate made on first start",
    ),
    Setting(
        name="rooms",
        flag="--room",
        kind="texts",
        default=[],
        meaning="rooms to have; they are made if they are not there",
    ),
    Setting(
        name="mode",
        flag="--plain",
        kind="choice",
        default="encrypted",
        choices=("encrypted", "plain"),
        meaning="what these rooms are made as: the server can read plain ones",
    ),
    Setting(
        name="registration",
        flag="--registration",
        kind="choice",
        default="invite",
        choices=("closed", "invite", "open"),
        meaning="who may register a name with a password: nobody, whoever is invited, anybody",
    ),
    Setting(
        name="durability",
        flag="",
        kind="choice",
        default="full",
        choices=("full", "process"),
        meaning="`full`: what is acknowledged survives a power cut; `process`: it survives the "
        "end of the process, however sudden",
    ),
    Setting(
        name="verbose",
        flag="--verbose",
        kind="switch",
        default=False,
        meaning="log every connection",
    ),
)
"""Every option of `serve` that a configuration file may have, beside `[limits]`."""


@attrs.frozen(kw_only=True)
class FileConfig:
    """What a configuration file says.

    Attributes:
        limits: Those of it, and defaults.
        named: The limits that it names.
        options: The settings that it names, by name; paths are relative to its folder.
    """

    limits: Limits = attrs.field(factory=Limits)
    named: frozenset[str] = frozenset()
    options: dict[str, Any] = attrs.field(factory=dict)


def read_config(path: Path) -> FileConfig:
    """Read a TOML file: the names of `SETTINGS`, and a table `[limits]` with those of `Limits`.

    Raises:
        ConfigError: it cannot be read, or has a key or value that does not belong there.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    known = {setting.name: setting for setting in SETTINGS}
    _only(found, {*known, "limits"}, path)
    table = found.pop("limits", {})
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: `limits` is a table, [limits]")
    _only(table, {field.name for field in attrs.fields(Limits)}, path)
    options = {}
    for name, value in found.items():
        try:
            options[name] = known[name].read(value, path.parent)
        except ValueError as error:
            raise ConfigError(f"{path}: `{name}` is {error}") from None
    return FileConfig(limits=_limits(table, path), named=frozenset(table), options=options)


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
