"""Writing into the audit log what people did for themselves: certificates, passwords."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cryptography import x509

from trio_chat.errors import WrongCertificate
from trio_chat.identity import client_identity
from trio_chat.pki import serial_text
from trio_chat.store import AuditEntry

if TYPE_CHECKING:
    from trio_chat.server.server import Server

__all__ = ["write_down", "write_down_issued"]


async def write_down(
    server: Server, actor: str, action: str, target: str, outcome: str = "done"
) -> None:
    """Add an entry; what cannot be written down is not to take effect.

    Raises:
        StoreError: it cannot be written.
    """
    now = round(time.time(), 3)
    entry = AuditEntry(time=now, actor=actor, action=action, target=target, outcome=outcome)
    await server.store.add_audit(entry)


async def write_down_issued(
    server: Server, actor: str, action: str, pem: bytes, outcome: str = "done"
) -> None:
    """Write down that a certificate was issued; once, however often it is asked for again."""
    target = _described(pem)
    if target in server.accounts.issued:
        return
    server.accounts.issued.add(target)
    try:
        await write_down(server, actor, action, target, outcome)
    except BaseException:
        server.accounts.issued.discard(target)
        raise


def _described(pem: bytes) -> str:
    """Return whose certificate it is, and which: USER/DEVICE 0xSERIAL."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        identity = client_identity(certificate)
    except (ValueError, WrongCertificate):
        return "what cannot be read"  # whoever gets it will say so
    name = identity.user + (f"/{identity.device_name}" if identity.device_name else "")
    return f"{name} 0x{serial_text(certificate.serial_number)}"
