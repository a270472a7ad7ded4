"""What a hostile member, or somebody outside, can make: signed and tagged, and against a rule.

`blind` makes commits that are right in all but the rule they break, tags and all: whoever lacks
that one check takes them. `forged` says just what it is told, with a guess for a tag.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tests.mls.clients import anybody, bundle, sent, welcomed
from trio_chat.mls import (
    Add,
    CommitResult,
    ExternalPSK,
    Group,
    KeyPackageBundle,
    LeafNode,
    MLSError,
    PrivateMessage,
    PublicMessage,
    Welcome,
    snapshot,
)
from trio_chat.mls.codec import encode, encode_as, encode_length, evolve
from trio_chat.mls.epoch import FindPSK, find_psks, from_member_secret, no_psks
from trio_chat.mls.framing import seal_public, sign_content
from trio_chat.mls.joining import open_group_info
from trio_chat.mls.leaves import sign_leaf
from trio_chat.mls.messages import (
    ApplicationData,
    Commit,
    ContentType,
    EncryptedGroupSecrets,
    FramedContent,
    Member,
    NewMemberCommit,
    PreSharedKey,
    PreSharedKeyID,
    Proposal,
    SenderData,
    SenderValue,
    WireFormat,
)
from trio_chat.mls.nodes import ExtensionType, HPKECiphertext, UpdatePath
from trio_chat.mls.schedule import member_secret, psk_secret, welcome_key
from trio_chat.mls.secrettree import sender_data_key
from trio_chat.mls.signature import SignatureKey
from trio_chat.mls.tree import RatchetTree

LOW = bytes(32)  # the X25519 key of order 1


def refuse(group: Group, message: PublicMessage | PrivateMessage, match: str) -> None:
    """See that the message is refused for that reason, and leaves the group as it was."""
    before = snapshot(group)
    with pytest.raises(MLSError, match=match):
        group.receive(sent(message))
    assert snapshot(group) == before


# Messages in clear.


def said(
    group: Group,
    content: Any,
    *,
    sender: SenderValue | None = None,
    key: SignatureKey | None = None,
    epoch: int | None = None,
) -> PublicMessage:
    """Sign any content; a member's gets a good membership tag, a commit no confirmation tag."""
    context = group.context
    framed = FramedContent(
        context.group_id,
        context.epoch if epoch is None else epoch,
        sender or Member(group.index),
        b"",
        content,
    )
    form = WireFormat.PUBLIC_MESSAGE
    message = sign_content(group.suite, key or group.signature_key, form, framed, context)
    return seal_public(group.suite, group.secrets.membership_key, message, context)


def forged(group: Group, *proposals: Any, path: UpdatePath | None = None) -> PublicMessage:
    """Sign a commit that says just that."""
    return said(group, Commit(proposals, path))


def forged_externally(
    group: Group, who: KeyPackageBundle, *proposals: Any, path: UpdatePath | None
) -> PublicMessage:
    """Sign an external commit that says just that."""
    commit = Commit(proposals, path)
    return said(group, commit, sender=NewMemberCommit(), key=who.signature_key)


def commit_in(result: CommitResult[Group]) -> Commit:
    assert isinstance(result.message, PublicMessage)
    assert isinstance(result.message.content.content, Commit)
    return result.message.content.content


def path_of(group: Group) -> UpdatePath:
    """Return a good path, to get past that."""
    path = commit_in(group.commit(cover=(), public=True)).path
    assert path is not None
    return path


def resigned_path(group: Group, path: UpdatePath, **changes: Any) -> UpdatePath:
    """Return a path whose leaf was changed and signed again."""
    leaf = evolve(path.leaf_node, **changes)
    context = group.context
    leaf = sign_leaf(group.suite, leaf, group.signature_key, context.group_id, group.index)
    return evolve(path, leaf_node=leaf)


def replaced_leaf(group: Group, **changes: Any) -> LeafNode:
    """Return the leaf of an Update by a member who does not look."""
    leaf = evolve(group.make_update().leaf_node, **changes)
    return sign_leaf(group.suite, leaf, group.signature_key, group.context.group_id, group.index)


def resigned(who: KeyPackageBundle, **changes: Any) -> Add:
    """Return an Add of a key package whose leaf was changed, all of it signed again."""
    leaf = sign_leaf(who.suite, evolve(who.key_package.leaf_node, **changes), who.signature_key)
    return repackaged(who, leaf_node=leaf)


def repackaged(who: KeyPackageBundle, **changes: Any) -> Add:
    """Return an Add of a key package that was changed and signed again."""
    changed = evolve(who.key_package, **changes)
    label = b"KeyPackageTBS"
    signature = who.suite.sign_with_label(who.signature_key, label, changed.to_be_signed())
    return Add(evolve(changed, signature=signature))


def psk(size: int = 32, name: Any = None) -> PreSharedKey:
    return PreSharedKey(PreSharedKeyID(name or ExternalPSK(b""), bytes(size)))


class Blind:
    """Lets clients make what they would refuse to make: `commit`, `join_external`, `propose`."""

    _CHECKS = (
        "commits.check_capabilities",
        "commits.check_leaf",
        "joining.check_capabilities",
        "joining.check_group_extensions",
        "group.check_proposal",
        "proposals.check_proposal",
        "proposals._check_list",
        "tree.RatchetTree.check_unique",
    )

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch

    def call(self, verb: Any, *args: Any, **options: Any) -> Any:
        with self.monkeypatch.context() as patch:
            for name in self._CHECKS:
                patch.setattr(f"trio_chat.mls.{name}", lambda *_, **__: None)
            return verb(*args, **options)

    def commit(self, group: Group, *proposals: Any, **options: Any) -> PublicMessage:
        message = self.call(group.commit, *proposals, public=True, **options).message
        assert isinstance(message, PublicMessage)
        return message

    def refused(
        self, alice: Group, bob: Group, match: str, *proposals: Any, **options: Any
    ) -> None:
        """See that bob refuses to make a commit, and alice to follow it when bob is blind."""
        with pytest.raises(MLSError, match=match):
            bob.commit(*proposals, **options)
        refuse(alice, self.commit(bob, *proposals, **options), match)


