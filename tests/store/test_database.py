"""A database is opened only if it is ours, private, encrypted with this key and not newer."""

# ruff: noqa: ASYNC240 - a test reads its own small files

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
import trio

from trio_chat.errors import ConfigError, StoreError
from trio_chat.store import Batch, open_store
from trio_chat.store.database import Durability, open_writing
from trio_chat.store.schema import SCHEMA


async def refused(path: Path, key: bytes | None) -> StoreError:
    with pytest.raises(StoreError) as caught:
        async with open_store(path, key=key):
            pytest.fail("it was opened")
    return caught.value


def threads() -> int:
    return sum(thread.name == "trio-chat log" for thread in threading.enumerate())


async def test_the_log_id_is_made_with_the_database(tmp_path: Path, key: bytes) -> None:
    async with open_store(tmp_path / "one", key=key) as store:
        one = store.log_id
    async with open_store(tmp_path / "one", key=key) as store:
        assert store.log_id == one
    async with open_store(tmp_path / "two", key=key) as store:
        assert store.log_id != one


@pytest.mark.parametrize("wrong", [bytes(32), None])
async def test_another_key_or_none_opens_nothing(
    path: Path, key: bytes, wrong: bytes | None
) -> None:
    async with open_store(path, key=key):
        pass
    before = path.read_bytes()
    error = await refused(path, wrong)
    assert str(error) == f"{path} is no database, or is not encrypted with this key"
    assert error.hint == f"put back the {path}.key that was made with it"
    assert path.read_bytes() == before
    assert key.hex() not in repr(error.__cause__)


async def test_a_database_in_the_clear_is_not_opened_with_a_key(path: Path, key: bytes) -> None:
    async with open_store(path, key=None):
        pass
    assert "not encrypted with this key" in str(await refused(path, key))


async def test_what_is_no_database_is_refused(path: Path, key: bytes) -> None:
    path.write_bytes(b"These are not the rows you are looking for.\n" * 100)
    path.chmod(0o600)
    assert "is no database" in str(await refused(path, key))


async def test_a_key_of_another_length_is_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match="32 bytes"):
        async with open_store(path, key=b"short"):
            pytest.fail("it was opened")


async def test_the_database_of_another_program_is_refused(path: Path) -> None:
    foreign = apsw.Connection(os.fspath(path))
    foreign.execute("CREATE TABLE recipe(name)")
    foreign.close()
    path.chmod(0o600)
    assert "not of trio-chat" in str(await refused(path, None))


async def test_a_newer_database_is_refused_with_what_to_do(path: Path) -> None:
    async with open_store(path, key=None):
        pass
    newer = apsw.Connection(os.fspath(path))
    newer.pragma("user_version", SCHEMA + 1)
    newer.close()
    error = await refused(path, None)
    assert "is newer" in str(error)
    assert error.hint == "update trio-chat"


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such modes")
async def test_every_file_is_private_and_one_that_is_not_is_refused(path: Path, key: bytes) -> None:
    old = os.umask(0)
    try:
        async with open_store(path, key=key):
            modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    finally:
        os.umask(old)
    assert modes == dict.fromkeys(["chat.db", "chat.db-wal", "chat.db-shm", "chat.db.lock"], 0o600)
    path.chmod(0o604)
    with pytest.raises(ConfigError, match="others can read"):
        async with open_store(path, key=key):
            pytest.fail("it was opened")


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("process", 1)])
async def test_the_settings_are_what_durability_promises(
    path: Path, key: bytes, durability: Durability, level: int
) -> None:
    async with open_writing(path, key=key, durability=durability) as database:
        assert await database.run(lambda db: db.pragma("synchronous")) == level
        assert await database.run(lambda db: db.pragma("journal_mode")) == "wal"
        assert await database.run(lambda db: db.pragma("secure_delete")) == 1


async def test_what_is_written_cannot_be_read_in_the_files(
    path: Path, key: bytes, batch: Callable[..., Batch]
) -> None:
    def everything() -> bytes:
        return b"".join(file.read_bytes() for file in path.parent.iterdir())

    async with open_store(path, key=key) as store:
        room = await store.create_room("canaryroom", mode="plain", now=0.0)
        await store.append(batch(room.id, 1, counters={"canarydevice": 1}, topic="canarytopic"))
        await store.put("canarykey", b"canaryvalue", rev=0)
        assert (path.parent / "chat.db-wal").stat().st_size
        assert b"canary" not in everything()
        assert b"line 1" not in everything()
    assert b"canary" not in everything()
    assert b"SQLite format 3" not in everything()


async def test_no_thread_and_no_log_is_left_behind(path: Path, key: bytes) -> None:
    async with open_store(path, key=key) as store:
        await store.create_room("lobby", mode="plain", now=0.0)
        assert threads() == 2
    with trio.CancelScope() as scope:
        async with open_store(path, key=key):
            scope.cancel()
            await trio.sleep_forever()
    await refused(path, None)
    for thread in threading.enumerate():
        if thread.name == "trio-chat log":
            await trio.to_thread.run_sync(thread.join, 5.0)
    assert threads() == 0
    assert sorted(file.name for file in path.parent.iterdir()) == ["chat.db", "chat.db.lock"]


async def test_a_path_that_cannot_be_made_is_an_error_with_its_name(
    tmp_path: Path, key: bytes
) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        async with open_store(tmp_path / "nowhere" / "chat.db", key=key):
            pytest.fail("it was opened")


async def test_a_lock_that_cannot_be_made_is_an_error_with_its_name(path: Path) -> None:
    path.with_name("chat.db.lock").mkdir()
    with pytest.raises(ConfigError, match=r"cannot make .*chat\.db\.lock"):
        async with open_store(path, key=None):
            pytest.fail("it was opened")


async def test_the_bodys_error_comes_out_as_it_is(path: Path, key: bytes) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with open_store(path, key=key):
            raise KeyError("mine")


async def test_the_write_ahead_log_is_laid_out_and_holds_nothing(path: Path, key: bytes) -> None:
    async with open_store(path, key=key) as store:
        log = path.with_name(f"{path.name}-wal")
        size = log.stat().st_size
        assert size > 4_000_000
        assert path.stat().st_size < 100_000
        for number in range(50):
            await store.put(f"entry {number}", b"x" * 1000, rev=0)
        assert log.stat().st_size == size  # what is written overwrites
    async with open_store(path, key=key) as store:
        assert (await store.get("entry 49")) is not None


@pytest.mark.skipif(os.name != "posix", reason="limits are of POSIX")
async def test_a_log_that_cannot_be_laid_out_is_used_as_it_is(path: Path, key: bytes) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))  # bytes of any file
    try:
        async with open_store(path, key=key) as store:
            assert path.with_name(f"{path.name}-wal").stat().st_size <= 1_000_000
            assert await store.put("entry", b"x", rev=0) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
