"""One epoch of a group, as its members hold it (RFC 9420, section 8), and the step to the next.

`commits` and `joining` make epochs; `group` puts the verbs on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Required, Self, TypeAlias, TypedDict

import attrs

from trio_chat.mls import schedule
from trio_chat.mls.codec import evolve
from trio_chat.mls.errors import ProtocolError
from trio_chat.mls.framing import seal_private, seal_public
from trio_chat.mls.leaves import Authenticate
from trio_chat.mls.messages import (
    AuthenticatedContent,
    ExternalPSK,
    GroupContext,
    PreSharedKeyID,
    PrivateMessage,
    ProposalRef,
    PublicMessage,
    ReInit,
    ResumptionPSK,
    WireFormat,
)
from trio_chat.mls.nodes import LeafNode
from trio_chat.mls.proposals import Change, Proposed
from trio_chat.mls.schedule import EpochSecrets
from trio_chat.mls.secrettree import MAX_SKIP, SecretTree
from trio_chat.mls.signature import SignatureKey
from trio_chat.mls.suite import CipherSuite
from trio_chat.mls.tree import RatchetTree

FindPSK: TypeAlias = Callable[[ExternalPSK | ResumptionPSK], bytes | None]

PAST_EPOCHS = 32  # whose resumption PSKs are kept


def no_psks(_name: ExternalPSK | ResumptionPSK) -> None:
    """Know no pre-shared key."""


@attrs.frozen(kw_only=True)
class Services:
    """What the application does for a group.

    Attributes:
        authenticate: The authentication service; see `leaves`.
        psks: Finds a pre-shared key that is not one of the group's own past, or None.
        max_skip: How many message keys of a sender may be skipped, and are kept for late ones.
    """

    authenticate: Authenticate
    psks: FindPSK = no_psks
    max_skip: int = MAX_SKIP


class ServiceArguments(TypedDict, total=False):
    """What the application does for a group; as `Services` takes it."""

    authenticate: Required[Authenticate]
    psks: FindPSK
    max_skip: int


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Epoch:
    """A member's view of one epoch; frozen, but for the message ratchets and what is pending.

    Attributes:
        context: What all members agree on.
        tree: The ratchet tree.
        index: Our leaf index.
        keys: The private keys of our leaf and of the nodes above, by node.
        signature_key: Of our leaf.
        secrets: The epoch's secrets.
        secret_tree: The message keys; they go forward with each message.
        resumption_psks: Of this epoch and those before, by epoch.
        services: What the application does.
        change: What began the epoch; None for who joins, creates or restores.
        inviter: The leaf of who has let us in, if we have just joined by a Welcome.
        reinit: How the group is to begin anew; if set, this was its last epoch.
        pending: Valid proposals that no commit has covered yet, in the order they came.
        updates: The private keys of our own Updates among them, by public encryption key.
    """

    context: GroupContext
    tree: RatchetTree
    index: int
    keys: Mapping[int, bytes]
    signature_key: SignatureKey
    secrets: EpochSecrets
    secret_tree: SecretTree
    resumption_psks: Mapping[int, bytes]
    services: Services
    change: Change | None = None
    inviter: int | None = None
    reinit: ReInit | None = None
    pending: dict[ProposalRef, Proposed] = attrs.field(factory=dict)
    updates: dict[bytes, tuple[bytes, SignatureKey]] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.tree.freeze()

    def __repr__(self) -> str:
        context = self.context
        return f"<{type(self).__name__} {context.group_id.hex()} epoch {context.epoch}>"

    @property
    def suite(self) -> CipherSuite:
        """The cipher suite."""
        return self.tree.suite

    @property
    def confirmation_tag(self) -> bytes:
        """The tag of the commit that began the epoch (section 6.1)."""
        return self.secrets.confirmation_tag(self.suite, self.context)

    @property
    def interim_transcript_hash(self) -> bytes:
        """What the next commit's transcript begins with (section 8.2)."""
        confirmed = self.context.confirmed_transcript_hash
        return schedule.interim_transcript_hash(self.suite, confirmed, self.confirmation_tag)

    @property
    def epoch(self) -> int:
        """The epoch's number."""
        return self.context.epoch

    @property
    def epoch_authenticator(self) -> bytes:
        """A secret that is equal for all who have the same view of the epoch (section 8.7)."""
        return self.secrets.epoch_authenticator

    @property
    def handshakes(self) -> int:
        """How many proposals and commits of ours were encrypted in this epoch."""
        ratchets = self.secret_tree.ratchets.get(self.index)
        return ratchets[0].generation if ratchets else 0

    @property
    def own_leaf(self) -> LeafNode:
        """Our leaf."""
        leaf = self.tree.leaf(self.index)
        assert leaf is not None
        return leaf

    def members(self) -> dict[int, LeafNode]:
        """Return the leaves, by index."""
        return dict(self.tree.leaves())

    def ratchet_tree(self) -> bytes:
        """Return the tree for those who join (section 12.4.3.3)."""
        return self.tree.encode()

    def export(self, label: bytes, context: bytes, length: int) -> bytes:
        """MLS-Exporter (section 8.5): a secret of the epoch for a use of the application's."""
        return self.secrets.export(self.suite, label, context, length)

    def seal(self, message: AuthenticatedContent, padding: int) -> PrivateMessage | PublicMessage:
        """Protect a signed message of ours as its wire format says (section 6)."""
        if message.wire_format is WireFormat.PUBLIC_MESSAGE:
            key = self.secrets.membership_key
            return seal_public(self.suite, key, message, self.context)
        return self.seal_private(message, padding)

    def seal_private(self, message: AuthenticatedContent, padding: int) -> PrivateMessage:
        """Encrypt a signed message of ours."""
        sender_data = self.secrets.sender_data_secret
        return seal_private(self.suite, self.secret_tree, sender_data, message, padding)

    def find_psk(self, name: ExternalPSK | ResumptionPSK) -> bytes | None:
        """Find a pre-shared key: one of our own past, or one that the application has."""
        if isinstance(name, ResumptionPSK) and name.psk_group_id == self.context.group_id:
            return self.resumption_psks.get(name.psk_epoch)
        return self.services.psks(name)

    def check_alive(self) -> None:
        """Refuse to go on with a group that a ReInit has ended (section 11.2)."""
        if self.reinit is not None:
            raise ProtocolError("the group has ended; begin anew as its ReInit says")

    @classmethod
    def begin(
        cls,
        turn: Turn,
        *,
        tree: RatchetTree,
        index: int,
        keys: Mapping[int, bytes],
        signature_key: SignatureKey,
        services: Services,
        past_psks: Mapping[int, bytes] | None = None,
        change: Change | None = None,
        inviter: int | None = None,
    ) -> Self:
        """Return a new epoch out of what the key schedule gives."""
        number = turn.context.epoch
        psks = {**(past_psks or {}), number: turn.secrets.resumption_psk}
        leaves, skip = tree.leaf_count, services.max_skip
        return cls(
            context=turn.context,
            tree=tree,
            index=index,
            keys=keys,
            signature_key=signature_key,
            secrets=turn.secrets,
            secret_tree=SecretTree.of(tree.suite, leaves, turn.encryption_secret, skip),
            resumption_psks={at: psk for at, psk in psks.items() if at > number - PAST_EPOCHS},
            services=services,
            change=change,
            inviter=inviter,
            reinit=change.reinit if change else None,
        )

    def next(
        self,
        turn: Turn,
        tree: RatchetTree,
        keys: Mapping[int, bytes],
        signature_key: SignatureKey,
        change: Change,
    ) -> Self:
        """Return the epoch after this one."""
        return self.begin(
            turn,
            tree=tree,
            index=self.index,
            keys=keys,
            signature_key=signature_key,
            services=self.services,
            past_psks=self.resumption_psks,
            change=change,
        )


