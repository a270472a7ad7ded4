"""Every error of trio-chat, in one tree; wire codes and classes are one table.

    ChatError
    ├── ProtocolError        the peer sent what is no frame, or not now
    │   └── TooLong          ... a line over the limit: nothing after it can be read
    ├── Refused              the server says no: one class per wire code, below
    ├── Unreachable          nobody answers there, or TLS failed: the sentence says why
    │   ├── NotTrusted       what answers is not the server we want
    │   └── CertificateRefused   the server does not take our certificate
    ├── Disconnected         the connection is over and will not come back by itself
    ├── Unsent               what was wanted in an encrypted room has not happened
    ├── ConfigError          a file or an option is wrong: ours or the user's fault
    └── StoreError           the database cannot be read or written
        └── StoreInUse       another process has it open

The text of an error says what happened and `hint` what to do next. No message text,
password or key is ever put into one.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "CODES",
    "BadFrame",
    "BadName",
    "Banned",
    "CertificateRefused",
    "ChatError",
    "ConfigError",
    "CrlUnusable",
    "Disconnected",
    "Duplicate",
    "Forbidden",
    "HelloFirst",
    "InviteRefused",
    "LoginRefused",
    "Muted",
    "NameTaken",
    "NoBlob",
    "NoEnrolment",
    "NoGroup",
    "NoRoom",
    "NoUser",
    "NoWelcome",
    "NotMember",
    "NotTrusted",
    "OutOfOrder",
    "ProtocolError",
    "Refused",
    "Revoked",
    "RoomExists",
    "Stale",
    "StoreError",
    "StoreInUse",
    "StoreUnavailable",
    "TextTooLong",
    "TooLong",
    "TooMany",
    "UnknownType",
    "Unreachable",
    "Unsent",
    "WrongCertificate",
    "WrongMode",
    "WrongPassword",
    "WrongProtocol",
]


class ChatError(Exception):
    """Anything that can go wrong in trio-chat.

    Attributes:
        hint: What to do next, in the words of a command line, or an empty string.
    """

    hint: str = ""

    def __init__(self, text: str = "", *, hint: str = "") -> None:
        super().__init__(text)
        if hint:
            self.hint = hint


class ProtocolError(ChatError):
    """The peer sent what is no frame, or not now: the peer's fault.

    Attributes:
        code: The wire code that the peer is told.
        id: The `id` of the offending command where it could be read.
    """

    code: str = "bad-frame"

    def __init__(self, text: str = "", *, code: str = "bad-frame", id: str | None = None) -> None:  # noqa: A002 - the wire's word
        super().__init__(text)
        self.code = code
        self.id = id


class TooLong(ProtocolError):
    """A line over the limit: the connection cannot go on."""

    def __init__(self, text: str) -> None:
        super().__init__(text, code="too-long")


class Unreachable(ChatError):
    """Nobody answers at that address, or TLS failed for the reason given."""


class NotTrusted(Unreachable):
    """What answers there is not proven to be the server."""


class CertificateRefused(Unreachable):
    """The server does not accept our certificate."""


class Disconnected(ChatError):
    """The connection is over for good: closed by us, taken over, or the server ended it."""


class Unsent(ChatError):
    """It was not said, or not done, in an encrypted room; the text says why."""


class ConfigError(ChatError):
    """A file, an option or a value in it is wrong; the text names it."""


class StoreError(ChatError):
    """The database cannot be read or written."""


class StoreInUse(StoreError):
    """Another process has it open; perhaps not for long."""


class Refused(ChatError):
    """The server says no. The same classes on both sides of the wire.

    Attributes:
        code: The wire code.
        room, n, expected, last, epoch, seq, retry_after: As in the `error` frame, where given.
        id: That of the command, where the refusal ends the connection.
    """

    code: ClassVar[str] = "refused"
    id: str | None = None

    def __init__(
        self,
        text: str = "",
        *,
        room: str | None = None,
        n: int | None = None,
        expected: int | None = None,
        last: int | None = None,
        epoch: int | None = None,
        seq: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(text)
        self.room = room
        self.n = n
        self.expected = expected
        self.last = last
        self.epoch = epoch
        self.seq = seq
        self.retry_after = retry_after


class BadFrame(Refused):
    """The line is no JSON object of the shape its type wants."""

    code = "bad-frame"


class UnknownType(Refused):
    """The server knows no frame of that type."""

    code = "unknown-type"


class LineTooLong(Refused):
    """The line is longer than the server reads; the connection is closed."""

    code = "too-long"


class HelloFirst(Refused):
    """`hello` comes first and once."""

    code = "hello-first"


class WrongProtocol(Refused):
    """The server does not speak the protocol version asked for."""

    code = "protocol"


class BadName(Refused):
    """The name breaks the rule for names, which the text quotes."""

    code = "bad-name"


class NoRoom(Refused):
    """There is no such room, or none for whoever asks."""

    code = "no-room"


class RoomExists(Refused):
    """There is such a room already."""

    code = "room-exists"


class NoUser(Refused):
    """Nobody of that name is known, or here."""

    code = "no-user"


class NotMember(Refused):
    """That wants a room joined first."""

    code = "not-member"


class Forbidden(Refused):
    """One may not do that."""

    code = "forbidden"


class Banned(Refused):
    """One is banned, from a room or from the server; `retry_after` says for how long yet."""

    code = "banned"


class Muted(Refused):
    """One may say nothing, in a room or anywhere; `retry_after` says for how long yet."""

    code = "muted"


class WrongPassword(Refused):
    """The room wants a password, or another one."""

    code = "password"


class OutOfOrder(Refused):
    """A counter was skipped: `expected` is the one that comes next."""

    code = "out-of-order"


class Duplicate(Refused):
    """A counter was used before: `last` is the last one accepted."""

    code = "duplicate"


class TextTooLong(Refused):
    """The text is longer than the server takes."""

    code = "text-too-long"


class TooMany(Refused):
    """A limit on how many of something is reached."""

    code = "too-many"


class Revoked(Refused):
    """The certificate is on its issuer's revocation list."""

    code = "revoked"


