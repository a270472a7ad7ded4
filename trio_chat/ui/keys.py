"""What the commands about keys do: who somebody is, who can read, and who may.

As `actions`. What is new about somebody's keys is never accepted before it was on the screen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.client import Number, Standing
from trio_chat.text import safe
from trio_chat.ui import announce, qr, render
from trio_chat.ui.errors import UsageError

if TYPE_CHECKING:
    from trio_chat.ui.core import Core


async def fingerprints(core: Core, user: str | None, code: str | None) -> None:
    """Show one's own key and the server's, or somebody's and the numbers to compare."""
    if code is not None and code.removeprefix("--") != "qr":
        raise UsageError("/fp takes a user and `qr`", hint="type /fp USER qr")
    if user is None:
        await core.show(
            *render.result(f"you, {core.client.user}  {render.fingerprint(core.fingerprint)}"),
            *render.result(f"the server  {render.fingerprint(core.client.server_fingerprint)}"),
        )
        return
    found = await core.client.whois(user.removeprefix("@"))
    numbers = await core.client.safety_numbers(found.user)
    _seen(core, found.user, numbers)
    known = {number.person.fingerprint for number in numbers}
    for digest in [each for each in found.fingerprints if each not in known]:
        line = f"{safe(found.user, 64)}  {render.fingerprint(digest)}"
        await core.show(*render.result(line))
    for number in numbers:
        await core.show(*announce.number(found.user, number))
        if code is not None:
            await core.show(*render.result("\n".join(qr.qr_lines(number.digits))))
    if not (numbers or found.fingerprints):
        await core.show(*render.result(f"{safe(found.user, 64)} is not here now"))
    elif not numbers:
        line = "no safety number yet: that takes an encrypted room with both of you in it"
        await core.show(*render.result(line))


async def verify(core: Core, user: str, answer: str | None) -> None:
    """Compare keys with somebody: begin, agree, or say what came of it."""
    user = user.removeprefix("@")
    match (answer or "").casefold():
        case "yes":
            await core.client.answer(user, True)
        case "no":
            await core.client.answer(user, False)
        case _:
            await core.client.verify(user, answer or "")
            await core.show(*announce.waiting(user))


async def accept(core: Core, user: str) -> None:
    """Go on with the new keys of somebody that were shown; show those that were not."""
    user = user.removeprefix("@")
    numbers = await core.client.safety_numbers(user)
    changed = [number for number in numbers if number.standing is Standing.CHANGED]
    name = safe(user, 64)
    if not changed:
        await core.show(*render.result(f"{name} has no new key in your rooms"))
        return
    unseen = [n for n in changed if n.person.fingerprint not in core.shown_keys]
    if unseen:
        for number in unseen:
            await core.show(*announce.number(user, number))
        _seen(core, user, unseen)
        await core.show(*render.notice(f"if that is really {name}: /accept {name} again"))
        return
    for fingerprint in await core.client.accept(user, core.shown_keys):
        line = f"{name} goes on with the key {render.fingerprint(fingerprint)}, unverified"
        await core.show(*render.notice(line))


def _seen(core: Core, user: str, numbers: list[Number]) -> None:
    core.shown_keys.update(number.person.fingerprint for number in numbers)


async def devices(core: Core) -> None:
    """List one's own devices."""
    await core.show(*announce.devices(await core.client.devices()))


async def check(core: Core) -> None:
    """Show the words of the open room."""
    room = core.open_room()
    words = " ".join(await room.check_words())
    await core.show(
        *render.result(f"{safe(room.name, 64)} now: {words}"),
        *render.notice("who sees the same words sees the same people in it, until that changes"),
    )


async def invite(core: Core, user: str) -> None:
    """Let somebody into the open room."""
    room, user = core.open_room(), user.removeprefix("@")
    await room.invite(user)
    await core.show(*render.notice(f"{user} may enter {room.name}, and reads from here on"))


async def kick(core: Core, user: str) -> None:
    """Put somebody out of the open room."""
    room, user = core.open_room(), user.removeprefix("@")
    await room.kick(user)
    await core.show(*render.notice(f"{user} is out of {room.name}"))


async def search(core: Core, words: str) -> None:
    """Show what was said with these words, with its dates."""
    room = core.open_room()
    found = await room.search(words)
    if not found:
        await core.show(*render.result("nothing with these words was read here"))
    day = ""
    for entry in found:
        if (date := core.reader.day(entry.time)) != day:
            day = date
            await core.show(*render.result(f"---- {date} ----"))
        await core.show(*(render.as_result(line) for line in render.render(entry, core.reader)))
