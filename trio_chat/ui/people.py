"""What the commands about oneself do: accounts, passwords, devices.

Rows of commands.py's table. A password is used and forgotten; it is put on no screen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.client import get_account
from trio_chat.errors import ConfigError
from trio_chat.text import safe
from trio_chat.ui import render

if TYPE_CHECKING:
    from trio_chat.ui.core import Core

__all__ = ["login", "register"]


async def register(core: Core, user: str, password: str | None) -> None:
    """Take a name at this server, with a password."""
    await _get(core, user, password, new=True)


async def login(core: Core, user: str, password: str | None) -> None:
    """Get a certificate for another name of one's own."""
    await _get(core, user, password, new=False)


async def _get(core: Core, user: str, password: str | None, *, new: bool) -> None:
    if password is None:
        what = "register" if new else "login"
        raise ConfigError("there is no password; nothing was sent", hint=f"/{what} {user} PASSWORD")
    made = await get_account(core.client, user, password, new=new)
    name, where = safe(made.user, 64), safe(str(core.client.address))
    line = f"you have a certificate for {name} now, and are still {safe(core.client.user, 64)} here"
    again = f"leave, and type: trio-chat join {where}"
    await core.show(*render.notice(line), *render.notice(again))