def find_psks(names: Sequence[PreSharedKeyID], find: FindPSK) -> list[tuple[PreSharedKeyID, bytes]]:
    """Return each pre-shared key with its value, or raise ProtocolError."""
    if len(names) >= 2**16:  # the key schedule counts them in 16 bits
        raise ProtocolError("there are too many pre-shared keys")
    found = []
    for name in names:
        psk = find(name.psk)
        if psk is None:
            raise ProtocolError("a pre-shared key is not known here")
        found.append((name, psk))
    return found


@attrs.frozen(repr=False)
class Turn:
    """What the key schedule makes of a commit: a new context, and its secrets.

    `joiner` and `member` are for the Welcome alone.
    """

    suite: CipherSuite
    context: GroupContext
    secrets: EpochSecrets
    encryption_secret: bytes
    member: bytes = b""
    joiner: bytes = b""

    @property
    def confirmation_tag(self) -> bytes:
        """The tag that the commit must have."""
        return self.secrets.confirmation_tag(self.suite, self.context)


def turn(
    suite: CipherSuite,
    message: AuthenticatedContent,
    *,
    context: GroupContext,
    interim: bytes,
    init_secret: bytes,
    commit_secret: bytes,
    psk: bytes,
) -> Turn:
    """Go through the key schedule with a commit (sections 8 and 8.2).

    Args:
        suite: The cipher suite.
        message: The signed commit; its confirmation tag does not matter.
        context: The provisional context, with the old confirmed transcript hash.
        interim: The old epoch's interim transcript hash.
        init_secret: The old epoch's, or that of an external commit.
        commit_secret: The path's, or zeros.
        psk: The psk_secret.
    """
    confirmed = schedule.confirmed_transcript_hash(suite, interim, message)
    context = evolve(context, confirmed_transcript_hash=confirmed)
    joiner = schedule.joiner_secret(suite, init_secret, commit_secret, context)
    member = schedule.member_secret(suite, joiner, psk)
    return from_member_secret(suite, member, context, joiner)


def from_member_secret(
    suite: CipherSuite, member: bytes, context: GroupContext, joiner: bytes = b""
) -> Turn:
    """Return what follows from the secret that members and joiners have in common."""
    return Turn(suite, context, *EpochSecrets.derive(suite, member, context), member, joiner)
