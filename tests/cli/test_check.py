"""`trio-chat admin check`: each thing that is wrong is found, and nothing is changed."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from trio_chat.cli.check import Checked, Finding, check
from trio_chat.cli.main import main
from trio_chat.pki import Authority
from trio_chat.store import load_or_make_key, open_store

NOW = dt.datetime.now(dt.UTC)


@pytest.fixture
def files(tmp_path: Path) -> Checked:
    """Files of a server in which nothing is wrong."""
    folder = tmp_path / "pki"
    ca = folder / "ca.crt"
    folder.mkdir()
    authority = Authority.create(ca)
    authority.issue_server(["localhost"])
    authority.issue_client("alice")
    db = folder / "chat.db"
    trio.run(make_database, db)
    return Checked(ca=ca, cert=folder / "server.crt", key=folder / "server.key", db=db)


async def make_database(db: Path) -> None:
    async with open_store(db, key=load_or_make_key(db)) as store:
        await store.create_room("lobby", mode="plain", now=0.0)


def bad(files: Checked, now: dt.datetime | None = None) -> list[Finding]:
    return [each for each in check(files, now) if each.state != "ok"]


def test_nothing_is_wrong_and_nothing_is_changed(
    files: Checked, capsys: pytest.CaptureFixture[str]
) -> None:
    def seen() -> dict[str, tuple[int, int]]:
        return {
            str(path): (path.stat().st_size, path.stat().st_mtime_ns)
            for path in files.ca.parent.rglob("*")
        }

    before = seen()
    assert bad(files) == []
    assert {each.what for each in check(files)} == {
        *("permissions", "authority", "server", "list", "people", "database", "audit", "disk"),
    }
    assert main(["admin", "check", "--ca", str(files.ca)]) == 0
    assert seen() == before
    assert all(line.startswith("ok ") for line in capsys.readouterr().out.splitlines())


def new_ca(files: Checked) -> Authority:
    folder = files.ca.parent / "other"
    folder.mkdir()
    return Authority.create(folder / "ca.crt")


def share_key(files: Checked) -> None:
    files.db.with_name("chat.db.key").chmod(0o644)


def share_folder(files: Checked) -> None:
    files.ca.parent.chmod(0o777)


def lose_key(files: Checked) -> None:
    files.db.with_name("chat.db.key").unlink()


def change_key(files: Checked) -> None:
    files.db.with_name("chat.db.key").write_text("00" * 32)


def damage_database(files: Checked) -> None:
    data = bytearray(files.db.read_bytes())
    data[8192:12288] = bytes(4096)
    files.db.write_bytes(data)


def lose_server(files: Checked) -> None:
    files.cert.unlink()


def foreign_server(files: Checked) -> None:
    made = new_ca(files).issue_server(["localhost"])
    assert made.key is not None
    shutil.copy(made.crt, files.cert)
    shutil.copy(made.key, files.key)


def other_key(files: Checked) -> None:
    made = new_ca(files).issue_server(["localhost"])
    assert made.key is not None
    shutil.copy(made.key, files.key)


def member_as_server(files: Checked) -> None:
    shutil.copy(files.ca.with_name("alice.crt"), files.cert)
    shutil.copy(files.ca.with_name("alice.key"), files.key)


def revoke_server(files: Checked) -> None:
    authority = Authority.load(files.ca)
    from trio_chat.pki import read_certificate

    authority.revoke([read_certificate(files.cert).serial_number])


def lose_list(files: Checked) -> None:
    files.place.crl.unlink()


def garble_list(files: Checked) -> None:
    files.place.crl.write_text("nonsense")


def foreign_list(files: Checked) -> None:
    shutil.copy(new_ca(files).place.crl, files.place.crl)


def old_list(files: Checked) -> None:
    before = files.place.crl.read_bytes()
    revoke_server(files)
    files.place.crl.write_bytes(before)


def other_ca_key(files: Checked) -> None:
    shutil.copy(new_ca(files).place.key, files.place.key)


def share_ca_key(files: Checked) -> None:
    files.place.key.chmod(0o640)


@pytest.mark.parametrize(
    ("spoil", "what", "said"),
    [
        (share_key, "permissions", "others can use"),
        (share_folder, "permissions", "everybody can write in"),
        (share_ca_key, "authority", "others can read"),
        (other_ca_key, "authority", "is not the key of"),
        (lose_key, "database", "its key"),
        (change_key, "database", "not encrypted with its key"),
        (damage_database, "database", "chat.db"),
        (lose_server, "server", "cannot read"),
        (foreign_server, "server", "was not issued by"),
        (other_key, "server", "is not the key of"),
        (member_as_server, "server", "no serverAuth usage"),
        (revoke_server, "server", "is revoked"),
        (lose_list, "list", "is missing"),
        (garble_list, "list", "no revocation list"),
        (foreign_list, "list", "is not signed by"),
        (old_list, "list", "lacks 1 entries"),
    ],
)
def test_what_is_wrong_is_found(
    files: Checked,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Checked], None],
    what: str,
    said: str,
) -> None:
    spoil(files)
    found = bad(files)
    assert any(f.what == what and f.state == "wrong" and said in f.text for f in found), found
    assert main(["admin", "check", "--ca", str(files.ca), "--json"]) == 1
    assert '"state": "wrong"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("days", "what", "said"),
    [
        (366, "server", "has ended"),
        (61, "list", "has ended"),
        (3651, "authority", "has ended"),
        (-1, "clock", "this machine's clock says"),
    ],
)
def test_what_the_time_makes_wrong_is_found(
    files: Checked, days: int, what: str, said: str
) -> None:
    assert not [f for f in check(files) if said in f.text]
    found = check(files, NOW + dt.timedelta(days))
    assert any(f.what == what and f.state == "wrong" and said in f.text for f in found), found


def test_what_ends_soon_is_a_warning_and_no_error(
    files: Checked, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = Authority.load(files.ca)
    authority.renew(files.cert, days=5)
    authority.issue_client("bob", device="phone", days=3)
    authority.issue_client("carol", days=3)
    authority.renew(files.ca.with_name("carol.crt"))
    found = bad(files)
    assert [(f.what, f.state) for f in found] == [("server", "warning"), ("people", "warning")]
    assert "bob/phone ends in" in found[1].text
    assert "trio-chat pki renew" in found[0].hint
    assert "kill" not in found[0].hint
    assert main(["admin", "check", "--ca", str(files.ca)]) == 0


def test_without_a_database_or_a_list_it_is_said(files: Checked) -> None:
    files.db.unlink()
    assert [(f.what, f.state) for f in bad(files)] == [("database", "warning")]


def test_without_a_ca_it_says_how_to_make_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["admin", "check", "--ca", str(tmp_path / "ca.crt")]) == 1
    assert "trio-chat pki init" in capsys.readouterr().out
    assert not os.listdir(tmp_path)
