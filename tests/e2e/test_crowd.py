"""Many clients at once in one encrypted room: they race, come and go, and agree all the same."""

from __future__ import annotations

import contextlib
import os
import random  # noqa: TID251 - repeatable, from a printed seed
import shutil
import socket
import subprocess
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
import trio
import trio.lowlevel

from tests.conftest import Serve
from tests.peer import Connect, Peer
from tests.people import People
from tests.sealed import Disks, Taker, encryption_of, sealed_room
from trio_chat import Client, Message
from trio_chat.client import connecting
from trio_chat.client.backoff import Backoff
from trio_chat.e2ee.conversation import Conversation
from trio_chat.e2ee.device import DeviceId
from trio_chat.e2ee.following import Door
from trio_chat.e2ee.store import SealedStore
from trio_chat.e2ee.wishes import Leave
from trio_chat.errors import ChatError

SEED = 20_260_5
ROOM = "lobby"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "Backoff", partial(Backoff, longest=0.05))


def conversation_of(client: Client) -> Conversation:
    found = sealed_room(client, ROOM).conversation
    assert found is not None
    return found


async def agreed(*clients: Client, deadline: float = 60) -> None:
    """Wait until all are in the same epoch of the same group, with nothing left to do."""

    def view(client: Client) -> object:
        room, conversation = sealed_room(client, ROOM), conversation_of(client)
        group = conversation.membership.group
        if group is None or room.queue or room._orders or conversation._outbox.flying:
            return None
        if conversation.cursor is None or conversation.cursor.seq < room.state.seq:
            return None
        return (conversation.membership.epoch, group.epoch_authenticator)

    with trio.fail_after(deadline):
        while True:
            views = {view(client) for client in clients}
            if len(views) == 1 and None not in views:
                return
            await trio.sleep(0.01)


# --- all commit at once ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "epochs"), [(8, 25), pytest.param(8, 1000, marks=pytest.mark.stress)]
)
@pytest.mark.timeout(1200)
async def test_who_commit_at_once_win_one_by_one_and_agree(
    run_server: Serve,
    disks: Disks,
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
    enter: Connect,
    count: int,
    epochs: int,
) -> None:
    server = await run_server(mode="encrypted")
    lost = 0
    refused = Conversation.refused

    def look(self: Conversation, n: int, code: str, *args: Any, **options: Any) -> None:
        nonlocal lost
        lost += code == "stale"
        refused(self, n, code, *args, **options)

    monkeypatch.setattr(Conversation, "refused", look)
    async with AsyncExitStack() as stack:
        clients = []
        for number in range(count):
            name = f"user{number % 4}"
            use = disks.use(server.port, name, f"d{number}")
            clients.append(client := await stack.enter_async_context(use))
            nursery.start_soon(Taker(client).run)
            await client.join(ROOM)
            account = encryption_of(client).account
            account.uniform = partial(at_once, random.Random(SEED + number))
            conversation_of(client).wishes._uniform = lambda _low, _high: 0.0
        await agreed(*clients)
        start = conversation_of(clients[0]).membership.epoch
        while conversation_of(clients[0]).membership.epoch < start + epochs:
            for client in clients:
                room = sealed_room(client, ROOM)
                room._order(partial(renew_at, encryption_of(client).clock()))
            await agreed(*clients)
        turns = await turns_of(await enter(server, "witness", ROOM))
    assert turns == list(range(len(turns))), "an epoch has ended twice, or not at all"
    assert len(turns) >= start + epochs
    assert lost >= epochs, "there was no race to lose"
    print(f"{len(turns)} epochs, {lost} lost races")


def at_once(rng: random.Random, low: float, high: float) -> float:
    """As `uniform`, but for tests that have no time."""
    return rng.uniform(low, high / 10)


def renew_at(now: float, conversation: Conversation) -> None:
    conversation.wishes.update(now)


async def turns_of(peer: Peer) -> list[int]:
    """The epochs that have ended, in the order of the server's log."""
    joined = await peer.join(ROOM, after=0)
    found = []
    while True:
        entry = await peer.until("message")
        if entry["kind"] in ("commit", "create"):
            found.append(entry["epoch"])
        if entry["seq"] == joined["seq"]:
            return found


# --- people come and go -----------------------------------------------------------------------


