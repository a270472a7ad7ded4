"""`trio_chat.store.audit`: entries are only added, and a change of any is found."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import apsw
import pytest
import trio

from trio_chat.store import AuditChain, AuditEntry, AuditRow, open_store
from trio_chat.store.database import unlock


def entry(action: str, **fields: object) -> AuditEntry:
    given = {"time": 1.5, "actor": "uid 1", "target": "", "outcome": "begun", **fields}
    return AuditEntry(action=action, **given)  # type: ignore[arg-type]  # what is given fits


async def written(path: Path, key: bytes, *actions: str) -> list[AuditRow]:
    async with open_store(path, key=key) as store:
        for action in actions:
            await store.add_audit(entry(action))
        return await store.read_audit(0, 100)


def problem(rows: list[AuditRow]) -> tuple[int, str | None]:
    chain = AuditChain()
    for row in rows:
        if found := chain.follow(row):
            return chain.n, found
    return chain.n, None


async def test_a_database_without_entries_has_an_empty_log(path: Path, key: bytes) -> None:
    async with open_store(path, key=key) as store:
        assert await store.read_audit(0, 10) == []
        assert await store.last_audit() == 0


async def test_each_entry_has_the_hash_of_the_one_before(path: Path, key: bytes) -> None:
    rows = await written(path, key, "kick", "drain")
    rows += await written(path, key, "reload")  # the chain goes on after a restart
    first, second, third = rows[0], rows[1], rows[-1]
    assert json.loads(first.line) == {
        "n": 1,
        "time": 1.5,
        "actor": "uid 1",
        "action": "kick",
        "target": "",
        "outcome": "begun",
        "of": None,
        "before": "0" * 64,
    }
    assert second.fields()["before"] == hashlib.sha256(first.line).hexdigest() == first.hash
    assert (third.n, third.fields()["before"]) == (3, second.hash)
    assert problem([first, second, third]) == (3, None)


async def test_entries_that_come_together_are_numbered_one_by_one(path: Path, key: bytes) -> None:
    async with open_store(path, key=key) as store:
        async with trio.open_nursery() as nursery:
            for n in range(50):
                nursery.start_soon(store.add_audit, entry(f"a{n}"))
        assert await store.last_audit() == 50
        assert problem(await store.read_audit(0, 100)) == (50, None)
        assert [row.n for row in await store.read_audit(47, 2)] == [48, 49]


@pytest.mark.parametrize("statement", ["DELETE FROM audit", "UPDATE audit SET line = x'00'"])
async def test_the_database_refuses_to_change_an_entry(
    path: Path, key: bytes, statement: str
) -> None:
    await written(path, key, "kick")
    db = apsw.Connection(str(path))
    unlock(key, db)
    with pytest.raises(apsw.ConstraintError, match="only added to"):
        db.execute(statement)
    db.close()


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        (
            "UPDATE audit SET line = CAST(replace(line, 'i', 'y') AS BLOB) WHERE n = 2",
            (1, "was changed"),
        ),
        (
            "UPDATE audit SET line = CAST(replace(line, 'i', 'y') AS BLOB) WHERE n = 4",
            (3, "was changed"),
        ),
        ("UPDATE audit SET line = x'ff' WHERE n = 3", (2, "was changed")),
        ("DELETE FROM audit WHERE n = 2", (1, "entry 2 is missing")),
        ("DELETE FROM audit WHERE n = 1", (0, "entry 1 is missing")),
        ("DELETE FROM audit WHERE n = 1; UPDATE audit SET n = n - 1", (0, "another number")),
    ],
)
async def test_what_somebody_changes_all_the_same_is_found(
    path: Path, key: bytes, statement: str, found: tuple[int, str]
) -> None:
    await written(path, key, *["kick"] * 4)
    db = apsw.Connection(str(path))
    unlock(key, db)
    db.execute("DROP TRIGGER audit_kept; DROP TRIGGER audit_unchanged")
    db.execute(statement)
    db.close()
    n, text = problem(await written(path, key))
    assert (n, text is not None and found[1] in text) == (found[0], True), text


async def test_an_entry_written_anew_with_its_hash_breaks_the_one_after_it(
    path: Path, key: bytes
) -> None:
    rows = await written(path, key, *["kick"] * 3)
    line = rows[1].line.replace(b"kick", b"kiss")
    rows[1] = AuditRow(2, line, hashlib.sha256(line).hexdigest())
    n, text = problem(rows)
    assert (n, text) == (2, "entry 3 does not follow entry 2: that had another hash")
