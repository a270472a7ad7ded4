"""From a name and a password to a certificate: the key is made here and never leaves.

The server is verified first, by an authority that one knows already or that an invite
names; a password is said to nobody else.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from trio_chat import names
from trio_chat.address import Address
from trio_chat.client.enrolling import (
    Enrolment,
    ask_as_stranger,
    authority_of,
    checked,
    machine,
    own_key,
    request_of,
    unexpected,
)
from trio_chat.client.remembered import Folder, recall
from trio_chat.errors import ConfigError, NotTrusted
from trio_chat.identity import client_identity, key_fingerprint
from trio_chat.invitation import Invitation, encode_secret
from trio_chat.protocol.frames import ChangePassword, Enrolled, Login, Register
from trio_chat.tls import check_server

if TYPE_CHECKING:
    from trio_chat.client.client import Client

__all__ = ["Trust", "change_password", "get_account", "log_in", "register"]


@attrs.frozen(kw_only=True)
class Trust:
    """Whom to trust: the CA's certificates, and perhaps the server's key in place of its name."""

    roots: tuple[x509.Certificate, ...]
    pin: str | None = None

    @classmethod
    def of(cls, address: Address, ca: Path | None = None, *, folder: Path | None = None) -> Trust:
        """Return what a file says, or what is remembered of that server.

        Raises:
            ConfigError: there is neither, or it cannot be read.
        """
        kept = None if ca is not None else recall(address, folder)
        path = ca or (None if kept is None else kept.ca)
        if path is None:
            raise ConfigError(
                f"there is nothing to know the server at {address} by, and a password is not "
                "said to just anybody",
                hint="--ca FILE names its CA's certificate; an invite knows it too: --invite TOKEN",
            )
        try:
            roots = tuple(x509.load_pem_x509_certificates(path.read_bytes()))
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from None
        except ValueError:
            raise ConfigError(f"{path} is no certificate in PEM") from None
        return cls(roots=roots, pin=None if kept is None else kept.pin)


async def register(
    address: Address,
    user: str,
    password: str,
    *,
    trust: Trust | None = None,
    invitation: Invitation | None = None,
    device: str | None = None,
    folder: Path | None = None,
) -> Enrolment:
    """Take a name at a server, and keep the certificate that one gets for it.

    Args:
        address: The server's.
        user: The name.
        password: For later: `log_in` wants it.
        trust: Whom to trust; or else
        invitation: An invite, which some servers want.
        device: What this machine is called; its host's name if left out.
        folder: In place of the platform's folder for data.

    Raises:
        NotTrusted: what answers is not the server.
        Refused: the server says no; the text says why.
        Unreachable: nobody answers, TLS failed, or the server issues no certificates.
        ConfigError: something cannot be kept, or nothing tells which server is the right one.
    """
    names.check_user(user)
    pinned = trust is None
    if trust is None:
        if invitation is None:
            raise ConfigError("neither a CA nor an invite: there is nothing to know the server by")
        trust = Trust(roots=(await authority_of(address, invitation.ca),))
    secret = None if invitation is None else invitation.secret
    place = Folder.of(address, secret or secrets.token_bytes(20), folder)
    key = await trio.to_thread.run_sync(own_key, place)
    frame = Register(
        user=user,
        password=password,
        csr=request_of(key),
        secret=None if secret is None else encode_secret(secret),
        device=device or machine(),
        id="2",
    )
    return await _get(address, frame, trust, place, may_pin=pinned)


async def log_in(
    address: Address,
    user: str,
    password: str,
    *,
    trust: Trust,
    device: str | None = None,
    folder: Path | None = None,
) -> Enrolment:
    """Get a certificate for a name that one has a password for; keys and errors as above."""
    place = Folder.of(address, secrets.token_bytes(20), folder)
    key = await trio.to_thread.run_sync(own_key, place)
    csr, here = request_of(key), device or machine()
    frame = Login(user=user, password=password, csr=csr, device=here, id="2")
    return await _get(address, frame, trust, place, may_pin=False)


async def get_account(client: Client, user: str, password: str, *, new: bool) -> Enrolment:
    """Register a name, or log in, at the server that a client is connected to.

    It goes over a connection of its own; the client stays who it is.

    Raises:
        ChatError: as of `register` and `log_in`.
    """
    if client.trusted is None or client.trusted[0] is None:
        raise ConfigError("the server is known by its key alone", hint="name its CA with --ca")
    ca, pin = client.trusted
    trust = attrs.evolve(Trust.of(client.address, ca), pin=pin)
    get = register if new else log_in
    return await get(client.address, user, password, trust=trust)


async def change_password(client: Client, old: str, new: str) -> None:
    """Have another password from now on.

    Raises:
        LoginRefused: the old one is another.
        Refused: the server says no; the text says why.
    """
    await client._ask(ChangePassword(old=old, new=new), repeat=False)


async def _get(
    address: Address, frame: Register | Login, trust: Trust, place: Folder, *, may_pin: bool
) -> Enrolment:
    """Say it to the right server alone, and keep what it answers."""
    ders = b"".join(root.public_bytes(Encoding.DER) for root in trust.roots)
    pin = trust.pin

    def check(server: x509.Certificate) -> None:
        nonlocal pin
        try:
            check_server(server.public_bytes(Encoding.DER), address.host, pin=pin)
        except NotTrusted:
            if not may_pin:
                raise
            pin = key_fingerprint(server)  # invited to that address: as with an invite alone

    answer, _ = await ask_as_stranger(address, ders, frame, check)
    if not isinstance(answer, Enrolled):
        raise unexpected(answer)
    key = await trio.to_thread.run_sync(own_key, place)
    certificate, root = _verified(answer.certificate, trust, key)
    if client_identity(certificate).key != names.key(frame.user):
        raise NotTrusted("the server answered with somebody else's certificate")
    anchor = root.public_bytes(Encoding.PEM)
    kept = await trio.to_thread.run_sync(place.keep, answer.certificate.encode(), anchor, pin)
    room = None if answer.room is None else names.check_name(answer.room)
    return Enrolment(client_identity(certificate).user, kept, room)


def _verified(pem: str, trust: Trust, key: object) -> tuple[x509.Certificate, x509.Certificate]:
    """Return one's own certificate, and the root that it ends at."""
    problem = NotTrusted("there is no CA to trust")
    for root in trust.roots:
        try:
            return checked(pem, root, key), root  # type: ignore[arg-type]  # own_key made it
        except NotTrusted as error:
            problem = error
    raise problem