WEIGHTS = {"say": 100, "go": 16, "come": 24, "leave": 8, "cut": 12, "revoke": 1}
KINDS = ("p256", "rsa", "ed25519")


@attrs.define(eq=False)
class Device:
    """One device's life: its disk, and its client while that runs."""

    user: str
    name: str
    options: dict[str, Any]
    client: Client | None = None
    scope: trio.CancelScope | None = None
    ready: trio.Event = attrs.field(factory=trio.Event)
    ended: trio.Event = attrs.field(factory=trio.Event)
    read: Counter[str] = attrs.field(factory=Counter)
    gone: bool = False  # revoked

    async def run(self, disks: Disks, port: int) -> None:
        """Be online until cancelled."""
        with trio.CancelScope() as self.scope:
            try:
                async with disks.use(port, self.user, self.name, **self.options) as client:
                    self.client = client
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self.take, client)
                        await client.join(ROOM)
                        self.ready.set()
                        await trio.sleep_forever()
            except* ChatError:
                assert self.gone, "a client has ended that nobody has revoked"
        self.client = None
        self.ready.set()
        self.ended.set()

    async def take(self, client: Client) -> None:
        async for event in client:
            if isinstance(event, Message):
                self.read[event.text] += 1

    def history(self, disks: Disks) -> list[str]:
        """What this device has on its disk."""
        from trio_chat.client.news import shown
        from trio_chat.e2ee.key import load_or_make_key

        path = disks.store(self.user, self.name)
        with SealedStore.open(path, load_or_make_key(path)) as store:
            found = shown(ROOM, store.history(ROOM, limit=1_000_000))
            device = store.kept("device")
            assert device is not None
        return [each.text for each in found if isinstance(each, Message)]


def certify(people: People, name: str, number: int, folder: Path) -> dict[str, Any]:
    """A certificate of the kind that is this person's turn, every other one by `openssl`."""
    kind = KINDS[number % len(KINDS)]
    if number % 2 and shutil.which("openssl"):
        made = {
            "p256": ("ecparam", "-name", "prime256v1", "-genkey", "-noout"),
            "rsa": ("genrsa", "2048"),
            "ed25519": ("genpkey", "-algorithm", "ed25519"),
        }
        key, csr, crt = (folder / f"{name}.{end}" for end in ("key", "csr", "crt"))
        ca = people.ca
        for words in (
            (*made[kind], "-out", key) if kind != "rsa" else ("genrsa", "-out", key, "2048"),
            ("req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", csr),
            (
                *("x509", "-req", "-in", csr, "-CA", ca, "-CAkey", ca.with_suffix(".key")),
                *("-CAcreateserial", "-CAserial", folder / "ca.srl", "-days", 30, "-out", crt),
            ),
        ):
            subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
        key.chmod(0o600)
        return {"cert": crt, "key": key}
    issued = people.authority.issue_client(name, key_type=cast(Any, kind), out=folder)
    return {"cert": issued.crt, "key": issued.key}


