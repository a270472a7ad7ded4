"""`/devices`, `/revoke` and `/shutdown` as they are typed, against the real server."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.daemon import PROGRAM, Daemon, StartDaemon
from tests.people import People
from trio_chat.pki import Issued
from trio_chat.ui import people as commands

Type = Callable[..., Awaitable["subprocess.CompletedProcess[bytes]"]]


@pytest.fixture
def say(tmp_path: Path) -> Type:
    """Type lines into `join` as somebody, and leave."""

    async def run(server: Daemon, who: Issued, *lines: str) -> subprocess.CompletedProcess[bytes]:
        words = ["join", f"localhost:{server.port}", "--cert", str(who.crt), "--key", str(who.key)]
        home = {f"XDG_{kind}_HOME": str(tmp_path / kind) for kind in ("DATA", "STATE")}
        with trio.fail_after(30):
            return await trio.run_process(
                [*PROGRAM, *words, "--room", "lobby", "--plain"],
                stdin="".join(f"{line}\n" for line in lines).encode(),
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env={**os.environ, **home},
            )

    return run


def told(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stdout.decode() + done.stderr.decode()


async def test_the_owner_s_other_device_ends_a_lost_one_and_nobody_else_s(
    own_people: People, daemon: StartDaemon, say: Type
) -> None:
    server = await daemon(ca=own_people.ca)
    make = partial(own_people.authority.issue_client, "alice")
    laptop, phone = make(device="laptop"), make(device="phone")
    bob = own_people.certificate("bob")
    done = await say(server, laptop, "/devices")
    serial = f"0x{phone.certificate.serial_number:X}"
    assert f"phone  {serial}" in told(done).replace("0x0", "0x")
    assert ", this one" in told(done)
    assert "somebody else's" in told(await say(server, bob, "/revoke alice/phone"))
    assert "no device of that name" in told(await say(server, bob, "/revoke phone"))
    assert "phone is revoked" in told(await say(server, laptop, "/revoke phone"))
    done = await say(server, phone, "hello")
    assert (done.returncode, "has been revoked" in told(done)) == (1, True)
    assert "phone  0x" not in told(await say(server, laptop, "/devices"))
    assert "the device you are using" in told(await say(server, laptop, "/revoke laptop"))


async def test_an_admin_shuts_the_server_down_and_nobody_else_does(
    own_people: People, daemon: StartDaemon, say: Type
) -> None:
    root, bob = own_people.certificate("root", admin=True), own_people.certificate("bob")
    server = await daemon(ca=own_people.ca)
    assert "only certificates with the admin role" in told(await say(server, bob, "/shutdown"))
    assert "is no time" in told(await say(server, root, "/shutdown soon"))
    assert "the server stops in 7200 s" in told(await say(server, root, "/shutdown 2h"))
    assert server.process.returncode is None
    await say(server, root, "/shutdown now")
    assert await server.ended() == 0


@pytest.mark.parametrize(
    ("typed", "seconds"), [("now", 0), ("0", 0), ("90", 90), ("30s", 30), ("5m", 300), ("1h", 3600)]
)
def test_when_to_shut_down(typed: str, seconds: float) -> None:
    assert commands._delay(typed) == seconds
