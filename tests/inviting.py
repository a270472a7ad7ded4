"""Invites, and strangers who redeem them by hand."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.daemon import Daemon
from tests.peer import Frame, Peer
from trio_chat.invitation import Invitation, encode_secret
from trio_chat.pki import Invite, Invites, Place, read_certificate
from trio_chat.server import Server
from trio_chat.tls import stranger_context

__all__ = ["invite", "new_key", "redeem", "request", "stranger"]


def invite(ca: Path, name: str = "nora", *, hours: float = 24, **fields: Any) -> Invitation:
    """Make an invite as the command does."""
    now = dt.datetime.now(dt.UTC)
    made = Invite(name=name, expires=now + dt.timedelta(hours=hours), **fields)
    secret = Invites(Place(ca)).add(made, now)
    der = read_certificate(ca).public_bytes(Encoding.DER)
    return Invitation(hashlib.sha256(der).digest(), secret)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def request(
    key: ec.EllipticCurvePrivateKey, name: str = "somebody", *others: x509.ExtensionType
) -> str:
    """A certificate request that claims whatever it likes."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    for extension in others:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


async def stranger(server: Server | Daemon, ca: Path | None = None) -> Peer:
    """A connection without a certificate."""
    der = None if ca is None else read_certificate(ca).public_bytes(Encoding.DER)
    return await Peer.connect(server.port, stranger_context(der), "a stranger")


async def redeem(
    server: Server | Daemon, invitation: Invitation, csr: str | None = None, **fields: Any
) -> Frame:
    """Say `enrol` over a connection of its own, and return the answer."""
    peer = await stranger(server)
    try:
        return await peer.ask(
            "enrol",
            secret=encode_secret(invitation.secret),
            csr=csr or request(new_key()),
            **fields,
        )
    finally:
        peer.drop()
