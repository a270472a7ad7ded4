from __future__ import annotations

import pytest

from tests.mls.clients import anybody, bundle, room, welcomed
from trio_chat.mls import (
    SUITES,
    Add,
    BasicCredential,
    CryptoError,
    DecodeError,
    Group,
    ProtocolError,
    X509Credential,
)
from trio_chat.mls.codec import evolve
from trio_chat.mls.leaves import check_key_package, check_leaf, sign_leaf
from trio_chat.mls.nodes import (
    Capabilities,
    Certificate,
    Extension,
    KeyPackageSource,
    RequiredCapabilities,
    UpdateSource,
)

SUITE = SUITES[1]


def test_a_lifetime_is_for_whoever_has_a_clock() -> None:
    lifetime = KeyPackageSource(10, 20)
    assert [lifetime.covers(now) for now in (9.9, 10, 15, 20, 20.1)] == [
        *(False, True, True, True, False)
    ]
    assert bundle("a", lifetime=lifetime).key_package.leaf_node.source == lifetime


def test_a_good_key_package_passes_and_a_changed_one_does_not() -> None:
    package = bundle("alice").key_package
    check_key_package(SUITE, package)
    other = bundle("bob").key_package
    for changed in (
        evolve(package, init_key=other.init_key),
        evolve(package, signature=other.signature),
        evolve(package, leaf_node=other.leaf_node),
        evolve(package, leaf_node=evolve(package.leaf_node, credential=BasicCredential(b"bob"))),
    ):
        with pytest.raises(CryptoError):
            check_key_package(SUITE, changed)


def test_a_leaf_says_what_it_was_made_for_and_where() -> None:
    who = bundle("alice")
    leaf = evolve(who.key_package.leaf_node, source=UpdateSource())
    leaf = sign_leaf(SUITE, leaf, who.signature_key, b"a room", 3)
    check_leaf(SUITE, leaf, UpdateSource, b"a room", 3)
    for group_id, index in ((b"another", 3), (b"a room", 4)):
        with pytest.raises(CryptoError):
            check_leaf(SUITE, leaf, UpdateSource, group_id, index)
    with pytest.raises(ProtocolError, match="something else"):
        check_leaf(SUITE, leaf, KeyPackageSource, b"a room", 3)


@pytest.mark.parametrize(
    "capabilities",
    [
        Capabilities(versions=(2,)),
        Capabilities(credentials=(2,)),
        Capabilities(credentials=()),
    ],
)
def test_a_leaf_supports_at_least_itself(capabilities: Capabilities) -> None:
    package = bundle("alice", capabilities=capabilities).key_package
    with pytest.raises(ProtocolError, match="does not support"):
        check_key_package(SUITE, package)


def test_members_support_each_others_credentials() -> None:
    (alice,) = room("alice")
    names_only = bundle("bob", capabilities=Capabilities(credentials=(1,)))
    alice = alice.commit(Add(names_only.key_package)).group
    chain = X509Credential((Certificate(b"..."),))
    with pytest.raises(ProtocolError, match="another's credential"):
        alice.commit(credential=chain)
    update = alice.make_update(credential=chain)
    assert update.leaf_node.credential == chain


@pytest.mark.parametrize(
    "required",
    [
        RequiredCapabilities(extension_types=(0xF000,)),
        RequiredCapabilities(proposal_types=(0xF000,)),
        RequiredCapabilities(credential_types=(0xF000,)),
    ],
)
def test_members_have_what_the_group_requires(required: RequiredCapabilities) -> None:
    extensions = (required.as_extension(),)
    capable = Capabilities(extensions=(0xF000,), proposals=(0xF000,), credentials=(1, 0xF000))
    alice_bundle = bundle("alice", capabilities=capable)
    alice = Group.create(alice_bundle, b"", extensions=extensions, authenticate=anybody)
    with pytest.raises(ProtocolError, match="requires"):
        alice.commit(Add(bundle("bob").key_package))
    bob = bundle("bob", capabilities=capable)
    result = alice.commit(Add(bob.key_package), ratchet_tree=True)
    Group.join(welcomed(result), bob, authenticate=anybody)
    with pytest.raises(ProtocolError, match="requires"):
        Group.create(bundle("carol"), b"", extensions=extensions, authenticate=anybody)


def test_what_the_rfc_defines_need_not_be_named() -> None:
    required = RequiredCapabilities(extension_types=(1, 5), proposal_types=(1, 7))
    Group.create(bundle("alice"), b"", extensions=(required.as_extension(),), authenticate=anybody)


def test_malformed_extensions_of_the_group_are_refused() -> None:
    for kind in (3, 5):
        with pytest.raises(DecodeError):
            Group.create(
                bundle("a"), b"", extensions=(Extension(kind, b"\7"),), authenticate=anybody
            )