class CrlUnusable(Refused):
    """The server's revocation list is missing, unreadable or expired: nobody new gets in."""

    code = "crl"


class WrongCertificate(Refused):
    """The certificate cannot be used for chat: its name or its usage is wrong."""

    code = "certificate"


class InviteRefused(Refused):
    """The invite is unknown, spent or expired."""

    code = "invite"


class NoEnrolment(Refused):
    """The server cannot issue certificates."""

    code = "no-enrolment"


class NameTaken(Refused):
    """Somebody has that name already."""

    code = "taken"


class LoginRefused(Refused):
    """There is no such account, or the password is another one."""

    code = "login"


class StoreUnavailable(Refused):
    """The server cannot write its log now; nothing of the command has happened."""

    code = "store"


class WrongMode(Refused):
    """That is for rooms of the other mode: plain, or encrypted."""

    code = "mode"


class Stale(Refused):
    """A commit was faster: the room is at `epoch` now, and `seq` is its newest number."""

    code = "stale"


class NoBlob(Refused):
    """There is no such blob in the room."""

    code = "no-blob"


class NoGroup(Refused):
    """Nobody has begun the room's group yet."""

    code = "no-group"


class NoWelcome(Refused):
    """There is no Welcome for this device in the room."""

    code = "no-welcome"


CODES: dict[str, type[Refused]] = {
    kind.code: kind
    for kind in (
        BadFrame,
        UnknownType,
        LineTooLong,
        HelloFirst,
        WrongProtocol,
        BadName,
        NoRoom,
        RoomExists,
        NoUser,
        NotMember,
        Forbidden,
        Banned,
        Muted,
        WrongPassword,
        OutOfOrder,
        Duplicate,
        TextTooLong,
        TooMany,
        Revoked,
        CrlUnusable,
        WrongCertificate,
        StoreUnavailable,
        WrongMode,
        Stale,
        NoBlob,
        NoGroup,
        NoWelcome,
        InviteRefused,
        NoEnrolment,
        NameTaken,
        LoginRefused,
    )
}
"""Wire code -> class, in the order of docs/protocol.md."""
