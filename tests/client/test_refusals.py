"""Each way of being refused becomes a sentence, of the right class, with the next step."""

from __future__ import annotations

import errno
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trustme
from cryptography import x509

from trio_chat.client.connection import open_connection
from trio_chat.client.dialling import Dialled, _check
from trio_chat.client.refusals import ALERTS, broken, check_dates, no_connection, refusal
from trio_chat.errors import (
    CODES,
    CertificateRefused,
    NotTrusted,
    Refused,
    Unreachable,
)
from trio_chat.protocol.frames import Error


def ssl_error(reason: str) -> trio.BrokenResourceError:
    cause = ssl.SSLError(1, "text")
    cause.reason = reason
    error = trio.BrokenResourceError()
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("TLSV1_ALERT_UNKNOWN_CA", "does not know the CA"),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "expired"),
        ("SSLV3_ALERT_CERTIFICATE_REVOKED", "revoked"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "wants a certificate"),
        ("SSLV3_ALERT_BAD_CERTIFICATE", "cannot use your certificate"),
        ("SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", "not for clients"),
        ("SSLV3_ALERT_CERTIFICATE_UNKNOWN", "cannot verify your certificate"),
        ("TLSV1_ALERT_DECRYPT_ERROR", "key does not belong"),
        ("TLSV1_ALERT_ACCESS_DENIED", "does not let this certificate in"),
    ],
)
def test_alerts_about_our_certificate_become_sentences(reason: str, words: str) -> None:
    found = broken(ssl_error(reason))
    assert isinstance(found, CertificateRefused)
    assert words in str(found)


def test_the_table_of_alerts_is_covered_and_says_what_to_do() -> None:
    assert len(ALERTS) == 9
    for text, hint in ALERTS.values():
        assert text[0].islower()
        assert not text.endswith(".")
        assert hint or "let this certificate in" in text


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("WRONG_VERSION_NUMBER", "does not speak TLS"),
        ("TLSV1_ALERT_PROTOCOL_VERSION", "does not speak TLS 1.3"),
        ("TLSV1_ALERT_NO_APPLICATION_PROTOCOL", "no trio-chat server"),
        ("SOMETHING_NEW", "TLS failed: something new"),
    ],
)
def test_other_failures_of_tls_are_not_our_certificates_fault(reason: str, words: str) -> None:
    found = broken(ssl_error(reason))
    assert type(found) is Unreachable
    assert words in str(found)


def test_a_failed_verification_is_the_servers_fault() -> None:
    error = trio.BrokenResourceError()
    error.__cause__ = ssl.SSLCertVerificationError(1, "text")
    error.__cause__.verify_message = "self-signed certificate"
    found = broken(error)
    assert isinstance(found, NotTrusted)
    assert "self-signed" in str(found)


def test_a_connection_that_just_breaks_says_so() -> None:
    assert str(broken(trio.BrokenResourceError())) == "the connection broke"


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_of_the_wire_becomes_its_class_and_its_text_is_cleaned(code: str) -> None:
    found = refusal(Error(code=code, text="no\x1b]0;title\x07", n=3, retry_after=2.0))
    assert type(found) is CODES[code]
    assert (found.n, found.retry_after) == (3, 2.0)
    assert "\x1b" not in str(found)


def test_a_code_from_the_future_is_a_refusal() -> None:
    assert type(refusal(Error(code="too-blue", text=""))) is Refused
    assert str(refusal(Error(code="too-blue", text=""))) == "too-blue"


def group(*errors: OSError) -> OSError:
    """Return what `trio.open_tcp_stream` raises when several attempts failed."""
    found = OSError("all attempts failed")
    found.__cause__ = ExceptionGroup("attempts", list(errors))
    return found


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (socket.gaierror(-2, "Name or service not known"), "cannot find the host of h:1"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "no"), "nobody listens at h:1"),
        (
            group(OSError(errno.ENETUNREACH, "no"), ConnectionRefusedError(errno.ECONNREFUSED, "")),
            "nobody listens at h:1",
        ),
        (group(OSError(errno.ETIMEDOUT, "no")), "h:1 does not answer"),
        (OSError(errno.EHOSTUNREACH, "no"), "cannot reach h:1: EHOSTUNREACH"),
        (OSError("strange"), "cannot reach h:1"),
    ],
)
def test_failing_to_connect_is_explained(error: OSError, words: str) -> None:
    assert str(no_connection(error, "h:1")) == words


# --- our own certificate's dates -------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def certificate(authority: trustme.CA) -> x509.Certificate:
    issued = authority.issue_cert(common_name="alice")
    return x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())


def test_an_expired_certificate_of_ours_is_refused_before_connecting(authority: Any) -> None:
    own = certificate(authority)
    end = own.not_valid_after_utc
    check_dates(own, Path("pki/alice.crt"), end)
    with pytest.raises(CertificateRefused) as caught:
        check_dates(own, Path("pki/alice.crt"), end + timedelta(seconds=1))
    assert str(caught.value) == f"your certificate alice.crt expired on {end:%Y-%m-%d}"
    assert "trio-chat pki renew pki/alice.crt; or ask for an invite" in caught.value.hint


def test_a_certificate_of_tomorrow_points_at_the_clock(authority: Any) -> None:
    own = certificate(authority)
    with pytest.raises(CertificateRefused, match="not valid before"):
        check_dates(own, Path("alice.crt"), datetime(1999, 1, 1, tzinfo=UTC))


# --- the alerts as OpenSSL sends them, over memory -------------------------------------


async def refused_by(server: ssl.SSLContext, client: ssl.SSLContext) -> Unreachable:
    """Connect as the client does, and return what it raises."""
    client_side, server_side = trio.testing.memory_stream_pair()

    async def serve() -> None:
        # `trio.SSLStream` would not send the alert.
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = server.wrap_bio(incoming, outgoing, server_side=True)
        refused = False
        while not refused:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                refused = True
            await server_side.send_all(outgoing.read())
            if not refused:
                incoming.write(bytes(await server_side.receive_some()))
        await server_side.aclose()

    async def dial() -> Dialled:
        stream = trio.SSLStream(client_side, client, server_hostname="localhost")
        await stream.do_handshake()
        return Dialled(stream, "")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with pytest.raises(Unreachable) as caught:
            await open_connection(dial, program="test", device=None)
    return caught.value


def contexts(
    authority: trustme.CA, issuer: trustme.CA | None, **options: Any
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    if issuer is not None:
        issuer.issue_cert(common_name="alice", **options).configure_cert(client)
    return server, client


async def test_a_certificate_of_another_ca_is_refused_in_words(authority: trustme.CA) -> None:
    found = await refused_by(*contexts(authority, trustme.CA()))
    assert isinstance(found, CertificateRefused)
    assert "does not know the CA" in str(found)


async def test_an_expired_certificate_is_refused_in_words(authority: trustme.CA) -> None:
    past = datetime(2020, 1, 1, tzinfo=UTC)
    found = await refused_by(*contexts(authority, authority, not_after=past))
    assert isinstance(found, CertificateRefused)
    assert "expired" in str(found)


async def test_no_certificate_is_refused_in_words(authority: trustme.CA) -> None:
    found = await refused_by(*contexts(authority, None))
    assert isinstance(found, CertificateRefused)
    assert "wants a certificate" in str(found)


def test_a_server_whose_certificate_cannot_be_read_is_not_trusted() -> None:
    with pytest.raises(NotTrusted, match="cannot be read"):
        _check(b"0\x03\x02\x01\x01", "localhost", "ab" * 32)
