"""Certificates that were got by enrolling: which one belongs to which server.

In the platform's folder for data, one folder a server and beneath it one an invite:

    servers/HOST_PORT/current       which of them counts, and the server's pinned key
    servers/HOST_PORT/ID/own.key    made here, before anything is asked; never leaves
    servers/HOST_PORT/ID/own.crt    what was issued for it
    servers/HOST_PORT/ID/ca.crt     whom to trust

A folder counts once `current` names it, which is written last; what counted before stays
where it is. May know files and addresses, no network.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import attrs

from trio_chat.address import Address
from trio_chat.errors import ConfigError
from trio_chat.files import create_private, read_private, replace_file

__all__ = ["Folder", "Remembered", "data_folder", "recall"]


@attrs.frozen(kw_only=True)
class Remembered:
    """What is kept of a server: as who to come, whom to trust."""

    cert: Path
    key: Path
    ca: Path
    pin: str | None  # of the server's key, where its certificate is not for that address


def data_folder() -> Path:
    """Return where certificates are kept: `$XDG_DATA_HOME/trio-chat` on Linux."""
    import platformdirs

    return platformdirs.user_data_path("trio-chat", appauthor=False)


def recall(address: Address, folder: Path | None = None) -> Remembered | None:
    """Return what is kept of the server at `address`, None if nothing is.

    Args:
        address: As it was typed when one enrolled.
        folder: In place of the data folder.

    Raises:
        ConfigError: something is kept and cannot be read.
    """
    server = _server(address, folder)
    try:
        found = json.loads((server / "current").read_bytes())
        name, pin = found["folder"], found["pin"]
        if not re.fullmatch("[0-9a-f]{16}", name) or not isinstance(pin, str | None):
            raise ValueError
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"cannot read {server / 'current'}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError(
            f"{server / 'current'} is damaged", hint="name your certificate with --cert and --key"
        ) from None
    return _in(server / name, pin)


@attrs.frozen
class Folder:
    """Where one invite's key and certificate are kept."""

    path: Path

    @classmethod
    def of(cls, address: Address, secret: bytes, folder: Path | None = None) -> Folder:
        """Return the folder for an invite: the same one whenever it is tried again."""
        name = hashlib.sha256(b"trio-chat folder\0" + secret).hexdigest()[:16]
        return cls(_server(address, folder) / name)

    def key(self, new: bytes) -> bytes:
        """Keep the key `new` in PEM, or return the one that an earlier attempt has left.

        Raises:
            ConfigError: it cannot be kept, or others can read it.
        """
        servers = self.path.parent.parent
        for folder in (servers.parent, servers, self.path.parent, self.path):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(f"cannot make the folder {folder}: {error.strerror}") from None
        key = self.path / "own.key"
        try:
            create_private(key, new)
        except ConfigError:
            if not key.exists():
                raise
        return read_private(key)

    @property
    def is_complete(self) -> bool:
        """Was a certificate got and kept here?"""
        return (self.path / "own.crt").exists()

    def keep(self, certificate: bytes, ca: bytes, pin: str | None) -> Remembered:
        """Keep what was got, in PEM, and have it count from now on.

        Raises:
            ConfigError: it cannot be written.
        """
        pinned = json.dumps(pin).encode()
        for name, data in (("ca.crt", ca), ("pin", pinned), ("own.crt", certificate)):
            replace_file(self.path / name, data, mode=0o600)
        return self.choose()

    def choose(self) -> Remembered:
        """Have what was kept here count from now on.

        Raises:
            ConfigError: it cannot be read or written.
        """
        try:
            pin = json.loads((self.path / "pin").read_bytes())
        except (OSError, ValueError):
            raise ConfigError(f"cannot read {self.path / 'pin'}") from None
        current = json.dumps({"folder": self.path.name, "pin": pin}).encode()
        replace_file(self.path.parent / "current", current, mode=0o600)
        return _in(self.path, pin)


def _in(folder: Path, pin: str | None) -> Remembered:
    return Remembered(
        cert=folder / "own.crt", key=folder / "own.key", ca=folder / "ca.crt", pin=pin
    )


def _server(address: Address, folder: Path | None) -> Path:
    """Return the folder of a server; its name can be read, and is no path."""
    host = re.sub(r"[^a-z0-9.-]", "-", address.host.rstrip(".").lower())
    return (folder or data_folder()) / "servers" / f"{host}_{address.port}"
