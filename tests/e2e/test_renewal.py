"""A certificate that an invite has brought about is renewed by itself, over real sockets."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.conftest import Serve
from tests.inviting import new_key, request
from tests.people import People
from trio_chat import connect
from trio_chat.client import renewal
from trio_chat.files import create_private
from trio_chat.invitation import encode_secret
from trio_chat.pki import (
    Authority,
    Enroller,
    Invite,
    client_leaf,
    list_issued,
    read_certificate,
)
from trio_chat.pki.keys import dump_key

DAY = dt.timedelta(days=1)


@pytest.fixture(autouse=True)
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def enrolled(people: People, folder: Path, ago: dt.timedelta) -> dict[str, Any]:
    """Enrol somebody some time ago; return what `connect` wants."""
    then = dt.datetime.now(dt.UTC) - ago
    enroller, key = Enroller.load(people.ca), new_key()
    secret = enroller.invites.add(Invite(name="nora", expires=then + DAY), then)
    made = enroller.redeem(encode_secret(secret), request(key), None, then)
    crt = folder / "own.crt"
    crt.write_bytes(made.pem)
    crt.chmod(0o600)
    create_private(folder / "own.key", dump_key(key))
    return {"cert": crt, "key": folder / "own.key", "ca": people.ca}


@pytest.fixture
def old_people(tmp_path: Path) -> People:
    """A CA that is older than what it has issued."""
    folder = tmp_path / "pki"
    folder.mkdir()
    then = dt.datetime.now(dt.UTC) - 60 * DAY
    authority = Authority.create(folder / "ca.crt", now=then)
    authority.issue_server(["localhost", "127.0.0.1"])
    authority.revoke([])  # the list of then is over
    return People(authority)


@pytest.mark.parametrize("below", [False, True], ids=["root", "intermediate"])
async def test_it_is_renewed_at_two_thirds_of_its_life(
    run_server: Serve, old_people: People, tmp_path: Path, below: bool
) -> None:
    if below:
        made = old_people.authority.create_intermediate(now=dt.datetime.now(dt.UTC) - 50 * DAY)
        made.revoke([])
    server = await run_server(ca=old_people.ca)
    given = enrolled(old_people, tmp_path, 25 * DAY)
    old = read_certificate(given["cert"])
    async with connect(f"localhost:{server.port}", device=None, **given) as nora:
        device = nora.device
    new = read_certificate(given["cert"])
    assert new.not_valid_after_utc - dt.datetime.now(dt.UTC) > 29 * DAY
    assert new.public_key() == old.public_key()
    assert given["cert"].stat().st_mode & 0o777 == 0o600
    async with connect(f"localhost:{server.port}", device=None, **given) as nora:
        assert nora.device == device
    assert read_certificate(given["cert"]) == new


async def test_it_is_left_alone_before_that(
    run_server: Serve, old_people: People, tmp_path: Path
) -> None:
    server = await run_server(ca=old_people.ca)
    given = enrolled(old_people, tmp_path, 19 * DAY)
    old = read_certificate(given["cert"])
    async with connect(f"localhost:{server.port}", **given):
        pass
    assert read_certificate(given["cert"]) == old


async def test_who_stays_connected_is_renewed_too(
    run_server: Serve, old_people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "INTERVAL", 0.02)
    due = False
    is_due = renewal._is_due
    monkeypatch.setattr(renewal, "_is_due", lambda *given: due and is_due(*given))
    server = await run_server(ca=old_people.ca)
    given = enrolled(old_people, tmp_path, 25 * DAY)
    old = read_certificate(given["cert"])
    async with connect(f"localhost:{server.port}", **given):
        assert read_certificate(given["cert"]) == old
        due = True
        with trio.fail_after(10):
            while read_certificate(given["cert"]) == old:
                await trio.sleep(0.01)


async def test_one_issued_by_hand_stays_as_it_is(
    run_server: Serve, old_people: People, tmp_path: Path
) -> None:
    server = await run_server(ca=old_people.ca)
    then = dt.datetime.now(dt.UTC) - 25 * DAY
    made = old_people.authority.issue_client("paul", days=30, now=then)
    assert made.key is not None
    async with connect(
        f"localhost:{server.port}", cert=made.crt, key=made.key, ca=old_people.ca
    ) as paul:
        assert paul.user == "paul"
    assert read_certificate(made.crt) == made.certificate
    assert len(list_issued(old_people.authority.place)) == 2  # the server's and this one


@pytest.mark.parametrize("what", ["another key", "another name", "another CA", "nonsense"])
async def test_a_certificate_of_no_use_does_not_replace_ours(
    run_server: Serve,
    old_people: People,
    people: People,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    what: str,
) -> None:
    given = enrolled(old_people, tmp_path, 25 * DAY)
    before = given["cert"].read_bytes()
    key: Any = read_certificate(given["cert"]).public_key()
    answer = {
        "another key": issued(old_people, "nora", new_key().public_key()),
        "another name": issued(old_people, "paul", key),
        "another CA": issued(people, "nora", key),
        "nonsense": b"nonsense",
    }[what]
    monkeypatch.setattr(Enroller, "renew", lambda *_given: answer)
    server = await run_server(ca=old_people.ca)
    async with connect(f"localhost:{server.port}", **given) as nora:
        assert nora.user == "nora"
    assert given["cert"].read_bytes() == before
    assert "our certificate was not renewed" in caplog.text


def issued(people: People, name: str, key: Any) -> bytes:
    made: x509.Certificate = people.authority.sign(key, client_leaf(name))
    return made.public_bytes(Encoding.PEM)
