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

from trio_chat.text import safe
from trio_chat.ui import actions, keys, moderating, people, render
from trio_chat.ui.errors import UsageError

if TYPE_CHECKING:
    from trio_chat.ui.core import Core

__all__ = ["COMMANDS", "Argument", "Call", "Command", "UsageError", "Words", "find", "parse"]

What = Literal[
    "ROOM",
    "USER",
    "TEXT",
    "COMMAND",
    "NAME",
    "PASSWORD",
    "ROLE",
    "FOR",
    "REASON",
    "DEVICE",
    "WHEN",
    "--plain",
    "yes|no",
    "qr",
]


@attrs.frozen
class Argument:
    """One argument; `TEXT`, and what says so, takes the rest of the line as it stands.

    What begins with `--` takes only itself.
    """

    what: What
    optional: bool = False
    rest: bool = False

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
        if argument.what == "TEXT" or argument.rest:
            value, rest = rest, ""
        elif argument.what.startswith("--") and rest.partition(" ")[0].casefold() != argument.what:
            value = ""
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


_ROOM, _USER, _TEXT = Argument("ROOM"), Argument("USER"), Argument("TEXT")
_REASON = Argument("REASON", optional=True, rest=True)
_PASSWORD = Argument("PASSWORD", optional=True, rest=True)


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
        help="who is here, who can read, and on which devices",
        run=actions.users,
    ),
    Command(
        name="/rooms",
        aliases=("/list", "/salas"),
        help="the rooms there are; * marks those you are in",
        run=actions.rooms,
    ),
    Command(
        name="/create",
        arguments=(
            Argument("--plain", optional=True),
            _ROOM,
            _PASSWORD,
        ),
        help="make a room; also --closed, --password",
        run=moderating.create,
    ),
    Command(
        name="/join",
        arguments=(_ROOM, _optional("PASSWORD")),
        help="enter a room, or switch to it",
        run=moderating.join,
    ),
    Command(
        name="/leave",
        aliases=("/part",),
        arguments=(_optional("ROOM"),),
        help="leave this room or another",
        run=actions.leave,
    ),
    Command(
        name="/msg",
        aliases=("/to", "/w"),
        arguments=(_USER, _TEXT),
        help="a private message, end-to-end encrypted",
        run=actions.msg,
    ),
    Command(name="/me", arguments=(_TEXT,), help="say what you do: * alice waves", run=actions.me),
    Command(
        name="/topic",
        arguments=(_optional("TEXT"),),
        help="show or set the topic of this room",
        run=actions.topic,
    ),
    Command(
        name="/away", arguments=(_optional("TEXT"),), help="say that you are away", run=actions.away
    ),
    Command(name="/back", help="say that you are back", run=actions.back),
    Command(
        name="/whois",
        arguments=(_USER,),
        help="who somebody is: devices and keys",
        run=actions.whois,
    ),
    Command(
        name="/fp",
        arguments=(_optional("USER"), _optional("qr")),
        help="fingerprints and safety numbers",
        run=keys.fingerprints,
    ),
    Command(
        name="/verify",
        arguments=(_USER, _optional("yes|no")),
        help="compare keys with somebody who is there too",
        run=keys.verify,
    ),
    Command(
        name="/accept",
        arguments=(_USER,),
        help="go on with somebody's new key, unverified",
        run=keys.accept,
    ),
    Command(
        name="/check",
        help="eight words, the same for all who see the same people",
        run=keys.check,
    ),
    Command(
        name="/search",
        arguments=(_TEXT,),
        help="find words in what this device has read here",
        run=keys.search,
    ),
    Command(
        name="/server",
        arguments=(_TEXT,),
        help="talk to the server itself, which answers",
        run=actions.server,
    ),
    Command(
        name="/nick",
        arguments=(_optional("NAME"),),
        help="a name shown beside your own; without it, none",
        run=actions.nick,
    ),
    Command(
        name="/register",
        arguments=(Argument("NAME"), _PASSWORD),
        help="take another name here, with a password",
        run=people.register,
    ),
    Command(
        name="/login",
        arguments=(Argument("NAME"), _PASSWORD),
        help="get a certificate for a name, by its password",
        run=people.login,
    ),
    Command(
        name="/devices",
        arguments=(_optional("USER"),),
        help="your devices: certificates, and which can read",
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
    Command(
        name="/invite",
        arguments=(_USER,),
        help="let somebody into a room that not everybody may enter",
        run=moderating.invite,
    ),
    Command(
        name="/kick",
        arguments=(_USER, _REASON),
        help="put somebody out of this room",
        run=moderating.kick,
    ),
    Command(
        name="/ban",
        arguments=(_USER, _optional("FOR"), _REASON),
        help="keep a USER[/DEVICE] out of this room",
        run=moderating.ban,
    ),
    Command(name="/unban", arguments=(_USER,), help="end a ban", run=moderating.unban),
    Command(name="/bans", help="who is banned or muted here", run=moderating.bans),
    Command(
        name="/mute",
        arguments=(_USER, _optional("FOR"), _REASON),
        help="let somebody read here and say nothing",
        run=moderating.mute,
    ),
    Command(name="/unmute", arguments=(_USER,), help="end a mute", run=moderating.unmute),
    Command(
        name="/op",
        arguments=(_USER, _optional("ROLE")),
        help="make somebody a moderator here, or an owner",
        run=moderating.op,
    ),
    Command(
        name="/deop",
        arguments=(_USER,),
        help="make somebody a member like others",
        run=moderating.deop,
    ),
    Command(name="/clear", aliases=("/limpiar",), help="clear the screen", run=actions.clear),
    Command(
        name="/quit",
        aliases=("/exit", "/salir", "/sair"),
        help="leave the chat",
        run=actions.leave_chat,
    ),
)
"""In the order in which /help lists them."""

_BY_NAME: dict[str, Command] = {
    word: command for command in COMMANDS for word in (command.name, *command.aliases)
}
