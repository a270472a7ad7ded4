"""What is refused in a list of proposals, by receivers: the committer does not look."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mls.clients import bundle, commit, room, sent
from trio_chat.mls import (
    SUITES,
    Add,
    Extension,
    ExternalPSK,
    Group,
    GroupContextExtensions,
    InvalidTree,
    MLSError,
    Received,
    ReInit,
    Remove,
)
from trio_chat.mls.codec import evolve
from trio_chat.mls.framing import sign_content
from trio_chat.mls.leaves import sign_leaf
from trio_chat.mls.messages import (
    Commit,
    ExternalInit,
    FramedContent,
    Member,
    PreSharedKey,
    PreSharedKeyID,
    ProposalRef,
    PublicMessage,
    ResumptionPSK,
    ResumptionPSKUsage,
    WireFormat,
)
from trio_chat.mls.nodes import KeyPackageSource, UpdatePath
from trio_chat.mls.tree import RatchetTree


def forged(group: Group, *proposals: Any, path: UpdatePath | None = None) -> PublicMessage:
    """Sign a commit that says just that; its confirmation tag is a guess."""
    context = group.context
    content = FramedContent(
        context.group_id, context.epoch, Member(group.index), b"", Commit(proposals, path)
    )
    form = WireFormat.PUBLIC_MESSAGE
    message = sign_content(group.suite, group.signature_key, form, content, context)
    message = evolve(message, confirmation_tag=bytes(32))
    public = group.seal(message, 0)
    assert isinstance(public, PublicMessage)
    return public


def path_of(group: Group) -> UpdatePath:
    """Return a good path, to get past that."""
    message = group.commit(cover=(), public=True).message
    assert isinstance(message, PublicMessage)
    assert isinstance(message.content.content, Commit)
    assert message.content.content.path is not None
    return message.content.content.path


def psk(size: int = 32, name: Any = None) -> PreSharedKey:
    return PreSharedKey(PreSharedKeyID(name or ExternalPSK(b""), bytes(size)))


def package(**changes: Any) -> Add:
    """Return an Add of a key package that was changed after it was signed."""
    return Add(evolve(bundle("new").key_package, **changes))


def resigned(who: Any, **changes: Any) -> Add:
    """Return an Add of a key package whose leaf was changed and signed again."""
    leaf = sign_leaf(who.suite, evolve(who.key_package.leaf_node, **changes), who.signature_key)
    changed = evolve(who.key_package, leaf_node=leaf)
    label = b"KeyPackageTBS"
    signature = who.suite.sign_with_label(who.signature_key, label, changed.to_be_signed())
    return Add(evolve(changed, signature=signature))


DAVE = bundle("dave")
LOW = bytes(32)
APPLICATION = ResumptionPSK(ResumptionPSKUsage.APPLICATION, b"elsewhere", 1)


@pytest.mark.parametrize(
    ("match", "proposals"),
    [
        ("remove itself", [Remove(1)]),
        ("no member", [Remove(3)]),
        ("no member", [Remove(2**32 - 1)]),
        ("two Updates or Removes", [Remove(2), Remove(2)]),
        ("one init key", [Add(DAVE.key_package), Add(DAVE.key_package)]),
        ("signature of KeyPackageTBS", [package(extensions=(Extension(0xF000, b""),))]),
        ("another version", [package(version=2)]),
        ("another version", [Add(bundle("new", SUITES[3]).key_package)]),
        (
            "signature of LeafNodeTBS",
            [resigned(DAVE, signature_key=bundle("x").signature_key.public)],
        ),
        ("low order", [resigned(DAVE, encryption_key=LOW)]),
        ("one key for two", [resigned(DAVE, encryption_key=DAVE.key_package.init_key)]),
        ("two extensions", [resigned(DAVE, extensions=(Extension(1, b""), Extension(1, b"")))]),
        ("belongs elsewhere", [resigned(DAVE, extensions=(Extension(2, b""),))]),
        ("its own extensions", [resigned(DAVE, extensions=(Extension(0xF000, b""),))]),
        ("cannot propose ExternalInit", [ExternalInit(b"")]),
        ("wrong length", [psk(31)]),
        ("cannot be proposed", [psk(name=evolve(APPLICATION, usage=ResumptionPSKUsage.REINIT))]),
        ("cannot be proposed", [psk(name=evolve(APPLICATION, usage=ResumptionPSKUsage.BRANCH))]),
        ("two uses", [psk(), psk()]),
        ("not known", [psk()]),
        ("two GroupContextExtensions", [GroupContextExtensions(())] * 2),
        ("two extensions", [GroupContextExtensions((Extension(0xF000, b""),) * 2)]),
        ("belongs elsewhere", [GroupContextExtensions((Extension(1, b""),))]),
        ("extensions", [GroupContextExtensions((Extension(0xF000, b""),))]),
        ("alone", [ReInit(b"", 1, 1, ()), Remove(2)]),
        ("older", [ReInit(b"", 0, 1, ())]),
        ("has not come", [ProposalRef(bytes(32))]),
    ],
)
def test_a_commit_of_it_is_refused(match: str, proposals: Any) -> None:
    alice, bob, _ = room("alice", "bob", "carol")
    message = forged(bob, *proposals, path=path_of(bob))
    with pytest.raises(MLSError, match=match):
        alice.receive(sent(message))
    assert alice.receive(sent(bob.encrypt(b"after that"))) == Received(1, b"after that", b"")


def test_a_commit_of_ones_own_update_is_refused() -> None:
    alice, bob, _ = room("alice", "bob", "carol")
    with pytest.raises(MLSError, match="own Update"):
        alice.receive(sent(forged(bob, bob.make_update(), path=path_of(bob))))


def test_a_member_is_not_added_beside_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob, carol = room("alice", "bob", "carol")
    again = bundle("carol", signature_key=carol.signature_key)
    for add in (
        Add(again.key_package),
        resigned(DAVE, encryption_key=carol.own_leaf.encryption_key),
    ):
        with pytest.raises(InvalidTree, match="have one"):
            bob.commit(add)
        with monkeypatch.context() as blind:
            blind.setattr(RatchetTree, "check_unique", lambda _: None)
            message = bob.commit(add).message
        with pytest.raises(InvalidTree, match="have one"):
            alice.receive(sent(message))
    groups = [alice, bob, carol]
    commit(groups, 1, Remove(2), Add(again.key_package))  # but in place of itself
    assert len(groups) == 2


@pytest.mark.parametrize("proposals", [(), (Remove(2),), (GroupContextExtensions(()),)])
def test_a_commit_without_the_path_it_needs_is_refused(proposals: Any) -> None:
    alice, bob, _ = room("alice", "bob", "carol")
    with pytest.raises(MLSError, match="path"):
        alice.receive(sent(forged(bob, *proposals)))


def test_a_path_of_another_length_is_refused() -> None:
    alice, bob, _ = room("alice", "bob", "carol")
    path = path_of(bob)
    for nodes in ((), path.nodes[:1], path.nodes * 2):
        with pytest.raises(MLSError, match="wrong length"):
            alice.receive(sent(forged(bob, path=evolve(path, nodes=nodes))))


def test_a_path_with_a_key_that_is_in_use_or_dangerous_is_refused() -> None:
    alice, bob, carol = room("alice", "bob", "carol")
    path = path_of(bob)
    used = carol.own_leaf.encryption_key
    for key, match in (
        (used, "in the tree"),
        (path.nodes[1].encryption_key, "twice"),
        (LOW, "low"),
    ):
        nodes = (evolve(path.nodes[0], encryption_key=key), *path.nodes[1:])
        with pytest.raises(MLSError, match=match):
            alice.receive(sent(forged(bob, path=evolve(path, nodes=nodes))))


def test_a_path_whose_secrets_go_to_others_than_they_should_is_refused() -> None:
    alice, bob, _ = room("alice", "bob", "carol")
    path = path_of(bob)
    first = path.nodes[0]
    for sealed in ((), first.encrypted_path_secret * 2):
        nodes = (evolve(first, encrypted_path_secret=sealed), *path.nodes[1:])
        with pytest.raises(MLSError, match="too many or too few"):
            alice.receive(sent(forged(bob, path=evolve(path, nodes=nodes))))


def test_the_leaf_of_a_path_is_made_for_it_here_and_now() -> None:
    alice, bob, _ = groups = room("alice", "bob", "carol")
    path = path_of(bob)

    def with_leaf(index: int = 1, group_id: bytes = b"a room", **changes: Any) -> UpdatePath:
        changed = evolve(path.leaf_node, **changes)
        leaf = sign_leaf(bob.suite, changed, bob.signature_key, group_id, index)
        return evolve(path, leaf_node=leaf)

    for wrong, match in (
        (with_leaf(index=2), "LeafNodeTBS"),
        (with_leaf(group_id=b"another"), "LeafNodeTBS"),
        (with_leaf(source=KeyPackageSource()), "something else"),
        (with_leaf(encryption_key=bob.own_leaf.encryption_key), "in the tree"),
        (with_leaf(encryption_key=LOW), "low order"),
        (with_leaf(source=evolve(path.leaf_node.source, parent_hash=b"")), "parent hash"),
    ):
        with pytest.raises(MLSError, match=match):
            alice.receive(sent(forged(bob, path=wrong)))
    commit(groups, 1)


def test_a_commit_from_the_last_epoch_there_is_is_refused() -> None:
    alice, bob, _ = room("alice", "bob", "carol")
    for group in (alice, bob):
        object.__setattr__(group, "context", evolve(group.context, epoch=2**64 - 1))
    with pytest.raises(MLSError, match="no epoch after"):
        bob.commit()
    with pytest.raises(MLSError, match="no epoch after"):
        alice.receive(sent(forged(bob)))
