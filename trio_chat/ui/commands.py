"""THE table of commands: name, aliases, arguments, help, and what each does.

Help, completion and documentation are made from it; what is not in it does not exist. A
coroutine takes the core and its arguments as strings, one for each of the command's, None
where an optional one was left out. May know the core and the client's API, no terminal.
"""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal

import attrs

from trio_chat.errors import ChatError
from trio_chat.text import safe, safe_lines
from trio_chat.ui import people, render

if TYPE_CHECKING:
    from trio_chat.ui.core import Core

__all__ = ["COMMANDS", "Argument", "Call", "Command", "UsageError", "Words", "find", "parse"]

What = Literal["ROOM", "USER", "TEXT", "COMMAND", "NAME", "PASSWORD", "DEVICE", "WHEN"]


class UsageError(ChatError):
    """A line that is meant as a command cannot be one: the user's slip. Nothing was sent."""


@attrs.frozen
class Argument:
    """One argument; `TEXT`, or `PASSWORD`, takes the rest of the line as it stands."""

    what: What
    optional: bool = False

    def __str__(self) -> str:
        return f"[{self.what}]" if self.optional else self.what


@attrs.frozen(kw_only=True)
class Command:
    """One row of the table."""

    name: str  # with its slash
    aliases: tuple[str, ...] = ()  # as typed: most with a slash
    arguments: tuple[Argument, ...] = ()
    help: str  # one line, lower case, no full stop
    run: Callable[..., Awaitable[None]]

    @property
    def usage(self) -> str:
        """The command with its arguments, as one types it."""
        return " ".join([self.name, *map(str, self.arguments)])


@attrs.frozen
class Words:
    """A line that is meant for the room."""

    text: str


@attrs.frozen
class Call:
    """A line that is a command."""

    command: Command
    arguments: tuple[str | None, ...] = ()


def find(word: str) -> Command | None:
    """Return the command of that name or alias, in capitals or not, or None."""
    return _BY_NAME.get(word.casefold())


def parse(line: str) -> Words | Call:
    """Tell what a line is.

    One line that starts with `/` is a command; `//` stands for a `/` that is said. What has
    several lines is a paste, and text, whatever it starts with.

    Raises:
        UsageError: an unknown command, or arguments that do not fit.
    """
    if "\n" in line:
        return Words(line)
    word, _, rest = line.strip().partition(" ")
    if word.startswith("//"):
        return Words(line.replace("/", "", 1))
    command = find(word)
    if command is None:
        if word.startswith("/"):  # also behind blanks: it may hold a password
            raise _unknown(word)
        return Words(line)
    if not word.startswith("/") and rest and not command.arguments:
        return Words(line)
    return Call(command, _arguments(command, rest.strip()))


def _arguments(command: Command, rest: str) -> tuple[str | None, ...]:
    found: list[str | None] = []
    for argument in command.arguments:
        if argument.what in ("TEXT", "PASSWORD"):
            value, rest = rest, ""
        else:
            value, _, rest = rest.partition(" ")
            rest = rest.lstrip()
        if not value and not argument.optional:
            raise UsageError(f"{command.name} needs more", hint=f"type {command.usage}")
        found.append(value or None)
    if rest:
        raise UsageError(f"{command.name} takes less", hint=f"type {command.usage}")
    return tuple(found)


def _unknown(word: str) -> UsageError:
    near = difflib.get_close_matches(word.casefold(), list(_BY_NAME), n=1, cutoff=0.6)
    guess = f"did you mean {near[0]}? " if near else ""
    return UsageError(
        f"there is no command {safe(word, 64)}; nothing was sent",
        hint=f"{guess}/help lists the commands; // at the start says a text with a slash",
    )


# --- what they do ----------------------------------------------------------------------


async def _help(core: Core, name: str | None) -> None:
    if name is None:
        width = max(len(command.usage) for command in COMMANDS)
        lines = [f"{command.usage:{width}}  {command.help}" for command in COMMANDS]
        lines.append("@ and Tab complete names; // at the start says a text with a slash")
        await core.show(*render.result("\n".join(lines)))
        return
    command = find(name) or find(f"/{name}")
    if command is None:
        raise _unknown(name)
    aliases = f" (also {' '.join(command.aliases)})" if command.aliases else ""
    await core.show(*render.result(f"{command.usage}  {command.help}{aliases}"))


async def _users(core: Core, room: str | None) -> None:
    room = room or core.room_name
    where = f"in {room}" if room else "on the server"
    await core.show(*render.users(await core.client.users(room), core.reader, where))


async def _rooms(core: Core) -> None:
    found = await core.client.list_rooms()
    core.remember_rooms(found)
    await core.show(*render.rooms(found, core.reader, core.client.rooms))


async def _create(core: Core, room: str) -> None:
    await core.client.create(room)
    await core.enter(room)


async def _join(core: Core, room: str) -> None:
    await core.enter(room)


async def _leave(core: Core, room: str | None) -> None:
    await core.leave_room(room)


async def _msg(core: Core, user: str, text: str) -> None:
    await core.say(await core.client.direct(user.removeprefix("@")), text)


async def _me(core: Core, text: str) -> None:
    await core.say(core.open_room(), text, form="action")


