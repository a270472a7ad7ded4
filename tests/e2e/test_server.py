"""The program `trio-chat serve`: signals, files, revoking from the command line."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
import trio

from tests.daemon import PROGRAM, Daemon, StartDaemon, run_daemon
from tests.peer import Connect, Peer
from tests.people import People

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signals here")


async def program(*words: str) -> subprocess.CompletedProcess[bytes]:
    return await trio.run_process(
        [*PROGRAM, *words], capture_stdout=True, capture_stderr=True, check=False
    )


async def test_sigterm_drains_and_everything_accepted_is_in_the_log(
    daemon: StartDaemon, enter: Connect
) -> None:
    running = await daemon()
    alice, bob = await enter(running, "alice"), await enter(running, "bob")
    lines = [
        json.dumps({"type": "send", "room": "lobby", "n": n, "text": f"{n:0300}"}).encode()
        for n in range(1, 301)
    ]
    await alice.write(b"\n".join(lines) + b"\n")
    await alice.until("message", n=1)
    running.signal(signal.SIGTERM)
    echoed = [1] + [frame["n"] for frame in await closed(alice) if frame["type"] == "message"]
    await closed(bob)
    assert await running.ended() == 0
    running = await daemon()
    again = await enter(running, "alice", after=0)
    accepted = again.said["lobby"]
    assert accepted >= len(echoed)
    for number in range(1, accepted + 1):
        await again.until("message", seq=number, n=number, text=f"{number:0300}")


async def closed(peer: Peer) -> list[dict[str, object]]:
    """Read to the end, which must have been announced."""
    frames = await peer.rest()
    assert frames[-1]["type"] == "closing"
    assert frames[-1]["reason"] == "shutdown"
    assert frames[-1]["retry_after"] > 0
    peer.drop()
    return frames


async def test_sighup_takes_over_limits_certificate_and_list_or_nothing_of_them(
    own_people: People, daemon: StartDaemon, dial: Connect, tmp_path: Path
) -> None:
    running = await daemon(ca=own_people.ca)
    alice = await dial(running, "alice", of=own_people)
    assert (await alice.hello())["text_size"] == 65_536
    config = tmp_path / "server.toml"

    async def reload(limits: str, outcome: str) -> dict[str, int]:
        config.write_text(f"[limits]\n{limits}\n")
        running.log.clear()
        running.signal(signal.SIGHUP)
        await running.logged(outcome)
        peer = await dial(running, "alice", of=own_people)
        welcome = await peer.hello("probe")
        await peer.close()
        return welcome

    assert (await reload("text_size = 1234", "reloaded"))["text_size"] == 1234
    assert (await reload("text_size = -1", "not reloaded.*text_size"))["text_size"] == 1234
    assert (await reload("text_sise = 10", "not reloaded.*text_sise"))["text_size"] == 1234
    certificate = own_people.folder / "server.crt"
    good = certificate.read_bytes()
    certificate.write_text("nonsense")
    assert (await reload("text_size = 77", "not reloaded.*server.crt"))["text_size"] == 1234
    certificate.write_bytes(good)
    assert (await reload("text_size = 77", "reloaded"))["text_size"] == 77
    await alice.quiet()


async def test_sigusr1_logs_the_whole_task_tree(daemon: StartDaemon, enter: Connect) -> None:
    running = await daemon()
    await enter(running, "alice")
    running.signal(signal.SIGUSR1)
    await running.logged(r"connections=1")
    await running.logged(r"^\s+connection \d+")
    await running.logged(r"^\s+room lobby")
    await running.logged(r"keep_pulse")


async def test_pki_revoke_ends_a_live_connection_within_a_second(
    own_people: People, daemon: StartDaemon, enter: Connect, dial: Connect
) -> None:
    running = await daemon(ca=own_people.ca)
    alice = await enter(running, "alice", of=own_people)
    mallory = await enter(running, "mallory", of=own_people)
    done = await program("pki", "revoke", "mallory", "--ca", str(own_people.ca))
    assert done.returncode == 0, done.stderr
    started = trio.current_time()
    assert (await mallory.rest())[-1] == {"type": "closing", "reason": "revoked"}
    assert trio.current_time() - started < 1
    mallory = await dial(running, "mallory", of=own_people)
    (frame,) = await mallory.rest()
    assert (frame["type"], frame["code"]) == ("error", "revoked")
    await alice.until("crl-changed")
    await alice.until("left", count=1)
    await alice.quiet()


async def test_the_log_has_no_message_text(
    people: People, daemon: StartDaemon, enter: Connect, tmp_path: Path
) -> None:
    running = await daemon("--verbose")
    alice = await enter(running, "alice")
    await alice.post("lobby", "sesame sesame")
    await alice.expect("message")
    await alice.write(b'{"type":"send","room":"lobby","n":"sesame","text":7}\n')
    await alice.expect("error", code="bad-frame")
    await alice.close()
    await running.logged("connection .* ended")
    assert "sesame" not in "\n".join(running.log)
    assert b"sesame" not in (tmp_path / "chat.db").read_bytes()


async def test_it_starts_from_nothing_and_says_how_to_join(
    daemon: StartDaemon, tmp_path: Path
) -> None:
    running = await daemon(ca=tmp_path / "pki" / "ca.crt")
    line = await running.logged(r"to join: trio-chat join localhost:(\d+) --cert (\S+) --key")
    assert int(line[1]) == running.port
    assert await trio.Path(line[2]).exists()
    running.signal(signal.SIGINT)
    assert await running.ended() == 0
    for private in ("ca.key", "server.key"):
        assert (tmp_path / "pki" / private).stat().st_mode & 0o077 == 0


async def test_it_says_which_rooms_it_can_read(
    people: People, daemon: StartDaemon, tmp_path: Path
) -> None:
    running = await daemon()
    assert "rooms: lobby (plain: the server can read them)" in running.log
    running.process.kill()
    await running.ended()
    async with trio.open_nursery() as nursery:
        words = ["--room", "lobby", "--room", "ops"]
        again: Daemon = await nursery.start(run_daemon, people.ca, tmp_path / "chat.db", *words)
        assert "rooms: ops (encrypted: the server cannot read them)" in again.log
        assert "rooms: lobby (plain: the server can read them)" in again.log
        assert any("room lobby is open and plain, and stays so" in line for line in again.log)
        nursery.cancel_scope.cancel()


async def test_a_taken_port_is_one_error_and_one_hint(
    people: People, daemon: StartDaemon, tmp_path: Path
) -> None:
    running: Daemon = await daemon()
    words = ["serve", "--ca", str(people.ca), "--db", str(tmp_path / "2.db")]
    done = await program(*words, "--port", str(running.port))
    assert done.returncode == 1
    error, hint = done.stderr.decode().splitlines()
    assert error.startswith("trio-chat: error: cannot listen on 127.0.0.1 port")
    assert hint.startswith("trio-chat: hint: ")
