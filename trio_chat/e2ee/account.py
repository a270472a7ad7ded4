"""One device's part in end-to-end encryption: its keys, and its judgement of others' devices.

What all of a device's conversations have in common. It reads and writes the device's store; the
time is given to it.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

import attrs

from trio_chat import names
from trio_chat.e2ee.changes import Changes
from trio_chat.e2ee.device import SKEW, Device
from trio_chat.e2ee.identity import Authenticator, CredentialValue, DeviceIdentity, Fault
from trio_chat.e2ee.people import People
from trio_chat.e2ee.policy import CAPABILITIES
from trio_chat.e2ee.store import SealedStore
from trio_chat.mls import (
    SUITES,
    Group,
    KeyPackage,
    KeyPackageBundle,
    KeyPackageSource,
    LeafNode,
    ProtocolError,
    Services,
    check_key_package,
    decode_message,
    encode_message,
)

__all__ = ["Account"]

PACKAGE_LIFE = 30 * 86400  # seconds
SUITE = SUITES[1]


def at(now: float) -> datetime:
    """Return a time in seconds since 1970 as certificates have it."""
    return datetime.fromtimestamp(now, UTC)


_Known: TypeAlias = tuple[tuple[object, Authenticator], dict[int, DeviceIdentity]]


@attrs.define(eq=False, kw_only=True)
class Account:
    """Who we are and whom we know.

    Attributes:
        wire: This device's id on the wire.
        device: What it shows to others, and its key.
        store: What it must not lose.
        authenticator: Judges others; replaced when there is a newer revocation list.
        people: Whom we have met.
        uniform: Returns a number between two; what is random in time comes from it.
    """

    wire: str
    device: Device
    store: SealedStore
    authenticator: Authenticator
    people: People
    uniform: Callable[[float, float], float] = secrets.SystemRandom().uniform
    identity: DeviceIdentity = attrs.field(init=False)
    services: Services = attrs.field(init=False)
    _members: deque[_Known] = attrs.field(init=False, factory=lambda: deque(maxlen=4))

    def __attrs_post_init__(self) -> None:
        self.services = Services(authenticate=self._authenticate)
        self.use(self.device)

    def use(self, device: Device) -> None:
        """Show this from now on: a renewed certificate, with its new key."""
        self.identity = self.authenticator(device.credential, device.signature_key.public)
        self.device = device

    def _authenticate(
        self, credential: CredentialValue, key: bytes, replaces: CredentialValue | None = None
    ) -> DeviceIdentity:
        return self.authenticator(credential, key, replaces)

    # Who is in a group

    def identify(self, leaf: LeafNode) -> DeviceIdentity:
        """Return whose a leaf of a group is, which was judged when it came in."""
        return self.authenticator(leaf.credential, leaf.signature_key)

    def members(self, group: Group) -> dict[int, DeviceIdentity]:
        """Return who is in a group, by leaf."""
        asked = group.tree, self.authenticator
        for known, found in self._members:
            if known[0] is asked[0] and known[1] is asked[1]:
                return found.copy()
        found = {index: self.identify(leaf) for index, leaf in group.members().items()}
        self._members.append((asked, found))
        return found.copy()

    def faults(self, group: Group, now: float) -> dict[int, Fault]:
        """Return which leaves must go before anything more is encrypted."""
        found = self.authenticator.faults(group.members(), now=at(now))
        # Members who know that authority would refuse to go along.
        return {leaf: fault for leaf, fault in found.items() if fault is not Fault.UNKNOWN}

    def void(self, group: Group, now: float) -> set[int]:
        """Return which leaves others may take out, whoever they are."""
        return self.authenticator.void(group.members(), now=at(now))

    # Key packages

    def bundle(self, now: float) -> KeyPackageBundle:
        """Make a key package of this device."""
        end = min(now + PACKAGE_LIFE, self.identity.expiry.timestamp())
        return KeyPackageBundle.create(
            self.device.credential,
            self.device.signature_key,
            suite=SUITE,
            capabilities=CAPABILITIES,
            lifetime=KeyPackageSource(int(now - SKEW.total_seconds()), int(end)),
        )

    def publish(
        self, changes: Changes, count: int, now: float, *, last_resort: bool = False
    ) -> list[bytes]:
        """Make key packages, write their private keys down, and return them for the server."""
        made = [self.bundle(now) for _ in range(count)]
        for bundle in made:
            changes.add_bundle(bundle, last_resort=last_resort)
        return [encode_message(bundle.key_package) for bundle in made]

    def judge(self, data: bytes, user: names.Key, now: float) -> tuple[KeyPackage, DeviceIdentity]:
        """Return a key package that was claimed of `user`, and whose it is.

        Raises:
            MLSError: It is none, is over, or is not that user's; the text says which.
        """
        package = decode_message(data)
        if not isinstance(package, KeyPackage):
            raise ProtocolError("what the server gave is no key package")
        check_key_package(SUITE, package)
        leaf = package.leaf_node
        source, skew = leaf.source, SKEW.total_seconds()
        if not isinstance(source, KeyPackageSource) or not (
            source.not_before - skew <= now <= source.not_after + skew
        ):
            raise ProtocolError("the key package is over, or not valid yet")
        identity = self.authenticator.check(leaf.credential, leaf.signature_key, now=at(now))
        if identity.key != user:
            raise ProtocolError(f"the key package is one of {identity.user}'s")
        return package, identity
