"""One test for each rule that a client must check, under the name that OpenMLS gave it.

The rules are those of https://validation.openmls.tech: their ids are their numbers there, and
each quotes a place of RFC 9420. 0502, 0602, 1210 and 1415, which OpenMLS checks, are among them.
What is refused is tried on a receiver, and mostly on who would make it too.

Some are the application's, which this library tells what it needs to know:

    0105, 0106  lifetimes: there is no clock here; `KeyPackageSource.covers`
    0305, 0306  the same client twice: by its keys here; `authenticate` knows clients otherwise
    1403        a group id that is in use: a `Group` knows of no others; `context.group_id`
    1413, 1414  the same or fewer members than before, according to the application: `members`

In 0105, 0106, 1413 and 1414 the test shows what is checked here; for 1403 there is none.
"""

from __future__ import annotations

import re
from typing import Any

import attrs
import pytest

from tests.mls.clients import agree, anybody, bundle, commit, follow, room, sent, welcomed
from tests.mls.forging import (
    LOW,
    Blind,
    changed,
    commit_in,
    doorstep,
    forged,
    forged_externally,
    path_of,
    psk,
    refuse,
    refuse_to_join,
    remade,
    repackaged,
    replaced_leaf,
    resigned,
    resigned_path,
    rewritten,
    said,
    sealed,
    signed,
)
from trio_chat.mls import (
    SUITES,
    Add,
    BasicCredential,
    Capabilities,
    CryptoError,
    DecodeError,
    Extension,
    ExternalPSK,
    Group,
    GroupContextExtensions,
    GroupInfo,
    KeyPackageBundle,
    MLSError,
    Proposed,
    ProtocolError,
    Received,
    ReInit,
    Remove,
    X509Credential,
    begin_anew,
    branch,
    check_key_package,
    decode_message,
    encode_message,
)
from trio_chat.mls.codec import encode, encode_as, evolve
from trio_chat.mls.framing import open_public, seal_private, sign_content
from trio_chat.mls.messages import (
    ApplicationData,
    Commit,
    External,
    ExternalInit,
    FramedContent,
    Member,
    NewMemberCommit,
    NewMemberProposal,
    PreSharedKeyID,
    ProposalRef,
    PublicMessage,
    ResumptionPSK,
    ResumptionPSKUsage,
    SenderData,
    Update,
    WireFormat,
)
from trio_chat.mls.nodes import (
    Certificate,
    CommitSource,
    ExtensionType,
    ExternalSender,
    KeyPackage,
    KeyPackageSource,
    RequiredCapabilities,
    UpdatePath,
    UpdateSource,
)
from trio_chat.mls.outside import propose_externally, propose_to_join
from trio_chat.mls.secrettree import sender_data_key

SUITE = SUITES[1]
DAVE = bundle("dave")
MALLORY = BasicCredential(b"mallory")
CHAIN = X509Credential((Certificate(b"..."),))
SENDER = SUITE.generate_signature_key()

UNKNOWN = 0xF000  # a private type of anything
CAPABLE = Capabilities(extensions=(UNKNOWN,), proposals=(UNKNOWN,), credentials=(1, 2, UNKNOWN))
PRIVATE = Extension(UNKNOWN, b"")
REQUIREMENTS = (
    RequiredCapabilities(extension_types=(UNKNOWN,)),
    RequiredCapabilities(proposal_types=(UNKNOWN,)),
    RequiredCapabilities(credential_types=(UNKNOWN,)),
)


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> Blind:
    return Blind(monkeypatch)


def not_mallory(credential: object, *_: object) -> None:
    if credential == MALLORY:
        raise ProtocolError("not on the list")


def trusting(group: Group) -> Group:
    """Return a member that accepts whom the others do not."""
    return attrs.evolve(group, services=attrs.evolve(group.services, authenticate=anybody))


def capable_room(*extensions: Extension) -> list[Group]:
    """Return two that support what the group has, or is to have."""
    first, second = (bundle(name, capabilities=CAPABLE) for name in ("alice", "bob"))
    alice = Group.create(first, b"a room", extensions=extensions, authenticate=anybody)
    result = alice.commit(Add(second.key_package), ratchet_tree=True)
    return [result.group, Group.join(welcomed(result), second, authenticate=anybody)]


def sender_room() -> list[Group]:
    """Return a group that takes proposals from one who is outside."""
    groups = room("alice", "bob", "carol")
    senders = (ExternalSender(SENDER.public, BasicCredential(b"the server")),)
    data = encode_as(tuple[ExternalSender, ...], senders)
    commit(groups, 0, GroupContextExtensions((Extension(ExtensionType.EXTERNAL_SENDERS, data),)))
    return groups


def pending(groups: list[Group], by: Group, *proposals: Any) -> tuple[ProposalRef, ...]:
    """Let all have proposals pending; return their references."""
    before = set(by.pending)
    for proposal in proposals:
        message = sent(by.propose(proposal))
        for group in groups:
            if group is not by:
                group.receive(message)
    return tuple(reference for reference in by.pending if reference not in before)


def open_info(group: Group) -> GroupInfo:
    return group.group_info(external=True, ratchet_tree=True)


def newcomer(group: Group, **options: Any) -> tuple[Any, UpdatePath]:
    """Return the proposals and the path of an external commit of Dave's."""
    made = commit_in(Group.join_external(open_info(group), DAVE, authenticate=anybody, **options))
    assert made.path is not None
    return made.proposals, made.path


# 01: leaf nodes (section 7.3).


def test_valn0101_each_credential_is_judged_wherever_it_appears() -> None:
    alice, bob = room("alice", "bob", authenticate=not_mallory)
    blindly = trusting(bob)
    mallory = bundle("mallory")
    senders = encode_as(tuple[ExternalSender, ...], (ExternalSender(SENDER.public, MALLORY),))
    extensions = (Extension(ExtensionType.EXTERNAL_SENDERS, senders),)
    for message in (
        blindly.propose(Add(mallory.key_package), public=True),
        blindly.propose(blindly.make_update(credential=MALLORY), public=True),
        blindly.propose(GroupContextExtensions(extensions), public=True),
        blindly.commit(Add(mallory.key_package), cover=(), public=True).message,
        blindly.commit(cover=(), public=True, credential=MALLORY).message,
        Group.join_external(open_info(alice), mallory, authenticate=anybody).message,
    ):
        refuse(alice, message, "not on the list")
    welcome, who, _ = doorstep(room("mallory"))
    refuse_to_join(welcome, who, "not on the list", authenticate=not_mallory)


