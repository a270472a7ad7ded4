"""What can go wrong in MLS; whatever arrives from outside raises nothing else.

    MLSError
    ├── DecodeError        bytes that are no value of the type: the sender's fault
    ├── CryptoError        a signature, tag, ciphertext or key that does not hold
    └── ProtocolError      well formed, and against a rule of RFC 9420
        ├── InvalidTree    ... of its ratchet tree (sections 4 and 7)
        ├── StaleEpoch     ... a message of another epoch: ours to skip, or to wait for
        └── Removed        a valid commit took us out of the group: forget its secrets

After any of them the group is as it was. No text of an error holds a key or a plaintext.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trio_chat.mls.proposals import Change


class MLSError(Exception):
    """Anything that can go wrong in MLS."""


class DecodeError(MLSError):
    """The bytes are no value of the type that was asked for."""


class CryptoError(MLSError):
    """A signature, tag, ciphertext or key does not hold, or cannot be had."""


class ProtocolError(MLSError):
    """What was received, or asked for, breaks a rule of RFC 9420."""


class InvalidTree(ProtocolError):
    """The ratchet tree breaks a rule of sections 4 or 7."""


class StaleEpoch(ProtocolError):
    """The message belongs to another epoch than the group's."""


class Removed(ProtocolError):
    """A commit, signed and valid as far as we can see, removes us.

    Attributes:
        change: What it does, to be judged like any other.
    """

    def __init__(self, change: Change) -> None:
        super().__init__("a commit takes us out of the group")
        self.change = change
