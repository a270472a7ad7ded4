from __future__ import annotations

from typing import Any, TypeAlias

import pytest

from trio_chat.protocol.frames import Person
from trio_chat.ui import commands
from trio_chat.ui.commands import COMMANDS, Call, UsageError, Words, parse

Stage: TypeAlias = Any  # of conftest.py

WANTED = {
    "/help": ("/ayuda", "/ajuda", "?"),
    "/users": ("/usuarios", "!usuarios", "/names", "/who"),
    "/rooms": ("/list", "/salas"),
    "/create": (),
    "/join": (),
    "/leave": ("/part",),
    "/msg": ("/to", "/w"),
    "/me": (),
    "/topic": (),
    "/away": (),
    "/back": (),
    "/whois": (),
    "/fp": (),
    "/verify": (),
    "/accept": (),
    "/check": (),
    "/search": (),
    "/server": (),
    "/nick": (),
    "/register": (),
    "/login": (),
    "/devices": (),
    "/revoke": (),
    "/shutdown": (),
    "/invite": (),
    "/kick": (),
    "/ban": (),
    "/unban": (),
    "/bans": (),
    "/mute": (),
    "/unmute": (),
    "/op": (),
    "/deop": (),
    "/clear": ("/limpiar",),
    "/quit": ("/exit", "/salir", "/sair"),
}


def called(line: str) -> tuple[str, tuple[str | None, ...]]:
    found = parse(line)
    assert isinstance(found, Call)
    return found.command.name, found.arguments


def test_the_table_has_every_command_with_its_aliases() -> None:
    assert {command.name: command.aliases for command in COMMANDS} == WANTED


def test_no_word_means_two_commands() -> None:
    words = [word for c in COMMANDS for word in (c.name, *c.aliases)]
    assert len(words) == len(set(words))
    assert all(word == word.casefold() for word in words)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help_is_one_line_lower_case_without_a_full_stop(command: commands.Command) -> None:
    assert command.help[0].islower()
    assert not command.help.endswith(".")
    assert "\n" not in command.help
    assert len(command.usage) + len(command.help) < 78


@pytest.mark.parametrize(
    ("line", "name", "arguments"),
    [
        ("/help", "/help", (None,)),
        ("?", "/help", (None,)),
        ("? join", "/help", ("join",)),
        ("/AYUDA", "/help", (None,)),
        ("!usuarios", "/users", (None,)),
        ("!Usuarios ops", "/users", ("ops",)),
        ("/join  ops ", "/join", ("ops", None)),
        ("/join ops secret", "/join", ("ops", "secret")),
        ("/create ops --plain  secret", "/create", (None, "ops", "--plain  secret")),
        ("/ban bob 2h too loud", "/ban", ("bob", "2h", "too loud")),
        ("/to bob  hello  there", "/msg", ("bob", "hello  there")),
        ("/me waves  twice", "/me", ("waves  twice",)),
        ("  /quit  ", "/quit", ()),
        ("/topic", "/topic", (None,)),
        ("  /LOGIN bob my own secret ", "/login", ("bob", "my own secret")),
        ("/register bob", "/register", ("bob", None)),
        ("/away gone for lunch", "/away", ("gone for lunch",)),
        ("/create den", "/create", (None, "den", None)),
        ("/create --plain den", "/create", ("--plain", "den", None)),
        ("/create --PLAIN  den", "/create", ("--PLAIN", "den", None)),
        ("/fp", "/fp", (None, None)),
        ("/fp bob qr", "/fp", ("bob", "qr")),
        ("/verify bob yes", "/verify", ("bob", "yes")),
        ("/search two words", "/search", ("two words",)),
    ],
)
def test_a_line_is_a_command(line: str, name: str, arguments: tuple[str | None, ...]) -> None:
    assert called(line) == (name, arguments)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("hello", "hello"),
        (" indented", " indented"),
        ("//etc/hosts", "/etc/hosts"),
        ("///x", "//x"),
        (" //x", " /x"),
        ("/quit\n", "/quit\n"),
        ("/join a\n/join b", "/join a\n/join b"),
        ("quit", "quit"),
        ("exit", "exit"),
        ("what? no", "what? no"),
        ("http://x", "http://x"),
    ],
)
def test_a_line_is_text(line: str, text: str) -> None:
    assert parse(line) == Words(text)


