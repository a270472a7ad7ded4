"""Is it really her? Safety numbers, and the comparison of seven emoji.

A certificate says who somebody is, as the CA sees it. What is here lets people find out by
themselves, so that not even a CA that lies together with the server deceives them twice:

    safety_number   60 digits that are equal on both screens if both see the same two keys
    Succession      a known key's word for another one of the same person
    Sas             seven emoji to compare while both are there
    epoch_words     eight words to compare in a room: equal ones mean an equal view

All of it is about the keys of users; devices come and go. No I/O, no clock, no storage.
"""

from __future__ import annotations

import enum
import hashlib
import secrets
from collections.abc import Callable
from typing import Annotated, Self, TypeAlias

import attrs
import msgspec
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
    "Person",
    "Sas",
    "SasCancel",
    "SasCommit",
    "SasMessage",
    "SasNonce",
    "SasReveal",
    "SasState",
    "Succession",
    "decode_step",
    "encode_step",
    "epoch_words",
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


# Successions

# What a user's key signs here begins like nothing else that it signs: not like a certificate
# (0x30), nor like a handshake of TLS 1.3 (64 spaces).
_SUCCESSION = b"trio-chat succession\x00"
# An RSA key of 16384 bits and its signatures, and none are larger, are within this.
_Short = Annotated[bytes, msgspec.Meta(max_length=4096)]


@attrs.frozen
class Succession:
    """A key's word that another one is the same person's, instead of it or beside it.

    Attributes:
        old: The key that is known, in DER.
        new: The other one.
        signature: By the known one.
    """

    old: _Short = attrs.field(repr=False)
    new: _Short = attrs.field(repr=False)
    signature: _Short = attrs.field(repr=False)

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
_ID = 8

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

    @property
    def id(self) -> bytes:
        """What the other messages of the same comparison bear."""
        return self.hash[:_ID]


@attrs.frozen
class SasNonce:
    """The answer: a nonce, chosen before that of the other side is known."""

    id: bytes
    nonce: bytes


@attrs.frozen
class SasReveal:
    """From who began: the nonce that was hashed."""

    id: bytes
    nonce: bytes


@attrs.frozen
class SasCancel:
    """From either: no more of this, be it that the emoji differ."""

    id: bytes


SasMessage: TypeAlias = SasCommit | SasNonce | SasReveal | SasCancel


def encode_step(message: SasMessage) -> bytes:
    """Return a message as it travels: its kind, its comparison, and what it brings."""
    match message:
        case SasCommit(hash=value):
            return b"\x01" + value
        case SasNonce(id=which, nonce=value):
            return b"\x02" + which + value
        case SasReveal(id=which, nonce=value):
            return b"\x03" + which + value
        case SasCancel(id=which):
            return b"\x04" + which


def decode_step(data: bytes) -> SasMessage:
    """Return the message of `encode_step`.

    Raises:
        ProtocolError: It is none.
    """
    rest = data[1:]
    match data[:1], len(rest):
        case b"\x01", 32:
            return SasCommit(rest)
        case b"\x02", 40:
            return SasNonce(rest[:_ID], rest[_ID:])
        case b"\x03", 40:
            return SasReveal(rest[:_ID], rest[_ID:])
        case b"\x04", 8:
            return SasCancel(rest)
    raise ProtocolError("a step of a comparison is malformed")


class SasState(enum.Enum):
    """How far a comparison is."""

    IDLE = "idle"
    COMMITTED = "committed"  # we began, and wait for the other's nonce
    ANSWERED = "answered"  # they began, and we wait for theirs
    SHOWN = "shown"  # the people compare
    CANCELLED = "cancelled"  # by either side
    FAILED = "failed"  # the other side broke the rules


@attrs.define(kw_only=True)
class Sas:
    """One comparison of two keys, in one epoch of the group that both are in.

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
    What is said of other comparisons is passed over; but whose device a message is from, the
    caller looks at: `peer` has to be the key that its certificate shows.
    """

    me: Person
    peer: Person
    group_id: bytes
    epoch: int
    export: Export = attrs.field(repr=False)
    state: SasState = attrs.field(default=SasState.IDLE, init=False)
    symbols: tuple[tuple[str, str], ...] = attrs.field(default=(), init=False, repr=False)
    id: bytes = attrs.field(default=b"", init=False)
    _nonce: bytes = attrs.field(init=False, repr=False)
    _hash: bytes = attrs.field(default=b"", init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.me == self.peer:
            raise ValueError("a key is not compared with itself")
        self._nonce = secrets.token_bytes(_NONCE)

    def begin(self) -> SasCommit:
        """Return the first message."""
        if self.state is not SasState.IDLE:
            raise ValueError("the comparison has begun")
        commit = SasCommit(_committed(self._nonce))
        self.id, self.state = commit.id, SasState.COMMITTED
        return commit

    def cancel(self) -> SasCancel:
        """End it; return what to tell the other side."""
        if self.state is SasState.IDLE:
            raise ValueError("the comparison has not begun")
        self.state, self.symbols = SasState.CANCELLED, ()
        return SasCancel(self.id)

    def receive(self, message: SasMessage) -> SasMessage | None:
        """Take the other's message; return what to answer, if anything.

        If both begin at once, the one whose name and key sort first goes on, and the other
        answers.

        Raises:
            ProtocolError: The message does not fit; the comparison has failed for good.
        """
        others = not isinstance(message, SasCommit) and message.id != self.id
        if others or self.state is SasState.CANCELLED:
            return None
        match self.state, message:
            case ((SasState.COMMITTED | SasState.ANSWERED | SasState.SHOWN), SasCancel()):
                self.cancel()
                return None
            case SasState.COMMITTED, SasCommit() if self._goes_first:
                return None
            case ((SasState.IDLE | SasState.COMMITTED), SasCommit(hash=committed)):
                self._hash, self.id, self.state = committed, message.id, SasState.ANSWERED
                # A nonce that we have committed to is not given away before its time is over.
                self._nonce = secrets.token_bytes(_NONCE)
                return SasNonce(self.id, self._nonce)
            case SasState.COMMITTED, SasNonce(nonce=nonce) if len(nonce) == _NONCE:
                self._show(self.me, self.peer, self._nonce, nonce)
                return SasReveal(self.id, self._nonce)
            case SasState.ANSWERED, SasReveal(nonce=nonce) if (
                len(nonce) == _NONCE and _committed(nonce) == self._hash
            ):
                self._show(self.peer, self.me, nonce, self._nonce)
                return None
        self.state, self.symbols = SasState.FAILED, ()
        raise ProtocolError("the comparison has failed: the other side did not keep to its rules")

    @property
    def _goes_first(self) -> bool:
        return (self.me.user, self.me.key) < (self.peer.user, self.peer.key)

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
