"""What a failed connection means, in a sentence with the next step: alerts, errors, dates.

A peer that refuses a certificate can only say so by a TLS alert, and in TLS 1.3 it comes
after the client's handshake has ended (RFC 8446, 4.4.2.4 and 6.2). The sentences are ours;
text from the network is cleaned before it enters an exception.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import trio
from cryptography import x509

from trio_chat.errors import (
    CODES,
    BadName,
    CertificateRefused,
    ConfigError,
    NotTrusted,
    Refused,
    Revoked,
    Unreachable,
    WrongCertificate,
    WrongProtocol,
)
from trio_chat.protocol.frames import Error
from trio_chat.text import safe

__all__ = ["ALERTS", "FINAL", "broken", "check_dates", "no_connection", "refusal"]

FINAL = (
    BadName,
    CertificateRefused,
    ConfigError,
    Revoked,
    WrongCertificate,
    WrongProtocol,
)
"""What trying again does not mend: the client gives up instead of reconnecting."""

_RENEW = "trio-chat pki renew FILE"
ALERTS: dict[str, tuple[str, str]] = {
    "UNKNOWN_CA": (
        "the server does not know the CA that issued your certificate",
        "use a certificate from the server's CA: trio-chat pki issue NAME",
    ),
    "CERTIFICATE_EXPIRED": ("the server says that your certificate has expired", _RENEW),
    "CERTIFICATE_REVOKED": (
        "your certificate has been revoked",
        "ask whoever runs the CA for a new one",
    ),
    "CERTIFICATE_REQUIRED": (
        "the server wants a certificate and got none",
        "name one with --cert and --key",
    ),
    "BAD_CERTIFICATE": (
        "the server cannot use your certificate",
        "look at it with: trio-chat pki show FILE",
    ),
    "UNSUPPORTED_CERTIFICATE": (
        "your certificate is not for clients",
        "use one made by: trio-chat pki issue NAME",
    ),
    "CERTIFICATE_UNKNOWN": (
        "the server cannot verify your certificate",
        "look at it with: trio-chat pki show FILE",
    ),
    "DECRYPT_ERROR": (
        "your key does not belong to your certificate, or the CA's signature on it is wrong",
        "look at it with: trio-chat pki show FILE",
    ),
    "ACCESS_DENIED": ("the server does not let this certificate in", ""),
}
"""The end of OpenSSL's name of an alert -> what it means for us, and what to do next."""

_TLS: dict[str, str] = {
    "WRONG_VERSION_NUMBER": "what answers there does not speak TLS",
    "HTTP_REQUEST": "what answers there does not speak TLS",
    "UNSUPPORTED_PROTOCOL": "what answers there does not speak TLS 1.3",
    "TLSV1_ALERT_PROTOCOL_VERSION": "what answers there does not speak TLS 1.3",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "what answers there is no trio-chat server",
}


def refusal(frame: Error) -> Refused:
    """Return the exception that an `error` frame is, its text cleaned."""
    kind = CODES.get(frame.code, Refused)
    return kind(
        safe(frame.text, 1000) or safe(frame.code, 100),
        room=frame.room,
        n=frame.n,
        expected=frame.expected,
        last=frame.last,
        epoch=frame.epoch,
        seq=frame.seq,
        retry_after=frame.retry_after,
    )


def broken(error: trio.BrokenResourceError) -> Unreachable:
    """Say why a TLS connection broke: an alert, a failed verification, or just gone."""
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return NotTrusted(
            f"the server's certificate is not trusted: {cause.verify_message}",
            hint="name the server's CA with --ca, or its key with --pin",
        )
    if isinstance(cause, ssl.SSLEOFError):
        return Unreachable("the server closed the connection")
    if isinstance(cause, ssl.SSLError) and cause.reason:
        for name, (text, hint) in ALERTS.items():
            if cause.reason.endswith(f"ALERT_{name}"):
                return CertificateRefused(text, hint=hint)
        known = _TLS.get(cause.reason)
        words = cause.reason.lower().replace("_", " ")
        return Unreachable(known or f"TLS failed: {words}")
    return Unreachable("the connection broke")


def no_connection(error: OSError, address: object) -> Unreachable:
    """Say why no TCP connection to `address` could be made."""
    causes = list(_leaves(error))
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return Unreachable(f"cannot find the host of {address}", hint="check the name's spelling")
    numbers = [cause.errno for cause in causes if cause.errno is not None]
    if errno.ECONNREFUSED in numbers:
        return Unreachable(
            f"nobody listens at {address}", hint="start a server there: trio-chat serve"
        )
    if errno.ETIMEDOUT in numbers:
        return Unreachable(f"{address} does not answer")
    reason = f": {errno.errorcode[numbers[0]]}" if numbers and numbers[0] in errno.errorcode else ""
    return Unreachable(f"cannot reach {address}{reason}")


def check_dates(certificate: x509.Certificate, path: Path, now: datetime) -> None:
    """Raise `CertificateRefused` if our own certificate is not valid now.

    The server would refuse it, in fewer words.
    """
    name = path.name
    if now > certificate.not_valid_after_utc:
        raise CertificateRefused(
            f"your certificate {name} expired on {certificate.not_valid_after_utc:%Y-%m-%d}",
            hint=f"trio-chat pki renew {path}",
        )
    if now < certificate.not_valid_before_utc:
        raise CertificateRefused(
            f"your certificate {name} is not valid before "
            f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC",
            hint="check this machine's clock",
        )


def _leaves(error: BaseException) -> Iterator[OSError]:
    """Yield the errors of the single attempts beneath one of `trio.open_tcp_stream`."""
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _leaves(member)
    elif isinstance(error, OSError):
        if error.errno is not None:
            yield error
        if error.__cause__ is not None:
            yield from _leaves(error.__cause__)
