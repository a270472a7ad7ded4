"""An id is kept, is held by one at a time, and is free again when its holder ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trio_chat.address import Address
from trio_chat.client.devices import AUTO, claim_device, state_folder
from trio_chat.errors import BadName
from trio_chat.names import check_device

SERVER = Address("localhost", 8443)
KEY = "ab" * 32

HOLD = """
import sys
from pathlib import Path
from trio_chat.address import Address
from trio_chat.client.devices import claim_device
with claim_device(Address("localhost", 8443), "ab" * 32, folder=Path(sys.argv[1])) as device:
    print(device, flush=True)
    sys.stdin.read()
"""


def test_an_id_is_kept_for_the_next_time(tmp_path: Path) -> None:
    with claim_device(SERVER, KEY, folder=tmp_path) as first:
        assert check_device(first) == first
        assert len(first) == 12
    with claim_device(SERVER, KEY, folder=tmp_path) as second:
        assert second == first


def test_a_second_client_is_another_device_and_both_are_kept(tmp_path: Path) -> None:
    with (
        claim_device(SERVER, KEY, folder=tmp_path) as one,
        claim_device(SERVER, KEY, folder=tmp_path) as two,
    ):
        assert one != two
    with (
        claim_device(SERVER, KEY, folder=tmp_path) as again,
        claim_device(SERVER, KEY, folder=tmp_path) as too,
    ):
        assert {again, too} == {one, two}


def test_each_server_and_each_key_has_its_own_ids(tmp_path: Path) -> None:
    claims = [(SERVER, KEY), (SERVER, "cd" * 32), (Address("localhost", 1), KEY)]
    found = set()
    for address, key in claims:
        with claim_device(address, key, folder=tmp_path) as device:
            found.add(device)
    assert len(found) == 3


def test_another_process_holds_its_id_until_it_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        theirs = other.stdout.readline().strip()
        with claim_device(SERVER, KEY, folder=tmp_path) as mine:
            other.kill()
            other.wait()
            assert mine != theirs
            with claim_device(SERVER, KEY, folder=tmp_path) as device:
                assert device == theirs


def test_the_lock_is_released_when_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), claim_device(SERVER, KEY, folder=tmp_path) as one:
        raise RuntimeError
    with claim_device(SERVER, KEY, folder=tmp_path) as two:
        assert two == one


def test_where_nothing_can_be_kept_an_id_serves_once(tmp_path: Path) -> None:
    (tmp_path / "devices").write_text("in the way")
    with claim_device(SERVER, KEY, folder=tmp_path) as device:
        assert len(check_device(device)) == 12


def test_strange_files_are_no_ids(tmp_path: Path) -> None:
    with claim_device(SERVER, KEY, folder=tmp_path) as device:
        pass
    (folder,) = (tmp_path / "devices").iterdir()
    (folder / "..notes").write_text("")
    (folder / device).unlink()
    with claim_device(SERVER, KEY, folder=tmp_path) as other:
        assert len(check_device(other)) == 12


def test_the_folder_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform != "linux":
        pytest.skip("XDG is Linux's")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder() == tmp_path / "trio-chat"


def test_auto_can_be_no_devices_name() -> None:
    with pytest.raises(BadName):
        check_device(AUTO)
