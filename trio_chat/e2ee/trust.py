"""Is it really her? Safety numbers, pins, and the comparison of seven emoji.

A certificate says who somebody is, as the CA sees it. What is here lets people find out by
themselves, so that not even a CA that lies together with the server deceives them twice:

    safety_number   60 digits that are equal on both screens if both see the same two keys
    Pin             the key that a person was first seen with, and whether it was verified
    Succession      an old key's word for a new one
    Sas             seven emoji to compare while both are there
    epoch_words     eight words to compare in a room: equal ones mean an equal view

All of it is about the keys of users; devices come and go. No I/O, no clock, no storage.
"""

from __future__ import annotations

import enum
import hashlib
import secrets
from collections.abc import Callable, Iterable
from typing import Self, TypeAlias

import attrs
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from trio_chat import names
from trio_chat.e2ee.device import UserKey
from trio_chat.e2ee.identity import DeviceIdentity
from trio_chat.errors import ProtocolError

__all__ = [
    "EMOJI",
    "Decision",
    "Person",
    "Pin",
    "Sas",
    "SasCommit",
    "SasMessage",
    "SasNonce",
    "SasReveal",
    "SasState",
    "Sight",
    "Succession",
    "epoch_words",
    "judge_key",
    "safety_number",
]


@attrs.frozen
class Person:
    """A user and the key of their certificate, which is what gets verified.

    Attributes:
        user: The name, folded for comparison.
        key: The SubjectPublicKeyInfo, in DER.
    """

    user: names.Key = attrs.field(converter=names.key)
    key: bytes = attrs.field(repr=False)

    @classmethod
    def of(cls, identity: DeviceIdentity) -> Self:
        """Return whose device that is."""
        return cls(identity.user, identity.user_key)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the key, 64 hexadecimal digits."""
        return _fingerprint(self.key)


def _fingerprint(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()


# Safety numbers

_VERSION = b"\x00\x01"
_ROUNDS = 5200  # as Signal has it: about 5 ms for a number, and so much more for who seeks one


def safety_number(one: Person, other: Person) -> str:
    """Return 60 digits in 12 groups of 5: whoever of the two asks, they are the same."""
    return " ".join(sorted([_half(one), _half(other)]))


def _half(person: Person) -> str:
    digest = _VERSION + person.key + person.user.encode()
    for _ in range(_ROUNDS):
        digest = hashlib.sha512(digest + person.key).digest()
    parts = (digest[at : at + 5] for at in range(0, 30, 5))
    return " ".join(f"{int.from_bytes(part) % 100_000:05}" for part in parts)


# Pins


class Sight(enum.Enum):
    """What a person's key is to us."""

    FIRST = "first"  # nothing was pinned: it is now
    SAME = "same"
    SUCCEEDED = "succeeded"  # another one, for which the pinned one gives its word
    CHANGED = "changed"


@attrs.frozen
class Pin:
    """The key that we know a person by."""

    user: names.Key
    fingerprint: str
    verified: bool = False  # compared by the people themselves

    @classmethod
    def of(cls, person: Person, *, verified: bool = False) -> Self:
        """Pin this key: at first sight, once a change was accepted, or after a comparison."""
        return cls(person.user, person.fingerprint, verified)


@attrs.frozen
class Decision:
    """What to do about a person's key.

    Attributes:
        sight: What was found.
        pin: What to keep; after a change the old one, until the user accepts the new key.
    """

    sight: Sight
    pin: Pin

    @property
    def may_send(self) -> bool:
        """Is sending allowed? Not to somebody who was verified and now has another key."""
        return self.sight is not Sight.CHANGED or not self.pin.verified


def judge_key(pin: Pin | None, person: Person, statements: Iterable[Succession] = ()) -> Decision:
    """Compare a person's key with the pinned one.

    Args:
        pin: What was kept of the last decision about them.
        person: As they appear now.
        statements: By which an old key may hand over to the new one, in any order; leave out
            those by keys that were revoked.
    """
    if pin is None:
        return Decision(Sight.FIRST, Pin.of(person))
    if pin.user != person.user:
        raise ValueError("the pin is somebody else's")
    if pin.fingerprint == person.fingerprint:
        return Decision(Sight.SAME, pin)
    reached, waiting = {pin.fingerprint}, list(statements)
    while usable := [each for each in waiting if _fingerprint(each.old) in reached]:
        waiting = [each for each in waiting if each not in usable]
        reached |= {_fingerprint(each.new) for each in usable if each.holds(person.user)}
    if person.fingerprint in reached:
        return Decision(Sight.SUCCEEDED, Pin.of(person, verified=pin.verified))
    return Decision(Sight.CHANGED, pin)


