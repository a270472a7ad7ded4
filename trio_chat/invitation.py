"""An invitation: the one word that lets somebody enrol, as it is printed, typed and read.

It names the authority by the SHA-256 of its certificate, so that the server can prove who it
is, and holds a secret that can be used once. May know nothing but text.
"""

from __future__ import annotations

import base64
import hashlib

import attrs

from trio_chat.errors import ConfigError

__all__ = ["SECRET_SIZE", "Invitation", "decode_secret", "encode_secret", "hash_secret"]

SECRET_SIZE = 20  # bytes: 160 bits, and a token without padding
_DIGEST = 32
_CHECK = 5
_MARK = "tci1-"  # of this program, version 1; never an option, whatever the first letter


@attrs.frozen
class Invitation:
    """What `trio-chat invite` prints and `trio-chat join --invite` takes."""

    ca: bytes  # SHA-256 of the CA's certificate in DER
    secret: bytes = attrs.field(repr=False)

    def encode(self) -> str:
        """Return it as one word. It is a secret: for the one who is invited alone."""
        content = self.ca + self.secret
        return _MARK + _to_text(content + _check(content))

    @classmethod
    def decode(cls, text: str) -> Invitation:
        """Read what somebody has copied or typed.

        Raises:
            ConfigError: it is no invite, or not the whole of one.
        """
        text = "".join(text.split())  # a long line that was copied may have been broken
        try:
            data = _from_text(text.removeprefix(_MARK))
        except ValueError:
            data = b""
        content, check = data[:-_CHECK], data[-_CHECK:]
        whole = len(content) == _DIGEST + SECRET_SIZE and check == _check(content)
        if not whole or not text.startswith(_MARK):
            raise ConfigError(
                f"that is no invite: one begins with {_MARK} and is copied to its last letter",
                hint="copy the whole line that `trio-chat invite` printed",
            )
        return cls(content[:_DIGEST], content[_DIGEST:])


def encode_secret(secret: bytes) -> str:
    """Return a secret as the wire has it."""
    return _to_text(secret)


def decode_secret(text: str) -> bytes | None:
    """Return a secret that came over the wire, None if it is none."""
    try:
        secret = _from_text(text)
    except ValueError:
        return None
    return secret if len(secret) == SECRET_SIZE else None


def hash_secret(secret: bytes) -> str:
    """Return what the server keeps of a secret: 64 hexadecimal digits.

    A plain hash will do, because what is hashed is random and long.
    """
    return hashlib.sha256(secret).hexdigest()


def _check(content: bytes) -> bytes:
    """Return what tells a slip of the hand from an invite that is not valid."""
    return hashlib.sha256(_MARK.encode() + content).digest()[:_CHECK]


def _to_text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _from_text(text: str) -> bytes:
    """Raises `ValueError` if it is none."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
