"""What a room's order has to know of lines it cannot read: epochs, and what a commit brings.

An epoch is how many commits the room's log has taken. Pure values; nobody looks into what is
in base64.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import attrs

from trio_chat.errors import NoBlob, Refused, Stale
from trio_chat.protocol.fields import Kind

__all__ = ["Commit", "Sealed", "judge"]


@attrs.frozen(eq=False)
class Commit:
    """What ends an epoch brings along for those who come later; not part of the line.

    Attributes:
        info: The group as it is in the new epoch.
        tree: The id of the blob that goes with it.
        welcomes: Devices, and what lets them in.
        blob: The blob's bytes, if this commit is the first to name it.
    """

    info: str = attrs.field(repr=False)
    tree: str
    welcomes: Sequence[tuple[Sequence[str], str]] = attrs.field(default=(), repr=False)
    blob: bytes | bytearray | None = attrs.field(default=None, repr=False)

    @property
    def size(self) -> int:
        """About how many bytes it is."""
        beside = sum(len(body) + 65 * len(devices) for devices, body in self.welcomes)
        return len(self.info) + beside + len(self.blob or b"")


@attrs.frozen(eq=False)
class Sealed:
    """A line of an encrypted room: the epoch it was made in, and the commit if it ends that."""

    epoch: int
    kind: Kind
    commit: Commit | None = None


def judge(
    sealed: Sealed,
    n: int,
    room: str,
    *,
    epoch: int,
    seq: int,
    trees: Sequence[AbstractSet[str]],
) -> Refused | None:
    """Say why a line cannot come next in a room at `epoch` and `seq`, or None if it can.

    `trees` are the blobs that the room has.
    """
    if sealed.epoch != epoch or (not epoch and sealed.kind != "create"):
        what = f"the room is at epoch {epoch} now" if epoch else "the room has no group yet"
        return Stale(f"{what}; read on and make it anew", room=room, n=n, epoch=epoch, seq=seq)
    commit = sealed.commit
    if commit is not None and commit.blob is None and not any(commit.tree in t for t in trees):
        return NoBlob("put the tree first, then name it", room=room, n=n)
    return None
