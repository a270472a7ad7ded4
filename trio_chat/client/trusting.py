"""Who can read, and who they are to us: what is asked of a device's store and its rooms.

Synchronous, for the store's thread, in which everything that concerns encryption happens.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import attrs

from trio_chat import names
from trio_chat.e2ee.account import Account, at
from trio_chat.e2ee.conversation import Conversation
from trio_chat.e2ee.identity import DeviceIdentity
from trio_chat.e2ee.people import Number, Standing
from trio_chat.e2ee.trust import Person, epoch_words
from trio_chat.errors import Unsent

__all__ = [
    "RoomReader",
    "accept",
    "check_words",
    "numbers",
    "own_devices",
    "readers",
    "stand_by_own_key",
    "standing",
]


@attrs.frozen(kw_only=True)
class RoomReader:
    """A device that can read what is said in an encrypted room.

    Attributes:
        user: Whose it is, as their certificate says.
        device: Its name.
        standing: What we know of that user's key: see `Standing`.
        fingerprint: SHA-256 of that key, in hexadecimal.
        bot: Does the certificate say that no person sits there?
        own: Is it this very device?
    """

    user: str
    device: str
    standing: Standing
    fingerprint: str
    bot: bool = False
    own: bool = False


def readers(conversation: Conversation, now: float) -> list[RoomReader]:
    """Return who can read a room, by user and device; nobody while we cannot ourselves."""
    if conversation.membership.group is None:
        return []
    account = conversation.membership.account
    members = conversation.membership.members.values()
    return [_shown(account, one, now) for one in sorted(members, key=_order)]


def own_devices(account: Account, rooms: Iterable[Conversation], now: float) -> list[RoomReader]:
    """Return our user's devices in any of these rooms, this one first."""
    found = {account.identity.device_id: account.identity}
    for one in _members(rooms, account.identity.key):
        found.setdefault(one.device_id, one)
    return [_shown(account, one, now) for one in found.values()]


def _shown(account: Account, one: DeviceIdentity, now: float) -> RoomReader:
    shown = account.people.standing(one, at(now))
    return RoomReader(
        user=one.user,
        device=one.device_name,
        standing=shown.standing,
        fingerprint=one.fingerprint,
        bot=shown.bot,
        own=one.key == account.identity.key and one.device_id == account.identity.device_id,
    )


def _order(one: DeviceIdentity) -> tuple[str, str, bytes]:
    return one.key, one.device_name, one.device_id


def _members(rooms: Iterable[Conversation], user: names.Key) -> list[DeviceIdentity]:
    """Return a user's devices in the rooms that we can read."""
    return [
        one
        for room in rooms
        if room.membership.group is not None
        for one in room.membership.members.values()
        if one.key == user
    ]


def standing(account: Account, user: str) -> Standing:
    """Return what we know of somebody, by all of their keys; the worst counts."""
    return account.people.standing(names.key(user)).standing


def numbers(account: Account, rooms: Iterable[Conversation], user: str) -> list[Number]:
    """Return a safety number for each key of somebody, from the rooms that we share."""
    found = _members(rooms, names.key(user))
    return account.people.numbers(Person.of(account.identity), found)


def accept(
    account: Account,
    rooms: Iterable[Conversation],
    user: str,
    fingerprints: Collection[str] | None,
) -> list[str]:
    """Go on with somebody's new keys, or those of them that were shown; return which."""
    people, key = account.people, names.key(user)
    new = {
        one.fingerprint
        for one in _members(rooms, key)
        if people.standing(one).standing is Standing.CHANGED
    }
    found = new if fingerprints is None else new & {*fingerprints}
    people.accept(key, found)
    _write(account)
    return sorted(found)


def stand_by_own_key(account: Account) -> None:
    """Hold our own key for verified, once we are known to ourselves.

    So another machine under our name is not let in without a word. At the first look the keys of
    our other machines are taken as they are, like everybody's.
    """
    if account.people.standing(account.identity).standing in (
        Standing.CERTIFIED,
        Standing.CHANGED,
    ):
        account.people.verify(Person.of(account.identity))
        _write(account)


def _write(account: Account) -> None:
    found = account.people.to_write()
    if found:
        with account.store.event() as changes:
            for user, pin in found.items():
                changes.pin(user, pin)


def check_words(conversation: Conversation) -> tuple[str, ...]:
    """Return eight words that are the same for all who see the room's group as we do now.

    Raises:
        Unsent: We are not in it.
    """
    group = conversation.membership.group
    if group is None:
        raise Unsent("this device cannot read the room, so there is nothing to compare")
    return epoch_words(group.epoch_authenticator)