def test_valn0102_a_leaf_is_signed_by_its_own_key() -> None:
    alice, bob = room("alice", "bob")
    wrong = {"signature": bytes(64)}
    update = evolve(bob.make_update().leaf_node, **wrong)
    path = path_of(bob)
    for message in (
        said(bob, repackaged(DAVE, leaf_node=evolve(DAVE.key_package.leaf_node, **wrong))),
        said(bob, Update(update)),
        forged(bob, path=evolve(path, leaf_node=evolve(path.leaf_node, **wrong))),
        said(bob, resigned(DAVE, signature_key=SENDER.public)),
    ):
        refuse(alice, message, "signature of LeafNodeTBS")


@pytest.mark.parametrize("required", REQUIREMENTS)
def test_valn0103_members_have_what_the_group_requires(
    required: RequiredCapabilities, blind: Blind
) -> None:
    alice, bob = groups = capable_room(required.as_extension())
    blind.refused(alice, bob, "requires", Add(bundle("carol").key_package))
    blind.refused(alice, bob, "requires", capabilities=Capabilities())
    cover = pending(groups, bob, bob.make_update(capabilities=Capabilities()))
    blind.refused(bob, alice, "requires", cover=cover)
    with pytest.raises(ProtocolError, match="requires"):
        Group.create(DAVE, b"", extensions=alice.context.extensions, authenticate=anybody)


def test_valn0104_members_support_each_others_credentials(blind: Blind) -> None:
    groups = room("alice", "bob")
    names_only = bundle("carol", capabilities=Capabilities(credentials=(1,)))
    chained = KeyPackageBundle.create(CHAIN, SUITE.generate_signature_key())
    both = (Add(names_only.key_package), Add(chained.key_package))
    blind.refused(groups[0], groups[1], "another's credential", *both)
    commit(groups, 0, both[0])
    blind.refused(groups[0], groups[1], "another's credential", both[1])
    blind.refused(groups[0], groups[1], "another's credential", credential=CHAIN)
    cover = pending(groups, groups[0], groups[0].make_update(credential=CHAIN))
    blind.refused(groups[0], groups[1], "another's credential", cover=cover)
    groups = room("alice", "bob")
    commit(groups, 0, both[1])
    blind.refused(groups[0], groups[1], "another's credential", both[0])


def test_valn0105_valn0106_a_lifetime_is_for_whoever_has_a_clock() -> None:
    lifetime = KeyPackageSource(10, 20)
    assert [lifetime.covers(now) for now in (9.9, 10, 15, 20, 20.1)] == [
        *(False, True, True, True, False)
    ]
    package = bundle("a", lifetime=lifetime).key_package
    check_key_package(SUITE, package)
    assert package.leaf_node.source == lifetime


def test_valn0107_a_leaf_supports_its_own_extensions() -> None:
    alice, bob = room("alice", "bob")
    own = {"extensions": (PRIVATE,)}
    for message in (
        said(bob, resigned(DAVE, **own)),
        said(bob, Update(replaced_leaf(bob, **own))),
        forged(bob, path=resigned_path(bob, path_of(bob), **own)),
    ):
        refuse(alice, message, "its own extensions")


@pytest.mark.parametrize("source", [UpdateSource(), CommitSource(b"")])
def test_valn0108_a_leaf_of_a_key_package_was_made_for_one(source: Any) -> None:
    alice, bob = room("alice", "bob")
    refuse(alice, said(bob, resigned(DAVE, source=source)), "made for something else")


def test_valn0109_a_leaf_of_an_update_was_made_for_one_with_a_new_key() -> None:
    alice, bob = room("alice", "bob")
    for source in (KeyPackageSource(), CommitSource(b"")):
        update = Update(replaced_leaf(bob, source=source))
        refuse(alice, said(bob, update), "made for something else")
    update = Update(replaced_leaf(bob, encryption_key=bob.own_leaf.encryption_key))
    refuse(alice, said(bob, update), "new encryption key")


@pytest.mark.parametrize("source", [KeyPackageSource(), UpdateSource()])
def test_valn0110_a_leaf_of_a_path_was_made_for_one(source: Any) -> None:
    alice, bob = room("alice", "bob")
    path = resigned_path(bob, path_of(bob), source=source)
    refuse(alice, forged(bob, path=path), "made for something else")


def test_valn0111_no_two_members_have_one_signature_key(blind: Blind) -> None:
    alice, bob, carol = groups = room("alice", "bob", "carol")
    match, key = "one signature key", carol.signature_key
    blind.refused(alice, bob, match, Add(bundle("x", signature_key=key).key_package))
    blind.refused(alice, bob, match, signature_key=key)
    cover = pending(groups, bob, bob.make_update(signature_key=key))
    blind.refused(bob, alice, match, cover=cover)
    change = alice.commit().group.change  # who is not told to, leaves it out
    assert change is not None
    assert change.updated == ()
    again = bundle("carol", signature_key=key)
    info = open_info(alice)
    with pytest.raises(ProtocolError, match=match):
        Group.join_external(info, again, authenticate=anybody)
    message = blind.call(Group.join_external, info, again, authenticate=anybody).message
    refuse(alice, message, match)


def test_valn0112_no_two_members_have_one_encryption_key(blind: Blind) -> None:
    alice, bob, carol = groups = room("alice", "bob", "carol")
    match, key = "one encryption key", carol.own_leaf.encryption_key
    blind.refused(alice, bob, match, resigned(DAVE, encryption_key=key))
    update = Update(replaced_leaf(bob, encryption_key=key))
    cover = pending(groups, bob, update)
    with pytest.raises(ProtocolError, match=match):
        alice.commit(cover=cover)
    refuse(carol, blind.commit(alice, cover=cover), match)
    path = resigned_path(bob, path_of(bob), encryption_key=key)
    refuse(alice, forged(bob, path=path), "in the tree")


@pytest.mark.parametrize("credentials", [(), (2,)])
def test_valn0113_a_leaf_supports_its_own_credential(credentials: tuple[int, ...]) -> None:
    alice, bob = room("alice", "bob")
    own = {"capabilities": Capabilities(credentials=credentials)}
    for message in (
        said(bob, resigned(DAVE, **own)),
        said(bob, Update(replaced_leaf(bob, **own))),
        forged(bob, path=resigned_path(bob, path_of(bob), **own)),
    ):
        refuse(alice, message, "its own credential")


# 02: key packages (sections 10 and 10.1).


def package_refused(add: Add, match: str) -> None:
    """See a key package refused by itself, and in an Add."""
    with pytest.raises(MLSError, match=match):
        check_key_package(SUITE, add.key_package)
    alice, bob = room("alice", "bob")
    refuse(alice, said(bob, add), match)


@pytest.mark.parametrize("changes", [{"version": 2}, {"cipher_suite": 3}])
def test_valn0201_a_key_package_is_of_the_groups_version_and_suite(changes: Any) -> None:
    package_refused(repackaged(DAVE, **changes), "another version or cipher suite")


