"""From an address and files to a TLS stream to a server that is proven to be the right one.

Nothing is said on the stream yet. Files are read anew each time, so a renewed certificate
is used from the next connection on.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import trio
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from trio_chat.address import Address
from trio_chat.client.refusals import broken, check_dates, no_connection
from trio_chat.errors import ConfigError, NotTrusted, Unreachable
from trio_chat.identity import key_fingerprint
from trio_chat.tls import ALPN, check_server, client_context, stranger_context

__all__ = ["Credentials", "Dialled", "dial", "dial_as_stranger", "own_certificate"]

_UNREADABLE = (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension)


@attrs.frozen(kw_only=True)
class Credentials:
    """What we show and whom we trust.

    `ca` is the file of the server's CA, `pin` the SHA-256 of the server's
    SubjectPublicKeyInfo in hexadecimal, which takes the place of CA and name.
    """

    cert: Path
    key: Path
    ca: Path | None
    pin: str | None
    passphrase: bytes | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Dialled:
    """A stream that may be spoken on, and the fingerprint of the server's key."""

    stream: trio.abc.Stream
    fingerprint: str


async def dial(address: Address, credentials: Credentials) -> Dialled:
    """Connect and make sure that it is the server.

    Raises:
        ConfigError: a file is missing or wrong.
        CertificateRefused: our own certificate is not valid now.
        NotTrusted: what answers there is not proven to be the server.
        Unreachable: nobody answers, or TLS failed.
    """
    context = await trio.to_thread.run_sync(_prepare, credentials)
    stream, der = await _open(address, context)
    try:
        return Dialled(stream, _check(der, address.host, credentials.pin))
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def dial_as_stranger(
    address: Address, ca: bytes | None
) -> tuple[trio.abc.Stream, x509.Certificate]:
    """Connect without a certificate of ours; return the stream and the server's certificate.

    Args:
        address: The server's.
        ca: The certificate of the one authority to trust, in DER; None trusts anybody, and
            is only for asking for that certificate. Whether the certificate is for `address`
            is not checked, but that it is a server's is, where there is a `ca`.

    Raises:
        NotTrusted: what answers there is not a server of that authority.
        CertificateRefused: the server has nothing to say to who has no certificate.
        Unreachable: nobody answers, or TLS failed.
    """
    stream, der = await _open(address, stranger_context(ca))
    try:
        if ca is not None:
            check_server(der, None)
        return stream, x509.load_der_x509_certificate(der)
    except _UNREADABLE:
        await trio.aclose_forcefully(stream)
        raise NotTrusted("the server's certificate cannot be read") from None
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


def own_certificate(path: Path) -> x509.Certificate:
    """Read our own certificate: the first one in its file.

    Raises:
        ConfigError: it cannot be read or is no certificate.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}", hint="name your certificate with --cert"
        ) from None
    except ValueError:
        raise ConfigError(f"{path} is no certificate in PEM") from None


def _prepare(credentials: Credentials) -> ssl.SSLContext:
    now = datetime.now(UTC)
    check_dates(own_certificate(credentials.cert), credentials.cert, now)
    return client_context(
        credentials.cert,
        credentials.key,
        ca=credentials.ca,
        pin=credentials.pin,
        passphrase=credentials.passphrase,
    )


def _check(der: bytes, host: str, pin: str | None) -> str:
    """Make sure that this is the server's certificate; return its key's fingerprint."""
    try:
        check_server(der, host, pin=pin)
        return key_fingerprint(x509.load_der_x509_certificate(der))
    except _UNREADABLE:
        raise NotTrusted("the server's certificate cannot be read") from None


async def _open(
    address: Address, context: ssl.SSLContext
) -> tuple[trio.SSLStream[trio.SocketStream], bytes]:
    """Connect and shake hands; return the stream and the server's certificate in DER."""
    try:
        tcp = await trio.open_tcp_stream(address.host, address.port)
    except OSError as error:
        raise no_connection(error, address) from None
    stream = trio.SSLStream(tcp, context, server_hostname=address.host)
    try:
        return stream, await _handshake(stream, address)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def _handshake(stream: trio.SSLStream[trio.SocketStream], address: Address) -> bytes:
    """Shake hands; return the server's certificate in DER."""
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError as error:
        raise broken(error) from None
    protocol: Any = stream.selected_alpn_protocol()
    if protocol != ALPN:
        raise Unreachable(
            f"what answers at {address} is no trio-chat server", hint="check host and port"
        )
    der: bytes | None = stream.getpeercert(binary_form=True)
    if not der:
        raise NotTrusted("the server showed no certificate")
    return der
