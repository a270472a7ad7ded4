"""Run official MLS test vectors: `python tests/mls/run_vectors.py DIR`.

Takes every file below DIR that is one of mlswg/mls-implementations' kinds, as described in its
test-vectors.md; the scenarios of its `interop/passive` too. No case is ever skipped: what cannot
be run has failed.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

from trio_chat.mls import treemath
from trio_chat.mls.bundle import KeyPackageBundle
from trio_chat.mls.codec import Reader, decode, encode, encode_as, encode_length, evolve
from trio_chat.mls.errors import ProtocolError
from trio_chat.mls.framing import (
    open_private,
    open_public,
    seal_private,
    seal_public,
    sign_content,
    verify_content,
)
from trio_chat.mls.group import Group
from trio_chat.mls.joining import open_group_info
from trio_chat.mls.leaves import check_key_package, check_leaf, sign_leaf
from trio_chat.mls.messages import (
    Add,
    ApplicationData,
    AuthenticatedContent,
    Commit,
    ContentType,
    ExternalInit,
    ExternalPSK,
    FramedContent,
    GroupContext,
    GroupContextExtensions,
    GroupInfo,
    GroupSecrets,
    Member,
    PreSharedKey,
    PreSharedKeyID,
    PrivateMessage,
    Proposal,
    PublicMessage,
    ReInit,
    Remove,
    Update,
    Welcome,
    WireFormat,
    decode_message,
    encode_message,
)
from trio_chat.mls.nodes import (
    MLS10,
    BasicCredential,
    Capabilities,
    CommitSource,
    KeyPackage,
    LeafNode,
    Node,
    UpdatePath,
)
from trio_chat.mls.proposals import Proposed
from trio_chat.mls.schedule import (
    EpochSecrets,
    confirmed_transcript_hash,
    interim_transcript_hash,
    joiner_secret,
    member_secret,
    psk_secret,
)
from trio_chat.mls.secrettree import SecretTree, sender_data_key
from trio_chat.mls.suite import CipherSuite, find_suite
from trio_chat.mls.tree import RatchetTree
from trio_chat.mls.treekem import create_path, derive_keys, merge_path, open_path

Case = dict[str, Any]
unhex = bytes.fromhex


class Mismatch(Exception):
    """The vector says otherwise."""


def same(found: object, expected: object, what: str) -> None:
    if isinstance(found, bytes) and isinstance(expected, str):
        found = found.hex()
    if found != expected:
        raise Mismatch(what)


def anybody(*_: object) -> None:
    """Accept every credential: the vectors' are names."""


def suite_of(case: Case) -> CipherSuite:
    return find_suite(case["cipher_suite"])


def tree_math(case: Case) -> None:
    leaves = case["n_leaves"]
    nodes = 2 * leaves - 1
    same(nodes, case["n_nodes"], "n_nodes")
    same(treemath.root(leaves), case["root"], "root")
    for x in range(nodes):
        inner, below_root = x % 2 == 1, x != case["root"]
        same(treemath.left(x) if inner else None, case["left"][x], "left")
        same(treemath.right(x) if inner else None, case["right"][x], "right")
        same(treemath.parent(x, leaves) if below_root else None, case["parent"][x], "parent")
        same(treemath.sibling(x, leaves) if below_root else None, case["sibling"][x], "sibling")


def crypto_basics(case: Case) -> None:
    suite = suite_of(case)
    v = case["ref_hash"]
    same(suite.ref_hash(v["label"].encode(), unhex(v["value"])), v["out"], "ref_hash")
    v = case["expand_with_label"]
    label, context = v["label"].encode(), unhex(v["context"])
    out = suite.expand_with_label(unhex(v["secret"]), label, context, v["length"])
    same(out, v["out"], "expand_with_label")
    v = case["derive_secret"]
    same(suite.derive_secret(unhex(v["secret"]), v["label"].encode()), v["out"], "derive_secret")
    v = case["derive_tree_secret"]
    out = suite.derive_tree_secret(
        unhex(v["secret"]), v["label"].encode(), v["generation"], v["length"]
    )
    same(out, v["out"], "derive_tree_secret")
    v = case["sign_with_label"]
    key = suite.scheme.load(unhex(v["priv"]))
    same(key.public, v["pub"], "the public key")
    label, content = v["label"].encode(), unhex(v["content"])
    suite.verify_with_label(key.public, label, content, unhex(v["signature"]))
    suite.verify_with_label(key.public, label, content, suite.sign_with_label(key, label, content))
    v = case["encrypt_with_label"]
    private, label, context = unhex(v["priv"]), v["label"].encode(), unhex(v["context"])
    same(suite.kem.public_key(private), v["pub"], "the public key")
    own = suite.encrypt_with_label(unhex(v["pub"]), label, context, unhex(v["plaintext"]))
    for sealed in ((unhex(v["kem_output"]), unhex(v["ciphertext"])), own):
        opened = suite.decrypt_with_label(private, label, context, *sealed)
        same(opened, v["plaintext"], "the plaintext")


