"""Conversations with other implementations of RFC 9420, both ways: `nox -s interop` runs them.

    python tests/mls/interop/live.py mls-rs             (agentvault-mls-rs-uniffi is installed)
    python tests/mls/interop/live.py ts-mls DIRECTORY   (node; ts-mls is installed in DIRECTORY)

Each scene is one life of a group: who creates it, who adds, updates, removes, and what is said in
between. After each step both sides must export the same secret. Exits with 1 if a scene fails.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from trio_chat.mls import (
    SUITES,
    Add,
    BasicCredential,
    Capabilities,
    CipherSuite,
    CommitResult,
    Group,
    GroupInfo,
    KeyPackage,
    KeyPackageBundle,
    PrivateMessage,
    Proposed,
    PublicMessage,
    Received,
    Remove,
    Removed,
    Welcome,
    check_key_package,
    decode_message,
    encode_message,
)
from trio_chat.mls.codec import decode, encode_as, evolve
from trio_chat.mls.nodes import ExtensionType
from trio_chat.mls.signature import SignatureKey


class Peer(Protocol):
    """A client of another implementation, with one key package and one group; all is bytes."""

    suite: CipherSuite
    extensions: tuple[int, ...]  # that its groups ask of their members

    def key_package(self) -> bytes: ...
    def create(self, group_id: bytes) -> None: ...
    def join(self, welcome: bytes) -> None: ...
    def commit(self, *, publicly: bool = False) -> bytes: ...
    def add(self, key_package: bytes) -> tuple[bytes, bytes]: ...
    def remove(self, index: int) -> bytes: ...
    def propose_add(self, key_package: bytes) -> bytes: ...
    def propose_remove(self, index: int) -> bytes: ...
    def encrypt(self, data: bytes) -> bytes: ...
    def receive(self, message: bytes) -> bytes | None: ...
    def export(self, label: str, context: bytes, length: int) -> bytes: ...
    def is_active(self) -> bool: ...
    def close(self) -> None: ...


# mls-rs, in Rust, in this process.


class MlsRs:
    """A client made of mls-rs."""

    def __init__(self, suite: CipherSuite, name: str) -> None:
        from mls_rs_uniffi import mls_rs_uniffi as rs  # here alone, and not for mypy

        self.rs = rs
        self.suite = suite
        key = rs.generate_signature_keypair(rs.CipherSuite.CURVE25519_AES128)
        self.client = rs.Client(name.encode(), key, rs.client_config_default())
        self.identities: dict[bytes, Any] = {}  # of those who have spoken, by what they said
        self.active = True
        package = decode_message(self.key_package())
        assert isinstance(package, KeyPackage)
        self.extensions = package.leaf_node.capabilities.extensions

    def key_package(self) -> bytes:
        return bytes(self.client.generate_key_package_message().to_bytes())

    def create(self, group_id: bytes) -> None:
        self.group = self.client.create_group(group_id)

    def join(self, welcome: bytes) -> None:
        self.group = self.client.join_group(None, self.rs.Message.from_bytes(welcome)).group

    def _committed(self, output: Any) -> tuple[bytes, bytes]:
        self.group.process_incoming_message(output.commit_message)  # it is pending until then
        welcome = output.welcome_message
        return output.commit_message.to_bytes(), welcome.to_bytes() if welcome else b""

    def commit(self, *, publicly: bool = False) -> bytes:
        del publicly  # is for its configuration to say
        return self._committed(self.group.commit())[0]

    def add(self, key_package: bytes) -> tuple[bytes, bytes]:
        return self._committed(self.group.add_members([self.rs.Message.from_bytes(key_package)]))

    def remove(self, index: int) -> bytes:
        return self._committed(self.group.remove_members([self._identity(index)]))[0]

    def propose_add(self, key_package: bytes) -> bytes:
        package = self.rs.Message.from_bytes(key_package)
        return bytes(self.group.propose_add_members([package])[0].to_bytes())

    def propose_remove(self, index: int) -> bytes:
        return bytes(self.group.propose_remove_members([self._identity(index)])[0].to_bytes())

    def _identity(self, index: int) -> Any:
        return self.identities[b"I am %d" % index]

    def encrypt(self, data: bytes) -> bytes:
        return bytes(self.group.encrypt_application_message(data).to_bytes())

    def receive(self, message: bytes) -> bytes | None:
        got = self.group.process_incoming_message(self.rs.Message.from_bytes(message))
        if got.is_application_message():
            self.identities[got.data] = got.sender
            return bytes(got.data)
        if got.is_commit():
            self.active = not got.effect.is_removed()
        return None

    def export(self, label: str, context: bytes, length: int) -> bytes:
        return bytes(self.group.export_secret(label.encode(), context, length))

    def is_active(self) -> bool:
        return self.active

    def close(self) -> None:
        pass


# ts-mls, in TypeScript, in a process of its own.

_NAMES = {  # without suite 2: its P-256 keys are compressed points, against section 5.1.1
    1: "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
    3: "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519",
}


class TsMls:
    """A client made of ts-mls.

    Its external_pub extension is the bare key, without the length that HPKEPublicKey begins with
    (section 12.4.3.2): a GroupInfo is changed on its way, and signed again.
    """

    extensions: tuple[int, ...] = ()

    def __init__(self, suite: CipherSuite, name: str, directory: Path) -> None:
        self.suite = suite
        script = shutil.copy(Path(__file__).with_name("ts_mls.mjs"), directory)
        self.process = subprocess.Popen(
            ["node", script, _NAMES[suite.number], name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _ask(self, verb: str, **given: Any) -> dict[str, Any]:
        request = {"verb": verb}
        for key, value in given.items():
            request[key] = value.hex() if isinstance(value, bytes) else value
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("ts-mls has ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"ts-mls, {verb}: {answer['error']}")
        return answer

    def _message(self, verb: str, **given: Any) -> bytes:
        return bytes.fromhex(self._ask(verb, **given)["message"])

    def key_package(self) -> bytes:
        return self._message("key_package")

    def create(self, group_id: bytes) -> None:
        self._ask("create", group_id=group_id)

    def join(self, welcome: bytes) -> None:
        self._ask("join", welcome=welcome)

    def join_external(self, group_info: bytes, *, resync: bool) -> bytes:
        return self._message("join_external", group_info=group_info, resync=resync)

    def group_info(self) -> bytes:
        return self._message("group_info")

    def adapt(self, group_info: bytes, key: SignatureKey | None) -> bytes:
        info = decode_message(group_info)
        assert isinstance(info, GroupInfo)
        ours = key is not None
        if key is None:
            private = bytes.fromhex(self._ask("signature_key")["data"])
            key = self.suite.scheme.load(private[-32:])  # the last of its PKCS #8
        extensions = tuple(
            evolve(
                extension,
                extension_data=decode(bytes, extension.extension_data)
                if ours
                else encode_as(bytes, extension.extension_data),
            )
            if extension.extension_type == ExtensionType.EXTERNAL_PUB
            else extension
            for extension in info.extensions
        )
        info = evolve(info, extensions=extensions)
        signature = self.suite.sign_with_label(key, b"GroupInfoTBS", info.to_be_signed())
        return encode_message(evolve(info, signature=signature))

    def commit(self, *, publicly: bool = False) -> bytes:
        return self._message("commit", publicly=publicly)

    def add(self, key_package: bytes) -> tuple[bytes, bytes]:
        answer = self._ask("add", publicly=False, key_package=key_package)
        return bytes.fromhex(answer["message"]), bytes.fromhex(answer["welcome"])

    def remove(self, index: int) -> bytes:
        return self._message("remove", publicly=False, index=index)

    def propose_add(self, key_package: bytes) -> bytes:
        return self._message("propose_add", publicly=False, key_package=key_package)

    def propose_remove(self, index: int) -> bytes:
        return self._message("propose_remove", publicly=True, index=index)

    def encrypt(self, data: bytes) -> bytes:
        return self._message("encrypt", data=data)

    def receive(self, message: bytes) -> bytes | None:
        answer = self._ask("receive", message=message)
        return bytes.fromhex(answer["data"]) if "data" in answer else None

    def export(self, label: str, context: bytes, length: int) -> bytes:
        answer = self._ask("export", label=label, context=context, length=length)
        return bytes.fromhex(answer["data"])

    def is_active(self) -> bool:
        return bool(self._ask("active")["active"])

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


# The stage: one of theirs, and as many of ours as a scene asks for.


def anybody(*_: object) -> None:
    """Accept every credential."""


def framed(data: bytes) -> PublicMessage | PrivateMessage:
    message = decode_message(data)
    assert isinstance(message, PublicMessage | PrivateMessage)
    return message


class Stage:
    """Carries messages between one client of theirs and those of ours, and compares views."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.ours: list[Group] = []

    def bundle(self, name: str) -> KeyPackageBundle:
        return KeyPackageBundle.create(
            BasicCredential(name.encode()),
            self.peer.suite.generate_signature_key(),
            suite=self.peer.suite,
            capabilities=Capabilities(extensions=self.peer.extensions),
        )

    def their_package(self) -> KeyPackage:
        package = decode_message(self.peer.key_package())
        assert isinstance(package, KeyPackage)
        check_key_package(self.peer.suite, package)
        return package

    def we_create(self) -> None:
        group = Group.create(self.bundle("ours 0"), b"a room", authenticate=anybody)
        self.ours = [group]
        result = group.commit(Add(self.their_package()), ratchet_tree=True)
        assert result.welcome is not None
        self.peer.join(encode_message(result.welcome))
        self.ours = [result.group]
        self.talk()

    def they_create(self) -> None:
        self.peer.create(b"their room")
        who = self.bundle("ours 0")
        _, welcome = self.peer.add(encode_message(who.key_package))
        self.join(welcome, who)

    def join(self, welcome: bytes, who: KeyPackageBundle) -> None:
        message = decode_message(welcome)
        assert isinstance(message, Welcome)
        self.ours.append(Group.join(message, who, authenticate=anybody))
        self.talk()

    def we_commit(self, *proposals: Any, by: int = 0, **options: Any) -> CommitResult[Group]:
        result = self.ours[by].commit(*proposals, **options)
        data = encode_message(result.message)
        assert self.peer.receive(data) is None
        self._follow(data, result.group, by)
        if self.peer.is_active():
            self.talk()
        return result

    def they_commit(self, data: bytes) -> None:
        self._follow(data, None, None)
        self.talk()

    def _follow(self, data: bytes, made: Group | None, by: int | None) -> None:
        following = []
        for n, group in enumerate(self.ours):
            if n == by:
                assert made is not None
                following.append(made)
                continue
            try:
                received = group.receive(framed(data))
            except Removed:
                continue
            assert isinstance(received, Group)
            following.append(received)
        self.ours = following

    def we_propose(self, proposal: Any, by: int = 0, *, public: bool = False) -> None:
        data = encode_message(self.ours[by].propose(proposal, public=public))
        assert self.peer.receive(data) is None
        for n, group in enumerate(self.ours):
            if n != by:
                assert isinstance(group.receive(framed(data)), Proposed)

    def they_propose(self, data: bytes) -> None:
        for group in self.ours:
            assert isinstance(group.receive(framed(data)), Proposed)

    def talk(self) -> None:
        """Let everybody say something to all others, and compare what they export."""
        text = b"I am theirs"
        data = self.peer.encrypt(text)
        for group in self.ours:
            received = group.receive(framed(data))
            assert isinstance(received, Received)
            assert received.data == text
        for n, group in enumerate(self.ours):
            text = b"I am %d" % group.index
            data = encode_message(group.encrypt(text))
            assert self.peer.receive(data) == text
            for other in [*self.ours[:n], *self.ours[n + 1 :]]:
                assert other.receive(framed(data)) == Received(group.index, text, b"")
        exported = {group.export(b"label", b"context", 32) for group in self.ours}
        assert exported == {self.peer.export("label", b"context", 32)}


