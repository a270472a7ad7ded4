"""A group: what an application does with MLS. Each `Group` is one epoch; a commit returns another.

    alice = Group.create(alice_bundle, b"room", authenticate=authenticate)
    added = alice.commit(Add(bob_package))
    send(encode_message(added.message)); send(encode_message(added.welcome))
    alice = added.group                            # once the delivery service has accepted it
    bob = Group.join(welcome, bob_bundle, ratchet_tree=alice.ratchet_tree(), authenticate=...)
    match bob.receive(decode_message(data)):
        case Received(sender=index, data=text): ...
        case Proposed(): ...                       # is kept until a commit covers it
        case Group() as bob: ...                   # a commit; `bob.change` says what it did

Nothing is to be undone: whoever loses the race for an epoch drops its `CommitResult`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias, Unpack

import attrs

from trio_chat.mls import joining
from trio_chat.mls.bundle import KeyPackageBundle
from trio_chat.mls.codec import evolve
from trio_chat.mls.commits import (
    CommitResult,
    LeafChanges,
    Plan,
    build,
    changed_leaf,
    follow,
    process,
)
from trio_chat.mls.epoch import Epoch, FindPSK, ServiceArguments, Services
from trio_chat.mls.errors import ProtocolError, StaleEpoch
from trio_chat.mls.framing import open_private, open_public, sign_content, verify_content
from trio_chat.mls.leaves import sign_leaf
from trio_chat.mls.messages import (
    ApplicationData,
    AuthenticatedContent,
    Commit,
    ContentValue,
    ExternalPSK,
    FramedContent,
    GroupInfo,
    Member,
    MLSMessage,
    NewMemberProposal,
    PreSharedKey,
    PrivateMessage,
    ProposalRef,
    ProposalValue,
    PublicMessage,
    ResumptionPSK,
    SenderValue,
    Update,
    Welcome,
    WireFormat,
)
from trio_chat.mls.nodes import Extension, KeyPackage, UpdateSource
from trio_chat.mls.proposals import Proposed, check_proposal, choose

Judge: TypeAlias = "Callable[[Group], object] | None"
PADDING = 256  # bytes
MAX_PENDING = 64  # proposals of one sender in an epoch; those who are no members count as one


@attrs.frozen
class Received:
    """Application data, and which leaf it is from."""

    sender: int
    data: bytes = attrs.field(repr=False)
    authenticated_data: bytes = attrs.field(repr=False)
    ahead: int = attrs.field(default=0, eq=False)  # so many skipped; < 0: skipped before itself


class Group(Epoch):
    """A member's view of a group in one epoch; `epoch.Epoch` says what it holds.

    What can be received raises DecodeError, ProtocolError or CryptoError and nothing else, and
    leaves the group as it was.
    """

    # Beginning

    @classmethod
    def create(
        cls,
        bundle: KeyPackageBundle,
        group_id: bytes,
        *,
        extensions: tuple[Extension, ...] = (),
        **services: Unpack[ServiceArguments],
    ) -> Group:
        """Create a group with us as its only member (section 11).

        Args:
            bundle: Our key package, which must be for this alone.
            group_id: A name that no other group has.
            extensions: Of the group context.
            services: At least `authenticate`; see `epoch.Services`.
        """
        return joining.create(cls, bundle, group_id, extensions, Services(**services))

    @classmethod
    def join(
        cls,
        welcome: Welcome,
        bundle: KeyPackageBundle,
        *,
        ratchet_tree: bytes | None = None,
        resumes: Group | None = None,
        **services: Unpack[ServiceArguments],
    ) -> Group:
        """Join a group by a Welcome (section 12.4.3.1).

        Args:
            welcome: What somebody who added us has sent.
            bundle: The key package that it is for; erase it afterwards.
            ratchet_tree: The tree, if the Welcome does not bring it.
            resumes: The group that this one must follow, by ReInit or as a branch.
            services: At least `authenticate`; see `epoch.Services`.

        Raises:
            ProtocolError: The Welcome or the group breaks a rule.
            CryptoError: Something in it does not hold.
            DecodeError: What is encrypted in it is malformed.
        """
        return joining.join(cls, welcome, bundle, ratchet_tree, Services(**services), resumes)

    @classmethod
    def join_external(
        cls,
        info: GroupInfo,
        bundle: KeyPackageBundle,
        *,
        ratchet_tree: bytes | None = None,
        replace: joining.Replace = None,
        use_psks: Iterable[bytes] = (),
        authenticated_data: bytes = b"",
        **services: Unpack[ServiceArguments],
    ) -> CommitResult[Group]:
        """Join a group by a commit of our own (section 12.4.3.2).

        Args:
            info: The group's current GroupInfo.
            bundle: Who we are; its key package is not used up.
            ratchet_tree: The tree, if the GroupInfo does not bring it.
            replace: A leaf of our own that is to go, after its state was lost; or what returns
                it, or None, when it is given the leaves of the tree, checked, by index.
            use_psks: The ids of external pre-shared keys to mix in.
            authenticated_data: To travel with the commit, in clear.
            services: At least `authenticate`; see `epoch.Services`.

        Raises what `join` raises.
        """
        group, built = joining.external_commit(
            cls,
            info,
            bundle,
            ratchet_tree,
            Services(**services),
            replace=replace,
            psks=[joining.fresh_psk(bundle.suite, ExternalPSK(name)) for name in use_psks],
            authenticated_data=authenticated_data,
        )
        message = built.message
        public = PublicMessage(message.content, message.signature, message.confirmation_tag, None)
        return CommitResult(group=group, message=public)

    # Showing

    def group_info(self, *, external: bool = False, ratchet_tree: bool = False) -> GroupInfo:
        """Return a signed GroupInfo (section 12.4.3).

        Args:
            external: Whether its readers can join by an external commit.
            ratchet_tree: Whether it brings the tree along.
        """
        self.check_alive()
        return joining.group_info(self, external=external, ratchet_tree=ratchet_tree)

    def use_psk(self, name: ExternalPSK | ResumptionPSK) -> PreSharedKey:
        """Return a proposal to mix in a pre-shared key, with a fresh nonce (section 8.4)."""
        return joining.fresh_psk(self.suite, name)

    # Saying

    def encrypt(
        self, data: bytes, authenticated_data: bytes = b"", *, padding: int = PADDING
    ) -> PrivateMessage:
        """Encrypt application data (section 15), once what is `pending` is committed (12.4).

        The message is as long as if it were padded to `padding` bytes, or to a power of two.
        """
        self.check_alive()
        message = self._sign(ApplicationData(data), authenticated_data, public=False)
        return self.seal_private(message, padding)

    def make_update(self, **changes: Unpack[LeafChanges]) -> Update:
        """Return an Update of our leaf, to propose; its private key waits for a commit."""
        key = changes.get("signature_key", self.signature_key)
        private, public = self.suite.generate_key_pair()
        leaf = changed_leaf(self.own_leaf, changes)
        leaf = evolve(leaf, encryption_key=public, source=UpdateSource())
        self.updates[public] = private, key
        return Update(sign_leaf(self.suite, leaf, key, self.context.group_id, self.index))

    def propose(
        self,
        proposal: ProposalValue,
        authenticated_data: bytes = b"",
        *,
        public: bool = False,
        padding: int = PADDING,
    ) -> PrivateMessage | PublicMessage:
        """Propose something for the next commit (section 12.1); others may commit it.

        Raises:
            ProtocolError: It is not valid, or not ours to propose.
        """
        self.check_alive()
        sender = Member(self.index)
        message = self._sign(proposal, authenticated_data, public=public)
        self._keep(proposal, sender, message)
        return self.seal(message, padding)

    def _keep(
        self, proposal: ProposalValue, sender: SenderValue, message: AuthenticatedContent
    ) -> Proposed:
        """Check a proposal and let it wait for a commit."""
        if sum(waiting.sender == sender for waiting in self.pending.values()) >= MAX_PENDING:
            raise ProtocolError("too many proposals of one sender are pending")
        check_proposal(proposal, sender, self.tree, self.context, self.services.authenticate)
        reference = message.reference(self.suite)
        self.pending[reference] = Proposed(sender, proposal, reference)
        return self.pending[reference]

    def commit(
        self,
        *proposals: ProposalValue,
        cover: Iterable[ProposalRef] | None = None,
        path: bool = True,
        authenticated_data: bytes = b"",
        ratchet_tree: bool = False,
        public: bool = False,
        padding: int = PADDING,
        **changes: Unpack[LeafChanges],
    ) -> CommitResult[Group]:
        """Make a commit (section 12.4); the group itself stays in its epoch.

        Args:
            proposals: By value; ours.
            cover: Which of the pending proposals, by reference. If not given, all that fit but
                for those of clients who ask to be added: whom to let in, you say.
            path: Whether to renew our keys; without, only what needs no path can be committed.
            authenticated_data: To travel with the commit, in clear.
            ratchet_tree: Whether the Welcome brings the tree.
            public: Whether the commit travels in clear.
            padding: As for `encrypt`.
            changes: What is to be other in our leaf; see `LeafChanges`.

        Raises:
            ProtocolError: The proposals break a rule.
        """
        self.check_alive()
        if changes and not path:
            raise ProtocolError("only a commit with a path can change our leaf")
        given = [Proposed(Member(self.index), proposal) for proposal in proposals]
        if cover is None:
            candidates = filter(self._may_cover, self.pending.values())
            covered = choose(candidates, given, self.index, self.tree, self.context)
        else:
            try:
                covered = [self.pending[reference] for reference in cover]
            except KeyError:
                raise ProtocolError("no such proposal is pending") from None
        plan = Plan(
            sender=Member(self.index),
            proposals=[*covered, *given],
            key=self.signature_key,
            new_key=changes.get("signature_key", self.signature_key),
            leaf=changed_leaf(self.own_leaf, changes) if path else None,
            wire_format=_wire_format(public),
            authenticated_data=authenticated_data,
        )
        return self.commit_plan(plan, ratchet_tree=ratchet_tree, padding=padding)

    def _may_cover(self, proposed: Proposed) -> bool:
        """Return whether to commit a proposal without being told to.

        Not if it lets in somebody whom nobody here has asked in, nor if we lack its key.
        """
        match proposed.proposal:
            case PreSharedKey(psk=name):
                return self.find_psk(name.psk) is not None
        return not isinstance(proposed.sender, NewMemberProposal)

    def commit_plan(
        self,
        plan: Plan,
        *,
        find_psk: FindPSK | None = None,
        ratchet_tree: bool = False,
        padding: int = PADDING,
    ) -> CommitResult[Group]:
        """Make a commit as planned; `commit` is the way to it, but for `resuming`."""
        built = build(
            plan,
            context=self.context,
            tree=self.tree,
            interim=self.interim_transcript_hash,
            init_secret=self.secrets.init_secret,
            authenticate=self.services.authenticate,
            find_psk=find_psk or self.find_psk,
        )
        group = follow(self, plan, built)
        welcome = None
        if built.change.added:
            welcome = joining.make_welcome(group, built, ratchet_tree=ratchet_tree)
        return CommitResult(group=group, message=self.seal(built.message, padding), welcome=welcome)

    def _sign(
        self, content: ContentValue, authenticated_data: bytes, *, public: bool
    ) -> AuthenticatedContent:
        at = self.context
        sender = Member(self.index)
        framed = FramedContent(at.group_id, at.epoch, sender, authenticated_data, content)
        return sign_content(self.suite, self.signature_key, _wire_format(public), framed, at)

    # Hearing

    def receive(self, message: MLSMessage, *, judge: Judge = None) -> Received | Proposed | Group:
        """Take a message from another member, or from somebody outside who may send one.

        Where a commit leads, `judge` sees first: if it raises, nothing has happened.

        Returns:
            Application data, a proposal, which is now `pending`, or the group in its next epoch.
            Who does not want a proposal deletes it from there, or the next commit covers it.

        Raises:
            StaleEpoch: The message is of another epoch.
            Removed: It is a commit that takes us out; its `change` says by whom.
            ProtocolError: It breaks a rule, is one of our own, or not for a group at all.
            CryptoError: It does not hold.
            DecodeError: What is encrypted in it is malformed.
        """
        opened = None
        if isinstance(message, Welcome | GroupInfo | KeyPackage):
            raise ProtocolError("the message is none that a group receives")
        if isinstance(message, PublicMessage):
            self._check_place(message.content.group_id, message.content.epoch)
            content = open_public(self.suite, self.secrets.membership_key, message, self.context)
        else:
            self._check_place(message.group_id, message.epoch)
            opened = open_private(
                self.suite,
                self.secret_tree,
                self.secrets.sender_data_secret,
                message,
                self._is_another,
            )
            content = opened.content
        if content.content.sender == Member(self.index):
            raise ProtocolError("the message is our own")
        verify_content(content, self.tree, self.context)
        result = self._take(content)
        if judge is not None and isinstance(result, Group):
            judge(result)
        if opened is not None:
            ahead = opened.consume()
            return attrs.evolve(result, ahead=ahead) if isinstance(result, Received) else result
        return result

    def _check_place(self, group_id: bytes, epoch: int) -> None:
        self.check_alive()
        if group_id != self.context.group_id:
            raise ProtocolError("the message is for another group")
        if epoch != self.context.epoch:
            raise StaleEpoch(f"the message is of epoch {epoch}, not {self.context.epoch}")

    def _is_another(self, index: int) -> bool:
        return index != self.index and self.tree.leaf(index) is not None

    def _take(self, message: AuthenticatedContent) -> Received | Proposed | Group:
        content = message.content
        body = content.content
        match body:
            case ApplicationData(data=data):
                assert isinstance(content.sender, Member)
                return Received(content.sender.leaf_index, data, content.authenticated_data)
            case Commit():
                return process(self, message)
        return self._keep(body, content.sender, message)


def _wire_format(public: bool) -> WireFormat:
    return WireFormat.PUBLIC_MESSAGE if public else WireFormat.PRIVATE_MESSAGE
