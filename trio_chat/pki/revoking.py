"""Revoking whatever words stand for: a name, a serial number, a certificate's file."""

from __future__ import annotations

from collections.abc import Callable

from trio_chat.pki.authority import Authority
from trio_chat.pki.issued import find_issued, issued_by
from trio_chat.pki.place import Place

__all__ = ["revoke_issued"]


def revoke_issued(
    place: Place, target: str, root: Callable[[], Authority]
) -> tuple[set[int], set[int]]:
    """Put on the lists what `target` stands for, each on that of the CA that issued it.

    Args:
        place: The CA's folder.
        target: A user, USER/DEVICE, a serial number, or a certificate's file.
        root: Opens the CA itself; asked only if it has something to sign.

    Returns:
        All the serial numbers, and those of them that were not on a list yet.

    Raises:
        ConfigError: There is no such certificate, or a key is not here or not open.
    """
    serials: set[int] = set()
    new: set[int] = set()
    while found := find_issued(place, target) - serials:
        serials |= found  # and once more: a server may have renewed one of them meanwhile
        below = issued_by(place, place.issuers()[-1]) if place.intermediate.exists() else set()
        if found - below:
            new |= root().revoke(found - below)
        if found & below:
            new |= Authority.load_intermediate(place.ca).revoke(found & below)
    return serials, new
