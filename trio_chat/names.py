"""Names of people, rooms and devices: one rule, checked wherever a name enters.

A name is also a file name and a log field, so it is short and plain. Two names are the
same when their *keys* are: NFC, case-folded. May know nothing but text.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NewType

from trio_chat.errors import BadName

__all__ = [
    "PLAIN_DIRECT",
    "RESERVED",
    "RULE",
    "Key",
    "check_device",
    "check_name",
    "check_user",
    "direct_room",
    "is_direct",
    "key",
    "peer_of",
]

Key = NewType("Key", str)
"""A name folded for comparison: the identity behind its spellings."""

RULE = (
    "a name has 1 to 32 letters and digits of one script, '.', '_' or '-', "
    "and starts with a letter or digit"
)
RESERVED = frozenset({"god", "ca", "server", "admin"})

PLAIN_DIRECT = "@"
"""What the names of plain two-person rooms begin with, which are not made any more."""

_LONGEST = 320  # code points; no spelling of a name, or of a two-person room, has more
_PUNCTUATION = frozenset("._-")
_ASCII = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", re.ASCII)
_DEVICE = re.compile(r"[A-Za-z0-9]{1,32}", re.ASCII)
# Vowel signs and the like, which letters of many scripts cannot be written without.
_MARKS = frozenset({"Mn", "Mc"})
# Letters and marks that show nothing: with them two names would look the same, or like none.
_UNSEEN = frozenset("\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f")
# Scripts that are written together count as one.
_TOGETHER = {"HIRAGANA": "CJK", "KATAKANA": "CJK"}


def key(name: str) -> Key:
    """Fold `name` for comparison: NFC, case-folded.

    What is too long to be anybody's name, and not ASCII, is its own key: NFC takes time that
    grows with the square of a text's combining marks, seconds for what fits into one frame.
    """
    if name.isascii():
        return Key(name.lower())
    if len(name) > _LONGEST:
        return Key(name)
    return Key(unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()))


def check_name(name: str) -> str:
    """Return `name` in NFC, or raise `BadName` with the rule.

    For rooms and device names; `check_user` refuses the reserved ones as well.
    """
    if _ASCII.fullmatch(name):
        return name  # as most are, and those that come in a storm of connections
    if len(name) > _LONGEST:
        raise BadName(RULE)
    name = unicodedata.normalize("NFC", name)
    if not 1 <= len(name) <= 32 or name != unicodedata.normalize("NFKC", name):
        raise BadName(RULE)
    if not name[0].isalnum():
        raise BadName(RULE)
    letters = [c for c in name if c not in _PUNCTUATION and c not in "0123456789"]
    if not all(c.isalpha() or unicodedata.category(c) in _MARKS for c in letters):
        raise BadName(RULE)
    if len({_script(c) for c in letters}) > 1 or not _UNSEEN.isdisjoint(letters):
        raise BadName(RULE)
    return name


def check_user(name: str) -> str:
    """Return `name` in NFC if a person may bear it, or raise `BadName`."""
    name = check_name(name)
    if key(name) in RESERVED:
        raise BadName(f"the name {name} is reserved; choose another")
    return name


def check_device(device: str) -> str:
    """Return the device id of a `hello` (at most 32 ASCII letters and digits)."""
    if not _DEVICE.fullmatch(device):
        raise BadName("a device id has 1 to 32 ASCII letters and digits")
    return device


def direct_room(one: str, other: str) -> str:
    """Name the two-person room of two people: `~` and their sorted keys.

    `+`, `~` and `@` cannot occur in a name, so no other room can be called that.
    """
    return "~" + "+".join(sorted((key(one), key(other))))


def is_direct(room: str) -> bool:
    """Is this the name of a two-person room, of today's or of those that were plain?"""
    return room.startswith(("~", PLAIN_DIRECT))


def peer_of(room: str, user: str) -> Key | None:
    """Return the key of the other person in a two-person room, or None.

    None when `room` is no well-formed two-person room or `user` is not one of the two.
    """
    people = room[1:].split("+")
    if not is_direct(room) or len(people) != 2 or people != sorted(people):
        return None
    mine = key(user)
    if mine not in people:
        return None
    people.remove(mine)
    return Key(people[0])


def _script(character: str) -> str:
    script = unicodedata.name(character, "UNKNOWN").split(" ")[0]
    return _TOGETHER.get(script, script)
