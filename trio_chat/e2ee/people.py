"""The people whom a client meets: which keys it knows them by, and which were verified.

Two certificates with one name are one person, because the CA says so; a person has a key for
each machine that enrolled by itself. So what is kept of a person is a set of keys:

  * the keys that a person is first seen with are *known*: so it is with any first meeting;
  * a known key is *verified* once the people have compared it (`trust`);
  * another key, later, is *new*, until the user accepts it, or compares it, or a known key gives
    its word for it (`trust.Succession`), which counts as much as that key does;
  * somebody with a verified key and, in the same room, a new one is not to be written to there:
    whoever verified her relied on more than the CA's word, and a new key has nothing else.

It blocks for as long as it is there: once the device is out of the room, nothing does. Our own
name is no exception: if our key is verified, as it should be after the first look, a machine
that comes under our name waits for our word.

New keys are remembered no longer than the object lives: they are seen again, or gone. No I/O,
no clock, no storage: `to_write` says what `store` is to pin.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from itertools import groupby

import attrs
import msgspec

from trio_chat.e2ee.identity import DeviceIdentity
from trio_chat.e2ee.policy import MAX_DEVICES
from trio_chat.e2ee.trust import Person, Succession, safety_number
from trio_chat.errors import StoreError
from trio_chat.identity import BOT
from trio_chat.names import Key

__all__ = ["Change", "Number", "People", "Shown", "Standing"]


class Standing(enum.Enum):
    """What is known of a person, or of one device's user; of several, the worst counts."""

    VERIFIED = "verified"
    CERTIFIED = "certified"  # by the CA, and the same as at first sight
    UNKNOWN = "unknown"  # never seen
    EXPIRED = "expired"
    CHANGED = "changed"  # there is a new key


_ORDER = list(Standing)


@attrs.frozen
class Shown:
    """How to show somebody."""

    standing: Standing
    bot: bool = False


@attrs.frozen
class Change:
    """Somebody has a key that is new.

    Attributes:
        user: Who, for people to read.
        key: The same, folded.
        fingerprint: SHA-256 of the new key, in hexadecimal.
        devices: The names of the devices with it.
        blocks: Whether nothing can be written to them any more, since they were verified.
    """

    user: str
    key: Key
    fingerprint: str
    devices: tuple[str, ...]
    blocks: bool


@attrs.frozen
class Number:
    """A safety number with one of somebody's keys.

    Attributes:
        digits: As both sides see them.
        person: With whom, and which key.
        devices: The names of their devices with that key.
        standing: What that key is to us.
    """

    digits: str
    person: Person
    devices: tuple[str, ...]
    standing: Standing


_Pins = tuple[int, dict[str, bool]]  # the version; whether verified, by fingerprint
_VERSION = 1
_decoder: msgspec.msgpack.Decoder[_Pins] = msgspec.msgpack.Decoder(_Pins)


