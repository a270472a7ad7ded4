"""Encrypted rooms on the wire: one commit an epoch, and what comes with it or not at all."""

from __future__ import annotations

import base64
import gc
import hashlib
import random  # noqa: TID251 - seeded
import time
from collections import Counter
from functools import partial
from typing import Any

import pytest
import trio

from tests.conftest import Serve
from tests.daemon import StartDaemon
from tests.peer import PART, Connect, Frame, Peer
from trio_chat.chat.epochs import Commit
from trio_chat.errors import StoreError
from trio_chat.names import key
from trio_chat.server import Server, pulse
from trio_chat.server.uploads import LIFE
from trio_chat.store import BLOBS, Store

INFO = base64.b64encode(b"info").decode()
ROOM = "vault"


@pytest.fixture
async def server(run_server: Serve) -> Server:
    """A server with an open encrypted room."""
    return await run_server(ROOM, mode="encrypted")


async def commit(
    peer: Peer, epoch: int, tree: bytes | None = None, *, kind: str = "commit", **fields: Any
) -> Frame:
    """End an epoch, or try to; return the echo or the error."""
    digest = await peer.put(ROOM, tree or f"tree {epoch} of {peer.name}".encode())
    n = await peer.seal(ROOM, kind, epoch, **{"info": INFO, "tree": digest, **fields})
    return await fate(peer, n)


async def fate(peer: Peer, n: int) -> Frame:
    """What became of the line with that counter: its echo or an error."""
    while True:
        frame = await peer.read()
        if frame.get("n") == n and frame.get("device", peer.device) == peer.device:
            if frame["type"] == "error":
                peer.said[ROOM] = min(peer.said[ROOM], n - 1)
            return frame
        peer.frames.append(frame)


async def log_of(peer: Peer) -> list[Frame]:
    """All entries of the room, over history."""
    found: list[Frame] = []
    while True:
        page = await peer.ask("history", room=ROOM, after=len(found), limit=200)
        found += page["entries"]
        if not page["entries"]:
            return found


# --- the room ----------------------------------------------------------------------------


async def test_a_room_of_the_server_is_open_and_encrypted_and_has_no_group(
    server: Server, enter: Connect
) -> None:
    alice = await enter(server, "alice", ROOM)
    joined = await alice.join(ROOM)
    about = {key: joined[key] for key in ("mode", "access", "role", "epoch", "seq")}
    assert about == {"mode": "encrypted", "access": "open", "role": "member", "epoch": 0, "seq": 0}
    for kind in ("message", "proposal"):
        await alice.say("send", room=ROOM, n=1, epoch=0, kind=kind, body="eA==")
        await alice.until("error", code="stale", room=ROOM, n=1, epoch=0, seq=0)
    assert (await commit(alice, 0))["code"] == "stale"
    assert (await alice.ask("info.get", room=ROOM))["code"] == "no-group"
    assert (await alice.ask("welcome.get", room=ROOM))["code"] == "no-welcome"
    (room,) = (await alice.ask("list-rooms"))["rooms"]
    assert (room["mode"], room["access"]) == ("encrypted", "open")


async def test_each_sort_is_for_its_rooms(run_server: Serve, enter: Connect) -> None:
    server = await run_server("lobby")
    alice = await enter(server, "alice", "lobby")
    await alice.say("send", room="lobby", n=1, epoch=0, kind="message", body="eA==")
    error = await alice.expect("error", code="mode", room="lobby", n=1)
    assert "plain" in error["text"]
    put = {"blob": "0" * 64, "size": 1, "offset": 0, "data": "eA=="}
    assert (await alice.ask("blob.put", room="lobby", **put))["code"] == "mode"
    assert "epoch" not in await alice.join("lobby")
    await alice.ask("create", room=ROOM)
    await alice.enter(ROOM)
    await alice.say("send", room=ROOM, n=1, text="for all to read")
    error = await alice.until("error", code="mode", room=ROOM, n=1)
    assert "encrypted" in error["text"]
    reply = await alice.ask("topic", room=ROOM, text="for all to read")
    assert reply["code"] == "forbidden"
    assert (await alice.begin(ROOM))["n"] == 1  # nothing of it took the counter


