"""Bans, mutes, roles and passwords on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from trio_chat import names
from trio_chat.chat.sanctions import Sanction, user_subject
from trio_chat.errors import StoreError
from trio_chat.store import (
    EVERYWHERE,
    AddAudit,
    AuditEntry,
    Batch,
    LiftSanction,
    PutSanction,
    SetRole,
    Store,
    open_store,
)

BAN = Sanction(
    kind="ban", subject=user_subject("bob"), until=9.5, actor="alice", reason="spam", since=1.25
)
MUTE = Sanction(kind="mute", subject=user_subject("bob"), until=None, actor="server", since=2.0)
AUDIT = AuditEntry(time=1.0, actor="user alice", action="ban", target="bob", outcome="done")


async def room(store: Store, name: str = "ops", **about: str) -> int:
    return (await store.create_room(name, mode="plain", now=0.0, **about)).id  # type: ignore[arg-type]


async def test_they_are_of_a_room_or_of_all_and_come_back(path: Path, key: bytes) -> None:
    async with open_store(path, key=key) as store:
        ops = await room(store, password="$argon2id$x")
        other = await room(store, "other")
        await store.change(PutSanction(ops, BAN), PutSanction(EVERYWHERE, MUTE))
        await store.change(PutSanction(ops, MUTE))
    async with open_store(path, key=key) as store:
        assert set((await store.load_room(ops)).sanctions) == {BAN, MUTE}
        assert (await store.load_room(ops)).password == "$argon2id$x"
        assert "argon2id" not in repr(await store.load_room(ops))
        assert (await store.load_room(other)).sanctions == ()
        assert await store.read_sanctions() == [MUTE]
        await store.change(LiftSanction(ops, "mute", BAN.subject))
        await store.change(PutSanction(ops, Sanction(kind="ban", subject=BAN.subject, until=None)))
        assert [each.until for each in await store.read_sanctions(ops)] == [None]
        assert [each.locked for each in await store.list_rooms("", 9)] == [True, False]


async def test_those_that_are_over_are_deleted(path: Path, key: bytes) -> None:
    async with open_store(path, key=key) as store:
        await store.change(PutSanction(EVERYWHERE, BAN), PutSanction(EVERYWHERE, MUTE))
        await store.expire_sanctions(9.5)
        assert len(await store.read_sanctions()) == 2
        await store.expire_sanctions(9.6)
        assert await store.read_sanctions() == [MUTE]


async def test_what_goes_with_an_entry_is_written_with_it_or_not_at_all(
    path: Path, key: bytes
) -> None:
    async with open_store(path, key=key) as store:
        ops = await room(store)
        owner = SetRole(ops, names.key("ops"), names.key("bob"), "owner")
        changes = (PutSanction(ops, BAN), owner, AddAudit(AUDIT))
        late = Batch(room=ops, first=7, last=7, time=1.0, body=b"x\n", changes=changes)
        with pytest.raises(StoreError, match="goes on at 1"):
            await store.append(late)

        def fail(_transaction: object) -> None:
            raise ValueError("a defect")

        broken = Batch(room=ops, first=1, last=1, time=1.0, body=b"x\n", changes=(*changes, fail))
        with pytest.raises(StoreError):
            await store.append(broken)
        state = await store.load_room(ops)
        assert (state.seq, state.people, state.sanctions) == (0, {}, ())
        assert await store.last_audit() == 0
        await store.append(Batch(room=ops, first=1, last=1, time=1.0, body=b"x\n", changes=changes))
        state = await store.load_room(ops)
        assert (state.seq, state.people, state.sanctions) == (1, {"bob": "owner"}, (BAN,))
        assert await store.last_audit() == 1


async def test_an_open_room_is_not_listed_twice_for_its_owner(path: Path, key: bytes) -> None:
    async with open_store(path, key=key) as store:
        bob = names.key("bob")
        await store.create_room("ops", mode="plain", now=0.0, people=(bob,), role="owner")
        await store.create_room("den", mode="plain", now=0.0, people=(bob,), access="closed")
        assert [each.name for each in await store.own_rooms(bob, "", 9)] == ["den"]
        assert [each.name for each in await store.list_rooms("", 9)] == ["ops"]
