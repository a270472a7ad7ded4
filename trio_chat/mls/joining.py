"""Joining: GroupInfo, Welcome and external commits (RFC 9420, sections 12.4.3 and 11)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar

from trio_chat.mls import treemath
from trio_chat.mls.bundle import KeyPackageBundle
from trio_chat.mls.codec import decode, encode, evolve, opaque
from trio_chat.mls.commits import Built, Plan, build
from trio_chat.mls.epoch import Epoch, FindPSK, Services, Turn, find_psks, from_member_secret
from trio_chat.mls.errors import InvalidTree, ProtocolError
from trio_chat.mls.leaves import CredentialValue, check_capabilities, check_leaf
from trio_chat.mls.messages import (
    EncryptedGroupSecrets,
    ExternalInit,
    ExternalPSK,
    GroupContext,
    GroupInfo,
    GroupSecrets,
    NewMemberCommit,
    PathSecret,
    PreSharedKey,
    PreSharedKeyID,
    ProposalValue,
    ReInit,
    Remove,
    ResumptionPSK,
    ResumptionPSKUsage,
    Welcome,
    WireFormat,
)
from trio_chat.mls.nodes import (
    MLS10,
    Extension,
    ExtensionType,
    HPKECiphertext,
    LeafNode,
    check_extensions,
    find_extension,
)
from trio_chat.mls.proposals import Proposed, check_group_extensions
from trio_chat.mls.schedule import (
    EpochSecrets,
    external_init,
    interim_transcript_hash,
    member_secret,
    psk_secret,
    welcome_key,
)
from trio_chat.mls.suite import CipherSuite, same
from trio_chat.mls.tree import RatchetTree
from trio_chat.mls.treekem import derive_keys

E = TypeVar("E", bound=Epoch)

Replace: TypeAlias = int | Callable[[Mapping[int, LeafNode]], int | None] | None
"""A leaf that an external commit takes out, or how to find it."""


# Section 11: group creation.


def create(
    cls: type[E],
    bundle: KeyPackageBundle,
    group_id: bytes,
    extensions: tuple[Extension, ...],
    services: Services,
) -> E:
    """Return epoch 0 of a group of one."""
    suite = bundle.suite
    tree = RatchetTree(suite, [bundle.key_package.leaf_node])
    check_group_extensions(extensions, services.authenticate)
    check_capabilities(tree, extensions)
    context = GroupContext(MLS10, suite.number, group_id, 0, tree.tree_hash(), b"", extensions)
    secrets = EpochSecrets.from_epoch_secret(suite, suite.random_secret())
    return cls.begin(
        Turn(suite, context, *secrets),
        tree=tree,
        index=0,
        keys={0: bundle.leaf_private},
        signature_key=bundle.signature_key,
        services=services,
    )


# Section 12.4.3: GroupInfo.


def fresh_psk(suite: CipherSuite, name: ExternalPSK | ResumptionPSK) -> PreSharedKey:
    """Return a proposal to mix in a pre-shared key, with a fresh nonce (section 8.4)."""
    return PreSharedKey(PreSharedKeyID(name, suite.random_secret()))


def group_info(epoch: Epoch, *, external: bool, ratchet_tree: bool) -> GroupInfo:
    """Return the epoch's GroupInfo, signed by us; see `Group.group_info`."""
    extensions = []
    if ratchet_tree:
        extensions.append(Extension(ExtensionType.RATCHET_TREE, epoch.tree.encode()))
    if external:
        _, public = epoch.secrets.external_key_pair(epoch.suite)
        extensions.append(Extension(ExtensionType.EXTERNAL_PUB, opaque(public)))
    info = GroupInfo(epoch.context, tuple(extensions), epoch.confirmation_tag, epoch.index, b"")
    signature = epoch.suite.sign_with_label(
        epoch.signature_key, b"GroupInfoTBS", info.to_be_signed()
    )
    return evolve(info, signature=signature)


def _check_group_info(
    suite: CipherSuite, info: GroupInfo, ratchet_tree: bytes | None, services: Services
) -> RatchetTree:
    """Check a GroupInfo and all of the tree, which it brings or which is given."""
    context = info.group_context
    if context.version != MLS10 or context.cipher_suite != suite.number:
        raise ProtocolError("the group is of another version or cipher suite")
    check_extensions(info.extensions, "GroupInfo")
    encoded = find_extension(info.extensions, ExtensionType.RATCHET_TREE)
    if encoded is None:
        encoded = ratchet_tree
    if encoded is None:
        raise ProtocolError("the ratchet tree is missing")
    tree = RatchetTree.decode(suite, encoded)
    signer = tree.leaf(info.signer)
    if signer is None:
        raise ProtocolError("the GroupInfo's signer is no member")
    suite.verify_with_label(
        signer.signature_key, b"GroupInfoTBS", info.to_be_signed(), info.signature
    )
    if not same(tree.tree_hash(), context.tree_hash):
        raise InvalidTree("the tree is not the one that the GroupInfo is about")
    tree.check()
    for index, leaf in tree.leaves():
        check_leaf(suite, leaf, type(leaf.source), context.group_id, index)
        services.authenticate(leaf.credential, leaf.signature_key, None)
    check_group_extensions(context.extensions, services.authenticate)
    check_capabilities(tree, context.extensions)
    return tree


