"""A client that is killed (SIGKILL) before each of its steps in turn: a program of its own.

    python -m tests.e2ee.wrecks FOLDER

leaves `FOLDER/0`, `FOLDER/1`, ..., each with the store and the wire as they were then, and in
the last one those of a client that was not killed. A step is a statement of SQLite's (making the
tables, BEGIN and COMMIT among them), or a message on the wire.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import apsw

from tests.mls.clients import anybody, room
from trio_chat.e2ee.store import Cursor, Entry, SealedStore
from trio_chat.mls import (
    Group,
    PrivateMessage,
    PublicMessage,
    Services,
    decode_message,
    encode_message,
    restore,
    snapshot,
)

KEY = bytes(range(32))
SERVICES = Services(authenticate=anybody)
ROOM = "lobby"
EPOCH = 7  # the room's; MLS's is 1
Step = Callable[[], None]


def frame(message: PrivateMessage | PublicMessage) -> bytes:
    return encode_message(message)


def opened(data: bytes) -> PrivateMessage:
    message = decode_message(data)
    assert isinstance(message, PrivateMessage)
    return message


class Wire:
    """What has left the client: a file, hexadecimal."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "wire"

    def send(self, data: bytes) -> None:
        with self.path.open("ab", buffering=0) as file:
            file.write(data.hex().encode() + b"\n")

    def sent(self) -> list[bytes]:
        if not self.path.exists():
            return []
        return [bytes.fromhex(line) for line in self.path.read_text().split()]


class Client:
    """It says three things, hears two, and commits before it says the last one."""

    def __init__(self, folder: Path, first: bytes, step: Step) -> None:
        self.step = step
        self.wire = Wire(folder)
        self.store = SealedStore.open(folder / "store", KEY)
        self.group, self.epoch = restore(first, SERVICES), EPOCH
        with self.store.event() as event:
            event.save_group(ROOM, self.group, self.epoch)
            event.set_cursor(ROOM, Cursor(0, "log"))

    def run(self, heard: list[bytes]) -> None:
        for n, data in enumerate(heard):
            self.say(b"text %d" % n)
            self.hear(data)
        self.commit()
        self.say(b"the last")

    def send(self, outgoing: int, group: Group, data: bytes, *, pending: bool = False) -> None:
        with self.store.event() as event:
            event.seal(outgoing, self.epoch, outgoing, data)
            if pending:
                event.save_pending(ROOM, group, self.epoch + 1)
            else:
                event.save_group(ROOM, group, self.epoch)
        self.step()
        self.wire.send(data)
        self.step()

    def came(self, payload: bytes, user: str) -> tuple[Entry, Cursor]:
        cursor = self.store.cursor(ROOM)
        assert cursor is not None
        cursor = Cursor(cursor.seq + 1, "log")
        entry = Entry(
            room=ROOM,
            log="log",
            seq=cursor.seq,
            time=0.0,
            user=user,
            device="1",
            payload=payload,
            text=payload.decode(),
        )
        return entry, cursor

    def say(self, text: bytes) -> None:
        with self.store.event() as event:
            outgoing = event.queue(ROOM, "message", text)
        self.send(outgoing, self.group, frame(self.group.encrypt(text)))
        entry, cursor = self.came(text, "alice")
        with self.store.event() as event:
            event.settle(outgoing)
            event.record(entry)
            event.set_cursor(ROOM, cursor)

    def hear(self, data: bytes) -> None:
        self.group.receive(opened(data))
        entry, cursor = self.came(b"heard", "bob")
        with self.store.event() as event:
            event.record(entry)
            event.set_cursor(ROOM, cursor)
            event.save_group(ROOM, self.group, self.epoch)

    def commit(self) -> None:
        with self.store.event() as event:
            outgoing = event.queue(ROOM, "commit", b"")
        result = self.group.commit()
        self.send(outgoing, result.group, frame(result.message), pending=True)
        self.group, self.epoch = result.group, self.epoch + 1
        entry, cursor = self.came(b"commit", "alice")
        with self.store.event() as event:
            event.set_cursor(ROOM, cursor)
            event.record(entry)
            event.accept(ROOM)
            event.settle(outgoing)


def live(folder: Path, until: int, first: bytes, heard: list[bytes]) -> None:
    """Live for so many steps."""
    steps = 0

    def step(*_: object) -> bool:
        nonlocal steps
        if steps == until:
            os.kill(os.getpid(), signal.SIGKILL)
        steps += 1
        return True

    apsw.connection_hooks.append(lambda db: db.set_exec_trace(step))
    Client(folder, first, step).run(heard)  # type: ignore[arg-type]  # what it returns nobody reads


def main(folder: Path) -> None:
    alice, bob = room("alice", "bob")
    first = snapshot(alice)
    heard = [frame(bob.encrypt(b"heard")) for _ in range(2)]
    folder.joinpath("bob").write_bytes(snapshot(bob))
    folder.joinpath("heard").write_text("\n".join(data.hex() for data in heard))
    until, killed = 0, True
    while killed:
        wreck = folder / str(until)
        wreck.mkdir()
        child = os.fork()
        if not child:
            live(wreck, until, first, heard)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        assert status in (0, signal.SIGKILL), status
        until += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]))
