from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.mls.clients import agree, anybody, bundle, commit, follow, room, sent, welcomed
from trio_chat.mls import (
    EXPERIMENTAL,
    SUITES,
    Add,
    BasicCredential,
    CryptoError,
    Extension,
    ExternalPSK,
    Group,
    GroupContextExtensions,
    Proposed,
    ProtocolError,
    Received,
    Remove,
    Removed,
    StaleEpoch,
)
from trio_chat.mls.codec import evolve
from trio_chat.mls.epoch import find_psks
from trio_chat.mls.group import MAX_PENDING
from trio_chat.mls.messages import PrivateMessage, PublicMessage, ResumptionPSK, ResumptionPSKUsage
from trio_chat.mls.nodes import Capabilities, RequiredCapabilities
from trio_chat.mls.suite import CipherSuite

every_suite = pytest.mark.parametrize(
    "suite", [*SUITES.values(), EXPERIMENTAL], ids=lambda suite: suite.name
)


@every_suite
def test_members_come_talk_renew_their_keys_and_go(suite: CipherSuite) -> None:
    groups = room("alice", "bob", "carol", suite=suite)
    assert agree(*groups)
    for by in (1, 2, 0):
        commit(groups, by)
        assert agree(*groups)
    alice, bob, carol = groups
    message = sent(alice.encrypt(b"hello"))
    assert bob.receive(message) == carol.receive(message) == Received(0, b"hello", b"")
    commit(groups, 0, Remove(1))
    assert agree(*groups)
    assert [group.index for group in groups] == [0, 2]


def test_a_commit_leaves_the_group_in_its_epoch() -> None:
    alice, bob = room("alice", "bob")
    lost = alice.commit()
    assert alice.epoch == 1
    won = bob.commit()
    alice = follow(alice, won)  # the loser drops its own
    with pytest.raises(StaleEpoch):
        won.group.receive(sent(lost.message))
    assert agree(alice, won.group)


def test_what_others_propose_is_committed_by_whoever_commits_next() -> None:
    groups = room("alice", "bob", "carol")
    alice, bob, carol = groups
    dave = bundle("dave")
    for proposal in (carol.make_update(), Add(dave.key_package)):
        message = sent(carol.propose(proposal))
        proposed = bob.receive(message)
        assert isinstance(proposed, Proposed)
        assert proposed == alice.receive(message)
    result = commit(groups, 1, ratchet_tree=True)
    change = result.group.change
    assert change is not None
    assert (change.committer, change.updated, change.added) == (1, (2,), (3,))
    joined = Group.join(welcomed(result), dave, authenticate=anybody)
    assert agree(*groups, joined)
    groups.append(joined)
    commit(groups, 2)  # with the key of its update
    assert agree(*groups)


def test_the_update_that_is_committed_is_told_by_its_key() -> None:
    alice, bob = groups = room("alice", "bob")
    first, _ = [bob.propose(bob.make_update()) for _ in range(2)]
    alice.receive(sent(first))  # the other one is lost
    commit(groups, 0)
    commit(groups, 1)
    assert agree(*groups)


def test_proposals_that_cannot_be_committed_together_are_left_out() -> None:
    _, bob, carol = groups = room("alice", "bob", "carol")
    for by, proposal in (
        (carol, carol.make_update()),
        (bob, Remove(2)),  # goes before the update, which was first
        (bob, Remove(0)),  # the committer's own leaf
        (bob, Add(bundle("bob", signature_key=bob.signature_key).key_package)),  # is in already
    ):
        message = sent(by.propose(proposal))
        for group in groups:
            if group is not by:
                group.receive(message)
    result = commit(groups, 0)
    assert result.group.change is not None
    assert result.group.change.removed == (2,)
    assert result.group.change.updated == ()
    assert agree(*groups)


def test_keys_and_credentials_change_with_a_commit_and_the_old_key_signs_it() -> None:
    groups = room("alice", "bob")
    key = SUITES[1].generate_signature_key()
    carol = bundle("carol")
    result = commit(
        groups,
        0,
        Add(carol.key_package),
        signature_key=key,
        credential=BasicCredential(b"alicia"),
        ratchet_tree=True,
    )
    groups.append(Group.join(welcomed(result), carol, authenticate=anybody))
    assert agree(*groups)
    assert groups[1].members()[0].signature_key == key.public
    assert groups[1].members()[0].credential == BasicCredential(b"alicia")
    commit(groups, 0)
    assert agree(*groups)


