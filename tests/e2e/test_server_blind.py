"""What is said in encrypted rooms is nowhere on the server: not on its disk, log or memory."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
import trio

from tests.daemon import Daemon, StartDaemon
from tests.sealed import Disks, Taker, published, sealed_room
from trio_chat.e2ee.payload import Verify
from trio_chat.store import load_or_make_key
from trio_chat.store.database import unlock

# Different words, so that a failure says which of them was found.
SECRETS = {
    kind: f"canary-{kind}-{number:08x}"
    for number, kind in enumerate(
        ("chat", "action", "notice", "topic", "private", "verify", "search", "plainly"),
        start=0x5EED0000,
    )
}
FORMS = {"chat": None, "action": "action", "notice": "notice"}


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no /proc here")
async def test_neither_disk_nor_log_nor_memory_of_the_server_has_what_was_said(
    daemon: StartDaemon, disks: Disks, nursery: trio.Nursery, tmp_path: Path
) -> None:
    running = await daemon("--verbose")
    async with disks.use(running.port, "alice") as alice, disks.use(running.port, "bob") as bob:
        taker = await nursery.start(Taker(bob).run)
        await alice.create("secret")
        await alice.create("plain", mode="plain")
        await published(alice, bob)
        secret, plain = await alice.join("secret"), await alice.join("plain")
        private = await alice.direct("bob")
        for kind, form in FORMS.items():
            await secret.send(f"{SECRETS[kind]} in a room", form=form)  # type: ignore[arg-type]
        await secret.set_topic(SECRETS["topic"])
        await private.send(SECRETS["private"])
        await taker.text(SECRETS["private"])
        step = Verify(SECRETS["verify"].encode())
        await alice._wait(sealed_room(alice, private.name).say(step))
        assert alice._encryption is not None
        found = await alice._encryption.search(secret._state, SECRETS["chat"], 10)
        assert len(found) == 1
        assert not await alice._encryption.search(secret._state, SECRETS["search"], 10)
        await plain.send(SECRETS["plainly"])  # the search below must find this one

        memory = b"".join(read_memory(running))
        assert words_in(memory) == {"plainly"}
        assert (
            words_in(files_of(tmp_path / "chat.db")) == set()
        )  # not even that: the database is encrypted
    running.process.terminate()
    await running.ended()
    assert words_in("\n".join(running.log).encode()) == set()
    assert words_in(decrypted(tmp_path / "chat.db")) == {"plainly"}


def files_of(database: Path) -> bytes:
    """All files of a database, as they lie on the disk."""
    found = [path.read_bytes() for path in database.parent.glob(f"{database.name}*")]
    assert len(found) > 2, "there is no write-ahead log"
    return b"".join(found)


def words_in(data: bytes) -> set[str]:
    """Which of the secrets are there, in any form in which the server could have them."""
    found = set()
    for kind, text in SECRETS.items():
        raw = text.encode()
        wide, hidden = text.encode("utf-32-le"), text.encode("utf-16-le")
        if any(form in data for form in (raw, raw.hex().encode(), wide, hidden)):
            found.add(kind)
    return found


def read_memory(running: Daemon) -> Iterator[bytes]:
    """Everything that the server's process has in memory, region by region."""
    folder = Path(f"/proc/{running.process.pid}")
    read = 0
    with (folder / "mem").open("rb", 0) as memory:
        for line in (folder / "maps").read_text().splitlines():
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r.*?(\S*)$", line)
            if match is None or match[3] in ("[vvar]", "[vsyscall]", "[vvar_vclock]"):
                continue
            start, end = int(match[1], 16), int(match[2], 16)
            memory.seek(start)
            with contextlib.suppress(OSError):
                data = memory.read(end - start)
                read += len(data)
                yield data
    assert read > 10_000_000, "that was not the whole process"


def decrypted(database: Path) -> bytes:
    """All that the server's tables hold, as it reads them itself."""
    db = apsw.Connection(str(database), apsw.SQLITE_OPEN_READWRITE)
    unlock(load_or_make_key(database), db)
    tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    assert "message" in tables or len(tables) > 5, tables
    found = []
    for table in tables:
        for row in db.execute(f"SELECT * FROM {table}"):
            found += [each if isinstance(each, bytes) else str(each).encode() for each in row]
    db.close()
    return b"\n".join(found)
