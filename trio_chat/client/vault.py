"""What a client needs for encrypted rooms: opened once, kept on its own device's disk.

Beside each device id there is one encrypted store, which holds the device's own certificate and
key, the groups, what was said in them, and whom we know. Synchronous, for a thread: it reads and
writes files.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import platform
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from trio_chat import names
from trio_chat.address import Address
from trio_chat.client.dialling import Credentials
from trio_chat.e2ee.account import Account, at
from trio_chat.e2ee.changes import Cursor
from trio_chat.e2ee.device import Device, DeviceId, UserKey, issue_device
from trio_chat.e2ee.identity import Authenticator
from trio_chat.e2ee.key import load_or_make_key, stretch_passphrase
from trio_chat.e2ee.people import People
from trio_chat.e2ee.store import SealedStore
from trio_chat.errors import BadName, ConfigError, ProtocolError
from trio_chat.identity import client_identity, key_fingerprint
from trio_chat.mls import SUITES, Certificate, MLSError, X509Credential

__all__ = ["Vault", "data_folder", "open_vault", "renew"]

RENEW_AFTER = timedelta(days=20)  # of a device certificate's 30
_DEVICE = "device"  # names of what is kept
_LISTS = "revocation lists"


def data_folder() -> Path:
    """Return where stores are kept: `$XDG_DATA_HOME/trio-chat` on Linux."""
    import platformdirs

    return platformdirs.user_data_path("trio-chat", appauthor=False)


@attrs.frozen(kw_only=True)
class Vault:
    """An open store, and who we are in it.

    Attributes:
        account: Our part in end-to-end encryption.
        credentials: The files that made it.
        user: Our certificate, the nearest issuer first behind it.
        key: Its private key, which signs our device's certificate.
        cursors: How far each encrypted room's log was followed, when that was last written.
    """

    account: Account
    credentials: Credentials
    user: tuple[x509.Certificate, ...] = attrs.field(repr=False)
    key: UserKey = attrs.field(repr=False)
    cursors: dict[str, Cursor]

    @property
    def store(self) -> SealedStore:
        """What must not be lost."""
        return self.account.store

    def close(self) -> None:
        """Let another process open it."""
        self.store.close()

    def use_lists(self, pem: str | None) -> bool:
        """Count what another revocation list says too; nothing is taken back by an older one.

        Returns:
            Whether we had a newer one than that.

        Raises:
            ProtocolError: It is none.
        """
        account = self.account
        before = account.authenticator.revocations
        if pem is None:
            return bool(before)
        try:
            found = [
                x509.load_pem_x509_crl(each.encode()) for each in re.findall(_CRL, pem, re.DOTALL)
            ]
        except ValueError:
            raise ProtocolError("the server gave no revocation list") from None
        known = {each.public_bytes(Encoding.DER) for each in account.authenticator.revocations}
        issuers = (*account.authenticator.authorities, *self.user[1:])
        new = [
            each
            for each in found
            if each.public_bytes(Encoding.DER) not in known and _is_signed(each, issuers)
        ]
        if new:
            lists = _newest([*account.authenticator.revocations, *new])
            account.authenticator = attrs.evolve(account.authenticator, revocations=lists)
            kept = [each.public_bytes(Encoding.DER) for each in lists]
            with account.store.event() as changes:
                changes.keep(_LISTS, msgspec.msgpack.encode(kept))
        newest = {each.issuer: each.last_update_utc for each in found}
        return any(
            each.last_update_utc > newest.get(each.issuer, each.last_update_utc) for each in before
        )

    def stale_list(self, now: float) -> str:
        """Say that there should be a newer revocation list, or nothing."""
        over = [end for end in self._ends() if end < at(now)]
        if not over:
            return ""
        return (
            f"the newest revocation list that the server gives ended on {min(over):%Y-%m-%d %H:%M}"
            " UTC: who was revoked since is not known here"
        )

    def lists_end(self, now: float) -> float:
        """Return in how many seconds the next revocation list is over."""
        coming = [end.timestamp() - now for end in self._ends()]
        return min((left for left in coming if left >= 0), default=math.inf)

    def _ends(self) -> list[datetime]:
        """Return when the newest list of each issuer ends."""
        newest: dict[x509.Name, x509.CertificateRevocationList] = {}
        for each in self.account.authenticator.revocations:
            known = newest.setdefault(each.issuer, each)
            if each.last_update_utc > known.last_update_utc:
                newest[each.issuer] = each
        return [end for each in newest.values() if (end := each.next_update_utc) is not None]


_CRL = "-----BEGIN X509 CRL-----.*?-----END X509 CRL-----"


def _is_signed(found: x509.CertificateRevocationList, issuers: Sequence[x509.Certificate]) -> bool:
    for issuer in issuers:
        if issuer.subject == found.issuer:
            key: Any = issuer.public_key()
            with contextlib.suppress(ValueError, TypeError, InvalidSignature):
                if found.is_signature_valid(key):
                    return True
    return False


def _newest(
    lists: list[x509.CertificateRevocationList],
) -> list[x509.CertificateRevocationList]:
    """Leave out lists that another one of the same issuer has in it, and is newer."""
    kept: list[x509.CertificateRevocationList] = []
    for each in sorted(lists, key=lambda found: found.last_update_utc, reverse=True):
        serials = {entry.serial_number for entry in each}
        if not any(
            other.issuer == each.issuer and serials <= {entry.serial_number for entry in other}
            for other in kept
        ):
            kept.append(each)
    return kept


def open_vault(
    credentials: Credentials,
    where: Address,
    wire: str,
    *,
    device: str | None,
    now: float,
    folder: Path | None = None,
) -> Vault:
    """Open the store of one device, or make it, and have a device certificate that is good.

    Args:
        credentials: Our certificate and key, and the CA.
        where: The server's address; each has its own stores.
        wire: The device's id on the wire.
        device: What our `hello` said, or None for the certificate itself.
        now: The time.
        folder: In place of the data folder.

    Raises:
        ConfigError: A file is missing or wrong.
        StoreError: The store cannot be opened.
    """
    if credentials.ca is None:
        raise ConfigError(
            "who else is in an encrypted room cannot be judged without the CA's certificate",
            hint="name it with --ca, beside --pin",
        )
    user, key = _user(credentials), _key(credentials)
    authorities = _read_certificates(credentials.ca)
    what = hashlib.sha256(f"{where} {key_fingerprint(user[0])}".encode()).hexdigest()[:32]
    path = (folder or data_folder()) / "devices" / what / f"{device or 'certificate'}.store"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make {path.parent}: {error.strerror}") from None
    if credentials.passphrase is not None:
        opener = stretch_passphrase(path, credentials.passphrase.decode(errors="replace"))
    else:
        opener = load_or_make_key(path)
    store = SealedStore.open(path, opener)
    try:
        authenticator = Authenticator(authorities, _kept_lists(store))
        account = Account(
            wire=wire,
            device=_device(store, user, key, authenticator, now, wire),
            store=store,
            authenticator=authenticator,
            people=People(store.pins()),
        )
    except MLSError as error:
        store.close()
        raise ConfigError(f"your certificate is of no use in encrypted rooms: {error}") from None
    except BaseException:
        store.close()
        raise
    return Vault(
        account=account, credentials=credentials, user=user, key=key, cursors=store.cursors()
    )


def renew(vault: Vault, now: float) -> None:
    """Have a new device certificate if the old one is near its end, or the user's is another."""
    account = vault.account
    user = _user(vault.credentials)
    key = vault.key if user[0].public_key() == vault.key.public_key() else _key(vault.credentials)
    device = _device(account.store, user, key, account.authenticator, now, account.wire)
    if device.certificate != account.device.certificate:
        try:
            account.use(device)
        except MLSError as error:
            why = f"your certificate is of no use in encrypted rooms: {error}"
            raise ConfigError(why) from None


