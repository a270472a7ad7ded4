"""Messaging Layer Security, RFC 9420: the client side, and nothing else.

No I/O, no clock, no X.509: bytes go in and come out, `group` says how. With the RFC open beside
it, read in this order:

    2.1           codec        the presentation language: a struct's annotations are its format
    5.1, 17.1     suite        cipher suites; on hpke and kem (RFC 9180), and signature
    5.3, 7, 10    nodes        credentials, leaf and parent nodes, key packages, update paths;
                               13: extensions
    6, 8.1, 12    messages     proposals, commits, Welcome, and what they travel in
    app. C        treemath     array-based trees
    4, 7.7 - 7.9  tree         the ratchet tree, its changes, its hashes
    7.4 - 7.6     treekem      update paths: new secrets for a committer's direct path
    7.3, 10.1     leaves       what is asked of leaf nodes and key packages
    8             schedule     the key schedule, transcript hashes, pre-shared keys, exporter
    9             secrettree   a key for each message
    6             framing      signing, tagging, encrypting messages, and the way back
    12.1 - 12.3   proposals    which are valid, alone and together, and what they do
    12.4          commits      made and processed
    11, 12.4.3    joining      creation, GroupInfo, Welcome, external commits
    11.2, 11.3    resuming     groups that follow others
    12.1.8        outside      proposals by those who are no members
                  bundle       a key package with its private keys
                  epoch        what a member holds in one epoch
                  group        the verbs: create, join, commit, receive, encrypt
                  state        a group as bytes, and back

What is exported here is public; its modules are not. Credentials are opaque: an `authenticate`
callable, given in, judges them, as `leaves` says. What is received raises
DecodeError, ProtocolError (InvalidTree, StaleEpoch and Removed among them) or CryptoError, and
nothing else, and leaves the group as it was.
"""

from __future__ import annotations

from trio_chat.mls.bundle import KeyPackageBundle
from trio_chat.mls.commits import CommitResult, LeafChanges
from trio_chat.mls.epoch import Services
from trio_chat.mls.errors import (
    CryptoError,
    DecodeError,
    InvalidTree,
    MLSError,
    ProtocolError,
    Removed,
    StaleEpoch,
)
from trio_chat.mls.group import Group, Received
from trio_chat.mls.leaves import check_key_package
from trio_chat.mls.messages import (
    Add,
    External,
    ExternalPSK,
    GroupContextExtensions,
    GroupInfo,
    Member,
    NewMemberCommit,
    NewMemberProposal,
    PreSharedKey,
    PrivateMessage,
    ProposalRef,
    PublicMessage,
    ReInit,
    Remove,
    ResumptionPSK,
    ResumptionPSKUsage,
    Update,
    Welcome,
    decode_message,
    encode_message,
)
from trio_chat.mls.nodes import (
    BasicCredential,
    Capabilities,
    Certificate,
    Extension,
    KeyPackage,
    KeyPackageSource,
    LeafNode,
    RequiredCapabilities,
    X509Credential,
)
from trio_chat.mls.outside import propose_externally, propose_to_join
from trio_chat.mls.proposals import Change, Proposed, choose
from trio_chat.mls.resuming import begin_anew, branch
from trio_chat.mls.signature import SignatureKey
from trio_chat.mls.state import restore, restore_bundle, snapshot, snapshot_bundle
from trio_chat.mls.suite import EXPERIMENTAL, SUITES, CipherSuite

__all__ = [
    "EXPERIMENTAL",
    "SUITES",
    "Add",
    "BasicCredential",
    "Capabilities",
    "Certificate",
    "Change",
    "CipherSuite",
    "CommitResult",
    "CryptoError",
    "DecodeError",
    "Extension",
    "External",
    "ExternalPSK",
    "Group",
    "GroupContextExtensions",
    "GroupInfo",
    "InvalidTree",
    "KeyPackage",
    "KeyPackageBundle",
    "KeyPackageSource",
    "LeafChanges",
    "LeafNode",
    "MLSError",
    "Member",
    "NewMemberCommit",
    "NewMemberProposal",
    "PreSharedKey",
    "PrivateMessage",
    "ProposalRef",
    "Proposed",
    "ProtocolError",
    "PublicMessage",
    "ReInit",
    "Received",
    "Remove",
    "Removed",
    "RequiredCapabilities",
    "ResumptionPSK",
    "ResumptionPSKUsage",
    "Services",
    "SignatureKey",
    "StaleEpoch",
    "Update",
    "Welcome",
    "X509Credential",
    "begin_anew",
    "branch",
    "check_key_package",
    "choose",
    "decode_message",
    "encode_message",
    "propose_externally",
    "propose_to_join",
    "restore",
    "restore_bundle",
    "snapshot",
    "snapshot_bundle",
]
