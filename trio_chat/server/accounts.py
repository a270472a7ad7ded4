"""Accounts by password: a way to a certificate, and to nothing else.

An account is an entry of the store's directory. Who has it is its name as it was registered;
nothing that a client says later changes that. Whoever guesses hears the same, and waits as
long, whether there is such an account or not.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import logging
from typing import TYPE_CHECKING

import attrs
import trio

from trio_chat import names
from trio_chat.errors import Forbidden, InviteRefused, LoginRefused, NameTaken, Revoked
from trio_chat.limits import Limits
from trio_chat.pki import Enroller, Entry, requested_key
from trio_chat.protocol.frames import ChangePassword, Enrolled, Login, Ok, Register
from trio_chat.server.attempts import Attempts
from trio_chat.server.auditing import write_down, write_down_issued
from trio_chat.server.enrolment import enroller_of, sign
from trio_chat.server.passwords import Passwords, check_new

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection
    from trio_chat.server.server import Server

__all__ = ["Account", "Accounts", "change_password", "find_account", "login", "register"]

log = logging.getLogger("trio_chat.server")

_HOUR = 3600.0
_LONGEST = 128  # characters of a name that are counted by; no account has more
_WRONG = "there is no such account, or the password is wrong"


@attrs.frozen(kw_only=True)
class Account:
    """A name and what is kept of its password, at a revision of the directory."""

    user: str
    password: str = attrs.field(repr=False)
    rev: int = 0

    def encode(self) -> bytes:
        """Return it as the directory keeps it."""
        return json.dumps({"user": self.user, "password": self.password}).encode()


class Accounts:
    """What a server keeps in memory for accounts."""

    def __init__(self, limits: Limits) -> None:
        self.passwords = Passwords(limits.hashings_at_once)
        self.guesses = Attempts(limits.password_failures, limits.password_window)
        self.registrations = Attempts(limits.registrations_per_hour, _HOUR)
        self.books: tuple[object, list[Entry]] = (None, [])  # certificates, as of a moment
        self.issued: set[str] = set()  # what the audit log has of this run
        self.registering = trio.Lock()  # so that one name goes to one

    @property
    def limits(self) -> Limits:
        """Set when the server reloads; what was counted stays counted."""
        raise AttributeError("only set")

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self.passwords.limiter.total_tokens = limits.hashings_at_once
        self.guesses.limit, self.guesses.window = limits.password_failures, limits.password_window
        self.registrations.limit = limits.registrations_per_hour

    def forget(self, now: float) -> None:
        """Drop what no longer counts; called by the clock."""
        self.guesses.forget(now)
        self.registrations.forget(now)


async def find_account(server: Server, user: names.Key) -> Account | None:
    """Return the account of that name, if there is one."""
    found = await server.store.get(_entry(user))
    return None if found is None else Account(**json.loads(found.data), rev=found.rev)


async def register(server: Server, connection: Connection, frame: Register) -> None:
    """Make an account, and answer with its first certificate."""
    enroller, mode = enroller_of(server), server.config.registration
    server.doors.check_enrolling()
    if mode == "closed":
        raise Forbidden("nobody can register here; ask whoever runs the server for an invite")
    name = names.check_user(frame.user)
    check_new(frame.password)
    _check_request(frame)
    if frame.secret is not None:
        await sign(server, _check_invite, enroller, frame.secret, name)
    elif mode == "invite":
        raise InviteRefused("to register wants an invite here; ask whoever runs the server")
    else:
        network = _network(connection.address)
        server.accounts.registrations.begin(network, now=trio.current_time())
    async with server.accounts.registering:
        if await find_account(server, names.key(name)) is not None:
            raise NameTaken(f"{name} is registered already; log in, or choose another name")
        pem, room = await _make(server, enroller, name, frame)
    actor = f"user {name}"
    await write_down_issued(server, actor, "register", pem, f"done: from {connection.address}")
    log.info("registered %s from %s", name, connection.address)
    connection.say(Enrolled(certificate=pem.decode("ascii"), room=room, id=frame.id))


async def _make(
    server: Server, enroller: Enroller, name: str, frame: Register
) -> tuple[bytes, str | None]:
    """Keep the account and certify the key, in the order that can be tried again.

    Returns the certificate, and the room that the invite is for.
    """
    now = dt.datetime.now(dt.UTC)
    if frame.secret is None:
        known = await server.knows(names.key(name)) or await sign(server, enroller.is_named, name)
        if known:
            raise NameTaken(f"{name} is somebody here already; choose another name")
        await _keep(server, name, await server.accounts.passwords.hash(frame.password), 0)
        pem = await sign(server, enroller.issue, name, frame.csr, frame.device, now)
        return pem, None
    # A spent invite gives the same key the same certificate again: so the account is last.
    made = await sign(server, enroller.redeem, frame.secret, frame.csr, frame.device, now)
    await _keep(server, name, await server.accounts.passwords.hash(frame.password), 0)
    return made.pem, made.room


def _check_invite(enroller: Enroller, secret: str, name: str) -> None:
    invite = enroller.invited(secret, dt.datetime.now(dt.UTC))
    if names.key(invite.name) != names.key(name):
        raise InviteRefused("this invite is for another name")
    if invite.admin or invite.bot:
        raise InviteRefused(
            "this invite is for an admin or a bot, who have no passwords: use it without"
        )


async def login(server: Server, connection: Connection, frame: Login) -> None:
    """Answer with a certificate, if the password is right."""
    enroller, guesses = enroller_of(server), server.accounts.guesses
    server.doors.check_enrolling()
    _check_request(frame)
    key, now = names.key(frame.user), trio.current_time()
    counted = (f"account {key[:_LONGEST]}", f"address {_network(connection.address)}")
    guesses.begin(*counted, now=now)
    account = await find_account(server, key)
    kept = None if account is None else account.password
    if not await server.accounts.passwords.matches(frame.password, kept) or account is None:
        log.warning("a wrong name or password from %s", connection.address)
        raise LoginRefused(_WRONG)
    guesses.forgive(*counted, now=now)
    user = account.user
    await sign(server, _check_not_barred, enroller, user, None)
    wall = dt.datetime.now(dt.UTC)
    pem = await sign(server, enroller.issue, user, frame.csr, frame.device, wall)
    await sign(server, _check_not_barred, enroller, user, pem)  # once more: now it is in the books
    actor = f"user {user}"
    await write_down_issued(server, actor, "login", pem, f"done: from {connection.address}")
    log.info("issued a certificate for %s to %s, by password", user, connection.address)
    connection.say(Enrolled(certificate=pem.decode("ascii"), id=frame.id))


def _check_not_barred(enroller: Enroller, user: str, new: bytes | None) -> None:
    """Whoever has had everything revoked is not let in again by a password."""
    if enroller.is_barred(user, new):
        raise Revoked("all your certificates have been revoked; ask for an invite")


async def change_password(server: Server, connection: Connection, frame: ChangePassword) -> None:
    """Take another password of whoever is connected, who knows the present one."""
    identity, now = connection.identity, trio.current_time()
    check_new(frame.new)
    account = await find_account(server, identity.key)
    if account is None:
        raise Forbidden(f"{identity.user} has no password here; an invite is a way to one")
    counted = f"account {identity.key}"
    server.accounts.guesses.begin(counted, now=now)
    if not await server.accounts.passwords.matches(frame.old, account.password):
        raise LoginRefused("the present password is another one")
    server.accounts.guesses.forgive(counted, now=now)
    kept = await server.accounts.passwords.hash(frame.new)
    actor = f"user {identity.user} ({connection.device})"
    await write_down(server, actor, "passwd", identity.user)
    await _keep(server, account.user, kept, account.rev)
    connection.say(Ok(id=frame.id))


async def _keep(server: Server, user: str, password: str, rev: int) -> None:
    account = Account(user=user, password=password)
    await server.store.put(_entry(names.key(user)), account.encode(), rev=rev)


def _network(address: str) -> str:
    """Return what counts as one address: of IPv6 a customer has 2^64 at least."""
    host = address.partition("%")[0]
    if ":" not in host:
        return host
    return str(ipaddress.ip_network((host, 64), strict=False))


def _entry(user: names.Key) -> str:
    return f"account:{user}"


def _check_request(frame: Register | Login) -> None:
    """Raise what is wrong with the request before a password is looked at."""
    requested_key(frame.csr)
    if frame.device is not None:
        names.check_name(frame.device)