@pytest.mark.parametrize(
    ("users", "devices", "messages"),
    [(4, 8, 200), pytest.param(15, 30, 10_000, marks=pytest.mark.stress)],
)
@pytest.mark.timeout(7200)
async def test_who_was_in_when_it_was_said_reads_it_and_nobody_else(
    run_server: Serve,
    own_people: People,
    disks: Disks,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    users: int,
    devices: int,
    messages: int,
) -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    server = await run_server(
        ca=own_people.ca, mode="encrypted", connections_per_address=100, claims_per_hour=10**6
    )
    folder = tmp_path / "certificates"
    folder.mkdir()
    here = Disks(own_people, disks.folder)
    them: list[Device] = []
    for number in range(devices):
        name = f"user{number % users}"
        options = (
            them[number % users].options
            if number >= users
            else certify(own_people, name, number, folder)
        )
        them.append(Device(name, f"d{number}", options))

    readers: dict[bytes, set[DeviceId]] = {}  # what is said -> the device ids that can read it
    owners: dict[bytes, Device] = {}
    seal = Conversation._seal

    def look(self: Conversation, group: Any, now: float) -> None:
        """Note who is in the group that something is encrypted for."""
        seal(self, group, now)
        there = {one.device_id for one in self.membership.members.values()}
        for row in self._outbox._sealed.values():
            if row.payload:
                readers[row.payload] = there

    monkeypatch.setattr(Conversation, "_seal", look)
    said: dict[str, bytes] = {}

    async with trio.open_nursery() as nursery:

        async def come(device: Device) -> None:
            device.ready, device.ended = trio.Event(), trio.Event()
            nursery.start_soon(device.run, here, server.port)
            await device.ready.wait()
            if device.client is not None:
                account = encryption_of(device.client).account
                owners[account.device.id] = device
                account.uniform = lambda low, high: rng.uniform(low, high / 20)
                conversation_of(device.client).wishes._uniform = account.uniform

        async def go(device: Device) -> None:
            assert device.scope is not None
            assert device.client is not None
            while not device.client.online:  # its hello might else come after its successor's
                await trio.sleep(0.01)
            device.scope.cancel()
            await device.ended.wait()

        async def leave(device: Device) -> None:
            """Leave the group, and the room, and come back from outside."""
            assert device.client is not None
            room = sealed_room(device.client, ROOM)
            token = room.want(lambda c: c.want(Leave()))
            with trio.move_on_after(20):
                while conversation_of(device.client).door is not Door.OUT:
                    await trio.sleep(0.01)
            room.take_back(token)
            await device.client.rooms[ROOM].leave()
            await device.client.join(ROOM)

        async def say(device: Device, text: str) -> None:
            assert device.client is not None
            sent = await device.client.rooms[ROOM].send(text)
            assert sent.text == text

        for device in them:
            await come(device)
        number = revoked = 0
        happened: Counter[str] = Counter()
        while number < messages:
            online = [d for d in them if d.client is not None and not d.gone]
            what = rng.choices(*zip(*WEIGHTS.items(), strict=True))[0]
            if not revoked and number > messages // 2:
                what = "revoke"
            happened[what] += 1
            match what:
                case "say":
                    burst = [
                        f"{number + k} {rng.randbytes(8).hex()}" for k in range(rng.randrange(1, 9))
                    ]
                    number += len(burst)
                    async with trio.open_nursery() as talk:
                        for text in burst:
                            talk.start_soon(say, rng.choice(online), text)
                    said.update((text, b"") for text in burst)
                case "go" if len(online) > 2:
                    await go(rng.choice(online))
                case "come":
                    away = [d for d in them if d.client is None and not d.gone]
                    if away:
                        await come(rng.choice(away))
                case "leave" if len(online) > 2:
                    await leave(rng.choice(online))
                case "cut":
                    chosen = rng.choice(online)
                    assert chosen.client is not None
                    stream = cast(Any, chosen.client._connection._stream)
                    with contextlib.suppress(OSError):  # it is away already
                        number_of_it = os.dup(stream.transport_stream.socket.fileno())
                        with socket.socket(fileno=number_of_it) as line:
                            line.shutdown(socket.SHUT_RDWR)
                case "revoke" if revoked < users // 4:
                    user = rng.choice(sorted({d.user for d in online}))
                    if len({d.user for d in online}) > 2:
                        revoked += 1
                        for device in them:
                            device.gone = device.gone or device.user == user
                        await revoke(own_people, next(d for d in them if d.user == user))
                        for device in them:
                            if device.user == user and device.client is not None:
                                await device.ended.wait()
        for device in them:
            if device.client is None and not device.gone:
                await come(device)
        await say(next(d for d in them if d.client is not None), "the end")
        alive = [d.client for d in them if d.client is not None]
        await agreed(*alive)
        nursery.cancel_scope.cancel()
    print(dict(happened))

    from trio_chat.e2ee.payload import Text, decode_payload

    can_read = {}
    for payload, ids in readers.items():
        found = decode_payload(payload)
        if isinstance(found, Text):
            can_read[found.text] = {owners[each] for each in ids if each in owners}
    assert said.keys() <= can_read.keys()
    for device in them:
        history = device.history(here)
        assert len(history) == len(set(history)), "something was read twice"
        for text in said:
            if device in can_read[text]:
                assert device.gone or text in history, f"{device.user} {device.name} lacks {text}"
            else:
                assert text not in history, f"{device.user} {device.name} has read {text}"
        assert max(device.read.values(), default=1) == 1
    assert {device.gone for device in them} == {True, False}


async def revoke(people: People, device: Device) -> None:
    from cryptography import x509

    found = x509.load_pem_x509_certificates(device.options["cert"].read_bytes())[0]
    await trio.to_thread.run_sync(people.authority.revoke, [found.serial_number])