def secret_tree(case: Case) -> None:
    suite = suite_of(case)
    v = case["sender_data"]
    key, nonce = sender_data_key(suite, unhex(v["sender_data_secret"]), unhex(v["ciphertext"]))
    same(key, v["key"], "the sender data key")
    same(nonce, v["nonce"], "the sender data nonce")
    tree = SecretTree.of(suite, len(case["leaves"]), unhex(case["encryption_secret"]))
    for leaf, generations in enumerate(case["leaves"]):
        for kind, name in (
            (ContentType.APPLICATION, "application"),
            (ContentType.PROPOSAL, "handshake"),
        ):
            ratchet = tree.ratchet(leaf, kind)
            for v in generations:
                found = ratchet.peek(v["generation"])
                same(found.key, v[f"{name}_key"], "a key")
                same(found.nonce, v[f"{name}_nonce"], "a nonce")
                ratchet.consume(v["generation"])


def message_protection(case: Case) -> None:
    suite = suite_of(case)
    context = GroupContext(
        MLS10,
        suite.number,
        unhex(case["group_id"]),
        case["epoch"],
        unhex(case["tree_hash"]),
        unhex(case["confirmed_transcript_hash"]),
        (),
    )
    key = suite.scheme.load(unhex(case["signature_priv"]))
    same(key.public, case["signature_pub"], "the public key")
    leaf = LeafNode(
        b"", key.public, BasicCredential(b""), Capabilities(), CommitSource(b""), (), b""
    )
    tree = RatchetTree(suite, [None, None, leaf])
    membership_key = unhex(case["membership_key"])
    sender_data_secret = unhex(case["sender_data_secret"])

    def secrets() -> SecretTree:
        return SecretTree.of(suite, 2, unhex(case["encryption_secret"]))

    def private(message: PrivateMessage) -> AuthenticatedContent:
        return open_private(
            suite, secrets(), sender_data_secret, message, lambda index: index == 1
        ).content

    def public(message: PublicMessage) -> AuthenticatedContent:
        return open_public(suite, membership_key, message, context)

    def sign(content: Any, form: WireFormat) -> AuthenticatedContent:
        framed = FramedContent(context.group_id, context.epoch, Member(1), b"", content)
        message = sign_content(suite, key, form, framed, context)
        if isinstance(content, Commit):
            message = evolve(message, confirmation_tag=b"a tag")
        return message

    values = {
        "proposal": decode(Proposal, unhex(case["proposal"])),
        "commit": decode(Commit, unhex(case["commit"])),
        "application": ApplicationData(unhex(case["application"])),
    }
    for name, value in values.items():
        given = decode_message(unhex(case[f"{name}_priv"]))
        assert isinstance(given, PrivateMessage)
        message = sign(value, WireFormat.PRIVATE_MESSAGE)
        own = seal_private(suite, secrets(), sender_data_secret, message, 64)
        opened = [private(given), private(own)]
        message = sign(value, WireFormat.PUBLIC_MESSAGE)
        sealed = seal_public(suite, membership_key, message, context)
        if name == "application":
            try:
                public(sealed)
            except ProtocolError:
                pass
            else:
                raise Mismatch("application data in clear")
        else:
            given_public = decode_message(unhex(case[f"{name}_pub"]))
            assert isinstance(given_public, PublicMessage)
            opened += [public(given_public), public(sealed)]
        for content in opened:
            verify_content(content, tree, context)
            same(content.content.content, value, name)


