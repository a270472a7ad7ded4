"""This device's key packages: how many are to lie on the server, and when they are made anew.

Synchronous, for the store's thread: their private keys are written down before they leave.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import attrs

from trio_chat.client.blobs import encode
from trio_chat.client.vault import Vault

__all__ = ["Due", "make_packages", "packages_due"]

PACKAGES = 50  # that others can claim
KEPT = 100  # that servers keep of a device: so many new ones leave none of the old
LAST_RESORT = 15 * 86400.0  # seconds after which the last resort is another
GRACE = 86400.0  # seconds for which a Welcome for a package that is over may still come

_LAST = "last resort made"  # names of what is kept
_CERTIFIED = "packages certified by"


@attrs.frozen
class Due:
    """What is to be left on the server.

    Attributes:
        count: How many packages are to lie there.
        anew: Are those that lie there of no use, since our certificate is another?
        last: Is the last resort to be another?
        done: Call it when that is so.
    """

    count: int
    anew: bool
    last: bool
    done: Callable[[], None]


def packages_due(vault: Vault, now: float) -> Due:
    """Return what is to be left on the server now."""
    store = vault.store
    certified = hashlib.sha256(vault.account.device.credential.certificates[0].cert_data).digest()
    before, made = store.kept(_CERTIFIED), store.kept(_LAST)
    anew = before is not None and before != certified

    def done() -> None:
        if before != certified:
            with store.event() as changes:
                changes.keep(_CERTIFIED, certified)

    last = anew or made is None or float(made) + LAST_RESORT < now
    return Due(KEPT if anew else PACKAGES, anew, last, done)


def make_packages(vault: Vault, count: int, now: float, last_resort: bool) -> list[str]:
    """Make key packages, and return them as they are sent."""
    with vault.store.event() as changes:
        changes.expire_bundles(now - GRACE)
        made = vault.account.publish(changes, count, now, last_resort=last_resort)
        if last_resort:
            changes.keep(_LAST, str(now).encode())
    return [encode(each) for each in made]
