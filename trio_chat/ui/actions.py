"""What the commands of the table do: rooms, people, talking. Keys are another module's.

A coroutine takes the core and its arguments, as `commands` says. May know the core and the
client's API, no terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat import names
from trio_chat.text import safe, safe_lines
from trio_chat.ui import announce, render

if TYPE_CHECKING:
    from trio_chat.ui.core import Core


async def users(core: Core, room: str | None) -> None:
    """List who is in a room, or on the server."""
    room = room or core.room_name
    where = f"in {room}" if room else "on the server"
    here = await core.client.users(room)
    joined = core.client.rooms.get(names.key(room)) if room else None
    if joined is not None and joined.encrypted:
        lines = announce.readers(here, await joined.readers(), core.reader, where)
    else:
        lines = render.users(here, core.reader, where)
    await core.show(*lines)


async def rooms(core: Core) -> None:
    """List the rooms."""
    found = await core.client.list_rooms()
    core.remember_rooms(found)
    await core.show(*render.rooms(found, core.reader, core.client.rooms))


async def leave(core: Core, room: str | None) -> None:
    """Leave one."""
    await core.leave_room(room)


async def msg(core: Core, user: str, text: str) -> None:
    """Say something in private."""
    await core.say(await core.client.direct(user.removeprefix("@")), text)


async def me(core: Core, text: str) -> None:
    """Say what one does."""
    await core.say(core.open_room(), text, form="action")


async def topic(core: Core, text: str | None) -> None:
    """Show or set the topic."""
    room = core.open_room()
    if text is not None:
        await room.set_topic(text)
        return
    topic = f"the topic of {room.name} is: {room.topic}" if room.topic else "there is no topic"
    await core.show(*render.result(safe(topic)))


async def away(core: Core, text: str | None) -> None:
    """Be away."""
    await core.client.set_away(text or "away")
    await core.show(*render.notice("you are away; /back ends it"))


async def back(core: Core) -> None:
    """Be back."""
    await core.client.set_away(None)
    await core.show(*render.notice("you are back"))


async def whois(core: Core, user: str) -> None:
    """Tell who somebody is."""
    found = await core.client.whois(user.removeprefix("@"))
    await core.show(*render.person(found, core.reader))


async def server(core: Core, text: str) -> None:
    """Talk to the server."""
    answer = await core.client.ask_server(text)
    for line in safe_lines(answer):
        await core.show(*render.result(f"the server: {line}"))


async def nick(core: Core, name: str | None) -> None:
    """Bear another name beside one's own."""
    await core.client.set_nick(name)
    said = f"you are shown as {name} beside your own name" if name else "you bear no other name now"
    await core.show(*render.notice(said))


async def clear(core: Core) -> None:
    """Clear the screen."""
    await core.clear()


async def leave_chat(core: Core) -> None:
    """Leave the chat."""
    await core.quit()