# What a user's key signs here begins like nothing else that it signs: not like a certificate
# (0x30), nor like a handshake of TLS 1.3 (64 spaces).
_SUCCESSION = b"trio-chat succession\x00"


@attrs.frozen
class Succession:
    """The old key's word that the new one is the same person's; both in DER."""

    old: bytes = attrs.field(repr=False)
    new: bytes = attrs.field(repr=False)
    signature: bytes = attrs.field(repr=False)

    @classmethod
    def sign(cls, old: UserKey, successor: Person) -> Self:
        """Let the old key sign the statement."""
        public = old.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        content = _succession(public, successor.key, successor.user)
        match old:
            case ed25519.Ed25519PrivateKey():
                signature = old.sign(content)
            case rsa.RSAPrivateKey():
                signature = old.sign(content, _PSS, hashes.SHA256())
            case _:
                signature = old.sign(content, ec.ECDSA(hashes.SHA256()))
        return cls(public, successor.key, signature)

    def holds(self, user: names.Key) -> bool:
        """Has the old key signed this for `user`?"""
        content = _succession(self.old, self.new, user)
        try:
            match load_der_public_key(self.old):
                case ed25519.Ed25519PublicKey() as key:
                    key.verify(self.signature, content)
                case rsa.RSAPublicKey() as key:
                    key.verify(self.signature, content, _PSS, hashes.SHA256())
                case ec.EllipticCurvePublicKey() as key:
                    key.verify(self.signature, content, ec.ECDSA(hashes.SHA256()))
                case _:
                    return False
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            return False
        return True


_PSS = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)


def _succession(old: bytes, new: bytes, user: names.Key) -> bytes:
    return _SUCCESSION + _joined(old, new, user.encode())


# Seven emoji

# As Matrix has them: Client-Server API, "SAS method: emoji".
EMOJI: tuple[tuple[str, str], ...] = tuple(
    (each.split(" ", 1)[0], each.split(" ", 1)[1])
    for line in """
🐶 Dog|🐱 Cat|🦁 Lion|🐎 Horse|🦄 Unicorn|🐷 Pig|🐘 Elephant|🐰 Rabbit
🐼 Panda|🐓 Rooster|🐧 Penguin|🐢 Turtle|🐟 Fish|🐙 Octopus|🦋 Butterfly|🌷 Flower
🌳 Tree|🌵 Cactus|🍄 Mushroom|🌏 Globe|🌙 Moon|☁️ Cloud|🔥 Fire|🍌 Banana
🍎 Apple|🍓 Strawberry|🌽 Corn|🍕 Pizza|🎂 Cake|❤️ Heart|😀 Smiley|🤖 Robot
🎩 Hat|👓 Glasses|🔧 Spanner|🎅 Santa|👍 Thumbs Up|☂️ Umbrella|⌛ Hourglass|⏰ Clock
🎁 Gift|💡 Light Bulb|📕 Book|✏️ Pencil|📎 Paperclip|✂️ Scissors|🔒 Lock|🔑 Key
🔨 Hammer|☎️ Telephone|🏁 Flag|🚂 Train|🚲 Bicycle|✈️ Aeroplane|🚀 Rocket|🏆 Trophy
⚽ Ball|🎸 Guitar|🎺 Trumpet|🔔 Bell|⚓ Anchor|🎧 Headphones|📁 Folder|📌 Pin
""".strip().splitlines()
    for each in line.split("|")
)

_SYMBOLS = 7
_WORDS = 8
_LABEL = b"trio-chat sas"
_NONCE = 32  # bytes

Export: TypeAlias = Callable[[bytes, bytes, int], bytes]  # as `Group.export`


def _picked(secret: bytes, count: int) -> tuple[tuple[str, str], ...]:
    """Return an entry of the table for each 6 bits, from the first on."""
    bits = int.from_bytes(secret)
    top = 8 * len(secret)
    return tuple(EMOJI[bits >> (top - 6 * (n + 1)) & 63] for n in range(count))


def epoch_words(authenticator: bytes) -> tuple[str, ...]:
    """Return 8 words of a group's epoch authenticator (RFC 9420, section 8.7)."""
    digest = hashlib.sha256(b"trio-chat epoch words\x00" + authenticator).digest()
    return tuple(word for _, word in _picked(digest[:6], _WORDS))