@pytest.mark.parametrize(
    ("match", "changes"),
    [
        ("group's version", {"capabilities": Capabilities(versions=(2,))}),
        ("low order", {"encryption_key": LOW}),
        ("malformed|length|key", {"encryption_key": b""}),
        ("two extensions", {"extensions": (Extension(1, b""), Extension(1, b""))}),
    ],
)
def test_valn0202_the_leaf_of_a_key_package_is_valid(match: str, changes: Any) -> None:
    package_refused(resigned(DAVE, **changes), match)


def test_valn0203_a_key_package_is_signed_by_its_leafs_key() -> None:
    package = DAVE.key_package
    for wrong in (
        evolve(package, signature=bytes(64)),
        evolve(package, signature=b""),
        evolve(package, init_key=bundle("x").key_package.init_key),
        evolve(package, extensions=(PRIVATE,)),
        evolve(package, leaf_node=bundle("x").key_package.leaf_node),
    ):
        package_refused(Add(wrong), "signature of KeyPackageTBS")


def test_valn0204_a_key_package_has_two_different_keys() -> None:
    package_refused(resigned(DAVE, encryption_key=DAVE.key_package.init_key), "one key for two")


def test_valn0205_a_key_package_is_of_the_version_that_brings_it() -> None:
    data = encode_message(repackaged(DAVE, version=2).key_package)
    package = decode_message(data)  # in an MLSMessage of version 1, the only one
    assert isinstance(package, KeyPackage)
    with pytest.raises(ProtocolError, match="another version"):
        check_key_package(SUITE, package)
    with pytest.raises(DecodeError):
        decode_message(b"\0\2" + data[2:])


# 03: the proposals of a member's commit (section 12.2).


@pytest.mark.parametrize(
    ("match", "proposal"),
    [
        ("signature of KeyPackageTBS", Add(evolve(DAVE.key_package, signature=bytes(64)))),
        ("no member", Remove(9)),
        ("wrong length", psk(31)),
        ("older", ReInit(b"", 0, 1, ())),
        ("belongs elsewhere", GroupContextExtensions((Extension(1, b""),))),
    ],
)
def test_valn0301_each_proposal_is_valid_by_itself(match: str, proposal: Any, blind: Blind) -> None:
    alice, bob = room("alice", "bob")
    with pytest.raises(MLSError, match=match):
        bob.commit(proposal)
    refuse(alice, forged(bob, proposal, path=path_of(bob)), match)
    refuse(alice, said(bob, proposal), match)


def test_valn0302_nobody_commits_its_own_update() -> None:
    alice, bob = groups = room("alice", "bob")
    path = path_of(bob)
    refuse(alice, forged(bob, bob.make_update(), path=path), "own Update")
    cover = pending(groups, bob, bob.make_update())
    refuse(alice, forged(bob, *cover, path=path), "own Update")
    with pytest.raises(ProtocolError, match="own Update"):
        bob.commit(cover=cover)
    assert bob.commit().group.change is not None  # and leaves it out by itself


def test_valn0303_nobody_removes_itself_by_its_own_commit() -> None:
    alice, bob, carol = groups = room("alice", "bob", "carol")
    path = path_of(bob)
    refuse(alice, forged(bob, Remove(1), path=path), "remove itself")
    cover = pending(groups, carol, Remove(1))
    refuse(alice, forged(bob, *cover, path=path), "remove itself")
    with pytest.raises(ProtocolError, match="remove itself"):
        bob.commit(Remove(1))


def test_valn0304_one_leaf_is_updated_or_removed_once() -> None:
    alice, bob, carol = groups = room("alice", "bob", "carol")
    path = path_of(bob)
    updates = pending(groups, carol, carol.make_update(), carol.make_update())
    for proposals in (updates, (updates[0], Remove(2)), (Remove(2), Remove(2))):
        refuse(alice, forged(bob, *proposals, path=path), "two Updates or Removes")
    with pytest.raises(ProtocolError, match="two Updates or Removes"):
        bob.commit(cover=updates)
    latest = bob.commit().group.change
    assert latest is not None
    assert [proposed.reference for proposed in latest.proposals] == [updates[1]]


def test_valn0305_nobody_is_added_twice(blind: Blind) -> None:
    alice, bob = room("alice", "bob")
    again = bundle("dave", signature_key=DAVE.signature_key)
    adds = Add(DAVE.key_package), Add(again.key_package)
    blind.refused(alice, bob, "one signature key", *adds)
    with pytest.raises(ProtocolError, match="one init key"):
        bob.commit(adds[0], adds[0])
    refuse(alice, forged(bob, adds[0], adds[0], path=path_of(bob)), "one init key")


def test_valn0306_no_member_is_added_but_in_place_of_itself(blind: Blind) -> None:
    alice, bob, carol, _ = groups = room("alice", "bob", "carol", "dave")
    again = Add(bundle("carol", signature_key=carol.signature_key).key_package)
    blind.refused(alice, bob, "one signature key", again)
    blind.refused(alice, bob, "one signature key", again, Remove(3))
    commit(groups, 1, Remove(2), again)
    assert len(groups) == 3


def test_valn0307_a_pre_shared_key_is_used_once(blind: Blind) -> None:
    alice, bob = room("alice", "bob", psks=lambda _: b"a key")
    blind.refused(alice, bob, "two uses", psk(), psk())
    cover = pending([alice, bob], bob, psk())
    refuse(alice, forged(bob, *cover, psk(), path=path_of(bob)), "two uses")


def test_valn0308_the_groups_extensions_change_once(blind: Blind) -> None:
    alice, bob = room("alice", "bob")
    blind.refused(alice, bob, "two GroupContextExtensions", *[GroupContextExtensions(())] * 2)


def test_valn0309_a_reinit_is_alone(blind: Blind) -> None:
    alice, bob, _ = room("alice", "bob", "carol")
    reinit = ReInit(b"", 1, 1, ())
    for other in (Remove(2), Add(DAVE.key_package), reinit):
        blind.refused(alice, bob, "alone", reinit, other)


def test_valn0310_members_have_no_external_init(blind: Blind) -> None:
    alice, bob = room("alice", "bob")
    kem_output, _ = SUITE.generate_key_pair()
    refuse(alice, said(bob, ExternalInit(kem_output)), "cannot propose ExternalInit")
    blind.refused(alice, bob, "cannot propose ExternalInit", ExternalInit(kem_output))


def test_valn0311_a_proposal_of_an_unknown_type_is_refused() -> None:
    _, bob = capable_room(REQUIREMENTS[1].as_extension())  # even if all say that they know it
    data = encode_message(forged(bob, Remove(0), path=path_of(bob)))
    known = b"\1\0\3" + bytes(4)
    assert data.count(known) == 1
    with pytest.raises(DecodeError):
        decode_message(data.replace(known, b"\1\xf0\0" + bytes(4)))


