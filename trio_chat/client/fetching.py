"""What the server keeps beside an encrypted room's log, asked for and taken apart.

Raises what asking raises, and `ProtocolError` where the answer is nonsense.
"""

from __future__ import annotations

from trio_chat.client.blobs import Ask, decode, download
from trio_chat.e2ee.delivery import Info, Offer, Welcomed
from trio_chat.errors import NoGroup, NoUser, NoWelcome, Refused
from trio_chat.protocol import frames

__all__ = ["claim", "fetch_info", "fetch_welcome"]


async def fetch_welcome(ask: Ask, room: str) -> Welcomed | None:
    """Return the newest Welcome for this device, if there is one."""
    try:
        found = await ask(frames.GetWelcome(room))
    except NoWelcome:
        return None
    assert isinstance(found, frames.MlsWelcome)
    tree = await _tree(ask, room, found.tree)
    return Welcomed(epoch=found.epoch, seq=found.seq, body=decode(found.body), tree=tree)


async def fetch_info(ask: Ask, room: str) -> Info | None:
    """Return the room's group as it is now, if there is one."""
    while True:
        try:
            found = await ask(frames.GetInfo(room))
        except NoGroup:
            return None
        assert isinstance(found, frames.Info)
        tree = await _tree(ask, room, found.tree)
        if tree:  # else a newer one has taken its place
            return Info(epoch=found.epoch, seq=found.seq, body=decode(found.body), tree=tree)


async def _tree(ask: Ask, room: str, blob: str) -> bytes:
    """Return a group's tree, or nothing if it is no longer kept."""
    try:
        return await download(ask, room, blob)
    except Refused as error:
        if error.code == "no-blob":
            return b""
        raise


async def claim(ask: Ask, user: str) -> list[Offer]:
    """Return a key package of each device of a user; none of somebody unknown."""
    try:
        found = await ask(frames.ClaimPackages(user))
    except NoUser:
        return []
    assert isinstance(found, frames.Packages)
    return [Offer(each.device, decode(each.package)) for each in found.packages]
