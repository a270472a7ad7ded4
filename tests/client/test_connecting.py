"""`connect` finds its files, says what is wrong with them, and lets go of its device."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from trio_chat.client import connect
from trio_chat.errors import BadName, ConfigError


@pytest.fixture
def files(tmp_path: Path) -> Path:
    authority = trustme.CA()
    issued = authority.issue_cert(common_name="alice")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "alice.crt")
    issued.private_key_pem.write_to_path(tmp_path / "alice.key")
    (tmp_path / "alice.key").chmod(0o600)
    return tmp_path


async def fails(**options: object) -> None:
    async with connect("localhost:1", **options):  # type: ignore[arg-type]  # wrong on purpose
        raise AssertionError


async def test_without_a_ca_beside_the_certificate_one_must_be_named(files: Path) -> None:
    with pytest.raises(ConfigError, match="no CA to trust") as caught:
        await fails(cert=files / "alice.crt", key=files / "alice.key")
    assert "--ca" in caught.value.hint
    assert "--pin" in caught.value.hint


async def test_a_missing_certificate_is_named(files: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*bob\.crt"):
        await fails(cert=files / "bob.crt", key=files / "alice.key", pin="ab" * 32)


async def test_a_file_that_is_no_certificate_is_named(files: Path) -> None:
    with pytest.raises(ConfigError, match=r"alice\.key is no certificate"):
        await fails(cert=files / "alice.key", key=files / "alice.key", pin="ab" * 32)


async def test_a_device_has_a_plain_name(files: Path) -> None:
    with pytest.raises(BadName):
        await fails(cert=files / "alice.crt", key=files / "alice.key", pin="x", device="a/b")


async def test_an_address_is_checked_first(files: Path) -> None:
    with pytest.raises(ConfigError, match="is no HOST:PORT"):
        async with connect("localhost:http", cert=files / "x", key=files / "x"):
            raise AssertionError
