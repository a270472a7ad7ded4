"""The frames of what is beside the log, both ways: what devices need to be one group.

Key packages, blobs, the newest commit's group info, Welcomes, the revocation list. The server
keeps and hands out what it does not look into.
"""

from __future__ import annotations

from typing import ClassVar

import attrs

from trio_chat.protocol.fields import Base64, Digest, Id, Number

__all__ = [
    "Blob",
    "ClaimPackages",
    "Crl",
    "CrlChanged",
    "DevicePackage",
    "GetBlob",
    "GetCrl",
    "GetInfo",
    "GetWelcome",
    "Info",
    "KeyPackages",
    "MlsWelcome",
    "Packages",
    "PublishPackages",
    "PutBlob",
]

# From client to server


@attrs.frozen
class PublishPackages:
    """Leave key packages of this device with the server, each to be given out once.

    `last` is given out when there are no others, and stays. Without any of both it asks.
    """

    type: ClassVar[str] = "kp.publish"
    packages: list[Base64] = attrs.field(repr=False)
    last: Base64 | None = attrs.field(default=None, repr=False)
    id: Id | None = None


@attrs.frozen
class ClaimPackages:
    """Take one key package of each device of a person."""

    type: ClassVar[str] = "kp.claim"
    user: str
    id: Id | None = None


@attrs.frozen(kw_only=True)
class PutBlob:
    """Upload a part of a blob, which a commit of this connection will name."""

    type: ClassVar[str] = "blob.put"
    room: str
    blob: Digest
    size: Number  # bytes, of all of it
    offset: Number
    data: Base64 = attrs.field(repr=False)
    id: Id | None = None


@attrs.frozen(kw_only=True)
class GetBlob:
    """Ask for a blob of a room, from `offset` on."""

    type: ClassVar[str] = "blob.get"
    room: str
    blob: Digest
    offset: Number
    id: Id | None = None


@attrs.frozen
class GetInfo:
    """Ask for what the newest commit of a room says of the group."""

    type: ClassVar[str] = "info.get"
    room: str
    id: Id | None = None


@attrs.frozen
class GetWelcome:
    """Ask for the newest Welcome for this device in a room."""

    type: ClassVar[str] = "welcome.get"
    room: str
    id: Id | None = None


@attrs.frozen
class GetCrl:
    """Ask for the revocation list."""

    type: ClassVar[str] = "crl.get"
    id: Id | None = None


# From server to client


@attrs.frozen(kw_only=True)
class KeyPackages:
    """The answer to `kp.publish`: how many are kept, the last resort not counted."""

    type: ClassVar[str] = "key-packages"
    count: Number
    id: str | None = None


@attrs.frozen(kw_only=True)
class DevicePackage:
    """A device's key package; `last`: the one of last resort, which others get too."""

    device: str
    package: Base64 = attrs.field(repr=False)
    last: bool


@attrs.frozen(kw_only=True)
class Packages:
    """The answer to `kp.claim`."""

    type: ClassVar[str] = "packages"
    user: str
    packages: list[DevicePackage]
    id: str | None = None


@attrs.frozen(kw_only=True)
class Blob:
    """The answer to `blob.get`: the part that begins at `offset`."""

    type: ClassVar[str] = "blob"
    room: str
    blob: Digest
    size: Number
    offset: Number
    data: Base64 = attrs.field(repr=False)
    id: str | None = None


@attrs.frozen(kw_only=True)
class Info:
    """The answer to `info.get`."""

    type: ClassVar[str] = "info"
    room: str
    epoch: Number  # that the commit began
    seq: Number  # the commit's
    body: Base64 = attrs.field(repr=False)
    tree: Digest
    id: str | None = None


@attrs.frozen(kw_only=True)
class MlsWelcome:
    """The answer to `welcome.get`."""

    type: ClassVar[str] = "mls-welcome"
    room: str
    epoch: Number  # that the commit began
    seq: Number  # the commit's
    body: Base64 = attrs.field(repr=False)
    tree: Digest
    id: str | None = None


@attrs.frozen
class Crl:
    """The answer to `crl.get`: the list in force, in PEM, if there is one."""

    type: ClassVar[str] = "crl"
    crl: str | None = attrs.field(default=None, repr=False)
    id: str | None = None


@attrs.frozen
class CrlChanged:
    """There is another revocation list."""

    type: ClassVar[str] = "crl-changed"
