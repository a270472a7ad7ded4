"""One's own devices, and the end of one that was lost."""

from __future__ import annotations

from trio_chat.client.client import Client
from trio_chat.protocol.frames import Devices, ListDevices, RevokeDevice

__all__ = ["list_devices", "revoke_device"]


async def list_devices(client: Client, user: str | None = None) -> Devices:
    """Return the devices of oneself, or, for an admin, of anybody.

    Raises:
        Forbidden: somebody else's, and we are no admin.
        NoUser: that user has none.
    """
    reply = await client._ask(ListDevices(user=user), repeat=True)
    assert isinstance(reply, Devices)
    return reply


async def revoke_device(client: Client, device: str, user: str | None = None) -> None:
    """Revoke a device: its connections end now, and it never comes back.

    Args:
        client: Who does it, with another device.
        device: Its name, the number of its certificate, or the beginning of its id.
        user: Whose; an admin may say somebody else.

    Raises:
        Forbidden: somebody else's, or the one that is being used.
        NoUser: there is no such device.
        NoEnrolment: the server cannot sign the list; the text says who can.
    """
    await client._ask(RevokeDevice(device=device, user=user), repeat=False)
