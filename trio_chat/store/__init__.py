"""The durable, encrypted log: rooms, their messages, counters and the directory.

store.py        the interface: `open_store`, `Store`
operations.py   what can be written        queries.py   what can be read
delivery.py     what lies beside a log     keypackages.py   what devices leave for others
writer.py       group commit               rows.py      the values
database.py     opening, settings          schema.py    the tables
key.py          the key file
audit.py        the audit log              backup.py    a copy of a database in use
inspection.py   is a database sound?       overview.py  what there is
sanctions.py    bans and mutes
"""

from trio_chat.store.audit import AddAudit, AuditChain, AuditEntry, AuditRow
from trio_chat.store.backup import back_up
from trio_chat.store.database import Durability
from trio_chat.store.delivery import BLOBS, PART
from trio_chat.store.inspection import Inspection, inspect_database
from trio_chat.store.key import key_path, load_or_make_key
from trio_chat.store.operations import SetRole
from trio_chat.store.rows import (
    Batch,
    Change,
    Conflict,
    GroupInfo,
    KeyPackage,
    RoomRow,
    RoomState,
    RoomSummary,
    Slice,
    Statistics,
    Turns,
    Value,
    Welcome,
)
from trio_chat.store.sanctions import EVERYWHERE, LiftSanction, PutSanction
from trio_chat.store.store import Store, open_store

__all__ = [
    "BLOBS",
    "EVERYWHERE",
    "PART",
    "AddAudit",
    "AuditChain",
    "AuditEntry",
    "AuditRow",
    "Batch",
    "Change",
    "Conflict",
    "Durability",
    "GroupInfo",
    "Inspection",
    "KeyPackage",
    "LiftSanction",
    "PutSanction",
    "RoomRow",
    "RoomState",
    "RoomSummary",
    "SetRole",
    "Slice",
    "Statistics",
    "Store",
    "Turns",
    "Value",
    "Welcome",
    "back_up",
    "inspect_database",
    "key_path",
    "load_or_make_key",
    "open_store",
]