# The scenes.


def everything_by_us(stage: Stage) -> None:
    """We create, add, update and remove; they follow."""
    stage.we_create()
    for public in (False, True):
        stage.we_commit(public=public)
        second = stage.bundle("ours 1")
        result = stage.we_commit(Add(second.key_package), ratchet_tree=True, public=public)
        assert result.welcome is not None
        stage.join(encode_message(result.welcome), second)
        stage.we_commit(by=1, public=public)
        stage.we_commit(
            signature_key=stage.peer.suite.generate_signature_key(),
            credential=BasicCredential(b"ours 0"),
            public=public,
        )
        stage.we_commit(Remove(stage.ours[1].index), public=public)
        assert len(stage.ours) == 1
    stage.we_commit(Remove(1))
    assert not stage.peer.is_active()


def everything_by_them(stage: Stage) -> None:
    """They create, add, update and remove; we follow."""
    stage.they_create()
    for public in (False, True):
        stage.they_commit(stage.peer.commit(publicly=public))
        who = stage.bundle("ours 1")
        commit, welcome = stage.peer.add(encode_message(who.key_package))
        stage.they_commit(commit)
        stage.join(welcome, who)
        stage.they_commit(stage.peer.commit(publicly=public))
        stage.they_commit(stage.peer.remove(stage.ours[1].index))
        assert len(stage.ours) == 1
    last = stage.ours[0]
    data = stage.peer.remove(last.index)
    try:
        last.receive(framed(data))
    except Removed:
        return
    raise AssertionError("we were removed and did not learn it")


