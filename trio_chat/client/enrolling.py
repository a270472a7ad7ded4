"""From an invite to a certificate: the key is made here and never leaves.

Two connections. The first one verifies nothing and asks for nothing but the authority's
certificate, whose hash is in the invite. The second one trusts that authority alone.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from pathlib import Path

import attrs
import trio
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from trio_chat import names
from trio_chat.address import Address
from trio_chat.client.dialling import dial_as_stranger, own_certificate
from trio_chat.client.refusals import broken, refusal
from trio_chat.client.remembered import Folder, Remembered
from trio_chat.errors import (
    BadName,
    CertificateRefused,
    ConfigError,
    NotTrusted,
    ProtocolError,
    Unreachable,
)
from trio_chat.identity import client_identity, key_fingerprint
from trio_chat.invitation import Invitation, encode_secret
from trio_chat.protocol.codec import decode_event, encode
from trio_chat.protocol.frames import (
    Ca,
    CaCertificate,
    Enrol,
    Enrolled,
    Error,
    Event,
    Login,
    Register,
)
from trio_chat.protocol.lines import LineBuffer
from trio_chat.tls import check_server

__all__ = [
    "Enrolment",
    "ask_as_stranger",
    "authority_of",
    "checked",
    "enrol",
    "machine",
    "own_key",
    "request_of",
    "unexpected",
]

ENROL_TIMEOUT = 30.0  # seconds for each of the two connections
_LINE_LIMIT = 64 * 1024  # bytes; a few certificates


@attrs.frozen
class Enrolment:
    """What came of an invite: who one is, where it is kept, and where to go first."""

    user: str
    remembered: Remembered
    room: str | None


async def enrol(
    address: Address,
    invitation: Invitation,
    *,
    device: str | None = None,
    folder: Path | None = None,
) -> Enrolment:
    """Redeem an invite, and keep the certificate for that server.

    May be repeated after any failure: the key is kept before it is sent, and the server
    answers the same key again. Once it has succeeded, nothing is asked any more.

    Args:
        address: The server's.
        invitation: The invite.
        device: What this machine is called; its host's name if left out.
        folder: In place of the platform's folder for data.

    Raises:
        NotTrusted: what answers is not the server that the invite is for.
        Refused: the server does not take the invite; the text says why.
        Unreachable: nobody answers, TLS failed, or the server issues no certificates.
        ConfigError: something cannot be kept.
    """
    place = Folder.of(address, invitation.secret, folder)
    key = await trio.to_thread.run_sync(own_key, place)
    if place.is_complete:
        return Enrolment(_user(own_certificate(place.path / "own.crt")), place.choose(), None)
    authority = await authority_of(address, invitation.ca)
    answer, pin = await _redeem(address, authority, invitation, key, device or machine())
    certificate = checked(answer.certificate, authority, key)
    root = authority.public_bytes(Encoding.PEM)
    kept = await trio.to_thread.run_sync(place.keep, answer.certificate.encode(), root, pin)
    room = None if answer.room is None else names.check_name(answer.room)
    return Enrolment(_user(certificate), kept, room)


async def authority_of(address: Address, digest: bytes) -> x509.Certificate:
    """Return the certificate that has this hash, from a server that is not trusted yet."""
    frame, _ = await ask_as_stranger(address, None, Ca(id="1"))
    if not isinstance(frame, CaCertificate):
        raise unexpected(frame)
    try:
        found = x509.load_pem_x509_certificates(frame.certificate.encode())
    except (ValueError, UnicodeEncodeError):
        found = []
    for certificate in found:
        if hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest() == digest:
            return certificate
    raise NotTrusted(
        f"what answers at {address} is not the server that this invite is for: its authority "
        "is another one",
        hint="check the address; if it is right, somebody may stand between you and the server: "
        "ask whoever invited you",
    )


async def _redeem(
    address: Address,
    authority: x509.Certificate,
    invitation: Invitation,
    key: ec.EllipticCurvePrivateKey,
    device: str | None,
) -> tuple[Enrolled, str | None]:
    """Return the server's answer, and its key's fingerprint if it has to be pinned."""
    frame, server = await ask_as_stranger(
        address,
        authority.public_bytes(Encoding.DER),
        Enrol(secret=encode_secret(invitation.secret), csr=request_of(key), device=device, id="2"),
    )
    if not isinstance(frame, Enrolled):
        raise unexpected(frame)
    try:
        check_server(server.public_bytes(Encoding.DER), address.host)
    except NotTrusted:
        return frame, key_fingerprint(server)
    return frame, None


async def ask_as_stranger(
    address: Address,
    ca: bytes | None,
    frame: Ca | Enrol | Register | Login,
    check: Callable[[x509.Certificate], None] | None = None,
) -> tuple[Event, x509.Certificate]:
    """Connect, say one thing, and return the answer and the server's certificate.

    Args:
        address: The server's.
        ca: As for `dial_as_stranger`.
        frame: What to say.
        check: Given the server's certificate before anything is said; may raise.
    """
    with trio.move_on_after(ENROL_TIMEOUT):
        stream, server = await dial_as_stranger(address, ca)
        try:
            if check is not None:
                check(server)
            return await _exchange(stream, encode(frame)), server
        except CertificateRefused:
            raise _no_enrolment() from None
        finally:
            await trio.aclose_forcefully(stream)
    raise Unreachable(f"{address} does not answer")


async def _exchange(stream: trio.abc.Stream, line: bytes) -> Event:
    lines = LineBuffer(_LINE_LIMIT)
    try:
        await stream.send_all(line)
        while True:
            data = await stream.receive_some()
            if not data:
                raise Unreachable("the server closed the connection without a word")
            for answer in lines.feed(bytes(data)):
                return decode_event(answer)
            if lines.too_long:
                raise Unreachable("what answers there does not speak the protocol")
    except trio.BrokenResourceError as error:
        raise broken(error) from None
    except ProtocolError as error:
        raise Unreachable(f"what answers there does not speak the protocol: {error}") from None


def request_of(key: ec.EllipticCurvePrivateKey) -> str:
    """Return a request for that key in PEM, which proves that we hold it."""
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def unexpected(frame: Event) -> Exception:
    """Return what to raise where something else was hoped for."""
    if isinstance(frame, Error):
        return _no_enrolment() if frame.code == "no-enrolment" else refusal(frame)
    return Unreachable("what answers there does not speak the protocol")


def _no_enrolment() -> Unreachable:
    return Unreachable(
        "this server issues no certificates by invite",
        hint="`trio-chat pki request NAME` makes a request for whoever has its CA's key",
    )


def checked(
    pem: str, authority: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """Return the certificate that was issued, if it is ours and the authority stands behind it."""
    try:
        chain = x509.load_pem_x509_certificates(pem.encode())
        for certificate, issuer in zip(chain, [*chain[1:], authority], strict=True):
            certificate.verify_directly_issued_by(issuer)
        if chain[0].public_key() != key.public_key():
            raise ValueError
        client_identity(chain[0])
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        raise NotTrusted(
            "the server answered with a certificate that is of no use",
            hint="tell whoever runs it",
        ) from None
    return chain[0]


def own_key(place: Folder) -> ec.EllipticCurvePrivateKey:
    """Return the key for an invite, made if there is none yet."""
    new = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        key = serialization.load_pem_private_key(place.key(new), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{place.path / 'own.key'} is no key of ours", hint="move it away")
    return key


def _user(certificate: x509.Certificate) -> str:
    return client_identity(certificate).user


def machine() -> str | None:
    """Return this machine's name, if it can be a device's."""
    try:
        return names.check_name(platform.node().partition(".")[0])
    except BadName:
        return None
