"""Random lives of groups: many members, any operation, and one view of it all after each step.

A seed's life is always the same but for its keys: `pytest tests/mls/test_simulation.py -k 17`.
"""

from __future__ import annotations

from random import Random  # noqa: TID251 - seeded, for tests

import attrs
import pytest

from tests.mls.clients import agree, anybody, bundle, follow, room, sent, welcomed
from trio_chat.mls import (
    SUITES,
    Add,
    CommitResult,
    CryptoError,
    DecodeError,
    Group,
    KeyPackageBundle,
    PrivateMessage,
    ProtocolError,
    PublicMessage,
    Received,
    Remove,
    Removed,
    decode_message,
    encode_message,
    restore,
    snapshot,
)
from trio_chat.mls.messages import ProposalValue, ResumptionPSK, ResumptionPSKUsage
from trio_chat.mls.tree import RatchetTree

STEPS = 25


@attrs.define
class World:
    """One group, its members, and those who have been proposed."""

    random: Random
    groups: list[Group]
    invited: list[KeyPackageBundle] = attrs.field(factory=list)
    born: int = 0

    def invite(self) -> Add:
        self.born += 1
        self.invited.append(bundle(f"member {self.born}", self.groups[0].suite))
        return Add(self.invited[-1].key_package)

    def propose(self) -> None:
        by = self.random.choice(self.groups)
        psk = ResumptionPSK(ResumptionPSKUsage.APPLICATION, b"a room", by.epoch)
        proposal: ProposalValue = self.random.choice(
            (
                by.make_update,
                self.invite,
                lambda: Remove(self.random.choice(self.groups).index),
                lambda: by.use_psk(psk),
            )
        )()
        message = by.propose(proposal, public=self.random.random() < 0.3)
        self.deliver(by, message)

    def commit(self) -> None:
        by = self.random.choice(self.groups)
        others = [group.index for group in self.groups if group is not by]
        proposals: list[ProposalValue] = []
        if self.random.random() < 0.5:
            proposals = [self.invite() for _ in range(self.random.choice((1, 1, 3, 9)))]
        elif len(others) > 2:
            gone = self.random.sample(others, self.random.randint(1, len(others) // 2))
            proposals = [Remove(index) for index in gone]
        public = self.random.random() < 0.3
        if self.random.random() < 0.2:
            key = by.suite.generate_signature_key()
            result = by.commit(*proposals, public=public, ratchet_tree=True, signature_key=key)
        else:
            result = by.commit(*proposals, public=public, ratchet_tree=True)
        self.follow(result, by)
        if result.welcome is not None:
            assert result.group.change is not None
            for who in self.invited:
                if who.key_package in result.group.change.key_packages:
                    joined = Group.join(
                        welcomed(result), who, authenticate=anybody, psks=by.find_psk
                    )
                    self.groups.append(joined)
        self.invited.clear()

    def come(self) -> None:
        """Join by an external commit, in somebody's place or not."""
        info = self.random.choice(self.groups).group_info(external=True, ratchet_tree=True)
        replaced = self.random.choice(self.groups).index if self.random.random() < 0.5 else None
        self.invite()
        who = self.invited[-1]
        result = Group.join_external(info, who, replace=replaced, authenticate=anybody)
        self.follow(result, None)
        self.invited.clear()

    def follow(self, result: CommitResult[Group], by: Group | None) -> None:
        change = result.group.change
        assert change is not None
        following = [result.group]
        for group in self.groups:
            if group is by:
                continue
            self.refuse_changed(group, result.message)
            if group.index in change.removed:
                with pytest.raises(Removed):
                    group.receive(sent(result.message))
            else:
                following.append(follow(group, result))
        self.groups = following

    def talk(self) -> None:
        by = self.random.choice(self.groups)
        message = by.encrypt(b"hello")
        self.deliver(by, message)

    def deliver(self, by: Group, message: PublicMessage | PrivateMessage) -> None:
        for group in self.groups:
            if group is not by:
                self.refuse_changed(group, message)
                received = group.receive(sent(message))
                if isinstance(received, Received):
                    assert received == Received(by.index, b"hello", b"")

    def refuse_changed(self, group: Group, message: PublicMessage | PrivateMessage) -> None:
        data = bytearray(encode_message(message))
        data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
        try:
            changed = decode_message(bytes(data))
        except DecodeError:
            return
        if isinstance(changed, PublicMessage | PrivateMessage):
            with pytest.raises((DecodeError, CryptoError, ProtocolError)):
                group.receive(changed)

    def check(self) -> None:
        assert agree(*self.groups)
        first = self.groups[0]
        RatchetTree.decode(first.suite, first.ratchet_tree()).check()
        for group in self.groups:
            for x, private in group.keys.items():
                node = group.tree[x]
                assert node is not None
                assert group.suite.kem.public_key(private) == node.encryption_key


def live(seed: int) -> None:
    random = Random(seed)
    world = World(random, room("the first", suite=SUITES[random.choice((1, 1, 2, 3))]))
    for _ in range(STEPS):
        for _ in range(random.choice((0, 0, 1, 2))):
            world.propose()
        (world.come if random.random() < 0.1 else world.commit)()
        if random.random() < 0.3:
            world.groups = [restore(snapshot(group), group.services) for group in world.groups]
        world.check()
        world.talk()


@pytest.mark.parametrize("seed", range(20))
def test_a_life(seed: int) -> None:
    live(seed)


@pytest.mark.stress
@pytest.mark.parametrize("seed", range(20, 500))
def test_another_life(seed: int) -> None:
    live(seed)