def key_schedule(case: Case) -> None:
    suite = suite_of(case)
    init = unhex(case["initial_init_secret"])
    for number, v in enumerate(case["epochs"]):
        context = GroupContext(
            MLS10,
            suite.number,
            unhex(case["group_id"]),
            number,
            unhex(v["tree_hash"]),
            unhex(v["confirmed_transcript_hash"]),
            (),
        )
        same(encode(context), v["group_context"], "group_context")
        joiner = joiner_secret(suite, init, unhex(v["commit_secret"]), context)
        same(joiner, v["joiner_secret"], "joiner_secret")
        member = member_secret(suite, joiner, unhex(v["psk_secret"]))
        same(suite.derive_secret(member, b"welcome"), v["welcome_secret"], "welcome_secret")
        found, encryption_secret = EpochSecrets.derive(suite, member, context)
        same(encryption_secret, v["encryption_secret"], "encryption_secret")
        for name, value in attrs.asdict(found).items():  # type: ignore[arg-type]  # a struct is an attrs class
            same(value, v[name], name)
        same(found.external_key_pair(suite)[1], v["external_pub"], "external_pub")
        e = v["exporter"]
        exported = found.export(suite, e["label"].encode(), unhex(e["context"]), e["length"])
        same(exported, e["secret"], "the exported secret")
        init = found.init_secret


def psks(case: Case) -> None:
    keys = [
        (PreSharedKeyID(ExternalPSK(unhex(v["psk_id"])), unhex(v["psk_nonce"])), unhex(v["psk"]))
        for v in case["psks"]
    ]
    same(psk_secret(suite_of(case), keys), case["psk_secret"], "psk_secret")


def transcript_hashes(case: Case) -> None:
    suite = suite_of(case)
    content = decode(AuthenticatedContent, unhex(case["authenticated_content"]))
    before = unhex(case["interim_transcript_hash_before"])
    confirmed = confirmed_transcript_hash(suite, before, content)
    same(confirmed, case["confirmed_transcript_hash_after"], "the confirmed transcript hash")
    tag = suite.mac(unhex(case["confirmation_key"]), confirmed)
    same(content.confirmation_tag, tag, "the confirmation tag")
    interim = interim_transcript_hash(suite, confirmed, tag)
    same(interim, case["interim_transcript_hash_after"], "the interim transcript hash")


def invitation_of(case: Case) -> tuple[CipherSuite, KeyPackage, Welcome]:
    suite = suite_of(case)
    package = decode_message(unhex(case["key_package"]))
    message = decode_message(unhex(case["welcome"]))
    assert isinstance(package, KeyPackage)
    assert isinstance(message, Welcome)
    check_key_package(suite, package)
    return suite, package, message


def welcome(case: Case) -> None:
    suite, package, message = invitation_of(case)
    private = unhex(case["init_priv"])
    same(suite.kem.public_key(private), package.init_key.hex(), "the init key")
    bundle = object.__new__(KeyPackageBundle)  # its other private keys are not known
    for name, value in (("suite", suite), ("key_package", package), ("init_private", private)):
        object.__setattr__(bundle, name, value)
    info, _, member = open_group_info(message, bundle, lambda _: None)
    suite.verify_with_label(
        unhex(case["signer_pub"]), b"GroupInfoTBS", info.to_be_signed(), info.signature
    )
    found, _ = EpochSecrets.derive(suite, member, info.group_context)
    found.check_confirmation(suite, info.group_context, info.confirmation_tag)


def tree_operations(case: Case) -> None:
    suite = suite_of(case)
    tree = RatchetTree.decode(suite, unhex(case["tree_before"]))
    same(tree.encode(), case["tree_before"], "the re-encoded tree")
    same(tree.tree_hash(), case["tree_hash_before"], "the tree hash before")
    match decode(Proposal, unhex(case["proposal"])):
        case Add(key_package=package):
            check_key_package(suite, package)
            tree.add(package.leaf_node)
        case Update(leaf_node=leaf):
            tree.update(case["proposal_sender"], leaf)
        case Remove(removed=index):
            tree.remove(index)
        case _:
            raise Mismatch("another proposal")
    same(tree.encode(), case["tree_after"], "the tree after")
    same(tree.tree_hash(), case["tree_hash_after"], "the tree hash after")


