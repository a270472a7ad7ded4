"""Certificates for who is invited, and new ones for those who have one.

The signing is pki's, in a thread. Whoever has a certificate may say the same: it is not the
certificate that lets one enrol but the invite.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from trio_chat.errors import ConfigError, NoEnrolment
from trio_chat.pki import Enroller
from trio_chat.protocol.frames import Ca, CaCertificate, Enrol, Enrolled, Renew
from trio_chat.server.auditing import write_down_issued

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection
    from trio_chat.server.server import Server

__all__ = ["enrol", "enroller_of", "open_enroller", "renew", "sign", "tell_authority"]

log = logging.getLogger("trio_chat.server")

T = TypeVar("T")
Given = TypeVarTuple("Given")


def open_enroller(ca: Path) -> Enroller | None:
    """Return who can sign for the server, None if it has no key to sign with."""
    try:
        return Enroller.load(ca)
    except ConfigError as error:
        log.info("nobody can enrol here: %s", error)
        return None


async def tell_authority(server: Server, connection: Connection, frame: Ca) -> None:
    """Answer with the CA's certificate; whoever asks compares it with a hash they know."""
    enroller = enroller_of(server)
    connection.say(CaCertificate(certificate=enroller.roots_pem, id=frame.id))


async def enrol(server: Server, connection: Connection, frame: Enrol) -> None:
    """Spend an invite and answer with the certificate."""
    enroller, now = enroller_of(server), dt.datetime.now(dt.UTC)
    server.doors.check_enrolling()
    made = await sign(server, enroller.redeem, frame.secret, frame.csr, frame.device, now)
    outcome = f"done: from {connection.address}"
    await write_down_issued(server, f"user {made.name}", "enrol", made.pem, outcome)
    log.info("issued a certificate for %s to %s, by invite", made.name, connection.address)
    connection.say(Enrolled(certificate=made.pem.decode("ascii"), room=made.room, id=frame.id))


async def renew(server: Server, connection: Connection, frame: Renew) -> None:
    """Issue the connection's certificate again, if it was issued here by an invite."""
    enroller, now = enroller_of(server), dt.datetime.now(dt.UTC)
    der = connection.wire.peer_certificate()
    assert der is not None  # or it would have been a stranger
    old = x509.load_der_x509_certificate(der)
    pem = await sign(server, enroller.renew, old, now)
    if not pem.startswith(old.public_bytes(Encoding.PEM)):
        actor = f"user {connection.identity.user} ({connection.device})"
        await write_down_issued(server, actor, "renew", pem)
    log.info("renewed a certificate of %s", connection.identity.user)
    connection.say(Enrolled(certificate=pem.decode("ascii"), id=frame.id))


async def sign(server: Server, work: Callable[[*Given], T], *given: *Given) -> T:
    """Do what needs the CA's files in a thread, one at a time.

    Raises:
        NoEnrolment: they cannot be read or written; the log says why.
    """
    try:
        return await trio.to_thread.run_sync(work, *given, limiter=server.signing)
    except ConfigError as error:
        log.error("cannot issue a certificate: %s", error)
        raise NoEnrolment(
            "the server could not issue the certificate; its log says why, and whoever runs it "
            "can mend that and give you another invite"
        ) from None


def enroller_of(server: Server) -> Enroller:
    """Return who signs; raises `NoEnrolment` where nobody can."""
    if server.enroller is None:
        raise NoEnrolment("this server has no key to issue certificates with")
    return server.enroller