# Private messages.


def sealed(
    group: Group,
    plaintext: bytes,
    kind: ContentType = ContentType.APPLICATION,
    *,
    leaf: int | None = None,
) -> PrivateMessage:
    """Encrypt any bytes as the content of a private message."""
    context, suite = group.context, group.suite
    sender = group.index if leaf is None else leaf
    key = group.secret_tree.ratchet(sender, kind).next()
    message = PrivateMessage(context.group_id, context.epoch, kind, b"", b"", b"")
    aad = message.content_aad()
    ciphertext = suite.aead.seal(key.key, key.nonce, aad, plaintext)
    opener, nonce = sender_data_key(suite, group.secrets.sender_data_secret, ciphertext)
    data = encode(SenderData(sender, key.generation, bytes(4)))
    return evolve(
        message,
        ciphertext=ciphertext,
        encrypted_sender_data=suite.aead.seal(opener, nonce, message.sender_data_aad(), data),
    )


def signed(group: Group, content: Any, *, index: int | None = None) -> bytes:
    """Return a content as it is in a private message, without padding."""
    context = group.context
    sender = Member(group.index if index is None else index)
    framed = FramedContent(context.group_id, context.epoch, sender, b"", content)
    form = WireFormat.PRIVATE_MESSAGE
    message = sign_content(group.suite, group.signature_key, form, framed, context)
    body = encode(content) if isinstance(content, ApplicationData) else encode_as(Proposal, content)
    return body + encode_length(len(message.signature)) + message.signature


# Welcomes.


def rewritten(
    welcome: Welcome,
    who: KeyPackageBundle,
    by: Group,
    *,
    psks: tuple[PreSharedKeyID, ...] | None = None,
    find_psk: FindPSK = no_psks,
    tree: RatchetTree | None = None,
    context: dict[str, Any] | None = None,
    **changes: Any,
) -> Welcome:
    """Return a Welcome that says something else, and is right in all else, its tag too.

    Args:
        welcome: The Welcome.
        who: Whom it is for.
        by: Who made it.
        psks: Other pre-shared keys.
        find_psk: Finds them.
        tree: Another tree, which comes with it.
        context: What is to be other in the group context.
        changes: What is to be other in the GroupInfo.
    """
    suite = who.suite
    info, group_secrets, _ = open_group_info(welcome, who, find_psk)
    if psks is not None:
        group_secrets = evolve(group_secrets, psks=psks)
    known = find_psks(group_secrets.psks, find_psk)
    member = member_secret(suite, group_secrets.joiner_secret, psk_secret(suite, known))
    context = dict(context or {})
    if tree is not None:
        context.setdefault("tree_hash", tree.tree_hash())
        extensions = tuple(
            evolve(e, extension_data=tree.encode())
            if e.extension_type == ExtensionType.RATCHET_TREE
            else e
            for e in info.extensions
        )
        info = evolve(info, extensions=extensions)
    if context:
        info = evolve(info, group_context=evolve(info.group_context, **context))
    tag = from_member_secret(suite, member, info.group_context).confirmation_tag
    info = evolve(info, **{"confirmation_tag": tag, **changes})
    if "signature" not in changes:
        signature = suite.sign_with_label(by.signature_key, b"GroupInfoTBS", info.to_be_signed())
        info = evolve(info, signature=signature)
    encrypted_info = suite.aead.seal(*welcome_key(suite, member), b"", encode(info))
    sealed_secrets = suite.encrypt_with_label(
        who.key_package.init_key, b"Welcome", encrypted_info, encode(group_secrets)
    )
    reference = who.key_package.reference(suite)
    entry = EncryptedGroupSecrets(reference, HPKECiphertext(*sealed_secrets))
    return Welcome(welcome.cipher_suite, (entry,), encrypted_info)


def doorstep(
    groups: list[Group], by: int = 0, who: KeyPackageBundle | None = None, **options: Any
) -> tuple[Welcome, KeyPackageBundle, Group]:
    """Let one member add a newcomer; return its Welcome, its bundle and the adder's new epoch."""
    who = who or bundle("newcomer")
    result = groups[by].commit(Add(who.key_package), ratchet_tree=True, **options)
    return welcomed(result), who, result.group


def refuse_to_join(welcome: Welcome, who: KeyPackageBundle, match: str, **services: Any) -> None:
    with pytest.raises(MLSError, match=match):
        Group.join(welcome, who, **{"authenticate": anybody, **services})


def changed(tree: RatchetTree, x: int, **fields: Any) -> RatchetTree:
    """Return a tree with one node that is other."""
    tree = tree.copy()
    node = tree[x]
    assert node is not None
    tree.set(x, evolve(node, **fields))
    return tree


def remade(groups: Iterable[Group], tree: RatchetTree, index: int, **fields: Any) -> RatchetTree:
    """Return a tree with one leaf that is other, signed by its owner."""
    owner = next(group for group in groups if group.index == index)
    leaf = tree.leaf(index)
    assert leaf is not None
    leaf = evolve(leaf, **fields)
    leaf = sign_leaf(owner.suite, leaf, owner.signature_key, owner.context.group_id, index)
    tree = tree.copy()
    tree.set(2 * index, leaf)
    return tree
