"""What the commands about oneself do: accounts, passwords, devices.

Rows of commands.py's table. A password is used and forgotten; it is put on no screen.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

from trio_chat.client import administer, get_account, list_devices, revoke_device
from trio_chat.errors import ConfigError
from trio_chat.text import safe
from trio_chat.ui import asking, keys, render

if TYPE_CHECKING:
    from trio_chat.ui.core import Core

__all__ = ["devices", "login", "register", "revoke", "shutdown"]

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


async def register(core: Core, user: str, password: str | None) -> None:
    """Take a name at this server, with a password."""
    await _get(core, user, password, new=True)


async def login(core: Core, user: str, password: str | None) -> None:
    """Get a certificate for another name of one's own."""
    await _get(core, user, password, new=False)


async def _get(core: Core, user: str, password: str | None, *, new: bool) -> None:
    if password is None:
        if new:
            password = await asking.ask_twice(core, f"a password for {safe(user, 64)}")
        else:
            password = await asking.ask(core, f"the password of {safe(user, 64)}: ")
    made = await get_account(core.client, user, password, new=new)
    name, where = safe(made.user, 64), safe(str(core.client.address))
    line = f"you have a certificate for {name} now, and are still {safe(core.client.user, 64)} here"
    again = f"leave, and type: trio-chat join {where}"
    await core.show(*render.notice(line), *render.notice(again))


async def devices(core: Core, user: str | None) -> None:
    """List one's own devices, or for an admin somebody's."""
    found = await list_devices(core.client, None if user is None else user.removeprefix("@"))
    for each in found.devices:
        own = core.fingerprint.startswith(each.device)
        until = "" if each.until is None else f", until {_date(each.until)}"
        now = ", this one" if own else ", here now" if each.here else ""
        name = safe(each.name or "(no name)", 64)
        await core.show(*render.result(safe(f"{name}  {each.serial}{until}{now}")))
    if user is None:
        await keys.devices(core)


async def revoke(core: Core, device: str) -> None:
    """Revoke another device of one's own, or as an admin USER/DEVICE."""
    user, slash, name = device.rpartition("/")
    await revoke_device(core.client, name, user.removeprefix("@") if slash else None)
    await core.show(*render.notice(safe(f"{device} is revoked: it is out, and does not come back")))


async def shutdown(core: Core, when: str | None) -> None:
    """Have the server stop, as an admin."""
    delay = _delay(when or "0")
    await administer(core.client, "drain", delay=delay)
    if delay:
        await core.show(*render.notice(f"the server stops in {delay:g} s; everybody was told"))


def _delay(when: str) -> float:
    found = re.fullmatch(r"(\d{1,6})([smh]?)", "0" if when == "now" else when)
    if found is None:
        raise ConfigError(f"{safe(when, 64)} is no time", hint="/shutdown now, or 30s, 5m, 1h")
    return float(int(found[1]) * _UNITS[found[2]])


def _date(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d")