# Section 12.4.3.1: Welcome.


def make_welcome(epoch: Epoch, built: Built, *, ratchet_tree: bool) -> Welcome:
    """Return the Welcome for those whom a commit of ours has added to `epoch`."""
    suite = epoch.suite
    turn = built.turn
    key, nonce = welcome_key(suite, turn.member)
    info = encode(group_info(epoch, external=False, ratchet_tree=ratchet_tree))
    encrypted_info = suite.aead.seal(key, nonce, b"", info)
    entries = []
    change = built.change
    for index, package in zip(change.added, change.key_packages, strict=True):
        path_secret = None
        if built.path is not None:
            lowest = treemath.common_ancestor(2 * index, 2 * change.committer)
            path_secret = PathSecret(built.path.path_secrets[lowest])
        sealed = suite.encrypt_with_label(
            package.init_key,
            b"Welcome",
            encrypted_info,
            encode(GroupSecrets(turn.joiner, path_secret, change.psks)),
        )
        entries.append(EncryptedGroupSecrets(package.reference(suite), HPKECiphertext(*sealed)))
    return Welcome(suite.number, tuple(entries), encrypted_info)


def open_group_info(
    welcome: Welcome, bundle: KeyPackageBundle, find_psk: FindPSK
) -> tuple[GroupInfo, GroupSecrets, bytes]:
    """Decrypt a Welcome; return what is in it and the secret that all members have.

    Raises:
        ProtocolError: It is not for this key package, or lacks a pre-shared key.
        CryptoError: It cannot be decrypted.
        DecodeError: What is in it is malformed.
    """
    suite = bundle.suite
    if welcome.cipher_suite != suite.number:
        raise ProtocolError("the Welcome is of another cipher suite")
    reference = bundle.key_package.reference(suite)
    for entry in welcome.secrets:
        if entry.new_member == reference:
            sealed = entry.encrypted_group_secrets
            break
    else:
        raise ProtocolError("the Welcome is not for this key package")
    group_secrets = decode(
        GroupSecrets,
        suite.decrypt_with_label(
            bundle.init_private,
            b"Welcome",
            welcome.encrypted_group_info,
            sealed.kem_output,
            sealed.ciphertext,
        ),
    )
    psk = psk_secret(suite, find_psks(group_secrets.psks, find_psk))
    member = member_secret(suite, group_secrets.joiner_secret, psk)
    key, nonce = welcome_key(suite, member)
    info = decode(GroupInfo, suite.aead.open(key, nonce, b"", welcome.encrypted_group_info))
    return info, group_secrets, member


def join(
    cls: type[E],
    welcome: Welcome,
    bundle: KeyPackageBundle,
    ratchet_tree: bytes | None,
    services: Services,
    resumes: Epoch | None,
) -> E:
    """Join by a Welcome, to a group that must follow `resumes`, if that is given."""
    suite = bundle.suite
    find_psk = resumes.find_psk if resumes else services.psks
    info, group_secrets, member = open_group_info(welcome, bundle, find_psk)
    for name in group_secrets.psks:
        if len(name.psk_nonce) != suite.hash_size:
            raise ProtocolError("the nonce of a pre-shared key has the wrong length")
    if len(set(group_secrets.psks)) != len(group_secrets.psks):
        raise ProtocolError("a pre-shared key is used twice")
    tree = _check_group_info(suite, info, ratchet_tree, services)
    ours = bundle.key_package.leaf_node
    index = next((index for index, leaf in tree.leaves() if leaf == ours), None)
    if index is None or index == info.signer:
        raise ProtocolError("we are not in the tree as our key package says")
    keys = {2 * index: bundle.leaf_private}
    if group_secrets.path_secret is not None:
        lowest = treemath.common_ancestor(2 * index, 2 * info.signer)
        shared, _ = derive_keys(tree, info.signer, lowest, group_secrets.path_secret.path_secret)
        keys.update(shared)
    turned = from_member_secret(suite, member, info.group_context)
    turned.secrets.check_confirmation(suite, turned.context, info.confirmation_tag)
    check_following(turned.context, group_secrets.psks, resumes)
    if resumes is not None:
        check_same_clients(tree, resumes)
    return cls.begin(
        turned,
        tree=tree,
        index=index,
        keys=keys,
        signature_key=bundle.signature_key,
        services=services,
        inviter=info.signer,
    )