def tree_validation(case: Case) -> None:
    suite = suite_of(case)
    tree = RatchetTree.decode(suite, unhex(case["tree"]))
    same(tree.encode(), case["tree"], "the re-encoded tree")
    nodes = range(len(tree))
    same([tree.resolution(x) for x in nodes], case["resolutions"], "a resolution")
    same([tree.tree_hash(x).hex() for x in nodes], case["tree_hashes"], "a tree hash")
    tree.check()
    for index, leaf in tree.leaves():
        check_leaf(suite, leaf, object, unhex(case["group_id"]), index)


def treekem(case: Case) -> None:
    suite = suite_of(case)
    tree = RatchetTree.decode(suite, unhex(case["ratchet_tree"]))
    group_id = unhex(case["group_id"])
    tree.check()
    private = {}
    signature_keys = {}
    for v in case["leaves_private"]:
        index = v["index"]
        leaf = tree.leaf(index)
        assert leaf is not None
        check_leaf(suite, leaf, object, group_id, index)
        keys = {2 * index: unhex(v["encryption_priv"])}
        same(suite.kem.public_key(keys[2 * index]), leaf.encryption_key.hex(), "a leaf's key")
        signature_keys[index] = suite.scheme.load(unhex(v["signature_priv"]))
        same(signature_keys[index].public, leaf.signature_key.hex(), "a signature key")
        for p in v["path_secrets"]:
            node = tree.parent_node(p["node"])
            assert node is not None
            secret = suite.derive_secret(unhex(p["path_secret"]), b"node")
            keys[p["node"]], public = suite.derive_key_pair(secret)
            same(public, node.encryption_key.hex(), "a parent's key")
        private[index] = keys
    context = GroupContext(
        MLS10,
        suite.number,
        group_id,
        case["epoch"],
        b"",
        unhex(case["confirmed_transcript_hash"]),
        (),
    )
    for v in case["update_paths"]:
        sender = v["sender"]
        path = decode(UpdatePath, unhex(v["update_path"]))
        check_leaf(suite, path.leaf_node, CommitSource, group_id, sender)
        after = tree.copy()
        merge_path(after, sender, path)
        same(after.tree_hash(), v["tree_hash_after"], "the tree hash after")
        new = evolve(context, tree_hash=after.tree_hash())
        for index, keys in private.items():
            if index == sender:
                same(None, v["path_secrets"][index], "the sender's path secret")
                continue
            lowest = treemath.common_ancestor(2 * sender, 2 * index)
            secret = unhex(v["path_secrets"][index])
            expected = derive_keys(after, sender, lowest, secret)
            found_keys, commit_secret = open_path(after, sender, path, new, index, keys)
            same((found_keys, commit_secret), expected, "the path's keys")
            same(commit_secret, v["commit_secret"], "the commit secret")
        _own_path(tree.copy(), sender, context, signature_keys, private)


def _own_path(
    tree: RatchetTree, sender: int, context: GroupContext, signature_keys: Any, private: Any
) -> None:
    """Make a path like the vector's and let the others follow it."""
    old = tree.leaf(sender)
    assert old is not None
    before = tree.copy()

    def make_leaf(key: bytes, source: CommitSource) -> LeafNode:
        leaf = evolve(old, encryption_key=key, source=source)
        signed = sign_leaf(tree.suite, leaf, signature_keys[sender], context.group_id, sender)
        assert isinstance(signed, LeafNode)
        return signed

    created = create_path(tree, sender, make_leaf, context)
    merge_path(before, sender, created.path)
    same(before.tree_hash(), created.context.tree_hash.hex(), "our own tree hash")
    for index, keys in private.items():
        if index != sender:
            _, commit_secret = open_path(before, sender, created.path, created.context, index, keys)
            same(commit_secret, created.commit_secret.hex(), "our own commit secret")


_STRUCTS: dict[str, Any] = {
    "ratchet_tree": tuple[Node | None, ...],
    "group_secrets": GroupSecrets,
    "add_proposal": Add,
    "update_proposal": Update,
    "remove_proposal": Remove,
    "pre_shared_key_proposal": PreSharedKey,
    "re_init_proposal": ReInit,
    "external_init_proposal": ExternalInit,
    "group_context_extensions_proposal": GroupContextExtensions,
    "commit": Commit,
}
MESSAGES: dict[str, type] = {
    "mls_welcome": Welcome,
    "mls_group_info": GroupInfo,
    "mls_key_package": KeyPackage,
    "public_message_application": PublicMessage,
    "public_message_proposal": PublicMessage,
    "public_message_commit": PublicMessage,
    "private_message": PrivateMessage,
}


