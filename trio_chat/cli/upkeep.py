"""What runs beside a server so that nothing expires unseen: lists signed anew, warnings."""

from __future__ import annotations

import datetime as dt
import logging
import os
import shlex
from pathlib import Path

import attrs
import trio

from trio_chat.errors import ConfigError
from trio_chat.pki import read_certificate, read_crls, refresh_crl

__all__ = ["Ending", "endings", "keep_up", "look"]

INTERVAL = 3600.0  # s between looks
STAGES = (0, 1, 7, 14)  # days before the end at which a warning is due

log = logging.getLogger("trio_chat.server")


@attrs.frozen
class Ending:
    """When a file ends, and the command that mends it."""

    path: Path
    left: dt.timedelta
    remedy: str

    @property
    def stage(self) -> int | None:
        """The warning that is due: 14, 7 or 1 days before, 0 after; None is too early."""
        return next((days for days in STAGES if self.left <= dt.timedelta(days)), None)

    def __str__(self) -> str:
        when = f"ends in {self.left.days} days" if self.left > dt.timedelta() else "has ended"
        return f"{self.path} {when}: {self.remedy}"


def endings(ca: Path, cert: Path, now: dt.datetime) -> list[Ending]:
    """Return when the CA's and the server's certificate and the revocation list end.

    What cannot be read is left out: whoever needs it complains.
    """
    found: list[Ending] = []
    at = ("--ca", str(ca))
    renew = shlex.join(("trio-chat", "pki", "renew", str(cert), *at))
    below = ca.with_name("intermediate.crt")
    again = shlex.join(("trio-chat", "pki", "renew", str(below), *at))
    remedies = {
        ca: "make a new CA",
        below: f"where the CA's key is: {again}",
        cert: f"{renew} && kill -HUP {os.getpid()}",
    }
    for path, remedy in remedies.items():
        try:
            found.append(Ending(path, read_certificate(path).not_valid_after_utc - now, remedy))
        except ConfigError:
            continue
    path = ca.with_name("ca.crl")
    try:
        ends = [end for crl in read_crls(path) if (end := crl.next_update_utc) is not None]
    except ConfigError:
        ends = []
    if ends:
        found.append(Ending(path, min(ends) - now, shlex.join(("trio-chat", "pki", "crl", *at))))
    return found


def look(ca: Path, cert: Path, warned: dict[Path, int | None], now: dt.datetime) -> None:
    """Do once what `keep_up` does; `warned` keeps the stages that were told already."""
    try:
        if refresh_crl(ca, now):
            log.info("signed the revocation list anew")
    except ConfigError as error:
        log.warning("cannot sign the revocation list anew: %s", error)
    for ending in endings(ca, cert, now):
        if ending.stage is not None and ending.stage != warned.get(ending.path):
            log.log(logging.WARNING if ending.stage else logging.ERROR, "%s", ending)
        warned[ending.path] = ending.stage


async def keep_up(ca: Path, cert: Path) -> None:
    """Sign the list anew at half of its life, where the CA's key is here; warn in time."""
    warned: dict[Path, int | None] = {}
    while True:
        await trio.to_thread.run_sync(look, ca, cert, warned, dt.datetime.now(dt.UTC))
        await trio.sleep(INTERVAL)
