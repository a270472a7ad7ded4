from __future__ import annotations

from pathlib import Path

import pytest

from trio_chat.errors import ConfigError
from trio_chat.pki import Authority, Place
from trio_chat.pki.keys import generate_key


def test_everything_lies_beside_the_ca() -> None:
    place = Place(Path("lab/ca.crt"))
    assert [
        str(path)
        for path in (place.key, place.crl, place.server_certificate, place.server_key, place.issued)
    ] == ["lab/ca.key", "lab/ca.crl", "lab/server.crt", "lab/server.key", "lab/issued"]


def test_the_default_place_needs_no_option() -> None:
    assert Place(Path("pki/ca.crt")).as_option() == ""
    assert Place(Path("my lab/ca.crt")).as_option() == " --ca 'my lab/ca.crt'"


def test_of_two_that_want_the_lock_one_gets_it(tmp_path: Path) -> None:
    place = Place(tmp_path / "ca.crt")
    with place.lock(), place.try_lock() as second:
        assert not second
    with place.try_lock() as later:
        assert later


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "issued").write_text("not a folder")
    with pytest.raises(ConfigError, match="cannot write in"), Place(tmp_path / "ca.crt").lock():
        pass


def test_without_a_ca_the_hint_is_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no CA") as caught:
        Place(tmp_path / "ca.crt").load_issuer()
    assert caught.value.hint == f"trio-chat pki init --ca {tmp_path / 'ca.crt'}"


def test_without_its_key_a_ca_signs_nothing(authority: Authority) -> None:
    authority.place.key.unlink()
    with pytest.raises(ConfigError, match=r"ca\.key is missing"):
        authority.place.load_issuer()


def test_the_key_of_another_ca_is_refused(authority: Authority, tmp_path: Path) -> None:
    other = Authority.create(tmp_path / "other" / "ca.crt")
    authority.place.key.write_bytes(other.place.key.read_bytes())
    with pytest.raises(ConfigError, match="is not the key of"):
        authority.place.load_issuer()


def test_of_several_cas_in_one_file_the_key_chooses(authority: Authority, tmp_path: Path) -> None:
    other = Authority.create(tmp_path / "other" / "ca.crt", key_type="ed25519")
    own = authority.place.ca.read_bytes()
    authority.place.ca.write_bytes(other.place.ca.read_bytes() + own)
    certificate, key = authority.place.load_issuer()
    assert certificate == authority.certificate
    assert key.public_key() == authority.key.public_key() != generate_key().public_key()