async def test_a_group_is_begun_and_its_lines_have_the_epoch_they_were_made_in(
    server: Server, enter: Connect
) -> None:
    alice, bob = await enter(server, "alice", ROOM), await enter(server, "bob", ROOM)
    await alice.begin(ROOM)
    await alice.seal(ROOM, "message", 1, "c2VjcmV0")
    await alice.seal(ROOM, "proposal", 1, "cHJvcG9zYWw=")
    created = await bob.until("message", seq=1)
    assert (created["kind"], created["epoch"]) == ("create", 0)
    line = await bob.expect("message", seq=2, n=2, epoch=1, kind="message", body="c2VjcmV0")
    wanted = ["type", "room", "seq", "time", "from", "device", "n", "epoch", "kind", "body"]
    assert list(line) == wanted
    await bob.expect("message", seq=3, kind="proposal")
    assert (await bob.join(ROOM))["epoch"] == 1
    again = await bob.begin(ROOM, 1)  # anew
    assert (again["kind"], again["epoch"]) == ("create", 1)
    assert (await bob.join(ROOM))["epoch"] == 2


async def test_who_was_slower_gets_stale_and_keeps_the_counter(
    server: Server, enter: Connect
) -> None:
    alice, bob = await enter(server, "alice", ROOM), await enter(server, "bob", ROOM)
    await alice.begin(ROOM)
    await bob.until("message", seq=1)
    await alice.seal(ROOM, "message", 1)
    assert (await commit(bob, 0))["code"] == "stale"
    error = await fate(bob, await bob.seal(ROOM, "message", 0))
    assert (error["code"], error["epoch"], error["n"], error["room"]) == ("stale", 1, 1, ROOM)
    assert error["seq"] >= 1
    assert (await fate(bob, await bob.seal(ROOM, "message", 1)))["n"] == 1
    # Counters come before epochs: what repeats or skips is that, whatever its epoch.
    for n, code in ((1, "duplicate"), (9, "out-of-order")):
        await bob.say("send", room=ROOM, n=n, epoch=77, kind="message", body="")
        await bob.until("error", code=code, n=n)


async def test_a_commit_wants_info_and_a_tree_that_is_there(server: Server, enter: Connect) -> None:
    alice, bob = await enter(server, "alice", ROOM), await enter(server, "bob", ROOM)
    tree = await bob.put(ROOM, b"a tree")
    for fields in ({}, {"info": INFO}, {"tree": tree}):
        error = await fate(bob, await bob.seal(ROOM, "create", 0, **fields))
        assert (error["code"], error["n"]) == ("bad-frame", 1)
    error = await fate(bob, await bob.seal(ROOM, "message", 0, info=INFO))
    assert error["code"] == "bad-frame"
    # What another connection has put does not count, nor what has come in part.
    error = await fate(alice, await alice.seal(ROOM, "create", 0, info=INFO, tree=tree))
    assert (error["code"], error["n"]) == ("no-blob", 1)
    part = {"blob": "0" * 64, "size": 9, "offset": 0, "data": "eA=="}
    assert (await alice.ask("blob.put", room=ROOM, **part))["type"] == "ok"
    error = await fate(alice, await alice.seal(ROOM, "create", 0, info=INFO, tree="0" * 64))
    assert error["code"] == "no-blob"
    assert (await fate(bob, await bob.seal(ROOM, "create", 0, info=INFO, tree=tree)))["seq"] == 1
    # What the room has may be named by anybody.
    n = await alice.seal(ROOM, "commit", 1, info=INFO, tree=tree)
    assert (await fate(alice, n))["seq"] == 2


# --- races -------------------------------------------------------------------------------


