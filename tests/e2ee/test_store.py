"""What a client keeps: it comes back, all of an event or nothing, and goes when it should."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import apsw
import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mls.clients import agree, anybody, bundle, follow, room, sent, welcomed
from trio_chat.e2ee.store import _TABLES, Cursor, Entry, Outgoing, SealedStore
from trio_chat.errors import ConfigError, StoreError
from trio_chat.mls import Add, Group, KeyPackageSource, Received, Services, encode_message, snapshot

KEY = bytes(range(32))
SERVICES = Services(authenticate=anybody)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(path: Path) -> Iterator[SealedStore]:
    with SealedStore.open(path, KEY) as store:
        yield store


def entry(text: str, seq: int | None = 1, **fields: object) -> Entry:
    base = Entry(room="lobby", log="a", seq=seq, time=0.0, user="alice", device="1", text=text)
    return attrs.evolve(base, **fields)  # type: ignore[arg-type]  # by name


def group(store: SealedStore, room: str, *, pending: bool = False) -> Group | None:
    found = store.group(room, SERVICES, pending=pending)
    return found[0] if found else None


# Opening


def test_what_was_written_is_there_again(path: Path) -> None:
    with SealedStore.open(path, KEY) as store, store.event() as event:
        event.keep("device", b"key")
        event.keep("device", b"other key")
    with SealedStore.open(path, KEY) as store:
        assert store.kept("device") == b"other key"
        assert store.kept("nothing") is None
    assert path.stat().st_mode & 0o777 == 0o600


def test_another_key_does_not_open_it(path: Path) -> None:
    SealedStore.open(path, KEY).close()
    with pytest.raises(StoreError, match="not encrypted with this key"):
        SealedStore.open(path, bytes(32))
    with pytest.raises(ConfigError, match="32 bytes"):
        SealedStore.open(path, b"short")
    SealedStore.open(path, KEY).close()


def test_only_one_client_has_it_open(path: Path, store: SealedStore) -> None:
    with pytest.raises(StoreError, match="in use by another client"):
        SealedStore.open(path, KEY)
    store.close()
    SealedStore.open(path, KEY).close()


def test_a_file_that_others_can_read_is_refused(path: Path) -> None:
    SealedStore.open(path, KEY).close()
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="others can read"):
        SealedStore.open(path, KEY)


def test_what_is_no_store_of_ours_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE t(x)")
    db.close()
    path.chmod(0o600)
    with pytest.raises(StoreError, match="no database"):
        SealedStore.open(path, KEY)


@pytest.mark.parametrize(
    ("pragma", "why"), [("user_version = 2", "newer"), ("application_id = 7", "not of a trio-chat")]
)
def test_newer_stores_and_other_programs_are_refused(path: Path, pragma: str, why: str) -> None:
    with SealedStore.open(path, KEY) as store:
        store._rows(f"PRAGMA {pragma}")
    with pytest.raises(StoreError, match=why):
        SealedStore.open(path, KEY)


def test_an_event_that_fails_leaves_nothing(store: SealedStore) -> None:
    def write(*more: Entry) -> None:
        with store.event() as event:
            event.keep("a", b"1")
            event.record(entry("hello"))
            for each in more:
                event.record(each)
            raise KeyError

    with pytest.raises(KeyError):
        write()
    with pytest.raises(StoreError, match="cannot be used"):
        write(entry("again", time=1.0))  # one place cannot come twice
    assert store.kept("a") is None
    assert not store.history("lobby")
    assert not store.search("hello")
    with pytest.raises(KeyError):
        write()  # nothing is left open


# Groups


def test_a_group_goes_on_where_it_was(store: SealedStore) -> None:
    alice, bob = room("alice", "bob")
    with store.event() as event:
        event.save_group("lobby", alice, 1)
        event.save_group("den", bob, 1)
    assert store.rooms() == ["den", "lobby"]
    again, other = group(store, "lobby"), group(store, "den")
    assert again is not None
    assert other is not None
    assert snapshot(again) == snapshot(alice)
    assert other.receive(sent(again.encrypt(b"hi"))) == Received(0, b"hi", b"")
    assert group(store, "nowhere") is None


def trees(store: SealedStore) -> set[bytes]:
    return {data for (data,) in store._rows("SELECT data FROM tree")}


def test_the_tree_is_written_once_for_its_epoch(store: SealedStore) -> None:
    alice, _ = room("alice", "bob")
    with store.event() as event:
        event.save_group("lobby", alice, 1)
    written = store._db.total_changes()
    with store.event() as event:
        alice.encrypt(b"")
        event.save_group("lobby", alice, 1)
    assert store._db.total_changes() - written == 1  # the state alone
    assert trees(store) == {alice.ratchet_tree()}
    alice = alice.commit().group
    with store.event() as event:
        event.save_group("lobby", alice, 1)
    assert trees(store) == {alice.ratchet_tree()}


def test_our_commit_is_kept_until_it_has_won(store: SealedStore) -> None:
    alice, bob = room("alice", "bob")
    result = alice.commit()
    with store.event() as event:
        event.save_group("lobby", alice, 1)
        outgoing = event.queue("lobby", "commit", b"rotate")
        event.seal(outgoing, 1, 1, encode_message(result.message))
        event.save_pending("lobby", result.group, 2)
    assert trees(store) == {alice.ratchet_tree(), result.group.ratchet_tree()}
    now, then = group(store, "lobby"), group(store, "lobby", pending=True)
    assert now is not None
    assert then is not None
    assert agree(now, alice)
    with store.event() as event:
        event.accept("lobby")
    won = group(store, "lobby")
    assert won is not None
    assert agree(won, follow(bob, result))
    assert group(store, "lobby", pending=True) is None
    assert trees(store) == {won.ratchet_tree()}
    with store.event() as event:
        event.accept("lobby")  # nothing is pending: nothing happens
    assert group(store, "lobby") is not None


def test_anothers_commit_ends_what_ours_would_have_led_to(store: SealedStore) -> None:
    alice, bob = room("alice", "bob")
    result, other = alice.commit(), bob.commit()
    with store.event() as event:
        event.save_group("lobby", alice, 1)
        outgoing = event.queue("lobby", "commit", b"")
        event.seal(outgoing, 1, 1, b"sealed")
        event.save_pending("lobby", result.group, 2)
        event.save_group("lobby", alice, 1)  # a message of this epoch does not
    assert group(store, "lobby", pending=True) is not None
    followed = follow(alice, other)
    with store.event() as event:
        event.save_group("lobby", followed, 2)
    assert group(store, "lobby", pending=True) is None
    assert trees(store) == {followed.ratchet_tree()}


def test_the_rooms_epoch_is_kept_beside_the_group(store: SealedStore) -> None:
    alice, _ = room("alice", "bob")
    with store.event() as event:
        event.save_group("lobby", alice, 41)
        outgoing = event.queue("lobby", "commit", b"")
        event.seal(outgoing, 41, 1, b"sealed")
        event.save_pending("lobby", alice.commit().group, 42)

    def epoch(*, pending: bool = False) -> int | None:
        found = store.group("lobby", SERVICES, pending=pending)
        return found[1] if found else None

    assert (epoch(), epoch(pending=True)) == (41, 42)
    assert store.outbox("lobby")[0].epoch == 41
    with store.event() as event:
        event.accept("lobby")
    assert (epoch(), epoch(pending=True)) == (42, None)


def test_a_fresh_group_goes_on_in_the_rooms_epochs_not_in_its_own(store: SealedStore) -> None:
    """It is in its epoch 0 when the room is in its 42nd: neither ends the other too early."""
    old = room("alice", "bob")[0].commit().group
    fresh, rival = (Group.create(bundle(who), b"new", authenticate=anybody) for who in "ab")
    assert fresh.epoch < old.epoch
    with store.event() as event:
        event.save_group("lobby", old, 41)
        outgoing = event.queue("lobby", "create", b"")
        event.seal(outgoing, 41, 1, b"sealed")
        event.save_pending("lobby", fresh, 42)
        event.save_group("lobby", old, 41)
    kept = group(store, "lobby", pending=True)
    assert kept is not None
    assert agree(kept, fresh)
    with store.event() as event:
        event.save_group("lobby", rival, 42)  # somebody else's was first
    assert group(store, "lobby", pending=True) is None


def test_a_room_begins_with_a_commit_that_is_on_its_way(store: SealedStore) -> None:
    (alice,) = room("alice")
    with store.event() as event:
        outgoing = event.queue("lobby", "create", b"")
        event.seal(outgoing, 0, 1, b"sealed")
        event.save_pending("lobby", alice, 1)
    assert store.rooms() == []
    assert group(store, "lobby") is None
    with store.event() as event:
        event.accept("lobby")
        event.settle(outgoing)
    found = store.group("lobby", SERVICES)
    assert found is not None
    assert agree(found[0], alice)
    assert found[1] == 1


def test_who_was_in_a_group_outlives_it(store: SealedStore) -> None:
    with store.event() as event:
        event.keep_members("lobby", {"bob": {"2", "1"}, "alice": ["3"]})
        event.keep_members("den", {})
        event.drop_group("lobby")
    assert store.members("lobby") == {"alice": frozenset("3"), "bob": frozenset("12")}
    assert store.members("den") == store.members("nowhere") == {}


def test_a_group_is_forgotten_with_its_tree(store: SealedStore) -> None:
    alice, bob = room("alice", "bob")
    with store.event() as event:
        event.save_group("lobby", alice, 1)
        event.save_group("den", bob, 1)
        outgoing = event.queue("lobby", "commit", b"")
        event.seal(outgoing, 1, 1, b"sealed")
        event.save_pending("lobby", alice.commit().group, 2)
        event.drop_group("lobby", pending=True)
    assert group(store, "lobby") is not None
    assert group(store, "lobby", pending=True) is None
    with store.event() as event:
        event.drop_group("lobby")
    assert store.rooms() == ["den"]
    assert group(store, "den") is not None


# Key packages


def test_a_key_package_is_for_one_join_but_for_the_last_resort(store: SealedStore) -> None:
    alice, _ = room("alice", "bob")
    one, last = bundle("carol"), bundle("carol")
    refs = [each.key_package.reference(each.suite) for each in (one, last)]
    with store.event() as event:
        event.add_bundle(one)
        event.add_bundle(last, last_resort=True)
    assert store.bundles() == {refs[0]: False, refs[1]: True}
    kept = store.bundle(refs[0])
    assert kept is not None
    result = alice.commit(Add(one.key_package), ratchet_tree=True)
    assert agree(result.group, Group.join(welcomed(result), kept, authenticate=anybody))
    with store.event() as event:
        for ref in refs:
            event.use_bundle(ref)
    assert store.bundle(refs[0]) is None
    assert store.bundles() == {refs[1]: True}


def test_key_packages_that_are_over_are_erased(store: SealedStore) -> None:
    with store.event() as event:
        event.add_bundle(bundle("a", lifetime=KeyPackageSource(0, 99)))
        event.add_bundle(bundle("b", lifetime=KeyPackageSource(0, 100)), last_resort=True)
        event.add_bundle(bundle("c"))  # for ever
    for before, left in ((99, 3), (99.5, 2), (2**63 - 1, 1)):
        with store.event() as event:
            event.expire_bundles(before)
        assert len(store.bundles()) == left


# Pins, cursors, the outbox


def test_pins_and_cursors(store: SealedStore) -> None:
    with store.event() as event:
        event.pin("bob", b"1")
        event.pin("bob", b"2")
        event.pin("carol", b"3")
        event.unpin("carol")
        event.set_cursor("lobby", Cursor(7, "a"))
        event.set_cursor("lobby", Cursor(2, "b"))
    assert store.pins() == {"bob": b"2"}
    assert store.cursor("lobby") == Cursor(2, "b")
    assert store.cursor("den") is None


def test_the_outbox_goes_from_wanted_to_sealed_to_settled(store: SealedStore) -> None:
    alice, _ = room("alice", "bob")
    with store.event() as event:
        one = event.queue("lobby", "message", b"1")
        two = event.queue("lobby", "message", b"2")
        event.queue("den", "message", b"3")
    with store.event() as event:
        event.seal(two, 3, 5, b"sealed")
        event.save_group("lobby", alice, 3)
    first = Outgoing(id=one, room="lobby", kind="message", payload=b"1")
    second = Outgoing(
        id=two, room="lobby", kind="message", payload=b"2", n=5, epoch=3, sealed=b"sealed"
    )
    assert store.outbox("lobby") == [first, second]
    with store.event() as event:
        event.unseal(two)
    assert store.outbox("lobby") == [first, attrs.evolve(second, n=None, epoch=None, sealed=None)]
    with store.event() as event:
        event.settle(two)
        event.settle(one)
        assert event.queue("lobby", "message", b"4") > two  # an id never comes again
    with pytest.raises(StoreError, match="not in the outbox"), store.event() as event:
        event.seal(two, 3, 6, b"late")


# History


def test_history_comes_in_its_order_and_in_pages(store: SealedStore) -> None:
    entries = [entry(f"t{n}", n, payload=b"%d" % n, failure="") for n in range(1, 6)]
    with store.event() as event:
        for each in entries:
            event.record(each)
        event.record(entry("elsewhere", 1, room="den"))
        event.set_cursor("lobby", Cursor(5, "a"))  # places are those of the log that is followed
    assert store.history("lobby") == entries
    assert store.history("lobby", limit=2) == entries[3:]
    assert store.history("lobby", before=4, limit=2) == entries[1:3]


def test_the_last_entry_of_a_kind_is_found_by_how_it_begins(store: SealedStore) -> None:
    with store.event() as event:
        for number, payload in enumerate((b"topic 1", b"topic 2", b"text"), 1):
            event.record(entry("t", number, payload=payload, failure=""))
    found = store.last("lobby", b"topic")
    assert found is not None
    assert found.payload == b"topic 2"
    assert store.last("den", b"topic") is None
    assert store.last("lobby", b"opic") is None


def test_a_log_that_begins_anew_goes_on_below_the_old_one(store: SealedStore) -> None:
    old, new = entry("old", 9), entry("", 1, log="b", failure="its key is gone")
    ours = entry("ours", None)
    with store.event() as event:
        for each in (old, new, ours, ours):
            event.record(each)
    assert store.history("lobby") == [old, new, ours, ours]


def test_words_are_found_whatever_their_case_and_accents(store: SealedStore) -> None:
    with store.event() as event:
        event.record(entry("Grüße aus dem Café", 1))
        event.record(entry("der Kaffee ist kalt", 2))
        event.record(entry("cafe again", 1, room="den"))

    def found(words: str, room: str | None = None) -> list[str]:
        return [each.text for each in store.search(words, room=room)]

    assert found("cafe") == ["Grüße aus dem Café", "cafe again"]
    assert found("GRÜSSE") == []  # it folds no ß
    assert found("gruße aus") == ["Grüße aus dem Café"]
    assert found("cafe", room="den") == ["cafe again"]
    assert found("kaff") == ["der Kaffee ist kalt"]  # the beginning of a word
    assert found("kalt kaffee") == ["der Kaffee ist kalt"]
    assert found("kaffee cafe") == []
    assert found("") == found(" ") == []


@given(st.text(max_size=12) | st.text('"*^():-+ aNORTD{}\0\ud800', max_size=12))
def test_whatever_is_searched_for_is_no_error(words: str) -> None:
    memory = apsw.Connection(":memory:")
    memory.execute(_TABLES)
    SealedStore(memory).search(words)


def test_history_is_forgotten_by_age_and_by_room(store: SealedStore) -> None:
    with store.event() as event:
        event.record(entry("one", 1, time=10.0))
        event.record(entry("two", 2, time=20.0))
        event.record(entry("three", 1, time=10.0, room="den"))
        event.forget(20.0, room="lobby")
    assert [each.text for each in store.history("lobby")] == ["two"]
    assert [each.text for each in store.history("den")] == ["three"]
    assert not store.search("one")
    with store.event() as event:
        event.forget(21.0)
    assert not store.history("lobby") + store.history("den")


# What is gone is gone


def bare(path: Path) -> bytes:
    """The pages of a closed store as they are, decrypted."""
    db = apsw.Connection(str(path))
    db.pragma("cipher", "chacha20")
    db.pragma("key", f"raw:{KEY.hex()}")
    db.execute("SELECT * FROM sqlite_schema")
    data = db.serialize("main")
    db.close()
    assert data.startswith(b"SQLite format 3\0")
    return data


def test_nothing_that_was_said_is_left_once_it_is_forgotten(path: Path) -> None:
    with SealedStore.open(path, KEY) as store:
        with store.event() as event:
            for n in range(300):
                event.record(entry(f"canary{n} sings", n, payload=b"canary" * (n % 50), time=n))
        with store.event() as event:
            event.forget(150.0)
    assert b"canary2" in bare(path)
    with SealedStore.open(path, KEY) as store, store.event() as event:
        event.forget(1000.0)
    assert b"canary" not in bare(path)
    assert b"sings" not in bare(path)


def test_no_past_key_of_a_group_is_left(path: Path) -> None:
    """Forward secrecy of what lies on the disk, over epochs and messages of several rooms."""
    groups = {name: room("alice", "bob", "carol") for name in ("lobby", "den", "attic")}
    past: set[bytes] = set()

    def secrets(group: Group) -> set[bytes]:
        own, other = group.secret_tree.ratchets.get(0), group.secret_tree.ratchets.get(1)
        ratchets = [each.secret for pair in (own, other) if pair for each in pair]
        return {group.secrets.init_secret, group.keys[0], *ratchets}

    with SealedStore.open(path, KEY) as store:
        for turn in range(40):
            for name, members in groups.items():
                with store.event() as event:
                    for _ in range(turn % 3):
                        members[0].receive(sent(members[1].encrypt(b"hi")))
                        members[0].encrypt(b"hi")
                    event.save_group(name, members[0], turn)
                past |= secrets(members[0])
                if turn % 4 == 3:
                    result = members[0].commit()
                    members[:] = [result.group, *(follow(each, result) for each in members[1:])]
                    with store.event() as event:
                        event.save_group(name, members[0], turn)
    data = bare(path)
    present = set().union(*(secrets(members[0]) for members in groups.values()))
    assert all(secret in data for secret in present)
    left = [secret for secret in past - present if secret in data]
    assert not left, f"{len(left)} of {len(past)}"


def test_a_used_key_package_leaves_no_private_key(path: Path) -> None:
    bundles = [bundle("carol") for _ in range(20)]
    with SealedStore.open(path, KEY) as store:
        with store.event() as event:
            for each in bundles:
                event.add_bundle(each)
        with store.event() as event:
            for each in bundles[:10]:
                event.use_bundle(each.key_package.reference(each.suite))
    data = bare(path)
    assert all(each.init_private not in data for each in bundles[:10])
    assert all(each.init_private in data for each in bundles[10:])