@attrs.frozen
class SasCommit:
    """From who begins: the hash of a nonce."""

    hash: bytes


@attrs.frozen
class SasNonce:
    """The answer: a nonce, chosen before that of the other side is known."""

    nonce: bytes


@attrs.frozen
class SasReveal:
    """From who began: the nonce that was hashed."""

    nonce: bytes


SasMessage: TypeAlias = SasCommit | SasNonce | SasReveal


class SasState(enum.Enum):
    """How far a comparison is."""

    IDLE = "idle"
    COMMITTED = "committed"  # we began, and wait for the other's nonce
    ANSWERED = "answered"  # they began, and we wait for theirs
    SHOWN = "shown"  # the people compare
    FAILED = "failed"  # the other side broke the rules


@attrs.define(kw_only=True)
class Sas:
    """One comparison with one person, in one epoch of the group that both are in.

        Alice                     Bob
        SasCommit(H(a))   ->
                          <-      SasNonce(b)
        SasReveal(a)      ->
        both show 42 bits of MLS-Exporter("trio-chat sas", H(all of it))

    Who sits between them, in a group with each, has to choose each nonce before it knows the
    other side's: one guess in 2**42. The exporter brings in the keys, the members and the
    history of the whole group.

    `begin` or a `receive` of the other's `SasCommit` starts it; what these return is to be
    sent in the same epoch. If that ends before `symbols` are there, begin again with a new one.
    """

    me: Person
    peer: Person
    group_id: bytes
    epoch: int
    export: Export = attrs.field(repr=False)
    state: SasState = attrs.field(default=SasState.IDLE, init=False)
    symbols: tuple[tuple[str, str], ...] = attrs.field(default=(), init=False, repr=False)
    _nonce: bytes = attrs.field(init=False, repr=False)
    _hash: bytes = attrs.field(default=b"", init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.me.user == self.peer.user:
            raise ValueError("nobody compares with themselves")
        self._nonce = secrets.token_bytes(_NONCE)

    def begin(self) -> SasCommit:
        """Return the first message."""
        if self.state is not SasState.IDLE:
            raise ValueError("the comparison has begun")
        self.state = SasState.COMMITTED
        return SasCommit(_committed(self._nonce))

    def receive(self, message: SasMessage) -> SasMessage | None:
        """Take the other's message; return what to answer, if anything.

        If both begin at once, the one whose name sorts first goes on, and the other answers.

        Raises:
            ProtocolError: The message does not fit; the comparison has failed for good.
        """
        match self.state, message:
            case SasState.COMMITTED, SasCommit() if self.me.user < self.peer.user:
                return None
            case ((SasState.IDLE | SasState.COMMITTED), SasCommit(hash=committed)):
                self._hash, self.state = committed, SasState.ANSWERED
                # A nonce that we have committed to is not given away before its time is over.
                self._nonce = secrets.token_bytes(_NONCE)
                return SasNonce(self._nonce)
            case SasState.COMMITTED, SasNonce(nonce=nonce) if len(nonce) == _NONCE:
                self._show(self.me, self.peer, self._nonce, nonce)
                return SasReveal(self._nonce)
            case SasState.ANSWERED, SasReveal(nonce=nonce) if (
                len(nonce) == _NONCE and _committed(nonce) == self._hash
            ):
                self._show(self.peer, self.me, nonce, self._nonce)
                return None
        self.state, self.symbols = SasState.FAILED, ()
        raise ProtocolError("the comparison has failed: the other side did not keep to its rules")

    def _show(self, first: Person, second: Person, committed: bytes, answer: bytes) -> None:
        """Compute what both show; who began comes first."""
        people = [first.user.encode(), second.user.encode(), first.key, second.key]
        epoch = self.epoch.to_bytes(8)
        content = _joined(self.group_id, epoch, *people, committed, answer)
        secret = self.export(_LABEL, hashlib.sha256(content).digest(), 6)
        self.symbols, self.state = _picked(secret, _SYMBOLS), SasState.SHOWN


def _committed(nonce: bytes) -> bytes:
    return hashlib.sha256(b"trio-chat sas commit\x00" + nonce).digest()


def _joined(*parts: bytes) -> bytes:
    """Put parts together so that no other parts make the same."""
    return b"".join(len(part).to_bytes(4) + part for part in parts)