def test_valn0312_the_tree_afterwards_is_valid(blind: Blind) -> None:
    alice, bob, _ = room("alice", "bob", "carol")
    above = alice.tree.parent_node(alice.tree.root)
    assert above is not None
    add = resigned(DAVE, encryption_key=above.encryption_key)
    refuse(alice, blind.commit(bob, add, path=False), "one encryption key")


# 04: the proposals of an external commit (sections 12.2 and 12.4.3.2).


def test_valn0401_an_external_commit_has_one_external_init() -> None:
    alice, _ = room("alice", "bob")
    (init,), path = newcomer(alice)
    for proposals in ((), (init, init)):
        refuse(alice, forged_externally(alice, DAVE, *proposals, path=path), "exactly one")


def test_valn0402_an_external_commit_removes_who_makes_it_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def same_name(credential: object, _key: bytes, replaces: object) -> None:
        if replaces is not None and credential != replaces:
            raise ProtocolError("this is somebody else")

    alice, bob, _ = room("alice", "bob", "carol", authenticate=same_name)
    proposals, path = newcomer(alice, replace=1)
    more = forged_externally(alice, DAVE, *proposals, Remove(2), path=path)
    refuse(alice, more, "one leaf at most")
    refuse(alice, forged_externally(alice, DAVE, *proposals, path=path), "somebody else")
    (init, _) = proposals
    nobody = forged_externally(alice, DAVE, init, Remove(9), path=path)
    refuse(alice, nobody, "no member")

    again = bundle("bob", signature_key=bob.signature_key)
    info = open_info(alice)
    with monkeypatch.context() as patch:  # the new leaf must be such as would do in an Update
        old = bob.keys[2], bob.own_leaf.encryption_key
        patch.setattr("trio_chat.mls.suite.CipherSuite.generate_key_pair", lambda _: old)
        same_key = Group.join_external(info, again, replace=1, authenticate=anybody)
    refuse(alice, same_key.message, "new encryption key")
    follow(alice, Group.join_external(info, again, replace=1, authenticate=anybody))


def test_valn0403_an_external_commit_uses_any_number_of_pre_shared_keys() -> None:
    alice, bob = room("alice", "bob", psks=lambda name: name.psk_id * 2)
    for names in ((), (b"1",), (b"1", b"2")):
        result = Group.join_external(
            open_info(alice), DAVE, use_psks=names, authenticate=anybody, psks=alice.find_psk
        )
        assert agree(follow(alice, result), follow(bob, result), result.group)
    stranger, _ = room("alice", "bob")
    proposals, path = newcomer(stranger, use_psks=[b"1"], psks=lambda _: b"")
    refuse(stranger, forged_externally(stranger, DAVE, *proposals, path=path), "not known|decrypt")


def test_valn0404_an_external_commit_has_no_other_proposals() -> None:
    alice, bob = room("alice", "bob")
    (init,), path = newcomer(alice)
    for other in (
        Add(bundle("eve").key_package),
        bob.make_update(),
        ReInit(b"", 1, 1, ()),
        GroupContextExtensions(()),
    ):
        message = forged_externally(alice, DAVE, init, other, path=path)
        refuse(alice, message, "NewMemberCommit senders cannot propose")


def test_valn0405_an_external_commit_has_a_path() -> None:
    alice, _ = room("alice", "bob")
    (init,), _ = newcomer(alice)
    refuse(alice, forged_externally(alice, DAVE, init, path=None), "cannot send this")


def test_valn0406_an_external_commit_has_nothing_by_reference() -> None:
    alice, bob, _ = groups = room("alice", "bob", "carol")
    (init,), path = newcomer(alice)
    cover = pending(groups, bob, Remove(2))
    message = forged_externally(alice, DAVE, init, *cover, path=path)
    refuse(alice, message, "by reference")


def test_valn0407_an_external_commit_is_signed_by_the_key_in_its_path() -> None:
    alice, bob = room("alice", "bob")
    proposals, path = newcomer(alice)
    for key in (bob.signature_key, SENDER):
        message = said(alice, Commit(proposals, path), sender=NewMemberCommit(), key=key)
        refuse(alice, message, "signature of FramedContentTBS")


def test_valn0408_an_external_commit_is_from_a_new_member() -> None:
    alice, bob = sender_room()[:2]
    proposals, path = newcomer(alice)
    content = Commit(proposals, path)
    for sender, key in ((External(0), SENDER), (NewMemberProposal(), DAVE.signature_key)):
        refuse(alice, said(alice, content, sender=sender, key=key), "cannot send this")
    refuse(alice, said(bob, content), "cannot propose ExternalInit")
    message = said(alice, proposals[0], sender=NewMemberCommit(), key=DAVE.signature_key)
    refuse(alice, message, "cannot send this")


# 05 to 10: proposals by themselves (section 12.1).


def test_valn0501_an_add_brings_a_valid_key_package() -> None:
    alice, bob = room("alice", "bob")
    for add, match in (
        (Add(bundle("x", SUITES[3]).key_package), "cipher suite"),
        (repackaged(DAVE, init_key=LOW), "low order"),
        (repackaged(DAVE, extensions=(PRIVATE, PRIVATE)), "two extensions"),
        (resigned(DAVE, signature_key=b"\1" + bytes(31)), "small order"),
    ):
        refuse(alice, said(bob, add), match)
        refuse(alice, forged(bob, add, path=path_of(bob)), match)
        with pytest.raises(MLSError, match=match):
            bob.propose(add)


def test_valn0502_who_is_added_supports_the_groups_extensions(blind: Blind) -> None:
    alice, bob = capable_room(PRIVATE)
    blind.refused(alice, bob, "the group's extensions", Add(DAVE.key_package))


@pytest.mark.parametrize(
    ("match", "changes"),
    [
        ("low order", {"encryption_key": LOW}),
        ("group's version", {"capabilities": Capabilities(versions=())}),
        ("two extensions", {"extensions": (Extension(1, b""), Extension(1, b""))}),
    ],
)
def test_valn0601_an_update_brings_a_valid_leaf(match: str, changes: Any) -> None:
    alice, bob = room("alice", "bob")
    update = Update(replaced_leaf(bob, **changes))
    refuse(alice, said(bob, update), match)
    with pytest.raises(MLSError, match=match):
        bob.propose(update)


def test_valn0602_who_is_updated_supports_the_groups_extensions(blind: Blind) -> None:
    alice, bob = groups = capable_room(PRIVATE)
    cover = pending(groups, bob, bob.make_update(capabilities=Capabilities()))
    blind.refused(bob, alice, "the group's extensions", cover=cover)


def test_valn0701_who_is_removed_is_a_member() -> None:
    groups = room("alice", "bob", "carol")
    commit(groups, 0, Remove(2))
    alice, bob = groups
    for index in (2, 3, 4, 2**32 - 1):
        refuse(alice, said(bob, Remove(index)), "no member")
        refuse(alice, forged(bob, Remove(index), path=path_of(bob)), "no member")
        with pytest.raises(ProtocolError, match="no member"):
            bob.propose(Remove(index))


