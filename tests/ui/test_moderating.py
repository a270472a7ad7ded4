"""Commands about people and passwords, and what the log's entries look like."""

from __future__ import annotations

import json
import time
from typing import Any, TypeAlias

import pytest

from trio_chat.errors import Forbidden
from trio_chat.protocol.frames import (
    Acted,
    Kicked,
    Member,
    ModeChanged,
    RoleChanged,
    RoomInfo,
    SanctionInfo,
)
from trio_chat.ui import deeds, render
from trio_chat.ui.render import Reader

Stage: TypeAlias = Any  # of conftest.py

READER = Reader("alice", "ops", time.gmtime)


@pytest.fixture
async def ops(stage: Stage) -> Stage:
    """Alice in the room `ops`, with bob on two devices, one of which has a name."""
    room = stage.client.room("ops", "alice")
    for device, name in (("k1.Kq3xT9bWz0Lm", None), ("k2", "laptop")):
        room.members[device] = Member(user="Bob", device=device, name=name)
    await stage.start(["ops"])
    stage.client.calls.clear()
    return stage


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("/op bob", ("set_role", "ops", "bob", "moderator")),
        ("/op @bob OWNER", ("set_role", "ops", "bob", "owner")),
        ("/deop bob", ("set_role", "ops", "bob", "member")),
        ("/invite bob", ("invite", "ops", "bob")),
        ("/kick bob", ("kick", "ops", "bob", None)),
        ("/kick bob too loud", ("kick", "ops", "bob", "too loud")),
        ("/ban bob", ("ban", "ops", {"user": "bob", "seconds": None, "reason": None})),
        ("/ban bob 2h", ("ban", "ops", {"user": "bob", "seconds": 7200, "reason": None})),
        ("/ban bob 2h a  b", ("ban", "ops", {"user": "bob", "seconds": 7200, "reason": "a  b"})),
        (
            "/ban bob too loud",
            ("ban", "ops", {"user": "bob", "seconds": None, "reason": "too loud"}),
        ),
        (
            "/ban bob/laptop 30m",
            ("ban", "ops", {"user": "bob", "device": "laptop", "seconds": 1800, "reason": None}),
        ),
        ("/unban bob/Kq3xT9bW", ("unban", "ops", {"user": "bob", "device": "k1.Kq3xT9bWz0Lm"})),
        ("/unban address:::1", ("unban", "ops", {"address": "::1"})),
        ("/mute bob 1d", ("mute", "ops", {"user": "bob", "seconds": 86400, "reason": None})),
        ("/unmute bob", ("unmute", "ops", {"user": "bob"})),
        ("/bans", ("sanctions", "ops")),
    ],
)
async def test_a_command_is_a_call(ops: Stage, line: str, call: tuple[Any, ...]) -> None:
    await ops.type(line)
    assert ops.client.calls == [call]


async def test_outside_a_room_nothing_is_done(stage: Stage) -> None:
    await stage.start([])
    stage.client.calls.clear()
    for line in ("/kick bob", "/ban bob", "/op bob", "/bans", "/invite bob"):
        await stage.type(line)
    assert stage.client.calls == []
    assert "you are in no room" in stage.screen


async def test_a_role_that_is_none_is_refused(ops: Stage) -> None:
    await ops.type("/op bob king")
    assert ops.client.calls == []
    assert "there is no role king" in ops.screen


async def test_what_the_server_refuses_is_said(ops: Stage) -> None:
    ops.client.refused["kick"] = Forbidden("only a moderator or an owner of the room may do that")
    await ops.type("/kick bob")
    assert "error: only a moderator or an owner of the room may do that" in ops.screen


# --- passwords -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("/create den", ["encrypted"]),
        ("/create den hunter2", ["encrypted", {"password": "hunter2"}]),
        ("/create --plain den", ["plain"]),
        ("/create den --plain --closed", ["plain", {"access": "closed"}]),
        ("/create --plain den hunter2", ["plain", {"password": "hunter2"}]),
        (
            "/create den hunter2 --closed",
            ["encrypted", {"access": "closed", "password": "hunter2"}],
        ),
    ],
)
async def test_create_takes_options_and_a_password(
    stage: Stage, line: str, options: list[Any]
) -> None:
    await stage.start([])
    await stage.type(line)
    assert ("create", "den", *options) in stage.client.calls
    assert "hunter2" not in stage.screen
    assert stage.core.room_name == "den"


@pytest.mark.parametrize(
    "rest", ["a hunter2", "--secret", "--password hunter2", "--plain a hunter2"]
)
async def test_what_create_does_not_understand_is_not_sent_and_not_shown(
    stage: Stage, rest: str
) -> None:
    await stage.start([])
    stage.client.calls.clear()
    await stage.type(f"/create den {rest}")
    assert stage.client.calls == []
    assert "more than a room and a password" in stage.screen
    assert "hunter2" not in stage.screen


