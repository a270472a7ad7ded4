"""Proposals from outside of a group (RFC 9420, section 12.1.8): by name, or to be added oneself.

They are public messages, signed, with no membership tag; the group's members `receive` them.
"""

from __future__ import annotations

from trio_chat.mls.bundle import KeyPackageBundle
from trio_chat.mls.framing import sign_content
from trio_chat.mls.messages import (
    Add,
    External,
    FramedContent,
    NewMemberProposal,
    ProposalValue,
    PublicMessage,
    SenderValue,
    WireFormat,
)
from trio_chat.mls.signature import SignatureKey
from trio_chat.mls.suite import CipherSuite


def propose_externally(
    suite: CipherSuite,
    group_id: bytes,
    epoch: int,
    proposal: ProposalValue,
    sender_index: int,
    key: SignatureKey,
) -> PublicMessage:
    """Propose as one of the group's external senders (section 12.1.8.1).

    Args:
        suite: The group's cipher suite.
        group_id: The group.
        epoch: Its current epoch.
        proposal: An Add, Remove, PreSharedKey, ReInit or GroupContextExtensions.
        sender_index: Our place in the external_senders extension.
        key: The key that is named there.
    """
    return _sign(suite, group_id, epoch, External(sender_index), proposal, key)


def propose_to_join(bundle: KeyPackageBundle, group_id: bytes, epoch: int) -> PublicMessage:
    """Propose to be added; whoever commits it sends the Welcome."""
    proposal = Add(bundle.key_package)
    key = bundle.signature_key
    return _sign(bundle.suite, group_id, epoch, NewMemberProposal(), proposal, key)


def _sign(
    suite: CipherSuite,
    group_id: bytes,
    epoch: int,
    sender: SenderValue,
    proposal: ProposalValue,
    key: SignatureKey,
) -> PublicMessage:
    content = FramedContent(group_id, epoch, sender, b"", proposal)
    signed = sign_content(suite, key, WireFormat.PUBLIC_MESSAGE, content, None)
    return PublicMessage(content, signed.signature, None, None)
