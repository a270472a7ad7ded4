"""A small private CA: makes it, issues and revokes certificates, keeps the list fresh.

    authority = Authority.create(Path("pki/ca.crt"))
    server = authority.issue_server(["chat.example.org"])
    alice = authority.issue_client("alice", admin=True)
    authority.revoke([alice.certificate.serial_number])

Synchronous: a program that must not wait for a disk calls it in a thread. Knows nothing of
servers, clients and terminals.
"""

from __future__ import annotations

from trio_chat.pki.authority import CA_DAYS, LEAF_DAYS, Authority, Issued
from trio_chat.pki.certificates import (
    Leaf,
    client_leaf,
    is_issued_by,
    read_certificate,
    server_leaf,
)
from trio_chat.pki.enrolment import ENROLLED_DAYS, Enroller, Redeemed, requested_key
from trio_chat.pki.first_start import FirstStart, ensure_pki, join_line, server_hosts
from trio_chat.pki.invites import Invite, Invites
from trio_chat.pki.issued import (
    Entry,
    describe,
    describe_ours,
    find_issued,
    issued_by,
    list_issued,
    serial_text,
)
from trio_chat.pki.keys import KEY_TYPES, KeyType, is_encrypted
from trio_chat.pki.place import Place
from trio_chat.pki.requests import make_request, read_csr
from trio_chat.pki.revocations import read_crls, refresh_crl
from trio_chat.pki.revoking import revoke_issued

__all__ = [
    "CA_DAYS",
    "ENROLLED_DAYS",
    "KEY_TYPES",
    "LEAF_DAYS",
    "Authority",
    "Enroller",
    "Entry",
    "FirstStart",
    "Invite",
    "Invites",
    "Issued",
    "KeyType",
    "Leaf",
    "Place",
    "Redeemed",
    "client_leaf",
    "describe",
    "describe_ours",
    "ensure_pki",
    "find_issued",
    "is_encrypted",
    "is_issued_by",
    "issued_by",
    "join_line",
    "list_issued",
    "make_request",
    "read_certificate",
    "read_crls",
    "read_csr",
    "refresh_crl",
    "requested_key",
    "revoke_issued",
    "serial_text",
    "server_hosts",
    "server_leaf",
]
