"""What is fuzzed, by hypothesis in test_fuzz and, with an eye on coverage, by atheris here.

    python tests/mls/fuzz.py [SECONDS] [CORPUS...] [libFuzzer's own options]

Each target takes any bytes and says what must hold of them. Those of a hostile member sign and
encrypt them first: behind a signature is most of what can be reached.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.mls.clients import anybody, bundle, room, welcomed
from tests.mls.forging import commit_in, forged, said, sealed
from trio_chat.mls import (
    Add,
    CryptoError,
    DecodeError,
    ExternalPSK,
    Group,
    KeyPackage,
    PrivateMessage,
    ProtocolError,
    PublicMessage,
    ReInit,
    Remove,
    Welcome,
    check_key_package,
    decode_message,
    encode_message,
    restore,
    snapshot,
)
from trio_chat.mls.codec import decode, encode, encode_as
from trio_chat.mls.messages import Commit, ContentType, NewMemberCommit, Proposal
from trio_chat.mls.tree import RatchetTree

REFUSALS = (DecodeError, CryptoError, ProtocolError)

ALICE, BOB, _ = room("alice", "bob", "carol")
DAVE = bundle("dave")
BEFORE = snapshot(BOB)


def receive(message: PublicMessage | PrivateMessage) -> bool:
    """Let Bob receive it; return whether he took it. What he refuses leaves no trace."""
    bob = restore(BEFORE, BOB.services)
    bob.secret_tree.ratchet(0, ContentType.APPLICATION)  # is derived when it is asked for
    before = snapshot(bob)
    try:
        bob.receive(message)
    except REFUSALS:
        if snapshot(bob) != before:
            raise RuntimeError("what was refused has left a trace") from None
        return False
    return True


# The targets.


def any_bytes(data: bytes) -> bool:
    """Decode a message: one encoding for each value, and Bob can be given it."""
    try:
        message = decode_message(data)
    except DecodeError:
        return False
    if encode_message(message) != data:
        raise RuntimeError("a message has two encodings")
    match message:
        case PublicMessage() | PrivateMessage():
            return receive(message)
        case KeyPackage():
            return _taken(check_key_package, BOB.suite, message)
        case Welcome():
            return _taken(Group.join, message, DAVE, authenticate=anybody)
    return _taken(Group.join_external, message, DAVE, authenticate=anybody)


def _taken(take: Callable[..., object], *args: object, **options: object) -> bool:
    try:
        take(*args, **options)
    except REFUSALS:
        return False
    return True


def any_proposal(data: bytes) -> bool:
    """Take it for a proposal of Alice's, and for one in a commit of hers."""
    try:
        proposal: Any = decode(Proposal, data)
    except DecodeError:
        return False
    receive(forged(ALICE, proposal, path=PATH))
    return receive(said(ALICE, proposal))


def any_commit(data: bytes) -> bool:
    """Take it for a commit of Alice's, and for an external one."""
    try:
        commit = decode(Commit, data)
    except DecodeError:
        return False
    receive(said(ALICE, commit, sender=NewMemberCommit(), key=DAVE.signature_key))
    return receive(said(ALICE, commit))


def any_plaintext(data: bytes) -> bool:
    """Let Alice encrypt it as whatever the first byte says."""
    kinds = tuple(ContentType)
    alice = restore(ALICE_BEFORE, ALICE.services)
    return receive(sealed(alice, data[1:], kinds[data[0] % len(kinds)] if data else kinds[0]))


def any_tree(data: bytes) -> bool:
    """Take it for a group's tree, by itself and as that of a GroupInfo."""
    _taken(lambda: RatchetTree.decode(BOB.suite, data).check())
    return _taken(Group.join_external, INFO, DAVE, ratchet_tree=data, authenticate=anybody)


def any_snapshot(data: bytes) -> bool:
    """Take it for a group's state, whose form is checked and no more."""
    try:
        group = restore(data, BOB.services)
    except REFUSALS:
        return False
    return bool(group)


TARGETS: tuple[Callable[[bytes], bool], ...] = (
    any_bytes,
    any_proposal,
    any_commit,
    any_plaintext,
    any_tree,
    any_snapshot,
)


# What they can be mutated from.


def _samples() -> dict[Callable[[bytes], bool], list[bytes]]:
    alice = ALICE
    result = alice.commit(Add(DAVE.key_package), cover=(), ratchet_tree=True)
    public = alice.commit(cover=(), public=True)
    info = alice.group_info(external=True, ratchet_tree=True)
    external = Group.join_external(info, bundle("eve"), authenticate=anybody)
    proposals: list[Any] = [
        Add(bundle("eve").key_package),
        alice.make_update(),
        Remove(2),
        alice.use_psk(ExternalPSK(b"a key")),
        ReInit(b"another", 1, 1, ()),
    ]
    return {
        any_bytes: [
            encode_message(message)
            for message in (
                alice.encrypt(b"hello", b"header", padding=0),
                alice.propose(alice.make_update(), public=True),
                alice.propose(Add(DAVE.key_package), padding=0),
                alice.commit(cover=(), padding=0).message,
                public.message,
                external.message,
                welcomed(result),
                info,
                DAVE.key_package,
            )
        ],
        any_proposal: [encode_as(Proposal, proposal) for proposal in proposals],
        any_commit: [
            encode(commit)
            for commit in (
                commit_in(public),
                commit_in(external),
                Commit(tuple(proposals), PATH),
            )
        ],
        any_plaintext: [
            b"\0" + encode_as(bytes, b"hello") + encode_as(bytes, bytes(64)),
            b"\1" + encode_as(Proposal, Remove(2)) + encode_as(bytes, bytes(64)),
        ],
        any_tree: [BOB.ratchet_tree()],
        any_snapshot: [BEFORE],
    }


_path = commit_in(ALICE.commit(cover=(), public=True)).path
assert _path is not None
PATH = _path
INFO = BOB.group_info(external=True)
SAMPLES = _samples()
ALICE_BEFORE = snapshot(ALICE)


# Atheris: the first byte chooses the target.


def main(arguments: list[str]) -> None:
    import atheris  # here alone: the tests do without it

    seconds = arguments.pop(0) if arguments and arguments[0].isdigit() else "60"

    def one(data: bytes) -> None:
        if data:
            TARGETS[data[0] % len(TARGETS)](data[1:])

    with tempfile.TemporaryDirectory() as corpus:
        for number, target in enumerate(TARGETS):
            for n, sample in enumerate(SAMPLES[target]):
                (Path(corpus) / f"{target.__name__}-{n}").write_bytes(bytes([number]) + sample)
        options = [f"-max_total_time={seconds}", "-max_len=8192", "-timeout=10"]
        atheris.instrument_all()
        atheris.Setup([sys.argv[0], *options, *arguments, corpus], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
