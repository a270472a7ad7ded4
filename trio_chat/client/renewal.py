"""Renewing our own certificate in time: at two thirds of its life, by itself.

Only a server that has issued it by an invite does that; any other says no, and is not asked
again. The file is replaced as a whole, and the next connection uses it.
"""

from __future__ import annotations

import itertools
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import trio
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from trio_chat.client.dialling import Credentials, own_certificate
from trio_chat.errors import ChatError, ConfigError, Disconnected, NotTrusted, Refused
from trio_chat.files import replace_file
from trio_chat.identity import client_identity
from trio_chat.protocol.frames import Enrolled, Renew

if TYPE_CHECKING:
    from trio_chat.client.client import Client

__all__ = ["keep_renewed", "renew_if_due"]

INTERVAL = 3600.0  # seconds between looks at the certificate
PATIENCE = 5.0  # seconds that a connection which has just begun waits for its renewal

_log = logging.getLogger("trio_chat.client")


async def renew_if_due(client: Client, credentials: Credentials) -> bool:
    """Renew our certificate if it is time; return whether it makes sense to ask again later.

    What goes wrong is logged: the certificate that we have is still good.
    """
    try:
        old = await trio.to_thread.run_sync(own_certificate, credentials.cert)
        if not _is_due(old, datetime.now(UTC)):
            return True
        answer = await client._ask(Renew(), repeat=True)
        assert isinstance(answer, Enrolled)
        await trio.to_thread.run_sync(_keep, credentials, old, answer.certificate)
    except Disconnected:
        return False
    except Refused as error:
        _log.debug("our certificate is not renewed by the server: %s", error)
        return False
    except (ConfigError, NotTrusted) as error:
        _log.warning("our certificate was not renewed: %s", error)
    except ChatError as error:
        _log.debug("our certificate was not renewed: %s", error)
    return True


async def keep_renewed(client: Client, credentials: Credentials) -> None:
    """Renew our certificate whenever it is time, as long as the client lives."""
    again = True
    while again:
        await trio.sleep(INTERVAL)
        again = await renew_if_due(client, credentials)


def _is_due(certificate: x509.Certificate, now: datetime) -> bool:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return now >= begin + (end - begin) * 2 / 3


def _keep(credentials: Credentials, old: x509.Certificate, pem: str) -> None:
    """Put the new certificate in the place of the old one, if it is what it should be."""
    try:
        chain = x509.load_pem_x509_certificates(pem.encode())
        for certificate, issuer in itertools.pairwise(chain):
            certificate.verify_directly_issued_by(issuer)
        if credentials.ca is not None:
            _verify(chain[-1], x509.load_pem_x509_certificates(credentials.ca.read_bytes()))
        new = chain[0]
        same = new.public_key() == old.public_key()
        if not same or client_identity(new).key != client_identity(old).key:
            raise ValueError
    except OSError as error:
        raise ConfigError(f"cannot read {credentials.ca}: {error.strerror}") from None
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        raise NotTrusted("the server answered with a certificate that is of no use") from None
    if new.not_valid_after_utc > old.not_valid_after_utc:
        replace_file(credentials.cert, pem.encode(), mode=0o600)


def _verify(certificate: x509.Certificate, roots: list[x509.Certificate]) -> None:
    """Raise `ValueError` unless one of them has issued it."""
    for root in roots:
        try:
            certificate.verify_directly_issued_by(root)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return
    raise ValueError("issued by another")