class People:
    """All the people one client knows."""

    def __init__(self, pins: Mapping[str, bytes]) -> None:
        """Begin with what was kept, by user.

        Raises:
            StoreError: It is not what `to_write` gave.
        """
        self._known = {Key(user): _decoded(data) for user, data in pins.items()}
        self._new: dict[Key, set[str]] = {}
        self._bots: dict[Key, bool] = {}
        self._unwritten: set[Key] = set()

    def sight(self, identities: Iterable[DeviceIdentity]) -> list[Change]:
        """Look at those in a room, all at once; return whose keys are new since the last look."""
        changes = []
        for user, devices in _by_user(identities).items():
            self._bots[user] = any(BOT in each.roles for each in devices)
            keys = {each.fingerprint for each in devices}
            if user not in self._known:
                self._pin(user, dict.fromkeys(keys, False))
                continue
            known, new = self._known[user], self._new.setdefault(user, set())
            for key in sorted(keys - known.keys() - new):
                those = [each for each in devices if each.fingerprint == key]
                blocks = any(known.values())
                changes.append(Change(those[0].user, user, key, _names(those), blocks))
            new |= keys - known.keys()
        return changes

    def vouch(self, user: Key, statement: Succession) -> bool:
        """Take a known key's word for another one; return whether that is known now.

        Args:
            user: Whose statement it is, by the certificate of who sent it.
            statement: Not by a key that was revoked: that, the caller knows.
        """
        old, person = Person(user, statement.old), Person(user, statement.new)
        known = self._known.get(user, {})
        verified = known.get(old.fingerprint)
        if verified is None:
            return False
        now = known.get(person.fingerprint)
        if now is None and len(known) >= MAX_DEVICES:
            return False
        if (now is None or now < verified) and statement.holds(user):
            self._pin(user, {person.fingerprint: verified})
        return person.fingerprint in known

    def accept(self, user: Key, fingerprints: Collection[str] | None = None) -> None:
        """The user goes on with somebody's new keys, which are not verified by that.

        Args:
            user: Whose.
            fingerprints: Only these, of what the user was shown; without, all that are new.
        """
        new = self._new.get(user, set())
        self._pin(
            user, dict.fromkeys(new if fingerprints is None else new & {*fingerprints}, False)
        )

    def verify(self, person: Person) -> None:
        """The people have compared that key."""
        self._pin(person.user, {person.fingerprint: True})

    def to_write(self) -> dict[str, bytes]:
        """Return what has changed since the last call, by user, to be pinned in the store."""
        found: dict[str, bytes] = {
            user: _encoded(self._known[user]) for user in sorted(self._unwritten)
        }
        self._unwritten.clear()
        return found

    def _pin(self, user: Key, keys: dict[str, bool]) -> None:
        if keys:
            self._known.setdefault(user, {}).update(keys)
            self._new.setdefault(user, set()).difference_update(keys)
            self._unwritten.add(user)

    # Showing

    def blocking(self, identities: Iterable[DeviceIdentity]) -> list[Key]:
        """Return who of those in a room keeps us from writing there, sorted; best nobody."""
        verified = {user for user, keys in self._known.items() if any(keys.values())}
        if not verified:
            return []
        return sorted(
            {
                each.key
                for each in identities
                if each.key in verified and each.fingerprint not in self._known[each.key]
            }
        )

    def standing(self, who: DeviceIdentity | Key, now: datetime | None = None) -> Shown:
        """Return how to show a device's user, or a person by all of their keys.

        Args:
            who: One or the other.
            now: The time, if what is over is to be shown as such; of devices only.
        """
        if isinstance(who, DeviceIdentity):
            expired = now is not None and now > who.expiry
            standing = self._of_key(who.key, who.fingerprint)
            if expired and standing is not Standing.CHANGED:
                standing = Standing.EXPIRED
            return Shown(standing, BOT in who.roles)
        keys = {*self._known.get(who, ()), *self._new.get(who, ())}
        found = [self._of_key(who, key) for key in keys] or [Standing.UNKNOWN]
        return Shown(max(found, key=_ORDER.index), self._bots.get(who, False))

    def numbers(self, me: Person, identities: Iterable[DeviceIdentity]) -> list[Number]:
        """Return a safety number for each key of these people's devices.

        Each is that of two machines, ours and one of theirs, and it is on that one that it is
        seen: who has two machines has two numbers, to be told apart by the names of the devices.
        """
        found = []
        for devices in _by_user(identities).values():
            for _, group in groupby(devices, key=lambda each: each.user_key):
                those = list(group)
                person = Person.of(those[0])
                if person == me:
                    continue
                standing = self._of_key(person.user, person.fingerprint)
                digits = safety_number(me, person)
                found.append(Number(digits, person, _names(those), standing))
        return found

    def _of_key(self, user: Key, fingerprint: str) -> Standing:
        match self._known.get(user):
            case None:
                return Standing.UNKNOWN
            case known if fingerprint in known:
                return Standing.VERIFIED if known[fingerprint] else Standing.CERTIFIED
        return Standing.CHANGED


def _by_user(identities: Iterable[DeviceIdentity]) -> dict[Key, list[DeviceIdentity]]:
    """Return the devices of each, those of one key beside each other."""
    found: dict[Key, list[DeviceIdentity]] = {}
    for each in sorted(identities, key=lambda each: (each.key, each.user_key)):
        found.setdefault(each.key, []).append(each)
    return found


def _names(devices: Iterable[DeviceIdentity]) -> tuple[str, ...]:
    return tuple(sorted({each.device_name for each in devices}))


def _encoded(keys: Mapping[str, bool]) -> bytes:
    return msgspec.msgpack.encode((_VERSION, {key: keys[key] for key in sorted(keys)}))


def _decoded(data: bytes) -> dict[str, bool]:
    try:
        version, keys = _decoder.decode(data)
    except msgspec.MsgspecError:
        raise StoreError("what is kept of a person's keys is damaged") from None
    if version != _VERSION:
        raise StoreError("a person's keys are kept by a newer trio-chat", hint="update trio-chat")
    return keys