async def test_create_asks_twice_for_a_password(stage: Stage) -> None:
    await stage.start([])
    stage.face.secrets = ["hunter2", "hunter2"]
    await stage.type("/create den --password")
    assert ("create", "den", "encrypted", {"password": "hunter2"}) in stage.client.calls
    stage.face.secrets = ["hunter2", "hunter3"]
    await stage.type("/create nest --password")
    assert "not the same twice" in stage.screen
    await stage.type("/create nest --password")  # nobody to ask
    assert "no password was given" in stage.screen
    assert [call[:2] for call in stage.client.calls if call[0] == "create"] == [("create", "den")]


async def test_join_asks_where_the_room_wants_a_password(stage: Stage) -> None:
    stage.client.room("vault", "bob")
    stage.client.passwords["vault"] = "hunter2"
    await stage.start([])
    stage.face.secrets = ["hunter2"]
    await stage.type("/join vault")
    assert stage.face.questions == ["the password of vault: "]
    assert stage.core.room_name == "vault"
    await stage.type("/leave vault", "/join vault hunter2")
    assert stage.core.room_name == "vault"
    assert len(stage.face.questions) == 1
    await stage.type("/leave vault", "/join vault hunter3")
    assert "it wants a password" in stage.screen
    assert len(stage.face.questions) == 1  # it was given, and wrong
    assert "hunter" not in stage.screen


# --- how it looks --------------------------------------------------------------------------


def acted(kind: type[Acted], **about: Any) -> Any:
    return kind(**{"room": "ops", "seq": 1, "time": 60.0, "sender": "alice", **about})


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (acted(Kicked, user="bob"), "alice has put bob out"),
        (acted(Kicked, user="bob", reason="a\x1b[2J"), "alice has put bob out: a\u241b[2J"),
        (acted(RoleChanged, user="bob", role="owner"), "alice has made bob an owner"),
        (acted(RoleChanged, user="bob", role="king"), "alice has made bob king"),
        (acted(ModeChanged, change="ban", user="bob"), "alice has banned bob"),
        (
            acted(ModeChanged, change="ban", user="bob", whose="laptop", until=3600.0, reason="x"),
            "alice has banned bob's device laptop until 1970-01-01 01:00: x",
        ),
        (acted(ModeChanged, change="ban"), "alice has banned an address"),
        (
            acted(ModeChanged, change="mute", user="bob", everywhere=True, sender="server"),
            "whoever runs the server has muted bob everywhere",
        ),
        (acted(ModeChanged, change="unmute", user="{0}"), "alice has ended the mute of {0}"),
        (
            acted(ModeChanged, change="master-key", user="alice"),
            "alice has come in as an admin, without invitation or password",
        ),
        (acted(ModeChanged, change="new", user="b"), "alice has changed something about b"),
    ],
)
def test_an_entry_is_a_sentence(event: Any, text: str) -> None:
    (line,) = render.render(event, READER)
    assert line.text == f"00:01 -- {text}"


def test_bans_are_listed() -> None:
    found = [
        SanctionInfo(kind="ban", user="bob", since=0.0, by="alice", until=60.0, reason="spam"),
        SanctionInfo(kind="mute", address="::1", since=0.0, by="server"),
    ]
    assert [line.text for line in deeds.sanctions(found, READER)] == [
        "bob is banned until 1970-01-01 00:01, by alice: spam",
        "::1 is muted, by whoever runs the server",
    ]
    (none,) = deeds.sanctions([], READER)
    assert none.text == "nobody is banned or muted here"


def test_a_room_with_a_password_is_marked() -> None:
    info = RoomInfo(room="vault", mode="plain", topic="", count=1, seq=0, locked=True)
    (line,) = render.rooms([info], READER, ())
    assert line.text == "  vault (plain, 1 connection, wants a password)"


async def test_an_entry_is_shown_once_and_moves_the_cursor(ops: Stage) -> None:
    entry = acted(Kicked, user="bob")
    await ops.happen(entry, entry)
    assert ops.screen.count("has put bob out") == 1
    assert ops.core.cursors.get("ops") == 1


async def test_in_an_encrypted_room_it_hides_nothing_that_is_decrypted_later(ops: Stage) -> None:
    room = ops.client.rooms["ops"]
    room.mode = "encrypted"
    said = room.said("bob", "slow to open")
    await ops.happen(acted(Kicked, user="bob", seq=said.seq + 1), said)
    assert "slow to open" in ops.screen
    assert json.dumps(ops.core.cursors.get("ops")) == "1"
