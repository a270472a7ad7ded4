"""Killed between any two steps, a client comes back with all of each event or nothing of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from tests.e2ee.wrecks import EPOCH, KEY, ROOM, SERVICES, Wire, frame, opened
from trio_chat.e2ee.store import SealedStore
from trio_chat.mls import Group, ProtocolError, Received, restore

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills by fork")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wrecks")
    subprocess.run(
        [sys.executable, "-m", "tests.e2ee.wrecks", str(folder)],
        cwd=Path(__file__).parents[2],
        check=True,
    )
    return folder


@pytest.fixture(scope="module")
def wrecks(folder: Path) -> list[Path]:
    found = sorted(
        (path for path in folder.iterdir() if path.is_dir()), key=lambda path: int(path.name)
    )
    assert len(found) > 80
    assert len(Wire(found[-1]).sent()) == 4
    return found


class Bob:
    """Who hears all that is on the wire; what he accepts was under a key of its own."""

    def __init__(self, folder: Path) -> None:
        self.group = restore(folder.joinpath("bob").read_bytes(), SERVICES)
        self.texts: list[bytes] = []

    def hear(self, data: bytes) -> None:
        match self.group.receive(opened(data)):
            case Received(data=text):
                self.texts.append(text)
            case Group() as group:
                self.group = group


def test_nothing_is_half_there(wrecks: list[Path]) -> None:
    for wreck in wrecks:
        if not wreck.joinpath("store").exists():
            continue
        with SealedStore.open(wreck / "store", KEY) as store:
            assert store._rows("PRAGMA integrity_check") == [("ok",)]
            store._rows("INSERT INTO words(words, rank) VALUES('integrity-check', 1)")
            cursor = store.cursor(ROOM)
            assert (cursor is not None) == (store.rooms() == [ROOM])
            history = store.history(ROOM)
            assert [entry.seq for entry in history] == [
                *range(1, (cursor.seq if cursor else 0) + 1)
            ]
            assert len(store.search("text")) == sum(b"text" in each.payload for each in history)
            for outgoing in store.outbox(ROOM):
                assert (outgoing.n is None) == (outgoing.sealed is None)
                pending = store.group(ROOM, SERVICES, pending=True)
                sealed_commit = outgoing.kind == "commit" and outgoing.sealed is not None
                assert (pending is not None) == sealed_commit


def test_no_key_is_used_twice_and_nothing_is_lost_or_doubled(
    folder: Path, wrecks: list[Path], tmp_path: Path
) -> None:
    for found in wrecks:
        wreck = shutil.copytree(found, tmp_path / found.name)
        wire = Wire(wreck).sent()
        if not wreck.joinpath("store").exists():
            assert not wire
            continue
        bob = Bob(folder)
        for data in wire:
            bob.hear(data)
        with SealedStore.open(wreck / "store", KEY) as store:
            if (kept := store.group(ROOM, SERVICES)) is None:
                assert not wire
                continue
            group, epoch = kept
            assert epoch == group.epoch - 1 + EPOCH
            wanted = [each.payload for each in store.history(ROOM) if each.user == "alice"]
            wanted += [each.payload for each in store.outbox(ROOM)]
            for outgoing in store.outbox(ROOM):
                if outgoing.sealed is None:
                    if outgoing.kind == "commit":
                        continue  # it was not sent; whether it is still wanted, its maker knows
                    data = frame(group.encrypt(outgoing.payload))
                    with store.event() as event:
                        event.seal(outgoing.id, epoch, outgoing.id, data)
                        event.save_group(ROOM, group, epoch)
                    bob.hear(data)
                elif outgoing.sealed not in wire:
                    bob.hear(outgoing.sealed)
                if outgoing.kind == "commit":
                    with store.event() as event:
                        event.accept(ROOM)
            assert store.group(ROOM, SERVICES, pending=True) is None
            kept = store.group(ROOM, SERVICES)
            assert kept is not None
            group, epoch = kept
            assert epoch == group.epoch - 1 + EPOCH
            assert group.epoch_authenticator == bob.group.epoch_authenticator
            bob.hear(frame(group.encrypt(b"after")))
            wanted = [text for text in wanted if text not in (b"", b"commit")]
            assert bob.texts == [*wanted, b"after"]


def test_what_was_heard_is_heard_once(folder: Path, wrecks: list[Path]) -> None:
    messages = [opened(bytes.fromhex(line)) for line in (folder / "heard").read_text().split()]
    partly = 0
    for wreck in wrecks:
        if not wreck.joinpath("store").exists():
            continue
        with SealedStore.open(wreck / "store", KEY) as store:
            if (kept := store.group(ROOM, SERVICES)) is None or kept[1] != EPOCH:
                continue
            group, _ = kept
            heard = sum(entry.user == "bob" for entry in store.history(ROOM))
            partly += heard == 1
            for message in messages[:heard]:
                with pytest.raises(ProtocolError):
                    group.receive(message)
            for message in messages[heard:]:
                group.receive(message)
    assert partly


def test_the_wrecks_are_of_every_kind(wrecks: list[Path]) -> None:
    """Sealed and not sent; sent and not settled; a commit on its way: each is among them."""
    kinds: set[tuple[str, bool, bool]] = set()
    for wreck in wrecks[:-1]:
        if not wreck.joinpath("store").exists():
            continue
        wire = Wire(wreck).sent()
        with SealedStore.open(wreck / "store", KEY) as store:
            for each in store.outbox(ROOM):
                kinds.add((each.kind, each.sealed is not None, each.sealed in wire))
    sealed_and_sent = [(False, False), (True, False), (True, True)]
    assert kinds == {(kind, *both) for kind in ("message", "commit") for both in sealed_and_sent}


def test_nobody_reads_the_store_without_its_key(wrecks: list[Path]) -> None:
    for path in wrecks[-1].iterdir():
        if path.name == "wire":
            continue
        data = path.read_bytes()
        for plain in (b"SQLite format", b"text 0", b"history", b"alice"):
            assert plain not in data
    with pytest.raises(apsw.NotADBError):
        apsw.Connection(str(wrecks[-1] / "store")).execute("SELECT * FROM sqlite_schema")