def test_the_authentication_service_hears_of_every_credential_and_what_it_replaces() -> None:
    asked = []

    def authenticate(credential: object, key: bytes, replaces: object) -> None:
        asked.append((credential, replaces))
        if credential == BasicCredential(b"mallory"):
            raise ProtocolError("not on the list")

    alice, bob = groups = room("alice", "bob", authenticate=authenticate)
    commit(groups, 1, credential=BasicCredential(b"bobby"))
    assert asked[-1] == (BasicCredential(b"bobby"), BasicCredential(b"bob"))
    alice, bob = groups
    mallory = bundle("mallory")
    with pytest.raises(ProtocolError, match="list"):
        alice.commit(Add(mallory.key_package))
    blind = attrs.evolve(bob, services=attrs.evolve(bob.services, authenticate=anybody))
    with pytest.raises(ProtocolError, match="list"):
        alice.receive(sent(blind.commit(Add(mallory.key_package)).message))
    assert alice.receive(sent(bob.encrypt(b"still there"))) == Received(1, b"still there", b"")


def test_a_commit_in_clear_is_as_good() -> None:
    groups = room("alice", "bob")
    result = commit(groups, 0, public=True)
    assert isinstance(result.message, PublicMessage)
    assert agree(*groups)


def test_a_commit_without_a_path_adds_and_no_more() -> None:
    groups = room("alice", "bob")
    carol = bundle("carol")
    result = commit(groups, 0, Add(carol.key_package), path=False, ratchet_tree=True)
    groups.append(Group.join(welcomed(result), carol, authenticate=anybody))
    assert agree(*groups)
    for by in (2, 1, 0):
        commit(groups, by)
    assert agree(*groups)
    for proposals in ((), (Remove(1),)):
        with pytest.raises(ProtocolError, match="path"):
            groups[0].commit(*proposals, path=False)
    with pytest.raises(ProtocolError, match="path"):
        groups[0].commit(Add(carol.key_package), path=False, signature_key=groups[0].signature_key)


def test_the_removed_learns_it_and_reads_no_more() -> None:
    alice, bob, carol = room("alice", "bob", "carol")
    result = alice.commit(Remove(2))
    with pytest.raises(Removed):
        carol.receive(sent(result.message))
    bob = follow(bob, result)
    with pytest.raises(ProtocolError):
        carol.receive(sent(bob.encrypt(b"without carol")))


def test_pre_shared_keys_must_be_known_to_all() -> None:
    name = ExternalPSK(b"a name")
    alice, bob = room("alice", "bob", psks={name: b"a key"}.get)
    result = alice.commit(alice.use_psk(name))
    carol_like = attrs.evolve(bob, services=attrs.evolve(bob.services, psks=lambda _: None))
    with pytest.raises(ProtocolError, match="pre-shared"):
        carol_like.receive(sent(result.message))
    other = attrs.evolve(bob, services=attrs.evolve(bob.services, psks=lambda _: b"another"))
    with pytest.raises(CryptoError, match="confirmation"):
        other.receive(sent(result.message))
    follow(bob, result)  # what was refused before changed nothing


def test_a_past_epoch_can_be_mixed_in_again() -> None:
    groups = room("alice", "bob")
    commit(groups, 0)
    past = ResumptionPSK(ResumptionPSKUsage.APPLICATION, b"a room", 1)
    commit(groups, 1, groups[1].use_psk(past))
    assert agree(*groups)
    with pytest.raises(ProtocolError, match="pre-shared"):
        groups[0].commit(groups[0].use_psk(evolve(past, psk_epoch=77)))


