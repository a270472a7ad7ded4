"""Invites that can still be redeemed, and those that were: a folder beside the CA.

    invites/HASH            one that may be redeemed; HASH is the SHA-256 of its secret
    invites/spent/HASH      the same once it is spent
    invites/spent/HASH.crt  what was issued for it
    invites/address         where the server was reached last, for the command line

Files and not the server's database: inviting then needs no running server, and renaming a
file is the one step that spends an invite, whoever else tries at the same time and whenever
the machine stops. The secret itself is in none of them. May know files, names and the time
it is given; signs nothing.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs

from trio_chat import names
from trio_chat.errors import BadName, ConfigError, InviteRefused
from trio_chat.files import create_private, replace_file, sync_folder
from trio_chat.invitation import SECRET_SIZE, hash_secret
from trio_chat.pki.place import Place

__all__ = ["Invite", "Invites"]

KEPT = timedelta(days=90)  # how long it is remembered that one was spent or has expired

_HASH = re.compile("[0-9a-f]{64}")
_UNKNOWN = "the server does not know this invite: it is spoilt, withdrawn, or of another server"
_SPENT = "this invite was used already, and each one works once; ask for another"


def _user(name: str) -> str:
    return names.check_user(name)


def _room(name: str | None) -> str | None:
    return None if name is None else names.check_name(name)


@attrs.frozen(kw_only=True)
class Invite:
    """Who is invited, as what, and until when. Its names are checked."""

    name: str = attrs.field(converter=_user)
    expires: datetime
    admin: bool = False
    bot: bool = False
    room: str | None = attrs.field(default=None, converter=_room)  # where to go first


@attrs.frozen
class Invites:
    """The invites of one CA."""

    place: Place

    def add(self, invite: Invite, now: datetime) -> bytes:
        """Keep an invite; return the secret that redeems it, which is kept nowhere.

        Raises:
            ConfigError: it cannot be written.
        """
        self._make_folders()
        self._forget_old(now)
        secret = secrets.token_bytes(SECRET_SIZE)
        create_private(self._open(hash_secret(secret)), _encode(invite))
        return secret

    def find(self, secret: bytes, now: datetime) -> Invite:
        """Return what an open invite says; it stays open.

        Raises:
            InviteRefused: it is unknown, spent or expired.
        """
        digest = hash_secret(secret)
        invite = _read(self._open(digest))
        if invite is None:
            raise InviteRefused(_SPENT if self._spent(digest).exists() else _UNKNOWN)
        if now >= invite.expires:
            raise InviteRefused(
                f"this invite expired on {invite.expires:%Y-%m-%d %H:%M} UTC; ask for another"
            )
        return invite

    def awaits(self, name: str) -> bool:
        """Is there an open invite for that name?

        Raises:
            ConfigError: one cannot be read.
        """
        found = map(_read, self._hashed(self.place.invites))
        return any(each and names.key(each.name) == names.key(name) for each in found)

    def withdraw(self, name: str) -> int:
        """Drop the open invites of somebody; return how many there were.

        Raises:
            ConfigError: one cannot be read or removed.
        """
        count = 0
        for path in self._hashed(self.place.invites):
            invite = _read(path)
            if invite is not None and names.key(invite.name) == names.key(name):
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise ConfigError(f"cannot remove {path}: {error.strerror}") from None
                count += 1
        return count

    def spend(self, secret: bytes) -> None:
        """Make sure that this is the one redemption, and that it stays so after a crash.

        Raises:
            InviteRefused: somebody was quicker.
        """
        digest = hash_secret(secret)
        try:
            self._open(digest).rename(self._spent(digest))
        except FileNotFoundError:
            raise InviteRefused(_SPENT) from None
        except OSError as error:
            raise ConfigError(f"cannot spend an invite: {error.strerror}") from None
        sync_folder(self._spent(digest).parent)
        sync_folder(self.place.invites)

    def keep_issued(self, secret: bytes, pem: bytes) -> None:
        """Keep what was issued: whoever did not get the answer may ask again."""
        replace_file(self._issued(hash_secret(secret)), pem, mode=0o600)

    def spent(self, secret: bytes) -> Invite | None:
        """Return what a spent invite said, None if it was never spent."""
        return _read(self._spent(hash_secret(secret)))

    def issued(self, secret: bytes) -> bytes | None:
        """Return what was issued for a spent invite, None if nothing was."""
        with contextlib.suppress(OSError):
            return self._issued(hash_secret(secret)).read_bytes()
        return None

    # --- where the server is reached -----------------------------------------------------

    def keep_address(self, address: str) -> None:
        """Write down where the server can be reached; called by the server.

        Raises:
            ConfigError: it cannot be written.
        """
        self._make_folders()
        replace_file(self.place.invites / "address", address.encode(), mode=0o600)

    def address(self) -> str | None:
        """Return where the server was reached last, None if it never ran."""
        try:
            return (self.place.invites / "address").read_text(encoding="utf-8").strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    # -------------------------------------------------------------------------------------

    def _open(self, digest: str) -> Path:
        return self.place.invites / digest

    def _spent(self, digest: str) -> Path:
        return self.place.invites / "spent" / digest

    def _issued(self, digest: str) -> Path:
        return self.place.invites / "spent" / f"{digest}.crt"

    def _make_folders(self) -> None:
        for folder in (self.place.invites, self.place.invites / "spent"):
            try:
                folder.mkdir(mode=0o700, exist_ok=True)
            except OSError as error:
                raise ConfigError(f"cannot make {folder}: {error.strerror}") from None

    def _forget_old(self, now: datetime) -> None:
        """Drop invites that nobody will ask about any more."""
        for folder in (self.place.invites, self.place.invites / "spent"):
            for path in self._hashed(folder):
                invite = _read(path)
                if invite is None or now > invite.expires + KEPT:
                    path.with_name(f"{path.name}.crt").unlink(missing_ok=True)
                    path.unlink(missing_ok=True)

    def _hashed(self, folder: Path) -> list[Path]:
        if not folder.is_dir():
            return []
        return [path for path in folder.iterdir() if _HASH.fullmatch(path.name)]


def _encode(invite: Invite) -> bytes:
    found = attrs.asdict(invite)
    found["expires"] = invite.expires.astimezone(UTC).isoformat()
    return json.dumps(found, ensure_ascii=False).encode()


def _read(path: Path) -> Invite | None:
    """Return what the file says, None if there is none or it is no invite.

    Raises:
        ConfigError: it cannot be read; perhaps somebody else than the server's user made it.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        return Invite(**{**found, "expires": datetime.fromisoformat(found["expires"])})
    except (FileNotFoundError, ValueError, TypeError, KeyError, BadName):
        return None
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}", hint="invite as the server's user"
        ) from None
