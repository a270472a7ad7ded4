"""`trio_chat.server.accounts`: names and passwords, over real connections without certificate."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tests.conftest import Serve
from tests.inviting import invite, new_key, redeem, request, stranger
from tests.peer import Connect, Frame
from tests.people import People
from trio_chat import names
from trio_chat.identity import client_identity
from trio_chat.invitation import encode_secret
from trio_chat.pki import Authority
from trio_chat.server import Server, accounts, passwords
from trio_chat.server.accounts import find_account

PASSWORD = "correct horse battery"


@pytest.fixture
def ca(own_people: People) -> Path:
    return own_people.ca


async def ask(server: Server, kind: str, **fields: Any) -> Frame:
    """Say something as a stranger over a connection of its own."""
    peer = await stranger(server)
    try:
        return await peer.ask(kind, **{"csr": request(new_key()), **fields})
    finally:
        peer.drop()


async def register(server: Server, ca: Path, name: str = "nora", **fields: Any) -> Frame:
    secret = encode_secret(invite(ca, name).secret)
    return await ask(
        server, "register", **{"user": name, "password": PASSWORD, "secret": secret, **fields}
    )


async def login(server: Server, name: str = "nora", password: str = PASSWORD) -> Frame:
    return await ask(server, "login", user=name, password=password)


def whose(frame: Frame) -> str:
    assert frame["type"] == "enrolled", frame
    found = client_identity(x509.load_pem_x509_certificate(frame["certificate"].encode()))
    assert not found.roles
    return found.user


async def allow(server: Server, mode: Any) -> None:
    server.config = attrs.evolve(server.config, registration=mode)


async def audit(server: Server) -> list[tuple[str, str]]:
    rows = [row.fields() for row in await server.store.read_audit(0, 100)]
    return [(row["actor"], row["action"]) for row in rows]


async def test_whoever_is_invited_registers_and_logs_in_on_another_machine(
    run_server: Serve, ca: Path
) -> None:
    server = await run_server(ca=ca)
    first = await register(server, ca)
    assert whose(first) == "nora"
    second = await login(server)
    assert whose(second) == "nora"
    assert first["certificate"] != second["certificate"]
    assert await audit(server) == [("user nora", "register"), ("user nora", "login")]


async def test_the_database_has_no_password_but_argon2id_with_its_parameters(
    run_server: Serve, ca: Path
) -> None:
    server = await run_server(ca=ca)
    await register(server, ca)
    kept = await server.store.get("account:nora")
    assert kept is not None
    assert PASSWORD.encode() not in kept.data
    assert b"$argon2id$v=19$m=65536,t=3,p=1$" in kept.data
    same = await server.accounts.passwords.hash(PASSWORD)
    account = await find_account(server, names.key("nora"))
    assert account is not None
    assert account.password != same  # of another salt
    assert PASSWORD not in repr(account)


async def test_an_unknown_name_and_a_wrong_password_get_one_answer_at_one_price(
    run_server: Serve, ca: Path
) -> None:
    server = await run_server(ca=ca, password_failures=100)
    await register(server, ca)
    answers, prices = [], []
    for name in ("nora", "nobody", "god", "x" * 5000, ""):
        before = server.accounts.passwords.hashings
        answers.append(await login(server, name, "wrong password"))
        prices.append(server.accounts.passwords.hashings - before)
    assert prices == [1] * len(prices)
    assert all(answer == answers[0] for answer in answers), answers
    assert answers[0]["code"] == "login"
    # And the stand-in costs what a password costs: it has the parameters of a new one.
    parameters = re.compile(r"\$argon2id\$v=\d+\$[^$]+\$")
    new = await server.accounts.passwords.hash(PASSWORD)
    stand_in, made = parameters.match(passwords._STAND_IN), parameters.match(new)
    assert stand_in is not None
    assert made is not None
    assert stand_in[0] == made[0]
    assert len(passwords._STAND_IN) == len(new)


async def test_five_wrong_ones_make_the_account_wait_from_wherever_and_the_right_one_too(
    run_server: Serve, ca: Path
) -> None:
    server = await run_server(ca=ca)
    await register(server, ca)
    server.accounts.guesses.begin("address elsewhere", now=trio.current_time())
    for _ in range(4):
        assert (await login(server, "NORA", "wrong"))["code"] == "login"
    assert whose(await login(server)) == "nora"  # a right one does not count
    assert (await login(server, "nora", "wrong"))["code"] == "login"
    before = server.accounts.passwords.hashings
    refused = await login(server)
    assert refused["code"] == "too-many"
    assert 0 < refused["retry_after"] <= 600
    assert server.accounts.passwords.hashings == before


async def test_an_address_waits_whatever_names_it_tries_also_all_at_once(
    run_server: Serve, ca: Path
) -> None:
    server = await run_server(ca=ca)
    codes: list[str] = []

    async def guess(n: int) -> None:
        codes.append((await login(server, f"name{n}", "wrong"))["code"])

    async with trio.open_nursery() as nursery:
        for n in range(12):
            nursery.start_soon(guess, n)
    assert sorted(codes) == ["login"] * 5 + ["too-many"] * 7
    assert server.accounts.passwords.hashings == 5


@pytest.mark.parametrize(
    ("mode", "code"), [("closed", "forbidden"), ("invite", "invite"), ("open", "")]
)
async def test_who_may_register_without_an_invite(
    run_server: Serve, ca: Path, mode: str, code: str
) -> None:
    server = await run_server(ca=ca)
    await allow(server, mode)
    answer = await ask(server, "register", user="nora", password=PASSWORD)
    assert answer.get("code", "") == code, answer
    assert (whose(await login(server)) == "nora") if not code else True
    if mode == "closed":
        assert (await register(server, ca))["code"] == "forbidden"
        assert whose(await redeem(server, invite(ca, "nora"))) == "nora"  # that is no account


async def test_nobody_gets_a_session_as_another_user(
    run_server: Serve, own_people: People, enter: Connect, ca: Path
) -> None:
    """A name that means somebody already is nobody else's, however it is written."""
    server = await run_server(ca=ca, registrations_per_hour=100)
    await allow(server, "open")
    own_people.certificate("Alice")  # has never been here
    own_people.certificate("bob")
    bob = await enter(server, "bob", of=own_people)
    invite(ca, "carol")
    assert whose(await ask(server, "register", user="nora", password=PASSWORD)) == "nora"
    before = server.accounts.passwords.hashings
    for name in ("alice", "ALICE", "bob", "Bob", "carol", "NORA"):
        answer = await ask(server, "register", user=name, password="mallory's own")
        assert answer["code"] == "taken", (name, answer)
    for name in ("god", "Admin", "server", "ca", "bob/laptop", "bob\n", "", "b" * 33, "b\u200bob"):
        answer = await ask(server, "register", user=name, password="mallory's own")
        assert answer["code"] == "bad-name", (name, answer)
    assert server.accounts.passwords.hashings == before
    # An invite is for its own name alone, and the request's subject means nothing.
    secret = encode_secret(invite(ca, "mallory").secret)
    answer = await ask(server, "register", user="bob", password=PASSWORD, secret=secret)
    assert answer["code"] == "invite"
    csr = request(new_key(), "bob")
    fields = {"user": "mallory", "password": PASSWORD, "csr": csr, "secret": secret}
    assert whose(await ask(server, "register", **fields)) == "mallory"
    # A login is for the name that was registered, and over bob's connection it is not bob's.
    reply = await bob.ask("login", user="MALLORY", password=PASSWORD, csr=csr)
    assert whose(reply) == "mallory"
    await bob.quiet()


