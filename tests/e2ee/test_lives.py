"""Random lives of a room: devices come, talk, fall silent, crash and return; all must agree."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random  # noqa: TID251 - repeatable, from a seed

import pytest

from tests.e2ee.delivery import Peer, Server, settle
from tests.e2ee.makers import CA
from trio_chat.e2ee.delivery import Said
from trio_chat.e2ee.wishes import Invite

KINDS = ("rsa", "p256", "ed25519")


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA.create()


def step(random: Random, server: Server, peers: list[Peer], said: list[str]) -> None:
    """Let one small thing happen to somebody."""
    peer = random.choice(peers)
    match random.randrange(14):
        case 0 | 1:
            said.append(f"{peer.user} {peer.device.name} {len(said)}")
            peer.say(said[-1])
        case 2 | 3 | 4 | 5:
            peer.act()
        case 6 | 7 | 8:
            peer.transmit()
        case 9 | 10 | 11:
            peer.deliver(random.randint(1, 5))
        case 12:
            server.now += random.choice((0.01, 1.0, 60.0))
        case _ if not peer.online:
            peer.connect()
        case _ if random.random() < 0.2:
            peer.collect()
            peer.restart()
        case _ if random.random() < 0.2:
            peer.disconnect()


@pytest.mark.parametrize("room", ["lobby", "ops", "~alice+bob"])
@pytest.mark.parametrize("seed", range(4))
def test_random_lives_agree(ca: CA, tmp_path: Path, room: str, seed: int) -> None:
    random = Random(f"{room} {seed}")
    server = Server(room, open=room == "lobby")
    people = ["alice", "bob"] if room.startswith("~") else ["alice", "bob", "carol", "dave"]
    peers = [
        Peer(server, ca.person(user, KINDS[number % 3]), tmp_path, called, random=random)
        for number, user in enumerate(people)
        for called in ("laptop", "desktop")
    ]
    for peer in peers:
        peer.connect()
    if room == "ops":
        settle(server, peers[0])
        for user in people[1:]:
            peers[0].conversation.want(Invite(user))
        settle(server, *peers)
    said: list[str] = []
    for _ in range(1500):
        step(random, server, peers, said)
    for peer in peers:
        if not peer.online:
            peer.connect()
    settle(server, *peers)
    before = len(server.log)
    last = [f"{peer} at last" for peer in peers]
    for peer, text in zip(peers, last, strict=True):
        peer.say(text)
    settle(server, *peers)
    for peer in peers:
        heard = peer.heard
        assert sorted(text for text in heard if text in last) == sorted(last), peer
        assert max(Counter(heard).values()) == 1, "something was heard twice"
        seqs = [e.seq for e in peer.events if isinstance(e, Said) and e.seq]
        assert seqs == sorted(seqs)
    assert before < len(server.log)
    for peer in peers:
        peer.store.close()
