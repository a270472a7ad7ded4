"""What may be wrong with a server's files: looked at from outside, whether it runs or not.

Each look gives findings: `ok`, `warning` (it works, but not for long or not as it should)
or `wrong`. Nothing is changed.
"""

from __future__ import annotations

import datetime as dt
import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from trio_chat.cli.upkeep import endings
from trio_chat.errors import ChatError, ConfigError
from trio_chat.files import read_private
from trio_chat.identity import may_serve
from trio_chat.pki import (
    Place,
    describe,
    describe_ours,
    is_encrypted,
    list_issued,
    read_certificate,
    read_crls,
)
from trio_chat.server import Revocations, inspect_database, key_path

__all__ = ["Checked", "Finding", "check", "findings_as_json"]

SKEW = dt.timedelta(minutes=5)  # by which other clocks may be ahead of ours
SOON = dt.timedelta(days=14)
LITTLE_SPACE = 200_000_000  # bytes

State = Literal["ok", "warning", "wrong"]


@attrs.frozen
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    text: str
    hint: str = ""


@attrs.frozen(kw_only=True)
class Checked:
    """The files of a server."""

    ca: Path
    cert: Path
    key: Path
    db: Path

    @property
    def place(self) -> Place:
        """The CA's files."""
        return Place(self.ca)


def check(files: Checked, now: dt.datetime | None = None) -> list[Finding]:
    """Look at everything; `now` is the present moment where it is left out."""
    now = now or dt.datetime.now(dt.UTC)
    looks = (_permissions, _authority, _server, _list, _people, _database)
    found: list[Finding] = []
    for look in looks:
        try:
            found += look(files, now)
        except ChatError as error:
            found.append(Finding(look.__name__[1:], "wrong", str(error), error.hint))
        except OSError as error:
            text = f"cannot read {error.filename}: {error.strerror}"
            found.append(Finding(look.__name__[1:], "wrong", text))
    return found


def findings_as_json(found: list[Finding]) -> list[dict[str, Any]]:
    """Return findings as plain data."""
    return [attrs.asdict(each) for each in found]


def _permissions(files: Checked, now: dt.datetime) -> Iterator[Finding]:
    if os.name != "posix":
        return
    key = key_path(files.db)
    beside = (Path(f"{files.db}{end}") for end in ("", "-wal", "-shm"))
    private = (files.place.key, files.key, *beside, key, files.ca.with_name("admin.sock"))
    bad = [path for path in private if path.exists() and path.stat().st_mode & 0o077]
    for path in bad:
        hint = f"chmod 600 {shlex.quote(str(path))}"
        yield Finding("permissions", "wrong", f"others can use {path}", hint)
    for folder in sorted({files.ca.parent, files.db.parent, files.key.parent}):
        if folder.exists() and folder.stat().st_mode & 0o1002 == 0o0002:
            bad.append(folder)
            hint = f"chmod o-w {shlex.quote(str(folder))}"
            yield Finding("permissions", "wrong", f"everybody can write in {folder}", hint)
    owners = {path.stat().st_uid for path in (files.key, files.db, key) if path.exists()}
    if len(owners) > 1:
        bad.append(files.db)
        text = f"the server's private files belong to several users: {sorted(owners)}"
        yield Finding("permissions", "warning", text, "chown them to the server's user")
    if not bad:
        yield Finding("permissions", "ok", "private files are private")


def _authority(files: Checked, now: dt.datetime) -> Iterator[Finding]:
    files.place.check_there()
    certificate = read_certificate(files.ca)
    if describe(certificate).kind != "ca":
        text = f"{files.ca} is no CA's certificate"
        yield Finding("authority", "wrong", text)
    if files.place.key.exists() and not is_encrypted(read_private(files.place.key)):
        files.place.load_issuer()  # which says if the two do not belong together
    yield from _time(files, files.ca, certificate, now)


def _server(files: Checked, now: dt.datetime) -> Iterator[Finding]:
    certificate = read_certificate(files.cert)
    again = "trio-chat pki issue --server makes one"
    if not may_serve(certificate):
        text = f"{files.cert} is not for servers (no serverAuth usage): every client refuses it"
        yield Finding("server", "wrong", text, again)
    entry = describe_ours(files.place, certificate)
    if entry is None:
        text = f"{files.cert} was not issued by {files.ca}: no client trusts it"
        yield Finding("server", "wrong", text, again)
    elif entry.revoked:
        yield Finding("server", "wrong", f"{files.cert} is revoked", again)
    if not entry or not entry.name:
        yield Finding("server", "wrong", f"{files.cert} names no host", again)
    yield from _key_of(files, certificate)
    yield from _time(files, files.cert, certificate, now)


def _key_of(files: Checked, certificate: x509.Certificate) -> Iterator[Finding]:
    data = read_private(files.key)
    if is_encrypted(data):
        yield Finding("server", "ok", f"{files.key} has a passphrase; it was not compared")
        return
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(f"{files.key} is no private key in PEM") from None
    if key.public_key() != certificate.public_key():
        yield Finding("server", "wrong", f"{files.key} is not the key of {files.cert}")