async def _topic(core: Core, text: str | None) -> None:
    room = core.open_room()
    if text is not None:
        await room.set_topic(text)
        return
    topic = f"the topic of {room.name} is: {room.topic}" if room.topic else "there is no topic"
    await core.show(*render.result(safe(topic)))


async def _away(core: Core, text: str | None) -> None:
    await core.client.set_away(text or "away")
    await core.show(*render.notice("you are away; /back ends it"))


async def _back(core: Core) -> None:
    await core.client.set_away(None)
    await core.show(*render.notice("you are back"))


async def _whois(core: Core, user: str) -> None:
    found = await core.client.whois(user.removeprefix("@"))
    await core.show(*render.person(found, core.reader))


async def _fp(core: Core, user: str | None) -> None:
    if user is not None:
        found = await core.client.whois(user.removeprefix("@"))
        name = safe(found.user, 64)
        if not found.fingerprints:
            await core.show(*render.result(f"{name} is not here now"))
        for digest in found.fingerprints:
            await core.show(*render.result(f"{name}  {render.fingerprint(digest)}"))
        return
    await core.show(
        *render.result(f"you, {core.client.user}  {render.fingerprint(core.fingerprint)}"),
        *render.result(f"the server  {render.fingerprint(core.client.server_fingerprint)}"),
    )


async def _server(core: Core, text: str) -> None:
    answer = await core.client.ask_server(text)
    for line in safe_lines(answer):
        await core.show(*render.result(f"the server: {line}"))


async def _nick(core: Core, name: str | None) -> None:
    await core.client.set_nick(name)
    said = f"you are shown as {name} beside your own name" if name else "you bear no other name now"
    await core.show(*render.notice(said))


async def _clear(core: Core) -> None:
    await core.clear()


async def _quit(core: Core) -> None:
    await core.quit()


_ROOM, _USER, _TEXT = Argument("ROOM"), Argument("USER"), Argument("TEXT")


def _optional(what: What) -> Argument:
    return Argument(what, optional=True)


COMMANDS: tuple[Command, ...] = (
    Command(
        name="/help",
        aliases=("/ayuda", "/ajuda", "?"),
        arguments=(_optional("COMMAND"),),
        help="what can be typed",
        run=_help,
    ),
    Command(
        name="/users",
        aliases=("/usuarios", "!usuarios", "/names", "/who"),
        arguments=(_optional("ROOM"),),
        help="who is here, and on which devices",
        run=_users,
    ),
    Command(
        name="/rooms",
        aliases=("/list", "/salas"),
        help="the rooms there are; * marks those you are in",
        run=_rooms,
    ),
    Command(name="/create", arguments=(_ROOM,), help="make a room and enter it", run=_create),
    Command(name="/join", arguments=(_ROOM,), help="enter a room, or switch to it", run=_join),
    Command(
        name="/leave",
        aliases=("/part",),
        arguments=(_optional("ROOM"),),
        help="leave this room or another",
        run=_leave,
    ),
    Command(
        name="/msg",
        aliases=("/to", "/w"),
        arguments=(_USER, _TEXT),
        help="a private message; the server can read it",
        run=_msg,
    ),
    Command(name="/me", arguments=(_TEXT,), help="say what you do: * alice waves", run=_me),
    Command(
        name="/topic",
        arguments=(_optional("TEXT"),),
        help="show or set the topic of this room",
        run=_topic,
    ),
    Command(name="/away", arguments=(_optional("TEXT"),), help="say that you are away", run=_away),
    Command(name="/back", help="say that you are back", run=_back),
    Command(
        name="/whois",
        arguments=(_USER,),
        help="who somebody is: devices and keys",
        run=_whois,
    ),
    Command(
        name="/fp",
        arguments=(_optional("USER"),),
        help="the fingerprint of your key, or of somebody's",
        run=_fp,
    ),
    Command(
        name="/server",
        arguments=(_TEXT,),
        help="talk to the server itself, which answers",
        run=_server,
    ),
    Command(
        name="/nick",
        arguments=(_optional("NAME"),),
        help="a name shown beside your own; without it, none",
        run=_nick,
    ),
    Command(
        name="/register",
        arguments=(Argument("NAME"), _optional("PASSWORD")),
        help="take another name here, with a password",
        run=people.register,
    ),
    Command(
        name="/login",
        arguments=(Argument("NAME"), _optional("PASSWORD")),
        help="get a certificate for a name, by its password",
        run=people.login,
    ),
    Command(
        name="/devices",
        arguments=(_optional("USER"),),
        help="your devices and their certificates",
        run=people.devices,
    ),
    Command(
        name="/revoke",
        arguments=(Argument("DEVICE"),),
        help="lock out another device of yours, for good",
        run=people.revoke,
    ),
    Command(
        name="/shutdown",
        arguments=(_optional("WHEN"),),
        help="stop the server, now or in 5m; for admins",
        run=people.shutdown,
    ),
    Command(name="/clear", aliases=("/limpiar",), help="clear the screen", run=_clear),
    Command(
        name="/quit",
        aliases=("/exit", "/salir", "/sair"),
        help="leave the chat",
        run=_quit,
    ),
)
"""In the order in which /help lists them."""

_BY_NAME: dict[str, Command] = {
    word: command for command in COMMANDS for word in (command.name, *command.aliases)
}
