"""Races: several devices commit at once, epoch after epoch. One wins each, and all go along."""

from __future__ import annotations

from pathlib import Path
from random import Random  # noqa: TID251 - repeatable, from a seed

import pytest

from tests.e2ee.delivery import Peer, Server, settle
from tests.e2ee.makers import CA


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA.create()


def race(server: Server, peers: list[Peer], random: Random) -> tuple[int, int]:
    """Let all want fresh keys at once; return how many commits and proposals were sent."""
    server.now += 6  # longer than who lost the last race waits
    for peer in peers:
        peer.conversation.wishes._update = server.now
        while peer.act():
            pass
    sent = [parcel.kind for peer in peers for parcel in peer.sent]
    for peer in random.sample(peers, len(peers)):
        while peer.transmit():
            pass
    for peer in random.sample(peers, len(peers)):
        while peer.deliver():
            pass
    return sent.count("commit"), sent.count("proposal")


def run(ca: CA, folder: Path, count: int, epochs: int) -> None:
    random = Random(f"{count} racers")
    server = Server("lobby")
    people = [ca.person(f"user{number}") for number in range(count)]
    peers = [Peer(server, person, folder, random=random) for person in people]
    for peer in peers:
        peer.connect()
        settle(server, *peers)
    start, heard, winners = server.epoch, 0, set()
    proposals = 0
    for number in range(epochs):
        server.losers, epoch = 0, server.epoch
        commits, proposed = race(server, peers, random)
        proposals += proposed
        assert commits >= 1
        assert server.epoch == epoch + 1, "one winner each"
        assert server.losers == commits - 1, "and a refusal for each of the others"
        winners.add(server.log[-1].device)
        groups = [peer.conversation.membership.group for peer in peers]
        assert len({group.epoch_authenticator for group in groups if group}) == 1
        assert None not in groups
        if number % 10 == 0:
            speaker = random.choice(peers)
            speaker.say(f"{number}")
            server.now += 6
            for peer in peers:
                peer.conversation.wishes._update = None
            settle(server, *peers)
            heard += 1
            assert all(len(peer.heard) == heard for peer in peers)
    assert server.epoch >= start + epochs
    assert len(winners) == count, "nobody starves"
    assert proposals, "who loses again and again has others carry their keys"
    for peer in peers:
        assert not peer.unread
        peer.store.close()


@pytest.mark.parametrize("count", [4, 6])
def test_one_wins_each_epoch_and_all_converge(ca: CA, tmp_path: Path, count: int) -> None:
    run(ca, tmp_path, count, 100)


@pytest.mark.stress
@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", [4, 5, 6])
def test_one_wins_each_of_a_thousand_epochs(ca: CA, tmp_path: Path, count: int) -> None:
    run(ca, tmp_path, count, 1000)
