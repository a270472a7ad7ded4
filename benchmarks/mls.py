"""What MLS costs: `python benchmarks/mls.py [MEMBERS ...]`, for 2, 10, 100 and 1000 by default.

The tree is that of a room in use: half of its members have committed, so that no parent is blank.
Every joiner checks every leaf's signature; chains of certificates are there, of the usual size,
but theirs is the application's to check. Times are the best of several, in one process.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import attrs

from trio_chat.mls import SUITES, Add, Group, KeyPackageBundle, X509Credential, encode_message
from trio_chat.mls.nodes import Certificate

SUITE = SUITES[1]
MESSAGE = b"x" * 200
HEADER = ("members", "commit", "process", "join", "encrypt", "decrypt", "commit", "Welcome", "text")
UNITS = ("", "ms", "ms", "ms", "us", "us", "bytes", "bytes", "bytes")


def anybody(*_: object) -> None:
    """Accept every credential."""


def bundle(number: int) -> KeyPackageBundle:
    chain = (Certificate(number.to_bytes(2) * 160), Certificate(bytes(320)))  # of usual size
    name = X509Credential(chain)
    return KeyPackageBundle.create(name, SUITE.generate_signature_key(), suite=SUITE)


def warm(members: int) -> tuple[Group, KeyPackageBundle]:
    """Return a group one short of `members`, no parent blank, and who is to join."""
    bundles = [bundle(number) for number in range(members)]
    group = Group.create(bundles[0], b"a room", authenticate=anybody)
    group = (
        group.commit(*[Add(b.key_package) for b in bundles[1:-1]]).group if members > 2 else group
    )
    for number in range(0, members - 1, 2):  # each as if it were that member's view
        key = bundles[number].signature_key
        view = attrs.evolve(group, index=number, signature_key=key, keys={}, change=None)
        group = view.commit().group
    me = attrs.evolve(group, index=0, signature_key=bundles[0].signature_key, keys={}, change=None)
    return me.commit().group, bundles[-1]


def best(times: int, function: Callable[[], object]) -> float:
    """Return the seconds that the fastest call took."""
    fastest = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        function()
        fastest = min(fastest, time.perf_counter() - start)
    return fastest


def measure(members: int) -> tuple[float, ...]:
    alice, joiner = warm(members)
    added = alice.commit(Add(joiner.key_package), ratchet_tree=True)
    assert added.welcome is not None
    welcome = added.welcome

    def join() -> Group:
        return Group.join(welcome, joiner, authenticate=anybody)

    joining = best(max(3, 300 // members), join)
    bob, alice = join(), added.group
    for _ in range(2):  # both have a path of their own
        result = bob.commit()
        bob, after = result.group, alice.receive(result.message)
        assert isinstance(after, Group)
        alice, bob = bob, after
    committing = best(20, alice.commit)
    commits = iter([alice.commit() for _ in range(20)])
    processing = best(20, lambda: bob.receive(next(commits).message))
    encrypting = best(200, lambda: alice.encrypt(MESSAGE))
    bob = join()
    texts = iter([added.group.encrypt(MESSAGE) for _ in range(200)])
    decrypting = best(200, lambda: bob.receive(next(texts)))
    return (
        members,
        committing * 1e3,
        processing * 1e3,
        joining * 1e3,
        encrypting * 1e6,
        decrypting * 1e6,
        len(encode_message(alice.commit(padding=0).message)),
        len(encode_message(welcome)),
        len(encode_message(alice.encrypt(MESSAGE))),
    )


def main(arguments: list[str]) -> int:
    for row in (HEADER, UNITS):
        print("".join(f"{cell:>9}" for cell in row))
    for members in map(int, arguments or ["2", "10", "100", "1000"]):
        figures = measure(members)
        print(
            "".join(
                f"{figure:>9.{0 if figure >= 100 or figure == int(figure) else 2}f}"
                for figure in figures
            )
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