# Section 12.4.3.2: joining by an external commit.


def external_commit(
    cls: type[E],
    info: GroupInfo,
    bundle: KeyPackageBundle,
    ratchet_tree: bytes | None,
    services: Services,
    *,
    replace: Replace,
    psks: Sequence[PreSharedKey],
    authenticated_data: bytes,
) -> tuple[E, Built]:
    """Make the commit by which we join a group; return the epoch that it begins."""
    suite = bundle.suite
    tree = _check_group_info(suite, info, ratchet_tree, services)
    if callable(replace):
        replace = replace(dict(tree.leaves()))
    context = info.group_context
    data = find_extension(info.extensions, ExtensionType.EXTERNAL_PUB)
    if data is None:
        raise ProtocolError("the GroupInfo lets nobody join")
    kem_output, init_secret = external_init(suite, decode(bytes, data))
    proposals: list[ProposalValue] = [ExternalInit(kem_output), *psks]
    if replace is not None:
        proposals.append(Remove(replace))
    sender = NewMemberCommit()
    plan = Plan(
        sender=sender,
        proposals=[Proposed(sender, proposal) for proposal in proposals],
        key=bundle.signature_key,
        new_key=bundle.signature_key,
        leaf=bundle.key_package.leaf_node,
        wire_format=WireFormat.PUBLIC_MESSAGE,
        authenticated_data=authenticated_data,
    )
    built = build(
        plan,
        context=context,
        tree=tree,
        interim=interim_transcript_hash(
            suite, context.confirmed_transcript_hash, info.confirmation_tag
        ),
        init_secret=init_secret,
        authenticate=services.authenticate,
        find_psk=services.psks,
    )
    assert built.path is not None
    epoch = cls.begin(
        built.turn,
        tree=built.tree,
        index=built.change.committer,
        keys=built.path.keys,
        signature_key=bundle.signature_key,
        services=services,
        change=built.change,
    )
    return epoch, built


# Sections 11.2 and 11.3: groups that follow another one; `resuming` makes them.

_FOLLOWING = (ResumptionPSKUsage.REINIT, ResumptionPSKUsage.BRANCH)


def check_following(
    context: GroupContext, psks: Iterable[PreSharedKeyID], old: Epoch | None
) -> None:
    """Check that a group we were welcomed to follows the old one, and only if it should.

    Raises:
        ProtocolError: It does not.
    """
    following = [
        name.psk
        for name in psks
        if isinstance(name.psk, ResumptionPSK) and name.psk.usage in _FOLLOWING
    ]
    if old is None:
        if following:
            raise ProtocolError("the group follows another one, and was not expected to")
        return
    if len(following) != 1 or following[0].psk_group_id != old.context.group_id:
        raise ProtocolError("the group does not follow the one it should")
    if context.epoch != 1:
        raise ProtocolError("a group that follows another one begins with epoch 1")
    if following[0].usage is ResumptionPSKUsage.REINIT:
        now = ReInit(context.group_id, context.version, context.cipher_suite, context.extensions)
        if now != old.reinit or following[0].psk_epoch != old.context.epoch:
            raise ProtocolError("the group is not the one that the ReInit announced")
        return
    old.check_alive()  # else a branch could be taken for what the ReInit has announced
    kept = old.context.version, old.context.cipher_suite
    if (context.version, context.cipher_suite) != kept:
        raise ProtocolError("a branch keeps the version and the cipher suite")


def check_same_clients(tree: RatchetTree, old: Epoch) -> None:
    """Check that who is in a group's tree is in the old one's, too (section 11.3).

    Raises:
        ProtocolError: Somebody there would not be taken in place of anybody here.
    """
    known = {leaf.credential for _, leaf in old.tree.leaves()}
    for _, leaf in tree.leaves():
        if leaf.credential not in known and not any(
            _is_in_place_of(leaf, credential, old.services) for credential in known
        ):
            raise ProtocolError("there is a member who is not of the group that this one follows")


def _is_in_place_of(leaf: LeafNode, replaced: CredentialValue, services: Services) -> bool:
    try:
        services.authenticate(leaf.credential, leaf.signature_key, replaced)
    except ProtocolError:
        return False
    return True