def in_turns(stage: Stage) -> None:
    """Both commit, on each other's paths, in a tree of five."""
    stage.they_create()
    for n in range(1, 4):
        who = stage.bundle(f"ours {n}")
        result = stage.we_commit(Add(who.key_package), by=n - 1, ratchet_tree=True)
        assert result.welcome is not None
        stage.join(encode_message(result.welcome), who)
    for n in range(4):
        stage.we_commit(by=n)
        stage.they_commit(stage.peer.commit())
    stage.they_commit(stage.peer.remove(stage.ours[1].index))
    stage.we_commit(Remove(stage.ours[0].index), by=1)
    stage.they_commit(stage.peer.commit())
    stage.we_commit(by=1)


def by_reference(stage: Stage) -> None:
    """One side proposes and the other commits it."""
    stage.we_create()
    for public in (False, True):
        stage.we_propose(stage.ours[0].make_update(), public=public)
        before = stage.ours[0].own_leaf
        stage.they_commit(stage.peer.commit())
        assert stage.ours[0].own_leaf != before
    who = stage.bundle("ours 1")
    stage.they_propose(stage.peer.propose_add(encode_message(who.key_package)))
    result = stage.we_commit(ratchet_tree=True)
    assert result.welcome is not None
    stage.join(encode_message(result.welcome), who)
    stage.they_propose(stage.peer.propose_remove(stage.ours[1].index))
    stage.we_commit()
    assert len(stage.ours) == 1


