"""How `trio-chat pki list` and `show` look. Text only; nothing is decided here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from trio_chat.errors import ConfigError
from trio_chat.pki import (
    Entry,
    Place,
    describe,
    describe_ours,
    read_certificate,
    read_crls,
    read_csr,
    serial_text,
)
from trio_chat.text import safe

__all__ = ["entries_as_json", "entries_as_table", "file_as_text"]

_HEAD = ("NAME", "DEVICE", "ROLES", "STATE", "UNTIL", "SERIAL")


def entries_as_table(entries: Sequence[Entry]) -> str:
    """Return one line for each certificate, below a line of headings."""
    now = datetime.now(UTC)
    rows = [_HEAD, *(_row(entry, now) for entry in entries)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def entries_as_json(entries: Sequence[Entry]) -> str:
    """Return a JSON array; times are ISO 8601 in UTC, serial numbers hexadecimal."""
    now = datetime.now(UTC)
    return json.dumps(
        [
            {
                "kind": entry.kind,
                "name": entry.name,
                "device": entry.device,
                "roles": entry.roles,
                "state": entry.state(now),
                "serial": serial_text(entry.serial),
                "not_before": _iso(entry.not_before),
                "not_after": _iso(entry.not_after),
                "revoked": _iso(entry.revoked),
                "fingerprint": entry.fingerprint,
            }
            for entry in entries
        ],
        ensure_ascii=False,
        indent=2,
    )


def file_as_text(path: Path, ca: Path) -> str:
    """Return what a PEM file says: a certificate, a request or revocation lists.

    Of a certificate also whether it is good now, or that `ca` has not issued it.

    Raises:
        ConfigError: it is unreadable, or none of these. Private keys are not shown.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    if b"BEGIN CERTIFICATE-----" in data:
        certificate = read_certificate(path)
        pairs = [*_certificate(certificate), ("state", _state(certificate, ca))]
    elif b"X509 CRL-----" in data:
        pairs = [pair for crl in read_crls(path) for pair in _crl(crl)]
    elif b"CERTIFICATE REQUEST-----" in data:
        key = read_csr(path)
        pairs = [("request for", f"a key of type {type(key).__name__.removesuffix('PublicKey')}")]
    elif b"PRIVATE KEY-----" in data:
        raise ConfigError(f"{path} is a private key: it is not shown to anybody")
    else:
        raise ConfigError(f"{path} holds no certificate, request or revocation list in PEM")
    width = max(len(label) for label, _ in pairs)
    return "\n".join(f"{label:>{width}}  {safe(text)}" for label, text in pairs)


def _row(entry: Entry, now: datetime) -> tuple[str, ...]:
    name = {"server": "(server)", "unknown": "(elsewhere)"}.get(entry.kind, entry.name)
    until = f"{entry.not_after:%Y-%m-%d}" if entry.not_after else "-"
    cells = (name, entry.device or "-", ",".join(entry.roles) or "-", entry.state(now), until)
    return (*map(safe, cells), serial_text(entry.serial))


def _certificate(certificate: x509.Certificate) -> list[tuple[str, str]]:
    entry = describe(certificate)
    pairs = [
        ("for", f"{entry.kind} {entry.name}".strip()),
        ("device", entry.device or ""),
        ("roles", ", ".join(entry.roles)),
        ("subject", certificate.subject.rfc4514_string()),
        ("issuer", certificate.issuer.rfc4514_string()),
        ("serial", serial_text(entry.serial)),
        ("from", f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"),
        ("until", f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"),
        ("key (--pin)", entry.fingerprint or ""),
    ]
    return [(label, text) for label, text in pairs if text]


def _state(certificate: x509.Certificate, ca: Path) -> str:
    entry = describe_ours(Place(ca), certificate) if ca.exists() else None
    return entry.state(datetime.now(UTC)) if entry else f"not issued by {ca}"


def _crl(crl: x509.CertificateRevocationList) -> list[tuple[str, str]]:
    end = crl.next_update_utc
    return [
        ("list of", crl.issuer.rfc4514_string()),
        ("signed", f"{crl.last_update_utc:%Y-%m-%d %H:%M} UTC"),
        ("until", f"{end:%Y-%m-%d %H:%M} UTC" if end else "no end"),
        *(
            ("revoked", f"{serial_text(e.serial_number)} on {e.revocation_date_utc:%Y-%m-%d}")
            for e in crl
        ),
    ]


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
