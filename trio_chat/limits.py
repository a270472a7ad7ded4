"""Every limit of the server: its name, default and reason. One place, one table.

A configuration file sets them by these names in its `[limits]` table. Times are in
seconds, sizes in bytes. May know nothing of the rest of the package.
"""

from __future__ import annotations

import attrs
from attrs import validators

__all__ = ["Limits"]


def _limit(default: float, reason: str) -> float:
    field: float = attrs.field(
        default=default,
        validator=[validators.instance_of((int, float)), validators.gt(0)],
        metadata={"reason": reason},
    )
    return field


def _count(default: int, reason: str) -> int:
    field: int = attrs.field(
        default=default,
        validator=[validators.instance_of(int), validators.gt(0)],
        metadata={"reason": reason},
    )
    return field


@attrs.frozen(kw_only=True)
class Limits:
    """What the server allows, waits for and keeps. Every value is above zero."""

    handshake_timeout: float = _limit(10.0, "s; a stalled TLS handshake ends")
    handshakes_at_once: int = _count(
        8, "steps in a row while somebody talks; waiting for a peer takes no place"
    )
    unauthenticated: int = _count(
        1024, "connections before `hello`; over it the oldest of the busiest address goes"
    )
    hello_timeout: float = _limit(10.0, "s; from the handshake to the first frame")
    hello_size: int = _count(8 * 1024, "B; a line before `welcome`")
    frame_size: int = _count(256 * 1024, "B; a line after `welcome`")
    text_size: int = _count(64 * 1024, "B of UTF-8 in one message: one paste is one message")
    bad_frames: int = _count(5, "malformed lines in a minute before the connection is closed")
    heartbeat_interval: float = _limit(30.0, "s idle before a ping")
    heartbeat_timeout: float = _limit(90.0, "s without a byte before a peer counts as gone")
    connections_per_identity: int = _count(10, "live connections of one person")
    connections_per_address: int = _count(
        64, "live connections of one address; whole networks sit behind NAT"
    )
    failures_per_address: int = _count(
        32, "in `failures_window`; then that address gets one handshake at a time"
    )
    failures_window: float = _limit(600.0, "s over which failed connections are counted")
    password_failures: int = _count(
        5, "wrong passwords of one account, and of one address, in `password_window`"
    )
    password_window: float = _limit(600.0, "s over which wrong passwords are counted")
    registrations_per_hour: int = _count(5, "new accounts from one address without an invite")
    hashings_at_once: int = _count(2, "passwords looked at at the same time, of 64 MiB each")
    input_burst: int = _count(
        20, "frames at once; then `input_rate`. Input is delayed, never refused"
    )
    input_rate: float = _limit(5.0, "frames/s")
    bot_input_burst: int = _count(100, "frames at once, for certificates with the bot role")
    bot_input_rate: float = _limit(50.0, "frames/s, for certificates with the bot role")
    rooms_per_connection: int = _count(1000, "rooms joined at once on one connection")
    roster_size: int = _count(
        200, "members listed in `joined`, and up to which `entered` and `left` are sent"
    )
    page_entries: int = _count(200, "entries in one page of history")
    room_queue: int = _count(
        512, "reads with messages waiting for one room's broadcaster; senders wait over it"
    )
    tail_size: int = _count(
        1024 * 1024, "B of a room's newest messages kept in memory for readers that are behind"
    )
    blob_size: int = _count(8 * 1024 * 1024, "B of one blob: the tree of an encrypted room")
    blob_memory: int = _count(
        64 * 1024 * 1024, "B of blobs put and not named yet; over it others are asked to wait"
    )
    key_packages: int = _count(100, "key packages kept for one device; the oldest go")
    key_package_devices: int = _count(
        50, "devices of one person with key packages; the one silent for longest loses its"
    )
    key_package_life: float = _limit(30 * 86400.0, "s that key packages are kept")
    password_attempts: int = _count(
        5, "wrong passwords of one person for one room in `password_window`; six times that for all"
    )
    sanctions_per_room: int = _count(1000, "bans and mutes in one room")
    claims_per_hour: int = _count(60, "claims of key packages by one person")
    retention: float = _limit(
        30 * 86400.0, "s that messages are kept; then they are deleted for real"
    )
    drain_timeout: float = _limit(10.0, "s for connections to end after SIGTERM")