@pytest.mark.parametrize(
    ("line", "text", "hint"),
    [
        ("/jion ops", "there is no command /jion; nothing was sent", "did you mean /join?"),
        ("/etc/hosts", "there is no command /etc/hosts; nothing was sent", "//"),
        ("/", "there is no command /; nothing was sent", "/help"),
        ("/ help", "there is no command /; nothing was sent", "/help"),
        ("/\x1b[2J", "there is no command /␛[2J; nothing was sent", "/help"),
        ("/join", "/join needs more", "type /join ROOM [PASSWORD]"),
        ("/msg bob", "/msg needs more", "type /msg USER TEXT"),
        ("/me", "/me needs more", "type /me TEXT"),
        ("/join ops my secret", "/join takes less", "type /join ROOM [PASSWORD]"),
        ("/create --plain", "/create needs more", "type /create [--plain] ROOM [PASSWORD]"),
        ("/quit now", "/quit takes less", "type /quit"),
        ("  /logon bob secret", "there is no command /logon; nothing was sent", "/help"),
    ],
)
def test_a_line_that_cannot_be_a_command_is_refused(line: str, text: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(line)
    assert str(caught.value) == text
    assert hint in caught.value.hint


async def test_help_lists_every_command(stage: Stage) -> None:
    await stage.type("/help")
    for command in COMMANDS:
        assert command.usage in stage.screen
        assert command.help in stage.screen


async def test_help_tells_the_aliases_of_one(stage: Stage) -> None:
    await stage.type("/help w", "/help nonsense")
    assert "/msg USER TEXT" in stage.screen
    assert "(also /to /w)" in stage.screen
    assert "there is no command nonsense" in stage.screen


async def test_users_are_those_of_the_open_room_or_another(stage: Stage) -> None:
    stage.client.room("lobby", "alice")
    stage.client.room("ops", "carol")
    await stage.start(["lobby"])
    await stage.type("!usuarios", "/who ops")
    assert "1 person in lobby:" in stage.screen
    assert "  carol (on carol1)" in stage.screen


async def test_users_without_a_room_are_those_of_the_server(stage: Stage) -> None:
    await stage.type("/users")
    assert "0 people on the server:" in stage.screen


async def test_rooms_are_listed_with_those_one_is_in_marked(stage: Stage) -> None:
    stage.client.room("lobby", "alice")
    stage.client.room("ops")
    await stage.start(["lobby"])
    await stage.type("/salas")
    assert "* lobby (plain, 1 connection)" in stage.screen
    assert "  ops (plain, 0 connections)" in stage.screen
    assert stage.core.room_names() == ["lobby", "ops"]


async def test_create_makes_a_room_and_enters_it(stage: Stage) -> None:
    await stage.start()
    await stage.type("/create den")
    assert stage.client.calls[-2:] == [("create", "den", "encrypted"), ("join", "den")]
    assert stage.core.room_name == "den"
    assert "den is encrypted: only whom its owner lets in can read it, not the server" in (
        stage.screen
    )


async def test_create_makes_a_plain_room_when_asked(stage: Stage) -> None:
    await stage.start()
    await stage.type("/create --plain den")
    assert ("create", "den", "plain") in stage.client.calls
    assert "den is plain: the server can read it" in stage.screen


async def test_a_topic_is_shown_and_set(stage: Stage) -> None:
    room = stage.client.room("lobby", "alice")
    await stage.start()
    await stage.type("/topic", "/topic tea at four", "/topic")
    assert room.topic == "tea at four"
    assert "there is no topic" in stage.screen
    assert "the topic of lobby is: tea at four" in stage.screen


async def test_away_back_and_nick(stage: Stage) -> None:
    await stage.type("/away lunch", "/back", "/away", "/nick Al", "/nick")
    assert stage.client.calls == [
        ("set_away", "lunch"),
        ("set_away", None),
        ("set_away", "away"),
        ("set_nick", "Al"),
        ("set_nick", None),
    ]


async def test_whois_and_fp_show_the_keys_somebody_is_here_with(stage: Stage, one: Any) -> None:
    stage.client.persons["bob"] = Person(user="bob", here=[one("bob")], fingerprints=["ab" * 32])
    await stage.type("/whois @bob", "/fp bob")
    assert "  bob (on bob1)" in stage.screen
    assert stage.screen.count("abab " * 15) == 2


async def test_fp_of_somebody_who_is_not_here_says_so(stage: Stage) -> None:
    stage.client.persons["bob"] = Person(user="bob", here=[], fingerprints=[])
    await stage.type("/fp bob")
    assert "bob is not here now" in stage.screen


async def test_fp_shows_one_s_own_key_and_the_server_s(stage: Stage) -> None:
    stage.core.fingerprint = "0123456789"
    await stage.type("/fp")
    assert "you, alice  0123 4567 89" in stage.screen
    assert "the server  cdcd cdcd" in stage.screen


async def test_the_server_answers(stage: Stage) -> None:
    await stage.type("/server hello")
    assert "the server: echo: hello" in stage.screen


async def test_clear_clears(stage: Stage) -> None:
    await stage.type("/limpiar")
    assert stage.face.cleared == 1


async def test_a_topic_or_a_name_forges_no_line(stage: Stage) -> None:
    stage.client.room("lobby", "alice", topic="tea\n-- bob has entered\nhint: /quit")
    stage.client.persons["bob"] = Person(user="bob\nx", here=[], fingerprints=["ab"])
    await stage.start()
    await stage.type("/topic", "/fp bob", "/whois bob")
    assert not any(line.text.startswith(("-- bob", "hint:", "x")) for line in stage.face.lines)


async def test_each_line_of_the_server_s_answer_says_whose_it_is(stage: Stage) -> None:
    stage.client.server_says = "one\n<bob> two"
    await stage.type("/server a")
    assert stage.screen == "the server: one\nthe server: <bob> two"