def resumption_refused(usage: ResumptionPSKUsage, blind: Blind) -> None:
    alice, bob = room("alice", "bob")
    proposal = psk(name=ResumptionPSK(usage, b"a room", 1))
    refuse(alice, said(bob, proposal), "cannot be proposed")
    blind.refused(alice, bob, "cannot be proposed", proposal)


def test_valn0801_a_key_for_reinit_is_for_that(blind: Blind) -> None:
    resumption_refused(ResumptionPSKUsage.REINIT, blind)


def test_valn0802_a_key_for_branching_is_for_that(blind: Blind) -> None:
    resumption_refused(ResumptionPSKUsage.BRANCH, blind)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_valn0803_the_nonce_of_a_pre_shared_key_is_as_long_as_a_hash(
    size: int, blind: Blind
) -> None:
    alice, bob = room("alice", "bob", psks=lambda _: b"a key")
    refuse(alice, said(bob, psk(size)), "wrong length")
    blind.refused(alice, bob, "wrong length", psk(size))
    welcome, who, group = doorstep([alice])
    wrong = rewritten(welcome, who, group, psks=(psk(size).psk,), find_psk=alice.find_psk)
    refuse_to_join(wrong, who, "wrong length", psks=alice.find_psk)


def test_valn0901_a_reinit_does_not_go_back(blind: Blind) -> None:
    alice, bob = room("alice", "bob")
    reinit = ReInit(b"", 0, 1, ())
    refuse(alice, said(bob, reinit), "older")
    blind.refused(alice, bob, "older", reinit)


@pytest.mark.parametrize("required", REQUIREMENTS)
def test_valn1001_nothing_is_required_that_a_member_lacks(
    required: RequiredCapabilities, blind: Blind
) -> None:
    change = GroupContextExtensions((required.as_extension(),))
    groups = capable_room()
    blind.refused(groups[0], groups[1], "requires", change, Add(DAVE.key_package))
    commit(groups, 0, Add(DAVE.key_package))
    blind.refused(groups[0], groups[1], "requires", change)
    commit(groups, 0, change, Remove(2))  # who goes need not have it
    assert agree(*groups)


# 11: update paths (section 7.6).


def test_valn1101_a_path_secret_goes_to_just_those_it_is_for() -> None:
    alice, bob, _ = room("alice", "bob", "carol")
    path = path_of(bob)
    for n, node in enumerate(path.nodes):
        for secrets in ((), node.encrypted_path_secret * 2):
            nodes = list(path.nodes)
            nodes[n] = evolve(node, encrypted_path_secret=secrets)
            message = forged(bob, path=evolve(path, nodes=tuple(nodes)))
            refuse(alice, message, "too many or too few")


# 12: commits (section 12.4.2).


@pytest.mark.parametrize("epoch", [0, 2, 2**64 - 1])
def test_valn1201_a_commit_is_for_the_current_epoch(epoch: int) -> None:
    alice, bob = room("alice", "bob")
    refuse(alice, said(bob, Commit((), path_of(bob)), epoch=epoch), "is of epoch")


def test_valn1202_a_commit_in_clear_has_a_membership_tag_that_holds() -> None:
    alice, bob = room("alice", "bob")
    result = bob.commit(public=True)
    assert isinstance(result.message, PublicMessage)
    tag = result.message.membership_tag
    assert tag is not None
    for wrong in (b"", tag[:1], tag[:-1], tag + b"\0", bytes(32)):
        refuse(alice, evolve(result.message, membership_tag=wrong), "membership tag")
    follow(alice, result)


def test_valn1203_a_commit_is_signed_by_its_sender() -> None:
    alice, bob, carol = room("alice", "bob", "carol")
    content = Commit((), path_of(bob))
    for key in (carol.signature_key, SENDER):
        refuse(alice, said(bob, content, key=key), "signature of FramedContentTBS")


def test_valn1204_the_proposals_are_valid_together() -> None:
    alice, bob, carol = groups = room("alice", "bob", "carol")
    path = path_of(bob)
    refuse(alice, forged(bob, ProposalRef(bytes(32)), path=path), "has not come")
    cover = pending(groups, carol, Remove(0))
    refuse(alice, forged(bob, *cover, *cover, path=path), "two Updates or Removes")
    refuse(alice, forged(bob, *cover, Remove(0), path=path), "two Updates or Removes")


def test_valn1205_the_pre_shared_keys_are_there() -> None:
    alice, bob = room("alice", "bob", psks=lambda _: b"a key")
    message = bob.commit(psk(), public=True).message
    for find, match in ((lambda _: None, "not known"), (lambda _: b"another", "confirmation tag")):
        refuse(
            attrs.evolve(alice, services=attrs.evolve(alice.services, psks=find)), message, match
        )
    with pytest.raises(ProtocolError, match="not known"):
        room("alice")[0].commit(psk())
    past = ResumptionPSK(ResumptionPSKUsage.APPLICATION, b"a room", 0)
    refuse(bob, alice.commit(alice.use_psk(past), public=True).message, "not known")


def test_valn1206_a_commit_has_the_path_that_its_proposals_need() -> None:
    alice, bob, carol = groups = room("alice", "bob", "carol")
    updates = pending(groups, carol, carol.make_update())
    for proposals in ((), (Remove(2),), updates, (GroupContextExtensions(()),)):
        refuse(alice, forged(bob, *proposals), "lacks the path")
        given = [proposal for proposal in proposals if not isinstance(proposal, ProposalRef)]
        with pytest.raises(ProtocolError, match="with a path"):
            bob.commit(*given, cover=updates if not given and proposals else (), path=False)


def test_valn1207_the_leaf_of_a_path_is_valid_here_and_now() -> None:
    alice, bob, carol = room("alice", "bob", "carol")
    path = path_of(bob)
    for changes, match in (
        ({"source": KeyPackageSource()}, "made for something else"),
        ({"encryption_key": LOW}, "low order"),
        ({"signature_key": SENDER.public}, "signature of LeafNodeTBS"),
        ({"capabilities": Capabilities(versions=())}, "group's version"),
        ({"source": CommitSource(bytes(32))}, "parent hash"),
        ({"source": CommitSource(b"")}, "parent hash"),
    ):
        refuse(alice, forged(bob, path=resigned_path(bob, path, **changes)), match)
    elsewhere = attrs.evolve(bob, context=evolve(bob.context, group_id=b"another"))
    another = attrs.evolve(bob, index=2)
    for wrong in (elsewhere, another):
        refuse(alice, forged(bob, path=resigned_path(wrong, path)), "signature of LeafNodeTBS")
    follow(alice, bob.commit())
    assert carol.epoch == 1