def test_extensions_change_if_all_support_them() -> None:
    capable = Capabilities(extensions=(0xF0C1,))
    alice_bundle, bob_bundle = (bundle(name, capabilities=capable) for name in ("alice", "bob"))
    alice = Group.create(alice_bundle, b"a room", authenticate=anybody)
    result = alice.commit(Add(bob_bundle.key_package), ratchet_tree=True)
    groups = [result.group, Group.join(welcomed(result), bob_bundle, authenticate=anybody)]
    extensions = (
        Extension(0xF0C1, b"policy"),
        RequiredCapabilities(extension_types=(0xF0C1,), credential_types=(1,)).as_extension(),
    )
    commit(groups, 1, GroupContextExtensions(extensions))
    assert groups[0].context.extensions == extensions
    assert agree(*groups)
    with pytest.raises(ProtocolError, match="extensions"):
        groups[0].commit(Add(bundle("carol").key_package))
    with pytest.raises(ProtocolError, match="extensions"):
        groups[0].commit(GroupContextExtensions((Extension(0xF0C2, b""),)))


def test_export_is_equal_for_all_and_differs_by_all_that_is_said() -> None:
    alice, bob = room("alice", "bob")
    assert alice.export(b"label", b"context", 16) == bob.export(b"label", b"context", 16)
    exported = {
        alice.export(b"label", b"context", 16),
        alice.export(b"other", b"context", 16),
        alice.export(b"label", b"other", 16),
        alice.commit().group.export(b"label", b"context", 16),
    }
    assert len(exported) == 4


def test_messages_come_in_any_order_within_the_window() -> None:
    alice, bob = room("alice", "bob", max_skip=4)
    messages = [sent(alice.encrypt(b"%d" % n)) for n in range(6)]
    for n in (3, 0, 2, 1, 4):
        assert bob.receive(messages[n]) == Received(0, b"%d" % n, b"")
    for n in range(5):
        with pytest.raises(ProtocolError, match="before"):
            bob.receive(messages[n])
    last = [alice.encrypt(b"") for _ in range(5)][-1]
    with pytest.raises(ProtocolError, match="ahead"):
        bob.receive(sent(last))
    assert bob.receive(messages[5]) == Received(0, b"5", b"")


@pytest.mark.parametrize("size", [0, 1, 150, 500, 4000])
def test_padding_hides_the_size(size: int) -> None:
    alice, bob = room("alice", "bob")
    message = alice.encrypt(bytes(size), b"seen by all")
    sealed = len(message.ciphertext) - 16
    assert sealed >= 256
    assert sealed & sealed - 1 == 0
    assert bob.receive(sent(message)) == Received(0, bytes(size), b"seen by all")
    assert len(alice.encrypt(bytes(size), padding=0).ciphertext) < sealed + 16


def test_what_is_changed_on_its_way_is_refused_and_does_no_harm() -> None:
    alice, bob = room("alice", "bob")
    text = alice.encrypt(b"hello", b"header")
    changes: tuple[dict[str, Any], ...] = (
        {"ciphertext": text.ciphertext[:-1] + bytes([text.ciphertext[-1] ^ 1])},
        {"ciphertext": b""},
        {"encrypted_sender_data": text.encrypted_sender_data[:-1]},
        {"encrypted_sender_data": b""},
        {"authenticated_data": b"other"},
        {"group_id": b"another room"},
        {"epoch": 2},
    )
    for change in changes:
        with pytest.raises((CryptoError, ProtocolError)):
            bob.receive(evolve(text, **change))
    assert bob.receive(text) == Received(0, b"hello", b"header")
    result = alice.commit(public=True)
    public = result.message
    assert isinstance(public, PublicMessage)
    changes = (
        {"signature": bytes(64)},
        {"membership_tag": bytes(32)},
        {"membership_tag": b""},
        {"confirmation_tag": bytes(32)},
        {"content": evolve(public.content, authenticated_data=b"other")},
    )
    for change in changes:
        with pytest.raises(CryptoError):
            bob.receive(evolve(public, **change))
    follow(bob, result)


def test_what_is_not_for_a_group_is_refused_by_it() -> None:
    alice, bob = room("alice", "bob")
    carol = bundle("carol").key_package
    result = alice.commit(Add(carol))
    for message in (carol, welcomed(result), alice.group_info()):
        with pytest.raises(ProtocolError, match="none that a group"):
            bob.receive(message)


def test_ones_own_messages_are_not_received() -> None:
    alice, _ = room("alice", "bob")
    for message in (alice.encrypt(b""), alice.commit().message, alice.commit(public=True).message):
        with pytest.raises(ProtocolError):
            alice.receive(sent(message))


