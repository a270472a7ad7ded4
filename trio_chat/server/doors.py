"""Who may come while a server is locked down: devices that were here before, and nobody else.

A device is the key of its certificate. Each one's first visit is written down, locked or not.
"""

from __future__ import annotations

import itertools
import json
import time

import attrs
import trio

from trio_chat.errors import Forbidden
from trio_chat.identity import Identity
from trio_chat.store import Store

__all__ = ["Doors"]

TOGETHER = 64  # written down at once: a task each
_ENTRY = "lockdown"


@attrs.define
class Doors:
    """Open, or locked since a moment, which outlives the server.

    Attributes:
        since: When it was locked, in seconds since 1970; None while it is open.
    """

    _store: Store
    since: float | None = None
    _known: set[str] = attrs.field(factory=set)  # keys that were here, as far as asked
    _newcomers: dict[str, None] = attrs.field(factory=dict)

    async def load(self) -> None:
        """Find out whether it was locked when the server stopped."""
        found = await self._store.get(_ENTRY)
        self.since = None if found is None else json.loads(found.data)

    async def lock(self) -> None:
        """Let in nobody new from now on; raises `StoreError` if that cannot be written down."""
        if self.since is None:
            now = round(time.time(), 3)
            await self._store.put(_ENTRY, json.dumps(now).encode(), rev=None)
            self.since = now

    async def unlock(self) -> None:
        """Be open again; raises as `lock`."""
        await self._store.put(_ENTRY, b"null", rev=None)
        self.since = None

    async def check(self, identity: Identity) -> None:
        """Let a device pass.

        Raises:
            Forbidden: it is locked, and the device was never here.
        """
        if self.since is None or identity.fingerprint in self._known:
            return
        if await self._store.get(_device(identity.fingerprint)) is None:
            raise Forbidden("this server is locked down: nobody is let in who was not here before")
        self._known.add(identity.fingerprint)

    def check_enrolling(self) -> None:
        """Raise `Forbidden` if it is locked: nobody gets a first certificate then."""
        if self.since is not None:
            raise Forbidden("this server is locked down: nobody new can enrol or log in now")

    def note(self, identity: Identity) -> None:
        """A device is here."""
        if identity.fingerprint not in self._known:
            self._known.add(identity.fingerprint)
            self._newcomers[identity.fingerprint] = None

    async def remember(self) -> None:
        """Write down who has come for the first time; raises `StoreError`s."""
        while self._newcomers:
            async with trio.open_nursery() as nursery:
                for fingerprint in itertools.islice(self._newcomers, TOGETHER):
                    nursery.start_soon(self._remember, fingerprint)

    async def _remember(self, fingerprint: str) -> None:
        await self._store.put(_device(fingerprint), b"", rev=None)
        self._newcomers.pop(fingerprint, None)


def _device(fingerprint: str) -> str:
    return f"device:{fingerprint}"
