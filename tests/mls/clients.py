"""Clients to test with: key packages, groups of several, and messages as they travel."""

from __future__ import annotations

from typing import Any

from trio_chat.mls import (
    SUITES,
    Add,
    BasicCredential,
    CommitResult,
    Group,
    KeyPackageBundle,
    PrivateMessage,
    PublicMessage,
    Welcome,
    decode_message,
    encode_message,
)
from trio_chat.mls.suite import CipherSuite


def anybody(*_: object) -> None:
    """Accept every credential."""


def bundle(name: str, suite: CipherSuite = SUITES[1], **options: Any) -> KeyPackageBundle:
    key = options.pop("signature_key", None) or suite.generate_signature_key()
    return KeyPackageBundle.create(BasicCredential(name.encode()), key, suite=suite, **options)


def sent(message: PublicMessage | PrivateMessage) -> PublicMessage | PrivateMessage:
    """Send a message through bytes."""
    received = decode_message(encode_message(message))
    assert received == message
    assert isinstance(received, PublicMessage | PrivateMessage)
    return received


def welcomed(result: CommitResult[Group]) -> Welcome:
    assert result.welcome is not None
    received = decode_message(encode_message(result.welcome))
    assert isinstance(received, Welcome)
    return received


def follow(group: Group, result: CommitResult[Group]) -> Group:
    """Process another's commit."""
    following = group.receive(sent(result.message))
    assert isinstance(following, Group)
    assert following.epoch_authenticator == result.group.epoch_authenticator
    return following


def commit(groups: list[Group], by: int, *proposals: Any, **options: Any) -> CommitResult[Group]:
    """Let one commit and all others, but those removed, follow, in place."""
    result = groups[by].commit(*proposals, **options)
    assert result.group.change is not None
    removed = result.group.change.removed
    groups[:] = [
        result.group if n == by else follow(group, result)
        for n, group in enumerate(groups)
        if group.index not in removed
    ]
    return result


def room(*names: str, suite: CipherSuite = SUITES[1], **services: Any) -> list[Group]:
    """Return a group's members, added by the first one in one commit."""
    services.setdefault("authenticate", anybody)
    bundles = [bundle(name, suite) for name in names]
    first = Group.create(bundles[0], b"a room", **services)
    if len(names) == 1:
        return [first]
    result = first.commit(*[Add(b.key_package) for b in bundles[1:]], ratchet_tree=True)
    welcome = welcomed(result)
    return [result.group, *(Group.join(welcome, b, **services) for b in bundles[1:])]


def agree(*groups: Group) -> bool:
    """Return whether all have the same view."""
    return len({(g.context, g.epoch_authenticator, g.tree.encode()) for g in groups}) == 1