# The device


def _device(
    store: SealedStore,
    user: tuple[x509.Certificate, ...],
    key: UserKey,
    authenticator: Authenticator,
    now: float,
    wire: str,
) -> Device:
    """Return the kept device if its certificate is good for a while, or have it certified.

    One with a fresh disk is the same device as before, so that in its rooms it takes its own
    place, and does not stand beside it.
    """
    kept = _kept_device(store)
    moment = at(now)
    if kept is not None and _is_good(kept, user[0], authenticator, moment):
        return kept
    device = issue_device(
        user[0],
        key,
        _name(user[0]) if kept is None else kept.name,
        authority=_authority(user, authenticator),
        intermediates=user[1:],
        now=moment,
        device_id=_device_id(wire) if kept is None else kept.id,
    )
    chain = [each.cert_data for each in device.credential.certificates]
    data = (device.id, device.name, chain, device.signature_key.private)
    with store.event() as changes:
        changes.keep(_DEVICE, msgspec.msgpack.encode(data))
    return device


def _device_id(wire: str) -> DeviceId:
    return DeviceId(hashlib.sha256(b"trio-chat device\x00" + wire.encode()).digest()[:16])


def _kept_device(store: SealedStore) -> Device | None:
    data = store.kept(_DEVICE)
    if data is None:
        return None
    kind = tuple[bytes, str, list[bytes], bytes]
    device_id, name, chain, private = msgspec.msgpack.decode(data, type=kind)
    return Device(
        id=DeviceId(device_id),
        name=name,
        certificate=x509.load_der_x509_certificate(chain[0]),
        credential=X509Credential(tuple(Certificate(each) for each in chain)),
        signature_key=SUITES[1].scheme.load(private),
    )


