"""Frames of people and who looks after them: accounts, devices, and orders of admins."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import attrs
import msgspec

from trio_chat.protocol.fields import Id

__all__ = [
    "Administer",
    "Administered",
    "ChangePassword",
    "Devices",
    "ListDevices",
    "Login",
    "OwnDevice",
    "Register",
    "RevokeDevice",
]

Password = Annotated[str, msgspec.Meta(max_length=1024)]


@attrs.frozen
class Administer:
    """Give the server an order; only for admins."""

    type: ClassVar[str] = "admin"
    command: Annotated[str, msgspec.Meta(max_length=64)]
    arguments: dict[str, Any] | None = attrs.field(default=None, repr=False)
    id: Id | None = None


@attrs.frozen(kw_only=True)
class Register:
    """Take a name, with a password, and have a key certified for it."""

    type: ClassVar[str] = "register"
    user: str
    password: Password = attrs.field(repr=False)
    csr: str = attrs.field(repr=False)  # PEM; only the key is taken from it
    secret: str | None = attrs.field(default=None, repr=False)  # an invite's
    device: str | None = None  # a name for the machine
    id: Id | None = None


@attrs.frozen(kw_only=True)
class Login:
    """Have a key certified for a name that one has a password for."""

    type: ClassVar[str] = "login"
    user: str
    password: Password = attrs.field(repr=False)
    csr: str = attrs.field(repr=False)
    device: str | None = None
    id: Id | None = None


@attrs.frozen(kw_only=True)
class ChangePassword:
    """Have another password from now on."""

    type: ClassVar[str] = "passwd"
    old: Password = attrs.field(repr=False)
    new: Password = attrs.field(repr=False)
    id: Id | None = None


@attrs.frozen(kw_only=True)
class ListDevices:
    """Ask which devices one has; an admin may ask for anybody's."""

    type: ClassVar[str] = "devices"
    user: str | None = None
    id: Id | None = None


@attrs.frozen(kw_only=True)
class RevokeDevice:
    """Put the certificates of another device of one's own on the revocation list."""

    type: ClassVar[str] = "revoke"
    device: Annotated[str, msgspec.Meta(max_length=64)]
    user: str | None = None
    id: Id | None = None


@attrs.frozen(kw_only=True)
class Administered:
    """The answer to `admin`: its result, or why it was not done and what to do next."""

    type: ClassVar[str] = "admin"
    result: dict[str, Any] | None = None
    failure: str | None = None
    hint: str | None = None
    id: str | None = None


@attrs.frozen(kw_only=True)
class OwnDevice:
    """A key of a person, and the newest certificate for it."""

    device: str  # the beginning of its ids on the wire
    serial: str  # hexadecimal, with 0x
    here: bool
    name: str | None = None
    until: float | None = None  # seconds since 1970; absent where the server does not know


@attrs.frozen(kw_only=True)
class Devices:
    """The answer to `devices`."""

    type: ClassVar[str] = "devices"
    user: str
    devices: list[OwnDevice]
    id: str | None = None
