"""Blobs on their way: put by a connection in parts, in memory until a commit takes them.

Each connection has one at most, a person's share is bounded, and so is what all have together;
one that nobody goes on with is forgotten.
"""

from __future__ import annotations

import hashlib
from collections import Counter

from trio_chat import names
from trio_chat.errors import BadFrame, NoBlob, TooMany
from trio_chat.limits import Limits

__all__ = ["Upload", "Uploads", "next_part"]

LIFE = 600.0  # s until one that was neither gone on with nor named is forgotten
SHARES = 4  # no person has more than this part of the memory, but one blob in any case


class Upload:
    """One blob of one connection, whole or not yet.

    Attributes:
        room: The room it is for.
        digest: Its SHA-256, which is its name.
        data: What has come of it.
        whole: Has it all come, with that SHA-256?
        touched: Trio's clock when the last part came.
    """

    __slots__ = (
        "_holders",
        "_sum",
        "_uploads",
        "data",
        "digest",
        "person",
        "room",
        "size",
        "touched",
        "whole",
    )

    def __init__(
        self, uploads: Uploads, person: names.Key, room: names.Key, digest: str, size: int
    ) -> None:
        self.person = person
        self.room = room
        self.digest = digest
        self.size = size
        self.data = bytearray()
        self.whole = False
        self.touched = 0.0
        self._sum = hashlib.sha256()
        self._uploads = uploads
        self._holders = 1  # the connection, and commits on their way to the log

    def add(self, offset: int, data: bytes, now: float) -> None:
        """Take the next part.

        Raises:
            BadFrame: it is not the next one, or the last one and the sum is wrong.
        """
        here = len(self.data)
        if offset != here or not data or here + len(data) > self.size:
            raise BadFrame(f"{here} of {self.size} bytes are here; the next part begins there")
        self.data += data
        self._sum.update(data)
        self.touched = now
        if len(self.data) == self.size:
            self.whole = self._sum.hexdigest() == self.digest
            if not self.whole:
                raise BadFrame("the SHA-256 of what came is another; put it again from 0")

    def is_idle(self, now: float) -> bool:
        """Has nobody gone on with it for long?"""
        return self.touched < now - LIFE

    def hold(self) -> None:
        """A commit that brings it is under way."""
        self._holders += 1

    def let_go(self) -> None:
        """The connection, or a commit, has done with it."""
        self._holders -= 1
        if not self._holders:
            self._uploads.free(self)


class Uploads:
    """All of a server's uploads."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.size = 0  # bytes that all of them will have
        self._sizes: Counter[names.Key] = Counter()
        self._open: dict[Upload, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, person: names.Key, room: names.Key, digest: str, size: int) -> Upload:
        """Make room for a blob of a person.

        Raises:
            TooMany: it is too large, or there is no room now.
        """
        limits = self.limits
        if size > limits.blob_size:
            raise TooMany(f"a blob may have {limits.blob_size} bytes")
        share = max(limits.blob_memory // SHARES, limits.blob_size)
        if self.size + size > limits.blob_memory or self._sizes[person] + size > share:
            raise TooMany("too many blobs are being put now; try again later", retry_after=5.0)
        upload = Upload(self, person, room, digest, size)
        self.size += size
        self._sizes[person] += size
        self._open[upload] = None
        return upload

    def free(self, upload: Upload) -> None:
        """Nobody holds it any more."""
        del self._open[upload]
        self.size -= upload.size
        self._sizes[upload.person] -= upload.size
        if not self._sizes[upload.person]:
            del self._sizes[upload.person]


def next_part(upload: Upload | None, room: names.Key, digest: str, size: int) -> Upload:
    """Return the upload that a part which is not the first belongs to.

    Raises:
        NoBlob: there is none.
    """
    if upload is None or (upload.room, upload.digest, upload.size) != (room, digest, size):
        raise NoBlob("nothing of that blob is here; put it from 0")
    return upload