async def test_of_those_who_end_an_epoch_at_once_one_wins(server: Server, enter: Connect) -> None:
    racers = [await enter(server, f"racer{number}", ROOM) for number in range(8)]
    await racers[0].begin(ROOM)
    rounds = 25
    winners: Counter[int] = Counter()
    losers: list[Frame] = []
    ready = [trio.Event() for _ in range(rounds)]
    waiting = Counter[int]()

    async def race(peer: Peer) -> None:
        for epoch in range(1, rounds + 1):
            tree = await peer.put(ROOM, f"tree {epoch} of {peer.name}".encode())
            waiting[epoch] += 1
            if waiting[epoch] == len(racers):
                ready[epoch - 1].set()
            await ready[epoch - 1].wait()
            found = await fate(peer, await peer.seal(ROOM, "commit", epoch, info=INFO, tree=tree))
            if found["type"] == "message":
                winners[epoch] += 1
            else:
                losers.append(found)
                assert (found["code"], found["epoch"]) == ("stale", epoch + 1)
                # The winner's line was there before the loser heard of it.
                assert any(
                    each.get("seq") == found["seq"] and each["type"] == "message"
                    for each in peer.frames
                )

    async with trio.open_nursery() as nursery:
        for peer in racers:
            nursery.start_soon(race, peer)
    assert winners == dict.fromkeys(range(1, rounds + 1), 1)
    assert len(losers) == rounds * (len(racers) - 1)
    reader = await enter(server, "reader", ROOM)
    entries = await log_of(reader)
    assert [entry["seq"] for entry in entries] == list(range(1, rounds + 2))
    assert [entry["epoch"] for entry in entries] == list(range(rounds + 1))
    joined = await reader.join(ROOM)
    assert (joined["epoch"], joined["seq"]) == (rounds + 1, rounds + 1)
    assert (await reader.ask("info.get", room=ROOM))["epoch"] == rounds + 1