def messages(case: Case) -> None:
    for name, data in case.items():
        if name in _STRUCTS:
            again = encode_as(_STRUCTS[name], decode(_STRUCTS[name], unhex(data)))
        else:
            message = decode_message(unhex(data))
            same(type(message), MESSAGES[name], name)
            again = encode_message(message)
        same(again, data, name)


def deserialization(case: Case) -> None:
    header = unhex(case["vlbytes_header"])
    reader = Reader(header)
    same(reader.length(), case["length"], "the length")
    same(bool(reader), False, "the header's end")
    same(encode_length(case["length"]), case["vlbytes_header"], "the header")


def passive_client(case: Case) -> None:
    suite, package, message = invitation_of(case)
    bundle = KeyPackageBundle(
        suite,
        package,
        unhex(case["init_priv"]),
        unhex(case["encryption_priv"]),
        suite.scheme.load(unhex(case["signature_priv"])),
    )
    known = {ExternalPSK(unhex(v["psk_id"])): unhex(v["psk"]) for v in case["external_psks"]}
    tree = case["ratchet_tree"]
    group = Group.join(
        message,
        bundle,
        authenticate=anybody,
        ratchet_tree=unhex(tree) if tree else None,
        psks=lambda name: known.get(name) if isinstance(name, ExternalPSK) else None,
    )
    same(group.epoch_authenticator, case["initial_epoch_authenticator"], "the first epoch")
    for v in case["epochs"]:
        for proposal in v["proposals"]:
            proposed = group.receive(_protected(proposal))
            same(type(proposed), Proposed, "the kind of a proposal")
        following = group.receive(_protected(v["commit"]))
        if not isinstance(following, Group):
            raise Mismatch("the kind of a commit")
        group = following
        same(group.epoch_authenticator, v["epoch_authenticator"], "an epoch")


def _protected(data: str) -> PublicMessage | PrivateMessage:
    message = decode_message(unhex(data))
    if not isinstance(message, PublicMessage | PrivateMessage):
        raise Mismatch("the kind of a message")
    return message


KINDS: dict[str, Callable[[Case], None]] = {
    "tree-math": tree_math,
    "crypto-basics": crypto_basics,
    "secret-tree": secret_tree,
    "message-protection": message_protection,
    "key-schedule": key_schedule,
    "psk_secret": psks,
    "transcript-hashes": transcript_hashes,
    "welcome": welcome,
    "tree-operations": tree_operations,
    "tree-validation": tree_validation,
    "treekem": treekem,
    "messages": messages,
    "passive-client-welcome": passive_client,
    "passive-client-handling-commit": passive_client,
    "passive-client-random": passive_client,
    "deserialization": deserialization,
}


def kind_of(path: Path, cases: object) -> Callable[[Case], None] | None:
    """Tell the kind of a file by its name, and that of a passive scenario by its content."""
    if not isinstance(cases, list) or not cases or not isinstance(cases[0], dict):
        return None
    if "initial_epoch_authenticator" in cases[0]:
        return passive_client
    return KINDS.get(path.stem)


def vector_files(directory: Path) -> Iterator[tuple[Path, Callable[[Case], None], list[Case]]]:
    """Find the files of vectors below a directory."""
    for path in sorted(directory.rglob("*.json")):
        cases = json.loads(path.read_text())
        run = kind_of(path, cases)
        if run is not None:
            yield path, run, cases


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print("usage: run_vectors.py DIR", file=sys.stderr)
        return 2
    passed = failed = 0
    for path, run, cases in vector_files(Path(arguments[0])):
        bad = 0
        for number, case in enumerate(cases):
            try:
                run(case)
            except Exception:
                bad += 1
                print(f"{path}[{number}] failed:", file=sys.stderr)
                traceback.print_exc(limit=-3)
        print(f"{path}: {len(cases) - bad} of {len(cases)}")
        passed += len(cases) - bad
        failed += bad
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
