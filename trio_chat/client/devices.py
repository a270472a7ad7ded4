"""Which installation this process is: device ids in the state folder, locked while in use.

Two processes with one certificate must be two devices, or each would take the other's place.
So each (server, key) has a folder with one empty file per id; who holds its lock is that
device. The system drops the lock when the process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from trio_chat.address import Address
from trio_chat.files import lock

__all__ = ["AUTO", "claim_device", "state_folder"]

AUTO: Final = "*"
"""Take an id of the state folder; `*` can be no device's id."""

_LETTERS = string.ascii_letters + string.digits
_LENGTH = 12
_ATTEMPTS = 100


def state_folder() -> Path:
    """Return where the client keeps its state: `$XDG_STATE_HOME/trio-chat` on Linux."""
    import platformdirs

    return platformdirs.user_state_path("trio-chat", appauthor=False)


@contextlib.contextmanager
def claim_device(
    address: Address, fingerprint: str, *, folder: Path | None = None
) -> Iterator[str]:
    """Hold a device id for the time of the block: a kept one that is free, or a new one.

    Where nothing can be kept (a read-only home), the id is good for this once.

    Args:
        address: The server's; ids of different servers are different.
        fingerprint: That of our certificate's key.
        folder: In place of the state folder.
    """
    what = hashlib.sha256(f"{address} {fingerprint}".encode()).hexdigest()[:32]
    ids = (folder or state_folder()) / "devices" / what
    device, descriptor = _new_id(), None
    with contextlib.suppress(OSError):
        ids.mkdir(mode=0o700, parents=True, exist_ok=True)
        device, descriptor = _claim(ids)
    try:
        yield device
    finally:
        if descriptor is not None:
            os.close(descriptor)  # and with it the lock


def _claim(ids: Path) -> tuple[str, int]:
    """Return a locked id and the descriptor that holds its lock."""
    kept = sorted(
        (path.stat().st_mtime_ns, path.name) for path in ids.iterdir() if _is_id(path.name)
    )
    new = (_new_id() for _ in range(_ATTEMPTS))
    for name in (*(name for _, name in kept), *new):
        descriptor = os.open(ids / name, os.O_RDWR | os.O_CREAT, 0o600)
        if lock(descriptor, wait=False):
            return name, descriptor
        os.close(descriptor)  # another process is that device
    raise OSError("no file there can be locked")


def _new_id() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))


def _is_id(name: str) -> bool:
    return len(name) == _LENGTH and all(letter in _LETTERS for letter in name)
