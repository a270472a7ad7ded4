"""Random lives of a room: devices come, talk, fall silent, crash and return; all must agree."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from random import Random  # noqa: TID251 - repeatable, from a seed

import attrs
import pytest

from tests.e2ee.delivery import Peer, Server, settle
from tests.e2ee.makers import CA
from trio_chat.e2ee.delivery import Entered, Left, NotSent, Parcel, Said, Trouble
from trio_chat.e2ee.following import Door
from trio_chat.e2ee.identity import Authenticator
from trio_chat.e2ee.wishes import Invite, Leave

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


# A larger one, with a book of who is in the group when


@attrs.define(eq=False)
class Witness(Server):
    """A server that knows what none can know: where each commit leads."""

    turns: list[tuple[int, frozenset[str]]] = attrs.field(factory=list)  # (seq, who from then on)
    wires: dict[tuple[str, bytes], str] = attrs.field(factory=dict)  # (user, device) -> wire

    def take(self, peer: Peer, parcel: Parcel) -> None:
        before, ahead = len(self.log), peer.conversation._ahead
        super().take(peer, parcel)
        if len(self.log) > before and parcel.kind in ("commit", "create"):
            assert ahead is not None
            members = peer.account.members(ahead[0]).values()
            now = frozenset(self.wires[one.user, bytes(one.device_id)] for one in members)
            self.turns.append((len(self.log), now))

    def there(self, seq: int) -> frozenset[str]:
        """Return who is in the group when a message is taken."""
        turn = bisect_left(self.turns, seq, key=lambda each: each[0])
        return self.turns[turn - 1][1] if turn else frozenset()


@attrs.define(eq=False)
class Town:
    """Fifteen people with two devices each."""

    random: Random
    server: Witness
    ca: CA
    peers: list[Peer]
    talkative: int
    said: int = 0
    revoked: list[str] = attrs.field(factory=list)
    gone: set[str] = attrs.field(factory=set)  # the wires of those who are
    done: Counter[str] = attrs.field(factory=Counter)
    wanted: dict[str, dict[int, str]] = attrs.field(factory=lambda: defaultdict(dict))

    @property
    def living(self) -> list[Peer]:
        return [peer for peer in self.peers if peer.wire not in self.gone]

    def do(self) -> None:
        """Let one thing happen."""
        random, server = self.random, self.server
        peer = random.choice(self.living)
        dice = random.random()
        if dice < 0.35:
            for _ in range(random.randint(1, self.talkative)):
                text = f"{peer.user} {peer.device.name} {self.said}"
                self.wanted[peer.wire][peer.say(text)] = text
                self.said += 1
        elif dice < 0.9:
            for each in random.sample(self.living, 12):
                while each.act() or each.transmit():
                    pass
                each.deliver(random.randint(1, 60))
            server.now += random.choice((0.01, 0.3, 3.0))
        elif dice < 0.93:
            self.come_or_go(peer)
        elif dice < 0.95:
            server.now += random.choice((30.0, 4000.0))
        elif dice < 0.965:
            self.leave_or_return(peer)
        elif dice < 0.98:
            self.done["crash"] += 1
            for token, _ in peer.conversation._outbox._unwritten:
                del self.wanted[peer.wire][token]  # nobody has promised anything
            peer.crash()
        elif dice < 0.99 and not server.open:
            self.peers[0].conversation.want(Invite(peer.user))
        elif dice > 0.99 and len(self.revoked) < 3:
            self.revoke(peer)

    def come_or_go(self, peer: Peer) -> None:
        if peer.online and len([each for each in self.living if each.online]) > 20:
            self.done["offline"] += 1
            peer.collect()
            peer.disconnect()
        elif not peer.online:
            peer.connect()

    def leave_or_return(self, peer: Peer) -> None:
        out = [each for each in self.living if each.conversation.door is Door.OUT]
        peer = self.random.choice(out) if len(out) > 3 else peer
        if peer.conversation.door is Door.INSIDE and peer.user != self.peers[0].user:
            self.done["leave"] += 1
            peer.conversation.want(Leave())
        elif peer.conversation.door is Door.OUT:
            self.done["return"] += 1
            peer.conversation.come_back()

    def revoke(self, peer: Peer) -> None:
        if peer.user == self.peers[0].user or peer.user in self.revoked:
            return
        self.done["revoke"] += 1
        self.revoked.append(peer.user)
        those = [each for each in self.peers if each.user in self.revoked]
        serials = {each.person.certificate.serial_number for each in those}
        lists = Authenticator([self.ca.certificate], [self.ca.revoke(*serials)])
        self.server.lists = lists
        for each in those:
            self.gone.add(each.wire)
            each.collect()
            each.disconnect()
        for each in self.living:
            each.authority = lists
            if self.random.random() < 0.8:
                each.account.authenticator = lists

    def check(self) -> None:
        """Everyone who should have read something, has; and nobody else."""
        server = self.server
        read: dict[str, set[int]] = defaultdict(set)
        left: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for peer in self.peers:
            peer.collect()
            heard = [event for event in peer.events if isinstance(event, Said)]
            assert max(Counter(event.seq for event in heard).values(), default=1) == 1
            read[peer.wire] = {event.seq for event in heard}
            ways = [event for event in peer.events if isinstance(event, Left | Entered)]
            for event, following in pairwise([*ways, Entered(len(server.log) + 1)]):
                if isinstance(event, Left):  # who is added again may not want to be there yet
                    left[peer.wire].append((event.seq, following.seq + 1))
        names = {peer.wire: f"{peer!r}" for peer in self.peers}
        for peer in self.living:
            refused = {event.id for event in peer.events if isinstance(event, NotSent)}
            told = "".join(event.reason for event in peer.events if isinstance(event, Trouble))
            heard_here = {*peer.heard}
            lost = [
                text
                for token, text in self.wanted[peer.wire].items()
                if token not in refused and text not in heard_here
            ]
            waiting = peer.conversation._outbox.waiting
            assert len(lost) <= waiting or "earlier message" in told, f"{peer} lost {lost}"
            assert not waiting or peer.conversation.door is not Door.INSIDE
        for entry in server.log:
            if entry.kind != "message":
                continue
            there = server.there(entry.seq)
            readers = {wire for wire, seqs in read.items() if entry.seq in seqs}
            assert readers <= there, f"{[names[w] for w in readers - there]} read {entry}"
            should = {
                wire
                for wire in there
                if wire not in self.gone
                and not any(begin < entry.seq < end for begin, end in left[wire])
            }
            missing = [names[wire] for wire in should - readers]
            assert not missing, f"{missing} could not read {entry}"


def live(ca: CA, folder: Path, room: str, messages: int, seed: str) -> None:
    print("seed:", seed)
    random = Random(seed)
    server = Witness(room, open=room == "lobby")
    people = [ca.person(f"user{number}", KINDS[number % 3]) for number in range(15)]
    peers = [
        Peer(server, person, folder, called, random=random)
        for person in people
        for called in ("laptop", "desktop")
    ]
    server.wires = {(peer.user, bytes(peer.device.id)): peer.wire for peer in peers}
    town = Town(random, server, ca, peers, 2 if messages < 1000 else 8)
    peers[0].connect()
    settle(server, peers[0])
    if not server.open:
        for person in people:
            peers[0].conversation.want(Invite(person.certificate.subject.rfc4514_string()[3:]))
    for peer in peers[1:]:
        peer.connect()
    settle(server, *peers)
    while town.said < messages:
        town.do()
    for _ in range(2):  # somebody may have been about to leave
        for peer in town.living:
            if not peer.online:
                peer.connect()
            peer.conversation.come_back()
        settle(server, *town.living)
    town.check()
    assert sum(entry.kind == "message" for entry in server.log) > messages * 0.6
    last = talk(server, town.living)
    for peer in town.living:
        inside = peer.conversation.door is Door.INSIDE
        assert inside or not server.open
        assert not inside or last <= {*peer.heard}, peer
    town.check()
    users = {one.user for one in peers[0].conversation.membership.members.values()}
    assert users.isdisjoint(town.revoked)
    print(dict(town.done), "epochs:", server.epoch, "entries:", len(server.log))
    for peer in peers:
        peer.store.close()


def talk(server: Server, peers: Sequence[Peer]) -> set[str]:
    inside = [peer for peer in peers if peer.conversation.door is Door.INSIDE]
    for peer in inside:
        peer.say(f"{peer} at last")
    settle(server, *peers)
    return {f"{peer} at last" for peer in inside}


@pytest.mark.parametrize("room", ["lobby", "ops"])
def test_thirty_devices_live_together(ca: CA, tmp_path: Path, room: str) -> None:
    live(ca, tmp_path, room, 250, f"thirty in {room}")


@pytest.mark.stress
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("room", ["lobby", "ops"])
@pytest.mark.parametrize("seed", range(2))
def test_thirty_devices_live_together_for_long(
    ca: CA, tmp_path: Path, room: str, seed: int
) -> None:
    live(ca, tmp_path, room, 10_000, f"thirty in {room} for long {seed}")
