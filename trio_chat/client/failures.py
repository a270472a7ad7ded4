"""Errors that a client raises by itself, each made anew for each that waits."""

from __future__ import annotations

from trio_chat.errors import ChatError, Disconnected, NotMember, NotTrusted, Unreachable

__all__ = ["answered_amiss", "closed", "device_changed", "left", "lost", "not_as_made", "not_plain"]


def left(room: str) -> ChatError:
    """A room was left."""
    return NotMember(f"{room} was left", room=room)


def not_plain(room: str) -> ChatError:
    """A room that was encrypted is said to be plain."""
    return NotTrusted(
        f"the server says that {room} is plain, and it has been encrypted; it was not entered",
        hint="ask whoever runs the server; nothing was sent",
    )


def answered_amiss() -> ChatError:
    """The answer fits no question."""
    return Unreachable("the server answered something else", hint="look whether it happened")


def lost() -> ChatError:
    """The connection is gone, and it is not known whether it was done."""
    return Unreachable("connection lost before the answer", hint="look whether it happened")


def device_changed() -> ChatError:
    """The device is another one by now."""
    return Unreachable(
        "the certificate's key changed while this was under way", hint="look whether it arrived"
    )


def closed() -> ChatError:
    """The program has closed the client."""
    return Disconnected("the client is closed")


def not_as_made(room: str, access: str) -> ChatError:
    """Return that the server says of a room that it is not what we have made."""
    return NotTrusted(
        f"{room} was made encrypted and {access}, and the server says otherwise",
        hint="ask whoever runs the server; nothing was sent",
    )
