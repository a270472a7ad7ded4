"""`trio_chat.store.backup`: a copy of one moment, made while others write."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
import trio

from trio_chat.errors import ConfigError, StoreError
from trio_chat.store import Batch, Store, back_up, inspect_database, open_store
from trio_chat.store import backup as module

MakeBatch = Callable[..., Batch]


async def filled(store: Store, batch: MakeBatch, lines: int = 500) -> int:
    room = (await store.create_room("lobby", mode="plain", now=0.0)).id
    for n in range(1, lines + 1):
        await store.append(batch(room, n, counters={"d": n}))
    return room


def named(folder: Path, part: str) -> list[str]:
    return [name for name in os.listdir(folder) if part in name]


def spoil(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(20_000)
        file.write(b"\0" * 5000)


async def lines_of(path: Path, key: bytes, room: int) -> list[bytes]:
    async with open_store(path, key=key) as store:
        rows = await store.read_after(room, 0, 1 << 30)
        return b"".join(row.body for row in rows).split(b"\n")[:-1]


async def test_a_copy_made_under_load_is_a_prefix_with_all_that_was_acknowledged(
    path: Path, key: bytes, tmp_path: Path, batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_STEP", 4)  # so that much is written between the steps
    target = tmp_path / "copy.db"
    acknowledged = 500
    async with open_store(path, key=key, durability="process") as store:
        room = await filled(store, batch)

        async def write(scope: trio.CancelScope) -> None:
            nonlocal acknowledged
            with scope:
                while True:
                    n = acknowledged + 1
                    await store.append(batch(room, n, counters={"d": n}))
                    acknowledged = n

        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, scope)
            while acknowledged < 600:
                await trio.lowlevel.checkpoint()
            before = acknowledged
            await back_up(path, target, key=key)
            after = acknowledged
            scope.cancel()
        assert after > before  # nobody was held up
    copied = await lines_of(target, key, room)
    assert before <= len(copied) <= after
    assert copied == [b"line %d" % n for n in range(1, len(copied) + 1)]


async def test_the_copy_is_private_encrypted_whole_and_alone(
    path: Path, key: bytes, tmp_path: Path, batch: MakeBatch
) -> None:
    folder = tmp_path / "backup"
    folder.mkdir()
    target = folder / "copy.db"
    async with open_store(path, key=key) as store:
        room = await filled(store, batch)
        size = await back_up(path, target, key=key)
    assert list(folder.iterdir()) == [target]
    assert size == target.stat().st_size
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert b"SQLite format" not in target.read_bytes()
    assert b"line 7" not in target.read_bytes()
    assert inspect_database(target, key=key).problems == []
    with pytest.raises(StoreError, match="not encrypted with its key"):
        inspect_database(target, key=bytes(32))
    assert len(await lines_of(target, key, room)) == 500


@pytest.mark.parametrize("there", ["file", "link", "later"])
async def test_nothing_is_ever_overwritten(
    path: Path, key: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    target = tmp_path / "copy.db"
    match there:
        case "file":
            target.write_bytes(b"mine")
        case "link":
            target.symlink_to(tmp_path / "nowhere")
        case "later":
            check = module._check
            monkeypatch.setattr(
                module, "_check", lambda *words: (check(*words), target.write_bytes(b"mine"))
            )
    async with open_store(path, key=key):
        with pytest.raises(ConfigError, match="is there already"):
            await back_up(path, target, key=key)
    assert there == "link" or target.read_bytes() == b"mine"
    assert not named(tmp_path, ".copy")


async def test_a_file_system_without_links_gets_a_copy_as_well(
    path: Path, key: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    target = tmp_path / "copy.db"
    async with open_store(path, key=key):
        monkeypatch.setattr(os, "link", no_links)
        await back_up(path, target, key=key)
        with pytest.raises(ConfigError, match="is there already"):
            await back_up(path, target, key=key)
    assert inspect_database(target, key=key).problems == []
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


async def test_a_place_that_cannot_be_written_is_an_error_that_names_it(
    path: Path, key: bytes, tmp_path: Path
) -> None:
    async with open_store(path, key=key):
        with pytest.raises(ConfigError, match=r"cannot write .*none/copy.db: No such file"):
            await back_up(path, tmp_path / "none" / "copy.db", key=key)


async def test_a_copy_that_is_not_sound_is_not_kept(
    path: Path, key: bytes, tmp_path: Path, batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = module._Copy.close

    def close_and_spoil(self: module._Copy, source: apsw.Connection) -> None:
        close(self, source)
        spoil(self.path)

    monkeypatch.setattr(module._Copy, "close", close_and_spoil)
    target = tmp_path / "copy.db"
    async with open_store(path, key=key) as store:
        await filled(store, batch)
        with pytest.raises(StoreError, match="copy"):
            await back_up(path, target, key=key)
    assert not named(tmp_path, "copy")


async def test_cancelled_it_leaves_nothing_and_the_store_goes_on(
    path: Path, key: bytes, tmp_path: Path, batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_STEP", 1)
    async with open_store(path, key=key) as store:
        room = await filled(store, batch)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: back_up(path, tmp_path / "copy.db", key=key))
            while not named(tmp_path, ".copy"):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert not named(tmp_path, "copy")
        await store.append(batch(room, 501))


async def test_a_database_is_inspected_while_it_is_used_and_after_without_a_trace(
    path: Path, key: bytes, batch: MakeBatch
) -> None:
    async with open_store(path, key=key) as store:
        await filled(store, batch, 3)
        used = await trio.to_thread.run_sync(lambda: inspect_database(path, key=key))
    there = sorted(path.parent.iterdir())
    alone = inspect_database(path, key=key)
    assert (used.in_use, alone.in_use) == (True, False)
    assert used.problems == alone.problems == []
    assert used.newest == alone.newest == 1.0
    assert sorted(path.parent.iterdir()) == there


async def test_damage_is_found(path: Path, key: bytes, batch: MakeBatch) -> None:
    async with open_store(path, key=key) as store:
        await filled(store, batch)
    spoil(path)
    try:
        problems = inspect_database(path, key=key).problems
    except StoreError as error:
        problems = [str(error)]
    assert problems
