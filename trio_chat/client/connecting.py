"""`connect`: from an address and a certificate to a `Client`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

import trio

from trio_chat import __version__, names
from trio_chat.address import Address
from trio_chat.client.backoff import Backoff
from trio_chat.client.client import Client
from trio_chat.client.connection import open_connection
from trio_chat.client.devices import AUTO, claim_device
from trio_chat.client.dialling import Credentials, Dialled, dial, own_certificate
from trio_chat.client.encryption import Opener
from trio_chat.client.renewal import PATIENCE, keep_renewed, renew_if_due
from trio_chat.client.session import Session
from trio_chat.client.vault import open_vault
from trio_chat.errors import ConfigError
from trio_chat.identity import key_fingerprint

__all__ = ["connect"]

PROGRAM = f"trio-chat/{__version__}"


@contextlib.asynccontextmanager
async def connect(
    address: str | Address,
    *,
    cert: Path | str,
    key: Path | str,
    ca: Path | str | None = None,
    pin: str | None = None,
    passphrase: bytes | None = None,
    device: str | None = AUTO,
    program: str = PROGRAM,
    reconnect: bool = True,
    cursors: Mapping[str, int] | None = None,
    log: str | None = None,
    data: Path | None = None,
) -> AsyncIterator[Client]:
    """Connect to a server; the client lives as long as the block.

    The first connection is tried once, and its failure is raised. Later losses are mended
    by the client itself. An exception of the block comes out as it is, in no group.

    Args:
        address: `HOST:PORT`, `HOST` or an `Address`.
        cert, key: Our certificate (who we are) and its key, in PEM.
        ca: The CA of the server's certificate; `ca.crt` beside `cert` if left out. The
            system's authorities are never asked.
        pin: SHA-256 of the server's SubjectPublicKeyInfo, in hexadecimal, in place of a CA.
        passphrase: Of the key, if it has one.
        device: An id of this installation: by default one of those kept in the state folder
            that no other process uses; None for the certificate itself.
        program: What we are, for the server's log.
        reconnect: False ends the client with its first connection.
        cursors: Room -> the last sequence number read, from `Client.cursors`; those rooms
            are read on from there when they are joined.
        log: The `Client.log` that these numbers count in. If the server has another history
            by now, `RoomReset` says so.
        data: Where the keys of encrypted rooms and what was said there are kept, in a store of
            this device; the data folder of this system by default.

    Raises:
        ConfigError: a file is missing or wrong, or `address` is none.
        CertificateRefused: our certificate is not valid now, or the server does not take it.
        NotTrusted: what answers is not proven to be the server.
        Unreachable: nobody answers there, or TLS failed.
        Refused: the server says in words why it does not let us in.
    """
    where = address if isinstance(address, Address) else Address.parse(address)
    cert = Path(cert)
    credentials = Credentials(
        cert=cert, key=Path(key), ca=_authority(cert, ca, pin), pin=pin, passphrase=passphrase
    )
    with contextlib.ExitStack() as stack:
        if device == AUTO:
            own = key_fingerprint(own_certificate(cert))
            device = stack.enter_context(claim_device(where, own))
        elif device is not None:
            device = names.check_device(device)
        async with run_client(
            where,
            partial(dial, where, credentials),
            Session(cursors, log),
            device=device,
            program=program,
            reconnect=reconnect,
            beside=partial(keep_renewed, credentials=credentials),
            opener=lambda wire: open_vault(
                credentials, where, wire, device=device, now=time.time(), folder=data
            ),
        ) as client:
            client.trusted = (credentials.ca, pin)
            with trio.move_on_after(PATIENCE):
                await renew_if_due(client, credentials)
            yield client


@contextlib.asynccontextmanager
async def run_client(
    address: Address,
    dialler: Callable[[], Awaitable[Dialled]],
    session: Session,
    *,
    device: str | None,
    program: str = PROGRAM,
    reconnect: bool = True,
    backoff: Backoff | None = None,
    event_limit: int = 1000,
    beside: Callable[[Client], Awaitable[None]] | None = None,
    opener: Opener | None = None,
) -> AsyncIterator[Client]:
    """Run a client whose streams come from `dialler`: what `connect` does without files.

    `beside` runs as long as the client does.
    """
    again = partial(open_connection, dialler, program=program, device=device)
    connection = await again()
    client = Client(
        address,
        session,
        connection,
        again if reconnect else None,
        backoff or Backoff(),
        event_limit,
        opener,
    )
    raised: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client._supervise)
            if beside is not None:
                nursery.start_soon(beside, client)
            if client._encryption is not None:
                nursery.start_soon(client._encryption.run)
            try:
                yield client
            except BaseException as error:  # kept out of the nursery's group, raised below
                raised = error
            finally:
                with trio.CancelScope(shield=True):  # bounded: a goodbye takes a second
                    await client.aclose()
                nursery.cancel_scope.cancel()  # what runs beside it
    except BaseException as error:
        if raised is None or not _only_cancelled(error):
            raise
    if raised is not None:
        try:
            raise raised
        finally:
            del raised  # it holds this frame


def _only_cancelled(error: BaseException) -> bool:
    """Is that but our own tasks being cancelled with the block?"""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_only_cancelled, error.exceptions))
    return isinstance(error, trio.Cancelled)


def _authority(cert: Path, ca: Path | str | None, pin: str | None) -> Path | None:
    if ca is not None:
        return Path(ca)
    beside = cert.parent / "ca.crt"
    if beside.exists():
        return beside
    if pin is None:
        raise ConfigError(
            f"there is no {beside}: no CA to trust",
            hint="name the server's CA with --ca, or its key with --pin",
        )
    return None
