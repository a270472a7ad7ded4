"""What moderation looks like: entries of logs, and lists of bans, in words. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from trio_chat.protocol.frames import Acted, Kicked, ModeChanged, RoleChanged, SanctionInfo
from trio_chat.text import SafeText, safe
from trio_chat.ui import render

if TYPE_CHECKING:
    from trio_chat.ui.render import Line, Reader

__all__ = ["sanctions", "words"]

_CHANGES = {
    "ban": "has banned {}",
    "unban": "has ended the ban of {}",
    "mute": "has muted {}",
    "unmute": "has ended the mute of {}",
    "invite": "has invited {}",
}
_MASTER_KEY = "has come in as an admin, without invitation or password"


def words(event: Acted, reader: Reader) -> str:
    """Return what an entry says, in one line; names and reasons are cleaned."""
    who = _who(event.sender)
    match event:
        case Kicked():
            return f"{who} has put {safe(event.user, 64)} out{_why(event.reason)}"
        case RoleChanged():
            return f"{who} has made {safe(event.user, 64)} {_role(event.role)}"
        case ModeChanged(change="master-key"):
            return f"{who} {_MASTER_KEY}"
        case ModeChanged():
            said = _CHANGES.get(event.change, "has changed something about {}")
            whom = _whom(event.user, event.whose)
            where = " everywhere" if event.everywhere else ""
            return (
                f"{who} {said.format(whom)}{where}{_until(event.until, reader)}{_why(event.reason)}"
            )


def sanctions(found: Iterable[SanctionInfo], reader: Reader) -> list[Line]:
    """Return bans and mutes, one line each."""
    lines: list[Line] = []
    for each in found:
        whom = _whom(each.user, each.device) if each.address is None else safe(each.address, 64)
        kind = "banned" if each.kind == "ban" else "muted"
        end = _until(each.until, reader)
        text = f"{whom} is {kind}{end}, by {_who(each.by)}{_why(each.reason)}"
        lines += render.result(text)
    return lines or render.result("nobody is banned or muted here")


def _who(name: str) -> str:
    return "whoever runs the server" if name == "server" else safe(name, 64)


def _whom(user: str | None, device: str | None) -> str:
    if user is None:
        return "an address"
    return f"{safe(user, 64)}'s device {safe(device, 64)}" if device else safe(user, 64)


def _role(role: str) -> str:
    articles = {"owner": "an owner", "moderator": "a moderator", "member": "a member like others"}
    return articles.get(role, safe(role, 32))


def _until(until: float | None, reader: Reader) -> str:
    if until is None:
        return ""
    _, clock = reader.clock(until)
    return f" until {reader.day(until)} {clock.strip()}"


def _why(reason: str | None) -> SafeText:
    return SafeText(f": {safe(reason, 256)}" if reason else "")
