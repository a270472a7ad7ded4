"""The frames: one attrs class each, in the order of docs/protocol.md.

A class's `type` is the wire's; its fields are the wire's, in order, but for `sender`, which
the wire spells `from`. An absent field is None. `id` is chosen by the client and repeated in
the reply. The classes are in commands.py, events.py, directory.py and
moderation.py; this is their table. No
bytes, no sockets, no clock.
"""

from __future__ import annotations

from trio_chat.protocol.commands import (
    Away,
    Ca,
    Chat,
    Create,
    Enrol,
    Hello,
    History,
    Invite,
    Join,
    Leave,
    List,
    ListRooms,
    Nick,
    Ping,
    Pong,
    Relay,
    Renew,
    Send,
    SendSealed,
    SetTopic,
    Typing,
    Uninvite,
    WelcomeFor,
    Whois,
)
from trio_chat.protocol.directory import (
    Blob,
    ClaimPackages,
    Crl,
    CrlChanged,
    DevicePackage,
    GetBlob,
    GetCrl,
    GetInfo,
    GetWelcome,
    Info,
    KeyPackages,
    MlsWelcome,
    Packages,
    PublishPackages,
    PutBlob,
)
from trio_chat.protocol.events import (
    AwayChanged,
    CaCertificate,
    Closing,
    Count,
    Direct,
    Enrolled,
    Entered,
    Error,
    InputLimit,
    Invited,
    Joined,
    Left,
    Member,
    Message,
    NickChanged,
    Ok,
    Page,
    Person,
    Relayed,
    Removed,
    RoomInfo,
    Rooms,
    Server,
    Topic,
    TypingNow,
    Users,
    Welcome,
)
from trio_chat.protocol.moderation import (
    Acted,
    Ban,
    Kick,
    Kicked,
    ListSanctions,
    ModeChanged,
    Mute,
    RoleChanged,
    SanctionInfo,
    Sanctions,
    SetRole,
    Unban,
    Unmute,
)
from trio_chat.protocol.people import (
    Administer,
    Administered,
    ChangePassword,
    Devices,
    ListDevices,
    Login,
    OwnDevice,
    Register,
    RevokeDevice,
)

__all__ = [
    "COMMANDS",
    "EVENTS",
    "PROTOCOL",
    "Acted",
    "Administer",
    "Administered",
    "Away",
    "AwayChanged",
    "Ban",
    "Blob",
    "Ca",
    "CaCertificate",
    "ChangePassword",
    "Chat",
    "ClaimPackages",
    "Closing",
    "Command",
    "Count",
    "Create",
    "Crl",
    "CrlChanged",
    "DevicePackage",
    "Devices",
    "Direct",
    "Enrol",
    "Enrolled",
    "Entered",
    "Error",
    "Event",
    "GetBlob",
    "GetCrl",
    "GetInfo",
    "GetWelcome",
    "Hello",
    "History",
    "Info",
    "InputLimit",
    "Invite",
    "Invited",
    "Join",
    "Joined",
    "KeyPackages",
    "Kick",
    "Kicked",
    "Leave",
    "Left",
    "List",
    "ListDevices",
    "ListRooms",
    "ListSanctions",
    "Login",
    "Member",
    "Message",
    "MlsWelcome",
    "ModeChanged",
    "Mute",
    "Nick",
    "NickChanged",
    "Ok",
    "OwnDevice",
    "Packages",
    "Page",
    "Person",
    "Ping",
    "Pong",
    "PublishPackages",
    "PutBlob",
    "Register",
    "Relay",
    "Relayed",
    "Removed",
    "Renew",
    "RevokeDevice",
    "RoleChanged",
    "RoomInfo",
    "Rooms",
    "SanctionInfo",
    "Sanctions",
    "Send",
    "SendSealed",
    "Server",
    "SetRole",
    "SetTopic",
    "Topic",
    "Typing",
    "TypingNow",
    "Unban",
    "Uninvite",
    "Unmute",
    "Users",
    "Welcome",
    "WelcomeFor",
    "Whois",
]

PROTOCOL = 1
"""The version of the protocol that `hello` names."""

Command = (
    Hello
    | Join
    | Leave
    | Create
    | Send
    | History
    | List
    | ListRooms
    | SetTopic
    | Typing
    | Away
    | Nick
    | Whois
    | Chat
    | Relay
    | Ping
    | Pong
    | SendSealed
    | Invite
    | Uninvite
    | PublishPackages
    | ClaimPackages
    | PutBlob
    | GetBlob
    | GetInfo
    | GetWelcome
    | GetCrl
    | Ca
    | Enrol
    | Renew
    | Administer
    | Register
    | Login
    | ChangePassword
    | ListDevices
    | RevokeDevice
    | SetRole
    | Kick
    | Ban
    | Unban
    | Mute
    | Unmute
    | ListSanctions
)
Event = (
    Welcome
    | Ok
    | Error
    | Joined
    | Message
    | Topic
    | Entered
    | Left
    | Count
    | AwayChanged
    | NickChanged
    | TypingNow
    | Direct
    | Page
    | Users
    | Rooms
    | Person
    | Server
    | Relayed
    | Ping
    | Pong
    | Closing
    | Invited
    | Removed
    | KeyPackages
    | Packages
    | Blob
    | Info
    | MlsWelcome
    | Crl
    | CrlChanged
    | CaCertificate
    | Enrolled
    | Administered
    | Devices
    | Kicked
    | RoleChanged
    | ModeChanged
    | Sanctions
)

COMMANDS: dict[str, type[Command]] = {
    kind.type: kind
    for kind in Command.__args__
    if kind is not SendSealed  # `send` is Send
}
EVENTS: dict[str, type[Event]] = {kind.type: kind for kind in Event.__args__}