def _time(
    files: Checked, path: Path, certificate: x509.Certificate, now: dt.datetime
) -> Iterator[Finding]:
    """Say when a certificate ends, and whether the clock is before its beginning."""
    what = "authority" if path == files.ca else "server"
    yield from _clock(f"{path} begins", certificate.not_valid_before_utc, now)
    yield from _ends(files, what, path, now)


def _ends(files: Checked, what: str, path: Path, now: dt.datetime) -> Iterator[Finding]:
    for ending in endings(files.ca, files.cert, now):
        if ending.path == path:
            days = f"ends in {ending.left.days} days"
            if ending.left <= dt.timedelta():
                yield Finding(what, "wrong", f"{path} has ended", _without_signal(ending.remedy))
            elif ending.left <= SOON:
                hint = _without_signal(ending.remedy)
                yield Finding(what, "warning", f"{path} {days}", hint)
            else:
                yield Finding(what, "ok", f"{path} {days}")


def _without_signal(remedy: str) -> str:
    """Return a command without the signal to the server, which this process is not."""
    return remedy.partition(" && kill")[0]


def _clock(what: str, moment: dt.datetime, now: dt.datetime) -> Iterator[Finding]:
    if moment > now + SKEW:
        text = f"this machine's clock says {now:%Y-%m-%d %H:%M} UTC, but {what} {_date(moment)}"
        yield Finding("clock", "wrong", text, "set the clock")


def _date(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _list(files: Checked, now: dt.datetime) -> Iterator[Finding]:
    place = files.place
    sign = f"trio-chat pki crl{place.as_option()}"
    if not place.crl.exists():
        if place.last_crl.exists():
            raise ConfigError(f"the revocation list {place.crl} is missing", hint=sign)
        yield Finding("list", "ok", "there is no revocation list, and there never was")
        return
    Revocations(place.crl, files.ca).load(seen=True)  # which raises what would stop the server
    revoked = {entry.serial for entry in list_issued(place) if entry.revoked}
    lists = read_crls(place.crl)
    present = {entry.serial_number for crl in lists for entry in crl}
    if missing := len(revoked - present):
        text = f"{place.crl} is older than the last one signed: it lacks {missing} entries"
        yield Finding("list", "wrong", text, sign)
    for crl in lists:
        yield from _clock(f"{place.crl} was signed", crl.last_update_utc, now)
    yield from _ends(files, "list", place.crl, now)


def _people(files: Checked, now: dt.datetime) -> Iterator[Finding]:
    """Say whose certificates end soon; those that were renewed do not count."""
    ends: dict[tuple[str, str | None, str | None], dt.datetime] = {}
    for entry in list_issued(files.place):
        if entry.kind == "client" and entry.revoked is None and entry.not_after is not None:
            holder = (entry.name, entry.device, entry.fingerprint)
            ends[holder] = max(entry.not_after, ends.get(holder, entry.not_after))
    soon = {holder: end for holder, end in ends.items() if now < end <= now + SOON}
    for (user, device, _), end in soon.items():
        who = f"{user}/{device}" if device else user
        text = f"the certificate of {who} ends in {(end - now).days} days"
        yield Finding("people", "warning", text, "trio-chat pki renew FILE")
    if not soon:
        yield Finding("people", "ok", f"{len(ends)} certificates; none ends in the next 14 days")


def _database(files: Checked, now: dt.datetime) -> Iterator[Finding]:
    path = files.db
    if not path.exists():
        yield Finding("database", "warning", f"there is no {path}; the first start makes it")
        return
    key = key_path(path)
    if not key.exists():
        raise ConfigError(
            f"{path} is there but its key {key} is not",
            hint=f"put {key} back from the backup; nothing else can read the database",
        )
    found = inspect_database(path, key=_key(key))
    for problem in found.problems:
        yield Finding("database", "wrong", f"{path}: {problem}", "restore the last backup")
    if not found.problems:
        used = "a server has it open" if found.in_use else "no server has it open"
        yield Finding("database", "ok", f"{path} is sound; {used}")
    if found.audit_problem:
        yield Finding("audit", "wrong", f"the audit log is broken: {found.audit_problem}")
    else:
        yield Finding("audit", "ok", f"{found.audit} entries, each follows the one before")
    if found.newest is not None:
        moment = dt.datetime.fromtimestamp(found.newest, dt.UTC)
        yield from _clock("the newest message is of", moment, now)
    free = shutil.disk_usage(path.parent).free
    state: State = "warning" if free < LITTLE_SPACE else "ok"
    yield Finding("disk", state, f"{free // 1_000_000} MB free for {path}")


def _key(path: Path) -> bytes:
    try:
        return bytes.fromhex(read_private(path).decode("ascii"))
    except ValueError:
        raise ConfigError(f"{path} holds no key") from None