def test_valn1208_the_leaf_of_a_path_has_a_new_key(monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = room("alice", "bob")
    with monkeypatch.context() as patch:
        old = bob.keys[2], bob.own_leaf.encryption_key
        patch.setattr("trio_chat.mls.suite.CipherSuite.generate_key_pair", lambda _: old)
        message = bob.commit(public=True).message
    refuse(alice, message, "new encryption key")


def test_valn1209_the_keys_of_a_path_are_new() -> None:
    alice, bob, carol = room("alice", "bob", "carol")
    path = path_of(bob)
    root = alice.tree.parent_node(alice.tree.root)
    assert root is not None
    for key, match in (
        (carol.own_leaf.encryption_key, "in the tree"),
        (root.encryption_key, "in the tree"),
        (path.leaf_node.encryption_key, "twice"),
        (path.nodes[1].encryption_key, "twice"),
        (LOW, "low order"),
    ):
        nodes = (evolve(path.nodes[0], encryption_key=key), *path.nodes[1:])
        refuse(alice, forged(bob, path=evolve(path, nodes=nodes)), match)


def test_valn1210_the_leaf_of_a_path_supports_the_groups_extensions(blind: Blind) -> None:
    alice, bob = capable_room(PRIVATE)
    blind.refused(alice, bob, "the group's extensions", capabilities=Capabilities())
    info = open_info(alice)
    with pytest.raises(ProtocolError, match="the group's extensions"):
        Group.join_external(info, DAVE, authenticate=anybody)
    message = blind.call(Group.join_external, info, DAVE, authenticate=anybody).message
    refuse(alice, message, "the group's extensions")


# 13: framing (sections 6 and 12.1).


def test_valn1301_a_message_is_verified_with_its_senders_key() -> None:
    alice, bob, carol = sender_room()
    add = Add(DAVE.key_package)
    for sender, content, key in (
        (Member(2), Remove(0), bob.signature_key),
        (External(0), Remove(0), bob.signature_key),
        (NewMemberProposal(), add, bob.signature_key),
        (NewMemberProposal(), add, SENDER),
    ):
        message = said(bob, content, sender=sender, key=key)
        refuse(alice, message, "signature of FramedContentTBS")
    refuse(alice, said(bob, Remove(0), sender=External(1), key=SENDER), "no such external sender")
    refuse(alice, said(bob, Remove(0), sender=Member(3)), "no member")
    assert isinstance(alice.receive(sent(said(carol, Remove(1)))), Proposed)


def test_valn1302_what_is_in_clear_is_authentic() -> None:
    alice, bob = room("alice", "bob")
    good = said(bob, Remove(0))
    bare = evolve(good, membership_tag=None)
    with pytest.raises(CryptoError, match="membership tag"):
        open_public(SUITE, alice.secrets.membership_key, bare, alice.context)
    for size in (0, 1, 31, 33):
        refuse(alice, evolve(good, membership_tag=bytes(size)), "membership tag")
    refuse(alice, evolve(good, signature=bytes(64)), "membership tag")
    refuse(alice, said(bob, Remove(0), key=SENDER), "signature of FramedContentTBS")
    refuse(alice, said(bob, ApplicationData(b"")), "must be encrypted")
    assert isinstance(alice.receive(sent(good)), Proposed)


def test_valn1303_padding_is_zero() -> None:
    alice, bob = room("alice", "bob")
    content = signed(alice, ApplicationData(b"hello"))
    good = Received(0, b"hello", b"")
    for padding in (b"", b"\0", bytes(300)):
        assert bob.receive(sent(sealed(alice, content + padding))) == good
    for padding in (b"\1", b"\0\1", bytes(99) + b"\1\0"):
        with pytest.raises(DecodeError, match="zero"):
            bob.receive(sent(sealed(alice, content + padding)))


def test_valn1304_what_is_encrypted_is_authentic() -> None:
    alice, bob, carol = room("alice", "bob", "carol")
    content = ApplicationData(b"hello")
    good = signed(alice, content)
    for leaf, wrong in (
        (0, good[:-1] + bytes([good[-1] ^ 1])),
        (0, signed(carol, content)),
        (2, good),  # a member speaks for another
        (2, signed(alice, content, index=2)),
    ):
        with pytest.raises(CryptoError, match="signature of FramedContentTBS"):
            bob.receive(sent(sealed(alice, wrong, leaf=leaf)))
    # And it has not burnt the other's keys.
    assert bob.receive(sent(carol.encrypt(b"me"))) == Received(2, b"me", b"")


@pytest.mark.parametrize("sender", [External(0), NewMemberProposal(), NewMemberCommit()])
def test_valn1305_only_members_encrypt(sender: Any) -> None:
    alice, _ = room("alice", "bob")
    content = FramedContent(b"a room", 1, sender, b"", Remove(0))
    form = WireFormat.PRIVATE_MESSAGE
    message = sign_content(SUITE, alice.signature_key, form, content, alice.context)
    with pytest.raises(AssertionError):
        seal_private(SUITE, alice.secret_tree, alice.secrets.sender_data_secret, message)


@pytest.mark.parametrize("leaf", [3, 4, 99, 2**32 - 1])
def test_valn1306_who_encrypts_is_a_member(leaf: int) -> None:
    alice, bob, _ = room("alice", "bob", "carol")
    good = alice.encrypt(b"")
    key, nonce = sender_data_key(SUITE, alice.secrets.sender_data_secret, good.ciphertext)
    data = encode(SenderData(leaf, 0, bytes(4)))
    wrong = SUITE.aead.seal(key, nonce, good.sender_data_aad(), data)
    refuse(bob, evolve(good, encrypted_sender_data=wrong), "no member")


def test_valn1307_a_proposal_is_for_the_current_epoch_and_found_by_its_hash() -> None:
    alice, bob = room("alice", "bob")
    for epoch in (0, 2):
        refuse(alice, said(bob, Remove(0), epoch=epoch), "is of epoch")
    assert alice.pending == {}
    proposed = alice.receive(sent(said(bob, Add(DAVE.key_package))))
    assert isinstance(proposed, Proposed)
    assert proposed.reference is not None
    assert alice.pending == {proposed.reference: proposed}


# 14: Welcome (section 12.4.3.1).


def test_valn1401_the_pre_shared_keys_of_a_welcome_are_there() -> None:
    alice, bob = groups = room("alice", "bob", psks=lambda _: b"a key")
    welcome, who, group = doorstep(groups)

    def with_psks(*names: ExternalPSK | ResumptionPSK) -> Any:
        psks = tuple(PreSharedKeyID(name, bytes(32)) for name in names)
        return rewritten(welcome, who, group, psks=psks, find_psk=lambda _: b"a key")

    refuse_to_join(with_psks(ExternalPSK(b"")), who, "not known")
    twice = with_psks(ExternalPSK(b""), ExternalPSK(b""))
    refuse_to_join(twice, who, "used twice", psks=alice.find_psk)
    usage = ResumptionPSKUsage
    for kind in (usage.BRANCH, usage.REINIT):
        following = ResumptionPSK(kind, b"the old room", 1)
        unexpected = with_psks(following)
        refuse_to_join(unexpected, who, "not expected", psks=bob.services.psks)
        two = with_psks(following, evolve(following, psk_epoch=2))
        old = attrs.evolve(
            alice,
            context=evolve(alice.context, group_id=b"the old room"),
            resumption_psks={1: b"a key", 2: b"a key"},
        )
        refuse_to_join(two, who, "does not follow", resumes=old)


def test_valn1402_a_group_info_is_signed_by_a_member() -> None:
    groups = room("alice", "bob")
    welcome, who, group = doorstep(groups)
    for changes, match in (
        ({"signature": bytes(64)}, "signature of GroupInfoTBS"),
        ({"signature": b""}, "signature of GroupInfoTBS"),
        ({"signer": 1}, "signature of GroupInfoTBS"),
        ({"signer": 3}, "signer is no member"),
        ({"signer": 2**32 - 1}, "signer is no member"),
    ):
        refuse_to_join(rewritten(welcome, who, group, **changes), who, match)
    itself = attrs.evolve(group, signature_key=who.signature_key)
    refuse_to_join(rewritten(welcome, who, itself, signer=2), who, "as our key package says")
    assert agree(group, Group.join(rewritten(welcome, who, group), who, authenticate=anybody))


def test_valn1404_the_group_is_of_our_key_packages_suite() -> None:
    welcome, who, group = doorstep(room("alice"))
    refuse_to_join(evolve(welcome, cipher_suite=3), who, "another cipher suite")
    for context in ({"cipher_suite": 3}, {"version": 2}):
        wrong = rewritten(welcome, who, group, context=context)
        refuse_to_join(wrong, who, "another version or cipher suite")


def test_valn1405_the_tree_is_the_one_of_the_group_info() -> None:
    groups = room("alice", "bob")
    welcome, who, group = doorstep(groups)
    for wrong in (bytes(32), group.context.tree_hash[:-1], groups[0].context.tree_hash):
        changed_hash = rewritten(welcome, who, group, context={"tree_hash": wrong})
        refuse_to_join(changed_hash, who, "not the one that the GroupInfo is about")
    other = rewritten(welcome, who, group, tree=groups[0].tree)
    refuse_to_join(other, who, "as our key package says")


def busy_room() -> tuple[Any, KeyPackageBundle, Group]:
    """Return the Welcome to a group in which all have committed, then added somebody, pathless."""
    groups = room(*"abcdef")
    for by in range(6):
        commit(groups, by)
    return doorstep(groups, path=False)


@pytest.mark.parametrize("x", [1, 3, 7])
def test_valn1406_each_parent_is_bound_to_a_node_below(x: int) -> None:
    welcome, who, group = busy_room()
    _, key = SUITE.generate_key_pair()
    tree = changed(group.tree, x, encryption_key=key)
    refuse_to_join(rewritten(welcome, who, group, tree=tree), who, "parent hash does not hold")
    node = group.tree.parent_node(x)
    assert node is not None
    tree = changed(group.tree, x, parent_hash=bytes(32))
    refuse_to_join(rewritten(welcome, who, group, tree=tree), who, "parent hash does not hold")


@pytest.mark.parametrize(
    ("match", "changes"),
    [
        ("low order", {"encryption_key": LOW}),
        ("group's version", {"capabilities": Capabilities(versions=(2,))}),
        ("its own credential", {"capabilities": Capabilities(credentials=(2,))}),
        ("its own extensions", {"extensions": (PRIVATE,)}),
        ("two extensions", {"extensions": (Extension(1, b""), Extension(1, b""))}),
        ("signature of LeafNodeTBS", {"signature_key": SENDER.public}),
        ("another's credential", {"credential": CHAIN}),
    ],
)
def test_valn1407_each_leaf_of_the_tree_is_valid(match: str, changes: Any) -> None:
    (alice,), bob = room("alice"), bundle("bob")
    names_only = bundle("newcomer", capabilities=Capabilities(credentials=(1,)))
    added = alice.commit(Add(bob.key_package), path=False).group
    as_bob = attrs.evolve(added, index=1, signature_key=bob.signature_key)
    welcome, who, group = doorstep([added], who=names_only, path=False)
    tree = remade([as_bob], group.tree, 1, **changes)
    refuse_to_join(rewritten(welcome, who, group, tree=tree), who, match)
    leaf = group.tree.leaf(1)
    assert leaf is not None
    tree = changed(group.tree, 2, signature=bytes(64))
    refuse_to_join(rewritten(welcome, who, group, tree=tree), who, "signature of LeafNodeTBS")


@pytest.mark.parametrize("unmerged", [(7,), (6, 7), (6, 200), (6, 2**32 - 1), (6, 6), (6, 5)])
def test_valn1408_unmerged_leaves_are_members_below(unmerged: tuple[int, ...]) -> None:
    welcome, who, group = busy_room()
    tree = changed(group.tree, 7, unmerged_leaves=unmerged)
    refuse_to_join(rewritten(welcome, who, group, tree=tree), who, "unmerged lea")


def test_valn1409_a_leaf_unmerged_above_is_unmerged_below() -> None:
    welcome, who, group = busy_room()
    tree = changed(group.tree, 7, unmerged_leaves=(0, 6))
    refuse_to_join(rewritten(welcome, who, group, tree=tree), who, "unmerged above where")


def test_valn1410_the_key_of_a_parent_is_nowhere_else() -> None:
    welcome, who, group = busy_room()
    keys = [group.tree[x] for x in (3, 4, 12)]
    for node in keys:
        assert node is not None
        tree = changed(group.tree, 7, encryption_key=node.encryption_key)
        refuse_to_join(rewritten(welcome, who, group, tree=tree), who, "one encryption key")


def test_valn1411_the_confirmation_tag_of_a_group_info_holds() -> None:
    welcome, who, group = doorstep(room("alice"))
    tag = group.confirmation_tag
    for wrong in (bytes(32), b"", tag[:1], tag[:-1], tag + b"\0"):
        forgery = rewritten(welcome, who, group, confirmation_tag=wrong)
        refuse_to_join(forgery, who, "confirmation tag")


def branched(old: Group) -> PreSharedKeyID:
    name = ResumptionPSK(ResumptionPSKUsage.BRANCH, old.context.group_id, old.epoch)
    return PreSharedKeyID(name, bytes(32))


def test_valn1412_a_group_that_follows_begins_with_epoch_one() -> None:
    alice, bob = room("alice", "bob")
    late = room("alice")[0].commit().group  # so its Welcome will be of epoch 2
    welcome, who, group = doorstep([late])
    wrong = rewritten(
        welcome, who, group, psks=(branched(alice),), find_psk=lambda _: bob.resumption_psks[1]
    )
    refuse_to_join(wrong, who, "begins with epoch 1", resumes=bob)


def test_valn1413_the_group_is_the_one_that_its_reinit_announced() -> None:
    groups = room("alice", "bob")
    before = groups[1]
    commit(groups, 0, ReInit(b"a new room", 1, 1, ()))
    alice, bob = groups
    who = bundle("bob")
    result = begin_anew(alice, bundle("alice"), [who.key_package], ratchet_tree=True)
    welcome, group = welcomed(result), result.group
    find = bob.find_psk
    extensions = (RequiredCapabilities().as_extension(),)
    wrong = rewritten(welcome, who, group, find_psk=find, context={"extensions": extensions})
    refuse_to_join(wrong, who, "not the one that the ReInit announced", resumes=bob)
    refuse_to_join(welcome, who, "not known", resumes=before)
    trap, who, group = doorstep(room("alice"))  # by the name of "a room"
    name = ResumptionPSK(ResumptionPSKUsage.REINIT, b"a room", bob.epoch)
    wrong = rewritten(trap, who, group, find_psk=find, psks=(PreSharedKeyID(name, bytes(32)),))
    refuse_to_join(wrong, who, "not the one that the ReInit announced", resumes=bob)


def test_valn1414_a_branch_is_of_the_same_suite() -> None:
    alice, bob = room("alice", "bob")
    with pytest.raises(ProtocolError, match="keeps the cipher suite"):
        branch(alice, bundle("alice", SUITES[3]), b"a branch", [])
    welcome, who, group = doorstep(room("alice", suite=SUITES[3]), who=bundle("bob", SUITES[3]))
    wrong = rewritten(
        welcome, who, group, psks=(branched(alice),), find_psk=lambda _: bob.resumption_psks[1]
    )
    refuse_to_join(wrong, who, "keeps the version and the cipher suite", resumes=bob)


def test_valn1415_who_joins_supports_the_groups_extensions(blind: Blind) -> None:
    alice, _ = capable_room(PRIVATE)
    result = blind.call(alice.commit, Add(DAVE.key_package), ratchet_tree=True)
    refuse_to_join(welcomed(result), DAVE, "the group's extensions")


# 15: proposals from outside (sections 6.1 and 12.1.8).


@pytest.mark.parametrize("sender", [External(0), NewMemberProposal()])
@pytest.mark.parametrize("content", [Commit((), None), Commit((Remove(1),), None)])
def test_valn1501_valn1503_outsiders_send_proposals_and_no_commits(
    sender: Any, content: Any
) -> None:
    alice, bob, _ = sender_room()
    message = said(bob, content, sender=sender, key=SENDER)
    refuse(alice, message, "cannot send this")
    message = said(bob, ApplicationData(b""), sender=sender, key=SENDER)
    refuse(alice, message, "must be encrypted")


def test_valn1502_an_external_sender_proposes_what_it_may() -> None:
    alice, bob, _ = sender_room()
    for proposal in (bob.make_update(), ExternalInit(b"")):
        message = propose_externally(SUITE, b"a room", 2, proposal, 0, SENDER)
        refuse(alice, message, "External senders cannot propose")
    for good in (Add(DAVE.key_package), Remove(2), psk(), ReInit(b"", 1, 1, ())):
        message = propose_externally(SUITE, b"a room", 2, good, 0, SENDER)
        assert isinstance(alice.receive(sent(message)), Proposed)


def test_valn1504_who_wants_to_join_proposes_to_be_added() -> None:
    alice, bob = room("alice", "bob")
    for proposal in (Remove(1), bob.make_update(), psk(), ReInit(b"", 1, 1, ()), ExternalInit(b"")):
        message = said(bob, proposal, sender=NewMemberProposal(), key=DAVE.signature_key)
        refuse(alice, message, "cannot send this")
    assert isinstance(alice.receive(sent(propose_to_join(DAVE, b"a room", 1))), Proposed)


# 16: where extensions may be (section 17.3).


@pytest.mark.parametrize("kind", [2, 3, 4, 5])
def test_valn1601_what_is_an_extension_of_leaves(kind: int) -> None:
    alice, bob = room("alice", "bob")
    own = {"extensions": (Extension(kind, b"\0"),)}
    for message in (
        said(bob, resigned(DAVE, **own)),
        said(bob, Update(replaced_leaf(bob, **own))),
        forged(bob, path=resigned_path(bob, path_of(bob), **own)),
    ):
        refuse(alice, message, "belongs elsewhere")


@pytest.mark.parametrize("kind", [1, 3, 5])
def test_valn1602_what_is_an_extension_of_a_group_info(kind: int) -> None:
    welcome, who, group = doorstep(room("alice"))
    wrong = rewritten(welcome, who, group, extensions=(Extension(kind, b"\0"),))
    refuse_to_join(wrong, who, "belongs elsewhere")


@pytest.mark.parametrize("kind", [1, 2, 4])
def test_valn1603_what_is_an_extension_of_a_group(kind: int, blind: Blind) -> None:
    alice, bob = room("alice", "bob")
    extensions = (Extension(kind, b"\0"),)
    for proposal in (GroupContextExtensions(extensions), ReInit(b"", 1, 1, extensions)):
        refuse(alice, said(bob, proposal), "belongs elsewhere")
        blind.refused(alice, bob, "belongs elsewhere", proposal)
    with pytest.raises(ProtocolError, match="belongs elsewhere"):
        Group.create(DAVE, b"", extensions=extensions, authenticate=anybody)
    welcome, who, group = doorstep(room("alice"))
    wrong = rewritten(welcome, who, group, context={"extensions": extensions})
    refuse_to_join(wrong, who, "belongs elsewhere")


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5])
def test_valn1604_what_is_an_extension_of_a_key_package(kind: int) -> None:
    package_refused(repackaged(DAVE, extensions=(Extension(kind, b"\0"),)), "belongs elsewhere")


# And each of them has a test.

_CHECKSETS = (13, 5, 12, 8, 2, 2, 1, 3, 1, 1, 1, 10, 7, 15, 4, 4)
_ELSEWHERE = {"1403"}


def test_each_rule_has_a_test() -> None:
    rules = {
        f"{checkset:02}{rule:02}"
        for checkset, count in enumerate(_CHECKSETS, 1)
        for rule in range(1, count + 1)
    }
    assert len(rules) == 85 + 4
    tested = {rule for name in globals() for rule in re.findall(r"valn(\d{4})", name)}
    assert tested == rules - _ELSEWHERE
