"""Groups that follow another one: after a ReInit, or as a branch (RFC 9420, 11.2 and 11.3)."""

from __future__ import annotations

from collections.abc import Iterable

from trio_chat.mls.epoch import Epoch, FindPSK
from trio_chat.mls.errors import ProtocolError
from trio_chat.mls.messages import (
    ExternalPSK,
    PreSharedKeyID,
    ReInit,
    ResumptionPSK,
    ResumptionPSKUsage,
)

__all__ = ["check", "finder"]

_FOLLOWING = (ResumptionPSKUsage.REINIT, ResumptionPSKUsage.BRANCH)


def finder(old: Epoch | None, psks: FindPSK) -> FindPSK:
    """Return what finds the old group's resumption PSKs, and else asks the application."""

    def find(name: ExternalPSK | ResumptionPSK) -> bytes | None:
        if (
            old is not None
            and isinstance(name, ResumptionPSK)
            and name.psk_group_id == old.context.group_id
        ):
            return old.resumption_psks.get(name.psk_epoch)
        return psks(name)

    return find


def check(new: Epoch, psks: Iterable[PreSharedKeyID], old: Epoch | None) -> None:
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
    context = new.context
    if context.epoch != 1:
        raise ProtocolError("a group that follows another one begins with epoch 1")
    if following[0].usage is ResumptionPSKUsage.REINIT:
        now = ReInit(context.group_id, context.version, context.cipher_suite, context.extensions)
        if now != old.reinit or following[0].psk_epoch != old.context.epoch:
            raise ProtocolError("the group is not the one that the ReInit announced")
    elif (context.version, context.cipher_suite) != (
        old.context.version,
        old.context.cipher_suite,
    ):
        raise ProtocolError("a branch keeps the version and the cipher suite")
