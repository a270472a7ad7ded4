"""Stub."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from trio_chat.e2ee.changes import Changes
from trio_chat.e2ee.identity import DeviceIdentity


class People:
    def sight(self, identities: Iterable[DeviceIdentity]) -> list[str]:
        return []

    def blocking(self, users: Collection[str]) -> list[str]:
        return []

    def save(self, changes: Changes) -> None:
        pass