async def test_an_invite_with_a_role_gives_no_account(run_server: Serve, ca: Path) -> None:
    server = await run_server(ca=ca)
    for role in ("admin", "bot"):
        invitation = invite(ca, "root", **{role: True})
        secret = encode_secret(invitation.secret)
        answer = await ask(server, "register", user="root", password=PASSWORD, secret=secret)
        assert answer["code"] == "invite"
        assert (await redeem(server, invitation))["type"] == "enrolled"  # it was not spent


async def test_of_many_at_once_one_gets_the_name(run_server: Serve, ca: Path) -> None:
    server = await run_server(ca=ca)
    await allow(server, "open")
    answers: list[Frame] = []

    async def take(n: int) -> None:
        answers.append(await ask(server, "register", user="nora", password=f"{PASSWORD} {n}"))

    async with trio.open_nursery() as nursery:
        for n in range(5):
            nursery.start_soon(take, n)
    assert sorted(answer.get("code", "") for answer in answers) == ["", *["taken"] * 4]


async def test_registering_has_a_limit_by_address(run_server: Serve, ca: Path) -> None:
    server = await run_server(ca=ca, registrations_per_hour=2)
    await allow(server, "open")
    for name in ("one", "two"):
        whose(await ask(server, "register", user=name, password=PASSWORD))
    answer = await ask(server, "register", user="three", password=PASSWORD)
    assert answer["code"] == "too-many"
    assert answer["retry_after"] > 3000


async def test_a_lost_answer_costs_nobody_the_name(run_server: Serve, ca: Path) -> None:
    """The invite is spent and nothing is kept of the account: the same key tries again."""
    server = await run_server(ca=ca)
    invitation, csr = invite(ca, "nora"), request(new_key())
    first = await redeem(server, invitation, csr)
    fields = {"user": "nora", "password": PASSWORD, "csr": csr}
    secret = encode_secret(invitation.secret)
    again = await ask(server, "register", secret=secret, **fields)
    assert again["certificate"] == first["certificate"]
    assert whose(await login(server)) == "nora"
    answer = await ask(server, "register", secret=secret, **fields)
    assert answer["code"] == "taken"
    other = await ask(
        server, "register", user="nora", password=PASSWORD, secret=secret, csr=request(new_key())
    )
    assert other["code"] in ("taken", "invite")