def _is_good(
    device: Device, user: x509.Certificate, authenticator: Authenticator, now: datetime
) -> bool:
    chain = device.credential.certificates
    if chain[1].cert_data != user.public_bytes(Encoding.DER):
        return False
    try:
        authenticator.check(device.credential, device.signature_key.public, now=now)
    except MLSError:
        return False
    return now < device.certificate.not_valid_before_utc + RENEW_AFTER


def _authority(
    user: tuple[x509.Certificate, ...], authenticator: Authenticator
) -> x509.Certificate:
    top = user[-1].issuer
    for each in authenticator.authorities:
        if each.subject == top:
            return each
    raise ConfigError("the CA's certificate is not that of whoever issued yours")


def _name(user: x509.Certificate) -> str:
    """Return how this device is to be called: as its certificate says, or its machine."""
    called = client_identity(user).device_name
    for name in (called, re.sub(r"[^A-Za-z0-9._-]", "-", platform.node()).strip("-._")[:32]):
        if name:
            try:
                return names.check_name(name)
            except BadName:
                pass
    return "device"


# Files


def _user(credentials: Credentials) -> tuple[x509.Certificate, ...]:
    found = _read_certificates(credentials.cert)
    return (found[0], *(each for each in found[1:] if each.subject != each.issuer))


def _read_certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{path} holds no certificate in PEM") from None


def _key(credentials: Credentials) -> UserKey:
    try:
        data = credentials.key.read_bytes()
        key = load_pem_private_key(data, credentials.passphrase)
    except OSError as error:
        raise ConfigError(f"cannot read {credentials.key}: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(f"{credentials.key} is no private key that can be used here") from None
    if not isinstance(key, UserKey):
        raise ConfigError(f"{credentials.key} is of a kind that cannot sign for a device")
    return key


def _kept_lists(store: SealedStore) -> list[x509.CertificateRevocationList]:
    data = store.kept(_LISTS)
    if data is None:
        return []
    return [x509.load_der_x509_crl(each) for each in msgspec.msgpack.decode(data, type=list[bytes])]
