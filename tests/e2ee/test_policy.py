"""What a room's policy allows: each rule with real commits of real groups."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mls.clients import anybody, commit, follow, sent
from trio_chat.e2ee.policy import (
    CAPABILITIES,
    MAX_DEVICES,
    NotAllowed,
    RoomPolicy,
    Who,
    check,
    check_occupants,
)
from trio_chat.mls import (
    SUITES,
    Add,
    Capabilities,
    Certificate,
    Change,
    CommitResult,
    DecodeError,
    Extension,
    Group,
    GroupContextExtensions,
    KeyPackageBundle,
    LeafNode,
    ProtocolError,
    ReInit,
    Remove,
    Removed,
    RequiredCapabilities,
    ResumptionPSK,
    ResumptionPSKUsage,
    Services,
    X509Credential,
    propose_to_join,
)
from trio_chat.names import Key, key

CLOSED = RoomPolicy(name="ops", admins=("alice",))
LOOSE = attrs.evolve(CLOSED, add=Who.MEMBERS, remove=Who.MEMBERS)
OPEN = RoomPolicy(name="lobby", open=True)
PRIVATE = RoomPolicy(
    name="alice and bob", admins=("alice", "bob"), add=Who.NOBODY, remove=Who.NOBODY
)


@attrs.frozen
class Someone:
    """As the authentication service would say it; here the "certificate" is just this."""

    user: str
    device_id: bytes = b"1"
    admin: bool = False
    user_key: bytes = b"one"

    @property
    def key(self) -> Key:
        return key(self.user)

    @property
    def roles(self) -> frozenset[str]:
        return frozenset({"admin"} if self.admin else ())

    def bundle(self, capabilities: Capabilities = CAPABILITIES) -> KeyPackageBundle:
        text = (
            f"{self.user}/{self.device_id.decode()}/{'admin' * self.admin}/{self.user_key.decode()}"
        )
        credential = X509Credential((Certificate(text.encode()),))
        signature_key = SUITES[1].generate_signature_key()
        return KeyPackageBundle.create(credential, signature_key, capabilities=capabilities)

    @classmethod
    def of(cls, leaf: LeafNode) -> Someone:
        assert isinstance(leaf.credential, X509Credential)
        user, device, admin, user_key = (
            leaf.credential.certificates[0].cert_data.decode().split("/")
        )
        return cls(user, device.encode(), bool(admin), user_key.encode())


ALICE, BOB, CAROL, MALLORY = map(Someone, ("alice", "bob", "carol", "mallory"))
ROOT = Someone("root", admin=True)


def people(group: Group) -> dict[int, Someone]:
    return {index: Someone.of(leaf) for index, leaf in group.members().items()}


def room(policy: RoomPolicy, *members: Someone) -> list[Group]:
    """A group of those members; how it came about nobody judges."""
    bundles = [one.bundle() for one in members]
    extensions = policy.as_extensions()
    first = Group.create(bundles[0], b"room", extensions=extensions, authenticate=anybody)
    if not bundles[1:]:
        return [first]
    result = first.commit(*[Add(b.key_package) for b in bundles[1:]], ratchet_tree=True)
    assert result.welcome is not None
    joined = [Group.join(result.welcome, b, authenticate=anybody) for b in bundles[1:]]
    return [result.group, *joined]


def judge(before: Group, result: CommitResult[Group], void: Collection[int] = ()) -> None:
    """Judge a commit as a member does that has followed it."""
    group = result.group
    assert group.change is not None
    policy = RoomPolicy.of(before.context.extensions)
    check(policy, group.change, people(before), people(group), void=void)


def judge_commit(group: Group, *proposals: Any, void: Collection[int] = ()) -> None:
    judge(group, group.commit(*proposals), void)


def add(one: Someone) -> Add:
    return Add(one.bundle().key_package)


def policy_proposal(policy: RoomPolicy) -> GroupContextExtensions:
    return GroupContextExtensions(policy.as_extensions())


# Adding


@pytest.mark.parametrize(
    ("policy", "actor", "allowed"),
    [
        (CLOSED, ALICE, True),
        (CLOSED, BOB, False),
        (CLOSED, ROOT, False),  # of the CA, not of this room
        (LOOSE, BOB, True),
        (OPEN, BOB, False),
        (OPEN, ROOT, True),
        (attrs.evolve(OPEN, add=Who.MEMBERS, remove=Who.MEMBERS), BOB, True),
        (PRIVATE, ALICE, False),
        (PRIVATE, BOB, False),
    ],
)
def test_who_may_add_and_remove_others(policy: RoomPolicy, actor: Someone, allowed: bool) -> None:
    actors, victim = room(policy, actor, MALLORY)
    for proposal, deed in ((add(CAROL), "added carol"), (Remove(victim.index), "removed mallory")):
        if allowed:
            judge_commit(actors, proposal)
        else:
            with pytest.raises(NotAllowed, match=f"{actor.user} {deed}") as caught:
                judge_commit(actors, proposal)
            assert caught.value.user == actor.user


def test_the_rights_to_add_and_to_remove_are_two() -> None:
    adds = room(attrs.evolve(LOOSE, remove=Who.ADMINS), BOB, MALLORY)[0]
    judge_commit(adds, add(CAROL))
    with pytest.raises(NotAllowed, match="bob removed mallory"):
        judge_commit(adds, Remove(1))
    removes = room(attrs.evolve(LOOSE, add=Who.ADMINS), BOB, MALLORY)[0]
    judge_commit(removes, Remove(1))
    with pytest.raises(NotAllowed, match="bob added carol"):
        judge_commit(removes, add(CAROL))


@pytest.mark.parametrize("policy", [CLOSED, OPEN, PRIVATE])
def test_own_devices_may_always_be_added_and_removed(policy: RoomPolicy) -> None:
    bob, *_ = room(policy, BOB, Someone("bob", b"2"), ALICE)
    judge_commit(bob, add(Someone("bob", b"3")))
    judge_commit(bob, Remove(1))


def test_however_a_name_is_spelled_it_is_the_same_person() -> None:
    alice, *_ = room(CLOSED, Someone("Alice"), Someone("BOB"), Someone("bob", b"2"))
    judge_commit(alice, add(CAROL))
    with pytest.raises(NotAllowed, match="a device of bob"):
        judge_commit(alice, add(BOB))
    bob = room(CLOSED, BOB, Someone("BOB", b"2"))[0]
    judge_commit(bob, Remove(1), add(Someone("Bob", b"3")))


def test_people_the_policy_names_may_be_added_by_all_but_not_removed() -> None:
    bob, _ = room(PRIVATE, BOB, ALICE)
    judge_commit(bob, add(Someone("alice", b"2")))
    with pytest.raises(NotAllowed, match="bob removed alice"):
        judge_commit(bob, Remove(1))


def test_leaves_with_a_void_certificate_may_be_removed_by_all() -> None:
    bob, *_ = room(PRIVATE, BOB, ALICE, CAROL)
    judge_commit(bob, Remove(1), void={1})
    with pytest.raises(NotAllowed, match="bob removed carol"):
        judge_commit(bob, Remove(1), Remove(2), void={1})


def test_each_of_several_deeds_counts() -> None:
    bob, *_ = room(CLOSED, BOB, Someone("bob", b"2"))
    with pytest.raises(NotAllowed, match="bob added carol"):
        judge_commit(bob, add(Someone("bob", b"3")), Remove(1), add(CAROL))


def test_who_is_added_is_told_even_in_the_place_of_somebody_removed() -> None:
    bob, *_ = room(CLOSED, BOB, Someone("bob", b"2"))
    with pytest.raises(NotAllowed, match="bob added carol"):
        judge_commit(bob, Remove(1), add(CAROL))  # at leaf 1, where bob was


# Proposing


def test_a_proposal_is_its_proposers_deed_not_the_committers() -> None:
    groups = room(CLOSED, ALICE, BOB, CAROL)
    alice, bob, _ = groups
    bob.receive(sent(alice.propose(Remove(2))))
    judge_commit(bob)

    alice, bob, _ = room(CLOSED, ALICE, BOB, CAROL)
    alice.receive(sent(bob.propose(Remove(2))))
    with pytest.raises(NotAllowed, match="bob removed carol"):
        judge_commit(alice)


def test_who_wants_to_leave_is_removed_by_anybody() -> None:
    _alice, bob, carol = room(CLOSED, ALICE, BOB, CAROL)
    bob.receive(sent(carol.propose(Remove(2))))
    judge_commit(bob)


def test_updates_and_empty_commits_are_everybodys() -> None:
    _, bob, carol = room(CLOSED, ALICE, BOB, CAROL)
    judge_commit(bob)
    bob.receive(sent(carol.propose(carol.make_update())))
    judge_commit(bob)


def test_nobody_outside_proposes() -> None:
    (alice,) = room(CLOSED, ALICE)
    request = propose_to_join(CAROL.bundle(), b"room", 0)
    alice.receive(request)
    with pytest.raises(NotAllowed, match="alice committed a proposal from outside"):
        judge(alice, alice.commit(cover=alice.pending))


def test_nobody_leaves_others_behind_by_a_key_that_they_lack() -> None:
    """Of those who could follow the commit, carol, who came later, is none."""
    groups = room(OPEN, ALICE, BOB)
    commit(groups, 0)
    past = ResumptionPSK(ResumptionPSKUsage.APPLICATION, b"room", groups[1].epoch - 1)
    info = groups[0].group_info(external=True, ratchet_tree=True)
    joined = Group.join_external(info, CAROL.bundle(), authenticate=anybody)
    alice, bob = (follow(each, joined) for each in groups)
    result = bob.commit(bob.use_psk(past))
    follow(alice, result)
    with pytest.raises(ProtocolError, match="not known here"):
        joined.group.receive(sent(result.message))
    with pytest.raises(NotAllowed, match="bob mixed in a key"):
        judge(bob, result)
    alice = attrs.evolve(alice, services=Services(authenticate=anybody, psks=lambda _: b"key"))
    info = alice.group_info(external=True, ratchet_tree=True)
    result = Group.join_external(
        info, MALLORY.bundle(), use_psks=[b"x"], authenticate=anybody, psks=lambda _: b"key"
    )
    with pytest.raises(NotAllowed, match="mallory mixed in a key"):
        judge(alice, attrs.evolve(result, group=follow(alice, result)))


def test_nobody_ends_a_group() -> None:
    (alice,) = room(CLOSED, ALICE)
    with pytest.raises(NotAllowed, match="alice ended the group"):
        judge_commit(alice, ReInit(b"new", 1, 1, ()))


def test_who_is_removed_can_judge_by_whom() -> None:
    _, bob, carol = room(CLOSED, ALICE, BOB, CAROL)
    result = bob.commit(Remove(2), add(MALLORY))
    with pytest.raises(Removed) as caught:
        carol.receive(sent(result.message))
    change = caught.value.change
    packages = zip(change.added, change.key_packages, strict=True)
    after = {index: Someone.of(package.leaf_node) for index, package in packages}
    with pytest.raises(NotAllowed, match="bob removed carol"):
        check(CLOSED, change, people(carol), after)


# Joining by oneself


def external(group: Group, who: Someone, **options: Any) -> CommitResult[Group]:
    info = group.group_info(external=True, ratchet_tree=True)
    result = Group.join_external(info, who.bundle(), authenticate=anybody, **options)
    return attrs.evolve(result, group=follow(group, result))


def test_only_an_open_room_is_joined_by_oneself() -> None:
    (alice,) = room(OPEN, ALICE)
    judge(alice, external(alice, CAROL))
    (alice,) = room(LOOSE, ALICE)
    with pytest.raises(NotAllowed, match="carol joined uninvited"):
        judge(alice, external(alice, CAROL))


@pytest.mark.parametrize("policy", [CLOSED, PRIVATE, OPEN])
def test_own_devices_join_by_themselves_and_come_back(policy: RoomPolicy) -> None:
    alice, _bob = room(policy, ALICE, BOB)
    judge(alice, external(alice, Someone("bob", b"2")))
    judge(alice, external(alice, BOB, replace=1))


def test_people_the_policy_names_join_by_themselves() -> None:
    """Of a private conversation, one makes the group, and the other may come first."""
    (alice,) = room(PRIVATE, ALICE)
    judge(alice, external(alice, Someone("Bob")))
    with pytest.raises(NotAllowed, match="carol joined uninvited"):
        judge(alice, external(alice, CAROL))
    (bob,) = room(CLOSED, BOB)
    judge(bob, external(bob, ALICE))
    with pytest.raises(NotAllowed, match="root joined uninvited"):
        judge(bob, external(bob, ROOT))  # an admin of the CA's is none of this room
    usurped = attrs.evolve(CLOSED, admins=("carol",))
    with pytest.raises(NotAllowed, match="bob changed the room's policy"):
        judge_commit(bob, policy_proposal(usurped))


@pytest.mark.parametrize("policy", [CLOSED, PRIVATE, OPEN])
def test_a_certificate_alone_opens_no_closed_room(policy: RoomPolicy) -> None:
    """A CA can make another bob, but not his key; he needs somebody to add his new machine."""
    alice, bob = room(policy, ALICE, BOB)
    for who in (Someone("bob", b"2", user_key=b"other"), Someone("bob", b"1", user_key=b"other")):
        if who.device_id != BOB.device_id:
            judge_commit(bob, add(who))
            if policy.open:
                judge(alice, external(alice, who))
            else:
                with pytest.raises(NotAllowed, match="bob joined with another key"):
                    judge(alice, external(alice, who))
        with pytest.raises(NotAllowed, match="bob removed bob by joining"):
            judge(alice, external(alice, who, replace=1))


@pytest.mark.parametrize("policy", [CLOSED, LOOSE, OPEN])
@pytest.mark.parametrize("admin", [True, False])
def test_nobody_removes_somebody_else_by_joining(policy: RoomPolicy, admin: bool) -> None:
    carol, _bob = room(policy, CAROL, BOB)
    with pytest.raises(NotAllowed, match="alice removed bob by joining"):
        judge(carol, external(carol, Someone("alice", b"2", admin), replace=1))


# Members are unique


def test_no_device_has_two_leaves() -> None:
    alice, _ = room(CLOSED, ALICE, BOB)
    with pytest.raises(NotAllowed, match="alice added a device of bob that is there already"):
        judge_commit(alice, add(BOB))
    judge_commit(alice, add(Someone("carol", BOB.device_id)))  # ids are unique to a user
    judge_commit(alice, Remove(1), add(BOB))
    with pytest.raises(NotAllowed, match="bob added a device of bob"):
        judge(alice, external(alice, BOB))
    with pytest.raises(NotAllowed, match="carol added a device of bob"):
        check_occupants({0: BOB, 1: ALICE, 2: BOB}, "carol")


@pytest.mark.parametrize("policy", [CLOSED, OPEN])
def test_nobody_fills_a_room_with_devices_of_their_own(policy: RoomPolicy) -> None:
    devices = [Someone("bob", bytes([n])) for n in range(MAX_DEVICES)]
    bob = room(policy, *devices[:-1], ALICE)[0]
    judge_commit(bob, add(devices[-1]))
    with pytest.raises(NotAllowed, match="bob added one of more than 32 devices"):
        judge_commit(bob, add(devices[-1]), add(Someone("BOB", b"more")))
    judge_commit(bob, add(devices[-1]), Remove(1), add(Someone("bob", b"more")))
    bob = bob.commit(add(devices[-1])).group
    with pytest.raises(NotAllowed, match="Bob added one of more than 32 devices"):
        judge(bob, external(bob, Someone("Bob", b"more")))


# Changing the policy


def test_admins_change_the_policy() -> None:
    new = attrs.evolve(CLOSED, name="operations", admins=("alice", "bob"), retention=3600)
    groups = room(CLOSED, ALICE, BOB)
    with pytest.raises(NotAllowed, match="bob changed the room's policy"):
        judge_commit(groups[1], policy_proposal(new))
    judge_commit(groups[0], policy_proposal(new))
    commit(groups, 0, policy_proposal(new))
    assert all(RoomPolicy.of(group.context.extensions) == new for group in groups)
    judge_commit(groups[1], add(CAROL))  # bob is an admin now


def test_a_commit_is_judged_by_the_policy_that_it_ends() -> None:
    bob = room(CLOSED, BOB, ALICE)[0]
    usurped = attrs.evolve(CLOSED, admins=("bob",), add=Who.MEMBERS)
    with pytest.raises(NotAllowed, match="bob changed the room's policy"):
        judge_commit(bob, policy_proposal(usurped), add(CAROL))


def test_in_an_open_room_the_certificates_name_the_admins() -> None:
    new = attrs.evolve(OPEN, name="hall")
    judge_commit(room(OPEN, ROOT)[0], policy_proposal(new))
    with pytest.raises(NotAllowed):
        judge_commit(room(OPEN, ALICE)[0], policy_proposal(new))


@pytest.mark.parametrize(
    ("old", "new", "deed"),
    [
        (CLOSED, RoomPolicy(name="ops", open=True), "opened the room"),
        (OPEN, RoomPolicy(name="lobby", admins=("root",)), "closed the room"),
        (CLOSED, attrs.evolve(CLOSED, add=Who.NOBODY), "made the room a private conversation"),
        (PRIVATE, attrs.evolve(PRIVATE, add=Who.MEMBERS), "changed the room's policy"),
    ],
)
def test_what_kind_of_room_it_is_no_admin_changes(
    old: RoomPolicy, new: RoomPolicy, deed: str
) -> None:
    who = ROOT if old.open else ALICE
    with pytest.raises(NotAllowed, match=f"{who.user} {deed}"):
        judge_commit(room(old, who)[0], policy_proposal(new))


@pytest.mark.parametrize(
    "extensions",
    [
        (),
        CLOSED.as_extensions()[:1],
        CLOSED.as_extensions()[1:],
        CLOSED.as_extensions()[::-1],
        (*CLOSED.as_extensions(), Extension(5, b"\0")),  # senders from outside
        (RequiredCapabilities().as_extension(), CLOSED.as_extensions()[1]),
        (CLOSED.as_extensions()[0], Extension(0xF0C1, b"")),
        (CLOSED.as_extensions()[0], Extension(0xF0C2, CLOSED.encode())),
    ],
)
def test_a_room_has_its_two_extensions_and_no_other(extensions: tuple[Extension, ...]) -> None:
    with pytest.raises(DecodeError):
        RoomPolicy.of(extensions)


def test_a_policy_that_nobody_understands_is_not_committed() -> None:
    (alice,) = room(CLOSED, ALICE)
    with pytest.raises(DecodeError):
        judge_commit(alice, GroupContextExtensions(()))


def test_who_does_not_support_the_policy_cannot_be_added() -> None:
    (alice,) = room(CLOSED, ALICE)
    old = CAROL.bundle(Capabilities())
    with pytest.raises(ProtocolError, match="support"):
        alice.commit(Add(old.key_package))


# The encoding

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
policies = st.builds(
    RoomPolicy,
    name=names,
    admins=st.lists(names, min_size=1, unique=True).map(lambda found: tuple(sorted(found))),
    add=st.sampled_from(Who),
    remove=st.sampled_from(Who),
    retention=st.none() | st.integers(1, 2**40),
)


@given(policies)
def test_a_policy_comes_back_as_it_was(policy: RoomPolicy) -> None:
    assert RoomPolicy.decode(policy.encode()) == policy
    assert RoomPolicy.of(policy.as_extensions()) == policy


@given(policies, st.data())
def test_whatever_the_bytes_there_is_one_encoding_or_an_error(
    policy: RoomPolicy, data: st.DataObject
) -> None:
    found = bytearray(policy.encode())
    at = data.draw(st.integers(0, len(found) - 1))
    found[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    with contextlib.suppress(DecodeError):
        assert RoomPolicy.decode(bytes(found)).encode() == found


def test_nothing_but_the_one_encoding_is_taken() -> None:
    data = CLOSED.encode()
    assert data == b"\x97\x01\xa3ops\x91\xa5alice\x01\x01\xc2\xc0"
    for wrong in (
        b"",
        data[:-1],
        data + b"\0",
        b"\x97\x02" + data[2:],  # another version
        b"\x97\xcc\x01" + data[2:],  # a longer number
        b"\x98" + data[1:] + b"\xc0",  # a field more
        data.replace(b"\x91\xa5alice", b"\x92\xa5alice\xa5alice"),
        data.replace(b"\x91\xa5alice", b"\x92\xa3bob\xa5alice"),
        data.replace(b"\x91\xa5alice", b"\x90"),
        data.replace(b"\xc2", b"\xc3"),
        b"\x91" * 5000,
    ):
        with pytest.raises(DecodeError):
            RoomPolicy.decode(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"admins": ()},
        {"admins": ("bob", "alice")},
        {"admins": ("bob", "bob")},
        {"open": True},
        {"open": True, "admins": (), "add": Who.NOBODY},
        {"name": ""},
        {"name": "x" * 321},
        {"retention": 0},
    ],
)
def test_a_policy_that_makes_no_sense_cannot_be_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"polic|admins|room"):
        attrs.evolve(CLOSED, **wrong)


def test_what_commits_do_is_for_all_of_them_to_judge() -> None:
    """No field of a `Change` is one that nobody has thought of."""
    assert {field.name for field in attrs.fields(Change)} == {
        *("committer", "external", "proposals", "added", "key_packages", "updated", "removed"),
        *("psks", "reinit", "path_required"),
    }