def test_a_private_key_that_is_not_the_packages_is_noticed() -> None:
    good, other = bundle("alice"), bundle("alice")
    for field in ("init_private", "leaf_private", "signature_key"):
        with pytest.raises(CryptoError):
            attrs.evolve(good, **{field: getattr(other, field)})


def test_nothing_secret_is_shown() -> None:
    alice, bob = room("alice", "bob")
    result = alice.commit()
    shown = "".join(
        map(
            repr,
            (alice, result, alice.secrets, alice.secret_tree, bundle("x"), alice.signature_key),
        )
    )
    for secret in (alice.secrets.init_secret, alice.signature_key.private, *alice.keys.values()):
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown
    text = bob.receive(alice.encrypt(b"a word"))
    assert "a word" not in repr(text)


def test_who_is_removed_learns_by_whom() -> None:
    alice, bob, _ = room("alice", "bob", "carol")
    result = alice.commit(Remove(1))
    with pytest.raises(Removed) as caught:
        bob.receive(sent(result.message))
    assert caught.value.change == result.group.change


def test_one_sender_cannot_fill_the_memory_with_proposals() -> None:
    alice, bob, carol = room("alice", "bob", "carol")
    for n in range(MAX_PENDING):
        alice.receive(sent(bob.propose(Remove(2), bytes([n]))))
    with pytest.raises(ProtocolError, match="too many"):
        bob.propose(Remove(2))
    bob.pending.clear()
    with pytest.raises(ProtocolError, match="too many"):
        alice.receive(sent(bob.propose(Remove(2))))
    assert isinstance(alice.receive(sent(carol.propose(Remove(1)))), Proposed)
    assert len(alice.pending) == MAX_PENDING + 1


def test_a_proposal_whose_key_we_lack_does_not_keep_us_from_committing() -> None:
    alice, bob = room("alice", "bob")
    alice.receive(sent(bob.propose(bob.use_psk(ExternalPSK(b"nobody has it")))))
    result = alice.commit()
    assert agree(result.group, follow(bob, result))


def test_one_bad_proposal_does_not_keep_out_the_good_ones() -> None:
    alice, bob, carol = room("alice", "bob", "carol")
    unknown = GroupContextExtensions((Extension(0xF000, b""),))
    for by, proposal in (
        (bob, Add(bundle("dave").key_package)),
        (bob, unknown),
        (carol, carol.make_update()),
        (bob, Add(bundle("eve").key_package)),
    ):
        alice.receive(sent(by.propose(proposal)))
    change = alice.commit().group.change
    assert change is not None
    assert (change.added, change.updated) == ((3, 4), (2,))


def test_more_pre_shared_keys_than_can_be_counted_are_refused() -> None:
    (alice,) = room("alice")
    psks = [alice.use_psk(ExternalPSK(b"")).psk] * 2**16
    with pytest.raises(ProtocolError, match="too many"):
        find_psks(psks, lambda _: b"")


def test_the_tree_of_a_group_does_not_change() -> None:
    (alice,) = room("alice")
    with pytest.raises(TypeError):
        alice.tree.set(0, None)
    with pytest.raises(TypeError):
        alice.tree.add(alice.own_leaf)
    copy = alice.tree.copy()
    copy.add(alice.own_leaf)
    assert len(alice.tree) == 1


def test_a_group_of_one_commits_alone() -> None:
    (alice,) = room("alice")
    for _ in range(3):
        alice = alice.commit().group
    assert alice.epoch == 3
    assert isinstance(alice.encrypt(b""), PrivateMessage)


def test_the_tree_grows_and_shrinks() -> None:
    names = [f"member {n}" for n in range(9)]
    groups = room(*names)
    assert len(groups[0].tree) == 31
    commit(groups, 3)
    commit(groups, 0, Remove(8))
    assert len(groups[0].tree) == 15
    commit(groups, 5, *map(Remove, range(5)))
    assert [group.index for group in groups] == [5, 6, 7]
    commit(groups, 1, Remove(7), Remove(5))
    assert len(groups) == 1
    assert agree(*groups)
