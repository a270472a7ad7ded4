"""Certificates for who is invited; and all that a connection without one can do.

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

from trio_chat.errors import ConfigError, NoEnrolment, Refused, WrongCertificate
from trio_chat.pki import Enroller
from trio_chat.protocol.frames import Ca, CaCertificate, Command, Enrol, Enrolled, Renew

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection
    from trio_chat.server.server import Server

__all__ = ["enrol", "open_enroller", "renew", "serve_stranger", "tell_authority"]

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


async def serve_stranger(server: Server, connection: Connection, frame: Command) -> None:
    """Do what somebody without a certificate asks.

    Raises:
        Refused: anything but enrolling; the connection ends.
    """
    if wait := connection.bucket.take(connection.heard):
        await connection.hold_back(wait)
    try:
        if isinstance(frame, Ca):
            await tell_authority(server, connection, frame)
        elif isinstance(frame, Enrol):
            await enrol(server, connection, frame)
            connection.proven = True
        else:
            raise WrongCertificate(
                "the server wants a certificate and got none; get one with an invite, by "
                "`trio-chat join HOST:PORT --invite TOKEN`"
            )
    except Refused as error:
        error.id = getattr(frame, "id", None)
        raise


async def tell_authority(server: Server, connection: Connection, frame: Ca) -> None:
    """Answer with the CA's certificate; whoever asks compares it with a hash they know."""
    enroller = _enroller(server)
    connection.say(CaCertificate(certificate=enroller.roots_pem, id=frame.id))


async def enrol(server: Server, connection: Connection, frame: Enrol) -> None:
    """Spend an invite and answer with the certificate."""
    enroller, now = _enroller(server), dt.datetime.now(dt.UTC)
    made = await _sign(server, enroller.redeem, frame.secret, frame.csr, frame.device, now)
    log.info("issued a certificate for %s to %s, by invite", made.name, connection.address)
    connection.say(Enrolled(certificate=made.pem.decode("ascii"), room=made.room, id=frame.id))


async def renew(server: Server, connection: Connection, frame: Renew) -> None:
    """Issue the connection's certificate again, if it was issued here by an invite."""
    enroller, now = _enroller(server), dt.datetime.now(dt.UTC)
    der = connection.wire.peer_certificate()
    assert der is not None  # or it would have been a stranger
    pem = await _sign(server, enroller.renew, x509.load_der_x509_certificate(der), now)
    log.info("renewed a certificate of %s", connection.identity.user)
    connection.say(Enrolled(certificate=pem.decode("ascii"), id=frame.id))


async def _sign(server: Server, work: Callable[[*Given], T], *given: *Given) -> T:
    """Do what waits for the disk in a thread, one at a time."""
    try:
        return await trio.to_thread.run_sync(work, *given, limiter=server.signing)
    except ConfigError as error:
        log.error("cannot issue a certificate: %s", error)
        raise NoEnrolment(
            "the server could not issue the certificate; its log says why, and whoever runs it "
            "can mend that and give you another invite"
        ) from None


def _enroller(server: Server) -> Enroller:
    if server.enroller is None:
        raise NoEnrolment("this server has no key to issue certificates with")
    return server.enroller
