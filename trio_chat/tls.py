"""TLS as this project wants it: version 1.3, mutual, our own authority and nobody else's.

Nothing here weakens verification, and there is no option that does; whoever is invited and
does not know the authority yet gets its certificate by `stranger_context`, and nothing else.
Knows files and X.509; sockets are transport.py's.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from pathlib import Path

from cryptography import x509

from trio_chat.errors import ConfigError, NotTrusted
from trio_chat.files import read_private
from trio_chat.identity import key_fingerprint, may_serve

__all__ = [
    "ALPN",
    "TappedContext",
    "check_server",
    "client_context",
    "server_context",
    "stranger_context",
]

ALPN = "trio-chat/1"


class TappedContext(ssl.SSLContext):
    """A context whose connections write their ciphertext to a buffer of ours.

    `trio.SSLStream` asks its context to `wrap_bio`; that is the public hook by which all
    that leaves (handshake, key updates, data, close_notify) can be handed to the kernel
    at once and in order, from any task.
    """

    tapped: tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]
    """The newest connection: its TLS object, what comes in, what goes out."""

    chunk: memoryview
    """What the kernel has for one connection, filled and emptied without waiting in between.

    64 KiB are read at once, for fairness; one for a server, as servers may run in threads.
    """

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Make the TLS object, with a fresh buffer in place of `outgoing`."""
        outgoing = ssl.MemoryBIO()
        found = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        self.tapped = (found, incoming, outgoing)
        return found


def server_context(
    cert: Path,
    key: Path,
    ca: Path,
    *,
    passphrase: bytes | None = None,
    strangers: bool = False,
) -> TappedContext:
    """Return the server's context: TLS 1.3, clients must show a certificate of `ca`.

    With `strangers` they may show none, so that they can get one; whoever shows one that is
    not in order is refused all the same. What a stranger may say is the server's business.

    Tickets are off: they cost a third of a handshake, and a resumed session would not
    show its certificate to the revocation list again.

    Raises:
        ConfigError: a file is missing, unreadable, or does not fit the others.
    """
    context = TappedContext(ssl.PROTOCOL_TLS_SERVER)
    context.chunk = memoryview(bytearray(65_536))
    _set_up(context, cert, key, passphrase)
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_OPTIONAL if strangers else ssl.CERT_REQUIRED
    _trust(context, ca)
    return context


def client_context(
    cert: Path,
    key: Path,
    *,
    ca: Path | None,
    pin: str | None = None,
    passphrase: bytes | None = None,
) -> ssl.SSLContext:
    """Return the client's context: TLS 1.3, trusting `ca` alone, or the pinned key alone.

    With a pin no authority is asked at all; `check_server` compares the key after the
    handshake, before anything is said. Names and usage are checked there as well.

    Raises:
        ConfigError: a file is missing, unreadable, or does not fit the others.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _set_up(context, cert, key, passphrase)
    context.check_hostname = False  # `check_server` does, and says what it found
    if pin is not None:
        if not re.fullmatch("[0-9a-f]{64}", _digits(pin)):
            raise ConfigError(
                "the pin is no SHA-256: it has 64 hexadecimal digits",
                hint="`trio-chat pki show server.crt` prints it",
            )
        context.verify_mode = ssl.CERT_NONE
    elif ca is not None:
        _trust(context, ca)
    else:
        raise ConfigError(
            "no CA to trust", hint="name its certificate with --ca, or --pin the server's key"
        )
    return context


def stranger_context(ca: bytes | None) -> ssl.SSLContext:
    """Return the context of who has no certificate yet: TLS 1.3, trusting `ca` alone.

    Args:
        ca: The authority's certificate in DER. None verifies nothing: only to ask for that
            certificate, of which the hash is known.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([ALPN])
    context.check_hostname = False
    if ca is None:
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=ca)
    return context


def check_server(der: bytes, host: str | None, *, pin: str | None = None) -> None:
    """Check, after the handshake, that `der` is the certificate of the server at `host`.

    Without a pin it must say explicitly that it is for servers (OpenSSL takes an absent
    usage for any, and a member's certificate must not pose as the server) and name `host`
    among its alternative names (RFC 9525). With a pin its key's SHA-256 must be the pin,
    and nothing else counts. A `host` of None is any: for who is invited to an address that
    the server does not know of, and remembers its key from then on.

    Raises:
        NotTrusted: it is not; the text says which check failed.
    """
    certificate = x509.load_der_x509_certificate(der)
    fingerprint = key_fingerprint(certificate)
    if pin is not None:
        if fingerprint != _digits(pin):
            raise NotTrusted(
                f"the server's key is {fingerprint}, not the pinned one",
                hint="ask its owner, by another way, which is right",
            )
        return
    if not may_serve(certificate):
        raise NotTrusted(
            "what answers shows a certificate that is not a server's (no serverAuth usage): "
            "somebody may be posing as the server"
        )
    if host is not None and not _names(certificate, host):
        raise NotTrusted(
            f"the server's certificate is not for {host}",
            hint="connect by a name in it, or --pin its key as `trio-chat pki show` prints it",
        )


def _digits(pin: str) -> str:
    """Return a pin as it is compared: people write it in groups and in capitals."""
    return pin.replace(":", "").replace(" ", "").lower()


def _set_up(context: ssl.SSLContext, cert: Path, key: Path, passphrase: bytes | None) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([ALPN])
    if not cert.exists():
        raise ConfigError(f"cannot read {cert}: no such file")
    read_private(key)
    try:
        context.load_cert_chain(cert, key, password=lambda: passphrase or b"")
    except ssl.SSLError as error:
        raise ConfigError(
            f"{cert} and {key} are no certificate and its key ({error.reason})"
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot read {cert}: {error.strerror}") from None


def _trust(context: ssl.SSLContext, ca: Path) -> None:
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError:
        raise ConfigError(f"{ca} is no certificate in PEM") from None
    except OSError as error:
        raise ConfigError(f"cannot read {ca}: {error.strerror}") from None


def _names(certificate: x509.Certificate, host: str) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    try:
        return ipaddress.ip_address(host) in found.get_values_for_type(x509.IPAddress)
    except ValueError:
        pass
    try:
        wanted = host.rstrip(".").encode("idna").decode().lower()
    except UnicodeError:
        return False
    for name in found.get_values_for_type(x509.DNSName):
        name = name.lower().rstrip(".")
        if name == wanted or (
            name.startswith("*.") and name[2:] == wanted.partition(".")[2] and "." in name[2:]
        ):
            return True
    return False