def from_outside(stage: Stage) -> None:
    """Each joins the other's group by an external commit, and comes back in its own place."""
    peer = stage.peer
    assert isinstance(peer, TsMls)
    stage.ours = [Group.create(stage.bundle("ours 0"), b"a room", authenticate=anybody)]
    for resync in (False, True):
        ours = encode_message(stage.ours[0].group_info(external=True, ratchet_tree=True))
        info = peer.adapt(ours, stage.ours[0].signature_key)
        stage.they_commit(peer.join_external(info, resync=resync))
    stage.we_commit()
    key = peer.suite.generate_signature_key()
    for resync in (False, True):
        who = KeyPackageBundle.create(BasicCredential(b"late"), key, suite=peer.suite)
        theirs = decode_message(peer.adapt(peer.group_info(), None))
        assert isinstance(theirs, GroupInfo)
        replace = stage.ours.pop().index if resync else None
        result = Group.join_external(theirs, who, replace=replace, authenticate=anybody)
        data = encode_message(result.message)
        assert peer.receive(data) is None
        stage._follow(data, None, None)
        stage.ours.append(result.group)
        stage.talk()
    stage.we_commit(by=1)
    stage.they_commit(stage.peer.commit())


def late_and_out_of_order(stage: Stage) -> None:
    """What was sent before a commit, and what overtakes, is read by both."""
    stage.we_create()
    group = stage.ours[0]
    ours = [encode_message(group.encrypt(b"%d" % n)) for n in range(4)]
    theirs = [stage.peer.encrypt(b"%d" % n) for n in range(4)]
    for n in (2, 0, 3, 1):
        assert stage.peer.receive(ours[n]) == b"%d" % n
        received = group.receive(framed(theirs[n]))
        assert isinstance(received, Received)
        assert received.data == b"%d" % n
    stage.talk()


SCENES: tuple[Callable[[Stage], None], ...] = (
    everything_by_us,
    everything_by_them,
    in_turns,
    by_reference,
    from_outside,
    late_and_out_of_order,
)


def play(make: Callable[[], Peer], title: str) -> int:
    """Play all scenes with fresh clients, and return how many failed."""
    failed = 0
    for scene in SCENES:
        peer = make()
        if scene is from_outside and not isinstance(peer, TsMls):
            print(f"{title}: {scene.__name__}: not in its interface", flush=True)
            peer.close()
            continue
        try:
            scene(Stage(peer))
        except Exception:  # theirs may raise anything
            failed += 1
            print(f"{title}: {scene.__name__}: FAILED", flush=True)
            traceback.print_exc()
        else:
            print(f"{title}: {scene.__name__}: passed", flush=True)
        finally:
            peer.close()
    return failed


def main(arguments: list[str]) -> int:
    match arguments:
        case ["mls-rs"]:
            failed = play(lambda: MlsRs(SUITES[1], "theirs"), "mls-rs, suite 1")
        case ["ts-mls", directory]:
            failed = 0
            for number in _NAMES:
                make = partial(TsMls, SUITES[number], "theirs", Path(directory))
                failed += play(make, f"ts-mls, suite {number}")
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
