"""`trio_chat.server.membership`: what a refusal leaves as it was, and many rooms at once."""

from __future__ import annotations

import pytest
import trio

from tests.conftest import Serve
from tests.peer import Connect
from trio_chat.errors import StoreError
from trio_chat.protocol.frames import Away
from trio_chat.server import Server, membership
from trio_chat.store import Store


async def test_a_refused_join_leaves_one_where_one_was(
    server: Server, enter: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await enter(server, "alice", "~alice+alice")

    async def fail(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise StoreError("disk fault")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "find_room", fail)
        reply = await alice.ask("join", room="~alice+alice")
        assert reply["code"] == "store"
    await alice.begin("~alice+alice")  # still here


async def test_others_get_turns_while_many_rooms_are_told(
    run_server: Serve, enter: Connect
) -> None:
    rooms = [f"r{number}" for number in range(30)]
    server = await run_server(*rooms)
    await enter(server, "alice", *rooms)
    (connection,) = server.connections
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await membership.away(server, connection, Away("lunch"))
        nursery.cancel_scope.cancel()
    assert turns >= len(rooms) // 2  # one each, give or take where they begin and end