async def test_one_batch_holds_what_is_before_a_commit_the_commit_and_what_is_after(
    server: Server, enter: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await enter(server, "alice", ROOM)
    await alice.begin(ROOM)
    tree = await alice.put(ROOM, b"the next tree")
    sizes: list[tuple[int, int]] = []
    append = Store.append

    async def note(store: Store, batch: Any) -> Any:
        sizes.append((batch.first, batch.last))
        return await append(store, batch)

    monkeypatch.setattr(Store, "append", note)
    together = b"".join(
        b'{"type":"send","room":"vault","n":%d,"epoch":%d,"kind":"%s","body":"%s"%s}\n' % each
        for each in (
            (2, 1, b"message", b"bg==", b""),
            (3, 1, b"commit", b"Yw==", b',"info":"aW5mbw==","tree":"%s"' % tree.encode()),
            (4, 1, b"message", b"bGF0ZQ==", b""),  # too late: it is n + 1 now
            (4, 2, b"message", b"bisx", b""),
        )
    )
    await alice.write(together)
    found = [await alice.read() for _ in range(4)]
    lines = [(each["seq"], each["n"], each["epoch"]) for each in found[:3]]
    assert lines == [(2, 2, 1), (3, 3, 1), (4, 4, 2)]
    assert (found[3]["code"], found[3]["n"], found[3]["epoch"]) == ("stale", 4, 2)
    assert sizes == [(2, 4)]
    # Who is told to read on to a number has been given it.
    line = b'{"type":"send","room":"vault","n":%d,"epoch":%d,"kind":"message","body":""}\n'
    await alice.write(line % (5, 2) + line % (6, 1))
    await alice.expect("message", seq=5)
    await alice.expect("error", code="stale", n=6, seq=5)


# --- Welcomes, infos ---------------------------------------------------------------------


async def test_a_welcome_is_for_its_device_and_the_newest_counts(
    server: Server, enter: Connect
) -> None:
    alice, bob = await enter(server, "alice", ROOM), await enter(server, "bob", ROOM)
    carol = await enter(server, "carol", ROOM, device="phone")
    await alice.begin(ROOM)
    both = [{"to": [bob.device, carol.device], "body": "Zmlyc3Q="}]
    first = await commit(alice, 1, welcomes=both)
    found = await bob.ask("welcome.get", room=ROOM)
    wanted = {"type": "mls-welcome", "room": ROOM, "epoch": 2, "seq": first["seq"]}
    assert wanted.items() <= found.items()
    assert (found["body"], found["tree"]) == ("Zmlyc3Q=", (await info(bob))["tree"])
    await commit(alice, 2, welcomes=[{"to": [bob.device], "body": "c2Vjb25k"}])
    assert (await bob.ask("welcome.get", room=ROOM))["body"] == "c2Vjb25k"
    assert (await carol.ask("welcome.get", room=ROOM))["epoch"] == 2
    assert (await alice.ask("welcome.get", room=ROOM))["code"] == "no-welcome"
    stale = await commit(alice, 1, welcomes=[{"to": [alice.device], "body": "eA=="}])
    assert stale["code"] == "stale"
    assert (await alice.ask("welcome.get", room=ROOM))["code"] == "no-welcome"


async def info(peer: Peer) -> Frame:
    return await peer.ask("info.get", room=ROOM)


async def test_the_info_is_that_of_the_newest_commit(server: Server, enter: Connect) -> None:
    alice = await enter(server, "alice", ROOM)
    await alice.begin(ROOM)
    made = await commit(alice, 1, b"second tree", info="c2Vjb25k")
    found = await info(alice)
    assert (found["epoch"], found["seq"], found["body"]) == (2, made["seq"], "c2Vjb25k")
    assert found["tree"] == hashlib.sha256(b"second tree").hexdigest()
    assert (await alice.ask("leave", room=ROOM))["type"] == "ok"
    for asked in ("info.get", "welcome.get"):
        assert (await alice.ask(asked, room=ROOM))["code"] == "not-member"
    get = {"blob": found["tree"], "offset": 0}
    assert (await alice.ask("blob.get", room=ROOM, **get))["code"] == "not-member"


async def test_a_welcome_is_never_there_before_its_commit(
    server: Server, enter: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await enter(server, "alice", ROOM), await enter(server, "bob", ROOM)
    await alice.begin(ROOM)
    await bob.until("message", seq=1)
    asked, answered = trio.Event(), trio.Event()
    append = Store.append

    async def wait(store: Store, batch: Any) -> Any:
        asked.set()
        await answered.wait()
        return await append(store, batch)

    monkeypatch.setattr(Store, "append", wait)
    tree = await alice.put(ROOM, b"tree")
    fields: dict[str, Any] = {
        "welcomes": [{"to": [bob.device], "body": "eA=="}],
        "info": INFO,
        "tree": tree,
    }
    await alice.seal(ROOM, "commit", 1, **fields)
    await asked.wait()
    assert (await bob.ask("welcome.get", room=ROOM))["code"] == "no-welcome"
    assert (await info(bob))["epoch"] == 1
    answered.set()
    await bob.until("message", seq=2)
    assert (await bob.ask("welcome.get", room=ROOM))["seq"] == 2


async def test_a_commit_that_cannot_be_written_leaves_nothing(
    server: Server, enter: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await enter(server, "alice", ROOM), await enter(server, "bob", ROOM)
    await alice.begin(ROOM)
    await bob.until("message", seq=1)

    async def fail(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise StoreError("disk fault")

    tree = await alice.put(ROOM, b"tree")
    fields: dict[str, Any] = {
        "welcomes": [{"to": [bob.device], "body": "eA=="}],
        "info": INFO,
        "tree": tree,
    }
    with monkeypatch.context() as patched:
        patched.setattr(Store, "append", fail)
        late = b'{"type":"send","room":"vault","n":3,"epoch":1,"kind":"message","body":""}\n'
        made = (
            b'{"type":"send","room":"vault","n":2,"epoch":1,"kind":"commit","body":"",'
            b'"info":"eA==","tree":"%s"}\n' % tree.encode()
        )
        await alice.write(made + late)
        first = await alice.until("error", n=2)
        second = await alice.until("error", n=3)
    # Who lost against a commit that is not there has lost against nothing.
    assert (first["code"], second["code"]) == ("store", "store")
    assert (await bob.ask("welcome.get", room=ROOM))["code"] == "no-welcome"
    assert (await info(bob))["epoch"] == (await bob.join(ROOM))["epoch"] == 1
    alice.said[ROOM] = 1
    await alice.seal(ROOM, "commit", 1, **fields)  # what was put is there still
    await alice.until("message", seq=2)
    assert (await bob.ask("welcome.get", room=ROOM))["epoch"] == 2


@pytest.mark.parametrize("seed", range(3))
async def test_kill_9_leaves_commits_whole_or_not_at_all(
    daemon: StartDaemon, enter: Connect, seed: int
) -> None:
    order = random.Random(seed)
    running = await daemon(durability="process")
    alice = await enter(running, "alice", "lobby")
    assert (await alice.ask("create", room=ROOM))["type"] == "ok"
    await alice.enter(ROOM)
    await alice.begin(ROOM)
    seen = 1

    async def talk() -> None:
        nonlocal seen
        with trio.CancelScope():
            try:
                for epoch in range(1, 10_000):
                    welcomes = [{"to": [alice.device], "body": f"welcome to {epoch + 1}"}]
                    await commit(alice, epoch, welcomes=welcomes, info=f"info of {epoch + 1}")
                    seen = epoch + 1
            except (EOFError, trio.BrokenResourceError):
                pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk)
        wanted = order.randrange(5, 40)
        while seen < wanted:
            await trio.sleep(0.001)
        running.process.kill()
        await running.ended()
    running = await daemon(durability="process")
    alice = await enter(running, "alice", "lobby")
    joined = await alice.join(ROOM)
    found, welcome = await info(alice), await alice.ask("welcome.get", room=ROOM)
    epoch = joined["epoch"]
    assert epoch == joined["seq"] >= seen
    assert (found["epoch"], found["seq"], found["body"]) == (epoch, epoch, f"info of {epoch}")
    assert (welcome["epoch"], welcome["body"]) == (epoch, f"welcome to {epoch}")
    assert (await alice.ask("blob.get", room=ROOM, blob=found["tree"], offset=0))["data"]
    entries = await log_of(alice)
    assert [entry["epoch"] for entry in entries] == list(range(epoch))


# --- blobs -------------------------------------------------------------------------------


async def get(peer: Peer, blob: str) -> bytes:
    found, size = b"", 1
    while len(found) < size:
        part = await peer.ask("blob.get", room=ROOM, blob=blob, offset=len(found))
        assert part["type"] == "blob", part
        size = part["size"]
        found += base64.b64decode(part["data"])
    return found


async def test_a_blob_comes_back_as_it_was_put(server: Server, enter: Connect) -> None:
    alice, bob = await enter(server, "alice", ROOM), await enter(server, "bob", ROOM)
    data = random.Random(1).randbytes(2 * PART + 12345)
    await commit(alice, 0, data, kind="create")
    digest = hashlib.sha256(data).hexdigest()
    assert await get(bob, digest) == data
    for offset in (0, 1, PART - 1, PART, PART + 77, len(data) - 1, len(data), len(data) + 9):
        part = await bob.ask("blob.get", room=ROOM, blob=digest, offset=offset)
        end = (offset // PART + 1) * PART
        assert base64.b64decode(part["data"]) == data[offset:end]
    missing = await bob.ask("blob.get", room=ROOM, blob="0" * 64, offset=0)
    assert missing["code"] == "no-blob"


async def test_what_is_not_a_blob_s_next_part_is_refused(run_server: Serve, enter: Connect) -> None:
    server = await run_server(ROOM, mode="encrypted", blob_size=1000)
    alice = await enter(server, "alice", ROOM)
    good = {"blob": hashlib.sha256(b"x" * 10).hexdigest(), "size": 10, "offset": 0}

    async def put(**fields: Any) -> str:
        reply = await alice.ask("blob.put", room=ROOM, **{**good, **fields})
        return str(reply.get("code", reply["type"]))

    x5 = base64.b64encode(b"x" * 5).decode()
    assert await put(data=x5, offset=5) == "no-blob"  # nothing is here
    assert await put(data="no base64!") == "bad-frame"
    assert await put(data="ñ") == "bad-frame"
    assert await put(data=x5, size=1001) == "too-many"
    assert await put(data=x5, blob="short") == "bad-frame"
    assert await put(data=base64.b64encode(bytes(PART + 1)).decode()) == "bad-frame"
    assert await put(data=x5) == "ok"
    assert await put(data=x5, offset=6) == "bad-frame"
    assert await put(data=base64.b64encode(b"x" * 6).decode(), offset=5) == "bad-frame"
    assert await put(data="", offset=5) == "bad-frame"
    assert await put(data=x5, offset=5) == "ok"  # none of that has spoilt it
    assert await put(data=x5, offset=5) == "bad-frame"  # it is whole
    assert server.uploads.size == 10
    assert await put(data=base64.b64encode(b"y" * 10).decode()) == "bad-frame"  # not its sum
    assert (server.uploads.size, len(server.uploads)) == (0, 0)


async def test_blobs_on_their_way_have_a_limit_and_are_gone_with_their_connection(
    run_server: Serve, enter: Connect
) -> None:
    limits = {"blob_memory": 4000, "blob_size": 1000}
    server = await run_server(ROOM, mode="encrypted", **limits)
    part = {"blob": "0" * 64, "size": 1000, "offset": 0, "data": "eA=="}
    peers = [await enter(server, f"user{number}", ROOM) for number in range(5)]
    for peer in peers[:4]:
        assert (await peer.ask("blob.put", room=ROOM, **part))["type"] == "ok"
    reply = await peers[4].ask("blob.put", room=ROOM, **part)
    assert reply["code"] == "too-many"
    assert reply["retry_after"] > 0
    # One's newest takes the place of one's last, and a person has a share, not all.
    assert (await peers[0].ask("blob.put", room=ROOM, **part))["type"] == "ok"
    peers[1].drop()
    peers[2].reset()
    for _ in range(2):
        await peers[4].until("left")
        if server.uploads.size == 2000:
            break
    assert (server.uploads.size, len(server.uploads)) == (2000, 2)
    other = await enter(server, "user0", ROOM, device="other")
    assert (await other.ask("blob.put", room=ROOM, **part))["code"] == "too-many"
    for peer in (*peers, other):
        peer.drop()
    while server.connections:
        await trio.sleep(0.001)
    assert (server.uploads.size, len(server.uploads)) == (0, 0)


async def test_what_a_commit_has_taken_is_not_in_memory_any_more(
    server: Server, enter: Connect
) -> None:
    alice = await enter(server, "alice", ROOM)
    await alice.begin(ROOM)
    big = [{"to": ["nobody"], "body": "w" * 100_000}]
    made = await commit(alice, 1, b"t" * 1_000_000, info="i" * 50_000, welcomes=big)
    assert made["seq"] == 2
    assert (server.uploads.size, len(server.uploads)) == (0, 0)
    await alice.quiet()
    gc.collect()
    assert not [each for each in gc.get_objects() if isinstance(each, Commit)]
    # One that lost keeps its blob until another is put.
    assert (await commit(alice, 1))["code"] == "stale"
    assert len(server.uploads) == 1


async def test_a_commit_that_never_reaches_its_room_leaves_nothing_in_memory(
    run_server: Serve, enter: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await run_server(ROOM, mode="encrypted", room_queue=1)
    alice, bob = await enter(server, "alice", ROOM), await enter(server, "bob", ROOM)
    await alice.begin(ROOM)
    await bob.until("message", seq=1)
    tree = await alice.put(ROOM, b"a tree")
    (connection,) = server.people[key("alice")]
    room = server.rooms.active(ROOM)
    assert room is not None
    reached, write = trio.Event(), trio.Event()
    append = Store.append

    async def wait(store: Store, batch: Any) -> Any:
        reached.set()
        await write.wait()
        return await append(store, batch)

    monkeypatch.setattr(Store, "append", wait)
    await bob.seal(ROOM, "message", 1)
    await reached.wait()
    await bob.seal(ROOM, "message", 1)  # fills the inbox
    while not room.inbox.statistics().current_buffer_used:
        await trio.lowlevel.checkpoint()
    await alice.seal(ROOM, "commit", 1, info=INFO, tree=tree)
    while not room.inbox.statistics().tasks_waiting_send:
        await trio.lowlevel.checkpoint()
    connection.end("enough")
    await alice.rest()
    assert (server.uploads.size, len(server.uploads)) == (0, 0)
    write.set()
    await bob.until("message", seq=3)
    assert (await bob.join(ROOM))["epoch"] == 1


async def test_a_commit_lets_in_so_many(server: Server, enter: Connect) -> None:
    alice = await enter(server, "alice", ROOM)
    await alice.begin(ROOM)
    welcomes = [{"to": [f"d{number}" for number in range(501)], "body": ""}] * 2
    assert (await commit(alice, 1, welcomes=welcomes))["code"] == "too-many"
    assert (await commit(alice, 1, welcomes=welcomes[:1]))["seq"] == 2


async def test_a_blob_that_nobody_goes_on_with_is_forgotten(
    server: Server, enter: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await enter(server, "alice", ROOM)
    await alice.put(ROOM, b"a tree")
    (connection,) = server.connections
    assert connection.upload is not None
    assert not connection.upload.is_idle(trio.current_time())
    connection.upload.touched -= LIFE + 1
    while server.uploads.size:
        await trio.sleep(0.01)
    error = await fate(
        alice,
        await alice.seal(ROOM, "create", 0, info=INFO, tree=hashlib.sha256(b"a tree").hexdigest()),
    )
    assert error["code"] == "no-blob"


async def test_a_room_keeps_the_blobs_that_are_needed_and_not_too_many(
    server: Server, enter: Connect
) -> None:
    alice = await enter(server, "alice", ROOM)
    await commit(alice, 0, b"tree 0", kind="create")
    has = partial(has_blob, alice)
    await commit(alice, 1, b"tree 1")
    assert await has(b"tree 0")  # the one before is kept
    await commit(alice, 2, b"tree 2", welcomes=[{"to": ["d"], "body": "eA=="}])
    assert not await has(b"tree 0")
    for epoch in range(3, 6):
        await commit(alice, epoch, f"tree {epoch}".encode())
    kept = [await has(f"tree {epoch}".encode()) for epoch in range(6)]
    assert kept == [False, False, True, False, True, True]  # a Welcome wants number 2
    for epoch in range(6, 20):
        welcomes = [{"to": [f"d{epoch}"], "body": "eA=="}]
        await commit(alice, epoch, f"tree {epoch}".encode(), welcomes=welcomes)
    kept = [await has(f"tree {epoch}".encode()) for epoch in range(20)]
    assert kept == [False] * (20 - BLOBS) + [True] * BLOBS
    # Named again, an old one is as good as new.
    again = hashlib.sha256(b"tree 12").hexdigest()
    n = await alice.seal(ROOM, "commit", 20, info=INFO, tree=again)
    assert (await fate(alice, n))["seq"] == 21
    await commit(alice, 21, b"tree 21")
    assert await has(b"tree 12")
    assert not await has(b"tree 13")


async def test_what_is_too_old_goes_from_the_log_and_from_the_room(
    server: Server, enter: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await enter(server, "alice", ROOM)
    await commit(alice, 0, b"tree 0", kind="create", welcomes=[{"to": [alice.device], "body": ""}])
    for epoch in (1, 2):
        await commit(alice, epoch, f"tree {epoch}".encode())
    room = server.rooms.active(ROOM)
    assert room is not None
    assert len(room.ledger.trees) == 3
    assert (await alice.ask("kp.publish", packages=["eA=="]))["count"] == 1
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + server.limits.retention + 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pulse.expire_history, server)
        while len(room.ledger.trees) == 3:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert room.ledger.trees == {
        hashlib.sha256(tree).hexdigest() for tree in (b"tree 1", b"tree 2")
    }
    assert not await has_blob(alice, b"tree 0")
    assert (await alice.ask("welcome.get", room=ROOM))["code"] == "no-welcome"
    assert (await info(alice))["epoch"] == 3  # the group goes on
    assert (await alice.ask("kp.publish", packages=[]))["count"] == 0
    assert (await commit(alice, 3))["seq"] == 4


async def has_blob(peer: Peer, data: bytes) -> bool:
    digest = hashlib.sha256(data).hexdigest()
    reply = await peer.ask("blob.get", room=ROOM, blob=digest, offset=0)
    return bool(reply["type"] == "blob")


async def test_who_comes_late_reads_on_from_the_log(server: Server, enter: Connect) -> None:
    alice = await enter(server, "alice", ROOM)
    await alice.begin(ROOM)
    for number in range(5):
        n = await alice.seal(ROOM, "message", 1, base64.b64encode(bytes([number])).decode())
        await fate(alice, n)
    late = await enter(server, "bob", ROOM, after=2)
    found = [frame for frame in late.frames if frame["type"] == "message"]
    while len(found) < 4:
        found.append(await late.until("message"))
    assert [(frame["seq"], frame["body"]) for frame in found] == [
        (3, "AQ=="),
        (4, "Ag=="),
        (5, "Aw=="),
        (6, "BA=="),
    ]
