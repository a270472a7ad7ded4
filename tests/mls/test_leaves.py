from __future__ import annotations

import pytest

from tests.mls.clients import anybody, bundle
from trio_chat.mls import (
    SUITES,
    CryptoError,
    DecodeError,
    Group,
    ProtocolError,
)
from trio_chat.mls.codec import evolve
from trio_chat.mls.leaves import check_leaf, sign_leaf
from trio_chat.mls.nodes import (
    Extension,
    KeyPackageSource,
    RequiredCapabilities,
    UpdateSource,
)

SUITE = SUITES[1]


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


def test_what_the_rfc_defines_need_not_be_named() -> None:
    required = RequiredCapabilities(extension_types=(1, 5), proposal_types=(1, 7))
    Group.create(bundle("alice"), b"", extensions=(required.as_extension(),), authenticate=anybody)


def test_malformed_extensions_of_the_group_are_refused() -> None:
    for kind in (3, 5):
        with pytest.raises(DecodeError):
            Group.create(
                bundle("a"), b"", extensions=(Extension(kind, b"\7"),), authenticate=anybody
            )