async def test_whoever_has_everything_revoked_does_not_come_back_by_password(
    run_server: Serve, own_people: People, ca: Path
) -> None:
    server = await run_server(ca=ca)
    first = await register(server, ca)
    second = await login(server)
    serials = [
        x509.load_pem_x509_certificate(each["certificate"].encode()).serial_number
        for each in (first, second)
    ]
    authority = Authority.load(ca)
    authority.revoke(serials[:1])
    whose(third := await login(server))  # one lost device is not the end
    serials.append(x509.load_pem_x509_certificate(third["certificate"].encode()).serial_number)
    authority.revoke(serials)
    assert (await login(server))["code"] == "revoked"
    assert (await login(server, "nora", "wrong"))["code"] == "login"  # and is told only then
    whose(await redeem(server, invite(ca, "nora")))
    assert whose(await login(server)) == "nora"


async def test_short_passwords_and_bad_requests_change_nothing(run_server: Serve, ca: Path) -> None:
    server = await run_server(ca=ca)
    for fields, code in (
        ({"password": "seven77"}, "forbidden"),
        ({"password": "x" * 1025}, "bad-frame"),
        ({"csr": "no request"}, "bad-frame"),
        ({"device": "no/name"}, "bad-name"),
    ):
        answer = await register(server, ca, **fields)
        assert answer["code"] == code, fields
    assert server.accounts.passwords.hashings == 0
    assert await server.store.get("account:nora") is None
    assert await audit(server) == []


async def test_changing_the_password_wants_the_present_one_and_ones_own_certificate(
    run_server: Serve, own_people: People, ca: Path, enter: Connect, tmp_path: Path
) -> None:
    server = await run_server(ca=ca)
    key = ec.generate_private_key(ec.SECP256R1())
    await register(server, ca, csr=request(key))
    own_people.certificate("nora")
    nora, bob = (
        await enter(server, "nora", of=own_people),
        await enter(server, "bob", of=own_people),
    )
    reply = await bob.ask("passwd", old=PASSWORD, new="a new password")
    assert reply["code"] == "forbidden"
    reply = await nora.ask("passwd", old="wrong", new="a new password")
    assert reply["code"] == "login"
    reply = await nora.ask("passwd", old=PASSWORD, new="short")
    assert reply["code"] == "forbidden"
    assert whose(await login(server)) == "nora"
    assert (await nora.ask("passwd", old=PASSWORD, new="a new password"))["type"] == "ok"
    assert (await login(server))["code"] == "login"
    assert whose(await login(server, "nora", "a new password")) == "nora"
    assert (f"user nora ({nora.device})", "passwd") in await audit(server)


async def test_accounts_outlive_the_server(run_server: Serve, ca: Path) -> None:
    server = await run_server(ca=ca)
    await register(server, ca)
    server.drain()
    server = await run_server(ca=ca)
    assert whose(await login(server)) == "nora"


async def test_a_server_without_a_key_to_sign_with_asks_for_no_password(
    run_server: Serve, own_people: People, enter: Connect
) -> None:
    (own_people.folder / "ca.key").rename(own_people.folder / "away.key")
    server = await run_server(ca=own_people.ca)
    (own_people.folder / "away.key").rename(own_people.folder / "ca.key")
    bob = await enter(server, "bob", of=own_people)
    for kind in ("login", "register"):
        reply = await bob.ask(kind, user="x", password=PASSWORD, csr=request(new_key()))
        assert reply["code"] == "no-enrolment"


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_what_counts_as_one_address(address: str, network: str) -> None:
    assert accounts._network(address) == network


async def test_a_class_behind_one_address_can_register_with_invites(
    run_server: Serve, ca: Path
) -> None:
    server = await run_server(ca=ca, registrations_per_hour=1)
    for name in ("one", "two", "three"):
        secret = encode_secret(invite(ca, name, room="lobby").secret)
        made = await ask(server, "register", user=name, password=PASSWORD, secret=secret)
        assert (whose(made), made["room"]) == (name, "lobby")
    # A spent invite of somebody else costs the server no hashing.
    before = server.accounts.passwords.hashings
    nora = invite(ca, "nora")
    await redeem(server, nora)
    secret = encode_secret(nora.secret)
    answer = await ask(server, "register", user="nora", password=PASSWORD, secret=secret)
    assert answer["code"] == "invite"
    assert server.accounts.passwords.hashings == before
